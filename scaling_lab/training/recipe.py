"""How a detector is trained, as one plain value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_lab.checks import Fields, check_choice, check_flag, check_items, check_number, check_whole, is_number
from scaling_lab.errors import UserError
from scaling_lab.pretrained import content_digest

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("float32", "bf16", "fp16")
# Fields that came later, with the value at which a recipe trains as it did without them.
_AS_BEFORE = {"colour": 0.0, "frozen_epochs": 0, "backbone_lr": 1.0, "views": 0, "recompute_backbone": False}
FREEZES = ("none", "backbone", "backbone_norms")


@dataclass(frozen=True, kw_only=True)
class Recipe(Fields):
    """The settings of one training run. `paper()`, `short()` and `finetune()` have a reason behind every number.

    `lr` is the peak, reached from 0 after `warmup_epochs`, then a cosine to 0; it belongs to `batch_size` and is not
    scaled. `backbone_lr` is the backbone's rate relative to it. `momentum` is SGD's, or AdamW's first beta; `beta2` is its
    second. Weight decay applies to convolution kernels only. `ema_decay` is approached as (1 + n) / (10 + n) over the first
    steps n. `jitter` is the range of the random scale, relative to the image fitted into the input. `colour` is the strength
    of random changes of brightness, contrast and saturation.

    The fields from `focal_alpha` to `match_threshold` are for heads with anchors. Points have the published settings of
    detection/points.py.

    `pretrained` is False, True (download timm's weights) or a path: a file with all of the backbone's weights, or a folder
    with a file for each backbone, named as timm names it. `freeze` freezes the backbone, or only its batch norms;
    `frozen_epochs` freezes the backbone in that many first epochs. `views` is the number of augmentations of each training
    image while the backbone is frozen. They are the same for all seeds, so that features can be stored. 0 draws a new
    augmentation in each epoch.

    `batch_size` is what the optimizer sees. The device gets it in `accumulate` consecutive parts, with the same gradient
    except for batch norms, which see one part. `halve_batch` lets a training run that is out of memory continue from its
    last epoch with parts half as large. `recompute_backbone` computes the backbone's activations again in the backward pass:
    less memory and the same gradient, but a slower step (timm's gradient checkpointing). `sync_norm` lets batch norms see the
    images of all workers. `compile` applies torch.compile to the model, `channels_last` sets its memory layout.
    """

    epochs: int
    batch_size: int
    accumulate: int = 1
    halve_batch: bool = False
    recompute_backbone: bool = False
    optimizer: str = "sgd"
    lr: float = 0.16
    momentum: float = 0.9
    beta2: float = 0.999
    warmup_epochs: float = 1.0
    weight_decay: float = 4e-5
    clip_norm: float = 10.0
    ema_decay: float = 0.9998
    focal_alpha: float = 0.25
    focal_gamma: float = 1.5
    huber_delta: float = 0.1
    box_weight: float = 50.0
    iou_weight: float = 0.0
    match_threshold: float = 0.5
    jitter: tuple[float, float] = (0.1, 2.0)
    flip: bool = True
    colour: float = 0.0
    precision: str = "float32"
    pretrained: bool | str = False
    freeze: str = "none"
    frozen_epochs: int = 0
    backbone_lr: float = 1.0
    views: int = 0
    drop_path: float = 0.0
    sync_norm: bool = False
    compile: bool = False
    channels_last: bool = True
    eval_every: int = 1

    def __post_init__(self) -> None:
        self._check_numbers({"least": 0}, "warmup_epochs", "weight_decay", "focal_gamma", "box_weight", "iou_weight")
        self._check_numbers({"above": 0}, "lr", "clip_norm", "huber_delta", "backbone_lr")
        self._check_numbers({"least": 0, "below": 1}, "momentum", "beta2", "ema_decay", "drop_path", "colour")
        self._check_numbers({"least": 0, "most": 1}, "focal_alpha", "match_threshold")
        for name in ("epochs", "batch_size", "accumulate", "eval_every"):
            check_whole(f"recipe.{name}", getattr(self, name), least=1)
        for name in ("frozen_epochs", "views"):
            check_whole(f"recipe.{name}", getattr(self, name), least=0)
        if self.frozen_epochs and (self.freeze == "backbone" or self.frozen_epochs >= self.epochs):
            allowed = "0 where freeze is 'backbone'" if self.freeze == "backbone" else f"0 to {self.epochs - 1}"
            raise UserError(f"recipe.frozen_epochs is {self.frozen_epochs}; allowed are {allowed}, fewer than epochs")
        if self.views and not self.is_frozen(1):
            raise UserError(
                f"recipe.views is {self.views}; allowed is 0 unless the backbone is frozen, by freeze='backbone' or "
                "frozen_epochs"
            )
        if self.accumulate > self.batch_size:
            allowed = f"whole numbers from 1 to batch_size, which is {self.batch_size}"
            raise UserError(f"recipe.accumulate is {self.accumulate}; allowed are {allowed}")
        check_choice("recipe.optimizer", self.optimizer, OPTIMIZERS)
        check_choice("recipe.precision", self.precision, PRECISIONS)
        check_choice("recipe.freeze", self.freeze, FREEZES)
        for name in ("flip", "halve_batch", "recompute_backbone", "sync_norm", "compile", "channels_last"):
            check_flag(f"recipe.{name}", getattr(self, name))
        if self.recompute_backbone and (self.compile or self.freeze == "backbone"):
            other = "compile is True" if self.compile else "freeze is 'backbone', which keeps no activations"
            raise UserError(f"recipe.recompute_backbone is True; allowed is False where {other}")
        if not isinstance(self.pretrained, (bool, str)) or self.pretrained == "":
            raise UserError(
                f"recipe.pretrained is {self.pretrained!r}; allowed are True, False and a file path as text"
            )
        allowed = "(low, high) with 0 < low <= high"
        jitter = check_items("recipe.jitter", self.jitter, allowed)
        object.__setattr__(self, "jitter", jitter)
        if len(jitter) != 2 or not all(map(is_number, jitter)) or not 0 < jitter[0] <= jitter[1]:
            raise UserError(f"recipe.jitter is {jitter}; allowed is {allowed}")

    def _check_numbers(self, bounds: dict[str, float], *names: str) -> None:
        for name in names:
            check_number(f"recipe.{name}", getattr(self, name), **bounds)

    def is_frozen(self, epoch: int) -> bool:
        """Return whether the backbone is frozen in an epoch, counted from 1."""
        return self.freeze == "backbone" or epoch <= self.frozen_epochs

    @classmethod
    def paper(cls, **changes: Any) -> Recipe:
        """EfficientDet's recipe: 300 epochs, batch 128, SGD (arXiv:1911.09070v7, section 5.1). `changes` replace fields."""
        values: dict[str, Any] = {
            "epochs": 300,
            "batch_size": 128,
            "precision": "bf16",
            "eval_every": 10,
            "sync_norm": True,
        }
        return cls(**{**values, **changes})

    @classmethod
    def short(cls, **changes: Any) -> Recipe:
        """A recipe from scratch for proxies of minutes. `changes` replace fields. docs/log has the measurements.

        AdamW at a high rate, with a second beta that soon forgets the large gradients of the start. A faster EMA. A lighter
        box loss, with a GIoU term added to Huber's. Alpha .5 instead of .25, for the few positives of a short training run.
        No scale jitter, since the paper's ranks poorly in short ones (arXiv:1911.09070v7, appendix: at 30 epochs 0.5-1.5
        beats 0.1-2.0).
        """
        values: dict[str, Any] = {
            "epochs": 5,
            "batch_size": 16,
            "optimizer": "adamw",
            "lr": 4e-2,
            "beta2": 0.99,
            "warmup_epochs": 0.5,
            "weight_decay": 0.05,
            "ema_decay": 0.99,
            "focal_alpha": 0.5,
            "box_weight": 20.0,
            "iou_weight": 1.0,
            "jitter": (1.0, 1.0),
        }
        return cls(**{**values, **changes})

    @classmethod
    def finetune(cls, **changes: Any) -> Recipe:
        """A recipe for a pretrained backbone and hundreds of photographs. `changes` replace fields; give `pretrained`.

        The backbone is frozen, so its features are computed once, in `views` augmentations of each image. The rest is `short`
        with a lower rate, more weight decay and scale jitter. Measured on two sets of photographs; docs/log has the numbers.

        `finetune(epochs=60, frozen_epochs=40, freeze="backbone_norms")` trains the whole network after that, the backbone at
        a tenth of the rate.
        """
        values: dict[str, Any] = {
            "epochs": 40,
            "freeze": "backbone",
            "views": 8,
            "lr": 1.2e-2,
            "backbone_lr": 0.1,
            "weight_decay": 0.1,
            "jitter": (0.6, 1.6),
            "eval_every": 5,
        }
        return cls.short(**{**values, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "jitter": list(self.jitter)}

    def protocol(self) -> dict[str, Any]:
        """Return plain JSON values that are equal for recipes whose training runs compare.

        Weights of a file or a folder count by their content, not their path. Fields at the value that says "as before they
        existed" are left out. Raises UserError for weights that are not there.
        """
        values = {name: value for name, value in self.to_dict().items() if value != _AS_BEFORE.get(name)}
        if isinstance(self.pretrained, str):
            values["pretrained"] = content_digest(Path(self.pretrained))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a `to_dict` result. Raises UserError."""
        return cls(**values)

"""train: trains one detector on one data set, without a study."""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from scaling_lab.checks import check_number, check_whole
from scaling_lab.cli.console import text_table
from scaling_lab.cli.loaded_weights import load_and_say
from scaling_lab.cli.parsing import add_feature_options, add_log_option, add_verb, usable_device
from scaling_lab.cli.specs import DETECTOR_HELP, add_changes, read_detector
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, is_unfinished, make_folder, read_json, write_whole
from scaling_lab.runs.lock import only_writer

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.data import Source
    from scaling_lab.training import Recipe
    from scaling_lab.training.joining import Launched

# Names of Recipe's constructors.
RECIPES = ("short", "finetune", "paper")
_EXPERIMENT = "scaling-lab"  # the trackers' name for runs of no study
SETTINGS, LOCK = "run.json", "train.lock"
_SHOWN = 3
_LONGEST = 40


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    train = add_verb(
        verbs,
        "train",
        _train,
        "train one detector, or continue an interrupted training run",
        "train d0 --data coco:/data/mine --set epochs=20 --set batch_size=16 --weights tf_efficientdet_d0.pth",
        "train bifpn --width 32 --image-size 128 --data shapes --out runs/train/narrow",
        "train runs/topology_ablation/specs/a1b2c3.json --data coco:/data/coco --recipe paper --device cuda --processes 8",
    )
    train.add_argument("detector", help=DETECTOR_HELP)
    train.add_argument(
        "--data", required=True, help="shapes, or a folder, with fields after commas; sets the number of classes"
    )
    train.add_argument(
        "--recipe",
        choices=[*RECIPES],
        help="the recipe to start from (finetune with --weights or pretrained, else short)",
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field of the recipe: epochs=20, batch_size=16, lr=0.01, jitter=0.5,1.5, pretrained=true, …",
    )
    train.add_argument(
        "--weights",
        type=Path,
        help="initial weights (.pth, .pt, .safetensors); classes match by name, else the class layer is new",
    )
    train.add_argument(
        "--anchors",
        choices=["default", "fit"],
        default="default",
        help="the detector's own (default), or fit: those that `data --fit-anchors` proposes for its image size",
    )
    train.add_argument("--seed", type=int, default=0, help="seed of initial weights and image order (0)")
    train.add_argument("--out", type=Path, help="the run's folder (runs/train/<detector>)")
    train.add_argument("--device", help="cpu, cuda, cuda:1, … (a GPU if available)")
    train.add_argument(
        "--workers",
        type=int,
        help="processes that read images, in all (of each training process: its cores minus one, at most 16)",
    )
    train.add_argument(
        "--processes",
        type=int,
        default=1,
        help="data-parallel processes, one for each GPU or core, which share the batch (1); on several machines use torchrun",
    )
    add_log_option(train)
    add_feature_options(train, "<run>/features")
    add_changes(train)


def _train(options: argparse.Namespace) -> int:
    from scaling_lab.training.joining import launched

    place = launched()
    if place is None or place.rank == 0:
        return _train_at(place, options)
    # Worker 0 alone writes; an error passes through.
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return _train_at(place, options)


def _train_at(place: Launched | None, options: argparse.Namespace) -> int:
    import torch

    from scaling_lab.data import parse_source
    from scaling_lab.data.accuracies import check_trainable
    from scaling_lab.features.build import FeatureFolder
    from scaling_lab.training.together import train_launched
    from scaling_lab.training.trackers import check_trackers

    check_whole("--seed", options.seed, least=0)
    check_whole("--processes", options.processes, least=1)
    check_number("--features-gb", options.features_gb, above=0)
    if place is not None and options.processes > 1:
        raise UserError(f"--processes is {options.processes}; allowed is 1 under torchrun, which starts the processes")
    source = parse_source(options.data)
    recipe = read_recipe(options.recipe, options.set, has_weights=options.weights is not None)
    spec = dataclasses.replace(read_detector(options.detector, options), num_classes=len(source.class_names))
    source.check_images("train", "val")
    check_trainable(source)
    if options.anchors == "fit":
        spec = _with_fitted_anchors(spec, source, sys.stderr if options.json else sys.stdout)
    workers = _workers(options.workers, options.processes if place is None else place.local_size)
    device = _device(place, options)
    folder = options.out or Path("runs", "train", Path(options.detector).stem)
    if options.weights is not None and recipe.pretrained:
        raise UserError(
            f"recipe.pretrained is {recipe.pretrained!r}, but --weights has the whole detector; allowed is one of the two"
        )
    weights = None
    if options.weights is not None and not (folder / "checkpoint.pt").exists():
        torch.manual_seed(options.seed)  # for layers without weights in the file
        weights = load_and_say(spec, options.weights, source.class_names).state_dict()
    features = FeatureFolder(root=options.features or folder / "features", limit_gb=options.features_gb)
    run: dict[str, Any] = {
        "spec": spec, "source": source, "recipe": recipe, "seed": options.seed, "folder": folder, "device": device,
        "workers": workers, "weights": weights, "features": features,
    }  # fmt: skip
    if place is not None and place.rank > 0:
        train_launched(place, report=lambda metrics: None, **run)
        return 0
    settings = {
        "spec": spec.to_dict(),
        "data": {**source.to_dict(), "digest": source.digest()},
        "recipe": _recipe_settings(recipe, folder),
        "seed": options.seed,
        "weights": None if options.weights is None else str(options.weights),
    }
    check_is_run(folder)
    check_trackers(options.log, _EXPERIMENT)
    make_folder(folder)
    with only_writer(folder / LOCK):
        keep_settings(folder, settings)
        return _run(place, options, run)


def _device(place: Launched | None, options: argparse.Namespace) -> str:
    """Return the device, with torchrun the process's own. Where other processes train, it is not touched here."""
    import torch

    is_any_gpu = options.device == "cuda" or (options.device is None and torch.cuda.is_available())
    if place is not None and not is_any_gpu and options.device not in (None, "cpu"):
        raise UserError(f"--device is {options.device!r}; allowed are cpu and cuda under torchrun")
    if is_any_gpu and options.processes > 1:
        return "cuda"
    return str(usable_device(f"cuda:{place.local_rank}" if place is not None and is_any_gpu else options.device))


def _with_fitted_anchors(spec: DetectorSpec, source: Source, stream: TextIO) -> DetectorSpec:
    """Return the spec with anchors fitted to the training boxes, and print what was chosen."""
    import dataclasses

    from scaling_lab.cli.fitted_anchors import words
    from scaling_lab.data.anchor_fitting import compared

    own, fitted = compared(source, spec)
    print("\n".join(words(own, fitted)), file=stream)
    return dataclasses.replace(spec, anchors=fitted.anchors)


def _run(place: Launched | None, options: argparse.Namespace, run: Mapping[str, Any]) -> int:
    from scaling_lab.cli.training_log import TrainingLog
    from scaling_lab.data.accuracies import held_out_words, objects_for
    from scaling_lab.data.readers import LostReader
    from scaling_lab.signals import interruptible
    from scaling_lab.training.evaluation import uncounted_objects
    from scaling_lab.training.failures import LostProcess
    from scaling_lab.training.together import train_launched, train_together
    from scaling_lab.training.trackers import Trackers, run_params

    stream = sys.stderr if options.json else sys.stdout
    spec, source, folder, epochs = run["spec"], run["source"], run["folder"], run["recipe"].epochs
    words = [f"{spec.describe()}, {spec.num_classes} classes", source.describe(), *source.remarks()]
    words += [f"{folder}, {run['device']}"]
    if source.kind != "shapes" and run["weights"] is None and not run["recipe"].pretrained:
        words += ["training from random weights; on few photographs --set pretrained=… reaches more AP in less time"]
    if not objects_for(source)["ap"]:
        words += [f"AP will not be measured: {held_out_words(source)}"]
    elif note := uncounted_objects(source):
        words += [note]
    print("\n".join(words), file=stream)
    try:
        with TrainingLog(folder, stream, epochs) as log:
            params = partial(run_params, spec, source, run["recipe"], run["seed"])
            places: Any = {"experiment": _EXPERIMENT, "run": folder.name, "folder": folder, "params": params}
            try:
                with interruptible(log.say, at_once=True), Trackers(options.log, say=log.say, **places) as trackers:

                    def report(metrics: dict[str, Any]) -> None:
                        log.epoch(metrics)
                        trackers.epoch(metrics)

                    begin = (
                        partial(train_together, options.processes) if place is None else partial(train_launched, place)
                    )
                    metrics = begin(report=report, progress=log.step, say=log.say, **run)
            except KeyboardInterrupt:
                log.say(f"stopped: {_kept(folder, log.epochs_done, epochs)}")
                return 130
            except (LostReader, LostProcess) as error:
                raise UserError(f"{error}; {_kept(folder, log.epochs_done, epochs)}") from None
    except WriteError as error:
        raise UserError(f"{error}; finished epochs are kept, and the same command continues") from error
    _print_result(options, folder, metrics, stream is sys.stderr)
    return 0


def _kept(folder: Path, done: int, epochs: int) -> str:
    again = "continues from there" if (folder / "checkpoint.pt").exists() else "starts over"
    return f"{folder} holds {done} of {epochs} epochs; the same command {again}"


def _print_result(options: argparse.Namespace, folder: Path, metrics: Mapping[str, Any], as_json: bool) -> None:
    from scaling_lab.training.evaluation import SUMMARY

    weights, best = folder / "weights.pt", folder / "best.pt" if "best_epoch" in metrics else None
    if as_json:
        files = {"weights": str(weights), "best_weights": best and str(best)}
        print(json.dumps({"folder": str(folder), **files, **metrics}, indent=1))
        return
    numbers = ["-" if metrics[name] is None else f"{metrics[name]:.1f}" for name in SUMMARY]
    print(f"\n{text_table([[*SUMMARY], numbers])}\n\nweights: {weights}")
    if best is not None:
        print(f"best: epoch {metrics['best_epoch']}, AP {metrics['best_ap']:.1f}: {best}")
    evaluate = ["scaling-lab", "evaluate", "--weights", str(weights), "--data", options.data]
    print(f"by class: {shlex.join(evaluate)}")
    print(f"curves: {shlex.join(['tensorboard', '--logdir', str(folder)])}    (pip install tensorboard)")


def _recipe_settings(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Return what run.json records of the recipe: pretrained weights by content, which a continued run no longer needs."""
    if (
        not isinstance(recipe.pretrained, str)
        or Path(recipe.pretrained).exists()
        or not (folder / "checkpoint.pt").exists()
    ):
        return recipe.protocol()
    before = read_json(folder / SETTINGS)
    kept = before.get("recipe", {}).get("pretrained") if isinstance(before, dict) else None
    return {**dataclasses.replace(recipe, pretrained=False).protocol(), "pretrained": kept}


def read_recipe(name: str | None, changes: list[str], *, has_weights: bool = False) -> Recipe:
    """Return the named recipe with changes "field=value"; without a name finetune where there are weights, else short.

    Raises UserError for a text without "=" or a wrong value.
    """
    from scaling_lab.training import Recipe

    values: dict[str, Any] = {}
    for change in changes:
        field, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"--set is {change!r}; allowed is NAME=VALUE, such as epochs=20")
        values[field.strip().removeprefix("recipe.")] = _value(
            text.strip()
        )  # error messages name fields with this prefix
    if name is None:
        name = "finetune" if has_weights or values.get("pretrained", False) is not False else "short"
    recipe: Recipe = getattr(Recipe, name)(**values)
    return recipe


def _value(text: str) -> Any:
    """Parse true, false, a number or comma-separated numbers; anything else is text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text


def _workers(number: int | None, processes: int) -> int:
    """Return the image readers of each training process: of all `number`, else of its share of the machine's cores."""
    from scaling_lab.data.readers import readers_beside
    from scaling_lab.machine import cores

    if number is None:
        return readers_beside(cores() // processes)
    check_whole("--workers", number, least=0)
    return -(-number // processes)


# --- the run's folder ------------------------------------------------------------------------------------------------


def check_is_run(folder: Path) -> None:
    """Raise UserError for a folder with files but no run of `train`."""
    if not folder.is_dir():
        return
    others = sorted(each.name for each in folder.iterdir() if each.name != LOCK and not is_unfinished(each))
    if others and SETTINGS not in others:
        raise UserError(f"{folder} holds files but no {SETTINGS}: {others[0]}, …; choose an empty folder with --out")


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write a run's settings into its folder. Raises UserError where it has a checkpoint with other settings."""
    path = folder / SETTINGS
    if (folder / "checkpoint.pt").exists():
        _check_same(folder, path, settings)
    else:
        write_whole(path, json.dumps(settings, indent=1) + "\n", lasting=True)


def _check_same(folder: Path, path: Path, settings: Mapping[str, Any]) -> None:
    from scaling_lab.training.trackers import flat

    try:
        there = read_json(path)
        if not isinstance(there, dict):
            raise UserError(f"{path} holds a {type(there).__name__}")
    except UserError as error:
        advice = f"remove {folder} to start over, or choose another folder with --out"
        raise UserError(f"{error}, so it is unknown what {folder / 'checkpoint.pt'} was trained on; {advice}") from None
    before, now = flat(there), flat(json.loads(json.dumps(settings)))
    other = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if other:
        words = [_difference(name, before.get(name), now.get(name)) for name in other[:_SHOWN]]
        more = ", …" if len(other) > _SHOWN else ""
        raise UserError(f"{folder} holds another run: {', '.join(words)}{more}; choose another folder with --out")


def _difference(name: str, before: object, now: object) -> str:
    if max(len(repr(before)), len(repr(now))) > _LONGEST:
        return f"{name} differs"
    return f"{name} is {before!r} there but {now!r} here"

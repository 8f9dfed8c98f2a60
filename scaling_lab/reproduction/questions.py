"""The paper's questions, each with the study that asks it here and what the paper answers. It knows no result."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

SOURCE = "arXiv:1911.09070v7"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of the paper: the study and its form that ask it at demonstration size, and the published answer."""

    number: int
    text: str
    study: str
    form: str
    published: str
    where: str

    @property
    def run(self) -> str:
        """The name of the study's run."""
        return f"{self.study}-{self.form}"

    @property
    def command(self) -> str:
        """What asks it here."""
        return shlex.join(["scaling-lab", "run", f"studies/{self.study}.py", "--form", self.form])

    @property
    def paper_command(self) -> str:
        """What asks it at the paper's size."""
        return f"scaling-lab run studies/{self.study}.py --form paper --data coco:DIR"


QUESTIONS = (
    Question(
        number=1,
        text="By which factor should the width grow with phi?",
        study="width_factor",
        form="seeds",
        published="1.35, of 1.2 to 1.45; no AP is given for the others",
        where="section 4.2",
    ),
    Question(
        number=2,
        text="Which feature network?",
        study="topology_ablation",
        form="seeds",
        published="BiFPN 44.39 AP, FPN + PANet 44.08, NAS-FPN 43.16, fully-connected 43.06, repeated FPN 42.29",
        where="Table 5",
    ),
    Question(
        number=3,
        text="How should a node weigh its inputs?",
        study="fusion",
        form="seeds",
        published="fast fusion has 0.01 to 0.11 AP less than softmax and is 1.26 to 1.31 times as fast",
        where="Table 6, Figure 5",
    ),
    Question(
        number=4,
        text="What does the backbone give, and what the feature network?",
        study="backbone_and_network",
        form="seeds",
        published="EfficientNet-B3 for ResNet-50 +3.3 AP, BiFPN for FPN +4.1",
        where="Table 4",
    ),
    Question(
        number=5,
        text="Is a detector scaled better in all dimensions together than in one alone?",
        study="compound_scaling",
        form="seeds",
        published="compound scaling is above every single dimension; no numbers are given",
        where="Figure 6",
    ),
    Question(
        number=6,
        text="Is there a better cell than BiFPN at no more multiply-adds?",
        study="topology_search",
        form="seeds",
        published="NAS-FPN, which a search found, has 1.2 AP less than BiFPN, at more cost",
        where="Table 5",
    ),
    Question(
        number=7,
        text="Does a short training rank feature networks as a long one does?",
        study="proxy",
        form="long",
        published="not asked there; NAS-FPN's search took ten epochs for a proxy (arXiv:1904.07392)",
        where="none",
    ),
)

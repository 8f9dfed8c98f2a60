"""Images with boxes behind one interface: Shapes, generated on the fly, and Coco, Voc and Yolo, read from disk.

A source is a plain value that can be printed, compared and hashed. Importing this package does not import torch. Batches
for the network come from `scaling_lab.data.batches`.
"""

from __future__ import annotations

from scaling_lab.data.coco import Coco
from scaling_lab.data.recognition import parse_source
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.sources import ON_DISK, Source, source_from_dict
from scaling_lab.data.voc import Voc
from scaling_lab.data.yolo import Yolo

__all__ = ["ON_DISK", "Coco", "Shapes", "Source", "Voc", "Yolo", "parse_source", "source_from_dict"]

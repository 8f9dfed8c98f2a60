"""Detectors that run in a millisecond."""

from __future__ import annotations

import dataclasses
from typing import Any

from scaling_lab import DetectorSpec, topologies
from search_spaces.compound import SMALL


def tiny(**changes: Any) -> DetectorSpec:
    base = dataclasses.replace(
        SMALL.base, topology=topologies.fpn(3, 5), width=8, repeats=1, image_size=(64, 64), num_classes=3
    )
    return dataclasses.replace(base, **changes)

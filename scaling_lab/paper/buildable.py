"""Published detectors that scaling_lab builds, as distinct specs at the image sizes of their published AP."""

from __future__ import annotations

import dataclasses

from scaling_lab.architecture import DetectorSpec
from scaling_lab.paper.recounts import detector_spec
from scaling_lab.report.analysis.detector_facts import PublishedDetector, published_detectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Buildable:
    """A spec and the published rows of it, which differ in training."""

    spec: DetectorSpec
    rows: tuple[PublishedDetector, ...]


def buildable() -> dict[str, Buildable]:
    """Return the detectors by the digest of their specs."""
    found: dict[str, Buildable] = {}
    for row in published_detectors():
        spec = detector_spec(row)
        if spec is None:
            continue
        if row.image_size is not None:
            spec = dataclasses.replace(spec, image_size=row.image_size)
        before = found[spec.digest].rows if spec.digest in found else ()
        found[spec.digest] = Buildable(spec=spec, rows=(*before, row))
    return found

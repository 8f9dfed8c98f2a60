"""Published detectors that scaling_lab builds, as distinct computations at the image sizes of their published AP."""

from __future__ import annotations

import dataclasses

from scaling_lab.architecture import DetectorSpec
from scaling_lab.paper.recounts import detector_spec
from scaling_lab.report.analysis.detector_facts import PublishedDetector, published_detectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Buildable:
    """A spec, the digests of all specs that compute the same, and the published rows of them, which differ in training."""

    spec: DetectorSpec
    digests: frozenset[str]
    rows: tuple[PublishedDetector, ...]

    @property
    def gmacs(self) -> float:
        """The stored count of multiply-adds / 1e9, scaled to the spec's image size; counting anew takes a second."""
        counted = self.rows[0].counted_gmacs
        assert counted is not None
        size = self.rows[0].gflops_size or self.spec.image_size
        return counted * (self.spec.image_size[0] * self.spec.image_size[1]) / (size[0] * size[1])


def buildable() -> dict[str, Buildable]:
    """Return the detectors by the digest of the first spec of each computation, in the order of the table."""
    found: dict[str, Buildable] = {}
    for row in published_detectors():
        spec = detector_spec(row)
        if spec is None:
            continue
        if row.image_size is not None:
            spec = dataclasses.replace(spec, image_size=row.image_size)
        key = _computation(spec).digest
        before = found.get(key) or Buildable(spec=spec, digests=frozenset(), rows=())
        found[key] = dataclasses.replace(before, digests=before.digests | {spec.digest}, rows=(*before.rows, row))
    return {each.spec.digest: each for each in found.values()}


def _computation(spec: DetectorSpec) -> DetectorSpec:
    """Return the spec without what leaves the operators and their shapes as they are."""
    aspects = tuple((round(height, 1), round(width, 1)) for height, width in spec.anchors.aspects)
    options = {name: value for name, value in spec.backbone_options.items() if name != "drop_path_rate"}
    anchors = dataclasses.replace(spec.anchors, scale=4.0, aspects=aspects)
    return dataclasses.replace(spec, pixels=type(spec.pixels)(), anchors=anchors, backbone_options=options)

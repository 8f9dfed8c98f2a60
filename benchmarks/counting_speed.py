"""How fast is `scaling_lab.count`? Compared with fvcore and torch's own counter on D0, on one core.

    python benchmarks/counting_speed.py             a minute

All specs have D0's backbone, which is counted first at two image sizes. Each row counts distinct specs once:

    width, image size    D0 with another one; no width and no side of an image occurs twice
    phi                  the paper's rule without its backbones, at another real phi; all image sizes differ
    topology             random points of topology, edges and nas_cell at D0's width and image size
    all of these         and another number of cells, head convolutions and classes
    the shipped spaces   random points of topology, edges and nas_cell, with 15 widths (16 to 128 by 8) at D0's image size
    D0 again             the same spec again, like a search's duplicates

Times are the process's own on one core, so other processes disturb them little. They include making the spec and its hash.
fvcore is FlopCountAnalysis(detector, image).total(); torch's counter is a pass on the meta device under FlopCounterMode.
Building the detector is not timed for either; the shortest of several runs counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import random
import time
from collections.abc import Callable, Iterator
from statistics import mean, median

import optuna
import torch
from fvcore.nn import FlopCountAnalysis
from torch.utils.flop_counter import FlopCounterMode

from scaling_lab import CompoundScaling, DetectorSpec, Topology, build, count, efficientdet
from search_spaces import edges, nas_cell, topology

BASE = efficientdet("d0")
RULE = CompoundScaling(width_multiple=1).only("width", "depth", "heads", "image_size")


class Drawn(optuna.trial.FixedTrial):
    """A trial with random choices."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__({})
        self._chance = chance

    def suggest_categorical(self, name, choices):  # type: ignore[no-untyped-def]
        """Draw one."""
        return self._chance.choice(list(choices))

    def suggest_int(self, name, low, high, *, step=1, log=False):  # type: ignore[no-untyped-def]
        """Draw one."""
        return self._chance.randrange(low, high + 1, step)


def drawn_topology(chance: random.Random, base: DetectorSpec = BASE) -> DetectorSpec:
    """Return a random point of a shipped space."""
    return chance.choice([topology, edges, nas_cell]).space(Drawn(chance), base=base)  # type: ignore[no-any-return]


def shipped(chance: random.Random) -> DetectorSpec:
    """Return a random point of a shipped space with one of 15 widths and another depth."""
    size = {"width": chance.randrange(16, 129, 8), "head_repeats": chance.randint(1, 5)}
    return drawn_topology(chance, dataclasses.replace(BASE, repeats=chance.randint(1, 6), **size))


class Once:
    """Draws each number of a range once."""

    def __init__(self, chance: random.Random, low: int, number: int) -> None:
        self._left = iter(chance.sample(range(low, low + number), number))

    def draw(self) -> int:
        """Return one that was not drawn yet."""
        return next(self._left)


def rows(number: int) -> dict[str, list[DetectorSpec]]:
    """Return distinct specs by row."""
    chance = random.Random(0)
    widths, sides = Once(chance, 33, 2 * number), Once(chance, 257, 6 * number)

    def image_size() -> tuple[int, int]:
        return (sides.draw(), sides.draw())

    def everything(chance: random.Random) -> DetectorSpec:
        found = drawn_topology(chance, dataclasses.replace(BASE, repeats=chance.randint(1, 6)))
        heads = {"head_repeats": chance.randint(1, 5), "num_classes": chance.randint(1, 100)}
        return dataclasses.replace(found, width=widths.draw(), image_size=image_size(), **heads)

    return {
        "width": [dataclasses.replace(BASE, width=widths.draw()) for _ in range(number)],
        "image size": [dataclasses.replace(BASE, image_size=image_size()) for _ in range(number)],
        "phi": distinct(lambda: RULE.spec(chance.uniform(-2, 12)), number, lambda spec: spec.image_size),
        "topology": distinct(lambda: drawn_topology(chance), number),
        "all of these": [everything(chance) for _ in range(number)],
    }


def distinct(
    draw: Callable[[], DetectorSpec], number: int, key: Callable[[DetectorSpec], object] = hash
) -> list[DetectorSpec]:
    """Draw specs until so many of them differ by `key`."""
    found: dict[object, DetectorSpec] = {}
    while len(found) < number:
        spec = draw()
        found.setdefault(key(spec), spec)
    return list(found.values())


def made_and_counted(spec: DetectorSpec) -> None:
    """Make an equal spec with an equal topology, hash it and count it."""
    made = dataclasses.replace(spec, topology=Topology.from_dict(spec.topology.to_dict()))
    hash(made)
    count(made)


def seconds(run: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of repeated calls."""
    return list(timed(run for _ in range(times)))


def timed(runs: Iterator[Callable[[], object]]) -> Iterator[float]:
    """Yield the seconds of each call."""
    for run in runs:
        start = time.process_time()
        run()
        yield time.process_time() - start


def with_torch(meta: torch.nn.Module) -> None:
    """Count with torch's counter."""
    with torch.no_grad(), FlopCounterMode(display=False):
        meta(torch.empty(1, 3, *BASE.image_size, device="meta"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, default=1000, help="in each row; the shipped spaces' has 20 times as many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(1)
    by_row = {**rows(options.specs), "the shipped spaces": distinct(lambda: shipped(chance), 20 * options.specs)}
    # Counts the backbone only: the topology passes features through, at a unique width.
    bare = dataclasses.replace(BASE, topology=topology.topologies.none(3, 7), width=8)
    first, second = (
        seconds(lambda side=side: count(dataclasses.replace(bare, image_size=(side, side))), 1)[0]  # type: ignore[misc]
        for side in (512, 640)
    )
    print(f"the backbone at its first image size {first:.2f} s, at its second {second:.2f} s; ms a spec:", flush=True)
    print(f"{'':22}{'specs':>8}{'mean':>9}{'median':>9}{'longest':>9}")
    taken = {}
    gc.collect()
    gc.freeze()  # the specs themselves, which a search does not hold
    for name, specs in by_row.items():
        each = list(timed(lambda spec=spec: made_and_counted(spec) for spec in specs))  # type: ignore[misc]
        taken[name] = mean(each)
        numbers = "".join(f"{1e3 * value:9.3f}" for value in (mean(each), median(each), max(each)))
        print(f"{name:22}{len(specs):8,}{numbers}", flush=True)
    again = seconds(lambda: count(BASE), 1000)
    taken["D0 again"] = median(again)
    print(f"{'D0 again':22}{'':8}{1e3 * mean(again):9.3f}{1e3 * median(again):9.3f}{1e3 * max(again):9.3f}")
    detector = build(BASE).eval()
    image = torch.zeros(1, 3, *BASE.image_size)

    def with_fvcore() -> None:
        analysis = FlopCountAnalysis(detector, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()

    with torch.device("meta"):
        meta = build(BASE).eval()
    for name, other in (("fvcore", with_fvcore), ("torch's counter", lambda: with_torch(meta))):
        best = min(seconds(other, 3))
        ratios = ", ".join(f"{row} {best / own:,.0f}" for row, own in taken.items())
        print(f"{name} on the built D0: {best * 1e3:.0f} ms. Times as long as the mean: {ratios}")


if __name__ == "__main__":
    main()

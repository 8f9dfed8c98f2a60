"""How fast is `scaling_lab.count`? Compared with fvcore and torch's own counter on D0, on one core.

    python benchmarks/counting_speed.py             a minute; close everything else

All specs are D0 at 512 px with another feature network. After the backbone's count is cached:

    the shipped spaces   random points of topology, edges and nas_cell, each space's on D0, with other widths (16 to 128 by 8),
                         depths and head depths; distinct detectors only, each counted once, with nothing but the backbone
                         cached
    D0 again             the same spec again, like a search's duplicates

fvcore is FlopCountAnalysis(detector, image).total(); torch's counter is a pass on the meta device under FlopCounterMode.
Building the detector is not timed for either; the shortest of several runs is reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from statistics import median

import optuna
import torch
from fvcore.nn import FlopCountAnalysis
from torch.utils.flop_counter import FlopCounterMode

from scaling_lab import DetectorSpec, build, count, efficientdet
from search_spaces import edges, nas_cell, topology

BASE = efficientdet("d0")


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


def drawn_specs(number: int) -> Iterator[DetectorSpec]:
    """Yield distinct random detectors."""
    chance, seen = random.Random(0), set[DetectorSpec]()
    while len(seen) < number:
        size = {"width": chance.randrange(16, 129, 8), "head_repeats": chance.randint(1, 5)}
        base = dataclasses.replace(BASE, repeats=chance.randint(1, 6), **size)
        spec = chance.choice([topology, edges, nas_cell]).space(Drawn(chance), base=base)
        if spec not in seen:
            seen.add(spec)
            yield spec


def seconds(run: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of repeated calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def with_torch(meta: torch.nn.Module) -> None:
    """Count with torch's counter."""
    with torch.no_grad(), FlopCounterMode(display=False):
        meta(torch.empty(1, 3, *BASE.image_size, device="meta"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, default=20_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    specs = list(drawn_specs(options.specs))
    # Counts the backbone only: the topology passes features through, at a unique width.
    first = seconds(lambda: count(dataclasses.replace(BASE, topology=topology.topologies.none(3, 7), width=8)), 1)[0]
    taken = seconds(lambda: [count(spec) for spec in specs], 1)[0] / len(specs)
    again = median(seconds(lambda: count(BASE), 1000)[1:])
    detector = build(BASE).eval()
    image = torch.zeros(1, 3, *BASE.image_size)

    def with_fvcore() -> None:
        analysis = FlopCountAnalysis(detector, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()

    fvcore = min(seconds(with_fvcore, 3))
    with torch.device("meta"):
        meta = build(BASE).eval()
    torchs = min(seconds(lambda: with_torch(meta), 3))
    print(f"the backbone, once                              {first:.2f} s")
    print(f"{len(specs):,} distinct specs of the shipped spaces   {taken * 1e6:.0f} us each, {1 / taken:,.0f} a second")
    print(f"D0 again                                       {again * 1e6:.0f} us")
    for name, time_taken in (("fvcore", fvcore), ("torch's FlopCounterMode", torchs)):
        ratios = f"{time_taken / taken:,.0f} and {time_taken / again:,.0f} times as long"
        print(f"{name + ' on the built D0':46} {time_taken * 1e3:.0f} ms: {ratios}")


if __name__ == "__main__":
    main()

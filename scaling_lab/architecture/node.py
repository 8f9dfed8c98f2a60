"""One node of a topology, and the renumbering of a list of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from scaling_lab.architecture.fusions import FUSIONS
from scaling_lab.checks import Fields, check_items, check_whole
from scaling_lab.errors import UserError


@dataclass(frozen=True)
class Node(Fields):
    """A node that fuses the features with ids `inputs` at `level` (stride 2**level). Raises UserError.

    `fusion` is one of FUSIONS. The order of inputs matters only to attention fusions: the first gates the second.
    """

    level: int
    inputs: tuple[int, ...]
    fusion: str = "fast"

    def __post_init__(self) -> None:
        check_whole("a node's level", self.level)
        inputs = check_items(f"a node at P{self.level}: inputs", self.inputs, "a list of ids, such as (0, 1)")
        object.__setattr__(self, "inputs", inputs)
        for source in inputs:
            check_whole(f"a node at P{self.level}: an input", source)
        if self.fusion not in FUSIONS:
            raise UserError(f"fusion {self.fusion!r} is unknown; allowed are {', '.join(FUSIONS)}")
        if not self.inputs:
            raise UserError(f"a node at P{self.level} has no inputs; allowed is at least one")
        if len(set(self.inputs)) < len(self.inputs):
            raise UserError(f"a node at P{self.level} reads an id twice: {list(self.inputs)}; allowed are distinct ids")
        if len(self.inputs) < self.ordered_inputs:
            needed = f"allowed are at least {self.ordered_inputs}"
            raise UserError(
                f"a node at P{self.level} with fusion {self.fusion!r} has {len(self.inputs)} input; {needed}"
            )

    @property
    def ordered_inputs(self) -> int:
        """The number of first inputs whose order matters."""
        return FUSIONS[self.fusion].ordered_inputs


def reordered(nodes: Sequence[Node], order: Sequence[int], *, num_inputs: int) -> tuple[Node, ...]:
    """Return the nodes with these ids in this order, renumbered; the inputs 0 … num_inputs - 1 keep their ids."""
    new_id = {old: old for old in range(num_inputs)}
    new_id.update({old: num_inputs + place for place, old in enumerate(order)})
    written = []
    for old in order:
        node = nodes[old - num_inputs]
        inputs = [new_id[source] for source in node.inputs]
        kept = node.ordered_inputs
        written.append(dataclasses.replace(node, inputs=(*inputs[:kept], *sorted(inputs[kept:]))))
    return tuple(written)

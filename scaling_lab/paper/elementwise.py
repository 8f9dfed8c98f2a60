"""The operations of a feature network besides its convolutions, as TensorFlow's profiler counts them.

The paper's "FLOPs" are that profiler's operations / 2. The operations are those of google/automl's first release (72052f5,
efficientdet_arch.py), counted as TensorFlow 2.15.1's profiler does. It counts batch norm, ReLU, sigmoid and a maximum over
the image as 0. tests/paper has the profiler's counts of that code.
"""

from __future__ import annotations

from scaling_lab.architecture.fusions import FUSIONS
from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import DetectorSpec

# (channels, height, width) of a feature.
Shape = tuple[int, int, int]

# x * sigmoid(beta * x).
SWISH_OPERATIONS = 2


def elementwise_operations(spec: DetectorSpec, features: tuple[Shape, ...]) -> int:
    """Return the operations for one image; `features` are the backbone's shapes, finest first.

    Valid for networks as in Table 5: a node at every level, SiLU activations, and the fusions sum, fast and attention.
    """
    inputs = list(features)
    total = 0
    while len(inputs) < spec.topology.num_inputs:
        _, height, width = inputs[-1]
        coarser = (spec.width, (height - 1) // 2 + 1, (width - 1) // 2 + 1)
        total += _resampling(inputs[-1], coarser)
        inputs.append(coarser)
    shapes = {
        level: (spec.width, height, width)
        for level, (_, height, width) in zip(spec.topology.levels, inputs, strict=True)
    }
    for _ in range(spec.repeats):
        known = list(inputs)
        for node in spec.topology.nodes:
            shape = shapes[node.level]
            total += sum(_resampling(known[source], shape) for source in node.inputs) + _node(node, shape)
            known.append(shape)
        inputs = [known[output] for output in spec.topology.outputs]
    return total


def _resampling(source: Shape, target: Shape) -> int:
    """Count a projection's bias, and the comparisons of a pooling or the copies (products with ones) of an upsampling."""
    channels, height, width = target
    elements = channels * height * width
    total = channels * source[1] * source[2] if source[0] != channels else 0
    if source[1:] > target[1:]:
        strides = [(side - 1) // out + 1 for side, out in zip(source[1:], target[1:], strict=True)]
        total += elements * (strides[0] + 1) * (strides[1] + 1)
    elif source[1:] < target[1:]:
        total += elements
    return total


def _node(node: Node, shape: Shape) -> int:
    """Count the fusion, the activation and the convolution's bias."""
    elements = shape[0] * shape[1] * shape[2]
    inputs = len(node.inputs)
    per_element, scalars = inputs - 1, 0
    if node.fusion == "fast":  # each input times its weight, divided by the sum of weights plus epsilon
        per_element, scalars = inputs - 1 + 2 * inputs, inputs - 1 + inputs
    elif FUSIONS[node.fusion].ordered_inputs:
        per_element = inputs
    return elements * (per_element + SWISH_OPERATIONS + 1) + scalars

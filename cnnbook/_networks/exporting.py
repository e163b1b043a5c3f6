"""A quantized model as converters know it."""

from cnnbook._networks import kinds
from cnnbook._networks.graph import Graph
from cnnbook._networks.quantized_layers import QuantizedActivation, WithBits

__all__ = ["exportable", "ranges"]


def ranges(model):
    """The layers that quantize activations."""
    return [x for x in model._flatten_layers() if isinstance(x, QuantizedActivation)]


def exportable(model):
    """A copy of a quantized model, its ranges as numbers that stand in the file.

    Raises:
        ValueError: If the range of an activation is unknown.
    """
    graph = Graph(model, "to_litert")
    for node in graph.nodes:
        if isinstance(node.layer, QuantizedActivation):
            node.layer.freeze()
    scales = {}
    for node in graph.nodes:
        if isinstance(node.layer, WithBits):
            scales.setdefault(id(node.layer), (node.layer, []))[1].append(_input_scale(node))
    for layer, found in scales.values():
        layer.freeze(min((s for s in found if s is not None), default=None))
    return graph.rebuild(lambda node, *args, **kwargs: node.layer(*args, **kwargs))


def _input_scale(node):
    """Of what a layer reads; None where that is not quantized."""
    (source, *_) = node.sources
    while source is not None and source.kind in (*kinds.SELECTIONS, *kinds.AVERAGES):
        (source, *_) = source.sources
    is_range = source is not None and isinstance(source.layer, QuantizedActivation)
    return source.layer.scale if is_range else None

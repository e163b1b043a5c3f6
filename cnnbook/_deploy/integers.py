"""Whether a file that is called quantized computes with integers only, and which layer does not."""

import re

import keras

from cnnbook._deploy.packages import needed

BETWEEN = ("QUANTIZE", "DEQUANTIZE")  # at the edge between integers and floats, not a layer's own
# They exist for integers, too, and are on floats only where a neighbor is.
MOVING = (
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "EXPAND_DIMS",
    "MAX_POOL_2D",
    "PACK",
    "PAD",
    "PADV2",
    "REDUCE_MAX",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SHAPE",
    "SPLIT",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TRANSPOSE",
)


def require_integers(content, model, quantized, skip):
    """Raises where a file has an operation on floats that no layer left float accounts for."""
    allowed = set(skip) | (_left_float(model) if quantized else set())
    computing, moving = _float_layers(content, model)
    found = sorted(computing - allowed or (set() if computing else moving - allowed))
    if found:
        named = ", ".join(map(repr, found))
        raise ValueError(
            f"the file would compute in floats what LiteRT has no integers for: {named}. Replace "
            "what is named by layers that it has integers for, or name it in skip, and it stays "
            "float. Nothing was written."
        )


def _left_float(model):
    """The layers of a quantized model that still have the weights of a float one."""
    return {
        layer.name
        for layer in model._flatten_layers(include_self=False)
        if layer.weights
        and not isinstance(layer, (keras.Model, keras.layers.PReLU))
        and not type(layer).__module__.startswith("cnnbook.")
    }


def _float_layers(content, model):
    """Two sets: the layers that compute with floats, and those that only move them."""
    schema = needed("ai_edge_litert.schema_py_generated")
    kinds, types = (
        {number: name for name, number in vars(known).items() if isinstance(number, int)}
        for known in (schema.BuiltinOperator, schema.TensorType)
    )
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    codes = [kinds[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in file.operatorCodes]
    computing, moving = set(), set()
    for graph in file.subgraphs:
        for operation in graph.operators:
            kind = codes[operation.opcodeIndex]
            tensors = [graph.tensors[i] for i in (*operation.inputs, *operation.outputs) if i >= 0]
            floats = any(types[tensor.type].startswith("FLOAT") for tensor in tensors)
            if floats and kind not in BETWEEN:
                name = _layer_of(graph, operation, model)
                (moving if kind in MOVING else computing).add(name)
    return computing, moving


def _last_layer(model):
    operation = model.outputs[0]._keras_history.operation
    return _last_layer(operation) if isinstance(operation, keras.Model) else operation.name


def _layer_of(graph, operation, model):
    """The innermost layer in the path of an operation's output, or else that path.

    TensorFlow appends a number to names that it has seen before, to the model's own likewise.
    """
    path = graph.tensors[operation.outputs[0]].name.decode().partition(";")[0]
    if path.startswith("StatefulPartitionedCall"):  # the converter's name for the output
        return _last_layer(model)
    layers = {operation.name for operation in _operations(model)}
    first, *parts = path.split("/")
    suffix = first.removeprefix(model.name)
    for part in reversed(parts):
        for name in (part.removesuffix(suffix), part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return name
    return path


def _operations(model):
    for operation in getattr(model, "operations", model.layers):
        yield operation
        if isinstance(operation, keras.Model):
            yield from _operations(operation)

"""Weights that lie as PyTorch wants them, for the layers of a Keras model."""

from collections import Counter
from collections.abc import Mapping

import keras
import numpy as np

from cnnbook._networks.graph import require_graph

COUNTED = "num_batches_tracked"  # a parameter of PyTorch's that Keras has no counterpart for


def assignments(model, state_dict, names):
    """[(variable, array)] for the whole model; raises before anything is assigned."""
    require_graph(model, "load_torch_weights")
    modules = _by_module(state_dict)
    layers = [layer for layer in model.layers if layer.weights]
    nodes = _nodes(model)
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Reshape, keras.layers.Permute)):
            raise ValueError(
                f"model has the layer {layer.name!r} of type {type(layer).__name__}, "
                "behind which the order of the features is not known; use Flatten."
            )
    if len(layers) != len(modules):
        raise ValueError(
            f"model has {len(layers)} layers with weights "
            f"({', '.join(layer.name for layer in layers)}), but "
            f"state_dict has {len(modules)} ({', '.join(modules)})."
        )
    matched, pairs = _matched(layers, modules, names, nodes), []
    for layer in layers:
        prefix = matched[layer.name]
        pairs += _of_layer(layer, _features_order(layer, nodes), prefix, modules[prefix])
    return pairs


# The arrays


def _by_module(state_dict):
    """{prefix: {parameter: array}} in the order of the state_dict."""
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            "state_dict must map names to arrays, as module.state_dict() does, "
            f"got {type(state_dict).__name__}."
        )
    modules = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"state_dict must have names for its keys, got {name!r}.")
        prefix, _, parameter = name.rpartition(".")
        if parameter != COUNTED:
            modules.setdefault(prefix, {})[parameter] = _as_array(name, value)
    return modules


def _as_array(name, value):
    try:
        value = value.detach().cpu() if hasattr(value, "detach") else value
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"state_dict[{name!r}] is not an array for NumPy: {error}") from None
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"state_dict[{name!r}] must hold floats, got {array.dtype}.")
    return array


# Which module a layer's weights are in


def _matched(layers, modules, names, nodes):
    """{layer's name: prefix}: as names says, then by equal names, then by order."""
    matched = _named(layers, modules, names)
    for layer in layers:
        if layer.name in modules and layer.name not in {*matched, *matched.values()}:
            matched[layer.name] = layer.name
    rest = [layer.name for layer in layers if layer.name not in matched]
    prefixes = [prefix for prefix in modules if prefix not in matched.values()]
    if not (_is_chain(nodes) and _is_numbered(prefixes)):
        _require_different(rest, prefixes, modules)
    return matched | dict(zip(rest, prefixes, strict=True))


def _named(layers, modules, names):
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise ValueError(f"names must map names of layers to those of modules, got {names!r}.")
    for kind, given, known in (
        ("layers with weights", names, [layer.name for layer in layers]),
        ("modules", names.values(), list(modules)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"names has {unknown}, but the {kind} are {', '.join(known)}.")
    twice = [prefix for prefix, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"names has the modules {twice} for more than one layer.")
    return dict(names)


def _require_different(layers, prefixes, modules):
    """Raises where two modules could change places, and only their order tells them apart."""
    seen = {}
    for layer, prefix in zip(layers, prefixes, strict=True):
        shapes = frozenset((name, array.shape) for name, array in modules[prefix].items())
        if shapes in seen:
            other_layer, other_prefix = seen[shapes]
            raise ValueError(
                f"layers {other_layer!r} and {layer!r} could each have the weights of "
                f"{other_prefix!r} or of {prefix!r}, whose shapes are equal: name the layers as "
                "the modules, or say which is which by names={layer: module}."
            )
        seen[shapes] = layer, prefix


def _is_numbered(prefixes):
    """Whether the modules are those of one torch.nn.Sequential, whose numbers are their order."""
    parents = {prefix.rpartition(".")[0] for prefix in prefixes}
    numbers = [prefix.rpartition(".")[2] for prefix in prefixes]
    if len(parents) > 1 or not all(number.isdecimal() for number in numbers):
        return False
    return numbers == sorted(numbers, key=int)


def _nodes(model):
    """The calls of layers that make up a model, as Keras keeps them."""
    by_depth = getattr(model, "_functional", model)._nodes_by_depth
    return [node for nodes in by_depth.values() for node in nodes]


def _is_chain(nodes):
    read = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    single = all(len(node.input_tensors) <= 1 for node in nodes)
    return single and max(read.values(), default=0) <= 1


# How an array has to lie


def _features_order(layer, nodes):
    """order[k]: where PyTorch has the feature that Keras has at k; None where both agree."""
    calls = [node for node in nodes if node.operation is layer]
    orders = [_order_behind(tensor, nodes) for node in calls for tensor in node.input_tensors]
    return _the_one(layer.name, orders)


def _order_behind(tensor, nodes):
    """The order of the features of a tensor, from the flattening that they come from."""
    node = next(n for n in nodes if any(t is tensor for t in n.outputs))
    layer = node.operation
    if len(tensor.shape) != 2 or not node.input_tensors or isinstance(layer, keras.layers.Dense):
        return None
    if isinstance(layer, keras.layers.Flatten):
        return _flattened(layer, node.input_tensors[0].shape[1:], node.input_tensors[0], nodes)
    return _the_one(layer.name, [_order_behind(t, nodes) for t in node.input_tensors])


def _flattened(layer, shape, tensor, nodes):
    if len(shape) != 3:
        return _order_behind(tensor, nodes)
    if layer.data_format == "channels_last":
        shape = (shape[-1], *shape[:-1])
    return np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()


def _the_one(name, orders):
    first, *others = orders
    if any(not np.array_equal(first, other) for other in others):
        raise ValueError(
            f"layer {name!r} gets features in different orders, and PyTorch's is not known."
        )
    return first


def _of_layer(layer, order, prefix, arrays):
    counterparts = _counterparts(layer, order)
    if arrays.keys() != counterparts.keys():
        raise ValueError(
            f"layer {layer.name!r} needs {', '.join(counterparts)}, "
            f"but state_dict has {', '.join(arrays)} under {prefix!r}."
        )
    return [
        (variable, _fitted(f"{prefix}.{name}".lstrip("."), arrays[name], variable, rearrange))
        for name, (variable, rearrange) in counterparts.items()
    ]


def _counterparts(layer, order):
    """{name in PyTorch: (variable, how to rearrange the array)} of one layer."""

    def features(array):
        return array if order is None else array[order]

    if isinstance(layer, keras.layers.BatchNormalization):
        names = {
            "weight": layer.gamma if layer.scale else None,
            "bias": layer.beta if layer.center else None,
            "running_mean": layer.moving_mean,
            "running_var": layer.moving_variance,
        }
        return {n: (v, features) for n, v in names.items() if v is not None}
    if isinstance(layer, keras.layers.Conv2D):
        names = {"weight": (layer.kernel, lambda array: array.transpose(2, 3, 1, 0))}
    elif isinstance(layer, keras.layers.Dense):
        names = {"weight": (layer.kernel, lambda array: features(array.T))}
    else:
        raise ValueError(
            f"model has the layer {layer.name!r} of type {type(layer).__name__}: only Conv2D, "
            "BatchNormalization and Dense can be carried over."
        )
    return names | ({"bias": (layer.bias, np.asarray)} if layer.use_bias else {})


def _fitted(name, array, variable, rearrange):
    try:
        rearranged = rearrange(array)
    except (IndexError, ValueError):  # another number of axes, or too few features
        rearranged = array
    if rearranged.shape != tuple(variable.shape) or rearranged.size != array.size:
        raise ValueError(
            f"state_dict[{name!r}] has shape {array.shape}, which does not become "
            f"the shape {tuple(variable.shape)} of {variable.path!r}."
        )
    return rearranged

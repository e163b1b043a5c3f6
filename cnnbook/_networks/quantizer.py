"""From a float network to a quantized one."""

import numpy as np
from keras import layers, ops

from cnnbook._networks import kinds
from cnnbook._networks.graph import Graph, tensors_of, unique_name
from cnnbook._networks.quantized_layers import (
    QuantizedActivation,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)
from cnnbook._shared import rounding
from cnnbook.normalization import fold_batch_norm

QUANTIZABLE = (
    *kinds.LINEAR,
    *kinds.RELUS,
    *kinds.SELECTIONS,
    *kinds.AVERAGES,
    *kinds.MERGES,
    "Activation",
    "BatchNormalization",
    "GlobalAveragePooling2D",
    "Softmax",
)
ACTIVATIONS = ("linear", "relu", "relu6", "leaky_relu", "sigmoid", "softmax")
BOUNDED = ("sigmoid", "softmax")  # between 0 and 1, whatever the input


def build(model, bits, skip):
    """See `quantization.quantize_aware`."""
    return _Builder(Graph(model, "quantize_aware"), bits, skip).model()


class _Builder:
    """Puts quantized layers in the places of float ones, and ranges between them.

    What it makes is kept by the layer of the first network, or the call, for which it was made.
    """

    def __init__(self, graph, bits, skip):
        self.graph, self.skip = graph, _names("skip", skip)
        self.bits, self.own_bits = (8, dict(bits)) if isinstance(bits, dict) else (bits, {})
        for value in (self.bits, *self.own_bits.values()):
            rounding.integer_limits(value)
        self.taken = {node.name for node in graph.nodes}
        self.taken |= {tensor.name for tensor in tensors_of(graph.inputs)}
        self.norm_of = self._foldable()
        self.norms = {id(norm) for norm in self.norm_of.values()}
        self.parts = {}  # of each linear layer
        self.range_of = {}  # id(new tensor): the layer on whose grid its values lie
        self._require_names()
        self._require_supported()

    # What can be done

    def _require_names(self):
        names = {node.name for node in self.graph.nodes}
        unknown = sorted((self.skip | set(self.own_bits)) - names)
        if unknown:
            raise ValueError(f"{model_names(unknown)} not in the model, which has {sorted(names)}.")
        quantized = {n.name for n in self.graph.nodes if self._has_kernel(n)}
        idle = sorted(set(self.own_bits) - quantized)
        if idle:
            raise ValueError(f"bits names {idle}, which have no quantized weights of their own.")

    def _has_kernel(self, node):
        """Whether quantized weights stand in the new network under the node's name."""
        if node.kind == "BatchNormalization":
            return id(node) not in self.norms
        return node.kind in kinds.LINEAR and node.name not in self.skip

    def _require_supported(self):
        quantized = (n for n in self.graph.nodes if n.name not in self.skip)
        named = [(n, _unsupported(n)) for n in quantized if id(n) not in self.norms]
        found = [f"{node.name} ({reason})" for node, reason in named if reason]
        if found:
            raise ValueError(
                f"quantize_aware does not know {', '.join(found)}. Layers named in skip stay float."
            )

    def _calls(self, node):
        return sum(other.layer is node.layer for other in self.graph.nodes)

    def _foldable(self):
        """{id of a linear node: the batch normalization that is folded into it}."""
        linear = [n for n in self.graph.nodes if n.kind in kinds.LINEAR and len(n.targets) == 1]
        return {id(n): n.targets[0] for n in linear if self._folds(n, n.targets[0])}

    def _folds(self, node, follows):
        return (
            follows.kind == "BatchNormalization"
            and not node.is_output
            and node.activation == "linear"
            and not {node.name, follows.name} & self.skip
            and self._calls(node) == self._calls(follows) == 1
            and _normalizes_channels(follows, node)
        )

    # The new network

    def model(self):
        return self.graph.rebuild(self._call, self._enter)

    def _enter(self, tensor, nodes):
        if all(node.name in self.skip for node in nodes):
            return tensor
        return self._ranged(tensor, "input_range")

    def _ranged(self, tensor, name):
        layer = QuantizedActivation(bits=self.bits, name=unique_name(name, self.taken))
        tensor = layer(tensor)
        self.range_of[id(tensor)] = layer
        return tensor

    def _call(self, node, *args, **kwargs):
        if id(node) in self.norms:
            return args[0]  # it is folded into the layer before it
        if node.name in self.skip:
            outputs = node.layer(*args, **kwargs)
        elif node.kind in (*kinds.LINEAR, "BatchNormalization"):
            outputs = self._linear(node, args[0])
        elif node.kind == "Add" and isinstance(node.layer, layers.Add):
            outputs = node.layer(self._added_in_pairs(node, args[0]), **kwargs)
        else:
            outputs = self._on_the_grid(node, args, node.layer(*args, **kwargs))
        return self._ranged(outputs, f"{node.name}_range") if self._needs_range(node) else outputs

    def _on_the_grid(self, node, args, outputs):
        """Values that are passed on keep their range; means of them are rounded to it."""
        passes = node.kind in (*kinds.SELECTIONS, *kinds.AVERAGES)
        layer = self.range_of.get(id(args[0])) if passes else None
        if layer is None:
            return outputs
        if node.kind in kinds.AVERAGES:
            outputs = layer(outputs, ties="away")
        elif node.kind == "UpSampling2D" and node.layer.interpolation != "nearest":
            outputs = layer(outputs, ties="up")
        self.range_of[id(outputs)] = layer
        return outputs

    def _added_in_pairs(self, node, terms):
        """The last two terms of a sum: each sum before it has a range of its own."""
        first, *rest = terms
        for term in rest[:-1]:
            partial = layers.Add(name=unique_name(f"{node.name}_partial", self.taken))
            first = self._ranged(partial([first, term]), f"{partial.name}_range")
        return [first, rest[-1]]

    def _needs_range(self, node):
        if node.name in self.skip:
            return any(target.name not in self.skip for target in node.targets)
        if node.kind in (*kinds.SELECTIONS, *kinds.AVERAGES) or node.activation in BOUNDED:
            return False
        last = self.norm_of.get(id(node), node)
        if len(last.targets) != 1 or last.is_output or last.targets[0].name in self.skip:
            return True
        return node.activation != "linear" or not _fuses(last.targets[0])

    def _linear(self, node, x):
        if id(node.layer) not in self.parts:
            self.parts[id(node.layer)] = self._parts(node, x)
        for part in self.parts[id(node.layer)]:
            x = part(x)
        return x

    # The layers that take the place of a linear layer: built, with its weights

    def _parts(self, node, x):
        bits = self.own_bits.get(node.name, self.bits)
        norm = self.norm_of.get(id(node))
        if node.kind == "BatchNormalization":
            return [_scaling(node, x, bits)]
        config, after = dict(node.layer.get_config()), []
        if node.activation not in ("linear", "relu", "relu6"):
            config["activation"] = "linear"
            after = [self._range(f"{node.name}_before"), self._activation(node)]
        if node.kind == "SeparableConv2D":
            return self._separable(node, x, bits, norm, config) + after
        kind = {"Conv2D": QuantizedConv2D, "Dense": QuantizedDense}
        kind = kind.get(node.kind, QuantizedDepthwiseConv2D)
        kernel, bias = _folded(node.weights["kernel"], node.weights.get("bias"), norm)
        return [_made(kind, config, bits, x.shape, kernel, bias), *after]

    def _range(self, name):
        return QuantizedActivation(bits=self.bits, name=unique_name(name, self.taken))

    def _activation(self, node):
        name = unique_name(f"{node.name}_activation", self.taken)
        return layers.Activation(node.activation, name=name)

    def _separable(self, node, x, bits, norm, config):
        weights = node.weights
        shared = {k: config[k] for k in ("name", "data_format", "dtype", "trainable")}
        first = {
            **shared,
            **{k: config[k] for k in ("kernel_size", "strides", "padding", "dilation_rate")},
            "name": unique_name(f"{node.name}_depthwise", self.taken),
            "depth_multiplier": config["depth_multiplier"],
        }
        kernel = weights["depthwise_kernel"]
        depthwise = _made(QuantizedDepthwiseConv2D, first, bits, x.shape, kernel, None)
        between = self._range(f"{first['name']}_range")
        kernel, bias = _folded(weights["pointwise_kernel"], weights.get("bias"), norm)
        second = {**shared, "filters": config["filters"], "kernel_size": 1}
        second["activation"] = config["activation"]
        shape = depthwise.compute_output_shape(x.shape)
        return [depthwise, between, _made(QuantizedConv2D, second, bits, shape, kernel, bias)]


def _names(name, value):
    if isinstance(value, str):
        raise ValueError(f"{name} must be a list of names, got the string {value!r}.")
    return set(value)


def _unsupported(node):
    """What of a node has no integer form here, or None."""
    reasons = {
        node.kind: node.kind not in QUANTIZABLE,
        "ReLU with a threshold or max_value other than 6": (
            node.kind == "ReLU" and not _has_integers(node.layer)
        ),
        "Dense with inputs of more than 4 axes": (
            node.kind == "Dense" and len(node.outputs.shape) > 4
        ),
        f"activation {node.activation}": node.activation not in ACTIVATIONS,
        f"{node.activation} before the model's output": (
            node.activation in BOUNDED and not node.is_output
        ),
    }
    if node.kind == "BatchNormalization":
        rank, axis = len(node.outputs.shape), node.layer.axis
        reasons["BatchNormalization that follows no layer to fold into"] = rank != 4
        reasons[f"BatchNormalization with axis={axis}"] = axis % rank not in (1, 3)
    return next((reason for reason, holds in reasons.items() if holds), None)


def model_names(names):
    return ", ".join(map(repr, names)) + (" is" if len(names) == 1 else " are")


def _fuses(node):
    """Whether a node is a ReLU that costs an integer layer nothing: its clip does it."""
    if node.kind in ("Relu", "Relu6"):
        return True
    if node.kind == "Activation":
        return node.activation in ("linear", "relu", "relu6")
    config = node.layer.get_config()
    return node.kind == "ReLU" and (
        config["max_value"] in (None, 6.0)
        and not config["negative_slope"]
        and not config["threshold"]
    )


def _has_integers(relu):
    """Whether LiteRT has a ReLU of this kind."""
    return not relu.threshold and relu.max_value in (None, 6.0)


def _normalizes_channels(norm, node):
    axis = norm.layer.get_config()["axis"]
    rank = len(node.outputs.shape)
    first = getattr(node.layer, "data_format", None) == "channels_first"
    return axis % rank == (1 if first else rank - 1)


def _norm_vectors(layer):
    """Mean, variance, gamma, beta (None where there is none) and epsilon."""
    gamma, beta = (getattr(layer, name, None) for name in ("gamma", "beta"))
    vectors = (layer.moving_mean, layer.moving_variance, gamma, beta)
    return [None if v is None else ops.convert_to_numpy(v) for v in vectors], layer.epsilon


def _folded(kernel, bias, norm):
    if norm is None:
        return kernel, bias
    vectors, epsilon = _norm_vectors(norm.layer)
    filters = vectors[0].shape[0]
    flat = kernel if kernel.shape[-1] == filters else kernel.reshape(*kernel.shape[:2], 1, filters)
    folded, bias = fold_batch_norm(flat, bias, *vectors, epsilon=epsilon)
    return ops.convert_to_numpy(folded).reshape(kernel.shape), ops.convert_to_numpy(bias)


def _made(kind, config, bits, shape, kernel, bias):
    config = {**config, "bits": bits, "use_bias": bias is not None}
    layer = kind.from_config(config)
    layer.build(shape)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return layer


def _scaling(node, x, bits):
    """A batch normalization by itself as a 1x1 depthwise convolution."""
    axis = node.layer.get_config()["axis"] % 4
    data_format = "channels_first" if axis == 1 else "channels_last"
    vectors, epsilon = _norm_vectors(node.layer)
    channels = vectors[0].shape[0]
    kernel, bias = fold_batch_norm(np.ones((1, 1, 1, channels)), None, *vectors, epsilon=epsilon)
    config = {"name": node.name, "kernel_size": 1, "data_format": data_format}
    kernel = ops.convert_to_numpy(kernel).reshape(1, 1, channels, 1)
    bias = ops.convert_to_numpy(bias)
    return _made(QuantizedDepthwiseConv2D, config, bits, x.shape, kernel, bias)

"""From a float network to a quantized one."""

import numpy as np
from keras import layers, ops

from cnnbook._networks.graph import Graph
from cnnbook._networks.quantized_layers import (
    QuantizedActivation,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)
from cnnbook._shared import rounding
from cnnbook.normalization import fold_batch_norm

LINEAR = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense")
RELUS = ("ReLU", "Relu", "Relu6", "LeakyReLU", "PReLU")  # two of them from keras.ops
# Their output holds values of their input (or means of them), so it needs no range of its own.
TRANSPARENT = (
    "AveragePooling2D",
    "Dropout",
    "Flatten",
    "GlobalMaxPooling2D",
    "Identity",
    "MaxPooling2D",
    "Reshape",
    "SpatialDropout2D",
    "UpSampling2D",
    "ZeroPadding2D",
)
MERGES = ("Add", "Concatenate")
QUANTIZABLE = (
    *LINEAR,
    *RELUS,
    *TRANSPARENT,
    *MERGES,
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
    def __init__(self, graph, bits, skip):
        if isinstance(skip, str):
            raise ValueError(f"skip must be a list of names, got the string {skip!r}.")
        self.graph, self.skip, self.made = graph, set(skip), {}
        names = {node.name for node in graph.nodes}
        self.bits, self.own_bits = (8, dict(bits)) if isinstance(bits, dict) else (bits, {})
        for value in (self.bits, *self.own_bits.values()):
            rounding.integer_limits(value)
        unknown = sorted((self.skip | set(self.own_bits)) - names)
        if unknown:
            raise ValueError(f"{model_names(unknown)} not in the model, which has {sorted(names)}.")
        self.norm_of = self._foldable()
        self.norms = {id(norm) for norm in self.norm_of.values()}
        self._require_supported()
        has_weights = {n.name for n in graph.nodes if n.kind in LINEAR and n.name not in self.skip}
        has_weights |= {
            node.name
            for node in graph.nodes
            if node.kind == "BatchNormalization" and id(node) not in self.norms
        }
        idle = sorted(set(self.own_bits) - has_weights)
        if idle:
            raise ValueError(f"bits names {idle}, which have no quantized weights of their own.")

    def _calls(self, node):
        return sum(other.layer is node.layer for other in self.graph.nodes)

    def _foldable(self):
        """{id of a linear node: the batch normalization that is folded into it}."""
        found = {}
        for node in self.graph.nodes:
            follows = node.targets[0] if len(node.targets) == 1 else None
            if (
                node.kind in LINEAR
                and not node.is_output
                and follows is not None
                and follows.kind == "BatchNormalization"
                and _activation(node) == "linear"
                and not {node.name, follows.name} & self.skip
                and self._calls(node) == self._calls(follows) == 1
                and _normalizes_channels(follows, node)
            ):
                found[id(node)] = follows
        return found

    def _require_supported(self):
        found = []
        for node in self.graph.nodes:
            if node.name in self.skip or id(node) in self.norms:
                continue
            if node.kind not in QUANTIZABLE:
                found.append(f"{node.name} ({node.kind})")
            elif node.kind == "BatchNormalization" and len(node.outputs.shape) != 4:
                found.append(f"{node.name} (BatchNormalization that follows no layer to fold into)")
            elif node.kind == "BatchNormalization" and node.layer.axis % 4 not in (1, 3):
                found.append(f"{node.name} (BatchNormalization with axis={node.layer.axis})")
            elif node.kind == "Dense" and len(node.outputs.shape) > 4:
                found.append(f"{node.name} (Dense with inputs of more than 4 axes)")
            elif node.kind == "ReLU" and not _has_integers(node.layer):
                found.append(f"{node.name} (ReLU with a threshold or max_value other than 6)")
            elif _activation(node) not in ACTIVATIONS:
                found.append(f"{node.name} (activation {_activation(node)})")
            elif _activation(node) in BOUNDED and not node.is_output:
                found.append(f"{node.name} ({_activation(node)} before the model's output)")
        if found:
            raise ValueError(
                f"quantize_aware does not know {', '.join(found)}. Layers named in skip stay float."
            )

    def model(self):
        return self.graph.rebuild(self._call, self._enter)

    def _enter(self, tensor, nodes):
        if all(node.name in self.skip for node in nodes):
            return tensor
        at = sum(name.startswith("input") for name in self.made if isinstance(name, str))
        return self._ranged(tensor, f"input_{at}_range" if at else "input_range")

    def _ranged(self, tensor, name):
        if name not in self.made:
            self.made[name] = QuantizedActivation(bits=self.bits, name=name)
        return self.made[name](tensor)

    def _call(self, node, *args, **kwargs):
        if id(node) in self.norms:
            return args[0]  # it is folded into the layer before it
        skipped = node.name in self.skip
        if node.kind == "Add" and not skipped and isinstance(args[0], (list, tuple)):
            args = [self._added_in_pairs(node, args[0])]
        if skipped or node.kind not in (*LINEAR, "BatchNormalization"):
            outputs = node.layer(*args, **kwargs)
        else:
            outputs = self._linear(node, args[0])
        if self._needs_range(node):
            # A layer that is called twice has a range for each call.
            at = "" if self._calls(node) == 1 else f"_{self.graph.nodes.index(node)}"
            outputs = self._ranged(outputs, f"{node.name}_range{at}")
        return outputs

    def _added_in_pairs(self, node, terms):
        """The last two terms of a sum: each sum before it has a range of its own."""
        first, *rest = terms
        for i, term in enumerate(rest[:-1], start=1):
            total = layers.Add(name=f"{node.name}_{i}")([first, term])
            first = self._ranged(total, f"{node.name}_{i}_range")
        return [first, rest[-1]]

    def _needs_range(self, node):
        if node.name in self.skip:
            return any(target.name not in self.skip for target in node.targets)
        if node.kind in TRANSPARENT or _activation(node) in BOUNDED:
            return False
        last = self.norm_of.get(id(node), node)
        fused = len(last.targets) == 1 and not last.is_output and _fuses(last.targets[0])
        return not (
            fused and last.targets[0].name not in self.skip and _activation(node) == "linear"
        )

    def _linear(self, node, x):
        parts = self.made.get(id(node.layer))
        if parts is None:
            parts = self.made[id(node.layer)] = self._parts(node, x)
        for part in parts:
            x = part(x)
        return x

    def _parts(self, node, x):
        """The layers that take the place of a linear layer: built, with its weights."""
        bits = self.own_bits.get(node.name, self.bits)
        config, weights = dict(node.layer.get_config()), node.weights
        norm = self.norm_of.get(id(node))
        if node.kind == "BatchNormalization":
            return [_scaling(node, x, bits)]
        after = []
        if _activation(node) not in ("linear", "relu", "relu6"):
            config["activation"] = "linear"
            after = [layers.Activation(_activation(node), name=f"{node.name}_activation")]
            after.insert(0, QuantizedActivation(bits=self.bits, name=f"{node.name}_before"))
        if node.kind == "SeparableConv2D":
            parts = self._separable(node, x, bits, norm, config)
        else:
            kind = {"Conv2D": QuantizedConv2D, "Dense": QuantizedDense}
            kind = kind.get(node.kind, QuantizedDepthwiseConv2D)
            kernel, bias = _folded(weights["kernel"], weights.get("bias"), norm)
            parts = [_made(kind, config, bits, x.shape, kernel, bias)]
        return parts + after

    def _separable(self, node, x, bits, norm, config):
        weights = node.weights
        shared = {k: config[k] for k in ("name", "data_format", "dtype", "trainable")}
        first = {
            **shared,
            **{k: config[k] for k in ("kernel_size", "strides", "padding", "dilation_rate")},
            "name": f"{node.name}_depthwise",
            "depth_multiplier": config["depth_multiplier"],
        }
        kernel = weights["depthwise_kernel"]
        depthwise = _made(QuantizedDepthwiseConv2D, first, bits, x.shape, kernel, None)
        between = QuantizedActivation(bits=self.bits, name=f"{node.name}_depthwise_range")
        kernel, bias = _folded(weights["pointwise_kernel"], weights.get("bias"), norm)
        second = {**shared, "filters": config["filters"], "kernel_size": 1}
        second["activation"] = config["activation"]
        shape = depthwise.compute_output_shape(x.shape)
        return [depthwise, between, _made(QuantizedConv2D, second, bits, shape, kernel, bias)]


def model_names(names):
    return ", ".join(map(repr, names)) + (" is" if len(names) == 1 else " are")


def _activation(node):
    """The name of a node's activation, `linear` if it has none of its own."""
    if node.kind == "Softmax":
        return "softmax"
    function = getattr(node.layer, "activation", None)
    return "linear" if function is None else getattr(function, "__name__", type(function).__name__)


def _fuses(node):
    """Whether a node is a ReLU that costs an integer layer nothing: its clip does it."""
    if node.kind in ("Relu", "Relu6"):
        return True
    if node.kind == "Activation":
        return _activation(node) in ("linear", "relu", "relu6")
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

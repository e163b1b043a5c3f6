"""Layers that compute with quantized weights and activations, and networks made of them."""

from contextlib import contextmanager

import keras
import numpy as np
from keras import layers, ops

from cnnbook._graph import Graph
from cnnbook.normalization import fold_batch_norm
from cnnbook.quantization import _limits, fake_quantize

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

_exporting = False


@contextmanager
def exporting(model):
    """Within it, the model's quantization is made of operations that converters know.

    Its ranges are frozen: they stand in the file as numbers.
    """
    global _exporting
    for layer in model._flatten_layers():
        if isinstance(layer, QuantizedActivation):
            layer.freeze()
    before, _exporting = _exporting, True
    try:
        yield
    finally:
        _exporting = before


def _fake(x, low, high, bits, axis=None, symmetric=False):
    if _exporting:
        return keras.quantizers.fake_quant_with_min_max_vars(
            x, low, high, num_bits=bits, narrow_range=symmetric, axis=axis
        )
    return fake_quantize(x, low, high, bits=bits, axis=axis, symmetric=symmetric)


def _fake_kernel(kernel, bits):
    """Each filter, on the last axis, with a symmetric range of its own.

    It is at least 2^-10 of the largest: what is smaller vanishes in the output's one range, and an
    int32 bias, which has the scale of its filter, could not hold the numbers.
    """
    limits = ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1)))
    limits = ops.stop_gradient(ops.maximum(limits, 2.0**-10 * ops.max(limits)))
    return _fake(kernel, -limits, limits, bits, axis=-1, symmetric=True)


class _WithBits:
    """A layer whose kernel has so many bits."""

    def __init__(self, *args, bits=8, **kwargs):
        _limits(bits)
        super().__init__(*args, **kwargs)
        self.bits = bits

    def get_config(self):
        return {**super().get_config(), "bits": self.bits}


@keras.saving.register_keras_serializable("cnnbook")
class QuantizedConv2D(_WithBits, layers.Conv2D):
    """A `Conv2D` with a quantized kernel."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, _fake_kernel(kernel, self.bits))


@keras.saving.register_keras_serializable("cnnbook")
class QuantizedDepthwiseConv2D(_WithBits, layers.DepthwiseConv2D):
    """A `DepthwiseConv2D` with a quantized kernel; every filter has its range."""

    def call(self, inputs):
        kernel = ops.reshape(self.kernel, (*self.kernel_size, 1, -1))
        kernel = ops.reshape(_fake_kernel(kernel, self.bits), self.kernel.shape)
        outputs = ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            first = self.data_format == "channels_first"
            outputs += ops.reshape(self.bias, (1, -1, 1, 1) if first else (1, 1, 1, -1))
        return self.activation(outputs)


@keras.saving.register_keras_serializable("cnnbook")
class QuantizedDense(_WithBits, layers.Dense):
    """A `Dense` with a quantized kernel."""

    def call(self, inputs):
        if _exporting:
            # As a 1x1 convolution: the converter cannot turn a large quantized kernel over.
            added = tuple(range(1, 5 - len(inputs.shape)))
            for axis in added:
                inputs = ops.expand_dims(inputs, axis)
            kernel = ops.reshape(self.kernel, (1, 1, *self.kernel.shape))
            kernel = _fake_kernel(kernel, self.bits)
            outputs = ops.conv(inputs, kernel, data_format="channels_last")
            outputs = ops.squeeze(outputs, added) if added else outputs
        else:
            outputs = ops.matmul(inputs, _fake_kernel(self.kernel, self.bits))
        outputs = outputs + self.bias if self.use_bias else outputs
        return self.activation(outputs)


@keras.saving.register_keras_serializable("cnnbook")
class QuantizedActivation(layers.Layer):
    """Quantizes what passes, by a range that follows it in training.

    The range is that of the first batch, and then moves towards each batch's:
    ``minimum = momentum * minimum + (1 - momentum) * batch_minimum``, the maximum likewise. Before
    the first batch there is none, and everything passes as it is.
    """

    def __init__(self, *, bits=8, momentum=0.99, **kwargs):
        _limits(bits)
        super().__init__(**kwargs)
        self.bits, self.momentum, self.calibrating, self.frozen = bits, momentum, False, None

    def build(self, input_shape):
        for name in ("minimum", "maximum", "seen"):
            weight = self.add_weight(shape=(), initializer="zeros", trainable=False, name=name)
            setattr(self, name, weight)

    def call(self, inputs, training=None):
        if _exporting:
            return _fake(inputs, *self.frozen, self.bits)
        low, high, seen = (
            ops.convert_to_tensor(v) for v in (self.minimum, self.maximum, self.seen)
        )
        if self.calibrating or (training and self.trainable):
            low, high = self._observe(ops.stop_gradient(inputs), low, high, seen)
            return _fake(inputs, low, high, self.bits)
        return ops.where(seen > 0, _fake(inputs, low, high, self.bits), inputs)

    def freeze(self):
        """Keeps the range as two numbers, for a file."""
        if not float(self.seen):
            raise ValueError(
                f"the range of {self.name!r} is unknown: train the model, or quantize it after "
                "training with calibration images."
            )
        low, high = min(float(self.minimum), 0.0), max(float(self.maximum), 0.0)
        # All were 0: any scale does, but that of an empty range is too small for a file.
        self.frozen = (low, high) if low < high else (0.0, 2.0**self.bits - 1)

    def _observe(self, inputs, low, high, seen):
        new_low, new_high = ops.min(inputs), ops.max(inputs)
        if self.calibrating:
            moved = ops.minimum(low, new_low), ops.maximum(high, new_high)
        else:
            m = self.momentum
            moved = m * low + (1 - m) * new_low, m * high + (1 - m) * new_high
        low = ops.where(seen > 0, moved[0], new_low)
        high = ops.where(seen > 0, moved[1], new_high)
        values = low, high, ops.ones_like(seen)
        for variable, value in zip((self.minimum, self.maximum, self.seen), values, strict=True):
            variable.assign(value)
        return low, high

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "bits": self.bits, "momentum": self.momentum}


# From a float network to a quantized one


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
            _limits(value)
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


# Ranges from images


def calibrate(model, images, batch_size=64):
    """Sets every range of a quantized model to what the images show."""
    images = _images_of(model, images)
    observers = [layer for layer in model.layers if isinstance(layer, QuantizedActivation)]
    try:
        for observer in observers:
            observer.calibrating = True
        for start in range(0, len(images), batch_size):
            model(images[start : start + batch_size], training=False)
    finally:
        for observer in observers:
            observer.calibrating = False


def _images_of(model, images):
    if len(model.inputs) != 1:
        raise ValueError(f"calibration needs a model with one input, this has {len(model.inputs)}.")
    images = np.asarray(ops.convert_to_numpy(images))
    if images.dtype.kind != "f":
        raise ValueError(
            "calibration_images must be floats, as the model takes them in training, "
            f"got {images.dtype}."
        )
    expected = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(expected) + 1 and all(
        size in (None, given) for size, given in zip(expected, images.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"calibration_images must have shape (N, {', '.join(map(str, expected))}), "
            f"got {images.shape}."
        )
    if not len(images):
        raise ValueError("calibration_images must hold at least one image, got none.")
    images = images.astype("float32")
    if not np.isfinite(images).all():
        raise ValueError("calibration_images must be finite, but some are NaN or infinite.")
    return images

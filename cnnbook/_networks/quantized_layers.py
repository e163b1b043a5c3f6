"""Layers that compute with quantized weights and activations."""

from contextlib import contextmanager

import keras
from keras import layers, ops

from cnnbook._shared import arguments, rounding

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
    limits = rounding.integer_limits(bits, symmetric)
    x, low, high = arguments.as_float(x, low, high)
    scale, zero = rounding.scale_and_zero_point(low, high, bits, symmetric)
    return rounding.straight_through(x, scale, ops.cast(zero, x.dtype), limits)


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
        rounding.integer_limits(bits)
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
        rounding.integer_limits(bits)
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

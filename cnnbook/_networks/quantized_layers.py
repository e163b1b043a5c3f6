"""Layers that compute with quantized weights and activations."""

import keras
import numpy as np
from keras import layers, ops

from cnnbook._shared import arguments, rounding

LARGEST_BIAS = 2.0**30  # in units of its scale: half of int32 stays for what is added to it


def _fake(x, low, high, bits, axis=None, symmetric=False, ties=None):
    limits = rounding.integer_limits(bits, symmetric)
    x, low, high = arguments.as_float(x=x, low=low, high=high)
    scale, zero = rounding.scale_and_zero_point(low, high, bits, symmetric)
    zero = ops.cast(zero, x.dtype)
    rounded = rounding.round_by(ties, zero) if ties else ops.round
    return rounding.straight_through(x, scale, zero, limits, rounded)


def _for_file(x, low, high, bits, axis=None, symmetric=False):
    """The same by the operation that converters know."""
    return keras.quantizers.fake_quant_with_min_max_vars(
        x, low, high, num_bits=bits, narrow_range=symmetric, axis=axis
    )


def kernel_limits(kernel):
    """The largest weight of each filter, on the last axis.

    It is at least 2^-10 of the largest: what is smaller vanishes in the output's one range.
    """
    limits = ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1)))
    return ops.stop_gradient(ops.maximum(limits, 2.0**-10 * ops.max(limits)))


def _numbers(variable, shape=None):
    array = ops.convert_to_numpy(variable)
    return array if shape is None else array.reshape(shape)


class WithBits:
    """A layer whose kernel has so many bits."""

    def __init__(self, *args, bits=8, **kwargs):
        rounding.integer_limits(bits)
        super().__init__(*args, **kwargs)
        self.bits, self.frozen = bits, None

    def fake_kernel(self, kernel):
        """Each filter, on the last axis, with a symmetric range of its own."""
        if self.frozen is not None:
            return _for_file(kernel, -self.frozen, self.frozen, self.bits, -1, symmetric=True)
        limits = kernel_limits(kernel)
        return _fake(kernel, -limits, limits, self.bits, axis=-1, symmetric=True)

    def freeze(self, input_scale):
        """Keeps the ranges of the kernel as numbers, for a file; changes the bias by a rounding.

        In a file the bias is an int32 in units of input scale times kernel scale. A filter whose
        weights are so small that its bias would not fit gets a wider range: what its weights lose
        by that is far below a step of the output, which holds the bias.
        """
        kernel = self.by_filter(_numbers(self.kernel))
        limits = _numbers(kernel_limits(kernel))
        largest = rounding.integer_limits(self.bits, symmetric=True)[1]
        if self.use_bias:
            bias = _numbers(self.bias)
            if input_scale is not None:
                limits = np.maximum(limits, largest * np.abs(bias) / (LARGEST_BIAS * input_scale))
            if len(bias) > 1 and bias[0] and np.all(bias == bias[0]):
                # The converter keeps equal numbers as one, with the scale of the first filter.
                bias[0] = np.nextafter(bias[0], np.inf, dtype=bias.dtype)
                self.bias.assign(bias)
        self.frozen = np.where(limits > 0, limits, float(largest)).astype("float32")

    def by_filter(self, kernel):
        """The kernel with its filters on the last axis."""
        return kernel

    def get_config(self):
        return {**super().get_config(), "bits": self.bits}


@keras.saving.register_keras_serializable("cnnbook")
class QuantizedConv2D(WithBits, layers.Conv2D):
    """A `Conv2D` with a quantized kernel."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, self.fake_kernel(kernel))


@keras.saving.register_keras_serializable("cnnbook")
class QuantizedDepthwiseConv2D(WithBits, layers.DepthwiseConv2D):
    """A `DepthwiseConv2D` with a quantized kernel; every filter has its range."""

    def by_filter(self, kernel):
        return ops.reshape(kernel, (*self.kernel_size, 1, -1))

    def call(self, inputs):
        kernel = self.fake_kernel(self.by_filter(self.kernel))
        kernel = ops.reshape(kernel, self.kernel.shape)
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
class QuantizedDense(WithBits, layers.Dense):
    """A `Dense` with a quantized kernel."""

    def call(self, inputs):
        if self.frozen is not None:
            # As a 1x1 convolution: the converter cannot turn a large quantized kernel over.
            added = tuple(range(1, 5 - len(inputs.shape)))
            for axis in added:
                inputs = ops.expand_dims(inputs, axis)
            kernel = ops.reshape(self.kernel, (1, 1, *self.kernel.shape))
            kernel = self.fake_kernel(kernel)
            outputs = ops.conv(inputs, kernel, data_format="channels_last")
            outputs = ops.squeeze(outputs, added) if added else outputs
        else:
            outputs = ops.matmul(inputs, self.fake_kernel(self.kernel))
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
        self.bits, self.momentum = bits, momentum
        self.calibrating = False
        self.frozen = None  # the range as two numbers, in a copy from which a file is made

    def build(self, input_shape):
        for name in ("minimum", "maximum", "seen"):
            weight = self.add_weight(shape=(), initializer="zeros", trainable=False, name=name)
            setattr(self, name, weight)

    def call(self, inputs, training=None, ties=None):
        """With ``ties`` the inputs are means of values on this grid: they have its range.

        It says where ties go, "up" or "away" from the integer 0, as in LiteRT's operation.
        """
        if self.frozen is not None:
            return _for_file(inputs, *self.frozen, self.bits)
        low, high, seen = (
            ops.convert_to_tensor(v) for v in (self.minimum, self.maximum, self.seen)
        )
        if ties is None and (self.calibrating or (training and self.trainable)):
            low, high = self._observe(ops.stop_gradient(inputs), low, high, seen)
            return _fake(inputs, low, high, self.bits)
        quantized = _fake(inputs, low, high, self.bits, ties=ties)
        return ops.where(seen > 0, quantized, inputs)

    def limits(self):
        """The range as two numbers, as it stands in a file."""
        if not float(self.seen):
            raise ValueError(
                f"the range of {self.name!r} is unknown: train the model, or quantize it after "
                "training with calibration images."
            )
        low, high = min(float(self.minimum), 0.0), max(float(self.maximum), 0.0)
        # All were 0: any scale does, but that of an empty range is too small for a file.
        return (low, high) if low < high else (0.0, 2.0**self.bits - 1)

    def freeze(self):
        """Keeps them, for a file."""
        self.frozen = self.limits()

    @property
    def scale(self):
        """Of the frozen range."""
        low, high = self.frozen
        return (high - low) / (2.0**self.bits - 1)

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

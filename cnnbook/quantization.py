r"""Real numbers as small integers: the equations, and networks trained or calibrated for them.

Chapter: ``notebooks/14_quantization.ipynb``.
"""

import math
from numbers import Real

import keras
import numpy as np
from keras import ops

from cnnbook import convolution
from cnnbook._networks import calibration, quantizer
from cnnbook._shared import arguments, rounding

__all__ = [
    "dequantize",
    "fake_quantize",
    "fixed_point_multiplier",
    "integer_conv2d",
    "quantization_parameters",
    "quantize",
    "quantize_after_training",
    "quantize_aware",
]


# Arguments

KNOWN = (Real, np.ndarray, list, tuple)


def _known(value):
    """The numbers as a NumPy array in float64; None for tensors, which are not looked into."""
    if isinstance(value, (bool, np.bool_)):
        return None
    return np.asarray(value, "float64") if isinstance(value, KNOWN) else None


def _require_known(condition, message, *values):
    """Raises where numbers or NumPy arrays break the condition."""
    arrays = [_known(v) for v in values]
    if all(array is not None for array in arrays) and not np.all(condition(*arrays)):
        raise ValueError(message)


def _require_numbers(**named):
    for name, value in named.items():
        arguments.as_tensor(name, value)
        if isinstance(value, (bool, np.bool_)) or getattr(value, "dtype", None) == np.bool_:
            raise ValueError(f"{name} must be a number or an array of them, got {value!r}.")


def _require_scale(scale, name="scale"):
    _require_numbers(**{name: scale})
    message = f"{name} must be positive and finite, got {scale!r}."
    _require_known(lambda s: (s > 0) & np.isfinite(s), message, scale)


def _require_zero_point(zero_point):
    """An integer, or integers: what they are rounded to would be another zero point."""
    _require_numbers(zero_point=zero_point)
    message = f"zero_point must hold integers, got {zero_point!r}."
    _require_known(lambda z: np.isfinite(z) & (z == np.round(z)), message, zero_point)
    is_tensor = _known(zero_point) is None
    if is_tensor and "int" not in keras.backend.standardize_dtype(zero_point.dtype):
        raise ValueError(f"zero_point must hold integers, got dtype {zero_point.dtype}.")


def _along(values, x, axis, name):
    """One value, or one for each index of the axis, ready to be broadcast against x."""
    values = arguments.as_tensor(name, values)
    if axis is None:
        if len(values.shape):
            raise ValueError(
                f"{name} must be a single number unless axis is given, "
                f"got shape {tuple(values.shape)}."
            )
        return values
    rank = len(x.shape)
    if isinstance(axis, bool) or not hasattr(axis, "__index__") or not -rank <= axis < rank:
        raise ValueError(f"axis must be an int from {-rank} to {rank - 1}, got {axis!r}.")
    if not len(values.shape):
        return values
    if len(values.shape) != 1 or values.shape[0] != x.shape[axis]:
        raise ValueError(
            f"{name} must have shape ({x.shape[axis]},), one value for each index of axis {axis} "
            f"of x, got {tuple(values.shape)}."
        )
    shape = [1] * rank
    shape[axis] = -1
    return ops.reshape(values, shape)


def quantization_parameters(minimum, maximum, *, bits=8, symmetric=False):
    r"""Scale and zero point for a range of real numbers, :eq:`eq-quantization-parameters`.

    .. math::

        s = \frac{x_{max} - x_{min}}{q_{max} - q_{min}}, \qquad
        z = q_{min} - \text{round}\left(\frac{x_{min}}{s}\right)

    The integers go from :math:`q_{min} = -2^{b-1}` to :math:`q_{max} = 2^{b-1} - 1`, with
    :math:`b` the bits. A range that does not hold 0 is widened until it does, so that the
    real number 0 has an integer of its own, :math:`z`: padding and ReLU need it.
    ``symmetric`` is for weights: the range becomes
    :math:`\pm \max(\lvert x_{min} \rvert, \lvert x_{max} \rvert)`, the smallest integer
    :math:`1 - 2^{b-1}`, and :math:`z = 0`.

    Args:
        minimum: :math:`x_{min}`, a number or an array, one value for each channel.
        maximum: :math:`x_{max}`, of the same shape, at least the minimum.
        bits: :math:`b`, an int from 2 to 16.
        symmetric: Whether the zero point is 0.

    Returns:
        ``(scale, zero_point)``: tensors of the shape of ``minimum``, the scale positive, the zero
        point int32. Where both ends are 0, as for the weights of a dead filter, any scale
        would do, and it is 1.

    Raises:
        ValueError: If a minimum lies above its maximum or an end is not finite (numbers and NumPy
            arrays; tensors are not looked into), the shapes differ, or ``bits`` is out of range.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, section 2.1,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> scale, zero_point = quantization_parameters(-1.0, 3.0, bits=2)
        >>> round(float(scale), 3), int(zero_point)  # four integers, -2 to 1
        (1.333, -1)
    """
    rounding.integer_limits(bits, symmetric)
    _require_numbers(minimum=minimum, maximum=maximum)
    low, high = arguments.as_float(minimum=minimum, maximum=maximum)
    if tuple(low.shape) != tuple(high.shape):
        raise ValueError(
            f"minimum and maximum must have one shape, got {tuple(low.shape)} "
            f"and {tuple(high.shape)}."
        )
    _require_known(
        lambda low, high: np.isfinite(low) & np.isfinite(high) & (low <= high),
        f"minimum must be finite and at most maximum, got {minimum!r} and {maximum!r}.",
        minimum,
        maximum,
    )
    return rounding.scale_and_zero_point(low, high, bits, symmetric)


def quantize(x, scale, zero_point=0, *, bits=8, axis=None):
    r"""Real numbers to integers, :eq:`eq-quantize`.

    .. math::

        w_{q} &= \text{round}(w / s) \\
        q &= \text{clip}(w_{q} + z,\, q_{min},\, q_{max})

    :math:`w` is any real number, a weight or a value of an image, :math:`s` the scale and
    :math:`z` the zero point. The integers go from :math:`q_{min} = -2^{b-1}` to
    :math:`q_{max} = 2^{b-1} - 1`. A tie, such as 2.5, goes to the even neighbor.

    Args:
        x: :math:`w`, any shape.
        scale: :math:`s`, a positive number, or with ``axis`` an array with one for each channel.
        zero_point: :math:`z`, an int, or an array of them as ``scale``.
        bits: :math:`b`, an int from 2 to 16.
        axis: The axis of ``x`` along which scale and zero point vary, or None.

    Returns:
        Tensor of the shape of ``x``: int8 for up to 8 bits, int16 for more. What lies outside of
        the range that the integers reach becomes the nearest end of it: that is the equation's
        clip, and the choice of ``scale`` decides how much it touches.

    Raises:
        ValueError: If a scale is not positive, a zero point is no integer or ``x`` holds NaN
            (numbers and NumPy arrays; tensors are not looked into), ``bits`` is out of range, or a
            shape does not fit.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, equation 1,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> [int(q) for q in quantize([-1.0, 0.0, 0.26, 3.0], 0.5, 1, bits=3)]
        [-1, 1, 2, 3]
    """
    q_min, q_max = rounding.integer_limits(bits)
    _require_scale(scale)
    _require_zero_point(zero_point)
    given, x = x, arguments.as_float(x=x)
    _require_known(lambda x: ~np.isnan(x), "x holds NaN, for which there is no integer.", given)
    scale = ops.cast(_along(scale, x, axis, "scale"), x.dtype)
    zero = ops.cast(_along(zero_point, x, axis, "zero_point"), x.dtype)
    q = ops.clip(ops.round(x / scale) + zero, q_min, q_max)
    return ops.cast(q, "int8" if bits <= 8 else "int16")


def dequantize(q, scale, zero_point=0, *, axis=None):
    r"""Integers back to real numbers, :eq:`eq-dequantize`.

    .. math::

        \hat{w} = s\,(q - z)

    For a :math:`w` that :eq:`eq-quantize` did not clip,
    :math:`\lvert \hat{w} - w \rvert \le s / 2`.

    Args:
        q: :math:`q`, integers of any shape.
        scale: :math:`s`, a positive number, or with ``axis`` an array with one for each channel.
        zero_point: :math:`z`, an int, or an array of them as ``scale``.
        axis: The axis of ``q`` along which scale and zero point vary, or None.

    Returns:
        Tensor of the shape of ``q``, of Keras's float dtype.

    Raises:
        ValueError: If a scale is not positive or a zero point is no integer (numbers and NumPy
            arrays; tensors are not looked into), ``q`` is not of an integer dtype, or a shape does
            not fit.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, equation 1,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> [float(w) for w in dequantize([-1, 1, 2, 3], 0.5, 1)]
        [-1.0, 0.0, 0.5, 1.0]
    """
    _require_scale(scale)
    _require_zero_point(zero_point)
    q = arguments.as_tensor("q", q)
    if "int" not in keras.backend.standardize_dtype(q.dtype):
        raise ValueError(f"q must hold integers, got dtype {q.dtype}.")
    scale = arguments.as_float(scale=_along(scale, q, axis, "scale"))
    zero = ops.cast(_along(zero_point, q, axis, "zero_point"), "int32")
    return ops.cast(ops.cast(q, "int32") - zero, scale.dtype) * scale


def fake_quantize(x, minimum, maximum, *, bits=8, axis=None, symmetric=False):
    r"""What is left of real numbers after quantization, with a gradient, :eq:`eq-fake-quantize`.

    .. math::

        v &= \text{round}(x / s) + z \\
        \hat{x} &= s \left( \text{clip}(v,\, q_{min},\, q_{max}) - z \right), \qquad
        \frac{\partial \hat{x}}{\partial x} :=
        \mathbb{I}\left(q_{min} \le v \le q_{max}\right)

    Scale :math:`s` and zero point :math:`z` come from the range by
    :eq:`eq-quantization-parameters`, :func:`quantization_parameters`. The true derivative of the
    steps is 0 almost everywhere, and nothing could be learned through them. The straight-through
    gradient pretends that the steps are not there where nothing was clipped (:math:`\mathbb{I}` is
    1 there and 0 elsewhere): a definition and not a derivation, hence the :math:`:=`. The range
    itself gets no gradient.

    Args:
        x: Any shape.
        minimum: :math:`x_{min}`, a number, or with ``axis`` an array with one for each channel.
        maximum: :math:`x_{max}`, of the same shape.
        bits: An int from 2 to 16.
        axis: The axis of ``x`` along which the range varies, or None.
        symmetric: Whether the zero point is 0, as for weights.

    Returns:
        Tensor of the shape and float dtype of ``x``.

    Raises:
        ValueError: If a minimum lies above its maximum (numbers and NumPy arrays), ``bits`` is out
            of range, or a shape does not fit.

    References:
        Bengio, Léonard and Courville, Estimating or propagating gradients through stochastic
        neurons, 2013, https://arxiv.org/abs/1308.3432

    Example:
        >>> [float(v) for v in fake_quantize([-0.3, 0.2, 0.8, 9.0], -1.0, 0.75, bits=3)]
        [-0.25, 0.25, 0.75, 0.75]
    """
    limits = rounding.integer_limits(bits, symmetric)
    scale, zero = quantization_parameters(minimum, maximum, bits=bits, symmetric=symmetric)
    x = arguments.as_float(x=x)
    scale = ops.cast(_along(scale, x, axis, "minimum"), x.dtype)
    zero = ops.cast(_along(zero, x, axis, "minimum"), x.dtype)
    return rounding.straight_through(x, scale, zero, limits)


# Integers only


def fixed_point_multiplier(factor):
    r"""A positive factor as an integer and a shift, :eq:`eq-fixed-point`.

    .. math::

        M \approx m \cdot 2^{e - 31}, \qquad 2^{30} \le m < 2^{31}

    A processor without floating point multiplies an integer by :math:`M` as a product with
    :math:`m`, of which it keeps the upper half, and a shift by :math:`e` bits. The relative
    error is at most :math:`2^{-31}`.

    Args:
        factor: :math:`M`, a positive number or an array of them.

    Returns:
        ``(m, e)``: NumPy int32 arrays of the shape of ``factor``.

    Raises:
        ValueError: If a factor is not positive and finite, or so small or large that no shift of 31
            bits reaches it.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, section 2.2,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> m, e = fixed_point_multiplier(0.3)
        >>> int(m), int(e), int(m) * 2.0 ** (int(e) - 31)
        (1288490189, -1, 0.30000000004656613)
    """
    _require_scale(factor, "factor")
    fraction, exponent = np.frexp(np.asarray(factor, "float64"))
    m = np.floor(fraction * 2.0**31 + 0.5)
    carried = m == 2.0**31
    m, exponent = np.where(carried, 2.0**30, m), exponent + carried
    if np.any(np.abs(exponent) > 30):
        raise ValueError(f"factor must lie between 2**-31 and 2**30, got {factor!r}.")
    return m.astype("int32"), exponent.astype("int32")


def _times_fixed_point(a, m, e):
    """round(a m 2^(e - 31)) in int32 alone: the upper half of the product, then the shift.

    Both roundings are to the nearest; the first sends ties up, the second away from zero, as
    LiteRT's reference kernels do. m is split into 2^30 + m1 2^15 + m0, a into a1 2^15 + a0; so no
    partial product leaves 32 bits as long as |a| < 2^29.
    """
    right = np.maximum(-e, 0)
    constants = np.maximum(e, 0), right, (m >> 15) & 0x7FFF, m & 0x7FFF, (1 << right) - 1
    left, right, m1, m0, mask = (ops.convert_to_tensor(c, "int32") for c in constants)
    a = ops.left_shift(a, left)
    a1, a0 = ops.right_shift(a, 15), ops.bitwise_and(a, 0x7FFF)
    lower = a0 * m1 + a1 * m0 + ops.right_shift(a0 * m0, 15)
    product = ops.right_shift(a + 1 + a1 * m1 + ops.right_shift(lower, 15), 1)
    half = ops.right_shift(mask, 1) + ops.cast(product < 0, "int32")
    up = ops.cast(ops.bitwise_and(product, mask) > half, "int32")
    return ops.right_shift(product, right) + up


def integer_conv2d(
    x,
    kernel,
    bias=None,
    *,
    input_scale,
    input_zero_point,
    kernel_scale,
    output_scale,
    output_zero_point,
    strides=1,
    padding="valid",
    dilation_rate=1,
    groups=1,
    output_range=(-128, 127),
    data_format=None,
):
    r"""A convolution that computes with integers alone, :eq:`eq-integer-conv`.

    .. math::

        a_k &= \sum q_{w,k}\,(q_x - z_x) + q_{b,k} \\
        q_{y,k} &= \text{clip}\left(\text{round}(M_k a_k) + z_y,\, q_{min},\, q_{max}\right),
        \qquad M_k = \frac{s_x s_{w,k}}{s_y}

    The sum runs over the window and the input channels as in any
    convolution. The int8 products are
    added up in int32, and the factor :math:`M_k` of filter :math:`k` is an integer and a shift
    (:func:`fixed_point_multiplier`). Padding stands for the real number 0, which is
    :math:`q_x = z_x`. A ReLU behind the convolution costs nothing: :math:`q_{min} = z_y`.

    The rounding is that of LiteRT's reference kernels. Its faster kernels may round a tie
    otherwise, so that their results may differ by one step.

    Args:
        x: :math:`q_x`, int8 of shape (N, H, W, C).
        kernel: :math:`q_w`, int8 of shape (kh, kw, C / groups, filters), zero point 0.
        bias: :math:`q_b`, int32 of shape (filters,), of scale :math:`s_x s_{w,k}`, or None for 0.
        input_scale: :math:`s_x`, a positive number.
        input_zero_point: :math:`z_x`, an int from -128 to 127.
        kernel_scale: :math:`s_w`, a positive number, or an array with one for each filter.
        output_scale: :math:`s_y`, a positive number.
        output_zero_point: :math:`z_y`, an int from -128 to 127.
        strides: An int or a pair.
        padding: ``"valid"``, ``"same"``, an int or ``((top, bottom), (left, right))``.
        dilation_rate: An int or a pair.
        groups: An int; the number of channels for a depthwise convolution.
        output_range: :math:`(q_{min}, q_{max})`, ints from -128 to 127.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for Keras's configuration.

    Returns:
        Tensor :math:`q_y`, int8 of shape (N, H', W', filters).

    Raises:
        ValueError: If a dtype is not the one above, a scale is not positive, a zero point or
            ``output_range`` is out of range, a shape does not fit, or a window has so many entries
            that the sum could leave the range in which the arithmetic is exact.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, equations 4 to 7,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> x = ops.cast([[[[10], [20]]]], "int8")
        >>> kernel = ops.cast([[[[3]]]], "int8")
        >>> scales = {"input_scale": 0.5, "kernel_scale": 0.1, "output_scale": 0.6}
        >>> y = integer_conv2d(x, kernel, input_zero_point=0, output_zero_point=-5, **scales)
        >>> [int(q) for q in ops.reshape(y, (-1,))]  # 30 / 12 - 5 and 60 / 12 - 5
        [-2, 0]
    """
    x = _integers("x", x, "int8")
    kernel = _integers("kernel", kernel, "int8")
    bias = None if bias is None else _integers("bias", bias, "int32")
    arguments.require_rank("x", x, 4)
    arguments.require_rank("kernel", kernel, 4)
    z_x = _int8("input_zero_point", input_zero_point)
    z_y = _int8("output_zero_point", output_zero_point)
    q_min, q_max = (_int8("output_range", end) for end in output_range)
    if q_min > q_max:
        raise ValueError(f"output_range must be (smaller, larger), got {output_range!r}.")
    channels_first = arguments.is_channels_first(data_format)
    x = arguments.to_channels_last(x, channels_first)
    m, e = fixed_point_multiplier(
        _factors(input_scale, kernel_scale, output_scale, kernel.shape[-1])
    )
    entries = math.prod(kernel.shape[:3])
    if entries * 255 * 128 * 2 ** max(int(np.max(e)), 0) >= 2**29:
        raise ValueError(
            f"kernel adds up {entries} products, too many for exact 32-bit arithmetic."
        )
    x = ops.cast(x, "int32") - z_x  # so that the zeros of the padding are the real number 0
    kernel = ops.cast(kernel, "int32")
    sums = convolution.correlate(x, kernel, bias, strides, padding, dilation_rate, groups)
    y = _times_fixed_point(sums, m, e) + z_y
    y = ops.cast(ops.clip(y, q_min, q_max), "int8")
    return arguments.from_channels_last(y, channels_first)


def _integers(name, array, dtype):
    tensor = ops.convert_to_tensor(array)
    if keras.backend.standardize_dtype(tensor.dtype) != dtype:
        raise ValueError(f"{name} must be of dtype {dtype}, got {tensor.dtype}.")
    return tensor


def _int8(name, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or not -128 <= value <= 127:
        raise ValueError(f"{name} must be an int from -128 to 127, got {value!r}.")
    return value.__index__()


def _factors(input_scale, kernel_scale, output_scale, filters):
    """M of each filter, in float64."""
    named = {"input_scale": input_scale, "kernel_scale": kernel_scale, "output_scale": output_scale}
    arrays = {}
    for name, scale in named.items():
        array = arrays[name] = np.asarray(scale, "float64")
        _require_scale(array, name)
        if array.shape not in ((), (filters,)) or (array.shape and name != "kernel_scale"):
            fits = f"a number or of shape ({filters},)" if name == "kernel_scale" else "a number"
            raise ValueError(f"{name} must be {fits}, got shape {array.shape}.")
    factors = arrays["input_scale"] * arrays["kernel_scale"] / arrays["output_scale"]
    return np.broadcast_to(factors, (filters,))


# Whole networks


def quantize_aware(model, *, bits=8, skip=()):
    r"""A copy of a CNN with quantized weights and activations, :eq:`eq-quantize-aware`.

    .. math::

        y = \hat{f}\left(\hat{W}' * \hat{x} + b'\right), \qquad
        W'_{\cdot,k} = \frac{\gamma_k}{\sqrt{\sigma_k^2 + \epsilon}}\, W_{\cdot,k}

    A hat is :func:`fake_quantize`: weights with a symmetric range of their own for each filter
    :math:`k`, at least 1/1024 of the largest, so that the int32 bias of a nearly dead filter
    fits; layer inputs and outputs with one range for the whole tensor, which follows
    what comes by in training. What average pooling and bilinear up-sampling give is rounded to
    the grid of what they take, as LiteRT rounds it. Batch normalization is folded into the layer
    before it (:func:`~cnnbook.normalization.fold_batch_norm`, moving averages), so the copy has
    none: what is trained is what will be computed. A normalization that stands elsewhere becomes a
    1x1 depthwise convolution, a separable convolution its two parts.

    The copy is ready for ``compile`` and ``fit``, and saves and loads as ``.keras`` where
    ``cnnbook.quantization`` is imported. Its ranges move in training only
    (``training=True``), and not at all in layers with ``trainable = False``; before the
    first batch they are unknown, and activations pass as they are.

    Args:
        model: A built Functional or Sequential model; nested ones are opened, and where two layers
            have one name, those of nested models stand before it: ``left_conv`` for ``conv`` of
            ``left``. It stays as it is.
        bits: An int from 2 to 16 for all weights and activations, or a dict from names of layers to
            the bits of their weights; all else then has 8.
        skip: Names of layers that stay float, their inputs and outputs with them.

    Returns:
        A Keras model with the weights of the first.

    Raises:
        ValueError: If the model is subclassed or not built, has layers that integers cannot stand
            for and that are not in ``skip`` (all are named; a class of the user's own is none of
            Keras's, whatever its name), a name is unknown, or ``bits`` is out of range.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, section 3,
        https://arxiv.org/abs/1712.05877;
        Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018,
        https://arxiv.org/abs/1806.08342

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
        >>> aware = quantize_aware(model)
        >>> [type(layer).__name__ for layer in aware.layers]
        ['InputLayer', 'QuantizedActivation', 'QuantizedConv2D', 'QuantizedActivation']
    """
    return quantizer.build(model, bits, skip)


def quantize_after_training(model, calibration_images, *, bits=8, skip=()):
    r"""A copy of a CNN with quantized weights and activations that needs no training.

    The range of each activation is what the calibration images show, :eq:`eq-calibrate`:

    .. math::

        x_{min} = \min_{i \in \text{calibration}} x_i, \qquad
        x_{max} = \max_{i \in \text{calibration}} x_i

    Otherwise the copy is that of :func:`quantize_aware`, :eq:`eq-quantize-aware`.

    Args:
        model: A built Functional or Sequential model. It stays as it is.
        calibration_images: An array (N, ...) of what the model takes, some hundred of its training
            images, pre-processed as they were in training. Labels are not needed.
        bits: As in :func:`quantize_aware`.
        skip: As in :func:`quantize_aware`.

    Returns:
        A Keras model whose ranges are known.

    Raises:
        ValueError: As :func:`quantize_aware`; if there are no images, they have another shape than
            the model's input, or hold numbers that are not finite.

    References:
        Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018,
        section 3, https://arxiv.org/abs/1806.08342

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
        >>> ready = quantize_after_training(model, np.linspace(0, 1, 128).reshape(2, 8, 8, 1))
        >>> float(ready.layers[1].minimum), float(ready.layers[1].maximum)
        (0.0, 1.0)
    """
    copy = quantizer.build(model, bits, skip)
    calibration.calibrate(copy, calibration_images)
    return copy

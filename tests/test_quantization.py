"""Tests for `cnnbook.quantization` (chapter 14): numbers and single layers."""

import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import compiled, drawn, to_numpy, vjp

from cnnbook.convolution import conv2d
from cnnbook.quantization import (
    _times_fixed_point,
    dequantize,
    fake_quantize,
    fixed_point_multiplier,
    integer_conv2d,
    quantization_parameters,
    quantize,
)


def reference_limits(bits, symmetric=False):
    return -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1


def reference_parameters(low, high, bits, symmetric):
    """Eq. eq-quantization-parameters for one range, in float64."""
    q_min, q_max = reference_limits(bits, symmetric)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if symmetric:
        high = max(-low, high)
        low = -high
    if low == high:
        return 1.0, q_min if not symmetric else 0
    scale = (high - low) / (q_max - q_min)
    return scale, 0 if symmetric else q_min - round(low / scale)


def reference_quantize(w, scale, zero, bits):
    """Eq. eq-quantize, number by number; Python's round sends ties to the even neighbor."""
    q_min, q_max = reference_limits(bits)
    return [min(max(round(float(v) / scale) + zero, q_min), q_max) for v in w]


def safe(values, scale):
    """The values without those so near to a tie that float32 may round them otherwise."""
    fraction = np.abs(values.astype("float64") / scale) % 1
    return values[np.abs(fraction - 0.5) > 1e-3]


ranges = st.tuples(st.floats(-8, 8, width=32), st.floats(-8, 8, width=32)).map(sorted)


# Scale and zero point


@given(ranges, st.integers(2, 16), st.booleans())
@drawn
def test_parameters_match_reference(parity, ends, bits, symmetric):
    scale, zero = quantization_parameters(*ends, bits=bits, symmetric=symmetric)
    expected_scale, expected_zero = reference_parameters(*ends, bits, symmetric)
    np.testing.assert_allclose(float(scale), expected_scale, rtol=1e-6)
    ratio = min(ends[0], 0.0) / expected_scale
    if abs(abs(ratio) % 1 - 0.5) > 1e-2:  # far from a tie
        assert int(zero) == expected_zero
    parity(quantization_parameters, "NumPy", scale, np.float32(expected_scale), rtol=1e-6)


def test_parameters_by_hand():
    scale, zero = quantization_parameters(-1.0, 1.55, bits=8)
    np.testing.assert_allclose(float(scale), 0.01, rtol=1e-6)
    assert int(zero) == -28  # -128 + 100
    scale, zero = quantization_parameters(-1.0, 0.5, bits=8, symmetric=True)
    np.testing.assert_allclose(float(scale), 1 / 127, rtol=1e-6)
    assert int(zero) == 0


def test_parameters_of_channels():
    low, high = [-1.0, 0.0, 0.0, 2.0], [1.2, 5.1, 0.0, 4.0]
    scale, zero = quantization_parameters(low, high)
    expected = [reference_parameters(a, b, 8, False) for a, b in zip(low, high, strict=True)]
    np.testing.assert_allclose(to_numpy(scale), [s for s, _ in expected], rtol=1e-6)
    assert to_numpy(zero).tolist() == [z for _, z in expected]
    assert to_numpy(scale)[2] == 1.0  # both ends 0: any scale would do
    assert keras.backend.standardize_dtype(zero.dtype) == "int32"


@given(ranges, st.integers(2, 16), st.booleans())
@drawn
def test_zero_is_represented_exactly(ends, bits, symmetric):
    scale, zero = quantization_parameters(*ends, bits=bits, symmetric=symmetric)
    q = quantize(0.0, scale, zero, bits=bits)
    assert int(q) == int(zero)
    assert float(dequantize(q, scale, zero)) == 0.0


# Quantize and dequantize


@given(st.integers(0, 999), st.integers(2, 16), st.integers(-4, 4))
@drawn
def test_quantize_matches_reference(parity, seed, bits, zero):
    zero = max(-(2 ** (bits - 1)), min(zero, 2 ** (bits - 1) - 1))
    scale = 0.37
    w = safe(np.random.default_rng(seed).normal(size=40).astype("float32") * 2**bits / 4, scale)
    q = quantize(w, scale, zero, bits=bits)
    assert to_numpy(q).tolist() == reference_quantize(w, scale, zero, bits)
    assert keras.backend.standardize_dtype(q.dtype) == ("int8" if bits <= 8 else "int16")
    parity(quantize, "NumPy", q, reference_quantize(w, scale, zero, bits))
    back = dequantize(q, scale, zero)
    parity(dequantize, "NumPy", back, (to_numpy(q).astype("float64") - zero) * scale)


def test_quantize_by_hand():
    assert to_numpy(quantize([0.5, 1.5, 2.5, -0.5], 1.0)).tolist() == [0, 2, 2, 0]  # ties to even
    assert to_numpy(quantize([300.0, -300.0], 1.0)).tolist() == [127, -128]
    assert to_numpy(quantize([1.0, 2.0], 0.5, 3)).tolist() == [5, 7]
    assert to_numpy(dequantize([5, 7], 0.5, 3)).tolist() == [1.0, 2.0]


def test_scales_of_channels_stand_on_their_axis():
    w = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])  # (1, 3, 2)
    scale, zero = np.array([1.0, 0.5, 0.25]), np.array([0, 1, 2])
    for axis in (1, -2):
        q = quantize(w, scale, zero, axis=axis)
        assert to_numpy(q).tolist() == [[[1, 2], [7, 9], [22, 26]]]
        np.testing.assert_array_equal(to_numpy(dequantize(q, scale, zero, axis=axis)), w)


@given(st.integers(0, 999), ranges, st.integers(2, 12), st.booleans())
@drawn
def test_the_error_is_at_most_half_a_step(seed, ends, bits, symmetric):
    low, high = ends
    x = np.random.default_rng(seed).uniform(low, high, 50).astype("float32")
    scale, zero = quantization_parameters(low, high, bits=bits, symmetric=symmetric)
    q = quantize(x, scale, zero, bits=bits)
    error = np.abs(to_numpy(dequantize(q, scale, zero)) - x)
    # The zero point is rounded, so that an end may lie half a step outside.
    assert error.max() <= float(scale) * (0.5 if symmetric else 1.0) * (1 + 1e-3) + 1e-6


def test_the_largest_error_is_reached():
    x = np.linspace(-1, 1, 100_001).astype("float32")
    scale, zero = quantization_parameters(-1.0, 1.0, symmetric=True)
    error = np.abs(to_numpy(dequantize(quantize(x, scale, zero), scale, zero)) - x)
    assert 0.49 < error.max() / float(scale) <= 0.501


# Fake quantization


@given(st.integers(0, 999), ranges, st.integers(2, 16), st.booleans())
@drawn
def test_fake_quantize_is_there_and_back(seed, ends, bits, symmetric):
    low, high = ends
    x = np.random.default_rng(seed).uniform(low - 1, high + 1, 50).astype("float32")
    scale, zero = quantization_parameters(low, high, bits=bits, symmetric=symmetric)
    there = quantize(x, scale, zero, bits=bits)
    back = to_numpy(dequantize(there, scale, zero))
    if symmetric:
        back = np.maximum(back, -float(scale) * (2 ** (bits - 1) - 1))
    got = fake_quantize(x, low, high, bits=bits, symmetric=symmetric)
    np.testing.assert_allclose(to_numpy(got), back, rtol=1e-6, atol=1e-6)


@given(st.integers(0, 999), st.integers(2, 8), st.booleans())
@drawn
def test_fake_quantize_matches_keras(parity, seed, bits, symmetric):
    rng = np.random.default_rng(seed)
    high = float(rng.uniform(0.5, 4))
    low = -high if symmetric else -float(rng.uniform(0.5, 4))
    scale, zero = (
        float(v) for v in quantization_parameters(low, high, bits=bits, symmetric=symmetric)
    )
    x = safe(rng.uniform(1.3 * low, 1.3 * high, 60).astype("float32"), scale)
    options = {"num_bits": bits, "narrow_range": symmetric}
    expected = keras.quantizers.fake_quant_with_min_max_vars(x, low, high, **options)
    got = fake_quantize(x, low, high, bits=bits, symmetric=symmetric)
    peer = "keras.quantizers.fake_quant_with_min_max_vars"
    parity(fake_quantize, peer, got, expected, atol=2e-5)


def test_fake_quantize_matches_keras_by_channel(parity):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 3, 4, 5)).astype("float32") * [0.1, 1, 2, 5, 0.5]
    w = w.astype("float32")
    limits = np.abs(w).max(axis=(0, 1, 2))
    options = {"num_bits": 8, "narrow_range": True, "axis": 3}
    expected = keras.quantizers.fake_quant_with_min_max_vars(w, -limits, limits, **options)
    got = fake_quantize(w, -limits, limits, axis=-1, symmetric=True)
    peer = "keras.quantizers.fake_quant_with_min_max_vars"
    parity(fake_quantize, peer, got, expected, atol=1e-5)


def test_the_gradient_passes_straight_through_what_is_not_clipped():
    x = np.array([-2.0, -1.0, -0.4, 0.0, 0.3, 0.75, 0.85, 0.9, 2.0], "float32")
    dy = np.arange(1.0, 10.0).astype("float32")
    # 3 bits of -1 to 0.75: scale 0.25, zero point 0; up to 0.875 is rounded to 0.75, not clipped
    (dx,) = vjp(lambda x: fake_quantize(x, -1.0, 0.75, bits=3), [x], dy)
    assert dx.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 0.0]


def test_the_largest_weight_keeps_its_gradient():
    rng = np.random.default_rng(1)
    w = rng.normal(size=(3, 3, 2, 64)).astype("float32")
    limits = np.abs(w).max(axis=(0, 1, 2))

    def fake(w):
        return fake_quantize(w, -limits, limits, axis=-1, symmetric=True)

    (dw,) = vjp(fake, [w], np.ones_like(w))
    np.testing.assert_array_equal(dw, np.ones_like(w))


@pytest.mark.filterwarnings("ignore:Dynamo detected")  # inside Keras
def test_fake_quantize_compiles_and_is_idempotent():
    x = np.random.default_rng(0).normal(size=(4, 7)).astype("float32")
    once = fake_quantize(x, -2.0, 3.0, bits=5)
    np.testing.assert_allclose(
        to_numpy(compiled(lambda x: fake_quantize(x, -2.0, 3.0, bits=5))(ops.convert_to_tensor(x))),
        to_numpy(once),
        atol=1e-6,
    )
    twice = fake_quantize(once, -2.0, 3.0, bits=5)
    np.testing.assert_allclose(to_numpy(twice), to_numpy(once), atol=1e-6)
    assert len(np.unique(np.round(to_numpy(once), 5))) <= 32


# Integers only


@given(st.floats(1e-8, 1e4))
@drawn
def test_fixed_point_is_close(factor):
    m, e = fixed_point_multiplier(factor)
    assert 2**30 <= int(m) < 2**31
    np.testing.assert_allclose(float(m) * 2.0 ** (int(e) - 31), factor, rtol=2.0**-31)


def test_fixed_point_by_hand(parity):
    m, e = fixed_point_multiplier([0.5, 1.0, 0.75, 1 - 2.0**-40])
    assert m.tolist() == [2**30, 2**30, 3 * 2**29, 2**30]
    assert e.tolist() == [0, 1, 0, 1]
    parity(fixed_point_multiplier, "NumPy", m * 2.0 ** (e - 31.0), [0.5, 1, 0.75, 1])


def reference_times(a, m, e):
    """LiteRT's two roundings with Python's unlimited integers."""
    product = (a * 2 ** max(e, 0) * m + 2**30) >> 31
    shift = max(-e, 0)
    quotient = abs(product) // 2**shift + (abs(product) % 2**shift * 2 >= 2**shift and shift > 0)
    return quotient if product >= 0 else -quotient


@given(
    st.lists(st.integers(-(2**29) + 1, 2**29 - 1), min_size=1, max_size=20), st.floats(1e-6, 1.0)
)
@drawn
def test_the_product_is_exact_in_32_bits(values, factor):
    m, e = fixed_point_multiplier(factor)
    got = _times_fixed_point(ops.convert_to_tensor(np.array(values, "int32")), m, e)
    expected = [reference_times(a, int(m), int(e)) for a in values]
    assert to_numpy(got).tolist() == expected
    exact = np.array(values, "float64") * factor
    np.testing.assert_allclose(to_numpy(got), exact, atol=1.0 + 1e-9)


def test_ties_round_away_from_zero():
    m, e = fixed_point_multiplier(0.25)
    got = _times_fixed_point(ops.convert_to_tensor(np.array([2, -2, 6, -6, 5, -5], "int32")), m, e)
    # 0.5, -0.5, 1.5, -1.5; 1.25 is rounded twice: 2.5 to 3, then 1.5 to 2; -2.5 goes up to -2
    assert to_numpy(got).tolist() == [1, -1, 2, -2, 2, -1]


def reference_integer_conv(x, kernel, bias, z_x, factors, z_y, stride, pad, low, high):
    """Eq. eq-integer-conv by loops over Python integers; groups 1, square stride and padding."""
    n, h, w, c = x.shape
    kh, kw, _, filters = kernel.shape
    rows, columns = ((s + 2 * pad - k) // stride + 1 for s, k in ((h, kh), (w, kw)))
    y = np.zeros((n, rows, columns, filters), int)
    for b, i, j, k in np.ndindex(y.shape):
        a = int(bias[k])
        for di, dj, ch in np.ndindex(kh, kw, c):
            u, v = i * stride + di - pad, j * stride + dj - pad
            if 0 <= u < h and 0 <= v < w:
                a += (int(x[b, u, v, ch]) - z_x) * int(kernel[di, dj, ch, k])
        m, e = fixed_point_multiplier(factors[k])
        y[b, i, j, k] = min(max(reference_times(a, int(m), int(e)) + z_y, low), high)
    return y


@pytest.mark.parametrize("stride, pad", [(1, 0), (1, 1), (2, 1)])
def test_integer_conv_matches_reference(parity, stride, pad):
    rng = np.random.default_rng(stride + pad)
    x = rng.integers(-128, 128, (2, 5, 6, 3)).astype("int8")
    kernel = rng.integers(-127, 128, (3, 2, 3, 4)).astype("int8")
    bias = rng.integers(-5000, 5000, 4).astype("int32")
    scales = {"input_scale": 0.02, "kernel_scale": [0.01, 0.003, 0.02, 0.001], "output_scale": 0.05}
    factors = 0.02 * np.array(scales["kernel_scale"]) / 0.05
    expected = reference_integer_conv(x, kernel, bias, 5, factors, -7, stride, pad, -7, 127)
    got = integer_conv2d(
        x,
        kernel,
        bias,
        input_zero_point=5,
        output_zero_point=-7,
        strides=stride,
        padding=pad,
        output_range=(-7, 127),
        **scales,
    )
    assert keras.backend.standardize_dtype(got.dtype) == "int8"
    np.testing.assert_array_equal(to_numpy(got), expected)
    assert len(np.unique(expected)) > 20  # not all clipped
    parity(integer_conv2d, "NumPy", got, expected)


def test_the_default_range_is_that_of_int8():
    x = np.array([-100, -1, 0, 1, 100], "int8").reshape(5, 1, 1, 1)
    scales = {"input_scale": 1.0, "kernel_scale": [1.0], "output_scale": 1.0}
    zeros = {"input_zero_point": 0, "output_zero_point": 0}
    kernel, bias = np.full((1, 1, 1, 1), 100, "int8"), np.zeros(1, "int32")
    got = to_numpy(integer_conv2d(x, kernel, bias, **zeros, **scales))
    assert got.ravel().tolist() == [-128, -100, 0, 100, 127]


def quantized_conv_case(rng, groups):
    """A float convolution, its integers, and what integer_conv2d makes of them."""
    c, filters = 4, 8
    x = rng.normal(size=(2, 7, 7, c)).astype("float32")
    kernel = rng.normal(size=(3, 3, c // groups, filters)).astype("float32")
    bias = rng.normal(size=filters).astype("float32")
    s_x, z_x = (v.item() for v in map(to_numpy, quantization_parameters(x.min(), x.max())))
    limits = np.abs(kernel).max(axis=(0, 1, 2))
    s_w = to_numpy(quantization_parameters(-limits, limits, symmetric=True)[0])
    y = to_numpy(conv2d(x, kernel, bias, padding=1, groups=groups, data_format="channels_last"))
    s_y, z_y = (v.item() for v in map(to_numpy, quantization_parameters(y.min(), y.max())))
    got = integer_conv2d(
        quantize(x, s_x, z_x),
        quantize(kernel, s_w, axis=-1),
        np.round(bias / (s_x * s_w)).astype("int32"),
        input_scale=s_x,
        input_zero_point=z_x,
        kernel_scale=s_w,
        output_scale=s_y,
        output_zero_point=z_y,
        padding=1,
        groups=groups,
        data_format="channels_last",
    )
    return y, to_numpy(dequantize(got, s_y, z_y)), s_y


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_integers_stay_close_to_the_float_convolution(groups):
    y, got, step = quantized_conv_case(np.random.default_rng(groups), groups)
    assert np.abs(got - y).max() < 4 * step
    assert np.abs(got - y).mean() < step


def test_channels_first_is_the_same():
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (1, 4, 5, 2)).astype("int8")
    kernel = rng.integers(-127, 128, (2, 2, 2, 3)).astype("int8")
    options = {"input_scale": 0.1, "input_zero_point": 3, "kernel_scale": 0.01}
    options |= {"output_scale": 0.4, "output_zero_point": 1}
    last = integer_conv2d(x, kernel, data_format="channels_last", **options)
    first = integer_conv2d(x.transpose(0, 3, 1, 2), kernel, data_format="channels_first", **options)
    np.testing.assert_array_equal(to_numpy(first).transpose(0, 2, 3, 1), to_numpy(last))


# Errors


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: quantization_parameters(1.0, -1.0),
            "minimum must be finite and at most maximum, got 1.0 and -1.0",
        ),
        (
            lambda: quantization_parameters(np.array([0.0, 2.0]), np.array([1.0, 1.0])),
            "at most maximum",
        ),
        (lambda: quantization_parameters(0.0, float("inf")), "must be finite .* got 0.0 and inf"),
        (lambda: quantization_parameters(0.0, [1.0, 2.0]), r"one shape, got \(\) and \(2,\)"),
        (
            lambda: quantization_parameters(0.0, 1.0, bits=1),
            "bits must be an integer from 2 to 16, got 1",
        ),
        (lambda: quantization_parameters(0.0, 1.0, bits=17), "got 17"),
        (lambda: quantization_parameters(0.0, 1.0, bits=8.0), "got 8.0"),
        (lambda: quantize([1.0], 0.0), "scale must be positive and finite, got 0.0"),
        (lambda: quantize([1.0], -0.5), "got -0.5"),
        (lambda: quantize([[1.0]], np.array([0.0]), axis=1), "scale must be positive"),
        (lambda: quantize([1.0, 2.0], [1.0, 2.0]), r"unless axis is given, got shape \(2,\)"),
        (lambda: quantize([1.0, 2.0], [1.0, 2.0, 3.0], axis=0), r"shape \(2,\).*got \(3,\)"),
        (lambda: quantize([1.0], 1.0, axis=1), "axis must be an int from -1 to 0, got 1"),
        (lambda: quantize([1.0], 1.0, bits=True), "bits must be an integer from 2 to 16, got True"),
        (lambda: dequantize([1.0], 1.0), "q must hold integers, got dtype"),
        (lambda: dequantize([1], 1.0, 1.5), "zero_point must hold integers, got 1.5"),
        (lambda: dequantize([1], 1.0, True), "zero_point must be .* real numbers, got True"),
        (lambda: dequantize([1], True), "scale must be .* real numbers, got True"),
        (
            lambda: dequantize([1], 1.0, keras.ops.convert_to_tensor(1.5)),
            "zero_point must hold integers, got dtype .*float32",
        ),
        (lambda: quantize([1.0], 1.0, [0.5], axis=0), r"zero_point must hold .* got \[0.5\]"),
        (lambda: quantize(float("nan"), 1.0), "x holds NaN"),
        (lambda: quantize(np.array([1.0, np.nan]), 1.0), "x holds NaN"),
        (lambda: quantization_parameters(False, 1.0), "minimum must be .* real numbers, got False"),
        (
            lambda: quantization_parameters([0.0, 0.0], [1.0, 1.0, 1.0]),
            r"minimum and maximum must have one shape, got \(2,\) and \(3,\)",
        ),
        (lambda: dequantize([1], 0.0), "scale must be positive and finite, got 0.0"),
        (lambda: fake_quantize([1.0], 2.0, 1.0), "got 2.0 and 1.0"),
        (lambda: fake_quantize([1.0], 0.0, 1.0, bits=0), "bits must be .* got 0"),
        (lambda: fake_quantize([1.0, 2.0], [0.0], [1.0], axis=0), r"shape \(2,\).*got \(1,\)"),
        (lambda: fixed_point_multiplier(0.0), "factor must be positive and finite, got 0.0"),
        (lambda: fixed_point_multiplier(1e-12), "factor must lie between"),
    ],
)
def test_errors_of_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()


SOUND = {
    "x": np.zeros((1, 3, 3, 2), "int8"),
    "kernel": np.zeros((2, 2, 2, 3), "int8"),
    "bias": np.zeros(3, "int32"),
    "input_scale": 0.1,
    "input_zero_point": 0,
    "kernel_scale": 0.1,
    "output_scale": 0.1,
    "output_zero_point": 0,
    "data_format": "channels_last",
}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"x": np.zeros((1, 3, 3, 2), "float32")}, "x must be of dtype int8, got"),
        ({"kernel": np.zeros((2, 2, 2, 3), "int32")}, "kernel must be of dtype int8, got"),
        ({"bias": np.zeros(3, "float32")}, "bias must be of dtype int32, got"),
        ({"bias": np.zeros(2, "int32")}, r"bias must have shape \(3,\).*got \(2,\)"),
        ({"x": np.zeros((1, 3, 3, 4), "int8")}, "kernel has 2 input channels, but x has 4"),
        ({"input_scale": 0.0}, "input_scale must be positive"),
        ({"output_scale": -1.0}, "output_scale must be positive"),
        ({"output_scale": [0.1] * 3}, r"output_scale must be a number, got shape \(3,\)"),
        ({"kernel_scale": [0.1, 0.1]}, r"kernel_scale must be a number or of shape \(3,\).*\(2,\)"),
        ({"input_zero_point": 200}, "input_zero_point must be an int from -128 to 127, got 200"),
        ({"output_zero_point": 0.5}, "output_zero_point must be an int .* got 0.5"),
        (
            {"output_range": (5, -5)},
            re.escape("output_range must be (smaller, larger), got (5, -5)"),
        ),
        ({"output_range": (-200, 0)}, "output_range must be an int from -128 to 127, got -200"),
        (
            {"x": np.zeros((1, 2, 2, 9000), "int8"), "kernel": np.zeros((2, 2, 9000, 3), "int8")},
            "adds up 36000 products",
        ),
    ],
)
def test_errors_of_integer_conv(wrong, message):
    integer_conv2d(**SOUND)
    with pytest.raises(ValueError, match=message):
        integer_conv2d(**{**SOUND, **wrong})


# LiteRT


def litert_layers():
    layers = keras.layers
    return {
        "plain": layers.Conv2D(5, 3),
        "same, relu": layers.Conv2D(5, 3, padding="same", activation="relu"),
        "strides": layers.Conv2D(5, (3, 2), strides=2, padding="same"),
        "pointwise, relu6": layers.Conv2D(5, 1, activation="relu6"),
        "depthwise": layers.DepthwiseConv2D(3, padding="same"),
    }


def litert_file(layer, path, x):
    """A full int8 file of one layer, calibrated on x."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(batch_shape=(1, *x.shape[1:])), layer])
    model.layers[-1].bias.assign(np.random.default_rng(0).normal(size=layer.bias.shape))
    model.export(
        str(path),
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image[None]] for image in x),
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )


def litert_run(path, reference, q):
    """The interpreter's outputs, and what it holds: scales, zero points, kernel and bias."""
    import tensorflow as tf

    kinds = tf.lite.experimental.OpResolverType
    kind = kinds.BUILTIN_REF if reference else kinds.AUTO
    interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (first,), (last,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for image in q:
        interpreter.set_tensor(first["index"], image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(last["index"])[0])
    held = {}
    for detail in interpreter.get_tensor_details():
        if detail["index"] not in (first["index"], last["index"]):
            scales = detail["quantization_parameters"]["scales"]
            if detail["dtype"] is np.int8 and len(scales) > 1:  # one for each filter
                held["kernel"] = interpreter.get_tensor(detail["index"])
                held["kernel_scale"] = scales
            elif detail["dtype"] is np.int32 and len(detail["shape"]) == 1:
                held["bias"] = interpreter.get_tensor(detail["index"])
    for name, detail in (("input", first), ("output", last)):
        held[f"{name}_scale"], held[f"{name}_zero_point"] = detail["quantization"]
    return np.array(outputs), held


@pytest.mark.filterwarnings("ignore")  # LiteRT's and the exporter's own
@pytest.mark.parametrize("name", litert_layers())
def test_integers_equal_those_of_litert(name, tmp_path):
    pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow exports")
    layer, rng = litert_layers()[name], np.random.default_rng(1)
    x = rng.normal(size=(16, 9, 9, 3)).astype("float32")
    path = tmp_path / "layer.tflite"
    litert_file(layer, path, x)
    q = rng.integers(-128, 128, (16, 9, 9, 3)).astype("int8")
    expected, held = litert_run(path, True, q)
    depthwise = name == "depthwise"
    kernel = held.pop("kernel")
    kernel = kernel.transpose(1, 2, 0, 3) if depthwise else kernel.transpose(1, 2, 3, 0)
    zero = held["output_zero_point"]
    got = integer_conv2d(
        q,
        kernel,
        held.pop("bias"),
        **held,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        groups=3 if depthwise else 1,
        output_range=(zero if "relu" in name else -128, 127),
        data_format="channels_last",
    )
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(to_numpy(got), expected)
    fast, _ = litert_run(path, False, q)
    assert np.abs(fast.astype(int) - expected).max() <= 1  # other rounding of ties

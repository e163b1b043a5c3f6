"""Tests for `cnnbook.softmax` (chapter 07)."""

import importlib.util
import math
import re

import keras
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.softmax import log_softmax, softmax, softmax_gradient

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def reference_softmax(row, temperature):
    """Eq. eq-softmax-temperature for one row, by loops in float64, without the shift."""
    total = 0.0
    for z in row:
        total += math.exp(float(z) / temperature)
    return np.array([math.exp(float(z) / temperature) / total for z in row])


def reference_softmax_gradient(p, g, temperature):
    """The sum over the Jacobian dp_j/dz_i = p_j (1[i=j] - p_i) / T, by loops in float64."""
    out = np.zeros(len(p))
    for i in range(len(p)):
        for j in range(len(p)):
            out[i] += float(g[j]) * float(p[j]) * ((i == j) - float(p[i])) / temperature
    return out


def along(function, *arrays, axis):
    """Applies a function of rows along an axis."""
    rows = [np.moveaxis(a, axis, -1) for a in arrays]
    out = np.zeros(rows[0].shape)
    for index in np.ndindex(rows[0].shape[:-1]):
        out[index] = function(*(r[index] for r in rows))
    return np.moveaxis(out, -1, axis)


@st.composite
def cases(draw, empty=False):
    """(logits, output gradient, axis, temperature)."""
    shape = draw(st.lists(st.integers(0 if empty else 1, 4), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    temperature = draw(st.sampled_from([0.5, 1, 1.0, 2.5, 10.0]))
    z, g = (rng.normal(size=shape).astype("float32") for _ in range(2))
    return z * draw(st.sampled_from([1.0, 10.0])), g, axis, temperature


@given(cases(empty=True))
@drawn
def test_softmax_matches_reference(case):
    z, _, axis, t = case
    z = z.astype("float32")
    expected = along(lambda row: reference_softmax(row, t), z, axis=axis)
    got = to_numpy(softmax(z, axis=axis, temperature=t))
    assert got.shape == z.shape
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


@given(cases(empty=True))
@drawn
def test_log_softmax_matches_reference(case):
    z, _, axis, t = case
    z = z.astype("float32")
    expected = along(lambda row: np.log(reference_softmax(row, t)), z, axis=axis)
    got = to_numpy(log_softmax(z, axis=axis, temperature=t))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)


@given(cases())
@drawn
def test_gradient_matches_reference(case):
    z, g, axis, t = case
    p = along(lambda row: reference_softmax(row, t), z, axis=axis).astype("float32")
    expected = along(lambda p, g: reference_softmax_gradient(p, g, t), p, g, axis=axis)
    got = to_numpy(softmax_gradient(p, g, axis=axis, temperature=t))
    np.testing.assert_allclose(got, expected, **CLOSE)
    np.testing.assert_allclose(got.sum(axis=axis), 0.0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # of size 1
@given(cases())
@drawn
def test_matches_keras_and_scipy(parity, case):
    z, _, axis, t = case
    z = z.astype("float32")
    scaled = (z / np.float32(t)).astype("float32")
    p, logs = softmax(z, axis=axis, temperature=t), log_softmax(z, axis=axis, temperature=t)
    np.testing.assert_allclose(to_numpy(p), scipy.special.softmax(scaled, axis=axis), **CLOSE)
    np.testing.assert_allclose(
        to_numpy(logs), scipy.special.log_softmax(scaled, axis=axis), rtol=1e-5, atol=2e-5
    )
    scaled = ops.convert_to_tensor(scaled)
    parity(softmax, "keras.ops.softmax", p, ops.softmax(scaled, axis=axis))
    expected = ops.log_softmax(scaled, axis=axis)
    parity(log_softmax, "keras.ops.log_softmax", logs, expected, atol=2e-5)


@given(cases())
@drawn
def test_gradients_match_autodiff(parity, case):
    z, g, axis, t = case
    z, g = z.astype(precise_dtype()), g.astype(precise_dtype())
    (expected,) = vjp(lambda z: softmax(z, axis=axis, temperature=t), [z], g)
    p = softmax(z, axis=axis, temperature=t)
    got = softmax_gradient(p, g, axis=axis, temperature=t)
    parity(softmax_gradient, "autodiff of cnnbook.softmax.softmax", got, expected)
    # the logarithm's gradient: g - p * sum(g), both divided by the temperature
    (got,) = vjp(lambda z: log_softmax(z, axis=axis, temperature=t), [z], g)
    want = (g - to_numpy(p) * g.sum(axis=axis, keepdims=True)) / t
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_matches_torch():
    import torch

    z = (30 * np.random.default_rng(0).normal(size=(5, 7))).astype("float32")
    for ours, theirs in ((softmax, torch.softmax), (log_softmax, torch.log_softmax)):
        expected = theirs(torch.tensor(z), dim=0).numpy()
        np.testing.assert_allclose(to_numpy(ours(z, axis=0)), expected, rtol=1e-5, atol=2e-5)


def test_hand_computed():
    # e^0 : e^0 : e^log 2 = 1 : 1 : 2, and with temperature 1/2 it is 1 : 1 : 4
    z = [0.0, 0.0, math.log(2.0)]
    np.testing.assert_allclose(to_numpy(softmax(z)), [1 / 4, 1 / 4, 1 / 2], **CLOSE)
    p = to_numpy(softmax(z, temperature=0.5))
    np.testing.assert_allclose(p, [1 / 6, 1 / 6, 4 / 6], **CLOSE)
    np.testing.assert_allclose(to_numpy(log_softmax(z)), -np.log([4.0, 4.0, 2.0]), **CLOSE)
    # p_1 (g_1 - sum p g) = 0.25 (4 - 1), the others -0.25 * 1 and -0.5 * 1
    got = softmax_gradient([0.25, 0.25, 0.5], [4.0, 0.0, 0.0])
    np.testing.assert_allclose(to_numpy(got), [0.75, -0.25, -0.5], **CLOSE)


@given(cases(), st.sampled_from([-5000.0, -90.0, 3.0, 90.0, 5000.0]))
@drawn
def test_sums_to_one_and_ignores_a_shift(case, shift):
    z, _, axis, t = case
    z = np.round(z * 8) / 8  # so that adding the shift is exact in float32
    z = z.astype("float32")
    p = to_numpy(softmax(z, axis=axis, temperature=t))
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(axis=axis), 1.0, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(softmax(z + shift, axis=axis, temperature=t)), p, **CLOSE)
    logs = to_numpy(log_softmax(z + shift, axis=axis, temperature=t))
    np.testing.assert_allclose(logs, to_numpy(log_softmax(z, axis=axis, temperature=t)), **CLOSE)


@pytest.mark.parametrize("big", [89.0, 1000.0, 3e38])
def test_does_not_overflow(big):
    got = to_numpy(softmax([big, big, 0.0]))
    np.testing.assert_allclose(got, [0.5, 0.5, 0.0], atol=1e-30)  # e^-89 is subnormal
    np.testing.assert_array_equal(to_numpy(softmax([-big, -big])), [0.5, 0.5])
    np.testing.assert_allclose(to_numpy(log_softmax([big, 0.0])), [0.0, -big], rtol=1e-6)


def test_minus_infinity_rules_a_class_out():
    np.testing.assert_array_equal(to_numpy(softmax([0.0, -math.inf, 0.0])), [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(to_numpy(log_softmax([-math.inf, 0.0])), [-math.inf, 0.0])
    assert np.isnan(to_numpy(softmax([-math.inf, -math.inf]))).all()


def test_temperature_limits():
    z = [1.0, 3.0, 2.0]
    np.testing.assert_allclose(to_numpy(softmax(z, temperature=1e6)), [1 / 3] * 3, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(softmax(z, temperature=1e-3)), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(
        to_numpy(softmax(z, temperature=np.float32(2))), to_numpy(softmax(np.divide(z, 2))), **CLOSE
    )


def test_integers_become_floats_and_lists_are_taken():
    p = softmax(np.array([[3, 3]], "int64"))
    assert keras.backend.standardize_dtype(p.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(p), [[0.5, 0.5]])


@pytest.mark.parametrize("shape", [(0, 10), (3, 0), (0,)])
@pytest.mark.parametrize("axis", [0, -1])
def test_empty(shape, axis):
    for function in (softmax, log_softmax):
        assert tuple(function(np.ones(shape, "float32"), axis=axis).shape) == shape
    empty = np.ones(shape, "float32")
    assert tuple(softmax_gradient(empty, empty, axis=axis).shape) == shape


def test_compiled():
    rng = np.random.default_rng(0)
    z, g = (ops.convert_to_tensor(rng.normal(size=(4, 3)), "float32") for _ in range(2))

    def all_three(z, g):
        p = softmax(z, axis=0, temperature=3)
        return p, log_softmax(z), softmax_gradient(p, g, axis=0, temperature=3)

    for got, want in zip(compiled(all_three)(z, g), all_three(z, g), strict=True):
        np.testing.assert_allclose(to_numpy(got), to_numpy(want), **CLOSE)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an unknown batch size")
def test_unknown_batch_size():
    import tensorflow as tf

    traced = tf.function(lambda z: (softmax(z), log_softmax(z)), [tf.TensorSpec((None, 3))])
    z = np.array([[1, 2, 3], [0, 0, 9]], "float32")
    for got, want in zip(traced(z), (softmax(z), log_softmax(z)), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


@pytest.mark.parametrize("function", [softmax, log_softmax])
@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan, True, "hot", None])
def test_rejects_temperature(function, temperature):
    message = f"temperature must be a finite number above 0, got {temperature!r}"
    with pytest.raises(ValueError, match=message):
        function([1.0, 2.0], temperature=temperature)


@pytest.mark.parametrize("function", [softmax, log_softmax])
@pytest.mark.parametrize("axis", [2, -3, 0.0, None, True, (0, 1)])
def test_rejects_axis(function, axis):
    message = f"axis must be an integer from -2 to 1 for logits of shape (2, 3), got {axis!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        function(np.ones((2, 3)), axis=axis)


def test_rejects_a_scalar():
    with pytest.raises(ValueError, match=r"for logits of shape \(\), got -1"):
        softmax(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: softmax_gradient(p, np.ones((3, 2))),
            r"output_gradient must have the shape of probabilities \(2, 3\), got \(3, 2\)",
        ),
        (
            lambda p: softmax_gradient(p, p, axis=2),
            r"axis must be an integer from -2 to 1 for probabilities of shape \(2, 3\), got 2",
        ),
        (
            lambda p: softmax_gradient(p, p, temperature=0),
            r"temperature must be a finite number above 0, got 0",
        ),
    ],
)
def test_gradient_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.full((2, 3), 1 / 3))

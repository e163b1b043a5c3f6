"""Tests for `cnnbook.activations` (chapter 02)."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops
from scipy import special, stats
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.activations import gelu, hard_silu, leaky_relu, relu, relu_gradient, silu


def leaky(x):
    return leaky_relu(x, negative_slope=0.25)


def tanh_gelu(x):
    return gelu(x, approximate=True)


def reference_gelu_tanh(x):
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# Each function with its equation for one number, and its derivative by hand where it has one.
REFERENCES = {
    relu: lambda x: max(0.0, x),
    leaky: lambda x: max(0.0, x) + 0.25 * min(0.0, x),
    gelu: lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))),
    tanh_gelu: reference_gelu_tanh,
    silu: lambda x: x / (1 + math.exp(-x)),
    hard_silu: lambda x: x * min(max(x + 3, 0), 6) / 6,
}
SLOPES = {
    relu: lambda x: x > 0,
    leaky: lambda x: np.where(x > 0, 1, 0.25),
    gelu: lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x),
    silu: lambda x: special.expit(x) * (1 + x * (1 - special.expit(x))),
    hard_silu: lambda x: np.where(abs(x) < 3, x / 3 + 0.5, x > 0),
}
floats = st.floats(-30, 30, width=32)
shapes = st.sampled_from([(), (7,), (2, 3, 1, 2)])
arrays = hnp.arrays("float32", shapes, elements=floats)
by_name = pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)


@by_name
def test_matches_the_loop(function):
    x = np.random.default_rng(0).normal(scale=3, size=(3, 4, 2)).astype(precise_dtype())
    expected = np.array([REFERENCES[function](float(v)) for v in x.ravel()]).reshape(x.shape)
    got = function(ops.convert_to_tensor(x, precise_dtype()))
    tolerance = 1e-12 if keras.backend.standardize_dtype(got.dtype) == "float64" else 1e-6
    np.testing.assert_allclose(to_numpy(got), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (relu, [0, 0, 0, 1, 4]),
        (leaky, [-1, -0.25, 0, 1, 4]),
        (gelu, [-4 * 3.167e-5, -0.158655, 0, 0.841345, 4 * (1 - 3.167e-5)]),
        (tanh_gelu, [-0.000070, -0.158808, 0, 0.841192, 3.999930]),
        (silu, [-4 / (1 + 54.598150), -1 / 3.718282, 0, 2.718282 / 3.718282, 4 / 1.018316]),
        (hard_silu, [0, -1 / 3, 0, 2 / 3, 4]),
    ],
)
def test_hand_computed(function, expected):
    np.testing.assert_allclose(to_numpy(function([-4, -1, 0, 1, 4])), expected, atol=2e-6)


@by_name
def test_far_from_zero_it_is_relu_or_a_line(function):
    left = 0.25 if function is leaky else 0.0
    x = np.array([-1e4, -40.0, 40.0, 1e4], "float32")
    np.testing.assert_allclose(
        to_numpy(function(x)), [left * -1e4, left * -40, 40, 1e4], atol=1e-12
    )


@pytest.mark.parametrize("function", [relu, leaky])
def test_scaling_by_a_positive_number_commutes(function):
    x = np.random.default_rng(1).normal(size=50).astype("float32")
    np.testing.assert_array_equal(to_numpy(function(8 * x)), 8 * to_numpy(function(x)))


@pytest.mark.parametrize("function", [relu, gelu, tanh_gelu, silu, hard_silu])
def test_the_two_sides_differ_by_x(function):
    """f(x) - f(-x) = x for each of the form x * gate(x) with gate(x) + gate(-x) = 1."""
    x = np.linspace(-6, 6, 97, dtype="float32")
    np.testing.assert_allclose(to_numpy(function(x)) - to_numpy(function(-x)), x, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "at", "lowest"),
    [(gelu, -0.7518, -0.16997), (silu, -1.2785, -0.27846), (hard_silu, -1.5, -0.375)],
)
def test_lowest_value(function, at, lowest):
    x = np.linspace(-8, 8, 160001)
    y = to_numpy(function(x))
    np.testing.assert_allclose(x[y.argmin()], at, atol=5e-3)
    np.testing.assert_allclose(y.min(), lowest, atol=1e-5)


def test_gelu_and_its_approximation_are_close_but_not_the_same():
    x = np.linspace(-8, 8, 16001)
    apart = np.abs(to_numpy(gelu(x)) - to_numpy(gelu(x, approximate=True))).max()
    assert 4e-4 < apart < 5e-4


@by_name
def test_accepts_lists_integers_scalars_and_nothing(function):
    np.testing.assert_allclose(to_numpy(function([[1, 2]])), to_numpy(function([[1.0, 2.0]])))
    assert tuple(function(3.0).shape) == ()
    assert tuple(function(np.zeros((0, 4, 4, 2), "float32")).shape) == (0, 4, 4, 2)
    assert keras.backend.standardize_dtype(function(np.ones(2, "float16")).dtype) == "float16"


@by_name
def test_nan_stays_nan(function):
    assert np.isnan(to_numpy(function(np.array([np.nan, 1.0], "float32")))).tolist() == [
        True,
        False,
    ]


@by_name
def test_slope_by_autodiff(function):
    """The derivative at zero included: 0, the slope, or one half."""
    x = np.concatenate([[0.0, -200.0, 200.0], np.linspace(-5.05, 5.05, 41)])
    got = vjp(function, [x.astype(precise_dtype())], np.ones(x.shape, precise_dtype()))[0]
    if function in SLOPES:
        expected = SLOPES[function](x)
    else:
        h = 1e-5
        steps = [(REFERENCES[function](v + h) - REFERENCES[function](v - h)) / (2 * h) for v in x]
        expected = np.array(steps)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("x", [-3e38, -200.0, -90.0, 0.0, 90.0, 3e38])
def test_silu_and_its_gradient_stay_finite(x):
    x = np.array([x], "float32")
    assert np.isfinite(to_numpy(silu(x))).all()
    np.testing.assert_allclose(
        vjp(silu, [x], np.ones_like(x))[0], special.expit(x) + 0.0, atol=1e-6
    )


def test_silu_bends_at_zero_as_it_should():
    """Second derivative of x * sigmoid(x) at 0 is 2 * sigmoid'(0) = 1/2."""
    h = np.float32(1e-2)
    x = np.array([-h, 0.0, h], "float32")
    slopes = vjp(silu, [x], np.ones_like(x))[0]
    np.testing.assert_allclose(np.diff(slopes) / h, 0.5, atol=1e-3)


def test_relu_gradient_hand_computed():
    got = relu_gradient(
        [[-1.0, 0.0, 2.0], [1e-30, -0.0, np.nan]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    )
    np.testing.assert_array_equal(to_numpy(got), [[0, 0, 3], [4, 0, 0]])


@drawn
@given(x=arrays)
def test_relu_gradient_is_that_of_keras_at_zero_too(parity, x):
    x = np.round(x / 10)  # about one in three is exactly zero
    dy = np.arange(1, x.size + 1, dtype="float32").reshape(x.shape)
    got = relu_gradient(x, dy)
    for function in (ops.relu, relu):
        parity(relu_gradient, "autodiff of keras.ops.relu", got, vjp(function, [x], dy)[0], atol=0)


def test_relu_gradient_matches_finite_differences():
    rng = np.random.default_rng(2)
    x, dy = rng.normal(size=(2, 30)).astype(precise_dtype())
    h = 1e-3
    x = x[np.abs(x) > h]
    dy = dy[: x.size]
    steps = (to_numpy(relu(x + h)) - to_numpy(relu(x - h))) / (2 * h)
    np.testing.assert_allclose(to_numpy(relu_gradient(x, dy)), dy * steps, atol=1e-3)


def test_relu_gradient_rejects_shapes():
    with pytest.raises(
        ValueError, match=r"output_gradient must have the shape of x \(2,\), got \(3,\)"
    ):
        relu_gradient(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match=r"\(2, 1\), got \(2,\)"):
        relu_gradient(np.zeros((2, 1)), np.zeros(2))


@pytest.mark.parametrize("slope", [-0.1, math.inf, math.nan, "0.2", None, True, [0.1]])
def test_leaky_relu_rejects(slope):
    with pytest.raises(
        ValueError, match="negative_slope must be a finite number of at least 0, got"
    ) as e:
        leaky_relu(np.zeros(2), negative_slope=slope)
    assert repr(slope) in str(e.value)


@pytest.mark.parametrize("slope", [0, 1, 2.5, np.float32(0.5)])
def test_leaky_relu_accepts_any_other_number(slope):
    np.testing.assert_allclose(
        to_numpy(leaky_relu([-2.0, 2.0], negative_slope=slope)), [-2 * slope, 2]
    )


@pytest.mark.parametrize("approximate", ["tanh", "none", 1, None])
def test_gelu_rejects(approximate):
    with pytest.raises(ValueError, match=f"approximate must be True or False, got {approximate!r}"):
        gelu(np.zeros(2), approximate=approximate)


@drawn
@given(x=arrays, slope=st.floats(0, 2, width=32))
def test_parity_with_keras(parity, x, slope):
    x = ops.convert_to_tensor(x)
    slope = round(slope, 1)
    parity(relu, "keras.ops.relu", relu(x), ops.relu(x))
    parity(
        leaky_relu,
        "keras.ops.leaky_relu",
        leaky_relu(x, negative_slope=slope),
        ops.leaky_relu(x, negative_slope=slope),
    )
    parity(silu, "keras.ops.silu", silu(x), ops.silu(x))
    parity(hard_silu, "keras.ops.hard_silu", hard_silu(x), ops.hard_silu(x))
    for approximate in (False, True):
        got = gelu(x, approximate=approximate)
        parity(gelu, "keras.ops.gelu", got, ops.gelu(x, approximate=approximate))
        parity(gelu, "keras.ops.gelu", got, keras.activations.gelu(x, approximate=approximate))


def test_keras_has_these_defaults():
    """What the chapter says of the defaults: if Keras changes one, the chapter must."""
    x = np.array([-1.0, 1.0], "float32")
    np.testing.assert_allclose(to_numpy(ops.gelu(x)), to_numpy(tanh_gelu(x)), atol=1e-6)
    np.testing.assert_allclose(to_numpy(keras.activations.gelu(x)), to_numpy(gelu(x)), atol=1e-6)
    assert abs(to_numpy(gelu(x)) - to_numpy(tanh_gelu(x))).max() > 1e-4
    np.testing.assert_allclose(to_numpy(ops.leaky_relu(x)), [-0.2, 1])
    np.testing.assert_allclose(to_numpy(keras.activations.leaky_relu(x)), [-0.2, 1])
    np.testing.assert_allclose(to_numpy(keras.layers.LeakyReLU()(x)), [-0.3, 1])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="needs PyTorch")
def test_parity_with_pytorch():
    from torch.nn import functional

    x = ops.convert_to_tensor(np.linspace(-9, 9, 181, dtype="float32"))
    pairs = [
        (relu(x), functional.relu(x)),
        (leaky_relu(x, negative_slope=0.01), functional.leaky_relu(x)),
        (gelu(x), functional.gelu(x)),
        (gelu(x, approximate=True), functional.gelu(x, approximate="tanh")),
        (silu(x), functional.silu(x)),
        (hard_silu(x), functional.hardswish(x)),
    ]
    for got, expected in pairs:
        np.testing.assert_allclose(to_numpy(got), to_numpy(expected), rtol=1e-5, atol=1e-6)


def test_compiles():
    x = np.random.default_rng(3).normal(size=(2, 5)).astype("float32")
    everything = compiled(lambda v: [f(v) for f in REFERENCES] + [relu_gradient(v, v)])
    outputs = everything(ops.convert_to_tensor(x))
    for got, function in zip(outputs, REFERENCES, strict=False):
        np.testing.assert_allclose(to_numpy(got), to_numpy(function(x)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_numpy(outputs[-1]), np.maximum(x, 0))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
def test_runs_with_an_unknown_batch_size():
    import tensorflow as tf

    signature = [tf.TensorSpec((None, 3), tf.float32)]
    f = tf.function(lambda v: relu_gradient(v, silu(v)), input_signature=signature)
    assert f(tf.ones((5, 3))).shape == (5, 3)

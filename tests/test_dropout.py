"""Tests for `cnnbook.dropout`."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.dropout import bernoulli_mask, dropout, spatial_dropout2d

SHAPES = st.sampled_from([(), (5,), (3, 4), (2, 3, 1, 4)])
RATES = st.floats(0, 0.95)
LAST = {"data_format": "channels_last"}


def normal(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).normal(0.5, 2.0, shape).astype(dtype)


def assert_share(count, total, probability):
    """The count is within five standard deviations of a binomial's mean."""
    deviation = (total * probability * (1 - probability)) ** 0.5
    assert abs(count - total * probability) <= 5 * deviation


# bernoulli_mask


@given(st.floats(0, 1), SHAPES, st.integers(0, 2**31))
@drawn
def test_bernoulli_mask_is_the_equation(parity, probability, shape, seed):
    uniform = to_numpy(keras.random.uniform(shape, dtype="float32", seed=seed))
    expected = np.empty(shape)
    for index in np.ndindex(*shape):
        expected[index] = 1.0 if uniform[index] < np.float32(probability) else 0.0
    mask = bernoulli_mask(shape, probability, seed=seed)
    assert keras.backend.standardize_dtype(mask.dtype) == "float32"
    parity(bernoulli_mask, "keras.random.uniform, compared by NumPy", mask, expected)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_bernoulli_mask_keeps_its_share_like_keras(probability):
    total = 200_000
    assert_share(to_numpy(bernoulli_mask(total, probability, seed=1)).sum(), total, probability)
    peer = keras.random.binomial((total,), counts=1, probabilities=probability, seed=1)
    assert_share(to_numpy(peer).sum(), total, probability)


def test_bernoulli_mask_values_are_independent():
    mask = to_numpy(bernoulli_mask((1000, 200), 0.5, seed=2))
    assert_share((mask[:, 1:] * mask[:, :-1]).sum(), 1000 * 199, 0.25)
    assert_share((mask[1:] * mask[:-1]).sum(), 999 * 200, 0.25)


def test_bernoulli_mask_at_the_ends():
    assert np.all(to_numpy(bernoulli_mask((50, 50), 1.0, seed=3)) == 1)
    assert np.all(to_numpy(bernoulli_mask((50, 50), 0, seed=3)) == 0)
    assert tuple(bernoulli_mask((0, 3), 0.5, seed=3).shape) == (0, 3)
    assert tuple(bernoulli_mask((), 0.5, seed=3).shape) == ()


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan"), "0.5", None])
def test_bernoulli_mask_wrong_probability(probability):
    message = (
        f"keep_probability must be a finite number of at least 0 and at most 1, got {probability!r}"
    )
    with pytest.raises(ValueError, match=message):
        bernoulli_mask((3,), probability, seed=0)


def test_bernoulli_mask_wrong_shape():
    with pytest.raises(ValueError, match="shape must be an integer of at least 0, got -1"):
        bernoulli_mask((3, -1), 0.5, seed=0)


# dropout


@given(RATES, SHAPES, st.integers(0, 2**31))
@drawn
def test_dropout_is_the_equation(rate, shape, seed):
    x = normal(0, *shape)
    z = to_numpy(bernoulli_mask(shape, 1 - rate, seed=seed))
    expected = np.empty(shape)
    for index in np.ndindex(*shape):
        expected[index] = float(x[index]) * z[index] / (1 - rate)
    np.testing.assert_allclose(to_numpy(dropout(x, rate, seed=seed)), expected, rtol=1e-5)


@given(st.floats(0.05, 0.95))
@drawn
def test_dropout_keeps_the_values_that_keras_keeps(parity, rate):
    x = np.full((100, 100), 3.0, "float32")
    ours = to_numpy(dropout(x, rate, seed=1))
    peer = to_numpy(keras.layers.Dropout(rate, seed=1)(x, training=True))
    assert_share((ours != 0).sum(), x.size, 1 - rate)
    assert_share((peer != 0).sum(), x.size, 1 - rate)
    values, expected = np.unique(ours), np.unique(peer)
    parity(dropout, "keras.layers.Dropout (the values, not the draws)", values, expected)


def test_dropout_by_hand():
    mask = to_numpy(bernoulli_mask((4,), 0.8, seed=6))
    y = dropout([2.0, 4.0, 6.0, 8.0], 0.2, seed=6)
    np.testing.assert_allclose(to_numpy(y), mask * [2.5, 5.0, 7.5, 10.0], rtol=1e-6)


def test_dropout_keeps_the_expectation():
    x = np.array([1.0, -2.0, 5.0], "float32")
    y = to_numpy(dropout(np.tile(x, (100_000, 1)), 0.3, seed=4))
    deviation = np.abs(x) * (0.3 / 0.7 / 100_000) ** 0.5
    assert np.all(np.abs(y.mean(axis=0) - x) <= 5 * deviation)


def test_dropout_in_inference_and_at_rate_0_changes_nothing():
    x = normal(1, 5, 5)
    np.testing.assert_array_equal(to_numpy(dropout(x, 0.5, seed=0, training=False)), x)
    np.testing.assert_array_equal(to_numpy(dropout(x, 0, seed=0)), x)


def test_dropout_of_nothing():
    assert tuple(dropout(np.zeros((0, 3)), 0.5, seed=0).shape) == (0, 3)
    assert tuple(spatial_dropout2d(np.zeros((0, 2, 2, 3)), 0.5, seed=0).shape) == (0, 2, 2, 3)


# spatial_dropout2d


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@given(RATES, st.sampled_from([(1, 1, 1, 5), (2, 3, 2, 4), (3, 2, 4, 1)]), st.integers(0, 2**31))
@drawn
def test_spatial_dropout_is_the_equation(data_format, rate, shape, seed):
    x = normal(2, *shape)
    n, h, w, c = shape
    z = to_numpy(bernoulli_mask((n, c), 1 - rate, seed=seed))
    expected = np.empty(shape)
    for image, i, j, channel in np.ndindex(*shape):
        expected[image, i, j, channel] = (
            float(x[image, i, j, channel]) * z[image, channel] / (1 - rate)
        )
    if data_format == "channels_first":
        x, expected = x.transpose(0, 3, 1, 2), expected.transpose(0, 3, 1, 2)
    y = spatial_dropout2d(x, rate, seed=seed, data_format=data_format)
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@given(rate=st.floats(0.05, 0.95))
@drawn
def test_spatial_dropout_drops_the_maps_that_keras_drops(parity, data_format, rate):
    x = np.full((60, 2, 2, 60), 3.0, "float32")
    x = x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)
    layer = keras.layers.SpatialDropout2D(rate, seed=1, data_format=data_format)
    ours = to_numpy(spatial_dropout2d(x, rate, seed=1, data_format=data_format))
    peer = to_numpy(layer(x, training=True))
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    for y in (ours, peer):
        np.testing.assert_array_equal(y.min(axis=axes), y.max(axis=axes))  # whole maps
        assert_share((y.max(axis=axes) != 0).sum(), 3600, 1 - rate)
    parity(
        spatial_dropout2d,
        "keras.layers.SpatialDropout2D (the values, not the draws)",
        np.unique(ours),
        np.unique(peer),
    )


def test_spatial_dropout_of_one_pixel_is_dropout():
    x = normal(3, 8, 1, 1, 5)
    np.testing.assert_array_equal(
        to_numpy(spatial_dropout2d(x, 0.5, seed=7, **LAST)), to_numpy(dropout(x, 0.5, seed=7))
    )


def test_spatial_dropout_in_inference_and_at_rate_0_changes_nothing():
    x = normal(4, 2, 3, 3, 4)
    y = spatial_dropout2d(x, 0.5, seed=0, training=False)
    np.testing.assert_array_equal(to_numpy(y), x)
    np.testing.assert_array_equal(to_numpy(spatial_dropout2d(x, 0.0, seed=0)), x)


def test_spatial_dropout_wrong_arguments():
    with pytest.raises(ValueError, match=r"x must have 4 dimensions, got shape \(3, 4\)"):
        spatial_dropout2d(np.ones((3, 4)), 0.5, seed=0)
    with pytest.raises(ValueError, match="data_format must be .* got 'last'"):
        spatial_dropout2d(np.ones((1, 2, 2, 1)), 0.5, seed=0, data_format="last")


# what both share

BOTH = [dropout, spatial_dropout2d]


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("rate", [-0.1, 1, 1.0, 1.5, float("nan"), "0.5", None])
@pytest.mark.parametrize("training", [True, False])
def test_wrong_rate(function, rate, training):
    with pytest.raises(
        ValueError, match=f"rate must be a finite number of at least 0 and below 1, got {rate!r}"
    ):
        function(np.ones((1, 2, 2, 1)), rate, seed=0, training=training)


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("seed", [None, -1, 0.5, "0", True])
def test_wrong_seed(function, seed):
    message = (
        "seed must be an integer from 0 to 4294967295 or a keras.random.SeedGenerator, "
        f"got {seed!r}"
    )
    with pytest.raises(ValueError, match=message):
        function(np.ones((1, 2, 2, 1)), 0.5, seed=seed)


@pytest.mark.parametrize("function", BOTH)
def test_seeds(function):
    x = normal(5, 20, 2, 2, 20)
    a, b = (to_numpy(function(x, 0.5, seed=8)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, to_numpy(function(x, 0.5, seed=np.int64(8))))
    assert np.any(a != to_numpy(function(x, 0.5, seed=9)))
    draws = []
    for _ in range(2):
        generator = keras.random.SeedGenerator(8)
        draws.append([to_numpy(function(x, 0.5, seed=generator)) for _ in range(3)])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.any(draws[0][0] != draws[0][1])
    assert np.any(draws[0][1] != draws[0][2])


@pytest.mark.parametrize("function", BOTH)
def test_gradient_is_the_mask_divided_by_p(function):
    dtype = precise_dtype()
    x = normal(6, 4, 3, 3, 5, dtype=dtype)
    dy = normal(7, 4, 3, 3, 5, dtype=dtype)
    (dx,) = vjp(lambda x: function(x, 0.25, seed=10), [x], dy)
    expected = to_numpy(function(dy, 0.25, seed=10))
    np.testing.assert_allclose(dx, expected, rtol=1e-5)
    assert 0 < (dx == 0).sum() < dx.size


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtype_of_the_input_stays(function, dtype):
    y = function(np.ones((2, 2, 2, 8), dtype), 0.5, seed=0)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert set(np.unique(to_numpy(y))) == {0.0, 2.0}


@pytest.mark.parametrize("function", BOTH)
def test_compiled_gives_the_same(function):
    x = keras.ops.convert_to_tensor(normal(8, 4, 3, 3, 5))

    def call(x):
        return function(x, 0.5, seed=11)

    np.testing.assert_allclose(to_numpy(compiled(call)(x)), to_numpy(call(x)), rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has them")
@pytest.mark.parametrize("function", BOTH)
def test_unknown_batch_size(function):
    import tensorflow as tf

    x = normal(9, 4, 3, 3, 5)
    traced = tf.function(
        lambda x: function(x, 0.5, seed=12),
        input_signature=[tf.TensorSpec((None, 3, 3, 5), "float32")],
    )
    np.testing.assert_allclose(to_numpy(traced(x)), to_numpy(function(x, 0.5, seed=12)), rtol=1e-6)

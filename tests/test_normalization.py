"""Tests for `cnnbook.normalization`."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.convolution import conv2d
from cnnbook.normalization import (
    batch_moments,
    batch_norm,
    batch_norm_gradients,
    fold_batch_norm,
    group_norm,
    layer_norm,
    update_moving,
)

# Few shapes: JAX compiles every operation for every one.
CHANNEL_AXES = st.sampled_from(
    [((6, 3), -1), ((6, 3), 0), ((3, 4, 2), 1), ((2, 3, 1, 4), 3), ((2, 3, 1, 4), -3)]
)
LAYER_AXES = st.sampled_from(
    [
        ((6, 3), (-1,)),
        ((6, 3), (0,)),
        ((2, 3, 4), (1, 2)),
        ((2, 3, 1, 4), (1, 2, 3)),
        ((2, 3, 1, 4), (2,)),
    ]
)
GROUP_AXES = st.sampled_from(
    [
        ((3, 6), -1, 2),
        ((2, 6, 3), 1, 3),
        ((2, 3, 2, 6), 3, 2),
        ((2, 3, 2, 6), -1, 6),
        ((1, 3, 6, 2), -2, 1),
    ]
)
SEEDS = st.integers(0, 1000)
EPSILONS = st.sampled_from([1e-3, 1e-5, 0.1])


def normal(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).normal(0.5, 2.0, shape).astype(dtype)


def positive(seed, *shape):
    return np.random.default_rng(seed).uniform(0.2, 3.0, shape).astype("float32")


def loop_moments(values):
    """Mean and biased variance of a list of numbers."""
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


def loop_normalize(x, key, epsilon):
    """Each value, normalized over all values whose indices have the same key."""
    x = np.asarray(x, "float64")
    sets = {}
    for index in np.ndindex(x.shape):
        sets.setdefault(key(index), []).append(x[index])
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        mean, variance = loop_moments(sets[key(index)])
        y[index] = (x[index] - mean) / (variance + epsilon) ** 0.5
    return y


# batch_moments


@given(CHANNEL_AXES, SEEDS)
@drawn
def test_batch_moments_is_the_equation_and_agrees_with_keras(parity, case, seed):
    shape, axis = case
    x = normal(seed, *shape)
    got = batch_moments(x, axis=axis)
    rows = np.moveaxis(x.astype("float64"), axis, 0).reshape(shape[axis], -1)
    expected = np.transpose([loop_moments(list(row)) for row in rows])
    np.testing.assert_allclose(to_numpy(got[0]), expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(to_numpy(got[1]), expected[1], rtol=1e-5, atol=1e-5)
    axes = [a for a in range(len(shape)) if a != axis % len(shape)]
    for ours, peer in zip(got, keras.ops.moments(x, axes=axes), strict=True):
        parity(batch_moments, "keras.ops.moments", ours, peer)


def test_batch_moments_by_hand():
    x = np.array([1, 2, 3, 6], "float32").reshape(2, 1, 2, 1)  # mean 3, squares 4 + 1 + 0 + 9
    mean, variance = batch_moments(x)
    assert to_numpy(mean).tolist() == [3.0]
    assert to_numpy(variance).tolist() == [3.5]


def test_batch_moments_shift_and_scale():
    x = normal(1, 5, 3, 4, 2)
    mean, variance = map(to_numpy, batch_moments(x))
    moved_mean, moved_variance = map(to_numpy, batch_moments(-3.0 * x + 7.0))
    np.testing.assert_allclose(moved_mean, -3.0 * mean + 7.0, rtol=1e-4)
    np.testing.assert_allclose(moved_variance, 9.0 * variance, rtol=1e-4)


def test_batch_moments_survive_a_large_mean():
    x = 10_000.0 + np.array([[-1.0], [1.0]] * 50, "float32")
    mean, variance = batch_moments(x)
    assert float(mean[0]) == 10_000.0
    assert float(variance[0]) == 1.0


def test_half_precision_does_not_overflow():
    x = np.full((4, 200, 100, 1), 2.0, "float16")
    x[:2] = 600.0
    mean, variance = batch_moments(x)
    assert float(mean[0]) == 301.0
    assert float(variance[0]) == pytest.approx(299.0**2, rel=1e-5)
    assert keras.backend.standardize_dtype(variance.dtype) == "float32"
    for y in (layer_norm(x, axis=(1, 2)), group_norm(x, groups=1)):
        assert keras.backend.standardize_dtype(y.dtype) == "float16"
        assert np.all(np.isfinite(to_numpy(y)))
    y = to_numpy(layer_norm(x, axis=(0, 1, 2)))
    np.testing.assert_allclose(y.astype("float32"), np.sign(x.astype("float32") - 301.0), atol=2e-3)
    dx, dgamma, dbeta = batch_norm_gradients(x, None, np.full(x.shape, 2.0**-12, "float16"))
    np.testing.assert_allclose(to_numpy(dx), 0.0, atol=1e-6)
    assert float(dbeta[0]) == 80_000 * 2.0**-12
    assert keras.backend.standardize_dtype(dgamma.dtype) == "float16"


@pytest.mark.parametrize("shape", [(0, 3), (0, 4, 4, 3), (2, 0, 4, 3)])
def test_batch_moments_of_nothing(shape):
    message = rf"x of shape \({', '.join(map(str, shape))}\) has no values to average over axes"
    with pytest.raises(ValueError, match=message):
        batch_moments(np.zeros(shape, "float32"))
    with pytest.raises(ValueError, match=message):
        batch_norm_gradients(np.zeros(shape, "float32"), None, np.zeros(shape, "float32"))


def test_an_empty_batch_gives_an_empty_output():
    x = np.zeros((0, 2, 2, 4), "float32")
    zeros, ones = np.zeros(4, "float32"), np.ones(4, "float32")
    assert tuple(batch_norm(x, zeros, ones).shape) == x.shape
    assert tuple(layer_norm(x).shape) == x.shape
    assert tuple(group_norm(x, groups=2).shape) == x.shape


# batch_norm


@given(CHANNEL_AXES, EPSILONS, st.booleans(), st.booleans(), SEEDS)
@drawn
def test_batch_norm_agrees_with_keras_in_training(parity, case, epsilon, scale, center, seed):
    shape, axis = case
    x, channels = normal(seed, *shape), shape[axis]
    gamma = positive(3, channels) if scale else None
    beta = normal(4, channels) if center else None
    y = batch_norm(x, *batch_moments(x, axis=axis), gamma, beta, epsilon=epsilon, axis=axis)
    place = axis % len(shape)
    expected = loop_normalize(x, lambda index: index[place], epsilon)
    across = [channels if a == place else 1 for a in range(len(shape))]
    expected = expected * (1.0 if gamma is None else gamma.reshape(across))
    expected = expected + (0.0 if beta is None else beta.reshape(across))
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-4, atol=1e-4)
    layer = keras.layers.BatchNormalization(axis=axis, epsilon=epsilon, scale=scale, center=center)
    layer.build(shape)
    layer.set_weights(
        [w for w in (gamma, beta) if w is not None] + [np.zeros(channels), np.ones(channels)]
    )
    parity(batch_norm, "keras.layers.BatchNormalization", y, layer(x, training=True), atol=1e-4)


@given(CHANNEL_AXES, EPSILONS, SEEDS)
@drawn
def test_batch_norm_agrees_with_keras_in_inference(parity, case, epsilon, seed):
    shape, axis = case
    x, channels = normal(seed, *shape), shape[axis]
    weights = [positive(6, channels), normal(7, channels), normal(8, channels)]
    gamma, beta, mean, variance = *weights, positive(9, channels)
    layer = keras.layers.BatchNormalization(axis=axis, epsilon=epsilon)
    layer.build(shape)
    layer.set_weights([gamma, beta, mean, variance])
    y = batch_norm(x, mean, variance, gamma, beta, epsilon=epsilon, axis=axis)
    parity(batch_norm, "keras.layers.BatchNormalization", y, layer(x, training=False), atol=1e-4)


def test_batch_norm_by_hand():
    # (5 - 3) / sqrt(3.75 + 0.25) = 1, times 4 minus 1; (1 - 3) / 2 = -1, times 4 minus 1
    y = batch_norm([[5.0], [1.0]], [3.0], [3.75], [4.0], [-1.0], epsilon=0.25)
    assert to_numpy(y).tolist() == [[3.0], [-5.0]]


def test_batch_norm_output_has_mean_beta_and_deviation_gamma():
    x = normal(10, 20, 5, 5, 3)
    gamma, beta = positive(11, 3), normal(12, 3)
    y = batch_norm(x, *batch_moments(x), gamma, beta, epsilon=0.0)
    mean, variance = map(to_numpy, batch_moments(y))
    np.testing.assert_allclose(mean, beta, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(variance), gamma, rtol=1e-5)


def test_batch_norm_hides_scale_and_shift_of_its_input():
    x = normal(13, 20, 4, 4, 3)
    moved = x * np.array([2.0, 5.0, 0.5], "float32") + np.array([1.0, -2.0, 3.0], "float32")
    before = batch_norm(x, *batch_moments(x), epsilon=0.0)
    after = batch_norm(moved, *batch_moments(moved), epsilon=0.0)
    np.testing.assert_allclose(to_numpy(before), to_numpy(after), atol=1e-5)


def test_constant_channel_gives_beta():
    x = np.full((4, 2, 2, 1), 7.0, "float32")
    y = batch_norm(x, *batch_moments(x), [3.0], [0.25])
    assert np.all(to_numpy(y) == 0.25)


@pytest.mark.parametrize("name", ["mean", "variance", "gamma", "beta"])
def test_batch_norm_wrong_sizes(name):
    values = dict.fromkeys(["mean", "variance", "gamma", "beta"], np.ones(3, "float32"))
    values[name] = np.ones(2, "float32")
    with pytest.raises(ValueError, match=rf"{name} must have shape \(3,\), .* axis 2, got \(2,\)"):
        batch_norm(np.ones((5, 2, 3)), **values)


def test_batch_norm_agrees_with_pytorch(parity):
    torch = pytest.importorskip("torch")
    x, gamma, beta = normal(14, 6, 4, 5, 3), positive(15, 3), normal(16, 3)
    layer = torch.nn.BatchNorm2d(3, momentum=0.1, eps=1e-5)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(gamma))
        layer.bias.copy_(torch.tensor(beta))
        expected = layer(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    mean, variance = batch_moments(x)
    y = batch_norm(x, mean, variance, gamma, beta, epsilon=1e-5)
    parity(batch_norm, "keras.layers.BatchNormalization", y, expected.numpy(), atol=1e-4)
    moving_mean = update_moving(np.zeros(3), mean, momentum=1 - 0.1)
    np.testing.assert_allclose(to_numpy(moving_mean), layer.running_mean.numpy(), rtol=1e-5)
    count = x.size // 3  # PyTorch normalizes with the biased variance, but keeps the other
    unbiased = to_numpy(variance) * count / (count - 1)
    moving_variance = update_moving(np.ones(3, "float32"), unbiased, momentum=1 - 0.1)
    np.testing.assert_allclose(to_numpy(moving_variance), layer.running_var.numpy(), rtol=1e-5)


# update_moving


@given(st.floats(0, 1), st.integers(1, 5))
@drawn
def test_update_moving_agrees_with_keras(parity, momentum, steps):
    layer = keras.layers.BatchNormalization(momentum=momentum)
    layer.build((None, 3))
    mean, variance = np.zeros(3, "float32"), np.ones(3, "float32")
    for step in range(steps):
        x = normal(20 + step, 8, 3)
        layer(x, training=True)
        batch_mean, batch_variance = batch_moments(x)
        mean = update_moving(mean, batch_mean, momentum=momentum)
        variance = update_moving(variance, batch_variance, momentum=momentum)
    for ours, peer in zip((mean, variance), layer.non_trainable_variables, strict=True):
        parity(update_moving, "keras.layers.BatchNormalization", ours, peer + 0.0)


def test_update_moving_by_hand_and_its_ends():
    assert to_numpy(update_moving([2.0, 0.0], [4.0, 8.0], momentum=0.75)).tolist() == [2.5, 2.0]
    assert float(update_moving(2.0, 4.0, momentum=1.0)) == 2.0
    assert float(update_moving(2.0, 4.0, momentum=0.0)) == 4.0
    assert float(update_moving(0.0, 100.0)) == pytest.approx(1.0, rel=1e-5)


def test_update_moving_is_a_geometric_sum():
    moving = np.zeros(1)
    for _ in range(10):
        moving = update_moving(moving, np.ones(1), momentum=0.8)
    assert float(moving[0]) == pytest.approx(1 - 0.8**10, rel=1e-5)


@pytest.mark.parametrize("momentum", [-0.1, 1.5, float("nan"), "0.9"])
def test_update_moving_wrong_momentum(momentum):
    message = f"momentum must be a finite number of at least 0 and at most 1, got {momentum!r}"
    with pytest.raises(ValueError, match=message):
        update_moving(0.0, 1.0, momentum=momentum)


def test_update_moving_wrong_shapes():
    with pytest.raises(ValueError, match=r"moving has shape \(3,\), but value has shape \(1,\)"):
        update_moving(np.zeros(3), np.zeros(1))


# batch_norm_gradients


def trained_batch_norm(x, gamma, beta, *, epsilon, axis):
    return batch_norm(x, *batch_moments(x, axis=axis), gamma, beta, epsilon=epsilon, axis=axis)


@given(CHANNEL_AXES, EPSILONS, SEEDS)
@drawn
def test_batch_norm_gradients_agree_with_autodiff(parity, case, epsilon, seed):
    shape, axis = case
    dtype = precise_dtype()
    x, dy = normal(seed, *shape, dtype=dtype), normal(seed + 1, *shape, dtype=dtype)
    gamma, beta = positive(32, shape[axis]).astype(dtype), normal(33, shape[axis], dtype=dtype)

    def forward(x, gamma, beta):
        return trained_batch_norm(x, gamma, beta, epsilon=epsilon, axis=axis)

    tensors = [keras.ops.convert_to_tensor(a, dtype=dtype) for a in (x, gamma, dy)]
    got = batch_norm_gradients(*tensors, epsilon=epsilon, axis=axis)
    tolerance = 1e-10 if keras.backend.backend() == "tensorflow" else 2e-4  # the others: float32
    for ours, peer in zip(got, vjp(forward, [x, gamma, beta], dy), strict=True):
        parity(
            batch_norm_gradients,
            "autodiff of batch_norm",
            ours,
            peer,
            rtol=tolerance,
            atol=tolerance,
        )


def test_batch_norm_gradients_agree_with_autodiff_of_keras(parity):
    x, dy, gamma = normal(34, 6, 3, 3, 2), normal(35, 6, 3, 3, 2), positive(36, 2)
    layer = keras.layers.BatchNormalization(scale=False)
    layer.build(x.shape)
    got = batch_norm_gradients(x, gamma, dy)
    expected = vjp(lambda x, gamma: gamma * layer(x, training=True), [x, gamma], dy)
    for ours, peer in zip(got[:2], expected, strict=True):
        parity(batch_norm_gradients, "autodiff of batch_norm", ours, peer, atol=1e-4)


def test_batch_norm_gradients_by_finite_differences():
    x, dy = normal(37, 3, 2, 2, 2, dtype="float64"), normal(38, 3, 2, 2, 2, dtype="float64")
    gamma = np.array([1.5, -0.5])

    def loss(x):
        y = loop_normalize(x, lambda index: index[-1], 1e-3) * gamma
        return float(np.sum(y * dy))

    expected = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-5
        expected[index] = (loss(x + step) - loss(x - step)) / 2e-5
    dx, _, _ = batch_norm_gradients(x, gamma, dy)
    np.testing.assert_allclose(to_numpy(dx), expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_gradients_by_hand():
    # x_hat = -1, 1; mean of dy 3, mean of dy * x_hat -1: dx = 2 * (dy - 3 + x_hat) / 1
    dx, dgamma, dbeta = batch_norm_gradients([[-1.0], [1.0]], [2.0], [[4.0], [2.0]], epsilon=0.0)
    assert to_numpy(dx).tolist() == [[0.0], [0.0]]
    assert (float(dgamma[0]), float(dbeta[0])) == (-2.0, 6.0)


def test_batch_norm_gradient_has_no_part_along_ones_or_x():
    x, dy = normal(39, 8, 3, 3, 2), normal(40, 8, 3, 3, 2)
    dx, _, _ = batch_norm_gradients(x, positive(41, 2), dy, epsilon=0.0)
    dx = to_numpy(dx)
    np.testing.assert_allclose(dx.sum(axis=(0, 1, 2)), 0.0, atol=1e-4)
    np.testing.assert_allclose((dx * x).sum(axis=(0, 1, 2)), 0.0, atol=1e-3)


def test_batch_norm_gradients_without_gamma():
    x, dy = normal(42, 8, 3), normal(43, 8, 3)
    without = batch_norm_gradients(x, None, dy)
    with_ones = batch_norm_gradients(x, np.ones(3, "float32"), dy)
    for a, b in zip(without, with_ones, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_batch_norm_gradients_wrong_shapes():
    x = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"must have the shape of x \(4, 3\), got \(4, 2\)"):
        batch_norm_gradients(x, None, np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"gamma must have shape \(3,\), .* got \(2,\)"):
        batch_norm_gradients(x, np.ones(2), x)


# layer_norm


@given(LAYER_AXES, EPSILONS, st.booleans(), SEEDS)
@drawn
def test_layer_norm_agrees_with_keras(parity, case, epsilon, affine, seed):
    shape, given_axes = case
    axis = given_axes[0] if len(given_axes) == 1 else given_axes
    axes = [a % len(shape) for a in given_axes]
    sizes = [shape[a] for a in axes]
    x = normal(seed, *shape)
    gamma, beta = (positive(51, *sizes), normal(52, *sizes)) if affine else (None, None)
    y = layer_norm(x, gamma, beta, epsilon=epsilon, axis=axis)
    expected = loop_normalize(
        x, lambda index: tuple(i for a, i in enumerate(index) if a not in axes), epsilon
    )
    if affine:
        across = [n if a in axes else 1 for a, n in enumerate(shape)]
        expected = expected * gamma.reshape(across) + beta.reshape(across)
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-4, atol=1e-4)
    if keras.backend.backend() == "torch" and axes[-1] != len(shape) - 1:
        return  # Keras 3.15 raises an error there
    layer = keras.layers.LayerNormalization(axis=axis, epsilon=epsilon, scale=affine, center=affine)
    layer.build(shape)
    if affine:
        layer.set_weights([gamma.reshape(sizes), beta.reshape(sizes)])
    parity(layer_norm, "keras.layers.LayerNormalization", y, layer(x), atol=1e-4)


def test_layer_norm_by_hand_and_alone():
    y = layer_norm([[2.0, 4.0, 6.0]], [1.0, 2.0, 3.0], [0.0, 1.0, 0.0], epsilon=4 / 3)
    np.testing.assert_allclose(to_numpy(y), [[-1.0, 1.0, 3.0]], rtol=1e-6)  # variance 8/3
    x = normal(53, 5, 4)
    alone = np.concatenate([to_numpy(layer_norm(row[None])) for row in x])
    np.testing.assert_allclose(to_numpy(layer_norm(x)), alone, atol=1e-6)


def test_layer_norm_with_axes_in_any_order():
    x, gamma = normal(54, 2, 3, 4), positive(55, 3, 4)
    np.testing.assert_array_equal(
        to_numpy(layer_norm(x, gamma, axis=(2, 1))), to_numpy(layer_norm(x, gamma, axis=(-2, -1)))
    )


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (4, r"axis must be an integer from -3 to 2 for x of shape \(2, 3, 4\), got 4"),
        ((1, -4), r"axis must be an integer from -3 to 2 .* got -4"),
        ((1, -2), r"one or more different axes, got \(1, -2\)"),
        ((), r"one or more different axes, got \(\)"),
        (1.0, r"axis must be an integer .* got 1.0"),
    ],
)
def test_layer_norm_wrong_axis(axis, message):
    with pytest.raises(ValueError, match=message):
        layer_norm(np.ones((2, 3, 4)), axis=axis)


def test_layer_norm_wrong_shapes():
    x = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"gamma must have shape \(4,\), .* got \(3,\)"):
        layer_norm(x, np.ones(3))
    with pytest.raises(ValueError, match=r"beta must have shape \(3, 4\), .* got \(4,\)"):
        layer_norm(x, None, np.ones(4), axis=(1, 2))
    with pytest.raises(ValueError, match=r"x of shape \(2, 0\) has no values"):
        layer_norm(np.ones((2, 0)))


# group_norm


@given(GROUP_AXES, EPSILONS, SEEDS)
@drawn
def test_group_norm_agrees_with_keras(parity, case, epsilon, seed):
    shape, signed, groups = case
    axis, channels = signed % len(shape), shape[signed]
    x, gamma, beta = normal(seed, *shape), positive(61, channels), normal(62, channels)
    y = group_norm(x, gamma, beta, groups=groups, epsilon=epsilon, axis=signed)
    across = [channels if a == axis else 1 for a in range(len(shape))]
    expected = loop_normalize(
        x, lambda index: (index[0], index[axis] * groups // channels), epsilon
    )
    expected = expected * gamma.reshape(across) + beta.reshape(across)
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-4, atol=1e-4)
    layer = keras.layers.GroupNormalization(groups, axis=signed, epsilon=epsilon)
    layer.build(shape)
    layer.set_weights([gamma, beta])
    parity(group_norm, "keras.layers.GroupNormalization", y, layer(x), atol=1e-4)


def test_group_norm_by_hand():
    # two groups of two channels: 1, 3 (mean 2) and 10, 50 (mean 30), deviation 1 and 20
    y = group_norm([[1.0, 3.0, 10.0, 50.0]], [1, 1, 2, 2], [0, 0, 1, 1], groups=2, epsilon=0.0)
    np.testing.assert_allclose(to_numpy(y), [[-1.0, 1.0, -1.0, 3.0]], rtol=1e-6)


def test_group_norm_between_instance_and_layer_norm():
    x = normal(63, 3, 4, 4, 6)
    np.testing.assert_allclose(
        to_numpy(group_norm(x, groups=1)), to_numpy(layer_norm(x, axis=(1, 2, 3))), atol=1e-6
    )
    instance = to_numpy(layer_norm(x, axis=(1, 2)))
    np.testing.assert_allclose(to_numpy(group_norm(x, groups=6)), instance, atol=1e-6)
    np.testing.assert_allclose(to_numpy(group_norm(x, groups=-1)), instance, atol=1e-6)


def test_group_norm_of_one_image_does_not_see_the_others():
    x = normal(64, 3, 4, 4, 6)
    np.testing.assert_allclose(
        to_numpy(group_norm(x, groups=2))[1:2], to_numpy(group_norm(x[1:2], groups=2)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 4}, "groups=4 does not divide the 6 channels"),
        ({"groups": 0}, "groups must be an integer of at least 1, got 0"),
        ({"groups": -2}, "groups must be an integer of at least 1, got -2"),
        ({"groups": 2.0}, "groups must be an integer of at least 1, got 2.0"),
        ({"groups": 2, "axis": 0}, "axis must not be the batch axis 0"),
        ({"groups": 2, "axis": 4}, "axis must be an integer from -4 to 3 .* got 4"),
        ({"groups": 2, "gamma": np.ones(3)}, r"gamma must have shape \(6,\), .* got \(3,\)"),
        ({"groups": 2, "beta": np.ones(3)}, r"beta must have shape \(6,\), .* got \(3,\)"),
    ],
)
def test_group_norm_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        group_norm(np.ones((2, 3, 3, 6)), **options)


def test_group_norm_of_nothing():
    for shape in [(2, 0, 3, 6), (2, 3, 3, 0)]:
        with pytest.raises(ValueError, match=r"has no values to average over axes \(1, 2, 3\)"):
            group_norm(np.ones(shape), groups=-1)


# what several share

PARAMETERS = np.ones(3, "float32")
CALLS = {
    "batch_norm": lambda x, **options: batch_norm(x, PARAMETERS, PARAMETERS, **options),
    "batch_norm_gradients": lambda x, **options: batch_norm_gradients(x, None, x, **options),
    "layer_norm": layer_norm,
    "group_norm": lambda x, **options: group_norm(x, groups=1, **options),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("epsilon", [-1e-3, float("nan"), float("inf"), "1e-3"])
def test_wrong_epsilon(name, epsilon):
    with pytest.raises(
        ValueError, match=f"epsilon must be a finite number of at least 0, got {epsilon!r}"
    ):
        CALLS[name](np.ones((4, 3)), epsilon=epsilon)


@pytest.mark.parametrize("name", [*CALLS, "batch_moments"])
def test_wrong_axis_and_rank(name):
    call = CALLS.get(name, batch_moments)
    with pytest.raises(
        ValueError, match=r"axis must be an integer from -2 to 1 for x of shape \(4, 3\), got -3"
    ):
        call(np.ones((4, 3)), axis=-3)
    with pytest.raises(ValueError, match=r"x must have at least 2 dimensions, got shape \(3,\)"):
        call(np.ones(3))


@pytest.mark.parametrize("name", [*CALLS, "batch_moments"])
def test_compiled_gives_the_same(name):
    call = CALLS.get(name, batch_moments)
    x = keras.ops.convert_to_tensor(normal(70, 4, 5, 5, 3))
    got, expected = compiled(call)(x), call(x)
    if not isinstance(got, tuple):
        got, expected = [got], [expected]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has them")
@pytest.mark.parametrize("name", [*CALLS, "batch_moments"])
def test_unknown_batch_size(name):
    import tensorflow as tf

    call = CALLS.get(name, batch_moments)
    x = normal(71, 4, 5, 5, 3)
    traced = tf.function(call, input_signature=[tf.TensorSpec((None, 5, 5, 3), "float32")])
    for a, b in zip(tf.nest.flatten(traced(x)), tf.nest.flatten(call(x)), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-5)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm"])
def test_normalizations_are_differentiable(name):
    dtype = precise_dtype()
    x, dy = normal(72, 2, 3, 3, 3, dtype=dtype), normal(73, 2, 3, 3, 3, dtype=dtype)
    (dx,) = vjp(CALLS[name], [x], dy)
    step = 1e-2 * normal(74, 2, 3, 3, 3, dtype=dtype)
    change = np.sum((to_numpy(CALLS[name](x + step)) - to_numpy(CALLS[name](x - step))) * dy)
    assert np.sum(dx * 2 * step) == pytest.approx(change, rel=2e-2)


# fold_batch_norm


@given(st.integers(1, 2), st.integers(1, 2), st.booleans(), EPSILONS)
@drawn
def test_fold_batch_norm_agrees_with_two_keras_layers(parity, groups, multiple, use_bias, epsilon):
    filters = groups * multiple
    kernel, bias = normal(80, 3, 3, 2, filters), normal(81, filters)
    layers = [
        keras.layers.Conv2D(
            filters, 3, groups=groups, use_bias=use_bias, data_format="channels_last"
        ),
        keras.layers.BatchNormalization(epsilon=epsilon),
    ]
    x = normal(82, 2, 5, 5, 2 * groups)
    layers[0].build(x.shape)
    layers[0].set_weights([kernel, bias][: 1 + use_bias])
    layers[1].build((None, 3, 3, filters))
    gamma, beta, mean = (normal(seed, filters) for seed in (83, 84, 85))
    variance = positive(86, filters)
    layers[1].set_weights([gamma, beta, mean, variance])
    folded = fold_batch_norm(
        kernel, bias if use_bias else None, mean, variance, gamma, beta, epsilon=epsilon
    )
    y = conv2d(x, *folded, groups=groups, data_format="channels_last")
    expected = layers[1](layers[0](x), training=False)
    scale = max(1.0, float(np.abs(to_numpy(expected)).max()))
    parity(
        fold_batch_norm,
        "keras.layers.Conv2D and BatchNormalization",
        y / scale,
        expected / scale,
        atol=1e-4,
    )


def test_fold_batch_norm_into_a_depthwise_kernel():
    depthwise = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, data_format="channels_last")
    x, kernel, bias = normal(87, 2, 5, 5, 3), normal(94, 3, 3, 3, 2), normal(95, 6)
    depthwise.build(x.shape)
    depthwise.set_weights([kernel, bias])
    y = to_numpy(depthwise(x))
    mean, variance, gamma, beta = normal(88, 6), positive(89, 6), positive(90, 6), normal(91, 6)
    expected = batch_norm(y, mean, variance, gamma, beta)
    folded = fold_batch_norm(kernel.reshape(3, 3, 1, 6), bias, mean, variance, gamma, beta)
    got = conv2d(x, *folded, groups=3, data_format="channels_last")
    np.testing.assert_allclose(to_numpy(got), to_numpy(expected), rtol=1e-4, atol=1e-4)


def test_fold_batch_norm_by_hand():
    # gamma / sqrt(variance + epsilon) = 6 / sqrt(3 + 1) = 3; bias 3 * (2 - 1) + 4 = 7
    kernel, bias = fold_batch_norm([[5.0]], [2.0], [1.0], [3.0], [6.0], [4.0], epsilon=1.0)
    assert (float(kernel[0, 0]), float(bias[0])) == (15.0, 7.0)
    kernel, bias = fold_batch_norm([[5.0]], None, [1.0], [3.0], None, None, epsilon=1.0)
    assert (float(kernel[0, 0]), float(bias[0])) == (2.5, -0.5)


def test_fold_batch_norm_of_the_identity_changes_nothing():
    kernel, bias = normal(92, 3, 3, 2, 4), normal(93, 4)
    got = fold_batch_norm(kernel, bias, np.zeros(4), np.ones(4), None, None, epsilon=0.0)
    np.testing.assert_array_equal(to_numpy(got[0]), kernel)
    np.testing.assert_array_equal(to_numpy(got[1]), bias)


@pytest.mark.parametrize("name", ["bias", "mean", "variance", "gamma", "beta"])
def test_fold_batch_norm_wrong_sizes(name):
    values = dict.fromkeys(["bias", "mean", "variance", "gamma", "beta"], np.ones(4))
    values[name] = np.ones(3)
    with pytest.raises(ValueError, match=rf"{name} must have shape \(4,\), .* got \(3,\)"):
        fold_batch_norm(np.ones((3, 3, 2, 4)), **values)


def test_fold_batch_norm_wrong_arguments():
    ones = np.ones(4)
    with pytest.raises(ValueError, match=r"kernel must have at least 2 .* got shape \(4,\)"):
        fold_batch_norm(ones, ones, ones, ones, ones, ones)
    with pytest.raises(ValueError, match="epsilon must be a finite number of at least 0, got -1"):
        fold_batch_norm(np.ones((2, 4)), ones, ones, ones, ones, ones, epsilon=-1)

"""Tests for `cnnbook.pruning` (chapter 15)."""

import functools
import importlib.util
import math
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops
from support import compiled, drawn, to_numpy

from cnnbook.pruning import (
    MagnitudePruning,
    magnitude_mask,
    n_m_mask,
    polynomial_sparsity,
    prune_filters,
    sparsity,
    threshold_mask,
)

needs_torch = pytest.mark.skipif(
    not importlib.util.find_spec("torch"), reason="PyTorch is not installed"
)


@st.composite
def weights(draw, ranks=(0, 4), ties=True):
    """Weights of any shape, drawn from few values so that magnitudes repeat, or all different."""
    shape = draw(st.lists(st.integers(1, 4), min_size=ranks[0], max_size=ranks[1]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if ties:
        return rng.integers(-3, 4, shape).astype("float32") / 4
    size = math.prod(shape)
    values = rng.permutation(np.arange(1, size + 1)) * rng.choice([-1, 1], size)
    return (values.reshape(shape) / 8).astype("float32")


# threshold_mask


def reference_threshold(w, threshold):
    """Eq. eq-prune by a loop."""
    mask = np.ones(w.shape)
    for index in np.ndindex(w.shape):
        if abs(float(w[index])) < threshold:
            mask[index] = 0.0
    return mask


@given(weights(), st.sampled_from([0, 0.25, 0.3, 0.75, 5]))
@drawn
def test_threshold_matches_reference(w, threshold):
    got = to_numpy(threshold_mask(w, threshold))
    assert got.dtype == w.dtype
    np.testing.assert_array_equal(got, reference_threshold(w, threshold))


@given(weights(), st.sampled_from([0.1, 0.3, 0.6]))
@drawn
def test_threshold_matches_keras(parity, w, threshold):
    """No weight of these meets the threshold, where hard_shrink would take it away."""
    pruned = w * to_numpy(threshold_mask(w, threshold))
    parity(threshold_mask, "keras.ops.hard_shrink", pruned, ops.hard_shrink(w, threshold))


def test_threshold_keeps_what_equals_it():
    got = to_numpy(threshold_mask([0.3, -0.3, 0.1, -0.1, 0.0], np.float32(0.3)))
    assert got.tolist() == [1, 1, 0, 0, 0]
    assert to_numpy(threshold_mask([0.0, 1.0], 0)).tolist() == [1, 1]


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf, True, "0.1", None])
def test_threshold_errors(threshold):
    message = f"threshold must be a finite number of at least 0, got {threshold!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        threshold_mask([1.0], threshold)


# magnitude_mask


def reference_magnitude(w, share):
    """Eq. eq-magnitude-prune: one weight after the other goes, the smallest first."""
    flat = [abs(float(v)) for v in w.ravel()]
    mask = [1.0] * len(flat)
    while (sum(m == 0 for m in mask) + 1) / len(flat) <= share + 1e-9:
        left = [i for i in range(len(flat)) if mask[i]]
        mask[min(left, key=lambda i: flat[i])] = 0.0
    return np.array(mask).reshape(w.shape)


@given(weights(), st.sampled_from([0, 0.1, 0.25, 0.5, 2 / 3, 0.7, 0.9, 0.99]))
@drawn
def test_magnitude_matches_reference(w, share):
    got = to_numpy(magnitude_mask(w, share))
    assert got.dtype == w.dtype
    np.testing.assert_array_equal(got, reference_magnitude(w, share))


@given(weights(ties=False), st.sampled_from([0.0, 0.3, 0.5, 0.8]))
@drawn
def test_magnitude_matches_numpy(parity, w, share):
    flat = np.abs(w).ravel()
    threshold = np.sort(flat)[math.floor(share * flat.size + 1e-9)]
    got = magnitude_mask(w, share)
    parity(magnitude_mask, "numpy.sort", got, (np.abs(w) >= threshold).astype("float32"))
    np.testing.assert_array_equal(to_numpy(got), to_numpy(threshold_mask(w, threshold)))


@needs_torch
@pytest.mark.parametrize("count", [0, 1, 17, 29])
def test_magnitude_matches_torch(count):
    import torch
    from torch.nn.utils import prune

    w = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    layer = torch.nn.Linear(6, 5)
    layer.weight.data = torch.tensor(w)
    prune.l1_unstructured(layer, "weight", amount=count)
    expected = layer.weight.detach().cpu().numpy()
    np.testing.assert_array_equal(w * to_numpy(magnitude_mask(w, count / 30)), expected)


@pytest.mark.parametrize(
    ("share", "size", "zeros"),
    [
        *((0.29, 100, 29), (0.7, 10, 7), (0.58, 50, 29), (0.999, 3, 2), (0.95, 4, 3)),
        *((1 / 3, 9, 3), (0.5, 1, 0), (1 - 1e-12, 4, 3), (0.3, 3, 0), (0.8, 432, 345)),
    ],
)
def test_exactly_so_many_go(share, size, zeros):
    for w in (np.ones(size), np.zeros(size), np.arange(size)):
        assert size - to_numpy(magnitude_mask(w, share)).sum() == zeros


def test_of_equal_magnitudes_the_first_goes():
    assert to_numpy(magnitude_mask([[2.0, -1.0], [1.0, -1.0]], 0.5)).tolist() == [[1, 0], [0, 1]]
    many = np.tile([1.0, -1.0], 500)  # more than a sort keeps in order by luck
    expected = np.arange(1000) >= 300
    np.testing.assert_array_equal(to_numpy(magnitude_mask(many, 0.3)), expected)


def test_masks_of_rising_sparsity_are_nested():
    """Of weights that are pruned already, the same ones are pruned again."""
    w = np.random.default_rng(1).normal(size=(3, 3, 4, 8)).astype("float32")
    for share in (0.2, 0.2, 0.5, 0.83, 0.9):
        pruned = w * to_numpy(magnitude_mask(w, share))
        assert (pruned[w == 0] == 0).all()
        assert (pruned == 0).sum() == math.floor(share * w.size)
        w = pruned


def test_empty_and_integers():
    for shape in ((0,), (0, 3), (2, 0)):
        assert tuple(magnitude_mask(np.ones(shape, "float32"), 0.5).shape) == shape
        assert tuple(threshold_mask(np.ones(shape, "float32"), 0.5).shape) == shape
    mask = magnitude_mask(np.array([3, -1, 2, 5]), 0.5)
    assert keras.backend.standardize_dtype(mask.dtype) == "float32"
    assert to_numpy(mask).tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("share", [1, 1.0, -0.1, math.nan, True, "half", None])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sparsity", lambda s: magnitude_mask([1.0, 2.0], s)),
        ("fraction", lambda s: prune_filters(chain(), s)),
        ("sparsity", lambda s: MagnitudePruning({"a": s})),
        ("final", lambda s: polynomial_sparsity(0, begin=0, end=1, final=s)),
        ("initial", lambda s: polynomial_sparsity(0, begin=0, end=1, final=0.5, initial=s)),
    ],
)
def test_shares_are_below_one(name, call, share):
    message = f"{name} must be a finite number of at least 0 and below 1, got {share!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        call(share)


# n_m_mask


def reference_n_m(w, n, m):
    """Eq. eq-n-m-prune by loops over groups."""
    mask = np.zeros(w.shape)
    for index in np.ndindex(*w.shape[:-2], w.shape[-2] // m, w.shape[-1]):
        *place, group, output = index
        where = [(*place, group * m + j, output) for j in range(m)]
        left = list(where)
        while len(left) > n:
            left.remove(min(left, key=lambda i: abs(float(w[i]))))
        for i in left:
            mask[i] = 1.0
    return mask


@st.composite
def groups(draw, ties=True):
    m = draw(st.integers(1, 5))
    shape = [*draw(st.lists(st.integers(1, 3), max_size=2)), m * draw(st.integers(1, 3))]
    shape += [draw(st.integers(1, 4))]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    w = rng.integers(-3, 4, shape) / 4 if ties else rng.normal(size=shape)
    return w.astype("float32"), draw(st.integers(1, m)), m


@given(groups())
@drawn
def test_n_m_matches_reference(case):
    w, n, m = case
    got = to_numpy(n_m_mask(w, n, m))
    assert got.shape == w.shape and got.dtype == w.dtype
    np.testing.assert_array_equal(got, reference_n_m(w, n, m))


@given(groups(ties=False))
@drawn
def test_n_m_matches_numpy(parity, case):
    w, n, m = case
    rows = np.moveaxis(np.abs(w), -2, -1).reshape(-1, m)
    least = np.partition(rows, m - n, axis=-1)[:, m - n, None]
    expected = (rows >= least).reshape(*w.shape[:-2], w.shape[-1], w.shape[-2])
    parity(n_m_mask, "numpy.partition", n_m_mask(w, n, m), np.swapaxes(expected, -1, -2))


def test_n_m_by_hand():
    """Inputs go down the rows; each column is an output."""
    kernel = [[1.0, 5.0], [2.0, -6.0], [-3.0, 7.0], [4.0, -8.0]]
    assert to_numpy(n_m_mask(kernel, 1, 2)).tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert to_numpy(n_m_mask(kernel, 3, 4)).tolist() == [[0, 0], [1, 1], [1, 1], [1, 1]]
    kernel = np.zeros((1, 2, 4, 1), "float32")  # two places of a window, four input channels
    kernel[0, :, :, 0] = [[1, 9, 2, 8], [7, 3, 4, 6]]
    got = to_numpy(n_m_mask(kernel, 2, 4))[0, :, :, 0]
    assert got.tolist() == [[0, 1, 0, 1], [1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("shape", "n", "m", "message"),
    [
        ((4, 2), 3, 2, "n=3 of every m=2 weights cannot be kept"),
        ((4, 2), 0, 2, "n must be an integer of at least 1, got 0"),
        ((4, 2), 1, 2.0, r"m must be an integer of at least 1, got 2\.0"),
        ((4, 2), True, 2, "n must be an integer of at least 1, got True"),
        ((3, 3, 6, 8), 2, 4, r"m=4 does not divide the 6 inputs of weights, .* \(3, 3, 6, 8\)"),
        ((8,), 2, 4, r"at least two axes, .* got shape \(8,\)"),
    ],
)
def test_n_m_errors(shape, n, m, message):
    with pytest.raises(ValueError, match=message):
        n_m_mask(np.ones(shape), n, m)


def test_masks_compiled():
    w = ops.convert_to_tensor(np.random.default_rng(2).normal(size=(3, 3, 4, 5)), "float32")

    def all_three(w):
        return threshold_mask(w, 0.5), magnitude_mask(w, 0.7), n_m_mask(w, 2, 4)

    for got, want in zip(compiled(all_three)(w), all_three(w), strict=True):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(want))


# polynomial_sparsity


def reference_schedule(t, begin, end, final, initial, power):
    if t < begin:
        return 0.0
    if t >= end:
        return final
    return final + (initial - final) * (1 - (t - begin) / (end - begin)) ** power


schedules = st.tuples(
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([0.5, 0.8, 0.95]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from([1, 2, 3, 0.5]),
)


@given(schedules)
@drawn
def test_schedule_matches_reference(schedule):
    begin, length, final, initial, power = schedule
    options = dict(begin=begin, end=begin + length, final=final, initial=initial, power=power)
    steps = np.arange(50)
    expected = [reference_schedule(t, *options.values()) for t in steps]
    np.testing.assert_allclose(to_numpy(polynomial_sparsity(steps, **options)), expected, atol=1e-6)
    one = float(polynomial_sparsity(int(steps[begin]), **options))
    assert one == pytest.approx(expected[begin], abs=1e-6)


@given(schedules)
@drawn
def test_schedule_matches_keras(parity, schedule):
    begin, length, final, initial, power = schedule
    length += 1
    peer = keras.optimizers.schedules.PolynomialDecay(initial, length, final, power)
    steps = np.arange(begin, begin + 2 * length)
    options = dict(begin=begin, end=begin + length, final=final, initial=initial, power=power)
    expected = [float(to_numpy(peer(int(t) - begin))) for t in steps]
    got = polynomial_sparsity(steps, **options)
    parity(polynomial_sparsity, "keras PolynomialDecay", got, expected)


def test_schedule_by_hand():
    """Half of the way: what is left to prune is an eighth of 0.8."""
    options = {"begin": 10, "end": 30, "final": 0.8}
    got = [float(polynomial_sparsity(t, **options)) for t in (0, 9, 10, 20, 30, 99)]
    np.testing.assert_allclose(got, [0, 0, 0, 0.7, 0.8, 0.8], atol=1e-6)
    line = dict(begin=0, end=4, final=0.8, initial=0.4, power=1)
    np.testing.assert_allclose(to_numpy(polynomial_sparsity([1, 2], **line)), [0.5, 0.6], atol=1e-6)
    jump = {"begin": 3, "end": 3, "final": 0.5}
    assert [float(polynomial_sparsity(t, **jump)) for t in (2, 3, 4)] == [0, 0.5, 0.5]


@given(schedules)
@drawn
def test_schedule_never_falls(schedule):
    begin, length, final, initial, power = schedule
    options = dict(begin=begin, end=begin + length, final=final, initial=initial, power=power)
    assert (np.diff(to_numpy(polynomial_sparsity(np.arange(50), **options))) >= -1e-6).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"begin": -1}, "begin must be an integer of at least 0, got -1"),
        ({"begin": 1.5}, r"begin must be an integer of at least 0, got 1\.5"),
        ({"end": 4}, "end=4 must be at least begin=5"),
        ({"end": None}, "end must be an integer of at least 0, got None"),
        ({"initial": 0.9}, r"initial=0\.9 must be at most final=0\.8"),
        ({"power": 0}, "power must be a finite number above 0, got 0"),
        ({"power": math.nan}, "power must be a finite number above 0, got nan"),
        ({"power": "3"}, "power must be a finite number above 0, got '3'"),
        ({"step": -1}, "step must be a finite number of at least 0, got -1"),
        ({"step": math.nan}, "step must be a finite number of at least 0, got nan"),
        ({"step": "1"}, "step must be an array of real numbers, got '1'"),
        ({"step": None}, "step must be an array of real numbers, got None"),
    ],
)
def test_schedule_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        polynomial_sparsity(**{"step": 3, "begin": 5, "end": 9, "final": 0.8, **changes})


# Models


def spread_weights(model, seed=0):
    """Gives every weight a value of its own; variances stay positive."""
    rng = np.random.default_rng(seed)
    for v in model.weights:
        value = rng.normal(size=v.shape)
        v.assign(np.abs(value) + 0.5 if v.name == "moving_variance" else value)
    return model


def chain():
    """Convolution, normalization, activation, pooling, flatten, two dense layers."""
    parts = [
        keras.Input((8, 6, 3)),
        layers.Conv2D(6, 3, padding="same", name="conv_1"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(4, (3, 1), activation="relu", use_bias=False, name="conv_2"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(5, activation="gelu", name="dense_1"),
        layers.Dense(3, activation="softmax", name="dense_2"),
    ]
    return keras.Sequential(parts, name="chain")


def residual():
    """Two additions in a row tie three convolutions; a projection ties a fourth to a fifth."""
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(6, 3, padding="same", name="stem")(image)
    b = layers.BatchNormalization(name="norm_1")(a)
    b = layers.Conv2D(5, 1, activation="silu", name="inner")(b)
    b = layers.Conv2D(6, 3, padding="same", name="branch_1")(b)
    x = layers.ReLU()(layers.Add()([a, b]))
    b = layers.Conv2D(6, 3, padding="same", name="branch_2")(x)
    x = layers.LeakyReLU()(x + b)
    b = layers.Conv2D(8, 3, strides=2, padding="same", name="branch_3")(x)
    shortcut = layers.Conv2D(8, 1, strides=2, name="projection")(x)
    x = ops.relu(layers.Average()([b, shortcut]))
    return keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x)))


def concatenated():
    """Offsets: three sources, one of them the image, then normalization and a convolution."""
    image = keras.Input((6, 6, 3))
    a = layers.Conv2D(4, 3, padding="same", activation="tanh", name="a")(image)
    b = layers.Conv2D(6, 1, name="b")(image)
    x = layers.Concatenate(name="join")([a, image, b])
    x = layers.BatchNormalization(name="norm")(x)
    c = layers.Conv2D(8, 2, activation="elu", name="c")(x)
    x = layers.Concatenate()([layers.Flatten()(layers.AveragePooling2D(2)(c)), layers.Flatten()(a)])
    return keras.Model(image, layers.Dense(3, name="head")(layers.BatchNormalization()(x)))


def depthwise():
    """Depthwise with two filters a channel, separable, padding, up-sampling and reshaping."""
    image = keras.Input((7, 7, 2))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(scale=False, name="norm_1")(x)
    x = layers.ZeroPadding2D(1)(keras.activations.relu(x, max_value=6.0))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = layers.BatchNormalization(center=False, name="norm_2")(x)
    x = layers.SeparableConv2D(8, 3, depth_multiplier=3, name="separable")(x)
    x = layers.UpSampling2D(2)(x)
    squeezed = layers.Reshape((1, 1, 8))(layers.GlobalMaxPooling2D()(x))
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(squeezed)
    x = layers.Reshape((-1,))(layers.Cropping2D(3)(layers.Multiply()([x, gate])))
    return keras.Model(image, layers.Dense(3, name="head")(x))


def nested():
    """A model in a model, called twice, and two inputs and outputs."""
    inner = [keras.Input((6, 6, 4)), layers.Conv2D(4, 3, padding="same", name="shared")]
    inner = keras.Sequential([*inner, layers.BatchNormalization(name="norm")], name="inner")
    images = [keras.Input((6, 6, 3), name="left"), keras.Input((6, 6, 1), name="right")]
    stems = [layers.Conv2D(4, 1, name=f"stem_{i}")(image) for i, image in enumerate(images)]
    x = layers.Subtract()([inner(s) for s in stems])
    first = layers.Dense(2, name="first")(layers.Flatten()(x))
    second = layers.Conv2D(3, 3, name="second")(x)
    return keras.Model(images, [first, second])


MODELS = {
    f.__name__: functools.cache(f) for f in (chain, residual, concatenated, depthwise, nested)
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)  # built once

# By hand: {layer: filters that stay of half}, sets of layers whose filters go together,
# and which normalizations follow them
HALVES = {
    "chain": {"conv_1": 3, "conv_2": 2},
    "residual": {"stem": 3, "branch_1": 3, "branch_2": 3, "inner": 3, "branch_3": 4}
    | {"projection": 4},
    "concatenated": {"a": 2, "b": 3, "c": 4},
    "depthwise": {"conv": 3, "separable": 4, "gate": 4},
    "nested": {"stem_0": 2, "stem_1": 2, "shared": 2, "second": 3},
}
TOGETHER = {
    "chain": [["conv_1"], ["conv_2"]],
    "residual": [["stem", "branch_1", "branch_2"], ["inner"], ["branch_3", "projection"]],
    "concatenated": [["a"], ["b"], ["c"]],
    "depthwise": [["conv"], ["separable", "gate"]],
    "nested": [["stem_0", "stem_1"], ["shared"]],
}


def arrays_of(model):
    return {v.path: to_numpy(v) for v in model.weights}


def layers_by_name(model):
    return {layer.name: layer for layer in model._flatten_layers(include_self=False)}


def images_for(model, seed=1, count=3):
    rng = np.random.default_rng(seed)
    shapes = [t.shape[1:] for t in model.inputs]
    images = [rng.normal(size=(count, *s)).astype("float32") for s in shapes]
    return images if len(images) > 1 else images[0]


def outputs_of(model, images):
    y = model(images, training=False)
    return [to_numpy(t) for t in (y if isinstance(y, (list, tuple)) else [y])]


def kernel_of(layer):
    return layer.pointwise_kernel if hasattr(layer, "pointwise_kernel") else layer.kernel


def norms_of(model, names):
    """Eq. eq-filter-prune's sums by loops in float64."""
    total = 0
    for name in names:
        kernel = to_numpy(kernel_of(layers_by_name(model)[name])).astype("float64")
        total = total + np.array([np.abs(kernel[..., k]).sum() for k in range(kernel.shape[-1])])
    return total


def silence(model, name, weakest):
    """Sets the outputs of these filters to zero: kernels, biases and normalization behind them."""
    found = layers_by_name(model)
    for variable in found[name].weights:
        if variable.name in ("kernel", "pointwise_kernel", "bias"):
            value = np.array(to_numpy(variable))
            value[..., weakest] = 0
            variable.assign(value)


def zero(variable, where):
    value = np.array(to_numpy(variable))
    value[where] = 0
    variable.assign(value)


def silence_normalization(model, name, where):
    """What it gives becomes zero, however it got there."""
    layer = layers_by_name(model)[name]
    for variable in (layer.gamma, layer.beta, layer.moving_mean):
        if variable is not None:
            zero(variable, where)


def with_dead_filters(make):
    """A model half of whose filters give zeros, all the way to the layer that reads them."""
    model = spread_weights(make())
    kind, dead = make.__name__, {}
    for names in TOGETHER[kind]:
        norms = norms_of(model, names)
        weakest = np.argsort(norms)[: len(norms) // 2]
        for name in names:
            silence(model, name, weakest)
            dead[name] = weakest
    if kind == "chain":
        silence_normalization(model, "norm", dead["conv_1"])
    elif kind == "residual":
        silence_normalization(model, "norm_1", dead["stem"])
    elif kind == "concatenated":
        silence_normalization(model, "norm", np.concatenate([dead["a"], 4 + 3 + dead["b"]]))
        norm = next(n for n in layers_by_name(model) if n.startswith("batch_norm"))
        flat_c = np.concatenate([8 * p + dead["c"] for p in range(4)])
        flat_a = np.concatenate([32 + 4 * p + dead["a"] for p in range(36)])
        silence_normalization(model, norm, np.concatenate([flat_c, flat_a]))
    elif kind == "depthwise":
        silence_normalization(model, "norm_1", dead["conv"])
        both = np.concatenate([2 * dead["conv"], 2 * dead["conv"] + 1])
        zero(layers_by_name(model)["depthwise"].bias, both)
        silence_normalization(model, "norm_2", both)
    elif kind == "nested":
        silence_normalization(model, "norm", dead["shared"])
    return model, dead


# prune_filters


@each_model
def test_without_dead_filters_the_outputs_are_the_same(parity, make):
    """What is taken away gave zeros, so nothing may change; every offset must be right."""
    model, dead = with_dead_filters(make)
    smaller = prune_filters(model, 0.5)
    images = images_for(model)
    expected = outputs_of(model, images)
    for got, want in zip(outputs_of(smaller, images), expected, strict=True):
        assert np.abs(want).max() > 0.1
        scale = max(1.0, np.abs(want).max())  # of float32
        parity(prune_filters, "the same model in Keras", got / scale, want / scale)
    for name, weakest in dead.items():
        old, new = (to_numpy(kernel_of(layers_by_name(m)[name])) for m in (model, smaller))
        assert new.shape[-1] == old.shape[-1] - len(weakest), name


@each_model
def test_half_of_the_filters_are_gone(make):
    model = spread_weights(make())
    smaller = prune_filters(model, 0.5)
    found = layers_by_name(smaller)
    for name, filters in HALVES[make.__name__].items():
        assert kernel_of(found[name]).shape[-1] == filters == found[name].filters, name
    assert [t.shape for t in smaller.outputs] == [t.shape for t in model.outputs]
    assert [t.shape for t in smaller.inputs] == [t.shape for t in model.inputs]
    assert smaller.count_params() < 0.8 * model.count_params()
    assert smaller.name == model.name and not smaller.compiled


@each_model
def test_the_smallest_norms_go(make):
    """And all other weights are the old ones, in the old order."""
    model = spread_weights(make(), seed=3)
    smaller = prune_filters(model, 0.34)
    old, new = layers_by_name(model), layers_by_name(smaller)
    for names in TOGETHER[make.__name__]:
        norms = norms_of(model, names)
        gone = np.argsort(norms)[: math.floor(0.34 * len(norms))]
        stay = np.setdiff1d(np.arange(len(norms)), gone)
        for name in names:
            if old[name].use_bias:
                np.testing.assert_array_equal(
                    to_numpy(new[name].bias), to_numpy(old[name].bias)[stay], err_msg=name
                )
            kernel, before = (to_numpy(kernel_of(m[name])) for m in (new, old))
            assert kernel.shape[-1] == len(stay)
            if kernel.shape[2] == before.shape[2]:
                np.testing.assert_array_equal(kernel, before[..., stay], err_msg=name)


@each_model
def test_the_given_model_stays(make):
    model = spread_weights(make())
    before, config = arrays_of(model), model.get_config()
    smaller = prune_filters(model, 0.5)
    for v in smaller.weights:
        v.assign(v * 0)
    assert model.get_config() == config
    for path, value in arrays_of(model).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


@each_model
def test_nothing_to_prune_gives_a_copy(make):
    model = spread_weights(make())
    images = images_for(model)
    copy = prune_filters(model, 0.0)
    assert copy is not model and copy.count_params() == model.count_params()
    for got, want in zip(outputs_of(copy, images), outputs_of(model, images), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_parameters_by_hand():
    """chain, half the filters: conv_1 3 of 6, conv_2 2 of 4; 2x3 pixels are flattened."""
    model = prune_filters(chain(), 0.5)
    assert {layer.name: layer.count_params() for layer in model.layers if layer.weights} == {
        "conv_1": 9 * 3 * 3 + 3,
        "norm": 4 * 3,
        "conv_2": 3 * 3 * 2,
        "dense_1": 2 * 3 * 2 * 5 + 5,
        "dense_2": 5 * 3 + 3,
    }


def test_at_least_one_filter_stays():
    model = prune_filters(chain(), 1 - 1e-9)
    assert [layers_by_name(model)[n].filters for n in ("conv_1", "conv_2")] == [1, 1]
    assert prune_filters(chain(), 0.16).get_layer("conv_1").filters == 6  # 0.96 of a filter


def test_of_equal_norms_the_first_goes():
    model = spread_weights(chain())
    kernel = np.ones((3, 3, 3, 6), "float32")
    kernel[..., 4] = 0.5
    model.get_layer("conv_1").set_weights([kernel, np.arange(6.0)])
    smaller = prune_filters(model, 0.5)
    assert to_numpy(smaller.get_layer("conv_1").bias).tolist() == [2, 3, 5]


def test_a_sum_of_two_joins_keeps_a_share_of_each():
    """The first four filters of c go with a's, the others with b's."""
    image = keras.Input((4, 4, 1))
    a, b = (layers.Conv2D(n, 1, name=name)(image) for name, n in (("a", 4), ("b", 6)))
    c = layers.Conv2D(10, 3, padding="same", name="c")(image)
    x = layers.Add()([layers.Concatenate()([a, b]), c])
    head = layers.Dense(2, name="head")(layers.Flatten()(x))
    model = spread_weights(keras.Model(image, head))
    model.get_layer("a").set_weights([np.full((1, 1, 1, 4), 1e-3), np.zeros(4)])
    smaller = prune_filters(model, 0.5)
    assert [smaller.get_layer(n).filters for n in "abc"] == [2, 3, 5]
    assert smaller.get_layer("head").kernel.shape == (4 * 4 * 5, 2)


def test_filters_tied_to_inputs_and_outputs_stay():
    image = keras.Input((4, 4, 3))
    a = layers.Conv2D(3, 3, padding="same", name="a")(image)
    x = layers.Add()([image, a])
    b = layers.Conv2D(4, 1, name="b")(x)
    mixed = layers.Conv2D(4, 1, activation="softmax", name="mixed")(b)
    out = layers.Conv2D(2, 1, name="out")(mixed)
    smaller = prune_filters(keras.Model(image, out), 0.5)
    filters = {n: smaller.get_layer(n).filters for n in ("a", "b", "mixed", "out")}
    assert filters == {"a": 3, "b": 2, "mixed": 4, "out": 2}


def test_layers_around_the_convolutions_may_be_of_any_kind():
    """Before the first filters, and behind the first dense layer."""
    parts = [
        keras.Input((4, 4, 3)),
        layers.Normalization(mean=[1.0, 2, 3], variance=[4.0, 5, 6]),
        layers.Rescaling(2.0),
        layers.Conv2D(4, 3, name="conv"),
        layers.Flatten(),
        layers.Dense(6),
        layers.LayerNormalization(),
        layers.PReLU(),
        layers.Dense(2),
    ]
    model = spread_weights(keras.Sequential(parts))
    smaller = prune_filters(model, 0.5)
    assert smaller.get_layer("conv").filters == 2
    for kind in (layers.LayerNormalization, layers.PReLU):
        old, new = (next(x for x in m.layers if type(x) is kind) for m in (model, smaller))
        for got, want in zip(new.get_weights(), old.get_weights(), strict=True):
            np.testing.assert_array_equal(got, want)
    assert outputs_of(smaller, images_for(model))[0].shape == (3, 2)


def test_settings_of_the_layers_stay():
    parts = [keras.Input((9, 9, 2)), layers.Conv2D(4, 3, dilation_rate=2, name="conv")]
    parts[1].trainable = False
    norm = layers.BatchNormalization(epsilon=0.5, momentum=0.3, name="norm")
    model = keras.Sequential([*parts, norm, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    smaller = prune_filters(model, 0.5)
    assert smaller.get_layer("conv").dilation_rate == (2, 2)
    assert not smaller.get_layer("conv").trainable and smaller.get_layer("norm").trainable
    assert (smaller.get_layer("norm").epsilon, smaller.get_layer("norm").momentum) == (0.5, 0.3)


def test_the_smaller_model_can_be_trained_saved_and_pruned_again(tmp_path):
    model = prune_filters(spread_weights(residual()), 0.5)
    model.compile("sgd", "mse")
    x = images_for(model, count=8)
    model.fit(x, np.zeros((8, 2)), epochs=1, verbose=0)
    model.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    np.testing.assert_allclose(outputs_of(loaded, x)[0], outputs_of(model, x)[0], atol=1e-6)
    assert prune_filters(loaded, 0.5).get_layer("stem").filters == 2


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.conv = layers.Conv2D(4, 3)

    def call(self, x):
        return self.conv(x)


class OwnConvolution(layers.Conv2D):
    pass


def through(*middle, shape=(4, 4, 3)):
    parts = [keras.Input(shape), layers.Conv2D(4, 3, padding="same"), *middle]
    return keras.Sequential([*parts, layers.Flatten(), layers.Dense(2)])


def times_constant():
    image = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1)(image) * np.arange(4.0)
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: through(layers.LayerNormalization(name="ln")), "'ln' of type LayerNormalization"),
        (lambda: through(layers.GroupNormalization(2, name="gn")), "'gn' of type GroupNormal"),
        (lambda: through(layers.PReLU(name="p")), "layer 'p' of type PReLU"),
        (lambda: through(layers.Conv2D(4, 1, groups=2, name="g")), "'g' .* with groups=2"),
        (lambda: through(layers.Conv2DTranspose(4, 1, name="t")), "'t' of type Conv2DTranspose"),
        (lambda: through(OwnConvolution(4, 1, name="own")), "'own' of type OwnConvolution"),
        (lambda: through(layers.Permute((3, 1, 2), name="p")), "'p' of type Permute"),
        (lambda: through(layers.Reshape((8, 4, 2), name="r")), "'r' of type Reshape"),
        (lambda: through(layers.BatchNormalization(axis=1, name="bn")), "'bn' of type BatchNorm"),
        (
            lambda: through(layers.MaxPooling2D(1, data_format="channels_first", name="cf")),
            "'cf' of type MaxPooling2D with data_format='channels_first'",
        ),
        (times_constant, "of type Multiply"),
        (
            lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="flat"),
            "needs a model with a Conv2D, 'flat' has none",
        ),
        (
            lambda: keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 3)], name="one"),
            "finds no filters that may go in 'one'",
        ),
        (OwnModel, "'own' is of class OwnModel and has no graph"),
        (lambda: keras.Sequential([layers.Conv2D(2, 3)]), "needs a built Functional or Sequential"),
        (lambda: "model.keras", "needs a Keras model, got str"),
    ],
)
def test_models_that_cannot_be_pruned_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        prune_filters(make(), 0.5)


# sparsity


def test_sparsity_by_hand():
    model = depthwise()
    for v in model.weights:
        v.assign(np.ones(v.shape))
    kernel = np.ones((3, 3, 6, 2), "float32")
    kernel[0] = 0
    model.get_layer("depthwise").kernel.assign(kernel)
    model.get_layer("separable").pointwise_kernel.assign(np.zeros((1, 1, 36, 8)))
    model.get_layer("norm_1").beta.assign(np.zeros(6))  # does not count
    counts = {"conv": 108, "depthwise": 108, "separable": 324 + 288, "gate": 64}
    counts["head"] = 4 * 4 * 8 * 3
    zeros = {"depthwise": 36, "separable": 288}
    expected = {n: zeros.get(n, 0) / p for n, p in counts.items()}
    assert sparsity(model, per_layer=True) == pytest.approx(expected)
    assert sparsity(model) == pytest.approx(324 / sum(counts.values()))


@each_model
def test_sparsity_matches_numpy(parity, make):
    model = spread_weights(make())
    values = []
    for v in model.weights:
        if v.name.endswith("kernel"):
            v.assign(np.round(to_numpy(v)))  # some become 0
            values.append(to_numpy(v).ravel())
    parity(sparsity, "numpy.mean", sparsity(model), np.mean(np.concatenate(values) == 0))
    assert 0.2 < sparsity(model) < 0.6


def test_sparsity_of_layers_of_one_name():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="a")], name="inner")
    image = keras.Input((3,))
    model = keras.Model(image, layers.Dense(1, name="a")(inner(image)))
    inner.set_weights([np.zeros((3, 2)), np.ones(2)])
    found = sparsity(model, per_layer=True)
    assert sorted(found.values()) == [0.0, 1.0] and all(name.endswith("a") for name in found)
    assert sparsity(keras.Sequential([keras.Input((3,)), layers.ReLU()])) == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [np.zeros(3)], "sparsity needs a Keras model, got list"),
        (lambda: keras.Sequential([layers.Dense(2)], name="new"), "a built model, 'new' has no"),
    ],
)
def test_sparsity_errors(make, message):
    with pytest.raises(ValueError, match=message):
        sparsity(make())


# MagnitudePruning


def make_small(seed=0):
    keras.utils.set_random_seed(seed)
    parts = [
        keras.Input((6, 6, 4)),
        layers.Conv2D(8, 3, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.DepthwiseConv2D(2, name="depthwise"),
        layers.SeparableConv2D(4, 2, name="separable"),
        layers.Flatten(),
        layers.Dense(3, name="dense"),
    ]
    return keras.Sequential(parts)


_compiled = {}


def small(number=0):
    """A compiled model, always the same of a number, and as new: compiling takes long."""
    if number not in _compiled:
        model = make_small(number)
        model.compile(momentum(), "mse")
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        _compiled[number] = model, [(v, np.array(to_numpy(v))) for v in variables]
    model, values = _compiled[number]
    for variable, value in values:
        variable.assign(value)
    return model


def batch(count=24, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 6, 6, 4)).astype("float32")
    return x, rng.normal(size=(count, 3)).astype("float32")


def momentum():
    return keras.optimizers.SGD(0.02, momentum=0.9)


def fit(model, *callbacks, epochs=2, **options):
    x, y = batch()
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, epochs=epochs, callbacks=list(callbacks), **options)


def kernels(model):
    """{"layer/kernel": values}"""
    found = [v for v in model.weights if v.name.endswith("kernel")]
    return {"/".join(v.path.split("/")[-2:]): to_numpy(v) for v in found}


class Watch(keras.callbacks.Callback):
    """Notes kernels after each batch; must stand behind the pruning callback."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append({path: np.array(w) for path, w in kernels(self.model).items()})


@pytest.mark.parametrize(
    "optimizer",
    [momentum, lambda: keras.optimizers.AdamW(0.01), lambda: keras.optimizers.SGD(0.02, 0.9, True)],
    ids=["momentum", "adamw", "nesterov"],
)
def test_pruned_weights_stay_exactly_zero(optimizer):
    """After each batch, whatever the optimizer remembers; without the callback they would move."""
    model, watch = make_small(), Watch()
    model.compile(optimizer(), "mse")
    fit(model, MagnitudePruning(0.75), watch)
    assert len(watch.seen) == 12
    for path, first in watch.seen[0].items():
        zeros = first == 0
        assert zeros.sum() == math.floor(0.75 * first.size), path
        for later in (*watch.seen[1:], kernels(model)):
            np.testing.assert_array_equal(later[path] == 0, zeros, err_msg=path)
            assert not np.signbit(later[path][zeros]).any()
        assert np.abs(watch.seen[-1][path] - first)[~zeros].max() > 1e-4, path
    fit(model, epochs=1)
    assert sparsity(model) < 0.4


def test_the_masks_are_those_of_the_weights_before_training():
    model = small()
    before = kernels(model)
    fit(model, MagnitudePruning(0.6), epochs=1)
    for path, after in kernels(model).items():
        expected = to_numpy(magnitude_mask(before[path], 0.6))
        np.testing.assert_array_equal(after != 0, expected, err_msg=path)


class Masked(keras.constraints.Constraint):
    """Keras's own way to hold a fixed mask: inside the optimizer's step."""

    def __init__(self, mask):
        self.mask = mask

    def __call__(self, w):
        return w * ops.convert_to_tensor(self.mask, w.dtype)


def test_training_is_that_of_a_constraint(parity):
    """The same weights as Keras with a constraint in its optimizer, after 12 steps of momentum."""
    pruned, constrained = small(), make_small()
    constrained.set_weights(pruned.get_weights())
    constrained.compile(momentum(), "mse")
    for v in constrained.weights:
        if v.name.endswith("kernel"):
            mask = to_numpy(magnitude_mask(v, 0.5))
            v.assign(v * mask)
            v.constraint = Masked(mask)
    fit(pruned, MagnitudePruning(0.5))
    fit(constrained)
    assert sparsity(constrained) == sparsity(pruned)
    for got, want in zip(pruned.weights, constrained.weights, strict=True):
        parity(MagnitudePruning, "keras.constraints.Constraint", got, want)


def test_biases_and_normalization_are_left():
    model = small()
    others = [v for v in model.trainable_variables if not v.name.endswith("kernel")]
    assert len(others) == 6
    for v in others:
        v.assign(np.full(v.shape, 0.5))
    fit(model, MagnitudePruning(0.9))
    for v in others:
        assert (to_numpy(v) != 0).all(), v.path


def test_schedule_in_fit():
    """Step by step: masks at 3, 5, 7 and 8, held in between."""
    model, watch = small(), Watch()
    options = dict(begin=3, end=8, initial=0.2, power=1)
    fit(model, MagnitudePruning(0.7, frequency=2, **options), watch)
    expected, held = [], 0.0
    for step in range(1, 13):
        if step in (3, 5, 7, 8):
            held = float(polynomial_sparsity(step, final=0.7, **options))
        expected.append(held)
    for path in watch.seen[0]:
        got = [(w[path] == 0).mean() for w in watch.seen]
        want = [math.floor(s * watch.seen[0][path].size + 1e-6) for s in expected]
        np.testing.assert_allclose(got, np.array(want) / watch.seen[0][path].size, err_msg=path)
        zeros = [w[path] == 0 for w in watch.seen]
        for earlier, later in zip(zeros, zeros[1:], strict=False):
            assert (later[earlier]).all()


def test_history_has_the_sparsity():
    model = small()
    history = fit(model, MagnitudePruning(0.8, begin=2, end=9, frequency=1), epochs=3).history
    assert history["sparsity"] == sorted(history["sparsity"])
    assert 0 < history["sparsity"][0] < history["sparsity"][-1] == sparsity(model)
    assert 0.79 < sparsity(model) <= 0.8


def test_steps_are_counted_over_several_fits():
    model, callback = small(), MagnitudePruning(0.5, begin=8)
    fit(model, callback, epochs=1)
    assert sparsity(model) == 0
    fit(model, callback, epochs=1)
    assert 0.49 < sparsity(model) <= 0.5
    other = small(1)
    fit(other, callback, epochs=1)
    assert sparsity(other) == 0  # another model starts at step 0


def test_masks_survive_saving(tmp_path):
    """A new callback that would begin much later finds the masks in the zeros."""
    model = small()
    fit(model, MagnitudePruning(0.75))
    before = kernels(model)
    model.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras")
    assert sparsity(loaded) == sparsity(model) > 0.74
    watch = Watch()
    fit(loaded, MagnitudePruning(0.9, begin=6, end=6), watch)
    for path, w in watch.seen[4].items():
        np.testing.assert_array_equal(w == 0, before[path] == 0, err_msg=path)
        assert np.abs(w - before[path]).max() > 1e-4
    assert 0.88 < sparsity(loaded) <= 0.9
    for path, w in kernels(loaded).items():
        assert (w[before[path] == 0] == 0).all()


def test_a_lower_target_brings_nothing_back():
    model = small()
    fit(model, MagnitudePruning(0.75), epochs=1)
    zeros = {path: w == 0 for path, w in kernels(model).items()}
    fit(model, MagnitudePruning(0.25), epochs=1)
    for path, w in kernels(model).items():
        np.testing.assert_array_equal(w == 0, zeros[path])


def test_a_kernel_of_zeros_is_not_pruned():
    model = small()
    layer = model.get_layer("dense")
    layer.set_weights([np.zeros(layer.kernel.shape), np.zeros(3)])
    fit(model, MagnitudePruning(0.5, skip=["dense"]), epochs=1)
    assert (to_numpy(layer.kernel) != 0).any()
    layer.set_weights([np.zeros(layer.kernel.shape), np.zeros(3)])
    fit(model, MagnitudePruning(0.5, begin=4), epochs=1)
    assert 0 < np.mean(to_numpy(layer.kernel) == 0) <= 0.5


def test_layers_can_be_chosen():
    model = small()
    fit(model, MagnitudePruning(0.5, skip=["conv", "separable"]), epochs=1)
    expected = {"conv": 0, "depthwise": 0.5, "separable": 0, "dense": 0.5}
    assert sparsity(model, per_layer=True) == expected
    model = small()
    fit(model, MagnitudePruning({"conv": 0.75, "dense": 0.25}), epochs=1)
    expected = {"conv": 0.75, "depthwise": 0, "separable": 0, "dense": 0.25}
    assert sparsity(model, per_layer=True) == expected
    model = make_small()
    model.get_layer("conv").trainable = False
    model.compile(momentum(), "mse")
    fit(model, MagnitudePruning(0.5), epochs=1)
    assert sparsity(model, per_layer=True)["conv"] == 0
    assert sparsity(model, per_layer=True)["dense"] == 0.5


def test_n_of_m_in_fit():
    model, watch = small(), Watch()
    fit(model, MagnitudePruning(n_m=(2, 4), begin=1), watch)
    found = sparsity(model, per_layer=True)
    assert (found["conv"], found["depthwise"], found["dense"]) == (0.5, 0, 0.5)
    for w in watch.seen:
        conv = next(v for path, v in w.items() if path.endswith("conv/kernel"))
        assert ((conv != 0).reshape(3, 3, 1, 4, 8).sum(axis=3) == 2).all()
    pointwise = to_numpy(model.get_layer("separable").pointwise_kernel)
    assert ((pointwise != 0).reshape(2, 4, 4).sum(axis=1) == 2).all()


def test_nested_and_subclassed_models():
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner, self.head = make_small(), layers.Dense(3, name="head")

        def call(self, x):
            return self.head(self.inner(x))

    model = Outer()
    model(batch()[0])
    model.compile(momentum(), "mse")
    watch = Watch()
    fit(model, MagnitudePruning(0.5), watch)
    assert len(watch.seen[-1]) == 6
    for w in watch.seen[-1].values():
        assert (w == 0).sum() == w.size // 2


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has no steps_per_execution on PyTorch"
)
def test_several_batches_at_once():
    """Steps are batches, although Keras calls once for three of them."""
    model, watch = make_small(), Watch()
    model.compile(momentum(), "mse", steps_per_execution=3)
    callback = MagnitudePruning(0.5, begin=5, frequency=1)
    fit(model, callback, watch)
    shares = [np.mean(w[next(iter(w))] == 0) for w in watch.seen]
    assert shares == [0, 0.5, 0.5, 0.5]  # after 3, 6, 9 and 12 batches
    assert 0.49 < sparsity(model) <= 0.5


def test_averaged_weights_are_masked_at_the_end():
    model = make_small()
    model.compile(keras.optimizers.SGD(0.02, use_ema=True), "mse")
    fit(model, MagnitudePruning(0.5))
    assert 0.49 < sparsity(model) <= 0.5


def test_evaluation_sees_the_pruned_weights():
    model = small()
    x, y = batch()
    history = fit(model, MagnitudePruning(0.9), epochs=1, validation_data=(x, y)).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MagnitudePruning(), "one of sparsity and n_m must be given, got sparsity=None"),
        (lambda: MagnitudePruning(0.5, n_m=(2, 4)), r"got sparsity=0\.5, n_m=\(2, 4\)"),
        (lambda: MagnitudePruning({}), "sparsity must name at least one layer"),
        (lambda: MagnitudePruning(1.0), r"sparsity must be .* at least 0 and below 1, got 1\.0"),
        (lambda: MagnitudePruning(n_m=(3, 2)), "n=3 of every m=2"),
        (lambda: MagnitudePruning(n_m=4), r"n_m must be a pair \(n, m\), got 4"),
        (lambda: MagnitudePruning(n_m=(2, 4), end=9), "n_m is drawn once, at begin"),
        (lambda: MagnitudePruning(0.5, begin=-1), "begin must be .* got -1"),
        (lambda: MagnitudePruning(0.5, begin=5, end=4), "end=4 must be at least begin=5"),
        (lambda: MagnitudePruning(0.5, initial=0.6), r"initial=0\.6 must be at most final=0\.5"),
        (lambda: MagnitudePruning(0.5, power=-1), "power must be a finite number above 0, got -1"),
        (lambda: MagnitudePruning(0.5, frequency=0), "frequency must be .* got 0"),
        (lambda: MagnitudePruning(0.5, skip="conv"), "skip must be a list of layer names"),
        (
            lambda: fit(small(), MagnitudePruning(0.5, skip=["norm"])),
            "has no layer 'norm' with a kernel; it has conv, depthwise, separable, dense",
        ),
        (
            lambda: fit(small(), MagnitudePruning({"cony": 0.5})),
            "has no layer 'cony' with a kernel",
        ),
        (
            lambda: fit(small(), MagnitudePruning(n_m=(1, 3))),
            "layer 'conv': m=3 does not divide the 4 inputs .* Name it in skip",
        ),
    ],
)
def test_pruning_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_nothing_is_left_to_prune():
    model = small()
    names = ["conv", "depthwise", "separable", "dense"]
    with pytest.raises(ValueError, match="has no trainable kernel that is to be pruned"):
        fit(model, MagnitudePruning(0.5, skip=names))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Conv1DTranspose(4, 2), (6, 8)),
        (keras.layers.Conv2DTranspose(4, 2), (6, 6, 8)),
        (keras.layers.Conv2D(4, 2), (6, 6, 8)),
        (keras.layers.Dense(4), (8,)),
    ],
    ids=lambda value: value.name if isinstance(value, keras.layers.Layer) else "",
)
def test_n_of_m_inputs_are_kept_in_every_kind_of_layer(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    y = np.zeros_like(to_numpy(model(x)))
    model.fit(x, y, callbacks=[MagnitudePruning(n_m=(2, 4))], verbose=0)
    kept = to_numpy(layer.kernel) != 0
    is_transposed = "transpose" in type(layer).__name__.lower()
    inputs_last = np.moveaxis(kept, -1 if is_transposed else -2, -1)
    assert set(inputs_last.reshape(-1, 4).sum(axis=-1).tolist()) == {2}

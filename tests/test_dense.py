"""Tests for `cnnbook.dense` (chapter 06)."""

import importlib.util
import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.dense import dense, dense_gradients, flatten

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def reference_dense(x, kernel, bias):
    """Eq. eq-dense-batch by loops, in float64; x is (N, C_in)."""
    n, c_in = x.shape
    y = np.zeros((n, kernel.shape[1]))
    for row in range(n):
        for o in range(kernel.shape[1]):
            y[row, o] = bias[o]
            for i in range(c_in):
                y[row, o] += float(kernel[i, o]) * float(x[row, i])
    return y


def reference_dense_gradients(x, kernel, dy):
    """Eq. eq-dense-gradients by loops, in float64."""
    dx, dkernel, dbias = (np.zeros(s) for s in (x.shape, kernel.shape, kernel.shape[1]))
    for n in range(x.shape[0]):
        for o in range(kernel.shape[1]):
            dbias[o] += dy[n, o]
            for i in range(x.shape[1]):
                dx[n, i] += float(kernel[i, o]) * float(dy[n, o])
                dkernel[i, o] += float(x[n, i]) * float(dy[n, o])
    return dx, dkernel, dbias


def reference_flatten(x):
    """Eq. eq-flatten, one number at a time; x is (N, H, W, C)."""
    n, h, w, c = x.shape
    y = np.full((n, h * w * c), np.nan)
    for image in range(n):
        for i in range(h):
            for j in range(w):
                for k in range(c):
                    y[image, (i * w + j) * c + k] = x[image, i, j, k]
    return y


def as_rows(a):
    """All axes but the last folded into one."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


@st.composite
def layers(draw):
    """(x, kernel, bias, dy) with zero to three batch axes."""
    batch = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    c_in, c_out = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shapes = [(*batch, c_in), (c_in, c_out), (c_out,), (*batch, c_out)]
    return [rng.normal(size=s).astype("float32") for s in shapes]


@given(layers())
@drawn
def test_dense_matches_reference(arrays):
    x, kernel, bias, _ = arrays
    expected = reference_dense(as_rows(x), kernel, bias)
    got = to_numpy(dense(x, kernel, bias))
    np.testing.assert_allclose(got, expected.reshape(*x.shape[:-1], len(bias)), **CLOSE)
    if x.size:
        np.testing.assert_allclose(to_numpy(dense(x, kernel)), got - bias, **CLOSE)


@given(layers())
@drawn
def test_dense_gradients_match_reference(arrays):
    x, kernel, _, dy = arrays
    rows = [as_rows(a) for a in (x, dy)]
    expected = reference_dense_gradients(rows[0], kernel, rows[1])
    got = dense_gradients(x, kernel, dy)
    assert tuple(got[0].shape) == x.shape
    np.testing.assert_allclose(to_numpy(got[0]).reshape(rows[0].shape), expected[0], **CLOSE)
    np.testing.assert_allclose(to_numpy(got[1]), expected[1], **CLOSE)
    np.testing.assert_allclose(to_numpy(got[2]), expected[2], **CLOSE)


def test_hand_computed():
    # y1 = 1*1 + 2*2 + 3*0 = 5 and y2 = 1*0 + 2*1 - 3*1 + 10 = 9
    kernel = [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]]
    np.testing.assert_array_equal(to_numpy(dense([1, 2, 3], kernel, [0, 10])), [5.0, 9.0])
    dx, dkernel, dbias = dense_gradients([[1, 2, 3], [1, 0, 0]], kernel, [[1, -1], [0, 2]])
    np.testing.assert_array_equal(to_numpy(dx), [[1, 1, 1], [0, 2, -2]])
    np.testing.assert_array_equal(to_numpy(dkernel), [[1, 1], [2, -2], [3, -3]])
    np.testing.assert_array_equal(to_numpy(dbias), [1, 1])


@given(layers())
@drawn
def test_dense_matches_keras(parity, arrays):
    x, kernel, bias, _ = arrays
    x = x[None] if x.ndim == 1 else x  # the layer wants a batch
    layer = keras.layers.Dense(kernel.shape[1])
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    parity(dense, "keras.layers.Dense", dense(x, kernel, bias), layer(x))


@given(layers())
@drawn
def test_gradients_match_autodiff(parity, arrays):
    x, kernel, bias, dy = (a.astype(precise_dtype()) for a in arrays)
    expected = vjp(dense, [x, kernel, bias], dy)
    for got, want in zip(dense_gradients(x, kernel, dy), expected, strict=True):
        parity(dense_gradients, "autodiff of cnnbook.dense.dense", got, want)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_dense_matches_torch():
    import torch

    rng = np.random.default_rng(2)
    x, weight, bias = (rng.normal(size=s).astype("float32") for s in ((4, 3), (2, 3), 2))
    expected = torch.nn.functional.linear(*(torch.tensor(a) for a in (x, weight, bias)))
    np.testing.assert_allclose(to_numpy(dense(x, weight.T, bias)), expected.numpy(), **CLOSE)


@given(st.lists(st.integers(1, 4), min_size=3, max_size=3), st.integers(0, 3))
@drawn
def test_flatten_matches_reference_and_keras(parity, sizes, batch):
    x = np.random.default_rng(0).normal(size=(batch, *sizes)).astype("float32")
    np.testing.assert_array_equal(to_numpy(flatten(x)), reference_flatten(x))
    layer = keras.layers.Flatten(data_format="channels_last")
    if batch:
        parity(flatten, "keras.layers.Flatten", flatten(x), layer(x), rtol=0, atol=0)


def test_flatten_hand_computed():
    image = [[[1, 10], [2, 20]], [[3, 30], [4, 40]]]
    np.testing.assert_array_equal(to_numpy(flatten([image])), [[1, 10, 2, 20, 3, 30, 4, 40]])
    np.testing.assert_array_equal(to_numpy(flatten([1, 2])), [[1], [2]])


def test_flatten_of_channels_first_is_a_permutation():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    order = np.arange(60).reshape(3, 4, 5).transpose(2, 0, 1).ravel()
    first = to_numpy(flatten(x.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(first, to_numpy(flatten(x))[:, order])
    assert not np.array_equal(first, to_numpy(flatten(x)))


def test_permuted_inputs_and_rows_give_the_same_output():
    rng = np.random.default_rng(0)
    x, kernel, order = rng.normal(size=(3, 8)), rng.normal(size=(8, 2)), rng.permutation(8)
    np.testing.assert_allclose(
        to_numpy(dense(x[:, order], kernel[order])), to_numpy(dense(x, kernel)), **CLOSE
    )


def test_dense_is_affine():
    rng = np.random.default_rng(1)
    x, z, kernel, bias = (rng.normal(size=s) for s in ((3, 4), (3, 4), (4, 2), 2))
    left = to_numpy(dense(2 * x + z, kernel, 3 * bias))
    right = 2 * to_numpy(dense(x, kernel, bias)) + to_numpy(dense(z, kernel, bias))
    np.testing.assert_allclose(left, right, **CLOSE)


def test_gradients_do_not_depend_on_how_the_batch_is_folded():
    rng = np.random.default_rng(3)
    x, kernel, dy = (rng.normal(size=s) for s in ((2, 3, 4), (4, 5), (2, 3, 5)))
    folded = dense_gradients(x.reshape(6, 4), kernel, dy.reshape(6, 5))
    for got, want in zip(dense_gradients(x, kernel, dy)[1:], folded[1:], strict=True):
        np.testing.assert_allclose(to_numpy(got), to_numpy(want), **CLOSE)


def test_empty_batch():
    kernel = np.ones((3, 2), "float32")
    assert tuple(dense(np.ones((0, 3)), kernel, [0.0, 0.0]).shape) == (0, 2)
    dx, dkernel, dbias = dense_gradients(np.ones((0, 3)), kernel, np.ones((0, 2)))
    assert tuple(dx.shape) == (0, 3)
    np.testing.assert_array_equal(to_numpy(dkernel), np.zeros((3, 2)))
    np.testing.assert_array_equal(to_numpy(dbias), np.zeros(2))
    assert tuple(flatten(np.ones((0, 2, 3))).shape) == (0, 6)


def test_integers_become_floats():
    y = dense(np.array([[1, 2]], "uint8"), [[1], [-3]])
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert float(y[0, 0]) == -5.0


def test_compiled():
    rng = np.random.default_rng(4)
    x, kernel, bias, dy = (rng.normal(size=s) for s in ((5, 2, 3), (6, 4), 4, (5, 4)))
    x, kernel, bias, dy = (keras.ops.convert_to_tensor(a, "float32") for a in (x, kernel, bias, dy))

    def both(x, kernel, bias, dy):
        rows = flatten(x)
        return dense(rows, kernel, bias), *dense_gradients(rows, kernel, dy)

    arrays = x, kernel, bias, dy
    for got, want in zip(compiled(both)(*arrays), both(*arrays), strict=True):
        np.testing.assert_allclose(to_numpy(got), to_numpy(want), **CLOSE)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an unknown batch size")
def test_unknown_batch_size():
    import tensorflow as tf

    def both(x, kernel, dy):
        return dense(flatten(x), kernel), *dense_gradients(flatten(x), kernel, dy)

    shapes = (None, 2, 2, 1), (4, 3), (None, 3)
    traced = tf.function(both, input_signature=[tf.TensorSpec(s) for s in shapes])
    arrays = [np.random.default_rng(0).normal(size=s) for s in ((5, 2, 2, 1), (4, 3), (5, 3))]
    arrays = [tf.cast(a, "float32") for a in arrays]
    for got, want in zip(traced(*arrays), both(*arrays), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dense([1.0], [1.0]), r"kernel must have 2 dimensions, got shape \(1,\)"),
        (lambda: dense(1.0, [[1.0]]), r"x must have at least 1 dimension, got shape \(\)"),
        (
            lambda: dense(np.ones((2, 4)), np.ones((3, 5))),
            r"kernel has 3 inputs \(rows\), but x has 4 features",
        ),
        (
            lambda: dense(np.ones((2, 3)), np.ones((3, 5)), np.ones(3)),
            r"bias must have shape \(5,\), one value per output, got \(3,\)",
        ),
        (
            lambda: dense(np.ones((2, 3)), np.ones((3, 5)), 1.0),
            r"bias must have shape \(5,\), one value per output, got \(\)",
        ),
        (
            lambda: dense_gradients(np.ones((2, 4)), np.ones((3, 5)), np.ones((2, 5))),
            r"kernel has 3 inputs \(rows\), but x has 4 features",
        ),
        (
            lambda: dense_gradients(np.ones((2, 3)), np.ones(3), np.ones((2, 5))),
            r"kernel must have 2 dimensions, got shape \(3,\)",
        ),
        (
            lambda: dense_gradients(np.ones((2, 3)), np.ones((3, 5)), np.ones((3, 5))),
            r"output_gradient must have the output's shape \(2, 5\), got \(3, 5\)",
        ),
        (
            lambda: dense_gradients(np.ones((2, 3)), np.ones((3, 5)), np.ones((1, 5))),
            r"output_gradient must have the output's shape \(2, 5\), got \(1, 5\)",
        ),
        (
            lambda: dense_gradients(np.ones((2, 3)), np.ones((3, 5)), np.ones(5)),
            r"output_gradient must have the output's shape \(2, 5\), got \(5,\)",
        ),
        (lambda: flatten(3.0), r"x must have a batch axis, got shape \(\)"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()

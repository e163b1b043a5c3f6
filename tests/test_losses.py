"""Tests for `cnnbook.losses` (chapter 10)."""

import importlib.util
import math
import re

import keras
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook._shared.tracing import values_of
from cnnbook.losses import (
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_gradient,
    focal_loss,
    mean_squared_error,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHAPES = ((4, 5), (2, 3, 4))  # few, because JAX compiles each anew
REDUCTIONS = ("mean", "sum", "none")
IN_KERAS = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}
FUNCTIONS = (
    cross_entropy,
    cross_entropy_gradient,
    mean_squared_error,
    binary_cross_entropy,
    focal_loss,
)


def tensor(array):
    return ops.convert_to_tensor(array)


def reduced(losses, reduction):
    """The three reductions in float64, the mean as a sum over a count."""
    if reduction == "none":
        return losses
    return math.fsum(losses.ravel()) / (losses.size if reduction == "mean" else 1)


def reference_softmax(row):
    exponentials = [math.exp(float(z)) for z in row]
    return [e / sum(exponentials) for e in exponentials]


def reference_cross_entropy(rows, probabilities, smoothing):
    """Eq. eq-cross-entropy, one loss for each row, by loops in float64."""
    out = np.zeros(rows.shape[:-1])
    classes = rows.shape[-1]
    for index in np.ndindex(rows.shape):
        y = (1 - smoothing) * float(rows[index]) + smoothing / classes
        if y:
            out[index[:-1]] -= y * math.log(float(probabilities[index]))
    return out


def reference_binary(y, p, smoothing=0.0):
    out = np.zeros(y.shape)
    for i in np.ndindex(y.shape):
        t = (1 - smoothing) * float(y[i]) + smoothing / 2
        out[i] = -(t * math.log(float(p[i])) + (1 - t) * math.log(1 - float(p[i])))
    return out


def reference_focal(y, p, gamma, alpha):
    out = np.zeros(y.shape)
    for i in np.ndindex(y.shape):
        right = float(p[i]) if y[i] == 1 else 1 - float(p[i])
        weight = 1 if alpha is None else alpha if y[i] == 1 else 1 - alpha
        out[i] = -weight * (1 - right) ** gamma * math.log(right)
    return out


@st.composite
def classifications(draw):
    """(labels, rows, logits, probabilities, smoothing, reduction) of two or three axes."""
    *shape, classes = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    labels = rng.integers(classes, size=shape)
    logits = (draw(st.sampled_from([1.0, 3.0])) * rng.normal(size=(*shape, classes))).astype("f4")
    probabilities = np.apply_along_axis(reference_softmax, -1, logits).astype("float32")
    smoothing = draw(st.sampled_from([0.0, 0.1, 0.5]))
    return (
        labels,
        np.eye(classes, dtype="float32")[labels],
        logits,
        probabilities,
        smoothing,
        draw(st.sampled_from(REDUCTIONS)),
    )


@st.composite
def questions(draw):
    """(yes or no, logits, probabilities, reduction) of two or three axes."""
    shape = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    y = rng.integers(2, size=shape).astype("float32")
    logits = (2 * rng.normal(size=shape)).astype("float32")
    p = (1 / (1 + np.exp(-logits.astype("float64")))).astype("float32")
    return y, logits, p, draw(st.sampled_from(REDUCTIONS))


# Cross-entropy


@given(classifications())
@drawn
def test_cross_entropy_matches_reference(case):
    labels, rows, logits, p, smoothing, reduction = case
    expected = reduced(reference_cross_entropy(rows, p, smoothing), reduction)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    for truth in (labels.astype("uint8"), rows.astype("int32")):
        for values, from_logits in ((p, False), (logits, True)):
            got = to_numpy(cross_entropy(truth, values, from_logits=from_logits, **options))
            assert got.shape == np.shape(expected)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)


@given(classifications())
@drawn
def test_soft_rows_match_reference(case):
    _, _, logits, p, smoothing, reduction = case
    rows = np.flip(p, axis=-1).copy()  # any probabilities will do
    expected = reduced(reference_cross_entropy(rows, p, smoothing), reduction)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    got = cross_entropy(rows, logits, from_logits=True, **options)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5, atol=2e-5)
    expected = np.apply_along_axis(reference_softmax, -1, logits) - (1 - smoothing) * rows
    expected -= smoothing / rows.shape[-1]
    expected /= rows[..., 0].size if reduction == "mean" else 1
    got = cross_entropy_gradient(rows, logits, **options)
    np.testing.assert_allclose(to_numpy(got), expected, **CLOSE)


@given(classifications(), st.booleans())
@drawn
def test_cross_entropy_matches_keras(parity, case, from_logits):
    labels, rows, logits, p, smoothing, reduction = case
    values = logits if from_logits else p
    options = {"from_logits": from_logits, "reduction": reduction}
    in_keras = {"from_logits": from_logits, "reduction": IN_KERAS[reduction]}
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing, **in_keras)
    got = cross_entropy(rows, values, label_smoothing=smoothing, **options)
    parity(cross_entropy, "keras.losses.CategoricalCrossentropy", got, loss(rows, values))
    loss = keras.losses.SparseCategoricalCrossentropy(**in_keras)
    got = cross_entropy(labels, values, **options)
    np.testing.assert_allclose(to_numpy(got), to_numpy(loss(labels, values)), **CLOSE)
    if reduction == "none":
        theirs = ops.categorical_crossentropy(rows, values, from_logits=from_logits)
        np.testing.assert_allclose(to_numpy(got), to_numpy(theirs), **CLOSE)


@given(classifications())
@drawn
def test_cross_entropy_gradient_matches_autodiff(parity, case):
    labels, rows, logits, _, smoothing, reduction = case
    logits = logits.astype(precise_dtype())
    options = {"label_smoothing": smoothing, "reduction": reduction}

    def loss(logits):
        return cross_entropy(labels, logits, from_logits=True, **options)

    upstream = np.ones(labels.shape if reduction == "none" else ())
    (expected,) = vjp(loss, [logits], upstream)
    for truth in (labels, rows):
        got = cross_entropy_gradient(truth, logits, **options)
        parity(cross_entropy_gradient, "autodiff of cnnbook.losses.cross_entropy", got, expected)
    np.testing.assert_allclose(to_numpy(got).sum(axis=-1), 0.0, atol=1e-5)


@given(classifications())
@drawn
def test_gradient_through_probabilities(case):
    labels, rows, _, p, smoothing, _ = case
    (got,) = vjp(lambda p: cross_entropy(labels, p, label_smoothing=smoothing), [p], 1.0)
    smoothed = (1 - smoothing) * rows + smoothing / rows.shape[-1]
    np.testing.assert_allclose(got, -smoothed / p / labels.size, rtol=1e-4, atol=1e-5)


def test_cross_entropy_matches_scikit_learn():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(4, size=50), rng.dirichlet(np.ones(4), size=50)
    for reduction, normalize in (("mean", True), ("sum", False)):
        expected = sklearn.metrics.log_loss(labels, p, normalize=normalize, labels=range(4))
        np.testing.assert_allclose(
            to_numpy(cross_entropy(labels, p, reduction=reduction)), expected, rtol=1e-5
        )
    y, p = labels > 1, p[:, 0]
    expected = sklearn.metrics.log_loss(y, p)
    np.testing.assert_allclose(to_numpy(binary_cross_entropy(y, p)), expected, rtol=1e-5)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_matches_torch(reduction):
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(0)
    labels, logits = rng.integers(4, size=6), (9 * rng.normal(size=(6, 4))).astype("float32")
    y = np.eye(4, dtype="float32")[labels]
    z = torch.tensor(logits, requires_grad=True)
    theirs = F.cross_entropy(z, torch.tensor(labels), label_smoothing=0.2, reduction=reduction)
    options = {"label_smoothing": 0.2, "reduction": reduction}
    got = cross_entropy(labels, logits, from_logits=True, **options)
    np.testing.assert_allclose(to_numpy(got), theirs.detach().numpy(), **CLOSE)
    theirs.sum().backward()
    got = cross_entropy_gradient(labels, logits, **options)
    np.testing.assert_allclose(to_numpy(got), z.grad.numpy(), **CLOSE)
    for got, theirs in (
        (mean_squared_error, F.mse_loss),
        (
            lambda *a, **k: binary_cross_entropy(*a, from_logits=True, **k),
            F.binary_cross_entropy_with_logits,
        ),
    ):
        expected = theirs(torch.tensor(logits), torch.tensor(y), reduction=reduction).numpy()
        np.testing.assert_allclose(to_numpy(got(y, logits, reduction=reduction)), expected, **CLOSE)


def test_cross_entropy_by_hand():
    # -log 1/2 and -log 1/4: log 2 + 2 log 2
    p = [[0.5, 0.5], [0.25, 0.75]]
    total = 3 * math.log(2)
    np.testing.assert_allclose(to_numpy(cross_entropy([1, 0], p, reduction="sum")), total, **CLOSE)
    np.testing.assert_allclose(to_numpy(cross_entropy([1, 0], p)), total / 2, **CLOSE)
    each = to_numpy(cross_entropy([1, 0], p, reduction="none"))
    np.testing.assert_allclose(each, [math.log(2), 2 * math.log(2)], **CLOSE)
    # half of the label spread over two classes: (3/4, 1/4)
    got = cross_entropy([1], [[0.25, 0.75]], label_smoothing=0.5)
    expected = 0.75 * -math.log(0.75) + 0.25 * -math.log(0.25)
    np.testing.assert_allclose(to_numpy(got), expected, **CLOSE)
    # softmax of (log 1, log 2, log 5) is (1, 2, 5) / 8, less the label
    z = np.log([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]])
    got = to_numpy(cross_entropy_gradient([1, 2], z, reduction="sum"))
    expected = np.array([[0.125, -0.75, 0.625], [0.125, 0.25, -0.375]])
    np.testing.assert_allclose(got, expected, **CLOSE)
    np.testing.assert_allclose(to_numpy(cross_entropy_gradient([1, 2], z)), expected / 2, **CLOSE)


def test_zero_probabilities():
    assert to_numpy(cross_entropy([0], [[0.0, 1.0]])) == math.inf
    np.testing.assert_array_equal(to_numpy(cross_entropy([1], [[0.0, 1.0]])), 0.0)
    assert to_numpy(cross_entropy([1], [[0.0, 1.0]], label_smoothing=0.1)) == math.inf
    (gradient,) = vjp(lambda p: cross_entropy([1], p), [np.array([[0.0, 1.0]], "float32")], 1.0)
    np.testing.assert_array_equal(gradient, [[0.0, -1.0]])
    assert to_numpy(binary_cross_entropy([1.0], [0.0])) == math.inf
    assert to_numpy(binary_cross_entropy([0.0], [1.0])) == math.inf
    np.testing.assert_array_equal(to_numpy(binary_cross_entropy([0, 1], [0, 1])), 0.0)
    (gradient,) = vjp(
        lambda p: binary_cross_entropy([0.0, 1.0], p, reduction="sum"),
        [np.array([0.0, 1.0], "float32")],
        1.0,
    )
    np.testing.assert_array_equal(gradient, [1.0, -1.0])
    assert to_numpy(focal_loss([1.0], [0.0])) == math.inf


def test_confident_mistakes_stay_finite_with_logits():
    z = np.array([[0.0, 3e4]], "float32")
    np.testing.assert_allclose(to_numpy(cross_entropy([0], z, from_logits=True)), 3e4, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(cross_entropy_gradient([0], z)), [[-1.0, 1.0]], **CLOSE)
    for z in (-3e4, 3e4):
        got = binary_cross_entropy([float(z < 0)], [z], from_logits=True)
        np.testing.assert_allclose(to_numpy(got), 3e4, rtol=1e-6)
        got = focal_loss([float(z < 0)], [z], from_logits=True, alpha=None)
        np.testing.assert_allclose(to_numpy(got), 3e4, rtol=1e-6)
    got = cross_entropy([1], [[-math.inf, 0.0]], from_logits=True)  # a class ruled out
    np.testing.assert_array_equal(to_numpy(got), 0.0)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_equal_probabilities_cost_log_c(classes):
    labels = np.arange(8) % classes
    for smoothing in (0.0, 0.3):
        got = cross_entropy(
            labels, np.zeros((8, classes)), from_logits=True, label_smoothing=smoothing
        )
        np.testing.assert_allclose(to_numpy(got), math.log(classes), rtol=1e-5)


def test_the_least_loss_of_smoothed_labels_is_their_entropy():
    y = np.array([0.925, 0.025, 0.025, 0.025])  # u = 0.1 and four classes
    entropy = -np.sum(y * np.log(y))
    got = cross_entropy([0], np.log(y)[None], from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(to_numpy(got), entropy, rtol=1e-5)
    gradient = to_numpy(cross_entropy_gradient([0], np.log(y)[None], label_smoothing=0.1))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


# Squared error


@given(questions())
@drawn
def test_mean_squared_error(parity, case):
    y, z, _, reduction = case
    expected = np.zeros(y.shape)
    for i in np.ndindex(y.shape):
        expected[i] = (float(y[i]) - float(z[i])) ** 2
    got = mean_squared_error(y, z, reduction=reduction)
    assert to_numpy(got).shape == np.shape(reduced(expected, reduction))
    np.testing.assert_allclose(to_numpy(got), reduced(expected, reduction), **CLOSE)
    z = z.astype(precise_dtype())
    (got,) = vjp(lambda z: mean_squared_error(y, z), [z], 1.0)
    np.testing.assert_allclose(got, 2 * (z - y) / z.size, **CLOSE)
    theirs = keras.losses.MeanSquaredError()(y, z)
    parity(mean_squared_error, "keras.losses.MeanSquaredError", mean_squared_error(y, z), theirs)
    rows = to_numpy(mean_squared_error(y, z, reduction="none")).mean(axis=-1)
    theirs = keras.losses.mean_squared_error(tensor(y), tensor(z.astype("float32")))
    np.testing.assert_allclose(rows, to_numpy(theirs), **CLOSE)


def test_mean_squared_error_by_hand():
    # differences 1, -2, 0, 3: squares 1, 4, 0, 9
    y, p = [[1.0, 2.0], [3.0, 4.0]], [[0.0, 4.0], [3.0, 1.0]]
    assert to_numpy(mean_squared_error(y, p)) == 3.5
    assert to_numpy(mean_squared_error(y, p, reduction="sum")) == 14
    got = to_numpy(mean_squared_error(y, p, reduction="none"))
    np.testing.assert_array_equal(got, [[1, 4], [0, 9]])
    assert to_numpy(mean_squared_error(p, y)) == 3.5


# Binary cross-entropy and focal loss

GAMMAS, ALPHAS = st.sampled_from([0, 0.5, 1.0, 2.0, 5]), st.sampled_from([None, 0.25, 0.9])


@given(questions(), st.sampled_from([0.0, 0.2]))
@drawn
def test_binary_cross_entropy(parity, case, smoothing):
    y, z, p, reduction = case
    options = {"label_smoothing": smoothing, "reduction": reduction}
    expected = reduced(reference_binary(y, p, smoothing), reduction)
    for values, from_logits in ((p, False), (z, True)):
        got = binary_cross_entropy(y, values, from_logits=from_logits, **options)
        assert to_numpy(got).shape == np.shape(expected)
        np.testing.assert_allclose(to_numpy(got), expected, rtol=2e-5, atol=2e-5)
        loss = keras.losses.BinaryCrossentropy(from_logits=from_logits, label_smoothing=smoothing)
        got = binary_cross_entropy(y, values, from_logits=from_logits, label_smoothing=smoothing)
        parity(binary_cross_entropy, "keras.losses.BinaryCrossentropy", got, loss(y, values))
    z = z.astype(precise_dtype())
    smoothed = (1 - smoothing) * y + smoothing / 2
    (got,) = vjp(
        lambda z: binary_cross_entropy(y, z, from_logits=True, label_smoothing=smoothing), [z], 1.0
    )
    np.testing.assert_allclose(got, (p - smoothed) / z.size, **CLOSE)


@given(questions(), GAMMAS, ALPHAS)
@drawn
def test_focal_loss(parity, case, gamma, alpha):
    y, z, p, reduction = case
    options = {"gamma": gamma, "alpha": alpha}
    expected = reduced(reference_focal(y, p, gamma, alpha), reduction)
    in_keras = {"gamma": gamma, "apply_class_balancing": alpha is not None, "alpha": alpha or 0.0}
    for values, from_logits in ((p, False), (z, True)):
        got = focal_loss(y, values, from_logits=from_logits, reduction=reduction, **options)
        assert to_numpy(got).shape == np.shape(expected)
        np.testing.assert_allclose(to_numpy(got), expected, rtol=5e-5, atol=2e-5)
        loss = keras.losses.BinaryFocalCrossentropy(from_logits=from_logits, **in_keras)
        got = focal_loss(y, values, from_logits=from_logits, **options)
        parity(focal_loss, "keras.losses.BinaryFocalCrossentropy", got, loss(y, values))


@given(questions(), GAMMAS, ALPHAS)
@drawn
def test_focal_loss_matches_keras_with_two_classes(case, gamma, alpha):
    # no and yes as classes: their softmax is our sigmoid, their weights are 1 - alpha and alpha
    y, z, p, reduction = case
    weights = 1.0 if alpha is None else [1 - alpha, alpha]
    in_keras = {"gamma": gamma, "alpha": weights, "reduction": IN_KERAS[reduction]}
    rows = np.stack([1 - y, y], axis=-1)
    for values, pairs, from_logits in ((p, (1 - p, p), False), (z, (0 * z, z), True)):
        loss = keras.losses.CategoricalFocalCrossentropy(from_logits=from_logits, **in_keras)
        options = {"gamma": gamma, "alpha": alpha, "reduction": reduction}
        got = focal_loss(y, values, from_logits=from_logits, **options)
        theirs = loss(rows, np.stack(pairs, axis=-1))
        np.testing.assert_allclose(to_numpy(got), to_numpy(theirs), **CLOSE)


@given(classifications(), GAMMAS, ALPHAS)
@drawn
def test_focal_loss_matches_keras_on_the_true_class(case, gamma, alpha):
    # with more classes Keras counts the true one alone, all under one alpha; ours asks of each
    _, rows, _, p, *_ = case
    in_keras = {"gamma": gamma, "alpha": 1.0 if alpha is None else alpha, "reduction": None}
    loss = keras.losses.CategoricalFocalCrossentropy(**in_keras)
    each = to_numpy(focal_loss(rows, p, gamma=gamma, alpha=alpha, reduction="none"))
    np.testing.assert_allclose(each[rows == 1], to_numpy(loss(rows, p)).ravel(), **CLOSE)


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("from_logits", [False, True])
def test_focal_gradient(gamma, from_logits):
    # by the chain rule in float64: with p the right answer's probability,
    # dl/dp = gamma (1 - p)^(gamma - 1) log p - (1 - p)^gamma / p, and dp/dz = p (1 - p)
    y, z = np.array([1.0, 1.0, 0.0, 0.0]), np.array([-1.5, 2.0, 0.7, -3.0])
    sign, alpha = 2 * y - 1, np.where(y == 1, 0.3, 0.7)
    p = 1 / (1 + np.exp(-sign * z))
    slope = gamma * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma / p
    expected = alpha * slope * sign * (p * (1 - p) if from_logits else 1)
    values = z if from_logits else 1 / (1 + np.exp(-z))
    options = {"gamma": gamma, "alpha": 0.3, "from_logits": from_logits, "reduction": "sum"}
    (got,) = vjp(lambda v: focal_loss(y, v, **options), [values.astype("float32")], 1.0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2.0])
def test_gradients_are_finite_where_answers_are_perfect(gamma):
    for values, from_logits in (([1.0, 0.0], False), ([300.0, -300.0], True)):
        options = {"gamma": gamma, "from_logits": from_logits, "reduction": "sum", "alpha": None}
        (got,) = vjp(
            lambda v: focal_loss([1.0, 0.0], v, **options),  # noqa: B023
            [np.array(values, "float32")],
            1.0,
        )
        expected = [-1.0, 1.0] if gamma == 0 and not from_logits else [0.0, 0.0]
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_binary_losses_by_hand():
    # -log 1/2 for the first, -log(1 - 3/4) = log 4 for the second
    each = [math.log(2), math.log(4)]
    got = to_numpy(binary_cross_entropy([1, 0], [0.5, 0.75], reduction="none"))
    np.testing.assert_allclose(got, each, **CLOSE)
    got = binary_cross_entropy([1, 0], [0.5, 0.75], reduction="sum")
    np.testing.assert_allclose(to_numpy(got), math.log(8), **CLOSE)
    # weights alpha (1/2)^2 and (1 - alpha) (3/4)^2
    got = to_numpy(focal_loss([1, 0], [0.5, 0.75], alpha=0.2, reduction="none"))
    np.testing.assert_allclose(got, [0.2 / 4 * each[0], 0.8 * 9 / 16 * each[1]], **CLOSE)


def test_slope_at_a_logit_of_zero():
    for y in (0.0, 0.25, 1.0):
        (got,) = vjp(
            lambda z: binary_cross_entropy([y], z, from_logits=True),  # noqa: B023
            [np.zeros(1, "float32")],
            1.0,
        )
        np.testing.assert_allclose(got, [0.5 - y], atol=1e-7)


def test_binary_is_cross_entropy_with_two_classes():
    z = np.linspace(-4, 4, 9).astype("float32")
    y = np.arange(9) % 2
    two = np.stack([np.zeros(9), z], axis=-1).astype("float32")
    for smoothing in (0.0, 0.3):
        options = {"from_logits": True, "label_smoothing": smoothing, "reduction": "none"}
        np.testing.assert_allclose(
            to_numpy(binary_cross_entropy(y, z, **options)),
            to_numpy(cross_entropy(y, two, **options)),
            **CLOSE,
        )


@given(questions())
@drawn
def test_focal_loss_without_focus_is_binary_cross_entropy(case):
    y, z, _, reduction = case
    options = {"from_logits": True, "reduction": reduction}
    plain = to_numpy(binary_cross_entropy(y, z, **options))
    got = to_numpy(focal_loss(y, z, gamma=0, alpha=None, **options))
    np.testing.assert_allclose(got, plain, **CLOSE)
    got = to_numpy(focal_loss(y, z, gamma=0, alpha=0.5, **options))
    np.testing.assert_allclose(got, plain / 2, **CLOSE)
    focused = to_numpy(focal_loss(y, z, gamma=2, alpha=None, **options))
    assert np.all(focused <= plain + 1e-6)
    turned = to_numpy(focal_loss(1 - y, -z, alpha=0.75, **options))  # yes and no exchanged
    np.testing.assert_allclose(turned, to_numpy(focal_loss(y, z, alpha=0.25, **options)), **CLOSE)


# All of them


def test_dtypes():
    got = cross_entropy(np.array([0, 1], "int64"), np.eye(2, dtype="float32"))
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    got = mean_squared_error(np.ones(2, "int32"), [1, 2])
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    z = np.random.default_rng(0).normal(size=(4, 10))
    p = ops.cast(np.apply_along_axis(reference_softmax, -1, z), "bfloat16")
    got = cross_entropy([0, 1, 2, 3], p)  # its rows sum to 1 within 0.01 only
    assert keras.backend.standardize_dtype(got.dtype) == "bfloat16"
    expected = -np.log(to_numpy(ops.cast(p, "float32"))[range(4), range(4)]).mean()
    np.testing.assert_allclose(float(got), expected, rtol=2**-6)


def test_empty_batch():
    for reduction, expected in (("mean", math.nan), ("sum", 0.0)):
        empty, labels = np.ones((0, 3), "float32"), np.zeros(0, "int32")
        for got in (
            cross_entropy(labels, empty, reduction=reduction),
            cross_entropy(empty, empty, reduction=reduction, from_logits=True),
            mean_squared_error(empty, empty, reduction=reduction),
            binary_cross_entropy(empty, empty, reduction=reduction),
            focal_loss(empty, empty, reduction=reduction),
        ):
            np.testing.assert_array_equal(to_numpy(got), expected)
        got = cross_entropy_gradient(labels, empty, reduction=reduction)
        assert tuple(got.shape) == (0, 3)


def all_losses(labels, y, p, z):
    return (
        cross_entropy(labels, z, from_logits=True),
        cross_entropy(y, p, label_smoothing=0.1, reduction="none"),
        cross_entropy_gradient(labels, z),
        mean_squared_error(y, z),
        binary_cross_entropy(y, z, from_logits=True),
        focal_loss(y, p),
        focal_loss(y, z, from_logits=True, reduction="sum"),
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=4)
    z = rng.normal(size=(4, 3)).astype("float32")
    p = np.apply_along_axis(reference_softmax, -1, z).astype("float32")
    return [tensor(a) for a in (labels, np.eye(3, dtype="float32")[labels], p, z)]


def test_compiled(batch):
    got = compiled(all_losses)(*batch)
    for ours, want in zip(got, all_losses(*batch), strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(want), **CLOSE)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a compiler that can give up")
def test_compiled_without_a_break(batch):
    """No value is looked at; where softmax is, Keras's own maximum breaks the graph."""
    import torch

    def losses(labels, y, p, z):
        yield cross_entropy(labels, p)
        yield cross_entropy(y, p, label_smoothing=0.1)
        yield mean_squared_error(y, z)
        for values, from_logits in ((p, False), (z, True)):
            yield binary_cross_entropy(y, values, from_logits=from_logits)
            yield focal_loss(y, values, from_logits=from_logits)

    whole = torch.compile(lambda *a: tuple(losses(*a)), backend="eager", fullgraph=True)
    for ours, want in zip(whole(*batch), losses(*batch), strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(want), **CLOSE)


def test_values_are_known_outside_of_compiled_functions_only():
    seen = []

    def note(z):
        seen.append(values_of(z))
        return z

    z = tensor(np.array([1.0, 2.0], "float32"))
    np.testing.assert_array_equal(values_of(z), [1.0, 2.0])
    assert values_of(z).dtype == "float64"
    assert values_of(keras.KerasTensor((2,))) is None
    compiled(note)(z)
    assert len(seen) == 1 and seen[0] is None


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an unknown batch size")
def test_unknown_batch_size(batch):
    import tensorflow as tf

    specs = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in batch]
    traced = tf.function(all_losses, specs)
    for ours, want in zip(traced(*batch), all_losses(*batch), strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(want), **CLOSE)


def test_a_wrong_label_is_nan_where_it_cannot_be_an_error():
    z, labels = tensor(np.zeros((2, 3), "float32")), tensor(np.array([0, 3], "int32"))

    def losses(labels, z):
        each = cross_entropy(labels, z, from_logits=True, reduction="none")
        return each, cross_entropy_gradient(labels, z, reduction="none")

    each, gradient = (to_numpy(a) for a in compiled(losses)(labels, z))
    np.testing.assert_allclose(each, [math.log(3), math.nan], **CLOSE)
    np.testing.assert_array_equal(np.isnan(gradient), [[False] * 3, [True] * 3])
    with pytest.raises(ValueError, match="y_true must hold classes from 0 to 2, got 3"):
        losses(labels, z)


def test_values_are_not_checked_inside_a_compiled_function():
    p, labels = tensor(np.array([[0.5, 0.25]], "float32")), tensor(np.array([0], "int32"))
    got = compiled(lambda labels, p: cross_entropy(labels, p))(labels, p)  # sums to 0.75
    np.testing.assert_allclose(to_numpy(got), math.log(2), **CLOSE)


def test_trains_with_keras():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(64, 5)).astype("float32"), rng.integers(3, size=64)
    x[:, :3] += 3 * np.eye(3)[labels]

    def loss(y_true, y_pred):
        return cross_entropy(y_true, y_pred, from_logits=True)

    def loss_of_integers(y_true, y_pred):
        return loss(ops.cast(y_true, "int32"), y_pred)

    histories = []
    for function, y in ((loss, np.eye(3)[labels]), (loss_of_integers, labels)):
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(3, kernel_initializer="zeros")]
        )
        model.compile(keras.optimizers.SGD(0.5), function)
        run = model.fit(x, y, epochs=10, batch_size=32, shuffle=False, verbose=0)
        histories.append(run.history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-4)
    assert histories[0][-1] < 0.2 < 0.5 < histories[0][0]
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match="must hold integers.*got dtype float32"):
        model.fit(x, labels, verbose=0)  # Keras makes the labels float


# Errors

THIRDS = np.full((2, 3), 1 / 3)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("reduction", ["average", None, "Mean", True])
def test_rejects_reduction(function, reduction):
    message = f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        function(THIRDS, THIRDS, reduction=reduction)


@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_gradient, binary_cross_entropy])
@pytest.mark.parametrize("smoothing", [-0.1, 1, 1.5, math.nan, True, "0.1", None])
def test_rejects_label_smoothing(function, smoothing):
    message = (
        f"label_smoothing must be a finite number of at least 0 and below 1, got {smoothing!r}"
    )
    with pytest.raises(ValueError, match=message):
        function(THIRDS, THIRDS, label_smoothing=smoothing)


@pytest.mark.parametrize("gamma", [-1, math.inf, math.nan, True, "2", None])
def test_rejects_gamma(gamma):
    message = f"gamma must be a finite number of at least 0, got {gamma!r}"
    with pytest.raises(ValueError, match=message):
        focal_loss([1.0], [0.5], gamma=gamma)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, True, "1"])
def test_rejects_alpha(alpha):
    with pytest.raises(
        ValueError,
        match=f"alpha must be a finite number of at least 0 and at most 1, got {alpha!r}",
    ):
        focal_loss([1.0], [0.5], alpha=alpha)


@pytest.mark.parametrize("function", [mean_squared_error, binary_cross_entropy, focal_loss])
@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 3), (3, 2), (2, 3, 1)])
def test_rejects_shapes_that_differ(function, shape):
    message = f"y_true must have the shape of y_pred (2, 3), got {shape}."
    with pytest.raises(ValueError, match=re.escape(message)):
        function(np.zeros(shape), THIRDS)


@pytest.mark.parametrize(
    ("function", "name"), [(cross_entropy, "y_pred"), (cross_entropy_gradient, "logits")]
)
class TestCrossEntropyRejects:
    @pytest.mark.parametrize("shape", [(3,), (2, 1), (3, 2), (1, 3), ()])
    def test_shapes(self, function, name, shape):
        message = (
            f"y_true must have the shape of {name} (2, 3) or, with integers, (2,), got {shape}."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            function(np.zeros(shape, "int32"), THIRDS)

    def test_a_scalar(self, function, name):
        with pytest.raises(ValueError, match=f"{name} must have an axis of classes"):
            function(0, 1.0)

    @pytest.mark.parametrize("label", [-1, 3, 255])
    def test_labels_out_of_range(self, function, name, label):
        message = rf"y_true must hold classes from 0 to 2, got {label} at index \(1,\)\."
        with pytest.raises(ValueError, match=message):
            function(np.array([0, label]), THIRDS)

    @pytest.mark.parametrize("dtype", ["float32", "bool"])
    def test_labels_that_are_no_integers(self, function, name, dtype):
        message = (
            f"y_true of shape (2,) must hold integers, one class for each row, got dtype {dtype}."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            function(np.array([0, 1], dtype), THIRDS)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([[1, 0, 0], [1, 1, 0]], "sum to 1 along its last axis, got 2 at index (1,)."),
            ([[0, 0, 0], [0, 1, 0]], "sum to 1 along its last axis, got 0 at index (0,)."),
            ([[1.5, -0.5, 0.0], [0, 1, 0]], "not be negative, got -0.5 at index (0, 1)."),
            ([[math.nan, 1, 0], [0, 1, 0]], "not be negative, got nan at index (0, 0)."),
            (
                [[0.99, 0.0, 0.0], [0, 1, 0]],
                "sum to 1 along its last axis, got 0.99 at index (0,).",
            ),
        ],
    )
    def test_rows_that_are_no_probabilities(self, function, name, rows, message):
        with pytest.raises(ValueError, match=re.escape(f"y_true must {message}")):
            function(rows, THIRDS)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([[0.5, 0.5], [2.0, 1.0]], "sum to 1 along its last axis, got 3 at index (1,)."),
        ([[0.5, 0.502], [0.5, 0.5]], "sum to 1 along its last axis, got 1.002 at index (0,)."),
        ([[0.5, 0.5], [-1.0, 2.0]], "not be negative, got -1 at index (1, 0)."),
        ([[math.nan, 0.5], [0.5, 0.5]], "not be negative, got nan at index (0, 0)."),
        ([[math.inf, 0.5], [0.5, 0.5]], "sum to 1 along its last axis, got inf at index (0,)."),
    ],
)
def test_cross_entropy_rejects_what_are_no_probabilities(p, message):
    with pytest.raises(ValueError, match=re.escape(f"y_pred must {message}")):
        cross_entropy([0, 1], p)
    cross_entropy([0, 1], p, from_logits=True)  # as logits they are fine


def test_one_row_without_a_batch():
    np.testing.assert_allclose(to_numpy(cross_entropy(1, [0.5, 0.5])), math.log(2), **CLOSE)
    with pytest.raises(ValueError, match=r"y_true must hold classes from 0 to 1, got 2\."):
        cross_entropy(2, [0.5, 0.5])


@pytest.mark.parametrize("function", [binary_cross_entropy, focal_loss])
@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_binary_losses_reject_probabilities(function, p):
    message = rf"y_pred must lie between 0 and 1, got {p:g} at index \(1,\)\."
    with pytest.raises(ValueError, match=message):
        function([1.0, 0.0], [0.5, p])


@pytest.mark.parametrize("label", [-1.0, 2.0, math.nan])
def test_binary_losses_reject_labels(label):
    message = rf"y_true must lie between 0 and 1, got {label:g} at index \(0,\)\."
    with pytest.raises(ValueError, match=message):
        binary_cross_entropy([label, 0.0], [0.5, 0.5])


@pytest.mark.parametrize("label", [0.5, 2.0, math.nan])
def test_focal_loss_rejects_labels(label):
    with pytest.raises(ValueError, match=rf"y_true must be 0 or 1, got {label:g} at index \(0,\)"):
        focal_loss([label, 0.0], [0.5, 0.5])

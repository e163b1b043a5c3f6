"""What losses share: rows of truth and predictions, the values of labels, and reductions."""

import keras
import numpy as np
import pytest
from keras import ops
from support import compiled, to_numpy

from cnnbook._shared import labels
from cnnbook.distillation import distillation_loss, distillation_loss_gradient
from cnnbook.losses import (
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_gradient,
    focal_loss,
    mean_squared_error,
)


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 2), ("sum", 6), ("none", [1, 2, 3])])
def test_reduce(reduction, expected):
    np.testing.assert_array_equal(
        to_numpy(labels.reduce(ops.array([1.0, 2.0, 3.0]), reduction)), (expected)
    )


@pytest.mark.parametrize("reduction", ["average", None, 1, True, ["mean"]])
def test_unknown_reduction(reduction):
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got"):
        labels.require_reduction(reduction)


def test_gradient_of_a_mean_is_divided_by_the_rows():
    gradient = ops.ones((2, 5, 3))
    got = to_numpy(labels.reduce_gradient(gradient, "mean"))
    np.testing.assert_allclose(got, np.full((2, 5, 3), 0.1), rtol=1e-6)
    for reduction in ("sum", "none"):
        assert labels.reduce_gradient(gradient, reduction) is gradient


def test_many_rows_in_half_precision_are_counted_exactly():
    gradient = ops.ones((4096, 2), dtype="float16")  # a float16 cannot count beyond 2048
    got = to_numpy(labels.reduce_gradient(gradient, "mean"))
    np.testing.assert_array_equal(got, np.full((4096, 2), 1 / 4096, "float16"))


@pytest.mark.parametrize(
    ("shape", "other", "fit"),
    [
        ((2, 3), (2, 3), True),
        ((None, 3), (2, 3), True),
        ((2, 3), (2, None), True),
        ((2, 3), (3, 3), False),
        ((2,), (2, 1), False),
    ],
)
def test_fits(shape, other, fit):
    assert labels.fits(shape, other) is fit


def test_values_are_known_outside_of_compiled_functions_only():
    seen = []

    def watch(x):
        seen.append(labels.values_of(x))
        return x

    watch(ops.array([1, 2]))
    np.testing.assert_array_equal(seen.pop(), [1, 2])
    compiled(watch)(ops.array([1, 2]))
    assert seen and seen[0] is None
    assert labels.values_of(keras.KerasTensor((3,))) is None


def test_values_of_half_precision():
    np.testing.assert_array_equal(labels.values_of(ops.cast([0.5, 2.0], "bfloat16")), [0.5, 2.0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_label_256(dtype):
    """Of 257 classes the last: 256 must not become 0 on the way; a uint8 cannot hold it."""
    last = 255 if dtype == "uint8" else 256
    hot = to_numpy(labels.one_hot(ops.convert_to_tensor(np.array([last], dtype)), 257))
    assert hot.shape == (1, 257) and hot[0, last] == 1 and hot.sum() == 1


def test_label_256_of_256_classes_is_refused():
    with pytest.raises(ValueError, match=r"y_true must hold classes from 0 to 255, got 256 at"):
        cross_entropy(np.array([256]), np.full((1, 256), 1 / 256))


def test_label_255_is_not_minus_one():
    with pytest.raises(ValueError, match=r"y_true must hold classes from 0 to 2, got 255 at"):
        cross_entropy(np.array([255], "uint8"), np.full((1, 3), 1 / 3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_probabilities_of_half_precision(dtype):
    """Rows that sum to 1 as well as 16 bits can, and rows that do not."""
    rows = np.random.default_rng(0).dirichlet(np.ones(10), 20)
    expected = to_numpy(cross_entropy(np.arange(20) % 10, rows))
    got = to_numpy(ops.cast(cross_entropy(np.arange(20) % 10, ops.cast(rows, dtype)), "float32"))
    np.testing.assert_allclose(got, expected, rtol=0.02)
    with pytest.raises(ValueError, match="y_pred must sum to 1 along its last axis"):
        cross_entropy([0], ops.cast([[0.5, 0.47]], dtype))


LOSSES = {
    "cross_entropy": (lambda y, z: cross_entropy(y, z, from_logits=True), (None,), (None, 3)),
    "cross_entropy of rows": (lambda y, p: cross_entropy(y, p), (None, 3), (None, 3)),
    "cross_entropy_gradient": (cross_entropy_gradient, (None,), (None, 3)),
    "binary_cross_entropy": (binary_cross_entropy, (None,), (None,)),
    "focal_loss": (focal_loss, (None, 3), (None, 3)),
    "mean_squared_error": (mean_squared_error, (None, 3), (None, 3)),
    "distillation_loss": (lambda y, z: distillation_loss(y, z, z), (None,), (None, 3)),
    "distillation_loss_gradient": (
        lambda y, z: distillation_loss_gradient(y, z, z),
        (None,),
        (None, 3),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_symbolic_tensors(name):
    function, y_shape, shape = LOSSES[name]
    y_type = "int32" if len(y_shape) < len(shape) else "float32"
    y, scores = keras.Input(y_shape[1:], dtype=y_type), keras.Input(shape[1:])
    symbolic = function(y, scores)
    assert isinstance(symbolic, keras.KerasTensor)
    network = keras.Model([y, scores], symbolic)
    truth = np.array([0, 2]) if y_type == "int32" else np.eye(3, dtype="float32")[:2]
    given = np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]], "float32")
    if len(shape) == 1:
        truth, given = truth[:, 0], given[:, 0]
    expected = to_numpy(function(truth, given))
    got = to_numpy(network([ops.convert_to_tensor(truth), ops.convert_to_tensor(given)]))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_no_classes():
    for shape in ((), (2, 0)):
        with pytest.raises(ValueError, match="logits must have an axis of classes, got shape"):
            cross_entropy_gradient([0, 1], np.ones(shape))


@pytest.mark.parametrize("flag", ["False", 0, None, "no"])
@pytest.mark.parametrize("function", [cross_entropy, binary_cross_entropy, focal_loss])
def test_from_logits_is_a_flag(function, flag):
    y = np.eye(2, dtype="float32")
    with pytest.raises(ValueError, match="from_logits must be True or False, got"):
        function(y, y, from_logits=flag)

"""The truth and the predictions that losses compare: shapes, values, classes and reductions."""

import keras
import numpy as np
from keras import ops

from cnnbook._shared import arguments
from cnnbook._shared.tracing import values_of

REDUCTIONS = ("mean", "sum", "none")


def require_reduction(reduction):
    arguments.choice("reduction", reduction, REDUCTIONS)


def reduce(losses, reduction):
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)


def reduce_gradient(gradient, reduction):
    """The gradient of reduced losses, from that of each row's own loss."""
    if reduction != "mean":
        return gradient
    rows = ops.sum(ops.ones_like(gradient[..., 0], dtype="float32"))  # a traced size may be None
    return gradient / ops.cast(rows, gradient.dtype)


def fits(shape, other):
    """Whether the shapes are equal as far as they are known: while traced, sizes may be None."""
    return len(shape) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


def require_same_shape(name, tensor, other_name, other):
    if not fits(tensor.shape, other.shape):
        raise ValueError(
            f"{name} must have the shape of {other_name} {tuple(other.shape)}, "
            f"got {tuple(tensor.shape)}."
        )


def require_values(name, values, is_right, expectation):
    if not np.all(is_right):  # NaN is never right
        index = tuple(int(i) for i in np.argwhere(~is_right)[0])
        place = f" at index {index}" if index else ""
        raise ValueError(f"{name} must {expectation}, got {values[index]:g}{place}.")


def require_between_0_and_1(name, tensor):
    values = values_of(tensor)
    if values is not None:
        require_values(name, values, (values >= 0) & (values <= 1), "lie between 0 and 1")


def require_distributions(name, tensor):
    """Rows that are not negative and sum to 1, as far as their dtype can tell."""
    values = values_of(tensor)
    if values is None:
        return
    short = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    sums = values.sum(axis=-1)
    require_values(name, values, values >= 0, "not be negative")
    is_one = np.abs(sums - 1) <= (1e-2 if short else 1e-3)
    require_values(name, sums, is_one, "sum to 1 along its last axis")


def one_hot(labels, classes):
    """Rows of 0 and 1; those of a label out of range, which no check has seen, are NaN."""
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise ValueError(
            f"y_true of shape {tuple(labels.shape)} must hold integers, one class for each row, "
            f"got dtype {dtype}."
        )
    values = values_of(labels)
    if values is not None:
        is_class = (values >= 0) & (values < classes)
        require_values("y_true", values, is_class, f"hold classes from 0 to {classes - 1}")
    labels = ops.expand_dims(ops.cast(labels, "int32"), axis=-1)
    is_class = ops.logical_and(labels >= 0, labels < classes)
    hot = ops.equal(labels, ops.arange(classes, dtype="int32"))
    return ops.where(is_class, ops.cast(hot, "float32"), np.nan)


def rows(y_true, y_pred, name):
    """The truth as rows of the predictions' shape, and the predictions, both as floats."""
    labels = arguments.as_tensor("y_true", y_true)
    scores = arguments.as_float(**{name: y_pred})
    shape = tuple(scores.shape)
    if not shape or not shape[-1]:
        raise ValueError(f"{name} must have an axis of classes, got shape {shape}.")
    if fits(labels.shape, shape):
        require_distributions("y_true", labels)
        return arguments.as_float(**{"y_true": labels, name: scores})
    if fits(labels.shape, shape[:-1]):
        return ops.cast(one_hot(labels, shape[-1]), scores.dtype), scores
    raise ValueError(
        f"y_true must have the shape of {name} {shape} or, with integers, {shape[:-1]}, "
        f"got {tuple(labels.shape)}."
    )

"""Batches of a training run, and the sums that are kept over them."""

import inspect

import keras
import numpy as np
from keras import ops


def epochs_of(name, data, batch_size):
    """(function(order seed or None) -> batches of one epoch, number of batches or None)."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and hasattr(data[0], "shape"):
        x, y = (np.asarray(ops.convert_to_numpy(a)) for a in data)
        if len(x) != len(y) or not len(x):
            raise ValueError(f"{name} has {len(x)} images and {len(y)} labels.")

        def batches(order_seed):
            order = np.arange(len(x))
            if order_seed is not None:
                order = np.random.default_rng(order_seed).permutation(len(x))
            for start in range(0, len(x), batch_size):
                chosen = order[start : start + batch_size]
                yield x[chosen], y[chosen]

        return batches, -(-len(x) // batch_size)
    if isinstance(data, keras.utils.PyDataset):
        return lambda _: (data[i] for i in range(data.num_batches)), data.num_batches
    if not hasattr(data, "__iter__") or iter(data) is data:
        raise ValueError(
            f"{name} must be (images, labels) or batches that can be gone through once an epoch, "
            f"got {type(data).__name__}."
        )
    return lambda _: data, len(data) if hasattr(data, "__len__") else None


def floats(x):
    """Integer images become floats, with the same numbers."""
    x = ops.convert_to_tensor(x)
    integer = not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
    return ops.cast(x, keras.config.floatx()) if integer else x


def augmented(augment, x, y, seed):
    """augment(x), with `labels` and `seed` where the function takes them."""
    names = inspect.signature(augment).parameters
    options = {"seed": seed} if "seed" in names else {}
    if "labels" in names:
        return augment(x, y, **options)
    return augment(x, **options), y


class Totals:
    """Sums over the batches of an epoch, as Python floats."""

    def __init__(self, record=None):
        self.images, self.labels, self.loss, self.hits = record or (0, 0, 0.0, 0)

    def record(self):
        return [self.images, self.labels, self.loss, self.hits]

    def add(self, y, loss, classes):
        self.images += len(y)
        self.loss += float(loss) * len(y)
        truth = _true_classes(y, tuple(classes.shape))
        if truth is not None:
            self.hits += int(np.sum(truth == ops.convert_to_numpy(classes)))
            self.labels += truth.size

    def means(self):
        means = {"loss": self.loss / self.images}
        return means | ({"accuracy": self.hits / self.labels} if self.labels else {})


def _true_classes(y, shape):
    """Integer labels as they are; the largest of label vectors that sum to one; else None."""
    y = np.asarray(ops.convert_to_numpy(y))
    if not shape:
        return None
    if y.shape == shape and y.dtype.kind in "iu":
        return y
    if y.shape == (*shape, 1) and y.dtype.kind in "iu":
        return y[..., 0]
    vectors = y.shape[:-1] == shape and y.min(initial=0) >= 0
    return y.argmax(axis=-1) if vectors and np.allclose(y.sum(axis=-1), 1, atol=1e-3) else None

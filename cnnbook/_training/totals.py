"""The sums that a training run keeps over the batches of an epoch."""

import numpy as np
from keras import ops


class Totals:
    """Sums over the batches of an epoch, as Python numbers."""

    def __init__(self, record=None):
        self.images, self.labels, self.loss, self.hits = record or (0, 0, 0.0, 0)

    def record(self):
        return [self.images, self.labels, self.loss, self.hits]

    def add(self, count, y, loss, classes):
        self.images += count
        self.loss += loss * count
        truth = _true_classes(y, tuple(classes.shape))
        if truth is not None:
            self.hits += int(np.sum(truth == ops.convert_to_numpy(classes)))
            self.labels += truth.size

    def means(self):
        means = {"loss": self.loss / self.images}
        return means | ({"accuracy": self.hits / self.labels} if self.labels else {})


def _true_classes(y, shape):
    """Integer labels as they are; the largest of label vectors that sum to one; else None."""
    if not shape or isinstance(y, (list, dict)):
        return None
    y = np.asarray(ops.convert_to_numpy(y))
    if y.shape == shape and y.dtype.kind in "iu":
        return y
    if y.shape == (*shape, 1) and y.dtype.kind in "iu":
        return y[..., 0]
    vectors = y.shape[:-1] == shape and y.min(initial=0) >= 0
    return y.argmax(axis=-1) if vectors and np.allclose(y.sum(axis=-1), 1, atol=1e-3) else None

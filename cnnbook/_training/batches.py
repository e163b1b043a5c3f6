"""Batches of a training run: arrays in a drawn order, or what can be gone through once an epoch."""

import itertools
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

ENDLESS = itertools.cycle, itertools.count, itertools.repeat


def each(function, part):
    """The function of every array of a part: of one array, or of several in a list or a dict."""
    if isinstance(part, Mapping):
        return {name: function(array) for name, array in part.items()}
    if isinstance(part, (list, tuple)) and part and all(_is_array(a) for a in part):
        return [function(array) for array in part]
    return function(part)


def _is_array(value):
    return hasattr(value, "shape") and len(value.shape) > 0


def arrays(part):
    """The arrays of a part, in a list."""
    found = []
    each(found.append, part)
    return found


def as_tensor(array):
    """A tensor of the backend's own, also of another library's."""
    return ops.convert_to_tensor(array if ops.is_tensor(array) else np.asarray(array))


def as_floats(array):
    """Integer images become floats, with the same numbers."""
    x = as_tensor(array)
    integer = not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
    return ops.cast(x, keras.config.floatx()) if integer else x


def _as_numpy(array):
    return np.asarray(ops.convert_to_numpy(array))


def batches_of(name, data, batch_size):
    """Arrays or a Stream, whatever the data are."""
    is_group = isinstance(data, (tuple, list)) and len(data) in (2, 3)
    if is_group and not all(isinstance(part, (tuple, list)) for part in data):
        return Arrays(name, data, batch_size)
    return Stream(name, data)


def _parts(name, group):
    """(images, labels, sample weights or None) of equal length."""
    if not isinstance(group, (tuple, list)) or len(group) not in (2, 3):
        size = f" of {len(group)}" if isinstance(group, (tuple, list)) else ""
        raise ValueError(
            f"{name} must give (x, y) or (x, y, sample_weight), got {type(group).__name__}{size}."
        )
    weights = group[2] if len(group) == 3 else None
    counts = []
    for part in group[: 2 if weights is None else 3]:
        found = arrays(part)
        if not found or not all(np.ndim(array) for array in found):
            raise ValueError(f"{name} must be arrays with one row for each image, got {part!r}.")
        counts.append({len(array) for array in found})
    if len(set.union(*counts)) > 1 or not min(counts[0]):
        shown = [" or ".join(map(str, sorted(found))) for found in counts]
        kinds = zip(shown, ("images", "labels", "sample weights"), strict=False)
        raise ValueError(f"{name} has {' and '.join(f'{n} {kind}' for n, kind in kinds)}.")
    return group[0], group[1], weights


class Arrays:
    """Images, labels and perhaps weights, of which every epoch takes batches in its own order."""

    def __init__(self, name, data, batch_size):
        parts = [None if part is None else each(_as_numpy, part) for part in data]
        self.x, self.y, self.weights = _parts(name, parts)
        self.batch_size = batch_size
        self.size = len(arrays(self.x)[0])
        self.count = -(-self.size // batch_size)

    def order(self, seed):
        """The order of the images: drawn from the seed, or their own for None."""
        if seed is None:
            return np.arange(self.size)
        return np.random.default_rng(seed).permutation(self.size)

    def batch(self, order, index):
        """Batch number `index` in that order: (images, labels, weights or None)."""
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        parts = self.x, self.y, self.weights
        return tuple(None if p is None else each(lambda a: a[chosen], p) for p in parts)

    def epoch(self, seed):
        order = self.order(seed)
        return (self.batch(order, index) for index in range(self.count))


class Stream:
    """Batches of the caller's, in their own order."""

    def __init__(self, name, data):
        self.name, self.data = name, data
        if isinstance(data, ENDLESS):
            raise ValueError(f"{name} is endless: {type(data).__name__} has no last batch.")
        is_dataset = isinstance(data, keras.utils.PyDataset)
        if not is_dataset and (not hasattr(data, "__iter__") or iter(data) is data):
            raise ValueError(
                f"{name} must be (images, labels) or batches that can be gone through once an "
                f"epoch, got {type(data).__name__}."
            )
        self.count = self.size = self._known_count()
        if self.count is None and next(iter(data), None) is None or self.count == 0:
            raise ValueError(f"{name} has no batches.")

    def _known_count(self):
        """The number of batches, or None where only going through them can tell."""
        if isinstance(self.data, keras.utils.PyDataset):
            count = self.data.num_batches
            is_endless = count is None
        elif hasattr(self.data, "cardinality"):  # of tf.data: -1 is infinite, -2 is unknown
            count = int(self.data.cardinality())
            is_endless = count == -1
        else:
            try:
                return len(self.data)
            except TypeError:
                return None
        if is_endless:
            raise ValueError(
                f"{self.name} is endless, so that no epoch would end: take as many batches as an "
                "epoch should have."
            )
        return None if count < 0 else count

    def epoch(self, seed):
        """Batches of one epoch: a training epoch has a seed, which they need not heed."""
        batches, is_dataset = self.data, isinstance(self.data, keras.utils.PyDataset)
        if is_dataset:
            batches = (self.data[index] for index in range(self.count))
            if seed is not None:
                self.data.on_epoch_begin()
        for batch in batches:
            yield _parts(f"a batch of {self.name}", batch)
        if is_dataset and seed is not None:
            self.data.on_epoch_end()

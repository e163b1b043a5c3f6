"""What is done with a batch between the data and the step."""

import numpy as np

from cnnbook._training.batches import as_floats, as_tensor, each
from cnnbook._training.losses import parameters


class Preparation:
    """What is done with a batch before the step: preprocessing and augmentation."""

    def __init__(self, preprocess, augment, seed):
        self.preprocess, self.augment = preprocess, augment
        self.seed = seed
        self.takes = parameters(augment) if augment is not None else set()

    def __call__(self, batch, position=None):
        """Tensors of the batch; with the position of a training batch, augmented."""
        x, y, weights = batch
        x = each(as_floats, x)
        if self.preprocess is not None:
            x = self.preprocess(x)
        if self.augment is not None and position is not None:
            x, y = self._augmented(x, y, position)
        x, y = each(as_tensor, x), each(as_tensor, y)
        return x, y, None if weights is None else each(as_tensor, weights)

    def _augmented(self, x, y, position):
        options = {}
        if "seed" in self.takes:
            draws = np.random.SeedSequence((self.seed, *position)).generate_state(1)
            options["seed"] = int(draws[0] >> 1)
        if "labels" in self.takes:
            return self.augment(x, y, **options)
        return self.augment(x, **options), y

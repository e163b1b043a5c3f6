"""Random numbers for each image of a batch."""

import keras
from keras import ops

from cnnbook._images import checks
from cnnbook._shared import arguments

SEEDS = 2**32


def seeds(seed, count):
    """As many seeds: the generator again and again, or ints far from each other."""
    seed = arguments.as_seed(seed)
    if isinstance(seed, keras.random.SeedGenerator):
        return [seed] * count
    return [(seed + i * 0x9E3779B1) % SEEDS for i in range(count)]


def count_of(images):
    """How many images there are, an int, or a tensor while a function is traced."""
    checks.require_numbers("images", images)
    return ops.shape(images)[0]


def uniforms(images, count, seed):
    """A list of `count` draws from [0, 1) for each image."""
    drawn = keras.random.uniform(
        (count_of(images), count), dtype="float32", seed=arguments.as_seed(seed)
    )
    return [drawn[:, k] for k in range(count)]


def scaled(uniform, low, high):
    return low + (high - low) * uniform


def integers(uniform, count):
    """Whole numbers, stored as floats, from 0 to count - 1; count may be a tensor."""
    return ops.minimum(ops.floor(uniform * count), count - 1)


def mixing(images, alpha, seed):
    """For each image: lambda from Beta(alpha, alpha), a partner, and two draws from [0, 1).

    Beta is the share of one of two gamma draws in their sum. Its logarithm is formed by
    Gamma(a) = Gamma(a + 1) u^(1/a), so that a small alpha does not give 0 / 0.
    """
    of_gamma, of_uniform = seeds(seed, 2)
    n = count_of(images)
    gammas = keras.random.gamma((n, 2), alpha + 1.0, dtype="float32", seed=of_gamma)
    first, second, order, *others = uniforms(images, 5, of_uniform)
    logs = ops.log(gammas) + ops.log(1.0 - ops.stack([first, second], axis=1)) / alpha
    return ops.sigmoid(logs[:, 0] - logs[:, 1]), ops.argsort(order), others


def of_partners(x, partner):
    return x if x.shape[0] == 0 else ops.take(x, partner, axis=0)


def per_image(values, like):
    """(N,) to (N, 1, ..., 1), in the dtype of the images."""
    return ops.cast(ops.reshape(values, (-1,) + (1,) * (len(like.shape) - 1)), like.dtype)

"""Exercises of chapter 04, normalization."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

BATCH = np.array([2.0, 4.0, 4.0, 6.0])
BATCH_MEANS = (10.0, 20.0, 30.0)


def normalized_six(*, ddof=0, power=0.5):
    return 2.0 * (6.0 - BATCH.mean()) / BATCH.var(ddof=ddof) ** power + 1.0


def moving_means(kept):
    moving, history = 0.0, []
    for mean in BATCH_MEANS:
        moving = kept * moving + (1 - kept) * mean
        history.append(moving)
    return np.array(history)


def normalize_over(axes, *, ddof=0):
    def norm(x):
        mean = x.mean(axis=axes, keepdims=True)
        return (x - mean) / np.sqrt(x.var(axis=axes, keepdims=True, ddof=ddof) + 1e-3)

    return norm


def fold_before(kernel, mean, variance):
    scale = 1 / np.sqrt(variance + 1e-3)
    return np.vstack([kernel * scale[:, None], -(mean * scale) @ kernel])


def scaled_outputs(kernel, mean, variance):
    scale = 1 / np.sqrt(variance + 1e-3)
    return np.vstack([kernel * scale, -(mean * scale) @ kernel])


def without_bias(kernel, mean, variance):
    scale = 1 / np.sqrt(variance + 1e-3)
    return np.vstack([kernel * scale[:, None], np.zeros(kernel.shape[1])])


def mean_not_scaled(kernel, mean, variance):
    scale = 1 / np.sqrt(variance + 1e-3)
    return np.vstack([kernel * scale[:, None], -mean @ kernel])


def without_root(kernel, mean, variance):
    scale = 1 / (variance + 1e-3)
    return np.vstack([kernel * scale[:, None], -(mean * scale) @ kernel])


def dense_case(rng):
    return rng.normal(size=(3, 3)), rng.normal(size=3), rng.uniform(0.5, 2.0, 3)


EXERCISES = {
    "normalization-1": Number(
        normalized_six,
        hint="Mean, biased variance, normalize, and only then gamma and beta.",
        mistakes=[
            (normalized_six(ddof=1), "The variance divides by the number of values, not one less."),
            (normalized_six(power=1.0), "Divide by the standard deviation, not by the variance."),
            ((normalized_six() - 1.0) / 2.0, "That is x-hat: gamma and beta are still to come."),
            ((6.0 - 4.0) * 2.0 + 1.0, "The division by the standard deviation is missing."),
        ],
    ),
    "normalization-2": Array(
        lambda: moving_means(0.9),
        hint="In PyTorch, momentum is the weight of the new value.",
        mistakes=[
            (moving_means(0.1), "That keeps a tenth of the old value, Keras's reading of 0.1."),
            (moving_means(0.99), "That is Keras's default momentum, not the one asked for."),
            (np.array([10.0, 15.0, 20.0]), "That is the plain average of the batches so far."),
        ],
    ),
    "normalization-3": Function(
        normalize_over((1, 2)),
        lambda rng: (rng.normal(1.0, 2.0, size=(2, 3, 4, 2)),),
        hint="Keep the image and the channel, average over the rest, with the biased variance.",
        mistakes=[
            (normalize_over((0, 1, 2)), "That is batch normalization: it mixes the images."),
            (normalize_over((1, 2, 3)), "That mixes the channels: group normalization, one group."),
            (normalize_over(3), "That is layer normalization over the channels of each pixel."),
            (normalize_over((1, 2), ddof=1), "The variance is the biased one."),
        ],
    ),
    "normalization-4": Function(
        fold_before,
        dense_case,
        hint="Write the dense layer's output with (x - mean) / deviation in place of x and sort.",
        mistakes=[
            (scaled_outputs, "The scale belongs to the inputs, which are the rows of the kernel."),
            (without_bias, "The mean leaves a constant behind, which is the new bias."),
            (mean_not_scaled, "The mean, too, is divided by the deviation before the kernel."),
            (without_root, "The scale is one over the root of the variance plus epsilon."),
        ],
    ),
}

"""Exercises of chapter 05, dropout."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

VALUES = np.array([2.0, -4.0, 6.0, 8.0])
MASK = np.array([1.0, 0.0, 1.0, 1.0])


def gradient_case(rng):
    mask = (rng.uniform(size=(2, 5)) < 0.6).astype("float64")
    mask[0, 0], mask[0, 1] = 0.0, 1.0
    return rng.normal(size=(2, 5)), mask, float(rng.uniform(0.1, 0.4))


def map_mask_case(rng):
    keep = (rng.uniform(size=(2, 3)) < 0.5).astype("float64")
    keep[0, 0], keep[0, 1] = 0.0, 1.0
    return rng.normal(size=(2, 2, 2, 3)), keep, float(rng.uniform(0.1, 0.4))


EXERCISES = {
    "dropout-1": Array(
        lambda: VALUES * MASK / 0.8,
        hint="What is kept is divided by the probability to keep.",
        mistakes=[
            (VALUES * MASK, "The division by the probability to keep is missing."),
            (VALUES * MASK / 0.2, "That divides by the rate, the probability to drop."),
            (VALUES * (1 - MASK) / 0.8, "That keeps where the mask is 0."),
            (VALUES * MASK * 0.8, "That multiplies; the expectation would shrink twice."),
        ],
    ),
    "dropout-2": Number(
        lambda: 9.0 * 0.25 / 0.75,
        hint="The output has two values: write both with their probabilities.",
        mistakes=[
            (9.0 * 0.25 * 0.75, "That is the variance without the division by p."),
            ((9.0 * 0.25 / 0.75) ** 0.5, "That is the standard deviation."),
            (3.0 * 0.25 / 0.75, "The variance grows with the square of the activation."),
            (9.0 * 0.75 / 0.25, "Keep and drop are exchanged."),
        ],
    ),
    "dropout-3": Function(
        lambda dy, mask, rate: dy * mask / (1 - rate),
        gradient_case,
        hint="The output is the input times a number that does not depend on the input.",
        mistakes=[
            (lambda dy, mask, rate: dy * mask, "The forward pass divides: so does the gradient."),
            (lambda dy, mask, rate: dy / (1 - rate), "What was dropped had no influence on y."),
            (lambda dy, mask, rate: dy * mask / rate, "That divides by the rate instead of p."),
            (lambda dy, mask, rate: dy, "That is the gradient without dropout."),
        ],
    ),
    "dropout-4": Function(
        lambda x, keep, rate: x * keep[:, None, None, :] / (1 - rate),
        map_mask_case,
        hint="The mask has an image axis and a channel axis; the pixels lie between them.",
        mistakes=[
            (lambda x, keep, rate: x * keep[:, None, None, :], "The division by p is missing."),
            (
                lambda x, keep, rate: x * keep[0] / (1 - rate),
                "That drops the same maps in every image.",
            ),
            (
                lambda x, keep, rate: x * (1 - keep[:, None, None, :]) / (1 - rate),
                "That drops the maps that are to be kept.",
            ),
        ],
    ),
}

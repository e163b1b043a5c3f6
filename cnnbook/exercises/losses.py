"""The exercises of chapter 10."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

LOG2 = np.log(2.0)
GRADIENT = np.array([[-3 / 8, 3 / 8], [1 / 4, -1 / 4]])


def binary_from_logits(y, z):
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def _draw_questions(rng):
    n = int(rng.integers(2, 9))
    return rng.integers(2, size=n), rng.normal(size=n) * rng.choice([1.0, 2000.0])


EXERCISES = {
    "losses-1": Number(
        lambda: 2 * LOG2,
        hint="Minus the natural logarithm of each true class's probability, then the average.",
        mistakes=[
            (4 * LOG2, "that is the sum over both examples."),
            (2.0, "the logarithm has base 2; here it is the natural one."),
            (-np.log(5 / 16), "the probabilities were averaged before the logarithm."),
            (-2 * LOG2, "the sign is wrong: a loss is not negative."),
        ],
    ),
    "losses-2": Array(
        lambda: GRADIENT,
        hint="Probability minus truth, row by row, and then the factor of the mean.",
        mistakes=[
            (2 * GRADIENT, "that is the gradient of the sum over the batch."),
            (-GRADIENT, "the sign is wrong: this climbs the loss."),
            (
                np.array([[1 / 8, 3 / 8], [1 / 4, 1 / 4]]),
                "these are probabilities; the labels have not entered.",
            ),
            (GRADIENT / 2, "the factor counts the rows, not all values."),
        ],
    ),
    "losses-3": Number(
        lambda: -0.9 * np.log(0.9) - 0.1 * np.log(0.1),
        hint="Smooth the label; the loss is least where the gradient, p - y', is zero.",
        mistakes=[
            (0.0, "no prediction agrees with a smoothed label at no cost."),
            (-np.log(0.9), "the other class has a share of the label too."),
            (
                -0.8 * np.log(0.8) - 0.2 * np.log(0.2),
                "the share is spread over both classes, the true one included.",
            ),
        ],
    ),
    "losses-4": Function(
        binary_from_logits,
        _draw_questions,
        hint="Never form the exponential of a large positive number; then take the mean.",
        mistakes=[
            (
                lambda y, z: binary_from_logits(y, z) * len(z),
                "that is the sum; the mean is asked for.",
            ),
            (lambda y, z: binary_from_logits(1 - y, z), "yes and no are exchanged."),
            (
                lambda y, z: binary_from_logits(0, z),
                "this is the loss if every answer were no; the labels have not entered.",
            ),
        ],
    ),
}

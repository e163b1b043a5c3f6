"""The exercises of chapter 12."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def clip_factor(limit, *gradients):
    return min(1.0, limit / np.sqrt(sum(np.sum(g**2) for g in gradients)))


def _draw_gradients(rng):
    shapes = [(3, 4), (4,), (4, 2), (2,)][: int(rng.integers(2, 5))]
    gradients = [rng.normal(size=shape) for shape in shapes]
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
    return float(rng.uniform(0.2, 2.0) * norm), *gradients


EXERCISES = {
    "training-1": Number(
        lambda: 115.0,
        hint="The last batch of an epoch is smaller, but it is a step as well.",
        mistakes=[
            (110.0, "the last, smaller batch of each epoch is a step, too."),
            (1437 / 64 * 5, "a batch is taken or not; there are no fractions of a step."),
            (23.0, "that is one epoch."),
        ],
    ),
    "training-2": Array(
        lambda: np.array([-4.0, -3.0]),
        hint="Twice the error times the input, and then the mean over the images.",
        mistakes=[
            ([-8.0, -6.0], "that is the sum over the two images; the loss is their mean."),
            ([4.0, 3.0], "the sign is wrong: prediction minus truth is negative here."),
            ([-2.0, -1.5], "a factor of 2 is missing: the error is squared."),
        ],
    ),
    "training-3": Number(
        lambda: float(np.log(100)),
        hint="A network that knows nothing gives every class the same probability.",
        mistakes=[
            (float(np.log10(100)), "the natural logarithm is meant."),
            (-float(np.log(100)), "a loss is not negative."),
            (0.01, "that is the probability, not its loss."),
            (0.99, "that is the share of wrong answers, not the cross-entropy."),
        ],
    ),
    "training-4": Function(
        clip_factor,
        _draw_gradients,
        hint="One norm over all entries of all arrays, and one factor, at most 1, for all.",
        mistakes=[
            (
                lambda limit, *gradients: limit / np.sqrt(sum(np.sum(g**2) for g in gradients)),
                "short gradients must stay as they are: no factor is above 1.",
            ),
            (
                lambda limit, *gradients: min(1.0, limit / np.linalg.norm(gradients[0])),
                "that is the norm of the first array alone.",
            ),
            (
                lambda limit, *gradients: min(1.0, limit / sum(map(np.linalg.norm, gradients))),
                "norms of parts do not add up; their squares do.",
            ),
            (
                lambda limit, *gradients: min(1.0, limit / sum(np.sum(g**2) for g in gradients)),
                "that is the square of the norm.",
            ),
        ],
    ),
}

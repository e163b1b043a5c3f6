"""The exercises of chapter 07."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

LOGITS = np.log([1.0, 3.0, 4.0])


def logits_gradient(logits, labels):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    return p - np.eye(logits.shape[1])[labels]


def _without_labels(logits, labels):
    return logits_gradient(logits, labels) + np.eye(logits.shape[1])[labels]


def _draw_batch(rng):
    n, classes = (int(v) for v in rng.integers(2, 6, 2))
    return rng.normal(size=(n, classes)), rng.integers(classes, size=n)


def best_temperature(logits, labels, temperatures):
    return min(temperatures, key=lambda t: _mean_loss(logits / t, labels))


def _mean_loss(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    totals = np.log(np.exp(shifted).sum(axis=1))
    return np.mean(totals - shifted[np.arange(len(labels)), labels])


def _draw_judgment(rng):
    labels = rng.integers(4, size=60)
    logits = rng.normal(size=(60, 4)) + 2 * np.eye(4)[labels]
    return logits * rng.choice([0.3, 3.0]), labels, np.array([0.125, 0.25, 0.5, 1.0, 2.0, 4.0])


EXERCISES = {
    "softmax-1": Array(
        lambda: np.array([1.0, 9.0, 16.0]) / 26,
        hint="The exponential of twice a logarithm is the square of the number.",
        mistakes=[
            (
                np.exp(LOGITS) / 8,
                "that is right at temperature 1; the logits must be scaled first.",
            ),
            (
                np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum(),
                "the logits were multiplied by the temperature.",
            ),
            (
                LOGITS / LOGITS.sum(),
                "the logits are divided by their sum; take exponentials first.",
            ),
            (np.exp(2 * LOGITS), "these are the exponentials; they do not sum to 1 yet."),
        ],
    ),
    "softmax-2": Number(
        lambda: 3.0,
        hint="The ratio of two probabilities is the exponential of a difference over T.",
        mistakes=[
            (1 / 3, "that is its inverse: the logits are divided by T."),
            (4.0, "that is the ratio of the ratios; a temperature acts on the logits."),
            (np.log(8.0) / 2, "the ratio is asked to become 2, not e to the power of 2."),
        ],
    ),
    "softmax-3": Function(
        logits_gradient,
        _draw_batch,
        hint="Probabilities minus the one-hot label, row by row, for the sum over the batch.",
        mistakes=[
            (lambda z, y: -logits_gradient(z, y), "the sign is wrong: this climbs the loss."),
            (_without_labels, "these are the probabilities; the label has not entered."),
            (
                lambda z, y: logits_gradient(z, y) / len(z),
                "that is the gradient of the mean over the batch; the sum is asked for.",
            ),
        ],
    ),
    "softmax-4": Function(
        best_temperature,
        _draw_judgment,
        hint="Divide the logits by each temperature, and compare the mean losses.",
        mistakes=[
            (
                lambda z, y, grid: min(grid, key=lambda t: _mean_loss(z * t, y)),
                "the logits were multiplied by the temperature.",
            ),
            (
                lambda z, y, grid: max(grid, key=lambda t: _mean_loss(z / t, y)),
                "that is the temperature with the highest loss.",
            ),
            (
                lambda z, y, grid: np.argmin([_mean_loss(z / t, y) for t in grid]),
                "that is its place in the list, not the temperature.",
            ),
        ],
    ),
}

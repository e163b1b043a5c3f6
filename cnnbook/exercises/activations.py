"""Answers to the exercises of ``notebooks/02_activations.ipynb``."""

import numpy as np

from cnnbook.activations import relu, relu_gradient
from cnnbook.exercises import Array, Function, Number

X = np.array([[-3.0, 0.5], [2.0, 0.0]])
GRADIENT = np.array([[4.0, -2.0], [5.0, 7.0]])
FIRST = np.array([1.0, 2.0, -1.0])
SECOND = np.array([3.0, 0.0, 1.0])


def compose(first, second):
    """One kernel that does what two do, one after the other, in one dimension."""
    return np.convolve(first, second)


def dead_share(x):
    """The share of the columns that are not positive in any row."""
    return np.mean(~np.any(x > 0, axis=0))


def draw_columns(rng):
    x = rng.normal(size=(6, 8)) - rng.uniform(0, 2.5, size=8)
    x[:, :2] = -np.abs(x[:, :2]) - 0.1
    x[0, 2] = 1.0
    return (x,)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu_gradient(x):
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


EXERCISES = {
    "activations-1": Array(
        lambda: relu_gradient(X, GRADIENT),
        hint="Which of the four inputs were let through? Mind the one that is exactly zero.",
        mistakes=[
            (np.array([[0.0, -2.0], [5.0, 7.0]]), "At 0 the slope is, by our choice, not 1."),
            (np.array([[0.0, -2.0], [5.0, 3.5]]), "At 0 the slope is, by our choice, not 1/2."),
            (
                np.maximum(GRADIENT, 0),
                "You looked at the sign of the gradient; the sign of the input decides.",
            ),
            (np.maximum(X, 0) * GRADIENT, "You multiplied by the output; the slope is 0 or 1."),
        ],
    ),
    "activations-2": Array(
        lambda: compose(FIRST, SECOND),
        hint="Feed a single 1 through both, or multiply out w2(w1 x), position by position.",
        mistakes=[
            (FIRST * SECOND, "You multiplied entry by entry: the windows are slid, too."),
            (FIRST + SECOND, "You added the kernels: that is two layers side by side."),
            (np.correlate(FIRST, SECOND, "full"), "You turned one of the two kernels over."),
        ],
    ),
    "activations-3": Function(
        dead_share,
        draw_columns,
        hint="A unit is dead when no image wakes it: reduce over the images first.",
        mistakes=[
            (lambda x: np.mean(x <= 0), "You counted zeros; a unit that sleeps now may wake."),
            (
                lambda x: np.mean(np.any(x <= 0, axis=0)),
                "One image that leaves a unit at zero does not make it dead.",
            ),
            (
                lambda x: np.mean(~np.any(x > 0, axis=1)),
                "You reduced over the units and counted images.",
            ),
            (lambda x: np.mean(np.any(x > 0, axis=0)), "That is the share of the living."),
        ],
    ),
    "activations-4": Function(
        silu_gradient,
        lambda rng: (rng.uniform(-12, 12, size=7),),
        hint="Product rule: x times s(x), where s'(x) = s(x) (1 - s(x)).",
        mistakes=[
            (sigmoid, "That is only the first term of the product rule."),
            (
                lambda x: sigmoid(x) * (1 - sigmoid(x)),
                "That is the sigmoid's derivative; the factor x is missing.",
            ),
            (
                lambda x: sigmoid(x) + sigmoid(x) * (1 - sigmoid(x)),
                "In the second term the factor x is missing.",
            ),
            (lambda x: np.asarray(relu(x) > 0, "float64"), "That is the slope of ReLU."),
        ],
    ),
    "activations-5": Number(
        lambda: 2 * 3 * 64 * 56 * 56 / 8 / 1024,
        hint="ReLU's gradient asks one question of each input, and the answer takes a bit.",
        mistakes=[
            (2 * 3 * 64 * 56 * 56 * 4 / 1024, "You kept the inputs; their signs suffice."),
            (2 * 3 * 64 * 56 * 56 / 1024, "Eight answers fit into a byte."),
            (2 * 64 * 56 * 56 / 8 / 1024, "There are three such layers."),
            (3 * 64 * 56 * 56 / 8 / 1024, "There are two images."),
        ],
    ),
}

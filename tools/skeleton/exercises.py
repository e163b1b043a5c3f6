"""The exercises of chapter 00."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def doubled(x):
    return 2 * x


def _draw(rng):
    return (rng.normal(size=3),)


# FILL IN the chapter's exercises in place of these, at least five.
EXERCISES = {
    "skeleton-1": Number(
        lambda: 14.0,
        hint="Two sevens.",
        mistakes=[
            (7.0, "that is the number itself."),
            (49.0, "that is its square."),
            (3.5, "that is its half."),
        ],
    ),
    "skeleton-2": Array(
        lambda: np.array([2.0, 4.0]),
        hint="Each value by itself.",
        mistakes=[
            ([1.0, 2.0], "these are the values themselves."),
            ([1.0, 4.0], "these are their squares."),
            ([4.0, 2.0], "the order is not kept."),
        ],
    ),
    "skeleton-3": Function(
        doubled,
        _draw,
        hint="A value and itself make two.",
        mistakes=[
            (lambda x: x, "that is the value itself."),
            (lambda x: x**2, "that is the square."),
            (lambda x: -2 * x, "the sign is wrong."),
        ],
    ),
    "skeleton-4": Function(
        lambda x: x / 2,
        _draw,
        hint="What is asked for is the inverse of the equation.",
        mistakes=[
            (doubled, "that is the equation itself."),
            (lambda x: x, "that is the value itself."),
            (lambda x: 1 / x, "that is the inverse of the value."),
        ],
    ),
    "skeleton-5": Number(
        lambda: 8.0,
        hint="Three times in turn.",
        mistakes=[
            (6.0, "that is three times as much."),
            (2.0, "that is once."),
            (4.0, "that is two times in turn."),
        ],
    ),
}

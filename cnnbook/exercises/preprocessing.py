"""The exercises of chapter 08."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

PIXEL, MEAN, STD = (np.array(v) for v in ([120.0, 60, 90], [100.0, 50, 100], [40.0, 20, 5]))


def merge(first, second):
    (n1, mean1, m1), (n2, mean2, m2) = first, second
    n, delta = n1 + n2, mean2 - mean1
    return np.array([n, mean1 + delta * n2 / n, m1 + m2 + delta**2 * n1 * n2 / n])


def _merged(first, second, *, mean=None, squares=None):
    out = merge(first, second)
    out[1] = out[1] if mean is None else mean(*first, *second)
    out[2] = out[2] if squares is None else squares(*first, *second)
    return out


def _draw_parts(rng):
    parts = [rng.normal(size=int(rng.integers(2, 9))) + rng.integers(9) for _ in range(2)]
    return tuple(np.array([len(p), p.mean(), ((p - p.mean()) ** 2).sum()]) for p in parts)


def folded(kernel, bias, mean, std):
    kernel = kernel / std[:, None]
    return np.vstack([kernel, bias - mean @ kernel])


def _draw_layer(rng):
    channels, outputs = (int(v) for v in rng.integers(2, 5, 2))
    mean, std = rng.uniform(50, 150, channels), rng.uniform(2, 9, channels)
    return rng.normal(size=(channels, outputs)), rng.normal(size=outputs), mean, std


EXERCISES = {
    "preprocessing-1": Array(
        lambda: (PIXEL - MEAN) / STD,
        hint="Each channel has a mean and a deviation of its own.",
        mistakes=[
            ((MEAN - PIXEL) / STD, "the sign is wrong: a bright value becomes positive."),
            ((PIXEL - MEAN) / STD**2, "you divided by the variance."),
            (PIXEL / STD - MEAN, "the mean is subtracted first, in the unit of the image."),
            (PIXEL - MEAN, "the deviation has not entered."),
        ],
    ),
    "preprocessing-2": Number(
        lambda: np.var([0.0, 2.0, 5.0, 7.0]),
        hint="The distance between the two means adds to the sum of squares.",
        mistakes=[
            (1.0, "that is the mean of the two variances; the means differ, too."),
            (29.0, "that is the sum of the squares; divide by the number of values."),
            (29 / 3, "that divides by one less than the number of values."),
            (np.sqrt(7.25), "that is the standard deviation."),
        ],
    ),
    "preprocessing-3": Function(
        merge,
        _draw_parts,
        hint="Move from the first mean towards the second by the second's share of the values.",
        mistakes=[
            (
                lambda a, b: _merged(a, b, mean=lambda n, u, m, k, v, w: (u + v) / 2),
                "the two means count alike, whatever their numbers of values.",
            ),
            (
                lambda a, b: _merged(a, b, mean=lambda n, u, m, k, v, w: u + (v - u) * n / (n + k)),
                "the shares are exchanged: a long first part keeps the mean near its own.",
            ),
            (
                lambda a, b: _merged(a, b, squares=lambda n, u, m, k, v, w: m + w),
                "the distance between the two means is missing in the squares.",
            ),
            (
                lambda a, b: _merged(a, b, squares=lambda n, u, m, k, v, w: m + w + (v - u) ** 2),
                "the squared distance needs its weight.",
            ),
        ],
    ),
    "preprocessing-4": Function(
        folded,
        _draw_layer,
        hint="Write the layer of the standardized input and sort by what multiplies x.",
        mistakes=[
            (
                lambda k, b, m, s: np.vstack([k / s[:, None], b]),
                "the kernel is right; the mean has to go into the bias.",
            ),
            (
                lambda k, b, m, s: np.vstack([k / s[:, None], b + m @ (k / s[:, None])]),
                "the sign of what the mean adds to the bias is wrong.",
            ),
            (
                lambda k, b, m, s: np.vstack([k / s[:, None], b - m @ k]),
                "the mean is divided by the deviation before it meets the kernel.",
            ),
            (
                lambda k, b, m, s: np.vstack([k * s[:, None], b - m @ (k * s[:, None])]),
                "the kernel was multiplied by the deviation.",
            ),
        ],
    ),
}

"""The exercises of chapter 14."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def largest_error(x, bits):
    """Of symmetric quantization by the largest absolute value."""
    q_max = 2 ** (bits - 1) - 1
    scale = np.abs(x).max() / q_max
    return np.abs(np.round(x / scale) * scale - x).max()


def _draw_values(rng):
    return rng.normal(size=200), int(rng.integers(2, 9))


def _wide(x, bits):
    scale = np.abs(x).max() / (2**bits - 1)
    return np.abs(np.round(x / scale) * scale - x).max()


def scales_of_filters(kernel):
    """One symmetric int8 scale for each filter of a Keras kernel."""
    return np.abs(kernel).max(axis=(0, 1, 2)) / 127


def _draw_kernel(rng):
    filters = int(rng.integers(2, 6))
    return (
        rng.normal(size=(3, 3, int(rng.integers(1, 5)), filters)) * rng.uniform(0.1, 3, filters),
    )


EXERCISES = {
    "quantization-1": Array(
        lambda: np.array([0.02, -78.0]),
        hint="The range is 5.1 wide and there are 255 steps; the zero point is -128 + 1 / s.",
        mistakes=[
            (
                np.array([5.1 / 127, -103.0]),
                "from -128 to 127 there are 255 steps, not 127.",
            ),
            (
                np.array([0.02, 50.0]),
                "that is the number of steps from the minimum to 0; the integers begin at -128.",
            ),
            (
                np.array([4.1 / 127, 0.0]),
                "that is the symmetric scale, for a zero point of 0.",
            ),
        ],
    ),
    "quantization-2": Number(
        lambda: 2.0,
        hint="Subtract the input's zero point, multiply the integers, then the factor.",
        mistakes=[
            (5.0, "the zero point of the input was not subtracted."),
            (8.0, "the zero point of the input was added; minus -30 is plus 30."),
            (-4.0, "the zero point of the output was not added."),
            (-154.0, "multiply the sum by the factor 0.025 before adding the zero point."),
        ],
    ),
    "quantization-3": Function(
        scales_of_filters,
        _draw_kernel,
        hint="The largest absolute value of each filter over 127; filters are the last axis.",
        mistakes=[
            (
                lambda kernel: np.full(kernel.shape[-1], np.abs(kernel).max() / 127),
                "all filters have one scale here.",
            ),
            (
                lambda kernel: kernel.max(axis=(0, 1, 2)) / 127,
                "the largest value may be negative: take absolute values.",
            ),
            (
                lambda kernel: np.abs(kernel).max(axis=(0, 1, 2)) / 255,
                "a symmetric range reaches to both sides: 127 steps from 0 to its end.",
            ),
        ],
    ),
    "quantization-4": Function(
        largest_error,
        _draw_values,
        hint="Divide by the scale, round, multiply by it, and take the largest distance.",
        mistakes=[
            (
                lambda x, bits: np.abs(x).max() / (2 ** (bits - 1) - 1) / 2,
                "that is the bound, which these numbers do not quite reach.",
            ),
            (_wide, "with a sign only half of the integers are left for each side."),
            (
                lambda x, bits: largest_error(x, bits) / np.abs(x).max(),
                "the error was divided by the largest value; it is asked for as it is.",
            ),
        ],
    ),
}

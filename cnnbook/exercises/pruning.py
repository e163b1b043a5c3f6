"""The exercises of chapter 15."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

ROW = np.array([0.9, -0.8, 0.7, 0.1, 0.2, -0.3, 0.05, 0.6])


def global_threshold(sparsity, *kernels):
    magnitudes = np.sort(np.concatenate([np.abs(k).ravel() for k in kernels]))
    return magnitudes[int(sparsity * len(magnitudes))]


def _signed(sparsity, *kernels):
    values = np.sort(np.concatenate([k.ravel() for k in kernels]))
    return values[int(sparsity * len(values))]


def _one_too_low(sparsity, *kernels):
    magnitudes = np.sort(np.concatenate([np.abs(k).ravel() for k in kernels]))
    return magnitudes[int(sparsity * len(magnitudes)) - 1]


def _mean_of_each(sparsity, *kernels):
    return np.mean([global_threshold(sparsity, k) for k in kernels])


def _draw_kernels(rng):
    shapes = [(3, 3, 2, 4), (3, 3, 4, 5), (20, 3)][: int(rng.integers(2, 4))]
    scales = rng.uniform(0.1, 2.0, len(shapes))
    kernels = [s * rng.normal(size=shape) for s, shape in zip(scales, shapes, strict=True)]
    return float(rng.uniform(0.2, 0.95)), *kernels


EXERCISES = {
    "pruning-1": Number(
        lambda: 9 * 64 * 128 - int(0.8 * 9 * 64 * 128),
        hint="The number that goes is rounded down; the rest stays.",
        mistakes=[
            (int(0.8 * 9 * 64 * 128), "these are the weights that go."),
            (0.2 * 9 * 64 * 128, "a weight stays or goes; there are no fractions of one."),
            (int(0.2 * 9 * 64 * 128), "what goes is rounded down, not what stays."),
            (9 * 64 * 128 - int(0.8 * 9 * 64 * 128) + 128, "the biases do not belong to a kernel."),
        ],
        tolerance=1e-6,
    ),
    "pruning-2": Array(
        lambda: [1, 1, 0, 0, 0, 1, 0, 1],
        hint="Look at the first four by themselves, then at the others; signs do not count.",
        mistakes=[
            ([1, 1, 1, 0, 0, 0, 0, 1], "these are the four largest of all eight."),
            ([1, 0, 1, 0, 1, 0, 0, 1], "a large negative weight is large as well."),
            ([0, 0, 1, 1, 1, 0, 1, 0], "that is what goes."),
            ([1, 0, 1, 0, 0, 1, 0, 1], "these groups are pairs."),
        ],
    ),
    "pruning-3": Number(
        lambda: 21,
        hint="Solve for the power of the bracket first, and round to the step that reaches it.",
        mistakes=[
            (50, "that would be so on a line, with power 1."),
            (80, "that is slow at first and fast at last; the schedule is the other way round."),
            (20, "then it is not yet half."),
            (100 * (1 - 0.5 ** (1 / 3)), "steps are whole numbers."),
        ],
        tolerance=1e-6,
    ),
    "pruning-4": Number(
        lambda: 9 * 16 * 32 + 32,
        hint="Its filters are fewer, and each filter reads fewer channels.",
        mistakes=[
            (9 * 32 * 32 + 32, "the filters before it are fewer as well."),
            (9 * 16 * 64 + 64, "its own filters are fewer as well."),
            (9 * 16 * 32, "each filter that is left has a bias."),
            (9 * 16 * 32 + 64, "the biases of the filters that went are gone."),
        ],
        tolerance=1e-6,
    ),
    "pruning-5": Function(
        global_threshold,
        _draw_kernels,
        hint="Sort the magnitudes of all kernels together and count from the smallest.",
        mistakes=[
            (_signed, "signs do not count."),
            (_one_too_low, "a weight that equals the threshold stays, so one too few would go."),
            (_mean_of_each, "that is a mean of thresholds; one for all kernels is asked for."),
            (
                lambda s, *kernels: global_threshold(s, kernels[0]),
                "that is the threshold of the first kernel.",
            ),
        ],
    ),
}

"""The exercises of chapter 13."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def reorder(weight, height, width):
    pixels = weight.reshape(len(weight), -1, height, width)
    return pixels.transpose(2, 3, 1, 0).reshape(-1, len(weight))


def _with_turned_pixels(weight, height, width):
    pixels = weight.reshape(len(weight), -1, height, width)
    return pixels.transpose(3, 2, 1, 0).reshape(-1, len(weight))


def _draw_weight(rng):
    outputs, channels, height, width = (int(n) for n in rng.choice(np.arange(2, 7), 4, False))
    return rng.normal(size=(outputs, channels * height * width)), height, width


EXERCISES = {
    "industrial_cnn-1": Number(
        lambda: 16 * 16 * 128 * 256 + 256,
        hint="Two poolings halve each side twice; every output reads all places of all channels.",
        mistakes=[
            (16 * 16 * 128 * 256, "the biases are missing."),
            (8 * 8 * 128 * 256 + 256, "that is the count for the smaller images."),
            (32 * 32 * 128 * 256 + 256, "only one pooling was counted."),
            (16 * 8 * 128 * 256 + 256, "only one of the two sides has grown."),
        ],
        tolerance=1e-6,
    ),
    "industrial_cnn-2": Array(
        lambda: [(1 * 5 + 2) * 6 + 3, (3 * 4 + 1) * 5 + 2],
        hint="Count what stands before it: whole pixels in one order, whole channels in the other.",
        mistakes=[
            ([(3 * 4 + 1) * 5 + 2, (1 * 5 + 2) * 6 + 3], "the two have changed places."),
            (
                [(1 * 4 + 2) * 6 + 3, (3 * 5 + 1) * 4 + 2],
                "a row has as many pixels as there are columns, not rows.",
            ),
            (
                [(2 * 4 + 1) * 6 + 3, (3 * 5 + 2) * 4 + 1],
                "these orders go down the columns; both frameworks go along the rows.",
            ),
            ([(1 * 5 + 2) * 6 + 4, (3 * 4 + 1) * 5 + 3], "these count from one."),
        ],
    ),
    "industrial_cnn-3": Function(
        reorder,
        _draw_weight,
        hint="Give the features their three axes back, move the axes, and flatten again.",
        mistakes=[
            (lambda w, h, n: w.T, "transposed, but still in PyTorch's order."),
            (_with_turned_pixels, "Keras goes along the rows; this goes down the columns."),
            (lambda w, h, n: reorder(w, h, n).T, "Keras has a column for each output."),
            (
                lambda w, h, n: w.reshape(-1, len(w)),
                "reshaping keeps the order of the numbers; the axes must be moved.",
            ),
        ],
    ),
    "industrial_cnn-4": Number(
        lambda: 0.9 * 0.1 + 0.1 * 2,
        hint="PyTorch's momentum is the share of the new value.",
        mistakes=[
            (0.1 * 0.9 + 0.9 * 2, "that keeps one tenth of the old average, not nine."),
            (1.5, "that is the plain mean of the two; a moving mean forgets slowly."),
            (0.1 * 1 + 0.1 * 2, "the old average must shrink when the second batch comes."),
            (0.99 * 0.01 + 0.01 * 2, "that is Keras's default momentum."),
        ],
    ),
    "industrial_cnn-5": Number(
        lambda: 16 * 16 * 9 * 64 * 128,
        hint="Each weight is used once for each pixel of the layer's output.",
        mistakes=[
            (9 * 64 * 128, "these are its weights; each is used many times."),
            (32 * 32 * 9 * 64 * 128, "a pooling stands before it."),
            (8 * 8 * 9 * 64 * 128, "the pooling behind it does not spare it work."),
            (16 * 16 * 9 * 128, "each filter reads all channels of the block before."),
        ],
    ),
}

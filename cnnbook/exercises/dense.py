"""The exercises of chapter 06."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

X = np.array([[1.0, -2.0], [3.0, 0.0]])
OUTPUT_GRADIENT = np.array([[1.0, 0.0], [2.0, -1.0]])


def position(index, width, channels):
    return np.array([index // (width * channels), index // channels % width, index % channels])


def _draw_position(rng):
    height, width, channels = (int(v) for v in rng.choice(np.arange(2, 9), 3, replace=False))
    return int(rng.integers(height * width * channels)), width, channels


def reorder(kernel, height, width, channels):
    rows = kernel.reshape(channels, height, width, -1)
    return rows.transpose(1, 2, 0, 3).reshape(kernel.shape)


def _backwards(kernel, height, width, channels):
    rows = kernel.reshape(height, width, channels, -1)
    return rows.transpose(2, 0, 1, 3).reshape(kernel.shape)


def _sides_swapped(kernel, height, width, channels):
    rows = kernel.reshape(channels, height, width, -1)
    return rows.transpose(2, 1, 0, 3).reshape(kernel.shape)


def _draw_kernel(rng):
    height, width, channels = (int(v) for v in rng.choice(np.arange(2, 6), 3, replace=False))
    outputs = int(rng.integers(1, 4))
    return rng.normal(size=(height * width * channels, outputs)), height, width, channels


def merged_bias(kernel_1, bias_1, kernel_2, bias_2):
    return bias_1 @ kernel_2 + bias_2


def _draw_two_layers(rng):
    size = int(rng.integers(2, 5))  # square, so that wrong products run too
    return tuple(rng.normal(size=s) for s in ((size, size), size, (size, size), size))


EXERCISES = {
    "dense-1": Number(
        lambda: 4 * 4 * 32 * 10 + 10,
        hint="Every output has one weight for every input number, and one bias.",
        mistakes=[
            (4 * 4 * 32 * 10, "the biases are missing."),
            (32 * 10 + 10, "that is right after global pooling; here every pixel has its weight."),
            (4 * 4 * 32 * 10 + 4 * 4 * 32, "a bias belongs to an output, not to an input."),
        ],
    ),
    "dense-2": Array(
        lambda: X.T @ OUTPUT_GRADIENT,
        hint="The entry in row i, column o sums the products of input i and output o's gradient.",
        mistakes=[
            (OUTPUT_GRADIENT.T @ X, "that is the gradient of W; Keras's kernel is its transpose."),
            (
                X.T @ OUTPUT_GRADIENT / 2,
                "that is the mean over the batch; the gradient is the sum.",
            ),
            (X @ OUTPUT_GRADIENT, "that sums over features; the sum runs over the batch."),
        ],
    ),
    "dense-3": Function(
        position,
        _draw_position,
        hint="The channel runs fastest; the remainder of a division finds it.",
        mistakes=[
            (
                lambda index, width, channels: position(index, width, channels)[[1, 0, 2]],
                "row and column are swapped.",
            ),
            (
                lambda index, width, channels: position(index, width, channels) + 1,
                "count from 0.",
            ),
            (
                lambda index, width, channels: np.array(
                    [index // (width * channels), index % width, index // width % channels]
                ),
                "here the column runs fastest, as if each row of pixels kept its channels apart.",
            ),
        ],
    ),
    "dense-4": Function(
        reorder,
        _draw_kernel,
        hint="Give the rows their three axes back, move the channel axis, and fold them again.",
        mistakes=[
            (
                lambda kernel, height, width, channels: kernel,
                "the rows are still in the order of the channels-first flatten.",
            ),
            (_backwards, "that goes from channels last to channels first."),
            (_sides_swapped, "the channels are last, but rows and columns are swapped."),
        ],
    ),
    "dense-5": Function(
        merged_bias,
        _draw_two_layers,
        hint="Write down the second layer and put the first in the place of its input.",
        mistakes=[
            (
                lambda k1, b1, k2, b2: b1 + b2,
                "the first bias passes through the second layer's weights.",
            ),
            (lambda k1, b1, k2, b2: b1 @ k2, "the second layer's own bias is missing."),
            (
                lambda k1, b1, k2, b2: k2 @ b1 + b2,
                "the product is in the order of W; the kernel stands on the right.",
            ),
        ],
    ),
}

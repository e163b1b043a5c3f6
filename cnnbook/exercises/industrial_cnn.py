"""The exercises of chapter 13."""

import numpy as np

from cnnbook.exercises import Array, Function, Number

ROWS = np.arange(12)  # of a dense kernel behind 2x3 pixels of 2 channels


def kernel_from_torch(weight):
    return weight.transpose(2, 3, 1, 0)


def fan_in_deviation(shape):
    return 1 / np.sqrt(3 * np.prod(shape[1:]))


def _draw_weight(rng):
    return (rng.normal(size=rng.integers(1, 5, 4)),)


def _draw_shape(rng):
    shape = rng.integers(1, 9, rng.choice([2, 4]))
    return (tuple(int(n) for n in shape),)


EXERCISES = {
    "industrial_cnn-1": Number(
        lambda: 9 * 64 * 128 + 128,
        hint="A filter has nine weights for each channel that it reads, and one bias.",
        mistakes=[
            (9 * 64 * 128, "the biases are missing."),
            (9 * 128 + 128, "each filter reads all channels of the block before."),
            (9 * 64 * 128 + 64, "there is one bias for each filter, not for each input channel."),
            (
                9 * 64 * 128 + 128 + 512,
                "batch normalization is a layer of its own; only the convolution is asked for.",
            ),
        ],
    ),
    "industrial_cnn-2": Number(
        lambda: (3 * 2 + 1) * 4 + 2,
        hint="Keras counts row by row, then pixel by pixel, the channels of a pixel together.",
        mistakes=[
            (
                (2 * 5 + 3) * 2 + 1,
                "that is its place in PyTorch's order for other sizes; mind which is the height.",
            ),
            ((2 * 3 + 3) * 2 + 1, "that is PyTorch's own place; Keras's is asked for."),
            ((3 * 5 + 1) * 4 + 2, "a row has as many pixels as there are columns, not rows."),
            ((1 * 2 + 3) * 4 + 2, "row and column have changed places."),
        ],
    ),
    "industrial_cnn-3": Array(
        lambda: ROWS.reshape(2, 2, 3).transpose(1, 2, 0).ravel(),
        hint="Number the features as PyTorch does, in (channel, row, column), and move the axes.",
        mistakes=[
            (ROWS, "that is PyTorch's order itself."),
            (
                ROWS.reshape(2, 3, 2).transpose(2, 0, 1).ravel(),
                "that is the inverse: where Keras's features go in PyTorch.",
            ),
            (
                ROWS.reshape(2, 2, 3).transpose(2, 1, 0).ravel(),
                "rows and columns have changed places as well.",
            ),
        ],
    ),
    "industrial_cnn-4": Function(
        kernel_from_torch,
        _draw_weight,
        hint="The new first axis is the old third one: the rows of the window.",
        mistakes=[
            (
                lambda w: w.transpose(2, 3, 0, 1),
                "the channels have changed places with the filters.",
            ),
            (lambda w: w.transpose(3, 2, 1, 0), "the window is transposed: rows became columns."),
            (
                lambda w: w.reshape(kernel_from_torch(w).shape),
                "reshaping keeps the order of the numbers; the axes must be moved.",
            ),
            (
                lambda w: kernel_from_torch(w)[::-1, ::-1],
                "nothing is flipped: both frameworks compute the same cross-correlation.",
            ),
        ],
    ),
    "industrial_cnn-5": Function(
        fan_in_deviation,
        _draw_shape,
        hint="A uniform draw from -l to l has the deviation l divided by the root of three.",
        mistakes=[
            (
                lambda shape: 1 / np.sqrt(np.prod(shape[1:])),
                "that is the limit of the draw, not its standard deviation.",
            ),
            (
                lambda shape: 1 / np.sqrt(3 * np.prod(shape)),
                "the outputs do not count: only what one output reads.",
            ),
            (
                lambda shape: np.sqrt(2 / np.prod(shape[1:])),
                "that is the rule made for ReLU, without PyTorch's factor a.",
            ),
        ],
    ),
}

"""Answers to the exercises of ``notebooks/03_pooling.ipynb``."""

import numpy as np
from keras import ops

from cnnbook.exercises import Array, Function, Number
from cnnbook.pooling import avg_pool2d, max_pool2d, max_pool2d_gradient

IMAGE = np.array([[1.0, -2.0, -3.0], [0.0, 4.0, -1.0], [-5.0, -6.0, -7.0]])
TIED = np.array([[2.0, 5.0, 5.0], [1.0, 5.0, 0.0], [3.0, 3.0, 4.0]])
GRADIENT = np.array([[1.0, 10.0], [100.0, 1000.0]])
LAST = {"data_format": "channels_last"}


def _planar(function, *planes, **options):
    four = [np.asarray(plane, "float32")[None, :, :, None] for plane in planes]
    return ops.convert_to_numpy(function(*four, **options, **LAST))[0, :, :, 0]


def border_average(image):
    """3x3 means at stride 1, the size kept, padding not counted."""
    return _planar(avg_pool2d, image, pool_size=3, strides=1, padding="same")


def survivors(size, shift):
    """The share of maxima of noise that a shift by `shift` columns leaves as they are."""
    return (size - shift) / (size + shift)


def draw_shift(rng):
    size = int(rng.integers(3, 9))
    return size, int(rng.integers(1, size))


EXERCISES = {
    "pooling-1": Array(
        lambda: _planar(max_pool2d, IMAGE, padding="same"),
        hint="Two windows each way; the last row and column of windows hang over the border.",
        mistakes=[
            (np.array([[4.0, 0.0], [0.0, 0.0]]), "You let the padding win: it is no pixel."),
            (np.array([[4.0]]), "You dropped the windows at the border: that is 'valid'."),
            (np.array([[4.0, 4.0], [4.0, 4.0]]), "The windows should not overlap here."),
        ],
    ),
    "pooling-2": Array(
        lambda: _planar(max_pool2d_gradient, TIED, GRADIENT, strides=1),
        hint="Find the winner of each of the four windows, the first one where two are equal.",
        mistakes=[
            (
                np.array([[0.0, 1 / 2 + 10 / 3, 10 / 3], [0, 1 / 2 + 10 / 3 + 1100, 0], [0, 0, 0]]),
                "You shared the gradient among equal pixels; here the first takes it all.",
            ),
            (
                np.array([[0.0, 1.0, 10.0], [0.0, 1100.0, 0.0], [0.0, 0.0, 0.0]]),
                "One window has its first winner farther to the left.",
            ),
            (
                np.array([[0.0, 10.0, 0.0], [0.0, 1000.0, 0.0], [0.0, 0.0, 0.0]]),
                "A pixel that wins several windows gets the sum.",
            ),
            (
                np.array([[0.0, 0.0, 0.0], [0.0, 1111.0, 0.0], [0.0, 0.0, 0.0]]),
                "You gave ties to the last winner.",
            ),
        ],
    ),
    "pooling-3": Function(
        border_average,
        lambda rng: (rng.normal(size=rng.integers(4, 8, size=2)) + 3,),
        hint="Pool an image of ones as well, and see what you get at the border.",
        mistakes=[
            (
                lambda x: _planar(
                    avg_pool2d, x, pool_size=3, strides=1, padding=1, count_include_pad=True
                ),
                "You divided by nine at the border too, where fewer pixels are real.",
            ),
            (
                lambda x: _planar(avg_pool2d, np.pad(x, 1, "edge"), pool_size=3, strides=1),
                "You repeated the border's pixels; they should count once.",
            ),
            (
                lambda x: _planar(avg_pool2d, x, pool_size=3, strides=1),
                "The output should be as large as the image.",
            ),
        ],
    ),
    "pooling-4": Function(
        survivors,
        draw_shift,
        hint="Of all pixels that the window sees before or after, which may hold the maximum?",
        mistakes=[
            (
                lambda k, d: (k - d) / k,
                "A shared pixel must beat the pixels that come in as well.",
            ),
            (
                lambda k, d: ((k - d) / (k + d)) ** 2,
                "That would be right for two independent directions; this is one shift.",
            ),
            (lambda k, d: d / (k + d), "That counts the pixels that leave."),
        ],
    ),
    "pooling-5": Number(
        lambda: 8 * 8 * 64 * 10 - 64 * 10,
        hint="Biases are the same in both. How many numbers does the dense layer see in each?",
        mistakes=[
            (8 * 8 * 64 * 10, "That is what the flattened one has; subtract the other."),
            (8 * 8 * 64 - 64, "There are ten classes."),
            (8 * 8 * 10 - 10, "You left out the channels."),
        ],
    ),
}

"""The exercises of chapter 09."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def flip_boxes(boxes, width):
    top, left, bottom, right = np.moveaxis(boxes, -1, 0)
    return np.stack([top, width - right, bottom, width - left], axis=-1)


def _swapped(boxes, width):
    top, left, bottom, right = np.moveaxis(boxes, -1, 0)
    return np.stack([top, width - left, bottom, width - right], axis=-1)


def _one_less(boxes, width):
    return flip_boxes(boxes, width) - np.array([0, 1, 0, 1])


def _upside_down(boxes, width):
    top, left, bottom, right = np.moveaxis(boxes, -1, 0)
    return np.stack([width - bottom, left, width - top, right], axis=-1)


def _draw_boxes(rng):
    corner = rng.integers(0, 6, (5, 2))
    return np.concatenate([corner, corner + rng.integers(1, 5, (5, 2))], axis=1), 12


def mix_labels(labels, weights, partners):
    return weights[:, None] * labels + (1 - weights[:, None]) * labels[partners]


def _draw_labels(rng):
    n = int(rng.integers(3, 7))
    return np.eye(4)[rng.integers(4, size=n)], rng.uniform(size=n), rng.permutation(n)


EXERCISES = {
    "augmentation-1": Array(
        lambda: np.array([[0.0, 4, 5], [0, 7, 8], [0, 0, 0]]),
        hint="Write the image with its frame of zeros, 5x5, and count rows and columns from 0.",
        mistakes=[
            (
                [[0, 0, 0], [4, 5, 6], [7, 8, 9]],
                "rows and columns do not begin where they should; is the padding subtracted?",
            ),
            (
                [[0, 0, 0], [1, 2, 0], [4, 5, 0]],
                "the image moved the other way: the crop begins further down, so it moves up.",
            ),
            (
                [[0, 0, 0], [4, 7, 0], [5, 8, 0]],
                "rows and columns are exchanged somewhere.",
            ),
            ([[0, 0, 1], [0, 0, 4], [0, 0, 7]], "the row's offset was used for the columns."),
        ],
    ),
    "augmentation-2": Number(
        lambda: 1 / 81,
        hint="How many offsets are there in each direction, the two outermost included?",
        mistakes=[
            (1 / 64, "each direction has one offset more: both ends count."),
            (1 / 9, "that is one direction; the other must stay, too."),
            (1 / 25, "the offsets run over the padding of both sides."),
            (1 / 16, "the padding is on both sides, and no move at all is also an offset."),
        ],
    ),
    "augmentation-3": Function(
        flip_boxes,
        _draw_boxes,
        hint="The right border becomes the left one, as far from the other side of the image.",
        mistakes=[
            (_swapped, "the new left border is larger than the right one."),
            (_one_less, "right is excluded, so that nothing is to be subtracted."),
            (_upside_down, "this exchanges top and bottom."),
            (lambda boxes, width: np.array(boxes), "the boxes did not move."),
        ],
    ),
    "augmentation-4": Function(
        mix_labels,
        _draw_labels,
        hint="Each row has a weight of its own; what is left goes to the partner's row.",
        mistakes=[
            (
                lambda y, w, p: (1 - w[:, None]) * y + w[:, None] * y[p],
                "the weight belongs to the image itself, the rest to its partner.",
            ),
            (
                lambda y, w, p: w[:, None] * y + (1 - w[p][:, None]) * y[p],
                "the rows do not sum to 1: both shares come from the same weight.",
            ),
            (
                lambda y, w, p: w.mean() * y + (1 - w.mean()) * y[p],
                "one weight for the whole batch; each image has its own.",
            ),
        ],
    ),
    "augmentation-5": Number(
        lambda: 12 / 64,
        hint="Write down the rows and the columns that the rectangle covers inside the image.",
        mistakes=[
            (16 / 64, "that is the share that was wanted; a part lies outside."),
            (52 / 64, "that is what the image itself keeps."),
            (9 / 64, "the columns fit: only rows are cut off."),
        ],
    ),
}

"""The exercises of chapter 17."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def frontier(cost, score):
    """Which candidates no other beats."""
    c, s = np.asarray(cost), np.asarray(score)
    no_worse = (c[:, None] <= c) & (s[:, None] >= s)
    better = (c[:, None] < c) | (s[:, None] > s)
    return ~np.any(no_worse & better, axis=0)


def _draw_candidates(rng):
    count = int(rng.integers(3, 9))
    return rng.integers(1, 6, count).astype(float), rng.integers(50, 56, count).astype(float)


def _strictly(cost, score):
    c, s = np.asarray(cost), np.asarray(score)
    return ~np.any((c[:, None] < c) & (s[:, None] > s), axis=0)


def _turned(cost, score):
    return frontier(np.negative(cost), np.negative(score))


def _draw_times(rng):
    return rng.exponential(size=int(rng.integers(8, 20))) + 1, int(rng.integers(1, 4))


EXERCISES = {
    "deployment-1": Number(
        lambda: 9 * 64 * 128 + 4 * 128,
        hint="Count the weights of all filters, and one bias for each filter.",
        mistakes=[
            (9 * 64 * 128 + 128, "the biases are int32: four bytes each."),
            (4 * (9 * 64 * 128 + 128), "that is the float file: an int8 weight takes one byte."),
            (9 * 64 * 128, "the bias is missing."),
        ],
    ),
    "deployment-2": Array(
        lambda: np.array([-3.0, -2.0]),
        hint="Divide by the scale and add the zero point; on the way back subtract it first.",
        mistakes=[
            (np.array([153.0, -2.0]), "the input's zero point is added, not subtracted."),
            (np.array([-3.0, -1.0]), "the output's zero point is subtracted, not added."),
            (np.array([75.0, -1.5]), "the zero points are missing."),
        ],
    ),
    "deployment-3": Number(
        lambda: 100 / (10 + 90 / 4),
        hint="Add up the new times of the two parts and divide the old time by the sum.",
        mistakes=[
            (4.0, "a part of the time did not become shorter."),
            (0.9 * 4 + 0.1, "speeds cannot be averaged like that: add times."),
            (32.5 / 100, "that is the share of the time that is left; its inverse is asked for."),
        ],
    ),
    "deployment-4": Function(
        frontier,
        _draw_candidates,
        hint="Compare each candidate with every other: cost at most, score at least, one of them "
        "better.",
        mistakes=[
            (_strictly, "one that is as cheap and better, or as good and cheaper, beats it, too."),
            (_turned, "low cost and high score are good; here it is the other way round."),
            (
                lambda cost, score: ~frontier(cost, score),
                "these are the ones that are beaten.",
            ),
        ],
    ),
    "deployment-5": Function(
        lambda times, warm_up: np.median(times[warm_up:]),
        _draw_times,
        hint="Leave the first calls out, then take the middle one.",
        mistakes=[
            (lambda times, warm_up: np.median(times), "the first calls count here."),
            (lambda times, warm_up: np.mean(times[warm_up:]), "the mean was taken."),
            (lambda times, warm_up: np.median(times[:warm_up]), "only the first calls were taken."),
        ],
    ),
}

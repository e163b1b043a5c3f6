"""The exercises of chapter 11."""

import numpy as np

from cnnbook.exercises import Array, Function, Number


def keras_epsilon(epsilon, beta_2, t):
    return epsilon / np.sqrt(1 - beta_2**t)


def _draw_epsilon(rng):
    return 10.0 ** rng.uniform(-8, -1), rng.choice([0.9, 0.99, 0.999]), int(rng.integers(2, 50))


def roll(theta, curvature, learning_rate, momentum, steps):
    return _roll(theta, curvature, learning_rate, momentum, steps)


def _roll(theta, curvature, eta, rho, steps, push=1.0, nesterov=False):
    velocity = np.zeros_like(theta)
    for _ in range(steps):
        step = push * eta * curvature * theta
        velocity = rho * velocity - step
        theta = theta + (rho * velocity - step if nesterov else velocity)
    return theta


def _draw_bowl(rng):
    n = int(rng.integers(1, 4))
    curvature = rng.uniform(0.5, 5, n)
    return rng.normal(size=n), curvature, 0.1, rng.choice([0.5, 0.9]), int(rng.integers(3, 20))


EXERCISES = {
    "optimizers-1": Number(
        lambda: 0.1 / (1 - 0.8),
        hint="At rest the velocity reproduces itself: u = rho u - eta g.",
        mistakes=[
            (0.1 / 0.8, "what is lost in each step is 1 - rho, not rho."),
            (5.0, "that is the sum of the weights; the learning rate is missing."),
            (0.1, "that is the first step; past gradients still push."),
            (-0.5, "the size is asked for, without a sign."),
        ],
    ),
    "optimizers-2": Array(
        lambda: np.array([0.1 / np.sqrt(0.001), 0.19 / np.sqrt(0.001999)]),
        hint="After two steps m is 0.9 * 0.1 + 0.1; v follows by the same rule.",
        mistakes=[
            ([1.0, 1.0], "that is Adam with its corrections."),
            ([0.1 / 0.001, 0.19 / 0.001999], "the root of v is missing."),
            (
                [0.1 / np.sqrt(0.001)] * 2,
                "the second step has two gradients in its averages.",
            ),
            ([0.1, 0.19], "that is m alone; it must be divided by the root of v."),
        ],
    ),
    "optimizers-3": Function(
        keras_epsilon,
        _draw_epsilon,
        hint="Divide numerator and denominator of the step by the root of 1 - beta_2^t.",
        mistakes=[
            (lambda e, b, t: e * np.sqrt(1 - b**t), "that is the way back, from ours to Keras's."),
            (lambda e, b, t: e / (1 - b**t), "the root is missing."),
            (lambda e, b, t: e / np.sqrt(1 - b ** (t - 1)), "steps count from 1, not from 0."),
        ],
    ),
    "optimizers-4": Function(
        roll,
        _draw_bowl,
        hint="The gradient of a bowl is curvature times position; keep a velocity between steps.",
        mistakes=[
            (
                lambda theta, h, eta, rho, n: _roll(theta, h, eta, 0.0, n),
                "that is descent without momentum.",
            ),
            (
                lambda theta, h, eta, rho, n: _roll(theta, h, eta, rho, n, nesterov=True),
                "that is Nesterov's step.",
            ),
            (
                lambda theta, h, eta, rho, n: _roll(theta, h, eta, rho, n, push=1 - rho),
                "the gradient enters the velocity whole, without a factor 1 - rho.",
            ),
            (
                lambda theta, h, eta, rho, n: _roll(theta, h, -eta, rho, n),
                "the sign is wrong: this climbs.",
            ),
        ],
    ),
}

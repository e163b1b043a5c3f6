"""Tests for `cnnbook.optimizers` (chapter 11)."""

import importlib.util
import math
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import compiled, drawn, precise_dtype, to_numpy

from cnnbook.optimizers import (
    adam_state,
    adam_step,
    adamw_step,
    cosine_schedule,
    momentum_step,
    sgd_step,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
SHAPES = ((3, 2), (), (4,), (1, 2, 2))
MANY = ((40,), (7, 9))  # for 100 steps: as many values in fewer arrays
STEPS = 100
needs_torch = pytest.mark.skipif(
    not importlib.util.find_spec("torch"), reason="PyTorch is not installed"
)


# References: the equations for one number, by loops in float64


def reference_momentum(theta, gradients, eta, rho, nesterov):
    path, u = [], 0.0
    for g in gradients:
        u = rho * u - eta * g
        theta = theta + (rho * u - eta * g if nesterov else u)
        path.append(theta)
    return path


def reference_adam(theta, gradients, eta, beta_1, beta_2, epsilon, decay=0.0):
    path, m, v = [], 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        m_hat = m / (1 - beta_1**t)
        v_hat = v / (1 - beta_2**t)
        theta = theta - eta * (m_hat / (math.sqrt(v_hat) + epsilon) + decay * theta)
        path.append(theta)
    return path


def reference_cosine(s, total, base, warmup):
    if s < warmup:
        return base * s / warmup
    if warmup == total:
        return base
    return base / 2 * (1 + math.cos(math.pi * (s - warmup) / (total - warmup)))


def draw_problem(seed, steps, shapes=SHAPES):
    """Parameters, and for every step a gradient for each of them; no value is below 0.05."""
    rng = np.random.default_rng(seed)
    parameters = [rng.normal(size=s).astype("float32") for s in shapes]
    sizes = [(10.0 ** rng.uniform(-2, 1, s)).astype("float32") for s in shapes]
    pulls = [rng.normal(size=s) for s in shapes]  # so that the gradients are no pure noise
    gradients = []
    for _ in range(steps):
        drawn = [(q + rng.normal(size=np.shape(q))) * n for q, n in zip(pulls, sizes, strict=True)]
        far = [np.copysign(np.maximum(np.abs(g), 0.05), g).astype("float32") for g in drawn]
        gradients.append(far)
    return parameters, gradients


def reference_paths(function, parameters, gradients):
    """function(theta, gradients of it) for every value: the last values, in arrays."""
    out = []
    for place, array in enumerate(parameters):
        last = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            own = [float(g[place][index]) for g in gradients]
            last[index] = function(float(array[index]), own)[-1]
        out.append(last)
    return out


def flat(arrays):
    return np.concatenate([np.ravel(to_numpy(a)).astype("float64") for a in arrays])


def run_sgd(parameters, gradients, **options):
    for g in gradients:
        parameters = sgd_step(parameters, g, **options)
    return parameters


def run_momentum(parameters, gradients, **options):
    velocity = [np.zeros_like(p) for p in parameters]
    for g in gradients:
        parameters, velocity = momentum_step(parameters, g, velocity, **options)
    return parameters


def run_adam(parameters, gradients, step=adam_step, **options):
    state = adam_state(parameters)
    for g in gradients:
        parameters, state = step(parameters, g, state, **options)
    return parameters


def run_adamw(parameters, gradients, **options):
    return run_adam(parameters, gradients, step=adamw_step, **options)


rates = st.sampled_from([0.0, 0.001, 0.03, 0.5])
factors = st.sampled_from([0.0, 0.5, 0.9, 0.99])
problems = st.tuples(st.integers(0, 999), st.integers(1, 6))


@given(problems, rates)
@drawn
def test_sgd_matches_reference(problem, eta):
    parameters, gradients = draw_problem(*problem)
    expected = reference_paths(
        lambda p, g: reference_momentum(p, g, eta, 0.0, False), parameters, gradients
    )
    got = run_sgd(parameters, gradients, learning_rate=eta)
    assert [tuple(p.shape) for p in got] == [p.shape for p in parameters]
    np.testing.assert_allclose(flat(got), flat(expected), rtol=1e-5, atol=1e-5)


@given(problems, rates, factors, st.booleans())
@drawn
def test_momentum_matches_reference(problem, eta, rho, nesterov):
    parameters, gradients = draw_problem(*problem)
    expected = reference_paths(
        lambda p, g: reference_momentum(p, g, eta, rho, nesterov), parameters, gradients
    )
    options = {"learning_rate": eta, "momentum": rho, "nesterov": nesterov}
    got = run_momentum(parameters, gradients, **options)
    np.testing.assert_allclose(flat(got), flat(expected), rtol=1e-5, atol=5e-5)


@given(problems, rates, factors, st.sampled_from([0.0, 0.9, 0.999]), st.sampled_from([1e-7, 0.1]))
@drawn
def test_adam_and_adamw_match_reference(problem, eta, beta_1, beta_2, epsilon):
    parameters, gradients = draw_problem(*problem)
    options = {"learning_rate": eta, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    for run, decay in ((run_adam, {}), (run_adamw, {"weight_decay": 0.2})):
        expected = reference_paths(
            lambda p, g, decay=decay: reference_adam(
                p, g, eta, beta_1, beta_2, epsilon, *decay.values()
            ),
            parameters,
            gradients,
        )
        got = run(parameters, gradients, **options, **decay)
        np.testing.assert_allclose(flat(got), flat(expected), rtol=1e-5, atol=2e-5)


def test_defaults():
    parameters, gradients = draw_problem(5, 3)
    for run, written in (
        (run_momentum, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False}),
        (run_adam, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        (run_adamw, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
    ):
        given = {"learning_rate": 0.1} if run is run_momentum else {}
        decay = {"weight_decay": 0.004} if run is run_adamw else {}
        got, want = run(parameters, gradients, **given), run(parameters, gradients, **written)
        np.testing.assert_array_equal(flat(got), flat(want))
        np.testing.assert_array_equal(flat(got), flat(run(parameters, gradients, **given, **decay)))


@given(st.integers(1, 30), st.data())
@drawn
def test_cosine_matches_reference(total, data):
    warmup = data.draw(st.integers(0, total))
    base = data.draw(st.sampled_from([0.0, 0.001, 0.1, 3.0]))
    expected = [reference_cosine(min(s, total), total, base, warmup) for s in range(31)]
    got = cosine_schedule(np.arange(31), total, base=base, warmup_steps=warmup)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5, atol=base * 1e-6)
    one_by_one = [cosine_schedule(s, total, base=base, warmup_steps=warmup) for s in (0, total)]
    np.testing.assert_allclose(flat(one_by_one), [expected[0], expected[-1]], atol=base * 1e-6)


# Numbers by hand


def test_sgd_by_hand():
    (w,) = sgd_step([[1.0, 2.0]], [[0.5, -1.0]], learning_rate=0.5)
    np.testing.assert_allclose(to_numpy(w), [0.75, 2.5], **CLOSE)


def test_momentum_by_hand():
    # gradients 1, 1, 1 with momentum 1/2: the velocity is -1, -1.5, -1.75
    w, u, seen = [10.0], [0.0], []
    for _ in range(3):
        w, u = momentum_step(w, [1.0], u, learning_rate=1.0, momentum=0.5)
        seen += [float(u[0]), float(w[0])]
    np.testing.assert_allclose(seen, [-1, 9, -1.5, 7.5, -1.75, 5.75], **CLOSE)
    # Nesterov: 10 - 0.5 - 1 = 8.5, then 8.5 - 0.75 - 1 = 6.75, with the same velocity
    w, u, seen = [10.0], [0.0], []
    for _ in range(2):
        w, u = momentum_step(w, [1.0], u, learning_rate=1.0, momentum=0.5, nesterov=True)
        seen += [float(u[0]), float(w[0])]
    np.testing.assert_allclose(seen, [-1, 8.5, -1.5, 6.75], **CLOSE)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1.0, 1e4, 1e12])
def test_first_adam_step_is_the_learning_rate(scale):
    g = scale * np.array([1.0, -3.0, 0.2], "float32")
    (w,), state = adam_step([np.zeros(3)], [g], adam_state([g]), learning_rate=0.25, epsilon=1e-20)
    np.testing.assert_allclose(to_numpy(w), [-0.25, 0.25, -0.25], rtol=1e-5)
    assert int(state["step"]) == 1
    np.testing.assert_allclose(to_numpy(state["m"][0]), 0.1 * g, rtol=1e-6)
    # without the corrections it would be 0.1 / sqrt(0.001) = 3.16 times as long
    uncorrected = to_numpy(state["m"][0]) / np.sqrt(to_numpy(state["v"][0]))
    np.testing.assert_allclose(np.abs(uncorrected), math.sqrt(10), rtol=1e-5)


def test_adam_by_hand():
    # beta_1 = 1/2, beta_2 = 3/4, epsilon = 1, gradients 2 and 4:
    # m = 1, v = 1; m_hat = 2, v_hat = 4; step 2 / (2 + 1)
    # m = 2.5, v = 4.75; m_hat = 10/3, v_hat = 4.75 / (7/16) = 76/7
    options = {"learning_rate": 3.0, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 1.0}
    w, state = adam_step([10.0], [2.0], adam_state([10.0]), **options)
    np.testing.assert_allclose(float(w[0]), 8.0, **CLOSE)
    w, state = adam_step(w, [4.0], state, **options)
    np.testing.assert_allclose(float(w[0]), 8 - 10 / (math.sqrt(76 / 7) + 1), **CLOSE)
    np.testing.assert_allclose([float(state["m"][0]), float(state["v"][0])], [2.5, 4.75], **CLOSE)


def test_adamw_by_hand():
    # the decay takes theta_t, before the step: 8 - 0.5 * (1 + 0.25 * 8) = 6.5
    w, _ = adamw_step([8.0], [5.0], adam_state([8.0]), learning_rate=0.5, weight_decay=0.25)
    np.testing.assert_allclose(float(w[0]), 6.5, rtol=1e-6)


def test_cosine_by_hand():
    rates = [float(cosine_schedule(s, 6, base=0.5, warmup_steps=2)) for s in range(7)]
    half = 0.25 * math.sqrt(0.5)
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 0.25 + half, 0.25, 0.25 - half, 0], atol=1e-6)
    assert float(cosine_schedule(0, 4, base=3.0)) == 3.0
    assert float(cosine_schedule(4, 4, base=3.0, warmup_steps=4)) == 3.0


# Invariants


@given(problems, st.sampled_from([0.25, 8.0, 1024.0]))
@drawn
def test_what_scaled_gradients_do(problem, scale):
    """Descent goes scale times as far, and Adam without epsilon does not notice."""
    parameters, gradients = draw_problem(*problem)
    zeros = [np.zeros_like(p) for p in parameters]
    scaled = [[scale * g for g in each] for each in gradients]
    for run in (run_sgd, run_momentum):
        got = run(zeros, scaled, learning_rate=0.1)
        want = scale * flat(run(zeros, gradients, learning_rate=0.1))
        np.testing.assert_allclose(flat(got), want, rtol=1e-5, atol=1e-5 * scale)
    got, want = (run_adam(zeros, g, learning_rate=0.1, epsilon=0.0) for g in (scaled, gradients))
    np.testing.assert_allclose(flat(got), flat(want), **CLOSE)


@given(problems)
@drawn
def test_special_cases_agree(problem):
    parameters, gradients = draw_problem(*problem)
    sgd = flat(run_sgd(parameters, gradients, learning_rate=0.1))
    for nesterov in (False, True):
        got = run_momentum(
            parameters, gradients, learning_rate=0.1, momentum=0.0, nesterov=nesterov
        )
        np.testing.assert_allclose(flat(got), sgd, **CLOSE)
    adam = flat(run_adam(parameters, gradients))
    np.testing.assert_array_equal(flat(run_adamw(parameters, gradients, weight_decay=0)), adam)
    resting = run_adamw(parameters, gradients, learning_rate=0.0, weight_decay=0.5)
    np.testing.assert_array_equal(flat(resting), flat(parameters))


def test_nesterov_is_the_look_ahead_form():
    """Gradients at the point ahead, where the velocity would carry: the same points visited."""

    def slope(x):
        return 3 * x - 2 * np.cos(x)

    eta, rho, steps = 0.05, 0.9, 30
    at, u, ahead = 1.0, 0.0, []
    for _ in range(steps):
        u = rho * u - eta * slope(at + rho * u)
        at = at + u
        ahead.append(at + rho * u)
    w, velocity, visited = [np.float32(1)], [np.float32(0)], []
    for _ in range(steps):
        g = np.float32(slope(float(w[0])))
        w, velocity = momentum_step(
            w, [g], velocity, learning_rate=eta, momentum=rho, nesterov=True
        )
        visited.append(float(w[0]))
    np.testing.assert_allclose(visited, ahead, rtol=1e-4, atol=1e-5)


def test_adam_steps_are_bounded():
    """At most (1 - beta_1) / sqrt(1 - beta_2) learning rates: reached after long silence."""
    gradients = [[np.zeros(1, "float32")] for _ in range(80)] + [[np.full(1, 7, "float32")]]
    options = {"learning_rate": 1.0, "beta_2": 0.9, "beta_1": 0.6, "epsilon": 1e-12}
    (w,) = run_adam([np.zeros(1, "float32")], gradients, **options)
    # the corrections are over: 0.9^81 = 0.0002, of which the root takes half
    np.testing.assert_allclose(to_numpy(w), [-0.4 / math.sqrt(0.1)], rtol=2e-4)


def test_decay_ignores_the_gradients_size():
    start, none = [np.ones(2, "float32")], [[np.zeros(2, "float32")]] * 20
    (w,) = run_adamw(start, none, learning_rate=0.1, weight_decay=0.1)
    np.testing.assert_allclose(to_numpy(w), 0.99**20, rtol=1e-5)


def test_zero_gradients_with_and_without_epsilon():
    zero = [np.zeros(2, "float32")]
    np.testing.assert_array_equal(flat(run_adam([np.ones(2, "float32")], [zero])), [1.0, 1.0])
    w = flat(run_adam([np.ones(2, "float32")], [zero], epsilon=0.0))
    assert np.isnan(w).all()


def test_schedule_rises_then_falls_and_tensors_are_clamped():
    steps = np.arange(-3, 24)
    rate = to_numpy(cosine_schedule(steps, 20, base=0.3, warmup_steps=5))
    inside = rate[3:24]
    assert np.all(np.diff(inside[:6]) > 0) and np.all(np.diff(inside[5:]) < 0)
    assert inside.argmax() == 5 and np.isclose(inside.max(), 0.3)
    np.testing.assert_allclose(rate[:3], 0.0, atol=1e-7)
    np.testing.assert_allclose(rate[24:], 0.0, atol=1e-7)
    # the two halves of a cosine add up to its top
    np.testing.assert_allclose(inside[5:] + inside[5:][::-1], 0.3, rtol=1e-5)


def test_arguments_are_left_alone_and_lists_are_taken():
    parameters, gradients = draw_problem(3, 1)
    state = adam_state(parameters)
    before = [p.copy() for p in parameters]
    for _ in range(2):  # the same state twice: the same result
        one = adamw_step(parameters, gradients[0], state)
        assert int(state["step"]) == 0 and float(np.abs(flat(state["m"] + state["v"])).max()) == 0
    np.testing.assert_array_equal(flat(parameters), flat(before))
    two = adamw_step(parameters, gradients[0], state)
    np.testing.assert_array_equal(flat(one[0]), flat(two[0]))
    (w,) = sgd_step(([3, 4],), ([1, 1],), learning_rate=1)
    assert keras.backend.standardize_dtype(w.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(w), [2.0, 3.0])


def test_nothing_to_do():
    assert sgd_step([], [], learning_rate=0.1) == []
    assert momentum_step([], [], [], learning_rate=0.1) == ([], [])
    for step in (adam_step, adamw_step):
        parameters, state = step([], [], adam_state([]))
        assert parameters == [] and int(state["step"]) == 1
    empty = np.ones((0, 3), "float32")
    (w,), _ = adam_step([empty], [empty], adam_state([empty]))
    assert tuple(w.shape) == (0, 3)


def test_precision_is_kept():
    dtype = precise_dtype()
    parameters = [np.ones(2, dtype)]
    (w,), state = adam_step(parameters, [np.ones(2, dtype)], adam_state(parameters))
    for tensor in (w, state["m"][0], state["v"][0]):
        assert keras.backend.standardize_dtype(tensor.dtype) == dtype
    if dtype == "float64":
        np.testing.assert_allclose(to_numpy(w), 1 - 0.001 / (1 + 1e-7), rtol=1e-14)


# Parity


def run_keras(optimizer, parameters, gradients):
    variables = [keras.Variable(p) for p in parameters]
    optimizer.build(variables)
    for each in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in each], variables)
    return flat(variables)


@pytest.mark.parametrize("seed", range(2))
def test_sgd_and_momentum_match_keras(parity, seed):
    parameters, gradients = draw_problem(seed, STEPS, MANY)
    peer = "keras.optimizers.SGD, 100 steps"
    got = run_sgd(parameters, gradients, learning_rate=0.01)
    parity(sgd_step, peer, flat(got), run_keras(keras.optimizers.SGD(0.01), parameters, gradients))
    for nesterov in (False, True):
        options = {"learning_rate": 0.002, "momentum": 0.9, "nesterov": nesterov}
        got = run_momentum(parameters, gradients, **options)
        expected = run_keras(keras.optimizers.SGD(**options), parameters, gradients)
        parity(momentum_step, peer, flat(got), expected)


@pytest.mark.parametrize("seed", range(2))
def test_adam_and_adamw_match_keras(parity, seed):
    """Both epsilons: for gradients g of at least 0.05 they part by less than the tolerance.

    At most by the sum over t of 0.003 * 1e-7 / sqrt(1 - 0.999^t) / 0.05, which is 4e-6.
    """
    parameters, gradients = draw_problem(seed, STEPS, MANY)
    got = run_adam(parameters, gradients, learning_rate=0.003)
    expected = run_keras(keras.optimizers.Adam(0.003), parameters, gradients)
    parity(adam_step, "keras.optimizers.Adam, 100 steps", flat(got), expected)
    options = {"learning_rate": 0.003, "weight_decay": 0.1, "beta_1": 0.8, "beta_2": 0.99}
    got = run_adamw(parameters, gradients, **options)
    expected = run_keras(keras.optimizers.AdamW(**options), parameters, gradients)
    parity(adamw_step, "keras.optimizers.AdamW, 100 steps", flat(got), expected)


def test_keras_epsilon_is_reconciled():
    """Where epsilon counts, ours is Keras's divided by sqrt(1 - beta_2^t): exact at any size."""
    parameters, gradients = draw_problem(7, STEPS, MANY)
    gradients = [[1e-3 * g for g in each] for each in gradients]
    options = {"learning_rate": 0.01, "weight_decay": 0.1}
    peer = keras.optimizers.AdamW(**options, epsilon=1e-3)
    expected = run_keras(peer, parameters, gradients)
    state, got = adam_state(parameters), parameters
    for t, g in enumerate(gradients, start=1):
        epsilon = 1e-3 / math.sqrt(1 - 0.999**t)
        got, state = adamw_step(got, g, state, **options, epsilon=epsilon)
    np.testing.assert_allclose(flat(got), expected, rtol=1e-5, atol=1e-5)
    naive = flat(run_adamw(parameters, gradients, **options, epsilon=1e-3))
    assert np.abs(naive - expected).max() > 0.01


@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_cosine_matches_keras(parity, warmup):
    total, steps = 40, (0, 1, 3, 6, 7, 8, 23, 39, 40)
    got = [cosine_schedule(s, total, base=0.3, warmup_steps=warmup) for s in steps]
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else 0.3,
        decay_steps=total - warmup,
        warmup_target=0.3 if warmup else None,
        warmup_steps=warmup,
    )
    expected = [float(schedule(s)) for s in steps]
    peer = "keras.optimizers.schedules.CosineDecay"
    parity(cosine_schedule, peer, np.array([float(r) for r in got]), expected, atol=1e-6)


def test_state_starts_as_keras_does(parity):
    parameters, _ = draw_problem(0, 1)
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable(p) for p in parameters])
    state = adam_state(parameters)
    for name, theirs in (("m", optimizer._momentums), ("v", optimizer._velocities)):
        assert [tuple(a.shape) for a in state[name]] == [tuple(a.shape) for a in theirs]
        parity(adam_state, "keras.optimizers.Adam's variables", flat(state[name]), flat(theirs))
    assert int(state["step"]) == int(optimizer.iterations) == 0


@needs_torch
@pytest.mark.parametrize(
    ("name", "run", "options", "theirs"),
    [
        ("SGD", run_sgd, {"learning_rate": 0.01}, {}),
        ("SGD", run_momentum, {"learning_rate": 0.002}, {"momentum": 0.9}),
        (
            "SGD",
            run_momentum,
            {"learning_rate": 0.002, "nesterov": True},
            {"momentum": 0.9, "nesterov": True},
        ),
        ("Adam", run_adam, {"learning_rate": 0.003, "epsilon": 1e-7}, {"eps": 1e-7}),
        ("Adam", run_adam, {"learning_rate": 0.003, "epsilon": 0.05}, {"eps": 0.05}),
        (
            "AdamW",
            run_adamw,
            {"learning_rate": 0.003, "epsilon": 0.05, "weight_decay": 0.1},
            {"eps": 0.05, "weight_decay": 0.1},
        ),
    ],
)
def test_matches_torch(name, run, options, theirs):
    import torch

    parameters, gradients = draw_problem(1, STEPS, MANY)
    tensors = [torch.tensor(p, requires_grad=True) for p in parameters]
    optimizer = getattr(torch.optim, name)(tensors, lr=options["learning_rate"], **theirs)
    for each in gradients:
        for tensor, g in zip(tensors, each, strict=True):
            tensor.grad = torch.tensor(g)
        optimizer.step()
    expected = flat([t.detach().numpy() for t in tensors])
    got = flat(run(parameters, gradients, **options))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected - flat(parameters)).max() > 0.1


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a")  # in Keras, of a cached function
def test_compiled():
    parameters, gradients = draw_problem(2, 4)
    tensors = [ops.convert_to_tensor(p) for p in parameters]

    def three_kinds(parameters, gradients, velocity, state):
        rate = cosine_schedule(state["step"], 4, base=0.1, warmup_steps=1)
        parameters = sgd_step(parameters, gradients, learning_rate=rate)
        parameters, velocity = momentum_step(
            parameters, gradients, velocity, learning_rate=rate, nesterov=True
        )
        parameters, state = adam_step(parameters, gradients, state, learning_rate=rate)
        parameters, _ = adamw_step(parameters, gradients, state, learning_rate=rate)
        return parameters, velocity, state

    fast = compiled(three_kinds)
    results = []
    for function in (three_kinds, fast):
        carried = tensors, [ops.zeros_like(p) for p in tensors], adam_state(tensors)
        for each in gradients:
            carried = function(carried[0], [ops.convert_to_tensor(g) for g in each], *carried[1:])
        assert int(carried[2]["step"]) == 4
        results.append(flat([*carried[0], *carried[1], *carried[2]["m"], *carried[2]["v"]]))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-5)


def test_a_tensor_is_a_learning_rate():
    parameters, gradients = draw_problem(4, 3)
    for run in (run_sgd, run_momentum, run_adam, run_adamw):
        want = flat(run(parameters, gradients, learning_rate=0.1))
        for rate in (ops.convert_to_tensor(0.1), np.float32(0.1), np.array(0.1)):
            got = flat(run(parameters, gradients, learning_rate=rate))
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


# Errors

W = [np.ones(2, "float32"), np.ones((2, 3), "float32")]
CALLS = {
    "sgd": lambda p, g, **o: sgd_step(p, g, **{"learning_rate": 0.1} | o),
    "momentum": lambda p, g, **o: momentum_step(p, g, W, **{"learning_rate": 0.1} | o),
    "adam": lambda p, g, **o: adam_step(p, g, adam_state(W), **o),
    "adamw": lambda p, g, **o: adamw_step(p, g, adam_state(W), **o),
}
every_step = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_step
@pytest.mark.parametrize("rate", [-0.1, math.inf, math.nan, True, None, "fast"])
def test_rejects_learning_rate(call, rate):
    message = f"learning_rate must be a finite number of at least 0, got {rate!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        call(W, W, learning_rate=rate)


@every_step
def test_rejects_a_learning_rate_for_each_value(call):
    with pytest.raises(ValueError, match=r"learning_rate must be one number, got shape \(2,\)\."):
        call(W, W, learning_rate=np.ones(2))


@every_step
@pytest.mark.parametrize(
    ("parameters", "gradients", "message"),
    [
        (W[0], W, "parameters must be a list of arrays, got ndarray."),
        (W, W[0], "gradients must be a list of arrays, got ndarray."),
        (W, W[:1], "gradients has 1 arrays, but parameters has 2."),
        (W, W[::-1], "gradients[0] has shape (2, 3), but parameters[0] has shape (2,)."),
        (W, [W[0], W[0]], "gradients[1] has shape (2,), but parameters[1] has shape (2, 3)."),
        (W, [W[0], None], "gradients[1] must be an array of real numbers, got None."),
        ([None, W[1]], W, "parameters[0] must be an array of real numbers, got None."),
    ],
)
def test_rejects_lists_that_do_not_fit(call, parameters, gradients, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(parameters, gradients)


@pytest.mark.parametrize(
    ("velocity", "message"),
    [
        (None, "velocity must be a list of arrays, got NoneType."),
        (W[:1], "velocity has 1 arrays, but parameters has 2."),
        (W[::-1], "velocity[0] has shape (2, 3), but parameters[0] has shape (2,)."),
    ],
)
def test_rejects_velocity(velocity, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        momentum_step(W, W, velocity, learning_rate=0.1)


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, math.nan, None, True, "0.9"])
@pytest.mark.parametrize("name", ["momentum", "beta_1", "beta_2"])
def test_rejects_factors(name, value):
    message = f"{name} must be a finite number of at least 0 and below 1, got {value!r}."
    for call in (CALLS["momentum"],) if name == "momentum" else (CALLS["adam"], CALLS["adamw"]):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(W, W, **{name: value})


@pytest.mark.parametrize("value", [-1e-9, math.inf, math.nan, None, True])
@pytest.mark.parametrize("name", ["epsilon", "weight_decay"])
def test_rejects_epsilon_and_decay(name, value):
    message = f"{name} must be a finite number of at least 0, got {value!r}."
    for call in (CALLS["adam"], CALLS["adamw"]) if name == "epsilon" else (CALLS["adamw"],):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(W, W, **{name: value})


@pytest.mark.parametrize("step", [adam_step, adamw_step])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "state must be a dict of 'step', 'm' and 'v', got NoneType."),
        ({"m": W, "v": W}, "state must be a dict of 'step', 'm' and 'v', got ['m', 'v']."),
        (
            {"step": np.ones(2), "m": W, "v": W},
            "state['step'] must be one number, got shape (2,).",
        ),
        (adam_state(W[:1]), "state['m'] has 1 arrays, but parameters has 2."),
        (
            adam_state(W[::-1]),
            "state['m'][0] has shape (2, 3), but parameters[0] has shape (2,).",
        ),
        (
            {"step": 0, "m": W, "v": W[::-1]},
            "state['v'][0] has shape (2, 3), but parameters[0] has shape (2,).",
        ),
    ],
)
def test_rejects_state(step, state, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        step(W, W, state)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (W[0], "parameters must be a list of arrays, got ndarray."),
        ([None], "parameters[0] must be an array of real numbers, got None."),
    ],
)
def test_adam_state_rejects(parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        adam_state(parameters)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 0), {}, "total_steps must be an integer of at least 1, got 0."),
        ((0, 2.5), {}, "total_steps must be an integer of at least 1, got 2.5."),
        ((-1, 9), {}, "step must be a finite number of at least 0 and at most 9, got -1."),
        ((10, 9), {}, "step must be a finite number of at least 0 and at most 9, got 10."),
        ((math.nan, 9), {}, "step must be a finite number of at least 0 and at most 9, got nan."),
        ((True, 9), {}, "step must be a finite number of at least 0 and at most 9, got True."),
        ((None, 9), {}, "step must be an array of real numbers, got None."),
        (("1", 9), {}, "step must be an array of real numbers, got '1'."),
        ((0, 9), {"base": -1}, "base must be a finite number of at least 0, got -1."),
        ((0, 9), {"base": np.ones(3)}, "base must be one number, got shape (3,)."),
        (
            (0, 9),
            {"warmup_steps": 10},
            "warmup_steps must be an integer from 0 to 9, got 10.",
        ),
        (
            (0, 9),
            {"warmup_steps": -1},
            "warmup_steps must be an integer from 0 to 9, got -1.",
        ),
        (
            (0, 9),
            {"warmup_steps": 1.0},
            "warmup_steps must be an integer from 0 to 9, got 1.0.",
        ),
        (
            (0, 9),
            {"warmup_steps": True},
            "warmup_steps must be an integer from 0 to 9, got True.",
        ),
    ],
)
def test_cosine_rejects(arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cosine_schedule(*arguments, **{"base": 0.1} | options)

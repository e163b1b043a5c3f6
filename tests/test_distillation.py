"""Tests for `cnnbook.distillation` (chapter 16)."""

import importlib.util
import math
import re

import keras
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.distillation import distill, distillation_loss, distillation_loss_gradient
from cnnbook.losses import cross_entropy, cross_entropy_gradient
from cnnbook.training import train, value_and_gradients

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHAPES = ((4, 5), (2, 3, 4))  # few, because JAX compiles each anew
REDUCTIONS = ("mean", "sum", "none")
FUNCTIONS = (distillation_loss, distillation_loss_gradient)


def reference_softmax(row, temperature=1.0):
    exponentials = [math.exp(float(z) / temperature) for z in row]
    return [e / math.fsum(exponentials) for e in exponentials]


def reference_rows(y, student, teacher, alpha, temperature):
    """Eq. eq-distill, one loss for each row, by loops in float64."""
    out = np.zeros(student.shape[:-1])
    for row in np.ndindex(out.shape):
        predicted = reference_softmax(student[row])
        p = reference_softmax(teacher[row], temperature)
        q = reference_softmax(student[row], temperature)
        hard = math.fsum(-t * math.log(s) for t, s in zip(y[row], predicted, strict=True))
        soft = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        out[row] = alpha * hard + (1 - alpha) * temperature**2 * soft
    return out


def reference_gradient(y, student, teacher, alpha, temperature):
    out = np.zeros(student.shape)
    for row in np.ndindex(out.shape[:-1]):
        predicted = reference_softmax(student[row])
        p = reference_softmax(teacher[row], temperature)
        q = reference_softmax(student[row], temperature)
        for c in range(out.shape[-1]):
            hard = predicted[c] - y[row][c]
            out[(*row, c)] = alpha * hard + (1 - alpha) * temperature * (q[c] - p[c])
    return out


def reduced(losses, reduction):
    if reduction == "none":
        return losses
    return math.fsum(losses.ravel()) / (losses.size if reduction == "mean" else 1)


@st.composite
def cases(draw):
    """(labels, rows, student's and teacher's logits, options) of two or three axes."""
    *shape, classes = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    labels = rng.integers(classes, size=shape)
    student, teacher = (1.5 * rng.normal(size=(2, *shape, classes))).astype("float32")
    options = {
        "alpha": draw(st.sampled_from([0, 0.1, 0.5, 0.9, 1])),
        "temperature": draw(st.sampled_from([1, 2.5, 4.0, 8.0])),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }
    return labels, np.eye(classes, dtype="float32")[labels], student, teacher, options


# The loss and its gradient


@given(cases())
@drawn
def test_loss_matches_reference(case):
    labels, rows, student, teacher, options = case
    reduction = options["reduction"]
    each = reference_rows(rows, student, teacher, options["alpha"], options["temperature"])
    for truth in (labels.astype("uint8"), rows):
        got = to_numpy(distillation_loss(truth, student, teacher, **options))
        assert got.shape == np.shape(reduced(each, reduction))
        np.testing.assert_allclose(got, reduced(each, reduction), rtol=1e-5, atol=2e-5)
    soft_rows = np.apply_along_axis(reference_softmax, -1, teacher)  # any probabilities will do
    each = reference_rows(soft_rows, student, teacher, options["alpha"], options["temperature"])
    got = distillation_loss(soft_rows, student, teacher, **options)
    np.testing.assert_allclose(to_numpy(got), reduced(each, reduction), rtol=1e-5, atol=2e-5)


@given(cases())
@drawn
def test_gradient_matches_reference(case):
    labels, rows, student, teacher, options = case
    expected = reference_gradient(rows, student, teacher, options["alpha"], options["temperature"])
    expected /= labels.size if options["reduction"] == "mean" else 1
    for truth in (labels, rows):
        got = to_numpy(distillation_loss_gradient(truth, student, teacher, **options))
        np.testing.assert_allclose(got, expected, **CLOSE)
    np.testing.assert_allclose(got.sum(axis=-1), 0.0, atol=1e-5)


def loss_of_keras(labels, student, teacher, alpha, temperature):
    """alpha means the same as `student_loss_weight` of keras.distillation.Distiller."""
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, student)
    soft = keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())
    teacher = ops.convert_to_tensor(teacher)
    return alpha * hard + (1 - alpha) * soft.compute_loss(teacher, student)


@given(cases())
@drawn
def test_matches_keras(parity, case):
    """Keras rounds a divergence to some 1e-7 and multiplies it by up to 64."""
    labels, _, student, teacher, options = case
    options = {name: options[name] for name in ("alpha", "temperature")}
    got = distillation_loss(labels, student, teacher, **options)
    theirs = loss_of_keras(labels, ops.convert_to_tensor(student), teacher, **options)
    peer = "keras.distillation.LogitsDistillation"
    parity(distillation_loss, peer, got, theirs, atol=5e-5)
    (slope,) = vjp(lambda z: loss_of_keras(labels, z, teacher, **options), [student], 1.0)
    got = distillation_loss_gradient(labels, student, teacher, **options)
    parity(distillation_loss_gradient, f"autodiff of {peer}", got, slope)


@given(cases())
@drawn
def test_gradient_matches_autodiff(case):
    labels, rows, student, teacher, options = case
    student = student.astype(precise_dtype())
    upstream = np.ones(labels.shape if options["reduction"] == "none" else ())
    for truth in (labels, rows):
        got = distillation_loss_gradient(truth, student, teacher, **options)
        (slope,) = vjp(
            lambda z: distillation_loss(truth, z, teacher, **options),  # noqa: B023
            [student],
            upstream,
        )
        np.testing.assert_allclose(to_numpy(got), slope, **CLOSE)


def test_the_default_of_keras_is_another_loss():
    """If this fails, Keras has been mended: the chapter's section on its default is to go."""
    default = keras.distillation.LogitsDistillation(temperature=2.0)
    student, teacher = (
        ops.convert_to_tensor(np.array([z], "float32")) for z in ([-1, -9], [-2, 0])
    )
    assert abs(float(default.compute_loss(teacher, student))) < 1e-4
    exact = float(distillation_loss([0], student, teacher, alpha=0, temperature=2.0))
    assert exact > 1


def test_divergence_matches_scipy():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 30, 7))
    labels = np.zeros(30, "int32")
    p, q = (scipy.special.softmax(z / 3, axis=-1) for z in (teacher, student))
    expected = 9 * scipy.special.rel_entr(p, q).sum()
    options = {"alpha": 0, "temperature": 3, "reduction": "sum"}
    got = distillation_loss(labels, student, teacher, **options)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
@pytest.mark.parametrize(("reduction", "theirs"), [("mean", "batchmean"), ("sum", "sum")])
def test_matches_torch(reduction, theirs):
    """PyTorch takes log q first and p second; its "mean" divides by the classes, too."""
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(0)
    labels, (student, teacher) = rng.integers(4, size=6), rng.normal(size=(2, 6, 4))
    z = torch.tensor(student, requires_grad=True)
    log_q, p = F.log_softmax(z / 4, -1), F.softmax(torch.tensor(teacher) / 4, -1)
    soft = F.kl_div(log_q, p, reduction=theirs)
    hard = F.cross_entropy(z, torch.tensor(labels), reduction=reduction)
    loss = 0.1 * hard + 0.9 * 16 * soft
    loss.backward()
    got = distillation_loss(labels, student, teacher, reduction=reduction)
    np.testing.assert_allclose(to_numpy(got), loss.item(), **CLOSE)
    got = distillation_loss_gradient(labels, student, teacher, reduction=reduction)
    np.testing.assert_allclose(to_numpy(got), z.grad.numpy(), **CLOSE)
    with pytest.warns(UserWarning, match="divides the total loss by both the batch size"):
        per_value = F.kl_div(log_q, p, reduction="mean").item()
    np.testing.assert_allclose(per_value, F.kl_div(log_q, p, reduction="batchmean").item() / 4)


def test_by_hand():
    # softened by 2: p = (1/2, 1/2), q = (1, 3)/4; KL = (log 2 + log 2/3) / 2 = log(4/3) / 2
    student, teacher = [[0.0, math.log(9.0)]], [[5.0, 5.0]]
    soft, hard = 4 * math.log(4 / 3) / 2, math.log(10)
    options = {"alpha": 0.1, "temperature": 2.0}
    got = to_numpy(distillation_loss([0], student, teacher, **options))
    np.testing.assert_allclose(got, 0.1 * hard + 0.9 * soft, **CLOSE)
    np.testing.assert_allclose(got, 0.7481, atol=1e-4)
    got = to_numpy(distillation_loss_gradient([0], student, teacher, **options))
    # 0.1 * (1/10 - 1) + 0.9 * 2 * (1/4 - 1/2)
    np.testing.assert_allclose(got, [[-0.09 - 0.45, 0.09 + 0.45]], **CLOSE)
    # the direction: KL(q, p) is log(1/2) / 4 + 3 log(3/2) / 4
    got = to_numpy(distillation_loss([0], teacher, student, alpha=0, temperature=2.0))
    np.testing.assert_allclose(got, 4 * (math.log(1 / 2) + 3 * math.log(3 / 2)) / 4, **CLOSE)


def test_defaults_are_those_of_the_design():
    rng = np.random.default_rng(1)
    labels, (student, teacher) = rng.integers(3, size=5), rng.normal(size=(2, 5, 3))
    for function in FUNCTIONS:
        got = function(labels, student, teacher)
        options = {"alpha": 0.1, "temperature": 4.0, "reduction": "mean"}
        expected = function(labels, student, teacher, **options)
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


@given(cases())
@drawn
def test_extremes_of_alpha(case):
    labels, _, student, teacher, options = case
    options |= {"alpha": 1}
    got = distillation_loss(labels, student, teacher, **options)
    reduction = options["reduction"]
    hard = cross_entropy(labels, student, from_logits=True, reduction=reduction)
    np.testing.assert_array_equal(to_numpy(got), to_numpy(hard))
    got = distillation_loss_gradient(labels, student, teacher, **options)
    hard = cross_entropy_gradient(labels, student, reduction=reduction)
    np.testing.assert_allclose(to_numpy(got), to_numpy(hard), **CLOSE)
    for alpha in (0, 0.5):  # what agrees with the teacher pays for the labels alone
        got = distillation_loss(labels, teacher + 3, teacher, **options | {"alpha": alpha})
        hard = cross_entropy(labels, teacher, from_logits=True, reduction=reduction)
        np.testing.assert_allclose(to_numpy(got), alpha * to_numpy(hard), rtol=1e-4, atol=1e-5)


@given(cases())
@drawn
def test_labels_do_not_matter_to_the_teacher_alone(case):
    labels, _, student, teacher, options = case
    options |= {"alpha": 0}
    other = (labels + 1) % student.shape[-1]
    for function in FUNCTIONS:
        got, expected = (
            to_numpy(function(y, student, teacher, **options)) for y in (labels, other)
        )
        np.testing.assert_allclose(got, expected, **CLOSE)
        shifted = function(labels, student - 2, teacher + 1, **options)
        np.testing.assert_allclose(to_numpy(shifted), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("temperature", [50, 200, 1000])
def test_high_temperatures_match_logits(temperature):
    """(z_S - z_T) / C, both centered, where the first line of the divergence loses all digits."""
    rng = np.random.default_rng(2)
    student, teacher = rng.normal(size=(2, 20, 10)).astype("float32")
    labels, options = np.zeros(20, "int32"), {"alpha": 0, "temperature": temperature}
    exact = reference_rows(np.eye(10)[labels], student, teacher, 0, temperature)
    got = to_numpy(distillation_loss(labels, student, teacher, reduction="none", **options))
    np.testing.assert_allclose(got, exact, rtol=2e-3)
    difference = (student - teacher).astype("float64")
    difference -= difference.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(exact, (difference**2).sum(-1) / 20, rtol=8 / temperature)
    got = distillation_loss_gradient(labels, student, teacher, reduction="sum", **options)
    np.testing.assert_allclose(to_numpy(got), difference / 10, atol=2 / temperature)


def test_no_divergence_is_negative():
    rng = np.random.default_rng(3)
    teacher = rng.normal(size=(500, 10)).astype("float32")
    student = teacher + 1e-3 * rng.normal(size=teacher.shape).astype("float32")
    for temperature in (1, 30, 1000):
        options = {"alpha": 0, "temperature": temperature, "reduction": "none"}
        got = to_numpy(distillation_loss(np.zeros(500, "int32"), student, teacher, **options))
        assert got.min() >= 0


def test_confident_networks():
    """Probabilities below the smallest float, on either side: nothing is clipped."""
    options = {"alpha": 0, "temperature": 1, "reduction": "none"}
    for student, teacher, expected in (
        ([0.0, 200.0], [0.0, 0.0], 100 - math.log(2)),
        ([0.0, 0.0], [0.0, 200.0], math.log(2)),
        ([0.0, 200.0], [200.0, 0.0], 200.0),
        ([0.0, 0.0], [-math.inf, 0.0], math.log(2)),
        ([-math.inf, 0.0], [-math.inf, 5.0], 0.0),
        ([-math.inf, 0.0], [0.0, 0.0], math.inf),
    ):
        got = distillation_loss([0], [student], [teacher], **options)
        np.testing.assert_allclose(to_numpy(got), [expected], **CLOSE)
        student, teacher = np.array([[student], [teacher]], "float32")
        if not math.isinf(expected):
            slope = distillation_loss_gradient([0], student, teacher, **options)
            (auto,) = vjp(
                lambda z: distillation_loss([0], z, teacher, **options),  # noqa: B023
                [student],
                np.ones(1),
            )
            np.testing.assert_allclose(to_numpy(slope), auto, **CLOSE)
    student, teacher = [[-math.inf, 0.0]], [[0.0, 0.0]]  # infinite parts of weight 0
    np.testing.assert_array_equal(to_numpy(distillation_loss([1], student, teacher, alpha=1)), 0.0)
    got = distillation_loss([0], student, student, alpha=0)
    np.testing.assert_array_equal(to_numpy(got), 0.0)


def test_the_teacher_is_a_constant():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(6, 3)).astype("float32")
    labels, factor = rng.integers(3, size=6), np.array([0.5, -1.0, 2.0], "float32")
    (got,) = vjp(
        lambda z: distillation_loss(labels, z, z * ops.convert_to_tensor(factor)), [z], 1.0
    )
    expected = distillation_loss_gradient(labels, z, factor * z)
    np.testing.assert_allclose(got, to_numpy(expected), **CLOSE)


def test_empty_batch_and_dtype():
    empty, labels = np.ones((0, 3), "float32"), np.zeros(0, "int32")
    for reduction, expected in (("mean", math.nan), ("sum", 0.0)):
        got = distillation_loss(labels, empty, empty, reduction=reduction)
        np.testing.assert_array_equal(to_numpy(got), expected)
        got = distillation_loss_gradient(labels, empty, empty, reduction=reduction)
        assert tuple(got.shape) == (0, 3)
    got = distillation_loss([0], [[1, 2]], np.zeros((1, 2), "float32"))
    assert keras.backend.standardize_dtype(got.dtype) == "float32"


def both(labels, student, teacher):
    return (
        distillation_loss(labels, student, teacher),
        distillation_loss(labels, student, teacher, alpha=0.5, temperature=2, reduction="none"),
        distillation_loss_gradient(labels, student, teacher),
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(5)
    student, teacher = rng.normal(size=(2, 4, 3)).astype("float32")
    return [ops.convert_to_tensor(a) for a in (rng.integers(3, size=4), student, teacher)]


def test_compiled(batch):
    for got, expected in zip(compiled(both)(*batch), both(*batch), strict=True):
        np.testing.assert_allclose(to_numpy(got), to_numpy(expected), **CLOSE)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an unknown batch size")
def test_unknown_batch_size(batch):
    import tensorflow as tf

    traced = tf.function(both, [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in batch])
    for got, expected in zip(traced(*batch), both(*batch), strict=True):
        np.testing.assert_allclose(to_numpy(got), to_numpy(expected), **CLOSE)


def test_a_wrong_label_is_nan_where_it_cannot_be_an_error(batch):
    _, student, teacher = batch
    labels = ops.convert_to_tensor(np.array([0, 3, 1, 1], "int32"))

    def losses(labels, student):
        return distillation_loss(labels, student, teacher, reduction="none")

    got = to_numpy(compiled(losses)(labels, student))
    np.testing.assert_array_equal(np.isnan(got), [False, True, False, False])
    for function in FUNCTIONS:
        with pytest.raises(ValueError, match="y_true must hold classes from 0 to 2, got 3 at"):
            function(labels, student, teacher)


# Errors of the loss and its gradient

Z = np.zeros((2, 3), "float32")


@pytest.mark.parametrize("function", FUNCTIONS)
class TestRejects:
    @pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, True, "0.1", None])
    def test_alpha(self, function, alpha):
        message = f"alpha must be a finite number of at least 0 and at most 1, got {alpha!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            function([0, 1], Z, Z, alpha=alpha)

    @pytest.mark.parametrize("temperature", [0, -4.0, math.inf, math.nan, True, "4", None])
    @pytest.mark.parametrize("alpha", [0, 0.1, 1])
    def test_temperature(self, function, temperature, alpha):
        message = f"temperature must be a finite number above 0, got {temperature!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            function([0, 1], Z, Z, temperature=temperature, alpha=alpha)

    @pytest.mark.parametrize("reduction", ["batchmean", None, True])
    def test_reduction(self, function, reduction):
        message = f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            function([0, 1], Z, Z, reduction=reduction)

    @pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1), (3, 2), (2, 3, 1), ()])
    def test_shape_of_the_teacher(self, function, shape):
        message = f"teacher_logits must have the shape of student_logits (2, 3), got {shape}."
        with pytest.raises(ValueError, match=re.escape(message)):
            function([0, 1], Z, np.zeros(shape))

    @pytest.mark.parametrize("shape", [(3,), (2, 1), (3, 2), (1, 3), ()])
    def test_shape_of_the_truth(self, function, shape):
        message = (
            "y_true must have the shape of student_logits (2, 3) or, with integers, (2,), "
            f"got {shape}."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            function(np.zeros(shape, "int32"), Z, Z)

    def test_a_single_number(self, function):
        with pytest.raises(ValueError, match="student_logits must have an axis of classes, got a"):
            function(0, 1.0, 1.0)

    @pytest.mark.parametrize("alpha", [0, 0.1, 1])
    def test_labels(self, function, alpha):
        message = r"y_true must hold classes from 0 to 2, got -1 at index \(1,\)"
        with pytest.raises(ValueError, match=message):
            function(np.array([0, -1]), Z, Z, alpha=alpha)
        with pytest.raises(ValueError, match="must hold integers, .* got dtype float32"):
            function(np.array([0.0, 1.0], "float32"), Z, Z, alpha=alpha)
        with pytest.raises(ValueError, match=r"y_true must sum to 1 .* got 2 at index \(0,\)"):
            function([[1, 1, 0], [0, 1, 0]], Z, Z, alpha=alpha)


# distill


def images(count=10, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count).astype("uint8")
    x = rng.normal(size=(count, 4, 4, 2)).astype("float32")
    x[..., 0] += 2 * labels[:, None, None]
    return x, labels


def network(seed, filters=2, penalty=None, units=3, last=None):
    """A small network whose batch normalization has something to forget."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((4, 4, 2)),
        keras.layers.Conv2D(filters, 3, use_bias=False, kernel_regularizer=penalty),
        keras.layers.BatchNormalization(momentum=0.5),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(units, activation=last),
    ]
    model = keras.Sequential(layers)
    rng = np.random.default_rng(seed)
    moved = [w + 0.1 * np.abs(rng.normal(size=w.shape)) for w in model.get_weights()]
    model.set_weights(moved)
    return model


def assert_same_weights(model, weights, **tolerance):
    for variable, expected in zip(model.weights, weights, strict=True):
        got = to_numpy(variable)
        np.testing.assert_allclose(got, expected, err_msg=variable.path, **tolerance)


@pytest.mark.parametrize("penalty", [None, 0.3])
@pytest.mark.parametrize(("alpha", "temperature"), [(0.1, 4.0), (0.6, 2), (0, 1.5), (1, 4.0)])
def test_a_step_is_the_gradient_step_of_the_loss(parity, alpha, temperature, penalty):
    x, y = images()
    penalty = penalty and keras.regularizers.L2(penalty)
    student, twin = network(1, penalty=penalty), network(1, penalty=penalty)
    teacher = network(2, filters=4)
    logits, labels = teacher(x, training=False), ops.convert_to_tensor(y.astype("int32"))

    def loss(_, z):
        return distillation_loss(labels, z, logits, alpha=alpha, temperature=temperature)

    value, gradients = value_and_gradients(twin, loss, x, labels)
    steps = dict(zip([v.path for v in twin.trainable_variables], gradients, strict=True))
    expected = [to_numpy(v) - 0.5 * to_numpy(steps.get(v.path, 0.0)) for v in twin.weights]
    history = distill(
        student,
        teacher,
        (x, y),
        epochs=1,
        optimizer=keras.optimizers.SGD(0.5),
        alpha=alpha,
        temperature=temperature,
        verbose=0,
    )
    largest = max(np.abs(to_numpy(g)).max() for g in gradients)
    assert largest > 0.1  # 0.5 times that is what a wrong step would miss
    got, wanted = (
        np.concatenate([np.ravel(a) for a in arrays])
        for arrays in (map(to_numpy, student.weights), expected)
    )
    parity(distill, "a gradient step of cnnbook.distillation.distillation_loss", got, wanted)
    np.testing.assert_allclose(history["loss"], [float(value)], rtol=1e-5)


def test_epochs_take_the_batches_of_train():
    """Several batches, the last smaller, in the order of the seed and the epoch."""
    (x, y), teacher = images(10), network(2)
    options = {"epochs": 3, "batch_size": 4, "seed": 7, "verbose": 0}
    student, twin, other = network(1), network(1), network(1)
    distill(student, teacher, (x, y), optimizer=keras.optimizers.SGD(0.1), **options)
    packed = np.concatenate([np.eye(3)[y], to_numpy(teacher(x, training=False))], axis=1)
    packed = packed.astype("float32")

    def loss(y, z):
        return distillation_loss(y[:, :3], z, y[:, 3:])

    train(twin, (x, packed), loss=loss, optimizer=keras.optimizers.SGD(0.1), **options)
    assert_same_weights(student, twin.get_weights(), rtol=1e-4, atol=1e-5)
    options["seed"] = 8
    distill(other, teacher, (x, y), optimizer=keras.optimizers.SGD(0.1), **options)
    pairs = zip(other.get_weights(), twin.get_weights(), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-4


def test_the_teacher_is_left_as_it_was():
    inner = keras.Sequential([keras.layers.Dense(4), keras.layers.BatchNormalization()])
    layers = [keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    layers += [inner, keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    teacher = keras.Sequential([keras.Input((4, 4, 2)), *layers])
    layers[0].trainable = False  # in part, and inside a layer, and one variable alone
    inner.layers[1].trainable = False
    layers[-1].bias.trainable = False
    before = [to_numpy(v) for v in teacher.variables]
    flags = [layer.trainable for layer in [teacher, *layers, *inner.layers]]
    trained = [v.path for v in teacher.trainable_variables]
    student, start = network(1), network(1).get_weights()
    distill(student, teacher, images(), epochs=2, optimizer="sgd", verbose=0)
    for old, variable in zip(before, teacher.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), old, err_msg=variable.path)
    assert [layer.trainable for layer in [teacher, *layers, *inner.layers]] == flags
    assert [v.path for v in teacher.trainable_variables] == trained
    assert flags.count(False) == 2 and len(trained) == 5
    for variable, old in zip(student.weights, start, strict=True):  # all of the student moved
        assert np.abs(to_numpy(variable) - old).max() > 1e-5, variable.path


def test_an_error_in_training_leaves_the_teacher_trainable():
    teacher = network(2)
    with pytest.raises(ValueError, match="[Oo]ptimizer"):
        distill(network(1), teacher, images(), epochs=1, optimizer="nonsense", verbose=0)
    assert teacher.trainable and all(layer.trainable for layer in teacher.layers)


def test_a_frozen_part_of_the_student_stays():
    student = network(1)
    student.layers[0].trainable = False
    before = to_numpy(student.layers[0].kernel)
    distill(student, network(2), images(), epochs=1, optimizer="sgd", verbose=0)
    np.testing.assert_array_equal(to_numpy(student.layers[0].kernel), before)
    assert not student.layers[0].trainable and student.layers[-1].trainable


def test_rows_and_integers_are_the_same_labels():
    x, y = images()
    students = [network(1), network(1)]
    for student, labels in zip(students, (y, np.eye(3, dtype="float32")[y]), strict=True):
        history = distill(student, network(2), (x, labels), epochs=2, verbose=0)
        assert 0 <= history["accuracy"][-1] <= 1
    assert_same_weights(students[0], students[1].get_weights(), rtol=1e-4, atol=1e-6)


def test_integer_images():
    x, y = images()
    x = np.round(20 * x).clip(0, 255).astype("uint8")
    students = [network(1), network(1)]
    for student, pixels in zip(students, (x, x.astype("float32")), strict=True):
        distill(student, network(2), (pixels, y), epochs=1, verbose=0)
    assert_same_weights(students[0], students[1].get_weights(), rtol=1e-5, atol=1e-6)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(5 * index, 5 * index + 5)
        return self.x[part], self.y[part]


def test_batches_of_ones_own_and_validation():
    x, y = images()
    y = y.astype("int32")
    teacher, student, twin = network(2), network(1), network(1)
    held = images(6, seed=9)
    sgd = {"optimizer": keras.optimizers.SGD(0.1), "verbose": 0}
    history = distill(student, teacher, Batches(x, y), epochs=1, validation_data=held, **sgd)
    logits = to_numpy(teacher(x, training=False))
    for part in (slice(0, 5), slice(5, 10)):

        def loss(y, z, part=part):
            return distillation_loss(y, z, logits[part])

        _, gradients = value_and_gradients(twin, loss, x[part], y[part])
        for variable, gradient in zip(twin.trainable_variables, gradients, strict=True):
            variable.assign(to_numpy(variable) - 0.1 * to_numpy(gradient))
    assert_same_weights(student, twin.get_weights(), rtol=1e-4, atol=1e-5)
    scores, teachers = (to_numpy(m(held[0], training=False)) for m in (student, teacher))
    expected = float(distillation_loss(held[1], scores, teachers))
    np.testing.assert_allclose(history["val_loss"], [expected], rtol=1e-4)
    hits = np.mean(scores.argmax(-1) == held[1])
    np.testing.assert_allclose(history["val_accuracy"], [hits], atol=1e-6)
    hard = float(cross_entropy(held[1], scores, from_logits=True))
    np.testing.assert_allclose(history["val_student_loss"], [hard], rtol=1e-4)
    soft = float(distillation_loss(held[1], scores, teachers, alpha=0))
    np.testing.assert_allclose(history["val_distillation_loss"], [soft], rtol=1e-4)
    names = {"loss", "accuracy", "student_loss", "distillation_loss"}
    assert set(history) == names | {f"val_{name}" for name in names}


def test_a_student_takes_over_what_its_teacher_knows():
    """Labels that say nothing, a teacher that knows the rule."""
    x, y = images(200)
    teacher, student = network(2, filters=4), network(1, filters=3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fast = [keras.optimizers.Adam(0.02) for _ in range(2)]
    train(teacher, (x, y.astype("int32")), loss=loss, optimizer=fast[0], epochs=20, verbose=0)
    wrong = np.random.default_rng(3).integers(3, size=200)
    distill(student, teacher, (x, wrong), epochs=40, alpha=0.0, optimizer=fast[1], verbose=0)
    new, truth = images(300, seed=4)
    reached = {m: np.mean(to_numpy(m(new)).argmax(-1) == truth) for m in (teacher, student)}
    assert reached[teacher] > 0.9 and reached[student] > reached[teacher] - 0.1


def functional(inputs, outputs):
    tensors = [keras.Input(shape) for shape in inputs]
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(t) for t in tensors] * 2)
    return keras.Model(tensors, [keras.layers.Dense(n)(joined) for n in outputs])


class Subclassed(keras.Model):
    def call(self, x):
        return x


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 3)))
    return model


def with_softmax(layer):
    return keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Flatten(), *layer])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "{} must be a Keras model, got NoneType"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "{} must be built: begin with"),
        (subclassed, "{} must be .* with one output, got Subclassed with 0"),
        (lambda: functional([(4, 4, 2)], [3, 3]), "with one output, got Functional with 2"),
        (
            lambda: network(0, last="softmax"),
            "{} must end in logits, but its layer 'dense.*' is a softmax",
        ),
        (
            lambda: with_softmax([keras.layers.Dense(3), keras.layers.Softmax()]),
            "{} must end in logits, but its layer 'softmax.*' is a softmax",
        ),
    ],
)
@pytest.mark.parametrize("name", ["student", "teacher"])
def test_distill_rejects_a_model(name, make, message):
    models = {"student": network(1), "teacher": network(2)} | {name: make()}
    with pytest.raises(ValueError, match=message.format(name)):
        distill(**models, data=images(), epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            lambda: network(2, units=4),
            r"teacher must have the outputs of student \(None, 3\), got \(None, 4\)\.",
        ),
        (
            lambda: functional([(4, 4, 1)], [3]),
            r"teacher must have the inputs of student \(None, 4, 4, 2\), got \(None, 4, 4, 1\)\.",
        ),
        (
            lambda: functional([(4, 4, 2), (1,)], [3]),
            r"inputs of student \(None, 4, 4, 2\), got \(None, 4, 4, 2\), \(None, 1\)\.",
        ),
    ],
)
def test_distill_rejects_a_pair(teacher, message):
    with pytest.raises(ValueError, match=message):
        distill(network(1), teacher(), images(), epochs=1, verbose=0)


def test_distill_rejects_shared_weights_and_a_frozen_student():
    student = network(1)
    with pytest.raises(ValueError, match="must share no weights, got 7 that belong to both"):
        distill(student, student, images(), epochs=1, verbose=0)
    student.trainable = False
    with pytest.raises(ValueError, match="student 'sequential.*' has no weights that are trained"):
        distill(student, network(2), images(), epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(10, 3), r"data must have labels from 0 to 2, got 3\."),
        (np.full(10, -1), r"data must have labels from 0 to 2, got -1\."),
        (np.zeros(10), r"data must have integer labels of shape \('N',\) or rows \('N', 3\), got"),
        (np.zeros((10, 1), int), r"or rows \('N', 3\), got int64 of shape \(10, 1\)\."),
        (np.zeros((10, 4)), r"or rows \('N', 3\), got float64 of shape \(10, 4\)\."),
        (np.full((10, 3), 0.5), r"y_true must sum to 1 along its last axis, got 1\.5"),
        (np.zeros(9, int), "data has 10 images and 9 labels"),
    ],
)
def test_distill_rejects_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        distill(network(1), network(2), (images()[0], labels), epochs=1, verbose=0)
    if "data" in message:
        with pytest.raises(ValueError, match=message.replace("data", "validation_data")):
            held = images()[0], labels
            distill(network(1), network(2), images(), epochs=1, validation_data=held, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"alpha must be a finite number of at least 0 and at most 1, got 1\.5"),
        ({"alpha": True}, "alpha must be a finite number of at least 0 and at most 1, got True"),
        ({"temperature": 0}, "temperature must be a finite number above 0, got 0"),
        ({"temperature": "warm"}, "temperature must be a finite number above 0, got 'warm'"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, r"batch_size must be an integer of at least 1, got 2\.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 0.5}, r"seed must be an integer of at least 0, got 0\.5"),
        ({"data": 3}, r"data must be \(images, labels\) or batches .* once an epoch, got int"),
        ({"data": (np.zeros((0, 4, 4, 2)), np.zeros(0))}, "data has 0 images and 0 labels"),
        ({"validation_data": None, "data": None}, "once an epoch, got NoneType"),
    ],
)
def test_distill_rejects_arguments(options, message):
    student = network(1)
    before = student.get_weights()
    with pytest.raises(ValueError, match=message):
        distill(
            **{
                "student": student,
                "teacher": network(2),
                "data": images(),
                "epochs": 1,
                "verbose": 0,
            }
            | options
        )
    assert_same_weights(student, before, rtol=0)

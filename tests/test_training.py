import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from killed_training import make_model, run
from support import to_numpy

from cnnbook._training import checkpoints
from cnnbook.pruning import MagnitudePruning
from cnnbook.training import train, value_and_gradients

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 4)).astype("float32"), RNG.integers(0, 3, size=20)


def linear(outputs=3, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs)])


def softmax_gradients(x, y, kernel, bias):
    """Loss and gradients of softmax regression, in float64, image by image."""
    loss, dkernel, dbias = 0.0, np.zeros(kernel.shape), np.zeros(bias.shape)
    for image, label in zip(x.astype("float64"), y, strict=True):
        z = image @ kernel + bias
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        loss -= np.log(p[label]) / len(x)
        p[label] -= 1
        dkernel += np.outer(image, p) / len(x)
        dbias += p / len(x)
    return loss, dkernel, dbias


# value_and_gradients


def test_gradients_are_the_equation(parity):
    model = linear()
    loss, (dkernel, dbias) = value_and_gradients(model, LOSS, X, Y)
    expected = softmax_gradients(X, Y, *(w.astype("float64") for w in model.get_weights()))
    for got, want in zip((loss, dkernel, dbias), expected, strict=True):
        parity(value_and_gradients, "NumPy in float64", got, want)


def test_penalties_are_part_of_the_loss():
    decay = keras.regularizers.L2(0.5)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, use_bias=False, kernel_regularizer=decay)]
    )
    loss, (gradient,) = value_and_gradients(model, LOSS, X, Y)
    kernel = model.get_weights()[0].astype("float64")
    plain, expected, _ = softmax_gradients(X, Y, kernel, np.zeros(3))
    assert float(loss) == pytest.approx(plain + 0.5 * np.sum(kernel**2), rel=1e-5)
    np.testing.assert_allclose(to_numpy(gradient), expected + kernel, atol=1e-5)


def test_a_variable_without_influence_has_gradient_zero():
    class Blocked(keras.layers.Layer):
        def call(self, x):
            return ops.stop_gradient(x)

    layers = [keras.layers.Dense(4), Blocked(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    _, gradients = value_and_gradients(model, LOSS, X, Y)
    nonzero = [bool(np.any(to_numpy(g))) for g in gradients]
    assert nonzero == [False, False, True, True]


def test_the_models_state_moves_on():
    model = make_model()
    before = [to_numpy(v) for v in model.non_trainable_variables]
    value_and_gradients(model, LOSS, RNG.normal(size=(8, 6, 6, 1)), RNG.integers(0, 3, size=8))
    after = [to_numpy(v) for v in model.non_trainable_variables]
    assert not np.array_equal(before[0], after[0])  # the moving mean
    assert all(np.isfinite(a).all() for a in after)


def test_a_loss_of_several_numbers_is_refused():
    each = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    with pytest.raises(ValueError, match=r"one number for a batch, got shape \(20,\)"):
        value_and_gradients(linear(), each, X, Y)


# train


def test_one_epoch_by_hand(parity):
    """Two batches of plain gradient descent, in the order that the seed gives."""
    model, rate = linear(), 0.5
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    history = train(
        model,
        (X, Y),
        loss=LOSS,
        optimizer=keras.optimizers.SGD(rate),
        epochs=1,
        batch_size=12,
        seed=7,
        verbose=0,
    )
    order, losses, hits = np.random.default_rng((7, 0)).permutation(20), [], 0
    for chosen in (order[:12], order[12:]):
        hits += np.sum((X[chosen] @ kernel + bias).argmax(axis=1) == Y[chosen])
        loss, dkernel, dbias = softmax_gradients(X[chosen], Y[chosen], kernel, bias)
        kernel, bias = kernel - rate * dkernel, bias - rate * dbias
        losses.append(loss * len(chosen))
    parity(train, "NumPy in float64", model.get_weights()[0], kernel)
    parity(train, "NumPy in float64", model.get_weights()[1], bias)
    assert history["loss"] == pytest.approx([sum(losses) / 20], rel=1e-5)
    assert history["accuracy"] == [hits / 20]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_equals_fit(optimizer):
    ours, theirs = make_model(), make_model()
    for layer in (*ours.layers, *theirs.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    x, y = RNG.normal(size=(24, 6, 6, 1)).astype("float32"), RNG.integers(0, 3, size=24)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 24, 8)]
    history = train(
        ours,
        batches,
        loss=LOSS,
        optimizer=optimizer,
        epochs=3,
        validation_data=(x, y),
        batch_size=8,
        verbose=0,
    )
    theirs.compile(optimizer, LOSS, metrics=["accuracy"])
    peer = theirs.fit(
        x, y, batch_size=8, epochs=3, shuffle=False, validation_data=(x, y), verbose=0
    ).history
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        np.testing.assert_allclose(history[name], peer[name], atol=2e-4, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_learns_and_validates():
    labels = (X[:, 0] > 0).astype("int64")
    history = train(
        linear(2),
        (X, labels),
        loss=LOSS,
        optimizer=keras.optimizers.SGD(1.0),
        epochs=30,
        validation_data=(X, labels),
        verbose=0,
    )
    assert history["val_accuracy"][-1] >= 0.95
    assert history["loss"][-1] < history["loss"][0] / 2
    assert {len(values) for values in history.values()} == {30}


def test_same_seed_same_numbers():
    results = [run(make_model(), None, epochs=2) for _ in range(2)]
    assert results[0] == results[1]


def test_preprocess_reaches_validation_and_augment_does_not():
    seen = []

    def augment(images, *, seed):
        seen.append((len(images), seed))
        return images * 0

    model = linear()
    history = train(
        model,
        (X, Y),
        loss=LOSS,
        optimizer=keras.optimizers.SGD(0.0),
        epochs=2,
        batch_size=20,
        preprocess=lambda x: 2 * x,
        augment=augment,
        validation_data=(X, Y),
        verbose=0,
    )
    assert [n for n, _ in seen] == [20, 20] and seen[0][1] != seen[1][1]
    doubled = float(LOSS(Y, ops.convert_to_numpy(model(2 * X))))
    assert history["val_loss"] == pytest.approx([doubled] * 2, rel=1e-5)
    assert history["loss"] == pytest.approx([np.log(3)] * 2, rel=1e-5)


def test_augment_may_change_labels():
    seen = []

    def augment(images, labels):
        seen.append(labels)
        return images, np.zeros_like(labels)

    model = linear()
    train(
        model,
        (X, Y),
        loss=LOSS,
        optimizer=keras.optimizers.SGD(5.0),
        epochs=20,
        augment=augment,
        verbose=0,
    )
    assert sorted(seen[0]) == sorted(Y)
    assert np.all(to_numpy(model(X)).argmax(axis=1) == 0)


@pytest.mark.parametrize("kind", ["list", "PyDataset", "one-hot", "uint8"])
def test_kinds_of_data(kind):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return X[10 * i : 10 * i + 10], Y[10 * i : 10 * i + 10]

    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if kind == "one-hot" else LOSS
    data = {
        "list": [(X[:10], Y[:10]), (X[10:], Y[10:])],
        "PyDataset": Batches(),
        "one-hot": (X, np.eye(3, dtype="float32")[Y]),
        "uint8": (np.abs(10 * X).astype("uint8"), Y),
    }[kind]
    history = train(linear(), data, loss=loss, optimizer="sgd", epochs=2, verbose=0)
    assert set(history) == {"loss", "accuracy"}
    assert np.isfinite(history["loss"]).all()


def test_a_table_of_vectors_is_trained():
    """TensorFlow would give its gradient as pairs of rows and numbers."""
    keras.utils.set_random_seed(0)
    table = keras.layers.Embedding(4, 3)
    model = keras.Sequential([keras.Input((2,)), table, keras.layers.Flatten()])
    model.add(keras.layers.Dense(3))
    before, words = to_numpy(table.embeddings), np.array([[0, 1], [1, 3], [0, 0]])
    _, (gradient, *_) = value_and_gradients(model, LOSS, words, Y[:3])
    assert tuple(gradient.shape) == (4, 3)
    rate = keras.optimizers.SGD(0.5)
    train(model, (words, Y[:3]), loss=LOSS, optimizer=rate, epochs=1, verbose=0)
    np.testing.assert_allclose(
        to_numpy(table.embeddings), before - 0.5 * to_numpy(gradient), atol=1e-6
    )
    assert np.any(to_numpy(gradient[:2])) and not np.any(to_numpy(gradient[2]))


def test_numbers_as_labels_have_no_accuracy():
    history = train(
        linear(2),
        (X, X[:, :2]),
        loss=keras.losses.MeanSquaredError(),
        optimizer="sgd",
        epochs=1,
        verbose=0,
    )
    assert set(history) == {"loss"}


def test_patience_stops_and_keeps_the_best():
    model = linear()
    start = model.get_weights()
    history = train(
        model,
        (X, Y),
        loss=LOSS,
        optimizer=keras.optimizers.SGD(50.0),  # far too high: the first epoch stays the best
        epochs=50,
        validation_data=(X, Y),
        patience=2,
        verbose=0,
    )
    best = int(np.argmin(history["val_loss"]))
    assert len(history["val_loss"]) == best + 3 < 50
    assert float(LOSS(Y, to_numpy(model(X)))) == pytest.approx(min(history["val_loss"]), rel=1e-5)
    assert not np.array_equal(start[0], model.get_weights()[0])


def test_mixed_precision_scales_the_loss(monkeypatch):
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(8, dtype="mixed_float16"),
        keras.layers.Dense(3, dtype="float32"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.dtype_policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    scales, scale = [], keras.optimizers.LossScaleOptimizer.scale_loss
    monkeypatch.setattr(
        keras.optimizers.LossScaleOptimizer,
        "scale_loss",
        lambda self, loss: scales.append(1) or scale(self, loss),
    )
    optimizer = keras.optimizers.SGD(0.1)
    history = train(model, (X, Y), loss=LOSS, optimizer=optimizer, epochs=3, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    assert scales


def test_progress_is_printed(capsys):
    train(linear(), (X, Y), loss=LOSS, optimizer="sgd", epochs=2, verbose=2)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "epoch 1",
        "epoch 2",
    ]
    train(linear(), (X, Y), loss=LOSS, optimizer="sgd", epochs=1, batch_size=5, verbose=1)
    shown = capsys.readouterr().out
    assert "Epoch 1/1" in shown and "4/4" in shown and "accuracy" in shown
    train(linear(), (X, Y), loss=LOSS, optimizer="sgd", epochs=1, verbose=0)
    assert capsys.readouterr().out == ""


# Data

WEIGHTS = np.linspace(0.0, 2.0, 20).astype("float32")


def of_unknown_length():
    tf = pytest.importorskip("tensorflow")
    kinds = tf.TensorSpec((None, 4)), tf.TensorSpec((None,), tf.int64)
    halves = (X[:12], Y[:12]), (X[12:], Y[12:])
    return tf.data.Dataset.from_generator(lambda: iter(halves), output_signature=kinds)


def filtered():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True).batch(8)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # what fit says of each epoch
@pytest.mark.parametrize("make", [of_unknown_length, filtered])
def test_data_of_unknown_length(make):
    """Training and validation, of batches of unequal size, as in `fit`."""
    ours, theirs, data = linear(), linear(), make()
    options = dict(epochs=2, validation_data=data, verbose=0)
    history = train(ours, data, loss=LOSS, optimizer="sgd", **options)
    theirs.compile("sgd", LOSS, metrics=["accuracy"])
    peer = theirs.fit(data, shuffle=False, **options).history
    assert set(history) == set(peer)
    for name, values in peer.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    assert_close(ours.get_weights(), theirs.get_weights())


def two_inputs():
    keras.utils.set_random_seed(0)
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    return keras.Model([left, right], keras.layers.Dense(3)(keras.layers.Add()([left, right])))


class Given(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        x, *rest = self.batches[i]
        return tuple(x) if isinstance(x, list) else x, *rest


@pytest.mark.parametrize("kind", ["dict", "list"])
@pytest.mark.parametrize("as_batches", [False, True])
def test_several_inputs_and_sample_weights(kind, as_batches):
    penalty = keras.regularizers.L2(0.1)
    ours, theirs = two_inputs(), two_inputs()
    for model in (ours, theirs):
        model.layers[-1].kernel_regularizer = penalty
    parts = X[:, :2], X[:, 2:]
    x = dict(zip(("left", "right"), parts, strict=True)) if kind == "dict" else list(parts)
    groups = [(x, Y, WEIGHTS)]
    if as_batches:
        halves = [slice(0, 12), slice(12, 20)]
        groups = [
            ({k: a[h] for k, a in x.items()} if kind == "dict" else [a[h] for a in x], Y[h], w)
            for h, w in ((h, WEIGHTS[h]) for h in halves)
        ]
    data = groups if as_batches else groups[0]
    options = dict(epochs=2, verbose=0)
    history = train(
        ours, data, loss=LOSS, optimizer="sgd", batch_size=20, validation_data=data, **options
    )
    theirs.compile("sgd", LOSS, metrics=["accuracy"])
    peer = theirs.fit(
        Given(groups), shuffle=False, validation_data=Given(groups), **options
    ).history
    assert set(history) == set(peer)
    for name, values in peer.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    assert_close(ours.get_weights(), theirs.get_weights())


@pytest.mark.parametrize("name", ["mse", "mean_absolute_error", "Huber", "kl_divergence"])
def test_losses_by_name(name):
    """Labels of shape (N,) against outputs (N, 1), which a loss of one's own would broadcast."""
    labels = np.abs(X[:, 0])
    ours, theirs = linear(1), linear(1)
    options = dict(batch_size=20, epochs=2, verbose=0)
    history = train(ours, (X, labels), loss=name, optimizer="sgd", **options)
    theirs.compile("sgd", name)
    peer = theirs.fit(X, labels, **options).history
    np.testing.assert_allclose(history["loss"], peer["loss"], rtol=1e-5)
    assert_close(ours.get_weights(), theirs.get_weights())


def test_a_loss_of_ones_own_takes_sample_weights():
    def weighted(y_true, y_pred, sample_weight):
        each = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return ops.mean(each * sample_weight)

    ours, theirs = linear(), linear()
    options = dict(optimizer="sgd", epochs=2, verbose=0)
    train(ours, (X, Y, WEIGHTS), loss=weighted, **options)
    train(theirs, (X, Y, WEIGHTS), loss=LOSS, **options)
    assert_close(ours.get_weights(), theirs.get_weights())
    refuse(
        "data has sample weights, but loss does not take sample_weight",
        data=(X, Y, WEIGHTS),
        loss=lambda y, z: LOSS(y, z),
    )


def test_a_data_set_hears_of_each_epoch():
    heard = []

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            heard.append(i)
            return X[10 * i : 10 * i + 10], Y[10 * i : 10 * i + 10]

        def on_epoch_begin(self):
            heard.append("begin")

        def on_epoch_end(self):
            heard.append("end")

    train(linear(), Batches(), loss=LOSS, optimizer="sgd", epochs=2, verbose=0)
    assert heard == ["begin", 0, 1, "end"] * 2


def test_endless_data_are_refused():
    class Endless(keras.utils.PyDataset):
        @property
        def num_batches(self):
            return None

        def __getitem__(self, i):
            return X, Y

    for data in (itertools.cycle([(X, Y)]), itertools.repeat((X, Y)), Endless()):
        refuse("data is endless", data=data)
        refuse("validation_data is endless", validation_data=data)
    tf = pytest.importorskip("tensorflow")
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).repeat()
    refuse("data is endless, so that no epoch would end", data=endless)
    train(linear(), endless.take(3), loss=LOSS, optimizer="sgd", epochs=1, verbose=0)


def test_images_that_are_no_numbers():
    """Pooling and ReLU hide on TensorFlow that they are none."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.GlobalMaxPooling2D()]
    model = keras.Sequential([keras.Input((6, 6, 1)), *layers, keras.layers.Dense(3)])
    images = np.full((20, 6, 6, 1), np.nan, "float32")
    options = dict(loss=LOSS, optimizer="sgd", epochs=1, batch_size=10, verbose=0)
    with pytest.raises(FloatingPointError, match="images .*at step 1, batch 0 of epoch 0|hold NaN"):
        train(model, (images, Y), **options)
    model.set_weights([np.ones(w.shape) for w in model.get_weights()])
    held = images[:3], Y[:3]
    with pytest.raises(FloatingPointError, match="at validation batch 0 of epoch 0"):
        train(model, (np.ones_like(images), Y), validation_data=held, **options)


def test_integers_of_numpy(tmp_path):
    numbers = dict(batch_size=np.int64(8), save_every=np.int32(1), seed=np.uint8(0))
    numbers |= dict(epochs=np.int16(2), patience=np.int64(2), verbose=np.int64(0))
    results = []
    for folder, options in ((tmp_path, numbers), (None, {k: int(v) for k, v in numbers.items()})):
        options |= dict(loss=LOSS, optimizer="sgd", validation_data=(X, Y), checkpoint=folder)
        results.append(train(linear(), (X, Y), **options))
    assert results[0] == results[1]


# Optimizers

OPTIMIZERS = sorted(
    name
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
)
OPTIMIZERS.remove("Optimizer")
AVERAGED = dict(use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=4)
TOGETHER = [
    dict(AVERAGED, clipnorm=0.1, weight_decay=0.1),
    dict(use_ema=True, ema_momentum=0.8, gradient_accumulation_steps=2, global_clipnorm=0.1),
]


def make_optimizer(name, **options):
    def of(kind, rate):
        made = kind(rate, **options)
        made.exclude_from_weight_decay(var_names=["bias"])
        return made

    if name == "LossScaleOptimizer":
        return keras.optimizers.LossScaleOptimizer(of(keras.optimizers.SGD, 0.1))
    if name == "MultiOptimizer":
        adam, sgd = of(keras.optimizers.Adam, 0.05), of(keras.optimizers.SGD, 0.1)
        return keras.optimizers.MultiOptimizer(lambda v: adam if "bias" in v.path else sgd)
    return of(getattr(keras.optimizers, name), 0.05)


def fitted(optimizer, epochs=3):
    """Weights after `fit`. ScheduleFreeAdamW starts from the weights only if it is built before."""
    model = linear()
    model.compile(optimizer, LOSS, run_eagerly=True)
    optimizer.build(model.trainable_variables)
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def in_order(optimizer, model=None, **options):
    """Weights after `train` on the batches of `fitted`."""
    model = model or linear()
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8)]
    options = dict(epochs=3, verbose=0) | options
    train(model, batches, loss=LOSS, optimizer=optimizer, **options)
    return model.get_weights()


def assert_close(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("options", TOGETHER, ids=["ema", "accumulated"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_ends_where_fit_ends(tmp_path, name, options):
    """Three epochs of three steps, in two parts; the moving averages are the final weights."""
    in_order(make_optimizer(name, **options), epochs=1, checkpoint=tmp_path)
    resumed = in_order(make_optimizer(name, **options), linear(seed=5), checkpoint=tmp_path)
    assert_close(resumed, fitted(make_optimizer(name, **options)))


@pytest.mark.parametrize("options", [{}, dict(clipvalue=0.02), dict(loss_scale_factor=8.0)])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_other_options_of_an_optimizer(name, options):
    got = in_order(make_optimizer(name, **options))
    assert_close(got, fitted(make_optimizer(name, **options)))


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_variable_without_influence_is_left_as_fit_leaves_it():
    """Weight decay does not touch it on TensorFlow and PyTorch, where Keras sees no gradient."""

    class Blocked(keras.layers.Layer):
        def call(self, x):
            return ops.stop_gradient(x)

    def make():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4), Blocked(), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input((4,)), *layers])

    ours, theirs = make(), make()
    theirs.compile(keras.optimizers.SGD(0.1, weight_decay=0.5), LOSS)
    theirs.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert_close(in_order(keras.optimizers.SGD(0.1, weight_decay=0.5), ours), theirs.get_weights())


# Callbacks


class Heard(keras.callbacks.Callback):
    """Remembers the names of the methods that are called, and for a batch its number."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs = [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train begin")
        assert self.model.optimizer.learning_rate is not None and self.params["epochs"] == 2

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(f"begin {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"end {batch}")
        self.logs.append(dict(logs))

    def on_test_begin(self, logs=None):
        self.calls.append("test begin")

    def on_test_batch_begin(self, batch, logs=None):
        self.calls.append(f"test {batch}")

    def on_test_batch_end(self, batch, logs=None):
        self.calls.append(f"tested {batch}")
        self.logs.append(dict(logs))

    def on_test_end(self, logs=None):
        self.calls.append("test end")
        self.logs.append(dict(logs))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append("epoch end")
        self.logs.append(dict(logs))

    def on_train_end(self, logs=None):
        self.calls.append("train end")
        self.logs.append(dict(logs))


def assert_same_logs(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert set(a) == set(b)
        np.testing.assert_allclose([a[k] for k in sorted(a)], [b[k] for k in sorted(a)], rtol=1e-5)


def test_callbacks_hear_what_they_hear_in_fit():
    ours, theirs, model = Heard(), Heard(), linear()
    options = dict(epochs=2, validation_data=(X, Y), verbose=0, batch_size=8)
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8)]
    train(model, batches, loss=LOSS, optimizer="sgd", callbacks=[ours], **options)
    peer = linear()
    peer.compile("sgd", LOSS, metrics=["accuracy"])
    peer.fit(X, Y, shuffle=False, callbacks=[theirs], **options)
    assert ours.calls == theirs.calls
    assert_same_logs(ours.logs, theirs.logs)
    assert getattr(model, "optimizer", None) is None  # only while it was trained


def makers(folder):
    kinds = keras.callbacks
    return {
        "schedule": lambda: kinds.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        "plateau": lambda: kinds.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=9),
        "early": lambda: kinds.EarlyStopping(
            "val_accuracy", patience=1, min_delta=2, restore_best_weights=True
        ),
        "pruning": lambda: MagnitudePruning(0.5, end=6, frequency=2),
        "averages": lambda: kinds.SwapEMAWeights(swap_on_epoch=True),
        "saving": lambda: kinds.ModelCheckpoint(
            folder / "model.keras", monitor="val_loss", save_best_only=True
        ),
        "lambda": lambda: kinds.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(twice=2 * logs["loss"])
        ),
    }


@pytest.mark.parametrize("name", makers(None))
def test_keras_callbacks_do_what_they_do_in_fit(tmp_path, name):
    def optimizer():
        return keras.optimizers.SGD(0.5, use_ema=name == "averages", ema_momentum=0.5)

    ours, theirs = linear(), linear()
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8)]
    options = dict(epochs=4, validation_data=(X, Y), verbose=0, batch_size=8)
    make = makers(tmp_path)[name]
    history = train(ours, batches, loss=LOSS, optimizer=optimizer(), callbacks=make(), **options)
    theirs.compile(optimizer(), LOSS, metrics=["accuracy"], run_eagerly=True)
    peer = theirs.fit(X, Y, shuffle=False, callbacks=[make()], **options).history
    assert set(history) == set(peer)
    for key, values in peer.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-4, atol=1e-6, err_msg=key)
    assert_close(ours.get_weights(), theirs.get_weights())
    if name == "saving":
        kept = keras.models.load_model(tmp_path / "model.keras", compile=False)
        assert_close(kept.get_weights(), ours.get_weights())


def test_a_table_of_epochs_is_written(tmp_path):
    table = keras.callbacks.CSVLogger(tmp_path / "epochs.csv")
    history = train(
        linear(), (X, Y), loss=LOSS, optimizer="sgd", epochs=2, callbacks=table, verbose=0
    )
    with (tmp_path / "epochs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == history["loss"]


class Failing(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and self.epoch == 1:
            raise RuntimeError("no reason")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def get_state(self):
        return {"epoch": self.epoch}

    def set_state(self, state):
        self.epoch = state["epoch"]


def test_a_callback_that_raises_stops_the_run(tmp_path):
    options = dict(loss=LOSS, optimizer="sgd", batch_size=5, epochs=3, verbose=0)
    with pytest.raises(RuntimeError, match="no reason") as error:
        train(linear(), (X, Y), callbacks=[Failing()], checkpoint=tmp_path, **options)
    (kept,) = tmp_path.iterdir()
    assert kept.name == "epoch-000001-step-000000004"
    (note,) = error.value.__notes__
    assert "Failing.on_train_batch_end raised it at step 6, batch 2 of epoch 1" in note
    assert note.endswith(f"the last checkpoint is {kept}.")


# Errors


def refuse(match, **changes):
    options = dict(loss=LOSS, optimizer="sgd", epochs=1, verbose=0)
    data = changes.pop("data", (X, Y))
    with pytest.raises(ValueError, match=match):
        train(linear(), data, **{**options, **changes})


def test_errors():
    refuse("epochs must be an integer of at least 1, got 0", epochs=0)
    refuse("batch_size must be an integer of at least 1, got -4", batch_size=-4)
    refuse("save_every must be an integer of at least 1, got 0", save_every=0)
    refuse("patience=2 needs validation_data", patience=2)
    refuse("seed must be an integer of at least 0, got -1", seed=-1)
    refuse("data has 20 images and 19 labels", data=(X, Y[:-1]))
    refuse("data has 0 images and 0 labels", data=(X[:0], Y[:0]))
    refuse("data has no batches", data=[])
    refuse("once an epoch, got generator", data=((X, Y) for _ in range(1)))
    refuse("validation_data has 2 images and 20 labels", validation_data=(X[:2], Y))
    refuse("validation_data has no batches", validation_data=[])
    refuse("data must give .*, got tuple of 4", data=[(X, Y, WEIGHTS, X)])
    refuse("a batch of data has 20 images and 19 labels", data=[(X, Y[:-1])])
    refuse("has 20 images and 20 labels and 3 sample weights", data=(X, Y, WEIGHTS[:3]))
    refuse("verbose must be an integer from 0 to 2, got 3", verbose=3)
    refuse("verbose must be an integer from 0 to 2, got True", verbose=True)
    refuse("patience must be an integer of at least 1, got 2.5", patience=2.5)
    refuse("seed must be an integer of at least 0, got True", seed=True)
    refuse("loss must be a function, a Keras loss or the name of one, got None", loss=None)
    refuse("loss 'nonsense' is no name of a Keras loss", loss="nonsense")
    refuse("callbacks must be Keras callbacks, got 'stop'", callbacks=["stop"])
    refuse("learning rate of at least 0, got -0.5", optimizer=keras.optimizers.SGD(-0.5))


def test_nan_stops_with_step_and_batch_and_keeps_the_checkpoint(tmp_path):
    def spoil(images, *, seed, calls=[]):  # noqa: B006
        calls.append(seed)
        return images * (np.nan if len(calls) == 7 else 1.0)

    options = dict(loss=LOSS, optimizer="sgd", batch_size=5, verbose=0, checkpoint=tmp_path)
    with pytest.raises(FloatingPointError, match="nan at step 7, batch 2 of epoch 1") as error:
        train(linear(), (X, Y), epochs=3, augment=spoil, **options)
    (kept,) = tmp_path.iterdir()
    assert kept.name == "epoch-000001-step-000000004" and str(kept) in str(error.value)
    history = train(linear(seed=1), (X, Y), epochs=3, augment=lambda x: x, **options)
    assert np.isfinite(history["loss"]).all() and len(history["loss"]) == 3


# Checkpoints


def simple(folder, model=None, **changes):
    options = dict(loss=LOSS, optimizer="adam", epochs=2, batch_size=5, verbose=0)
    data = changes.pop("data", (X, Y))
    return train(model or linear(), data, checkpoint=folder, **{**options, **changes})


def test_a_finished_run_is_not_run_again(tmp_path):
    model = linear()
    history, weights = simple(tmp_path, model), model.get_weights()
    other = linear(seed=5)
    assert simple(tmp_path, other) == history
    assert all(np.array_equal(a, b) for a, b in zip(weights, other.get_weights(), strict=True))
    longer = simple(tmp_path, linear(seed=6), epochs=3)
    assert [values[:2] for values in longer.values()] == list(history.values())
    assert longer == simple(None, epochs=3)


def test_only_the_last_checkpoint_is_kept(tmp_path):
    simple(tmp_path, save_every=1)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000002-step-000000008"]


SGD, SCHEDULE = keras.optimizers.SGD, keras.optimizers.schedules.ExponentialDecay


def momenta(optimizer):
    return [to_numpy(v) for v in optimizer.variables if "momentum" in v.path]


@pytest.mark.parametrize(
    "first, then",
    [
        (lambda: 0.5, lambda: 0.05),
        (lambda: SCHEDULE(0.5, 2, 0.5), lambda: SCHEDULE(0.05, 9, 0.9)),
    ],
)
def test_a_run_goes_on_with_a_new_learning_rate(tmp_path, first, then):
    """As if the optimizer had got another rate between two epochs; its momentum is kept."""

    def at(epoch, rate, changed=keras.callbacks.Callback):
        class Change(changed):
            def on_epoch_begin(self, epoch_now, logs=None):
                if epoch_now == epoch:
                    self.model.optimizer.learning_rate = rate

        return Change()

    optimizer = SGD(then(), momentum=0.9)
    simple(tmp_path, optimizer=SGD(first(), momentum=0.9), epochs=1)
    model, twin = linear(seed=3), linear()
    history = simple(tmp_path, model, optimizer=optimizer)
    whole = SGD(first(), momentum=0.9)
    if isinstance(first(), float):
        assert float(optimizer.learning_rate) == pytest.approx(0.05)
        assert simple(None, twin, optimizer=whole, callbacks=at(1, then())) == history
        assert_close(model.get_weights(), twin.get_weights())
        assert_close(momenta(optimizer), momenta(whole))
    else:
        expected = 0.05 * 0.9 ** (8 / 9)  # the new schedule at the old counter
        assert float(to_numpy(optimizer.learning_rate)) == pytest.approx(expected, rel=1e-4)


def test_a_rate_that_a_callback_has_changed_stays(tmp_path):
    def plateau():
        return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=9)

    options = dict(epochs=3, callbacks=plateau(), optimizer=SGD(0.5))
    simple(tmp_path, **options)
    resumed = SGD(0.5)
    history = simple(tmp_path, optimizer=resumed, epochs=5, callbacks=plateau())
    assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.125, 0.0625]
    assert history == simple(None, optimizer=SGD(0.5), epochs=5, callbacks=plateau())


@pytest.mark.parametrize(
    "change, match",
    [
        (dict(seed=3), "is of a run with seed=0, this one has seed=3"),
        (dict(batch_size=4), "is of a run with batch_size=5, this one has batch_size=4"),
        (
            dict(patience=2, validation_data=(X, Y)),
            "is of a run with patience=None, this one has patience=2",
        ),
        (
            dict(validation_data=(X, Y)),
            "with validation_data=None, this one has validation_data='given'",
        ),
        (dict(augment=lambda x: x), "with augment=None, this one has augment='given'"),
        (
            dict(loss="sparse_categorical_crossentropy"),
            "with loss.from_logits=True, this one has loss.from_logits=False",
        ),
        (dict(data=(X[:10], Y[:10])), "with size of data=20, this one has size of data=10"),
        (
            dict(callbacks=[keras.callbacks.TerminateOnNaN()]),
            r"with callbacks=\[\], this one has callbacks=\['TerminateOnNaN'\]",
        ),
        (
            dict(model=linear(4)),
            r"with variable 0 of the model: \['model', \[4, 3\], .*, this one has .* \[4, 4\]",
        ),
        (
            dict(optimizer="sgd"),
            r"with optimizer\[0\]\.class='Adam', this one has optimizer\[0\]\.class='SGD'",
        ),
        (
            dict(optimizer=keras.optimizers.Adam(beta_1=0.5)),
            r"with optimizer\[0\]\.beta_1=0\.9, this one has optimizer\[0\]\.beta_1=0\.5",
        ),
        (
            dict(optimizer=keras.optimizers.Adam(use_ema=True)),
            r"with optimizer\[0\]\.use_ema=False, this one has optimizer\[0\]\.use_ema=True",
        ),
        (
            dict(optimizer=keras.optimizers.Adam(SCHEDULE(0.1, 1, 0.5))),
            "learning_rate='a number', this one has .*learning_rate='a schedule'",
        ),
    ],
)
def test_checkpoint_of_another_run(tmp_path, change, match):
    simple(tmp_path)
    model = change.pop("model", None) or linear(seed=4)
    before = model.get_weights()
    with pytest.raises(ValueError, match=match):
        simple(tmp_path, model, **change)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)  # refused before anything is changed


def test_callbacks_that_cannot_be_resumed_are_refused(tmp_path):
    class Counting(keras.callbacks.Callback):
        pass

    with pytest.raises(ValueError, match="has a Counting, whose memory a checkpoint cannot keep"):
        simple(tmp_path, callbacks=[Counting()])
    with pytest.raises(ValueError, match="CSVLogger that would write .* give it append=True"):
        simple(tmp_path, callbacks=[keras.callbacks.CSVLogger(tmp_path / "epochs.csv")])
    assert not list(tmp_path.iterdir())
    simple(None, callbacks=[Counting()])


def test_a_run_that_a_callback_has_stopped_is_not_run_again(tmp_path):
    def early():
        return keras.callbacks.EarlyStopping("loss", patience=1, min_delta=9)

    history = simple(tmp_path, callbacks=early(), epochs=5)
    assert len(history["loss"]) == 2
    model = linear(seed=5)
    assert simple(tmp_path, model, callbacks=early(), epochs=9) == history


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def damages(size, rng, count):
    """Functions of a file's bytes: flipped bits, lost ends, inserted and repeated parts."""
    for _ in range(count):
        place, bit = int(rng.integers(size)), int(rng.integers(8))
        yield lambda b, at=place, bit=bit: b[:at] + bytes([b[at] ^ 1 << bit]) + b[at + 1 :]
    for place in rng.integers(size, size=count // 4):
        yield lambda b, at=int(place): b[:at]
        yield lambda b, at=int(place): b[:at] + b"\0" + b[at:]
        yield lambda b, at=int(place): b + b[at:] + b"7"


@pytest.mark.parametrize("name, count", [("state.bin", 12), ("progress.json", 60)])
def test_damaged_checkpoints(tmp_path, name, count):
    """The same answer or an error that names the file, and every file as it was."""
    simple(tmp_path, callbacks=keras.callbacks.EarlyStopping("loss", patience=9))
    (folder,) = tmp_path.iterdir()
    whole = checkpoints.read(folder)
    original = (folder / name).read_bytes()
    refused = 0
    for change in damages(len(original), np.random.default_rng(0), count):
        (folder / name).write_bytes(change(original))
        before, start = files_of(tmp_path), time.monotonic()
        try:
            arrays, record = checkpoints.read(folder)
            assert record == whole[1]
            assert all(map(np.array_equal, arrays, whole[0]))
        except ValueError as error:
            assert str(error).startswith(f"checkpoint {folder} is ") and name in str(error)
            refused += 1
        assert time.monotonic() - start < 1
        assert files_of(tmp_path) == before
    assert refused > count
    (folder / name).write_bytes(original)
    simple(tmp_path, callbacks=keras.callbacks.EarlyStopping("loss", patience=9))


@pytest.mark.parametrize(
    "change",
    [
        dict(batch=3),
        dict(epoch=1),
        dict(epoch=-1),
        dict(history={}),
        dict(step="8"),
        dict(totals=None),
        dict(best_epoch=1.5),
        dict(best=99),
        dict(version=3),
        dict(stopped=0),
        dict(callbacks=[None, None]),
    ],
)
def test_a_record_that_does_not_fit(tmp_path, change):
    """Also where the digest was made to fit."""
    simple(tmp_path)
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "progress.json").read_text())["record"] | change
    stored = {"record": record, "digest": checkpoints._digest(record)}
    (folder / "progress.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"is damaged: progress.json"):
        simple(tmp_path)
    stored["digest"] = "0" * 64
    (folder / "progress.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="progress.json: .*digest is not that of its record"):
        simple(tmp_path)


def test_checkpoints_of_the_first_version_are_refused(tmp_path):
    folder = tmp_path / "epoch-000001-step-000000004"
    folder.mkdir()
    (folder / "progress.json").write_text('{"files": {}, "call": {}, "epoch": 1}')
    with pytest.raises(ValueError, match="of an older version of cnnbook, .* another folder"):
        simple(tmp_path)


@pytest.mark.parametrize("name", ["epoch-000009-step-000000036", "unfinished-7"])
@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_stands_where_a_folder_is_due(tmp_path, name, kind):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "valuable").write_text("")
    folder = tmp_path / "run"
    simple(folder)
    if kind == "file":
        (folder / name).write_text("")
    else:
        (folder / name).symlink_to(elsewhere if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(
        ValueError, match=f"{name} must be a folder, but it is a {kind.split()[-1]}"
    ):
        simple(folder, epochs=3)
    assert (elsewhere / "valuable").exists() and os.path.lexists(folder / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("name", ["state.bin", "progress.json"])
def test_a_pipe_where_a_file_is_due(tmp_path, name):
    simple(tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"is damaged: {name} is no file"):
        simple(tmp_path)


@pytest.mark.parametrize("name", ["state.bin", "progress.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_checkpoint_cut_short(tmp_path, name, share):
    simple(tmp_path)
    (folder,) = tmp_path.iterdir()
    path = folder / name
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ValueError, match=rf"epoch-000002-step-000000008 is damaged: {name}"):
        simple(tmp_path)
    assert path.exists()  # nothing is thrown away


def test_checkpoint_with_a_missing_file(tmp_path):
    simple(tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "state.bin").unlink()
    with pytest.raises(ValueError, match="state.bin is missing"):
        simple(tmp_path)


def test_checkpoint_must_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="checkpoint must be a folder"):
        simple(tmp_path / "file")
    with pytest.raises(ValueError, match="checkpoint must be a folder, got '5'"):
        simple(5)


def test_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    simple(tmp_path)
    before = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(path, arrays):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_arrays", full)
    with pytest.raises(OSError, match="No space left"):
        simple(tmp_path, epochs=3)
    after = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert before == after


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path):
    """SIGKILL in the middle of a file, before the renaming, and at a moment drawn at random."""
    script = Path(__file__).with_name("killed_training.py")
    root = script.parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command, folder = [sys.executable, str(script), str(tmp_path)], tmp_path

    def start(*manner):
        return subprocess.Popen(
            [*command, *manner], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def steps():
        return sorted(p.name for p in folder.iterdir() if p.name.startswith("epoch-"))

    for manner in ("write", "rename"):
        child = start(manner)
        _, errors = child.communicate(timeout=300)
        assert child.returncode == -signal.SIGKILL, errors.decode()
        assert len(steps()) >= 1
        assert any(p.name.startswith("unfinished-") for p in folder.iterdir())
    child, before, deadline = start(), steps(), time.monotonic() + 300
    while steps() == before and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.001)
    time.sleep(random.Random(0).uniform(0, 0.05))
    child.kill()
    child.communicate()
    assert steps() != before

    child = start()
    output, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors.decode()
    result = json.loads(output.splitlines()[-1])
    assert result["resumed"] == result["uninterrupted"]
    history = result["resumed"]["history"]
    assert set(history) >= {"loss", "val_loss", "learning_rate", "sparsity"}
    assert {len(values) for values in history.values()} == {6}  # stopped by a callback
    assert 0.5 < history["sparsity"][-1] < 0.9 and history["learning_rate"][-1] < 0.01

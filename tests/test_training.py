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
    history = train(linear(seed=1), (X, Y), epochs=3, **options)
    assert np.isfinite(history["loss"]).all() and len(history["loss"]) == 3


# Checkpoints


def simple(folder, model=None, **changes):
    options = dict(loss=LOSS, optimizer="adam", epochs=2, batch_size=5, verbose=0)
    return train(model or linear(), (X, Y), checkpoint=folder, **{**options, **changes})


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
            dict(model=linear(4)),
            r"another model or optimizer: its variable 0 is \['model', \[4, 3\]",
        ),
        (dict(optimizer="sgd"), "another model or optimizer: its variable 4 is"),
    ],
)
def test_checkpoint_of_another_run(tmp_path, change, match):
    simple(tmp_path)
    with pytest.raises(ValueError, match=match):
        simple(tmp_path, **change)


@pytest.mark.parametrize("name", ["state.weights.h5", "progress.json"])
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
    (folder / "state.weights.h5").unlink()
    with pytest.raises(ValueError, match="state.weights.h5 is missing"):
        simple(tmp_path)


def test_checkpoint_must_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="checkpoint must be a folder"):
        simple(tmp_path / "file")


def test_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    simple(tmp_path)
    before = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(self, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._State, "save_weights", full)
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
    assert len(result["resumed"]["history"]["loss"]) == 8

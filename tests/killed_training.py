"""A training run that test_training kills: python killed_training.py FOLDER [write|rename]."""

import json
import os
import signal
import sys

import keras
import numpy as np

from cnnbook._training import checkpoints
from cnnbook.pruning import MagnitudePruning
from cnnbook.training import train


def make_model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )


def jitter(images, *, seed):
    return images + 0.1 * keras.random.normal(images.shape, seed=seed)


def callbacks():
    """Two that remember, one of which ends the run before its last epoch."""
    pruning = MagnitudePruning(0.8, begin=3, end=29, frequency=3)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.1, verbose=0)
    early = keras.callbacks.EarlyStopping(  # by this delta no epoch is better than the first
        "val_loss", min_delta=10, patience=5, restore_best_weights=True
    )
    return [plateau, early, pruning]


def run(model, folder, epochs=8):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6, 6, 1)).astype("float32"), rng.integers(0, 3, size=40)
    return train(
        model,
        (x, y),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(0.01),
        epochs=epochs,
        batch_size=8,
        augment=jitter,
        validation_data=(x[:10], y[:10]),
        callbacks=callbacks(),
        patience=epochs,
        checkpoint=folder,
        save_every=2,
        verbose=0,
    )


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_while_writing(calls=3):
    """Lets `calls` checkpoints pass and dies with the next file half written."""
    write = checkpoints._write_arrays
    count = iter(range(calls + 1))

    def half(path, arrays):
        write(path, arrays)
        if next(count) == calls:
            os.truncate(path, path.stat().st_size // 2)
            kill()

    checkpoints._write_arrays = half


def kill_before_renaming(calls=3):
    rename, count = os.replace, iter(range(calls + 1))

    def replace(source, target):
        if next(count) == calls:
            kill()
        rename(source, target)

    checkpoints.os.replace = replace


def outcome(folder):
    model = make_model()
    history = run(model, folder)
    weights = [keras.ops.convert_to_numpy(v).tolist() for v in model.variables]
    return {"history": history, "weights": weights}


if __name__ == "__main__":
    folder, *manner = sys.argv[1:]
    if manner:
        {"write": kill_while_writing, "rename": kill_before_renaming}[manner[0]]()
    resumed = outcome(folder)
    print(json.dumps({"resumed": resumed, "uninterrupted": outcome(None)}))

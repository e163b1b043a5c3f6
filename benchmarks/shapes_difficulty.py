"""How hard the data set `shapes` is: a linear model, a small CNN and a better one.

    python -m benchmarks.shapes_difficulty

prints the accuracies on 1,000 test images after training on 4,000, mean and
range over three seeds of the data, the weights and the order of the batches.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers

from cnnbook import datasets


def linear():
    return [layers.Flatten(), layers.Dense(10)]


def small_cnn():
    return [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10),
    ]


def better_cnn():
    """Four blocks with batch normalization."""
    blocks = []
    for filters in (16, 32, 64, 64):
        blocks += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    return [*blocks, layers.Flatten(), layers.Dropout(0.3), layers.Dense(10)]


MODELS = {"linear": linear, "small CNN": small_cnn, "better CNN": better_cnn}


def accuracy(build, epochs, seed, **options):
    """The best epoch is not picked: this is the accuracy after the last one."""
    keras.utils.set_random_seed(seed)
    data = datasets.load("shapes", seed=seed, **options)
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 127.5, -1), *build()])
    schedule = keras.optimizers.schedules.CosineDecay(0.002, epochs * -(-len(data.x_train) // 64))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=epochs, verbose=0)
    return model.evaluate(data.x_test, data.y_test, verbose=0)[1], model.count_params()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--difficulty", nargs="*", type=float, default=[0.5, 0.0, 1.0])
    arguments = parser.parse_args()
    print(f"keras {keras.__version__}, {keras.backend.backend()}, {arguments.epochs} epochs")
    for difficulty in arguments.difficulty:
        for name in arguments.models:
            start = time.perf_counter()
            runs = [
                accuracy(MODELS[name], arguments.epochs, seed, difficulty=difficulty)
                for seed in range(arguments.seeds)
            ]
            scores = np.array([score for score, _ in runs])
            print(
                f"difficulty {difficulty:.1f}  {name:10}  {runs[0][1]:7,} parameters  "
                f"{scores.mean():.3f} ({scores.min():.3f} to {scores.max():.3f})  "
                f"{(time.perf_counter() - start) / len(runs):.0f} s a run",
                flush=True,
            )


if __name__ == "__main__":
    main()

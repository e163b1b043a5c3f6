"""TF-MOT's side of `benchmarks/compression.py`, in a process and an environment of its own.

Importing TF-MOT turns `tf.keras` into tf_keras for the whole process, and it takes tf_keras models
only. So the network of `cnnbook.industrial_cnn` is built here anew, with weights that Keras 3 has
trained; images, order of the batches, optimizer, rate and schedules are those of the other side.
Everything else is TF-MOT's own default.
"""

import os
import platform
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from benchmarks import _worker

TOLERANCE = 1e-3


def industrial_cnn(width, dropout):
    """The network of `cnnbook.industrial_cnn`, its layers of the same names."""
    layers = [keras.layers.InputLayer((32, 32, 3))]
    for block, filters in ((1, width), (2, 2 * width)):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", name=f"convolution_{block}"),
            keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"batch_norm_{block}"),
            keras.layers.ReLU(name=f"relu_{block}"),
            keras.layers.MaxPooling2D(2, name=f"pool_{block}"),
        ]
    return keras.Sequential(
        [
            *layers,
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dropout(dropout, name="dropout"),
            keras.layers.Dense(4 * width, name="dense_1"),
            keras.layers.ReLU(name="relu_3"),
            keras.layers.Dense(10, name="dense_2"),
        ]
    )


class Peer:
    """The turns. `folder` is where the other side leaves the images and the weights of a seed."""

    def __init__(self):
        self.timed = {}

    def prepare(self, folder, width, dropout):
        folder = Path(folder)
        arrays = ("x_train", "y_train", "orders")
        self.data = [np.load(folder / f"{name}.npy", allow_pickle=False) for name in arrays]
        with np.load(folder / "weights.npz", allow_pickle=False) as weights:
            self.weights = {name: weights[name] for name in weights.files}
        self.shape = width, dropout
        got = self.model().predict(self.weights["images"], verbose=0)
        error = float(np.abs(got - self.weights["logits"]).max())
        if error > TOLERANCE:
            raise AssertionError(f"the logits differ from those of Keras 3 by {error}.")
        return error

    def model(self):
        model = industrial_cnn(*self.shape)
        for layer in model.layers:
            count = len(layer.weights)
            layer.set_weights([self.weights[f"{layer.name}:{i}"] for i in range(count)])
        return model

    def fit(self, model, seed, epochs, rate, batch, callbacks=()):
        x, y, orders = self.data
        keras.utils.set_random_seed(seed)
        schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * (len(x) // batch))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(schedule), loss)
        for order in orders[:epochs]:
            options = {"batch_size": batch, "shuffle": False, "verbose": 0}
            model.fit(x[order], y[order], callbacks=list(callbacks), **options)
        return model

    def quantized(self, path, **fitting):
        model = tfmot.quantization.keras.quantize_model(self.model())
        return _write(self.fit(model, **fitting), path, integer=True)

    def pruned(self, path, sparsity, begin, end, initial, power, frequency, **fitting):
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial, sparsity, begin, end, power=power, frequency=frequency
        )
        model = tfmot.sparsity.keras.prune_low_magnitude(self.model(), pruning_schedule=schedule)
        self.fit(model, **fitting, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
        model = tfmot.sparsity.keras.strip_pruning(model)
        kernels = [layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")]
        zeros = sum(np.sum(kernel == 0) for kernel in kernels)
        share = float(zeros / sum(kernel.size for kernel in kernels))
        return _write(model, path, integer=False) | {"sparsity": share}

    def step(self, kind, batches, batch, width, dropout):
        """Seconds of a training step, the first two of an epoch left out."""
        if kind not in self.timed:
            model = industrial_cnn(width, dropout)
            if kind == "quantized":
                model = tfmot.quantization.keras.quantize_model(model)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(), loss)
            self.timed[kind] = model
        return _worker.step_seconds(keras, self.timed[kind], batches, batch)


def _write(model, path, integer):
    """A LiteRT file by TensorFlow's converter, for one image at a time."""
    signature = [tf.TensorSpec((1, 32, 32, 3), tf.float32)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], model
    )
    if integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    Path(path).write_bytes(converter.convert())
    return {}


def versions():
    return {
        "python": platform.python_version(),
        "tf_keras": keras.__version__,
        "tensorflow": tf.__version__,
        "tensorflow-model-optimization": tfmot.__version__,
        "numpy": np.__version__,
    }


def main():
    peer = Peer()
    turns = {name: getattr(peer, name) for name in ("prepare", "quantized", "pruned", "step")}
    _worker.serve(turns | {"versions": versions})


if __name__ == "__main__":
    main()

"""Tests that a quantized network and its LiteRT file compute the same (chapters 14 and 17)."""

import keras
import numpy as np
import pytest
from keras import layers
from support import to_numpy

from cnnbook._networks import quantized_layers
from cnnbook._networks.exporting import exportable
from cnnbook.deployment import run_litert, run_onnx, to_litert, to_onnx
from cnnbook.quantization import quantize_after_training, quantize_aware

litert = pytest.importorskip("ai_edge_litert.interpreter")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore:.*np.object.*:FutureWarning")
every_backend_once = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="each conversion starts TensorFlow"
)
SHAPE = (8, 8, 4)
Constant, Normal = keras.initializers.Constant, keras.initializers.RandomNormal
TINY, FAR = Normal(stddev=1e-9, seed=0), Normal(stddev=3.0, seed=1)


def images(seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (48, *SHAPE)).astype("float32")


def sequential(*stack):
    return keras.Sequential([keras.Input(SHAPE), *stack])


def step_of(path):
    interpreter = litert.Interpreter(str(path))
    return interpreter.get_output_details()[0]["quantization"][0]


def assert_file_agrees(model, folder, steps=2, run_as_onnx=True):
    """Within so many steps of the output, and the output has steps to err in."""
    x = images()
    expected = to_numpy(model(x, training=False))
    path = to_litert(model, folder / "model.tflite")
    step = step_of(path)
    assert np.abs(expected).max() > 100 * step
    assert np.abs(run_litert(path, x) - expected).max() <= (steps + 0.01) * step
    if run_as_onnx:
        path = to_onnx(model, folder / "model.onnx")
        assert np.abs(run_onnx(path, x) - expected).max() <= (steps + 0.01) * step


FAR_BIASES = {
    "a head of zeros": lambda: [
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(1, kernel_initializer="zeros", bias_initializer=Constant(3.0)),
    ],
    "convolution": lambda: [layers.Conv2D(5, 3, kernel_initializer=TINY, bias_initializer=FAR)],
    "depthwise": lambda: [
        layers.DepthwiseConv2D(
            3, depth_multiplier=2, depthwise_initializer=TINY, bias_initializer=FAR
        )
    ],
    "separable": lambda: [
        layers.SeparableConv2D(5, 3, pointwise_initializer=TINY, bias_initializer=FAR)
    ],
    "dense": lambda: [
        layers.Flatten(),
        layers.Dense(3, kernel_initializer=TINY, bias_initializer=FAR),
    ],
    "a gain of 0": lambda: [
        layers.Conv2D(5, 3, use_bias=False),
        layers.BatchNormalization(gamma_initializer="zeros", beta_initializer=FAR),
    ],
    "a normalization by itself": lambda: [
        layers.BatchNormalization(gamma_initializer="zeros", beta_initializer=FAR)
    ],
    "behind pooling": lambda: [
        layers.MaxPooling2D(),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(3, kernel_initializer=TINY, bias_initializer=FAR),
    ],
    "equal weights of other scales": lambda: [
        layers.Conv2D(5, 3, kernel_initializer=Constant(1e-9), bias_initializer=FAR)
    ],
}


@every_backend_once
@pytest.mark.parametrize("case", FAR_BIASES)
def test_a_bias_far_beyond_the_weights(tmp_path, case):
    model = quantize_after_training(sequential(*FAR_BIASES[case]()), images())
    assert_file_agrees(model, tmp_path, run_as_onnx=case in ("convolution", "dense"))


def test_a_far_bias_on_every_backend(tmp_path):
    model = quantize_after_training(sequential(*FAR_BIASES["a head of zeros"]()), images())
    assert_file_agrees(model, tmp_path, run_as_onnx=False)
    np.testing.assert_allclose(run_litert(tmp_path / "model.tflite", images()), 3.0, rtol=1e-5)


@every_backend_once
def test_training_begins_at_a_head_of_zeros(tmp_path):
    model = quantize_aware(sequential(*FAR_BIASES["a head of zeros"]()))
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    model.fit(images(), np.full((48, 1), 4.0), epochs=1, verbose=0)
    assert_file_agrees(model, tmp_path)


ALIKE = {
    "convolution": lambda: [
        layers.Conv2D(4, 3, activation="relu"),
        layers.Conv2D(4, 3, bias_initializer=Constant(-4.6)),
    ],
    "depthwise": lambda: [layers.DepthwiseConv2D(3, bias_initializer=Constant(-1.0))],
    "separable": lambda: [layers.SeparableConv2D(4, 3, bias_initializer=Constant(1.0))],
    "dense": lambda: [layers.Flatten(), layers.Dense(4, bias_initializer=Constant(-1.0))],
    "normalization": lambda: [
        layers.BatchNormalization(gamma_initializer=Constant(2.0), beta_initializer=Constant(0.3)),
        layers.Conv2D(3, 1),
    ],
    "weights": lambda: [
        layers.Conv2D(4, 3, kernel_initializer=Constant(0.1), bias_initializer=Constant(-0.7))
    ],
    "one filter": lambda: [layers.Conv2D(1, 3, bias_initializer=Constant(2.0))],
    "slopes": lambda: [
        layers.Conv2D(4, 3),
        layers.PReLU(alpha_initializer=Constant(0.25)),
        layers.Conv2D(3, 1),
    ],
}


@every_backend_once
@pytest.mark.parametrize("case", ALIKE)
def test_equal_numbers_in_a_layer(tmp_path, case):
    keras.utils.set_random_seed(0)
    model = quantize_after_training(sequential(*ALIKE[case]()), images())
    assert_file_agrees(model, tmp_path, run_as_onnx=case == "convolution")


@pytest.mark.parametrize("values", [[-4.6] * 3, [0.0] * 3, [1.0, 2.0, 2.0]])
def test_a_bias_is_moved_only_where_all_are_equal(values):
    layer = quantized_layers.QuantizedDense(3)
    layer.build((None, 2))
    layer.bias.assign(values)
    layer.freeze(1.0)
    moved, before = to_numpy(layer.bias), np.float32(values)
    if before[0] == before[1] != 0:
        assert moved[0] != moved[1]
        np.testing.assert_allclose(moved, before, rtol=2e-7)
    else:
        np.testing.assert_allclose(moved, before, atol=1e-40)


MEANS = {
    "four in a row": lambda: [
        *[layers.AveragePooling2D(2, strides=1) for _ in range(4)],
        layers.Conv2D(4, 3),
    ],
    "padded, of positive numbers": lambda: [
        layers.Conv2D(4, 3, activation="relu"),
        *[layers.AveragePooling2D(3, strides=1, padding="same") for _ in range(4)],
        layers.Conv2D(4, 3),
    ],
    "bilinear": lambda: [
        layers.Conv2D(4, 3),
        layers.UpSampling2D(interpolation="bilinear"),
        layers.AveragePooling2D(2),
        layers.Conv2D(4, 3),
    ],
    "of all": lambda: [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)],
}


@every_backend_once
@pytest.mark.parametrize("case", MEANS)
def test_means_are_rounded_as_in_the_file(tmp_path, case):
    keras.utils.set_random_seed(3)
    model = quantize_after_training(sequential(*MEANS[case]()), images())
    # ONNX Runtime sends ties to the even integer: up to a step for each pooling.
    assert_file_agrees(model, tmp_path, run_as_onnx=False)


def test_means_on_every_backend(tmp_path):
    keras.utils.set_random_seed(3)
    model = quantize_after_training(sequential(*MEANS["four in a row"]()), images())
    assert_file_agrees(model, tmp_path, run_as_onnx=False)


@every_backend_once
def test_a_range_below_zero(tmp_path):
    """It is widened until it holds 0, in the file as well."""
    model = sequential(layers.Conv2D(4, 3, bias_initializer=Constant(-40.0), name="below"))
    ready = quantize_after_training(model, images())
    assert to_numpy(ready(images())).max() < -20
    assert_file_agrees(ready, tmp_path)
    assert ready.get_layer("below_range").limits()[1] == 0.0


@every_backend_once
def test_a_dense_layer_without_bias(tmp_path):
    model = sequential(layers.Flatten(), layers.Dense(3, use_bias=False))
    ready = quantize_after_training(model, images())
    assert [type(layer).__name__ for layer in ready.layers][-2] == "QuantizedDense"
    assert_file_agrees(ready, tmp_path)


@every_backend_once  # files are made on TensorFlow
def test_a_model_for_a_file_is_a_copy():
    model = quantize_after_training(sequential(layers.Conv2D(4, 3)), images())
    copy = exportable(model)
    assert copy is not model
    assert all(getattr(layer, "frozen", None) is None for layer in model.layers)
    np.testing.assert_allclose(to_numpy(copy(images())), to_numpy(model(images())), atol=1e-5)

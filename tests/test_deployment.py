"""Tests for `cnnbook.deployment` (chapter 17): files, what runs them, what measures them."""

import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from networks import NETWORKS, SHAPE, images, network
from sklearn import metrics
from support import damaged, to_numpy

from cnnbook import deployment
from cnnbook._deploy import process, running
from cnnbook.datasets import load
from cnnbook.deployment import (
    latency,
    parity,
    peak_memory,
    run_litert,
    run_onnx,
    to_litert,
    to_onnx,
)
from cnnbook.pruning import MagnitudePruning, prune_filters, sparsity
from cnnbook.quantization import quantize_after_training, quantize_aware

litert = pytest.importorskip("ai_edge_litert.interpreter")
onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")


@pytest.fixture(name="assert_parity")
def fixture_of_the_index(request):
    """The fixture `parity`, whose name a function has here."""
    return request.getfixturevalue("parity")


quick = pytest.mark.skipif(  # the other backends convert in the same process of TensorFlow's
    keras.backend.backend() != "tensorflow", reason="each conversion starts TensorFlow"
)
pytestmark = pytest.mark.filterwarnings("ignore:.*np.object.*:FutureWarning")


def outputs(model, x):
    return to_numpy(model(x, training=False))


def types(path):
    """The types of the numbers in a file."""
    interpreter = litert.Interpreter(str(path))
    interpreter.allocate_tensors()
    return {np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details()}


def ends(path):
    interpreter = litert.Interpreter(str(path))
    interpreter.allocate_tensors()
    (first,), (last,) = interpreter.get_input_details(), interpreter.get_output_details()
    return interpreter, first, last


def by_the_equation(path, x):
    """An int8 file image by image: a loop that is the equation and nothing else."""
    interpreter, first, last = ends(path)
    (s_x, z_x), (s_y, z_y) = first["quantization"], last["quantization"]
    rows = []
    for image in x:
        q = [min(max(round(v / s_x) + z_x, -128), 127) for v in image.ravel().tolist()]
        interpreter.set_tensor(first["index"], np.array(q, "int8").reshape(first["shape"]))
        interpreter.invoke()
        rows.append(s_y * (interpreter.get_tensor(last["index"])[0].astype(float) - z_y))
    return np.array(rows)


def single(kernel=2.0, bias=1.0):
    """y = 2 x + 1 for each pixel."""
    layer = layers.Conv2D(1, 1, data_format="channels_last", name="only")
    model = keras.Sequential([keras.Input((1, 2, 1)), layer])
    layer.set_weights([np.full((1, 1, 1, 1), kernel), np.full(1, bias)])
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def plain_files(folder):
    """A float and a quantized network and their files."""
    model = network("plain")
    ready = quantize_after_training(model, images())
    return {
        "float": (model, to_litert(model, folder / "plain.tflite")),
        "int8": (ready, to_litert(ready, folder / "plain_int8.tflite")),
    }


@pytest.fixture(scope="module")
def int8_file(plain_files):
    return plain_files["int8"][1]


# LiteRT files


def test_a_number_by_hand(folder):
    """x from -1 to 1.55: s_x = 0.01, z_x = -28. y from -1 to 4.1: s_y = 0.02, z_y = -78."""
    path = to_litert(single(), folder / "hand.tflite", calibration_images=seen())
    _, first, last = ends(path)
    assert first["quantization"] == pytest.approx((0.01, -28))
    assert last["quantization"] == pytest.approx((0.02, -78))
    y = run_litert(path, [[[[0.5], [0.774]]]])  # 0.774 becomes 0.77
    np.testing.assert_allclose(y.ravel(), [2.0, 2.54], atol=1e-6)
    assert y.shape == (1, 1, 2, 1) and y.dtype == np.float32


def test_run_litert_is_its_equation(int8_file, assert_parity):
    x = images(8, seed=3)
    x[0, 0, 0, 0] = 5.0  # beyond what calibration saw: clipped
    peer = "ai_edge_litert.interpreter.Interpreter"
    assert_parity(run_litert, peer, run_litert(int8_file, x), by_the_equation(int8_file, x))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "plain" else [quick]) for name in NETWORKS]
)
def test_a_float_file_computes_what_the_model_computes(name, folder, plain_files, assert_parity):
    if name == "plain":
        model, path = plain_files["float"]
    else:
        model = network(name)
        path = to_litert(model, folder / f"{name}.tflite")
    x, expected = images(), outputs(model, images())
    assert_parity(to_litert, "keras.Model", run_litert(path, x), expected, rtol=1e-4)
    assert types(path) <= {"float32", "int32", "int64"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "plain" else [quick]) for name in NETWORKS]
)
def test_a_quantized_file_holds_integers_and_stays_within_steps(name, folder, plain_files):
    if name == "plain":
        model, path = plain_files["int8"]
    else:
        model = quantize_after_training(network(name), images())
        path = to_litert(model, folder / f"{name}_int8.tflite")
    assert types(path) == {"int8", "int32"}
    _, first, last = ends(path)
    assert first["dtype"] == last["dtype"] == np.int8 and first["shape"][0] == 1
    x = images(64, seed=5)
    steps = np.abs(run_litert(path, x) - outputs(model, x)) / last["quantization"][0]
    # A rounding that goes the other way in one layer moves the layers after it by a step or two.
    assert steps.max() <= 3.01 and steps.mean() < 0.5
    assert parity(model, path, x)["agreement"] > 0.9


def test_every_image_runs_whatever_the_batch(folder, plain_files):
    model, path = plain_files["int8"]
    four = to_litert(model, folder / "four.tflite", batch_size=4)
    x = images(6, seed=2)
    assert ends(four)[1]["shape"][0] == 4
    one_by_one = run_litert(path, x)
    np.testing.assert_array_equal(run_litert(four, x), one_by_one)
    np.testing.assert_array_equal(run_litert(four, x, threads=2), one_by_one)
    assert run_litert(four, x[:0]).shape == (0, 5)


@quick
def test_a_number_for_each_image_in_batches_that_are_not_full(folder):
    x = keras.Input((4,))
    model = keras.Model(x, ops.squeeze(layers.Dense(1)(x), axis=-1))
    path = to_litert(model, folder / "numbers.tflite", batch_size=np.int64(4))
    given = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    got = run_litert(path, given, threads=np.int64(1))
    assert got.shape == (6,)
    np.testing.assert_allclose(got, outputs(model, given), atol=1e-5)


@quick
def test_quantizers_of_a_float_model_are_both_full_int8(folder):
    model, x = network("plain"), images(64)
    expected, differences = outputs(model, x), {}
    for quantizer in deployment.QUANTIZERS:
        path = folder / f"{quantizer}.tflite"
        to_litert(model, path, calibration_images=x, quantizer=quantizer)
        assert types(path) == {"int8", "int32"}
        _, first, last = ends(path)
        assert first["dtype"] == last["dtype"] == np.int8
        differences[quantizer] = np.abs(run_litert(path, x) - expected).mean()
    by_us = run_litert(
        to_litert(quantize_after_training(model, x), folder / "ours.tflite"), x
    )  # the same ranges as the converter's, found by ourselves
    ours = np.abs(by_us - expected).mean()
    spread = np.ptp(expected)
    assert max(differences["tensorflow"], ours) < 0.01 * spread
    # Its ranges are those of a typical image and not of all, so it clips.
    assert differences["tensorflow"] < differences["ai-edge-quantizer"] < 0.1 * spread
    assert ours < 1.25 * differences["tensorflow"]


@quick
def test_skipped_ends_stay_float(folder):
    model, x = network("plain"), images()
    norm = next(la.name for la in model.layers if isinstance(la, layers.BatchNormalization))
    for skip, floats in (
        ((model.layers[0].name, norm), (True, False)),
        ((model.layers[-1].name,), (False, True)),
    ):
        ready = quantize_after_training(model, x, skip=skip)
        path = to_litert(ready, folder / "skip.tflite")
        _, first, last = ends(path)
        assert (first["dtype"] == np.float32, last["dtype"] == np.float32) == floats
        result = parity(ready, path, x)
        assert result["max_difference"] < 0.03 * np.ptp(outputs(ready, x))


@quick
def test_weights_of_fewer_bits_come_through(folder):
    model, x = network("residual"), images(64)
    names = [la.name for la in model.layers if isinstance(la, layers.Conv2D)]
    ready = quantize_after_training(model, x, bits={names[0]: 4, names[1]: 2})
    path = to_litert(ready, folder / "bits.tflite")
    scale = ends(path)[2]["quantization"][0]
    assert parity(ready, path, x)["max_difference"] <= 3.01 * scale
    coarse = parity(quantize_after_training(model, x), path, x)["max_difference"]
    assert coarse > 10 * scale  # as far as eight bits are from these


def with_prelu():
    x = inputs = keras.Input(SHAPE)
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 3, padding="same")(x))
    y = layers.ReLU(negative_slope=0.2)(layers.Conv2D(4, 1)(x))
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(layers.PReLU()(y))))


def channels_first():
    first = {"data_format": "channels_first"}
    x = inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, padding="same", **first)(x)
    x = ops.relu6(layers.BatchNormalization(axis=1)(x))
    x = layers.MaxPooling2D(2, **first)(layers.DepthwiseConv2D(3, padding="same", **first)(x))
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D(**first)(x)))


def dense_on_images():
    parts = [layers.Conv2D(4, 3), layers.Dense(6, activation="relu"), layers.Reshape((36, 6))]
    parts += [layers.Dense(4), layers.Flatten(), layers.Dense(5)]
    return keras.Sequential([keras.Input(SHAPE), *parts])


def sum_of_three():
    x = inputs = keras.Input(SHAPE)
    terms = [layers.Conv2D(4, k, padding="same")(x) for k in (1, 3, 5)]
    x = layers.Add()([*terms, terms[0]])
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(ops.relu(x))))


def nearly_dead_filter():
    """Its weights are so small and its bias so large that their ratio fills more than 32 bits."""
    parts = [layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(3, 3), layers.Flatten()]
    model = keras.Sequential([keras.Input(SHAPE), *parts, layers.Dense(5)])
    kernel, bias = model.layers[0].get_weights()
    kernel[..., 0] *= 1e-8
    bias[0] = 0.5
    model.layers[0].set_weights([kernel, bias])
    return model


@quick
@pytest.mark.parametrize(
    "make", [with_prelu, channels_first, dense_on_images, sum_of_three, nearly_dead_filter]
)
def test_other_layers_come_through_as_integers(make, folder):
    older = tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15)
    if older and make is channels_first:
        pytest.skip("no integer file holds a depthwise kernel as older versions of Keras lay it")
    keras.utils.set_random_seed(0)
    model = make()
    x = np.random.default_rng(0).normal(size=(64, *model.input_shape[1:])).astype("float32")
    ready = quantize_after_training(model, x)
    path = to_litert(ready, folder / f"{make.__name__}.tflite")
    assert types(path) == {"int8", "int32"}
    step = ends(path)[2]["quantization"][0]
    assert np.abs(run_litert(path, x) - outputs(ready, x)).max() <= 3.01 * step
    far = np.abs(outputs(ready, x) - outputs(model, x)).mean()
    assert far < 0.03 * np.ptp(outputs(model, x))


@quick
@pytest.mark.parametrize("quantizer", deployment.QUANTIZERS)
def test_a_float_model_is_calibrated_for_any_batch(quantizer, folder):
    model, x = network("plain"), images(10)
    x[9, 0, 0, 0] = 6.0  # in the last batch, which is not full
    path = folder / "batch.tflite"
    to_litert(model, path, calibration_images=x, batch_size=4, quantizer=quantizer)
    assert types(path) == {"int8", "int32"}
    scale, zero = ends(path)[1]["quantization"]
    if quantizer == "tensorflow":
        assert scale * (127 - zero) == pytest.approx(6.0, abs=scale)
    assert np.abs(run_litert(path, x) - outputs(model, x)).mean() < 0.1 * np.ptp(outputs(model, x))


@quick
def test_a_loaded_model_and_one_trained_on_are_written_anew(folder):
    x, y = images(64), np.arange(64) % 5
    aware = quantize_aware(network("plain"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    aware.compile("adam", loss, jit_compile=True)
    aware.fit(x, y, epochs=1, verbose=0)
    aware.save(folder / "aware.keras")
    loaded = keras.saving.load_model(folder / "aware.keras")
    first, again = (to_litert(m, folder / f"{m is aware}.tflite") for m in (aware, loaded))
    assert first.read_bytes() == again.read_bytes()
    before = run_litert(first, x)
    aware.fit(x, y, epochs=2, verbose=0)
    after = to_litert(aware, first)
    assert np.abs(run_litert(after, x) - before).max() > 0.01
    step = ends(after)[2]["quantization"][0]
    assert parity(aware, after, x)["max_difference"] <= 3.01 * step


@quick
def test_an_activation_that_is_always_zero_can_be_written(folder):
    model = network("plain")
    first, norm = model.layers[:2]
    norm.beta.assign(np.full(norm.beta.shape, -100.0))  # the ReLU behind it is always 0
    ready = quantize_after_training(model, images())
    path = to_litert(ready, folder / "dead.tflite")
    y = run_litert(path, images())
    assert np.ptp(outputs(ready, images()), axis=0).max() == 0  # the image does not matter
    np.testing.assert_allclose(
        y, outputs(ready, images()), atol=1.01 * ends(path)[2]["quantization"][0]
    )


@quick
def test_softmax_has_the_scale_that_liteRT_demands(folder):
    model = network("plain")
    model = keras.Sequential([keras.Input(SHAPE), *model.layers, layers.Softmax()])
    path = to_litert(quantize_after_training(model, images()), folder / "softmax.tflite")
    assert ends(path)[2]["quantization"] == (1 / 256, -128)
    np.testing.assert_allclose(run_litert(path, images()).sum(axis=-1), 1, atol=5 * 0.5 / 256)


def test_a_model_is_left_as_it_was(folder):
    model = quantize_after_training(network("plain"), images())
    before = [to_numpy(w).copy() for w in model.weights]
    expected = outputs(model, images())
    to_litert(model, folder / "again.tflite")
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), value)
    np.testing.assert_array_equal(outputs(model, images()), expected)


def test_pruned_quantized_and_run(folder):
    """The whole way, on the backend of this run: train, prune, quantize, export, run, compare."""
    digits = load("digits")
    x, y = digits.x_train / np.float32(255), digits.y_train.astype("int32")
    x_test, y_test = digits.x_test / np.float32(255), digits.y_test
    keras.utils.set_random_seed(0)
    stack = [layers.Conv2D(16, 3, padding="same"), layers.BatchNormalization(momentum=0.9)]
    stack += [layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(32, 3, activation="relu")]
    model = keras.Sequential([keras.Input(x.shape[1:]), *stack, layers.Flatten(), layers.Dense(10)])

    def fit(model, epochs, *callbacks):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss)
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=list(callbacks))
        return model

    fit(model, 4)
    smaller = fit(prune_filters(model, 0.25), 1)
    aware = quantize_aware(fit(smaller, 2, MagnitudePruning(0.5, end=20)))
    fit(aware, 1, MagnitudePruning(0.5))
    assert sparsity(aware) == pytest.approx(0.5, abs=0.01)
    path = to_litert(aware, folder / "whole_way.tflite")
    assert types(path) == {"int8", "int32"}
    result = parity(aware, path, x_test)
    assert result["agreement"] >= 0.99
    assert result["max_difference"] <= 3.01 * ends(path)[2]["quantization"][0]
    accuracy = np.mean(run_litert(path, x_test).argmax(-1) == y_test)
    assert accuracy > 0.93
    interpreter = ends(path)[0]
    kernels = [
        interpreter.get_tensor(d["index"])
        for d in interpreter.get_tensor_details()
        if d["dtype"] == np.int8 and len(d["quantization_parameters"]["scales"]) > 1
    ]
    assert len(kernels) == 3
    zeros = sum(np.sum(k == 0) for k in kernels) / sum(k.size for k in kernels)
    assert 0.5 <= zeros < 0.6  # what was pruned is zero in the file, and little else


# Files of integers only


def with_odd(*layers_between, last="last"):
    """A network with layers whose place in the middle is where LiteRT may lack integers."""
    first = layers.Conv2D(4, 3, name="first")
    ends = [layers.Flatten(), layers.Dense(3, name=last)]
    return keras.Sequential([keras.Input(SHAPE), first, *layers_between, *ends])


def relu_with_both():
    return with_odd(layers.ReLU(name="relu"), layers.ReLU(6.0, negative_slope=0.1, name="relu_1"))


def softmax_of_images():
    odd = layers.Softmax(axis=(1, 2), name="softmax")
    return keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3), odd])


def sine():
    return with_odd(layers.Activation(keras.ops.sin, name="sine"))


def nested_sine():
    odd = layers.Activation(keras.ops.sin, name="sine")
    inner = keras.Sequential([keras.Input((6, 6, 4)), odd], name="inner")
    return with_odd(inner)


def sine_at_the_end():
    odd = layers.Activation(keras.ops.sin, name="sine")
    return keras.Sequential([keras.Input(SHAPE), *with_odd().layers, odd])


@quick
@pytest.mark.parametrize("write, suffix", [(to_litert, ".tflite"), (to_onnx, ".onnx")])
@pytest.mark.parametrize("make, name", [(relu_with_both, "relu_1"), (softmax_of_images, "softmax")])
def test_a_layer_without_integers_is_named(write, suffix, make, name, tmp_path):
    # As quantize_after_training would leave it, if it knew no better than the converter.
    model = quantize_after_training(make(), images(), skip=[name])
    path = tmp_path / f"file{suffix}"
    with pytest.raises(ValueError, match=f"no integers for: '{name}'. Replace"):
        write(model, path)
    assert not list(tmp_path.iterdir())
    assert write(model, path, skip=[name]) == path


@quick
@pytest.mark.parametrize("quantizer", deployment.QUANTIZERS)
@pytest.mark.parametrize("make", [sine, nested_sine, sine_at_the_end])
def test_a_float_model_with_a_layer_without_integers(make, quantizer, tmp_path):
    options = {"calibration_images": images(), "quantizer": quantizer}
    path = tmp_path / "file.tflite"
    with pytest.raises(ValueError, match="no integers for: 'sine'. Replace"):
        to_litert(make(), path, **options)
    assert not list(tmp_path.iterdir())
    to_litert(make(), path, **options, skip=["sine"])
    assert "float32" in types(path)


@quick
def test_a_layer_left_float_may_move_floats_through_others(folder):
    """Flattening before the last layer is of floats, too, and nobody's fault."""
    ready = quantize_after_training(with_odd(layers.MaxPooling2D()), images(), skip=["last"])
    path = to_litert(ready, folder / "moved.tflite")
    assert ends(path)[2]["dtype"] == np.float32
    assert parity(ready, path, images())["max_difference"] < 1e-4


@pytest.mark.parametrize(
    "skip, message",
    [
        ("last", "skip must be a list of names, got 'last'"),
        ([3], r"skip must be a list of names, got \[3\]"),
        (["other"], r"skip names \['other'\], but '.*' has \['first', 'flatten.*', 'last'\]"),
    ],
)
@pytest.mark.parametrize("write, suffix", [(to_litert, ".tflite"), (to_onnx, ".onnx")])
def test_errors_of_skip(write, suffix, skip, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write(with_odd(), tmp_path / f"file{suffix}", skip=skip)


def test_the_other_process_refuses_as_this_one_does(tmp_path, monkeypatch):
    model = quantize_after_training(softmax_of_images(), images(), skip=["softmax"])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="no integers for: 'softmax'. Replace"):
        to_litert(model, tmp_path / "file.tflite")
    assert not list(tmp_path.iterdir())


# Damaged files


def test_a_damaged_file_gives_the_same_or_is_told(plain_files, tmp_path):
    files = {f"{name}.tflite": path for name, (_, path) in plain_files.items()}
    files["float.onnx"] = to_onnx(plain_files["float"][0], tmp_path / "float.onnx")
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "images.npy", images(2))
    for name, path in files.items():
        (folder / f"whole_{name}").write_bytes(path.read_bytes())
        for i, content in enumerate(damaged(path.read_bytes(), 60)):
            (folder / f"damaged_{i:02d}_whole_{name}").write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    program = Path(__file__).with_name("fuzzed_files.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(program), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert len(results) == 180
    assert {result for *_, result in results} <= {"ValueError", 0.0}
    assert sum(result == "ValueError" for *_, result in results) > 150
    assert max(seconds for _, seconds, *_ in results) < 1
    assert sum(mebibytes for *_, mebibytes, _ in results) < 200
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("run", [run_litert, latency, peak_memory, parity])
def test_a_flipped_bit_is_told_by_the_file_itself(run, int8_file, tmp_path):
    path = tmp_path / "flipped.tflite"
    content = bytearray(int8_file.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    options = {run_litert: (images(),), parity: (path, images())}.get(run, ())
    with pytest.raises(ValueError, match="flipped.tflite' is damaged: its bytes do not match"):
        run(path, *options)


def test_other_readers_pass_over_the_checksum(int8_file, plain_files, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(int8_file.read_bytes()[:-80])
    np.testing.assert_array_equal(run_litert(bare, images(4)), run_litert(int8_file, images(4)))
    path = to_onnx(plain_files["float"][0], tmp_path / "file.onnx")
    entry = onnx.load(path).metadata_props[-1]
    body = path.read_bytes()[:-80]
    assert (entry.key, entry.value) == ("cnnbook256", hashlib.sha256(body).hexdigest())


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="it has neither")
@pytest.mark.parametrize("make", [pipe, device, Path.mkdir])
def test_what_is_no_file_is_not_waited_for(make, tmp_path):
    for run, suffix in ((run_litert, ".tflite"), (run_onnx, ".onnx")):
        path = tmp_path / f"file{suffix}"
        make(path)
        with pytest.raises(ValueError, match=f"got '.*file{suffix}': .*not a regular file"):
            run(path, images())
        with pytest.raises(ValueError, match=f"got '.*file{suffix}': .*not a regular file"):
            latency(path)
    if make is not Path.mkdir:
        with pytest.raises(ValueError, match="cannot be written: there is something else than a"):
            to_litert(single(), tmp_path / "file.tflite")


@pytest.mark.parametrize("path", [None, 7, b"file.tflite", "a\0.tflite", ""])
def test_what_is_no_path(path):
    for call in (
        lambda: run_litert(path, images()),
        lambda: run_onnx(path, images()),
        lambda: peak_memory(path),
        lambda: to_litert(single(), path),
        lambda: to_onnx(single(), path),
    ):
        with pytest.raises(ValueError, match="path must be a string or a path, got"):
            call()


# ONNX files


def test_onnx_float(folder, plain_files, assert_parity):
    model, _ = plain_files["float"]
    path = to_onnx(model, folder / "plain.onnx")
    onnx.checker.check_model(onnx.load(path))
    x = images(7)
    y = run_onnx(path, x)
    assert_parity(to_onnx, "keras.Model", y, outputs(model, x), rtol=1e-4)
    session = onnxruntime.InferenceSession(str(path))
    each = [session.run(None, {session.get_inputs()[0].name: image[None]})[0][0] for image in x]
    assert_parity(run_onnx, "onnxruntime.InferenceSession", y, each)
    np.testing.assert_allclose(run_onnx(path, x[:1], threads=2), outputs(model, x[:1]), atol=1e-4)


@quick
def test_onnx_integers(folder):
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(32, 3), layers.ReLU(), layers.Flatten(), layers.Dense(64)]
    model = keras.Sequential([keras.Input(SHAPE), *parts])
    ready = quantize_after_training(model, images())
    paths = [to_onnx(m, folder / f"{m is ready}.onnx") for m in (model, ready)]
    onnx.checker.check_model(onnx.load(paths[1]))
    sizes = [path.stat().st_size for path in paths]
    assert sizes[1] < 0.3 * sizes[0]
    kinds = {node.op_type for node in onnx.load(paths[1]).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    x = images(32, seed=4)
    step = (outputs(ready, x).max() - outputs(ready, x).min()) / 255
    assert parity(ready, paths[1], x)["max_difference"] < 3 * step


# The other process


@quick
def test_the_other_process_writes_the_same_file(folder, monkeypatch):
    model, x = quantize_after_training(network("residual"), images()), images(16)
    here = to_litert(model, folder / "here.tflite", batch_size=2)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    there = to_litert(model, folder / "there.tflite", batch_size=2)
    calibrated = to_litert(network("plain"), folder / "c.tflite", calibration_images=images())
    monkeypatch.undo()
    np.testing.assert_array_equal(run_litert(here, x), run_litert(there, x))
    assert types(calibrated) == {"int8", "int32"}


def test_without_tensorflow_one_is_told(folder, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.delenv("CNNBOOK_PYTHON_TENSORFLOW", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"cnnbook\[tensorflow\].*CNNBOOK_PYTHON_TENSORFLOW"):
        to_litert(single(), folder / "never.tflite")
    assert not (folder / "never.tflite").exists()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'onnxruntime.*pip install "cnnbook\[deploy\]"'):
        run_onnx("any.onnx", images())


@keras.saving.register_keras_serializable("unknown elsewhere")
class OfMyOwn(layers.Layer):
    def call(self, x):
        return x


def test_a_layer_that_tensorflow_does_not_know_is_named(folder, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    model = keras.Sequential([keras.Input(SHAPE), OfMyOwn(name="mine")])
    with pytest.raises(RuntimeError, match="could not convert.*OfMyOwn"):
        to_litert(model, folder / "own.tflite")


@quick
def test_what_the_converter_cannot_do_is_told(folder):
    values = keras.Input((8,))
    model = keras.Model(values, ops.svd(ops.reshape(values, (-1, 2, 4)))[1], name="strange")
    with pytest.raises(RuntimeError, match="TensorFlow could not convert 'strange': "):
        to_litert(model, folder / "strange.tflite")
    assert not list(folder.glob("*strange*"))


# Bad input


def subclassed():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own(name="own")
    model(np.zeros((1, *SHAPE)))
    return model


def two_inputs():
    a, b = keras.Input(SHAPE), keras.Input(SHAPE)
    return keras.Model([a, b], layers.Add()([a, b]))


def any_size():
    return keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3)])


def half_precision():
    layer = layers.Conv2D(2, 3, dtype="mixed_float16")
    return keras.Sequential([keras.Input(SHAPE), layer])


def seen():
    return np.array([-1.0, 1.55], "float32").reshape(1, 1, 2, 1)


@pytest.mark.parametrize("write, suffix", [(to_litert, ".tflite"), (to_onnx, ".onnx")])
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: "a model", "needs a Keras model, got str"),
        (subclassed, "'own' is of class Own and has no graph"),
        (two_inputs, "has 2 and 1"),
        (any_size, r"one size, got \(None, None, None, 3\)"),
        (lambda: quantize_aware(network("plain")), "range of 'input_range' is unknown: train"),
        (half_precision, "compute in float32, but 'conv2d.*' computes in float16"),
        (
            lambda: quantize_after_training(single(), seen(), bits={"only": 12}),
            r"weights of at most 8 bits, but the model has only \(12\)",
        ),
        (
            lambda: quantize_after_training(network("plain"), images(), bits=4),
            r"activations of 8 bits, but the model has input_range \(4\)",
        ),
    ],
)
def test_errors_of_models(write, suffix, make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write(make(), tmp_path / f"file{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"calibration_images": images()[:0]}, "at least one image"),
        ({"calibration_images": images()[:, :4]}, r"shape \(N, 8, 8, 3\), got \(32, 4, 8, 3\)"),
        ({"calibration_images": np.full((2, *SHAPE), np.nan)}, "must be finite"),
        ({"calibration_images": np.zeros((2, *SHAPE), "uint8")}, "must be floats.*got uint8"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": True}, "batch_size must be an integer of at least 1, got True"),
        ({"batch_size": 10**9}, "batch_size must be an integer of at most 2796202, got 10{9}"),
        ({"calibration_images": "no"}, "calibration_images|images"),
        ({"quantizer": "mine"}, r"quantizer must be one of \(.*\), got 'mine'"),
    ],
)
def test_errors_of_to_litert(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_litert(network("plain"), tmp_path / "file.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_wants_no_calibration(tmp_path):
    model = quantize_after_training(network("plain"), images())
    with pytest.raises(ValueError, match="are for float models, but .* is quantized"):
        to_litert(model, tmp_path / "file.tflite", calibration_images=images())


@pytest.mark.parametrize("write, suffix", [(to_litert, ".tflite"), (to_onnx, ".onnx")])
def test_errors_of_paths(write, suffix, tmp_path):
    model = single()
    with pytest.raises(ValueError, match="path must be a string or a path, got None"):
        write(model, None)
    with pytest.raises(ValueError, match=f"must end in '{suffix}', got .*file.txt"):
        write(model, tmp_path / "file.txt")
    with pytest.raises(ValueError, match="cannot be written: there is no folder '.*missing'"):
        write(model, tmp_path / "missing" / f"file{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(ValueError, match="cannot be written: it is a folder"):
        write(model, tmp_path / f"folder{suffix}")


@pytest.mark.parametrize("fault", ["mkstemp", "write_bytes", "replace"])
def test_no_half_written_file_stays(fault, tmp_path, monkeypatch):
    path = tmp_path / "file.tflite"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(process, "convert", lambda *_: b"a new file")
    where = {"mkstemp": tempfile, "write_bytes": Path, "replace": os}[fault]

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, fault, fails)
    with pytest.raises(ValueError, match="cannot be written: .*No space left"):
        to_litert(single(), path)
    monkeypatch.undo()
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(process, "convert", lambda *_: b"a new file")
    assert to_litert(single(), str(path)) == path
    assert path.read_bytes().startswith(b"a new file")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("run", [run_litert, peak_memory, latency])
def test_errors_of_litert_files(run, int8_file, tmp_path):
    arguments = (images(),) if run is run_litert else ()
    with pytest.raises(ValueError, match="there is no file '.*missing.tflite'"):
        run(tmp_path / "missing.tflite", *arguments)
    text = tmp_path / "text.tflite"
    text.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match="text.tflite' is not a LiteRT model: its first bytes"):
        run(text, *arguments)
    half = tmp_path / "half.tflite"
    half.write_bytes(int8_file.read_bytes()[:200])
    with pytest.raises(ValueError, match="half.tflite' is not a LiteRT model"):
        run(half, *arguments)
    with pytest.raises(ValueError, match="threads must be an integer of at least 1, got 0"):
        run(int8_file, *arguments, threads=0)


@pytest.mark.parametrize("run", [run_onnx, latency])
def test_an_onnx_file_of_two_inputs_is_refused(run, tmp_path):
    kind, path = onnx.TensorProto.FLOAT, tmp_path / "two.onnx"
    ends = [onnx.helper.make_tensor_value_info(name, kind, [1, 2]) for name in "abc"]
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "sum", ends[:2], ends[2:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    with pytest.raises(ValueError, match="two.onnx' must have one input and one output, has 2"):
        run(path, *((np.zeros((1, 2)),) if run is run_onnx else ()))


@pytest.mark.parametrize("run", [run_onnx, latency])
def test_errors_of_onnx_files(run, tmp_path):
    arguments = (images(),) if run is run_onnx else ()
    with pytest.raises(ValueError, match="there is no file '.*missing.onnx'"):
        run(tmp_path / "missing.onnx", *arguments)
    text = tmp_path / "text.onnx"
    text.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match="text.onnx' is not an ONNX model"):
        run(text, *arguments)


def test_errors_of_images(int8_file, plain_files):
    for path in (int8_file, plain_files["float"][1]):
        with pytest.raises(ValueError, match=r"shape \(N, 8, 8, 3\) for .*, got \(32, 8, 8\)"):
            run_litert(path, images()[..., 0])
        with pytest.raises(ValueError, match="must be finite"):
            run_litert(path, np.full((1, *SHAPE), np.inf))
        with pytest.raises(ValueError, match="images must be .*numbers, got"):
            run_litert(path, np.full((1, *SHAPE), "a"))
        with pytest.raises(ValueError, match="an array of numbers, got a KerasTensor"):
            run_litert(path, keras.Input(SHAPE))
        with pytest.raises(ValueError, match="an array of numbers, got a MaskedArray"):
            run_litert(path, np.ma.masked_greater(images(), 1.0))
    with pytest.raises(ValueError, match="images reach from .* to 255, but the file's input cov"):
        run_litert(int8_file, np.clip(128 + 64 * images(), 0, 255))
    low, high = images().min(), images().max()
    beyond = np.where(np.arange(8)[:, None] < 3, high + 0.2, 0.0) * np.ones((2, *SHAPE))
    with pytest.raises(ValueError, match=f"images reach from 0 to .*input covers {low:.3g}.* to"):
        run_litert(int8_file, beyond)  # three eighths of the values
    beyond[:, 1:] = 0.0  # one eighth
    assert run_litert(int8_file, beyond).shape == (2, 5)
    beyond[0, 0, 0, 0] = (
        2 * high - low + 0.1
    )  # a single one, but further away than the range is wide
    with pytest.raises(ValueError, match="images reach from 0 to"):
        run_litert(int8_file, beyond)


# Measures


def test_parity_by_hand():
    x = np.array([[1.0, 4.0], [3.0, 2.0], [0.0, 1.0], [5.0, 5.5]])
    y = x + [[0.0, -0.5], [0.25, 0.0], [0.0, 0.0], [1.0, 0.0]]
    result = parity(lambda _: x, lambda _: y, x)
    assert result == {"max_difference": 1.0, "mean_difference": 1.75 / 8, "agreement": 0.75}


@pytest.mark.parametrize(
    "threshold, agreement", [(None, None), (0.5, 0.75), (0, 1.0), (np.float32(0.9), 0.75)]
)
def test_one_output_decides_by_a_threshold(threshold, agreement):
    y, other = np.array([[0.1], [0.5], [0.9], [0.95]]), np.array([[0.2], [0.4], [0.7], [0.99]])
    result = parity(lambda _: y, lambda _: other, y, threshold=threshold)
    assert result["agreement"] == agreement
    assert result["max_difference"] == pytest.approx(0.2)


def test_a_model_and_its_opposite_never_agree():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")

    def opposite(images):
        return 1 - outputs(model, images)

    assert parity(model, opposite, x)["agreement"] is None
    assert parity(model, opposite, x, threshold=0.5)["agreement"] == 0
    assert parity(model, model, x, threshold=0.5)["agreement"] == 1


def test_parity_of_one_mask():
    """Pixels are decisions of their own."""
    masks = np.array([[[[0.2], [0.8]]], [[[0.6], [0.6]]]])
    result = parity(lambda _: masks, lambda _: masks - 0.2, masks, threshold=0.5)
    assert result["agreement"] == 0.5


def two_outputs():
    x = keras.Input((2,))
    return keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)])


@pytest.mark.parametrize(
    "candidate, threshold, message",
    [
        (lambda x: x, 0.5, "threshold is for one output, but there are 2"),
        (lambda x: x, True, "threshold must be a finite number or None, got True"),
        (lambda x: x, np.nan, "threshold must be a finite number or None, got nan"),
        (lambda x: x, "half", "threshold must be a finite number or None, got 'half'"),
        (lambda x: [x, x], None, "outputs must be one array, got a list of them"),
        (two_outputs(), None, "outputs must be one array, got a list of them"),
        (lambda x: {"a": x}, None, "outputs must be one array, got a dict of them"),
        (lambda x: x + 1j, None, "outputs must be numbers, got complex"),
        (lambda x: np.where(x < 9, np.nan, x), None, "outputs must be finite, but some are NaN"),
        (lambda x: x > 0, None, "outputs must be numbers, got bool"),
    ],
)
def test_what_parity_does_not_count_as_agreement(candidate, threshold, message):
    x = np.zeros((3, 2), "float32")
    for pair in ((lambda x: x, candidate), (candidate, candidate)):
        with pytest.raises(ValueError, match=message):
            parity(*pair, x, threshold=threshold)


def test_outputs_must_be_those_of_the_images():
    with pytest.raises(ValueError, match="outputs must be one for each of 3 images, got 2"):
        parity(lambda x: x[:2], lambda x: x[:2], np.zeros((3, 2)))


def test_parity_is_its_equation(plain_files, assert_parity):
    (model, _), (_, path) = plain_files["float"], plain_files["int8"]
    x = images(40, seed=7)
    y, other = outputs(model, x).astype("float64"), run_litert(path, x).astype("float64")
    largest = total = same = 0
    for row, others in zip(y, other, strict=True):
        for a, b in zip(row, others, strict=True):
            largest, total = max(largest, abs(a - b)), total + abs(a - b)
        same += int(list(row).index(max(row)) == list(others).index(max(others)))
    expected = {"max": largest, "mean": total / y.size, "agreement": same / len(y)}
    result = parity(model, path, x)
    assert list(result.values()) == pytest.approx(list(expected.values()), rel=1e-6)
    peers = [metrics.max_error(y.ravel(), other.ravel()), metrics.mean_absolute_error(y, other)]
    peers.append(metrics.accuracy_score(y.argmax(-1), other.argmax(-1)))
    peer = "sklearn.metrics.max_error, mean_absolute_error, accuracy_score"
    assert_parity(parity, peer, list(result.values()), peers)
    assert parity(path, model, x) == pytest.approx(result)
    assert list(parity(path, str(path), x).values()) == [0, 0, 1]


@pytest.mark.parametrize(
    "reference, candidate, x, message",
    [
        (len, len, np.zeros((0, 2)), r"at least one image, got shape \(0, 2\)"),
        (lambda x: x, lambda x: x[:, :1], np.zeros((3, 2)), r"one shape.*\(3, 2\) and \(3, 1\)"),
        (lambda x: x, lambda x: x + np.inf, np.zeros((3, 2)), "must be finite"),
        (
            lambda x: x[:, 0],
            lambda x: x[:, 0],
            np.zeros((3, 2)),
            r"\(N, ..., classes\), got \(3,\)",
        ),
        (lambda x: x, "model.txt", np.zeros((3, 2)), "expected a Keras model.*got 'model.txt'"),
        (7, lambda x: x, np.zeros((3, 2)), "expected a Keras model.*got 7"),
    ],
)
def test_errors_of_parity(reference, candidate, x, message):
    with pytest.raises(ValueError, match=message):
        parity(reference, candidate, x)


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_latency_is_the_median_without_the_first_calls(clock, assert_parity):
    times = [9.0, 8.0, 0.001, 0.005, 0.002, 0.004]
    seconds = iter(times)

    def run():
        clock[0] += next(seconds)

    result = latency(run, repeats=4, warm_up=2)
    assert result == pytest.approx({"median": 3.0, "q1": 1.75, "q3": 4.25})
    expected = 1000 * np.array(statistics.quantiles(times[2:], n=4, method="inclusive"))
    got = [result[name] for name in ("q1", "median", "q3")]
    assert_parity(latency, "statistics.quantiles", got, expected)


def test_candidates_take_turns(clock):
    calls = []

    def candidate(name, seconds):
        def run():
            calls.append(name)
            clock[0] += seconds

        return run

    runs = {"a": candidate("a", 0.001), "b": candidate("b", 0.003)}
    result = latency(runs, repeats=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert [result[name]["median"] for name in "ab"] == pytest.approx([1.0, 3.0])


def test_latency_runs_files(plain_files, monkeypatch):
    made, interpreter = [], running.interpreter
    monkeypatch.setattr(running, "interpreter", lambda *a: made.append(interpreter(*a)) or made[-1])
    paths = {name: path for name, (_, path) in plain_files.items()}
    result = latency(paths, repeats=3)
    assert set(result) == {"float", "int8"} and len(made) == 2
    assert all(0 < r["q1"] <= r["median"] <= r["q3"] for r in result.values())
    for (name, (model, _)), (held, *_) in zip(plain_files.items(), made, strict=True):
        (last,) = held.get_output_details()
        got = held.get_tensor(last["index"])  # it ran, on zeros
        zero = np.zeros((1, *SHAPE), "float32")
        if name == "int8":
            scale, zero_point = last["quantization"]
            got = scale * (got.astype(float) - zero_point)
            # On int8 zeros, which are the real number at -z_x steps: any pixel of one color.
            first = held.get_input_details()[0]["quantization"]
            zero = zero - np.float32(first[0] * first[1])
        atol = 1e-4 if name == "float" else 3.01 * scale
        np.testing.assert_allclose(got, outputs(model, zero), atol=atol)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"runs": {}}, "at least one file or function"),
        ({"runs": "model.txt"}, "got 'model.txt'"),
        ({"runs": len, "repeats": 0}, "repeats must be an integer of at least 1, got 0"),
        ({"runs": len, "warm_up": -1}, "warm_up must be an integer of at least 0, got -1"),
        ({"runs": len, "warm_up": True}, "warm_up must be an integer of at least 0, got True"),
        ({"runs": len, "repeats": 10**12}, "repeats must be an integer of at most 1000000, got 10"),
        ({"runs": len, "threads": 10**6}, "threads must be an integer of at most 1024, got 10{6}"),
    ],
)
def test_errors_of_latency(options, message):
    with pytest.raises(ValueError, match=message):
        latency(**options)


@quick
def test_peak_memory_counts_the_weights(folder):
    """8 million float weights take 32 MB, and as int8 8 MB."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2000,)), layers.Dense(4000)])
    x = np.random.default_rng(0).normal(size=(4, 2000)).astype("float32")
    large = to_litert(model, folder / "large.tflite")
    small = to_litert(quantize_after_training(model, x), folder / "large_int8.tflite")
    floats, integers = peak_memory(large), peak_memory(small)
    assert 30 < floats < 150 and 7 < integers < floats / 2


COUNTED = """
import resource, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
interpreter.invoke()
print((peak() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak_memory reads /proc")
def test_peak_memory_is_what_getrusage_counts(plain_files, assert_parity):
    path = str(plain_files["float"][1])
    # A shell between the two: a process begins with the peak of the one that starts it.
    command = ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", COUNTED, path]
    counted = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert_parity(peak_memory, "resource.getrusage", peak_memory(path), float(counted), atol=2)


def test_a_result_can_be_stored(plain_files):
    model, path = plain_files["float"]
    result = {"parity": parity(model, path, images()), "time": latency(path, repeats=2)}
    assert json.loads(json.dumps(result)) == result

"""Files and what runs them: interpreters of LiteRT, sessions of ONNX Runtime."""

from pathlib import Path

import keras
import numpy as np

from cnnbook._deploy import seals
from cnnbook._deploy.packages import needed, quiet
from cnnbook._shared import files

Q_MIN, Q_MAX = -128, 127
MOST_OUTSIDE = 0.25  # of the values, beyond the range of the input


# Arrays


def as_numbers(name, values):
    """A NumPy array of what may be a tensor; never of texts, objects, masks or symbols."""
    if isinstance(values, (keras.KerasTensor, np.ma.MaskedArray)):
        raise ValueError(f"{name} must be an array of numbers, got a {type(values).__name__}.")
    try:
        array = np.asarray(keras.ops.convert_to_numpy(values))
    except Exception as error:  # each backend has its own
        kind = type(values).__name__
        raise ValueError(f"{name} must be an array of numbers, got a {kind}: {error}") from error
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} must be numbers, got {array.dtype}.")
    return array


def _images_for(shape, images, where):
    images = as_numbers("images", images)
    if images.ndim != len(shape) or any(
        isinstance(size, int) and size != given
        for size, given in zip(map(_as_int, shape[1:]), images.shape[1:], strict=True)
    ):
        expected = ", ".join(map(str, shape[1:]))
        raise ValueError(f"images must have shape (N, {expected}) for {where}, got {images.shape}.")
    images = images.astype("float32")
    if not np.isfinite(images).all():
        raise ValueError("images must be finite, but some values are NaN or infinite.")
    return images


def _as_int(size):
    """ONNX has names for sizes that are free."""
    return int(size) if hasattr(size, "__index__") else size


def _require_range(images, low, high):
    """Images of a range that is not the file's: a pre-processing that was forgotten, or another."""
    if not images.size:
        return
    step = (high - low) / (Q_MAX - Q_MIN)
    outside = np.mean((images < low - step) | (images > high + step))
    far = images.min() < 2 * low - high or images.max() > 2 * high - low
    if not far and outside <= MOST_OUTSIDE:
        return
    raise ValueError(
        f"images reach from {images.min():.4g} to {images.max():.4g}, but the file's input covers "
        f"{low:.4g} to {high:.4g}: they must be pre-processed as the calibration images were."
    )


# Files


def _content(path, suffix):
    """The bytes of a file that is not known to be broken."""
    path = files.as_path(path)
    try:
        with files.opened(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise ValueError(
            f"path must name a {suffix} file, but there is no file {str(path)!r}."
        ) from None
    except OSError as error:
        raise ValueError(f"path must name a {suffix} file, got {str(path)!r}: {error}.") from error
    if seals.is_broken(content, suffix):
        raise ValueError(f"{str(path)!r} is damaged: its bytes do not match its own checksum.")
    return content


def _require_one_each(path, inputs, outputs):
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"{str(path)!r} must have one input and one output, "
            f"has {len(inputs)} and {len(outputs)}."
        )


def interpreter(path, threads):
    """An interpreter of a LiteRT file, and what its one input and one output look like."""
    content = _content(path, ".tflite")
    refused = f"{str(path)!r} is not a LiteRT model"
    if content[4:8] != b"TFL3":
        raise ValueError(f"{refused}: its first bytes are {content[:8]!r}.")
    kind = needed("ai_edge_litert.interpreter").Interpreter
    try:
        with quiet():
            made = kind(model_content=content, num_threads=threads)
            made.allocate_tensors()
        inputs, outputs = made.get_input_details(), made.get_output_details()
    except Exception as error:  # one for each kind of damage, down to names that are no text
        raise ValueError(f"{refused} that can run: {error}") from error
    _require_one_each(path, inputs, outputs)
    return made, inputs[0], outputs[0]


def session(path, threads):
    """A session of ONNX Runtime, and what its one input looks like."""
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    content = _content(path, ".onnx")
    try:
        made = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, one for each kind of damage
        raise ValueError(f"{str(path)!r} is not an ONNX model that can run: {error}") from error
    inputs, outputs = made.get_inputs(), made.get_outputs()
    _require_one_each(path, inputs, outputs)
    return made, inputs[0]


# Runs


def run_litert(path, images, threads):
    """See `deployment.run_litert`."""
    made, first, last = interpreter(path, threads)
    for end in (first, last):
        _require_known(end, path)
    size = first["shape"][0]
    images = _images_for(first["shape"], images, Path(path).name)
    values = _to_integers(images, first) if first["dtype"] == np.int8 else images
    outputs = np.empty((len(images), *last["shape"][1:]), last["dtype"])
    for start in range(0, len(images), size):
        batch = values[start : start + size]
        count = len(batch)
        if count < size:  # the file takes full batches only; the rest of this one is not looked at
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        made.set_tensor(first["index"], batch)
        _invoke(made, path)
        outputs[start : start + count] = made.get_tensor(last["index"])[:count]
    if last["dtype"] != np.int8:
        return outputs.astype("float32")
    scale, zero = last["quantization"]
    return (np.float32(scale) * (outputs.astype("int32") - zero)).astype("float32")


def _require_known(end, path):
    """An end is float32, or int8 with a scale by which it can be told what the integers mean."""
    known = end["dtype"] == np.float32 or (end["dtype"] == np.int8 and end["quantization"][0] > 0)
    if not known or not len(end["shape"]) or not end["shape"][0]:
        kind, shape = np.dtype(end["dtype"]).name, tuple(map(int, end["shape"]))
        raise ValueError(
            f"{str(path)!r} must have batches of float32 or of int8 with a scale at its ends, "
            f"has {kind} {shape} with the scale {end['quantization'][0]}."
        )


def _invoke(made, path):
    try:
        made.invoke()
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r} did not run: {error}") from error


def _to_integers(images, end):
    scale, zero = end["quantization"]
    _require_range(images, scale * (Q_MIN - zero), scale * (Q_MAX - zero))
    return np.clip(np.round(images / np.float32(scale)) + zero, Q_MIN, Q_MAX).astype("int8")


def run_onnx(path, images, threads):
    """See `deployment.run_onnx`."""
    made, end = session(path, threads)
    images = _images_for(end.shape, images, Path(path).name)
    try:
        return made.run(None, {end.name: images})[0]
    except Exception as error:  # its own classes, one for each kind of trouble
        raise ValueError(f"{str(path)!r} did not run: {error}") from error


def once(path, threads):
    """A function without arguments that runs a file once, on zeros."""
    if files.as_path(path).suffix == ".tflite":
        made, first, _ = interpreter(path, threads)
        made.set_tensor(first["index"], np.zeros(first["shape"], first["dtype"]))
        return made.invoke
    made, end = session(path, threads)
    shape = [size if isinstance(size, int) else 1 for size in end.shape]
    feed = {end.name: np.zeros(shape, "float32")}
    return lambda: made.run(None, feed)

r"""From a Keras model to files that run without Keras, and what they are worth there.

Chapter: ``notebooks/17_deployment.ipynb``.
"""

import contextlib
import functools
import importlib
import importlib.util
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from cnnbook._networks import calibration, quantized_layers
from cnnbook._networks.exporting import exportable, ranges
from cnnbook._networks.graph import require_graph
from cnnbook._shared import arguments

__all__ = [
    "latency",
    "parity",
    "peak_memory",
    "run_litert",
    "run_onnx",
    "to_litert",
    "to_onnx",
]

QUANTIZERS = ("tensorflow", "ai-edge-quantizer")
Q_MIN, Q_MAX = -128, 127
MOST_OUTSIDE = 0.25  # of the values, beyond the range of the input


def _needed(name):
    """A module of the extra `deploy`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{error}: pip install "cnnbook[deploy]" brings it.') from error


# Files: whole or not at all


def _target(path, suffix):
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"path must be a string or a path, got {path!r}.")
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"path must end in {suffix!r}, got {str(path)!r}.")
    reason = None
    if not path.parent.is_dir():
        reason = f"there is no folder {str(path.parent)!r}"
    elif not os.access(path.parent, os.W_OK):
        reason = f"the folder {str(path.parent)!r} is write-protected"
    elif os.path.isdir(path):
        reason = "it is a folder"
    if reason:
        raise ValueError(f"path {str(path)!r} cannot be written: {reason}.")
    return path


def _write(path, content):
    """Under another name first, so that nobody ever finds half a file."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ValueError(f"path {str(path)!r} cannot be written: {error}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise ValueError(f"path {str(path)!r} cannot be written: {error}.") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return path


# Conversion, which only TensorFlow can do


def _require_model(model, what):
    require_graph(model, what)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"{what} needs a model with one input and one output, "
            f"{model.name!r} has {len(model.inputs)} and {len(model.outputs)}."
        )
    shape = model.inputs[0].shape
    if None in shape[1:]:
        raise ValueError(f"{what} needs a model whose input has one size, got {tuple(shape)}.")
    layers = model._flatten_layers(include_self=False)
    for layer in layers:
        if getattr(layer, "weights", None) and layer.compute_dtype != "float32":
            raise ValueError(
                f"{what} writes models that compute in float32, but {layer.name!r} computes in "
                f"{layer.compute_dtype}: build the model anew in float32 and set its weights."
            )
    for kind, fits, message in (
        (quantized_layers.QuantizedActivation, lambda bits: bits == 8, "activations of 8 bits"),
        (quantized_layers._WithBits, lambda bits: bits <= 8, "weights of at most 8 bits"),
    ):
        named = [x for x in layers if isinstance(x, kind) and not fits(x.bits)]
        if named:
            found = ", ".join(f"{x.name} ({x.bits})" for x in named)
            raise ValueError(f"{what} writes {message}, but the model has {found}.")
    for layer in ranges(model):
        layer.limits()  # raises where one is unknown


def _convert(model, job, images=None):
    """The bytes of a file, made here on TensorFlow and otherwise in a process of its own."""
    if keras.backend.backend() == "tensorflow":
        return _converted(model, job, images)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save(folder / "model.keras")
        if images is not None:
            np.save(folder / "images.npy", images)
        code = "from cnnbook.deployment import _worker; _worker()"
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
        )
        done = subprocess.run(
            [_tensorflow_python(), "-c", code],
            input=json.dumps({**job, "folder": str(folder)}),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2]
            raise RuntimeError(f"TensorFlow could not convert {model.name!r}: {last}")
        return (folder / "file").read_bytes()


def _tensorflow_python():
    """The Python that has TensorFlow: this one, or the one that is named."""
    named = os.environ.get("CNNBOOK_PYTHON_TENSORFLOW")
    if named or importlib.util.find_spec("tensorflow"):
        return named or sys.executable
    raise ImportError(
        'Files are written by TensorFlow: pip install "cnnbook[tensorflow]", or let '
        "CNNBOOK_PYTHON_TENSORFLOW name the Python of an environment that has it."
    )


def _worker():
    """The other process: a job on standard input, the result in its folder."""
    job = json.load(sys.stdin)
    folder = Path(job.pop("folder"))
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    images = folder / "images.npy"
    images = np.load(images, allow_pickle=False) if images.exists() else None
    (folder / "file").write_bytes(_converted(model, job, images))


def _converted(model, job, images):
    if job["format"] == "litert":
        return _litert(model, images, job["batch_size"], job["quantizer"])
    return _onnx(model)


def _litert(model, images, batch_size, quantizer, integer_ends=True):
    """The bytes of a .tflite file."""
    import tensorflow as tf

    images = None if images is None else _in_batches(images, batch_size)
    integer = bool(ranges(model)) or (images is not None and quantizer == "tensorflow")
    options, operations = {}, tf.lite.OpsSet.TFLITE_BUILTINS
    if integer:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        if integer_ends:
            options |= {"inference_input_type": tf.int8, "inference_output_type": tf.int8}
    if integer and images is not None:
        operations = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        options["representative_dataset"] = lambda: ([batch] for batch in images)
    model = exportable(model) if ranges(model) else model
    spec = keras.InputSpec(dtype="float32", shape=(batch_size, *model.inputs[0].shape[1:]))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        # Not model.export(format="litert"), which before Keras 3.15 does not heed the batch.
        archive = keras.export.ExportArchive()
        archive.track(model)
        call = functools.partial(model, training=False)
        try:
            archive.add_endpoint("serve", call, input_signature=[spec])
            archive.write_out(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.target_spec.supported_ops = [operations]
            converter.experimental_enable_resource_variables = True
            for name, value in options.items():
                setattr(converter, name, value)
            content = converter.convert()
        except Exception as error:  # the converter has no class of errors that is public
            raise RuntimeError(
                f"TensorFlow could not convert {model.name!r}: {_reason(error)}"
            ) from error
        if images is not None and quantizer == "ai-edge-quantizer":
            path = Path(folder, "model.tflite")
            path.write_bytes(content)
            return _by_ai_edge_quantizer(path, images)
        return content


def _reason(error):
    """The first line of a long message, and the first after it that speaks of an error."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    telling = [line for line in rest if "rror" in line or "must" in line]
    return " ".join([first, *(telling or rest[-1:])[:1]])[:600]


def _in_batches(images, size):
    """Full batches, since the file takes no others; the first images fill up the last."""
    order = np.arange(-(-len(images) // size) * size) % len(images)
    return images[order.reshape(-1, size)]


def _by_ai_edge_quantizer(path, images):
    quantizer, recipe = (_needed(f"ai_edge_quantizer.{name}") for name in ("quantizer", "recipe"))
    ((name, ends),) = _interpreter(path, 1).get_signature_list().items()
    job = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    batches = [{ends["inputs"][0]: batch} for batch in images]
    return bytes(job.quantize(job.calibrate({name: batches})).quantized_model)


def _onnx(model):
    """The bytes of an .onnx file, by way of LiteRT: it knows integer layers."""
    convert = _needed("tf2onnx.convert")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder, "model.tflite")
        path.write_bytes(_litert(model, None, None, "tensorflow", integer_ends=False))
        graph, _ = convert.from_tflite(str(path), opset=17)
    return graph.SerializeToString()


@contextlib.contextmanager
def _quiet():
    """Without the notes of converters and interpreters on themselves; errors are raised as ever.

    Native code writes past Python, to the file descriptors.
    """
    logged = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryFile() as notes,
        contextlib.ExitStack() as way,
    ):
        warnings.simplefilter("ignore")
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            way.enter_context(redirect(io.StringIO()))
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            way.callback(os.close, saved)
            way.callback(os.dup2, saved, descriptor)
            os.dup2(notes.fileno(), descriptor)
        logging.disable(max(logged, logging.WARNING))
        way.callback(logging.disable, logged)
        yield


def to_litert(model, path, *, calibration_images=None, batch_size=1, quantizer="tensorflow"):
    r"""Writes a model as a LiteRT file (.tflite), :eq:`eq-int8-file`.

    A float model becomes a float32 file, which computes what the model computes. A quantized one
    becomes a file of integers only, and so does a float model with calibration images. Such a
    file computes the :math:`F` of the equation, int8 numbers from int8 numbers
    (:func:`~cnnbook.quantization.integer_conv2d`). The scales :math:`s_x`, :math:`s_y`
    and zero points :math:`z_x`, :math:`z_y` of input and output stand in it. Whoever runs it by
    other means than :func:`run_litert` has to do the two steps around :math:`F`.

    The conversion itself is TensorFlow's. On JAX and PyTorch it runs in a process of its own, of
    this Python or of the one that the environment variable ``CNNBOOK_PYTHON_TENSORFLOW`` names.
    The converter has the last word on layers that were left float by ``skip``: those at the
    beginning and the end stay float, and with them the input or the output of the file; one between
    quantized layers is quantized as they are.

    Args:
        model: A built Functional or Sequential model with one input and one output: float, or
            from :func:`~cnnbook.quantization.quantize_aware` or
            :func:`~cnnbook.quantization.quantize_after_training`. It stays as it is.
        path: Where to write, a name that ends in ``.tflite``. A file that is there is replaced, but
            only when the new one is whole.
        calibration_images: For a float model: an array (N, ...) of what the model takes, as for
            :func:`~cnnbook.quantization.quantize_after_training`.
        batch_size: How many images the file takes at once, an int of at least 1.
        quantizer: Who quantizes a float model: ``"tensorflow"``, the converter, or
            ``"ai-edge-quantizer"``, whose ranges follow the images as a moving average.

    Returns:
        The path, a ``pathlib.Path``.

    Raises:
        ValueError: If the model is of another kind, computes in another type than float32, has a
            range that is unknown, activations of other than 8 bits or weights of more; if there
            are no calibration images, they have another shape than the model's input, are not
            floats or not finite, or come with a quantized model; if the path cannot be written; or
            an argument is out of range.
        ImportError: If TensorFlow or a package of the extra ``deploy`` is missing.
        RuntimeError: If TensorFlow cannot convert the model.

    References:
        Jacob et al., Quantization and training of neural networks, 2018,
        https://arxiv.org/abs/1712.05877;
        the specification of int8 files, https://ai.google.dev/edge/litert/models/quantization_spec

    Example:
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_litert(keras.Sequential(layers), f"{folder}/small.tflite")
        ...     run_litert(path, np.zeros((3, 8, 8, 1))).shape
        (3, 6, 6, 2)
    """
    path = _target(path, ".tflite")
    _require_model(model, "to_litert")
    batch_size = arguments.positive_int("batch_size", batch_size)
    if quantizer not in QUANTIZERS:
        raise ValueError(f"quantizer must be one of {QUANTIZERS}, got {quantizer!r}.")
    images = None
    if calibration_images is not None:
        if ranges(model):
            raise ValueError(
                f"calibration_images are for float models, but {model.name!r} is quantized."
            )
        images = calibration._images_of(model, calibration_images)
    job = {"format": "litert", "batch_size": batch_size, "quantizer": quantizer}
    return _write(path, _convert(model, job, images))


def to_onnx(model, path):
    r"""Writes a model as an ONNX file, which differs from it by rounding alone, :eq:`eq-parity`.

    With the symbols of :func:`parity`, :math:`\delta_{max}` is about :math:`10^{-6}` of the
    outputs for a float model, and one or two steps of the output's scale for a quantized one.

    Both go by way of LiteRT and tf2onnx: a file that holds floats, or integers between operations
    ``QuantizeLinear`` and ``DequantizeLinear``. Inputs and outputs are float32, channels last, and
    the number of images is free.

    Args:
        model: As in :func:`to_litert`.
        path: Where to write, a name that ends in ``.onnx``.

    Returns:
        The path, a ``pathlib.Path``.

    Raises:
        ValueError: As :func:`to_litert`, for the model and the path.
        ImportError: If TensorFlow or a package of the extra ``deploy`` is missing.
        RuntimeError: If TensorFlow cannot convert the model.

    References:
        ONNX operators, https://onnx.ai/onnx/operators

    Example:
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_onnx(keras.Sequential(layers), f"{folder}/small.onnx")
        ...     run_onnx(path, np.zeros((3, 8, 8, 1))).shape
        (3, 6, 6, 2)
    """
    path = _target(path, ".onnx")
    _require_model(model, "to_onnx")
    return _write(path, _convert(model, {"format": "onnx"}))


# Running files


def _existing(path, suffix):
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"path must name a {suffix} file, but there is no file {str(path)!r}.")
    return path


def _interpreter(path, threads):
    threads = arguments.positive_int("threads", threads)
    content = _existing(path, ".tflite").read_bytes()
    refused = f"{str(path)!r} is not a LiteRT model"
    if content[4:8] != b"TFL3":
        raise ValueError(f"{refused}: its first bytes are {content[:8]!r}.")
    interpreter = _needed("ai_edge_litert.interpreter").Interpreter
    try:
        with _quiet():
            made = interpreter(model_content=content, num_threads=threads)
            made.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{refused} that can run: {error}") from error
    return made


def _images_for(shape, images, where):
    images = np.asarray(keras.ops.convert_to_numpy(images))
    if images.ndim != len(shape) or images.shape[1:] != tuple(shape[1:]):
        expected = ", ".join(map(str, shape[1:]))
        raise ValueError(f"images must have shape (N, {expected}) for {where}, got {images.shape}.")
    if images.dtype.kind not in "fiu":
        raise ValueError(f"images must be numbers, got {images.dtype}.")
    images = images.astype("float32")
    if not np.isfinite(images).all():
        raise ValueError("images must be finite, but some values are NaN or infinite.")
    return images


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


def run_litert(path, images, *, threads=1):
    r"""Runs a LiteRT file on float images, :eq:`eq-int8-file`.

    .. math::

        q_x = \text{clip}\left(\text{round}(x / s_x) + z_x,\, -128,\, 127\right), \qquad
        \hat{y} = s_y \left( F(q_x) - z_y \right)

    :math:`F` is what the file computes; the scales :math:`s_x`, :math:`s_y` and zero points
    :math:`z_x`, :math:`z_y` of its input and output stand in it. A float32 file is :math:`F`
    alone. What lies a little outside of the input's range is clipped, as the quantized model
    itself does.

    Args:
        path: A ``.tflite`` file with one input and one output.
        images: :math:`x`, floats of shape (N, ...), what the Keras model takes.
        threads: An int of at least 1.

    Returns:
        :math:`\hat{y}`, a NumPy float32 array of shape (N, ...), one row for each image.

    Raises:
        ValueError: If the file is missing or no LiteRT model, the images have another shape than
            its input, are not finite, or do not belong to the range of an int8 input: one value
            lies beyond it by more than the range is wide, or a quarter of all by more than a step.
            A range that is too narrow cannot be told from dark images.
        ImportError: If a package of the extra ``deploy`` is missing.

    References:
        The specification of int8 files,
        https://ai.google.dev/edge/litert/models/quantization_spec

    Example:
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_litert(model, f"{folder}/flat.tflite")
        ...     run_litert(path, [[[[1.0], [2.0]], [[3.0], [4.0]]]]).tolist()
        [[1.0, 2.0, 3.0, 4.0]]
    """
    interpreter = _interpreter(path, threads)
    first, last = _ends(interpreter, path)
    size = first["shape"][0]
    images = _images_for(first["shape"], images, Path(path).name)
    values = _to_integers(images, first) if first["dtype"] == np.int8 else images
    outputs = np.empty((len(images), *last["shape"][1:]), last["dtype"])
    for start in range(0, len(images), size):
        batch = values[start : start + size]
        count = len(batch)
        if count < size:  # the file takes full batches only; the rest of this one is not looked at
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        interpreter.set_tensor(first["index"], batch)
        interpreter.invoke()
        outputs[start : start + count] = interpreter.get_tensor(last["index"])[:count]
    if last["dtype"] != np.int8:
        return outputs.astype("float32")
    scale, zero = last["quantization"]
    return (np.float32(scale) * (outputs.astype("int32") - zero)).astype("float32")


def _ends(interpreter, path):
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    _require_one_each(path, inputs, outputs)
    return inputs[0], outputs[0]


def _require_one_each(path, inputs, outputs):
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"{str(path)!r} must have one input and one output, "
            f"has {len(inputs)} and {len(outputs)}."
        )


def _to_integers(images, end):
    scale, zero = end["quantization"]
    _require_range(images, scale * (Q_MIN - zero), scale * (Q_MAX - zero))
    return np.clip(np.round(images / np.float32(scale)) + zero, Q_MIN, Q_MAX).astype("int8")


def _session(path, threads):
    """A session of ONNX Runtime, and what its one input looks like."""
    threads = arguments.positive_int("threads", threads)
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    path = _existing(path, ".onnx")
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, one for each kind of damage
        raise ValueError(f"{str(path)!r} is not an ONNX model that can run: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    _require_one_each(path, inputs, outputs)
    return session, inputs[0]


def run_onnx(path, images, *, threads=1):
    r"""Runs an ONNX file on float images, all at once.

    Its outputs are the :math:`\hat{y}` of :eq:`eq-parity`.

    Args:
        path: An ``.onnx`` file with one input and one output, such as :func:`to_onnx` writes.
        images: Floats of shape (N, ...), what the Keras model takes.
        threads: An int of at least 1.

    Returns:
        A NumPy float32 array of shape (N, ...), one row for each image.

    Raises:
        ValueError: If the file is missing or no ONNX model, has other than one input and one
            output, or the images have another shape than its input or are not finite.
        ImportError: If a package of the extra ``deploy`` is missing.

    References:
        ONNX Runtime, https://onnxruntime.ai

    Example:
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_onnx(model, f"{folder}/flat.onnx")
        ...     run_onnx(path, [[[[1.0], [2.0]], [[3.0], [4.0]]]]).tolist()
        [[1.0, 2.0, 3.0, 4.0]]
    """
    session, end = _session(path, threads)
    images = _images_for(end.shape, images, Path(path).name)
    return session.run(None, {end.name: images})[0]


# What a file is worth: agreement, time, memory


def parity(reference, candidate, images):
    r"""How far two models, or a model and its file, are apart, :eq:`eq-parity`.

    .. math::

        \delta_{max} = \max_{i,c} \lvert y_{i,c} - \hat{y}_{i,c} \rvert, \qquad
        \bar{\delta} = \frac{1}{NC} \sum_{i,c} \lvert y_{i,c} - \hat{y}_{i,c} \rvert, \qquad
        a = \frac{1}{N} \sum_{i=1}^{N} \mathbb{I}(c_i = \hat{c}_i)

    :math:`y_{i,c}` and :math:`\hat{y}_{i,c}` are the outputs of the two for image :math:`i` and
    class :math:`c`, :math:`c_i` and :math:`\hat{c}_i` the classes with the largest. The first
    two say how the numbers differ, the third whether it matters.

    Args:
        reference: A Keras model, the path of a ``.tflite`` or ``.onnx`` file, or a function from
            images to outputs.
        candidate: Likewise.
        images: An array (N, ...) of at least one image.

    Returns:
        A dict with the floats ``max_difference``, ``mean_difference`` and ``agreement``, which is
        from 0 to 1.

    Raises:
        ValueError: If there are no images, the outputs differ in shape or are not finite, or one of
            the two is none of the above.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, section 4,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> images = np.array([[1.0, 2.0], [3.0, 5.0]])
        >>> result = parity(lambda x: x, lambda x: x + [[0.0, 0.5], [0.0, -3.0]], images)
        >>> [result[k] for k in ("max_difference", "mean_difference", "agreement")]
        [3.0, 0.875, 0.5]
    """
    images = np.asarray(keras.ops.convert_to_numpy(images))
    if not images.ndim or not len(images):
        raise ValueError(f"images must hold at least one image, got shape {images.shape}.")
    y, other = (_outputs(of, images) for of in (reference, candidate))
    if y.shape != other.shape or y.ndim < 2 or not y.size:
        raise ValueError(
            "reference and candidate must have outputs of one shape (N, ..., classes), "
            f"got {y.shape} and {other.shape}."
        )
    difference = np.abs(y - other)
    if not np.isfinite(difference).all():
        raise ValueError("outputs must be finite, but some are NaN or infinite.")
    return {
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "agreement": float(np.mean(y.argmax(-1) == other.argmax(-1))),
    }


def _outputs(of, images, batch_size=256):
    if isinstance(of, keras.Model):
        starts = range(0, len(images), batch_size)
        parts = [of(images[i : i + batch_size], training=False) for i in starts]
        outputs = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
    else:
        outputs = (of if callable(of) else _runner(of))(images)
    return np.asarray(keras.ops.convert_to_numpy(outputs), "float64")


def _runner(of):
    """The function that runs a file, by the end of its name."""
    runners = {".tflite": run_litert, ".onnx": run_onnx}
    run = runners.get(Path(of).suffix) if isinstance(of, (str, os.PathLike)) else None
    if run is None:
        raise ValueError(
            f"expected a Keras model, a .tflite or .onnx file, or a function, got {of!r}."
        )
    return lambda images: run(of, images)


def latency(runs, *, repeats=50, warm_up=5, threads=1):
    r"""Milliseconds of a call, the median of many, taken in turns, :eq:`eq-latency`.

    .. math::

        \tilde{t} = \text{median}(t_{w+1}, t_{w+2}, \dots, t_{w+n})

    Each :math:`t` is the time of one call; the first :math:`w` calls do not count, because they
    allocate and fill caches. Several candidates take turns, call by call, so that whatever
    else the machine does strikes all alike: compare within one call of this function only.

    Args:
        runs: The path of a ``.tflite`` or ``.onnx`` file, which is timed on zeros in batches of its
            own size (1 where it is free), without the way from and to floats; or a function without
            arguments; or a dict from names to such.
        repeats: :math:`n`, an int of at least 1.
        warm_up: :math:`w`, an int of at least 0.
        threads: Of the files, an int of at least 1.

    Returns:
        A dict with the floats ``median`` and the quartiles ``q1`` and ``q3``, in milliseconds; for
        a dict of runs a dict of such dicts.

    Raises:
        ValueError: If a file is missing or of another kind, or an argument is out of range.

    References:
        Reddi et al., MLPerf inference benchmark, 2020, https://arxiv.org/abs/1911.02549

    Example:
        >>> result = latency({"fast": lambda: None, "slow": lambda: time.sleep(0.002)}, repeats=5)
        >>> result["slow"]["median"] >= 2.0 > result["fast"]["median"]
        True
    """
    repeats = arguments.positive_int("repeats", repeats)
    if isinstance(warm_up, bool) or not hasattr(warm_up, "__index__") or warm_up < 0:
        raise ValueError(f"warm_up must be an integer of at least 0, got {warm_up!r}.")
    named = dict(runs) if isinstance(runs, Mapping) else {"": runs}
    if not named:
        raise ValueError("runs must hold at least one file or function, got none.")
    calls = {name: _call(run, threads) for name, run in named.items()}
    times = {name: [] for name in calls}
    for _ in range(warm_up + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    results = {name: _quartiles(values[warm_up:]) for name, values in times.items()}
    return results if isinstance(runs, Mapping) else results[""]


def _quartiles(milliseconds):
    q1, median, q3 = np.percentile(milliseconds, [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


def _call(run, threads):
    """A function without arguments that runs a file once."""
    if callable(run):
        return run
    _runner(run)
    if Path(run).suffix == ".tflite":
        interpreter = _interpreter(run, threads)
        first, _ = _ends(interpreter, run)
        interpreter.set_tensor(first["index"], np.zeros(first["shape"], first["dtype"]))
        return interpreter.invoke
    session, end = _session(run, threads)
    shape = [size if isinstance(size, int) else 1 for size in end.shape]
    feed = {end.name: np.zeros(shape, "float32")}
    return lambda: session.run(None, feed)


# Its own process: the interpreter and NumPy, and nothing else.
_MEMORY = """
import sys
from pathlib import Path
import numpy as np
from ai_edge_litert.interpreter import Interpreter

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

before = status("VmRSS")
interpreter = Interpreter(sys.argv[1], num_threads=int(sys.argv[2]))
interpreter.allocate_tensors()
(end,) = interpreter.get_input_details()
interpreter.set_tensor(end["index"], np.zeros(end["shape"], end["dtype"]))
for _ in range(3):
    interpreter.invoke()
print(status("VmHWM") - before)
"""


def peak_memory(path, *, threads=1):
    r"""MiB of memory that loading and running a LiteRT file takes at most, :eq:`eq-peak-memory`.

    .. math::

        m = \max_{\tau \ge 0} R(\tau) - R(0)

    :math:`R(\tau)` is the resident memory, at time :math:`\tau`, of a process of its own in which
    the file is opened at time 0 and run three times: weights, what lies between two layers, and
    what the interpreter makes of the weights for its own use. The interpreter's code and NumPy
    are there before. Small files vary by some hundred KiB.

    Args:
        path: A ``.tflite`` file with one input.
        threads: An int of at least 1.

    Returns:
        :math:`m` in MiB, a float.

    Raises:
        ValueError: If the file is missing or no LiteRT model.
        OSError: Outside of Linux, whose ``/proc`` counts it.

    References:
        VmHWM and VmRSS in proc(5), https://man7.org/linux/man-pages/man5/proc_pid_status.5.html

    Example:
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_litert(keras.Sequential(layers), f"{folder}/small.tflite")
        ...     0 <= peak_memory(path) < 50
        True
    """
    _ends(_interpreter(path, threads), path)
    if sys.platform != "linux":
        raise OSError(f"peak_memory needs Linux, whose /proc counts it, got {sys.platform}.")
    command = [sys.executable, "-c", _MEMORY, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{str(path)!r} did not run: {done.stderr.strip()[-300:]}")
    return int(done.stdout.split()[-1]) / 1024  # Linux counts in KiB

r"""From a Keras model to files that run without Keras, and what they are worth there.

Chapter: ``notebooks/17_deployment.ipynb``.
"""

import math
import os
import sys
import time
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

import keras
import numpy as np

from cnnbook._deploy import conversion, process, running, seals
from cnnbook._networks import calibration
from cnnbook._shared import arguments, files

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
MOST_CALLS = 1_000_000  # of a function that is timed
MOST_THREADS = 1024


def _at_most(most, name, value, check=arguments.positive_int):
    value = check(name, value)
    if value > most:
        raise ValueError(f"{name} must be an integer of at most {most}, got {value}.")
    return value


def _threads(value):
    return _at_most(MOST_THREADS, "threads", value)


def _batch_size(model, value):
    most = conversion.MOST_BYTES // (4 * math.prod(model.inputs[0].shape[1:]) or 1)
    return _at_most(most, "batch_size", value)


def _names(model, skip):
    """The layers named in skip, as a list."""
    kinds = (list, tuple, set, frozenset)
    if not isinstance(skip, kinds) or not all(isinstance(name, str) for name in skip):
        raise ValueError(f"skip must be a list of names, got {skip!r}.")
    known = {layer.name for layer in model._flatten_layers(include_self=False)}
    known |= {operation.name for operation in getattr(model, "operations", ())}
    unknown = [name for name in skip if name not in known]
    if unknown:
        raise ValueError(f"skip names {unknown}, but {model.name!r} has {sorted(known)}.")
    return sorted(skip)


def _write(path, content):
    try:
        files.write_bytes(path, seals.sealed(content, path.suffix))
    except OSError as error:
        raise ValueError(f"path {str(path)!r} cannot be written: {error}.") from error
    return path


def to_litert(
    model, path, *, calibration_images=None, batch_size=1, quantizer="tensorflow", skip=()
):
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
    quantized layers is quantized as they are, if LiteRT has integers for it. No other layer of a
    quantized file computes in floats: where LiteRT has no integers for one, it is named, and
    nothing is written.

    The last bytes of the file are a checksum, by which the functions here tell a damaged file;
    other readers pass over them.

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
        skip: The names of layers without weights that may compute in floats in a quantized file. A
            layer with weights that was left float by
            :func:`~cnnbook.quantization.quantize_aware` need not be named again.

    Returns:
        The path, a ``pathlib.Path``.

    Raises:
        ValueError: If the model is of another kind, computes in another type than float32, has a
            range that is unknown, activations of other than 8 bits or weights of more; if there
            are no calibration images, they have another shape than the model's input, are not
            floats or not finite, or come with a quantized model; if a layer would compute in floats
            in a quantized file; if the path cannot be written; or an argument is out of range.
        ImportError: If TensorFlow or a package of the extra ``deploy`` is missing.
        RuntimeError: If TensorFlow cannot convert the model.

    References:
        Jacob et al., Quantization and training of neural networks, 2018,
        https://arxiv.org/abs/1712.05877;
        the specification of int8 files, https://ai.google.dev/edge/litert/models/quantization_spec

    Example:
        >>> import tempfile
        >>> import keras
        >>> import numpy as np
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_litert(keras.Sequential(layers), f"{folder}/small.tflite")
        ...     run_litert(path, np.zeros((3, 8, 8, 1))).shape
        (3, 6, 6, 2)
    """
    path = files.target(path, ".tflite")
    conversion.require_convertible(model, "to_litert")
    batch_size = _batch_size(model, batch_size)
    if quantizer not in QUANTIZERS:
        raise ValueError(f"quantizer must be one of {QUANTIZERS}, got {quantizer!r}.")
    job = {"format": "litert", "batch_size": batch_size, "quantizer": quantizer}
    job["skip"], images = _names(model, skip), None
    if calibration_images is not None:
        if conversion.is_quantized(model):
            raise ValueError(
                f"calibration_images are for float models, but {model.name!r} is quantized."
            )
        images = calibration._images_of(model, calibration_images)
    return _write(path, process.convert(model, job, images))


def to_onnx(model, path, *, skip=()):
    r"""Writes a model as an ONNX file, which differs from it by rounding alone, :eq:`eq-parity`.

    With the symbols of :func:`parity`, :math:`\delta_{max}` is about :math:`10^{-6}` of the
    outputs for a float model, and one or two steps of the output's scale for a quantized one.

    Both go by way of LiteRT and tf2onnx: a file that holds floats, or integers between operations
    ``QuantizeLinear`` and ``DequantizeLinear``. Inputs and outputs are float32, channels last, and
    the number of images is free.

    Args:
        model: As in :func:`to_litert`.
        path: Where to write, a name that ends in ``.onnx``.
        skip: As in :func:`to_litert`.

    Returns:
        The path, a ``pathlib.Path``.

    Raises:
        ValueError: As :func:`to_litert`, for the model, its layers and the path.
        ImportError: If TensorFlow or a package of the extra ``deploy`` is missing.
        RuntimeError: If TensorFlow cannot convert the model.

    References:
        ONNX operators, https://onnx.ai/onnx/operators

    Example:
        >>> import tempfile
        >>> import keras
        >>> import numpy as np
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_onnx(keras.Sequential(layers), f"{folder}/small.onnx")
        ...     run_onnx(path, np.zeros((3, 8, 8, 1))).shape
        (3, 6, 6, 2)
    """
    path = files.target(path, ".onnx")
    conversion.require_convertible(model, "to_onnx")
    return _write(path, process.convert(model, {"format": "onnx", "skip": _names(model, skip)}))


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
        threads: An int from 1 to 1024.

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
        >>> import tempfile
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_litert(model, f"{folder}/flat.tflite")
        ...     run_litert(path, [[[[1.0], [2.0]], [[3.0], [4.0]]]]).tolist()
        [[1.0, 2.0, 3.0, 4.0]]
    """
    return running.run_litert(path, images, _threads(threads))


def run_onnx(path, images, *, threads=1):
    r"""Runs an ONNX file on float images, all at once.

    Its outputs are the :math:`\hat{y}` of :eq:`eq-parity`.

    Args:
        path: An ``.onnx`` file with one input and one output, such as :func:`to_onnx` writes.
        images: Floats of shape (N, ...), what the Keras model takes.
        threads: An int from 1 to 1024.

    Returns:
        A NumPy float32 array of shape (N, ...), one row for each image.

    Raises:
        ValueError: If the file is missing or no ONNX model, has other than one input and one
            output, or the images have another shape than its input or are not finite.
        ImportError: If a package of the extra ``deploy`` is missing.

    References:
        ONNX Runtime, https://onnxruntime.ai

    Example:
        >>> import tempfile
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_onnx(model, f"{folder}/flat.onnx")
        ...     run_onnx(path, [[[[1.0], [2.0]], [[3.0], [4.0]]]]).tolist()
        [[1.0, 2.0, 3.0, 4.0]]
    """
    return running.run_onnx(path, images, _threads(threads))


# What a file is worth: agreement, time, memory


def parity(reference, candidate, images, *, threshold=None):
    r"""How far two models, or a model and its file, are apart, :eq:`eq-parity`.

    .. math::

        \delta_{max} &= \max_{i,c} \lvert y_{i,c} - \hat{y}_{i,c} \rvert, \\
        \bar{\delta} &= \frac{1}{NC} \sum_{i,c} \lvert y_{i,c} - \hat{y}_{i,c} \rvert, \\
        a &= \frac{1}{N} \sum_{i=1}^{N} \mathbb{I}(c_i = \hat{c}_i)

    :math:`y_{i,c}` and :math:`\hat{y}_{i,c}` are the outputs of the two for image :math:`i` and
    class :math:`c`, :math:`c_i` and :math:`\hat{c}_i` the classes with the largest. The first
    two say how the numbers differ, the third whether it matters.

    One output (:math:`C = 1`) has no largest. Where it is the score of a class, ``threshold`` says
    from which value on :math:`c_i` is 1 and not 0; where it is a measurement, nothing is decided.

    Args:
        reference: A Keras model, the path of a ``.tflite`` or ``.onnx`` file, or a function from
            images to outputs.
        candidate: Likewise.
        images: An array (N, ...) of at least one image.
        threshold: For one output: a number, 0.5 for a probability and 0 for a logit. None where
            there are several, or where one is no decision.

    Returns:
        A dict with the floats ``max_difference``, ``mean_difference`` and ``agreement``, which is
        from 0 to 1, and None for one output without a threshold.

    Raises:
        ValueError: If there are no images, the outputs are several arrays, differ in shape, do not
            belong to the images or are not finite, one of the two is none of the above, or the
            threshold is no number or there are several outputs.

    References:
        Jacob et al., Quantization and training of neural networks, 2018, section 4,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> import numpy as np
        >>> images = np.array([[1.0, 2.0], [3.0, 5.0]])
        >>> result = parity(lambda x: x, lambda x: x + [[0.0, 0.5], [0.0, -3.0]], images)
        >>> [result[k] for k in ("max_difference", "mean_difference", "agreement")]
        [3.0, 0.875, 0.5]
    """
    images = running.as_numbers("images", images)
    if not images.ndim or not len(images):
        raise ValueError(f"images must hold at least one image, got shape {images.shape}.")
    y, other = (_outputs(of, images) for of in (reference, candidate))
    if y.shape != other.shape or y.ndim < 2 or not y.size:
        raise ValueError(
            "reference and candidate must have outputs of one shape (N, ..., classes), "
            f"got {y.shape} and {other.shape}."
        )
    if len(y) != len(images):
        raise ValueError(f"outputs must be one for each of {len(images)} images, got {len(y)}.")
    difference = np.abs(y - other)
    if not np.isfinite(difference).all():
        raise ValueError("outputs must be finite, but some are NaN or infinite.")
    same = _decisions(y, threshold) == _decisions(other, threshold)
    return {
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "agreement": None if y.shape[-1] == 1 and threshold is None else float(np.mean(same)),
    }


def _decisions(y, threshold):
    """Class numbers, or None where there is nothing to decide."""
    if threshold is None:
        return y.argmax(-1) if y.shape[-1] > 1 else None
    number = isinstance(threshold, Real) and not isinstance(threshold, (bool, np.bool_))
    if not number or not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number or None, got {threshold!r}.")
    if y.shape[-1] > 1:
        raise ValueError(f"threshold is for one output, but there are {y.shape[-1]}.")
    return y[..., 0] >= threshold


def _outputs(of, images, batch_size=256):
    if isinstance(of, keras.Model):
        starts = range(0, len(images), batch_size)
        parts = [of(images[i : i + batch_size], training=False) for i in starts]
        outputs = np.concatenate([_one_array(part) for part in parts])
    else:
        outputs = _one_array((of if callable(of) else _runner(of))(images))
    return outputs.astype("float64")


def _one_array(outputs):
    if isinstance(outputs, (Mapping, list, tuple)):
        raise ValueError(f"outputs must be one array, got a {type(outputs).__name__} of them.")
    return running.as_numbers("outputs", outputs)


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
        repeats: :math:`n`, an int of at least 1 and at most 1,000,000.
        warm_up: :math:`w`, an int of at least 0 and at most 1,000,000.
        threads: Of the files, an int from 1 to 1024.

    Returns:
        A dict with the floats ``median`` and the quartiles ``q1`` and ``q3``, in milliseconds; for
        a dict of runs a dict of such dicts.

    Raises:
        ValueError: If a file is missing or of another kind, or an argument is out of range.

    References:
        Reddi et al., MLPerf inference benchmark, 2020, https://arxiv.org/abs/1911.02549

    Example:
        >>> import time
        >>> result = latency({"fast": lambda: None, "slow": lambda: time.sleep(0.002)}, repeats=5)
        >>> result["slow"]["median"] >= 2.0 > result["fast"]["median"]
        True
    """
    repeats = _at_most(MOST_CALLS, "repeats", repeats)
    warm_up, threads = _at_most(MOST_CALLS, "warm_up", warm_up, _count), _threads(threads)
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


def _count(name, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0, got {value!r}.")
    return value.__index__()


def _quartiles(milliseconds):
    q1, median, q3 = np.percentile(milliseconds, [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


def _call(run, threads):
    """A function without arguments that runs a file once."""
    if callable(run):
        return run
    _runner(run)
    return running.once(run, threads)


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
        threads: An int from 1 to 1024.

    Returns:
        :math:`m` in MiB, a float.

    Raises:
        ValueError: If the file is missing or no LiteRT model.
        OSError: Outside of Linux, whose ``/proc`` counts it.

    References:
        VmHWM and VmRSS in proc(5), https://man7.org/linux/man-pages/man5/proc_pid_status.5.html

    Example:
        >>> import tempfile
        >>> import keras
        >>> import numpy as np
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = to_litert(keras.Sequential(layers), f"{folder}/small.tflite")
        ...     0 <= peak_memory(path) < 50
        True
    """
    threads = _threads(threads)
    running.interpreter(path, threads)
    if sys.platform != "linux":
        raise OSError(f"peak_memory needs Linux, whose /proc counts it, got {sys.platform}.")
    done = process.run_module("cnnbook._deploy.memory", path, threads)
    if done.returncode:
        raise RuntimeError(f"{str(path)!r} did not run: {done.stderr.strip()[-300:]}")
    return int(done.stdout.split()[-1]) / 1024  # Linux counts in KiB

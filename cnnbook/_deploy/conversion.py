"""From a Keras model to the bytes of a file, which only TensorFlow can make."""

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np

from cnnbook._deploy import integers
from cnnbook._deploy.packages import needed, quiet
from cnnbook._networks import quantized_layers
from cnnbook._networks.exporting import exportable, ranges
from cnnbook._networks.graph import require_graph

MOST_BYTES = 2**31 - 1  # of a tensor in a file


def require_convertible(model, what):
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
    _require_bits(layers, what)
    for layer in ranges(model):
        layer.limits()  # raises where one is unknown


def _require_bits(layers, what):
    for kind, fits, message in (
        (quantized_layers.QuantizedActivation, lambda bits: bits == 8, "activations of 8 bits"),
        (quantized_layers.WithBits, lambda bits: bits <= 8, "weights of at most 8 bits"),
    ):
        named = [x for x in layers if isinstance(x, kind) and not fits(x.bits)]
        if named:
            found = ", ".join(f"{x.name} ({x.bits})" for x in named)
            raise ValueError(f"{what} writes {message}, but the model has {found}.")


def is_quantized(model):
    return bool(ranges(model))


def converted(model, job, images):
    """The bytes that a job asks for: a dict with the keys format, skip, batch_size, quantizer."""
    if job["format"] == "litert":
        return _litert(model, images, job["batch_size"], job["quantizer"], job["skip"])
    return _onnx(model, job["skip"])


def _litert(model, images, batch_size, quantizer, skip, integer_ends=True):
    """The bytes of a .tflite file."""
    images = None if images is None else _in_batches(images, batch_size)
    quantized = is_quantized(model)
    options = {}
    if quantized or (images is not None and quantizer == "tensorflow"):
        options = _integer_options(images, integer_ends)
    with tempfile.TemporaryDirectory() as folder, quiet():
        try:
            known = exportable(model) if quantized else model
            content = _by_tensorflow(known, batch_size, folder, options)
        except Exception as error:  # the converter has no class of errors that is public
            raise RuntimeError(
                f"TensorFlow could not convert {model.name!r}: {_reason(error)}"
            ) from error
        if images is not None and quantizer == "ai-edge-quantizer":
            content = _by_ai_edge_quantizer(Path(folder, "model.tflite"), content, images)
    if quantized or images is not None:
        integers.require_integers(content, model, quantized, skip)
    return content


def _integer_options(images, integer_ends):
    import tensorflow as tf

    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if integer_ends:
        options |= {"inference_input_type": tf.int8, "inference_output_type": tf.int8}
    if images is not None:
        options["representative_dataset"] = lambda: ([batch] for batch in images)
    return options


def _by_tensorflow(model, batch_size, folder, options):
    import tensorflow as tf

    spec = keras.InputSpec(dtype="float32", shape=(batch_size, *model.inputs[0].shape[1:]))
    # Not model.export(format="litert"), which before Keras 3.15 does not heed the batch.
    archive = keras.export.ExportArchive()
    archive.track(model)
    call = functools.partial(model, training=False)
    archive.add_endpoint("serve", call, input_signature=[spec])
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    known = tf.lite.OpsSet
    with_images = "representative_dataset" in options
    operations = known.TFLITE_BUILTINS_INT8 if with_images else known.TFLITE_BUILTINS
    converter.target_spec.supported_ops = [operations]
    converter.experimental_enable_resource_variables = True
    for name, value in options.items():
        setattr(converter, name, value)
    return converter.convert()


def _reason(error):
    """The first line of a long message, and the first after it that speaks of an error."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    telling = [line for line in rest if "rror" in line or "must" in line]
    return " ".join([first, *(telling or rest[-1:])[:1]])[:600]


def _in_batches(images, size):
    """Full batches, since the file takes no others; the first images fill up the last."""
    order = np.arange(-(-len(images) // size) * size) % len(images)
    return images[order.reshape(-1, size)]


def _by_ai_edge_quantizer(path, content, images):
    names = ("ai_edge_quantizer.quantizer", "ai_edge_quantizer.recipe")
    quantizer, recipe = map(needed, names)
    path.write_bytes(content)
    interpreter = needed("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=1)
    ((name, ends),) = interpreter.get_signature_list().items()
    job = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    batches = [{ends["inputs"][0]: batch} for batch in images]
    return bytes(job.quantize(job.calibrate({name: batches})).quantized_model)


def _onnx(model, skip):
    """The bytes of an .onnx file, by way of LiteRT: it knows integer layers."""
    convert = needed("tf2onnx.convert")
    content = _litert(model, None, None, "tensorflow", skip, integer_ends=False)
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder, "model.tflite")
        path.write_bytes(content)
        graph, _ = convert.from_tflite(str(path), opset=17)
    return graph.SerializeToString()

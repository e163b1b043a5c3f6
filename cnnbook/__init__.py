"""Helpers for the cnnbook textbook: one module per chapter, one function per equation.

    01 convolution     convolution, its gradients, its transpose, output sizes
    02 activations     ReLU and its relatives
    03 pooling         maximum and average over windows and over images, gradients
    04 normalization   batch, layer and group normalization, folding
    05 dropout         dropout of values and of whole channels
    06 dense           the dense layer and flattening
    07 softmax         softmax, its logarithm and its gradient
    08 preprocessing   statistics of the channels, standardizing
    09 augmentation    random crops, flips, rotations, colors, erasing and mixing
    10 losses          cross-entropy, squared error, focal loss
    11 optimizers      gradient descent, momentum, Adam, AdamW, learning rate schedules
    12 training        the training loop, with checkpoints from which it resumes
    13 industrial_cnn  a network for 32x32 images, and PyTorch's weights in Keras
    14 quantization    integers for real numbers, networks trained or calibrated for them
    15 pruning         masks, schedules, a callback that prunes, filters that really go
    16 distillation    the loss of a student, its gradient, training by a teacher
    17 deployment      LiteRT and ONNX files, what runs and what measures them
       datasets        the data sets of the chapters
       plotting        pictures that several chapters share
       exercises       the judge of the exercises

Each of them is imported by its name, for example ``from cnnbook.convolution import conv2d``.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

__version__ = "0.1.0"

_BACKENDS = ("tensorflow", "jax", "torch")


def _name_backend():
    """The backend that Keras will take: from the environment, its settings, or its default."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        return json.loads((Path(home) / "keras.json").read_text("utf-8"))["backend"]
    except (OSError, ValueError, TypeError, KeyError):  # Keras passes over such a file as well
        return "tensorflow"


def _require_backend():
    """Says before Keras is imported, and in plain words, that its backend is not installed."""
    name = _name_backend()
    if "keras" in sys.modules or name not in _BACKENDS or importlib.util.find_spec(name):
        return
    others = [b for b in _BACKENDS if importlib.util.find_spec(b)]
    advice = f"set the environment variable KERAS_BACKEND to {' or '.join(others)}, or install"
    raise ModuleNotFoundError(
        f"cnnbook needs a backend for Keras, and {name}, which Keras is set to, is not installed: "
        f"{advice if others else 'install'} it by the extra cnnbook[{name}]. The extras "
        "[tensorflow], [jax] and [torch] bring one each; KERAS_BACKEND says which one Keras uses.",
        name=name,
    )


_require_backend()

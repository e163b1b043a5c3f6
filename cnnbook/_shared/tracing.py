"""What a function may know of its arguments while a backend compiles it."""

import keras
import numpy as np
from keras import ops


def values_of(tensor):
    """The tensor as a NumPy array; None while a function is traced, when there are no values."""
    if isinstance(tensor, keras.KerasTensor):
        return None
    if keras.backend.backend() == "torch":
        import torch

        if torch.compiler.is_compiling():  # the one compiler in which the conversion succeeds
            return None
    try:
        values = np.asarray(ops.convert_to_numpy(tensor))
    except (TypeError, NotImplementedError, RuntimeError):  # JAX, TensorFlow, PyTorch
        return None
    return values if values.dtype.kind in "biu" else values.astype("float64")

"""What every module does with its arguments before the mathematics begins."""

import keras
from keras import ops


def as_float(*arrays):
    """The arrays as tensors of the float dtype to which Keras promotes them; None stays None.

    That is float64 for float64 on TensorFlow; on PyTorch, and on JAX unless it is told otherwise,
    Keras computes in float32 at most.
    """
    tensors = [None if a is None else ops.convert_to_tensor(a) for a in arrays]
    dtypes = [keras.backend.standardize_dtype(t.dtype) for t in tensors if t is not None]
    dtype = keras.backend.result_type(*dtypes, float)
    tensors = [None if t is None else ops.cast(t, dtype) for t in tensors]
    return tensors[0] if len(tensors) == 1 else tensors


def require_rank(name, tensor, rank):
    if len(tensor.shape) != rank:
        raise ValueError(f"{name} must have {rank} dimensions, got shape {tuple(tensor.shape)}.")


def is_channels_first(data_format):
    """Whether the channels stand on axis 1; None asks Keras's configuration."""
    data_format = keras.config.image_data_format() if data_format is None else data_format
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            f"data_format must be 'channels_first' or 'channels_last', got {data_format!r}."
        )
    return data_format == "channels_first"


def to_channels_last(x, channels_first):
    return ops.transpose(x, (0, 2, 3, 1)) if channels_first else x


def from_channels_last(x, channels_first):
    return ops.transpose(x, (0, 3, 1, 2)) if channels_first else x


def positive_int(name, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return value.__index__()


def positive_pair(name, value):
    """An int for both directions, or one for the height and one for the width."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an int or a pair of ints, got {value!r}.")
    return tuple(positive_int(name, v) for v in pair)


def as_seed(seed):
    """An int, or the SeedGenerator itself: what `keras.random` takes."""
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or seed < 0:
        raise ValueError(
            f"seed must be an int of at least 0 or a keras.random.SeedGenerator, got {seed!r}."
        )
    return seed.__index__()

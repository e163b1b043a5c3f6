"""What every module does with its arguments before the mathematics begins.

Each check has one message, which names the argument, says what was expected and shows what was
given. Python numbers and static shapes are checked, the values of tensors are not.
"""

import math
import operator
from numbers import Real

import keras
import numpy as np
from keras import ops

LARGEST = 2**31 - 1  # of sizes and counts: what every backend can hold in an int32
LARGEST_SEED = 2**32 - 1

# Arrays


def as_float(*, optional=(), **arrays):
    """The named arrays as tensors of the float dtype to which Keras promotes them.

    That is float64 for float64 on TensorFlow; on PyTorch, and on JAX unless it is told otherwise,
    Keras computes in float32 at most. None is refused, except for the names in `optional`, of
    which it stays None. One array gives one tensor, several give a list.
    """
    tensors = [
        None if array is None and name in optional else as_tensor(name, array)
        for name, array in arrays.items()
    ]
    dtypes = [keras.backend.standardize_dtype(t.dtype) for t in tensors if t is not None]
    dtype = keras.backend.result_type(*dtypes, float)
    tensors = [None if t is None else ops.cast(t, dtype) for t in tensors]
    return tensors[0] if len(tensors) == 1 else tensors


def as_tensor(name, array):
    """The array as a tensor of its own dtype, where it holds real numbers."""
    expected = f"{name} must be an array of real numbers"
    if array is None or isinstance(array, (bool, np.bool_, str, bytes, dict, set)):
        raise ValueError(f"{expected}, got {array!r}.")
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(f"{expected}, got a masked array; fill it first.")
    if isinstance(array, (np.ndarray, np.generic)) and array.dtype.kind in "cmMOSU":
        raise ValueError(f"{expected}, got dtype {array.dtype}.")
    try:
        tensor = ops.convert_to_tensor(array, sparse=False, ragged=False)
        dtype = keras.backend.standardize_dtype(tensor.dtype)
    except Exception as error:  # ragged lists, foreign objects and huge integers fail in many ways
        kind = type(array).__name__
        raise ValueError(f"{expected}, got a {kind} that is none: {error}") from error
    if not (dtype == "bool" or keras.backend.is_int_dtype(dtype) or "float" in dtype):
        raise ValueError(f"{expected}, got dtype {dtype}.")
    return tensor


def as_numpy(name, array):
    """The same as a NumPy array, of its own dtype where NumPy has it."""
    tensor = as_tensor(name, array)
    if isinstance(tensor, keras.KerasTensor):
        raise ValueError(f"{name} must be an array with values, got a KerasTensor.")
    array = array if isinstance(array, np.ndarray) else np.asarray(ops.convert_to_numpy(array))
    return array if array.dtype.kind in "biuf" else array.astype("float32")  # bfloat16


def require_rank(name, tensor, rank):
    if len(tensor.shape) != rank:
        raise ValueError(f"{name} must have {rank} dimensions, got shape {tuple(tensor.shape)}.")


def is_channels_first(data_format):
    """Whether the channels stand on axis 1; None asks Keras's configuration."""
    if data_format is None:
        data_format = keras.config.image_data_format()
    return choice("data_format", data_format, ("channels_first", "channels_last")) == (
        "channels_first"
    )


def to_channels_last(x, channels_first):
    return ops.transpose(x, (0, 2, 3, 1)) if channels_first else x


def from_channels_last(x, channels_first):
    return ops.transpose(x, (0, 3, 1, 2)) if channels_first else x


# Integers


def _index(value):
    """The int that the value is, of Python, NumPy or a tensor; None where it is none."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except Exception:  # a float, an array, or a tensor that is being traced
        return None


def is_integer(value):
    return _index(value) is not None


def integer(name, value, low, high=LARGEST):
    """The value as an int, where it is an integer from low to high."""
    index = _index(value)
    if index is None or not low <= index <= high:
        is_too_large = index is not None and index > high
        limited = high < LARGEST or is_too_large
        limits = f"from {low} to {high}" if limited else f"of at least {low}"
        raise ValueError(f"{name} must be an integer {limits}, got {value!r}.")
    return index


def positive_int(name, value):
    return integer(name, value, 1)


def positive_pair(name, value):
    """An integer for both directions, or one for the height and one for the width."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an integer or a pair of integers, got {value!r}.")
    return tuple(positive_int(name, v) for v in pair)


def as_axis(axis, name, tensor):
    """The axis of the tensor of that name, counted from the front."""
    rank = len(tensor.shape)
    index = _index(axis)
    if index is None or not -rank <= index < rank:
        limits = f"an integer from {-rank} to {rank - 1}" if rank else "left out"
        raise ValueError(
            f"axis must be {limits} for {name} of shape {tuple(tensor.shape)}, got {axis!r}."
        )
    return index % rank


def as_seed(seed):
    """An int, or the SeedGenerator itself: what `keras.random` takes."""
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    index = _index(seed)
    if index is None or not 0 <= index <= LARGEST_SEED:
        raise ValueError(
            f"seed must be an integer from 0 to {LARGEST_SEED} or a keras.random.SeedGenerator, "
            f"got {seed!r}."
        )
    return index


# Numbers, flags and choices


def is_number(value):
    """Whether the value is a finite real number of Python or NumPy, and no bool."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def number(name, value, *, above=None, at_least=None, below=None, at_most=None):
    """The value as a float, where it is a finite number within the limits that are given."""
    limits = (
        ("above", above, operator.gt),
        ("of at least", at_least, operator.ge),
        ("below", below, operator.lt),
        ("at most", at_most, operator.le),
    )
    limits = [limit for limit in limits if limit[1] is not None]
    if not is_number(value) or not all(holds(value, limit) for _, limit, holds in limits):
        words = " and ".join(f"{word} {limit}" for word, limit, _ in limits)
        expected = f"a finite number {words}".rstrip()
        raise ValueError(f"{name} must be {expected}, got {value!r}.")
    return float(value)


def flag(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def choice(name, value, options):
    """The value, where it is one of the options, which are texts or None."""
    is_option = value is None or isinstance(value, str)
    if not is_option or value not in options:
        *others, last = map(repr, options)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}.")
    return value

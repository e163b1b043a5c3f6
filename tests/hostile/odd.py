"""Odd values in place of a valid argument, and which of them a kind of argument must refuse."""

import math

import keras
import numpy as np
from keras import ops

TEXTS = {"text", "empty text", "bytes", "array of texts"}
FOREIGN = {"dict", "object", "function", "complex", "list of None"}
NO_ARRAYS = {"complex array", "masked", "objects", "ragged", "beyond floats"}
MANY = {"empty list", "three integers", "matrix", "KerasTensor"}
FLOATS = {"half", "float16"}
NO_NUMBERS = {"nan", "infinity", "beyond floats"}
HUGE = {"2**63", "-2**63", "1e308", "huge"}

REFUSED = {
    "array": TEXTS | FOREIGN | NO_ARRAYS | {"True"},
    "arrays": TEXTS | {"True", "object", "function", "complex", "nan", "one"},
    "integer": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | FLOATS | HUGE | {"True"},
    "integers": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | FLOATS | {"True", "ragged"},
    "number": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | {"True", "empty list", "ragged"},
    "range": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | {"True", "one", "half"},
    "flag": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | FLOATS | {"one", "zero", "minus one"},
    "choice": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | FLOATS | {"one", "zero", "True"},
    "padding": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | FLOATS | {"True", "minus one"},
    "axis": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | FLOATS | HUGE | {"True"},
    "seed": TEXTS | FOREIGN | NO_ARRAYS | NO_NUMBERS | MANY | FLOATS | {"True", "minus one"},
    "text": set(),
    "other": set(),
}
"""What must not give a result, by the kind of the argument."""


def single_values():
    """Values that have nothing to do with what is expected."""
    return {
        "None": None,
        "True": True,
        "text": "odd",
        "empty text": "",
        "bytes": b"odd",
        "zero": 0,
        "one": 1,
        "minus one": -1,
        "half": 0.5,
        "nan": math.nan,
        "infinity": math.inf,
        "complex": 1 + 2j,
        "2**63": 2**63,
        "-2**63": -(2**63),
        "1e308": 1e308,
        "beyond floats": 10**400,
        "empty list": [],
        "three integers": (1, 2, 3),
        "list of None": [None],
        "ragged": [[1.0, 2.0], [3.0]],
        "dict": {"a": 1},
        "object": object(),
        "function": len,
        "0-d": np.array(2),
        "int8": np.int8(2),
        "float16": np.float16(0.5),
        "array of texts": np.array(["a", "b"]),
        "matrix": np.ones((2, 2), "float32"),
        "KerasTensor": keras.KerasTensor((None, 3)),
    }


def odd_arrays(array):
    """The array itself, made odd in one way each."""
    read_only = array.copy()
    read_only.setflags(write=False)
    with_nan, with_infinity = (array.astype("float32") for _ in range(2))
    with np.errstate(over="ignore"):
        huge = array.astype("float32") * np.float32(3e38)
    with_nan.flat[0], with_infinity.flat[0] = math.nan, math.inf
    shape = array.shape
    return {
        "first element": array.reshape(-1)[0],
        "no examples": array[:0],
        "no channels": array[..., :0],
        "one more axis": array[None],
        "one axis less": array[0],
        "one example less": array[:-1],
        "turned around": array.T.copy(),
        "complex array": array.astype("complex64"),
        "masked": np.ma.array(array, mask=np.arange(array.size).reshape(shape) == 0),
        "objects": array.astype(object),
        "array of texts": array.astype(str),
        "float16 array": array.astype("float16"),
        "bfloat16 array": ops.cast(array, "bfloat16"),
        "float64 array": array.astype("float64"),
        "int8 array": array.astype("int8"),
        "uint8 array": array.astype("uint8"),
        "bool array": array.astype(bool),
        "with nan": with_nan,
        "with infinity": with_infinity,
        "huge": huge,
        "negative": -array if array.dtype.kind != "u" else array,
        "read-only": read_only,
        "strided": np.repeat(array, 2, axis=-1)[..., ::2],
        "list": array.tolist(),
        "tensor": ops.convert_to_tensor(array),
        "symbolic": keras.KerasTensor((None, *shape[1:])),
        "symbolic, known": keras.KerasTensor(shape),
    }


def values_for(valid):
    """{label: value}, odd values in place of a valid one."""
    values = single_values()
    if isinstance(valid, np.ndarray) and valid.ndim:
        values |= odd_arrays(valid)
    if isinstance(valid, list) and valid and isinstance(valid[0], np.ndarray):
        values |= {f"first: {k}": [v, *valid[1:]] for k, v in odd_arrays(valid[0]).items()}
        values |= {"one list less": valid[:-1]}
    if isinstance(valid, tuple) and all(isinstance(v, (int, float)) for v in valid):
        values |= {"turned around": valid[::-1], "negative": tuple(-v for v in valid)}
        values |= {"bools": tuple(True for _ in valid), "texts": tuple(map(str, valid))}
    return values


def is_refused(kind, label, can_be_none):
    """Whether a call with that value must not give a result."""
    if label == "None":
        return kind not in ("text", "other") and not can_be_none
    return label in REFUSED[kind]

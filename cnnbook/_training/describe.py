"""What a run was started with, in words that a file can hold and that can be compared."""

import json

import keras
import numpy as np


def plain(value):
    """The value as JSON would give it back; what JSON has no word for becomes its name."""
    return json.loads(json.dumps(value, default=_named))


def _named(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    owner = value if hasattr(value, "__qualname__") else type(value)
    return owner.__qualname__


def loss(function):
    """A Keras loss by its class and configuration, another function by its name."""
    if not isinstance(function, keras.losses.Loss):
        return _named(function)
    options = function.get_config()
    return plain({"class": type(function).__name__} | {k: options[k] for k in sorted(options)})


def differences(there, here, path=""):
    """The first thing in which two descriptions differ, as "name=a" and "name=b", or None."""
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = [(key, there.get(key), here.get(key)) for key in (*there, *here)]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(index, a, b) for index, (a, b) in enumerate(zip(there, here, strict=True))]
    else:
        return None if there == here else (f"{path}={there!r}", f"{path}={here!r}")
    for key, a, b in pairs:
        name = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else key
        found = differences(a, b, name)
        if found:
            return found
    return None

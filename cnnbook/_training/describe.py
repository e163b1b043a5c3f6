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


def other_variables(there, here, owner):
    """The first variable of model or optimizer that is not the same, as two texts, or None."""
    lists = [[v for v in found if v[0] == owner] for found in (there, here)]
    for i in range(max(map(len, lists))):
        pair = [found[i] if i < len(found) else None for found in lists]
        if pair[0] != pair[1]:
            return tuple(f"variable {i} of the {owner}: {kind}" for kind in pair)
    return None

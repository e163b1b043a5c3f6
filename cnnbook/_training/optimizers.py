"""An optimizer before a run, and again when a run goes on."""

import math

import keras
from keras import ops

from cnnbook._training.describe import plain

SCALED = keras.optimizers.LossScaleOptimizer
SEVERAL = getattr(keras.optimizers, "MultiOptimizer", ())  # since Keras 3.15


def parts(optimizer):
    """The optimizers with a learning rate: those inside, where it is made of others."""
    if isinstance(optimizer, SCALED):
        return parts(optimizer.inner_optimizer)
    if isinstance(optimizer, SEVERAL):
        return [part for inner in optimizer.optimizers for part in parts(inner)]
    return [optimizer]


def ready(optimizer, model):
    """The optimizer with its variables for the model; it scales the loss for float16."""
    optimizer = keras.optimizers.get(optimizer)
    if model.dtype_policy.name == "mixed_float16" and not isinstance(optimizer, SCALED):
        optimizer = SCALED(optimizer)
    optimizer.build(model.trainable_variables)
    for part in parts(optimizer):
        rate = float(ops.convert_to_numpy(part.learning_rate))
        if not rate >= 0 or math.isinf(rate):
            raise ValueError(f"optimizer must have a learning rate of at least 0, got {rate}.")
    return optimizer


def describe(optimizer):
    """[{class, options}] of the optimizer and those inside, each after what holds it."""
    inside = parts(optimizer)
    chain = [] if inside[0] is optimizer else [optimizer]
    described = []
    for part in (*chain, *inside):
        options = {} if isinstance(part, SEVERAL) else part.get_config()
        for name in ("name", "inner_optimizer"):
            options.pop(name, None)
        described.append(plain({"class": type(part).__name__} | options))
    return described


def take_rates(optimizer, there, here):
    """Sets the rates of `here` where they are not those of `there`, which a checkpoint holds.

    A rate that a callback had changed since stays, unless the caller has changed his.
    """
    for part, old, new in zip(parts(optimizer), _rates(there), _rates(here), strict=True):
        if old != new and not isinstance(new, dict | str):
            part.learning_rate = new


def _rates(described):
    return [options["learning_rate"] for options in described if "learning_rate" in options]


def without_rates(described):
    """The description with the kind of each learning rate in the place of its value."""
    kinds = {int: "a number", float: "a number", dict: "a schedule", str: "a function"}
    return [
        {name: kinds[type(v)] if name == "learning_rate" else v for name, v in options.items()}
        for options in described
    ]

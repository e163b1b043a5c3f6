"""Keras callbacks in a training run, and what of them a checkpoint keeps."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

KEPT = {
    keras.callbacks.CSVLogger: (),
    keras.callbacks.EarlyStopping: (
        "wait",
        "best",
        "best_weights",
        "best_epoch",
        "stopped_epoch",
    ),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.LambdaCallback: (),
    keras.callbacks.LearningRateScheduler: (),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_current_epoch",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.TerminateOnNaN: (),
}
"""What each of Keras's callbacks remembers from one call to the next."""


class Callbacks:
    """Callbacks that are called in turn, as `fit` calls them."""

    def __init__(self, callbacks, model, **params):
        self.callbacks = (
            [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else [*(callbacks or ())]
        )
        for callback in self.callbacks:
            if not isinstance(callback, keras.callbacks.Callback):
                raise ValueError(f"callbacks must be Keras callbacks, got {callback!r}.")
        self.model, self.params, self.where = model, params, lambda: ""

    @property
    def names(self):
        return [type(callback).__name__ for callback in self.callbacks]

    def begin(self, where):
        """Makes the model known to all; `where()` says how far the run is."""
        self.where = where
        for callback in self.callbacks:
            callback.set_params(self.params)
            callback.set_model(self.model)
            # Keras asks a compiled model whether more is better, and this one is not compiled.
            is_accuracy = getattr(callback, "monitor", None) in ("accuracy", "val_accuracy")
            if is_accuracy and getattr(callback, "mode", None) == "auto":
                callback.mode = "max"
        self.call("on_train_begin", {})

    def call(self, hook, *args):
        """Calls one method of all; an error says whose it is, and where the run stood."""
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(*args)
            except Exception as error:
                error.add_note(f"{type(callback).__name__}.{hook} raised it {self.where()}")
                raise

    def require_resumable(self):
        """Raises where a run that goes on from a checkpoint would silently be another one."""
        for callback in self.callbacks:
            kind = type(callback)
            has_state = hasattr(callback, "get_state") and hasattr(callback, "set_state")
            if not has_state and kind not in KEPT:
                raise ValueError(
                    f"callbacks has a {kind.__name__}, whose memory a checkpoint cannot keep: "
                    "give it get_state(), which returns numbers, texts and arrays, and "
                    "set_state(state), or train without checkpoint."
                )
            if kind is keras.callbacks.CSVLogger and not callback.append:
                raise ValueError(
                    "callbacks has a CSVLogger that would write its file anew when the run goes "
                    "on from a checkpoint: give it append=True."
                )

    def states(self, arrays):
        """What each remembers, for JSON; the arrays in it go to the end of the list."""
        states = []
        for callback in self.callbacks:
            if hasattr(callback, "get_state"):
                state = callback.get_state()
            else:
                state = {n: getattr(callback, n, None) for n in KEPT[type(callback)]}
            try:
                states.append(_pack(state, arrays))
            except TypeError as error:
                name = type(callback).__name__
                raise ValueError(f"{name} remembers what no checkpoint can keep: {error}") from None
        return states

    def restore(self, states, arrays):
        for callback, packed in zip(self.callbacks, states, strict=True):
            state = _unpack(packed, arrays)
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)


def _pack(value, arrays):
    """The value with a tag where JSON would lose what it is."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic) or ops.is_tensor(value):
        arrays.append(np.asarray(ops.convert_to_numpy(value)))
        return {"array": len(arrays) - 1}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(item, arrays) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[_pack(k, arrays), _pack(v, arrays)] for k, v in value.items()]}
    raise TypeError(f"a {type(value).__name__}.")


def _unpack(packed, arrays):
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "array":
        return arrays[content]
    if kind == "dict":
        return {_unpack(k, arrays): _unpack(v, arrays) for k, v in content}
    return {"list": list, "tuple": tuple}[kind](_unpack(item, arrays) for item in content)

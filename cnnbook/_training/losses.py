"""The loss of a training run: a function, a Keras loss, or the name of one."""

import inspect

import keras


def loss_of(loss):
    """What is called with truth and outputs, whatever was given."""
    if isinstance(loss, str):
        return _by_name(loss)
    if not callable(loss):
        raise ValueError(f"loss must be a function, a Keras loss or the name of one, got {loss!r}.")
    return loss


def _by_name(name):
    """The Keras loss that averages over the batch what the function of that name gives."""
    try:
        found = keras.losses.get(name)
    except ValueError:
        raise ValueError(f"loss {name!r} is no name of a Keras loss.") from None
    if isinstance(found, keras.losses.Loss):
        return found
    for member in vars(keras.losses).values():
        if inspect.isclass(member) and issubclass(member, keras.losses.Loss):
            loss = member() if member is not keras.losses.Loss else None
            if getattr(loss, "fn", None) is found:
                return loss
    raise ValueError(f"loss {name!r} is no name of a Keras loss.")


def require_weights(loss):
    """Raises where data have weights and the loss has no place for them."""
    if isinstance(loss, keras.losses.Loss):
        return
    if "sample_weight" not in parameters(loss):
        raise ValueError(
            "data has sample weights, but loss does not take sample_weight: use a Keras loss, or "
            "a function loss(y_true, y_pred, sample_weight)."
        )


def parameters(function):
    """The names of a function's parameters; none where Python cannot tell."""
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()

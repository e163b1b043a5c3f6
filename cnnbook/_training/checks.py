"""Numbers that a training run takes."""


def integer(name, value, *, least=0, most=None):
    """The value as an int; NumPy's integers are integers, and True is none."""
    is_integer = hasattr(value, "__index__") and not isinstance(value, bool)
    if not is_integer or value < least or (most is not None and value > most):
        wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {wanted}, got {value!r}.")
    return value.__index__()

"""Numbers that a training run takes."""

from cnnbook._shared import arguments


def integer(name, value, *, least=0, most=None):
    """The value as an int; NumPy's integers are integers, and True is none."""
    return arguments.integer(name, value, least, arguments.LARGEST if most is None else most)

"""Colors of single pixels, from 0 to 1."""

from numbers import Real

import keras
from keras import ops

from cnnbook._images import checks, draws
from cnnbook._shared import arguments

GRAY = (0.2989, 0.5870, 0.1140)  # the weights of red, green and blue, as in keras.ops.image


def as_colors(images, data_format, needs_three):
    dtype = keras.backend.standardize_dtype(arguments.as_tensor("images", images).dtype)
    if "float" not in dtype:
        raise ValueError(f"images must be floats from 0 to 1, got dtype {dtype}.")
    x, channels_first = checks.as_images(images, data_format)
    if x.shape[-1] != 3 and (needs_three or x.shape[-1] != 1):
        allowed = "3 channels for saturation and hue" if needs_three else "1 or 3 channels"
        raise ValueError(f"images must have {allowed}, got {x.shape[-1]}.")
    return x, channels_first


def gray(x):
    """(N, H, W, 1), in the dtype of x."""
    if x.shape[-1] == 1:
        return x
    return sum(weight * x[..., k : k + 1] for k, weight in enumerate(GRAY))


def blend(x, other, factor):
    return ops.clip(factor * x + (1 - factor) * other, 0, 1)


def _hue_and_chroma(x):
    """Hue in sixths of a turn, chroma and largest value of each pixel, (N, H, W, 1) each."""
    red, green, blue = (x[..., k : k + 1] for k in range(3))
    value = ops.maximum(ops.maximum(red, green), blue)
    chroma = value - ops.minimum(ops.minimum(red, green), blue)
    divisor = ops.where(chroma > 0, chroma, ops.ones_like(chroma))  # a gray pixel has no hue
    sixths = ops.where(
        value == red,
        (green - blue) / divisor,
        ops.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    return sixths, chroma, value


def turn_hue(x, shift):
    sixths, chroma, value = _hue_and_chroma(x)
    channels = []
    for m in (5, 3, 1):
        k = ops.mod(m + sixths + 6 * shift, 6)
        channels.append(value - chroma * ops.clip(ops.minimum(k, 4 - k), 0, 1))
    return ops.clip(ops.concatenate(channels, axis=-1), 0, 1)


def as_factor(name, value, x, low, high):
    """A Python number, or a tensor (N, 1, 1, 1)."""
    if isinstance(value, (bool, Real)):
        return arguments.number(name, value, at_least=low, at_most=high)
    value = arguments.as_tensor(name, value)
    if len(value.shape) > 1 or (len(value.shape) == 1 and checks.differ(value, x)):
        raise ValueError(
            f"{name} must be a number or have shape ({x.shape[0]},), "
            f"got shape {tuple(value.shape)}."
        )
    return draws.per_image(value, x)


def is_not(factor, neutral):
    return not (isinstance(factor, float) and factor == neutral)

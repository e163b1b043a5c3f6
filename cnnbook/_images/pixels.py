"""Where the pixels of moved images come from."""

import math
from numbers import Real

import keras
from keras import ops

from cnnbook._images import checks, draws
from cnnbook._shared import arguments


def grid(height, width):
    """Row and column of each pixel, float32 of shapes (1, H, 1) and (1, 1, W)."""
    rows = ops.arange(height, dtype="float32")[None, :, None]
    return rows, ops.arange(width, dtype="float32")[None, None, :]


def gather(x, rows, columns, fill):
    """x (N, H, W, C) at int32 rows and columns of shape (N, H', W'), and `fill` outside."""
    if x.shape[0] == 0:  # JAX takes nothing from an empty array
        return x
    height, width, channels = x.shape[1:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1)
    image = ops.arange(ops.shape(x)[0], dtype="int32")[:, None, None]
    place = (image * height + rows) * width + columns
    values = ops.take(ops.reshape(x, (-1, channels)), place, axis=0)
    return ops.where(inside[..., None], values, ops.cast(fill, x.dtype))


def crop(x, down, right, padding, fill):
    """x (N, H, W, C) from its padded self, image n from row down[n] and column right[n] on."""
    if x.shape[0] == 0:
        return x
    height, width, channels = x.shape[1:]
    edge = (padding, padding)
    x = ops.pad(x, ((0, 0), edge, edge, (0, 0)), constant_values=ops.cast(fill, x.dtype))
    tall, wide = x.shape[1:3]
    image = ops.arange(ops.shape(x)[0], dtype="int32")
    first = (image * tall + ops.cast(down, "int32")) * wide + ops.cast(right, "int32")
    rows, columns = ops.arange(height, dtype="int32"), ops.arange(width, dtype="int32")
    place = first[:, None, None] + (rows[:, None] * wide + columns)
    return ops.take(ops.reshape(x, (-1, channels)), place, axis=0)


def gather_masks(masks, rows, columns):
    return gather(masks[..., None], rows, columns, 0)[..., 0]


def cosine_and_sine(angles, images):
    """Of each image's angle, (N,): float64 for float64 images, else float32."""
    if isinstance(angles, (bool, Real)):
        arguments.number("angles", angles)
    angles = arguments.as_tensor("angles", angles)
    if len(angles.shape) > 1 or (len(angles.shape) == 1 and checks.differ(angles, images)):
        raise ValueError(
            f"angles must be a number or have shape ({images.shape[0]},), "
            f"got shape {tuple(angles.shape)}."
        )
    is_precise = keras.backend.standardize_dtype(images.dtype) == "float64"
    dtype = "float64" if is_precise else "float32"
    radians = ops.cast(angles, dtype) * (math.pi / 180)
    radians = radians + ops.zeros((draws.count_of(images),), dtype=dtype)
    return ops.cos(radians), ops.sin(radians)


def bilinear(x, rows, columns, fill):
    top, left = ops.floor(rows), ops.floor(columns)
    down, right = rows - top, columns - left
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    result = 0.0
    for i, share in ((0, 1 - down), (1, down)):
        for j, part in ((0, 1 - right), (1, right)):
            weight = ops.cast((share * part)[..., None], x.dtype)
            result = result + weight * gather(x, top + i, left + j, fill)
    return result


def inside(top, left, bottom, right, images):
    """Which pixels lie in each image's rectangle, (N, H, W, 1)."""
    rows, columns = grid(*images.shape[1:3])
    top, left, bottom, right = (v[:, None, None] for v in (top, left, bottom, right))
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside[..., None]

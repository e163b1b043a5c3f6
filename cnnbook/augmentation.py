"""Random changes of images that keep their labels, or change the labels along.

Chapter: ``notebooks/09_augmentation.ipynb``.
"""

import inspect
import math
from functools import reduce
from numbers import Real

import keras
import numpy as np
from keras import ops

from cnnbook._shared import arguments

__all__ = [
    "Augmentation",
    "adjust_colors",
    "color_jitter",
    "cutmix",
    "mixup",
    "random_crop",
    "random_erasing",
    "random_flip",
    "random_rotation",
    "rotate",
]

GRAY = (0.2989, 0.5870, 0.1140)  # the weights of red, green and blue, as in keras.ops.image
SEEDS = 2**32


# Arguments


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _require_within(name, value, low, high):
    if not _is_number(value) or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low}, {high}], got {value!r}.")


def _require_number(name, value):
    if not _is_number(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")


def _require_flag(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def _require_alpha(alpha):
    if not _is_number(alpha) or alpha <= 0:
        raise ValueError(f"alpha must be a positive finite number, got {alpha!r}.")


def _require_range(name, value, low, high):
    """A pair of numbers, low < smaller <= larger <= high."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or not all(map(_is_number, pair)) or not low < pair[0] <= pair[1] <= high:
        raise ValueError(
            f"{name} must be two numbers, smaller first, above {low} and at most {high}, "
            f"got {value!r}."
        )
    return pair


def _as_images(images, data_format):
    """Images with the channels last, and whether they stood first."""
    images, channels_first = arguments.as_float(images), arguments.is_channels_first(data_format)
    arguments.require_rank("images", images, 4)
    images = arguments.to_channels_last(images, channels_first)
    if None in images.shape[1:]:
        raise ValueError(f"images must have known sizes, got shape {tuple(images.shape)}.")
    return images, channels_first


def _as_masks(masks, images):
    if masks is None:
        return None
    masks = ops.convert_to_tensor(masks)
    arguments.require_rank("masks", masks, 3)
    if tuple(masks.shape[1:]) != tuple(images.shape[1:3]) or _differ(masks, images):
        raise ValueError(
            f"masks must have the shape {tuple(images.shape[:3])} of the images, "
            f"got {tuple(masks.shape)}."
        )
    return masks


def _as_boxes(boxes, images):
    if boxes is None:
        return None
    boxes = arguments.as_float(boxes)
    if len(boxes.shape) not in (2, 3) or boxes.shape[-1] != 4 or _differ(boxes, images):
        raise ValueError(
            f"boxes must have shape ({images.shape[0]}, 4) or ({images.shape[0]}, boxes, 4), "
            f"got {tuple(boxes.shape)}."
        )
    return boxes


def _differ(a, b):
    """Whether the numbers of examples differ, where both are known."""
    return None not in (a.shape[0], b.shape[0]) and a.shape[0] != b.shape[0]


def _as_labeled(images, labels):
    """Images and one-hot labels of one dtype."""
    images, labels = arguments.as_float(images, labels)
    if len(labels.shape) != 2:
        raise ValueError(
            "labels must be one-hot or probabilities, of shape (N, classes), "
            f"got shape {tuple(labels.shape)}."
        )
    if _differ(images, labels):
        raise ValueError(
            f"labels must have one row for each of {images.shape[0]} images, "
            f"got shape {tuple(labels.shape)}."
        )
    return images, labels


def _together(images, masks, boxes):
    """The images alone, or a tuple of all that were given."""
    given = tuple(a for a in (images, masks, boxes) if a is not None)
    return given if len(given) > 1 else images


# Draws


def _seeds(seed, count):
    """As many seeds: the generator again and again, or ints far from each other."""
    seed = arguments.as_seed(seed)
    if isinstance(seed, keras.random.SeedGenerator):
        return [seed] * count
    return [(seed + i * 0x9E3779B1) % SEEDS for i in range(count)]


def _uniforms(images, count, seed):
    """A list of `count` draws from [0, 1) for each image."""
    shape = (ops.shape(images)[0], count)
    drawn = keras.random.uniform(shape, dtype="float32", seed=arguments.as_seed(seed))
    return [drawn[:, k] for k in range(count)]


def _scaled(uniform, low, high):
    return low + (high - low) * uniform


def _integers(uniform, count):
    """Whole numbers, stored as floats, from 0 to count - 1; count may be a tensor."""
    return ops.minimum(ops.floor(uniform * count), count - 1)


def _mixing(images, alpha, seed):
    """For each image: lambda from Beta(alpha, alpha), a partner, and two draws from [0, 1).

    Beta is the share of one of two gamma draws in their sum. Its logarithm is formed by
    Gamma(a) = Gamma(a + 1) u^(1/a), so that a small alpha does not give 0 / 0.
    """
    of_gamma, of_uniform = _seeds(seed, 2)
    n = ops.shape(images)[0]
    gammas = keras.random.gamma((n, 2), alpha + 1.0, dtype="float32", seed=of_gamma)
    first, second, order, *others = _uniforms(images, 5, of_uniform)
    logs = ops.log(gammas) + ops.log(1.0 - ops.stack([first, second], axis=1)) / alpha
    return ops.sigmoid(logs[:, 0] - logs[:, 1]), ops.argsort(order), others


def _of_partners(x, partner):
    return x if x.shape[0] == 0 else ops.take(x, partner, axis=0)


def _per_image(values, like):
    """(N,) to (N, 1, ..., 1), in the dtype of the images."""
    return ops.cast(ops.reshape(values, (-1,) + (1,) * (len(like.shape) - 1)), like.dtype)


# Geometry


def _grid(height, width):
    """Row and column of each pixel, float32 of shapes (1, H, 1) and (1, 1, W)."""
    rows = ops.arange(height, dtype="float32")[None, :, None]
    return rows, ops.arange(width, dtype="float32")[None, None, :]


def _gather(x, rows, columns, fill):
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


def _crop(x, down, right, padding, fill):
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


def _gather_masks(masks, rows, columns):
    return _gather(masks[..., None], rows, columns, 0)[..., 0]


def _finish_boxes(sides, before, height, width):
    """Clips the sides to the image; a box that has or had no area becomes (0, 0, 0, 0)."""
    top, left, bottom, right = sides
    top, bottom = ops.clip(top, 0, height), ops.clip(bottom, 0, height)
    left, right = ops.clip(left, 0, width), ops.clip(right, 0, width)
    was_empty = (before[..., 2] <= before[..., 0]) | (before[..., 3] <= before[..., 1])
    empty = was_empty | (bottom <= top) | (right <= left)
    boxes = ops.stack([top, left, bottom, right], axis=-1)
    return ops.where(empty[..., None], ops.zeros_like(boxes), boxes)


def _sides(boxes):
    return [boxes[..., k] for k in range(4)]


def _per_box(values, boxes):
    """(N,) to (N,) or (N, 1), to be combined with the boxes' sides."""
    return ops.cast(ops.reshape(values, (-1,) + (1,) * (len(boxes.shape) - 2)), boxes.dtype)


def random_crop(images, *, padding=4, seed, masks=None, boxes=None, fill=0.0, data_format=None):
    r"""Crops each image at a place of its own from its padded self, :eq:`eq-random-crop`.

    .. math::

        X'_{c,i,j} = X_{c,\,i + d_h - p,\,j + d_w - p}, \qquad
        d_h, d_w \sim \mathcal{U}\{0, \dots, 2p\}

    :math:`p` is the padding on each of the four sides, and :math:`d_h` and
    :math:`d_w` are the row and the column of the padded image at which the
    crop begins, drawn for each image. Outside the image :math:`X` is the
    fill. The size stays.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        padding: :math:`p`, an int of at least 0.
        seed: An int, which gives the same images at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.
        masks: None or an array (N, H, W), moved along; 0 comes from outside.
        boxes: None or an array (N, 4) or (N, boxes, 4) of (top, left, bottom,
            right) in pixels, bottom and right excluded, moved along.
        fill: The number that comes from outside.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        Tensor of the shape of ``images``; with masks or boxes a tuple of
        images and those that were given, in this order. Masks keep their
        dtype. Boxes are clipped to the image, and one that has left it is
        (0, 0, 0, 0).

    Raises:
        ValueError: If ``padding`` is not an int of at least 0, ``fill`` not a
            number, ``seed`` neither of the two, or a shape does not fit.

    References:
        He et al., Deep residual learning for image recognition, 2016,
        section 4.2 (padding 4 on CIFAR-10), https://arxiv.org/abs/1512.03385

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import random_crop
        >>> image = ops.reshape(ops.arange(1, 10), (1, 3, 3, 1))
        >>> moved = random_crop(image, padding=1, seed=0)
        >>> tuple(moved.shape), float(ops.max(moved)) <= 9
        ((1, 3, 3, 1), True)
    """
    if isinstance(padding, bool) or not hasattr(padding, "__index__") or padding < 0:
        raise ValueError(f"padding must be an int of at least 0, got {padding!r}.")
    _require_number("fill", fill)
    x, channels_first = _as_images(images, data_format)
    masks, boxes = _as_masks(masks, x), _as_boxes(boxes, x)
    height, width = x.shape[1:3]
    p = padding.__index__()
    down, right = (_integers(u, 2 * p + 1) for u in _uniforms(x, 2, seed))
    cropped = _crop(x, down, right, p, fill)
    x = arguments.from_channels_last(cropped, channels_first)
    if masks is not None:
        masks = _crop(masks[..., None], down, right, p, 0)[..., 0]
    if boxes is not None:
        steps = [_per_box(down - p, boxes), _per_box(right - p, boxes)] * 2
        moved = [side - step for side, step in zip(_sides(boxes), steps, strict=True)]
        boxes = _finish_boxes(moved, boxes, height, width)
    return _together(x, masks, boxes)


def random_flip(
    images, *, horizontal=True, vertical=False, seed, masks=None, boxes=None, data_format=None
):
    r"""Mirrors each image by the toss of a coin of its own, :eq:`eq-random-flip`.

    .. math::

        X'_{c,i,j} = X_{c,\,i + z_v (H + 1 - 2i),\,j + z_h (W + 1 - 2j)}, \qquad
        z_v, z_h \sim \text{Bernoulli}(1/2)

    :math:`H` and :math:`W` are the height and the width. :math:`z_h` is 1 for
    left and right exchanged, :math:`z_v` for top and bottom; it is always 0
    where that direction is turned off. Rows and columns count from 1.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        horizontal: Whether left and right may be exchanged.
        vertical: Whether top and bottom may be exchanged.
        seed: An int, which gives the same images at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.
        masks: None or an array (N, H, W), mirrored along.
        boxes: None or an array (N, 4) or (N, boxes, 4) of (top, left, bottom,
            right) in pixels, bottom and right excluded, mirrored along.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        Tensor of the shape of ``images``; with masks or boxes a tuple of
        images and those that were given, in this order. Masks keep their
        dtype. Boxes are clipped to the image, and one without area there is
        (0, 0, 0, 0).

    Raises:
        ValueError: If ``horizontal`` or ``vertical`` is not a bool, ``seed``
            neither of the two, or a shape does not fit.

    References:
        Krizhevsky, Sutskever and Hinton, ImageNet classification with deep
        convolutional neural networks, 2012, https://doi.org/10.1145/3065386

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import random_flip
        >>> flipped = random_flip([[[[1], [2]]]] * 100, seed=0)
        >>> counts = ops.sum(flipped[:, 0, 0, 0] == 2)  # how many are mirrored
        >>> 30 < int(counts) < 70
        True
    """
    _require_flag("horizontal", horizontal)
    _require_flag("vertical", vertical)
    x, channels_first = _as_images(images, data_format)
    masks, boxes = _as_masks(masks, x), _as_boxes(boxes, x)
    height, width = x.shape[1:3]
    coins = [u < 0.5 for u in _uniforms(x, 2, seed)]
    for coin, axis, allowed in zip(coins, (1, 2), (vertical, horizontal), strict=True):
        if not allowed:
            continue
        x = ops.where(coin[:, None, None, None], ops.flip(x, axis=axis), x)
        if masks is not None:
            masks = ops.where(coin[:, None, None], ops.flip(masks, axis=axis), masks)
        if boxes is not None:
            boxes = _mirror_boxes(boxes, coin, axis, (height, width))
    if boxes is not None:
        boxes = _finish_boxes(_sides(boxes), boxes, height, width)
    return _together(arguments.from_channels_last(x, channels_first), masks, boxes)


def _mirror_boxes(boxes, coin, axis, sizes):
    top, left, bottom, right = _sides(boxes)
    if axis == 1:
        top, bottom = sizes[0] - bottom, sizes[0] - top
    else:
        left, right = sizes[1] - right, sizes[1] - left
    mirrored = ops.stack([top, left, bottom, right], axis=-1)
    return ops.where(ops.reshape(coin, (-1,) + (1,) * (len(boxes.shape) - 1)), mirrored, boxes)


def rotate(images, angles, *, masks=None, boxes=None, fill=0.0, data_format=None):
    r"""Turns each image about its middle by a given angle, :eq:`eq-rotate`.

    .. math::

        X'_{c,i,j} &= \sum_{u,v} X_{c,u,v} \max(0, 1 - |\hat{u} - u|) \max(0, 1 - |\hat{v} - v|) \\
        \hat{u} &= u_0 + (i - u_0) \cos\theta + (j - v_0) \sin\theta \\
        \hat{v} &= v_0 - (i - u_0) \sin\theta + (j - v_0) \cos\theta

    :math:`\theta` is the angle, counter-clockwise as one sees the image;
    :math:`(u_0, v_0)` is the middle, at :math:`u_0 = (H + 1)/2` and
    :math:`v_0 = (W + 1)/2` if rows and columns count from 1. The pixel
    :math:`(i, j)` looks back to where it came from, :math:`(\hat{u},
    \hat{v})`, and takes the four pixels around it, each weighted by how near
    it is (bilinear interpolation). Outside the image :math:`X` is the fill.

    Masks take the one pixel that is nearest to :math:`(\hat{u}, \hat{v})`.
    The four corners of a box turn forward, and the new box is the smallest
    upright one around them, clipped to the image: it may be larger than the
    smallest box around the object.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        angles: :math:`\theta` in degrees, a number or an array (N,).
        masks: None or an array (N, H, W), turned along; 0 comes from outside.
        boxes: None or an array (N, 4) or (N, boxes, 4) of (top, left, bottom,
            right) in pixels, bottom and right excluded, turned along.
        fill: The number that comes from outside.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        Tensor of the shape of ``images``; with masks or boxes a tuple of
        images and those that were given, in this order. Masks keep their
        dtype. A box that has left the image is (0, 0, 0, 0).

    Raises:
        ValueError: If ``angles`` is neither a finite number nor of shape
            (N,), ``fill`` is not a number, or a shape does not fit.

    References:
        Gonzalez and Woods, Digital Image Processing, 4th edition, 2018,
        section 2.6 (geometric transformations and interpolation)

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import rotate
        >>> turned = rotate([[[[1], [2]], [[3], [4]]]], 90)
        >>> [round(float(v), 3) for v in ops.reshape(turned, (-1,))]
        [2.0, 4.0, 1.0, 3.0]
    """
    _require_number("fill", fill)
    x, channels_first = _as_images(images, data_format)
    masks, boxes = _as_masks(masks, x), _as_boxes(boxes, x)
    height, width = x.shape[1:3]
    cosine, sine = _cosine_and_sine(angles, x)
    rows, columns = (ops.cast(g, cosine.dtype) for g in _grid(height, width))
    rows, columns = rows - (height - 1) / 2, columns - (width - 1) / 2
    c, s = cosine[:, None, None], sine[:, None, None]
    from_rows = (height - 1) / 2 + rows * c + columns * s
    from_columns = (width - 1) / 2 - rows * s + columns * c
    x = arguments.from_channels_last(_bilinear(x, from_rows, from_columns, fill), channels_first)
    if masks is not None:
        nearest = (ops.cast(ops.floor(v + 0.5), "int32") for v in (from_rows, from_columns))
        masks = _gather_masks(masks, *nearest)
    if boxes is not None:
        boxes = _turn_boxes(boxes, cosine, sine, height, width)
    return _together(x, masks, boxes)


def _cosine_and_sine(angles, images):
    """Of each image's angle, (N,): float64 for float64 images, else float32."""
    if isinstance(angles, (bool, Real)):
        _require_number("angles", angles)
    angles = ops.convert_to_tensor(angles)
    if len(angles.shape) > 1 or (len(angles.shape) == 1 and _differ(angles, images)):
        raise ValueError(
            f"angles must be a number or have shape ({images.shape[0]},), "
            f"got shape {tuple(angles.shape)}."
        )
    is_precise = keras.backend.standardize_dtype(images.dtype) == "float64"
    dtype = "float64" if is_precise else "float32"
    radians = ops.cast(angles, dtype) * (math.pi / 180)
    radians = radians + ops.zeros((ops.shape(images)[0],), dtype=dtype)
    return ops.cos(radians), ops.sin(radians)


def _bilinear(x, rows, columns, fill):
    top, left = ops.floor(rows), ops.floor(columns)
    down, right = rows - top, columns - left
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    result = 0.0
    for i, share in ((0, 1 - down), (1, down)):
        for j, part in ((0, 1 - right), (1, right)):
            weight = ops.cast((share * part)[..., None], x.dtype)
            result = result + weight * _gather(x, top + i, left + j, fill)
    return result


def _turn_boxes(boxes, cosine, sine, height, width):
    """The smallest upright boxes around the turned corners; pixel i lies between i and i + 1."""
    c, s = _per_box(cosine, boxes), _per_box(sine, boxes)
    top, left, bottom, right = _sides(boxes)
    rows, columns = [], []
    for y in (top - height / 2, bottom - height / 2):
        for x in (left - width / 2, right - width / 2):
            rows.append(height / 2 + y * c - x * s)
            columns.append(width / 2 + y * s + x * c)
    sides = [reduce(f, v) for f in (ops.minimum, ops.maximum) for v in (rows, columns)]
    return _finish_boxes(sides, boxes, height, width)


def random_rotation(images, degrees, *, seed, masks=None, boxes=None, fill=0.0, data_format=None):
    r"""Turns each image by an angle of its own, :eq:`eq-random-rotation`.

    .. math::

        X' = R_\theta(X), \qquad \theta \sim \mathcal{U}[-\Theta, \Theta]

    :math:`R_\theta` is :func:`rotate`, and :math:`\Theta` the largest angle.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        degrees: :math:`\Theta` in degrees, a number in [0, 180].
        seed: An int, which gives the same images at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.
        masks, boxes, fill, data_format: As for :func:`rotate`.

    Returns:
        As :func:`rotate`.

    Raises:
        ValueError: If ``degrees`` is outside [0, 180], ``fill`` is not a
            number, ``seed`` neither of the two, or a shape does not fit.

    References:
        Gonzalez and Woods, Digital Image Processing, 4th edition, 2018,
        section 2.6 (geometric transformations and interpolation)

    Example:
        >>> from cnnbook.augmentation import random_rotation
        >>> middle = random_rotation([[[[0]] * 3, [[0], [7], [0]], [[0]] * 3]], 180, seed=0)
        >>> round(float(middle[0, 1, 1, 0]), 3)  # the middle stays where it is
        7.0
    """
    _require_within("degrees", degrees, 0, 180)
    x, _ = _as_images(images, data_format)
    (u,) = _uniforms(x, 1, seed)
    angles = _scaled(u, -degrees, degrees)
    return rotate(images, angles, masks=masks, boxes=boxes, fill=fill, data_format=data_format)


# Colors


def _as_colors(images, data_format, needs_three):
    dtype = keras.backend.standardize_dtype(ops.convert_to_tensor(images).dtype)
    if "float" not in dtype:
        raise ValueError(f"images must be floats from 0 to 1, got dtype {dtype}.")
    x, channels_first = _as_images(images, data_format)
    if x.shape[-1] != 3 and (needs_three or x.shape[-1] != 1):
        allowed = "3 channels for saturation and hue" if needs_three else "1 or 3 channels"
        raise ValueError(f"images must have {allowed}, got {x.shape[-1]}.")
    return x, channels_first


def _gray(x):
    """(N, H, W, 1), in the dtype of x."""
    if x.shape[-1] == 1:
        return x
    return sum(weight * x[..., k : k + 1] for k, weight in enumerate(GRAY))


def _blend(x, other, factor):
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


def _turn_hue(x, shift):
    sixths, chroma, value = _hue_and_chroma(x)
    channels = []
    for m in (5, 3, 1):
        k = ops.mod(m + sixths + 6 * shift, 6)
        channels.append(value - chroma * ops.clip(ops.minimum(k, 4 - k), 0, 1))
    return ops.clip(ops.concatenate(channels, axis=-1), 0, 1)


def _as_factor(name, value, x, low, high):
    """A Python number, or a tensor (N, 1, 1, 1)."""
    if isinstance(value, (bool, Real)):
        _require_within(name, value, low, high)
        return float(value)
    value = ops.convert_to_tensor(value)
    if len(value.shape) > 1 or (len(value.shape) == 1 and _differ(value, x)):
        raise ValueError(
            f"{name} must be a number or have shape ({x.shape[0]},), "
            f"got shape {tuple(value.shape)}."
        )
    return _per_image(value, x)


def _is_not(factor, neutral):
    return not (isinstance(factor, float) and factor == neutral)


def adjust_colors(
    images, *, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, data_format=None
):
    r"""Changes the colors by given factors, :eq:`eq-adjust-colors`, and the hue, :eq:`eq-hue`.

    .. math::

        X^{(1)} &= [\, b X \,]_0^1 \\
        X^{(2)} &= [\, q X^{(1)} + (1 - q)\, \overline{G(X^{(1)})} \,]_0^1 \\
        X^{(3)} &= [\, s X^{(2)} + (1 - s)\, G(X^{(2)}) \,]_0^1 \\
        G(X) &= 0.2989\, X_1 + 0.5870\, X_2 + 0.1140\, X_3

    Then each pixel's hue :math:`\varphi` is turned:

    .. math::

        X'_c = V - D \max(0, \min(\kappa_c, 4 - \kappa_c, 1)), \qquad
        \kappa_c = \bigl( o_c + 6 (\varphi + \delta) \bigr) \bmod 6

    :math:`b`, :math:`q` and :math:`s` are the factors of brightness, contrast
    and saturation, 1 for no change; :math:`\delta` is the turn of the hue, 0
    for no change and 1 for a full turn. :math:`[\cdot]_0^1` clips to [0, 1],
    :math:`G` is the gray image, of the channels 1 (red), 2 (green) and
    3 (blue), and the bar its mean over all pixels. Of the pixel after the
    third step, :math:`V` is the largest of the three values and :math:`D` the
    difference between the largest and the smallest; :math:`o_1 = 5`,
    :math:`o_2 = 3` and :math:`o_3 = 1`.

    Args:
        images: :math:`X`, floats in [0, 1], shape (N, H, W, 3), or
            (N, H, W, 1) where neither saturation nor hue changes. Integers
            are refused; the values themselves are not looked at.
        brightness: :math:`b`, a number of at least 0 or an array (N,).
        contrast: :math:`q`, a number of at least 0 or an array (N,).
        saturation: :math:`s`, a number of at least 0 or an array (N,).
        hue: :math:`\delta`, a number in [-0.5, 0.5] or an array (N,).
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        Tensor of the shape of ``images``, values in [0, 1].

    Raises:
        ValueError: If the images are not floats or have other channels, or a
            factor is out of range or of another shape.

    References:
        Smith, Color gamut transform pairs, 1978 (hue, saturation, value),
        https://doi.org/10.1145/800248.807361

    Example:
        >>> from cnnbook.augmentation import adjust_colors
        >>> pixel = [[[[0.4, 0.2, 0.2]]]]
        >>> [round(float(v), 3) for v in adjust_colors(pixel, brightness=2.0)[0, 0, 0]]
        [0.8, 0.4, 0.4]
        >>> [round(float(v), 3) for v in adjust_colors(pixel, hue=1 / 3)[0, 0, 0]]
        [0.2, 0.4, 0.2]
    """
    needs_three = not (_is_number(saturation) and saturation == 1)
    needs_three = needs_three or not (_is_number(hue) and hue == 0)
    x, channels_first = _as_colors(images, data_format, needs_three)
    b = _as_factor("brightness", brightness, x, 0, math.inf)
    q = _as_factor("contrast", contrast, x, 0, math.inf)
    s = _as_factor("saturation", saturation, x, 0, math.inf)
    shift = _as_factor("hue", hue, x, -0.5, 0.5)
    x = ops.clip(b * x, 0, 1)
    if _is_not(q, 1.0):
        x = _blend(x, ops.mean(_gray(x), axis=(1, 2), keepdims=True), q)
    if _is_not(s, 1.0):
        x = _blend(x, _gray(x), s)
    if _is_not(shift, 0.0):
        x = _turn_hue(x, shift)
    return arguments.from_channels_last(x, channels_first)


def color_jitter(
    images, *, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, seed, data_format=None
):
    r"""Changes the colors of each image by draws of its own, :eq:`eq-color-jitter`.

    .. math::

        X' &= A_{b, q, s, \delta}(X) \\
        b &\sim \mathcal{U}[1 - B, 1 + B], \quad q \sim \mathcal{U}[1 - Q, 1 + Q] \\
        s &\sim \mathcal{U}[1 - S, 1 + S], \quad \delta \sim \mathcal{U}[-\Delta, \Delta]

    :math:`A` is :func:`adjust_colors`, whose result is clipped to [0, 1];
    :math:`B`, :math:`Q`, :math:`S` and :math:`\Delta` are the strengths of
    brightness, contrast, saturation and hue. The order is always this one.

    Args:
        images: :math:`X`, floats in [0, 1], shape (N, H, W, 3), or
            (N, H, W, 1) without saturation and hue. Integers are refused; the
            values themselves are not looked at.
        brightness: :math:`B`, in [0, 1].
        contrast: :math:`Q`, in [0, 1].
        saturation: :math:`S`, in [0, 1].
        hue: :math:`\Delta`, in [0, 0.5], in full turns.
        seed: An int, which gives the same images at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        Tensor of the shape of ``images``, values in [0, 1].

    Raises:
        ValueError: If a strength is out of range, the images are not floats
            or have other channels, or ``seed`` is neither of the two.

    References:
        Krizhevsky, Sutskever and Hinton, ImageNet classification with deep
        convolutional neural networks, 2012 (colors changed at random, along
        their principal components), https://doi.org/10.1145/3065386

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import color_jitter
        >>> jittered = color_jitter([[[[0.5, 0.5, 0.5]]]] * 9, brightness=0.2, seed=0)
        >>> 0.4 <= float(ops.min(jittered)) < float(ops.max(jittered)) <= 0.6
        True
    """
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, strength in factors.items():
        _require_within(name, strength, 0, 1)
    _require_within("hue", hue, 0, 0.5)
    x, _ = _as_colors(images, data_format, bool(saturation or hue))
    *draws, turn = _uniforms(x, 4, seed)
    changes = {
        name: _scaled(u, 1 - strength, 1 + strength)
        for (name, strength), u in zip(factors.items(), draws, strict=True)
        if strength
    }
    if hue:
        changes["hue"] = _scaled(turn, -hue, hue)
    return adjust_colors(images, data_format=data_format, **changes)


# Erasing and mixing


def _inside(top, left, bottom, right, images):
    """Which pixels lie in each image's rectangle, (N, H, W, 1)."""
    rows, columns = _grid(*images.shape[1:3])
    top, left, bottom, right = (v[:, None, None] for v in (top, left, bottom, right))
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside[..., None]


def random_erasing(
    images,
    *,
    probability=0.5,
    area=(0.02, 0.33),
    ratio=(0.3, 3.3),
    fill=0.0,
    seed,
    data_format=None,
):
    r"""Fills a rectangle of some of the images, each its own, :eq:`eq-random-erasing`.

    .. math::

        X'_{c,i,j} = X_{c,i,j} + (f - X_{c,i,j})\, \mathbb{I}((i, j) \in E)

    :math:`f` is the fill and :math:`E` the rectangle, empty with the
    probability that an image stays as it is. Its share :math:`a` of the area
    and the logarithm of its ratio :math:`r` of height to width are drawn
    evenly; the height :math:`\sqrt{a H W r}` and the width
    :math:`\sqrt{a H W / r}` are rounded and cut to the image's, and its place
    is drawn evenly among those where it fits.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        probability: To erase something, in [0, 1].
        area: The smallest and the largest :math:`a`, above 0 and at most 1.
        ratio: The smallest and the largest :math:`r`, above 0.
        fill: :math:`f`, a number.
        seed: An int, which gives the same images at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        Tensor of the shape of ``images``.

    Raises:
        ValueError: If ``probability``, ``area`` or ``ratio`` is out of range,
            ``fill`` not a number, ``seed`` neither of the two, or ``images``
            have another rank.

    References:
        Zhong et al., Random erasing data augmentation, 2020,
        https://arxiv.org/abs/1708.04896

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import random_erasing
        >>> erased = random_erasing(ops.ones((1, 4, 4, 1)), probability=1, area=(0.25, 0.25),
        ...                         ratio=(1, 1), seed=0)
        >>> float(ops.sum(erased))  # 2x2 of 16 pixels are gone
        12.0
    """
    _require_within("probability", probability, 0, 1)
    area = _require_range("area", area, 0, 1)
    low, high = (math.log(r) for r in _require_range("ratio", ratio, 0, math.inf))
    _require_number("fill", fill)
    x, channels_first = _as_images(images, data_format)
    h, w = x.shape[1:3]
    coin, share, shape, down, right = _uniforms(x, 5, seed)
    pixels = _scaled(share, *area) * (h * w)
    r = ops.exp(_scaled(shape, low, high))
    height = ops.clip(ops.round(ops.sqrt(pixels * r)), 0, h)
    width = ops.clip(ops.round(ops.sqrt(pixels / r)), 0, w)
    height = ops.where(coin < probability, height, ops.zeros_like(height))
    top, left = _integers(down, h - height + 1), _integers(right, w - width + 1)
    inside = _inside(top, left, top + height, left + width, x)
    x = ops.where(inside, ops.cast(fill, x.dtype), x)
    return arguments.from_channels_last(x, channels_first)


def mixup(images, labels, *, alpha, seed):
    r"""Averages each image and its label with those of a partner, :eq:`eq-mixup`.

    .. math::

        X'_n &= \lambda_n X_n + (1 - \lambda_n) X_{\pi(n)} \\
        y'_n &= \lambda_n y_n + (1 - \lambda_n) y_{\pi(n)}, \qquad
        \lambda_n \sim \text{Beta}(\alpha, \alpha)

    :math:`n` counts the images of the batch, :math:`\pi` is a random order of
    them that gives each its partner (which may be itself), and
    :math:`\lambda_n` the weight of the image itself, drawn for each.

    Args:
        images: :math:`X`, shape (N, ...), any numbers.
        labels: :math:`y`, one-hot or probabilities, shape (N, classes).
        alpha: :math:`\alpha > 0`; small for weights near 0 or 1, 1 for even
            ones, large for weights near 1/2.
        seed: An int, which gives the same result at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.

    Returns:
        (images, labels), tensors of the shapes given.

    Raises:
        ValueError: If ``alpha`` is not positive, ``labels`` do not have shape
            (N, classes), ``images`` have no axis besides the batch, or
            ``seed`` is neither of the two.

    References:
        Zhang et al., mixup: beyond empirical risk minimization, 2018,
        https://arxiv.org/abs/1710.09412

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import mixup
        >>> x, y = mixup([[0.0], [8.0]], [[1, 0], [0, 1]], alpha=1.0, seed=0)
        >>> bool(ops.all(abs(x[:, 0] - 8 * y[:, 1]) < 1e-5))  # both mixed by the same weight
        True
    """
    _require_alpha(alpha)
    x, y = _as_labeled(images, labels)
    if len(x.shape) < 2:
        raise ValueError(f"images must have at least 2 dimensions, got shape {tuple(x.shape)}.")
    weight, partner, _ = _mixing(x, alpha, seed)
    mixed = []
    for a in (x, y):
        w = _per_image(weight, a)
        mixed.append(w * a + (1 - w) * _of_partners(a, partner))
    return tuple(mixed)


def cutmix(images, labels, *, alpha, seed, data_format=None):
    r"""Puts a rectangle of a partner into each image, and mixes the labels, :eq:`eq-cutmix`.

    .. math::

        X'_n &= (1 - M_n) X_n + M_n X_{\pi(n)} \\
        y'_n &= (1 - \overline{M_n})\, y_n + \overline{M_n}\, y_{\pi(n)}

    :math:`M_n` is 1 in the rectangle and 0 elsewhere, and
    :math:`\overline{M_n}`, its mean, the share of the area that the partner
    :math:`\pi(n)` really got. The rectangle is to have the share
    :math:`1 - \lambda_n` with :math:`\lambda_n \sim \text{Beta}(\alpha,
    \alpha)`: its sides are :math:`H \sqrt{1 - \lambda_n}` and :math:`W
    \sqrt{1 - \lambda_n}`, rounded down, its middle is any pixel, and what
    reaches over the border is cut off.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        labels: :math:`y`, one-hot or probabilities, shape (N, classes).
        alpha: :math:`\alpha > 0`; 1 makes all areas about equally likely.
        seed: An int, which gives the same result at every call, or a
            ``keras.random.SeedGenerator``, which gives new ones.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configuration.

    Returns:
        (images, labels), tensors of the shapes given.

    Raises:
        ValueError: If ``alpha`` is not positive, ``images`` do not have four
            axes, ``labels`` do not have shape (N, classes), or ``seed`` is
            neither of the two.

    References:
        Yun et al., CutMix: regularization strategy to train strong
        classifiers with localizable features, 2019,
        https://arxiv.org/abs/1905.04899

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import cutmix
        >>> x = ops.reshape([0.0, 1.0], (2, 1, 1, 1)) * ops.ones((1, 4, 4, 1))
        >>> x, y = cutmix(x, [[1, 0], [0, 1]], alpha=1.0, seed=0)
        >>> bool(ops.all(abs(ops.mean(x, axis=(1, 2, 3)) - y[:, 1]) < 1e-6))  # its actual share
        True
    """
    _require_alpha(alpha)
    x, y = _as_labeled(images, labels)
    x, channels_first = _as_images(x, data_format)
    h, w = x.shape[1:3]
    weight, partner, (down, right) = _mixing(x, alpha, seed)
    side = ops.sqrt(1 - weight)
    height, width = ops.floor(h * side), ops.floor(w * side)
    top = _integers(down, h) - ops.floor(height / 2)
    left = _integers(right, w) - ops.floor(width / 2)
    inside = _inside(top, left, top + height, left + width, x)
    x = ops.where(inside, _of_partners(x, partner), x)
    share = ops.cast(ops.mean(ops.cast(inside, "float32"), axis=(1, 2, 3)), y.dtype)[:, None]
    y = (1 - share) * y + share * _of_partners(y, partner)
    return arguments.from_channels_last(x, channels_first), y


class Augmentation:
    r"""Carries out transforms one after the other, new draws at each call, :eq:`eq-augment`.

    .. math::

        X' = \mathcal{T}(X), \qquad
        \mathcal{T} = \mathcal{T}_K \circ \dots \circ \mathcal{T}_1

    :math:`\mathcal{T}_1` to :math:`\mathcal{T}_K` are the random transforms
    in the order in which they are given. Each gets a seed of its own, so that
    no transform's draws depend on another's.

    ``augmentation(images)`` draws from ``augmentation.seed_generator``, whose
    whole state is two integers: ``get_state`` and ``set_state`` save and
    rewind it. ``augmentation(images, seed=7)`` leaves that alone and always
    gives the same images: this is the form for workers that run side by side
    and for ``jax.jit``, which cannot move a generator on.

    ``augmentation(images, masks=..., boxes=...)`` gives them to the transforms
    that have such parameters. A transform without them must leave places as
    they are, as :func:`color_jitter` does.

    Args:
        *transforms: Functions of ``(images, seed=...)``, for example
            ``functools.partial(random_crop, padding=4)``.
        seed: An int of at least 0 or a ``keras.random.SeedGenerator``.

    Returns:
        An object to be called with ``(images, *, seed=None, masks=None,
        boxes=None)``. It returns images, or with masks or boxes a tuple of
        images and those that were given.

    Raises:
        ValueError: If there are no transforms, one is not callable, or
            ``seed`` is neither of the two; if a state has another shape.

    References:
        Shorten and Khoshgoftaar, A survey on image data augmentation for deep
        learning, 2019, https://doi.org/10.1186/s40537-019-0197-0

    Example:
        >>> from keras import ops
        >>> from cnnbook.augmentation import Augmentation, random_crop, random_flip
        >>> augment = Augmentation(random_crop, random_flip, seed=3)
        >>> x, state = ops.ones((2, 8, 8, 3)), augment.get_state()
        >>> first, second = augment(x), augment(x)
        >>> augment.set_state(state)
        >>> bool(ops.all(augment(x) == first)), bool(ops.all(second == first))
        (True, False)
    """

    def __init__(self, *transforms, seed=0):
        if not transforms:
            raise ValueError("transforms must hold at least one function, got none.")
        for transform in transforms:
            if not callable(transform):
                raise ValueError(f"transforms must be callable, got {transform!r}.")
        seed = arguments.as_seed(seed)
        is_generator = isinstance(seed, keras.random.SeedGenerator)
        self.transforms = transforms
        self.seed_generator = seed if is_generator else keras.random.SeedGenerator(seed)

    def __call__(self, images, *, seed=None, masks=None, boxes=None):
        seed = self.seed_generator if seed is None else seed
        seeds = _seeds(seed, len(self.transforms))
        given = {"images": images}
        given |= {k: v for k, v in (("masks", masks), ("boxes", boxes)) if v is not None}
        for transform, own in zip(self.transforms, seeds, strict=True):
            moved = [k for k in given if k == "images" or _has_parameter(transform, k)]
            options = {k: given[k] for k in moved[1:]}
            result = transform(given["images"], seed=own, **options)
            given |= zip(moved, result if options else [result], strict=True)
        return tuple(given.values()) if len(given) > 1 else given["images"]

    def get_state(self):
        """Where the random stream stands: a NumPy array of two integers."""
        return np.array(ops.convert_to_numpy(self.seed_generator.state.value))

    def set_state(self, state):
        """Goes back, or on, to where the random stream stood when `get_state` was called."""
        state = np.asarray(state)
        if state.shape != (2,) or state.dtype.kind not in "iu":
            raise ValueError(f"state must be two integers, got {state!r}.")
        self.seed_generator.state.assign(state)


def _has_parameter(function, name):
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in function may have no signature
        return False

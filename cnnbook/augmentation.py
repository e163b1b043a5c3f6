"""Random changes of images that keep their labels, or change the labels along.

Chapter: ``notebooks/09_augmentation.ipynb``.
"""

import inspect
import math

import keras
import numpy as np
from keras import ops

from cnnbook._images import checks, colors, draws, pixels, rectangles
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


def _require_range(name, value, low, high):
    """A pair of numbers, low < smaller <= larger <= high."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else ()
    is_pair = len(pair) == 2 and all(map(arguments.is_number, pair))
    if not is_pair or not low < pair[0] <= pair[1] <= high:
        raise ValueError(
            f"{name} must be two numbers, smaller first, above {low} and at most {high}, "
            f"got {value!r}."
        )
    return pair


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
    p = arguments.integer("padding", padding, 0)
    fill = checks.as_fill(fill)
    x, channels_first = checks.as_images(images, data_format)
    masks, boxes = checks.as_masks(masks, x), checks.as_boxes(boxes, x)
    height, width = x.shape[1:3]
    down, right = (draws.integers(u, 2 * p + 1) for u in draws.uniforms(x, 2, seed))
    cropped = pixels.crop(x, down, right, p, fill)
    x = arguments.from_channels_last(cropped, channels_first)
    if masks is not None:
        masks = pixels.crop(masks[..., None], down, right, p, 0)[..., 0]
    if boxes is not None:
        steps = [rectangles.per_box(down - p, boxes), rectangles.per_box(right - p, boxes)] * 2
        moved = [side - step for side, step in zip(rectangles.sides_of(boxes), steps, strict=True)]
        boxes = rectangles.finish(moved, boxes, height, width)
    return checks.together(x, masks, boxes)


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
    horizontal = arguments.flag("horizontal", horizontal)
    vertical = arguments.flag("vertical", vertical)
    x, channels_first = checks.as_images(images, data_format)
    masks, boxes = checks.as_masks(masks, x), checks.as_boxes(boxes, x)
    height, width = x.shape[1:3]
    coins = [u < 0.5 for u in draws.uniforms(x, 2, seed)]
    for coin, axis, allowed in zip(coins, (1, 2), (vertical, horizontal), strict=True):
        if not allowed:
            continue
        x = ops.where(coin[:, None, None, None], ops.flip(x, axis=axis), x)
        if masks is not None:
            masks = ops.where(coin[:, None, None], ops.flip(masks, axis=axis), masks)
        if boxes is not None:
            boxes = rectangles.mirror(boxes, coin, axis, (height, width))
    if boxes is not None:
        boxes = rectangles.finish(rectangles.sides_of(boxes), boxes, height, width)
    return checks.together(arguments.from_channels_last(x, channels_first), masks, boxes)


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
    fill = checks.as_fill(fill)
    x, channels_first = checks.as_images(images, data_format)
    masks, boxes = checks.as_masks(masks, x), checks.as_boxes(boxes, x)
    height, width = x.shape[1:3]
    cosine, sine = pixels.cosine_and_sine(angles, x)
    rows, columns = (ops.cast(g, cosine.dtype) for g in pixels.grid(height, width))
    rows, columns = rows - (height - 1) / 2, columns - (width - 1) / 2
    c, s = cosine[:, None, None], sine[:, None, None]
    from_rows = (height - 1) / 2 + rows * c + columns * s
    from_columns = (width - 1) / 2 - rows * s + columns * c
    x = arguments.from_channels_last(
        pixels.bilinear(x, from_rows, from_columns, fill), channels_first
    )
    if masks is not None:
        nearest = (ops.cast(ops.floor(v + 0.5), "int32") for v in (from_rows, from_columns))
        masks = pixels.gather_masks(masks, *nearest)
    if boxes is not None:
        boxes = rectangles.turn(boxes, cosine, sine, height, width)
    return checks.together(x, masks, boxes)


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
    degrees = arguments.number("degrees", degrees, at_least=0, at_most=180)
    x, _ = checks.as_images(images, data_format)
    (u,) = draws.uniforms(x, 1, seed)
    angles = draws.scaled(u, -degrees, degrees)
    return rotate(images, angles, masks=masks, boxes=boxes, fill=fill, data_format=data_format)


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

        X'_c &= V - D \max(0, \min(\kappa_c, 4 - \kappa_c, 1)), \\
        \kappa_c &= \bigl( o_c + 6 (\varphi + \delta) \bigr) \bmod 6

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
    needs_three = not (arguments.is_number(saturation) and saturation == 1)
    needs_three = needs_three or not (arguments.is_number(hue) and hue == 0)
    x, channels_first = colors.as_colors(images, data_format, needs_three)
    b = colors.as_factor("brightness", brightness, x, 0, None)
    q = colors.as_factor("contrast", contrast, x, 0, None)
    s = colors.as_factor("saturation", saturation, x, 0, None)
    shift = colors.as_factor("hue", hue, x, -0.5, 0.5)
    x = ops.clip(b * x, 0, 1)
    if colors.is_not(q, 1.0):
        x = colors.blend(x, ops.mean(colors.gray(x), axis=(1, 2), keepdims=True), q)
    if colors.is_not(s, 1.0):
        x = colors.blend(x, colors.gray(x), s)
    if colors.is_not(shift, 0.0):
        x = colors.turn_hue(x, shift)
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
        arguments.number(name, strength, at_least=0, at_most=1)
    arguments.number("hue", hue, at_least=0, at_most=0.5)
    x, _ = colors.as_colors(images, data_format, bool(saturation or hue))
    *drawn, turn = draws.uniforms(x, 4, seed)
    changes = {
        name: draws.scaled(u, 1 - strength, 1 + strength)
        for (name, strength), u in zip(factors.items(), drawn, strict=True)
        if strength
    }
    if hue:
        changes["hue"] = draws.scaled(turn, -hue, hue)
    return adjust_colors(images, data_format=data_format, **changes)


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
    probability that an image stays as it is. Its share of the area and the
    logarithm of its ratio of height to width are drawn evenly; the height (the
    root of area times ratio) and the width (the root of area by ratio) are
    rounded and cut to the image's, and its place is drawn evenly among those
    where it fits.

    Args:
        images: :math:`X`, shape (N, H, W, C), any numbers.
        probability: To erase something, in [0, 1].
        area: The smallest and the largest share of the area, above 0 and at most 1.
        ratio: The smallest and the largest ratio, height by width, above 0.
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
    probability = arguments.number("probability", probability, at_least=0, at_most=1)
    area = _require_range("area", area, 0, 1)
    low, high = (math.log(r) for r in _require_range("ratio", ratio, 0, math.inf))
    fill = checks.as_fill(fill)
    x, channels_first = checks.as_images(images, data_format)
    h, w = x.shape[1:3]
    coin, share, shape, down, right = draws.uniforms(x, 5, seed)
    covered = draws.scaled(share, *area) * (h * w)
    r = ops.exp(draws.scaled(shape, low, high))
    height = ops.clip(ops.round(ops.sqrt(covered * r)), 0, h)
    width = ops.clip(ops.round(ops.sqrt(covered / r)), 0, w)
    height = ops.where(coin < probability, height, ops.zeros_like(height))
    top, left = draws.integers(down, h - height + 1), draws.integers(right, w - width + 1)
    inside = pixels.inside(top, left, top + height, left + width, x)
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
    alpha = arguments.number("alpha", alpha, above=0)
    x, y = checks.as_labeled(images, labels)
    weight, partner, _ = draws.mixing(x, alpha, seed)
    mixed = []
    for a in (x, y):
        w = draws.per_image(weight, a)
        mixed.append(w * a + (1 - w) * draws.of_partners(a, partner))
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
    \alpha)`: its sides are those of the image times
    :math:`\sqrt{1 - \lambda_n}`, rounded down, its middle is any pixel, and
    what reaches over the border is cut off.

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
    alpha = arguments.number("alpha", alpha, above=0)
    x, y = checks.as_labeled(images, labels)
    x, channels_first = checks.as_images(x, data_format)
    h, w = x.shape[1:3]
    weight, partner, (down, right) = draws.mixing(x, alpha, seed)
    side = ops.sqrt(1 - weight)
    height, width = ops.floor(h * side), ops.floor(w * side)
    top = draws.integers(down, h) - ops.floor(height / 2)
    left = draws.integers(right, w) - ops.floor(width / 2)
    inside = pixels.inside(top, left, top + height, left + width, x)
    x = ops.where(inside, draws.of_partners(x, partner), x)
    share = ops.cast(ops.mean(ops.cast(inside, "float32"), axis=(1, 2, 3)), y.dtype)[:, None]
    y = (1 - share) * y + share * draws.of_partners(y, partner)
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
        is_generator = isinstance(seed, keras.random.SeedGenerator)
        seed = seed if is_generator else arguments.integer("seed", seed, 0)
        self.transforms = transforms
        self.seed_generator = seed if is_generator else keras.random.SeedGenerator(seed)

    def __call__(self, images, *, seed=None, masks=None, boxes=None):
        seed = self.seed_generator if seed is None else seed
        seeds = draws.seeds(seed, len(self.transforms))
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

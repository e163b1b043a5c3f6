"""Pooling: one number for each window of a feature map.

Chapter: ``notebooks/03_pooling.ipynb``.
"""

import numpy as np
from keras import ops

from cnnbook._shared import arguments, windows

__all__ = [
    "avg_pool2d",
    "avg_pool2d_gradient",
    "global_avg_pool2d",
    "global_max_pool2d",
    "max_pool2d",
    "max_pool2d_gradient",
]


def _geometry(x, pool_size, strides, padding):
    """Checks the arguments; returns pairs of ints: window, strides, paddings, output size."""
    window = arguments.positive_pair("pool_size", pool_size)
    strides = window if strides is None else arguments.positive_pair("strides", strides)
    sizes = x.shape[1:3]
    paddings = windows.pad_amounts(padding, sizes, window, strides)
    padded = [n + before + after for n, (before, after) in zip(sizes, paddings, strict=True)]
    counts = windows.window_counts(padded, window, strides, name="pool_size")
    for real in _real_pixels(sizes, window, strides, paddings, counts):
        if real.min() == 0:
            raise ValueError(
                f"padding={padding!r} leaves a window of pool_size {window[0]}x{window[1]} "
                f"without a pixel of the {sizes[0]}x{sizes[1]} image."
            )
    return window, strides, paddings, counts


def _real_pixels(sizes, window, strides, paddings, counts):
    """For the rows and for the columns: how many pixels of each window are not padding."""
    for n, k, s, (before, _), count in zip(sizes, window, strides, paddings, counts, strict=True):
        first = np.arange(count) * s - before
        yield np.minimum(first + k, n) - np.maximum(first, 0)


def _pad(x, paddings, value):
    if not any(map(any, paddings)):
        return x
    return ops.pad(x, ((0, 0), *paddings, (0, 0)), constant_values=value)


def _offsets(window):
    return [(m, n) for m in range(window[0]) for n in range(window[1])]


def _winners(x, window, strides, paddings, counts):
    """Each window's maximum, and at which of its positions it stands first.

    A later entry must be larger to win, so that ties go to the first in row-major
    order, here and under automatic differentiation. NaN wins over every number.
    """
    x = _pad(x, paddings, -np.inf)
    views = [windows.shifted_view(x, at, counts, strides) for at in _offsets(window)]
    best, winner = views[0], ops.zeros_like(views[0], dtype="int32")
    for position, view in enumerate(views[1:], start=1):
        wins = ops.logical_or(view > best, ops.isnan(view))
        best = ops.where(wins, view, best)
        winner = ops.where(wins, position, winner)
    return best, winner


def _divisors(x, window, strides, paddings, counts, count_include_pad):
    """By what each sum is divided, shape (H_out, W_out, 1)."""
    if arguments.flag("count_include_pad", count_include_pad):
        divisors = np.full((*counts, 1), window[0] * window[1])
    else:
        rows, columns = _real_pixels(x.shape[1:3], window, strides, paddings, counts)
        divisors = np.multiply.outer(rows, columns)[..., None]
    return ops.cast(divisors, x.dtype)


def _place(part, offset, strides, sizes):
    """The transpose of `shifted_view`: puts the entries at one position of every window."""
    n = ops.shape(part)[0]
    rows, columns, c = part.shape[1:]
    down, right = strides
    spread = ops.reshape(part, (n, rows, 1, columns, 1, c))
    spread = ops.pad(spread, ((0, 0), (0, 0), (0, down - 1), (0, 0), (0, right - 1), (0, 0)))
    spread = ops.reshape(spread, (n, rows * down, columns * right, c))
    spread = spread[:, : sizes[0] - offset[0], : sizes[1] - offset[1]]
    missing = [s - o - have for s, o, have in zip(sizes, offset, spread.shape[1:3], strict=True)]
    return _pad(spread, tuple(zip(offset, missing, strict=True)), 0.0)


def _scatter(parts, x, window, strides, paddings):
    """Adds one part for each position of the window onto an image of the size of x."""
    (top, bottom), (left, right) = paddings
    height, width = x.shape[1] + top + bottom, x.shape[2] + left + right
    total = 0.0
    for part, offset in zip(parts, _offsets(window), strict=True):
        total = total + _place(part, offset, strides, (height, width))
    return total[:, top : height - bottom, left : width - right]


def _image(x, data_format):
    """x as a float tensor with the channels last, and whether they stood first."""
    channels_first = arguments.is_channels_first(data_format)
    x = arguments.as_float(x=x)
    arguments.require_rank("x", x, 4)
    return arguments.to_channels_last(x, channels_first), channels_first


def _image_and_gradient(x, output_gradient, data_format):
    """(x, output_gradient) as float tensors with the channels last."""
    x, dy = arguments.as_float(x=x, output_gradient=output_gradient)
    x, channels_first = _image(x, data_format)
    arguments.require_rank("output_gradient", dy, 4)
    return x, arguments.to_channels_last(dy, channels_first), channels_first


def _require_output_shape(x, dy, counts):
    expected = (x.shape[0], *counts, x.shape[-1])
    if tuple(dy.shape) != expected:
        raise ValueError(
            f"output_gradient must have the output's shape {expected} (channels last), "
            f"got {tuple(dy.shape)}."
        )


def max_pool2d(x, pool_size=2, *, strides=None, padding="valid", data_format=None):
    r"""Largest value of each window, :eq:`eq-max-pool`, in general :eq:`eq-max-pool-strided`.

    .. math::

        Y_{i,j} = \max_{(m,n) \in \mathcal{P}} X_{i+m, j+n}

    With channels, strides :math:`s` and padding :math:`p`:

    .. math::

        Y_{c,i,j} = \max_{(m,n) \in \mathcal{P}_{i,j}}
        X_{c,\; s_h i + m - p_t,\; s_w j + n - p_l}

    :math:`\mathcal{P} = \{0, \dots, k_h - 1\} \times \{0, \dots, k_w - 1\}`
    holds the positions of the window; :math:`\mathcal{P}_{i,j}` those of
    them that lie inside the image. Padding never wins: it counts as minus
    infinity, not as 0.

    Args:
        x: Images :math:`X`, shape ``(N, H, W, C)``, or ``(N, C, H, W)`` with
            ``data_format="channels_first"``.
        pool_size: Window :math:`(k_h, k_w)`, an int or a pair of ints.
        strides: Step :math:`s` between windows, an int, a pair of ints or
            None for ``pool_size`` (windows side by side).
        padding: ``"valid"``, ``"same"``, an int or ``((top, bottom), (left,
            right))``, as in :func:`cnnbook.convolution.conv2d`.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configured default.

    Returns:
        Tensor of shape ``(N, H_out, W_out, C)``, channels where ``x`` has
        them, sizes by :func:`cnnbook.convolution.conv_output_size`. An empty
        batch gives an empty output; a NaN makes its windows NaN.

    Raises:
        ValueError: If a rank, a size, ``padding`` or ``data_format`` does
            not fit, or a window would lie wholly in padding, where a maximum
            has no meaning. (PyTorch refuses more: any padding above half the
            window.)

    References:
        Scherer, Müller and Behnke, Evaluation of pooling operations in
        convolutional architectures for object recognition, 2010,
        https://doi.org/10.1007/978-3-642-15825-4_10

    Example:
        >>> from cnnbook.pooling import max_pool2d
        >>> x = [[[[1.0], [2.0], [5.0], [0.0]], [[4.0], [3.0], [-1.0], [-2.0]]]]
        >>> y = max_pool2d(x, 2, data_format="channels_last")
        >>> [float(v[0]) for v in y[0][0]]
        [4.0, 5.0]
    """
    x, channels_first = _image(x, data_format)
    best, _ = _winners(x, *_geometry(x, pool_size, strides, padding))
    return arguments.from_channels_last(best, channels_first)


def avg_pool2d(
    x, pool_size=2, *, strides=None, padding="valid", count_include_pad=False, data_format=None
):
    r"""Mean of each window, :eq:`eq-avg-pool`.

    .. math::

        Y_{c,i,j} = \frac{1}{\lvert \mathcal{P}_{i,j} \rvert} \sum_{(m,n) \in \mathcal{P}_{i,j}}
        X_{c,\; s_h i + m - p_t,\; s_w j + n - p_l}

    :math:`\mathcal{P}_{i,j}` holds the positions of the window that lie
    inside the image. With ``count_include_pad=True`` it holds all positions of
    the window, and :math:`X` is 0 outside the image.

    Args:
        x: As in :func:`max_pool2d`.
        pool_size: As in :func:`max_pool2d`.
        strides: As in :func:`max_pool2d`.
        padding: As in :func:`max_pool2d`.
        count_include_pad: Whether padding counts as pixels. The default is
            Keras's way, on every backend; PyTorch's default is True.
        data_format: As in :func:`max_pool2d`.

    Returns:
        Tensor of shape ``(N, H_out, W_out, C)``, channels where ``x`` has
        them. An empty batch gives an empty output.

    Raises:
        ValueError: As :func:`max_pool2d`, and if ``count_include_pad`` is
            not a bool.

    References:
        LeCun et al., Gradient-based learning applied to document
        recognition, 1998, https://doi.org/10.1109/5.726791

    Example:
        >>> from cnnbook.pooling import avg_pool2d
        >>> x = [[[[1.0], [2.0], [5.0], [0.0]], [[4.0], [3.0], [-1.0], [-2.0]]]]
        >>> y = avg_pool2d(x, 2, data_format="channels_last")
        >>> [float(v[0]) for v in y[0][0]]
        [2.5, 0.5]
    """
    x, channels_first = _image(x, data_format)
    window, strides, paddings, counts = geometry = _geometry(x, pool_size, strides, padding)
    divisors = _divisors(x, *geometry, count_include_pad)
    padded = _pad(x, paddings, 0.0)
    y = sum(windows.shifted_view(padded, at, counts, strides) for at in _offsets(window))
    return arguments.from_channels_last(y / divisors, channels_first)


def _pooled_axes(x, data_format):
    axes = (2, 3) if arguments.is_channels_first(data_format) else (1, 2)
    arguments.require_rank("x", x, 4)
    height, width = (x.shape[axis] for axis in axes)
    if height == 0 or width == 0:
        raise ValueError(f"x must have at least one pixel, got {height}x{width}.")
    return axes


def global_max_pool2d(x, *, data_format=None):
    r"""Largest value of each channel, :eq:`eq-global-max-pool`.

    .. math::

        Y_c = \max_{0 \le i < H} \; \max_{0 \le j < W} X_{c,i,j}

    :func:`max_pool2d` with a window as large as the image. Under automatic
    differentiation equal largest values share the gradient equally, as in
    Keras, where :func:`max_pool2d` gives all of it to the first.

    Args:
        x: Images :math:`X`, shape ``(N, H, W, C)``, or ``(N, C, H, W)`` with
            ``data_format="channels_first"``.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configured default.

    Returns:
        Tensor of shape ``(N, C)``. An empty batch gives an empty output.

    Raises:
        ValueError: If ``x`` has not 4 dimensions or no pixel, or
            ``data_format`` is unknown.

    References:
        Oquab et al., Is object localization for free?, 2015,
        https://doi.org/10.1109/CVPR.2015.7298668

    Example:
        >>> from cnnbook.pooling import global_max_pool2d
        >>> x = [[[[1.0], [2.0]], [[4.0], [3.0]]]]
        >>> float(global_max_pool2d(x, data_format="channels_last")[0, 0])
        4.0
    """
    x = arguments.as_float(x=x)
    axes = _pooled_axes(x, data_format)
    if 0 in x.shape:  # ops.max refuses an empty array, though each of no images has a pixel
        return ops.sum(x, axis=axes)
    return ops.max(x, axis=axes)


def global_avg_pool2d(x, *, data_format=None):
    r"""Mean of each channel, :eq:`eq-global-avg-pool`.

    .. math::

        Y_c = \frac{1}{H W} \sum_{i=0}^{H-1} \sum_{j=0}^{W-1} X_{c,i,j}

    Args:
        x: Images :math:`X`, shape ``(N, H, W, C)``, or ``(N, C, H, W)`` with
            ``data_format="channels_first"``.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configured default.

    Returns:
        Tensor of shape ``(N, C)``. An empty batch gives an empty output.

    Raises:
        ValueError: If ``x`` has not 4 dimensions or no pixel, or
            ``data_format`` is unknown.

    References:
        Lin, Chen and Yan, Network in network, 2013,
        https://arxiv.org/abs/1312.4400

    Example:
        >>> from cnnbook.pooling import global_avg_pool2d
        >>> x = [[[[1.0], [2.0]], [[4.0], [3.0]]]]
        >>> float(global_avg_pool2d(x, data_format="channels_last")[0, 0])
        2.5
    """
    x = arguments.as_float(x=x)
    return ops.mean(x, axis=_pooled_axes(x, data_format))


def max_pool2d_gradient(
    x, output_gradient, pool_size=2, *, strides=None, padding="valid", data_format=None
):
    r"""Gradient of a loss through :func:`max_pool2d`, :eq:`eq-max-pool-gradient`.

    .. math::

        \frac{\partial L}{\partial X_{c,u,v}} =
        \sum_{(i,j):\, w_c(i,j) = (u,v)} \frac{\partial L}{\partial Y_{c,i,j}}

    :math:`w_c(i,j)` is the pixel that won window :math:`(i,j)` of channel
    :math:`c`. Among equal largest pixels one wins, the first in row-major
    order, as in ``keras.ops.max_pool`` on TensorFlow, JAX and PyTorch.

    Args:
        x: What was pooled, as in :func:`max_pool2d`.
        output_gradient: :math:`\partial L / \partial Y`, the output's shape.
        pool_size: As in the forward pass.
        strides: As in the forward pass.
        padding: As in the forward pass.
        data_format: As in the forward pass.

    Returns:
        Tensor :math:`\partial L / \partial X` of the shape of ``x``: 0 at a
        pixel that won no window, a sum at one that won several.

    Raises:
        ValueError: As :func:`max_pool2d`, and if ``output_gradient`` does not
            have the output's shape.

    References:
        Scherer, Müller and Behnke, Evaluation of pooling operations in
        convolutional architectures for object recognition, 2010,
        https://doi.org/10.1007/978-3-642-15825-4_10

    Example:
        >>> from cnnbook.pooling import max_pool2d_gradient
        >>> x = [[[[1.0], [3.0]], [[3.0], [2.0]]]]  # 3 stands there twice
        >>> dx = max_pool2d_gradient(x, [[[[10.0]]]], data_format="channels_last")
        >>> [[float(v[0]) for v in row] for row in dx[0]]
        [[0.0, 10.0], [0.0, 0.0]]
    """
    x, dy, channels_first = _image_and_gradient(x, output_gradient, data_format)
    window, strides, paddings, counts = geometry = _geometry(x, pool_size, strides, padding)
    _require_output_shape(x, dy, counts)
    _, winner = _winners(x, *geometry)
    zero = ops.zeros_like(dy)
    parts = (ops.where(winner == k, dy, zero) for k in range(len(_offsets(window))))
    dx = _scatter(parts, x, window, strides, paddings)
    return arguments.from_channels_last(dx, channels_first)


def avg_pool2d_gradient(
    x,
    output_gradient,
    pool_size=2,
    *,
    strides=None,
    padding="valid",
    count_include_pad=False,
    data_format=None,
):
    r"""Gradient of a loss through :func:`avg_pool2d`, :eq:`eq-avg-pool-gradient`.

    .. math::

        \frac{\partial L}{\partial X_{c,u,v}} = \sum_{(i,j):\, (u,v) \in \mathcal{W}_{i,j}}
        \frac{1}{\lvert \mathcal{P}_{i,j} \rvert} \frac{\partial L}{\partial Y_{c,i,j}}

    :math:`\mathcal{W}_{i,j}` holds the pixels of the image that window
    :math:`(i,j)` covers, and :math:`\mathcal{P}_{i,j}` is as in
    :func:`avg_pool2d`: every pixel of a window gets an equal share.

    Args:
        x: What was pooled; only its shape matters.
        output_gradient: :math:`\partial L / \partial Y`, the output's shape.
        pool_size: As in the forward pass.
        strides: As in the forward pass.
        padding: As in the forward pass.
        count_include_pad: As in the forward pass.
        data_format: As in the forward pass.

    Returns:
        Tensor :math:`\partial L / \partial X` of the shape of ``x``.

    Raises:
        ValueError: As :func:`avg_pool2d`, and if ``output_gradient`` does not
            have the output's shape.

    References:
        LeCun et al., Gradient-based learning applied to document
        recognition, 1998, https://doi.org/10.1109/5.726791

    Example:
        >>> from cnnbook.pooling import avg_pool2d_gradient
        >>> x = [[[[1.0], [3.0]], [[3.0], [2.0]]]]
        >>> dx = avg_pool2d_gradient(x, [[[[10.0]]]], data_format="channels_last")
        >>> [[float(v[0]) for v in row] for row in dx[0]]
        [[2.5, 2.5], [2.5, 2.5]]
    """
    x, dy, channels_first = _image_and_gradient(x, output_gradient, data_format)
    window, strides, paddings, counts = geometry = _geometry(x, pool_size, strides, padding)
    _require_output_shape(x, dy, counts)
    share = dy / _divisors(x, *geometry, count_include_pad)
    parts = [share] * len(_offsets(window))
    dx = _scatter(parts, x, window, strides, paddings)
    return arguments.from_channels_last(dx, channels_first)

"""Two-dimensional convolution and its gradients.

Chapter: ``notebooks/01_convolution.ipynb``.
"""

import numpy as np
from keras import ops

from cnnbook._shared import arguments, windows

__all__ = ["conv2d", "conv2d_gradients", "conv2d_transpose", "conv_output_size"]

BAND_ELEMENTS = 4_000_000  # of the patch matrix, the most that is alive at one time


def _geometry(x, kernel, strides, padding, dilation_rate, groups):
    """Checks the arguments; returns pairs of ints: strides, dilations, paddings, output size."""
    arguments.require_rank("x", x, 4)
    arguments.require_rank("kernel", kernel, 4)
    kh, kw, c_in, c_out = kernel.shape
    windows.require_sides("kernel", kernel)
    strides = arguments.positive_pair("strides", strides)
    dilations = arguments.positive_pair("dilation_rate", dilation_rate)
    groups = arguments.positive_int("groups", groups)
    if c_in * groups != x.shape[-1]:
        raise ValueError(
            f"kernel has {c_in} input channels, but x has {x.shape[-1]} channels "
            f"and groups={groups}."
        )
    if c_out % groups:
        raise ValueError(f"groups={groups} does not divide the {c_out} filters of kernel.")
    sizes = x.shape[1:3]
    paddings = windows.pad_amounts(padding, sizes, (kh, kw), strides, dilations)
    padded = [n + before + after for n, (before, after) in zip(sizes, paddings, strict=True)]
    counts = windows.window_counts(padded, (kh, kw), strides, dilations)
    return strides, dilations, paddings, counts


def _pad(x, paddings):
    return ops.pad(x, ((0, 0), *paddings, (0, 0))) if any(map(any, paddings)) else x


def _bands(rows, per_row):
    """Splits rows of `per_row` elements: (bands, rows of each), none above BAND_ELEMENTS.

    Where some height of at least half the greatest possible leaves no remainder, it is taken.
    """
    greatest = min(rows, max(1, BAND_ELEMENTS // max(per_row, 1)))
    whole = (h for h in range(greatest, greatest // 2, -1) if rows % h == 0)
    height = next(whole, greatest)
    return -(-rows // height), height


def _each_band(function, merge, bands, *inputs):
    """function(one band of each input) for every band; `merge` makes one of the stacked results.

    An input is (tensor, step, height): band i has `height` of its rows, from i * step. Rows below
    the image count as zeros. `ops.map` goes through the bands one by one even when compiled; of a
    Python loop XLA would keep all bands alive at one time.
    """
    if bands == 1:
        return function(*(x for x, _, _ in inputs))
    missing = [(bands - 1) * step + height - x.shape[1] for x, step, height in inputs]
    below = [((0, max(m, 0)), (0, 0)) for m in missing]
    padded = [_pad(x, amounts) for (x, _, _), amounts in zip(inputs, below, strict=True)]

    def one(i):
        rows = [i * step + ops.arange(height, dtype="int32") for _, step, height in inputs]
        return function(*(ops.take(x, r, axis=1) for x, r in zip(padded, rows, strict=True)))

    return merge(ops.map(one, ops.arange(bands, dtype="int32")))


def _below_each_other(x):
    """(B, N, height, W, C) to (N, B * height, W, C)."""
    x = ops.moveaxis(x, 0, 1)
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], *x.shape[3:]))


def _sum_of_bands(x):
    return ops.sum(x, axis=0)


def _views(x, kernel, strides, dilations, counts):
    """The pixels under each kernel position in turn."""
    for m, n in np.ndindex(*kernel.shape[:2]):
        yield windows.shifted_view(x, (m * dilations[0], n * dilations[1]), counts, strides)


def _windows_joined(x, axis, size, step, count, stride):
    """The `size` entries of each window along an axis, side by side in the channels."""
    views = []
    for start in range(0, size * step, step):
        along = slice(start, start + stride * (count - 1) + 1, stride)
        views.append(x[:, along] if axis == 1 else x[:, :, along])
    return ops.concatenate(views, axis=-1) if size > 1 else views[0]


def _patch_matrix(x, kernel, strides, dilations, counts):
    """im2col: one row per output pixel, (P, kh * kw * C).

    Pixels are joined to pieces of rows and these to patches: longer pieces are quicker to copy.
    """
    kh, kw = kernel.shape[:2]
    pieces = _windows_joined(x, 2, kw, dilations[1], counts[1], strides[1])
    patches = _windows_joined(pieces, 1, kh, dilations[0], counts[0], strides[0])
    return ops.reshape(patches, (-1, kh * kw * x.shape[-1]))


def _patch_bands(x, kernel, strides, dilations, counts):
    """Number of bands, output rows of each, and x as an input of `_each_band`."""
    taps = kernel.shape[0] * kernel.shape[1]
    per_row = (x.shape[0] or 1) * counts[1] * taps * x.shape[-1] if taps > 1 else 0
    bands, height = _bands(counts[0], per_row)
    reach = (height - 1) * strides[0] + (kernel.shape[0] - 1) * dilations[0] + 1
    return bands, height, (x, height * strides[0], reach)


def _split(x, groups):
    """Moves the groups from the channels to the first axis: (groups * N, ..., C / groups)."""
    if groups == 1:
        return x
    x = ops.reshape(x, (-1, *x.shape[1:-1], groups, x.shape[-1] // groups))
    x = ops.moveaxis(x, -2, 0)
    return ops.reshape(x, (-1, *x.shape[2:]))


def _join(x, groups):
    """Undoes `_split`."""
    if groups == 1:
        return x
    x = ops.moveaxis(ops.reshape(x, (groups, -1, *x.shape[1:])), 0, -2)
    return ops.reshape(x, (-1, *x.shape[1:-2], groups * x.shape[-1]))


def _stacked(matrix, groups):
    """(groups * R, C) to (groups, R, C), so that matmul keeps the groups apart."""
    return matrix if groups == 1 else ops.reshape(matrix, (groups, -1, matrix.shape[-1]))


def _matrix(kernel, groups):
    """The kernel as the right factor of a patch matrix: (kh * kw * C_in, C_out) per group."""
    rows = ops.reshape(kernel, (-1, kernel.shape[-1]))
    return _stacked(_split(rows, groups), groups)


def _product(patches, matrix):
    """patches @ matrix; the few filters of a group are quicker as rows than as columns."""
    if len(matrix.shape) == 2:
        return ops.matmul(patches, matrix)
    rows = ops.matmul(ops.swapaxes(matrix, -1, -2), ops.swapaxes(patches, -1, -2))
    return ops.swapaxes(rows, -1, -2)


def _is_depthwise(kernel, groups):
    """One input channel per filter: no sum over channels, so no matrix product."""
    return groups > 1 and kernel.shape[2] == 1


def _widen(view, c_out):
    """Repeats each channel for every filter that reads it."""
    multiplier = c_out // view.shape[-1]
    return view if multiplier == 1 else ops.repeat(view, multiplier, axis=-1)


def _narrow(product, c):
    """Undoes `_widen`, adding up what the filters of one channel hold."""
    multiplier = product.shape[-1] // c
    if multiplier == 1:
        return product
    return ops.sum(ops.reshape(product, (-1, *product.shape[1:-1], c, multiplier)), axis=-1)


def _correlate_each_channel(x, kernel, strides, dilations, counts):
    """`_correlate` of a depthwise kernel, entry by entry."""
    c_out = kernel.shape[-1]
    views = _views(x, kernel, strides, dilations, counts)
    taps = zip(views, ops.unstack(ops.reshape(kernel, (-1, c_out))), strict=True)
    products = (_widen(view, c_out) * weights for view, weights in taps)
    y = next(products)
    for product in products:
        y += product  # in place where the backend can: no new memory for each entry
    return y


def _correlate(x, kernel, strides, dilations, groups, counts):
    """The sum of products at every position: channels last, padding already done."""
    c_out = kernel.shape[-1]
    if _is_depthwise(kernel, groups):
        return _correlate_each_channel(x, kernel, strides, dilations, counts)
    x, matrix = _split(x, groups), _matrix(kernel, groups)
    bands, height, rows = _patch_bands(x, kernel, strides, dilations, counts)

    def product(x):
        patches = _patch_matrix(x, kernel, strides, dilations, (height, counts[1]))
        y = _product(_stacked(patches, groups), matrix)
        return ops.reshape(y, (-1, height, counts[1], c_out // groups))

    y = _each_band(product, _below_each_other, bands, rows)
    return _join(y[:, : counts[0]], groups)


def _add_bias(y, bias):
    if bias is None:
        return y
    if tuple(bias.shape) != (y.shape[-1],):
        raise ValueError(
            f"bias must have shape ({y.shape[-1]},), one value per filter, got {tuple(bias.shape)}."
        )
    return y + bias


def correlate(x, kernel, bias, strides, padding, dilation_rate, groups):
    """:func:`conv2d` of tensors with the channels last, in whichever dtype they have."""
    strides, dilations, paddings, counts = _geometry(
        x, kernel, strides, padding, dilation_rate, groups
    )
    y = _correlate(_pad(x, paddings), kernel, strides, dilations, groups, counts)
    return _add_bias(y, bias)


def _sent(dy, kernel, groups):
    """What each pixel of dy sends through each kernel entry, entry by entry."""
    kh, kw, c_in, c_out = kernel.shape
    if _is_depthwise(kernel, groups):
        return (_narrow(dy * w, groups) for w in ops.unstack(ops.reshape(kernel, (-1, c_out))))
    rows = _stacked(ops.reshape(dy, (-1, dy.shape[-1])), groups)
    sent = ops.matmul(rows, ops.swapaxes(_matrix(kernel, groups), -1, -2))
    sent = ops.reshape(sent, (-1, *dy.shape[1:3], kh * kw * c_in))
    return (sent[..., t : t + c_in] for t in range(0, kh * kw * c_in, c_in))


def _interleave(phases, strides):
    """Puts phase (a, b) on the pixels (a, b) of each cell of stride x stride pixels."""
    if strides == (1, 1):
        return phases[0, 0]
    _, h, w, c = phases[0, 0].shape
    empty = ops.zeros_like(phases[0, 0])  # for pixels that no kernel entry meets
    down, right = map(range, strides)
    rows = [ops.stack([phases.get((a, b), empty) for b in right], axis=3) for a in down]
    return ops.reshape(ops.stack(rows, axis=2), (-1, h * strides[0], w * strides[1], c))


def _input_gradient(dy, kernel, sizes, strides, dilations, groups):
    """Sends dy back through the kernel onto a padded image of the given sizes.

    This is im2col backwards: shifted views of what was sent are added up. With a stride, an
    entry reaches every stride-th pixel only, a phase, so each phase is added up by itself.
    """
    taps = [(m * dilations[0], n * dilations[1]) for m, n in np.ndindex(*kernel.shape[:2])]
    counts = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]  # pixels of one phase
    reach = [last // s for last, s in zip(taps[-1], strides, strict=True)]
    dy = _pad(dy, [(r, n - k) for r, n, k in zip(reach, counts, dy.shape[1:3], strict=True)])
    depthwise = _is_depthwise(kernel, groups)
    dy = dy if depthwise else _split(dy, groups)
    per_row = 0 if depthwise else (dy.shape[0] or 1) * dy.shape[2] * len(taps) * kernel.shape[2]
    bands, height = _bands(counts[0], per_row)

    def received(dy):
        phases = {}
        for (m, n), piece in zip(taps, _sent(dy, kernel, groups), strict=True):
            (down, a), (right, b) = divmod(m, strides[0]), divmod(n, strides[1])
            offset = (reach[0] - down, reach[1] - right)
            piece = windows.shifted_view(piece, offset, (height, counts[1]), (1, 1))
            phases[a, b] = phases[a, b] + piece if (a, b) in phases else piece
        return _interleave(phases, strides)

    dx = _each_band(received, _below_each_other, bands, (dy, height, height + reach[0]))
    dx = dx[:, : sizes[0], : sizes[1]]
    return dx if depthwise else _join(dx, groups)


def _crop(x, amounts):
    (top, bottom), (left, right) = amounts
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _kernel_gradient(x, kernel, dy, strides, dilations, groups, counts):
    """For each kernel entry, the pixels that it met, weighted by dy."""
    if _is_depthwise(kernel, groups):
        views = _views(x, kernel, strides, dilations, counts)
        products = [ops.sum(_widen(v, dy.shape[-1]) * dy, axis=(0, 1, 2)) for v in views]
        return ops.reshape(ops.stack(products), kernel.shape)
    x, dy = _split(x, groups), _split(dy, groups)
    bands, height, rows = _patch_bands(x, kernel, strides, dilations, counts)

    def product(x, dy):
        patches = _patch_matrix(x, kernel, strides, dilations, (height, counts[1]))
        sent = _stacked(ops.reshape(dy, (-1, dy.shape[-1])), groups)
        return ops.matmul(ops.swapaxes(sent, -1, -2), _stacked(patches, groups))

    total = _each_band(product, _sum_of_bands, bands, rows, (dy, height, height))
    total = ops.reshape(ops.swapaxes(total, -1, -2), (-1, dy.shape[-1]))
    return ops.reshape(_join(total, groups), kernel.shape)


def conv2d(
    x,
    kernel,
    bias=None,
    *,
    strides=1,
    padding="valid",
    dilation_rate=1,
    groups=1,
    data_format=None,
):
    r"""Two-dimensional convolution, :eq:`eq-conv2d`, in its general form :eq:`eq-conv2d-general`.

    .. math::

        Y^{(k)}_{i,j} = \sum_{c=1}^{C_{in}} \sum_{m=1}^{k_h} \sum_{n=1}^{k_w}
        W^{(k)}_{c,m,n} \cdot X_{c, i+m, j+n} + b^{(k)}

    With strides :math:`s`, padding :math:`p`, dilation :math:`d` and groups,
    and with 0-based indices as in the code:

    .. math::

        Y^{(k)}_{i,j} = \sum_{c=0}^{C_{in}/G - 1} \sum_{m=0}^{k_h-1} \sum_{n=0}^{k_w-1}
        W^{(k)}_{c,m,n} \cdot X_{g(k) C_{in}/G + c,\; s_h i + d_h m - p_t,\; s_w j + d_w n - p_l}
        + b^{(k)}

    :math:`X` is zero outside the image, :math:`g(k)` is the group of filter
    :math:`k`. No kernel is flipped: this is what mathematics calls
    cross-correlation and every deep-learning library calls convolution.

    Args:
        x: Images :math:`X`, shape ``(N, H, W, C_in)``, or ``(N, C_in, H, W)``
            with ``data_format="channels_first"``.
        kernel: Filters :math:`W`, shape ``(kh, kw, C_in / groups, C_out)``
            in either data format, as in Keras.
        bias: :math:`b`, shape ``(C_out,)``, or None for no bias.
        strides: Step :math:`s` between windows, an int or a pair of ints.
        padding: ``"valid"`` (none), ``"same"`` (output size is the input's
            divided by the stride, rounded up; an odd total puts the extra
            pixel at the bottom and right), an int (that many zeros on each
            side) or ``((top, bottom), (left, right))``.
        dilation_rate: Distance :math:`d` between kernel entries, 1 for none.
        groups: Number :math:`G` of groups that the channels and filters are
            split into; filters see the channels of their own group only.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configured default.

    Returns:
        Tensor of shape ``(N, H_out, W_out, C_out)``, channels where ``x``
        has them, each size by :func:`conv_output_size`. An empty batch
        gives an empty output.

    Raises:
        ValueError: If a rank, a size, the channels, ``groups``, ``padding``
            or ``data_format`` do not fit; the message has the value.

    References:
        Dumoulin and Visin, A guide to convolution arithmetic for deep
        learning, 2016, https://arxiv.org/abs/1603.07285

    Example:
        >>> x = [[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]]  # one 2x3 image
        >>> kernel = [[[[1.0]], [[-1.0]]]]  # left pixel minus right pixel
        >>> y = conv2d(x, kernel, data_format="channels_last")
        >>> [[float(v[0]) for v in row] for row in y[0]]
        [[-1.0, -1.0], [-1.0, -1.0]]
    """
    channels_first = arguments.is_channels_first(data_format)
    x, kernel, bias = arguments.as_float(x=x, kernel=kernel, bias=bias, optional=("bias",))
    arguments.require_rank("x", x, 4)
    x = arguments.to_channels_last(x, channels_first)
    y = correlate(x, kernel, bias, strides, padding, dilation_rate, groups)
    return arguments.from_channels_last(y, channels_first)


def conv2d_gradients(
    x,
    kernel,
    output_gradient,
    *,
    strides=1,
    padding="valid",
    dilation_rate=1,
    groups=1,
    data_format=None,
):
    r"""Gradients of a loss through :func:`conv2d`, :eq:`eq-conv2d-gradients`.

    .. math::

        \frac{\partial L}{\partial X_{c,u,v}} &= \sum_{k} \sum_{(i,m):\, s_h i + d_h m - p_t = u}\;
        \sum_{(j,n):\, s_w j + d_w n - p_l = v} W^{(k)}_{c,m,n}
        \frac{\partial L}{\partial Y^{(k)}_{i,j}} \\
        \frac{\partial L}{\partial W^{(k)}_{c,m,n}} &= \sum_{i,j}
        X_{c,\; s_h i + d_h m - p_t,\; s_w j + d_w n - p_l}
        \frac{\partial L}{\partial Y^{(k)}_{i,j}} \\
        \frac{\partial L}{\partial b^{(k)}} &= \sum_{i,j}
        \frac{\partial L}{\partial Y^{(k)}_{i,j}}

    The equations are for one image and one group; the gradients of
    :math:`W` and :math:`b` are summed over the batch.

    Args:
        x: Images :math:`X` of the forward pass, as in :func:`conv2d`.
        kernel: Filters :math:`W` of the forward pass.
        output_gradient: :math:`\partial L / \partial Y`, the shape of the
            forward pass's output.
        strides: As in the forward pass.
        padding: As in the forward pass.
        dilation_rate: As in the forward pass.
        groups: As in the forward pass.
        data_format: As in the forward pass.

    Returns:
        ``(dx, dkernel, dbias)`` with the shapes of ``x``, ``kernel`` and
        ``(C_out,)``. An empty batch gives zeros for the last two.

    Raises:
        ValueError: As :func:`conv2d`, and if ``output_gradient`` does not
            have the shape of the output.

    References:
        Dumoulin and Visin, A guide to convolution arithmetic for deep
        learning, 2016, https://arxiv.org/abs/1603.07285

    Example:
        >>> x = [[[[1.0], [2.0], [3.0]]]]
        >>> kernel = [[[[1.0]], [[-1.0]]]]
        >>> one = [[[[1.0], [1.0]]]]
        >>> dx, dkernel, dbias = conv2d_gradients(x, kernel, one, data_format="channels_last")
        >>> [float(v[0]) for v in dx[0][0]], float(dkernel[0, 0, 0, 0]), float(dbias[0])
        ([1.0, 0.0, -1.0], 3.0, 2.0)
    """
    channels_first = arguments.is_channels_first(data_format)
    x, kernel, dy = arguments.as_float(x=x, kernel=kernel, output_gradient=output_gradient)
    arguments.require_rank("x", x, 4)
    arguments.require_rank("output_gradient", dy, 4)
    x = arguments.to_channels_last(x, channels_first)
    dy = arguments.to_channels_last(dy, channels_first)
    strides, dilations, paddings, counts = _geometry(
        x, kernel, strides, padding, dilation_rate, groups
    )
    expected = (x.shape[0], *counts, kernel.shape[-1])
    if tuple(dy.shape) != expected:
        raise ValueError(
            f"output_gradient must have the output's shape {expected} (channels last), "
            f"got {tuple(dy.shape)}."
        )
    padded = _pad(x, paddings)
    dx = _input_gradient(dy, kernel, padded.shape[1:3], strides, dilations, groups)
    dx = _crop(dx, paddings)
    dkernel = _kernel_gradient(padded, kernel, dy, strides, dilations, groups, counts)
    return arguments.from_channels_last(dx, channels_first), dkernel, ops.sum(dy, axis=(0, 1, 2))


def conv2d_transpose(x, kernel, bias=None, *, strides=1, padding="valid", data_format=None):
    r"""Transposed convolution, :eq:`eq-conv2d-transpose`.

    .. math::

        Y^{(k)}_{u,v} = \sum_{c} \sum_{(i,m):\, s_h i + m - p_t = u}\;
        \sum_{(j,n):\, s_w j + n - p_l = v} W_{m,n,k,c} X_{c,i,j} + b^{(k)}

    Each input pixel stamps the kernel, scaled by its value, onto the output:
    the first of the gradients that :func:`conv2d_gradients` computes, used as a
    layer.

    Args:
        x: Images :math:`X`, shape ``(N, H, W, C_in)``, or ``(N, C_in, H, W)``
            with ``data_format="channels_first"``.
        kernel: :math:`W`, shape ``(kh, kw, C_out, C_in)``, as in Keras: the
            last two axes stand the other way round than in :func:`conv2d`.
        bias: :math:`b`, shape ``(C_out,)``, or None for no bias.
        strides: Distance :math:`s` between stamps, an int or a pair of ints.
        padding: What is cut off the full output: ``"valid"`` (nothing),
            ``"same"`` (down to the input's size times the stride), an int or
            ``((top, bottom), (left, right))``.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configured default.

    Returns:
        Tensor of shape ``(N, H_out, W_out, C_out)``, channels where ``x``
        has them; ``H_out = (H - 1) * stride + kh - top - bottom``, but at
        least ``H * stride`` before an explicit cut, as in Keras.

    Raises:
        ValueError: If a rank, a size, the channels, ``padding`` or
            ``data_format`` do not fit; the message has the value.

    References:
        Zeiler et al., Deconvolutional networks, 2010,
        https://doi.org/10.1109/CVPR.2010.5539957

    Example:
        >>> x = [[[[1.0], [10.0]]]]
        >>> kernel = [[[[1.0]], [[2.0]], [[3.0]]]]
        >>> y = conv2d_transpose(x, kernel, data_format="channels_last")
        >>> [float(v[0]) for v in y[0][0]]  # 1*(1 2 3) and, one to the right, 10*(1 2 3)
        [1.0, 12.0, 23.0, 30.0]
    """
    channels_first = arguments.is_channels_first(data_format)
    x, kernel, bias = arguments.as_float(x=x, kernel=kernel, bias=bias, optional=("bias",))
    arguments.require_rank("x", x, 4)
    arguments.require_rank("kernel", kernel, 4)
    windows.require_sides("kernel", kernel)
    x = arguments.to_channels_last(x, channels_first)
    kh, kw, c_out, c_in = kernel.shape
    if c_in != x.shape[-1]:
        raise ValueError(
            f"kernel has {c_in} input channels on its last axis, but x has {x.shape[-1]}."
        )
    strides = arguments.positive_pair("strides", strides)
    windows.require_known(x.shape[1:3])
    sizes = [n * s + max(k - s, 0) for n, s, k in zip(x.shape[1:3], strides, (kh, kw), strict=True)]
    targets = [n * s for n, s in zip(x.shape[1:3], strides, strict=True)]
    if isinstance(padding, str) and padding == "same":
        totals = [n - t for n, t in zip(sizes, targets, strict=True)]
        cuts = tuple((t // 2, t - t // 2) for t in totals)
    else:
        cuts = windows.pad_amounts(padding, sizes, (kh, kw), strides)
    if min(n - before - after for n, (before, after) in zip(sizes, cuts, strict=True)) < 1:
        raise ValueError(f"padding={padding!r} cuts the whole {sizes[0]}x{sizes[1]} output away.")
    y = _crop(_input_gradient(x, kernel, sizes, strides, (1, 1), 1), cuts)
    y = _add_bias(y, bias)
    return arguments.from_channels_last(y, channels_first)


def conv_output_size(size, kernel_size, *, stride=1, padding="valid", dilation_rate=1):
    r"""How many outputs a convolution has along one dimension, :eq:`eq-conv-output-size`.

    .. math::

        n_{out} = \left\lfloor \frac{n + p_b + p_a - d\,(k - 1) - 1}{s} \right\rfloor + 1

    :math:`n` is the input's size, :math:`p_b` and :math:`p_a` the padding
    before and after, :math:`d` the dilation, :math:`k` the kernel's size and
    :math:`s` the stride. Pooling follows the same rule with :math:`d = 1`.

    Args:
        size: Pixels :math:`n` along the dimension, at least 1.
        kernel_size: Entries :math:`k` of the kernel, at least 1.
        stride: :math:`s`, at least 1.
        padding: ``"valid"``, ``"same"``, an int (zeros on each side) or
            ``(before, after)``.
        dilation_rate: :math:`d`, at least 1.

    Returns:
        An int, at least 1.

    Raises:
        ValueError: If an argument is below its range, ``padding`` is
            unknown, or the kernel covers more than the padded input.

    References:
        Dumoulin and Visin, A guide to convolution arithmetic for deep
        learning, 2016, https://arxiv.org/abs/1603.07285

    Example:
        >>> conv_output_size(32, 3), conv_output_size(32, 3, padding="same")
        (30, 32)
        >>> conv_output_size(224, 7, stride=2, padding=3)
        112
    """
    size = arguments.positive_int("size", size)
    kernel_size = arguments.positive_int("kernel_size", kernel_size)
    stride = arguments.positive_int("stride", stride)
    dilation = arguments.positive_int("dilation_rate", dilation_rate)
    if isinstance(padding, (tuple, list)):
        padding = (padding,)
    ((before, after),) = windows.pad_amounts(
        padding, (size,), (kernel_size,), (stride,), (dilation,)
    )
    (count,) = windows.window_counts(
        (size + before + after,), (kernel_size,), (stride,), (dilation,)
    )
    return count

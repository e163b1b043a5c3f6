"""Batch, layer and group normalization, and their relatives.

Chapter: ``notebooks/04_normalization.ipynb``.
"""

import keras
from keras import ops

from cnnbook._shared import arguments, labels
from cnnbook._shared.tracing import values_of

__all__ = [
    "batch_moments",
    "batch_norm",
    "batch_norm_gradients",
    "fold_batch_norm",
    "group_norm",
    "layer_norm",
    "update_moving",
]


def _one_axis(x, axis):
    """The axis counted from the front."""
    rank = len(x.shape)
    if rank < 2:
        raise ValueError(f"x must have at least 2 dimensions, got shape {tuple(x.shape)}.")
    return arguments.as_axis(axis, "x", x)


def _others(x, *kept):
    return tuple(a for a in range(len(x.shape)) if a not in kept)


def _require_values(x, axes):
    if any(x.shape[a] == 0 for a in axes):
        raise ValueError(
            f"x of shape {tuple(x.shape)} has no values to average over axes {tuple(axes)}."
        )


def _require_variances(variance):
    """No number below 0, where the values are known: its root would be NaN."""
    values = values_of(variance)
    if values is not None:
        labels.require_values("variance", values, ~(values < 0), "not be negative")


def _spread(name, vector, x, axes):
    """A parameter of the sizes that x has along axes, shaped to broadcast against x."""
    if vector is None:
        return None
    expected = tuple(x.shape[a] for a in axes)
    if tuple(vector.shape) != expected:
        raise ValueError(
            f"{name} must have shape {expected}, the size of x along axis "
            f"{', '.join(map(str, axes))}, got {tuple(vector.shape)}."
        )
    sizes = [x.shape[a] if a in axes else 1 for a in range(len(x.shape))]
    return ops.reshape(vector, sizes)


def _widened(x):
    """Half precision as float32: a sum of 65,536 ones is infinite in float16."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _moments(x, axes):
    mean = ops.mean(x, axis=axes, keepdims=True)
    return mean, ops.mean(ops.square(x - mean), axis=axes, keepdims=True)


def _normalize(x, axes, epsilon):
    _require_values(x, axes)
    x = _widened(x)
    mean, variance = _moments(x, axes)
    return (x - mean) / ops.sqrt(variance + epsilon)


def _scale_and_shift(x_hat, gamma, beta):
    y = x_hat if gamma is None else gamma * x_hat
    return y if beta is None else y + beta


def batch_moments(x, *, axis=-1):
    r"""Mean and variance of each channel over a batch, :eq:`eq-batch-moments`.

    .. math::

        \mu_{B,c} &= \frac{1}{m} \sum_{n,i,j} x_{n,i,j,c} \\
        \sigma_{B,c}^2 &= \frac{1}{m} \sum_{n,i,j} (x_{n,i,j,c} - \mu_{B,c})^2

    :math:`n` runs over the images, :math:`i, j` over the pixels, :math:`c` is
    the channel and :math:`m` the number of values averaged, ``N * H * W``
    for images. The variance is the biased one: it divides by :math:`m`.

    Args:
        x: Activations, two or more dimensions, batch and pixels in any order.
        axis: The channel axis, which is kept; all others are averaged over.

    Returns:
        ``(mean, variance)``, each of shape ``(C,)``, variance at least 0;
        float32 for half-precision ``x``. One value per channel has variance 0.

    Raises:
        ValueError: If ``x`` has fewer than two dimensions, ``axis`` is not
            one of them, or there is nothing to average (an empty batch).

    References:
        Ioffe and Szegedy, Batch normalization, 2015, https://arxiv.org/abs/1502.03167

    Example:
        >>> from cnnbook.normalization import batch_moments
        >>> mean, variance = batch_moments([[1.0, 10.0], [3.0, 10.0]])
        >>> [float(v) for v in mean], [float(v) for v in variance]
        ([2.0, 10.0], [1.0, 0.0])
    """
    x = arguments.as_float(x=x)
    axis = _one_axis(x, axis)
    axes = _others(x, axis)
    _require_values(x, axes)
    mean, variance = _moments(_widened(x), axes)
    return ops.reshape(mean, (x.shape[axis],)), ops.reshape(variance, (x.shape[axis],))


def batch_norm(x, mean, variance, gamma=None, beta=None, *, epsilon=1e-3, axis=-1):
    r"""Batch normalization with given statistics, :eq:`eq-batch-norm`.

    .. math::

        \hat{x} &= \frac{x - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} \\
        y &= \gamma \hat{x} + \beta

    :math:`\mu_B` and :math:`\sigma_B^2` are the channel's mean and variance:
    in training those of the batch, from :func:`batch_moments`; in inference
    the moving averages, from :func:`update_moving`.

    Args:
        x: Activations, two or more dimensions.
        mean: :math:`\mu_B`, shape ``(C,)``.
        variance: :math:`\sigma_B^2`, shape ``(C,)``, at least 0.
        gamma: Scale :math:`\gamma`, shape ``(C,)``, or None for 1.
        beta: Shift :math:`\beta`, shape ``(C,)``, or None for 0.
        epsilon: :math:`\epsilon`, at least 0: 1e-3 in Keras, 1e-5 in PyTorch.
        axis: The channel axis.

    Returns:
        Tensor of the shape of ``x``; an empty batch gives an empty output.

    Raises:
        ValueError: If ``axis`` or ``epsilon`` is out of range, or a parameter
            does not have one value per channel.

    References:
        Ioffe and Szegedy, Batch normalization, 2015, https://arxiv.org/abs/1502.03167

    Example:
        >>> from cnnbook.normalization import batch_norm
        >>> y = batch_norm([[5.0], [9.0]], [5.0], [4.0], gamma=[3.0], beta=[1.0], epsilon=0.0)
        >>> [float(v[0]) for v in y]
        [1.0, 7.0]
    """
    x, mean, variance, gamma, beta = arguments.as_float(
        x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, optional=("gamma", "beta")
    )
    _require_variances(variance)
    axes = (_one_axis(x, axis),)
    epsilon = arguments.number("epsilon", epsilon, at_least=0)
    mean, variance = _spread("mean", mean, x, axes), _spread("variance", variance, x, axes)
    gamma, beta = _spread("gamma", gamma, x, axes), _spread("beta", beta, x, axes)
    return _scale_and_shift((x - mean) / ops.sqrt(variance + epsilon), gamma, beta)


def update_moving(moving, value, *, momentum=0.99):
    r"""One step of a moving average, :eq:`eq-update-moving`.

    .. math::

        \bar{v} \leftarrow \alpha \bar{v} + (1 - \alpha) v

    Args:
        moving: The average so far :math:`\bar{v}`, any shape.
        value: The batch's statistic :math:`v`, the same shape.
        momentum: The share :math:`\alpha` that is kept, in [0, 1]. PyTorch
            calls :math:`1 - \alpha` momentum: its 0.1 is 0.9 here.

    Returns:
        The new average; the arguments stay as they are.

    Raises:
        ValueError: If the shapes differ or ``momentum`` is outside [0, 1].

    References:
        Ioffe and Szegedy, Batch normalization, 2015, https://arxiv.org/abs/1502.03167

    Example:
        >>> from cnnbook.normalization import update_moving
        >>> float(update_moving(0.0, 8.0, momentum=0.75))
        2.0
    """
    moving, value = arguments.as_float(moving=moving, value=value)
    if tuple(moving.shape) != tuple(value.shape):
        raise ValueError(
            f"moving has shape {tuple(moving.shape)}, but value has shape {tuple(value.shape)}."
        )
    alpha = arguments.number("momentum", momentum, at_least=0, at_most=1)
    return alpha * moving + (1 - alpha) * value


def batch_norm_gradients(x, gamma, output_gradient, *, epsilon=1e-3, axis=-1):
    r"""Gradients through batch normalization in training, :eq:`eq-batch-norm-gradients`.

    .. math::

        \frac{\partial L}{\partial \gamma_c} &= \sum_{n,i,j}
        \frac{\partial L}{\partial y_{n,i,j,c}} \hat{x}_{n,i,j,c} \\
        \frac{\partial L}{\partial \beta_c} &= \sum_{n,i,j}
        \frac{\partial L}{\partial y_{n,i,j,c}} \\
        \frac{\partial L}{\partial x_{n,i,j,c}} &=
        \frac{\gamma_c}{\sqrt{\sigma_{B,c}^2 + \epsilon}}
        \left( \frac{\partial L}{\partial y_{n,i,j,c}}
        - \frac{1}{m} \frac{\partial L}{\partial \beta_c}
        - \frac{\hat{x}_{n,i,j,c}}{m} \frac{\partial L}{\partial \gamma_c} \right)

    The last two terms come from the mean and the variance, which depend on
    every value of the channel; :math:`m` is their number.

    Args:
        x: Activations of the forward pass.
        gamma: Scale of the forward pass, shape ``(C,)``, or None for 1.
        output_gradient: :math:`\partial L / \partial y`, the shape of ``x``.
        epsilon: As in the forward pass.
        axis: As in the forward pass.

    Returns:
        ``(dx, dgamma, dbeta)`` with the shapes of ``x``, ``(C,)`` and ``(C,)``.

    Raises:
        ValueError: As :func:`batch_moments` and :func:`batch_norm`, and if
            ``output_gradient`` does not have the shape of ``x``.

    References:
        Ioffe and Szegedy, Batch normalization, 2015, https://arxiv.org/abs/1502.03167

    Example:
        >>> from cnnbook.normalization import batch_norm_gradients
        >>> dx, dgamma, dbeta = batch_norm_gradients(
        ...     [[-1.0], [1.0], [-1.0], [1.0]], [2.0], [[4.0], [0.0], [0.0], [0.0]], epsilon=0.0
        ... )
        >>> [float(v[0]) for v in dx], float(dgamma[0]), float(dbeta[0])
        ([4.0, 0.0, -4.0, 0.0], -4.0, 4.0)
    """
    x, gamma, dy = arguments.as_float(
        x=x, gamma=gamma, output_gradient=output_gradient, optional=("gamma",)
    )
    if tuple(dy.shape) != tuple(x.shape):
        raise ValueError(
            f"output_gradient must have the shape of x {tuple(x.shape)}, got {tuple(dy.shape)}."
        )
    axis = _one_axis(x, axis)
    epsilon = arguments.number("epsilon", epsilon, at_least=0)
    axes, dtype = _others(x, axis), x.dtype
    _require_values(x, axes)
    gamma = _spread("gamma", gamma, x, (axis,))
    x, dy = _widened(x), _widened(dy)
    mean, variance = _moments(x, axes)
    deviation = ops.sqrt(variance + epsilon)
    x_hat = (x - mean) / deviation
    direct = dy - ops.mean(dy, axis=axes, keepdims=True)
    through_variance = x_hat * ops.mean(dy * x_hat, axis=axes, keepdims=True)
    dx = (direct - through_variance) / deviation
    dx = dx if gamma is None else gamma * dx
    dgamma, dbeta = ops.sum(dy * x_hat, axis=axes), ops.sum(dy, axis=axes)
    return ops.cast(dx, dtype), ops.cast(dgamma, dtype), ops.cast(dbeta, dtype)


def layer_norm(x, gamma=None, beta=None, *, epsilon=1e-3, axis=-1):
    r"""Layer normalization, :eq:`eq-layer-norm`.

    .. math::

        y_{n,i,j,c} = \gamma_c \frac{x_{n,i,j,c} - \mu_{n,i,j}}
        {\sqrt{\sigma_{n,i,j}^2 + \epsilon}} + \beta_c

    :math:`\mu_{n,i,j}` and :math:`\sigma_{n,i,j}^2` are mean and biased
    variance over the channels of one pixel, which is ``axis=-1``. With other
    axes they are taken over those, for each place on the remaining ones.

    Args:
        x: Activations, two or more dimensions.
        gamma: Scale, with the sizes of the normalized axes in increasing
            order (``(C,)`` for ``axis=-1``), or None for 1.
        beta: Shift, the shape of ``gamma``, or None for 0.
        epsilon: :math:`\epsilon`, at least 0.
        axis: The normalized axis or axes, an int or a tuple of ints. Batch
            normalization's ``axis`` is the one that is kept.

    Returns:
        Tensor of the shape of ``x``; an empty batch gives an empty output.

    Raises:
        ValueError: If an axis is out of range or given twice, ``epsilon`` is
            negative, a parameter's shape is wrong, or a normalized axis is
            empty.

    References:
        Ba, Kiros and Hinton, Layer normalization, 2016, https://arxiv.org/abs/1607.06450

    Example:
        >>> from cnnbook.normalization import layer_norm
        >>> y = layer_norm([[1.0, 3.0], [10.0, 30.0]], epsilon=0.0)
        >>> [[float(v) for v in row] for row in y]
        [[-1.0, 1.0], [-1.0, 1.0]]
    """
    x, gamma, beta = arguments.as_float(x=x, gamma=gamma, beta=beta, optional=("gamma", "beta"))
    epsilon = arguments.number("epsilon", epsilon, at_least=0)
    given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(sorted(_one_axis(x, a) for a in given))
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"axis must name one or more different axes, got {axis!r}.")
    gamma, beta = _spread("gamma", gamma, x, axes), _spread("beta", beta, x, axes)
    y = _scale_and_shift(_normalize(x, axes, epsilon), gamma, beta)
    return ops.cast(y, x.dtype)


def group_norm(x, gamma=None, beta=None, *, groups, epsilon=1e-3, axis=-1):
    r"""Group normalization, :eq:`eq-group-norm`.

    .. math::

        y_{n,i,j,c} = \gamma_c \frac{x_{n,i,j,c} - \mu_{n,g(c)}}
        {\sqrt{\sigma_{n,g(c)}^2 + \epsilon}} + \beta_c, \quad
        g(c) = \left\lfloor \frac{c\,G}{C} \right\rfloor

    :math:`\mu_{n,g(c)}` and :math:`\sigma_{n,g(c)}^2` are mean and biased
    variance over all pixels and over the :math:`C / G` neighboring channels of
    group :math:`g(c)` of image :math:`n`; :math:`c` counts from 0.

    Args:
        x: Activations, two or more dimensions, the batch on the first axis.
        gamma: Scale, shape ``(C,)``, or None for 1.
        beta: Shift, shape ``(C,)``, or None for 0.
        groups: Number :math:`G` of groups, a divisor of the channels: 1
            normalizes each image as a whole; -1 means one group per channel
            (instance normalization), as in Keras.
        epsilon: :math:`\epsilon`, at least 0.
        axis: The channel axis, not the first.

    Returns:
        Tensor of the shape of ``x``; an empty batch gives an empty output.

    Raises:
        ValueError: If ``groups`` does not divide the channels, ``axis`` or
            ``epsilon`` is out of range, a parameter's shape is wrong, or
            there is nothing to average.

    References:
        Wu and He, Group normalization, 2018, https://arxiv.org/abs/1803.08494

    Example:
        >>> from cnnbook.normalization import group_norm
        >>> y = group_norm([[1.0, 3.0, 10.0, 30.0]], groups=2, epsilon=0.0)
        >>> [float(v) for v in y[0]]
        [-1.0, 1.0, -1.0, 1.0]
    """
    x, gamma, beta = arguments.as_float(x=x, gamma=gamma, beta=beta, optional=("gamma", "beta"))
    axis = _one_axis(x, axis)
    if axis == 0:
        raise ValueError("axis must not be the batch axis 0.")
    epsilon = arguments.number("epsilon", epsilon, at_least=0)
    _require_values(x, _others(x, 0))
    _, *before, channels = x.shape[: axis + 1]
    after = x.shape[axis + 1 :]
    is_one_each = arguments.is_integer(groups) and groups == -1
    groups = channels if is_one_each else arguments.positive_int("groups", groups)
    if channels % groups:
        raise ValueError(f"groups={groups} does not divide the {channels} channels of x.")
    gamma, beta = _spread("gamma", gamma, x, (axis,)), _spread("beta", beta, x, (axis,))
    grouped = ops.reshape(x, (-1, *before, groups, channels // groups, *after))
    x_hat = _normalize(grouped, _others(grouped, 0, axis), epsilon)
    x_hat = ops.reshape(x_hat, (-1, *x.shape[1:]))
    return ops.cast(_scale_and_shift(x_hat, gamma, beta), x.dtype)


def fold_batch_norm(kernel, bias, mean, variance, gamma, beta, *, epsilon=1e-3):
    r"""A convolution that includes the batch normalization behind it, :eq:`eq-fold-batch-norm`.

    .. math::

        W'_{\cdot,k} &= \frac{\gamma_k}{\sqrt{\sigma_k^2 + \epsilon}}\, W_{\cdot,k} \\
        b'_k &= \frac{\gamma_k}{\sqrt{\sigma_k^2 + \epsilon}}\, (b_k - \mu_k) + \beta_k

    :math:`k` is the filter; :math:`\mu` and :math:`\sigma^2` are the moving
    averages, so that the result is for inference only.

    Args:
        kernel: :math:`W`, filters on the last axis: ``(kh, kw, C_in / groups,
            C_out)``, or ``(inputs, outputs)`` of a dense layer. A Keras
            depthwise kernel ``(kh, kw, C, multiplier)`` is first reshaped to
            ``(kh, kw, 1, C * multiplier)``.
        bias: :math:`b`, shape ``(C_out,)``, or None for 0.
        mean: :math:`\mu`, shape ``(C_out,)``.
        variance: :math:`\sigma^2`, shape ``(C_out,)``, at least 0.
        gamma: :math:`\gamma`, shape ``(C_out,)``, or None for 1.
        beta: :math:`\beta`, shape ``(C_out,)``, or None for 0.
        epsilon: :math:`\epsilon` of the normalization, at least 0.

    Returns:
        ``(kernel, bias)`` of the shapes of ``kernel`` and ``(C_out,)``.

    Raises:
        ValueError: If ``kernel`` has fewer than two dimensions, a parameter
            does not have one value per filter, or ``epsilon`` is negative.

    References:
        Jacob et al., Quantization and training of neural networks, 2018,
        https://arxiv.org/abs/1712.05877

    Example:
        >>> from cnnbook.normalization import fold_batch_norm
        >>> kernel, bias = fold_batch_norm([[2.0]], [1.0], [3.0], [4.0], [6.0], [5.0], epsilon=0.0)
        >>> float(kernel[0, 0]), float(bias[0])
        (6.0, -1.0)
    """
    given = {"bias": bias, "mean": mean, "variance": variance, "gamma": gamma, "beta": beta}
    optional = ("bias", "gamma", "beta")
    kernel, *vectors = arguments.as_float(kernel=kernel, **given, optional=optional)
    epsilon = arguments.number("epsilon", epsilon, at_least=0)
    if len(kernel.shape) < 2:
        raise ValueError(
            f"kernel must have at least 2 dimensions, got shape {tuple(kernel.shape)}."
        )
    filters = kernel.shape[-1]
    for name, vector in zip(given, vectors, strict=True):
        if vector is not None and tuple(vector.shape) != (filters,):
            raise ValueError(
                f"{name} must have shape ({filters},), one value per filter of kernel, "
                f"got {tuple(vector.shape)}."
            )
    bias, mean, variance, gamma, beta = vectors
    _require_variances(variance)
    scale = 1 / ops.sqrt(variance + epsilon)
    scale = scale if gamma is None else gamma * scale
    shift = -mean * scale if bias is None else (bias - mean) * scale
    return kernel * scale, shift if beta is None else shift + beta

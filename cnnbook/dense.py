"""Dense (fully connected) layers, their gradients, and flattening.

Chapter: ``notebooks/06_dense.ipynb``.
"""

import math

from keras import ops

from cnnbook._shared import arguments, labels

__all__ = ["dense", "dense_gradients", "flatten"]


def _require_pair(x, kernel):
    arguments.require_rank("kernel", kernel, 2)
    if len(x.shape) < 1:
        raise ValueError(f"x must have at least 1 dimension, got shape {tuple(x.shape)}.")
    if x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"kernel has {kernel.shape[0]} inputs (rows), but x has {x.shape[-1]} features "
            "on its last axis."
        )


def _rows(x):
    """All axes but the last folded into one."""
    return ops.reshape(x, (-1 if None in x.shape else math.prod(x.shape[:-1]), x.shape[-1]))


def dense(x, kernel, bias=None):
    r"""Dense layer, :eq:`eq-dense`, for many inputs at once :eq:`eq-dense-batch`.

    .. math::

        y = W x + b

    For rows :math:`X_n` of a batch:

    .. math::

        Y_{n,o} = \sum_{i=1}^{C_{in}} W_{o,i} X_{n,i} + b_o

    :math:`W` has one row of weights per output :math:`o`. Keras stores its
    transpose, the kernel, one *column* per output, and computes
    ``x @ kernel + bias``: ``kernel[i - 1, o - 1]`` is :math:`W_{o,i}`.

    Args:
        x: Inputs :math:`X`, shape ``(..., C_in)``; every axis but the last
            is a batch axis, as in Keras.
        kernel: :math:`W^\top`, shape ``(C_in, C_out)``.
        bias: :math:`b`, shape ``(C_out,)``, or None for no bias.

    Returns:
        Tensor of shape ``(..., C_out)``. An empty batch gives an empty
        output.

    Raises:
        ValueError: If ``kernel`` is not a matrix, ``x`` has no axis, its
            features do not match the kernel, or the bias its outputs.

    References:
        Goodfellow, Bengio and Courville, Deep learning, 2016, chapter 6,
        https://www.deeplearningbook.org

    Example:
        >>> from cnnbook.dense import dense
        >>> kernel = [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]]  # 3 inputs, 2 outputs
        >>> y = dense([1.0, 2.0, 3.0], kernel, bias=[0.0, 10.0])
        >>> [float(v) for v in y]  # 1*1 + 2*2 + 3*0, 1*0 + 2*1 + 3*(-1) + 10
        [5.0, 9.0]
    """
    x, kernel, bias = arguments.as_float(x=x, kernel=kernel, bias=bias, optional=("bias",))
    _require_pair(x, kernel)
    y = ops.matmul(x, kernel)
    if bias is None:
        return y
    if tuple(bias.shape) != (kernel.shape[1],):
        raise ValueError(
            f"bias must have shape ({kernel.shape[1]},), one value per output, "
            f"got {tuple(bias.shape)}."
        )
    return y + bias


def dense_gradients(x, kernel, output_gradient):
    r"""Gradients of a loss through :func:`dense`, :eq:`eq-dense-gradients`.

    .. math::

        \frac{\partial L}{\partial X_{n,i}} &= \sum_{o}
        W_{o,i} \frac{\partial L}{\partial Y_{n,o}} \\
        \frac{\partial L}{\partial W_{o,i}} &= \sum_{n}
        X_{n,i} \frac{\partial L}{\partial Y_{n,o}} \\
        \frac{\partial L}{\partial b_o} &= \sum_{n}
        \frac{\partial L}{\partial Y_{n,o}}

    The last two are sums, not means, over all batch axes: whether the loss
    is a sum or a mean is in :math:`\partial L / \partial Y` already.

    Args:
        x: Inputs :math:`X` of the forward pass, shape ``(..., C_in)``.
        kernel: :math:`W^\top` of the forward pass, shape ``(C_in, C_out)``.
        output_gradient: :math:`\partial L / \partial Y`, the shape of the
            forward pass's output, ``(..., C_out)``.

    Returns:
        ``(dx, dkernel, dbias)`` with the shapes of ``x``, ``kernel`` and
        ``(C_out,)``. An empty batch gives zeros for the last two.

    Raises:
        ValueError: As :func:`dense`, and if ``output_gradient`` does not
            have the shape of the output.

    References:
        Rumelhart, Hinton and Williams, Learning representations by
        back-propagating errors, 1986, https://doi.org/10.1038/323533a0

    Example:
        >>> from cnnbook.dense import dense_gradients
        >>> kernel = [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]]
        >>> dx, dkernel, dbias = dense_gradients([1.0, 2.0, 3.0], kernel, [1.0, -1.0])
        >>> [float(v) for v in dx]  # row i of the kernel times (1, -1)
        [1.0, 1.0, 1.0]
        >>> [[float(v) for v in row] for row in dkernel]  # x_i times (1, -1)
        [[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]]
        >>> [float(v) for v in dbias]
        [1.0, -1.0]
    """
    x, kernel, dy = arguments.as_float(x=x, kernel=kernel, output_gradient=output_gradient)
    _require_pair(x, kernel)
    expected = (*x.shape[:-1], kernel.shape[1])
    if not labels.fits(dy.shape, expected):
        raise ValueError(
            f"output_gradient must have the output's shape {expected}, got {tuple(dy.shape)}."
        )
    dx = ops.matmul(dy, ops.transpose(kernel))
    rows, row_gradients = _rows(x), _rows(dy)
    dkernel = ops.matmul(ops.transpose(rows), row_gradients)
    return dx, dkernel, ops.sum(row_gradients, axis=0)


def flatten(x):
    r"""Each image of a batch as one row of numbers, :eq:`eq-flatten`.

    .. math::

        v_{(r\, n_w + s)\, C + c} = A_{r,s,c}

    :math:`A` is one image with :math:`n_w` columns and :math:`C` channels,
    :math:`v` its row of numbers; row :math:`r`, column :math:`s` and channel
    :math:`c` count from 0. The last axis runs fastest. A channels-first
    framework keeps images as ``(C, H, W)``, and there the same rule gives
    another order.

    Args:
        x: Batch of images :math:`A`, shape ``(N, ...)``, commonly ``(N, H, W, C)``.
            Any number of axes is folded by the same rule.

    Returns:
        Tensor of shape ``(N, product of the others)``; ``(N,)`` becomes
        ``(N, 1)``, as in Keras. An empty batch gives an empty output.

    Raises:
        ValueError: If ``x`` has no batch axis.

    References:
        Harris et al., Array programming with NumPy, 2020 (row-major order),
        https://doi.org/10.1038/s41586-020-2649-2

    Example:
        >>> from cnnbook.dense import flatten
        >>> image = [[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0], [4.0, 40.0]]]
        >>> [int(v) for v in flatten([image])[0]]  # two channels: units and tens
        [1, 10, 2, 20, 3, 30, 4, 40]
    """
    x = arguments.as_float(x=x)
    if len(x.shape) < 1:
        raise ValueError(f"x must have a batch axis, got shape {tuple(x.shape)}.")
    batch, *sizes = x.shape
    return ops.reshape(x, (-1 if batch is None else batch, math.prod(sizes)))

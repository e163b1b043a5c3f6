"""Dropout of single values and of whole feature maps.

Chapter: ``notebooks/05_dropout.ipynb``.
"""

import keras
from keras import ops

from cnnbook._shared import arguments

__all__ = ["bernoulli_mask", "dropout", "spatial_dropout2d"]


def _size(size):
    """An int, or a scalar tensor: a size that is not known while a function is traced."""
    is_traced = ops.is_tensor(size) and tuple(size.shape) == ()
    return size if is_traced else arguments.integer("shape", size, 0)


def _drop(x, mask_shape, rate, seed):
    keep_probability = 1 - rate
    mask = bernoulli_mask(mask_shape, keep_probability, seed=seed)
    return x * ops.cast(mask, x.dtype) / keep_probability


def bernoulli_mask(shape, keep_probability, *, seed):
    r"""Ones with the probability to keep, else zeros, :eq:`eq-bernoulli-mask`.

    .. math::

        z_i = \mathbb{1}[u_i < p], \quad u_i \sim \mathcal{U}[0, 1)

    Args:
        shape: The mask's shape, an int or a tuple of ints.
        keep_probability: :math:`p`, in [0, 1]: 0 gives only zeros, 1 only ones.
        seed: An int, which gives the same mask at every call, or a
            ``keras.random.SeedGenerator``, which gives a new one.

    Returns:
        Tensor of zeros and ones in Keras's default float type.

    Raises:
        ValueError: If ``keep_probability`` is outside [0, 1], a size is
            negative, or ``seed`` is neither of the two.

    References:
        Srivastava et al., Dropout, 2014, https://jmlr.org/papers/v15/srivastava14a.html

    Example:
        >>> from cnnbook.dropout import bernoulli_mask
        >>> mask = bernoulli_mask((1000,), 0.8, seed=0)
        >>> sorted({float(v) for v in mask}), 740 < float(sum(mask)) < 860
        ([0.0, 1.0], True)
    """
    kept = arguments.number("keep_probability", keep_probability, at_least=0, at_most=1)
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    shape = tuple(_size(n) for n in shape)
    uniform = keras.random.uniform(shape, dtype="float32", seed=arguments.as_seed(seed))
    return ops.cast(uniform < kept, keras.config.floatx())


def dropout(x, rate, *, seed, training=True):
    r"""Dropout, :eq:`eq-dropout`, scaled so that expectations stay, :eq:`eq-inverted-dropout`.

    .. math::

        y_i = x_i \cdot z_i, \quad z_i \sim \text{Bernoulli}(p)

    This shrinks the expectation to :math:`p x_i`. What is computed, here and
    in every library, is inverted dropout:

    .. math::

        y_i = \frac{x_i \cdot z_i}{p}, \quad p = 1 - r

    :math:`z_i` is 1 where the value is kept, :math:`p` the probability to
    keep and :math:`r` the rate, the probability to drop.

    Args:
        x: Activations, any shape.
        rate: Probability :math:`r` to drop, in [0, 1).
        seed: An int, which gives the same mask at every call, or a
            ``keras.random.SeedGenerator``, which gives a new one.
        training: False gives ``x`` unchanged, as for inference.

    Returns:
        Tensor of the shape of ``x``, its expectation over the seeds ``x``;
        an empty ``x`` gives an empty output.

    Raises:
        ValueError: If ``rate`` is outside [0, 1) or ``seed`` is neither of
            the two.

    References:
        Srivastava et al., Dropout, 2014, https://jmlr.org/papers/v15/srivastava14a.html

    Example:
        >>> from cnnbook.dropout import dropout
        >>> y = dropout([3.0] * 1000, 0.25, seed=0)
        >>> sorted({round(float(v), 4) for v in y})  # dropped, or divided by 0.75
        [0.0, 4.0]
    """
    rate = arguments.number("rate", rate, at_least=0, below=1)
    training = arguments.flag("training", training)
    x, seed = arguments.as_float(x=x), arguments.as_seed(seed)
    return _drop(x, ops.shape(x), rate, seed) if training and rate else x


def spatial_dropout2d(x, rate, *, seed, training=True, data_format=None):
    r"""Dropout of whole feature maps, :eq:`eq-spatial-dropout`.

    .. math::

        y_{n,h,w,c} = \frac{x_{n,h,w,c} \cdot z_{n,c}}{p}, \quad
        z_{n,c} \sim \text{Bernoulli}(p), \quad p = 1 - r

    One draw :math:`z_{n,c}` decides for all pixels :math:`h, w` of channel
    :math:`c` of image :math:`n`.

    Args:
        x: Feature maps, shape ``(N, H, W, C)``, or ``(N, C, H, W)`` with
            ``data_format="channels_first"``.
        rate: Probability :math:`r` to drop a map, in [0, 1).
        seed: An int, which gives the same mask at every call, or a
            ``keras.random.SeedGenerator``, which gives a new one.
        training: False gives ``x`` unchanged, as for inference.
        data_format: ``"channels_last"``, ``"channels_first"`` or None for
            Keras's configured default.

    Returns:
        Tensor of the shape of ``x``; an empty ``x`` gives an empty output.

    Raises:
        ValueError: If ``x`` does not have four dimensions, ``rate`` is
            outside [0, 1), or ``seed`` or ``data_format`` is unknown.

    References:
        Tompson et al., Efficient object localization using convolutional
        networks, 2015, https://arxiv.org/abs/1411.4280

    Example:
        >>> from cnnbook.dropout import spatial_dropout2d
        >>> maps = [[[[1.0] * 100], [[2.0] * 100]]]  # one image, 2x1 pixels, 100 channels
        >>> y = spatial_dropout2d(maps, 0.5, seed=0, data_format="channels_last")
        >>> sorted({(float(a), float(b)) for a, b in zip(y[0, 0, 0], y[0, 1, 0])})
        [(0.0, 0.0), (2.0, 4.0)]
    """
    rate = arguments.number("rate", rate, at_least=0, below=1)
    training = arguments.flag("training", training)
    channels_first = arguments.is_channels_first(data_format)
    x, seed = arguments.as_float(x=x), arguments.as_seed(seed)
    arguments.require_rank("x", x, 4)
    n, *sizes = ops.shape(x)
    mask_shape = (n, sizes[0], 1, 1) if channels_first else (n, 1, 1, sizes[2])
    return _drop(x, mask_shape, rate, seed) if training and rate else x

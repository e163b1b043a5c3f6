"""Channel statistics, and standardizing images by them.

Chapter: ``notebooks/08_preprocessing.ipynb``.
"""

import math
from numbers import Real

import numpy as np
from keras import ops

from cnnbook._shared import arguments

__all__ = ["channel_moments", "standardize", "unstandardize"]

BLOCK = 2**18  # values that are held in float64 at a time, or one image where that is more


def _rank(value):
    """The number of dimensions, where first elements stand for all."""
    if isinstance(value, (list, tuple)):
        return 1 + (_rank(value[0]) if value else 0)
    return len(getattr(value, "shape", ()))


def _is_one_array(images):
    """Whether these are the images themselves, and not batches of them."""
    if isinstance(images, (list, tuple)):
        return len(images) > 0 and not hasattr(images[0], "shape") and _rank(images[0]) < 4
    return hasattr(images, "shape")


def _as_batch(batch, name, channels_first):
    """The batch as a NumPy array of numbers with the channels last."""
    if isinstance(batch, (list, tuple)) and any(hasattr(part, "shape") for part in batch):
        raise ValueError(
            f"{name} must be an array of images, got a {type(batch).__name__} of {len(batch)}; "
            "of pairs (images, labels) pass the images only."
        )
    array = arguments.as_numpy(name, batch)
    arguments.require_rank(name, array, 4)
    return np.moveaxis(array, 1, -1) if channels_first else array


def _moments(batch):
    """(count, mean, sum of squared deviations) of each block of a batch."""
    step = max(1, BLOCK // max(1, batch[:1].size))
    for start in range(0, len(batch), step):
        block = batch[start : start + step].astype("float64")
        count, channels = math.prod(block.shape[:-1]), block.shape[-1]
        if count == 0:
            continue
        values = block.reshape(count, channels)
        origin = values[0].copy()  # so that a channel that never varies gives exactly 0
        values -= origin
        mean = values.mean(axis=0)
        values -= mean
        yield count, origin + mean, np.sum(values**2, axis=0)


def _merge(first, second):
    """Eq. eq-merge-moments."""
    (n1, mean1, m1), (n2, mean2, m2) = first, second
    n, delta = n1 + n2, mean2 - mean1
    return n, mean1 + delta * (n2 / n), m1 + m2 + delta**2 * (n1 * n2 / n)


def channel_moments(images, *, data_format=None):
    r"""Mean and standard deviation of each channel, :eq:`eq-channel-moments`, in one pass.

    .. math::

        \mu_c &= \frac{1}{NHW} \sum_{n=1}^{N} \sum_{i=1}^{H} \sum_{j=1}^{W} X_{n,c,i,j}, \\
        \sigma_c &= \sqrt{\frac{1}{NHW} \sum_{n=1}^{N} \sum_{i=1}^{H} \sum_{j=1}^{W}
        (X_{n,c,i,j} - \mu_c)^2}

    A stream is read batch by batch. What was seen (1) and the next part (2)
    are merged by :eq:`eq-merge-moments`:

    .. math::

        n &= n_1 + n_2, \qquad \delta = \mu_2 - \mu_1 \\
        \mu &= \mu_1 + \delta \, \frac{n_2}{n}, \qquad
        M = M_1 + M_2 + \delta^2 \, \frac{n_1 n_2}{n}

    :math:`X_{n,c,i,j}` is channel :math:`c` of image :math:`n` at row
    :math:`i` and column :math:`j`. In the merge each part has
    :math:`n` values of a channel, their mean :math:`\mu` and the sum
    :math:`M` of their squared distances to it; at the end
    :math:`\sigma = \sqrt{M / n}`.

    Args:
        images: Array or tensor ``(N, H, W, C)`` of any real dtype, or an
            iterable of such batches, read once; batches may differ in all
            sizes but C, and empty ones count for nothing.
        data_format: ``"channels_last"``, ``"channels_first"``
            (``(N, C, H, W)``) or None for Keras's configuration.

    Returns:
        ``(mean, std)``, two NumPy arrays ``(C,)``, always of float64 and
        computed on the CPU in float64, because float32 does not suffice
        for long sums. ``std`` divides by the number of values, not by one
        less; it is 0 for a channel that never varies.

    Raises:
        ValueError: If there are no images, a batch is not an array of
            4 dimensions and real numbers, the batches differ in their
            number of channels, a value is not finite, or ``data_format``
            is unknown.
        TypeError: If ``images`` is neither an array nor an iterable.

    References:
        Chan, Golub and LeVeque, Algorithms for computing the sample
        variance, 1983, https://doi.org/10.1080/00031305.1983.10483115

    Example:
        >>> import numpy as np
        >>> from cnnbook.preprocessing import channel_moments
        >>> images = np.array([1, 2, 3, 7], "uint8").reshape(4, 1, 1, 1)
        >>> mean, std = channel_moments([images[:3], images[3:]])  # as a stream of two batches
        >>> print(mean[0], std[0] ** 2 == 20.75 / 4)
        3.25 True
    """
    channels_first = arguments.is_channels_first(data_format)
    is_array = _is_one_array(images)
    if not is_array and not hasattr(images, "__iter__"):
        raise TypeError(
            f"images must be an array or an iterable of batches, got {type(images).__name__}."
        )
    total = None
    for index, batch in enumerate([images] if is_array else images):
        name = "images" if is_array else f"batch {index} of images"
        batch = _as_batch(batch, name, channels_first)
        if total is not None and batch.shape[-1] != len(total[1]):
            raise ValueError(
                f"{name} has {batch.shape[-1]} channels, but those before have {len(total[1])}."
            )
        with np.errstate(invalid="ignore", over="ignore"):
            for part in _moments(batch):
                total = part if total is None else _merge(total, part)
        if total is not None and not np.isfinite(total[1:]).all():
            raise ValueError(f"{name} must hold finite values only, got NaN or infinity.")
    if total is None or len(total[1]) == 0:
        raise ValueError("images must hold at least one image with pixels, got none.")
    count, mean, squares = total
    return mean, np.sqrt(squares / count)


def _parse(images, mean, std, data_format):
    """Images, and mean and std in a shape that broadcasts over them."""
    channels_first = arguments.is_channels_first(data_format)
    images = arguments.as_float(images=images)
    arguments.require_rank("images", images, 4)
    channels = images.shape[1 if channels_first else -1]
    statistics = []
    for name, value in (("mean", mean), ("std", std)):
        given, value = value, ops.cast(arguments.as_tensor(name, value), images.dtype)
        if len(value.shape) != 1 or channels not in (None, value.shape[0]):
            raise ValueError(
                f"{name} must have shape ({channels},), one number for each channel of images, "
                f"got shape {tuple(value.shape)}."
            )
        _require_values(name, given)
        statistics.append(ops.reshape(value, (-1, 1, 1)) if channels_first else value)
    return images, *statistics


def _require_values(name, numbers):
    """Checks what Python and NumPy hold; the values of tensors are not looked at."""
    is_list = isinstance(numbers, (list, tuple)) and all(isinstance(v, Real) for v in numbers)
    if not (is_list or isinstance(numbers, np.ndarray)):
        return
    for channel, number in enumerate(float(v) for v in numbers):
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {number} for channel {channel}.")
        if name == "std" and number <= 0:
            raise ValueError(
                f"std must be positive, got {number} for channel {channel}; a channel that never "
                "varies says nothing: leave it out, or give it a std of 1."
            )


def standardize(images, mean, std, *, data_format=None):
    r"""Brings each channel to mean 0 and standard deviation 1, :eq:`eq-standardize`.

    .. math::

        X' = \frac{X - \mu}{\sigma}

    :math:`\mu` and :math:`\sigma` hold one number for each channel, from
    :func:`channel_moments` of the *training* images, whichever images
    :math:`X` are.

    Args:
        images: :math:`X`, ``(N, H, W, C)``, integers or floats.
        mean: :math:`\mu`, ``(C,)``, in the unit of the images.
        std: :math:`\sigma`, ``(C,)``, positive, in the unit of the images.
        data_format: ``"channels_last"``, ``"channels_first"``
            (``(N, C, H, W)``) or None for Keras's configuration.

    Returns:
        Tensor of the shape of ``images`` and of their float dtype, float32
        for integers; ``mean`` and ``std`` are cast to it.

    Raises:
        ValueError: If ``images`` has not 4 dimensions, the channels of
            ``mean`` or ``std`` do not match, one of their values is not
            finite or a ``std`` not positive (Python's and NumPy's are
            checked, not those of tensors), or ``data_format`` is unknown.

    References:
        LeCun, Bottou, Orr and Müller, Efficient BackProp, 2012,
        https://doi.org/10.1007/978-3-642-35289-8_3

    Example:
        >>> import numpy as np
        >>> from cnnbook.preprocessing import standardize
        >>> pixel = np.array([200, 50, 190], "uint8").reshape(1, 1, 1, 3)
        >>> x = standardize(pixel, [100, 50, 200], [50, 25, 10], data_format="channels_last")
        >>> [float(v) for v in x[0, 0, 0]]
        [2.0, 0.0, -1.0]
    """
    images, mean, std = _parse(images, mean, std, data_format)
    return (images - mean) / std


def unstandardize(images, mean, std, *, data_format=None):
    r"""The inverse of :func:`standardize`, :eq:`eq-unstandardize`, to look at images again.

    .. math::

        X = \sigma X' + \mu

    The symbols are those of :func:`standardize`.

    Args:
        images: :math:`X'`, ``(N, H, W, C)``, integers or floats.
        mean: :math:`\mu`, ``(C,)``, as it was subtracted.
        std: :math:`\sigma`, ``(C,)``, as it divided.
        data_format: As in :func:`standardize`.

    Returns:
        Tensor of the shape of ``images`` and of their float dtype. Nothing
        is rounded or clipped: do both before a cast to uint8.

    Raises:
        ValueError: As :func:`standardize`.

    References:
        LeCun, Bottou, Orr and Müller, Efficient BackProp, 2012,
        https://doi.org/10.1007/978-3-642-35289-8_3

    Example:
        >>> import numpy as np
        >>> from cnnbook.preprocessing import unstandardize
        >>> x = np.array([2.0, 0.0, -1.0]).reshape(1, 1, 1, 3)
        >>> x = unstandardize(x, [100, 50, 200], [50, 25, 10], data_format="channels_last")
        >>> [float(v) for v in x[0, 0, 0]]
        [200.0, 50.0, 190.0]
    """
    images, mean, std = _parse(images, mean, std, data_format)
    return std * images + mean

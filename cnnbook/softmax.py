"""Softmax, its logarithm and its gradient.

Chapter: ``notebooks/07_softmax.ipynb``.
"""

from keras import ops

from cnnbook._shared import arguments

__all__ = ["log_softmax", "softmax", "softmax_gradient"]


def _shifted(logits, axis, temperature):
    """(z - m) / T: never above 0, so that its exponential never overflows."""
    logits = arguments.as_float(logits=logits)
    axis = arguments.as_axis(axis, "logits", logits)
    temperature = arguments.number("temperature", temperature, above=0)
    if 0 in logits.shape:  # nothing to shift, and the maximum of no numbers is an error
        return logits
    largest = ops.stop_gradient(ops.max(logits, axis=axis, keepdims=True))
    return (logits - largest) / temperature


def softmax(logits, *, axis=-1, temperature=1.0):
    r"""Probabilities from logits, :eq:`eq-softmax`; with temperature :eq:`eq-softmax-temperature`.

    .. math::

        \text{softmax}(z_i) = \frac{e^{z_i}}{\sum_{j} e^{z_j}}

    With a temperature, and computed so that nothing overflows:

    .. math::

        \text{softmax}(z_i / T) = \frac{e^{z_i / T}}{\sum_{j} e^{z_j / T}}
        = \frac{e^{(z_i - m) / T}}{\sum_{j} e^{(z_j - m) / T}}, \qquad m = \max_j z_j

    :math:`z` are the logits along ``axis``, one for each class;
    :math:`T` is the temperature: above 1 it flattens the probabilities,
    below 1 it sharpens them, and it never changes their order.

    Args:
        logits: :math:`z`, an array of at least one axis, any real values;
            :math:`-\infty` stands for a class that is ruled out.
        axis: The axis of the classes, an int.
        temperature: :math:`T > 0`, a Python number.

    Returns:
        Tensor of the shape of ``logits``, values in [0, 1] that sum to 1
        along ``axis``. An empty batch gives an empty output; where all
        classes are :math:`-\infty` the result is NaN.

    Raises:
        ValueError: If ``axis`` is out of range or ``temperature`` is not a
            positive finite number.

    References:
        Bridle, Probabilistic interpretation of feedforward classification
        network outputs, 1990, https://doi.org/10.1007/978-3-642-76153-9_28;
        Hinton, Vinyals and Dean, Distilling the knowledge in a neural
        network, 2015 (the temperature), https://arxiv.org/abs/1503.02531

    Example:
        >>> import math
        >>> from cnnbook.softmax import softmax
        >>> [round(float(p), 4) for p in softmax([0.0, 0.0, math.log(2.0)])]  # 1 : 1 : 2
        [0.25, 0.25, 0.5]
        >>> [float(p) for p in softmax([1000.0, 1000.0])]
        [0.5, 0.5]
    """
    exponentials = ops.exp(_shifted(logits, axis, temperature))
    return exponentials / ops.sum(exponentials, axis=axis, keepdims=True)


def log_softmax(logits, *, axis=-1, temperature=1.0):
    r"""Logarithms of the probabilities, :eq:`eq-log-softmax`.

    .. math::

        \log \text{softmax}(z_i / T) = \frac{z_i - m}{T} - \log \sum_{j} e^{(z_j - m) / T},
        \qquad m = \max_j z_j

    The symbols are those of :func:`softmax`. A probability too small for a
    float is 0 and its logarithm :math:`-\infty`; here no small number is
    ever formed, so that the result stays finite and exact.

    Args:
        logits: :math:`z`, an array of at least one axis, any real values.
        axis: The axis of the classes, an int.
        temperature: :math:`T > 0`, a Python number.

    Returns:
        Tensor of the shape of ``logits``, natural logarithms, at most 0.
        An empty batch gives an empty output.

    Raises:
        ValueError: If ``axis`` is out of range or ``temperature`` is not a
            positive finite number.

    References:
        Blanchard, Higham and Higham, Accurately computing the log-sum-exp
        and softmax functions, 2021, https://doi.org/10.1093/imanum/draa038

    Example:
        >>> from cnnbook.softmax import log_softmax
        >>> [float(v) for v in log_softmax([0.0, 1000.0])]  # softmax gives 0 and 1
        [-1000.0, 0.0]
    """
    shifted = _shifted(logits, axis, temperature)
    return shifted - ops.log(ops.sum(ops.exp(shifted), axis=axis, keepdims=True))


def softmax_gradient(probabilities, output_gradient, *, axis=-1, temperature=1.0):
    r"""Gradient of a loss through :func:`softmax`, :eq:`eq-softmax-gradient`.

    .. math::

        \frac{\partial L}{\partial z_i} = \frac{p_i}{T} \Bigl( \frac{\partial L}{\partial p_i}
        - \sum_{j} p_j \frac{\partial L}{\partial p_j} \Bigr)

    :math:`p` are the probabilities that the forward pass gave, :math:`z` its
    logits and :math:`T` its temperature. The gradients sum to 0 along
    ``axis``, because adding a constant to all logits changes nothing.

    Args:
        probabilities: :math:`p`, what :func:`softmax` returned.
        output_gradient: :math:`\partial L / \partial p`, the same shape.
        axis: As in the forward pass.
        temperature: As in the forward pass.

    Returns:
        :math:`\partial L / \partial z`, a tensor of the same shape.

    Raises:
        ValueError: If the shapes differ, ``axis`` is out of range or
            ``temperature`` is not a positive finite number.

    References:
        Bridle, Probabilistic interpretation of feedforward classification
        network outputs, 1990, https://doi.org/10.1007/978-3-642-76153-9_28

    Example:
        >>> from cnnbook.softmax import softmax_gradient
        >>> [float(v) for v in softmax_gradient([0.25, 0.25, 0.5], [4.0, 0.0, 0.0])]
        [0.75, -0.25, -0.5]
    """
    p, dp = arguments.as_float(probabilities=probabilities, output_gradient=output_gradient)
    if tuple(p.shape) != tuple(dp.shape):
        raise ValueError(
            f"output_gradient must have the shape of probabilities {tuple(p.shape)}, "
            f"got {tuple(dp.shape)}."
        )
    axis = arguments.as_axis(axis, "probabilities", p)
    temperature = arguments.number("temperature", temperature, above=0)
    return p * (dp - ops.sum(p * dp, axis=axis, keepdims=True)) / temperature

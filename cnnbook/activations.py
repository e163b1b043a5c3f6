"""Activation functions: the bend between two convolutions.

Chapter: ``notebooks/02_activations.ipynb``.
"""

import math

from keras import ops

from cnnbook._shared import arguments

__all__ = ["gelu", "hard_silu", "leaky_relu", "relu", "relu_gradient", "silu"]


def _sigmoid(x):
    """1 / (1 + e^-x) with an exponent that is never positive: it cannot overflow."""
    negative = x < 0
    e = ops.exp(ops.where(negative, x, -x))
    return ops.where(negative, e, ops.ones_like(e)) / (1.0 + e)


def relu(x):
    r"""Rectified linear unit, :eq:`eq-relu`.

    .. math::

        f(x) = \max(0, x)

    :math:`x` is one entry; the function acts on each entry alone.

    Under automatic differentiation the slope at exactly 0 is 0 on every
    backend, as :func:`relu_gradient` has it. (``keras.ops.maximum(0, x)``
    has the same values, but there the slope at 0 is one half on JAX and
    PyTorch, and on TensorFlow it depends on the order of the arguments.)

    Args:
        x: Tensor :math:`x` of any shape.

    Returns:
        Tensor of the same shape, no entry below 0; NaN stays NaN.

    Raises:
        Nothing of its own: every tensor has a ReLU.

    References:
        Nair and Hinton, Rectified linear units improve restricted Boltzmann
        machines, 2010, https://icml.cc/Conferences/2010/papers/432.pdf

    Example:
        >>> from cnnbook.activations import relu
        >>> [float(v) for v in relu([-2.0, 0.0, 3.0])]
        [0.0, 0.0, 3.0]
    """
    x = arguments.as_float(x=x)
    return ops.where(x <= 0, ops.zeros_like(x), x)


def relu_gradient(x, output_gradient):
    r"""Gradient of a loss through :func:`relu`, :eq:`eq-relu-gradient`.

    .. math::

        \frac{\partial L}{\partial x} = \frac{\partial L}{\partial f} \cdot \mathbb{I}[x > 0]

    :math:`f` is the ReLU's output, :math:`L` the loss, and
    :math:`\mathbb{I}` is 1 where the condition holds, else 0. At 0 ReLU has
    no derivative; every number in [0, 1] is a subgradient. The choice here
    is 0, as in ``keras.ops.relu`` on TensorFlow, JAX and PyTorch.

    Args:
        x: What the ReLU was applied to, any shape.
        output_gradient: :math:`\partial L / \partial f`, the shape of ``x``.

    Returns:
        Tensor :math:`\partial L / \partial x` of the shape of ``x``; 0 where
        ``x`` is 0, negative or NaN.

    Raises:
        ValueError: If the two shapes differ.

    References:
        Nair and Hinton, Rectified linear units improve restricted Boltzmann
        machines, 2010, https://icml.cc/Conferences/2010/papers/432.pdf

    Example:
        >>> from cnnbook.activations import relu_gradient
        >>> [float(v) for v in relu_gradient([-2.0, 0.0, 3.0], [10.0, 10.0, 10.0])]
        [0.0, 0.0, 10.0]
    """
    x, dy = arguments.as_float(x=x, output_gradient=output_gradient)
    if tuple(x.shape) != tuple(dy.shape):
        raise ValueError(
            f"output_gradient must have the shape of x {tuple(x.shape)}, got {tuple(dy.shape)}."
        )
    return ops.where(x > 0, dy, ops.zeros_like(dy))


def leaky_relu(x, *, negative_slope):
    r"""ReLU that lets a share of the negative side through, :eq:`eq-leaky-relu`.

    .. math::

        f(x) = \max(0, x) + \alpha \min(0, x)

    Under automatic differentiation the slope at exactly 0 is :math:`\alpha`.

    Args:
        x: Tensor :math:`x` of any shape.
        negative_slope: :math:`\alpha`, at least 0. There is no default:
            ``keras.ops.leaky_relu`` takes 0.2, ``keras.layers.LeakyReLU``
            0.3 and PyTorch 0.01.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: If ``negative_slope`` is not a finite number of at least 0.

    References:
        Maas, Hannun and Ng, Rectifier nonlinearities improve neural network
        acoustic models, 2013,
        https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf

    Example:
        >>> from cnnbook.activations import leaky_relu
        >>> [float(v) for v in leaky_relu([-2.0, 0.0, 3.0], negative_slope=0.5)]
        [-1.0, 0.0, 3.0]
    """
    alpha = arguments.number("negative_slope", negative_slope, at_least=0)
    x = arguments.as_float(x=x)
    return ops.where(x > 0, x, alpha * x)


def gelu(x, *, approximate=False):
    r"""Gaussian error linear unit, :eq:`eq-gelu`, or its approximation :eq:`eq-gelu-tanh`.

    .. math::

        f(x) = x \, \Phi(x)
        = \frac{x}{2} \left(1 + \mathrm{erf}\left(\frac{x}{\sqrt{2}}\right)\right)

    With ``approximate=True``:

    .. math::

        f(x) = \frac{x}{2} \left(1 + \tanh\left(\sqrt{\frac{2}{\pi}}
        \left(x + 0.044715 \, x^3\right)\right)\right)

    :math:`\Phi(x)` is the probability that a standard normal number is
    below :math:`x`, and :math:`\mathrm{erf}` is the error function.

    Args:
        x: Tensor :math:`x` of any shape.
        approximate: Whether to use the second formula. The default is that
            of ``keras.activations.gelu`` and PyTorch; ``keras.ops.gelu``
            approximates unless told otherwise.

    Returns:
        Tensor of the same shape, no entry below -0.171.

    Raises:
        ValueError: If ``approximate`` is not a bool.

    References:
        Hendrycks and Gimpel, Gaussian error linear units (GELUs), 2016,
        https://arxiv.org/abs/1606.08415

    Example:
        >>> from cnnbook.activations import gelu
        >>> [round(float(v), 4) for v in gelu([-1.0, 0.0, 1.0])]
        [-0.1587, 0.0, 0.8413]
    """
    x = arguments.as_float(x=x)
    if arguments.flag("approximate", approximate):
        return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1.0 + ops.erf(x / math.sqrt(2)))


def silu(x):
    r"""Sigmoid linear unit, also called Swish, :eq:`eq-silu`.

    .. math::

        f(x) = x \, \sigma(x) = \frac{x}{1 + e^{-x}}

    :math:`\sigma` is the sigmoid. It is computed without overflow: value and
    gradient are finite for every finite :math:`x`.

    Args:
        x: Tensor :math:`x` of any shape.

    Returns:
        Tensor of the same shape, no entry below -0.279.

    Raises:
        Nothing of its own: every tensor has a SiLU.

    References:
        Elfwing, Uchibe and Doya, Sigmoid-weighted linear units for neural
        network function approximation in reinforcement learning, 2017,
        https://arxiv.org/abs/1702.03118

    Example:
        >>> from cnnbook.activations import silu
        >>> [round(float(v), 4) for v in silu([-1.0, 0.0, 1.0])]
        [-0.2689, 0.0, 0.7311]
    """
    x = arguments.as_float(x=x)
    return x * _sigmoid(x)


def hard_silu(x):
    r"""SiLU with straight lines for the sigmoid, also called hard Swish, :eq:`eq-hard-silu`.

    .. math::

        f(x) = x \cdot \frac{\min(\max(x + 3, 0), 6)}{6}

    It is 0 below -3, :math:`x` above 3 and a parabola between, and needs no
    exponential.

    Args:
        x: Tensor :math:`x` of any shape.

    Returns:
        Tensor of the same shape, no entry below -0.375.

    Raises:
        Nothing of its own: every tensor has a hard SiLU.

    References:
        Howard et al., Searching for MobileNetV3, 2019,
        https://arxiv.org/abs/1905.02244

    Example:
        >>> from cnnbook.activations import hard_silu
        >>> [round(float(v), 4) for v in hard_silu([-1.0, 1.0, 4.0])]
        [-0.3333, 0.6667, 4.0]
    """
    x = arguments.as_float(x=x)
    return x * ops.minimum(ops.maximum(x + 3.0, 0.0), 6.0) / 6.0

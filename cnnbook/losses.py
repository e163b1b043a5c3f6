"""Losses: cross-entropy and its gradient, squared error, binary cross-entropy, focal loss.

Chapter: ``notebooks/10_losses.ipynb``.
"""

from keras import ops

from cnnbook._shared import arguments, labels
from cnnbook._shared.tracing import values_of
from cnnbook.softmax import log_softmax, softmax

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "cross_entropy_gradient",
    "focal_loss",
    "mean_squared_error",
]


def _share(label_smoothing):
    return arguments.number("label_smoothing", label_smoothing, at_least=0, below=1)


def _smoothed(y, share):
    return (1 - share) * y + share / y.shape[-1]


def _same_shape(y_true, y_pred):
    """Both as floats."""
    y_true, y_pred = arguments.as_float(y_true=y_true, y_pred=y_pred)
    labels.require_same_shape("y_true", y_true, "y_pred", y_pred)
    return y_true, y_pred


def _log(p, weight):
    """log p, and 0 where its weight is 0: the limit of p log p, with a gradient."""
    return ops.log(ops.where(ops.equal(weight, 0), 1.0, p))


def _log_sigmoid(z):
    size = ops.abs(z)
    return z / 2 - size / 2 - ops.log1p(ops.exp(-size))


def cross_entropy(y_true, y_pred, *, from_logits=False, label_smoothing=0.0, reduction="mean"):
    r"""Cross-entropy :eq:`eq-cross-entropy`, its mean and labels smoothed.

    The sum over the batch, ``reduction="sum"``, is

    .. math::

        \mathcal{L}_{CE} = -\sum_{i=1}^{N} \sum_{c=1}^{C} y_{i,c} \log(\hat{y}_{i,c})

    and the mean, ``reduction="mean"`` and the default, is :eq:`eq-cross-entropy-mean`

    .. math::

        \bar{\mathcal{L}}_{CE} = \frac{1}{N} \mathcal{L}_{CE}

    With ``label_smoothing`` :math:`y` is first replaced by :math:`y'`, :eq:`eq-label-smoothing`:

    .. math::

        y'_{i,c} = (1 - u)\, y_{i,c} + \frac{u}{C}

    :math:`N` is the number of rows (examples; of pixels in a segmentation),
    :math:`C` the number of classes, :math:`y_{i,c}` the truth,
    :math:`\hat{y}_{i,c}` the predicted probability, :math:`\log` the natural
    logarithm, and :math:`u` the share of each label that is spread evenly.
    With ``from_logits`` :math:`\log \hat{y}` is
    :func:`~cnnbook.softmax.log_softmax` of ``y_pred``, which stays finite.
    Nothing is clipped: a probability of 0 where :math:`y > 0` costs
    :math:`\infty`, and :math:`0 \log 0` is 0, its limit.

    Values are checked where they are known, which is outside compiled
    functions. Inside one, a label out of range makes the loss NaN, and other
    values are used as they are. ``y_true`` is a constant: gradients are with
    respect to ``y_pred``.

    Args:
        y_true: :math:`y`, integers of shape ``(...)`` from 0 to C - 1, or
            rows of shape ``(..., C)``, one-hot or any probabilities.
        y_pred: :math:`\hat{y}`, probabilities, or logits with
            ``from_logits``, shape ``(..., C)``.
        from_logits: Whether ``y_pred`` holds logits.
        label_smoothing: :math:`u`, a Python number, 0 or more and below 1.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each
            row.

    Returns:
        A scalar tensor, or one of shape ``(...)`` for ``"none"``; at least 0,
        lower is better, :math:`\log C` for equal probabilities. An empty
        batch has the sum 0 and the mean NaN.

    Raises:
        ValueError: If the shapes do not belong together, if labels are no
            integers or out of range, if a row of ``y_true``, or of ``y_pred``
            without ``from_logits``, is negative or does not sum to 1 (within
            0.001; 0.01 in 16 bits), if ``label_smoothing`` is outside
            [0, 1), or if ``reduction`` is unknown.

    References:
        Szegedy et al., Rethinking the Inception architecture for computer
        vision, 2016 (label smoothing), https://arxiv.org/abs/1512.00567

    Example:
        >>> from cnnbook.losses import cross_entropy
        >>> round(float(cross_entropy([1, 0], [[0.5, 0.5], [0.25, 0.75]])), 4)  # log 2, log 4
        1.0397
        >>> round(float(cross_entropy([0], [[0.0, 200.0]], from_logits=True)), 4)
        200.0
    """
    labels.require_reduction(reduction)
    share = _share(label_smoothing)
    from_logits = arguments.flag("from_logits", from_logits)
    y, y_pred = labels.rows(y_true, y_pred, "y_pred")
    y = _smoothed(y, share)
    if from_logits:
        logs = ops.where(ops.equal(y, 0), 0.0, log_softmax(y_pred))
    else:
        labels.require_distributions("y_pred", y_pred)
        logs = _log(y_pred, y)
    return labels.reduce(-ops.sum(y * logs, axis=-1), reduction)


def cross_entropy_gradient(y_true, logits, *, label_smoothing=0.0, reduction="mean"):
    r"""Gradient of :func:`cross_entropy` with respect to logits, :eq:`eq-cross-entropy-gradient`.

    .. math::

        \frac{\partial \mathcal{L}_{CE}}{\partial z_{i,c}} = \hat{y}_{i,c} - y_{i,c}, \qquad
        \frac{\partial \bar{\mathcal{L}}_{CE}}{\partial z_{i,c}}
        = \frac{1}{N} (\hat{y}_{i,c} - y_{i,c})

    :math:`z` are the logits, :math:`\hat{y} = \text{softmax}(z)`; the other
    symbols are those of :func:`cross_entropy`. The left form belongs to
    ``reduction="sum"``, the right one to ``"mean"``. Each row sums to 0.

    Args:
        y_true: :math:`y`, as for :func:`cross_entropy`.
        logits: :math:`z`, shape ``(..., C)``.
        label_smoothing: As for :func:`cross_entropy`; the gradient then has
            the smoothed labels for :math:`y`.
        reduction: That of the loss. For ``"none"`` each row is the gradient
            of its own loss, the same numbers as for ``"sum"``.

    Returns:
        Tensor of the shape of ``logits``; each value lies between -1 and 1.

    Raises:
        ValueError: As :func:`cross_entropy`.

    References:
        Bridle, Probabilistic interpretation of feedforward classification
        network outputs, 1990, https://doi.org/10.1007/978-3-642-76153-9_28

    Example:
        >>> from cnnbook.losses import cross_entropy_gradient
        >>> g = cross_entropy_gradient([1], [[0.0, 0.0]])
        >>> [float(v) for v in g[0]]
        [0.5, -0.5]
    """
    labels.require_reduction(reduction)
    share = _share(label_smoothing)
    y, logits = labels.rows(y_true, logits, "logits")
    return labels.reduce_gradient(softmax(logits) - _smoothed(y, share), reduction)


def mean_squared_error(y_true, y_pred, *, reduction="mean"):
    r"""Mean of the squared differences, :eq:`eq-mse`.

    .. math::

        \mathcal{L}_{MSE} = \frac{1}{N} \sum_{i=1}^{N} (y_i - \hat{y}_i)^2

    :math:`y_i` and :math:`\hat{y}_i` are the true and the predicted values
    and :math:`N` counts all of them, not the examples: ten outputs for each
    of 64 images are 640 values.

    Args:
        y_true: :math:`y`, any shape, any real values.
        y_pred: :math:`\hat{y}`, the same shape.
        reduction: ``"mean"``, ``"sum"`` (without the division by
            :math:`N`), or ``"none"`` for each squared difference. Keras takes
            the mean over the last axis first: its ``"sum"`` and its
            ``reduction=None`` hold these means.

    Returns:
        A scalar tensor, or one of the shape of ``y_pred`` for ``"none"``; at
        least 0, lower is better. No values have the sum 0 and the mean NaN.

    Raises:
        ValueError: If the shapes differ (nothing is broadcast) or
            ``reduction`` is unknown.

    References:
        Bishop, Pattern Recognition and Machine Learning, 2006, section 1.2.5

    Example:
        >>> from cnnbook.losses import mean_squared_error
        >>> float(mean_squared_error([1.0, 2.0], [1.0, 4.0]))
        2.0
    """
    labels.require_reduction(reduction)
    y_true, y_pred = _same_shape(y_true, y_pred)
    difference = y_true - y_pred
    return labels.reduce(difference * difference, reduction)


def binary_cross_entropy(
    y_true, y_pred, *, from_logits=False, label_smoothing=0.0, reduction="mean"
):
    r"""Cross-entropy of yes-or-no questions, each with one output.

    The loss of one output is :eq:`eq-binary-cross-entropy`

    .. math::

        \ell_i = -y_i \log(\hat{y}_i) - (1 - y_i) \log(1 - \hat{y}_i)

    and with ``from_logits``, where :math:`\hat{y}_i = \sigma(z_i)` and
    :math:`1 - \hat{y}_i = \sigma(-z_i)`, both logarithms are :eq:`eq-log-sigmoid`

    .. math::

        \log \sigma(z) = \frac{z}{2} - \frac{|z|}{2} - \log(1 + e^{-|z|})

    :math:`y_i` is the truth, :math:`\hat{y}_i` the predicted probability of
    yes, :math:`z_i` its logit, :math:`\sigma(z) = 1 / (1 + e^{-z})`. The
    second form never overflows, and its gradient :math:`\hat{y}_i - y_i` is
    right at :math:`z = 0` too. As in :func:`cross_entropy` nothing is
    clipped, :math:`0 \log 0` is 0, and values are checked where they are
    known. ``label_smoothing`` is that of :func:`cross_entropy` with
    :math:`C = 2`: :math:`y' = (1 - u)\, y + u / 2`.

    Args:
        y_true: :math:`y`, any shape, 0 for no to 1 for yes.
        y_pred: :math:`\hat{y}`, or :math:`z` with ``from_logits``, the same
            shape.
        from_logits: Whether ``y_pred`` holds logits.
        label_smoothing: :math:`u`, a Python number, 0 or more and below 1.
        reduction: ``"mean"`` over all values, ``"sum"``, or ``"none"`` for the
            loss of each. Keras takes the mean over the last axis first.

    Returns:
        A scalar tensor, or one of the shape of ``y_pred`` for ``"none"``; at
        least 0, lower is better, :math:`\log 2` for a probability of one
        half. No values have the sum 0 and the mean NaN.

    Raises:
        ValueError: If the shapes differ, if ``y_true``, or ``y_pred`` without
            ``from_logits``, is not between 0 and 1, if ``label_smoothing`` is
            outside [0, 1), or if ``reduction`` is unknown.

    References:
        Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.2

    Example:
        >>> from cnnbook.losses import binary_cross_entropy
        >>> round(float(binary_cross_entropy([1.0, 0.0], [0.5, 0.75])), 4)  # log 2, log 4
        1.0397
    """
    labels.require_reduction(reduction)
    share = _share(label_smoothing)
    from_logits = arguments.flag("from_logits", from_logits)
    y, y_pred = _same_shape(y_true, y_pred)
    labels.require_between_0_and_1("y_true", y)
    y = (1 - share) * y + share / 2
    log_yes, log_no = _binary_logs(y, y_pred, from_logits)
    return labels.reduce(-y * log_yes - (1 - y) * log_no, reduction)


def _binary_logs(y, y_pred, from_logits):
    if from_logits:
        return _log_sigmoid(y_pred), _log_sigmoid(-y_pred)
    labels.require_between_0_and_1("y_pred", y_pred)
    return _log(y_pred, y), _log(1 - y_pred, 1 - y)


def focal_loss(y_true, y_pred, *, gamma=2.0, alpha=0.25, from_logits=False, reduction="mean"):
    r"""Binary cross-entropy in which easy examples count less, :eq:`eq-focal-loss`.

    .. math::

        \ell_i = -\alpha_i (1 - p_i)^\gamma \log(p_i), \qquad
        (p_i, \alpha_i) = \begin{cases} (\hat{y}_i, \alpha) & \text{if } y_i = 1 \\
        (1 - \hat{y}_i, 1 - \alpha) & \text{if } y_i = 0 \end{cases}

    :math:`\hat{y}_i` is the predicted probability of yes and :math:`p_i`
    that of the right answer; :math:`\gamma` sets how fast an easy example
    loses its weight, :math:`\alpha` weighs yes against no. It is the binary
    form of its paper, one question to each output; with several classes it
    asks for each class separately. With ``from_logits`` the logarithm is that
    of :func:`binary_cross_entropy`, and :math:`1 - p` is computed as the
    sigmoid of minus the logit, without cancellation.

    Args:
        y_true: :math:`y`, any shape, each value 0 or 1.
        y_pred: :math:`\hat{y}`, or logits with ``from_logits``, the same
            shape.
        gamma: :math:`\gamma`, a finite Python number, 0 or more; with 0 and
            ``alpha=None`` it is :func:`binary_cross_entropy`.
        alpha: :math:`\alpha`, a Python number from 0 to 1, or None for
            :math:`\alpha_i = 1`, which is what Keras does unless told
            ``apply_class_balancing=True``.
        from_logits: Whether ``y_pred`` holds logits.
        reduction: ``"mean"`` over all values, ``"sum"``, or ``"none"``. The
            paper divides the sum by the number of objects in the image.

    Returns:
        A scalar tensor, or one of the shape of ``y_pred`` for ``"none"``; at
        least 0, lower is better; :math:`\infty` for a probability of 0 for
        the right answer. No values have the sum 0 and the mean NaN.

    Raises:
        ValueError: If the shapes differ, if ``y_true`` is not 0 or 1, if
            ``y_pred`` without ``from_logits`` is not between 0 and 1, if
            ``gamma`` or ``alpha`` is out of range, or if ``reduction`` is
            unknown.

    References:
        Lin et al., Focal loss for dense object detection, 2017,
        https://arxiv.org/abs/1708.02002

    Example:
        >>> from cnnbook.losses import focal_loss
        >>> round(float(focal_loss([1], [0.5], alpha=None)), 4)  # a quarter of log 2
        0.1733
    """
    labels.require_reduction(reduction)
    from_logits = arguments.flag("from_logits", from_logits)
    gamma = arguments.number("gamma", gamma, at_least=0)
    if alpha is not None:
        alpha = arguments.number("alpha", alpha, at_least=0, at_most=1)
    y, y_pred = _same_shape(y_true, y_pred)
    values = values_of(y)
    if values is not None:
        labels.require_values("y_true", values, (values == 0) | (values == 1), "be 0 or 1")
    log_yes, log_no = _binary_logs(y, y_pred, from_logits)
    yes, no = (ops.exp(log_yes), ops.exp(log_no)) if from_logits else (y_pred, 1 - y_pred)
    is_yes = ops.equal(y, 1)
    logs, wrong = ops.where(is_yes, log_yes, log_no), ops.where(is_yes, no, yes)
    weights = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    return labels.reduce(-weights * _power(wrong, gamma) * logs, reduction)


def _power(base, exponent):
    """base ** exponent for numbers from 0, whose gradient at 0 is 0 where autodiff's is NaN."""
    if exponent == 0:
        return 1.0
    is_zero = ops.equal(base, 0)
    return ops.where(is_zero, 0.0, ops.where(is_zero, 1.0, base) ** exponent)

"""Optimizers: gradient descent, momentum, Adam, AdamW, and a schedule of the learning rate.

Chapter: ``notebooks/11_optimizers.ipynb``.
"""

import math
from numbers import Real

import numpy as np
from keras import ops

from cnnbook._shared import arguments

__all__ = [
    "adam_state",
    "adam_step",
    "adamw_step",
    "cosine_schedule",
    "momentum_step",
    "sgd_step",
]


def _scalar(name, value):
    """A Python number of at least 0, or a tensor without axes, whose value is not looked at."""
    if not hasattr(value, "shape") or isinstance(value, (Real, np.bool_)):
        return arguments.number(name, value, at_least=0)
    value = arguments.as_tensor(name, value)
    if tuple(value.shape) != ():
        raise ValueError(f"{name} must be one number, got shape {tuple(value.shape)}.")
    return value


def _require_list(name, arrays):
    if not isinstance(arrays, (list, tuple)):
        raise ValueError(f"{name} must be a list of arrays, got {type(arrays).__name__}.")


def _aligned(parameters, **lists):
    """For each parameter the tensors that belong to it: itself, its gradient, its averages."""
    _require_list("parameters", parameters)
    for name, arrays in lists.items():
        _require_list(name, arrays)
        if len(arrays) != len(parameters):
            raise ValueError(
                f"{name} has {len(arrays)} arrays, but parameters has {len(parameters)}."
            )
    rows = []
    for i, arrays in enumerate(zip(parameters, *lists.values(), strict=True)):
        named = {
            f"{name}[{i}]": array
            for name, array in zip(("parameters", *lists), arrays, strict=True)
        }
        row = arguments.as_float(**named)
        row = row if lists else [row]
        for name, tensor in zip(lists, row[1:], strict=True):
            if tuple(tensor.shape) != tuple(row[0].shape):
                raise ValueError(
                    f"{name}[{i}] has shape {tuple(tensor.shape)}, "
                    f"but parameters[{i}] has shape {tuple(row[0].shape)}."
                )
        rows.append(row)
    return rows


def _rate_for(rate, tensor):
    return rate if isinstance(rate, float) else ops.cast(rate, tensor.dtype)


def sgd_step(parameters, gradients, *, learning_rate):
    r"""One step of gradient descent, :eq:`eq-sgd`.

    .. math::

        \theta_{t+1} = \theta_t - \eta \nabla_\theta \mathcal{L}

    :math:`\theta` are the parameters, :math:`\eta` is the learning rate and
    :math:`\nabla_\theta \mathcal{L}` the gradient of the loss. It is called
    stochastic because the loss is that of a batch drawn at random.

    Args:
        parameters: :math:`\theta_t`, a list of arrays of any shapes.
        gradients: :math:`\nabla_\theta \mathcal{L}`, a list of arrays of the
            same shapes.
        learning_rate: :math:`\eta`, a number of at least 0, or a scalar
            tensor, whose value is not checked.

    Returns:
        :math:`\theta_{t+1}`, a list of tensors; an empty list for no
        parameters. What was given is left as it is.

    Raises:
        ValueError: If the lists are no lists, differ in length or shapes or
            hold None, or ``learning_rate`` is negative, infinite or not one
            number.

    References:
        Robbins and Monro, A stochastic approximation method, 1951,
        https://doi.org/10.1214/aoms/1177729586

    Example:
        >>> from cnnbook.optimizers import sgd_step
        >>> (w,) = sgd_step([[1.0, 2.0]], [[0.5, -1.0]], learning_rate=0.5)
        >>> [float(v) for v in w]  # 1 - 0.5 * 0.5, 2 + 0.5 * 1
        [0.75, 2.5]
    """
    rate = _scalar("learning_rate", learning_rate)
    return [p - _rate_for(rate, p) * g for p, g in _aligned(parameters, gradients=gradients)]


def momentum_step(parameters, gradients, velocity, *, learning_rate, momentum=0.9, nesterov=False):
    r"""One step with momentum, :eq:`eq-momentum`, or with Nesterov's, :eq:`eq-nesterov`.

    .. math::

        u_t &= \rho u_{t-1} - \eta g_t, \qquad u_0 = 0 \\
        \theta_{t+1} &= \theta_t + u_t

    With ``nesterov`` the velocity is the same, and the step looks ahead:

    .. math::

        \theta_{t+1} = \theta_t + \rho u_t - \eta g_t

    :math:`u` is the velocity, :math:`\rho` the momentum, :math:`\eta` the
    learning rate and :math:`g_t` the gradient at :math:`\theta_t`. Steps
    :math:`t` count from 1. The learning rate is inside the velocity, as in
    Keras; PyTorch multiplies by it outside, which differs once it changes.

    Args:
        parameters: :math:`\theta_t`, a list of arrays of any shapes.
        gradients: :math:`g_t`, a list of arrays of the same shapes.
        velocity: :math:`u_{t-1}`, a list of arrays of the same shapes; zeros
            before the first step.
        learning_rate: :math:`\eta`, a number of at least 0, or a scalar
            tensor, whose value is not checked.
        momentum: :math:`\rho`, a number, at least 0 and less than 1.
        nesterov: Whether to take Nesterov's step.

    Returns:
        ``(parameters, velocity)``, :math:`\theta_{t+1}` and :math:`u_t`, two
        lists of tensors. What was given is left as it is.

    Raises:
        ValueError: If the lists are no lists, differ in length or shapes or
            hold None, ``learning_rate`` is negative, infinite or not one
            number, or ``momentum`` is out of range.

    References:
        Polyak, Some methods of speeding up the convergence of iteration
        methods, 1964, https://doi.org/10.1016/0041-5553(64)90137-5;
        Sutskever et al., On the importance of initialization and momentum in
        deep learning, 2013, https://proceedings.mlr.press/v28/sutskever13.html

    Example:
        >>> from cnnbook.optimizers import momentum_step
        >>> w, u = [4.0], [0.0]
        >>> for _ in range(2):
        ...     w, u = momentum_step(w, [1.0], u, learning_rate=1.0, momentum=0.5)
        >>> float(w[0]), float(u[0])  # 4 - 1 - 1.5
        (1.5, -1.5)
    """
    rate = _scalar("learning_rate", learning_rate)
    nesterov = arguments.flag("nesterov", nesterov)
    rho = arguments.number("momentum", momentum, at_least=0, below=1)
    stepped, moving = [], []
    for p, g, u in _aligned(parameters, gradients=gradients, velocity=velocity):
        push = _rate_for(rate, p) * g
        u = rho * u - push
        stepped.append(p + (rho * u - push if nesterov else u))
        moving.append(u)
    return stepped, moving


def adam_state(parameters):
    r"""The averages before Adam's first step: zeros.

    They are the :math:`m_0` of :eq:`eq-adam-m` and the :math:`v_0` of :eq:`eq-adam-v`, which
    :func:`adam_step` computes from then on.

    Args:
        parameters: A list of arrays of any shapes.

    Returns:
        A dict of ``step``, the number of steps taken, an integer tensor, and
        ``m`` and ``v``, lists of tensors of the parameters' shapes.

    Raises:
        ValueError: If ``parameters`` is no list or holds None.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, 2015,
        https://arxiv.org/abs/1412.6980

    Example:
        >>> from cnnbook.optimizers import adam_state
        >>> state = adam_state([[1.0, 2.0]])
        >>> int(state["step"]), [float(m) for m in state["m"][0]]
        (0, [0.0, 0.0])
    """
    thetas = [p for (p,) in _aligned(parameters)]
    m, v = ([ops.zeros_like(p) for p in thetas] for _ in range(2))
    return {"step": ops.zeros((), dtype="int32"), "m": m, "v": v}


def _parse_state(state):
    if not isinstance(state, dict) or set(state) != {"step", "m", "v"}:
        got = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"state must be a dict of 'step', 'm' and 'v', got {got}.")
    step = ops.convert_to_tensor(state["step"])
    if tuple(step.shape) != ():
        raise ValueError(f"state['step'] must be one number, got shape {tuple(step.shape)}.")
    return step + 1, {"state['m']": state["m"], "state['v']": state["v"]}


def _one_minus_power(beta, step):
    """1 - beta^t without the rounding error of beta^t, which is close to 1 for early steps."""
    return -ops.expm1(step * (math.log(beta) if beta > 0 else -math.inf))


def _adam(parameters, gradients, state, beta_1, beta_2, epsilon):
    """The parameters, for each of them m_hat / (sqrt(v_hat) + epsilon), and the next state."""
    beta_1 = arguments.number("beta_1", beta_1, at_least=0, below=1)
    beta_2 = arguments.number("beta_2", beta_2, at_least=0, below=1)
    epsilon = arguments.number("epsilon", epsilon, at_least=0)
    step, averages = _parse_state(state)
    following = {"step": step, "m": [], "v": []}
    thetas, directions = [], []
    for p, g, m, v in _aligned(parameters, gradients=gradients, **averages):
        t = ops.cast(step, p.dtype)
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        m_hat = m / _one_minus_power(beta_1, t)
        v_hat = v / _one_minus_power(beta_2, t)
        thetas.append(p)
        directions.append(m_hat / (ops.sqrt(v_hat) + epsilon))
        following["m"].append(m)
        following["v"].append(v)
    return thetas, directions, following


def adam_step(
    parameters,
    gradients,
    state,
    *,
    learning_rate=0.001,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
):
    r"""One step of Adam, from :eq:`eq-adam-m` to :eq:`eq-adam-update`.

    The average of the gradients,

    .. math::

        m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad m_0 = 0

    that of their squares, :eq:`eq-adam-v`,

    .. math::

        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \qquad v_0 = 0

    both corrected for their start at zero, :eq:`eq-adam-correction`,

    .. math::

        \hat{m}_t = \frac{m_t}{1 - \beta_1^t}, \qquad \hat{v}_t = \frac{v_t}{1 - \beta_2^t}

    and the step:

    .. math::

        \theta_{t+1} = \theta_t - \eta \frac{\hat{m}_t}{\sqrt{\hat{v}_t} + \epsilon}

    :math:`g_t` is the gradient at :math:`\theta_t`, :math:`\eta` the learning
    rate; squares and roots are taken value by value; :math:`t` counts from 1.
    PyTorch puts :math:`\epsilon` here too. Keras adds it to
    :math:`\sqrt{v_t}`: its :math:`\epsilon` acts as one of
    :math:`\epsilon / \sqrt{1 - \beta_2^t}` here.

    Args:
        parameters: :math:`\theta_t`, a list of arrays of any shapes.
        gradients: :math:`g_t`, a list of arrays of the same shapes.
        state: What :func:`adam_state` or the step before returned.
        learning_rate: :math:`\eta`, a number of at least 0, or a scalar
            tensor, whose value is not checked.
        beta_1: :math:`\beta_1`, a number, at least 0 and less than 1.
        beta_2: :math:`\beta_2`, the same.
        epsilon: :math:`\epsilon`, a number of at least 0. With 0, a value
            whose gradients were all zero becomes NaN.

    Returns:
        ``(parameters, state)``, :math:`\theta_{t+1}`, a list of tensors, and
        the state for the next step. What was given is left as it is.

    Raises:
        ValueError: If the lists are no lists, differ in length or shapes or
            hold None, ``state`` is no state or that of other parameters, or
            a number is out of range.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, 2015,
        https://arxiv.org/abs/1412.6980

    Example:
        >>> from cnnbook.optimizers import adam_state, adam_step
        >>> w = [[1.0, 1.0]]
        >>> (w,), state = adam_step(w, [[300.0, -0.02]], adam_state(w), learning_rate=0.25)
        >>> [round(float(v), 4) for v in w]  # a step of 0.25, whatever the gradient's size
        [0.75, 1.25]
    """
    rate = _scalar("learning_rate", learning_rate)
    thetas, directions, state = _adam(parameters, gradients, state, beta_1, beta_2, epsilon)
    return [p - _rate_for(rate, p) * d for p, d in zip(thetas, directions, strict=True)], state


def adamw_step(
    parameters,
    gradients,
    state,
    *,
    learning_rate=0.001,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    weight_decay=0.004,
):
    r"""One step of Adam with decoupled weight decay, :eq:`eq-adamw`.

    .. math::

        \theta_{t+1} = \theta_t - \eta \Bigl( \frac{\hat{m}_t}{\sqrt{\hat{v}_t} + \epsilon}
        + \lambda \theta_t \Bigr)

    :math:`\lambda` is the weight decay: each step shrinks every parameter by
    the factor :math:`1 - \eta \lambda`, whatever its gradients were. The
    other symbols are those of :func:`adam_step`, from :eq:`eq-adam-m` to
    :eq:`eq-adam-update`.

    Args:
        parameters: :math:`\theta_t`, a list of arrays of any shapes. All of
            them decay: give those that should not, such as biases, to
            :func:`adam_step`.
        gradients: :math:`g_t` of the loss without any penalty on the weights.
        state: As for :func:`adam_step`.
        learning_rate: As for :func:`adam_step`.
        beta_1: As for :func:`adam_step`.
        beta_2: As for :func:`adam_step`.
        epsilon: As for :func:`adam_step`.
        weight_decay: :math:`\lambda`, a number of at least 0.

    Returns:
        ``(parameters, state)`` as :func:`adam_step`.

    Raises:
        ValueError: As :func:`adam_step`.

    References:
        Loshchilov and Hutter, Decoupled weight decay regularization, 2019,
        https://arxiv.org/abs/1711.05101

    Example:
        >>> from cnnbook.optimizers import adam_state, adamw_step
        >>> w, options = [8.0], dict(learning_rate=0.5, weight_decay=0.25)
        >>> w, state = adamw_step(w, [0.0], adam_state(w), **options)
        >>> float(w[0])  # no gradient: 8 * (1 - 0.5 * 0.25)
        7.0
    """
    rate = _scalar("learning_rate", learning_rate)
    decay = arguments.number("weight_decay", weight_decay, at_least=0)
    thetas, directions, state = _adam(parameters, gradients, state, beta_1, beta_2, epsilon)
    stepped = [
        p - _rate_for(rate, p) * (d + decay * p) for p, d in zip(thetas, directions, strict=True)
    ]
    return stepped, state


def cosine_schedule(step, total_steps, *, base, warmup_steps=0):
    r"""A learning rate that warms up in a line and falls along a cosine, :eq:`eq-cosine-schedule`.

    .. math::

        \eta_s = \begin{cases} \eta_{max} \dfrac{s}{S_w} & \text{if } s < S_w \\
        \dfrac{\eta_{max}}{2} \Bigl( 1 + \cos \pi \dfrac{s - S_w}{S - S_w} \Bigr)
        & \text{if } S_w \le s \le S \end{cases}

    :math:`s` is the number of steps taken before, so that the first step has
    :math:`s = 0`; :math:`S` is the total, of which :math:`S_w` warm up, and
    :math:`\eta_{max}` the highest rate.

    Args:
        step: :math:`s`, a number from 0 to ``total_steps``, or a tensor of
            any shape. Of a tensor the values are not checked: below 0 it
            counts as 0 and beyond ``total_steps`` as ``total_steps``.
        total_steps: :math:`S`, an integer of at least 1. Keras's
            ``decay_steps`` are :math:`S - S_w`.
        base: :math:`\eta_{max}`, a number of at least 0, or a scalar tensor.
        warmup_steps: :math:`S_w`, an integer from 0 to ``total_steps``.

    Returns:
        :math:`\eta_s`, a tensor of the shape of ``step``. With a warm-up the
        first rate is 0, so that this step moves nothing; the last rate is 0,
        but where all steps warm up it is ``base``.

    Raises:
        ValueError: If ``step`` is a number out of range, or another argument
            is out of range.

    References:
        Loshchilov and Hutter, SGDR: stochastic gradient descent with warm
        restarts, 2017, https://arxiv.org/abs/1608.03983; Goyal et al.,
        Accurate, large minibatch SGD, 2017 (the warm-up),
        https://arxiv.org/abs/1706.02677

    Example:
        >>> from cnnbook.optimizers import cosine_schedule
        >>> rates = [cosine_schedule(s, 6, base=0.5, warmup_steps=2) for s in range(7)]
        >>> [round(float(rate), 3) for rate in rates]
        [0.0, 0.25, 0.5, 0.427, 0.25, 0.073, 0.0]
    """
    total = arguments.positive_int("total_steps", total_steps)
    base = _scalar("base", base)
    warmup_steps = arguments.integer("warmup_steps", warmup_steps, 0, total)
    if isinstance(step, Real):
        arguments.number("step", step, at_least=0, at_most=total)
    s = ops.clip(arguments.as_float(step=step), 0, total)
    falling = (1 + ops.cos(math.pi * (s - warmup_steps) / max(total - warmup_steps, 1))) / 2
    rising = s / max(warmup_steps, 1)
    return _rate_for(base, s) * ops.where(s < warmup_steps, rising, falling)

"""Which weights a network can do without: masks, schedules, and filters that really go.

Chapter: ``notebooks/15_pruning.ipynb``.
"""

import math
from collections.abc import Mapping
from numbers import Real

import keras
from keras import ops

from cnnbook._networks.surgery import Surgery, zero_count
from cnnbook._shared import arguments

__all__ = [
    "MagnitudePruning",
    "magnitude_mask",
    "n_m_mask",
    "polynomial_sparsity",
    "prune_filters",
    "sparsity",
    "threshold_mask",
]

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def _share(name, value):
    """A number in [0, 1), as a float."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}.")
    return float(value)


def _step_number(name, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0, got {value!r}.")
    return value.__index__()


def _n_m(n, m):
    n, m = arguments.positive_int("n", n), arguments.positive_int("m", m)
    if n > m:
        raise ValueError(f"n={n} of every m={m} weights cannot be kept: n must be at most m.")
    return n, m


def _n_m_mask_of(layer, kernel, n, m):
    """Along the inputs, which in the kernel of a transposed convolution come last."""
    transposed = (
        keras.layers.Conv1DTranspose,
        keras.layers.Conv2DTranspose,
        keras.layers.Conv3DTranspose,
    )
    if isinstance(layer, transposed):
        return ops.swapaxes(n_m_mask(ops.swapaxes(kernel, -1, -2), n, m), -1, -2)
    return n_m_mask(kernel, n, m)


def _ranks(magnitudes):
    """Places along the last axis in the order of size, from 0; of equal ones the earlier first."""
    return ops.argsort(ops.argsort(magnitudes, axis=-1), axis=-1)


def threshold_mask(weights, threshold):
    r"""Keeps the weights that reach a threshold, :eq:`eq-prune`.

    .. math::

        w_i = 0 \quad \text{if} \quad |w_i| < \tau

    :math:`w_i` are the weights and :math:`\tau` is the threshold. A weight
    whose magnitude equals it stays.

    Args:
        weights: :math:`w`, an array of any shape.
        threshold: :math:`\tau`, a finite Python number of at least 0; 0 keeps
            everything.

    Returns:
        The mask, a tensor of the shape of ``weights`` and of their float
        dtype: 0 where the equation sets a weight to 0, otherwise 1. The
        pruned weights are ``weights * threshold_mask(weights, threshold)``.

    Raises:
        ValueError: If ``threshold`` is not a finite number of at least 0.

    References:
        Han et al., Learning both weights and connections for efficient neural
        networks, 2015, https://arxiv.org/abs/1506.02626

    Example:
        >>> [float(v) for v in threshold_mask([0.3, -0.1, 0.0, -0.5], 0.3)]
        [1.0, 0.0, 0.0, 1.0]
    """
    is_number = isinstance(threshold, Real) and not isinstance(threshold, bool)
    if not is_number or not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be a finite number of at least 0, got {threshold!r}.")
    w = arguments.as_float(weights=weights)
    return ops.cast(ops.abs(w) >= float(threshold), w.dtype)


def magnitude_mask(weights, sparsity):
    r"""Keeps the largest weights, so many that a given share goes, :eq:`eq-magnitude-prune`.

    .. math::

        M_i = \mathbb{I}(r_i > Z), \qquad Z = \lfloor s P \rfloor

    :math:`P` is the number of weights, :math:`s` the sparsity and :math:`Z`
    the number of weights that go. :math:`r_i` is the rank of weight :math:`i`
    among all :math:`P` by its magnitude, 1 for the smallest; of equal magnitudes
    the weight that comes first, row by row, has the lower rank. So exactly
    :math:`Z` weights go, whatever the ties.

    Args:
        weights: An array of any shape; its shape must be static.
        sparsity: :math:`s`, a Python number in [0, 1). At least one weight
            stays.

    Returns:
        The mask :math:`M`, 1 to keep and 0 to prune, of the shape of
        ``weights`` and of their float dtype.

    Raises:
        ValueError: If ``sparsity`` is not a number in [0, 1).

    References:
        Han et al., Learning both weights and connections for efficient neural
        networks, 2015, https://arxiv.org/abs/1506.02626

    Example:
        >>> [float(v) for v in magnitude_mask([0.3, -0.1, 0.2, -0.5], 0.5)]
        [1.0, 0.0, 0.0, 1.0]
    """
    share = _share("sparsity", sparsity)
    w = arguments.as_float(weights=weights)
    flat = ops.reshape(ops.abs(w), (-1,))
    if not flat.shape[0]:
        return w
    mask = _ranks(flat) >= zero_count(share, flat.shape[0])
    return ops.reshape(ops.cast(mask, w.dtype), w.shape)


def n_m_mask(weights, n, m):
    r"""Keeps the n largest of every m weights along the input axis, :eq:`eq-n-m-prune`.

    .. math::

        M_i = \mathbb{I}(r_i > m - n)

    :math:`r_i` is the rank of weight :math:`i` by its magnitude among the
    :math:`m` of its group, 1 for the smallest, of equal magnitudes the one that
    comes first. A group is :math:`m` neighbors along the input axis, which is the last but
    one: ``C_in`` of a kernel ``(kh, kw, C_in, C_out)``, ``D`` of a dense kernel
    ``(D, K)``. The groups begin at the first input and do not overlap.

    Args:
        weights: An array of at least two axes, as Keras stores kernels.
        n: How many of each group stay, an int from 1 to ``m``.
        m: The size of a group, an int that divides the input axis.

    Returns:
        The mask :math:`M`, 1 to keep and 0 to prune, of the shape of
        ``weights`` and of their float dtype.

    Raises:
        ValueError: If ``weights`` has fewer than two axes, ``n`` is above
            ``m``, one of them is no integer of at least 1, or ``m`` does not
            divide the input axis.

    References:
        Mishra et al., Accelerating sparse deep neural networks, 2021,
        https://arxiv.org/abs/2104.08378

    Example:
        >>> kernel = [[0.3], [-0.1], [0.2], [-0.5]]  # four inputs, one output
        >>> [float(row[0]) for row in n_m_mask(kernel, 1, 2)]
        [1.0, 0.0, 0.0, 1.0]
    """
    n, m = _n_m(n, m)
    w = arguments.as_float(weights=weights)
    if len(w.shape) < 2:
        raise ValueError(
            "weights must have at least two axes, the last but one being that of the inputs, "
            f"got shape {tuple(w.shape)}."
        )
    if w.shape[-2] % m:
        raise ValueError(
            f"m={m} does not divide the {w.shape[-2]} inputs of weights, whose shape is "
            f"{tuple(w.shape)}."
        )
    magnitudes = ops.swapaxes(ops.abs(w), -1, -2)
    groups = ops.reshape(magnitudes, (-1, m))
    mask = ops.cast(_ranks(groups) >= m - n, w.dtype)
    return ops.swapaxes(ops.reshape(mask, magnitudes.shape), -1, -2)


def polynomial_sparsity(step, *, begin, end, final, initial=0.0, power=3):
    r"""The sparsity at a step of training, rising ever more slowly, :eq:`eq-sparsity-schedule`.

    .. math::

        s_t = \begin{cases} 0 & \text{if } t < t_b \\
        s_e + (s_b - s_e) \Bigl( 1 - \dfrac{t - t_b}{t_e - t_b} \Bigr)^{p}
        & \text{if } t_b \le t < t_e \\
        s_e & \text{if } t \ge t_e \end{cases}

    :math:`t` counts the steps of training that are done, :math:`t_b` and
    :math:`t_e` are those at which pruning begins and ends, :math:`s_b` and
    :math:`s_e` the sparsities there, and :math:`p` is the power: 1 gives a
    line, 3 prunes most where many weights are left.

    Args:
        step: :math:`t`, a number of at least 0, or a tensor of any shape,
            whose values are not checked.
        begin: :math:`t_b`, an integer of at least 0.
        end: :math:`t_e`, an integer of at least ``begin``; equal to it, the
            sparsity jumps.
        final: :math:`s_e`, a number in [0, 1), at least ``initial``.
        initial: :math:`s_b`, a number in [0, 1).
        power: :math:`p`, a positive number.

    Returns:
        :math:`s_t`, a tensor of the shape of ``step``, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.

    References:
        Zhu and Gupta, To prune, or not to prune: exploring the efficacy of
        pruning for model compression, 2017, https://arxiv.org/abs/1710.01878

    Example:
        >>> steps = [0, 10, 20, 30, 99]
        >>> values = [polynomial_sparsity(t, begin=10, end=30, final=0.8) for t in steps]
        >>> [round(float(s), 3) for s in values]
        [0.0, 0.0, 0.7, 0.8, 0.8]
    """
    begin, end = _step_number("begin", begin), _step_number("end", end)
    if end < begin:
        raise ValueError(f"end={end} must be at least begin={begin}.")
    final, initial = _share("final", final), _share("initial", initial)
    if initial > final:
        raise ValueError(f"initial={initial} must be at most final={final}.")
    is_number = isinstance(power, Real) and not isinstance(power, bool)
    if not is_number or not 0 < power < math.inf:
        raise ValueError(f"power must be a positive number, got {power!r}.")
    if step is None or (isinstance(step, (bool, str, Real)) and not _is_step(step)):
        raise ValueError(f"step must be a number of at least 0, got {step!r}.")
    t = arguments.as_float(step=step)
    left = 1 - ops.clip((t - begin) / max(end - begin, 1), 0, 1)
    during = final + (initial - final) * ops.power(left, float(power))
    return ops.where(t < begin, 0.0, ops.where(t < end, during, final))


def _is_step(value):
    return isinstance(value, Real) and not isinstance(value, bool) and value >= 0


def _kernels(model, what):
    """{layer: its kernels} of all layers that have some, in the model's order, as variables."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"{what} needs a Keras model, got {type(model).__name__}.")
    if not model.built:
        raise ValueError(f"{what} needs a built model, {model.name!r} has no weights yet.")
    found, seen = {}, set()
    for layer in model._flatten_layers(include_self=False):
        for name in KERNELS:
            variable = getattr(layer, name, None)
            if isinstance(variable, keras.Variable) and id(variable) not in seen:
                seen.add(id(variable))
                found.setdefault(layer, []).append(variable)
    return found


def _names(layers):
    """A name for each layer: its own, or where two share it, the path of its kernel."""
    names = [layer.name for layer in layers]
    return [
        name if names.count(name) == 1 else variables[0].path.rpartition("/")[0]
        for name, variables in zip(names, layers.values(), strict=True)
    ]


def _share_of_zeros(variables):
    zeros = sum(int(ops.sum(ops.cast(v == 0, "int32"))) for v in variables)
    return zeros / max(sum(math.prod(v.shape) for v in variables), 1)


def sparsity(model, *, per_layer=False):
    r"""The share of zeros among the weights of a model's kernels, :eq:`eq-sparsity`.

    .. math::

        s = \frac{1}{P} \sum_{i=1}^{P} \mathbb{I}(w_i = 0)

    :math:`w_i` are the :math:`P` weights of all kernels: of convolutions,
    depthwise and separable ones included, and of dense layers, in nested
    models as well. Biases and normalization do not count.

    Args:
        model: A built Keras model of any kind.
        per_layer: Whether each layer is counted by itself.

    Returns:
        A float from 0 to 1, 0.0 for a model without kernels; with
        ``per_layer`` a dict from the names of the layers that have a kernel to
        their floats. Where two layers of nested models share a name, the path
        of the kernel stands for it.

    Raises:
        ValueError: If ``model`` is no Keras model or not built.

    References:
        Hoefler et al., Sparsity in deep learning, 2021,
        https://arxiv.org/abs/2102.00554

    Example:
        >>> layers = [keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")]
        >>> model = keras.Sequential([keras.Input((2,)), *layers])
        >>> _ = layers[0].kernel.assign([[0.0, 1.0], [0.0, 0.0]])
        >>> _ = layers[1].kernel.assign([[1.0], [1.0]])
        >>> sparsity(model), sparsity(model, per_layer=True)
        (0.5, {'a': 0.75, 'b': 0.0})
    """
    layers = _kernels(model, "sparsity")
    if per_layer:
        groups = zip(_names(layers), layers.values(), strict=True)
        return {name: _share_of_zeros(variables) for name, variables in groups}
    return _share_of_zeros([v for variables in layers.values() for v in variables])


class MagnitudePruning(keras.callbacks.Callback):
    r"""A callback for ``fit`` that prunes while a model trains, :eq:`eq-masked-step`.

    .. math::

        w_{t+1} = M_t \odot (w_t + \Delta_t)

    :math:`\Delta_t` is what the optimizer adds to the weights :math:`w_t` in
    step :math:`t`, whatever it remembers of former gradients, :math:`M_t` the
    mask of zeros and ones, and :math:`\odot` multiplies value by value. So a
    pruned weight is exactly 0 before the first step, after each batch and at
    the end, although the optimizer moves it.

    With ``sparsity`` the mask of a kernel is :func:`magnitude_mask` at the
    sparsity of :func:`polynomial_sparsity`, drawn anew at step ``begin``, every
    ``frequency`` steps after that and at step ``end``; with ``n_m`` it is
    :func:`n_m_mask`, drawn at step ``begin``. What is pruned once stays 0.

    Each kernel is pruned by itself: those of convolutions, depthwise and
    separable ones included, and of dense layers. Biases, normalization and
    layers that are not trainable are left. ``n_m`` leaves depthwise kernels,
    too, because their filters have one input each, and goes along the inputs of
    transposed convolutions, too, whose kernels have them on the last axis.

    Nothing is added to the model: it is saved and loaded as any other. When
    training goes on, with this object or a new one, the masks are recovered
    from the zeros; a kernel of zeros only counts as not pruned. This object
    counts its steps on over several calls of ``fit`` with one model. A callback
    that puts former weights back when training ends, such as ``EarlyStopping``,
    must come before this one in the list.

    With ``steps_per_execution`` above 1 Keras calls only once for so many
    batches; between the calls the optimizer moves pruned weights. On JAX each
    call makes Keras write its state back to the model's variables.

    Args:
        sparsity: The final sparsity of each kernel, a number in [0, 1), or a
            dict from layer names to such numbers; layers that are not in it
            are left.
        n_m: Instead of ``sparsity``, the pair ``(n, m)`` of :func:`n_m_mask`.
        begin: The step at which pruning begins, an integer of at least 0.
        end: The step at which the final sparsity is reached; None: ``begin``,
            so that all goes at once.
        initial: The sparsity at ``begin``.
        power: The power of the schedule.
        frequency: Steps between two masks, an integer of at least 1.
        skip: Names of layers that are left.

    Returns:
        A Keras callback. It adds ``sparsity``, as :func:`sparsity` counts it,
        to the logs of each epoch, and so to the history.

    Raises:
        ValueError: If an argument is out of range, both or none of
            ``sparsity`` and ``n_m`` are given, or ``n_m`` comes with a
            schedule; when training begins, if a name is no layer with a
            kernel, nothing is left to prune, or ``m`` does not divide the
            inputs of a kernel.

    References:
        Zhu and Gupta, To prune, or not to prune: exploring the efficacy of
        pruning for model compression, 2017, https://arxiv.org/abs/1710.01878

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="a")])
        >>> model.compile("sgd", "mse")
        >>> x, y = ops.ones((6, 8)), ops.ones((6, 4))
        >>> _ = model.fit(x, y, callbacks=[MagnitudePruning(0.75)], verbose=0)
        >>> sparsity(model, per_layer=True)
        {'a': 0.75}
    """

    def __init__(
        self,
        sparsity=None,
        *,
        n_m=None,
        begin=0,
        end=None,
        initial=0.0,
        power=3,
        frequency=10,
        skip=(),
    ):
        super().__init__()
        if (sparsity is None) == (n_m is None):
            raise ValueError(
                f"one of sparsity and n_m must be given, got sparsity={sparsity!r}, n_m={n_m!r}."
            )
        self.begin = _step_number("begin", begin)
        self.end = self.begin if end is None else end
        self.frequency = arguments.positive_int("frequency", frequency)
        if isinstance(skip, str):
            raise ValueError(f"skip must be a list of layer names, got {skip!r}.")
        self.skip = tuple(skip)
        self.schedule = {"begin": self.begin, "end": self.end, "initial": initial, "power": power}
        if n_m is not None:
            if not isinstance(n_m, (tuple, list)) or len(n_m) != 2:
                raise ValueError(f"n_m must be a pair (n, m), got {n_m!r}.")
            n_m = _n_m(*n_m)
            if (end, initial, power) != (None, 0.0, 3):
                raise ValueError("n_m is drawn once, at begin: end, initial and power have no use.")
        if isinstance(sparsity, Mapping) and not sparsity:
            raise ValueError("sparsity must name at least one layer, got {}.")
        self.sparsity, self.n_m = sparsity, n_m
        for share in self._targets().values():
            polynomial_sparsity(0, final=share, **self.schedule)  # raises where one does not fit
        self._of, self._step, self._epoch_begin, self._due = None, 0, 0, self.begin
        self._kernels, self._masks = {}, {}

    def _targets(self):
        """{layer name, None for all: final sparsity}."""
        if self.n_m is not None:
            return {}
        is_dict = isinstance(self.sparsity, Mapping)
        targets = self.sparsity if is_dict else {None: self.sparsity}
        return {name: _share("sparsity", share) for name, share in targets.items()}

    def _choose_kernels(self, model):
        """{(layer name, number): variable} of what is to be pruned."""
        layers = _kernels(model, "MagnitudePruning")
        named = dict(zip(_names(layers), layers.items(), strict=True))
        self._owners = {name: layer for name, (layer, _) in named.items()}
        asked = [name for name in self._targets() if name is not None]
        for name in (*self.skip, *asked):
            if name not in named:
                raise ValueError(
                    f"{model.name!r} has no layer {name!r} with a kernel; it has "
                    f"{', '.join(named)}."
                )
        chosen = {}
        for name, (layer, variables) in named.items():
            if name in self.skip or (asked and name not in asked):
                continue
            for index, variable in enumerate(variables):
                is_depthwise = variable.name == "depthwise_kernel" or isinstance(
                    layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
                )
                if variable.trainable and not (self.n_m and is_depthwise):
                    chosen[name, index] = variable
        if not chosen:
            raise ValueError(f"{model.name!r} has no trainable kernel that is to be pruned.")
        return chosen

    def _draw(self, name, variable):
        try:
            if self.n_m is not None:
                return _n_m_mask_of(self._owners[name], variable, *self.n_m) != 0
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error} Name it in skip to leave it.") from None
        targets = self._targets()
        share = targets.get(name, targets.get(None))
        if self._step < self.end:  # the final one without the schedule's rounding
            share = float(polynomial_sparsity(self._step, final=share, **self.schedule))
        return magnitude_mask(variable, share) != 0

    def _act(self):
        """Draws masks if they are due, and puts zeros where they say so."""
        _ = self.model  # on JAX this brings the variables up to date
        if self._due is not None and self._step >= self._due:
            for key, variable in self._kernels.items():
                mask, old = self._draw(key[0], variable), self._masks.get(key)
                self._masks[key] = mask if old is None else ops.logical_and(mask, old)
            is_last = self.n_m is not None or self._step >= self.end
            self._due = None if is_last else min(self._step + self.frequency, self.end)
        for key, mask in self._masks.items():
            w = ops.convert_to_tensor(self._kernels[key])
            self._kernels[key].assign(ops.where(mask, w, ops.zeros_like(w)))

    def on_train_begin(self, logs=None):
        model = self.model
        if self._of is not model:
            self._of, self._step, self._due = model, 0, self.begin
        self._kernels, self._masks = self._choose_kernels(model), {}
        for key, variable in self._kernels.items():
            if 0 < _share_of_zeros([variable]) < 1:
                self._masks[key] = variable != 0
        self._act()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_begin = self._step

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._epoch_begin + batch + 1
        self._act()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["sparsity"] = sparsity(self.model)

    def on_train_end(self, logs=None):
        self._act()

    def get_state(self):
        """What is remembered from step to step, for a checkpoint."""
        numbers = {"step": self._step, "epoch_begin": self._epoch_begin, "due": self._due}
        masks = [self._masks.get(key) for key in self._kernels]
        return numbers | {"masks": masks}

    def set_state(self, state):
        """Takes over what :meth:`get_state` returned, once training has begun."""
        self._step, self._epoch_begin = state["step"], state["epoch_begin"]
        self._due = state["due"]
        pairs = zip(self._kernels, state["masks"], strict=True)
        self._masks = {key: mask for key, mask in pairs if mask is not None}


def prune_filters(model, fraction):
    r"""A smaller model without the weakest filters of each convolution, :eq:`eq-filter-prune`.

    .. math::

        a_k = \sum_{l \in G} \sum_{w \in W_l^{(k)}} |w|, \qquad
        M_k = \mathbb{I}\bigl(r_k > \lfloor f K \rfloor\bigr)

    :math:`W_l^{(k)}` are the weights of filter :math:`k` of layer :math:`l`,
    and :math:`G` are the layers whose filters must go together, because their
    outputs are added; most often one layer. :math:`K` is the number of filters,
    :math:`f` the fraction that goes, :math:`r_k` the rank of :math:`a_k` among
    all :math:`K`, 1 for the smallest, of equal ones the first. A filter with
    :math:`M_k = 0` goes, and with it all that belongs to its channel: its bias,
    its normalization, its depthwise kernel, and what the next layers read of it.

    Convolutions are Conv2D and SeparableConv2D, whose filters are those of its
    pointwise kernel. Filters are followed through BatchNormalization,
    activations, pooling, up-sampling, padding and cropping, DepthwiseConv2D,
    dropout, Add and its kin, Concatenate, Flatten and Reshape into Dense, and
    through nested models. Filters that are tied to an input or an output of
    the model stay, and so do those in front of a function that is not known to
    act on each value by itself, such as softmax. At least one filter of each
    layer stays.

    The smaller model computes something else than the first: train it on (compile
    it and fit it for some epochs, at a small learning rate) before it is used.

    Args:
        model: A built Functional or Sequential model, channels last; it stays
            as it is.
        fraction: :math:`f`, a Python number in [0, 1).

    Returns:
        A new, uncompiled Functional model with layers of the same names, the
        weights that are left, and outputs of the same shapes. Nested models are
        dissolved into their layers.

    Raises:
        ValueError: If ``fraction`` is not in [0, 1), the model has no graph of
            layers or no filters that may go, or filters would have to be
            followed through a layer that is not among those above; the
            message has its name.

    References:
        Li et al., Pruning filters for efficient convnets, 2017,
        https://arxiv.org/abs/1608.08710

    Example:
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([*layers, keras.layers.Dense(2)])
        >>> model.count_params(), prune_filters(model, 0.5).count_params()
        (402, 202)
    """
    fraction = _share("fraction", fraction)
    surgery = Surgery(model, "prune_filters")
    return surgery.without(surgery.drop(fraction))

"""Distillation: a small network learns from the outputs of a large one.

Chapter: ``notebooks/16_distillation.ipynb``.
"""

import contextlib

import keras
import numpy as np
from keras import ops

from cnnbook._networks.ends import probabilities
from cnnbook._shared import arguments, labels
from cnnbook._training.batches import Stream, batches_of
from cnnbook._training.checks import integer
from cnnbook.losses import cross_entropy, cross_entropy_gradient
from cnnbook.softmax import log_softmax, softmax

__all__ = ["distill", "distillation_loss", "distillation_loss_gradient"]


def _require_alpha(alpha):
    arguments.number("alpha", alpha, at_least=0, at_most=1)


def _tensors(y_true, student_logits, teacher_logits):
    """Truth, student's and teacher's logits; the teacher is a constant."""
    student, teacher = arguments.as_float(
        student_logits=student_logits, teacher_logits=teacher_logits
    )
    truth = arguments.as_tensor("y_true", y_true)
    shape = tuple(student.shape)
    if not shape:
        raise ValueError("student_logits must have an axis of classes, got a single number.")
    if not labels.fits(teacher.shape, shape):
        raise ValueError(
            f"teacher_logits must have the shape of student_logits {shape}, "
            f"got {tuple(teacher.shape)}."
        )
    if labels.fits(truth.shape, shape):
        truth, student, teacher = arguments.as_float(
            y_true=truth, student_logits=student, teacher_logits=teacher
        )
    elif not labels.fits(truth.shape, shape[:-1]):
        raise ValueError(
            f"y_true must have the shape of student_logits {shape} or, with integers, "
            f"{shape[:-1]}, got {tuple(truth.shape)}."
        )
    return truth, student, ops.stop_gradient(teacher)


def _divergence(teacher_logits, student_logits, temperature):
    """The divergence of each row."""
    log_p = log_softmax(teacher_logits, temperature=temperature)
    log_q = log_softmax(student_logits, temperature=temperature)
    p, q = ops.exp(log_p), ops.exp(log_q)
    d = ops.where(p > 0, log_p - log_q, -1.0)  # where p is 0 the term is q, whatever d
    near = p * (ops.expm1(-ops.maximum(d, -1.0)) + d)
    return ops.sum(ops.where(d > -1, near, q - p + p * d), axis=-1)


def distillation_loss(
    y_true, student_logits, teacher_logits, *, alpha=0.1, temperature=4.0, reduction="mean"
):
    r"""What a student pays for missing the labels and the teacher, :eq:`eq-distill`.

    The sum over the batch, ``reduction="sum"``, is

    .. math::

        \mathcal{L}_{KD} = {} & \alpha \mathcal{L}_{CE}(y, \hat{y}_S) \\
        & + (1-\alpha) T^2 \mathcal{L}_{KL}(\text{softmax}(z_T/T), \text{softmax}(z_S/T))

    and the mean, ``reduction="mean"`` and the default, is :eq:`eq-distill-mean`

    .. math::

        \bar{\mathcal{L}}_{KD} = \frac{1}{N} \mathcal{L}_{KD}

    The divergence is a sum over the batch, too, as :math:`\mathcal{L}_{CE}` is,
    and computed so that nothing cancels, :eq:`eq-kl-divergence`:

    .. math::

        \mathcal{L}_{KL}(p, q)
        &= \sum_{i=1}^{N} \sum_{c=1}^{C} p_{i,c} \log \frac{p_{i,c}}{q_{i,c}} \\
        &= \sum_{i=1}^{N} \sum_{c=1}^{C} p_{i,c} \bigl(e^{-d_{i,c}} - 1 + d_{i,c}\bigr),
        \qquad d_{i,c} = \log \frac{p_{i,c}}{q_{i,c}}

    :math:`y` is the truth and :math:`\hat{y}_S = \text{softmax}(z_S)` what the
    student predicts; :math:`z_S` and :math:`z_T` are the logits of student and
    teacher, :math:`T` is the temperature and :math:`\alpha` the share of the
    labels. :math:`N` is the number of rows, :math:`C` that of classes, and
    :math:`p` and :math:`q` are the softened probabilities of teacher and
    student. The second line of the divergence is the first, since both rows of
    probabilities sum to 1; its terms are never negative, while those of the
    first cancel at high temperatures. :math:`0 \log 0` is 0, nothing is
    clipped, and a term whose factor is 0 is left out. The teacher is a constant:
    no gradient goes to ``teacher_logits``.

    Args:
        y_true: :math:`y`, integers of shape ``(...)`` from 0 to C - 1, or
            rows of probabilities ``(..., C)``.
        student_logits: :math:`z_S`, shape ``(..., C)``.
        teacher_logits: :math:`z_T`, the same shape.
        alpha: :math:`\alpha`, a Python number from 0, the teacher alone, to 1,
            the labels alone.
        temperature: :math:`T > 0`, a Python number.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each row.

    Returns:
        A scalar tensor, or one of shape ``(...)`` for ``"none"``; at least 0,
        lower is better. An empty batch has the sum 0 and the mean NaN.

    Raises:
        ValueError: If ``alpha`` is outside [0, 1], ``temperature`` is not
            positive and finite, the shapes do not belong together, labels are
            no integers or, outside compiled functions, out of range, rows of
            ``y_true`` do not sum to 1, or ``reduction`` is unknown.

    References:
        Hinton, Vinyals and Dean, Distilling the knowledge in a neural network,
        2015, https://arxiv.org/abs/1503.02531

    Example:
        >>> import math
        >>> student, teacher = [[0.0, math.log(9.0)]], [[0.0, 0.0]]
        >>> soft = distillation_loss([0], student, teacher, alpha=0.0, temperature=2.0)
        >>> round(float(soft), 4)  # 4 times log(4/3) / 2
        0.5754
        >>> round(float(distillation_loss([0], student, teacher, alpha=1.0)), 4)  # log 10
        2.3026
    """
    _require_alpha(alpha)
    truth, student, teacher = _tensors(y_true, student_logits, teacher_logits)
    hard = cross_entropy(truth, student, from_logits=True, reduction=reduction)
    soft = labels.reduce(_divergence(teacher, student, temperature), reduction)
    if alpha == 1:  # 0 times infinity is no number
        return hard
    soft = (1 - alpha) * temperature * temperature * soft
    return alpha * hard + soft if alpha else soft


def distillation_loss_gradient(
    y_true, student_logits, teacher_logits, *, alpha=0.1, temperature=4.0, reduction="mean"
):
    r"""Gradient of :func:`distillation_loss` in the student's logits.

    It is :eq:`eq-distill-gradient`

    .. math::

        \frac{\partial \mathcal{L}_{KD}}{\partial z_{S,i,c}}
        &= \alpha (\hat{y}_{S,i,c} - y_{i,c}) + (1 - \alpha)\, T (q_{i,c} - p_{i,c}), \\
        \frac{\partial \bar{\mathcal{L}}_{KD}}{\partial z_{S,i,c}}
        &= \frac{1}{N} \frac{\partial \mathcal{L}_{KD}}{\partial z_{S,i,c}}

    with the symbols of :eq:`eq-distill`, :func:`distillation_loss`. The first line belongs to
    ``reduction="sum"``, the second to ``"mean"``. One factor :math:`T` of the
    two is used up by the softened softmax. Each row sums to 0.

    Args:
        y_true: :math:`y`, as for :func:`distillation_loss`.
        student_logits: :math:`z_S`, shape ``(..., C)``.
        teacher_logits: :math:`z_T`, the same shape.
        alpha: :math:`\alpha`, a Python number from 0 to 1.
        temperature: :math:`T > 0`, a Python number.
        reduction: That of the loss. For ``"none"`` each row is the gradient of
            its own loss, the same numbers as for ``"sum"``.

    Returns:
        Tensor of the shape of ``student_logits``.

    Raises:
        ValueError: As :func:`distillation_loss`.

    References:
        Hinton, Vinyals and Dean, Distilling the knowledge in a neural network,
        2015, section 2.1, https://arxiv.org/abs/1503.02531

    Example:
        >>> import math
        >>> student, teacher = [[0.0, math.log(9.0)]], [[0.0, 0.0]]
        >>> options = {"alpha": 0.0, "temperature": 2.0}
        >>> g = distillation_loss_gradient([0], student, teacher, **options)
        >>> [round(float(v), 4) for v in g[0]]  # 2 times (1/4 - 1/2, 3/4 - 1/2)
        [-0.5, 0.5]
    """
    _require_alpha(alpha)
    labels.require_reduction(reduction)
    truth, student, teacher = _tensors(y_true, student_logits, teacher_logits)
    p, q = (softmax(z, temperature=temperature) for z in (teacher, student))
    hard = cross_entropy_gradient(truth, student, reduction="sum")
    gradient = alpha * hard + (1 - alpha) * temperature * (q - p)
    return labels.reduce_gradient(gradient, reduction)


# Training: Keras's Distiller, which freezes the teacher for good and forgets the student's
# penalties. Its LogitsDistillation takes a softmax, and T squared, only where its loss is a
# KLDivergence; the default is the function of that name, applied to the logits themselves.


class _Distiller(keras.distillation.Distiller):
    """Keras's, with the penalties of the student's layers, which `fit` adds to other losses."""

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        return sum(self.losses, start=loss)


class _Shuffled(keras.utils.PyDataset):
    """The batches of `cnnbook.training.train`: their order is of the seed and the epoch alone."""

    def __init__(self, arrays, seed):
        super().__init__()
        self.arrays, self.seed = arrays, seed
        self.begin(0)

    def __len__(self):
        return self.arrays.count

    def __getitem__(self, index):
        return self.arrays.batch(self.order, index)[:2]

    def begin(self, epoch, logs=None):
        """For a callback: `fit` calls a data set's `on_epoch_end` before the first epoch, too."""
        self.order = self.arrays.order((self.seed, epoch))


class _Listed(keras.utils.PyDataset):
    """A list of batches, which `fit` would take for a list of inputs."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return tuple(self.batches[index])


@contextlib.contextmanager
def _flags_kept(model):
    """Whatever is frozen inside is afterwards as it was, layer by layer."""
    owners = [*model._flatten_layers(), *model.variables]  # a layer stands before its parts
    flags = [owner.trainable for owner in owners]
    try:
        yield
    finally:
        for owner, flag in zip(owners, flags, strict=True):
            owner.trainable = flag


def _require_model(name, model):
    if not isinstance(model, keras.Model):
        raise ValueError(f"{name} must be a Keras model, got {type(model).__name__}.")
    if not model.built:
        raise ValueError(f"{name} must be built: begin with a keras.Input, or call it once.")
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        raise ValueError(
            f"{name} must be a Sequential or Functional model with one output, "
            f"got {type(model).__name__} with {len(outputs)}."
        )
    found = probabilities(model)
    if found:
        layer, kind = found
        raise ValueError(f"{name} must end in logits, but its layer {layer.name!r} is a {kind}.")


def _shapes(tensors):
    return ", ".join(str(tuple(t.shape)) for t in tensors)


def _require_pair(student, teacher):
    _require_model("student", student)
    _require_model("teacher", teacher)
    for part in ("inputs", "outputs"):
        ours, theirs = getattr(student, part), getattr(teacher, part)
        fitting = len(ours) == len(theirs) and all(
            labels.fits(a.shape, b.shape) for a, b in zip(ours, theirs, strict=True)
        )
        if not fitting:
            raise ValueError(
                f"teacher must have the {part} of student {_shapes(ours)}, got {_shapes(theirs)}."
            )
    shared = {id(v) for v in teacher.weights} & {id(v) for v in student.weights}
    if shared:
        raise ValueError(
            f"student and teacher must share no weights, got {len(shared)} that belong to both."
        )
    if not student.trainable_variables:
        raise ValueError(f"student {student.name!r} has no weights that are trained.")


def _require_labels(name, y, shape):
    """Arrays are looked at before they vanish in a compiled function."""
    classes = shape[-1]
    if y.shape[1:] == shape[1:]:
        cross_entropy(y, np.zeros(y.shape, "float32"), from_logits=True)
    elif y.shape[1:] != shape[1:-1] or y.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must have integer labels of shape {('N', *shape[1:-1])} or rows "
            f"{('N', *shape[1:])}, got {y.dtype} of shape {y.shape}."
        )
    elif y.min() < 0 or y.max() >= classes:
        wrong = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"{name} must have labels from 0 to {classes - 1}, got {wrong}.")


def _for_fit(name, data, shape, batch_size, seed):
    """What `fit` takes: arrays in batches, shuffled where there is a seed; the rest as it is."""
    batches = batches_of(name, data, batch_size)
    if isinstance(batches, Stream):
        data = _Listed(data) if isinstance(data, (list, tuple)) else data
        return {"x": data} if seed is None else {"x": data, "shuffle": False}
    if batches.weights is not None:
        raise ValueError(f"{name} must be (images, labels), got sample weights as well.")
    _require_labels(name, batches.y, shape)
    if batches.y.ndim < len(shape):
        batches.y = batches.y.astype("int32")
    if seed is None:
        return {"x": batches.x, "y": batches.y, "batch_size": batch_size}
    order = _Shuffled(batches, seed)
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=order.begin)
    return {"x": order, "shuffle": False, "callbacks": [begin]}


def _cross_entropy(y_true, logits):
    return cross_entropy(y_true, logits, from_logits=True)


def distill(
    student,
    teacher,
    data,
    *,
    epochs,
    optimizer="adam",
    alpha=0.1,
    temperature=4.0,
    batch_size=64,
    validation_data=None,
    seed=0,
    verbose=1,
):
    r"""Trains a student on the labels and on a teacher's outputs, :eq:`eq-distill-step`.

    .. math::

        \theta_S \leftarrow \text{update}\bigl(\theta_S,\, g\bigr), \quad
        g = \nabla_{\theta_S}\,
        \bar{\mathcal{L}}_{KD}\bigl(y, f_{\theta_S}(x), f_{\theta_T}(x)\bigr)

    for every batch of images :math:`x` with labels :math:`y`.
    :math:`f_{\theta_S}` and :math:`f_{\theta_T}` are the logits of student and
    teacher, :math:`\bar{\mathcal{L}}_{KD}` is the mean of :eq:`eq-distill`,
    :func:`distillation_loss`, and :math:`\text{update}` the optimizer's rule. It is carried out by
    ``keras.distillation.Distiller`` with ``LogitsDistillation``, whose ``loss`` must be
    ``keras.losses.KLDivergence()`` for that: its default compares the logits
    themselves, without softmax and :math:`T^2` (Keras 3.15.1). The penalties of
    the student's layers, such as weight decay, are added, which Keras's class
    leaves out. The teacher predicts as in inference, and is afterwards what
    it was before: its weights, its moving statistics, and which of its
    layers are trainable.

    Args:
        student: :math:`f_{\theta_S}`, a built Sequential or Functional model
            that ends in logits, not in a softmax or sigmoid; changed in place.
        teacher: :math:`f_{\theta_T}`, likewise, with the same inputs and outputs.
        data: ``(images, labels)``, shuffled anew each epoch by ``seed``, or
            batches that ``fit`` takes (a ``tf.data`` data set, a
            ``PyDataset``) or a list of them, in their own order. Labels are integers or rows.
        epochs: How often to go through the images.
        optimizer: A Keras optimizer or its name.
        alpha: :math:`\alpha`, the share of the labels, from 0 to 1.
        temperature: :math:`T > 0`, a Python number.
        batch_size: Images in a batch, where ``data`` is arrays.
        validation_data: As ``data``, or None.
        seed: Of the order, an int of at least 0.
        verbose: 1 for a progress bar, 2 for a line an epoch, 0 for silence.

    Returns:
        The history, a dict of lists with one float an epoch. It has ``loss``,
        ``accuracy``, and the two parts before they are weighed,
        ``student_loss`` (the labels) and ``distillation_loss`` (the teacher,
        with :math:`T^2`); a part of weight 0 is not computed and 0. With
        validation data each of them has a ``val_`` beside it.

    Raises:
        ValueError: If student and teacher are no built models of one output,
            end in a softmax or sigmoid, differ in inputs or outputs, or share weights, if
            the labels are out of range or of another shape, or an argument is
            out of range.

    References:
        Hinton, Vinyals and Dean, Distilling the knowledge in a neural network,
        2015, https://arxiv.org/abs/1503.02531

    Example:
        >>> teacher, student = (
        ...     keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]) for _ in range(2)
        ... )
        >>> history = distill(student, teacher, (np.eye(2), np.array([0, 1])), epochs=3, verbose=0)
        >>> len(history["loss"]), teacher.trainable
        (3, True)
    """
    _require_alpha(alpha)
    arguments.number("temperature", temperature, above=0)
    epochs = arguments.positive_int("epochs", epochs)
    batch_size = arguments.positive_int("batch_size", batch_size)
    seed, verbose = integer("seed", seed), integer("verbose", verbose, most=2)
    _require_pair(student, teacher)
    shape = tuple(student.outputs[0].shape)
    batches = _for_fit("data", data, shape, batch_size, seed)
    if validation_data is not None:
        held = _for_fit("validation_data", validation_data, shape, batch_size, None)
        batches["validation_data"] = (held["x"], held["y"]) if "y" in held else held["x"]
        batches["validation_batch_size"] = held.get("batch_size")
    with _flags_kept(teacher):
        distiller = _Distiller(
            teacher,
            student,
            keras.distillation.LogitsDistillation(float(temperature), keras.losses.KLDivergence()),
            student_loss_weight=float(alpha),
        )
        distiller.compile(optimizer, loss=_cross_entropy, metrics=["accuracy"])
        history = distiller.fit(epochs=epochs, verbose=verbose, **batches).history
    return {name: list(values) for name, values in history.items() if "total_loss" not in name}

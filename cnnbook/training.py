"""The training loop, on every backend, with checkpoints from which it resumes bit for bit.

Chapter: ``notebooks/12_training.ipynb``.
"""

import math

import keras
import numpy as np
from keras import ops

from cnnbook import _arguments as arguments
from cnnbook import _batches, _checkpoint

__all__ = ["train", "value_and_gradients"]


# One step: the same mathematics, three ways to differentiate and to compile it.


def _value_outputs_gradients(model, loss_fn, x, y, scale=lambda loss: loss):
    """(loss, outputs, gradients of the scaled loss); the model's own state moves on."""
    trainable = model.trainable_variables
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = _total(loss_fn, y, outputs, model.losses)
            scaled = scale(loss)
        zeros = tf.UnconnectedGradients.ZERO
        values = [v.value for v in trainable]
        gradients = tape.gradient(scaled, values, unconnected_gradients=zeros)
        return loss, outputs, [tf.convert_to_tensor(g) for g in gradients]  # sparse ones, too
    if keras.backend.backend() == "torch":
        import torch

        outputs = model(x, training=True)
        loss = _total(loss_fn, y, outputs, model.losses)
        values = [v.value for v in trainable]
        gradients = torch.autograd.grad(scale(loss), values, materialize_grads=True)
        return loss.detach(), outputs.detach(), gradients
    import jax

    def compute(values):
        state = [v.value for v in model.non_trainable_variables]
        outputs, state, losses = model.stateless_call(
            values, state, x, training=True, return_losses=True
        )
        loss = _total(loss_fn, y, outputs, losses)
        return scale(loss), (loss, outputs, state)

    differentiate = jax.grad(compute, has_aux=True)
    gradients, (loss, outputs, state) = differentiate([v.value for v in trainable])
    _assign(model.non_trainable_variables, state)
    return loss, outputs, gradients


def _total(loss_fn, y, outputs, penalties):
    loss = loss_fn(y, outputs)
    if len(ops.shape(loss)):
        raise ValueError(
            "loss must return one number for a batch, "
            f"got shape {tuple(loss.shape)}: take the mean."
        )
    return sum(penalties, start=loss)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _classes(outputs):
    """The class of the largest score; outputs with fewer than two scores have none."""
    scores = len(outputs.shape) > 1 and outputs.shape[-1] > 1
    return ops.argmax(outputs, axis=-1) if scores else ops.zeros((), "int32")


def _training_step(model, loss_fn, optimizer):
    """step(x, y) -> (loss, classes): forward, backward, update; compiled."""
    backend, variables = keras.backend.backend(), optimizer.variables

    def forward_backward(x, y):
        return _value_outputs_gradients(model, loss_fn, x, y, optimizer.scale_loss)

    def update(gradients):
        optimizer.apply(gradients, model.trainable_variables)

    if backend == "tensorflow":
        import tensorflow as tf

        # XLA makes one pass of the update's many; on a CPU it would slow the convolutions down.
        update = tf.function(update, jit_compile=True)

    def step(x, y):
        loss, outputs, gradients = forward_backward(x, y)
        update(gradients)
        return loss, _classes(outputs)

    if backend == "tensorflow":
        return tf.function(step, reduce_retracing=True)
    if backend == "torch":
        return step
    import jax

    @jax.jit
    def pure(values, state, slots, x, y):
        owners = [*model.trainable_variables, *model.non_trainable_variables, *variables]
        mapping = list(zip(owners, [*values, *state, *slots], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            loss, outputs, gradients = forward_backward(x, y)
        state = [scope.get_current_value(v) for v in model.non_trainable_variables]
        values, slots = optimizer.stateless_apply(slots, gradients, values)
        return loss, _classes(outputs), values, state, slots

    def jitted(x, y):
        owners = model.trainable_variables, model.non_trainable_variables, variables
        loss, classes, *new = pure(*([v.value for v in group] for group in owners), x, y)
        for group, values in zip(owners, new, strict=True):
            _assign(group, values)
        return loss, classes

    return jitted


def _evaluation_step(model, loss_fn):
    """step(x, y) -> (loss, classes), the model unchanged; compiled."""

    def step(x, y):
        outputs = model(x, training=False)
        return _total(loss_fn, y, outputs, []), _classes(outputs)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(step, reduce_retracing=True)
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(step)
    import jax

    @jax.jit
    def pure(values, x, y):
        mapping = list(zip(model.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return step(x, y)

    return lambda x, y: pure([v.value for v in model.variables], x, y)


def _torch_generators():
    """PyTorch's own random states, from which Keras draws dropout there; {} elsewhere."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {"cpu": torch.get_rng_state()}
    states |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return {name: state.numpy().tobytes().hex() for name, state in states.items()}


def _restore_torch_generators(states):
    if states:
        import torch

        for name, text in states.items():
            state = torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
            if name == "cpu":
                torch.set_rng_state(state)
            else:
                torch.cuda.set_rng_state(state, name)


class _Run:
    """A training run: what it works with, how far it is, and its checkpoints."""

    def __init__(self, model, loss, optimizer, preprocess, augment, call):
        self.model, self.optimizer, self.call = model, optimizer, call
        self.preprocess, self.augment = preprocess, augment
        self.training_step = _training_step(model, loss, optimizer)
        self.evaluation_step = _evaluation_step(model, loss)
        self.folder, self.best = None, None
        self.epoch, self.batch, self.step, self.history = 0, 0, 0, {}
        self.totals, self.best_epoch = _batches.Totals(), 0

    def resume(self, folder):
        self.folder = folder
        path = _checkpoint.latest(folder)
        if path is None:
            return
        self.best, progress = _checkpoint.read(path, self.model, self.optimizer)
        for name, value in self.call.items():
            if progress["call"][name] != value:
                raise ValueError(
                    f"checkpoint {path} is of a run with {name}={progress['call'][name]!r}, "
                    f"this one has {name}={value!r}."
                )
        _restore_torch_generators(progress["generators"])
        self.totals = _batches.Totals(progress["totals"])
        for name in ("epoch", "batch", "step", "history", "best_epoch"):
            setattr(self, name, progress[name])

    def save(self):
        if self.folder is None:
            return
        progress = {"call": self.call, "totals": self.totals.record()}
        progress["generators"] = _torch_generators()
        for name in ("epoch", "batch", "step", "history", "best_epoch"):
            progress[name] = getattr(self, name)
        name = f"epoch-{self.epoch:06d}-step-{self.step:09d}"  # epochs finished, steps done
        _checkpoint.write(self.folder, name, self.model, self.optimizer, self.best, progress)

    def prepare(self, x, y, position=None):
        """Preprocessing and, with the position of a training batch, augmentation."""
        x = _batches.floats(x)
        if self.preprocess is not None:
            x = self.preprocess(x)
        if self.augment is not None and position is not None:
            draws = np.random.SeedSequence((self.call["seed"], *position)).generate_state(1)
            x, y = _batches.augmented(self.augment, x, y, int(draws[0] >> 1))
        return ops.convert_to_tensor(x), ops.convert_to_tensor(y)

    def train_epoch(self, batches, count, title, verbose, save_every):
        bar = (
            keras.utils.Progbar(count, stateful_metrics=("loss", "accuracy"))
            if verbose == 1
            else None
        )
        if verbose == 1:
            print(title)
        for index, (x, y) in enumerate(batches((self.call["seed"], self.epoch))):
            if index < self.batch:
                continue
            x, y = self.prepare(x, y, (self.epoch, index))
            loss, classes = self.training_step(x, y)
            self.batch, self.step = index + 1, self.step + 1
            self.totals.add(y, self.finite(loss), classes)
            if bar:
                bar.update(index + 1, list(self.totals.means().items()))
            if save_every and self.step % save_every == 0:
                self.save()
        if not self.totals.images:
            raise ValueError("data has no batches.")

    def finite(self, loss):
        loss = float(ops.convert_to_numpy(loss))
        if not math.isfinite(loss):
            kept = _checkpoint.latest(self.folder) if self.folder is not None else None
            raise FloatingPointError(
                f"The loss is {loss} at step {self.step}, batch {self.batch - 1} of epoch "
                f"{self.epoch} (both from 0). The weights are spoiled; "
                f"{'there is no checkpoint' if kept is None else f'the last checkpoint is {kept}'}."
            )
        return loss

    def end_epoch(self, validation, patience, verbose):
        means = self.totals.means()
        if validation is not None:
            totals = _batches.Totals()
            for x, y in validation(None):
                x, y = self.prepare(x, y)
                loss, classes = self.evaluation_step(x, y)
                totals.add(y, float(ops.convert_to_numpy(loss)), classes)
            means |= {f"val_{name}": value for name, value in totals.means().items()}
        for name, value in means.items():
            self.history.setdefault(name, []).append(value)
        if verbose:
            print(f"epoch {self.epoch + 1}: " + ", ".join(f"{k} {v:.4f}" for k, v in means.items()))
        losses = self.history.get("val_loss", [])
        if patience is not None and losses[-1] == min(losses):
            self.best, self.best_epoch = self.model.get_weights(), self.epoch
        self.epoch, self.batch, self.totals = self.epoch + 1, 0, _batches.Totals()
        self.save()

    def has_stopped(self, patience):
        return patience is not None and self.epoch > self.best_epoch + patience


def _require_arguments(epochs, batch_size, save_every, patience, validation_data, optimizer):
    arguments.positive_int("epochs", epochs)
    arguments.positive_int("batch_size", batch_size)
    for name, value in (("save_every", save_every), ("patience", patience)):
        if value is not None:
            arguments.positive_int(name, value)
    if patience is not None and validation_data is None:
        raise ValueError(f"patience={patience} needs validation_data to judge by.")
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    if not rate >= 0 or math.isinf(rate):
        raise ValueError(f"optimizer must have a learning rate of at least 0, got {rate}.")


def value_and_gradients(model, loss_fn, x, y):
    r"""The loss of one batch and its gradients, :eq:`eq-batch-gradient`.

    .. math::

        g = \nabla_\theta\, \frac{1}{B} \sum_{i=1}^{B} \mathcal{L}\bigl(y_i, f_\theta(x_i)\bigr)

    The mean over the :math:`B` images is what ``loss_fn`` takes; the model's own
    penalties, such as weight decay of a layer, are added to it. The model is
    called with ``training=True``, so that moving averages and random streams move on.

    Args:
        model: A built Keras model :math:`f_\theta`.
        loss_fn: ``loss_fn(y_true, y_pred)`` that returns one number, or a Keras loss.
        x: A batch of what the model takes.
        y: The labels, as ``loss_fn`` takes them.

    Returns:
        ``(loss, gradients)``: a scalar tensor, and a list with one tensor for each of
        ``model.trainable_variables``, in that order; zeros where the loss does not
        depend on a variable.

    Raises:
        ValueError: If ``loss_fn`` returns anything but one number.

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, section 8.1.3,
        https://www.deeplearningbook.org

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "linear")])
        >>> model.set_weights([np.array([[2.0]]), np.array([0.0])])
        >>> x, y = np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])
        >>> loss, (slope, bias) = value_and_gradients(model, keras.losses.MeanSquaredError(), x, y)
        >>> float(loss), float(slope[0, 0]), float(bias[0])  # errors 1 and 5
        (13.0, 16.0, 6.0)
    """
    x, y = _batches.floats(x), ops.convert_to_tensor(y)
    loss, _, gradients = _value_outputs_gradients(model, loss_fn, x, y)
    return loss, list(gradients)


def train(
    model,
    data,
    *,
    loss,
    optimizer,
    epochs,
    batch_size=64,
    preprocess=None,
    augment=None,
    validation_data=None,
    checkpoint=None,
    save_every=None,
    patience=None,
    seed=0,
    verbose=1,
):
    r"""Trains a model by the loop of mini-batches, :eq:`eq-training-step`.

    .. math::

        \theta \leftarrow \text{update}\bigl(\theta,\, g\bigr), \quad
        g = \nabla_\theta\, \frac{1}{B} \sum_{i \in \text{batch}}
        \mathcal{L}\bigl(y_i, f_\theta(\mathcal{T}(\text{preprocess}(x_i)))\bigr)

    for every batch of :math:`B` images of every epoch. The order of the images
    depends on ``seed`` and the epoch alone, and the draws of ``augment`` on
    ``seed``, the epoch and the batch alone. So a run that was killed, at any
    moment, goes on from its last checkpoint and ends with the numbers that it
    would have ended with, bit for bit where the backend computes the same
    twice, as it does on a CPU.

    Args:
        model: A built Keras model; changed in place. With the policy
            ``mixed_float16`` the loss is scaled.
        data: ``(images, labels)``, shuffled anew each epoch, or batches
            ``(x, y)`` that can be gone through once an epoch (a ``tf.data``
            data set, a ``PyDataset``, a list), in their own order. Integer
            images become floats.
        loss: ``loss(y_true, y_pred)`` that returns one number for a batch,
            its mean, or a Keras loss.
        optimizer: A Keras optimizer or its name.
        epochs: How many in all, those of an interrupted run included.
        batch_size: Images in a batch :math:`B`, where ``data`` is arrays;
            the last one may be smaller.
        preprocess: Function of the images of a batch, training and
            validation, or None.
        augment: Function :math:`\mathcal{T}` of the preprocessed training
            images, or None. If it takes ``seed``, it gets an int for each
            batch; if it takes ``labels``, it gets and returns both. One that
            keeps a random state of its own does not resume exactly.
        validation_data: As ``data``, or None; in its own order.
        checkpoint: A folder for checkpoints, or None. If it has one of the
            same call, the run resumes from there.
        save_every: A checkpoint after every so many steps, beside the one
            after each epoch, or None.
        patience: Stop after so many epochs without a lower validation loss,
            and keep the weights of the best epoch; None goes on to the end.
        seed: Of order and augmentation, an int of at least 0.
        verbose: 1 for a progress bar, 2 for a line an epoch, 0 for silence.

    Returns:
        The history, a dict of lists with one float an epoch. It has ``loss``
        and, where the labels are classes, ``accuracy``, both as they were
        during the epoch, and ``val_loss`` and ``val_accuracy`` after it.

    Raises:
        ValueError: If an argument is out of range, the data are empty or can
            be gone through only once, the learning rate is negative, or the
            checkpoint is damaged or of another call or model.
        FloatingPointError: If the loss is not finite; the message has the
            step and the batch, and the last checkpoint stays.

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, algorithm 8.1,
        https://www.deeplearningbook.org

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> x, y = np.eye(2), np.array([0, 1])
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> history = train(model, (x, y), loss=loss, optimizer="sgd", epochs=3, verbose=0)
        >>> {name: len(values) for name, values in history.items()}
        {'loss': 3, 'accuracy': 3}
    """
    optimizer = keras.optimizers.get(optimizer)
    _require_arguments(epochs, batch_size, save_every, patience, validation_data, optimizer)
    scaled = keras.optimizers.LossScaleOptimizer
    if model.dtype_policy.name == "mixed_float16" and not isinstance(optimizer, scaled):
        optimizer = scaled(optimizer)
    optimizer.build(model.trainable_variables)
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}.")
    call = {"seed": seed, "batch_size": batch_size, "patience": patience}
    call["backend"] = keras.backend.backend()
    run = _Run(model, loss, optimizer, preprocess, augment, call)
    batches, count = _batches.epochs_of("data", data, batch_size)
    validation = None
    if validation_data is not None:
        validation, _ = _batches.epochs_of("validation_data", validation_data, batch_size)
    if checkpoint is not None:
        run.resume(checkpoint)
    while run.epoch < epochs and not run.has_stopped(patience):
        run.train_epoch(batches, count, f"Epoch {run.epoch + 1}/{epochs}", verbose, save_every)
        run.end_epoch(validation, patience, verbose)
    if run.best is not None:
        model.set_weights(run.best)
    return run.history

"""The training loop, on every backend, with checkpoints from which it resumes bit for bit.

Chapter: ``notebooks/12_training.ipynb``.
"""

from types import SimpleNamespace

from keras import ops

from cnnbook._training import optimizers
from cnnbook._training.batches import as_floats, as_tensor, batches_of, each
from cnnbook._training.callbacks import Callbacks
from cnnbook._training.checks import integer
from cnnbook._training.losses import loss_of
from cnnbook._training.run import Preparation, Run
from cnnbook._training.steps import value_outputs_gradients

__all__ = ["train", "value_and_gradients"]


def _settings(epochs, batch_size, save_every, patience, seed, verbose):
    """The numbers of a run, checked."""
    checked = SimpleNamespace(seed=integer("seed", seed))
    checked.verbose = integer("verbose", verbose, most=2)
    checked.epochs = integer("epochs", epochs, least=1)
    checked.batch_size = integer("batch_size", batch_size, least=1)
    for name, value in (("save_every", save_every), ("patience", patience)):
        setattr(checked, name, None if value is None else integer(name, value, least=1))
    return checked


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
    trained = model.trainable_variables
    loss, _, gradients = value_outputs_gradients(
        model, loss_fn, each(as_floats, x), each(as_tensor, y)
    )
    pairs = zip(gradients, trained, strict=True)
    return loss, [ops.zeros_like(v) if g is None else g for g, v in pairs]


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
    callbacks=(),
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
    settings = _settings(epochs, batch_size, save_every, patience, seed, verbose)
    if settings.patience is not None and validation_data is None:
        raise ValueError(f"patience={patience} needs validation_data to judge by.")
    training = batches_of("data", data, settings.batch_size)
    validation = None
    if validation_data is not None:
        validation = batches_of("validation_data", validation_data, settings.batch_size)
    loss = loss_of(loss)
    optimizer = optimizers.ready(optimizer, model)
    prepare = Preparation(preprocess, augment, settings.seed)
    shown = {"verbose": settings.verbose, "epochs": settings.epochs, "steps": training.count}
    called = Callbacks(callbacks, model, **shown)
    run = Run(model, loss, optimizer, prepare, called, settings)
    return run.go(training, validation, checkpoint)

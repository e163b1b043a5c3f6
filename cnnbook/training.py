"""The training loop, on every backend, with checkpoints from which it resumes bit for bit.

Chapter: ``notebooks/12_training.ipynb``.
"""

from types import SimpleNamespace

from keras import ops

from cnnbook._shared import arguments
from cnnbook._training import optimizers
from cnnbook._training.batches import as_floats, as_tensor, batches_of, each
from cnnbook._training.callbacks import Callbacks
from cnnbook._training.losses import loss_of
from cnnbook._training.preparation import Preparation
from cnnbook._training.run import Run
from cnnbook._training.steps import value_outputs_gradients

__all__ = ["train", "value_and_gradients"]


def _settings(epochs, batch_size, save_every, patience, seed, verbose):
    """The numbers of a run, checked."""
    checked = SimpleNamespace(seed=arguments.integer("seed", seed, 0))
    checked.verbose = arguments.integer("verbose", verbose, 0, 2)
    checked.epochs = arguments.positive_int("epochs", epochs)
    checked.batch_size = arguments.positive_int("batch_size", batch_size)
    for name, value in (("save_every", save_every), ("patience", patience)):
        setattr(checked, name, None if value is None else arguments.positive_int(name, value))
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
        >>> import keras
        >>> import numpy as np
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
    twice, as it does on a CPU. On the same batches it ends where ``fit`` ends,
    with any of Keras's optimizers: the moving average of the weights that an
    optimizer keeps (``use_ema``) takes their place after the last step.

    A run goes on only if it is the same: the numbers among the arguments, the
    number of images, the loss by its class and options or its name, the
    optimizer with all its options, the classes of the callbacks, and whether
    there are ``preprocess``, ``augment`` and ``validation_data``. What a function
    computes cannot be compared. ``epochs`` and ``save_every`` may differ, and so
    may the learning rate: if the caller's is not the one that the run was
    started with, it counts from here on, and the optimizer keeps its memory. A
    rate that a callback had changed meanwhile stays if the caller's has not.

    Args:
        model: A built Keras model; changed in place. With the policy
            ``mixed_float16`` the loss is scaled.
        data: ``(images, labels)`` or ``(images, labels, sample_weights)``,
            shuffled anew each epoch, or batches of such parts that can be gone
            through once an epoch (a ``tf.data`` data set, also of unknown
            length, a ``PyDataset``, a list), in their own order. Images of
            several inputs are a list or a dict of arrays. Integer images
            become floats.
        loss: ``loss(y_true, y_pred)`` that returns one number for a batch,
            its mean, a Keras loss, or the name of one, which is what ``fit``
            makes of it. With sample weights a function must take
            ``sample_weight``.
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
        callbacks: Keras callbacks, called as ``fit`` calls them; they find
            the optimizer as ``model.optimizer``. A checkpoint keeps what those
            of Keras remember, and what ``get_state()`` of another returns, for
            its ``set_state(state)``, which is called after ``on_train_begin``.
        checkpoint: A folder for checkpoints, or None. If it has one of the
            same call, the run resumes from there. Checkpoints of the package's
            first version, which had no digest of their progress, are refused.
        save_every: A checkpoint after every so many steps, beside the one
            after each epoch, or None.
        patience: Stop after so many epochs without a lower validation loss,
            and keep the weights of the best epoch; None goes on to the end.
        seed: Of order and augmentation, an int of at least 0.
        verbose: 1 for a progress bar, 2 for a line an epoch, 0 for silence.

    Returns:
        The history, a dict of lists with one float an epoch. It has ``loss``
        and, where the labels are classes, ``accuracy``, both as they were
        during the epoch, ``val_loss`` and ``val_accuracy`` after it, and what
        callbacks added to the logs of the epochs.

    Raises:
        ValueError: If an argument is out of range, the data are empty, endless
            or can be gone through only once, the learning rate is negative, a
            callback cannot be resumed although there is a ``checkpoint``, or
            the checkpoint is damaged or of another call or model.
        FloatingPointError: If the loss or an image is not finite; the message
            has the step and the batch, and the last checkpoint stays. What a
            callback raises carries a note with the same.

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, algorithm 8.1,
        https://www.deeplearningbook.org

    Example:
        >>> import keras
        >>> import numpy as np
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

"""One step on each backend: the same mathematics, three ways to differentiate and to compile it."""

import keras
from keras import ops

from cnnbook._training.batches import arrays


def variables(model, optimizer):
    """All that a step changes and the next one reads, in a fixed order."""
    metrics = {id(v) for v in model.metrics_variables}
    return [v for v in model.variables if id(v) not in metrics] + list(optimizer.variables)


def signature(model, optimizer):
    """[owner, shape, dtype] of each of those variables."""
    count, found = len(optimizer.variables), variables(model, optimizer)
    owners = ["model"] * (len(found) - count) + ["optimizer"] * count
    return [[o, list(v.shape), str(v.dtype)] for o, v in zip(owners, found, strict=True)]


def _same(loss):
    return loss


def value_outputs_gradients(model, loss_fn, x, y, weights=None, scale=_same):
    """(loss, outputs, gradients of the scaled loss); the model's own state moves on.

    The gradient of a variable without influence is None on TensorFlow and PyTorch, and zero on
    JAX, which is what Keras gives to the optimizer there.
    """
    differentiate = {"tensorflow": _by_tape, "torch": _by_torch, "jax": _by_jax}
    compute = differentiate[keras.backend.backend()]
    return compute(model, loss_fn, x, y, weights, scale)


def _by_tape(model, loss_fn, x, y, weights, scale):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = _total(loss_fn, y, outputs, weights, model.losses)
        scaled = scale(loss)
    gradients = tape.gradient(scaled, [v.value for v in model.trainable_variables])
    dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]  # of tables, too
    return loss, outputs, dense


def _by_torch(model, loss_fn, x, y, weights, scale):
    import torch

    outputs = model(x, training=True)
    loss = _total(loss_fn, y, outputs, weights, model.losses)
    values = [v.value for v in model.trainable_variables]
    gradients = torch.autograd.grad(scale(loss), values, allow_unused=True)
    return loss.detach(), keras.tree.map_structure(torch.Tensor.detach, outputs), list(gradients)


def _by_jax(model, loss_fn, x, y, weights, scale):
    import jax

    def compute(values):
        state = [v.value for v in model.non_trainable_variables]
        outputs, state, losses = model.stateless_call(
            values, state, x, training=True, return_losses=True
        )
        loss = _total(loss_fn, y, outputs, weights, losses)
        return scale(loss), (loss, outputs, state)

    differentiate = jax.grad(compute, has_aux=True)
    gradients, results = differentiate([v.value for v in model.trainable_variables])
    _assign(model.non_trainable_variables, results[2])
    return results[0], results[1], gradients


def _total(loss_fn, y, outputs, weights, penalties):
    """The loss of the batch and the penalties of the layers."""
    options = {} if weights is None else {"sample_weight": weights}
    loss = loss_fn(y, outputs, **options)
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
    if not ops.is_tensor(outputs):
        return ops.zeros((), "int32")
    scores = len(outputs.shape) > 1 and outputs.shape[-1] > 1
    return ops.argmax(outputs, axis=-1) if scores else ops.zeros((), "int32")


def _all_finite(x):
    """Whether every image is a number: pooling and ReLU may hide from the loss that it is none."""
    return ops.all(ops.stack([ops.all(ops.isfinite(a)) for a in arrays(x)]))


def training_step(model, loss_fn, optimizer):
    """step(x, y, weights) -> (loss, classes, are the images finite); compiled."""

    def forward_backward(x, y, weights):
        return value_outputs_gradients(model, loss_fn, x, y, weights, optimizer.scale_loss)

    def update(gradients):
        optimizer.apply(gradients, model.trainable_variables)

    backend = keras.backend.backend()
    if backend == "jax":
        return _jitted_step(model, optimizer, forward_backward)
    if backend == "tensorflow":
        import tensorflow as tf

        # XLA makes one pass of the update's many; on a CPU it would slow the convolutions down.
        update = tf.function(update, jit_compile=True)

    def step(x, y, weights):
        loss, outputs, gradients = forward_backward(x, y, weights)
        update(gradients)
        return loss, _classes(outputs), _all_finite(x)

    return tf.function(step, reduce_retracing=True) if backend == "tensorflow" else step


def _jitted_step(model, optimizer, forward_backward):
    import jax

    @jax.jit
    def pure(values, state, slots, x, y, weights):
        owners = [*model.trainable_variables, *model.non_trainable_variables, *optimizer.variables]
        mapping = list(zip(owners, [*values, *state, *slots], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            loss, outputs, gradients = forward_backward(x, y, weights)
        state = [scope.get_current_value(v) for v in model.non_trainable_variables]
        values, slots = optimizer.stateless_apply(slots, gradients, values)
        return (loss, _classes(outputs), _all_finite(x)), values, state, slots

    def step(x, y, weights):
        owners = model.trainable_variables, model.non_trainable_variables, optimizer.variables
        results, *new = pure(*([v.value for v in group] for group in owners), x, y, weights)
        for group, values in zip(owners, new, strict=True):
            _assign(group, values)
        return results

    return step


def evaluation_step(model, loss_fn):
    """step(x, y, weights) -> (loss, classes, are the images finite), the model unchanged."""

    def step(x, y, weights):
        outputs = model(x, training=False)
        loss = _total(loss_fn, y, outputs, weights, model.losses)
        return loss, _classes(outputs), _all_finite(x)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(step, reduce_retracing=True)
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(step)
    import jax

    @jax.jit
    def pure(values, state, x, y, weights):
        outputs, _, losses = model.stateless_call(
            values, state, x, training=False, return_losses=True
        )
        loss = _total(loss_fn, y, outputs, weights, losses)
        return loss, _classes(outputs), _all_finite(x)

    owners = model.trainable_variables, model.non_trainable_variables
    return lambda *batch: pure(*([v.value for v in group] for group in owners), *batch)


def torch_generators():
    """PyTorch's own random states, from which Keras draws dropout there; {} elsewhere."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {"cpu": torch.get_rng_state()}
    states |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return {name: state.numpy().tobytes().hex() for name, state in states.items()}


def restore_torch_generators(states):
    if states:
        import torch

        for name, text in states.items():
            state = torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
            if name == "cpu":
                torch.set_rng_state(state)
            else:
                torch.cuda.set_rng_state(state, name)

"""One step on each backend: the same mathematics, three ways to differentiate and to compile it."""

import keras
from keras import ops


def value_outputs_gradients(model, loss_fn, x, y, scale=lambda loss: loss):
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


def training_step(model, loss_fn, optimizer):
    """step(x, y) -> (loss, classes): forward, backward, update; compiled."""
    backend, variables = keras.backend.backend(), optimizer.variables

    def forward_backward(x, y):
        return value_outputs_gradients(model, loss_fn, x, y, optimizer.scale_loss)

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


def evaluation_step(model, loss_fn):
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

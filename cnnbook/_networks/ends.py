"""What the last layers of a network do to its logits."""

import functools

import keras
from keras import ops

BOUNDED = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")
KEEPING = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
)


def probabilities(model):
    """(layer, "softmax", "sigmoid" or the like) that bounds the outputs, or None.

    The first output is followed back through layers that keep its values, and through nested
    models. A layer with code of its own, such as Lambda, cannot be looked into.
    """
    return _followed(model.outputs[0], None)


def _followed(tensor, outside):
    """`outside` is (nested model, what it is called with, the outside of that call), or None."""
    operation, index, place = tensor._keras_history
    if isinstance(operation, keras.layers.InputLayer):
        return _through_input(tensor, outside)
    kind = _bound(operation)
    if kind is not None:
        return operation, kind
    called_with = operation._inbound_nodes[index].input_tensors
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return _followed(operation.outputs[place], (operation, called_with, outside))
    if isinstance(operation, keras.layers.Wrapper):
        return None
    is_kept = isinstance(operation, (*KEEPING, *_moves())) or _is_linear(operation)
    return _followed(called_with[0], outside) if is_kept else None


def _through_input(tensor, outside):
    if outside is None:
        return None
    model, called_with, further = outside
    places = [i for i, entry in enumerate(model.inputs) if entry is tensor]
    return _followed(called_with[places[0]], further) if places else None


def _bound(operation):
    """The name of the function by which a layer or an operation bounds its outputs, or None."""
    if isinstance(operation, keras.layers.TimeDistributed):
        return _bound(operation.layer)
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    activation = getattr(operation, "activation", None)
    if isinstance(activation, keras.Layer):
        return _bound(activation)
    for name in BOUNDED:
        if activation is not None and activation in (
            getattr(keras.activations, name),
            getattr(ops, name),
        ):
            return name
    return _bounding().get(type(operation))


def _is_linear(operation):
    is_activation = isinstance(operation, keras.layers.Activation)
    return is_activation and operation.activation is keras.activations.linear


def _class_of(tensor):
    """The class that stands in a graph for a function of `keras.ops`."""
    return type(tensor._keras_history.operation)


@functools.cache
def _bounding():
    x = keras.KerasTensor((2, 1, 3))
    return {_class_of(getattr(ops, name)(x)): name for name in BOUNDED}


@functools.cache
def _moves():
    """The operations whose outputs are values of their inputs."""
    x = keras.KerasTensor((2, 1, 3))
    copies = ops.copy(x), ops.cast(x, "float16"), ops.stop_gradient(x), ops.clip(x, 0, 1), x[0]
    shapes = ops.reshape(x, (2, 3)), ops.ravel(x), ops.squeeze(x, 1), ops.expand_dims(x, 0)
    axes = ops.transpose(x), ops.moveaxis(x, 1, 2), ops.swapaxes(x, 1, 2)
    return tuple(_class_of(y) for y in (*copies, *shapes, *axes))

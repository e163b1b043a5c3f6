"""What a layer is: decided by its class and its functions, never by what they are called.

A user's own ``Conv2D``, or a function of the name ``relu``, may compute something else.
"""

import keras

CONVOLUTIONS = ("Conv2D", "SeparableConv2D")
LINEAR = (*CONVOLUTIONS, "DepthwiseConv2D", "Dense")
RELUS = ("ReLU", "Relu", "Relu6", "LeakyReLU", "PReLU")  # two of them from keras.ops
MERGES = ("Add", "Concatenate")
AVERAGES = ("AveragePooling2D",)  # means of values that keep the scale of their input
# The output holds values of the input, so it needs no range of its own.
SELECTIONS = (
    "Dropout",
    "Flatten",
    "GlobalMaxPooling2D",
    "Identity",
    "MaxPooling2D",
    "Reshape",
    "SpatialDropout2D",
    "UpSampling2D",
    "ZeroPadding2D",
)
ACTIVATIONS = (  # functions of one value, in keras.activations
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "celu"),
    *("tanh", "sigmoid", "hard_tanh", "hard_sigmoid", "hard_silu", "softplus", "softsign"),
    *("log_sigmoid", "exponential", "tanh_shrink", "hard_shrink", "soft_shrink", "squareplus"),
)


def kind_of(operation):
    """ "Conv2D" for Keras's own Conv2D, and a name with dots for any other class."""
    cls = type(operation)
    if getattr(keras.layers, cls.__name__, None) is cls:
        return cls.__name__
    is_layer = issubclass(cls, keras.layers.Layer)
    if not is_layer and cls.__module__.startswith(("keras.src.ops.", "keras.src.activations.")):
        return cls.__name__
    return f"{cls.__module__}.{cls.__qualname__}"


def activation_of(operation):
    """ "relu" for `keras.activations.relu`, "linear" for none, and a name with dots for others."""
    if kind_of(operation) == "Softmax":
        return "softmax"
    function = getattr(operation, "activation", None)
    if function is None:
        return "linear"
    name = getattr(function, "__name__", None)
    if name is not None and getattr(keras.activations, name, None) is function:
        return name
    named = function if name is not None else type(function)
    return f"{named.__module__}.{named.__qualname__}"

"""Small networks that hold every layer which quantization knows."""

import keras
import numpy as np
from keras import layers
from support import to_numpy

SHAPE = (8, 8, 3)


def images(n=32, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype("float32")


def plain():
    return [
        layers.Conv2D(4, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(6, activation="relu"),
        layers.Dense(5),
    ]


def residual():
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.ReLU(max_value=6.0)(layers.Add()([x, y]))
    shortcut = layers.Conv2D(6, 1, strides=2)(x)
    y = layers.Conv2D(6, 3, strides=2, padding="same")(x)
    x = layers.Activation("relu")(layers.Add()([shortcut, layers.BatchNormalization()(y)]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5)(x))


def mobile():
    x = inputs = keras.Input(SHAPE)
    x = layers.BatchNormalization()(x)  # follows nothing that it could be folded into
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2)(x)
    y = layers.LeakyReLU(negative_slope=0.1)(layers.BatchNormalization(scale=False)(y))
    x = layers.Concatenate()([x, y])
    x = layers.Conv2D(4, 3, groups=2, dilation_rate=2, activation="leaky_relu")(x)
    x = layers.AveragePooling2D(2)(layers.ZeroPadding2D(1)(x))
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))


def nested():
    inner = keras.Sequential([keras.Input(SHAPE), *plain()[:4]], name="inner")
    head = [layers.Flatten(), layers.Dense(5)]
    return keras.Sequential([keras.Input(SHAPE), inner, *head])


def shared():
    conv, norm = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()
    x = inputs = keras.Input(SHAPE)
    x = layers.ReLU()(norm(conv(layers.ReLU()(norm(conv(x))))))
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))


NETWORKS = {
    "plain": lambda: keras.Sequential([keras.Input(SHAPE), *plain()]),
    "residual": residual,
    "mobile": mobile,
    "nested": nested,
    "shared": shared,
}


def network(name, seed=0):
    """A network whose every weight and moving average is random."""
    keras.utils.set_random_seed(seed)
    model, rng = NETWORKS[name](), np.random.default_rng(seed)
    for weight in model.weights:
        value = to_numpy(weight) + 0.1 * rng.normal(size=weight.shape)
        weight.assign(np.abs(value) + 0.2 if "variance" in weight.path else value)
    return model

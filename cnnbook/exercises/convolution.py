"""Answers to the exercises of ``notebooks/01_convolution.ipynb``."""

import numpy as np

from cnnbook.convolution import conv2d, conv2d_gradients, conv_output_size
from cnnbook.exercises import Array, Function, Number

IMAGE = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [4.0, 0.0, 1.0]])
KERNEL = np.array([[1.0, 0.0], [2.0, -1.0]])
GRADIENT = np.array([[1.0, 0.0], [0.0, 2.0]])


def _four_dimensional(image):
    return np.asarray(image)[None, :, :, None]


def kernel_gradient():
    dy = _four_dimensional(GRADIENT)
    kernel = KERNEL[:, :, None, None]
    _, dkernel, _ = conv2d_gradients(
        _four_dimensional(IMAGE), kernel, dy, data_format="channels_last"
    )
    return dkernel[:, :, 0, 0]


def shift_right():
    kernel = np.zeros((3, 3))
    kernel[1, 0] = 1.0
    return kernel


def correlate(image, kernel, stride):
    y = conv2d(
        _four_dimensional(image),
        np.asarray(kernel)[:, :, None, None],
        strides=stride,
        data_format="channels_last",
    )
    return y[0, :, :, 0]


def draw_correlate(rng):
    height, width = rng.integers(5, 9, size=2)
    return rng.normal(size=(height, width)), rng.normal(size=(2, 3)), int(rng.integers(2, 4))


def receptive_field(layers):
    field, step = 1, 1
    for kernel_size, stride in layers:
        field += (kernel_size - 1) * step
        step *= stride
    return field


def draw_layers(rng):
    first = (int(rng.integers(2, 8)), 2)
    rest = [(int(k), int(s)) for k, s in rng.integers((1, 1), (6, 4), size=(3, 2))]
    return ([first, *rest, (3, 3)],)


EXERCISES = {
    "convolution-1": Number(
        lambda: conv_output_size(40, 5, stride=3, padding=3, dilation_rate=2),
        hint="Work out how many pixels the dilated kernel spans, then count the places it fits.",
        mistakes=[
            (14, "You left out the dilation: a dilated kernel spans more pixels than it has."),
            (11, "You left out the padding, which widens the image on both sides."),
            (12, "Close: the first window counts too, before any stride is taken."),
        ],
    ),
    "convolution-2": Array(
        kernel_gradient,
        hint="Each kernel entry met four pixels; weight each by the gradient of its output.",
        mistakes=[
            (np.array([[3.0, 0.0], [8.0, 3.0]]), "You turned the kernel over."),
            (
                np.array([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 4.0, -2.0]]),
                "That is the gradient with respect to the image.",
            ),
            (
                np.array([[0.75, 2.0], [0.0, 0.75]]),
                "You took the mean over the positions; the gradient is a sum.",
            ),
        ],
    ),
    "convolution-3": Array(
        shift_right,
        hint="Which pixel of the input must output (i, j) show for the picture to move right?",
        mistakes=[
            (np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]]), "That moves the picture to the left."),
            (np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]]), "That moves the picture down."),
            (np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]), "That leaves the picture in its place."),
            (np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0]]), "That moves the picture up."),
        ],
    ),
    "convolution-4": Function(
        correlate,
        draw_correlate,
        hint="Output (i, j) starts at row stride * i and column stride * j.",
        mistakes=[
            (
                lambda x, k, s: correlate(x, k[::-1, ::-1], s),
                "You flipped the kernel: that is the convolution of mathematics.",
            ),
            (lambda x, k, s: correlate(x, k, 1), "You left out the stride."),
            (
                lambda x, k, s: correlate(np.pad(x, ((1, 0), (1, 0))), k, s),
                "You padded the image; here only whole windows count.",
            ),
        ],
    ),
    "convolution-5": Function(
        receptive_field,
        draw_layers,
        hint="Go forward, and keep two numbers: the field so far, and how far apart two "
        "neighbouring outputs lie in the input.",
        mistakes=[
            (
                lambda layers: 1 + sum(k - 1 for k, _ in layers),
                "You left out the strides: later layers step over more pixels.",
            ),
            (lambda layers: sum(k for k, _ in layers), "You added the kernel sizes: they overlap."),
            (
                lambda layers: receptive_field([(k, s) for k, s in layers[::-1]]),
                "You went through the layers from the wrong end.",
            ),
        ],
    ),
}

"""Ranges from images."""

import numpy as np
from keras import ops

from cnnbook._networks.quantized_layers import QuantizedActivation


def calibrate(model, images, batch_size=64):
    """Sets every range of a quantized model to what the images show."""
    images = images_of(model, images)
    observers = [layer for layer in model.layers if isinstance(layer, QuantizedActivation)]
    try:
        for observer in observers:
            observer.calibrating = True
        for start in range(0, len(images), batch_size):
            model(images[start : start + batch_size], training=False)
    finally:
        for observer in observers:
            observer.calibrating = False


def images_of(model, images):
    if len(model.inputs) != 1:
        raise ValueError(f"calibration needs a model with one input, this has {len(model.inputs)}.")
    images = np.asarray(ops.convert_to_numpy(images))
    if images.dtype.kind != "f":
        raise ValueError(
            "calibration_images must be floats, as the model takes them in training, "
            f"got {images.dtype}."
        )
    expected = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(expected) + 1 and all(
        size in (None, given) for size, given in zip(expected, images.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"calibration_images must have shape (N, {', '.join(map(str, expected))}), "
            f"got {images.shape}."
        )
    if not len(images):
        raise ValueError("calibration_images must hold at least one image, got none.")
    images = images.astype("float32")
    if not np.isfinite(images).all():
        raise ValueError("calibration_images must be finite, but some are NaN or infinite.")
    return images

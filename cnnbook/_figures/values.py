"""What is drawn, as NumPy arrays: images, labels, curves, and the range of their values."""

import numpy as np

from cnnbook._shared import arguments


def images_of(images):
    """A list of arrays (H, W) or (H, W, 3)."""
    whole = not isinstance(images, (list, tuple))
    if whole:
        images = arguments.as_numpy("images", images)
        if images.ndim not in (3, 4):
            raise ValueError(f"images must be (N, H, W) or (N, H, W, C), got shape {images.shape}.")
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none.")
    return [image_of("images", image) for image in images]


def image_of(name, image):
    image = arguments.as_numpy(name, image)
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got an image of shape {image.shape}.")
    if 0 in image.shape:
        raise ValueError(f"{name} must have pixels, got an image of shape {image.shape}.")
    color = image.ndim == 3 and image.dtype != np.uint8
    if color and not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            f"{name} in color must be uint8 or from 0 to 1, "
            f"got values from {image.min():.3g} to {image.max():.3g}."
        )
    return image


def shared_range(arrays, vmin=None, vmax=None):
    """The smallest and the largest value, as far as they are not given."""
    gray = [a for a in arrays if a.ndim == 2]
    low = None
    high = None
    if gray and all(a.dtype == np.uint8 for a in gray):
        low, high = 0, 255
    elif gray:
        low = float(np.min([np.min(a) for a in gray]))
        high = float(np.max([np.max(a) for a in gray]))
        high = high if high > low else low + 1
    low = low if vmin is None else arguments.number("vmin", vmin)
    high = high if vmax is None else arguments.number("vmax", vmax)
    if low is not None and high is not None and low > high:
        raise ValueError(f"vmin={low} must be at most vmax={high}.")
    return low, high


def labels_of(name, labels, classes):
    labels = arguments.as_numpy(name, labels)
    if labels.ndim != 1 or len(labels) == 0 or labels.dtype.kind not in "iub":
        raise ValueError(
            f"{name} must be integer labels of shape (N,), got {labels.dtype} {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{name} must be from 0 to {classes - 1}, one for each of {classes} class names, "
            f"got {labels.min()} to {labels.max()}."
        )
    return labels.astype("int64")


def texts_of(name, texts):
    """The entries as texts, whatever they are."""
    try:
        return [str(text) for text in texts]
    except (TypeError, NotImplementedError):
        raise ValueError(f"{name} must be a list of texts, got {texts!r}.") from None


def runs_of(history):
    """A list of dicts of lists, one dict for each run; all hold the same metrics."""
    runs = list(history) if isinstance(history, (list, tuple)) else [history]
    runs = [getattr(run, "history", run) for run in runs]
    for run in runs:
        if not isinstance(run, dict) or not all(isinstance(key, str) for key in run):
            raise ValueError(f"history must be a dict of lists, or a list of them, got {run!r}.")
    if not runs or not runs[0]:
        raise ValueError("history must hold at least one metric, got none.")
    if any(set(run) != set(runs[0]) for run in runs):
        raise ValueError(f"history has runs of different metrics, {[sorted(run) for run in runs]}.")
    return {key: _epochs(key, [run[key] for run in runs]) for key in runs[0]}


def _epochs(key, runs):
    """The values of one metric, (runs, epochs)."""
    runs = [arguments.as_numpy(f"history[{key!r}]", run) for run in runs]
    lengths = sorted({run.size for run in runs})
    if len(lengths) > 1 or lengths == [0] or any(run.ndim != 1 for run in runs):
        raise ValueError(f"history[{key!r}] must have one value an epoch, got lengths {lengths}.")
    return np.stack(runs).astype("float64")

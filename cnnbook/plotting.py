"""The pictures that chapters share.

Every function returns the Axes that it drew on and takes Axes of one's own.
Gray images keep their scale: uint8 runs from 0 to 255, other numbers from the
smallest to the largest value of all images that stand together, so that equal
shades mean equal numbers.
"""

import keras
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from cnnbook._shared import arguments, windows

__all__ = [
    "confusion",
    "convolution_window",
    "feature_maps",
    "kernels",
    "learning_curves",
    "show_images",
]

DIVERGING = "RdBu_r"
MOST_NUMBERS = 144  # pixels of an image, that numbers are still readable


def _to_numpy(values):
    """A NumPy array of anything that holds numbers, a tensor on a GPU included."""
    if isinstance(values, np.ndarray):
        return values
    return np.asarray(keras.ops.convert_to_numpy(values))


def _images(images):
    """A list of arrays (H, W) or (H, W, 3)."""
    whole = isinstance(images, (list, tuple))
    images = [_to_numpy(image) for image in images] if whole else _to_numpy(images)
    if not whole and images.ndim not in (3, 4):
        raise ValueError(f"images must be (N, H, W) or (N, H, W, C), got shape {images.shape}.")
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none.")
    return [_image("images", image) for image in images]


def _image(name, image):
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got an image of shape {image.shape}.")
    color = image.ndim == 3 and image.dtype != np.uint8
    if color and not (image.min(initial=0) >= 0 and image.max(initial=0) <= 1):
        raise ValueError(
            f"{name} in color must be uint8 or from 0 to 1, "
            f"got values from {image.min():.3g} to {image.max():.3g}."
        )
    return image


def _shared_range(arrays, vmin, vmax):
    gray = [a for a in arrays if a.ndim == 2 and a.size]
    if gray and all(a.dtype == np.uint8 for a in gray):
        low, high = 0, 255
    elif gray:
        low, high = (float(f(f(a) for a in gray)) for f in (_least, _most))
        high = high if high > low else low + 1
    else:
        low, high = None, None
    return low if vmin is None else vmin, high if vmax is None else vmax


def _least(values):
    return np.min(values if isinstance(values, np.ndarray) else list(values))


def _most(values):
    return np.max(values if isinstance(values, np.ndarray) else list(values))


def _panels(count, columns, axes, size, title):
    """A grid of Axes for `count` pictures, or the ones given; those left over are hidden."""
    if axes is None:
        columns = min(arguments.positive_int("columns", columns), count)
        rows = -(-count // columns)
        height = rows * size + (0.4 if title else 0)
        figure, axes = plt.subplots(
            rows, columns, figsize=(columns * size, height), squeeze=False, layout="constrained"
        )
        if title:
            figure.suptitle(title)
    else:
        axes = np.asarray(axes)
        if axes.size < count:
            raise ValueError(f"axes must have {count} panels, got {axes.size}.")
        if title and axes.size:
            axes.flat[0].figure.suptitle(title)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return axes


def _titles(titles, count):
    if titles is None:
        return [""] * count
    titles = [str(t) for t in titles]
    if len(titles) != count:
        raise ValueError(
            f"titles must have one entry for each of {count} images, got {len(titles)}."
        )
    return titles


def _bare(ax):
    ax.set_xticks([])
    ax.set_yticks([])


def show_images(
    images,
    *,
    titles=None,
    columns=8,
    title=None,
    cmap="gray",
    vmin=None,
    vmax=None,
    size=1.4,
    axes=None,
):
    """Shows images side by side.

    Args:
        images: ``(N, H, W)`` or ``(N, H, W, C)`` with 1 or 3 channels, or a
            list of images, which may differ in size. Color is uint8 or 0 to 1.
        titles: One text for each image.
        columns: How many images stand in a row.
        title: The title of the whole picture.
        cmap: The color map of gray images.
        vmin, vmax: What is black and what is white; by default 0 and 255 for
            uint8, else the smallest and the largest value of all the images.
        size: Inches for one image.
        axes: Axes of one's own, at least one for each image.

    Returns:
        An array of Axes, ``(rows, columns)`` or as given.

    Raises:
        ValueError: If the images have no shape to be shown in, colors are out
            of range, or ``titles`` or ``axes`` are too few.

    Example:
        >>> from cnnbook.datasets import load
        >>> from cnnbook.plotting import show_images
        >>> digits = load("digits")
        >>> show_images(digits.x_test[:8], titles=digits.y_test[:8]).shape
        (1, 8)
    """
    images = _images(images)
    titles = _titles(titles, len(images))
    vmin, vmax = _shared_range(images, vmin, vmax)
    axes = _panels(len(images), columns, axes, size, title)
    for ax, image, text in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap=cmap, vmin=vmin, vmax=vmax, interpolation="nearest")
        ax.set_title(text, fontsize="medium")
        _bare(ax)
    return axes


def feature_maps(
    maps, *, titles=None, columns=8, title="Feature maps", cmap="viridis", colorbar=True, axes=None
):
    """Shows the channels of one image's feature maps, all on one scale.

    Args:
        maps: ``(H, W, C)``, or ``(1, H, W, C)``: a batch of one.
        titles: One text for each channel; by default ``channel 0``, ...
        columns: How many maps stand in a row.
        title: The title of the whole picture.
        cmap: The color map.
        colorbar: Whether the scale is drawn beside the maps.
        axes: Axes of one's own, at least one for each channel.

    Returns:
        An array of Axes, ``(rows, columns)`` or as given.

    Raises:
        ValueError: If ``maps`` are not one image's, or ``titles`` or ``axes``
            are too few.

    Example:
        >>> import numpy as np
        >>> from cnnbook.plotting import feature_maps
        >>> feature_maps(np.random.default_rng(0).normal(size=(6, 6, 4))).shape
        (1, 4)
    """
    maps = _to_numpy(maps)
    if maps.ndim == 4 and len(maps) == 1:
        maps = maps[0]
    if maps.ndim != 3 or 0 in maps.shape:
        raise ValueError(f"maps must be (H, W, C) or (1, H, W, C), got shape {maps.shape}.")
    channels = list(np.moveaxis(maps, -1, 0))
    if titles is None:
        titles = [f"channel {c}" for c in range(len(channels))]
    axes = show_images(channels, titles=titles, columns=columns, title=title, cmap=cmap, axes=axes)
    if colorbar:
        first = axes.flat[0]
        first.figure.colorbar(first.images[0], ax=list(axes.flat), label="activation")
    return axes


def kernels(kernel, *, title="Kernels", cmap=DIVERGING, numbers=None, colorbar=True, axes=None):
    """Shows a convolution's kernel: a row for each input channel, a column for each filter.

    The color map is centered: 0 is its middle, and weights of equal size and
    opposite sign are equally far from it. The two ends are equally dark in a
    gray print, so the numbers tell the sign.

    Args:
        kernel: ``(kh, kw, C_in, C_out)``.
        title: The title of the whole picture.
        cmap: The color map, a diverging one.
        numbers: Whether the weights are written on the pixels; by default
            where a kernel is 5x5 or smaller and there are up to 16 of them.
        colorbar: Whether the scale is drawn beside the kernels.
        axes: Axes of one's own, at least one for each kernel.

    Returns:
        An array of Axes, ``(C_in, C_out)`` or as given.

    Raises:
        ValueError: If ``kernel`` has another rank or no weights, or ``axes``
            are too few.

    Example:
        >>> import numpy as np
        >>> from cnnbook.plotting import kernels
        >>> kernels(np.array([[1.0, 0.0, -1.0]]).reshape(1, 3, 1, 1)).shape
        (1, 1)
    """
    kernel = _to_numpy(kernel)
    if kernel.ndim != 4 or kernel.size == 0:
        raise ValueError(f"kernel must be (kh, kw, C_in, C_out), got shape {kernel.shape}.")
    kh, kw, c_in, c_out = kernel.shape
    if numbers is None:
        numbers = max(kh, kw) <= 5 and c_in * c_out <= 16
    largest = float(np.abs(kernel).max()) or 1.0
    pairs = [(c, k) for c in range(c_in) for k in range(c_out)]
    axes = show_images(
        [kernel[:, :, c, k] for c, k in pairs],
        titles=[f"filter {k}" if c == 0 else "" for c, k in pairs],
        columns=c_out,
        title=title,
        cmap=cmap,
        vmin=-largest,
        vmax=largest,
        size=1.9 if numbers else 1.2,
        axes=axes,
    )
    for ax, (c, k) in zip(axes.flat, pairs, strict=False):
        if k == 0:
            ax.set_ylabel(f"input {c}")
        if numbers:
            _write_numbers(ax, kernel[:, :, c, k])
    if colorbar:
        first = axes.flat[0]
        first.figure.colorbar(first.images[0], ax=list(axes.flat), label="weight")
    return axes


def _write_numbers(ax, values, offset=(0, 0)):
    """Writes each number on its pixel, dark on light and light on dark."""
    picture = ax.images[0]
    rgb = picture.cmap(picture.norm(values))[..., :3]
    light = rgb @ np.array([0.299, 0.587, 0.114]) > 0.5
    for (i, j), value in np.ndenumerate(values):
        text = f"{value}" if values.dtype.kind in "iub" else f"{value:.2g}"
        ax.text(
            j + offset[1],
            i + offset[0],
            text,
            ha="center",
            va="center",
            fontsize="small",
            color="black" if light[i, j] else "white",
        )


def confusion(
    y_true,
    y_pred,
    class_names,
    *,
    title="Confusion matrix",
    cmap="cividis",
    normalize=None,
    ax=None,
):
    """Draws how often each class was taken for each class.

    Args:
        y_true: Integer labels, shape ``(N,)``.
        y_pred: Predicted labels, shape ``(N,)``.
        class_names: One name for each label; classes that do not occur keep
            their row and column.
        title: The title.
        cmap: The color map.
        normalize: None counts; ``"true"`` divides each row by its sum, so
            that the diagonal is the recall.
        ax: Axes of one's own.

    Returns:
        The Axes.

    Raises:
        ValueError: If the labels are not integers from 0 to the number of
            classes, or differ in number.

    Example:
        >>> from cnnbook.plotting import confusion
        >>> ax = confusion([0, 1, 1], [0, 1, 0], ["cat", "dog"])
        >>> ax.get_ylabel()
        'True label'
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    class_names = [str(name) for name in class_names]
    y_true = _labels("y_true", y_true, len(class_names))
    y_pred = _labels("y_pred", y_pred, len(class_names))
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true has {len(y_true)} labels, but y_pred has {len(y_pred)}.")
    if normalize not in (None, "true"):
        raise ValueError(f"normalize must be None or 'true', got {normalize!r}.")
    if ax is None:
        size = max(3.5, 0.55 * len(class_names) + 1.5)
        _, ax = plt.subplots(figsize=(size, size), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        y_true,
        y_pred,
        labels=range(len(class_names)),
        display_labels=class_names,
        normalize=normalize,
        values_format=None if normalize is None else ".2f",
        xticks_rotation=90 if max(map(len, class_names)) > 2 else 0,
        cmap=cmap,
        colorbar=False,
        ax=ax,
    )
    ax.set_title(title)
    return ax


def _labels(name, labels, classes):
    labels = _to_numpy(labels)
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


def learning_curves(history, *, title="Learning curves", axes=None):
    """Draws each metric against the epoch, training solid, validation dashed.

    Args:
        history: A dict of lists, one value an epoch, such as ``train``
            returns, or what ``model.fit`` returns, or a list of these, one
            for each seed: then the lines are means, in a band from the
            smallest to the largest value. ``val_loss`` is drawn with ``loss``.
        title: The title of the whole picture.
        axes: Axes of one's own, at least one for each metric.

    Returns:
        An array of Axes, one for each metric.

    Raises:
        ValueError: If there is nothing to draw, the runs differ in length or
            metrics, or ``axes`` are too few.

    Example:
        >>> from cnnbook.plotting import learning_curves
        >>> axes = learning_curves({"loss": [2.0, 1.0], "val_loss": [2.1, 1.5]})
        >>> [line.get_label() for line in axes.flat[0].lines]
        ['training', 'validation']
    """
    runs = list(history) if isinstance(history, (list, tuple)) else [history]
    runs = [getattr(run, "history", run) for run in runs]
    if not runs or not runs[0]:
        raise ValueError("history must hold at least one metric, got none.")
    if any(set(run) != set(runs[0]) for run in runs):
        raise ValueError(f"history has runs of different metrics, {[sorted(run) for run in runs]}.")
    metrics = list(dict.fromkeys(key.removeprefix("val_") for key in runs[0]))
    axes = np.atleast_1d(_panels(len(metrics), len(metrics), axes, 3.6, title))
    for ax, metric in zip(axes.flat, metrics, strict=False):
        for key, label, style in ((metric, "training", "-"), (f"val_{metric}", "validation", "--")):
            if key in runs[0]:
                _curve(ax, key, [run[key] for run in runs], label, style)
        ax.set(xlabel="epoch", ylabel=metric.replace("_", " "), title=metric.replace("_", " "))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return axes


def _curve(ax, key, values, label, style):
    lengths = sorted({len(run) for run in values})
    if len(lengths) > 1 or lengths == [0]:
        raise ValueError(f"history[{key!r}] must have one value an epoch, got lengths {lengths}.")
    values = np.asarray(values, "float64")
    epochs = np.arange(1, values.shape[1] + 1)
    marker = "o" if values.shape[1] == 1 else None
    (line,) = ax.plot(epochs, values.mean(0), style, label=label, marker=marker)
    if len(values) > 1:
        ax.fill_between(epochs, values.min(0), values.max(0), color=line.get_color(), alpha=0.2)


def convolution_window(
    image,
    *,
    position,
    kernel_size,
    strides=1,
    padding="valid",
    dilation_rate=1,
    numbers=None,
    title=None,
    cmap="gray",
    ax=None,
):
    """Draws an image and the pixels that one output of a convolution looks at.

    The zeros that padding adds are drawn around the image, whose own border
    is then a dashed line. Rows and columns are numbered from the image's
    first pixel, so that those of the padding on top and left are negative.

    Args:
        image: ``(H, W)`` or ``(H, W, C)`` with 1 or 3 channels.
        position: Row and column of the output.
        kernel_size: An int, or height and width.
        strides: An int or a pair.
        padding: ``"valid"``, ``"same"``, an int or ``((top, bottom), (left, right))``.
        dilation_rate: An int or a pair.
        numbers: Whether the values are written on the pixels; by default on
            gray images of up to 144 pixels, padding included.
        title: The title; by default it names the output's position.
        cmap: The color map of gray images.
        ax: Axes of one's own.

    Returns:
        The Axes.

    Raises:
        ValueError: If the image cannot be shown, an argument of the
            convolution is out of range, or the output has no such position.

    Example:
        >>> import numpy as np
        >>> from cnnbook.plotting import convolution_window
        >>> ax = convolution_window(np.eye(5), position=(1, 2), kernel_size=3)
        >>> print(ax.get_title())
        output (1, 2) sees rows 1 to 3,
        columns 2 to 4
    """
    image = _image("image", _to_numpy(image))
    sizes, rates = image.shape[:2], arguments.positive_pair("dilation_rate", dilation_rate)
    kernel_size = arguments.positive_pair("kernel_size", kernel_size)
    strides = arguments.positive_pair("strides", strides)
    pads = windows.pad_amounts(padding, sizes, kernel_size, strides, rates)
    padded = [n + sum(p) for n, p in zip(sizes, pads, strict=True)]
    counts = windows.window_counts(padded, kernel_size, strides, rates)
    position = _position(position, counts)
    corner = [i * s - p[0] for i, s, p in zip(position, strides, pads, strict=True)]
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 4), layout="constrained")
    _draw_padded(ax, image, pads, numbers, cmap)
    _draw_window(ax, corner, kernel_size, rates)
    ends = [c + (k - 1) * d for c, k, d in zip(corner, kernel_size, rates, strict=True)]
    spans = [f"{first} to {last}" for first, last in zip(corner, ends, strict=True)]
    ax.set(
        xlabel="column",
        ylabel="row",
        title=title or f"output {position} sees rows {spans[0]},\ncolumns {spans[1]}",
    )
    return ax


def _position(position, counts):
    try:
        row, column = (p.__index__() for p in position)
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"position must be a row and a column, got {position!r}.") from None
    if not (0 <= row < counts[0] and 0 <= column < counts[1]):
        raise ValueError(
            f"position must lie in the output of {counts[0]}x{counts[1]}, got {position!r}."
        )
    return row, column


def _draw_padded(ax, image, pads, numbers, cmap):
    vmin, vmax = _shared_range([image], None, None)
    padded = np.pad(image, (*pads, *[(0, 0)] * (image.ndim - 2)))
    (top, _), (left, _) = pads
    rows, columns = padded.shape[:2]
    extent = (-left - 0.5, columns - left - 0.5, rows - top - 0.5, -top - 0.5)
    ax.imshow(padded, cmap=cmap, vmin=vmin, vmax=vmax, extent=extent, interpolation="nearest")
    if any(map(any, pads)):
        size = image.shape[1], image.shape[0]
        ax.add_patch(Rectangle((-0.5, -0.5), *size, fill=False, ls="--", lw=1.5, ec="tab:blue"))
    if numbers is None:
        numbers = image.ndim == 2 and padded.size <= MOST_NUMBERS
    if numbers and image.ndim != 2:
        raise ValueError(f"numbers need a gray image, got shape {image.shape}.")
    if numbers:
        _write_numbers(ax, padded, (-top, -left))
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)


def _draw_window(ax, corner, kernel_size, rates):
    """One frame, or one for each pixel where dilation leaves gaps."""
    if rates == (1, 1):
        frames = [(corner, kernel_size)]
    else:
        taps = np.ndindex(*kernel_size)
        frames = [
            ([c + t * d for c, t, d in zip(corner, tap, rates, strict=True)], (1, 1))
            for tap in taps
        ]
    for (row, column), (height, width) in frames:
        ax.add_patch(
            Rectangle((column - 0.5, row - 0.5), width, height, fill=False, lw=3, ec="tab:orange")
        )

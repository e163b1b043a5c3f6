"""The pictures that chapters share, and how the book draws.

Every function returns the Axes that it drew on and takes Axes of one's own.
Gray images keep their scale: uint8 runs from 0 to 255, other numbers from the
smallest to the largest value of all images that stand together, so that equal
shades mean equal numbers.
"""

import builtins

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.rcsetup import cycler

from cnnbook._figures import panels, values, window
from cnnbook._shared import arguments, windows

__all__ = [
    "confusion",
    "convolution_window",
    "feature_maps",
    "kernels",
    "learning_curves",
    "set_style",
    "show_images",
]

DIVERGING = "RdBu_r"
INK = "#7b7b7b"  # as far from white as from the book's dark page, 4.2 to 1
COLORS = ("#2b7bc0", "#d55e00", "#0a9a6c", "#a06cd5", "#8f7a00")  # at least 3.4 to 1 on both
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # so that lines differ in gray, too
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE = {
    **dict.fromkeys(INKED, INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), "none"),
    "axes.prop_cycle": cycler(color=COLORS, linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.figsize": (5.2, 3.2),  # inches: on a phone ten points are nine pixels
    "font.size": 11,
    "legend.frameon": False,
    "svg.hashsalt": "cnnbook",  # the same picture, the same file
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}
PHOTO_DPI = 216  # of images inside a drawing: more than two pixels for each of the page


def set_style():
    """Lets matplotlib draw as the book does: transparent, legible in both themes and on a phone.

    All text and all axes have one gray, which can be read on white and on black; lines differ in
    color and in dashes. A figure is 5.2 inches wide, the width at which its text is legible on a
    phone. In a notebook, figures become SVG from here on.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from cnnbook.plotting import set_style
        >>> with plt.rc_context():
        ...     set_style()
        ...     plt.rcParams["figure.figsize"]
        [5.2, 3.2]
    """
    plt.rcParams.update(STYLE)
    if hasattr(builtins, "get_ipython"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", dpi=PHOTO_DPI, metadata={"Date": None})


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
    images = values.images_of(images)
    titles = panels.titles_of(titles, len(images))
    cmap = panels.color_map(cmap)
    vmin, vmax = values.shared_range(images, vmin, vmax)
    axes = panels.panels(len(images), columns, axes, size, title)
    for ax, image, text in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap=cmap, vmin=vmin, vmax=vmax, interpolation="antialiased")
        ax.set_title(text, fontsize="medium")
        panels.bare(ax)
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
    maps = arguments.as_numpy("maps", maps)
    if maps.ndim == 4 and len(maps) == 1:
        maps = maps[0]
    if maps.ndim != 3 or 0 in maps.shape:
        raise ValueError(f"maps must be (H, W, C) or (1, H, W, C), got shape {maps.shape}.")
    colorbar = arguments.flag("colorbar", colorbar)
    channels = list(np.moveaxis(maps, -1, 0))
    if titles is None:
        titles = [f"channel {c}" for c in range(len(channels))]
    axes = show_images(channels, titles=titles, columns=columns, title=title, cmap=cmap, axes=axes)
    if colorbar:
        panels.color_bar(axes, "activation")
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
    kernel = arguments.as_numpy("kernel", kernel)
    if kernel.ndim != 4 or kernel.size == 0:
        raise ValueError(f"kernel must be (kh, kw, C_in, C_out), got shape {kernel.shape}.")
    kh, kw, c_in, c_out = kernel.shape
    colorbar = arguments.flag("colorbar", colorbar)
    if numbers is None:
        numbers = max(kh, kw) <= 5 and c_in * c_out <= 16
    numbers = arguments.flag("numbers", numbers)
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
            panels.write_numbers(ax, kernel[:, :, c, k])
    if colorbar:
        panels.color_bar(axes, "weight")
    return axes


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

    class_names = values.texts_of("class_names", class_names)
    y_true = values.labels_of("y_true", y_true, len(class_names))
    y_pred = values.labels_of("y_pred", y_pred, len(class_names))
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true has {len(y_true)} labels, but y_pred has {len(y_pred)}.")
    normalize = arguments.choice("normalize", normalize, (None, "true"))
    cmap = panels.color_map(cmap)
    ax = panels.one(ax, max(3.5, 0.55 * len(class_names) + 1.5))
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
    ax.set_title("" if title is None else str(title))
    return ax


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
    runs = values.runs_of(history)
    metrics = list(dict.fromkeys(key.removeprefix("val_") for key in runs))
    axes = np.atleast_1d(panels.panels(len(metrics), len(metrics), axes, 3.6, title))
    for ax, metric in zip(axes.flat, metrics, strict=False):
        for key, label, style in ((metric, "training", "-"), (f"val_{metric}", "validation", "--")):
            if key in runs:
                _curve(ax, runs[key], label, style)
        ax.set(xlabel="epoch", ylabel=metric.replace("_", " "), title=metric.replace("_", " "))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return axes


def _curve(ax, runs, label, style):
    """The mean of the runs (runs, epochs), in a band from the smallest to the largest."""
    epochs = np.arange(1, runs.shape[1] + 1)
    marker = "o" if len(epochs) == 1 else None
    (line,) = ax.plot(epochs, runs.mean(0), style, label=label, marker=marker)
    if len(runs) > 1:
        ax.fill_between(epochs, runs.min(0), runs.max(0), color=line.get_color(), alpha=0.2)


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
    image = values.image_of("image", image)
    cmap = panels.color_map(cmap)
    sizes, rates = image.shape[:2], arguments.positive_pair("dilation_rate", dilation_rate)
    kernel_size = arguments.positive_pair("kernel_size", kernel_size)
    strides = arguments.positive_pair("strides", strides)
    pads = windows.pad_amounts(padding, sizes, kernel_size, strides, rates)
    padded = [n + sum(p) for n, p in zip(sizes, pads, strict=True)]
    counts = windows.window_counts(padded, kernel_size, strides, rates)
    position = window.place_of(position, counts)
    corner = [i * s - p[0] for i, s, p in zip(position, strides, pads, strict=True)]
    ax = panels.one(ax, 4)
    window.draw_padded(ax, image, pads, numbers, cmap)
    window.draw_window(ax, corner, kernel_size, rates)
    ends = [c + (k - 1) * d for c, k, d in zip(corner, kernel_size, rates, strict=True)]
    spans = [f"{first} to {last}" for first, last in zip(corner, ends, strict=True)]
    ax.set(
        xlabel="column",
        ylabel="row",
        title=str(title)
        if title is not None
        else f"output {position} sees rows {spans[0]},\ncolumns {spans[1]}",
    )
    return ax

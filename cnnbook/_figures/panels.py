"""Where is drawn: Axes, their titles and colors, numbers on pixels."""

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from cnnbook._figures import values
from cnnbook._shared import arguments

LARGEST = 100  # inches


def panels(count, columns, axes, size, title):
    """A grid of Axes for `count` pictures, or the ones given; those left over are hidden."""
    title = "" if title is None else str(title)
    axes = _grid(count, columns, size, title) if axes is None else _given(count, axes)
    if title and axes.size:
        axes.flat[0].figure.suptitle(title)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return axes


def _grid(count, columns, size, title):
    size = arguments.number("size", size, above=0, at_most=LARGEST)
    columns = min(arguments.positive_int("columns", columns), count)
    rows = -(-count // columns)
    height = rows * size + (0.4 if title else 0)
    _, axes = plt.subplots(
        rows, columns, figsize=(columns * size, height), squeeze=False, layout="constrained"
    )
    return axes


def _given(count, axes):
    if isinstance(axes, (list, tuple, np.ndarray)):
        array = np.asarray(axes, dtype=object)
    else:
        array = np.array(None)
        array[()] = axes  # what is given is not looked into
    if not all(isinstance(ax, Axes) for ax in array.flat):
        raise ValueError(f"axes must be Axes of matplotlib, got {axes!r}.")
    axes = array
    if axes.size < count:
        raise ValueError(f"axes must have {count} panels, got {axes.size}.")
    return axes


def one(ax, size):
    """The Axes that were given, or new ones of that size in inches."""
    if ax is None:
        _, ax = plt.subplots(figsize=(size, size), layout="constrained")
    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be Axes of matplotlib, got {ax!r}.")
    return ax


def color_map(cmap):
    if isinstance(cmap, Colormap):
        return cmap
    if not isinstance(cmap, str) or cmap not in matplotlib.colormaps:
        raise ValueError(f"cmap must be a color map of matplotlib or its name, got {cmap!r}.")
    return matplotlib.colormaps[cmap]


def titles_of(titles, count):
    if titles is None:
        return [""] * count
    titles = values.texts_of("titles", titles)
    if len(titles) != count:
        raise ValueError(
            f"titles must have one entry for each of {count} images, got {len(titles)}."
        )
    return titles


def bare(ax):
    ax.set_xticks([])
    ax.set_yticks([])


def color_bar(axes, label):
    """One scale beside all the images, which share it."""
    first = axes.flat[0]
    first.figure.colorbar(first.images[0], ax=list(axes.flat), label=label)


def write_numbers(ax, values, offset=(0, 0)):
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

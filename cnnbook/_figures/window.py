"""A convolution's window on an image and its padding."""

import numpy as np
from matplotlib.patches import Rectangle

from cnnbook._figures import panels, values
from cnnbook._shared import arguments

MOST_NUMBERS = 144  # pixels of an image, that numbers are still readable


def place_of(position, counts):
    position = position.tolist() if isinstance(position, np.ndarray) else position
    if not isinstance(position, (tuple, list)) or len(position) != 2:
        raise ValueError(f"position must be a row and a column, got {position!r}.")
    row, column = (arguments.integer("position", place, 0) for place in position)
    if row >= counts[0] or column >= counts[1]:
        raise ValueError(
            f"position must lie in the output of {counts[0]}x{counts[1]}, got {position!r}."
        )
    return row, column


def draw_padded(ax, image, pads, numbers, cmap):
    vmin, vmax = values.shared_range([image])
    padded = np.pad(image, (*pads, *[(0, 0)] * (image.ndim - 2)))
    (top, _), (left, _) = pads
    rows, columns = padded.shape[:2]
    extent = (-left - 0.5, columns - left - 0.5, rows - top - 0.5, -top - 0.5)
    ax.imshow(padded, cmap=cmap, vmin=vmin, vmax=vmax, extent=extent, interpolation="antialiased")
    if any(map(any, pads)):
        size = image.shape[1], image.shape[0]
        ax.add_patch(Rectangle((-0.5, -0.5), *size, fill=False, ls="--", lw=1.5, ec="tab:blue"))
    if numbers is None:
        numbers = image.ndim == 2 and padded.size <= MOST_NUMBERS
    numbers = arguments.flag("numbers", numbers)
    if numbers and image.ndim != 2:
        raise ValueError(f"numbers need a gray image, got shape {image.shape}.")
    if numbers:
        panels.write_numbers(ax, padded, (-top, -left))
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)


def draw_window(ax, corner, kernel_size, rates):
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

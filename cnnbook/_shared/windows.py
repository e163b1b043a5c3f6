"""Where windows lie on an image: paddings, counts and views."""

import numpy as np

from cnnbook._shared import arguments


def pad_amounts(padding, sizes, kernel_sizes, strides, dilations=(1, 1)):
    """((top, bottom), (left, right)) for each of the four forms of `padding`."""
    require_known(sizes)
    is_name = isinstance(padding, str)
    if is_name and padding == "valid":
        return tuple((0, 0) for _ in sizes)
    if is_name and padding == "same":
        amounts = []
        for size, k, s, d in zip(sizes, kernel_sizes, strides, dilations, strict=True):
            outputs = -(-size // s)
            total = max((outputs - 1) * s + (k - 1) * d + 1 - size, 0)
            amounts.append((total // 2, total - total // 2))
        return tuple(amounts)
    return _explicit_amounts(padding, len(sizes))


def _explicit_amounts(padding, axes):
    """One integer for all sides, or a pair of them for each axis."""
    padding = padding.tolist() if isinstance(padding, np.ndarray) else padding
    is_pairs = isinstance(padding, (tuple, list)) and len(padding) == axes
    if is_pairs and all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in padding):
        return tuple(tuple(arguments.integer("padding", n, 0) for n in pair) for pair in padding)
    if isinstance(padding, (str, tuple, list)) or not hasattr(padding, "__index__"):
        raise ValueError(
            "padding must be 'valid', 'same', an integer or ((top, bottom), (left, right)), "
            f"got {padding!r}."
        )
    return tuple((arguments.integer("padding", padding, 0),) * 2 for _ in range(axes))


def _times(numbers):
    return "x".join(map(str, numbers))


def require_known(sizes):
    if None in sizes:
        raise ValueError(f"x must have a known height and width, got {tuple(sizes)}.")


def require_sides(name, kernel):
    if not all(kernel.shape[:2]):  # None is a size that is not known
        raise ValueError(
            f"{name} must have known sides of at least 1, got shape {tuple(kernel.shape)}."
        )


def window_counts(sizes, window_sizes, strides, dilations=(1, 1), *, name="kernel"):
    """How many windows fit along each of the (padded) sizes."""
    spans = [(k - 1) * d + 1 for k, d in zip(window_sizes, dilations, strict=True)]
    for size, span in zip(sizes, spans, strict=True):
        if span > size:
            raise ValueError(
                f"{name} covers {_times(spans)} pixels, "
                f"but the padded image has only {_times(sizes)}."
            )
    return tuple((n - p) // s + 1 for n, p, s in zip(sizes, spans, strides, strict=True))


def shifted_view(x, offset, counts, strides):
    """x at one position of every window: (N, H_out, W_out, C), channels last."""
    top, left = offset
    rows, columns = counts
    down, right = strides
    return x[
        :,
        top : top + down * (rows - 1) + 1 : down,
        left : left + right * (columns - 1) + 1 : right,
    ]

"""Where windows lie on an image: paddings, counts and views."""


def pad_amounts(padding, sizes, kernel_sizes, strides, dilations=(1, 1)):
    """((top, bottom), (left, right)) for each of the four forms of `padding`."""
    if padding == "valid":
        return tuple((0, 0) for _ in sizes)
    if padding == "same":
        amounts = []
        for size, k, s, d in zip(sizes, kernel_sizes, strides, dilations, strict=True):
            outputs = -(-size // s)
            total = max((outputs - 1) * s + (k - 1) * d + 1 - size, 0)
            amounts.append((total // 2, total - total // 2))
        return tuple(amounts)
    try:
        if hasattr(padding, "__index__") and not isinstance(padding, bool):
            amounts = tuple((padding.__index__(),) * 2 for _ in sizes)
        else:
            amounts = tuple((a.__index__(), b.__index__()) for a, b in padding)
            if len(amounts) != len(sizes):
                raise TypeError
    except (TypeError, ValueError, AttributeError):
        raise ValueError(
            "padding must be 'valid', 'same', an int or ((top, bottom), (left, right)), "
            f"got {padding!r}."
        ) from None
    if min(min(pair) for pair in amounts) < 0:
        raise ValueError(f"padding must not be negative, got {padding!r}.")
    return amounts


def _times(numbers):
    return "x".join(map(str, numbers))


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
    (top, left), (rows, columns), (down, right) = offset, counts, strides
    return x[
        :,
        top : top + down * (rows - 1) + 1 : down,
        left : left + right * (columns - 1) + 1 : right,
    ]

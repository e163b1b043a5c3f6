"""Real numbers on a grid of integers: limits, scales, and rounding with a gradient."""

from keras import ops


def integer_limits(bits, symmetric=False):
    """The smallest and the largest integer of so many bits."""
    if isinstance(bits, bool) or not hasattr(bits, "__index__") or not 2 <= bits <= 16:
        raise ValueError(f"bits must be an int from 2 to 16, got {bits!r}.")
    half = 2 ** (bits.__index__() - 1)
    return (1 - half if symmetric else -half), half - 1


def scale_and_zero_point(low, high, bits, symmetric=False):
    """Of float tensors of one shape; the range is widened until it holds 0.

    A scale is positive: where both ends are 0, any would do, and it is 1.
    """
    q_min, q_max = integer_limits(bits, symmetric)
    low, high = ops.minimum(low, 0), ops.maximum(high, 0)
    if symmetric:
        high = ops.maximum(-low, high)
        low = -high
    width = high - low
    scale = ops.where(width > 0, width / (q_max - q_min), ops.ones_like(width))
    if symmetric:
        return scale, ops.zeros_like(scale, dtype="int32")
    return scale, q_min - ops.cast(ops.round(low / scale), "int32")


def straight_through(x, scale, zero_point, limits, rounded=ops.round):
    """What is left of x on the grid; its gradient is 1 where nothing was clipped, and else 0.

    Scale and zero point are ready to be broadcast against x, and of its dtype.
    """
    q_min, q_max = limits
    # The clip comes before the zero point would: the same one, and fewer passes over x.
    q = rounded(ops.stop_gradient(x) / scale)
    clipped = ops.clip(q, q_min - zero_point, q_max - zero_point)
    passed = ops.where(ops.equal(q, clipped), x, ops.zeros((), x.dtype))
    # The difference is exactly 0, and carries the gradient.
    return ops.stop_gradient(scale * clipped) + (passed - ops.stop_gradient(passed))


def round_by(ties, zero_point):
    """How LiteRT rounds a mean of integers: ties go "up", or "away" from the integer 0.

    That is the integer 0 of the file, which stands for the zero point's number. A mean of up to a
    thousand numbers lies on a tie, or further from one than float32 errs.
    """

    def rounded(q):
        v = q + zero_point
        if ties == "up":
            return ops.floor(v + 0.5 + 1e-4) - zero_point
        return ops.sign(v) * ops.floor(ops.abs(v) + 0.5 + 1e-4) - zero_point

    return rounded

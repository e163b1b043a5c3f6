"""Boxes of (top, left, bottom, right) that move along with their images."""

from functools import reduce

from keras import ops


def finish(sides, before, height, width):
    """Clips the sides to the image; a box that has or had no area becomes (0, 0, 0, 0)."""
    top, left, bottom, right = sides
    top, bottom = ops.clip(top, 0, height), ops.clip(bottom, 0, height)
    left, right = ops.clip(left, 0, width), ops.clip(right, 0, width)
    was_empty = (before[..., 2] <= before[..., 0]) | (before[..., 3] <= before[..., 1])
    empty = was_empty | (bottom <= top) | (right <= left)
    boxes = ops.stack([top, left, bottom, right], axis=-1)
    return ops.where(empty[..., None], ops.zeros_like(boxes), boxes)


def sides_of(boxes):
    return [boxes[..., k] for k in range(4)]


def per_box(values, boxes):
    """(N,) to (N,) or (N, 1), to be combined with the boxes' sides."""
    return ops.cast(ops.reshape(values, (-1,) + (1,) * (len(boxes.shape) - 2)), boxes.dtype)


def mirror(boxes, coin, axis, sizes):
    top, left, bottom, right = sides_of(boxes)
    if axis == 1:
        top, bottom = sizes[0] - bottom, sizes[0] - top
    else:
        left, right = sizes[1] - right, sizes[1] - left
    mirrored = ops.stack([top, left, bottom, right], axis=-1)
    return ops.where(ops.reshape(coin, (-1,) + (1,) * (len(boxes.shape) - 1)), mirrored, boxes)


def turn(boxes, cosine, sine, height, width):
    """The smallest upright boxes around the turned corners; pixel i lies between i and i + 1."""
    c, s = per_box(cosine, boxes), per_box(sine, boxes)
    top, left, bottom, right = sides_of(boxes)
    rows, columns = [], []
    for y in (top - height / 2, bottom - height / 2):
        for x in (left - width / 2, right - width / 2):
            rows.append(height / 2 + y * c - x * s)
            columns.append(width / 2 + y * s + x * c)
    sides = [reduce(f, v) for f in (ops.minimum, ops.maximum) for v in (rows, columns)]
    return finish(sides, boxes, height, width)

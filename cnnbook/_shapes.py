"""How the images of the data set `shapes` are drawn: signed distances, in batches, in NumPy."""

import numpy as np

CLASS_NAMES = (
    "circle",
    "square",
    "triangle",
    "pentagon",
    "star",
    "cross",
    "ring",
    "crescent",
    "heart",
    "arrow",
)
SIZE = 32
BATCH = 250  # images drawn from one random stream; 25 of each class
CLUTTER = 4  # bars behind each object, at most
VISIBLE = 0.6  # of an object's pixels, at least


def _polygon(u, v, sides, apothem):
    turns = np.pi / 2 + 2 * np.pi * np.arange(sides) / sides  # one side lies at the bottom
    sides = [u * np.float32(np.cos(t)) + v * np.float32(np.sin(t)) for t in turns]
    return np.maximum.reduce(sides) - apothem


def _box(u, v, half_width, half_height):
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _star(u, v):
    sector = np.float32(2 * np.pi / 5)
    angle = np.arctan2(u, -v)  # 0 points up
    angle = np.abs(angle - sector * np.round(angle / sector))
    radius = np.hypot(u, v)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    inner = 0.45 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    normal = np.array([inner[1], 1 - inner[0]]) / np.hypot(inner[1], 1 - inner[0])
    a, b = normal.astype("float32")
    return (along - 1) * a + across * b


def _crescent(u, v):
    return np.maximum(np.hypot(u, v) - 0.95, 0.75 - np.hypot(u - 0.45, v))


def _heart(u, v):
    p, q = (u - v) * np.float32(0.5**0.5), (u + v) * np.float32(0.5**0.5)
    lobes = np.minimum(np.hypot(p - 0.55, q), np.hypot(p, q + 0.55)) - 0.55
    return np.minimum(_box(p, q, 0.55, 0.55), lobes)


def _arrow(u, v):
    side = ((v + 0.95) * -0.75 + np.abs(u) * 0.95) / 1.21
    head = np.maximum(side, v)
    return np.minimum(head, _box(u, v - 0.4, 0.24, 0.55))


DISTANCES = {
    "circle": lambda u, v: np.hypot(u, v) - 0.88,
    "square": lambda u, v: _box(u, v, 0.78, 0.78),
    "triangle": lambda u, v: _polygon(u, v - 0.15, 3, 0.55),
    "pentagon": lambda u, v: _polygon(u, v, 5, 0.78),
    "star": _star,
    "cross": lambda u, v: np.minimum(_box(u, v, 0.95, 0.28), _box(u, v, 0.28, 0.95)),
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.68) - 0.24,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
}
"""Signed distance to each outline, in units of the object's radius; v points down."""


def _per_image(values):
    return values.astype("float32")[:, None, None]


def _grid():
    axis = np.arange(SIZE, dtype="float32") - (SIZE - 1) / 2
    return axis[None, None, :], axis[None, :, None]


def _turned(center, angle):
    """Pixel coordinates in a frame of each image's own."""
    x, y = _grid()
    x, y = x - _per_image(center[:, 0]), y - _per_image(center[:, 1])
    cosine, sine = _per_image(np.cos(angle)), _per_image(np.sin(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def _coverage(distance):
    """How much of each pixel lies inside, from the distance to the outline in pixels."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


def _blend(image, color, coverage):
    """Paints (N, 3) or (N, 3, H, W) colors over (N, 3, H, W) images, in place."""
    color = color if color.ndim == 4 else color[:, :, None, None]
    image += (color - image) * coverage[:, None]


def _texture(rng, n):
    """Stripes, checks or soft blobs, of values in [-1, 1]: (N, H, W)."""
    kind = rng.integers(3, size=n)
    frequency, angle, phase = rng.random((3, n))
    frequency = 0.5 + 1.2 * frequency
    waves = []
    for turn in (0, np.pi / 2):
        direction = np.pi * angle + turn
        x, y = _grid()
        x = x * _per_image(frequency * np.cos(direction))
        y = y * _per_image(frequency * np.sin(direction))
        waves.append(np.sin(x + y + _per_image(2 * np.pi * phase)))
    knots, pixels = np.linspace(0, 1, 7), np.linspace(0, 1, SIZE)
    weights = np.maximum(1 - np.abs(pixels[:, None] - knots) * 6, 0).astype("float32")
    coarse = rng.uniform(-1, 1, (n, 7, 7)).astype("float32")
    blobs = weights @ coarse @ weights.T
    kind = kind[:, None, None]
    return np.where(kind == 0, waves[0], np.where(kind == 1, waves[0] * waves[1], blobs))


def _apart(color, step):
    """The color moved by a step, in the opposite direction where [0, 1] ends."""
    moved = color + step
    return np.where((moved < 0) | (moved > 1), color - step, moved)


def _object(rng, labels, difficulty, rotation):
    """Coverage (N, H, W), center (N, 2) and radius (N,) of the objects."""
    n = len(labels)
    size, turn, stretch = rng.random((3, n))
    place = rng.uniform(-1, 1, (n, 2))
    radius = 12.5 - size * (3 + 2 * difficulty)
    center = place * (16 - radius)[:, None] * (0.3 + 0.5 * difficulty)
    u, v = _turned(center, np.deg2rad((2 * turn - 1) * rotation))
    ratio = 1 + (2 * stretch - 1) * 0.25 * difficulty
    u, v = u / _per_image(radius * ratio**0.5), v / _per_image(radius / ratio**0.5)
    coverage = np.empty((n, SIZE, SIZE), "float32")
    for label, name in enumerate(CLASS_NAMES):
        rows = labels == label
        distance = DISTANCES[name](u[rows], v[rows])
        coverage[rows] = _coverage(distance * _per_image(radius[rows]))
    return coverage, center, radius


def _bars(rng, n, center, spread):
    """Coverage and color of one bar an image, its middle within `spread` of the center."""
    offset, angle = rng.uniform(-1, 1, (n, 2)), rng.uniform(0, np.pi, n)
    length, width = 4 + 10 * rng.random(n), 0.8 + 1.4 * rng.random(n)
    u, v = _turned(center + offset * spread, angle)
    coverage = _coverage(_box(u, v, _per_image(length), _per_image(width)))
    return coverage, rng.random((n, 3)).astype("float32")


def _light(rng, n, difficulty):
    """A gain and a slope of the brightness across each image: (N, H, W)."""
    gain, slope, angle = rng.random((3, n))
    x, y = _turned(np.zeros((n, 2)), 2 * np.pi * angle)
    gain = 1 + (0.7 * gain - 0.4) * difficulty
    return _per_image(gain) * (1 + x * _per_image(slope * difficulty * 0.03))


def _background(rng, n, difficulty):
    """Textured and cluttered images (N, 3, H, W), and the mean color of each."""
    base = rng.uniform(0.1, 0.9, (n, 3)).astype("float32")
    tint = rng.uniform(-1, 1, (n, 3)).astype("float32") * np.float32(0.22 * difficulty)
    image = base[:, :, None, None] + tint[:, :, None, None] * _texture(rng, n)[:, None]
    for present in rng.random((CLUTTER, n)):
        coverage, color = _bars(rng, n, np.zeros((n, 2)), 16)
        _blend(image, color, coverage * _per_image(present < 0.5 * difficulty))
    return image, base


def _draw_batch(rng, difficulty, rotation):
    n = BATCH
    labels = rng.permutation(np.repeat(np.arange(10, dtype="uint8"), n // 10))
    image, base = _background(rng, n, difficulty)
    coverage, center, radius = _object(rng, labels, difficulty, rotation)
    step = rng.uniform(0.5, 1, (n, 3)) * rng.choice([-1.0, 1.0], (n, 3))
    color = _apart(base, step * (0.5 - 0.13 * difficulty)).astype("float32")
    shade = _texture(rng, n)[:, None] * np.float32(0.13 * difficulty)
    _blend(image, color[:, :, None, None] + shade, coverage)
    occluder, color = _bars(rng, n, center, 0.5 * radius[:, None])
    occluder *= _per_image(rng.random(n) < 0.5 * difficulty)
    whole = coverage > 0.5
    mask = whole & (occluder < 0.5)
    hidden = mask.sum((1, 2)) < VISIBLE * whole.sum((1, 2))
    occluder[hidden], mask[hidden] = 0, whole[hidden]
    _blend(image, color, occluder)
    image *= _light(rng, n, difficulty)[:, None]
    noise = rng.standard_normal(image.shape, "float32")
    image += noise * np.float32(0.01 + 0.04 * difficulty)
    image = np.round(np.clip(image, 0, 1) * 255).astype("uint8")
    return image.transpose(0, 2, 3, 1), labels, mask.astype("uint8")


def boxes(masks):
    """The smallest (top, left, bottom, right) around each mask; bottom and right excluded."""
    result = []
    for axis in (2, 1):
        lines = masks.any(axis)
        first = lines.argmax(1)
        result += [first, SIZE - lines[:, ::-1].argmax(1)]
    top, bottom, left, right = result
    return np.stack([top, left, bottom, right], 1).astype("int32")


def draw(count, entropy, difficulty, rotation):
    """Images, labels and masks; each batch has a random stream of its own."""
    images = np.empty((count, SIZE, SIZE, 3), "uint8")
    labels, masks = np.empty(count, "uint8"), np.empty((count, SIZE, SIZE), "uint8")
    for start in range(0, count, BATCH):
        rng = np.random.default_rng([*entropy, start // BATCH])
        batch = _draw_batch(rng, difficulty, rotation)
        rows = slice(start, min(start + BATCH, count))
        for whole, part in zip((images, labels, masks), batch, strict=True):
            whole[rows] = part[: rows.stop - start]
    return images, labels, masks

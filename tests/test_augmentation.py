"""Tests for `cnnbook.augmentation` (chapter 09)."""

import colorsys
import functools
import math
import re

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook._images import draws
from cnnbook.augmentation import (
    Augmentation,
    adjust_colors,
    color_jitter,
    cutmix,
    mixup,
    random_crop,
    random_erasing,
    random_flip,
    random_rotation,
    rotate,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
GEOMETRIC = [
    functools.partial(random_crop, padding=3),
    functools.partial(random_flip, vertical=True),
    functools.partial(random_rotation, degrees=60),
]
IMAGE_TRANSFORMS = [
    *GEOMETRIC,
    functools.partial(color_jitter, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.2),
    functools.partial(random_erasing, probability=0.8),
]
sizes = st.sampled_from([(1, 1), (2, 5), (5, 4)])  # few: JAX compiles for every shape
TRANSFORM_IDS = ["crop", "flip", "rotation", "jitter", "erasing"]


def numbered(n, height, width, channels=1):
    """Images that tell of each value where it was: 1000 n + position, never 0."""
    place = 1 + np.arange(height * width).reshape(1, height, width, 1)
    values = 1000 * np.arange(1, n + 1).reshape(-1, 1, 1, 1) + place
    return np.repeat(values, channels, axis=-1).astype("float32")


def random_images(n, height, width, channels=3, seed=0):
    shape = (n, height, width, channels)
    return np.random.default_rng(seed).uniform(size=shape).astype("float32")


def first(x):
    """Channels last to channels first."""
    return np.moveaxis(x, -1, 1)


# References: the equations by loops in float64


def reference_crop(image, down, right, p, fill):
    """Eq. eq-random-crop for one image and its offsets."""
    out = np.full(image.shape, float(fill))
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            u, v = i + down - p, j + right - p
            if 0 <= u < image.shape[0] and 0 <= v < image.shape[1]:
                out[i, j] = image[u, v]
    return out


def reference_rotate(image, degrees, fill):
    """Eq. eq-rotate for one image; the sum runs one pixel beyond the image on every side."""
    theta = math.radians(degrees)
    height, width = image.shape[:2]
    u0, v0 = (height + 1) / 2, (width + 1) / 2
    out = np.zeros(image.shape)
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            a = u0 + (i - u0) * math.cos(theta) + (j - v0) * math.sin(theta)
            b = v0 - (i - u0) * math.sin(theta) + (j - v0) * math.cos(theta)
            for u in range(math.floor(a), math.floor(a) + 2):
                for v in range(math.floor(b), math.floor(b) + 2):
                    inside = 1 <= u <= height and 1 <= v <= width
                    value = image[u - 1, v - 1] if inside else fill
                    out[i - 1, j - 1] += value * max(0, 1 - abs(a - u)) * max(0, 1 - abs(b - v))
    return out


def clip(x):
    return np.minimum(np.maximum(x, 0.0), 1.0)


def reference_colors(image, b, q, s, hue):
    """Eq. eq-adjust-colors, and the hue by colorsys, for one image in float64."""
    weights = np.array([0.2989, 0.5870, 0.1140])

    def gray(x):
        return (x @ weights if x.shape[-1] == 3 else x[..., 0])[..., None]

    x = clip(b * image.astype("float64"))
    x = clip(q * x + (1 - q) * gray(x).mean())
    x = clip(s * x + (1 - s) * gray(x))
    if hue == 0:
        return x
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape[:2]):
        h, saturation, value = colorsys.rgb_to_hsv(*x[index])
        out[index] = colorsys.hsv_to_rgb((h + hue) % 1, saturation, value)
    return out


def found_offsets(moved, height, width):
    """(down, right) of each numbered image, from any pixel that is left of it."""
    offsets = []
    for n, image in enumerate(to_numpy(moved)[..., 0]):
        i, j = np.argwhere(image != 0)[0]
        place = int(image[i, j]) - 1000 * (n + 1) - 1
        offsets.append((place // width - i, place % width - j))
    return offsets


# Crop


@given(sizes, st.integers(0, 3), st.integers(0, 999))
@drawn
def test_crop_matches_reference(parity, size, padding, seed):
    height, width = size
    padding = min(padding, height - 1, width - 1)  # so that something of each image is left
    x = numbered(5, height, width, channels=2)
    got = random_crop(x, padding=padding, seed=seed)
    offsets = found_offsets(got, height, width)
    assert all(abs(d) <= padding and abs(r) <= padding for d, r in offsets)
    expected = np.stack(
        [
            reference_crop(image, d + padding, r + padding, padding, 0)
            for image, (d, r) in zip(x, offsets, strict=True)
        ]
    )
    np.testing.assert_array_equal(to_numpy(got), expected)
    filled = random_crop(x, padding=padding, seed=seed, fill=-3)
    np.testing.assert_array_equal(to_numpy(filled), np.where(expected == 0, -3, expected))
    wide = to_numpy(ops.image.pad_images(x, padding, padding, padding, padding))
    theirs = [
        wide[n, padding + d : padding + d + height, padding + r : padding + r + width]
        for n, (d, r) in enumerate(offsets)
    ]
    parity(random_crop, "keras.ops.image.pad_images, cut", got, np.stack(theirs), atol=0)


def test_crop_by_hand():
    # of 1..9, padded by one: row 2 and column 0 of the padded image begin at "4 is at (1, 1)"
    x = np.tile(np.arange(1, 10, dtype="float32").reshape(1, 3, 3, 1), (200, 1, 1, 1))
    got = to_numpy(random_crop(x, padding=1, seed=0))[..., 0]
    hand = {
        (0, 0): [[0, 0, 0], [0, 1, 2], [0, 4, 5]],
        (2, 0): [[0, 4, 5], [0, 7, 8], [0, 0, 0]],
        (1, 1): [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        (2, 2): [[5, 6, 0], [8, 9, 0], [0, 0, 0]],
    }
    for expected in hand.values():
        assert np.any(np.all(got == np.array(expected), axis=(1, 2)))
    assert len(np.unique(got, axis=0)) == 9


def test_crop_draws_all_offsets_evenly():
    x = np.tile(numbered(1, 9, 9), (4000, 1, 1, 1))
    got = to_numpy(random_crop(x, padding=4, seed=0))[:, 4, 4, 0].astype(int) - 1001
    rows, columns = np.bincount(got // 9, minlength=9), np.bincount(got % 9, minlength=9)
    # 9 cells of mean 444: chi squared with 8 degrees of freedom exceeds 26.1 once in 1,000
    assert scipy.stats.chisquare(rows).pvalue > 1e-3
    assert scipy.stats.chisquare(columns).pvalue > 1e-3
    assert abs(np.corrcoef(got // 9, got % 9)[0, 1]) < 0.06


# Flip


@given(sizes, st.booleans(), st.booleans(), st.integers(0, 99))
@drawn
def test_flip_matches_reference(parity, size, horizontal, vertical, seed):
    height, width = size
    x = random_images(6, height, width, 2, seed)
    got = to_numpy(random_flip(x, horizontal=horizontal, vertical=vertical, seed=seed))
    for image, result in zip(x, got, strict=True):
        candidates = {
            (zv, zh): [
                [image[i + zv * (height - 1 - 2 * i), j + zh * (width - 1 - 2 * j)]
                 for j in range(width)]
                for i in range(height)
            ]
            for zv in range(1 + vertical)
            for zh in range(1 + horizontal)
        }  # fmt: skip
        assert any(np.array_equal(result, c) for c in candidates.values())
        coins = next(k for k, c in candidates.items() if np.array_equal(result, c))
        theirs = image
        for axis, coin in enumerate(coins):  # one at a time: Keras 3.13 takes no tuple
            theirs = ops.flip(theirs, axis=axis) if coin else theirs
        parity(random_flip, "keras.ops.flip", result, theirs, atol=0)


def test_flip_by_hand_and_evenly():
    x = np.tile(np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1), (2000, 1, 1, 1))
    forms = [[1, 2, 3, 4], [2, 1, 4, 3], [3, 4, 1, 2], [4, 3, 2, 1]]
    got = to_numpy(random_flip(x, vertical=True, seed=1)).reshape(-1, 4)
    counts = [int(np.sum(np.all(got == form, axis=1))) for form in forms]
    assert sum(counts) == 2000
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    only = to_numpy(random_flip(x, horizontal=False, vertical=True, seed=1)).reshape(-1, 4)
    assert {tuple(row) for row in only} == {(1, 2, 3, 4), (3, 4, 1, 2)}
    still = random_flip(x, horizontal=False, seed=1)
    np.testing.assert_array_equal(to_numpy(still), x)


# Rotation


@given(
    sizes,
    st.lists(st.floats(-180, 180), min_size=3, max_size=3),
    st.sampled_from([0.0, 1.5]),
)
@drawn
def test_rotate_matches_reference(size, angles, fill):
    height, width = size
    x = random_images(3, height, width, 2, seed=height)
    expected = [reference_rotate(i, a, fill) for i, a in zip(x, angles, strict=True)]
    got = rotate(x, np.array(angles), fill=fill)
    np.testing.assert_allclose(to_numpy(got), np.stack(expected), **CLOSE)
    turned_first = rotate(first(x), np.array(angles), fill=fill, data_format="channels_first")
    np.testing.assert_allclose(to_numpy(turned_first), first(np.stack(expected)), **CLOSE)


@given(sizes, st.floats(-180, 180))
@drawn
def test_rotate_matches_scipy_and_keras(parity, size, angle):
    height, width = size
    x = random_images(2, height, width, 3, seed=width)
    got = rotate(x, angle)
    turned = scipy.ndimage.rotate(
        x.astype("float64"), angle, axes=(1, 2), reshape=False, order=1, mode="grid-constant"
    )
    parity(rotate, "scipy.ndimage.rotate", got, turned)
    share = angle / 360
    layer = keras.layers.RandomRotation(
        (share, share), fill_mode="constant", fill_value=0.0, data_format="channels_last"
    )
    # Keras measures the angle and the middle in float32 in other steps: 1e-4 of a pixel
    parity(rotate, "scipy.ndimage.rotate", got, layer(x, training=True), atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 4), (5, 5), (1, 1)])
def test_quarter_turns_are_exact(shape):
    x = random_images(2, *shape)
    for turns in (0, 1, 2, 3, -1):
        expected = np.rot90(x, turns, axes=(1, 2))
        np.testing.assert_allclose(to_numpy(rotate(x, 90 * turns)), expected, **CLOSE)


def test_rotate_by_hand():
    # at 45 degrees the pixel right of the middle of 3x3 looks sqrt(1/2) down and right: of the
    # four around it only the middle, (1 - sqrt(1/2)) squared, is 1
    x = np.zeros((1, 3, 3, 1), "float32")
    x[0, 1, 1, 0] = 1
    near = (1 - math.sqrt(0.5)) ** 2
    expected = [[0, near, 0], [near, 1, near], [0, near, 0]]
    np.testing.assert_allclose(to_numpy(rotate(x, 45))[0, :, :, 0], expected, **CLOSE)


def test_random_rotation_draws_evenly(parity):
    # bilinear interpolation keeps a linear ramp: its slopes are the cosine and sine
    n, size = 1500, 9
    i, j = np.mgrid[:size, :size].astype("float32")
    x = np.tile(j[None, :, :, None], (n, 1, 1, 1))
    got = to_numpy(random_rotation(x, 70, seed=3))
    sine = -(got[:, 5, 4, 0] - got[:, 3, 4, 0]) / 2
    cosine = (got[:, 4, 5, 0] - got[:, 4, 3, 0]) / 2
    angles = np.degrees(np.arctan2(sine, cosine))
    assert -70 <= angles.min() < -65 < 65 < angles.max() <= 70
    assert scipy.stats.kstest(angles, scipy.stats.uniform(-70, 140).cdf).pvalue > 1e-3
    sample = random_images(n, size, size, 1)
    turned = to_numpy(random_rotation(sample, 70, seed=3))  # the same seed, the same angles
    for k in range(20):
        expected = scipy.ndimage.rotate(
            sample[k], angles[k], reshape=False, order=1, mode="grid-constant"
        )
        parity(random_rotation, "scipy.ndimage.rotate", turned[k], expected, atol=1e-4)
    assert len(np.unique(angles.round(3))) > 1300


# Masks and boxes


def blob_batch(n=6, size=12, seed=0):
    """Masks of a filled rectangle with their boxes, and images that equal the masks."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, size, size), "uint8")
    boxes = np.zeros((n, 4), "int32")
    for k in range(n):
        top, left = rng.integers(0, size - 4, 2)
        bottom, right = top + rng.integers(2, 5), left + rng.integers(2, 5)
        boxes[k] = top, left, bottom, right
        masks[k, top:bottom, left:right] = 1 + k
    return masks[..., None].astype("float32"), masks, boxes


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return np.zeros(4)
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("transform", GEOMETRIC[:2], ids=TRANSFORM_IDS[:2])
def test_masks_and_boxes_follow_exactly(transform, seed):
    images, masks, boxes = blob_batch(seed=seed)
    x, m, b = map(to_numpy, transform(images, masks=masks, boxes=boxes, seed=seed))
    np.testing.assert_array_equal(x[..., 0], m)
    assert m.dtype == masks.dtype
    for mask, box in zip(m, b, strict=True):
        np.testing.assert_array_equal(box, box_of(mask))


@given(st.lists(st.floats(-180, 180), min_size=6, max_size=6), st.integers(0, 99))
@drawn
def test_rotated_masks_and_boxes(angles, seed):
    images, masks, boxes = blob_batch(seed=seed)
    angles = np.round(angles, 1) + 0.0371  # no pixel looks at the middle between two others
    x, m, b = map(to_numpy, rotate(images, angles, masks=masks, boxes=boxes))
    for k, angle in enumerate(angles):
        theta = math.radians(angle)
        matrix = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
        middle = np.array([5.5, 5.5])
        expected = scipy.ndimage.affine_transform(
            masks[k], matrix, middle - matrix @ middle, order=0, mode="grid-constant"
        )
        np.testing.assert_array_equal(m[k], expected)
        top, left, bottom, right = boxes[k]
        corners = np.array([(y, c) for y in (top, bottom) for c in (left, right)]) - 6.0
        turned = corners @ matrix + 6.0  # forward: the transposed matrix from the left
        hull = np.clip([*turned.min(0), *turned.max(0)], 0, 12)
        np.testing.assert_allclose(b[k], hull, **CLOSE)
        seen = box_of(m[k])
        if m[k].any():  # nothing of the object lies outside its box
            assert np.all(seen[:2] >= b[k][:2] - 0.5 - 1e-4)
            assert np.all(seen[2:] <= b[k][2:] + 0.5 + 1e-4)


def test_boxes_by_hand():
    x = np.zeros((1, 4, 6, 1), "float32")
    boxes = np.array([[[0, 1, 2, 3], [0, 0, 4, 6]]])
    # a half turn of a 4x6 image: rows 4 - 2 to 4 - 0, columns 6 - 3 to 6 - 1
    _, turned = rotate(x, 180, boxes=boxes)
    np.testing.assert_allclose(to_numpy(turned)[0], [[2, 3, 4, 5], [0, 0, 4, 6]], **CLOSE)
    # a quarter turn counter-clockwise about (2, 3): the top right corner goes to the top left
    _, quarter = rotate(x, 90, boxes=boxes[:, 0])
    np.testing.assert_allclose(to_numpy(quarter), [[2, 1, 4, 3]], **CLOSE)
    _, still = random_crop(x, padding=0, boxes=boxes, seed=0)
    np.testing.assert_array_equal(to_numpy(still), boxes)


def test_box_that_leaves_is_empty():
    x = np.ones((300, 4, 4, 1), "float32")
    boxes = np.tile([[0, 0, 1, 1]], (300, 1))
    moved, b = map(to_numpy, random_crop(x, padding=3, boxes=boxes, seed=0))
    gone = np.all(b == 0, axis=1)
    area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    np.testing.assert_array_equal(gone, area == 0)
    # the offsets of rows and of columns must both be at most 3 of 7: 16 of 49 stay
    assert 0.2 < np.mean(~gone) < 0.45
    # an empty box stays empty: the hull of a turned line would have an area
    _, b = rotate(x[:2], 30, boxes=[[1, 0, 1, 4], [0, 0, 0, 0]])
    np.testing.assert_array_equal(to_numpy(b), np.zeros((2, 4)))
    _, b = rotate(x[:1], 45, boxes=[[[0.0, 0.0, 0.5, 0.5], [1.0, 1.0, 3.0, 3.0]]])
    np.testing.assert_array_equal(to_numpy(b)[0, 0], np.zeros(4))
    reach = math.sqrt(2)
    middle = [2 - reach, 2 - reach, 2 + reach, 2 + reach]
    np.testing.assert_allclose(to_numpy(b)[0, 1], middle, **CLOSE)


@pytest.mark.parametrize("transform", GEOMETRIC, ids=TRANSFORM_IDS[:3])
def test_returns_what_was_given(transform):
    images, masks, boxes = blob_batch()
    alone = transform(images, seed=5)
    with_masks = transform(images, masks=masks, seed=5)
    with_boxes = transform(images, boxes=boxes, seed=5)
    with_both = transform(images, masks=masks, boxes=boxes, seed=5)
    assert (len(with_masks), len(with_boxes), len(with_both)) == (2, 2, 3)
    np.testing.assert_array_equal(to_numpy(with_masks[1]), to_numpy(with_both[1]))
    np.testing.assert_array_equal(to_numpy(with_boxes[1]), to_numpy(with_both[2]))
    for result in (with_masks[0], with_boxes[0], with_both[0]):
        np.testing.assert_array_equal(to_numpy(result), to_numpy(alone))


# Colors

factors = st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 2), st.floats(-0.5, 0.5))


@given(st.lists(factors, min_size=3, max_size=3), st.integers(0, 99))
@drawn
def test_adjust_colors_matches_reference(parity, chosen, seed):
    x = random_images(3, 3, 4, seed=seed)
    x[0, 0, 0] = 0.5  # a gray pixel has no hue
    x[1, 0, 0] = (0.25, 0.5, 0.5)
    x[2, 0, 0] = (0.5, 0.5, 0.25)
    expected = [reference_colors(i, *f) for i, f in zip(x, chosen, strict=True)]
    b, q, s, hue = (np.array(v, "float32") for v in zip(*chosen, strict=True))
    got = adjust_colors(x, brightness=b, contrast=q, saturation=s, hue=hue)
    # a hue is a quotient of differences: float32's 6e-8 grows where these are small, but the
    # color that comes back is as sure as the color that went in
    parity(adjust_colors, "colorsys and NumPy", got, np.stack(expected), atol=2e-5)


@given(factors, st.integers(0, 99))
@drawn
def test_adjust_colors_matches_keras_ops(chosen, seed):
    b, q, s, hue = chosen
    x = random_images(2, 3, 4, seed=seed)
    got = to_numpy(adjust_colors(x, saturation=s, data_format="channels_last"))
    gray = to_numpy(ops.image.rgb_to_grayscale(x, data_format="channels_last"))
    np.testing.assert_allclose(got, clip(s * x + (1 - s) * gray), atol=2e-5)
    hsv = to_numpy(ops.image.rgb_to_hsv(x, data_format="channels_last"))
    hsv = np.concatenate([(hsv[..., :1] + hue) % 1, hsv[..., 1:]], -1).astype("float32")
    theirs = to_numpy(ops.image.hsv_to_rgb(hsv, data_format="channels_last"))
    np.testing.assert_allclose(to_numpy(adjust_colors(x, hue=hue)), theirs, atol=2e-5)
    bright = to_numpy(adjust_colors(x, brightness=b, contrast=q))
    layer_like = clip(b * x)
    gray_mean = to_numpy(ops.image.rgb_to_grayscale(layer_like, data_format="channels_last"))
    gray_mean = gray_mean.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(bright, clip(q * layer_like + (1 - q) * gray_mean), atol=2e-5)


def test_adjust_colors_by_hand():
    pixels = np.array([[[[0.4, 0.2, 0.2], [0.0, 0.0, 0.0]]]])
    gray = 0.2989 * 0.4 + 0.7010 * 0.2
    mean = gray / 2

    def got(**options):
        return to_numpy(adjust_colors(pixels, **options))[0, 0]

    np.testing.assert_allclose(got(brightness=3.0), [[1, 0.6, 0.6], [0, 0, 0]], **CLOSE)
    expected = [[0.2 + mean / 2, 0.1 + mean / 2, 0.1 + mean / 2], [mean / 2] * 3]
    np.testing.assert_allclose(got(contrast=0.5), expected, **CLOSE)
    np.testing.assert_allclose(got(saturation=0.0)[0], [gray] * 3, **CLOSE)
    np.testing.assert_allclose(got(hue=1 / 3), [[0.2, 0.4, 0.2], [0, 0, 0]], **CLOSE)  # green
    np.testing.assert_allclose(got(hue=-1 / 3), [[0.2, 0.2, 0.4], [0, 0, 0]], **CLOSE)  # blue
    np.testing.assert_allclose(got(hue=1 / 12)[0], [0.4, 0.3, 0.2], **CLOSE)  # orange
    np.testing.assert_allclose(got(), pixels[0, 0], **CLOSE)


def test_gray_images():
    x = random_images(2, 3, 3, 1)
    got = to_numpy(adjust_colors(x, brightness=1.5, contrast=0.5))
    expected = [reference_colors(i, 1.5, 0.5, 1, 0) for i in x]
    np.testing.assert_allclose(got, np.stack(expected), **CLOSE)
    assert color_jitter(x, contrast=0.5, seed=0).shape == x.shape


@given(*[st.sampled_from([0.0, 0.3, 1.0])] * 3, st.sampled_from([0.0, 0.1, 0.5]), st.integers(0, 9))
@drawn
def test_color_jitter_draws_factors(parity, brightness, contrast, saturation, hue, seed):
    x = random_images(4, 3, 3, seed=seed)
    got = color_jitter(
        x, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, seed=seed
    )
    u = to_numpy(keras.random.uniform((4, 4), seed=seed)).astype("float64")
    strengths = (brightness, contrast, saturation)
    expected = [
        reference_colors(
            image,
            *(1 - k + 2 * k * v for k, v in zip(strengths, row, strict=False)),
            hue * (2 * row[3] - 1),
        )
        for image, row in zip(x, u, strict=True)
    ]
    parity(color_jitter, "colorsys and NumPy", got, np.stack(expected), atol=2e-5)


def test_color_jitter_is_even():
    x = np.full((2000, 1, 1, 3), 0.5, "float32")
    b = to_numpy(color_jitter(x, brightness=0.4, seed=0))[:, 0, 0, 0] / 0.5
    assert scipy.stats.kstest(b, scipy.stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3
    x[...] = (0.5, 0.0, 0.0)
    green = to_numpy(color_jitter(x, hue=0.1, seed=0))[:, 0, 0, 1]  # red turns by up to 36 degrees
    assert 0.28 < green.max() <= 0.3 + 1e-5
    assert 0.4 < np.mean(green > 0) < 0.6


# Erasing


def rectangle(changed):
    """(top, left, height, width) of the rectangle that is all of `changed`."""
    box = box_of(changed).astype(int)
    assert changed[box[0] : box[2], box[1] : box[3]].all() or not changed.any()
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


def test_erasing_matches_reference(parity):
    n, h, w = 400, 10, 14
    x = 1 + random_images(n, h, w, 2)
    options = {"probability": 0.7, "area": (0.1, 0.3), "ratio": (0.5, 2.0), "fill": -1.0}
    got = to_numpy(random_erasing(x, seed=2, **options))
    u = to_numpy(keras.random.uniform((n, 5), seed=2)).astype("float64")
    expected, tops, rooms = np.array(x), [], []
    for k in range(n):
        erased = (got[k] == -1).all(-1)
        np.testing.assert_array_equal(got[k], np.where(erased[..., None], -1, x[k]))
        top, left, height, width = rectangle(erased)
        assert erased.any() == (u[k, 0] < 0.7)
        if not erased.any():
            continue
        area = (0.1 + 0.2 * u[k, 1]) * h * w
        r = 0.5 * 4 ** u[k, 2]
        assert abs(height - min(math.sqrt(area * r), h)) <= 0.5 + 1e-4
        assert abs(width - min(math.sqrt(area / r), w)) <= 0.5 + 1e-4
        expected[k, top : top + height, left : left + width] = -1
        assert top == min(int(u[k, 3] * (h - height + 1)), h - height)
        assert left == min(int(u[k, 4] * (w - width + 1)), w - width)
        tops.append(top)
        rooms.append(h - height)
    parity(random_erasing, "NumPy", got, expected, atol=0)
    assert set(np.array(rooms) - tops) >= {0, 1, 2} <= set(tops)


def test_erasing_limits():
    x = np.ones((50, 4, 6, 1), "float32")
    np.testing.assert_array_equal(to_numpy(random_erasing(x, probability=0, seed=0)), x)
    all_gone = random_erasing(x, probability=1, area=(1, 1), ratio=(4 / 6, 4 / 6), seed=0)
    np.testing.assert_array_equal(to_numpy(all_gone), 0 * x)
    # sides of about 0.5 and 46 pixels: the height rounds to 0 or 1, the width is cut to 6
    wide = random_erasing(x, probability=1, area=(0.9, 1), ratio=(0.01, 0.02), seed=0)
    counts = (to_numpy(wide) == 0).sum(axis=(1, 2, 3))
    assert set(counts.tolist()) == {0, 6}


# Mixing


def read_mixture(y, n):
    """(weight of itself, partner) from mixed one-hot labels, one class for each image."""
    pairs = []
    for k, row in enumerate(to_numpy(y)):
        others = np.delete(np.arange(n), k)
        partner = others[np.argmax(row[others])] if row[others].any() else k
        np.testing.assert_allclose(row.sum(), 1, **CLOSE)
        assert np.count_nonzero(row) <= 2
        pairs.append((row[k], partner))
    return pairs


@given(st.sampled_from([1, 7]), st.sampled_from([0.2, 1.0, 5]), st.integers(0, 99))
@drawn
def test_mixup_matches_numpy(parity, n, alpha, seed):
    x = random_images(n, 2, 3, seed=seed)
    mixed, y = mixup(x, np.eye(n), alpha=alpha, seed=seed)
    pairs = read_mixture(y, n)
    expected = [w * x[k] + (1 - w) * x[p] for k, (w, p) in enumerate(pairs)]
    parity(mixup, "NumPy", mixed, np.stack(expected))
    moved = [p for k, (w, p) in enumerate(pairs) if 0 < w < 1]
    assert len(set(moved)) == len(moved)  # a partner serves one image
    rows, _ = mixup(x.reshape(n, -1), np.eye(n), alpha=alpha, seed=seed)
    np.testing.assert_allclose(to_numpy(rows), to_numpy(mixed).reshape(n, -1), **CLOSE)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0, 4.0])
def test_weights_follow_beta(alpha):
    n = 1500
    x = np.zeros((n, 1), "float32")
    _, y = mixup(x, np.eye(n), alpha=alpha, seed=1)
    y = to_numpy(y)
    weights = np.diag(y)[np.diag(y) < 1] if alpha >= 0.3 else np.diag(y)
    assert np.isfinite(y).all()
    if alpha < 0.1:  # close to a coin; of the middle 98% there is one in twenty
        assert 0.44 < np.mean(weights > 0.5) < 0.56
        inner = scipy.stats.beta(alpha, alpha)
        share = inner.cdf(0.99) - inner.cdf(0.01)
        assert abs(np.mean(np.abs(weights - 0.5) < 0.49) - share) < 0.03
    else:
        assert scipy.stats.kstest(weights, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_by_hand():
    x, y = np.array([[10.0], [20.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    for seed in range(10):
        mixed, labels = map(to_numpy, mixup(x, y, alpha=1, seed=seed))
        # 10 and 20 mixed with the weight that the label shows
        np.testing.assert_allclose(mixed[:, 0], 10 + 10 * labels[:, 1], **CLOSE)


@given(sizes, st.sampled_from([0.3, 1.0, 3]), st.integers(0, 99))
@drawn
def test_cutmix_weight_is_the_share(parity, size, alpha, seed):
    height, width = size
    n = 6
    x = numbered(n, height, width, 2)
    mixed, y = cutmix(x, np.eye(n), alpha=alpha, seed=seed)
    result, expected = to_numpy(mixed), np.array(x)
    for k, (weight, partner) in enumerate(read_mixture(y, n)):
        foreign = (result[k] // 1000).astype(int)[..., 0] != k + 1
        top, left, h, w = rectangle(foreign)
        np.testing.assert_allclose(1 - weight, h * w / (height * width), **CLOSE)
        expected[k, top : top + h, left : left + w] = x[partner, top : top + h, left : left + w]
    parity(cutmix, "NumPy", mixed, expected, atol=0)
    moved, same = cutmix(first(x), np.eye(n), alpha=alpha, seed=seed, data_format="channels_first")
    np.testing.assert_array_equal(to_numpy(moved), first(result))
    np.testing.assert_array_equal(to_numpy(same), to_numpy(y))


def test_cutmix_rectangles():
    n, size = 1500, 20
    x = numbered(n, size, size)
    y = np.eye(n)
    mixed = to_numpy(cutmix(x, y, alpha=1.0, seed=4)[0])
    weights, _, (down, right) = draws.mixing(ops.convert_to_tensor(x), 1.0, 4)
    weights, down, right = (to_numpy(v).astype("float64") for v in (weights, down, right))
    sizes = np.floor(size * np.sqrt(1 - weights))
    checked = 0
    for k in range(n):
        foreign = (mixed[k, ..., 0] // 1000).astype(int) != k + 1
        if not foreign.any():
            continue
        top, left, h, w = rectangle(foreign)
        assert top == max(0, int(down[k] * size) - sizes[k] // 2)
        assert left == max(0, int(right[k] * size) - sizes[k] // 2)
        assert h == min(size, int(down[k] * size) - sizes[k] // 2 + sizes[k]) - top
        assert w == min(size, int(right[k] * size) - sizes[k] // 2 + sizes[k]) - left
        checked += 1
    assert checked > 1300
    assert scipy.stats.kstest(weights, scipy.stats.uniform.cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef([weights, down, right]) - np.eye(3)).max() < 0.1


# Draws and seeds


@pytest.mark.parametrize("transform", IMAGE_TRANSFORMS, ids=TRANSFORM_IDS)
def test_each_image_its_own_draw_and_the_seed_decides(transform):
    x = np.tile(random_images(1, 8, 8), (64, 1, 1, 1))
    got = to_numpy(transform(x, seed=0))
    least = {"random_flip": 4, "random_crop": 30}.get(transform.func.__name__, 45)
    assert len(np.unique(got, axis=0)) >= least
    np.testing.assert_array_equal(to_numpy(transform(x, seed=0)), got)
    assert not np.array_equal(to_numpy(transform(x, seed=1)), got)
    generator = keras.random.SeedGenerator(0)
    one, two = (to_numpy(transform(x, seed=generator)) for _ in range(2))
    np.testing.assert_array_equal(one, got)  # a generator begins with the draws of its int
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(to_numpy(transform(np.array(x), seed=np.int64(0))), got)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_mixing_seeds(mix):
    x, y = random_images(40, 6, 8), np.eye(40)
    got = [to_numpy(a) for a in mix(x, y, alpha=1.0, seed=0)]
    for a, b in zip(mix(x, y, alpha=1.0, seed=0), got, strict=True):
        np.testing.assert_array_equal(to_numpy(a), b)
    generator = keras.random.SeedGenerator(0)
    one, two = (to_numpy(mix(x, y, alpha=1.0, seed=generator)[1]) for _ in range(2))
    assert not np.array_equal(one, two)
    assert len({round(float(w), 4) for w in np.diag(got[1])}) > 8
    empty = mix(x[:0], y[:0], alpha=1.0, seed=0)
    assert [tuple(a.shape) for a in empty] == [(0, 6, 8, 3), (0, 40)]


@pytest.mark.parametrize("transform", IMAGE_TRANSFORMS, ids=TRANSFORM_IDS)
def test_channels_first_and_dtypes(transform):
    x = random_images(4, 6, 8)
    got = to_numpy(transform(x, seed=0))
    moved = transform(first(x), seed=0, data_format="channels_first")
    np.testing.assert_allclose(to_numpy(moved), first(got), **CLOSE)
    dtype = precise_dtype()
    precise = transform(x.astype("float64"), seed=0)
    assert keras.backend.standardize_dtype(precise.dtype) == dtype
    np.testing.assert_allclose(to_numpy(precise), got, **CLOSE)
    assert tuple(transform(x[:0], seed=0).shape) == (0, 6, 8, 3)
    if transform in GEOMETRIC:
        masks, boxes = np.zeros((0, 6, 8), "uint8"), np.zeros((0, 4))
        _, m, b = transform(x[:0], masks=masks, boxes=boxes, seed=0)
        assert (tuple(m.shape), tuple(b.shape)) == ((0, 6, 8), (0, 4))
    half = transform(ops.cast(x, "float16"), seed=0)
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    np.testing.assert_allclose(to_numpy(half).astype("float32"), got, atol=5e-3)


@pytest.mark.parametrize(
    "transform", [*GEOMETRIC, IMAGE_TRANSFORMS[4]], ids=[*TRANSFORM_IDS[:3], "erasing"]
)
def test_integers_become_floats(transform):
    x = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 1), dtype="uint8")
    got = transform(x, seed=0)
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    expected = transform(x.astype("float32"), seed=0)
    np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


# Compiled, in pipelines, differentiated


def everything(x, y, masks, boxes, seed):
    x, masks, boxes = random_crop(x, padding=2, seed=seed, masks=masks, boxes=boxes)
    x, masks, boxes = random_flip(x, vertical=True, seed=seed, masks=masks, boxes=boxes)
    x, masks, boxes = random_rotation(x, 40, seed=seed, masks=masks, boxes=boxes)
    jitter = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}
    x = random_erasing(color_jitter(x, seed=seed, **jitter), seed=seed)
    x, y = mixup(x, y, alpha=0.4, seed=seed)
    x, y = cutmix(x, y, alpha=1.0, seed=seed)
    return x, y, masks, boxes


def assert_all_close(got, expected):
    """Within rounding, except where rounding moves a mask's pixel to its neighbor."""
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-4, atol=1e-4)


def labeled_batch():
    images, masks, boxes = blob_batch(5, 8, seed=1)
    boxes = boxes.astype("float32")  # torch.compile warns where Keras promotes integers
    x = random_images(5, 8, 8) * (images > 0)
    return [ops.convert_to_tensor(a) for a in (x, np.eye(5, dtype="float32"), masks, boxes)]


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a")  # in Keras, of a cached function
def test_compiled():
    arrays = labeled_batch()
    got = compiled(functools.partial(everything, seed=3))(*arrays)
    assert_all_close(got, everything(*arrays, seed=3))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data is TensorFlow's")
def test_tf_data_with_an_unknown_batch_size():
    import tensorflow as tf

    arrays = labeled_batch()
    data = tf.data.Dataset.from_tensor_slices(tuple(arrays)).batch(3)  # 3, then 2
    assert data.element_spec[0].shape[0] is None
    batches = list(data.map(functools.partial(everything, seed=3)))
    assert [len(b[0]) for b in batches] == [3, 2]
    for k, batch in enumerate(batches):
        whole = [a[3 * k : 3 * k + 3] for a in arrays]
        assert_all_close(batch, everything(*whole, seed=3))
    augment = Augmentation(random_crop, random_flip, seed=1)
    pictures = data.map(lambda x, *_: augment(x))
    once, again = (np.concatenate(list(pictures)) for _ in range(2))
    assert not np.array_equal(once, again)  # new draws in the second epoch
    augment.set_state(Augmentation(random_crop, seed=1).get_state())
    np.testing.assert_array_equal(np.concatenate(list(pictures)), once)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, augment):
        super().__init__()
        self.x, self.y, self.augment = x, y, augment

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return ops.convert_to_numpy(self.augment(self.x[rows], seed=index)), self.y[rows]


def test_py_dataset():
    x, y = random_images(8, 6, 6), np.arange(8) % 2
    augment = Augmentation(random_crop, random_flip)
    batches = Batches(x, y, augment)
    np.testing.assert_array_equal(batches[1][0], to_numpy(augment(x[4:], seed=1)))
    np.testing.assert_array_equal(batches[1][0], batches[1][0])
    layers = [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    history = model.fit(batches, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's traced functions are pure")
def test_generator_state_under_jax_jit():
    import jax

    augment = Augmentation(random_crop, random_flip, seed=2)
    x = ops.convert_to_tensor(random_images(4, 6, 8))

    @jax.jit
    def step(x, state):
        variable = augment.seed_generator.state
        with keras.StatelessScope([(variable, state)]) as scope:
            y = augment(x)
        return y, scope.get_current_value(variable)

    state = augment.seed_generator.state.value
    for _ in range(3):
        y, state = step(x, state)
        np.testing.assert_allclose(to_numpy(y), to_numpy(augment(x)), **CLOSE)
    np.testing.assert_array_equal(to_numpy(state), augment.get_state())


@pytest.mark.parametrize("which", ["rotate", "colors", "mixup"])
def test_gradients_against_differences(which):
    dtype = precise_dtype()
    rng = np.random.default_rng(0)
    # red, green or blue is the largest by far: no kink of the hue lies within the step
    kinds = np.array([[0.6, 0.4, 0.2], [0.4, 0.6, 0.2], [0.2, 0.4, 0.6]])[np.arange(8) % 3]
    x = (kinds + rng.uniform(-0.03, 0.03, (4, 6, 8, 3))).astype(dtype)
    labels = np.eye(4, dtype=dtype)
    function = {
        "rotate": lambda x: rotate(x, np.array([20.0, -65.0, 0.5, 170.0])),
        "colors": lambda x: adjust_colors(
            x, brightness=1.1, contrast=0.9, saturation=1.2, hue=0.05
        ),
        "mixup": lambda x: mixup(x, labels, alpha=1.0, seed=0)[0],
    }[which]
    g, way = rng.normal(size=x.shape).astype(dtype), rng.normal(size=x.shape).astype(dtype)
    (gradient,) = vjp(function, [x], g)
    # float32 leaves 6e-8 of a sum of 576 terms, over 2h; the slope is of the order of 10
    h, tolerance = (1e-6, 1e-6) if dtype == "float64" else (1e-3, 1e-2)
    ahead, behind = (
        np.sum(to_numpy(function((x + s * h * way).astype(dtype))).astype("float64") * g)
        for s in (1, -1)
    )
    slope = (ahead - behind) / (2 * h)
    np.testing.assert_allclose(np.sum(gradient * way), slope, rtol=tolerance, atol=tolerance)
    assert abs(slope) > 0.1


def test_gray_pixels_have_finite_gradients():
    x = np.full((1, 2, 2, 3), 0.5, "float32")
    (g,) = vjp(lambda x: adjust_colors(x, hue=0.2), [x], np.ones_like(x))
    assert np.isfinite(g).all()


# Augmentation


def test_augmentation_composes(parity):
    x = random_images(4, 6, 8)
    augment = Augmentation(*IMAGE_TRANSFORMS)
    expected = x
    for k, transform in enumerate(IMAGE_TRANSFORMS):
        expected = transform(expected, seed=(7 + k * 0x9E3779B1) % 2**32)
    parity(Augmentation, "NumPy: the same functions in turn", augment(x, seed=7), expected)
    np.testing.assert_array_equal(to_numpy(augment(x, seed=7)), to_numpy(augment(x, seed=7)))
    generator = keras.random.SeedGenerator(0)
    by_hand = IMAGE_TRANSFORMS[1](IMAGE_TRANSFORMS[0](x, seed=generator), seed=generator)
    two = Augmentation(*IMAGE_TRANSFORMS[:2], seed=0)
    np.testing.assert_array_equal(to_numpy(two(x)), to_numpy(by_hand))
    order = to_numpy(Augmentation(_double, _add_one)(x))
    np.testing.assert_allclose(order, 2 * x + 1, **CLOSE)


def _double(x, *, seed):
    return 2 * x


def _add_one(x, *, seed):
    return x + 1


def test_augmentation_draws_are_independent():
    # the same transform twice: with one seed for both, the second coin would undo the first
    x = np.tile(np.array([1.0, 2.0]).reshape(1, 1, 2, 1), (400, 1, 1, 1))
    for seed in (0, 123):
        twice = to_numpy(Augmentation(random_flip, random_flip)(x, seed=seed))[:, 0, 0, 0]
        assert 0.4 < np.mean(twice == 2) < 0.6


def test_augmentation_state():
    x = random_images(4, 6, 8)
    augment = Augmentation(random_crop, random_flip, seed=5)
    to_numpy(augment(x))
    state = augment.get_state()
    assert state.shape == (2,)
    expected = [to_numpy(augment(x)) for _ in range(3)]
    assert not np.array_equal(expected[0], expected[1])
    resumed = Augmentation(random_crop, random_flip, seed=99)
    resumed.set_state(state.tolist())
    for want in expected:
        np.testing.assert_array_equal(to_numpy(resumed(x)), want)
    np.testing.assert_array_equal(resumed.get_state(), augment.get_state())
    before = augment.get_state()
    augment(x, seed=3)  # a seed of its own leaves the generator alone
    np.testing.assert_array_equal(augment.get_state(), before)
    large = np.array([5, 2**31 - 1])
    augment.set_state(large)
    np.testing.assert_array_equal(augment.get_state(), large)


def test_augmentation_carries_masks_and_boxes():
    images, masks, boxes = blob_batch()
    images = images / 10
    darker = functools.partial(color_jitter, brightness=0.3)
    augment = Augmentation(GEOMETRIC[0], darker, GEOMETRIC[1])
    images = np.repeat(images, 3, axis=-1)
    x, m, b = map(to_numpy, augment(images, masks=masks, boxes=boxes, seed=0))
    np.testing.assert_array_equal(x[..., 0] > 0, m > 0)
    for mask, box in zip(m, b, strict=True):
        np.testing.assert_array_equal(box, box_of(mask))
    only = augment(images, boxes=boxes, seed=0)
    np.testing.assert_array_equal(to_numpy(only[1]), b)
    assert not np.array_equal(m, masks)
    still = Augmentation(_double)(images, masks=masks)
    np.testing.assert_array_equal(to_numpy(still[1]), masks)


# Errors

X = np.ones((2, 4, 4, 3), "float32")
Y = np.eye(2)
CALLS = {
    "random_crop": lambda x, **o: random_crop(x, **{"seed": 0} | o),
    "random_flip": lambda x, **o: random_flip(x, **{"seed": 0} | o),
    "random_rotation": lambda x, **o: random_rotation(x, 10, **{"seed": 0} | o),
    "rotate": lambda x, **o: rotate(x, 10, **o),
    "adjust_colors": adjust_colors,
    "color_jitter": lambda x, **o: color_jitter(x, **{"brightness": 0.1, "seed": 0} | o),
    "random_erasing": lambda x, **o: random_erasing(x, **{"seed": 0} | o),
    "mixup": lambda x, **o: mixup(x, Y, **{"alpha": 1, "seed": 0} | o),
    "cutmix": lambda x, **o: cutmix(x, Y, **{"alpha": 1, "seed": 0} | o),
}
MOVING = ["random_crop", "random_flip", "random_rotation", "rotate"]


@pytest.mark.parametrize("name", [n for n in CALLS if n != "mixup"])
def test_rejects_rank_and_layout(name):
    with pytest.raises(ValueError, match=r"images must have 4 dimensions, got shape \(2, 4, 4\)"):
        CALLS[name](X[..., 0])
    with pytest.raises(ValueError, match="data_format must be .*, got 'NHWC'"):
        CALLS[name](X, data_format="NHWC")


@pytest.mark.parametrize("name", [n for n in CALLS if n not in ("rotate", "adjust_colors")])
@pytest.mark.parametrize("seed", [-1, 1.5, None, "a", True])
def test_rejects_seed(name, seed):
    message = (
        "seed must be an integer from 0 to 4294967295 or a keras.random.SeedGenerator, "
        f"got {seed!r}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        CALLS[name](X, seed=seed)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": np.ones((2, 4, 4, 1))}, "masks must have 3 dimensions, got shape (2, 4, 4, 1)"),
        (
            {"masks": np.ones((2, 4, 5))},
            "masks must have the shape (2, 4, 4) of the images, got (2, 4, 5)",
        ),
        (
            {"masks": np.ones((3, 4, 4))},
            "masks must have the shape (2, 4, 4) of the images, got (3, 4, 4)",
        ),
        ({"boxes": np.ones((2, 5))}, "boxes must have shape (2, 4) or (2, boxes, 4), got (2, 5)"),
        ({"boxes": np.ones((3, 4))}, "boxes must have shape (2, 4) or (2, boxes, 4), got (3, 4)"),
        ({"boxes": np.ones(4)}, "boxes must have shape (2, 4) or (2, boxes, 4), got (4,)"),
    ],
)
def test_rejects_masks_and_boxes(name, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CALLS[name](X, **options)


@pytest.mark.parametrize("fill", [None, "black", math.nan, math.inf, True])
@pytest.mark.parametrize("name", ["random_crop", "random_rotation", "rotate", "random_erasing"])
def test_rejects_fill(name, fill):
    with pytest.raises(ValueError, match=re.escape(f"fill must be a finite number, got {fill!r}")):
        CALLS[name](X, fill=fill)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: random_crop(X, padding=-1, seed=0),
            "padding must be an integer of at least 0, got -1",
        ),
        (
            lambda: random_crop(X, padding=1.5, seed=0),
            "padding must be an integer of at least 0, got 1.5",
        ),
        (
            lambda: random_crop(X, padding=True, seed=0),
            "padding must be an integer of at least 0, got True",
        ),
        (lambda: random_flip(X, horizontal=1, seed=0), "horizontal must be True or False, got 1"),
        (lambda: random_flip(X, vertical="no", seed=0), "vertical must be True or False, got 'no'"),
        (
            lambda: random_rotation(X, 181, seed=0),
            "degrees must be a finite number of at least 0 and at most 180, got 181",
        ),
        (
            lambda: random_rotation(X, -1, seed=0),
            "degrees must be a finite number of at least 0 and at most 180, got -1",
        ),
        (
            lambda: random_rotation(X, None, seed=0),
            "degrees must be a finite number of at least 0 and at most 180, got None",
        ),
        (lambda: rotate(X, math.nan), "angles must be a finite number, got nan"),
        (lambda: rotate(X, [1.0, 2.0, 3.0]), "angles must be a number or have shape (2,), got"),
        (lambda: rotate(X, [[1.0, 2.0]]), "have shape (2,), got shape (1, 2)"),
        (
            lambda: color_jitter(X, contrast=1.5, seed=0),
            "contrast must be a finite number of at least 0 and at most 1, got 1.5",
        ),
        (
            lambda: color_jitter(X, brightness=-0.1, seed=0),
            "brightness must be a finite number of at least 0 and at most 1, got -0.1",
        ),
        (
            lambda: color_jitter(X, saturation=math.nan, seed=0),
            "saturation must be a finite number of at least 0 and at most 1, got nan",
        ),
        (
            lambda: color_jitter(X, hue=0.6, seed=0),
            "hue must be a finite number of at least 0 and at most 0.5, got 0.6",
        ),
        (
            lambda: color_jitter(X.astype("uint8"), seed=0),
            "images must be floats from 0 to 1, got dtype uint8",
        ),
        (
            lambda: adjust_colors(X.astype("int32")),
            "images must be floats from 0 to 1, got dtype int32",
        ),
        (
            lambda: adjust_colors(X[..., :1], saturation=1.5),
            "images must have 3 channels for saturation and hue, got 1",
        ),
        (
            lambda: color_jitter(X[..., :1], hue=0.1, seed=0),
            "images must have 3 channels for saturation and hue, got 1",
        ),
        (lambda: adjust_colors(X[..., :2]), "images must have 1 or 3 channels, got 2"),
        (
            lambda: adjust_colors(X, brightness=-1),
            "brightness must be a finite number of at least 0, got -1",
        ),
        (
            lambda: adjust_colors(X, hue=0.7),
            "hue must be a finite number of at least -0.5 and at most 0.5, got 0.7",
        ),
        (
            lambda: adjust_colors(X, contrast=[1.0, 1.0, 1.0]),
            "contrast must be a number or have shape (2,), got shape (3,)",
        ),
        (
            lambda: random_erasing(X, probability=1.1, seed=0),
            "probability must be a finite number of at least 0 and at most 1, got 1.1",
        ),
        (lambda: random_erasing(X, area=(0, 0.5), seed=0), "got (0, 0.5)"),
        (lambda: random_erasing(X, area=(0.5, 1.5), seed=0), "area must be two numbers"),
        (lambda: random_erasing(X, area=0.5, seed=0), "at most 1, got 0.5"),
        (lambda: random_erasing(X, ratio=(2, 1), seed=0), "ratio must be two numbers"),
        (lambda: random_erasing(X, ratio=(-1, 1), seed=0), "above 0 and at most inf, got (-1, 1)"),
        (
            lambda: mixup(X[:, 0, 0, 0], Y, alpha=1, seed=0),
            "images must have at least 2 dimensions",
        ),
        (lambda: Augmentation(), "transforms must hold at least one function, got none"),
        (lambda: Augmentation(random_flip, 3), "transforms must be callable, got 3"),
        (lambda: Augmentation(random_flip, seed=-2), "seed must be an integer of at least 0"),
        (lambda: Augmentation(random_flip)(X, seed=0.5), "SeedGenerator, got 0.5"),
        (lambda: Augmentation(random_flip).set_state([1]), "state must be two integers, got"),
        (
            lambda: Augmentation(random_flip).set_state([0.5, 1.0]),
            "state must be two integers, got",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("alpha", [0, -1.0, math.nan, math.inf, None, True])
def test_rejects_alpha(mix, alpha):
    message = f"alpha must be a finite number above 0, got {alpha!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        mix(X, Y, alpha=alpha, seed=0)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_rejects_labels(mix):
    message = r"labels must be one-hot or probabilities, of shape (N, classes), got shape (2,)"
    with pytest.raises(ValueError, match=re.escape(message)):
        mix(X, [0, 1], alpha=1, seed=0)
    message = "labels must have one row for each of 2 images, got shape (3, 3)"
    with pytest.raises(ValueError, match=re.escape(message)):
        mix(X, np.eye(3), alpha=1, seed=0)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an unknown image size")
def test_rejects_unknown_sizes():
    import tensorflow as tf

    with pytest.raises(ValueError, match="images must have known sizes, got shape"):
        tf.function(functools.partial(random_crop, seed=0), [tf.TensorSpec((2, None, 4, 3))])(X)

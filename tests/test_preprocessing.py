"""Tests for `cnnbook.preprocessing` (chapter 08)."""

import math
import re
import tracemalloc
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from sklearn.preprocessing import StandardScaler
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook import preprocessing
from cnnbook.preprocessing import channel_moments, standardize, unstandardize

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
EXACT = {"rtol": 1e-14, "atol": 0}
LAST = {"data_format": "channels_last"}


def reference_moments(images):
    """Eq. eq-channel-moments by loops, in exact fractions."""
    n, h, w, channels = images.shape
    means, stds = [], []
    for c in range(channels):
        total = Fraction(0)
        for index in np.ndindex(n, h, w):
            total += Fraction(float(images[(*index, c)]))
        mean, squares = total / (n * h * w), Fraction(0)
        for index in np.ndindex(n, h, w):
            squares += (Fraction(float(images[(*index, c)])) - mean) ** 2
        means.append(float(mean))
        stds.append(math.sqrt(squares / (n * h * w)))
    return np.array(means), np.array(stds)


def reference_standardize(images, mean, std):
    """Eq. eq-standardize by loops in float64, channels last."""
    out = np.zeros(images.shape)
    for index in np.ndindex(images.shape):
        c = index[-1]
        out[index] = (float(images[index]) - float(mean[c])) / float(std[c])
    return out


@st.composite
def image_sets(draw):
    """Images of a drawn dtype and offset, (N, H, W, C)."""
    shape = tuple(draw(st.integers(1, high)) for high in (6, 4, 4, 4))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from(["uint8", "int16", "float32", "float64"]))
    offset = draw(st.sampled_from([0, 100]))
    scale = 1 if dtype.startswith("f") else 50
    return (offset + scale * rng.uniform(size=shape)).astype(dtype)


@st.composite
def cases(draw):
    """(images, mean, std, output gradient), channels last."""
    images = draw(image_sets())
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    mean = rng.uniform(-50, 150, size=images.shape[-1]).astype("float32")
    std = rng.uniform(0.5, 60, size=images.shape[-1]).astype("float32")
    return images, mean, std, rng.normal(size=images.shape)


# channel_moments


@given(image_sets(), st.lists(st.integers(0, 6), max_size=3))
@drawn
def test_moments_match_reference_however_the_stream_is_cut(images, cuts):
    mean, std = reference_moments(images)
    largest = np.abs(images).max()
    stream = (batch for batch in np.split(images, sorted(cuts)))  # some of them empty, once only
    for given_images in (images, stream, [images]):
        got_mean, got_std = channel_moments(given_images, **LAST)
        assert got_mean.dtype == got_std.dtype == "float64"
        assert got_mean.shape == got_std.shape == mean.shape
        np.testing.assert_allclose(got_mean, mean, rtol=1e-14, atol=1e-15 * largest)
        np.testing.assert_allclose(got_std, std, rtol=1e-12, atol=1e-15 * largest)


@given(image_sets())
@drawn
def test_moments_match_keras_and_scikit_learn(parity, images):
    layer = keras.layers.Normalization(axis=-1)
    layer.adapt(images.astype("float32"))
    mean, std = channel_moments(images, **LAST)
    channels = images.shape[-1]
    got = np.stack([mean, std**2])
    theirs = np.stack([to_numpy(v).reshape(channels) for v in (layer.mean, layer.variance)])
    # Keras computes in float32: relative to the squares, as the variance cancels them
    tolerance = 1e-5 * (1 + float(np.square(images.astype("float64")).max()))
    parity(channel_moments, "keras.layers.Normalization.adapt", got, theirs, atol=tolerance)

    scaler = StandardScaler()
    for batch in images:
        scaler.partial_fit(batch.reshape(-1, channels).astype("float64"))
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(std, np.sqrt(scaler.var_), rtol=1e-6, atol=1e-6)


def test_moments_by_hand():
    # (1, 2, 3) and (7): 3 + 1 values, means 2 and 7, squares 2 and 0, distance 5
    # mean 2 + 5 / 4 = 3.25, squares 2 + 0 + 25 * 3 / 4 = 20.75
    images = np.array([1, 2, 3, 7], "uint8").reshape(4, 1, 1, 1)
    for given_images in (images, [images[:3], images[3:]], iter([images[:1], images[1:]])):
        mean, std = channel_moments(given_images, **LAST)
        np.testing.assert_allclose(mean, [3.25], **EXACT)
        np.testing.assert_allclose(std, [math.sqrt(20.75 / 4)], **EXACT)


def test_moments_keep_channels_apart():
    first = np.array([[0, 10], [4, 10]], "uint8").reshape(1, 2, 1, 2)
    mean, std = channel_moments(first, **LAST)
    np.testing.assert_array_equal(mean, [2, 10])
    np.testing.assert_array_equal(std, [2, 0])


def test_moments_channels_first():
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), "uint8")
    for batches in (images, [images[:1], images[1:]]):
        turned = (
            np.moveaxis(images, -1, 1)
            if batches is images
            else [np.moveaxis(b, -1, 1) for b in batches]
        )
        got = channel_moments(turned, data_format="channels_first")
        np.testing.assert_allclose(got, reference_moments(images), **EXACT)


def test_moments_follow_a_shift_and_a_scale():
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 2), "uint8")
    mean, std = channel_moments(images, **LAST)
    got_mean, got_std = channel_moments(1000 - 2.0 * images, **LAST)
    np.testing.assert_allclose(got_mean, 1000 - 2 * mean, **EXACT)
    np.testing.assert_allclose(got_std, 2 * std, **EXACT)


def test_moments_of_batches_of_other_sizes_weigh_by_pixels():
    rng = np.random.default_rng(0)
    batches = [rng.uniform(size=(n, h, w, 2)) for n, h, w in [(1, 2, 3), (5, 4, 4), (2, 9, 1)]]
    pixels = np.concatenate([b.reshape(-1, 2) for b in batches])
    mean, std = channel_moments(batches, **LAST)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), **EXACT)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_moments_do_not_cancel(offset):
    """Alternating offset - 1 and offset + 1: the deviation is 1, whatever the offset."""
    batch = np.tile([[offset - 1], [offset + 1]], (50, 1)).reshape(100, 1, 1, 1)
    mean, std = channel_moments((batch for _ in range(1000)), **LAST)
    np.testing.assert_allclose(mean, [offset], **EXACT)
    np.testing.assert_allclose(std, [1.0], rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, 1e8 / 3, -7e-30])
def test_a_channel_that_never_varies_has_exactly_zero(value):
    batches = [np.full((n, 3, 3, 1), value) for n in (1, 7, 100)]
    mean, std = channel_moments(batches, **LAST)
    assert (mean, std) == ([value], [0.0])


def test_moments_in_blocks(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), "uint8")
    expected = reference_moments(images)
    for block in (1, 100, 200):
        monkeypatch.setattr(preprocessing, "BLOCK", block)
        np.testing.assert_allclose(channel_moments(images, **LAST), expected, rtol=1e-13)


def peak_memory(images):
    tracemalloc.start()
    channel_moments(images, **LAST)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_stream():
    def stream(count):
        return (np.full((64, 32, 32, 3), i % 256, "uint8") for i in range(count))

    peak_memory(stream(2))
    short, long = peak_memory(stream(4)), peak_memory(stream(100))
    assert long < 1.1 * short + 10_000
    whole = np.zeros((2000, 32, 32, 3), "uint8")  # 49 MB of float64, were it converted at once
    assert peak_memory(whole) < 8e6


def test_moments_take_tensors_lists_and_a_reiterable():
    images = np.random.default_rng(0).integers(0, 9, (4, 2, 3, 2)).astype("float32")
    expected = reference_moments(images)
    tensor = ops.convert_to_tensor(images)
    for given_images in (tensor, [tensor[:1], tensor[1:]], images.tolist(), (images,)):
        np.testing.assert_allclose(channel_moments(given_images, **LAST), expected, **EXACT)
    batches = [images[:2], images[2:]]
    np.testing.assert_array_equal(channel_moments(batches, **LAST), channel_moments(batches))
    half = images.astype("float16")
    np.testing.assert_allclose(channel_moments(half, **LAST), expected, **EXACT)


def test_moments_leave_their_argument_alone():
    images = np.random.default_rng(0).uniform(size=(3, 2, 2, 1))
    before = images.copy()
    channel_moments(images, **LAST)
    np.testing.assert_array_equal(images, before)


ONE = np.ones((2, 3, 3, 3))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.ones((3, 3, 3)), "images must have 4 dimensions, got shape (3, 3, 3)."),
        ([ONE[0], ONE[1]], "batch 0 of images must have 4 dimensions, got shape (3, 3, 3)."),
        (
            [ONE, ONE, ONE[..., :1]],
            "batch 2 of images has 1 channels, but those before have 3.",
        ),
        (
            [(ONE, np.zeros(2))],
            "batch 0 of images must be an array of images, got a tuple of 2",
        ),
        ([ONE, ONE * np.nan], "batch 1 of images must hold finite values only, got NaN"),
        (ONE * np.inf, "images must hold finite values only, got NaN or infinity."),
        (ONE * 1j, "images must be an array of real numbers, got dtype complex128."),
        (np.full((1, 1, 1, 1), "a"), "images must be an array of real numbers, got dtype <U1."),
        ([], "images must hold at least one image with pixels, got none."),
        (iter(()), "images must hold at least one image with pixels, got none."),
        (ONE[:0], "images must hold at least one image with pixels, got none."),
        ([ONE[:0], ONE[:, :0]], "images must hold at least one image with pixels, got none."),
        (ONE[..., :0], "images must hold at least one image with pixels, got none."),
    ],
)
def test_moments_reject(images, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        channel_moments(images, **LAST)


def test_moments_reject_a_used_up_stream_and_what_is_no_stream():
    stream = iter([ONE])
    channel_moments(stream, **LAST)
    with pytest.raises(ValueError, match="got none"):
        channel_moments(stream, **LAST)
    with pytest.raises(TypeError, match="int"):
        channel_moments(3, **LAST)


def test_one_bad_value_late_in_a_batch_is_found():
    images = np.zeros((4, 2, 2, 3))
    images[3, 1, 1, 2] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        channel_moments(images, **LAST)


# standardize and unstandardize


@given(cases(), st.booleans())
@drawn
def test_standardize_matches_reference(case, first):
    images, mean, std, _ = case
    expected = reference_standardize(images, mean, std)
    options = {"data_format": "channels_first" if first else "channels_last"}
    turned = np.moveaxis(images, -1, 1) if first else images
    got = to_numpy(standardize(turned, mean, std, **options))
    assert got.shape == turned.shape
    back = to_numpy(unstandardize(got, mean, std, **options))
    np.testing.assert_allclose(back, turned, rtol=1e-5, atol=1e-4)
    got = np.moveaxis(got, 1, -1) if first else got
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@given(cases())
@drawn
def test_unstandardize_matches_reference(case):
    images, mean, std, _ = case
    expected = np.zeros(images.shape)
    for index in np.ndindex(images.shape):
        expected[index] = float(std[index[-1]]) * float(images[index]) + float(mean[index[-1]])
    got = to_numpy(unstandardize(images, mean, std, **LAST))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3)


@given(cases())
@drawn
def test_matches_keras(parity, case):
    images, mean, std, _ = case
    images = images.astype("float32")
    values = {"axis": -1, "mean": mean, "variance": np.square(std)}
    peer = keras.layers.Normalization(**values)(images)
    parity(standardize, "keras.layers.Normalization", standardize(images, mean, std), peer,
           rtol=1e-4, atol=1e-4)  # fmt: skip
    peer = keras.layers.Normalization(invert=True, **values)(images)
    parity(unstandardize, "keras.layers.Normalization(invert=True)",
           unstandardize(images, mean, std), peer, rtol=1e-4, atol=1e-3)  # fmt: skip


@given(cases())
@drawn
def test_gradients_are_the_scale(case):
    images, mean, std, g = case
    images = images.astype(precise_dtype())
    (got,) = vjp(lambda x: standardize(x, mean, std, **LAST), [images], g.astype(images.dtype))
    np.testing.assert_allclose(got, g / std, **CLOSE)
    (got,) = vjp(lambda x: unstandardize(x, mean, std, **LAST), [images], g.astype(images.dtype))
    np.testing.assert_allclose(got, g * std, rtol=1e-5, atol=1e-4)


def test_standardize_by_hand():
    # (200 - 100) / 50, (50 - 50) / 25, (190 - 200) / 10
    pixel = np.array([200, 50, 190], "uint8").reshape(1, 1, 1, 3)
    x = standardize(pixel, [100, 50, 200], [50, 25, 10], **LAST)
    np.testing.assert_allclose(to_numpy(x).ravel(), [2, 0, -1], atol=1e-6)
    back = to_numpy(unstandardize(x, [100, 50, 200], [50, 25, 10], **LAST))
    np.testing.assert_allclose(back, pixel, atol=1e-4)


@given(image_sets())
@drawn
def test_standardized_images_have_mean_0_and_std_1(images):
    mean, std = channel_moments(images, **LAST)
    varies = std > 1e-3 * (1 + np.abs(mean))
    std = np.where(varies, std, 1.0)
    x = to_numpy(standardize(images.astype("float32"), mean, std, **LAST))
    got_mean, got_std = channel_moments(x, **LAST)
    np.testing.assert_allclose(got_mean, 0, atol=2e-3)
    np.testing.assert_allclose(got_std[varies], 1, rtol=2e-3)


@pytest.mark.parametrize("function", [standardize, unstandardize])
def test_dtype_is_that_of_the_images(function):
    statistics = np.ones(1, "float64"), np.ones(1, "float64")
    for given_dtype, expected in [
        ("uint8", "float32"),
        ("int64", "float32"),
        ("float32", "float32"),
        ("float16", "float16"),
        ("float64", precise_dtype()),
    ]:
        y = function(np.ones((1, 2, 2, 1), given_dtype), *statistics, **LAST)
        assert keras.backend.standardize_dtype(y.dtype) == expected, given_dtype


@pytest.mark.parametrize("function", [standardize, unstandardize])
def test_compiled_also_with_tensors_of_statistics(function):
    x, mean, std = (
        ops.convert_to_tensor(np.random.default_rng(i).uniform(1, 2, size=shape), "float32")
        for i, shape in enumerate([(4, 3, 3, 2), (2,), (2,)])
    )
    want = to_numpy(function(x, mean, std, **LAST))
    np.testing.assert_allclose(
        to_numpy(compiled(lambda *a: function(*a, **LAST))(x, mean, std)), want, **CLOSE
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an unknown batch size")
def test_unknown_sizes_and_data_map():
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), "uint8")
    data = tf.data.Dataset.from_tensor_slices(images).batch(4)
    mean, std = channel_moments(data, **LAST)
    np.testing.assert_allclose([mean, std], reference_moments(images), **EXACT)
    mapped = np.concatenate([np.asarray(x) for x in data.map(lambda x: standardize(x, mean, std))])
    np.testing.assert_allclose(mapped, to_numpy(standardize(images, mean, std)), **CLOSE)
    traced = tf.function(
        lambda x: standardize(x, mean, std), [tf.TensorSpec((None, None, None, 3), "uint8")]
    )
    np.testing.assert_allclose(traced(images), mapped, **CLOSE)


@pytest.mark.parametrize("shape", [(0, 2, 2, 3), (2, 0, 2, 3)])
@pytest.mark.parametrize("function", [standardize, unstandardize])
def test_empty(function, shape):
    assert tuple(function(np.ones(shape), [1.0] * 3, [1.0] * 3, **LAST).shape) == shape


def needs(name, got):
    return f"{name} must have shape (3,), one number for each channel of images, got shape {got}."


@pytest.mark.parametrize("function", [standardize, unstandardize])
@pytest.mark.parametrize(
    ("images", "mean", "std", "message"),
    [
        (ONE[0], [0.0] * 3, [1.0] * 3, "images must have 4 dimensions, got shape (3, 3, 3)."),
        (ONE, [0.0] * 2, [1.0] * 3, needs("mean", "(2,)")),
        (ONE, [0.0] * 3, [1.0], needs("std", "(1,)")),
        (ONE, 0.0, [1.0] * 3, needs("mean", "()")),
        (ONE, np.zeros((1, 3)), [1.0] * 3, needs("mean", "(1, 3)")),
        (ONE, [0.0] * 3, [1.0, 0.0, 2.0], "std must be positive, got 0.0 for channel 1; a channel"),
        (ONE, [0.0] * 3, np.array([1, 2, -1]), "std must be positive, got -1.0 for channel 2;"),
        (ONE, [0.0] * 3, [math.nan, 1, 1], "std must be finite, got nan for channel 0."),
        (ONE, [0.0, math.inf, 0.0], [1.0] * 3, "mean must be finite, got inf for channel 1."),
    ],
)
def test_standardize_rejects(function, images, mean, std, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(images, mean, std, **LAST)


def test_the_axis_of_the_channels_matters():
    images = np.ones((2, 3, 5, 4))
    standardize(images, [0.0] * 3, [1.0] * 3, data_format="channels_first")
    with pytest.raises(ValueError, match=re.escape("mean must have shape (4,)")):
        standardize(images, [0.0] * 3, [1.0] * 3, **LAST)


@pytest.mark.parametrize(
    "call",
    [
        lambda **k: channel_moments(ONE, **k),
        lambda **k: standardize(ONE, [0.0] * 3, [1.0] * 3, **k),
        lambda **k: unstandardize(ONE, [0.0] * 3, [1.0] * 3, **k),
    ],
)
def test_rejects_data_format(call):
    with pytest.raises(ValueError, match="data_format must be .* got 'NHWC'"):
        call(data_format="NHWC")

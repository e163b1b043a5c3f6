"""Tests for `cnnbook.convolution` (chapter 01)."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from scipy import signal
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook import convolution
from cnnbook.convolution import conv2d, conv2d_gradients, conv2d_transpose, conv_output_size

TOL = dict(rtol=1e-4, atol=1e-4)
LAST = dict(data_format="channels_last")


def margins(padding, sizes, kernel_sizes, strides, dilations):
    """((top, bottom), (left, right)), from Keras's documented rules, for the references."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if padding == "same":
        pairs = []
        for n, k, s, d in zip(sizes, kernel_sizes, strides, dilations, strict=True):
            span = d * (k - 1) + 1
            missing = span - s if n % s == 0 else span - n % s
            before = max(missing, 0) // 2
            pairs.append((before, max(missing, 0) - before))
        return tuple(pairs)
    return padding


def taps(x, kernel, strides, padding, dilations, groups):
    """Every (n, i, j, k, m, q, c, row, column) of eq-conv2d-general that meets the image."""
    batch, height, width, channels = x.shape
    kh, kw, group_channels, filters = kernel.shape
    (top, bottom), (left, right) = margins(padding, (height, width), (kh, kw), strides, dilations)
    rows = (height + top + bottom - dilations[0] * (kh - 1) - 1) // strides[0] + 1
    columns = (width + left + right - dilations[1] * (kw - 1) - 1) // strides[1] + 1
    found = []
    for n, i, j, k in np.ndindex(batch, rows, columns, filters):
        group = k // (filters // groups)
        for m, q, c in np.ndindex(kh, kw, group_channels):
            row = strides[0] * i + dilations[0] * m - top
            column = strides[1] * j + dilations[1] * q - left
            if 0 <= row < height and 0 <= column < width:
                found.append((n, i, j, k, m, q, c, row, column, group * group_channels + c))
    return (batch, rows, columns, filters), found


def reference_conv2d(x, kernel, bias, **geometry):
    """Eq. eq-conv2d-general by explicit loops, in float64."""
    shape, found = taps(x, kernel, **geometry)
    y = np.zeros(shape) + bias.astype("float64")
    for n, i, j, k, m, q, c, row, column, channel in found:
        y[n, i, j, k] += float(kernel[m, q, c, k]) * float(x[n, row, column, channel])
    return y


def reference_gradients(x, kernel, dy, **geometry):
    """Eq. eq-conv2d-gradients by explicit loops, in float64."""
    _, found = taps(x, kernel, **geometry)
    dx, dkernel = np.zeros(x.shape), np.zeros(kernel.shape)
    for n, i, j, k, m, q, c, row, column, channel in found:
        dx[n, row, column, channel] += float(kernel[m, q, c, k]) * float(dy[n, i, j, k])
        dkernel[m, q, c, k] += float(x[n, row, column, channel]) * float(dy[n, i, j, k])
    return dx, dkernel, dy.astype("float64").sum((0, 1, 2))


GEOMETRIES = [
    dict(strides=(1, 1), padding="valid", dilations=(1, 1), groups=1),
    dict(strides=(2, 1), padding="same", dilations=(1, 1), groups=1),
    dict(strides=(2, 3), padding="same", dilations=(1, 1), groups=2),
    dict(strides=(1, 1), padding=2, dilations=(2, 1), groups=1),
    dict(strides=(3, 2), padding=((0, 3), (2, 1)), dilations=(1, 2), groups=1),
    dict(strides=(2, 2), padding=1, dilations=(2, 2), groups=4),
    dict(strides=(2, 3), padding="same", dilations=(3, 2), groups=2),
    dict(strides=(1, 2), padding="same", dilations=(1, 1), groups=4),
]
KERNELS = [(3, 3), (2, 4), (1, 1), (4, 1)]


def example(geometry, kernel_size, seed=0, multiplier=2):
    rng = np.random.default_rng(seed)
    groups = geometry["groups"]
    x = rng.normal(size=(2, 9, 10, 4))
    kernel = rng.normal(size=(*kernel_size, 4 // groups, groups * multiplier))
    return x.astype("float32"), kernel.astype("float32"), rng.normal(size=groups * multiplier)


def keywords(geometry):
    names = {"dilations": "dilation_rate"}
    return {names.get(k, k): v for k, v in geometry.items()} | LAST


@pytest.mark.parametrize("kernel_size", KERNELS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_conv2d_matches_reference(geometry, kernel_size):
    x, kernel, bias = example(geometry, kernel_size)
    got = to_numpy(conv2d(x, kernel, bias.astype("float32"), **keywords(geometry)))
    np.testing.assert_allclose(got, reference_conv2d(x, kernel, bias, **geometry), **TOL)


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_match_reference(geometry, multiplier):
    x, kernel, bias = example(geometry, (2, 3), multiplier=multiplier)
    shape, _ = taps(x, kernel, **geometry)
    dy = np.random.default_rng(1).normal(size=shape).astype("float32")
    got = conv2d_gradients(x, kernel, dy, **keywords(geometry))
    for a, b in zip(got, reference_gradients(x, kernel, dy, **geometry), strict=True):
        np.testing.assert_allclose(to_numpy(a), b, **TOL)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_match_autodiff(geometry):
    x, kernel, bias = (a.astype(precise_dtype()) for a in example(geometry, (3, 2)))
    options = keywords(geometry)
    dy = np.random.default_rng(1).normal(size=taps(x, kernel, **geometry)[0])
    expected = vjp(lambda *a: conv2d(*a, **options), (x, kernel, bias), dy.astype(x.dtype))
    got = conv2d_gradients(x, kernel, dy.astype(x.dtype), **options)
    close = 1e-10 if x.dtype == "float64" else 1e-4
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(to_numpy(a), b, rtol=close, atol=close)


def test_hand_computed():
    x = [[[[1.0], [2.0], [0.0]], [[3.0], [1.0], [2.0]], [[0.0], [1.0], [4.0]]]]
    kernel = [[[[1.0]], [[2.0]]], [[[0.0]], [[-1.0]]]]
    y = to_numpy(conv2d(x, kernel, [0.5], **LAST))[0, :, :, 0]
    np.testing.assert_array_equal(
        y, [[1 + 4 - 1 + 0.5, 2 - 2 + 0.5], [3 + 2 - 1 + 0.5, 1 + 4 - 4 + 0.5]]
    )


def test_same_padding_puts_the_odd_pixel_last():
    x = np.arange(1.0, 5.0, dtype="float32").reshape(1, 1, 4, 1)
    y = conv2d(x, np.ones((1, 2, 1, 1), "float32"), padding="same", **LAST)
    np.testing.assert_array_equal(to_numpy(y)[0, 0, :, 0], [3, 5, 7, 4])
    y = conv2d(x, np.ones((1, 3, 1, 1), "float32"), padding="same", strides=2, **LAST)
    np.testing.assert_array_equal(to_numpy(y)[0, 0, :, 0], [6, 7])


def test_linear_in_image_and_kernel():
    x, kernel, _ = example(GEOMETRIES[0], (3, 3))
    other, _, _ = example(GEOMETRIES[0], (3, 3), seed=2)
    left = conv2d(2 * x - other, kernel, **LAST)
    right = 2 * conv2d(x, kernel, **LAST) - conv2d(other, kernel, **LAST)
    np.testing.assert_allclose(to_numpy(left), to_numpy(right), **TOL)


def test_shift_equivariant_inside():
    x, kernel, _ = example(GEOMETRIES[0], (3, 3))
    y = to_numpy(conv2d(x, kernel, **LAST))
    shifted = to_numpy(conv2d(np.roll(x, 1, axis=2), kernel, **LAST))
    np.testing.assert_allclose(shifted[:, :, 1:], y[:, :, :-1], **TOL)


def test_is_scipys_correlation_and_not_its_convolution():
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(7, 8)), rng.normal(size=(3, 2))
    got = to_numpy(conv2d(image[None, ..., None], kernel[..., None, None], **LAST))[0, ..., 0]
    np.testing.assert_allclose(got, signal.correlate2d(image, kernel, "valid"), **TOL)
    assert np.abs(got - signal.convolve2d(image, kernel, "valid")).max() > 0.1


@st.composite
def layers(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    strides, dilations = (1, 1), (1, 1)
    if draw(st.booleans()):
        strides = (draw(st.integers(1, 3)),) * 2
    elif groups == 1:
        dilations = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    return dict(
        kernel=kernel,
        groups=groups,
        channels=groups * draw(st.integers(1, 3)),
        filters=groups * draw(st.integers(1, 3)),
        strides=strides,
        padding=draw(st.sampled_from(["valid", "same"])),
        dilation_rate=dilations,
        sizes=(draw(st.integers(7, 12)), draw(st.integers(7, 12))),
        batch=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 99)),
    )


@drawn
@given(layers(), st.booleans())
def test_conv2d_equals_keras(parity, layer, channels_first):
    rng = np.random.default_rng(layer["seed"])
    x = rng.normal(size=(layer["batch"], *layer["sizes"], layer["channels"])).astype("float32")
    shape = (*layer["kernel"], layer["channels"] // layer["groups"], layer["filters"])
    kernel = rng.normal(size=shape).astype("float32")
    bias = rng.normal(size=layer["filters"]).astype("float32")
    options = {k: layer[k] for k in ("strides", "padding", "dilation_rate")}
    peer = ops.add(ops.conv(x, kernel, **options, **LAST), bias)
    options["groups"] = layer["groups"]
    if channels_first:
        y = conv2d(x.transpose(0, 3, 1, 2), kernel, bias, **options, data_format="channels_first")
        y = ops.transpose(y, (0, 2, 3, 1))
    else:
        y = conv2d(x, kernel, bias, **options, **LAST)
    parity(conv2d, "keras.ops.conv", y, peer, **TOL)
    sizes = [
        conv_output_size(n, k, stride=s, padding=options["padding"], dilation_rate=d)
        for n, k, s, d in zip(
            layer["sizes"], layer["kernel"], layer["strides"], layer["dilation_rate"], strict=True
        )
    ]
    parity(conv_output_size, "keras.ops.conv", np.array(sizes), np.array(peer.shape[1:3]))


@drawn
@given(layers())
def test_gradients_equal_the_frameworks(parity, layer):
    rng = np.random.default_rng(layer["seed"])
    x = rng.normal(size=(layer["batch"], *layer["sizes"], layer["channels"])).astype("float32")
    shape = (*layer["kernel"], layer["channels"] // layer["groups"], layer["filters"])
    kernel = rng.normal(size=shape).astype("float32")
    options = {k: layer[k] for k in ("strides", "padding", "dilation_rate")} | LAST
    y = ops.conv(x, kernel, **options)
    dy = rng.normal(size=tuple(y.shape)).astype("float32")
    expected = vjp(lambda a, b: ops.conv(a, b, **options), (x, kernel), dy)
    got = conv2d_gradients(x, kernel, dy, groups=layer["groups"], **options)
    for a, b in zip(got, expected, strict=False):
        parity(conv2d_gradients, "autodiff of keras.ops.conv", a, b, **TOL)


@drawn
@given(layers(), st.booleans())
def test_transpose_equals_keras(parity, layer, channels_first):
    rng = np.random.default_rng(layer["seed"])
    x = rng.normal(size=(layer["batch"], *layer["sizes"], layer["channels"])).astype("float32")
    kernel = rng.normal(size=(*layer["kernel"], layer["filters"], layer["channels"]))
    kernel = kernel.astype("float32")
    options = {k: layer[k] for k in ("strides", "padding")}
    peer = ops.conv_transpose(x, kernel, **options, **LAST)
    if channels_first:
        x = x.transpose(0, 3, 1, 2)
        y = conv2d_transpose(x, kernel, **options, data_format="channels_first")
        y = ops.transpose(y, (0, 2, 3, 1))
    else:
        y = conv2d_transpose(x, kernel, **options, **LAST)
    parity(conv2d_transpose, "keras.ops.conv_transpose", y, peer, **TOL)


@pytest.mark.parametrize("padding", ["valid", 1, ((0, 1), (2, 0))])
def test_transpose_matches_reference(padding):
    rng = np.random.default_rng(0)
    x, kernel, bias = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(3, 4, 5, 2)), np.ones(5)
    full = np.zeros((2, 2 * 2 + 3, 3 * 3 + 4, 5))
    for n, i, j, m, q in np.ndindex(2, 3, 4, 3, 4):
        full[n, 2 * i + m, 3 * j + q] += kernel[m, q] @ x[n, i, j]
    (top, bottom), (left, right) = margins(padding, None, None, None, None)
    expected = full[:, top : 7 - bottom, left : 13 - right] + bias
    got = conv2d_transpose(x, kernel, bias, strides=(2, 3), padding=padding, **LAST)
    np.testing.assert_allclose(to_numpy(got), expected, **TOL)


def eager(function):
    return function


def test_transpose_is_the_adjoint():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 7, 7, 3)), rng.normal(size=(3, 3, 3, 2))
    y = rng.normal(size=(1, 3, 3, 2))
    forward = np.sum(to_numpy(conv2d(x, kernel, strides=2, **LAST)) * y)
    back = np.sum(x * to_numpy(conv2d_transpose(y, kernel, strides=2, **LAST)))
    assert forward == pytest.approx(back, rel=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("limit, run", [(1, eager), (300, eager), (2000, eager), (300, compiled)])
def test_bands_do_not_change_the_result(monkeypatch, limit, groups, run):
    geometry = dict(strides=(2, 1), padding=1, dilations=(1, 2), groups=groups)
    x, kernel, _ = example(geometry, (3, 3))
    dy = np.ones(taps(x, kernel, **geometry)[0], "float32")

    def everything(x, kernel, dy):
        options = keywords(geometry)
        return conv2d(x, kernel, **options), *conv2d_gradients(x, kernel, dy, **options)

    tensors = [ops.convert_to_tensor(a) for a in (x, kernel, dy)]
    whole = everything(*tensors)
    monkeypatch.setattr(convolution, "BAND_ELEMENTS", limit)
    for a, b in zip(run(everything)(*tensors), whole, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), **TOL)


@pytest.mark.parametrize("rows", [1, 6, 7, 12, 13])
@pytest.mark.parametrize("limit", [1, 20, 35, 1000])
def test_bands_cover_all_rows_and_hold_the_limit(monkeypatch, rows, limit):
    monkeypatch.setattr(convolution, "BAND_ELEMENTS", limit)
    bands, height = convolution._bands(rows, 10)
    assert (bands - 1) * height < rows <= bands * height
    assert height * 10 <= max(limit, 10)


@pytest.mark.parametrize("geometry", GEOMETRIES[:3])
def test_compiles_and_differentiates(geometry):
    x, kernel, _ = example(geometry, (3, 3))
    function = compiled(lambda a, b: conv2d(a, b, **keywords(geometry)))
    expected = to_numpy(conv2d(x, kernel, **keywords(geometry)))
    got = to_numpy(function(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)))
    np.testing.assert_allclose(got, expected, **TOL)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function's own feature")
def test_unknown_batch_size():
    import tensorflow as tf

    x, kernel, _ = example(GEOMETRIES[2], (3, 3))
    kernel_options = keywords(GEOMETRIES[2])

    @tf.function(input_signature=[tf.TensorSpec((None, 9, 10, 4), "float32")])
    def both(images):
        y = conv2d(images, kernel, **kernel_options)
        return y, conv2d_gradients(images, kernel, y, **kernel_options)[0]

    for batch in (0, 1, 2):
        y, dx = both(x[:batch])
        np.testing.assert_allclose(y, conv2d(x[:batch], kernel, **kernel_options), **TOL)
        assert dx.shape == x[:batch].shape


def test_empty_batch():
    kernel = np.ones((3, 3, 2, 5), "float32")
    assert conv2d(np.zeros((0, 6, 6, 2)), kernel, **LAST).shape == (0, 4, 4, 5)
    gradients = conv2d_gradients(np.zeros((0, 6, 6, 2)), kernel, np.zeros((0, 4, 4, 5)), **LAST)
    assert gradients[0].shape == (0, 6, 6, 2)
    np.testing.assert_array_equal(to_numpy(gradients[1]), np.zeros((3, 3, 2, 5)))
    np.testing.assert_array_equal(to_numpy(gradients[2]), np.zeros(5))
    assert conv2d_transpose(np.zeros((0, 2, 2, 5)), kernel, **LAST).shape == (0, 4, 4, 2)


def test_promotes_integers_and_keeps_wide_floats():
    image, kernel = np.ones((1, 3, 3, 1), "uint8"), [[[[2]]]]
    y = conv2d(image, kernel, **LAST)
    assert keras.backend.standardize_dtype(y.dtype) == keras.config.floatx()
    wide = conv2d(image.astype(precise_dtype()), kernel, **LAST)
    assert keras.backend.standardize_dtype(wide.dtype) == precise_dtype()


def test_follows_keras_configured_data_format():
    x, kernel = np.ones((1, 2, 5, 5), "float32"), np.ones((3, 3, 2, 1), "float32")
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        assert conv2d(x, kernel).shape == (1, 1, 3, 3)
    finally:
        keras.config.set_image_data_format(before)


X, K = np.zeros((1, 5, 6, 4)), np.zeros((3, 3, 4, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(x=X[0]), r"x must have 4 dimensions, got shape \(5, 6, 4\)"),
        (dict(kernel=K[0]), r"kernel must have 4 dimensions, got shape \(3, 4, 2\)"),
        (
            dict(kernel=K[:, :, :3]),
            "kernel has 3 input channels, but x has 4 channels and groups=1",
        ),
        (dict(groups=2), "kernel has 4 input channels, but x has 4 channels and groups=2"),
        (dict(groups=4, kernel=K[:, :, :1]), "groups=4 does not divide the 2 filters"),
        (dict(groups=0), "groups must be an integer of at least 1, got 0"),
        (dict(strides=0), "strides must be an integer of at least 1, got 0"),
        (dict(strides=(1, -2)), "strides must be an integer of at least 1, got -2"),
        (dict(strides=1.5), "strides must be an integer of at least 1, got 1.5"),
        (
            dict(strides=(1, 2, 3)),
            r"strides must be an integer or a pair of integers, got \(1, 2, 3\)",
        ),
        (dict(strides=True), "strides must be an integer of at least 1, got True"),
        (dict(dilation_rate=0), "dilation_rate must be an integer of at least 1, got 0"),
        (dict(padding="full"), "padding must be 'valid', 'same', an integer or .* got 'full'"),
        (dict(padding=-1), "padding must be an integer of at least 0, got -1"),
        (dict(padding=(1, 2)), r"padding must be .* got \(1, 2\)"),
        (dict(padding=1.0), "padding must be .* got 1.0"),
        (dict(data_format="NCHW"), "data_format must be .* got 'NCHW'"),
        (dict(kernel=np.zeros((7, 3, 4, 2)), padding=0), "kernel covers 7x3 pixels, .* only 5x6"),
        (dict(dilation_rate=3), "kernel covers 7x7 pixels, .* only 5x6"),
    ],
)
def test_bad_arguments(change, message):
    arguments = dict(x=X, kernel=K, data_format="channels_last") | change
    with pytest.raises(ValueError, match=message):
        conv2d(**arguments)
    with pytest.raises(ValueError, match=message):
        conv2d_gradients(**arguments, output_gradient=np.zeros((1, 3, 4, 2)))


def test_bad_bias_and_output_gradient():
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\).*got \(3,\)"):
        conv2d(X, K, np.zeros(3), **LAST)
    with pytest.raises(ValueError, match=r"shape \(1, 3, 4, 2\).*got \(1, 3, 3, 2\)"):
        conv2d_gradients(X, K, np.zeros((1, 3, 3, 2)), **LAST)
    with pytest.raises(
        ValueError, match=r"output_gradient must have 4 dimensions, got shape \(3,\)"
    ):
        conv2d_gradients(X, K, np.zeros(3), **LAST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(x=X[0]), "x must have 4 dimensions"),
        (dict(kernel=K[0]), "kernel must have 4 dimensions"),
        (dict(kernel=K), "kernel has 2 input channels on its last axis, but x has 4"),
        (dict(strides=0), "strides must be an integer of at least 1, got 0"),
        (dict(padding="full"), "padding must be .* got 'full'"),
        (dict(padding=4), "padding=4 cuts the whole 7x8 output away"),
        (dict(bias=np.zeros(2)), r"bias must have shape \(3,\).*got \(2,\)"),
        (dict(data_format="NHWC"), "data_format must be .* got 'NHWC'"),
    ],
)
def test_transpose_bad_arguments(change, message):
    arguments = dict(x=X, kernel=np.zeros((3, 3, 3, 4)), data_format="channels_last") | change
    with pytest.raises(ValueError, match=message):
        conv2d_transpose(**arguments)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid", 1, (0, 3)])
def test_conv_output_size_counts_windows(size, stride, dilation, padding):
    span = dilation * (3 - 1) + 1
    before, after = {"same": (0, 0), "valid": (0, 0), 1: (1, 1)}.get(padding, (0, 3))
    starts = [
        i for i in range(0, size + before + after, stride) if i + span <= size + before + after
    ]
    if padding == "same":
        starts = range(0, size, stride)
    options = dict(stride=stride, padding=padding, dilation_rate=dilation)
    if starts:
        assert conv_output_size(size, 3, **options) == len(starts)
    else:
        with pytest.raises(ValueError, match=f"kernel covers {span} pixels"):
            conv_output_size(size, 3, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(size=0, kernel_size=3), "size must be an integer of at least 1, got 0"),
        (dict(size=5, kernel_size=0), "kernel_size must be an integer of at least 1, got 0"),
        (dict(size=5, kernel_size=3, stride=0), "stride must be .* got 0"),
        (dict(size=5, kernel_size=3, dilation_rate=-1), "dilation_rate must be .* got -1"),
        (dict(size=5, kernel_size=3, padding="all"), "padding must be .* got 'all'"),
        (dict(size=5, kernel_size=6), "kernel covers 6 pixels, but the padded image has only 5"),
    ],
)
def test_conv_output_size_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv_output_size(**arguments)

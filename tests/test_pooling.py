"""Tests for `cnnbook.pooling` (chapter 03)."""

from collections import namedtuple

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from scipy import ndimage
from support import compiled, drawn, precise_dtype, to_numpy, vjp

from cnnbook.convolution import conv_output_size
from cnnbook.pooling import (
    avg_pool2d,
    avg_pool2d_gradient,
    global_avg_pool2d,
    global_max_pool2d,
    max_pool2d,
    max_pool2d_gradient,
)

LAST = {"data_format": "channels_last"}
Window = namedtuple("Window", "pool_size strides padding")
POOLS = pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d], ids=lambda f: f.__name__)
WINDOWS = [
    (Window(2, None, "valid"), ((0, 0), (0, 0))),
    (Window((3, 2), (2, 1), "valid"), ((0, 0), (0, 0))),
    (Window(2, (1, 3), "same"), ((0, 1), (0, 1))),
    (Window(3, 2, 1), ((1, 1), (1, 1))),
    (Window((2, 4), (3, 2), ((1, 0), (0, 3))), ((1, 0), (0, 3))),
]


def quick(function):
    """On JAX the function compiled as a whole, which is faster than operation by operation."""
    return compiled(function) if keras.backend.backend() == "jax" else function


def images(seed, shape=(2, 5, 7, 3)):
    """Most entries negative, and many of them equal."""
    return np.random.default_rng(seed).integers(-9, 3, size=shape).astype("float32")


def windows(x, window, paddings):
    """For each window of a one-channel image: its place, and its real pixels' indices."""
    (height, width), (kh, kw) = x.shape, np.broadcast_to(window.pool_size, 2)
    sh, sw = (kh, kw) if window.strides is None else np.broadcast_to(window.strides, 2)
    (top, bottom), (left, right) = paddings
    for i, u in enumerate(range(-top, height + bottom - kh + 1, sh)):
        for j, v in enumerate(range(-left, width + right - kw + 1, sw)):
            cells = [(a, b) for a in range(u, u + kh) for b in range(v, v + kw)]
            yield (i, j), [(a, b) for a, b in cells if 0 <= a < height and 0 <= b < width]


def reference_pool(x, window, paddings, reduce):
    """Eq. eq-max-pool-strided (or eq-avg-pool) by explicit loops, in float64."""
    rows = []
    for image in np.moveaxis(x.astype("float64"), -1, 1).reshape(-1, *x.shape[1:3]):
        places = windows(image, window, paddings)
        values = {at: reduce([image[p] for p in real]) for at, real in places}
        shape = tuple(np.max(list(values), axis=0) + 1)
        rows.append(np.reshape([values[at] for at in sorted(values)], shape))
    return np.moveaxis(np.reshape(rows, (len(x), x.shape[-1], *rows[0].shape)), 1, -1)


def reference_gradient(x, dy, window, paddings, shares):
    """Eq. eq-max-pool-gradient (or eq-avg-pool-gradient) by explicit loops."""
    dx = np.zeros(x.shape)
    for n, c in np.ndindex(x.shape[0], x.shape[-1]):
        image = x[n, :, :, c].astype("float64")
        for (i, j), real in windows(image, window, paddings):
            for (u, v), share in shares(image, real):
                dx[n, u, v, c] += share * dy[n, i, j, c]
    return dx


def first_winner(image, real):
    return [(max(real, key=lambda p: image[p]), 1.0)]


def equal_shares(image, real):
    return [(p, 1 / len(real)) for p in real]


@pytest.mark.parametrize(("window", "paddings"), WINDOWS)
@pytest.mark.parametrize(("pool", "reduce"), [(max_pool2d, max), (avg_pool2d, np.mean)])
def test_matches_the_loop(window, paddings, pool, reduce):
    x = images(0)
    got = pool(x, **window._asdict(), **LAST)
    expected = reference_pool(x, window, paddings, reduce)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("window", "paddings"), WINDOWS)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_gradient_matches_the_loop(window, paddings, kind):
    x = images(1)
    forward, gradient, shares = {
        "max": (max_pool2d, max_pool2d_gradient, first_winner),
        "avg": (avg_pool2d, avg_pool2d_gradient, equal_shares),
    }[kind]
    options = window._asdict() | LAST
    shape = tuple(forward(x, **options).shape)
    dy = np.random.default_rng(2).normal(size=shape).astype("float32")
    got = gradient(x, dy, **options)
    expected = reference_gradient(x, dy, window, paddings, shares)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5, atol=1e-5)


X = np.array([[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, -1.0, -2.0], [-5.0, -7.0, -1.0, -3.0]])


def planar(x, function, *arguments, **options):
    """A one-channel function on a matrix."""
    planes = [np.asarray(a, "float32")[None, :, :, None] for a in (x, *arguments)]
    return to_numpy(function(*planes, **options, **LAST))[0, :, :, 0]


@pytest.mark.parametrize(
    ("pool", "options", "expected"),
    [
        (max_pool2d, {}, [[4, 5]]),
        (avg_pool2d, {}, [[2.5, 0.5]]),
        (max_pool2d, {"padding": "same"}, [[4, 5], [-5, -1]]),
        (avg_pool2d, {"padding": "same"}, [[2.5, 0.5], [-6, -2]]),
        (avg_pool2d, {"padding": "same", "count_include_pad": True}, [[2.5, 0.5], [-3, -1]]),
        (max_pool2d, {"pool_size": (1, 3), "strides": 1}, [[5, 5], [4, 3], [-1, -1]]),
        (max_pool2d, {"padding": 1}, [[1, 5, 0], [4, 3, -2]]),
        (avg_pool2d, {"padding": 1}, [[1, 3.5, 0], [-0.5, -1.5, -2.5]]),
        (
            avg_pool2d,
            {"padding": 1, "count_include_pad": True},
            [[0.25, 1.75, 0], [-0.25, -1.5, -1.25]],
        ),
    ],
)
def test_hand_computed(pool, options, expected):
    np.testing.assert_allclose(planar(X, pool, **options), expected)


def test_global_pools_hand_computed():
    x = np.stack([X, -X], axis=-1)[None]
    np.testing.assert_allclose(to_numpy(global_max_pool2d(x, **LAST)), [[5, 7]])
    np.testing.assert_allclose(to_numpy(global_avg_pool2d(x, **LAST)), [[-1 / 3, 1 / 3]], rtol=1e-6)
    first = x.transpose(0, 3, 1, 2)
    for pool, expected in ((global_max_pool2d, [[5, 7]]), (global_avg_pool2d, [[-1 / 3, 1 / 3]])):
        got = pool(first, data_format="channels_first")
        np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-6)


def test_gradients_hand_computed():
    dy = [[10.0, 20.0]]
    np.testing.assert_allclose(
        planar(X, max_pool2d_gradient, dy), [[0, 0, 20, 0], [10, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_allclose(
        planar(X, avg_pool2d_gradient, dy), [[2.5, 2.5, 5, 5], [2.5, 2.5, 5, 5], [0, 0, 0, 0]]
    )
    overlapping = planar(X, max_pool2d_gradient, np.ones((2, 3)), strides=1)
    np.testing.assert_allclose(overlapping, [[0, 0, 2, 0], [2, 1, 1, 0], [0, 0, 0, 0]])
    border = planar(X, avg_pool2d_gradient, [[8.0, 8.0], [8.0, 8.0]], padding="same")
    np.testing.assert_allclose(border, [[2, 2, 2, 2], [2, 2, 2, 2], [4, 4, 4, 4]])
    counted = planar(
        X, avg_pool2d_gradient, [[8.0, 8.0], [8.0, 8.0]], padding="same", count_include_pad=True
    )
    np.testing.assert_allclose(counted, np.full((3, 4), 2.0))


def test_ties_go_to_the_first_in_row_major_order():
    x = [[1.0, 3.0, 3.0], [3.0, 2.0, 3.0]]
    np.testing.assert_array_equal(
        planar(x, max_pool2d_gradient, [[10.0]], pool_size=(2, 3)), [[0, 10, 0], [0, 0, 0]]
    )
    four = np.asarray(x, "float32")[None, :, :, None]
    for pool in (max_pool2d, ops.max_pool):
        dx = vjp(
            lambda v, pool=pool: pool(v, (2, 3), strides=(2, 3), **LAST),
            [four],
            np.ones((1, 1, 1, 1)),
        )[0]
        np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1, 0], [0, 0, 0]])
    for pool in (global_max_pool2d, keras.layers.GlobalMaxPooling2D(**LAST)):
        options = LAST if pool is global_max_pool2d else {}
        dx = vjp(lambda v, p=pool, o=options: p(v, **o), [four], np.ones((1, 1)))[0]
        np.testing.assert_allclose(dx[0, :, :, 0], [[0, 0.25, 0.25], [0.25, 0, 0.25]])


@pytest.mark.parametrize("padding", ["same", 1, ((1, 0), (0, 1))])
def test_padding_never_wins(padding):
    x = -1.0 - np.random.default_rng(3).random((2, 5, 5, 2)).astype("float32")
    y = to_numpy(max_pool2d(x, 3, strides=2, padding=padding, **LAST))
    assert y.max() < 0
    assert np.isin(y, x).all()


def test_nan_makes_its_windows_nan():
    x = images(4, (1, 4, 4, 1))
    for at in [(0, 0), (0, 1), (1, 1)]:
        broken = x.copy()
        broken[0, at[0], at[1], 0] = np.nan
        bad = np.isnan(to_numpy(max_pool2d(broken, **LAST)))[0, :, :, 0]
        assert bad.tolist() == [[True, False], [False, False]]


@POOLS
def test_channels_and_images_do_not_mix(pool):
    x = images(5)
    y = to_numpy(pool(x, 3, strides=1, padding="same", **LAST))
    alone = to_numpy(pool(x[1:, :, :, 2:], 3, strides=1, padding="same", **LAST))
    np.testing.assert_allclose(y[1:, :, :, 2:], alone, rtol=1e-6)


def test_max_is_monotone_and_average_is_linear():
    a, b = images(6), images(7)
    options = {"pool_size": 3, "strides": 2, "padding": 1} | LAST
    larger = to_numpy(max_pool2d(np.maximum(a, b), **options))
    each = np.maximum(to_numpy(max_pool2d(a, **options)), to_numpy(max_pool2d(b, **options)))
    np.testing.assert_array_equal(larger, each)
    np.testing.assert_array_equal(
        to_numpy(max_pool2d(2 * a - 1, **options)), 2 * to_numpy(max_pool2d(a, **options)) - 1
    )
    together = to_numpy(avg_pool2d(2 * a - b, **options))
    apart = 2 * to_numpy(avg_pool2d(a, **options)) - to_numpy(avg_pool2d(b, **options))
    np.testing.assert_allclose(together, apart, atol=1e-5)


@POOLS
def test_a_shift_by_the_stride_shifts_the_output(pool):
    x = np.random.default_rng(8).normal(size=(1, 8, 8, 1)).astype("float32")
    shifted = np.roll(x, (2, 4), axis=(1, 2))
    y = np.roll(to_numpy(pool(x, **LAST)), (1, 2), axis=(1, 2))
    np.testing.assert_array_equal(to_numpy(pool(shifted, **LAST)), y)
    off = to_numpy(pool(np.roll(x, 1, axis=2), **LAST))
    assert not any(
        np.array_equal(off, np.roll(to_numpy(pool(x, **LAST)), s, axis=2)) for s in range(4)
    )


@pytest.mark.parametrize("pool", [global_max_pool2d, global_avg_pool2d])
def test_global_pools_do_not_see_a_circular_shift(pool):
    x = images(9)
    shifted = np.roll(x, (3, 2), axis=(1, 2))
    np.testing.assert_allclose(
        to_numpy(pool(shifted, **LAST)), to_numpy(pool(x, **LAST)), atol=1e-6
    )


def test_a_window_as_large_as_the_image_is_the_global_pool():
    x = images(10)
    for pool, whole in ((max_pool2d, global_max_pool2d), (avg_pool2d, global_avg_pool2d)):
        got = to_numpy(pool(x, (5, 7), **LAST))[:, 0, 0]
        np.testing.assert_allclose(got, to_numpy(whole(x, **LAST)), atol=1e-6)


def test_every_window_hands_on_its_whole_gradient():
    x = images(11)
    dy = images(12, (2, 3, 4, 3))
    options = {"pool_size": 3, "strides": 2, "padding": "same"} | LAST
    for gradient in (max_pool2d_gradient, avg_pool2d_gradient):
        dx = to_numpy(gradient(x, dy, **options))
        np.testing.assert_allclose(dx.sum((1, 2)), dy.sum((1, 2)), rtol=1e-5)


def test_gradients_match_finite_differences():
    x = np.random.default_rng(13).permutation(60).reshape(1, 5, 6, 2).astype(precise_dtype())
    direction = np.random.default_rng(14).normal(size=x.shape).astype(x.dtype)
    options = {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"} | LAST
    h = 0.05
    for pool, gradient in (
        (max_pool2d, max_pool2d_gradient),
        (avg_pool2d, avg_pool2d_gradient),
    ):
        dy = np.random.default_rng(15).normal(size=pool(x, **options).shape).astype(x.dtype)
        ahead, behind = (to_numpy(pool(x + s * direction, **options)) for s in (h, -h))
        expected = ((ahead - behind) * dy).sum() / (2 * h)
        got = (to_numpy(gradient(x, dy, **options)) * direction).sum()
        np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize(("window", "paddings"), WINDOWS)
def test_output_size_is_that_of_a_convolution(window, paddings):
    y = max_pool2d(images(16), **window._asdict(), **LAST)
    kernel = np.broadcast_to(window.pool_size, 2)
    strides = kernel if window.strides is None else np.broadcast_to(window.strides, 2)
    pads = [window.padding] * 2 if isinstance(window.padding, str) else paddings
    expected = [
        conv_output_size(n, int(k), stride=int(s), padding=p)
        for n, k, s, p in zip((5, 7), kernel, strides, pads, strict=True)
    ]
    assert list(y.shape[1:3]) == expected


@st.composite
def geometries(draw):
    sizes = draw(st.sampled_from([(4, 4), (5, 7), (6, 3)]))
    pool_size = tuple(draw(st.integers(1, n)) for n in (3, 3))
    strides = draw(st.sampled_from([None, 1, 2, (3, 1)]))
    padding = draw(st.sampled_from(["valid", "same", "explicit"]))
    if padding == "explicit":
        padding = tuple(
            (draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2))) for k in pool_size
        )
    return (2, *sizes, 2), {"pool_size": pool_size, "strides": strides, "padding": padding}


def keras_pool(pool, x, fill, *, pool_size, strides, padding):
    """Keras's pooling of an image that is padded beforehand, where Keras cannot."""
    strides = strides or pool_size  # with None Keras fails on JAX
    if not isinstance(padding, str):
        x = ops.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
        padding = "valid"
    return pool(x, pool_size, strides, padding, **LAST)


def keras_average(x, pool_size, strides, padding, **options):
    """Keras's average pooling without its uneven "same" padding on PyTorch, see below."""
    if padding == "same" and keras.backend.backend() == "torch":
        pairs = zip(x.shape[1:3], pool_size, np.broadcast_to(strides, 2), strict=True)
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in pairs]
        amounts = ((0, 0), *((int(t) // 2, int(t) - int(t) // 2) for t in totals), (0, 0))
        sums, counts = (
            ops.average_pool(ops.pad(v, amounts), pool_size, strides, "valid", **options)
            for v in (x, ops.ones_like(x))
        )
        return sums / counts
    return ops.average_pool(x, pool_size, strides, padding, **options)


@pytest.mark.parametrize(("size", "even"), [(5, True), (4, False)])
def test_keras_average_pool_with_same_padding(size, even):
    """On PyTorch an uneven padding repeats the border pixel; the chapter says so."""
    x = np.arange(1, size + 1, dtype="float32").reshape(1, 1, size, 1)
    last = to_numpy(ops.average_pool(x, (1, 3), (1, 2), "same", **LAST))[0, 0, -1, 0]
    ours = to_numpy(avg_pool2d(x, (1, 3), strides=(1, 2), padding="same", **LAST))[0, 0, -1, 0]
    assert ours == (size - 1 + size) / 2
    repeats = keras.backend.backend() == "torch" and not even
    np.testing.assert_allclose(last, (size - 1 + size + size) / 3 if repeats else ours, rtol=1e-6)


@pytest.mark.parametrize("kind", ["max", "average"])
@drawn
@given(geometry=geometries(), seed=st.integers(0, 99))
def test_parity_with_keras(parity, kind, geometry, seed):
    shape, options = geometry
    x = images(seed, shape)
    if kind == "max":
        pool, gradient, peer, fill = max_pool2d, max_pool2d_gradient, ops.max_pool, -np.inf
        name, ours = "keras.ops.max_pool", options
    else:
        pool, gradient, peer, fill = avg_pool2d, avg_pool2d_gradient, keras_average, 0.0
        name = "keras.ops.average_pool"
        ours = options | {"count_include_pad": not isinstance(options["padding"], str)}

    def theirs(v):
        return keras_pool(peer, v, fill, **options)

    def forward(v):
        return pool(v, **ours, **LAST)

    expected = quick(theirs)(x)
    dy = np.arange(np.prod(expected.shape), dtype="float32").reshape(expected.shape) % 7 - 3
    backward = quick(lambda a, b: gradient(a, b, **ours, **LAST))
    got, dx = quick(forward)(x), backward(x, dy)
    parity(pool, name, got, expected)
    parity(gradient, f"autodiff of {name}", dx, vjp(quick(theirs), [x], dy)[0])
    np.testing.assert_allclose(to_numpy(dx), vjp(quick(forward), [x], dy)[0], atol=1e-5)


@pytest.mark.parametrize(("window", "paddings"), WINDOWS)
def test_channels_first_is_the_same_transposed(window, paddings):
    x = images(25)
    options = window._asdict()
    dy = images(26, tuple(max_pool2d(x, **options, **LAST).shape))

    def first(function, *arrays):
        turned = [a.transpose(0, 3, 1, 2) for a in arrays]
        y = function(*turned, **options, data_format="channels_first")
        return to_numpy(y).transpose(0, 2, 3, 1)

    for function in (max_pool2d, avg_pool2d):
        expected = function(x, **options, **LAST)
        np.testing.assert_allclose(first(function, x), to_numpy(expected), rtol=1e-6)
    for function in (max_pool2d_gradient, avg_pool2d_gradient):
        expected = function(x, dy, **options, **LAST)
        np.testing.assert_allclose(first(function, x, dy), to_numpy(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 4)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_parity_with_keras(parity, shape, data_format):
    x = images(17, shape) / 3
    layers = keras.layers
    for pool, layer in (
        (global_max_pool2d, layers.GlobalMaxPooling2D),
        (global_avg_pool2d, layers.GlobalAveragePooling2D),
    ):
        expected = layer(data_format=data_format)(x)
        got = pool(x, data_format=data_format)
        parity(pool, f"keras.layers.{layer.__name__}", got, expected)
        default = layer()(x)
        parity(pool, f"keras.layers.{layer.__name__}", pool(x), default)


@pytest.mark.parametrize(("count", "odd"), [("same", 3), ("same", 5)])
def test_parity_with_scipy(count, odd):
    x = images(18, (1, 9, 8, 1))
    got = max_pool2d(x, odd, strides=1, padding=count, **LAST)
    expected = ndimage.maximum_filter(x[0, :, :, 0], odd, mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(to_numpy(got)[0, :, :, 0], expected)
    got = avg_pool2d(x, odd, strides=1, padding=count, count_include_pad=True, **LAST)
    expected = ndimage.uniform_filter(x[0, :, :, 0], odd, mode="constant")
    np.testing.assert_allclose(to_numpy(got)[0, :, :, 0], expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="needs PyTorch")
@pytest.mark.parametrize("include", [False, True])
def test_parity_with_pytorch(include):
    from torch.nn import functional

    x = ops.convert_to_tensor(images(19, (2, 3, 7, 6)))
    for k, s, p in ((2, 2, 1), (3, 2, 1), (3, 1, 0)):
        ours = {"strides": s, "padding": p, "data_format": "channels_first"}
        expected = functional.avg_pool2d(x, k, s, p, count_include_pad=include)
        got = avg_pool2d(x, k, count_include_pad=include, **ours)
        np.testing.assert_allclose(to_numpy(got), to_numpy(expected), atol=1e-6)
        expected = functional.max_pool2d(x, k, s, p)
        np.testing.assert_array_equal(to_numpy(max_pool2d(x, k, **ours)), to_numpy(expected))


Z = np.zeros((1, 4, 6, 2), "float32")
BAD = [
    ({"x": Z[0]}, r"x must have 4 dimensions, got shape \(4, 6, 2\)"),
    ({"pool_size": 0}, "pool_size must be an integer of at least 1, got 0"),
    (
        {"pool_size": (2, 2, 2)},
        r"pool_size must be an integer or a pair of integers, got \(2, 2, 2\)",
    ),
    ({"strides": (1, -1)}, "strides must be an integer of at least 1, got -1"),
    ({"strides": 1.5}, "strides must be an integer of at least 1, got 1.5"),
    ({"padding": "full"}, "padding must be .*, got 'full'"),
    ({"padding": -1}, "padding must be an integer of at least 0, got -1"),
    ({"pool_size": 5}, "pool_size covers 5x5 pixels, but the padded image has only 4x6"),
    ({"padding": 2}, "padding=2 leaves a window of pool_size 2x2 without a pixel of the 4x6 image"),
    (
        {"pool_size": 3, "strides": 3, "padding": ((0, 0), (0, 3))},
        r"padding=\(\(0, 0\), \(0, 3\)\) leaves a window of pool_size 3x3 without a pixel",
    ),
    ({"x": np.zeros((1, 0, 6, 2)), "padding": 1}, "without a pixel of the 0x6 image"),
    ({"data_format": "NHWC"}, "data_format must be .*, got 'NHWC'"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
@pytest.mark.parametrize("gradient", [False, True])
@POOLS
def test_rejects(options, message, gradient, pool):
    options = {"x": Z} | LAST | options
    x = options.pop("x")
    function = {max_pool2d: max_pool2d_gradient, avg_pool2d: avg_pool2d_gradient}[pool]
    with pytest.raises(ValueError, match=message):
        function(x, Z, **options) if gradient else pool(x, **options)


@pytest.mark.parametrize("function", [max_pool2d_gradient, avg_pool2d_gradient])
def test_gradient_rejects_another_output(function):
    message = r"output's shape \(1, 2, 3, 2\) \(channels last\), got \(1, 4, 6, 2\)"
    with pytest.raises(ValueError, match=message):
        function(Z, Z, **LAST)
    with pytest.raises(
        ValueError, match=r"output_gradient must have 4 dimensions, got shape \(2,\)"
    ):
        function(Z, np.zeros(2), **LAST)


@pytest.mark.parametrize("value", [0, "no", None])
def test_rejects_count_include_pad(value):
    message = f"count_include_pad must be True or False, got {value!r}"
    with pytest.raises(ValueError, match=message):
        avg_pool2d(Z, count_include_pad=value, **LAST)
    with pytest.raises(ValueError, match=message):
        avg_pool2d_gradient(Z, Z[:, :2, :3], count_include_pad=value, **LAST)


@pytest.mark.parametrize("pool", [global_max_pool2d, global_avg_pool2d])
def test_global_rejects(pool):
    with pytest.raises(ValueError, match=r"x must have 4 dimensions, got shape \(6, 2\)"):
        pool(Z[0, 0], **LAST)
    with pytest.raises(ValueError, match="x must have at least one pixel, got 4x0"):
        pool(Z[:, :, :0], **LAST)
    with pytest.raises(ValueError, match="data_format must be .*, got 'last'"):
        pool(Z, data_format="last")


def test_padding_up_to_the_window_minus_one_is_accepted():
    """PyTorch refuses it; every window still has a pixel."""
    y = max_pool2d(images(20, (1, 4, 4, 1)), 3, strides=1, padding=2, **LAST)
    assert tuple(y.shape) == (1, 6, 6, 1)
    assert np.isfinite(to_numpy(y)).all()


def test_empty_batch_and_integers():
    empty = np.zeros((0, 4, 6, 2), "float32")
    assert tuple(max_pool2d(empty, **LAST).shape) == (0, 2, 3, 2)
    assert tuple(avg_pool2d(empty, padding=1, **LAST).shape) == (0, 3, 4, 2)
    assert tuple(global_max_pool2d(empty, **LAST).shape) == (0, 2)
    assert tuple(global_avg_pool2d(empty, **LAST).shape) == (0, 2)
    assert tuple(max_pool2d_gradient(empty, empty[:, :2, :3], **LAST).shape) == (0, 4, 6, 2)
    assert tuple(avg_pool2d_gradient(empty, empty[:, :2, :3], **LAST).shape) == (0, 4, 6, 2)
    x = np.arange(16, dtype="uint8").reshape(1, 4, 4, 1)
    assert to_numpy(avg_pool2d(x, **LAST)).ravel().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert to_numpy(max_pool2d(x.tolist(), **LAST)).ravel().tolist() == [5, 7, 13, 15]


def every_function(x, dy):
    options = {"pool_size": 2, "padding": "same"} | LAST
    return [
        max_pool2d(x, **options),
        avg_pool2d(x, **options),
        global_max_pool2d(x, **LAST),
        global_avg_pool2d(x, **LAST),
        max_pool2d_gradient(x, dy, **options),
        avg_pool2d_gradient(x, dy, **options),
    ]


def test_compiles():
    x, dy = images(21), images(22, (2, 3, 4, 3))
    got = compiled(every_function)(ops.convert_to_tensor(x), ops.convert_to_tensor(dy))
    for a, b in zip(got, every_function(x, dy), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
def test_runs_with_an_unknown_batch_size():
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *s), tf.float32) for s in ((5, 7, 3), (3, 4, 3))]
    f = tf.function(every_function, input_signature=signature)
    x, dy = images(23), images(24, (2, 3, 4, 3))
    for a, b in zip(f(x, dy), every_function(x, dy), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)

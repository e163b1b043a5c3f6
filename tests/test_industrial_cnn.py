"""Tests for `cnnbook.industrial_cnn` (chapter 13)."""

import keras
import numpy as np
import pytest
import torch_reference
from support import to_numpy

from cnnbook.activations import relu
from cnnbook.convolution import conv2d
from cnnbook.dense import dense, flatten
from cnnbook.industrial_cnn import industrial_cnn, load_torch_weights
from cnnbook.normalization import batch_norm
from cnnbook.pooling import max_pool2d


def arrays_of(model, *names):
    return [to_numpy(v) for name in names for v in model.get_layer(name).variables]


def spread_weights(model, seed=0):
    """Weights that leave no layer trivial: positive variances, everything else normal."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 2.0, shape))
        else:
            fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 4
            variable.assign(rng.normal(0, 1 / np.sqrt(fan_in), shape))
    return model


# industrial_cnn


def reference_logits(model, image):
    """Eq. eq-industrial-cnn for one image, by loops in float64."""
    a = np.asarray(image, "float64")
    for block in (1, 2):
        kernel, bias = (v.astype("float64") for v in arrays_of(model, f"convolution_{block}"))
        gamma, beta, mean, variance = (
            v.astype("float64") for v in arrays_of(model, f"batch_norm_{block}")
        )
        rows, columns, _ = a.shape
        out = np.zeros((rows, columns, len(bias)))
        for i in range(rows):
            for j in range(columns):
                out[i, j] = bias
                for m in range(3):
                    for n in range(3):
                        if 0 <= i + m - 1 < rows and 0 <= j + n - 1 < columns:
                            out[i, j] += a[i + m - 1, j + n - 1] @ kernel[m, n]
        out = (out - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        a = np.zeros((rows // 2, columns // 2, len(bias)))
        for i in range(rows // 2):
            for j in range(columns // 2):
                a[i, j] = out[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(0, 1))
        a = np.maximum(a, 0)  # the maximum and ReLU may change places
    features = [a[i, j, c] for i, j, c in np.ndindex(a.shape)]
    w3, b3 = (v.astype("float64") for v in arrays_of(model, "dense_1"))
    w4, b4 = (v.astype("float64") for v in arrays_of(model, "dense_2"))
    return np.maximum(np.array(features) @ w3 + b3, 0) @ w4 + b4


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7), (4, 9)])
def test_industrial_cnn_matches_reference(height, width):
    model = spread_weights(industrial_cnn(3, input_shape=(height, width, 2), width=3))
    images = np.random.default_rng(1).normal(size=(2, height, width, 2)).astype("float32")
    got = to_numpy(model(images, training=False))
    np.testing.assert_allclose(got, [reference_logits(model, i) for i in images], atol=1e-4)


def own_logits(model, x):
    """The network made of the book's own functions."""
    for block in (1, 2):
        kernel, bias = arrays_of(model, f"convolution_{block}")
        gamma, beta, mean, variance = arrays_of(model, f"batch_norm_{block}")
        x = conv2d(x, kernel, bias, padding=1)
        x = max_pool2d(relu(batch_norm(x, mean, variance, gamma, beta, epsilon=1e-5)))
    x = relu(dense(flatten(x), *arrays_of(model, "dense_1")))
    return dense(x, *arrays_of(model, "dense_2"))


def test_industrial_cnn_is_the_books_own_functions(parity):
    model = spread_weights(industrial_cnn(10, width=8))
    x = np.random.default_rng(2).normal(size=(4, 32, 32, 3)).astype("float32")
    got = model(x, training=False)
    parity(industrial_cnn, "conv2d, batch_norm, max_pool2d, dense", got, own_logits(model, x))


def test_parameters_by_hand():
    """Layer by layer, as the chapter's table has them."""
    counts = {layer.name: layer.count_params() for layer in industrial_cnn(10).layers}
    assert {name: count for name, count in counts.items() if count} == {
        "convolution_1": 3 * 3 * 3 * 64 + 64,
        "batch_norm_1": 4 * 64,
        "convolution_2": 3 * 3 * 64 * 128 + 128,
        "batch_norm_2": 4 * 128,
        "dense_1": 8 * 8 * 128 * 256 + 256,
        "dense_2": 256 * 10 + 10,
    }
    model = industrial_cnn(10)
    assert model.count_params() == 2_176_394
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 2_176_010


@pytest.mark.parametrize(("classes", "shape", "width"), [(1, (4, 4, 1), 1), (7, (9, 6, 2), 5)])
def test_parameters_of_other_sizes(classes, shape, width):
    h, w, c = shape
    by_hand = 9 * c * width + width + 4 * width + 9 * width * 2 * width + 2 * width + 8 * width
    by_hand += (h // 4) * (w // 4) * 2 * width * 4 * width + 4 * width + 4 * width * classes
    model = industrial_cnn(classes, input_shape=list(shape), width=width)
    assert model.count_params() == by_hand + classes
    assert model.output_shape == (None, classes)


def test_batch_norm_is_pytorchs():
    """Epsilon 1e-5, and a momentum that keeps nine tenths of the old average."""
    model = industrial_cnn(2, input_shape=(4, 4, 1), width=1)
    layer = model.get_layer("batch_norm_1")
    assert layer.epsilon == 1e-5
    before = to_numpy(layer.moving_mean)
    x = np.random.default_rng(3).normal(size=(8, 4, 4, 1)).astype("float32")
    model(x, training=True)
    mean = to_numpy(model.get_layer("convolution_1")(x)).mean()
    np.testing.assert_allclose(to_numpy(layer.moving_mean), 0.9 * before + 0.1 * mean, atol=1e-6)


def test_dropout_acts_in_training_only():
    model = industrial_cnn(10, input_shape=(8, 8, 3), width=4, dropout=0.5)
    x = np.random.default_rng(4).normal(size=(4, 8, 8, 3)).astype("float32")
    still = [to_numpy(model(x, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    moving = [to_numpy(model(x, training=True)) for _ in range(2)]
    assert np.abs(moving[0] - moving[1]).max() > 1e-3
    assert model.get_layer("dropout").rate == 0.5


def test_channels_first_in_the_configuration_changes_nothing(monkeypatch):
    keras.config.set_image_data_format("channels_first")
    try:
        model = spread_weights(industrial_cnn(3, input_shape=(8, 4, 2), width=2))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert model.get_layer("batch_norm_1").gamma.shape == (2,)
    x = np.random.default_rng(5).normal(size=(1, 8, 4, 2)).astype("float32")
    got = to_numpy(model(x, training=False))[0]
    np.testing.assert_allclose(got, reference_logits(model, x[0]), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be an integer of at least 1, got 0"),
        ({"num_classes": 2.0}, r"num_classes must be an integer of at least 1, got 2\.0"),
        ({"width": -1}, "width must be an integer of at least 1, got -1"),
        ({"dropout": 1}, r"dropout must be a number in \[0, 1\), got 1"),
        ({"dropout": -0.1}, r"dropout must be a number in \[0, 1\), got -0\.1"),
        ({"dropout": "half"}, r"dropout must be a number in \[0, 1\), got 'half'"),
        ({"input_shape": (32, 32)}, r"must be \(height, width, channels\), got \(32, 32\)"),
        ({"input_shape": 32}, r"must be \(height, width, channels\), got 32"),
        ({"input_shape": (32, 3, 3)}, r"at least 4x4 pixels .* got \(32, 3, 3\)"),
        ({"input_shape": (32, 32, 0)}, "input_shape must be an integer of at least 1, got 0"),
    ],
)
def test_industrial_cnn_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        industrial_cnn(**{"num_classes": 10, **arguments})


# load_torch_weights


def as_state_dict(model, height, width):
    """The model's weights as PyTorch would store them, by loops over single features."""
    state = {}
    for block, (conv, norm) in ((1, (0, 1)), (2, (4, 5))):
        kernel, bias = arrays_of(model, f"convolution_{block}")
        state[f"features.{conv}.weight"] = np.moveaxis(kernel, (3, 2), (0, 1))
        state[f"features.{conv}.bias"] = bias
        names = ("weight", "bias", "running_mean", "running_var")
        for name, value in zip(names, arrays_of(model, f"batch_norm_{block}"), strict=True):
            state[f"features.{norm}.{name}"] = value
        state[f"features.{norm}.num_batches_tracked"] = np.array(7)
    kernel, bias = arrays_of(model, "dense_1")
    channels = len(kernel) // (height * width)
    weight = np.zeros(kernel.T.shape, "float32")
    for i, j, c in np.ndindex(height, width, channels):
        weight[:, (c * height + i) * width + j] = kernel[(i * width + j) * channels + c]
    state |= {"classifier.1.weight": weight, "classifier.1.bias": bias}
    kernel, bias = arrays_of(model, "dense_2")
    return state | {"classifier.3.weight": kernel.T, "classifier.3.bias": bias}


def test_weights_come_back_from_pytorchs_order():
    """The order of eq. eq-flatten-order, written the other way round by loops."""
    source = spread_weights(industrial_cnn(3, input_shape=(8, 12, 2), width=2), seed=1)
    target = industrial_cnn(3, input_shape=(8, 12, 2), width=2)
    assert load_torch_weights(target, as_state_dict(source, 2, 3)) is target
    for got, expected in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected), err_msg=got.path)


def flat_model(height, width, channels, units=1):
    layers = [
        keras.Input((height, width, channels)),
        keras.layers.Flatten(),
        keras.layers.Dense(units),
    ]
    return keras.Sequential(layers)


def test_order_by_hand():
    """2x1 pixels, 2 channels. PyTorch flattens c0: (p0, p1), c1: (p0, p1)."""
    model = flat_model(2, 1, 2)
    load_torch_weights(model, {"0.weight": np.array([[1.0, 2, 3, 4]]), "0.bias": np.zeros(1)})
    assert to_numpy(model.layers[-1].kernel).ravel().tolist() == [1, 3, 2, 4]


def test_features_without_rows_and_columns_keep_their_order():
    layers = [keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(2), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    first, second = np.arange(6.0).reshape(2, 3), np.array([[5.0, 6.0]])
    state = {"a.weight": first, "a.bias": np.ones(2), "b.weight": second, "b.bias": np.ones(1)}
    load_torch_weights(model, state)
    np.testing.assert_array_equal(to_numpy(model.layers[-2].kernel), first.T)
    np.testing.assert_array_equal(to_numpy(model.layers[-1].kernel), second.T)


def test_batch_norm_between_flattening_and_dense():
    """Its features are in the other order, too; the scale of one of them follows through."""
    layers = [keras.Input((1, 2, 2)), keras.layers.Flatten()]
    norm = keras.layers.BatchNormalization(epsilon=1e-5, center=False)
    model = keras.Sequential([*layers, norm, keras.layers.Dense(1, use_bias=False)])
    features = {"n.weight": np.array([1.0, 2, 3, 4]), "n.running_mean": np.array([5.0, 6, 7, 8])}
    state = {**features, "n.running_var": np.array([1.0, 4, 9, 16]), "d.weight": np.eye(4)[1:2]}
    load_torch_weights(model, state)
    assert to_numpy(norm.gamma).tolist() == [1, 3, 2, 4]
    assert to_numpy(norm.moving_mean).tolist() == [5, 7, 6, 8]
    assert to_numpy(norm.moving_variance).tolist() == [1, 9, 4, 16]
    assert to_numpy(model.layers[-1].kernel).ravel().tolist() == [0, 0, 1, 0]


def test_flattening_that_puts_the_channels_last_itself():
    """Keras's Flatten for channels-first images."""
    flat = keras.layers.Flatten(data_format="channels_first")
    model = keras.Sequential([keras.Input((2, 2, 1)), flat, keras.layers.Dense(1)])
    weight = np.array([[1.0, 2, 3, 4]])
    load_torch_weights(model, {"0.weight": weight, "0.bias": np.zeros(1)})
    x = np.array([[[[10.0], [20.0]], [[30.0], [40.0]]]])  # as PyTorch: channels, rows, columns
    assert float(to_numpy(model(x))[0, 0]) == 10 + 2 * 20 + 3 * 30 + 4 * 40


def test_grouped_convolution_without_bias():
    conv = keras.layers.Conv2D(4, (2, 1), groups=2, use_bias=False)
    model = keras.Sequential([keras.Input((3, 3, 6)), conv])
    weight = np.random.default_rng(6).normal(size=(4, 3, 2, 1))
    load_torch_weights(model, {"weight": weight})
    kernel = to_numpy(conv.kernel)
    for o, c, m, n in np.ndindex(weight.shape):
        assert kernel[m, n, c, o] == np.float32(weight[o, c, m, n])


def test_logits_are_pytorchs_stored_ones(parity):
    """The full network, with weights that NumPy draws the same on both sides."""
    model = load_torch_weights(industrial_cnn(10), torch_reference.draw_state_dict())
    logits = model(torch_reference.draw_images().transpose(0, 2, 3, 1), training=False)
    assert np.std(torch_reference.LOGITS) > 0.5
    parity(load_torch_weights, "torch.nn", logits, torch_reference.LOGITS, rtol=0, atol=1e-4)


def test_logits_are_pytorchs():
    """PyTorch itself: its own initial weights, statistics moved by three batches."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_reference.make_network()
    with torch.no_grad():
        for _ in range(3):
            theirs(2 * torch.randn(16, 3, 32, 32) + 1)
        theirs.eval()
        x = torch.randn(16, 3, 32, 32)
        expected = theirs(x).cpu().numpy()
    ours = load_torch_weights(industrial_cnn(10), theirs.state_dict())
    got = to_numpy(ours(x.cpu().numpy().transpose(0, 2, 3, 1), training=False))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    assert (got.argmax(-1) == expected.argmax(-1)).all()


def test_the_stored_logits_are_what_pytorch_computes():
    pytest.importorskip("torch")
    computed = torch_reference.compute_logits()
    np.testing.assert_allclose(computed, torch_reference.LOGITS, rtol=0, atol=1e-4)


def test_bfloat16_is_refused():
    torch = pytest.importorskip("torch")
    state = {"0.weight": torch.ones(1, 4, dtype=torch.bfloat16), "0.bias": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"state_dict\['0.weight'\] is not an array for NumPy"):
        load_torch_weights(flat_model(2, 1, 2), state)


def branches(*names):
    """Two 3x3 convolutions in a row, and one beside them."""
    first, second, beside = (
        keras.layers.Conv2D(3, 3, padding="same", data_format="channels_last", name=name)
        for name in names
    )
    x = keras.Input((8, 8, 3))
    added = keras.layers.Add()([second(keras.layers.ReLU()(first(x))), beside(x)])
    return keras.Model(x, added)


def convolutions(*prefixes):
    """Kernels of one shape; those of the first module are all 1, of the second all 2, ..."""
    state = {}
    for i, prefix in enumerate(prefixes, start=1):
        state[f"{prefix}.weight"] = np.full((3, 3, 3, 3), float(i))
        state[f"{prefix}.bias"] = np.zeros(3)
    return state


def first_weights(model):
    return {la.name: float(to_numpy(la.kernel).ravel()[0]) for la in model.layers if la.weights}


def test_branches_are_told_apart_by_name():
    """The block defines its shortcut first; Keras lists it where the sum needs it."""
    model, state = (
        branches("conv1", "conv2", "shortcut"),
        convolutions("shortcut", "conv1", "conv2"),
    )
    load_torch_weights(model, state)
    assert first_weights(model) == {"shortcut": 1.0, "conv1": 2.0, "conv2": 3.0}
    other = convolutions("down.0", "a", "b")
    load_torch_weights(model, other, names={"shortcut": "b", "conv1": "a", "conv2": "down.0"})
    assert first_weights(model) == {"shortcut": 3.0, "conv1": 2.0, "conv2": 1.0}


def test_names_for_some_leave_the_others_to_their_own_names_and_to_the_order():
    model = branches("conv1", "conv2", "x")
    load_torch_weights(model, convolutions("a", "conv1", "b"), names={"x": "a"})
    assert first_weights(model) == {"x": 1.0, "conv1": 2.0, "conv2": 3.0}


@pytest.mark.parametrize("prefixes", [("a", "b", "c"), ("0", "1", "2"), ("m.4", "m.2", "m.0")])
def test_branches_that_only_their_order_tells_apart_are_refused(prefixes):
    model = branches("conv1", "conv2", "shortcut")
    before = first_weights(model)
    with pytest.raises(ValueError, match="layers '.*' and '.*' could each have the weights") as got:
        load_torch_weights(model, convolutions(*prefixes))
    assert all(repr(prefix) in str(got.value) for prefix in prefixes[:2])
    assert "names={layer: module}" in str(got.value)
    assert first_weights(model) == before


def chain(count=3):
    layers = [keras.layers.Conv2D(3, 3, padding="same", name=f"c{i}") for i in range(count)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def test_numbers_of_one_sequential_are_an_order():
    model = load_torch_weights(chain(), convolutions("features.0", "features.2", "features.10"))
    assert first_weights(model) == {"c0": 1.0, "c1": 2.0, "c2": 3.0}


@pytest.mark.parametrize(
    "prefixes", [("f.0", "f.10", "f.2"), ("f.0", "g.1", "g.2"), ("f.a", "f.b", "f.c")]
)
def test_a_chain_of_equal_shapes_needs_names_that_say_its_order(prefixes):
    with pytest.raises(ValueError, match="shapes are equal"):
        load_torch_weights(chain(), convolutions(*prefixes))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"c9": "a"}, r"names has \['c9'\], but the layers with weights are c0, c1, c2"),
        ({"c0": "z"}, r"names has \['z'\], but the modules are a, b, c"),
        ({"c0": "a", "c1": "a"}, r"names has the modules \['a'\] for more than one layer"),
        (["a", "b", "c"], r"names must map names of layers to those of modules, got \['a', "),
    ],
)
def test_names_that_do_not_fit(names, message):
    with pytest.raises(ValueError, match=message):
        load_torch_weights(chain(), convolutions("a", "b", "c"), names=names)


def test_each_branch_has_the_order_of_its_own_flattening():
    """One dense layer behind a flattening, and one behind a pooling that has no order."""
    x = keras.Input((2, 1, 2))
    flat = keras.layers.Dense(1, use_bias=False, name="flat")(keras.layers.Flatten()(x))
    mean = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    mean = keras.layers.Dense(1, use_bias=False, name="mean")(mean)
    model = keras.Model(x, keras.layers.Add()([mean, flat]))
    state = {"flat.weight": np.array([[1.0, 2, 3, 4]]), "mean.weight": np.array([[5.0, 6.0]])}
    load_torch_weights(model, state)
    assert to_numpy(model.get_layer("flat").kernel).ravel().tolist() == [1, 3, 2, 4]
    assert to_numpy(model.get_layer("mean").kernel).ravel().tolist() == [5, 6]


def test_features_in_two_orders_are_refused():
    """A sum of what was flattened and of what never had rows and columns."""
    x, y = keras.Input((2, 1, 2)), keras.Input((4,))
    summed = keras.layers.Add()([keras.layers.Flatten()(x), y])
    model = keras.Model([x, y], keras.layers.Dense(1, use_bias=False)(summed))
    with pytest.raises(ValueError, match="'add.*' gets features in different orders"):
        load_torch_weights(model, {"d.weight": np.array([[1.0, 2, 3, 4]])})


def test_a_layer_that_is_called_twice_has_one_module():
    x = keras.Input((2,))
    twice, last = keras.layers.Dense(2, name="twice"), keras.layers.Dense(1, name="last")
    model = keras.Model(x, last(twice(twice(x))))
    state = {"last.weight": np.array([[7.0, 8.0]]), "last.bias": np.zeros(1)}
    state |= {"twice.weight": np.array([[1.0, 2.0], [3.0, 4.0]]), "twice.bias": np.zeros(2)}
    load_torch_weights(model, state)
    assert to_numpy(twice.kernel).tolist() == [[1, 3], [2, 4]]
    assert to_numpy(last.kernel).ravel().tolist() == [7, 8]


def test_what_is_no_graph_of_layers():
    with pytest.raises(ValueError, match="load_torch_weights needs a Keras model, got str"):
        load_torch_weights("model", {})
    with pytest.raises(ValueError, match="state_dict must have names for its keys, got 0"):
        load_torch_weights(chain(1), {0: np.ones(3)})


def spoiled(**changes):
    """The state_dict of a small network with some of its arrays changed, None: taken out."""
    source = spread_weights(industrial_cnn(3, input_shape=(8, 8, 2), width=2), seed=2)
    state = as_state_dict(source, 2, 2)
    for name, value in changes.items():
        name = name.replace("_", ".", 2) if name.count("_") > 1 else name
        state[name] = value
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classifier_3_bias": None},
            r"layer 'dense_2' needs weight, bias, but state_dict has weight under 'classifier.3'",
        ),
        (
            {"classifier_3_scale": np.ones(3)},
            r"'dense_2' needs weight, bias, but state_dict has weight, bias, scale under",
        ),
        (
            {"classifier_3_weight": np.ones((4, 8))},
            r"state_dict\['classifier.3.weight'\] has shape \(4, 8\), which does not become "
            r"the shape \(8, 3\) of '.*dense_2/kernel'",
        ),
        (
            {"classifier_1_weight": np.ones((8, 9))},
            r"'classifier.1.weight'\] has shape \(8, 9\)",
        ),
        (
            {"classifier_1_weight": np.ones((8, 18))},
            r"'classifier.1.weight'\] has shape \(8, 18\)",
        ),
        (
            {"features_4_weight": np.ones((4, 2, 3))},
            r"'features.4.weight'\] has shape \(4, 2, 3\), which .* \(3, 3, 2, 4\)",
        ),
        (
            {"classifier_3_bias": np.ones(3, int)},
            r"state_dict\['classifier.3.bias'\] must hold floats, got int64",
        ),
        (
            {"classifier_3_bias": None, "classifier_3_weight": None},
            r"model has 6 layers with weights \(convolution_1, .*\), but state_dict has 5 \(",
        ),
        ({"head_weight": np.ones((2, 2))}, "6 layers with weights .* state_dict has 7"),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(changes, message):
    model = spread_weights(industrial_cnn(3, input_shape=(8, 8, 2), width=2), seed=3)
    before = [to_numpy(v) for v in model.weights]
    with pytest.raises(ValueError, match=message):
        load_torch_weights(model, spoiled(**changes))
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, to_numpy(variable))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([keras.layers.Reshape((4,)), keras.layers.Dense(1)], "Reshape, behind which the order"),
        ([keras.layers.Permute((3, 1, 2)), keras.layers.Dense(1)], "Permute, behind which"),
        ([keras.layers.LayerNormalization(), keras.layers.Dense(1)], "LayerNormalization: only"),
    ],
)
def test_layers_that_cannot_be_carried_over(layers, message):
    model = keras.Sequential([keras.Input((2, 1, 2)), *layers])
    count = sum(bool(layer.weights) for layer in model.layers)
    state = {f"{i}.weight": np.ones((1, 4)) for i in range(count)}
    with pytest.raises(ValueError, match=message):
        load_torch_weights(model, state)


@pytest.mark.parametrize("state_dict", [[np.ones(3)], None, "weights.pt"])
def test_what_is_no_state_dict(state_dict):
    with pytest.raises(ValueError, match=f"state_dict must map .* got {type(state_dict).__name__}"):
        load_torch_weights(flat_model(2, 1, 2), state_dict)

"""Tests for the networks of `cnnbook.quantization` (chapter 14), and the graphs they come from."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from networks import NETWORKS, SHAPE, images, network
from support import to_numpy

from cnnbook._networks.graph import Graph
from cnnbook._networks.quantized_layers import QuantizedActivation, QuantizedDense
from cnnbook.industrial_cnn import industrial_cnn
from cnnbook.quantization import quantize_after_training, quantize_aware


def outputs(model, x):
    return to_numpy(model(x, training=False))


def observers(model):
    return [layer for layer in model.layers if isinstance(layer, QuantizedActivation)]


every_network = pytest.mark.parametrize("name", NETWORKS)


# Graphs


@every_network
def test_a_graph_is_a_copy(name):
    model, x = network(name), images()
    before = [to_numpy(w).copy() for w in model.weights]
    expected = outputs(model, x)
    graph = Graph(model, "this test")
    copy = graph.rebuild(lambda node, *args, **kwargs: node.layer(*args, **kwargs))
    np.testing.assert_allclose(outputs(copy, x), expected, atol=1e-6)
    for weight in copy.trainable_variables:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(outputs(model, x), expected)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), value)


def test_a_graph_knows_sources_and_targets():
    nodes = {node.name: node for node in Graph(NETWORKS["residual"](), "this test").nodes}
    adds = [node for node in nodes.values() if node.kind == "Add"]
    assert [len(node.sources) for node in adds] == [2, 2]
    assert [source.kind for source in adds[0].sources] == ["Conv2D", "BatchNormalization"]
    assert [target.kind for target in adds[0].targets] == ["ReLU"]
    assert [node.kind for node in nodes.values() if node.is_output] == ["Dense"]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_graphs_need_a_graph():
    with pytest.raises(ValueError, match="'mine' is of class Subclassed and has no graph"):
        quantize_aware(Subclassed())
    with pytest.raises(ValueError, match="needs a built Functional or Sequential model"):
        quantize_aware(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ValueError, match="needs a Keras model, got str"):
        quantize_aware("model.keras")


def test_layers_of_one_name_in_two_nested_models_are_told_apart():
    parts = [
        keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")], name=side)
        for side in ("left", "right")
    ]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Concatenate()([part(inputs) for part in parts]))
    aware = quantize_aware(model, bits={"left_same": 4}, skip=["right_same"])
    kinds = {layer.name: type(layer).__name__ for layer in aware.layers}
    assert kinds["left_same"] == "QuantizedDense" and kinds["right_same"] == "Dense"
    assert aware.get_layer("left_same").bits == 4
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    ready = quantize_after_training(model, x, bits=16)
    np.testing.assert_allclose(outputs(ready, x), outputs(model, x), atol=1e-3)


# What the quantized network computes


@every_network
def test_many_bits_compute_what_the_float_network_does(parity, name):
    model, x = network(name), images()
    expected = outputs(model, x)
    size = np.abs(expected).max()
    assert size > 0.1
    copy, aware = quantize_after_training(model, x, bits=16), quantize_aware(model, bits=16)
    peer = "the float network, at 16 bits"
    parity(quantize_after_training, peer, outputs(copy, x) / size, expected / size, atol=2e-3)
    parity(quantize_aware, peer, outputs(aware, x) / size, expected / size, atol=2e-3)
    assert not any(type(layer).__name__ == "BatchNormalization" for layer in copy.layers)


@every_network
def test_fewer_bits_err_more(name):
    model, x = network(name), images()
    expected = outputs(model, x)
    errors = []
    for bits in (3, 5, 8, 12):
        copy = quantize_after_training(model, x, bits=bits)
        errors.append(np.abs(outputs(copy, x) - expected).mean())
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 8 * errors[3]


@pytest.mark.parametrize("name", ["plain", "residual", "mobile", "nested"])
def test_activations_take_few_values(name):
    model, x = network(name), images()
    copy = quantize_after_training(model, x, bits=4)
    assert len(observers(copy)) >= 3
    for layer in observers(copy):
        values = np.unique(outputs(keras.Model(copy.input, layer.output), x))
        assert 2 < len(values) <= 16, layer.name


def test_where_the_ranges_stand():
    def kinds(model):
        return [type(layer).__name__ for layer in quantize_aware(model).layers[1:]]

    conv, seen, dense = "QuantizedConv2D", "QuantizedActivation", "QuantizedDense"
    assert kinds(network("plain")) == [
        *(seen, conv, "ReLU", seen, "MaxPooling2D", "Flatten", "Dropout"),
        *(dense, seen, dense, seen),
    ]
    x = inputs = keras.Input(SHAPE)
    x = layers.LeakyReLU()(layers.Conv2D(2, 3)(x))  # no clip of the convolution's does it
    assert kinds(keras.Model(inputs, x)) == [seen, conv, seen, "LeakyReLU", seen]


def test_weights_are_those_of_the_folded_network():
    model = network("plain")
    copy = quantize_aware(model)
    norm, kernel = model.layers[1], to_numpy(model.layers[0].kernel)
    gain = to_numpy(norm.gamma) / np.sqrt(to_numpy(norm.moving_variance) + norm.epsilon)
    conv = copy.get_layer(model.layers[0].name)
    np.testing.assert_allclose(to_numpy(conv.kernel), kernel * gain, rtol=1e-5)
    bias = to_numpy(norm.beta) - to_numpy(norm.moving_mean) * gain
    np.testing.assert_allclose(to_numpy(conv.bias), bias, rtol=1e-5, atol=1e-6)


def test_layers_may_have_bits_of_their_own():
    model, x = network("plain"), images()
    first, last = model.layers[0].name, model.layers[-1].name
    copy = quantize_after_training(model, x, bits={first: 4, last: 2})
    found = {layer.name: layer.bits for layer in copy.layers if hasattr(layer, "bits")}
    assert found.pop(first) == 4 and found.pop(last) == 2
    assert set(found.values()) == {8}


def test_skipped_layers_stay_float():
    model, x = network("plain"), images()
    names = [layer.name for layer in model.layers]
    copy = quantize_after_training(model, x, bits=2, skip=(names[0], names[-1]))
    kinds = [type(copy.get_layer(name)).__name__ for name in (names[0], names[1], names[-1])]
    assert kinds == ["Conv2D", "QuantizedDepthwiseConv2D", "Dense"]
    np.testing.assert_array_equal(
        to_numpy(copy.get_layer(names[-1]).kernel), to_numpy(model.layers[-1].kernel)
    )
    everything = quantize_aware(model, skip=names)
    np.testing.assert_allclose(outputs(everything, x), outputs(model, x), atol=1e-5)
    assert not observers(everything)


# Ranges


def test_ranges_are_those_of_the_calibration_images():
    model, x = network("plain"), images(100)
    copy = quantize_after_training(model, x)
    first, *_, last = observers(copy)
    assert (float(first.minimum), float(first.maximum)) == (x.min(), x.max())
    np.testing.assert_allclose(float(last.maximum), outputs(model, x).max(), rtol=0.05)
    before = [to_numpy(w).copy() for w in copy.weights]
    outputs(copy, 3 * x)
    copy.predict(3 * x, verbose=0)
    for weight, value in zip(copy.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), value)


def test_ranges_follow_training():
    layer = QuantizedActivation(momentum=0.75)
    x = np.array([[-1.0, 3.0]], "float32")
    np.testing.assert_array_equal(to_numpy(layer(x)), x)  # unknown yet
    layer(x, training=True)
    assert (float(layer.minimum), float(layer.maximum)) == (-1.0, 3.0)
    layer(2 * x, training=True)
    assert (float(layer.minimum), float(layer.maximum)) == (-1.25, 3.75)
    layer.trainable = False
    layer(9 * x, training=True)
    assert (float(layer.minimum), float(layer.maximum)) == (-1.25, 3.75)
    assert float(to_numpy(layer(np.array([[100.0]], "float32")))[0, 0]) < 3.8


def test_fit_trains_what_is_quantized():
    x = images(64)
    y = (x.mean(axis=(1, 2, 3)) > 0).astype("int32")
    copy = quantize_aware(network("residual"), bits=4)
    before = {w.path: to_numpy(w).copy() for w in copy.weights}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    copy.compile(keras.optimizers.Adam(0.01), loss)
    history = copy.fit(x, y, batch_size=16, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.85 * history[0]
    still = [w.path for w in copy.weights if np.array_equal(to_numpy(w), before[w.path])]
    assert all("minimum" in path for path in still)  # behind a ReLU the smallest value is 0
    assert all(float(layer.seen) == 1 for layer in observers(copy))


@every_network
def test_saved_and_loaded(name, tmp_path):
    model, x = network(name), images()
    copy = quantize_after_training(model, x, bits=5)
    copy.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded, x), outputs(copy, x))
    assert [type(a) for a in loaded.layers] == [type(a) for a in copy.layers]


def test_the_industrial_cnn_is_quantized():
    keras.utils.set_random_seed(0)
    model = industrial_cnn(10, width=8)
    x = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype("float32")
    expected = outputs(model, x)
    got = outputs(quantize_after_training(model, x), x)
    assert np.mean(got.argmax(-1) == expected.argmax(-1)) > 0.9
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


# Errors


def with_layer(layer, shape=SHAPE):
    return keras.Sequential([keras.Input(shape), layer])


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: quantize_aware(with_layer(layers.Conv2DTranspose(2, 3, name="up"))),
            r"up \(Conv2DTranspose\)",
        ),
        (
            lambda: quantize_aware(with_layer(layers.Conv2D(2, 3, activation="tanh", name="c"))),
            r"c \(activation tanh\)",
        ),
        (
            lambda: quantize_aware(with_layer(layers.BatchNormalization(name="n"), (4,))),
            r"n \(BatchNormalization that follows",
        ),
        (
            lambda: quantize_aware(
                keras.Sequential(
                    [keras.Input((4,)), layers.Dense(3, "softmax", name="d"), layers.Dense(2)]
                )
            ),
            r"d \(softmax before the model's output\)",
        ),
        (
            lambda: quantize_aware(network("plain"), skip=["nowhere"]),
            "'nowhere' is not in the model",
        ),
        (
            lambda: quantize_aware(network("plain"), bits={"nowhere": 4}),
            "'nowhere' is not in the model",
        ),
        (
            lambda: quantize_aware(network("plain"), bits=1),
            "bits must be an int from 2 to 16, got 1",
        ),
        (
            lambda: quantize_aware(network("plain"), bits=20),
            "bits must be an int from 2 to 16, got 20",
        ),
        (
            lambda: quantize_after_training(network("plain"), images(0)),
            "at least one image, got none",
        ),
        (
            lambda: quantize_after_training(network("plain"), images()[..., :1]),
            r"\(N, 8, 8, 3\), got \(32, 8, 8, 1\)",
        ),
        (
            lambda: quantize_after_training(network("plain"), images()[0]),
            r"\(N, 8, 8, 3\), got \(8, 8, 3\)",
        ),
        (
            lambda: quantize_after_training(network("plain"), np.full((1, *SHAPE), np.nan)),
            "must be finite",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_all_unknown_layers_are_named():
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2DTranspose(2, 3, name="a"),
            layers.UnitNormalization(name="b"),
        ]
    )
    with pytest.raises(ValueError, match=r"a \(Conv2DTranspose\), b \(UnitNormalization\)"):
        quantize_aware(model)
    assert quantize_aware(model, skip=("a", "b")).count_params() == model.count_params()


def test_an_own_call_is_refused():
    """Its layers do not say what it computes."""

    class Doubled(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

    inputs = keras.Input(SHAPE)
    model = Doubled(inputs, layers.Conv2D(2, 3)(inputs), name="doubled")
    with pytest.raises(ValueError, match=r"'doubled' is of class Doubled, which has a call\(\)"):
        quantize_aware(model)
    outer = keras.Model(inputs, model(inputs))
    with pytest.raises(ValueError, match=r"nested model 'doubled'.*call\(\) of its own"):
        quantize_aware(outer)


@pytest.mark.parametrize(
    "layer, message",
    [
        (layers.ReLU(max_value=1.0, name="low"), r"low \(ReLU with a threshold or max_value"),
        (layers.ReLU(threshold=0.5, name="late"), r"late \(ReLU with a threshold or max_value"),
        (layers.BatchNormalization(axis=2, name="rows"), r"rows \(BatchNormalization with axis=2"),
    ],
)
def test_kinds_without_integers_are_named(layer, message):
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3), layer])
    with pytest.raises(ValueError, match=message):
        quantize_aware(model)
    quantize_aware(model, skip=[layer.name])


def test_bits_and_skip_must_say_something():
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3), layers.ReLU(name="r")])
    with pytest.raises(ValueError, match=r"bits names \['r'\], which have no quantized weights"):
        quantize_aware(model, bits={"r": 4})
    with pytest.raises(ValueError, match="skip must be a list of names, got the string 'r'"):
        quantize_aware(model, skip="r")


def test_a_sum_of_three_has_a_range_for_each_addition():
    inputs = keras.Input(SHAPE)
    terms = [layers.Conv2D(2, 1)(inputs) for _ in range(3)]
    model = keras.Model(inputs, layers.Add(name="sum")(terms))
    names = [layer.name for layer in observers(quantize_aware(model))]
    named = [name for name in names if name.startswith("sum")]
    assert named == ["sum_partial_range", "sum_range"]
    x, ready = images(), quantize_after_training(model, images(), bits=16)
    np.testing.assert_allclose(outputs(ready, x), outputs(model, x), atol=1e-3)


def test_a_range_of_a_filter_is_at_least_a_share_of_the_largest():
    layer = QuantizedDense(2)
    kernel = np.array([[1.0, 1e-6]], "float32")  # two filters of one weight
    got = to_numpy(layer.fake_kernel(kernel))
    assert got[0, 0] == 1.0 and got[0, 1] == 0.0
    kernel[0, 1] = 2.0**-10
    np.testing.assert_allclose(layer.fake_kernel(kernel), kernel, rtol=1e-6)


def test_a_file_saved_by_version_0_1_0_still_loads():
    """It holds one of each registered class, saved when they stood in another module."""
    folder = Path(__file__).parent / "data"
    stored = np.load(folder / "quantized_0.1.0.npz", allow_pickle=False)
    model = keras.saving.load_model(folder / "quantized_0.1.0.keras")
    kinds = {type(layer).__name__ for layer in model.layers}
    registered = {name.partition(">")[2] for name in keras.saving.get_custom_objects()}
    assert kinds >= {name for name in registered if name.startswith("Quantized")}
    found = keras.ops.convert_to_numpy(model(stored["x"]))
    np.testing.assert_allclose(found, stored["y"], atol=1e-5)


# Names, classes and grids that may be taken for others


TAKEN = ("input", "input_range", "x_range", "x_before", "x_activation", "x_depthwise", "x_partial")


@pytest.mark.parametrize("name", [*TAKEN, "x_depthwise_range", "x_partial_range", "input_range_1"])
def test_what_is_inserted_never_has_the_name_of_a_layer(name):
    """The result does not depend on what the user's layers are called."""

    def make(other):
        keras.utils.set_random_seed(0)
        inputs = keras.Input(SHAPE)
        y = layers.Conv2D(3, 3, padding="same", activation="leaky_relu", name=other)(inputs)
        y = layers.Conv2D(3, 1, activation="leaky_relu", name="x")(y)
        z = layers.SeparableConv2D(3, 3, padding="same", name="y")(y)
        z = layers.Add(name="z")([y, z, inputs])
        return keras.Model(inputs, layers.Add()([z, y, inputs]))

    x = 5 * images()
    ready, peer = (quantize_after_training(make(other), x) for other in (name, "harmless"))
    np.testing.assert_array_equal(outputs(ready, x), outputs(peer, x))
    again = keras.models.clone_model(ready)
    again.set_weights(ready.get_weights())
    np.testing.assert_allclose(outputs(again, x), outputs(ready, x), atol=1e-6)


def test_two_sums_of_three():
    """Keras itself calls them add and add_1."""
    inputs = keras.Input(SHAPE)
    first = layers.Add(name="add")([layers.Conv2D(3, 1)(inputs) for _ in range(3)])
    terms = [first, layers.Conv2D(3, 1)(first), inputs]
    model = keras.Model(inputs, layers.Add(name="add_1")(terms))
    x, ready = images(), quantize_after_training(model, images(), bits=16)
    np.testing.assert_allclose(outputs(ready, x), outputs(model, x), atol=1e-2)


def namesake(base):
    """A user's own class of the name of one of Keras's."""
    return type(base.__name__, (base,), {"call": lambda self, x: 2 * base.call(self, x)})


@pytest.mark.parametrize(
    "layer",
    [
        namesake(layers.Conv2D)(4, 3, name="own"),
        namesake(layers.Dense)(4, name="own"),
        namesake(layers.DepthwiseConv2D)(3, name="own"),
        namesake(layers.ReLU)(name="own"),
        namesake(layers.Flatten)(name="own"),
        namesake(layers.MaxPooling2D)(name="own"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_class_is_not_taken_for_keras_own_of_that_name(layer):
    model = keras.Sequential([keras.Input(SHAPE), layer, layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match=rf"own \(.+\.{type(layer).__name__}\)"):
        quantize_aware(model)
    x = images()
    ready = quantize_after_training(model, x, skip=["own"], bits=16)
    np.testing.assert_allclose(outputs(ready, x), outputs(model, x), rtol=1e-3, atol=1e-3)


def test_a_function_is_not_taken_for_keras_own_of_that_name():
    def relu(x):
        return keras.ops.relu(x) * 2

    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3, activation=relu, name="c")])
    with pytest.raises(ValueError, match=r"c \(activation .+relu\)"):
        quantize_aware(model)


def test_a_batch_normalization_of_another_axis_is_named():
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.BatchNormalization(axis=2, name="odd"),
            layers.Conv2D(2, 3),
        ]
    )
    with pytest.raises(ValueError, match=r"odd \(BatchNormalization with axis=2\)"):
        quantize_aware(model)


def test_a_batch_normalization_of_axis_1_before_the_first_convolution():
    first = keras.Input((3, 8, 8))
    norm = layers.BatchNormalization(axis=1)
    model = keras.Model(first, layers.Flatten()(norm(first)))
    rng = np.random.default_rng(0)
    norm.set_weights([rng.uniform(0.5, 2, w.shape) for w in norm.get_weights()])
    x = rng.normal(size=(16, 3, 8, 8)).astype("float32")
    ready = quantize_aware(model)
    kinds = [type(layer).__name__ for layer in ready.layers]
    assert "QuantizedDepthwiseConv2D" in kinds
    if keras.backend.backend() != "tensorflow":  # whose CPU has no channels first
        ready = quantize_after_training(model, x, bits=16)
        np.testing.assert_allclose(outputs(ready, x), outputs(model, x), atol=1e-2)


def test_a_dense_layer_without_bias():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    ready = quantize_after_training(model, x, bits=16)
    assert len(ready.get_layer(model.layers[0].name).weights) == 1
    np.testing.assert_allclose(outputs(ready, x), outputs(model, x), atol=1e-3)


def test_averages_lie_on_the_grid_of_what_they_average():
    pooling = [
        layers.AveragePooling2D(2, strides=1),
        layers.UpSampling2D(2, interpolation="bilinear"),
    ]
    model = keras.Sequential([keras.Input(SHAPE), *pooling])
    x = images()
    ready = quantize_after_training(model, x)
    (grid,) = observers(ready)
    scale = (float(grid.maximum) - float(grid.minimum)) / 255
    q = outputs(ready, x) / scale
    np.testing.assert_allclose(q, np.round(q), atol=1e-3)


def test_the_range_does_not_follow_the_averages():
    model = keras.Sequential([keras.Input(SHAPE), layers.AveragePooling2D(4), layers.Flatten()])
    aware, x = quantize_aware(model), images()
    aware(x, training=True)
    (grid,) = observers(aware)
    np.testing.assert_allclose(float(grid.maximum), x.max(), rtol=1e-6)

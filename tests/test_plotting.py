"""The shared pictures: what is drawn, not only that something is."""

import keras
import matplotlib
import numpy as np
import pytest
from keras import ops
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from support import to_numpy

from cnnbook import plotting
from cnnbook.convolution import conv2d

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


def texts(ax):
    return {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts
    }


def frames(ax, edge):
    color = matplotlib.colors.to_rgba(edge)
    found = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor() == color]
    return [(p.get_y(), p.get_x(), p.get_height(), p.get_width()) for p in found]


# show_images


def test_images_are_drawn_in_order_with_titles():
    images = np.arange(5 * 6, dtype="uint8").reshape(5, 2, 3, 1)
    axes = plotting.show_images(images, titles="abcde", columns=3, title="Five")
    assert axes.shape == (2, 3)
    for i, ax in enumerate(axes.flat[:5]):
        np.testing.assert_array_equal(drawn(ax), images[i, ..., 0])
        assert ax.get_title() == "abcde"[i]
        assert ax.images[0].get_clim() == (0, 255) and ax.images[0].get_cmap().name == "gray"
        assert list(ax.get_xticks()) == list(ax.get_yticks()) == []
    assert not axes[1, 2].axison and axes[1, 1].axison
    assert axes[0, 0].figure.get_suptitle() == "Five"


def test_other_numbers_share_one_scale():
    axes = plotting.show_images(np.array([[[0.0, 2.0]], [[-3.0, 1.0]]]))
    assert [ax.images[0].get_clim() for ax in axes.flat] == [(-3, 2), (-3, 2)]
    axes = plotting.show_images(np.zeros((1, 2, 2)))
    assert axes[0, 0].images[0].get_clim() == (0, 1)
    axes = plotting.show_images(np.ones((1, 2, 2), bool), vmin=0, vmax=4)
    assert axes[0, 0].images[0].get_clim() == (0, 4)


def test_color_is_drawn_as_it_is():
    images = np.random.default_rng(0).random((2, 4, 4, 3))
    axes = plotting.show_images(images)
    np.testing.assert_array_equal(drawn(axes[0, 1]), images[1])
    np.testing.assert_array_equal(
        drawn(plotting.show_images((images * 255).astype("uint8"))[0, 0]),
        (images[0] * 255).astype("uint8"),
    )


def test_lists_may_mix_sizes_and_tensors():
    axes = plotting.show_images([ops.ones((2, 3)), np.zeros((4, 4, 1)), np.ones((2, 2, 3))])
    assert [drawn(ax).shape for ax in axes.flat] == [(2, 3), (4, 4), (2, 2, 3)]


def test_ones_own_axes_are_used():
    figure, own = plt.subplots(2, 2)
    axes = plotting.show_images(np.ones((3, 2, 2)), axes=own, title="mine")
    assert axes is own and len(plt.get_fignums()) == 1
    assert not own[1, 1].axison and figure.get_suptitle() == "mine"


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 2)), {}, r"images must be \(N, H, W\) or .* got shape \(2, 2\)"),
        (np.zeros((0, 2, 2)), {}, "images must hold at least one image, got none"),
        ([], {}, "images must hold at least one image, got none"),
        (np.zeros((1, 2, 2, 2)), {}, r"1 or 3 channels, got an image of shape \(2, 2, 2\)"),
        (np.full((1, 2, 2, 3), 1.5), {}, "uint8 or from 0 to 1, got values from 1.5 to 1.5"),
        (np.full((1, 2, 2, 3), np.nan), {}, "uint8 or from 0 to 1, got values from nan"),
        (np.zeros((2, 2, 2)), {"titles": ["a"]}, "one entry for each of 2 images, got 1"),
        (np.zeros((2, 2, 2)), {"columns": 0}, "columns must be an integer of at least 1, got 0"),
    ],
)
def test_images_that_cannot_be_shown(images, options, message):
    with pytest.raises(ValueError, match=message):
        plotting.show_images(images, **options)


def test_too_few_axes():
    with pytest.raises(ValueError, match="axes must have 3 panels, got 2"):
        plotting.show_images(np.zeros((3, 2, 2)), axes=plt.subplots(1, 2)[1])


# feature_maps


def test_each_channel_is_a_map_on_one_scale():
    maps = np.random.default_rng(1).normal(size=(1, 3, 4, 5)).astype("float32")
    axes = plotting.feature_maps(ops.convert_to_tensor(maps), columns=2)
    assert axes.shape == (3, 2)
    limits = (maps.min(), maps.max())
    for c, ax in enumerate(axes.flat[:5]):
        np.testing.assert_array_equal(drawn(ax), maps[0, :, :, c])
        assert ax.get_title() == f"channel {c}"
        np.testing.assert_allclose(ax.images[0].get_clim(), limits)
        assert ax.images[0].get_cmap().name == "viridis"
    figure = axes[0, 0].figure
    assert figure.get_suptitle() == "Feature maps"
    assert figure.axes[-1].get_ylabel() == "activation"


def test_feature_maps_without_a_batch_or_scale():
    maps = np.arange(8.0).reshape(2, 2, 2)
    axes = plotting.feature_maps(maps, titles=["a", "b"], colorbar=False, title="Both")
    np.testing.assert_array_equal(drawn(axes[0, 1]), [[1, 3], [5, 7]])
    assert len(axes[0, 0].figure.axes) == 2
    assert [ax.get_title() for ax in axes.flat] == ["a", "b"]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3, 4), (3, 3, 0), (0, 3, 3, 4)])
def test_maps_of_more_than_one_image(shape):
    with pytest.raises(ValueError, match=r"maps must be \(H, W, C\) or .* got shape"):
        plotting.feature_maps(np.zeros(shape))


# kernels


def test_kernels_stand_in_a_row_for_each_input():
    kernel = np.random.default_rng(2).normal(size=(3, 3, 2, 4))
    axes = plotting.kernels(kernel)
    assert axes.shape == (2, 4)
    for c in range(2):
        for k in range(4):
            np.testing.assert_array_equal(drawn(axes[c, k]), kernel[:, :, c, k])
    assert [ax.get_title() for ax in axes[0]] == [f"filter {k}" for k in range(4)]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["input 0", "input 1"]
    assert texts(axes[1, 2])[1, 0] == f"{kernel[1, 0, 1, 2]:.2g}"


def test_zero_is_in_the_middle_of_the_color_map():
    axes = plotting.kernels(np.array([[0.0, 3.0], [-1.0, 0.5]]).reshape(2, 2, 1, 1))
    picture = axes[0, 0].images[0]
    assert picture.get_clim() == (-3, 3)
    red, green, blue, _ = picture.cmap(picture.norm(0.0))
    assert max(red, green, blue) - min(red, green, blue) < 0.02
    assert picture.cmap(picture.norm(3.0))[0] > picture.cmap(picture.norm(3.0))[2]
    assert picture.cmap(picture.norm(-3.0))[0] < picture.cmap(picture.norm(-3.0))[2]
    assert plotting.kernels(np.zeros((1, 1, 1, 1)))[0, 0].images[0].get_clim() == (-1, 1)


def test_numbers_are_left_out_where_there_are_many():
    assert not plotting.kernels(np.zeros((7, 7, 1, 1)))[0, 0].texts
    assert not plotting.kernels(np.zeros((3, 3, 1, 17)))[0, 0].texts
    assert not plotting.kernels(np.zeros((3, 3, 1, 1)), numbers=False)[0, 0].texts
    assert len(plotting.kernels(np.zeros((6, 6, 1, 1)), numbers=True)[0, 0].texts) == 36


def test_numbers_contrast_with_their_pixels():
    axes = plotting.kernels(np.array([[0.0, 2.0, -2.0]]).reshape(1, 3, 1, 1))
    assert [t.get_color() for t in axes[0, 0].texts] == ["black", "white", "white"]


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 1), (3, 3, 0, 2)])
def test_kernels_of_another_rank(shape):
    with pytest.raises(ValueError, match=r"kernel must be \(kh, kw, C_in, C_out\), got shape"):
        plotting.kernels(np.zeros(shape))


# confusion


def test_confusion_counts_true_rows_and_predicted_columns():
    ax = plotting.confusion([0, 0, 1, 2, 2], ops.convert_to_tensor([0, 1, 1, 0, 0]), "abcd")
    expected = [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(drawn(ax), expected)
    assert {key: int(text) for key, text in texts(ax).items()} == {
        (i, j): n for i, row in enumerate(expected) for j, n in enumerate(row)
    }
    assert [t.get_text() for t in ax.get_yticklabels()] == list("abcd")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Predicted label", "True label")
    assert ax.get_title() == "Confusion matrix" and ax.images[0].get_cmap().name == "cividis"


def test_normalized_rows_have_the_recall_on_the_diagonal():
    _, own = plt.subplots()
    ax = plotting.confusion([0, 0, 0, 1], [0, 0, 1, 1], ["x", "y"], normalize="true", ax=own)
    assert ax is own
    np.testing.assert_allclose(drawn(ax), [[2 / 3, 1 / 3], [0, 1]])
    assert texts(ax)[0, 0] == "0.67"


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options", "message"),
    [
        ([0, 2], [0, 0], {}, "y_true must be from 0 to 1, .* 2 class names, got 0 to 2"),
        ([0, 1], [-1, 0], {}, "y_pred must be from 0 to 1, .* got -1 to 0"),
        ([0, 1], [0], {}, "y_true has 2 labels, but y_pred has 1"),
        ([0, 1], [0.2, 0.8], {}, r"y_pred must be integer labels of shape \(N,\), got float"),
        ([[0, 1]], [0, 1], {}, r"y_true must be integer labels .* \(1, 2\)"),
        ([], [], {}, r"y_true must be integer labels .* \(0,\)"),
        ([0], [0], {"normalize": "all"}, "normalize must be None or 'true', got 'all'"),
    ],
)
def test_labels_that_do_not_fit(y_true, y_pred, options, message):
    with pytest.raises(ValueError, match=message):
        plotting.confusion(np.asarray(y_true), np.asarray(y_pred), ["a", "b"], **options)


# learning_curves


def test_training_is_solid_and_validation_dashed():
    history = {"loss": [3, 2, 1], "accuracy": [0.1, 0.5, 0.6], "val_loss": [3, 2.5, 2]}
    axes = plotting.learning_curves(history, title="Run")
    loss, accuracy = axes.flat
    assert [ax.get_ylabel() for ax in axes.flat] == ["loss", "accuracy"]
    assert [ax.get_xlabel() for ax in axes.flat] == ["epoch", "epoch"]
    solid, dashed = loss.lines
    np.testing.assert_array_equal(solid.get_xydata(), [[1, 3], [2, 2], [3, 1]])
    np.testing.assert_array_equal(dashed.get_ydata(), [3, 2.5, 2])
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert [t.get_text() for t in loss.get_legend().get_texts()] == ["training", "validation"]
    assert len(accuracy.lines) == 1 and loss.figure.get_suptitle() == "Run"


def test_keras_history_and_validation_alone():
    history = keras.callbacks.History()
    history.history = {"val_loss": [2.0, 1.0]}
    (ax,) = plotting.learning_curves(history).flat
    assert [(line.get_label(), line.get_linestyle()) for line in ax.lines] == [("validation", "--")]


def test_several_runs_are_a_mean_in_a_band():
    runs = [{"loss": [1.0, 0.0]}, {"loss": [2.0, 4.0]}, {"loss": [6.0, 2.0]}]
    (ax,) = plotting.learning_curves(runs).flat
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3, 2])
    corners = ax.collections[0].get_paths()[0].vertices
    for epoch, low, high in ((1, 1, 6), (2, 0, 4)):
        heights = corners[corners[:, 0] == epoch][:, 1]
        assert (heights.min(), heights.max()) == (low, high)


def test_one_axes_of_ones_own():
    _, own = plt.subplots()
    axes = plotting.learning_curves({"loss": [1.0]}, axes=own)
    assert axes.flat[0] is own and own.lines[0].get_marker() == "o"


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "history must hold at least one metric, got none"),
        ([], "history must hold at least one metric, got none"),
        ([{"loss": [1]}, {"val_loss": [1]}], r"different metrics, \[\['loss'\], \['val_loss'\]\]"),
        ([{"loss": [1]}, {"loss": [1, 2]}], r"history\['loss'\] .* got lengths \[1, 2\]"),
        ({"loss": []}, r"history\['loss'\] must have one value an epoch, got lengths \[0\]"),
    ],
)
def test_histories_that_cannot_be_drawn(history, message):
    with pytest.raises(ValueError, match=message):
        plotting.learning_curves(history)


def test_too_few_axes_for_the_metrics():
    with pytest.raises(ValueError, match="axes must have 2 panels, got 1"):
        plotting.learning_curves({"loss": [1], "accuracy": [1]}, axes=plt.subplots()[1])


# convolution_window


def test_the_frame_stands_on_the_pixels_of_the_output():
    """The sum of the framed pixels is what conv2d computes there with a kernel of ones."""
    image = np.arange(48, dtype="float32").reshape(6, 8)
    options = {"strides": (2, 3), "padding": ((1, 0), (2, 1)), "dilation_rate": 1}
    outputs = to_numpy(conv2d(image[None, ..., None], np.ones((3, 2, 1, 1)), **options))[0, ..., 0]
    for position in np.ndindex(*outputs.shape):
        _, ax = plt.subplots()
        plotting.convolution_window(image, position=position, kernel_size=(3, 2), ax=ax, **options)
        ((top, left, height, width),) = frames(ax, "tab:orange")
        rows = np.arange(6)[(np.arange(6) > top) & (np.arange(6) < top + height)]
        columns = np.arange(8)[(np.arange(8) > left) & (np.arange(8) < left + width)]
        assert image[np.ix_(rows, columns)].sum() == outputs[position]
        assert (height, width) == (3, 2)
        plt.close()


def test_padding_is_drawn_around_the_image():
    image = np.arange(1, 10, dtype="uint8").reshape(3, 3)
    ax = plotting.convolution_window(image, position=(0, 2), kernel_size=3, padding="same")
    np.testing.assert_array_equal(drawn(ax), np.pad(image, 1))
    assert list(ax.images[0].get_extent()) == [-1.5, 3.5, 3.5, -1.5]
    assert frames(ax, "tab:blue") == [(-0.5, -0.5, 3, 3)]
    assert frames(ax, "tab:orange") == [(-1.5, 0.5, 3, 3)]
    assert ax.get_title() == "output (0, 2) sees rows -1 to 1,\ncolumns 1 to 3"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")
    written = texts(ax)
    assert len(written) == 25
    assert (written[0, 0], written[2, 2], written[-1, 0], written[3, 3]) == ("1", "9", "0", "0")


def test_dilation_frames_each_pixel():
    ax = plotting.convolution_window(
        np.zeros((5, 6)), position=(0, 1), kernel_size=2, dilation_rate=(2, 3)
    )
    assert frames(ax, "tab:orange") == [
        (row - 0.5, column - 0.5, 1, 1) for row in (0, 2) for column in (1, 4)
    ]
    assert frames(ax, "tab:blue") == []


def test_numbers_on_small_gray_images_only():
    def count(image, **options):
        options = {"position": (0, 0), "kernel_size": 2, **options}
        return len(plotting.convolution_window(image, **options).texts)

    assert count(np.zeros((12, 12))) == 144 and count(np.zeros((12, 13))) == 0
    assert count(np.zeros((12, 13)), numbers=True) == 156
    assert count(np.zeros((4, 4)), numbers=False) == 0
    assert count(np.zeros((4, 4, 3))) == 0


def test_numbers_contrast_with_the_image():
    image = np.array([[0, 255], [255, 0]], "uint8")
    ax = plotting.convolution_window(image, position=(0, 0), kernel_size=1)
    assert [t.get_color() for t in ax.texts] == ["white", "black", "black", "white"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"position": (3, 0)}, r"position must lie in the output of 3x3, got \(3, 0\)"),
        ({"position": (0, -1)}, r"position must be an integer of at least 0, got -1"),
        ({"position": 2}, "position must be a row and a column, got 2"),
        ({"position": (0.5, 1)}, r"position must be an integer of at least 0, got 0.5"),
        ({"kernel_size": 0}, "kernel_size must be an integer of at least 1, got 0"),
        ({"kernel_size": 6}, "kernel covers 6x6 pixels, but the padded image has only 5x5"),
        ({"strides": 0}, "strides must be an integer of at least 1, got 0"),
        ({"padding": "full"}, "padding must be 'valid', 'same'.* got 'full'"),
        ({"image": np.zeros((5, 5, 3)), "numbers": True}, r"numbers need a gray image, got .*5, 3"),
        ({"image": np.zeros(5)}, "image must have 1 or 3 channels"),
    ],
)
def test_windows_that_cannot_be_drawn(options, message):
    options = {"image": np.zeros((5, 5)), "position": (0, 0), "kernel_size": 3, **options}
    with pytest.raises(ValueError, match=message):
        plotting.convolution_window(options.pop("image"), **options)


def test_the_style_is_transparent_and_legible_in_both_themes():
    def luminance(color):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in color]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    def contrast(a, b):
        low, high = sorted(luminance(matplotlib.colors.to_rgb(color)) for color in (a, b))
        return (high + 0.05) / (low + 0.05)

    with plt.rc_context():
        plotting.set_style()
        figure, ax = plt.subplots()
        lines = [ax.plot([0, 1])[0] for _ in range(5)]
        assert figure.get_facecolor()[3] == ax.get_facecolor()[3] == 0
        for page in ("white", "#14181e"):  # those of the book
            assert contrast(ax.title.get_color(), page) > 4.2
            assert contrast(ax.xaxis.label.get_color(), page) > 4.2
            assert min(contrast(line.get_color(), page) for line in lines) > 3
        assert len({line.get_color() for line in lines}) == 5
        assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 5


def test_the_style_draws_legibly_on_a_phone():
    with plt.rc_context():
        plotting.set_style()
        figure, ax = plt.subplots()
        shrunk = 358 / (72 * figure.get_figwidth())  # pixels of a phone for each point
        labels = [ax.title, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
        assert min(label.get_fontsize() for label in labels) * shrunk > 9

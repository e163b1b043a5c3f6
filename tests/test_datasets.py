"""Data sets: what comes with the package, what is fetched, and everything that can go wrong."""

import errno
import gzip
import io
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile

import keras
import numpy as np
import pytest
from support import damaged

from cnnbook import _shapes, datasets
from cnnbook._shared import files
from cnnbook.datasets import DatasetUnavailable, load, make_shapes


class Loader:
    """Stands for keras.datasets.<name>.load_data: tiny arrays, and a count of the calls."""

    def __init__(self, shape=(32, 32, 3), classes=10, error=None):
        rng = np.random.default_rng(7)
        self.x = [rng.integers(0, 256, (n, *shape), dtype="uint8") for n in (20, 10)]
        self.y = [rng.integers(0, classes, (n, 1), dtype="uint8") for n in (20, 10)]
        self.calls, self.error = 0, error

    def __call__(self):
        self.calls += 1
        if self.error:
            raise self.error
        return tuple(zip(self.x, self.y, strict=True))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNBOOK_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def cifar10(cache, monkeypatch):
    loader = Loader()
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", loader)
    return loader


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def own_arrays(n=(6, 4), shape=(5, 7, 3)):
    rng = np.random.default_rng(3)
    arrays = {}
    for part, count in zip(("train", "test"), n, strict=True):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, *shape), dtype="uint8")
        arrays[f"y_{part}"] = np.arange(count) % 3
    return arrays


# What comes with the package


def test_digits_are_the_official_ones_split_by_fives():
    from sklearn.datasets import load_digits

    official = load_digits()
    digits = load("digits")
    assert digits.x_train.shape == (1437, 8, 8, 1) and digits.x_test.shape == (360, 8, 8, 1)
    assert digits.x_train.dtype == digits.y_train.dtype == np.uint8
    assert digits.class_names == tuple("0123456789")
    np.testing.assert_array_equal(digits.y_test, official.target[::5])
    np.testing.assert_array_equal(digits.y_train[:4], official.target[1:5])
    np.testing.assert_array_equal(digits.y_train[4], official.target[6])
    for images, rows in (
        (digits.x_test, official.images[::5]),
        (digits.x_train[:4], official.images[1:5]),
    ):
        np.testing.assert_array_equal(np.round(images[..., 0] * (16 / 255)), rows)
    assert digits.x_train.max() == 255 and digits.x_train.min() == 0
    assert set(np.unique(digits.x_train)) == {round(level * 255 / 16) for level in range(17)}


def test_photos_are_the_official_ones():
    from sklearn.datasets import load_sample_images

    photos = load("photos")
    assert photos.class_names == ("china", "flower")
    np.testing.assert_array_equal(photos.x_train, np.stack(load_sample_images().images))
    np.testing.assert_array_equal(photos.y_train, [0, 1])
    assert photos.x_test.shape == (0, 427, 640, 3) and photos.y_test.shape == (0,)
    assert "CC BY 2.0" in photos.licence


def test_shapes_come_with_masks_boxes_and_another_stream_for_the_test():
    data = load("shapes", train=260, test=250, seed=5, difficulty=0.3, rotation=10)
    images, labels, masks, boxes = make_shapes(260, seed=5, difficulty=0.3, rotation=10)
    for got, expected in (
        (data.x_train, images),
        (data.y_train, labels),
        (data.masks_train, masks),
        (data.boxes_train, boxes),
    ):
        np.testing.assert_array_equal(got, expected)
    assert data.x_test.shape == (250, 32, 32, 3) and len(data.class_names) == 10
    assert data.masks_test.shape == (250, 32, 32) and data.boxes_test.shape == (250, 4)
    same = (data.x_test[:, None, ::8, ::8] == data.x_train[None, :250, ::8, ::8]).all((2, 3, 4))
    assert not same.any()


def test_a_thousand_drawn_scenes_are_the_default_test():
    data = load("shapes", train=1)
    assert data.x_train.shape == (1, 32, 32, 3) and data.x_test.shape == (1000, 32, 32, 3)
    first = load("shapes", train=0, test=1, seed=0)
    np.testing.assert_array_equal(data.x_test[:1], first.x_test)


def test_a_dataset_is_frozen_and_prints_briefly():
    digits = load("digits")
    with pytest.raises(AttributeError):
        digits.x_train = None
    assert repr(digits) == "Dataset(1437 + 360 images of shape (8, 8, 1), 10 classes)"


# Shapes


def test_shapes_depend_on_the_seed_and_on_nothing_else():
    first, again, other = (make_shapes(30, seed=s)[0] for s in (1, 1, 2))
    np.random.seed(0)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    np.testing.assert_array_equal(first, make_shapes(300, seed=1)[0][:30])


def test_every_class_is_drawn_equally_often():
    labels = make_shapes(500, seed=0)[1]
    np.testing.assert_array_equal(np.bincount(labels), [50] * 10)
    np.testing.assert_array_equal(np.bincount(labels[250:]), [25] * 10)


def test_boxes_are_the_limits_of_the_masks():
    _, _, masks, boxes = make_shapes(60, seed=3)
    assert set(np.unique(masks)) == {0, 1}
    for mask, box in zip(masks, boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


def test_masks_mark_the_pixels_of_the_object():
    """Where nothing is textured, the object has one color and the background another."""
    images, _, masks, _ = make_shapes(40, seed=0, difficulty=0)
    for image, mask in zip(images.astype(float), masks.astype(bool), strict=True):
        border = np.ones((32, 32), bool)
        border[2:-2, 2:-2] = False
        inside, outside = np.median(image[mask], 0), np.median(image[border & ~mask], 0)
        middle = (np.abs(image - inside).sum(-1) < np.abs(image - outside).sum(-1)) == mask
        assert middle.mean() > 0.97


def test_hand_made_masks_of_each_outline():
    """Areas in units of the squared radius, computed by hand from each outline."""
    axis = np.linspace(-1.2, 1.2, 1201, dtype="float32")
    u, v = axis[None], axis[:, None]
    pixel = (axis[1] - axis[0]) ** 2
    areas = {
        "circle": np.pi * 0.88**2,
        "square": 1.56**2,
        "triangle": 3 * np.sqrt(3) * 0.55**2,
        "pentagon": 5 * 0.78**2 * np.tan(np.pi / 5),
        "star": 5 * 0.45 * np.sin(np.pi / 5),
        "cross": 2 * 1.9 * 0.56 - 0.56**2,
        "ring": np.pi * (0.92**2 - 0.44**2),
        "heart": 1.1**2 + np.pi * 0.55**2,
        "arrow": 0.95 * 0.95 * 0.75 / 0.95 + 0.48 * 0.95,
    }
    for name, expected in areas.items():
        area = (_shapes.DISTANCES[name](u, v) < 0).sum() * pixel
        assert abs(area - expected) < 0.01, (name, area, expected)


def test_rotation_turns_the_objects_and_leaves_everything_else():
    upright, turned = (make_shapes(250, seed=0, difficulty=0, rotation=r) for r in (0, 180))
    np.testing.assert_array_equal(upright[1], turned[1])
    changed = (upright[2] != turned[2]).mean((1, 2))
    arrow, circle = _shapes.CLASS_NAMES.index("arrow"), _shapes.CLASS_NAMES.index("circle")
    assert changed[upright[1] == arrow].mean() > 0.05
    assert changed[upright[1] == circle].max() < 0.01
    near = upright[2].astype(bool) | turned[2].astype(bool)
    for axis in (1, 2) * 4:  # soft tips reach a few pixels beyond the masks
        near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
    assert near.mean() < 0.9
    np.testing.assert_array_equal(upright[0][~near], turned[0][~near])


def test_upright_arrows_point_up_and_hearts_down():
    _, labels, masks, _ = make_shapes(250, seed=0, difficulty=0, rotation=0)
    for name, narrow in (("arrow", 0), ("triangle", 0), ("heart", -1)):
        for mask in masks[labels == _shapes.CLASS_NAMES.index(name)]:
            widths = mask.sum(1)[mask.any(1)]
            assert widths[narrow] < 0.5 * widths.max(), name


def test_difficulty_lowers_contrast_and_adds_clutter_and_noise():
    def spread_outside(difficulty):
        images, _, masks, _ = make_shapes(250, seed=0, difficulty=difficulty)
        border = ~masks.any(0)
        return images[:, border].astype(float).std(1).mean()

    easy, middle, hard = (spread_outside(d) for d in (0, 0.5, 1))
    assert easy < 4 < 3 * easy + 8 < middle < hard


def test_occluders_hide_at_most_the_promised_share():
    rng = np.random.default_rng([0, 0, 0])
    whole = []

    def keep(*arguments):
        result = original(*arguments)
        whole.append(result[0] > 0.5)
        return result

    original = _shapes._object
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_shapes, "_object", keep)
        _, _, masks = _shapes._draw_batch(rng, 1.0, 30.0)
    shares = masks.sum((1, 2)) / whole[0].sum((1, 2))
    assert shares.min() >= _shapes.VISIBLE and (shares < 0.95).mean() > 0.2
    assert not (masks.astype(bool) & ~whole[0]).any()


def test_pixels_alone_tell_little_about_the_class():
    """Nearest class mean, the simplest linear classifier: near chance, which is 10%."""
    images, labels, _, _ = make_shapes(1500, seed=0)
    x = images.reshape(1500, -1).astype("float32")
    means = np.stack([x[:1000][labels[:1000] == c].mean(0) for c in range(10)])
    distances = ((x[1000:, None] - means) ** 2).sum(-1)
    assert (distances.argmin(1) == labels[1000:]).mean() < 0.25


def test_no_shapes_at_all():
    images, labels, masks, boxes = make_shapes(0, seed=0)
    assert (images.shape, labels.shape) == ((0, 32, 32, 3), (0,))
    assert (masks.shape, boxes.shape) == ((0, 32, 32), (0, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -1}, "count must be an integer of at least 0, got -1"),
        ({"count": 2.5}, "count must be an integer of at least 0, got 2.5"),
        ({"count": True}, "count must be .* got True"),
        ({"seed": -3}, "seed must be an integer of at least 0, got -3"),
        ({"seed": None}, "seed must be an integer of at least 0, got None"),
        (
            {"difficulty": 1.5},
            "difficulty must be a finite number of at least 0 and at most 1, got 1.5",
        ),
        (
            {"difficulty": "hard"},
            "difficulty must be a finite number of at least 0 and at most 1, got 'hard'",
        ),
        ({"difficulty": float("nan")}, "difficulty must be .* got nan"),
        (
            {"rotation": -1},
            "rotation must be a finite number of at least 0 and at most 180, got -1",
        ),
        (
            {"rotation": 181},
            "rotation must be a finite number of at least 0 and at most 180, got 181",
        ),
    ],
)
def test_shapes_out_of_range(options, message):
    options = {"count": 1, "seed": 0, **options}
    with pytest.raises(ValueError, match=message):
        make_shapes(options.pop("count"), **options)


def test_options_belong_to_shapes_and_are_known():
    with pytest.raises(ValueError, match="'shapes' has no option size; it has train, test"):
        load("shapes", size=64)
    with pytest.raises(ValueError, match="'digits' takes no options, got seed"):
        load("digits", seed=1)
    with pytest.raises(ValueError, match="test must be an integer of at least 0, got -5"):
        load("shapes", test=-5)


# Names


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", ".", "", "/etc/passwd", "x.npz", "a\n", "C:x", 7, None]
)
def test_a_name_cannot_leave_the_folder(cache, name):
    with pytest.raises(ValueError, match="name must be made of letters.*known names are digits"):
        load(name)


def test_an_unknown_name_lists_the_known_ones(cache):
    with pytest.raises(DatasetUnavailable, match="no data set 'cifar'") as caught:
        load("cifar")
    assert isinstance(caught.value, ValueError)
    for known in (*datasets.KNOWN, str(cache / "cifar.npz"), "x_train, y_train, x_test, y_test"):
        assert known in str(caught.value)


# Fetching and keeping


def test_a_fetched_set_is_converted_kept_and_read_again(cifar10, cache):
    first = load("cifar10")
    assert names_in(cache) == ["cifar10.npz", "cifar10.npz.sha256"]
    second = load("cifar10")
    assert cifar10.calls == 1
    for data in (first, second):
        np.testing.assert_array_equal(data.x_train, cifar10.x[0])
        np.testing.assert_array_equal(data.x_test, cifar10.x[1])
        np.testing.assert_array_equal(data.y_train, cifar10.y[0][:, 0])
        np.testing.assert_array_equal(data.y_test, cifar10.y[1][:, 0])
        assert data.class_names[0] == "airplane" and data.class_names[9] == "truck"
        assert "Krizhevsky" in data.source and "none stated" in data.licence
        assert data.masks_train is None


@pytest.mark.parametrize(
    ("name", "shape", "classes", "first", "last"),
    [
        ("mnist", (28, 28), 10, "0", "9"),
        ("fashion_mnist", (28, 28), 10, "T-shirt/top", "Ankle boot"),
        ("cifar100", (32, 32, 3), 100, "apple", "worm"),
    ],
)
def test_the_other_fetched_sets(cache, monkeypatch, name, shape, classes, first, last):
    loader = Loader(shape, classes)
    loader.y = [y[:, 0] for y in loader.y] if len(shape) == 2 else loader.y
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", loader)
    data = load(name)
    assert data.x_train.shape == (20, *shape[:2], 1 if len(shape) == 2 else 3)
    np.testing.assert_array_equal(data.x_test.reshape(loader.x[1].shape), loader.x[1])
    assert len(set(data.class_names)) == classes
    assert (data.class_names[0], data.class_names[-1]) == (first, last)
    np.testing.assert_array_equal(load(name).y_train, loader.y[0].ravel())
    assert loader.calls == 1


def test_cifar100_names_are_in_the_official_alphabetical_order():
    names = datasets.DOWNLOADS["cifar100"].class_names
    assert list(names) == sorted(names) and len(names) == 100


def test_the_file_is_plain_and_the_checksum_is_that_of_sha256sum(cifar10, cache):
    import hashlib

    load("cifar10")
    digest = hashlib.sha256((cache / "cifar10.npz").read_bytes()).hexdigest()
    assert (cache / "cifar10.npz.sha256").read_text() == f"{digest}  cifar10.npz\n"
    with np.load(cache / "cifar10.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == sorted(datasets.ARRAYS)


def test_equal_arrays_make_equal_files(tmp_path, monkeypatch):
    arrays = own_arrays()
    files.write(tmp_path / "a.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    files.write(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_no_network(cache, monkeypatch):
    error = Exception("URL fetch failure on https://example.org: None -- [Errno -2] Name unknown")
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", Loader(error=error))
    with pytest.raises(DatasetUnavailable) as caught:
        load("cifar10")
    message = str(caught.value)
    for part in (
        f"there is no file {cache / 'cifar10.npz'}",
        "keras.datasets.cifar10.load_data() failed",
        "URL fetch failure",
        "CNNBOOK_DATA",
        "load('shapes') has images of the same shape, (32, 32, 3)",
    ):
        assert part in message
    assert not isinstance(caught.value, ValueError)
    assert names_in(cache) == []


@pytest.mark.parametrize(
    ("name", "embedded"), [("mnist", "digits"), ("fashion_mnist", "digits"), ("cifar100", "shapes")]
)
def test_no_network_names_the_closest_embedded_set(cache, monkeypatch, name, embedded):
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", Loader(error=OSError("down")))
    with pytest.raises(DatasetUnavailable, match=rf"load\('{embedded}'\)"):
        load(name)


def test_a_wrong_download_is_neither_kept_nor_returned(cache, monkeypatch):
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", Loader(shape=(28, 28, 3)))
    with pytest.raises(DatasetUnavailable, match=r"images are \(28, 28, 3\), not \(32, 32, 3\)"):
        load("cifar10")
    assert names_in(cache) == []


def test_an_interrupt_is_not_swallowed(cache, monkeypatch):
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", Loader(error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        load("cifar10")


def test_the_cache_is_the_users_when_no_folder_is_set(cifar10, tmp_path, monkeypatch):
    import platformdirs

    asked = []

    def user_cache_path(*arguments, **options):
        asked.append(arguments)
        return tmp_path / "user"

    monkeypatch.setenv("CNNBOOK_DATA", "")
    monkeypatch.setattr(platformdirs, "user_cache_path", user_cache_path)
    load("cifar10")
    assert asked == [("cnnbook",)]
    assert (tmp_path / "user" / "cifar10.npz").exists()


# Damage


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3000])


def flip_a_byte(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def empty(path):
    path.write_bytes(b"")


def replace_with_text(path):
    path.write_text("<html>captive portal</html>")


def replace_with_pickle(path):
    path.write_bytes(pickle.dumps({"x_train": 1}))


def replace_with_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


DAMAGES = [truncate, flip_a_byte, empty, replace_with_text, replace_with_pickle, replace_with_npy]


@pytest.mark.parametrize("with_checksum", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_fetched_again(cifar10, cache, damage, with_checksum):
    load("cifar10")
    path = cache / "cifar10.npz"
    if not with_checksum:
        (cache / "cifar10.npz.sha256").unlink()
    damage(path)
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match="cifar10.npz is damaged.*kept as cifar10.npz.damaged-1"):
        data = load("cifar10")
    assert cifar10.calls == 2
    np.testing.assert_array_equal(data.x_train, cifar10.x[0])
    assert (cache / "cifar10.npz.damaged-1").read_bytes() == damaged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load("cifar10").x_test, cifar10.x[1])
    assert cifar10.calls == 2


def test_the_warning_names_the_checksum_and_points_at_the_caller(cifar10, cache):
    load("cifar10")
    flip_a_byte(cache / "cifar10.npz")
    with pytest.warns(
        UserWarning, match="does not match the checksum in cifar10.npz.sha256"
    ) as seen:
        load("cifar10")
    assert [w.filename for w in seen] == [__file__]


def test_an_empty_checksum_is_damage(cifar10, cache):
    load("cifar10")
    (cache / "cifar10.npz.sha256").write_text("")
    with pytest.warns(UserWarning, match="does not match"):
        load("cifar10")
    assert cifar10.calls == 2


def test_damaged_files_never_overwrite_each_other(cifar10, cache):
    kept = []
    for _ in range(3):
        load("cifar10")
        path = cache / "cifar10.npz"
        path.write_bytes(f"damage {len(kept)}".encode())
        kept.append(path.read_bytes())
        with pytest.warns(UserWarning, match=f"damaged-{len(kept)}"):
            load("cifar10")
    assert [(cache / f"cifar10.npz.damaged-{n}").read_bytes() for n in (1, 2, 3)] == kept


def wrong(**changes):
    arrays = {**own_arrays(shape=(32, 32, 3)), **changes}
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (wrong(y_test=None), "it lacks y_test"),
        (wrong(x_train=None, x_test=None), "it lacks x_train, x_test"),
        (
            wrong(x_train=np.zeros((6, 32, 32, 3))),
            r"x_train is float64 \(6, 32, 32, 3\), not uint8",
        ),
        (
            wrong(x_test=np.zeros((4, 3072), "uint8")),
            r"x_test is uint8 \(4, 3072\), not uint8 images",
        ),
        (
            wrong(x_train=np.zeros((6, 28, 28, 3), "uint8")),
            r"x_train has images \(28, 28, 3\), but",
        ),
        (wrong(y_train=np.zeros(5, "uint8")), r"y_train is uint8 \(5,\), not a label or mask"),
        (wrong(y_train=np.zeros(6)), r"y_train is float64 \(6,\), not a label or mask"),
        (wrong(y_test=np.array([0, 1, 2, 10])), "y_test are not labels from 0 to 9"),
        (wrong(y_test=np.array([0, 1, 2, -1])), "y_test are not labels from 0 to 9"),
        (wrong(y_test=np.zeros((4, 32, 32), "uint8")), "y_test are not labels from 0 to 9"),
        (wrong(masks_train=np.zeros((6, 32, 31), "uint8")), r"masks_train is uint8 \(6, 32, 31\)"),
        (wrong(y_train=np.array([{}] * 6)), "y_t[a-z]* holds Python objects"),
    ],
)
def test_a_file_of_the_wrong_form_is_damage(cifar10, cache, arrays, message):
    np.savez(cache / "cifar10.npz", **arrays)
    with pytest.warns(UserWarning, match=message):
        load("cifar10")
    assert cifar10.calls == 1 and (cache / "cifar10.npz.damaged-1").exists()


def test_damage_without_network_says_both(cache, monkeypatch):
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", Loader(error=OSError("no route")))
    (cache / "cifar10.npz").write_text("half")
    with (
        pytest.warns(UserWarning, match="damaged-1"),
        pytest.raises(DatasetUnavailable, match="cifar10.npz was damaged, and keras.*no route"),
    ):
        load("cifar10")
    assert names_in(cache) == ["cifar10.npz.damaged-1"]


def test_a_damaged_file_of_ones_own_cannot_be_fetched(cache):
    np.savez(cache / "mine.npz", x_train=np.zeros(3))
    with (
        pytest.warns(UserWarning, match="mine.npz is damaged: it lacks y_train"),
        pytest.raises(DatasetUnavailable, match="mine.npz was damaged") as caught,
    ):
        load("mine")
    assert not isinstance(caught.value, ValueError)


@pytest.mark.parametrize("damage", [replace_with_pickle, replace_with_npy])
def test_nobody_is_told_to_load_pickles(cifar10, cache, damage):
    load("cifar10")
    (cache / "cifar10.npz.sha256").unlink()
    damage(cache / "cifar10.npz")
    with pytest.warns(UserWarning, match="it is not an .npz file") as seen:
        load("cifar10")
    assert "pickle" not in str(seen[0].message)


def npy(header, content=b""):
    """An array file with a header of one's own."""
    header = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def archive(path, packing=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", packing) as bundle:
        for name, content in members.items():
            bundle.writestr(f"{name}.npy", content)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "{'descr': '|u1', 'fortran_order': False, 'shape': (100000000, 100000)}",
            r"x_train says that it is uint8 \(100000000, 100000\), 10,000,000,000,000 bytes, but",
        ),
        ("{'descr': '<U90000', 'fortran_order': False, 'shape': (9,)}", "but it holds 3"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-3,)}", "but it holds 3"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", "2 bytes, but it holds 3"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "x_train holds Python objects"),
        ("{'descr': '|u1', 'shape': (3,)}", "Header does not contain the correct keys"),
        ("no header", "Cannot parse header"),
    ],
)
def test_a_header_that_lies_is_damage(cache, header, message):
    archive(cache / "mine.npz", x_train=npy(header, b"123"))
    before = (cache / "mine.npz").read_bytes()
    with (
        pytest.warns(UserWarning, match=message),
        pytest.raises(DatasetUnavailable, match="was damaged"),
    ):
        load("mine")
    assert names_in(cache) == ["mine.npz.damaged-1"]
    assert (cache / "mine.npz.damaged-1").read_bytes() == before


def test_a_bomb_is_not_unpacked(cache):
    shape = (2**17, 32, 32)  # 128 MiB of zeros
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    archive(cache / "mine.npz", zipfile.ZIP_DEFLATED, x_train=npy(header, bytes(2**27)))
    assert (cache / "mine.npz").stat().st_size < 2**18
    tracemalloc.start()
    with (
        pytest.warns(
            UserWarning, match=r"its 1..,... bytes would become 134,217,856 when unpacked"
        ),
        pytest.raises(DatasetUnavailable, match="was damaged"),
    ):
        load("mine")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_another_packing_is_damage(cache):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}"
    archive(cache / "mine.npz", zipfile.ZIP_LZMA, x_train=npy(header, b"123"))
    with (
        pytest.warns(UserWarning, match="x_train is packed in a way that NumPy does not write"),
        pytest.raises(DatasetUnavailable),
    ):
        load("mine")


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="it has neither")
@pytest.mark.parametrize("make", [pipe, device])
@pytest.mark.parametrize("name", ["cifar10.npz", "cifar10.npz.sha256"])
def test_what_is_no_file_is_not_waited_for(cifar10, cache, make, name):
    load("cifar10")
    (cache / name).unlink()
    make(cache / name)
    with pytest.raises(DatasetUnavailable, match=f"cannot be read: .*not a regular.*{name}"):
        load("cifar10")
    assert cifar10.calls == 1 and names_in(cache) == ["cifar10.npz", "cifar10.npz.sha256"]


def same_or_told(cache, expected):
    """Loads a set whose files may be damaged: the same arrays, or a warning and all bytes kept."""
    before = {path.name: path.read_bytes() for path in cache.iterdir()}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            data = load("mine")
        except DatasetUnavailable:
            assert [str(w.message) for w in told if "mine.npz is damaged" in str(w.message)]
            kept = {p.name.replace(".damaged-1", ""): p.read_bytes() for p in cache.iterdir()}
            assert {k: v for k, v in kept.items() if k in before} == before
            return False
    assert not told
    for key in datasets.ARRAYS:
        np.testing.assert_array_equal(getattr(data, key), expected[key])
    return True


@pytest.mark.parametrize("name", ["mine.npz", "mine.npz.sha256", "without a checksum"])
def test_a_damaged_file_gives_the_same_or_is_told(tmp_path, monkeypatch, name):
    cache, arrays = tmp_path / "data", own_arrays()
    monkeypatch.setenv("CNNBOOK_DATA", str(cache))
    files.write(cache / "mine.npz", arrays)
    if name == "without a checksum":
        (cache / "mine.npz.sha256").unlink()
        name = "mine.npz"
    whole = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert same_or_told(cache, arrays)
    same, seconds = 0, []
    tracemalloc.start()
    for content in damaged(whole[name], 60):
        for path in cache.iterdir():
            path.unlink()
        for other, kept in whole.items():
            (cache / other).write_bytes(kept)
        (cache / name).write_bytes(content)
        start = time.process_time()
        same += same_or_told(cache, arrays)
        seconds.append(time.process_time() - start)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same < 30 and max(seconds) < 1 and peak < 2**24
    assert list(tmp_path.iterdir()) == [cache]


# Keras's own download, its transfer replaced


DOWNLOADER = """
import gzip, os, sys, time
from pathlib import Path
import keras.src.utils.file_utils as file_utils

def urlretrieve(url, target, report):
    "Stands for the network: small files in the form of Fashion-MNIST, sent slowly."
    count = 30 if "train" in url else 20
    content = bytes(16) + bytes(range(count)) * 784 if "images" in url else bytes(8) + bytes(count)
    sent = gzip.compress(content, mtime=0)
    with Path(os.environ["TRANSFERS"]).open("a") as log:
        log.write(f"{os.getpid()} {Path(url).name}\\n")
    with open(target, "wb") as file:
        for block, byte in enumerate(sent):
            if block == len(sent) // 2:
                file.flush()
                time.sleep(0.2)
            file.write(bytes([byte]))
            report(block, 1, len(sent))
        report(len(sent), 1, len(sent))

file_utils.urlretrieve = urlretrieve
"""
LOAD = """
from cnnbook.datasets import load
data = load("fashion_mnist")
assert data.x_train.shape == (30, 28, 28, 1) and data.x_test.shape == (20, 28, 28, 1)
assert data.x_test[0, 0, :3, 0].tolist() == [0, 1, 2]
"""


TOGETHER = """
ready = Path(os.environ["TRANSFERS"]).parent
(ready / f"{os.getpid()}.ready").touch()
while len(list(ready.glob("*.ready"))) < 3:
    time.sleep(0.01)
"""


def start_download(folder, code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= {"CNNBOOK_DATA": str(folder / "cache"), "KERAS_HOME": str(folder / "keras")}
    environment["TRANSFERS"] = str(folder / "transfers.txt")
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER + code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outputs_of(*processes):
    outputs = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [out for out, _ in outputs]


def test_keras_downloads_once_with_a_progress_bar_for_all_who_ask_at_once(tmp_path):
    """A second transfer into Keras's file would spoil the first."""
    outs = outputs_of(*(start_download(tmp_path, TOGETHER + LOAD) for _ in range(3)))
    assert sum("Downloading data from" in out and "━" in out for out in outs) == 1
    transfers = (tmp_path / "transfers.txt").read_text().split("\n")[:-1]
    assert len(transfers) == 4 and len({line.split()[0] for line in transfers}) == 1
    assert names_in(tmp_path / "cache") == ["fashion_mnist.npz", "fashion_mnist.npz.sha256"]


REPAIR = """
import os
from pathlib import Path
from cnnbook.datasets import DatasetUnavailable, load
home = os.environ["KERAS_HOME"]
try:
    load("fashion_mnist")
except DatasetUnavailable as error:
    assert "EOFError" in str(error) and f"left half, is in {home}/datasets" in str(error), error
    Path(home, "datasets", "fashion-mnist", "train-images-idx3-ubyte.gz").unlink()
else:
    raise AssertionError("half a file was taken")
"""


def test_a_download_cut_short_is_named_and_can_be_repaired(tmp_path):
    """What a killed process leaves in Keras's folder: Keras does not notice, gzip does."""
    half = tmp_path / "keras" / "datasets" / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    half.parent.mkdir(parents=True)
    half.write_bytes(gzip.compress(bytes(5000))[:-9])
    outputs_of(start_download(tmp_path, REPAIR + LOAD))


def test_a_failed_fetch_lets_the_next_one_in(cifar10, cache):
    cifar10.error = Exception("URL fetch failure")
    for _ in range(2):
        with pytest.raises(DatasetUnavailable, match="URL fetch failure"):
            load("cifar10")
    cifar10.error = None
    assert load("cifar10").x_train.shape == (20, 32, 32, 3)


def test_a_folder_that_cannot_be_made(cifar10, cache, monkeypatch):
    (cache / "file").write_text("")
    monkeypatch.setenv("CNNBOOK_DATA", str(cache / "file" / "folder"))
    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        load("cifar10")


def test_channels_first_in_the_configuration_changes_nothing(cifar10, cache, monkeypatch):
    expected = cifar10.x[0]
    cifar10.x = [x.transpose(0, 3, 1, 2) for x in cifar10.x]  # as Keras then does
    np.testing.assert_array_equal(load("cifar10").x_train, expected)


# A full or read-only disk, and two processes at once


def test_a_full_disk_leaves_nothing_and_still_gives_the_data(cifar10, cache, monkeypatch):
    def write_array(file, array, **options):
        file.write(b"some of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", write_array)
    with pytest.warns(
        UserWarning, match="'cifar10' was fetched but not kept.*No space left"
    ) as seen:
        data = load("cifar10")
    np.testing.assert_array_equal(data.x_train, cifar10.x[0])
    assert names_in(cache) == [] and seen[0].filename == __file__


@pytest.mark.parametrize("failing", ["cifar10.npz", "cifar10.npz.sha256"])
def test_a_failing_rename_leaves_no_part(cifar10, cache, monkeypatch, failing):
    original = os.replace

    def replace(source, target):
        if os.path.basename(target) == failing:
            raise OSError(errno.EACCES, "denied")
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.warns(UserWarning, match="denied"):
        load("cifar10")
    assert not [name for name in names_in(cache) if name.endswith(".part")]
    monkeypatch.undo()


def test_an_unreadable_file_is_not_damage(cifar10, cache):
    (cache / "cifar10.npz").mkdir()
    with pytest.raises(DatasetUnavailable, match="cifar10.npz cannot be read"):
        load("cifar10")
    assert cifar10.calls == 0 and names_in(cache) == ["cifar10.npz"]


def test_a_file_that_another_process_repaired_stays(cifar10, cache, monkeypatch):
    """The other process replaces the damaged file after this one has read it."""
    load("cifar10")
    path = cache / "cifar10.npz"
    good, checksum = path.read_bytes(), (cache / "cifar10.npz.sha256").read_bytes()
    path.write_text("half")
    original = files.set_aside

    def repaired_first(*arguments):
        os.replace(path, cache / "cifar10.npz.damaged-1")
        path.write_bytes(good)
        (cache / "cifar10.npz.sha256").write_bytes(checksum)
        return original(*arguments)

    monkeypatch.setattr(files, "set_aside", repaired_first)
    with pytest.warns(UserWarning, match="Another process has replaced it"):
        data = load("cifar10")
    np.testing.assert_array_equal(data.x_train, cifar10.x[0])
    assert path.read_bytes() == good and cifar10.calls == 1


def test_a_file_that_another_process_set_aside(cifar10, cache, monkeypatch):
    (cache / "cifar10.npz").write_text("half")
    original = files.set_aside

    def moved_first(path, file_id):
        path.unlink()
        return original(path, file_id)

    monkeypatch.setattr(files, "set_aside", moved_first)
    with pytest.warns(UserWarning, match="Another process has set it aside"):
        load("cifar10")
    assert names_in(cache) == ["cifar10.npz", "cifar10.npz.sha256"]


def test_a_reader_keeps_its_file_while_another_process_replaces_it(cifar10, cache, monkeypatch):
    load("cifar10")
    path = cache / "cifar10.npz"
    original = np.lib.format.read_array

    def replaced_meanwhile(file, **options):
        path.unlink()
        path.write_text("half")
        return original(file, **options)

    monkeypatch.setattr(np.lib.format, "read_array", replaced_meanwhile)
    np.testing.assert_array_equal(load("cifar10").x_train, cifar10.x[0])


WRITER = """
import sys
from pathlib import Path
import numpy as np
from cnnbook._shared import files
arrays = {"x": np.arange(300_000)}
path = Path(sys.argv[1])
for _ in range(15):
    files.write(path, arrays)
    found = files.read(path, ["x"], lambda arrays: arrays)["x"]
    assert np.array_equal(found, arrays["x"])
"""


def test_processes_that_write_and_read_at_once(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.npz")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], errors
    assert names_in(tmp_path) == ["a.npz", "a.npz.sha256"]


# The reader's own files


def test_a_file_of_ones_own_with_labels_and_names(cache):
    arrays = own_arrays()
    np.savez(cache / "mine.npz", **arrays, class_names=["a", "b", "c"])
    data = load("mine")
    for key in datasets.ARRAYS:
        np.testing.assert_array_equal(getattr(data, key), arrays[key])
    assert data.class_names == ("a", "b", "c") and data.masks_test is None
    assert data.source == str(cache / "mine.npz")
    assert names_in(cache) == ["mine.npz"]


def test_a_file_of_ones_own_with_masks_for_labels(cache):
    arrays = own_arrays()
    arrays |= {f"y_{p}": arrays[f"x_{p}"][..., 0] // 128 for p in ("train", "test")}
    np.savez_compressed(cache / "nuclei.npz", **arrays)
    data = load("nuclei")
    np.testing.assert_array_equal(data.masks_train, arrays["y_train"])
    np.testing.assert_array_equal(data.masks_test, arrays["y_test"])
    np.testing.assert_array_equal(data.y_test, arrays["y_test"])
    assert data.class_names is None


def test_gray_images_get_a_channel_and_large_labels_keep_their_type(cache):
    arrays = own_arrays(shape=(5, 7))
    np.savez(cache / "gray.npz", **{**arrays, "y_train": np.arange(6) * 100 - 7})
    data = load("gray")
    np.testing.assert_array_equal(data.x_train, arrays["x_train"][..., None])
    np.testing.assert_array_equal(data.y_train, np.arange(6) * 100 - 7)


def test_a_known_set_that_somebody_put_there_is_used(cifar10, cache):
    arrays = own_arrays(shape=(32, 32, 3))
    np.savez(cache / "cifar10.npz", **arrays)
    data = load("cifar10")
    np.testing.assert_array_equal(data.x_train, arrays["x_train"])
    assert cifar10.calls == 0 and len(data.class_names) == 10
    assert not (cache / "cifar10.npz.sha256").exists()


def test_out_of_memory_is_not_damage(cifar10, cache, monkeypatch):
    load("cifar10")

    def no_memory(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", no_memory)
    with pytest.raises(MemoryError):
        load("cifar10")
    assert names_in(cache) == ["cifar10.npz", "cifar10.npz.sha256"]


def test_pickles_are_never_run(cifar10, cache):
    """A pickled object inside an .npz: reading it would call os.mkdir."""

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(cache / "exploded"),)

    buffer = io.BytesIO()
    np.savez(buffer, **{**own_arrays(shape=(32, 32, 3)), "y_test": np.array([Bomb()] * 4)})
    (cache / "cifar10.npz").write_bytes(buffer.getvalue())
    with pytest.warns(UserWarning, match="y_t[a-z]* holds Python objects"):
        load("cifar10")
    assert not (cache / "exploded").exists()


def test_importing_stays_cheap():
    code = (
        "import sys, cnnbook.datasets; "
        "print([m for m in ('keras', 'sklearn', 'matplotlib', 'platformdirs') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr

"""Data sets: three that need no network, four that are fetched once, and the reader's own.

======================= ==================================================== ==================
name                    images                                               where it is from
======================= ==================================================== ==================
``digits``              1,797 handwritten digits, 8x8x1, 10 classes          scikit-learn
``photos``              2 photographs, 427x640x3                             scikit-learn
``shapes``              as many drawn scenes as one likes, 32x32x3           made here
``mnist``               70,000 handwritten digits, 28x28x1, 10 classes       keras.datasets
``fashion_mnist``       70,000 pieces of clothing, 28x28x1, 10 classes       keras.datasets
``cifar10``             60,000 photographs, 32x32x3, 10 classes              keras.datasets
``cifar100``            60,000 photographs, 32x32x3, 100 classes             keras.datasets
any other               ``<name>.npz`` in the cache folder                   the reader
======================= ==================================================== ==================

The cache folder is ``$CNNBOOK_DATA`` where that is set, else the user's cache
folder for ``cnnbook``.
"""

import contextlib
import functools
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnbook import _shapes
from cnnbook._shared import files

__all__ = ["Dataset", "DatasetUnavailable", "load", "make_shapes"]

EMBEDDED = ("digits", "photos", "shapes")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
MASKS = ("masks_train", "masks_test")


class DatasetUnavailable(Exception):
    """A data set could not be had; the message says what was tried and what to do."""


class _UnknownDataset(DatasetUnavailable, ValueError):
    """The name is neither a known data set nor a file in the cache."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images, labels and where they come from.

    Attributes:
        x_train, x_test: uint8 images, shape ``(N, H, W, C)``.
        y_train, y_test: Integer labels, shape ``(N,)``; in a file of the
            reader's own they may be masks, shape ``(N, H, W)``.
        class_names: One name for each label, or None where there are none.
        masks_train, masks_test: uint8 masks, shape ``(N, H, W)``, or None.
        boxes_train, boxes_test: int32 boxes ``(top, left, bottom, right)``,
            bottom and right excluded, shape ``(N, 4)``, or None.
        source: Where the images come from.
        licence: The terms that are known.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple | None = None
    masks_train: np.ndarray | None = None
    masks_test: np.ndarray | None = None
    source: str = ""
    licence: str = ""
    boxes_train: np.ndarray | None = None
    boxes_test: np.ndarray | None = None

    def __repr__(self):
        classes = f"{len(self.class_names)} classes" if self.class_names else "no class names"
        return (
            f"Dataset({len(self.x_train)} + {len(self.x_test)} images of shape "
            f"{self.x_train.shape[1:]}, {classes})"
        )


@dataclass(frozen=True)
class _Download:
    image_shape: tuple
    class_names: tuple
    closest: str
    source: str
    licence: str


_SAME_AS_SHAPES = "load('shapes') has images of the same shape, (32, 32, 3), and needs no network."
_LIKE_DIGITS = "load('digits') is the closest that needs no network: gray images, (8, 8, 1)."
_CIFAR_SOURCE = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, "

_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

DOWNLOADS = {
    "mnist": _Download(
        (28, 28, 1),
        tuple("0123456789"),
        _LIKE_DIGITS,
        "LeCun, Cortes and Burges, The MNIST database of handwritten digits, "
        "through keras.datasets.mnist",
        "CC BY-SA 3.0, as Keras states; copyright Yann LeCun and Corinna Cortes",
    ),
    "fashion_mnist": _Download(
        (28, 28, 1),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        _LIKE_DIGITS,
        "Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747, "
        "through keras.datasets.fashion_mnist",
        "MIT, copyright Zalando SE",
    ),
    "cifar10": _Download(
        (32, 32, 3),
        (
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        _SAME_AS_SHAPES,
        _CIFAR_SOURCE + "through keras.datasets.cifar10",
        "none stated; the author asks to be cited",
    ),
    "cifar100": _Download(
        (32, 32, 3),
        tuple(_CIFAR100_NAMES.split()),
        _SAME_AS_SHAPES + " It has 10 classes, not 100.",
        _CIFAR_SOURCE + "through keras.datasets.cifar100, fine labels",
        "none stated; the author asks to be cited",
    ),
}
KNOWN = (*EMBEDDED, *DOWNLOADS)


def load(name, **options):
    """Loads a data set by its name.

    ``digits``, ``photos`` and ``shapes`` need no network and no file.
    ``digits`` are the 1,797 digits of scikit-learn, their levels 0 to 16
    rescaled to ``round(level * 255 / 16)``, from which ``round(value * 16 /
    255)`` gives the levels back; every fifth image, the first included, is a
    test image (1,437 + 360). The same 13 people wrote both parts, so a test
    result says nothing about other people's handwriting. ``photos`` are the
    two photographs of scikit-learn, with no test part. ``shapes`` are drawn
    by :func:`make_shapes`; the test images come from another random stream
    than the training images.

    ``mnist``, ``fashion_mnist``, ``cifar10`` and ``cifar100`` are read from
    ``<name>.npz`` in the cache folder, and fetched through
    ``keras.datasets`` and kept there where that file is missing or damaged.
    Keras shows a progress bar and verifies a checksum, for Fashion-MNIST
    that of gzip. Of processes that ask at once one fetches, the others wait.
    Any other name is a file of the reader's own in the cache folder: arrays
    ``x_train``, ``y_train``, ``x_test``, ``y_test``, with uint8 images
    ``(N, H, W, C)`` or gray ``(N, H, W)``, and either integer labels ``(N,)``
    or masks ``(N, H, W)``, which then are ``masks_train`` and ``masks_test``,
    too. ``masks_train``, ``masks_test`` and ``class_names`` may be added.

    A file is never half-read: one that does not match the checksum beside it
    or lacks an array is named in a warning and renamed to
    ``<name>.npz.damaged-<n>``. No other data set is ever put in the place of
    the one that was asked for.

    Args:
        name: One of the names above.
        **options: For ``shapes`` only: ``train=4000`` and ``test=1000``
            images, and ``difficulty``, ``rotation`` and ``seed`` as for
            :func:`make_shapes`.

    Returns:
        A :class:`Dataset`.

    Raises:
        DatasetUnavailable: If there is neither a file nor a way to fetch one.
        ValueError: If ``name`` is not a plain name, or not known (then it is a
            ``DatasetUnavailable``, too), or an option is unknown or out of range.

    Example:
        >>> from cnnbook.datasets import load
        >>> digits = load("digits")
        >>> digits.x_train.shape, digits.x_test.shape, digits.x_train.dtype.name
        ((1437, 8, 8, 1), (360, 8, 8, 1), 'uint8')
        >>> load("shapes", train=250, test=50)
        Dataset(250 + 50 images of shape (32, 32, 3), 10 classes)
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"name must be made of letters, digits, '_' and '-', got {name!r}; "
            f"known names are {', '.join(KNOWN)}."
        )
    if options and name != "shapes":
        raise ValueError(f"{name!r} takes no options, got {', '.join(sorted(options))}.")
    if name in EMBEDDED:
        return {"digits": _digits, "photos": _photos, "shapes": _shapes_set}[name](**options)
    return _from_cache(name)


def make_shapes(count, *, seed, difficulty=0.5, rotation=30.0):
    """Draws scenes with one object each, of ten classes, on a cluttered background.

    The classes are circle, square, triangle, pentagon, star, cross, ring,
    crescent, heart and arrow. Everything else about an image is drawn at
    random and tells nothing about its class: two color textures, the light,
    bars behind the object and in front of it, its place, size and angle, and
    noise. Whether the object is brighter or darker than what lies behind it
    is open in each color channel.

    The knobs scale the random draws and do not change them: the same seed
    gives the same scenes at another difficulty or rotation. The images of a
    short call are the first images of a longer one, and of 250 images from
    the start 25 are of each class. Another processor or release of NumPy may
    round a pixel differently.

    Accuracy on 1,000 test images after 8 epochs on 4,000, mean and range of
    three seeds at the default difficulty and rotation (Keras 3.15.1 on
    TensorFlow, printed by ``python -m benchmarks.shapes_difficulty``); chance
    is 0.100:

    ================================================= ========== ===== ==============
    model                                             parameters mean  range
    ================================================= ========== ===== ==============
    linear                                            30,730     0.137 0.127 to 0.154
    small CNN: two convolutions                       25,578     0.631 0.607 to 0.645
    better CNN: four, each with batch normalization   63,610     0.730 0.710 to 0.742
    ================================================= ========== ===== ==============

    Args:
        count: How many images, at least 0.
        seed: An integer of at least 0.
        difficulty: From 0 (a plain background, a large object near the
            middle) to 1 (low contrast, much clutter, noise and occlusion).
        rotation: The largest angle in degrees, from 0 to 180; each object is
            turned by an angle drawn evenly between minus and plus that.

    Returns:
        ``(images, labels, masks, boxes)``: uint8 images ``(count, 32, 32, 3)``,
        uint8 labels ``(count,)``, uint8 masks ``(count, 32, 32)`` that are 1
        where the object is seen, at least 60% of it, and int32 boxes
        ``(count, 4)`` around what is seen: ``(top, left, bottom, right)``,
        bottom and right excluded.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from cnnbook.datasets import make_shapes
        >>> images, labels, masks, boxes = make_shapes(4, seed=0)
        >>> images.shape, masks.shape, boxes.shape
        ((4, 32, 32, 3), (4, 32, 32), (4, 4))
    """
    return _draw_shapes("count", count, seed, 0, difficulty, rotation)


def _draw_shapes(count_name, count, seed, part, difficulty, rotation):
    from cnnbook._shared import arguments  # with Keras, which takes seconds

    count = arguments.integer(count_name, count, 0)
    seed = arguments.integer("seed", seed, 0)
    difficulty = arguments.number("difficulty", difficulty, at_least=0, at_most=1)
    rotation = arguments.number("rotation", rotation, at_least=0, at_most=180)
    images, labels, masks = _shapes.draw(count, (seed, part), difficulty, rotation)
    return images, labels, masks, _shapes.boxes(masks)


def _shapes_set(*, train=4000, test=1000, difficulty=0.5, rotation=30.0, seed=0, **unknown):
    if unknown:
        raise ValueError(
            f"'shapes' has no option {', '.join(sorted(unknown))}; "
            "it has train, test, difficulty, rotation and seed."
        )
    x, y, masks, boxes = _draw_shapes("train", train, seed, 0, difficulty, rotation)
    x_test, y_test, masks_test, boxes_test = _draw_shapes(
        "test", test, seed, 1, difficulty, rotation
    )
    return Dataset(
        x,
        y,
        x_test,
        y_test,
        _shapes.CLASS_NAMES,
        masks,
        masks_test,
        "drawn by cnnbook.datasets.make_shapes",
        "MIT, as cnnbook",
        boxes,
        boxes_test,
    )


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")[..., None]
    labels = digits.target.astype("uint8")
    test = np.arange(len(images)) % 5 == 0
    return Dataset(
        images[~test],
        labels[~test],
        images[test],
        labels[test],
        tuple("0123456789"),
        source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998, "
        "UCI Machine Learning Repository, doi:10.24432/C50P49 (its test part), "
        "through sklearn.datasets.load_digits",
        licence="CC BY 4.0, as the UCI repository states",
    )


def _photos():
    from sklearn.datasets import load_sample_image

    photos = np.stack([load_sample_image(f"{name}.jpg") for name in ("china", "flower")])
    return Dataset(
        photos.astype("uint8"),
        np.arange(2, dtype="uint8"),
        np.empty((0, *photos.shape[1:]), "uint8"),
        np.empty(0, "uint8"),
        ("china", "flower"),
        source="china.jpg by danielbuechele and flower.jpg by vultilion, from Flickr, "
        "through sklearn.datasets.load_sample_image",
        licence="CC BY 2.0, as scikit-learn states",
    )


def _cache_folder():
    folder = os.environ.get("CNNBOOK_DATA")
    if folder:
        return Path(folder).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("cnnbook", appauthor=False)


def _from_cache(name):
    path = _cache_folder() / f"{name}.npz"
    arrays, trouble = _kept(name, path)
    if arrays is None and name in DOWNLOADS:
        with _one_process_at_a_time(name, path):
            arrays, _ = _kept(name, path)  # it may be there now
            if arrays is None:
                arrays = _fetch(name, path, trouble)
    elif arrays is None:
        raise (_UnknownDataset if trouble == _no_file(path) else DatasetUnavailable)(
            f"There is no data set {name!r}: {trouble}, and it is not one of the known names, "
            f"{', '.join(KNOWN)}. A file of your own belongs at {path}, with the arrays "
            f"{', '.join(ARRAYS)}."
        )
    return _dataset(name, path, arrays)


def _no_file(path):
    return f"there is no file {path}"


def _kept(name, path):
    """(arrays, None) of a whole file; (None, what was there instead) where there is none."""
    check, trouble = functools.partial(_checked, name), _no_file(path)
    for _ in range(2):  # the second time finds what another process may have put right
        try:
            return files.read(path, (*ARRAYS, *MASKS, "class_names"), check), None
        except files.Damaged as damage:
            trouble = f"{path} was damaged"
            message = f"{path} is damaged: {damage}. {files.set_aside(path, damage.file_id)}"
            warnings.warn(message, stacklevel=4)
        except FileNotFoundError:
            break
        except OSError as error:
            raise DatasetUnavailable(f"{name!r}: {path} cannot be read: {error}.") from error
    return None, trouble


@contextlib.contextmanager
def _one_process_at_a_time(name, path):
    """Two downloads at once would write into each other's file in Keras's folder."""
    import filelock

    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            print(f"Another process fetches {name!r}; waiting for it.")
            lock.acquire()
    except OSError:  # nothing can be written here, and so nothing will be kept
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _checked(name, arrays):
    """The arrays in the form that Dataset promises; raises Damaged where they have another."""
    missing = [key for key in ARRAYS if key not in arrays]
    if missing:
        raise files.Damaged(f"it lacks {', '.join(missing)}")
    arrays = dict(arrays)
    for part in ("train", "test"):
        x, y, masks = (arrays.get(f"{kind}_{part}") for kind in ("x", "y", "masks"))
        if x.dtype != np.uint8 or x.ndim not in (3, 4):
            raise files.Damaged(f"x_{part} is {_described(x)}, not uint8 images (N, H, W, C)")
        x = x[..., None] if x.ndim == 3 else x
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.dtype.kind not in "iub" or y.shape not in ((len(x),), x.shape[:3]):
            raise files.Damaged(
                f"y_{part} is {_described(y)}, not a label or mask for each of {len(x)}"
            )
        if masks is not None and (masks.dtype != np.uint8 or masks.shape != x.shape[:3]):
            raise files.Damaged(
                f"masks_{part} is {_described(masks)}, not uint8 masks {x.shape[:3]}"
            )
        if y.min(initial=0) >= 0 and y.max(initial=0) < 256:
            y = y.astype("uint8")
        arrays[f"x_{part}"], arrays[f"y_{part}"] = x, y
    x, x_test = arrays["x_train"], arrays["x_test"]
    if x.shape[1:] != x_test.shape[1:]:
        raise files.Damaged(f"x_train has images {x.shape[1:]}, but x_test {x_test.shape[1:]}")
    if name in DOWNLOADS:
        _require_known_form(DOWNLOADS[name], arrays)
    return arrays


def _require_known_form(known, arrays):
    if arrays["x_train"].shape[1:] != known.image_shape:
        raise files.Damaged(
            f"its images are {arrays['x_train'].shape[1:]}, not {known.image_shape}"
        )
    for key in ("y_train", "y_test"):
        y, classes = arrays[key], len(known.class_names)
        if y.ndim != 1 or y.dtype != np.uint8 or y.max(initial=0) >= classes:
            raise files.Damaged(f"{key} are not labels from 0 to {classes - 1}")


def _described(array):
    return f"{array.dtype} {array.shape}"


def _fetch(name, path, trouble):
    import keras

    known = DOWNLOADS[name]
    try:
        (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
        if x.shape[1:] == (3, 32, 32):  # Keras's configuration says channels_first
            x, x_test = (np.moveaxis(images, 1, -1) for images in (x, x_test))
        arrays = (np.ascontiguousarray(array) for array in (x, y, x_test, y_test))
        arrays = _checked(name, dict(zip(ARRAYS, arrays, strict=True)))
    except Exception as error:  # Keras raises a bare Exception where there is no network
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetUnavailable(
            f"{name!r} is not available: {trouble}, and keras.datasets.{name}.load_data() "
            f"failed ({reason}; what it downloads, and may have left half, is in "
            f"{os.environ.get('KERAS_HOME', '~/.keras')}/datasets). "
            f"Put a file with the arrays {', '.join(ARRAYS)} at {path}, "
            f"or set CNNBOOK_DATA to the folder that has one. {known.closest}"
        ) from error
    try:
        files.write(path, arrays)
    except OSError as error:
        warnings.warn(f"{name!r} was fetched but not kept: {path}: {error}.", stacklevel=4)
    return arrays


def _dataset(name, path, arrays):
    known = DOWNLOADS.get(name)
    masks = [arrays.get(key) for key in MASKS]
    for i, key in enumerate(("y_train", "y_test")):
        if masks[i] is None and arrays[key].ndim == 3:
            masks[i] = arrays[key]
    names = arrays.get("class_names")
    names = None if names is None else tuple(str(n) for n in names.ravel())
    return Dataset(
        *(arrays[key] for key in ARRAYS),
        known.class_names if known else names,
        *masks,
        known.source if known else str(path),
        known.licence if known else "not stated in the file",
    )

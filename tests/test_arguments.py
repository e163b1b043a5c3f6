"""Each shared check of an argument, once: what it takes, what it refuses and with which words."""

import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from keras import ops
from support import to_numpy

from cnnbook._shared import arguments, windows


def assert_refused(message, function, *args, **options):
    with pytest.raises(ValueError) as error:
        function(*args, **options)
    assert message in str(error.value)


# Arrays


@pytest.mark.parametrize(
    "array",
    [2, 2.5, [1, 2], [[1.0], [2.0]], [True, False], np.arange(3, dtype="int8"), np.float16(1.5)],
    ids=repr,
)
def test_as_float_takes_real_numbers(array):
    tensor = arguments.as_float(x=array)
    assert keras.backend.standardize_dtype(tensor.dtype).startswith("float")
    np.testing.assert_array_equal(to_numpy(tensor), np.asarray(array, "float32"))


def test_as_float_promotes_as_keras():
    x, kernel, bias = arguments.as_float(
        x=np.ones(2, "float16"), kernel=np.ones(2, "float32"), bias=None, optional=("bias",)
    )
    assert keras.backend.standardize_dtype(x.dtype) == "float32"
    assert keras.backend.standardize_dtype(kernel.dtype) == "float32"
    assert bias is None


def test_as_float_keeps_half_precision():
    x = ops.cast([1.0], "bfloat16")
    assert keras.backend.standardize_dtype(arguments.as_float(x=x).dtype) == "bfloat16"


def test_as_float_takes_symbolic_tensors():
    x, y = arguments.as_float(x=keras.KerasTensor((None, 3), dtype="int32"), y=[1.0, 2.0, 3.0])
    assert isinstance(x, keras.KerasTensor) and x.dtype == "float32"
    assert not isinstance(y, keras.KerasTensor)


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (None, "got None."),
        (True, "got True."),
        (np.True_, "got np.True_."),
        ("one", "got 'one'."),
        (b"one", "got b'one'."),
        ({"x": 1}, "got {'x': 1}."),
        (np.ma.array([1.0, 2.0], mask=[True, False]), "got a masked array; fill it first."),
        (np.ones(2, "complex64"), "got dtype complex64."),
        (np.array([1, None]), "got dtype object."),
        (np.array(["a"]), "got dtype <U1."),
        (np.zeros(2, "datetime64[s]"), "got dtype datetime64[s]."),
        (1 + 2j, "got dtype complex"),
        ([[1, 2], [3]], "got a list that is none: "),
        ([1, None], "got a list that is none: "),
        (10**30, "got a int that is none: "),
        pytest.param(object(), "got a object that is none: ", id="object"),
    ],
    ids=repr,
)
def test_as_float_names_what_is_no_array(array, got):
    message = "kernel must be an array of real numbers, " + got
    assert_refused(message, arguments.as_float, x=[1.0], kernel=array)


def test_as_float_refuses_lists_of_texts():
    assert_refused("x must be an array of real numbers, got", arguments.as_float, x=["a", "b"])


def test_require_rank():
    arguments.require_rank("x", np.ones((1, 2)), 2)
    assert_refused(
        "x must have 3 dimensions, got shape (1, 2).",
        arguments.require_rank,
        "x",
        (np.ones((1, 2))),
        3,
    )


@pytest.mark.parametrize(
    ("given", "first"),
    [("channels_first", True), ("channels_last", False), (None, False)],
)
def test_is_channels_first(given, first):
    assert arguments.is_channels_first(given) is first


@pytest.mark.parametrize("given", ["NCHW", True, 1, b"channels_last", np.array(["channels_last"])])
def test_is_channels_first_refuses(given):
    message = f"data_format must be 'channels_first' or 'channels_last', got {given!r}."
    assert_refused(message, arguments.is_channels_first, given)


# Integers


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)], ids=repr)
def test_integer_takes_every_integer(value):
    got = arguments.integer("count", value, 0, 3)
    assert got == 3 and type(got) is int


def test_integer_takes_a_tensor():
    assert arguments.integer("count", ops.convert_to_tensor(3), 0) == 3


NO_INTEGERS = [True, np.True_, 1.0, "1", None, math.nan, np.array([1]), [1], 1j, object]


@pytest.mark.parametrize("value", [*NO_INTEGERS, -1, 10], ids=repr)
def test_integer_refuses(value):
    message = f"count must be an integer from 0 to 9, got {value!r}."
    assert_refused(message, arguments.integer, "count", value, 0, 9)


def test_integer_without_an_upper_limit():
    message = "count must be an integer of at least 1, got 0."
    assert_refused(message, arguments.positive_int, "count", 0)
    assert arguments.positive_int("count", 2**31 - 1) == 2**31 - 1
    for value in (2**31, 2**63, 10**30):
        message = f"count must be an integer from 1 to 2147483647, got {value}."
        assert_refused(message, arguments.positive_int, "count", value)


@pytest.mark.parametrize(
    ("value", "pair"), [(2, (2, 2)), ((1, 2), (1, 2)), ([np.int32(1), 2], (1, 2))]
)
def test_positive_pair(value, pair):
    assert arguments.positive_pair("strides", value) == pair


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), "strides must be an integer or a pair of integers, got (1, 2, 3)."),
        ((), "strides must be an integer or a pair of integers, got ()."),
        ((1, True), "strides must be an integer of at least 1, got True."),
        (0, "strides must be an integer of at least 1, got 0."),
    ],
)
def test_positive_pair_refuses(value, message):
    assert_refused(message, arguments.positive_pair, "strides", value)


@pytest.mark.parametrize(("axis", "place"), [(0, 0), (-1, 2), (np.int8(-3), 0), (2, 2)])
def test_as_axis_counts_from_the_front(axis, place):
    assert arguments.as_axis(axis, "x", np.ones((2, 3, 4))) == place


@pytest.mark.parametrize("axis", [*NO_INTEGERS, 3, -4, 2**63], ids=repr)
def test_as_axis_refuses(axis):
    message = f"axis must be an integer from -3 to 2 for x of shape (2, 3, 4), got {axis!r}."
    assert_refused(message, arguments.as_axis, axis, "x", np.ones((2, 3, 4)))


def test_a_number_has_no_axis():
    message = "axis must be left out for x of shape (), got 0."
    assert_refused(message, arguments.as_axis, 0, "x", np.ones(()))


def test_as_seed():
    generator = keras.random.SeedGenerator(1)
    assert arguments.as_seed(generator) is generator
    assert arguments.as_seed(0) == 0
    got = arguments.as_seed(np.int64(2**32 - 1))
    assert got == 2**32 - 1 and type(got) is int
    keras.random.uniform((1,), seed=got)


@pytest.mark.parametrize("seed", [*NO_INTEGERS, -1, 2**32, 2**63], ids=repr)
def test_as_seed_refuses(seed):
    message = (
        "seed must be an integer from 0 to 4294967295 or a keras.random.SeedGenerator, "
        f"got {seed!r}."
    )
    assert_refused(message, arguments.as_seed, seed)


# Numbers, flags and choices


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5), Fraction(1, 2)], ids=repr)
def test_number_takes_every_real_number(value):
    got = arguments.number("rate", value, at_least=0, below=1)
    assert got == 0.5 and type(got) is float


NO_NUMBERS = [True, np.True_, "0.5", None, math.nan, math.inf, -math.inf, 0.5j, [0.5], 10**400]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_number_refuses_what_is_no_finite_number(value):
    assert not arguments.is_number(value)
    assert_refused(f"rate must be a finite number, got {value!r}.", arguments.number, "rate", value)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        ({"above": 0}, 1e-9, 0, "above 0"),
        ({"at_least": 0}, 0, -1e-9, "of at least 0"),
        ({"below": 1}, 1 - 1e-9, 1, "below 1"),
        ({"at_most": 1}, 1, 1 + 1e-9, "at most 1"),
        ({"at_least": 0, "below": 1}, 0, 1, "of at least 0 and below 1"),
        ({"above": 0, "at_most": 1}, 1, 0, "above 0 and at most 1"),
    ],
)
def test_number_keeps_its_limits(limits, inside, outside, words):
    assert arguments.number("rate", inside, **limits) == inside
    message = f"rate must be a finite number {words}, got {outside!r}."
    assert_refused(message, arguments.number, "rate", outside, **limits)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_flag(value):
    got = arguments.flag("training", value)
    assert got == value and type(got) is bool


@pytest.mark.parametrize("value", [0, 1, "False", None, [], np.array(True)], ids=repr)
def test_flag_refuses(value):
    message = f"training must be True or False, got {value!r}."
    assert_refused(message, arguments.flag, "training", value)


def test_choice():
    assert arguments.choice("mode", "b", ("a", "b", "c")) == "b"
    assert arguments.choice("mode", None, ("a", None)) is None


@pytest.mark.parametrize("value", ["d", "", None, True, ["a"], np.array("a"), {"a": 1}], ids=repr)
def test_choice_refuses(value):
    message = f"mode must be 'a', 'b' or 'c', got {value!r}."
    assert_refused(message, arguments.choice, "mode", value, ("a", "b", "c"))


# Paddings


@pytest.mark.parametrize(
    ("padding", "amounts"),
    [
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 1), (0, 1))),
        (2, ((2, 2), (2, 2))),
        (np.int64(2), ((2, 2), (2, 2))),
        ([[0, 1], (np.int8(2), 3)], ((0, 1), (2, 3))),
        (np.array([[0, 1], [2, 3]]), ((0, 1), (2, 3))),
    ],
)
def test_pad_amounts(padding, amounts):
    assert windows.pad_amounts(padding, (5, 6), (3, 3), (1, 2)) == amounts


FORMS = "padding must be 'valid', 'same', an integer or ((top, bottom), (left, right)), got "


@pytest.mark.parametrize(
    ("padding", "message"),
    [
        ("full", f"{FORMS}'full'."),
        (None, f"{FORMS}None."),
        ((1, 2), f"{FORMS}(1, 2)."),
        (((1, 2),), f"{FORMS}((1, 2),)."),
        (np.ones((2, 2)), "padding must be an integer of at least 0, got 1.0."),
        (np.ones(2, int), f"{FORMS}[1, 1]."),
        (1.0, f"{FORMS}1.0."),
        (True, "padding must be an integer of at least 0, got True."),
        (((0, True), (0, 0)), "padding must be an integer of at least 0, got True."),
        (((0, 1.0), (0, 0)), "padding must be an integer of at least 0, got 1.0."),
        (-1, "padding must be an integer of at least 0, got -1."),
        (2**63, "padding must be an integer from 0 to 2147483647, got 9223372036854775808."),
    ],
    ids=repr,
)
def test_pad_amounts_refuses(padding, message):
    assert_refused(message, windows.pad_amounts, padding, (5, 6), (3, 3), (1, 2))

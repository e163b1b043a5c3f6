"""Tests for `cnnbook.skeleton` (chapter 00)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from support import drawn, to_numpy

from cnnbook.skeleton import double


def reference_double(x):
    """Eq. eq-skeleton by a loop in float64."""
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        y[index] = 2.0 * float(x[index])
    return y


@st.composite
def cases(draw):
    """An array of up to three axes."""
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return rng.normal(size=shape).astype("float32")


# FILL IN the tests of the chapter's functions in place of these: the five kinds for each.


@given(cases())
@drawn
def test_double_matches_reference(x):
    np.testing.assert_allclose(to_numpy(double(x)), reference_double(x), rtol=1e-6)


def test_double_by_hand():
    assert to_numpy(double([1.5, -2.0])).tolist() == [3.0, -4.0]


@given(cases())
@drawn
def test_double_is_linear(x):
    np.testing.assert_allclose(to_numpy(double(x + x)), 2 * to_numpy(double(x)), rtol=1e-6)


def test_double_refuses_text():
    with pytest.raises((ValueError, TypeError)):
        double("text")


@given(cases())
@drawn
def test_double_matches_keras(parity, x):
    parity(double, "keras.ops.multiply", double(x), ops.multiply(2.0, ops.convert_to_tensor(x)))

"""A seeded sample of the odd calls of `make hostile`, and whether the table holds every function.

What is odd is in `tests/hostile/odd.py`, what is wrong with an answer in `tests/hostile/judge.py`.
"""

import keras
import matplotlib
import numpy as np
import pytest
from hostile import judge
from hostile.calls import CALLS, NOT_CALLED, SLOW, kind_of, parameters_of, public
from hostile.known import KNOWN
from hostile.odd import REFUSED, is_refused, single_values, values_for

matplotlib.use("agg")

SHARE = 0.08
QUICK = [name for name in judge.names() if name not in SLOW]


def test_every_public_function_is_called():
    assert set(CALLS) == set(public()) - NOT_CALLED
    assert set(KNOWN) <= set(CALLS) and set(CALLS) >= SLOW


@pytest.mark.parametrize("name", judge.names())
def test_every_parameter_is_given_and_has_a_kind(name):
    parameters = parameters_of(public()[name])
    if name != "datasets.Dataset":
        assert set(CALLS[name]()) >= {p for p in parameters if p != "bias"}
    for parameter in parameters:
        assert kind_of(name.partition(".")[2], parameter) in REFUSED, parameter


@pytest.mark.parametrize("name", QUICK)
def test_valid_call_is_accepted(name):
    assert judge.call(name, {}) is None
    judge.valid_result(name)


@pytest.mark.parametrize("name", [name for name in QUICK if name not in KNOWN])
def test_odd_values(name):
    findings = [judge.call(name, odd) for odd in judge.sample(name, SHARE)]
    assert not any(findings), "\n".join(["", *(str(finding) for finding in findings if finding)])


@pytest.mark.parametrize("name", KNOWN)
def test_known_call_still_goes_wrong(name):
    _, parameter, label = KNOWN[name]
    valid = CALLS[name]()[parameter]
    assert judge.call(name, {parameter: (label, values_for(valid)[label])})


# The judge: each kind of problem is found


@pytest.fixture
def judged(monkeypatch):
    """What is found in a call of a function of one's own, `judged(f, x=...)`."""

    def found(function, label="odd", **arguments):
        monkeypatch.setattr(judge, "public", lambda: {"softmax.softmax": function})
        monkeypatch.setitem(judge.CALLS, "softmax.softmax", lambda: {})
        odd = {name: (label, value) for name, value in arguments.items()}
        finding = judge.call("softmax.softmax", odd)
        return finding and finding.kind

    return found


def test_a_result_is_accepted(judged):
    assert judged(lambda x: x, x=np.ones(2)) is None


def test_an_error_of_the_package_is_accepted(judged):
    from cnnbook._shared import arguments

    assert judged(lambda x: arguments.positive_int("x", x), x=-1) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda x: keras.ops.reshape(x, (7,)),
        lambda x: int("seven"),
        lambda x: x.missing,
        lambda x: 1 // 0,
    ],
)
def test_an_error_from_inside_a_library_is_found(judged, function):
    assert judged(function, x=np.ones(2)) == "deep"


def test_an_error_that_python_raises_inside_the_package_is_found(judged):
    from cnnbook._shared import windows

    assert judged(lambda x: windows.shifted_view(x, 1, (1, 1), (1, 1)), x=np.ones(2)) == "deep"


def test_nonsense_is_found(judged):
    assert judged(lambda logits: logits * np.nan, logits=np.ones(2)) == "silent"
    assert judged(lambda logits: logits * np.nan, logits=np.array([np.inf])) is None
    assert judged(lambda axis: 3, "text", axis="odd") == "silent"
    assert judged(lambda axis: 3, "minus one", axis=-1) is None


def test_what_takes_too_long_is_found(judged, monkeypatch):
    import time

    monkeypatch.setattr(judge, "SECONDS", 0.05)
    assert judged(lambda x: time.sleep(5), x=1) == "slow"


def test_none_is_refused_where_it_is_no_default():
    assert is_refused("array", "None", can_be_none=False)
    assert not is_refused("array", "None", can_be_none=True)
    assert not is_refused("text", "None", can_be_none=False)


def test_odd_values_have_the_labels_that_are_refused():
    labels = set(single_values()) | set(values_for(np.ones((2, 2), "float32")))
    assert set().union(*REFUSED.values()) <= labels

"""Makes a call with odd values and says what is wrong with what it did."""

import contextlib
import io
import random
import signal
import traceback
import warnings
from dataclasses import dataclass

import numpy as np
from keras import ops

from hostile.calls import CALLS, NOT_CALLED, PACKAGE, SLOW, can_be_none, kind_of, public
from hostile.odd import is_refused, values_for

SECONDS = 30  # for one call, on a busy machine too
SLOW_SECONDS = 60


@dataclass
class Finding:
    """One call that went wrong: "deep", "silent" or "slow"."""

    name: str
    odd: dict
    kind: str
    detail: str

    def __str__(self):
        values = ", ".join(f"{parameter}: {label}" for parameter, label in self.odd.items())
        return f"{self.kind}: {self.name}({values}): {self.detail}"


class _TooSlow(BaseException):
    pass


@contextlib.contextmanager
def _limited(seconds):
    def stop(*_):
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_own(error):
    """Whether the package itself raised the error, and not a library that it called."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_raised = last.filename.startswith(str(PACKAGE)) and last.line.startswith("raise")
    return isinstance(error, (ValueError, TypeError)) and is_raised


def _leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def _numbers(value):
    """The arrays of numbers in a value, as far as there are any."""
    arrays = []
    for leaf in _leaves(value):
        if isinstance(leaf, (float, int, np.ndarray, np.generic)) or ops.is_tensor(leaf):
            with contextlib.suppress(Exception):
                array = np.asarray(ops.convert_to_numpy(leaf))
                arrays.append(array.astype("float64"))
    return arrays


def _is_finite(arguments):
    """Whether all numbers that are given are finite, of moderate size, and there are some."""
    arrays = _numbers(arguments)
    return all(a.size and np.all(np.abs(a) < 1e15) for a in arrays)


def _silent(name, function, odd, arguments, result):
    """Why a result should not have been given, or None."""
    bare = name.partition(".")[2]
    for parameter, label in odd.items():
        none_too = can_be_none(bare, parameter, function)
        if is_refused(kind_of(bare, parameter), label, none_too):
            return "gives a result"
    if _is_finite(arguments) and any(np.isnan(a).any() for a in _numbers(result)):
        return "gives NaN for finite numbers"
    return None


def call(name, odd):
    """What went wrong with one call, or None; `odd` is {parameter: (label, value)}."""
    function = public()[name]
    labels = {parameter: label for parameter, (label, _) in odd.items()}
    arguments = CALLS[name]() | {parameter: value for parameter, (_, value) in odd.items()}
    quiet = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            _limited(SLOW_SECONDS if name in SLOW else SECONDS),
        ):
            warnings.simplefilter("ignore")
            result = function(**arguments)
            silent = _silent(name, function, labels, arguments, result)
    except _TooSlow:
        return Finding(name, labels, "slow", "takes too long")
    except Exception as error:
        if is_own(error) or "function" in labels.values():  # whatever the user's function raises
            return None
        place = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error}".split("\n")[0][:160]
        return Finding(name, labels, "deep", f"{detail} [{place.filename}:{place.lineno}]")
    finally:
        _close_figures()
    return Finding(name, labels, "silent", silent) if silent else None


def _close_figures():
    from matplotlib import pyplot

    pyplot.close("all")


def singles(name):
    """Every call with one odd value."""
    valid = CALLS[name]()
    return [
        {parameter: (label, value)}
        for parameter, given in valid.items()
        for label, value in values_for(given).items()
    ]


def drawn(name, count, seed):
    """Calls with two odd values, drawn."""
    generator = random.Random(f"{name} {seed}")
    valid = CALLS[name]()
    calls = []
    for _ in range(count if len(valid) > 1 else 0):
        pair = generator.sample(sorted(valid), 2)
        calls.append({p: generator.choice(list(values_for(valid[p]).items())) for p in pair})
    return calls


def names():
    return [name for name in public() if name not in NOT_CALLED]


def sample(name, share, seed=0):
    """A share of the calls with one odd value, the same ones for the same seed."""
    every = singles(name)
    generator = random.Random(f"{name} {seed}")
    return generator.sample(every, max(1, round(share * len(every))))


def valid_result(name):
    """What a valid call gives; an error is raised, as by anyone's call."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return public()[name](**CALLS[name]())
    finally:
        _close_figures()

"""Checks the answers to the exercises.

``check("convolution-2", answer)`` says whether an answer is right, and if it
is not, what is wrong with it. It gives a hint and never the answer.
"""

import importlib
import zlib

import numpy as np
from keras import ops

__all__ = ["Array", "Function", "Number", "Verdict", "check"]


class Verdict:
    """What `check` says: true when the answer is correct, and a message."""

    def __init__(self, name, problem=None):
        self.name, self.problem = name, problem

    def __bool__(self):
        return self.problem is None

    def __repr__(self):
        return f"{self.name}: {'correct.' if self else self.problem}"


def _as_array(value):
    """The value as a NumPy array of numbers, or None where it is not one."""
    try:
        array = np.asarray(value if isinstance(value, np.ndarray) else ops.convert_to_numpy(value))
    except Exception:
        return None
    return array if array.dtype.kind in "biuf" else None


def _agree(got, expected, tolerance):
    return got.shape == expected.shape and np.allclose(
        got, expected, rtol=tolerance, atol=tolerance
    )


def _compare(got, expected, tolerance):
    """What is wrong with got, in words, or None; the expected values stay secret."""
    if got is None:
        return "the answer is not a number or an array of numbers."
    if got.shape != expected.shape:
        return f"the shape is {got.shape}, but {expected.shape} was expected."
    if not np.all(np.isfinite(got)):
        return "there are values in it that are not finite."
    if _agree(got, expected, tolerance):
        return None
    if expected.ndim == 0:
        return "the number is too large." if got > expected else "the number is too small."
    wrong = ~np.isclose(got, expected, rtol=tolerance, atol=tolerance)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{wrong.sum()} of {wrong.size} values are wrong, the first at index {first}."


class Array:
    """An exercise whose answer is an array.

    Args:
        solution: A function of no arguments that computes the right answer.
        hint: A sentence that helps and does not tell.
        mistakes: Pairs of a plausible wrong answer and what to say to it.
        tolerance: Relative and absolute.
    """

    def __init__(self, solution, *, hint, mistakes, tolerance=1e-4):
        self.solution, self.hint = solution, hint
        self.mistakes, self.tolerance = mistakes, tolerance

    def judge(self, answer, seed):
        """What is wrong with the answer, or None."""
        got = _as_array(answer)
        expected = _as_array(self.solution())
        problem = _compare(got, expected, self.tolerance)
        if problem:
            for wrong, message in self.mistakes:
                if got is not None and _agree(got, _as_array(wrong), self.tolerance):
                    return message
        return problem


class Number(Array):
    """An exercise whose answer is one number; arguments as for `Array`."""

    def judge(self, answer, seed):
        got = _as_array(answer)
        if isinstance(answer, bool) or got is None or got.size != 1:
            return f"a number was expected, got {type(answer).__name__}."
        return super().judge(got.reshape(()), seed)


class Function(Array):
    """An exercise whose answer is a function, tried on hidden cases.

    Args:
        solution: A function that answers the exercise.
        cases: A function of a NumPy random generator that draws one tuple of
            positional arguments; called ten times.
        hint, mistakes, tolerance: As for `Array`; here the wrong answers are functions.
    """

    def __init__(self, solution, cases, **options):
        super().__init__(solution, **options)
        self.cases = cases

    def judge(self, answer, seed):
        if not callable(answer):
            return f"a function was expected, got {type(answer).__name__}."
        rng = np.random.default_rng(seed)
        drawn = [self.cases(rng) for _ in range(10)]
        expected = [_as_array(self.solution(*_copies(case))) for case in drawn]
        answers = []
        for case, right in zip(drawn, expected, strict=True):
            given = _copies(case)
            try:
                got = _as_array(answer(*given))
            except Exception as error:
                return f"{_describe(case)} it raised {type(error).__name__}: {error}"
            if not all(np.array_equal(a, b) for a, b in zip(given, case, strict=True)):
                return f"{_describe(case)} it changed its arguments."
            answers.append(got)
            problem = _compare(got, right, self.tolerance)
            if problem:
                return self._known_mistake(answer, drawn) or f"{_describe(case)} {problem}"
        return None

    def _known_mistake(self, answer, drawn):
        for wrong, message in self.mistakes:
            try:
                pairs = [
                    (_as_array(answer(*_copies(c))), _as_array(wrong(*_copies(c)))) for c in drawn
                ]
            except Exception:
                continue
            if all(a is not None and _agree(a, b, self.tolerance) for a, b in pairs):
                return message
        return None


def _copies(case):
    return tuple(np.array(a) if isinstance(a, np.ndarray) else a for a in case)


def _describe(case):
    def short(value):
        if isinstance(value, np.ndarray) and value.size > 6:
            return f"array{value.shape}"
        return repr(value.tolist() if isinstance(value, np.ndarray) else value)

    return f"called with ({', '.join(short(a) for a in case)}),"


def _find(name):
    topic = name.rpartition("-")[0] if isinstance(name, str) else ""
    if topic.isidentifier():
        try:
            module = importlib.import_module(f"cnnbook.exercises.{topic}")
        except ModuleNotFoundError:
            module = None
        if module and name in module.EXERCISES:
            return module.EXERCISES[name]
        if module:
            raise ValueError(f"There is no exercise {name!r}; try {', '.join(module.EXERCISES)}.")
    raise ValueError(f"There is no exercise {name!r}; names look like 'convolution-2'.")


def check(name, answer):
    """Judges the answer to an exercise.

    Args:
        name: The exercise's name, for example ``"convolution-2"``.
        answer: A number, an array or a function, as the exercise asks.

    Returns:
        A :class:`Verdict`, true when the answer is correct; printed, it says
        what is wrong and gives a hint, never the answer. There is no verdict
        (``None``) on an answer that is still ``None`` or ``...``.

    Raises:
        ValueError: If there is no exercise of that name.

    Example:
        >>> check("convolution-1", None)
        >>> check("convolution-1", 0)  # doctest: +ELLIPSIS
        convolution-1: not yet: the number is too small. Hint: ...
    """
    exercise = _find(name)
    if answer is None or answer is Ellipsis:
        return None
    problem = exercise.judge(answer, seed=zlib.crc32(name.encode()))
    return Verdict(name, problem and f"not yet: {problem} Hint: {exercise.hint}")

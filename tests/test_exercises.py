"""Tests for `cnnbook.exercises`: every checker, from its own solution and mistakes."""

import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from keras import ops

import cnnbook.exercises
from cnnbook.exercises import Array, Function, Number, check

TOPICS = sorted(m.name for m in pkgutil.iter_modules(cnnbook.exercises.__path__))
EXERCISES = {
    name: exercise
    for topic in TOPICS
    for name, exercise in importlib.import_module(f"cnnbook.exercises.{topic}").EXERCISES.items()
}


def solution(exercise):
    return exercise.solution if isinstance(exercise, Function) else exercise.solution()


@pytest.mark.parametrize("name", EXERCISES)
def test_accepts_its_solution(name):
    assert check(name, solution(EXERCISES[name])), check(name, solution(EXERCISES[name]))


@pytest.mark.parametrize("name", EXERCISES)
def test_rejects_three_plausible_mistakes_each_with_its_message(name):
    exercise = EXERCISES[name]
    assert len(exercise.mistakes) >= 3
    for wrong, message in exercise.mistakes:
        verdict = check(name, wrong)
        assert not verdict
        assert message in repr(verdict)
        assert exercise.hint in repr(verdict)
    assert len({message for _, message in exercise.mistakes}) == len(exercise.mistakes)


@pytest.mark.parametrize("name", [n for n, e in EXERCISES.items() if not isinstance(e, Function)])
def test_accepts_tensors_and_rejects_text(name):
    exercise = EXERCISES[name]
    assert check(name, ops.convert_to_tensor(np.asarray(solution(exercise), "float32")))
    assert not check(name, "forty-two")
    assert not check(name, np.nan)


@pytest.mark.parametrize("name", [n for n, e in EXERCISES.items() if isinstance(e, Number)])
def test_messages_keep_the_answer(name):
    exercise = EXERCISES[name]
    answer = f"{float(exercise.solution()):g}"
    words = exercise.hint.split() + [w for _, m in exercise.mistakes for w in m.split()]
    assert answer not in [word.strip(".,;:()") for word in words]


def test_every_chapter_has_four():
    counts = {t: sum(n.rpartition("-")[0] == t for n in EXERCISES) for t in TOPICS}
    assert TOPICS
    assert min(counts.values()) >= 4, counts
    chapters = (Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb")
    assert {p.stem[3:] for p in chapters} <= set(TOPICS)


def double(x):
    return 2 * x


FUNCTION = Function(
    double,
    lambda rng: (rng.normal(size=3),),
    hint="Twice.",
    mistakes=[(lambda x: x, "That is once.")],
)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (3, "a function was expected, got int"),
        (lambda x: x, "That is once."),
        (lambda x: 2 * x[:2], r"the shape is (2,), but (3,) was expected"),
        (lambda x: x.sum() / 0.0 * x, "values in it that are not finite"),
        (lambda x: x.undefined, "raised AttributeError"),
        (lambda x: x.__imul__(2), "it changed its arguments"),
        (lambda x: "text", "not a number or an array"),
        (lambda x: 2 * x + (np.arange(3) == 1), "1 of 3 values are wrong, the first at index (1,)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_function_says_what_is_wrong(answer, problem):
    assert problem in FUNCTION.judge(answer, seed=0)
    assert FUNCTION.judge(double, seed=0) is None


def test_number_says_what_is_wrong():
    number = Number(lambda: 3.0, hint="h", mistakes=[(6.0, "Twice too much.")])
    assert number.judge(3, seed=0) is None
    assert number.judge(np.float64(3.0), seed=0) is None
    assert number.judge(6, seed=0) == "Twice too much."
    assert number.judge(4, seed=0) == "the number is too large."
    assert number.judge(2, seed=0) == "the number is too small."
    assert "a number was expected, got list" in number.judge([1, 2], seed=0)
    assert "a number was expected, got bool" in number.judge(True, seed=0)


def test_array_says_what_is_wrong():
    array = Array(lambda: [[1.0, 2.0]], hint="h", mistakes=[])
    assert array.judge([[1, 2]], seed=0) is None
    assert "the shape is (2,), but (1, 2)" in array.judge([1, 2], seed=0)
    assert "1 of 2 values are wrong, the first at index (0, 1)" in array.judge([[1, 3]], seed=0)


@pytest.mark.parametrize("name", ["convolution-99", "nonsense", "a b-1", "nowhere-1", 3])
def test_unknown_exercise(name):
    with pytest.raises(ValueError, match=str(name)):
        check(name, 1)

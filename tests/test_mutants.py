"""The program that asks the tests whether they notice a change."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

mutants = importlib.import_module("tools.mutants")

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["1: a < b -> a <= b"]),
        ("a + b", ["1: a + b -> a - b"]),
        ("x -= y", ["1: x -= y -> x += y"]),
        ("a and b", ["1: a and b -> a or b"]),
        ("not a", ["1: not a -> a"]),
        ("f = True", ["1: True -> False"]),
        ("f = 2", ["1: 2 -> 3"]),
        ("raise ValueError(f'{1 + 1}')", ["1: raise ValueError(f'{1 + 1}') -> pass"]),
        ("f(x)", ["1: f(x) -> pass"]),
        ("zip(a, strict=True)", ["1: zip(a, strict=True) -> pass"]),
        ("'''Text with 3 numbers.'''", []),
    ],
)
def test_one_change_at_a_time(source, expected):
    assert [name for name, _ in mutants.mutants_of(source)] == expected


def test_a_mutant_differs_in_one_place():
    source = "def f(a, b):\n    return a * b + 1\n"
    texts = [text for _, text in mutants.mutants_of(source)]
    assert sorted(texts) == sorted(
        f"def f(a, b):\n    return {change}\n" for change in ("a * b - 1", "a / b + 1", "a * b + 2")
    )


def test_every_module_has_tests_that_judge_it():
    package = ROOT / "cnnbook"
    with_code = {
        path.relative_to(package).with_suffix("").as_posix()
        for path in package.rglob("*.py")
        if "def " in path.read_text()
    }
    assert set(mutants.modules()) >= with_code


def test_what_computes_the_same_is_left_out():
    jobs = [("pooling", "3: a < b -> a <= b", ""), ("pooling", "9: 1 -> 2", "")]
    known = {"pooling": {"a < b -> a <= b": "they are never equal"}}
    assert mutants.without_equivalent(jobs, known) == jobs[1:]


def test_every_equivalent_mutant_is_one_of_today():
    for module, known in mutants.equivalent().items():
        source = (ROOT / "cnnbook" / f"{module}.py").read_text()
        names = {name.partition(": ")[2] for name, _ in mutants.mutants_of(source)}
        assert set(known) <= names, module
        assert all(known.values()), f"a reason for each in {module}"


def test_a_mutant_that_no_test_notices_survives(tmp_path):
    """Of a small tree: the sum is tested, the difference is not."""
    for folder in ("cnnbook", "tests", "book", "notebooks", "benchmarks", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cnnbook" / "__init__.py").touch()
    (tmp_path / "cnnbook" / "tiny.py").write_text(
        "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a - b\n"
    )
    (tmp_path / "tests" / "test_tiny.py").write_text(
        "from cnnbook.tiny import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
    )
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    program = f"""
from pathlib import Path
from tools import mutants

mutants.ROOT = Path({str(tmp_path)!r})
source = (mutants.ROOT / "cnnbook" / "tiny.py").read_text()
mutants.tests_of = lambda module: ["tests/test_tiny.py"]
jobs = [("tiny", name, text) for name, text in mutants.mutants_of(source)]
print(mutants.run(jobs + mutants.controls(["tiny"]), report=lambda *a, **k: None))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert eval(done.stdout) == {
        ("tiny", "2: a + b -> a - b"): True,
        ("tiny", "6: a - b -> a + b"): False,
        ("tiny", "0: nothing"): False,
    }

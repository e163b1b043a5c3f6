"""The list of chapters, what is made from it, and the command that writes a new chapter."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

for needed in ("jupytext", "ruff"):  # only the book's environment has both
    pytest.importorskip(needed)

command = importlib.import_module("tools.chapter")
chapters = importlib.import_module("tools.chapters")
registration = importlib.import_module("tools.registration")

ROOT = Path(__file__).parents[1]
CONTENTS = chapters.read_contents()
MISSING = [c for c in CONTENTS.chapters if c.name not in chapters.existing_names(CONTENTS)]


@pytest.fixture
def tree(tmp_path):
    """A copy of what the repository holds, without its history and its environments."""
    for name in ("benchmarks", "book", "cnnbook", "notebooks", "tests", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "at_scale")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("README.md", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def read_all(root):
    return {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


# The list


def test_the_list_is_complete():
    assert [c.number for c in CONTENTS.chapters] == list(range(1, 35))
    names = [c.name for c in CONTENTS.chapters]
    assert len(set(names)) == 34 and all(name.isidentifier() for name in names)
    assert (names[0], names[17], names[33]) == ("convolution", "metrics", "scaling")
    assert [len(part.chapters) for part in CONTENTS.parts] == [7, 2, 4, 4, 4, 3, 6, 4]


def test_each_line_of_the_list_is_short_and_continues_its_heading():
    for module in (*CONTENTS.chapters, *CONTENTS.others):
        assert len(module.holds) <= 70 and not module.holds.endswith(".")
    for chapter in CONTENTS.chapters:
        assert len(chapter.after) <= 90 and not chapter.after.endswith("."), chapter
        assert chapter.after[0].islower(), chapter  # "after it you can ..."


def test_what_is_made_from_the_list_is_up_to_date():
    assert not registration.outdated(), "make chapters"


def test_a_page_of_no_module_is_found():
    pages = {p.stem for p in (ROOT / "book" / "api").glob("*.md")}
    present = CONTENTS.only(chapters.existing_names(CONTENTS))
    assert pages == {m.name for m in (*present.chapters, *present.others)}


def test_an_edit_by_hand_is_undone(tree, capsys):
    assert registration.outdated(tree) == {}
    readme = tree / "README.md"
    before = readme.read_text("utf-8")
    readme.write_text(before.replace("| 03 | `pooling` |", "| 03 | `puddles` |"), "utf-8")
    (tree / "book" / "api" / "pooling.md").unlink()
    registration.main(tree)
    assert capsys.readouterr().out == "README.md written.\nbook/api/pooling.md written.\n"
    assert readme.read_text("utf-8") == before


@pytest.mark.parametrize("text", ["begin: a\nend: b\n", "begin: a\nend: a\nbegin: a\nend: a\n"])
def test_a_region_that_is_not_there_once_is_an_error(text):
    with pytest.raises(ValueError, match="regions 'a', but one was expected"):
        registration.replace_region(text, "a", "new")


def test_a_region_keeps_what_is_around_it():
    text = "x\n# begin: a, made\nold\n# end: a\ny\n# begin: ab\n# end: ab\n"
    assert registration.replace_region(text, "a", "new") == text.replace("old", "new")


# A new chapter


def test_a_new_chapter_is_written_and_registered(tree, capsys):
    assert command.main(["metrics", "evaluation"], tree) == 0
    written = capsys.readouterr().out
    for path in (
        *("cnnbook/metrics.py", "cnnbook/exercises/metrics.py", "tests/test_metrics.py"),
        *("notebooks/18_metrics.ipynb", "book/api/metrics.md"),
    ):
        assert (tree / path).exists() and f"{path} written." in written
    toc = yaml.safe_load((tree / "_toc.yml").read_text("utf-8"))
    (part,) = (p for p in toc["parts"] if p["caption"] == "Evaluation")
    assert part["chapters"] == [{"file": "notebooks/18_metrics"}]
    for path, line in {
        "README.md": "| 18 | `metrics` | report accuracy",
        "book/intro.md": "| 18 | [Metrics](../notebooks/18_metrics.ipynb) | report accuracy",
        "book/api.md": "| {py:mod}`~cnnbook.metrics` | accuracy, the",
        "_toc.yml": "          - file: book/api/metrics",
        "cnnbook/__init__.py": "    18 metrics ",
    }.items():
        assert line in (tree / path).read_text("utf-8"), path
    assert registration.outdated(tree) == {}


def test_the_tests_of_a_new_chapter_pass_and_the_contract_says_what_is_missing(tree):
    command.add_chapter("metrics", root=tree)
    tests = ["cnnbook/metrics.py", *(f"tests/test_{n}.py" for n in ("metrics", "exercises"))]
    chosen = "metrics or test_contract or every_chapter_has"
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", "-k", chosen]
    pytest_ += [*tests, "tests/test_contract.py"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(pytest_, cwd=tree, env=environment, capture_output=True, text=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    names = sorted(line.split("::")[1].split()[0] for line in failed)
    missing = ["test_every_function_is_compared_on_every_backend"]
    assert names == [*missing, "test_nothing_is_left_to_be_filled_in"], done.stdout
    for problem in (
        'cnnbook/metrics.py:1: """FILL IN what the module is about',
        "FILL IN the experiment",
        "tests/test_metrics.py:29: # FILL IN the tests",
        "metrics.double is not compared on jax",
    ):
        assert problem in done.stdout, problem


def test_every_chapter_to_come_is_written_without_a_complaint_of_the_linter(tree):
    for chapter in MISSING:
        command.add_chapter(chapter.name, chapter.part, tree)
    for options in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *options, "--no-cache", "."]
        done = subprocess.run(ruff, cwd=tree, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    notebooks = {p.stem for p in (tree / "notebooks").glob("[0-9]*.ipynb")}
    assert notebooks == {c.stem for c in CONTENTS.chapters}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["metric"], "has no chapter 'metric': did you mean 'metrics'?"),
        (["xyzzy", "evaluation"], "has no chapter 'xyzzy': add it to the list first"),
        ([""], "has no chapter ''"),
        (["../metrics"], "has no chapter '../metrics'"),
        (["metrics", "evaluations"], "there is no part 'evaluations'; the parts are building_bl"),
        (["metrics", "practice"], "metrics belongs to the part 'evaluation', not to 'practice'"),
        (["pooling", "building_blocks"], "the chapter pooling exists already: cnnbook/pooling.py"),
        (["datasets"], "has no chapter 'datasets'"),
    ],
)
def test_what_is_no_new_chapter_is_refused(tree, capsys, arguments, problem):
    before = read_all(tree)
    assert command.main(arguments, tree) == 1
    captured = capsys.readouterr()
    assert problem in captured.err and captured.out == ""
    assert read_all(tree) == before


@pytest.mark.parametrize("path", ["tests/test_metrics.py", "notebooks/18_metrics.ipynb"])
def test_a_file_of_the_chapter_that_is_there_is_kept(tree, capsys, path):
    (tree / path).write_text("mine")
    before = read_all(tree)
    assert command.main(["metrics"], tree) == 1
    assert f"the chapter metrics exists already: {path}" in capsys.readouterr().err
    assert read_all(tree) == before


@pytest.mark.parametrize("last", [0, 1, 3, 5, 8])
def test_a_write_that_fails_midway_leaves_nothing(tree, capsys, monkeypatch, last):
    before = read_all(tree)
    replace, done = os.replace, []

    def fail_later(source, target):
        if len(done) == last:
            raise OSError("no space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_later)
    assert command.main(["metrics"], tree) == 1
    assert "nothing was written: no space left on device" in capsys.readouterr().err
    assert read_all(tree) == before

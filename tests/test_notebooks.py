"""The notebooks' rules: what a stored chapter must look like. Nothing is executed here."""

import ast
import importlib
import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest
from first_edition import FIGURES as FIRST_EDITION

from cnnbook.exercises import check

ROOT = Path(__file__).parents[1]
TAG = "nbval-ignore-output"
WIDTH = 84  # characters of a line of code that fit the page
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
OTHERS = sorted(
    p
    for folder in (ROOT / "notebooks" / "at_scale", ROOT / "book")
    for p in folder.rglob("*.ipynb")
    if ".ipynb_checkpoints" not in p.parts
)
REQUIRED = ["Overview", "Experiment", "In practice", "Exercises", "Summary"]
FENCED = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)
MACHINE_PATH = re.compile(
    "|".join(
        [
            re.escape(f"{ROOT}/"),
            re.escape(f"{Path.home()}/"),
            *(f"/{folder}/" for folder in ("home", "root", "tmp", "Users")),
        ]
    )
)


def read(path):
    return nbformat.read(path, as_version=4)


SECOND_EDITION = [path for path in CHAPTERS + OTHERS if path.stem not in FIRST_EDITION]


def pytest_id(path):
    return path.stem


every_notebook = pytest.mark.parametrize("path", CHAPTERS + OTHERS, ids=pytest_id)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=pytest_id)


def code_cells(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def count_statements(cell):
    """What a cell does, however long its lines are."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(parse(cell)))


def is_tagged(cell):
    return TAG in cell.metadata.get("tags", [])


def markdown(notebook):
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def images(cell):
    """The outputs that are pictures."""
    return [o for o in cell.outputs if any(k.startswith("image/") for k in o.get("data", {}))]


def texts(cell):
    """What the cell's outputs say in words."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield data


def parse(cell):
    """The cell's syntax tree, lines of IPython's own left out."""
    return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE))


def asserts(cell):
    return any(isinstance(node, ast.Assert) for node in ast.walk(parse(cell)))


def headings(notebook, level):
    text = FENCED.sub("", markdown(notebook))
    return re.findall(rf"^{'#' * level} +(.+?)\s*$", text, re.MULTILINE)


def count_words(text):
    """Words of the prose: no equations, no code, no names of directives and labels."""
    text = re.sub(r"\$\$.+?\$\$[ \t]*(\([\w:-]+\))?", " ", text, flags=re.DOTALL)
    text = re.sub(r"\$[^$\n]+\$", " x ", text)
    text = re.sub(r"^\s*([`:~]{3,}.*|:[\w-]+:.*|\([\w:-]+\)=)$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)|\{[\w:]+\}|`", " ", text)
    return len(re.findall(r"\w[\w'’.-]*", text))


def test_there_are_chapters():
    assert CHAPTERS, "notebooks/ holds no chapter"


# What is quoted


# benchmark: the number of the chapter that shows its table, and the targets that it misses
QUOTED = {
    "convolution": ("01", set()),
    "training": ("12", {"training with augmentation, to PyTorch"}),
    "compression": (
        "17",
        {"int8 file, times as fast as float", "80% pruned, points below float"},
    ),
}


@pytest.mark.parametrize("name", QUOTED)
def test_a_chapter_quotes_its_benchmark(name):
    number, missed = QUOTED[name]
    pytest.importorskip("keras")
    benchmark = importlib.import_module(f"benchmarks.{name}")
    (chapter,) = (path for path in CHAPTERS if path.name.startswith(number))
    record = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))
    assert benchmark.page_table(record) in markdown(read(chapter))
    assert {row["what"] for row in benchmark.targets(record) if not row["met"]} == missed


def test_chapter_13_quotes_pytorchs_logits():
    logits = importlib.import_module("torch_reference").LOGITS
    code = "\n".join(c.source for c in code_cells(read(CHAPTERS[12])))
    quoted = [" ".join(f"{z:.4f}" for z in row) for row in logits]
    assert len(quoted) == 2 and all(row in code for row in quoted)


@pytest.mark.parametrize("path", [p for p in OTHERS if p.parent.name == "at_scale"], ids=pytest_id)
def test_a_full_size_page_begins_with_what_was_run(path):
    notebook = read(path)
    quoted = re.search(r"```text\n(.*?)\n```", notebook.cells[0].source, re.DOTALL)[1]
    assert quoted.startswith("hardware: ") and "test accuracy" in quoted
    assert quoted in [text.strip() for cell in code_cells(notebook) for text in texts(cell)]


# Every notebook


@every_notebook
def test_form_is_canonical(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata.language_info) <= {"name", "pygments_lexer"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "mystnb"}, cell.metadata


@every_notebook
def test_is_small(path):
    assert path.stat().st_size < 1.5e6


@every_notebook
def test_cells_were_executed_in_order(path):
    counts = [c.execution_count for c in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1))


@every_notebook
def test_no_output_is_an_error(path):
    kinds = {o.output_type for c in code_cells(read(path)) for o in c.outputs}
    assert "error" not in kinds


@every_notebook
def test_tags(path):
    cells = code_cells(read(path))
    tags = {t for c in cells for t in c.metadata.get("tags", [])}
    assert not tags & {"nbval-skip", "raises-exception", "skip-execution"}
    tagged = sum(map(is_tagged, cells))
    assert tagged <= len(cells) / 4, f"{tagged} of {len(cells)} code cells are tagged {TAG}"


@every_notebook
def test_untagged_outputs_are_the_same_everywhere(path):
    for cell in code_cells(read(path)):
        if is_tagged(cell):
            continue
        assert all(o.get("name") != "stderr" for o in cell.outputs), cell.source
        for text in texts(cell):
            assert not re.search(r"0x[0-9a-f]{6,}", text), text


@every_notebook
def test_what_a_tagged_cell_shows_is_asserted(path):
    """After a tagged cell, and before the next, a cell asserts; pictures speak for themselves."""
    cells = code_cells(read(path))
    open_claim = None
    for cell in cells[1:]:  # the first is the set-up
        words = re.sub(r"<Figure size [^>]*>", "", "".join(texts(cell))).strip()
        is_picture = images(cell) and not words
        if is_tagged(cell) and not is_picture:
            assert open_claim is None, f"nothing is asserted after\n{open_claim}"
            open_claim = cell.source
        elif not is_tagged(cell) and asserts(cell):
            open_claim = None
    assert open_claim is None, f"nothing is asserted after\n{open_claim}"


@every_notebook
def test_never_three_code_cells_in_a_row(path):
    assert "codecodecode" not in "".join(c.cell_type for c in read(path).cells)


@every_notebook
def test_code_cells_are_short(path):
    assert max(map(count_statements, code_cells(read(path)))) <= 25


@every_notebook
def test_code_fits_the_page(path):
    for cell in code_cells(read(path)):
        assert not [line for line in cell.source.split("\n") if len(line) > WIDTH]


@every_notebook
def test_code_is_portable(path):
    for cell in code_cells(read(path)):
        assert not re.search(r"\bpip3? +install\b", cell.source), cell.source
        hard = (
            r"environ\[\s*[\"']KERAS_BACKEND[\"']\s*\]\s*=|env +KERAS_BACKEND|export +KERAS_BACKEND"
        )
        assert not re.search(hard, cell.source), cell.source


@every_notebook
def test_no_path_of_a_machine(path):
    for cell in read(path).cells:
        outputs = texts(cell) if cell.cell_type == "code" else []
        for text in [cell.source, *outputs]:
            assert not MACHINE_PATH.search(text), MACHINE_PATH.search(text)


@every_notebook
def test_pictures_have_alternative_text(path):
    for cell in code_cells(read(path)):
        if images(cell):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 3, f"alternative text {alt!r} of\n{cell.source}"


@pytest.mark.parametrize("path", SECOND_EDITION, ids=pytest_id)
def test_figures_are_named_and_captioned(path):
    names = []
    for cell in code_cells(read(path)):
        if images(cell):
            figure = cell.metadata["mystnb"]["figure"]
            assert len(figure["caption"].split()) >= 8
            names.append(figure["name"])
    topic = path.stem.partition("_")[2] if path in CHAPTERS else path.stem
    assert all(re.fullmatch(rf"fig-{topic}-[a-z-]+", name) for name in names), names
    assert len(set(names)) == len(names)


# Chapters


@every_chapter
def test_rhythm(path):
    kinds = [c.cell_type for c in read(path).cells]
    assert 30 <= len(kinds) <= 60
    assert set(kinds) == {"code", "markdown"}


@every_chapter
def test_most_code_cells_are_very_short(path):
    assert statistics.median(map(count_statements, code_cells(read(path)))) <= 7


@every_chapter
def test_word_count(path):
    assert 1500 <= count_words(markdown(read(path))) <= 3000


@every_chapter
def test_headings(path):
    notebook = read(path)
    assert notebook.cells[0].source.startswith("# ")
    assert len(headings(notebook, 1)) == 1
    sections = headings(notebook, 2)
    assert 4 <= len(sections) <= 8, sections
    names = [s.partition(":")[0] for s in sections]
    assert [n for n in names if n in REQUIRED] == REQUIRED
    assert names[0] == "Overview"
    assert names[-4:] == REQUIRED[1:]


def without_the_package(cell):
    """The set-up cell less what it imports from the package, and less the style of figures."""
    tree = parse(cell)

    def is_own(node):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        return any(n.split(".")[0] == "cnnbook" for n in names)

    own = "plotting.set_style()"
    tree.body = [n for n in tree.body if not is_own(n) and ast.unparse(n) != own]
    return ast.unparse(tree)


@every_chapter
def test_set_up_is_the_same_in_every_chapter(path):
    setup = code_cells(read(path))[0]
    assert is_tagged(setup)
    assert "keras.utils.set_random_seed(0)" in setup.source
    assert without_the_package(setup) == without_the_package(code_cells(read(CHAPTERS[0]))[0])


def exercise_labels(notebook, directive):
    """The labels that the directives of one kind name, in order."""
    text = markdown(notebook)
    if directive == "solution-start":
        return re.findall(r"^[`:]{3,}\{solution-start\} *(\S+)", text, re.MULTILINE)
    return re.findall(
        r"^[`:]{3,}\{exercise\}[^\n]*\n(?::\w+:[^\n]*\n)*?:label: *(\S+)", text, re.MULTILINE
    )


@every_chapter
def test_exercises_can_be_checked(path):
    notebook = read(path)
    labels = exercise_labels(notebook, "exercise")
    topic = path.stem.partition("_")[2]
    assert labels == [f"{topic}-{i}" for i in range(1, len(labels) + 1)]
    assert len(labels) >= 4
    code = "\n".join(c.source for c in code_cells(notebook))
    assert set(re.findall(r"\bcheck\(\s*[\"']([^\"']+)", code)) == set(labels)
    for label in labels:
        assert check(label, None) is check(label, ...) is None
    stubs = [c for c in code_cells(notebook) if c.source.startswith("answer = None")]
    assert len(stubs) == len(labels)
    assert [c.outputs for c in stubs] == [[]] * len(labels), "a stub shows nothing"


NUMBERED = re.compile(r"\b[Cc]hapters? \d+")
LINK = re.compile(r"\{doc\}`[^`]*`|\[[^]]*\]\([^)]*\)")
OTHER_BOOKS = re.compile(r"\{cite:\w\}`\w+`, chapters? \d+( and \d+)?")


@every_notebook
def test_a_chapter_that_is_mentioned_by_its_number_is_linked(path):
    text = OTHER_BOOKS.sub("", LINK.sub("", markdown(read(path))))
    assert not NUMBERED.findall(text)
    assert not re.findall(r"[^$\d,(] \(\d\d\)", text)


@every_chapter
def test_solutions_are_folded_and_correct(path):
    notebook = read(path)
    assert exercise_labels(notebook, "solution-start") == exercise_labels(notebook, "exercise")
    label, judged = None, set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            judged |= {label} if label and f"{label}: correct." in "\n".join(texts(cell)) else set()
            continue
        start = re.search(
            r"^[`:]{3,}\{solution-start\} *(\S+)\n:class: dropdown$", cell.source, re.M
        )
        label = start[1] if start else label
        if re.search(r"^[`:]{3,}\{solution-end\}", cell.source, re.M):
            assert label in judged, f"no output of the solution says '{label}: correct.'"
            label = None
    assert judged == set(exercise_labels(notebook, "exercise"))


@every_chapter
def test_summary_names_the_next_chapter(path):
    summary = markdown(read(path)).rpartition("\n## Summary")[2]
    following = CHAPTERS[CHAPTERS.index(path) + 1 :]
    if following:
        assert following[0].stem in summary

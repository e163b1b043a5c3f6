"""Captions of figures become text in Colab's copies."""

import importlib

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

for needed in ("jupytext", "nbclient", "pybtex"):  # only the book's environment has them all
    pytest.importorskip(needed)

colab = importlib.import_module("tools.colab")
pages = importlib.import_module("tools.pages")
storage = importlib.import_module("tools.storage")
with_captions = importlib.import_module("tools.captions").with_captions


def drawing(name, caption):
    return new_code_cell(
        "draw()", metadata={"mystnb": {"figure": dict(name=name, caption=caption)}}
    )


@pytest.fixture
def copy(tmp_path):
    """Writes chapter 2 with the cells and returns its copy's."""
    for folder in ("notebooks", "book"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/a/b"\nDocumentation = "https://b.org/b"\n'
        "[tool.cnnbook]\nreleased = false\n"
    )

    def write(*cells):
        path = tmp_path / "notebooks" / "02_second.ipynb"
        notebook = storage.canonical(new_notebook(cells=cells), path.stem)
        path.write_text(storage.serialize(notebook))
        return colab.convert(notebook, "notebooks/02_second", pages.Book.read(tmp_path)).cells[2:]

    return write


def test_a_caption_follows_its_cell_with_the_books_number(copy):
    cells = copy(
        new_markdown_cell("# Second"),
        drawing("fig-first", "What the *first* shows, with $x$."),
        drawing("fig-second", "The second."),
    )
    assert [c.source for c in cells] == [
        "# Second",
        "draw()",
        "**Figure 2.1.** What the *first* shows, with $x$.",
        "draw()",
        "**Figure 2.2.** The second.",
    ]


def test_a_figure_is_referred_to_by_its_number(copy):
    cells = copy(
        new_markdown_cell("# Second\n\n{numref}`fig-first` shows it."),
        drawing("fig-first", "See {numref}`fig-first`."),
    )
    assert cells[0].source == "# Second\n\nFigure 2.1 shows it."
    assert cells[2].source == "**Figure 2.1.** See Figure 2.1."


def test_a_caption_is_resolved_like_the_text(copy):
    with pytest.raises(storage.NotebookError, match=r"\{eq\}`eq-none` \(no such equation\)"):
        copy(new_markdown_cell("# Second"), drawing("fig-first", "See {eq}`eq-none`."))


def test_cells_without_a_figure_stay():
    cells = [new_markdown_cell("text"), new_code_cell("1", metadata={"mystnb": {"image": {}}})]
    assert with_captions(cells) == cells


def test_every_cell_has_an_identifier_of_its_own(copy):
    cells = copy(drawing("fig-first", "One."), drawing("fig-second", "Two."))
    assert len({c.id for c in cells}) == len(cells) == 4

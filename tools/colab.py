"""Copies of the chapters that read well in Colab, which knows no MyST.

Cross references become numbers, names and links to the hosted book, directives become plain
Markdown, solutions become collapsed cells. What cannot be resolved is an error: nothing of
MyST survives in a copy.
"""

import re

import nbformat

from tools.captions import with_captions
from tools.conversion import Converter
from tools.install import requirement
from tools.storage import NotebookError, serialize, write_atomically

INSTALL = """\
#@title Install cnnbook
import importlib.util

if importlib.util.find_spec("cnnbook") is None:
    %pip install -q {package}"""
DEPLOYS = re.compile(r"^from cnnbook\.deployment import", re.MULTILINE)  # and needs its packages


def convert(notebook, page, book):
    """Colab's copy of a notebook.

    Raises:
        NotebookError: If anything of MyST has no counterpart; it names each.
    """
    converter = Converter(book, page)
    cells = converter.cells(with_captions(notebook.cells))
    if converter.problems:
        listed = "\n".join(f"  {p}" for p in dict.fromkeys(converter.problems))
        raise NotebookError(f"{page}: not resolved for Colab:\n{listed}")
    title = book.titles.get(page, page)
    pointer = f"This is Colab's copy of *{title}*; the page in the book: <{book.address(page)}>"
    deploys = any(DEPLOYS.search(cell.source) for cell in notebook.cells)
    extras = ["deploy"] if deploys else []  # Colab has the backends already
    install = INSTALL.format(package=requirement(book.pyproject, *extras))
    top = [
        nbformat.v4.new_markdown_cell(pointer, id="colab-pointer"),
        nbformat.v4.new_code_cell(install, id="colab-install", metadata={"cellView": "form"}),
    ]
    metadata = {
        "colab": {"provenance": []},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.v4.new_notebook(cells=top + cells, metadata=metadata)


def write_copy(path, book):
    """Writes build/colab/<name>.ipynb."""
    page = book.page_of(path)
    copy = convert(book.notebooks[page], page, book)
    target = book.root / "build" / "colab" / path.name
    write_atomically(target, serialize(copy))
    return f"{target.relative_to(book.root)} written."

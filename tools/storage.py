"""Where notebooks and their texts are, and the one form in which they are stored.

The text of notebooks/03_pooling.ipynb is build/text/03_pooling.md, that of
notebooks/at_scale/x.ipynb is build/text/at_scale/x.md, and that of book/conventions.ipynb is
build/text/book/conventions.md.
"""

import hashlib
import os
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = {"tags", "mystnb"}  # what a committed cell may carry


class NotebookError(Exception):
    """A notebook that cannot be stored; the message says which and why."""


# Where things are


def twin_path(notebook, root=ROOT):
    """The text of a notebook."""
    relative = notebook.relative_to(root).with_suffix(".md")
    parts = relative.parts[1:] if relative.parts[0] == "notebooks" else relative.parts
    return root.joinpath("build", "text", *parts)


def notebook_path(twin, root=ROOT):
    """The notebook of a text."""
    relative = twin.relative_to(root / "build" / "text").with_suffix(".ipynb")
    return root / relative if relative.parts[0] == "book" else root / "notebooks" / relative


def is_selected(path, names):
    number = path.stem.split("_")[0]
    return not names or any(n == path.stem or n.zfill(2) == number for n in names)


def find_notebooks(names=(), root=ROOT, *, with_texts=False):
    """The notebooks that are meant, sorted; with those that exist only as text, if asked."""
    found = {p for folder in ("notebooks", "book") for p in (root / folder).rglob("*.ipynb")}
    if with_texts:
        found |= {notebook_path(p, root) for p in (root / "build" / "text").rglob("*.md")}
    found = sorted(p for p in found if ".ipynb_checkpoints" not in p.parts)
    for name in names:
        if not any(is_selected(p, [name]) for p in found):
            raise NotebookError(f"there is no notebook {name!r}.")
    return [p for p in found if is_selected(p, names)]


# Reading and writing


def is_newer(twin, notebook):
    """Whether the text holds edits that the notebook does not have."""
    if not twin.exists():
        return False
    return not notebook.exists() or twin.stat().st_mtime_ns > notebook.stat().st_mtime_ns


def keep_in_step(twin, notebook):
    """Gives the text its notebook's time: neither is newer."""
    stamp = notebook.stat().st_mtime_ns
    os.utime(twin, ns=(stamp, stamp))


def write_atomically(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def serialize(notebook):
    """The one form in which a notebook is stored."""
    return nbformat.writes(notebook) + "\n"


def cell_id(name, cell, seen):
    """An identifier that changes only when the cell's own source does."""
    key = f"{name}\0{cell.cell_type}\0{cell.source}"
    seen[key] = seen.get(key, 0) + 1
    return hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:8]


def canonical(notebook, name):
    """The notebook with the metadata that it needs and no other; outputs as they are."""
    seen = {}
    cells = []
    for old in notebook.cells:
        cell = nbformat.from_dict(old)
        cell.metadata = {k: v for k, v in sorted(old.metadata.items()) if k in CELL_METADATA}
        cell["id"] = cell_id(name, cell, seen)
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def to_text(notebook):
    return jupytext.writes(notebook, fmt="md:myst")


def from_text(text):
    return jupytext.reads(text, fmt="md:myst")


def write_text(path, root=ROOT):
    """Writes the notebook's text, unless that has edits; says which it did."""
    twin = twin_path(path, root)
    if is_newer(twin, path):
        return f"{twin.relative_to(root)} is newer than its notebook: left as it is."
    if twin.exists() and twin.stat().st_mtime_ns == path.stat().st_mtime_ns:
        return f"{twin.relative_to(root)} is in step with its notebook."
    write_atomically(twin, to_text(nbformat.read(path, as_version=4)))
    keep_in_step(twin, path)
    return f"{twin.relative_to(root)} written."

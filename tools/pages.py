"""What the whole book says: labels, titles and references of all pages, read once."""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import nbformat
from pybtex.database import parse_file
from pybtex.richtext import Text

from tools.captions import with_captions
from tools.install import read_pyproject
from tools.myst import INLINE, blocks
from tools.storage import ROOT, find_notebooks


@dataclass
class Book:
    """Labels, titles and references of all pages, and the book's addresses."""

    root: Path
    pyproject: dict
    repository: str
    documentation: str
    equations: dict = field(default_factory=dict)  # label: (number, page)
    targets: dict = field(default_factory=dict)  # label: (text, page)
    titles: dict = field(default_factory=dict)  # page: title
    references: dict = field(default_factory=dict)  # key: (authors, year, address, title)
    notebooks: dict = field(default_factory=dict)  # page: notebook

    @classmethod
    def read(cls, root=ROOT):
        pyproject = read_pyproject(root)
        urls = pyproject["project"]["urls"]
        book = cls(
            root, pyproject, urls["Repository"].rstrip("/"), urls["Documentation"].rstrip("/")
        )
        for path in find_notebooks(root=root):
            book.add_notebook(path, nbformat.read(path, as_version=4))
        for path in sorted((root / "book").rglob("*.md")):
            book.add_page(book.page_of(path), path.read_text(encoding="utf-8"))
        bibliography = root / "book" / "references.bib"
        if bibliography.exists():
            book.references = read_references(bibliography)
        return book

    def page_of(self, path):
        return path.relative_to(self.root).with_suffix("").as_posix()

    def add_notebook(self, path, notebook):
        page = self.page_of(path)
        self.notebooks[page] = notebook
        self.add_page(page, "\n\n".join(markdown(notebook)))

    def add_page(self, page, text):
        """Notes the page's title and its labels."""
        match = re.match(r"(\d+)_", PurePosixPath(page).name)
        self._chapter = f"{int(match[1])}." if match else ""
        self._counts = {"equation": 0, "figure": 0}
        self._add_blocks(page, text)

    def _add_blocks(self, page, text):
        for kind, block in blocks(text):
            if kind == "text":
                self._add_text(page, block)
            elif kind == "directive":
                label = block.options.get("label") or block.options.get("name")
                if block.name == "math" and label:
                    self._add_equation(page, label)
                elif block.name.startswith("exercise"):
                    self.targets[label or block.argument] = (f"exercise {label}", page)
                elif block.name == "figure":
                    self._counts["figure"] += 1
                    number = f"Figure {self._chapter}{self._counts['figure']}"
                    self.targets[label or block.argument] = (number, page)
                elif label:
                    self.targets[label] = (block.argument or block.name, page)
                self._add_blocks(page, block.body)

    def _add_equation(self, page, label):
        self._counts["equation"] += 1
        self.equations[label] = (f"{self._chapter}{self._counts['equation']}", page)

    def _add_text(self, page, text):
        heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
        if heading and page not in self.titles:
            self.titles[page] = heading[1].strip()
        for match in INLINE.finditer(text):
            if match["label"]:
                self._add_equation(page, match["label"])
            elif match["target"]:
                following = re.match(r"\s*#+ +(.+)", text[match.end() :])
                self.targets[match["target"]] = (following[1] if following else None, page)

    def address(self, page, label=None):
        return f"{self.documentation}/{page}.html" + (f"#{label}" if label else "")

    def file_address(self, path):
        """A file of the repository as its host serves it raw."""
        raw = self.repository.replace("https://github.com/", "https://raw.githubusercontent.com/")
        return f"{raw}/main/{path}"


def markdown(notebook):
    """The texts of a notebook, captions of figures included."""
    return [c.source for c in with_captions(notebook.cells) if c.cell_type == "markdown"]


def read_references(path):
    """Authors, year, address and title of every entry."""
    references = {}
    for key, entry in parse_file(str(path)).entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [str(Text.from_latex(" ".join(p.prelast_names + p.last_names))) for p in people]
        if len(names) > 2:
            names = [f"{names[0]} et al."]
        fields = entry.fields
        address = fields.get("url") or (
            f"https://doi.org/{fields['doi']}" if "doi" in fields else None
        )
        if not address and "eprint" in fields:
            address = f"https://arxiv.org/abs/{fields['eprint']}"
        authors = " and ".join(names) or key
        title = str(Text.from_latex(fields.get("title", "")))
        references[key] = (authors, fields.get("year", "n.d."), address, title)
    return references

"""What the equation contract is made of: the book's equations and the functions that cite them.

The equation index and ``tests/test_contract.py`` both read the book through this module.
"""

import importlib
import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EQUATION_FREE = ("datasets", "plotting", "exercises")
LABELED = re.compile(
    r"^\s*\$\$(?P<body>(?:(?!\$\$).)+?)\$\$[ \t]*\((?P<label>[\w-]+)\)", re.M | re.S
)
CITED = re.compile(r":eq:`(?:[^`<]*<)?([\w-]+)>?`")
FORMULA = re.compile(r":math:`([^`]*)`", re.S)
ROW = re.compile(r"^\|([^|]*\$[^|]*)\|", re.M)
SPACING = re.compile(r"\\\\|\\(?:qquad|quad|[,;:!])|\{\}|~|&")


@dataclass(frozen=True)
class Equation:
    """A labeled equation of a page."""

    label: str
    body: str
    page: str  # the path of its page below the root, without the suffix

    @property
    def topic(self):
        return re.sub(r"^\d+_", "", self.page.rpartition("/")[2])


@dataclass(frozen=True)
class Function:
    """A public function and what its docstring cites and repeats."""

    name: str  # with its module's, for example "pooling.max_pool2d"
    labels: tuple
    blocks: tuple
    formulas: tuple  # inside its sentences

    def computes(self, equation):
        """Whether it repeats the equation; others are cited only."""
        return fold(equation.body) in map(fold, self.blocks) and equation.label in self.labels


def fold(latex):
    """The LaTeX without white space and without the wrapper that aligns its lines."""
    latex = re.sub(r"\s+", "", latex)
    wrapped = re.fullmatch(r"\\begin\{(aligned|split)\}(.*)\\end\{\1\}", latex)
    return wrapped[2] if wrapped else latex


def bare(latex):
    """The folded LaTeX without alignment, line breaks and spacing, as the spec is compared."""
    return SPACING.sub("", fold(SPACING.sub(" ", latex)))


def equations_in(text, page):
    """The labeled equations of Markdown text."""
    return [Equation(m["label"], m["body"].strip(), page) for m in LABELED.finditer(text)]


def markdown_of(path):
    """A page's Markdown: the file, or a notebook's Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def notation_in(text):
    """The formulas in the first column of each table."""
    return [formula for cell in ROW.findall(text) for formula in re.findall(r"\$([^$]+)\$", cell)]


def book_pages(root=ROOT):
    """The chapters, then the other pages."""
    chapters = sorted((root / "notebooks").rglob("*.ipynb"))
    others = [p for p in sorted((root / "book").rglob("*")) if p.suffix in {".md", ".ipynb"}]
    return [p for p in chapters + others if ".ipynb_checkpoints" not in p.parts]


def read_equations(root=ROOT):
    """Every labeled equation of the book, in the order of its pages."""
    return [
        equation
        for path in book_pages(root)
        for equation in equations_in(
            markdown_of(path), path.relative_to(root).with_suffix("").as_posix()
        )
    ]


def math_blocks(docstring):
    """The bodies of a docstring's ``.. math::`` blocks."""
    blocks, lines = [], inspect.cleandoc(docstring).splitlines()
    for start, line in enumerate(lines):
        if not line.lstrip().startswith(".. math::"):
            continue
        indent = len(line) - len(line.lstrip())
        body = [line.partition(".. math::")[2]]
        for later in lines[start + 1 :]:
            if later.strip() and len(later) - len(later.lstrip()) <= indent:
                break
            body.append(later)
        blocks.append("\n".join(body).strip())
    return tuple(blocks)


def function_from(name, docstring):
    docstring = docstring or ""
    labels = dict.fromkeys(CITED.findall(docstring))
    formulas = FORMULA.findall(docstring)
    return Function(name, tuple(labels), math_blocks(docstring), tuple(formulas))


def module_names(root=ROOT):
    """The package's modules that are not private: files and folders."""
    package = root / "cnnbook"
    names = {p.stem for p in package.glob("*.py")} | {
        p.parent.name for p in package.glob("*/__init__.py")
    }
    return sorted(n for n in names if not n.startswith("_"))


def read_functions(root=ROOT):
    """Every public function and class of the modules that are to have equations."""
    functions = []
    for module_name in module_names(root):
        if module_name in EQUATION_FREE:
            continue
        module = importlib.import_module(f"cnnbook.{module_name}")
        for name in module.__all__:
            doc = getattr(module, name).__doc__
            functions.append(function_from(f"{module_name}.{name}", doc))
    return functions


def read_parity(root=ROOT):
    """What the tests measured, by backend; empty where they have not run."""
    path = root / "book" / "_data" / "parity.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

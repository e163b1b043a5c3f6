"""Copies of the chapters that read well in Colab, which knows no MyST.

Cross references become numbers, names and links to the hosted book, directives become plain
Markdown, solutions become collapsed cells. What cannot be resolved is an error: nothing of
MyST survives in a copy.
"""

import re
import textwrap
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import nbformat
import yaml
from pybtex.database import parse_file
from pybtex.richtext import Text

from tools.captions import with_captions
from tools.notebooks import ROOT, NotebookError, find_notebooks, serialize, write_atomically

INSTALL = """\
#@title Install cnnbook
import importlib.util

if importlib.util.find_spec("cnnbook") is None:
    %pip install -q {package}"""
DEPLOYS = re.compile(r"^from cnnbook\.deployment import", re.MULTILINE)  # and needs its packages
FORM = '#@title Solution { display-mode: "form" }\n'

FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|:{3,}|~{3,})(?P<rest>.*)$")
DIRECTIVE = re.compile(r"^\s*\{(?P<name>[\w:+.-]+)\}\s*(?P<argument>.*)$")
INLINE = re.compile(
    r"""
      \$\$(?P<display>(?:(?!\$\$).)+)\$\$(?:[ \t]*\((?P<label>[\w:.-]+)\)[ \t]*(?=\n|\Z))?
    | \{(?P<role>[A-Za-z][\w:.+-]*)\}(?P<ticks>`+)(?P<content>(?:(?!\n\s*\n).)+?)(?P=ticks)
    | (?P<code>(?P<run>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=run)(?!`))
    | (?<![\\$])\$(?P<math>[^$\n]+(?:\n[^$\n]+)*)\$
    | (?P<bang>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<url>[^()\s]+)\)
    | ^\((?P<target>[\w:.-]+)\)=[ \t]*(?:\n|\Z)
    | ^(?:%[^\n]*|\+\+\+[^\n]*)(?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
SURVIVORS = re.compile(
    r"\{[A-Za-z][\w:.+-]*\}`[^`\n]*`?|^\s*(?:`{3,}|:{3,}|~{3,})\s*\{[^\n]*|^:{3,}[^\n]*"
    r"|^\([\w:.-]+\)=|\$\$[ \t]*\(eq[\w:.-]+\)|\{\{[ \t]*\w+[ \t]*\}\}",
    re.MULTILINE,
)
ADMONITIONS = {"note", "warning", "tip", "important", "hint", "seealso", "caution", "attention"}
ADMONITIONS |= {"danger", "error", "margin", "sidebar"}
TITLED = {"admonition", "topic", "dropdown", "card", "tab-item"}
CODE_ROLES = {"func", "meth", "class", "mod", "attr", "data", "exc", "obj", "const"}
TEXT_ROLES = {"term", "guilabel", "kbd", "menuselection", "dfn"}
DROPPED = {"tableofcontents", "contents", "index"}
UNWRAPPED = {"tab-set", "div", "container", "grid"}


# Parsing


@dataclass
class Directive:
    name: str
    argument: str
    options: dict
    body: str
    indent: str = ""


def split_options(lines):
    """The options at the head of a directive's lines, and the rest."""
    if lines and lines[0].strip() == "---":
        end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
        if end is not None:
            return yaml.safe_load("\n".join(lines[1:end])) or {}, lines[end + 1 :]
    options = {}
    while lines and (match := re.match(r"^\s*:([\w-]+):\s*(.*)$", lines[0])):
        options[match[1]] = match[2].strip()
        lines = lines[1:]
    return options, lines


def blocks(text):
    """Splits Markdown into ("text", str), ("code", str) and ("directive", Directive)."""
    lines, plain = text.split("\n"), []
    while lines:
        line = lines.pop(0)
        opening = FENCE.match(line)
        if opening and opening["fence"][0] == "`" and "`" in opening["rest"]:
            opening = None  # a code span
        directive = opening and DIRECTIVE.match(opening["rest"])
        if not opening or (opening["fence"][0] == ":" and not directive):
            plain.append(line)
            continue
        if plain:
            yield "text", "\n".join(plain)
            plain = []
        fence, body = opening["fence"], []
        closing = re.compile(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
        while lines and not closing.match(lines[0]):
            body.append(lines.pop(0))
        last = lines.pop(0) if lines else None
        if directive:
            indent = opening["indent"]
            inner = textwrap.dedent("\n".join(body)).split("\n") if body else []
            options, inner = split_options(inner)
            yield (
                "directive",
                Directive(
                    directive["name"],
                    directive["argument"].strip(),
                    options,
                    "\n".join(inner).strip("\n"),
                    indent,
                ),
            )
        else:
            yield "code", "\n".join([line, *body, *([last] if last is not None else [])])
    if plain:
        yield "text", "\n".join(plain)


def with_title(content):
    """A role's content as (title or None, target)."""
    match = re.fullmatch(r"(.*?)\s*<([^<>]+)>", content, re.DOTALL)
    return (match[1], match[2]) if match else (None, content)


# What the whole book says


@dataclass
class Book:
    """Labels, titles and references of all pages, and the book's addresses."""

    root: Path
    repository: str
    documentation: str
    equations: dict = field(default_factory=dict)  # label: (number, page)
    targets: dict = field(default_factory=dict)  # label: (text, page)
    titles: dict = field(default_factory=dict)  # page: title
    references: dict = field(default_factory=dict)  # key: (authors, year, address, title)

    @classmethod
    def read(cls, root=ROOT):
        urls = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]
        book = cls(root, urls["Repository"].rstrip("/"), urls["Documentation"].rstrip("/"))
        for path in find_notebooks(root=root):
            cells = with_captions(nbformat.read(path, as_version=4).cells)
            text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
            book.add_page(path.relative_to(root).with_suffix("").as_posix(), text)
        for path in sorted((root / "book").rglob("*.md")):
            book.add_page(path.relative_to(root).with_suffix("").as_posix(), path.read_text())
        bibliography = root / "book" / "references.bib"
        if bibliography.exists():
            book.references = read_references(bibliography)
        return book

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


# Converting


class Converter:
    """Turns the cells of one notebook into Colab's; gathers what it cannot resolve."""

    def __init__(self, book, page):
        self.book, self.page = book, page
        self.problems, self.cited = [], []
        self.in_solution = False

    def unresolved(self, construct):
        self.problems.append(construct)
        return construct

    # Blocks

    def cell(self, text):
        """A Markdown cell's text; what lies in a solution is folded."""
        sections = [(self.in_solution, [])]
        for kind, block in blocks(text):
            if kind == "directive" and block.name in ("solution-start", "solution-end"):
                self.in_solution = block.name == "solution-start"
                sections.append((self.in_solution, []))
            else:
                sections[-1][1].append(self.block(kind, block))
        texts = [(inside, tidy(parts)) for inside, parts in sections]
        return "\n\n".join(details(t) if inside else t for inside, t in texts if t)

    def markdown(self, text):
        return tidy(self.block(kind, block) for kind, block in blocks(text))

    def block(self, kind, block):
        if kind == "code":
            return block
        if kind == "text":
            return INLINE.sub(self.inline, block)
        return textwrap.indent(self.directive(block), block.indent)

    def directive(self, block):
        name, body = block.name, block.body
        if name in ADMONITIONS or name in TITLED or name.startswith("prf:"):
            return self.admonition(block)
        if name in ("exercise", "exercise-start"):
            title = f": {self.markdown(block.argument)}" if block.argument else ""
            return (
                f"\n**Exercise {block.options.get('label', '')}{title}**\n\n{self.markdown(body)}\n"
            )
        if name == "solution":
            return details(self.markdown(body))
        if name in ("figure", "image"):
            return self.figure(block)
        if name == "math":
            return self.display(f"\n{body or block.argument}\n", block.options.get("label"))
        if name in ("code", "code-block", "sourcecode"):
            return f"```{block.argument}\n{body}\n```"
        if name == "table":
            return f"**{self.markdown(block.argument)}**\n\n{self.markdown(body)}"
        if name == "bibliography":
            return "\n".join(f"- {self.reference(key, full=True)}" for key in self.cited)
        if name in UNWRAPPED:
            return self.markdown(body)
        if name in DROPPED or name == "exercise-end":
            return ""
        return self.unresolved(f"directive {{{name}}}")

    def admonition(self, block):
        name = block.name.removeprefix("prf:").capitalize()
        title = self.markdown(block.argument)
        if block.name in TITLED:
            title = title or "Note"
            body = block.body
        elif block.name.startswith("prf:"):
            title, body = f"{name}: {title}" if title else name, block.body
        else:  # the argument is the first line of the text
            body = f"{block.argument}\n{block.body}".strip()
            title = {"Seealso": "See also"}.get(name, name)
        quoted = f"**{title}**\n\n{self.markdown(body)}".strip()
        return "\n" + textwrap.indent(quoted, "> ", lambda line: True).replace("> \n", ">\n") + "\n"

    def figure(self, block):
        caption = self.markdown(block.body)
        if not block.argument:  # the picture is a cell's output
            number, _ = self.book.targets[block.options["name"]]
            return f"**{number}.** {caption}"
        alt = " ".join(block.options.get("alt", "").split())
        picture = f"![{alt}]({self.link(block.argument)})"
        return f"{picture}\n\n*{caption}*" if caption else picture

    def display(self, body, label):
        if not label:
            return f"$${body}$$"
        number, _ = self.book.equations[label]
        end = "\n" if body.endswith("\n") else " "
        return f"$${body.rstrip()} \\tag{{{number}}}{end}$$"

    # Inside a line

    def inline(self, match):
        if match["display"]:
            return self.display(match["display"], match["label"])
        if match["role"]:
            return self.role(match["role"], match["content"], match[0])
        if match["code"] or match["math"]:
            return match[0]
        if match["url"]:
            text = INLINE.sub(self.inline, match["text"])
            text = text or self.link_text(match["url"])
            return f"{match['bang']}[{text}]({self.link(match['url'])})"
        return ""  # a label, a comment or a break between blocks

    def role(self, role, content, whole):
        role = role.removeprefix("py:")
        title, target = with_title(content)
        if role == "eq":
            return self.equation(target, whole)
        if role in CODE_ROLES:
            name = target.rpartition(".")[2] if target.startswith("~") else target
            return title or f"`{name}`"
        if role in TEXT_ROLES:
            return title or target
        if role in ("cite", "cite:t", "cite:ts", "cite:p", "cite:ps", "footcite"):
            parenthesis = role.startswith("cite:p")
            cited = [self.reference(k.strip(), parenthesis=parenthesis) for k in content.split(",")]
            return f"({'; '.join(cited)})" if parenthesis else ", ".join(cited)
        if role in ("ref", "numref", "prf:ref"):
            return self.reference_to(title, target, whole)
        if role == "doc":
            path = target if "." in PurePosixPath(target).name else f"{target}.ipynb"
            if not self.exists(path):
                path = f"{target}.md"
            return f"[{title or self.link_text(path)}]({self.link(path)})"
        if role == "math":
            return f"${content}$"
        if role in ("code", "file", "command", "literal"):
            return f"`{content}`"
        if role in ("sub", "sup", "subscript", "superscript"):
            return f"<{role[:3]}>{content}</{role[:3]}>"
        if role == "abbr":
            return content
        return self.unresolved(whole)

    def equation(self, label, whole):
        if label not in self.book.equations:
            return self.unresolved(f"{whole} (no such equation)")
        number, page = self.book.equations[label]
        if page == self.page:
            return f"({number})"
        return f"[({number})]({self.book.address(page, f'equation-{label}')})"

    def reference_to(self, title, label, whole):
        if label in self.book.equations:
            return self.equation(label, whole)
        if label not in self.book.targets:
            return self.unresolved(f"{whole} (no such label)")
        text, page = self.book.targets[label]
        text = (title or "").replace("%s", (text or "").rpartition(" ")[2]) or text
        if not text:
            return self.unresolved(f"{whole} (a label without a heading)")
        return text if page == self.page else f"[{text}]({self.book.address(page, label)})"

    def reference(self, key, *, parenthesis=False, full=False):
        if key not in self.book.references:
            return self.unresolved(f"{{cite}}`{key}` (no such reference)")
        if key not in self.cited:
            self.cited.append(key)
        authors, year, address, title = self.book.references[key]
        text = f"{authors}, {year}" if parenthesis else f"{authors} ({year})"
        text += f": {title}" if full and title else ""
        return f"[{text}]({address})" if address else text

    # Links

    def resolve(self, url):
        """A path of the book, relative to its root, or None where there is no such file."""
        path = url.partition("#")[0]
        start = self.book.root if path.startswith("/") else (self.book.root / self.page).parent
        full = (start / path.lstrip("/")).resolve()
        root = self.book.root.resolve()
        return full.relative_to(root) if full.is_file() and full.is_relative_to(root) else None

    def exists(self, url):
        return self.resolve(url) is not None

    def link_text(self, url):
        if url.startswith("#"):
            return (self.book.targets.get(url[1:]) or (None,))[0] or url[1:]
        path = self.resolve(url)
        page = path and path.with_suffix("").as_posix()
        return self.book.titles.get(page) or PurePosixPath(url).stem

    def link(self, url):
        if re.match(r"[a-z]+:", url):
            return url
        label = url.partition("#")[2]
        if url.startswith("#"):
            if label in self.book.targets:
                return self.book.address(self.book.targets[label][1], label)
            if label in self.book.equations:
                return self.book.address(self.book.equations[label][1], f"equation-{label}")
            return self.book.address(self.page, label)
        path = self.resolve(url)
        if path is None:
            return self.unresolved(f"link to {url} (no such file)")
        if path.suffix in (".ipynb", ".md"):
            return self.book.address(path.with_suffix("").as_posix(), label)
        return self.book.file_address(path.as_posix())

    # Cells

    def cells(self, cells):
        """Colab's cells of a notebook's; those that hold nothing any more are left out."""
        converted = []
        for index, cell in enumerate(cells):
            before = len(self.problems)
            new = nbformat.from_dict(cell)
            new.metadata = {}
            if cell.cell_type == "markdown":
                new.source = self.cell(cell.source)
                self.problems += survivors(new.source)
            elif self.in_solution and cell.cell_type == "code":
                new.source = FORM + cell.source
                new.metadata = {"cellView": "form"}
            self.problems[before:] = [f"cell {index}: {p}" for p in self.problems[before:]]
            if new.source.strip():
                converted.append(new)
        if self.in_solution:
            self.problems.append("a {solution-start} without its {solution-end}")
        return converted


def tidy(parts):
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip("\n")


def details(text):
    return f"<details><summary>Solution</summary>\n\n{text}\n\n</details>"


def survivors(text):
    """MyST that is left in a converted text, outside code."""
    left = []
    for kind, block in blocks(text):
        if kind == "directive":
            left.append(f"directive {{{block.name}}}")
        elif kind == "text":
            left += [m[0].strip() for m in SURVIVORS.finditer(without_code(block))]
    return left


def without_code(text):
    """The text without code spans, except those that a role stands in front of, and math."""

    def blank(match):
        return "" if match["code"] or match["math"] else match[0]

    return INLINE.sub(blank, text)


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
    install = INSTALL.format(package='"cnnbook[deploy]"' if deploys else "cnnbook")
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


def write_copy(path, root=ROOT):
    """Writes build/colab/<name>.ipynb."""
    page = path.relative_to(root).with_suffix("").as_posix()
    copy = convert(nbformat.read(path, as_version=4), page, Book.read(root))
    target = root / "build" / "colab" / path.name
    write_atomically(target, serialize(copy))
    return f"{target.relative_to(root)} written."

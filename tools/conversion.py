"""Turns MyST into the Markdown that Colab shows; what has no counterpart is named."""

import re
import textwrap
from pathlib import PurePosixPath

import nbformat

from tools.myst import INLINE, blocks, survivors, with_title

FORM = '#@title Solution { display-mode: "form" }\n'
ADMONITIONS = {"note", "warning", "tip", "important", "hint", "seealso", "caution", "attention"}
ADMONITIONS |= {"danger", "error", "margin", "sidebar"}
TITLED = {"admonition", "topic", "dropdown", "card", "tab-item"}
CODE_ROLES = {"func", "meth", "class", "mod", "attr", "data", "exc", "obj", "const"}
TEXT_ROLES = {"term", "guilabel", "kbd", "menuselection", "dfn"}
DROPPED = {"tableofcontents", "contents", "index"}
UNWRAPPED = {"tab-set", "div", "container", "grid"}


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

"""Writes what the list of chapters says into the files that repeat it.

    python -m tools.registration

In a file that has other text as well, what is made stands between a line with `begin: NAME` and
one with `end: NAME`.
"""

import re

from tools.chapters import existing_names, read_contents
from tools.install import commands, read_pyproject
from tools.storage import ROOT, write_atomically

API_PAGE = """\
# cnnbook.{name}

```{{eval-rst}}
.. automodule:: cnnbook.{name}
   :members:
```
"""
DOCSTRING = '''\
"""Helpers for the cnnbook textbook: one module per chapter, one function per equation.

{modules}

Each of them is imported by its name, for example ``from cnnbook.convolution import conv2d``.
"""'''


def replace_region(text, name, content):
    """The text with new content between its lines `begin: NAME` and `end: NAME`."""
    region = re.compile(rf"(^[^\n]*begin: {name}\b[^\n]*\n).*?(^[^\n]*end: {name}\b)", re.M | re.S)
    replaced, count = region.subn(lambda m: f"{m[1]}{content}\n{m[2]}", text)
    if count != 1:
        raise ValueError(f"there are {count} regions {name!r}, but one was expected.")
    return replaced


def replace_markdown(text, name, content):
    """The same in a page, where blank lines keep what is made apart from the comments."""
    return replace_region(text, name, f"\n{content}\n")


def table(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def toc_parts(contents):
    lines = []
    for part in contents.parts:
        lines += [f"  - caption: {part.title}", "    numbered: true", "    chapters:"]
        lines += [f"      - file: notebooks/{c.stem}" for c in part.chapters]
    return "\n".join(lines)


def toc_functions(contents):
    modules = (*contents.chapters, *contents.others)
    return "\n".join(f"          - file: book/api/{m.name}" for m in modules)


def intro_tables(contents):
    pieces = []
    for part in contents.parts:
        rows = [
            [str(c.number), f"[{c.title}](../notebooks/{c.stem}.ipynb)", c.after]
            for c in part.chapters
        ]
        pieces += [part.about] if part.about else []
        pieces.append(table(["", f"{part.title}", "after it you can"], rows))
    return "\n\n".join(pieces)


def readme_table(contents):
    rows = [[f"{c.number:02d}", f"`{c.name}`", c.after] for c in contents.chapters]
    return table(["", "chapter", "after it you can"], rows)


def api_table(contents):
    modules = (*contents.chapters, *contents.others)
    rows = [[f"{{py:mod}}`~cnnbook.{m.name}`", m.holds] for m in modules]
    return table(["module", "what it holds"], rows)


def package_docstring(contents):
    modules = [(f"{c.number:02d}", c) for c in contents.chapters]
    modules += [("  ", m) for m in contents.others]
    width = max(len(m.name) for _, m in modules)
    lines = [f"    {number} {m.name:{width}}  {m.holds}" for number, m in modules]
    return DOCSTRING.format(modules="\n".join(lines))


def registered(contents, root=ROOT):
    """{path: text} of every file that repeats the list, for the chapters that exist."""

    def read(path):
        return (root / path).read_text("utf-8")

    install = commands(read_pyproject(root))
    toc = replace_region(read("_toc.yml"), "chapters", toc_parts(contents))
    intro = replace_markdown(read("book/intro.md"), "chapters", intro_tables(contents))
    readme = replace_markdown(read("README.md"), "chapters", readme_table(contents))
    package = re.sub(
        r'\A""".*?"""',
        lambda _: package_docstring(contents),
        read("cnnbook/__init__.py"),
        flags=re.S,
    )
    pages = {
        f"book/api/{m.name}.md": API_PAGE.format(name=m.name)
        for m in (*contents.chapters, *contents.others)
    }
    return {
        "_toc.yml": replace_region(toc, "functions", toc_functions(contents)),
        "book/intro.md": replace_markdown(intro, "install", install),
        "README.md": replace_markdown(readme, "install", install),
        "book/api.md": replace_markdown(read("book/api.md"), "modules", api_table(contents)),
        "cnnbook/__init__.py": package,
        **pages,
    }


def outdated(root=ROOT):
    """{path: text} of the files that do not say what the list says."""
    contents = read_contents(root)
    made = registered(contents.only(existing_names(contents, root)), root)
    return {
        path: text
        for path, text in made.items()
        if not (root / path).exists() or (root / path).read_text("utf-8") != text
    }


def main(root=ROOT):
    for path, text in outdated(root).items():
        write_atomically(root / path, text)
        print(f"{path} written.")


if __name__ == "__main__":
    main()

"""Writes the files of a new chapter, and registers it.

    python -m tools.chapter NAME [PART]

NAME is a chapter of book/_data/chapters.yml that does not exist yet, PART its part. The files are
copies of tools/skeleton: they run, and tests/test_contract.py names each "FILL IN" that is left in
them. Either all files are written or none.
"""

import argparse
import difflib
import sys
from pathlib import Path

from tools.chapters import existing_names, read_contents
from tools.registration import registered
from tools.storage import ROOT, canonical, from_text, serialize, write_atomically

NEXT = """
Chapter {0} is registered. `make text CHAPTER={0:02d}` writes its notebook as text to edit,
`make notebooks CHAPTER={0:02d}` runs it and stores it, and tests/test_contract.py names what is
still to be filled in."""
SKELETON = Path(__file__).parent / "skeleton"


class ChapterError(Exception):
    """Why a chapter cannot be written."""


def find_chapter(contents, name, part=""):
    """The chapter of that name.

    Raises:
        ChapterError: If the list has no such chapter or part, or the chapter in another part.
    """
    parts = [p.name for p in contents.parts]
    if part and part not in parts:
        raise ChapterError(f"there is no part {part!r}; the parts are {', '.join(parts)}.")
    found = [c for c in contents.chapters if c.name == name]
    if not found:
        names = [c.name for c in contents.chapters]
        close = difflib.get_close_matches(name, names, n=1)
        advice = f"did you mean {close[0]!r}?" if close else "add it to the list first."
        raise ChapterError(f"book/_data/chapters.yml has no chapter {name!r}: {advice}")
    if part and found[0].part != part:
        raise ChapterError(f"{name} belongs to the part {found[0].part!r}, not to {part!r}.")
    return found[0]


def fill(text, chapter):
    """A text of the skeleton for a chapter."""
    dashed = chapter.name.replace("_", "-")
    for old, new in {
        "00_skeleton": chapter.stem,
        "chapter 00": f"chapter {chapter.number:02d}",
        "eq-skeleton": f"eq-{dashed}",
        "fig-skeleton": f"fig-{dashed}",
        "Skeleton": chapter.title,
        "skeleton": chapter.name,
    }.items():
        text = text.replace(old, new)
    return text


def new_files(chapter):
    """{path: text} of the chapter's own files."""

    def filled(name):
        return fill((SKELETON / name).read_text("utf-8"), chapter)

    notebook = canonical(from_text(filled("notebook.md")), chapter.stem)
    return {
        f"cnnbook/{chapter.name}.py": filled("module.py"),
        f"cnnbook/exercises/{chapter.name}.py": filled("exercises.py"),
        f"tests/test_{chapter.name}.py": filled("tests.py"),
        f"notebooks/{chapter.stem}.ipynb": serialize(notebook),
    }


def write_together(files, root):
    """Writes all files; where one cannot be written, all are again as they were."""
    paths = [root / path for path in files]
    before = [path.read_bytes() if path.exists() else None for path in paths]
    try:
        for path, text in zip(paths, files.values(), strict=True):
            write_atomically(path, text)
    except BaseException:
        for path, content in zip(paths, before, strict=True):
            if content is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content:
                path.write_bytes(content)
        raise


def add_chapter(name, part="", root=ROOT):
    """Writes and registers a chapter; returns it and the paths that were written.

    Raises:
        ChapterError: If there is no such chapter or part, if one of its files exists, or a file
            cannot be written; then nothing is written.
    """
    contents = read_contents(root)
    chapter = find_chapter(contents, name, part)
    files = new_files(chapter)
    there = [path for path in files if (root / path).exists()]
    if there:
        raise ChapterError(f"the chapter {name} exists already: {', '.join(there)}.")
    present = contents.only(existing_names(contents, root) | {name})
    files |= registered(present, root)
    try:
        write_together(files, root)
    except OSError as error:
        raise ChapterError(f"nothing was written: {error}") from error
    return chapter, list(files)


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(
        prog="python -m tools.chapter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("part", metavar="PART", nargs="?", default="")
    options = parser.parse_args(arguments)
    try:
        chapter, paths = add_chapter(options.name, options.part, root)
    except ChapterError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(f"{path} written." for path in paths))
    print(NEXT.format(chapter.number))
    return 0


if __name__ == "__main__":
    sys.exit(main())

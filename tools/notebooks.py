"""The chapters as text, executed, and as Colab's copies.

    python -m tools.notebooks text [NN ...]      writes build/text/, what one edits
    python -m tools.notebooks execute [NN ...]   takes over newer texts, executes, stores outputs
    python -m tools.notebooks colab [NN ...]     writes build/colab/

NN is a chapter's number or a notebook's name; without one, all are meant, but none of
notebooks/at_scale/ is executed unless it is named. The text of
notebooks/03_pooling.ipynb is build/text/03_pooling.md, that of notebooks/at_scale/x.ipynb is
build/text/at_scale/x.md, and that of book/conventions.ipynb is build/text/book/conventions.md.
A text that has no notebook yet becomes one when it is executed.
"""

import argparse
import functools
import sys

from tools.colab import write_copy
from tools.execution import execute
from tools.pages import Book
from tools.storage import ROOT, NotebookError, find_notebooks, write_text


def make_action(command, root):
    """What the command does to one notebook; Colab's copies share one reading of the book."""
    if command == "colab":
        return functools.partial(write_copy, book=Book.read(root))
    return functools.partial({"text": write_text, "execute": execute}[command], root=root)


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["text", "execute", "colab"])
    parser.add_argument("names", nargs="*", metavar="NN", help="a number or a name; all if none")
    options = parser.parse_args(arguments)
    failures = 0
    try:
        paths = find_notebooks(options.names, root, with_texts=options.command == "execute")
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "execute" and not options.names:
        paths = [p for p in paths if p.parent.name != "at_scale"]
    action = make_action(options.command, root)
    for path in paths:
        try:
            print(action(path), flush=True)
        except NotebookError as error:
            failures += 1
            print(error, file=sys.stderr, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

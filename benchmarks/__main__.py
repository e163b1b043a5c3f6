"""Runs one benchmark by its name, or lists the names."""

import ast
import runpy
import sys
from pathlib import Path


def names():
    """Each module of this package and the first line of its docstring."""
    modules = sorted(Path(__file__).parent.glob("[!_]*.py"))
    lines = {m.stem: ast.get_docstring(ast.parse(m.read_text("utf-8"))) for m in modules}
    return {name: (text or "").partition("\n")[0] for name, text in lines.items()}


def main():
    known = names()
    if len(sys.argv) < 2:
        print("usage: python -m benchmarks <name> [options]\n")
        for name, line in known.items():
            print(f"  {name:20s} {line}")
        return
    name = sys.argv[1]
    if name not in known:
        sys.exit(f"No benchmark is called {name!r}; there are: {', '.join(known)}.")
    sys.argv = [f"python -m benchmarks {name}", *sys.argv[2:]]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    main()

"""The docstrings' examples can be pasted as they stand: they import all that they use."""

import ast
import builtins
import doctest
import importlib
import pkgutil

import pytest

import cnnbook

MODULES = [m.name for m in pkgutil.iter_modules(cnnbook.__path__) if not m.name.startswith("_")]
# Modules whose examples still take names from their surroundings. The list only becomes shorter.
NOT_YET = {
    *("convolution", "training", "industrial_cnn"),
    *("quantization", "pruning", "distillation", "deployment", "exercises"),
}


def find_examples(name):
    """The docstrings of a module with examples, each to be run in a namespace of its own."""
    module = importlib.import_module(f"cnnbook.{name}")
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module, globs={}) if test.examples]


def unknown_names(source):
    """Names that code reads and neither binds nor imports, in any order."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [n for n in nodes if isinstance(n, ast.Name)]
    known = {n.id for n in names if not isinstance(n.ctx, ast.Load)} | set(dir(builtins))
    known |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    known |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    aliases = [a for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names]
    known |= {a.asname or a.name.partition(".")[0] for a in aliases}
    return {n.id for n in names} - known


@pytest.mark.parametrize("name", [n for n in MODULES if n not in NOT_YET])
def test_examples_run_in_an_empty_namespace(name):
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    for test in find_examples(name):
        output = []
        runner.run(test, out=output.append)
        assert not output, "".join(output)
    assert runner.tries > 0


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_a_module_whose_examples_are_mended_leaves_the_list(name):
    sources = ["".join(e.source for e in test.examples) for test in find_examples(name)]
    assert any(map(unknown_names, sources))


def test_unknown_names_are_found():
    assert unknown_names("from a import f as g\nx = g(1)\nprint([y for y in x])\n") == set()
    assert unknown_names("def f(a):\n    return a\n\nf(lambda b: b)\n") == set()
    assert unknown_names("import a.b\na.b.c(ops.ones(2))\n") == {"ops"}

"""The house has no circle, no import that climbs, no body too long to read, and no key to a
neighbor's door.

The functions that judge take plain data, ``{path: source}``, and return what they find as
``{place: problem}``, so that each kind of problem can be shown to them.
"""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cnnbook", "tools", "benchmarks", "book/_ext")
LONGEST_BODY = 30
MOST_PACKED = 2  # values that one assignment may give to as many names
MATHS = {  # rooms that need a chapter's mathematics, and the chapters
    "cnnbook/_networks/quantizer.py": {"normalization"},
}
KNOWN = {  # what is not mended yet: with each entry that goes, MOST_KNOWN becomes smaller
    "find_long_bodies": {
        "cnnbook/_networks/surgery.py: Surgery._smaller",
    },
    "find_packed_assignments": {
        "cnnbook/_networks/graph.py: Graph.__init__",
        "cnnbook/_networks/graph.py: Node.__init__",
        "cnnbook/_networks/quantized_layers.py: QuantizedActivation.__init__",
        "cnnbook/_networks/surgery.py: Surgery._smaller",
        "tools/mutants.py: module",
        "tools/mutants.py: run",
    },
}
MOST_KNOWN = 7


# Reading

parse = functools.cache(ast.parse)


def module_path(name, sources):
    """The file of a module, ``cnnbook.pooling``, or None if it is none of the sources."""
    stem = name.replace(".", "/")
    candidates = (f"{stem}.py", f"{stem}/__init__.py", f"book/_ext/{stem}.py")
    return next((path for path in candidates if path in sources), None)


def package_of(path):
    """The package that holds a file, as a list of names."""
    return path.removesuffix(".py").split("/")[:-1]


def imports(path, sources):
    """Every import of one of the sources, anywhere in a file: [(path, name or None, node)].

    The name is what is taken out of the module, None where the module itself is imported.
    """
    found = []
    for node in ast.walk(parse(sources[path])):
        if isinstance(node, ast.Import):
            found += [(module_path(a.name, sources), None, node) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package_of(path)[: len(package_of(path)) + 1 - node.level]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                module = module_path(f"{base}.{alias.name}", sources)
                entry = (module, None) if module else (module_path(base, sources), alias.name)
                found.append((*entry, node))
    return [entry for entry in found if entry[0]]


def functions(tree, prefix=""):
    """Every function and method, with its dotted name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{prefix}{node.name}"
            if not isinstance(node, ast.ClassDef):
                yield name, node
            yield from functions(node, f"{name}.")
        else:
            yield from functions(node, prefix)


def enclosing(tree, node):
    """The name of the innermost function around a node, "module" outside of all."""
    around = [
        (inner.lineno, name)
        for name, inner in functions(tree)
        if inner.lineno <= node.lineno <= inner.end_lineno
    ]
    return max(around)[1] if around else "module"


# Judges


def find_circles(sources):
    """Files that import each other, directly or through others, also inside functions."""
    graph = {path: {p for p, _, _ in imports(path, sources)} for path in sources}
    reached = {}
    for start in graph:
        seen, waiting = set(), list(graph[start])
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += graph[path]
        reached[start] = seen
    return {
        path: "is in a circle with " + ", ".join(sorted(p for p in seen if path in reached[p]))
        for path, seen in reached.items()
        if path in seen
    }


def room(path):
    """The private room that a file of the package belongs to: ``_shared``; None for a chapter."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[1].startswith("_") else None


def find_climbing(sources):
    """Rooms that import a chapter without need, and what the shared room imports of others."""
    problems = {}
    for path in sources:
        own = room(path) if path.startswith("cnnbook/") else None
        for target, _, _ in imports(path, sources) if own else ():
            chapter = Path(target).stem
            needless = room(target) is None and chapter not in MATHS.get(path, ())
            outside = target.startswith("cnnbook/") and room(target) != own
            if outside and (own == "_shared" or needless):
                problems[f"{path}: {chapter}"] = f"imports {target} out of {own}"
    return problems


def find_late_imports(sources):
    """Imports of a module that come after its first definition."""
    problems = {}
    for path, source in sources.items():
        defined = False
        for node in parse(source).body:
            defined = defined or isinstance(node, (ast.FunctionDef, ast.ClassDef))
            if defined and isinstance(node, (ast.Import, ast.ImportFrom)):
                problems[f"{path}: module"] = f"imports in line {node.lineno}, after a definition"
    return problems


def find_long_bodies(sources):
    """Functions of more than LONGEST_BODY lines, docstring not counted."""
    problems = {}
    for path, source in sources.items():
        for name, node in functions(parse(source)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines > LONGEST_BODY:
                problems[f"{path}: {name}"] = f"has {lines} lines"
    return problems


def find_packed_assignments(sources):
    """More than MOST_PACKED names that get a value each in one assignment."""
    problems = {}
    for path, source in sources.items():
        tree = parse(source)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
                continue
            packed = [t for t in node.targets if isinstance(t, (ast.Tuple, ast.List))]
            if packed and len(node.value.elts) > MOST_PACKED:
                place = f"{path}: {enclosing(tree, node)}"
                problems[place] = f"packs {len(node.value.elts)} values in line {node.lineno}"
    return problems


def find_foreign_privates(sources):
    """Names with an underscore that are taken out of another module."""
    problems = {}
    for path, source in sources.items():
        tree, modules = parse(source), set()
        for _, name, node in imports(path, sources):
            if name is None:
                modules |= {(a.asname or a.name).split(".")[-1] for a in node.names}
            elif name.startswith("_") and not name.startswith("__"):
                problems[f"{path}: {name}"] = f"is imported in line {node.lineno}"
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            owner = node.value
            name = getattr(owner, "id", getattr(owner, "attr", None))
            if name in modules and not node.attr.startswith("__"):
                problems[f"{path}: {node.attr}"] = f"is taken from {name} in line {node.lineno}"
    return problems


JUDGES = (
    find_circles,
    find_climbing,
    find_late_imports,
    find_long_bodies,
    find_packed_assignments,
    find_foreign_privates,
)


# The house


@pytest.fixture(scope="module")
def sources():
    paths = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))]
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in paths}


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_nothing_new_is_found(judge, sources):
    found = judge(sources)
    known = KNOWN.get(judge.__name__, set())
    new = {place: problem for place, problem in found.items() if place not in known}
    assert not new, "\n".join(["", *(f"{place} {problem}" for place, problem in new.items())])


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_what_is_mended_leaves_the_list(judge, sources):
    assert KNOWN.get(judge.__name__, set()) <= set(judge(sources))


def test_rooms_need_the_mathematics_that_they_may_import(sources):
    for path, chapters in MATHS.items():
        imported = {Path(target).stem for target, _, _ in imports(path, sources)}
        assert chapters <= imported, path


def test_the_list_only_becomes_shorter():
    assert sum(map(len, KNOWN.values())) == MOST_KNOWN
    assert set(KNOWN) <= {judge.__name__ for judge in JUDGES}


# The judges: each kind of problem is found

HOUSE = {
    "cnnbook/__init__.py": "",
    "cnnbook/_shared/__init__.py": "",
    "cnnbook/_shared/windows.py": "import math\n\ndef count(n):\n    return math.ceil(n)\n",
    "cnnbook/_networks/graph.py": "from cnnbook._shared.windows import count\n",
    "cnnbook/pooling.py": "from cnnbook._shared import windows\n\nn = windows.count(2)\n",
    "cnnbook/dense.py": "from cnnbook import pooling\n",
    "benchmarks/pooling.py": "from cnnbook.pooling import n\n",
    "book/_ext/contract.py": "",
    "book/_ext/pages.py": "import contract\n",
}
PAIR = ["cnnbook/dense.py", "cnnbook/pooling.py"]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_judge_accepts_what_is_right(judge):
    assert judge(HOUSE) == {}


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({"cnnbook/pooling.py": "import cnnbook.dense"}, PAIR),
        ({"cnnbook/pooling.py": "def f():\n    from cnnbook.dense import dense"}, PAIR),
        ({"cnnbook/pooling.py": "from . import dense"}, PAIR),
        ({"cnnbook/pooling.py": "from .dense import d"}, PAIR),
        ({"cnnbook/dense.py": "from cnnbook import dense"}, ["cnnbook/dense.py"]),
        (
            {"book/_ext/contract.py": "import pages"},
            ["book/_ext/contract.py", "book/_ext/pages.py"],
        ),
        (
            {
                "cnnbook/_shared/windows.py": "import cnnbook.pooling",
                "cnnbook/pooling.py": "from cnnbook._networks.graph import x",
            },
            ["cnnbook/_networks/graph.py", "cnnbook/_shared/windows.py", "cnnbook/pooling.py"],
        ),
    ],
)
def test_circle_is_found(change, places):
    assert sorted(find_circles(HOUSE | change)) == places


@pytest.mark.parametrize(
    ("path", "source", "place"),
    [
        ("cnnbook/_shared/windows.py", "from cnnbook import dense", "dense"),
        ("cnnbook/_shared/windows.py", "def f():\n    import cnnbook.dense", "dense"),
        ("cnnbook/_shared/windows.py", "from cnnbook._networks import graph", "graph"),
        ("cnnbook/_networks/graph.py", "from cnnbook.dense import dense", "dense"),
        ("cnnbook/_networks/quantizer.py", "from cnnbook.dense import dense", "dense"),
    ],
)
def test_climbing_import_is_found(path, source, place):
    assert list(find_climbing(HOUSE | {path: source})) == [f"{path}: {place}"]


def test_mathematics_may_be_imported():
    needed = {"cnnbook/_networks/quantizer.py": "from cnnbook.normalization import fold"}
    assert find_climbing(HOUSE | {"cnnbook/normalization.py": ""} | needed) == {}


def test_late_import_is_found():
    assert find_late_imports({"a.py": "import os\nX = 1\nimport re\n"}) == {}
    assert find_late_imports({"a.py": "def f():\n    import os\n"}) == {}
    found = find_late_imports({"a.py": "def f():\n    pass\n\nfrom os import path\n"})
    assert found == {"a.py: module": "imports in line 4, after a definition"}


@pytest.mark.parametrize("extra", [0, 1])
def test_long_body_is_found(extra):
    lines = ["x = 1"] * (LONGEST_BODY + extra)
    docstring = ['"""Two', "", "", 'lines."""']
    source = "\n".join(["class C:", "  def f(self):", *(f"    {li}" for li in docstring + lines)])
    expected = {"a.py: C.f": f"has {LONGEST_BODY + 1} lines"} if extra else {}
    assert find_long_bodies({"a.py": source}) == expected


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("a, b, c = 1, 2, 3", "module"),
        ("class C:\n    def f(self):\n        self.a, self.b, self.c = 1, [], {}", "C.f"),
        ("def f():\n    [a, b, c] = x, y, z", "f"),
        ("a, b = 1, 2", None),
        ("a, b, c = f()", None),
        ("a = 1, 2, 3", None),
        ("for a, b, c in (1, 2, 3):\n    pass", None),
    ],
)
def test_packed_assignment_is_found(source, place):
    found = find_packed_assignments({"a.py": source})
    assert list(found) == ([f"a.py: {place}"] if place else [])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from cnnbook.pooling import _pad", "_pad"),
        ("from cnnbook import pooling\n\npooling._pad(x)", "_pad"),
        ("import cnnbook.pooling as p\n\nf = p._pad", "_pad"),
        ("import cnnbook.pooling\n\ncnnbook.pooling._pad(x)", "_pad"),
        ("from cnnbook._shared import windows\n\nwindows._times(3)", "_times"),
        ("from cnnbook import pooling\n\npooling.__name__", None),
        ("from cnnbook import _shared", None),
        ("import os\n\nos._exit(0)", None),
        ("self._pad", None),
    ],
)
def test_foreign_private_is_found(source, name):
    found = find_foreign_privates(HOUSE | {"cnnbook/dense.py": source})
    assert list(found) == ([f"cnnbook/dense.py: {name}"] if name else [])

"""No equation without a tested function, no function without its equation.

The functions that judge take plain data and return the problems that they find, so that each kind
of problem can be shown to them.
"""

import ast
import math
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import yaml

from tools import chapters

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import contract  # noqa: E402
import latex_symbols  # noqa: E402

CHAPTERS = [c.name for c in chapters.read_contents().chapters]  # the first is chapter 01
BACKENDS = ("tensorflow", "jax", "torch")
BACKEND_SPECIFIC = (  # may ask which backend runs, or is installed
    "__init__.py",
    "_training/",
    "_deploy/",
    "_shared/tracing.py",
    "scaling.py",
)
BUILDING_BLOCKS = CHAPTERS[:7]
LAYER_MODULES = (
    "_networks/quantized_layers.py",
)  # Keras layers for networks that are trained at length
ELEMENTARY = {"one_hot", "multi_hot", "sigmoid"}  # what keras.ops.nn holds of array operations
EXPLAINED = {n for n in dir(keras.ops.nn) if not n.startswith("_")} - ELEMENTARY | {"moments"}
SPEC = yaml.safe_load((ROOT / "tests" / "spec_equations.yml").read_text())


# Judges


def find_pairing_problems(equations, functions):
    """Labels without a function, functions without a label, and where the two differ.

    A function cites what it is about, and repeats what it computes.
    """
    problems = []
    counts = Counter(e.label for e in equations)
    for label, count in counts.items():
        if count > 1:
            problems.append(f"{label} is defined {count} times")
        if not any(label in f.labels for f in functions):
            problems.append(f"{label} is cited by no function")
        if not label.startswith("eq-"):
            problems.append(f"{label} does not begin with eq-")
    for equation in equations:
        if not any(f.computes(equation) for f in functions):
            problems.append(f"{equation.label} is repeated by no function")
    bodies = {e.label: contract.fold(e.body) for e in equations}
    for function in functions:
        if not function.labels:
            problems.append(f"{function.name} cites no equation")
        for label in function.labels:
            if label not in bodies:
                problems.append(f"{function.name} cites {label}, which no chapter defines")
        cited = [bodies[label] for label in function.labels if label in bodies]
        for block in map(contract.fold, function.blocks):
            if block not in cited:
                problems.append(f"{function.name} has a block of no equation it cites: {block}")
    return problems


def find_symbol_problems(equations, functions):
    """Symbols of a docstring's sentences that its equations do not have.

    They are known from the equations that it cites, and from formulas of its own that say what
    they are: those with an equals sign, or a tilde for a distribution. A subscript may be left out
    from the last on (X for what has the entries X_{c,i,j}), never replaced by another.
    """
    bodies, problems = {e.label: e.body for e in equations}, []
    for function in functions:
        own = [f for f in function.formulas if re.search(r"=|\\sim\b", f)]
        known = symbols_in([bodies.get(label, "") for label in function.labels] + own)
        for symbol in dict.fromkeys(symbols_in(function.formulas)):
            if not latex_symbols.is_known(symbol, known):
                name = latex_symbols.written(symbol)
                problems.append(f"{function.name} speaks of {name}, which no equation it cites has")
    return problems


def find_notation_problems(formulas, bodies):
    """Symbols of the notation's first columns that no equation has."""
    known = symbols_in(bodies)
    unknown = [s for s in symbols_in(formulas) if not latex_symbols.is_known(s, known)]
    return [f"{latex_symbols.written(s)} is in no equation" for s in dict.fromkeys(unknown)]


def symbols_in(formulas):
    return [symbol for formula in formulas for symbol in latex_symbols.symbols_of(formula)]


def find_spec_problems(spec, equations):
    """Equations of the spec that are missing, altered, misplaced, or pending without cause."""
    problems = []
    present = {e.label: e for e in equations}
    for label, count in Counter(entry["label"] for entry in spec).items():
        if count > 1:
            problems.append(f"{label} is listed {count} times")
    for entry in spec:
        label, equation = entry["label"], present.get(entry["label"])
        if entry.get("pending"):
            if equation:
                problems.append(f"{label} is present and still marked as pending")
            continue
        if equation is None:
            problems.append(f"{label} is missing")
            continue
        if equation.topic != entry["chapter"]:
            problems.append(f"{label} stands in {equation.page}, not in {entry['chapter']}")
        for piece in entry["latex"]:
            if contract.bare(piece) not in contract.bare(equation.body):
                problems.append(f"{label} differs from the spec's {piece}")
    return problems


def find_chapter_problems(notebooks, modules, tests, exercises, pages, contents):
    """Chapters that lack a part, and parts without a chapter.

    Arguments are names: notebooks as "03_pooling"; modules, tests, exercises and API pages as
    "pooling"; the table of contents as "notebooks/03_pooling".
    """
    problems, topics = [], set()
    for notebook in notebooks:
        number, _, topic = notebook.partition("_")
        topics.add(topic)
        if topic not in CHAPTERS:
            problems.append(f"{notebook} is no chapter of the design")
        elif number != f"{CHAPTERS.index(topic) + 1:02d}":
            problems.append(f"{notebook} should have the number {CHAPTERS.index(topic) + 1:02d}")
        if f"notebooks/{notebook}" not in contents:
            problems.append(f"{notebook} is not in the table of contents")
    written = topics | (set(modules) - set(contract.EQUATION_FREE))
    for topic in sorted(written | set(exercises)):
        for part, names in {
            "notebook": topics,
            "module": modules,
            "exercises": exercises,
        }.items():
            if topic not in names:
                problems.append(f"{topic} has no {part}")
    for module in sorted(written | set(modules)):
        if module not in tests:
            problems.append(f"{module} has no tests")
        if module not in pages:
            problems.append(f"{module} has no page among the functions")
    for page in pages:
        if page not in modules:
            problems.append(f"the page of {page} has no module")
    for entry in contents:
        name = entry.removeprefix("notebooks/")
        if name != entry and not name.startswith("at_scale/") and name not in notebooks:
            problems.append(f"the table of contents lists {entry}, which does not exist")
    return problems


def find_unfilled(texts):
    """What `make chapter` has left to be filled in; texts are {path: text}."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if "FILL IN" in line
    ]


def find_parity_problems(parity, functions):
    """Functions that the tests compared with nothing on some backend."""
    problems = []
    names = {f.name for f in functions}
    for backend in BACKENDS:
        records = parity.get(backend, {}).get("functions", {})
        compared = set(records)
        problems += [f"{n} is not compared on {backend}" for n in sorted(names - compared)]
        problems += [f"{n} is recorded on {backend} only" for n in sorted(compared - names)]
        for name, record in records.items():
            measured = record["comparisons"] > 0 and math.isfinite(record["error"])
            if not (record["peer"] and measured):
                problems.append(f"the record of {name} on {backend} says nothing: {record}")
    return problems


def find_source_problems(source, path):
    """Uses of the framework's own version of what is explained, or of the backend's name.

    The path is that below the package: "pooling.py".
    """
    problems = []
    for name, line in used_names(ast.parse(source)):
        where = f"{path}:{line} uses {name}"
        if is_backend_specific(name) and not path.startswith(BACKEND_SPECIFIC):
            problems.append(f"{where}: only {', '.join(BACKEND_SPECIFIC)} may")
        explained = is_explained(name) and path not in LAYER_MODULES
        building_block = path.removesuffix(".py") in BUILDING_BLOCKS
        if explained or (building_block and is_ready_made(name)):
            problems.append(f"{where}, which the book explains")
    return problems


def is_backend_specific(name):
    names = ("keras.backend.backend", "keras.config.backend")
    package = name.partition(".")[0]
    return name.startswith((*names, "sys.modules")) or package in ("tensorflow", "jax", "torch")


def is_explained(path):
    package, _, name = path.removeprefix("keras.").partition(".")
    explained = package == "ops" and set(name.split(".")) & (EXPLAINED | {"nn", "image"})
    return path.startswith("keras.") and (explained or path == "keras.random.dropout")


def is_ready_made(path):
    return re.match(r"keras\.(layers|activations|losses)\b", path)


def used_names(tree):
    """Dotted names of what is imported or reached from an import, each with its line."""
    imported, found = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                found.append((alias.name, node.lineno))
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.append((f"{node.module}.{alias.name}", node.lineno))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts, inner = [], node
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in imported:
                found.append((".".join([imported[inner.id], *reversed(parts)]), node.lineno))
    return found


# The book and the package


@pytest.fixture(scope="module")
def book():
    """The book's equations and functions, read once."""
    return SimpleNamespace(equations=contract.read_equations(), functions=contract.read_functions())


def assert_none(problems):
    assert not problems, "\n".join(["", *problems])


def stems(folder, pattern):
    return {p.stem for p in (ROOT / folder).glob(pattern)}


def test_equations_and_functions_are_paired(book):
    assert_none(find_pairing_problems(book.equations, book.functions))


def test_docstrings_speak_of_their_equations_symbols(book):
    assert_none(find_symbol_problems(book.equations, book.functions))


def test_notation_lists_symbols_of_equations(book):
    formulas = contract.notation_in((ROOT / "book" / "notation.md").read_text("utf-8"))
    pending = [piece for entry in SPEC if entry.get("pending") for piece in entry["latex"]]
    assert len(formulas) > 100
    assert_none(find_notation_problems(formulas, [e.body for e in book.equations] + pending))


def test_the_book_has_equations_and_functions(book):
    assert len(book.equations) >= len(BUILDING_BLOCKS) <= len(book.functions)


def test_the_spec_is_in_the_book(book):
    assert_none(find_spec_problems(SPEC, book.equations))


@pytest.mark.parametrize("entry", [e for e in SPEC if e.get("pending")], ids=lambda e: e["label"])
def test_pending_equation(entry):
    number = CHAPTERS.index(entry["chapter"]) + 1
    pytest.skip(f"{entry['label']} is pending until chapter {number:02d}, {entry['chapter']}")


def test_spec_equations_name_chapters_of_the_design():
    assert {e["chapter"] for e in SPEC} <= set(CHAPTERS)
    assert {e["chapter"] for e in SPEC if not e.get("pending")} >= set(BUILDING_BLOCKS)


def test_chapters_are_complete():
    contents = (ROOT / "_toc.yml").read_text()
    problems = find_chapter_problems(
        notebooks=stems("notebooks", "*.ipynb"),
        modules=set(contract.module_names()),
        tests={s.removeprefix("test_") for s in stems("tests", "test_*.py")},
        exercises=stems("cnnbook/exercises", "[!_]*.py"),
        pages=stems("book/api", "*.md"),
        contents=re.findall(r"^ *- file: (\S+)", contents, re.M),
    )
    assert_none(problems)


def test_nothing_is_left_to_be_filled_in():
    paths = []
    for name in CHAPTERS:
        paths += [ROOT / f"cnnbook/{name}.py", ROOT / f"cnnbook/exercises/{name}.py"]
        paths += [ROOT / f"tests/test_{name}.py", *(ROOT / "notebooks").glob(f"*_{name}.ipynb")]
    paths = [p for p in paths if p.exists()]
    texts = {p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in paths}
    assert_none(find_unfilled(texts))


def test_module_names_its_chapter():
    for name in set(contract.module_names()) & set(CHAPTERS):
        number = CHAPTERS.index(name) + 1
        docstring = ast.get_docstring(ast.parse((ROOT / "cnnbook" / f"{name}.py").read_text()))
        assert f"notebooks/{number:02d}_{name}.ipynb" in docstring, name


def test_every_function_is_compared_on_every_backend(book):
    assert_none(find_parity_problems(contract.read_parity(), book.functions))


def test_helpers_are_made_of_elementary_operations():
    problems = []
    for path in sorted((ROOT / "cnnbook").rglob("*.py")):
        below, source = path.relative_to(ROOT / "cnnbook").as_posix(), path.read_text("utf-8")
        problems += find_source_problems(source, below)
    assert_none(problems)


# The judges: each kind of problem is found

EQUATION = contract.Equation("eq-double", "y = 2 x", "notebooks/01_convolution")
DOUBLE = contract.function_from("convolution.double", ":eq:`eq-double`.\n\n.. math::\n\n    y = 2x")


def test_judges_accept_what_is_right():
    assert find_pairing_problems([EQUATION], [DOUBLE]) == []


@pytest.mark.parametrize(
    ("equations", "docstring", "problem"),
    [
        ([EQUATION], "Doubles.", "convolution.f cites no equation"),
        ([EQUATION], "Doubles.", "eq-double is cited by no function"),
        ([], ":eq:`eq-double`\n\n.. math:: y = 2 x", "cites eq-double, which no chapter defines"),
        ([EQUATION, EQUATION], ":eq:`eq-double`\n\n.. math:: y = 2 x", "is defined 2 times"),
        (
            [EQUATION],
            ":eq:`eq-double`\n\n.. math:: y = 3 x",
            "eq-double is repeated by no function",
        ),
        ([EQUATION], ":eq:`eq-double`\n\n.. math:: y = 3 x", "of no equation it cites: y=3x"),
        ([EQUATION], ":eq:`eq-double`", "eq-double is repeated by no function"),
        ([EQUATION], ".. math:: y = 2 x", "eq-double is repeated by no function"),
        (
            [EQUATION],
            ":eq:`eq-double`\n\n.. math:: y = 2 x\n\n.. math:: y = 4 x",
            "has a block of no equation it cites: y=4x",
        ),
        (
            [contract.Equation("double", "y = 2 x", "notebooks/01_convolution")],
            ":eq:`double`\n\n.. math:: y = 2 x",
            "does not begin with eq-",
        ),
    ],
)
def test_pairing_problem_is_found(equations, docstring, problem):
    function = contract.function_from("convolution.f", docstring)
    assert any(problem in found for found in find_pairing_problems(equations, [function]))


def test_function_may_cite_without_repeating():
    citing = contract.function_from("deployment.to_onnx", "Differs by rounding, :eq:`eq-double`.")
    assert find_pairing_problems([EQUATION], [DOUBLE, citing]) == []
    assert DOUBLE.computes(EQUATION) and not citing.computes(EQUATION)


POWER = contract.Equation(
    "eq-power", r"\hat{y}_{i,c} = (1 - t_b) \, X'_{c,\,i+m} \, W^{(k)} + \beta_1", "notebooks/15_x"
)


@pytest.mark.parametrize(
    ("sentence", "unknown"),
    [
        (":math:`t_b`", []),
        (":math:`t_0` and :math:`t_1`", ["t_{0}", "t_{1}"]),
        (":math:`t_0 = 0`", []),  # says itself what it is
        (":math:`u \\sim \\mathcal{U}[0, 1)`, and :math:`u`", []),
        (":math:`\\hat{y}`, :math:`\\hat{y}_i`, :math:`\\hat{y}_{i,c}`", []),
        (":math:`\\hat{y}_c`", [r"\hat{y}_{c}"]),
        (":math:`y`", ["y"]),
        (":math:`X`", ["X"]),
        (":math:`X'`, entry :math:`X'_c`, pixel :math:`i`, filter :math:`k`", []),
        (":math:`\\beta`", []),
        (":math:`\\beta_2`", [r"\beta_{2}"]),
        (":math:`\\sqrt{1 - \\gamma}`", [r"\gamma"]),
        (":math:`a > 0`", ["a"]),
        (":math:`X'\n_c`", []),
    ],
)
def test_symbol_problem_is_found(sentence, unknown):
    function = contract.function_from("pruning.f", f":eq:`eq-power` with {sentence}")
    problems = find_symbol_problems([POWER], [function])
    expected = [f"pruning.f speaks of {s}, which no equation it cites has" for s in unknown]
    assert problems == expected


def test_symbols_come_from_cited_equations_only():
    function = contract.function_from("pruning.f", ":eq:`eq-double` with :math:`t_b`")
    problems = find_symbol_problems([EQUATION, POWER], [function])
    assert [p.split()[3] for p in problems] == ["t_{b},", "b,"]


def test_notation_problem_is_found():
    table = (
        "| symbol | code |\n| --- | --- |\n| $t_b$, $t_0$ in a schedule | `$q$` |\n\nText $z$.\n"
    )
    formulas = contract.notation_in(table)
    assert formulas == ["t_b", "t_0"]
    assert find_notation_problems(formulas, [POWER.body]) == ["t_{0} is in no equation"]


@pytest.mark.parametrize(
    ("latex", "symbols"),
    [
        (r"\hat{y}_{i,c}", [(r"\hat{y}", ("i", "c")), ("i", ()), ("c", ())]),
        (r"\bar{\mathcal{L}}_{KD}", [(r"\bar{\mathcal{L}}", ("KD",))]),
        (r"\sigma_{B,c}^2", [(r"\sigma", ("B", "c")), ("B", ()), ("c", ())]),
        (r"Y^{(k)}_{i}", [("Y", ("i",)), ("k", ()), ("i", ())]),
        (r"x_{max} + W'", [("x", ("max",)), ("W'", ())]),
        (r"\mathrm{erf}(x)", [(r"\text{erf}", ()), ("x", ())]),
        (r"\max_j z_j", [("j", ()), ("z", ("j",)), ("j", ())]),
        (r"\begin{cases} a & \log b \end{cases}", [("a", ()), ("b", ())]),
        (r"\frac{\partial L}{\partial\theta}", [("L", ()), (r"\theta", ())]),
        (
            r"\mu_{n,g(c,d)}",
            [(r"\mu", ("n", "g(c,d)")), ("n", ()), ("g", ()), ("c", ()), ("d", ())],
        ),
        (r"X_{c,\; s_h}", [("X", ("c", "s_h")), ("c", ()), ("s", ("h",)), ("h", ())]),
    ],
)
def test_symbols_are_read(latex, symbols):
    assert latex_symbols.symbols_of(latex) == symbols


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"label": "eq-triple"}, "eq-triple is missing"),
        ({"latex": ["y = 2 x + 1"]}, "eq-double differs from the spec's y = 2 x + 1"),
        ({"latex": ["y = 2 x", "z"]}, "eq-double differs from the spec's z"),
        ({"chapter": "pooling"}, "eq-double stands in notebooks/01_convolution, not in pooling"),
        ({"pending": True}, "eq-double is present and still marked as pending"),
    ],
)
def test_spec_problem_is_found(change, problem):
    entry = {"label": "eq-double", "chapter": "convolution", "latex": [r"y \, = & 2x"]}
    assert find_spec_problems([entry], [EQUATION]) == []
    assert find_spec_problems([entry | change], [EQUATION]) == [problem]


def test_spec_label_listed_twice_is_found():
    entry = {"label": "eq-double", "chapter": "convolution", "latex": []}
    assert find_spec_problems([entry, entry], [EQUATION]) == ["eq-double is listed 2 times"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"notebooks": {"02_pooling"}}, "02_pooling should have the number 03"),
        ({"notebooks": {"03_pooling", "35_magic"}}, "35_magic is no chapter of the design"),
        ({"notebooks": set()}, "pooling has no notebook"),
        ({"modules": {"datasets"}}, "pooling has no module"),
        ({"modules": {"pooling", "datasets", "dense"}}, "dense has no notebook"),
        ({"tests": {"pooling"}}, "datasets has no tests"),
        ({"tests": {"datasets"}}, "pooling has no tests"),
        ({"exercises": set()}, "pooling has no exercises"),
        ({"exercises": {"pooling", "dense"}}, "dense has no module"),
        ({"pages": {"datasets"}}, "pooling has no page among the functions"),
        ({"pages": {"pooling", "datasets", "dense"}}, "the page of dense has no module"),
        ({"contents": ["book/intro"]}, "03_pooling is not in the table of contents"),
        (
            {"contents": ["notebooks/03_pooling", "notebooks/06_dense"]},
            "the table of contents lists notebooks/06_dense, which does not exist",
        ),
    ],
)
def test_chapter_problem_is_found(change, problem):
    complete = {
        "notebooks": {"03_pooling"},
        "modules": {"pooling", "datasets"},
        "tests": {"pooling", "datasets", "contract"},
        "exercises": {"pooling"},
        "pages": {"pooling", "datasets"},
        "contents": ["book/intro", "notebooks/03_pooling"],
    }
    assert find_chapter_problems(**complete) == []
    assert problem in find_chapter_problems(**(complete | change))


def test_what_is_left_to_be_filled_in_is_found():
    texts = {"cnnbook/metrics.py": "x\n  FILL IN y\n", "tests/test_metrics.py": "fill in\n"}
    assert find_unfilled(texts) == ["cnnbook/metrics.py:2: FILL IN y"]


RECORD = {"peer": "keras.ops.multiply", "error": 1e-6, "comparisons": 25}


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ({}, "convolution.double is not compared on jax"),
        ({"convolution.double": RECORD, "dense.old": RECORD}, "dense.old is recorded on jax only"),
        (
            {"convolution.double": RECORD | {"comparisons": 0}},
            "on jax says nothing",
        ),
        (
            {"convolution.double": RECORD | {"error": math.nan}},
            "on jax says nothing",
        ),
        ({"convolution.double": RECORD | {"peer": ""}}, "on jax says nothing"),
    ],
)
def test_parity_problem_is_found(records, problem):
    parity = {b: {"functions": {"convolution.double": RECORD}} for b in BACKENDS}
    assert find_parity_problems(parity, [DOUBLE]) == []
    (found,) = find_parity_problems(parity | {"jax": {"functions": records}}, [DOUBLE])
    assert problem in found


def test_missing_backend_is_found():
    parity = {b: {"functions": {"convolution.double": RECORD}} for b in BACKENDS[:2]}
    (found,) = find_parity_problems(parity, [DOUBLE])
    assert found == "convolution.double is not compared on torch"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("from keras import ops\nops.conv(x, k)", "keras.ops.conv"),
        ("from keras import ops\ny = ops.max_pool(x)", "keras.ops.max_pool"),
        ("from keras import ops as o\no.softmax(x)", "keras.ops.softmax"),
        ("import keras\nkeras.ops.log_softmax(x)", "keras.ops.log_softmax"),
        ("import keras\nkeras.ops.nn.relu(x)", "keras.ops.nn.relu"),
        ("from keras.ops import gelu", "keras.ops.gelu"),
        ("from keras.ops.nn import silu", "keras.ops.nn.silu"),
        ("from keras import ops\nops.moments(x, (0,))", "keras.ops.moments"),
        ("from keras import ops\nf = ops.batch_normalization", "keras.ops.batch_normalization"),
        ("import keras\nkeras.layers.Dense(3)", "keras.layers.Dense"),
        ("from keras.layers import Dense", "keras.layers.Dense"),
        ("from keras import layers", "keras.layers"),
        ("import keras\nkeras.activations.relu(x)", "keras.activations.relu"),
        ("import keras\nkeras.random.dropout(x, 0.5)", "keras.random.dropout"),
        ("import keras\nif keras.backend.backend() == 'jax': pass", "keras.backend.backend"),
        ("from keras.backend import backend", "keras.backend.backend"),
        ("import keras\nkeras.config.backend()", "keras.config.backend"),
        ("def f():\n    import tensorflow as tf\n    return tf.nn.relu(1)", "tensorflow"),
        ("from jax import numpy", "jax.numpy"),
        ("import sys\nsys.modules.get('torch')", "sys.modules"),
    ],
)
def test_source_problem_is_found(source, problem):
    assert any(f"uses {problem}" in found for found in find_source_problems(source, "pooling.py"))


def test_elementary_source_is_accepted():
    source = "import keras\nfrom keras import ops\nops.matmul(a, b)\nkeras.backend.result_type()"
    assert find_source_problems(source, "pooling.py") == []
    source = "import keras\nkeras.backend.backend()"
    for path in ("_training/steps.py", "_deploy/running.py", "scaling.py"):
        assert find_source_problems(source, path) == []
    for path in ("_networks/graph.py", "_shared/arguments.py", "deployment.py", "scaling_2.py"):
        assert len(find_source_problems(source, path)) == 1


def test_labeled_equations_are_read():
    text = r"""Text $$a$$.

$$
y = 2
x
$$ (eq-double)

$$z$$

$$ \begin{aligned} a &= b \\ c &= d \end{aligned} $$ (eq-two)
"""
    found = contract.equations_in(text, "notebooks/01_convolution")
    assert [(e.label, contract.fold(e.body)) for e in found] == [
        ("eq-double", "y=2x"),
        ("eq-two", r"a&=b\\c&=d"),
    ]


def test_math_blocks_are_read():
    docstring = """One sentence, :eq:`eq-a` and :eq:`eq-b`.

    .. math::

        a = b \\\\
        c = d

    Text.

    .. math:: e = f
    """
    function = contract.function_from("dense.f", docstring)
    assert function.labels == ("eq-a", "eq-b")
    assert [contract.fold(b) for b in function.blocks] == [r"a=b\\c=d", "e=f"]

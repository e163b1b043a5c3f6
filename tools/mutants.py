"""Changes the package in small ways and asks its tests whether they notice.

    python -m tools.mutants                     a sample of three minutes
    python -m tools.mutants --all               every mutant, which takes hours
    python -m tools.mutants --all normalization of these modules alone

A mutant is one change to one place: an operator, a comparison, a number, a condition, a statement
left out. Each runs the tests of its module, in a copy of the tree. A mutant that no test notices
survives; if it computes the same as the original, it is listed with its reason in
`tests/equivalent_mutants.yml`, and does not count.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.yml"
ROOMS = {  # what tests a private room; a topic module has a test file of its own name
    "__init__": ("package",),
    "_shared/arguments": ("arguments", "convolution"),
    "_shared/files": ("datasets", "deployment"),
    "_shared/labels": ("labels", "losses"),
    "_shared/npz": ("datasets",),
    "_shared/rounding": ("quantization", "quantize_aware"),
    "_shared/tracing": ("losses",),
    "_shared/windows": ("convolution", "pooling"),
    "_deploy": ("deployment",),
    "_figures": ("plotting",),
    "_images": ("augmentation",),
    "_networks": ("quantize_aware", "quantized_files", "pruning", "industrial_cnn", "distillation"),
    "_shapes": ("datasets",),
    "_training": ("training", "distillation"),
    "exercises": ("exercises",),
    "quantization": ("quantization", "quantize_aware"),
}
SHARE = 0.95  # of the mutants, that must be noticed
SAMPLE_SECONDS = 180
SLOWEST = 300  # seconds for one mutant
COMPARISONS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
}
OPERATORS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult},
}


# Mutations: each function returns the changed copies of one node


def _with(node, **changes):
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def _changes(node):
    """What may stand in the place of a node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        return [_with(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])]
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        return [_with(node, op=OPERATORS[type(node.op)]())]
    if isinstance(node, ast.BoolOp):
        return [_with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [node.operand]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [_with(node, value=not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return [_with(node, value=node.value + 1)]
    if isinstance(node, ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        return [ast.Pass()]
    return []


def _is_left_alone(node):
    """The texts of messages, and zip(strict=True), which only guards against slips."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.keyword) and node.arg == "strict"
    )


def _places(tree):
    """(node, what may stand in its place) in the order of the source."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found += [(node, change) for change in _changes(node)]
        waiting += [c for c in ast.iter_child_nodes(node) if not _is_left_alone(c)]
    return sorted(
        found, key=lambda pair: (pair[0].lineno, pair[0].col_offset, type(pair[0]).__name__)
    )


class _Replace(ast.NodeTransformer):
    def __init__(self, place, change):
        self.place, self.change = place, change

    def visit(self, node):
        if node is self.place:
            return ast.copy_location(self.change, node)
        return self.generic_visit(node)


def mutants_of(source):
    """[(name, text of the changed module)]; the name is the changed line, before and after."""
    found = []
    for index in range(len(_places(ast.parse(source)))):
        tree = ast.parse(source)
        place, change = _places(tree)[index]
        before = ast.unparse(place).partition("\n")[0]
        after = ast.unparse(change).partition("\n")[0]
        changed = ast.fix_missing_locations(_Replace(place, change).visit(tree))
        found.append((f"{place.lineno}: {before} -> {after}", ast.unparse(changed) + "\n"))
    return found


# Which tests judge a module


def tests_of(module, root=ROOT):
    """The test files of a module such as "pooling" or "_networks/graph"."""
    names = ROOMS.get(module) or ROOMS.get(module.partition("/")[0]) or (module,)
    paths = [root / "tests" / f"test_{name}.py" for name in names]
    return [str(p.relative_to(root)) for p in paths if p.exists()]


def modules(root=ROOT):
    package = root / "cnnbook"
    names = (p.relative_to(package).with_suffix("").as_posix() for p in package.rglob("*.py"))
    return sorted(n for n in names if tests_of(n, root))


# Running: every mutant in a child of this process, which has imported the libraries


@contextlib.contextmanager
def _copies(count):
    """Copies of the tree, one for each mutant that runs at a time."""
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder, str(i)) for i in range(count)]
        for tree in trees:
            tree.mkdir()
            for name in ("cnnbook", "tests"):
                ignored = shutil.ignore_patterns("__pycache__", "browser")
                shutil.copytree(ROOT / name, tree / name, ignore=ignored)
            for name in ("pyproject.toml", "book", "notebooks", "benchmarks", "tools"):
                (tree / name).symlink_to(ROOT / name)
        yield trees


def _start(tree, module, text, tests):
    """A child that exits with what pytest says of the mutant; (its number, when it began)."""
    child = os.fork()
    if child:
        return child, time.monotonic()
    code = 1
    try:
        os.setsid()
        os.chdir(tree)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        path = tree / "cnnbook" / f"{module}.py"
        original = path.read_text()
        path.write_text(text)
        try:
            import pytest

            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
            code = int(pytest.main([*options, *tests, f"cnnbook/{module}.py"]))
        finally:
            path.write_text(original)
    finally:
        os._exit(code)


def _finished(running):
    """Takes the children that have ended, or have run too long, out of `running`: (job, killed)."""
    done = []
    for child, (tree, job, began) in list(running.items()):
        ended, status = os.waitpid(child, os.WNOHANG)
        late = time.monotonic() - began > SLOWEST
        if not ended and not late:
            continue
        if not ended:  # it hangs, which is noticed as well
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            module = job[0]
            original = (ROOT / "cnnbook" / f"{module}.py").read_text()
            (tree / "cnnbook" / f"{module}.py").write_text(original)
        del running[child]
        done.append((tree, job, late or os.waitstatus_to_exitcode(status) != 0))
    return done


def run(jobs, seconds=None, processes=2, report=print):
    """{(module, name): whether a test noticed} for the jobs that fit into so many seconds."""
    sys.dont_write_bytecode = True  # a mutant of the same second and size is another one
    import keras  # noqa: F401 (the children begin with it)
    import pytest  # noqa: F401

    verdicts, running = {}, {}
    began = time.monotonic()
    waiting = list(reversed(jobs))
    with _copies(processes) as trees:
        free = list(trees)
        while waiting or running:
            over = seconds is not None and time.monotonic() - began > seconds
            if over and not running:
                break
            while free and waiting and not over:
                job, tree = waiting.pop(), free.pop()
                module, _, text = job
                child, start = _start(tree, module, text, tests_of(module))
                running[child] = (tree, job, start)
            select.select([], [], [], 0.1)
            for tree, (module, name, _), killed in _finished(running):
                free.append(tree)
                verdicts[module, name] = killed
                report(f"{'noticed ' if killed else 'SURVIVED'} {module}:{name}", flush=True)
    return verdicts


def controls(names):
    """Jobs that change nothing: were one noticed, the tests would fail without any mutant."""
    texts = {n: ast.unparse(ast.parse((ROOT / "cnnbook" / f"{n}.py").read_text())) for n in names}
    return [(name, "0: nothing", text + "\n") for name, text in texts.items()]


def equivalent(path=EQUIVALENT):
    """{module: {what a mutant changes, without its line number: why nothing changes by it}}."""
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def without_equivalent(jobs, known):
    return [j for j in jobs if j[1].partition(": ")[2] not in known.get(j[0], {})]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="such as pooling or _networks/graph")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=SAMPLE_SECONDS, help="of the sample")
    options = parser.parse_args()
    unknown = sorted(set(options.modules) - set(modules()))
    if unknown:
        parser.error(f"no module with tests: {', '.join(unknown)}")
    jobs = []
    for module in options.modules or modules():
        source = (ROOT / "cnnbook" / f"{module}.py").read_text()
        jobs += [(module, name, text) for name, text in mutants_of(source)]
    jobs = without_equivalent(jobs, equivalent())
    random.Random(options.seed).shuffle(jobs)
    chosen = options.modules or modules()
    failing = run(controls(chosen if options.all else [jobs[0][0]]))
    if any(failing.values()):
        sys.exit("These tests fail on the package as it is.")
    verdicts = run(jobs, None if options.all else options.seconds)
    noticed = sum(verdicts.values())
    print(f"{noticed} of {len(verdicts)} mutants noticed (of {len(jobs)} that there are).")
    if not verdicts or noticed < SHARE * len(verdicts):
        sys.exit(f"At least {SHARE:.0%} must be noticed.")


if __name__ == "__main__":
    main()

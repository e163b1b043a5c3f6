"""Tests for what is shipped: the wheel, the README, the lock, and what must agree between files."""

import doctest
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cnnbook

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED_EXTRAS = ("tensorflow", "deploy", "book", "tests", "dev")
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(code, **options):
    """Runs a script that prints one line of JSON last."""
    return json.loads(run(sys.executable, "-c", code, **options).splitlines()[-1])


def tracked_files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [p for p in map(ROOT.joinpath, names.split("\0")) if p.is_file()]


def tracked_texts():
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path.relative_to(ROOT).as_posix(), content.decode()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel, and the sdist that it was built from."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def metadata(distributions):
    with zipfile.ZipFile(distributions[0]) as wheel:
        (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_string(wheel.read(name).decode())


# The wheel


def test_twine_accepts_the_distributions(distributions):
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, distributions))


def test_wheel_holds_the_package_and_its_license_and_nothing_else(distributions):
    info = f"cnnbook-{cnnbook.__version__}.dist-info"
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "cnnbook").rglob("*.py")}
    with zipfile.ZipFile(distributions[0]) as wheel:
        assert "cnnbook/exercises/__init__.py" in package
        assert set(wheel.namelist()) == package | {
            f"{info}/METADATA",
            f"{info}/WHEEL",
            f"{info}/RECORD",
            f"{info}/licenses/LICENSE",
        }


def test_wheel_asks_for_no_backend(metadata):
    requirements = [Requirement(r) for r in metadata.get_all("Requires-Dist")]
    core = {r.name for r in requirements if not r.marker}
    assert core == {"keras", "numpy", "matplotlib", "scikit-learn", "platformdirs", "filelock"}


def test_wheel_runs_alone(distributions, tmp_path):
    target = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--target", str(target), str(distributions[0]))
    code = """
import importlib, json, pkgutil, sys
sys.path.insert(0, "site")
import cnnbook
names = [m.name for m in pkgutil.walk_packages(cnnbook.__path__, "cnnbook.")]
files = [importlib.import_module(n).__file__ for n in names]
from cnnbook.convolution import conv2d
print(json.dumps([files, float(conv2d([[[[2.0]]]], [[[[3.0]]]])[0, 0, 0, 0])]))
"""
    files, product = run_python(code, cwd=tmp_path)
    assert product == 6.0
    assert len(files) >= 2
    assert all(Path(f).is_relative_to(target) for f in files), files


@pytest.fixture(scope="module")
def added():
    """What each module, imported in turn, adds to `import keras` beside the standard library."""
    names = {p.stem for p in (ROOT / "cnnbook").glob("[a-z]*.py")} - {"datasets", "plotting"}
    names = ["cnnbook", *(f"cnnbook.{name}" for name in sorted(names))]
    return run_python(f"""
import importlib, json, sys
import keras
added = {{}}
for name in {names!r}:
    before = set(sys.modules)
    importlib.import_module(name)
    packages = {{m.partition(".")[0] for m in set(sys.modules) - before}}
    added[name] = sorted(packages - set(sys.stdlib_module_names))
print(json.dumps(added))
""")


def test_import_adds_nothing_but_the_package(added):
    assert added["cnnbook"] == ["cnnbook"]
    assert added["cnnbook.convolution"] == ["cnnbook"]
    assert {package for packages in added.values() for package in packages} == {"cnnbook"}, added


# A machine without the backend

HIDING = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {hidden!r}
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
import {module}
print("keras" in sys.modules, *sorted({{"tensorflow", "jax", "torch"}} & set(sys.modules)))
"""
BACKENDS = ("tensorflow", "jax", "torch")


def import_without(hidden, tmp_path, module="cnnbook", **environment):
    """Imports a module where some packages are hidden, away from this machine's settings."""
    environment = {"PATH": "", "KERAS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **environment}
    code = HIDING.format(hidden=set(hidden), module=module)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize("module", ["cnnbook", "cnnbook.convolution", "cnnbook.datasets"])
def test_without_a_backend_the_import_names_extras_and_variable(tmp_path, module):
    done = import_without(BACKENDS, tmp_path, module)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "tensorflow, which Keras is set to, is not installed: install it by" in message
    for word in ("cnnbook[tensorflow]", "[jax]", "[torch]", "KERAS_BACKEND"):
        assert word in message, word


@pytest.mark.parametrize(
    ("settings", "environment"),
    [(None, {"KERAS_BACKEND": "jax"}), ('{"backend": "jax"}', {})],
)
def test_the_backend_that_keras_is_set_to_is_named(tmp_path, settings, environment):
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    done = import_without({"jax", "torch"}, tmp_path, **environment)
    message = done.stderr.splitlines()[-1]
    assert "jax, which Keras is set to, is not installed" in message
    assert "cnnbook[jax]" in message
    assert "set the environment variable KERAS_BACKEND to tensorflow, or install" in message


@pytest.mark.parametrize("settings", [None, "[]", "{", '{"backend": "tensorflow"}'])
def test_with_a_backend_the_import_loads_nothing(tmp_path, settings):
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    done = import_without({"jax", "torch"}, tmp_path)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_help_says_what_is_in_the_package():
    from tools.chapters import existing_names, read_contents

    contents = read_contents()
    present = contents.only(existing_names(contents))
    assert len(present.chapters) >= 17
    for module in (*present.chapters, *present.others):
        line = re.search(rf"\b{module.name} +{re.escape(module.holds)}$", cnnbook.__doc__, re.M)
        assert line, module.name
        assert (ROOT / "cnnbook" / f"{module.name}.py").exists() or module.name == "exercises"


# The README


def test_readme_examples_print_what_they_say():
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    for number, block in enumerate(blocks):
        test = parser.get_doctest(block, {}, f"README block {number}", "README.md", None)
        assert test.examples
        runner.run(test)
    assert runner.summarize(verbose=False).attempted >= 5
    assert runner.summarize(verbose=False).failed == 0


def test_readme_is_short_and_begins_with_the_commands():
    chapters = re.compile(r"^<!-- begin: chapters.*?^<!-- end: chapters -->\n", re.M | re.S)
    lines = chapters.sub("", README).splitlines()  # less the list, which has a line for each
    assert len(lines) <= 120
    for command in ("make book", "make test", "pip install"):
        assert any(line.startswith(command) for line in lines[:25]), command


def test_contributing_is_short_and_names_commands_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert len(text.split()) < 250
    assert "at most 50 characters" in text
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = [word for made in re.findall(r"`make ([^`]+)`", text) for word in made.split()]
    assert {"chapter", "chapters", "text", "notebooks"} <= set(named)
    assert {word for word in named if "=" not in word} <= targets


def test_readme_lists_the_commands_of_the_makefile():
    listed = set(re.findall(r"^\| `make ([a-z-]+)`", README, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert listed == targets - {"help"}


# Publishing


def read_workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))


def jobs_before(jobs, name):
    """The jobs that must have passed before a job begins."""
    needs = jobs[name].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(jobs_before(jobs, other) for other in direct))


def test_nothing_is_published_before_all_tests_have_passed():
    jobs = read_workflow("publish")["jobs"]
    (gate,) = (n for n, job in jobs.items() if job.get("uses", "").endswith("/tests.yml"))
    assert {"pages", "colab", "package"} <= set(jobs)
    for name in set(jobs) - {gate}:
        assert gate in jobs_before(jobs, name), name
        assert "always()" not in str(jobs[name].get("if", "")), name
    tests = read_workflow("tests")
    assert "workflow_call" in tests[True]  # YAML reads `on` as true
    steps = [step.get("run") for job in tests["jobs"].values() for step in job["steps"]]
    for command in ("test", "book", "lint", "backends", "browser"):
        assert f"make {command}" in steps, command


# The lock


def locked_versions():
    lines = re.findall(r"^([\w.-]+)==([\w.]+)(.*)$", LOCK, re.MULTILINE)
    return [(canonicalize_name(name), number, rest) for name, number, rest in lines]


LOCK = (ROOT / "requirements.txt").read_text()


def test_lock_is_exact_and_hashed():
    entries = [e for e in re.split(r"^(?=[\w])", LOCK, flags=re.MULTILINE) if e[0] not in "#\n"]
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+( ; .*)? \\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_lock_meets_what_the_project_asks_for():
    asked = PROJECT["dependencies"] + [
        r for extra in LOCKED_EXTRAS for r in PROJECT["optional-dependencies"][extra]
    ]
    locked = locked_versions()
    for requirement in map(Requirement, asked):
        numbers = [v for name, v, _ in locked if name == canonicalize_name(requirement.name)]
        assert numbers, f"{requirement} is not in requirements.txt: make lock"
        assert all(requirement.specifier.contains(v) for v in numbers), (requirement, numbers)


def test_lock_is_what_is_installed():
    for name in ("keras", "tensorflow", "nbval", "jupyter-book"):
        assert version(name) in [v for n, v, _ in locked_versions() if n == name], name


def test_core_has_lower_bounds_only():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        operators = {s.operator for s in requirement.specifier}
        assert operators <= {">=", "<"}, requirement
        if "<" in operators:
            assert requirement.name == "keras"


# What must agree between files


def test_versions_agree(metadata):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cnnbook.__version__ == metadata["Version"] == citation["version"]


def test_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": PROJECT["authors"][0]["name"]}]
    assert citation["title"] and citation["message"]


def test_public_address_stands_in_one_place():
    """Elsewhere only where tools/install.py has written it from there."""
    address = PROJECT["urls"]["Repository"].removeprefix("https://")
    written = re.compile(r"^<!-- begin: install.*?^<!-- end: install", re.M | re.S)
    found = [name for name, text in tracked_texts() if address in written.sub("", text)]
    assert found == ["pyproject.toml"]


MACHINE = re.compile(
    r"(?<![\w.~}>*-])/(?:home|opt|root|tmp|Users|work)/\w"  # a path of somebody's machine
    r"|pypi[.]org|pythonhosted[.]|registry[.]npmjs|npmjs[.]org|deb[.]debian"  # a registry
)


def test_files_name_no_machine_and_no_registry():
    found = {
        name: match.group()
        for name, text in tracked_texts()
        if (match := MACHINE.search(text)) is not None
    }
    assert not found


def test_finds_machine_paths_and_registries():
    for line in ("open('/{}/x')", "cd /{}/a", 'see "/{}/b"'):
        for folder in ("home", "opt", "root", "tmp", "Users", "work"):
            assert MACHINE.search(line.format(folder)), line
    assert MACHINE.search(f"https://{'pypi'}.org/project")
    for line in ("../shared/{}/x", "https://a.b/{}/x", "build/{}/x", "$HOME/{}/x"):
        for folder in ("tmp", "work"):
            assert not MACHINE.search(line.format(folder)), line

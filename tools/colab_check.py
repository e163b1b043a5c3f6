"""Does the wheel install and run where Colab's versions are?

    python -m tools.colab_check [NAME]     NAME: a chapter's number or name, 01 by default

Makes .venv-colab from tools/colab-requirements.txt, builds the wheel, and fails unless
installing it (and then its extra [deploy]) changes no installed package, the unit tests pass on
the installed wheel, and Colab's copy of the chapter runs from top to bottom.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.colab import write_copy
from tools.pages import Book
from tools.storage import ROOT, NotebookError, find_notebooks

VERSION = "3.13"
ENVIRONMENT = ROOT / ".venv-colab"
PYTHON = ENVIRONMENT / "bin" / "python"
REQUIREMENTS = ROOT / "tools" / "colab-requirements.txt"
SCRATCH = ROOT / "build" / "colab-check"
OF_THE_REPOSITORY = {  # they read files that no wheel holds
    *("test_benchmarks", "test_chapters", "test_contract", "test_mutants", "test_notebooks"),
    *("test_package", "test_tools"),
}


class CheckError(Exception):
    """What does not hold in Colab's environment."""


def run(*command, cwd=ROOT, **options):
    """Runs a command and returns its output, if asked; raises where it fails."""
    command = [str(c) for c in command]
    print("+", *command, flush=True)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "KERAS_BACKEND": "tensorflow"}
    result = subprocess.run(command, cwd=cwd, env=environment, text=True, **options)
    if result.returncode:
        raise CheckError(f"failed with {result.returncode}: {' '.join(command)}")
    return result.stdout


def find_python():
    """Python of Colab's version: on the path, else among pyenv's."""
    name = f"python{VERSION}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [shutil.which(name)]
    candidates += sorted(pyenv.glob(f"versions/{VERSION}.*/bin/{name}"), reverse=True)
    for candidate in filter(None, candidates):
        works = subprocess.run([candidate, "-c", "import venv"], capture_output=True)
        if not works.returncode:  # a pyenv shim of a version that is not switched on fails
            return candidate
    raise CheckError(f"no {name} on PATH and none in {pyenv}/versions; install Python {VERSION}.")


def make_environment():
    """Colab's versions in .venv-colab, made anew when the requirements change."""
    stamp = ENVIRONMENT / "requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    run(find_python(), "-m", "venv", "--clear", ENVIRONMENT)
    run(PYTHON, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
    run(PYTHON, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS)
    stamp.write_text(wanted)


def installed():
    """The installed packages and their versions."""
    listed = run(PYTHON, "-m", "pip", "list", "--format=freeze", stdout=subprocess.PIPE)
    return set(listed.split())


def assert_nothing_was_changed(before, after):
    added, removed = sorted(after - before), sorted(before - after)
    if removed:
        raise CheckError(f"installing the wheel changes packages: {removed} became {added}.")


def assert_only_cnnbook_was_added(before, after):
    assert_nothing_was_changed(before, after)
    added = sorted(after - before)
    if [p.partition("==")[0] for p in added] != ["cnnbook"]:
        raise CheckError(f"installing the wheel changes packages: it adds {added}.")


def install_wheel():
    """Builds the wheel, installs it, and then what [deploy] adds; no other package may change."""
    wheels = SCRATCH / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels)
    (wheel,) = wheels.glob("*.whl")
    run(PYTHON, "-m", "pip", "uninstall", "--quiet", "--yes", "cnnbook")
    before = installed()
    run(PYTHON, "-m", "pip", "install", "--quiet", wheel)
    after = installed()
    assert_only_cnnbook_was_added(before, after)
    run(PYTHON, "-m", "pip", "install", "--quiet", f"{wheel}[deploy]")
    assert_nothing_was_changed(after, installed())
    print(f"Installed {wheel.name} and [deploy]: {len(before)} packages unchanged.")


def choose_tests(folder):
    """Every test file but those of the repository."""
    tests = [p for p in sorted(folder.glob("test_*.py")) if p.stem not in OF_THE_REPOSITORY]
    if not tests:
        raise CheckError(f"no tests of the package were found in {folder}.")
    return tests


def run_tests():
    """The unit tests of the installed package, away from the sources."""
    folder = SCRATCH / "tests"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "tests", folder, ignore=shutil.ignore_patterns("__pycache__"))
    where = "import cnnbook, pathlib; print(pathlib.Path(cnnbook.__file__).parent)"
    package = Path(run(PYTHON, "-c", where, cwd=SCRATCH, stdout=subprocess.PIPE).strip())
    if not package.is_relative_to(ENVIRONMENT):
        raise CheckError(f"cnnbook is imported from {package}, not from the wheel.")
    shutil.copy(ROOT / "pyproject.toml", SCRATCH)  # pytest's settings
    tests = choose_tests(folder)
    options = ["-q", "-p", "no:cacheprovider", "-W", "default"]  # old packages may warn
    run(PYTHON, "-m", "pytest", *options, *tests, cwd=SCRATCH)


def run_copy(name):
    """Colab's copy of a chapter, from top to bottom."""
    book = Book.read()
    for path in find_notebooks([name]):
        print(write_copy(path, book))
        copy = ROOT / "build" / "colab" / path.name
        run(PYTHON, "-m", "jupyter", "execute", "--timeout=600", copy, cwd=copy.parent)


def main(arguments):
    try:
        make_environment()
        install_wheel()
        run_tests()
        run_copy(arguments[0] if arguments else "01")
    except (CheckError, NotebookError) as error:
        print(error, file=sys.stderr)
        return 1
    print("Colab's versions: the wheel, the tests and the copy are in order.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

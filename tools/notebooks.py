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
import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT, SCALE_TIMEOUT = 600, 7200  # seconds, for one cell; at full size
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = {"tags", "mystnb"}  # what a committed cell may carry
COUNTED_VERSIONS = ("keras", "tensorflow", "jax", "torch", "numpy")
PROBE = f"""
import importlib.metadata, json, platform, sys, keras
loaded = [name for name in {COUNTED_VERSIONS} if name in sys.modules]
versions = {{name: importlib.metadata.version(name) for name in loaded}}
versions["python"] = platform.python_version()
print(json.dumps({{"backend": keras.backend.backend(), "versions": versions}}))
"""
LOG_LINE = re.compile(  # of TensorFlow's native code: times, process ids, the processor
    r"^(?:[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    r"|WARNING: All log messages before absl|To enable the following instructions:).*\n?",
    re.MULTILINE,
)


class NotebookError(Exception):
    """A notebook that cannot be stored; the message says which and why."""


# Where things are


def twin_path(notebook, root=ROOT):
    """The text of a notebook."""
    relative = notebook.relative_to(root).with_suffix(".md")
    parts = relative.parts[1:] if relative.parts[0] == "notebooks" else relative.parts
    return root.joinpath("build", "text", *parts)


def notebook_path(twin, root=ROOT):
    """The notebook of a text."""
    relative = twin.relative_to(root / "build" / "text").with_suffix(".ipynb")
    return root / relative if relative.parts[0] == "book" else root / "notebooks" / relative


def is_selected(path, names):
    number = path.stem.split("_")[0]
    return not names or any(n == path.stem or n.zfill(2) == number for n in names)


def find_notebooks(names=(), root=ROOT, *, with_texts=False):
    """The notebooks that are meant, sorted; with those that exist only as text, if asked."""
    found = {p for folder in ("notebooks", "book") for p in (root / folder).rglob("*.ipynb")}
    if with_texts:
        found |= {notebook_path(p, root) for p in (root / "build" / "text").rglob("*.md")}
    found = sorted(p for p in found if ".ipynb_checkpoints" not in p.parts)
    for name in names:
        if not any(is_selected(p, [name]) for p in found):
            raise NotebookError(f"there is no notebook {name!r}.")
    return [p for p in found if is_selected(p, names)]


# Reading and writing


def is_newer(twin, notebook):
    """Whether the text holds edits that the notebook does not have."""
    if not twin.exists():
        return False
    return not notebook.exists() or twin.stat().st_mtime_ns > notebook.stat().st_mtime_ns


def keep_in_step(twin, notebook):
    """Gives the text its notebook's time: neither is newer."""
    stamp = notebook.stat().st_mtime_ns
    os.utime(twin, ns=(stamp, stamp))


def write_atomically(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def serialize(notebook):
    """The one form in which a notebook is stored."""
    return nbformat.writes(notebook) + "\n"


def cell_id(name, cell, seen):
    """An identifier that changes only when the cell's own source does."""
    key = f"{name}\0{cell.cell_type}\0{cell.source}"
    seen[key] = seen.get(key, 0) + 1
    return hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:8]


def canonical(notebook, name):
    """The notebook with the metadata that it needs and no other; outputs as they are."""
    seen = {}
    cells = []
    for old in notebook.cells:
        cell = nbformat.from_dict(old)
        cell.metadata = {k: v for k, v in sorted(old.metadata.items()) if k in CELL_METADATA}
        cell["id"] = cell_id(name, cell, seen)
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def to_text(notebook):
    return jupytext.writes(notebook, fmt="md:myst")


def from_text(text):
    return jupytext.reads(text, fmt="md:myst")


def write_text(path, root=ROOT):
    """Writes the notebook's text, unless that has edits; says which it did."""
    twin = twin_path(path, root)
    if is_newer(twin, path):
        return f"{twin.relative_to(root)} is newer than its notebook: left as it is."
    if twin.exists() and twin.stat().st_mtime_ns == path.stat().st_mtime_ns:
        return f"{twin.relative_to(root)} is in step with its notebook."
    write_atomically(twin, to_text(nbformat.read(path, as_version=4)))
    keep_in_step(twin, path)
    return f"{twin.relative_to(root)} written."


# Executing


def merge_streams(outputs):
    """Consecutive outputs of one stream as one output, without TensorFlow's log lines."""
    merged = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            output.text = LOG_LINE.sub("", output.text)
            if not output.text.strip():
                continue
        if (
            output.output_type == "stream"
            and merged
            and merged[-1].output_type == "stream"
            and merged[-1].name == output.name
        ):
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def output_texts(output):
    """Everything that an output says in words."""
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return [output.evalue, *output.traceback]
    return [str(v) for k, v in output.data.items() if not k.startswith("image/") or "svg" in k]


def machine_paths(root=ROOT):
    """Beginnings of paths that exist on this machine only."""
    return sorted({f"{root}/", f"{Path.home()}/", f"{sys.prefix}/", "/tmp/"})


def find_machine_path(cell, paths):
    for output in cell.get("outputs", []):
        for text in output_texts(output):
            for path in paths:
                if path in text:
                    return path
    return None


def normalize_outputs(notebook, name, root=ROOT):
    """Makes outputs of two runs alike; raises where they name an error or this machine."""
    paths = machine_paths(root)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        cell.outputs = merge_streams(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "error":
                raise NotebookError(f"{name}: cell {index} raises {output.ename}: {output.evalue}")
        path = find_machine_path(cell, paths)
        if path:
            raise NotebookError(f"{name}: the output of cell {index} has the path {path}")


def processor():
    """The processor's model, as the system names it."""
    with contextlib.suppress(OSError):
        match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if match:
            return " ".join(match[1].split())
    import platform

    return platform.processor() or platform.machine()


def run(notebook, folder, name):
    """Executes the notebook in place; returns seconds, and what the kernel says of itself."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's log has times in it
    client = NotebookClient(
        notebook,
        timeout=SCALE_TIMEOUT if folder.name == "at_scale" else TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    started = time.perf_counter()
    index = 0
    try:
        with client.setup_kernel():
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            seconds = time.perf_counter() - started
            probe = nbformat.v4.new_code_cell(PROBE)
            notebook.cells.append(probe)
            client.execute_cell(probe, len(notebook.cells) - 1)
            notebook.cells.pop()
    except CellExecutionError as error:
        raise NotebookError(f"{name}: cell {index} fails.\n{plain(str(error))}") from None
    except (CellTimeoutError, DeadKernelError, RuntimeError) as error:
        raise NotebookError(f"{name}: cell {index}: {error}") from None
    printed = [output.text for output in probe.outputs if output.get("name") == "stdout"]
    return seconds, json.loads("".join(printed))


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def quote_record(notebook):
    """Puts what a full-size run prints of itself, from 'hardware:' on, on top; returns whether."""
    printed = [
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.text.startswith("hardware: ")
    ]
    if not printed:
        return False
    quoted = f"```text\n{printed[-1].strip()}\n```"
    top = notebook.cells[0]
    top.source = re.sub(r"```text\n.*?\n```", lambda _: quoted, top.source, flags=re.DOTALL)
    return True


def record_status(path, seconds, about, root=ROOT):
    """Notes for the status page what ran, where, when and for how long."""
    status_path = root / "book" / "_data" / "status.json"
    lock_path = root / "build" / "status.lock"
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status = json.loads(status_path.read_text()) if status_path.exists() else {}
        status[path.relative_to(root).with_suffix("").as_posix()] = {
            "seconds": round(seconds, 1),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            **about,
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)),
        }
        write_atomically(status_path, json.dumps(status, indent=1, sort_keys=True) + "\n")


def execute(path, root=ROOT):
    """Executes one notebook, its text first if that is newer, and stores the outputs.

    Raises:
        NotebookError: If a cell fails or an output names this machine; then
            the stored notebook stays as it was.
    """
    twin = twin_path(path, root)
    name = path.relative_to(root).as_posix()
    read_at = twin.stat().st_mtime_ns if twin.exists() else None
    if is_newer(twin, path):
        notebook = from_text(twin.read_text(encoding="utf-8"))
    else:
        notebook = nbformat.read(path, as_version=4)
    notebook = canonical(notebook, path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds, about = run(notebook, path.parent, name)
    normalize_outputs(notebook, name, root)
    quoted = quote_record(notebook)
    write_atomically(path, serialize(canonical(notebook, path.stem)))
    if read_at is not None:
        if twin.stat().st_mtime_ns == read_at:
            if quoted:
                write_atomically(twin, to_text(notebook))
            keep_in_step(twin, path)
        else:  # edited while the notebook ran: still newer
            stamp = path.stat().st_mtime_ns + 1_000_000
            os.utime(twin, ns=(stamp, stamp))
    record_status(path, seconds, about, root)
    return f"{name}: {seconds:.1f} s on {about['backend']}."


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["text", "execute", "colab"])
    parser.add_argument("names", nargs="*", metavar="NN", help="a number or a name; all if none")
    options = parser.parse_args(arguments)
    if options.command == "colab":
        from tools.colab import write_copy as action
    else:
        action = {"text": write_text, "execute": execute}[options.command]
    failures = 0
    try:
        paths = find_notebooks(options.names, root, with_texts=options.command == "execute")
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "execute" and not options.names:
        paths = [p for p in paths if p.parent.name != "at_scale"]
    for path in paths:
        try:
            print(action(path, root), flush=True)
        except NotebookError as error:
            failures += 1
            print(error, file=sys.stderr, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    from tools.notebooks import main as start  # one NotebookError, also for tools.colab

    sys.exit(start())

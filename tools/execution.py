"""Executes a notebook, stores its outputs, and notes what ran, where and for how long."""

import contextlib
import datetime
import json
import os
import platform
import re
import sys
import time
from pathlib import Path

import nbformat
from filelock import FileLock
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools.storage import (
    ROOT,
    NotebookError,
    canonical,
    from_text,
    is_newer,
    keep_in_step,
    serialize,
    to_text,
    twin_path,
    write_atomically,
)

TIMEOUT, SCALE_TIMEOUT = 600, 7200  # seconds, for one cell; at full size
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
    return platform.processor() or platform.machine()


def count_cores():
    """The cores that this process may use; all of them where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


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
    with FileLock(lock_path):
        status = json.loads(status_path.read_text()) if status_path.exists() else {}
        status[path.relative_to(root).with_suffix("").as_posix()] = {
            "seconds": round(seconds, 1),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            **about,
            "processor": processor(),
            "cores": count_cores(),
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

"""Checkpoints of a training run: written whole or not at all, and checked before they are used.

A checkpoint is a folder with two files. ``state.bin`` has arrays, one after the other, and
``progress.json`` a record of everything else, with the digest of the arrays and of itself.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from pathlib import Path

import numpy as np

STATE, PROGRESS, VERSION = "state.bin", "progress.json", 2
COMPLETE = re.compile(r"epoch-(\d{6,})-step-(\d{9,})")
UNFINISHED = re.compile(r"unfinished-\d+")


def prepare(folder):
    """The folder, made if it is not there."""
    try:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except (TypeError, ValueError, OSError) as error:
        raise ValueError(f"checkpoint must be a folder, got {str(folder)!r}: {error}.") from error
    return folder


def _flush(path):
    """Returns when the file, or the folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_arrays(path, arrays):
    with path.open("wb") as file:
        for array in arrays:
            file.write(array.tobytes())


def _file_digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(record):
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def write(folder, arrays, record):
    """Writes one checkpoint, renames it to a name never used before, and removes the last one.

    A process that is killed, or a disk that is full, leaves the last complete one as it was.
    """
    target = folder / _name(record)
    unfinished = folder / f"unfinished-{os.getpid()}"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _write_arrays(unfinished / STATE, arrays)
        record = {
            "version": VERSION,
            "digest": _file_digest(unfinished / STATE),
            "arrays": [[str(array.dtype), list(array.shape)] for array in arrays],
            **record,
        }
        text = json.dumps({"record": record, "digest": _digest(record)})
        (unfinished / PROGRESS).write_text(text, "utf-8")
        for path in (*unfinished.iterdir(), unfinished):
            _flush(path)
        os.replace(unfinished, target)
        _flush(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    for path in _complete(folder):
        if _place(path) < _place(target):
            shutil.rmtree(path)


def _name(record):
    return f"epoch-{record['epoch']:06d}-step-{record['step']:09d}"  # epochs finished, steps done


def _place(path):
    return tuple(map(int, COMPLETE.fullmatch(path.name).groups()))


def _complete(folder):
    """The checkpoints in the folder, the last one at the end."""
    found = [path for path in folder.iterdir() if COMPLETE.fullmatch(path.name)]
    for path in found:
        _require_folder(path)
    return sorted(found, key=_place)


def _require_folder(path):
    if path.is_symlink() or not path.is_dir():
        kind = "a link" if path.is_symlink() else "a file"
        raise ValueError(f"checkpoint {path} must be a folder, but it is {kind}.")


def latest(folder):
    """The last complete checkpoint, or None."""
    complete = _complete(folder)
    return complete[-1] if complete else None


def remove_unfinished(folder):
    """Removes what a killed process has left."""
    for path in folder.iterdir():
        if UNFINISHED.fullmatch(path.name):
            _require_folder(path)
            shutil.rmtree(path)


def _require_file(path):
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        raise ValueError(f"checkpoint {path.parent} is damaged: {path.name} is missing.") from None
    if not is_file:
        raise ValueError(f"checkpoint {path.parent} is damaged: {path.name} is no file.")


def read(path):
    """(arrays, record) of a checkpoint that is whole."""
    record = _read_progress(path)
    _require_file(path / STATE)
    kinds = [(np.dtype(name), tuple(shape)) for name, shape in record["arrays"]]
    sizes = [dtype.itemsize * int(np.prod(shape, dtype="int64")) for dtype, shape in kinds]
    size = (path / STATE).stat().st_size
    if size != sum(sizes) or _file_digest(path / STATE) != record["digest"]:
        raise ValueError(
            f"checkpoint {path} is damaged: {STATE}, {size} bytes, is not what was written."
        )
    data, start, arrays = (path / STATE).read_bytes(), 0, []
    for (dtype, shape), count in zip(kinds, sizes, strict=True):
        values = np.frombuffer(data[start : start + count], dtype)
        arrays.append(values.reshape(shape).copy())
        start += count
    return arrays, record


def _read_progress(path):
    _require_file(path / PROGRESS)
    try:
        stored = json.loads((path / PROGRESS).read_text("utf-8"))
        if "files" in stored and "call" in stored:
            raise ValueError(
                f"checkpoint {path} is of an older version of cnnbook, whose checkpoints cannot be "
                "checked: end the run with that version, or begin it anew in another folder."
            )
        record = stored["record"]
        if stored["digest"] != _digest(record):
            raise KeyError("its digest is not that of its record")
    except (OSError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"checkpoint {path} is damaged: {PROGRESS}: {error}.") from error
    except RecursionError:
        raise ValueError(f"checkpoint {path} is damaged: {PROGRESS} is no record.") from None
    _require_record(path, record)
    return record


def _require_record(path, record):
    """What the run reads from a record is there, of the right kind and in agreement."""
    kinds = {"version": int, "arrays": list, "digest": str, "call": dict, "optimizer": list}
    kinds |= {"variables": list, "callbacks": list, "totals": list, "history": dict}
    kinds |= {"epoch": int, "batch": int, "step": int, "best_epoch": int, "stopped": bool}
    kinds |= {"generators": dict, "best": int}
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise ValueError(f"checkpoint {path} is damaged: {PROGRESS} is no record of version 2.")
    for name, kind in kinds.items():
        value = record.get(name)
        if type(value) is not kind or (kind is int and value < 0):
            raise ValueError(f"checkpoint {path} is damaged: {PROGRESS} has {name}={value!r}.")
    agree = {
        "epoch and step": _name(record) == path.name,
        "history": all(len(v) <= record["epoch"] for v in record["history"].values())
        and len(record["history"].get("loss", ())) == record["epoch"],
        "totals": len(record["totals"]) == 4 and (record["totals"][0] > 0) == (record["batch"] > 0),
        "best": len(record["variables"]) + record["best"] <= len(record["arrays"]),
        "callbacks": len(record["callbacks"]) == len(record["call"].get("callbacks", ())),
    }
    for name, is_right in agree.items():
        if not is_right:
            raise ValueError(f"checkpoint {path} is damaged: {PROGRESS} disagrees in {name}.")

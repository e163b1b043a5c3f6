"""Checkpoints of a training run: written whole or not at all, and checked before they are used."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np

WEIGHTS, BEST, PROGRESS = "state.weights.h5", "best.npz", "progress.json"
COMPLETE, UNFINISHED = re.compile(r"epoch-\d{6}-step-\d{9}"), re.compile(r"unfinished-\d+")


class _State(keras.Model):
    """What Keras saves into one file, as numbers and nothing else: network and optimizer."""

    def __init__(self, network, optimizer):
        super().__init__()
        self.network, self.updates = network, optimizer
        self.built = True


def _signature(model, optimizer):
    named = [("model", v) for v in model.variables]
    named += [("optimizer", v) for v in optimizer.variables]
    return [[kind, list(v.shape), str(v.dtype)] for kind, v in named]


def _streams(model):
    """The states of random generators, such as dropout's; Keras does not save them."""
    saved = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in saved]


def _digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path):
    """Returns when the file, or the folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(folder, name, model, optimizer, best, progress):
    """Writes one checkpoint, renames it to a name never used before, and removes the last one.

    A process that is killed, or a disk that is full, leaves the last complete one as it was.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    unfinished = folder / f"unfinished-{os.getpid()}"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _State(model, optimizer).save_weights(unfinished / WEIGHTS)
        if best is not None:
            np.savez(unfinished / BEST, *best)
        files = {path.name: _digest(path) for path in sorted(unfinished.iterdir())}
        streams = [keras.ops.convert_to_numpy(v).tolist() for v in _streams(model)]
        record = {"variables": _signature(model, optimizer), "files": files}
        record |= {"streams": streams, **progress}
        (unfinished / PROGRESS).write_text(json.dumps(record))
        for path in (*unfinished.iterdir(), unfinished):
            _flush(path)
        os.replace(unfinished, target)
        _flush(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    for path in folder.iterdir():
        if COMPLETE.fullmatch(path.name) and path.name < target.name:
            shutil.rmtree(path)


def latest(folder):
    """The last complete checkpoint, or None; what a killed process left unfinished is removed."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"checkpoint must be a folder, but {folder} is a file.")
    found = sorted(folder.iterdir()) if folder.exists() else []
    for path in found:
        if UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path)
    complete = [path for path in found if COMPLETE.fullmatch(path.name)]
    return complete[-1] if complete else None


def _read_progress(path):
    try:
        progress = json.loads((path / PROGRESS).read_text())
        digests = progress["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"checkpoint {path} is damaged: {PROGRESS}: {error}.") from error
    for name, digest in digests.items():
        if not (path / name).is_file():
            raise ValueError(f"checkpoint {path} is damaged: {name} is missing.")
        if _digest(path / name) != digest:
            size = (path / name).stat().st_size
            raise ValueError(
                f"checkpoint {path} is damaged: {name}, {size} bytes, is not what was written."
            )
    return progress


def read(path, model, optimizer):
    """Restores model and optimizer; returns (best weights or None, progress)."""
    progress = _read_progress(path)
    here, there = _signature(model, optimizer), progress["variables"]
    for i in range(max(len(here), len(there))):
        pair = [list_[i] if i < len(list_) else None for list_ in (there, here)]
        if pair[0] != pair[1]:
            raise ValueError(
                f"checkpoint {path} is of another model or optimizer: its variable {i} is "
                f"{pair[0]}, here it is {pair[1]} ([owner, shape, dtype])."
            )
    _State(model, optimizer).load_weights(path / WEIGHTS)
    for variable, value in zip(_streams(model), progress["streams"], strict=True):
        variable.assign(np.array(value, variable.dtype))
    best = None
    if BEST in progress["files"]:
        with np.load(path / BEST, allow_pickle=False) as arrays:
            best = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
    return best, progress

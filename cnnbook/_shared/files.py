"""Files of arrays that are whole or not there: checksums, temporary names, damaged files."""

import contextlib
import hashlib
import itertools
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

STAMP = (1980, 1, 1, 0, 0, 0)  # in every zip entry: equal arrays give equal files


class Damaged(Exception):
    """What is wrong with a file or with arrays, and which file it was."""

    file_id = None


def read(path, names, check):
    """The checked arrays of a file that is whole; raises Damaged where it is not."""
    with open(path, "rb") as file:  # one handle: another process may replace the file meanwhile
        try:
            recorded = _recorded_checksum(path)
            if recorded not in (None, hashlib.file_digest(file, "sha256").hexdigest()):
                raise Damaged(f"it does not match the checksum in {_beside(path).name}")
            file.seek(0)
            return check(_arrays(file, names))
        except Damaged as damage:
            damage.file_id = _file_id(os.fstat(file.fileno()))
            raise


def _arrays(file, names):
    try:
        stored = np.load(file, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it is not an .npz file")
        return {key: stored[key] for key in names if key in stored.files}
    except MemoryError:
        raise
    except Exception as error:  # a truncated or foreign file fails in many ways
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _file_id(status):
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _beside(path):
    return path.with_name(path.name + ".sha256")


def _recorded_checksum(path):
    try:
        words = _beside(path).read_text("utf-8", "replace").split()
    except FileNotFoundError:
        return None
    return words[0] if words else ""


def set_aside(path, file_id):
    """Renames a damaged file, and the checksum beside it, to a name that nobody has."""
    try:
        if _file_id(os.stat(path)) != file_id:
            return "Another process has replaced it."
        target = _reserved_name(path)
        try:
            os.replace(path, target)
        except OSError:
            target.unlink()
            raise
        if _beside(path).exists():
            os.replace(_beside(path), _beside(target))
    except FileNotFoundError:
        return "Another process has set it aside."
    except OSError as error:
        return f"It could not be set aside: {error}."
    return f"It is kept as {target.name}."


def _reserved_name(path):
    """The first free <name>.npz.damaged-<n>, taken by an empty file."""
    for n in itertools.count(1):
        target = path.with_name(f"{path.name}.damaged-{n}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL))
            return target


def write(path, arrays):
    """Writes an .npz and its checksum, each under a temporary name that is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part_of(path) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as bundle:
            for key, array in arrays.items():
                entry = zipfile.ZipInfo(f"{key}.npy", STAMP)
                with bundle.open(entry, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with _part_of(_beside(path)) as checksum:
            checksum.write_text(f"{digest}  {path.name}\n", "utf-8")
            _beside(path).unlink(missing_ok=True)  # an old one never stands beside a new file
            os.replace(part, path)
            os.replace(checksum, _beside(path))


@contextlib.contextmanager
def _part_of(path):
    """A temporary file beside path, gone at the end unless it was renamed."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    os.chmod(part, 0o644)
    try:
        yield Path(part)
    finally:
        Path(part).unlink(missing_ok=True)

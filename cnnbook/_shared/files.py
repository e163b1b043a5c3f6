"""Files that are whole or not there: checksums, temporary names, damaged files."""

import contextlib
import errno
import hashlib
import itertools
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from cnnbook._shared import npz

STAMP = (1980, 1, 1, 0, 0, 0)  # in every zip entry: equal arrays give equal files
MOST_CHECKSUM = 1000  # bytes that are read of a file with a checksum, which has about 80


class Damaged(Exception):
    """What is wrong with a file or with arrays, and which file it was."""

    file_id = None


def as_path(path):
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"path must be a string or a path, got {path!r}.")
    return Path(name)


def target(path, suffix):
    """A path at which a file can be written."""
    path = as_path(path)
    if path.suffix != suffix:
        raise ValueError(f"path must end in {suffix!r}, got {str(path)!r}.")
    reason = None
    if not os.path.isdir(path.parent):
        reason = f"there is no folder {str(path.parent)!r}"
    elif not os.access(path.parent, os.W_OK):
        reason = f"the folder {str(path.parent)!r} is write-protected"
    elif os.path.isdir(path):
        reason = "it is a folder"
    elif os.path.exists(path) and not os.path.isfile(path):
        reason = "there is something else than a file"
    if reason:
        raise ValueError(f"path {str(path)!r} cannot be written: {reason}.")
    return path


@contextlib.contextmanager
def opened(path):
    """A regular file to read: a pipe would keep its reader waiting, and a device never ends."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(_handle(path, flags), "rb") as file:
        yield file


def _handle(path, flags):
    handle = os.open(path, flags)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "It is not a regular file", str(path))


def read(path, names, check):
    """The checked arrays of a file that is whole; raises Damaged where it is not."""
    with opened(path) as file:  # one handle: another process may replace the file meanwhile
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
        return npz.read(file, names)
    except MemoryError:
        raise
    except ValueError as error:
        raise Damaged(str(error)) from error
    except Exception as error:  # a truncated or foreign file fails in many ways
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _file_id(status):
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _beside(path):
    return path.with_name(path.name + ".sha256")


def _recorded_checksum(path):
    try:
        with opened(_beside(path)) as file:
            words = file.read(MOST_CHECKSUM).decode("utf-8", "replace").split()
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


def write_bytes(path, content):
    """Writes a file under a temporary name first, so that nobody ever finds half of it."""
    with _part_of(path) as part:
        part.write_bytes(content)
        os.replace(part, path)


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

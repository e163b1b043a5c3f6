"""Arrays of an .npz file, whose claims are looked at before anything is unpacked."""

import math
import zipfile

import numpy as np

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that NumPy writes
MOST_AT_ONCE = 2**26  # bytes, which any file may unpack to
MOST_TIMES = 256  # the size of the file; only arrays of almost one number shrink so far
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(file, names):
    """{name: array} of those names that an open file has; a ValueError says what is wrong."""
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not an .npz file, or not a whole one")
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as bundle:
        entries = {info.filename: info for info in bundle.infolist()}
        wanted = {name: entries[f"{name}.npy"] for name in names if f"{name}.npy" in entries}
        unpacked = sum(info.file_size for info in wanted.values())
        if unpacked > max(MOST_AT_ONCE, MOST_TIMES * size):
            raise ValueError(f"its {size:,} bytes would become {unpacked:,} when unpacked")
        for name, info in wanted.items():
            _require_honest(bundle, name, info)
        return {name: _array(bundle, info) for name, info in wanted.items()}


def _require_honest(bundle, name, info):
    """Raises where the entry is not as long as its own header says."""
    if info.compress_type not in PACKINGS:
        raise ValueError(f"{name} is packed in a way that NumPy does not write")
    with bundle.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in HEADERS:
            raise ValueError(f"{name} has a header of version {version}, which no plain array has")
        shape, _, dtype = HEADERS[version](member)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which are never loaded, not numbers")
        claimed = math.prod(shape) * dtype.itemsize
        held = info.file_size - member.tell()
    if claimed != held:
        raise ValueError(
            f"{name} says that it is {dtype} {shape}, {claimed:,} bytes, but it holds {held:,}"
        )


def _array(bundle, info):
    with bundle.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to the end, where the checksum of the entry is compared
        return array

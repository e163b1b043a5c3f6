"""Files that tell whether they are whole: their last bytes are a checksum of all before them.

Readers of either format pass over these bytes: LiteRT reads a file from its beginning, and in
ONNX they are one more entry of the metadata.
"""

import hashlib

DIGITS = 64
BEFORE = {
    ".tflite": b"\ncnnbook sha256 ",
    ".onnx": b"\x72\x4e\x0a\x0acnnbook256\x12\x40",  # field 14, then the fields 1 and 2 in it
}


def sealed(content, suffix):
    return content + BEFORE[suffix] + hashlib.sha256(content).hexdigest().encode()


def is_broken(content, suffix):
    """Whether the checksum of a file is not its own; False where it has none."""
    content, before, digest = (
        content[: -DIGITS - len(BEFORE[suffix])],
        content[-DIGITS - len(BEFORE[suffix]) : -DIGITS],
        content[-DIGITS:],
    )
    return before == BEFORE[suffix] and digest != hashlib.sha256(content).hexdigest().encode()

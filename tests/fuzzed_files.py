"""A program that runs damaged LiteRT and ONNX files: what crashes it does not crash the tests.

The last line that it prints is a JSON list with the seconds, the MiB and the kind of result of
each: the name of an error that tells the file's name, or how far the outputs are off.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from cnnbook.deployment import run_litert, run_onnx


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def outcome(run, path, images, expected):
    try:
        return float(np.abs(run(path, images) - expected).max())
    except ValueError as error:
        return "ValueError" if path.name in str(error) else f"a message without a name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(folder):
    folder = Path(folder)
    images, results = np.load(folder / "images.npy"), []
    for whole in sorted(folder.glob("whole*")):
        run = run_litert if whole.suffix == ".tflite" else run_onnx
        expected = run(whole, images)
        for path in sorted(folder.glob(f"damaged_*{whole.name}")):
            start, before = time.process_time(), peak()
            result = outcome(run, path, images, expected)
            results.append((path.name, time.process_time() - start, peak() - before, result))
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])

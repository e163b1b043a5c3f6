"""Another Python: the one that has TensorFlow, or one that has nothing in its memory yet."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from cnnbook._deploy import conversion


def convert(model, job, images=None):
    """The bytes of a file, made here on TensorFlow and otherwise in a process of its own."""
    if keras.backend.backend() == "tensorflow":
        return conversion.converted(model, job, images)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save(folder / "model.keras")
        if images is not None:
            np.save(folder / "images.npy", images)
        job = json.dumps({**job, "folder": str(folder)})
        python, name = _tensorflow_python(), "cnnbook._deploy.process"
        done = run_module(name, python=python, given=job, KERAS_BACKEND="tensorflow")
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2]
            raise RuntimeError(f"TensorFlow could not convert {model.name!r}: {last}")
        if (folder / "refused").exists():
            raise ValueError((folder / "refused").read_text("utf-8"))
        return (folder / "file").read_bytes()


def run_module(name, *arguments, python=sys.executable, given=None, **variables):
    """Runs a module of this package as a program, and returns what it printed."""
    environment = {**os.environ, **variables}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")]
    )
    command = [python, "-m", name, *map(str, arguments)]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, check=False
    )


def _tensorflow_python():
    """The Python that has TensorFlow: this one, or the one that is named."""
    named = os.environ.get("CNNBOOK_PYTHON_TENSORFLOW")
    if named or importlib.util.find_spec("tensorflow"):
        return named or sys.executable
    raise ImportError(
        'Files are written by TensorFlow: pip install "cnnbook[tensorflow]", or let '
        "CNNBOOK_PYTHON_TENSORFLOW name the Python of an environment that has it."
    )


def main():
    """The other process: a job on standard input, the result in its folder."""
    job = json.load(sys.stdin)
    folder = Path(job.pop("folder"))
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    images = folder / "images.npy"
    images = np.load(images, allow_pickle=False) if images.exists() else None
    try:
        (folder / "file").write_bytes(conversion.converted(model, job, images))
    except ValueError as error:  # not a failure: the model is one that the caller must change
        (folder / "refused").write_text(str(error), "utf-8")


if __name__ == "__main__":
    main()

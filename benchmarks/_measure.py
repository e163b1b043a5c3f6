"""Times functions side by side, on any backend; the peak of a process's memory."""

import datetime
import os
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch", "tfmot": "TF-MOT"}
INTERPRETERS = {
    "tensorflow": ".venv",
    "jax": ".venv-jax",
    "torch": ".venv-torch",
    "tfmot": ".venv-tfmot",
}
BACKENDS = ("tensorflow", "jax", "torch")  # Keras's


def backend():
    return keras.backend.backend()


def interpreter(backend):
    """The Python that has this backend."""
    value = os.environ.get(f"CNNBOOK_PYTHON_{backend.upper()}")
    path = Path(value) if value else ROOT / INTERPRETERS[backend] / "bin" / "python"
    if not path.exists():
        sys.exit(f"No interpreter for {backend} at {path}; set CNNBOOK_PYTHON_{backend.upper()}.")
    return str(path)


def compiled(function, *, xla=True):
    """`jax.jit`, or `tf.function` with or without XLA; PyTorch has only its eager mode here."""
    if backend() == "jax":
        import jax

        return jax.jit(function)
    if backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=xla)
    return function


def wait(outputs):
    """Returns when the outputs have been computed, every one of them."""
    if backend() == "jax":
        import jax

        jax.block_until_ready(outputs)
    elif backend() == "tensorflow":
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    else:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return outputs


def interleaved(functions, repeats, *, warm_up=2):
    """Seconds of each function, called in turn: {name: array of `repeats` times}."""
    for _ in range(warm_up):
        for function in functions.values():
            wait(function())
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            outputs = wait(function())
            times[name].append(time.perf_counter() - start)
            del outputs
    return {name: np.array(seconds) for name, seconds in times.items()}


def quartiles(seconds):
    """Median, lower and upper quartile, in milliseconds."""
    low, median, high = np.percentile(seconds, [25, 50, 75]) * 1e3
    return {"median_ms": float(median), "q1_ms": float(low), "q3_ms": float(high)}


def geometric_mean(ratios):
    return float(np.exp(np.mean(np.log(list(ratios)))))


def status(field):
    """A figure of this process in MiB, such as VmRSS, its resident memory (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}.")


def memory_growth(function):
    """MiB by which a call lifts the process's peak resident memory over its present state."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from the present
    before = status("VmRSS")
    wait(function())
    return max(0.0, status("VmHWM") - before)


def machine():
    """When and where the figures were taken."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [li for li in cpuinfo.read_text().splitlines() if li.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor,
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions():
    names = {"python": platform.python_version(), "keras": keras.__version__}
    framework = __import__(backend())
    return names | {backend(): framework.__version__, "numpy": np.__version__}

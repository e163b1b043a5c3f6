"""A program that prints how many KiB a LiteRT file takes at most, and imports nothing else."""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main(path, threads):
    before = status("VmRSS")
    interpreter = Interpreter(path, num_threads=int(threads))
    interpreter.allocate_tensors()
    (end,) = interpreter.get_input_details()
    interpreter.set_tensor(end["index"], np.zeros(end["shape"], end["dtype"]))
    for _ in range(3):
        interpreter.invoke()
    print(status("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])

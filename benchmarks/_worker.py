"""Processes that do their turn when they are asked to, so that several can take turns."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def step_seconds(keras, model, batches, batch):
    """Seconds of a training step of `fit`, the first two of an epoch left out.

    `keras` is the library whose model it is: Keras 3 or tf_keras.
    """
    started = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, index, logs=None):
            if index == 1:
                float(logs["loss"])  # waits for it
                started.append(time.perf_counter())

        def on_epoch_end(self, epoch, logs=None):
            started.append(time.perf_counter())

    rng = np.random.default_rng(0)
    x = rng.normal(size=(batches * batch, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, len(x))
    model.fit(x, y, batch_size=batch, verbose=0, callbacks=[Clock()])
    first, last = started
    return (last - first) / (batches - 2)


def serve(turns):
    """Answers requests, one a line, until there are no more: the name of a turn, its arguments.

    `turns` is {name: function}. What frameworks print goes to the error stream.
    """
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(turns[name](**arguments)), file=replies)


class Worker:
    """A process that runs `serve`."""

    def __init__(self, name, command, **environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {**os.environ, **environment}
        self.name = name
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    def ask(self, turn, **arguments):
        print(json.dumps([turn, arguments]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process for {self.name} has ended; see its message above.")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

"""The training loop and the industrial CNN beside plain PyTorch and `fit`: time and memory.

One process for each backend waits for its turn, and every round gives each of them its turns, so
that whatever else the machine does strikes all alike. The record goes to
``benchmarks/results/training.json`` and ``.md``.

What is compared, on images of the data set `shapes` (32x32x3, uint8, the shape of CIFAR-10's) in
batches of 64, with Adam at its usual rate and weights carried over from one PyTorch network:

- `train` with standardization, crop (padding 4) and flip of each batch, beside the spec's class and
  loop in eager PyTorch with the same three steps written in PyTorch. PyTorch's loop does less: it
  counts no accuracy and does not look at its loss. Its draws and its dropout differ.
- `train` beside `model.fit`, both on images standardized beforehand, without augmentation.
- `model.predict_on_batch` of 256 images beside PyTorch's eager `module(x)` under `no_grad`, in
  evaluation mode. Keras takes and returns NumPy arrays, PyTorch its tensors.
- The input pipeline of `train` alone, beside the rate at which `train` without one consumes images.

A rate is that of a second epoch, for the first one compiles, and without its first batch, with
which `fit` starts the threads that feed it: a cost of each epoch that more images would hide.
Memory is the process's resident set when an epoch of `train` with augmentation on few images
begins, the first epochs left out, and its growth the median of the slopes between all pairs of
epochs: a steady leak shows, a buffer that comes and goes does not.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import combinations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from benchmarks import _measure as measure
from cnnbook import datasets, training
from cnnbook._training.batches import batches_of
from cnnbook._training.preparation import Preparation
from cnnbook.augmentation import Augmentation, random_crop, random_flip
from cnnbook.industrial_cnn import industrial_cnn, load_torch_weights
from cnnbook.preprocessing import channel_moments, standardize

SEED = 0
ROUNDS = 9
IMAGES = 1088
BATCH = 64
INFERENCE_BATCH = 256
INFERENCE_CALLS = 8
PADDING = 4
RATE = 1e-3
TOLERANCE = 1e-4
MEMORY_WARM_UP = 4
MEMORY_EPOCHS = 20
MEMORY_IMAGES = 256

# what: (rate, beside which rate, of the same backend or of plain PyTorch, the least ratio)
RATIOS = {
    "training with augmentation, to PyTorch": ("train augmented", "pytorch train", 1.2),
    "training, to fit": ("train", "fit", 0.9),
    "prediction, to PyTorch": ("predict", "pytorch predict", 2.0),
    "input pipeline, to training": ("pipeline", "train", 3.0),
}
MEMORY, MEMORY_TARGET = "growth of memory in an epoch, MiB", 1.0  # at most


# --- Keras's side ------------------------------------------------------------------------------


class Clock:
    """A function of a batch that notes something when batch `at` of an epoch comes."""

    def __init__(self, function, batches, at=1, note=time.perf_counter):
        self.function = function
        self.batches = batches
        self.at = at
        self.note = note
        self.calls = 0
        self.notes = []

    def __call__(self, images):
        if self.calls % self.batches == self.at:
            self.notes.append(self.note())
        self.calls += 1
        return self.function(images)


class FitClock(keras.callbacks.Callback):
    """Seconds of an epoch without its first batch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            float(logs["loss"])  # waits for it
            self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start


def _resident():
    gc.collect()
    return measure.status("VmRSS")


class KerasSide:
    """What one backend does at its turns; each turn returns images per second."""

    def __init__(self, images, folder):
        data = datasets.load("shapes", train=images, test=INFERENCE_BATCH, seed=SEED)
        self.raw, self.labels = data.x_train, data.y_train
        self.test = data.x_test
        mean, std = channel_moments(self.raw)
        self.standardize = partial(standardize, mean=mean, std=std)
        self.images = keras.ops.convert_to_numpy(self.standardize(self.raw))
        self.augment = Augmentation(partial(random_crop, padding=PADDING), random_flip)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.batches, self.timed = -(-images // BATCH), images - BATCH
        with np.load(folder / "pytorch.npz", allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        inputs, self.expected = weights.pop("inputs"), weights.pop("outputs")
        self.inputs, self.weights = inputs.transpose(0, 2, 3, 1).copy(), weights
        self.predictor = self.model()

    def model(self):
        return load_torch_weights(industrial_cnn(10), self.weights)

    def _train(self, images, epochs, preprocess, augment):
        keras.utils.set_random_seed(SEED)
        history = training.train(
            self.model(),
            (images, self.labels[: len(images)]),
            loss=self.loss,
            optimizer=keras.optimizers.Adam(RATE),
            epochs=epochs,
            batch_size=BATCH,
            preprocess=preprocess,
            augment=augment,
            seed=SEED,
            verbose=0,
        )
        return time.perf_counter(), history["loss"][-1]

    def train_augmented(self):
        clock = Clock(self.standardize, self.batches)
        end, loss = self._train(self.raw, 2, clock, self.augment)
        return {"rate": self.timed / (end - clock.notes[1]), "loss": loss}

    def train(self):
        clock = Clock(lambda images: images, self.batches)
        end, loss = self._train(self.images, 2, clock, None)
        return {"rate": self.timed / (end - clock.notes[1]), "loss": loss}

    def fit(self):
        keras.utils.set_random_seed(SEED)
        model, clock = self.model(), FitClock()
        model.compile(keras.optimizers.Adam(RATE), self.loss, metrics=["accuracy"])
        options = {"batch_size": BATCH, "epochs": 2, "verbose": 0, "callbacks": [clock]}
        history = model.fit(self.images, self.labels, **options).history
        return {"rate": self.timed / clock.seconds, "loss": history["loss"][-1]}

    def predict(self):
        error = float(np.max(np.abs(self.predictor.predict_on_batch(self.inputs) - self.expected)))
        if error > TOLERANCE:
            raise AssertionError(f"the logits differ from PyTorch's by {error}.")
        start = time.perf_counter()
        for _ in range(INFERENCE_CALLS):
            self.predictor.predict_on_batch(self.inputs)
        seconds = time.perf_counter() - start
        return {"rate": INFERENCE_CALLS * len(self.inputs) / seconds, "error": error}

    def pipeline(self):
        prepare = Preparation(self.standardize, self.augment, SEED)
        batches = batches_of("data", (self.raw, self.labels), BATCH)
        start = time.perf_counter()
        for index, batch in enumerate(batches.epoch((SEED, 0))):
            measure.wait(prepare(batch, (0, index))[:2])
        return {"rate": len(self.raw) / (time.perf_counter() - start)}

    def memory(self):
        clock = Clock(self.standardize, -(-MEMORY_IMAGES // BATCH), 0, _resident)
        images, epochs = self.raw[:MEMORY_IMAGES], MEMORY_WARM_UP + MEMORY_EPOCHS
        self._train(images, epochs, clock, self.augment)
        return {"mib": clock.notes[MEMORY_WARM_UP:]}


# --- plain PyTorch -----------------------------------------------------------------------------


def _spec_class():
    from torch import nn

    class CNN(nn.Module):
        """The network of the spec's section 9."""

        def __init__(self, num_classes):
            super().__init__()
            blocks = []
            for inputs, filters in ((3, 64), (64, 128)):
                blocks += [
                    nn.Conv2d(inputs, filters, kernel_size=3, padding=1),
                    nn.BatchNorm2d(filters),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(2),
                ]
            self.features = nn.Sequential(*blocks)
            self.classifier = nn.Sequential(
                nn.Dropout(0.5),
                nn.Linear(128 * 8 * 8, 256),
                nn.ReLU(inplace=True),
                nn.Linear(256, num_classes),
            )

        def forward(self, x):
            x = self.features(x)
            return self.classifier(x.view(x.size(0), -1))

    return CNN


class TorchSide:
    """The spec's class and loop, in eager PyTorch; no Keras in it."""

    def __init__(self, images):
        import torch

        torch.manual_seed(SEED)
        data = datasets.load("shapes", train=images, test=INFERENCE_BATCH, seed=SEED)
        self.images, test = (
            torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
            for a in (data.x_train, data.x_test)
        )
        self.labels = torch.from_numpy(data.y_train.astype("int64"))
        mean, std = channel_moments(data.x_train)
        self.mean, self.std = (
            torch.tensor(a, dtype=torch.float32).reshape(3, 1, 1) for a in (mean, std)
        )
        self.inputs = self.standardize(test)
        self.module = _spec_class()(10)
        self.weights = {k: v.clone() for k, v in self.module.state_dict().items()}

    def standardize(self, images):
        return (images.float() - self.mean) / self.std

    @staticmethod
    def augment(images):
        """Each image cropped from its padded self and mirrored, by draws of its own."""
        import torch

        padded, cropped = torch.nn.functional.pad(images, [PADDING] * 4), []
        tops, lefts = torch.randint(2 * PADDING + 1, (2, len(images))).tolist()
        for image, top, left in zip(padded, tops, lefts, strict=True):
            cropped.append(image[:, top : top + images.shape[2], left : left + images.shape[3]])
        images = torch.stack(cropped)
        coins = torch.rand(len(images)) < 0.5
        return torch.where(coins[:, None, None, None], images.flip(3), images)

    def train(self):
        import torch

        model = _spec_class()(10)
        model.load_state_dict(self.weights)
        optimizer = torch.optim.Adam(model.parameters(), RATE)
        loss_fn = torch.nn.CrossEntropyLoss()
        torch.manual_seed(SEED)
        for _ in range(2):
            losses = []
            for index, chosen in enumerate(torch.randperm(len(self.images)).split(BATCH)):
                if index == 1:
                    start = time.perf_counter()
                x, y = self.images[chosen], self.labels[chosen]
                x = self.augment(self.standardize(x))
                logits = model(x)
                loss = loss_fn(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            seconds = time.perf_counter() - start
        loss = float(torch.stack(losses).mean())
        return {"rate": (len(self.images) - BATCH) / seconds, "loss": loss}

    def predict(self):
        import torch

        self.module.eval()
        with torch.no_grad():
            self.module(self.inputs)
            start = time.perf_counter()
            for _ in range(INFERENCE_CALLS):
                self.module(self.inputs)
        return {"rate": INFERENCE_CALLS * len(self.inputs) / (time.perf_counter() - start)}

    def save(self, folder):
        """The weights that all begin with, and what they make of the test images."""
        import torch

        self.module.eval()
        with torch.no_grad():
            outputs = self.module(self.inputs)
        arrays = {name: value.numpy() for name, value in self.weights.items()}
        np.savez(folder / "pytorch.npz", inputs=self.inputs, outputs=outputs, **arrays)


# --- the processes, and whose turn it is -------------------------------------------------------


def work(images, folder):
    """Answers one request a line until there are no more; frameworks print to the error stream."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    turns = {}
    if measure.backend() == "torch":
        plain = TorchSide(images)
        plain.save(folder)
        turns |= {"pytorch train": plain.train, "pytorch predict": plain.predict}
        turns["threads"] = __import__("torch").get_num_threads
    side = KerasSide(images, folder)
    turns |= {
        "train augmented": side.train_augmented,
        "train": side.train,
        "fit": side.fit,
        "predict": side.predict,
        "pipeline": side.pipeline,
        "memory": side.memory,
        "versions": measure.versions,
    }
    print(json.dumps(list(turns)), file=replies)
    for line in sys.stdin:
        print(json.dumps(turns[line.strip()]()), file=replies)


class Worker:
    """A process that measures one backend when it is asked to."""

    def __init__(self, backend, images, folder):
        command = [
            measure.interpreter(backend),
            "-m",
            "benchmarks",
            "training",
            "--worker",
            str(folder),
        ]
        command += ["--images", str(images)]
        environment = {**os.environ, "KERAS_BACKEND": backend}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.backend = backend
        self.process = subprocess.Popen(command, cwd=measure.ROOT, env=environment, **pipes)
        self.turns = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process for {self.backend} has ended; see its message above.")
        return json.loads(line)

    def ask(self, turn):
        print(turn, file=self.process.stdin, flush=True)
        return self._answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure_all(rounds, images):
    """The record: for each backend what every turn returned, round by round."""
    record = {"machine": measure.machine(), "seed": SEED, "rounds": rounds, "images": images}
    workers = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for backend in ("torch", "tensorflow", "jax"):  # PyTorch writes the weights
                workers.append(Worker(backend, images, Path(folder)))
        workers.sort(key=lambda worker: list(measure.INTERPRETERS).index(worker.backend))
        record["backends"] = {}
        for worker in workers:
            results = {"versions": worker.ask("versions"), "memory": worker.ask("memory")}
            record["backends"][worker.backend] = results
        turns = dict.fromkeys(t for pair in RATIOS.values() for t in pair[:2])
        for index in range(rounds):
            for turn in turns:
                for worker in workers:
                    if turn in worker.turns:
                        answers = record["backends"][worker.backend].setdefault(turn, [])
                        answers.append(worker.ask(turn))
            print(f"round {index + 1} of {rounds}: {_rates(record)}", flush=True)
    finally:
        for worker in workers:
            worker.close()
    record["ratios"] = {backend: ratios(record, backend) for backend in record["backends"]}
    record["targets"] = judge(record)
    return record


def _rates(record):
    last = {b: results["train augmented"][-1] for b, results in record["backends"].items()}
    last["plain PyTorch"] = record["backends"]["torch"]["pytorch train"][-1]
    return ", ".join(f"{name} {answer['rate']:.0f} images/s" for name, answer in last.items())


# --- ratios ------------------------------------------------------------------------------------


def ratios(record, backend):
    """{what: quartiles of the ratios of two rates that were taken in the same round}."""
    ours = record["backends"][backend]
    theirs = {**record["backends"]["torch"], **ours}
    result = {}
    for what, (turn, peer, _) in RATIOS.items():
        pairs = zip(ours[turn], theirs[peer], strict=True)
        q1, median, q3 = np.percentile([a["rate"] / b["rate"] for a, b in pairs], [25, 50, 75])
        result[what] = {"median": float(median), "q1": float(q1), "q3": float(q3)}
    return result


def best_backend(record):
    """The one that trains the most images in a second, augmentation included."""

    def rate(backend):
        answers = record["backends"][backend]["train augmented"]
        return statistics.median(answer["rate"] for answer in answers)

    return max(record["backends"], key=rate)


def growth(record, backend):
    """MiB that the resident set gains in an epoch: the median slope between any two epochs."""
    epochs = enumerate(record["backends"][backend]["memory"]["mib"])
    return statistics.median((b - a) / (j - i) for (i, a), (j, b) in combinations(epochs, 2))


def judge(record):
    """[{what, measured, target, met}] of the best backend, memory of the one that grows most."""
    best = best_backend(record)
    rows = []
    for what, (_, _, target) in RATIOS.items():
        measured = record["ratios"][best][what]["median"]
        rows.append((what, best, measured, target, measured >= target))
    most = max(record["backends"], key=partial(growth, record))
    measured = growth(record, most)
    rows.append((MEMORY, most, measured, MEMORY_TARGET, measured <= MEMORY_TARGET))
    names = ("what", "backend", "measured", "target", "met")
    return [dict(zip(names, row, strict=True)) for row in rows]


# --- what is printed ---------------------------------------------------------------------------


def page_table(record):
    """The table of the chapter: what every backend reaches, quartiles in brackets."""
    backends = list(record["backends"])
    heads = ["ratio of images per second", *(measure.NAMES[b] for b in backends), "target"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " + "| ---: " * (len(backends) + 1) + "|"]
    for what, (_, _, target) in RATIOS.items():
        cells = [
            "{median:.2f} ({q1:.2f}-{q3:.2f})".format(**record["ratios"][b][what]) for b in backends
        ]
        lines.append("| " + " | ".join([what, *cells, f"at least {target}"]) + " |")
    cells = [f"{growth(record, b):.2f}" for b in backends]
    lines.append("| " + " | ".join([MEMORY, *cells, f"at most {MEMORY_TARGET}"]) + " |")
    return "\n".join(lines)


def targets(record):
    """The rows that say what was to be reached, and whether it was."""
    return record["targets"]


def _preamble(record):
    """When, where and how it was measured."""
    machine = record["machine"]
    versions = [
        f"- {measure.NAMES[backend]}: "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        for backend, results in record["backends"].items()
    ]
    return [
        "# Training beside PyTorch and fit",
        "",
        f"Written by `python -m benchmarks training` on {machine['date']}: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['system']}.",
        "",
        __doc__.partition("\n\n")[2].partition("\n\n")[2].strip(),
        "",
        f"{record['rounds']} rounds, {record['images']} images an epoch, seed {record['seed']}. A "
        "ratio is formed in each round, of rates taken one after the other; the table has the "
        "median of the rounds and the quartiles. Targets are judged on the backend that trains "
        f"fastest with augmentation, here {measure.NAMES[best_backend(record)]}; memory on all.",
        "",
        *versions,
    ]


def _target_table(record):
    lines = ["| what | measured | target | met |", "| --- | --- | --- | --- |"]
    for row in record["targets"]:
        met = "yes" if row["met"] else "**no**"
        name = f"{row['what']} ({measure.NAMES[row['backend']]})"
        lines.append(f"| {name} | {row['measured']:.2f} | {row['target']} | {met} |")
    return lines


def _rate_table(record):
    lines = ["| what | backend | images/s, median (quartiles) | loss |", "| --- " * 4 + "|"]
    for backend, results in record["backends"].items():
        for turn, answers in results.items():
            if turn not in ("versions", "memory"):
                lines.append(_rate_row(turn, backend, answers))
    return lines


def _memory_list(record):
    lines = [
        f"Resident memory in MiB when each epoch begins, the first {MEMORY_WARM_UP} left out:",
        "",
    ]
    for backend, results in record["backends"].items():
        mib = ", ".join(f"{value:.1f}" for value in results["memory"]["mib"])
        lines.append(f"- {measure.NAMES[backend]}: {mib}")
    return lines


def report(record):
    """The record as Markdown."""
    parts = [_preamble(record), [page_table(record)], _target_table(record)]
    parts += [_rate_table(record), _memory_list(record)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _rate_row(turn, backend, answers):
    q1, median, q3 = np.percentile([answer["rate"] for answer in answers], [25, 50, 75])
    loss = f"{answers[-1]['loss']:.3f}" if "loss" in answers[-1] else ""
    return f"| {turn} | {measure.NAMES[backend]} | {median:.0f} ({q1:.0f}-{q3:.0f}) | {loss} |"


def main():
    parser = argparse.ArgumentParser(prog=sys.argv[0] if " " in sys.argv[0] else None)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--images", type=int, default=IMAGES, help="in an epoch, at least 256")
    parser.add_argument("--out", type=Path, default=measure.RESULTS, help="folder of the record")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.images, arguments.worker)
        return
    record = measure_all(arguments.rounds, arguments.images)
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.out / "training.md").write_text(report(record))
    print("\n" + report(record))


if __name__ == "__main__":
    main()

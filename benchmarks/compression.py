"""Small versions of one network: accuracy, size, memory and speed, beside TF-MOT.

Every version of the spec's CNN is trained, written as a LiteRT file and judged by what the file
does. The record goes to ``benchmarks/results/compression.json`` and ``.md``.

For each of several seeds, which draw images, weights and the order of the batches anew, the float
network is trained once on the data set `shapes` (32x32x3, ten classes). All else begins with its
weights and is trained for some epochs more: quantization-aware (QAT), with 80% of the weights of
each kernel at zero, or with half the filters of each convolution gone. The combined versions begin
with these and are quantization-aware for two epochs again. So there are two controls, the float
network trained on for as long, and a drop is measured against whichever is the better, float or
control: what mere training gains is credited to no method. PTQ (quantization after training) uses
images of the training set.

The student has a tenth of the multiply-accumulates and a quarter of the images, the teacher all of
them: with all of them itself, it learned more from the labels than from a teacher that is hardly
better (in a trial with one seed). Distilled and alone, it gets as many updates, in the same order.
Difficulty of the images, epochs, rates and the schedule of sparsity were chosen in trials by our
versions, with seed 0, which is not among those measured.

The peer is the same network in tf_keras, with the weights carried across, given to TF-MOT in a
process of its own: the same images in the same order, the same epochs, optimizer, rates, schedule
of sparsity and converter. All else is its default; so its ranges of activations begin at +-6 and
follow at 0.999, where ours begin with the first batch and follow at 0.99, and it trains with batch
normalization, which ours has folded before.

Accuracy and calibration error are those of the files on test images that nothing was chosen by,
peak memory is that of a fresh process. Latencies are of one image on one thread, the files taking
turns, 20 calls each; a ratio is formed in each round. A training step is one of `fit`, in batches
of 64; each library in its process is timed against its own float step in the same round.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from benchmarks import _measure as measure
from benchmarks import _worker
from cnnbook import datasets, deployment
from cnnbook.distillation import distill
from cnnbook.industrial_cnn import industrial_cnn
from cnnbook.preprocessing import channel_moments, standardize
from cnnbook.pruning import MagnitudePruning, prune_filters, sparsity
from cnnbook.quantization import quantize_after_training, quantize_aware

SEEDS = 3
TRAIN = 4096
TEST = 5000
CALIBRATION = 256
DIFFICULTY = 0.2  # of the images
ROTATION = 15.0

WIDTH = 64
DROPOUT = 0.5
BATCH = 64
EPOCHS = 10
RATE = 5e-4
MORE = 6  # epochs of what begins with the float network
MORE_RATE = 1e-3
AGAIN = 2  # epochs of what is quantized in addition

SPARSITY = 0.8
FRACTION = 0.5
STUDENT = 18  # its width
FEWER = 4  # the student has this part of the images
STUDENT_RATE = 1e-3
ALPHA = 0.1
TEMPERATURE = 4.0

BINS = 15
ROUNDS = 7
CALLS = 20
WARM_UP = 5
STEP_ROUNDS = 9
STEP_BATCHES = 8

# version: the float network that was trained as long, or None
CONTROLS = {
    "float": None,
    "float, trained on": None,
    "float, trained on again": None,
    "PTQ int8": None,
    "QAT int8": "float, trained on",
    "80% pruned": "float, trained on",
    "half the filters": "float, trained on",
    "80% pruned, QAT int8": "float, trained on again",
    "half the filters, QAT int8": "float, trained on again",
    "student alone": None,
    "student distilled": None,
    "student distilled, QAT int8": None,
    "TF-MOT QAT int8": "float, trained on",
    "TF-MOT 80% pruned": "float, trained on",
}
PEERS = {"QAT int8": "TF-MOT QAT int8", "80% pruned": "TF-MOT 80% pruned"}


# --- Keras's side ------------------------------------------------------------------------------


class Versions:
    """The turns of the process that trains: each writes files, into a folder for each seed."""

    def __init__(self):
        self.timed = {}

    def begin(self, seed, folder, train, test, epochs):
        """Images, and the float network trained on them."""
        self.seed = seed
        self.folder = Path(folder)
        self.epochs = epochs
        options = {"difficulty": DIFFICULTY, "rotation": ROTATION, "seed": seed}
        data = datasets.load("shapes", train=train, test=test, **options)
        mean, std = channel_moments(data.x_train)
        self.x, x_test = (
            np.float32(keras.ops.convert_to_numpy(standardize(x, mean, std)))
            for x in (data.x_train, data.x_test)
        )
        self.y = data.y_train.astype("int32")
        rng = np.random.default_rng(seed)
        self.orders = np.stack([rng.permutation(train) for _ in range(epochs)])
        arrays = {"x_train": self.x, "y_train": self.y, "orders": self.orders}
        arrays |= {"x_test": x_test, "y_test": data.y_test}
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)
        keras.utils.set_random_seed(seed)
        self.float = self._fit(industrial_cnn(10, width=WIDTH, dropout=DROPOUT), epochs, RATE)
        weights = {
            f"{layer.name}:{i}": w
            for layer in self.float.layers
            for i, w in enumerate(layer.get_weights())
        }
        images = self.x[:64]
        logits = self.float.predict(images, verbose=0)
        np.savez(self.folder / "weights.npz", images=images, logits=logits, **weights)
        return self._write("float", self.float)

    def _fit(self, model, epochs, rate, *callbacks):
        """The order of the batches is that of every version of this seed."""
        keras.utils.set_random_seed(self.seed)
        steps = epochs * (len(self.x) // BATCH)
        schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(schedule), loss)
        for order in self.orders[:epochs]:
            options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
            model.fit(self.x[order], self.y[order], callbacks=list(callbacks), **options)
        return model

    def _more(self, model, *callbacks):
        return self._fit(model, share(self.epochs, MORE), MORE_RATE, *callbacks)

    def _again(self, model, *callbacks):
        return self._fit(model, share(self.epochs, AGAIN), MORE_RATE / 2, *callbacks)

    def _write(self, name, model):
        deployment.to_litert(model, file_of(self.folder, name))
        return {"parameters": model.count_params(), "sparsity": sparsity(model)}

    def control(self):
        model = keras.models.clone_model(self.float)
        model.set_weights(self.float.get_weights())
        on = self._write("float, trained on", self._more(model))
        again = self._write("float, trained on again", self._again(model))
        return {"float, trained on": on, "float, trained on again": again}

    def quantized(self):
        images = self.x[self.orders[0][:CALIBRATION]]
        after = self._write("PTQ int8", quantize_after_training(self.float, images))
        aware = self._write("QAT int8", self._more(quantize_aware(self.float)))
        return {"PTQ int8": after, "QAT int8": aware}

    def pruned(self):
        model = keras.models.clone_model(self.float)
        model.set_weights(self.float.get_weights())
        return self._pair("80% pruned", model, lambda: MagnitudePruning(**pruning(self)))

    def halved(self):
        return self._pair("half the filters", prune_filters(self.float, FRACTION))

    def _pair(self, name, model, callback=None):
        """A smaller network, and then the same with integers."""
        first = self._write(name, self._more(model, *([callback()] if callback else [])))
        keep = [MagnitudePruning(SPARSITY)] if callback else []
        aware = self._again(quantize_aware(model), *keep)
        both = f"{name}, QAT int8"
        return {name: first, both: self._write(both, aware)}

    def students(self):
        results, students = {}, {}
        count = len(self.x) // FEWER
        few = self.x[:count], self.y[:count]
        for name, alpha in (("student alone", 1.0), ("student distilled", ALPHA)):
            keras.utils.set_random_seed(self.seed)
            student = industrial_cnn(10, width=STUDENT, dropout=0.0)
            steps = self.epochs * (len(self.x) // BATCH)
            schedule = keras.optimizers.schedules.CosineDecay(STUDENT_RATE, steps)
            options = {"epochs": FEWER * self.epochs, "batch_size": BATCH, "seed": self.seed}
            options |= {"alpha": alpha, "temperature": TEMPERATURE, "verbose": 0}
            adam = keras.optimizers.Adam(schedule)
            distill(student, self.float, few, optimizer=adam, **options)
            results[name] = self._write(name, student)
            students[name] = student
        name = "student distilled, QAT int8"
        aware = quantize_aware(students["student distilled"])
        options["epochs"] = FEWER * share(self.epochs, AGAIN)
        adam = keras.optimizers.Adam(STUDENT_RATE / 10)
        distill(aware, self.float, few, optimizer=adam, **options)
        return results | {name: self._write(name, aware)}

    def step(self, kind, batches):
        """Seconds of a training step, the first two of an epoch left out."""
        if kind not in self.timed:
            model = industrial_cnn(10, width=WIDTH, dropout=DROPOUT)
            model = quantize_aware(model) if kind == "quantized" else model
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(), loss)
            self.timed[kind] = model
        return _worker.step_seconds(keras, self.timed[kind], batches, BATCH)


def share(epochs, part):
    """The epochs of what is done to the float network: in a smoke run fewer, as of its own."""
    return max(1, epochs * part // EPOCHS)


def pruning(side):
    """The schedule of sparsity: from none, reached after five sixths, in steps of 8 batches."""
    end = share(side.epochs, MORE) * (len(side.x) // BATCH) * 5 // 6
    schedule = {"begin": 0, "end": end - end % 8, "initial": 0.0, "power": 3, "frequency": 8}
    return {"sparsity": SPARSITY, **schedule}


def file_of(folder, name):
    return Path(folder) / (name.replace("%", "").replace(", ", "-").replace(" ", "-") + ".tflite")


# --- files, judged here ------------------------------------------------------------------------


def calibration_error(logits, labels, bins=BINS):
    """The mean gap between confidence and accuracy over bins of equal width, weighed by size."""
    logits = np.asarray(logits, "float64")
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (p / p.sum(axis=1, keepdims=True)).max(axis=1)
    hits = logits.argmax(axis=1) == labels
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, hits - confidence, bins)
    return float(np.abs(gaps).sum() / len(hits))


def judge_file(path, images, labels):
    content = path.read_bytes()
    logits = deployment.run_litert(path, images, threads=2)
    return {
        "accuracy": 100 * float(np.mean(logits.argmax(axis=1) == labels)),
        "ece": 100 * calibration_error(logits, labels),
        "bytes": len(content),
        "gzip": len(gzip.compress(content, mtime=0)),
        "mib": deployment.peak_memory(path),
    }


def latencies(paths, rounds):
    """{name: milliseconds of each round}: in each the files take turns, the order turning, too."""
    names, times = list(paths), {name: [] for name in paths}
    for index in range(rounds):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            got = deployment.latency(paths[name], repeats=CALLS, warm_up=WARM_UP)
            times[name].append(got["median"])
    return times


# --- the processes, and whose turn it is -------------------------------------------------------


def measure_all(seeds, train, test, epochs, rounds, step_rounds):
    """The record: what each version reached, seed by seed; the steps, round by round."""
    settings = {"train": train, "test": test, "epochs": epochs, "more": share(epochs, MORE)}
    settings |= {"again": share(epochs, AGAIN)}
    settings |= {"rounds": rounds, "step_rounds": step_rounds}
    record = {"machine": measure.machine(), "seeds": list(seeds), "settings": settings}
    workers = {}
    try:
        module = ["-m", "benchmarks", "compression", "--worker"]
        for name in measure.BACKENDS:
            command = [measure.interpreter(name), *module]
            workers[name] = _worker.Worker(measure.NAMES[name], command, KERAS_BACKEND=name)
        command = [measure.interpreter("tfmot"), "-m", "benchmarks._tfmot_peer"]
        workers["tfmot"] = _worker.Worker("TF-MOT", command)
        record["versions"] = {name: worker.ask("versions") for name, worker in workers.items()}
        record["versions"]["LiteRT"] = {"ai-edge-litert": _litert_version()}
        record["macs"] = {"teacher": macs(WIDTH), "student": macs(STUDENT)}
        record["steps"] = time_steps(workers, step_rounds)
        record["arms"] = {}
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                results = one_seed(workers, seed, Path(folder), settings)
            for name, result in results.items():
                record["arms"].setdefault(name, []).append(result)
    finally:
        for worker in workers.values():
            worker.close()
    record["targets"] = judge(record)
    return record


def _litert_version():
    from importlib.metadata import version

    return version("ai-edge-litert")


def time_steps(workers, rounds):
    """{library: {kind: seconds of each round}}; the first round, which compiles, is left out."""
    steps = {name: {"float": [], "quantized": []} for name in workers}
    for index in range(rounds + 1):
        for name, worker in workers.items():
            sizes = {} if name != "tfmot" else {"batch": BATCH, "width": WIDTH, "dropout": DROPOUT}
            for kind in ("float", "quantized"):
                seconds = worker.ask("step", kind=kind, batches=STEP_BATCHES, **sizes)
                if index:
                    steps[name][kind].append(seconds)
    print(f"steps: { {name: ratio['median'] for name, ratio in step_ratios(steps).items()} }")
    return steps


def one_seed(workers, seed, folder, settings):
    """{version: what it reached} of one seed."""
    ours, peer = workers["tensorflow"], workers["tfmot"]
    start = time.perf_counter()
    options = {name: settings[name] for name in ("train", "test", "epochs")}
    notes = {"float": ours.ask("begin", seed=seed, folder=str(folder), **options)}
    carried = peer.ask("prepare", folder=str(folder), width=WIDTH, dropout=DROPOUT)
    fitting = {"seed": seed, "epochs": settings["more"], "rate": MORE_RATE, "batch": BATCH}
    schedule = ours.ask("schedule")
    for turn, name, extra in (("quantized", "QAT int8", {}), ("pruned", "80% pruned", schedule)):
        notes |= ours.ask(turn)
        path = str(file_of(folder, PEERS[name]))
        notes[PEERS[name]] = peer.ask(turn, path=path, **extra, **fitting) | {"carried": carried}
    for turn in ("control", "halved", "students"):
        notes |= ours.ask(turn)
    paths = {name: file_of(folder, name) for name in CONTROLS}
    images, labels = (np.load(folder / f"{name}_test.npy", allow_pickle=False) for name in "xy")
    results = {}
    for name, path in paths.items():
        results[name] = judge_file(path, images, labels) | notes[name]
    for name, times in latencies(paths, settings["rounds"]).items():
        results[name]["ms"] = times
    reached = ", ".join(f"{name} {result['accuracy']:.2f}" for name, result in results.items())
    print(f"seed {seed}, {time.perf_counter() - start:.0f} s: {reached}", flush=True)
    return results


def macs(width):
    """Multiply-accumulates of `industrial_cnn` for one image: convolutions, then dense layers."""
    convolutions = 32 * 32 * 27 * width + 16 * 16 * 9 * width * 2 * width
    return convolutions + 64 * 2 * width * 4 * width + 4 * width * 10


# --- ratios and differences --------------------------------------------------------------------


def values(record, name, field):
    return [result[field] for result in record["arms"][name]]


def mean(record, name, field):
    return statistics.mean(values(record, name, field))


def spread(numbers):
    """Mean, smallest and largest."""
    return {"mean": statistics.mean(numbers), "low": min(numbers), "high": max(numbers)}


def difference(record, name, other):
    """Points by which one version is better than another, seed by seed."""
    pairs = zip(values(record, name, "accuracy"), values(record, other, "accuracy"), strict=True)
    return spread([a - b for a, b in pairs])


def drop(record, name):
    """Points below float or, where that is better, the float network that was trained as long."""
    references = [r for r in ("float", CONTROLS[name]) if r is not None]
    reference = max(references, key=lambda r: mean(record, r, "accuracy"))
    return difference(record, reference, name)


def speed(record, name, reference="float"):
    """How many times as fast as the reference: quartiles over the rounds of all seeds."""
    pairs = zip(values(record, name, "ms"), values(record, reference, "ms"), strict=True)
    ratios = [b / a for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True)]
    return _quartiles(ratios)


def step_ratios(steps):
    """{library: quartiles of the ratios of a QAT step to a float step of the same round}."""
    result = {}
    for name, times in steps.items():
        pairs = zip(times["quantized"], times["float"], strict=True)
        result[name] = _quartiles([a / b for a, b in pairs])
    return result


def _quartiles(ratios):
    q1, median, q3 = np.percentile(ratios, [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


def _judged(what, measured, low, high, target, at_most):
    return {
        "what": what,
        "measured": measured,
        "spread": f"{low:.2f} to {high:.2f}",
        "target": f"at {'most' if at_most else 'least'} {target:.3g}",
        "met": bool(measured <= target if at_most else measured >= target),
    }


def _spread(what, found, target, at_most=True):
    return _judged(what, found["mean"], found["low"], found["high"], target, at_most)


def _times(what, found, target, at_most=False):
    return _judged(what, found["median"], found["q1"], found["q3"], target, at_most)


def _margin(record, name, peer):
    """What a version may lie below TF-MOT's: no more than the noise."""
    found = difference(record, name, peer)
    target = -_noise(record, name, peer)
    return _spread(f"{name}, points above TF-MOT's", found, target, at_most=False)


def _step_share(ratios, backend):
    what = f"a QAT step, share of a float step, {measure.NAMES[backend]}"
    return _times(what, ratios[backend], ratios["tfmot"]["median"], at_most=True)


def judge(record):
    """[{what, measured, spread, target, met}], everything that was to be reached."""
    pairs = zip(values(record, "QAT int8", "bytes"), values(record, "float", "bytes"), strict=True)
    halves = speed(record, "half the filters")
    gain = difference(record, "student distilled", "student alone")
    ratios = step_ratios(record["steps"])
    return [
        _spread("int8 file, share of the float file", spread([a / b for a, b in pairs]), 0.26),
        _times("int8 file, times as fast as float", speed(record, "QAT int8"), 3.5),
        _spread("PTQ int8, points below float", drop(record, "PTQ int8"), 1.0),
        _spread("QAT int8, points below float", drop(record, "QAT int8"), 0.3),
        _spread("80% pruned, points below float", drop(record, "80% pruned"), 1.0),
        _spread("half the filters, points below float", drop(record, "half the filters"), 1.5),
        _times("half the filters, times as fast as float", halves, 2.0),
        _spread("student, points gained by distillation", gain, 1.0, at_most=False),
        *(_margin(record, name, peer) for name, peer in PEERS.items()),
        *(_step_share(ratios, backend) for backend in measure.BACKENDS),
    ]


def _noise(record, name, peer):
    """The larger standard deviation over the seeds: what counts as equal."""
    accuracies = [values(record, n, "accuracy") for n in (name, peer)]
    return max(statistics.stdev(a) if len(a) > 1 else 0.0 for a in accuracies)


# --- what is printed ---------------------------------------------------------------------------


def page_table(record):
    """The table of the chapter: every version, mean over the seeds, range in brackets."""
    seeds = len(record["seeds"])
    heads = ["version", "accuracy, %", "calibration error, %", "file, kB"]
    heads += ["peak memory, MiB", "latency, ms", "times as fast"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for name in record["arms"]:
        accuracy = spread(values(record, name, "accuracy"))
        cells = [name, f"{accuracy['mean']:.1f}"]
        if seeds > 1:
            cells[-1] += f" ({accuracy['low']:.1f}-{accuracy['high']:.1f})"
        cells.append(f"{mean(record, name, 'ece'):.1f}")
        cells.append(f"{mean(record, name, 'bytes') / 1000:,.0f}")
        cells.append(f"{mean(record, name, 'mib'):.1f}")
        rounds = [ms for times in values(record, name, "ms") for ms in times]
        cells += [f"{statistics.median(rounds):.2f}", f"{speed(record, name)['median']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def step_table(record):
    """A QAT step beside a float step of the same library, quartiles in brackets."""
    heads = ["library", "float step, ms", "QAT step, ms", "ratio"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | ---: | ---: | ---: |"]
    for name, ratio in step_ratios(record["steps"]).items():
        times = record["steps"][name]
        cells = [1e3 * statistics.median(times[kind]) for kind in ("float", "quantized")]
        name = "TF-MOT" if name == "tfmot" else f"cnnbook on {measure.NAMES[name]}"
        line = "{median:.2f} ({q1:.2f}-{q3:.2f})".format(**ratio)
        lines.append(f"| {name} | {cells[0]:.0f} | {cells[1]:.0f} | {line} |")
    return "\n".join(lines)


def targets(record):
    """The rows that say what was to be reached, and whether it was."""
    return record["targets"]


def _preamble(record):
    """When, where and how it was measured."""
    machine, settings = record["machine"], record["settings"]
    macs = record["macs"]
    versions = [
        f"- {measure.NAMES.get(name, name)}: " + ", ".join(f"{p} {v}" for p, v in found.items())
        for name, found in record["versions"].items()
    ]
    return [
        "# One network, made smaller",
        "",
        f"Written by `python -m benchmarks compression` on {machine['date']}: "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}.",
        "",
        __doc__.partition("\n\n")[2].partition("\n\n")[2].strip(),
        "",
        f"Seeds {', '.join(map(str, record['seeds']))}; {settings['train']} images to train, "
        f"{settings['test']} to test; {settings['epochs']} epochs, {settings['more']} more, "
        f"and {settings['again']} again; "
        f"{settings['rounds']} rounds of latencies a seed, {settings['step_rounds']} of steps. "
        f"Multiply-accumulates: {macs['teacher']:,}, the student {macs['student']:,}, "
        f"1/{macs['teacher'] / macs['student']:.1f}. Means over the seeds, the range in brackets; "
        "ratios of times are medians of the rounds, with quartiles.",
        "",
        *versions,
    ]


def _target_table(record):
    lines = ["| what | measured | spread | target | met |", "| --- " * 5 + "|"]
    for row in record["targets"]:
        met = "yes" if row["met"] else "**no**"
        cells = [row["what"], f"{row['measured']:.3f}", row["spread"], row["target"], met]
        lines.append("| " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "The spread is from the lowest to the highest seed, of times between the quartiles. To be "
        "equal to TF-MOT within the spread, a version may lie below it by the larger of the two "
        "standard deviations over the seeds. The target of a step is TF-MOT's ratio in this run.",
    ]


def _seed_row(record, name):
    accuracies = ", ".join(f"{value:.2f}" for value in values(record, name, "accuracy"))
    first = record["arms"][name][0]
    below = (difference(record, "float", name), drop(record, name))
    cells = [name, accuracies]
    cells += ["{mean:.2f} ({low:.2f} to {high:.2f})".format(**points) for points in below]
    cells.append(f"{first['parameters']:,}" if "parameters" in first else "")
    cells.append(f"{100 * first['sparsity']:.0f}%" if "sparsity" in first else "")
    cells.append(f"{mean(record, name, 'gzip') / 1000:,.0f}")
    return "| " + " | ".join(cells) + " |"


def _seed_table(record):
    return [
        "Points below are those below the float network, and below the better of it and the "
        "control that was trained as long; the targets are judged by the second.",
        "",
        "| version | accuracy of each seed, % | points below float | points below the better "
        "| parameters | zeros in kernels | gzip, kB |",
        "| --- " * 7 + "|",
        *(_seed_row(record, name) for name in record["arms"]),
    ]


def report(record):
    """The record as Markdown."""
    parts = [_preamble(record), [page_table(record)], [step_table(record)]]
    parts += [_target_table(record), _seed_table(record)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def work():
    side = Versions()
    names = ("begin", "control", "quantized", "pruned", "halved", "students", "step")
    turns = {name: getattr(side, name) for name in names}
    _worker.serve(turns | {"schedule": lambda: pruning(side), "versions": measure.versions})


def main():
    parser = argparse.ArgumentParser(prog=sys.argv[0] if " " in sys.argv[0] else None)
    parser.add_argument("--quick", action="store_true", help="one seed, few images: a smoke run")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--out", type=Path, default=measure.RESULTS, help="folder of the record")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work()
        return
    if arguments.quick:
        record = measure_all(range(1), 1024, 500, 4, 2, 2)
    else:
        seeds = range(1, 1 + arguments.seeds)  # seed 0 is that of the trials
        record = measure_all(seeds, TRAIN, TEST, EPOCHS, ROUNDS, STEP_ROUNDS)
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "compression.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.out / "compression.md").write_text(report(record))
    print("\n" + report(record))


if __name__ == "__main__":
    main()

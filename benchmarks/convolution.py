"""conv2d and conv2d_gradients against keras.ops.conv: time, memory, correctness.

One process measures one backend (``KERAS_BACKEND``); ``--all`` measures the three, each with its
own interpreter, and writes ``benchmarks/results/convolution.json`` and ``.md``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from keras import ops

from benchmarks import _measure as measure
from cnnbook.convolution import conv2d, conv2d_gradients

SEED = 0
REPEATS = 9
TOLERANCE = 1e-4

# name: images (N, H, W, C), kernel size, filters, stride, dilation, groups; padding is "same"
LAYERS = {
    "spec CNN, layer 1": ((64, 32, 32, 3), 3, 64, 1, 1, 1),
    "spec CNN, layer 2": ((64, 16, 16, 64), 3, 128, 1, 1, 1),
    "ResNet stem 7x7, stride 2": ((2, 224, 224, 3), 7, 64, 2, 1, 1),
    "ResNet 3x3": ((4, 56, 56, 64), 3, 64, 1, 1, 1),
    "ResNet 1x1": ((4, 56, 56, 64), 1, 256, 1, 1, 1),
    "ResNet 3x3, stride 2": ((8, 28, 28, 128), 3, 256, 2, 1, 1),
    "ResNet 1x1, stride 2": ((8, 28, 28, 256), 1, 512, 2, 1, 1),
    "MobileNet depthwise": ((4, 56, 56, 128), 3, 128, 1, 1, 128),
    "MobileNet depthwise, stride 2": ((4, 112, 112, 64), 3, 64, 2, 1, 64),
    "MobileNet pointwise": ((4, 28, 28, 256), 1, 256, 1, 1, 1),
    "ResNeXt 3x3, 32 groups": ((4, 28, 28, 256), 3, 256, 1, 1, 32),
    "dilated 3x3, rate 2": ((4, 28, 28, 128), 3, 128, 1, 2, 1),
    "LeNet 5x5": ((64, 28, 28, 1), 5, 6, 1, 1, 1),
    "AlexNet 5x5": ((4, 27, 27, 96), 5, 256, 1, 1, 1),
    "GoogLeNet 5x5": ((16, 28, 28, 32), 5, 96, 1, 1, 1),
    "stem 7x7, stride 2, 96 pixels": ((8, 96, 96, 3), 7, 64, 2, 1, 1),
    "MobileNetV3 depthwise 5x5": ((8, 28, 28, 120), 5, 120, 1, 1, 120),
    "MobileNetV3 depthwise 5x5, stride 2": ((8, 56, 56, 72), 5, 72, 2, 1, 72),
    "ConvNeXt depthwise 7x7": ((4, 28, 28, 192), 7, 192, 1, 1, 192),
}
MEMORY_LAYER = ((1, 1024, 1024, 16), 3, 32, 1, 1, 1)
MEMORY_TINY = ((1, 16, 16, 16), 3, 32, 1, 1, 1)

TARGETS = {  # the most that the geometric mean of the ratios, or the memory's ratio, may be
    "tensorflow": {"forward compiled": 1.4, "forward eager": 4.0, "gradients compiled": 2.5},
    "jax": {"forward compiled": 0.8, "forward eager": 4.0, "gradients compiled": 2.5},
    "torch": {"forward eager": 1.6, "gradients eager": 2.5},
}
LARGEST = {"torch": ("forward eager", 3.0)}  # the most that any layer's ratio may be
MEMORY_TARGET = 2.5


def modes():
    return ("eager",) if measure.backend() == "torch" else ("compiled", "eager")


# --- the two sides -----------------------------------------------------------------------------


def _arrays(layer, rng, count=4):
    """The first `count` of images, kernel, bias and output gradient."""
    shape, size, filters, stride, _, groups = layer
    sizes = [-(-n // stride) for n in shape[1:3]]
    shapes = (
        shape,
        (size, size, shape[-1] // groups, filters),
        (filters,),
        (shape[0], *sizes, filters),
    )
    return [ops.convert_to_tensor(rng.standard_normal(s, "float32")) for s in shapes[:count]]


def ours(layer):
    _, _, _, stride, dilation, groups = layer
    options = {
        "strides": stride,
        "padding": "same",
        "dilation_rate": dilation,
        "groups": groups,
        "data_format": "channels_last",
    }

    def forward(x, kernel):
        return conv2d(x, kernel, **options)

    def gradients(x, kernel, bias, dy):
        y = conv2d(x, kernel, bias, **options)
        return (y, *conv2d_gradients(x, kernel, dy, **options))

    return forward, gradients


def keras_side(layer, *, depthwise=False):
    """keras.ops.conv, or ops.depthwise_conv, and the framework's autodiff of it."""
    _, _, _, stride, dilation, _ = layer
    options = {
        "strides": stride,
        "padding": "same",
        "dilation_rate": dilation,
        "data_format": "channels_last",
    }

    def forward(x, kernel):
        if depthwise:
            return ops.depthwise_conv(x, ops.transpose(kernel, (0, 1, 3, 2)), **options)
        return ops.conv(x, kernel, **options)

    def gradients(x, kernel, bias, dy):
        return _autodiff(lambda x, kernel, bias: forward(x, kernel) + bias, (x, kernel, bias), dy)

    return forward, gradients


def _autodiff(function, inputs, dy):
    """(y, gradients of sum(y * dy)): one forward pass and one backward pass."""
    if measure.backend() == "jax":
        import jax

        y, pull_back = jax.vjp(function, *inputs)
        return (y, *pull_back(dy))
    if measure.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = function(*inputs)
        return (y, *tape.gradient(y, inputs, output_gradients=dy))
    import torch

    leaves = [a.detach().requires_grad_() for a in inputs]
    y = function(*leaves)
    return (y.detach(), *torch.autograd.grad(y, leaves, dy))


# --- time --------------------------------------------------------------------------------------


def _error(got, expected):
    """The largest difference, as a share of the largest number expected."""
    pairs = zip(got, expected, strict=True)
    pairs = [[ops.convert_to_numpy(a) for a in pair] for pair in pairs]
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


def _variants(layer, what, arrays):
    """{name: a call without arguments} of every side and mode that is compared."""
    sides = {"ours": ours(layer), "keras": keras_side(layer)}
    if 1 < layer[-1] == layer[0][-1]:
        sides["depthwise"] = keras_side(layer, depthwise=True)
    functions = {}
    for mode in modes():
        for side, pair in sides.items():
            function = pair[what == "gradients"]
            if mode == "compiled":
                function = measure.compiled(function, xla=side == "ours")
            functions[f"{side} {mode}"] = lambda function=function: function(*arrays)
    return functions


def _checked(name, what, functions):
    """The errors of all variants against Keras's; raises where the results differ."""
    expected = functions[f"keras {modes()[0]}"]()
    errors = {}
    for key, function in functions.items():
        got = function()
        pair = ((got,), (expected,)) if what == "forward" else (got, expected)
        errors[key] = _error(*pair)
    if max(errors.values()) > TOLERANCE:
        raise AssertionError(f"{name}, {what}: the results differ, {errors}.")
    return errors


def _timed(name, layer, what, arrays, repeats):
    """Times, ratios and error of one layer, forward or with gradients."""
    functions = _variants(layer, what, arrays[:2] if what == "forward" else arrays)
    errors = _checked(name, what, functions)
    times = measure.interleaved(functions, repeats)
    record = {key: measure.quartiles(seconds) for key, seconds in times.items()}
    for mode in modes():
        mine = np.median(times[f"ours {mode}"])
        for side in ("keras", "depthwise"):
            if f"{side} {mode}" in times:
                ratio = float(mine / np.median(times[f"{side} {mode}"]))
                record[f"ratio to {side}, {mode}"] = ratio
    record["error"] = max(v for k, v in errors.items() if k.startswith("ours"))
    return record


def _bare_product(layer, arrays, repeats):
    """The time of a matrix product as large as the layer's, as a multiple of ops.conv's.

    No convolution that leaves its sums to `ops.matmul` can be quicker.
    """
    x, kernel = arrays[:2]
    pixels, groups = int(np.prod(arrays[3].shape[:3])), layer[-1]
    entries, filters = int(np.prod(kernel.shape[:3])), kernel.shape[-1] // groups
    patches = ops.ones((groups, pixels, entries) if groups > 1 else (pixels, entries))
    matrix = ops.ones((groups, entries, filters) if groups > 1 else (entries, filters))
    peer = keras_side(layer)[0]
    functions = {"matmul": ops.matmul, "keras": peer}
    if modes()[0] == "compiled":
        functions = {k: measure.compiled(f, xla=k == "matmul") for k, f in functions.items()}
    calls = {
        "matmul": lambda: functions["matmul"](patches, matrix),
        "keras": lambda: functions["keras"](x, kernel),
    }
    times = measure.interleaved(calls, repeats)
    return float(np.median(times["matmul"]) / np.median(times["keras"]))


def _is_depthwise(record):
    return 1 < record["groups"] == record["images"][-1]


def _layer_record(name, layer, repeats):
    arrays = _arrays(layer, np.random.default_rng(SEED))
    shape, size, filters, stride, dilation, groups = layer
    pixels = int(np.prod(arrays[3].shape[:3]))
    record = {
        "layer": name,
        "images": list(shape),
        "kernel": list(arrays[1].shape),
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
        "forward_gflop": 2e-9 * pixels * size * size * (shape[-1] // groups) * filters,
    }
    for what in ("forward", "gradients"):
        record[what] = _timed(name, layer, what, arrays, repeats)
    if not _is_depthwise(record):
        record["bare product"] = _bare_product(layer, arrays, repeats)
    return record


def _matmul_rate(repeats, size=2048):
    """GFLOP/s of one large matrix product."""
    rng = np.random.default_rng(SEED)
    a, b = (
        ops.convert_to_tensor(rng.normal(size=(size, size)).astype("float32")) for _ in range(2)
    )
    seconds = measure.interleaved({"matmul": lambda: ops.matmul(a, b)}, repeats)["matmul"]
    return float(2e-9 * size**3 / np.median(seconds))


def _explicit_loops(image, weights):
    """A 3x3 convolution of lists, every product by itself; the image is padded already."""
    output = []
    for i in range(len(image) - 2):
        for j in range(len(image[0]) - 2):
            for k in range(len(weights[0][0][0])):
                total = 0.0
                for m in range(3):
                    for n in range(3):
                        for c in range(len(weights[0][0])):
                            total += image[i + m][j + n][c] * weights[m][n][c][k]
                output.append(total)
    return output


def _loops(repeats):
    """Explicit Python loops over lists, on a layer small enough to wait for."""
    layer = ((1, 8, 8, 8), 3, 16, 1, 1, 1)
    x, kernel = _arrays(layer, np.random.default_rng(SEED))[:2]
    image = np.pad(ops.convert_to_numpy(x)[0], ((1, 1), (1, 1), (0, 0))).tolist()
    weights = ops.convert_to_numpy(kernel).tolist()
    functions = {
        "loops": lambda: _explicit_loops(image, weights),
        "keras": lambda: keras_side(layer)[0](x, kernel),
    }
    expected = ops.convert_to_numpy(functions["keras"]()).reshape(-1)
    error = float(np.max(np.abs(functions["loops"]() - expected)) / np.max(np.abs(expected)))
    if error > TOLERANCE:
        raise AssertionError(f"loops: the results differ by {error}.")
    times = measure.interleaved(functions, repeats)
    mine, peer = np.median(times["loops"]), np.median(times["keras"])
    return {
        "images": list(layer[0]),
        "kernel": list(kernel.shape),
        "median_ms": float(mine * 1e3),
        "ratio": float(mine / peer),
        "ns_per_multiplication": float(mine * 1e9 / (64 * 16 * 72)),
    }


# --- memory ------------------------------------------------------------------------------------


def peak_memory(side, mode):
    """MiB that one forward pass adds to the peak, in this process; call it in a fresh one."""

    def call(layer):
        arrays = [measure.wait(a) for a in _arrays(layer, np.random.default_rng(SEED), 2)]
        function = (ours(layer) if side == "ours" else keras_side(layer))[0]
        if mode == "compiled":
            function = measure.compiled(function, xla=side == "ours")
        return lambda: function(*arrays), sum(4 * a.size for a in map(np.asarray, arrays))

    tiny, _ = call(MEMORY_TINY)
    measure.wait(tiny())
    large, inputs = call(MEMORY_LAYER)
    return {"inputs_mib": inputs / 2**20, "growth_mib": measure.memory_growth(large)}


def _memory_record():
    shape, size, filters, *_ = MEMORY_LAYER
    record = {"images": list(shape), "kernel": [size, size, shape[-1], filters]}
    for mode in modes():
        for side in ("ours", "keras"):
            command = [sys.executable, "-m", "benchmarks", "convolution", "--peak", side, mode]
            done = subprocess.run(command, cwd=measure.ROOT, text=True, capture_output=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
            record[f"{side} {mode}"] = json.loads(done.stdout.splitlines()[-1])
        mine, peer = record[f"ours {mode}"], record[f"keras {mode}"]
        both = [r["inputs_mib"] + r["growth_mib"] for r in (mine, peer)]
        record[f"ratio, {mode}"] = both[0] / both[1]
        record[f"ratio of the growth, {mode}"] = mine["growth_mib"] / peer["growth_mib"]
    return record


# --- one backend -------------------------------------------------------------------------------


def _means(layers):
    """Geometric means; `fastest` takes ops.depthwise_conv as the peer where that is quicker."""
    means = {}
    for what in ("forward", "gradients"):
        for mode in modes():
            conv = [r[what][f"ratio to keras, {mode}"] for r in layers]
            fastest = [
                max(ratio, r[what].get(f"ratio to depthwise, {mode}", 0.0))
                for ratio, r in zip(conv, layers, strict=True)
            ]
            others = [ratio for ratio, r in zip(conv, layers, strict=True) if not _is_depthwise(r)]
            means[f"{what} {mode}"] = {
                "not depthwise": measure.geometric_mean(others),
                "ops.conv": measure.geometric_mean(conv),
                "fastest Keras op": measure.geometric_mean(fastest),
                "largest": max(conv),
            }
    return means


def measure_backend(repeats, memory=True, only=""):
    layers = []
    for name, layer in LAYERS.items():
        if only in name:
            layers.append(_layer_record(name, layer, repeats))
            print(_row(layers[-1]), flush=True)
    record = {
        "machine": measure.machine(),
        "versions": measure.versions(),
        "repeats": repeats,
        "seed": SEED,
        "matmul_gflops": _matmul_rate(repeats),
        "layers": layers,
        "means": _means(layers),
        "loops": _loops(repeats),
    }
    if memory:
        record["memory"] = _memory_record()
    record["targets"] = _judge(record)
    return record


def _judge(record):
    """[(what, measured, target, met)], by the definition: ops.conv as the peer of all layers."""
    rows = []
    for what, target in TARGETS[measure.backend()].items():
        rows.append((what, record["means"][what]["ops.conv"], target))
    if measure.backend() in LARGEST:
        what, target = LARGEST[measure.backend()]
        rows.append((f"{what}, largest", record["means"][what]["largest"], target))
    if "memory" in record:
        for mode in modes():
            rows.append((f"memory {mode}", record["memory"][f"ratio, {mode}"], MEMORY_TARGET))
    return [
        {"what": what, "measured": value, "target": target, "met": bool(value <= target)}
        for what, value, target in rows
    ]


# --- what is printed ---------------------------------------------------------------------------


def _row(record):
    cells = []
    for what in ("forward", "gradients"):
        times = record[what]
        sides = [times[f"{side} {modes()[0]}"]["median_ms"] for side in ("keras", "ours")]
        text = f"{sides[0]:8.2f} {sides[1]:8.2f}"
        text += "".join(f" {times[f'ratio to keras, {m}']:6.2f}" for m in modes())
        cells.append(text)
    return f"{record['layer']:36s}" + " |".join(cells)


def _head(backend, record):
    rate = record["matmul_gflops"]
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    return [
        f"## {backend.capitalize()}",
        "",
        f"{versions}; {record['repeats']} interleaved repeats, seed {record['seed']}; "
        f"matrix product {rate:.0f} GFLOP/s.",
    ]


def _target_table(record):
    lines = ["| what | measured | target | met |", "| --- | --- | --- | --- |"]
    for row in record["targets"]:
        met = "yes" if row["met"] else "**no**"
        lines.append(f"| {row['what']} | {row['measured']:.2f} | {row['target']} | {met} |")
    return lines


def _mean_table(record):
    lines = ["| geometric mean | to ops.conv | to the fastest Keras op | largest ratio |"]
    lines.append("| --- | --- | --- | --- |")
    for what, mean in record["means"].items():
        lines.append(
            f"| {what} | {mean['ops.conv']:.2f} | {mean['fastest Keras op']:.2f} "
            f"| {mean['largest']:.2f} |"
        )
    return lines


def _layer_table(record, what, kinds):
    """Milliseconds and ratios of every layer, forward or with gradients."""
    title = "Forward" if what == "forward" else "Forward and gradients"
    head = ["layer", f"ops.conv, {kinds[0]}", f"ours, {kinds[0]}"]
    head += [f"ratio, {k}" for k in kinds] + [f"to depthwise_conv, {k}" for k in kinds]
    head += ["GFLOP/s", "of matmul", "bare product"] if what == "forward" else []
    return [
        f"{title}: milliseconds, median (quartiles), and ours as a multiple.",
        "",
        "| " + " | ".join([*head, "error"]) + " |",
        "| --- " * (len(head) + 1) + "|",
        *(_layer_row(r, what, kinds, record["matmul_gflops"]) for r in record["layers"]),
    ]


def _layer_row(record, what, kinds, rate):
    times = record[what]
    sides = (times[f"{side} {kinds[0]}"] for side in ("keras", "ours"))
    cells = [record["layer"], *map(_spread, sides)]
    cells += [f"{times[f'ratio to keras, {k}']:.2f}" for k in kinds]
    ratios = [times.get(f"ratio to depthwise, {k}") for k in kinds]
    cells += ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    if what == "forward":
        speed = record["forward_gflop"] / (times[f"ours {kinds[0]}"]["median_ms"] / 1e3)
        bare = record.get("bare product")
        cells += [f"{speed:.0f}", f"{speed / rate:.0%}", "" if bare is None else f"{bare:.2f}"]
    return "| " + " | ".join([*cells, f"{times['error']:.0e}"]) + " |"


def _memory_table(memory, kinds):
    lines = [
        "| peak memory, MiB | inputs | growth, ours | growth, ops.conv "
        "| ratio of inputs + growth | ratio of growth |",
        "| --- " * 6 + "|",
    ]
    for k in kinds:
        mine, peer = memory[f"ours {k}"], memory[f"keras {k}"]
        lines.append(
            f"| forward {k} | {mine['inputs_mib']:.0f} | {mine['growth_mib']:.0f} "
            f"| {peer['growth_mib']:.0f} | {memory[f'ratio, {k}']:.2f} "
            f"| {memory[f'ratio of the growth, {k}']:.2f} |"
        )
    return lines


def _loops_text(record, kind):
    loops = record["loops"]
    layer = record["layers"][min(1, len(record["layers"]) - 1)]
    seconds = layer["forward_gflop"] / 2 * loops["ns_per_multiplication"]
    peer = layer["forward"][f"keras {kind}"]["median_ms"] / 1e3
    return (
        f"Explicit Python loops on images {tuple(loops['images'])}, kernel "
        f"{tuple(loops['kernel'])}: {loops['median_ms']:.1f} ms, {loops['ratio']:.0f} times "
        f"ops.conv there; {loops['ns_per_multiplication']:.0f} ns per multiplication. "
        f"Extrapolated at that rate, not measured: {layer['layer']} would take {seconds:.0f} s, "
        f"{seconds / peer:,.0f} times ops.conv."
    )


def report(backend, record):
    """The record of one backend as Markdown."""
    kinds = ["eager"] if backend == "torch" else ["compiled", "eager"]
    parts = [_head(backend, record), _target_table(record), _mean_table(record)]
    parts += [_layer_table(record, what, kinds) for what in ("forward", "gradients")]
    parts += [_memory_table(record["memory"], kinds)] if "memory" in record else []
    parts.append([_loops_text(record, kinds[0])])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _spread(time):
    return f"{time['median_ms']:.2f} ({time['q1_ms']:.2f}-{time['q3_ms']:.2f})"


PREFACE = """# conv2d against keras.ops.conv

Written by `python -m benchmarks convolution --all` on {date}: {processor}, {cores} cores, {system}.

- Every ratio is the median time of cnnbook's function divided by the median time of Keras's on
  the same backend, from calls that alternate in one process. Below 1, cnnbook is faster.
- "Compiled" is `jax.jit`, and on TensorFlow `tf.function(jit_compile=True)` against Keras's op in
  a plain `tf.function`. PyTorch is measured in its eager mode.
- "Gradients" is a forward pass and the gradients of images, kernel and bias: `conv2d` and
  `conv2d_gradients` against the framework's automatic differentiation of `ops.conv`.
- The targets take `ops.conv` as the peer of all layers. For depthwise layers that is
  `ops.conv` with as many groups as channels; "fastest Keras op" takes `ops.depthwise_conv` for
  these layers where it is the quicker of the two.
- "Bare product" is one `ops.matmul` as large as the layer's sums, as a multiple of `ops.conv`'s
  time: what is left for a convolution that is made of matrix products. Where it is above 1, the
  library's convolution has quicker instructions than its matrix product.
- The error is the largest difference from Keras as a share of the largest number.
- Peak memory is what one forward pass of a fresh process, compilation included, adds to the
  process's peak resident set, over its state when the inputs (64 MiB) exist and a tiny convolution
  has run. The growth contains the output (128 MiB). The target is judged on inputs + growth.
"""


def page_table(records):
    """The table of chapter 01: forward times as multiples of ops.conv, one column per backend."""
    columns = {"tensorflow": "compiled", "jax": "compiled", "torch": "eager"}
    heads = [f"{measure.NAMES[b]}, {mode}" for b, mode in columns.items()]
    lines = ["| " + " | ".join(["layer", "image and kernel", *heads]) + " |"]
    lines.append("| --- | --- " + "| ---: " * len(columns) + "|")
    for i, layer in enumerate(records["tensorflow"]["layers"]):
        shape = "x".join(map(str, layer["images"])) + ", " + "x".join(map(str, layer["kernel"]))
        ratios = [
            records[b]["layers"][i]["forward"][f"ratio to keras, {mode}"]
            for b, mode in columns.items()
        ]
        lines.append(
            "| " + " | ".join([layer["layer"], shape, *map("{:.2f}".format, ratios)]) + " |"
        )
    rows = [
        ("forward", "ops.conv", "geometric mean"),
        ("forward", "not depthwise", "without depthwise"),
    ]
    rows += [
        ("gradients", "ops.conv", "geometric mean, with gradients"),
        ("gradients", "not depthwise", "with gradients, without depthwise"),
    ]
    for what, peer, name in rows:
        means = [records[b]["means"][f"{what} {mode}"][peer] for b, mode in columns.items()]
        lines.append("| " + " | ".join([name, "", *map("**{:.2f}**".format, means)]) + " |")
    memory = [records[b]["memory"][f"ratio, {mode}"] for b, mode in columns.items()]
    shape = "x".join(map(str, MEMORY_LAYER[0]))
    lines.append("| " + " | ".join(["peak memory", shape, *map("{:.2f}".format, memory)]) + " |")
    return "\n".join(lines)


def targets(records):
    """The rows of all backends that say what was to be reached, and whether it was."""
    return [row for record in records.values() for row in record["targets"]]


# --- all backends ------------------------------------------------------------------------------


def measure_all(arguments):
    interpreters = {backend: measure.interpreter(backend) for backend in measure.BACKENDS}
    records = {}
    for backend, python in interpreters.items():
        print(f"\n{backend}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.json"
            command = [python, "-m", "benchmarks", "convolution", "--json", str(path)]
            command += ["--repeats", str(arguments.repeats)]
            environment = {**os.environ, "KERAS_BACKEND": backend}
            subprocess.run(command, cwd=measure.ROOT, env=environment, check=True)
            records[backend] = json.loads(path.read_text())
    measure.RESULTS.mkdir(exist_ok=True)
    (measure.RESULTS / "convolution.json").write_text(json.dumps(records, indent=1) + "\n")
    preface = PREFACE.format(**records["tensorflow"]["machine"])
    text = "\n".join([preface, *(report(b, r) for b, r in records.items())])
    (measure.RESULTS / "convolution.md").write_text(text)
    print(f"\nWritten: {measure.RESULTS / 'convolution.json'} and convolution.md")


def main():
    parser = argparse.ArgumentParser(prog=sys.argv[0] if " " in sys.argv[0] else None)
    parser.add_argument("--all", action="store_true", help="three backends; writes the record")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--layer", default="", help="only the layers whose name contains this")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, help="where to write the record of one backend")
    parser.add_argument("--peak", nargs=2, metavar=("SIDE", "MODE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(peak_memory(*arguments.peak)))
        return
    if arguments.all:
        measure_all(arguments)
        return
    record = measure_backend(arguments.repeats, not arguments.no_memory, arguments.layer)
    print("\n" + report(measure.backend(), record))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

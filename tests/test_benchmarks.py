"""What the benchmarks make of their measurements."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _worker, compression, convolution, pages, training


def rates(*values):
    return [{"rate": value} for value in values]


@pytest.fixture
def record():
    """Two backends, three rounds; the second round met a busy machine."""
    tensorflow = {
        "versions": {"keras": "3"},
        "memory": {"mib": [100.0, 100.5, 130.0, 101.5, 102.0]},
        "train augmented": rates(120, 60, 130),
        "train": rates(180, 90, 190),
        "fit": rates(200, 100, 200),
        "predict": rates(900, 450, 1000),
        "pipeline": rates(540, 300, 400),
    }
    torch = {
        "versions": {"keras": "3"},
        "memory": {"mib": [90.0, 92.0, 94.0, 96.0, 98.0]},
        "train augmented": rates(100, 50, 100),
        "pytorch train": rates(100, 50, 100),
        "train": rates(110, 50, 100),
        "fit": rates(100, 50, 100),
        "predict": rates(300, 150, 300),
        "pytorch predict": rates(300, 150, 300),
        "pipeline": rates(1000, 1000, 1000),
    }
    record = {"seed": 0, "rounds": 3, "images": 64, "backends": {}}
    record["backends"] = {"tensorflow": tensorflow, "torch": torch}
    record["machine"] = {"date": "today", "processor": "P", "cores": 2, "system": "Linux"}
    record["ratios"] = {b: training.ratios(record, b) for b in record["backends"]}
    record["targets"] = training.judge(record)
    return record


def test_ratios_are_formed_within_a_round(record):
    ratios = training.ratios(record, "tensorflow")
    augmented = ratios["training with augmentation, to PyTorch"]  # 1.2, 1.2, 1.3
    assert augmented == pytest.approx({"median": 1.2, "q1": 1.2, "q3": 1.25})
    assert ratios["training, to fit"] == pytest.approx({"median": 0.9, "q1": 0.9, "q3": 0.925})
    assert ratios["prediction, to PyTorch"]["median"] == pytest.approx(3.0)
    pipeline = ratios["input pipeline, to training"]  # 3, 3.33, 2.11
    assert pipeline["median"] == pytest.approx(3.0)


def test_growth_sees_a_leak_and_no_passing_buffer(record):
    assert training.growth(record, "tensorflow") == pytest.approx(0.5)
    assert training.growth(record, "torch") == pytest.approx(2.0)
    record["backends"]["torch"]["memory"]["mib"] = [90.0, 115.0, 115.0, 90.0, 115.0, 90.0]
    assert training.growth(record, "torch") == 0


def test_the_fastest_backend_is_judged_and_every_memory(record):
    assert training.best_backend(record) == "tensorflow"
    rows = {row["what"]: row for row in training.targets(record)}
    assert set(rows) == {*training.RATIOS, training.MEMORY}
    memory = rows.pop(training.MEMORY)
    assert {row["backend"] for row in rows.values()} == {"tensorflow"}
    assert memory["backend"] == "torch" and not memory["met"]
    assert all(row["met"] == (row["measured"] >= row["target"]) for row in rows.values())
    assert [row["target"] for row in rows.values()] == [1.2, 0.9, 2.0, 3.0]
    record["ratios"]["tensorflow"]["training, to fit"]["median"] = 0.89
    record["backends"]["torch"]["memory"]["mib"] = [90.0] * 5
    met = {row["what"]: row["met"] for row in training.judge(record)}
    assert not met["training, to fit"] and met[training.MEMORY]


def test_the_table_has_a_row_for_each_target(record):
    head, rule, *rows = training.page_table(record).splitlines()
    assert [cell.strip() for cell in head.split("|")[2:5]] == ["TensorFlow", "PyTorch", "target"]
    assert {line.count("|") for line in (head, rule, *rows)} == {5}
    first = "| training with augmentation, to PyTorch | 1.20 (1.20-1.25) | 1.00 (1.00-1.00) |"
    assert rows[0] == first + " at least 1.2 |"
    assert rows[-1] == f"| {training.MEMORY} | 0.50 | 2.00 | at most 1.0 |"
    assert len(rows) == 5


def test_the_report_holds_the_table_and_says_what_is_missed(record):
    text = training.report(record)
    assert training.page_table(record) in text
    assert f"| {training.MEMORY} (PyTorch) | 2.00 | 1.0 | **no** |" in text
    assert "| fit | TensorFlow | 200 (150-200) |  |" in text
    assert "What is compared" in text and "here TensorFlow" in text


@pytest.mark.parametrize("at, calls", [(0, [0, 3, 6]), (1, [1, 4])])
def test_a_clock_notes_a_batch_of_each_epoch(at, calls):
    clock = training.Clock(math.sqrt, 3, at, lambda: clock.calls)
    assert [clock(4.0) for _ in range(7)] == [2.0] * 7
    assert clock.notes == calls


# Compression


def arm(accuracy, *, ms=(1.0, 2.0), size=1000, ece=2.0):
    """What one version reached with each seed; every seed has the same times."""
    fields = {"ece": ece, "bytes": size, "gzip": size - 100, "mib": 5.0, "ms": list(ms)}
    return [{"accuracy": value, "parameters": 10, "sparsity": 0.0, **fields} for value in accuracy]


@pytest.fixture
def versions():
    """Two seeds, two rounds; the second round met a busy machine."""
    arms = {name: arm((96.0, 98.0)) for name in compression.CONTROLS}
    arms["float"] = arm((96.0, 98.0), ms=(1.6, 3.2))
    arms["float, trained on"] = arm((97.0, 98.0), ms=(1.6, 3.2))
    arms["QAT int8"] = arm((97.0, 97.5), ms=(0.4, 0.8), size=255)
    arms["half the filters"] = arm((95.0, 97.0), ms=(0.8, 1.7))
    arms["student distilled"] = arm((97.5, 98.5))
    arms["TF-MOT QAT int8"] = arm((97.5, 97.5))
    steps = {
        "tensorflow": {"float": [0.1, 0.2], "quantized": [0.11, 0.24]},
        "jax": {"float": [0.2, 0.2], "quantized": [0.2, 0.2]},
        "torch": {"float": [0.2, 0.4], "quantized": [0.3, 0.6]},
        "tfmot": {"float": [0.1, 0.1], "quantized": [0.135, 0.135]},
    }
    record = {"seeds": [0, 1], "steps": steps, "arms": arms}
    record["settings"] = dict(train=4, test=5, epochs=8, more=2, again=1, rounds=2, step_rounds=2)
    record["versions"] = {"tensorflow": {"keras": "3"}, "LiteRT": {"ai-edge-litert": "2"}}
    record["machine"] = {"date": "today", "processor": "P", "cores": 2, "system": "Linux"}
    record["macs"] = {"teacher": compression.macs(64), "student": compression.macs(18)}
    record["targets"] = compression.judge(record)
    return record


def test_a_drop_is_from_the_better_of_float_and_control(versions):
    found = compression.drop(versions, "QAT int8")  # the control is at 97 and 98
    assert found == pytest.approx({"mean": 0.25, "low": 0.0, "high": 0.5})
    assert compression.drop(versions, "PTQ int8")["mean"] == 0  # never trained on
    versions["arms"]["float, trained on"] = arm((90.0, 91.0))
    assert compression.drop(versions, "QAT int8")["mean"] == pytest.approx(-0.25)


def test_speeds_are_formed_within_a_round(versions):
    assert compression.speed(versions, "QAT int8")["median"] == pytest.approx(4.0)
    half = compression.speed(versions, "half the filters")
    assert half["median"] == pytest.approx((2 + 3.2 / 1.7) / 2)
    ratios = compression.step_ratios(versions["steps"])
    assert ratios["tensorflow"]["median"] == pytest.approx(1.15)
    assert ratios["torch"]["median"] == pytest.approx(1.5)


def test_compression_is_judged(versions):
    rows = {row["what"]: row for row in compression.targets(versions)}
    met = {what: row["met"] for what, row in rows.items()}
    assert met.pop("int8 file, share of the float file")
    assert not met.pop("half the filters, times as fast as float")
    assert not met.pop("a QAT step, share of a float step, PyTorch")
    assert all(met.values()), met
    assert rows["QAT int8, points above TF-MOT's"]["measured"] == pytest.approx(-0.25)
    assert len(rows) == 13
    versions["arms"]["QAT int8"] = arm((90.0, 90.5), ms=(1.0, 1.0), size=261)
    missed = [row["what"] for row in compression.judge(versions) if not row["met"]]
    assert [what for what in missed if "QAT int8" in what or what.startswith("int8")] == [
        "int8 file, share of the float file",
        "int8 file, times as fast as float",
        "QAT int8, points below float",
        "QAT int8, points above TF-MOT's",
    ]


def test_the_tables_of_compression(versions):
    head, rule, *rows = compression.page_table(versions).splitlines()
    assert {line.count("|") for line in (head, rule, *rows)} == {8}
    assert len(rows) == len(compression.CONTROLS)
    assert "| QAT int8 | 97.2 (97.0-97.5) | 2.0 | 0 | 5.0 | 0.60 | 4.00 |" in rows
    *_, last = compression.step_table(versions).splitlines()
    assert last == "| TF-MOT | 100 | 135 | 1.35 (1.35-1.35) |"
    text = compression.report(versions)
    assert compression.page_table(versions) in text and compression.step_table(versions) in text
    assert "| half the filters, times as fast as float | 1.941 |" in text and "**no**" in text
    assert "1/10.5" in text and "The peer is" in text


def test_the_stored_record_of_compression_is_judged_and_reported_as_here():
    results = Path(compression.__file__).parent / "results"
    record = json.loads((results / "compression.json").read_text("utf-8"))
    assert compression.judge(record) == record["targets"]
    assert (results / "compression.md").read_text("utf-8") == compression.report(record)


def test_the_student_has_a_tenth_of_the_work():
    assert compression.macs(64) == 22_743_552
    assert 10 * compression.macs(compression.STUDENT) <= compression.macs(compression.WIDTH)


def test_calibration_error_by_hand():
    logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    # Two bins: 0.5, right; 0.9, 0.9 and 0.6, of which one is wrong.
    error = compression.calibration_error(logits, np.array([0, 1, 1, 0]), bins=2)
    assert error == pytest.approx((abs(1 - 0.5) + abs(2 - 2.4)) / 4)
    sure = np.array([[1e3, 0.0]] * 4)
    assert compression.calibration_error(sure, np.zeros(4, int)) == 0
    assert compression.calibration_error(sure, np.ones(4, int)) == 1


def test_files_have_names_of_their_own():
    names = {compression.file_of("folder", name).name for name in compression.CONTROLS}
    assert len(names) == len(compression.CONTROLS)
    assert "80-pruned-QAT-int8.tflite" in names


def test_a_worker_takes_turns_until_it_ends():
    code = """if True:
        from benchmarks import _worker
        _worker.serve({"twice": lambda x: print("loud") or 2 * x})"""
    worker = _worker.Worker("test", [sys.executable, "-c", code])
    assert worker.ask("twice", x=4) == 8
    assert worker.ask("twice", x="ab") == "abab"
    with pytest.raises(RuntimeError, match="the process for test has ended"):
        worker.ask("unknown")
    worker.close()


# conv2d beside ops.conv


@pytest.fixture
def layers():
    return json.loads((convolution.measure.RESULTS / "convolution.json").read_text("utf-8"))[
        "torch"
    ]


def test_convolution_is_judged_by_its_mean_and_its_slowest_layer(monkeypatch):
    monkeypatch.setattr(convolution.measure, "backend", lambda: "torch")
    means = {"forward eager": {"ops.conv": 1.5, "largest": 3.1}, "gradients eager": {"ops.conv": 2}}
    rows = {row["what"]: row for row in convolution._judge({"means": means})}
    assert rows["forward eager"]["met"] and rows["gradients eager"]["met"]
    assert not rows["forward eager, largest"]["met"]
    means["forward eager"]["largest"] = 2.9
    rows = {row["what"]: row for row in convolution._judge({"means": means})}
    assert rows["forward eager, largest"] == {
        "what": "forward eager, largest",
        "measured": 2.9,
        "target": 3.0,
        "met": True,
    }


def test_depthwise_layers_have_no_matrix_product():
    names = [
        name
        for name, (shape, *_, groups) in convolution.LAYERS.items()
        if convolution._is_depthwise({"images": shape, "groups": groups})
    ]
    assert names == [name for name in convolution.LAYERS if "depthwise" in name]


def test_convolution_is_reported(layers):
    layers["layers"][1]["bare product"] = 2.25
    text = convolution.report("torch", layers)
    assert "matrix product 165 GFLOP/s" in text
    row = next(line for line in text.splitlines() if line.startswith("| spec CNN, layer 2"))
    assert row.endswith("| 59 | 36% | 2.25 | 1e-06 |")
    assert "| forward eager | 64 | 351 | 198 | 1.58 | 1.77 |" in text
    assert "88 ns per multiplication" in text


def test_bare_product_is_as_large_as_the_layer():
    layer = ((2, 6, 6, 4), 3, 8, 2, 1, 2)
    arrays = convolution._arrays(layer, np.random.default_rng(0))
    assert 0 < convolution._bare_product(layer, arrays, 1) < math.inf


def test_pages_are_summarized():
    seconds = {"a.html": [2.0, 1.0, 4.0], "book/equations.html": [3.0, 3.0, 3.5]}
    found = pages.summarize(seconds, {"a.html": 1_500_000, "book/equations.html": 2_000})
    assert found["a.html"] == {
        "seconds": 2.0,
        "fastest": 1.0,
        "slowest": 4.0,
        "target": 3.0,
        "kilobytes": 1500.0,
    }
    assert found["book/equations.html"]["target"] == 4.0


def test_the_stored_record_of_pages_is_reported_as_here():
    path = pages.measure.RESULTS / "pages.json"
    record = json.loads(path.read_text("utf-8"))
    assert pages.table(record) == path.with_suffix(".md").read_text("utf-8")
    assert "book/equations.html" in record["pages"]
    assert len(record["pages"]) >= 17

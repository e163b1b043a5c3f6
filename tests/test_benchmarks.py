"""What the benchmarks make of their measurements."""

import math

import pytest

from benchmarks import training


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

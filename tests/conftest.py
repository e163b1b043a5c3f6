"""The `parity` fixture: asserts agreement with a peer and records the largest error."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import cnnbook

RECORDS = Path(__file__).parents[1] / "build" / "parity"
_largest = {}


@pytest.fixture
def parity():
    """A function that asserts agreement and remembers the error for the equation index."""

    def assert_parity(function, peer, got, expected, *, rtol=1e-5, atol=1e-5):
        got, expected = (
            np.asarray(keras.ops.convert_to_numpy(a), "float64") for a in (got, expected)
        )
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
        name = f"{function.__module__.removeprefix('cnnbook.')}.{function.__name__}"
        record = _largest.setdefault(name, {"peer": peer, "error": 0.0, "comparisons": 0})
        error = float(np.max(np.abs(got - expected), initial=0.0))
        record["error"] = max(record["error"], error)
        record["comparisons"] += 1

    return assert_parity


def pytest_sessionfinish(session):
    if not _largest:
        return
    worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
    RECORDS.mkdir(parents=True, exist_ok=True)
    record = {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "cnnbook": cnnbook.__version__,
        "functions": _largest,
    }
    path = RECORDS / f"{keras.backend.backend()}-{worker}.json"
    path.write_text(json.dumps(record, indent=1, sort_keys=True))

"""Takes the largest errors that the tests met over into the equation index's record.

    python -m tools.parity      after `make unit backends`

Each test process leaves one file in build/parity; their union becomes book/_data/parity.json.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "_data" / "parity.json"


def merge(parts):
    """{backend: {cnnbook, keras, functions}} from the processes' records."""
    merged = {}
    for part in parts:
        backend = {"cnnbook": part["cnnbook"], "keras": part["keras"], "functions": {}}
        functions = merged.setdefault(part["backend"], backend)["functions"]
        for name, record in part["functions"].items():
            known = functions.setdefault(name, {"comparisons": 0, "error": 0.0, "peer": ""})
            known["comparisons"] += record["comparisons"]
            known["error"] = max(known["error"], float(f"{record['error']:.1e}"))
            known["peer"] = record["peer"]
    return merged


def main():
    parts = [json.loads(p.read_text()) for p in sorted((ROOT / "build" / "parity").glob("*.json"))]
    merged = merge(parts)
    missing = {"tensorflow", "jax", "torch"} - set(merged)
    if missing:
        sys.exit(f"No record of {', '.join(sorted(missing))}: run `make unit backends` first.")
    RECORD.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")
    print(f"{RECORD.relative_to(ROOT)}: {', '.join(sorted(merged))}")


if __name__ == "__main__":
    main()

"""`make hostile`: odd calls of every public function; what is deep, silent or slow fails."""

import argparse
import sys
import time
from collections import Counter

import matplotlib

matplotlib.use("agg")

from hostile.judge import SLOW, call, drawn, names, sample, singles
from hostile.known import KNOWN


def calls_of(name, count, seed):
    if name in SLOW:
        return sample(name, 0.1, seed)
    return singles(name) + drawn(name, count, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", help="names such as pooling.max_pool2d; else all")
    parser.add_argument("--draws", type=int, default=150, help="pairs of odd values per function")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total, findings, started = 0, [], time.monotonic()
    for name in options.functions or names():
        calls = calls_of(name, options.draws, options.seed)
        total += len(calls)
        found = [finding for odd in calls if (finding := call(name, odd))]
        findings += found
        for finding in found:
            print(finding, flush=True)
    unknown = [finding for finding in findings if finding.name not in KNOWN]
    kinds = Counter(finding.kind for finding in findings)
    seconds = time.monotonic() - started
    print(
        f"{total} calls in {seconds:.0f} s, seed {options.seed}: {dict(kinds) or 'nothing found'}"
    )
    print(f"{len(unknown)} of them in functions that are not in tests/hostile/known.py")
    sys.exit(bool(unknown))


if __name__ == "__main__":
    main()

"""How soon a page of the built book can be used on a slow processor, and what it weighs.

Chromium's processor is slowed down four times (CDP, Emulation.setCPUThrottlingRate); the network is
the loopback, not slowed down, and every visit starts with an empty cache. Build the book before.
The record goes to ``benchmarks/results/pages.json`` and ``.md``.

A page counts as interactive when it is loaded, the formulas in the window are drawn, and the last
task of more than 50 ms, after which a second without another one passed, has ended. Formulas
further down are drawn later, in pauses. Its weight is what was transferred until then, without
compression.
"""

import argparse
import functools
import json
import shutil
import statistics
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import sync_playwright

from benchmarks import _measure as measure

SITE = measure.ROOT / "_build" / "html"
SLOWDOWN = 4
VIEWPORT = {"width": 1280, "height": 900}
TARGETS = {"book/equations.html": 4.0}  # seconds
TARGET = 3.0  # of every other page

WATCH = """() => {
  window.lastTask = 0;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) {
      window.lastTask = Math.max(window.lastTask, task.startTime + task.duration);
    }
  }).observe({ type: "longtask", buffered: true });
}"""
INTERACTIVE = """async () => {
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const isShown = ({ height, top, bottom }) => height > 0 && top < innerHeight && bottom > 0;
  const formulas = [...document.querySelectorAll(".math")]
    .filter((formula) => isShown(formula.getBoundingClientRect()));
  while (!formulas.every((formula) => formula.querySelector("mjx-container"))) await pause(20);
  const ready = performance.now();
  while (performance.now() - Math.max(ready, window.lastTask) < 1000) await pause(100);
  const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
  return Math.max(ready, loaded, window.lastTask) / 1000;
}"""
WEIGHT = """() => ["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type))
  .reduce((sum, entry) => sum + entry.transferSize, 0)"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def pages():
    """The chapters, the full-size pages and the equation index."""
    found = sorted((SITE / "notebooks").rglob("*.html"))
    return [p.relative_to(SITE).as_posix() for p in found] + ["book/equations.html"]


def visit(browser, address):
    """Seconds until the page is interactive, and its bytes."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    page.add_init_script(f"({WATCH})()")
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    page.goto(address, wait_until="load")
    figures = page.evaluate(INTERACTIVE), page.evaluate(WEIGHT)
    context.close()
    return figures


def measure_pages(names, repeats):
    handler = functools.partial(QuietHandler, directory=str(SITE))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    seconds, weights = {name: [] for name in names}, {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(repeats):
            for name in names:
                address = f"http://127.0.0.1:{server.server_port}/{name}"
                taken, weights[name] = visit(browser, address)
                seconds[name].append(taken)
        version = browser.version
        browser.close()
    server.shutdown()
    return version, seconds, weights


def summarize(seconds, weights):
    return {
        name: {
            "seconds": statistics.median(taken),
            "fastest": min(taken),
            "slowest": max(taken),
            "target": TARGETS.get(name, TARGET),
            "kilobytes": weights[name] / 1000,
        }
        for name, taken in seconds.items()
    }


def table(record):
    lines = [
        "# How soon a page of the book can be used",
        "",
        f"{record['date']}, {record['processor']}, {record['cores']} cores, Chromium",
        f"{record['chromium']}; processor slowed down {SLOWDOWN} times, network the loopback,",
        f"empty cache; median and range of {record['repeats']} visits.",
        "`python -m benchmarks pages` measures it anew.",
        "",
        "| page | s, median | s, range | target, s | kB, uncompressed |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in record["pages"].items():
        span = f"{row['fastest']:.1f} to {row['slowest']:.1f}"
        figures = f"{row['seconds']:.1f} | {span} | {row['target']:.0f} | {row['kilobytes']:.0f}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks pages")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pages", nargs="*", help="addresses below the site, such as index.html")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    version, seconds, weights = measure_pages(options.pages or pages(), options.repeats)
    figures = {
        "chromium": version,
        "repeats": options.repeats,
        "pages": summarize(seconds, weights),
    }
    record = measure.machine() | figures
    print(table(record))
    if not options.no_record:
        path = measure.RESULTS / "pages.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(table(record), encoding="utf-8")


if __name__ == "__main__":
    main()

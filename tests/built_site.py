"""The built book: where it is, its pages, a server as its host would be, and what axe finds."""

import importlib.resources
import tomllib
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = urlsplit(PROJECT["urls"]["Documentation"]).path  # where on its host the book is published
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if path.relative_to(SITE).parts[0] != "_static"
    and path.name not in ("index.html", "search.html")
)
AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


class Host(SimpleHTTPRequestHandler):
    """Serves the site below its path, and its page 404.html for addresses that lead nowhere."""

    def log_message(self, *arguments):
        pass

    def translate_path(self, path):
        below = path.removeprefix(BASE) if path.startswith(BASE + "/") else "/nowhere"
        return super().translate_path(below)

    def send_error(self, code, message=None, explain=None):
        page = (SITE / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


def assert_none(problems):
    assert not problems, "\n".join(["", *problems])


def find_serious_violations(page):
    """What axe-core finds, each with the element and the reason."""
    page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    options = {"resultTypes": ["violations"], "preload": False}
    found = page.evaluate("options => axe.run(options)", options)["violations"]
    return [
        f"{v['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]

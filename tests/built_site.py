"""Where the built book is, and a server that hands it out as its host would."""

import tomllib
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = urlsplit(PROJECT["urls"]["Documentation"]).path  # where on its host the book is published


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

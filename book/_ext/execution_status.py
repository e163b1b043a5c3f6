"""The directive ``execution-status``: what ran, where, when, and for how long."""

import json

import book_nodes
import contract
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

HEADINGS = ["Notebook", "Executed", "Seconds", "Backend", "Versions", "Processor"]


def read_status(root=contract.ROOT):
    path = root / "book" / "_data" / "status.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


class ExecutionStatus(SphinxDirective):
    """One row for each notebook of the book."""

    def run(self):
        self.env.metadata[self.env.docname]["generated"] = True
        status = read_status()
        paths = [p for p in contract.book_pages() if p.suffix == ".ipynb"]
        pages = [p.relative_to(contract.ROOT).with_suffix("").as_posix() for p in paths]
        rows = [self.make_row(page, status) for page in pages]
        return [book_nodes.table(HEADINGS, rows, [22, 13, 10, 13, 22, 20])]

    def make_row(self, page, status):
        name = page.rpartition("/")[2]
        link = nodes.Text(name)
        if page in self.env.found_docs:
            link = book_nodes.reference("std", "doc", f"/{page}", name, self.env.docname)
        record = status.get(page)
        if record is None:
            return [[book_nodes.paragraph(link)], ([book_nodes.paragraph("not recorded")], 5)]
        versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        processor = f"{record['processor']}, {record['cores']} cores"
        shown = [record["date"], f"{record['seconds']:.0f}", record["backend"], versions, processor]
        return [[book_nodes.paragraph(link)], *([book_nodes.paragraph(s)] for s in shown)]


def setup(app):
    app.add_directive("execution-status", ExecutionStatus)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

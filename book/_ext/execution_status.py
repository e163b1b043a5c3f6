"""The directive ``execution-status``: what ran, where, when, and for how long."""

import json
from collections import Counter

import book_nodes
import contract
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

HEADINGS = ["Notebook", "Executed", "Seconds"]


def read_status(root=contract.ROOT):
    path = root / "book" / "_data" / "status.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def surroundings(record):
    """Where a notebook ran: the versions, the backend and the processor, each by its name."""
    where = {"on": f"{record['processor']}, {record['cores']} cores"}
    return {**record["versions"], "backend": record["backend"], **where}


def usual_surroundings(records):
    """Of each name the value that most records have."""
    found = [surroundings(record) for record in records]
    names = dict.fromkeys(name for where in found for name in where)
    return {n: Counter(where.get(n) for where in found).most_common(1)[0][0] for n in names}


def in_words(where):
    return ", ".join(f"{name} {value or 'not loaded'}" for name, value in where.items())


def differences(record, usual):
    """Where a notebook did not run as most did, in words."""
    where = surroundings(record)
    names = dict.fromkeys([*usual, *where])
    return in_words({n: where.get(n) for n in names if where.get(n) != usual.get(n)})


class ExecutionStatus(SphinxDirective):
    """What all notebooks have in common, then one row for each of the book."""

    def run(self):
        self.env.metadata[self.env.docname]["generated"] = True
        status = read_status()
        usual = usual_surroundings(status.values())
        paths = [p for p in contract.book_pages() if p.suffix == ".ipynb"]
        pages = [p.relative_to(contract.ROOT).with_suffix("").as_posix() for p in paths]
        rows = [self.make_row(page, status.get(page), usual) for page in pages]
        said = f"Unless a row says otherwise, a notebook ran with {in_words(usual)}."
        return [book_nodes.paragraph(said), book_nodes.table(HEADINGS, rows, [50, 30, 20])]

    def make_row(self, page, record, usual):
        name = page.rpartition("/")[2]
        link = nodes.Text(name)
        if page in self.env.found_docs:
            link = book_nodes.reference("std", "doc", f"/{page}", name, self.env.docname)
        if record is None:
            return [[book_nodes.paragraph(link)], ([book_nodes.paragraph("not recorded")], 2)]
        differing = differences(record, usual)
        shown = [record["date"], f"{record['seconds']:.0f}"]
        names = [book_nodes.paragraph(link), *([book_nodes.paragraph(differing)] * bool(differing))]
        return [names, *([book_nodes.paragraph(s)] for s in shown)]


def setup(app):
    app.add_directive("execution-status", ExecutionStatus)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The directive ``equation-index``: every equation, its function, and how well they agree."""

import book_nodes
import contract
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
HEADINGS = ["Function", "Compared with", *(f"Error, {name}" for name in BACKENDS.values())]


class EquationIndex(SphinxDirective):
    """One section for each chapter, one table for each of its equations."""

    def run(self):
        self.env.metadata[self.env.docname]["generated"] = True
        self.parity = contract.read_parity()
        functions = contract.read_functions()
        chapters = {}
        for equation in contract.read_equations():
            citing = [f for f in functions if f.computes(equation) or is_own(equation, f)]
            chapters.setdefault(equation.page, []).append((equation, citing))
        return [self.make_chapter(page, rows) for page, rows in chapters.items()]

    def make_chapter(self, page, equations):
        topic = equations[0][0].topic
        title = topic.replace("_", " ").capitalize()
        node = book_nodes.section(title, f"equations-{topic}", self.state.document)
        link = book_nodes.reference("std", "doc", f"/{page}", title, self.env.docname)
        node += book_nodes.paragraph("Chapter: ", link)
        rows = [row for equation, citing in equations for row in self.make_rows(equation, citing)]
        node += book_nodes.table(HEADINGS, rows, [30, 25, 15, 15, 15], classes=["equation-index"])
        return node

    def make_rows(self, equation, citing):
        number = book_nodes.reference("math", "eq", equation.label, "", self.env.docname)
        body = equation.body
        formula = nodes.math_block(body, body, nowrap=False, number=None, label=None)
        yield [([book_nodes.paragraph("Equation ", number), formula], len(HEADINGS))]
        for function in citing:
            target = f"cnnbook.{function.name}"
            name = function.name.rpartition(".")[2]
            link = book_nodes.reference("py", "func", target, f"{name}()", self.env.docname)
            records = [self.record(backend, function.name) for backend in BACKENDS]
            peers = dict.fromkeys(r["peer"] for r in records if r)
            yield [
                [book_nodes.paragraph(link)],
                [book_nodes.paragraph(nodes.literal(p, p)) for p in peers],
                *([book_nodes.paragraph(describe(r))] for r in records),
            ]

    def record(self, backend, function):
        return self.parity.get(backend, {}).get("functions", {}).get(function)


def is_own(equation, function):
    """Whether it is the first that a function cites: the one that it is about."""
    return function.labels[:1] == (equation.label,)


def describe(record):
    return f"{record['error']:.1e}" if record else "not measured"


def measured_with(parity):
    """The versions with which the errors were measured, in words."""
    return "; ".join(
        f"{BACKENDS[b]} with Keras {parity[b]['keras']}" for b in BACKENDS if b in parity
    )


class EquationIndexVersions(SphinxDirective):
    def run(self):
        said = measured_with(contract.read_parity()) or "nothing has been measured yet"
        return [book_nodes.paragraph(f"Measured on: {said}.")]


def outdated_pages(app, env, added, changed, removed):
    """The page is made anew in every build: what it shows changes without it."""
    return [name for name, data in env.metadata.items() if data.get("generated")]


def setup(app):
    app.add_directive("equation-index", EquationIndex)
    app.add_directive("equation-index-versions", EquationIndexVersions)
    app.connect("env-get-outdated", outdated_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

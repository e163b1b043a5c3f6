"""What ``cards.js`` shows when a reference is pointed at: equations and the glossary's terms."""

import json
from pathlib import Path

import contract
from docutils import nodes

SCRIPT = "card_texts.js"


def equation_number(env, page, identifier):
    number = env.toc_fignumbers[page]["displaymath"][identifier]
    return ".".join(map(str, number))


def equation_cards(env):
    """The LaTeX of every labeled equation, as Sphinx hands it to MathJax."""
    cards = {}
    for equation in contract.read_equations():
        if equation.page in env.found_docs:
            identifier, body = f"equation-{equation.label}", equation.body
            title = f"Equation ({equation_number(env, equation.page, identifier)})"
            if r"\\" in body:
                body = rf"\begin{{split}}{body}\end{{split}}"
            cards[identifier] = {"title": title, "tex": body}
    return cards


def term_cards(glossary):
    """The definition of every term of a glossary's document."""
    cards = {}
    for item in glossary.findall(nodes.definition_list_item):
        (definition,) = item.findall(nodes.definition)
        for term in item.findall(nodes.term):
            title, text = term.astext(), " ".join(definition.astext().split())
            cards |= {identifier: {"title": title, "text": text} for identifier in term["ids"]}
    return cards


def write_cards(app, exception):
    if exception is None and app.builder.format == "html":
        cards = equation_cards(app.env) | term_cards(app.env.get_doctree("book/glossary"))
        path = Path(app.outdir) / "_static" / SCRIPT
        path.write_text(f"window.cardTexts = {json.dumps(cards)};\n", encoding="utf-8")


def setup(app):
    app.connect("build-finished", write_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Captions of figures, which a notebook keeps in the metadata of its cells, as text for Colab."""

import nbformat


def with_captions(cells):
    """The cells, and after each that draws a figure its caption as a Markdown cell.

    The caption stands in MyST's own directive ``figure``, without a picture: the converter numbers
    it as the book does, finds its name, and resolves what it refers to.
    """
    shown = []
    for cell in cells:
        shown.append(cell)
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            text = f":::{{figure}}\n:name: {figure['name']}\n\n{figure['caption']}\n:::"
            shown.append(nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-caption"))
    return shown

"""Small builders of document nodes that the generated pages share."""

from docutils import nodes
from sphinx import addnodes


def paragraph(*children):
    node = nodes.paragraph()
    node.extend(nodes.Text(c) if isinstance(c, str) else c for c in children)
    return node


def reference(domain, role, target, text, docname):
    """A cross-reference, resolved like one that is written in a page."""
    node = addnodes.pending_xref(
        "",
        nodes.literal(text, text) if domain != "std" else nodes.inline(text, text),
        refdomain=domain,
        reftype=role,
        reftarget=target,
        refexplicit=domain == "std",
        refwarn=True,
        refdoc=docname,
    )
    return node


def section(title, identifier, document):
    node = nodes.section(ids=[identifier], names=[nodes.fully_normalize_name(identifier)])
    node += nodes.title(title, title)
    document.note_explicit_target(node)
    return node


def table(headings, rows, widths, *, classes=()):
    """A table; a row is a list of entries, an entry a list of nodes or (list, columns to span).

    On a narrow page its rows become cards: so each entry that spans no other column also carries
    its heading, which is shown there only.
    """
    node = nodes.table(classes=["cards", *classes])
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=w) for w in widths]
    group += nodes.thead("", _row([[paragraph(h)] for h in headings]))
    group += nodes.tbody("", *(_row(row, headings) for row in rows))
    node += group
    return node


def _row(entries, headings=()):
    row = nodes.row()
    for column, entry in enumerate(entries):
        content, span = entry if isinstance(entry, tuple) else (entry, 1)
        options = {"morecols": span - 1} if span > 1 else {}
        labels = [_label(headings[column])] if headings and span == 1 else []
        row += nodes.entry("", *labels, *content, **options)
    return row


def _label(heading):
    return nodes.paragraph(heading, heading, classes=["card-label"])

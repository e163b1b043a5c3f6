"""In code, the names that come from the package are links to their documentation."""

import ast
import re
from functools import partial

from docutils import nodes

PYTHON = ("ipython3", "python")
BLOCK = re.compile(rf'<div class="highlight-(?:{"|".join(PYTHON)}) .*?</pre>', re.S)
DOT = '<span class="o">.</span>'
NAME = re.compile(
    rf'(?<!{re.escape(DOT)})<span class="(?:n|nn)">(?P<name>[\w.]+)</span>'
    rf'(?:{re.escape(DOT)}<span class="n">(?P<attribute>\w+)</span>)?(?!<span class="o">=</span>)'
)


def imported_names(sources, package="cnnbook"):
    """What each name stands for that is imported from the package and is given no other meaning."""
    names, others = {}, set()
    for tree in map(ast.parse, sources):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                others.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                others.add(node.id)
            elif isinstance(node, ast.arg):
                others.add(node.arg)
    return {name: target for name, target in names.items() if name not in others}


def link_names(html, names, find):
    """The HTML of a page with links in its code; `find` gives the address of a target or None."""

    def link(match):
        name, attribute = match["name"], match["attribute"]
        target = names.get(name, name)
        if attribute and (address := find(f"{target}.{attribute}")):
            return f'<a class="code-link" href="{address}">{match[0]}</a>'
        if address := find(target):
            span, rest = re.match(r"(<span[^>]*>[^<]*</span>)(.*)", match[0], re.S).groups()
            return f'<a class="code-link" href="{address}">{span}</a>{rest}'
        return match[0]

    return BLOCK.sub(lambda block: NAME.sub(link, block[0]), html)


def address(app, pagename, target):
    entry = app.env.get_domain("py").objects.get(target)
    if entry is None:
        return None
    return f"{app.builder.get_relative_uri(pagename, entry.docname)}#{entry.node_id}"


def link_code(app, pagename, templatename, context, doctree):
    if doctree is None or "body" not in context:
        return
    blocks = [b for b in doctree.findall(nodes.literal_block) if b.get("language") in PYTHON]
    names = imported_names([b.astext() for b in blocks])
    context["body"] = link_names(context["body"], names, partial(address, app, pagename))


def setup(app):
    app.connect("html-page-context", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

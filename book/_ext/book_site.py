"""What makes the book a site that asks nothing of other hosts, and links to its repository."""

import builtins
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.util.fileutil import copy_asset

ROOT = Path(__file__).resolve().parents[2]
MATHJAX = ("tex-chtml.js", "a11y", "input/tex", "output/chtml", "ui")
FORMULA = re.compile(r'class="(?:[^"]* )?math ')
COLAB_BRANCH = "colab"  # holds what `make colab` writes

NOT_FOUND = """
<h1>Page not found</h1>
<p>There is no page at this address. Perhaps it was renamed:
<a href="{path}book/intro.html">the contents</a> and the <a href="{path}search.html">search</a>
know where it is now.</p>
"""


def project(root=ROOT):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def repository_url(root=ROOT):
    return project(root)["urls"]["Repository"]


def book_url(root=ROOT):
    """Where the book is published, with a slash at its end."""
    return project(root)["urls"]["Documentation"].rstrip("/") + "/"


def configure(app, config):
    config.mathjax_path = "mathjax/tex-chtml.js"
    config.mathjax3_config = {"startup": {"typeset": False}}  # formulas.js draws what is near
    config.html_theme_options.update(
        repository_url=repository_url(),
        repository_branch="main",
        use_repository_button=True,
        use_issues_button=True,
        navbar_persistent=[],  # the search field stands in the sidebar already
    )


def tell_where_it_is(app, config):
    """What search engines, links in messages and the page for lost readers are told."""
    url = book_url()
    config.html_baseurl = config.ogp_site_url = url
    config.ogp_site_name = config.html_title
    config.ogp_use_first_image = True
    config.ogp_image = f"{url}_static/preview.png"  # of pages without a picture
    config.sitemap_url_scheme = "{link}"
    config.sitemap_excludes = [f"{p}.html" for p in ("404", "genindex", "py-modindex", "search")]
    config.sitemap_excludes.append("_modules/*")
    path = config.notfound_urls_prefix = urlsplit(url).path
    config.notfound_context = {"title": "Page not found", "body": NOT_FOUND.format(path=path)}


def write_every_page(app, env):
    """The sitemap holds the pages that a build writes: all of them, not only what has changed."""
    return env.found_docs


def switch_off_thebe(app, config):
    """Jupyter Book brings thebe, which would be loaded from another host; no page uses it."""
    for listener in [e for found in app.events.listeners.values() for e in found]:
        if getattr(listener.handler, "__name__", "") in ("init_thebe_core", "update_thebe_context"):
            app.disconnect(listener.id)


def mathjax_folder():
    """MathJax as the package sphinx-mathjax-offline carries it, unchanged."""
    carrier = distribution("sphinx-mathjax-offline")
    (script,) = (f for f in carrier.files if f.name == MATHJAX[0])
    return Path(carrier.locate_file(script)).parent


def copy_mathjax(app, exception):
    if exception is None and app.builder.format == "html":
        source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
        for name in MATHJAX:
            place = target / name if (source / name).is_dir() else target
            copy_asset(str(source / name), str(place))


def bring_filter(app):
    """Templates can leave a script out that the theme loads."""
    if app.builder.format == "html":
        app.builder.templates.environment.filters["without_script"] = without_script


def without_script(html, name):
    return re.sub(rf'<script[^>]*[/"]{re.escape(name)}[^>]*></script>', "", html)


def leave_out_mathjax(app, pagename, templatename, context, doctree):
    """A page without a formula loads no MathJax."""
    if not FORMULA.search(context.get("body", "")):
        scripts = context["script_files"]
        scripts[:] = [s for s in scripts if "MathJax" not in s.attributes.get("body", "")]
        scripts[:] = [s for s in scripts if not str(s.filename).endswith(MATHJAX[0])]


def point_to_colab_copies(app, pagename, templatename, context, doctree):
    """The button opens the chapter's copy that was made for Colab."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                copy = pagename.rpartition("/")[2]
                organization = repository_url().removeprefix("https://github.com/")
                base = app.config.html_theme_options["launch_buttons"]["colab_url"].rstrip("/")
                button["url"] = f"{base}/github/{organization}/blob/{COLAB_BRANCH}/{copy}.ipynb"


def number_chapters(app, doctree, docname):
    """The tables of the first page give the chapters' numbers."""
    if docname != app.config.root_doc:
        return
    pages = app.env.toc_secnumbers.items()
    numbers = {app.builder.get_relative_uri(docname, page): n.get("") for page, n in pages}
    for table in doctree.findall(nodes.table):
        for reference in table.findall(nodes.reference):
            if number := numbers.get(reference.get("refuri")):
                reference.insert(0, nodes.Text(".".join(map(str, number)) + ". "))


def link_chapter(app, what, name, obj, options, lines):
    """A module's docstring names its chapter's notebook: in the book that is a link."""
    if what == "module":
        lines[:] = [re.sub(r"``(notebooks/\w+)\.ipynb``", r":doc:`/\1`", line) for line in lines]


def show_that_nothing_is_raised(app, what, name, obj, options, lines):
    """A section "Raises" that names no error is prose, not a list of exceptions."""
    for index, (line, following) in enumerate(zip(lines, lines[1:], strict=False)):
        if line.strip() == "Raises:" and following.strip().startswith("Nothing"):
            lines[index] = line.replace("Raises", "Errors")


def leave_others_unlinked(app, env, node, contnode):
    """ValueError, numpy.ndarray and their kin are documented elsewhere: shown, not linked."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"]
    known = hasattr(builtins, name) or name.partition(".")[0] in {"keras", "numpy", "matplotlib"}
    return contnode if known else None


def setup(app):
    app.connect("config-inited", configure, priority=100)
    app.connect("config-inited", tell_where_it_is, priority=100)
    app.connect("config-inited", switch_off_thebe)
    app.connect("builder-inited", bring_filter)
    app.connect("env-updated", write_every_page)
    app.connect("doctree-resolved", number_chapters)
    app.connect("html-page-context", leave_out_mathjax, priority=900)
    app.connect("html-page-context", point_to_colab_copies, priority=900)
    app.connect("autodoc-process-docstring", link_chapter)
    app.connect("autodoc-process-docstring", show_that_nothing_is_raised, priority=100)
    app.connect("missing-reference", leave_others_unlinked)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

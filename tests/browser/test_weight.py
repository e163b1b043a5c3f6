"""What a page loads: no more than it needs, and as little as it was brought down to."""

import re

import pytest
from built_site import SITE

PAGES = sorted(p for p in SITE.rglob("*.html") if p.relative_to(SITE).parts[0] != "_static")
NAMES = [p.relative_to(SITE).as_posix() for p in PAGES if p.name != "index.html"]
ADDRESS = re.compile(r'(?:src|href)="([^"?]+)')
FORMULA = re.compile(r'class="(?:[^"]* )?math ')
BYTES, BYTES_OF_MATHJAX = 800_000, 1_200_000  # of scripts and style sheets, uncompressed

DRAWN = """() => [...document.querySelectorAll(".math")]
  .map((formula) => formula.querySelector("mjx-container") !== null)"""
ICONS = """() => [...document.querySelectorAll("i[class*=fa-]")].filter((i) => i.checkVisibility())
  .map((i) => getComputedStyle(i, "::before").content)"""


def loaded_files(text):
    """The names of the scripts and style sheets that a page loads itself."""
    tags = re.findall(r'<script[^>]* src="[^"]*"|<link[^>]*rel="stylesheet"[^>]*>', text)
    return [ADDRESS.search(tag)[1].rpartition("/")[2] for tag in tags if ADDRESS.search(tag)]


@pytest.fixture(scope="module")
def sizes():
    """The bytes of each script and style sheet of the site."""
    files = [p for kind in ("js", "css") for p in SITE.rglob(f"*.{kind}")]
    return {p.name: p.stat().st_size for p in files}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_loads_only_what_it_needs(name, sizes):
    text = (SITE / name).read_text(encoding="utf-8")
    loaded = loaded_files(text)
    assert {"book.css", "book.js", "pydata-sphinx-theme.css"} <= set(loaded)
    assert "fontawesome.js" not in loaded
    for search in ("searchtools.js", "language_data.js", "searchindex.js"):
        assert loaded.count(search) == (name == "search.html")
    has_formula = bool(FORMULA.search(text))
    assert ("tex-chtml.js" in loaded) == has_formula
    assert ("window.MathJax" in text) == has_formula
    weight = sum(sizes[file] for file in loaded if file != "searchindex.js")
    assert weight <= BYTES + has_formula * BYTES_OF_MATHJAX


def requests_of(visit, name):
    asked = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.page.goto(f"{visit.address}/{name}", wait_until="networkidle")
    return [url.partition("?")[0].rpartition("/")[2] for url in asked]


def test_a_page_without_a_formula_asks_for_no_big_script(visit, sizes):
    asked = requests_of(visit, "book/intro.html")
    assert "book.js" in asked
    assert not {"tex-chtml.js", "fontawesome.js", "searchindex.js", "card_texts.js"} & set(asked)
    assert sum(sizes.get(name, 0) for name in asked) <= BYTES


def test_icons_are_drawn_by_their_fonts(visit):
    asked = requests_of(visit, "notebooks/01_convolution.html")
    assert any(re.match(r"fa-solid.*\.woff2", name) for name in asked)
    contents = visit.page.evaluate(ICONS)
    assert len(contents) >= 5
    assert not {"none", "normal", '""'} & set(contents)


def test_a_formula_is_drawn_when_it_is_near(visit):
    page = visit.page
    page.clock.install()
    page.goto(f"{visit.address}/book/equations.html", wait_until="load")
    page.wait_for_function(f"() => ({DRAWN})()[0]")
    drawn = page.evaluate(DRAWN)
    assert sum(drawn) < len(drawn) / 4
    page.locator(".math").last.scroll_into_view_if_needed()
    page.wait_for_function(f"() => ({DRAWN})().at(-1)")
    drawn = page.evaluate(DRAWN)
    assert sum(drawn) < len(drawn) / 2
    page.clock.run_for(60_000)
    page.wait_for_function(f"() => ({DRAWN})().every((is_drawn) => is_drawn)")


def test_search_loads_its_index(visit):
    assert "searchindex.js" in requests_of(visit, "search.html?q=convolution")

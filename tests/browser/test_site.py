"""The built site as a reader meets it: run by `make browser`."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from built_site import BASE, PAGES, SITE, assert_none, find_serious_violations

CHAPTERS = [p for p in PAGES if p.startswith("notebooks/")]

COLORS = """
const luminance = ([r, g, b]) => [[r, 0.2126], [g, 0.7152], [b, 0.0722]].reduce((sum, [v, w]) => {
  v /= 255;
  return sum + w * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
}, 0);
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const rgb = color => color.match(/[\\d.]+/g).map(Number);
const background = element => {
  for (; element; element = element.parentElement) {
    const [r, g, b, alpha = 1] = rgb(getComputedStyle(element).backgroundColor);
    if (alpha > 0.99) return [r, g, b];
  }
  return [255, 255, 255];
};
"""
TEXT_CONTRAST = f"""selector => {{
  {COLORS}
  return [...document.querySelectorAll(selector)].filter(e => e.checkVisibility()).map(e =>
    contrast(luminance(rgb(getComputedStyle(e).color)), luminance(background(e))));
}}"""
FIGURE_CONTRAST = f"""() => {{
  {COLORS}
  // Of every figure as it is shown: its background, the corner, against what differs most from it.
  const shown = [...document.querySelectorAll(".cell_output img")].filter(i => i.checkVisibility());
  return shown.map(image => {{
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.fillStyle = `rgb(${{background(image).join()}})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.filter = getComputedStyle(image).filter;
    context.drawImage(image, 0, 0);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const corner = luminance(data.subarray(0, 3));
    let largest = 1;
    for (let i = 0; i < data.length; i += 4) {{
      largest = Math.max(largest, contrast(corner, luminance(data.subarray(i, i + 3))));
    }}
    return largest;
  }});
}}"""
UNDRAWN = """() => [...document.querySelectorAll(".math")]
  .filter(e => !e.querySelector("mjx-container") || e.querySelector("mjx-merror"))
  .map(e => e.textContent.trim())"""
PROSE = """() => {
  const copy = document.querySelector("main").cloneNode(true);
  copy.querySelectorAll("pre, code, script, mjx-container").forEach(e => e.remove());
  return copy.textContent;
}"""
WITHOUT_ALTERNATIVE = """() => [...document.querySelectorAll(".cell_output img")]
  .filter(i => !i.alt || i.alt.includes("_images/")).map(i => i.src)"""


class Links(HTMLParser):
    """What a page links to, what it loads, and where in it one can arrive."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.update(v for k, v in attributes.items() if k in ("id", "name") and v)
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        elif tag == "link" and attributes.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(attributes.get("href", ""))
        elif tag in ("script", "img", "source", "iframe", "video", "audio"):
            self.loaded.append(attributes.get("src") or "")


@pytest.fixture(scope="session")
def links():
    """The links of every page of the site."""
    return {
        path.resolve(): Links(path)
        for path in SITE.rglob("*.html")
        if path.relative_to(SITE).parts[0] != "_static"
    }


def find_dead_link(path, url, links):
    """What is wrong with an internal link, or None."""
    address, anchor = urldefrag(url)
    place = unquote(urlsplit(address).path)
    if place.startswith(BASE + "/"):  # the page for lost readers has absolute links
        target = (SITE / place.removeprefix(BASE + "/")).resolve()
    else:
        target = (path.parent / place).resolve() if address else path
    if not target.is_file():
        return f"{path}: {url} leads nowhere"
    if target in links and unquote(anchor) not in links[target].anchors:
        return f"{path}: {url} has no such anchor"
    return None


def test_there_are_pages():
    assert len(CHAPTERS) >= 7
    assert {"book/intro.html", "book/equations.html", "book/status.html"} <= set(PAGES)


def test_links_and_anchors_are_alive(links):
    internal = [
        (path, url)
        for path, page in links.items()
        for url in page.links + page.loaded
        if not urlsplit(url).scheme and not url.startswith("//")
    ]
    assert len(internal) > 100 * len(PAGES) ** 0.5
    assert_none([p for path, url in internal if (p := find_dead_link(path, url, links))])


def test_dead_links_are_noticed(links):
    path = (SITE / "book" / "intro.html").resolve()
    assert find_dead_link(path, "equations.html", links) is None
    assert "leads nowhere" in find_dead_link(path, "equation.html", links)
    assert "no such anchor" in find_dead_link(path, "equations.html#nowhere", links)


def test_nothing_is_loaded_from_other_hosts(links):
    assert_none(
        [
            f"{path.name}: {url}"
            for path, page in links.items()
            for url in page.loaded
            if url.startswith(("http:", "https:", "//"))
        ]
    )


@pytest.mark.parametrize("path", PAGES)
def test_page(visit, path):
    page = visit.open(path)
    assert_none(page.evaluate(UNDRAWN))
    prose = page.evaluate(PROSE)
    for trace in ("$$", "\\(", "\\[", "{eq}", "{func}", "{cite}", "{term}", ":::"):
        assert trace not in prose
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    problems = []
    for theme in ("light", "dark"):
        visit.show(theme)
        problems += [f"{theme}: {found}" for found in find_serious_violations(page)]
    assert_none(problems)
    assert (visit.errors, visit.foreign, visit.failed) == ([], [], [])


@pytest.mark.parametrize("path", CHAPTERS)
def test_chapter_is_legible_in_both_themes(visit, path):
    page = visit.open(path)
    brightness = {}
    for theme in ("light", "dark"):
        visit.show(theme)
        shown = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        brightness[theme] = sum(map(float, shown.partition("(")[2].rstrip(")").split(",")[:3]))
        for selector in ("main p", "mjx-container", "div.highlight pre span", ".output pre"):
            contrasts = page.evaluate(TEXT_CONTRAST, selector)
            assert contrasts, selector
            assert min(contrasts) >= 4.5, (theme, selector)
        figures = page.evaluate(FIGURE_CONTRAST)
        assert figures, "a chapter without a figure"
        assert min(figures) >= 4.5, theme
    assert brightness["light"] > 600
    assert brightness["dark"] < 150


@pytest.mark.parametrize("path", CHAPTERS)
def test_chapter_offers_colab_and_the_notebook(links, path):
    name = Path(path).stem
    found = links[(SITE / path).resolve()].links
    (colab,) = [url for url in found if "colab.research.google.com" in url]
    assert colab.endswith(f"/blob/colab/{name}.ipynb")
    source = Path("_sources", path).with_suffix(".ipynb").as_posix()
    assert any(url.endswith(source) for url in found)


@pytest.mark.parametrize("path", CHAPTERS)
def test_figures_have_alternative_text(visit, path):
    assert_none(visit.open(path).evaluate(WITHOUT_ALTERNATIVE))


def test_search_finds_convolution(visit):
    page = visit.open("search.html?q=convolution")
    page.wait_for_function(
        "() => /found/i.test(document.querySelector('.search-summary')?.textContent)"
    )
    found = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)")
    assert any("/notebooks/01_convolution.html" in url for url in found)
    assert any("/book/api/convolution.html" in url for url in found)
    assert (visit.errors, visit.foreign) == ([], [])


def test_search_is_reached_from_a_page(visit):
    page = visit.open("book/intro.html")
    page.locator(".search-button__button:visible").first.click()
    page.keyboard.type("convolution")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=convolution*")


def test_theme_is_kept_from_page_to_page(visit):
    visit.open("book/intro.html")
    visit.show("dark")
    page = visit.open("book/glossary.html")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"


def test_footer_names_the_licenses(visit):
    text = " ".join(visit.open("book/intro.html").locator("footer").all_inner_texts())
    assert "MIT License" in text
    assert "CC BY 4.0" in text

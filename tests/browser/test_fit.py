"""Nothing is cut, on a phone, on a tablet and on a laptop."""

from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if path.relative_to(SITE).parts[0] != "_static" and path.name != "index.html"
)
HEIGHT = 900
WIDTHS = (390, 820, 1280)
FIND_CUT = """() => {
  const problems = [];
  const box = (element) => element.getBoundingClientRect();
  const shown = (selector) =>
    [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
  const name = (e) => (e.id || e.textContent || e.tagName).trim().slice(0, 60);
  const note = (what, e) => problems.push(`${what}: ${name(e)}`);

  const article = document.querySelector("main article");
  const sideways = document.documentElement.scrollWidth - innerWidth;
  if (sideways > 0) problems.push(`the page scrolls sideways by ${sideways}`);

  // A box that scrolls in itself and shows that there is more.
  const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  const scroller = (e) => { while (e && e !== article && !scrolls(e)) e = e.parentElement;
                            return e === article ? null : e; };
  const hasEdge = (e) => getComputedStyle(e).maskImage !== "none";
  const overflows = (e) => e.scrollWidth > e.clientWidth + 1;

  for (const formula of shown("div.math")) {
    const drawn = formula.querySelector("mjx-container");
    if (!drawn) { note("a formula is not drawn", formula); continue; }
    const [inner, outer] = [box(drawn.querySelector("mjx-math")), box(drawn)];
    const wide = inner.right > outer.right + 1 || inner.left < outer.left - 1;
    if (wide && !(overflows(drawn) && scrolls(drawn))) note("a formula is cut", formula);
    if (wide && !hasEdge(drawn)) note("a formula scrolls without an edge", formula);
    const low = inner.bottom > outer.bottom + 1 || inner.top < outer.top - 1;
    if (low) note("a formula is low", formula);
    if (outer.right > box(article).right + 1) note("a formula leaves the page", formula);
    const number = formula.querySelector(".eqno");
    if (!number) continue;
    const place = box(number);
    const beside = place.left >= Math.min(inner.right, outer.right) - 1;
    const apart = beside || place.top >= outer.bottom - 1;
    if (!apart) note("a number lies over its formula", formula);
    if (place.right > box(article).right + 1) note("a number leaves the page", formula);
  }
  for (const formula of shown("span.math mjx-container")) {
    const outer = scroller(formula.parentElement);
    if (!outer && box(formula).right > box(formula.parentElement).right + 1)
      note("a formula in a line is cut", formula);
    const wide = outer && box(formula).width > box(outer).width + 1;
    if (wide && !hasEdge(outer)) note("a formula in a line scrolls without an edge", formula);
    if (formula.parentElement === outer && !wide && hasEdge(outer))
      note("a formula in a line fades without cause", formula);
  }
  for (const entry of shown("article td, article th")) {
    const table = scroller(entry);
    if (entry.textContent.trim() && box(entry).width < 20) note("a column is squeezed", entry);
    if (overflows(entry)) note("an entry is cut", entry);
    if (table ? overflows(table) && !hasEdge(table) : box(entry).right > box(article).right + 1)
      note("a column is hidden", entry);
  }
  for (const code of shown("article pre")) {
    if (!overflows(code)) continue;
    if (innerWidth >= 1280 && code.closest(".cell_input")) note("a code cell scrolls", code);
    if (!scrolls(code)) note("code is cut", code);
    if (!hasEdge(code)) note("code scrolls without an edge", code);
  }
  for (const signature of shown("article dt.sig"))
    if (overflows(signature)) note("a signature is cut", signature);
  return problems;
}"""


def show_all(page):
    """What is folded is unfolded; then two frames pass, so that edges are marked."""
    page.evaluate("""() => {
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      const hidden = document.querySelectorAll(".toggle-hidden");
      hidden.forEach((e) => e.classList.remove("toggle-hidden"));
    }""")
    settle(page)


def settle(page):
    page.evaluate("""() => new Promise((done) =>
      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))""")


def find_cut(page, width):
    page.set_viewport_size({"width": width, "height": HEIGHT})
    settle(page)
    return [f"{width}: {problem}" for problem in page.evaluate(FIND_CUT)]


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_cut(visit, path):
    page = visit.open(path)
    show_all(page)
    problems = [problem for width in WIDTHS for problem in find_cut(page, width)]
    assert not problems, "\n".join(["", *dict.fromkeys(problems)])


CHAPTER, INDEX = "notebooks/14_quantization.html", "book/equations.html"
API, POOLING = "book/api/quantization.html", "notebooks/03_pooling.html"
WRAP = "{ white-space: nowrap !important }"
BROKEN = {  # what is found: the page, the width, the style that breaks it
    "the page scrolls sideways": (CHAPTER, 390, "article p { width: 900px }"),
    "a formula is cut": (CHAPTER, 390, "mjx-container { overflow: hidden !important }"),
    "a formula scrolls without an edge": (CHAPTER, 390, "mjx-container { mask: none !important }"),
    "a formula is low": (CHAPTER, 390, "mjx-container { height: 9px }"),
    "a formula leaves the page": (CHAPTER, 390, "div.math { min-width: 500px }"),
    "a number lies over its formula": (CHAPTER, 390, "div.math .eqno { position: absolute }"),
    "a number leaves the page": (CHAPTER, 390, ".eqno { position: relative; left: 99px }"),
    "a formula in a line is cut": (POOLING, 390, "span.math { overflow: hidden }"),
    "a formula in a line scrolls without": (POOLING, 390, "span.math { mask: none !important }"),
    "a formula in a line fades": (CHAPTER, 390, "span.math { mask: linear-gradient(red, red) }"),
    "a column is squeezed": (INDEX, 1280, "table.cards { width: 40px !important }"),
    "an entry is cut": (INDEX, 1280, "td code { font-size: 99px } td code * " + WRAP),
    "a column is hidden": (INDEX, 1280, "table.cards { width: 900px } * { mask: none !important }"),
    "a code cell scrolls": (CHAPTER, 1280, ".cell pre { font-size: 1rem !important }"),
    "code is cut": (CHAPTER, 390, "pre { overflow: hidden !important }"),
    "code scrolls without an edge": (CHAPTER, 390, "pre { mask: none !important }"),
    "a signature is cut": (API, 390, "dt.sig, dt.sig * " + WRAP),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_what_is_cut_is_noticed(visit, problem):
    path, width, style = BROKEN[problem]
    page = visit.open(path)
    show_all(page)
    assert not any(problem in found for found in find_cut(page, width))
    page.add_style_tag(content=style)
    assert any(problem in found for found in find_cut(page, width))


def test_a_formula_that_is_not_drawn_is_noticed(visit):
    page = visit.open(CHAPTER)
    page.evaluate("() => document.querySelector('div.math mjx-container').remove()")
    assert any("a formula is not drawn" in found for found in find_cut(page, 1280))

"""What a reference shows before one follows it, and where names in code lead."""

import json
import re
import sys

import pytest
from built_site import PAGES, ROOT, SITE, assert_none, find_serious_violations

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from code_links import imported_names, link_names

EQUATION = 'main a.reference[href$="#equation-eq-dropout"]'
TERM = 'main a.reference[href$="#term-dropout"]'
CARD = "#reference-card"
CHAPTER = "notebooks/05_dropout.html"
CODE_LINK = re.compile(r'<a class="code-link" href="([^"]+)">(.*?)</a>')
CITED = re.compile(r'<a class="reference internal" href="[^"]*#((?:equation|term)-[^"]+)"')
TEXTS = json.loads(
    (SITE / "_static" / "card_texts.js").read_text("utf-8").partition("=")[2].strip().rstrip(";")
)
FITS = """() => {
  const card = document.getElementById("reference-card").getBoundingClientRect();
  const formula = document.querySelector("#reference-card mjx-math").getBoundingClientRect();
  const inside = (a, b) => a.left >= b.left && a.right <= b.right + 1 && a.top >= b.top;
  return inside(formula, card) && inside(card, new DOMRect(0, 0, innerWidth, innerHeight));
}"""


@pytest.mark.parametrize("path", PAGES)
def test_what_is_cited_has_a_card(path):
    cited = CITED.findall((SITE / path).read_text("utf-8"))
    assert_none([name for name in cited if name not in TEXTS])


def test_cards_hold_all_equations_and_terms():
    assert TEXTS["term-dropout"]["text"].startswith("Sets values to zero at random while training")
    assert TEXTS["equation-eq-dropout"]["title"] == "Equation (5.1)"
    numbers = [card["title"] for name, card in TEXTS.items() if name.startswith("equation-")]
    assert len(numbers) == len(set(numbers)) > 80
    assert len(TEXTS) - len(numbers) > 60
    assert all(card.get("text") or card.get("tex") for card in TEXTS.values())


def test_pointing_shows_the_equation(visit):
    page = visit.open(CHAPTER)
    page.locator(EQUATION).first.hover()
    card = page.locator(f"{CARD}.shown mjx-container")
    card.wait_for()
    assert page.locator(f"{CARD} strong").inner_text() == "Equation (5.1)"
    assert page.evaluate(FITS)
    card.hover()  # one may point at the card itself
    page.wait_for_timeout(600)
    assert card.is_visible()
    page.mouse.move(0, 0)
    page.locator(CARD).wait_for(state="hidden")
    assert (visit.errors, visit.foreign, visit.failed) == ([], [], [])


def test_pointing_shows_the_definition(visit):
    page = visit.open(CHAPTER)
    page.locator(TERM).first.hover()
    page.locator(f"{CARD}.shown").wait_for()
    assert TEXTS["term-dropout"]["text"] in page.locator(CARD).inner_text()


def test_the_keyboard_shows_the_definition(visit):
    page = visit.open(CHAPTER)
    link = page.locator(TERM).first
    page.evaluate("() => document.querySelector('main h1').focus()")
    page.keyboard.press("Tab")
    link.focus()
    page.locator(f"{CARD}.shown").wait_for()
    assert link.get_attribute("aria-describedby") == "reference-card"
    page.keyboard.press("Escape")
    page.locator(CARD).wait_for(state="hidden")
    assert link.get_attribute("aria-describedby") is None
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#term-dropout")


def touch(chromium, address, path, width=390):
    context = chromium.new_context(viewport={"width": width, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}/{path}", wait_until="load")
    return page


def test_a_tap_shows_and_a_second_one_follows(chromium, address):
    page = touch(chromium, address, CHAPTER)
    page.locator(TERM).first.tap()
    page.locator(f"{CARD}.shown").wait_for()
    assert page.url.endswith(CHAPTER)
    page.locator("article h1").first.tap()
    page.locator(CARD).wait_for(state="hidden")
    page.locator(TERM).first.tap()
    page.locator(f"{CARD}.shown").wait_for()
    page.locator(TERM).first.tap()
    page.wait_for_url("**/glossary.html#term-dropout")
    page.context.close()


def test_the_widest_equation_fits_a_phone(chromium, address):
    page = touch(chromium, address, "book/equations.html")
    page.locator('main a.reference[href$="#equation-eq-conv2d-general"]').first.tap()
    page.locator(f"{CARD}.shown mjx-container").wait_for()
    assert page.evaluate(FITS)
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_cards_are_accessible(visit, theme):
    page = visit.open(CHAPTER)
    visit.show(theme)
    for reference in (EQUATION, TERM):
        page.locator(reference).first.hover()
        page.locator(f"{CARD}.shown").wait_for()
        assert_none(find_serious_violations(page))


def test_names_in_code_lead_to_their_documentation():
    links = CODE_LINK.findall((SITE / "notebooks" / "03_pooling.html").read_text("utf-8"))
    found = {re.sub("<[^>]+>", "", text): address for address, text in links}
    assert found["max_pool2d"] == "../book/api/pooling.html#cnnbook.pooling.max_pool2d"
    assert found["cnnbook.pooling"] == "../book/api/pooling.html#module-cnnbook.pooling"
    assert found["check"].endswith("exercises.html#cnnbook.exercises.check")


@pytest.mark.parametrize("path", [p for p in PAGES if re.match(r"notebooks/\d", p)])
def test_every_chapter_links_names_in_code(path):
    assert len(CODE_LINK.findall((SITE / path).read_text("utf-8"))) >= 10


def test_only_names_of_the_package_are_linked():
    sources = ["from cnnbook.a import b, c as d\nfrom keras import e", "d = 1\nprint(b)"]
    assert imported_names(sources) == {"b": "cnnbook.a.b"}
    assert imported_names(["from cnnbook.a import b, c\ndef b(c): pass"]) == {}
    spans = '<span class="n">{}</span>'.format
    dot, equals = '<span class="o">.</span>', '<span class="o">=</span>'
    code = (
        spans("b") + spans("x") + dot + spans("b") + spans("b") + equals + spans("p") + dot
    ) + spans("b")
    html = f'<div class="highlight-ipython3 notranslate"><pre>{code}</pre></div>{spans("b")}'
    addresses = {"cnnbook.a.b": "A", "cnnbook.p.b": "P"}
    linked = link_names(html, {"b": "cnnbook.a.b", "p": "cnnbook.p"}, addresses.get)
    assert CODE_LINK.findall(linked) == [("A", spans("b")), ("P", spans("p") + dot + spans("b"))]


def test_the_first_page_numbers_the_chapters():
    text = (SITE / "book" / "intro.html").read_text("utf-8")
    tables = "".join(re.findall(r"<table.*?</table>", text, re.S))
    numbers = re.findall(r'href="\.\./notebooks/(\d\d)_\w+\.html">(?:<[^>]+>)*(\d+)\. ', tables)
    assert [int(number) for number, _ in numbers] == [int(shown) for _, shown in numbers]
    chapters = [p for p in PAGES if re.match(r"notebooks/\d", p)]
    assert len(numbers) == len(chapters)

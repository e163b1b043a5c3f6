"""Figures are numbered, named, captioned, sharp and legible, on a phone and in the dark, too."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from first_edition import FIGURES as FIRST_EDITION  # noqa: E402

SITE = ROOT / "_build" / "html"
CHAPTERS = sorted(
    path.relative_to(SITE).as_posix()
    for path in (SITE / "notebooks").rglob("*.html")
    if path.stem not in FIRST_EDITION
)
SMALLEST_TEXT = 8  # pixels of the page
FIND_FAULTS = """async (smallest) => {
  const problems = [];
  const article = document.querySelector("main article").getBoundingClientRect();
  const images = [...document.querySelectorAll(".cell_output img")];
  for (const image of images.filter((i) => i.checkVisibility())) {
    const note = (what) => problems.push(`${what}: ${image.alt.slice(0, 60)}`);
    image.loading = "eager";
    await image.decode();
    const figure = image.closest("figure");
    const number = figure?.querySelector("figcaption .caption-number")?.textContent.trim();
    const caption = figure?.querySelector("figcaption .caption-text")?.textContent ?? "";
    if (!/^Fig\\. \\d+(\\.\\d+)?$/.test(number)) note("no number");
    if (caption.split(/\\s+/).length < 8) note("no caption");
    if (!figure?.id.startsWith("fig-")) note("no name");
    const { left, right, width } = image.getBoundingClientRect();
    const end = Math.min(article.right, innerWidth);
    if (left < article.left - 1 || right > end + 1) note("too wide");
    if (!image.src.endsWith(".svg")) {
      if (image.naturalWidth < 2 * width) note("too few pixels");
      continue;
    }
    const text = await (await fetch(image.src)).text();
    const drawing = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const scale = width / drawing.viewBox.baseVal.width;
    for (const photo of drawing.querySelectorAll("image")) {
      const picture = new Image();
      picture.src = photo.getAttribute("xlink:href");
      await picture.decode();
      if (picture.width < 2 * scale * photo.getAttribute("width")) note("too few pixels");
    }
    // Text is drawn by outlines of the size 100, which are scaled down.
    const scales = [...text.matchAll(/scale\\(([\\d.]+) -[\\d.]+\\)/g)].map((m) => m[1]);
    const sizes = scales.map((s) => 100 * s * scale);
    if (!sizes.length) note("no text");
    if (Math.min(...sizes) < smallest) note(`text of ${Math.min(...sizes).toFixed(1)} pixels`);
    const background = getComputedStyle(image).backgroundColor;
    if (!["rgba(0, 0, 0, 0)", "transparent"].includes(background)) note("not transparent");
  }
  return problems;
}"""


def find_faults(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    return page.evaluate(FIND_FAULTS, SMALLEST_TEXT)


def test_there_are_chapters_of_the_second_edition():
    assert CHAPTERS
    notebooks = {path.stem for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert set(FIRST_EDITION) <= notebooks


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", CHAPTERS)
def test_figures(visit, path, theme):
    page = visit.open(path)
    visit.show(theme)
    shown = page.locator(".cell_output img:visible")
    assert shown.count() >= 4
    problems = [f"{width}: {p}" for width in (390, 820, 1280) for p in find_faults(page, width)]
    assert not problems, "\n".join(["", *problems])


def test_figures_are_referred_to_by_number(visit):
    page = visit.open("notebooks/01_convolution.html")
    links = page.locator("main article p a.internal .std-numref").all_inner_texts()
    assert links and all(text.startswith("Fig. 1.") for text in links)


BROKEN = {  # what is found: what breaks it
    "no number": "document.querySelectorAll('.caption-number').forEach((e) => e.remove())",
    "no caption": "document.querySelectorAll('.caption-text').forEach((e) => e.remove())",
    "no name": "document.querySelectorAll('figure').forEach((e) => { e.id = 'id1'; })",
    "too wide": "document.querySelectorAll('figure img').forEach((e) => {"
    " e.style.cssText = 'width: 800px; max-width: none !important'; })",
    "text of": "document.querySelectorAll('figure img').forEach((e) => {"
    " e.style.width = '150px'; })",
    "not transparent": "document.querySelectorAll('figure img').forEach((e) => {"
    " e.style.cssText = 'background: white !important'; })",
    "too few pixels": "for (const e of document.querySelectorAll('figure img')) e.src ="
    " 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAC"
    "hwGA60e6kgAAAABJRU5ErkJggg=='",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_is_noticed(visit, fault):
    page = visit.open(CHAPTERS[0])
    visit.show("light")
    assert not any(fault in found for found in find_faults(page, 390))
    page.evaluate(f"() => {{ {BROKEN[fault]} }}")
    assert any(fault in found for found in find_faults(page, 390))

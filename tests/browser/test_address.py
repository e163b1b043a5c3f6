"""What others are told about the site: where it is, what a page is about, and what is not there."""

import re
from xml.etree import ElementTree

import pytest
from built_site import PAGES, PROJECT, SITE, find_serious_violations

ADDRESS = PROJECT["urls"]["Documentation"].rstrip("/") + "/"
META = re.compile(r'<meta (?:property|name)="([\w:]+)" content="([^"]*)"')
WRITTEN = [p for p in PAGES if p.startswith(("notebooks/", "book/"))]  # and not made by Sphinx


@pytest.mark.parametrize("path", WRITTEN)
def test_a_page_says_what_it_is_about(path):
    meta = dict(META.findall((SITE / path).read_text("utf-8")))
    assert len(meta["description"]) > 40
    assert meta["og:description"] == meta["description"]
    assert meta["og:title"]
    assert meta["og:site_name"] == "Convolutional neural networks"
    assert meta["og:url"] == ADDRESS + path
    assert meta["og:image"].startswith(ADDRESS)
    assert (SITE / meta["og:image"].removeprefix(ADDRESS)).suffix == ".png"
    assert (SITE / meta["og:image"].removeprefix(ADDRESS)).is_file()


@pytest.mark.parametrize("path", WRITTEN)
def test_a_page_names_its_address(path):
    text = (SITE / path).read_text("utf-8")
    assert re.findall(r'<link rel="canonical" href="([^"]+)"', text) == [ADDRESS + path]


def test_the_sitemap_lists_the_pages():
    root = ElementTree.parse(SITE / "sitemap.xml").getroot()
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    listed = [e.text for e in root.findall("s:url/s:loc", space)]
    assert sorted(listed) == sorted(ADDRESS + path for path in WRITTEN)


@pytest.mark.parametrize("path", ["nowhere.html", "notebooks/a/b/nowhere.html"])
def test_who_is_lost_finds_the_way(visit, path):
    response = visit.page.goto(f"{visit.address}/{path}", wait_until="load")
    assert response.status == 404
    page = visit.page
    assert page.locator("article h1").inner_text() == "Page not found"
    assert visit.failed == [f"{visit.address}/{path}"], "its style sheets and scripts are found"
    assert find_serious_violations(page) == []
    page.locator("article a", has_text="contents").click()
    page.wait_for_url("**/book/intro.html")
    page.go_back()
    page.locator("article a", has_text="search").click()
    page.wait_for_url("**/search.html")

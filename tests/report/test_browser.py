"""report.html in a browser: it complains of nothing, asks for nothing, and can be used."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.browser import Watched, opened
from tests.report.studies import EVIL

ROOT = Path(__file__).parents[2]

CONTRAST = """() => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found, 1] : found;
  };
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const selector = "h1,h2,h3,p,li,a,dt,dd,code,th,td,caption,label,summary,button:not(:disabled),"
    + ".badge,.short,figcaption,.vega-embed svg text";
  const faint = [];
  for (const node of document.querySelectorAll(selector)) {
    if (!node.textContent.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const drawn = node instanceof SVGElement;
    if (drawn && style.fill === "none") continue;
    const a = light(parse(drawn ? style.fill : style.color)), b = light(behind(drawn
      ? node.ownerSVGElement.parentElement : node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(`${node.tagName} ${node.className} ${ratio.toFixed(2)} `
      + node.textContent.trim().slice(0, 30));
  }
  return [...new Set(faint)];
}"""
"""Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, level AA)."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture(scope="module")
def path(whole) -> Path:
    return whole.study.folder / "results" / "report.html"


@pytest.fixture(scope="module")
def seen(browser, path) -> Watched:
    """The page on a desktop; tests leave it as they found it."""
    return Watched(browser, path)


def test_it_complains_of_nothing_and_asks_for_nothing(seen):
    assert seen.complaints == []
    assert seen.foreign == []


def test_all_charts_are_drawn(seen):
    page = seen.page
    places = page.locator("[data-chart]")
    assert places.count() > 20
    undrawn = "nodes => nodes.filter(n => !n.querySelector('svg')).map(n => n.dataset.chart)"
    assert places.evaluate_all(undrawn) == []
    thin = "nodes => nodes.map(n => n.querySelector('svg').viewBox.baseVal.width)"
    assert min(places.evaluate_all(thin)) > 200


def test_an_id_of_script_is_text(seen):
    heading = seen.page.locator("#individual-table tbody th").first
    assert heading.inner_text() == EVIL
    titles = seen.page.locator(".gallery figcaption").all_text_contents()
    assert f"ID {EVIL}" in titles


def test_tables_sort_by_a_click_and_by_key(seen):
    page = seen.page
    head = page.locator("#individual-table thead th").nth(1)
    cells = page.locator("#individual-table tbody tr td:nth-child(2)")
    first = page.locator("#individual-table tbody th")
    before = first.all_inner_texts()
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    values = [float(v) for v in cells.evaluate_all("all => all.map(c => c.dataset.value)")]
    assert values == sorted(values)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(v) for v in cells.evaluate_all("all => all.map(c => c.dataset.value)")]
    assert values == sorted(values, reverse=True)
    page.locator("#individual-table thead th").first.get_by_role("button").click()
    ids = first.all_inner_texts()
    assert sorted(ids) == sorted(before)
    assert ids.index("9") < ids.index("10")


def test_search_filters_rows_and_says_how_many(seen):
    page = seen.page
    field = page.get_by_label("Search", exact=True).first
    rows = page.locator("#individual-table tbody tr:visible")
    field.fill("SCRIPT alert")
    assert rows.count() == 1
    assert rows.locator("th").inner_text() == EVIL
    assert page.locator("#individual-table-search + [role=status]").inner_text() == "1 of 8"
    field.fill("")
    assert rows.count() == 8


def test_pages_turn_by_button_key_and_list(seen):
    page = seen.page
    gallery = page.locator("#individual-fits")
    where, shown = gallery.locator(".where"), gallery.locator(".leaf:visible")
    assert where.inner_text() == "page 1 of 2"
    assert gallery.get_by_role("button", name="Previous").is_disabled()
    gallery.get_by_role("button", name="Next").click()
    assert where.inner_text() == "page 2 of 2"
    assert shown.count() == 1
    assert shown.locator("figure").count() == 2
    assert shown.locator("svg").count() == 2
    gallery.focus()
    page.keyboard.press("ArrowLeft")
    assert where.inner_text() == "page 1 of 2"
    assert shown.locator("figure").count() == 6
    gallery.get_by_label("Go to").select_option(label="ID 10")
    assert where.inner_text() == "page 2 of 2"
    gallery.focus()
    page.keyboard.press("Home")
    assert where.inner_text() == "page 1 of 2"


def test_the_theme_switches_and_both_can_be_read(seen):
    page = seen.page
    assert page.evaluate(CONTRAST) == []
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(background) != light
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(background) == light
    assert page.evaluate("localStorage.getItem('popk-theme')") == "light"
    page.evaluate("localStorage.clear()")


def test_the_first_key_leads_to_the_verdict(seen):
    page = seen.page
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    skip = page.locator(".skip")
    skip.focus()
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#verdict")


def test_paper_shows_all(seen):
    page = seen.page
    page.emulate_media(media="print")
    try:
        page.wait_for_function("!document.querySelector('details.folded:not([open])')")
        assert page.locator(".top, .contents, .turn").filter(visible=True).count() == 0
        assert page.locator("#individual-table tbody tr").filter(visible=True).count() == 8
        # Static figures where there are some, charts elsewhere
        stills = page.locator(".still img")
        assert (
            stills.evaluate_all("all => all.map(i => i.complete && i.naturalWidth > 0)")
            == [True] * stills.count()
        )
        assert stills.first.is_visible()
        assert page.locator("[data-chart=vpc]").is_hidden()
        assert page.locator("[data-chart=predictions-pred] svg").is_visible()
        assert page.evaluate(CONTRAST) == []
    finally:
        page.emulate_media(media="screen")


def test_a_phone_in_the_dark(browser, path):
    seen = Watched(browser, path, scheme="dark", width=390)
    page = seen.page
    assert seen.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert page.evaluate(CONTRAST) == []
    assert page.locator(".contents ol").is_hidden()
    page.locator(".contents summary").click()
    assert page.locator(".contents ol").is_visible()
    page.close()


def test_without_scripts_figures_and_tables_are_there(browser, path):
    page = browser.browser.new_page(java_script_enabled=False) if browser.browser else None
    if page is None:
        pytest.skip("this browser opens no second context")
    page.goto(path.resolve().as_uri())
    assert page.locator(".still img").first.is_visible()
    assert page.locator(".scripted").filter(visible=True).count() == 0
    assert page.locator("#individual-table tbody tr").filter(visible=True).count() == 8
    page.close()


def popk(*arguments: object) -> None:
    """Run a command in a process of its own, as a user does."""
    told = [sys.executable, "-c", "from popk.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "commands", [("fit",), pytest.param(("fit", "report"), marks=pytest.mark.slow)], ids=" ".join
)
@pytest.mark.parametrize("name", ["blinatumomab-infants", "phenobarb-neonates"])
def test_the_reports_of_both_fits(browser, name, commands, tmp_path):
    shutil.copytree(ROOT / "models", tmp_path / "models")
    folder = tmp_path / "fits" / name
    shutil.copytree(ROOT / "fits" / name, folder, ignore=shutil.ignore_patterns("results", ".*"))
    for command in commands:
        popk(command, folder)
        path = folder / "results" / "report.html"
        assert path.stat().st_size < 5_000_000
        seen = Watched(browser, path)
        assert (seen.complaints, seen.foreign) == ([], [])
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert seen.page.evaluate(CONTRAST) == []
        seen.page.get_by_role("button", name="Dark theme").click()
        assert seen.page.evaluate(CONTRAST) == []
        seen.page.set_viewport_size({"width": 390, "height": 844})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        seen.page.evaluate("localStorage.clear()")
        seen.page.close()

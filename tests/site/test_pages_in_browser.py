"""The pages in a real browser: nothing is missing, foreign or hidden, in both themes, wide and narrow, with and without
scripts, for who sees and for who does not. Needs a Chromium; elsewhere these tests skip, but not in CI."""

import io
import re
import shutil
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import sites
from browsing import NARROW, WIDE, barriers, complete
from PIL import Image

from cifar_lib import paths, site
from cifar_lib.inference import mistakes
from cifar_lib.notebook import committed
from cifar_lib.runs import Run
from cifar_lib.site import report

pytestmark = pytest.mark.xdist_group("papermill")
NAMES = [path.stem for path in committed()]
PAGES = ["index", *NAMES, "mistakes"]


@pytest.fixture(scope="module")
def wrong():
    """Every mistake of runs/reference, with noise for pixels: CIFAR-10's own are not at hand everywhere."""
    images = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), np.uint8)
    return mistakes.most_confident(Run(paths.REFERENCE).predictions, images, len(images))


@pytest.fixture(scope="module")
def reference(tmp_path_factory, wrong):
    """The site of runs/reference, of the notebooks as committed, in a folder of its own."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    shutil.copytree(paths.REFERENCE, folder, ignore=shutil.ignore_patterns("report", "figures", "notebooks"))
    run = Run(folder)
    return site.publish(run, committed(), wrong).parent


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The site of a run with three mistakes."""
    run = sites.finished("few-mistakes")
    return site.publish(run, sites.written(tmp_path_factory.mktemp("books")), sites.mistakes(3)).parent


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_and_can_be_read_by_all(visit, reference, name):
    for width, theme in ((WIDE, "light"), (NARROW, "dark")):
        page = visit(reference, name, width, theme)
        complete(page)
        assert name == "mistakes" or barriers(page) == []  # a thousand alike: see the page of three, below
        page.set_viewport_size({"width": WIDE + NARROW - width, "height": 800})
        complete(page)


def test_so_is_the_page_of_a_few_mistakes(visit, few):
    for width, theme in ((WIDE, "light"), (NARROW, "dark")):
        page = visit(few, "mistakes", width, theme)
        complete(page)
        assert barriers(page) == [] and page.locator(".wrong li:visible").count() == 3


@pytest.mark.parametrize("name", ["index", *report.NAMES, "mistakes"])
def test_so_is_a_fresh_report_on_digits_and_says_so(visit, digits_report, name):
    page = visit(digits_report[1].parent, name, NARROW, "dark")
    complete(page)
    assert "not CIFAR-10" in page.inner_text("header.top") and "not CIFAR-10" in page.title()
    assert name != "index" or barriers(page) == []


def test_index_tells_in_one_screen(visit, reference):
    page, score = visit(reference, "index"), f"{Run(paths.REFERENCE).summary['test_accuracy']:.2%}"
    for words in ("CIFAR-10", score, "parameters", "training time", "machine"):
        box = page.locator("main .hero", has_text=words).bounding_box()
        assert box["y"] + box["height"] < 400
    assert page.locator(".cards li").nth(4).bounding_box()["y"] < 400, "and the first row of cards"


def test_every_link_and_anchor_resolves(visit, reference):
    ids, links, page = {}, [], visit(reference, "index")
    for name in PAGES:
        page.goto(f"{reference.as_uri()}/{name}.html")
        ids[f"{name}.html"] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        links += page.evaluate("[...document.querySelectorAll('a[href], link[href]')].map(e => e.href)")
    assert len(links) > 150
    for link in map(urlsplit, links):
        if link.scheme == "https":  # to follow, not to load: a paper, a benchmark
            assert link.netloc in ("arxiv.org", "jmlr.org", "mlcommons.org", "github.com"), link
        elif link.scheme != "data":
            file = unquote(link.path).removeprefix(f"{reference}/")
            assert link.scheme == "file" and (reference / file).is_file(), link
            chosen = file == "mistakes.html" and FILTER.fullmatch(link.fragment)
            assert not link.fragment or chosen or unquote(link.fragment) in ids[file], link


FILTER = re.compile(r"true=\d&predicted=\d")


@pytest.mark.parametrize("name", ["04_curves", "05_confusion", "08_speed"])
def test_figures_follow_the_theme(visit, reference, name):
    for theme, fits in (("light", lambda mean: mean > 215), ("dark", lambda mean: mean < 80)):
        shown = visit(reference, name, theme=theme).locator("figure img").first.screenshot()
        assert fits(np.asarray(Image.open(io.BytesIO(shown)).convert("L")).mean()), theme


def test_mistakes_filter(visit, reference, wrong):
    cat, dog, page = 3, 5, visit(reference, "mistakes")
    shown, output = page.locator(".wrong li:visible"), page.locator("form output")
    assert shown.count() == 60 < len(wrong.index) == page.locator(".wrong li").count()
    page.select_option("[name=true]", label="cat")
    assert output.inner_text() == f"{(wrong.labels == cat).sum()} of {len(wrong.index)}, the first 60 shown"
    page.select_option("[name=predicted]", label="dog")
    pair = (wrong.labels == cat) & (wrong.predicted == dog)
    assert shown.count() == min(60, pair.sum()) and output.inner_text().startswith(f"{pair.sum()} of ")
    page.fill("[name=from]", "80")
    sure = pair & (wrong.confidence >= 0.8)
    assert 0 < shown.count() == sure.sum() < pair.sum()
    assert set(shown.locator("xpath=.").evaluate_all(WORDS)) == {"cat → dog"}
    page.reload()
    assert shown.count() == sure.sum(), "the address remembers what was chosen"
    page.click("button[type=reset]")
    page.wait_for_function(f"document.querySelector('form output').value.startsWith('{len(wrong.index)} of ')")


WORDS = "items => items.map(i => i.childNodes[2].textContent.trim() + ' ' + i.querySelector('b').textContent)"


def test_a_tile_is_that_image(visit, reference, wrong):
    """Pixel for pixel: the first, and one of the second row of tiles."""
    page = visit(reference, "mistakes")
    for i in (0, 41):
        tile = page.locator(".wrong .tile").nth(i)
        tile.scroll_into_view_if_needed()
        shown = Image.open(io.BytesIO(tile.screenshot())).convert("RGB")
        middles = np.asarray(shown)[1:96:3, 1:96:3].astype(int)  # a pixel of the image is 3 x 3 of the screen
        assert abs(middles - wrong.images[i]).max() <= 2


def test_all_code_opens_with_one_click(visit, reference):
    page = visit(reference, "02_parameters")
    opened, every = page.locator("details.code[open]"), page.locator("details.code")
    assert opened.count() == 0 and every.count() > 5
    page.click("text=Show all code")
    assert opened.count() == every.count()
    page.click("text=Hide all code")
    assert opened.count() == 0


def test_tables_sort_by_number_and_by_word(visit, reference):
    page = visit(reference, "05_confusion")
    table = page.locator("table", has=page.locator("th", has_text="recall"))
    page.click("th button:has-text('support')")
    numbers = [int(text.replace(",", "")) for text in table.locator("td:last-child").all_inner_texts()[1:]]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] == 10_000
    recall = table.locator("th button:has-text('recall')")
    recall.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    values = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert values == sorted(values) and table.locator("th[aria-sort=ascending]").inner_text().startswith("recall")


def test_keyboard_reaches_the_content_first(visit, reference):
    page = visit(reference, "04_curves")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_without_scripts_all_is_there_but_the_comforts(visit, reference):
    page = visit(reference, "mistakes", java_script_enabled=False)
    assert page.locator(".wrong li:visible").count() > 20 and not page.locator("form").is_visible()
    page = visit(reference, "05_confusion", java_script_enabled=False)
    assert page.locator("math").first.bounding_box()["height"] > 10 and not page.locator("button.codes").is_visible()


def test_paper_has_figures_and_tables_but_no_way_about(visit, reference):
    page = visit(reference, "05_confusion", theme="dark")
    page.emulate_media(media="print")
    assert not any(page.locator(one).first.is_visible() for one in (".top", ".way", ".contents", ".code", ".codes"))
    assert page.locator("figure img").first.is_visible() and page.locator("table").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("name", ["03_train", "07_evidence", "08_speed"])
def test_no_table_is_wider_than_paper(visit, reference, name):
    page = visit(reference, name, 673)  # A4 less its margins: what is wider, a browser shrinks with all the rest
    page.emulate_media(media="print")
    assert page.evaluate("Math.max(...[...document.querySelectorAll('table')].map(t => t.scrollWidth))") <= 673


def test_words_of_figures_can_be_read_on_a_phone(visit, reference):
    """No letter under 9 CSS pixels, in any figure of any page, those of the cards included."""
    for name in PAGES:
        page = visit(reference, name, NARROW)
        shown = page.evaluate("[...document.querySelectorAll('img[src$=svg]')].map(i => [i.currentSrc, i.width])")
        for address, width in shown:
            svg = (reference / "figures" / address.rpartition("/")[2]).read_text(encoding="utf-8")
            box = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
            sizes = re.findall(r"<text [^>]*font(?:-size)?: (?:[a-z0-9]+ )*([\d.]+)px", svg)
            assert min((float(size) * width / box for size in sizes), default=9) >= 9, address


def test_no_table_scrolls_on_a_laptop_and_no_head_is_a_column_of_words(visit, reference):
    for name in NAMES:
        page = visit(reference, name, WIDE)
        assert page.evaluate(SCROLLING) == [], name
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 800})
            lines = page.evaluate("[...document.querySelectorAll('thead th')].map(h => h.clientHeight / 21)")
            assert max(lines, default=0) < 5, (name, width)


SCROLLING = """[...document.querySelectorAll('.table')].filter(t => t.scrollWidth > t.clientWidth + 1)
    .map(t => t.getAttribute('aria-label'))"""


def test_a_table_that_scrolls_keeps_its_first_column(visit, reference):
    page = visit(reference, "07_evidence", NARROW)
    assert len(page.evaluate(SCROLLING)) > 0
    moved = """[...document.querySelectorAll('.table')].map(t => { t.scrollLeft = 999;
        const cell = t.querySelector('td, th'); return cell.getBoundingClientRect().left; })"""
    assert {round(left) for left in page.evaluate(moved)} == {20}


@pytest.mark.parametrize(("width", "height"), [(WIDE, 800), (NARROW, 667)])
def test_few_folds_of_code_are_in_sight(visit, reference, width, height):
    """Three to a screen; imports, checks and sentences are not among them until all code is asked for."""
    for name in NAMES:
        page = visit(reference, name, width)
        tops = page.evaluate(
            "[...document.querySelectorAll('details.code')].map(d => d.checkVisibility() ? d.offsetTop : -1)"
        )
        tops = sorted(top for top in tops if top >= 0)
        most = max((sum(top <= one < top + height for one in tops) for top in tops), default=0)
        assert most <= 3, (name, most)


def test_all_code_is_all_of_it(visit, reference):
    page = visit(reference, "04_curves")
    hidden = page.locator("details.code.plumbing")
    assert hidden.count() > 3 and not hidden.first.is_visible()
    page.click("text=Show all code")
    assert all(one.is_visible() for one in hidden.all())


def test_the_footer_stands_where_the_page_does(visit, reference):
    for name in ("index", "04_curves"):
        page = visit(reference, name)
        left = [page.locator(one).bounding_box()["x"] for one in ("main", "footer")]
        assert left[0] == left[1], name


def test_policy_stops_what_cleaning_might_miss(browser, few, tmp_path):
    """From the disk too, where a page's own style, script, and pictures must load."""
    folder = shutil.copytree(few, tmp_path / "few")
    page, refused = browser.new_page(), []
    evil = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"
    evil += "<style>body { color: red }</style><img src='http://localhost:9/a.png'><iframe src='index.html'></iframe>"
    text = (folder / "mistakes.html").read_text(encoding="utf-8")
    (folder / "mistakes.html").write_text(text.replace("</main>", f"{evil}</main>"), encoding="utf-8")
    page.on("requestfailed", lambda request: refused.append((request.url, request.failure)))
    page.goto(f"{folder.as_uri()}/mistakes.html")
    assert page.title() != "ran" and page.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert page.locator("form").is_visible() and not any("index" in frame.url for frame in page.frames)
    assert ("http://localhost:9/a.png", "csp") in refused, "not even asked"
    page.close()


def test_site_is_a_few_megabytes(reference):
    assert sum(path.stat().st_size for path in reference.rglob("*") if path.is_file()) < 6_000_000

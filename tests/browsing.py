"""A Chromium to open pages in, and what is asked of every page."""

import os
import shutil

import numpy as np
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
    --use-fake-device-for-media-stream --use-fake-ui-for-media-stream""".split()
NARROW, WIDE = 375, 1280  # CSS pixels: a phone, a laptop


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM and not os.environ.get("CI"):
        pytest.skip("no Chromium here: on Debian, apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Open a page of a site; what it complains of, and every request that is not of the site, fails the test."""
    complaints, contexts = [], []

    def opened(folder, name: str, width: int = 1280, theme: str = "light", **more):
        size = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=theme, **more))
        page = contexts[-1].new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        home = folder.as_uri()
        page.on("request", lambda r: None if r.url.startswith((home, "data:")) else complaints.append(r.url))
        page.goto(f"{home}/{name}.html")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def barriers(page) -> list[str]:
    """What axe-core finds, be it small, with the first place of each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


TILES = """[...document.querySelectorAll('[role=img]')].filter(tile => !tile.closest('[hidden]'))
    .map(tile => tile.ariaLabel.length * tile.offsetHeight)"""


def complete(page) -> None:
    """Nothing runs out at the side, headings skip no level, and every image is there and has words."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for _ in range(50):  # where the window has changed its width, images of another shape are still being loaded
        images = page.evaluate("[...document.images].map(i => [i.src, i.alt.length, i.naturalWidth, i.offsetHeight])")
        if all(width > 0 for _, _, width, _ in images):
            break
        page.wait_for_timeout(100)
    assert all(alt > 3 and width > 0 and height > 0 for _, alt, width, height in images), images
    assert all(page.evaluate(TILES))
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels), default=0) <= 1

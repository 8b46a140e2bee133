"""The page to try a network on, in a real browser, from the disk: it computes what the library computes, shows it, and
can be used by all. Needs a Chromium; elsewhere these tests skip, but not in CI."""

import base64
import io
import re

import numpy as np
import PIL
import pytest
import sites
from browsing import NARROW, WIDE, barriers, complete
from PIL import Image
from playwright.sync_api import expect
from study_runs import made, with_weights
from test_plain_network import IMAGES, KINDS, SMALL, arrays, forward, logits_of, rounded

from cifar_lib import paths, site
from cifar_lib.evidence import networks
from cifar_lib.exchange import pictures
from cifar_lib.runs import plain_network
from cifar_lib.runs.plain_network import PlainNetwork
from cifar_lib.site.rendering import TEMPLATES

RANDOM = np.random.default_rng(1)
# What is tall Pillow shortens first from version 13 on: a rounding in another place.
SIZES = [(1, 1), (2, 3), (31, 33), (33, 31), (32, 32), (32, 70), (70, 32), (64, 64), (100, 77), (640, 480), (500, 5)]
TALL = [(5, 500), (20, 33), (33, 34), (33, 35), (40, 48), (40, 49), (200, 1000)]


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> PlainNetwork:
    run = made(tmp_path_factory.mktemp("runs") / "narrow", 0.5, num_channels=8, whitening=True, drop=0, device="cpu")
    (run.folder / "SHA256SUMS").unlink()
    (run.folder / "mistakes.npz").write_bytes(sites.mistakes(24).to_bytes())
    return plain_network.read(with_weights(run))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, network):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", tmp_path_factory.mktemp("runs"))
        run = sites.finished("done", dataset="cifar10")
        books = sites.written(run.folder / "notebooks")
        return site.publish(run, books, sites.mistakes(3), network=network).parent


@pytest.fixture
def page(visit, folder):
    return visit(folder, "demo")


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


COMPUTE = """([layers, numbers, images, rounding]) => {
  const one = network(layers, numbers), tried = rounding ? int8(one) : one, size = 32 * 32 * 3;
  const bytes = Uint8Array.from(atob(images), (letter) => letter.charCodeAt(0));
  return Array.from({ length: bytes.length / size },
    (_, i) => [...forward(tried, bytes.subarray(i * size, (i + 1) * size)).logits]);
}"""


def computed(page, network: PlainNetwork, images: np.ndarray, rounding: bool = False) -> np.ndarray:
    """Logits (N, 10), by the page's own code."""
    given = [network.layers, text(network.numbers), text(images.tobytes()), rounding]
    return np.array(page.evaluate(COMPUTE, given))


def check_logits(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (found.argmax(1) == expected.argmax(1)).all() and len(set(expected.argmax(1))) > 2


def test_two_hundred_images_as_the_library_sees_them(page, network):
    check_logits(computed(page, network, IMAGES), logits_of(network, IMAGES))


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_networks_of_every_kind(page, tmp_path, settings):
    other = plain_network.read(with_weights(made(tmp_path / "other", 0.5, **SMALL | settings)))
    check_logits(computed(page, other, IMAGES[:10]), logits_of(other, IMAGES[:10]))


def test_int8_is_what_it_is_said_to_be(page, network):
    exact, found = (computed(page, network, IMAGES[:50], rounding) for rounding in (False, True))
    expected = forward(rounded(arrays(network.layers, network.numbers)), IMAGES[:50])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    apart = np.abs(found - exact).max()
    assert 0.01 < apart < np.abs(exact).max() / 5


def test_test_images_of_the_network_that_comes_with_the_project(page, cifar10):
    network = networks.narrowest()
    if network is None:
        pytest.skip("no narrow network has its weights here")
    found = computed(page, network, cifar10.test.images[:100])
    stored = network.run.predictions
    assert (found.argmax(1) == stored.predicted[:100]).all()
    np.testing.assert_allclose(found, stored.logits[:100], atol=0.02)  # stored in 16 bits


MUTANTS = {
    "BGR": ("(value / 255 -", "(pixels[i + 2 - 2 * (i % 3)] / 255 -"),
    "no gate": ("value * gate[i % map.channels]", "value"),
    "no normalisation": ("(value / 255 - mean[i % 3]) / std[i % 3]", "value / 255"),
    "padding of the wrong side": ("const left = Math.max(0, x - reach)", "const left = Math.max(0, x - reach + 1)"),
    "shortcut without its projection's stride": ("y * layer.stride, x * layer.stride", "y, x"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_network_is_noticed(browser, network, mutant):
    """The same comparison, of code with a mistake."""
    code = "".join((TEMPLATES / f"demo/{name}.js").read_text(encoding="utf-8") for name in ("network", "weights"))
    right, wrong = MUTANTS[mutant]
    assert code.count(right) == 1
    page = browser.new_page()
    page.add_script_tag(content=code.replace(right, wrong))
    with pytest.raises(AssertionError):
        check_logits(computed(page, network, IMAGES[:5]), logits_of(network, IMAGES[:5]))
    page.close()


RESIZE = """([data, width, height]) => {
  const bytes = Uint8ClampedArray.from(atob(data), (letter) => letter.charCodeAt(0));
  return [...resized(bytes, width, height)];
}"""


@pytest.mark.parametrize("sizes", [SIZES, TALL], ids=["most", "tall"])
def test_resizing_is_pillows_to_the_last_bit(page, sizes):
    level = int(int(PIL.__version__.split(".")[0]) < 13 and sizes is TALL)
    for width, height in sizes:
        for most in (2, 256):  # black and white alone shows every rounding
            image = (RANDOM.integers(0, most, (height, width, 3)) * (255 // (most - 1))).astype(np.uint8)
            seen = page.evaluate(RESIZE, [text(opaque(image).tobytes()), width, height])
            expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
            apart = np.abs(np.array(seen).reshape(32, 32, 3) - expected.astype(int)).max()
            assert apart <= level, (width, height)


def opaque(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image, np.full_like(image[..., :1], 255)], 2)


def until(page, condition: str) -> None:
    """Wait for it; playwright's own way would have the page evaluate text, which its policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise TimeoutError(condition)


def shown(page) -> np.ndarray:
    """The 32 × 32 pixels that the network was last given."""
    return np.array(page.evaluate("[...current.pixels]")).reshape(32, 32, 3)


def library(data: bytes) -> np.ndarray:
    picture = Image.fromarray(pictures.decode(io.BytesIO(data)))
    return np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)


def file(kind: str, mode: str = "RGB", **options) -> bytes:
    """A smooth picture with hard edges, 90 × 70 pixels."""
    rows, columns = np.mgrid[:70, :90]
    bands = [columns * 2, rows * 3, (rows // 9 + columns // 9) % 2 * 255, 255 - columns * 2][: len(mode)]
    image, buffer = Image.fromarray(np.dstack(bands).astype(np.uint8), mode), io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    ("kind", "mode", "options", "most"),
    [
        ("PNG", "RGB", {}, 0),
        ("PNG", "RGBA", {}, 1),  # a canvas multiplies by alpha in 8 bits, as Pillow does not
        ("JPEG", "RGB", {"quality": 90}, 2),  # each has a decoder of its own
        ("JPEG", "RGB", {"quality": 90, "exif": turned()}, 2),
        ("WEBP", "RGB", {"lossless": True}, 0),
        ("BMP", "RGB", {}, 0),
    ],
)
def test_a_file_is_seen_as_the_library_sees_it(page, kind, mode, options, most):
    data = file(kind, mode, **options)
    page.set_input_files("#file", {"name": "mine", "mimeType": f"image/{kind.lower()}", "buffer": data})
    expect(page.locator("#given")).to_have_text("mine")
    assert np.abs(shown(page) - library(data)).max() <= most
    assert page.get_attribute("#seen", "aria-label") == "What the network sees of mine, 32 by 32 pixels"


GIVE = """([way, data]) => {
  const given = new DataTransfer(), bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  given.items.add(new File([bytes], way, { type: "image/png" }));
  const event = way === "drop" ? new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: given, bubbles: true });
  document.querySelector("h1").dispatchEvent(event);
}"""


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_can_be_dropped_and_pasted(page, way):
    data = file("PNG")
    page.evaluate(GIVE, [way, text(data)])
    expect(page.locator("#given")).to_have_text(way)
    assert (shown(page) == library(data)).all() and page.locator(".examples [aria-pressed=true]").count() == 0


def test_what_is_no_picture_is_said_to_be_none(page):
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#trouble:visible")
    assert page.inner_text("#trouble") == "That is no picture that this browser can read."
    page.click(".examples button >> nth=1")
    page.wait_for_selector("#trouble", state="hidden")


def test_answer_is_that_of_the_image_shown(page, network):
    """An example, by its place; its bars; whether it is right."""
    page.click(".examples button >> nth=3")
    stored, classes = sites.mistakes(24), network.run.config.classes
    expect(page.locator("#given")).to_have_text("test image 2: bird")
    assert (shown(page) == stored.images[2]).all()
    logits = logits_of(network, stored.images[2:3])[0].astype(float)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert page.inner_text("#name") == classes[shares.argmax()]
    bars = [float(one.rstrip("%")) for one in page.locator(".bars .value").all_inner_texts()]
    np.testing.assert_allclose(bars, 100 * shares, atol=0.11)
    assert page.inner_text("#sure") == f"{max(bars)}%"
    assert page.inner_text("#verdict").startswith("Right." if shares.argmax() == 2 else "Wrong: it is a bird.")
    widths = page.locator(".bars .bar").evaluate_all("bars => bars.map(b => +b.style.getPropertyValue('--share'))")
    np.testing.assert_allclose(widths, shares, atol=1e-4)


def test_keyboard_chooses_an_example_and_its_answer_is_announced(page):
    before, live = page.inner_text("#given"), page.locator("output[aria-live=polite]")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.querySelectorAll('.examples button')[4]"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#given")).to_have_text("test image 3: cat")
    assert before.startswith("test image 1:") and "%" in live.inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_keyboard_switches_the_weights(page):
    page.focus("[name=weights][value=float]")
    page.keyboard.press("ArrowDown")
    assert page.is_checked("[value=int8]")
    assert re.fullmatch(
        r"With the float weights: \w+, [\d.]+%. The logits differ by at most \d\.\d\d.", page.inner_text("#beside")
    )
    page.keyboard.press("ArrowUp")
    assert not page.is_visible("#beside")


def test_maps_and_gates_of_every_part_are_shown(page, network):
    names = page.locator("#maps .maps").evaluate_all("rows => rows.map(r => r.ariaLabel)")
    assert names == [
        f"{part}: its 8 most active feature maps of {channels}"
        for part, channels in (("stem", 8), ("stage 1", 8), ("stage 2", 16), ("stage 3", 32))
    ]
    sides = page.locator("#maps canvas").evaluate_all("maps => maps.map(m => m.width)")
    assert sides == [32] * 16 + [16] * 8 + [8] * 8
    gates = page.locator("#gates .gates")
    assert gates.count() == sum(network.run.config.num_blocks)
    heights = np.array(page.evaluate("[...forward(trained, current.pixels).gates[4].values]"))
    drawn = gates.nth(4).locator("path").get_attribute("d")
    np.testing.assert_allclose([float(one) for one in re.findall(r"1v-([\d.]+)h", drawn)], heights, atol=1e-6)


def test_a_drawing_is_looked_at_while_it_is_made(page):
    page.click("#draw")
    expect(page.locator("#given")).to_have_text("your drawing")
    assert (shown(page) == 255).all()
    page.check("[name=colour][aria-label=red]")
    page.locator("#paper").scroll_into_view_if_needed()
    box = page.locator("#paper").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 2, steps=5)
    until(page, "current.pixels.some((value) => value < 200)")
    page.mouse.up()
    red, white = shown(page)[16, 16], shown(page)[2, 2]
    assert red[0] > red[1] + 50 and (white == 255).all()
    page.click("#clear")
    assert (shown(page) == 255).all()


def test_camera_takes_a_picture_where_there_may_be_one(page):
    page.click("#camera")
    until(page, "document.querySelector('#film').videoWidth > 0")
    page.click("#take")
    expect(page.locator("#given")).to_have_text("the camera's picture")
    assert shown(page).std() > 5
    page.click("#camera")
    assert page.evaluate("document.querySelector('#film').srcObject") is None
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.reload()
    assert page.is_visible("#draw") and not page.is_visible("#camera")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_page_is_whole_and_can_be_read_by_all(visit, folder, width, theme):
    page = visit(folder, "demo", width, theme)
    complete(page)
    assert barriers(page) == []
    page.click("#draw")
    page.check("[value=int8]")
    page.click("summary")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert barriers(page) == []


def test_maps_follow_the_theme(page):
    colour = "document.querySelector('#maps canvas').getContext('2d').fillStyle"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    until(page, f"{colour} !== '{light}'")


def test_nothing_moves_for_who_wants_it_still(visit, folder):
    page = visit(folder, "demo", reduced_motion="reduce")
    look = "s => (({ transitionDuration: t, animationName: n }) => [t, n])(getComputedStyle(document.querySelector(s)))"
    for part in (".bars .bar", ".gates svg", ".maps canvas"):
        assert page.evaluate(look, part) == ["0s", "none"], part


def test_it_asks_for_no_other_file(page):
    page.click(".examples button >> nth=2")
    asked = page.evaluate("performance.getEntriesByType('resource').map(r => r.name)")
    assert [name for name in asked if not name.startswith("data:")] == []


def test_without_a_script_it_says_what_it_would_show(visit, folder):
    page = visit(folder, "demo", java_script_enabled=False)
    words = page.inner_text("main")
    assert "This page needs JavaScript" in words and "62.50%" not in words and "50.00%" in words
    assert not page.is_visible(".lab") and not page.is_visible(".inside")


def test_a_pass_takes_a_moment(page, tmp_path):
    run = with_weights(made(tmp_path / "width-16", 0.5, num_channels=16, whitening=True, device="cpu"))
    wide = plain_network.read(run)
    timed = """([layers, numbers]) => {
      const one = network(layers, numbers), pixels = new Uint8Array(32 * 32 * 3).fill(99), times = [];
      for (let i = 0; i < 7; i++) {
        const from = performance.now();
        forward(one, pixels);
        times.push(performance.now() - from);
      }
      return times.sort((a, b) => a - b)[3];
    }"""
    milliseconds = page.evaluate(timed, [wide.layers, text(wide.numbers)])
    print(f"{milliseconds:.0f} ms for {wide.multiply_adds:,} multiply-adds")
    assert milliseconds < 3000  # ten times what it takes, since the machine may be busy

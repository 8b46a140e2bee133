"""What nbconvert made of a notebook, made safe: nothing that runs, formulas that need no script. No torch."""

import re
from collections.abc import Callable
from html import escape
from xml.etree import ElementTree

import nh3
from bs4 import BeautifulSoup
from latex2mathml.converter import convert

from cifar_lib.errors import UserError

FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?!\d)", re.DOTALL)
MATHML = """math menclose merror mfrac mi mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub msubsup msup
    mtable mtd mtext mtr munder munderover""".split()
MATHML_ATTRIBUTES = """columnalign columnlines depth display displaystyle fence form height linethickness lspace
    mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits notation rowlines rspace scriptlevel
    separator stretchy tabindex voffset width xmlns""".split()
SVG = "circle clipPath defs ellipse g image line path pattern polygon polyline rect svg text tspan use".split()
SVG_ATTRIBUTES = """clip-path cx cy d fill height href id opacity patternUnits points preserveAspectRatio r rx ry stroke
    style transform type version viewBox width x x1 x2 y y1 y2""".split()
STYLES = "clip-path fill font font-weight opacity stroke stroke-width text-align text-anchor vertical-align".split()
LISTS = {
    "tags": nh3.ALLOWED_TAGS.union(MATHML, SVG, ["picture", "source"]),
    "attributes": nh3.ALLOWED_ATTRIBUTES
    | dict.fromkeys(MATHML, set(MATHML_ATTRIBUTES))
    | dict.fromkeys(SVG, set(SVG_ATTRIBUTES))
    | {"source": {"media", "srcset", "width", "height"}}
    | {"*": {"class", "id", "lang", "style", "title"}},
    "generic_attribute_prefixes": {"aria-", "data-"},
    "filter_style_properties": set(STYLES),
    "url_schemes": {"https", "data"},
    "link_rel": None,
}
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[\w+/=\s]*")  # no browser runs what an image holds
PLAIN = re.compile(r"(url\(#[\w-]+\)|@media screen and \(prefers-color-scheme:dark\)|[^(@\\])*")  # names no file
SPACE = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SPACE)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


class SiteError(UserError):
    """Pages that cannot be made; the message is one line."""


def clean(html: str, link: Callable[[str], str | None] = lambda address: None) -> str:
    """Of `html`, which may hold a stranger's words, what is on the lists; `link` says where an address here leads."""

    def kept(tag: str, name: str, value: str) -> str | None:
        own = link(value) if name in ("href", "src", "srcset") else None
        return own or (value if _harmless(tag, name, value) else None)

    return nh3.clean(html, attribute_filter=kept, **LISTS)


def _harmless(tag: str, name: str, value: str) -> bool:
    if name == "srcset":
        return False  # but for the figures' own
    if name in ("href", "src"):
        there = ("#", "https://") if tag == "a" else "#"
        return bool(IMAGE.fullmatch(value)) if tag in ("img", "image") else value.startswith(there)
    return name not in ("style", "clip-path", "fill", "stroke") or bool(PLAIN.fullmatch(value))


def figure(name: str, svg: str) -> str:
    """The file of a figure. Raises `SiteError` for what none of the library's figures has."""
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise SiteError(f"{name}: a figure is no SVG ({error})") from None
    for words in root.findall(f"{{{SPACE}}}metadata"):
        root.remove(words)
    for element in root.iter():
        _known(name, element)
    return ElementTree.tostring(root, encoding="unicode")  # no more than was looked at: no DOCTYPE, no instruction


def _known(name: str, element: ElementTree.Element) -> None:
    tag = element.tag.removeprefix(f"{{{SPACE}}}")
    pairs = [(key.rpartition("}")[2], value) for key, value in element.items()]
    strange = [key for key, value in pairs if key not in SVG_ATTRIBUTES or not _harmless(tag, key, value)]
    style = tag == "style" and not len(element) and PLAIN.fullmatch(element.text or "")
    if strange or not (tag in SVG or style):
        raise SiteError(f"{name}: a figure holds <{' '.join([tag, *strange])}>, as none of this library does")


def formulas(name: str, soup: BeautifulSoup) -> None:
    """Set TeX, which nbconvert leaves between $ or $$ for a script, as MathML. Raises `SiteError` for what is none."""
    for text in soup.find_all(string=FORMULA):
        if not text.find_parent(["code", "pre"]):
            words, *rest = FORMULA.split(text)
            html = escape(words)
            for block, inline, after in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
                html += _mathml(name, block or inline, "block" if block else "inline") + escape(after)
            text.replace_with(BeautifulSoup(html, "html.parser"))


def _mathml(name: str, tex: str, display: str) -> str:
    try:
        made = clean(convert(tex.strip(), display=display))  # it takes \\text{<b>} for an element
        return made.replace("<math ", '<math tabindex="0" ', 1) if display == "block" else made  # too wide, it scrolls
    except Exception as error:  # latex2mathml has a dozen kinds
        raise SiteError(f"{name}: ${tex}$ cannot be set as a formula ({type(error).__name__})") from None


def words(soup: BeautifulSoup) -> None:
    """Give a picture that came without words those of the heading above it."""
    for image in soup.find_all("img", alt=lambda alt: not alt or alt.startswith("No description")):  # as nbconvert says
        heading = image.find_previous(["h1", "h2", "h3"])
        image["alt"] = heading.get_text() if heading else "figure"

"""What nbconvert made of a notebook, made safe and whole: nothing that runs, formulas that need no script. No torch."""

import re
from html import escape

from bs4 import BeautifulSoup
from latex2mathml.converter import convert

from cifar_lib.errors import UserError

FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?!\d)", re.DOTALL)


class SiteError(UserError):
    """Pages that cannot be made; the message is one line."""


def tame(soup: BeautifulSoup) -> None:
    """Take out what would run, or ask another host: an output may hold a stranger's words, which are no page's."""
    for element in soup.find_all(["script", "style", "link", "iframe", "object", "embed", "form", "base", "meta"]):
        element.decompose()
    for element in soup.find_all(True):
        for name in [name for name in element.attrs if name.startswith("on") or name in ("srcset", "style")]:
            del element[name]
        if not element.get("src", "data:").startswith(("data:", "figures/")):
            element.decompose()
        elif element.get("href", "").strip().lower().startswith(("javascript:", "data:")):
            del element["href"]


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
        made = convert(tex.strip(), display=display)
        return made.replace("<math ", '<math tabindex="0" ', 1) if display == "block" else made  # too wide, it scrolls
    except Exception as error:  # latex2mathml has a dozen kinds
        raise SiteError(f"{name}: ${tex}$ cannot be set as a formula ({type(error).__name__})") from None


def words(soup: BeautifulSoup) -> None:
    """Give a picture that came without words those of the heading above it."""
    for image in soup.find_all("img", alt=lambda alt: not alt or alt.startswith("No description")):  # as nbconvert says
        heading = image.find_previous(["h1", "h2", "h3"])
        image["alt"] = heading.get_text() if heading else "figure"

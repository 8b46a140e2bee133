"""Tables of a page: one row of heads, numbers to the right, room to scroll, and the same as a CSV."""

import csv
import io
import re

from bs4 import BeautifulSoup

NUMBER = re.compile(r"[-+−±]?[\d,]*\.?\d+(e[-+]?\d+)?\s?[%kMG×]?( ± [\d.]+)?|nan|NaN|–|-?inf|", re.IGNORECASE)
WHOLE = re.compile(r"0|[1-9]\d*")
LONG = re.compile(r"[1-9]\d{4,}")  # a column that has one is easier to read with commas


def finish(soup: BeautifulSoup, table, file: str, label: str) -> dict[str, str]:
    """Lay out `table`, an element of `soup`, and give it its CSV, a file of the site: name to text."""
    _one_head(soup, table)
    for cell in table.find_all(style=True):
        del cell["style"]  # a notebook says by it what stands to the right; a page finds out by itself
    columns = _numbers(table)
    del table["border"]
    region = {"class": "table", "tabindex": "0", "role": "region", "aria-label": label}
    frame = table.wrap(soup.new_tag("div", attrs=region)).wrap(soup.new_tag("div", attrs={"class": "grid"}))
    link = soup.new_tag("a", attrs={"href": file, "download": "", "aria-label": f"{label} as CSV"})
    link.string = "CSV"
    frame.append(link)
    return {file: _csv(table, columns)}


def _rows(table, part: str) -> list[list]:
    return [row.find_all(["th", "td"]) for row in table.select(f"{part} tr")]


def _one_head(soup: BeautifulSoup, table) -> None:
    """One row of heads: pandas writes names of indices and levels of columns in rows of their own."""
    rows = _rows(table, "thead")
    heads = [[cell.get_text(strip=True) for cell in row for _ in range(int(cell.get("colspan", 1)))] for row in rows]
    names = [" ".join(filter(None, parts)) for parts in zip(*heads, strict=True)]
    if table.thead:
        table.thead.clear()
    if any(names):
        row = soup.new_tag("tr")
        for name in names:
            cell = soup.new_tag("th" if name else "td", attrs={"scope": "col"} if name else {})  # no name, no head
            cell.string = name
            row.append(cell)
        table.thead.append(row)


def _numbers(table) -> set[int]:
    """Mark the columns, heads included, that hold numbers alone; which they are."""
    rows, heads, found = _rows(table, "tbody"), _rows(table, "thead"), set()
    for column, cells in enumerate(zip(*rows, strict=False)):
        texts = [cell.get_text(strip=True) for cell in cells]
        if any(texts) and all(map(NUMBER.fullmatch, texts)) and all(cell.name == "td" for cell in cells):
            found.add(column)
            commas = any(map(LONG.fullmatch, texts))
            for cell, text in zip(cells, texts, strict=True):
                cell.string = f"{int(text):,}" if commas and WHOLE.fullmatch(text) else text
            for cell in [*cells, *(row[column] for row in heads)]:
                cell["class"] = [*cell.get("class", []), "number"]
    return found


def _csv(table, numbers: set[int]) -> str:
    """As it is shown, but for commas within numbers and their minus signs, which programs read as hyphens."""
    lines = io.StringIO()
    heads, rows = ([[" ".join(c.get_text().split()) for c in r] for r in _rows(table, p)] for p in ("thead", "tbody"))
    plain = str.maketrans({",": None, "−": "-"})
    rows = [[text.translate(plain) if i in numbers else text for i, text in enumerate(row)] for row in rows]
    csv.writer(lines, lineterminator="\n").writerows(heads + rows)
    return lines.getvalue()

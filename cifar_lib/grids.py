"""Tables of a page: one row of heads, numbers to the right, room to scroll, and the same as a CSV."""

import csv
import io
import re

from bs4 import BeautifulSoup

NUMBER = re.compile(r"[-+−±]?[\d,]*\.?\d+(e[-+]?\d+)?\s?[%kMG×]?|nan|NaN|–|-?inf|", re.IGNORECASE)
LONG = re.compile(r"\d{5,}")  # whole numbers that are easier to read with commas


def finish(soup: BeautifulSoup, table, file: str, label: str) -> dict[str, str]:
    """Lay out `table`, an element of `soup`, and give it its CSV, a file of the site: name to text."""
    _one_head(table)
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


def _one_head(table) -> None:
    """pandas writes the index's name in a second row of heads: into the first it goes."""
    heads = _rows(table, "thead")
    if heads and not any(cell.get_text(strip=True) for row in heads for cell in row):
        table.thead.decompose()
    elif len(heads) == 2 and not any(cell.get_text(strip=True) for cell in heads[1][1:]):
        heads[0][0].string = heads[1][0].get_text(strip=True)
        table.select("thead tr")[1].decompose()
    for cell in (cell for row in _rows(table, "thead")[:1] for cell in row):
        if cell.get_text(strip=True):
            cell["scope"] = "col"
        else:
            cell.name = "td"  # an empty head is none


def _numbers(table) -> set[int]:
    """Mark the columns, heads included, that hold numbers alone; which they are."""
    rows, heads, found = _rows(table, "tbody"), _rows(table, "thead"), set()
    for column, cells in enumerate(zip(*rows, strict=False)):
        texts = [cell.get_text(strip=True) for cell in cells]
        if any(texts) and all(map(NUMBER.fullmatch, texts)) and all(cell.name == "td" for cell in cells):
            found.add(column)
            for cell in [*cells, *(row[column] for row in heads if column < len(row))]:
                cell["class"] = [*cell.get("class", []), "number"]
            for cell, text in zip(cells, texts, strict=True):
                cell.string = f"{int(text):,}" if LONG.fullmatch(text) else text
    return found


def _csv(table, numbers: set[int]) -> str:
    """As it is shown, but for the commas within numbers."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for row in _rows(table, "thead") + _rows(table, "tbody"):
        texts = [" ".join(cell.get_text().split()) for cell in row]
        writer.writerow(text.replace(",", "") if i in numbers else text for i, text in enumerate(texts))
    return lines.getvalue()

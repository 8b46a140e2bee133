"""Tables as people read them: no index without a name, commas, minus signs, a dash for nothing, no HTML of theirs."""

import numpy as np
import pandas as pd
from bs4 import BeautifulSoup

from cifar_lib.figures import tables

FRAME = pd.DataFrame(
    {"count": [12345, -7], "share": [0.25, np.nan], "word": ["<b>", None], "sure": [True, False]}, index=[10, 11]
)


def read(table: tables.Table) -> list[list[str]]:
    soup = BeautifulSoup(table._repr_html_(), "html.parser")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.find_all("tr")]


def test_the_index_is_left_out_unless_it_has_a_name():
    assert read(tables.table(FRAME))[0] == ["count", "share", "word", "sure"]
    assert [row[0] for row in read(tables.table(FRAME, index="epoch"))] == ["epoch", "10", "11"]


def test_cells_are_printed_as_people_read_them():
    assert read(tables.table(FRAME))[1:] == [["12,345", "0.25", "<b>", "yes"], ["−7", "–", "–", "no"]]
    table = tables.table(FRAME, {"share": "{:.0%}", "count": "{:+.1f}"}, {"count": "images"}, caption="a & b")
    assert read(table)[0][0] == "images" and read(table)[2][:2] == ["−7.0", "–"]
    assert read(table)[1][:2] == ["+12345.0", "25%"] and "<caption>a &amp; b</caption>" in table.html


def test_numbers_stand_to_the_right():
    cells = BeautifulSoup(tables.table(FRAME).html, "html.parser").tbody.tr.find_all("td")
    assert [cell["style"].split()[-1] for cell in cells] == ["right", "right", "left", "left"]


def test_folded_is_the_same_under_a_title():
    inside = tables.table(FRAME)
    soup = BeautifulSoup(tables.folded("The <rest>", inside).html, "html.parser")
    assert soup.details.summary.get_text() == "The <rest>" and str(soup.table) in str(
        BeautifulSoup(inside.html, "html.parser")
    )
    assert repr(inside) == "<Table of 2 rows>"

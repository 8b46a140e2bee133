"""Tables of pages: one head, numbers marked, the same as a CSV."""

import io

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from sites import TABLE

from cifar_lib.site import tables


def finish(html: str):
    soup = BeautifulSoup(html, "html.parser")
    files = tables.finish(soup, soup.table, "tables/a.csv", "Table 1")
    return soup, files["tables/a.csv"]


def test_name_of_the_index_is_a_head_like_others():
    soup, _ = finish(TABLE.rename_axis("class").to_html())
    assert [cell.get_text() for cell in soup.select("thead tr th")] == ["class", "images", "kind"]
    assert len(soup.select("thead tr")) == 1 and all(cell["scope"] == "col" for cell in soup.select("thead th"))


def test_empty_heads_are_none():
    soup, _ = finish(TABLE.to_html())
    assert soup.select_one("thead tr").find().name == "td" and len(soup.select("thead th")) == 2


def test_numbers_alone_are_marked_and_can_be_read():
    soup, _ = finish(TABLE.to_html())
    assert [cell.get_text() for cell in soup.select(".number")] == ["images", "12,345", "7", "900"]


def test_levels_of_columns_become_one_head():
    wide = pd.DataFrame([[1, "a", 2.5]], index=["x"], columns=pd.MultiIndex.from_tuples(TWO, names=["", "of"]))
    soup, text = finish(wide.rename_axis("side").to_html())
    heads = [cell.get_text() for cell in soup.select("thead tr")[0].find_all(["th", "td"])]
    assert len(soup.select("thead tr")) == 1 and heads == [
        "of side",
        "8 epochs mean",
        "8 epochs verdict",
        "16 epochs mean",
    ]
    assert text.split("\n")[:2] == [",".join(heads), "x,1,a,2.5"]


TWO = [("8 epochs", "mean"), ("8 epochs", "verdict"), ("16 epochs", "mean")]


def test_no_head_at_all():
    soup, text = finish(pd.Series({"device": "cpu", "threads": 2}, name="").to_frame().to_html())
    assert soup.select("thead tr") == [] and text == "device,cpu\nthreads,2\n"


def test_a_comma_in_a_head_stays():
    assert finish(pd.DataFrame({"accuracy, %": [1.5, 2.5]}).to_html())[1].startswith(',"accuracy, %"')


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([1000, 10_000], ["1,000", "10,000"]),
        ([1000, 9999], ["1000", "9999"]),
        (["00012", "12345"], ["00012", "12,345"]),
    ],
)
def test_commas_where_the_column_needs_them(column, shown):
    soup, _ = finish(pd.DataFrame({"n": column}).to_html())
    assert [cell.get_text() for cell in soup.select("td.number")] == shown


def test_csv_holds_the_same_numbers():
    _, text = finish(TABLE.rename_axis("class").to_html())
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text), index_col="class"), TABLE.rename_axis("class"))


def test_styled_tables_too():
    styled = TABLE.style.format({"images": "{:,.1f}"}).set_uuid("x").to_html()
    soup, text = finish(styled)
    assert len(soup.select("td.number")) == 3 and text.split("\n")[1] == "cat,12345.0,b"


@pytest.mark.parametrize("text", ["12", "1,234", "-0.5", "+4.7%", "1e-3", "2.80×", "–", "nan", "1.1M", "−3"])
def test_what_is_a_number(text):
    assert tables.NUMBER.fullmatch(text)


@pytest.mark.parametrize("text", ["cat", "12 images", "32×32", "v1"])
def test_what_is_none(text):
    assert not tables.NUMBER.fullmatch(text)


def test_table_scrolls_and_is_named():
    soup, _ = finish(TABLE.to_html())
    region = soup.table.parent
    assert region["tabindex"] == "0" and region["aria-label"] == "Table 1"
    assert soup.select_one("a[download]")["href"] == "tables/a.csv"

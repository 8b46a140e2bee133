"""Tables as people read them: a DataFrame in, HTML out. No index unless it has a name, and a dash where there is
nothing."""

from collections.abc import Mapping
from html import escape
from numbers import Integral, Real
from types import MappingProxyType

import pandas as pd

from cifar_lib.evidence.numerals import NONE, minus

NOTHING = MappingProxyType({})


class Table:
    """What a notebook shows as a table, and a page lays out anew; `html` is all of it."""

    def __init__(self, html: str):
        self.html = html

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"<Table of {self.html.count('<tr>') - 1} rows>"


def table(frame, formats: Mapping = NOTHING, heads: Mapping = NOTHING, index: str = "", caption: str = "") -> Table:
    """`frame`, a DataFrame, as a table.

    `formats`: column -> how `str.format` writes its values; else integers have commas, floats four digits. `heads`:
    column -> what stands over it, if not its name. `index`: what stands over the index, which is left out without it.
    """
    columns = [index] * bool(index) + [heads.get(name, str(name)) for name in frame.columns]
    cells = {name: [_cell(value, formats.get(name, "")) for value in frame[name]] for name in frame.columns}
    kinds = [_is_number(frame[name]) for name in frame.columns]
    rows = ["".join(f"<th>{escape(name)}</th>" for name in columns)]
    for row, label in enumerate(frame.index):
        values = [_td(cells[name][row], number) for name, number in zip(frame.columns, kinds, strict=True)]
        rows.append(f'<th scope="row">{escape(_cell(label, ""))}</th>' * bool(index) + "".join(values))
    head, *body = (f"<tr>{row}</tr>\n" for row in rows)
    above = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return Table(f"<table>\n{above}<thead>\n{head}</thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>")


def folded(title: str, inside: Table) -> Table:
    """The same under a `title` that opens it."""
    return Table(f"<details><summary>{escape(title)}</summary>\n{inside.html}\n</details>")


def _cell(value, form: str) -> str:
    if value is None or (isinstance(value, Real) and value != value):
        return NONE
    if form:
        return minus(form.format(value))
    if isinstance(value, (bool, pd.api.types.pandas_dtype("bool").type)):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return minus(f"{value:,}")
    return minus(f"{value:,.4g}") if isinstance(value, Real) else minus(str(value))


def _is_number(column) -> bool:
    """Whether it holds numbers, and so stands to the right."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _td(text: str, number: bool) -> str:
    return f'<td style="text-align: {"right" if number else "left"}">{escape(text)}</td>'

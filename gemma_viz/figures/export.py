"""A figure to take away: its data as CSV or JSON, and itself as a web page that needs no network.

CSV and JSON hold the same long table, one row for each value that is drawn: `Table`.
"""

import csv
import html
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.io.json import to_json_plotly

from gemma_viz.figures.style import TITLE_HEIGHT

Cell = str | int | float | None

LONGEST_NAME = 60  # characters of a file's name

GRIDS = (go.Heatmap, go.Contour)

# What the hover says before a number that is in `customdata` names it: "rank %{customdata}", "score %{customdata[0]}".
CUSTOM = re.compile(r"([^%{}<>,(]*)%\{customdata(?:\[(\d)\])?")

# What an axis says of how it is drawn: the numbers themselves are no logarithms.
LOG = re.compile(r" \(log(?: axis)?\)|, log axis|log axis, ")

# What spreadsheets take for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body style="margin: 1rem; font-family: sans-serif">
{chart}
<p>{alt}</p>
</body>
</html>
"""


@dataclass(frozen=True)
class Table:
    """A figure's values in long form.

    columns: "series" is the name that the legend has, or "series 1", ... in the order of drawing; then come the axes by
        their titles, without a note that they are drawn as logarithms (of two axes with one title: "word (x)" and
        "word (y)"; of one without a title: "column" or "row"), the colour scale by its title, the names
        along an axis ("token: name"), what is written on a mark ("text"), and what else the hover says ("label", or
        what stands before it there). Names and labels are as in the picture, where long ones end with "…".
    rows: one for each point, bar or cell that is drawn; a histogram's are the numbers that it counts. None stands for
        what a trace does not have. Of an animation the rows are those of the frame that is shown first.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table(figure: go.Figure) -> Table:
    """The values of a figure."""
    rows = [row for number in range(len(figure.data)) for row in _rows(figure, number)]
    order = dict.fromkeys(name for row in rows for name in row)
    # Names and texts after the numbers that they belong to, though a first trace may have none.
    columns = sorted(order, key=lambda name: name.endswith(": name") or name in ("text", "label"))
    return Table(tuple(columns), tuple(tuple(row.get(name) for name in columns) for row in rows))


def to_csv(figure: go.Figure) -> str:
    """The table as CSV, fit for spreadsheets: marked as UTF-8, and an apostrophe before what would run as a formula."""
    values, out = table(figure), io.StringIO("\ufeff", newline="")
    out.seek(0, io.SEEK_END)
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_harmless(name) for name in values.columns])
    writer.writerows([[_harmless(cell) for cell in row] for row in values.rows])
    return out.getvalue()


def to_json(figure: go.Figure) -> str:
    """The table as JSON: {"title": str, "alt": str, "data": [{column: value, ...}, ...]}; null is what is not there."""
    values = table(figure)
    data = [dict(zip(values.columns, row, strict=True)) for row in values.rows]
    return json.dumps({**figure.layout.meta, "data": data}, ensure_ascii=False, allow_nan=False)


def to_html(figure: go.Figure) -> str:
    """The figure as a web page: 5 MB, for plotly.js is in it, so that it can be opened from a disk, offline."""
    whole = go.Figure(figure)
    whole.update_layout(template="plotly_white")
    config = {
        "displaylogo": False,
        "showSendToCloud": False,  # plotly's own button would send the figure to its makers
        "responsive": True,
        "toImageButtonOptions": image_options(figure),
    }
    meta = {name: html.escape(text) for name, text in figure.layout.meta.items()}
    return PAGE.format(chart=whole.to_html(config=config, full_html=False, include_plotlyjs=True), **meta)


def untitled(figure: go.Figure) -> str:
    """The figure itself as JSON, for a page that has the title as text above it and colours of its own."""
    spec = figure.to_dict()
    layout: dict[str, Any] = spec["layout"]
    layout["margin"] = layout["margin"] | {"t": layout["margin"]["t"] - TITLE_HEIGHT}
    layout["height"] = height_untitled(figure)
    for name in ("template", "title", "meta"):
        layout.pop(name, None)
    return str(to_json_plotly(spec))


def height_untitled(figure: go.Figure) -> int:
    """Pixels of a figure without its title."""
    return int(figure.layout.height) - TITLE_HEIGHT


def file_name(figure: go.Figure) -> str:
    """A name for the figure's files, without ending, that every system takes: words of its title."""
    return safe_name(figure.layout.meta["title"].lower()) or "chart"


def safe_name(*texts: str) -> str:
    """A file's name, without ending, of the words of some texts; empty where they have none."""
    return "-".join(word for text in texts for word in re.findall(r"\w+", text))[:LONGEST_NAME].strip("-")


def image_options(figure: go.Figure) -> dict[str, Any]:
    """Settings for a picture of the figure, as plotly's toolbar takes it."""
    return {"format": "png", "scale": 2, "filename": file_name(figure)}


def _rows(figure: go.Figure, number: int) -> Iterator[dict[str, Cell]]:
    """The rows of one trace, as column: value."""
    trace = figure.data[number]
    axes = [figure.layout[_axis(trace, letter)] for letter in "xy"]
    x, y = _axis_names(figure, *axes)
    drawn = _grid(trace, x, y) if isinstance(trace, GRIDS) else _points(trace, x, y)
    n = len(next(iter(drawn.values())))
    columns = _said(trace, n) | drawn
    for name, axis in zip((x, y), axes, strict=True):
        if axis.ticktext and name in drawn:
            names = dict(zip(_cells(axis.tickvals), map(_text, axis.ticktext), strict=True))
            columns[f"{name}: name"] = [names.get(cell) for cell in drawn[name]]
    columns = {"series": [_text(trace.name or f"series {number + 1}")] * n} | drawn | columns
    for row in zip(*columns.values(), strict=True):
        cells = dict(zip(columns, row, strict=True))
        if all(cells[name] is not None for name in drawn):
            yield cells


def _grid(trace: Any, x: str, y: str) -> dict[str, Sequence[Cell]]:
    """Columns of the cells of a heatmap, row by row."""
    z = np.asarray(trace.z)
    across = _cells(range(z.shape[1]) if trace.x is None else trace.x)
    down = _cells(range(z.shape[0]) if trace.y is None else trace.y)
    value = _text(trace.colorbar.title.text or "value")
    return {x: across * len(down), y: [place for place in down for _ in across], value: _cells(z)}


def _points(trace: Any, x: str, y: str) -> dict[str, Sequence[Cell]]:
    """Columns of points or bars, and of the numbers that a histogram counts, which have no y."""
    return {name: _cells(own) for name, own in ((x, trace.x), (y, trace.y)) if own is not None}


def _axis(trace: Any, letter: str) -> str:
    """The name in the layout of the axis that a trace is drawn on: "xaxis2" for "x2"."""
    return f"{letter}axis{(trace[f'{letter}axis'] or letter)[1:]}"


def _axis_names(figure: go.Figure, x_axis: Any, y_axis: Any) -> tuple[str, str]:
    """What two axes are called; of several that share a title it stands at the first only."""
    firsts = figure.layout.xaxis, figure.layout.yaxis
    titles = (
        axis.title.text or first.title.text or place
        for axis, first, place in zip((x_axis, y_axis), firsts, ("column", "row"), strict=True)
    )
    x, y = (LOG.sub("", _text(title)) for title in titles)
    return (x, y) if x != y else (f"{x} (x)", f"{y} (y)")


def _said(trace: Any, n: int) -> dict[str, Sequence[Cell]]:
    """What is written on a trace's n marks, and what their hovers say besides."""
    columns: dict[str, Sequence[Cell]] = {}
    if isinstance(trace.text, str):
        columns["text"] = [_text(trace.text)] * n
    elif trace.text is not None:
        columns["text"] = _cells(trace.text)
    if trace.customdata is not None:
        custom = np.asarray(trace.customdata, dtype=object).reshape(n, -1)
        for before, place in CUSTOM.findall(trace.hovertemplate or ""):
            name = "" if before.endswith(": ") else before.strip(" :")
            columns[name or "label"] = _cells(custom[:, int(place or 0)])
    return columns


def _cells(values: Any) -> list[Cell]:
    """Numbers and texts in the order of drawing; None for what is no number."""
    flat = np.asarray(values) if isinstance(values, np.ndarray | range) else np.array(values, dtype=object)
    return [_cell(value) for value in flat.ravel().tolist()]


def _cell(value: Any) -> Cell:
    if isinstance(value, str):
        return _text(value)
    if value is None or not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _text(label: str) -> str:
    """A label without plotly's markup: figures hold what a visitor typed escaped."""
    return html.unescape(label.replace("<br>", " "))


def _harmless(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell.startswith(FORMULA) and not _is_number(cell):
        return "'" + cell
    return cell


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

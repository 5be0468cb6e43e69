"""What values look like in a notebook (HTML) and in a terminal: strips of tokens, tables, small maps.

Everything that is handed in is text or numbers; all text is escaped here. No scripts and no colours of our own, so that
it looks right on light and dark pages, and in a notebook that is only read.
"""

from collections.abc import Sequence
from html import escape

from torch import Tensor

Row = Sequence[str]

FAINTEST = 0.01  # of the weights that a map draws

_CHIP = (
    "display:inline-block;margin:1px 2px;padding:1px 5px;border:1px solid rgba(128,128,128,.5);border-radius:4px;"
    "font-family:monospace;white-space:pre"
)
_MAP = "width:96px;height:96px;border:1px solid rgba(128,128,128,.5)"


def text_table(headers: Row, rows: Sequence[Row]) -> str:
    """A table for a terminal. The last column, of free text, begins at the left; the others end at the right."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    lines = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]])
        for row in (headers, *rows)
    ]
    return "\n".join(lines)


def html_table(headers: Row, rows: Sequence[Row]) -> str:
    """The same for a notebook."""
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[:-1])
        + f'<td style="text-align:left"><code>{escape(row[-1])}</code></td></tr>'
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def strip(labels: Sequence[str], tips: Sequence[str], more: str = "") -> str:
    """Tokens in a row, each with a tip that shows when the pointer rests on it. more: what stands after the last."""
    chips = [
        f'<span style="{_CHIP}" title="{escape(tip)}">{escape(label)}</span>'
        for label, tip in zip(labels, tips, strict=True)
    ]
    return f"<div>{''.join(chips)} {escape(more)}</div>"


def shapes(values: dict[str, tuple[str, Tensor]]) -> list[Row]:
    """Rows for a table of tensors. values: by name, the names of the axes ("head, position") and the tensor."""
    return [
        (name, ", ".join(f"{axis} {size:,}" for axis, size in zip(axes.split(", "), tensor.shape, strict=True)))
        for name, (axes, tensor) in values.items()
    ]


def maps(patterns: Tensor, name: str) -> str:
    """Small pictures of weights from 0 to 1, one beside the other: the larger, the darker (on dark pages: lighter).

    patterns: float [map, row, column]; name: of one of them, which its number follows
    """
    return "".join(
        f'<figure style="display:inline-block;margin:4px"><svg style="{_MAP}" role="img" '
        f'aria-label="{escape(name)} {index}" viewBox="0 0 {len(rows)} {len(rows)}" shape-rendering="crispEdges" '
        f'fill="currentColor">{_cells(rows)}</svg><figcaption>{escape(name)} {index}</figcaption></figure>'
        for index, rows in enumerate(patterns.tolist())
    )


def _cells(rows: Sequence[Sequence[float]]) -> str:
    return "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" opacity="{weight:.2f}"/>'
        for y, row in enumerate(rows)
        for x, weight in enumerate(row)
        if weight >= FAINTEST
    )

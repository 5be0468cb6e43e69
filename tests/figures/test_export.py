"""What is taken away of a figure holds what the figure shows, and is safe to open."""

import csv
import io
import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest

import gemma_viz as gv
from gemma_viz.figures import attention as draw
from gemma_viz.figures import export, style
from gemma_viz.stages import attention
from tests.figures.drawn import all_figures


@pytest.fixture(scope="module")
def figures(embedded: gv.Model) -> dict[str, go.Figure]:
    return all_figures(embedded.capture("I want to move"), 2)


def read_csv(figure: go.Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.to_csv(figure).removeprefix("\ufeff"))))


def bars(**options: object) -> go.Figure:
    figure = go.Figure(go.Bar(**options))
    return style.finish(figure, title="Bars of a test", x="token", y="size", alt="Some bars.")


def drawn(figure: go.Figure) -> int:
    """How many values a figure draws, counted without the export."""
    n = 0
    for trace in figure.data:
        if trace.type in ("heatmap", "contour"):
            n += int(np.isfinite(np.asarray(trace.z, float)).sum())
        elif trace.type == "histogram":
            n += len(trace.x)
        else:
            n += sum(not {x, y} & {None} and x == x and y == y for x, y in zip(trace.x, trace.y, strict=True))
    return n


def test_every_figure_has_a_row_for_each_value_that_is_drawn(figures: dict[str, go.Figure]) -> None:
    for name, figure in figures.items():
        assert len(export.table(figure).rows) == drawn(figure) > 0, name


def test_csv_and_json_hold_the_same_table(figures: dict[str, go.Figure]) -> None:
    for name, figure in figures.items():
        rows, taken = read_csv(figure), json.loads(export.to_json(figure))
        assert (taken["title"], taken["alt"]) == (figure.layout.meta["title"], figure.layout.meta["alt"]), name
        assert len(rows) == len(taken["data"]), name
        for from_csv, from_json in zip(rows, taken["data"], strict=True):
            for (column, text), value in zip(from_csv.items(), from_json.values(), strict=True):
                assert text.lstrip("'") == ("" if value is None else str(value)).lstrip("'"), (name, column)


def test_columns_are_called_as_the_axes_and_no_two_alike(figures: dict[str, go.Figure]) -> None:
    for name, figure in figures.items():
        columns = export.table(figure).columns
        assert columns[0] == "series"
        assert len(set(columns)) == len(columns), name
        first = figure.layout.xaxis.title.text.split(" (log")[0].split(", log")[0].split("(log")[0]
        assert any(column.startswith(first) for column in columns), name
        assert not [column for column in columns if column in ("x", "y") or "log axis" in column], name


def test_a_pattern_comes_out_with_the_model_s_own_numbers_and_tokens(embedded: gv.Model) -> None:
    cap = embedded.capture("I want <b> to move")
    labels = [token.label for token in cap.tokens]
    pattern = cap.attention(5).pattern[1].numpy()
    rows = read_csv(draw.pattern(attention.head(cap, 5, 1, 3), labels, 3))
    assert len(rows) == len(cap) * (len(cap) + 1) // 2, "what the mask hides is not drawn"
    for row in rows:
        query, key = int(row["query: the token that looks"]), int(row["key: the token looked at"])
        assert float(row["weight"]) == pattern[query, key]
        assert row["query: the token that looks: name"] == labels[query]
        assert row["label"] == f"{query} {labels[query]} looks at {key} {labels[key]}"


def test_numbers_that_only_the_hover_says_get_its_words(figures: dict[str, go.Figure]) -> None:
    assert {"score", "length of the value"} <= set(export.table(figures["attention.reads"]).columns)
    assert "logit" in export.table(figures["output.next_tokens"]).columns


def test_an_animation_gives_what_is_shown_first(figures: dict[str, go.Figure]) -> None:
    figure = figures["rope.rotation"]
    hand = [row for row in read_csv(figure) if row["series"] == "hand, q after"]
    assert [float(row["first component of the pair"]) for row in hand] == list(figure.data[5].x)


@pytest.mark.parametrize("text", ["=1+1", "+cat", "-x", "@a", "\tb", "\rc"])
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    (row,) = read_csv(bars(x=[text], y=[-1.5], text=["+0.25"]))
    assert row == {"series": "series 1", "token": f"'{text}", "size": "-1.5", "text": "+0.25"}
    (taken,) = json.loads(export.to_json(bars(x=[text], y=[-1.5])))["data"]
    assert taken["token"] == text, "only a spreadsheet needs it"


def test_quotes_commas_and_line_ends_stay_in_their_cell() -> None:
    texts = ['a "b", c', "d\ne", "<br>", "&amp;"]
    rows = read_csv(bars(x=[style.plain(text) for text in texts], y=[1, 2, 3, 4]))
    assert [row["token"] for row in rows] == texts


def test_what_is_no_number_is_not_drawn_and_not_taken() -> None:
    figure = bars(x=["a", "b", "c"], y=np.array([1, np.nan, np.inf]))
    assert len(read_csv(figure)) == 1
    assert len(json.loads(export.to_json(figure))["data"]) == 1
    assert export.table(bars(x=[], y=[])).rows == ()


def test_a_web_page_holds_the_figure_and_asks_for_nothing(figures: dict[str, go.Figure]) -> None:
    page = export.to_html(figures["attention.pattern"])
    assert "This head" in re.search("<title>(.*)</title>", page)[1]  # type: ignore[index]
    assert "looks most at &lt;bos&gt;" in page
    assert "Plotly.newPlot" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)


def test_a_web_page_takes_no_token_for_markup(embedded: gv.Model) -> None:
    hostile = "</script><script>alert(1)</script><img src=x>"
    cap = embedded.capture(hostile)
    for figure in all_figures(cap, len(cap) - 1).values():
        figure.layout.meta = {name: text + hostile for name, text in figure.layout.meta.items()}
        own = export.to_html(figure).replace(PLOTLY_JS, "")
        assert "<img" not in own
        assert "alert(1)</script>" not in own


PLOTLY_JS = go.Figure().to_html(full_html=False).split("Plotly.newPlot")[0].split("<script type", 1)[0]


def test_a_figure_is_not_changed_by_being_taken_away(figures: dict[str, go.Figure]) -> None:
    figure = figures["output.next_tokens"]
    before = figure.to_json()
    for make in (export.to_csv, export.to_json, export.to_html, export.untitled):
        make(figure)
    assert figure.to_json() == before


def test_without_its_title_a_figure_leaves_no_room_for_it(figures: dict[str, go.Figure]) -> None:
    for figure in figures.values():
        untitled = go.Figure(json.loads(export.untitled(figure)))
        assert not untitled.layout.title.text
        assert untitled.layout.height == export.height_untitled(figure) < figure.layout.height
        assert figure.layout.margin.t - untitled.layout.margin.t == figure.layout.height - untitled.layout.height
        assert [trace.type for trace in untitled.data] == [trace.type for trace in figure.data]


def test_files_are_named_after_the_title() -> None:
    figure = bars(x=[1], y=[1])
    assert export.file_name(figure) == "bars-of-a-test"
    figure.layout.meta = {"title": "../../ᚠ <b>: “q · k” " + "long " * 40}
    assert re.fullmatch(r"[\w-]{1,60}", export.file_name(figure))
    figure.layout.meta = {"title": "…"}
    assert export.file_name(figure) == "chart"


def test_a_name_of_several_texts_is_short_and_holds_words_only() -> None:
    assert export.safe_name("walk", "Gemma 3 270M (embedded)", "../I want\n<to> move") == (
        "walk-Gemma-3-270M-embedded-I-want-to-move"
    )
    assert len(export.safe_name("walk", "long " * 40)) <= 60
    assert export.safe_name("…") == ""

"""Whether the simulated visitors notice what a person would, and behave the same each time."""

import json
from collections.abc import Sequence
from random import Random

import plotly.graph_objects as go
import pytest
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.load import percentile
from benchmarks.load_session import STRIP, Tab, read
from benchmarks.load_visitors import BUSY, FAILED, MIXED, OK, WORKSHEET, Crowd, Plan, Visitor, judge
from gemma_viz.figures.style import token_axis
from gemma_viz.model import Model

TOKENS = ("<bos>", "I", "␣want", "␣to", "␣move")
HERS = "I want to move"


def page(
    prompt: str = HERS, tokens: Sequence[str] = TOKENS, axis: Sequence[str] = TOKENS, whole: bool = True
) -> list[Element]:
    """What tells whose page it is."""
    box, strip, chart, foot = Element(), Element(), Element(), Element()
    box.text_area.label, box.text_area.id, box.text_area.default = "Prompt", "box", prompt
    strip.bidi_component.component_name = STRIP
    strip.bidi_component.json = json.dumps({"tokens": [{"text": text} for text in tokens]})
    chart.plotly_chart.spec = go.Figure(layout={"yaxis": token_axis(["a"]), "xaxis": token_axis(axis)}).to_json()
    foot.markdown.body = "every number is from this model's run on this prompt" if whole else "…"
    return [box, strip, chart, foot]


def alert(sentence: str) -> Element:
    return Element(alert=Alert(body=sentence, format=Alert.ERROR))


def outcome(elements: list[Element], links: Sequence[str] = (HERS,)) -> str:
    return judge(read(elements), HERS, list(links))[0]


def test_a_page_of_the_visitors_own_prompt_is_fine() -> None:
    assert read(page()).axes == (("&lt;bos&gt;", *TOKENS[1:]),)
    assert outcome(page()) == OK


@pytest.mark.parametrize(
    "elements",
    [
        page(prompt="The cat"),
        page(tokens=("<bos>", "The", "␣cat")),
        page(axis=("<bos>", "The", "␣cat")),
    ],
)
def test_a_page_of_another_prompt_is_mixed_up_wherever_it_shows(elements: list[Element]) -> None:
    assert outcome(elements) == MIXED


def test_a_link_to_another_prompt_is_mixed_up() -> None:
    assert outcome(page(), links=[HERS, "The cat"]) == MIXED


def test_busy_is_told_apart_from_failure() -> None:
    box = page()[:1]
    assert outcome([*box, alert("The server is busy just now; try again.")]) == BUSY
    assert outcome([*box, alert("The text holds lone surrogates.")]) == FAILED
    assert outcome(page(whole=False)) == FAILED


def test_a_message_that_was_kept_is_shown_in_the_place_of_its_reference() -> None:
    tab = Tab("http://nowhere", "")
    first = ForwardMsg(hash="abc")
    first.metadata.cacheable = True
    first.metadata.delta_path.extend([0, 1])
    first.delta.new_element.markdown.body = "a long text"
    tab._whole(first)
    again = ForwardMsg(ref_hash="abc")
    again.metadata.delta_path.extend([0, 2])
    whole = tab._whole(again)
    assert whole.delta.new_element.markdown.body == "a long text"
    assert list(whole.metadata.delta_path) == [0, 2]


def test_the_worksheet_comes_back_from_its_tokens(embedded: Model) -> None:
    for prompt in WORKSHEET:
        assert "".join(token.text for token in embedded.capture(prompt).tokens[1:]) == prompt


def test_a_seed_makes_the_same_visitor() -> None:
    def prompts(seed: int) -> list[str]:
        visitor = Visitor(Crowd(Plan("http://nowhere", 1, 1, 1)), "0.0", Random(seed))
        return [visitor._draw_prompt() for _ in range(20)]

    assert prompts(1) == prompts(1) != prompts(2)


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.95) == 95
    assert percentile([3.0], 0.95) == 3

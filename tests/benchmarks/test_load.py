"""Whether the simulated visitors notice what a person would."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import parse_qs, urlencode

import plotly.graph_objects as go
import pytest
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.load import percentile, times
from benchmarks.load_session import FIGURE, STRIP, read
from benchmarks.load_visitors import (
    BACK,
    BUSY,
    FAILED,
    LOST,
    MIXED,
    OK,
    WALK,
    WORKSHEET,
    Crowd,
    Plan,
    Record,
    judge,
    outcomes,
)
from gemma_viz.figures.style import token_axis
from gemma_viz.model import Model

HERS = "I want to move"
FOOT = "every number is from this model's run on this prompt"
PLAN = Plan("", visitors=2, seconds=60, think=0, actions=40, patience=5)


def strip_of(prompt: str) -> list[str]:
    """Tokens as the app writes them, here one a word."""
    first, *rest = prompt.split(" ")
    return ["<bos>", first, *(f"␣{word}" for word in rest)]


def page(prompt: str = HERS, strip: str = HERS, axis: str = HERS, whole: bool = True) -> list[Element]:
    """What tells whose page it is."""
    box, tokens, chart, foot = Element(), Element(), Element(), Element()
    box.text_area.label, box.text_area.id, box.text_area.default = "Prompt", "box", prompt
    tokens.bidi_component.component_name = STRIP
    tokens.bidi_component.json = json.dumps({"tokens": [{"text": text} for text in strip_of(strip)]})
    axes = {"yaxis": token_axis(["a"]), "xaxis": token_axis(strip_of(axis))}
    chart.bidi_component.component_name = FIGURE
    chart.bidi_component.json = json.dumps({"figure": go.Figure(layout=axes).to_json()})
    foot.markdown.body = FOOT if whole else "…"
    return [box, tokens, chart, foot]


def alert(sentence: str) -> Element:
    return Element(alert=Alert(body=sentence, format=Alert.ERROR))


def outcome(elements: list[Element], links: Sequence[str] = (HERS,)) -> str:
    return judge(read(elements), HERS, list(links))[0]


def test_a_page_of_the_visitors_own_prompt_is_fine() -> None:
    assert outcome(page()) == OK


def test_an_axis_of_the_prompt_s_first_tokens_is_fine() -> None:
    assert HERS.startswith(beginning := HERS.rpartition(" ")[0])
    assert outcome(page(axis=beginning)) == OK


@pytest.mark.parametrize("place", ["prompt", "strip", "axis"])
def test_a_page_of_another_prompt_is_mixed_up_wherever_it_shows(place: str) -> None:
    assert outcome(page(**{place: "The cat sat down"})) == MIXED


def test_a_link_to_another_prompt_is_mixed_up() -> None:
    assert outcome(page(), links=[HERS, "The cat"]) == MIXED


def test_busy_is_told_apart_from_failure() -> None:
    box = page()[:1]
    assert outcome([*box, alert("The model is busy. Try again in a moment.")]) == BUSY
    assert outcome([*box, alert("Something went wrong. Try again.")]) == FAILED
    assert outcome(page(whole=False)) == FAILED


class App:
    """An app that speaks as Streamlit does, to visitors of whom each has a prompt.

    shown: the prompt that its n-th page shows, from the one that it was asked for; None: the connection breaks instead
    """

    def __init__(self, shown: Callable[[int, str], str | None] = lambda n, prompt: prompt):
        self._shown = shown
        self._n_pages = 0
        self.referred = 0

    async def serve(self, socket: ServerConnection) -> None:
        async for data in socket:
            request = BackMsg.FromString(data).rerun_script
            prompt = parse_qs(request.query_string)["prompt"][0]
            prompt = request.widget_states.widgets[0].string_value if request.widget_states.widgets else prompt
            shown = self._shown(self._n_pages, prompt)
            self._n_pages += 1
            if shown is None:
                await socket.close()
                return
            for message in self._run(urlencode({"prompt": shown}), request.cached_message_hashes):
                await socket.send(message.SerializeToString())

    def _run(self, query: str, kept: Sequence[str]) -> list[ForwardMsg]:
        first, last = ForwardMsg(), ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY)
        for path in WALK:
            first.navigation.app_pages.add(page_script_hash=f"hash of {path}", url_pathname=path)
        address = ForwardMsg()
        address.page_info_changed.query_string = query
        links = [Element() for _ in WALK]
        for link, path in zip(links, WALK, strict=True):
            link.page_link.page_script_hash, link.page_link.query_string = f"hash of {path}", query
        prompt = parse_qs(query)["prompt"][0]
        deltas = [ForwardMsg() for _ in [*links, *page(prompt, prompt, prompt)]]
        for place, (delta, element) in enumerate(zip(deltas, [*links, *page(prompt, prompt, prompt)], strict=True)):
            delta.delta.new_element.CopyFrom(element)
            delta.metadata.delta_path.append(place)
            delta.metadata.cacheable = element.bidi_component.component_name == FIGURE
            delta.hash = f"{element.WhichOneof('type')} of {prompt}"
            if delta.hash in kept and delta.metadata.cacheable:
                delta.ref_hash = delta.hash
                self.referred += 1
        return [first, address, *deltas, last]


def crowd(app: App, plan: Plan = PLAN) -> Record:
    """What visitors of an app did."""

    async def run() -> Record:
        async with serve(app.serve, "localhost", 0, subprotocols=["streamlit"]) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            return await Crowd(replace(plan, server=f"http://localhost:{port}")).run()

    return asyncio.run(run())


def test_visitors_of_a_sound_app_see_their_own_pages() -> None:
    app = App()
    record = crowd(app)
    assert outcomes(record.actions) == {OK: 40}
    assert record.drops == 0
    assert app.referred > 0  # some large messages were sent as a hash
    assert all(action.n_bytes > 1000 for action in record.actions)


def test_a_page_of_somebody_else_is_noticed() -> None:
    record = crowd(App(lambda n, prompt: "Somebody else's" if n == 7 else prompt))
    assert outcomes(record.actions)[MIXED] >= 1


def test_after_a_broken_connection_a_visitor_comes_back_to_the_address() -> None:
    record = crowd(App(lambda n, prompt: None if n == 7 else prompt))
    assert record.drops == 1
    assert [action.outcome for action in record.actions if action.kind == BACK] == [OK]
    assert outcomes(record.actions) == {OK: 40}


def test_who_gets_no_page_in_time_has_lost_it() -> None:
    class Silent(App):
        async def serve(self, socket: ServerConnection) -> None:
            await socket.wait_closed()

    record = crowd(Silent(), replace(PLAN, actions=2, patience=0.2))
    assert outcomes(record.actions) == {LOST: 2}
    assert times(record.actions, "open") == "–"


def test_a_seed_makes_the_same_visitors() -> None:
    def prompts(seed: int) -> list[str]:
        return [action.prompt for action in crowd(App(), replace(PLAN, visitors=1, seed=seed)).actions]

    assert prompts(1) == prompts(1) != prompts(2)


def test_the_worksheet_comes_back_from_its_tokens(embedded: Model) -> None:
    for prompt in WORKSHEET:
        assert "".join(token.text for token in embedded.capture(prompt).tokens[1:]) == prompt


def test_percentiles() -> None:
    assert percentile([float(value) for value in range(1, 101)], 0.95) == 95
    assert percentile([3.0], 0.95) == 3

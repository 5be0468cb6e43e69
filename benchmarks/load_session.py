"""One browser tab as the server sees it: Streamlit's websocket protocol, without anybody who looks at the page.

The server sends a run of a page as some hundred protobuf messages and ends it with `script_finished`. Like Streamlit's
frontend a tab keeps large messages for a few runs and names them with its next request; the server then sends their
hash instead.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

STRIP, FIGURE = "gemma_viz_token_strip", "gemma_viz_figure"
FOOT = "every number is from"  # stands under every page that was drawn to its end
RUNS_KEPT = 2  # `global.maxCachedMessageAge`
TOKEN_AXIS = '"ticktext":["&lt;bos&gt;"'
ANSWER = re.compile(r"After .*, token (\d+), the model expects (.+) with .*%\.")

Path = tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    """What a page shows when its run is over, as far as it tells whose it is.

    prompt: what the prompt box holds; box: id of its widget; sliders: ids of all sliders
    tokens: texts of the token strip, none where the page stopped above it
    axes: the same of the axes of charts that begin at <bos>
    links: the addresses that the links to other pages hold, by the page's hash
    alerts: all boxes with a sentence; errors: the red ones and exceptions
    answer: the position of the selected token and the likeliest next one in words, on the Overview
    whole: whether the page was drawn to its end
    n_bytes, n_messages: what was received
    """

    prompt: str | None = None
    box: str = ""
    sliders: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    axes: tuple[tuple[str, ...], ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    alerts: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    answer: tuple[int, str] | None = None
    whole: bool = False
    n_bytes: int = 0
    n_messages: int = 0


def read(elements: Iterable[Element], n_bytes: int = 0, n_messages: int = 0) -> Shown:
    """Find in a page's elements what tells whose page it is."""
    found: dict[str, Any] = {"n_bytes": n_bytes, "n_messages": n_messages, "links": {}}
    alerts, errors, axes, sliders = [], [], [], []
    for element in elements:
        match element.WhichOneof("type"):
            case "text_area" if element.text_area.label == "Prompt":
                found |= {"prompt": element.text_area.default, "box": element.text_area.id}
            case "slider":
                sliders.append(element.slider.id)
            case "page_link":
                found["links"].setdefault(element.page_link.page_script_hash, element.page_link.query_string)
            case "bidi_component" if element.bidi_component.component_name == STRIP:
                found["tokens"] = tuple(token["text"] for token in json.loads(element.bidi_component.json)["tokens"])
            case "bidi_component" if element.bidi_component.component_name == FIGURE:
                axes += _token_axes(json.loads(element.bidi_component.json)["figure"])
            case "alert":
                alerts.append(element.alert.body)
                if element.alert.format == Alert.ERROR:
                    errors.append(element.alert.body)
            case "exception":
                errors.append(f"{element.exception.type}: {element.exception.message}")
            case "markdown":
                body = element.markdown.body
                found["whole"] = found.get("whole", False) or FOOT in body
                if answer := ANSWER.match(body):
                    found["answer"] = int(answer[1]), answer[2]
    lists = {"alerts": alerts, "errors": errors, "axes": axes, "sliders": sliders}
    return Shown(**found, **{name: tuple(values) for name, values in lists.items()})


def _token_axes(spec: str) -> list[tuple[str, ...]]:
    """The token texts along the axes of a chart's JSON, which is not read as a whole: it can be large."""
    starts = [match.end() for match in re.finditer('"ticktext":', spec)] if TOKEN_AXIS in spec else []
    axes = [json.JSONDecoder().raw_decode(spec, start)[0] for start in starts]
    # Where two prompts are compared, "≠" stands between the tokens that differ: such an axis is of neither.
    return [tuple(axis) for axis in axes if axis[:1] == ["&lt;bos&gt;"] and not any("≠" in text for text in axis)]


def text_of(tokens: Iterable[str]) -> str:
    """The prompt that the tokens of a strip or an axis make, <bos> left out."""
    return "".join(list(tokens)[1:]).replace("␣", " ")


def whose(shown: Shown, prompt: str, prompts_in_links: Iterable[str]) -> list[str]:
    """What on the page is of another prompt than this; nothing if all is well."""
    seen = [("the prompt box", shown.prompt), ("the token strip", text_of(shown.tokens))]
    # What is read by a token in the middle of the prompt has an axis of the tokens up to there.
    seen += [("an axis", text) for text in map(text_of, shown.axes) if not prompt.startswith(text)]
    seen += [("a link", text) for text in prompts_in_links]
    return [f"{place} shows {text!r}, not {prompt!r}" for place, text in seen if text != prompt]


class UnknownReference(Exception):
    """The server refers to a message that this tab does not have."""


class Tab:
    """A connection to the server, and what the browser keeps of it: the address, the session's id, large messages.

    query: what stands behind the ? of the address
    pages: hashes of the pages by their path in the address; page: the present one's hash
    session: its id, with which a connection that broke can be taken up again
    """

    def __init__(self, server: str, query: str):
        self._stream = f"ws{server.removeprefix('http').rstrip('/')}/_stcore/stream"
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(server))
        self._socket: ClientConnection | None = None
        self._kept: dict[str, ForwardMsg] = {}
        self._last_used: dict[str, int] = {}
        self._runs = 0
        self.session = ""
        self.query = query
        self.page = ""
        self.pages: dict[str, str] = {}

    async def connect(self) -> None:
        """Connect, or connect again to the same session if the server still has it."""
        protocols = ["streamlit", "PLACEHOLDER_AUTH_TOKEN", *filter(None, [self.session])]
        self._socket = await connect(
            self._stream,
            origin=self._origin,
            subprotocols=protocols,
            max_size=None,
            compression=None,
            open_timeout=None,  # how long to wait is for the visitor to say
            ping_interval=None,
            close_timeout=1,
        )
        self._kept, self._last_used = {}, {}  # they belong to the connection, as in the browser

    async def close(self) -> None:
        """Leave, as a tab that is closed."""
        if self._socket:
            await self._socket.close()

    def drop(self) -> None:
        """Be gone, as when the machine loses its network."""
        if self._socket:
            self._socket.transport.abort()

    async def run(
        self,
        page: str | None = None,
        path: str = "",
        query: str | None = None,
        widgets: Iterable[WidgetState] = (),
        history: bool = False,
    ) -> Shown:
        """Ask for a run and receive it to its end.

        page: hash of the page, the present one unless given; path: the page's in the address, if the hash is not known
        query: the new address, if the visitor went there; history: by Back or Forward
        """
        message = BackMsg()
        request = message.rerun_script
        self.query = self.query if query is None else query
        request.query_string = self.query
        request.page_script_hash = self.page if page is None else page
        request.page_name = path
        request.is_history_navigation = history
        request.widget_states.widgets.extend(widgets)
        request.cached_message_hashes.extend(self._kept)
        await self.send(message.SerializeToString())
        return await self.received()

    async def send(self, data: bytes | str) -> None:
        """Send anything."""
        assert self._socket, "not connected"
        await self._socket.send(data)

    async def received(self) -> Shown:
        """What a run shows that was asked for."""
        assert self._socket, "not connected"
        elements: dict[Path, Element] = {}
        n_bytes = n_messages = 0
        while True:
            data = await self._socket.recv(decode=False)
            n_bytes, n_messages = n_bytes + len(data), n_messages + 1
            message = self._whole(ForwardMsg.FromString(data))
            match message.WhichOneof("type"):
                case "delta":
                    _place(elements, tuple(message.metadata.delta_path), message)
                case "new_session":
                    self.session = message.new_session.initialize.session_id
                    self.page = message.new_session.page_script_hash
                    elements.clear()
                case "navigation":
                    self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
                    self.page = message.navigation.page_script_hash
                case "page_info_changed":
                    self.query = message.page_info_changed.query_string
                case "page_not_found":
                    elements[-1,] = Element(alert=Alert(body="Page not found", format=Alert.ERROR))
                case "session_event" if message.session_event.HasField("script_compilation_exception"):
                    elements[-2,] = Element(exception=message.session_event.script_compilation_exception)
                case "script_finished" if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    break
        self._forget_old()
        return read(_visible(elements), n_bytes, n_messages)

    def _whole(self, message: ForwardMsg) -> ForwardMsg:
        """The message itself, or the one that it refers to, in the new one's place."""
        if message.WhichOneof("type") == "ref_hash":
            if message.ref_hash not in self._kept:
                raise UnknownReference(message.ref_hash)
            self._last_used[message.ref_hash] = self._runs
            kept = ForwardMsg()
            kept.CopyFrom(self._kept[message.ref_hash])
            kept.metadata.CopyFrom(message.metadata)
            return kept
        if message.metadata.cacheable and message.hash not in self._kept:
            self._kept[message.hash], self._last_used[message.hash] = message, self._runs
        return message

    def _forget_old(self) -> None:
        self._runs += 1
        for hash in [hash for hash, run in self._last_used.items() if self._runs - run > RUNS_KEPT]:
            del self._kept[hash], self._last_used[hash]


def _place(elements: dict[Path, Element], path: Path, message: ForwardMsg) -> None:
    kind = message.delta.WhichOneof("type")
    if kind == "new_element":
        elements[path] = message.delta.new_element
    elif kind == "add_block":
        elements.pop(path, None)


def _visible(elements: dict[Path, Element]) -> list[Element]:
    """Without those whose container was replaced by an element (`st.empty`)."""
    return [
        element
        for path, element in elements.items()
        if not any(path[:length] in elements for length in range(1, len(path)))
    ]

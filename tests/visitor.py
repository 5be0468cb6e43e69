"""A visitor without a browser: speaks Streamlit's own protocol over a websocket."""

from types import TracebackType

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

PATIENCE_SECONDS = 120


class Visitor:
    """One session. server: its address; headers: what a proxy or a hostile client adds."""

    def __init__(self, server: str, headers: dict[str, str] | None = None):
        address = server.replace("http", "ws", 1) + "/_stcore/stream"
        self.socket = connect(address, subprotocols=["streamlit"], additional_headers=headers or {}, max_size=None)  # type: ignore[list-item]

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def open(self, query: str = "", page: str = "") -> list[ForwardMsg]:
        """Run a page; everything that the server says until it is done."""
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        return self.send(message)

    def send(self, message: BackMsg) -> list[ForwardMsg]:
        """Ask for a run; everything that the server says until it is done."""
        self.socket.send(message.SerializeToString())
        return self.listen()

    def listen(self) -> list[ForwardMsg]:
        """Everything that the server says until a run of a page is done. Raises ConnectionClosed."""
        said = []
        while True:
            heard = ForwardMsg()
            heard.ParseFromString(self.socket.recv(timeout=PATIENCE_SECONDS))  # type: ignore[arg-type]
            said.append(heard)
            if heard.WhichOneof("type") == "script_finished":
                return said


def alerts(said: list[ForwardMsg]) -> list[str]:
    """The bodies of the boxes that a page has drawn."""
    elements = [message.delta.new_element for message in said if message.delta.HasField("new_element")]
    return [element.alert.body for element in elements if element.HasField("alert")]

"""Addresses that a person types: a page's name is found however it is written."""

from collections.abc import Iterable
from pathlib import Path

from gemma_viz.service.private import Asgi, Receive, Scope, Send

FIRST = "overview"  # the first page has the address without a name


def address(file: str) -> str:
    """The last part of a page's address, as Streamlit makes it of the page's file: "Attention"."""
    return Path(file).stem.partition("_")[2]


class ToPages:
    """ASGI middleware that sends /attention to /Attention, and /Overview to /, with all that the address asks for.

    Streamlit would say that there is no such page, and show the first one without the prompt.
    """

    def __init__(self, app: Asgi, pages: Iterable[str]):
        """pages: names in addresses, as `address` gives them."""
        self._app = app
        self._pages = {name.lower(): name for name in pages} | {FIRST: ""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls an app."""
        name = scope["path"].rpartition("/")[2] if scope["type"] == "http" and scope["method"] == "GET" else ""
        page = self._pages.get(name.lower(), name)
        if page == name:
            await self._app(scope, receive, send)
            return
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        location = (b"location", f"./{page}".encode() + query)  # relative, whatever a proxy has put before it
        await send({"type": "http.response.start", "status": 307, "headers": [location, (b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

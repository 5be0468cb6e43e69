"""What stands in the head of every page before the app draws anything: Streamlit has no place for that."""

from collections.abc import MutableMapping
from typing import Any

from gemma_viz.service.private import Asgi, Receive, Scope, Send

TITLE = b"<title>Streamlit</title>"  # in the one HTML file of Streamlit's, which every address of a page gets
# What would have it compressed, or answered with "as you have it already".
OF_A_CACHED_FILE = {b"accept-encoding", b"if-none-match", b"if-modified-since"}
OF_ANOTHER_BODY = {b"content-length", b"etag", b"last-modified"}


class InHead:
    """ASGI middleware that gives the app's HTML file a title, a style sheet, and the address of a script.

    A style sheet that the page itself sends comes after the first elements, which it then moves. The script is fetched
    while nothing else is, and run when a page asks for it.
    """

    def __init__(self, app: Asgi, title: str, style: str, script: str):
        """title, style, script: HTML-safe text, CSS and an address of ours, never a visitor's."""
        self._app = app
        ahead = f'<link rel="preload" as="script" fetchpriority="low" href="{script}">'
        self._head = f"<title>{title}</title><style>{style}</style>{ahead}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls an app."""
        if not _asks_for_a_page(scope):
            await self._app(scope, receive, send)
            return
        started: MutableMapping[str, Any] = {}
        body = bytearray()

        async def add(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            whole = bytes(body).replace(TITLE, self._head, 1)
            kept = [(name, value) for name, value in started["headers"] if name.lower() not in OF_ANOTHER_BODY]
            await send({**started, "headers": [*kept, (b"content-length", str(len(whole)).encode())]})
            await send({"type": "http.response.body", "body": whole})

        asked = [(name, value) for name, value in scope["headers"] if name.lower() not in OF_A_CACHED_FILE]
        await self._app({**scope, "headers": asked}, receive, add)


def _asks_for_a_page(scope: Scope) -> bool:
    """Whether a browser opens an address, other than a file to download."""
    if scope["type"] != "http" or scope["method"] != "GET" or "/media/" in scope["path"]:
        return False
    return any(name == b"accept" and value.startswith(b"text/html") for name, value in scope["headers"])

"""Addresses of the server that are for its operator only."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from gemma_viz.service.limits import origin
from gemma_viz.service.settings import settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class OnlyFromThisMachine:
    """ASGI middleware: to whoever asks from elsewhere, some paths are not there.

    Who comes through a proxy comes from where the proxy says in X-Forwarded-For, if the proxy is trusted.
    """

    def __init__(self, app: Asgi, paths: Sequence[str]):
        self._app, self._paths = app, tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls an app."""
        if scope["type"] != "http" or not scope["path"].endswith(self._paths) or _is_from_here(scope):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Not found"})


def _is_from_here(scope: Scope) -> bool:
    peer, _ = scope.get("client") or ("unknown", 0)
    forwarded_for = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    address = origin(peer, forwarded_for, settings().trusted_proxies)
    return address is not None and address.is_loopback

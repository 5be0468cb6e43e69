"""A large script on an address of its own."""

import gzip

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOR_GOOD = "public, max-age=31536000, immutable"


def script(address: str, text: str) -> Route:
    """A script that a browser fetches once, compressed once for all who ask.

    address: another one for another text, because browsers never ask again
    """
    plain = text.encode()
    packed = gzip.compress(plain)

    def answer(request: Request) -> Response:
        headers = {"Cache-Control": FOR_GOOD, "Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(plain, media_type="text/javascript", headers=headers)
        return Response(packed, media_type="text/javascript", headers=headers | {"Content-Encoding": "gzip"})

    return Route(f"/{address}", answer)

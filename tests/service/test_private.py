"""What of the server is for its operator only."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gemma_viz.service.private import OnlyFromThisMachine


def status(path: str, peer: str, forwarded_for: str | None = None) -> int:
    routes = [Route(name, lambda request: PlainTextResponse("here")) for name in ("/numbers", "/base/numbers", "/open")]
    app = OnlyFromThisMachine(Starlette(routes=routes), paths=("/numbers",))
    client = TestClient(app, client=(peer, 1234))  # type: ignore[arg-type]
    return client.get(path, headers={"X-Forwarded-For": forwarded_for} if forwarded_for else {}).status_code


@pytest.mark.parametrize("path", ["/numbers", "/base/numbers"])
def test_numbers_are_there_for_this_machine_only(path: str) -> None:
    assert status(path, "127.0.0.1") == 200
    assert status(path, "::1") == 200
    assert status(path, "::ffff:127.0.0.1") == 200
    assert status(path, "203.0.113.7") == 404
    assert status(path, "somewhere") == 404


def test_a_proxy_on_this_machine_does_not_open_them() -> None:
    assert status("/numbers", "127.0.0.1", forwarded_for="203.0.113.7") == 404
    assert status("/numbers", "203.0.113.7", forwarded_for="127.0.0.1") == 404, "nobody believes that"


def test_all_else_is_there_for_everyone() -> None:
    assert status("/open", "203.0.113.7") == 200

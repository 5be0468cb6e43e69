"""A script on an address of its own."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from gemma_viz.service.script import script

TEXT = "// “”\n" * 1000


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("identity", None)])
def test_a_script_comes_whole_and_is_kept_for_good(accepted: str, encoding: str | None) -> None:
    app = Starlette(routes=[script("s-1.js", TEXT)], middleware=[Middleware(GZipMiddleware)])
    response = TestClient(app).get("/s-1.js", headers={"Accept-Encoding": accepted})
    assert response.text == TEXT
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["content-type"].startswith("text/javascript")
    assert "immutable" in response.headers["cache-control"]

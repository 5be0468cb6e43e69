"""What stands in a page's head before the app draws."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gemma_viz.service.head import InHead

AHEAD = '<link rel="preload" as="script" fetchpriority="low" href="s.js">'
PAGE = f"<html><head><title>Streamlit</title></head><body>{'long ' * 1000}</body></html>"


def client() -> TestClient:
    answer = HTMLResponse(PAGE, headers={"ETag": "old"})
    routes = [Route(path, lambda request: answer, methods=["GET", "POST"]) for path in ("/Attention", "/media/a.html")]
    head = Middleware(InHead, title="Ours", style="b {}", script="s.js")
    return TestClient(Starlette(routes=routes, middleware=[head, Middleware(GZipMiddleware)]))


def test_a_page_has_its_title_and_style_before_anything_is_drawn() -> None:
    response = client().get("/Attention", headers={"Accept": "text/html,*/*", "If-None-Match": "old"})
    assert response.status_code == 200
    assert response.text == PAGE.replace("<title>Streamlit</title>", f"<title>Ours</title><style>b {{}}</style>{AHEAD}")
    assert int(response.headers["content-length"]) == len(response.content)
    assert "etag" not in response.headers, "the file may be as it was, and the style another"


@pytest.mark.parametrize(("path", "accept"), [("/Attention", "*/*"), ("/media/a.html", "text/html")])
def test_what_is_not_a_page_stays_as_it_is(path: str, accept: str) -> None:
    response = client().get(path, headers={"Accept": accept})
    assert response.text == PAGE
    assert response.headers["content-encoding"] == "gzip"

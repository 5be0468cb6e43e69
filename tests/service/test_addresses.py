"""Addresses that a person types."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gemma_viz.service.addresses import ToPages


@pytest.mark.parametrize(
    ("typed", "opened"),
    [
        ("/attention?prompt=a%20b&layer=2", "/Attention?prompt=a%20b&layer=2"),
        ("/TRANSFORMER_LAYER", "/Transformer_layer"),
        ("/base/mlp", "/base/MLP"),
        ("/Overview?prompt=a", "/?prompt=a"),
        ("/MLP?prompt=a", "/MLP?prompt=a"),
        ("/_stcore/health", "/_stcore/health"),
        ("/", "/"),
    ],
)
def test_a_page_is_found_however_its_name_is_written(typed: str, opened: str) -> None:
    served = Starlette(routes=[Route("/{rest:path}", lambda request: PlainTextResponse("here"))])
    response = TestClient(ToPages(served, ["Attention", "Transformer_layer", "MLP"])).get(typed)
    assert response.text == "here"
    assert str(response.url) == f"http://testserver{opened}"

"""Pages opened through Streamlit's own AppTest, on small models: no browser."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import torch
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox, TextArea

from tests.conftest import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]


FAMILIES = ("gemma1", "gemma2", "gemma3")


def open_page(page: str, **parameters: str) -> AppTest:
    app = AppTest.from_file(ROOT / "overview.py", default_timeout=60)
    for name, value in parameters.items():
        app.query_params[name] = value
    if page != "overview.py":
        app.switch_page(page)
    return app.run()


def said(app: AppTest) -> str:
    return " ".join(element.value for element in app.markdown)


def shown(app: AppTest) -> str:
    return " ".join(element.value for element in (*app.markdown, *app.caption))


def charts_of(app: AppTest) -> list[dict[str, Any]]:
    """What the page hands to its charts, in their order: figure (JSON), height, alt, image, …"""
    components = [element.proto for element in app.get("bidi_component")]
    return [json.loads(proto.json) for proto in components if proto.component_name == "gemma_viz_figure"]


def prompt_of(app: AppTest) -> TextArea:
    return next(area for area in app.text_area if area.label == "Prompt")


def model_of(app: AppTest) -> Selectbox:
    return next(box for box in app.selectbox if box.label == "Model")


def broken_checkpoint(folder: Path) -> Path:
    model = tiny_model("gemma3", len(tiny_tokenizer(bos=True)))
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    tiny_tokenizer(bos=True).save_pretrained(folder)
    return folder


def open_link(link: str, parameters: dict[str, str]) -> AppTest:
    page, _, query = link.partition("?")
    return open_page(page, prompt="the red cat", **parameters | dict(parse_qsl(query)))

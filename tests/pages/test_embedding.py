"""The Embedding page."""

from tests.pages.opened import open_page


def test_a_word_of_several_tokens_gets_a_sentence(offered: list[str]) -> None:
    for page, parameters in {
        "pages/2_Embedding.py": {"embedding": "near", "near": "zebra", "sum": "zebra + cat"},
        "pages/3_Transformer_layer.py": {"transformer_layer": "way", "follow": "zebra"},
        "pages/7_Output.py": {"output": "parts", "logit": "zebra"},
    }.items():
        app = open_page(page, **parameters)
        assert not app.exception
        assert any("no row" in info.value for info in app.info)

"""Links: what they hold, and what becomes of nonsense in them."""

import json
from base64 import b64decode

import numpy as np
import pytest

from gemma_viz.ui.page import PAGES
from tests.pages.opened import charts_of, open_link, open_page

SAMPLING = ("repetition", "temperature", "top_k", "top_p", "min_p", "seed")


CHOSEN = {
    "overview.py": ("model", "token"),
    "pages/1_Tokenization.py": ("merge", "smaller", "script", "kind", "from"),
    "pages/2_Embedding.py": ("embedding", "off"),
    "pages/2_Embedding.py?embedding=near": ("around",),
    "pages/3_Transformer_layer.py": ("layer", "transformer_layer", "which", "one", "off"),
    "pages/3_Transformer_layer.py?transformer_layer=norm": ("layer", "norm"),
    "pages/4_Attention.py": ("layer", "head", "attention", "sort", "rank", "off"),
    "pages/4_Attention.py?attention=query": ("heads", "key"),
    "pages/4_Attention.py?attention=moves": ("head",),
    "pages/4_Attention.py?attention=sharing": ("tokens",),
    "pages/4_Attention.py?attention=mask": ("head",),
    "pages/4_Attention.py?sort=first": ("least",),
    "pages/5_RoPE.py": ("pair", "rope"),
    "pages/5_RoPE.py?rope=distance": ("key", "shift"),
    "pages/5_RoPE.py?rope=wavelengths": ("key", "all_lengths"),
    "pages/5_RoPE.py?rope=shift": ("positions", "move"),
    "pages/5_RoPE.py?rope=shift&positions=stretch": ("stretch",),
    "pages/6_MLP.py": ("mlp", "mlp_off", "one"),
    "pages/6_MLP.py?mlp=neuron": ("neuron", "among"),
    "pages/6_MLP.py?mlp=alone": ("beside",),
    "pages/6_MLP.py?mlp=toy": ("toy_kind", "toy_seed", "toy", "toy_cut", "toy_neuron"),
    "pages/7_Output.py": ("output",),
    "pages/7_Output.py?output=choice": SAMPLING,
    "pages/7_Output.py?output=parts": ("compare",),
    "pages/8_Generation.py": (*SAMPLING, "new"),
}


TYPED = ("near", "sum", "words", "follow", "instead", "swap", "row", "logit", "less", "search")


@pytest.mark.parametrize("nonsense", ["nan", "-0.0.1", "1e999", "9" * 5000, "<b>x</b>"])
@pytest.mark.parametrize("link", CHOSEN)
def test_a_link_full_of_nonsense_opens_what_it_can_and_names_the_rest(
    offered: list[str], link: str, nonsense: str
) -> None:
    app = open_link(link, dict.fromkeys(CHOSEN[link], nonsense))
    assert not app.exception
    assert not app.error
    assert app.title[0].value == PAGES[link.partition("?")[0]]
    notes = [note.value for note in app.info]
    for name in CHOSEN[link]:
        said_so = any(f" {name} " in note or (name == link_part(link) and "has no part" in note) for note in notes)
        assert said_so, f"nothing is said of {name}: {notes}"
    assert not any("<b>" in note.replace("`<b>x</b>`", "") for note in notes), "it is shown as text"
    assert all(len(note) < 300 for note in notes)


def link_part(link: str) -> str:
    return link.partition("?")[0].partition("_")[2].removesuffix(".py").lower()


@pytest.mark.parametrize("text", ["", "9" * 5000, "\x00", "<b> = = -"])
@pytest.mark.parametrize("link", CHOSEN)
def test_boxes_take_any_text_of_a_link(offered: list[str], link: str, text: str) -> None:
    app = open_link(link, dict.fromkeys((*TYPED, *CHOSEN[link]), text))
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("page", PAGES)
def test_every_chart_can_be_taken_away_and_every_page_linked(offered: list[str], page: str) -> None:
    app = open_page(page)
    charts = charts_of(app)
    for switch in [toggle for toggle in app.toggle if toggle.label == "Table and files"]:
        switch.set_value(True)
    app.run()
    files = app.get("download_button")
    assert len(files) == 3 * len(charts)
    assert not any(file.proto.url for file in files), "nothing is made before it is asked for"
    for chart in charts:
        assert chart["image"]["filename"]
        assert chart["image"]["scale"] == 2
    assert len(app.get("bidi_component")) >= 2


def test_every_chart_can_be_read_as_a_table(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py")
    assert len(app.toggle) >= len(charts_of(app))
    n_tables = len(app.dataframe)
    app.toggle(key="next_table").set_value(True).run()
    assert len(app.dataframe) == n_tables + 1
    chart = next(chart for chart in charts_of(app) if chart["alt"].startswith("Bar chart of the likeliest next tokens"))
    bars = json.loads(chart["figure"])["data"][0]["x"]
    drawn = np.frombuffer(b64decode(bars["bdata"]), bars["dtype"])
    assert any(np.array_equal(drawn, table.value.get("probability", [])) for table in app.dataframe)


def test_a_chart_with_several_axes_has_a_table_for_each(offered: list[str]) -> None:
    app = open_page("pages/6_MLP.py", mlp="output")
    app.toggle(key="distributions_table").set_value(True).run()
    tables = [table.value for table in app.dataframe if "series" in table.value]
    assert [set(table["series"]) for table in tables] == [{"gate"}, {"gelu(gate)"}, {"up"}, {"product"}]
    assert all(table.notna().all(axis=None) for table in tables)

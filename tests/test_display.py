"""What captures and what they give look like in a notebook and in a terminal."""

from html.parser import HTMLParser

import pytest
import torch

import gemma_viz as gv
from gemma_viz import display
from gemma_viz.tokens import Tokens

SCRIPT = "<script>alert('x')</script>&amp;\"><b>"


class Seen(HTMLParser):
    """The text that a browser would show, the names of the elements, and the tips."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.elements, self.tips, self.open = "", [], [], []
        self.feed(html)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.open.append(tag)
        self.tips += [value for name, value in attrs if name == "title"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def cap(embedded: gv.Model) -> gv.Capture:
    return embedded.capture("I want to move")


def test_a_capture_shows_its_tokens_and_what_it_is(cap: gv.Capture) -> None:
    seen = Seen(cap._repr_html_())
    assert all(token.label in seen.text for token in cap.tokens)
    assert "5 tokens" in seen.text
    assert "embedded" in seen.text
    assert "19 depths" in seen.text
    assert seen.tips[2] == "position 2, id 1461, ▁want"


def test_a_capture_says_what_was_changed(cap: gv.Capture) -> None:
    edited = cap.model.capture("I want to move", gv.Edits(rope=False))
    assert "rope-off" in repr(edited)
    assert "rope-off" in Seen(edited._repr_html_()).text
    assert "changed" not in repr(cap)


def test_what_was_typed_is_shown_and_never_markup(tiny: gv.Model) -> None:
    cap = tiny.capture(SCRIPT)
    for html in (cap._repr_html_(), cap.tokens._repr_html_()):
        seen = Seen(html)
        assert set(seen.elements) <= {"div", "p", "span"}
        assert "".join(token.label for token in cap.tokens) in seen.text
    assert "alert" not in cap.top_k(3)._repr_html_()


def test_a_name_of_a_model_is_never_markup(tiny_models: dict[str, gv.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_models["gemma1"]
    monkeypatch.setattr(model, "name", SCRIPT)
    assert set(Seen(model.capture("the")._repr_html_()).elements) <= {"div", "p", "span"}


def test_tokens_are_a_tuple_that_prints_as_a_table(cap: gv.Capture) -> None:
    assert cap.tokens == tuple(cap.tokens)
    assert hash(cap.tokens) == hash(tuple(cap.tokens))
    lines = repr(cap.tokens).splitlines()
    assert lines[0].split() == ["position", "id", "token"]
    assert lines[3].split() == ["2", "1461", "␣want"]
    assert len(lines) == 1 + len(cap.tokens)


def test_of_a_long_text_the_first_tokens_are_shown(tiny: gv.Model) -> None:
    tokens = tiny.capture("the cat " * 120).tokens
    seen = Seen(tokens._repr_html_())
    assert len(seen.tips) == 200
    more = f"… {len(tokens) - 200} more"
    assert more in seen.text
    assert repr(tokens).splitlines()[-1] == more


def test_no_tokens_display_as_nothing() -> None:
    assert repr(Tokens()).split() == ["position", "id", "token"]
    assert Seen(Tokens()._repr_html_()).tips == []


def test_top_k_is_a_table_of_its_own_numbers(cap: gv.Capture) -> None:
    top = cap.top_k(3)
    seen = Seen(top._repr_html_())
    assert seen.elements.count("tr") == 4
    rows = [line.split() for line in repr(top).splitlines()]
    assert rows[0] == ["rank", "id", "logit", "probability", "token"]
    best = ["1", str(top.ids[0]), f"{top.logits[0]:.3f}", f"{top.probabilities[0]:.2%}", "␣to"]
    assert rows[1] == best
    assert all(cell in seen.text for cell in best)


def test_nearest_tokens_are_a_table_and_still_a_tuple(embedded: gv.Model) -> None:
    nearest = embedded.nearest_tokens("▁red", k=3)
    ids, texts, similarities = nearest
    row = repr(nearest).splitlines()[1].split()
    assert row == ["1", str(ids[0]), f"{similarities[0]:.3f}", texts[0].replace(" ", "␣")]
    assert all(cell in Seen(nearest._repr_html_()).text for cell in row)


def test_attention_shows_shapes_and_a_map_for_each_head(cap: gv.Capture) -> None:
    values = cap.attention(3)
    seen = Seen(values._repr_html_())
    assert seen.elements.count("svg") == cap.model.spec.n_heads
    assert "head 4, position 5, d_head 256" in seen.text
    drawn = int((values.pattern >= 0.01).sum())
    assert seen.elements.count("rect") == drawn


def test_attention_says_how_far_a_token_sees(cap: gv.Capture) -> None:
    spec = cap.model.spec
    local, whole = (spec.layer_kinds.index(kind) for kind in ("sliding", "full"))
    assert f"itself and {spec.sliding_window - 1} tokens before it" in repr(cap.attention(local))
    assert "itself and all tokens before it" in repr(cap.attention(whole))
    unmasked = cap.model.capture(cap.text, gv.Edits(causal_mask=False))
    assert "every token" in repr(unmasked.attention(whole))


def test_of_a_long_text_the_maps_are_small_and_of_a_very_long_one_none_is_made(
    tiny: gv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Seen(tiny.capture("the cat " * 20).attention(0)._repr_html_()).elements.count("rect") <= 6 * 24**2
    monkeypatch.setattr("gemma_viz.inside.LARGEST_DISPLAYED", 30)
    values = tiny.capture("the cat " * 20).attention(0)
    assert "svg" not in Seen(values._repr_html_()).elements
    assert "pattern" not in vars(values)


def test_an_mlp_shows_its_shapes(cap: gv.Capture) -> None:
    assert repr(cap.mlp(3)) == "<MLP of 2,048 neurons, 5 tokens>"
    assert "position 5, d_mlp 2,048" in Seen(cap.mlp(3)._repr_html_()).text


def test_sublayers_show_their_shapes(cap: gv.Capture) -> None:
    assert repr(cap.sublayers(3)) == "<Sublayers of 5 tokens, 640 components each>"
    seen = Seen(cap.sublayers(3)._repr_html_())
    assert seen.elements.count("tr") == 6
    assert "position 5, d_model 640" in seen.text


def test_a_ranking_is_a_table_with_a_row_for_each_position_or_depth(cap: gv.Capture, tiny: gv.Model) -> None:
    target = cap.top_k(1).ids[0]
    lens = cap.lens(-1, target)
    assert Seen(lens._repr_html_()).elements.count("tr") == 1 + cap.model.spec.n_layers + 1
    row, rank, probability, likeliest = repr(lens).splitlines()[-1].split(maxsplit=3)
    assert (row, rank) == ("18", "1")
    assert probability == f"{lens.target_probabilities[-1]:.2%}"
    assert likeliest.startswith(f"{target} (")
    long = tiny.capture("the cat " * 120)
    assert repr(long.ranking(long.token_ids)).splitlines()[-1] == f"… {len(long) - 200} more"


def test_cells_of_tables_and_tips_are_escaped() -> None:
    for html in (
        display.html_table((SCRIPT, "b"), [(SCRIPT, SCRIPT)]),
        display.strip([SCRIPT], [SCRIPT], SCRIPT),
        display.maps(torch.ones(1, 2, 2), SCRIPT),
    ):
        seen = Seen(html)
        assert "script" not in seen.elements
        assert "b" not in seen.elements
        assert SCRIPT in seen.text

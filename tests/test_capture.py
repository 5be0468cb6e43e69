"""Captures against transformers itself, run apart by `tests.reference`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gemma_viz as gv
from gemma_viz import ranking
from gemma_viz.embedded import embedded_checkpoint
from tests.conftest import FAMILIES, PROMPT
from tests.reference import (
    LAYER_QUANTITIES,
    LONG_PROMPT,
    TOLERANCE,
    Reference,
    captured,
    difference,
    load_reference,
    run_reference,
)

# At 600 tokens of the real model eager attention in float32 is itself up to 1.4e-4 away from the same in float64, and
# captures are up to 1.1e-4 away from it.
LONG_TOLERANCE = 5e-4


@pytest.fixture(scope="module", params=[(family, bos) for family in FAMILIES for bos in (True, False)], ids=str)
def pair(
    request: pytest.FixtureRequest,
    tiny_models: dict[str, gv.Model],
    tiny_models_without_bos: dict[str, gv.Model],
    tiny_checkpoints: dict[str, Path],
) -> tuple[gv.Capture, Reference]:
    """A tiny model's capture of PROMPT, and transformers' own values."""
    family, bos = request.param
    model = (tiny_models if bos else tiny_models_without_bos)[family]
    cap = model.capture(PROMPT)
    assert cap.tokens[0].special == bos
    return cap, run_reference(load_reference(tiny_checkpoints[family]), cap.token_ids)


@pytest.fixture(scope="module")
def embedded_reference(embedded: gv.Model) -> Callable[[str], tuple[gv.Capture, Reference]]:
    hf = load_reference(embedded_checkpoint(lambda share, what: None))

    def run(text: str) -> tuple[gv.Capture, Reference]:
        cap = embedded.capture(text)
        return cap, run_reference(hf, cap.token_ids)

    return run


# The reference itself


def test_reference_scores_give_the_pattern_that_transformers_returns(pair: tuple[gv.Capture, Reference]) -> None:
    for values, pattern in zip(pair[1].layers, pair[1].attentions, strict=True):
        torch.testing.assert_close(values["scores"].softmax(-1), pattern, atol=1e-6, rtol=0)


def test_reference_streams_are_the_hidden_states_that_transformers_returns(pair: tuple[gv.Capture, Reference]) -> None:
    reference = pair[1]
    *entering, last = reference.hidden_states
    assert len(entering) == len(reference.layers)
    for values, state in zip(reference.layers, entering, strict=True):
        assert torch.equal(values["resid_pre"], state)
    assert torch.equal(reference.final_norm, last)


def test_reference_attention_is_peaked_and_differs_between_heads(pair: tuple[gv.Capture, Reference]) -> None:
    # On a model that attends evenly, a wrong scale or a swapped head would go unseen.
    for pattern in pair[1].attentions:
        last = pattern[:, -1]
        assert last.max() > 2 / (last[0] > 0).sum()  # twice an even share
        assert (pattern[0] - pattern[1]).abs().max() > 0.1


# Captures against it


@pytest.mark.parametrize("name", LAYER_QUANTITIES)
def test_every_layer_value_is_transformers_own(pair: tuple[gv.Capture, Reference], name: str) -> None:
    cap, reference = pair
    for layer, expected in enumerate(reference.layers):
        assert difference(captured(cap, layer)[name], expected[name]) < TOLERANCE, f"layer {layer}"


def test_final_norm_and_logits_are_transformers_own(pair: tuple[gv.Capture, Reference]) -> None:
    cap, reference = pair
    assert difference(cap.final_norm(), reference.final_norm) < TOLERANCE
    assert difference(cap.logits(range(len(cap))), reference.logits) < TOLERANCE


def test_every_value_of_the_embedded_model_is_transformers_own(embedded_reference: Any) -> None:
    cap, reference = embedded_reference("I want to move the red cat 🙂")
    for layer, expected in enumerate(reference.layers):
        found = captured(cap, layer)
        for name in LAYER_QUANTITIES:
            assert difference(found[name], expected[name]) < TOLERANCE, f"{name} of layer {layer}"
    assert difference(cap.final_norm(), reference.final_norm) < TOLERANCE
    assert difference(cap.logits(range(len(cap))), reference.logits) < TOLERANCE


def test_a_prompt_longer_than_the_embedded_models_window_agrees_in_both_kinds_of_layer(embedded_reference: Any) -> None:
    cap, reference = embedded_reference(" ".join(str(number) for number in range(180)))
    window = cap.model.spec.sliding_window
    assert window is not None
    assert len(cap) > window + 50
    sliding, full = cap.model.spec.layer_kinds.index("sliding"), cap.model.spec.layer_kinds.index("full")
    last = cap.model.spec.n_layers - 1
    for layer in (sliding, full, last):
        found = captured(cap, layer)
        for name in ("rot_k", "scores", "pattern", "z", "resid_post"):
            assert difference(found[name], reference.layers[layer][name]) < LONG_TOLERANCE, f"{name} of layer {layer}"
    assert difference(cap.logits([-1]), reference.logits[-1:]) < LONG_TOLERANCE
    assert cap.attention(sliding).pattern[:, -1, : len(cap) - window].abs().max() == 0
    assert (cap.attention(full).pattern[:, -1] > 0).all()


def test_a_bfloat16_model_is_captured_in_float32(tiny_checkpoints: dict[str, Path]) -> None:
    for folder in tiny_checkpoints.values():
        model = gv.load(folder, device="cpu", dtype=torch.bfloat16)
        cap = model.capture(PROMPT)
        reference = run_reference(load_reference(folder, dtype=torch.bfloat16), cap.token_ids)
        # The first layer's input and norm are the same operations on the same numbers; after that rounding to
        # bfloat16's 8 bits takes its own way.
        assert torch.equal(cap.resid_pre(0), reference.layers[0]["resid_pre"].float())
        assert torch.equal(cap.attention(0).input, reference.layers[0]["attn_in"].float())
        values = [*captured(cap, 3).values(), cap.final_norm(), cap.logits([0, -1])]
        assert {value.dtype for value in values} == {torch.float32}
        assert torch.equal(cap.replayed_resid_post(3), cap.resid_post(3))


def test_tensors_are_on_the_cpu_and_need_no_gradient(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    for value in [*captured(cap, 1).values(), cap.final_norm(), cap.logits([-1]), cap.token_ids]:
        assert value.device.type == "cpu"
        assert not value.requires_grad


# What a capture promises of itself


@pytest.mark.parametrize(
    "edits", [gv.Edits(), gv.Edits(rope=False, embedding_scale=False), gv.Edits(causal_mask=False)]
)
def test_a_replayed_layer_gives_the_next_layers_input_bit_for_bit(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    for layer in range(3):
        assert torch.equal(cap.replayed_resid_post(layer), cap.resid_pre(layer + 1))
        assert torch.equal(cap.resid_post(layer), cap.resid_pre(layer + 1))
    assert torch.equal(cap.replayed_resid_post(3), cap.resid_post(3))


def test_the_stream_is_the_sum_of_the_updates(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    for layer in range(4):
        assert torch.equal(cap.resid_pre(layer) + cap.attention(layer).out, cap.resid_mid(layer))
        assert torch.equal(cap.resid_mid(layer) + cap.mlp(layer).out, cap.resid_post(layer))


def test_negative_layers_count_from_the_end(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    assert torch.equal(cap.resid_post(-1), cap.resid_post(3))
    assert torch.equal(cap.resid_mid(-4), cap.resid_mid(0))
    assert torch.equal(cap.attention(-2).q, cap.attention(2).q)
    assert torch.equal(cap.mlp(-2).gate, cap.mlp(2).gate)
    assert cap.attention(-1).rule.window == cap.model.spec.window(3)
    assert not torch.equal(cap.resid_post(3), cap.resid_post(2))


@pytest.mark.parametrize("layer", [4, -5, 1000])
@pytest.mark.parametrize("method", ["resid_pre", "resid_mid", "resid_post", "attention", "mlp", "replayed_resid_post"])
def test_a_layer_that_is_not_there_is_an_index_error(tiny: gv.Model, method: str, layer: int) -> None:
    with pytest.raises(IndexError, match=f"no layer {layer}: the layers are 0 to 3"):
        getattr(tiny.capture(PROMPT), method)(layer)


@pytest.mark.parametrize("offset", [0, 5])
def test_a_position_that_is_not_there_is_an_index_error(tiny: gv.Model, offset: int) -> None:
    cap = tiny.capture(PROMPT)
    for position in (len(cap) + offset, -len(cap) - 1 - offset):
        with pytest.raises(IndexError, match=f"no position {position}"):
            cap.logits([0, position])
        with pytest.raises(IndexError, match=f"no position {position}"):
            cap.top_k(3, position)


def test_a_repr_names_the_text_and_the_length(tiny: gv.Model) -> None:
    cap = tiny.capture("the cat")
    assert repr(cap) == f"<Capture of {len(cap)} tokens by {tiny.name}: 'the cat'>"


# Logits


def test_logits_of_some_positions_are_those_rows_in_that_order(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    every = cap.logits(range(len(cap)))
    assert every.shape == (len(cap), tiny.spec.vocab_size)
    positions = [2, -1, 0, -len(cap), 2]
    torch.testing.assert_close(cap.logits(positions), every[[2, len(cap) - 1, 0, 0, 2]], atol=1e-5, rtol=0)
    assert cap.logits([]).shape == (0, tiny.spec.vocab_size)


@pytest.mark.parametrize("position", [-1, 0, 4])
def test_top_k_is_the_head_of_the_sorted_logits(tiny: gv.Model, position: int) -> None:
    cap = tiny.capture(PROMPT)
    logits = cap.logits([position])[0]
    top = cap.top_k(7, position)
    by_logit = sorted(range(len(logits)), key=lambda id: -float(logits[id]))
    assert top.ids == tuple(by_logit[:7])
    assert top.texts == tuple(tiny.token_text(id) for id in top.ids)
    assert top.logits == tuple(logits[list(top.ids)].tolist())
    shares = (logits.double() - logits.double().logsumexp(0)).exp()
    assert top.probabilities == pytest.approx(shares[list(top.ids)].tolist(), rel=1e-5)


def test_top_k_gives_at_most_the_whole_vocabulary(tiny: gv.Model) -> None:
    top = tiny.capture(PROMPT).top_k(10_000)
    assert sorted(top.ids) == list(range(tiny.spec.vocab_size))
    assert sum(top.probabilities) == pytest.approx(1, abs=1e-5)


def test_final_logits_of_gemma_2_stay_inside_the_soft_cap(tiny_models: dict[str, gv.Model]) -> None:
    logits = tiny_models["gemma2"].capture(PROMPT).logits(range(5))
    assert 2 < logits.abs().max() < 3


# Rankings of the vocabulary


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_a_ranking_is_what_sorting_the_logits_of_every_position_gives(tiny: gv.Model, layer: int) -> None:
    cap = tiny.capture(LONG_PROMPT)
    assert len(cap) > ranking.POSITIONS_AT_ONCE
    targets = cap.token_ids.roll(-1)
    found = cap.ranking(targets, 7, layer)
    with torch.no_grad():
        normed = tiny.hf.model.norm(cap.resid_post(layer).to(tiny.device))
        logits = tiny.unembed(normed).cpu()
    by_logit = logits.sort(dim=-1, descending=True)
    assert difference(found.logits, by_logit.values[:, :7]) < TOLERANCE
    # Ids of equal logits may change places, so each id is looked up instead of compared with the sorted one.
    assert difference(logits.gather(1, found.ids), found.logits) < TOLERANCE
    assert all(len(set(row)) == 7 for row in found.ids.tolist())
    shares = logits.double().softmax(-1)
    torch.testing.assert_close(found.probabilities.double(), shares.gather(1, found.ids), atol=1e-6, rtol=1e-4)
    own = shares.gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found.target_probabilities.double(), own, atol=1e-6, rtol=1e-4)
    near = (logits - logits.gather(1, targets[:, None])).abs() < 1e-4  # may fall on either side by rounding
    ahead = (logits > logits.gather(1, targets[:, None])).sum(-1)
    assert ((found.target_ranks - 1 - ahead).abs() < near.sum(-1)).all()


def test_the_ranking_after_the_last_layer_is_the_model_s_prediction(embedded: gv.Model) -> None:
    cap = embedded.capture("The capital of France is")
    found = cap.ranking(cap.token_ids.roll(-1), 10)
    for position in range(len(cap)):
        top = cap.top_k(10, position)
        assert tuple(found.ids[position].tolist()) == top.ids
        assert found.probabilities[position].tolist() == pytest.approx(top.probabilities, rel=1e-4)


def test_ids_are_run_as_they_are(tiny: gv.Model) -> None:
    ids = tiny.capture(PROMPT).token_ids.tolist()
    again = tiny.capture_ids(ids)
    assert again.token_ids.tolist() == ids
    assert torch.equal(again.resid_post(3), tiny.capture(PROMPT).resid_post(3))
    letters = [tiny.token_id(piece) for piece in ("▁", "t", "h", "e")]
    assert [token.text for token in tiny.capture_ids(letters).tokens] == [" ", "t", "h", "e"]
    with pytest.raises(IndexError, match="no token 99999"):
        tiny.capture_ids([99_999])
    with pytest.raises(gv.errors.NoTokens):
        tiny.capture_ids([])

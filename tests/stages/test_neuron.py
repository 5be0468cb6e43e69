"""One neuron: where it is strong, what it reads and what it writes."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.instrument import norm_before_mlp
from gemma_viz.stages import neuron


def text_ids(model: gv.Model) -> list[int]:
    return [id for id, kind in enumerate(model.vocabulary.kinds) if kind in ("text", "byte")]


@torch.no_grad()
def test_it_reads_what_the_layers_own_modules_give_for_a_bare_row(tiny: gv.Model) -> None:
    module, ids = tiny.hf.model.layers[2], text_ids(tiny)
    stream = tiny.hf.model.embed_tokens(torch.tensor(ids, device=tiny.device))  # rescaled
    normed = norm_before_mlp(module, tiny.spec)(stream)
    values = neuron.reads(tiny, 2, 7, k=5)
    for extremes, projection in ((values.gate, module.mlp.gate_proj), (values.up, module.mlp.up_proj)):
        expected = projection(normed)[:, 7].cpu().numpy()
        order = np.argsort(expected)
        np.testing.assert_allclose(extremes.lowest_values, expected[order[:5]], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(extremes.highest_values, expected[order[::-1][:5]], rtol=1e-3, atol=1e-4)
        assert extremes.highest[0] == tiny.token_text(ids[order[-1]])
        assert extremes.lowest[0] == tiny.token_text(ids[order[0]])


def test_what_all_neurons_write_together_is_what_the_mlp_writes(cap: gv.Capture) -> None:
    """The direct effects, times the activations, sum to the MLP's update through the final norm and the output."""
    model, position, layer = cap.model, 4, 1
    table = model.hf.lm_head.weight.detach().double().cpu().numpy()
    weight = model.hf.model.norm.weight.detach().double().cpu().numpy()
    stream = cap.resid_post(-1)[position].double().numpy()
    factors = (1 + weight) / np.sqrt((stream**2).mean() + model.spec.norm_eps)
    logits = table @ (cap.mlp(layer).out[position].double().numpy() * factors)
    texts = [model.token_text(id) for id in text_ids(model)]
    expected = dict(zip(texts, (logits - logits.mean())[text_ids(model)], strict=True))
    found = dict.fromkeys(texts, 0.0)
    for n in range(model.spec.d_mlp):
        values = neuron.writes(cap, layer, n, position, k=len(texts) // 2)
        changes = [*values.logits.highest_values, *values.logits.lowest_values]
        for text, change in zip(values.logits.highest + values.logits.lowest, changes, strict=True):
            found[text] += values.activation * change
    assert len(texts) % 2 == 0  # of an odd number one would be at neither end
    unique = [text for text in texts if texts.count(text) == 1]  # many bytes share a text
    assert len(unique) > 70
    np.testing.assert_allclose([found[x] for x in unique], [expected[x] for x in unique], rtol=1e-3, atol=2e-3)


def test_the_prompt_s_strongest_tokens_come_first_with_their_context(cap: gv.Capture) -> None:
    firings = neuron.strongest_in_prompt(cap, neuron.activations(cap, 1, 3))
    act = cap.mlp(1).act[:, 3].numpy()
    np.testing.assert_array_equal(neuron.activations(cap, 1, 3), act)
    np.testing.assert_array_equal([firing.activation for firing in firings], act[np.argsort(-np.abs(act))[:10]])
    whole = "".join(token.text for token in cap.tokens)
    assert all(firing.before + firing.token + firing.after in whole for firing in firings)
    assert firings[0].token == cap.tokens[int(np.abs(act).argmax())].text


@pytest.mark.parametrize("fixture", ["tiny_models", "tiny_models_without_bos"])
def test_the_pieces_make_up_the_shipped_text(request: pytest.FixtureRequest, fixture: str) -> None:
    model = request.getfixturevalue(fixture)["gemma3"]
    pieces = neuron.shipped_pieces(model)
    begins_with = (model.tokenizer.bos_token_id,) if fixture == "tiny_models" else ()
    assert all(piece[: len(begins_with)] == begins_with for piece in pieces)
    assert max(map(len, pieces)) <= 256
    ids = [id for piece in pieces for id in piece[len(begins_with) :]]
    text = model.tokenizer.decode(ids)
    assert text.startswith("The night train")
    assert "def moving_average(values, width):\n" in text
    assert "größ" in text or "großen" in text
    assert text.endswith("They would talk about it for years.")


def test_a_piece_s_strongest_tokens_are_those_of_its_capture(tiny: gv.Model) -> None:
    piece = neuron.shipped_pieces(tiny)[0]
    found, cap = neuron.strongest_in_piece(tiny, piece), tiny.capture_ids(piece)
    for layer in range(tiny.spec.n_layers):
        act = cap.mlp(layer).act.numpy()
        expected = -np.sort(-np.abs(act[1:]), axis=0)[:10].T  # [neuron, k]
        np.testing.assert_allclose(np.abs(found.activations[layer]), expected, rtol=1e-3, atol=1e-4)
        there = np.take_along_axis(act, found.positions[layer].T.astype(int), axis=0).T
        np.testing.assert_allclose(found.activations[layer], there, rtol=1e-3, atol=1e-4)


def test_the_strongest_of_all_pieces_are_found(tiny: gv.Model) -> None:
    pieces = [neuron.strongest_in_piece(tiny, piece) for piece in neuron.shipped_pieces(tiny)[:3]]
    texts = neuron.shipped_texts(tiny)[:3]
    firings = neuron.strongest_in_pieces(pieces, texts, 1, 5)
    everything = np.concatenate([piece.activations[1, 5] for piece in pieces])
    np.testing.assert_array_equal(
        np.abs([firing.activation for firing in firings]), np.sort(np.abs(everything))[::-1][:10]
    )
    for firing in firings:
        assert any(firing.before + firing.token + firing.after in "".join(of_piece) for of_piece in texts)


def test_a_piece_of_one_token_has_nothing_to_show(tiny: gv.Model) -> None:
    piece = neuron.strongest_in_piece(tiny, (5,))
    assert neuron.strongest_in_pieces([piece], [[tiny.token_text(5)]], 0, 0) == ()

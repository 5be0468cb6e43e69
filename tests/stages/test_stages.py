"""Stage values against computations of the tests' own, on all three families."""

import math

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import attention, embedding, mlp, output, overview, residual, rope, tokenization
from gemma_viz.steps import bpe
from tests.conftest import PROMPT


@pytest.fixture
def cap(tiny: gv.Model) -> gv.Capture:
    return tiny.capture(PROMPT)


CHECKS = {
    "embed": lambda cap: embedding.check_embed(cap),
    "rms_norm": lambda cap: residual.check_rms_norm(cap, 2),
    "attention in a windowed layer": lambda cap: attention.check_attention(cap, 0),
    "attention": lambda cap: attention.check_attention(cap, 2),
    "rope": lambda cap: rope.check_rope(cap, 2),
    "mlp": lambda cap: mlp.check_mlp(cap, 1),
    "unembed": lambda cap: output.check_unembed(cap, 3),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_code_on_the_page_gives_the_models_own_value(cap: gv.Capture, name: str) -> None:
    check = CHECKS[name](cap)
    assert check.largest_value > 0
    assert check.largest_difference <= 1e-5 * max(1.0, check.largest_value)


@pytest.mark.parametrize("name", CHECKS)
def test_the_code_on_the_page_gives_the_embedded_models_own_value(embedded: gv.Model, name: str) -> None:
    check = CHECKS[name](embedded.capture("The cat sat on the mat. The cat sat on the"))
    assert check.largest_difference <= 1e-5 * max(1.0, check.largest_value)


def test_a_wrong_step_would_show_as_a_difference(cap: gv.Capture) -> None:
    right, wrong = (rope.check_rope(cap, layer) for layer in (0, 2))
    assert right.largest_difference < 1e-4
    values = cap.attention(2)
    off = rope.rope_step(values.q, 3 * cap.model.spec.rope_thetas[2]) - values.rot_q
    assert off.abs().max() > 1000 * wrong.largest_difference


# Tokenization


@pytest.mark.parametrize(
    "text",
    [
        "I want to move",
        "  two  spaces, tabs\tand\n\n\nlines\r\n",
        "Naïve café, größer 🙂 ᚠᛇᚻ 日本語 שלום",
        "def add(a, b):\n    return a + b",
        "<bos>typed<end_of_turn> and <div>markup</div><unused7>",
        "antidisestablishmentarianism 1234567890",
        "\x00\x07",
    ],
)
def test_merging_by_the_order_of_the_vocabulary_is_the_tokenizer(embedded: gv.Model, text: str) -> None:
    cap = embedded.capture(text)
    check = tokenization.check_bpe(cap)
    assert check.largest_difference == 0
    assert check.largest_value == len(cap) - 1
    assert tokenization.tokenization(cap).round_trip


def test_bpe_takes_the_earliest_union_first() -> None:
    ids = {piece: id for id, piece in enumerate(["a", "b", "c", "bc", "ab"])}
    assert bpe("abc", ids) == ["a", "bc"]
    assert bpe("é", ids) == ["<0xC3>", "<0xA9>"]


def test_pieces_say_what_they_are(embedded: gv.Model) -> None:
    values = tokenization.tokenization(embedded.capture("hi  ᚠ<end_of_turn>"))
    assert [piece.kind for piece in values.pieces] == ["added", "text", "text", "byte", "byte", "byte", "special"]
    assert b"".join(piece.utf8 for piece in values.pieces) == "hi  ᚠ".encode()
    assert values.pieces[2].spaces == 2
    assert (values.n_bytes, values.n_characters, values.n_words) == (20, 18, 2)
    assert values.n_byte_pieces == 256


# Embedding


def test_rows_are_the_tables_and_the_scale_is_the_root_of_their_length(cap: gv.Capture) -> None:
    values = embedding.embedding(cap)
    table = cap.model.hf.model.embed_tokens.weight.detach().numpy()
    np.testing.assert_array_equal(values.rows, table[cap.token_ids.numpy()])
    assert values.scale == math.sqrt(cap.model.spec.d_model)
    np.testing.assert_allclose(values.scaled_norm, values.raw_norm * values.scale, rtol=1e-5)


def test_word_similarity_is_the_cosine_and_leaves_out_what_has_no_row(embedded: gv.Model) -> None:
    values = embedding.word_similarity(embedded, ("red", "blue", "antidisestablishmentarianism", "red"))
    assert values.words == ("red", "blue")
    (left_out, pieces), *others = values.left_out
    assert left_out == "antidisestablishmentarianism"
    assert len(pieces) > 1
    assert others == []
    a, b = (embedded.embedding[embedded.token_id(piece)].numpy() for piece in ("▁red", "▁blue"))
    assert values.similarity[0, 1] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


# Residual stream


def test_shares_and_divisors_are_those_of_the_stream(cap: gv.Capture) -> None:
    values = residual.residual(cap)
    n_layers = cap.model.spec.n_layers
    assert values.stream_rms.shape == (2 * n_layers + 1, len(cap))
    for layer in range(n_layers):
        stream, after = cap.resid_pre(layer).numpy(), cap.resid_mid(layer).numpy()
        update = after - stream
        var_r, var_s = update.var(-1, ddof=1), stream.var(-1, ddof=1)
        np.testing.assert_allclose(values.attention_share[layer], np.sqrt(var_r / (var_r + var_s)), rtol=1e-4)
        rms = np.sqrt((stream**2).mean(-1) + cap.model.spec.norm_eps)
        np.testing.assert_allclose(values.attention_divisor[layer], rms, rtol=1e-5)
        np.testing.assert_allclose(values.stream_rms[2 * layer + 1], np.sqrt((after**2).mean(-1)), rtol=1e-5)


# Attention


def test_small_maps_of_a_short_prompt_are_the_patterns(cap: gv.Capture) -> None:
    values = attention.attention_overview(cap)
    assert values.maps.shape == (cap.model.spec.n_layers, cap.model.spec.n_heads, len(cap), len(cap))
    np.testing.assert_allclose(values.maps[2] / 255, cap.attention(2).pattern.numpy(), atol=0.5 / 255 + 1e-6)


def test_small_maps_of_a_long_prompt_keep_the_largest_weights(tiny_models: dict[str, gv.Model]) -> None:
    cap = tiny_models["gemma2"].capture("the red cat " * 20)
    values = attention.attention_overview(cap)
    assert len(cap) > attention.POOLED_TO
    assert values.maps.shape[-2:] == (attention.POOLED_TO, attention.POOLED_TO)
    largest = cap.attention(1).pattern.amax((-1, -2)).numpy()
    np.testing.assert_allclose(values.maps[1].max((-1, -2)) / 255, largest, atol=0.5 / 255 + 1e-6)


def test_progress_of_the_overview_ends_at_one(cap: gv.Capture) -> None:
    shares: list[float] = []
    attention.attention_overview(cap, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_head_is_that_part_of_its_layer(cap: gv.Capture) -> None:
    layer, head, position = 3, 4, 7
    values, whole = attention.head(cap, layer, head, position), cap.attention(layer)
    np.testing.assert_array_equal(np.nan_to_num(values.pattern), whole.pattern[head].numpy())
    assert (np.isnan(values.pattern) == np.isneginf(whole.scores[head].numpy())).all()
    np.testing.assert_array_equal(values.scores, whole.scores[head, position].numpy())
    np.testing.assert_array_equal(values.keys, whole.rot_k[values.kv_head].numpy())
    assert values.weights.sum() == pytest.approx(1, abs=1e-6)
    assert values.kv_head == head * cap.model.spec.n_kv_heads // cap.model.spec.n_heads


# RoPE


def test_wavelengths_are_those_of_the_models_own_rotary_embedding(cap: gv.Capture) -> None:
    rotary = cap.model.hf.model.rotary_emb
    frequencies = [
        getattr(rotary, name) for name in dir(rotary) if name.endswith("inv_freq") and "original" not in name
    ]
    models = sorted(2 * math.pi / float(f[-1]) for f in frequencies)
    values = rope.wavelengths(cap)
    assert sorted(float(line[-1]) for line in values.wavelengths.values()) == pytest.approx(models, rel=1e-4)
    assert sorted(layer for layers in values.layers.values() for layer in layers) == [*range(cap.model.spec.n_layers)]


def test_a_pair_is_turned_by_its_angle_and_keeps_its_length(cap: gv.Capture) -> None:
    values = rope.rotation(cap, layer=2, head=1, pair=1)
    before, after = (points[:, 0] + 1j * points[:, 1] for points in (values.before, values.after))
    np.testing.assert_allclose(after, before * np.exp(1j * np.radians(values.degrees)), atol=1e-4)


def test_scores_depend_on_the_distance_only(cap: gv.Capture) -> None:
    values = rope.score_by_offset(cap, layer=2, head=1, query=6, key=5)
    np.testing.assert_allclose(values.scores, values.scores_shifted, atol=1e-3)
    assert np.ptp(values.scores) > 0.1, "and on the distance they do depend"


def test_the_score_at_the_real_distance_is_the_models(tiny_models: dict[str, gv.Model]) -> None:
    cap = tiny_models["gemma1"].capture(PROMPT)
    values = rope.score_by_offset(cap, layer=2, head=1, query=9, key=4)
    assert values.scores[5] == pytest.approx(float(cap.attention(2).scores[1, 9, 4]), abs=1e-3)


# MLP


def test_neurons_are_the_layers_and_multiply_up(cap: gv.Capture) -> None:
    values, whole = mlp.neurons(cap, 1, 5, k=7), cap.mlp(1)
    np.testing.assert_allclose(values.gelu_gate * values.up, values.act, atol=1e-5)
    np.testing.assert_array_equal(values.act, whole.act[5].numpy())
    assert values.most_active.tolist() == np.argsort(-np.abs(values.act), kind="stable")[:7].tolist()
    assert values.open_share == pytest.approx((values.gate > 0).mean())
    np.testing.assert_array_equal(mlp.activations(cap, 1, 3), whole.act[:, 3].numpy())


# Output


def test_predictions_are_the_models_after_every_token(cap: gv.Capture) -> None:
    values = output.predictions(cap, k=4)
    with torch.no_grad():
        logits = cap.model.hf(cap.token_ids[None]).logits[0].float()
    probabilities = logits.softmax(-1)
    np.testing.assert_allclose(values.logits, logits.topk(4).values.numpy(), atol=1e-4)
    np.testing.assert_allclose(values.probabilities, probabilities.topk(4).values.numpy(), atol=1e-5)
    following = cap.token_ids[1:]
    actual = probabilities[:-1].gather(-1, following[:, None])[:, 0]
    np.testing.assert_allclose(values.actual_probability, actual.numpy(), atol=1e-5)
    ranks = [int((row > row[token]).sum()) + 1 for row, token in zip(logits[:-1], following, strict=True)]
    assert values.actual_rank.tolist() == ranks


def test_predictions_in_blocks_are_the_same(cap: gv.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = output.predictions(cap)
    monkeypatch.setattr(output, "POSITIONS_AT_ONCE", 3)
    in_blocks = output.predictions(cap)
    np.testing.assert_allclose(in_blocks.logits, at_once.logits, atol=1e-5)
    assert in_blocks.actual_rank.tolist() == at_once.actual_rank.tolist()


def test_comparing_with_nothing_left_out_shows_no_difference(cap: gv.Capture) -> None:
    values = output.compare(cap, gv.Edits(), 4)
    np.testing.assert_array_equal(values.baseline, values.edited)
    assert values.kl_divergence == 0
    assert values.baseline_scale == values.edited_scale


def test_comparing_is_the_two_distributions(cap: gv.Capture) -> None:
    edits = gv.Edits(mlp=False)
    values = output.compare(cap, edits, 4)
    p, q = (c.logits([4])[0].double().softmax(-1) for c in (cap, cap.model.capture(PROMPT, edits)))
    np.testing.assert_allclose(values.baseline, p[list(values.ids)].numpy(), rtol=1e-4)
    np.testing.assert_allclose(values.edited, q[list(values.ids)].numpy(), rtol=1e-4)
    assert values.kl_divergence == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-3)


def test_a_run_that_breaks_down_is_said_to_be_no_number(embedded: gv.Model) -> None:
    values = output.compare(embedded.capture("I want to move"), gv.Edits(norms=False), 4)
    assert not values.is_finite
    assert len(values.ids) == 5, "the untouched run's tokens only"


def test_the_overview_follows_the_selected_token(cap: gv.Capture) -> None:
    values = overview.overview(cap, 3)
    assert values.token_id == cap.tokens[3].id
    assert values.top == cap.top_k(10, 3)
    assert values.last_rms == pytest.approx(float(cap.resid_post(-1)[3].pow(2).mean().sqrt()))
    assert values.embedded_rms == pytest.approx(values.raw_rms * cap.model.spec.embedding_scale, rel=1e-4)

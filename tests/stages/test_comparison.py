"""Two runs side by side: which tokens belong together, and how far apart what is made of them is."""

import math
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import comparison
from gemma_viz.stages.comparison import Aligned
from tests.conftest import PROMPT, load_tiny
from tests.stages.conftest import by_layer

BROKEN = gv.Edits(norms=False, final_norm=False, embedding_factor=1e6)  # the numbers run out of range on the way
OTHER = "I want to see the green cat, moving it to the red zebra"


@pytest.fixture(scope="module")
def other_model(checkpoint_of_other_words: Path) -> gv.Model:
    """Another model, with another vocabulary."""
    return load_tiny(checkpoint_of_other_words)


def shown(aligned: Aligned, left: gv.Capture, right: gv.Capture) -> list[str]:
    """The columns as text: the=the, cat|red, |red."""
    return [
        ("=" if column.same else "|").join(
            "".join(cap.tokens[i].piece for i in positions)
            for cap, positions in ((left, column.left), (right, column.right))
        )
        for column in aligned.columns
    ]


def aligned_as(model: gv.Model, text: str, other: str) -> list[str]:
    left, right = model.capture(text), model.capture(other)
    return shown(comparison.align(left, right), left, right)


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("the cat", "the cat", "<bos>=<bos> t=t h=h e=e ▁cat=▁cat"),
        ("t the cat", "t red cat", "<bos>=<bos> t=t ▁the|▁red ▁cat=▁cat"),
        ("t the cat", "t the red cat", "<bos>=<bos> t=t ▁the=▁the |▁red ▁cat=▁cat"),
        ("t the red", "t red", "<bos>=<bos> t=t ▁the| ▁red=▁red"),
        ("t red it", "t the cat to", "<bos>=<bos> t=t |▁the ▁red|▁cat ▁it|▁to"),
        ("t the the the", "t the the", "<bos>=<bos> t=t ▁the=▁the ▁the=▁the ▁the|"),
        ("t", "", "<bos>=<bos> t|"),
        ("", "", "<bos>=<bos>"),
    ],
)
def test_tokens_of_two_texts_are_aligned_by_what_they_are(
    tiny_models: dict[str, gv.Model], text: str, other: str, expected: str
) -> None:
    assert aligned_as(tiny_models["gemma3"], text, other) == expected.split(" ")


def test_tokens_of_two_vocabularies_are_aligned_by_their_characters(
    tiny_models: dict[str, gv.Model], other_model: gv.Model
) -> None:
    text = "a the moving cats ᚠ"
    left, right = tiny_models["gemma3"].capture(text), other_model.capture(text)
    aligned = comparison.align(left, right)
    columns = shown(aligned, left, right)
    assert columns[:3] == ["<bos>=<bos>", "a=a", "▁the=▁the"]
    assert "▁cats|▁cats" in columns, "two tokens stand above one of the same characters"
    assert columns[-3:] == ["<0xE1>=<0xE1>", "<0x9A>=<0x9A>", "<0xA0>=<0xA0>"]
    for side, cap in (("left", left), ("right", right)):
        positions = list(chain.from_iterable(getattr(column, side) for column in aligned.columns))
        assert positions == list(range(len(cap))), "every token stands in one column, in order"
    for column in aligned.columns[1:]:
        ours, theirs = (
            "".join(cap.tokens[i].text for i in places) for cap, places in ((left, column.left), (right, column.right))
        )
        assert ours == theirs


def test_a_token_that_only_one_tokenizer_adds_stands_alone(
    tiny_models: dict[str, gv.Model], tiny_models_without_bos: dict[str, gv.Model]
) -> None:
    left, right = tiny_models["gemma1"].capture("t cat"), tiny_models_without_bos["gemma1"].capture("t cat")
    aligned = comparison.align(left, right)
    assert shown(aligned, left, right) == ["<bos>|", "t=t", "▁cat=▁cat"]
    assert aligned.partner(0) is None
    assert aligned.partner(1) == 0


def test_partners_are_those_of_the_columns_and_the_last_ones_of_each_other(tiny_models: dict[str, gv.Model]) -> None:
    model = tiny_models["gemma1"]
    aligned = comparison.align(model.capture("t the red cat"), model.capture("t red cat it"))
    assert [aligned.partner(position) for position in range(5)] == [0, 1, None, 2, 4]
    assert aligned.column_of(2) == 2


def test_long_texts_that_repeat_themselves_are_aligned(tiny_models: dict[str, gv.Model]) -> None:
    model = tiny_models["gemma1"]
    left, right = model.capture("t" + " cat" * 200), model.capture("t" + " cat" * 100 + " red" + " cat" * 150)
    aligned = comparison.align(left, right)
    assert sum(column.same for column in aligned.columns) >= 200
    assert [i for column in aligned.columns for i in column.right] == list(range(len(right)))


def test_cosines_are_torch_s(tiny: gv.Model) -> None:
    left, right = tiny.capture(PROMPT), tiny.capture(OTHER)
    values = comparison.streams(left, right)
    assert values.cosine.shape == (5, len(values.pairs))
    ours, theirs = map(list, zip(*values.pairs, strict=True))
    streams = [(left.resid_pre(0), right.resid_pre(0))] + [(left.resid_post(i), right.resid_post(i)) for i in range(4)]
    for depth, (a, b) in enumerate(streams):
        expected = torch.nn.functional.cosine_similarity(a[ours], b[theirs], dim=-1)
        np.testing.assert_allclose(values.cosine[depth], expected, atol=1e-5)
    np.testing.assert_array_equal(values.same, left.token_ids[ours] == right.token_ids[theirs])
    assert 0 < values.same.sum() < len(values.pairs)
    assert values.cosine.min() < 0.9
    rows = torch.nn.functional.normalize(left.resid_post(1)[1:], dim=-1)
    between = (rows @ rows.T)[~torch.eye(len(rows), dtype=torch.bool)].mean()
    assert values.between_tokens[2] == pytest.approx(float(between), abs=1e-5)


def test_a_run_is_the_same_as_itself(tiny: gv.Model) -> None:
    left, right = tiny.capture(PROMPT), tiny.capture(PROMPT)
    np.testing.assert_allclose(comparison.streams(left, right).cosine, 1, atol=1e-6)
    for layer in range(4):
        np.testing.assert_allclose(comparison.head_distances(left, layer, right), 0, atol=1e-5)
    np.testing.assert_array_equal(np.nan_to_num(comparison.head_patterns(left, 1, right, 2, 3).difference), 0)
    values = comparison.outputs(left, right, 3, 3)
    assert values.left_from_right == values.right_from_left == 0
    assert values.gained.texts == values.lost.texts == ()
    assert values.favoured is None
    np.testing.assert_array_equal(values.likeliest.left, values.likeliest.right)


def test_one_token_has_no_two_to_compare_with(tiny: gv.Model) -> None:
    values = comparison.streams(tiny.capture(""), tiny.capture("the"))
    assert values.pairs == ((0, 0),)
    assert np.isnan(values.between_tokens).all()


def test_a_stream_that_is_no_number_has_no_cosine(tiny_models: dict[str, gv.Model]) -> None:
    left = tiny_models["gemma3"].capture("the cat")
    values = comparison.streams(left, left.again(BROKEN))
    assert np.isnan(values.cosine).any()
    assert not np.isnan(values.cosine).all()


def distance_written_out(left: gv.Capture, right: gv.Capture, layer: int) -> np.ndarray:
    """[head], over whole patterns, with the tokens that only one run has as columns of their own."""
    aligned = comparison.align(left, right)
    ours, theirs = left.attention(layer).pattern.numpy(), right.attention(layer).pattern.numpy()
    distances = np.zeros(len(ours))
    for query, other_query in aligned.pairs:
        for column in aligned.columns:
            a = ours[:, query, column.left[-1]] if column.left else 0
            b = theirs[:, other_query, column.right[-1]] if column.right else 0
            distances += np.abs(a - b) / 2
    return distances / len(aligned.pairs)


def test_the_head_that_differs_most_is_found() -> None:
    values = comparison.all_head_distances([np.array([0.1, np.nan]), np.array([0.2, 0.7])])
    assert values.furthest == (1, 1)
    assert comparison.all_head_distances([np.full(2, np.nan)]).furthest == (0, 0)


CHANGES = [
    gv.Edits(causal_mask=False),
    gv.Edits(window=2),
    gv.Edits(window=9),
    gv.Edits(pattern="own"),
    gv.Edits(pattern="uniform", layers=frozenset({1})),
    gv.Edits(rope=False),
]


@pytest.mark.parametrize("edits", CHANGES, ids=gv.Edits.to_text)
def test_distances_count_what_only_one_run_may_see(tiny: gv.Model, edits: gv.Edits) -> None:
    left = tiny.capture(PROMPT)
    right = left.again(edits)
    for layer in range(4):
        distances = comparison.head_distances(left, layer, right)
        np.testing.assert_allclose(distances, distance_written_out(left, right, layer), atol=1e-5)
    assert max(by_layer(lambda cap, layer: comparison.head_distances(cap, layer, right).max(), left)) > 0.05


def test_distances_count_tokens_that_only_one_run_has(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = tiny.capture(PROMPT), tiny.capture(OTHER)
    assert len(comparison.align(left, right).pairs) < min(len(left), len(right)) + 1
    expected = distance_written_out(left, right, 2)
    np.testing.assert_allclose(comparison.head_distances(left, 2, right), expected, atol=1e-5)
    monkeypatch.setattr(comparison, "QUERIES_AT_ONCE", 3)
    np.testing.assert_allclose(comparison.head_distances(left, 2, right), expected, atol=1e-5)


def test_distances_of_patterns_that_are_no_numbers_are_none(tiny_models: dict[str, gv.Model]) -> None:
    left = tiny_models["gemma3"].capture("the cat")
    assert np.isnan(comparison.head_distances(left, 3, left.again(BROKEN))).all()


@pytest.mark.parametrize("edits", CHANGES, ids=gv.Edits.to_text)
def test_patterns_stand_on_common_axes(tiny: gv.Model, edits: gv.Edits) -> None:
    left = tiny.capture(PROMPT)
    right = left.again(edits)
    values = comparison.head_patterns(left, 1, right, 4, 7)
    part = np.s_[values.shown.start : values.shown.stop, values.shown.start : values.shown.stop]
    assert 7 in values.shown
    ours, theirs = (cap.attention(1).pattern[4].numpy()[part] for cap in (left, right))
    np.testing.assert_allclose(np.nan_to_num(values.left), ours, atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(values.right), theirs, atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(values.difference), theirs - ours, atol=1e-6)
    hidden = [cap.attention(1).scores[4].isneginf().numpy()[part] for cap in (left, right)]
    np.testing.assert_array_equal(np.isnan(values.left), hidden[0])
    np.testing.assert_array_equal(np.isnan(values.difference), hidden[0] & hidden[1])


def test_a_token_of_one_run_only_has_an_empty_row_and_column_in_the_other(tiny_models: dict[str, gv.Model]) -> None:
    model = tiny_models["gemma1"]
    left, right = model.capture("t the cat"), model.capture("t the red cat")
    values = comparison.head_patterns(left, 0, right, 0, 3)
    assert values.shown == range(5)
    assert np.isnan(values.left[3]).all()
    assert np.isnan(values.left[:, 3]).all()
    assert np.isnan(values.difference[3]).all()
    ours, theirs = (cap.attention(0).pattern[0].numpy() for cap in (left, right))
    np.testing.assert_allclose(values.right[4], theirs[4], atol=1e-6)
    np.testing.assert_allclose(values.difference[4, :3], theirs[4, :3] - ours[3, :3], atol=1e-6)


def test_outputs_are_softmax_and_divergence(tiny: gv.Model) -> None:
    left, right = tiny.capture(PROMPT), tiny.capture(OTHER)
    values = comparison.outputs(left, right, 5, 7)
    p, q = left.logits([5])[0].double().softmax(-1), right.logits([7])[0].double().softmax(-1)
    best = [*p.topk(6).indices.tolist(), *q.topk(6).indices.tolist()]
    ids = list(dict.fromkeys(best))
    assert values.likeliest.texts == tuple(map(tiny.token_text, ids))
    np.testing.assert_allclose(values.likeliest.left, p[ids], rtol=1e-6)
    np.testing.assert_allclose(values.likeliest.right, q[ids], rtol=1e-6)
    kl = torch.nn.functional.kl_div
    assert values.left_from_right == pytest.approx(float(kl(q.log(), p, reduction="sum")), rel=1e-6)
    assert values.right_from_left == pytest.approx(float(kl(p.log(), q, reduction="sum")), rel=1e-6)
    changed = (q - p).argsort(descending=True).tolist()
    assert values.gained.texts == tuple(map(tiny.token_text, changed[:6]))
    assert values.lost.texts == tuple(map(tiny.token_text, changed[:-7:-1]))
    assert values.favoured == (changed[-1], changed[0])
    assert values.n_own == (0, 0)
    assert values.n_shared == tiny.spec.vocab_size


def test_outputs_of_two_vocabularies_are_compared_by_text(
    tiny_models: dict[str, gv.Model], other_model: gv.Model
) -> None:
    model = tiny_models["gemma2"]
    left, right = model.capture(PROMPT), other_model.capture(PROMPT)
    values = comparison.outputs(left, right, len(left) - 1, len(right) - 1)
    ours, theirs = model.vocabulary.ids, other_model.vocabulary.ids
    shared = [piece for piece in ours if piece in theirs]
    assert values.n_shared == len(shared) > 300
    assert values.n_own == (len(ours) - len(shared), len(theirs) - len(shared))
    assert min(values.n_own) > 0
    p, q = (cap.logits([-1])[0].double().softmax(-1) for cap in (left, right))
    p_shared, q_shared = p[[ours[piece] for piece in shared]], q[[theirs[piece] for piece in shared]]
    assert values.own == pytest.approx((1 - float(p_shared.sum()), 1 - float(q_shared.sum())), abs=1e-9)
    p_shared, q_shared = p_shared / p_shared.sum(), q_shared / q_shared.sum()
    divergence = float((p_shared * (p_shared / q_shared).log()).sum())
    assert values.left_from_right == pytest.approx(divergence, rel=1e-6)
    likeliest = [id for piece, id in theirs.items() if id in q.topk(6).indices.tolist()]
    assert {other_model.token_text(id) for id in likeliest} <= set(values.likeliest.texts)


def test_a_token_that_a_vocabulary_lacks_has_no_probability_there(
    tiny_models: dict[str, gv.Model], other_model: gv.Model
) -> None:
    left, right = tiny_models["gemma2"].capture("the"), other_model.capture("the")
    everything = left.model.spec.vocab_size + right.model.spec.vocab_size
    values = comparison.outputs(left, right, 1, 1, k=everything).likeliest
    probabilities = dict(zip(values.texts, zip(values.left, values.right, strict=True), strict=True))
    assert math.isnan(probabilities[" zebra"][0])
    assert probabilities[" zebra"][1] > 0
    assert math.isnan(probabilities[" green"][1])


def test_outputs_that_are_no_numbers_are_said_to_be_none(tiny_models: dict[str, gv.Model]) -> None:
    left = tiny_models["gemma3"].capture("the cat")
    broken = left.again(BROKEN)
    values = comparison.outputs(left, broken, 2, 2)
    assert values.is_finite == (True, False)
    assert math.isnan(values.left_from_right)
    assert math.isnan(values.right_from_left)
    assert len(values.likeliest.texts) == 6
    assert np.isnan(values.likeliest.right).all()
    assert values.favoured is None


def test_the_real_model_tells_two_capitals_apart_late(embedded: gv.Model) -> None:
    left, right = embedded.capture("The capital of France is"), embedded.capture("The capital of Italy is")
    values = comparison.streams(left, right)
    np.testing.assert_allclose(values.cosine[:, :4], 1, atol=1e-5)
    np.testing.assert_allclose(values.cosine[:8, 5], 1, atol=1e-3)
    assert values.cosine[13, 5] < 0.96
    compared = comparison.outputs(left, right, 5, 5)
    assert compared.gained.texts[0] == " Rome"
    assert compared.lost.texts[0] == " Paris"

"""Rows of the table, and how similar they are."""

import math
from itertools import pairwise

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.errors import SeveralTokens
from gemma_viz.stages import embedding


def test_rows_are_the_tables_and_the_scale_is_the_root_of_their_length(cap: gv.Capture) -> None:
    values = embedding.embedding(cap)
    table = cap.model.hf.model.embed_tokens.weight.detach().cpu().numpy()
    np.testing.assert_array_equal(values.rows, table[cap.token_ids.numpy()])
    assert values.scale == math.sqrt(cap.model.spec.d_model)
    np.testing.assert_allclose(values.scaled_norm, values.raw_norm * values.scale, rtol=1e-5)


def test_word_similarity_is_the_cosine_and_leaves_out_what_has_no_row(embedded: gv.Model) -> None:
    values = embedding.word_similarity(embedded, (("red", "blue"), ("antidisestablishmentarianism", "red")))
    assert values.words == ("red", "blue")
    assert values.groups == (0, 0)
    (left_out,) = values.left_out
    assert left_out.word == "antidisestablishmentarianism"
    assert len(left_out.pieces) > 1
    a, b = (embedded.embedding[embedded.token_id(piece)].cpu().numpy() for piece in ("▁red", "▁blue"))
    assert values.similarity[0, 1] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


GROUPS = tuple(tuple(line.split()) for line in embedding.ARTICLE_WORDS.splitlines())


def test_groups_are_compared_by_their_average_similarities(embedded: gv.Model) -> None:
    values = embedding.word_similarity(embedded, GROUPS)
    assert set(values.words) == {word for group in GROUPS for word in group}
    assert all(word in GROUPS[group] for word, group in zip(values.words, values.groups, strict=True))
    pairs = [(i, j) for i in range(12) for j in range(i)]
    same = [values.similarity[i, j] for i, j in pairs if values.groups[i] == values.groups[j]]
    other = [values.similarity[i, j] for i, j in pairs if values.groups[i] != values.groups[j]]
    assert values.within == pytest.approx(np.mean(same), abs=1e-5)
    assert values.between == pytest.approx(np.mean(other), abs=1e-5)
    assert values.within > values.between


def test_words_of_a_group_stand_together(embedded: gv.Model) -> None:
    groups = embedding.word_similarity(embedded, GROUPS).groups
    assert sum(a != b for a, b in pairwise(groups)) == 2, "three runs of one group each"


def test_the_map_is_the_principal_components_of_the_rows(embedded: gv.Model) -> None:
    values = embedding.word_similarity(embedded, GROUPS)
    rows = embedded.embedding[list(values.ids)].double().numpy()
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    rows -= rows.mean(0)
    variances, axes = np.linalg.eigh(np.cov(rows.T, ddof=0))
    expected = rows @ axes[:, [-1, -2]]
    for mine, theirs in zip(values.map.places.T, expected.T, strict=True):
        assert abs(mine @ theirs) == pytest.approx(np.linalg.norm(mine) * np.linalg.norm(theirs), rel=1e-4)
        assert np.linalg.norm(mine) == pytest.approx(np.linalg.norm(theirs), rel=1e-4)
    assert values.map.explained == pytest.approx(variances[-2:].sum() / variances.sum(), rel=1e-4)


@pytest.mark.parametrize("groups", [(), (("red",),), (("red", "blue"),), (("red",), ("blue",))])
def test_few_words_are_no_trouble(embedded: gv.Model, groups: tuple[tuple[str, ...], ...]) -> None:
    values = embedding.word_similarity(embedded, groups)
    n = sum(map(len, groups))
    assert len(values.words) == n
    assert values.similarity.shape == (n, n)
    assert values.map.places.shape == (n, 2)
    assert values.map.labels == values.words


def test_a_sum_of_words_is_the_nearest_to_the_sum_of_their_directions(embedded: gv.Model) -> None:
    found = embedding.add_words(embedded, ("king", "woman"), ("man",), "queen", k=5)
    table = embedded.embedding.double().numpy()
    table = table / np.maximum(np.linalg.norm(table, axis=-1, keepdims=True), 1e-12)
    king, woman, man, queen = (embedded.token_id("▁" + word) for word in ("king", "woman", "man", "queen"))
    total = table[king] + table[woman] - table[man]
    similarities = table @ total / np.linalg.norm(total)
    similarities[[king, woman, man]] = -np.inf
    assert found.nearest.ids == tuple(np.argsort(-similarities)[:5].tolist())
    assert found.nearest.similarities == pytest.approx(np.sort(similarities)[::-1][:5].tolist(), abs=1e-5)
    assert found.rank == int((similarities > similarities[queen]).sum()) + 1
    assert embedding.add_words(embedded, ("king",), ()).rank is None


def test_a_word_of_several_tokens_is_named(embedded: gv.Model) -> None:
    with pytest.raises(SeveralTokens, match="antidisestablishmentarianism") as raised:
        embedding.nearest_to_word(embedded, "antidisestablishmentarianism")
    assert "".join(raised.value.pieces) == "␣antidisestablishmentarianism"
    near = embedding.nearest_to_word(embedded, "red")
    assert near == embedded.nearest_tokens("▁red", 12)


def test_row_norms_are_the_table_s_by_kind(embedded: gv.Model) -> None:
    norms = embedding.row_norms(embedded).norms
    assert {kind: len(values) for kind, values in norms.items()} == {
        kind: embedded.vocabulary.kinds.count(kind) for kind in norms
    }
    assert sum(map(len, norms.values())) == embedded.spec.vocab_size
    first_byte = embedded.token_id("<0x00>")
    assert norms["byte"][0] == pytest.approx(float(embedded.embedding[first_byte].norm()), rel=1e-5)


def test_a_neighbourhood_is_the_token_among_its_nearest(embedded: gv.Model) -> None:
    cap = embedded.capture("I want to move")
    values = embedding.neighbourhood(cap, 4, k=9)
    near = embedded.nearest_tokens(cap.tokens[4].id, 9)
    assert values.labels == ("␣move", *(text.replace(" ", "␣") for text in near.texts))
    assert values.groups == (1,) + (0,) * 9
    assert values.places.shape == (10, 2)
    assert 0 < values.explained < 1

"""Rows of the table, and how similar they are."""

import math

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import embedding


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

"""Texts cut with smaller vocabularies, and the vocabulary browsed."""

import pytest

import gemma_viz as gv
from gemma_viz.stages import vocabulary
from gemma_viz.stages.vocabulary import TEXTS, YOURS


def test_sizes_end_with_the_whole_vocabulary(embedded: gv.Model, tiny: gv.Model) -> None:
    assert vocabulary.sizes(embedded)[0] == 1_000
    assert vocabulary.sizes(embedded)[-1] == embedded.vocabulary.n_text
    assert vocabulary.sizes(tiny) == (tiny.vocabulary.n_text,)


def test_a_smaller_vocabulary_cuts_finer_and_has_a_smaller_table(embedded: gv.Model) -> None:
    small, whole = (
        vocabulary.smaller_vocabulary(embedded, "I want to move", size) for size in (1_000, embedded.vocabulary.n_text)
    )
    assert whole.tokens == ("I", "▁want", "▁to", "▁move")
    assert (whole.cuts[YOURS].n_tokens, whole.cuts[YOURS].n_words, whole.cuts[YOURS].in_one_piece) == (4, 4, 1.0)
    assert len(small.tokens) > 4
    assert small.cuts[YOURS].in_one_piece < 1
    assert small.embedding_parameters == 1_000 * 640
    others = embedded.n_parameters - 262_144 * 640
    assert small.embedding_share == pytest.approx(640_000 / (640_000 + others))
    for name in TEXTS:
        assert small.cuts[name].n_tokens >= whole.cuts[name].n_tokens
        assert small.cuts[name].n_characters == len(TEXTS[name])


def test_browsing_finds_by_text_id_script_and_kind(embedded: gv.Model) -> None:
    entries, n = vocabulary.browse(embedded, " mov")
    assert n == len([piece for piece in embedded.tokenizer.get_vocab() if "▁mov" in piece])
    assert all("▁mov" in entry.piece for entry in entries)
    assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
    later, n_later = vocabulary.browse(embedded, " mov", first=entries[1].id)
    assert (later[0], n_later) == (entries[1], n - 1)
    cyrillic, _ = vocabulary.browse(embedded, script="CYRILLIC", limit=5)
    assert len(cyrillic) == 5
    assert {entry.script for entry in cyrillic} == {"Cyrillic"}
    special, n_special = vocabulary.browse(embedded, kind="special")
    assert "<bos>" in {entry.piece for entry in special}
    assert n_special == len(special)
    assert vocabulary.browse(embedded, "no such entry at all") == ((), 0)

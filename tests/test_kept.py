"""What a capture keeps of a run, and runs that share one: going on from an earlier text, several texts in one pass."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gemma_viz as gv
from tests.conftest import load_tiny
from tests.reference import LAYER_QUANTITIES, LONG_PROMPT, captured, difference, fingerprint, same


def held(value: Any) -> Iterator[Tensor]:
    """Every tensor that a capture holds on to, itself or by what it is made of, apart from its model's."""
    if isinstance(value, gv.Model):
        return
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from held(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from held(part)
    elif is_dataclass(value):
        yield from held([getattr(value, field.name) for field in fields(value)])
    elif isinstance(value, gv.Capture):
        yield from held(vars(value))


def storage_bytes(cap: gv.Capture) -> dict[int, int]:
    """Bytes of each distinct piece of memory that a capture keeps alive."""
    storages = [tensor.untyped_storage() for tensor in held(cap)]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def test_a_capture_keeps_what_enters_the_layers_the_keys_and_the_values_and_nothing_else(tiny: gv.Model) -> None:
    cap = tiny.capture(LONG_PROMPT)
    for layer in range(4):
        assert cap.attention(layer).pattern.shape == (6, len(cap), len(cap))
        cap.mlp(layer), cap.resid_mid(layer)
    cap.ranking(cap.token_ids)
    spec, n = tiny.spec, len(cap)
    stream = (spec.n_layers + 1) * n * spec.d_model * 4
    keys_and_values = spec.n_layers * 2 * spec.n_kv_heads * n * spec.d_head * 4
    assert sum(storage_bytes(cap).values()) == stream + keys_and_values + n * 8  # the token ids


def test_a_capture_of_the_embedded_model_keeps_less_than_the_stream_before_and_after_every_sublayer(
    embedded: gv.Model,
) -> None:
    cap = embedded.capture("I want to move")
    stream = (2 * embedded.spec.n_layers + 1) * len(cap) * embedded.spec.d_model * 4
    assert sum(storage_bytes(cap).values()) < stream


# Going on from an earlier capture


def count_tokens_run(model: gv.Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that go through the first layer, one entry for each call."""
    seen: list[int] = []
    layer = model.hf.model.layers[0]
    plain = layer.forward

    def counted(stream: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(stream.shape[1])
        return plain(stream, *args, **kwargs)

    monkeypatch.setattr(layer, "forward", counted)
    return seen


# A matrix product of a few rows sums in another order than one of many, so values that went on from an earlier capture
# differ by rounding once more; the largest difference seen is 5e-5.
GROWN_TOLERANCE = 2e-4

SHARED = "the red cat the red cat "
"""Longer than the tiny models' windows."""


@pytest.mark.parametrize(
    ("earlier", "later", "n_run"),
    [
        ("", "the green zebra", None),  # everything but <bos>
        (SHARED + "the", SHARED + "the green zebra moving", None),
        (SHARED + "want to move it", SHARED + "green", None),
        (SHARED + "the", SHARED + "the", 1),  # nothing differs: the last token is run
        (SHARED + "the green zebra", SHARED, 1),  # a part of the earlier text
    ],
)
def test_a_capture_that_goes_on_from_an_earlier_one_equals_one_made_afresh(
    tiny: gv.Model, earlier: str, later: str, n_run: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, fresh = tiny.capture(earlier), tiny.capture(later)
    kept = fingerprint(before)
    n_shared = next(
        (i for i, (a, b) in enumerate(zip(before.token_ids, fresh.token_ids, strict=False)) if a != b),
        min(len(before), len(fresh)),
    )
    tokens_run = count_tokens_run(tiny, monkeypatch)
    cap = tiny.capture(later, earlier=[before])
    assert tokens_run == [n_run or len(fresh) - n_shared]
    assert cap.tokens == fresh.tokens
    for layer in range(4):
        found, expected = captured(cap, layer), captured(fresh, layer)
        for name in LAYER_QUANTITIES:
            assert difference(found[name], expected[name]) < GROWN_TOLERANCE, f"{name} of layer {layer}"
        assert difference(cap.replayed_resid_post(layer), cap.resid_post(layer)) < GROWN_TOLERANCE
    assert difference(cap.logits(range(len(cap))), fresh.logits(range(len(cap)))) < GROWN_TOLERANCE
    assert same(fingerprint(before), kept), "the earlier capture stays as it was"


def test_a_text_grown_token_by_token_equals_one_made_afresh(embedded: gv.Model) -> None:
    words = ["The", "capital", "of", "France", "is", "Paris", "and", "the", "capital", "of", "Italy", "is"]
    cap = embedded.capture(words[0])
    for end in range(2, len(words) + 1):
        cap = embedded.capture(" ".join(words[:end]), earlier=[cap])
    fresh = embedded.capture(" ".join(words))
    for layer in range(embedded.spec.n_layers):
        assert difference(cap.resid_post(layer), fresh.resid_post(layer)) < GROWN_TOLERANCE
    assert difference(cap.logits([-1]), fresh.logits([-1])) < GROWN_TOLERANCE
    assert cap.top_k(10).ids == fresh.top_k(10).ids


@pytest.mark.parametrize("edits", [gv.Edits(rope=False), gv.Edits(norms=False, embedding_scale=False)])
def test_an_edited_run_goes_on_from_one_with_the_same_edits(
    tiny: gv.Model, edits: gv.Edits, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, fresh = tiny.capture(SHARED, edits), tiny.capture(SHARED + "green zebra", edits)
    tokens_run = count_tokens_run(tiny, monkeypatch)
    cap = tiny.capture(SHARED + "green zebra", edits, [before])
    assert tokens_run[0] < len(fresh)
    assert difference(cap.resid_post(3), fresh.resid_post(3)) < GROWN_TOLERANCE


def test_of_several_earlier_captures_the_one_that_shares_most_is_gone_on_from(
    tiny: gv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [tiny.capture(text) for text in ("green", SHARED + "the cat", SHARED)]
    fresh = tiny.capture(SHARED + "the cat moving")
    tokens_run = count_tokens_run(tiny, monkeypatch)
    cap = tiny.capture(SHARED + "the cat moving", earlier=before)
    assert tokens_run == [len(fresh) - len(before[1])]
    assert difference(cap.resid_post(3), fresh.resid_post(3)) < GROWN_TOLERANCE


def test_nothing_is_taken_over_from_a_run_that_cannot_serve(
    tiny: gv.Model, tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone_sees_everyone = gv.Edits(causal_mask=False)
    twin = load_tiny(tiny_checkpoints["gemma1"])
    others = [
        (tiny.capture(SHARED, gv.Edits(rope=False)), gv.Edits()),  # other edits
        (tiny.capture(SHARED, everyone_sees_everyone), everyone_sees_everyone),  # values depend on what follows
        (twin.capture(SHARED), gv.Edits()),  # another model
    ]
    for earlier, edits in others:
        fresh = tiny.capture(SHARED + "green", edits)
        with monkeypatch.context() as counting:
            tokens_run = count_tokens_run(tiny, counting)
            cap = tiny.capture(SHARED + "green", edits, [earlier])
            assert tokens_run == [len(fresh)]
        assert torch.equal(cap.resid_post(3), fresh.resid_post(3))


# Several texts in one pass

TOGETHER = ("the", SHARED + "the green zebra", "", SHARED)


def test_texts_that_are_run_together_have_the_values_of_runs_made_alone(
    tiny: gv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [tiny.capture(text) for text in TOGETHER]
    tokens_run = count_tokens_run(tiny, monkeypatch)
    together = tiny.capture_together(TOGETHER)
    assert tokens_run == [sum(map(len, alone))]
    for cap, fresh in zip(together, alone, strict=True):
        assert (cap.text, cap.tokens, cap.edits) == (fresh.text, fresh.tokens, fresh.edits)
        for layer in range(4):
            found, expected = captured(cap, layer), captured(fresh, layer)
            for name in LAYER_QUANTITIES:
                assert difference(found[name], expected[name]) < GROWN_TOLERANCE, f"{name} of layer {layer}"
        assert difference(cap.logits(range(len(cap))), fresh.logits(range(len(cap)))) < GROWN_TOLERANCE


def test_whom_a_text_is_run_with_changes_nothing(tiny: gv.Model) -> None:
    """The same bits, when the others are other texts of the same length: no number of theirs is in one of its own."""
    first = tiny.capture_together(("the red cat", "the red cat moving", SHARED))
    other = tiny.capture_together(("the red cat", "the cat red moving", SHARED))
    assert [len(cap) for cap in first] == [len(cap) for cap in other]
    for n in (0, 2):
        for layer in range(4):
            assert torch.equal(first[n].resid_post(layer), other[n].resid_post(layer))


def test_a_text_run_with_others_keeps_nothing_of_theirs(tiny: gv.Model) -> None:
    cap = tiny.capture_together(TOGETHER)[0]
    assert sum(storage_bytes(cap).values()) == sum(storage_bytes(tiny.capture(TOGETHER[0])).values())


def test_a_text_that_was_run_with_others_can_be_gone_on_from(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before, fresh = tiny.capture_together(TOGETHER)[3], tiny.capture(SHARED + "green")
    tokens_run = count_tokens_run(tiny, monkeypatch)
    cap = tiny.capture(SHARED + "green", earlier=[before])
    assert tokens_run[0] < len(fresh)
    assert difference(cap.resid_post(3), fresh.resid_post(3)) < GROWN_TOLERANCE

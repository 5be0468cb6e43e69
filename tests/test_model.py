"""What a loaded model answers without a capture."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import gemma_viz as gv
from gemma_viz import model as model_module
from tests.conftest import DEVICE, FAMILIES, PROMPT, load_tiny


def brute_force(model: gv.Model, id: int) -> np.ndarray:
    """Cosine similarity with every row, in float64."""
    table = model.hf.model.embed_tokens.weight.detach().double().cpu().numpy()
    return table @ table[id] / np.linalg.norm(table, axis=1) / np.linalg.norm(table[id])


def test_nearest_tokens_are_those_with_the_largest_cosine(tiny: gv.Model) -> None:
    id = tiny.token_id("▁red")
    nearest, cosine = tiny.nearest_tokens("▁red", k=7), brute_force(tiny, id)
    cosine[id] = -2  # itself is left out
    assert nearest.ids == tuple(np.argsort(-cosine)[:7].tolist())
    assert nearest.similarities == pytest.approx(np.sort(cosine)[::-1][:7].tolist(), abs=1e-6)
    assert nearest.texts == tuple(tiny.token_text(other) for other in nearest.ids)
    assert nearest == tiny.nearest_tokens(id, k=7)


def test_nearest_tokens_of_the_embedded_model(embedded: gv.Model) -> None:
    id = embedded.token_id("▁red")
    cosine = brute_force(embedded, id)
    cosine[id] = -2
    nearest = embedded.nearest_tokens("▁red", k=5)
    assert nearest.similarities == pytest.approx(np.sort(cosine)[::-1][:5].tolist(), abs=1e-5)
    assert {"▁Red", "▁blue"} & {embedded.tokenizer.convert_ids_to_tokens(other) for other in nearest.ids}


def testrow_norms_in_blocks_are_the_same(tiny_models: dict[str, gv.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_models["gemma1"]
    expected = model.nearest_tokens("▁cat")
    monkeypatch.setattr(model_module, "ROWS_AT_ONCE", 7)
    model.__dict__.pop("row_norms")
    assert model.nearest_tokens("▁cat") == expected


def test_a_row_of_zeros_is_near_to_nothing(tiny_checkpoints: dict[str, Path]) -> None:
    model = load_tiny(tiny_checkpoints["gemma1"])
    with torch.no_grad():
        model.hf.model.embed_tokens.weight[0] = 0
    assert 0 not in model.nearest_tokens("▁red", k=5).ids
    assert set(model.nearest_tokens(0, k=5).similarities) == {0.0}


def test_an_unknown_piece_is_named_and_explained(tiny: gv.Model) -> None:
    with pytest.raises(KeyError, match="'▁zebra' is not in the vocabulary"):
        tiny.nearest_tokens("▁zebra")


@pytest.mark.parametrize("id", [-1, 10_000])
def test_an_unknown_id_is_an_index_error(tiny: gv.Model, id: int) -> None:
    with pytest.raises(IndexError, match=f"no token {id}: the ids are 0 to {tiny.spec.vocab_size - 1}"):
        tiny.nearest_tokens(id)


def test_unembedding_the_normed_stream_gives_the_models_logits(tiny: gv.Model) -> None:
    cap = tiny.capture("the red cat")
    logits = tiny.unembed(cap.final_norm())
    with torch.no_grad():
        expected = tiny.hf(cap.token_ids[None].to(tiny.device)).logits[0]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_parameters_are_counted_once(embedded: gv.Model) -> None:
    assert embedded.n_parameters == 268_098_176


def test_a_repr_says_what_runs_where(tiny_models: dict[str, gv.Model]) -> None:
    for number, family in enumerate(FAMILIES, start=1):
        assert f"Gemma {number}, torch.float32 on {torch.device(DEVICE)}" in repr(tiny_models[family])


def test_the_limit_is_the_context_length_where_memory_is_plenty(tiny: gv.Model) -> None:
    assert tiny.token_limit == tiny.spec.context_length == 512


def test_the_limit_shrinks_with_the_free_memory(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(free: int) -> int:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
        return gv.load(tiny_checkpoints["gemma3"], device="cpu", dtype=torch.float32).token_limit

    limits = [limit(free) for free in (10**9, 10**7, 10**6, 10**5, 0)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] == 512
    assert 1 <= limits[-1] < limits[2] < 512


def test_a_model_made_by_hand_is_seen_into_as_a_loaded_one(tiny_checkpoints: dict[str, Path]) -> None:
    folder = tiny_checkpoints["gemma2"]
    hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # with transformers' own attention
    by_hand = gv.Model(hf, AutoTokenizer.from_pretrained(folder), "by hand")
    cap, expected = by_hand.capture(PROMPT), gv.load(folder, device="cpu", dtype="float32").capture(PROMPT)
    assert torch.equal(cap.attention(1).pattern, expected.attention(1).pattern)
    again = gv.Model(hf, by_hand.tokenizer, "once more").capture(PROMPT, gv.Edits(rope=False, mlp=False))
    assert torch.equal(again.logits([-1]), by_hand.capture(PROMPT, gv.Edits(rope=False, mlp=False)).logits([-1]))


@pytest.mark.parametrize("text", [["the", "cat"], None, 3, b"the"], ids=str)
def test_what_is_no_text_is_a_type_error(tiny: gv.Model, text: Any) -> None:
    with pytest.raises(TypeError, match="A text is a str"):
        tiny.capture(text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"edits": {"rope": False}}, "edits is of type dict"),
        ({"edits": "rope-off"}, "edits is of type str"),
        ({"patch": 3}, "patch is of type int"),
        ({"earlier": ["the"]}, "earlier takes captures"),
    ],
)
def test_edits_patches_and_earlier_runs_are_what_they_say(tiny: gv.Model, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        tiny.capture("the cat", **wrong)
    with pytest.raises(TypeError, match=said):
        tiny.capture_ids([2, 5], **wrong)


def test_several_texts_are_no_text(tiny: gv.Model) -> None:
    with pytest.raises(TypeError, match="takes several"):
        tiny.capture_together("the cat")


def test_ids_may_be_a_tensor_s_or_numpy_s(tiny: gv.Model) -> None:
    ids = tiny.capture("the cat").token_ids
    assert tiny.capture_ids(ids).token_ids.tolist() == ids.tolist()  # type: ignore[arg-type]
    assert tiny.capture_ids(ids.numpy()).token_ids.tolist() == ids.tolist()
    with pytest.raises(TypeError):
        tiny.capture_ids([1.5])  # type: ignore[list-item]

"""Patching against the same exchange written by hand into a plain run of transformers' own model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gemma_viz as gv
from gemma_viz.errors import EditsError
from gemma_viz.patching import Patch, patched_heads_logits, patched_logits
from tests.conftest import FAMILIES
from tests.reference import load_reference

CLEAN, CORRUPTED = "the cat want to move", "the red want to move"
KINDS = ("resid_pre", "attn_out", "mlp_out", "z")


def module_of(hf: Any, kind: str, layer: int) -> tuple[torch.nn.Module, bool]:
    """Where a value is made, and whether it goes in there or comes out."""
    module = hf.model.layers[layer]
    after_norms = hasattr(module, "post_feedforward_layernorm")
    return {
        "resid_pre": (module, True),
        "z": (module.self_attn.o_proj, True),
        "attn_out": (module.post_attention_layernorm if after_norms else module.self_attn.o_proj, False),
        "mlp_out": (module.post_feedforward_layernorm if after_norms else module.mlp, False),
    }[kind]


@torch.no_grad()
def exchanged(
    folder: Path, ids: Tensor, source_ids: Tensor, kind: str, layer: int, position: int, part: slice
) -> Tensor:
    """The last logits of a run in which one value is another run's."""
    hf = load_reference(folder)
    module, goes_in = module_of(hf, kind, layer)
    seen: list[Tensor] = []

    def note_input(_: Any, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0].clone())

    def note_output(_: Any, __: Any, output: Tensor) -> None:
        seen.append(output.clone())

    def put(value: Tensor) -> Tensor:
        value = value.clone()
        value[0, position, part] = seen[0][0, position, part]
        return value

    note: Any = module.register_forward_pre_hook(note_input) if goes_in else module.register_forward_hook(note_output)
    hf(source_ids[None], use_cache=False)
    note.remove()
    if goes_in:
        module.register_forward_pre_hook(lambda _, args: (put(args[0]), *args[1:]))
    else:
        module.register_forward_hook(lambda _, __, output: put(output))
    return hf(ids[None], use_cache=False).logits[0, -1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_value_of_another_run_takes_the_place_of_the_run_s_own(
    family: str, kind: Any, tiny_models: dict[str, gv.Model], tiny_checkpoints: dict[str, Path]
) -> None:
    model = tiny_models[family]
    clean, corrupted = model.capture(CLEAN), model.capture(CORRUPTED)
    head = 2 if kind == "z" else None
    part = slice(2 * model.spec.d_head, 3 * model.spec.d_head) if kind == "z" else slice(None)
    position = next(i for i, (a, b) in enumerate(zip(clean.tokens, corrupted.tokens, strict=True)) if a.id != b.id)
    for layer in (0, 2):
        patched = model.capture(CORRUPTED, patch=Patch(clean, kind, layer, position, head))
        ids = corrupted.token_ids, clean.token_ids
        by_hand = exchanged(tiny_checkpoints[family], *ids, kind, layer, position, part)
        torch.testing.assert_close(patched.logits([-1])[0], by_hand, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(patched.logits([-1]), corrupted.logits([-1]), atol=1e-3)
        assert torch.equal(patched.replayed_resid_post(layer), patched.resid_post(layer))


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_a_map_are_what_captures_give(tiny: gv.Model, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma_viz.patching.TOKENS_AT_ONCE", 12)  # several batches
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    head, tokens = (4 if kind == "z" else None), [5, 300]
    rows = patched_logits(corrupted, clean, kind, 1, tokens, head)
    assert rows.shape == (len(clean), 2)
    for position in range(len(clean)):
        one = tiny.capture(CORRUPTED, patch=Patch(clean, kind, 1, position, head)).logits([-1])[0, tokens]
        torch.testing.assert_close(rows[position], one, rtol=1e-4, atol=1e-4)


def test_the_whole_stream_of_the_last_token_at_the_last_layer_is_the_other_run_s_answer(tiny: gv.Model) -> None:
    clean, last = tiny.capture(CLEAN), len(tiny.capture(CLEAN)) - 1
    edits = gv.Edits(attention=False, layers=frozenset({3}))  # so that nothing else is read
    clean = tiny.capture(CLEAN, edits)
    patched = tiny.capture(CORRUPTED, edits, patch=Patch(clean, "resid_pre", 3, last))
    torch.testing.assert_close(patched.logits([-1]), clean.logits([-1]), rtol=1e-4, atol=1e-5)


def test_a_patched_run_is_no_beginning_of_another(tiny: gv.Model) -> None:
    clean = tiny.capture(CLEAN)
    patched = tiny.capture(CORRUPTED, patch=Patch(clean, "mlp_out", 0, 2))
    longer = f"{CORRUPTED} it"
    again, fresh = tiny.capture(longer, earlier=[patched]), tiny.capture(longer)
    assert torch.equal(again.resid_post(3), fresh.resid_post(3))


def test_what_cannot_be_patched_is_refused_with_a_sentence(
    tiny: gv.Model, tiny_models_without_bos: dict[str, gv.Model]
) -> None:
    clean = tiny.capture(CLEAN)
    for arguments in (("resid_pre", 9, 0), ("mlp_out", 0, 99), ("z", 0, 0), ("z", 0, 0, 17), ("attn_out", 0, 0, 1)):
        with pytest.raises(EditsError, match=r"\.$"):
            Patch(clean, *arguments)  # type: ignore[arg-type]
    with pytest.raises(EditsError, match="no token 4"):
        tiny.capture("it", patch=Patch(clean, "mlp_out", 0, 4))
    with pytest.raises(EditsError, match="same model"):
        tiny_models_without_bos["gemma1"].capture(CLEAN, patch=Patch(clean, "mlp_out", 0, 0))
    with pytest.raises(EditsError, match="the same number"):
        patched_logits(tiny.capture("the cat"), clean, "mlp_out", 0, [1])


def test_all_heads_of_a_layer_at_one_position_are_what_captures_give(tiny: gv.Model) -> None:
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    rows = patched_heads_logits(corrupted, clean, 2, 3, [5, 300])
    assert rows.shape == (tiny.spec.n_heads, 2)
    for head in range(tiny.spec.n_heads):
        one = tiny.capture(CORRUPTED, patch=Patch(clean, "z", 2, 3, head)).logits([-1])[0, [5, 300]]
        torch.testing.assert_close(rows[head], one, rtol=1e-4, atol=1e-4)


def test_runs_with_different_edits_have_no_beginning_in_common(tiny: gv.Model) -> None:
    clean, corrupted = tiny.capture(CLEAN, gv.Edits(rope=False)), tiny.capture(CORRUPTED)
    rows = patched_logits(corrupted, clean, "resid_pre", 1, [5, 300])
    one = tiny.capture(CORRUPTED, patch=Patch(clean, "resid_pre", 1, 1)).logits([-1])[0, [5, 300]]
    torch.testing.assert_close(rows[1], one, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(rows[1], corrupted.logits([-1])[0, [5, 300]], atol=1e-3)

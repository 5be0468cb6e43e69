"""Each switch against the same surgery done plainly on a model that Gemma Viz has never touched."""

import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

import gemma_viz as gv
from tests.conftest import FAMILIES, PROMPT, load_tiny
from tests.reference import load_reference

STEPS = ("embedding_scale", "norms", "attention", "causal_mask", "rope", "mlp", "final_norm")
NORM_KINDS = ("attention_norms", "mlp_norms")

# Changes a model, or the arguments of its call.
Surgery = Callable[[PreTrainedModel, dict[str, Any]], None]


def unscaled_rows(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    ids = call.pop("input_ids")
    call["inputs_embeds"] = hf.model.embed_tokens.weight[ids]


def no_norms(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    for layer in hf.model.layers:
        for name, _ in list(layer.named_children()):
            if name.endswith("layernorm"):
                setattr(layer, name, nn.Identity())


def no_attention(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    for layer in hf.model.layers:
        layer.self_attn.o_proj.weight.zero_()


def no_mlp(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    for layer in hf.model.layers:
        layer.mlp.down_proj.weight.zero_()


def everything_is_seen(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    n = call["input_ids"].shape[1]
    nothing_hidden = torch.zeros(1, 1, n, n)
    kinds = set(getattr(hf.config, "layer_types", None) or ())
    call["attention_mask"] = dict.fromkeys(kinds, nothing_hidden) if kinds else nothing_hidden


def nothing_is_turned(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    turn = hf.model.rotary_emb.forward

    def no_turn(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        cos, _ = turn(*args, **kwargs)
        return torch.full_like(cos, 1), torch.full_like(cos, 0)

    hf.model.rotary_emb.forward = no_turn


def no_final_norm(hf: PreTrainedModel, call: dict[str, Any]) -> None:
    hf.model.norm = nn.Identity()


SURGERY: dict[str, Surgery] = {
    "embedding_scale": unscaled_rows,
    "norms": no_norms,
    "attention": no_attention,
    "causal_mask": everything_is_seen,
    "rope": nothing_is_turned,
    "mlp": no_mlp,
    "final_norm": no_final_norm,
}


def operated(folder: Path, ids: Tensor, steps: tuple[str, ...]) -> tuple[list[Tensor], Tensor]:
    """What each layer gives, and the logits, of a model on which the steps were left out by hand."""
    hf = load_reference(folder)
    call: dict[str, Any] = {"input_ids": ids[None], "use_cache": False}
    streams: list[Tensor] = []
    with torch.no_grad():
        for step in sorted(steps, key=STEPS[::-1].index):  # the embedding last: it takes the ids out of the call
            SURGERY[step](hf, call)
        for layer in hf.model.layers:
            layer.register_forward_hook(lambda _, __, output: streams.append(output[0]))
        logits = hf(**call).logits[0]
    return streams, logits


@pytest.fixture(scope="module")
def calm_checkpoints(tiny_checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny models with smaller weights: without norms the stream of the others leaves what float32 can hold."""
    root = tmp_path_factory.mktemp("calm")
    for family, folder in tiny_checkpoints.items():
        weights = load_file(shutil.copytree(folder, root / family) / "model.safetensors")
        calm = {name: 0.25 * weight for name, weight in weights.items()}
        save_file(calm, root / family / "model.safetensors", {"format": "pt"})
    return {family: root / family for family in tiny_checkpoints}


@pytest.fixture(scope="module")
def calm_models(calm_checkpoints: dict[str, Path]) -> dict[str, gv.Model]:
    return {family: load_tiny(folder) for family, folder in calm_checkpoints.items()}


def assert_same(cap: gv.Capture, streams: list[Tensor], logits: Tensor) -> None:
    pairs = [(cap.resid_post(layer), stream) for layer, stream in enumerate(streams)]
    for ours, by_hand in [*pairs, (cap.logits(range(len(cap))), logits)]:
        torch.testing.assert_close(ours, by_hand, rtol=1e-4, atol=1e-5 * by_hand.abs().max().item())


CHOICES = [(), *((step,) for step in STEPS), *combinations(STEPS, 2), STEPS]


@pytest.mark.parametrize("steps", CHOICES, ids=lambda steps: "+".join(steps) or "nothing")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_left_out_is_left_out(family: str, steps: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    size = "calm" if "norms" in steps else "tiny"
    model = request.getfixturevalue(f"{size}_models")[family]
    cap = model.capture(PROMPT, gv.Edits(**dict.fromkeys(steps, False)))
    assert cap.logits([-1]).isfinite().all()
    assert_same(cap, *operated(request.getfixturevalue(f"{size}_checkpoints")[family], cap.token_ids, steps))


@pytest.mark.parametrize("step", [*STEPS, *NORM_KINDS])
def test_every_step_matters(tiny: gv.Model, step: str) -> None:
    without = tiny.capture(PROMPT, gv.Edits(**{step: False})).logits([-1])
    assert not torch.allclose(without, tiny.capture(PROMPT).logits([-1]), atol=1e-2)


def test_no_edits_change_not_one_bit(tiny: gv.Model) -> None:
    plain, edited = tiny.capture(PROMPT), tiny.capture(PROMPT, gv.Edits())
    assert torch.equal(plain.logits(range(len(plain))), edited.logits(range(len(plain))))
    for layer in range(tiny.spec.n_layers):
        assert torch.equal(plain.resid_post(layer), edited.resid_post(layer))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_replayed_layer_leaves_out_the_same(family: str, step: str, calm_models: dict[str, gv.Model]) -> None:
    cap = calm_models[family].capture(PROMPT, gv.Edits(**{step: False}))
    for layer in range(cap.model.spec.n_layers):
        assert torch.equal(cap.replayed_resid_post(layer), cap.resid_post(layer))
        pattern = cap.attention(layer).pattern
        torch.testing.assert_close(pattern.sum(-1), torch.ones(pattern.shape[:2]))


IN_LAYERS = tuple(step for step in STEPS if step not in ("embedding_scale", "final_norm"))


@pytest.mark.parametrize("step", [*IN_LAYERS, *NORM_KINDS])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_is_left_out_in_the_chosen_layers_only(family: str, step: str, calm_models: dict[str, gv.Model]) -> None:
    model = calm_models[family]

    def streams(layers: frozenset[int] | None) -> list[Tensor]:
        cap = model.capture(PROMPT, gv.Edits(**{step: False}, layers=layers))  # type: ignore[arg-type]
        assert torch.equal(cap.replayed_resid_post(1), cap.resid_post(1))
        return [cap.resid_post(layer) for layer in range(4)]

    plain = model.capture(PROMPT)
    untouched = [plain.resid_post(layer) for layer in range(4)]
    everywhere = streams(None)
    assert all(map(torch.equal, streams(frozenset()), untouched))
    assert all(map(torch.equal, streams(frozenset(range(4))), everywhere))
    assert torch.equal(streams(frozenset({0}))[0], everywhere[0])
    in_the_third = streams(frozenset({2}))
    assert all(map(torch.equal, in_the_third[:2], untouched[:2]))
    assert not torch.equal(in_the_third[2], untouched[2])


def test_the_norms_of_one_kind_of_sublayer_are_left_out(tiny: gv.Model) -> None:
    no_attention_norms = tiny.capture(PROMPT, gv.Edits(attention_norms=False))
    assert torch.equal(no_attention_norms.attention(0).input, no_attention_norms.resid_pre(0))
    assert torch.equal(no_attention_norms.attention(0).out, no_attention_norms.attention(0).projected)
    assert not torch.equal(no_attention_norms.mlp(0).input, no_attention_norms.resid_mid(0))
    no_mlp_norms = tiny.capture(PROMPT, gv.Edits(mlp_norms=False))
    assert torch.equal(no_mlp_norms.mlp(0).input, no_mlp_norms.resid_mid(0))
    assert torch.equal(no_mlp_norms.mlp(0).out, no_mlp_norms.mlp(0).projected)
    assert torch.equal(no_mlp_norms.attention(0).input, tiny.capture(PROMPT).attention(0).input)


def test_the_norms_of_both_kinds_are_all_norms(calm_models: dict[str, gv.Model]) -> None:
    for model in calm_models.values():
        both = model.capture(PROMPT, gv.Edits(attention_norms=False, mlp_norms=False))
        assert torch.equal(both.resid_post(3), model.capture(PROMPT, gv.Edits(norms=False)).resid_post(3))


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.forward = function


def other_function(function: Callable[[Tensor], Tensor]) -> Surgery:
    def surgery(hf: PreTrainedModel, call: dict[str, Any]) -> None:
        for layer in hf.model.layers:
            layer.mlp.act_fn = Applied(function)

    return surgery


def other_positions(change: Callable[[Tensor], Tensor]) -> Surgery:
    def surgery(hf: PreTrainedModel, call: dict[str, Any]) -> None:
        turn = hf.model.rotary_emb.forward
        hf.model.rotary_emb.forward = lambda x, position_ids, *kind: turn(x, change(position_ids), *kind)

    return surgery


CHANGES: dict[gv.Edits, Surgery] = {
    gv.Edits(rope_shift=7): other_positions(lambda positions: positions + 7),
    gv.Edits(rope_stretch=0.5): other_positions(lambda positions: positions / 2),
    gv.Edits(rope_shift=3, rope_stretch=2.0): other_positions(lambda positions: positions * 2 + 3),
    gv.Edits(activation="relu"): other_function(lambda gate: gate.clamp_min(0)),
    gv.Edits(activation="identity"): other_function(lambda gate: gate),
    gv.Edits(activation="gelu_exact"): other_function(lambda gate: gate * (1 + torch.erf(gate / 2**0.5)) / 2),
    gv.Edits(gate=False): other_function(torch.ones_like),
}


def changed_fields(edits: gv.Edits) -> dict[str, object]:
    return {name: value for name, value in vars(edits).items() if value != getattr(gv.Edits(), name)}


@pytest.mark.parametrize("edits", CHANGES, ids=lambda edits: str(changed_fields(edits)))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_done_otherwise_is_done_so_in_every_layer(
    family: str, edits: gv.Edits, tiny_models: dict[str, gv.Model], tiny_checkpoints: dict[str, Path]
) -> None:
    cap = tiny_models[family].capture(PROMPT, edits)
    hf = load_reference(tiny_checkpoints[family])
    CHANGES[edits](hf, {})
    with torch.no_grad():
        by_hand = hf(input_ids=cap.token_ids[None], use_cache=False, output_hidden_states=True)
    for layer in range(4):
        assert torch.equal(cap.replayed_resid_post(layer), cap.resid_post(layer))
        if layer < 3:  # the last one is given after the final norm
            expected = by_hand.hidden_states[layer + 1][0]
            torch.testing.assert_close(
                cap.resid_post(layer), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
            )
    torch.testing.assert_close(cap.logits(range(len(cap))), by_hand.logits[0], rtol=1e-3, atol=1e-3)
    elsewhere = tiny_models[family].capture(PROMPT, edits.only_in())
    assert torch.equal(elsewhere.resid_post(3), tiny_models[family].capture(PROMPT).resid_post(3))


def test_all_steps_are_tested() -> None:
    changed = {name for edits in CHANGES for name in changed_fields(edits)}
    assert {field.name for field in fields(gv.Edits)} == {*STEPS, *NORM_KINDS, *changed, "layers"}


def test_edits_are_values() -> None:
    edits = gv.Edits(rope=False, norms=False)
    assert {edits: 1}[gv.Edits(norms=False, rope=False)] == 1
    assert gv.Edits() != edits
    assert gv.Edits(rope=False, layers=frozenset({1})) != gv.Edits(rope=False)
    assert gv.Edits(rope=False).only_in(1, 2) == gv.Edits(rope=False, layers=frozenset({1, 2}))
    with pytest.raises(FrozenInstanceError):
        edits.rope = True  # type: ignore[misc]


@pytest.mark.parametrize("edits", [gv.Edits(pattern="uniform"), gv.Edits(attention_temperature=1e300)])
def test_even_attention_reads_the_mean_of_the_values_it_sees(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    for layer in range(tiny.spec.n_layers):
        values, window = cap.attention(layer), tiny.spec.window(layer) or len(cap)
        v = values.v.repeat_interleave(tiny.spec.group_size, 0)  # [head, position, d_head]
        means = [v[:, max(0, query - window + 1) : query + 1].mean(1) for query in range(len(cap))]
        torch.testing.assert_close(values.z, torch.stack(means, 1), atol=1e-5, rtol=1e-4)

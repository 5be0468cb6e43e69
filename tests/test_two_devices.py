"""A model whose layers are on two devices gives what it gives on one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import gemma_viz as gv
from gemma_viz import checkpoints
from gemma_viz import model as model_module
from gemma_viz.errors import OutOfMemory
from gemma_viz.generation import generate
from gemma_viz.instrument import ATTENTION
from gemma_viz.patching import Patch, patched_heads_logits, patched_logits
from gemma_viz.placement import Placement
from gemma_viz.sampling import Sampling
from gemma_viz.stages import heads, mlp_alone, neuron
from tests.conftest import FAMILIES, PROMPT
from tests.reference import LAYER_QUANTITIES, captured
from tests.two_devices import CPU, HAS_GPU, HERE, OTHER, THERE, Elsewhere, load_spread, other_device

# Sums in another order, carried on through the layers; a value of another place is off by more than a tenth.
TOLERANCE = 3e-4 if HAS_GPU else 3e-5
OTHER_PROMPT = "I want to move the green cat, moving it to the red zebra"

CHANGES = (
    gv.Edits(attention_residual=False),
    gv.Edits(mlp_residual=False).only_in(1),
    gv.Edits(rope=False),
    gv.Edits(rope_theta=100.0, rope_shift=3),
    gv.Edits(rope_shuffle=1),
    gv.Edits(queries_from=((0, 5), (1, 3))),
    gv.Edits(causal_mask=False, window=3),
    gv.Edits(attention=False, removal="mean").only_in(2),
    gv.Edits(without_heads=frozenset({(1, 0), (3, 1)}), without_neurons=frozenset({(2, 7)})),
    gv.Edits(activation="relu", attention_norms=False),
    gv.Edits(final_norm=False, embedding_scale=False),
    gv.Edits(weight_bits=4, unembedding_seed=3),
)


@pytest.fixture(autouse=True)
def _pretended_where_there_is_no_gpu() -> Iterator[None]:
    with other_device():
        yield


@pytest.fixture(scope="module", params=FAMILIES)
def models(request: pytest.FixtureRequest, tiny_checkpoints: dict[str, Path]) -> tuple[gv.Model, gv.Model]:
    """On one device and on two."""
    folder = tiny_checkpoints[request.param]
    return gv.load(folder, device="cpu", dtype=torch.float32), load_spread(folder)


@pytest.fixture
def pair(models: tuple[gv.Model, gv.Model]) -> tuple[gv.Capture, gv.Capture]:
    one, two = models
    return one.capture(PROMPT), two.capture(PROMPT)


def assert_same(theirs: Tensor, ours: Tensor) -> None:
    assert ours.device == CPU
    assert_near(theirs, ours)


def assert_near(theirs: Tensor, ours: Tensor) -> None:
    largest = max(1.0, float(theirs[theirs.isfinite()].abs().max()))
    torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=TOLERANCE * largest)


@pytest.mark.skipif(HAS_GPU, reason="the other device is a real one")
def test_the_pretended_device_refuses_what_a_real_one_does() -> None:
    here, there = torch.ones(2, 3), Elsewhere(torch.ones(2, 3))
    for operation in (
        torch.add,
        torch.nn.functional.linear,
        lambda *both: torch.cat(both),
        lambda a, b: a.gather(1, b.long()),
    ):
        for mixed in ((here, there), (there, here)):
            with pytest.raises(RuntimeError, match="same device"):
                operation(*mixed)
    assert (there * 2 + there.sum(0)).cpu().tolist() == [[4.0] * 3] * 2
    assert there[[1, 0]].device == torch.zeros(2, device=OTHER).device == there.device == OTHER


def test_layers_stay_where_they_were_put(models: tuple[gv.Model, gv.Model]) -> None:
    one, two = models
    assert one.devices == (CPU,)
    assert two.devices == (CPU, OTHER)
    assert [two.device_of(layer) for layer in range(4)] == [CPU, OTHER, OTHER, CPU]
    assert f"on cpu, {OTHER}" in repr(two)
    assert [keys.device for keys, _ in two.capture(PROMPT).keys_values()] == [CPU, OTHER, OTHER, CPU]


def test_it_counts_and_names_its_weights_as_on_one_device(models: tuple[gv.Model, gv.Model]) -> None:
    one, two = models
    assert (two.n_parameters, two.weights_digest) == (one.n_parameters, one.weights_digest)


@pytest.mark.parametrize("quantity", LAYER_QUANTITIES)
def test_every_value_of_every_layer_is_the_same(pair: tuple[gv.Capture, gv.Capture], quantity: str) -> None:
    one, two = pair
    for layer in range(4):
        assert_same(captured(one, layer)[quantity], captured(two, layer)[quantity])


def test_a_pass_that_is_no_capture_gives_the_same_logits(models: tuple[gv.Model, gv.Model]) -> None:
    ids = models[0].capture(PROMPT).token_ids[None]
    with torch.inference_mode():
        one, two = (model.hf(ids, use_cache=False).logits for model in models)
    assert_near(one, two)


@pytest.mark.parametrize("edits", CHANGES, ids=gv.Edits.to_text)
def test_every_change_is_made_on_both_devices(models: tuple[gv.Model, gv.Model], edits: gv.Edits) -> None:
    one, two = (model.capture(PROMPT, edits) for model in models)
    for layer in range(4):
        assert_same(one.resid_post(layer), two.resid_post(layer))
        assert_same(one.resid_mid(layer), two.resid_mid(layer))
    assert_same(one.logits([3, -1]), two.logits([3, -1]))


def test_texts_that_begin_alike_or_run_together(models: tuple[gv.Model, gv.Model]) -> None:
    longer = PROMPT + " and the cat"
    one, two = ([model.capture(longer, earlier=[model.capture(PROMPT)])] for model in models)
    one += models[0].capture_together([PROMPT, OTHER_PROMPT, "it"])
    two += models[1].capture_together([PROMPT, OTHER_PROMPT, "it"])
    for theirs, ours in zip(one, two, strict=True):
        assert_same(theirs.logits([-1]), ours.logits([-1]))
        assert_same(theirs.stream_at(-1), ours.stream_at(-1))
        assert_same(theirs.attention(2).z, ours.attention(2).z)


@pytest.mark.parametrize("layer", range(4))
def test_rankings_and_the_parts_of_logits(pair: tuple[gv.Capture, gv.Capture], layer: int) -> None:
    def values(cap: gv.Capture) -> list[Tensor]:
        parts = torch.cat([cap.head_outputs(layer, 5), cap.neuron_output(layer, 7, 5)[None]])
        rankings = cap.ranking(cap.token_ids, 5, layer), cap.lens(5, 7, 5)
        return [cap.direct_logits(parts, 5), *(value for ranking in rankings for value in ranking)]

    for theirs, ours in zip(*map(values, pair), strict=True):
        assert_same(theirs, ours)


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize(("kind", "head"), [("resid_pre", None), ("attn_out", None), ("mlp_out", None), ("z", 2)])
def test_patching(models: tuple[gv.Model, gv.Model], layer: int, kind: str, head: int | None) -> None:
    def values(model: gv.Model) -> list[Tensor]:
        cap, source = model.capture(PROMPT), model.capture(OTHER_PROMPT)
        patched = model.capture(PROMPT, patch=Patch(source, kind, layer, 6, head))  # type: ignore[arg-type]
        maps = (
            patched_logits(cap, source, kind, layer, [4, 9], head),
            patched_heads_logits(cap, source, layer, 6, [4, 9]),
        )  # type: ignore[arg-type]
        return [patched.logits([-1]), patched.resid_post(layer), *maps]

    for theirs, ours in zip(*map(values, models), strict=True):
        assert_same(theirs, ours)


def test_the_generated_tokens(pair: tuple[gv.Capture, gv.Capture]) -> None:
    one, two = ([token.id for token in generate(cap, Sampling(temperature=0), 8)] for cap in pair)
    assert one == two


def test_stages_that_work_where_the_layer_is(pair: tuple[gv.Capture, gv.Capture]) -> None:
    for layer in range(4):
        one, two = (heads.layer_heads(cap, layer).measures.profile for cap in pair)
        assert_same(torch.tensor(one).nan_to_num(), torch.tensor(two).nan_to_num())
        reads = [neuron.reads(cap.model, layer, 7, 3) for cap in pair]
        assert reads[0].gate.highest == reads[1].gate.highest
        one, two = (mlp_alone.alone(cap, cap, layer, 5).own_difference for cap in pair)
        assert max(one, two) < TOLERANCE


def test_a_file_goes_from_one_to_two_devices_and_back(models: tuple[gv.Model, gv.Model], tmp_path: Path) -> None:
    for number, (saved_on, opened_on) in enumerate((models, models[::-1])):
        saved = saved_on.capture(PROMPT)
        saved.save(tmp_path / f"{number}.safetensors")
        opened = gv.Capture.open(tmp_path / f"{number}.safetensors", opened_on)
        assert torch.equal(opened.stream_at(4), saved.stream_at(4))
        assert_same(saved.mlp(2).out, opened.mlp(2).out)
        longer = opened_on.capture(PROMPT + " and", earlier=[opened])
        assert_same(saved_on.capture(PROMPT + " and").logits([-1]), longer.logits([-1]))


def test_a_text_is_refused_where_one_of_the_devices_has_no_room_for_it(
    models: tuple[gv.Model, gv.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, two = models
    for full in (CPU, OTHER):
        monkeypatch.setattr(model_module, "free_bytes", lambda device, full=full: 1000 if device == full else 1 << 30)
        with pytest.raises(OutOfMemory, match=f"free on the {full.type}"):
            two.capture(PROMPT)


@pytest.mark.skipif(not HAS_GPU, reason="transformers loads onto real devices only: GEMMA_VIZ_TEST_DEVICE=cuda")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_is_loaded_onto_two_devices(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    modules = dict.fromkeys(HERE, OTHER) | dict.fromkeys(THERE, CPU)
    monkeypatch.setattr(checkpoints, "place", lambda *_: Placement(torch.float32, modules))
    two = gv.load(tiny_checkpoints[family])
    monkeypatch.undo()
    one = gv.load(tiny_checkpoints[family], device="cpu", dtype=torch.float32)
    assert [two.device_of(layer) for layer in range(4)] == [OTHER, CPU, CPU, OTHER]
    assert (two.n_parameters, two.weights_digest) == (one.n_parameters, one.weights_digest)
    for edits in (gv.Edits(), *CHANGES):
        theirs, ours = (model.capture(PROMPT, edits) for model in (one, two))
        for layer in range(4):
            assert_same(theirs.resid_mid(layer), ours.resid_mid(layer))
        assert_same(theirs.logits([-1]), ours.logits([-1]))


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_that_accelerate_has_put_on_every_module_change_nothing(
    tiny_checkpoints: dict[str, Path], family: str
) -> None:
    folder = tiny_checkpoints[family]
    hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=ATTENTION)
    dispatch_model(hf, {"": "cpu"}, force_hooks=True)
    assert hasattr(hf.model.layers[1].mlp.up_proj, "_hf_hook")
    hooked = gv.Model(hf, AutoTokenizer.from_pretrained(folder), name="hooked")
    plain = gv.load(folder, device="cpu", dtype=torch.float32)
    for edits in (gv.Edits(), *CHANGES):
        one, two = (model.capture(PROMPT, edits) for model in (plain, hooked))
        for layer in range(4):
            assert_same(captured(one, layer)["resid_mid"], captured(two, layer)["resid_mid"])
            assert_same(one.mlp(layer).act, two.mlp(layer).act)
        assert_same(one.logits([-1]), two.logits([-1]))

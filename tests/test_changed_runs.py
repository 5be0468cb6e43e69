"""Every change that a run can make, against the plain Gemma, which shares nothing with the engine."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig

import gemma_viz as gv
from gemma_viz.generation import generate
from gemma_viz.sampling import Sampling
from tests.changes import ALONE, ONE_OF_EACH, PAIRS, TOGETHER
from tests.conftest import FAMILIES, PROMPT, ROUNDING, load_tiny
from tests.plain_gemma import Pass, Weights, rotate, run_plain

N_LAYERS = 4

PER_MODEL = {"embedding_scale", "embedding_factor", "final_norm", "final_softcap", "unembedding_seed"}
PARTS = {"without_heads", "without_neurons"}


def changed(edits: gv.Edits) -> set[str]:
    return {field.name for field in fields(edits) if getattr(edits, field.name) != field.default}


IN_LAYERS = tuple(edits for edits in ALONE if not changed(edits) & (PER_MODEL | PARTS))

# Without norms the stream of the tiny models leaves what float32 can hold; without what a sublayer was given, rounding
# grows from layer to layer. Smaller weights bear both.
NEED_CALM = {"norms", "attention_norms", "mlp_norms", "attention_residual", "mlp_residual"}

by_text = {"ids": gv.Edits.to_text}


def families_in_turn(several: Sequence[gv.Edits]) -> list[Any]:
    """Each in one family only."""
    return [
        pytest.param(family, edits, id=f"{family}-{edits.to_text()}")
        for family, edits in zip(cycle(FAMILIES), several, strict=False)
    ]


@dataclass(frozen=True)
class Subject:
    """A tiny model, and what the plain Gemma needs to run the same checkpoint."""

    model: gv.Model
    weights: Weights
    config: PreTrainedConfig

    def plain(self, cap: gv.Capture) -> Pass:
        return run_plain(self.weights, self.config, cap.token_ids, cap.edits)


def load_subject(folder: Path) -> Subject:
    return Subject(load_tiny(folder), load_file(folder / "model.safetensors"), AutoConfig.from_pretrained(folder))


@pytest.fixture(scope="module")
def wild(tiny_checkpoints: dict[str, Path]) -> dict[str, Subject]:
    """The tiny models."""
    return {family: load_subject(folder) for family, folder in tiny_checkpoints.items()}


@pytest.fixture(scope="module")
def calm(tiny_checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """The same with smaller weights."""
    root = tmp_path_factory.mktemp("calm")
    for family, folder in tiny_checkpoints.items():
        weights = load_file(shutil.copytree(folder, root / family) / "model.safetensors")
        smaller = {name: 0.25 * weight for name, weight in weights.items()}
        save_file(smaller, root / family / "model.safetensors", {"format": "pt"})
    return {family: load_subject(root / family) for family in tiny_checkpoints}


@pytest.fixture(scope="module")
def for_long_texts(tiny_for_long_texts: Path) -> Subject:
    return load_subject(tiny_for_long_texts)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


SubjectFor = Callable[[str, gv.Edits], Subject]


@pytest.fixture
def subject_for(wild: dict[str, Subject], calm: dict[str, Subject]) -> SubjectFor:
    return lambda family, edits: (calm if changed(edits) & NEED_CALM else wild)[family]


def assert_close(ours: Tensor, plain: Tensor) -> None:
    assert plain.isfinite().all()
    # The two multiply in another order, and how far that shows differs from processor to processor.
    torch.testing.assert_close(ours, plain, rtol=1e-4 * ROUNDING, atol=3e-5 * ROUNDING * plain.abs().max().item())


def assert_plain(cap: gv.Capture, plain: Pass) -> None:
    assert_close(cap.resid_pre(0), plain.streams[0])
    for layer, (stream, pattern) in enumerate(zip(plain.streams[1:], plain.patterns, strict=True)):
        assert_close(cap.resid_post(layer), stream)
        assert_close(cap.attention(layer).pattern, pattern)
    assert_close(cap.logits(range(len(cap))), plain.logits)


def assert_replayed(cap: gv.Capture) -> None:
    for layer in range(N_LAYERS):
        assert torch.equal(cap.replayed_resid_post(layer), cap.resid_post(layer))


@pytest.mark.parametrize("layers", [None, frozenset({1}), frozenset({2})], ids=["all", "layer 1", "layer 2"])
@pytest.mark.parametrize("edits", ALONE, **by_text)
def test_a_change_alone(family: str, edits: gv.Edits, layers: frozenset[int] | None, subject_for: SubjectFor) -> None:
    subject = subject_for(family, edits)
    cap = subject.model.capture(PROMPT, replace(edits, layers=layers))
    assert_plain(cap, subject.plain(cap))
    assert_replayed(cap)


@pytest.mark.parametrize("edits", TOGETHER, **by_text)
def test_many_changes_together(family: str, edits: gv.Edits, subject_for: SubjectFor) -> None:
    subject = subject_for(family, edits)
    for layers in (None, frozenset({0, 2})):
        cap = subject.model.capture(PROMPT, replace(edits, layers=layers))
        assert_plain(cap, subject.plain(cap))
        assert_replayed(cap)


@pytest.mark.parametrize(("family", "edits"), families_in_turn(PAIRS))
def test_two_changes_together(family: str, edits: gv.Edits, subject_for: SubjectFor) -> None:
    subject = subject_for(family, edits)
    cap = subject.model.capture(PROMPT, edits)
    assert_plain(cap, subject.plain(cap))


@pytest.mark.parametrize(("family", "edits"), families_in_turn(ALONE + TOGETHER))
def test_a_capture_that_goes_on_from_an_earlier_one(family: str, edits: gv.Edits, subject_for: SubjectFor) -> None:
    subject = subject_for(family, edits)
    earlier = subject.model.capture(PROMPT[:-20], edits)
    cap = subject.model.capture(PROMPT, edits, earlier=[earlier])
    assert_plain(cap, subject.plain(cap))


def test_all_steps_are_tested() -> None:
    every = {field.name for field in fields(gv.Edits)} - {"layers"}
    assert {name for edits in ONE_OF_EACH for name in changed(edits)} == every
    # Each by itself, but for what stands in the place of something that is left out.
    assert {name for edits in ONE_OF_EACH if len(changed(edits)) == 1 for name in changed(edits)} == every - {"removal"}


# A shift turns queries and keys alike, and what a removal would leave is only seen where something is removed.
NEUTRAL = ({"rope_shift"}, {"removal"})


@pytest.mark.parametrize("edits", [edits for edits in ALONE if changed(edits) not in NEUTRAL], **by_text)
def test_every_change_matters(edits: gv.Edits, subject_for: SubjectFor) -> None:
    """To the logits of one family at least, by far more than what the comparisons let pass."""
    differences = []
    for family in FAMILIES:
        model = subject_for(family, edits).model
        own, other = (model.capture(PROMPT, these).logits([-1]) for these in (gv.Edits(), edits))
        differences.append((own - other).abs().max() / own.abs().max())
    assert max(differences) > 1e-4


ROTATIONS = tuple(edits for edits in (*ALONE, *TOGETHER) if any(name.startswith("rope_") for name in changed(edits)))


@pytest.mark.parametrize("edits", ROTATIONS, **by_text)
def test_queries_and_keys_are_turned_by_the_positions_they_are_given(
    family: str, edits: gv.Edits, wild: dict[str, Subject]
) -> None:
    """Patterns do not tell: a shift leaves them as they are."""
    subject = wild[family]
    cap = subject.model.capture(PROMPT, edits)
    for layer in range(N_LAYERS):
        attention = cap.attention(layer)
        assert_close(attention.rot_k, rotate(attention.k, layer, subject.config, edits))
        if not edits.queries_from:
            assert_close(attention.rot_q, rotate(attention.q, layer, subject.config, edits))


@pytest.mark.parametrize("edits", [gv.Edits(), gv.Edits(rope=False), *ROTATIONS], **by_text)
def test_a_model_for_long_texts_keeps_turning_more_slowly(edits: gv.Edits, for_long_texts: Subject) -> None:
    cap = for_long_texts.model.capture(PROMPT, edits)
    assert_plain(cap, for_long_texts.plain(cap))


@pytest.mark.parametrize(("family", "edits"), families_in_turn(ALONE + TOGETHER))
def test_generated_tokens_are_those_that_the_plain_gemma_finds_likeliest(
    family: str, edits: gv.Edits, subject_for: SubjectFor
) -> None:
    subject = subject_for(family, edits)
    cap = subject.model.capture(PROMPT, edits)
    ids = cap.token_ids
    for token in generate(cap, Sampling(temperature=0), 3):
        logits = run_plain(subject.weights, subject.config, ids, edits).logits[-1]
        assert_close(logits[token.id], logits.max())
        ids = torch.cat([ids, torch.tensor([token.id])])
    assert len(ids) > len(cap)


@pytest.mark.parametrize(("family", "edits"), families_in_turn(ALONE + TOGETHER))
def test_every_view_of_the_output_is_of_the_edited_one(family: str, edits: gv.Edits, subject_for: SubjectFor) -> None:
    cap = subject_for(family, edits).model.capture(PROMPT, edits)
    logits, target = cap.logits(range(len(cap))), 300
    probabilities = logits.softmax(-1)
    assert cap.top_k(3).logits[0] == pytest.approx(logits[-1].max().item(), rel=1e-4)
    assert_close(cap.ranking(torch.full((len(cap),), target)).target_probabilities, probabilities[:, target])
    assert_close(cap.lens(-1, target).target_probabilities[-1], probabilities[-1, target])
    soft_capped = cap.model.spec.final_softcap is not None and edits.final_softcap
    if not soft_capped:
        assert_close(cap.direct_logits(cap.resid_post(-1)[[-1]], -1)[0], logits[-1])


@pytest.mark.parametrize(("family", "edits"), families_in_turn(ALONE + TOGETHER))
def test_what_the_heads_add_sums_to_what_attention_adds(family: str, edits: gv.Edits, subject_for: SubjectFor) -> None:
    cap = subject_for(family, edits).model.capture(PROMPT, edits)
    for layer in range(N_LAYERS):
        out = cap.attention(layer).out[-1]
        heads = cap.head_outputs(layer, -1)
        torch.testing.assert_close(heads.sum(0), out, rtol=1e-3, atol=1e-5 * heads.abs().max().item())


@pytest.mark.parametrize(("family", "edits"), families_in_turn(IN_LAYERS))
def test_a_change_is_made_in_the_chosen_layers_only(family: str, edits: gv.Edits, subject_for: SubjectFor) -> None:
    """Bit for bit, where the plain Gemma tells it up to rounding."""
    model = subject_for(family, edits).model

    def streams(edits: gv.Edits) -> list[Tensor]:
        cap = model.capture(PROMPT, edits)
        return [cap.resid_post(layer) for layer in range(N_LAYERS)]

    untouched, everywhere = streams(gv.Edits()), streams(edits)
    assert all(map(torch.equal, streams(edits.only_in()), untouched))
    assert all(map(torch.equal, streams(edits.only_in(*range(N_LAYERS))), everywhere))
    assert torch.equal(streams(edits.only_in(0))[0], everywhere[0])
    assert all(map(torch.equal, streams(edits.only_in(2))[:2], untouched[:2]))


def test_no_edits_change_not_one_bit(tiny: gv.Model) -> None:
    plain, edited = tiny.capture(PROMPT), tiny.capture(PROMPT, gv.Edits())
    assert torch.equal(plain.logits(range(len(plain))), edited.logits(range(len(plain))))
    for layer in range(N_LAYERS):
        assert torch.equal(plain.resid_post(layer), edited.resid_post(layer))


def test_without_attention_and_mlps_the_embedding_goes_straight_to_the_output(
    family: str, wild: dict[str, Subject]
) -> None:
    subject = wild[family]
    cap = subject.model.capture(PROMPT, gv.Edits(attention=False, mlp=False))
    for layer in range(N_LAYERS):
        assert torch.equal(cap.resid_post(layer), cap.resid_pre(0))
    rows = subject.weights["model.embed_tokens.weight"][cap.token_ids]
    assert_close(cap.resid_post(-1), rows * 48**0.5)


def test_the_norms_of_one_kind_of_sublayer_are_left_out(tiny: gv.Model) -> None:
    no_attention_norms = tiny.capture(PROMPT, gv.Edits(attention_norms=False))
    assert torch.equal(no_attention_norms.attention(0).input, no_attention_norms.resid_pre(0))
    assert torch.equal(no_attention_norms.attention(0).out, no_attention_norms.attention(0).projected)
    assert not torch.equal(no_attention_norms.mlp(0).input, no_attention_norms.resid_mid(0))
    no_mlp_norms = tiny.capture(PROMPT, gv.Edits(mlp_norms=False))
    assert torch.equal(no_mlp_norms.mlp(0).input, no_mlp_norms.resid_mid(0))
    assert torch.equal(no_mlp_norms.mlp(0).out, no_mlp_norms.mlp(0).projected)
    assert torch.equal(no_mlp_norms.attention(0).input, tiny.capture(PROMPT).attention(0).input)


def test_even_attention_reads_the_mean_of_the_values_it_sees(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT, gv.Edits(pattern="uniform"))
    for layer in range(tiny.spec.n_layers):
        values, window = cap.attention(layer), tiny.spec.window(layer) or len(cap)
        v = values.v.repeat_interleave(tiny.spec.group_size, 0)  # [head, position, d_head]
        means = [v[:, max(0, query - window + 1) : query + 1].mean(1) for query in range(len(cap))]
        torch.testing.assert_close(values.z, torch.stack(means, 1), atol=1e-5, rtol=1e-4)

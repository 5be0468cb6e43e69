"""Every change that a run can make, against the plain Gemma, which shares nothing with the engine; and Edits as a value."""

import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig

import gemma_viz as gv
from gemma_viz.errors import EditsError
from tests.conftest import FAMILIES, PROMPT, load_tiny
from tests.plain_gemma import Pass, Weights, moved_positions, own_theta, rotate, run_plain

N_LAYERS = 4

ONE_OF_EACH = (
    gv.Edits(embedding_scale=False),
    gv.Edits(embedding_factor=2.5),
    gv.Edits(norms=False),
    gv.Edits(attention_norms=False),
    gv.Edits(mlp_norms=False),
    gv.Edits(qk_norms=False),
    gv.Edits(final_norm=False),
    gv.Edits(attention=False),
    gv.Edits(attention_residual=False),
    gv.Edits(causal_mask=False),
    gv.Edits(window=3),
    gv.Edits(attention_temperature=0.5),
    gv.Edits(attention_softcap=False),
    gv.Edits(pattern="uniform"),
    gv.Edits(queries_from=((0, 5), (5, 0), (1, 3))),
    gv.Edits(rope=False),
    gv.Edits(rope_theta=30.0),
    gv.Edits(rope_stretch=0.5),
    gv.Edits(rope_shift=7),
    gv.Edits(rope_shuffle=5),
    gv.Edits(mlp=False),
    gv.Edits(mlp_residual=False),
    gv.Edits(activation="relu"),
    gv.Edits(gate=False),
    gv.Edits(without_heads=frozenset({(1, 0), (1, 5), (3, 1)})),
    gv.Edits(without_neurons=frozenset({(0, 79), (2, 7), (2, 8)})),
    gv.Edits(removal="mean", attention=False),
    gv.Edits(weight_bits=4),
    gv.Edits(unembedding_seed=3),  # 0, 1 and 2 are what the tiny models' own tables were drawn from
    gv.Edits(final_softcap=False),
)
OTHER_VALUES = (
    gv.Edits(embedding_factor=-0.5),
    gv.Edits(embedding_factor=0.0),
    gv.Edits(window=1),
    gv.Edits(window=8),
    gv.Edits(window=1000),
    gv.Edits(attention_temperature=4.0),
    gv.Edits(pattern="own"),
    gv.Edits(rope_stretch=0.0),
    gv.Edits(rope_stretch=-1.5),
    gv.Edits(rope_shift=-3),
    gv.Edits(rope_shuffle=0),
    gv.Edits(activation="gelu_exact"),
    gv.Edits(activation="identity"),
    gv.Edits(removal="mean"),
    gv.Edits(removal="mean", mlp=False),
    gv.Edits(removal="mean", without_heads=frozenset({(1, 0), (1, 5), (3, 1)})),
    gv.Edits(removal="mean", without_neurons=frozenset({(0, 79), (2, 7), (2, 8)})),
    gv.Edits(weight_bits=8),
    gv.Edits(weight_bits=2),
    gv.Edits(unembedding_seed=2**31 - 1),
)
ALONE = ONE_OF_EACH + OTHER_VALUES
TOGETHER = (
    gv.Edits(*(False,) * 7),
    gv.Edits(attention=False, mlp=False, removal="mean"),
    gv.Edits(attention_residual=False, mlp_residual=False, attention=False, mlp=False, removal="mean"),
    gv.Edits(rope_shuffle=2, rope_stretch=2.0, rope_shift=3, rope_theta=500.0),
    gv.Edits(pattern="uniform", window=2, without_heads=frozenset({(0, 1), (3, 3)}), removal="mean"),
    gv.Edits(attention_temperature=2.0, attention_softcap=False, queries_from=((2, 4),), window=4, qk_norms=False),
    gv.Edits(activation="relu", weight_bits=4, without_neurons=frozenset({(1, 1), (3, 60)}), removal="mean"),
    gv.Edits(embedding_factor=3.0, final_norm=False, final_softcap=False, unembedding_seed=11),
    gv.Edits(attention=False, removal="mean", without_heads=frozenset({(1, 2), (2, 2)})),
    gv.Edits(mlp=False, gate=False, without_neurons=frozenset({(0, 5), (2, 5)}), removal="mean"),
    gv.Edits(
        causal_mask=False,
        window=3,
        rope_shuffle=1,
        weight_bits=8,
        queries_from=((0, 1), (1, 2)),
        without_heads=frozenset({(0, 0), (2, 1)}),
        without_neurons=frozenset({(0, 3), (2, 4)}),
        activation="gelu_exact",
        removal="mean",
        unembedding_seed=5,
    ),
)
PAIRS = tuple(one.also(other) for one, other in combinations(ONE_OF_EACH, 2))

PER_MODEL = {"embedding_scale", "embedding_factor", "final_norm", "final_softcap", "unembedding_seed"}
PARTS = {"without_heads", "without_neurons"}


def changed(edits: gv.Edits) -> set[str]:
    return {field.name for field in fields(edits) if getattr(edits, field.name) != field.default}


IN_LAYERS = tuple(edits for edits in ALONE if not changed(edits) & (PER_MODEL | PARTS))

NORMS = {"norms", "attention_norms", "mlp_norms"}

by_text = {"ids": gv.Edits.to_text}


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
    """The same with smaller weights: without norms the stream of the others leaves what float32 can hold."""
    root = tmp_path_factory.mktemp("calm")
    for family, folder in tiny_checkpoints.items():
        weights = load_file(shutil.copytree(folder, root / family) / "model.safetensors")
        smaller = {name: 0.25 * weight for name, weight in weights.items()}
        save_file(smaller, root / family / "model.safetensors", {"format": "pt"})
    return {family: load_subject(root / family) for family in tiny_checkpoints}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


SubjectFor = Callable[[str, gv.Edits], Subject]


@pytest.fixture
def subject_for(wild: dict[str, Subject], calm: dict[str, Subject]) -> SubjectFor:
    return lambda family, edits: (calm if changed(edits) & NORMS else wild)[family]


def assert_close(ours: Tensor, plain: Tensor) -> None:
    assert plain.isfinite().all()
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5 * plain.abs().max().item())


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


@pytest.mark.parametrize(("index", "edits"), enumerate(PAIRS), ids=map(gv.Edits.to_text, PAIRS))
def test_two_changes_together(index: int, edits: gv.Edits, subject_for: SubjectFor) -> None:
    subject = subject_for(FAMILIES[index % len(FAMILIES)], edits)
    cap = subject.model.capture(PROMPT, edits)
    assert_plain(cap, subject.plain(cap))


@pytest.mark.parametrize("edits", ALONE + TOGETHER, **by_text)
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
def test_every_change_matters(edits: gv.Edits, wild: dict[str, Subject]) -> None:
    """To the logits of one family at least, by far more than what the comparisons let pass."""
    differences = []
    for subject in wild.values():
        own, other = (subject.model.capture(PROMPT, these).logits([-1]) for these in (gv.Edits(), edits))
        differences.append((own - other).abs().max() / own.abs().max())
    assert not max(differences) < 1e-4


ROTATIONS = tuple(edits for edits in (*ALONE, *TOGETHER) if any(name.startswith("rope_") for name in changed(edits)))


@pytest.mark.parametrize("edits", ROTATIONS, **by_text)
def test_queries_and_keys_are_turned_by_the_positions_they_are_given(
    family: str, edits: gv.Edits, wild: dict[str, Subject]
) -> None:
    """Patterns do not tell: a shift leaves them as they are."""
    cap = wild[family].model.capture(PROMPT, edits)
    positions = moved_positions(len(cap), edits)
    for layer in range(N_LAYERS):
        attention = cap.attention(layer)
        theta = edits.rope_theta or own_theta(layer, wild[family].config)
        assert_close(attention.rot_k, torch.stack([rotate(k, positions, theta) for k in attention.k]))
        if not edits.queries_from:
            assert_close(attention.rot_q, torch.stack([rotate(q, positions, theta) for q in attention.q]))

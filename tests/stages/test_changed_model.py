"""What stages say of a changed run is true of that run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import attention, attribution, neuron, output, overview, rope, wavelengths
from tests.conftest import PROMPT
from tests.stages.conftest import by_layer

CHANGES = [
    gv.Edits(final_norm=False),
    gv.Edits(attention_norms=False, layers=frozenset({1})),
    gv.Edits(mlp_norms=False, layers=frozenset({2})),
    gv.Edits(weight_bits=4),
    gv.Edits(unembedding_seed=5, final_softcap=False),
    gv.Edits(embedding_factor=2.0, pattern="uniform", without_heads=frozenset({(1, 2)})),
]


@pytest.mark.parametrize("edits", CHANGES, ids=gv.Edits.to_text)
def test_the_parts_of_a_logit_add_up_to_it(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    added = by_layer(lambda cap, layer: attribution.additions(cap, layer, [5])[0], cap)
    values = attribution.split(cap, 5, added, 7)
    assert values.total == pytest.approx(values.logit, rel=2e-4, abs=2e-3)
    assert values.is_sum


def test_without_a_residual_connection_a_logit_is_no_sum(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT, gv.Edits(mlp_residual=False))
    added = by_layer(lambda cap, layer: attribution.additions(cap, layer, [5])[0], cap)
    assert not attribution.split(cap, 5, added, 7).is_sum


@pytest.mark.parametrize("edits", CHANGES, ids=gv.Edits.to_text)
def test_a_row_times_the_normed_stream_is_the_logit(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    ends = output.both_ends(cap, 4, 9)
    assert ends.product == pytest.approx(ends.logit, rel=1e-4, abs=1e-3)
    token = int(cap.token_ids[4])
    factor = overview.overview(cap, 4).embedding_factor
    np.testing.assert_allclose(tiny.embedding[token].cpu() * factor, cap.resid_pre(0)[4], rtol=1e-5)


@pytest.mark.parametrize("edits", [gv.Edits(mlp_norms=False), gv.Edits(weight_bits=4), gv.Edits(final_norm=False)])
def test_all_neurons_together_write_what_the_mlp_writes(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    columns = torch.stack([cap.neuron_output(1, neuron, 3) for neuron in range(tiny.spec.d_mlp)])
    torch.testing.assert_close(cap.mlp(1).act[3] @ columns, cap.mlp(1).out[3], rtol=1e-3, atol=1e-3)
    assert np.isfinite(neuron.writes(cap, 1, 5, 3).logits.highest_values).all()


ROPE_CHANGES = [
    gv.Edits(rope_theta=50.0),
    gv.Edits(rope_stretch=0.5, rope_shift=3),
    gv.Edits(rope_shuffle=2, rope_stretch=2.0),
    gv.Edits(rope=False),
]


@pytest.mark.parametrize("edits", ROPE_CHANGES, ids=gv.Edits.to_text)
def test_a_pair_is_turned_by_the_changed_angle(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    values = rope.rotation(cap, 1, 2, 3)
    angle = np.deg2rad(values.degrees)
    x, y = values.q.T
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), y * np.cos(angle) + x * np.sin(angle)], -1)
    np.testing.assert_allclose(values.rot_q, turned, atol=1e-4)
    if edits.rope_shuffle is None:
        by_distance = rope.score_by_distance(cap, 1, 2, 6, 4, 10)
        assert by_distance.score == pytest.approx(by_distance.models, abs=1e-3)


def test_wavelengths_follow_theta_and_stretch(tiny: gv.Model) -> None:
    plain = wavelengths.layer_wavelengths(tiny.capture(PROMPT), 1)
    stretched = wavelengths.layer_wavelengths(tiny.capture(PROMPT, gv.Edits(rope_stretch=2.0)), 1)
    np.testing.assert_allclose(stretched, plain / 2, rtol=1e-5)
    other = wavelengths.wavelengths(tiny.capture(PROMPT, gv.Edits(rope_theta=64.0, layers=frozenset({0, 3}))))
    assert other.layers[64.0] == (0, 3)
    assert np.isinf(wavelengths.layer_wavelengths(tiny.capture(PROMPT, gv.Edits(rope=False)), 1)).all()


@pytest.mark.parametrize("edits", [gv.Edits(attention_temperature=3.0), gv.Edits(attention_softcap=False)])
def test_a_query_s_scores_follow_its_rule(tiny: gv.Model, edits: gv.Edits) -> None:
    cap = tiny.capture(PROMPT, edits)
    values = attention.query(cap, 2, 1, 8)
    scores = values.dots * values.rule.scale
    if values.rule.softcap:
        scores = values.rule.softcap * np.tanh(scores / values.rule.softcap)
    seen = np.isfinite(values.scores)
    np.testing.assert_allclose(values.scores[seen], scores[seen] / values.rule.temperature, rtol=1e-4, atol=1e-5)


def test_a_changed_capture_runs_again_with_both_changes(tiny: gv.Model) -> None:
    base = gv.Edits(gate=False)
    again = tiny.capture(PROMPT, base).again(base.also(gv.Edits(rope=False)))
    both = tiny.capture(PROMPT, replace(base, rope=False))
    assert torch.equal(again.resid_post(3), both.resid_post(3))

"""How much heads depend on position, and what other positions do to patterns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.attention import AttentionRule
from gemma_viz.inside import Attention
from gemma_viz.stages import heads, positions
from tests.conftest import PROMPT


def written_out(values: Attention, q: torch.Tensor, k: torch.Tensor, head: int) -> list[list[float]]:
    """One head's pattern in plain Python, from these queries and keys: rows of the keys up to the query."""
    shared_by = len(q) // len(k)
    rows = []
    for query in range(q.shape[1]):
        first = max(0, query - values.rule.window + 1) if values.rule.window else 0
        scores = [
            float(q[head, query] @ k[head // shared_by, key]) * values.rule.scale for key in range(first, query + 1)
        ]
        if values.rule.softcap:
            scores = [values.rule.softcap * math.tanh(score / values.rule.softcap) for score in scores]
        exps = [math.exp(score - max(scores)) for score in scores]
        rows.append([0.0] * first + [e / sum(exps) for e in exps])
    return rows


def test_sensitivity_is_the_distance_to_the_pattern_without_rotation(cap: gv.Capture) -> None:
    for layer in (0, 2):
        values, sensitivity = cap.attention(layer), positions.position_sensitivity(cap, layer)
        for head in (0, 5):
            turned = written_out(values, values.rot_q, values.rot_k, head)
            unturned = written_out(values, values.q, values.k, head)
            distances = [
                sum(abs(a - b) for a, b in zip(*rows, strict=True)) / 2 for rows in zip(turned, unturned, strict=True)
            ]
            assert sensitivity[head] == pytest.approx(sum(distances[1:]) / (len(cap) - 1), abs=1e-4)
        assert (sensitivity > 0.01).any()
        assert (sensitivity < 1).all()


class MadeUp:
    """What stands in for a capture: queries and keys, before and after."""

    def __init__(self, model: gv.Model, values: Attention):
        self.model = model
        self.values = values

    def attention(self, layer: int) -> Attention:
        return self.values


def test_of_made_up_patterns_one_is_position_free_and_one_positional(cap: gv.Capture) -> None:
    n, large = 6, 1000.0
    nothing, unit = torch.zeros(2, n, n), torch.eye(n)
    rot_q, rot_k = nothing.clone(), nothing.clone()
    rot_q[1], rot_k[1] = unit * large, unit  # turned, the second head reads itself alone
    k = torch.stack([torch.zeros(n, n), torch.zeros(n, n)])
    q = nothing.clone()
    q[1, :, 0], k[1, 0, 0] = large, 1.0  # unturned, it reads the first token alone
    values = replace(cap.attention(0), q=q, k=k, rot_q=rot_q, rot_k=rot_k, rule=AttentionRule(scale=1.0))
    sensitivity = positions.position_sensitivity(MadeUp(cap.model, values), 0)  # type: ignore[arg-type]
    np.testing.assert_allclose(sensitivity, [0, 1], atol=1e-6)


def test_without_rotation_no_head_depends_on_position(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT, gv.Edits(rope=False))
    np.testing.assert_array_equal(positions.position_sensitivity(cap, 1), np.zeros(6))


def test_bands_of_queries_do_not_change_what_is_measured(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cap, edits = tiny.capture(PROMPT), gv.Edits(rope_stretch=2.0)
    measures = [positions.position_sensitivity(cap, 1)]
    changes = [positions.changed_patterns(cap, cap.model.capture(cap.text, edits), 1, 3)]
    monkeypatch.setattr(heads, "QUERIES_AT_ONCE", 4)
    measures.append(positions.position_sensitivity(cap, 1))
    changes.append(positions.changed_patterns(cap, cap.model.capture(cap.text, edits), 1, 3))
    np.testing.assert_allclose(*measures, atol=1e-6)
    np.testing.assert_allclose(changes[0].largest, changes[1].largest, atol=1e-6)
    np.testing.assert_allclose(changes[0].distance, changes[1].distance, atol=1e-6)


def test_one_token_has_no_measure(tiny: gv.Model) -> None:
    assert np.isnan(positions.position_sensitivity(tiny.capture(""), 0)).all()


def test_changed_patterns_are_those_of_both_runs(cap: gv.Capture) -> None:
    edits = gv.Edits(rope_stretch=0.5)
    values = positions.changed_patterns(cap, cap.model.capture(cap.text, edits), 1, 4)
    before, after = cap.attention(1).pattern.numpy(), cap.model.capture(PROMPT, edits).attention(1).pattern.numpy()
    assert len(values.shown) == min(len(cap), positions.SHOWN)
    part = np.s_[:, values.shown.start : values.shown.stop, values.shown.start : values.shown.stop]
    np.testing.assert_allclose(np.nan_to_num(values.before), before[part], atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(values.after), after[part], atol=1e-6)
    np.testing.assert_allclose(values.largest, np.abs(before - after).max((1, 2)), atol=1e-6)
    apart = np.abs(before - after).sum(-1)[:, 1:].mean(-1) / 2
    np.testing.assert_allclose(values.distance, apart, atol=1e-6)
    assert values.largest.max() > 0.01


def test_a_shift_moves_no_pattern(cap: gv.Capture) -> None:
    values = positions.changed_patterns(cap, cap.model.capture(cap.text, gv.Edits(rope_shift=100)), 3, 2)
    assert values.largest.max() < 1e-3


def test_the_real_model_has_heads_of_both_kinds(embedded: gv.Model) -> None:
    cap = embedded.capture("The cat sat on the mat. The cat sat on the")
    sensitivity = np.stack([positions.position_sensitivity(cap, layer) for layer in range(18)])
    assert np.unravel_index(sensitivity.argmax(), sensitivity.shape) == (2, 3)
    assert sensitivity.max() > 0.4
    assert sensitivity.min() < 0.02

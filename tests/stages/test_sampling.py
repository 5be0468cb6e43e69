"""What the page shows of sampling is what sampling does."""

from dataclasses import replace

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.sampling import Sampling, choose
from gemma_viz.stages.sampling import DRAWS, choice

ALL = Sampling(temperature=0.8, top_k=30, top_p=0.9, min_p=0.01, repetition_penalty=1.5, seed=3)


def test_the_token_shown_is_the_one_that_is_chosen(cap: gv.Capture) -> None:
    logits, before = cap.logits([6])[0], cap.token_ids[:7]
    for seed in range(12):
        sampling = replace(ALL, seed=seed)
        values = choice(cap, 6, sampling)
        assert values.ids[values.chosen] == choose(logits, before, sampling, step=6)
        begin, end = values.lots[values.chosen]
        assert begin <= values.number < end


def test_each_step_leaves_a_distribution_over_fewer_candidates(cap: gv.Capture) -> None:
    values = choice(cap, 6, ALL)
    assert values.steps == ("the model", "repetition penalty", "temperature", "top-k", "top-p", "min-p")
    np.testing.assert_allclose(values.probabilities.sum(1) + values.others, 1, atol=1e-5)
    assert values.candidates[0] == cap.model.spec.vocab_size
    assert values.candidates[3] == 30
    assert (np.diff(values.candidates) <= 0).all()
    assert (values.probabilities[values.cut] == 0).all()
    own = cap.logits([6])[0].softmax(-1)[list(values.ids)].numpy()
    np.testing.assert_allclose(values.probabilities[0], own, rtol=1e-5)
    assert (np.diff(values.probabilities[0]) <= 0).all()


def test_the_line_is_divided_by_probability(cap: gv.Capture) -> None:
    values = choice(cap, 6, ALL)
    widths = values.lots[:, 1] - values.lots[:, 0]
    left = ~values.cut[-1]
    np.testing.assert_allclose(widths[left], values.probabilities[-1][left], atol=1e-6)
    assert np.isnan(widths[~left]).all()


def test_many_draws_come_as_often_as_they_are_likely(cap: gv.Capture) -> None:
    values = choice(cap, 6, Sampling(top_k=5))
    shown = values.drawn[~values.cut[-1]]
    assert shown.sum() == DRAWS
    np.testing.assert_allclose(values.drawn / DRAWS, values.probabilities[-1], atol=0.06)


def test_the_penalty_counts_the_text_up_to_the_position_only(cap: gv.Capture) -> None:
    sampling = Sampling(repetition_penalty=3.0)
    values = choice(cap, 2, sampling)
    later = [id for id in values.ids if id not in cap.token_ids[:3].tolist()]
    logits = cap.logits([2])[0]
    # Tokens that are not in the text keep their ratios.
    first, last = values.probabilities[0], values.probabilities[-1]
    places = [values.ids.index(id) for id in later[:2]]
    expected = float((logits[later[0]] - logits[later[1]]).exp())
    assert first[places[0]] / first[places[1]] == pytest.approx(expected, rel=1e-4)
    assert last[places[0]] / last[places[1]] == pytest.approx(expected, rel=1e-4)


def test_greedy_leaves_one_candidate(cap: gv.Capture) -> None:
    values = choice(cap, 6, Sampling(temperature=0, seed=9))
    assert values.candidates[-1] == 1
    assert values.drawn[values.chosen] == DRAWS

"""Texts that grow: the same tokens as transformers', and as going on from a longer text."""

import pytest
import torch

import gemma_viz as gv
from gemma_viz.generation import generate
from gemma_viz.sampling import Sampling
from tests.conftest import PROMPT

GREEDY = Sampling(temperature=0)


def test_greedy_tokens_are_those_of_transformers(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    new = list(generate(cap, GREEDY, 12))
    theirs = tiny.hf.generate(cap.token_ids[None], max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert [token.id for token in new] == theirs[0, len(cap) :].tolist()[: len(new)]
    assert len(new) == 12 or new[-1].is_end


def test_greedy_tokens_of_the_real_model(embedded: gv.Model) -> None:
    cap = embedded.capture("The capital of France is")
    new = list(generate(cap, GREEDY, 8))
    theirs = embedded.hf.generate(cap.token_ids[None], max_new_tokens=8, do_sample=False)[0, len(cap) :].tolist()
    assert [token.id for token in new] == theirs
    assert new[-1].text == "".join(token.piece for token in new)


def test_going_on_from_a_longer_text_gives_the_tokens_of_one_long_run(embedded: gv.Model) -> None:
    sampling = Sampling(temperature=0.9, top_k=40, seed=3)
    cap = embedded.capture("Once upon a time")
    at_once = [token.id for token in generate(cap, sampling, 6)]
    one_by_one = []
    for _ in range(6):
        one_by_one += [token.id for token in generate(cap, sampling, 1)]
        cap = embedded.capture_ids([*cap.token_ids.tolist(), one_by_one[-1]])
    assert one_by_one == at_once
    other = [token.id for token in generate(embedded.capture("Once upon a time"), Sampling(seed=4), 6)]
    assert other != at_once


def test_probabilities_are_the_models_own(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    new = list(generate(cap, Sampling(temperature=0.5, top_k=5, seed=1), 5))
    longer = tiny.capture_ids([*cap.token_ids.tolist(), *(token.id for token in new)])
    probabilities = longer.logits(range(len(cap) - 1, len(longer) - 1)).softmax(-1)
    for token, row in zip(new, probabilities, strict=True):
        assert token.probability == pytest.approx(float(row[token.id]), rel=1e-3)


def test_the_capture_stays_as_it_was(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    before = cap.logits([-1])
    list(generate(cap, Sampling(seed=2), 5))
    assert torch.equal(cap.logits([-1]), before)
    assert tiny.capture(PROMPT + "s", earlier=[cap]).resid_post(-1).isfinite().all()


def test_it_ends_with_the_token_that_ends_a_text(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cap = tiny.capture(PROMPT)
    second = list(generate(cap, GREEDY, 3))[1].id
    monkeypatch.setitem(vars(tiny), "end_ids", frozenset({second}))
    new = list(generate(cap, GREEDY, 10))
    assert new[-1].id == second
    assert new[-1].is_end
    assert len(new) <= 2


def test_it_stops_at_the_limit(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cap = tiny.capture(PROMPT)
    monkeypatch.setattr(tiny, "token_limit", len(cap) + 2)
    assert len(list(generate(cap, Sampling(seed=5), 10))) <= 2


def test_half_a_character_is_not_text_yet(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    byte = tiny.token_id("<0xC3>")
    monkeypatch.setattr("gemma_viz.generation.choose", lambda *_, **__: byte)
    (new,) = generate(tiny.capture("the"), GREEDY, 1)
    assert new.text == ""
    assert new.id == byte


def test_the_embedded_models_ends_are_known(embedded: gv.Model) -> None:
    assert embedded.end_ids == {1, embedded.token_id("<end_of_turn>")}

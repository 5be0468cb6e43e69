"""Sampling does what transformers' own logits processors do, and chooses the same again."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import gemma_viz as gv
from gemma_viz.errors import SamplingError
from gemma_viz.sampling import Sampling, choose, lots, pick, processed, random_numbers

VOCABULARY = 500
PREVIOUS = torch.tensor([3, 17, 3, 499, 0])


@pytest.fixture(params=[0, 1, 2])
def logits(request: pytest.FixtureRequest) -> Tensor:
    """Of both signs; many of them equal, as in bfloat16."""
    drawn = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(request.param)) * 4
    return drawn.round(decimals=request.param) + 1


def final(logits: Tensor, sampling: Sampling) -> Tensor:
    return list(processed(logits, PREVIOUS, sampling).values())[-1]


def by_transformers(logits: Tensor, *processors: object) -> Tensor:
    return LogitsProcessorList(processors)(PREVIOUS[None], logits[None].clone())[0]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 10.0])
def test_repetition_penalty_is_transformers_own(logits: Tensor, penalty: float) -> None:
    expected = by_transformers(logits, RepetitionPenaltyLogitsProcessor(penalty))
    assert torch.equal(final(logits, Sampling(repetition_penalty=penalty)), expected)


@pytest.mark.parametrize("temperature", [0.01, 0.7, 1.0, 2.0])
def test_temperature_is_transformers_own(logits: Tensor, temperature: float) -> None:
    expected = by_transformers(logits, TemperatureLogitsWarper(temperature))
    assert torch.equal(final(logits, Sampling(temperature=temperature)), expected)


@pytest.mark.parametrize("k", [1, 2, 20, VOCABULARY, VOCABULARY + 1])
def test_top_k_is_transformers_own(logits: Tensor, k: int) -> None:
    assert torch.equal(final(logits, Sampling(top_k=k)), by_transformers(logits, TopKLogitsWarper(k)))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.95, 0.999, 1.0])
def test_top_p_is_transformers_own(logits: Tensor, p: float) -> None:
    expected = by_transformers(logits, TopPLogitsWarper(p)) if p < 1 else logits  # as `generate` does
    assert torch.equal(final(logits, Sampling(top_p=p)), expected)


@pytest.mark.parametrize("p", [0.0, 0.01, 0.2, 1.0])
def test_min_p_is_transformers_own(logits: Tensor, p: float) -> None:
    assert torch.equal(final(logits, Sampling(min_p=p)), by_transformers(logits, MinPLogitsWarper(p)))


def test_the_order_is_that_of_generate(tiny_models: dict[str, gv.Model], logits: Tensor) -> None:
    settings = {"temperature": 1.7, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.4}
    config = GenerationConfig(do_sample=True, **settings)
    own = tiny_models["gemma1"].hf._get_logits_processor(config, input_ids_seq_length=len(PREVIOUS))
    assert len(own) == len(settings)
    assert torch.equal(final(logits, Sampling(**settings)), own(PREVIOUS[None], logits[None].clone())[0])
    names = ["the model", "repetition penalty", "temperature", "top-k", "top-p", "min-p"]
    assert list(processed(logits, PREVIOUS, Sampling(**settings))) == names


def test_settings_that_change_nothing_make_no_step(logits: Tensor) -> None:
    assert list(processed(logits, PREVIOUS, Sampling())) == ["the model"]


def test_temperature_zero_is_greedy_after_the_penalty(logits: Tensor) -> None:
    for seed in range(20):
        assert choose(logits, PREVIOUS, Sampling(temperature=0, seed=seed)) == int(logits.argmax())
    repeated = torch.tensor([int(logits.argmax())])
    sampling = Sampling(temperature=0, repetition_penalty=100.0)
    assert list(processed(logits, repeated, sampling)) == ["the model", "repetition penalty", "greedy"]
    assert choose(logits, repeated, sampling) != int(logits.argmax())


def test_a_choice_depends_on_logits_seed_and_step_only(logits: Tensor) -> None:
    sampling = Sampling(seed=5, temperature=3.0)
    chosen = [choose(logits, PREVIOUS, sampling, step) for step in range(30)]
    torch.rand(7)  # other users of torch's random numbers do not matter
    assert [choose(logits, PREVIOUS.tolist(), sampling, step) for step in reversed(range(30))] == chosen[::-1]
    assert len(set(chosen)) > 3
    assert [choose(logits, PREVIOUS, replace(sampling, seed=6), step) for step in range(30)] != chosen


@pytest.mark.parametrize("n", [1, 5, 16, 17, 1000])
def test_the_numbers_of_a_seed_do_not_depend_on_how_many_are_asked_for(n: int) -> None:
    assert torch.equal(random_numbers(3, 2000)[:n], random_numbers(3, n))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    shares = torch.tensor([0.1, 0.6, 0.0, 0.3])
    ids = pick(shares.log(), random_numbers(1, 100_000))
    frequencies = torch.bincount(ids, minlength=4) / len(ids)
    torch.testing.assert_close(frequencies, shares, atol=0.005, rtol=0)
    assert frequencies[2] == 0


def test_the_numbers_at_the_ends_fall_on_the_first_and_the_last_candidate() -> None:
    logits = torch.tensor([-math.inf, 1.0, 3.0, 2.0, -math.inf])
    assert pick(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)).tolist() == [2, 1]
    ids, ends = lots(logits)
    assert ids.tolist() == [2, 3, 1]
    torch.testing.assert_close(ends, logits[[2, 3, 1]].double().softmax(-1).cumsum(0))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(logits: Tensor, broken: float) -> None:
    logits[7] = broken
    with pytest.raises(SamplingError, match="not all numbers"):
        choose(logits, PREVIOUS, Sampling())
    with pytest.raises(SamplingError, match="not all numbers"):
        choose(logits, PREVIOUS, Sampling(temperature=0))


def test_tokens_that_are_ruled_out_beforehand_are_never_drawn(logits: Tensor) -> None:
    allowed = logits.clone()
    allowed[10:] = -math.inf
    assert all(choose(allowed, PREVIOUS, Sampling(temperature=9.0), step) < 10 for step in range(50))
    with pytest.raises(SamplingError):
        choose(torch.full((4,), -math.inf), [], Sampling())


def test_a_temperature_that_takes_the_logits_out_of_range_is_refused(logits: Tensor) -> None:
    with pytest.raises(SamplingError, match="temperature"):
        choose(logits, PREVIOUS, Sampling(temperature=1e-44))


def test_an_empty_text_has_nothing_to_penalise(logits: Tensor) -> None:
    assert torch.equal(list(processed(logits, [], Sampling(repetition_penalty=2.0)).values())[-1], logits)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 1.1),
        ("top_p", -0.1),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", math.inf),
        ("seed", -1),
        ("seed", 2**64),
    ],
)
def test_a_setting_out_of_its_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(SamplingError, match=f"The {setting} is {value}"):
        Sampling(**{setting: value})

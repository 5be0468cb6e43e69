"""The parts of a logit add up to it."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages.attribution import Additions, Split, additions, split
from tests.stages.conftest import by_layer

POSITION = 5


@pytest.fixture
def added(cap: gv.Capture) -> list[Additions]:
    return by_layer(lambda cap, layer: additions(cap, layer, [POSITION])[0], cap)


def uncapped(cap: gv.Capture, logit: float) -> float:
    """What the soft-cap was given."""
    softcap = cap.model.spec.final_softcap
    return float(softcap * torch.tensor(logit / softcap, dtype=torch.float64).atanh()) if softcap else logit


def test_the_parts_of_a_logit_add_up_to_the_models(cap: gv.Capture, added: list[Additions]) -> None:
    with torch.no_grad():
        logits = cap.model.hf(cap.token_ids[None].to(cap.model.device)).logits[0, POSITION].cpu()
    for token in (0, 7, int(logits.argmax())):
        values = split(cap, POSITION, added, token)
        assert values.total == pytest.approx(sum(part.value for part in values.parts), abs=1e-4)
        assert values.total == pytest.approx(values.logit, abs=2e-4)
        expected = float(logits[token])
        if cap.model.spec.final_softcap is None:
            assert values.logit == pytest.approx(expected, abs=2e-4)
        elif abs(expected) < 2.9:  # nearer to its cap of 3 a float32 no longer tells
            assert values.logit == pytest.approx(uncapped(cap, expected), abs=1e-3)


def test_the_difference_of_two_logits_is_split_likewise(cap: gv.Capture, added: list[Additions]) -> None:
    one, other = split(cap, POSITION, added, 3), split(cap, POSITION, added, 9)
    difference = split(cap, POSITION, added, 3, 9)
    np.testing.assert_allclose(difference.heads, one.heads - other.heads, atol=1e-4)
    np.testing.assert_allclose(difference.mlps, one.mlps - other.mlps, atol=1e-4)
    assert difference.embedding == pytest.approx(one.embedding - other.embedding, abs=1e-4)
    assert difference.logit == pytest.approx(one.logit - other.logit, abs=1e-4)
    assert difference.total == pytest.approx(difference.logit, abs=2e-4)


def test_a_part_is_what_the_logit_loses_without_it_under_the_same_norm(cap: gv.Capture, added: list[Additions]) -> None:
    """Written out once more, plainly: for one head, from the stream without what that head has added."""
    token, layer, head = 11, 2, 3
    values = split(cap, POSITION, added, token)
    hf, stream = cap.model.hf, cap.resid_post(-1)[POSITION].double()
    row, weight = hf.lm_head.weight[token].detach().double().cpu(), hf.model.norm.weight.detach().double().cpu()
    rms = (stream.pow(2).mean() + hf.config.rms_norm_eps).sqrt()

    def logit(x: torch.Tensor) -> float:
        return float((x / rms * (1 + weight)) @ row)

    without = stream - torch.from_numpy(added[layer].heads[head]).double()
    assert values.heads[layer, head] == pytest.approx(logit(stream) - logit(without), abs=1e-4)


def test_parts_come_by_size_and_are_complete() -> None:
    values = Split(
        0.5, np.array([[1, -3], [0, 2]], np.float32), np.array([-1.5, 0.25], np.float32), -0.75, -0.75, is_sum=True
    )
    assert [part.name for part in values.parts] == [
        "layer 0, head 1",
        "layer 1, head 1",
        "layer 0, MLP",
        "layer 0, head 0",
        "embedding",
        "layer 1, MLP",
        "layer 1, head 0",
    ]
    assert sum(part.value for part in values.parts) == values.total


def test_the_embedded_models_parts_add_up(embedded: gv.Model) -> None:
    cap = embedded.capture("I want to move")
    added = [additions(cap, layer, [4])[0] for layer in range(embedded.spec.n_layers)]
    first, second = cap.top_k(2).ids
    for values in (split(cap, 4, added, first), split(cap, 4, added, first, second)):
        assert values.total == pytest.approx(values.logit, abs=1e-4)

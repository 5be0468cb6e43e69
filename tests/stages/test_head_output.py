"""What a head adds to the stream, and what that does to the logits by itself."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import head_output


def test_lengths_and_cosines_are_those_of_the_heads_additions(cap: gv.Capture) -> None:
    values, outputs, stream = head_output.head_outputs(cap, 2, 5), cap.head_outputs(2, 5), cap.resid_pre(2)[5]
    np.testing.assert_allclose(values.lengths, outputs.norm(dim=-1).numpy(), rtol=1e-5)
    cosines = outputs @ stream / (outputs.norm(dim=-1) * stream.norm())
    np.testing.assert_allclose(values.cosines, cosines.numpy(), atol=1e-5)
    assert values.stream_length == pytest.approx(float(stream.norm()))
    assert values.update_length == pytest.approx(float(cap.attention(2).out[5].norm()), rel=1e-3)


def test_a_heads_direct_effect_is_what_the_logits_lose_without_it(cap: gv.Capture) -> None:
    """Take the head's addition out of the last stream, and keep the final norm's division."""
    values = head_output.direct_effect(cap, 3, 1, 5, k=4)
    norm, stream = cap.model.hf.model.norm, cap.resid_post(-1)[5].double()
    factors = (1 + norm.weight.detach().double().cpu()) / (stream.pow(2).mean() + 1e-5).sqrt()
    unembed = cap.model.hf.lm_head.weight.detach().double().cpu()
    without = stream - cap.head_outputs(3, 5)[1].double()
    change = (unembed @ (stream * factors) - unembed @ (without * factors)).float()
    change -= change.mean()
    text_ids = set(cap.model.vocabulary.text_ids)
    order = [id for id in torch.argsort(change, descending=True).tolist() if id in text_ids]
    assert values.highest == tuple(map(cap.model.token_text, order[:4]))
    assert values.lowest == tuple(map(cap.model.token_text, order[::-1][:4]))
    np.testing.assert_allclose(values.highest_values, change[order[:4]].numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(values.lowest_values, change[order[::-1][:4]].numpy(), rtol=1e-3, atol=1e-3)

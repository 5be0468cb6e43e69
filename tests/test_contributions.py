"""What single parts add sums to what all of them add."""

import torch

import gemma_viz as gv
from tests.conftest import PROMPT


def test_the_outputs_of_the_heads_sum_to_what_attention_adds(tiny: gv.Model) -> None:
    for edits in (gv.Edits(), gv.Edits(attention_norms=False, layers=frozenset({1}))):
        cap = tiny.capture(PROMPT, edits)
        for layer in range(4):
            for position in (0, 5, -1):
                outputs = cap.head_outputs(layer, position)
                assert outputs.shape == (6, 48)
                expected = cap.attention(layer).out[position]
                assert torch.allclose(outputs.sum(0), expected, atol=1e-5 * expected.abs().max().item())


def test_direct_logits_of_all_that_is_added_are_the_logits(tiny: gv.Model) -> None:
    for edits in (gv.Edits(), gv.Edits(final_norm=False)):
        cap = tiny.capture(PROMPT, edits)
        parts = [cap.resid_pre(0)[4]]
        for layer in range(4):
            parts += [*cap.head_outputs(layer, 4), cap.sublayers(layer).mlp_out[4]]
        sums = cap.direct_logits(torch.stack(parts), 4).sum(0)
        if softcap := tiny.spec.final_softcap:
            sums = softcap * torch.tanh(sums / softcap)
        expected = cap.logits([4])[0]
        assert torch.allclose(sums, expected, atol=1e-4 * expected.abs().max().item())

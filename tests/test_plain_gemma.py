"""The plain Gemma is Gemma: with nothing changed it gives what transformers' own eager model gives."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import gemma_viz as gv
from tests.conftest import FAMILIES
from tests.plain_gemma import run_plain
from tests.reference import load_reference, run_reference

TOKEN_IDS = torch.tensor([2, 300, 17, 270, 45, 45, 310, 8, 99, 301, 2, 77])  # more than the sliding windows


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


@pytest.fixture(params=[*FAMILIES, "gemma3 for long texts"])
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoints: dict[str, Path], tiny_for_long_texts: Path) -> Path:
    return tiny_checkpoints.get(request.param, tiny_for_long_texts)


def test_nothing_changed_is_transformers_own_model(checkpoint: Path) -> None:
    hf = load_reference(checkpoint)
    theirs = run_reference(hf, TOKEN_IDS)
    plain = run_plain(hf.state_dict(), hf.config, TOKEN_IDS, gv.Edits())
    assert len(plain.streams) == len(theirs.layers) + 1
    for index, layer in enumerate(theirs.layers):
        assert_close(plain.streams[index], layer["resid_pre"])
        assert_close(plain.streams[index], theirs.hidden_states[index])
        assert_close(plain.streams[index + 1], layer["resid_post"])
    for pattern, attention in zip(plain.patterns, theirs.attentions, strict=True):
        assert_close(pattern, attention)
    assert_close(plain.logits, theirs.logits)

"""The code that the pages show, executed and compared with the model's own values."""

from pathlib import Path

import pytest

import gemma_viz as gv
from gemma_viz.stages import attention, embedding, mlp, output, residual, rope
from tests.conftest import PROMPT, load_tiny

CHECKS = {
    "embed": lambda cap: embedding.check_embed(cap),
    "rms_norm": lambda cap: residual.check_rms_norm(cap, 2),
    "attention in a windowed layer": lambda cap: attention.check_attention(cap, 0),
    "attention": lambda cap: attention.check_attention(cap, 2),
    "rope": lambda cap: rope.check_rope(cap, 2),
    "mlp": lambda cap: mlp.check_mlp(cap, 1),
    "unembed": lambda cap: output.check_unembed(cap, 3),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_code_on_the_page_gives_the_models_own_value(cap: gv.Capture, name: str) -> None:
    check = CHECKS[name](cap)
    assert check.largest_value > 0
    assert check.largest_difference <= 1e-5 * max(1.0, check.largest_value)


@pytest.mark.parametrize("name", CHECKS)
def test_the_code_on_the_page_gives_the_embedded_models_own_value(embedded: gv.Model, name: str) -> None:
    check = CHECKS[name](embedded.capture("The cat sat on the mat. The cat sat on the"))
    assert check.largest_difference <= 1e-5 * max(1.0, check.largest_value)


def test_a_wrong_step_would_show_as_a_difference(cap: gv.Capture) -> None:
    right, wrong = (rope.check_rope(cap, layer) for layer in (0, 2))
    assert right.largest_difference < 1e-4
    values = cap.attention(2)
    off = rope.rope_step(values.q, 3 * cap.model.spec.rope_thetas[2]) - values.rot_q
    assert off.abs().max() > 1000 * wrong.largest_difference


def test_the_code_turns_as_slowly_as_the_larger_gemma_3_does(tiny_for_long_texts: Path) -> None:
    cap = load_tiny(tiny_for_long_texts).capture(PROMPT)
    assert cap.model.spec.rope_factors == (1, 1, 8, 1)
    check = rope.check_rope(cap, 2)
    assert "slower=8" in check.call
    assert check.largest_difference <= 1e-5 * check.largest_value

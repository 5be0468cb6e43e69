"""Runs beside each other on one model do not meet, and a plain pass through it stays transformers' own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gemma_viz as gv
from gemma_viz.patching import Patch
from tests.conftest import PROMPT
from tests.reference import TOLERANCE, difference, fingerprint, load_reference, same


def plain_logits(model: gv.Model, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model.hf(ids[None].to(model.device), use_cache=False).logits.cpu()


@pytest.mark.usefixtures("eager_switching")
def test_threads_on_one_model_do_not_see_each_other(tiny: gv.Model) -> None:
    ids = tiny.capture("green zebra moving").token_ids
    everything_off = gv.Edits(*(False,) * 7)
    other = tiny.capture("it wants to move")
    jobs: list[Callable[[], list[Tensor]]] = [
        lambda: fingerprint(tiny.capture(PROMPT)),
        lambda: fingerprint(tiny.capture("it wants to move")),
        lambda: fingerprint(tiny.capture(PROMPT, gv.Edits(causal_mask=False, rope=False, final_norm=False))),
        lambda: fingerprint(tiny.capture(PROMPT, everything_off)),
        lambda: fingerprint(tiny.capture(PROMPT, gv.Edits(weight_bits=4, pattern="uniform", mlp_residual=False))),
        lambda: fingerprint(tiny.capture(PROMPT, patch=Patch(other, "z", 1, 3, head=2))),
        lambda: [plain_logits(tiny, ids)],
    ]
    alone = [job() for job in jobs]
    start = threading.Barrier(len(jobs))

    def repeat(job: Callable[[], list[Tensor]], expected: list[Tensor]) -> int:
        start.wait()
        return sum(same(job(), expected) for _ in range(12))

    with ThreadPoolExecutor(len(jobs)) as pool:
        equal = list(pool.map(repeat, jobs, alone))
    assert equal == [12] * len(jobs)


def test_a_plain_forward_pass_gives_the_same_bits_after_captures(tiny: gv.Model) -> None:
    ids = tiny.capture(PROMPT).token_ids
    before = plain_logits(tiny, ids)
    edited = tiny.capture(PROMPT, gv.Edits(norms=False, attention=False, embedding_scale=False))
    edited.attention(1), edited.mlp(2), edited.logits([0])
    tiny.capture("the cat").attention(0)
    assert torch.equal(plain_logits(tiny, ids), before)


def test_a_plain_forward_pass_gives_the_same_bits_after_a_capture_that_failed(
    tiny: gv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tiny.capture(PROMPT).token_ids
    before = plain_logits(tiny, ids)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("out of luck")

    with monkeypatch.context() as broken:
        broken.setattr(tiny.hf.model.layers[2].mlp, "forward", fail)
        with pytest.raises(RuntimeError, match="out of luck"):
            tiny.capture(PROMPT, gv.Edits(rope=False, embedding_scale=False, final_norm=False))
    assert torch.equal(plain_logits(tiny, ids), before)


@pytest.mark.parametrize("family", ["gemma1", "gemma3"])
def test_an_instrumented_model_gives_the_bits_of_transformers_sdpa_model(
    family: str, tiny_models: dict[str, gv.Model], tiny_checkpoints: dict[str, Path]
) -> None:
    ours = tiny_models[family]
    theirs = load_reference(tiny_checkpoints[family], "sdpa").to(ours.device)
    ids = ours.capture(PROMPT).token_ids
    with torch.no_grad():
        plain = theirs(ids[None].to(ours.device), use_cache=False).logits.cpu()
    assert torch.equal(plain_logits(ours, ids), plain)


def test_an_instrumented_gemma_2_gives_the_logits_of_transformers_eager_model(
    tiny_models: dict[str, gv.Model], tiny_checkpoints: dict[str, Path]
) -> None:
    ids = tiny_models["gemma2"].capture(PROMPT).token_ids
    with torch.no_grad():
        plain = load_reference(tiny_checkpoints["gemma2"])(ids[None], use_cache=False).logits
    assert difference(plain_logits(tiny_models["gemma2"], ids), plain) < TOLERANCE

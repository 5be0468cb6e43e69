"""What is never held in memory, seen in the sizes of the tensors that torch really makes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gemma_viz as gv
from gemma_viz.stages import attention, heads, output, positions

LONG = "the red cat " * 160  # 480 tokens: more than are looked at at once, and most of the tiny models' context


class Allocations(TorchDispatchMode):
    """Notes the size of every tensor that is new memory, not a view of an operation's inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0  # elements

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in given:
                self.largest = max(self.largest, leaf.untyped_storage().nbytes() // leaf.itemsize)
        return result


@contextmanager
def allocations() -> Iterator[Allocations]:
    with Allocations() as seen:
        yield seen
    assert seen.largest > 0, "nothing was seen"


@pytest.fixture
def cap(tiny: gv.Model) -> gv.Capture:
    return tiny.capture(LONG)


def test_what_is_made_is_seen(cap: gv.Capture) -> None:
    n, n_heads = len(cap), cap.model.spec.n_heads
    with allocations() as seen:
        cap.attention(1).pattern  # noqa: B018  (a property that computes)
    assert seen.largest == n_heads * n * n


def test_a_capture_makes_nothing_of_the_size_of_its_patterns(tiny: gv.Model) -> None:
    with allocations() as seen:
        cap = tiny.capture(LONG)
    n, spec = len(cap), tiny.spec
    # Soft-capped scores have to be made, but of a few queries at a time. Nobody else makes even one head's mask.
    assert seen.largest < (spec.n_heads * n * n / 3 if spec.attention_softcap else n * n / 2)


def test_going_on_from_an_earlier_capture_makes_no_pattern_either(cap: gv.Capture) -> None:
    with allocations() as seen:
        longer = cap.model.capture(LONG + "green zebra", earlier=[cap])
    assert seen.largest < len(longer) ** 2 / 3


def test_one_head_is_computed_from_that_head_and_that_layer_only(
    cap: gv.Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, layer in enumerate(cap.model.hf.model.layers):
        if index != 2:
            monkeypatch.setattr(layer, "forward", None)
    with allocations() as seen:
        attention.head(cap, 2, 3, 100)
    n = len(cap)
    assert seen.largest <= max(n * n, n * cap.model.spec.n_heads * cap.model.spec.d_head, 128 * n * 6)


def test_a_replay_of_attention_leaves_the_mlp_out(cap: gv.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cap.model.hf.model.layers[1].mlp, "forward", None)
    cap.attention(1)
    cap.resid_mid(1)
    with pytest.raises(TypeError):
        cap.mlp(1)


def test_the_overview_of_all_heads_never_holds_a_layers_whole_pattern(
    cap: gv.Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "QUERIES_AT_ONCE", 64)
    with allocations() as seen:
        heads.layer_heads(cap, 2)
    n, n_heads = len(cap), cap.model.spec.n_heads
    band = n_heads * 64 * (n + 64)  # with the room in which diagonals are summed
    assert seen.largest <= band < n_heads * n * n


def test_patterns_are_compared_without_a_layers_whole_pattern(cap: gv.Capture) -> None:
    with allocations() as seen:
        positions.position_sensitivity(cap, 2)
        positions.changed_patterns(cap, cap.model.capture(cap.text, gv.Edits(rope_stretch=2.0)), 2, 100)
    n, n_heads = len(cap), cap.model.spec.n_heads
    assert seen.largest <= n_heads * heads.QUERIES_AT_ONCE * n < n_heads * n * n


def test_predictions_and_the_logit_lens_never_hold_positions_times_vocabulary(cap: gv.Capture) -> None:
    with allocations() as seen:
        output.predictions(cap)
        cap.ranking(cap.token_ids, layer=1)
    assert seen.largest < len(cap) * cap.model.spec.vocab_size / 4


def test_nearest_tokens_make_no_copy_of_the_table(tiny: gv.Model) -> None:
    with allocations() as seen:
        tiny.nearest_tokens(5)
    assert seen.largest < tiny.spec.vocab_size * tiny.spec.d_model / 4

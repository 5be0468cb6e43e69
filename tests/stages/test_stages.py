"""What all stages share."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz import stages
from gemma_viz.stages import attention, head_output, heads, mask, mlp, neuron, residual, rope


@pytest.mark.parametrize(
    ("position", "n", "width", "shown"),
    [(0, 100, 10, range(0, 10)), (99, 100, 10, range(90, 100)), (50, 100, 10, range(45, 55)), (1, 3, 10, range(0, 3))],
)
def test_a_window_is_moved_inwards_at_both_ends(position: int, n: int, width: int, shown: range) -> None:
    assert stages.around(position, n, width) == shown


def test_a_window_that_moves_in_steps_holds_every_token_and_is_shared_by_neighbours() -> None:
    windows = [stages.around(position, 100, 24, step=8) for position in range(100)]
    assert all(position in window and len(window) == 24 for position, window in enumerate(windows))
    assert windows[40] == windows[47] == range(32, 56)
    assert windows[48] == range(40, 64)


def test_neighbours_are_looked_at_together_in_blocks_that_hold_the_token() -> None:
    assert stages.neighbours(3, 9) == range(9)
    assert stages.neighbours(20, 100) == stages.neighbours(31, 100) == range(16, 32)
    assert stages.neighbours(99, 100) == range(84, 100)


def test_the_last_thing_made_of_a_capture_is_remembered_until_another_is_asked_for(tiny: gv.Model) -> None:
    one, other, third, made = tiny.capture("the red cat"), tiny.capture("zebra"), tiny.capture("green"), []

    def ask(cap: gv.Capture, key: int, nbytes: int = 1) -> None:
        last.get(cap, key, lambda: made.append((cap.text, key)), nbytes)

    last: stages.Last[None] = stages.Last()
    for cap in (one, other, one, other):
        ask(cap, 0)
    assert made == [("the red cat", 0), ("zebra", 0)]
    ask(one, 1)
    ask(one, 0)
    assert made[2:] == [("the red cat", 1), ("the red cat", 0)]
    ask(third, 0)
    ask(third, 0)
    ask(one, 0)
    assert made[4:] == [("green", 0), ("the red cat", 0)]


def test_what_is_too_large_is_not_remembered(tiny: gv.Model) -> None:
    cap, made, last = tiny.capture("the red cat"), [], stages.Last[None]()
    for _ in range(2):
        last.get(cap, 0, lambda: made.append(0), stages.LARGEST_REMEMBERED + 1)
    assert made == [0, 0]


OF_A_RUN = ("cap", "left", "baseline", "model")


def stage_functions() -> Iterator[Callable[..., Any]]:
    """All that look at a run, or a model, at a place in it."""
    for module in pkgutil.iter_modules(stages.__path__):
        for function in vars(importlib.import_module(f"gemma_viz.stages.{module.name}")).values():
            if inspect.isfunction(function) and function.__module__ == f"gemma_viz.stages.{module.name}":
                first, *others = [*inspect.signature(function).parameters, ""]
                if first in OF_A_RUN and set(others) & stages.PLACES.keys() and function.__name__[0] != "_":
                    yield function


@pytest.mark.parametrize("function", stage_functions(), ids=lambda function: function.__name__)
def test_every_stage_function_has_its_places_checked(function: Callable[..., Any]) -> None:
    assert hasattr(function, "__wrapped__"), "it lacks @counted"


AT_PLACES: dict[Callable[..., Any], dict[str, int]] = {
    attention.head: {"layer": 1, "head": 2, "position": 3},
    attention.query: {"layer": 1, "head": 2, "position": 3},
    attention.arcs: {"layer": 1, "position": 3},
    heads.layer_heads: {"layer": 1},
    head_output.direct_effect: {"layer": 1, "head": 2, "position": 3},
    mask.all_scores: {"layer": 1, "head": 2, "position": 3},
    mlp.neurons: {"layer": 1, "position": 3},
    neuron.activations: {"layer": 1, "neuron": 7},
    neuron.writes: {"layer": 1, "neuron": 7, "position": 3},
    residual.stream_scales: {"position": 3},
    rope.rotation: {"layer": 1, "head": 2, "pair": 5},
    rope.vectors: {"layer": 1, "head": 2, "position": 3},
    rope.contributions: {"layer": 1, "head": 2, "query": 3, "key": 1},
}


@pytest.mark.parametrize("function", AT_PLACES, ids=lambda function: function.__name__)
def test_places_count_from_the_end_too_and_others_are_index_errors(
    tiny_models: dict[str, gv.Model], function: Callable[..., Any]
) -> None:
    cap, places = tiny_models["gemma3"].capture("the red cat"), AT_PLACES[function]
    sizes = {"layer": 4, "head": 6, "neuron": 80, "pair": 8, "position": len(cap), "query": len(cap), "key": len(cap)}
    from_the_end = {name: place - sizes[name] for name, place in places.items()}
    assert_same(function(cap, **places), function(cap, *from_the_end.values()))
    for name in places:
        what = stages.PLACES[name][0]
        for outside in (sizes[name], -sizes[name] - 1):
            with pytest.raises(IndexError, match=f"no {what} {outside}: the {what}s are 0 to {sizes[name] - 1}"):
                function(cap, **(places | {name: outside}))
        with pytest.raises(TypeError):
            function(cap, **(places | {name: 1.0}))


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif hasattr(one, "__dataclass_fields__"):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other

"""Edits as values: their text, what is refused, and how two are joined."""

import re
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.errors import EditsError
from tests.changes import ALONE, PAIRS, TOGETHER
from tests.conftest import PROMPT


def test_edits_are_values() -> None:
    edits = gv.Edits(rope=False, norms=False)
    assert {edits: 1}[gv.Edits(norms=False, rope=False)] == 1
    assert gv.Edits() != edits
    assert gv.Edits(rope=False, layers=frozenset({1})) != gv.Edits(rope=False)
    assert gv.Edits(rope=False).only_in(1, 2) == gv.Edits(rope=False, layers=frozenset({1, 2}))
    assert len({*ALONE, *TOGETHER}) == len(ALONE + TOGETHER)  # all hashable, none twice
    with pytest.raises(FrozenInstanceError):
        edits.rope = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"without_heads": {(2, 1)}}, gv.Edits(without_heads=frozenset({(2, 1)}))),
        ({"without_heads": [[2, 1], (0, 3)]}, gv.Edits(without_heads=frozenset({(2, 1), (0, 3)}))),
        ({"without_neurons": np.array([[2, 1]])}, gv.Edits(without_neurons=frozenset({(2, 1)}))),
        ({"queries_from": [[0, 1]]}, gv.Edits(queries_from=((0, 1),))),
        ({"rope": np.False_, "layers": range(2)}, gv.Edits(rope=False, layers=frozenset({0, 1}))),
        ({"window": np.int64(3)}, gv.Edits(window=3)),
        ({"rope_stretch": 2}, gv.Edits(rope_stretch=2.0)),
        ({"embedding_factor": np.float32(0.5)}, gv.Edits(embedding_factor=0.5)),
    ],
    ids=str,
)
def test_sets_lists_and_numpy_s_numbers_are_taken_for_what_they_say(given: dict[str, Any], value: gv.Edits) -> None:
    edits = gv.Edits(**given)
    assert edits == value
    assert hash(edits) == hash(value)
    assert gv.Edits.from_text(edits.to_text()) == value


@pytest.mark.parametrize(
    "given",
    [
        {"rope": 0},
        {"rope": None},
        {"mlp": "off"},
        {"window": 3.5},
        {"window": True},
        {"rope_shift": "1"},
        {"rope_shift": None},
        {"rope_stretch": "2"},
        {"rope_stretch": True},
        {"weight_bits": 8.0},
        {"without_heads": (2, 1)},
        {"without_heads": [(2, 1, 0)]},
        {"without_heads": [(2, 1.0)]},
        {"without_neurons": "2x1"},
        {"queries_from": {0: 1}},
        {"layers": 3},
        {"layers": ["3"]},
        {"pattern": ["own"]},
    ],
    ids=str,
)
def test_values_of_another_type_are_refused_with_a_sentence(given: dict[str, Any]) -> None:
    with pytest.raises(EditsError, match=f"The change {next(iter(given))} is ") as refused:
        gv.Edits(**given)
    assert_sentence(str(refused.value))


@pytest.mark.parametrize("layers", [None, frozenset(), frozenset({3}), frozenset({0, 10, 2})])
def test_edits_are_read_from_their_text(layers: frozenset[int] | None) -> None:
    for edits in (gv.Edits(), *ALONE, *TOGETHER, *PAIRS):
        in_layers = replace(edits, layers=layers)
        assert gv.Edits.from_text(in_layers.to_text()) == in_layers


def test_the_text_is_short_and_fit_for_a_link() -> None:
    assert gv.Edits().to_text() == ""
    assert gv.Edits(rope=False, layers=frozenset({4, 3})).to_text() == "rope-off~layers-3_4"
    for edits in (*ALONE, *TOGETHER):
        assert re.fullmatch(r"[A-Za-z0-9_.~-]+", edits.to_text())  # nothing that an address would write as %2B


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "-",
        "rope",
        "rope-maybe",
        "Rope-off",
        "<b>-off",
        "window-",
        "window-three",
        "window-0",
        "window-2.5",
        "layers-a_b",
        "layers-1x2",
        "queries_from-1",
        "queries_from-1x2x3",
        "queries_from-0x1_0x2",
        "without_heads-0",
        "without_neurons-0xx1",
        "embedding_factor-nan",
        "embedding_factor-inf",
        "attention_temperature-0",
        "attention_temperature--1",
        "attention_temperature-nan",
        "rope_theta-1",
        "rope_theta-inf",
        "rope_stretch-nan",
        "rope_shift-1.5",
        "rope_shuffle--1",
        f"unembedding_seed-{2**31}",
        "weight_bits-3",
        "pattern-square",
        "activation-swish",
        "removal-median",
        "window-" + 5000 * "9",
    ],
)
def test_a_text_that_says_nothing_possible_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(EditsError) as refused:
        gv.Edits.from_text(text)
    assert_sentence(str(refused.value))
    with pytest.raises(EditsError):
        gv.Edits.from_text(f"rope-off~{text}")


@pytest.mark.parametrize(
    "extreme",
    [
        {"attention_temperature": 1e-300},
        {"attention_temperature": 1e300},
        {"embedding_factor": 1e300},
        {"rope_stretch": 1e300},
        {"rope_shift": 10**30},
        {"rope_shift": -(10**30)},
        {"window": 10**30},
    ],
    ids=str,
)
def test_numbers_that_no_model_could_run_with_are_refused(extreme: dict[str, float]) -> None:
    with pytest.raises(EditsError) as refused:
        gv.Edits(**extreme)  # type: ignore[arg-type]
    assert_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("edits", "what"),
    [
        (gv.Edits(rope=False, layers=frozenset({4})), "layer 4"),
        (gv.Edits(rope=False, layers=frozenset({-1})), "layer -1"),
        (gv.Edits(without_heads=frozenset({(0, 6)})), "head 6"),
        (gv.Edits(without_heads=frozenset({(4, 0)})), "layer 4"),
        (gv.Edits(queries_from=((6, 0),)), "head 6"),
        (gv.Edits(queries_from=((0, -1),)), "head -1"),
        (gv.Edits(without_neurons=frozenset({(0, 80)})), "neuron 80"),
        (gv.Edits(without_neurons=frozenset({(7, 0)})), "layer 7"),
    ],
    ids=str,
)
def test_places_that_a_model_does_not_have_are_refused(tiny: gv.Model, edits: gv.Edits, what: str) -> None:
    with pytest.raises(EditsError, match=f"has no {what}:") as refused:
        tiny.capture(PROMPT, edits)
    assert_sentence(str(refused.value))


def assert_sentence(message: str) -> None:
    assert message[0].isupper()
    assert message.endswith(".")
    assert len(message) < 250


def test_edits_are_joined() -> None:
    assert gv.Edits(rope=False).also(gv.Edits(mlp=False)) == gv.Edits(rope=False, mlp=False)
    assert gv.Edits(window=3, rope=False).also(gv.Edits(window=5)) == gv.Edits(window=5, rope=False)
    first, second = frozenset({(0, 1)}), frozenset({(2, 3)})
    assert gv.Edits(without_heads=first).also(gv.Edits(without_heads=second)).without_heads == first | second
    assert gv.Edits(without_neurons=first).also(gv.Edits(without_neurons=second)).without_neurons == first | second
    for edits in ALONE:
        assert edits.also(gv.Edits()) == gv.Edits().also(edits) == edits.also(edits) == edits


def test_edits_are_joined_in_the_layers_they_act_in() -> None:
    in_one = gv.Edits(rope=False).only_in(1)
    assert in_one.also(gv.Edits(mlp=False).only_in(1)) == gv.Edits(rope=False, mlp=False).only_in(1)
    # What belongs to no layer, or names its own, goes with any.
    for anywhere in (gv.Edits(final_norm=False), gv.Edits(without_heads=frozenset({(2, 0)}))):
        assert in_one.also(anywhere).layers == anywhere.also(in_one).layers == frozenset({1})
        assert in_one.also(anywhere).changes.keys() == {"rope", "layers", *anywhere.changes}
    for elsewhere in (gv.Edits(mlp=False), gv.Edits(mlp=False).only_in(2)):
        for one, other in ((in_one, elsewhere), (elsewhere, in_one)):
            with pytest.raises(EditsError, match="different layers") as refused:
                one.also(other)
            assert_sentence(str(refused.value))

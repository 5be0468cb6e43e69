"""The engine of one machine: right, fair, bounded, and on its feet whatever is asked."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz import model as model_module
from gemma_viz.engine import wire
from gemma_viz.engine.keys import CaptureKey, ModelKey, PatchKey, Request
from gemma_viz.engine.local import OWN_TURN_SECONDS, Limits, LocalEngine
from gemma_viz.errors import Busy, Cancelled, EngineError, OutOfMemory, TookTooLong, TooManyTokens
from gemma_viz.patching import Patch
from gemma_viz.stages import heads, output
from gemma_viz.stages.described import card, described
from tests.engine.conftest import NAME, PATIENCE, Gate, answer, asked

Put = Callable[..., None]

TEXT = "the red cat moving the cat"
STAGES = "gemma_viz.stages."


def same(one: object, other: object) -> bool:
    return wire.encode(one) == wire.encode(other)


# Right


def test_an_answer_is_what_the_stage_gives(engine: LocalEngine, gate: Gate) -> None:
    key, cap = CaptureKey(NAME, TEXT), gate.model.capture(TEXT)
    request = Request(STAGES + "heads:layer_heads", tuple((key, layer) for layer in range(4)))
    assert same(answer(engine.submit(request, "a")), [heads.layer_heads(cap, layer) for layer in range(4)])
    request = Request(STAGES + "described:card", ((ModelKey(NAME),),))
    assert same(answer(engine.submit(request, "a")), [card(gate.model)])


def test_runs_with_edits_patches_and_ids_are_made_as_their_keys_say(engine: LocalEngine, gate: Gate) -> None:
    source = CaptureKey(NAME, "the green cat")
    ids = tuple(gate.model.capture("it").token_ids.tolist())
    edits = gv.Edits(rope=False)
    cap = gate.model.capture
    for key, expected in [
        (CaptureKey(NAME, TEXT, edits=edits), cap(TEXT, edits)),
        (CaptureKey(NAME, "", ids=ids), gate.model.capture_ids(ids)),
        (
            CaptureKey(NAME, "the red cat", patch=PatchKey(source, "z", 1, 2, 3)),
            cap("the red cat", patch=Patch(cap("the green cat"), "z", 1, 2, 3)),
        ),
    ]:
        [found] = answer(engine.submit(Request(STAGES + "output:predictions", ((key,),)), "a"))
        assert isinstance(found, output.Predictions)
        np.testing.assert_allclose(found.logits, output.predictions(expected).logits, rtol=1e-4, atol=1e-4)


def test_nobody_can_change_an_answer_for_others(engine: LocalEngine) -> None:
    request = Request(STAGES + "output:predictions", ((CaptureKey(NAME, TEXT),),))
    for visitor in "ab":
        [found] = answer(engine.submit(request, visitor))
        with pytest.raises(ValueError, match="read-only"):
            found.logits[0] = 0  # type: ignore[attr-defined]


def test_what_was_answered_is_answered_again_at_once(engine: LocalEngine) -> None:
    request = asked("overview", ())
    request = Request(STAGES + "described:described", ((CaptureKey(NAME, TEXT),), (CaptureKey(NAME, "it"),)))
    first = engine.submit(request, "a")
    answer(first)
    again = engine.submit(request, "b")
    assert again.is_over
    assert same(again.result(), first.result())
    assert engine.state.caches["answers"].hits >= 2


def test_an_error_is_raised_where_the_answer_is_awaited_and_harms_nobody_else(engine: LocalEngine, gate: Gate) -> None:
    too_long = engine.submit(Request(STAGES + "described:described", ((CaptureKey(NAME, "it " * 600),),)), "a")
    with pytest.raises(TooManyTokens):
        answer(too_long)
    [found] = answer(engine.submit(Request(STAGES + "described:described", ((CaptureKey(NAME, "it"),),)), "a"))
    assert same(found, described(gate.model.capture("it")))


@pytest.mark.parametrize(
    "function",
    [
        *("os:system", "gemma_viz.checkpoints:load", "gemma_viz.stages.heads:_pooled", "gemma_viz.stages.heads:np"),
        *("gemma_viz.stages.heads:LayerHeads", "gemma_viz.stages.nowhere:x", "", "gemma_viz.stages.heads:load"),
    ],
)
def test_only_functions_of_stages_can_be_asked_for(engine: LocalEngine, function: str) -> None:
    with pytest.raises(EngineError, match="no such value"):
        answer(engine.submit(Request(function, ((ModelKey(NAME),),)), "a"))


# Fair and bounded


def test_those_who_wait_know_their_place(gate: Gate) -> None:
    engine = gate.engine()
    names = zip("abc", ("a", "b", "c"), strict=True)
    tickets = [engine.submit(asked("overview", text), visitor) for visitor, text in names]
    while engine.state.waiting > 2:
        time.sleep(0.01)
    assert [ticket.ahead for ticket in tickets] == [0, 1, 2]
    tickets[1].cancel()
    assert (tickets[2].ahead, engine.state.waiting) == (1, 1), "who has left is not before anybody"
    gate.opened.set()
    with pytest.raises(Cancelled):
        answer(tickets[1])
    assert all(ticket.wait(PATIENCE) for ticket in tickets)


def test_a_full_line_is_busy_and_goes_on(gate: Gate, stage: Put) -> None:
    def text_of(cap: gv.Capture) -> str:
        return cap.text

    stage(text_of)
    engine = gate.engine(line=2)
    at_work = engine.submit(asked("text_of", "a"), "at work")
    while engine.state.waiting:
        time.sleep(0.01)
    waiting = [engine.submit(asked("text_of", text), text) for text in "bc"]
    with pytest.raises(Busy, match="busy"):
        engine.submit(asked("text_of", "d"), "d")
    waiting[0].cancel()
    waiting[0] = engine.submit(asked("text_of", "d"), "d")  # who has left keeps nobody out
    gate.opened.set()
    assert [answer(ticket) for ticket in (at_work, *waiting)] == [["a"], ["d"], ["c"]]
    assert answer(engine.submit(asked("text_of", "d"), "d")) == ["d"]


def test_a_newer_request_takes_the_place_of_an_older_one_of_the_same_visitor(gate: Gate, stage: Put) -> None:
    def text_of(cap: gv.Capture) -> str:
        return cap.text

    stage(text_of)
    engine = gate.engine(line=1)
    engine.submit(asked("text_of", "x"), "at work")
    while engine.state.waiting:
        time.sleep(0.01)
    older, newer = (engine.submit(asked("text_of", text), "a") for text in ("old", "new"))
    with pytest.raises(Cancelled, match="newer"):
        answer(older)
    gate.opened.set()
    assert answer(newer) == ["new"]


def test_who_asks_for_much_takes_turns_with_the_others(gate: Gate, stage: Put) -> None:
    order = []

    def noted(cap: gv.Capture) -> int:
        order.append(cap.text)
        time.sleep(2 * OWN_TURN_SECONDS)
        return len(order)

    stage(noted)
    engine = gate.engine()
    much = engine.submit(asked("noted", "a0", "a1", "a2"), "a")
    while engine.state.waiting:
        time.sleep(0.01)
    little = engine.submit(asked("noted", "b0"), "b")
    gate.opened.set()
    answer(much), answer(little)
    assert order == ["a0", "b0", "a1", "a2"]


def test_long_work_lets_others_in(engine: LocalEngine, stage: Put) -> None:
    other_answered = threading.Event()

    def long_work(cap: gv.Capture) -> bool:
        start = time.monotonic()
        while not other_answered.is_set() and time.monotonic() < start + PATIENCE:
            cap.attention(0)
        return other_answered.is_set()

    def short_work(cap: gv.Capture) -> str:
        return cap.text

    stage(long_work)
    stage(short_work)
    first = engine.submit(asked("long_work", TEXT), "a")
    assert answer(engine.submit(asked("short_work", "it"), "b")) == ["it"]
    other_answered.set()
    assert answer(first) == [True]


def test_what_is_no_longer_wanted_ends_between_two_layers(engine: LocalEngine, stage: Put) -> None:
    at_work = threading.Event()

    def endless(cap: gv.Capture) -> None:
        while True:
            at_work.set()
            cap.attention(0)

    stage(endless)
    ticket = engine.submit(asked("endless", TEXT), "a")
    assert at_work.wait(PATIENCE)
    ticket.cancel()
    [found] = answer(engine.submit(Request(STAGES + "described:described", ((CaptureKey(NAME, "it"),),)), "a"))
    assert found.text == "it"  # type: ignore[attr-defined]


def test_what_takes_too_long_ends(gate: Gate, stage: Put) -> None:
    def endless(cap: gv.Capture) -> None:
        while True:
            cap.attention(0)

    stage(endless)
    gate.opened.set()
    with pytest.raises(TookTooLong, match=r"longer than the 0.2 seconds"):
        answer(gate.engine(seconds=0.2).submit(asked("endless", TEXT), "a"))


def test_captures_stay_within_their_bytes(gate: Gate) -> None:
    gate.opened.set()
    size = gate.model.capture("the cat").nbytes
    engine = gate.engine(capture_bytes=2 * size)
    for text in ("the cat", "red cat", "the red", "red the"):
        answer(engine.submit(Request(STAGES + "described:described", ((CaptureKey(NAME, text),),)), "a"))
    assert 0 < engine.state.caches["captures"].bytes <= 2 * size


# Together


def test_texts_that_wait_together_are_run_together(gate: Gate, stage: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def last_logits(cap: gv.Capture) -> list[float]:
        return cap.logits([-1])[0].tolist()

    stage(last_logits)
    passes, forward = [], gate.model.forward
    monkeypatch.setattr(gate.model, "forward", lambda ids, *a, **k: (passes.append(len(ids)), forward(ids, *a, **k))[1])
    engine = gate.engine()
    texts = ["the red cat moving", "it", "green zebra " * 5, "the red cat moving"]
    tickets = [engine.submit(asked("last_logits", text), str(n)) for n, text in enumerate(texts)]
    while engine.state.waiting > len(texts) - 1:
        time.sleep(0.01)
    gate.opened.set()
    found = [answer(ticket)[0] for ticket in tickets]
    assert len(passes) == 1
    for text, logits in zip(texts, found, strict=True):
        alone = gate.model.capture(text).logits([-1])[0]
        torch.testing.assert_close(torch.tensor(logits), alone, rtol=1e-4, atol=1e-4)


# Memory


def test_what_does_not_fit_is_refused_before_it_is_run(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.opened.set()
    engine = gate.engine()
    request = Request(STAGES + "described:described", ((CaptureKey(NAME, "the red cat"),),))
    with monkeypatch.context() as no_memory:
        no_memory.setattr(model_module, "free_bytes", lambda device: 1000)
        with pytest.raises(OutOfMemory, match=rf"tokens need some .* free on the {gate.model.device.type}"):
            answer(engine.submit(request, "a"))
    assert answer(engine.submit(request, "a"))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 1 TB")]
)
def test_out_of_memory_is_tried_once_more_without_what_is_remembered(
    engine: LocalEngine, stage: Put, error: Exception
) -> None:
    failures = [error, error, error]

    def hungry(cap: gv.Capture) -> str:
        if failures:
            raise failures.pop()
        return cap.text

    stage(hungry)
    with pytest.raises(OutOfMemory, match="shorter prompt"):
        answer(engine.submit(asked("hungry", "the cat"), "a"))
    assert engine.state.caches["captures"].entries <= 1
    assert answer(engine.submit(asked("hungry", "the cat"), "a")) == ["the cat"], "the second try of the next request"


def test_a_real_lack_of_memory_is_a_sentence_and_the_next_request_works(engine: LocalEngine, stage: Put) -> None:
    def enormous(cap: gv.Capture) -> int:
        return torch.empty(1 << 50, device=cap.model.device).nbytes

    stage(enormous)
    with pytest.raises(OutOfMemory, match="shorter prompt"):
        answer(engine.submit(asked("enormous", "the cat"), "a"))
    assert answer(engine.submit(Request(STAGES + "described:described", ((CaptureKey(NAME, "the cat"),),)), "a"))


def test_other_errors_are_not_taken_for_a_lack_of_memory(engine: LocalEngine, stage: Put) -> None:
    def broken(cap: gv.Capture) -> None:
        raise RuntimeError("shape mismatch")

    stage(broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        answer(engine.submit(asked("broken", "the cat"), "a"))


# Models


def test_a_model_that_could_not_be_had_is_tried_again(gate: Gate) -> None:
    tries = iter([gv.errors.ModelOffline("not there"), gate.model])

    def load(name: str, progress: object) -> gv.Model:
        found = next(tries)
        if isinstance(found, Exception):
            raise found
        return found

    engine = LocalEngine(Limits(), load)
    request = Request(STAGES + "described:card", ((ModelKey(NAME),),))
    with pytest.raises(gv.errors.ModelOffline, match="not there"):
        answer(engine.submit(request, "a"))
    assert answer(engine.submit(request, "a"))
    assert engine.state.models == (NAME,)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_whose_worker_has_ended_says_so(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(ticket: object) -> None:
        raise SystemExit

    assert engine.is_alive
    monkeypatch.setattr(engine, "_turn", end)
    engine.submit(asked("overview", "it"), "a")
    engine._worker.join(PATIENCE)
    assert not engine.is_alive

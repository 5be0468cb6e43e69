"""What the benchmark of the browser makes of what it measured."""

import json

from benchmarks.ui import ON_SCREEN, PROMPT, SHIFT, TOKEN, Seen, Subject, prompts, report, to_json
from gemma_viz.model import Model

MASK = Subject("Attention", "attention=mask")


def a_round(**seconds: float) -> Seen:
    seen = Seen()
    for what, value in seconds.items():
        seen.note(what, value)
    return seen


def test_the_table_shows_medians_and_marks_what_is_above_its_goal() -> None:
    seen = a_round(**{PROMPT: 1200, SHIFT: 0.004})
    for milliseconds in (100, 900, 300):
        seen.note(TOKEN, milliseconds + 50)
        seen.note(TOKEN + ON_SCREEN, milliseconds)
    short, long = report({16: {MASK: seen}, 256: {MASK: seen}}).split("256 tokens")
    assert "| Attention: mask |  |  | **1,200** |  | **300** / 350 |  |  |  | 0 | 0.004 |" in short
    assert "| Attention: mask |  |  | 1,200 |  | **300** / 350 |" in long


def test_all_rounds_can_be_read_back() -> None:
    seen = a_round(**{TOKEN: 80.5})
    seen.movers["stSkeleton"] = 2
    read = json.loads(to_json({16: {MASK: seen}}))
    assert read == {
        "16": {"Attention: mask": {"rounds": {"token": [80.5]}, "movers": {"stSkeleton": 2}, "chart_bytes": 0}}
    }


def test_prompts_are_new_and_have_as_many_tokens_as_asked_for(embedded: Model) -> None:
    texts = prompts(64)
    first, second = next(texts), next(texts)
    assert first != second
    assert [len(embedded.tokens(text)) for text in (first, second)] == [64, 64]

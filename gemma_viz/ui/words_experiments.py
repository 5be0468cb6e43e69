"""Sentences of the Experiments page, made from its numbers."""

import math
from collections.abc import Sequence

from gemma_viz.stages.experiments import Mean, Outcome
from gemma_viz.tokens import visible
from gemma_viz.ui.words import CLEARLY, HARDLY, NO_NUMBERS, code, percent, size
from gemma_viz.ui.words_presets import Preset

BEYOND_CHANCE = 2  # standard errors


def verdict(preset: Preset, guess: str, result: str) -> str:
    """Whether what was foreseen came true, and what that says, in Markdown.

    guess: a key of the preset's guesses, or another text where nothing was foreseen; result: the one that is true
    """
    happened = f"**{preset.guesses[result]}.**"
    if guess not in preset.guesses:
        judged = f":material/science: What happened: {happened}"
    elif guess == result:
        judged = f":material/check_circle: You were right. {happened}"
    else:
        judged = f":material/cancel: You expected: “{preset.guesses[guess]}”. What happened: {happened}"
    return f"{judged}\n\n{preset.said.get(result, '')}"


def in_numbers(outcome: Outcome, baseline: Outcome, change: str) -> str:
    """What a change did to the prediction and to the loss on the prompt, in Markdown. change: completes "with …"."""
    answer = code(visible(baseline.answer))
    if not outcome.is_finite:
        return (
            f"With {change} there is no prediction at all: the logits are no longer numbers (NaN or infinite). In the "
            f"model as it is {answer} has {percent(baseline.probability)}."
        )
    if outcome.keeps_the_answer:
        said = (
            f"{answer} stays the likeliest: {percent(baseline.probability)} before, {percent(outcome.probability)} now."
        )
    else:
        said = (
            f"{answer} had {percent(baseline.probability)} and has {percent(outcome.probability)} now, rank "
            f"{outcome.rank:,}; the likeliest is {code(visible(outcome.likeliest))} with "
            f"{percent(outcome.likeliest_probability)}."
        )
    divergence = outcome.kl_divergence
    if divergence < HARDLY:
        changes = "hardly changes"
    else:
        changes = "changes somewhat" if divergence < CLEARLY else "changes strongly"
    return (
        f"With {change} {said} The whole distribution {changes} (KL divergence {size(divergence)} nats). "
        + loss_on_prompt(outcome.loss, baseline.loss)
    )


def board(baseline: Outcome, outcomes: Sequence[Outcome], names: Sequence[str]) -> str:
    """What all switches together show, in Markdown. outcomes, names: sorted by damage."""
    answer = code(visible(baseline.answer))
    kept = sum(one.keeps_the_answer for one in outcomes)
    broken = sum(not one.is_finite for one in outcomes)
    harmless = [name for name, one in zip(names, outcomes, strict=True) if one.damage < HARDLY]
    return (
        f"As it is, the model answers {answer} with {percent(baseline.probability)}. Of {len(outcomes)} changes, each "
        f"made by itself, **{kept}** leave it the likeliest token"
        + (f", and with **{broken}** there are no numbers left." if broken else ".")
        + (f" These hardly change anything: {'; '.join(harmless)}." if harmless else "")
    )


def loss_on_prompt(loss: float, before: float) -> str:
    """How the loss on the prompt moves, in Markdown."""
    if math.isnan(before):
        return "A prompt of one token has no loss: nothing in it is predicted."
    return f"The loss on the prompt goes from {before:.3f} to {_loss(loss)} nats."


def moved(loss: float, before: float) -> str:
    """ "falls" or "rises", or the empty text where there is no saying."""
    return "falls" if loss < before else "rises" if loss > before else ""


def loss_on_text(mean: Mean, difference: Mean, baseline: Mean, change: str) -> str:
    """The loss on the shipped text with a change, and whether it differs from the untouched one, in Markdown.

    change: completes "with …"
    """
    text = f"on the {baseline.n:,} tokens of the shipped text"
    if not math.isfinite(baseline.mean):
        return NO_NUMBERS
    if not math.isfinite(mean.mean):
        return f"With {change} there is no loss {text}: the logits are not all numbers."
    apart = abs(difference.mean) / difference.standard_error if difference.standard_error else math.inf
    if difference.mean == 0:
        judged = "no difference at all"
    elif apart < BEYOND_CHANCE:
        judged = f"no more than chance could make: {apart:.1f} standard errors"
    else:
        judged = f"{size(apart)} standard errors " + ("worse" if difference.mean > 0 else "better")
    return (
        f"With {change} the loss {text} is **{_measured(mean)} nats**, that of the model as it is "
        f"{_measured(baseline)}. Token by token the difference is **{difference.mean:+.3f} ± "
        f"{difference.standard_error:.3f}**: {judged}."
    )


def _measured(mean: Mean) -> str:
    return f"{mean.mean:.3f} ± {mean.standard_error:.3f}"


def _loss(loss: float) -> str:
    return f"{loss:.3f}" if math.isfinite(loss) else "no number"

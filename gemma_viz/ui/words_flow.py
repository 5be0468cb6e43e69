"""Sentences that say, row by row, what happens to one token on its way through the model. Plain text, no Markdown."""

import math
from collections.abc import Sequence

import numpy as np

from gemma_viz.stages import Floats
from gemma_viz.stages.flow import Flow
from gemma_viz.stages.overview import Overview
from gemma_viz.ui.words import counted, percent, size


def seen(values: Flow, about: Overview, labels: Sequence[str], next_label: str) -> str:
    """What the picture shows, for those who do not see it. As `told` for the arguments."""
    at, n_layers = values.shown.index(about.position), len(values.attention)
    label = f"“{labels[about.position]}”"
    return (
        f"Tokens across and {counted(n_layers, 'layer')} down. The stream of each token is a line, wider where its RMS "
        "is larger, with a bar to the left of it for the update of each attention and one to the right for that of "
        f"each MLP. The stream of {label} goes from an RMS of "
        f"{size(float(values.stream_rms[0, at]))} to one of {size(float(values.stream_rms[-1, at]))}."
        f"{_largest('attention', values.attention[:, at])}{_largest('an MLP', values.mlp[:, at])} Below each line "
        f"stands the likeliest next token, here “{next_label}” with {percent(about.top.probabilities[0])}."
    )


def _largest(what: str, updates: Floats) -> str:
    """Where the largest update is; nothing where updates are no numbers, or all left out."""
    if not np.isfinite(updates).all() or not updates.any():
        return ""
    layer = int(updates.argmax())
    return f" Its largest update by {what} is in layer {layer}, {size(float(updates[layer]))} times the stream’s size."


def told(
    values: Flow, about: Overview, labels: Sequence[str], guessed: dict[int, tuple[str, float]], next_label: str
) -> list[str]:
    """A sentence for each row of the picture: the text, the embedding, every attention and MLP, the norm, the output.

    labels: of all tokens; guessed: by a number of layers, what the stream would be read out as after them
    next_label: the likeliest next token
    """
    at = values.shown.index(about.position)
    label = f"“{labels[about.position]}”"
    said = [
        f"The text is cut into {counted(about.n_positions, 'token')}. Token {about.position} is {label}, entry "
        f"{about.token_id:,} of the {about.spec.vocab_size:,} in the vocabulary.",
        f"Entry {about.token_id:,} has a row of {about.spec.d_model:,} numbers. Times {size(about.embedding_factor)} "
        f"it is the stream of {label}, with an RMS of {size(about.embedded_rms)}.",
    ]
    for layer in range(len(values.attention)):
        said.append(_attention(values, layer, at, label, labels))
        said.append(_mlp(values, layer, at, label, guessed.get(layer + 1)))
    return [
        *said,
        f"The final norm brings the stream of {label} from an RMS of {size(about.last_rms)} to one of "
        f"{size(about.normed_rms)}.",
        f"The output projection gives each of the {about.spec.vocab_size:,} tokens a score. The likeliest after "
        f"{label} is “{next_label}” with {percent(about.top.probabilities[0])}.",
    ]


def _attention(values: Flow, layer: int, at: int, label: str, labels: Sequence[str]) -> str:
    update = float(values.attention[layer, at])
    if not math.isfinite(update):
        return _out_of_range(layer, "attention")
    if update == 0:
        return f"Layer {layer}, attention adds nothing to {label}."
    return (
        f"Layer {layer}, attention adds an update of {size(update)} times the stream’s size to {label}"
        f"{_read(values, layer, at, labels)}. {_size_now(values, 2 * layer + 1, at)}"
    )


def _read(values: Flow, layer: int, at: int, labels: Sequence[str]) -> str:
    """What attention reads, as a part of a sentence."""
    first, second = (float(weight) for weight in values.weights[layer, at, :2])
    own = values.shown[at]
    names = ["itself" if key == own else f"token {key} “{labels[key]}”" for key in values.read[layer, at, :2].tolist()]
    then = f", then from {names[1]} ({percent(second)})" if second > 0 else ""
    return f"; it reads most from {names[0]} ({percent(first)} of the weight, on average over the heads){then}"


def _mlp(values: Flow, layer: int, at: int, label: str, guess: tuple[str, float] | None) -> str:
    update = float(values.mlp[layer, at])
    if not math.isfinite(update):
        return _out_of_range(layer, "MLP")
    if update == 0:
        return f"Layer {layer}, MLP adds nothing to {label}."
    read_out = f" Read out here, it would say “{guess[0]}” ({percent(guess[1])})." if guess else ""
    return (
        f"Layer {layer}, MLP works on {label} alone and adds an update of {size(update)} times the stream’s size. "
        f"{_size_now(values, 2 * layer + 2, at)}{read_out}"
    )


def _size_now(values: Flow, depth: int, at: int) -> str:
    """How large the stream is after an update, and whether it was larger before."""
    before, now = (float(rms) for rms in values.stream_rms[depth - 1 : depth + 1, at])
    fallen = ", less than before" if now < before else ""
    return f"The stream’s RMS is {size(now)} now{fallen}."


def _out_of_range(layer: int, what: str) -> str:
    return f"Layer {layer}, {what}: the numbers have run out of range here (NaN or infinite)."

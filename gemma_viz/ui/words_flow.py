"""Sentences that say, row by row, what happens to one token on its way through the model. Plain text, no Markdown."""

import math
from collections.abc import Sequence

from gemma_viz.stages.flow import Flow
from gemma_viz.stages.overview import Overview
from gemma_viz.ui.words import percent, size


def told(
    values: Flow, about: Overview, labels: Sequence[str], guessed: dict[int, tuple[str, float]], next_label: str
) -> list[str]:
    """A sentence for each row of the picture: the text, the embedding, every attention and MLP, the norm, the output.

    labels: of all tokens; guessed: by a number of layers, what the stream would be read out as after them
    next_label: the likeliest next token
    """
    at = values.shown.index(about.position)
    label = f"“{labels[about.position]}”"
    tokens = "1 token" if about.n_positions == 1 else f"{about.n_positions:,} tokens"
    said = [
        f"The text is cut into {tokens}. Token {about.position} is {label}, entry {about.token_id:,} of the "
        f"{about.spec.vocab_size:,} in the vocabulary.",
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
    if update == 0:
        return f"Layer {layer}, attention adds nothing to {label}."
    scale = float(values.stream_rms[2 * layer + 1, at])
    return (
        f"Layer {layer}, attention adds an update of {size(update)} times the stream’s size to {label}"
        f"{_read(values, layer, at, labels)}. The stream’s RMS is {size(scale)} now."
    )


def _read(values: Flow, layer: int, at: int, labels: Sequence[str]) -> str:
    """What attention reads, as a part of a sentence; nothing where the weights are no numbers."""
    first, second = (float(weight) for weight in values.weights[layer, at, :2])
    if math.isnan(first):
        return ""
    own = values.shown[at]
    names = ["itself" if key == own else f"“{labels[key]}”" for key in values.read[layer, at, :2].tolist()]
    then = f", then from {names[1]} ({percent(second)})" if second > 0 else ""
    return f"; it reads mostly from {names[0]} ({percent(first)} of the weight, on average over the heads){then}"


def _mlp(values: Flow, layer: int, at: int, label: str, guess: tuple[str, float] | None) -> str:
    update = float(values.mlp[layer, at])
    if update == 0:
        return f"Layer {layer}, MLP adds nothing to {label}."
    read_out = f" Read out here, it would say “{guess[0]}” ({percent(guess[1])})." if guess else ""
    return (
        f"Layer {layer}, MLP works on {label} alone and adds an update of {size(update)} times the stream’s size. The "
        f"stream’s RMS is {size(float(values.stream_rms[2 * layer + 2, at]))} now.{read_out}"
    )

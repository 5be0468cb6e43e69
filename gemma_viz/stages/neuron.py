"""One neuron of an MLP: where it is strong, which tokens it reads, and which it writes.

The shipped text, `gemma_viz/corpus.txt`, was written for this project and is under its licence, Apache 2.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gemma_viz import contributions
from gemma_viz.capture import Capture
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.instrument import norm_before_mlp
from gemma_viz.linear import linear
from gemma_viz.model import ROWS_AT_ONCE, Model
from gemma_viz.run import Run, running
from gemma_viz.stages import Floats, counted, to_numpy
from gemma_viz.stages.extremes import Extremes, extremes
from gemma_viz.stages.mlp import inside_mlp
from gemma_viz.tokens import tokenize

LONGEST_PIECE = 256  # tokens; positions in a piece fit into a byte
FIRINGS = 10
CONTEXT = 10  # tokens on either side


@dataclass(frozen=True)
class Reads:
    """What a neuron would be given if the stream held a token's embedding row and nothing else.

    gate, up: Extremes. A value is the product of the neuron's row of the gate (up) projection with the rescaled
        embedding row after the layer's norm before the MLP
    """

    gate: Extremes
    up: Extremes


@dataclass(frozen=True)
class Writes:
    """What a neuron does to the next token's logits directly, past all later layers.

    logits: Extremes, change of the logits for each 1 of activation, less its average over the vocabulary: its column
        of the down-projection times the factors of the norm after the MLP (Gemma 2, 3) and of the final norm as they
        were at one position of the prompt, through the output projection (before any soft-cap)
    activation: float, what it really is at that position
    """

    logits: Extremes
    activation: float


@dataclass(frozen=True)
class Firing:
    """One token on which a neuron is strong.

    before, token, after: str, the text around it, its own and what follows; activation: float, gelu(gate) * up
    """

    before: str
    token: str
    after: str
    activation: float


@dataclass(frozen=True)
class StrongestInPiece:
    """For every neuron of every layer the tokens of one piece of text on which it is strongest, by |activation|.

    ids: int32 [position], the piece
    activations: float32 [layer, neuron, k], the strongest first; positions: uint8 [layer, neuron, k]
    """

    ids: npt.NDArray[np.int32]
    activations: Floats
    positions: npt.NDArray[np.uint8]


@counted
def activations(cap: Capture, layer: int, neuron: int) -> Floats:
    """float32 [position], the product gelu(gate) * up of one neuron for every token."""
    return to_numpy(inside_mlp(cap, layer).act[:, neuron])


@counted
def reads(model: Model, layer: int, neuron: int, k: int = 8) -> Reads:
    """Which tokens a neuron's gate and up would be most and least for, by their embedding rows alone."""
    module, spec = model.hf.model.layers[layer], model.spec
    weight = norm_before_mlp(module, spec).weight.detach().float()
    rows = torch.stack([module.mlp.gate_proj.weight[neuron], module.mlp.up_proj.weight[neuron]]).detach().float()
    directions = (rows * (1 + weight)).to(model.device)
    products = _with_all_rows(model.embedding, directions)  # [2, vocab_size]
    mean_square = (model.row_norms * spec.embedding_scale).pow(2) / spec.d_model
    gate, up = products * spec.embedding_scale * (mean_square + spec.norm_eps).rsqrt()
    return Reads(extremes(model, gate, k), extremes(model, up, k))


@counted
def writes(cap: Capture, layer: int, neuron: int, position: int, k: int = 8) -> Writes:
    """Which tokens a neuron raises and lowers directly, with the scales of one position of the prompt."""
    inside = inside_mlp(cap, layer)
    output = contributions.of_neuron(cap, layer, neuron, position, inside.projected)
    logits = cap.direct_logits(output[None], position)[0]
    return Writes(extremes(cap.model, logits - logits.mean(), k), float(inside.act[position, neuron]))


def strongest_in_prompt(cap: Capture, act: Floats) -> tuple[Firing, ...]:
    """The tokens of the prompt on which a neuron is strongest. act: its `activations`."""
    order = np.argsort(-np.abs(act), kind="stable")[:FIRINGS]
    texts = [token.text for token in cap.tokens]
    return tuple(_firing(texts, int(position), float(act[position])) for position in order)


def shipped_pieces(model: Model) -> tuple[tuple[int, ...], ...]:
    """The shipped text as token ids, a paragraph a piece; what is longer than a piece may be is cut.

    Where the tokenizer begins a text with a token of its own (<bos>), every piece begins with it.
    """
    longest = min(LONGEST_PIECE, model.token_limit)
    text = files("gemma_viz").joinpath("corpus.txt").read_text(encoding="utf-8")
    pieces: list[tuple[int, ...]] = []
    for paragraph in text.strip().split("\n\n\n"):
        tokens = tokenize(model.tokenizer, paragraph, limit=len(text))
        first = tuple(token.id for token in tokens[:1] if token.span is None)
        ids = tuple(token.id for token in tokens[len(first) :])
        step = longest - len(first)
        pieces += [first + ids[start : start + step] for start in range(0, len(ids), step)]
    return tuple(pieces)


def strongest_in_piece(model: Model, ids: tuple[int, ...], edits: Edits = UNCHANGED) -> StrongestInPiece:
    """Run one piece of text and keep, for every neuron, the tokens on which it is strongest.

    The first token is left out: it is the same in every piece, and so would take many of the places.
    """
    run = Run(("act",), edits)
    with running(run):
        model.forward(torch.tensor(ids))
    found = [_strongest(run.values["act", layer][0, 1:]) for layer in range(model.spec.n_layers)]
    return StrongestInPiece(
        ids=np.array(ids, np.int32),
        activations=np.stack([to_numpy(activations) for activations, _ in found]),
        positions=np.stack([positions.cpu().numpy() + 1 for _, positions in found]).astype(np.uint8),
    )


def shipped_texts(model: Model) -> tuple[tuple[str, ...], ...]:
    """The texts of the tokens of every shipped piece."""
    return tuple(tuple(model.token_text(id) for id in ids) for ids in shipped_pieces(model))


def strongest_in_pieces(
    pieces: Sequence[StrongestInPiece], texts: Sequence[Sequence[str]], layer: int, neuron: int
) -> tuple[Firing, ...]:
    """The tokens of all pieces on which one neuron is strongest. texts: of every piece, those of its tokens."""
    candidates = [
        (float(activation), of_piece, int(position))
        for piece, of_piece in zip(pieces, texts, strict=True)
        for activation, position in zip(piece.activations[layer, neuron], piece.positions[layer, neuron], strict=True)
    ]
    strongest = sorted(candidates, key=lambda candidate: -abs(candidate[0]))[:FIRINGS]
    return tuple(_firing(of_piece, position, activation) for activation, of_piece, position in strongest)


def _strongest(act: Tensor) -> tuple[Tensor, Tensor]:
    """Activations and positions, both [neuron, k], from [position, neuron]."""
    by_neuron = act.float().T.contiguous()
    positions = by_neuron.abs().topk(min(FIRINGS, by_neuron.shape[1])).indices
    return by_neuron.gather(1, positions), positions


def _firing(texts: Sequence[str], position: int, activation: float) -> Firing:
    before = texts[max(0, position - CONTEXT) : position]
    after = texts[position + 1 : position + 1 + CONTEXT]
    return Firing("".join(before), texts[position], "".join(after), activation)


def _with_all_rows(table: Tensor, directions: Tensor) -> Tensor:
    """Products of some directions [n, d_model] with every row of a table: float32 [n, vocab_size]."""
    # A block at a time: in bfloat16 models a whole float32 copy would be a second model.
    return torch.cat([linear(block.float(), directions) for block in torch.split(table, ROWS_AT_ONCE)]).T

"""What there is to know of a model, and of a run before its values are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemma_viz.attention import AttentionRule
from gemma_viz.capture import Capture
from gemma_viz.model import Model
from gemma_viz.spec import ModelSpec
from gemma_viz.tokens import Token


@dataclass(frozen=True)
class ModelCard:
    """A model as pages know it.

    name: str, as it was asked for; spec: ModelSpec
    dtype: str, what it computes in, "float32" for example; itemsize: int, bytes of one such number
    device: str, "cpu" or "cuda"
    n_parameters: int; token_limit: int, tokens, of a text; n_text: int, entries of the vocabulary that stand for text
    """

    name: str
    spec: ModelSpec
    dtype: str
    itemsize: int
    device: str
    n_parameters: int
    token_limit: int
    n_text: int


@dataclass(frozen=True)
class Described:
    """A run as pages walk through it.

    text: str, what the tokens make together; tokens: tuple of Token
    beside: tuple, of each token the entries before and after its own in the vocabulary
    rules: AttentionRule of each layer
    """

    text: str
    tokens: tuple[Token, ...]
    beside: tuple[tuple[str, ...], ...]
    rules: tuple[AttentionRule, ...]


def card(model: Model) -> ModelCard:
    """What is to be known of a model."""
    return ModelCard(
        name=model.name,
        spec=model.spec,
        dtype=str(model.dtype).removeprefix("torch."),
        itemsize=model.dtype.itemsize,
        device=model.device.type,
        n_parameters=model.n_parameters,
        token_limit=model.token_limit,
        n_text=model.vocabulary.n_text,
    )


def described(cap: Capture) -> Described:
    """What is to be known of a run."""
    vocabulary = cap.model.vocabulary
    return Described(
        text=cap.text,
        tokens=tuple(cap.tokens),
        beside=tuple(vocabulary.beside(token.id) for token in cap.tokens),
        rules=tuple(cap.rule(layer) for layer in range(cap.model.spec.n_layers)),
    )


def token_texts(model: Model, ids: Sequence[int]) -> tuple[str, ...]:
    """The texts of some ids."""
    return tuple(model.token_text(id) for id in ids)

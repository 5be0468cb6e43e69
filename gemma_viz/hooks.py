"""What the hooks on a model's modules do in a run: see values, put others in their place, leave out or change steps.

Each function makes one hook, which does nothing outside a run. Where they stand on a model is said in
`gemma_viz.instrument`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gemma_viz.edits import Activation, Edits
from gemma_viz.linear import linear, weight_in_run
from gemma_viz.rotations import rotations
from gemma_viz.run import Injection, current
from gemma_viz.spec import ModelSpec

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu_exact": nn.functional.gelu,
    "relu": nn.functional.relu,
    "identity": lambda gate: gate,
}


def output_probe(name: str, layer: int) -> Callable[..., None]:
    """A run sees what the module gives."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if run := current():
            run.see(name, layer, output)

    return hook


def input_probe(name: str, layer: int) -> Callable[..., None]:
    """A run sees what the module is given."""

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if run := current():
            run.see(name, layer, args[0])

    return hook


def output_injection(name: str, layer: int) -> Callable[..., Tensor | None]:
    """Values of another run take the place of what the module gives."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        injections = _injections(name, layer)
        return _with_all(injections, output) if injections else None

    return hook


def input_injection(name: str, layer: int) -> Callable[..., tuple[Tensor, ...] | None]:
    """Values of another run take the place of what the module is given."""

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        injections = _injections(name, layer)
        return (_with_all(injections, args[0]), *args[1:]) if injections else None

    return hook


def _injections(name: str, layer: int) -> list[Injection]:
    run = current()
    return [one for one in run.injections if (one.name, one.layer) == (name, layer)] if run else []


def _with_all(injections: list[Injection], value: Tensor) -> Tensor:
    for injection in injections:
        value = injection.into(value)
    return value


def embedding() -> Callable[..., Tensor | None]:
    """The rows as they are stored, or times another factor."""

    def hook(module: nn.Embedding, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = current()
        if run is None or (run.edits.embedding_scale and run.edits.embedding_factor is None):
            return None
        rows = nn.functional.embedding(args[0], module.weight)
        factor = run.edits.embedding_factor if run.edits.embedding_scale else None
        return rows if factor is None else rows * factor

    return hook


def skip(steps: tuple[str, ...], layer: int | None = None) -> Callable[..., Tensor | None]:
    """The module hands on what it was given, where one of these steps is left out."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = current()
        return None if run is None or all(run.edits.takes(step, layer) for step in steps) else args[0]

    return hook


def silence(step: str, layer: int) -> Callable[..., Tensor | None]:
    """The module gives zeros, or at every token its mean over the text."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = current()
        return None if run is None or run.edits.takes(step, layer) else _removed(output, run.edits)

    return hook


def without_parts(field: str, layer: int, width: int) -> Callable[..., tuple[Tensor, ...] | None]:
    """Parts of what the module is given are left out: heads, of d_head components each, or neurons, of one."""

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        run = current()
        parts = [part for at, part in getattr(run.edits, field) if at == layer] if run else []
        if run is None or not parts:
            return None
        value = args[0].clone()
        for part in parts:
            place = slice(part * width, (part + 1) * width)
            value[..., place] = _removed(value[..., place], run.edits)
        return (value,)

    return hook


def _removed(value: Tensor, edits: Edits) -> Tensor:
    """What stands in the place of a value [batch, position, n] that is left out."""
    return value.mean(1, keepdim=True).expand_as(value) if edits.removal == "mean" else torch.zeros_like(value)


def activation(layer: int) -> Callable[..., Tensor | None]:
    """Another function of the gate, or none at all."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = current()
        if run is None or not run.edits.act_in(layer):
            return None
        if not run.edits.gate:
            return torch.ones_like(output)
        return ACTIVATIONS[run.edits.activation](args[0]) if run.edits.activation != "gelu" else None

    return hook


def rotation(index: int, hf: PreTrainedModel, spec: ModelSpec) -> Callable[..., Any]:
    """Other rotations for a layer, where they are left out, or their base or the positions are changed."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        run = current()
        if run is None or not run.edits.in_layer(index).turn_otherwise:
            return None
        turns = rotations(hf, spec, index, args[0], kwargs["position_ids"], run.edits)
        return args, kwargs | {"position_embeddings": turns}

    return hook


def linear_forward(module: nn.Linear, layer: int) -> Callable[[Tensor], Tensor]:
    """During a run the faster product, of rounded weights if it asks for them; outside one the module's own."""
    plain = module.forward

    def forward(x: Tensor) -> Tensor:
        run = current()
        return plain(x) if run is None else linear(x, weight_in_run(module, layer, run.edits))

    return forward

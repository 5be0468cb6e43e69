"""How far captures are from transformers: a Markdown table of the largest absolute differences.

    python -m benchmarks.parity

Gemma Viz runs transformers' own modules, so what is left is rounding: its attention is transformers' "sdpa", the
reference's is "eager", and replayed scores are summed in another order.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import gemma_viz as gv
from gemma_viz.embedded import embedded_checkpoint
from tests.conftest import FAMILIES, PROMPT, load_tiny, save_tiny
from tests.reference import LAYER_QUANTITIES, captured, load_reference, run_reference

QUANTITIES = (*LAYER_QUANTITIES, "final_norm", "logits")


def main() -> None:
    """Print the table."""
    columns = {}
    with TemporaryDirectory() as root:
        for number, family in enumerate(FAMILIES, start=1):
            folder = save_tiny(family, Path(root) / family, bos=True)
            columns[f"Gemma {number}, tiny"] = differences(load_tiny(folder), folder)
    folder = embedded_checkpoint(lambda share, what: None)
    columns["Gemma 3 270M"] = differences(gv.load(device="cpu", dtype=torch.float32), folder)

    print(f"| quantity | {' | '.join(columns)} | largest value, 270M |")
    print("|---" * (len(columns) + 2) + "|")
    for name in QUANTITIES:
        cells = [f"{column[name][0]:.1e}" for column in columns.values()]
        print(f"| {name} | {' | '.join(cells)} | {columns['Gemma 3 270M'][name][1]:.3g} |")


def differences(model: gv.Model, folder: Path) -> dict[str, tuple[float, float]]:
    """By quantity, over all layers: the largest absolute difference, and the largest absolute value."""
    cap = model.capture(PROMPT)
    expected = run_reference(load_reference(folder), cap.token_ids)
    n_layers = range(model.spec.n_layers)
    found = [captured(cap, layer) for layer in n_layers]
    table = {
        name: [(found[layer][name], expected.layers[layer][name]) for layer in n_layers] for name in LAYER_QUANTITIES
    }
    table["final_norm"] = [(cap.final_norm(), expected.final_norm)]
    table["logits"] = [(cap.logits(range(len(cap))), expected.logits)]
    return {
        name: (max(distance(mine, theirs) for mine, theirs in pairs), max(largest(theirs) for _, theirs in pairs))
        for name, pairs in table.items()
    }


def distance(mine: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference; two -inf are equal, one alone is infinitely far."""
    return float((mine - theirs).masked_fill(mine == theirs, 0).abs().max())


def largest(value: Tensor) -> float:
    """The largest absolute value that is finite."""
    return float(value[value.isfinite()].abs().max())


if __name__ == "__main__":
    main()

"""How far captures are from transformers: a Markdown table of the largest absolute differences.

    python -m benchmarks.parity [--full-size] [--random-only] [--device cuda]

--full-size adds random weights in the shape of Gemma 2B, which needs 12 GB of memory and 5 GB of disk.
--random-only leaves out the embedded model, where its package is not installed.
--device is where the captures are made; transformers' own model stays on the CPU.

Gemma Viz runs transformers' own modules, so what is left is rounding: its attention is transformers' "sdpa", the
reference's is "eager", and replayed scores are summed in another order.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from transformers import AutoTokenizer

import gemma_viz as gv
from benchmarks.full_size import save_full_size
from gemma_viz.embedded import embedded_checkpoint
from tests.conftest import FAMILIES, PROMPT, save_tiny
from tests.reference import LAYER_QUANTITIES, captured, load_reference, run_reference

QUANTITIES = (*LAYER_QUANTITIES, "final_norm", "logits")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--random-only", action="store_true")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    columns = {}
    with TemporaryDirectory() as root:
        for number, family in enumerate(FAMILIES, start=1):
            columns[f"Gemma {number}, tiny"] = differences(
                save_tiny(family, Path(root) / family, bos=True), options.device
            )
        if options.full_size:
            columns["Gemma 1, 2B shape"] = differences(save_full_size(Path(root) / "full-size"), options.device)
    if not options.random_only:
        columns["Gemma 3 270M"] = differences(embedded_checkpoint(lambda share, what: None), options.device)

    last = list(columns)[-1]
    print(f"| quantity | {' | '.join(columns)} | largest value, {last} |")
    print("|---" * (len(columns) + 2) + "|")
    for name in QUANTITIES:
        cells = [f"{column[name][0]:.1e}" for column in columns.values()]
        print(f"| {name} | {' | '.join(cells)} | {columns[last][name][1]:.3g} |")


def differences(folder: Path, device: str) -> dict[str, tuple[float, float]]:
    """By quantity, over all layers: the largest absolute difference, and the largest absolute value.

    One model is in memory at a time.
    """
    token_ids = torch.tensor(AutoTokenizer.from_pretrained(folder)(PROMPT).input_ids)
    expected = run_reference(load_reference(folder), token_ids)
    cap = gv.load(folder, device=device, dtype=torch.float32).capture(PROMPT)
    assert torch.equal(cap.token_ids, token_ids)
    n_layers = range(cap.model.spec.n_layers)
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

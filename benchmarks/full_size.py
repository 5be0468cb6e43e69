"""Random weights in the shape of Gemma 2B: a capture and what pages show of it, against the plain pass.

    python -m benchmarks.full_size

On the GPU if there is one. It needs 12 GB of memory, or 6 GB and as much on the GPU, and 5 GB of disk.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GemmaConfig

import gemma_viz as gv
from benchmarks.measure import in_pairs, machine, peak_gpu_mib, peak_mib, seconds
from benchmarks.tables import markdown
from gemma_viz.placement import default_device
from gemma_viz.stages.heads import layer_heads
from gemma_viz.tokens import tokenize
from tests.conftest import tiny_tokenizer

GEMMA_2B_PARAMETERS = 2_506_172_416


def save_full_size(folder: Path) -> Path:
    """Write random weights in the shape of Gemma 2B, 5 GB in bfloat16, and return their folder."""
    config = GemmaConfig(hidden_size=2048, intermediate_size=16384, num_hidden_layers=18, num_attention_heads=8)
    config.num_key_value_heads, config.dtype = 1, torch.bfloat16
    with default_device():
        model = AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() == GEMMA_2B_PARAMETERS
    model.save_pretrained(folder)
    tiny_tokenizer(bos=True).save_pretrained(folder)
    return folder


def measured(path: Path, lengths: list[int]) -> list[dict[str, float]]:
    """By number of tokens: times in seconds, of the capture as a multiple of the plain pass, and memory.

    The plain pass is given token ids, the capture the text.
    """
    model = gv.load(path, dtype=torch.bfloat16, token_limit=max(lengths))
    found = []
    for length in lengths:
        text = " the" * (length - 1)  # the tokenizer beside random weights knows few words
        cap = model.capture(text)
        ids = cap.token_ids[None].to(model.device)

        def plain(ids: torch.Tensor = ids) -> None:
            with torch.inference_mode():
                model.hf(ids, use_cache=False, logits_to_keep=1)

        def ours(text: str = text) -> None:
            model.capture(text).logits([-1])

        peak_gpu_mib()  # of what comes now
        times = in_pairs({"plain": plain, "capture": ours}, "plain", 10)
        row = {"tokens": len(cap), "plain_seconds": times["plain"].seconds, "ratio": times["capture"].ratio}
        row["tokenize_seconds"] = seconds(lambda text=text, n=length: tokenize(model.tokenizer, text, n))  # type: ignore[misc]
        row["capture_gpu_mib"] = peak_gpu_mib()
        row["attention_seconds"] = seconds(lambda cap=cap: cap.attention(9))  # type: ignore[misc]
        row["mlp_seconds"] = seconds(lambda cap=cap: cap.mlp(9))  # type: ignore[misc]
        row["maps_seconds"] = seconds(lambda cap=cap: overview(cap))  # type: ignore[misc]
        row |= {"pages_gpu_mib": peak_gpu_mib(), "peak_mib": peak_mib()}
        found.append(row)
    return found


def overview(cap: gv.Capture) -> Any:
    """The attention page's small maps."""
    return [layer_heads(cap, layer) for layer in range(cap.model.spec.n_layers)]


def main() -> None:
    """Measure and print."""
    print(json.dumps(machine()))
    lengths = [8, 256, 1024] if default_device().type == "cpu" else [8, 256, 1024, 4096, 8192]
    with TemporaryDirectory() as folder:
        rows = measured(save_full_size(Path(folder) / "gemma-2b"), lengths)
    print(markdown(list(rows[-1]), [[f"{value:,.4g}" for value in row.values()] for row in rows]))


if __name__ == "__main__":
    main()

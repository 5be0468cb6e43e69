"""Gemma Viz against its peers, and against the floor: tables on the terminal, everything as JSON.

    python -m benchmarks.run [--quick] [--json FILE]

--quick: short prompts and few repetitions, under two minutes
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

import gemma_viz as gv
from benchmarks.full_size import overview
from benchmarks.measure import (
    MIB,
    Timing,
    alone,
    as_json,
    bytes_held,
    in_pairs,
    largest_difference,
    machine,
    peak_mib,
    seconds,
)
from benchmarks.peers import PLAIN, Peers
from benchmarks.tables import markdown
from gemma_viz import linear
from gemma_viz.embedded import embedded_checkpoint
from gemma_viz.placement import default_device
from gemma_viz.stages.attention import head

OURS = "Gemma Viz"
OURS_BY_MKL = "Gemma Viz, products by MKL"
WORDS = ("the", "river", "rose", "in", "night", "and", "by", "morning", "fields", "were", "under", "water", "family")


def text_of(n_tokens: int, seed: int = 0) -> str:
    """A text of exactly n tokens, <bos> included: every word is one."""
    return " ".join(random.Random(seed).choices(WORDS, k=n_tokens - 1))


def kept(cap: gv.Capture) -> int:
    """Bytes that a capture holds on to."""
    return bytes_held({name: value for name, value in vars(cap).items() if name != "model"})


# Against the peers


def against_peers(lengths: list[int], n: int) -> dict[str, Any]:
    """One pass with everything that each captures, by number of tokens."""
    model = gv.load(dtype=torch.float32 if default_device().type == "cpu" else torch.bfloat16)
    peers = Peers(embedded_checkpoint(lambda share, what: None), model.device, model.dtype)

    def ours(text: str) -> tuple[gv.Capture, Any]:
        cap = model.capture(text)
        return cap, cap.logits([-1])

    def ours_by_mkl(text: str) -> tuple[gv.Capture, Any]:
        with patch.object(linear, "_HAS_ONEDNN", False):
            return ours(text)

    result: dict[str, Any] = {"dtype": str(model.dtype), "device": str(model.device), "lengths": {}}
    for length in lengths:
        text = text_of(length)
        cap = model.capture(text)
        assert len(cap) == length
        ids = cap.token_ids[None].to(model.device)
        same = {name: _check_same(run(ids), cap) for name, run in peers.subjects.items() if name != PLAIN}
        subjects: dict[str, Callable[[], Any]] = {
            name: lambda run=run, ids=ids: run(ids)  # type: ignore[misc]
            for name, run in peers.subjects.items()
        }
        subjects[OURS] = lambda text=text: ours(text)  # type: ignore[misc]
        if model.device.type == "cpu":
            subjects[OURS_BY_MKL] = lambda text=text: ours_by_mkl(text)  # type: ignore[misc]
        memory = {name: bytes_held(run(ids)) / MIB for name, run in peers.subjects.items()}
        memory |= {name: kept(cap) / MIB for name in (OURS, OURS_BY_MKL)}
        times = in_pairs(subjects, PLAIN, n)
        result["lengths"][length] = {"times": times, "kept_mib": memory, "largest_difference": same}
    return result


def _check_same(theirs: dict[str, Any], cap: gv.Capture) -> float:
    """The largest difference of what a peer captured to ours, which must be rounding."""
    tolerance = 1e-3 if cap.model.dtype == torch.float32 else 0.2
    worst = largest_difference(cap.logits([-1])[0], theirs["logits"][0, -1].float().cpu())
    for layer, stream in enumerate(theirs["resid_pre"]):
        worst = max(worst, largest_difference(cap.resid_pre(layer), stream[0].float().cpu()))
    for layer, pattern in enumerate(theirs.get("pattern", ())):
        worst = max(worst, largest_difference(cap.attention(layer).pattern, pattern[0].float().cpu()))
    assert worst < tolerance, f"not the same quantities: {worst}"
    return worst


def print_peers(result: dict[str, Any]) -> None:
    """The tables of `against_peers`."""
    lengths = result["lengths"]
    header = ["", *(f"{length:,} tokens" for length in lengths)]
    names = [name for name in next(iter(lengths.values()))["times"] if name != PLAIN]
    peers = [name for name in names if not name.startswith(OURS)]

    def table(names: list[str], cell: Callable[[dict[str, Any], str], str]) -> str:
        return markdown(header, [[name, *(cell(found, name) for found in lengths.values())] for name in names])

    print(f"Time as a multiple of the plain pass ({result['dtype']}, {result['device']}): median (quartiles, min)\n")
    print(table([PLAIN], lambda found, name: f"{1000 * found['times'][name].seconds:.0f} ms"))
    print(table(names, lambda found, name: str(found["times"][name])))
    print("What is kept, MiB\n")
    print(table(names, lambda found, name: f"{found['kept_mib'][name]:.1f}"))
    print("Largest difference of stream, patterns and logits to Gemma Viz's, relative to the row's largest value\n")
    print(table(peers, lambda found, name: f"{found['largest_difference'][name]:.0e}"))


# What comes after the pass


def after_the_pass(length: int, n: int) -> dict[str, Timing]:
    """Looking inside, growing a prompt, ranking the vocabulary; each against what it can be compared with."""
    model = gv.load()
    text = text_of(length)
    cap = model.capture(text)
    found: dict[str, Timing] = {}

    def compare(name: str, run: Callable[[], Any], baseline: Callable[[], Any]) -> None:
        found[name] = in_pairs({"baseline": baseline, name: run}, "baseline", n)[name]

    def fresh() -> gv.Capture:
        return model.capture(text)

    compare("one layer's attention / a capture", lambda: cap.attention(3), fresh)
    compare("one layer's MLP / a capture", lambda: cap.mlp(3), fresh)
    compare("one head for one query / a capture", lambda: head(cap, 3, 0, length - 1), fresh)
    compare("maps of all heads / a capture", lambda: overview(cap), fresh)
    compare("one token more / a capture", lambda: model.capture(text + " the", earlier=[cap]), fresh)
    for positions in (8, 64, 256):
        short = model.capture(text_of(positions))
        normed = short.final_norm().to(model.device, model.dtype)
        compare(
            f"ranking after {positions} tokens / the matrix product",
            lambda short=short: short.ranking(short.token_ids.roll(-1)),  # type: ignore[misc]
            lambda normed=normed: [model.unembed(block) for block in normed.split(64)],  # type: ignore[misc]
        )
    short = model.capture(text_of(64))
    normed = short.final_norm().to(model.device, model.dtype)
    layers = range(model.spec.n_layers)
    compare(
        "logit lens of 64 tokens / the matrix products",
        lambda: [short.ranking(short.token_ids.roll(-1), layer=layer) for layer in layers],
        lambda: [model.unembed(normed) for _ in layers],
    )
    row = model.embedding[[2827]]
    compare(
        "nearest tokens / the matrix-vector product",
        lambda: model.nearest_tokens(2827),
        lambda: linear.linear(row, model.embedding),
    )
    return found


def nearest_in_a_large_table(n: int) -> Timing:
    """Nearest tokens in a table of Gemma 2B's shape, 256,000 x 2,048 in bfloat16."""
    table = torch.randn(256_000, 2048, dtype=torch.bfloat16)
    model = gv.load(dtype=torch.bfloat16)
    model.hf.model.embed_tokens.weight.data = table
    row = table[[5]]
    model.token_text(0)
    runs = {"baseline": lambda: linear.linear(row, table), "nearest": lambda: model.nearest_tokens(5)}
    return in_pairs(runs, "baseline", n)["nearest"]


# Long prompts, loading, dtypes: each in a process of its own


def long_prompts(lengths: list[int]) -> list[dict[str, float]]:
    """Cost and memory of captures by length; then the dearest values that pages show of the longest."""
    model = gv.load(token_limit=max(lengths))
    before = peak_mib()
    model.capture(text_of(64))
    found = []
    for length in lengths:
        start = time.perf_counter()
        cap = model.capture(text_of(length))
        found.append(
            {
                "tokens": length,
                "seconds": time.perf_counter() - start,
                "kept_bytes_per_token": kept(cap) / length,
                "peak_mib": peak_mib(),
                "peak_mib_of_loading": before,
            }
        )
    start = time.perf_counter()
    overview(cap)
    found[-1] |= {"maps_of_all_heads_seconds": time.perf_counter() - start, "peak_mib_with_maps": peak_mib()}
    return found


def conversion() -> dict[str, float]:
    """The first start: from the package to a converted folder."""
    with TemporaryDirectory() as folder:
        os.environ["GEMMA_VIZ_CACHE"] = folder
        took = seconds(lambda: embedded_checkpoint(lambda share, what: None))
    return {"seconds": took, "peak_mib": peak_mib()}


def loading(n: int) -> Timing:
    """Later starts, against reading every byte and building the model."""
    folder = embedded_checkpoint(lambda share, what: None)

    def floor() -> Any:
        weights = {name: weight.clone() for name, weight in load_file(folder / "model.safetensors").items()}
        with torch.device("meta"):
            hf = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        hf.load_state_dict(weights, assign=True, strict=False)
        return hf, Tokenizer.from_file(str(folder / "tokenizer.json"))

    return in_pairs({"floor": floor, "load": lambda: gv.load(device="cpu")}, "floor", n)["load"]


def bfloat16_against_float32(lengths: list[int], n: int) -> dict[str, Any]:
    """On the CPU: what bfloat16 gains in time and costs in accuracy."""
    exact, coarse = (gv.load(device="cpu", dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    found: dict[str, Any] = {"times": {}}
    for length in lengths:
        text = text_of(length)
        runs = {
            "float32": lambda text=text: exact.capture(text),  # type: ignore[misc]
            "bfloat16": lambda text=text: coarse.capture(text),  # type: ignore[misc]
        }
        found["times"][length] = in_pairs(runs, "float32", n)["bfloat16"]
    text = text_of(256)
    mine, theirs = (model.capture(text).logits(range(256)).softmax(-1) for model in (coarse, exact))
    found["same_likeliest_token"] = float((mine.argmax(-1) == theirs.argmax(-1)).float().mean())
    found["largest_probability_difference"] = float((mine - theirs).abs().max())
    streams = [(coarse.capture(text).resid_post(i), exact.capture(text).resid_post(i)) for i in (0, 8, 17)]
    found["largest_stream_difference"] = [largest_difference(a, b) for a, b in streams]
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("build/benchmark.json"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": machine()}

    def measure(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        result[name] = alone(function, *arguments)
        options.json.write_text(json.dumps(result, indent=1, default=as_json) + "\n")
        return result[name]

    lengths, n = ([8, 64], 5) if options.quick else ([8, 64, 256, 1024], 20)
    print_peers(measure("peers", against_peers, lengths, n))
    after = measure("after_the_pass", after_the_pass, lengths[-1], n)
    print(markdown(["", "time", "ratio"], [[name, f"{1000 * t.seconds:.1f} ms", t] for name, t in after.items()]))
    print("Loading, against reading the bytes and building the model:", measure("loading", loading, 5), "\n")
    if options.quick:
        return
    print("Nearest tokens, 256,000 x 2,048:", measure("nearest_in_a_large_table", nearest_in_a_large_table, 20), "\n")
    print("First start:", measure("conversion", conversion), "\n")
    rows = measure("long_prompts", long_prompts, [256, 1024, 4096, 8192])
    print(markdown(list(rows[-1]), [[f"{value:,.2f}" for value in row.values()] for row in rows]))
    print("bfloat16 against float32:", measure("bfloat16", bfloat16_against_float32, [8, 64, 256, 1024], 10), "\n")


if __name__ == "__main__":
    main()

"""What the tests share: tiny random Gemmas of each family on disk, and the embedded model.

The tiny models' sizes are all different, so that no axis can be taken for another, and all their parameters are drawn
at random, norm weights too: what a fresh model has there (zeros, and weights so small that attention is uniform) would
hide a missing norm or a wrong mask.
"""

import os

# Before huggingface_hub is imported, which reads it once: no test may reach for the network, nor wait for its retries.
os.environ["HF_HUB_OFFLINE"] = "1"
# All visitors of the tests come from one address, faster than a class does, and pages without a browser are opened by
# one visitor, faster than a person does.
os.environ["GEMMA_VIZ_REQUESTS_PER_ADDRESS"] = "0"
os.environ["GEMMA_VIZ_REQUESTS_PER_SESSION"] = "0"

import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import (
    AutoConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import gemma_viz as gv

if "PYTEST_XDIST_WORKER" in os.environ:  # others run beside it: threads would only wait for each other
    torch.set_num_threads(1)

DEVICE = os.environ.get("GEMMA_VIZ_TEST_DEVICE", "cpu")
"""Where the models of the tests are: see `make test-gpu`."""

ROUNDING = 1 if DEVICE == "cpu" else 8
"""How much more than on the CPU, where the references are, a device may round: it sums in another order."""

FAMILIES = ("gemma1", "gemma2", "gemma3")

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
WORDS = ("▁the", "▁cat", "▁red", "▁green", "▁want", "▁to", "▁move", "▁it", "ing", "er")
OTHER_WORDS = ("▁the", "▁red", "▁mov", "▁cats", "▁zebra", "ing")
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"()-\n▁é"

PROMPT = "I want to move the red cat, moving it to the green zebra"
"""Longer than the tiny models' sliding windows, with whole words, word ends and lone letters."""


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoint folders of one tiny random model for each family, with a tokenizer that adds <bos>."""
    root = tmp_path_factory.mktemp("tiny")
    return {family: save_tiny(family, root / family, bos=True) for family in FAMILIES}


@pytest.fixture(scope="session")
def tiny_models(tiny_checkpoints: dict[str, Path]) -> dict[str, gv.Model]:
    """The same, loaded in float32."""
    return {family: load_tiny(folder) for family, folder in tiny_checkpoints.items()}


@pytest.fixture(scope="session")
def tiny_checkpoints_without_bos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights, with a tokenizer that adds nothing."""
    root = tmp_path_factory.mktemp("tiny_without_bos")
    return {family: save_tiny(family, root / family, bos=False) for family in FAMILIES}


@pytest.fixture(scope="session")
def tiny_models_without_bos(tiny_checkpoints_without_bos: dict[str, Path]) -> dict[str, gv.Model]:
    return {family: load_tiny(folder) for family, folder in tiny_checkpoints_without_bos.items()}


@pytest.fixture(scope="session")
def tiny_for_long_texts(tiny_checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Gemma 3, set up as the larger ones are (4B and more): its full layers turn eight times more slowly."""
    folder = shutil.copytree(tiny_checkpoints["gemma3"], tmp_path_factory.mktemp("long_texts") / "gemma3")
    config = AutoConfig.from_pretrained(folder)
    config.rope_parameters["full_attention"] |= {"rope_type": "linear", "factor": 8.0}
    config.save_pretrained(folder)
    return folder


@pytest.fixture(params=FAMILIES)
def tiny(request: pytest.FixtureRequest, tiny_models: dict[str, gv.Model]) -> gv.Model:
    """Each tiny model in turn."""
    return tiny_models[request.param]


@pytest.fixture(scope="session")
def checkpoint_of_other_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Gemma 1 whose vocabulary is another one: some of its words are the other models' too."""
    return save_tiny("gemma1", tmp_path_factory.mktemp("other_words") / "other_words", bos=True, words=OTHER_WORDS)


@pytest.fixture(scope="session")
def embedded() -> gv.Model:
    """The real one. The first time on a machine it is converted, which takes a minute."""
    return gv.load(device=DEVICE, dtype=torch.float32)


@pytest.fixture
def eager_switching():
    """Let Python switch threads about a thousand times as often as it does by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def load_tiny(folder: Path) -> gv.Model:
    return gv.load(folder, device=DEVICE, dtype=torch.float32)


def save_tiny(family: str, folder: Path, bos: bool, words: tuple[str, ...] = WORDS) -> Path:
    """Write a tiny random checkpoint, and return its folder."""
    tokenizer = tiny_tokenizer(bos, words)
    tiny_model(family, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_model(family: str, vocab_size: int) -> PreTrainedModel:
    config = tiny_config(family, vocab_size)
    classes = {"gemma1": GemmaForCausalLM, "gemma2": Gemma2ForCausalLM, "gemma3": Gemma3ForCausalLM}
    model = classes[family](config).eval()
    # 0.3 makes queries and keys long enough for peaked patterns, and norm weights different from each other.
    generator = torch.Generator().manual_seed(FAMILIES.index(family))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model


def tiny_config(family: str, vocab_size: int) -> PreTrainedConfig:
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": 48,
        "head_dim": 16,
        "num_attention_heads": 6,
        "intermediate_size": 80,
        "num_hidden_layers": 4,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    if family == "gemma1":
        return GemmaConfig(**sizes, num_key_value_heads=1)
    if family == "gemma2":
        return Gemma2Config(
            **sizes,
            num_key_value_heads=2,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=2.0,  # low enough to bend most scores
            final_logit_softcapping=3.0,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention"] * 2,
        )
    return Gemma3TextConfig(
        **sizes,
        num_key_value_heads=3,
        query_pre_attn_scalar=5,
        sliding_window=5,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": {"rope_type": "default", "rope_theta": 20_000.0},
        },
    )


def tiny_tokenizer(bos: bool, words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    """A byte-fallback BPE tokenizer built like Gemma's, of a few words."""
    merges = list(dict.fromkeys(merge for word in words for merge in _merges(word)))
    pieces = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS]
    vocabulary = {piece: id for id, piece in enumerate(dict.fromkeys([*pieces, *(a + b for a, b in merges)]))}
    tokenizer = Tokenizer(BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL_TOKENS])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def _merges(word: str) -> list[tuple[str, str]]:
    """The merges that build a word from its left: (t, h), (th, e)."""
    return [(word[:end], word[end:next_end]) for end, next_end in pairwise(range(1, len(word) + 1))]

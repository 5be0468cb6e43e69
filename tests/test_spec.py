"""Sizes and variations, read from the config."""

from dataclasses import asdict

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, GemmaConfig, LlamaConfig

import gemma_viz as gv
from gemma_viz.errors import NotAGemma
from tests.conftest import tiny_config

GEMMA_2B = GemmaConfig(
    vocab_size=256_000,
    hidden_size=2048,
    intermediate_size=16_384,
    num_hidden_layers=18,
    num_attention_heads=8,
    num_key_value_heads=1,
    head_dim=256,
)


def test_gemma_2b_is_what_its_paper_says() -> None:
    spec = gv.ModelSpec.from_config(GEMMA_2B)
    expected = {
        "family": "Gemma 1",
        "n_layers": 18,
        "n_heads": 8,
        "n_kv_heads": 1,
        "d_model": 2048,
        "d_head": 256,
        "d_mlp": 16_384,
        "vocab_size": 256_000,
        "context_length": 8192,
        "embedding_scale": pytest.approx(45.2548, abs=1e-4),
        "post_norms": False,
        "qk_norm": False,
        "attention_scale": 1 / 16,
        "attention_softcap": None,
        "final_softcap": None,
        "sliding_window": None,
        "layer_kinds": ("full",) * 18,
        "rope_thetas": (10_000.0,) * 18,
        "tied": True,
    }
    found = asdict(spec)
    assert {name: found[name] for name in expected} == expected
    assert spec.group_size == 8


def test_the_embedded_model_is_gemma_3_270m(embedded: gv.Model) -> None:
    spec = embedded.spec
    assert (spec.family, spec.n_layers, spec.n_heads, spec.n_kv_heads) == ("Gemma 3", 18, 4, 1)
    assert (spec.d_model, spec.d_head, spec.d_mlp, spec.vocab_size) == (640, 256, 2048, 262_144)
    assert (spec.post_norms, spec.qk_norm, spec.sliding_window) == (True, True, 512)
    assert [layer for layer, kind in enumerate(spec.layer_kinds) if kind == "full"] == [5, 11, 17]
    assert {spec.rope_thetas[layer] for layer in (5, 11, 17)} == {1_000_000.0}
    assert {spec.rope_thetas[layer] for layer in (0, 4, 16)} == {10_000.0}


def test_gemma_2_has_soft_caps_post_norms_and_a_window_in_every_other_layer() -> None:
    spec = gv.ModelSpec.from_config(tiny_config("gemma2", 300))
    assert (spec.family, spec.post_norms, spec.qk_norm) == ("Gemma 2", True, False)
    assert (spec.attention_softcap, spec.final_softcap) == (2.0, 3.0)
    assert spec.attention_scale == pytest.approx(24**-0.5)
    assert [spec.window(layer) for layer in range(4)] == [6, None, 6, None]


def test_gemma_3_has_a_theta_for_each_kind_of_layer() -> None:
    spec = gv.ModelSpec.from_config(tiny_config("gemma3", 300))
    assert spec.rope_thetas == (100.0, 100.0, 20_000.0, 100.0)
    assert (spec.qk_norm, spec.attention_softcap) == (True, None)
    assert spec.attention_scale == pytest.approx(5**-0.5)


@pytest.mark.parametrize("config", [GemmaConfig, Gemma2Config, Gemma3TextConfig])
def test_the_default_config_of_each_family_is_read(config: type) -> None:
    spec = gv.ModelSpec.from_config(config())
    assert len(spec.layer_kinds) == len(spec.rope_thetas) == spec.n_layers


def test_an_untied_model_has_an_output_projection_of_its_own() -> None:
    config = tiny_config("gemma1", 300)
    config.tie_word_embeddings = False
    assert not gv.ModelSpec.from_config(config).tied


def test_the_name_of_a_checkpoint_says_nothing() -> None:
    config = tiny_config("gemma1", 300)
    config._name_or_path = "google/gemma-3-27b"
    assert gv.ModelSpec.from_config(config).family == "Gemma 1"


def test_another_kind_of_model_is_refused_by_its_kind() -> None:
    with pytest.raises(NotAGemma, match=r"kind 'llama'.*gemma, gemma2, gemma3_text"):
        gv.ModelSpec.from_config(LlamaConfig())


def test_the_full_2b_shape_has_two_and_a_half_billion_parameters() -> None:
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(GEMMA_2B)
    assert sum(parameter.numel() for parameter in skeleton.parameters()) == 2_506_172_416

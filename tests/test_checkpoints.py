"""Finding and loading checkpoints, and the sentences that say why one cannot be had."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import gemma_viz as gv
from gemma_viz import checkpoints
from gemma_viz.errors import (
    BadSetting,
    ModelNotFound,
    ModelOffline,
    ModelTooLarge,
    NotAGemma,
    TokenWithoutRow,
    TooManyTokens,
)
from tests.conftest import FAMILIES, PROMPT, WORDS, load_tiny, tiny_tokenizer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def copy(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_checkpoints["gemma1"], tmp_path / "copy"))


def with_config(folder: Path, **changes: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def free_memory(monkeypatch: pytest.MonkeyPatch, n_bytes: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=n_bytes))


# Loading by path


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_loaded_as_it_is(tiny_checkpoints: dict[str, Path], family: str) -> None:
    model = gv.load(str(tiny_checkpoints[family]), device="cpu")
    assert (model.dtype, model.device.type, model.hf.training) == (torch.float32, "cpu", False)
    assert model.capture(PROMPT).logits([-1]).isfinite().all()


def test_device_and_dtype_can_be_set(tiny_checkpoints: dict[str, Path]) -> None:
    model = gv.load(tiny_checkpoints["gemma3"], device=torch.device("cpu"), dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.capture(PROMPT).resid_pre(1).dtype == torch.float32


def test_progress_is_told_from_nothing_to_all(tiny_checkpoints: dict[str, Path]) -> None:
    told: list[tuple[float, str]] = []
    gv.load(tiny_checkpoints["gemma2"], device="cpu", progress=lambda share, what: told.append((share, what)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert told[-1][1] == "gemma2 is ready"


def test_the_embedded_model_is_what_nothing_names(embedded: gv.Model) -> None:
    assert embedded.name == "embedded"
    assert embedded.spec.n_layers == 18
    assert embedded.spec.vocab_size == 262_144
    assert embedded.capture("one two three four five").top_k(1).texts == (" six",)


# What cannot be had


def test_a_folder_without_a_checkpoint_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="Choose another") as raised:
        load_tiny(tmp_path)
    assert str(tmp_path) not in str(raised.value)


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as raised:
        load_tiny(tmp_path / "nowhere" / "here")
    assert "'here'" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_a_hub_id_is_not_looked_for_when_offline() -> None:
    with pytest.raises(ModelOffline, match="hub cannot be reached"):
        gv.load("google/gemma-2b-it")


@pytest.mark.parametrize("name", ["a/b/c", "../etc", "./checkpoints/gema", "/srv/gema", "~/gema", "no such id!", "-"])
def test_what_is_no_hub_id_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound, match="Check the spelling"):
        gv.load(name)


@pytest.mark.parametrize("name", ["embeded", "Embedded", "embedding"])
def test_a_near_miss_of_embedded_is_answered_without_the_hub(name: str) -> None:
    with pytest.raises(ModelNotFound, match="Did you mean 'embedded'"):
        gv.load(name)


def test_a_folder_can_be_named_from_the_user_s_own(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_checkpoints["gemma1"].parent))
    assert gv.load("~/gemma1", device="cpu").spec.family == "Gemma 1"


def test_another_architecture_is_not_a_gemma(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=10, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(NotAGemma, match="llama"):
        load_tiny(tmp_path)


def test_a_kind_that_transformers_does_not_know_is_not_a_gemma(copy: Path) -> None:
    with pytest.raises(NotAGemma, match="not a model that transformers knows"):
        load_tiny(with_config(copy, model_type="newest_of_all"))


def test_a_checkpoint_never_brings_code_of_its_own(copy: Path, tmp_path: Path) -> None:
    (copy / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with_config(copy, model_type="newest_of_all", auto_map={"AutoConfig": "code.Config"})
    with pytest.raises(NotAGemma):
        load_tiny(copy)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_not_opened(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelNotFound, match=r"model\.safetensors or .* is missing"):
        load_tiny(copy)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model.safetensors", "model.safetensors is damaged or cut short"),
        ("tokenizer.json", "its tokenizer is missing or damaged"),
        ("config.json", "config.json is missing or damaged"),
    ],
)
def test_a_file_cut_short_is_said_to_be_damaged(copy: Path, file: str, said: str) -> None:
    (copy / file).write_bytes((copy / file).read_bytes()[:100])
    with pytest.raises(ModelNotFound, match=said):
        load_tiny(copy)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["model.safetensors"], "model.safetensors or model.safetensors.index.json is missing"),
        (["tokenizer.json"], "tokenizer.json or tokenizer.model is missing"),
        # transformers would make an empty tokenizer of nothing
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer.json or tokenizer.model is missing"),
        (["config.json"], "config.json is missing or damaged"),
    ],
)
def test_a_file_that_is_not_there_is_named(copy: Path, files: list[str], said: str) -> None:
    for file in files:
        (copy / file).unlink()
    with pytest.raises(ModelNotFound, match=f"copy is not a whole checkpoint: {said}"):
        load_tiny(copy)


def test_of_weights_in_several_files_the_one_that_is_missing_is_named(copy: Path) -> None:
    load_tiny(copy).hf.save_pretrained(copy, max_shard_size="40KB")
    (copy / "model.safetensors").unlink(missing_ok=True)
    assert load_tiny(copy).capture(PROMPT).logits([-1]).isfinite().all()
    shard = sorted(copy.glob("model-00002-*.safetensors"))[0]
    shard.unlink()
    with pytest.raises(ModelNotFound, match=rf"{shard.name}, which model\.safetensors\.index\.json names, is missing"):
        load_tiny(copy)
    (copy / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelNotFound, match=r"index\.json is damaged"):
        load_tiny(copy)


def test_a_tokenizer_with_more_entries_than_the_embedding_has_rows_is_refused(copy: Path) -> None:
    tiny_tokenizer(bos=True, words=(*WORDS, "▁zebra", "▁crossing")).save_pretrained(copy)
    with pytest.raises(ModelNotFound, match=r"tokenizer has \d+ entries and the model's embedding table 366 rows"):
        load_tiny(copy)


def test_a_token_that_was_added_behind_the_vocabulary_is_refused_only_in_a_text(copy: Path) -> None:
    tokenizer = tiny_tokenizer(bos=True)
    tokenizer.add_tokens(["<image_soft_token>"], special_tokens=True)  # as the larger Gemma 3 have it
    tokenizer.save_pretrained(copy)
    model = load_tiny(copy)
    assert model.capture("the cat").logits([-1]).isfinite().all()
    with pytest.raises(TokenWithoutRow, match="no row for '<image_soft_token>'"):
        model.capture("the <image_soft_token> cat")


def test_weights_that_are_lacking_are_not_drawn_at_random(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelNotFound, match=r"its weights lack model\.layers\.2\.mlp\.up_proj\.weight"):
        load_tiny(copy)


def test_weights_of_other_sizes_than_the_config_s_are_refused(copy: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"down_proj\.weight is \[48, 80\], and config\.json makes it \[48, 96\]"):
        load_tiny(with_config(copy, intermediate_size=96))


# What the hub answers


@pytest.fixture(scope="module")
def hub(tiny_checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """{name: [kind, message]} of loading from a hub that refuses some and has others."""
    root = tmp_path_factory.mktemp("hub")
    shutil.copytree(tiny_checkpoints["gemma1"], root / "whole")
    shutil.copytree(tiny_checkpoints["gemma1"], root / "pickled")
    (root / "pickled" / "model.safetensors").unlink()
    shutil.copytree(tiny_checkpoints["gemma1"], root / "mute")
    for file in (root / "mute").glob("tokenizer*"):
        file.unlink()
    names = ["gated/gemma-2b", "missing/gemma-3b", "there/whole", "there/pickled", "there/mute"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    answer = subprocess.run(
        [sys.executable, "-m", "tests.fake_hub", str(root), *names],
        cwd=ROOT,
        env=environment | {"HF_HOME": str(root / "home")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert answer.returncode == 0, answer.stderr
    outcomes: dict[str, list[str]] = json.loads(answer.stdout)
    return outcomes


def test_a_checkpoint_comes_from_the_hub(hub: dict[str, list[str]]) -> None:
    assert hub["there/whole"] == ["loaded", "<Model there/whole: Gemma 1, torch.float32 on cpu>"]


def test_a_gated_checkpoint_says_where_its_licence_is_and_how_to_log_in(hub: dict[str, list[str]]) -> None:
    kind, message = hub["gated/gemma-2b"]
    assert kind == "ModelGated"
    assert "https://huggingface.co/gated/gemma-2b" in message
    assert "hf auth login" in message


def test_an_id_that_the_hub_does_not_have_is_not_found(hub: dict[str, list[str]]) -> None:
    kind, message = hub["missing/gemma-3b"]
    assert kind == "ModelNotFound"
    assert "Check the spelling" in message


def test_weights_in_another_format_only_are_not_found(hub: dict[str, list[str]]) -> None:
    kind, message = hub["there/pickled"]
    assert kind == "ModelNotFound"
    assert "safetensors" in message


def test_a_checkpoint_of_the_hub_without_a_tokenizer_is_not_given_an_empty_one(hub: dict[str, list[str]]) -> None:
    kind, message = hub["there/mute"]
    assert kind == "ModelNotFound"
    assert "tokenizer.json or tokenizer.model is missing" in message


# Memory


def test_float32_gives_way_to_bfloat16_and_that_to_an_error(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_checkpoints["gemma3"]
    n = load_tiny(folder).n_parameters
    for share, dtype in ((1.25, torch.float32), (1.0, torch.bfloat16)):
        free_memory(monkeypatch, 4 * n * share)
        assert gv.load(folder, device="cpu").dtype == dtype
    free_memory(monkeypatch, 2 * n)
    with pytest.raises(ModelTooLarge, match=r"gemma3 needs .* Choose a smaller model"):
        gv.load(folder, device="cpu")


def test_running_out_of_memory_while_loading_is_a_sentence(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(checkpoints.AutoModelForCausalLM, "from_pretrained", exhausted)
    with pytest.raises(ModelTooLarge, match="does not fit into the memory"):
        gv.load(tiny_checkpoints["gemma1"], device="cpu")


# What the operator sets


@pytest.fixture
def no_gemma_2b(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GEMMA_VIZ_MODELS", raising=False)
    monkeypatch.setattr(checkpoints, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(checkpoints, "get_token", lambda: None)


@pytest.mark.usefixtures("no_gemma_2b")
def test_a_fresh_machine_offers_the_embedded_model() -> None:
    assert checkpoints.offered_models() == ("embedded",)


@pytest.mark.usefixtures("no_gemma_2b")
@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("by", ["token", "cache"])
def test_gemma_2b_is_offered_where_it_can_be_had_and_first_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, by: str, gpu: bool
) -> None:
    if by == "token":
        monkeypatch.setattr(checkpoints, "get_token", lambda: "hf_token")
    else:
        monkeypatch.setattr(checkpoints, "try_to_load_from_cache", lambda *_: "/somewhere/config.json")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert checkpoints.offered_models()[not gpu] == "google/gemma-2b"
    assert set(checkpoints.offered_models()) == {"google/gemma-2b", "embedded"}


def test_the_operator_s_list_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", " google/gemma-2-2b, /srv/models/mine ,, google/gemma-2-2b,embedded")
    assert checkpoints.offered_models() == ("google/gemma-2-2b", "/srv/models/mine", "embedded")
    assert [checkpoints.label(name) for name in checkpoints.offered_models()] == [
        "gemma-2-2b",
        "mine",
        "Gemma 3 270M (embedded)",
    ]


def test_the_operator_s_limit_holds(tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MAX_TOKENS", "4")
    with pytest.raises(TooManyTokens, match="4"):
        load_tiny(tiny_checkpoints["gemma1"]).capture(PROMPT)


@pytest.mark.parametrize("value", ["many", "0", "-5", "1.5"])
def test_a_limit_that_is_no_number_is_named(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MAX_TOKENS", value)
    with pytest.raises(BadSetting, match=f"GEMMA_VIZ_MAX_TOKENS is '{value}'"):
        load_tiny(tiny_checkpoints["gemma1"])


@pytest.mark.parametrize("dtype", [torch.float16, "float16", "torch.float16"])
def test_float16_is_refused_since_the_stream_would_overflow(
    tiny_checkpoints: dict[str, Path], dtype: str | torch.dtype
) -> None:
    with pytest.raises(BadSetting, match="float16 ends at 65,504"):
        gv.load(tiny_checkpoints["gemma1"], dtype=dtype)


def test_a_dtype_can_be_named(tiny_checkpoints: dict[str, Path]) -> None:
    assert gv.load(tiny_checkpoints["gemma1"], device="cpu", dtype="bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dtype": "half"}, "The dtype is 'half'"),
        ({"dtype": torch.int8}, "The dtype is 'int8'"),
        ({"device": "gpu"}, "The device is 'gpu'"),
        ({"device": "meta"}, "The device is 'meta'"),
        ({"device": "cuda:7"}, "The device is 'cuda:7', and torch finds 1 GPUs"),
        ({"device": torch.device("cuda", 1)}, "The device is 'cuda:1', and torch finds 1 GPUs"),
        ({"token_limit": 0}, "token_limit is 0"),
        ({"token_limit": -3}, "token_limit is -3"),
        ({"token_limit": 2.5}, "token_limit is 2.5"),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_is_a_value_error(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadSetting, match=said) as refused:
        gv.load(tiny_checkpoints["gemma1"], **({"device": "cpu"} | arguments))
    assert isinstance(refused.value, ValueError)


def test_what_the_list_names_and_is_not_there_is_said(
    tiny_checkpoints: dict[str, Path], tmp_path: Path, copy: Path
) -> None:
    (copy / "config.json").unlink()
    assert checkpoints.availability(str(tiny_checkpoints["gemma1"])).is_here
    assert "config.json is missing" in checkpoints.availability(str(copy)).needs
    assert "There is no folder 'nowhere'" in checkpoints.availability(str(tmp_path / "nowhere")).needs
    for name in ("gema", "what is/this"):
        assert not checkpoints.availability(name).is_here
        assert checkpoints.availability(name).needs


def test_folders_of_one_name_have_labels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", "/srv/first/gemma,/srv/second/gemma,embedded,/srv/other")
    labels = [checkpoints.label(name) for name in checkpoints.offered_models()]
    assert labels == ["gemma (1)", "gemma (2)", "Gemma 3 270M (embedded)", "other"]

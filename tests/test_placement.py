"""Which devices hold which part of a model, on machines that are only described."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.utils import check_device_map
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

import gemma_viz as gv
from gemma_viz import placement
from gemma_viz.errors import BadSetting, ModelTooLarge
from gemma_viz.placement import WORKING_SPACE, place
from tests.conftest import FAMILIES, tiny_config

CPU = torch.device("cpu")
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Let this be a machine with so many bytes free on each of its GPUs, and on the CPU."""

    def describe(*gpus: float, cpu: float = 1 << 40) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
        monkeypatch.setattr(placement, "free_bytes", lambda device: cpu if device == CPU else gpus[device.index or 0])

    monkeypatch.delenv("GEMMA_VIZ_DEVICE", raising=False)
    return describe


@pytest.fixture(params=[*FAMILIES, "untied"])
def config(request: pytest.FixtureRequest) -> PreTrainedConfig:
    family = request.param if request.param in FAMILIES else "gemma3"
    found = tiny_config(family, vocab_size=512)
    found.num_hidden_layers, found.tie_word_embeddings = 16, request.param in FAMILIES
    if getattr(found, "layer_types", None):
        found.layer_types = found.layer_types * 4
    return found


def needed(config: PreTrainedConfig, dtype: torch.dtype = torch.bfloat16) -> float:
    return sum(parameter.numel() for parameter in skeleton(config).parameters()) * dtype.itemsize * WORKING_SPACE


def skeleton(config: PreTrainedConfig) -> torch.nn.Module:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def gpu(number: int) -> torch.device:
    return torch.device("cuda", number)


def test_one_gpu_is_enough_where_it_holds_the_model(config: PreTrainedConfig, machine: Machine) -> None:
    machine(1.01 * needed(config), 100 * needed(config))
    placed = place(config, None, None, "it")
    assert (placed.dtype, placed.modules) == (torch.bfloat16, {"": torch.device("cuda")})


def test_all_gpus_are_taken_where_one_does_not_hold_it(config: PreTrainedConfig, machine: Machine) -> None:
    machine(0.7 * needed(config), 0.7 * needed(config))
    assert set(place(config, None, None, "it").modules.values()) == {gpu(0), gpu(1)}


@pytest.mark.parametrize("room", [(1.0, 1.0), (0.8, 0.8), (3.0, 1.0), (0.4, 1.2, 0.8), (50.0, 50.0, 50.0)])
def test_layers_are_spread_evenly_and_in_order(
    config: PreTrainedConfig, machine: Machine, room: tuple[float, ...]
) -> None:
    need = needed(config)
    machine(*(share * need for share in room))
    placed = place(config, "auto", None, "it")
    whole = skeleton(config)
    check_device_map(whole, placed.modules)  # accelerate's own: that no weight is left out
    in_order = ["model.embed_tokens", *(f"model.layers.{index}" for index in range(16)), "model.norm", "lm_head"]
    numbers = [placed.modules[name].index for name in in_order[: -1 if config.tie_word_embeddings else None]]
    assert numbers == sorted(numbers)
    assert set(placed.modules.values()) == {gpu(number) for number in range(len(room))}
    if config.tie_word_embeddings:
        assert placed.modules["lm_head"] == placed.modules["model.embed_tokens"]
    used = [0.0] * len(room)
    for name, parameter in whole.named_parameters():
        module = next(module for module in placed.modules if name.startswith(f"{module}."))
        used[placed.modules[module].index] += 2 * parameter.numel() * WORKING_SPACE / need
    shares = [here / there for here, there in zip(used, room, strict=True)]
    largest_part = max(p.numel() for p in whole.parameters()) * 2 * WORKING_SPACE / need
    assert max(shares) <= 1
    assert max(shares) <= 1 / sum(room) + 2 * largest_part / min(room) + 0.01


def test_one_gpu_among_none_is_the_default(config: PreTrainedConfig, machine: Machine) -> None:
    machine()
    assert place(config, "auto", None, "it").modules == {"": placement.default_device()}
    machine(2 * needed(config))
    assert place(config, "auto", None, "it").modules == {"": gpu(0)}


@pytest.mark.parametrize(("device", "gpus"), [("auto", 2), (None, 2), ("cuda:1", 1), ("cuda", 1)])
def test_what_does_not_fit_is_refused_and_never_put_aside(
    config: PreTrainedConfig, machine: Machine, device: str | None, gpus: int
) -> None:
    machine(0.45 * needed(config), 0.45 * needed(config))
    with pytest.raises(ModelTooLarge, match=r"It needs .* in bfloat16") as raised:
        place(config, device, None, "It")
    assert ("2 GPUs together" in str(raised.value)) == (gpus == 2)


def test_a_chosen_dtype_is_kept(config: PreTrainedConfig, machine: Machine) -> None:
    need = needed(config, torch.float32)
    machine(0.7 * need, 0.7 * need)
    placed = place(config, None, torch.float32, "it")
    assert placed.dtype == torch.float32
    assert len(set(placed.modules.values())) == 2
    machine(0.4 * need, 0.4 * need)
    with pytest.raises(ModelTooLarge, match="in float32"):
        place(config, None, torch.float32, "it")
    assert place(config, "cuda:1", torch.float32, "it").modules == {"": gpu(1)}  # whoever names both knows


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("", [torch.device("cuda")]), (" cpu ", [CPU]), ("cuda", [torch.device("cuda")]), ("cuda:1", [gpu(1)])],
)
def test_the_operator_chooses_the_device(
    config: PreTrainedConfig,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    expected: list[torch.device],
) -> None:
    machine(9 * needed(config), 9 * needed(config))
    monkeypatch.setenv("GEMMA_VIZ_DEVICE", setting)
    assert list(place(config, None, None, "it").modules.values()) == expected
    assert place(config, "cuda:0", None, "it").modules == {"": gpu(0)}  # what code asks for counts more


def test_the_operator_may_choose_all_gpus(
    config: PreTrainedConfig, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(9 * needed(config), 9 * needed(config))
    monkeypatch.setenv("GEMMA_VIZ_DEVICE", "auto")
    assert set(place(config, None, None, "it").modules.values()) == {gpu(0), gpu(1)}


@pytest.mark.parametrize("setting", ["gpu", "cuda:", "cuda:-1", "CUDA", "auto,cpu", "disk", "mps:0", "1"])
def test_another_word_is_no_device(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_DEVICE", setting)
    with pytest.raises(BadSetting, match=f"GEMMA_VIZ_DEVICE is '{setting}'. It takes auto, cpu, cuda"):
        gv.load(tiny_checkpoints["gemma1"])


@pytest.mark.parametrize(("setting", "gpus"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_named(
    config: PreTrainedConfig, machine: Machine, monkeypatch: pytest.MonkeyPatch, setting: str, gpus: int
) -> None:
    machine(*[1 << 40] * gpus)
    monkeypatch.setenv("GEMMA_VIZ_DEVICE", setting)
    with pytest.raises(BadSetting, match=f"GEMMA_VIZ_DEVICE is '{setting}', and torch finds {gpus} GPUs"):
        place(config, None, None, "it")


def test_gemma_2_27b_goes_onto_two_gpus_of_40_gib(machine: Machine) -> None:
    config = AutoConfig.for_model(
        "gemma2",
        hidden_size=4608,
        intermediate_size=36864,
        num_hidden_layers=46,
        num_attention_heads=32,
        num_key_value_heads=16,
        head_dim=128,
    )
    machine(40 << 30, 40 << 30)
    on_first = [name for name, device in place(config, None, None, "it").modules.items() if device == gpu(0)]
    assert {"model.embed_tokens", "lm_head"} < set(on_first)
    assert 20 <= len(on_first) <= 26
    machine(32 << 30, 24 << 30)
    with pytest.raises(ModelTooLarge, match=r"needs 65\.\d GB of memory in bfloat16, and 60\.1 GB are free on 2 GPUs"):
        place(config, None, None, "It")

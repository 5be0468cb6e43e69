"""What a checkpoint folder has to hold, and which of it is not there or cannot be read.

config.json: the kind of model and its sizes
model.safetensors, or model.safetensors.index.json and the files that it names: the weights
tokenizer.json, or tokenizer.model: the vocabulary and how text is cut

tokenizer_config.json (what begins a text, the names of special tokens) and generation_config.json (what ends one) are
read where they are there. transformers' `save_pretrained`, of a model and of its tokenizer, writes all of them.

transformers makes an empty tokenizer where a folder has none, and draws weights that are lacking at random. So this is
looked at before anything is loaded.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model")


def trouble(folder: Path) -> str:
    """The first file that is missing or damaged, as the end of a sentence; "" where there is none.

    Of the weights only the headers are read.
    """
    return next(_troubles(folder), "")


def _troubles(folder: Path) -> Iterator[str]:
    for names in ((CONFIG,), (WEIGHTS, INDEX), TOKENIZERS):
        if not any((folder / name).is_file() for name in names):
            yield f"{' or '.join(names)} is missing"
    if not _is_json(folder / CONFIG):
        yield f"{CONFIG} is damaged"
    for name in _weight_files(folder):
        if not (folder / name).is_file():
            yield f"{name}, which {INDEX} names, is missing"
        elif not _is_safetensors(folder / name):
            yield f"{name} is damaged or cut short"


def _weight_files(folder: Path) -> list[str]:
    """transformers takes the one file where both are there. An index that cannot be read names itself."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    try:
        return sorted(set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return [INDEX]


def _is_json(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_text("utf-8")), dict)
    except (OSError, ValueError):
        return False


def _is_safetensors(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False

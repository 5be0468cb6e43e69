"""Capture files: what a capture keeps, as one safetensors file that any reader of that format can open.

Version 1 of the layout, for a text of n tokens. Tensors are in the dtype that the model computed in:

    resid/0 … resid/L               [n, d_model], the residual stream as it enters each of L layers, and leaves the last
    rot_k/0 … rot_k/L-1             [n_kv_heads, n, d_head], the keys of each layer, after RoPE
    values/0 … values/L-1           [n_kv_heads, n, d_head], its values
    token_ids                       int64 [n]
    spans                           int64 [n, 2], start and end of each token in the text, in characters; -1, -1 where
                                    the tokenizer added it

Metadata, which safetensors holds as strings:

    format, version                 "gemma-viz-capture", "1"
    model                           the name that it was loaded by: "embedded", a hub id, or the path of a folder
    spec                            the fields of its ModelSpec, as JSON
    weights                         `Model.weights_digest`, so that a file is not taken for another model's
    text, edits                     the text as it is; `Edits.to_text()`
    gemma_viz                       the version that wrote the file
    sha256                          of the tensors and of all the metadata above: see `digest`

Files are written aside and renamed, so that nobody ever sees half of one.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gemma_viz.edits import Edits
from gemma_viz.errors import CaptureFileError, EditsError
from gemma_viz.kept import Kept
from gemma_viz.spec import ModelSpec
from gemma_viz.version import __version__

if TYPE_CHECKING:
    from gemma_viz.capture import Capture

FORMAT, VERSION = "gemma-viz-capture", "1"
TEXTS = ("model", "spec", "weights", "text", "edits", "gemma_viz", "sha256")  # what the metadata has to hold as well
NO_SPAN = (-1, -1)


@dataclass(frozen=True)
class SavedCapture:
    """What a file holds.

    model: str, the name that the model was loaded by
    spec: by name, fields of its ModelSpec, as JSON has them; weights: str, its `weights_digest`
    text: str; edits: Edits
    token_ids: int64 [position]; spans: tuple of (start, end) or None for each token
    stream: tuple of [position, d_model], at n_layers + 1 depths
    keys_values: tuple of pairs of [kv_head, position, d_head], keys after RoPE and values of each layer
    """

    model: str
    spec: Mapping[str, Any]
    weights: str
    text: str
    edits: Edits
    token_ids: Tensor
    spans: tuple[tuple[int, int] | None, ...]
    stream: tuple[Tensor, ...]
    keys_values: tuple[tuple[Tensor, Tensor], ...]

    @property
    def dtype(self) -> torch.dtype:
        """What the model computed in."""
        return self.stream[0].dtype

    def kept_on(self, devices: Sequence[torch.device]) -> Kept:
        """What a capture keeps, each value on its layer's device. devices: of each layer."""
        depths = zip(self.stream, [*devices, devices[-1]], strict=True)
        layers = zip(self.keys_values, devices, strict=True)
        return Kept(
            stream=[stream[None].to(device) for stream, device in depths],
            keys_values=[(keys[None].to(device), values[None].to(device)) for (keys, values), device in layers],
        )

    def check_model(self, name: str, spec: ModelSpec, weights: str, dtype: torch.dtype) -> None:
        """Raises CaptureFileError for a model that is not the one that was captured."""
        if dtype != self.dtype:
            mine, others = (str(one).removeprefix("torch.") for one in (self.dtype, dtype))
            raise CaptureFileError(
                f"The file's model computed in {mine}, and {_shown(name)} computes in {others}. Load it with "
                f"dtype=torch.{mine}."
            )
        others_spec = spec_as_json(spec)
        # A field that this version of ModelSpec has and the file's had not says nothing.
        differs = any(others_spec[field] != value for field, value in self.spec.items() if field in others_spec)
        if differs or weights != self.weights:
            raise CaptureFileError(
                f"The file was captured on {_shown(self.model)} ({self.spec.get('family')}, {len(self.stream) - 1} "
                f"layers), and {_shown(name)} ({spec.family}, {spec.n_layers} layers) has other "
                f"{'sizes or settings' if differs else 'weights'}. Open it with the model that it was captured on."
            )


def of(cap: "Capture", kept: Kept) -> SavedCapture:
    """What a file of a capture holds. Raises CaptureFileError for a run with a patch."""
    if cap.patch:
        raise CaptureFileError(
            "This run takes over a value from the run of another text, which a file does not hold. Save the runs of "
            "both texts as they are, and take the value over again when they are open."
        )
    return SavedCapture(
        model=cap.model.name,
        spec=spec_as_json(cap.model.spec),
        weights=cap.model.weights_digest,
        text=cap.text,
        edits=cap.edits,
        token_ids=cap.token_ids,
        spans=tuple(token.span for token in cap.tokens),
        stream=tuple(stream[0] for stream in kept.stream),
        keys_values=tuple((keys[0], values[0]) for keys, values in kept.keys_values),
    )


def spec_as_json(spec: ModelSpec) -> dict[str, Any]:
    """The fields of a ModelSpec as they come back from JSON, where tuples are lists."""
    return json.loads(json.dumps(asdict(spec)))


def write(path: str | Path, saved: SavedCapture) -> None:
    """Write a file, in place of one that is there. Raises CaptureFileError where the folder cannot take it."""
    path = Path(path)
    tensors = {f"resid/{depth}": stream for depth, stream in enumerate(saved.stream)}
    for layer, (keys, values) in enumerate(saved.keys_values):
        tensors |= {f"rot_k/{layer}": keys, f"values/{layer}": values}
    tensors["token_ids"] = saved.token_ids
    tensors["spans"] = torch.tensor([span or NO_SPAN for span in saved.spans])
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "model": saved.model,
        "spec": json.dumps(saved.spec),
        "weights": saved.weights,
        "text": saved.text,
        "edits": saved.edits.to_text(),
        "gemma_viz": __version__,
    }
    metadata["sha256"] = digest(tensors, metadata)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        save_file(tensors, aside, metadata)
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        megabytes = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
        raise CaptureFileError(
            f"{path.name!r} could not be written. Check that its folder is there, that it may be written, and that "
            f"{megabytes:,.1f} MB are free."
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def read(path: str | Path) -> SavedCapture:
    """Read a file.

    Raises CaptureFileError for one that is not there, is something else, is damaged or cut short, or is of another
    version.
    """
    path = Path(path)
    if not path.is_file():
        raise CaptureFileError(f"There is no file {path.name!r} there. Check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _refuse_foreign(path.name, metadata)
            # Copies, so that the values neither change nor vanish with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, it is no dict
    except (OSError, SafetensorError) as error:
        raise CaptureFileError(
            f"{path.name!r} cannot be read: it is not a capture file, or it is damaged or cut short. Choose another, "
            "or save it again."
        ) from error
    if metadata.get("sha256") != digest(tensors, metadata) or not _is_whole(tensors, metadata):
        raise CaptureFileError(f"{path.name!r} is damaged: it does not hold what was saved. Save it again.")
    return _saved(path.name, tensors, metadata)


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """sha256 of the metadata without this digest, as JSON with sorted keys, and of the tensors in order of their names:
    the name, then the bytes, row by row.
    """
    texts = {name: text for name, text in metadata.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _refuse_foreign(name: str, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise CaptureFileError(f"{name!r} is not a capture file. Choose one that Capture.save has written.")
    if metadata.get("version") != VERSION:
        raise CaptureFileError(
            f"{name!r} has version {metadata.get('version', '')[:20]!r} of the format, and this Gemma Viz reads "
            f"version {VERSION}. Open it with the Gemma Viz that wrote it, {metadata.get('gemma_viz', 'unknown')[:20]}."
        )


def _is_whole(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bool:
    """Whether all that the layout names is there, in its shape, and nothing else."""
    if not all(name in metadata for name in TEXTS) or "token_ids" not in tensors:
        return False
    spec, ids = json.loads(metadata["spec"]), tensors["token_ids"]
    n = len(ids)
    layers, per_head = range(spec["n_layers"]), (spec["n_kv_heads"], n, spec["d_head"])
    shapes: dict[str, tuple[int, ...]]
    shapes = {f"resid/{depth}": (n, spec["d_model"]) for depth in range(spec["n_layers"] + 1)}
    shapes |= {f"{kind}/{layer}": per_head for kind in ("rot_k", "values") for layer in layers}
    shapes |= {"token_ids": (n,), "spans": (n, 2)}
    is_in_vocabulary = ids.dtype == torch.int64 and bool(((ids >= 0) & (ids < spec["vocab_size"])).all())
    return is_in_vocabulary and {name: tuple(tensor.shape) for name, tensor in tensors.items()} == shapes


def _saved(name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> SavedCapture:
    spec = json.loads(metadata["spec"])
    try:
        edits = Edits.from_text(metadata["edits"])
    except EditsError as error:
        raise CaptureFileError(
            f"{name!r} is a run with changes that this Gemma Viz does not know ({metadata['edits'][:80]}). Open it "
            f"with the Gemma Viz that wrote it, {metadata['gemma_viz'][:20]}."
        ) from error
    layers = range(spec["n_layers"])
    spans = [(start, end) for start, end in tensors["spans"].tolist()]
    return SavedCapture(
        model=metadata["model"],
        spec=spec,
        weights=metadata["weights"],
        text=metadata["text"],
        edits=edits,
        token_ids=tensors["token_ids"],
        spans=tuple(None if span == NO_SPAN else span for span in spans),
        stream=tuple(tensors[f"resid/{depth}"] for depth in range(len(layers) + 1)),
        keys_values=tuple((tensors[f"rot_k/{layer}"], tensors[f"values/{layer}"]) for layer in layers),
    )


def _shown(model: str) -> str:
    """A model's name for a sentence: of a path only the last folder."""
    return Path(model).name

"""Which checkpoints there are, and loading one.

A checkpoint is named by the word "embedded", by a hub id ("google/gemma-2b") or by the path of a folder, of which
`gemma_viz.checkpoint_folder` says what it holds. What visitors of the app may choose is the operator's list,
`offered_models`; only `load`, which code calls, takes a path.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_token, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gemma_viz.checkpoint_folder import CONFIG, INDEX, TOKENIZERS, WEIGHTS, trouble
from gemma_viz.embedded import Progress, embedded_checkpoint, embedded_folder, embedded_tokenizer, is_whole
from gemma_viz.errors import (
    BadSetting,
    GemmaVizError,
    ModelGated,
    ModelNotFound,
    ModelOffline,
    ModelTooLarge,
    NotAGemma,
)
from gemma_viz.instrument import ATTENTION
from gemma_viz.model import Model
from gemma_viz.placement import DEVICE, Placement, dtype_of, place
from gemma_viz.spec import ModelSpec

EMBEDDED = "embedded"
GEMMA_2B = "google/gemma-2b"

LABELS = {EMBEDDED: "Gemma 3 270M (embedded)", GEMMA_2B: "Gemma 2B"}

MODELS = "GEMMA_VIZ_MODELS"
MAX_TOKENS = "GEMMA_VIZ_MAX_TOKENS"


def offered_models() -> tuple[str, ...]:
    """The checkpoints a visitor may choose, the default first.

    `$GEMMA_VIZ_MODELS`, names separated by commas; without it the embedded model, and Gemma 2B where this machine has
    it in its hub cache or is logged in to the hub. Gemma 2B comes first where there is a GPU to run it.
    """
    if chosen := _chosen_models():
        return chosen
    if not gemma_2b_is_available():
        return (EMBEDDED,)
    has_gpu = torch.cuda.is_available() and os.environ.get(DEVICE) != "cpu"
    return (GEMMA_2B, EMBEDDED) if has_gpu else (EMBEDDED, GEMMA_2B)


def _chosen_models() -> tuple[str, ...]:
    names = map(str.strip, os.environ.get(MODELS, "").split(","))
    return tuple(dict.fromkeys(filter(None, names)))


def gemma_2b_is_available() -> bool:
    """Whether Gemma 2B is in the hub cache, or may be fetched with the token that is there."""
    return isinstance(try_to_load_from_cache(GEMMA_2B, "config.json"), str) or get_token() is not None


@dataclass(frozen=True)
class Availability:
    """name: str, as `load` takes it; label: str, for people

    is_here: bool, whether this machine can load it without fetching or unpacking anything
    needs: str, what it needs first, in a sentence; "" where nothing
    """

    name: str
    label: str
    is_here: bool
    needs: str


def availability(name: str) -> Availability:
    """Whether a checkpoint is on this machine, and what it needs. Looks at the disk only, never at the network."""
    if name == EMBEDDED:
        is_here, needs = is_whole(embedded_folder()), "Is unpacked at its first use: some ten seconds, 1.4 GB of disk."
    else:
        is_here, needs = _here_or_needs(name)
    return Availability(name, label(name), is_here, "" if is_here else needs)


def _here_or_needs(name: str) -> tuple[bool, str]:
    try:
        source = _source(name, label(name))
        if isinstance(source, Path):
            what = trouble(source)
            return not what, what and f"Is not a whole checkpoint: {what}."
        if _in_hub_cache(source):
            return True, ""
    except (ModelNotFound, HFValidationError) as error:
        return False, str(error)
    needs = "Is downloaded at its first use."
    if get_token() is None:
        needs = f"Accept its licence on https://huggingface.co/{name}, then log in with `hf auth login`. {needs}"
    return False, needs


def _in_hub_cache(name: str) -> bool:
    return _is_cached(name, CONFIG) and _is_cached(name, WEIGHTS, INDEX)


def _is_cached(name: str, *files: str) -> bool:
    """Whether one of the files is in the hub cache. Raises HFValidationError for what is no hub id."""
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)


def label(name: str) -> str:
    """A checkpoint's name for people: never a path, of which only the last folder is shown.

    Those of the operator's list that would have one name are numbered.
    """
    own = _own_label(name)
    alike = [other for other in _chosen_models() if _own_label(other) == own]
    return f"{own} ({alike.index(name) + 1})" if len(alike) > 1 and name in alike else own


def _own_label(name: str) -> str:
    return LABELS.get(name) or Path(name).name or Path(name).resolve().name


def load(
    name: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    token_limit: int | None = None,
    progress: Progress = lambda share, what: None,
) -> Model:
    """Load a Gemma 1, 2 or 3 text model.

    name: None or "embedded" for the embedded Gemma 3 270M, a hub id, or the path of a checkpoint folder. That holds
        config.json; model.safetensors, or model.safetensors.index.json and the files it names; and tokenizer.json or
        tokenizer.model: what `save_pretrained` writes of a model and of its tokenizer
    device: "auto" spreads the layers over all GPUs; default `$GEMMA_VIZ_DEVICE`, else CUDA, else MPS, else CPU, and all
        GPUs where the model does not fit one
    dtype: default bfloat16 on a GPU; on the CPU float32 where memory allows, else bfloat16. Not float16: the values of
        Gemma's residual stream go beyond what it can hold
    token_limit: 1 or more; default `$GEMMA_VIZ_MAX_TOKENS`, else the context length or what the free memory holds
    progress: is called with the share done, 0 to 1, and what is going on

    Raises ModelNotFound, ModelGated, ModelOffline, ModelTooLarge, NotAGemma, EmbeddedModelError, or BadSetting, a
    ValueError.
    """
    name = str(name or EMBEDDED)
    shown, dtype = label(name), dtype_of(dtype)
    limit = token_limit_setting() if token_limit is None else token_limit
    is_embedded = name == EMBEDDED
    with _plain_errors(name, shown, CONFIG):
        source = embedded_checkpoint(progress) if is_embedded else _source(name, shown)
        progress(0.0, f"Looking for {shown}")
        config = _config(source, shown)
        ModelSpec.from_config(config)  # refuses what is not a Gemma before anything large is read
        if isinstance(source, Path) and (what := trouble(source)):
            raise _unreadable(shown, what)
        placement = place(config, device, dtype, shown)
    progress(0.3, f"Reading the tokenizer of {shown}")
    with _plain_errors(name, shown, "its tokenizer"):
        tokenizer = embedded_tokenizer(Path(source)) if is_embedded else _tokenizer(source, shown)
    progress(0.6, f"Reading the weights of {shown}")
    with _plain_errors(name, shown, "a file of its weights"):
        hf = _weights(source, config, placement, shown)
        model = Model(hf, tokenizer, name=name, token_limit=limit)
    progress(1.0, f"{shown} is ready")
    return model


def _source(name: str, shown: str) -> str | Path:
    """The folder or the hub id that a name means. Raises ModelNotFound for what can be neither."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ModelNotFound(f"There is no folder {shown!r} where the path says. Check the spelling of the path.")
    if "/" not in name:
        meant = f" Did you mean {EMBEDDED!r}?" if get_close_matches(name.lower(), [EMBEDDED]) else ""
        raise ModelNotFound(
            f"There is no model {shown!r}: a model is {EMBEDDED!r}, a folder, or a hub id with its owner, such as "
            f"{GEMMA_2B}.{meant} Check the spelling."
        )
    return name


def _unreadable(shown: str, what: str) -> ModelNotFound:
    return ModelNotFound(f"{shown} is not a whole checkpoint: {what}. Choose another, or get it again.")


def token_limit_setting() -> int | None:
    """`$GEMMA_VIZ_MAX_TOKENS`, in tokens; None where it is not set. Raises BadSetting."""
    chosen = os.environ.get(MAX_TOKENS)
    if not chosen:
        return None
    if not (chosen.isdecimal() and int(chosen) > 0):
        raise BadSetting(f"{MAX_TOKENS} is {chosen!r}. It takes a whole number of tokens, 1 or more, or nothing.")
    return int(chosen)


def _config(source: str | Path, shown: str) -> PreTrainedConfig:
    if isinstance(source, Path) and not (source / CONFIG).is_file():
        raise FileNotFoundError
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (ValueError, KeyError) as error:
        # transformers says so of a config whose kind it does not know, or that asks for code of its own.
        raise NotAGemma(f"{shown} is not a model that transformers knows. Choose a Gemma.") from error


def _tokenizer(source: str | Path, shown: str) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if isinstance(source, str) and not _is_cached(source, *TOKENIZERS):
        raise _unreadable(shown, f"{' or '.join(TOKENIZERS)} is missing")  # transformers has made one up
    return tokenizer


def _weights(source: str | Path, config: PreTrainedConfig, placement: Placement, shown: str) -> PreTrainedModel:
    """The model with every one of its weights read. transformers would draw at random what the files lack."""
    hf, report = AutoModelForCausalLM.from_pretrained(
        source,
        config=config,
        dtype=placement.dtype,
        device_map=placement.modules,
        attn_implementation=ATTENTION,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # reported below, instead of raised with a long table
        output_loading_info=True,
        trust_remote_code=False,
    )
    if lacking := sorted(report["missing_keys"]):
        raise _unreadable(shown, f"its weights lack {lacking[0]}")
    for weight, is_of, should_be in sorted(report["mismatched_keys"]):
        raise _unreadable(shown, f"{weight} is {list(is_of)}, and config.json makes it {list(should_be)}")
    return hf


@contextmanager
def _plain_errors(name: str, shown: str, part: str) -> Iterator[None]:
    """Turn what transformers, the hub and torch raise into this package's errors.

    part: what is read, for the case that it cannot be

    transformers wraps the hub's errors in an OSError, so the whole chain of causes is looked at.
    """
    try:
        yield
    except GemmaVizError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelTooLarge(f"{shown} does not fit into the GPU's memory. Choose a smaller model.") from error
    except MemoryError as error:
        raise ModelTooLarge(f"{shown} does not fit into the memory of this machine.") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise _hub_error(list(_causes(error)), name, shown, part) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _hub_error(causes: list[BaseException], name: str, shown: str, part: str) -> Exception:
    def caused_by(*kinds: Any) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    # A gated repository is also a RepositoryNotFoundError, and a file that could not be fetched is also one that was
    # not found, so the order matters.
    if caused_by(GatedRepoError):
        return ModelGated(
            f"{shown} is behind a licence that this machine has not accepted. Accept it on "
            f"https://huggingface.co/{name}, then log in here with `hf auth login` or set HF_TOKEN."
        )
    if caused_by(RepositoryNotFoundError, HFValidationError):
        return ModelNotFound(
            f"There is no model {shown!r} on the hub, nor a folder here. Check the spelling, or choose another."
        )
    if caused_by(OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError, TimeoutError):
        return ModelOffline(
            f"{shown} is not on this machine, and the Hugging Face hub cannot be reached. Connect to the network, or "
            "choose the embedded model."
        )
    if caused_by(EntryNotFoundError):
        return ModelNotFound(f"{shown} has no weights in the safetensors format. Choose another checkpoint.")
    return _unreadable(shown, f"{part} is missing or damaged")

"""Model: a loaded Gemma, ready to capture texts.

How one is found and loaded is in `gemma_viz.checkpoints`; what a run keeps in `gemma_viz.capture`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from operator import index
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from gemma_viz.capture import Capture
from gemma_viz.display import html_table, text_table
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.errors import BadSetting, ModelNotFound, OutOfMemory, TokenWithoutRow
from gemma_viz.instrument import instrument
from gemma_viz.linear import linear
from gemma_viz.memory import free_bytes
from gemma_viz.patching import Patch
from gemma_viz.ranking import top_k
from gemma_viz.rotations import rotations
from gemma_viz.spec import ModelSpec
from gemma_viz.tokens import Tokens, token_text, tokenize, tokens_with_ids, visible
from gemma_viz.vocabulary import Vocabulary

LONGEST_ON_CPU = 8192  # tokens; a capture of so many takes a quarter of a minute on two cores
# Of the embedding table or the output matrix, where a whole float32 copy would be a second model.
ROWS_AT_ONCE = 1 << 15
VALUES_IN_DIGEST = 4096  # of each parameter: training changes nearly all of them


class NearestTokens(NamedTuple):
    """Vocabulary tokens by cosine similarity of their embedding rows, the nearest first.

    ids: tuple of int; texts: tuple of str; similarities: tuple of float from -1 to 1
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    similarities: tuple[float, ...]

    def __repr__(self) -> str:
        return text_table(self._headers, self._rows)

    def _repr_html_(self) -> str:
        return html_table(self._headers, self._rows)

    @property
    def _headers(self) -> tuple[str, ...]:
        return "rank", "id", "cosine similarity", "token"

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        rows = enumerate(zip(*self, strict=True), 1)
        return [(str(rank), str(id), f"{cosine:.3f}", visible(text)) for rank, (id, text, cosine) in rows]


class Model:
    """A Gemma and its tokenizer.

    name: str, as it was asked for
    spec: ModelSpec
    hf: the transformers model itself, in evaluation mode. Two things are changed on it: it uses our attention
        (`gemma_viz.instrument`), which outside a capture is transformers' own, and it has hooks, which act only during
        a capture. Hooks of your own may stand beside them. Do not set another attention, remove hooks that are not
        yours, or change weights: captures that are there would no longer belong to the model
    tokenizer: transformers' tokenizer
    token_limit: int, tokens; longer texts are refused

    Made by `gemma_viz.load`, or by hand of any Gemma 1, 2 or 3 text model in float32 or bfloat16, and its tokenizer.
    Raises NotAGemma; ModelNotFound for a tokenizer with more entries than the embedding table has rows; BadSetting, a
    ValueError, for a token_limit below 1.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        token_limit: int | None = None,
    ):
        self.hf = hf.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.spec = ModelSpec.from_config(hf.config)
        self._check_tokenizer()
        self.token_limit = self._default_token_limit() if token_limit is None else _checked_limit(token_limit)
        instrument(hf, self.spec)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.spec.family}, {self.dtype} on {', '.join(map(str, self.devices))}>"

    @property
    def device(self) -> torch.device:
        """Where its embedding table is, and token ids go in."""
        return self.embedding.device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Where its weights are: its layers may be spread over several devices."""
        return tuple(dict.fromkeys(parameter.device for parameter in self.hf.parameters()))

    def device_of(self, layer: int) -> torch.device:
        """Where a layer is, and what it computes. Negative ones count from the end."""
        return self.hf.model.layers[layer].input_layernorm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.hf.dtype

    @cached_property
    def n_parameters(self) -> int:
        """Numbers the model has learned; a tied output projection counts once."""
        return sum(parameter.numel() for parameter in self.hf.parameters())

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What its tokenizer's entries are."""
        return Vocabulary(self.tokenizer)

    @cached_property
    def weights_digest(self) -> str:
        """A short name for the weights: 16 hexadecimal digits that other weights, or another dtype, do not share.

        Of the sha256 of every parameter's name and shape, and of up to `VALUES_IN_DIGEST` of its values, evenly spread.
        """
        digest = sha256()
        for name, parameter in self.hf.named_parameters():
            values = parameter.detach().flatten()
            some = values[:: -(-len(values) // VALUES_IN_DIGEST)].cpu().contiguous()
            digest.update(f"{name} {tuple(parameter.shape)}".encode())
            digest.update(some.view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    @property
    def embedding(self) -> Tensor:
        """The embedding table, [vocab_size, d_model], in the model's dtype and on its device."""
        return self.hf.model.embed_tokens.weight.detach()

    def capture(
        self,
        text: str,
        edits: Edits = UNCHANGED,
        earlier: Sequence[Capture] = (),
        patch: Patch | None = None,
    ) -> Capture:
        """Run the model over a text.

        earlier: captures that may begin with the same tokens. From the one that shares most of them they are taken
            over, and only the others are run; values then equal those of a capture made afresh up to rounding
        patch: a value that is taken over from the run of another text

        Raises TextError, a ValueError, for a text that cannot be run, and EditsError, a ValueError, for edits that do
        not fit the model: see `gemma_viz.errors`. Raises TypeError for what is no text, Edits, captures or Patch.
        """
        return self._run(text, self.tokens(text), edits, earlier, patch)

    def tokens(self, text: str) -> Tokens:
        """The tokens of a text, without running it. Raises TextError, a ValueError, and TypeError as `capture` does."""
        if not isinstance(text, str):
            raise TypeError(
                f"A text is a str, and this is of type {type(text).__name__}. Token ids go to `capture_ids`, several "
                "texts to `capture_together`."
            )
        tokens = tokenize(self.tokenizer, text, self.token_limit)
        for token in tokens:
            if token.id >= self.spec.vocab_size:
                raise TokenWithoutRow(
                    f"The model has no row for {token.piece!r}: that is token {token.id:,} of its tokenizer, and the "
                    f"embedding table has {self.spec.vocab_size:,} rows. Leave it out."
                )
        return tokens

    def capture_ids(
        self,
        ids: Sequence[int],
        edits: Edits = UNCHANGED,
        patch: Patch | None = None,
        earlier: Sequence[Capture] = (),
    ) -> Capture:
        """Run the model over token ids as they are, also where its tokenizer would cut their text otherwise.

        earlier: as for `capture`

        Raises IndexError for an id that the vocabulary does not have, TypeError for ids that are no whole numbers,
        NoTokens and TooManyTokens as `capture` does.
        """
        ids = list(map(index, ids))
        outside = [id for id in ids if not 0 <= id < self.spec.vocab_size]
        if outside:
            raise IndexError(f"There is no token {outside[0]}: the ids are 0 to {self.spec.vocab_size - 1}.")
        tokens = tokens_with_ids(self.tokenizer, ids, self.token_limit)
        return self._run("".join(token.text for token in tokens), tokens, edits, earlier, patch)

    def capture_together(self, texts: Sequence[str]) -> list[Capture]:
        """Run the model over several short texts in one pass, which takes less time than one after the other.

        Values equal those of `capture` up to rounding. Raises what `capture` raises.
        """
        if isinstance(texts, str):
            raise TypeError("This is one text, and `capture_together` takes several. One goes to `capture`.")
        tokens = list(map(self.tokens, texts))
        self._check_memory(sum(map(len, tokens)))
        return Capture.together(self, texts, tokens)

    def _run(self, text: str, tokens: Tokens, edits: Edits, earlier: Sequence[Capture], patch: Patch | None) -> Capture:
        if not isinstance(edits, Edits):
            raise TypeError(f"edits is of type {type(edits).__name__}, and must be Edits, such as Edits(rope=False).")
        if not all(isinstance(one, Capture) for one in earlier):
            raise TypeError("earlier takes captures, in a list or a tuple.")
        if not isinstance(patch, Patch | None):
            raise TypeError(f"patch is of type {type(patch).__name__}, and must be a Patch or None.")
        self._check_memory(len(tokens))
        return Capture(self, text, tokens, edits, earlier, patch)

    def forward(self, token_ids: Tensor, past: Cache | None = None, positions: Tensor | None = None) -> None:
        """One pass over token ids [position], up to the final norm; the logits are left to who needs them.

        past: keys and values of the tokens before them
        positions: int64 [position], where they stand; None for one after the other
        """
        where = None if positions is None else positions[None].to(self.device)
        self.hf.model(token_ids[None].to(self.device), past_key_values=past, position_ids=where, use_cache=False)

    def forward_layer(self, layer: int, stream: Tensor) -> Tensor:
        """One layer, on the stream that enters it, to the one that leaves it: [batch, position, d_model], from
        position 0 on.
        """
        position_ids = torch.arange(stream.shape[1], device=stream.device)[None]
        turns = rotations(self.hf, self.spec, layer, stream, position_ids)
        left: Tensor = self.hf.model.layers[layer](
            stream, attention_mask=None, position_ids=position_ids, position_embeddings=turns
        )
        return left

    @torch.inference_mode()
    def unembed(self, normed: Tensor, edits: Edits = UNCHANGED, tokens: Sequence[int] | None = None) -> Tensor:
        """Logits from the normed stream, in its dtype, where the output projection is: [position, vocab_size].

        normed: [position, d_model], on any device
        tokens: ids; of these only, [position, len(tokens)]
        """
        logits = self.project(normed, edits, tokens)
        if (cap := self.spec.final_softcap) and edits.final_softcap:
            logits = cap * torch.tanh(logits / cap)
        return logits

    @torch.inference_mode()
    def project(self, normed: Tensor, edits: Edits = UNCHANGED, tokens: Sequence[int] | None = None) -> Tensor:
        """As `unembed`, before any soft-cap."""
        matrix = self.unembedding(edits)[slice(None) if tokens is None else list(tokens)]
        normed = normed.to(matrix.device)
        if matrix.dtype == normed.dtype:
            return linear(normed, matrix)
        return torch.cat([linear(normed, block.to(normed)) for block in torch.split(matrix, ROWS_AT_ONCE)], -1)

    def unembedding(self, edits: Edits = UNCHANGED) -> Tensor:
        """The output projection of a run, [vocab_size, d_model]; a random one in bfloat16."""
        seed = edits.unembedding_seed
        return self.hf.lm_head.weight.detach() if seed is None else self._random_unembedding(seed)

    @cached_property
    def _random_unembedding(self) -> Callable[[int], Tensor]:
        """The random matrix of a seed, as long as no other is asked for: half as large as the output projection."""

        @lru_cache(maxsize=1)
        def matrix(seed: int) -> Tensor:
            generator, (n_rows, width) = torch.Generator().manual_seed(seed), self.embedding.shape
            scale = float((self.row_norms.double().pow(2).mean() / width).sqrt())
            rows = torch.empty(n_rows, width, dtype=torch.bfloat16)
            for block in torch.split(rows, ROWS_AT_ONCE):
                block.copy_(torch.randn(block.shape, generator=generator) * scale)
            return rows.to(self.hf.lm_head.weight.device)

        return matrix

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids of tokens with which the model says that a text, or its turn in a talk, is over."""
        asked = self.hf.generation_config.eos_token_id if self.hf.generation_config else None
        ends = [*(asked if isinstance(asked, list) else [asked]), self.tokenizer.eos_token_id]
        ends.append(self.vocabulary.ids.get("<end_of_turn>"))
        return frozenset(id for id in ends if id is not None)

    def token_text(self, id: int) -> str:
        """What a token adds to the text."""
        return token_text(self.tokenizer, id)

    def token_id(self, piece: str) -> int:
        """The id of a piece of the vocabulary, "▁red" for example. Raises KeyError where there is none."""
        id = self.vocabulary.ids.get(piece)
        if id is None:
            raise KeyError(f"{piece!r} is not in the vocabulary. A word inside a text begins with ▁ (U+2581).")
        return id

    def nearest_tokens(self, token: str | int, k: int = 10) -> NearestTokens:
        """The k tokens whose embedding rows point most nearly the way of this one's, without itself.

        token: a piece ("▁red") or an id. Raises KeyError for an unknown piece, IndexError for an unknown id.
        """
        id = self.token_id(token) if isinstance(token, str) else token
        if not 0 <= id < self.spec.vocab_size:
            raise IndexError(f"There is no token {id}: the ids are 0 to {self.spec.vocab_size - 1}.")
        return self.nearest_to_vector(self.embedding[id], k, without=(id,))[0]

    @torch.inference_mode()
    def nearest_to_vector(
        self, vector: Tensor, k: int = 10, without: tuple[int, ...] = (), rank_of: int | None = None
    ) -> tuple[NearestTokens, int | None]:
        """The k tokens whose embedding rows point most nearly the way of a vector.

        vector: float [d_model]; without: ids that do not count
        rank_of: an id whose place among all is given too, 1 for the nearest
        """
        vector = vector.to(self.embedding)
        products = linear(vector[None], self.embedding)[0] / self.row_norms  # float32 [vocab_size]
        products[list(without)] = -torch.inf
        # In bfloat16 the products are coarse, so more than k rows are looked at again in float32.
        k = min(k, len(products) - len(without))
        _, near = top_k(products[None], min(4 * k, len(products) - len(without)))
        rows = normalize(self.embedding[near[0]].float(), dim=-1)
        similarities, order = (rows @ normalize(vector.float(), dim=0)).topk(k)
        ids = tuple(near[0][order].tolist())
        nearest = NearestTokens(ids, tuple(map(self.token_text, ids)), tuple(similarities.tolist()))
        rank = None if rank_of is None else int((products > products[rank_of]).sum()) + 1
        return nearest, rank

    @cached_property
    def row_norms(self) -> Tensor:
        """Lengths of the embedding rows, float32 [vocab_size]; a row of zeros counts as short, not as none."""
        blocks = torch.split(self.embedding, ROWS_AT_ONCE)
        return torch.cat([block.float().norm(dim=-1) for block in blocks]).clamp_min(1e-12)

    @property
    def bytes_per_token(self) -> dict[torch.device, int]:
        """What a token of a capture takes on each device: of what is kept, and of a layer while it is replayed."""
        spec = self.spec
        stream = spec.d_model * self.dtype.itemsize  # at one depth
        keys_values = 2 * spec.n_kv_heads * spec.d_head * self.dtype.itemsize
        replay = 3 * spec.d_mlp * (4 + self.dtype.itemsize)  # of one MLP, whose gate, up and act are given in float32
        n_layers = Counter(map(self.device_of, range(spec.n_layers)))
        return {device: n * (stream + keys_values) + stream + replay for device, n in n_layers.items()}

    def _check_tokenizer(self) -> None:
        """A token that was added behind the vocabulary may have no row: texts with it are refused, not the model."""
        n_entries, n_rows = self.tokenizer.vocab_size, self.spec.vocab_size
        if n_entries > n_rows:
            raise ModelNotFound(
                f"The tokenizer has {n_entries:,} entries and the model's embedding table {n_rows:,} rows, so they do "
                "not belong together. Choose another checkpoint, or get it again."
            )

    def _check_memory(self, n_tokens: int) -> None:
        for device, per_token in self.bytes_per_token.items():
            need, free = n_tokens * per_token, free_bytes(device)
            if need > free:
                raise OutOfMemory(
                    f"{n_tokens:,} tokens need some {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free on "
                    f"the {device.type}. Try a shorter prompt, or try later."
                )

    def _default_token_limit(self) -> int:
        """The context length, or less where a quarter of the free memory would not hold a capture, or on the CPU."""
        fitting = min(free_bytes(device) // 4 // per_token for device, per_token in self.bytes_per_token.items())
        longest = self.spec.context_length
        return min(max(1, fitting), longest, LONGEST_ON_CPU if self.device.type == "cpu" else longest)


def _checked_limit(limit: int) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise BadSetting(f"token_limit is {limit!r}. It takes a whole number of tokens, 1 or more, or None.")
    return limit

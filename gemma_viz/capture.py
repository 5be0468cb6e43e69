"""Capture: one run of the model over a text, and everything inside it on demand.

A capture keeps what enters each layer, by reference. Everything inside a layer is a function of that, so that
`attention(layer)` and `mlp(layer)` call that one layer again with the probes on: a few milliseconds, and memory that
grows with layers x tokens x d_model but never with tokens squared. It keeps the keys and values too, so that a text
which begins like this one need not be run from its start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d
from transformers import DynamicCache

from gemma_viz import capture_file, display
from gemma_viz.attention import AttentionRule, hidden_keys, masked_scores, seen_keys
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.errors import CaptureFileError, EditsError
from gemma_viz.instrument import Injection, Run, running, weight_in_run
from gemma_viz.ranking import Ranking, rank
from gemma_viz.tokens import Tokens, tokens_with_ids, visible

if TYPE_CHECKING:
    from gemma_viz.model import Model
    from gemma_viz.patching import Patch

KEPT = ("resid_pre", "rot_k", "values")  # of every layer; the last layer's resid_post comes with them
# In the order in which a layer makes them; a replay stops after the last.
INSIDE_ATTENTION = ("attn_in", "q", "k", "v", "rot_q", "rot_k", "z", "attn_projected", "attn_out")
INSIDE_SUBLAYERS = ("attn_projected", "attn_out", "resid_mid", "mlp_projected", "mlp_out")
INSIDE_MLP = ("mlp_in", "gate", "up", "act", "mlp_projected", "mlp_out")

# For display: the axes of what a notebook shows of a sublayer.
ATTENTION_AXES = {
    "input": "position, d_model",
    **dict.fromkeys(("q", "rot_q"), "head, position, d_head"),
    **dict.fromkeys(("k", "rot_k", "v"), "kv_head, position, d_head"),
    "z": "head, position, d_head",
    **dict.fromkeys(("projected", "out"), "position, d_model"),
}
MLP_AXES = {
    "input": "position, d_model",
    **dict.fromkeys(("gate", "up", "act"), "position, d_mlp"),
    **dict.fromkeys(("projected", "out"), "position, d_model"),
}
TOP_K_HEADERS = ("rank", "id", "logit", "probability", "token")
LARGEST_DISPLAYED = 512  # tokens; the patterns of longer texts are not made only to be displayed
CELLS_DISPLAYED = 24  # a side


@dataclass(frozen=True, repr=False)
class Attention:
    """The inside of one attention sublayer. Float32 tensors on the CPU.

    input: [position, d_model], the stream after RMSNorm
    q, rot_q: [head, position, d_head], queries before and after RoPE (Gemma 3: after the query norm). Where heads use
        the queries of others, `rot_q` are those they use
    k, rot_k: [kv_head, position, d_head], keys, likewise
    v: [kv_head, position, d_head]
    z: [head, position, d_head], the values, weighted and summed: what goes into the output projection
    projected: [position, d_model], the heads' outputs after the output projection
    out: [position, d_model], what is added to the stream: the same, or (Gemma 2, 3) its norm
    scores: [head, query, key], rot_q . rot_k, scaled (Gemma 2: soft-capped); -inf where the query may not look
    pattern: [head, query, key], softmax of the scores; rows sum to 1
    rule: AttentionRule, how the scores are made

    Source: Attention Is All You Need (arXiv:1706.03762), section 3.2; multi-query: arXiv:1911.02150.
    """

    input: Tensor
    q: Tensor
    rot_q: Tensor
    k: Tensor
    rot_k: Tensor
    v: Tensor
    z: Tensor
    projected: Tensor
    out: Tensor
    rule: AttentionRule

    @cached_property
    def scores(self) -> Tensor:
        """[head, query, key], before the softmax."""
        return self.scores_of(slice(None))

    @cached_property
    def pattern(self) -> Tensor:
        """[head, query, key], after the softmax."""
        return self.scores.softmax(-1)

    def moved_to(self, device: torch.device) -> "Attention":
        """The same, with the queries and keys that scores are made of on a device."""
        return replace(self, rot_q=self.rot_q.to(device), rot_k=self.rot_k.to(device))

    def scores_of(self, heads: slice, queries: slice = slice(None), keys: slice = slice(None)) -> Tensor:
        """The scores of some heads, queries and keys only, each a run of neighbours: [heads, queries, keys]."""
        n_heads, n_kv_heads, n = len(self.rot_q), len(self.rot_k), self.rot_q.shape[1]
        kv_heads = [head * n_kv_heads // n_heads for head in range(n_heads)[heads]]
        hidden = hidden_keys(range(n)[queries], range(n)[keys], self.rule, self.rot_q.device)
        rot_q, rot_k = self.rot_q[heads, queries], self.rot_k[kv_heads, keys]
        return masked_scores(rot_q, rot_k, hidden, self.rule)

    def keys_seen_by(self, queries: range) -> range:
        """The keys that at least one of some neighbouring queries may look at."""
        return seen_keys(queries, self.rot_k.shape[1], self.rule)

    def __repr__(self) -> str:
        n_heads, n, _ = self.rot_q.shape
        window = self.rule.window
        back = f"{window - 1:,} tokens before it" if window else "all tokens before it"
        sees = f"itself and {back}" if self.rule.causal else "every token"
        return f"<Attention of {n_heads} heads ({len(self.rot_k)} of keys and values), {n:,} tokens; each sees {sees}>"

    def _repr_html_(self) -> str:
        n_heads, n, _ = self.rot_q.shape
        inside = {name: (axes, getattr(self, name)) for name, axes in ATTENTION_AXES.items()}
        rows = [*display.shapes(inside), ("scores, pattern", f"head {n_heads:,}, query {n:,}, key {n:,}")]
        pictures = display.maps(self._small_pattern(), "head") if n <= LARGEST_DISPLAYED else ""
        return f"<p>{escape(repr(self)[1:-1])}</p>{display.html_table(('value', 'shape'), rows)}{pictures}"

    def _small_pattern(self) -> Tensor:
        """The pattern, [head, row, column], of longer texts the largest weight of each cell."""
        side = min(self.rot_q.shape[1], CELLS_DISPLAYED)
        return adaptive_max_pool2d(self.pattern, (side, side))


@dataclass(frozen=True, repr=False)
class MLP:
    """The inside of one MLP sublayer. Float32 tensors on the CPU.

    input: [position, d_model], the stream after RMSNorm
    gate, up: [position, d_mlp], the two projections of the input
    act: [position, d_mlp], gelu(gate) * up, what goes into the down-projection
    projected: [position, d_model], act after the down-projection
    out: [position, d_model], what is added to the stream: the same, or (Gemma 2, 3) its norm

    Source: GLU Variants Improve Transformer (arXiv:2002.05202).
    """

    input: Tensor
    gate: Tensor
    up: Tensor
    act: Tensor
    projected: Tensor
    out: Tensor

    def __repr__(self) -> str:
        n, d_mlp = self.act.shape
        return f"<MLP of {d_mlp:,} neurons, {n} tokens>"

    def _repr_html_(self) -> str:
        rows = display.shapes({name: (axes, getattr(self, name)) for name, axes in MLP_AXES.items()})
        return f"<p>{escape(repr(self)[1:-1])}</p>{display.html_table(('value', 'shape'), rows)}"


@dataclass(frozen=True)
class Sublayers:
    """What the two sublayers of a layer add to the stream. Float32 [position, d_model], on the CPU.

    attn_projected, mlp_projected: what they give
    attn_out, mlp_out: what is added to the stream: the same, or (Gemma 2, 3) its norm
    resid_mid: the stream between them
    """

    attn_projected: Tensor
    attn_out: Tensor
    resid_mid: Tensor
    mlp_projected: Tensor
    mlp_out: Tensor


@dataclass(frozen=True, repr=False)
class TopK:
    """The likeliest next tokens after one position, the likeliest first.

    ids: tuple of int; texts: tuple of str; logits, probabilities: tuples of float. Probabilities are shares of the
    whole vocabulary, so they sum to less than 1.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __repr__(self) -> str:
        return display.text_table(TOP_K_HEADERS, self._rows)

    def _repr_html_(self) -> str:
        return display.html_table(TOP_K_HEADERS, self._rows)

    @property
    def _rows(self) -> list[display.Row]:
        ranked = enumerate(zip(self.ids, self.logits, self.probabilities, self.texts, strict=True), 1)
        return [
            (str(rank), str(id), f"{logit:.3f}", f"{p:.2%}", visible(text)) for rank, (id, logit, p, text) in ranked
        ]


class Capture:
    """One run of a model over one text. Made by `Model.capture`.

    model: Model; text: str; edits: Edits; patch: Patch or None
    tokens: Tokens, a tuple of Token
    token_ids: int64 [position], on the CPU

    Every method that takes a layer raises IndexError where there is no such layer. Layers and positions count from 0;
    negative ones count from the end.
    """

    def __init__(
        self,
        model: "Model",
        text: str,
        tokens: Tokens,
        edits: Edits,
        earlier: "Sequence[Capture]" = (),
        patch: "Patch | None" = None,
    ):
        edits.check(model.spec)
        self.model = model
        self.text = text
        self.tokens = tokens
        self.edits = edits
        self.patch = patch
        self._injections = (self._checked(patch).injection(),) if patch else ()
        self.token_ids = torch.tensor([token.id for token in tokens])
        base = max(earlier, key=self.tokens_shared_with, default=None)
        n_shared = self.tokens_shared_with(base) if base else 0
        layers, last = range(model.spec.n_layers), model.spec.n_layers - 1
        run = self._run((*KEPT, "resid_post"))
        with running(run):
            model.forward(self.token_ids[n_shared:], base.past(n_shared) if base and n_shared else None)
            stream = [*(run.values["resid_pre", layer] for layer in layers), run.values["resid_post", last]]
            if base and n_shared:
                stream = [
                    torch.cat([before[:, :n_shared], new], 1) for before, new in zip(base._stream, stream, strict=True)
                ]
        self._stream: list[Tensor] = stream  # at n_layers + 1 depths: what enters each layer, and what leaves the last
        self._keys_values = [(run.values["rot_k", layer], run.values["values", layer]) for layer in layers]

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"<Capture of {len(self)} tokens by {self.model.name}{self._changed}: {self.text[:40]!r}>"

    def _repr_html_(self) -> str:
        spec = self.model.spec
        said = (
            f"Capture of {len(self):,} tokens by {self.model.name} ({spec.family}, {self.model.dtype}){self._changed}: "
            f"the stream at {len(self._stream)} depths, [{len(self):,}, {spec.d_model:,}] each, and keys and values of "
            f"{spec.n_layers} layers"
        )
        return f"<p>{escape(said)}</p>{self.tokens._repr_html_()}"

    @property
    def _changed(self) -> str:
        changed = f", changed by {self.edits.to_text()}" if self.edits.changes else ""
        return changed + (f", with {self.patch.kind} of another run in layer {self.patch.layer}" if self.patch else "")

    def save(self, path: str | Path) -> None:
        """Write all that is kept into one safetensors file, in place of one that is there.

        `gemma_viz.capture_file` describes its layout. Raises CaptureFileError where it cannot be written, or for a run
        with a patch, which a file does not hold.
        """
        if self.patch:
            raise CaptureFileError(
                "This run takes over a value from the run of another text, which a file does not hold. Save the runs "
                "of both texts as they are, and take the value over again when they are open."
            )
        capture_file.write(
            path,
            capture_file.SavedCapture(
                model=self.model.name,
                spec=capture_file.spec_as_json(self.model.spec),
                weights=self.model.weights_digest,
                text=self.text,
                edits=self.edits,
                token_ids=self.token_ids,
                spans=tuple(token.span for token in self.tokens),
                stream=tuple(stream[0] for stream in self._stream),
                keys_values=tuple((keys[0], values[0]) for keys, values in self._keys_values),
            ),
        )

    @classmethod
    def open(cls, path: str | Path, model: "Model | None" = None) -> "Capture":
        """A capture as it was saved, without running the model. On the same kind of machine replays give the same bits.

        model: the one that was captured; None to load it by its name, as `gemma_viz.load` does

        Raises CaptureFileError for a file that is not there, is something else, is damaged, or is of another version or
        of another model, and what `load` raises.
        """
        saved = capture_file.read(path)
        if model is None:
            from gemma_viz.checkpoints import load  # which stands above this module

            model = load(saved.model, dtype=saved.dtype)
        saved.check_model(model.name, model.spec, model.weights_digest, model.dtype)
        ids = saved.token_ids.tolist()
        tokens = tokens_with_ids(model.tokenizer, ids, limit=len(ids), spans=saved.spans)
        devices = list(map(model.device_of, range(model.spec.n_layers)))
        stream = [stream[None].to(device) for stream, device in zip(saved.stream, [*devices, devices[-1]], strict=True)]
        keys_values = [
            (keys[None].to(device), values[None].to(device))
            for (keys, values), device in zip(saved.keys_values, devices, strict=True)
        ]
        return cls._of(model, saved.text, tokens, saved.edits, stream, keys_values)

    @classmethod
    def together(cls, model: "Model", texts: Sequence[str], tokens: Sequence[Tokens]) -> "list[Capture]":
        """Captures of several short texts, without edits, in one pass. Made by `Model.capture_together`.

        The texts stand one after the other in one row, each with positions of its own, and do not see each other.
        Values equal those of a capture made alone up to rounding.
        """
        ids = [torch.tensor([token.id for token in some]) for some in tokens]
        lengths = tuple(map(len, ids))
        run = Run((*KEPT, "resid_post"), UNCHANGED, lengths=lengths)
        with running(run):
            model.forward(torch.cat(ids), positions=torch.cat([torch.arange(n) for n in lengths]))
        layers, last = range(model.spec.n_layers), model.spec.n_layers - 1
        whole = [*(run.values["resid_pre", layer] for layer in layers), run.values["resid_post", last]]
        # Copies: a view would keep everybody's values in memory for as long as one of the texts is looked at.
        streams = [[part.clone() for part in torch.split(stream, list(lengths), dim=1)] for stream in whole]
        keys, values = (
            [[part.clone() for part in torch.split(run.values[name, layer], list(lengths), dim=2)] for layer in layers]
            for name in ("rot_k", "values")
        )
        return [
            cls._of(
                model,
                text,
                tokens[n],
                UNCHANGED,
                [stream[n] for stream in streams],
                [(keys[layer][n], values[layer][n]) for layer in layers],
            )
            for n, text in enumerate(texts)
        ]

    @classmethod
    def _of(
        cls,
        model: "Model",
        text: str,
        tokens: Tokens,
        edits: Edits,
        stream: list[Tensor],
        keys_values: list[tuple[Tensor, Tensor]],
    ) -> "Capture":
        """A capture whose values are there already."""
        cap = cls.__new__(cls)
        cap.model, cap.text, cap.tokens, cap.edits = model, text, tokens, edits
        cap.token_ids = torch.tensor([token.id for token in tokens])
        cap.patch, cap._injections = None, ()
        cap._stream, cap._keys_values = stream, keys_values
        return cap

    @property
    def nbytes(self) -> int:
        """Bytes of the stream, keys and values that it keeps."""
        pairs = (tensor for pair in self._keys_values for tensor in pair)
        return sum(tensor.nbytes for tensor in (*self._stream, *pairs))

    def again(self, edits: Edits) -> "Capture":
        """The same tokens run once more, with other edits and the same patch."""
        return Capture(self.model, self.text, self.tokens, edits, patch=self.patch)

    def ids_with(self, position: int, id: int) -> list[int]:
        """The token ids with another one at a position; for `Model.capture_ids`."""
        ids: list[int] = self.token_ids.tolist()
        ids[position] = id
        return ids

    def resid_pre(self, layer: int) -> Tensor:
        """The stream as it enters a layer: float32 [position, d_model]."""
        return _plain(self._stream[self._layer(layer)])

    def resid_mid(self, layer: int) -> Tensor:
        """The stream between a layer's attention and its MLP, replayed: float32 [position, d_model]."""
        return self._replay(self._layer(layer), ("resid_mid",))["resid_mid"]

    def resid_post(self, layer: int) -> Tensor:
        """The stream as it leaves a layer: float32 [position, d_model]."""
        return _plain(self._stream[self._layer(layer) + 1])

    def stream_at(self, position: int) -> Tensor:
        """One token's stream at every depth, from what enters the first layer to what leaves the last.

        float32 [n_layers + 1, d_model]. Raises IndexError for a position outside the prompt.
        """
        return self._stream_at(position).float().cpu()

    def attention(self, layer: int) -> Attention:
        """The inside of a layer's attention, by replaying the layer."""
        index = self._layer(layer)
        return self._attention(index, self._replay(index, INSIDE_ATTENTION))

    def attention_and_sublayers(self, layer: int) -> tuple[Attention, Sublayers]:
        """As `attention` and `sublayers`, in one replay."""
        index = self._layer(layer)
        values = self._replay(index, (*INSIDE_ATTENTION, *INSIDE_SUBLAYERS[2:]))
        return self._attention(index, values), Sublayers(**{name: values[name] for name in INSIDE_SUBLAYERS})

    def _attention(self, layer: int, values: dict[str, Tensor]) -> Attention:
        spec = self.model.spec
        return Attention(
            input=values["attn_in"],
            q=_heads_first(values["q"], spec.n_heads),
            rot_q=values["rot_q"],
            k=_heads_first(values["k"], spec.n_kv_heads),
            rot_k=values["rot_k"],
            v=_heads_first(values["v"], spec.n_kv_heads),
            z=_heads_first(values["z"], spec.n_heads),
            projected=values["attn_projected"],
            out=values["attn_out"],
            rule=self.rule(layer),
        )

    def head_outputs(self, layer: int, position: int) -> Tensor:
        """What each head of a layer adds to the stream of one token: float32 [head, d_model].

        Each head's z through its own columns of the output projection and, on Gemma 2 and 3, times what the norm after
        it multiplied the sum of all heads with. They sum to `attention(layer).out[position]` up to rounding, also in a
        run that leaves attention out.
        """
        index, row = self._layer(layer), self._position(position)
        module, values = self.model.hf.model.layers[index], self.attention(layer)
        weight = weight_in_run(module.self_attn.o_proj, index, self.edits).float().cpu()  # [d_model, head * d_head]
        by_head = torch.unflatten(weight, 1, (self.model.spec.n_heads, -1))  # [d_model, head, d_head]
        if not (taken := self.edits.takes("attention", index)) and self.edits.removal == "zero":
            return torch.zeros(self.model.spec.n_heads, self.model.spec.d_model)
        rows = [row] if taken else list(range(len(self)))  # each head's part of the mean over the text
        outputs = torch.einsum("dhc,hpc->hpd", by_head, values.z[:, rows])  # [head, position, d_model]
        if self.model.spec.post_norms and self._normalises("attention_norms", index):
            outputs = outputs * norm_factors(module.post_attention_layernorm, values.projected[rows])
        return outputs.mean(1)

    def mlp(self, layer: int) -> MLP:
        """The inside of a layer's MLP, by replaying the layer."""
        values = self._replay(self._layer(layer), INSIDE_MLP)
        return MLP(
            input=values["mlp_in"],
            gate=values["gate"],
            up=values["up"],
            act=values["act"],
            projected=values["mlp_projected"],
            out=values["mlp_out"],
        )

    def sublayers(self, layer: int) -> Sublayers:
        """What the two sublayers of a layer make, by replaying the layer."""
        return Sublayers(**self._replay(self._layer(layer), INSIDE_SUBLAYERS))

    def replayed_resid_post(self, layer: int) -> Tensor:
        """What the layer gives when it is called again.

        Equal to `resid_post(layer)` bit for bit, or, where the capture went on from an earlier one, up to rounding.
        """
        return self._replay(self._layer(layer), ("resid_post",))["resid_post"]

    def normed_stream_at(self, position: int) -> Tensor:
        """As `stream_at`, after the final norm: what the "logit lens" hands to the output projection."""
        with running(self._run()):
            normed: Tensor = self.model.hf.model.norm(self._stream_at(position))
        return normed.float().cpu()

    def final_norm(self) -> Tensor:
        """The stream after the last norm, what the output projection reads: float32 [position, d_model]."""
        return _plain(self._final_norm(slice(None)))

    def logits(self, positions: Sequence[int], tokens: Sequence[int] | None = None) -> Tensor:
        """Scores of every vocabulary token as the next one: float32 [len(positions), vocab_size], after any soft-cap.

        tokens: ids; scores of these only, [len(positions), len(tokens)]

        Raises IndexError for a position outside the prompt.
        """
        return self.unembed(self._final_norm([self._position(p) for p in positions])[0], tokens)

    def unembed(self, normed: Tensor, tokens: Sequence[int] | None = None) -> Tensor:
        """Logits that the run would give of some normed streams: float32 [position, vocab_size] from float [position,
        d_model]; of some tokens only, [position, len(tokens)].
        """
        return self.model.unembed(normed.to(self.model.dtype), self.edits, tokens).float().cpu()

    def project(self, normed: Tensor) -> Tensor:
        """As `unembed`, before any soft-cap."""
        return self.model.project(normed.to(self.model.dtype), self.edits).float().cpu()

    def logits_with(self, injection: Injection, tokens: Sequence[int]) -> Tensor:
        """Logits after the last token of copies of the text, each with one value put in the place of the run's own.

        Layers before the value are not run again.

        tokens: ids; returns float32 [batch, len(tokens)]
        """
        stream = self._stream[injection.layer].expand(len(injection.positions), -1, -1)
        with running(self._run((), injections=(*self._injections, injection))):
            for layer in range(injection.layer, self.model.spec.n_layers):
                stream = self.model.forward_layer(layer, stream)
            normed = self.model.hf.model.norm(stream[:, -1])
        return self.unembed(normed, tokens)

    def top_k(self, k: int = 10, position: int = -1) -> TopK:
        """The k likeliest tokens after a position."""
        logits = self.logits([position])[0]
        ids = logits.topk(min(k, len(logits))).indices
        id_list = ids.tolist()
        return TopK(
            ids=tuple(id_list),
            texts=tuple(self.model.token_text(id) for id in id_list),
            logits=tuple(logits[ids].tolist()),
            probabilities=tuple(logits.softmax(-1)[ids].tolist()),
        )

    def direct_logits(self, vectors: Tensor, position: int) -> Tensor:
        """What vectors in one token's stream add to its logits by themselves: float32 [vector, vocab_size].

        vectors: float32 [vector, d_model]

        The final norm divides by what it divides the token's whole stream by, so that the logits of parts of the stream
        sum to the logits of the whole, before any soft-cap. What later layers make of a part is not in it.
        """
        factors = self._final_factors(position)
        return self.model.project(vectors * factors, self.edits).cpu()

    def logit_direction(self, position: int, token: int) -> Tensor:
        """What one token's stream is multiplied with, component by component, to a logit: float64 [d_model].

        The final norm's divisor is held at what it is for this stream. Before any soft-cap.
        """
        return self._final_factors(position).double() * self.unembedding_row(token).double()

    def unembedding_row(self, token: int) -> Tensor:
        """A token's row of the output projection: float32 [d_model]."""
        return self.model.unembedding(self.edits)[token].float().cpu()

    @property
    def embedding_factor(self) -> float:
        """What the embedding rows are multiplied with."""
        if not self.edits.embedding_scale:
            return 1.0
        factor = self.edits.embedding_factor
        return self.model.spec.embedding_scale if factor is None else factor

    def rule(self, layer: int) -> AttentionRule:
        """How a layer's attention makes weights of queries and keys."""
        return AttentionRule.of(self.model.spec, self._layer(layer), self.edits)

    def neuron_output(self, layer: int, neuron: int, position: int) -> Tensor:
        """What a neuron adds to the stream of one token for each 1 of activation: float32 [d_model].

        Its column of the down-projection and, on Gemma 2 and 3, times what the norm after it multiplied the sum of all
        neurons with.
        """
        index, row = self._layer(layer), self._position(position)
        module = self.model.hf.model.layers[index]
        column = weight_in_run(module.mlp.down_proj, index, self.edits)[:, neuron].float().cpu()
        if not self.edits.takes("mlp", index):
            return column / len(self) if self.edits.removal == "mean" else torch.zeros_like(column)
        if self.model.spec.post_norms and self._normalises("mlp_norms", index):
            column = column * norm_factors(module.post_feedforward_layernorm, self.mlp(index).projected[row])
        return column

    def ranking(self, targets: Tensor, k: int = 10, layer: int = -1) -> Ranking:
        """The k likeliest tokens after every position, as the output would read them off the stream after a layer.

        targets: int64 [position], a token of interest at each, whose rank and probability are given too
        layer: the last gives the model's own prediction, an earlier one the "logit lens"
        """
        stream = self._stream[self._layer(layer) + 1]
        with running(self._run()):
            return rank(self._unembed, self.model.hf.model.norm(stream)[0], targets, k)

    def lens(self, position: int, target: int, k: int = 10) -> Ranking:
        """The "logit lens" for one position: `ranking` at every depth, from what enters the first layer to the last.

        target: the id of a token of interest. The rows of the result are n_layers + 1 depths.
        Source: nostalgebraist, interpreting GPT: the logit lens (2020).
        """
        rows = self._stream_at(position)
        with running(self._run()):
            normed = self.model.hf.model.norm(rows)
            return rank(self._unembed, normed, torch.full((len(rows),), target), k)

    def _replay(self, layer: int, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Call one layer again on what entered it, up to the last of the named values.

        Values without the batch axis, in float32 on the CPU.
        """
        run = self._run(names, until=names[-1])
        with running(run):
            self.model.forward_layer(layer, self._stream[layer])
        return {name: _plain(value) for (name, _), value in run.values.items()}

    def tokens_shared_with(self, earlier: "Capture") -> int:
        """At how many tokens from the start on all values are those of an earlier run; the last one never counts."""
        if earlier.model is not self.model or earlier.edits != self.edits or self.edits.look_ahead:
            return 0
        if self.patch or earlier.patch:
            return 0
        n = min(len(self), len(earlier))
        different = (self.token_ids[:n] != earlier.token_ids[:n]).nonzero()
        return min(int(different[0]) if len(different) else n, len(self) - 1)

    def past(self, n: int | None = None) -> DynamicCache:
        """The keys and values of the first n tokens, of all if not said; what is added to them does not come back."""
        return DynamicCache([(keys[:, :, :n], values[:, :, :n]) for keys, values in self._keys_values])

    def keys_values(self) -> list[tuple[Tensor, Tensor]]:
        """Every layer's keys after RoPE and values: [batch 1, kv_head, position, d_head], in the model's dtype."""
        return self._keys_values

    def _stream_at(self, position: int) -> Tensor:
        """As `stream_at`, in the model's own dtype, where its last layer is."""
        index, last = self._position(position), self._stream[-1].device
        return torch.cat([stream[:, index].to(last) for stream in self._stream])

    def _final_norm(self, positions: Any) -> Tensor:
        """[batch, len(positions), d_model], in the model's own dtype, where its final norm is."""
        with running(self._run()):
            return self.model.hf.model.norm(self._stream[-1][:, positions])

    def _unembed(self, normed: Tensor) -> Tensor:
        """As `unembed`, in the model's own dtype, where its output projection is."""
        return self.model.unembed(normed, self.edits)

    def _run(
        self, keep: Sequence[str] = (), until: str | None = None, injections: tuple[Injection, ...] | None = None
    ) -> Run:
        """A pass, or a part of one, as this capture's own was."""
        return Run(keep, self.edits, until, self._injections if injections is None else injections)

    def _checked(self, patch: "Patch") -> "Patch":
        if patch.source.model is not self.model:
            raise EditsError("A value can only be taken over from a run of the same model.")
        if patch.position >= len(self):
            raise EditsError(f"This text has no token {patch.position}: choose one from 0 to {len(self) - 1}.")
        return patch

    def _final_factors(self, position: int) -> Tensor:
        """What the final norm multiplies a token's stream with: float32 [d_model]."""
        stream = self.resid_post(-1)[self._position(position)]
        return norm_factors(self.model.hf.model.norm, stream) if self.edits.final_norm else torch.ones_like(stream)

    def _normalises(self, kind: str, layer: int) -> bool:
        return self.edits.takes("norms", layer) and self.edits.takes(kind, layer)

    def _layer(self, layer: int) -> int:
        return _index(layer, self.model.spec.n_layers, "layer")

    def _position(self, position: int) -> int:
        return _index(position, len(self), "position")


def norm_factors(norm: Any, x: Tensor) -> Tensor:
    """What an RMSNorm multiplies each component of x with: (1 + weight) / RMS of x. Float32, of the shape of x."""
    weight = norm.weight.detach().float().cpu()
    return (1 + weight) * (x.pow(2).mean(-1, keepdim=True) + norm.eps).rsqrt()


def _index(index: int, n: int, what: str) -> int:
    if not -n <= index < n:
        raise IndexError(f"There is no {what} {index}: the {what}s are 0 to {n - 1}.")
    return index % n


def _plain(tensor: Tensor) -> Tensor:
    """Without the batch axis, float32, on the CPU."""
    return tensor[0].float().cpu()


def _heads_first(tensor: Tensor, n_heads: int) -> Tensor:
    """[head, position, d_head] from [position, head * d_head], or from [head, position, d_head] as it is.

    A projection gives the first form; transformers splits the heads before it applies a query or key norm.
    """
    if tensor.dim() == 3:
        return tensor
    return tensor.reshape(len(tensor), n_heads, -1).transpose(0, 1)

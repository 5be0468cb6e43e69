"""Capture: one run of the model over a text, and everything inside it on demand.

A capture keeps what enters each layer, by reference. Everything inside a layer is a function of that, so that
`attention(layer)` and `mlp(layer)` call that one layer again with the probes on: a few milliseconds, and memory that
grows with layers x tokens x d_model but never with tokens squared. It keeps the keys and values too, so that a text
which begins like this one need not be run from its start.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from gemma_viz import capture_file, contributions, kept
from gemma_viz.attention import AttentionRule
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.inside import INSIDE_ATTENTION, INSIDE_MLP, INSIDE_SUBLAYERS, MLP, Attention, Sublayers
from gemma_viz.kept import Kept
from gemma_viz.places import from_start
from gemma_viz.ranking import Ranking, TopK, ids_of_interest, rank
from gemma_viz.run import Injection, Run, running
from gemma_viz.tokens import Tokens, tokens_with_ids

if TYPE_CHECKING:
    from gemma_viz.model import Model
    from gemma_viz.patching import Patch


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
        values: Kept | None = None,  # where they are there already: nothing is run
    ):
        self.model = model
        self.text = text
        self.tokens = tokens
        self.edits = edits
        self.patch = patch
        self._injections = (patch.injection_into(model, len(tokens)),) if patch else ()
        self.token_ids = torch.tensor([token.id for token in tokens])
        self._kept = values or self._run_through(earlier)
        self._last_logits: tuple[list[int], Tensor] = [], torch.empty(0)  # of one position: which, and its logits

    def _run_through(self, earlier: "Sequence[Capture]") -> Kept:
        self.edits.check(self.model.spec)
        base = max(earlier, key=self.tokens_shared_with, default=None)
        run = self._run(kept.NAMES)
        with running(run):
            if base is None or not (n_shared := self.tokens_shared_with(base)):
                self.model.forward(self.token_ids)
                return Kept.of(run)
            self.model.forward(self.token_ids[n_shared:], base.past(n_shared))
            return Kept.of(run).after(base._kept, n_shared)

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"<Capture of {len(self)} tokens by {self.model.name}{self._changed}: {self.text[:40]!r}>"

    def _repr_html_(self) -> str:
        spec = self.model.spec
        said = (
            f"Capture of {len(self):,} tokens by {self.model.name} ({spec.family}, {self.model.dtype}){self._changed}: "
            f"the stream at {spec.n_layers + 1} depths, [{len(self):,}, {spec.d_model:,}] each, and keys and values of "
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
        capture_file.write(path, capture_file.of(self, self._kept))

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
        values = saved.kept_on(list(map(model.device_of, range(model.spec.n_layers))))
        return cls(model, saved.text, tokens, saved.edits, values=values)

    @classmethod
    def together(cls, model: "Model", texts: Sequence[str], tokens: Sequence[Tokens]) -> "list[Capture]":
        """Captures of several short texts, without edits, in one pass. Made by `Model.capture_together`.

        The texts stand one after the other in one row, each with positions of its own, and do not see each other.
        Values equal those of a capture made alone up to rounding.
        """
        ids = [torch.tensor([token.id for token in some]) for some in tokens]
        lengths = tuple(map(len, ids))
        run = Run(kept.NAMES, UNCHANGED, lengths=lengths)
        with running(run):
            model.forward(torch.cat(ids), positions=torch.cat([torch.arange(n) for n in lengths]))
        each = zip(texts, tokens, Kept.of(run).apart(lengths), strict=True)
        return [cls(model, text, some, UNCHANGED, values=values) for text, some, values in each]

    @property
    def nbytes(self) -> int:
        """Bytes of the stream, keys and values that it keeps, and of one token's logits."""
        return self._kept.nbytes + self.model.spec.vocab_size * torch.float32.itemsize

    def again(self, edits: Edits) -> "Capture":
        """The same tokens run once more, with other edits and the same patch."""
        return Capture(self.model, self.text, self.tokens, edits, patch=self.patch)

    def ids_with(self, position: int, id: int) -> list[int]:
        """The token ids with another one at a position; for `Model.capture_ids`."""
        ids: list[int] = self.token_ids.tolist()
        ids[self._position(position)] = id
        return ids

    def resid_pre(self, layer: int) -> Tensor:
        """The stream as it enters a layer: float32 [position, d_model]."""
        return _plain(self._kept.stream[self._layer(layer)])

    def resid_mid(self, layer: int) -> Tensor:
        """The stream between a layer's attention and its MLP, replayed: float32 [position, d_model]."""
        return self._replay(self._layer(layer), ("resid_mid",))["resid_mid"]

    def resid_post(self, layer: int) -> Tensor:
        """The stream as it leaves a layer: float32 [position, d_model]."""
        return _plain(self._kept.stream[self._layer(layer) + 1])

    def stream_at(self, position: int) -> Tensor:
        """One token's stream at every depth, from what enters the first layer to what leaves the last.

        float32 [n_layers + 1, d_model]. Raises IndexError for a position outside the prompt.
        """
        return self._stream_at(position).float().cpu()

    def attention(self, layer: int) -> Attention:
        """The inside of a layer's attention, by replaying the layer."""
        index = self._layer(layer)
        return Attention.of(self._replay(index, INSIDE_ATTENTION), self.model.spec, self.rule(index))

    def attention_and_sublayers(self, layer: int) -> tuple[Attention, Sublayers]:
        """As `attention` and `sublayers`, in one replay."""
        index = self._layer(layer)
        values = self._replay(index, (*INSIDE_ATTENTION, *INSIDE_SUBLAYERS[2:]))
        return Attention.of(values, self.model.spec, self.rule(index)), Sublayers.of(values)

    def head_outputs(self, layer: int, position: int) -> Tensor:
        """What each head of a layer adds to the stream of one token: float32 [head, d_model].

        Each head's z through its own columns of o_proj and, on Gemma 2 and 3, times what the norm after
        it multiplied the sum of all heads with. They sum to `attention(layer).out[position]` up to rounding, also in a
        run that leaves attention out.
        """
        return contributions.of_heads(self, self._layer(layer), [self._position(position)], self.attention(layer))[0]

    def mlp(self, layer: int) -> MLP:
        """The inside of a layer's MLP, by replaying the layer."""
        return MLP.of(self._replay(self._layer(layer), INSIDE_MLP))

    def mlp_and_sublayers(self, layer: int) -> tuple[MLP, Sublayers]:
        """As `mlp` and `sublayers`, in one replay."""
        values = self._replay(self._layer(layer), (*INSIDE_SUBLAYERS[:3], *INSIDE_MLP))
        return MLP.of(values), Sublayers.of(values)

    def sublayers(self, layer: int) -> Sublayers:
        """What the two sublayers of a layer make, by replaying the layer."""
        return Sublayers.of(self._replay(self._layer(layer), INSIDE_SUBLAYERS))

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
        places = [self._position(p) for p in positions]
        if tokens is not None or len(places) != 1:
            return self.unembed(self._final_norm(places)[0], tokens)
        if self._last_logits[0] != places:  # a page asks for those of one token again and again
            self._last_logits = places, self.unembed(self._final_norm(places)[0])
        return self._last_logits[1].clone()

    def unembed(self, normed: Tensor, tokens: Sequence[int] | None = None) -> Tensor:
        """Logits that the run would give of some normed streams: float32 [position, vocab_size] from float [position,
        d_model]; of some tokens only, [position, len(tokens)].
        """
        return self.model.unembed(normed.to(self.model.dtype), self.edits, tokens).float().cpu()

    def project(self, normed: Tensor, tokens: Sequence[int] | None = None) -> Tensor:
        """As `unembed`, before any soft-cap."""
        return self.model.project(normed.to(self.model.dtype), self.edits, tokens).float().cpu()

    def logits_with(self, injection: Injection, tokens: Sequence[int]) -> Tensor:
        """Logits after the last token of copies of the text, each with one value put in the place of the run's own.

        Layers before the value are not run again.

        tokens: ids; returns float32 [batch, len(tokens)]
        """
        stream = self._kept.stream[injection.layer].expand(len(injection.positions), -1, -1)
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
        neuron, place = from_start(neuron, self.model.spec.d_mlp, "neuron"), self._position(position)
        return contributions.of_neuron(self, self._layer(layer), neuron, place, self.mlp(layer).projected)

    def ranking(self, targets: Tensor, k: int = 10, layer: int = -1) -> Ranking:
        """The k likeliest tokens after every position, as the output would read them off the stream after a layer.

        targets: int64 [position], the id of a token of interest after each, whose rank and probability are given too:
            `token_ids.roll(-1)` for the token that really follows, of which the last means nothing
        layer: the last gives the model's own prediction, an earlier one the "logit lens"

        Raises ValueError where targets are not one for each position, IndexError for an id outside the vocabulary.
        """
        targets = ids_of_interest(targets, len(self), self.model.spec.vocab_size)
        stream = self._kept.stream[self._layer(layer) + 1]
        with running(self._run()):
            return rank(self._unembed, self.model.hf.model.norm(stream)[0], targets, k)

    def lens(self, position: int, target: int, k: int = 10) -> Ranking:
        """The "logit lens" for one position: `ranking` at every depth, from what enters the first layer to the last.

        target: the id of a token of interest. The rows of the result are n_layers + 1 depths.
        Raises IndexError for a position outside the prompt, or an id outside the vocabulary.

        Source: nostalgebraist, interpreting GPT: the logit lens (2020).
        """
        rows = self._stream_at(position)
        targets = ids_of_interest(torch.full((len(rows),), target), len(rows), self.model.spec.vocab_size)
        with running(self._run()):
            normed = self.model.hf.model.norm(rows)
            return rank(self._unembed, normed, targets, k)

    def _replay(self, layer: int, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Call one layer again on what entered it, up to the last of the named values.

        Values without the batch axis, in float32 on the CPU.
        """
        run = self._run(names, until=names[-1])
        with running(run):
            self.model.forward_layer(layer, self._kept.stream[layer])
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
        return self._kept.past(n)

    def keys_values(self) -> list[tuple[Tensor, Tensor]]:
        """Every layer's keys after RoPE and values: [batch 1, kv_head, position, d_head], in the model's dtype."""
        return self._kept.keys_values

    def _stream_at(self, position: int) -> Tensor:
        """As `stream_at`, in the model's own dtype, where its last layer is."""
        index, last = self._position(position), self._kept.stream[-1].device
        return torch.cat([stream[:, index].to(last) for stream in self._kept.stream])

    def _final_norm(self, positions: Any) -> Tensor:
        """[batch, len(positions), d_model], in the model's own dtype, where its final norm is."""
        with running(self._run()):
            return self.model.hf.model.norm(self._kept.stream[-1][:, positions])

    def _unembed(self, normed: Tensor) -> Tensor:
        """As `unembed`, in the model's own dtype, where its output projection is."""
        return self.model.unembed(normed, self.edits)

    def _run(
        self, keep: Sequence[str] = (), until: str | None = None, injections: tuple[Injection, ...] | None = None
    ) -> Run:
        """A pass, or a part of one, as this capture's own was."""
        return Run(keep, self.edits, until, self._injections if injections is None else injections)

    def _final_factors(self, position: int) -> Tensor:
        """What the final norm multiplies a token's stream with: float32 [d_model]."""
        stream = self.resid_post(-1)[self._position(position)]
        if not self.edits.final_norm:
            return torch.ones_like(stream)
        return contributions.norm_factors(self.model.hf.model.norm, stream)

    def _layer(self, layer: int) -> int:
        return from_start(layer, self.model.spec.n_layers, "layer")

    def _position(self, position: int) -> int:
        return from_start(position, len(self), "position")


def _plain(tensor: Tensor) -> Tensor:
    """Without the batch axis, float32, on the CPU."""
    return tensor[0].float().cpu()

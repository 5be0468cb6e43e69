"""What Gemma Viz is measured against: the usual ways to see inside a model, on the same weights and token ids.

Each gives everything it captured, as something whose tensors can be counted, and the logits after the last token.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnsight
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

PLAIN = "plain pass"
EAGER = "transformers, eager, all logits"
EAGER_LAST = "transformers, eager"
NNSIGHT = "nnsight"
TRANSFORMER_LENS = "TransformerLens"

Subject = Callable[[Tensor], Any]


class Peers:
    """The peers, all loaded; `subjects` maps their names to what runs them on token ids [1, position]."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype):
        self._folder, self._device, self._dtype = folder, device, dtype
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self._plain, self._eager = self._load("sdpa"), self._load("eager")
        self._nnsight = nnsight.TransformersModel(self._load("sdpa"), tokenizer=tokenizer, task="text-generation")
        self._bridge = TransformerBridge.boot_transformers(
            str(folder), hf_model=self._load("eager"), tokenizer=tokenizer, device=str(device), dtype=dtype
        )
        self.subjects: dict[str, Subject] = {
            PLAIN: self.plain,
            EAGER_LAST: self.eager_last,
            EAGER: self.eager,
            NNSIGHT: self.nnsight,
            TRANSFORMER_LENS: self.transformer_lens,
        }

    def _load(self, attention: str) -> PreTrainedModel:
        hf = AutoModelForCausalLM.from_pretrained(self._folder, dtype=self._dtype, attn_implementation=attention)
        return hf.to(self._device).eval()

    @torch.inference_mode()
    def plain(self, ids: Tensor) -> Any:
        """The floor: nothing captured, the last token's logits only."""
        return {"logits": self._plain(ids, use_cache=False, logits_to_keep=1).logits}

    @torch.inference_mode()
    def eager(self, ids: Tensor, **options: Any) -> Any:
        """Patterns and hidden states, with the logits of all positions."""
        out = self._eager(ids, use_cache=False, output_attentions=True, output_hidden_states=True, **options)
        return {"resid_pre": out.hidden_states[:-1], "pattern": out.attentions, "logits": out.logits}

    def eager_last(self, ids: Tensor) -> Any:
        """The same, with the logits of the last position."""
        return self.eager(ids, logits_to_keep=1)

    @torch.inference_mode()
    def nnsight(self, ids: Tensor) -> Any:
        """Stream, attention's and the MLP's outputs of every layer; it gives no patterns under sdpa."""
        with self._nnsight.trace(ids, use_cache=False, logits_to_keep=1):
            layers = list().save()  # noqa: C408  (a literal has no `save`)
            for layer in self._nnsight.model.layers:
                layers.append((layer.input, layer.self_attn.output[0], layer.mlp.output))
            logits = self._nnsight.lm_head.output.save()
        return {"resid_pre": [stream for stream, _, _ in layers], "rest": layers, "logits": logits}

    @torch.inference_mode()
    def transformer_lens(self, ids: Tensor) -> Any:
        """Its whole cache; it has no way to leave the other positions' logits out."""
        logits, cache = self._bridge.run_with_cache(ids)
        layers = range(self._plain.config.num_hidden_layers)
        return {
            "resid_pre": [cache[f"blocks.{layer}.hook_resid_pre"] for layer in layers],
            "pattern": [cache[f"blocks.{layer}.attn.hook_pattern"] for layer in layers],
            "rest": dict(cache.items()),
            "logits": logits,
        }

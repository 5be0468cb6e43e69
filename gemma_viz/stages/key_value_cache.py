"""What keys and values take in memory: of each Gemma, and with a key/value head for every query head."""

from dataclasses import dataclass

from gemma_viz.spec import ModelSpec

BYTES_PER_NUMBER = 2  # bfloat16, in which these models are run


@dataclass(frozen=True)
class Sizes:
    """What decides the size of a model's key/value cache.

    name: str
    n_layers, n_heads, n_kv_heads, d_head: int
    n_local: int, layers that see the last `window` tokens only; window: int, 0 where there is no such layer
    context_length: int, tokens
    """

    name: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    n_local: int
    window: int
    context_length: int

    def cache(self, n_tokens: int, n_kv_heads: int | None = None) -> int:
        """Bytes of the keys and values of a text. n_kv_heads: as many as the model has, if not said."""
        local, n_global = min(n_tokens, self.window), self.n_layers - self.n_local
        vectors = self.n_local * local + n_global * n_tokens
        return 2 * vectors * (n_kv_heads or self.n_kv_heads) * self.d_head * BYTES_PER_NUMBER


# Gemma (arXiv:2403.08295), table 1; Gemma 2 (arXiv:2408.00118), table 1; Gemma 3 (arXiv:2503.19786), section 2, and the
# configuration files that the checkpoints are published with.
FAMILY = (
    Sizes("Gemma 1 2B", 18, 8, 1, 256, 0, 0, 8192),
    Sizes("Gemma 1 7B", 28, 16, 16, 256, 0, 0, 8192),
    Sizes("Gemma 2 2B", 26, 8, 4, 256, 13, 4096, 8192),
    Sizes("Gemma 2 9B", 42, 16, 8, 256, 21, 4096, 8192),
    Sizes("Gemma 2 27B", 46, 32, 16, 128, 23, 4096, 8192),
    Sizes("Gemma 3 270M", 18, 4, 1, 256, 15, 512, 32768),
    Sizes("Gemma 3 1B", 26, 4, 1, 256, 22, 512, 32768),
    Sizes("Gemma 3 4B", 34, 8, 4, 256, 29, 1024, 131072),
    Sizes("Gemma 3 12B", 48, 16, 8, 256, 40, 1024, 131072),
    Sizes("Gemma 3 27B", 62, 32, 16, 128, 52, 1024, 131072),
)


def sizes(spec: ModelSpec, name: str) -> Sizes:
    """The same of a model that is loaded."""
    return Sizes(
        name=name,
        n_layers=spec.n_layers,
        n_heads=spec.n_heads,
        n_kv_heads=spec.n_kv_heads,
        d_head=spec.d_head,
        n_local=sum(kind == "sliding" for kind in spec.layer_kinds),
        window=spec.sliding_window or 0,
        context_length=spec.context_length,
    )

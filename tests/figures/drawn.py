"""Every figure of the app, drawn from a capture."""

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

import gemma_viz as gv
from gemma_viz.figures import attention as draw_attention
from gemma_viz.figures import attribution as draw_attribution
from gemma_viz.figures import comparison as draw_comparison
from gemma_viz.figures import embedding as draw_embedding
from gemma_viz.figures import experiments as draw_experiments
from gemma_viz.figures import head_output as draw_head_output
from gemma_viz.figures import key_value_cache as draw_cache
from gemma_viz.figures import mask as draw_mask
from gemma_viz.figures import mlp as draw_mlp
from gemma_viz.figures import mlp_alone as draw_mlp_alone
from gemma_viz.figures import neuron as draw_neuron
from gemma_viz.figures import output as draw_output
from gemma_viz.figures import patching as draw_patching
from gemma_viz.figures import positions as draw_positions
from gemma_viz.figures import residual as draw_residual
from gemma_viz.figures import rope as draw_rope
from gemma_viz.figures import sampling as draw_sampling
from gemma_viz.figures import tokenization as draw_tokenization
from gemma_viz.figures import toy_mlp as draw_toy_mlp
from gemma_viz.figures import wavelengths as draw_wavelengths
from gemma_viz.figures.extremes import extremes as draw_extremes
from gemma_viz.sampling import Sampling
from gemma_viz.stages import (
    attention,
    attribution,
    comparison,
    embedding,
    experiments,
    head_output,
    heads,
    key_value_cache,
    mask,
    mlp,
    mlp_alone,
    neuron,
    output,
    patching,
    positions,
    residual,
    rope,
    sampling,
    tokenization,
    toy_mlp,
    vocabulary,
)
from gemma_viz.stages import wavelengths as waves
from gemma_viz.tokens import visible
from tests.stages.conftest import by_layer


def labels(cap: gv.Capture) -> list[str]:
    return [token.label for token in cap.tokens]


def _of_tokens(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The pages Tokenization and Embedding."""
    names, label = labels(cap), labels(cap)[position]
    near = embedding.nearest(cap, position)
    similar = embedding.word_similarity(cap.model, (("the", "cat", "red"), ("to", "it", "move")))
    smaller = [vocabulary.smaller_vocabulary(cap.model, cap.text, size) for size in vocabulary.sizes(cap.model)[::4]]
    return {
        "tokenization.lengths": draw_tokenization.lengths(tokenization.tokenization(cap)),
        "tokenization.by_vocabulary_size": draw_tokenization.by_vocabulary_size(smaller, 1000),
        "embedding.rows": draw_embedding.rows(embedding.embedding(cap), names, position),
        "embedding.norms": draw_embedding.norms(embedding.embedding(cap), names, position),
        "embedding.nearest": draw_embedding.nearest(near, label, near.texts),
        "embedding.similarity": draw_embedding.similarity(similar),
        "embedding.places": draw_embedding.places(similar.map, ("line 1", "line 2")),
        "embedding.row_norms": draw_embedding.row_norms(embedding.row_norms(cap.model), 1.0, label),
    }


def _of_the_stream(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page Transformer layer."""
    names, label = labels(cap), labels(cap)[position]
    lens = residual.lens(cap, position)
    scales = residual.residual(by_layer(residual.layer_scales, cap), cap.model.spec)
    return {
        "residual.scale": draw_residual.scale(scales, names, position),
        "residual.share": draw_residual.share(scales, label, position),
        "residual.cosine": draw_residual.cosine(scales, label, position),
        "residual.depth_similarity": draw_residual.depth_similarity(residual.depth_similarity(cap, position), label),
        "residual.lens": draw_residual.lens(lens, lens.texts),
        "residual.followed": draw_residual.followed(lens, label),
        "residual.learned_weights": draw_residual.learned_weights(
            residual.norm_in_numbers(cap, 1, "before MLP", position), "before MLP"
        ),
        "residual.both_runs": draw_residual.both_runs(
            residual.stream_scales(cap, position),
            residual.stream_scales(cap.model.capture(cap.text, gv.Edits(norms=False)), position),
            label,
            "without the norms",
        ),
        "residual.divisor": draw_residual.divisor(scales, label, position),
    }


def _of_attention(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page Attention."""
    names, label = labels(cap), labels(cap)[position]
    head = attention.head(cap, 1, 2, position)
    query = attention.query(cap, 1, 2, position)
    profile = heads.layer_heads(cap, 1).measures.profile[2]
    return {
        "attention.pattern": draw_attention.pattern(head, names, position),
        "attention.profile": draw_attention.profile(profile, "layer 1, head 2"),
        "attention.reads": draw_attention.reads(query, names),
        "attention.scores": draw_attention.scores(query, names),
        "attention.vectors": draw_attention.vectors(query, names, position),
        "attention.products": draw_attention.products(query, names, position),
        "attention.running_sum": draw_attention.running_sum(query, 0, label),
        "attention.weighted_values": draw_attention.weighted_values(query, names),
        **({"attention.whole_pattern": draw_attention.whole_pattern(head, position)} if head.whole is not None else {}),
        "head_output.weight_and_moved": draw_head_output.weight_and_moved(query, names),
        "head_output.by_head": draw_head_output.by_head(head_output.head_outputs(cap, 1, position), 2),
        "mask.masked_scores": draw_mask.masked_scores(mask.all_scores(cap, 1, 2, position), names),
        "mask.shape": draw_mask.shape(mask.mask_shape(300, len(cap))),
        "mask.later_token": draw_mask.later_token(
            mask.LaterToken(position, np.zeros(len(cap)), np.ones(len(cap))), names
        ),
        "key_value_cache.sharing": draw_cache.sharing(8, 2, 3),
        "key_value_cache.cache": draw_cache.cache(key_value_cache.FAMILY, 8192),
    }


def _of_rope(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page RoPE."""
    names, label = labels(cap), labels(cap)[position]
    lengths = by_layer(waves.pair_lengths, cap)
    sensitivity = np.stack(by_layer(positions.position_sensitivity, cap))
    stretched = positions.changed_patterns(cap, cap.model.capture(cap.text, gv.Edits(rope_stretch=2.0)), 1, position)
    return {
        "rope.rotation": draw_rope.rotation(rope.rotation(cap, 1, 2, 3), names, position),
        "rope.query": draw_rope.query(rope.vectors(cap, 1, 2, position), label),
        "rope.score_by_distance": draw_rope.score_by_distance(
            rope.score_by_distance(cap, 1, 2, position, 0, 100), label, names[0]
        ),
        "rope.contributions": draw_rope.contributions(rope.contributions(cap, 1, 2, position, 0), label, names[0]),
        "wavelengths.wavelengths": draw_wavelengths.wavelengths(waves.wavelengths(cap), len(cap), 3),
        "wavelengths.pair_lengths": draw_wavelengths.pair_lengths(lengths[1], 1, 2),
        "wavelengths.q_lengths_of_all": draw_wavelengths.pair_lengths_of_all(lengths, "q"),
        "wavelengths.k_lengths_of_all": draw_wavelengths.pair_lengths_of_all(lengths, "k"),
        "positions.sensitivity": draw_positions.sensitivity(sensitivity, 1, 2),
        "positions.before": draw_positions.pattern(stretched, False, 2, names, position, "Pattern as it is"),
        "positions.after": draw_positions.pattern(stretched, True, 2, names, position, "Pattern stretched"),
    }


def _of_mlps(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page MLP."""
    names, label = labels(cap), labels(cap)[position]
    neurons = mlp.neurons(cap, 1, position)
    read, toy = neuron.reads(cap.model, 1, 3).gate, toy_mlp.drawn(1)
    other = max(position - 1, 0)
    line = mlp_alone.between(cap, 1, position, other)
    return {
        "mlp.gelu_curve": draw_mlp.gelu_curve(neurons),
        "mlp.gate_and_up": draw_mlp.gate_and_up(neurons, label),
        "mlp.most_active": draw_mlp.most_active(neurons, label),
        "mlp.distributions": draw_mlp.distributions(neurons, label),
        "mlp.most_carrying": draw_mlp.most_carrying(neurons, label),
        "mlp.cumulative": draw_mlp.cumulative(neurons, label),
        "neuron.over_prompt": draw_neuron.over_prompt(neuron.activations(cap, 1, 3), names, 3, position),
        "extremes.extremes": draw_extremes(read, read.highest, read.lowest, "Reads", "gate"),
        "mlp_alone.differences": draw_mlp_alone.differences(
            mlp_alone.alone(cap, cap.model.capture_ids([5] * len(cap)), 1, position), names, position
        ),
        "mlp_alone.one_neuron": draw_mlp_alone.one_neuron(line, (label, names[other])),
        "mlp_alone.components": draw_mlp_alone.components(line, (label, names[other])),
        "toy_mlp.surface": draw_toy_mlp.surface(toy_mlp.plane("GeGLU", toy), toy, "GeGLU", 0.5),
        "toy_mlp.regions": draw_toy_mlp.regions(toy_mlp.plane("ReLU", toy), toy, toy_mlp.n_regions(toy)),
        "toy_mlp.along": draw_toy_mlp.along(toy_mlp.along(toy, 0.5), 0.5, "ReLU"),
        "toy_mlp.activations": draw_toy_mlp.activations(toy_mlp.activations()),
        "toy_mlp.difference": draw_toy_mlp.difference(toy_mlp.activations()),
    }


def _of_the_output(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The pages Output and Generation."""
    names, label = labels(cap), labels(cap)[position]
    predictions = output.predictions(cap)
    texts = [[visible(text) for text in row] for row in predictions.texts]
    compared = output.compare(cap, cap.model.capture(cap.text, gv.Edits(rope=False)), position)
    chosen = sampling.choice(cap, position, Sampling(temperature=0.8, top_k=40, top_p=0.9, min_p=0.05))
    chosen_labels = [visible(text) for text in chosen.texts]
    added = by_layer(lambda cap, layer: attribution.additions(cap, layer, [position])[0], cap)
    parts = attribution.split(cap, position, added, *cap.top_k(2, position).ids)
    curve = output.SoftCap(3.0, (label, "<b>"), np.array([4, -2], np.float32), np.array([2.6, -1.7], np.float32))
    return {
        "output.next_tokens": draw_output.next_tokens(
            texts[position], predictions.probabilities[position], predictions.logits[position]
        ),
        "output.along_prompt": draw_output.along_prompt(predictions, texts, names, position),
        "output.surprise": draw_output.surprise(predictions, names, position),
        "output.surprise_over_text": draw_output.surprise_over_text(predictions, names, position),
        "output.soft_cap": draw_output.soft_cap(curve),
        "output.norms": draw_output.norms(output.final_norm(cap), names, position),
        "output.side_by_side": draw_output.side_by_side(compared, compared.texts, "without RoPE"),
        "sampling.steps": draw_sampling.steps(chosen, chosen_labels, chosen.steps),
        "sampling.line": draw_sampling.line(chosen, chosen_labels),
        "sampling.drawn": draw_sampling.drawn(chosen, chosen_labels),
        "attribution.largest_parts": draw_attribution.largest_parts(parts, label),
        "attribution.parts_map": draw_attribution.parts_map(parts, label),
    }


def _of_changes(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page Experiments."""
    label = labels(cap)[position]
    tried = experiments.switches(cap.model.spec)[:2]
    kept = experiments.Outcome(label, 0.3, 1, "<b>", 0.3, 0.01, 3.5, True)
    outcomes = (kept, replace(kept, kl_divergence=np.nan, is_finite=False))
    losses = np.linspace(0, 9, 1800, dtype=np.float32)
    mean = experiments.mean_of([losses])
    return {
        "experiments.damage": draw_experiments.damage(tried, ("a", "b"), outcomes, "Damage"),
        "experiments.losses": draw_experiments.losses(("a", "b"), (mean, mean), mean),
        "experiments.token_losses": draw_experiments.token_losses(losses, losses),
    }


def _of_patches(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page Patching."""
    names = labels(cap)
    differences = np.linspace(-3, 2, 4 * len(cap), dtype=np.float32).reshape(4, len(cap))
    denoised = patching.PatchMap("denoise", differences, 2.0, -1.0)
    three = patching.three_runs(cap, cap, cap, 5, 6)
    return {
        "patching.recovered": draw_patching.recovered(denoised, "what the MLP adds", names, names[::-1], (1, position)),
        "patching.by_layer": draw_patching.by_layer(denoised, names, [0, len(cap) - 1], position),
        "patching.three_runs": draw_patching.three_runs(three, [visible(text) for text in three.texts]),
    }


def _of_two_runs(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """The page Compare."""
    names, label = labels(cap), labels(cap)[position]
    lens = residual.lens(cap, position)
    changed = cap.again(gv.Edits(window=2))
    apart = comparison.streams(cap, changed)
    heads_apart = np.stack(by_layer(lambda cap, layer: comparison.head_distances(cap, layer, changed), cap))
    patterns = comparison.head_patterns(cap, 1, changed, 2, position)
    both_outputs, runs = comparison.outputs(cap, changed, position, position), ("as it was", "a <b>window")
    return {
        "comparison.streams": draw_comparison.streams(apart, names, position),
        "comparison.stream_by_depth": draw_comparison.stream_by_depth(apart, position, label),
        "comparison.tokens_by_depth": draw_comparison.tokens_by_depth((lens, lens), runs, (label, "<b>"), "Answers"),
        "comparison.head_distances": draw_comparison.head_distances(heads_apart, 1, 2),
        **{
            f"comparison.{which}": draw_comparison.pattern(patterns, which, names, position, f"Pattern {label}")
            for which in ("left", "right", "difference")
        },
        "comparison.likeliest": draw_comparison.likeliest(both_outputs, runs),
        "comparison.changes": draw_comparison.changes(both_outputs, runs),
    }


PAGES = (
    _of_tokens,
    _of_the_stream,
    _of_attention,
    _of_rope,
    _of_mlps,
    _of_the_output,
    _of_changes,
    _of_patches,
    _of_two_runs,
)


def all_figures(cap: gv.Capture, position: int) -> dict[str, go.Figure]:
    """Every figure of every page, as the pages draw them."""
    return {name: figure for page in PAGES for name, figure in page(cap, position).items()}

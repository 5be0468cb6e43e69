"""The scale of the stream and of what is added to it, one token on its way, and the norms."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import residual
from tests.conftest import PROMPT
from tests.stages.conftest import by_layer


def scales(cap: gv.Capture) -> residual.Residual:
    return residual.residual(by_layer(residual.layer_scales, cap), cap.model.spec)


def test_shares_cosines_and_divisors_are_those_of_the_stream(cap: gv.Capture) -> None:
    values = scales(cap)
    n_layers, eps = cap.model.spec.n_layers, cap.model.spec.norm_eps
    assert values.stream_rms.shape == (2 * n_layers + 1, len(cap))
    for layer in range(n_layers):
        stream, middle, after = (
            tensor.double().numpy() for tensor in (cap.resid_pre(layer), cap.resid_mid(layer), cap.resid_post(layer))
        )
        for share, cosine, before, update in (
            (values.attention_share[layer], values.attention_cosine[layer], stream, middle - stream),
            (values.mlp_share[layer], values.mlp_cosine[layer], middle, after - middle),
        ):
            var_r, var_s = update.var(-1, ddof=1), before.var(-1, ddof=1)
            np.testing.assert_allclose(share, np.sqrt(var_r / (var_r + var_s)), rtol=1e-3)
            lengths = np.linalg.norm(update, axis=-1) * np.linalg.norm(before, axis=-1)
            np.testing.assert_allclose(cosine, (update * before).sum(-1) / lengths, atol=1e-4)
        given = {"before attention": stream, "before MLP": middle}
        if cap.model.spec.post_norms:
            given["after attention"] = cap.attention(layer).projected.numpy()
            given["after MLP"] = cap.mlp(layer).projected.numpy()
        assert values.divisors.keys() == given.keys()
        for place, x in given.items():
            np.testing.assert_allclose(values.divisors[place][layer], np.sqrt((x**2).mean(-1) + eps), rtol=1e-5)
        np.testing.assert_allclose(values.stream_rms[2 * layer + 1], np.sqrt((middle**2).mean(-1)), rtol=1e-5)


def test_the_lens_reads_every_depth_through_the_final_norm(cap: gv.Capture) -> None:
    position, spec = 3, cap.model.spec
    values = residual.lens(cap, position)
    assert values.target == cap.top_k(1, position).ids[0]
    for depth in range(spec.n_layers + 1):
        stream = cap.resid_pre(0) if depth == 0 else cap.resid_post(depth - 1)
        with torch.no_grad():
            logits = cap.model.hf.lm_head(cap.model.hf.model.norm(stream[position].to(cap.model.device))).cpu()
        if spec.final_softcap:
            logits = spec.final_softcap * torch.tanh(logits / spec.final_softcap)
        shares = logits.double().softmax(-1)
        np.testing.assert_allclose(values.probabilities[depth], shares[values.ids[depth]].numpy(), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(values.probabilities[depth], shares.topk(5).values.numpy(), rtol=1e-3, atol=1e-6)
        assert values.target_probabilities[depth] == pytest.approx(float(shares[values.target]), rel=1e-3, abs=1e-6)
    assert values.target_ranks[-1] == 1
    assert (values.ids[values.leads_from :, 0] == values.target).all()
    assert values.leads_from == 0 or values.ids[values.leads_from - 1, 0] != values.target


def test_the_lens_follows_the_token_that_is_asked_for(cap: gv.Capture) -> None:
    values = residual.lens(cap, 2, target=11)
    assert values.target == 11
    logits = cap.logits([2])[0]
    assert values.target_probabilities[-1] == pytest.approx(float(logits.softmax(-1)[11]), rel=1e-3, abs=1e-7)
    assert values.target_ranks[-1] == int((logits > logits[11]).sum()) + 1


def test_depths_are_compared_by_cosine(cap: gv.Capture) -> None:
    values = residual.depth_similarity(cap, 4)
    stream = [cap.resid_pre(0)[4].double(), *(cap.resid_post(layer)[4].double() for layer in range(4))]
    for i, a in enumerate(stream):
        for j, b in enumerate(stream):
            assert values[i, j] == pytest.approx(float(a @ b / a.norm() / b.norm()), abs=1e-5)


def test_a_norm_in_numbers_is_the_formula_and_the_model(cap: gv.Capture) -> None:
    for place in residual.norm_places(cap.model.spec):
        values = residual.norm_in_numbers(cap, 2, place, 5)
        assert values.rms == pytest.approx(np.sqrt((values.x.astype(np.float64) ** 2).mean() + 1e-5), rel=1e-5)
        result = values.x / values.rms * (1 + values.weight)
        np.testing.assert_allclose(result, values.normed, rtol=1e-4, atol=1e-5)


def test_scales_of_an_edited_run_are_its_own(cap: gv.Capture) -> None:
    edits = gv.Edits(mlp_norms=False, layers=frozenset({1}))
    edited = cap.model.capture(PROMPT, edits)
    values = residual.stream_scales(edited, 3)
    rms = [edited.resid_pre(0)[3], *(edited.resid_post(layer)[3] for layer in range(4))]
    np.testing.assert_allclose(values, [float(x.double().pow(2).mean().sqrt()) for x in rms], rtol=1e-5)
    untouched = residual.stream_scales(cap, 3)
    np.testing.assert_array_equal(values[:2], untouched[:2])
    assert not np.allclose(values[2:], untouched[2:])


def test_the_first_attention_s_share_is_larger_without_the_rescaling(embedded: gv.Model) -> None:
    cap = embedded.capture("I want to move")
    as_it_is, unscaled = (
        residual.layer_scales(capture, 0).attention_share[3]
        for capture in (cap, embedded.capture(cap.text, gv.Edits(embedding_scale=False)))
    )
    assert as_it_is < unscaled < 1

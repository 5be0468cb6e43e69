"""The scale of the stream and of what is added to it."""

import numpy as np

import gemma_viz as gv
from gemma_viz.stages import residual
from tests.stages.conftest import by_layer


def test_shares_and_divisors_are_those_of_the_stream(cap: gv.Capture) -> None:
    values = residual.residual(by_layer(residual.layer_scales, cap), cap.model.spec.norm_eps)
    n_layers = cap.model.spec.n_layers
    assert values.stream_rms.shape == (2 * n_layers + 1, len(cap))
    for layer in range(n_layers):
        stream, after = cap.resid_pre(layer).numpy(), cap.resid_mid(layer).numpy()
        update = after - stream
        var_r, var_s = update.var(-1, ddof=1), stream.var(-1, ddof=1)
        np.testing.assert_allclose(values.attention_share[layer], np.sqrt(var_r / (var_r + var_s)), rtol=1e-4)
        rms = np.sqrt((stream**2).mean(-1) + cap.model.spec.norm_eps)
        np.testing.assert_allclose(values.attention_divisor[layer], rms, rtol=1e-5)
        np.testing.assert_allclose(values.stream_rms[2 * layer + 1], np.sqrt((after**2).mean(-1)), rtol=1e-5)

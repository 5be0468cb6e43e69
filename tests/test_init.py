"""The names that notebooks use."""

import re
from pathlib import Path

import torch

import gemma_viz as gv

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_everything_that_is_announced_is_there() -> None:
    assert all(hasattr(gv, name) for name in gv.__all__)


def test_the_readme_s_notebook_lines_run(embedded: gv.Model) -> None:
    section = README.split("## In a notebook")[1].split("##")[0]
    lines = re.findall(r"^    (\S.*)", section, re.MULTILINE)
    assert len(lines) >= 7
    namespace = {"gv": gv, "model": embedded}
    for line in lines:
        if "gv.load" not in line:  # the fixture has loaded it
            exec(line, namespace)


def test_a_capture_gives_shapes_as_announced(embedded: gv.Model) -> None:
    spec, cap = embedded.spec, embedded.capture("I want to move")
    n = len(cap)
    assert cap.token_ids.shape == (n,)
    assert cap.token_ids.dtype == torch.int64
    assert [token.id for token in cap.tokens] == cap.token_ids.tolist()
    assert cap.resid_pre(0).shape == cap.resid_mid(0).shape == cap.resid_post(0).shape == (n, spec.d_model)
    attention, mlp = cap.attention(3), cap.mlp(3)
    assert attention.q.shape == attention.rot_q.shape == attention.z.shape == (spec.n_heads, n, spec.d_head)
    assert attention.k.shape == attention.rot_k.shape == attention.v.shape == (spec.n_kv_heads, n, spec.d_head)
    assert attention.scores.shape == attention.pattern.shape == (spec.n_heads, n, n)
    assert mlp.gate.shape == mlp.up.shape == mlp.act.shape == (n, spec.d_mlp)
    assert attention.out.shape == mlp.out.shape == (n, spec.d_model)
    assert cap.logits([0, -1]).shape == (2, spec.vocab_size)

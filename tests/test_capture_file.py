"""Capture files: what is saved comes back with the same bits, and anything else is refused with a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import gemma_viz as gv
from gemma_viz.capture_file import digest
from gemma_viz.errors import CaptureFileError
from gemma_viz.patching import Patch
from gemma_viz.stages.output import predictions
from tests.conftest import PROMPT, load_tiny, save_tiny, tiny_model

LAYER_VALUES = ("input", "q", "rot_q", "k", "rot_k", "v", "z", "scores", "pattern", "projected", "out")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.safetensors"


@pytest.fixture
def saved(tiny_models: dict[str, gv.Model], path: Path) -> Path:
    """A file of the tiny Gemma 3."""
    tiny_models["gemma3"].capture(PROMPT).save(path)
    return path


def assert_same(one: gv.Capture, other: gv.Capture) -> None:
    """Bit for bit, in all that a capture gives."""
    assert (one.text, one.tokens, one.edits) == (other.text, other.tokens, other.edits)
    assert torch.equal(one.token_ids, other.token_ids)
    for layer in range(one.model.spec.n_layers):
        assert torch.equal(one.resid_pre(layer), other.resid_pre(layer))
        assert torch.equal(one.resid_mid(layer), other.resid_mid(layer))
        for name in LAYER_VALUES:
            assert torch.equal(getattr(one.attention(layer), name), getattr(other.attention(layer), name)), name
        assert torch.equal(one.mlp(layer).act, other.mlp(layer).act)
        for mine, others in zip(one.keys_values()[layer], other.keys_values()[layer], strict=True):
            assert torch.equal(mine, others)
    assert torch.equal(one.logits([0, -1]), other.logits([0, -1]))


@pytest.mark.parametrize(
    "edits",
    [gv.Edits(), gv.Edits(rope=False, layers=frozenset({1, 3})), gv.Edits(causal_mask=False, activation="relu")],
    ids=str,
)
def test_a_capture_comes_back_with_the_same_bits(tiny: gv.Model, edits: gv.Edits, path: Path) -> None:
    cap = tiny.capture(PROMPT, edits)
    cap.save(path)
    assert_same(gv.Capture.open(path, tiny), cap)


def test_a_run_whose_heads_were_named_in_a_plain_set_comes_back(tiny: gv.Model, path: Path) -> None:
    cap = tiny.capture(PROMPT, gv.Edits(without_heads={(2, 1)}))  # type: ignore[arg-type]
    cap.save(path)
    assert gv.Capture.open(path, tiny).edits == cap.edits


def test_replays_of_the_real_model_give_the_same_bits(embedded: gv.Model, path: Path) -> None:
    cap = embedded.capture("I want to move")
    cap.save(path)
    back = gv.Capture.open(path, embedded)
    assert_same(back, cap)
    for layer in range(embedded.spec.n_layers):
        assert torch.equal(back.replayed_resid_post(layer), cap.resid_post(layer))
    assert predictions(back).texts == predictions(cap).texts


def test_without_a_model_it_is_loaded_by_its_name(saved: Path, tiny_models: dict[str, gv.Model]) -> None:
    back = gv.Capture.open(saved)
    assert back.model is not tiny_models["gemma3"]
    assert back.model.name == tiny_models["gemma3"].name
    assert_same(back, tiny_models["gemma3"].capture(PROMPT))


def test_the_model_is_loaded_in_the_dtype_it_was_captured_in(tiny_checkpoints: dict[str, Path], path: Path) -> None:
    coarse = gv.load(tiny_checkpoints["gemma1"], dtype=torch.bfloat16)
    cap = coarse.capture(PROMPT)
    cap.save(path)
    back = gv.Capture.open(path)
    assert back.model.dtype == torch.bfloat16
    assert_same(back, cap)


def test_a_text_that_begins_alike_goes_on_from_a_saved_one(tiny_models: dict[str, gv.Model], saved: Path) -> None:
    model = tiny_models["gemma3"]
    longer = model.capture(PROMPT + " moving", earlier=[gv.Capture.open(saved, model)])
    torch.testing.assert_close(longer.logits([-1]), model.capture(PROMPT + " moving").logits([-1]))


@pytest.mark.parametrize("text", ["é<bos>ᚠ🙂\n", "  ", "\x00"])
def test_any_text_comes_back(tiny: gv.Model, text: str, path: Path) -> None:
    cap = tiny.capture(text)
    cap.save(path)
    assert_same(gv.Capture.open(path, tiny), cap)


def test_token_ids_that_the_tokenizer_would_not_give_come_back(tiny: gv.Model, path: Path) -> None:
    cap = tiny.capture_ids([*tiny.capture("the").token_ids.tolist(), 300, 301])
    cap.save(path)
    assert_same(gv.Capture.open(path, tiny), cap)


def test_the_layout_is_as_documented(embedded: gv.Model, path: Path) -> None:
    spec, cap = embedded.spec, embedded.capture("I want to move", gv.Edits(rope=False))
    cap.save(path)
    n, tensors = len(cap), load_file(path)
    for depth in range(spec.n_layers + 1):
        assert tensors.pop(f"resid/{depth}").shape == (n, spec.d_model)
    for layer in range(spec.n_layers):
        for kind in ("rot_k", "values"):
            assert tensors.pop(f"{kind}/{layer}").shape == (spec.n_kv_heads, n, spec.d_head)
    assert torch.equal(tensors.pop("token_ids"), cap.token_ids)
    assert tensors.pop("spans").tolist() == [list(token.span or (-1, -1)) for token in cap.tokens]
    assert not tensors
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "gemma-viz-capture"
    assert metadata["version"] == "1"
    assert (metadata["model"], metadata["text"], metadata["edits"]) == ("embedded", "I want to move", "rope-off")
    assert json.loads(metadata["spec"])["n_layers"] == spec.n_layers


# What is refused


def test_a_file_that_is_not_there_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(CaptureFileError, match=r"There is no file 'away\.safetensors'") as refused:
        gv.Capture.open(tmp_path / "away.safetensors")
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 64, b"{}" * 50])
def test_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CaptureFileError, match="cannot be read"):
        gv.Capture.open(path)


def test_tensors_of_another_kind_are_refused(path: Path) -> None:
    save_file({"weight": torch.ones(2)}, path, metadata={"format": "pt"})
    with pytest.raises(CaptureFileError, match="not a capture file"):
        gv.Capture.open(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CaptureFileError, match="cut short"):
        gv.Capture.open(saved)


@pytest.mark.parametrize("place", [-1, -20_000])
def test_one_flipped_bit_is_noticed(saved: Path, place: int) -> None:
    content = bytearray(saved.read_bytes())
    content[place] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CaptureFileError, match="is damaged"):
        gv.Capture.open(saved)


def test_a_changed_text_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content.replace(b"zebra", b"horse"))
    with pytest.raises(CaptureFileError, match="is damaged"):
        gv.Capture.open(saved)


def rewrite(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], None]) -> None:
    """Change a file as another program could, with a sha256 that fits."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    metadata["sha256"] = digest(tensors, metadata)
    save_file(tensors, path, metadata)


def test_another_version_is_refused_and_says_who_can_read_it(saved: Path) -> None:
    rewrite(saved, lambda tensors, metadata: metadata.update(version="2", gemma_viz="9.1"))
    with pytest.raises(CaptureFileError, match=r"version '2'.*reads version 1.*9\.1"):
        gv.Capture.open(saved)


@pytest.mark.parametrize("name", ["resid/2", "values/0", "token_ids", "spans"])
def test_a_missing_tensor_is_noticed(saved: Path, name: str) -> None:
    rewrite(saved, lambda tensors, metadata: tensors.__delitem__(name))
    with pytest.raises(CaptureFileError, match="is damaged"):
        gv.Capture.open(saved)


@pytest.mark.parametrize("name", ["spec", "edits", "model"])
def test_a_missing_text_is_noticed(saved: Path, name: str) -> None:
    rewrite(saved, lambda tensors, metadata: metadata.__delitem__(name))
    with pytest.raises(CaptureFileError, match="is damaged"):
        gv.Capture.open(saved)


def test_a_tensor_of_another_shape_is_noticed(saved: Path) -> None:
    rewrite(saved, lambda tensors, metadata: tensors.update({"resid/1": tensors["resid/1"][1:].clone()}))
    with pytest.raises(CaptureFileError, match="is damaged"):
        gv.Capture.open(saved)


def test_a_token_that_the_vocabulary_has_not_is_noticed(saved: Path) -> None:
    rewrite(saved, lambda tensors, metadata: tensors["token_ids"].__setitem__(0, 1_000_000))
    with pytest.raises(CaptureFileError, match="is damaged"):
        gv.Capture.open(saved)


def test_changes_of_a_later_version_are_refused(saved: Path) -> None:
    rewrite(saved, lambda tensors, metadata: metadata.update(edits="wormholes-on", gemma_viz="9.1"))
    with pytest.raises(CaptureFileError, match=r"does not know \(wormholes-on\).*9\.1"):
        gv.Capture.open(saved)


def test_a_model_of_other_sizes_is_refused(saved: Path, tiny_models: dict[str, gv.Model]) -> None:
    with pytest.raises(CaptureFileError, match=r"Gemma 3, 4 layers.*Gemma 1.*other sizes or settings"):
        gv.Capture.open(saved, tiny_models["gemma1"])


def test_a_model_of_other_weights_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = save_tiny("gemma3", tmp_path / "trained", bos=True)
    changed = tiny_model("gemma3", load_tiny(folder).spec.vocab_size)
    with torch.no_grad():
        changed.model.layers[2].mlp.up_proj.weight.mul_(1.01)
    changed.save_pretrained(folder)
    with pytest.raises(CaptureFileError, match="other weights"):
        gv.Capture.open(saved, load_tiny(folder))


def test_a_model_of_another_dtype_is_refused(saved: Path, tiny_checkpoints: dict[str, Path]) -> None:
    coarse = gv.load(tiny_checkpoints["gemma3"], device="cpu", dtype=torch.bfloat16)
    with pytest.raises(CaptureFileError, match=r"float32.*bfloat16.*dtype=torch\.float32"):
        gv.Capture.open(saved, coarse)


# Writing


def test_a_patched_run_is_not_saved_but_both_texts_are(tiny: gv.Model, path: Path) -> None:
    source = tiny.capture("the cat")
    patched = tiny.capture("the red", patch=Patch(source, "resid_pre", 1, 1))
    with pytest.raises(CaptureFileError, match="Save the runs of both texts"):
        patched.save(path)
    source.save(path)
    again = tiny.capture("the red", patch=Patch(gv.Capture.open(path, tiny), "resid_pre", 1, 1))
    assert torch.equal(again.logits([-1]), patched.logits([-1]))
    assert "resid_pre of another run in layer 1" in repr(patched)


def test_saving_replaces_and_leaves_nothing_else_behind(saved: Path, tiny_models: dict[str, gv.Model]) -> None:
    cap = tiny_models["gemma3"].capture("the cat")
    cap.save(saved)
    assert_same(gv.Capture.open(saved, cap.model), cap)
    assert list(saved.parent.iterdir()) == [saved]


def test_a_write_that_fails_leaves_the_old_file(
    saved: Path, tiny_models: dict[str, gv.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full_disk(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(CaptureFileError, match="could not be written"):
        tiny_models["gemma3"].capture("the cat").save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_not_there_is_a_sentence(tiny_models: dict[str, gv.Model], tmp_path: Path) -> None:
    with pytest.raises(CaptureFileError, match="Check that its folder is there"):
        tiny_models["gemma3"].capture("the cat").save(tmp_path / "no" / "such.safetensors")

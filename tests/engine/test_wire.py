"""What goes between pages and the engine comes back as it was, and nothing else comes in."""

import msgpack
import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz import errors, steps
from gemma_viz.engine import wire
from gemma_viz.engine.keys import CaptureKey, ModelKey, PatchKey, Request
from gemma_viz.sampling import Sampling
from gemma_viz.stages import attribution, heads

PLAIN = [None, True, 0, -(2**70), 2**63, 1.5, float("inf"), "é🙂\x00", b"\xff", (1, (2, ())), [1, [2]], {"a": (1,)}]
OTHERS = [range(2, 9, 3), frozenset({3, 1}), {2}]
RECORDS = [
    gv.Edits(layers=frozenset({1, 2}), without_heads=((0, 1),), rope=False),
    Request("gemma_viz.stages.heads:layer_heads", ((CaptureKey("m", "a\nb"), 3), (ModelKey("m"),))),
    CaptureKey("m", "", (2, 5), gv.Edits(mlp=False), PatchKey(CaptureKey("m", "x"), "z", 1, 2, 3)),
    Sampling(temperature=0.5, top_k=3, seed=9),
    attribution.Part("MLP", "layer 1", 0.5),
    gv.model.NearestTokens((1,), ("a",), (0.5,)),
]


@pytest.mark.parametrize("value", [*PLAIN, *OTHERS, *RECORDS], ids=repr)
def test_a_value_comes_back_equal_and_of_the_same_type(value: object) -> None:
    back = wire.decode(wire.encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_come_back_and_are_not_to_be_written_to(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(6).reshape(2, 3)[: shape[0] if shape else 1].astype(dtype) if shape else np.array(1, dtype)
    back = wire.decode(wire.encode({"a": array.T}))["a"]
    np.testing.assert_array_equal(back, array.T)
    assert back.dtype == array.dtype
    with pytest.raises(ValueError, match="read-only"):
        back[...] = 0


def test_numbers_of_numpy_come_back_as_numbers() -> None:
    assert wire.decode(wire.encode((np.float32(0.5), np.int64(3), np.float64("nan"))))[:2] == (0.5, 3)


def test_errors_come_back_with_all_they_say() -> None:
    error = errors.SeveralTokens("zebra", ("a", "b"))
    back = wire.decode(wire.encode(error))
    assert (str(back), back.word, back.pieces) == (str(error), error.word, error.pieces)
    assert str(wire.decode(wire.encode(errors.TooManyTokens("too many")))) == "too many"


def test_the_steps_of_a_check_come_back_as_the_functions_they_are() -> None:
    assert wire.decode(wire.encode((steps.rms_norm,))) == (steps.rms_norm,)


def test_what_stages_give_comes_back(tiny: gv.Model) -> None:
    values = heads.layer_heads(tiny.capture("the red cat"), 1)
    back = wire.decode(wire.encode(values))
    np.testing.assert_array_equal(back.maps, values.maps)
    np.testing.assert_array_equal(back.measures.profile, values.measures.profile)


def test_the_same_value_has_the_same_name_and_another_has_another() -> None:
    keys = [CaptureKey("m", "a"), CaptureKey("m", "b"), CaptureKey("m", "a", edits=gv.Edits(rope=False)), ("m", "a")]
    assert len({wire.digest(key) for key in keys}) == len(keys)
    assert wire.digest(frozenset(range(100))) == wire.digest(frozenset(reversed(range(100))))
    assert wire.digest(CaptureKey("m", "a")) == wire.digest(CaptureKey("m", "a"))


NOT_SENT = [object(), print, np.array([object()]), ValueError("no"), lambda: 0, gv.Model, wire.named]


@pytest.mark.parametrize("value", NOT_SENT, ids=lambda value: type(value).__name__)
def test_nothing_else_is_sent(value: object) -> None:
    with pytest.raises(wire.WireError, match="Cannot be sent"):
        wire.encode(value)


def record(module: str, name: str, parts: object) -> bytes:
    return msgpack.packb(msgpack.ExtType(wire.RECORD, msgpack.packb([module, name, parts])))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x93\x01",
        record("os", "system", ["true"]),
        record("gemma_viz.__main__", "main", []),
        record("gemma_viz.cli", "main", []),
        record("gemma_viz.edits", "replace", {}),
        record("gemma_viz.edits", "Edits.of", {}),
        record("gemma_viz.edits", "Edits", {"nonsense": 1}),
        record("gemma_viz.errors", "Busy", ["x"]),
        msgpack.packb(msgpack.ExtType(wire.FUNCTION, msgpack.packb(["gemma_viz.checkpoints", "load"]))),
        msgpack.packb(msgpack.ExtType(wire.ERROR, msgpack.packb(["gemma_viz.edits", "Edits", []]))),
        msgpack.packb(msgpack.ExtType(wire.ARRAY, b"\x05\x00junk!")),
        msgpack.packb(msgpack.ExtType(99, b"")),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(data)

"""Requests and answers as bytes, and back: msgpack, with a few types of ours. Nothing that is read is ever executed.

What can be sent: None, bool, int, float, str, bytes, tuple, list, dict, set of hashable values, range, numpy arrays of
numbers, and the frozen dataclasses, named tuples, errors and steps that `gemma_viz` itself defines in the modules named
below. The same value gives the same bytes, so that a digest of them is a name for it.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache, partial
from hashlib import sha256
from types import FunctionType
from typing import Any

import msgpack
import numpy as np

from gemma_viz.errors import GemmaVizError

# Of these modules classes are made again, and functions found, by their name. None of them does anything when imported.
MODULES = re.compile(
    r"gemma_viz\.((attention|edits|errors|generation|model|patching|ranking|sampling|spec|steps|tokens)|(engine\.keys)"
    r"|report|stages|(stages\.[a-z_]+))"
)

ARRAY, TUPLE, SET, RANGE, RECORD, ERROR, FUNCTION, INTEGER = range(8)


class WireError(ValueError):
    """Bytes that are no message of ours, or a value that cannot be sent."""


def encode(value: Any) -> bytes:
    """A value as bytes. Raises WireError where it holds something else than what can be sent."""
    encoded: bytes = _packed(value)
    return encoded


def decode(data: bytes) -> Any:
    """The value of some bytes; arrays are not to be written to. Raises WireError where they hold no such value."""
    try:
        return msgpack.unpackb(data, ext_hook=_extension, strict_map_key=False, use_list=True)
    except WireError:
        raise
    except Exception as error:  # whatever is wrong with bytes from elsewhere
        raise WireError(f"Not a message: {type(error).__name__}") from error


def digest(value: Any) -> bytes:
    """A name for a value, the same in every process."""
    return sha256(encode(value)).digest()


def _packed(value: Any) -> Any:
    try:
        return msgpack.packb(value, default=_as_extension, strict_types=True)
    except (TypeError, OverflowError) as error:
        raise WireError(f"Cannot be sent: {error}") from error


def _as_extension(value: Any) -> Any:
    kind = type(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(ARRAY, _array_bytes(value))
    if kind is tuple:
        return msgpack.ExtType(TUPLE, _packed(list(value)))
    if kind in (set, frozenset):
        return msgpack.ExtType(SET, _packed([kind is frozenset, sorted(value)]))
    if kind is range:
        return msgpack.ExtType(RANGE, _packed([value.start, value.stop, value.step]))
    if kind is int:
        return msgpack.ExtType(INTEGER, str(value).encode())
    if isinstance(value, GemmaVizError):
        return msgpack.ExtType(ERROR, _packed([*_name(kind), list(value.__reduce__()[1])]))
    if isinstance(value, FunctionType):
        return msgpack.ExtType(FUNCTION, _packed(_name(value)))
    if is_dataclass(kind):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return msgpack.ExtType(RECORD, _packed([*_name(kind), parts]))
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return msgpack.ExtType(RECORD, _packed([*_name(kind), dict(zip(kind._fields, value, strict=True))]))
    if isinstance(value, tuple) and MODULES.fullmatch(kind.__module__):
        return msgpack.ExtType(RECORD, _packed([*_name(kind), list(value)]))
    if isinstance(value, str | int | float) and kind is not bool:  # a subclass, which is sent as what it is
        plain = next(base for base in (str, int, float) if isinstance(value, base))
        return plain(value)
    raise WireError(f"Cannot be sent: a {kind.__name__}")


def _name(named: Any) -> list[str]:
    if not MODULES.fullmatch(named.__module__) or "." in named.__qualname__:
        raise WireError(f"Cannot be sent: {named.__module__}.{named.__qualname__}")
    return [named.__module__, named.__qualname__]


def _array_bytes(array: Any) -> bytes:
    if array.dtype.kind not in "biuf":
        raise WireError(f"Cannot be sent: an array of {array.dtype}")
    array = np.ascontiguousarray(array)
    head = _packed([array.dtype.str, list(array.shape)])
    return b"".join((len(head).to_bytes(2, "little"), head, array.tobytes()))


def _array(data: bytes) -> Any:
    start = 2 + int.from_bytes(data[:2], "little")
    kind, shape = decode(data[2:start])
    if np.dtype(kind).kind not in "biuf":
        raise WireError("Not a message: an array of something else than numbers")
    return np.frombuffer(data, np.dtype(kind), offset=start).reshape(shape)


def _extension(code: int, data: bytes) -> Any:
    if code == ARRAY:
        return _array(data)
    if code == INTEGER:
        return int(data)
    if code not in _BUILDERS:
        raise WireError("Not a message: an unknown type")
    return _BUILDERS[code](*decode(data))


def _record(module: str, name: str, parts: dict[str, Any] | list[Any]) -> Any:
    kind = named(module, name)
    if not (isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, tuple))):
        raise WireError(f"Not a message: {name} is no record")
    made: Callable[..., Any] = kind
    return made(**parts) if isinstance(parts, dict) else made(parts)


def _error(module: str, name: str, arguments: list[Any]) -> GemmaVizError:
    kind = named(module, name)
    if not (isinstance(kind, type) and issubclass(kind, GemmaVizError)):
        raise WireError(f"Not a message: {name} is no error")
    return kind(*arguments)


def _function(module: str, name: str) -> Callable[..., Any]:
    function = named(module, name)
    if not isinstance(function, FunctionType):
        raise WireError(f"Not a message: {name} is no function")
    return function


@cache
def named(module: str, name: str) -> Any:
    """What a module of ours defines under a name. Raises WireError where it defines no such thing."""
    if not MODULES.fullmatch(module):
        raise WireError(f"Not a message: {module}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise WireError(f"Not a message: no {name} in {module}") from error
    if getattr(found, "__module__", None) != module:
        raise WireError(f"Not a message: {name} is not {module}'s own")
    return found


_BUILDERS: dict[int, Callable[..., Any]] = {
    TUPLE: lambda *items: tuple(items),
    SET: lambda frozen, items: frozenset(items) if frozen else set(items),
    RANGE: partial(range),
    RECORD: _record,
    ERROR: _error,
    FUNCTION: _function,
}

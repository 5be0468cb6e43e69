"""Everything that can go wrong for a reason the person can mend, as one tree.

    GemmaVizError
    ├── ModelError                 a checkpoint cannot be had
    │   ├── ModelNotFound          no such hub id or folder
    │   ├── ModelGated             the licence has not been accepted, or nobody is logged in
    │   ├── ModelOffline           it is not on this machine and the hub cannot be reached
    │   ├── ModelTooLarge          it does not fit into the memory there is
    │   ├── NotAGemma              a model, but not a Gemma 1, 2 or 3 text model
    │   ├── EmbeddedModelError     the embedded model cannot be unpacked or converted
    │   └── BadSetting (a ValueError)   an environment variable, or an argument of `load`, is what it cannot be
    ├── TextError (a ValueError)   a text cannot be captured
    │   ├── NotUnicode             it holds code points that no encoding of text has
    │   ├── NoTokens               it is empty and the model adds no token of its own
    │   ├── TooManyCharacters      it is longer than an instance of the app hands to a tokenizer
    │   ├── TooManyTokens          it is longer than the limit
    │   ├── TokenWithoutRow        one of its tokens is none of the model's
    │   └── SeveralTokens          a word was asked for, and it has no single token
    ├── EditsError (a ValueError)      a change of the model that it cannot be run with
    ├── CaptureFileError (a ValueError)   a file that cannot be written or read, or is of another model or version
    ├── SamplingError (a ValueError)   no token can be drawn: the settings or the logits do not allow it
    ├── TooManyRequests            a visitor of the app has asked for more runs of the model than a minute allows
    └── EngineError                a request was not answered
        ├── Busy                   too many others wait
        ├── Cancelled              nobody waits for the answer any more
        ├── TookTooLong            it took longer than the operator allows
        └── OutOfMemory            it does not fit into the memory that is free now

Each message is one or two plain sentences: what was wrong, with the value, and what to do. They are shown to
visitors as they are, so they never hold a path of the server or a trace.
"""


class GemmaVizError(Exception):
    """Base of every error this package raises on purpose."""


class ModelError(GemmaVizError):
    """A checkpoint cannot be had."""


class ModelNotFound(ModelError):
    """There is no such hub id or checkpoint folder."""


class ModelGated(ModelError):
    """The checkpoint's licence has to be accepted first, or nobody is logged in to the hub."""


class ModelOffline(ModelError):
    """The checkpoint is not on this machine and the hub cannot be reached."""


class ModelTooLarge(ModelError):
    """The checkpoint does not fit into the memory there is."""


class NotAGemma(ModelError):
    """The checkpoint is not a Gemma 1, 2 or 3 text model."""


class EmbeddedModelError(ModelError):
    """The embedded model cannot be unpacked, converted or read back."""


class BadSetting(ModelError, ValueError):
    """An environment variable of the operator's, or an argument of `load`, is what it cannot be."""


class TextError(GemmaVizError, ValueError):
    """A text cannot be captured."""


class NotUnicode(TextError):
    """The text holds lone surrogates: halves of a character that no encoding of text has."""


class NoTokens(TextError):
    """The text is empty and the tokenizer adds no token of its own."""


class TooManyCharacters(TextError):
    """The text is longer than the operator of the app lets it be."""


class TooManyTokens(TextError):
    """The text is longer than the limit."""


class TokenWithoutRow(TextError):
    """The tokenizer has a token that the embedding table has no row for: "<image_soft_token>" of larger Gemma 3."""


class SeveralTokens(TextError):
    """The word is several tokens, so it has no row of its own in the embedding table.

    word: str; pieces: tuple of str, its tokens
    """

    def __init__(self, word: str, pieces: tuple[str, ...]):
        super().__init__(f"“{word}” is {len(pieces)} tokens, so it has no row of its own. Try another word.")
        self.word = word
        self.pieces = pieces

    def __reduce__(self) -> tuple[type["SeveralTokens"], tuple[str, tuple[str, ...]]]:
        return SeveralTokens, (self.word, self.pieces)  # by default an exception is copied from its message alone


class EditsError(GemmaVizError, ValueError):
    """A change of the model that it cannot be run with: out of its range, or of a layer or head that is not there."""


class CaptureFileError(GemmaVizError, ValueError):
    """A capture file cannot be written or read, or was captured on another model or by another version."""


class SamplingError(GemmaVizError, ValueError):
    """No token can be drawn: a setting is out of its range, or the logits are not numbers."""


class TooManyRequests(GemmaVizError):
    """A visitor has asked for more runs of the model than a minute allows."""


class EngineError(GemmaVizError):
    """A request was not answered, for a reason that lies in the machine and not in the request."""


class Busy(EngineError):
    """Too many others wait."""


class Cancelled(EngineError):
    """Nobody waits for the answer any more, or a newer request has taken its place."""


class TookTooLong(EngineError):
    """The request took longer than the operator allows."""


class OutOfMemory(EngineError):
    """The request does not fit into the memory that is free now."""

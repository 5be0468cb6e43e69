"""Tokenization, in the walk."""

from gemma_viz.figures import output as draw_output
from gemma_viz.figures import tokenization as draw
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Table, Text, the_code
from gemma_viz.report.subject import Subject
from gemma_viz.stages import around
from gemma_viz.stages.output import compare
from gemma_viz.stages.tokenization import Tokenization, check_bpe, in_characters, merging, tokenization
from gemma_viz.tokens import visible
from gemma_viz.ui import words

ROWS_SHOWN = 60
LONGEST_IN_CHARACTERS = 512  # tokens

KINDS = {
    "added": "added by the tokenizer",
    "special": "special token",
    "byte": "single byte",
    "text": "piece of text",
}


def section(subject: Subject) -> Section:
    """How the prompt was cut."""
    values = tokenization(subject.cap)
    blocks: list[Block] = [
        Text(
            f"The model knows nothing of letters. It has a list of {values.vocab_size:,} entries, and the prompt is "
            f"cut into entries of that list. From here on there are only their numbers, the ids. The "
            f"{values.n_characters:,} characters of this prompt become {len(values.pieces):,} tokens; ▁ stands for a "
            "space, and ids follow the order in which the entries were made, not their meaning."
        ),
        _pieces(values, subject.position),
        Charts([draw.lengths(values)]),
        *_merging(subject),
        *the_code(subject, check_bpe(subject.cap)),
        Text("Special tokens are cut out whole before this. The difference counts pieces that come out otherwise."),
        *_why(subject, values),
    ]
    return Section("tokenization", "Tokenization", blocks)


def _pieces(values: Tokenization, position: int) -> Table:
    n = len(values.pieces)
    shown = around(position, n, ROWS_SHOWN)
    rows = [
        (
            f"{piece.token.position}",
            words.code(piece.token.piece),
            f"{piece.token.id:,}",
            words.code(visible(piece.token.text)),
            f"{len(piece.utf8)}",
            KINDS[piece.kind],
        )
        for piece in values.pieces[shown.start : shown.stop]
    ]
    caption = f"Tokens {shown.start} to {shown.stop - 1} of {n:,}." if n > ROWS_SHOWN else ""
    return Table(("position", "piece", "id", "text", "bytes", "what it is"), rows, caption)


def _merging(subject: Subject) -> list[Block]:
    built = merging(subject.cap, subject.position)
    if not built.merges:
        return []
    rows = [("", words.pieces(built.states[0]))]
    for (joined, rank), state in zip(built.merges, built.states[1:], strict=True):
        rows.append((f"{words.code(joined)}, entry {rank:,}", words.pieces(state)))
    return [
        Heading("How the word was put together"),
        Text(
            "Training counted which two neighbouring pieces stand together most often, joined them into a new entry, "
            "and began again. A text is cut by the same joins in the same order: of all neighbours that can be joined, "
            f"those come first whose union has the lowest id. {words.code(built.word)} begins as "
            f"{len(built.states[0])} single characters. Its letters could be cut into entries in {built.n_cuts:,} ways."
        ),
        Table(("joined", "pieces"), rows),
    ]


def _why(subject: Subject, values: Tokenization) -> list[Block]:
    blocks: list[Block] = [
        Heading("Why"),
        Text(
            "A text could be cut finer: into single bytes "
            f"{words.into_bytes(values.n_bytes, values.n_tokens)}, and attention compares every position with "
            "every earlier one. It could be cut into whole words, but then a new word has no entry. The vocabulary is "
            f"the compromise, and its price is the table: {values.embedding_parameters / 1e6:,.1f} million parameters, "
            f"{values.embedding_share:.0%} of this model."
        ),
    ]
    return [*blocks, *_letter_by_letter(subject)]


def _letter_by_letter(subject: Subject) -> list[Block]:
    """The same text, cut finer than the model has learned to read it."""
    cap, ids = subject.cap, in_characters(subject.cap)
    if cap.patch or not subject.has_prediction or len(ids) > min(LONGEST_IN_CHARACTERS, cap.model.token_limit):
        return []
    values = compare(cap, cap.model.capture_ids(ids, cap.edits), -1)
    labels = [visible(text) for text in values.texts]
    return [
        Text(
            "All characters are entries too, so the same text can be given to the model letter by letter, "
            f"{len(ids):,} tokens of it. It was trained on texts that are cut as above. "
            + words.what_changed(values, labels, "the text cut into single characters")
        ),
        Charts([draw_output.side_by_side(values, labels, "letter by letter", "The next token, after the whole text")]),
    ]

"""Continuations: the texts that were generated from one another, as a tree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_NODES = 400


@dataclass(frozen=True)
class Node:
    """A text, and the token that made it from a shorter one.

    text: str, all of it; ids: tuple of int, all of its tokens, as they were generated
    parent: int or None, the index of the shorter text
    piece: str, what the token added; of a beginning the whole text
    probability: float, what the model gave the token; 1 for a beginning
    """

    text: str
    ids: tuple[int, ...]
    parent: int | None
    piece: str
    probability: float


@dataclass(frozen=True)
class Tree:
    """Texts that grew from one or more beginnings. nodes: parents stand before their children."""

    nodes: tuple[Node, ...] = ()

    def find(self, text: str) -> int | None:
        """The index of a text, or None where it is not in the tree."""
        return next((i for i, node in enumerate(self.nodes) if node.text == text), None)

    def begun(self, text: str, ids: Sequence[int]) -> "Tree":
        """With a text to grow from, if it is not there yet. A tree that has become too large begins anew."""
        if self.find(text) is not None and len(self.nodes) < MOST_NODES:
            return self
        kept = self.nodes if len(self.nodes) < MOST_NODES else ()
        return Tree((*kept, Node(text, tuple(ids), None, text, 1.0)))

    def grown(self, parent: str, text: str, ids: Sequence[int], piece: str, probability: float) -> "Tree":
        """With a longer text, if it is not there yet. parent: the shorter text, which is in the tree."""
        if self.find(text) is not None:
            return self
        return Tree((*self.nodes, Node(text, tuple(ids), self.find(parent), piece, probability)))

    def rows(self) -> Iterator[tuple[int, ...]]:
        """The tree in lines: each runs from a beginning, or from a branch, through first children to an end."""
        children: dict[int | None, list[int]] = {}
        for index, node in enumerate(self.nodes):
            children.setdefault(node.parent, []).append(index)
        starts = children.get(None, [])[::-1]
        while starts:
            row = [starts.pop()]
            while row[-1] in children:
                row.append(children[row[-1]][0])
            yield tuple(row)
            for text in row:  # the branch nearest to the end comes next
                starts += children.get(text, [])[:0:-1]

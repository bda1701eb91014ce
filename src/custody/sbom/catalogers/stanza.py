"""Text in stanzas, with an empty line between them, as package managers' databases are."""

from __future__ import annotations

from collections.abc import Iterator

MOST = 4 << 20
"""Bytes in one stanza, with the list of a package's files."""


def stanzas(content: bytes, most: int = MOST) -> Iterator[str]:
    """One after the other, so that no more than one is ever text. Raises ValueError for one of more than `most`."""
    place = 0
    while place < len(content):
        end = content.find(b"\n\n", place)
        end = len(content) if end < 0 else end
        if end - place > most:
            raise ValueError(f"a stanza of {end - place} bytes, expected at most {most}")
        if end > place:
            yield content[place:end].decode("utf-8", "replace")
        place = end + 2

"""Where advisories come from: one row a kind of document, recognised by its content. `store` knows none by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from custody.formats import kev, osv
from custody.formats.kev import ExploitedCatalogue
from custody.formats.osv import Advisory


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of document that says what is known of vulnerabilities."""

    one: str
    many: str
    """What people read where no document is one, or there is none: `an OSV record`, `OSV records`."""
    files: str
    """What people have it in."""
    recognises: Callable[[bytes], bool]
    """Whether a document wants to be one; asked of the rows in their order."""
    read: Callable[[bytes, str], Iterable[Advisory | ExploitedCatalogue]]
    """What it says, given its bytes and its name. Raises MalformedError, UnsupportedError: all of it counts or none."""
    largest: int
    """Bytes of a document; a longer one is cut off for `read` to refuse."""
    whole: bool = False
    """Whether a broken one ends the import; one of many records is left out and counted."""


SOURCES = (
    Source(one="a catalogue of exploited vulnerabilities", many="catalogues of exploited vulnerabilities",
           files="CISA's known_exploited_vulnerabilities.json", recognises=kev.is_catalogue,
           read=lambda data, name: [kev.read(data, name)], largest=kev.MAX_SIZE, whole=True),
    # The last: whatever nobody else recognises is told what an OSV record must have.
    Source(one="an OSV record", many="OSV records", files="a folder of OSV records, osv.dev's all.zip",
           recognises=lambda _: True, read=lambda data, name: [osv.read(data, name)], largest=osv.MAX_SIZE))


def of(data: bytes) -> Source:
    """The first that recognises a document."""
    return next(source for source in SOURCES if source.recognises(data))

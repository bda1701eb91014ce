"""What `custody initialize` wrote down about the mirror that a folder's trust files are from.

Commands verify by those files and ask nobody: how old they are is said where they are read.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from custody.errors import MalformedError, VerificationError
from custody.formats.protojson import Message
from custody.kit import strictjson
from custody.kit.clock import Clock, format_rfc3339, parse_rfc3339, system_clock
from custody.kit.visible import visible

_LOG = logging.getLogger(__name__)
RECORD = "tuf.json"
"""Beside trusted_root.json."""
PREFIX = "mirror-"
"""Of the folders that keep metadata."""
_FOLDER = re.compile(f"{PREFIX}[0-9a-f]{{16}}")
_told: set[tuple[str, datetime]] = set()


class Mirrored(msgspec.Struct, frozen=True):
    """Where trust files are from, and until when their mirror stood by them."""

    mirror: str
    """URL of the TUF repository."""
    metadata: str
    """Name of the folder beside the record that keeps the repository's metadata."""
    updated: datetime
    expires: datetime
    """When the first of the repository's metadata runs out."""
    role: str
    """Whose that is: root, targets, snapshot or timestamp."""

    def to_json(self) -> bytes:
        return json.dumps({"mirror": self.mirror, "metadata": self.metadata, "updated": format_rfc3339(self.updated),
                           "expires": format_rfc3339(self.expires), "role": self.role}, indent=2).encode() + b"\n"


def read_mirrored(folder: Path) -> Mirrored | None:
    """None where the folder's trust files are not a mirror's. Raises MalformedError."""
    path = folder / RECORD
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    record = Message(strictjson.loads(data, str(path), max_size=1 << 16, max_depth=4), str(path))
    updated, expires = (parse_rfc3339(record.raw(name), f"{path}.{name}") for name in ("updated", "expires"))
    metadata = record.text("metadata")
    if not _FOLDER.fullmatch(metadata):
        raise MalformedError(f"{path}.metadata", got=metadata, expected="the name of a folder that custody initialize "
                             "made")
    mirrored = Mirrored(record.text("mirror"), metadata, updated, expires, record.text("role"))
    record.done()
    return mirrored


def check_age(folder: Path, *, refuse: bool, clock: Clock = system_clock) -> None:
    """Warn, once in a process, where a mirror's metadata has run out: whoever holds news back would have it so.

    `refuse`: raises VerificationError instead. MalformedError for a record that is none.
    """
    known = read_mirrored(folder)
    now = clock()
    if known is None or now <= known.expires:
        return
    message = (f"{folder / 'trusted_root.json'}: {visible(known.mirror)} stood by it until "
               f"{format_rfc3339(known.expires)} ({known.role}); it was fetched {_age(now - known.updated)} ago")
    if refuse:
        raise VerificationError(f"{message} (expired_trusted_root = refuse)", hint="custody initialize fetches it anew")
    if (str(folder), known.expires) not in _told:
        _told.add((str(folder), known.expires))
        message += "; custody initialize fetches it anew"
        if _LOG.hasHandlers():
            _LOG.warning("%s", message)
        else:  # a command, which has no journal
            print(f"warning: {message}", file=sys.stderr)


def _age(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{max(0, int(span.total_seconds() // 3600))} hours"

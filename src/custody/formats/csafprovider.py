"""`provider-metadata.json`: where a publisher of CSAF documents has them (CSAF 2.0, section 7.1.8)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from custody.errors import MalformedError, UnsupportedError
from custody.kit import strictjson

MAX_SIZE = 4 << 20
_MOST = 100
_OPEN = ("WHITE", "UNLABELED")
"""What is for everybody, by the Traffic Light Protocol; of feeds for some people nothing is asked."""


class Distribution(NamedTuple):
    kind: Literal["csaf", "rolie"]
    """A folder with `changes.csv`, or a ROLIE feed."""
    url: str


def distributions(data: bytes, where: str, *, secure: bool = True) -> list[Distribution]:
    """Of a publisher that has feeds for everybody, those; else the folders. Raises MalformedError; for an address that
    is not https too, or http where the file itself did not come securely; UnsupportedError where nothing is open.
    """
    document = strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=16)
    if not isinstance(document, dict) or document.get("metadata_version") != "2.0":
        got = document.get("metadata_version") if isinstance(document, dict) else type(document).__name__
        raise MalformedError(f"{where}: metadata_version", got=got, expected="2.0")
    rows = document.get("distributions")
    if not isinstance(rows, list) or len(rows) > _MOST:
        raise MalformedError(f"{where}: distributions", got=rows, expected=f"a list of at most {_MOST}")
    feeds: list[Distribution] = []
    folders: list[Distribution] = []
    schemes = ("https",) if secure else ("https", "http")
    for place, row in enumerate(rows):
        here = f"{where}: distributions[{place}]"
        if not isinstance(row, dict):
            raise MalformedError(here, got=type(row).__name__, expected="an object")
        if row.get("directory_url") is not None:
            folders.append(Distribution("csaf", _address(row["directory_url"], f"{here}.directory_url", schemes)
                                        .rstrip("/") + "/"))
        feeds += _feeds(row.get("rolie"), f"{here}.rolie", schemes)
    if not (feeds or folders):
        raise UnsupportedError(f"{where}: distributions", "has no folder, and no feed that is for everybody")
    return list(dict.fromkeys(feeds or folders))


def _feeds(rolie: Any, where: str, schemes: tuple[str, ...]) -> list[Distribution]:
    if rolie is None:
        return []
    rows = rolie.get("feeds") if isinstance(rolie, dict) else None
    if not isinstance(rows, list) or len(rows) > _MOST or not all(isinstance(row, dict) for row in rows):
        raise MalformedError(f"{where}.feeds", got=rows, expected=f"a list of at most {_MOST} feeds")
    return [Distribution("rolie", _address(row.get("url"), f"{where}.feeds[{place}].url", schemes))
            for place, row in enumerate(rows) if row.get("tlp_label") in _OPEN]


def _address(value: Any, where: str, schemes: tuple[str, ...]) -> str:
    if not isinstance(value, str) or len(value) > 2048 or urlsplit(value).scheme not in schemes:
        raise MalformedError(where, got=value, expected="an address that begins with https://")
    return value

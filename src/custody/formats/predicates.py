"""Predicate types by their short names: cosign's, and those that in-toto has vetted, with the fields that they require.

(in-toto attestation spec/predicates.) cosign takes the vetted ones as URIs alone, and looks at none of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats import intoto, vsa
from policylang.errors import Shape

_SPEC = "https://in-toto.io/attestation"
VETTED: Mapping[str, str] = {
    "vsa": vsa.PREDICATE_TYPE,
    "svr": f"{_SPEC}/svr/v0.1",
    "scai": f"{_SPEC}/scai/v0.3",
    "testresult": f"{_SPEC}/test-result/v0.1",
    "release": f"{_SPEC}/release/v0.1",
    "runtimetrace": f"{_SPEC}/runtime-trace/v0.1",
    "vulns": f"{_SPEC}/vulns/v0.2",
    "vulns01": f"{_SPEC}/vulns/v0.1",
    "reference": f"{_SPEC}/reference/v0.1",
    "link03": f"{_SPEC}/link/v0.3",
    "spdx23": "https://spdx.dev/Document/v2.3",
    "spdx3": "https://spdx.dev/Document/v3",
}
"""custody's short names; those of cosign are `intoto.PREDICATES`."""

_Holds = Callable[[Any], bool]


def predicate_type(name: str) -> str:
    """The URI of a short name, or the URI itself. Raises UnsupportedError."""
    if name in VETTED:
        return VETTED[name]
    try:
        return intoto.predicate_type(name)
    except UnsupportedError as error:
        raise UnsupportedError("predicate type", f"{name!r} is neither a URI nor a short name",
                               hint=f"{error.hint}; {', '.join(VETTED)}") from None


def check_shape(kind: str, predicate: Any, where: str = "predicate") -> None:
    """That a predicate has what its type requires; of a type that is none of `VETTED` nothing is asked.

    Raises MalformedError, naming the field.
    """
    if kind == vsa.PREDICATE_TYPE:
        vsa.parse_summary(predicate, where)
        return
    for path, (expected, holds) in _REQUIRED.get(kind, {}).items():
        for place, value in _values(predicate, path.split("."), where):
            if not holds(value):
                raise MalformedError(place, got=value if isinstance(value, str) else Shape(value), expected=expected)


def _values(value: Any, path: list[str], where: str) -> Iterator[tuple[str, Any]]:
    """Each value at a path, None where there is none; `name[]` stands for all entries of a list."""
    if not path:
        yield where, value
        return
    name, listed = path[0].removesuffix("[]"), path[0].endswith("[]")
    inner = value.get(name) if isinstance(value, dict) else None
    if not listed:
        yield from _values(inner, path[1:], f"{where}.{name}")
    elif isinstance(inner, list):  # that it is one is a row of its own
        for at, entry in enumerate(inner):
            yield from _values(entry, path[1:], f"{where}.{name}[{at}]")


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None and "T" in value.upper()
    except ValueError:
        return False


_TEXT: tuple[str, _Holds] = ("a text", lambda value: isinstance(value, str) and bool(value))
_URI: tuple[str, _Holds] = ("a URI", lambda value: isinstance(value, str) and ":" in value)
_TIME: tuple[str, _Holds] = ("a time such as 2026-05-01T00:00:00Z", _is_time)
_OBJECT: tuple[str, _Holds] = ("an object", lambda value: isinstance(value, dict))
_LIST: tuple[str, _Holds] = ("a list", lambda value: isinstance(value, list))
_RESULT: tuple[str, _Holds] = ("PASSED, WARNED or FAILED", lambda value: value in ("PASSED", "WARNED", "FAILED"))
_SEVERITY: tuple[str, _Holds] = ("an object, or a list of them", lambda value: isinstance(value, (dict, list)))

_SCAN = {"scanner": _OBJECT, "scanner.uri": _URI, "scanner.db.lastUpdate": _TIME, "scanner.result": _LIST,
         "metadata.scanStartedOn": _TIME, "metadata.scanFinishedOn": _TIME}
_REQUIRED: Mapping[str, Mapping[str, tuple[str, _Holds]]] = {
    f"{_SPEC}/svr/v0.1": {"verifier.id": _URI, "timeCreated": _TIME, "properties": _LIST, "properties[]": _TEXT},
    f"{_SPEC}/scai/v0.3": {"attributes": _LIST, "attributes[].attribute": _TEXT},
    f"{_SPEC}/test-result/v0.1": {"result": _RESULT, "configuration": _LIST},
    f"{_SPEC}/release/v0.1": {"purl": _URI},
    f"{_SPEC}/runtime-trace/v0.1": {
        "monitor.type": _URI, "monitoredProcess.hostID": _URI, "monitoredProcess.type": _URI,
        "monitoredProcess.event": _TEXT, "monitorLog": _OBJECT},
    f"{_SPEC}/vulns/v0.1": _SCAN,
    f"{_SPEC}/vulns/v0.2": {**_SCAN, "scanner.result[].id": _TEXT, "scanner.result[].severity": _SEVERITY},
    f"{_SPEC}/reference/v0.1": {"attester.id": _URI, "references": _LIST},
    f"{_SPEC}/link/v0.3": {"name": _TEXT},
}
"""Type → path → what must stand there."""

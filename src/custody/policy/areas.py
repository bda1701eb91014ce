"""The areas of a request that a rule reads: what two requests must have in common for it to say the same of both.

Coarser than `policy.reads`, which tells which outcome a rule has: all that it says is decided by its areas, and they
are known of languages in which anything can be done with a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_METADATA = "metadata"
_ALIKE = frozenset(("operation", "kind", "resource", "subResource", "namespace", "dryRun", "requestKind",
                    "requestResource", "requestSubResource"))
"""Fields of an AdmissionRequest that `recall` always compares."""


class Areas(NamedTuple):
    """`paths`: of the object as it is and as it was, one field or, in `metadata`, two; whole below that."""

    paths: frozenset[tuple[str, ...]] = frozenset()
    name: bool = False
    user: bool = False


def areas_of(read: Iterable[tuple[str, ...]]) -> Areas | None:
    """`read`: paths of an AdmissionRequest, what they end in being read whole: `("object", "spec", "containers")`.

    None where that is more than some areas: a whole object, or what nobody compares.
    """
    paths: set[tuple[str, ...]] = set()
    name = user = False
    for first, *rest in read:
        if first in ("object", "oldObject"):
            if not rest:
                return None
            paths.add((*rest[:2],) if rest[0] == _METADATA else (rest[0],))
        elif first == "name":
            name = True
        elif first == "userInfo":
            user = True
        elif first not in _ALIKE:
            return None
    return Areas(frozenset(path for path in paths if path == path[:1] or path[:1] not in paths), name, user)


def read_areas(paths: Iterable[tuple[str, ...]], bound: str = "") -> Areas | None:
    """Of expressions in CEL whose `paths` begin with a variable of the environment, or one of their own loops.

    Variables of the policy have expressions themselves, `variables.BOUND` is the object, and parameters are the same
    each time.
    """
    read: list[tuple[str, ...]] = []
    for name, *fields in paths:
        if name in ("object", "oldObject"):
            read.append((name, *fields))
        elif name in ("request", "variables") and not fields:
            return None
        elif name == "request":
            read.append((*fields,))
        elif name == "variables" and fields[0] == bound:
            read.append(("object", *fields[1:]))
        elif name.partition(".")[0] in ("namespaceObject", "authorizer"):
            return None
    return areas_of(read)

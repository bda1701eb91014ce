"""The images of what owns an object, which Connaisseur judged when that was created."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from custody.errors import CustodyError
from custody.policy.given import Given
from custody.policy.images import images_of
from custody.policy.kinds import Selector, builtin
from custody.policy.lookup import LookupFailedError, Together
from custody.policy.podfields import TEMPLATES
from custody.policy.worlds import path_of
from custody.ports.lookup import ApiCall

_MEMO = "images of owners"


def parent_images(given: Given) -> frozenset[str]:
    """As they are written. An owner that is not there, cannot be had or is another one has none.

    Raises UnansweredError, once all owners are asked for.
    """
    known: frozenset[str] | None = given.memo.get(_MEMO)
    if known is None:
        known = given.memo[_MEMO] = frozenset(_all(given))
    return known


def _all(given: Given) -> Iterator[str]:
    together = Together()
    for kind, path, uid in _owners(given):
        owner: Any = None
        with together, contextlib.suppress(LookupFailedError):  # then it is judged as if it had no owner
            owner = given.answers.value(ApiCall(path))
        metadata = owner.get("metadata") if isinstance(owner, dict) else None
        if isinstance(metadata, dict) and metadata.get("uid") == uid:
            yield from (image.written for image in images_of(owner, TEMPLATES[kind])[0])
    together.done()


def _owners(given: Given) -> Iterator[tuple[str, str, str]]:
    """(kind, path at the API server, uid) of those that are made of pods."""
    metadata: Any = (given.object or {}).get("metadata")
    references = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    for reference in references if isinstance(references, list) else ():
        said = reference if isinstance(reference, dict) else {}
        version, kind, name, uid = (said.get(field) for field in ("apiVersion", "kind", "name", "uid"))
        if not (isinstance(version, str) and isinstance(name, str) and name and isinstance(uid, str) and uid
                and isinstance(kind, str) and kind in TEMPLATES):
            continue
        group, _, plain = version.rpartition("/")
        try:
            served = [target for target in builtin().find(Selector(group or "", plain, kind, ""))
                      if target.resource.group == group]
        except CustodyError:
            continue
        if served:
            yield kind, path_of(version, served[0].resource.plural, given.request.namespace, name), uid

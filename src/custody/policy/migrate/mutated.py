"""A rule with `mutate` and the MutatingPolicies that it becomes: equal objects of generated requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from custody.errors import CustodyError, UnsupportedError
from custody.policy.kinds import Kinds
from custody.policy.kyverno.autogen import Generated
from custody.policy.migrate import existing, mutating
from custody.policy.migrate.clusters import Cluster
from custody.policy.migrate.effects import Effects, outcome
from custody.policy.migrate.equivalence import requests
from custody.policy.migrate.matching import matched
from custody.policy.migrate.outcome import Migrated, alone, behind, name_of
from custody.policy.migrate.shaping import shaped
from custody.policy.model import Request
from custody.policy.phases import Course
from custody.policy.scope import WRITTEN


def rule(document: dict[str, Any], at: int, made: Sequence[Generated], kinds: Kinds,
         given: Sequence[dict[str, Any]], count: int) -> Migrated:
    """The plainest policies that do the same, or why there are none."""
    if document["spec"]["rules"][at]["mutate"].get("targets"):
        return existing.rule(document, at, made, kinds, given, count)
    policy, name = document["metadata"]["name"], document["spec"]["rules"][at]["name"]
    path = f"spec.rules[{at}]"
    tried: Migrated | None = None
    try:
        choices = mutating.translated(document, at, kinds, made, name_of(document, at))
        before = alone(document, at, made)
        for documents in choices:
            effects = Effects([before], documents, kinds, Course.MUTATING, Cluster(kinds, before["spec"]["rules"][0]))
            difference = None
            for times in (1, 8):  # more, where the first ones do not bring it to change anything
                difference = effects.checked(_asked(before, path, kinds, given, count * times))
                if difference is not None or effects.done:
                    break
            tried = outcome(policy, name, path, documents, effects, difference, "changed")
            if tried.refused is None:
                break
    except CustodyError as error:
        return behind(policy, name, error)
    return tried or behind(policy, name, UnsupportedError(path, "it changes nothing"))


def _asked(policy: dict[str, Any], path: str, kinds: Kinds, given: Sequence[dict[str, Any]],
           count: int) -> Iterator[Request]:
    (single,) = policy["spec"]["rules"]
    match = matched(single, path, kinds, WRITTEN, "object")
    words = [*_names(single)]
    for request in requests(single, match.resources, WRITTEN, kinds, count, given):
        if isinstance(request.object, dict):
            old = request.old_object
            yield msgspec.structs.replace(request, object=shaped(request.object, words),
                                          old_object=old if old is None else shaped(old, words))


def _names(part: Any) -> Iterator[str]:
    """What elements of lists are called that a patch speaks of."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key.strip("()+<") == "name" and isinstance(value, str) and not set("{*?") & set(value):
                yield value
            yield from _names(value)
    elif isinstance(part, list):
        for inner in part:
            yield from _names(inner)

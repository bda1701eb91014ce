"""What the API server accepts in a webhook configuration: it refuses the whole of it for one webhook that it does not.

One policy, of a namespace too, would then keep all others from being asked about. What it would refuse is said more
widely instead: the policy is asked about more than it says, and judges that by itself.
Rules of Kubernetes' pkg/apis/admissionregistration/validation and apimachinery's validation of names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from custody.kit.digest import sha256

_LONGEST = 253
_CONDITIONS = 63
"""For one webhook there are 64, of which one is custody's own."""
_OWN = "no-noise"
_PART = re.compile(r"(?=.{1,63}\Z)(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_SHORT = 180


def unique(named: Sequence[tuple[str, str]]) -> list[str]:
    """Names of webhooks with the paths that they ask: those that are no names, or another's, end in a digest."""
    counts = Counter(name for name, _ in named)
    return [name if _SUBDOMAIN.fullmatch(name) and counts[name] == 1 else _digested(name, path)
            for name, path in named]


def _digested(name: str, path: str) -> str:
    digest = sha256(path.encode()).removeprefix("sha256:")[:16]
    begun = re.sub(r"\.(?=[.-])|(?<=-)\.", "", re.sub(r"[^a-z0-9.-]", "", name.lower())[:_SHORT]).rstrip(".-")
    return f"{begun}-{digest}"


def are_conditions(conditions: Sequence[Mapping[str, Any]]) -> bool:
    """Of compiled conditions: whether their number and names are those that it takes."""
    names = [str(condition.get("name")) for condition in conditions]
    return len(names) <= _CONDITIONS and len({*names}) == len(names) and _OWN not in names and all(
        map(_qualified, names))


def is_selector(selector: Mapping[str, Any]) -> bool:
    """Whether its labels are such as an object can have."""
    labels: Mapping[str, Any] = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    return all(map(_qualified, (*labels, *(str(entry.get("key")) for entry in expressions)))) and all(
        value == "" or _PART.fullmatch(str(value)) for value in (
            *labels.values(), *(value for entry in expressions for value in entry.get("values") or ())))


def widest(names: Iterable[str]) -> list[str]:
    """Groups, versions or operations: `*` stands alone."""
    listed = sorted({*names})
    return ["*"] if "*" in listed else listed


def widest_resources(names: Iterable[str]) -> list[str]:
    """Without those that a wildcard beside them is for."""
    listed = {*names}
    if "*/*" in listed:
        return ["*/*"]
    return sorted(name for name in listed if not any(
        wide in listed and wide != name for wide in _wider(*name.partition("/"))))


def _wider(resource: str, slash: str, subresource: str) -> Iterable[str]:
    return (f"{resource}/*", f"*/{subresource}") if slash else ("*",)


def _qualified(name: str) -> bool:
    prefix, slash, part = name.rpartition("/")
    return bool(_PART.fullmatch(part)) and (not slash or bool(_SUBDOMAIN.fullmatch(prefix)))

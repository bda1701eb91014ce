"""By which labels a policy means the pods of one workload, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custody.network.declared import Declared
from custody.network.model import Pod
from custody.network.owners import lasting

_VERSIONED = frozenset({"app.kubernetes.io/version", "helm.sh/chart", "chart"})
"""Labels that the next release has otherwise."""
_Json = dict[str, Any]


def selector(pod: Pod, others_too: Sequence[Pod], declared: Declared) -> _Json | None:
    """What means the pods of this one's workload, of all pods of its namespace; None where no label lasts.

    Another workload that has all these labels, and more, is excluded by one that only it has.
    """
    chosen: Mapping[str, str] = declared.selectors.get(
        (pod.namespace, pod.workload.kind, pod.workload.name), {}) if pod.workload is not None else {}
    labels = {key: value for key, value in lasting(chosen or pod.labels).items() if chosen or key not in _VERSIONED}
    if not labels:
        return None
    mine = lasting(pod.labels)
    excluded: dict[str, None] = {}
    for peer in others_too:
        if owner(peer) == owner(pod) or any(peer.labels.get(key) != value for key, value in labels.items()):
            continue
        if any(key in peer.labels for key in excluded):
            continue
        if differing := [key for key in lasting(peer.labels) if key not in mine]:
            excluded[differing[0]] = None
    result: _Json = {"matchLabels": labels}
    if excluded:
        result["matchExpressions"] = [{"key": key, "operator": "DoesNotExist"} for key in sorted(excluded)]
    return result


def owner(pod: Pod) -> object:
    """What tells the pods of one controller from those of another in a namespace."""
    return pod.workload or pod.name


def selects(chosen: _Json, labels: Mapping[str, str]) -> bool:
    """Whether a selector as `selector` makes them means pods with these labels."""
    return all(labels.get(key) == value for key, value in chosen["matchLabels"].items()) and not any(
        expression["key"] in labels for expression in chosen.get("matchExpressions", ()))

"""Which controller a pod is of, by its name and labels; and which labels are of its controller, not of one pod."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

PASSING = frozenset({
    "pod-template-hash", "controller-revision-hash", "pod-template-generation", "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index", "controller-uid", "job-name", "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index"})
"""Labels that controllers put on one pod, or on those of one roll-out (kubernetes.io, "Well-Known Labels")."""
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Of which Kubernetes makes the ends of names (apimachinery, util/rand)."""
_REPLICA = re.compile(rf"(?P<name>.+)-[{_LETTERS}]{{1,10}}-[{_LETTERS}]{{5}}\Z")
_ONE_OF = re.compile(rf"(?P<name>.+)-[{_LETTERS}]{{5}}\Z")
_INDEXED = re.compile(r"(?P<name>.+)-\d{1,9}\Z")
_CRON = re.compile(rf"(?P<name>.+)-\d{{8,10}}-[{_LETTERS}]{{5}}\Z")
_HASHED = re.compile(rf"(?P<name>.+)-[{_LETTERS}]{{1,10}}\Z")


_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\Z")
_PORT = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,13}[a-z0-9])?\Z")
_WORD = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")


def valid(namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether an API server would take them (kubernetes.io, "Labels and Selectors"). A log may say anything."""
    return all(valid_key(key) and valid_value(value) for key, value in labels.items()) and (
        _NAMESPACE.match(namespace) is not None)


def valid_key(key: str) -> bool:
    """Of a label: a name, and a domain before it (apimachinery, IsQualifiedName)."""
    prefix, slash, name = key.rpartition("/")
    return _WORD.match(name) is not None and (not slash or _PREFIX.match(prefix) is not None)


def valid_value(value: str) -> bool:
    """Of a label (apimachinery, IsValidLabelValue)."""
    return not value or _WORD.match(value) is not None


def valid_name(name: str) -> bool:
    """Of an object whose name is a DNS subdomain."""
    return _PREFIX.match(name) is not None


def valid_port_name(name: str) -> bool:
    """Of a container's port (apimachinery, IsValidPortName)."""
    return _PORT.match(name) is not None and "--" not in name and any(letter.isalpha() for letter in name)


def lasting(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that the next pod of the same controller has too, in order."""
    return {key: labels[key] for key in sorted(labels) if key not in PASSING}


def controllers(pod: str) -> Iterator[tuple[str, str]]:
    """(kind, name) of the controllers that may have given a pod its name, likely ones first."""
    if match := _CRON.match(pod):
        yield "CronJob", match["name"]
    if match := _REPLICA.match(pod):
        yield "Deployment", match["name"]
    if match := _INDEXED.match(pod):
        yield "StatefulSet", match["name"]
    if match := _ONE_OF.match(pod):
        for kind in ("DaemonSet", "ReplicaSet", "Job", "ReplicationController"):
            yield kind, match["name"]


def controllers_of_prefix(prefix: str) -> Iterator[tuple[str, str]]:
    """The same for what the names of several pods begin with, as Calico aggregates them: `web-755cdc7957-`."""
    name = prefix.removesuffix("-")
    if match := _HASHED.match(name):
        yield "Deployment", match["name"]
    for kind in ("StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController", "Deployment"):
        yield kind, name

"""The options that say who asks for a resource, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from custody.errors import MalformedError, UsageError
from custody.policy.load import PolicySet
from custody.policy.model import Request, User
from custody.services.check import request_of
from custody.services.manifests import from_path

OPERATIONS = ("CREATE", "UPDATE", "DELETE")


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and how; without anything: nobody creates what is given."""

    user: User = User()
    operation: str = "CREATE"
    before: dict[tuple[str, str, str], dict[str, Any]] = {}
    """Objects as they are by now, by kind, namespace and name."""
    labels: dict[str, str] | None = None
    """Of the namespaces that are not among the resources."""

    def request(self, resource: dict[str, Any], policies: PolicySet, namespace: str) -> Request:
        """What the API server asks. Raises UsageError for an update of what --old does not have."""
        request = msgspec.structs.replace(request_of(resource, policies, namespace), user=self.user,
                                          operation=self.operation)
        if self.operation == "DELETE":
            return msgspec.structs.replace(request, object=None, old_object=request.object)
        if self.operation == "UPDATE":
            place = (request.kind.kind, request.namespace, request.name)
            if place not in self.before:
                raise UsageError(f"--old: got no {'/'.join(place)}, expected it as it is now")
            return msgspec.structs.replace(request, old_object=self.before[place])
        return request


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--user, --group, --operation, --old, --namespace-labels."""
    for option in (
            click.option("--namespace-labels", metavar="KEY=VALUE,…",
                         help="Labels of the namespaces that are not among the resources."),
            click.option("--old", type=click.Path(exists=True, path_type=Path), metavar="FILE|DIR",
                         help="The resources as they are now: they are updated."),
            click.option("--operation", type=click.Choice(OPERATIONS), help="What is asked for; default: UPDATE with "
                         "--old, else CREATE."),
            click.option("--group", "groups", multiple=True, metavar="NAME", help="A group of who asks; repeatable."),
            click.option("--user", "username", metavar="NAME", help="Who asks: ann, or system:serviceaccount:"
                         "NAMESPACE:NAME. Roles are those that the cluster of --kubeconfig gives.")):
        command = option(command)
    return command


def asker(policies: PolicySet, namespace: str, *, username: str | None, groups: tuple[str, ...],
          operation: str | None, old: Path | None, namespace_labels: str | None) -> Asker:
    """What the options say. Raises UsageError, MalformedError."""
    if operation == "UPDATE" and old is None:
        raise UsageError("--operation UPDATE: got no --old, expected the resources as they are now")
    if old is not None and operation in ("CREATE", "DELETE"):
        raise UsageError(f"--old: got it beside --operation {operation}, expected it for an update")
    before: dict[tuple[str, str, str], dict[str, Any]] = {}
    for manifest in from_path(old).resources if old is not None else ():
        request = request_of(manifest.resource, policies, namespace)
        before[request.kind.kind, request.namespace, request.name] = request.object or {}
    return Asker(user=User(username=username or "", groups=groups),
                 operation=operation or ("UPDATE" if old is not None else "CREATE"), before=before,
                 labels=None if namespace_labels is None else labels_of(namespace_labels))


def labels_of(text: str) -> dict[str, str]:
    """Of `--namespace-labels`. Raises MalformedError."""
    labels: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key or key in labels:
            raise MalformedError("--namespace-labels", got=pair, expected="KEY=VALUE, each key once")
        labels[key] = value
    return labels


def said(options_: Mapping[str, Any]) -> bool:
    """Whether any of the options was given."""
    return any(value not in (None, ()) for value in options_.values())

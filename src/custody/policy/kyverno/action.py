"""Whether what a rule has against an object denies: Enforce or Audit, and by namespace another one than else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.kyverno.match import selector_of
from custody.policy.lookup import Answers
from custody.policy.model import Request
from custody.policy.scope import LabelSelector, namespace_labels_of
from policylang.go.wildcards import glob


class _Override(NamedTuple):
    enforce: bool
    namespaces: Sequence[str] | None
    selector: LabelSelector | None

    def holds(self, request: Request, answers: Answers) -> bool:
        namespace = "" if request.kind.kind == "Namespace" else request.namespace
        if self.namespaces is not None and not any(glob(name, namespace) for name in self.namespaces):
            return False
        return self.selector is None or self.selector(namespace_labels_of(request, answers) if namespace else {})


class Action:
    """What a policy, or a rule of its own, says of failures. The first override that fits decides."""

    def __init__(self, said: bool | None, overrides: Sequence[_Override] = (), otherwise: Action | None = None) -> None:
        self.said = said
        self.overrides = tuple(overrides)
        self.otherwise = otherwise
        self.always: bool | None = None
        """What it is for all requests; None where that differs."""
        if self.fixed:
            self.always = self.stated

    @property
    def stated(self) -> bool:
        """What it is without overrides, of a policy's or a rule's own field. A policy that says nothing audits."""
        if self.said is not None:
            return self.said
        return self.otherwise.stated if self.otherwise is not None else False

    @property
    def fixed(self) -> bool:
        """Whether it is the same in all namespaces."""
        return not self.overrides and (self.said is not None or self.otherwise is None or self.otherwise.fixed)

    @property
    def may_enforce(self) -> bool:
        if any(override.enforce for override in self.overrides) or self.said:
            return True
        return self.said is None and self.otherwise is not None and self.otherwise.may_enforce

    def enforces(self, request: Request, answers: Answers) -> bool:
        """Raises UnansweredError, LookupFailedError where a namespace's labels decide."""
        for override in self.overrides:
            if override.holds(request, answers):
                return override.enforce
        if self.said is not None:
            return self.said
        return self.otherwise.enforces(request, answers) if self.otherwise is not None else False


def enforced(text: str | None, where: str) -> bool | None:
    """Whether a failure denies; None where it is not said. Raises MalformedError."""
    if text is None:
        return None
    if text not in ("Enforce", "Audit", "enforce", "audit"):
        raise MalformedError(where, got=text, expected="Enforce or Audit")
    return text.lower() == "enforce"


def compile_overrides(fields: Fields, name: str) -> list[_Override]:
    """`[{action, namespaces, namespaceSelector}]`; [] where it is absent. Raises MalformedError."""
    overrides = []
    for entry in fields.each(name):
        enforce = enforced(entry.need("action", str), entry.path("action"))
        namespaces = entry.texts("namespaces") if entry.has("namespaces") else None
        selector = entry.inner("namespaceSelector")
        overrides.append(_Override(bool(enforce), namespaces, None if selector is None else selector_of(selector)))
        entry.done()
    return overrides

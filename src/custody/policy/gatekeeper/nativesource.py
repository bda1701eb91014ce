"""K8sNativeValidation: the CEL of a template (Gatekeeper pkg/drivers/k8scel), as the API server evaluates it.

`variables.params` are the constraint's parameters and `variables.anyObject` the object, or the one that is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from custody.errors import MalformedError
from custody.policy.areas import read_areas
from custody.policy.fields import Fields
from custody.policy.gatekeeper.provider import NOBODY, Providers
from custody.policy.gatekeeper.regosource import Violation
from custody.policy.given import Given
from custody.policy.kubernetes.checks import Checks, namespace_of
from custody.policy.model import Outcome

_RESERVED = "gatekeeper_internal_"
_PARAMETERS, _OBJECT = "params", "anyObject"
_CONSTRAINT = re.compile(r"(?<![\w.])\s*params\b")
"""`params`, which is the constraint, and no `variables.params`."""


class NativeSource:
    inventory = False

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.failure_policy = fields.take("failurePolicy", str) or "Fail"
        if self.failure_policy not in ("Fail", "Ignore"):
            raise MalformedError(fields.path("failurePolicy"), got=self.failure_policy, expected="Fail or Ignore")
        self.generates = fields.take("generateVAP", bool)
        """Whether the API server is to judge the same, and nothing of the verdict; None where nobody says."""
        spec: dict[str, Any] = {"matchConditions": fields.take("matchCondition", list) or [],
                                "variables": fields.take("variables", list) or [],
                                "validations": fields.take("validations", list) or []}
        fields.done(hint="matchCondition" if fields.has("matchConditions") else None)
        for name in ("matchConditions", "variables"):
            for at, entry in enumerate(spec[name]):
                written = entry.get("name") if isinstance(entry, dict) else None
                if isinstance(written, str) and (written.startswith(_RESERVED) or (
                        name == "variables" and written in (_PARAMETERS, _OBJECT))):
                    raise MalformedError(f"{fields.path(name)}[{at}].name", got=written,
                                         expected=f"another name: {_RESERVED}…, {_PARAMETERS}, {_OBJECT} are taken")
        self._checks = Checks(Fields(spec, fields.where), params=True, fails=self.failure_policy == "Fail",
                              bound=(_OBJECT, _PARAMETERS))
        self.texts: Sequence[str] = self._checks.texts
        self.kinds: Sequence[str] = self._checks.kinds
        self.areas = None if self.kinds or not self._checks.repeats else read_areas(self._checks.paths, _OBJECT)
        self.whole = any(_CONSTRAINT.search(text) for text in self.texts)

    def kinds_with(self, parameters: Any) -> Sequence[str]:  # noqa: ARG002 - what they may name is among its own
        return self.kinds

    def violations(self, given: Given, constraint: Mapping[str, Any],
                   providers: Providers = NOBODY) -> Iterator[Violation]:  # noqa: ARG002 - CEL asks none
        """Raises UnansweredError, LookupFailedError."""
        if "namespaceObject" in self._checks.reads:
            namespace_of(given)
        spec = constraint.get("spec")
        request = given.request
        subject = request.old_object if request.operation == "DELETE" else request.object
        judged = self._checks.judge(given, constraint, {
            _OBJECT: subject, _PARAMETERS: spec.get("parameters") if isinstance(spec, dict) else None})
        for decision in judged.decisions:
            if decision.outcome is Outcome.FAIL:
                yield Violation(decision.message)
            elif decision.outcome is Outcome.ERROR and self.failure_policy == "Fail":
                yield Violation(decision.message, error=True)

"""A rule with `mutate` of the object that is asked about (Kyverno pkg/engine/handlers/mutation)."""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError
from custody.formats import jsonpatch
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.action import Action
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.mutate.foreach import ForEach, ForEachError, patched
from custody.policy.kyverno.mutate.patch import Patch
from custody.policy.kyverno.rule import Head, KyvernoRule
from custody.policy.kyverno.variables import variables
from custody.policy.model import Outcome
from custody.policy.phases import Phase
from custody.policy.rule import Spoken
from custody.policy.scope import WRITTEN
from policylang.errors import Shape


class Mutation:
    """What a rule does to a resource: one patch, or patches of a `foreach`."""

    def __init__(self, fields: Fields, head: Head, current: str) -> None:
        """`current` is what `{{@}}` speaks of. Raises MalformedError, UnsupportedError."""
        roots = head.roots.extended((), current=current, skipped=2)
        namespace = head.namespace
        loops = fields.each("foreach")
        self._foreach = ForEach(loops, roots, namespace=namespace) if loops else None
        self._patch: Patch | None = None
        if self._foreach is None:
            around = {part: head.written[part] for part in ("context", "preconditions")
                      if head.written.get(part) is not None}
            self._patch = Patch(fields, roots, around)
        fields.done()

    def __call__(self, resource: dict[str, Any], data: dict[str, Any], given: Given) -> tuple[Judgement, Any]:
        """What is said of a resource, and what becomes of it."""
        try:
            if self._foreach is not None:
                outcome, message, after = self._foreach.patched(resource, data, given)
            else:
                after = patched(self._patch, resource, data, given) if self._patch is not None else resource
                same = jsonpatch.equal(after, resource)
                outcome, message = (Outcome.SKIP, "no patches applied") if same else (Outcome.PASS, "")
        except ForEachError as error:
            return Judgement(Outcome.ERROR, error.message), resource
        if outcome is Outcome.PASS:
            message = mutated(after)
        return Judgement(outcome, message), after


def mutated(resource: Any) -> str:
    """Kyverno's message about a resource that was patched."""
    metadata = resource.get("metadata") if isinstance(resource, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    name = f"mutated {resource.get('kind') or ''}/{metadata.get('name') or ''}"
    namespace = metadata.get("namespace")
    return f"{name} in namespace {namespace}" if namespace else name


_DENIES = Action(said=True)
"""What cannot be mutated is denied, under Audit too; failurePolicy: Ignore admits it."""


class MutateRule(KyvernoRule):
    phase = Phase.MUTATE

    def __init__(self, head: Head, fields: Fields) -> None:
        """Raises UnsupportedError, MalformedError."""
        super().__init__(head)
        self.action = _DENIES
        self.enforce = True
        self.scope.judged = WRITTEN
        self.reads_templates = True
        self._mutation = Mutation(fields, head, "request.object")

    def judged(self, given: Given) -> Spoken:
        resource = given.request.object
        if given.request.operation == "DELETE" or not isinstance(resource, dict):
            return Spoken([])
        judgement, after = self._mutation(resource, variables(given), given)
        if judgement.outcome is not Outcome.PASS:
            return Spoken([self.result(given, judgement)])
        if not isinstance(after, dict):
            raise MalformedError("mutate", got=Shape(after), expected="patches that leave an object")
        patch = jsonpatch.diff(resource, after)
        if not jsonpatch.fits(patch):
            raise MalformedError("mutate", got=f"a patch of more than {jsonpatch.MAX_SIZE} bytes",
                                 expected="a smaller one")
        return Spoken([self.result(given, judgement)], patch)

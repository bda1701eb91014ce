"""A rule with `validate` (Kyverno pkg/engine/handlers/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from custody.errors import CustodyError
from custody.policy.exceptions import PODSECURITY
from custody.policy.given import Given
from custody.policy.kyverno.action import Action
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.rule import Head, KyvernoRule
from custody.policy.kyverno.validate import Validate
from custody.policy.kyverno.variables import variables
from custody.policy.model import Outcome, User
from custody.policy.phases import Phase
from custody.policy.podfields import TEMPLATES
from custody.policy.resources import OPERATIONS
from custody.policy.rule import Spoken
from custody.policy.scope import WRITTEN
from policylang.errors import LanguageError
from policylang.go.wildcards import glob
from policylang.kpattern import anchor

if TYPE_CHECKING:
    from custody.policy.reads import Reads

_STRANGER = User(username="kyverno:kyverno-invalid-controller", uid="kyverno:invaliduid",
                 groups=("kyverno:invalidgroup",))
"""Who asked for what is there already is not known: nobody whom a rule names."""

_QUERIES = ("list", "jmesPath")
"""Fields that are expressions without `{{ }}`."""


class ValidateRule(KyvernoRule):
    phase = Phase.VALIDATE

    def __init__(self, head: Head, validate: Validate) -> None:
        """Raises UnsupportedError, MalformedError."""
        super().__init__(head)
        self.validate = validate
        self._written = written = head.written["validate"]
        # A pattern says nothing of what is deleted.
        self.scope.judged = OPERATIONS if validate.deny or validate.foreach or validate.cel else (*WRITTEN, "CONNECT")
        read = [written, head.written.get("context")]
        self.reads_images = _mentions(read, "image")
        self.reads_templates = validate.pod_security or _reads_template(read)
        if head.scope.kinds:  # made by autogen: it judges a template as the rule that it was made of judges a pod
            self.reads_templates = True
        if validate.pod_security:
            self.partly = frozenset({PODSECURITY})
        if validate.cel:
            text = str(written)
            self.reads_images = "image" in text
            self.reads_templates = bool(head.scope.kinds) or ".template.spec" in text
        self.action = Action(validate.enforce, validate.overrides, head.action)
        self.enforce = self.action.may_enforce

    def judged(self, given: Given) -> Spoken:
        judgement = self.validate.judge(given)
        if judgement is None:
            return Spoken([])
        request = given.request
        if (judgement.outcome is Outcome.FAIL and request.operation == "UPDATE" and request.old_object is not None
                and self.action.stated and self.validate.allow_existing
                and not (self.validate.cel or self.validate.manifests)):
            judgement = self._excused(given, judgement)
        return Spoken([self.result(given, judgement)])

    def _excused(self, given: Given, judgement: Judgement) -> Judgement:
        """The judgement, or a skip where the old object has a violation too; its remedy says what is passed over."""
        request = given.request
        # As if the old object were created now, by nobody: a rule about a subresource or about who asks does not speak
        # of that, and so excuses nothing.
        old = msgspec.structs.replace(request, operation="CREATE", object=request.old_object, old_object=None,
                                      subresource="")
        before = self.entered(Given(old, given.context, given.evidence, given.answers))
        created = msgspec.structs.replace(old, user=_STRANGER)
        if self.silence(created, given.answers) is not None or not self._applies(before):
            return judgement
        before.exceptions = given.exceptions
        prior = self.validate.judge(before)
        if prior is None or prior.outcome is not Outcome.FAIL:
            return judgement
        # It skips as Kyverno does. Kyverno says nothing, and so would let a violation in behind another one.
        now = ("and is another one now" if prior.message != judgement.message else
               "unchanged" if _content(request.object) == _content(request.old_object) else
               "its place is the same, the object is not")
        return Judgement(Outcome.SKIP, "skipping the rule evaluation as pre-existing violations are allowed",
                         f"a violation that was there before is allowed on update ({now}): {judgement.message}")

    def _applies(self, given: Given) -> bool:
        """Whether the rule spoke of the old object. Where that cannot be said its violations are not excused."""
        try:
            return self.preconditions is None or self.preconditions(variables(given), given.context.now)[0]
        except (CustodyError, LanguageError):
            return False

    def note_reads(self, reads: Reads) -> bool:
        from custody.policy.kyverno.reads import note
        from policylang.conditions.reads import UnboundedError

        if self.exceptions or self._draws or self._reads_roles:
            return False
        try:
            note(self._head, reads)
        except UnboundedError:
            return False
        return True

    def sees(self, template: str, field: str) -> bool:
        """Whether its patterns or conditions name a field."""
        validate = self.validate
        patterns = [validate.pattern] if validate.pattern is not None else validate.any_pattern or []
        steps = f"{template}{field}".split("/")[1:]
        if patterns:
            return all(_names(pattern, steps) for pattern in patterns)
        return any(_speaks_of(text, template, field) for text in _expressions(self._written.get("deny")))


def _names(pattern: Any, steps: list[str]) -> bool:
    """Whether a pattern has something to say of the field at these steps."""
    if not steps:
        return True
    if steps[0] == "[]":
        return isinstance(pattern, list) and any(_names(entry, steps[1:]) for entry in pattern)
    return isinstance(pattern, dict) and any(
        glob(anchor(key)[1], steps[0]) and _names(value, steps[1:]) for key, value in pattern.items())


def _speaks_of(text: str, template: str, field: str) -> bool:
    """Whether a condition's expression names the field: by `images`, or by the names on the way to it."""
    holder = field.split("/")[1]
    if re.search(r"\bimages\b", text):
        return template == TEMPLATES["Pod"] and (
            re.search(rf"\b{holder}\b|\bimages\.?(\*|\[|\s*\||\s*\}}\}})", text) is not None)
    steps = {step for step in (template + field).split("/") if step not in ("", "[]")}
    return all(re.search(rf"\b{step}\b", text) for step in steps)


def _expressions(part: Any) -> Iterator[str]:
    """Texts with an expression in them."""
    if isinstance(part, dict):
        for value in part.values():
            yield from _expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value)
    elif isinstance(part, str) and "{{" in part:
        yield part


def _mentions(block: Any, word: str) -> bool:
    """Whether a rule's block names a field or a variable of this name, or of its plural."""
    if isinstance(block, dict):
        return any(_named(word, str(key)) or _mentions(value, word) for key, value in block.items()
                   if key != "message")
    if isinstance(block, list):
        return any(_mentions(value, word) for value in block)
    return isinstance(block, str) and "{{" in block and _named(word, block)


def _reads_template(block: Any) -> bool:
    if isinstance(block, dict):
        return any((_named("template", str(key)) and _mentions(value, "spec"))
                   or (key in _QUERIES and isinstance(value, str) and _reads_spec(value)) or _reads_template(value)
                   for key, value in block.items() if key != "message")
    if isinstance(block, list):
        return any(map(_reads_template, block))
    return isinstance(block, str) and "{{" in block and _reads_spec(block)


def _reads_spec(expression: str) -> bool:
    """Whether it speaks of what stands in a template's spec."""
    return re.search(r"\btemplate\b.*\bspec\b", expression) is not None


def _named(word: str, text: str) -> bool:
    return re.search(rf"\b{word}s?\b", text) is not None


def _content(document: dict[str, Any] | None) -> dict[str, Any]:
    """What an object asks for, beside its name and labels and what the API server keeps in it."""
    return {name: value for name, value in (document or {}).items() if name not in ("metadata", "status")}

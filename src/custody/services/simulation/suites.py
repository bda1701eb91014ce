"""Suites of tests for templates and constraints (test.gatekeeper.sh Suite), as `gator verify` runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import re2

from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats import yaml
from custody.policy.decide import spoken
from custody.policy.engines import compile_document
from custody.policy.fields import Fields
from custody.policy.gatekeeper.constraint import COMMAND, Constraint, ConstraintRule, SchemaError
from custody.policy.gatekeeper.expansion import Expansion, ExpansionTemplate, ImpliedRule
from custody.policy.gatekeeper.mutation import Mutation
from custody.policy.gatekeeper.regosource import PRINTED
from custody.policy.gatekeeper.reviewed import Reviewed
from custody.policy.gatekeeper.template import REGO, Template
from custody.policy.given import Given
from custody.policy.lookup import Answers
from custody.policy.model import Context, Kind, Outcome, Request, Resource, User
from custody.policy.rule import Rule
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Inventory, NamespaceLabels, Question
from custody.services.simulation.inventory import inventory_of, namespaces_of

_GROUP = "test.gatekeeper.sh"


@dataclass
class Assertion:
    violations: int | str
    """How many, `yes` or `no`."""
    message: str | None
    pattern: Any = None


@dataclass
class Case:
    name: str
    object: str
    inventory: list[str]
    assertions: list[Assertion]
    skip: bool


@dataclass
class Trial:
    """One template and constraint, and its cases."""

    name: str
    template: str
    constraint: str
    expansion: str
    cases: list[Case]
    invalid: bool
    """The constraint is to be refused by its template's schema."""
    skip: bool


@dataclass
class Suite:
    path: Path
    trials: list[Trial]
    skip: bool


@dataclass
class Result:
    """Of a suite, a test or a case; `error` says what is wrong with it itself."""

    name: str
    error: str = ""
    skipped: bool = False
    seconds: float = 0.0
    printed: list[str] = field(default_factory=list)
    inner: list[Result] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.error) or any(result.failed for result in self.inner)


def find(path: str) -> list[Suite]:
    """The suites of a file, a folder, or with `/...` at its end of all folders below.

    Files that hold something else are passed over. Raises UsageError, MalformedError.
    """
    recursive = path.endswith("/...")
    root = Path(path.removesuffix("/...") or "/")
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    if root.is_file():
        if recursive:
            raise UsageError(f"{root}: is a file", hint="only a folder has folders below: leave out /...")
        if root.suffix not in (".yaml", ".yml"):
            raise UsageError(f"{root}: got {root.suffix or 'no ending'}, expected .yaml or .yml")
        files = [root]
    else:
        files = sorted(file for file in (root.rglob("*") if recursive else root.iterdir())
                       if file.suffix in (".yaml", ".yml") and file.is_file())
    return [suite for file in files if (suite := read(file)) is not None]


def read(file: Path) -> Suite | None:
    """Raises MalformedError."""
    documents = yaml.documents(file.read_bytes(), str(file))
    document = documents[0] if documents else None
    if not isinstance(document, dict) or document.get("kind") != "Suite" or (
            str(document.get("apiVersion")).partition("/")[0] != _GROUP):
        return None
    fields = Fields(document, str(file))
    for name in ("apiVersion", "kind", "metadata"):
        fields.any(name)
    suite = Suite(file, [_trial(entry) for entry in fields.each("tests")], fields.take("skip", bool) or False)
    fields.done()
    return suite


def _trial(fields: Fields) -> Trial:
    trial = Trial(name=fields.take("name", str) or "", template=fields.take("template", str) or "",
                  constraint=fields.take("constraint", str) or "", expansion=fields.take("expansion", str) or "",
                  cases=[_case(entry) for entry in fields.each("cases")],
                  invalid=fields.take("invalid", bool) or False, skip=fields.take("skip", bool) or False)
    fields.done()
    return trial


def _case(fields: Fields) -> Case:
    case = Case(name=fields.take("name", str) or "", object=fields.take("object", str) or "",
                inventory=fields.texts("inventory"),
                assertions=[_assertion(entry) for entry in fields.each("assertions")],
                skip=fields.take("skip", bool) or False)
    fields.done()
    return case


def _assertion(fields: Fields) -> Assertion:
    written, message = fields.any("violations"), fields.take("message", str)
    fields.done()
    if isinstance(written, bool):  # YAML 1.1 reads yes and no so
        written = "yes" if written else "no"
    if written is None:
        written = "yes"
    if written not in ("yes", "no") and (not isinstance(written, int) or written < 0):
        raise MalformedError(fields.path("violations"), got=written, expected="a number from 0 on, yes or no")
    try:
        return Assertion(written, message, None if message is None else re2.compile(message))
    except re2.error as error:
        raise MalformedError(fields.path("message"), got=message, expected=f"a regular expression: {error}") from None


class Runner:
    """Runs suites. Templates that several tests name are compiled once."""

    def __init__(self, now: datetime, chosen: Filter, *, native: bool = True) -> None:
        """`native`: whether CEL judges where a template has both, as Gatekeeper does."""
        self._now, self._chosen, self._native = now, chosen, native
        self._templates: dict[Path, Template] = {}

    def run(self, suite: Suite) -> Result:
        if suite.skip:
            return Result(str(suite.path), skipped=True)
        return _timed(str(suite.path), lambda result: result.inner.extend(
            self._trial(suite.path.parent, trial) for trial in suite.trials))

    def _trial(self, folder: Path, trial: Trial) -> Result:
        if trial.skip or not self._chosen.test(trial):
            return Result(trial.name, skipped=True)
        return _timed(trial.name, lambda result: self._tried(folder, trial, result))

    def _tried(self, folder: Path, trial: Trial, result: Result) -> None:
        """Raises CustodyError."""
        try:
            rules: list[Rule] = [rule := self._rule(folder, trial)]
        except SchemaError as error:
            if trial.invalid:
                return
            raise error from None
        except CustodyError as error:
            if trial.invalid:
                raise CustodyError("constraint should have failed schema validation: got error "
                                   f"{error.message}") from None
            raise
        if trial.invalid:
            raise CustodyError("constraint should have failed schema validation: got no error")
        if trial.expansion:
            rules.append(ImpliedRule(rule, Expansion(_expansions(folder / trial.expansion), Mutation(()))))
        for case in trial.cases:
            if case.skip or not self._chosen.case(trial, case):
                result.inner.append(Result(case.name, skipped=True))
            else:
                result.inner.append(_timed(case.name, partial(self._case, folder, rules, case)))

    def _rule(self, folder: Path, trial: Trial) -> ConstraintRule:
        if not trial.template:
            raise UsageError("invalid Suite: missing template")
        if not trial.constraint:
            raise UsageError("invalid Suite: missing constraint")
        path = (folder / trial.template).resolve()
        template = self._templates.get(path)
        if template is None:
            compiled = _compiled(path)
            if not isinstance(compiled, Template):
                raise UsageError(f"{path}: not a ConstraintTemplate")
            template = self._templates[path] = compiled
            if not self._native:
                if REGO not in template.sources:
                    raise UsageError(f"{path}: has no Rego, and --enable-k8s-native-validation is false")
                template.source = template.sources[REGO]
        constraint = _compiled(folder / trial.constraint)
        if not isinstance(constraint, Constraint):
            raise UsageError(f"{folder / trial.constraint}: not a Constraint")
        if constraint.kind != template.kind:
            raise UsageError(f"{folder / trial.constraint}: kind {constraint.kind}, and the template is of "
                             f"{template.kind}")
        return constraint.of(template)

    def _case(self, folder: Path, rules: Sequence[Rule], case: Case, into: Result) -> None:
        """Raises CustodyError where an assertion does not hold, or nobody can say."""
        if not case.object:
            raise UsageError("invalid Case: must define object")
        if not case.assertions:
            raise UsageError("invalid Case: assertions must be non-empty")
        objects = _documents(folder / case.object)
        if len(objects) != 1:
            raise UsageError(f"object file must contain exactly one object: {folder / case.object} defines "
                             f"{len(objects)} objects")
        kept = [document for name in case.inventory for document in _documents(folder / name)]
        given = Given(request_of(objects[0]), Context(now=self._now, point=COMMAND), {}, Answers(Offline(kept)))
        messages = [result.message for rule in rules for result in _results(rule, given)]
        into.printed += given.memo.get(PRINTED, ())
        for assertion in case.assertions:
            _hold(assertion, messages)


def _results(rule: Rule, given: Given) -> Iterator[Any]:
    said = spoken(rule, given)
    if not isinstance(said, str):
        yield from (result for result in said.results if result.outcome in (Outcome.FAIL, Outcome.ERROR))


def _hold(assertion: Assertion, messages: Sequence[str]) -> None:
    count = sum(assertion.pattern is None or bool(assertion.pattern.search(message)) for message in messages)
    about = "" if assertion.message is None else f' containing "{assertion.message}"'
    if isinstance(assertion.violations, int):
        holds, expected = count == assertion.violations, f"exactly {assertion.violations}"
    else:
        holds = bool(count) == (assertion.violations == "yes")
        expected = "at least 1" if assertion.violations == "yes" else "none"
    if not holds:
        raise CustodyError(f"unexpected number of violations: got {count} violations{about} but want {expected}: got "
                           f"messages [{' '.join(messages)}]")


class Filter:
    """`--run`: names of tests and cases, by regular expressions; `TEST//CASE` for both."""

    def __init__(self, text: str) -> None:
        """Raises UsageError."""
        parts = text.split("//")
        if len(parts) > 2:
            raise UsageError('invalid test filter: a filter may include at most one "//"')
        try:
            self._patterns = [re2.compile(part) for part in parts] if text else []
        except re2.error as error:
            raise UsageError(f"invalid test filter: {error}") from None

    def test(self, trial: Trial) -> bool:
        if len(self._patterns) == 2:
            return bool(self._patterns[0].search(trial.name))
        return not self._patterns or bool(self._patterns[0].search(trial.name)) or any(
            self.case(trial, case) for case in trial.cases)

    def case(self, trial: Trial, case: Case) -> bool:
        if len(self._patterns) == 2:
            return self.test(trial) and bool(self._patterns[1].search(case.name))
        return not self._patterns or bool(self._patterns[0].search(case.name) or self._patterns[0].search(trial.name))


class Offline(dict[Question, Answer]):
    """Answers of documents: what is not among them is not there."""

    def __init__(self, kept: Sequence[dict[str, Any]]) -> None:
        namespaces = namespaces_of(kept)
        super().__init__({Inventory(): Answered(inventory_of(kept))})
        for name, document in namespaces.items():
            self[NamespaceLabels(name)] = Answered((document.get("metadata") or {}).get("labels") or {})
            self[ApiCall(f"/api/v1/namespaces/{name}")] = Answered(document)

    def get(self, question: Question, default: Any = None) -> Any:
        known = super().get(question, default)
        return Absent() if known is None and isinstance(question, (NamespaceLabels, ApiCall)) else known


def request_of(document: dict[str, Any]) -> Request:
    """Of an object, which nobody asks for, or of an AdmissionReview. Raises MalformedError."""
    if document.get("kind") != "AdmissionReview" or not str(document.get("apiVersion")).startswith(
            "admission.k8s.io/"):
        created = Request.create(document)
        return Reviewed(operation="CREATE", kind=created.kind, namespace=created.namespace, name=created.name,
                        object=document, existing=True)
    asked = document.get("request")
    if not isinstance(asked, dict):
        raise MalformedError("request", got="nothing", expected="an AdmissionRequest")
    current, before = asked.get("object"), asked.get("oldObject")
    subject = current if isinstance(current, dict) else before
    if not isinstance(subject, dict):
        raise MalformedError("request", got="neither", expected="an object or an oldObject to review")
    if asked.get("operation") == "DELETE" and not isinstance(before, dict):
        raise MalformedError("request.oldObject", got="nothing", expected="the object that is deleted")
    of_object = Request.create(subject)
    written = asked.get("kind")
    review: Mapping[str, Any] = {
        "uid": "", "kind": {"group": "", "version": "", "kind": ""},
        "resource": {"group": "", "version": "", "resource": ""}, "operation": "", "userInfo": {}, "oldObject": None,
        "options": None, "namespaceObject": None, **asked,
        "object": before if asked.get("operation") == "DELETE" else current}
    resource, user = asked.get("resource"), asked.get("userInfo") or {}
    return Reviewed(
        operation=str(asked.get("operation") or ""), kind=of_object.kind if not isinstance(written, dict) else Kind(
            str(written.get("kind")), str(written.get("version")), str(written.get("group") or "")),
        namespace=str(asked.get("namespace") or ""), name=str(asked.get("name") or ""),
        object=current if isinstance(current, dict) else None, old_object=before if isinstance(before, dict) else None,
        user=User(username=str(user.get("username") or ""), uid=str(user.get("uid") or ""),
                  groups=tuple(user.get("groups") or ()), extra=user.get("extra") or {}),
        dry_run=asked.get("dryRun") is True, subresource=str(asked.get("subResource") or ""),
        resource=None if not isinstance(resource, dict) else Resource(
            str(resource.get("resource")), str(resource.get("version")), str(resource.get("group") or "")),
        review=dict(review))


def _timed(name: str, work: Callable[[Result], None]) -> Result:
    result, begun = Result(name), time.perf_counter()
    try:
        work(result)
    except CustodyError as error:
        result.error = error.message
    result.seconds = time.perf_counter() - begun
    return result


def _documents(path: Path) -> list[Any]:
    """Raises UsageError, MalformedError."""
    try:
        return [document for document in yaml.documents(path.read_bytes(), str(path)) if document is not None]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _expansions(path: Path) -> list[ExpansionTemplate]:
    """Raises UsageError, MalformedError, UnsupportedError."""
    compiled = [compile_document(document, 0, str(path))[1].compiled for document in _documents(path)]
    if not compiled or not all(isinstance(template, ExpansionTemplate) for template in compiled):
        raise UsageError(f"{path}: not an ExpansionTemplate")
    return compiled


def _compiled(path: Path) -> Any:
    documents = _documents(path)
    if len(documents) != 1:
        raise UsageError(f"{path}: {len(documents)} documents, expected one")
    return compile_document(documents[0], 0, str(path))[1].compiled

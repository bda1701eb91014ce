"""Gatekeeper's constraints, each with its template, as policies of another engine, and what a search made of both.

The search is that of `custody policy equivalent`. Here it also tells a request that a policy says nothing of from one
that it passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats.kubernetes.schema import Schemas
from custody.policy.equivalent.asking import Ask
from custody.policy.equivalent.search import Found, Search
from custody.policy.equivalent.words import Words
from custody.policy.gatekeeper import emission
from custody.policy.gatekeeper.constraint import ADMISSION_POLICY, WEBHOOK, ConstraintRule
from custody.policy.gatekeeper.engine import TEMPLATE
from custody.policy.kinds import Kinds
from custody.policy.load import Located, PolicySet
from custody.policy.migrate import constraints
from custody.policy.migrate.equivalence import Difference
from custody.policy.migrate.outcome import Migrated, behind, shown
from custody.policy.scope import WRITTEN

TARGETS = ("ValidatingPolicy", "ValidatingAdmissionPolicy")
_GROUP = ".gatekeeper.sh"
_TEMPLATES, _CONSTRAINTS = "templates.gatekeeper.sh", "constraints.gatekeeper.sh"
_TRIED = ("CREATE", "UPDATE", "DELETE")
_ASIDE = {"Config": "what it leaves out of reviews would be judged", "SyncSet": "CEL reads no inventory",
          "ExpansionTemplate": "what will come of an object is judged by nobody else: of pods, `autogen` is the like",
          "Provider": "CEL asks none"}
_MORE = 4
Document = dict[str, Any]
Given = Sequence[Document]


def is_gatekeepers(document: Any) -> bool:
    return isinstance(document, dict) and str(document.get("apiVersion")).partition("/")[0].endswith(_GROUP)


class Constraints:
    """Those among some documents. `ask`: what policies look up where they speak of such words, beside `given`."""

    def __init__(self, documents: Located, kinds: Kinds, ask: Callable[[Words, Given], Ask], *, given: Given = (),
                 schemas: Sequence[Schemas] = ()) -> None:
        self._documents = [(where, document) for where, document in documents if is_gatekeepers(document)]
        self._kinds, self._ask, self._given, self._schemas = kinds, ask, given, schemas

    def migrated(self, target: str, count: int) -> Iterator[Migrated]:
        """Of each document what became of it; of a template, where nothing speaks by it.

        The policy of a template is part of what each of its constraints becomes.
        """
        before: list[Document] = []
        for where, document in self._documents:
            group, kind = document["apiVersion"].partition("/")[0], str(document.get("kind"))
            metadata = document.get("metadata")
            name = f"{kind} {metadata.get('name') if isinstance(metadata, dict) else where}"
            if group == _TEMPLATES:
                if any(_makes(earlier) == _makes(document) is not None for earlier in before):
                    yield behind(name, name, MalformedError(where, got=f"a second template of {_makes(document)}",
                                                            expected="each once"))
                elif not any(self.template(constraint) is document for _, constraint in self._documents):
                    yield behind(name, name, UnsupportedError(where, "none of its constraints is among the files, and "
                                                              "a policy has the parameters of one"))
            elif group != _CONSTRAINTS:
                yield behind(name, name, UnsupportedError(where, f"{kind} is not migrated: " + _ASIDE.get(
                    kind, "a policy that changes objects is another kind")))
            else:
                yield self._of(where, name, document, target, count)
            before += [document] if group == _TEMPLATES else []

    def template(self, constraint: Document) -> Document | None:
        """The template of a constraint."""
        if not str(constraint.get("apiVersion")).startswith(f"{_CONSTRAINTS}/"):
            return None
        return next((document for _, document in self._documents if document.get("kind") == TEMPLATE
                     and _makes(document) == constraint.get("kind")), None)

    @property
    def templates(self) -> Located:
        return [(where, document) for where, document in self._documents if document.get("kind") == TEMPLATE
                and str(document.get("apiVersion")).startswith(f"{_TEMPLATES}/")]

    @property
    def constraints(self) -> Located:
        return [(where, document) for where, document in self._documents
                if str(document.get("apiVersion")).startswith(f"{_CONSTRAINTS}/")]

    def compiled(self, where: str, constraint: Document) -> tuple[ConstraintRule, Document]:
        """By itself, so that it says nothing of others, and its template. Raises MalformedError, UnsupportedError."""
        template = self.template(constraint)
        if template is None:
            raise UnsupportedError(where, f"its template, of kind {constraint.get('kind')}, is not among the files")
        (policy,) = PolicySet([template, constraint], [self._where(template), where], self._kinds).policies
        rule = policy.rules[0]
        assert isinstance(rule, ConstraintRule)
        return rule, template

    def _where(self, document: Document) -> str:
        return next(where for where, standing in self._documents if standing is document)

    def _of(self, where: str, name: str, constraint: Document, target: str, count: int) -> Migrated:
        try:
            rule, template = self.compiled(where, constraint)
            made = [constraints.translated(rule, template, self._kinds)] if target == TARGETS[0] else (
                admission_policy(rule, template))
            point = WEBHOOK if target == TARGETS[0] else ADMISSION_POLICY
            searched = self.searched(rule, template, made, point, count,
                                     strict=target == TARGETS[0] and not (emission.native(template) or {}).get(
                                         "matchCondition"))  # where one is false a constraint passes what it is of
        except CustodyError as error:
            return behind(name, name, error)
        if refused := unproven(searched):
            difference = searched.difference
            return Migrated(name, name, [], refused, None if difference is None else Difference(
                difference.request, str(difference.verdicts[0]), str(difference.verdicts[1]), (
                    difference.verdicts[0].message, difference.verdicts[1].message)),
                searched.asked, searched.judged[0], searched.against[0])
        return Migrated(name, name, made, None, None, searched.asked, searched.judged[0], searched.against[0],
                        untried=searched.untried)

    def searched(self, rule: ConstraintRule, template: Document, made: Sequence[Document], point: str, count: int, *,
                 strict: bool) -> Found:
        """The constraint, as it speaks at a point, beside what was made of it. `strict`: whether both judged counts.

        Raises MalformedError, UnsupportedError.
        """
        spec = {key: value for key, value in emission.spec_of(rule).items() if key != "scopedEnforcementActions"}
        before = [template, {**rule.document, "spec": spec | {"enforcementAction": rule.actions[point][0]}}]
        asked = rule.template.operations or WRITTEN
        search = Search(
            PolicySet(before, kinds=self._kinds), PolicySet(made, kinds=self._kinds), self._kinds,
            self._ask(Words([*before, *made]), [*before, *made, *self._given]), samples=self._given,
            operations=[operation for operation in _TRIED if operation in asked] or ["CREATE"],
            schemas=self._schemas, strict=strict)
        searched = search.run(count)
        if searched.difference is None and not 0 < searched.against[0] < searched.judged[0]:
            searched = search.run(_MORE * count)  # of those by which it is known, there are few
        return searched


def _makes(template: Document) -> str | None:
    """The kind of a template's constraints; None where it does not say, as one that is not compiled yet."""
    at: Any = template
    for step in ("spec", "crd", "spec", "names", "kind"):
        at = at.get(step) if isinstance(at, dict) else None
    return at if isinstance(at, str) else None


def admission_policy(rule: ConstraintRule, template: Document) -> list[Document]:
    """The policy of a template, and the binding of one constraint. Raises UnsupportedError."""
    bound = emission.binding(rule)
    if bound is None:
        raise UnsupportedError(f"{rule.policy.kind} {rule.policy.name}", "it does not speak at vap.k8s.io")
    return [emission.policy(rule.template, template), bound]


def unproven(searched: Found) -> CustodyError | None:
    """Why nothing, or nothing good, is known of a translation."""
    if searched.difference is not None:
        before, after = searched.difference.verdicts
        return UnsupportedError("the search", f"the constraint says {before}, its translation {after}, of "
                                f"{shown(searched.difference.request)}")
    if not searched.against[0]:
        return UnsupportedError("the search", f"of {searched.asked} requests there is none that it is against, so "
                                "nothing is known of its translation", hint="give objects with --resource")
    if searched.against[0] == searched.judged[0]:
        return UnsupportedError("the search", f"of {searched.asked} requests there is none that it is for, so nothing "
                                "is known of its translation", hint="give objects with --resource")
    return None

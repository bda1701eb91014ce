"""Requests about made-up and given objects, asked of two sets of policies until they differ, and the smallest such one.

What is compared is what who asks sees: whether the request is denied, and whether something is said against it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from custody.errors import CustodyError, UnsupportedError
from custody.formats.kubernetes.schema import Schemas, builtin
from custody.policy.decide import decide
from custody.policy.equivalent.asking import NOW, Ask, answered
from custody.policy.equivalent.objects import Objects
from custody.policy.equivalent.reduction import reduced
from custody.policy.equivalent.subresources import subresources
from custody.policy.equivalent.words import Words, paths
from custody.policy.kinds import Kinds, guessed_plural
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Outcome, Request, Resource, User
from custody.policy.phases import Phase

_POOL = 64
KINDS = 12
"""Kinds that are tried where policies speak of more."""
_STEPS = 400
"""Attempts to make a counter-example smaller."""
_NAMED = 20
"""Kinds, above which a policy speaks of all of them rather than of these."""
_USUAL = ("Pod", "Deployment", "CronJob", "Job", "Namespace", "Service")
Object = dict[str, Any]


class Verdict(NamedTuple):
    denied: bool
    against: bool
    silent: bool
    """Nothing was judged, which whoever asks does not see."""
    message: str

    @property
    def seen(self) -> tuple[bool, bool]:
        """What who asks sees."""
        return self.denied, self.against

    @property
    def whole(self) -> tuple[bool, bool, bool]:
        """With whether anything was judged."""
        return self.denied, self.against, self.silent

    def __str__(self) -> str:
        said = "denied" if self.denied else "allowed, and warned of or reported" if self.against else "allowed"
        return f"{said}: {self.message}" if self.message else said + (", not judged" if self.silent else "")


class Difference(NamedTuple):
    request: Request
    verdicts: tuple[Verdict, Verdict]


class Found(NamedTuple):
    """`judged`, `against`: requests on which each of the two spoke, and was against it. `failed`: those that could not
    be judged, for an object that no server takes; `failure` is why, of the first.
    """

    difference: Difference | None
    asked: int
    judged: tuple[int, int]
    against: tuple[int, int]
    failed: int
    failure: str
    untried: Sequence[str] = ()
    """Kinds and subresources that both may speak of, and about which nothing was asked."""


class NothingInCommonError(UnsupportedError):
    """Two sides speak of other kinds: whatever one of them says, the other says nothing of."""


class Search:
    """Raises UnsupportedError for policies that do more than judge, and NothingInCommonError."""

    def __init__(self, left: PolicySet, right: PolicySet, kinds: Kinds, ask: Ask, *,
                 operations: Sequence[str] = ("CREATE", "UPDATE", "DELETE"), samples: Sequence[Object] = (),
                 schemas: Sequence[Schemas] = (), seed: int = 0, strict: bool = False,
                 kinds_tried: int = KINDS) -> None:
        """`ask`: what policies look up. `samples`: objects to begin with, of any kind. `schemas`: of kinds beside
        Kubernetes'. `strict`: it is a difference, too, where one of them judged and the other did not.
        """
        self.sides = left, right
        for name, side in zip(("first", "second"), self.sides, strict=True):
            _only_judging(side, name)
        self._kinds, self._ask, self._operations, self._tried = kinds, ask, operations, kinds_tried
        self._random = random.Random(seed)  # noqa: S311 - the same objects each time
        self.words = Words([*left.documents, *right.documents])
        self._paths = paths([*left.documents, *right.documents])
        self._schemas = [*schemas, builtin()]
        self._said: Callable[[Verdict], tuple[bool, ...]] = (lambda verdict: verdict.whole) if strict else (
            lambda verdict: verdict.seen)
        self._namespaces = [text for text in self.words.texts if 0 < len(text) <= 63 and text.replace(
            "-", "a").isalnum() and text.islower()][:200]
        self._samples = [Request.create(sample, "default") for sample in samples]
        self.targets, left_out = self._targets()
        self._inner, apart = subresources(self.sides, self.targets, kinds)
        self.untried = [*dict.fromkeys(kind.kind for kind in left_out), *apart]
        """Kinds, and subresources as `pods/exec`, of which both may speak and about which nothing is asked."""
        self._turn = 0
        self._pool: dict[tuple[Any, ...], Request] = {}
        self._asked = 0
        self._judged, self._against = [0, 0], [0, 0]
        self._failures: list[str] = []

    def run(self, count: int, *, smallest: bool = True) -> Found:
        """`count` requests, or until one is a difference; `smallest`: made as small as it can be."""
        difference = next((difference for request in self.requests(count)
                           if (difference := self._difference(request)) is not None), None)
        if difference is not None and smallest:
            difference = self._smaller(difference)
        return Found(difference, self._asked, (self._judged[0], self._judged[1]), (self._against[0], self._against[1]),
                     len(self._failures), self._failures[0] if self._failures else "", self.untried)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

    def _targets(self) -> tuple[list[tuple[Kind, Resource]], list[Kind]]:
        """(kinds of which objects are made up, those of which none are): those that are given, then those that both
        speak of, those first that texts of the policies name, as a condition on kind Role does, and Pods before
        others; then those of one alone, for they may differ there.
        """
        asked = [self._of_side(side) for side in self.sides]
        if not asked[0] or not asked[1]:
            raise UnsupportedError("policies", "one of them speaks of no kind that is known", hint="--crd FILE")
        common = asked[0].keys() & asked[1].keys()
        if not common:
            left, right = (", ".join(sorted({kind.kind for kind, _ in targets})[:5]) for targets in asked)
            raise NothingInCommonError("policies", f"they speak of no kind in common: {left}; {right}")
        named = [target for targets in asked if len(targets) <= _NAMED for target in targets]
        spoken = {*self.words.values}
        every = sorted({*common, *named}, key=lambda target: (
            target not in common, target not in named, spoken.isdisjoint((target[0].kind, target[1].resource)),
            target[0].kind not in _USUAL, target[0].kind, target[0].group,
            target[0].version))
        given = {request.kind for request in self._samples}
        chosen = [target for target in every if target[0] in given]
        chosen += [target for target in every if target[0] not in given][:max(self._tried - len(chosen), 0)]
        return chosen, [target[0] for target in every if target not in chosen]

    def _of_side(self, side: PolicySet) -> dict[tuple[Kind, Resource], None]:
        rules = side.of(Phase.VALIDATE)
        return {target: None for target in self._known_kinds if any(rule.scope.selects(target[0]) for rule in rules)}

    @cached_property
    def _known_kinds(self) -> list[tuple[Kind, Resource]]:
        """Those that are served, and those that either of the two names beside."""
        known = {Kind(served.kind, served.version, served.group): Resource(served.plural, served.version, served.group)
                 for served in self._kinds.resources}
        names = {kind.kind for kind in known}
        for selector in (selector for side in self.sides for rule in side.of(Phase.VALIDATE)
                         for selector in rule.scope.selectors):
            if "*" not in selector.kind and not selector.subresource and selector.kind not in names:
                group, version = ("example.com" if selector.group == "*" else selector.group,
                                  "v1" if selector.version == "*" else selector.version)
                known[Kind(selector.kind, version, group)] = Resource(guessed_plural(selector.kind), version, group)
        return [*known.items()]

    def requests(self, count: int) -> Iterator[Request]:
        """Given objects first, then new ones and steps from those on which something was said."""
        makers = {}
        made_up = [kind for kind, _ in self.targets]
        for kind, resource in [*self.targets, *self._others_given()]:
            version = f"{kind.group}/{kind.version}" if kind.group else kind.version
            schemas = next((part for part in self._schemas if part.kind(version, kind.kind) is not None),
                           self._schemas[-1])
            makers[kind] = Objects(version, kind.kind, schemas, self.words, self._random, self._paths), resource
        for request in self._samples:
            objects, resource = makers[request.kind]
            yield from self._about(request.kind, resource, request.object or {}, objects, request.namespace)
        made = 0
        while self._asked < count and made < 4 * count:
            made += 1
            if self._pool and self._random.random() < 0.6:
                known = self._random.choice([*self._pool.values()])
                objects, resource = makers[known.kind]
                document = known.object or known.old_object or {}
                namespace = known.namespace if self._random.random() < 0.8 else self._namespace()
                yield from self._about(known.kind, resource, objects.step(document), objects, namespace)
            else:
                kind = self._random.choice(made_up)
                objects, resource = makers[kind]
                yield from self._about(kind, resource, objects.new(), objects, self._namespace())

    def _others_given(self) -> dict[tuple[Kind, Resource], None]:
        """Kinds that are given and that neither of the two is known to speak of."""
        known = {kind for kind, _ in self.targets}
        return {(kind, Resource(next((served.plural for served in self._kinds.resources if (
            served.kind, served.version, served.group) == (kind.kind, kind.version, kind.group)),
            guessed_plural(kind.kind)), kind.version, kind.group)): None
            for kind in (request.kind for request in self._samples) if kind not in known}

    def _namespace(self) -> str:
        draw = self._random.random()
        if draw < 0.3 and self.words.homes:
            return self._random.choice(self.words.homes)
        return "default" if draw < 0.6 else self._random.choice(self._namespaces or ["default"])

    def _about(self, kind: Kind, resource: Resource, document: Object, objects: Objects,
               namespace: str) -> Iterator[Request]:
        metadata = document["metadata"] = dict(document.get("metadata") or {})
        if self._random.random() < 0.15 and self._namespaces:
            metadata["name"] = self._namespace() if kind.kind == "Namespace" else self._random.choice(self._namespaces)
        metadata.setdefault("name", "sample")
        if self._kinds.namespaced(kind) is False:
            metadata.pop("namespace", None)
            namespace = metadata["name"] if (kind.kind, kind.group) == ("Namespace", "") else ""
        else:
            metadata["namespace"] = namespace
        user = User(username="admin", groups=("system:authenticated",))
        if self._random.random() < 0.1:
            user = User(username=self._random.choice(self.words.texts), groups=(
                "system:authenticated", self._random.choice(self.words.texts)))

        def asked(operation: str, new: Object | None, old: Object | None, **more: Any) -> Request:
            return Request(operation=operation, kind=kind, resource=resource, namespace=namespace,
                           name=metadata["name"], object=new, old_object=old, user=user, **more)
        if "CREATE" in self._operations:
            yield asked("CREATE", document, None)
        draw = self._random.random()
        if "UPDATE" in self._operations and draw < 0.5:
            before = document if draw < 0.1 else objects.step(document) if draw < 0.4 else objects.new()
            before = {**before, "metadata": {**(before.get("metadata") or {}), "name": metadata["name"]}}
            if "namespace" in metadata:
                before["metadata"]["namespace"] = namespace
            yield asked("UPDATE", document, before)
            if draw < 0.2 and (inner := self._inner.get(kind)):
                self._turn += 1
                yield asked("UPDATE", document, before, subresource=inner[self._turn % len(inner)], parent=kind)
        if "DELETE" in self._operations and draw > 0.85:
            yield asked("DELETE", None, document)

    # ── verdicts ────────────────────────────────────────────────────────────────────────────────────────────────

    def _difference(self, request: Request) -> Difference | None:
        self._asked += 1
        try:
            verdicts = self.verdicts(request)
        except CustodyError as error:
            self._failures.append(f"{request.operation} of {request.kind.kind} {request.name}: {error.message}")
            return None
        for at, verdict in enumerate(verdicts):
            self._judged[at] += not verdict.silent
            self._against[at] += verdict.against
        key = (request.kind, request.operation, *((verdict.seen, verdict.silent, verdict.message[:120])
                                                  for verdict in verdicts))
        if key in self._pool or len(self._pool) < _POOL:
            self._pool[key] = request
        else:
            self._pool.pop(self._random.choice([*self._pool]))
            self._pool[key] = request
        return Difference(request, verdicts) if self._said(verdicts[0]) != self._said(verdicts[1]) else None

    def verdicts(self, request: Request) -> tuple[Verdict, Verdict]:
        left, right = (self._verdict(request, side) for side in self.sides)
        return left, right

    def verdict(self, request: Request) -> Verdict:
        """Of the first alone."""
        return self._verdict(request, self.sides[0])

    def _verdict(self, request: Request, side: PolicySet) -> Verdict:
        return _seen(answered(lambda answers: decide(
            request, {}, side, Context(now=NOW), answers=answers, digested=False), self._ask))

    # ── the smallest counter-example ────────────────────────────────────────────────────────────────────────────

    def _smaller(self, difference: Difference) -> Difference:
        """Less of it, as long as the two differ in the same way."""
        kept = tuple(map(self._said, difference.verdicts))
        left = _STEPS
        again = True
        while again and left > 0:
            again = False
            for smaller in reduced(difference.request):
                left -= 1
                if left <= 0:
                    break
                try:
                    verdicts = self.verdicts(smaller)
                except CustodyError:
                    continue
                if tuple(map(self._said, verdicts)) == kept:
                    difference, again = Difference(smaller, verdicts), True
                    break
        return difference


def _only_judging(side: PolicySet, name: str) -> None:
    for phase, beyond in ((Phase.MUTATE, "it changes objects"), (Phase.VERIFY, "it asks for evidence of images"),
                        (Phase.GENERATE, "it makes objects")):
        for rule in side.of(phase):
            raise UnsupportedError(f"the {name}, policy {rule.policy.name}", f"{beyond}, and only what policies say of "
                                   "requests is compared")
    if not side.of(Phase.VALIDATE):
        raise UnsupportedError(f"the {name}", "it has no rule that judges requests",
                               hint="a ValidatingAdmissionPolicy with its binding, a template with a constraint")


def _seen(decision: Decision) -> Verdict:
    results = [result for result in decision.results if result.outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)]
    spoke = bool(results) or any(result.outcome is Outcome.PASS for result in decision.results)
    return Verdict(not decision.allowed, bool(results), not spoke, next(
        (f"{result.policy}: {result.message}" for result in results if result.message), ""))

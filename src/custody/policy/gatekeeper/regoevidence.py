"""Evidence in a template's Rego: `custody.evidence(image)`, `custody.evidence_by(image, who)`, `data.custody.evidence`.

In Rego what is not there is undefined, and a rule that looks for something bad then finds nothing. So a template that
asked for evidence and found nothing passes only if every kind that it names counts for every image that it asked
about; else that is an error of the constraint. What it says of `states.KIND` itself is its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.policy.evidencecontents import KINDS
from custody.policy.evidencesigners import Who, accepted
from custody.policy.evidenceview import evidence_view, merged, unasked, unverified
from custody.policy.given import Given
from policylang.errors import Shape
from policylang.rego.declare import Builtin, BuiltinError, Context, Halt
from policylang.rego.syntax.tree import Call, Expr, Module, Ref, Scalar, Term, Var, walk_rule
from policylang.rego.values import to_json

ROOT = "custody"
EVIDENCE, BY = f"{ROOT}.evidence", f"{ROOT}.evidence_by"
_STATES = "states"


class Asked:
    """What a template's modules say of evidence."""

    def __init__(self) -> None:
        self.asks = False
        self.data = False
        """Whether it reads `data.custody`."""
        self._words: set[str] = set()
        self._handled: set[str] = set()

    def note(self, module: Module) -> None:
        """Raises MalformedError where `data.custody` is not `data.custody.evidence`."""
        for rule in module.rules:
            for clause in rule.chain():
                for node in walk_rule(clause):
                    self._note(node)

    def _note(self, node: Term | Expr) -> None:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            self._words.add(node.value)
        elif isinstance(node, Call) and node.operator[:1] == [ROOT]:
            self.asks = True
        elif isinstance(node, Ref):
            path = [part.value if isinstance(part, Scalar) else None for part in node.path]
            if isinstance(node.head, Var) and node.head.name == "data" and path[:1] == [ROOT]:
                if path[1:2] != ["evidence"]:
                    raise MalformedError("rego", got=f"data.{ROOT}", expected=f"data.{EVIDENCE}")
                self.asks = self.data = True
            for before, name in itertools.pairwise(path):
                if before == _STATES and isinstance(name, str):
                    self._handled.add(name)

    def kinds(self, parameters: Any = None) -> Sequence[str]:
        """Those that it names, or that its parameters do; all where none is. () where it asks for no evidence."""
        if not self.asks:
            return ()
        words = self._words | set(_texts(parameters))
        return [kind for kind in KINDS if kind in words] or KINDS

    def demanded(self, parameters: Any) -> Sequence[str]:
        """Without which nothing found is no answer."""
        return [kind for kind in self.kinds(parameters) if kind not in self._handled]


class Consulted:
    """The evidence that one evaluation was given."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self.known: list[Mapping[str, Any]] = []

    def of(self, image: str, who: Who | None = None) -> dict[str, Any]:
        """Raises UnansweredError, MalformedError."""
        known = evidence_view(self._given, image, who)
        self.known.append(known)
        return known

    def document(self) -> dict[str, Any]:
        """`data.custody`: by digest, of the images that the object brings into a pod. Several of one digest are one.

        Raises UnansweredError, and MalformedError where one has a name that cannot be read.
        """
        for error in self._given.unreadable:
            raise error
        by_digest: dict[str, dict[str, Any]] = {}
        for named in {image.name: image for image in self._given.images}.values():
            known = self.of(named.written)
            if digest := known["digest"]:
                by_digest[digest] = merged(by_digest[digest], known) if digest in by_digest else known
        return {"evidence": by_digest}

    def missing(self, kinds: Sequence[str]) -> str | None:
        """What of these kinds does not count, of the first image of which something does not.

        A kind counts where it does in every view of the image that asked for it, and one did.
        """
        for known in self.known:
            for words in unverified(known, kinds):
                return words
        views: dict[str, list[Mapping[str, Any]]] = {}
        for known in self.known:
            views.setdefault(known["image"], []).append(known)
        return next((words for of_image in views.values() for words in unasked(of_image, kinds)), None)


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part


def _ask(context: Context, name: str, image: Any, who: Any = None) -> Any:
    consulted = getattr(context.ask(name, "evidence"), "evidence", None)
    if not isinstance(consulted, Consulted):
        raise Halt(BuiltinError(f"{name}: evidence is not given"))
    try:
        if not isinstance(image, str):
            raise MalformedError("image", got=Shape(image), expected="the name of an image")
        return consulted.of(image, None if who is None else accepted(to_json(who)))
    except CustodyError as error:
        raise Halt(BuiltinError(f"{name}: {error.message}")) from None


def _evidence(context: Context, image: Any) -> Any:
    """`custody.evidence(image)`: whoever vouches."""
    return _ask(context, EVIDENCE, image)


def _evidence_by(context: Context, image: Any, who: Any) -> Any:
    """`custody.evidence_by(image, {"signatures": [{"issuer": …, "subject": …}]})`: by those alone."""
    if who is None:
        raise Halt(BuiltinError(f"{BY}: who: got null, expected a map of kinds of evidence"))
    return _ask(context, BY, image, who)


FUNCTIONS: Mapping[str, Builtin] = {
    EVIDENCE: Builtin(EVIDENCE, _evidence, ("any",), "any", context=True, nondeterministic=True),
    BY: Builtin(BY, _evidence_by, ("any", "any"), "any", context=True, nondeterministic=True)}

"""The policy engines by the kinds of documents that they read, and the two steps from documents to policies.

A document is compiled by itself; then the documents of an engine are linked: a template with its constraints, a policy
with its bindings, parameters and exceptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from custody.errors import CustodyError, UnsupportedError, language_errors
from custody.policy.fields import Fields
from custody.policy.kinds import Kinds
from custody.policy.kyverno.engine import Kyverno
from custody.policy.podsecurity.engine import PodSecurity
from custody.policy.rule import Policy

Finding = tuple[str, str, str, str, str]
"""Path, code, level (warning or note), message, and YAML that was probably meant."""


class Unit(NamedTuple):
    """One compiled document."""

    at: int
    """Its position among all that are loaded: what `Policy.parts` are."""
    where: str
    document: Any
    compiled: Any
    """What its engine made of it."""


class Engine(Protocol):
    """One engine, for any number of kinds."""

    evaluates: str
    """`kyverno.io/v1 ClusterPolicy`: versions and kinds, for people."""

    def compile(self, document: dict[str, Any]) -> Any:
        """One document. Raises MalformedError, UnsupportedError: also for a version that it does not read."""
        ...

    def link(self, units: Sequence[Unit]) -> Iterable[Policy]:
        """The policies that all of the engine's documents make together. Errors begin with the document's place."""
        ...

    def findings(self, document: dict[str, Any], policy: Policy, kinds: Kinds) -> Iterable[Finding]:
        """What a document that loads will do that its author may not mean, for `policy lint`."""
        ...


ENGINES: dict[tuple[str, str], Engine] = {
    ("kyverno.io", "ClusterPolicy"): Kyverno(),
    ("pod-security.admission.config.k8s.io", "PodSecurityConfiguration"): PodSecurity(),
}
"""By group and kind."""


def compiled(documents: Sequence[Any], places: Sequence[str]) -> list[Policy]:
    """The policies of all documents, in the order of the documents. Raises MalformedError, UnsupportedError."""
    units: dict[Engine, list[Unit]] = {}
    for at, (document, where) in enumerate(zip(documents, places, strict=True)):
        with standing(where):
            engine = engine_of(document)
            units.setdefault(engine, []).append(Unit(at, where, document, engine.compile(document)))
    policies = [policy for engine, parts in units.items() for policy in engine.link(parts)]
    return sorted(policies, key=lambda policy: policy.parts)


def engine_of(document: Any) -> Engine:
    """Raises MalformedError for what is no object of Kubernetes, UnsupportedError for what no engine reads."""
    fields = Fields(document, "")
    kind, version = fields.need("kind", str), fields.need("apiVersion", str)
    engine = ENGINES.get((version.rpartition("/")[0], kind))
    if engine is None:
        raise unsupported(kind, version)
    return engine


def unsupported(kind: str, version: str) -> UnsupportedError:
    known = list(dict.fromkeys(engine.evaluates for engine in ENGINES.values()))
    return UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                            hint=f"{' and '.join(known)} {'is' if len(known) == 1 else 'are'}")


@contextmanager
def standing(where: str) -> Iterator[None]:
    """Errors of a document are said with its place, and are custody's."""
    try:
        with language_errors():
            yield
    except CustodyError as error:
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
        raise

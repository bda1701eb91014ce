"""What a policy engine is: it compiles a document, links what belongs together, and knows what is easily misread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from custody.policy.kinds import Kinds
from custody.policy.rule import Policy, copied

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

    @property
    def evaluates(self) -> str:
        """`kyverno.io/v1 ClusterPolicy`: versions and kinds, for people."""
        ...

    def compile(self, document: dict[str, Any]) -> Any:
        """One document. Raises MalformedError, UnsupportedError: also for a version that it does not read."""
        ...

    def again(self, compiled: Any) -> Any:
        """What `compile` made, to be linked once more: nothing that the links before wrote into is shared."""
        ...

    def link(self, units: Sequence[Unit]) -> Iterable[Policy]:
        """The policies that all of the engine's documents make together. Errors begin with the document's place."""
        ...

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterable[Finding]:
        """What a policy will do that its author may not mean, for `policy lint`; `units` are what it is made of."""
        ...


class Documents:
    """An engine each document of which is a policy: there is nothing to link it with."""

    def again(self, compiled: Any) -> Any:
        return copied(compiled)

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            policy: Policy = unit.compiled
            policy.parts = (unit.at,)
            yield policy

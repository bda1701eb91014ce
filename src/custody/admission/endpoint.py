"""The webhook's paths: which of its two questions is asked, and which policies answer it.

    /validate   /mutate              all policies
    /validate/all/any/5d41402abc4b   all policies
    /validate/fail/10/9f86d081884c   those with failurePolicy Fail and 10 seconds
    /validate/all/10/9f86d081884c    those with 10 seconds, whatever their failurePolicy
    /mutate/ignore/any/9f86d081884c  those whose failurePolicy is Ignore, with any timeout
    /validate/gatekeeper/all/any/9f86d081884c   Gatekeeper's, which leave exempt namespaces alone (`exemption`)
    /validate/beside/all/any/9f86d081884c       those of all other engines

Policies that ask for another failurePolicy or timeout are asked by another webhook of the same configuration. The last
part says what the configuration was made for: with all/any a digest of what the rules name, so of what the API server
was told to ask about; otherwise one of how the policies were divided and of what each names. Each request so tells
whether the API server knows what is loaded. Where policies are divided otherwise by now, one could belong to a group
that nobody asks: all policies answer then.

Beside these there are the paths that Kyverno's webhooks have (`families`), which name policies and no digest:

    /validate/fail                   /validate/ignore/finegrained/NAMESPACE/POLICY
    /vpol/POLICY/POLICY              /ivpol/mutate/POLICY
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Self

from custody.admission.exemption import knows
from custody.kit.canonical import canonical
from custody.kit.digest import sha256
from custody.policy.phases import Course, Phase
from custody.policy.resources import OPERATIONS
from custody.policy.rule import Policy, Rule
from custody.policy.scope import WRITTEN, Block, Filter, ResourceRule

DEFAULT_SECONDS = 10
"""Of a policy without webhookTimeoutSeconds, as the API server's own default."""
GATEKEEPERS, BESIDE = "gatekeeper", "beside"
_PATH = re.compile(r"/(validate|mutate)(?:(?:/(gatekeeper|beside))?/(fail|ignore|all)/([1-9]|[12]\d|30|any)/"
                   r"([0-9a-f]{12}))?\Z", re.ASCII)
_POLICIES = r"(?:/[a-z0-9][-a-z0-9.]{0,252})"
_KYVERNO = re.compile(rf"/((?:validate|mutate)/(?:fail|ignore)(?:/finegrained{_POLICIES}{{1,2}})?"
                      rf"|(?:n?ivpol/(?:validate|mutate)|n?(?:vpol|gpol|mpol|mpol-existing)){_POLICIES}+)\Z", re.ASCII)


def seconds_of(policy: Policy) -> int:
    """How long the API server waits for this policy, in seconds."""
    return policy.timeout or DEFAULT_SECONDS


def division(policies: Iterable[Policy], *, apart: bool = False) -> str:
    """Twelve hexadecimal digits of the policies' names, failurePolicies and timeouts, and of what each names.

    `apart`: and of which are Gatekeeper's, where those are asked by webhooks of their own.
    """
    parts = sorted([policy.name, policy.failure_policy, seconds_of(policy), registration([policy]),
                    *([part_of(policy)] if apart else [])] for policy in policies)
    return sha256(canonical(parts)).removeprefix("sha256:")[:12]


def part_of(policy: Policy) -> str:
    """Which webhook a policy is asked by, where exempt namespaces are left alone by some of them."""
    return GATEKEEPERS if knows(policy) else BESIDE


def registration(policies: Iterable[Policy]) -> str:
    """Twelve hexadecimal digits of what decides about which resources and operations the API server is to ask."""
    named = {canonical([*_judges(rule), _selected(rule.scope.match), _selected(rule.scope.exclude)])
             for policy in policies for rule in policy.rules}
    return sha256(b"\n".join(sorted(named))).removeprefix("sha256:")[:12]


def _judges(rule: Rule) -> list[object]:
    """Its phase, and what it judges where its match names no operation.

    In two words for the rules of which configurations were made when there were no others: theirs must stay as it is.
    """
    judged = rule.scope.judged
    if rule.phase is Phase.VERIFY and judged == WRITTEN:
        return [True, False]
    if rule.phase is Phase.VALIDATE and judged in (OPERATIONS, (*WRITTEN, "CONNECT")):
        return [False, judged == OPERATIONS]
    return [rule.phase.name, sorted(judged)]


def _selected(block: Block | None) -> list[object]:
    if block is None:
        return []
    return [block.every, [[_named(part), sorted(part.operations), part.only] for part in block.filters]]


def _named(part: Filter) -> list[str]:
    return (sorted(named.text for named in part.kinds) or sorted("/".join(selector) for selector in part.selectors)
            or sorted(canonical(_spelled(rule)).decode() for rule in part.resources))


def _spelled(rule: ResourceRule) -> list[object]:
    """A rule about resources, less the names of objects: no webhook's rule has any."""
    return [sorted(rule.groups), sorted(rule.versions), sorted("/".join(name) for name in rule.resources),
            sorted(rule.operations), rule.scope]


class Endpoint(NamedTuple):
    mutate: bool
    failure_policy: str | None = None
    """Fail or Ignore; None for policies with either."""
    seconds: int | None = None
    """None for policies with any timeout."""
    division: str = ""
    """What the configuration was made for: a `registration` where all are asked, else a `division`; empty where it does
    not say."""

    layout: str = ""
    """A path of Kyverno's, without the leading slash; empty for custody's own."""

    part: str = ""
    """GATEKEEPERS or BESIDE; empty for policies of all engines."""

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """None for what is no path of the webhook."""
        match = _PATH.match(path)
        if match is None:
            family = _KYVERNO.match(path)
            if family is None:
                return None
            first, _, rest = family[1].partition("/")
            return cls(first in ("mutate", "mpol", "nmpol") or (first.endswith("ivpol") and rest.startswith("mutate/")),
                       layout=family[1])
        word, part, failure, seconds, divided = match.groups()
        return cls(word == "mutate", None if failure in (None, "all") else failure.capitalize(),
                   int(seconds) if seconds and seconds != "any" else None, divided or "", part=part or "")

    @property
    def asks_all(self) -> bool:
        return self.failure_policy is None and self.seconds is None and not self.part

    def made_for(self, policies: Iterable[Policy]) -> bool:
        """Whether it was made for these policies; True where it does not say."""
        return not self.division or self.division == (
            registration(policies) if self.asks_all else division(policies, apart=bool(self.part)))

    @property
    def course(self) -> Course:
        return Course.MUTATING if self.mutate else Course.VALIDATING

    @property
    def verb(self) -> str:
        return "mutate" if self.mutate else "validate"

    @property
    def group(self) -> str:
        """`validate`, `validate-fail-10`: a name for people."""
        return self.verb if self.asks_all else f"{self.verb}-{self._words}"

    @property
    def path(self) -> str:
        """Without the leading slash."""
        if self.layout:
            return self.layout
        return f"{self.verb}/{self._words.replace('-', '/')}/{self.division}" if self.division else self.verb

    @property
    def _words(self) -> str:
        return "-".join([*([self.part] if self.part else []), (self.failure_policy or "all").lower(),
                         str(self.seconds or "any")])

    def selects(self, policy: Policy) -> bool:
        return (self.failure_policy in (None, policy.failure_policy)
                and self.seconds in (None, seconds_of(policy)) and self.part in ("", part_of(policy)))

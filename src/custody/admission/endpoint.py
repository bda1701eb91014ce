"""The webhook's paths: which of its two questions is asked, and which policies answer it.

    /validate   /mutate          all policies
    /validate/fail               those whose failurePolicy is Fail
    /validate/ignore/10          those whose failurePolicy is Ignore, with 10 seconds
    /validate/all/10             those with 10 seconds, whatever their failurePolicy

Policies that ask for another failurePolicy or timeout are asked by another webhook of the same configuration.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from custody.policy.kyverno.policy import Policy

DEFAULT_SECONDS = 10
"""Of a policy without webhookTimeoutSeconds, as the API server's own default."""
_PATH = re.compile(r"/(validate|mutate)(?:/(fail|ignore|all)(?:/([1-9]|[12]\d|30))?)?\Z", re.ASCII)


def seconds_of(policy: Policy) -> int:
    """How long the API server waits for this policy, in seconds."""
    return policy.timeout or DEFAULT_SECONDS


class Endpoint(NamedTuple):
    mutate: bool
    failure_policy: str | None = None
    """Fail or Ignore; None for policies with either."""
    seconds: int | None = None
    """None for policies with any timeout."""

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """None for what is no path of the webhook."""
        match = _PATH.match(path)
        if match is None:
            return None
        word, failure, seconds = match.groups()
        return cls(word == "mutate", None if failure in (None, "all") else failure.capitalize(),
                   int(seconds) if seconds else None)

    @property
    def verb(self) -> str:
        return "mutate" if self.mutate else "validate"

    @property
    def path(self) -> str:
        """Without the leading slash."""
        parts = [self.verb]
        if self.failure_policy or self.seconds:
            parts.append((self.failure_policy or "all").lower())
        if self.seconds:
            parts.append(str(self.seconds))
        return "/".join(parts)

    def selects(self, policy: Policy) -> bool:
        return (self.failure_policy in (None, policy.failure_policy)
                and self.seconds in (None, seconds_of(policy)))

"""What policies will do that their authors may not mean: findings of their engines, in all documents at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.policy.engines import engine_of
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet
from custody.policy.rule import Policy


class Finding(NamedTuple):
    policy: str
    path: str
    code: str
    level: str
    """`error` for what does not load, `warning`, or `note` for what is worth knowing and often meant."""
    message: str
    excerpt: str = ""
    """YAML that its author probably meant."""


def lint(document: dict[str, Any], kinds: Kinds | None = None) -> list[Finding]:
    """The findings in one document. Raises CustodyError for one that does not load."""
    return _linted(document, kinds or builtin(), "policies[0]")[1]


def lint_all(located: Sequence[tuple[str, Any]], kinds: Kinds) -> tuple[list[Finding], int]:
    """The findings in all documents, and how many load; one that does not is a finding whose level is `error`."""
    findings: list[Finding] = []
    names: set[str] = set()
    for where, document in located:
        try:
            policy, found = _linted(document, kinds, where)
        except CustodyError as error:
            findings.append(refused(error, where))
            continue
        if policy.name in names:
            findings.append(Finding(policy.name, "metadata.name", "refused", "error", f"{where}: got {policy.name} "
                                    "twice, expected each policy once"))
        names.add(policy.name)
        findings += found
    return findings, len(located) - sum(finding.level == "error" for finding in findings)


def _linted(document: dict[str, Any], kinds: Kinds, where: str) -> tuple[Policy, list[Finding]]:
    (policy,) = PolicySet([document], [where], kinds).policies
    return policy, [Finding(policy.name, *found) for found in engine_of(document).findings(document, policy, kinds)]


def refused(error: CustodyError, where: str) -> Finding:
    """Of what does not load: `policy` is where it stands."""
    text = error.message.removeprefix(f"{where}: ")
    return Finding(where, str(getattr(error, "where", where)), "refused", "error",
                   text + (f" ({error.hint})" if error.hint else ""))

"""What people read when a request is denied or warned about, in the shape of Kyverno's webhook."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from custody.policy.model import Outcome, Request, RuleResult

_LONGEST_WARNING = 1024
_ALL_WARNINGS = 4000


def blocked(request: Request, results: Sequence[RuleResult]) -> str:
    """A YAML map of policy → rule → message after Kyverno's two introductory lines; a rule's messages are joined.

    What engines have sentences of their own for comes first, as one line: where there is nothing else, it is all.
    """
    failures: dict[str, dict[str, str]] = {}
    told = "; ".join(result.told for result in results if result.denies and result.told)
    for result in results:
        if result.enforce and not result.told and result.outcome in (Outcome.FAIL, Outcome.ERROR):
            rules = failures.setdefault(result.policy, {})
            rules[result.rule] = f"{rules[result.rule]}; {result.message}" if result.rule in rules else result.message
    if told and not failures:
        return told
    text = yaml.dump(failures, Dumper=yaml.CSafeDumper, default_flow_style=False, allow_unicode=True, width=80)
    # Like Kyverno, the object's own name: empty while the API server has yet to generate one.
    resource = f"{request.kind.kind}/{request.namespace}/{request.name}"
    return f"{told}\n\nresource {resource} was blocked due to the following policies \n\n{text}"


def shortened(warnings: Sequence[str]) -> list[str]:
    """Warnings within what the API server passes on: 4,096 bytes in all."""
    result: list[str] = []
    left = _ALL_WARNINGS
    for warning in warnings:
        text = " ".join(warning.split())
        text = text if len(text) <= _LONGEST_WARNING else text[:_LONGEST_WARNING - 1] + "…"
        left -= len(text.encode())
        if left < 0:
            break
        result.append(text)
    return result

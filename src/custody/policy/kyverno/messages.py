"""What people read when a request is denied or warned about, in the shape of Kyverno's webhook."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import yaml

from custody.policy.model import Outcome, Request, RuleResult

_CUT_WARNING = 256
_ALL_WARNINGS = 4096
_ALL = 256 * 1024  # characters of a denial: every rule has a message
_LONGEST = 2000  # characters of a policy's messages that are remembered as YAML


def blocked(request: Request, results: Sequence[RuleResult]) -> str:
    """A YAML map of policy → rule → message after Kyverno's two introductory lines; a rule's messages are joined.

    What engines have sentences of their own for comes first, as one line: where there is nothing else, it is all.
    """
    failures: dict[str, dict[str, str]] = {}
    denying = [result for result in results if result.denies and result.told]
    lines = [result.told for result in denying if _is_line(result)]  # Gatekeeper has a line for each
    sentences = "; ".join(result.told for result in denying if not _is_line(result))
    told = "\n".join([sentences, *lines] if sentences else lines)
    for result in results:
        if result.enforce and not result.told and result.outcome in (Outcome.FAIL, Outcome.ERROR):
            rules = failures.setdefault(result.policy, {})
            rules[result.rule] = f"{rules[result.rule]}; {result.message}" if result.rule in rules else result.message
    told = told if len(told) <= _ALL else f"{told[:_ALL]}…"
    if told and not failures:
        return told
    text = ""
    for policy in sorted(failures):
        text += _block(policy, tuple(failures[policy].items()))
        if len(text) > _ALL:
            text = f"{text[:_ALL]}…\n"
            break
    text = text or "{}\n"
    # Like Kyverno, the object's own name: empty while the API server has yet to generate one.
    resource = f"{request.kind.kind}/{request.namespace}/{request.name}"
    return f"{told}\n\nresource {resource} was blocked due to the following policies \n\n{text}"


def _is_line(result: RuleResult) -> bool:
    return result.told.startswith(f"[{result.policy}] ")


def _block(policy: str, rules: tuple[tuple[str, str], ...]) -> str:
    """One policy's part of the map. The same failures come again and again, and writing YAML is slow."""
    return _dumped(policy, rules) if sum(len(message) for _, message in rules) > _LONGEST else _known(policy, rules)


def _dumped(policy: str, rules: tuple[tuple[str, str], ...]) -> str:
    return str(yaml.dump({policy: dict(rules)}, Dumper=yaml.CSafeDumper, default_flow_style=False, allow_unicode=True,
                         width=80))


_known = lru_cache(2048)(_dumped)


def shortened(warnings: Sequence[str]) -> list[str]:
    """Warnings, each once, as far as the API server passes them on (apiserver's filters/warning.go).

    Up to 4,096 characters in all go as they are. Of more it cuts each itself, to 256, and leaves out those for which
    there is no room then: what is not sent is what nobody would see.
    """
    result: list[str] = []
    room = _ALL_WARNINGS
    for warning in dict.fromkeys(warnings):
        if room <= 0:
            break
        text = " ".join(warning.split())[:_ALL_WARNINGS + 1]
        result.append(text)
        room -= min(len(text), _CUT_WARNING)
    return result

"""What a policy of policies.kyverno.io will do that its author may not mean: said before it is applied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.policy.engine import Finding
from policylang.cel.kyverno import env
from policylang.errors import LanguageError

_NAMES = re.compile(r"\b(object|oldObject|request|namespaceObject|variables|exceptions|images|params|resource|http|"
                    r"globalContext|image|evidence|attestors|attestations|authorizer|now|random|time)\b")
_TEXTS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_OPTIONAL = ("securityContext", "initContainers", "ephemeralContainers", "volumes", "labels", "annotations",
             "hostNetwork", "hostPID", "hostIPC", "nodeSelector", "affinity", "tolerations")
_READ = re.compile(rf"\b((?:object|oldObject)(?:\.[A-Za-z_][A-Za-z0-9_]*)*?\.({'|'.join(_OPTIONAL)}))\b(?!\s*\))")
_EVIDENCE = re.compile(r"(?<![.\w])evidence\s*\(")
_OUTDATED = re.compile(r"v[0-9]+(alpha|beta)[0-9]+\Z")


def findings(document: dict[str, Any]) -> Iterator[Finding]:
    """Of one document that loads, in the order of its fields."""
    spec = document["spec"]
    version = str(document["apiVersion"]).rpartition("/")[2]
    if _OUTDATED.match(version):
        yield "apiVersion", "deprecated", "note", f"{version} is no stable version; instead: v1", ""
    if spec.get("failurePolicy") == "Ignore":
        yield ("spec.failurePolicy", "fails-open", "warning",
               "what cannot be evaluated, or comes while the webhook is away, is admitted", "")
    for field in ("variables", "matchConditions", "validations", "conditions"):
        for at, entry in enumerate(spec.get(field) or []):
            written = entry.get("expression") if isinstance(entry, dict) else None
            if isinstance(written, str) and _EVIDENCE.search(_TEXTS.sub("''", written)):
                yield (f"spec.{field}[{at}].expression", "only-in-custody", "warning", "evidence() is a function of "
                       "custody's: Kyverno refuses the policy", "")
    actions = spec.get("validationActions") or ["Deny"]
    if "Validating" in document["kind"] and "Deny" not in actions:
        yield ("spec.validationActions", "audit", "warning", f"{' and '.join(actions)} reports and denies nothing",
               "validationActions: [Deny]\n")
    for field in ("matchConditions", "validations", "conditions"):
        for at, entry in enumerate(spec.get(field) or []):
            if not isinstance(entry, dict) or not isinstance(entry.get("expression"), str):
                continue
            path = f"spec.{field}[{at}]"
            yield from _constant(entry["expression"], path, field)
            yield from _unguarded(entry["expression"], spec, f"{path}.expression")
            if field == "validations" and not (entry.get("message") or entry.get("messageExpression")):
                yield (f"{path}.message", "no-message", "note", "who is refused is told the number of an expression, "
                       "and no reason", "")


def _constant(text: str, path: str, field: str) -> Iterator[Finding]:
    """An expression that speaks of nothing that is asked about is the same each time."""
    if _NAMES.search(_TEXTS.sub("''", text)):
        return
    try:
        value = env("ValidatingPolicy").compile(text)({})
    except LanguageError:
        return
    does = {("validations", True): "nothing is ever against it", ("validations", False): "everything is against it",
            ("matchConditions", True): "it leaves nothing out", ("matchConditions", False): "nothing is ever judged",
            ("conditions", True): "everything that matches is taken", ("conditions", False): "nothing is ever taken"}
    if isinstance(value, bool):
        yield (f"{path}.expression", "constant-expression", "warning",
               f"it is always {str(value).lower()}: {does[field, value]}", "")


def _unguarded(text: str, spec: dict[str, Any], path: str) -> Iterator[Finding]:
    """A field that need not be there, read as if it were: the expression is then an error."""
    bare = _TEXTS.sub("''", text)
    written = " ".join([bare, *(entry["expression"] for entry in spec.get("matchConditions") or []
                                if isinstance(entry, dict) and isinstance(entry.get("expression"), str))])
    for chain, name in dict.fromkeys(_READ.findall(bare)):
        if f"has({chain}" in written or f".?{name}" in written:
            continue
        yield (path, "unguarded-optional", "warning", f"{chain} need not be there, and where it is not the expression "
               "is an error", f"{chain.removesuffix(f'.{name}')}.?{name}.orValue(…)\n")

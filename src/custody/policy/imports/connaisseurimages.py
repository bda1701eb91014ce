"""A configuration of Connaisseur as an ImageValidatingPolicy of policies.kyverno.io, where that can say the same.

Its rules become a chain: the most specific pattern first. Images that a static validator lets pass are not meant, so
that no digest is written into them either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from custody.errors import UnsupportedError
from custody.policy.imports.connaisseur import ConnaisseurRule, PatternRule, compile_configuration
from custody.policy.imports.kyvernoimages import HOLDERS, RESOURCES
from custody.policy.imports.trial import Signature
from custody.policy.imports.validators import TrustRoot
from custody.policy.kyverno.attestors import regexp
from custody.policy.migrate.expressions import every, quoted
from custody.ports.lookup import Authority

_HUB = r"^(index[.]|registry-1[.])?docker[.]io(:443)?$|^registry[.]hub[.]docker[.]com(:443)?$"
_GLOB = re.compile(r"[A-Za-z0-9_:/*?.@-]*")


def translated(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Of one that loads. Raises UnsupportedError."""
    rule = _rule(document)
    features = rule.features
    for field, stands in (("automaticChildApproval", features.children), ("resourceValidationMode", features.pods),
                          ("automaticUnchangedApproval", features.unchanged)):
        if stands:
            raise UnsupportedError(f"application.features.{field}", "it has no words in an ImageValidatingPolicy",
                                   hint="a values.yaml that switches it off can be imported")
    demanding = [entry for entry in rule.rules if entry.demand is not None]
    if len({entry.mutates for entry in demanding}) > 1:
        raise UnsupportedError("policy[].with.mode", "an ImageValidatingPolicy pins all images or none")
    attestors: dict[tuple[Authority, str, tuple[tuple[str, str], ...]], dict[str, Any]] = {}
    ranked = sorted(rule.rules, key=lambda entry: _rank(entry, rule.rules), reverse=True)
    allowed = _chain("ref", [(entry, "true" if entry.approve else "false") for entry in ranked])
    judged = _chain("name", [(entry, _demand(entry, attestors)) for entry in ranked])
    match: dict[str, Any] = {"resourceRules": [{**said, "operations": ["CREATE", "UPDATE"]} for said in RESOURCES]}
    if selector := _namespaces(document):
        match["namespaceSelector"] = selector
    spec: dict[str, Any] = {
        "failurePolicy": rule.policy.failure_policy, "validationActions": ["Warn"] if features.detection else ["Deny"],
        "matchConstraints": match, "autogen": {"podControllers": {"controllers": []}},
        "matchImageReferences": [{"expression": f"!({allowed})"}],
        "validationConfigurations": {"mutateDigest": any(entry.mutates for entry in demanding), "verifyDigest": False,
                                     "required": False}}
    if not attestors:
        raise UnsupportedError("policy", "no rule asks for signatures, and an ImageValidatingPolicy must have an "
                               "attestor")
    spec["attestors"] = [*attestors.values()]
    spec["validations"] = [{"expression": f"({HOLDERS}).all(name, {judged})",
                            "message": "an image is not signed as the policy of Connaisseur wants it"}]
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy",
             "metadata": {"name": rule.policy.name}, "spec": spec}]


def signatures(document: dict[str, Any]) -> list[Signature]:
    """By each trust root that a rule wants, as it wants it."""
    made: dict[Signature, None] = {}
    for entry in _rule(document).rules:
        for root in entry.demand.roots if entry.demand is not None else ():
            pem = root.authority.keys.strip() or (
                f"-----BEGIN PUBLIC KEY-----\n{root.kms}\n-----END PUBLIC KEY-----" if root.kms else "")
            made[Signature(key=pem) if pem else Signature(
                subject=example(root.identity, "subject", "Regex"), issuer=example(root.identity, "issuer", "Regex"),
                roots=root.authority.roots)] = None
    return [*made]


def patterns(document: dict[str, Any]) -> list[str]:
    return [entry.pattern.text for entry in _rule(document).rules]


def example(identity: Mapping[str, Any], field: str, suffix: str) -> str:
    """A text that an identity wants; one that it does not where none is found for its regular expression."""
    exact, pattern = str(identity.get(field) or ""), str(identity.get(f"{field}{suffix}") or "")
    if exact:
        return exact
    plain = re.sub(r"\.[*+]|\[[^]]*\][*+]?|\\w[*+]?", "x", pattern.strip("^$")).replace("\\", "")
    fits = regexp(pattern, field)
    return next((text for text in (plain, re.sub(r"[()|?]", "", plain), "x") if fits is not None and fits(text)), "")


def _rule(document: dict[str, Any]) -> ConnaisseurRule:
    rule = compile_configuration(document).rules[0]
    assert isinstance(rule, ConnaisseurRule)
    return rule


def _rank(entry: PatternRule, rules: Sequence[PatternRule]) -> tuple[int, list[int], list[int], int]:
    parts = entry.pattern.text.split("/")
    return len(parts), [len(re.split(r"[*?]", part)[0]) for part in parts], [*map(len, parts)], rules.index(entry)


def _chain(name: str, rules: Sequence[tuple[PatternRule, str]]) -> str:
    """What the first rule says whose pattern fits; false where none does."""
    text = "false"
    for entry, said in reversed(rules):
        text = said if said == text else f"({_full(name)}).matches({quoted(_regexp(entry))}) ? {said} : ({text})"
    return text


def _full(name: str) -> str:
    """As Connaisseur names an image before it compares, however its registry is spelled."""
    host, digest = f"image({name}).registry()", f"image({name}).digest()"
    path, tagged = f"image({name}).repository()", f"{name}.split('@')[0].matches(':[^/]+$')"
    return (f"({host}.matches({quoted(_HUB)}) ? 'index.docker.io/' + ({path}.contains('/') ? '' : 'library/') : "
            f"{host} + '/') + {path} + ({digest} == '' || {tagged} ? ':' + image({name}.split('@')[0]).tag() : '') + "
            f"({digest} != '' ? '@' + {digest} : '')")


def _regexp(entry: PatternRule) -> str:
    text = entry.pattern.text
    if not _GLOB.fullmatch(text):
        raise UnsupportedError("policy[].pattern", f"{text!r} has more than * and ?")
    host, slash, path = text.partition("/")
    text = f"{host.lower()}{slash}{path}" if slash and ("." in host or ":" in host) else text
    inner = "".join({"*": ".*", "?": ".", ".": "[.]"}.get(letter, letter) for letter in text)
    return inner.replace("/", "(:443)?/", 1)


def _demand(entry: PatternRule, attestors: dict[Any, dict[str, Any]]) -> str:
    """What a rule demands of the image `name`."""
    if entry.demand is None:
        return "true" if entry.approve else "false"
    names = {root.name: _attestor(root, attestors) for root in entry.demand.roots}
    wanted = [f"verifyImageSignatures(name, [{_named(names[name])}]) > 0" if name in names else "false"
              for name in entry.demand.required]
    if entry.demand.threshold or not wanted:
        every_one = ", ".join(map(_named, names.values()))
        wanted.append(f"verifyImageSignatures(name, [{every_one}]) >= {max(entry.demand.threshold, 1)}")
    return every(wanted)


def _named(attestor: str) -> str:
    return f"attestors.{attestor}"


def _attestor(root: TrustRoot, attestors: dict[Any, dict[str, Any]]) -> str:
    believed = root.authority
    for field, said in (("auth.secretName", believed.secrets), ("cert", believed.registry_ca)):
        if said:
            raise UnsupportedError(f"validators[].{field}", "it has no words in an ImageValidatingPolicy here")
    key = (believed, root.kms, tuple(root.identity.items()))
    if key in attestors:
        return str(attestors[key]["name"])
    name = f"root{len(attestors)}"
    if believed.notary:
        stamps = {"tsaCerts": {"value": believed.stamps}} if believed.stamps else {}
        attestors[key] = {"name": name, "notary": {"certs": {"value": believed.roots}, **stamps}}
        return name
    log = {"insecureIgnoreTlog": believed.ignore_log, "insecureIgnoreSCT": believed.ignore_sct}
    cosign: dict[str, Any] = {"ctlog": {**log, **{field: value for field, value in (
        ("rekorPubKey", believed.log_key), ("url", believed.log_url), ("ctLogPubKey", believed.ct_key)) if value}}}
    if root.identity:
        identity = {field.replace("Regex", "RegExp"): value for field, value in root.identity.items()}
        cosign["keyless"] = {"identities": [identity], **({"roots": believed.roots} if believed.roots else {})}
    else:
        cosign["key"] = {"kms": root.kms} if root.kms else {"data": believed.keys}
    attestors[key] = {"name": name, "cosign": cosign}
    return name


def _namespaces(document: dict[str, Any]) -> dict[str, Any] | None:
    if "application" not in document:
        return None
    mode = ((document["application"].get("features") or {}).get("namespacedValidation") or {}).get("mode") or "ignore"
    return {"matchExpressions": [{"key": "securesystemsengineering.connaisseur/webhook",
                                  "operator": "In" if mode == "validate" else "NotIn", "values": [mode]}]}

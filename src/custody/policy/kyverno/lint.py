"""What a policy will do that its author may not mean: said before it is applied.

Only policies that load are linted, so the documents' shapes are known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from custody.languages.kpattern import anchor
from custody.policy.kyverno.policy import AUTOGEN

_OPTIONAL = {
    ("spec",): ("initContainers", "ephemeralContainers", "securityContext", "volumes", "imagePullSecrets", "affinity",
                "tolerations", "nodeSelector", "hostNetwork", "hostPID", "hostIPC", "hostUsers", "runtimeClassName"),
    ("spec", "containers"): ("securityContext", "ports", "env", "envFrom", "volumeMounts", "args", "command",
                             "lifecycle"),
}
_KINDS = ("initContainers", "ephemeralContainers")


class Finding(NamedTuple):
    policy: str
    path: str
    code: str
    level: str
    """`warning`, or `note` for what is worth knowing and often meant."""
    message: str
    excerpt: str = ""
    """YAML that its author probably meant."""


def lint(document: dict[str, Any]) -> list[Finding]:
    """The findings in one ClusterPolicy document that loads, in the order of its fields."""
    name = document["metadata"]["name"]
    return [Finding(name, *found) for found in _policy(document)]


_Found = tuple[str, str, str, str, str]


def _policy(document: dict[str, Any]) -> Iterator[_Found]:
    spec = document["spec"]
    if str(spec.get("failurePolicy")) == "Ignore":
        yield ("spec.failurePolicy", "fails-open", "warning",
               "what cannot be evaluated, or comes while the webhook is away, is admitted", "")
    if (document["metadata"].get("annotations") or {}).get(AUTOGEN) is None:
        yield (f"metadata.annotations.{AUTOGEN}", "no-autogen", "note",
               "Kyverno also makes rules for Deployments, Jobs and the like; custody judges their pods when they are "
               "created", f"metadata:\n  annotations:\n    {AUTOGEN}: none\n")
    for at, rule in enumerate(spec["rules"]):
        path = f"spec.rules[{at}]"
        validate = rule.get("validate")
        action = (validate or {}).get("failureAction") or spec.get("validationFailureAction") or "Audit"
        if validate is not None:
            if action.lower() == "audit":
                yield _audit(f"{path}.validate")
            for form, pattern in (("pattern", validate.get("pattern")), *(
                    (f"anyPattern[{n}]", one) for n, one in enumerate(validate.get("anyPattern") or []))):
                if isinstance(pattern, dict):
                    yield from _pattern(pattern, f"{path}.validate.{form}")
        for n, entry in enumerate(rule.get("verifyImages") or []):
            if (entry.get("failureAction") or spec.get("validationFailureAction") or "Audit").lower() == "audit":
                yield _audit(f"{path}.verifyImages[{n}]")
            yield from _images(entry, f"{path}.verifyImages[{n}]")


def _audit(path: str) -> _Found:
    return path, "audit", "warning", "Audit reports and denies nothing", "validationFailureAction: Enforce\n"


# ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────────────

def _pattern(pattern: dict[str, Any], path: str) -> Iterator[_Found]:
    yield from _unanchored(pattern, pattern, (), path)
    spec = next((value for key, value in pattern.items() if anchor(key)[1] == "spec"), None)
    kinds = {anchor(key)[1]: value for key, value in spec.items()} if isinstance(spec, dict) else {}
    if "containers" in kinds:
        for kind in _KINDS:
            if kind not in kinds and _has(kinds["containers"], "image"):
                yield (f"{path}.spec", "containers-not-covered", "warning",
                       f"{kind} are not judged: an image that containers may not have can come in there",
                       _yaml({"spec": {f"=({kind})": kinds["containers"]}}))
    for where, text in _texts(pattern, path):
        if where.endswith(".image"):
            for choice in text.split("|"):
                yield from _lookalike(choice.strip(), where)


def _unanchored(part: Any, whole: dict[str, Any], keys: tuple[str, ...], path: str) -> Iterator[_Found]:
    if isinstance(part, list):
        for one in part[:1]:
            yield from _unanchored(one, whole, keys, f"{path}[0]")
        return
    if not isinstance(part, dict):
        return
    at = tuple("containers" if anchor(key)[1] in _KINDS else anchor(key)[1] for key in keys)
    for key, value in part.items():
        kind, name = anchor(key)
        if kind is None and name in _OPTIONAL.get(at, ()) and value != "*":
            yield (f"{path}.{key}", "unanchored-optional", "warning",
                   f"{name} is optional, and a pod without it fails this rule; to judge it only where it is there, "
                   f"write =({name})", _yaml(_nested(keys, {f"=({name})": value})))
        yield from _unanchored(value, whole, (*keys, key), f"{path}.{key}")


def _nested(keys: tuple[str, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: [value] if anchor(key)[1] in ("containers", *_KINDS) else value}
    return value


def _has(part: Any, name: str) -> bool:
    if isinstance(part, list):
        return any(_has(one, name) for one in part)
    return isinstance(part, dict) and any(anchor(key)[1] == name for key in part)


def _texts(part: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _texts(value, f"{path}.{anchor(key)[1]}")
    elif isinstance(part, list):
        for at, value in enumerate(part):
            yield from _texts(value, f"{path}[{at}]")
    elif isinstance(part, str):
        yield path, part


def _lookalike(glob: str, path: str) -> Iterator[_Found]:
    """A `*` inside a name of registry or organisation also matches names that somebody else can register."""
    head = glob.split("*")[0].split("?")[0]
    if glob.startswith("!") or head == glob or glob == "*":
        return
    if not head or ("/" not in head and not head.endswith(":")) or head[-1] not in "/:@":
        also = f"{head.rstrip('/')}-evil.example/x" if "/" not in head else f"{head}-evil/x"
        better = f"{head.rstrip('/')}/*" if head else "registry.example.com/*"
        yield (path, "look-alike", "warning", f"{glob!r} also matches {also!r}", f'"{better}"\n')


# ── images ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def _images(entry: dict[str, Any], path: str) -> Iterator[_Found]:
    for at, text in enumerate(entry["imageReferences"]):
        where = f"{path}.imageReferences[{at}]"
        first = text.split("/")[0]
        if ("/" not in text and text != "*") or (not set(".:*?") & set(first) and first != "localhost"):
            yield (where, "never-matches", "warning", f"{text!r} has no registry, and names are compared with one: it "
                   "matches nothing", f'"docker.io/{text}"\n')
        last = text.rpartition("/")[2]
        if ":" in last and "@" not in last:
            bare = text[:text.rindex(":")]
            yield (where, "tag-only", "warning", "an image that is named by its digest has no tag to match, and is not "
                   "verified", f'- "{text}"\n- "{bare}@*"\n')
    for field in ("verifyDigest", "mutateDigest"):
        if entry.get(field) is False:
            yield (f"{path}.{field}", "mutable-reference", "warning",
                   "the tag may be moved to another image after this one was judged", f"{field}: true\n")
    attested = [(f"attestations[{n}]", one.get("attestors") or [{}])
                for n, one in enumerate(entry.get("attestations") or [])]
    for kind, sets in (("attestors", entry.get("attestors") or []), *attested):
        for attestor in sets:
            if not attestor:
                yield (f"{path}.{kind}", "any-signer", "warning",
                       "whoever the trust root knows may have attested this", "")
            yield from _identities(attestor, f"{path}.{kind}")


def _identities(attestors: dict[str, Any], path: str) -> Iterator[_Found]:
    for at, one in enumerate(attestors.get("entries") or []):
        keyless = one.get("keyless")
        where = f"{path}.entries[{at}]"
        if keyless is not None:
            for field in ("subject", "issuer"):
                value = keyless.get(field) or keyless.get(f"{field}RegExp")
                if value in (None, "*", ".*", "^.*$", ".+"):
                    yield f"{where}.keyless.{field}", "any-signer", "warning", f"any {field} may have signed this", ""
        if one.get("attestor"):
            yield from _identities(one["attestor"], f"{where}.attestor")


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=100)

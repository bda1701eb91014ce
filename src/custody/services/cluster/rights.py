"""Whether custody may do what a policy wants done to other objects: the API server is asked, as who does it.

Kyverno 1.19 pkg/policy/{mutate,generate} and pkg/validation/cleanuppolicy, with its words and in its order: a policy of
kyverno.io for which a right is missing is refused when it is applied. It asks nothing of what policies.kyverno.io
change, nor for the right to list: custody warns of these. What a GeneratingPolicy makes is known when it has made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from custody.policy.kinds import Kinds, Selector
from custody.policy.resources import ApiResource
from custody.services.cluster.permissions import Permissions, Right, named
from policylang.go.wildcards import has_wildcard

_MOST = 8
"""Resources that a wildcard in a kind may mean; of more the first are asked about."""
_READ, _CREATED = ("list", "get"), ("get", "create")
_KEPT_IN_STEP = (*_CREATED, "update", "delete")


class _Need(NamedTuple):
    before: str
    """What a refusal begins with; `{}` is the account."""
    words: str
    """What it says of the verbs that are missing; `{}` is each of them. Empty: as Kyverno's rules say it."""
    verbs: tuple[str, ...]
    written: str
    """Group, version and kind as the policy says them; `Kind`, `v1/Kind` or `apps/v1/Kind`."""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    warned: bool = False
    """Whether the policy is not refused for want of it."""


class Rights:
    """Of the account as which the cluster is asked."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    async def refusal(self, document: Mapping[str, Any], kinds: Kinds) -> str:
        """Why a policy is refused that is applied now; empty where it is not. Raises CustodyError."""
        return await self._first(_needs(document), kinds, fresh=True)

    async def warning(self, document: Mapping[str, Any], kinds: Kinds) -> str:
        """What is missing for what Kyverno does not ask about. Raises CustodyError."""
        return await self._first(_asides(document), kinds, fresh=True)

    async def lacking(self, document: Mapping[str, Any], kinds: Kinds) -> str:
        """Of a policy that is in force: either, by answers of the last minute. Raises CustodyError."""
        return (await self._first(_needs(document), kinds, fresh=False)
                or await self._first(_asides(document), kinds, fresh=False))

    async def _first(self, needs: Iterator[_Need], kinds: Kinds, *, fresh: bool) -> str:
        together: dict[str, list[str]] = {}
        for need in needs:
            if together and need.before not in together:
                break  # faults of all targets of a rule are told together
            if fault := await self._fault(need, kinds, fresh=fresh):
                together.setdefault(need.before, []).append(fault)
                if "{}" not in need.before:
                    break
        if not together:
            return ""
        account = await self._permissions.account()
        return "".join(before.replace("{}", account) + "; ".join(faults) for before, faults in together.items())

    async def _fault(self, need: _Need, kinds: Kinds, *, fresh: bool) -> str:
        resources = _resources(need.written, kinds)
        if not resources:
            return f"failed to get GVR for kind {need.written}"
        missing = []
        for verb in need.verbs:
            namespace, name = (text if "{{" not in text and not has_wildcard(text) else ""
                               for text in (need.namespace, need.name))
            for resource in resources:
                if not await self._permissions.may(Right(verb, resource.group, resource.plural, need.subresource,
                                                         namespace if resource.namespaced else "", name), fresh=fresh):
                    missing.append(verb)
                    break
        if not missing:
            return ""
        if need.words:
            return need.words.replace("{}", missing[0])
        about = f"{need.written}/{need.subresource}" if need.subresource else need.written
        place = f" in namespace {need.namespace}" if need.namespace else ""
        account, verbs = await self._permissions.account(), ",".join(missing)
        return f"{account} requires permissions {verbs} for resource {about}{place}"


def _needs(document: Mapping[str, Any]) -> Iterator[_Need]:
    kind, group = str(document.get("kind")), str(document.get("apiVersion")).partition("/")[0]
    spec = _map(document.get("spec"))
    if group != "kyverno.io":
        return
    if kind in ("CleanupPolicy", "ClusterCleanupPolicy"):
        yield from _cleaned(spec, str(_map(document.get("metadata")).get("namespace") or ""))
    elif kind in ("ClusterPolicy", "Policy"):
        for at, rule in enumerate(_list(spec.get("rules"))):
            for target in _targets(_map(rule)):
                yield target._replace(before=f"path: spec.rules[{at}].mutate.targets.: auth check fails, additional "
                                             "privileges are required for the service account '{}': ")
            yield from _generated(_map(_map(rule).get("generate")), f"path: spec.rules[{at}].generate.")


def _asides(document: Mapping[str, Any]) -> Iterator[_Need]:
    kind, group = str(document.get("kind")), str(document.get("apiVersion")).partition("/")[0]
    spec = _map(document.get("spec"))
    if group == "kyverno.io" and kind in ("ClusterPolicy", "Policy"):
        for rule in _list(spec.get("rules")):
            for target in _targets(_map(rule)):
                if not target.name or "{{" in target.name or has_wildcard(target.name):
                    yield target._replace(verbs=("list",))
    elif kind.removeprefix("Namespaced") == "DeletingPolicy":
        yield from _constrained(document, spec.get("matchConstraints"), ("list", "delete"))
    elif kind.removeprefix("Namespaced") == "MutatingPolicy" and _map(
            _map(spec.get("evaluation")).get("mutateExisting")).get("enabled"):
        yield from _constrained(document, spec.get("targetMatchConstraints") or spec.get("matchConstraints"),
                                ("get", "list", "update"))


def _targets(rule: Mapping[str, Any]) -> Iterator[_Need]:
    for target in map(_map, _list(_map(rule.get("mutate")).get("targets"))):
        kind, _, subresource = str(target.get("kind") or "").partition("/")
        if "{{" not in kind:
            yield _Need("", "", ("get", "update"), f"{target.get('apiVersion') or ''}/{kind}", subresource,
                        str(target.get("namespace") or ""), str(target.get("name") or ""))


def _generated(generate: Mapping[str, Any], path: str) -> Iterator[_Need]:
    """Kyverno asks about the first kind of a cloneList alone."""
    synchronized = generate.get("synchronize") is True
    for verbs in (_READ, _KEPT_IN_STEP) if synchronized else (_CREATED,):
        foreach = _list(generate.get("foreach"))
        for pattern in map(_map, foreach or [generate] * bool(generate)):
            listed = [str(text) for text in _list(_map(pattern.get("cloneList")).get("kinds"))]
            for text in listed or [f"{pattern.get('apiVersion') or ''}/{pattern.get('kind')}"]:
                if "{{" not in text:
                    selector = Selector.parse(text.lstrip("/"))
                    yield _Need(f"{path}{'foreach' if foreach else ''}.: ", "", verbs,
                                text.removesuffix(f"/{selector.subresource}"), selector.subresource,
                                str(pattern.get("namespace") or ""))


def _cleaned(spec: Mapping[str, Any], namespace: str) -> Iterator[_Need]:
    match = _map(spec.get("match"))
    for part in (*_list(match.get("any")), *_list(match.get("all"))):
        resources = _map(_map(part).get("resources"))
        for kind in _list(resources.get("kinds")):
            for name in _list(resources.get("names")) or [""]:
                for verb in ("delete", "list"):
                    if not has_wildcard(str(kind)):
                        yield _Need("", f"cleanup controller has no permission to {{}} kind {kind}", (verb,), str(kind),
                                    "", namespace, str(name))


def _constrained(document: Mapping[str, Any], constraints: Any, verbs: tuple[str, ...]) -> Iterator[_Need]:
    namespace = str(_map(document.get("metadata")).get("namespace") or "")
    for group, version, plural in named([{"matchConstraints": constraints}]):
        if "*" not in (group, version, plural):
            yield _Need("", "", verbs, f"{group}/{version}/{plural}".lstrip("/"), "", namespace)


def _resources(written: str, kinds: Kinds) -> list[ApiResource]:
    """What is served of a kind, or of a plural; where no version is said, in whatever group has it first."""
    api_version, _, kind = written.rpartition("/")
    group, _, version = ("*", "", "*") if api_version in ("", "*") else api_version.rpartition("/")
    resources = [target.resource for target in kinds.find(Selector(group, version, kind, ""))]
    resources = resources or [resource for resource in kinds.resources
                              if (resource.group, resource.version, resource.plural) == (group, version, kind)]
    return resources[:_MOST if has_wildcard(written) else 1]


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

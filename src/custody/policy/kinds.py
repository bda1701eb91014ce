"""What a rule's `kinds` select: the selectors' grammar, and the resources that an API server serves under them.

Kyverno 1.17 (ParseKindSelector in pkg/utils/kube/kind.go, FindResources in pkg/clients/dclient/discovery.go) asks the
API server's discovery. Here it is a table: that of Kubernetes 1.34, with custom resources from their definitions, or
that of one API server by its aggregated discovery (KEP-3352).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from custody.errors import MalformedError, UnsupportedError
from custody.policy.model import Kind, Request, Resource
from custody.policy.resources import ApiResource, Subresource, of_crd
from policylang.go.wildcards import glob

KUBERNETES = "1.34"
"""Whose kinds are built in."""
KIND_VERSION = re.compile(r"(v\d((alpha|beta)\d)?|\*)\Z")
_CRD_HINT = "for a custom resource give its definition with --crd, or write group/version/Kind"
_ELSEWHERE = "what another API server serves is asked for with --kubeconfig"


class Selector(NamedTuple):
    """One entry of `kinds`: each part a wildcard pattern."""

    group: str
    version: str
    kind: str
    subresource: str

    @classmethod
    def parse(cls, text: str, where: str = "kinds") -> Selector:
        """`Pod`, `v1/Pod`, `apps/v1/Deployment`, `Pod/exec`, `v1/Pod/exec`, `*/*`, `*/exec`; the last `/` may be a dot.

        Raises MalformedError.
        """
        *front, last = text.split("/")
        match [*front, *last.split(".")]:
            case [kind] if kind:
                return cls("*", "*", kind, "")
            case ["*", "*"]:
                return cls("*", "*", "*", "*")
            case ["*", second] if second and second == second.lower():
                return cls("*", "*", "*", second)
            case [first, second] if first and second:
                return cls("*", first, second, "") if KIND_VERSION.match(first) else cls("*", "*", first, second)
            case [first, second, third] if second and third:
                return cls("*", first, second, third) if KIND_VERSION.match(first) else cls(first, second, third, "")
            case [group, version, kind, subresource] if version and kind and subresource:
                return cls(group, version, kind, subresource)
        raise MalformedError(where, got=text, expected="Kind, version/Kind or group/version/Kind, each with or without "
                             "/subresource")

    def selects(self, kind: Kind, subresource: str) -> bool:
        """`kind` is that of the resource itself, also where the request is for a subresource."""
        if not (glob(self.kind, kind.kind) and glob(self.version, kind.version) and glob(self.group, kind.group)):
            return False
        if not self.subresource:
            # An ephemeral container is added to a pod through its own subresource, and a rule about pods means it too.
            return not subresource or (subresource == "ephemeralcontainers" and kind == Kind("Pod"))
        if not subresource:  # `Pod/*` is every subresource of pods and no pod, but `*/*` is everything
            return (self.kind, self.subresource) == ("*", "*")
        return glob(self.subresource, subresource)

    def matches(self, request: Request) -> bool:
        """Raises UnsupportedError for a subresource of a resource whose kind is not known, where that decides."""
        if not request.subresource:
            return self.selects(request.kind, "")
        if request.parent is not None:
            return self.selects(request.parent, request.subresource)
        if request.resource is None:
            return self.selects(request.kind, request.subresource)
        resource = request.resource
        if not (glob(self.subresource, request.subresource) and glob(self.version, resource.version)
                and glob(self.group, resource.group)):
            return False
        if self.kind == "*":
            return True
        raise UnsupportedError("request.resource", f"{resource.resource}.{resource.group}/{resource.version} is not "
                               f"known, nor whether its {request.subresource} is of a {self.kind}", hint=_CRD_HINT)


class Target(NamedTuple):
    """What a selector selects."""

    resource: ApiResource
    subresource: Subresource | None = None

    @property
    def operations(self) -> tuple[str, ...]:
        return (self.subresource or self.resource).operations


class Kinds:
    """The resources that are served. `whole`: the groups of which every kind is known. `source` is for messages.

    `unknown`: (group, version) of what is served, and of which nothing is known for now.
    """

    def __init__(self, resources: Iterable[ApiResource], *, whole: Iterable[str] = (), source: str,
                 checked: bool = True, unknown: Iterable[tuple[str, str]] = ()) -> None:
        self.resources = tuple(resources)
        self.whole = frozenset(whole)
        self.unknown = frozenset(unknown)
        self.source = source
        self.checked = checked
        self._by_name = {(resource.group, resource.version, resource.plural): resource for resource in self.resources}

    def with_crds(self, documents: Sequence[Any], sources: Sequence[str] | None = None) -> Kinds:
        """With custom resources, by the CustomResourceDefinitions that tell of them. Raises MalformedError."""
        added = [resource for at, document in enumerate(documents)
                 for resource in of_crd(document, sources[at] if sources else f"crds[{at}]")]
        new = {(resource.group, resource.version, resource.plural) for resource in added}
        kept = [resource for resource in self.resources
                if (resource.group, resource.version, resource.plural) not in new]
        return Kinds([*kept, *added], whole=self.whole, source=self.source, checked=self.checked,
                     unknown=self.unknown)

    def recalling(self, before: Kinds) -> Kinds:
        """With what was known before of that of which nothing is known now: it will be asked about again."""
        recalled = [resource for resource in before.resources if (resource.group, resource.version) in self.unknown]
        return self if not recalled else Kinds([*self.resources, *recalled], whole=self.whole, source=self.source,
                                               checked=self.checked, unknown=self.unknown)

    def unchecked(self) -> Kinds:
        """The same, for policies that may name what is not served yet."""
        return Kinds(self.resources, whole=self.whole, source=self.source, checked=False, unknown=self.unknown)

    def find(self, selector: Selector) -> list[Target]:
        """What a selector selects of what is served, as Kyverno finds it."""
        resources = [resource for resource in self.resources if glob(selector.group, resource.group)
                     and glob(selector.version, resource.version) and glob(selector.kind, resource.kind)]
        targets = [Target(resource) for resource in resources]
        if not selector.subresource:
            return targets
        inner = [Target(resource, sub) for resource in resources for sub in resource.subresources
                 if glob(selector.subresource, sub.name)]
        return targets + inner if (selector.kind, selector.subresource) == ("*", "*") else inner

    def check(self, text: str, where: str) -> None:
        """Whether a policy may name this. Raises MalformedError for what can never be asked about.

        A kind with a group of which the table knows nothing is accepted: matching needs no table.
        """
        selector = Selector.parse(text, where)
        if not self.checked or self.find(selector):
            return
        if selector.group != "*" and selector.group not in self.whole:
            return
        if any(glob(selector.group, group) and glob(selector.version, version) for group, version in self.unknown):
            return
        namesakes = [resource for resource in self.resources if glob(selector.kind, resource.kind)]
        here = [resource for resource in namesakes if glob(selector.group, resource.group)]
        served = [resource for resource in here if glob(selector.version, resource.version)]
        swapped = [resource for resource in self.resources if resource.kind == selector.subresource]
        if swapped:  # `*/v1/Service`, where the star is a version and v1 the kind; `apps/Deployment`
            expected = f"group/version/Kind, version/Kind or Kind; did you mean {_spelled(swapped)}?"
        elif served:  # so it is the subresource
            names = sorted({sub.name for resource in served for sub in resource.subresources})
            expected = f"a subresource of {selector.kind} in {self.source}: {', '.join(names) or 'it has none'}"
        elif here:  # so it is the version
            expected = f"a version that {self.source} serves: {_spelled(here)}"
        else:
            meant = _spelled(namesakes) or " or ".join(self._meant(selector))
            expected = f"a kind of {self.source}" + (f"; did you mean {meant}?" if meant else "")
        raise MalformedError(where, got=text, expected=expected, hint=_ELSEWHERE if here else _CRD_HINT)

    def targets(self, text: str, where: str) -> list[Target]:
        """What the API server must be told to ask about. Raises UnsupportedError where the table does not tell.

        Where kinds are not checked, what is not served is none: its definition may come, and is asked about then.
        """
        selector = Selector.parse(text, where)
        targets = self.find(selector)
        if not targets and self.checked:
            self.check(text, where)
            raise UnsupportedError(where, f"which resources are {text} is not known", hint="give the "
                                   "CustomResourceDefinition with --crd, or ask the API server with --kubeconfig")
        return targets

    def located(self, request: Request) -> Request:
        """The request with the kind of the resource whose subresource it is about, where that is known.

        Raises MalformedError for a request that does not tell the resource and may be about several.
        """
        if not request.subresource:
            return request
        asked = request.resource
        if asked is not None:
            owner = self._by_name.get((asked.group, asked.version, asked.resource))
            owners = [owner] if owner is not None else []
        else:
            owners = [resource for resource in self.resources for sub in resource.subresources
                      if sub.name == request.subresource
                      and (sub.kind, sub.group, sub.version) == (request.kind.kind, request.kind.group,
                                                                 request.kind.version)]
            if len(owners) > 1:
                raise MalformedError("request.resource", got="nothing", expected=f"whose {request.subresource} it is: "
                                     + ", ".join(sorted({resource.plural for resource in owners})))
        if not owners:
            return request
        parent = Kind(owners[0].kind, owners[0].version, owners[0].group)
        return msgspec.structs.replace(request, parent=parent)

    def namespaced(self, kind: Kind) -> bool | None:
        """Whether objects of this kind stand in namespaces; None where the kind is not known."""
        return next((resource.namespaced for resource in self.resources
                     if Kind(resource.kind, resource.version, resource.group) == kind), None)

    def _meant(self, selector: Selector) -> list[str]:
        """Kinds whose plural, short name, letters or subresource's kind the word may have been."""
        word = selector.kind.lower()
        tail = f"/{selector.subresource}" if selector.subresource else ""
        if named := [resource.kind for resource in self.resources
                     if word in (resource.plural, resource.singular, resource.kind.lower(), *resource.short)]:
            return [f"{kind}{tail}" for kind in dict.fromkeys(named)]
        if owners := [f"{resource.kind}/{sub.name}" for resource in self.resources for sub in resource.subresources
                      if sub.kind.lower() == word]:
            return [*dict.fromkeys(owners)][:5]
        by_letters = {resource.kind.lower(): resource.kind for resource in self.resources}
        return [f"{by_letters[name]}{tail}" for name in get_close_matches(word, by_letters, 3, 0.75)]


def _spelled(resources: Sequence[ApiResource]) -> str:
    names = dict.fromkeys("/".join(filter(None, (resource.group, resource.version, resource.kind)))
                          for resource in resources)
    return ", ".join([*names][:5])


@lru_cache(1)
def builtin() -> Kinds:
    """The resources that an API server of Kubernetes 1.34 serves when nothing is switched on or off."""
    data = files("custody.policy").joinpath("kubernetes.json").read_bytes()
    resources = msgspec.json.decode(data, type=list[ApiResource])
    return Kinds(resources, whole={resource.group for resource in resources}, source=f"Kubernetes {KUBERNETES}")


@lru_cache(4096)
def resource_of(kind: Kind) -> Resource:
    """The plural name of a kind where only an object is given: Kubernetes' own, else a guess."""
    for resource in builtin().resources:
        if (resource.kind, resource.version, resource.group) == (kind.kind, kind.version, kind.group):
            return Resource(resource.plural, kind.version, kind.group)
    return Resource(guessed_plural(kind.kind), kind.version, kind.group)


def guessed_plural(kind: str) -> str:
    """As client-go guesses it (k8s.io/apimachinery pkg/api/meta UnsafeGuessKindToResource)."""
    name = kind.lower()
    if name.endswith("endpoints"):
        return name
    if name.endswith("s"):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


UNCHECKED = Kinds((), source="a recorded decision", checked=False)
"""For policies that were checked when they were loaded: every kind is accepted."""

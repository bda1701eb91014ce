"""Kubernetes' environments by minor version (k8s.io/apiserver pkg/cel/environment/base.go)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from policylang.cel.cost.tally import CostModel
from policylang.cel.cost.units import Estimate, Sizes
from policylang.cel.env import Env
from policylang.cel.kubernetes.costs import COSTS, STANDARD
from policylang.cel.kubernetes.objects import ADMISSION, NAMESPACE, REQUEST, Declared, Fields
from policylang.cel.kubernetes.validators import validate
from policylang.cel.libraries import evidence, ext
from policylang.cel.libraries.kubernetes import (
    addresses,
    authorizer,
    formats,
    formatting,
    jsonpatch,
    lists,
    quantity,
    regex,
    semver,
    strings,
    urls,
)
from policylang.cel.libraries.kubernetes.prices import priced
from policylang.cel.libraries.kyverno.ports import Evidence
from policylang.cel.library import Library
from policylang.cel.syntax.tree import Ast
from policylang.cel.types import DYN, Type, message
from policylang.errors import InputError

MINORS: Final = ("1.30", "1.31", "1.32", "1.33", "1.34")
LATEST: Final = MINORS[-1]
VARIABLES: Final = message("kubernetes.variables")

# (since this minor version, library). Authz selectors are behind a feature gate that is on since 1.32.
_LIBRARIES: tuple[tuple[int, Library], ...] = (
    (0, urls.LIBRARY),
    (0, regex.LIBRARY),
    (0, lists.LIBRARY),
    (27, authorizer.LIBRARY),
    (28, ext.optionals(2)),
    (28, quantity.LIBRARY),
    (29, priced(ext.strings(2))),
    (29, formatting.LIBRARY),
    (29, strings.LIBRARY),
    (29, ext.sets()),
    *((30, library) for library in addresses.LIBRARIES),
    (31, formats.LIBRARY),
    (32, authorizer.SELECTORS),
    (32, ext.two_variables()),
    (33, semver.library(1)),
    (34, ext.lists(3)),
)


def minor(version: str) -> int:
    """34 for `1.34`; InputError for a version whose environment is not known."""
    if version not in MINORS:
        raise InputError(f"Kubernetes {version}: got an unknown version, expected one of {', '.join(MINORS)}")
    return int(version.partition(".")[2])


class KubernetesEnv(Env):
    """As the API server sets one up: comparisons across numbers, optionals, validated literals.

    `homogeneous`: lists and maps are of one type. `validated`: literals of durations, times and patterns are read.
    """

    def __init__(self, libraries: Sequence[Library], variables: Mapping[str, Type], types: Declared, *,
                 homogeneous: bool = True, validated: bool = True) -> None:
        super().__init__(libraries, variables, "", types, cross_type=True,
                         standard=STANDARD,
                         validators=(partial(validate, literals=validated, homogeneous=homogeneous),))
        self.types, self.validated, self.same = types, validated, homogeneous

    def extended(self, variables: Mapping[str, Type] | None = None, libraries: Sequence[Library] = ()) -> KubernetesEnv:
        environment = KubernetesEnv((*self.libraries, *libraries), {**self.variables, **(variables or {})}, self.types,
                              homogeneous=self.same, validated=self.validated)
        return environment.by(_extended, of=self, variables=variables, libraries=libraries)

    @property
    def namespace(self) -> str:
        """Of the policy that it was made for, where that lies in one."""
        arguments = self._made[1]
        of = arguments.get("of")
        return of.namespace if isinstance(of, KubernetesEnv) else str(arguments.get("namespace") or "")

    def by(self, maker: Callable[..., KubernetesEnv], **arguments: Any) -> KubernetesEnv:
        """Remember how it was made: libraries are functions, which do not travel to other processes."""
        self._made = maker, arguments
        return self

    def declare(self, name: str, of: Type) -> None:
        """Add `variables.NAME`, as policies do that define one variable after the other."""
        fields = self._composed()
        if not isinstance(fields, dict):
            raise InputError("this environment has no variables")
        fields[name] = of if of.kind != "type" else DYN

    def cost(self, program: Ast | str, inputs: Sizes | None = None, model: CostModel = COSTS) -> Estimate:
        """What evaluating may cost, as the API server estimates it before it accepts a rule."""
        return super().cost(program, inputs, model)

    def __reduce__(self) -> tuple[Any, ...]:
        maker, arguments = self._made
        return _restore, (maker, arguments, self._composed())

    def _composed(self) -> Fields | None:
        variables = self.variables.get("variables")
        return self.types.types.get(variables.name) if variables else None


def _extended(of: KubernetesEnv, variables: Mapping[str, Type] | None, libraries: Sequence[Library]) -> KubernetesEnv:
    return of.extended(variables, libraries)


def _restore(maker: Callable[..., KubernetesEnv], arguments: dict[str, Any], composed: Fields | None) -> KubernetesEnv:
    environment = maker(**arguments)
    for name, of in (composed or {}).items():
        environment.declare(name, of)
    return environment


def libraries(version: str = LATEST) -> tuple[Library, ...]:
    """What that minor version enables."""
    since = minor(version)
    return tuple(library for first, library in _LIBRARIES if first <= since)


def env(version: str = LATEST, variables: Mapping[str, Type] | None = None, types: Mapping[str, Fields] | None = None,
        *, patch: bool = False) -> KubernetesEnv:
    """The base environment and these variables. `types`: more types with fields; `patch`: JSONPatch and Object."""
    enabled = (*libraries(version), jsonpatch.LIBRARY) if patch else libraries(version)
    return KubernetesEnv(enabled, variables or {}, Declared(types or {}, patch=patch)).by(
        env, version=version, variables=variables, types=types, patch=patch)


def admission(version: str = LATEST, *, params: bool = False, authorized: bool = False, patch: bool = False,
              composed: Mapping[str, Type] | None = None, known: Evidence | None = None) -> KubernetesEnv:
    """Of a ValidatingAdmissionPolicy, with `patch` of a MutatingAdmissionPolicy. `composed`: its variables' types.
    `known`: with a function `evidence`, which no API server has."""
    variables: dict[str, Type] = {"object": DYN, "oldObject": DYN, "namespaceObject": NAMESPACE, "request": REQUEST}
    if params:
        variables["params"] = DYN
    if authorized:
        variables["authorizer"] = authorizer.AUTHORIZER
        variables["authorizer.requestResource"] = authorizer.RESOURCE_CHECK
    types = dict(ADMISSION)
    if composed is not None:
        variables["variables"] = VARIABLES
        types["kubernetes.variables"] = dict(composed)
    environment = env(version, variables, types, patch=patch)
    if known is not None:
        environment = environment.extended(libraries=(evidence.library(known),))
    return environment.by(
        admission, version=version, params=params, authorized=authorized, patch=patch, known=known,
        composed=None if composed is None else {})


def matching(version: str = LATEST) -> KubernetesEnv:
    """Of matchConditions of webhooks and policies."""
    return admission(version, authorized=True)

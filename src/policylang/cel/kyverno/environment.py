"""Kyverno's environments by kind of policy (kyverno pkg/cel/policies, pkg/imageverification/evaluator, 1.17 and 1.18).

Kyverno builds on Kubernetes' latest environment, so what that has is here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from policylang.cel.kubernetes import environment as kubernetes
from policylang.cel.kubernetes.environment import KubernetesEnv
from policylang.cel.kubernetes.objects import ADMISSION, NAMESPACE, REQUEST, Declared, Fields
from policylang.cel.libraries import evidence, ext
from policylang.cel.libraries.kubernetes import jsonpatch
from policylang.cel.libraries.kyverno import contexts, documents, images, scalars
from policylang.cel.libraries.kyverno.ports import World
from policylang.cel.library import Library
from policylang.cel.types import DYN, STRING, Type, list_of, map_of, message
from policylang.errors import InputError

KINDS: Final = ("ValidatingPolicy", "ImageValidatingPolicy", "MutatingPolicy", "GeneratingPolicy", "DeletingPolicy")

_VARIABLES: Final = message("kyverno.variables")
_EXCEPTION: Final = message("libs.Exception")
_TYPES: Final[Mapping[str, Fields]] = {
    **ADMISSION,
    REQUEST.name: {**ADMISSION[REQUEST.name], "object": DYN, "oldObject": DYN},
    "libs.Exception": {"allowedImages": list_of(STRING), "allowedValues": list_of(STRING)},
    "user.ServiceAccount": {"Name": STRING, "Namespace": STRING},
}


def _common(world: World, namespace: str) -> tuple[Library, ...]:
    return (
        *kubernetes.libraries(),
        ext.bindings(), ext.encoders(), ext.math(), ext.protos(), ext.regex(),
        contexts.resource(world, namespace), contexts.http(world), contexts.global_context(world),
        contexts.image_data(world), images.LIBRARY, scalars.USER, scalars.HASH, scalars.MATH, scalars.random(world),
        scalars.time(world), scalars.X509, *documents.LIBRARIES, scalars.OR_VALUE,
        *(() if world.evidence is None else (evidence.library(world.evidence),)),
    )


def env(kind: str = "ValidatingPolicy", world: World | None = None, *, namespace: str = "",
        composed: Mapping[str, Type] | None = None, json: bool = False) -> KubernetesEnv:
    """`namespace` of a namespaced policy. `composed`: the policy's variables; more are added by `declare`.

    `json`: of evaluation.mode JSON, which knows no request. The kind `image` is that of matchImageReferences.
    """
    world = world or World()
    if namespace:  # Kyverno refuses both in a policy of a namespace; they are not there either
        world = replace(world, http=None, global_context=None)
    name = kind.removeprefix("Namespaced")
    if name == "image":
        environment = KubernetesEnv((*kubernetes.libraries(), *_matching()), {"ref": STRING}, Declared({}),
                                    validated=False)
        return environment.by(env, kind=kind)
    if name not in KINDS:
        raise InputError(f"got policy kind {kind}, expected one of {', '.join(KINDS)}")
    variables: dict[str, Type] = {"object": DYN, "variables": _VARIABLES}
    if not json:
        variables |= {"oldObject": DYN, "request": REQUEST, "namespaceObject": NAMESPACE}
    if name != "ImageValidatingPolicy":
        variables["exceptions"] = _EXCEPTION
    libraries = _common(world, namespace)
    if name == "ImageValidatingPolicy":
        variables |= {"images": map_of(STRING, list_of(STRING)), "attestors": map_of(STRING, DYN),
                      "attestations": map_of(STRING, STRING)}
        libraries += (contexts.image_verify(world),)
    elif name == "GeneratingPolicy":
        libraries += (contexts.generator(world, namespace),)
    elif name == "MutatingPolicy":
        libraries += (jsonpatch.LIBRARY,)
        variables["images"] = images.IMAGE
    types = Declared({**_TYPES, _VARIABLES.name: dict(composed or {})}, patch=name == "MutatingPolicy")
    return KubernetesEnv(libraries, variables, types, homogeneous=name != "GeneratingPolicy").by(
        env, kind=kind, world=world, namespace=namespace, json=json)


def _matching() -> tuple[Library, ...]:
    return ext.bindings(), ext.encoders(), ext.math(), ext.protos(), images.LIBRARY

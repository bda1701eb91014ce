"""Kyverno's libraries that need the world: resource, http, globalContext, image metadata, generator, imageverify.

Each gives a variable whose methods ask a port; names are written in both ways, `resource.Get` and `resource.get`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kyverno.ports import AnswerError, World
from policylang.cel.library import Constant, Function, Library, Overload
from policylang.cel.types import ANY, BOOL, DYN, INT, STRING, Type, list_of, map_of, opaque
from policylang.cel.values.errors import CelError

RESOURCE = opaque("resource.Context")
GVR = opaque("schema.GroupVersionResource")
HTTP = opaque("http.Context")
GLOBAL = opaque("globalcontext.Context")
IMAGES = opaque("imagedata.Context")
GENERATOR = opaque("generator.Context")

_OBJECT = map_of(STRING, ANY)
_LABELS = map_of(STRING, STRING)


class Root:
    """The value of a library's variable; a class for each, by which calls are told apart. `ca_bundle` as
    `http.Client(bundle)` was given it."""

    cel_type: ClassVar[Type]

    def __init__(self, world: World, ca_bundle: str = "") -> None:
        self.world, self.ca_bundle = world, ca_bundle

    def ask(self, port: str, name: str, failure: str, method: str, *arguments: Any) -> Any:
        """What a port of the world answers; CelError where it does not. `name`: the function that asks."""
        try:
            return getattr(self.world.need(port, name), method)(*arguments)
        except AnswerError as no:
            raise CelError(f"{failure}: {no}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.world, self.ca_bundle)


class ResourceRoot(Root):
    cel_type = RESOURCE


class HttpRoot(Root):
    cel_type = HTTP


class GlobalRoot(Root):
    cel_type = GLOBAL


class ImagesRoot(Root):
    cel_type = IMAGES


class GeneratorRoot(Root):
    cel_type = GENERATOR


class Gvr:
    """A kind's group, version and plural name."""

    __slots__ = ("group", "resource", "version")
    cel_type: ClassVar[Type] = GVR

    def __init__(self, group: str, version: str, resource: str) -> None:
        self.group, self.version, self.resource = group, version, resource

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _both_ways(name: str, *overloads: tuple[str, tuple[Type, ...], Type, Callable[..., Any]]) -> tuple[Function, ...]:
    """`Name` and `name`; ids end in how they are written."""
    return tuple(
        Function(written, tuple(Overload(f"{key}_{way}", params, result, call, CONSTANT, member=True)
                                for key, params, result, call in overloads))
        for written, way in ((name, "pascal"), (name[0].lower() + name[1:], "camel")))


# ── resource ────────────────────────────────────────────────────────────────────────────────────────────────────────

def resource(world: World, namespace: str = "") -> Library:
    """With `namespace`, of a namespaced policy: it names none, and sees no other."""
    root = ResourceRoot(world)

    def get(_: Any, api_version: str, plural: str, where: str, name: str) -> Any:
        return root.ask("resources", "resource.Get", "failed to get resource", "get", api_version, plural, where, name)

    def many(_: Any, api_version: str, plural: str, where: str, labels: dict[str, str] | None = None) -> Any:
        return root.ask("resources", "resource.List", "failed to list resource", "list",
                        api_version, plural, where, labels)

    def post(_: Any, api_version: str, plural: str, where: str, data: dict[str, Any]) -> Any:
        return root.ask("resources", "resource.Post", "failed to create resource", "post",
                        api_version, plural, where, data)

    def to_gvr(_: Any, api_version: str, kind: str) -> Gvr:
        return Gvr(*root.ask("resources", "resource.ToGVR", "failed to map kind to resource", "to_gvr",
                             api_version, kind))

    def placed(call: Callable[..., Any]) -> Callable[..., Any]:
        return (lambda _, api, plural, *rest: call(_, api, plural, namespace, *rest)) if namespace else call

    def of_gvr(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda _, gvr, *rest: placed(call)(_, gvr.api_version, gvr.resource, *rest)

    id_, where = ("", ()) if namespace else ("_string", (STRING,))
    named, gvr = (RESOURCE, STRING, STRING, *where), (RESOURCE, GVR, *where)
    anywhere = ("resource_post_string_string_map", (RESOURCE, STRING, STRING, _OBJECT), _OBJECT,
                lambda _, api, plural, data: post(_, api, plural, "", data))
    functions = (
        *_both_ways(
            "List",
            (f"resource_list_string_string{id_}", named, _OBJECT, placed(many)),
            (f"resource_list_string_string{id_}_map", (*named, _LABELS), _OBJECT, placed(many)),
            (f"list_resources_gvr{id_}", gvr, _OBJECT, of_gvr(many)),
            (f"list_resources_gvr{id_}_map", (*gvr, _LABELS), _OBJECT, of_gvr(many))),
        *_both_ways(
            "Get",
            (f"resource_get_string_string{id_}_string", (*named, STRING), _OBJECT, placed(get)),
            (f"resource_get_gvr{id_}_string", (*gvr, STRING), _OBJECT, of_gvr(get))),
        *_both_ways(
            "Post",
            (f"resource_post_string_string{id_}_map", (*named, _OBJECT), _OBJECT, placed(post)),
            *(() if namespace else (anywhere,))),
        *_both_ways("ToGVR", ("convert_to_gvr_string_string", (RESOURCE, STRING, STRING), GVR, to_gvr)),
    )
    return Library("kyverno.resource", functions=functions, constants=(Constant("resource", RESOURCE, root),))


# ── http ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def http(world: World) -> Library:
    def request(of: Root, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        return of.ask("http", f"http.{method.capitalize()}", "request failed", "request",
                      method, url, body, headers, of.ca_bundle)

    def sending(name: str) -> tuple[Function, ...]:
        method, word = name.upper(), name.lower()
        return _both_ways(
            name,
            (f"http_{word}_string_any", (HTTP, STRING, ANY), ANY,
             lambda of, url, body: request(of, method, url, body, {})),
            (f"http_{word}_string_any_headers", (HTTP, STRING, ANY, _LABELS), ANY,
             lambda of, url, body, headers: request(of, method, url, body, headers)))

    return Library("kyverno.http", constants=(Constant("http", HTTP, HttpRoot(world)),), functions=(
        *_both_ways(
            "Get",
            ("http_get_string", (HTTP, STRING), ANY, lambda of, url: request(of, "GET", url, None, {})),
            ("http_get_string_headers", (HTTP, STRING, _LABELS), ANY,
             lambda of, url, headers: request(of, "GET", url, None, headers))),
        *sending("Post"),
        *sending("Put"),
        *_both_ways("Client", ("http_client_string", (HTTP, STRING), HTTP,
                               lambda of, bundle: HttpRoot(of.world, bundle) if bundle else of)),
    ))


# ── the others ──────────────────────────────────────────────────────────────────────────────────────────────────────

def global_context(world: World) -> Library:
    def get(of: Root, name: str, projection: str = "") -> Any:
        return of.ask("global_context", "globalContext.Get", "failed to get global reference", "get", name, projection)

    return Library("kyverno.globalcontext", constants=(Constant("globalContext", GLOBAL, GlobalRoot(world)),),
                   functions=_both_ways(
                       "Get",
                       ("globalcontext_get_string", (GLOBAL, STRING), DYN, get),
                       ("globalcontext_get_string_string", (GLOBAL, STRING, STRING), DYN, get)))


def image_data(world: World) -> Library:
    def metadata(of: Root, image: str) -> Any:
        return of.ask("images", "image.GetMetadata", "failed to get image data", "metadata", image)

    return Library("kyverno.imagedata", constants=(Constant("image", IMAGES, ImagesRoot(world)),),
                   functions=_both_ways("GetMetadata", ("imagedata_get_string", (IMAGES, STRING), DYN, metadata)))


def generator(world: World, namespace: str = "") -> Library:
    def apply(of: Root, where: str, resources: list[Any]) -> bool:
        of.ask("generator", "generator.Apply", "failed to generate resources", "apply", where, resources)
        return True

    overload = ("generator_apply_list", (GENERATOR, list_of(_OBJECT)), BOOL,
                lambda of, resources: apply(of, namespace, resources)) if namespace else \
        ("generator_apply_string_list", (GENERATOR, STRING, list_of(_OBJECT)), BOOL, apply)
    return Library("kyverno.generator", constants=(Constant("generator", GENERATOR, GeneratorRoot(world)),),
                   functions=_both_ways("Apply", overload))


def image_verify(world: World) -> Library:
    def asked(name: str, method: str) -> Callable[..., Any]:
        return partial(Root(world).ask, "verifier", name, "failed to verify", method)

    attestors = list_of(DYN)
    return Library("kyverno.imageverify", functions=tuple(
        Function(name, (Overload(key, params, result, asked(name, method),
                                 CONSTANT),)) for name, key, params, result, method in (
            ("verifyImageSignatures", "verify_image_signature_string_stringarray", (STRING, attestors), INT,
             "signatures"),
            ("verifyAttestationSignatures", "verify_image_attestations_string_string_stringarray",
             (STRING, STRING, attestors), INT, "attestations"),
            ("getImageData", "get_image_data_string", (STRING,), DYN, "data"),
            ("extractPayload", "payload_string_string", (STRING, STRING), DYN, "payload"))))

"""Kyverno's libraries that need the world: resource, http, globalContext, image metadata, generator, imageverify.

Each gives a variable whose methods ask a port; names are written in both ways, `resource.Get` and `resource.get`.
"""

from __future__ import annotations

from collections.abc import Callable
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


class _Root:
    """The value of a library's variable."""

    __slots__ = ("world",)

    def __init__(self, world: World) -> None:
        self.world = world

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.world,)


class ResourceRoot(_Root):
    __slots__ = ()
    cel_type: ClassVar[Type] = RESOURCE


class HttpRoot(_Root):
    """`ca_bundle` as `http.Client(bundle)` was given it."""

    __slots__ = ("ca_bundle",)
    cel_type: ClassVar[Type] = HTTP

    def __init__(self, world: World, ca_bundle: str = "") -> None:
        super().__init__(world)
        self.ca_bundle = ca_bundle


class GlobalRoot(_Root):
    __slots__ = ()
    cel_type: ClassVar[Type] = GLOBAL


class ImagesRoot(_Root):
    __slots__ = ()
    cel_type: ClassVar[Type] = IMAGES


class GeneratorRoot(_Root):
    __slots__ = ()
    cel_type: ClassVar[Type] = GENERATOR


class Gvr:
    """A kind's group, version and plural name."""

    __slots__ = ("group", "resource", "version")
    cel_type: ClassVar[Type] = GVR

    def __init__(self, group: str, version: str, resource: str) -> None:
        self.group, self.version, self.resource = group, version, resource

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _ask(port: Any, failure: str, method: str, *arguments: Any) -> Any:
    try:
        return getattr(port, method)(*arguments)
    except AnswerError as no:
        raise CelError(f"{failure}: {no}") from None


def _both_ways(name: str, *overloads: tuple[str, tuple[Type, ...], Type, Callable[..., Any]]) -> tuple[Function, ...]:
    """`Name` and `name`; ids end in how they are written."""
    return tuple(
        Function(written, tuple(Overload(f"{key}_{way}", params, result, call, CONSTANT, member=True)
                                for key, params, result, call in overloads))
        for written, way in ((name, "pascal"), (name[0].lower() + name[1:], "camel")))


# ── resource ────────────────────────────────────────────────────────────────────────────────────────────────────────

def resource(world: World, namespace: str = "") -> Library:
    """With `namespace`, of a namespaced policy: it sees no other."""
    root = ResourceRoot(world)

    def get(api_version: str, plural: str, where: str, name: str) -> Any:
        port = world.need("resources", "resource.Get")
        return _ask(port, "failed to get resource", "get", api_version, plural, where, name)

    def many(api_version: str, plural: str, where: str, labels: dict[str, str] | None = None) -> Any:
        port = world.need("resources", "resource.List")
        return _ask(port, "failed to list resource", "list", api_version, plural, where, labels)

    def post(api_version: str, plural: str, where: str, data: dict[str, Any]) -> Any:
        port = world.need("resources", "resource.Post")
        return _ask(port, "failed to create resource", "post", api_version, plural, where, data)

    def to_gvr(_: Any, api_version: str, kind: str) -> Gvr:
        port = world.need("resources", "resource.ToGVR")
        return Gvr(*_ask(port, "failed to map kind to resource", "to_gvr", api_version, kind))

    convert = ("convert_to_gvr_string_string", (RESOURCE, STRING, STRING), GVR, to_gvr)
    if namespace:
        functions = (
            *_both_ways(
                "List",
                ("resource_list_string_string", (RESOURCE, STRING, STRING), _OBJECT,
                 lambda _, api, plural: many(api, plural, namespace)),
                ("resource_list_string_string_map", (RESOURCE, STRING, STRING, _LABELS), _OBJECT,
                 lambda _, api, plural, labels: many(api, plural, namespace, labels)),
                ("list_resources_gvr", (RESOURCE, GVR), _OBJECT,
                 lambda _, gvr: many(gvr.api_version, gvr.resource, namespace)),
                ("list_resources_gvr_map", (RESOURCE, GVR, _LABELS), _OBJECT,
                 lambda _, gvr, labels: many(gvr.api_version, gvr.resource, namespace, labels))),
            *_both_ways(
                "Get",
                ("resource_get_string_string_string", (RESOURCE, STRING, STRING, STRING), _OBJECT,
                 lambda _, api, plural, name: get(api, plural, namespace, name)),
                ("resource_get_gvr_string", (RESOURCE, GVR, STRING), _OBJECT,
                 lambda _, gvr, name: get(gvr.api_version, gvr.resource, namespace, name))),
            *_both_ways(
                "Post",
                ("resource_post_string_string_map", (RESOURCE, STRING, STRING, _OBJECT), _OBJECT,
                 lambda _, api, plural, data: post(api, plural, namespace, data))),
            *_both_ways("ToGVR", convert),
        )
    else:
        functions = (
            *_both_ways(
                "List",
                ("resource_list_string_string_string", (RESOURCE, STRING, STRING, STRING), _OBJECT,
                 lambda _, api, plural, where: many(api, plural, where)),
                ("resource_list_string_string_string_map", (RESOURCE, STRING, STRING, STRING, _LABELS), _OBJECT,
                 lambda _, api, plural, where, labels: many(api, plural, where, labels)),
                ("list_resources_gvr_string", (RESOURCE, GVR, STRING), _OBJECT,
                 lambda _, gvr, where: many(gvr.api_version, gvr.resource, where)),
                ("list_resources_gvr_string_map", (RESOURCE, GVR, STRING, _LABELS), _OBJECT,
                 lambda _, gvr, where, labels: many(gvr.api_version, gvr.resource, where, labels))),
            *_both_ways(
                "Get",
                ("resource_get_string_string_string_string", (RESOURCE, STRING, STRING, STRING, STRING), _OBJECT,
                 lambda _, api, plural, where, name: get(api, plural, where, name)),
                ("resource_get_gvr_string_string", (RESOURCE, GVR, STRING, STRING), _OBJECT,
                 lambda _, gvr, where, name: get(gvr.api_version, gvr.resource, where, name))),
            *_both_ways(
                "Post",
                ("resource_post_string_string_string_map", (RESOURCE, STRING, STRING, STRING, _OBJECT), _OBJECT,
                 lambda _, api, plural, where, data: post(api, plural, where, data)),
                ("resource_post_string_string_map", (RESOURCE, STRING, STRING, _OBJECT), _OBJECT,
                 lambda _, api, plural, data: post(api, plural, "", data))),
            *_both_ways("ToGVR", convert),
        )
    return Library("kyverno.resource", functions=functions, constants=(Constant("resource", RESOURCE, root),))


# ── http ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def http(world: World) -> Library:
    def request(of: HttpRoot, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        port = world.need("http", f"http.{method.capitalize()}")
        return _ask(port, "request failed", "request", method, url, body, headers, of.ca_bundle)

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
    def get(_: Any, name: str, projection: str = "") -> Any:
        port = world.need("global_context", "globalContext.Get")
        return _ask(port, "failed to get global reference", "get", name, projection)

    return Library("kyverno.globalcontext", constants=(Constant("globalContext", GLOBAL, GlobalRoot(world)),),
                   functions=_both_ways(
                       "Get",
                       ("globalcontext_get_string", (GLOBAL, STRING), DYN, get),
                       ("globalcontext_get_string_string", (GLOBAL, STRING, STRING), DYN, get)))


def image_data(world: World) -> Library:
    def metadata(_: Any, image: str) -> Any:
        port = world.need("images", "image.GetMetadata")
        return _ask(port, "failed to get image data", "metadata", image)

    return Library("kyverno.imagedata", constants=(Constant("image", IMAGES, ImagesRoot(world)),),
                   functions=_both_ways("GetMetadata", ("imagedata_get_string", (IMAGES, STRING), DYN, metadata)))


def generator(world: World, namespace: str = "") -> Library:
    def apply(where: str, resources: list[Any]) -> bool:
        port = world.need("generator", "generator.Apply")
        _ask(port, "failed to generate resources", "apply", where, resources)
        return True

    overload = ("generator_apply_list", (GENERATOR, list_of(_OBJECT)), BOOL,
           lambda _, resources: apply(namespace, resources)) if namespace else \
        ("generator_apply_string_list", (GENERATOR, STRING, list_of(_OBJECT)), BOOL,
         lambda _, where, resources: apply(where, resources))
    return Library("kyverno.generator", constants=(Constant("generator", GENERATOR, GeneratorRoot(world)),),
                   functions=_both_ways("Apply", overload))


def image_verify(world: World) -> Library:
    def asked(name: str, method: str) -> Callable[..., Any]:
        return lambda *arguments: _ask(world.need("verifier", name), "failed to verify", method, *arguments)

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

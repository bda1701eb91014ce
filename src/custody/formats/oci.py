"""OCI image manifests, indexes and configurations (image-spec v1.1), and Docker's older names for the same things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from custody.errors import MalformedError, UnsupportedError
from custody.kit import digest as digests
from custody.kit import strictjson

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
CONFIG_TYPES = (CONFIG, DOCKER_CONFIG)
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (INDEX, DOCKER_INDEX)
MAX_MANIFEST = 4 * 1024 * 1024
MAX_CONFIG = 8 * 1024 * 1024
_MAX_ENTRIES = 10_000
_MAX_SIZE = (1 << 63) - 1
"""Descriptors' sizes are int64 (descriptor.md): with larger ones no client in Go reads the manifest."""
_LARGE = 64 * 1024
_MAX_WEIGHT = 32 * 1024 * 1024  # bytes once parsed: 10,000 entries with a dozen annotations each


def _spellings(*fields: str) -> Mapping[str, str]:
    return {field.casefold(): field for field in fields}


_IN_MANIFEST = _spellings("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject",
                          "annotations")
_IN_DESCRIPTOR = _spellings("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
_IN_PLATFORM = _spellings("architecture", "os", "os.version", "os.features", "variant")
_IN_CONFIG = _spellings("architecture", "os", "variant", "config", "rootfs", "history")
_IN_ROOTFS = _spellings("type", "diff_ids")
"""Fields by their names without case (image-spec v1.1)."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What a blob or manifest is: media type, digest, size in bytes (image-spec descriptor.md).

    The garbage collector need not know of it: it is frozen, and holds JSON, so it is in no cycle.
    """

    media_type: Annotated[str, msgspec.Meta(min_length=1)]
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0, le=_MAX_SIZE)]
    annotations: Mapping[str, str] = {}
    artifact_type: str | None = None
    platform: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return _present({"mediaType": self.media_type, "digest": self.digest, "size": self.size,
                         "artifactType": self.artifact_type or None, "annotations": dict(self.annotations) or None,
                         "platform": dict(self.platform or {}) or None})


def _present(document: dict[str, Any]) -> dict[str, Any]:
    """Optional fields that have no value are left out."""
    return {key: value for key, value in document.items() if value is not None}


EMPTY_BLOB = b"{}"
EMPTY_DESCRIPTOR = Descriptor(EMPTY, digests.sha256(EMPTY_BLOB), len(EMPTY_BLOB))


class Manifest(msgspec.Struct, frozen=True):
    """An image manifest; an artifact is one whose `artifact_type` is set."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        return _present({"schemaVersion": 2, "mediaType": self.media_type, "artifactType": self.artifact_type or None,
                         "config": self.config.to_json(), "layers": [layer.to_json() for layer in self.layers],
                         "subject": self.subject.to_json() if self.subject else None,
                         "annotations": dict(self.annotations) or None})


class Index(msgspec.Struct, frozen=True):
    """A list of manifests: one per platform, or a layout's or a referrers answer's content."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        return _present({"schemaVersion": 2, "mediaType": self.media_type, "artifactType": self.artifact_type or None,
                         "manifests": [manifest.to_json() for manifest in self.manifests],
                         "subject": self.subject.to_json() if self.subject else None,
                         "annotations": dict(self.annotations) or None})


class ImageConfig(msgspec.Struct, frozen=True):
    """The parts of an image's configuration that custody reads (image-spec config.md); `document` is all of it."""

    os: str
    diff_ids: tuple[str, ...]
    document: Mapping[str, Any]


def parse_manifest(data: bytes, where: str = "manifest", media_type: str | None = None) -> Manifest | Index:
    """Decode a manifest or index of any known type. Raises MalformedError or UnsupportedError, naming the field."""
    if len(data) >= _LARGE and (plain := _plain_manifest(data)) is not None:
        return plain
    if (weight := strictjson.weight(data)) > _MAX_WEIGHT:
        raise MalformedError(where, got=f"{len(data)} bytes that would take about {weight >> 20} MiB of memory",
                             expected=f"at most {_MAX_WEIGHT >> 20} MiB")
    document = _object(strictjson.loads(data, where, max_size=MAX_MANIFEST, max_depth=32), where,
                       _IN_MANIFEST)
    version = document.get("schemaVersion")
    if type(version) is not int or version != 2:
        raise MalformedError(f"{where}: schemaVersion", got=version, expected="2")
    kind = document.get("mediaType") or media_type
    if kind is None:
        kind = INDEX if "manifests" in document else MANIFEST
    if kind in INDEX_TYPES:
        if "layers" in document or "config" in document:
            raise MalformedError(where, got="an index with layers or config", expected="manifests only")
        return Index(kind, _descriptors(document, "manifests", where), _subject(document, where),
                     _text(document, "artifactType", where), _annotations(document, where))
    if kind in MANIFEST_TYPES:
        if "manifests" in document:
            raise MalformedError(where, got="an image manifest with manifests", expected="config and layers")
        return Manifest(kind, parse_descriptor(document.get("config"), f"{where}: config"),
                        _descriptors(document, "layers", where), _subject(document, where),
                        _text(document, "artifactType", where), _annotations(document, where))
    raise UnsupportedError(f"{where}: mediaType", f"{kind!r} is neither an image manifest nor an index")


class _PlainManifest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    schema_version: Literal[2]
    media_type: Literal["application/vnd.oci.image.manifest.v1+json",
                        "application/vnd.docker.distribution.manifest.v2+json"]
    config: Descriptor
    layers: Annotated[tuple[Descriptor, ...], msgspec.Meta(max_length=_MAX_ENTRIES)]
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


_PLAIN = msgspec.json.Decoder(_PlainManifest)
_SHA256 = "sha256:"
_SHA256_LENGTH = len(_SHA256) + 64
_HEXADECIMAL = b"0123456789abcdef"
_MOST_STRINGS = 5 + 5 * (_MAX_ENTRIES + 1) + 2 * 1000


def _plain_manifest(data: bytes) -> Manifest | None:
    """A large manifest with nothing unusual in it, many times faster than by way of dictionaries; None for all others.

    The decoder passes over fields of a descriptor that it does not know and takes the last of two equal keys. Where
    nothing is escaped, a string is two quotation marks, so that any key or text beyond those that are read shows in
    their number, which is also what bounds the memory that decoding takes.
    """
    quotes = data.count(b'"')
    if len(data) > MAX_MANIFEST or quotes > 2 * _MOST_STRINGS or b"\\" in data or not data.isascii():
        return None
    try:
        plain = _PLAIN.decode(data)
    except msgspec.DecodeError:
        return None  # the other way says what is wrong
    annotations: dict[str, str] = {}
    strings = 5 + 5 * (1 + len(plain.layers))
    if plain.annotations is not msgspec.UNSET:
        annotations = plain.annotations
        strings += 1 + 2 * len(annotations)
    if quotes != 2 * strings or not _all_sha256([plain.config.digest, *[layer.digest for layer in plain.layers]]):
        return None
    return Manifest(plain.media_type, plain.config, plain.layers, annotations=annotations)


def _all_sha256(values: list[str]) -> bool:
    """Whether each is a sha256 digest: by whole columns, since a pattern takes longer than all the rest of a manifest.
    """
    if set(map(len, values)) != {_SHA256_LENGTH}:
        return False
    joined = "".join(values).encode()
    return all(joined[at::_SHA256_LENGTH].count(char) == len(values) for at, char in enumerate(_SHA256.encode())) and (
        joined.translate(None, _HEXADECIMAL) == b"sh:" * len(values))


def parse_descriptor(value: Any, where: str) -> Descriptor:
    fields = _object(value, where, _IN_DESCRIPTOR)
    size = fields.get("size")
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        raise MalformedError(f"{where}.size", got=size, expected="a number of bytes, below 2^63")
    media_type = fields.get("mediaType")
    if not isinstance(media_type, str) or not media_type:
        raise MalformedError(f"{where}.mediaType", got=media_type, expected="a media type")
    platform = fields.get("platform")
    return Descriptor(media_type, digests.parse(fields.get("digest"), f"{where}.digest"), size,
                      _annotations(fields, where), _text(fields, "artifactType", where),
                      None if platform is None else _object(platform, f"{where}.platform", _IN_PLATFORM))


def parse_config(data: bytes, where: str = "image config") -> ImageConfig:
    document = _object(strictjson.loads(data, where, max_size=MAX_CONFIG, max_depth=32), where,
                       _IN_CONFIG)
    rootfs = _object(document.get("rootfs", {}), f"{where}: rootfs", _IN_ROOTFS)
    ids = rootfs.get("diff_ids") or []
    if not isinstance(ids, list) or len(ids) > _MAX_ENTRIES:
        raise MalformedError(f"{where}: rootfs.diff_ids", got=ids, expected="a list of digests")
    diff_ids = tuple(digests.parse(diff_id, f"{where}: rootfs.diff_ids[{i}]") for i, diff_id in enumerate(ids))
    return ImageConfig(str(document.get("os", "")), diff_ids, document)


def _object(value: Any, where: str, spellings: Mapping[str, str]) -> dict[str, Any]:
    """Raises MalformedError, also for a field that readers in Go take for one of another spelling.

    Go's encoding/json passes over case and takes the last of equal names: an image with `layers` and `Layers` would be
    one image to who judges it and another to who runs it.
    """
    if not isinstance(value, dict):
        raise MalformedError(where, got=value, expected="a JSON object")
    for key in value:
        if (field := spellings.get(key.casefold(), key)) != key:
            raise MalformedError(f"{where}: {key}", got="another spelling of a field",
                                 expected=f"{field}: some readers pass over case, and would see another image")
    return value


def _text(fields: Mapping[str, Any], key: str, where: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"{where}.{key}", got=value, expected="text")
    return value or None


def _annotations(fields: Mapping[str, Any], where: str) -> Mapping[str, str]:
    value = fields.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise MalformedError(f"{where}.annotations", got=value, expected="an object of text values")
    return value


def _descriptors(document: Mapping[str, Any], key: str, where: str) -> tuple[Descriptor, ...]:
    value = document.get(key)
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES:
        raise MalformedError(f"{where}: {key}", got=value, expected=f"a list of at most {_MAX_ENTRIES} descriptors")
    return tuple(parse_descriptor(descriptor, f"{where}: {key}[{i}]") for i, descriptor in enumerate(value))


def _subject(document: Mapping[str, Any], where: str) -> Descriptor | None:
    value = document.get("subject")
    return None if value is None else parse_descriptor(value, f"{where}: subject")

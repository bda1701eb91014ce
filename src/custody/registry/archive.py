"""Tar files with an image in them: an OCI layout, or what `docker save` writes (Docker Engine API, "Export an image").

Members are read in place, by any number of threads; a compressed archive is unpacked to a temporary file first.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import re
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard
from isal import igzip

from custody.errors import MalformedError, UsageError, VerificationError
from custody.formats import oci, zstd
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.kit import digest as digests
from custody.kit import strictjson

_CHUNK = 1 << 20
_MAX_LINKS = 16
_RATIO, _RATIO_FROM, _LARGEST = 150, 1 << 30, 64 << 30
"""Of compressed archives, as of layers (`custody.sbom.limits`)."""
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")
"""Whole or as short as Docker shows it."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class _Limits:
    entries: int = 100_000
    path: int = 4096
    records: int = 100_000


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size: int
    link: str = ""
    """The member that holds the content."""
    twice: bool = False


class _FileSource(Source):
    """A file's bytes, of which what is skipped is not read."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        super().__init__(iter(lambda: file.read(1 << 16), b""), where)
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    @property
    def offset(self) -> int:
        return self._file.tell() - (len(self.chunk) - self.at)

    def skip(self, count: int) -> None:
        if count <= len(self.chunk) - self.at:
            self.at += count
        elif (end := self.offset + count) > self._size:
            raise MalformedError(self.where, got="the end in the middle of an entry", expected="a whole tar")
        else:
            self._file.seek(end)
            self.chunk, self.at = b"", 0


class _Part(io.RawIOBase):
    """A range of a file, read without moving the file's own place: other threads read other ranges."""

    def __init__(self, archive: TarFile, member: _Member) -> None:
        self._archive, self._at, self._end = archive, member.offset, member.offset + member.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        data = os.pread(self._archive.descriptor, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)


class TarFile:
    """An archive's members by name, read through an index of them."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._members: dict[str, _Member] = {}
        try:
            file = _plain(path)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None
        with file:
            self._index(_FileSource(file, self.where))
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)

    def _index(self, source: _FileSource) -> None:
        for member in walk(source, _Limits()):
            twice = member.path in self._members
            if member.kind == "file" and member.stored == member.size:
                self._members[member.path] = _Member(source.offset, member.size, twice=twice)
            elif member.kind == "symlink":
                target = posixpath.normpath(posixpath.join("/", posixpath.dirname(member.path), member.target))
                self._members[member.path] = _Member(0, 0, target.lstrip("/"), twice)
            elif member.kind == "link":
                self._members[member.path] = _Member(0, 0, member.target, twice)

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def open(self, path: str) -> BinaryIO:
        """Raises UsageError where it is not there, MalformedError where it is there twice: readers differ."""
        return cast(BinaryIO, _Part(self, self._member(path)))

    def size(self, path: str) -> int:
        return self._member(path).size

    def read(self, path: str, limit: int) -> bytes:
        if (size := self.size(path)) > limit:
            raise MalformedError(f"{self.where}: {path}", got=f"{size} bytes", expected=f"at most {limit}")
        with self.open(path) as stream:
            return stream.read(size)

    def _member(self, path: str) -> _Member:
        name = path
        for _ in range(_MAX_LINKS):
            member = self._members.get(name)
            if member is None:
                raise UsageError(f"{self.where}: no {name} inside")
            if member.twice:
                raise MalformedError(f"{self.where}: {name}", got="two members of one name", expected="one")
            if not member.link:
                return member
            name = member.link
        raise MalformedError(f"{self.where}: {path}", got=f"more than {_MAX_LINKS} links", expected="a way that ends")


def _plain(path: Path) -> BinaryIO:
    """The file, or a temporary one with what is compressed in it. Raises OSError, MalformedError."""
    if path.exists() and not path.is_file():  # opening a pipe waits for whoever writes into it; members need places
        raise UsageError(f"{path}: is no regular file", hint="write the archive to a file first")
    file = path.open("rb")
    head = file.read(4)
    file.seek(0)
    if head[:2] != _GZIP and head != _ZSTD:
        return file
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - read as long as the image is
    packed, size = os.fstat(file.fileno()).st_size, 0
    try:
        with file:
            for chunk in _unpacked(file, head, str(path)):
                size += len(chunk)
                if size > _LARGEST or (size > _RATIO_FROM and size > _RATIO * packed):
                    raise MalformedError(str(path), got=f"more than {size >> 20} MiB out of {packed} bytes",
                                         expected="an archive, not a decompression bomb")
                plain.write(chunk)
        plain.seek(0)
    except (EOFError, zstandard.ZstdError, igzip.BadGzipFile, OSError) as error:
        plain.close()
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MalformedError(str(path), got=str(error), expected="a whole gzip or Zstandard file") from None
    except BaseException:
        plain.close()
        raise
    return cast(BinaryIO, plain)


def _unpacked(file: BinaryIO, head: bytes, where: str) -> Iterator[bytes]:
    if head == _ZSTD:
        yield from zstd.decompress(iter(lambda: file.read(_CHUNK), b""), where, 128 << 20)
        return
    with cast(BinaryIO, igzip.open(file, "rb")) as stream:  # type: ignore[no-untyped-call]
        while chunk := stream.read(_CHUNK):
            yield chunk


class DockerImage:
    """One image of `docker save`'s archive, named by one of its tags or by its configuration's digest (the image ID).

    Such an archive has no manifest: `descriptor` is the configuration's, `manifest` is made of what the archive lists.
    The layers' bytes are checked with the configuration's diff_ids by whoever reads them.
    """

    def __init__(self, archive: TarFile, identifier: str | None = None) -> None:
        where = f"{archive.where}: manifest.json"
        self._archive = archive
        self.name = archive.where
        entry = _choose(_entries(archive), identifier, archive.where)
        config = archive.read(entry.config, oci.MAX_CONFIG)
        digest = digests.sha256(config)
        if len(entry.identity) == 64 and entry.identity != digest[7:]:
            raise VerificationError(f"{where}: Config {entry.config} has the digest {digest}")
        self.config = oci.parse_config(config, f"{archive.where}: {entry.config}")
        if len(self.config.diff_ids) != len(entry.layers):
            raise MalformedError(f"{where}: Layers", got=f"{len(entry.layers)} layers",
                                 expected=f"{len(self.config.diff_ids)}, as the configuration's diff_ids")
        self.descriptor = oci.Descriptor(oci.DOCKER_CONFIG, digest, len(config))
        layers, self._paths = [], {digest: entry.config}
        for path, diff_id in zip(entry.layers, self.config.diff_ids, strict=True):
            layer = self._layer(path, diff_id)
            layers.append(layer)
            self._paths[layer.digest] = path
        self.manifest = oci.Manifest(oci.MANIFEST, self.descriptor, tuple(layers))

    def open_blob(self, descriptor: oci.Descriptor) -> BinaryIO:
        path = self._paths.get(descriptor.digest)
        if path is None:
            raise UsageError(f"{self.name}: no {descriptor.digest} inside")
        return self._archive.open(path)

    def _layer(self, path: str, diff_id: str) -> oci.Descriptor:
        size = self._archive.size(path)
        with self._archive.open(path) as stream:
            head = stream.read(4)
            ending = "+gzip" if head[:2] == _GZIP else "+zstd" if head == _ZSTD else ""
            if not ending:
                return oci.Descriptor(_LAYER, diff_id, size)
            state = digests.hasher(diff_id)
            state.update(head)
            while chunk := stream.read(_CHUNK):
                state.update(chunk)
        return oci.Descriptor(_LAYER + ending, f"{state.name}:{state.hexdigest()}", size)


@dataclass(frozen=True, slots=True)
class _Entry:
    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def identity(self) -> str:
        """What the configuration's name says that its digest is."""
        return self.config.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")


def configs(archive: TarFile) -> list[str]:
    """The members that manifest.json names as images' configurations."""
    return [image.config for image in _entries(archive)]


def _entries(archive: TarFile) -> list[_Entry]:
    where = f"{archive.where}: manifest.json"
    document = strictjson.loads(archive.read("manifest.json", oci.MAX_MANIFEST), where, max_depth=16)
    if not isinstance(document, list) or not document:
        raise MalformedError(where, got=json.dumps(document)[:60], expected="a list of images")
    entries = []
    for place, image in enumerate(document):
        config, tags, layers = (image.get(key) for key in ("Config", "RepoTags", "Layers")) if isinstance(
            image, dict) else (None, None, None)
        tags, layers = tags if tags is not None else [], layers if layers is not None else []
        if not isinstance(config, str) or not all(
                isinstance(names, list) and all(isinstance(name, str) for name in names) for names in (tags, layers)):
            raise MalformedError(f"{where}: {place}", got=json.dumps(image)[:60],
                                 expected="Config, a text; RepoTags and Layers, lists of texts")
        entries.append(_Entry(_member(config), tuple(tags), tuple(map(_member, layers))))
    return entries


def _member(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path)).lstrip("/")


def _choose(images: list[_Entry], identifier: str | None, where: str) -> _Entry:
    chosen = [image for image in images if identifier is None or any(same_name(tag, identifier) for tag in image.tags)]
    if not chosen and identifier is not None and (image_id := _IMAGE_ID.fullmatch(identifier)):
        chosen = [image for image in images if image.identity.startswith(image_id[1])]
    names = ", ".join(tag for image in images for tag in image.tags or (image.config,))
    if not chosen:
        raise UsageError(f"{where}: no image {identifier!r}; it has {names}")
    if len({image.config for image in chosen}) > 1:
        raise UsageError(f"{where}: holds {len(chosen)} images: {names}", hint="name one: archive:FILE:NAME")
    return chosen[0]


def same_name(name: str, other_name: str) -> bool:
    """Whether both name one image as Docker spells them: `x` is `docker.io/library/x:latest`."""
    return _familiar(name) == _familiar(other_name)


def _familiar(name: str) -> str:
    name = name.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"

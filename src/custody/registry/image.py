"""Images where they lie: an OCI layout directory, an archive of one, or blobs pulled into a folder.

Every source answers the same questions; blobs come as raw streams, and whoever reads one hashes it as it goes
(`VerifyingReader`), so that no byte is used that the manifest did not name.
"""

from __future__ import annotations

import abc
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from custody.errors import MalformedError, UsageError, VerificationError
from custody.formats import oci
from custody.kit import digest as digests
from custody.registry.layoutindex import IMAGE_NAME, REF_NAME, read_index

if TYPE_CHECKING:
    from custody.registry.archive import TarFile

DEFAULT_PLATFORM = "linux/amd64"
"""Which image of an index is taken where nobody says."""
_NAMES = (REF_NAME, IMAGE_NAME)
_MAX_DEPTH, _MAX_LEAVES = 3, 1000


class Image(Protocol):
    """One image of one platform."""

    name: str
    descriptor: oci.Descriptor
    manifest: oci.Manifest
    config: oci.ImageConfig

    def open_blob(self, descriptor: oci.Descriptor) -> BinaryIO:
        """The raw, unverified bytes of a layer or config. Raises UsageError or NetworkError where there are none."""


class VerifyingReader(io.RawIOBase):
    """Passes bytes through and, at their end, raises VerificationError unless size and digest are the descriptor's."""

    def __init__(self, source: BinaryIO, descriptor: oci.Descriptor) -> None:
        self._source = source
        self._descriptor = descriptor
        self._state = digests.hasher(descriptor.digest)
        self._left = descriptor.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise VerificationError(f"blob {self._descriptor.digest}: more than the {self._descriptor.size} bytes "
                                    "that the manifest names")
        self._state.update(chunk)
        if not chunk and size != 0:
            self._finish()
        return chunk

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.read(len(buffer))
        buffer[:len(chunk)] = chunk
        return len(chunk)

    def drain(self) -> None:
        """Read what is left, so that the digest is checked even when the caller had enough."""
        while self.read(1 << 20):
            continue

    def close(self) -> None:
        self._source.close()
        super().close()

    def _finish(self) -> None:
        if self._left:
            raise VerificationError(f"blob {self._descriptor.digest}: got {self._descriptor.size - self._left} bytes, "
                                    f"expected {self._descriptor.size}")
        if not digests.matches(self._state, self._descriptor.digest):
            raise VerificationError(f"blob: got {self._state.name}:{self._state.hexdigest()}, "
                                    f"expected {self._descriptor.digest}")


class _Files(abc.ABC):
    """Where a stored image's blobs are read from."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abc.abstractmethod
    def open(self, path: str) -> BinaryIO:
        """A file of the layout. Raises UsageError where it is not there: it is a path of this machine."""

    def blob(self, descriptor: oci.Descriptor, limit: int) -> bytes:
        if descriptor.size > limit:
            raise MalformedError(f"{self.where}: {descriptor.digest}", got=f"{descriptor.size} bytes",
                                 expected=f"at most {limit}")
        with VerifyingReader(self.open_blob(descriptor), descriptor) as reader:
            data = reader.read(descriptor.size)
            reader.drain()
        return data

    def open_blob(self, descriptor: oci.Descriptor) -> BinaryIO:
        algorithm, _, value = descriptor.digest.partition(":")
        return self.open(f"blobs/{algorithm}/{value}")


class _Folder(_Files):
    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self._root = root

    def open(self, path: str) -> BinaryIO:
        file = self._root / path
        if file.exists() and not file.is_file():  # opening a pipe would wait for whoever writes into it
            raise UsageError(f"{file}: is no regular file", hint="a layout's files are")
        try:
            return file.open("rb")
        except OSError as error:
            raise UsageError(f"{self._root / path}: {error.strerror}",
                             hint="is it the folder of an OCI layout, and whole?") from None


class _Archive(_Files):
    """A tar file of an OCI layout."""

    def __init__(self, tar: TarFile) -> None:
        super().__init__(tar.where)
        self._tar = tar

    def open(self, path: str) -> BinaryIO:
        return self._tar.open(path)


class StoredImage:
    """An image of an OCI layout (image-spec image-layout.md), chosen by tag or digest, and by platform."""

    def __init__(self, files: _Files, identifier: str | None = None, platform: str | None = None) -> None:
        where = files.where
        index = read_index(files.open, where)
        self._files = files
        self.descriptor, self.manifest, demanded = _select(files, index, identifier, platform)
        self.name = where
        self.config = oci.parse_config(files.blob(self.manifest.config, oci.MAX_CONFIG), f"{where}: config")
        if demanded is not None and self.manifest.config.media_type in oci.CONFIG_TYPES:
            check_platform(self.config, demanded, where)

    def open_blob(self, descriptor: oci.Descriptor) -> BinaryIO:
        return self._files.open_blob(descriptor)


def open_layout(path: Path, identifier: str | None = None, platform: str | None = None) -> StoredImage:
    """`oci:DIR[:TAG|@DIGEST]`. A platform that is asked for is the image's own, or VerificationError is raised."""
    return StoredImage(_Folder(path), identifier, platform)


def open_archive(path: Path, identifier: str | None = None, platform: str | None = None) -> Image:
    """`archive:FILE.tar[:NAME|@DIGEST]`: of an OCI layout or of `docker save`, compressed or not. As `open_layout`."""
    from custody.registry.archive import DockerImage, TarFile, configs

    tar = TarFile(path)
    if "oci-layout" in tar:
        image = StoredImage(_Archive(tar), identifier, platform)
        # Docker writes both; an older one loads what manifest.json says.
        name = image.manifest.config.digest.partition(":")[2]
        named = configs(tar) if "manifest.json" in tar else []
        if named and not any(name in config for config in named):
            raise VerificationError(f"{path}: the layout's image has the configuration {name}, manifest.json names "
                                    f"{', '.join(named)[:200]}", hint="tools would read one or the other")
        return image
    if "manifest.json" not in tar:
        raise UsageError(f"{path}: neither oci-layout nor manifest.json inside",
                         hint="write it with `docker save`, or `skopeo copy … oci-archive:FILE.tar`")
    saved = DockerImage(tar, identifier)
    if platform is not None:
        check_platform(saved.config, platform, str(path))
    return saved


def _select(files: _Files, index: oci.Index, identifier: str | None,
            platform: str | None) -> tuple[oci.Descriptor, oci.Manifest, str | None]:
    """The image that is named, or the layout's only one, and the platform that it must be of, if any.

    Of several that are listed, in index.json itself or in the indexes that it lists, it is the one of the platform
    (linux/amd64 where none is named).
    """
    leaves = _leaves(files, index)
    images = _named(leaves, identifier)
    names = ", ".join(dict.fromkeys(leaf.name for leaf in leaves)) or "no images"
    if not images:
        raise UsageError(f"{files.where}: no image {identifier!r}; it has {names}")
    demanded = platform if all(not image.nested for image in images) else platform or DEFAULT_PLATFORM
    if len({image.descriptor.digest for image in images}) > 1:
        # ko, apko and others list the platforms in index.json itself; attestations beside them have none.
        listed = [image.descriptor for image in images if image.descriptor.platform is not None]
        if not listed:
            raise UsageError(f"{files.where}: holds {len(images)} images: {names}", hint="name one: oci:DIR:TAG")
        demanded = platform or DEFAULT_PLATFORM
        chosen = choose_platform(oci.Index(oci.INDEX, tuple(listed)), demanded, files.where)
        alike = {image.name for image in images if image.descriptor.platform == chosen.platform
                 and image.descriptor.digest != chosen.digest and image.top}
        if alike and identifier is None:
            raise UsageError(f"{files.where}: holds more than one image of {demanded}: {names}",
                             hint="name one: oci:DIR:TAG")
    else:
        chosen = images[0].descriptor
        if platform is not None and chosen.platform is not None:
            choose_platform(oci.Index(oci.INDEX, (chosen,)), platform, files.where)
    body = _manifest(files, chosen)
    if not isinstance(body, oci.Manifest):
        raise MalformedError(files.where, got=f"an index of media type {chosen.media_type}",
                             expected="an image manifest")
    return chosen, body, demanded


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An image manifest of a layout, below the index that names it."""

    descriptor: oci.Descriptor
    names: tuple[str, ...]
    """By which index.json lists it, or the index that it is in."""
    digests: tuple[str, ...]
    """Its own and those of the indexes that it is in."""

    @property
    def nested(self) -> bool:
        return len(self.digests) > 1

    @property
    def top(self) -> str:
        return self.digests[0]

    @property
    def name(self) -> str:
        platform = _platform_name(self.descriptor.platform or {})
        return " ".join(filter(None, (self.names[0] if self.names else self.descriptor.digest,
                                      f"({platform})" if platform else "")))


def _leaves(files: _Files, index: oci.Index, above: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> list[_Leaf]:
    """All image manifests, in order. Raises MalformedError for indexes in indexes in indexes, and for too many."""
    leaves: list[_Leaf] = []
    for descriptor in index.manifests:
        platform = _platform_name(descriptor.platform or {})
        if platform == "unknown/unknown" or "vnd.docker.reference.type" in descriptor.annotations:
            continue  # BuildKit's attestations
        called = names or tuple(descriptor.annotations[key] for key in _NAMES if key in descriptor.annotations)
        if descriptor.media_type not in oci.INDEX_TYPES:
            leaves.append(_Leaf(descriptor, called, (*above, descriptor.digest)))
        elif len(above) >= _MAX_DEPTH:
            raise MalformedError(f"{files.where}: {descriptor.digest}", expected="an image manifest",
                                 got=f"more than {_MAX_DEPTH} indexes in each other")
        else:
            body = _manifest(files, descriptor)
            if not isinstance(body, oci.Index):
                raise MalformedError(f"{files.where}: {descriptor.digest}", got="an image manifest",
                                     expected="an index")
            leaves += _leaves(files, body, (*above, descriptor.digest), called)
        if len(leaves) > _MAX_LEAVES:
            raise MalformedError(files.where, got=f"more than {_MAX_LEAVES} images", expected="fewer")
    return leaves


def _named(leaves: list[_Leaf], identifier: str | None) -> list[_Leaf]:
    if identifier is None:
        return leaves
    from custody.registry.archive import same_name

    return [leaf for leaf in leaves if identifier in leaf.digests or identifier in leaf.names
            or any(same_name(name, identifier) for name in leaf.names if "/" in name)]


def _manifest(files: _Files, descriptor: oci.Descriptor) -> oci.Manifest | oci.Index:
    return oci.parse_manifest(files.blob(descriptor, oci.MAX_MANIFEST), f"{files.where}: {descriptor.digest}",
                              descriptor.media_type)


def _platform_name(platform: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (str(platform.get(key) or "") for key in ("os", "architecture", "variant"))))


def choose_platform(index: oci.Index, platform: str, where: str) -> oci.Descriptor:
    """The index's entry for `os/architecture[/variant]`. Raises UsageError, listing what there is."""
    asked = _parts(platform)
    seen = []
    for descriptor in index.manifests:
        if descriptor.platform is None:
            continue
        name = _platform_name(descriptor.platform)
        if _parts(name)[:len(asked)] == asked:
            return descriptor
        seen.append(name)
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    raise UsageError(f"{where}: no such platform: {platform}; it has {', '.join(seen) or 'no platforms'}",
                     hint="choose one with --platform")


def _parts(platform: str) -> list[str]:
    """As everywhere in the field, `arm64` is `arm64/v8`: the variant is left off where it is the usual one."""
    parts = platform.split("/")
    return parts[:2] if parts[1:] == ["arm64", "v8"] else parts


def check_platform(config: oci.ImageConfig, platform: str, where: str) -> None:
    """Raises VerificationError where the image's configuration says another `os/architecture[/variant]`.

    A field that the configuration leaves out contradicts nothing.
    """
    asked = _parts(platform)
    have = [str(config.document.get(key) or "") for key in ("os", "architecture", "variant")]
    if any(ours and ours != theirs for ours, theirs in zip(have, asked, strict=False)):
        raise VerificationError(f"{where}: is an image of {'/'.join(part for part in have if part)} by its own "
                                f"configuration, asked for {platform}",
                                hint="choose its own with --platform; or the index that names it names a wrong one")

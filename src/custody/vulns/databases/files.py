"""Where the databases of other scanners are: a file, the scanner's own folder, an archive, an OCI layout."""

from __future__ import annotations

import json
import mmap
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from custody.errors import MalformedError, UnsupportedError
from custody.formats import oci
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.bolt import Database, is_database
from custody.formats.epss import EpssScores
from custody.formats.kev import ExploitedCatalogue
from custody.kit import strictjson
from custody.ports.scannerdb import ScannerTables
from custody.registry.image import VerifyingReader
from custody.vulns.databases import grype, trivy
from custody.vulns.documents import ARCHIVES, decompressed, readable

_TRIVY_LAYER = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
_JAVA_LAYER = "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip"
_TITLE = "org.opencontainers.image.title"
_TRIVY, _GRYPE, _JAVA, _METADATA = "trivy.db", "vulnerability.db", "trivy-java.db", "metadata.json"
_JAVA_SCHEMA = 1
_KEPT = ("", "db", str(grype.MODEL))
"""Where in their folders Trivy and Grype keep them."""
_SQLITE = b"SQLite format 3\0"
_LARGEST = 16 << 30
_LARGEST_METADATA = 1 << 16
_MEMBERS = 64
_PIECE = 1 << 20

OpenTables = Callable[[Path], "ClosableTables"]


class ClosableTables(ScannerTables, Protocol):
    def close(self) -> None: ...


class Contents(Protocol):
    """What a database says, and what of it custody has no place for."""

    left_out: dict[str, int]

    def said(self) -> Iterator[Snapshot | ExploitedCatalogue | EpssScores]: ...


@contextmanager
def located(path: Path, folder: Path) -> Iterator[Path | None]:
    """The file of a scanner's database there; None where there is none. `folder` is where archives are unpacked.

    Raises MalformedError, UnsupportedError for one of a schema that is not known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="custody-", dir=folder) as unpacked:
        yield _file(path, Path(unpacked))


def is_java_index(file: Path) -> bool:
    """Whether it is Trivy's index of Java archives: by its name, which Trivy gives it everywhere.

    Raises UnsupportedError where the `metadata.json` beside it says another schema.
    """
    if file.name != _JAVA:
        return False
    _check_metadata(file, _JAVA_SCHEMA)
    return True


@contextmanager
def opened(file: Path, where: str, tables: OpenTables) -> Iterator[Contents]:
    """What Trivy's or Grype's database says. Raises MalformedError, UnsupportedError."""
    with file.open("rb") as stream:
        head = stream.read(64)
        if is_database(head):
            _check_metadata(file, trivy.SCHEMA)
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield trivy.TrivyDatabase(Database(data, where), where)
            return
    if not head.startswith(_SQLITE):
        raise MalformedError(where, got=head[:16], expected="Trivy's bbolt file or Grype's SQLite database")
    with closing(tables(file)) as opened_tables:
        yield grype.GrypeDatabase(opened_tables, where)


def _file(path: Path, unpacked: Path) -> Path | None:
    if path.is_dir():
        if (path / "oci-layout").is_file():
            return _artifact(path, unpacked)
        return next((kept for place in _KEPT for name in (_TRIVY, _GRYPE, _JAVA)
                     if (kept := path / place / name).is_file()), None)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(64)
        if is_database(head) or head.startswith(_SQLITE):
            return path
        if not path.name.endswith(ARCHIVES) or path.name.endswith(".zip"):
            return None
        file.seek(0)
        return _unpacked(path.name, file, unpacked, str(path))


def _unpacked(name: str, file: IO[bytes], folder: Path, where: str) -> Path | None:
    """The database of an archive, and `metadata.json`; None where none of the first files is one."""
    database = None
    with readable(where), decompressed(name, file, where) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for number, member in enumerate(archive):
            if number == _MEMBERS:
                break
            called = member.name.rpartition("/")[2]
            if not member.isfile() or called not in (_TRIVY, _GRYPE, _JAVA, _METADATA):
                continue
            if called != _METADATA and database is not None:
                raise MalformedError(where, got=f"{member.name} beside {database.name}", expected="one database")
            content = archive.extractfile(member)
            if content is not None:
                _copy(content, folder / called, _LARGEST_METADATA if called == _METADATA else _LARGEST, where)
            if called != _METADATA:
                database = folder / called
    return database


def _copy(content: IO[bytes], target: Path, largest: int, where: str) -> None:
    size = 0
    with target.open("wb") as file:
        while piece := content.read(_PIECE):
            size += len(piece)
            if size > largest:
                raise MalformedError(f"{where}: {target.name}", got="more", expected=f"at most {largest} bytes")
            file.write(piece)


def _check_metadata(file: Path, schema: int) -> None:
    """`metadata.json` beside it says of which schema it is. Raises UnsupportedError."""
    beside = file.with_name(_METADATA)
    if not beside.is_file():
        return
    with beside.open("rb") as stream:
        stated = strictjson.loads(stream.read(_LARGEST_METADATA + 1), str(beside), max_size=_LARGEST_METADATA,
                                  max_depth=8)
    version = stated.get("Version") if isinstance(stated, dict) else None
    if version != schema:
        raise UnsupportedError(str(beside), f"Trivy's database of schema {json.dumps(version)}; expected {schema}")


def _artifact(layout: Path, unpacked: Path) -> Path | None:
    """The database of a layout's artifact; None where it has none. Its bytes are those that its manifest names."""
    with readable(str(layout)):
        data = (layout / "index.json").read_bytes()[:oci.MAX_MANIFEST + 1]
    index = oci.parse_manifest(data, f"{layout}/index.json", oci.INDEX)
    for descriptor in index.manifests if isinstance(index, oci.Index) else ():
        where = f"{layout}: {descriptor.digest}"
        if descriptor.size > oci.MAX_MANIFEST:
            raise MalformedError(where, got=f"{descriptor.size} bytes", expected=f"at most {oci.MAX_MANIFEST}")
        with readable(where), VerifyingReader(_blob(layout, descriptor), descriptor) as reader:
            data = reader.read(descriptor.size)
            reader.drain()
        manifest = oci.parse_manifest(data, where, descriptor.media_type)
        layer = database_layer(manifest.layers) if isinstance(manifest, oci.Manifest) else None
        if layer is not None:
            with readable(where), VerifyingReader(_blob(layout, layer), layer) as reader:
                database = _unpacked(ending(layer), cast(IO[bytes], reader), unpacked, where)
                reader.drain()
                return database
    return None


def database_layer(layers: Sequence[oci.Descriptor]) -> oci.Descriptor | None:
    """Which blob of an artifact is a scanner's database."""
    for layer in layers:
        if layer.media_type in (_TRIVY_LAYER, _JAVA_LAYER) or layer.annotations.get(_TITLE, "").startswith(
                "vulnerability-db_"):
            return layer
    return None


def ending(layer: oci.Descriptor) -> str:
    """What the name of a file ends in that has the blob: how it is compressed."""
    title = layer.annotations.get(_TITLE, "")
    return max((known for known in ARCHIVES if title.endswith(known)), key=len, default=".tar.gz")


def _blob(layout: Path, descriptor: oci.Descriptor) -> BinaryIO:
    algorithm, _, value = descriptor.digest.partition(":")
    return (layout / "blobs" / algorithm / value).open("rb")

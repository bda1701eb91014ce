"""The contents of images in a relational database.

A bundle is the packages of one image that lie in one of its layers, by the hash of what they say: images that share a
layer share the bundle, and a component is in as many rows of `member` as there are bundles that have it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import zstandard

from custody import versions
from custody.adapters.relational import aside, former
from custody.adapters.relational import engine as sql
from custody.adapters.relational.engine import Engine, Row, Session
from custody.formats.bom import Catalog, Package
from custody.ports.inventory import Component, InventoryStatus, Kind, Numbered, Place, Seen, Sighting
from custody.vulns import component as components

MIGRATION = (
    "CREATE TABLE image (id {identity}, digest TEXT NOT NULL UNIQUE, kept BIGINT NOT NULL, "
    "contents {bytes} NOT NULL, head {bytes} NOT NULL); "
    "CREATE TABLE component (id {identity}, hash {bytes} NOT NULL UNIQUE, ecosystem TEXT, name TEXT, "
    "owner_ecosystem TEXT, owner_name TEXT, body {bytes} NOT NULL); "
    "CREATE INDEX component_advised ON component (ecosystem, name); "
    "CREATE INDEX component_owned ON component (owner_ecosystem, owner_name); "
    "CREATE TABLE known (name TEXT NOT NULL, ecosystem TEXT NOT NULL, rank {bytes} NOT NULL, "
    "component BIGINT NOT NULL REFERENCES component ON DELETE CASCADE, "
    "PRIMARY KEY (name, ecosystem, rank, component)){clustered}; "
    "CREATE INDEX known_component ON known (component); "
    "CREATE TABLE mark (name TEXT NOT NULL, component BIGINT NOT NULL REFERENCES component ON DELETE CASCADE, "
    "PRIMARY KEY (name, component)){clustered}; CREATE INDEX mark_component ON mark (component); "
    "CREATE TABLE bundle (id {identity}, hash {bytes} NOT NULL UNIQUE, body {bytes} NOT NULL); "
    "CREATE TABLE path (id {identity}, name TEXT NOT NULL UNIQUE); "
    "CREATE TABLE member (component BIGINT NOT NULL REFERENCES component ON DELETE CASCADE, "
    "bundle BIGINT NOT NULL REFERENCES bundle ON DELETE CASCADE, path BIGINT NOT NULL, "
    "PRIMARY KEY (component, bundle, path)){clustered}; CREATE INDEX member_bundle ON member (bundle); "
    "CREATE TABLE holds (bundle BIGINT NOT NULL REFERENCES bundle, image BIGINT NOT NULL REFERENCES image "
    "ON DELETE CASCADE, layer TEXT NOT NULL, PRIMARY KEY (bundle, image, layer)){clustered}; "
    "CREATE INDEX holds_image ON holds (image); "
    "CREATE TABLE sighting (kind TEXT NOT NULL, place TEXT NOT NULL, image TEXT NOT NULL, first BIGINT NOT NULL, "
    "last BIGINT NOT NULL, PRIMARY KEY (kind, place, image)){clustered}; "
    "CREATE INDEX sighting_image ON sighting (image)")
READERS = "ALTER TABLE image ADD COLUMN readers TEXT NOT NULL DEFAULT ''"
SPOKEN = (  # advisories may speak of a package under several names
    "DROP INDEX component_advised; DROP INDEX component_owned; ALTER TABLE component DROP COLUMN ecosystem; "
    "ALTER TABLE component DROP COLUMN name; ALTER TABLE component DROP COLUMN owner_ecosystem; "
    "ALTER TABLE component DROP COLUMN owner_name; "
    "CREATE TABLE spoken (ecosystem TEXT NOT NULL, name TEXT NOT NULL, component BIGINT NOT NULL REFERENCES component "
    "ON DELETE CASCADE, PRIMARY KEY (ecosystem, name, component)){clustered}; "
    "CREATE INDEX spoken_component ON spoken (component)")
LAYERS = ("CREATE TABLE layer (digest TEXT NOT NULL, image BIGINT NOT NULL REFERENCES image ON DELETE CASCADE, "
          "PRIMARY KEY (digest, image)){clustered}; CREATE INDEX layer_image ON layer (image)")
KEPT = "CREATE INDEX image_kept ON image (kept)"
_ENCODER = msgspec.msgpack.Encoder()
_COMPONENT, _PACKAGES = msgspec.msgpack.Decoder(Component), msgspec.msgpack.Decoder(tuple[Package, ...])
_CATALOG = msgspec.msgpack.Decoder(Catalog)
_LARGEST = 256 << 20
_AT_ONCE = 1000
_UNPLACED = b""  # the rank of a version that has no place in its order: below all others


class RelationalInventory:
    """InventoryStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.close()

    # Inventory

    def keep(self, catalog: Catalog, at: datetime, readers: str = "") -> bool:
        bundles = _bundles(catalog)
        head = _pack(msgspec.structs.replace(catalog, packages=()))
        contents = _hash(head, *(layer.encode() + bundle.hash for layer, bundle in bundles.items()))
        with self._engine.write() as session:
            rows = session.execute("SELECT id, contents FROM image WHERE digest = ?", catalog.digest)
            if rows and bytes(rows[0][1]) == contents:
                session.execute("UPDATE image SET kept = ?, readers = ? WHERE id = ?", sql.microseconds(at), readers,
                                rows[0][0])
                return False
            if rows:
                former.write(session, catalog.digest, rows[0][0])
                aside.drop(session, [catalog.digest])
                _drop(session, rows[0][0])
            ((image,),) = session.execute("INSERT INTO image (digest, kept, contents, head, readers) VALUES "
                                          "(?, ?, ?, ?, ?) RETURNING id", catalog.digest, sql.microseconds(at),
                                          contents, zstandard.compress(head, 3), readers)
            _put_layers(session, image, catalog)
            numbers = _put_bundles(session, bundles.values())
            session.many("INSERT INTO holds VALUES (?, ?, ?) ON CONFLICT DO NOTHING", [
                (numbers[bundle.hash], image, sql.text(layer)) for layer, bundle in bundles.items()])
        return True

    def catalog(self, image: str) -> Catalog | None:
        rows = self._engine.read("SELECT head FROM image WHERE digest = ?", image)
        if not rows:
            return None
        catalog = _CATALOG.decode(_unpack(rows[0][0]))
        packages: dict[Package, list[Any]] = {}
        for layer, body in self._engine.read(
                "SELECT layer, body FROM holds JOIN bundle ON bundle.id = holds.bundle JOIN image ON image.id = "
                "holds.image WHERE digest = ?", image):
            for package in _PACKAGES.decode(_unpack(body)):
                places = packages.setdefault(msgspec.structs.replace(package, locations=()), [])
                places += [msgspec.structs.replace(place, layer=layer) for place in package.locations]
        order = {layer.digest: number for number, layer in enumerate(catalog.layers)}
        return msgspec.structs.replace(catalog, packages=tuple(
            msgspec.structs.replace(package, locations=tuple(sorted(
                places, key=lambda place: (order.get(place.layer, -1), place.path, place.within, place.evidence))))
            for package, places in sorted(packages.items(), key=lambda entry: (entry[0].purl, entry[0].version))))

    def kept(self, images: Collection[str], readers: str | None = None) -> set[str]:
        return {digest for marks, part in sql.parts(images) for digest, by in self._engine.read(
            f"SELECT digest, readers FROM image WHERE digest IN ({marks})", *part)  # noqa: S608 - question marks
            if readers is None or by == readers}

    def forget(self, image: str) -> bool:
        with self._engine.write() as session:
            rows = session.execute("SELECT id FROM image WHERE digest = ?", image)
            for (number,) in rows:
                _drop(session, number)
            session.execute("DELETE FROM sighting WHERE image = ?", image)
            session.execute("DELETE FROM former WHERE image = ?", image)
            aside.drop(session, [image])
        return bool(rows)

    def reindex(self) -> int:
        """Names and marks of all components, and layers, anew, where the rules for them are others than those that
        they were made by (`vulns.component.RULES`, `versions.KEYS`); how many components that were."""
        rules = f"{components.RULES} {versions.KEYS}"
        if self._engine.read("SELECT value FROM progress WHERE name = 'rules'") == [(rules,)]:
            return 0
        last, count = 0, 0
        with self._engine.write() as session:
            for image, head in session.execute("SELECT id, head FROM image"):
                _put_layers(session, image, _CATALOG.decode(_unpack(head)))
            while batch := _numbered(session.execute("SELECT id, body FROM component WHERE id > ? ORDER BY id LIMIT ?",
                                                     last, _AT_ONCE)):
                last, count = batch[-1].number, count + len(batch)
                for table in ("known", "mark", "spoken"):
                    session.execute(f"DELETE FROM {table} WHERE component BETWEEN ? AND ?", batch[0].number, last)  # noqa: S608 - constants
                _index(session, dict(batch))
            session.execute("INSERT INTO progress VALUES ('rules', ?) ON CONFLICT (name) DO UPDATE SET value = "
                            "excluded.value", rules)
        return count

    def status(self) -> InventoryStatus:
        ((images, newest),) = self._engine.read("SELECT (SELECT count(*) FROM image), (SELECT max(kept) FROM image)")
        return InventoryStatus(int(images), None if newest is None else sql.moment(newest))

    # Sightings

    def see(self, sightings: Iterable[Sighting]) -> None:
        with self._engine.write() as session:
            session.many(
                "INSERT INTO sighting VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, place, image) DO UPDATE SET last = "
                "CASE WHEN excluded.last > sighting.last THEN excluded.last ELSE sighting.last END",
                [(sighting.kind, sql.text(sighting.where), sighting.image, *[sql.microseconds(sighting.at)] * 2)
                 for sighting in sightings])

    def gone(self, kind: Kind, before: datetime, beginning: str = "") -> int:
        start = sql.text(beginning)
        with self._engine.write() as session:
            return len(session.execute("DELETE FROM sighting WHERE kind = ? AND last < ? AND substr(place, 1, ?) = ? "
                                       "RETURNING image", kind, sql.microseconds(before), len(start), start))

    def seen(self, images: Collection[str]) -> Mapping[str, Sequence[Seen]]:
        sightings: dict[str, list[Seen]] = defaultdict(list)
        for marks, part in sql.parts(images):
            for image, kind, where, first, last in self._engine.read(
                    f"SELECT image, kind, place, first, last FROM sighting WHERE image IN ({marks})", *part):  # noqa: S608 - question marks
                sightings[image].append(Seen(kind, where, sql.moment(first), sql.moment(last)))
        return {image: sorted(rows, key=lambda row: (row.kind, row.where)) for image, rows in sightings.items()}

    def holders(self, kind: Kind, where: str) -> Sequence[str]:
        return [image for image, _ in sorted(self._engine.read(
            "SELECT image, last FROM sighting WHERE kind = ? AND place = ?", kind, sql.text(where)),
            key=lambda row: -row[1])]

    # Index

    def ecosystems(self, name: str) -> Sequence[str]:
        return sorted(row[0] for row in self._engine.read("SELECT DISTINCT ecosystem FROM known WHERE name = ?",
                                                          sql.text(name)))

    def named(self, name: str, ecosystem: str, low: bytes | None = None,
              high: bytes | None = None) -> Sequence[Numbered]:
        bounds = {">=": low, "<=": high}
        within = "".join(f" AND rank {sign} ?" for sign, bound in bounds.items() if bound is not None)
        return _numbered(self._engine.read(
            "SELECT id, body FROM component WHERE id IN (SELECT component FROM known WHERE name = ? AND ecosystem = ? "  # noqa: S608 - signs
            f"AND (rank = ? OR (rank > ?{within})))", sql.text(name), sql.text(ecosystem), _UNPLACED, _UNPLACED,
            *(bound for bound in bounds.values() if bound is not None)))

    def advised(self, ecosystem: str, name: str) -> Sequence[Numbered]:
        return _numbered(self._engine.read(
            "SELECT id, body FROM component WHERE id IN (SELECT component FROM spoken WHERE ecosystem = ? AND "
            "name = ?)", sql.text(ecosystem), sql.text(name)))

    def marked(self, mark: str) -> Sequence[Numbered]:
        return _numbered(self._engine.read("SELECT id, body FROM component WHERE id IN (SELECT component FROM mark "
                                           "WHERE name = ?)", sql.text(mark)))

    def after(self, number: int, most: int) -> Sequence[Numbered]:
        return _numbered(self._engine.read("SELECT id, body FROM component WHERE id > ? ORDER BY id LIMIT ?", number,
                                           most))

    def components(self, numbers: Collection[int]) -> Sequence[Numbered]:
        return [row for marks, part in sql.parts(numbers) for row in _numbered(self._engine.read(
            f"SELECT id, body FROM component WHERE id IN ({marks})", *part))]  # noqa: S608 - question marks

    def images(self, after: int, most: int) -> Sequence[tuple[int, str]]:
        return [(number, digest) for number, digest in self._engine.read(
            "SELECT id, digest FROM image WHERE id > ? ORDER BY id LIMIT ?", after, most)]

    def layered(self, digest: str) -> Sequence[str]:
        return [image for (image,) in self._engine.read(
            "SELECT image.digest FROM layer JOIN image ON image.id = layer.image WHERE layer.digest = ? ORDER BY "
            "image.id", sql.text(digest))]

    def contents(self, image: str) -> Sequence[int]:
        return sorted(row[0] for row in self._engine.read(
            "SELECT DISTINCT member.component FROM member JOIN holds ON holds.bundle = member.bundle JOIN image ON "
            "image.id = holds.image WHERE image.digest = ?", image))

    def places(self, components: Collection[int]) -> Sequence[Place]:
        places: list[Place] = []
        for marks, part in sql.parts(components):
            places += [Place(*row) for row in self._engine.read(
                "SELECT member.component, image.digest, holds.layer, path.name FROM member JOIN holds ON "  # noqa: S608 - question marks
                "holds.bundle = member.bundle JOIN image ON image.id = holds.image JOIN path ON path.id = member.path "
                f"WHERE member.component IN ({marks})", *part)]
        return places


class _Bundle:
    """Packages of a layer, and their components."""

    def __init__(self, packages: list[tuple[Package, Component]]) -> None:
        self.packages = sorted(packages, key=lambda entry: (entry[0].purl, entry[0].version, entry[0].owner))
        self.body = _pack(tuple(package for package, _ in self.packages))
        self.hash = _hash(self.body, *(repr(component.owner).encode("utf-8", "backslashreplace")
                                       for _, component in self.packages))


def _bundles(catalog: Catalog) -> dict[str, _Bundle]:
    """By the layer in which the packages lie; '' for those of which nobody says where."""
    layers: dict[str, list[tuple[Package, Component]]] = {}
    for package, component in components.components(catalog):
        by_layer: dict[str, list[Any]] = {} if package.locations else {"": []}
        for location in package.locations:
            by_layer.setdefault(location.layer, []).append(msgspec.structs.replace(location, layer=""))
        for layer, locations in by_layer.items():
            layers.setdefault(layer, []).append(
                (msgspec.structs.replace(package, locations=tuple(locations)), component))
    return {layer: _Bundle(packages) for layer, packages in sorted(layers.items())}


def _put_bundles(session: Session, bundles: Iterable[_Bundle]) -> dict[bytes, int]:
    """Their numbers by their hashes."""
    numbers: dict[bytes, int] = {}
    for bundle in bundles:
        rows = session.execute("SELECT id FROM bundle WHERE hash = ?", bundle.hash)
        if rows:
            numbers[bundle.hash] = rows[0][0]
            continue
        ((number,),) = session.execute("INSERT INTO bundle (hash, body) VALUES (?, ?) RETURNING id", bundle.hash,
                                       zstandard.compress(bundle.body, 3))
        numbers[bundle.hash] = number
        hashes = [_hash(_pack(component)) for _, component in bundle.packages]
        by_hash = _put_components(session, dict(zip(hashes, (component for _, component in bundle.packages),
                                                    strict=True)))
        paths = _put_paths(session, {sql.text(components.path(place), 600) for package, _ in bundle.packages
                                     for place in package.locations} | {""})
        session.many("INSERT INTO member VALUES (?, ?, ?) ON CONFLICT DO NOTHING", [
            (by_hash[identity], number, paths[path])
            for identity, (package, _) in zip(hashes, bundle.packages, strict=True)
            for path in ([sql.text(components.path(place), 600) for place in package.locations] or [""])])
    return numbers


def _put_layers(session: Session, image: int, catalog: Catalog) -> None:
    session.many("INSERT INTO layer VALUES (?, ?) ON CONFLICT DO NOTHING", [
        (sql.text(digest), image) for layer in catalog.layers for digest in (layer.digest, layer.diff_id)])


def _put_components(session: Session, by_hash: Mapping[bytes, Component]) -> dict[bytes, int]:
    numbers = _select(session, "component", "hash", by_hash)
    new = {identity: component for identity, component in by_hash.items() if identity not in numbers}
    session.many("INSERT INTO component (hash, body) VALUES (?, ?)", [
        (identity, _pack(component)) for identity, component in new.items()])
    added = _select(session, "component", "hash", new)
    _index(session, {added[identity]: component for identity, component in new.items()})
    return numbers | added


def _index(session: Session, by_number: Mapping[int, Component]) -> None:
    session.many("INSERT INTO known VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", [
        (sql.text(name.name), sql.text(name.ecosystem), name.rank or _UNPLACED, number)
        for number, component in by_number.items() for name in components.known(component)])
    session.many("INSERT INTO mark VALUES (?, ?) ON CONFLICT DO NOTHING", [
        (sql.text(mark), number) for number, component in by_number.items() for mark in components.marks(component)])
    session.many("INSERT INTO spoken VALUES (?, ?, ?) ON CONFLICT DO NOTHING", [
        (sql.text(ecosystem), sql.text(name), number) for number, component in by_number.items()
        for ecosystem, name in components.spoken(component)])


def _put_paths(session: Session, paths: Collection[str]) -> dict[str, int]:
    session.many("INSERT INTO path (name) VALUES (?) ON CONFLICT DO NOTHING", [(path,) for path in sorted(paths)])
    return _select(session, "path", "name", paths)


def _select(session: Session, table: str, column: str, values: Iterable[Any]) -> dict[Any, int]:
    """Numbers by a column that is unique."""
    numbers: dict[Any, int] = {}
    for marks, part in sql.parts(values):
        for number, value in session.execute(f"SELECT id, {column} FROM {table} WHERE {column} IN ({marks})", *part):  # noqa: S608 - constants
            numbers[bytes(value) if column == "hash" else value] = number
    return numbers


def _drop(session: Session, image: int) -> None:
    """An image, and what no other image has."""
    bundles = [row[0] for row in session.execute("SELECT DISTINCT bundle FROM holds WHERE image = ?", image)]
    session.execute("DELETE FROM holds WHERE image = ?", image)
    session.execute("DELETE FROM image WHERE id = ?", image)
    for marks, part in sql.parts(bundles):
        members = [row[0] for row in session.execute(
            f"SELECT DISTINCT component FROM member WHERE bundle IN ({marks})", *part)]  # noqa: S608 - question marks
        session.execute(f"DELETE FROM bundle WHERE id IN ({marks}) AND NOT EXISTS "  # noqa: S608
                        "(SELECT 1 FROM holds WHERE holds.bundle = bundle.id)", *part)
        for few, some in sql.parts(members):
            session.execute(f"DELETE FROM component WHERE id IN ({few}) AND NOT EXISTS "  # noqa: S608
                            "(SELECT 1 FROM member WHERE member.component = component.id)", *some)


def _numbered(rows: Iterable[Row]) -> list[Numbered]:
    by_number = {row[0]: row[1] for row in rows}
    return [Numbered(number, _COMPONENT.decode(by_number[number])) for number in sorted(by_number)]


def _hash(*values: bytes) -> bytes:
    digest = hashlib.sha256()
    for value in values:
        digest.update(len(value).to_bytes(8, "big") + value)
    return digest.digest()[:16]


def _pack(value: object) -> bytes:
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:  # a name that is no text
        return _ENCODER.encode(_legible(msgspec.to_builtins(value)))


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _legible(item) for name, item in value.items()}
    return [_legible(item) for item in value] if isinstance(value, list | tuple) else value


def _unpack(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST)

"""Which of the images that are kept have a package, a vulnerability, a hash or a licence, where, and where they run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from custody.errors import CustodyError, MissingEvidenceError
from custody.formats.bom import Location
from custody.kit.clock import format_rfc3339
from custody.ports.advisories import AdvisoryReader
from custody.ports.inventory import Component, InventoryStatus, InventoryStore, Seen
from custody.services import signers
from custody.vulns import component as components
from custody.vulns import question as questions
from custody.vulns.judgement import Remembering, judge
from custody.vulns.question import MarkAsked, PackageAsked, Question, VulnerabilityAsked


class Affected(msgspec.Struct, frozen=True, kw_only=True):
    """A package of an image that was asked for."""

    image: str
    """Its digest."""
    package: str
    version: str
    purl: str
    why: str
    """The condition that holds, the event of the advisory, or why that cannot be said."""
    vulnerability: str = ""
    severity: str = ""
    fixed: tuple[str, ...] = ()
    locations: tuple[Location, ...] = ()
    """What is within a file stands behind a `!` of its path."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """Where an image was seen."""

    digest: str
    names: tuple[str, ...] = ()
    admissions: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    signers: tuple[str, ...] | None = None
    """Whose signatures were verified, by the webhook or as the image was read; None where nobody looked."""


class _Told(Affected, frozen=True, kw_only=True):
    """With where its image was seen: a row of the JSON document."""

    names: tuple[str, ...]
    admissions: tuple[str, ...]
    pods: tuple[str, ...]
    signers: tuple[str, ...] | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    question: str
    images: int
    """That are kept, in all."""
    newest: str
    """When the last of them was kept."""
    affected: tuple[Affected, ...]
    undecided: tuple[Affected, ...]
    """Of which nobody can say whether they are: their versions, or the advisory's, cannot be compared."""
    where: dict[str, Image]
    """By digest, the images of both lists."""
    advisories: tuple[str, ...] = ()
    """The records that were judged by."""

    def to_json(self) -> bytes:
        return msgspec.json.encode({
            "question": self.question, "images": self.images, "newest": self.newest, "advisories": self.advisories,
            "affectedImages": len({row.image for row in self.affected}),
            "affected": [self._told(row) for row in self.affected],
            "undecided": [self._told(row) for row in self.undecided]})

    def _told(self, row: Affected) -> _Told:
        image = self.where[row.image]
        return _Told(
            image=row.image, package=row.package, version=row.version, purl=row.purl, why=row.why,
            vulnerability=row.vulnerability, severity=row.severity, fixed=row.fixed, locations=row.locations,
            names=image.names, admissions=image.admissions, pods=image.pods, signers=image.signers)


class _Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A component that was asked for."""

    component: Component
    why: str
    decided: bool = True
    vulnerability: str = ""
    severity: str = ""
    fixed: tuple[str, ...] = ()


def ask(text: str, inventory: InventoryStore, advisories: AdvisoryReader, asked: Question | None = None) -> Answer:
    """`asked` is what the text means, where that is no question by itself. Raises MalformedError, UnsupportedError for
    what is no question; MissingEvidenceError where nothing is kept, and of a vulnerability that no advisory names: both
    are no "none".
    """
    question = asked or questions.parse(text)
    status = inventory.status()
    if not status.images:
        raise MissingEvidenceError("no image is kept: nobody can say what is in any",
                                   hint="custody scan IMAGE keeps what it read")
    if isinstance(question, VulnerabilityAsked):
        records, hits = _vulnerable(question, inventory, advisories)
        return _answer(text, status, inventory, hits, records)
    return _answer(text, status, inventory, _packages(question, inventory), (),
                   whole=question.mark if isinstance(question, MarkAsked) else "")


def _packages(question: PackageAsked | MarkAsked, inventory: InventoryStore) -> dict[int, list[_Hit]]:
    """By the number of the component."""
    hits: dict[int, list[_Hit]] = defaultdict(list)
    if isinstance(question, MarkAsked):
        for mark in (question.mark, *question.same):
            for number, component in inventory.marked(mark):
                if number not in hits:
                    hits[number].append(_Hit(component=component, why=mark))
        return hits
    for ecosystem in inventory.ecosystems(question.name):
        for number, component in inventory.named(question.name, ecosystem, *questions.bounds(question, ecosystem)):
            name = questions.meant(question, component)
            if name is None:
                continue
            try:
                if questions.holds(question.versions, name):
                    hits[number].append(_Hit(component=component, why=_said(question, name)))
            except CustodyError as error:
                hits[number].append(_Hit(component=component, why=_undecided(error, name), decided=False))
    return hits


def _vulnerable(question: VulnerabilityAsked, inventory: InventoryStore,
                advisories: AdvisoryReader) -> tuple[tuple[str, ...], dict[int, list[_Hit]]]:
    if not advisories.status().advisories:
        raise MissingEvidenceError("the advisory database is empty: nobody can say what has a vulnerability",
                                   hint="custody db import PATH (OSV records)")
    names = {question.id}
    for record in advisories.named([question.id]):
        names |= {record.id, *record.aliases, *record.cves}
    records = advisories.speaking(sorted(names))
    if not records:
        raise MissingEvidenceError(f"no advisory in the database names {question.id}: nobody can say what it affects",
                                   hint="custody db status says how old the advisories are")
    ids = {record.id for record in records}
    hits: dict[int, list[_Hit]] = defaultdict(list)
    judged: set[int] = set()
    remembering = Remembering(advisories)
    for ecosystem, name in dict.fromkeys((entry.ecosystem, entry.name) for record in records
                                         for entry in record.affected):
        for number, component in inventory.advised(ecosystem, name):
            if number in judged:
                continue
            judged.add(number)
            judgement = judge(component, remembering)
            hits[number] += [
                _Hit(component=component, why=f"{finding.id}: {finding.matched}", vulnerability=finding.cve,
                     severity=finding.severity, fixed=finding.fixed) for finding in judgement.findings
                if names & {finding.cve, finding.id, *finding.aliases}]
            hits[number] += [_Hit(component=component, why=f"{unsure.id}: {unsure.reason}", decided=False)
                             for unsure in judgement.undecided if unsure.id in ids]
    return tuple(sorted(ids)), hits


def _answer(text: str, status: InventoryStatus, inventory: InventoryStore, hits: dict[int, list[_Hit]],
            records: tuple[str, ...], *, whole: str = "") -> Answer:
    by_image: dict[tuple[str, int], list[Location]] = defaultdict(list)
    for component, image, layer, path in inventory.places([number for number, rows in hits.items() if rows]):
        by_image[image, component].append(Location(path=path, layer=layer))
    rows: dict[bool, list[Affected]] = {True: [], False: []}
    for (image, number), listed in by_image.items():
        locations = tuple(sorted((place for place in listed if place.path or place.layer),
                                 key=lambda place: (place.layer, place.path)) if len(listed) > 1 else
                          (place for place in listed if place.path or place.layer))
        for hit in hits[number]:
            package = hit.component.package
            rows[hit.decided].append(Affected(
                image=image, package=package.name, version=package.version, purl=package.purl, why=hit.why,
                vulnerability=hit.vulnerability, severity=hit.severity, fixed=hit.fixed, locations=locations))
    for image in dict.fromkeys([whole, *inventory.holders("index", whole)] if whole else []):
        if (catalog := inventory.catalog(image)) is not None:
            rows[True].append(Affected(image=image, package=catalog.name, version="", purl="", why=(
                "is this image" if image == whole else "is the image of this index")))
    for image in inventory.layered(whole) if whole else ():
        if (catalog := inventory.catalog(image)) is not None:
            layers = [layer.digest for layer in catalog.layers if whole in (layer.digest, layer.diff_id)]
            rows[True].append(Affected(image=image, package=catalog.name, version="", purl="", why="has this layer",
                                       locations=tuple(Location(path="", layer=digest) for digest in layers[:1])))
    for told in rows.values():
        told.sort(key=lambda row: (row.package, row.version, row.image, row.why))
    where = _images(inventory, {row.image for told in rows.values() for row in told})
    return Answer(question=text, images=status.images, newest=format_rfc3339(status.newest) if status.newest else "",
                  affected=tuple(rows[True]), undecided=tuple(rows[False]), where=where, advisories=records)


def _images(inventory: InventoryStore, digests: Iterable[str]) -> dict[str, Image]:
    ordered = sorted(digests)
    seen = dict(inventory.seen(ordered))
    within = {digest: [row.where for row in rows if row.kind == "index"] for digest, rows in seen.items()}
    if indexes := {index for rows in within.values() for index in rows}:
        of_index = inventory.seen(indexes)
        seen = {digest: [*rows, *(row for index in within[digest] for row in of_index.get(index, ()))]
                for digest, rows in seen.items()}
    return {digest: _image(digest, seen.get(digest, ())) for digest in ordered}


def _image(digest: str, sightings: Sequence[Seen]) -> Image:
    """Where it was seen last comes first."""
    places: dict[str, list[str]] = defaultdict(list)
    ordered = sorted(sightings, key=lambda row: row.last, reverse=True) if len(sightings) > 1 else sightings
    for row in ordered:
        places[row.kind].append(row.where)
    return Image(digest=digest, names=tuple(places["name"]), admissions=tuple(places["admission"]),
                 pods=tuple(places["pod"]), signers=signers.known(tuple(places["signer"])))


def _said(question: PackageAsked, name: components.Name) -> str:
    versions = " || ".join(",".join(f"{sign}{version}" for sign, version in conditions)
                           for conditions in question.versions)
    return f"{name.version} is {versions}" if versions else "every version"


def _undecided(error: CustodyError, name: components.Name) -> str:
    return error.message if name.version else "nobody knows the package's version"

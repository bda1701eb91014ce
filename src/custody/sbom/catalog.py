"""What is in an image or a folder: its layers read (or remembered), laid over each other, named by package URL."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from custody.ecosystems import namespace, of_type
from custody.errors import CustodyError, MalformedError
from custody.formats import purl as purls
from custody.formats.bom import Catalog, Distribution, Form, Layer, Location, Package, Unknown, identify
from custody.formats.licenses import stated
from custody.kit.digest import sha256
from custody.kit.guarded import guard, unguard
from custody.ports.javaarchives import JavaArchives
from custody.ports.layers import LayerCache
from custody.registry.image import Image
from custody.sbom import apart, coverage, dependencies, javasums, links, repositories
from custody.sbom.apart import worthwhile
from custody.sbom.catalogers import Fact, counted, osrelease
from custody.sbom.catalogers.assemblies import ASSEMBLY
from custody.sbom.catalogers.fact import HOLDS, LICENSES, MARKERS, ORIGIN, OS_RELEASE, UNKNOWN
from custody.sbom.filesystem import Filesystem, Visible, squash
from custody.sbom.folder import Folder, read_file, read_folder
from custody.sbom.layerfacts import LayerFacts
from custody.sbom.layers import Accounts, read_layer
from custody.sbom.limits import FullError, Limits
from custody.sbom.ownership import installed, owners
from custody.sbom.proof.proving import Prover, read_again
from custody.sbom.proof.sums import Sums
from custody.sbom.suppliers import supplier

_WORKERS = min(4, os.cpu_count() or 1)
_LOOK = 0.2
"""Seconds after which a person who had enough is seen at the latest."""
_EXAMPLES = 3
_ONE_FILE = frozenset(("archive", "program", "data"))
_OF_SOURCES = ("directory", "file")
"""What manifests are read of; in an image what an application needs may be compiled into one file of it."""
_FORM = 14
"""Raised with every change of `Fact`, `LayerFacts` or how layers are read; catalogers have versions of their own."""
_Names = dict[str, list[str]]
"""Files by path, and the telling names that symbolic links of the image give them."""
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(LayerFacts)


def catalog(image: Image, cache: LayerCache | None = None, progress: Callable[[int], None] | None = None,
            limits: Limits | None = None, *, prove: bool = False, stopped: threading.Event | None = None,
            archives: JavaArchives | None = None, forks: bool = False) -> Catalog:
    """Read an image's layers in one pass each, at most as many at a time as there are processors.

    `progress` gets numbers of compressed bytes, from several threads. Layers in the `cache` are not read again.
    `prove`: all are, and the files compared with what packages say of them. Whoever sets `stopped` wants no catalog any
    more: the threads end at the next chunk of their layers, and some exception is raised. `archives` tell which
    artifact a Java archive is that says so nowhere itself. `forks`: in processes of their own, which is for an image on
    this disk, and for who has no other threads.
    Raises VerificationError where a digest lies, MalformedError for hostile layers, UnsupportedError.
    """
    descriptors, diff_ids = image.manifest.layers, image.config.diff_ids
    if len(descriptors) != len(diff_ids):
        raise MalformedError(f"{image.name}: layers", got=f"{len(descriptors)} layers and {len(diff_ids)} diff_ids",
                             expected="one diff_id for each layer", hint="is it an image, or another artifact?")

    bounds = limits or Limits()
    accounts = Accounts(bounds, stopped)
    if len(descriptors) > bounds.layers:
        raise MalformedError(f"{image.name}: layers", got=len(descriptors), expected=f"at most {bounds.layers}")

    prover = Prover(len(descriptors)) if prove else None

    def remembered(place: int, wanted: _Names) -> tuple[str, LayerFacts | None]:
        # The blob's digest too: what was read of one blob says nothing of another that claims the same diffID.
        key = f"{_FORM}:{diff_ids[place]}:{descriptors[place].digest}"
        if wanted:
            key += ":" + sha256(_ENCODER.encode(sorted(wanted.items())))
        return key, None if cache is None else _decode(cache.get(key))

    def read_all(wanted: list[_Names], places: Sequence[int],
                 watchers: Sequence[Sums] | None = None) -> list[LayerFacts]:
        kept = {place: remembered(place, wanted[place]) for place in places}
        layers: dict[int, LayerFacts] = {}
        for place, (_, known) in kept.items():
            facts = None if known is None or watchers else known.current(wanted[place])
            if facts is not None and accounts.fits(facts.found):
                if progress:
                    progress(descriptors[place].size)
                accounts.names.charge(len(facts.names), descriptors[place].digest)
                layers[place] = facts

        def read_one(place: int, progress: Callable[[int], None] | None = progress) -> LayerFacts:
            return read_layer(image, descriptors[place], diff_ids[place], bounds, progress, accounts=accounts,
                              wanted=wanted[place], known=kept[place][1],
                              watcher=watchers[place] if watchers else None)

        # The largest first, so that it does not run alone at the end.
        order = sorted((place for place in places if place not in layers), key=lambda place: -descriptors[place].size)
        processes = 1 if not forks or (prover and not watchers) else worthwhile(
            [descriptors[place].size for place in order])  # the second time the first one's threads are still there
        if processes > 1:
            layers |= apart.read(order, processes, read_one, accounts, progress, watchers)
        layers |= _in_threads([place for place in order if place not in layers], places, read_one, accounts)
        for place, facts in layers.items():
            key, known = kept[place]
            if cache is not None and facts is not known and not accounts.full:
                cache.put(key, guard(_ENCODER.encode(facts)))
        return [layers[place] for place in places]

    with prover or contextlib.nullcontext():
        if prover is not None and descriptors:
            accounts.proof = prover.accounts
            prover.recognise(image, bounds, accounts.window)
        layers = read_all([{}] * len(descriptors), range(len(descriptors)), prover.layers if prover else None)
        tree = squash(layers, bounds)
        wanted, counted_only = links.telling(tree, layers)
        layers = [links.count(facts, kinds) for facts, kinds in zip(layers, counted_only, strict=True)]
        if again := [place for place, names in enumerate(wanted) if names]:
            for place, facts in zip(again, read_all(wanted, again), strict=True):
                layers[place] = links.count(facts, counted_only[place])
        if again or any(counted_only):
            tree = squash(layers, bounds)
        result = _assemble(Subject(
            name=image.name, digest=image.descriptor.digest, kind="container", blobs=tuple(
                Layer(digest=blob.digest, diff_id=facts.diff_id, entries=facts.entries, size=facts.size)
                for blob, facts in zip(image.manifest.layers, layers, strict=True))), layers, tree, accounts, archives)
        if prover is None:
            return result
        return msgspec.structs.replace(result, proof=prover.prove(
            layers, result.packages, [layer.digest for layer in result.layers],
            lambda place, more: read_again(image, descriptors[place], bounds, accounts, more)))


def _in_threads(order: Sequence[int], places: Sequence[int], read: Callable[[int], LayerFacts],
                accounts: Accounts) -> dict[int, LayerFacts]:
    with ThreadPoolExecutor(_WORKERS, "layer") as pool:
        try:
            futures = {place: pool.submit(read, place) for place in order}
            for place in places:  # in their order: of several broken layers the lowest is named
                if place in futures:
                    while not futures[place].done():  # a signal just before an endless wait is not seen
                        wait((futures[place],), _LOOK)
                    futures[place].result()
            return {place: future.result() for place, future in futures.items()}
        except BaseException:
            accounts.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def catalog_folder(folder: Folder, kind: str, progress: Callable[[int], None] | None = None,
                   limits: Limits | None = None, origin: str = "", *, prove: bool = False,
                   archives: JavaArchives | None = None) -> tuple[Catalog, int]:
    """What is in a folder, and how many files and folders were excluded. `progress` gets numbers of files.

    Raises UsageError, MalformedError.
    """
    bounds = limits or Limits()
    accounts = Accounts(bounds)
    with Prover(1) if prove else contextlib.nullcontext() as prover:
        found = read_folder(folder, bounds, accounts, {}, progress, prover.layers[0] if prover else None)
        tree = squash([found.layer], bounds, folder.declared)
        [wanted], [counted_only] = links.telling(tree, [found.layer], folder.declared)
        if wanted:
            accounts = Accounts(bounds)
            found = read_folder(folder, bounds, accounts, wanted)
        layer = links.count(found.layer, counted_only)
        if wanted or counted_only:
            tree = squash([layer], bounds, folder.declared)
        subject = Subject(name=str(folder.path), digest=found.digest, kind=kind, origin=origin)
        result = _assemble(subject, [layer], tree, accounts, archives)
        if prover is not None:
            def again(_place: int, more: Sums) -> None:
                read_folder(folder, bounds, Accounts(bounds), {}, watcher=more)

            result = msgspec.structs.replace(result, proof=prover.prove([layer], result.packages, (), again))
        return result, found.excluded


def catalog_file(path: Path, limits: Limits | None = None, *, archives: JavaArchives | None = None) -> Catalog:
    """What one file says. Raises UsageError, MalformedError."""
    bounds = limits or Limits()
    accounts = Accounts(bounds)
    found = read_file(path, bounds, accounts)
    subject = Subject(name=str(path), digest=found.digest, kind="file")
    return _assemble(subject, [found.layer], squash([found.layer], bounds, True), accounts, archives)


def _decode(kept: bytes | None) -> LayerFacts | None:
    """What the cache has; None where it has nothing, or something that is broken: the layer is read again."""
    if kept is None or (data := unguard(kept)) is None:
        return None
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is catalogued: the fields of a `Catalog` that its files do not say."""

    name: str
    digest: str
    kind: str
    blobs: tuple[Layer, ...] = ()
    """The layers; a folder has none."""
    origin: str = ""


@dataclass(slots=True)
class _Gathered:
    """One package URL's facts, its places by path and what is within, and the packages that own those."""

    fact: Fact
    purl: purls.PackageUrl
    places: dict[tuple[str, str], Location] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)
    bundled_in: str = ""
    scopes: set[str] = field(default_factory=set)
    declared: bool = True
    cpes: dict[str, None] = field(default_factory=dict)
    file: str = ""
    """The name of the first file that is all of it."""
    form: Form = ""
    hashes: tuple[tuple[str, str], ...] = ()

    def add(self, fact: Fact, path: str, layer: str, owner: str) -> None:
        self.places[path, fact.within] = Location(path, layer, fact.within, fact.evidence)
        self.owners.add("" if fact.installed else owner)
        self.scopes.add(fact.scope)
        self.declared = self.declared and fact.declared
        self.cpes.update(dict.fromkeys(fact.cpes))
        if fact.form in _ONE_FILE and not self.file:
            self.file, self.form, self.hashes = (fact.within or path).rpartition("/")[2], fact.form, fact.hashes


def _assemble(subject: Subject, layers: list[LayerFacts], tree: Filesystem, accounts: Accounts,
              archives: JavaArchives | None) -> Catalog:
    files = javasums.told(repositories.placed(tree.files(), tree), archives)
    distribution = _distribution(files, tree)
    by_purl: dict[str, _Gathered] = {}
    placed: list[dependencies.Placed] = []
    unknowns: dict[tuple[str, str], list[str]] = {}
    """By kind, and the distribution's package that installed them."""
    unknowns.update({(kind, ""): paths for kind, paths in tree.beyond.items()})
    owned = owners(files, layers, distribution)
    held = {place for fact in _facts(files, HOLDS) for place in fact.requires}
    listed = installed(files)
    better: dict[str, Container[str]] = {"generic": owned, "nuget": held | owned.keys(),
                                         "rpm": listed, "deb": listed, "apk": listed}
    """The files of which a package's own list says better what they are than a string in them does."""
    origins = {path.rpartition("/")[0]: ((fact.name, fact.source),) for path, seen in files.items()
               for fact in seen.facts if fact.type == ORIGIN}
    bare: set[tuple[str, str]] = set()
    asked: list[tuple[Fact, str]] = []
    beyond: str | None = None
    spelled_so: set[tuple[str, str, str, str]] = set()
    """Once there is room for no further package, those that are there."""
    for path, seen in sorted(files.items(), key=lambda item: (item[1].layer, item[0])):
        for fact in seen.facts:
            if fact == ASSEMBLY and path in better["nuget"]:
                continue
            if fact.type == UNKNOWN and fact.requires:
                asked.append((fact, path))
            elif fact.type == UNKNOWN and files.keys().isdisjoint(fact.provides) and not _stands_for_nothing(
                    fact.name, path, files, bare):
                unknowns.setdefault((fact.name, owned.get(path, "")), []).append(path)
            if fact.type in MARKERS or (fact.evidence and path in better.get(fact.type, ())):
                continue
            if fact.type == "pypi" and (told := origins.get(path.rpartition("/")[0])):
                fact = msgspec.structs.replace(fact, qualifiers=told)
            if beyond is not None and (fact.type, fact.name, fact.version, fact.purl) not in spelled_so:
                unknowns.setdefault((beyond, owned.get(path, "")), []).append(path)
                continue
            try:
                purl = _purl(fact, distribution)
            except CustodyError:
                kind = f"{fact.type} package without a valid name"
                unknowns.setdefault((kind, owned.get(path, "")), []).append(path)
                continue
            spelled = str(purl)
            gathered = by_purl.get(spelled)
            if gathered is None:
                try:
                    accounts.packages.take(1)
                except FullError as limit:
                    beyond = f"package {limit}"
                    spelled_so = {(kept.type, kept.name, kept.version, kept.purl) for kept, _, _ in placed}
                    unknowns.setdefault((beyond, owned.get(path, "")), []).append(path)
                    continue
                gathered = by_purl[spelled] = _Gathered(fact, purl)
            gathered.add(fact, path, subject.blobs[seen.layer].digest if subject.blobs else "", owned.get(path, ""))
            placed.append((fact, path, spelled))
    if subject.kind in _OF_SOURCES:
        names = {"/".join(filter(None, (gathered.purl.type, gathered.purl.namespace, gathered.purl.name)))
                 for gathered in by_purl.values()}
        for fact, path in asked:
            if unlisted := [path for name in fact.requires if name not in names]:
                unknowns.setdefault((fact.name, ""), []).extend(unlisted)
    try:
        edges = dependencies.resolve(placed, accounts.kept)
    except FullError as limit:
        edges = {}
        unknowns[f"dependencies {limit}", ""] = [path for fact, path, _ in placed if fact.requires]
    _bundle(placed, by_purl, edges)
    covered, nobodys = coverage.judge(files, listed, placed)
    unknowns.update({(kind, ""): paths for kind, paths in nobodys.items()})
    licenses = {(fact.source, fact.name): fact.licenses for fact in _facts(files, LICENSES)}
    for fact, _, _ in placed:  # of packages of one source, all but one have a link to the folder of that one
        if fact.type == "deb" and ("deb", fact.name) not in licenses and (
                real := _DOCUMENTS.match(tree.find(f"usr/share/doc/{fact.name}/copyright") or "")) and (
                stated_there := licenses.get(("deb", real[1]))):
            licenses["deb", fact.name] = stated_there
    system = {fact.name: purl for fact, _, purl in placed if fact.installed}
    return Catalog(
        name=subject.name, digest=subject.digest, kind=subject.kind, origin=subject.origin, distribution=distribution,
        packages=tuple(_package(text, by_purl[text], distribution, licenses, system, edges)
                       for text in sorted(by_purl)),
        layers=subject.blobs,
        unknowns=tuple(Unknown(kind=kind, count=len(paths), examples=tuple(paths[:_EXAMPLES]),
                               owner=system.get(owner, ""))
                       for (kind, owner), paths in sorted(unknowns.items())), coverage=covered)


_DOCUMENTS = re.compile(r"usr/share/doc/([^/]+)/copyright\Z")


def _stands_for_nothing(kind: str, path: str, files: dict[str, Visible], bare: set[tuple[str, str]]) -> bool:
    """Whether another file says what this file would, or a file of the same folder was counted already."""
    if counted.explained(kind, path, files):
        return True
    if not counted.once(kind):
        return False
    key = (kind, path.rpartition("/")[0])
    known = key in bare
    bare.add(key)
    return known


def _facts(files: dict[str, Visible], kind: str) -> Iterator[Fact]:
    for seen in files.values():
        yield from (fact for fact in seen.facts if fact.type == kind)


def _bundle(placed: list[dependencies.Placed], by_purl: dict[str, _Gathered], edges: dict[str, set[str]]) -> None:
    """Packages that only a wheel's own SBOM tells of are in that wheel, and it depends on them."""
    wheels = {path.removesuffix("/METADATA"): text for _, path, text in placed if path.endswith("/METADATA")}
    for _, path, text in placed:
        folder, embedded, _ = path.partition("/sboms/")
        if embedded and folder in wheels:
            edges.setdefault(wheels[folder], set()).add(text)
            if all("/sboms/" in place for place, _ in by_purl[text].places):
                by_purl[text].bundled_in = wheels[folder]


def _package(text: str, gathered: _Gathered, distribution: Distribution | None,
             licenses: dict[tuple[str, str], tuple[str, ...]], system: dict[str, str],
             edges: dict[str, set[str]]) -> Package:
    fact = gathered.fact
    ecosystem, name = identify(gathered.purl, distribution)
    # A package is the distribution's business only where every copy of it is.
    owner = next(iter(gathered.owners)) if len(gathered.owners) == 1 else ""
    return Package(
        type=gathered.purl.type, name=fact.name, version=fact.version, purl=text, ecosystem=ecosystem,
        source=(fact.source if of_type(fact.type).system else "") or name,
        source_version=fact.source_version or fact.version,
        licenses=stated(fact.licenses or licenses.get((fact.type, fact.name), ())), supplier=supplier(fact),
        hashes=gathered.hashes or fact.hashes, locations=tuple(gathered.places.values()),
        requires=tuple(sorted(edges.get(text, ()))),
        bundled_in=gathered.bundled_in, owner=system.get(owner, ""), cpes=tuple(gathered.cpes),
        scope="" if "" in gathered.scopes else min(gathered.scopes), declared=gathered.declared,
        homepage=fact.homepage, repository=fact.repository, file=gathered.file,
        form=gathered.form or fact.form or ("" if gathered.declared else "part" if gathered.bundled_in else "files"))


def _distribution(files: dict[str, Visible], tree: Filesystem) -> Distribution | None:
    for name in osrelease.PLACES:
        path = tree.find(name)
        for fact in files[path].facts if path in files else ():
            if fact.type == OS_RELEASE:
                return Distribution(id=fact.name, version=fact.version, name=fact.supplier)
    return None


def _purl(fact: Fact, distribution: Distribution | None) -> purls.PackageUrl:
    if fact.purl:
        return purls.parse(fact.purl)
    row = of_type(fact.type)
    if row.system:
        vendor = namespace(distribution.id) if distribution else row.vendor
        qualifiers = {"arch": fact.arch, **dict(fact.qualifiers)}
        version = fact.version
        if row.epoch_apart and ":" in version:
            qualifiers["epoch"], _, version = version.partition(":")
        if distribution and distribution.version:
            qualifiers["distro"] = f"{distribution.id}-{distribution.version}"
        space, name = row.split(fact.name) if row.grouped else (vendor, fact.name)
        return purls.build(fact.type, name, namespace=space, version=version, qualifiers=qualifiers)
    space, name = row.split(fact.name)
    return purls.build(fact.type, name, namespace=space, version=fact.version, qualifiers=dict(fact.qualifiers))

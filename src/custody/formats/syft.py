"""syft's own JSON (schema 16, github.com/anchore/syft/tree/main/schema/json), which grype reads: written and read."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from typing import Any

import msgspec

from custody.ecosystems import of_type
from custody.errors import CustodyError, MalformedError
from custody.formats import upstream
from custody.formats.bom import (
    Catalog,
    Distribution,
    Document,
    Location,
    Package,
    Unknown,
    from_purl,
    parse_unknown,
)
from custody.formats.licenses import is_expression
from custody.formats.spdxwriter import OWNERSHIP
from custody.kit import digest as digests
from custody.kit import strictjson
from custody.kit.members import list_of, object_of, text_of

MARK = b'"artifactRelationships"'
SCHEMA = "16.1.13"
_TYPES = {"pypi": "python", "cargo": "rust-crate", "golang": "go-module", "maven": "java-archive", "nuget": "dotnet",
          "composer": "php-composer", "pub": "dart-pub", "cran": "R-package", "cocoapods": "pod", "generic": "binary",
          "luarocks": "lua-rocks", "github": "github-action", "otp": "erlang-otp", "huggingface": "model"}
"""What syft calls a type of package URLs, where that is not the type."""
_KNOWN = frozenset(("deb", "apk", "rpm", "npm", "gem", "hex", "hackage", "bitnami", "conan", "conda", "alpm", "nix",
                    "opam", "swift", "terraform"))
_LANGUAGES = {"pypi": "python", "npm": "javascript", "cargo": "rust", "golang": "go", "maven": "java", "gem": "ruby",
              "nuget": "dotnet", "composer": "php", "pub": "dart", "cran": "R", "hex": "elixir", "hackage": "haskell",
              "swift": "swift", "cocoapods": "swift", "conan": "c++", "luarocks": "lua", "opam": "ocaml",
              "otp": "erlang"}
_MAKERS = {"deb": ("dpkg-db-entry", "maintainer"), "apk": ("apk-db-entry", "maintainer"),
           "rpm": ("rpm-db-entry", "vendor"), "pypi": ("python-package", "author"),
           "npm": ("javascript-npm-package", "author")}
"""By type: what syft calls its record, and the field of that for whom it is from."""
LOSES = frozenset(("hashes", "scope", "declared", "evidence", "within", "copyright", "download", "bundled_in", "author",
                   "created", "authors", "tools", "phase", "repository", "form", "file"))
_MAX_PACKAGES = 500_000
_WITHOUT = "without a package URL"
_MAX_KINDS = 100
_TOP = frozenset(("artifacts", "artifactRelationships", "source", "distro", "descriptor", "schema"))
_CATALOGER = re.compile(r"([a-z0-9][a-z0-9-]{0,63}): ")


def write(catalog: Catalog, tool_version: str) -> dict[str, Any]:
    """The document as plain data. It bears no time: the same catalog gives the same document."""
    packages = sorted(catalog.packages, key=lambda package: package.purl)
    ids = {package.purl: sha256(package.purl.encode()).hexdigest()[:16] for package in packages}
    layers = {layer.digest: layer.diff_id for layer in catalog.layers}
    relations = sorted([
        *((ids[needed], ids[package.purl], "dependency-of") for package in packages
          for needed in package.requires if needed in ids),
        *((ids[package.owner], ids[package.purl], "ownership-by-file-overlap") for package in packages
          if package.owner in ids)])
    system = catalog.distribution
    said = catalog.document or Document()
    digest = said.digest or catalog.digest
    value = digest.partition(":")[2]
    source: dict[str, Any] = {"id": value, "name": catalog.name, "version": said.version or digest}
    if said.supplier:
        source["supplier"] = said.supplier
    if (said.about or catalog.kind) == "container":
        source |= {"type": "image", "metadata": {
            "userInput": catalog.name, "imageID": "", "manifestDigest": digest, "mediaType": "", "tags": [],
            "imageSize": sum(layer.size for layer in catalog.layers),
            "layers": [{"mediaType": "", "digest": layer.diff_id, "size": layer.size} for layer in catalog.layers],
            "manifest": "", "config": "", "repoDigests": [], "architecture": "", "os": "linux"}}
    else:
        source |= {"type": "directory", "metadata": {"path": catalog.name}}
    unidentified = [_artifact(package, f"unidentified-{number}", layers)
                    for number, package in enumerate(catalog.unidentified, 1)]
    return {
        "artifacts": [*(_artifact(package, ids[package.purl], layers) for package in packages), *unidentified],
        "artifactRelationships": [{"parent": parent, "child": child, "type": kind}
                                  for parent, child, kind in relations],
        **({"files": [_unknown(unknown) for unknown in catalog.unknowns]} if catalog.unknowns else {}),
        "source": source,
        "distro": {} if system is None else {
            "prettyName": system.name, "name": system.name, "id": system.id, "versionID": system.version},
        "descriptor": {"name": "custody", "version": tool_version},
        "schema": {"version": SCHEMA, "url": "https://raw.githubusercontent.com/anchore/syft/main/schema/json/"
                                             f"schema-{SCHEMA}.json"}}


def _unknown(unknown: Unknown) -> dict[str, Any]:
    """syft says of files what nobody could read of them; here the first stands for all of a kind."""
    said = str(unknown)
    return {"id": sha256(said.encode()).hexdigest()[:16], "unknowns": [said],
            "location": {"path": "/" + (unknown.examples[0] if unknown.examples else "")}}


def _artifact(package: Package, identifier: str, layers: dict[str, str]) -> dict[str, Any]:
    row = of_type(package.type)
    places = []
    for place in package.locations:
        path = "/" + place.path
        where: dict[str, Any] = {"path": path, "accessPath": path, "annotations": {"evidence": "primary"}}
        if place.layer:
            where["layerID"] = layers.get(place.layer, place.layer)
        places.append(where)
    name = package.name
    if package.type == "maven":  # syft's name is the artifact alone; the group is in its package URL
        name = name.rpartition("/")[2]
    result: dict[str, Any] = {
        "id": identifier, "name": name, "version": package.version,
        "type": _TYPES.get(package.type) or (package.type if package.type in _KNOWN else "UnknownPackage"),
        "foundBy": "custody", "locations": places,
        "licenses": [{"value": text, "spdxExpression": text if is_expression(text) else "", "type": "declared",
                      "urls": [], "locations": []} for text in package.licenses],
        "language": _LANGUAGES.get(package.type, ""),
        "cpes": [{"cpe": cpe, "source": "declared"} for cpe in package.cpes],
        "purl": upstream.purl(package) if row.system else package.purl}
    kind, maker = _MAKERS.get(package.type, ("", ""))
    if kind:
        metadata = _metadata(package, maker)
        if row.system:
            metadata |= dict(upstream.syft_metadata(package)[1])
        result |= {"metadataType": kind, "metadata": metadata}
    return result


def _metadata(package: Package, maker: str) -> dict[str, Any]:
    """The record of the package's database, as far as a catalog has it; syft's schema requires some empty fields."""
    named = {"name": package.name, "version": package.version}
    if package.type == "deb":
        return {"package": package.name, "source": "", "version": package.version, "sourceVersion": "",
                "architecture": _qualifier(package.purl, "arch"), maker: package.supplier, "installedSize": 0,
                "files": []}
    if package.type == "apk":
        return {"package": package.name, "originPackage": "", maker: package.supplier, "version": package.version,
                "architecture": _qualifier(package.purl, "arch"), "url": package.homepage,
                "description": package.description, "size": 0, "installedSize": 0, "pullDependencies": [],
                "provides": [], "pullChecksum": "", "gitCommitOfApkPort": "", "files": []}
    if package.type == "rpm":
        version, _, release = package.version.partition(":")[2].rpartition("-") if ":" in package.version else (
            package.version.rpartition("-"))
        epoch = package.version.partition(":")[0]
        return {"name": package.name, "version": version, "release": release,
                "epoch": int(epoch) if ":" in package.version and epoch.isdecimal() and len(epoch) < 10 else None,
                "architecture": _qualifier(package.purl, "arch"), "sourceRpm": "", "size": 0, maker: package.supplier,
                "files": []}
    if package.type == "npm":
        return {**named, maker: package.supplier, "homepage": package.homepage, "description": package.description,
                "url": "", "private": False}
    return {**named, maker: package.supplier, "authorEmail": "", "platform": "", "sitePackagesRootPath": ""}


def _qualifier(purl: str, name: str) -> str:
    match = re.search(rf"[?&]{name}=([^&#]+)", purl)
    return match[1] if match else ""


def read(data: bytes, where: str = "SBOM") -> Catalog:
    """The packages of a document of schema 3 or newer. Raises MalformedError, UnsupportedError."""
    return read_document(strictjson.loads(data, where), digests.sha256(data), where)


def read_document(document: Any, digest: str, where: str = "SBOM") -> Catalog:
    """As `read`, of the plain data."""
    if not isinstance(document, dict) or not isinstance(document.get("artifacts"), list):
        raise MalformedError(where, got="something else", expected='a syft document, with "artifacts"')
    artifacts = document["artifacts"]
    if len(artifacts) > _MAX_PACKAGES:
        raise MalformedError(f"{where}: artifacts", got=len(artifacts), expected=f"at most {_MAX_PACKAGES}")
    distro, source = object_of(document, "distro"), object_of(document, "source")
    distribution = None
    if text_of(distro, "id"):
        names = (text_of(distro, key) for key in ("prettyName", "name", "id"))
        distribution = Distribution(id=text_of(distro, "id"), version=text_of(distro, "versionID"),
                                    name=next(filter(None, names)))
    unread = Counter(document.keys() - _TOP)
    files, said = _files(document)
    if "files" in unread:
        unread["files"] = files
        if not files:
            del unread["files"]
    ids: dict[str, str] = {}
    packages: dict[str, Package] = {}
    unidentified = []
    for artifact in artifacts:
        if not isinstance(artifact, dict):
            raise MalformedError(f"{where}: artifacts", got=artifact, expected="an object")
        try:
            package = _read_artifact(artifact, distribution) if artifact.get("purl") else None
        except CustodyError:
            package = None
        if package is None:
            unidentified.append(_detailed(Package(type="", name=text_of(artifact, "name"), purl="",
                                                  version=text_of(artifact, "version")), artifact))
        else:
            packages.setdefault(package.purl, package)
            ids[text_of(artifact, "id")] = package.purl
    edges: dict[str, set[str]] = {}
    owners: dict[str, str] = {}
    for relation in list_of(document, "artifactRelationships"):
        if not isinstance(relation, dict):
            continue
        kind = text_of(relation, "type")
        parent, child = ids.get(text_of(relation, "parent")), ids.get(text_of(relation, "child"))
        if kind == "dependency-of" and parent and child:
            edges.setdefault(child, set()).add(parent)
        elif kind == OWNERSHIP.partition(":")[0] and parent and child:
            owners[child] = parent
        elif kind not in ("contains", "evident-by") or not (parent or child):
            unread[f"artifactRelationships[] {kind}"] += 1
    descriptor, schema = object_of(document, "descriptor"), object_of(document, "schema")
    unknowns = _unknowns(said, own=text_of(descriptor, "name") == "custody")
    if unidentified:
        unknowns = [unknown for unknown in unknowns if not unknown.kind.endswith(_WITHOUT)]
        unknowns.append(Unknown(kind=f"artifact {_WITHOUT}", count=len(unidentified),
                                examples=tuple(package.name for package in unidentified[:3])))
    return Catalog(
        name=text_of(source, "name") or text_of(object_of(source, "metadata"), "userInput") or where, digest=digest,
        kind="sbom", distribution=distribution, unknowns=tuple(unknowns), unidentified=tuple(unidentified),
        packages=tuple(msgspec.structs.replace(package, requires=tuple(sorted(edges.get(purl, ()))),
                                               owner=owners.get(purl, "")) for purl, package in packages.items()),
        document=Document(format=f"syft {text_of(schema, 'version')}", version=text_of(source, "version"),
                          tools=(f"{text_of(descriptor, 'name')} {text_of(descriptor, 'version')}".strip(),),
                          about={"image": "container", "directory": "directory"}.get(text_of(source, "type"), ""),
                          digest=text_of(object_of(source, "metadata"), "manifestDigest"),
                          supplier=text_of(source, "supplier"), unread=tuple(sorted(unread.items()))))


def _files(document: dict[str, Any]) -> tuple[int, list[str]]:
    """How many entries say something else than what could not be read of a file, and what those say."""
    files, said = 0, []
    for entry in list_of(document, "files"):
        stated = list_of(entry, "unknowns") if isinstance(entry, dict) else []
        said += [text for text in stated if isinstance(text, str)]
        files += not stated
    return files, said


def _unknowns(said: list[str], *, own: bool) -> list[Unknown]:
    """`own`: as custody writes them; in syft's own words a cataloger says what it could not do."""
    if own:
        return [parse_unknown(text) for text in said]
    kinds: Counter[str] = Counter()
    for text in said:
        match = _CATALOGER.match(text)
        kind = f"file that syft's {match[1]} did not read" if match else "file that syft did not read"
        kinds[kind if kind in kinds or len(kinds) < _MAX_KINDS else "file that syft did not read"] += 1
    return [Unknown(kind=kind, count=count) for kind, count in sorted(kinds.items())]


def _read_artifact(artifact: dict[str, Any], distribution: Distribution | None) -> Package:
    metadata = object_of(artifact, "metadata")
    package = from_purl(artifact.get("purl"), distribution, version=text_of(artifact, "version"),
                        source=text_of(metadata, "source") or text_of(metadata, "originPackage"),
                        source_version=text_of(metadata, "sourceVersion"))
    return _detailed(package, artifact)


def _detailed(package: Package, artifact: dict[str, Any]) -> Package:
    metadata = object_of(artifact, "metadata")
    licenses = []
    for entry in list_of(artifact, "licenses"):
        if isinstance(entry, dict):
            licenses.append(text_of(entry, "spdxExpression") or text_of(entry, "value"))
        elif isinstance(entry, str):  # before schema 9
            licenses.append(entry)
    cpes = [text_of(entry, "cpe") if isinstance(entry, dict) else entry for entry in list_of(artifact, "cpes")
            if not isinstance(entry, dict) or entry.get("source") != "syft-generated"]
    places = tuple(Location(text_of(place, "path").lstrip("/"), text_of(place, "layerID"))
                   for place in list_of(artifact, "locations") if isinstance(place, dict) and text_of(place, "path"))
    maker = next(filter(None, (text_of(metadata, name) for name in ("maintainer", "vendor", "author"))), "")
    return msgspec.structs.replace(
        package, locations=places, licenses=tuple(filter(None, licenses)), supplier=maker,
        cpes=tuple(cpe for cpe in cpes if isinstance(cpe, str) and cpe), description=text_of(metadata, "description"),
        homepage=text_of(metadata, "homepage") or text_of(metadata, "url"))

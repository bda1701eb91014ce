"""Rule files of Falco: from folders, files, and artifacts of registries as falcoctl makes them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from custody.errors import (
    MalformedError,
    MissingEvidenceError,
    UnsupportedError,
    UsageError,
    VerificationError,
    language_errors,
    unread,
)
from custody.formats import oci
from custody.formats.reference import Reference, parse
from custody.formats.tar.source import Source
from custody.formats.tar.walk import Entry, walk
from custody.kit import strictjson
from custody.kit.clock import Clock
from custody.kit.visible import visible
from custody.registry.client import RegistryClient
from custody.services.verify import Terms, judge_all
from custody.sign.referrers import fetch_evidence
from policylang.falco import RuleSet
from policylang.falco import load as load_rules

CONFIG = "application/vnd.cncf.falco.rulesfile.config.v1+json"
LAYER = "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz"
_OTHERS = {"application/vnd.cncf.falco.plugin.layer.v1+tar.gz": "a plugin, which custody does not load",
           "application/vnd.cncf.falco.asset.layer.v1+tar.gz": "a plugin's asset",
           "application/vnd.cncf.falco.falcoconfig.layer.v1+tar.gz": "a configuration of Falco"}
REGISTRY = "oci://"
MOST_FILES = 1000
LARGEST = 4 << 20  # bytes of one file, as the language has it
_PACKED = 16 << 20
_UNPACKED = 64 << 20
Judge = Callable[[RegistryClient, Reference], Awaitable[None]]
"""Raises VerificationError where the artifact, by its digest, is not signed by whom it should be."""


class Pulled(NamedTuple):
    ref: Reference
    """By its digest."""
    files: dict[str, bytes]
    requirements: tuple[tuple[str, str], ...]
    """Names and versions: `engine_version_semver` is the one of rule files."""


Fetch = Callable[[Reference], Awaitable[Pulled]]


def files(paths: Iterable[Path]) -> dict[str, bytes]:
    """Rule files by name, in the order in which they are loaded: as they are named, those of a folder by name.

    Raises UsageError, StorageError.
    """
    texts: dict[str, bytes] = {}
    for path in paths:
        listed = [path]
        if path.is_dir():
            listed = sorted(file for suffix in ("*.yaml", "*.yml") for file in path.glob(suffix))
        if not listed:
            raise UsageError(f"{path}: no rule files", hint="a folder's are named *.yaml or *.yml")
        for file in listed:
            texts[str(file)] = _content(file)
            if len(texts) > MOST_FILES:
                raise UsageError(f"{path}: more than {MOST_FILES} rule files")
    return texts


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise unread(file, error, "a rule file") from None
    if len(data) > LARGEST:
        raise MalformedError(str(file), got=f"more than {LARGEST} bytes", expected="a rule file")
    return data


async def load(sources: Sequence[str], fetch: Fetch | None = None) -> dict[str, bytes]:
    """Texts by name of files, folders and `oci://REGISTRY/NAME[:TAG|@DIGEST]`, in this order, to be loaded together.

    `fetch` is asked for artifacts (`pull`, with whoever verifies). Raises UsageError where there is none, and what
    `files` and `pull` raise.
    """
    texts: dict[str, bytes] = {}
    for source in sources:
        if not source.startswith(REGISTRY):
            texts |= files([Path(source)])
            continue
        if fetch is None:
            raise UsageError(f"{source}: rules are not fetched here", hint="custody runtime rules pull")
        pulled = await fetch(parse(source.removeprefix(REGISTRY)))
        texts |= {f"{REGISTRY}{pulled.ref}/{name}": data for name, data in pulled.files.items()}
    return texts


def compiled(texts: Mapping[str, bytes]) -> RuleSet:
    """Raises UsageError with Falco's words and the place, where falco -V would refuse them."""
    with language_errors():
        return load_rules(texts)


# --- artifacts ------------------------------------------------------------------------------------------------------

async def pull(client: RegistryClient, ref: Reference, judge: Judge | None = None) -> Pulled:
    """The rule files of an artifact, whose digest is what was judged and what was read.

    Raises UnsupportedError for another artifact, MalformedError, VerificationError of the judge, NetworkError.
    """
    at = ref if ref.digest else ref.at((await client.resolve(ref)).digest)
    if judge is not None:
        await judge(client, at)
    descriptor, data = await client.manifest(at)
    manifest = oci.parse_manifest(data, str(at), descriptor.media_type)
    if not isinstance(manifest, oci.Manifest):
        raise UnsupportedError(str(at), "is an index, as plugins are; rule files are an artifact by themselves")
    layers = [layer for layer in manifest.layers if layer.media_type == LAYER]
    if not layers:
        kinds = [layer.media_type for layer in manifest.layers]
        said = next((_OTHERS[kind] for kind in kinds if kind in _OTHERS), ", ".join(kinds) or "no layers")
        raise UnsupportedError(str(at), f"is {said}; expected rule files: a layer {LAYER}")
    if len(layers) != 1 or len(manifest.layers) != 1:
        raise MalformedError(str(at), got=f"{len(manifest.layers)} layers", expected="one layer")
    packed = await client.blob(at, layers[0], max_size=_PACKED)
    requirements: tuple[tuple[str, str], ...] = ()
    if manifest.config.media_type == CONFIG and manifest.config.size:
        requirements = _requirements(await client.blob(at, manifest.config, max_size=1 << 20), str(at))
    return Pulled(at, unpacked(packed, str(at)), requirements)


def demanding(terms: Terms, clock: Clock, told: Callable[[str], None] = lambda _: None) -> Judge:
    """One signature that counts by `terms`; `told` who signed. Raises as `verify` does."""

    async def judged(client: RegistryClient, ref: Reference) -> None:
        gathered = await fetch_evidence(client, ref, unsigned=False)
        said = judge_all(str(ref.digest), gathered, terms, clock())
        if not said.signatures:
            reasons = "".join(f"\n  {visible(document.source)}: {visible(document.reason)}"
                              for document in said.rejected)
            if not reasons:
                raise MissingEvidenceError(f"{ref}: no signature found")
            raise VerificationError(f"{ref}: no signature that counts{reasons}")
        told(f"{ref}: signed by {', '.join(sorted({str(document.signer) for document in said.signatures}))}")

    return judged


async def push(client: RegistryClient, ref: Reference, texts: Mapping[str, bytes],
               requirements: Sequence[tuple[str, str]] = ()) -> oci.Descriptor:
    """One artifact of rule files, as `falcoctl registry push --type rulesfile` makes it. Raises NetworkError, …"""
    name, packed = archived(texts)
    layer = await client.push_blob(ref, packed)
    config = json.dumps({"requirements": [{"name": tool, "version": version} for tool, version in requirements]}
                        if requirements else {}, separators=(",", ":")).encode()
    config_layer = await client.push_blob(ref, config)
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": oci.MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_layer.digest, "size": config_layer.size},
        "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size,
                    "annotations": {"org.opencontainers.image.title": name}}]}, separators=(",", ":")).encode()
    return await client.push_manifest(ref, manifest, oci.MANIFEST, tag=ref.tag)


def archived(texts: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The layer's name and bytes: the same for the same files, whenever it is made. Raises UsageError."""
    names = [PurePosixPath(name).name for name in texts]
    if len({*names}) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice}: two files have this name, and an artifact has no folders")
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as zipped, tarfile.open(
            fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in zip(names, texts.values(), strict=True):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return f"{PurePosixPath(names[0]).stem}.tar.gz", out.getvalue()


def unpacked(packed: bytes, where: str) -> dict[str, bytes]:
    """The files of a layer, by name. Raises MalformedError for what is no such archive, or holds anything but files."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as zipped:
            data = zipped.read(_UNPACKED + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MalformedError(where, got=str(error)[:100], expected="a gzipped archive") from None
    if len(data) > _UNPACKED:
        raise MalformedError(where, got=f"more than {_UNPACKED} bytes unpacked", expected="fewer")
    texts: dict[str, bytes] = {}
    for entry in walk(Source([data], where), _Limits()):
        if entry.kind not in ("directory", "global"):
            _take(entry, texts, where)
    if not texts:
        raise MalformedError(where, got="an archive without files", expected="rule files")
    return texts


class _Limits(NamedTuple):
    entries: int = MOST_FILES
    path: int = 1024
    records: int = MOST_FILES


def _take(entry: Entry, texts: dict[str, bytes], where: str) -> None:
    if entry.kind != "file":
        raise MalformedError(where, got=f"the entry {entry.path!r}, a {entry.kind}", expected="files alone")
    if entry.size > LARGEST:
        raise MalformedError(where, got=f"{entry.path!r} of {entry.size} bytes", expected=f"at most {LARGEST}")
    if PurePosixPath(entry.path).suffix not in (".yaml", ".yml"):
        raise UnsupportedError(f"{where}: {entry.path!r}", "is no rule file by its name")
    if entry.path in texts:
        raise MalformedError(where, got=f"{entry.path!r} twice", expected="each file once")
    texts[entry.path] = b"".join(entry.pieces())


def _requirements(data: bytes, where: str) -> tuple[tuple[str, str], ...]:
    document = strictjson.loads(data, f"{where}: config", max_size=1 << 20)
    listed = document.get("requirements") if isinstance(document, dict) else None
    if listed is None:
        return ()
    pairs = [(entry.get("name"), entry.get("version")) for entry in listed if isinstance(entry, dict)] if isinstance(
        listed, list) else []
    if not all(isinstance(name, str) and isinstance(version, str) for name, version in pairs) or not isinstance(
            listed, list) or len(pairs) != len(listed):
        raise MalformedError(f"{where}: config.requirements", got="something else", expected="names with versions")
    return tuple((str(name), str(version)) for name, version in pairs)

"""The trust roles: each is opened on a stack, which closes what it opened; one that fails has opened nothing."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from custody.errors import UsageError
from custody.kit.clock import Clock
from custody.ports.http import Http

if TYPE_CHECKING:
    from custody.settings.tables import Issuer
    from custody.trust.ca import SigningAuthority
    from custody.trust.checkpoint import LogSigner
    from custody.trust.log import MerkleLog, Sequencer
    from custody.trust.material import Endpoints, Material
    from custody.trust.oidc import OidcIssuer
    from custody.trust.roots import SigningConfig, TrustedRoot
    from custody.trust.token import KeySource
    from custody.trust.tuf.repository import Repository

WORKLOADS = {"builder": "https://builder.custody.internal", "scanner": "https://scanner.custody.internal"}
"""custody's own workloads: each has an issuer of its own, whose subjects are URIs below the issuer's URL."""

TRUST_ROLES = {"oidc": ((), "oidc"), "ca": (("certificate_authorities", "ctlogs"), "ca"), "log": (("tlogs",), "rekor"),
               "tsa": (("timestamp_authorities",), "tsa")}
"""The roles that trust files speak of: their parts of the trusted root, and of the signing configuration."""


def open_log(stack: ExitStack, folder: Path, signer: LogSigner) -> Sequencer:
    """A log that takes each entry once. Raises ConflictError where another process has the folder."""
    from custody.trust.log import Sequencer

    return Sequencer(_merkle_log(stack, folder, signer, indexed=True))


def open_ct_log(stack: ExitStack, folder: Path, signer: LogSigner) -> Sequencer:
    """The CA's own, which takes whatever that has signed. Raises ConflictError."""
    from custody.trust.log import Sequencer

    return Sequencer(_merkle_log(stack, folder, signer, indexed=False), unique=False)


def local_issuer(url: str, material: Material, jwks: Path, clock: Clock) -> OidcIssuer:
    """One of this machine's issuers, whose public key is put where the certificate authority looks for it."""
    from custody.trust.oidc import OidcIssuer

    made = OidcIssuer(url, material.oidc_key, clock)
    if not jwks.is_file() or jwks.read_bytes() != made.jwks():
        _replace(jwks, made.jwks())
    return made


def issuer_keys(http: Http, url: str, jwks: str | None) -> KeySource:
    """Of another's issuer: from a file, else by discovery. Raises UsageError, MalformedError."""
    from custody.adapters.http.jwks import DiscoveredKeys
    from custody.trust.token import LocalKeys

    if jwks is None:
        return DiscoveredKeys(http, url)
    try:
        return LocalKeys(Path(jwks).read_bytes(), jwks)
    except OSError as error:
        raise UsageError(f"issuer {url}: {jwks}: {error.strerror}") from None


def certificate_authority(material: Material, endpoints: Endpoints, ct_log: Sequencer, *, own_jwks: Path,
                          issuers: Collection[Issuer], http: Http, clock: Clock) -> SigningAuthority:
    """It believes this machine's issuers, by their keys in `own_jwks`, and those of `issuers`."""
    from custody.adapters.filesystem.jwks import StoredKeys
    from custody.trust.ca import SigningAuthority
    from custody.trust.ctlog import CtLog
    from custody.trust.identity import IdentityVerifier, TrustedIssuer

    own = StoredKeys(own_jwks)
    trusted = [TrustedIssuer(endpoints.oidc.rstrip("/"), own)]
    trusted += [TrustedIssuer(url, own, "uri", subject_domain=url) for url in WORKLOADS.values()]
    trusted += [TrustedIssuer(issuer.url, issuer_keys(http, issuer.url, issuer.jwks), issuer.type, issuer.client_id,
                              issuer.subject_domain, issuer.single_use) for issuer in issuers]
    return SigningAuthority(material.ca_key, material.ca_chain,
                            CtLog(ct_log, material.ctlog_key, material.ca_chain[0], clock),
                            IdentityVerifier(tuple(trusted)), clock)


def tuf_repository(folder: Path, material: Material, clock: Clock) -> Repository:
    """Whose keys are among the services'. They are read when they are used: a rotation replaces them."""
    from custody.trust.tuf.metadata import Signer
    from custody.trust.tuf.repository import Repository

    return Repository(folder, lambda: Signer(material.tuf_key),
                      lambda: [Signer(key) for key in material.tuf_root_keys()], clock)


def rotate_tuf_root(repository: Repository, material: Material, old: Path | None, *, online: bool) -> int:
    """The new key is kept before metadata names it, and takes the old one's place after: a run that was killed in
    between is ended by the next one."""
    from custody.trust.keyfiles import (
        NEXT_ROOT,
        next_root_key,
        read_p256_file,
        replace_online_key,
        take_next_root_key,
    )
    from custody.trust.tuf.metadata import Signer

    folder = material.directory
    if (folder / f"{NEXT_ROOT}.key").is_file() and repository.is_root(Signer(next_root_key(folder))):
        take_next_root_key(folder)
    file = old or folder / "tuf-root.key"
    if not file.is_file():
        raise UsageError(f"{file}: no such file", hint=None if old else "--root-key FILE, where it is kept elsewhere")
    former = Signer(read_p256_file(file))
    repository.check_root(former)
    new = Signer(next_root_key(folder))
    if online:
        replace_online_key(folder)
    version = repository.rotate_root(former, new)
    take_next_root_key(folder)
    return version


def tuf_targets(root_file: Path, config_file: Path) -> dict[str, bytes]:
    """What the TUF repository tells of: the two files, or what of them is there.

    Raises MalformedError and UnsupportedError for one that is none: clients would refuse it.
    """
    from custody.trust.roots import parse_signing_config, parse_trusted_root

    targets: dict[str, bytes] = {}
    if root_file.is_file():
        targets["trusted_root.json"] = root_file.read_bytes()
        parse_trusted_root(targets["trusted_root.json"], str(root_file))
    if config_file.is_file():
        targets["signing_config.v0.2.json"] = config_file.read_bytes()
        parse_signing_config(targets["signing_config.v0.2.json"], str(config_file), signs=False)
    return targets


def export(folder: Path, root: TrustedRoot, config: SigningConfig, roles: Collection[str]) -> None:
    """Write `roles`' parts of the two documents into the folder's files, each whole.

    What they say of services that are none of `roles` stays: another process serves those, or none does yet.
    """
    from custody.kit.lock import locked
    from custody.trust.roots import SigningConfig, TrustedRoot, parse_signing_config, parse_trusted_root

    root_file, config_file = trust_files(folder)
    with locked(folder):  # two processes that start together lose nothing of each other's
        new_root = parse_trusted_root(root_file.read_bytes(), str(root_file)) if root_file.is_file() else TrustedRoot()
        new_config = (parse_signing_config(config_file.read_bytes(), str(config_file))
                      if config_file.is_file() else SigningConfig())
        for role in roles:
            parts, service = TRUST_ROLES[role]
            new_root = msgspec.structs.replace(new_root, **{part: getattr(root, part) for part in parts})
            new_config = msgspec.structs.replace(new_config, **{service: getattr(config, service)})
        _replace(root_file, new_root.to_json())
        _replace(config_file, new_config.to_json())


def trust_files(folder: Path) -> tuple[Path, Path]:
    return folder / "trusted_root.json", folder / "signing_config.json"


def _merkle_log(stack: ExitStack, folder: Path, signer: LogSigner, *, indexed: bool) -> MerkleLog:
    from custody.adapters.filesystem.tiles import DirectoryCheckpoint, DirectoryTiles
    from custody.adapters.sqlite.leaves import SqliteLeaves
    from custody.trust.log import MerkleLog

    with ExitStack() as opened:
        checkpoint = opened.enter_context(closing(DirectoryCheckpoint(folder)))
        tiles = opened.enter_context(closing(DirectoryTiles(checkpoint)))
        leaves = opened.enter_context(closing(SqliteLeaves(folder / "state" / "leaves.db"))) if indexed else None
        log = MerkleLog(tiles, checkpoint, signer, leaves)
        stack.enter_context(opened.pop_all())
    return log


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)

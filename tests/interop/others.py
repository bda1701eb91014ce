"""Signatures of the Notary Project and of gitsign, both ways: rows beside the matrix, which is of cosign's formats."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from custody.sign.notary.directory import Directory
from custody.trust.roots import Service, Validity, parse_signing_config, parse_trusted_root
from tests.apiserver import AbsentError, program
from tests.conftest import ROOT
from tests.interop import tufrepository
from tests.interop.bench import PERSON, STRANGER, Bench, Done
from tests.interop.matrix import Outcome, said_last
from tests.serving import served
from tests.sign.notary.materials import authority, chain_of, directory_in, environment, key_of, list_key, trust
from tests.sign.rekor1 import Rekor1

_VALID = Validity(datetime(2026, 1, 1, tzinfo=UTC))
_SIGNER, _OTHER = "x509.subject: C=US, ST=WA, O=acme", "x509.subject: C=US, ST=WA, O=another"


@dataclass(frozen=True)
class Row:
    name: str
    form: str
    way: str
    run: Callable[[], tuple[Done, Callable[[], Done], Callable[[], Done], str]]
    """Signs; then what verifies it, what verifies it for somebody else, and how that is refused, as a pattern."""


def rows(bench: Bench) -> Iterator[Row]:
    yield from _notation(bench)
    yield from _gitsign(bench)


def judge(row: Row) -> Outcome:
    try:
        signed, good, bad, reason = row.run()
        for step, done in (("signing", signed), ("verifying", good() if signed.code == 0 else signed)):
            if done.code != 0:
                return Outcome("FAILED", f"{step}: exit code {done.code}, {said_last(done)}")
        refused = bad()
    except AbsentError as absent:
        return Outcome("skipped", str(absent))
    if refused.code == 0 or not re.search(reason, refused.said):
        return Outcome("FAILED", f"another identity: exit code {refused.code}, {said_last(refused)}")
    return Outcome("ok", "verified; another identity: refused")


def _notation(bench: Bench) -> Iterator[Row]:
    for form in ("jws", "cose"):
        for kind in ("EC-256", "RSA-2048"):
            for name, signs, verifies in (("custody → notation", _custody, _real),
                                          ("notation → custody", _real, _custody)):
                yield Row(name, f"image, notation {form}", kind,
                          lambda form=form, kind=kind, signs=signs, verifies=verifies: _notarised(  # type: ignore[misc]
                              bench, form, kind, signs, verifies))


_Notation = Callable[..., Done]


def _custody(bench: Bench, directory: Directory, verb: str, *words: str) -> Done:
    names = {name: value for name, value in environment(directory).items() if name.startswith("NOTATION_")}
    return bench.custody("notation", verb, *words, **names)


def _real(bench: Bench, directory: Directory, verb: str, *words: str) -> Done:
    return bench.program(program("notation"), verb, "--insecure-registry", *words, **environment(directory))


def _notarised(bench: Bench, form: str, kind: str, signs: _Notation, verifies: _Notation
               ) -> tuple[Done, Callable[[], Done], Callable[[], Done], str]:
    program("notation")
    name = bench.fresh()
    directory, image = directory_in(bench.path(name)), bench.push(name)
    list_key(directory, kind, key_of(kind), chain_of(kind), default=True)
    trust(directory, "ca", "acme", authority()[0][-1])

    def verified(identity: str) -> Done:
        statement = {"name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
                     "trustStores": ["ca:acme"], "trustedIdentities": [identity]}
        (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [statement]}))
        return verifies(bench, directory, "verify", image)

    return (signs(bench, directory, "sign", "--signature-format", form, image), lambda: verified(_SIGNER),
            lambda: verified(_OTHER), "signature verification failed|identit")


def _gitsign(bench: Bench) -> Iterator[Row]:
    for name, signs, verifies in (("gitsign → custody", _signs_gitsign, _checked_by_custody),
                                  ("custody → gitsign", _signs_custody, _checked_by_gitsign)):
        yield Row(name, "git commit", "keyless",
                  lambda signs=signs, verifies=verifies: _committed(bench, signs, verifies))  # type: ignore[misc]


@dataclass(frozen=True)
class _Commit:
    """A repository of one commit, and whom to believe of it."""

    bench: Bench
    folder: Path

    @property
    def repository(self) -> str:
        return str(self.folder / "repo")

    @property
    def root(self) -> Path:
        return self.folder / "root.json"

    def environment(self) -> dict[str, str]:
        """What gitsign knows without asking Sigstore's TUF repository."""
        return {"SIGSTORE_ROOT_FILE": str(self.bench.path("ca.pem")),
                "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": str(self.bench.path("ct.pub")),
                "SIGSTORE_REKOR_PUBLIC_KEY": str(self.folder / "log.pub"), "GITSIGN_REKOR_MODE": "offline",
                "GIT_CONFIG_NOSYSTEM": "1"}


def _signs_gitsign(commit: _Commit) -> str:
    return program("gitsign")


def _signs_custody(commit: _Commit) -> str:
    script = commit.folder / "custody-gitsign"
    script.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT / 'src'}' exec '{sys.executable}' -m custody.cli.main gitsign "
                      f"--yes --trusted-root '{commit.root}' --signing-config '{commit.folder / 'config.json'}' "
                      '"$@"\n')
    script.chmod(0o700)
    return str(script)


def _checked_by_custody(commit: _Commit, who: str) -> Done:
    return commit.bench.custody("source", "check", commit.repository, "--branch", "main", "--certificate-identity", who,
                                "--certificate-oidc-issuer", commit.bench.issuer, "--trusted-root", str(commit.root))


def _checked_by_gitsign(commit: _Commit, who: str) -> Done:
    """It takes the log's key from a TUF repository alone, so there is one."""
    mirror, bench = commit.folder / f"tuf-{who}", commit.bench
    known = tufrepository.write(mirror, {"trusted_root.json": commit.root.read_bytes()})
    names = {**commit.environment(), "TUF_ROOT": f"{mirror}-cache", "SIGSTORE_NO_CACHE": ""}
    with served(Starlette(routes=[Mount("/", StaticFiles(directory=mirror))])) as url:
        first = bench.program(program("gitsign"), "initialize", "--mirror", url, "--root", str(known), **names)
        if first.code != 0:
            return first
        return bench.program(program("gitsign"), "verify", "--certificate-identity", who, "--certificate-oidc-issuer",
                             bench.issuer, place=commit.repository, **names)


def _committed(bench: Bench, signs: Callable[[_Commit], str], verifies: Callable[[_Commit, str], Done]
               ) -> tuple[Done, Callable[[], Done], Callable[[], Done], str]:
    """gitsign 0.14 writes to a log of API version 1, which is a test's own here; git calls either program."""
    program("gitsign")
    log, commit = Rekor1(), _Commit(bench, bench.path(bench.fresh()))
    commit.folder.mkdir()
    (commit.folder / "log.pub").write_bytes(log.key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with served(log.app()) as url:
        root = parse_trusted_root(bench.path("root.json").read_bytes())
        config = parse_signing_config(bench.path("config.json").read_bytes())
        commit.root.write_bytes(msgspec.structs.replace(root, tlogs=(log.trusted(url, _VALID),)).to_json())
        (commit.folder / "config.json").write_bytes(msgspec.structs.replace(
            config, rekor=(Service(url, 1, _VALID, "test"),), tsa=()).to_json())
        names = {**commit.environment(), "GITSIGN_REKOR_URL": url, "GITSIGN_FULCIO_URL": bench.ca,
                 "GITSIGN_OIDC_ISSUER": bench.issuer, "SIGSTORE_ID_TOKEN": bench.token(PERSON)}

        def git(*words: str) -> Done:
            return bench.program("git", "-C", commit.repository, *words, **names)

        bench.program("git", "init", "-q", "-b", "main", commit.repository)
        for option, value in (("user.name", "Dev"), ("user.email", PERSON), ("gpg.format", "x509"),
                              ("gpg.x509.program", signs(commit)), ("commit.gpgsign", "true")):
            git("config", option, value)
        signed = git("commit", "-q", "--allow-empty", "-m", "first")
    return (signed, lambda: verifies(commit, PERSON), lambda: verifies(commit, STRANGER),
            "identity: got|none of the expected identities matched")

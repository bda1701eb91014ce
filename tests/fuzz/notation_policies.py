"""Trust policies that nobody wrote, imported and used by the real `notation` and by custody.

`python -m tests.fuzz.notation_policies COUNT [SEED]`: each document is imported by both (`policy import`), and where
both take it, both verify images with it that lie in one OCI layout: signed well, expired, by a
stranger, and not at all. What custody refuses by name and `notation` passes over is left out: unknown fields, keys that
stand twice, and other cases of letters.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from custody.cli.run import run
from custody.errors import CustodyError
from custody.sign.notary.directory import Directory
from custody.sign.notary.trustpolicy import parse_oci
from tests.apiserver import program
from tests.fuzz.chance import Chance
from tests.sign.notary.materials import chain_of, directory_in, environment, key_of, layout, list_key, trust

IMAGES = ("good", "expired", "stranger", "unsigned")
_NAMES = ("one", "two", "three", "", "a b", "one")
_LEVELS = ("strict", "permissive", "audit", "skip", "strict", "permissive", "", "Strict", "none")
_SCOPES = ("local/app", "local/other", "registry.example/team/app", "localhost:5000/a__b/c-d.e", "*", "local/*", "app",
           "https://local/app", "local/app:v1", "Local.Example/app", "local/App", "local/", "/app", "local/a___b", "",
           "-local/app", "local:x/app", "local/app@sha256:00", "local/a..b", "local.example:65536/x")
_STORES = ("ca:acme", "ca:acme", "ca:acme", "ca:missing", "signingAuthority:acme", "tsa:acme", "ca:", "acme", "ca:a/b",
           "cb:acme", "ca:a:b", "ca:acme ", "CA:acme", "ca:ünder")
_IDENTITIES = ("*", "*", "x509.subject: C=US, ST=WA, O=acme", "x509.subject:C=US,ST=WA,O=acme,CN=EC-256",
               "x509.subject: C=US, ST=WA, O=other", "x509.subject:C=US,ST=WA", "x509.subject:", "x509.subject:,,,",
               "x509.subject:C=US,ST=WA,O=acme,O=acme", "x509.subject:C=US+ST=WA,O=acme", "unknown:whoever", "acme", "",
               "x509.subject:C=US,S=WA,O=acme", "x509.subject:C=US,ST=WA,O=#0403", "x509.subject:C=US,ST=WA,O=a\\,b",
               "x509.subject:C=US,ST=WA,O=\\61cme", "x509.subject:C=US,ST=WA,O=acm\\65",
               "x509.subject:c=US,st=WA,o=acme",
               "x509.subject:C=US,ST=WA,O=acme,X=", "x509.subject:C=US;ST=WA;O=acme",
               "x509.subject:O=acme,ST=WA,C=US",
               "x509.subject:C=US,ST=WA,O=acme\\", "x509.subject:C=US,ST=WA,O=acme\\zz",
               "x509.subject: C = US , ST = WA , O = acme", "x509.subject:C=US,ST=WA,O=\"acme\"",
               "x509.subject:C=US,ST=WA,O=acme=x", "x509.subject:C=US,"
               "ST=WA,O=\\ acme", "x509.subject:=x,C=US,ST=WA,O=acme")
_OVERRIDES: tuple[dict[str, Any], ...] = (
    {"revocation": "skip"}, {"expiry": "log"}, {"authenticity": "log"}, {"authenticTimestamp": "log"},
    {"expiry": "enforce"}, {"integrity": "log"}, {"expiry": "skip"}, {"revocation": "never"}, {"other": "log"}, {},
    {"revocation": "log", "expiry": "log"})


class Author(Chance):
    """One document."""

    def document(self) -> Any:
        made: dict[str, Any] = {"version": self.pick(*["1.0"] * 40, "1.1", ""),
                                "trustPolicies": [self.statement(at) for at in range(self.pick(1, 1, 1, 2, 2, 3))]}
        if self.chance(0.04):
            made[self.pick("version", "trustPolicies")] = self.pick(None, [], {}, 1, "x", True)
        if self.chance(0.02):
            del made[self.pick("version", "trustPolicies")]
        return made

    def statement(self, at: int) -> dict[str, Any]:
        calm = self.chance(0.85)
        verification: dict[str, Any] = {"level": self.pick(*_LEVELS[:6]) if calm else self.pick(*_LEVELS)}
        if self.chance(0.35):
            verification["override"] = self.pick(*_OVERRIDES[:5]) if calm else self.pick(*_OVERRIDES)
        if self.chance(0.2):
            verification["verifyTimestamp"] = self.pick("always", "afterCertExpiry", *([] if calm else ["never", ""]))
        skipped = verification["level"] == "skip" and calm
        made = {"name": ("one", "two", "three")[at] if calm else self.pick(*_NAMES),
                "registryScopes": self.some(_SCOPES[at:at + 1] if calm else _SCOPES),
                "signatureVerification": verification,
                "trustStores": [] if skipped else self.some(_STORES[:3] if calm else _STORES),
                "trustedIdentities": [] if skipped else self.some(_IDENTITIES[:4] if calm and self.chance(0.8)
                                                                  else _IDENTITIES)}
        if skipped and "override" in verification:
            del verification["override"]
        if self.chance(0.03):
            made[self.pick(*made)] = self.pick(None, [], {}, 1, "x", True, [None], ["*", 1])
        if self.chance(0.02):
            del made[self.pick(*made)]
        return made

    def some(self, choices: tuple[str, ...]) -> list[str]:
        return [self.pick(*choices) for _ in range(self.pick(1, 2, 0) if self.chance(0.1) else 1)]


def main(count: int, seed: int = 0) -> int:
    tally: Counter[str] = Counter()
    differences = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        directory = directory_in(folder / "notation")
        os.environ |= {name: value for name, value in environment(directory).items() if name.startswith("NOTATION_")}
        images = world(folder, directory)
        for number in range(seed, seed + count):
            document = json.dumps(Author(number).document())
            for line in compared(document, folder, directory, images, tally):
                differences += 1
                print(f"{number}: {line}\n  {document}")
    print(f"{count} trust policies from seed {seed}: " + ", ".join(f"{value} {name}" for name, value in sorted(
        tally.items())) + f"; {differences} differ")
    return 1 if differences else 0


def world(folder: Path, directory: Directory) -> dict[str, str]:
    """Images of one layout, by what is the matter with their signature: what `verify --oci-layout` takes."""
    now = datetime.now(UTC)
    list_key(directory, "mine", key_of("EC-256"), chain_of("EC-256"), default=True)
    list_key(directory, "stranger", key_of("EC-384"), _stranger())
    trust(directory, "ca", "acme", chain_of("EC-256")[-1])
    images: dict[str, str] = {}
    for name in IMAGES:
        digest = layout(folder / name, name)
        images[name] = f"{folder / name}@{digest}"
        if name == "unsigned":
            continue
        more = {"expired": ["-e", "1s"], "stranger": ["--key", "stranger"]}.get(name, [])
        done = subprocess.run([program("notation"), "sign", "--oci-layout", *more, images[name]], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0, done.stderr
    while datetime.now(UTC) < now + timedelta(seconds=2):
        continue
    return images


def _stranger() -> Any:
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    from tests.sign.notary.materials import issue

    root_key = key_of("EC-521", 7)
    root = issue(root_key, "strange root", None, ca=True)
    return issue(key_of("EC-384"), "stranger", (root, root_key), purposes=[Usage.CODE_SIGNING]), root


def compared(document: str, folder: Path, directory: Directory, images: dict[str, str], tally: Counter[str]
             ) -> list[str]:
    """What the two say differently."""
    path = folder / "policy.json"
    path.write_text(document)
    theirs = subprocess.run([program("notation"), "policy", "import", "--force", path], capture_output=True, text=True,
                            check=False)
    try:
        policy = parse_oci(document.encode())
        refusal = ""
    except CustodyError as error:
        policy, refusal = None, error.message
    if (theirs.returncode == 0) != (policy is not None):
        return [f"import: notation {theirs.stderr.strip() or 'takes it'}; custody {refusal or 'takes it'}"]
    if policy is None:
        tally["refused by both"] += 1
        return []
    (directory.config / "trustpolicy.json").write_text(document)
    differences: list[str] = []
    for name, image in images.items():
        arguments = ["verify", "--oci-layout", "--scope", "local/app", image]
        verdict = subprocess.run([program("notation"), *arguments], capture_output=True, text=True, check=False)
        said, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            ours = run(["notation", *arguments])
        if (ours == 0) != (verdict.returncode == 0) or said.getvalue() != verdict.stdout:
            differences.append(f"verify {name}: notation {verdict.returncode} {verdict.stdout}{verdict.stderr.strip()}"
                               f"; custody {ours} {said.getvalue()}{errors.getvalue().strip()}")
        tally[f"verdicts alike ({'yes' if ours == 0 else 'no'})"] += ours in (0, 2, 4) and not differences
    tally["taken by both"] += 1
    return differences


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

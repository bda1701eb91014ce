"""The programs that sign and verify, each with what it can do by form and by way, and why it cannot do the rest."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from custody.formats import intoto
from custody.kit.digest import sha256
from tests.apiserver import PEERS, AbsentError, program
from tests.interop.bench import PERSON, Bench, Done

FILE, FILE_STATEMENT = "file, bundle", "file, attestation"
IMAGE, IMAGE_STATEMENT = "image, bundle", "image, attestation"
LEGACY, LEGACY_STATEMENT = "image, legacy", "image, legacy attestation"
FORMS = (FILE, FILE_STATEMENT, IMAGE, IMAGE_STATEMENT, LEGACY, LEGACY_STATEMENT)
KEYLESS, KEY = "keyless", "key"
WAYS = (KEYLESS, KEY)
TYPE = "slsaprovenance1"
SLSA = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class Asked:
    """What is to be signed or verified: a file with its bundle, or an image."""

    bench: Bench
    form: str
    way: str
    name: str
    image: str = ""
    file: str = "blob"
    who: str = PERSON
    public: str = "cosign.pub"
    logged: bool = True
    """Whether the signer was given a log."""

    @property
    def is_file(self) -> bool:
        return self.form in (FILE, FILE_STATEMENT)

    @property
    def states(self) -> bool:
        return self.form in (FILE_STATEMENT, IMAGE_STATEMENT, LEGACY_STATEMENT)

    @property
    def legacy(self) -> bool:
        return self.form in (LEGACY, LEGACY_STATEMENT)

    @property
    def bundle(self) -> str:
        return f"{self.name}.json"

    @property
    def target(self) -> str:
        return self.file if self.is_file else self.image

    def signer(self) -> tuple[str, ...]:
        """cosign's options, and custody's, for whoever verifies."""
        return ("--key", self.public) if self.way == KEY else (
            "--certificate-identity", self.who, "--certificate-oidc-issuer", self.bench.issuer)

    def token(self) -> str:
        self.bench.path(f"{self.name}.token").write_text(token := self.bench.token(PERSON))
        return token

    def verb(self, signs: bool) -> str:
        if signs:
            return ("attest" if self.states else "sign") + ("-blob" if self.is_file else "")
        return "verify" + ("-blob" if self.is_file else "") + ("-attestation" if self.states else "")


class Client:
    """One program. `lacks` says of a form and way why it does not sign or verify them; the rest it is asked."""

    name: ClassVar[str]
    refuses: ClassVar[dict[str, str]]
    """By way: what it says of a signature of somebody else, as a pattern."""

    def absent(self) -> str:
        """Why it cannot be run here; "" where it can."""
        return ""

    def lacks(self, form: str, way: str, *, signs: bool) -> str:
        return ""

    def logs(self, form: str, way: str) -> bool:
        """Whether what it signs goes into a log of API version 2."""
        return True

    def sign(self, asked: Asked) -> Done:
        raise NotImplementedError

    def verify(self, asked: Asked) -> Done:
        raise NotImplementedError


class Custody(Client):
    name = "custody"
    refuses: ClassVar[dict[str, str]] = {
        KEYLESS: r"identity: got 'dev@example.com', expected 'evil@example.com'",
        KEY: "the signature is not this key's"}

    def logs(self, form: str, way: str) -> bool:
        return form not in (LEGACY, LEGACY_STATEMENT)  # the older forms hold no entry of an API version 2

    def sign(self, asked: Asked) -> Done:
        by = ("--key", str(asked.bench.path("cosign.key"))) if asked.way == KEY else ("--identity-token", asked.token())
        line = [asked.verb(signs=True), *by]
        if asked.is_file:
            line += ["--bundle", str(asked.bench.path(asked.bundle))]
        if asked.states:
            line += ["--predicate", str(asked.bench.path("predicate.json")), "--type", TYPE]
        if asked.legacy:
            line += ["--format", "legacy"]
        return asked.bench.custody(*line, self._target(asked))

    def verify(self, asked: Asked) -> Done:
        by = asked.signer() if asked.way == KEYLESS else ("--key", str(asked.bench.path(asked.public)))
        line = [asked.verb(signs=False), *by]
        if asked.is_file:
            line += ["--bundle", str(asked.bench.path(asked.bundle))]
        if asked.states:
            line += ["--type", TYPE]
        if not asked.logged:
            line.append("--insecure-ignore-tlog")
        return asked.bench.custody(*line, self._target(asked))

    def _target(self, asked: Asked) -> str:
        return str(asked.bench.path(asked.file)) if asked.is_file else asked.image


class Cosign(Client):
    """Both sign and verify bundles and what came before them."""

    refuses: ClassVar[dict[str, str]] = {
        KEYLESS: r"expected SAN value \"evil@example.com\"|none of the expected identities matched",
        # The first is 3's word: it writes the log's entry again with the key that it was given.
        KEY: r"does not match expected root|transparency log certificate does not match|invalid signature|"
             r"accepted signatures do not match threshold, Found: 0"}

    def __init__(self, version: int) -> None:
        self.version, self.name = version, f"cosign-v{version}"  # type: ignore[misc]

    def absent(self) -> str:
        try:
            program(self.name)
        except AbsentError as absent:
            return str(absent)
        return ""

    def lacks(self, form: str, way: str, *, signs: bool) -> str:
        return ""

    def logs(self, form: str, way: str) -> bool:
        # 2.6 sends dsseRequestV002 for a statement, which no log of API version 2 takes any more.
        return form == FILE if self.version == 2 else form not in (LEGACY, LEGACY_STATEMENT)

    def sign(self, asked: Asked) -> Done:
        line = [program(self.name), asked.verb(signs=True), "-y"]
        line += ["--key", "cosign.key"] if asked.way == KEY else []
        if asked.way == KEYLESS:
            asked.token()
            line += ["--identity-token", f"{asked.name}.token"]
        if asked.is_file:
            line += ["--bundle", asked.bundle]
        else:
            line += ["--allow-http-registry"]
        if asked.states:
            line += ["--predicate", "predicate.json", "--type", TYPE]
        if asked.legacy:
            line += ["--tlog-upload=false"]
            if self.version == 3:
                line += ["--new-bundle-format=false", "--use-signing-config=false"]
            if asked.way == KEYLESS:
                line += ["--fulcio-url", asked.bench.ca, "--timestamp-server-url", asked.bench.tsa]
            return asked.bench.program(*line, asked.target, **_FILES)
        line += [*self._new(asked), "--signing-config", "config.json" if asked.logged else "tsa-only.json",
                 "--trusted-root", "root.json"]
        return asked.bench.program(*line, asked.target)

    def verify(self, asked: Asked) -> Done:
        line = [program(self.name), asked.verb(signs=False), *asked.signer()]
        line += ["--bundle", asked.bundle] if asked.is_file else ["--allow-http-registry"]
        if asked.states:
            line += ["--type", TYPE]
        if not asked.logged:
            line += ["--insecure-ignore-tlog"]
        if asked.way == KEYLESS or (not asked.legacy and asked.logged):
            line += ["--use-signed-timestamps"]
        if asked.legacy:
            return asked.bench.program(*line, asked.target, **_FILES)
        return asked.bench.program(*line, *self._new(asked), "--trusted-root", "root.json", asked.target)

    def _new(self, asked: Asked) -> list[str]:
        return ["--new-bundle-format"] if self.version == 2 else []


_FILES = {"SIGSTORE_ROOT_FILE": "ca.pem", "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": "ct.pub",
          "SIGSTORE_TSA_CERTIFICATE_FILE": "tsa.pem", "SIGSTORE_REKOR_PUBLIC_KEY": "log.pub"}
"""Whom cosign believes of what came before bundles."""


class SigstorePython(Client):
    name = "sigstore-python"
    refuses: ClassVar[dict[str, str]] = {KEYLESS: "SANs do not match"}

    def lacks(self, form: str, way: str, *, signs: bool) -> str:
        if form not in (FILE, FILE_STATEMENT):
            return "knows no images"
        return "knows no keys" if way == KEY else ""

    def sign(self, asked: Asked) -> Done:
        line = ["--bundle", asked.bundle, "--overwrite", "--identity-token", asked.token()]
        if asked.states:
            line += ["--predicate", "predicate.json", "--predicate-type", SLSA]
        return self._run(asked, "attest" if asked.states else "sign", *line, asked.file)

    def verify(self, asked: Asked) -> Done:
        return self._run(asked, "verify", "identity", "--bundle", asked.bundle, "--cert-identity", asked.who,
                         "--cert-oidc-issuer", asked.bench.issuer, asked.file)

    def _run(self, asked: Asked, *words: str) -> Done:
        return asked.bench.program(sys.executable, "-m", "sigstore", "--trust-config", "both.json", *words)


class SigstoreJs(Client):
    name = "sigstore-js"
    refuses: ClassVar[dict[str, str]] = {KEYLESS: "certificate identity error", KEY: "signature verification failed"}
    modules = PEERS / "npm/node_modules"

    def absent(self) -> str:
        if shutil.which("node") is None:
            return "node is not installed"
        return "" if (self.modules / "@sigstore/sign").is_dir() else f"no @sigstore/sign in {self.modules.parent.name}"

    def lacks(self, form: str, way: str, *, signs: bool) -> str:
        return "" if form in (FILE, FILE_STATEMENT) else "knows no images"

    def logs(self, form: str, way: str) -> bool:
        # It sends dsseRequestV002 as cosign 2 does, and of keys the PEM text as if it were a certificate's.
        return form == FILE and way == KEYLESS

    def sign(self, asked: Asked) -> Done:
        bench, file = asked.bench, asked.file
        if asked.states:
            file = f"{asked.name}.statement"
            bench.path(file).write_bytes(intoto.statement(
                _digest(bench, asked.file), SLSA, json.loads(bench.path("predicate.json").read_text())).to_bytes())
        by = {"key": "plain.key"} if asked.way == KEY else {"token": asked.token(), "ca": bench.ca}
        return self._run(asked, verb="sign", file=file, tsa=bench.tsa.removesuffix("/api/v1/timestamp"),
                         log=bench.log if asked.logged else "",
                         type=intoto.PAYLOAD_TYPE if asked.states else "", **by)

    def verify(self, asked: Asked) -> Done:
        by = {"key": asked.public} if asked.way == KEY else {"identity": asked.who, "issuer": asked.bench.issuer}
        return self._run(asked, verb="verify", file=asked.file, root="root.json", log=asked.logged, **by)

    def _run(self, asked: Asked, **said: object) -> Done:
        script = str(Path(__file__).with_name("sigstore.cjs"))
        return asked.bench.program("node", script, given=json.dumps({"bundle": asked.bundle, **said}),
                                   NODE_PATH=str(self.modules))


def _digest(bench: Bench, file: str) -> str:
    return sha256(bench.path(file).read_bytes())


CUSTODY = Custody()
PEER_CLIENTS: tuple[Client, ...] = (Cosign(3), Cosign(2), SigstorePython(), SigstoreJs())

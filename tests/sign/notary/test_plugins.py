"""Plugins: asked as the contract says, bounded in time and size, and believed only where what they gave is right."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.programs import SystemPrograms
from custody.errors import (
    AuthenticationError,
    CustodyError,
    MalformedError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.formats import notary
from custody.ports.programs import Finished
from custody.sign.notary.directory import Directory
from custody.sign.notary.plugin import ENVELOPE, RAW, Metadata, Plugin, installed, open_plugin
from custody.sign.notary.pluginkeys import PluginEnvelopes, PluginKey, plugin_signer
from custody.sign.notary.sign import Signed, Terms, sign
from tests.sign.notary.materials import (
    KINDS,
    authority,
    chain_of,
    directory_in,
    install_plugin,
    issue,
    key_of,
    key_pem,
    pem,
)
from tests.sign.notary.test_signing import TARGET

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    made = directory_in(tmp_path / "notation")
    install_plugin(made)
    return made


def key_file(folder: Path, kind: str = "EC-256", chain: Any = None) -> str:
    path = folder / f"{kind}.pem"
    path.write_bytes(key_pem(key_of(kind)) + pem(*(chain or chain_of(kind))))
    return str(path)


def signed(directory: Directory, identifier: str, lie: str = "", capabilities: str = "", **terms: Any) -> Signed:
    config = {"lie": lie, "capabilities": capabilities}
    plugin = Plugin("try", directory.plugin("try"), SystemPrograms(), seconds=5)
    signer = plugin_signer(plugin, identifier, {name: value for name, value in config.items() if value})
    return asyncio.run(sign(TARGET, signer, Terms(**terms), NOW))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_a_plugin(directory: Directory, tmp_path: Path, kind: str) -> None:
    for media_type in (notary.JWS, notary.COSE):
        made = signed(directory, key_file(tmp_path, kind), media_type=media_type, expiry=timedelta(hours=1))
        assert made.envelope.algorithm == KINDS[kind]
        assert made.envelope.agent.startswith("custody/")
        assert made.envelope.agent.endswith(" try/1.2.3")


def test_an_envelope_of_a_plugin(directory: Directory, tmp_path: Path) -> None:
    made = signed(directory, key_file(tmp_path), capabilities=ENVELOPE, expiry=timedelta(hours=1),
                  metadata={"env": "prod"})
    assert made.envelope.agent == "plugin-of-tests"
    assert made.envelope.target.annotations == {"env": "prod"}
    assert made.annotations["made.by"] == "try"
    assert made.envelope.expiry is not None


@pytest.mark.parametrize(("lie", "kind", "reason"), [
    ("described-key", VerificationError, "describe-key: answer.keyId: got 'another'"),
    ("spec", UnsupportedError, "RSA-1024; RSA-2048"),
    ("key", VerificationError, "generate-signature: answer.keyId: got 'another'"),
    ("algorithm", VerificationError, "signingAlgorithm: got 'ECDSA-SHA-1'"),
    ("signature", VerificationError, "the signature is not this certificate's"),
    ("order", VerificationError, "certificate chain"),
    ("name", MalformedError, "name: got 'stranger', expected try"),
    ("contract", UnsupportedError, "speaks contract 2.0"),
    ("garbage", MalformedError, "expected one JSON document"),
    ("list", MalformedError, "expected a JSON object"),
    ("twice", MalformedError, "key 'keyId' twice"),
    ("silent", MalformedError, "status 3 and no words"),
    ("flood", NetworkError, "wrote more than 4194304 bytes"),
    ("flood of errors", NetworkError, "wrote more than 4194304 bytes"),
    ("refuses ACCESS_DENIED", AuthenticationError, "ACCESS_DENIED: the answer is no"),
    ("refuses THROTTLED", NetworkError, "THROTTLED: the answer is no"),
    ("refuses VALIDATION_ERROR", UsageError, "VALIDATION_ERROR: the answer is no"),
    ("refuses MADE_UP", CustodyError, "MADE_UP: the answer is no")])
def test_a_plugin_that_lies(directory: Directory, tmp_path: Path, lie: str, kind: type[CustodyError],
                            reason: str) -> None:
    with pytest.raises(CustodyError) as raised:
        signed(directory, key_file(tmp_path), lie)
    assert type(raised.value) is kind
    assert reason in raised.value.message
    assert raised.value.message.startswith(("plugin try", "signature:", "certificate chain", str(directory.libexec)))


@pytest.mark.parametrize(("lie", "reason"), [
    ("other-digest", f"plugin: signed sha256:{'0' * 64}"), ("more", "plugin: added 'allowed' to what is signed"),
    ("annotation", "left out or changed the annotation env"), ("no-expiry", "left out the expiry of 1:00:00"),
    ("type", "signatureEnvelopeType: got 'application/cose'")])
def test_an_envelope_that_says_something_else(directory: Directory, tmp_path: Path, lie: str, reason: str) -> None:
    with pytest.raises(VerificationError) as raised:
        signed(directory, key_file(tmp_path), lie, ENVELOPE, expiry=timedelta(hours=1), metadata={"env": "prod"})
    assert reason in raised.value.message


def test_a_plugin_whose_certificate_may_not_sign(directory: Directory, tmp_path: Path) -> None:
    above, key = authority()
    chain = (issue(key_of("EC-256"), "x", (above[0], key), usages=("key_encipherment",)), *above)
    for capability in ("", ENVELOPE):
        with pytest.raises(VerificationError, match="not for digitalSignature"):
            signed(directory, key_file(tmp_path, chain=chain), capabilities=capability)


def test_nothing_is_added_to_an_envelope_of_a_plugin(directory: Directory, tmp_path: Path) -> None:
    async def stamp(*_: Any) -> bytes:
        raise AssertionError

    with pytest.raises(UnsupportedError, match="makes whole envelopes, to which custody adds nothing"):
        signed(directory, key_file(tmp_path), capabilities=ENVELOPE, stamp=stamp)


def test_a_plugin_that_only_verifies(directory: Directory, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"does not sign: it has SIGNATURE_VERIFIER\.TRUSTED_IDENTITY"):
        signed(directory, key_file(tmp_path), capabilities="SIGNATURE_VERIFIER.TRUSTED_IDENTITY")


def test_a_plugin_that_hangs_ends_with_its_children(directory: Directory, tmp_path: Path) -> None:
    plugin = Plugin("try", directory.plugin("try"), SystemPrograms(), seconds=2)
    began = time.monotonic()
    with pytest.raises(NetworkError, match="not done within 2 s"):
        plugin.metadata({"lie": "leaves a child"})
    assert time.monotonic() - began < 10
    child = int(directory.plugin("try").with_name("child").read_text())
    assert _gone(child)


def _gone(pid: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_program_that_is_none(directory: Directory) -> None:
    with pytest.raises(NotFoundError, match="plugin absent"):
        open_plugin(directory, "absent", SystemPrograms())
    for name in ("../try", "a/b", "..", ""):
        with pytest.raises(UsageError, match="plugin name"):
            open_plugin(directory, name, SystemPrograms())
    folder = directory.plugin("folder")
    folder.mkdir(parents=True)
    with pytest.raises(MalformedError, match="expected a regular file"):
        open_plugin(directory, "folder", SystemPrograms())
    text = directory.plugin("text")
    text.parent.mkdir()
    text.write_text("no program")
    with pytest.raises(UsageError, match="Permission denied"):
        open_plugin(directory, "text", SystemPrograms()).metadata()
    text.chmod(0o755)
    with pytest.raises(UsageError, match="Exec format error"):
        open_plugin(directory, "text", SystemPrograms()).metadata()
    (directory.plugins / "linked").symlink_to(directory.plugins / "try")
    assert installed(directory) == ["folder", "text", "try"]


class _Answering:
    """Implements ports.programs: the same words to every question."""

    def __init__(self, status: int, output: bytes, errors: bytes) -> None:
        self._done = Finished(status, output, errors)

    def run(self, argv: Sequence[str], given: bytes, *, seconds: float, limit: int) -> Finished:
        assert json.loads(given) or argv[1] == "get-plugin-metadata"
        assert seconds <= 120
        assert limit == 4 << 20
        return self._done


_NAMES = ("name", "description", "version", "url", "supportedContractVersions", "capabilities", "keyId", "keySpec",
          "signature", "signingAlgorithm", "certificateChain", "signatureEnvelope", "signatureEnvelopeType",
          "annotations", "errorCode", "errorMessage")
_VALUES = st.one_of(st.none(), st.integers(), st.sampled_from(["try", "1.0", "k", "EC-256", "AAAA", RAW, ENVELOPE,
                                                               notary.JWS, "ERROR", "TIMEOUT"]), st.text(max_size=6))
_ANSWERS = st.one_of(st.binary(max_size=40), st.dictionaries(st.sampled_from(_NAMES), st.one_of(
    _VALUES, st.lists(_VALUES, max_size=3), st.dictionaries(st.text(max_size=3), _VALUES, max_size=2))).map(
        lambda document: json.dumps(document).encode()))


@given(st.integers(0, 2), _ANSWERS, _ANSWERS)
def test_no_answer_breaks_it(status: int, output: bytes, errors: bytes) -> None:
    """Whatever a plugin says, nothing is signed by it but with a signature that is right; and there was none."""
    plugin = Plugin("try", Path(sys.executable), _Answering(status, output, errors))
    metadata = Metadata("try", "", "1.0.0", "", (RAW,))
    for signer in (PluginKey(plugin, metadata, "k", {}), PluginEnvelopes(plugin, "k", {})):
        with pytest.raises(CustodyError) as raised:
            asyncio.run(sign(TARGET, signer, Terms(), NOW))
        assert raised.value.message
    with contextlib.suppress(CustodyError):
        assert plugin.metadata().name == "try"


def test_a_program_that_reads_nothing(tmp_path: Path) -> None:
    """More is given to it than a pipe holds, and it writes more than a pipe holds."""
    done = SystemPrograms().run([sys.executable, "-c", "print('x' * 300000)"], b"y" * (4 << 20), seconds=30,
                                limit=1 << 20)
    assert (done.status, len(done.output), done.errors) == (0, 300001, b"")
    echoed = SystemPrograms().run(["/bin/cat"], b"z" * (3 << 20), seconds=30, limit=4 << 20)
    assert echoed.output == b"z" * (3 << 20)
    assert SystemPrograms().run(["/bin/sh", "-c", "kill -9 $$"], b"", seconds=5, limit=10).status == -9
    assert len(os.listdir("/proc/self/fd")) < 200

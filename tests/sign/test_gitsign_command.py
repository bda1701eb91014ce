"""`custody gitsign` as git calls it, against custody's own services, whose log is of API version 2."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from custody.errors import Check, VerificationError
from custody.formats import cms
from custody.sign.gitsign import verify_object
from custody.sign.verify import Trust
from tests.conftest import ROOT
from tests.sign.site import PERSON, Site
from tests.sign.test_gitsign import COMMIT


def gitsign(site: Site, *words: str, payload: bytes = COMMIT) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "custody.cli.main", "--config", str(site.folder / "custody.toml"), "gitsign", *words],
        input=payload, capture_output=True, check=False, cwd=site.folder, timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "SIGSTORE_ID_TOKEN": site.token()})


def test_a_commit_is_signed_and_verifies(site: Site) -> None:
    done = gitsign(site, "--status-fd=2", "-bsau", "Dev <dev@example.com>", "--yes")
    assert done.returncode == 0, done.stderr
    assert b"\n[GNUPG:] SIG_CREATED D " in done.stderr
    armor, trust = done.stdout.decode(), Trust(site.stack.material.trusted_root(site.stack.endpoints))
    verified = verify_object(COMMIT, armor, trust, datetime.now(UTC))
    assert str(verified.signer) == f"{PERSON} ({site.stack.people.url})"
    assert verified.log is not None
    assert len(cms.parse_armor(armor, "test").unsigned) == 2
    with pytest.raises(VerificationError) as caught:
        verify_object(COMMIT + b"more\n", armor, trust, datetime.now(UTC))
    assert caught.value.check is Check.SUBJECT


@pytest.mark.parametrize(("words", "payload", "reason"), [
    (("--verify", "file"), COMMIT, b"git does not say whom you expect"),
    (("-sau", "dev"), COMMIT, b"expected -bsau NAME, as git gives it"),
    (("-bsau", "dev"), b"hello\n", b"expected a commit or tag of at most"),
    (("-bsau", "dev", "--oidc-disable-ambient-providers", "--identity-token", "nothing"), COMMIT, b"expected a JWT"),
    (("-bsau", "dev", "--key", "cosign.key"), COMMIT, b"a commit is signed keyless"),
])
def test_what_is_not_signed(site: Site, words: tuple[str, ...], payload: bytes, reason: bytes) -> None:
    done = gitsign(site, *words, payload=payload)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr, done.stderr
    assert done.stdout == b""

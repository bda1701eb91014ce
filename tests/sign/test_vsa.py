"""Verification summaries on the command line: each thing that is demanded of one, and slsa-verifier beside custody."""

from __future__ import annotations

import itertools
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.errors import MalformedError
from custody.formats import vsa
from tests.conftest import peer
from tests.sign.site import PERSON, Site

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
VERIFIER, RESOURCE = "https://verifier.example/v1", "pkg:generic/release@1"
POLICY = "ab" * 32
LEVELS = ("SLSA_BUILD_LEVEL_2", "SLSA_SOURCE_LEVEL_3", "ORG_REVIEWED")


def summary(**changes: Any) -> vsa.Summary:
    return vsa.Summary(**{"verifier": VERIFIER, "verified": NOW, "resource": RESOURCE, "policy_uri": "https://p.example",
                          "policy_digest": {"sha256": POLICY}, "result": vsa.PASSED, "levels": LEVELS, **changes})


def terms(**changes: Any) -> vsa.Terms:
    return vsa.Terms(**{"verifier": VERIFIER, "resource": RESOURCE, **changes})


@pytest.mark.parametrize(("said", "asked", "reason"), [
    ({}, {}, None),
    ({}, {"levels": LEVELS, "policies": frozenset({f"sha256:{POLICY}"}), "max_age": timedelta(hours=1)}, None),
    ({"verifier": "https://evil.example"}, {}, "verifier.id: got 'https://evil.example'"),
    ({"resource": "pkg:generic/other"}, {}, "resourceUri: got 'pkg:generic/other'"),
    ({"result": vsa.FAILED}, {}, "verificationResult: got FAILED, expected PASSED"),
    ({}, {"levels": ("SLSA_BUILD_LEVEL_1",)}, None),
    ({}, {"levels": ("SLSA_BUILD_LEVEL_3",)}, "expected SLSA_BUILD_LEVEL_3"),
    ({}, {"levels": ("SLSA_DEPENDENCY_LEVEL_1",)}, "expected SLSA_DEPENDENCY_LEVEL_1"),
    ({}, {"levels": ("ORG_OTHER",)}, "expected ORG_OTHER"),
    ({"levels": ()}, {"levels": ("ORG_REVIEWED",)}, "verifiedLevels: got none"),
    ({"levels": ("SLSA_BUILD_LEVEL_UNEVALUATED",)}, {"levels": ("SLSA_BUILD_LEVEL_0",)}, "expected SLSA_BUILD_LEVEL_0"),
    ({"levels": ("SLSA_BUILD_LEVEL_2", "SLSA_SOURCE_TWO_PARTY_REVIEWED")},
     {"levels": ("SLSA_SOURCE_TWO_PARTY_REVIEWED",)}, None),
    ({}, {"policies": frozenset({"sha256:" + "cd" * 32})}, "policy.digest: got sha256:abab"),
    ({"policy_digest": {}}, {"policies": frozenset({f"sha256:{POLICY}"})}, "policy.digest: got none"),
    ({"policy_digest": {"sha512": POLICY}}, {"policies": frozenset({f"sha256:{POLICY}"})}, "policy.digest"),
    ({"verified": NOW - timedelta(hours=2)}, {"max_age": timedelta(hours=1)}, "is longer ago than 1 h"),
    ({"verified": NOW + timedelta(seconds=59)}, {}, None),
    ({"verified": NOW + timedelta(minutes=2)}, {}, "is still to come")])
def test_what_is_demanded(said: dict[str, Any], asked: dict[str, Any], reason: str | None) -> None:
    got = vsa.mismatch(summary(**said), terms(**asked), NOW)
    assert got is None if reason is None else got is not None and reason in got


@pytest.mark.parametrize("levels", [None, {}, {"SLSA_BUILD_LEVEL_2": 7}])
def test_levels_of_dependencies_are_kept(levels: dict[str, int] | None) -> None:
    made = summary(dependencies=levels)
    assert vsa.parse_summary(made.to_json()) == made
    assert ("dependencyLevels" in made.to_json()) == (levels is not None)


@pytest.mark.parametrize("number", [-1, True, "1", 1.5, None])
def test_how_many_dependencies_is_a_number(number: Any) -> None:
    with pytest.raises(MalformedError, match=r"dependencyLevels\.SLSA_BUILD_LEVEL_1:"):
        vsa.parse_summary({**summary().to_json(), "dependencyLevels": {"SLSA_BUILD_LEVEL_1": number}})


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    assert run(["generate-key-pair"]) == 0
    Path("release").write_text("content")
    Path("summary.json").write_text(json.dumps(summary(verified=datetime.now(UTC) - timedelta(hours=3)).to_json()))
    assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--predicate", "summary.json", "--type",
                "vsa", "--bundle", "vsa.json", "release"]) == 0
    return tmp_path


def asked(*options: str, kind: str = "vsa", file: str = "release") -> int:
    return run(["verify-blob-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog", "--bundle", "vsa.json",
                "--type", kind, *options, file])


FULL = ("--verifier-id", VERIFIER, "--resource-uri", RESOURCE)


@pytest.mark.parametrize(("options", "code", "words"), [
    (FULL, 0, "Verified OK"),
    ((*FULL, "--verified-level", "SLSA_BUILD_LEVEL_1", "--verified-level", "ORG_REVIEWED", "--policy-digest",
      f"sha256:{POLICY}", "--max-age", "24h"), 0, "Verified OK"),
    ((*FULL, "--verified-level", "SLSA_BUILD_LEVEL_3"), 4, "summary: verifiedLevels: got SLSA_BUILD_LEVEL_2, SLSA_"),
    ((*FULL, "--max-age", "1h"), 4, "summary: timeVerified: "),
    ((*FULL, "--policy-digest", "sha256:" + "cd" * 32), 4, "summary: policy.digest"),
    (("--verifier-id", "https://evil.example", "--resource-uri", RESOURCE), 4, "summary: verifier.id"),
    (("--verifier-id", VERIFIER, "--resource-uri", "pkg:other"), 4, "summary: resourceUri"),
    (("--verifier-id", VERIFIER), 2, "--resource-uri: not given"),
    (("--verified-level", "SLSA_BUILD_LEVEL_1"), 2, "--verified-level: a summary says nothing until you say whose"),
    ((*FULL, "--policy-digest", "latest"), 2, "--policy-digest: got 'latest', expected such as sha256:HEX"),
    ((*FULL, "--max-age", "soon"), 2, "--max-age: got 'soon', expected a duration such as 30s or 3m0s")])
def test_a_file(released: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, words: str
                ) -> None:
    assert released.is_dir()
    capsys.readouterr()
    assert asked(*options) == code
    assert words in capsys.readouterr().err


def test_of_other_types_nothing_is_demanded(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert released.is_dir()
    assert asked(*FULL, kind="spdxjson") == 2
    assert "--verifier-id: is of verification summaries, and --type is spdxjson" in capsys.readouterr().err
    assert asked(*FULL, kind=vsa.PREDICATE_TYPE) == 0
    assert asked() == 0  # its signature and shape alone


def test_explained(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert released.is_dir()
    capsys.readouterr()
    assert asked(*FULL, "--max-age", "1h", "--explain", "-o", "json") == 4
    told = json.loads(capsys.readouterr().out)
    assert told["documents"][0]["failure"]["code"] == "summary.refused"


def test_an_image_is_called_by_its_name(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, other = site.push("summed"), site.push("summed-other", b"other")
    path = site.folder / "summed.json"
    for resource in (other, image):
        path.write_text(json.dumps(summary(resource=resource, verified=datetime.now(UTC)).to_json()))
        assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(path), "--type", "vsa",
                            image) == 0
        capsys.readouterr()
        code = site.custody("verify-attestation", *site.who(), "--type", "vsa", "--verifier-id", VERIFIER, image)
        assert code == (0 if resource == image else 4)
    assert site.custody("verify-attestation", *site.who("eve@example.com"), "--type", "vsa", "--verifier-id", VERIFIER,
                        image) == 4  # a verifier's name says nothing without its signer
    assert f"identity: got '{PERSON}'" in capsys.readouterr().err


# ── slsa-verifier ───────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.peer
def test_slsa_verifier_says_the_same(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every pair of levels that are said and asked for, and each other demand: the same verdict."""
    program, rows = peer("slsa-verifier"), []
    said_levels = [(), ("SLSA_BUILD_LEVEL_1",), ("SLSA_BUILD_LEVEL_3",), ("SLSA_BUILD_LEVEL_2", "SLSA_SOURCE_LEVEL_1"),
                   ("ORG_REVIEWED",), ("SLSA_BUILD_LEVEL_2", "ORG_REVIEWED")]
    asked_levels = [(), ("SLSA_BUILD_LEVEL_0",), ("SLSA_BUILD_LEVEL_2",), ("SLSA_SOURCE_LEVEL_1",), ("ORG_REVIEWED",),
                    ("SLSA_BUILD_LEVEL_2", "ORG_REVIEWED"), ("SLSA_BUILD_LEVEL_3",)]
    whole: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"levels": said}, {"levels": wanted}) for said, wanted in itertools.product(said_levels, asked_levels)]
    whole += [({"result": vsa.FAILED}, {}), ({"verifier": "https://evil.example"}, {}), ({"resource": "pkg:other"}, {}),
              ({}, {"verifier": "https://evil.example"}), ({}, {"resource": "pkg:other"}),
              ({}, {"file": "summary.json"}),
              ({"dependencies": {"SLSA_BUILD_LEVEL_1": 3}}, {}), ({"policy_digest": {}}, {})]
    for said, wanted in whole:
        Path("summary.json").write_text(json.dumps(summary(verified=datetime.now(UTC), **said).to_json()))
        assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--new-bundle-format=false",
                    "--predicate", "summary.json", "--type", "vsa", "--output-signature", "vsa.dsse", "--bundle",
                    "vsa.json", "release"]) == 0
        file = wanted.get("file", "release")
        named = (wanted.get("verifier", VERIFIER), wanted.get("resource", RESOURCE))
        levels = [part for level in wanted.get("levels", ()) for part in ("--verified-level", level)]
        capsys.readouterr()
        ours = asked("--verifier-id", named[0], "--resource-uri", named[1], *levels, file=file)
        assert ours in (0, 4), capsys.readouterr().err
        digest = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout.split()[0]
        theirs = subprocess.run(
            [program, "verify-vsa", "--attestation-path", "vsa.dsse", "--subject-digest", f"sha256:{digest}",
             "--verifier-id", named[0], "--resource-uri", named[1], *levels, "--public-key-path", "cosign.pub"],
            capture_output=True, text=True, check=False)
        rows.append((said, wanted, theirs.returncode == 0, ours == 0, theirs.stderr.strip()))
    assert [row for row in rows if row[2] != row[3]] == []
    assert 10 < sum(row[3] for row in rows) < len(rows) - 10
    assert released.is_dir()

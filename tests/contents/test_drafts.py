"""Drafts of what the law asks for say what is known, with who says so, and leave the rest to be filled in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import MissingEvidenceError, UsageError
from custody.formats import osv
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.ports.inventory import Sighting
from custody.services.affected import ask
from custody.services.drafts import Draft, draft
from custody.services.rematch import refresh
from tests.cli.commands import custody
from tests.contents import images
from tests.contents.test_affected import catalog, package
from tests.contents.test_scan import record

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LATER = NOW + timedelta(hours=5)
CVE = "CVE-2026-0001"
HOSTILE = "a | b <script>x</script> [l](http://x) `c`\n# d"


class World:
    def __init__(self, folder: Path) -> None:
        self.store = SqliteInventory(folder / "inventory.db")
        self.advisories = SqliteAdvisories(folder / "advisories.db")
        self.advise("X-0", "other", [])
        refresh(self.store, self.advisories, NOW)

    def advise(self, name: str, about: str, aliases: list[str], **more: Any) -> None:
        stated = record(name, [{"introduced": "0"}, {"fixed": "2.0.0"}], ecosystem="npm", package=about, kind="SEMVER",
                        aliases=aliases)
        self.advisories.add([osv.read(msgspec.json.encode({**stated, **more}))], NOW)

    def draft(self, kind: str, question: str = CVE, **times: datetime) -> Draft:
        return draft(kind, ask(question, self.store, self.advisories), self.advisories, self.store, LATER, **times)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    world = World(tmp_path)
    for name, version in (("bad", "1.0.0"), ("good", "2.0.0"), ("odd", "latest")):
        entry = catalog(name, package("npm", "left", version, "npm"))
        world.store.keep(entry, NOW)
        world.store.see([Sighting(entry.digest, "name", f"r.example/{name}:1", NOW),
                         Sighting(entry.digest, "pod", f"c/shop/{name}", NOW)])
    refresh(world.store, world.advisories, NOW)
    world.advise("GHSA-1", "left", [CVE], summary=HOSTILE, severity=[
        {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}])
    refresh(world.store, world.advisories, NOW)
    return world


def fields(report: Draft, title: str) -> dict[str, Any]:
    (section,) = [section for section in report.sections if section.title == title]
    return {field.name: field.value for field in section.fields}


def test_cra_has_the_three_reports_and_their_times(world: World) -> None:
    world.advisories.add_exploited(ExploitedCatalogue(version="1", released="2026-02-01T00:00:00Z", entries=(
        Exploited(cve=CVE, added="2026-11-28", due="2026-12-19", ransomware=True),)), NOW)
    refresh(world.store, world.advisories, LATER)
    report = world.draft("cra", aware=LATER, corrected=NOW)
    assert [(section.rule, section.due) for section in report.sections] == [
        ("Article 14(2)(a)", "2026-11-30T05:00:00Z"), ("Article 14(2)(b)", "2026-12-02T05:00:00Z"),
        ("Article 14(2)(c)", "2026-12-13T00:00:00Z"), ("facts", "")]
    assert fields(report, "Early warning")["active exploitation"] == "known since 2026-11-28, by ransomware"
    notification = fields(report, "Notification")
    assert notification["images that have it"] == [f"r.example/bad:1@{catalog('bad').digest}: left 1.0.0"]
    assert notification["images of which it cannot be decided"] == [f"{catalog('odd').digest}: left latest"]
    assert notification["pods that run them"] == ["c/shop/bad"]
    assert notification["versions in which it is fixed"] == ["left: 2.0.0"]
    assert fields(report, "Final report")["severity"].startswith("critical (CVSS:3.1/")
    assert fields(report, "What custody saw") == {
        "first told of in an image": "2026-11-29T00:00:00Z", "first told of as exploited": "2026-11-29T05:00:00Z",
        "images that were asked": 3, "the newest of them was kept at": "2026-11-29T00:00:00Z"}


def test_what_nobody_knows_is_to_be_filled_in(world: World) -> None:
    document = world.draft("cra").to_json()
    assert [section["due"] for section in document["sections"]] == [""] * 4
    assert {"Early warning: active exploitation", "Early warning: when the manufacturer became aware",
            "Early warning: Member States in which it was made available",
            "Final report: malicious actor that has exploited or is exploiting it"} <= set(document["toBeFilledIn"])
    text = world.draft("vdr").to_markdown()
    assert "| internet-reachable | **to be filled in** |  |" in text
    assert "| time of detection | 2026-11-29T00:00:00Z | custody watch |" in text


def test_what_an_advisory_says_is_nothing_but_text(world: World) -> None:
    text = world.draft("cra").to_markdown()
    assert "<script" not in text
    assert "](http" not in text
    assert not [line for line in text.splitlines() if line.startswith("# d")]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}


def test_questions_about_no_vulnerability_are_refused(world: World) -> None:
    with pytest.raises(UsageError, match="is about a vulnerability"):
        world.draft("cra", "left")
    with pytest.raises(MissingEvidenceError, match="no advisory"):
        world.draft("cra", "CVE-1999-0001")


def test_nothing_is_signed_about_nothing(world: World) -> None:
    world.advise("GHSA-2", "nobody-has-it", ["CVE-2026-0002"])
    report = world.draft("vdr", "CVE-2026-0002")
    assert fields(report, "Supplementary information")["images that have it"] == []
    with pytest.raises(MissingEvidenceError, match="no image is affected"):
        report.statement()


def test_command(tmp_path: Path) -> None:
    images.layout(tmp_path / "image", [images.tar([("app/flask-1.0.dist-info/METADATA",
                                                    b"Name: flask\nVersion: 1.0\n")])])
    (tmp_path / "r.json").write_text(json.dumps(record("X-1", [{"introduced": "0"}], package="flask", aliases=[CVE])))
    assert custody("db", "import", "r.json", cwd=tmp_path).returncode == 0
    assert custody("scan", "oci:image", cwd=tmp_path).returncode == 0
    done = custody("affected", CVE, "--report", "cra", cwd=tmp_path)
    assert (done.returncode, done.stdout.startswith(f"# Draft: {CVE}\n")) == (0, True)
    assert custody("generate-key-pair", cwd=tmp_path, COSIGN_PASSWORD="").returncode == 0
    done = custody("affected", CVE, "--report", "vdr", "-o", "json", "-o", "bundle=b.json", "--key", "cosign.key",
                   "--aware", "2026-11-29T00:00:00Z", cwd=tmp_path, COSIGN_PASSWORD="")
    assert (done.returncode, "draft signed by" in done.stderr) == (0, True), done.stderr
    bundle = json.loads((tmp_path / "b.json").read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    document = json.loads(done.stdout)
    assert statement["predicate"]["sections"] == document["sections"]
    assert statement["subject"][0]["digest"]["sha256"] == document["images"][0].removeprefix("sha256:")
    for arguments, reason in ((("--aware", "2026-11-29T00:00:00Z"), "--aware: is of a report"),
                              (("--report", "cra", "-o", "table"), "not written"),
                              (("--report", "cra", "--aware", "today"), "--aware")):
        done = custody("affected", CVE, *arguments, cwd=tmp_path)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr

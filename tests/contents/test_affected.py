"""`affected`: answers over many images are what a scan of each says, and what nobody can say is not "none"."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import CustodyError, MalformedError, MissingEvidenceError, UnsupportedError
from custody.formats import osv
from custody.formats.bom import Catalog, Layer, Location, Package
from custody.kit.digest import sha256
from custody.ports.inventory import Sighting
from custody.services.affected import Answer, ask
from custody.versions import compare
from custody.vulns import component as components
from custody.vulns import question as questions
from custody.vulns.question import Condition, MarkAsked, PackageAsked, VulnerabilityAsked, parse
from custody.vulns.report import scan
from tests.cli.commands import custody
from tests.contents import images, jars
from tests.contents.test_scan import record

NOW = datetime(2026, 11, 29, tzinfo=UTC)
BASE, TOP = "sha256:" + "b" * 64, "sha256:" + "a" * 64


def package(kind: str, name: str, version: str, ecosystem: str | None, **more: object) -> Package:
    path = f"pkg:{kind}/{name}@{version}"
    return Package(**{"type": kind, "name": name, "version": version, "purl": path, "ecosystem": ecosystem,  # type: ignore[arg-type]
                      "source": name.replace("/", ":") if kind == "maven" else name, "source_version": version,
                      "locations": (Location(path=f"app/{name}", layer=TOP),), **more})


def catalog(name: str, *packages: Package) -> Catalog:
    return Catalog(name=name, digest=sha256(name.encode()), packages=packages, layers=tuple(
        Layer(digest=digest, diff_id=digest, entries=1, size=1) for digest in (BASE, TOP)))


def log4j(version: str) -> Package:
    return package("maven", "org.apache.logging.log4j/log4j-core", version, "Maven",
                   licenses=("Apache-2.0 OR MIT",), hashes=(("sha1", "ab" * 20),))


@pytest.fixture(name="inventory")
def _inventory(tmp_path: Path) -> SqliteInventory:
    store = SqliteInventory(tmp_path / "inventory.db")
    store.keep(catalog("old", log4j("2.14.1")), NOW)
    store.keep(catalog("new", log4j("2.17.1"), package("npm", "@babel/core", "7.0.0", "npm")), NOW)
    store.keep(catalog("odd", log4j("2.0.foo"), package("generic", "redis", "7.2.0", None)), NOW)
    store.see([Sighting(sha256(b"old"), "name", "r.example/old:1", NOW),
               Sighting(sha256(b"old"), "pod", "c/shop/web-1", NOW)])
    return store


@pytest.fixture(name="advisories")
def _advisories(tmp_path: Path) -> SqliteAdvisories:
    store = SqliteAdvisories(tmp_path / "advisories.db")
    store.add([osv.read(msgspec.json.encode(record(
        "GHSA-jfh8-c2jp-5v3q", [{"introduced": "2.0-beta9"}, {"fixed": "2.15.0"}], ecosystem="Maven",
        package="org.apache.logging.log4j:log4j-core", aliases=["CVE-2021-44228"])))], NOW)
    return store


def images_of(answer: Answer) -> list[str]:
    names = {sha256(name.encode()): name for name in ("old", "new", "odd")}
    return sorted(names[row.image] for row in answer.affected)


@pytest.mark.parametrize(("text", "affected", "undecided"), [
    ("log4j-core", ["new", "odd", "old"], 0),
    ("Log4J-Core@<2.17", ["odd", "old"], 0),
    ("org.apache.logging.log4j:log4j-core@>=2.15", ["new"], 0),
    ("pkg:maven/org.apache.logging.log4j/log4j-core@<2.17", ["odd", "old"], 0),
    ("pkg:maven/org.apache.logging.log4j/log4j-core@2.17.1", ["new"], 0),
    ("pkg:maven/com.example/log4j-core", [], 0),
    ("pkg:npm/log4j-core", [], 0),
    ("log4j-core@=2.14.1 || >2.17", ["new", "old"], 0),
    ("log4j-core@>2.1 <2.17 !=2.14.1", [], 0),
    ("@babel/core", ["new"], 0),
    ("@babel/core@<7", [], 0),
    ("pkg:npm/@babel/core@<=7.0.0", ["new"], 0),
    ("pkg:npm/%40babel/core", ["new"], 0),
    ("core", ["new"], 0),
    ("redis@<8", ["odd"], 0),
    ("redis@<unstable", [], 1),
    ("redis@7.2.0", ["odd"], 0),
    ("nobody", [], 0),
    ("license:apache-2.0", ["new", "odd", "old"], 0),
    ("license:Apache-2.0 OR MIT", ["new", "odd", "old"], 0),
    ("license:GPL-3.0-only", [], 0),
    ("sha1:" + "AB" * 20, ["new", "odd", "old"], 0),
    ("ab" * 20, ["new", "odd", "old"], 0),
    (sha256(b"old"), ["old"], 0),
    ("sha256:" + "0" * 64, [], 0)])
def test_questions(inventory: SqliteInventory, advisories: SqliteAdvisories, text: str, affected: list[str],
                   undecided: int) -> None:
    answer = ask(text, inventory, advisories)
    assert (images_of(answer), len(answer.undecided), answer.images) == (affected, undecided, 3)


@pytest.mark.parametrize("name", ["CVE-2021-44228", "cve-2021-44228", "GHSA-jfh8-c2jp-5v3q", "GHSA-JFH8-C2JP-5V3Q"])
def test_a_vulnerability_by_any_of_its_names(inventory: SqliteInventory, advisories: SqliteAdvisories,
                                             name: str) -> None:
    answer = ask(name, inventory, advisories)
    row = next(row for row in answer.affected if row.image == sha256(b"old"))
    assert images_of(answer) == ["odd", "old"]
    assert (row.vulnerability, row.fixed, row.why) == (
        "CVE-2021-44228", ("2.15.0",), "GHSA-jfh8-c2jp-5v3q: introduced 2.0-beta9, fixed 2.15.0")
    assert row.locations == (Location(path="app/org.apache.logging.log4j/log4j-core", layer=TOP),)
    assert (answer.where[row.image].names, answer.where[row.image].pods) == (("r.example/old:1",), ("c/shop/web-1",))


def test_what_nobody_can_say_is_missing(tmp_path: Path, inventory: SqliteInventory,
                                        advisories: SqliteAdvisories) -> None:
    empty = SqliteInventory(tmp_path / "empty.db")
    with pytest.raises(MissingEvidenceError, match="no image is kept"):
        ask("log4j-core", empty, advisories)
    with pytest.raises(MissingEvidenceError, match="no advisory in the database names CVE-2026-9999"):
        ask("CVE-2026-9999", inventory, advisories)
    with pytest.raises(MissingEvidenceError, match="database is empty"):
        ask("CVE-2026-9999", inventory, SqliteAdvisories(tmp_path / "none.db"))


def test_what_a_distribution_installed_is_left_to_its_advisories(tmp_path: Path, advisories: SqliteAdvisories) -> None:
    deb = package("deb", "liblog4j2-java", "2.17.1-1", "Debian:12", source="apache-log4j2")
    jar = msgspec.structs.replace(log4j("2.14.1"), owner=deb.purl)
    store = SqliteInventory(tmp_path / "owned.db")
    store.keep(catalog("owned", deb, jar), NOW)
    assert len(ask("CVE-2021-44228", store, advisories).affected) == 1
    advisories.add([osv.read(msgspec.json.encode(record(
        "DSA-1", [{"introduced": "0"}, {"fixed": "2.15-1"}], ecosystem="Debian:12", package="apache-log4j2",
        upstream=["CVE-2021-44228"])))], NOW)
    assert ask("CVE-2021-44228", store, advisories).affected == ()


@pytest.mark.parametrize(("text", "error", "reason"), [
    ("", MalformedError, "expected 1 to"), ("a@", MalformedError, "versions behind the '@'"),
    ("a@^1.2", UnsupportedError, "range of one ecosystem's own"), ("a@~>1.2", UnsupportedError, "range of one"),
    ("a@1.*", UnsupportedError, "range of one"), ("a@<1 ||", MalformedError, "each side"),
    ("a@<", MalformedError, "versions with <"), ("sha256:12", MalformedError, "hexadecimal digits"),
    ("license:", MalformedError, "license:NAME"), ("pkg:maven/log4j", MalformedError, "namespace"),
    ("a@vers:npm/<2", UnsupportedError, "vers ranges"), ("oci:image", UnsupportedError, "target of"),
    ("pkg:npm/a#b", UnsupportedError, "subpath"), ("x" * 3000, MalformedError, "2000 characters")])
def test_what_is_no_question(text: str, error: type[CustodyError], reason: str) -> None:
    with pytest.raises(error, match="(?s).*" + reason.replace("|", r"\|")):
        parse(text)


def test_how_questions_are_read() -> None:
    assert parse("RUSTSEC-2021-0001") == VulnerabilityAsked("RUSTSEC-2021-0001")
    assert parse("go-yaml") == PackageAsked("go-yaml", None, ())
    assert parse("a@>= 1.0, <2") == PackageAsked("a", None, ((Condition(">=", "1.0"), Condition("<", "2")),))
    assert parse("pkg:deb/debian/openssl@1:3.0~rc1-1+b1") == PackageAsked(
        "openssl", parse("pkg:deb/debian/openssl").purl, ((Condition("=", "1:3.0~rc1-1+b1"),),))  # type: ignore[union-attr]
    assert parse("AB" * 32) == MarkAsked("sha256:" + "ab" * 32)


def test_who_signed_it(inventory: SqliteInventory, advisories: SqliteAdvisories) -> None:
    old, new, odd = (sha256(name) for name in (b"old", b"new", b"odd"))
    inventory.see([Sighting(old, "signer", "ann (https://i.example)", NOW), Sighting(old, "signer", "", NOW),
                   Sighting(new, "signer", "", NOW)])
    answer = ask("log4j-core", inventory, advisories)
    assert [answer.where[digest].signers for digest in (old, new, odd)] == [("ann (https://i.example)",), (), None]
    assert {row["image"]: row["signers"] for row in json.loads(answer.to_json())["affected"]} == {
        old: ["ann (https://i.example)"], new: [], odd: None}


def test_a_layer_by_either_digest(tmp_path: Path, advisories: SqliteAdvisories) -> None:
    store = SqliteInventory(tmp_path / "inventory.db")
    blob, tar = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    entry = msgspec.structs.replace(catalog("one"), layers=(Layer(digest=blob, diff_id=tar, entries=1, size=1),))
    store.keep(entry, NOW)  # it has no package
    store.keep(catalog("two"), NOW)
    for digest in (blob, tar):
        (row,) = ask(digest, store, advisories).affected
        assert (row.image, row.why, row.locations) == (entry.digest, "has this layer", (Location(path="", layer=blob),))
    store.keep(catalog("one"), NOW)
    assert ask(blob, store, advisories).affected == ()
    assert len(ask(BASE, store, advisories).affected) == 2
    store.forget(entry.digest)
    assert len(ask(BASE, store, advisories).affected) == 1


def test_three_hundred_images_against_a_scan_of_each(tmp_path: Path) -> None:
    """The slow way round: every image scanned, every package compared."""
    chance = random.Random(13)
    kinds = [("npm", "npm"), ("pypi", "PyPI"), ("maven", "Maven"), ("deb", "Debian:12")]
    versions = ["0.9", "1.0", "1.0.1", "1.2.0-rc1", "1.10", "2.0", "2.0.foo", "2.1-1", "latest", ""]

    def some(kind: str, ecosystem: str) -> Package:
        name = f"p{chance.randrange(12)}"
        return package(kind, f"g/{name}" if kind == "maven" else name, chance.choice(versions), ecosystem)

    bases = [[some(*chance.choice(kinds)) for _ in range(10)] for _ in range(8)]
    catalogs = []
    for number in range(300):
        packages = {row.purl: row for row in [*chance.choice(bases), *(some(*chance.choice(kinds)) for _ in range(5))]}
        owner = next((row for row in packages.values() if row.type == "deb"), None)
        if owner is not None and number % 3 == 0:
            packages = {purl: msgspec.structs.replace(row, owner=owner.purl) if row.type == "pypi" else row
                        for purl, row in packages.items()}
        catalogs.append(catalog(f"i{number}", *packages.values()))
    inventory, advisories = SqliteInventory(tmp_path / "i.db"), SqliteAdvisories(tmp_path / "a.db")
    for entry in catalogs:
        inventory.keep(entry, NOW)
    records = []
    for number in range(60):
        kind, ecosystem = chance.choice(kinds)
        name = f"p{chance.randrange(14)}"
        events = [{"introduced": chance.choice(["0", "1.0"])}, {chance.choice(["fixed", "last_affected"]): "1.10"}]
        records.append(record(f"X-{number:03}", events, ecosystem=ecosystem,
                              package=f"g:{name}" if kind == "maven" else name,
                              **{chance.choice(["aliases", "upstream"]): [f"CVE-2026-{number % 25:04}"]}))
    advisories.add([osv.read(msgspec.json.encode(entry)) for entry in records], NOW)

    reports = [scan(entry, advisories, NOW) for entry in catalogs]
    for number in range(25):
        name = f"CVE-2026-{number:04}"
        answer = ask(name, inventory, advisories)
        assert {(row.image, row.purl) for row in answer.affected} == {
            (report.digest, finding.purl) for report in reports for finding in report.findings
            if name in (finding.cve, finding.id, *finding.aliases)}
        assert {(row.image, row.purl) for row in answer.undecided} == {
            (report.digest, unsure.purl) for report in reports for unsure in report.undecided
            if unsure.id in answer.advisories}
    for text in ("p3", "p3@<1.10", "p4@>=1.0,<2 || 2.0", "p5@>1.0.1", "p6@<=2.1-1", "pkg:npm/p7@<1.2", "p1@!=1.0"):
        answer = ask(text, inventory, advisories)
        expected: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
        for entry in catalogs:
            for row in entry.packages:
                decided = _slowly(text, row)
                if decided is not None:
                    expected[decided].add((entry.digest, row.purl))
        assert {(row.image, row.purl) for row in answer.affected} == expected[True], text
        assert {(row.image, row.purl) for row in answer.undecided} == expected[False], text


def _slowly(text: str, row: Package) -> bool | None:
    """Whether it is asked for; False where that cannot be said, None where it is not."""
    name, _, versions = text.removeprefix("pkg:npm/").partition("@")
    if row.name.rpartition("/")[2] != name or ("pkg:npm" in text and row.type != "npm"):
        return None
    unsure = False
    alternatives = questions.read_versions(versions) if versions else ((),)
    for conditions in alternatives:
        outcomes: list[bool | None] = []
        for sign, version in conditions:
            try:
                if not row.version:
                    raise MalformedError("", got="", expected="")
                order = compare(row.ecosystem or "", row.version, version)
                outcomes.append({"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0, "=": order == 0,
                                 "!=": order != 0}[sign])
            except CustodyError:
                outcomes.append((row.version == version) == (sign == "=") if row.version and sign in ("=", "!=")
                                else None)
        if all(outcomes):
            return True
        unsure |= False not in outcomes
    return False if unsure else None


def test_commands(tmp_path: Path) -> None:
    images.layout(tmp_path / "image", [images.tar([("app/flask-1.0.dist-info/METADATA",
                                                    b"Name: flask\nVersion: 1.0\nLicense-Expression: MIT\n")])])
    assert custody("affected", "flask", cwd=tmp_path).returncode == 4
    assert custody("scan", "oci:image", "--allow-empty-db", "--no-keep", cwd=tmp_path).returncode == 0
    assert custody("affected", "flask", cwd=tmp_path).returncode == 4
    assert custody("scan", "oci:image", "--allow-empty-db", cwd=tmp_path).returncode == 0
    done = custody("affected", "flask@<2", cwd=tmp_path)
    assert (done.returncode, "oci:image@sha256:" in done.stdout, "1.0 is <2" in done.stdout) == (0, True, True)
    assert "flask@<2: affects 1 of 1 image" in done.stderr
    assert custody("affected", "flask@<2", "--fail", cwd=tmp_path).returncode == 3
    done = custody("affected", "flask@>2", "--fail", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "none of 1 image\n")
    document = json.loads(custody("affected", "license:MIT", "-o", "json", cwd=tmp_path).stdout)
    assert (document["affectedImages"], document["affected"][0]["names"]) == (1, ["oci:image"])
    assert custody("affected", "flask@^2", cwd=tmp_path).returncode == 2
    for address, code, reason in (("postgresql://127.0.0.1:1/x", 6, "--offline opens no socket"),
                                  ("mysql://x", 2, "expected postgresql://")):
        done = custody(*(["--offline"] if code == 6 else []), "affected", "flask", cwd=tmp_path,
                       CUSTODY_INVENTORY=address)
        assert (done.returncode, reason in done.stderr) == (code, True)
    assert custody("sbom", "oci:image", "--keep", cwd=tmp_path).returncode == 0


def test_a_file_by_the_hashes_that_are_kept_of_it(tmp_path: Path) -> None:
    """Of a Java archive SHA-1 and SHA-512; a person has the file, or one of its hashes."""
    archive = jars.library("org.example", "left", "1.0")
    (tmp_path / "left.jar").write_bytes(archive)
    (tmp_path / "right.jar").write_bytes(archive + b"x")
    images.layout(tmp_path / "image", [images.tar([("srv/left.jar", archive)])])
    assert custody("scan", "oci:image", "--allow-empty-db", cwd=tmp_path).returncode == 0
    known, strong = hashlib.sha1(archive).hexdigest(), hashlib.sha512(archive).hexdigest()
    for question in ("file:left.jar", f"sha512:{strong}", known):
        document = json.loads(custody("affected", question, "-o", "json", cwd=tmp_path).stdout)
        assert [row["purl"] for row in document["affected"]] == ["pkg:maven/org.example/left@1.0"]
    assert custody("affected", "file:right.jar", cwd=tmp_path).stdout == "none of 1 image\n"
    done = custody("affected", "file:gone", cwd=tmp_path)
    assert (done.returncode, "file:gone: No such file or directory" in done.stderr) == (2, True)


@given(st.one_of(st.text(max_size=40), st.text("pkg:/npma@<>=!|, .1~^%?#-", max_size=40),
                 st.from_regex(r"(pkg:npm/)?[a-z@/]{1,8}@[<>=!]{0,2} ?[0-9.a-z~]{1,8}( ?[,|]{1,2} ?[<>=]?[0-9.]{0,5})?",
                               fullmatch=True)))
def test_any_text_is_a_question_or_refused(text: str) -> None:
    try:
        question = parse(text)
    except CustodyError:
        return
    if isinstance(question, PackageAsked):
        low, high = questions.bounds(question, "npm")
        for version in ("0.0.1", "1.0.0", "2.3.4-rc.1", "99.0.0"):
            name = components.Name(question.name, "npm", version)
            with contextlib.suppress(CustodyError):
                if questions.holds(question.versions, name):  # what is asked for lies within the bounds of the index
                    assert name.rank is not None
                    assert low is None or low <= name.rank
                    assert high is None or name.rank <= high

"""What ceases to count, and counts again: by VEX, ignore files, options; each change is told once, with its cause."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.formats import intoto
from custody.formats.vex import read as of_file
from custody.kit.pae import pae
from custody.ports.findings import Word
from custody.services.attestedvex import Heard
from custody.services.counting import Said, Words
from custody.services.rematch import Refreshed, refresh
from custody.services.verify import Terms
from custody.sign.keys import PrivateKey, generate_key
from custody.sign.verify import Trust
from custody.vulns.severity import Severity
from custody.vulns.vex.waivers import Spoken
from tests.cli.commands import custody
from tests.contents import images
from tests.contents.test_affected import catalog
from tests.contents.test_rematch import World
from tests.contents.test_scan import record
from tests.sign.authority import b64

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LEFT = "pkg:npm/left@1.0.0"


def vex(path: Path, product: str = "pkg:npm/left", status: str = "not_affected", name: str = "X-1", *,
        version: int = 1, **more: Any) -> None:
    reason = {"justification": "vulnerable_code_not_present"} if status == "not_affected" else {
        "action_statement": "update"} if status == "affected" else {}
    path.write_text(json.dumps({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": f"https://example.org/{path.name}", "author": "shop",
        "timestamp": f"2026-11-{version:02}T00:00:00Z", "version": version, "statements": [
            {"vulnerability": {"name": name}, "products": [{"@id": product}], "status": status, **reason, **more}]}))


class Counted(World):
    """Images a and b have left@1.0.0, which X-1 is about."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.vex, self.rules = folder / "vex", folder / ".custodyignore"
        self.vex.mkdir()
        self.rules.write_text("ignore: []\n")
        self.said = Said(vex=(self.vex,), ignorefiles=(self.rules,))
        self.keep("a", "1.0.0", tag="shop:1")
        self.keep("b", "1.0.0", tag="plant:1")
        self.advise()

    def look(self, now: datetime = NOW) -> Refreshed:
        return refresh(self.store, self.advisories, now, words=Words(self.said, now))

    def aside(self) -> dict[str, list[tuple[str, str]]]:
        return {digest: sorted(entries) for digest, entries in self.store.aside().items()}

    def ignore(self, **rule: str) -> None:
        self.rules.write_text(json.dumps({"ignore": [{"id": "X-1", "reason": "not reachable", **rule}]}))


@pytest.fixture(name="counted")
def _counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def test_a_statement_that_comes_and_goes(counted: Counted) -> None:
    counted.look()
    assert counted.told() == []
    vex(counted.vex / "a.json")
    counted.look()
    counted.look()
    assert counted.told() == [("disappeared", "vex", "X-1 left@1.0.0", 2)]
    (event,) = [event for _, event in counted.store.events(0, 9)]
    assert event.word == Word(status="not_affected", reason="vulnerable_code_not_present", by="the user",
                              source=f"{counted.vex}/a.json: statements[0]")
    (counted.vex / "a.json").unlink()
    counted.look()
    counted.look()
    assert counted.told() == [("appeared", "vex", "X-1 left@1.0.0", 2)]
    assert counted.aside() == {}


def test_a_newer_statement_takes_it_back(counted: Counted) -> None:
    vex(counted.vex / "a.json")
    counted.look()
    vex(counted.vex / "b.json", status="affected", version=2)
    counted.look()
    assert counted.told() == [("appeared", "vex", "X-1 left@1.0.0", 2)]


def test_a_statement_about_an_image_is_of_that_image(counted: Counted) -> None:
    counted.look()
    vex(counted.vex / "a.json", catalog("a").digest)
    counted.look()
    assert counted.told() == [("disappeared", "vex", "X-1 left@1.0.0", 1)]
    assert counted.aside() == {catalog("a").digest: [(LEFT, "X-1")]}


def test_a_statement_by_another_name_of_it(counted: Counted) -> None:
    counted.advise(aliases=["CVE-2026-0001", "GHSA-aaaa-bbbb-cccc"])
    counted.look()
    vex(counted.vex / "a.json", name="GHSA-aaaa-bbbb-cccc")
    counted.look()
    assert counted.told() == [("disappeared", "vex", "CVE-2026-0001 left@1.0.0", 2)]


@pytest.mark.parametrize("spoilt", ["{", "[]", '{"payloadType": "x", "signatures": []}'])
def test_what_cannot_be_read_does_not_count(counted: Counted, spoilt: str) -> None:
    vex(counted.vex / "a.json")
    counted.look()
    (counted.vex / "a.json").write_text(spoilt)
    (unread,) = Words(counted.said, NOW).unread
    assert "a.json" in unread
    counted.look()
    assert counted.told() == [("appeared", "vex", "X-1 left@1.0.0", 2)]


def test_a_statement_of_the_future_waits_for_its_time(counted: Counted) -> None:
    counted.look()
    vex(counted.vex / "a.json", timestamp="2026-12-03T00:00:00Z")
    counted.look()
    assert counted.told() == []
    counted.look(NOW + timedelta(days=5))
    assert counted.told() == [("disappeared", "vex", "X-1 left@1.0.0", 2)]


def test_a_rule_that_comes_and_expires(counted: Counted) -> None:
    counted.look()
    counted.ignore(until="2026-11-30", by="alice")
    counted.look()
    assert counted.told() == [("disappeared", "policy", "X-1 left@1.0.0", 2)]
    counted.look(NOW + timedelta(days=1))
    assert counted.told() == []
    counted.look(NOW + timedelta(days=2))
    (event,) = [event for _, event in counted.store.events(1, 9)]
    assert (event.change, event.cause, event.affected) == ("appeared", "policy", 2)
    assert event.word is not None
    assert (event.word.by, event.word.until) == ("alice", "2026-12-01T00:00:00Z")


def test_options_are_a_policy(counted: Counted) -> None:
    counted.look()
    counted.said = Said(severities=frozenset({Severity.CRITICAL}))
    counted.look()
    assert counted.told() == [("disappeared", "policy", "X-1 left@1.0.0", 2)]
    counted.said = Said(ignore_unfixed=True)  # it is fixed in 2.0.0
    counted.look()
    assert counted.told() == [("appeared", "policy", "X-1 left@1.0.0", 2)]


def test_an_advisory_of_what_does_not_count_tells_nothing(counted: Counted) -> None:
    vex(counted.vex / "a.json", catalog("a").digest, name="X-2")
    counted.look()
    counted.advise("X-2")
    counted.look()
    assert counted.told() == [("appeared", "advisory", "X-2 left@1.0.0", 1)]
    counted.advise("X-2", fixed="3.0.0")
    counted.look()
    assert counted.told() == [("changed", "advisory", "X-2 left@1.0.0", 1)]
    counted.advise("X-2", withdrawn="2026-12-01T00:00:00Z")
    counted.look()
    assert counted.told() == [("disappeared", "advisory", "X-2 left@1.0.0", 1)]
    assert counted.aside() == {}


def test_an_advisory_may_end_what_an_option_left_out(counted: Counted) -> None:
    counted.said = Said(ignore_unfixed=True)
    counted.look()
    counted.advise("X-2", affected=[{"package": {"ecosystem": "npm", "name": "left"}, "versions": ["1.0.0"]}])
    counted.look()
    assert counted.told() == []
    counted.advise("X-2")
    counted.look()
    assert counted.told() == [("appeared", "advisory", "X-2 left@1.0.0", 2)]


def test_the_first_look_tells_nothing_of_what_was_said_before(counted: Counted) -> None:
    vex(counted.vex / "a.json")
    counted.look()
    assert counted.told() == []
    assert len(counted.aside()) == 2


def test_an_image_comes_for_which_it_does_not_count(counted: Counted) -> None:
    vex(counted.vex / "a.json")
    counted.look()
    counted.keep("c", "1.0.0", tag="shop:2")
    counted.look()
    assert counted.told() == []
    assert catalog("c").digest in counted.aside()
    (counted.vex / "a.json").unlink()
    counted.look()
    assert counted.told() == [("appeared", "vex", "X-1 left@1.0.0", 3)]


def test_an_image_takes_the_place_of_one_in_which_it_counted(counted: Counted) -> None:
    vex(counted.vex / "c.json", catalog("c").digest)
    counted.look()
    counted.keep("c", "1.0.0", tag="shop:1")
    counted.look()
    assert counted.told() == [("disappeared", "vex", "X-1 left@1.0.0", 1)]


def test_an_image_that_is_read_again(counted: Counted) -> None:
    """What did not count of it before has not disappeared."""
    vex(counted.vex / "a.json", catalog("a").digest)
    counted.look()
    counted.store.keep(catalog("a"), NOW)  # nothing is in it any more
    counted.look()
    assert counted.told() == []
    assert counted.aside() == {}
    counted.store.forget(catalog("a").digest)


def test_without_words_all_counts_again(counted: Counted) -> None:
    vex(counted.vex / "a.json")
    counted.look()
    counted.refresh()
    assert counted.told() == [("appeared", "vex", "X-1 left@1.0.0", 2)]


def test_what_is_attested_is_of_that_image_and_stays_while_nobody_can_be_asked(counted: Counted) -> None:
    digest, other = catalog("a").digest, catalog("b").digest
    counted.said = Said(attested=True)

    def look(heard: Heard) -> list[tuple[str, str, str, int]]:
        refresh(counted.store, counted.advisories, NOW, words=Words(counted.said, NOW, None, heard))
        return counted.told()

    vex(counted.vex / "a.json")  # a package, whatever the image: but it is attested about one
    spoken = (Spoken(document=of_file((counted.vex / "a.json").read_bytes(), "a"), source="referrer 1", by="key 1"),)
    assert look(Heard()) == []
    assert look(Heard(spoken={digest: spoken})) == [("disappeared", "vex", "X-1 left@1.0.0", 1)]
    assert counted.aside() == {digest: [(LEFT, "X-1")]}
    unknown = Heard(unknown=frozenset({digest, other}), failures=("registry: no answer",))
    assert look(unknown) == []
    assert counted.aside() == {digest: [(LEFT, "X-1")]}
    assert Words(counted.said, NOW, None, unknown).unread == ["registry: no answer"]
    assert look(Heard()) == [("appeared", "vex", "X-1 left@1.0.0", 1)]
    assert look(unknown) == []
    assert counted.aside() == {}


def sign(path: Path, key: PrivateKey, *digests: str) -> None:
    """What a plain document says, signed about these images."""
    document = json.loads(path.read_text())
    payload = json.dumps({"_type": intoto.STATEMENT, "predicateType": "https://openvex.dev/ns/v0.2.0",
                          "predicate": document, "subject": [
                              {"name": "", "digest": {"sha256": digest.removeprefix("sha256:")}} for digest in digests]
                          }).encode()
    path.write_text(json.dumps({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": key.public.hint}},
        "dsseEnvelope": {"payload": b64(payload), "payloadType": intoto.PAYLOAD_TYPE,
                         "signatures": [{"sig": b64(key.sign(pae(intoto.PAYLOAD_TYPE, payload)))}]}}))


def trusting(key: PrivateKey) -> Terms:
    return Terms(Trust(keys=(key.public,), require_log=False))


def test_a_signed_document_counts_as_long_as_its_key_is_trusted(counted: Counted) -> None:
    """The file stays the same, and ceases to count when another key is trusted; why is said."""
    first, second = generate_key(), generate_key()
    counted.look()
    vex(counted.vex / "a.json")
    sign(counted.vex / "a.json", first, catalog("a").digest, catalog("b").digest)

    def look(terms: Terms | None, now: datetime = NOW) -> list[tuple[str, str, str, int]]:
        refresh(counted.store, counted.advisories, now, words=Words(counted.said, now, terms))
        return counted.told()

    assert look(trusting(first)) == [("disappeared", "vex", "X-1 left@1.0.0", 2)]
    assert Words(counted.said, NOW, trusting(first)).unread == []
    assert look(trusting(first)) == []
    assert look(trusting(second)) == [("appeared", "vex", "X-1 left@1.0.0", 2)]
    (reason,) = Words(counted.said, NOW, trusting(second)).unread
    assert reason == f"{counted.vex}/a.json: not verified: signature: the signature is not this key's over these bytes"
    assert look(trusting(first)) == [("disappeared", "vex", "X-1 left@1.0.0", 2)]
    assert look(None) == [("appeared", "vex", "X-1 left@1.0.0", 2)]
    (reason,) = Words(counted.said, NOW).unread
    assert "nobody was chosen whose word counts" in reason


def test_a_signed_document_is_of_the_images_that_it_names(counted: Counted) -> None:
    key = generate_key()
    counted.look()
    vex(counted.vex / "a.json", timestamp="2026-12-03T00:00:00Z")
    sign(counted.vex / "a.json", key, catalog("b").digest)
    for days, told in ((0, []), (5, [("disappeared", "vex", "X-1 left@1.0.0", 1)])):
        now = NOW + timedelta(days=days)  # its own time is in between
        refresh(counted.store, counted.advisories, now, words=Words(counted.said, now, trusting(key)))
        assert counted.told() == told
    assert counted.aside() == {catalog("b").digest: [(LEFT, "X-1")]}


def test_a_signed_document_that_is_no_vex(counted: Counted) -> None:
    key = generate_key()
    vex(counted.vex / "a.json")
    sign(counted.vex / "a.json", key, catalog("a").digest)
    text = json.loads((counted.vex / "a.json").read_text())
    payload = intoto.statement(catalog("a").digest, "https://example.com/notes", {}).to_bytes()
    text["dsseEnvelope"] |= {"payload": b64(payload), "signatures": [
        {"sig": b64(key.sign(pae(intoto.PAYLOAD_TYPE, payload)))}]}
    (counted.vex / "a.json").write_text(json.dumps(text))
    assert Words(counted.said, NOW, trusting(key)).unread == [
        f"{counted.vex}/a.json: it is signed, and no VEX document"]


def test_a_folder_that_cannot_be_listed(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    vex(counted.vex / "a.json")

    def refuse(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert Words(counted.said, NOW).unread == [f"{counted.vex}: Permission denied"]


def test_command(tmp_path: Path) -> None:
    """A statement put beside it."""
    images.layout(tmp_path / "image", [images.tar([("app/flask-1.0.dist-info/METADATA",
                                                    b"Name: flask\nVersion: 1.0\n")])])
    (tmp_path / "r.json").write_text(json.dumps(record("X-1", [{"introduced": "0"}], package="flask")))
    assert custody("db", "import", "r.json", cwd=tmp_path).returncode == 0
    assert custody("scan", "oci:image", cwd=tmp_path).returncode == 0
    (tmp_path / "vex").mkdir()
    (tmp_path / "custody.toml").write_text('[counting]\nvex = ["vex"]\n')
    assert custody("watch", "--once", cwd=tmp_path).stdout == ""
    vex(tmp_path / "vex" / "flask.json", "pkg:pypi/flask")
    done = custody("watch", "--once", cwd=tmp_path)
    assert " disappeared unknown X-1 in pkg:pypi/flask@1.0 (vex; 1 image, not_affected by the user: " in done.stdout
    assert custody("watch", "--once", "--vex", "vex", cwd=tmp_path).stdout == ""  # the same as the settings say
    (tmp_path / "vex" / "flask.json").write_text("{")
    done = custody("watch", "--once", cwd=tmp_path)
    assert " appeared unknown X-1 in pkg:pypi/flask@1.0 (vex; 1 image, no longer not_affected" in done.stdout
    assert "flask.json" in done.stderr
    assert "it does not count" in done.stderr
    done = custody("watch", "--once", "--severity", "critical", cwd=tmp_path)
    assert " disappeared unknown X-1 in pkg:pypi/flask@1.0 (policy; 1 image, left out: severity" in done.stdout
    done = custody("watch", "--once", "--vex", "gone", cwd=tmp_path)
    assert done.returncode == 2
    assert custody("watch", "--once", "--vex-key", "k.pub", cwd=tmp_path).returncode == 2

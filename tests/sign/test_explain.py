"""`--explain`: every step of every signature, the same verdict as without, and one failed step for each that does not
count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.errors import Check
from custody.evidence.model import Verified
from custody.kit.clock import format_rfc3339
from custody.services.telling import Telling
from custody.services.verify import Terms, Unlogged, judge, judge_all
from custody.sign.identity import Identity
from custody.sign.referrers import Gathered
from custody.sign.steps import SIGSTORE, SILENT, WHO, Fault, Step, StepResult, Trace
from custody.sign.verify import Trust
from tests.sign.authority import IDENTITY, IMAGE, ISSUER, NOW, World, evidence
from tests.sign.site import PERSON, Site

WORLD = World()
ROOT = WORLD.trusted_root()


def documents(text: str) -> list[dict[str, Any]]:
    told, = (json.loads(line) for line in text.splitlines())
    listed: list[dict[str, Any]] = told["documents"]
    return listed


def step(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The last one of that name: there may be several timestamps."""
    found: dict[str, Any] = [entry for entry in document["steps"] if entry["step"] == name][-1]
    return found


def failures(document: dict[str, Any]) -> Iterator[str]:
    return (entry["code"] for entry in document["steps"] if entry["result"] == "failed")


@pytest.mark.parametrize(("asked", "code"), [
    (Identity(IDENTITY, issuer=ISSUER), None),
    (Identity("somebody@example.com", issuer=ISSUER), "identity.refused"),
    (Identity(IDENTITY, issuer="https://evil.example"), "issuer.refused"),
    (Identity(IDENTITY, issuer=ISSUER, claims={"githubWorkflowRepository": "evil/app"}), "claims.refused")])
def test_who_signed_is_three_steps(asked: Identity, code: str | None) -> None:
    trace, terms = Trace(), Terms(Trust(ROOT), asked.mismatch, compared=asked.compared)
    item = evidence(WORLD.keyless())
    assert judge(item, terms, NOW, trace) == judge(item, terms, NOW)
    failed = trace.failure
    assert (failed.code if failed else None) == code
    assert failed is None or failed.check is Check.IDENTITY
    order = [Step.IDENTITY, Step.ISSUER, Step.CLAIMS]
    last = order.index(failed.step) if failed else 3
    passed = [entry.step for entry in trace.taken if entry.result is StepResult.PASSED]
    assert [name for name in order if name in passed] == order[:min(last, 2)]


def test_all_steps_are_said_once_for_a_signature_with_one_entry_and_one_timestamp() -> None:
    trace = Trace()
    judge(evidence(WORLD.keyless()), Terms(Trust(ROOT)), NOW, trace)
    assert [entry.step for entry in trace.taken] == [*SIGSTORE, *WHO]
    assert {entry.step for entry in trace.taken if entry.result is StepResult.NOT_ASKED} >= set(WHO)
    validity = next(entry for entry in trace.taken if entry.step is Step.VALIDITY)
    assert validity.detail == f"{format_rfc3339(NOW)} (https://tsa.example)"  # whose time it is


def test_the_time_of_a_log_is_said_to_be_its() -> None:
    trace = Trace()
    judge(evidence(WORLD.keyless(kind="dsse")), Terms(Trust(ROOT)), NOW, trace)
    details = {entry.step: entry.detail for entry in trace.taken}
    assert ROOT.tlogs[0].base_url in details[Step.LOG_PROMISE]
    assert f"({ROOT.tlogs[0].base_url})" in details[Step.VALIDITY]


def test_terms_that_fall_back_tell_the_steps_that_count() -> None:
    document = WORLD.keyless()
    document["verificationMaterial"]["tlogEntries"] = []
    trace = Trace()
    judged = judge(evidence(document), Terms(Trust(ROOT), unlogged=Unlogged.ANYBODY), NOW, trace)
    assert isinstance(judged, Verified)
    assert trace.failure is None
    assert len(trace.taken) == len({entry.step for entry in trace.taken})
    assert Step.LOG_ENTRY in {entry.step for entry in trace.taken if entry.result is StepResult.NOT_ASKED}


def test_a_fault_of_the_verifier_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("custody.sign.verify.check_binding", broken)
    trace = Trace()
    judge(evidence(WORLD.keyless()), Terms(Trust(ROOT)), NOW, trace)
    assert trace.failure is not None
    assert (trace.failure.step, trace.failure.fault) == (Step.LOG_ENTRY, Fault.INTERNAL)


def test_who_does_not_ask_keeps_nothing() -> None:
    judge(evidence(WORLD.keyless()), Terms(Trust(ROOT)), NOW)
    judge(evidence(WORLD.keyless()), Terms(Trust(None)), NOW)
    assert SILENT.taken == []
    assert not SILENT.asked


def test_what_was_not_reached_is_said() -> None:
    telling = Telling(Step.ANNOTATIONS)
    judge_all(IMAGE, Gathered((evidence(WORLD.keyless()),), ()), Terms(Trust(None)), NOW, telling)
    document, = telling.close()
    assert document.trace.failure is not None
    assert document.trace.failure.code == "signer.absent"
    assert [entry.step for entry in document.trace.taken if entry.result is StepResult.NOT_REACHED] == [
        *SIGSTORE[2:], *WHO, Step.ANNOTATIONS]


def both(site: Site, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, what --explain -o json says, and the last line on standard error; without it the same."""
    capsys.readouterr()
    plain = site.custody(*arguments)
    said = capsys.readouterr()
    code = site.custody(*arguments, "--explain", "-o", "json")
    told = capsys.readouterr()
    assert code == plain
    assert told.err == said.err
    return code, told.out, told.err


def test_every_signature_of_an_image(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, predicate = site.push("explained"), site.folder / "explained.json"
    predicate.write_text("{}")
    code, out, _ = both(site, capsys, "verify", *site.who(), image)
    assert (code, documents(out), json.loads(out)["verdict"]) == (4, [], "missing")
    for who, form in ((PERSON, "referrer"), ("eve@example.com", "referrer"), (PERSON, "tag")):
        assert site.custody("sign", "--identity-token", site.token(who), *(
            ("--format", "legacy") if form == "tag" else ()), "-a", f"form={form}", image) == 0
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(predicate), "--type",
                        "spdxjson", image) == 0
    code, out, _ = both(site, capsys, "verify", *site.who(), "-a", "form=referrer", image)
    assert (code, json.loads(out)["verdict"]) == (0, "verified")
    listed = documents(out)
    ends = sorted((document["source"].split()[0], *failures(document)) for document in listed)
    assert ends[0] == ("referrer",)
    assert ends[1:3] == [("referrer", "identity.refused"), ("referrer", "predicate-type.refused")]
    assert all(document["counts"] == (not list(failures(document))) for document in listed)
    good = next(document for document in listed if document["counts"])
    assert good["signer"].startswith(PERSON)
    assert step(good, "annotations") == {"step": "annotations", "result": "passed", "detail": "form=referrer"}
    assert step(good, "timestamp")["result"] == "passed"
    assert step(good, "validity")["detail"].count("(") >= 1  # whose time it is
    assert {entry["result"] for entry in good["steps"]} == {"passed", "not-asked"}

    code, out, err = both(site, capsys, "verify", *site.who(), "-a", "form=none", image)
    assert (code, json.loads(out)["verdict"]) == (4, "refused")
    assert "signature with form=none that counts" in err
    assert json.loads(out)["reason"] in err
    assert "annotations.refused" in [code for document in documents(out) for code in failures(document)]

    code, out, _ = both(site, capsys, "verify-attestation", *site.who(), "--type", "spdxjson", image)
    assert code == 0
    assert [document["counts"] for document in documents(out)].count(True) == 1
    code, out, _ = both(site, capsys, "verify-attestation", *site.who(), "--type", "vuln", image)
    assert code == 4
    assert {code for document in documents(out) for code in failures(document)} == {
        "predicate-type.refused", "identity.refused", "log-entry.absent"}


def test_text_for_people(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push("explained-to-people")
    for who in (PERSON, "eve@example.com"):
        assert site.custody("sign", "--identity-token", site.token(who), image) == 0
    capsys.readouterr()
    assert site.custody("verify", *site.who(), "--explain", image) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{image}\n")
    assert out.endswith("  verified: 1 of 2 found counts\n")
    assert ": does not count: identity.refused\n" in out
    assert "    FAILED        identity       identity: got 'eve@example.com'" in out
    assert "    not reached   issuer\n" in out


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    assert run(["generate-key-pair"]) == 0
    Path("file").write_text("content")
    Path("predicate").write_text("{}")
    assert run(["sign-blob", "--key", "cosign.key", "--tlog-upload=false", "--bundle", "signed.json", "file"]) == 0
    assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--predicate", "predicate", "--type",
                "spdxjson", "--bundle", "attested.json", "file"]) == 0
    return tmp_path


@pytest.mark.parametrize(("arguments", "code"), [
    (("verify-blob", "--bundle", "signed.json", "file"), None),
    (("verify-blob", "--bundle", "signed.json", "predicate"), "signature.refused"),
    (("verify-blob", "--bundle", "attested.json", "file"), "format.refused"),
    (("verify-blob-attestation", "--bundle", "attested.json", "--type", "spdxjson", "file"), None),
    (("verify-blob-attestation", "--bundle", "attested.json", "--type", "spdxjson", "predicate"), "subject.refused"),
    (("verify-blob-attestation", "--bundle", "attested.json", "--type", "vuln", "file"), "predicate-type.refused")])
def test_files(signed: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: str | None) -> None:
    assert signed.is_dir()
    line = [*arguments, "--key", "cosign.pub", "--insecure-ignore-tlog"]
    capsys.readouterr()
    plain, said = run(line), capsys.readouterr().err
    assert run([*line, "--explain", "-o", "json"]) == plain
    told = capsys.readouterr()
    assert told.err == said
    document, = documents(told.out)
    assert list(failures(document)) == ([] if code is None else [code])
    assert document["source"] == f"--bundle {arguments[2]}"
    assert run([*line, "--explain"]) == plain
    assert ("1 of 1 found counts" in capsys.readouterr().out) == (code is None)


@pytest.mark.parametrize("command", ["verify-blob", "verify-blob-attestation"])
def test_how_it_prints_is_not_said_in_vain(signed: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert signed.is_dir()
    assert run([command, "--key", "cosign.pub", "--insecure-ignore-tlog", "--bundle", "signed.json", "-o", "json",
                "file"]) == 2
    assert "--output: says how --explain prints, and --explain is not given" in capsys.readouterr().err

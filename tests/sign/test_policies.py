"""`--policy` and `--type`: what an attestation must say, and which predicates have which fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.errors import LanguageFailedError, MalformedError, UnsupportedError
from custody.formats import intoto, predicates
from custody.formats.policyinput import policy_input
from custody.services.predicatepolicies import PredicatePolicies
from tests.sign.site import Site

TIME = "2026-05-01T00:00:00Z"
KIND = "https://example.com/p/v1"


@pytest.fixture
def attested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    assert run(["generate-key-pair"]) == 0
    Path("file").write_text("content")
    Path("predicate").write_text('{"level": 3, "by": "ann"}')
    assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--predicate", "predicate", "--type", KIND,
                "--bundle", "attested.json", "file"]) == 0
    return tmp_path


def asked(*policies: str, more: tuple[str, ...] = ()) -> int:
    return run(["verify-blob-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog", "--bundle", "attested.json",
                "--type", KIND, *(part for policy in policies for part in ("--policy", policy)), *more, "file"])


@pytest.mark.parametrize(("name", "text", "code", "words"), [
    ("a.rego", "package signature\nallow { input.predicate.level >= 3 }", 0, "Verified OK"),
    ("a.rego", "package signature\nallow { input.predicate.level >= 4 }", 3,
     "policy a.rego: data.signature.allow is undefined: no rule of it holds"),
    ("a.rego", "package signature\ndefault allow = false", 3, "data.signature.allow is false, expected true"),
    ("a.rego", "package other\nallow = true", 3, "data.signature.allow is undefined: no file has `package signature`"),
    ("a.rego", "package signature.x\nallow = true", 3, "no file has `package signature`"),
    ("a.rego", "package signature\nallow if { true }", 2, "hint: it is read as the Rego of before OPA 1.0"),
    ("a.rego", "package signature\nimport rego.v1\nallow if { true }", 0, "Verified OK"),
    ("a.rego", "package signature\nallow = true\nallow = false { input.predicate }", 3, "policy a.rego: "),
    ("a.rego", "package signature\nallow { input. }", 2, "a.rego"),
    ("a.rego", 'package signature\nallow { http.send({"method": "get", "url": "http://127.0.0.1"}) }', 3,
     "policy a.rego"),
    ("a.cel", "predicate.level >= 3 && signer.fingerprint.startsWith('sha256:')", 0, "Verified OK"),
    ("a.cel", "statement.predicateType.endsWith('/p/v1') && statement.subject.size() == 1", 0, "Verified OK"),
    ("a.cel", "predicate.level >= 4", 3, "policy a.cel: it is false, expected true"),
    ("a.cel", "predicate.level", 3, "policy a.cel: it is a number, expected true"),
    ("a.cel", "1 + 1", 2, "--policy a.cel: got an expression of type int, expected one that is true or false"),
    ("a.cel", "predicate.gone == 1", 3, "policy a.cel: no such key: gone"),
    ("a.cel", "nobody == 1", 2, "undeclared reference to 'nobody'"),
    ("a.cue", "predicate: level: 3", 2, "CUE is not evaluated"),
    ("a.yaml", "level: 3", 2, "got a file of type .yaml, expected .rego or .cel")])
def test_one_policy(attested: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, code: int, words: str
                    ) -> None:
    assert attested.is_dir()
    Path(name).write_text(text)
    capsys.readouterr()
    assert asked(name) == code
    assert words in capsys.readouterr().err


def test_all_of_several_must_allow(attested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attested.is_dir()
    Path("yes.cel").write_text("true")
    Path("no.cel").write_text("predicate.by == 'eve'")
    Path("yes.rego").write_text("package signature\nallow { true }")
    assert asked("yes.cel", "yes.rego") == 0
    capsys.readouterr()
    assert asked("yes.cel", "no.cel", "yes.rego") == 3
    assert "policy no.cel: it is false" in capsys.readouterr().err
    assert asked("yes.cel,no.cel") == 3
    assert asked("gone.rego") == 2
    assert "--policy gone.rego: No such file" in capsys.readouterr().err


def test_policies_are_asked_of_what_is_verified_alone(attested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attested.is_dir()
    Path("yes.cel").write_text("true")
    Path("file").write_text("changed")
    assert asked("yes.cel") == 4
    capsys.readouterr()
    assert asked("yes.cel", more=("--explain", "-o", "json")) == 4
    steps = {entry["step"]: entry["result"] for entry in json.loads(capsys.readouterr().out)["documents"][0]["steps"]}
    assert (steps["subject"], steps["policy"]) == ("failed", "not-reached")


def test_explained(attested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attested.is_dir()
    Path("no.cel").write_text("false")
    capsys.readouterr()
    assert asked("no.cel", more=("--explain", "-o", "json")) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["documents"][0]["failure"]["code"]) == ("refused", "policy.refused")
    assert told["documents"][0]["failure"]["detail"] == "policy no.cel: it is false, expected true"


@pytest.mark.parametrize("fault", [RuntimeError("broken"), KeyboardInterrupt(), LanguageFailedError("broken")],
                         ids=["fault", "interrupted", "language"])
def test_no_verdict_where_there_is_none(attested: Path, capsys: pytest.CaptureFixture[str],
                                        monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    """Whatever ends a verification: it is not told as one that passed."""
    def broken(*_: object) -> None:
        raise fault

    assert attested.is_dir()
    Path("yes.cel").write_text("true")
    capsys.readouterr()
    assert asked("yes.cel", more=("--explain", "-o", "json")) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "verified"
    monkeypatch.setattr(PredicatePolicies, "objection", broken)
    assert asked("yes.cel", more=("--explain", "-o", "json")) != 0
    out = capsys.readouterr().out
    assert not out or json.loads(out)["verdict"] == "refused"


@pytest.mark.parametrize(("predicate", "words"), [
    ('{"level": 1' + "0" * 400 + "}", "statement: got 'a number beyond 1.8e+308', expected one that a double holds"),
    ('{"builder": {"id": "bad", "ID": "good"}}', "statement.predicate.builder: got 'a name twice, in several cases'")])
def test_what_readers_would_read_otherwise(predicate: str, words: str) -> None:
    statement = f'{{"_type": "a", "predicateType": "b", "predicate": {predicate}}}'
    with pytest.raises(MalformedError) as caught:
        policy_input(statement.encode(), "slsaprovenance" if "builder" in predicate else "custom")
    assert words in caught.value.message


def test_an_attestation_of_a_number_that_is_none(attested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its signer may write what he likes: the policy does not allow it, and nothing breaks."""
    assert attested.is_dir()
    Path("predicate").write_text('{"level": 1' + "0" * 400 + "}")
    assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--predicate", "predicate", "--type", KIND,
                "--bundle", "attested.json", "file"]) == 0
    Path("a.rego").write_text("package signature\nallow { input.predicate.level >= 3 }")
    capsys.readouterr()
    assert asked("a.rego") == 3
    assert "policy: statement: got 'a number beyond 1.8e+308'" in capsys.readouterr().err


def test_an_image_with_one_that_is_not_allowed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, policy = site.push("policed"), site.folder / "level.cel"
    policy.write_text("predicate.level > 2")
    for level in (3, 1):
        path = site.folder / f"level-{level}.json"
        path.write_text(json.dumps({"level": level}))
        assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(path), "--type", KIND,
                            image) == 0
        capsys.readouterr()
        code = site.custody("verify-attestation", *site.who(), "--type", KIND, "--policy", str(policy), image)
        said = capsys.readouterr()
        assert code == (0 if level == 3 else 3)
        assert bool(said.out) == (level == 3)
    assert "1 attestation that the policies do not allow" in said.err
    assert f"policy {policy}: it is false, expected true" in said.err
    assert site.custody("verify-attestation", *site.who("eve@example.com"), "--type", KIND, "--policy", str(policy),
                        image) == 4  # nothing counts, so nobody is asked


GOOD: dict[str, Any] = {
    "svr": {"verifier": {"id": "https://v.example"}, "timeCreated": TIME, "properties": ["X_OK"]},
    "scai": {"attributes": [{"attribute": "HERMETIC"}]},
    "testresult": {"result": "PASSED", "configuration": []},
    "release": {"purl": "pkg:npm/a@1"},
    "runtimetrace": {"monitor": {"type": "https://m.example"}, "monitorLog": {},
                     "monitoredProcess": {"hostID": "https://h", "type": "https://t", "event": "e"}},
    "vulns": {"scanner": {"uri": "pkg:trivy", "db": {"lastUpdate": TIME}, "result": [{"id": "CVE-1", "severity": []}]},
              "metadata": {"scanStartedOn": TIME, "scanFinishedOn": TIME}},
    "vulns01": {"scanner": {"uri": "pkg:trivy", "db": {"lastUpdate": TIME}, "result": [{}]},
                "metadata": {"scanStartedOn": TIME, "scanFinishedOn": TIME}},
    "reference": {"attester": {"id": "https://a.example"}, "references": []},
    "link03": {"name": "step"},
    "vsa": {"verifier": {"id": "https://v.example"}, "timeVerified": TIME, "resourceUri": "pkg:a",
            "policy": {"uri": "p"}, "verificationResult": "PASSED", "verifiedLevels": ["SLSA_BUILD_LEVEL_3"]}}


def parts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every field of a predicate."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [below for name, entry in inner for below in ([(*path, name)] if isinstance(value, dict) else [])
            + parts(entry, (*path, name))]


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, good in GOOD.items() for path in parts(good)])
def test_every_required_field_is(name: str, path: tuple[Any, ...]) -> None:
    kind = predicates.predicate_type(name)
    predicates.check_shape(kind, GOOD[name])
    broken = json.loads(json.dumps(GOOD[name]))
    holder = broken
    for part in path[:-1]:
        holder = holder[part]
    del holder[path[-1]]
    if path == ("policy", "uri"):  # a policy may be named by its digest
        predicates.check_shape(kind, broken)
        return
    with pytest.raises(MalformedError) as caught:
        predicates.check_shape(kind, broken)
    assert str(path[0]) in caught.value.message
    holder[path[-1]] = 7
    with pytest.raises(MalformedError, match="expected"):
        predicates.check_shape(kind, broken)


def test_a_time_that_is_none_in_utc() -> None:
    """It can be read, and not be written."""
    with pytest.raises(MalformedError, match=r"timeVerified: got .*, expected a time such as"):
        predicates.check_shape(predicates.predicate_type("vsa"), {**GOOD["vsa"], "timeVerified":
                                                                  "0001-01-01T00:00:00+01:00"})


def test_types_are_names_or_uris() -> None:
    assert {predicates.predicate_type(name) for name in GOOD} <= set(predicates.VETTED.values())
    for name, uri in {**intoto.PREDICATES, **predicates.VETTED}.items():
        assert predicates.predicate_type(name) == predicates.predicate_type(uri) == uri
    with pytest.raises(UnsupportedError) as caught:
        predicates.predicate_type("sbom")
    assert caught.value.hint is not None
    assert "spdxjson" in caught.value.hint
    assert "testresult" in caught.value.hint
    predicates.check_shape("https://nobody.example/knows", {"any": "thing"})


def test_what_lacks_a_field_is_not_signed(attested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attested.is_dir()
    assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--predicate", "predicate", "--type",
                "testresult", "--bundle", "other.json", "file"]) == 2
    assert "--predicate predicate.result: got null, expected PASSED, WARNED or FAILED" in capsys.readouterr().err
    assert not Path("other.json").exists()


def test_what_lacks_a_field_does_not_count(attested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program signed it: `--statement` is signed as it is."""
    assert attested.is_dir()
    kind = predicates.VETTED["release"]
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # of what is in the file
    Path("statement").write_bytes(intoto.statement(f"sha256:{digest}", kind, {"purl": ""}).to_bytes())
    assert run(["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--statement", "statement", "--bundle",
                "attested.json", "file"]) == 0
    capsys.readouterr()
    line = ["verify-blob-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog", "--bundle", "attested.json",
            "--type", "release", "file"]
    assert run(line) == 4
    assert "error: predicate.purl: got '', expected a URI" in capsys.readouterr().err
    assert run([*line, "--explain", "-o", "json"]) == 4
    assert json.loads(capsys.readouterr().out)["documents"][0]["failure"]["code"] == "predicate.malformed"


@pytest.mark.parametrize(("kind", "predicate", "words"), [
    ("slsaprovenance", {"builder": []}, "statement.predicate.builder: got a list, expected an object"),
    ("slsaprovenance", {"buildType": 7}, "statement.predicate.buildType"),
    ("vuln", {"metadata": {"scanStartedOn": "yesterday"}}, "expected a time such as"),
    ("link", {"materials": {"a": {"sha256": 1}}}, "statement.predicate.materials.a.sha256"),
    (KIND, ["a list"], "statement.predicate: got a list, expected an object")])
def test_what_cosign_shows_no_policy(kind: str, predicate: Any, words: str) -> None:
    document = intoto.statement("sha256:" + "0" * 64, KIND, predicate).to_bytes()
    with pytest.raises(MalformedError) as caught:
        policy_input(document, kind)
    assert words in caught.value.message

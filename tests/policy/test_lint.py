"""The linter says what a policy will do that its author may not mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.lint import lint
from custody.policy.load import PolicySet
from tests.policy.test_load import POLICY, changed

EVERYDAY = Path(__file__).parents[2] / "examples" / "policies" / "restrict-registries.yaml"
_NOTED = ("no-autogen", "deprecated")
"""Of the policies that these tests begin with, whatever they change."""
KEYLESS = {"issuer": "https://i", "subject": "https://s", "rekor": {"url": "https://r"}}


def images(**fields: Any) -> dict[str, Any]:
    entry = {"imageReferences": ["ghcr.io/myorg/*"], "attestors": [{"entries": [{"keyless": KEYLESS}]}], **fields}
    document = changed("spec/rules/0/verifyImages", [entry])
    del document["spec"]["rules"][0]["validate"]
    return document


def codes(document: dict[str, Any]) -> list[str]:
    PolicySet([document])
    return [finding.code for finding in lint(document) if finding.code not in _NOTED]


def test_the_unanchored_list_and_the_form_that_was_meant() -> None:
    document = yaml.safe_load(EVERYDAY.read_text())
    found = {finding.code: finding for finding in lint(document)}
    trap = found["unanchored-optional"]
    assert trap.path == "spec.rules[0].validate.pattern.spec.initContainers"
    assert trap.excerpt.startswith("spec:\n  =(initContainers):\n  - image: ghcr.io/myorg/*")
    assert found["containers-not-covered"].excerpt.startswith("spec:\n  =(ephemeralContainers):")


@pytest.mark.parametrize(("document", "expected"), [
    (changed("spec/failurePolicy", "Ignore"), "fails-open"),
    (changed("spec/validationFailureAction", "Audit"), "audit"),
    (changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"image": "ghcr.io/myorg*"}]}}), "look-alike"),
    (changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"image": "ghcr.io*"}]}}), "look-alike"),
    (changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"securityContext": {"a": 1}}]}}),
     "unanchored-optional"),
    (images(imageReferences=["ghcr.io/MyOrg/*"]), "never-matches"),
    (images(imageReferences=["ghcr.io/x/app:*"]), "tag-only"),
    (images(mutateDigest=False), "mutable-reference"),
    (images(attestors=[{"entries": [{"keyless": {**KEYLESS, "subject": "*"}}]}]), "any-signer"),
    (images(attestations=[{"type": "x"}]), "any-signer"),
])
def test_findings(document: dict[str, Any], expected: str) -> None:
    assert expected in codes(document)


def test_a_clean_policy_has_no_warnings() -> None:
    assert codes(images()) == []
    containers = {key: [{"image": "ghcr.io/myorg/* | registry.example.com/*"}]
                  for key in ("containers", "=(initContainers)", "=(ephemeralContainers)")}
    assert codes(changed("spec/rules/0/validate/pattern", {"spec": containers})) == []


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "lint", str(EVERYDAY)]) == 0
    printed = capsys.readouterr()
    assert "=(initContainers):" in printed.out
    assert "1 policy loads" in printed.err
    assert run(["policy", "lint", "-o", "json", str(EVERYDAY)]) == 0
    assert {one["code"] for one in json.loads(capsys.readouterr().out)} >= {"unanchored-optional"}
    refused = tmp_path / "refused.yaml"
    refused.write_text(yaml.safe_dump({**POLICY, "spec": {**POLICY["spec"], "weird": True}}))
    assert run(["policy", "lint", str(refused)]) == 2
    printed = capsys.readouterr()
    assert f"error: {refused}: spec.weird: not evaluated by custody yet [refused]" in printed.out
    assert f"1 document does not load, first {refused}: spec.weird" in printed.err


def messages(document: dict[str, Any]) -> dict[str, str]:
    PolicySet([document])
    return {f"{finding.path.removeprefix('spec.rules[0].')}": f"{finding.code}: {finding.message}"
            for finding in lint(document) if finding.code not in (*_NOTED, "audit")}


def keyless(**fields: str) -> dict[str, Any]:
    return images(attestors=[{"entries": [{"keyless": {"rekor": {"url": "https://r"}, **fields}}]}])


SIGNER = "verifyImages[0].attestors.entries[0].keyless"
ENTRY = "verifyImages[0]"


@pytest.mark.parametrize(("document", "path", "said"), [
    (images(imageReferences=["ghcr.io/myorg*"]), f"{ENTRY}.imageReferences[0]",
     "look-alike: 'ghcr.io/myorg*' also matches 'ghcr.io/myorg-evil/x'"),
    (images(imageReferences=["nginx*"]), f"{ENTRY}.imageReferences[0]", "'nginx*' also matches 'nginx-evil.example/x'"),
    (images(imageReferences=["*ghcr.io/myorg/*"]), f"{ENTRY}.imageReferences[0]", "also matches 'evilghcr.io/myorg/x'"),
    (keyless(subject="https://github.com/myorg*", issuer="https://i"), f"{SIGNER}.subject",
     "look-alike: 'https://github.com/myorg*' also matches 'https://github.com/myorg-evil/x'"),
    (keyless(subject="https://ci.example*", issuer="https://i"), f"{SIGNER}.subject",
     "'https://ci.example-evil.example/x'"),
    (keyless(subjectRegExp="ann@myorg.example", issuer="https://i"), f"{SIGNER}.subjectRegExp",
     "unanchored-regexp: 'ann@myorg.example' also matches what only contains it"),
    (keyless(subject="s", issuerRegExp="^https://a|https://b$"), f"{SIGNER}.issuerRegExp", "unanchored-regexp"),
    (images(skipImageReferences=["*"]), f"{ENTRY}.skipImageReferences",
     "skips-all: everything that imageReferences match is skipped: nothing is verified"),
    (images(skipImageReferences=["ghcr.io/*"]), f"{ENTRY}.skipImageReferences", "skips-all"),
    (images(attestors=[]), ENTRY, "verifies-nothing: it asks for no signature and no attestation: any image passes"),
])
def test_lint_says_nothing(document: dict[str, Any], path: str, said: str) -> None:
    assert said in messages(document)[path]


@pytest.mark.parametrize("document", [
    images(skipImageReferences=["ghcr.io/myorg/tools/*"]),
    images(imageReferences=["*"]), images(imageReferences=["*.example.com/*"]), images(imageReferences=["nginx"]),
    images(imageReferences=["ghcr.io/myorg/app*"]), images(imageReferences=["*/*", "ghcr.io/myorg/app@sha256:*"]),
    keyless(subjectRegExp=r"^https://github\.com/myorg/(a|b)$", issuerRegExp=r"\Ahttps://i\z"),
    keyless(subjectRegExp=r"(?i)^[a|$]+\|x$", issuer="https://i"),
    keyless(subject="https://github.com/myorg/*", issuer="https://token.actions.githubusercontent.com"),
    keyless(subject="*@example.com", issuer="https://i"),
])
def test_what_is_meant_is_not_warned_of(document: dict[str, Any]) -> None:
    assert messages(document) == {}


def pattern(image: str) -> dict[str, Any]:
    return changed("spec/rules/0/validate/pattern", {"spec": {
        key: [{"image": image}] for key in ("containers", "=(initContainers)", "=(ephemeralContainers)")}})


@pytest.mark.parametrize("image", ["*:*", "!*:latest", "*:* & !*:latest", "*@sha256:*", "ghcr.io/myorg/*", "*/*"])
def test_lint_false_notes(image: str) -> None:
    assert messages(pattern(image)) == {}
    services = changed("spec/rules/0/match/any/0/resources", {"kinds": ["Service"]})
    services["spec"]["rules"][0]["validate"] = {"message": "m", "pattern": {"spec": {"=(type)": "!NodePort"}}}
    assert [finding for finding in lint(services) if finding.code != "deprecated"] == []
    assert codes(pattern(image)) == []


@pytest.mark.parametrize(("image", "said"), [
    ("!docker.io/*", "nginx, index.docker.io/x, DOCKER.IO/x, docker.io:443/x are not banned; list what is allowed"),
    ("!evil.example/* & *:*", "EVIL.EXAMPLE/x, evil.example:443/x are not banned"),
    ("*ghcr.io/myorg/*", "also matches 'evilghcr.io/myorg/x'")])
def test_banned_and_open_texts(image: str, said: str) -> None:
    assert said in messages(pattern(image))["validate.pattern.spec.containers[0].image"]


@pytest.mark.parametrize(("resources", "code", "said"), [
    ({"kinds": ["*"]}, "wildcard-fails-closed", "not the events, leases and nodes"),
    ({"kinds": ["*/*"]}, "wildcard-fails-closed", "nothing can be written"),
    ({"kinds": ["Pod"], "operations": ["CONNECT"]}, "never-asked", "never asks about CONNECT here, only about CREATE"),
    ({"kinds": ["Deployment/scale"], "operations": ["CREATE"]}, "never-asked", "only about UPDATE"),
    ({"kinds": ["Pod/log"]}, "never-asked", "only about nothing")])
def test_what_is_asked_about(resources: dict[str, Any], code: str, said: str) -> None:
    document = changed("spec/rules/0/match/any/0/resources", resources)
    assert said in next(finding.message for finding in lint(document) if finding.code == code)
    if code == "wildcard-fails-closed":
        document["spec"]["failurePolicy"] = "Ignore"
        assert code not in [finding.code for finding in lint(document)]


def test_everything_wrong_in_all_files_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write(name: str, *documents: Any) -> Path:
        (tmp_path / name).write_text(yaml.safe_dump_all(documents))
        return tmp_path / name

    unknown = changed("spec/rules/0/match/any/0/resources", {"kinds": ["Deploymnet"]})
    write("a.yaml", unknown, {**POLICY, "metadata": {"name": "good"}})
    (tmp_path / "b.yaml").write_text("a: [")
    write("c.yaml", {"apiVersion": "v1", "kind": "List", "items": [
        changed("spec/failurePolicy", "Ignore"), {**POLICY, "metadata": {"name": "good"}}]})
    write("d.yaml", {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {}})
    assert run(["policy", "lint", "-o", "json", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    findings = json.loads(printed.out)
    errors = {(one["policy"].rpartition("/")[2], one["message"].partition(",")[0]) for one in findings
              if one["level"] == "error"}
    assert {where for where, _ in errors} == {"a.yaml[0]", "b.yaml", "CustomResourceDefinition", "good"}
    assert any("got 'Deploymnet'" in message for _, message in errors)
    assert any("got good twice" in message for _, message in errors)
    assert "fails-open" in {one["code"] for one in findings}
    assert "4 documents do not load, first" in printed.err
    assert "2 policies load" in printed.err


def test_no_policies_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert run(["policy", "lint", str(tmp_path)]) == 2
    assert f"error: {tmp_path}: no policies" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "value", "better"), [
    ("{{ images.containers.*.path }}", ["nginx", "myorg/app"], '"library/nginx"'),
    ("{{ images.containers.*.registry }}", ["GHCR.IO", "ghcr.io"], '"ghcr.io"'),
    ("{{ images.containers.*.registry }}", ["index.docker.io"], '"docker.io"'),
    ("{{ images.containers.*.registry }}", ["ghcr.io:443"], '"ghcr.io"'),
])
def test_conditions_on_names_that_no_image_has(key: str, value: list[str], better: str) -> None:
    document = changed("spec/rules/0/validate", {"message": "no", "deny": {"conditions": {"any": [
        {"key": key, "operator": "AnyIn", "value": value}]}}})
    finding, = [finding for finding in lint(document) if finding.code == "other-name"]
    assert finding.path == "spec.rules[0].validate.deny.conditions.any[0].value"
    assert finding.excerpt == f"{better}\n"
    named = changed("spec/rules/0/validate", {"message": "no", "deny": {"conditions": {"any": [
        {"key": key, "operator": "AnyIn", "value": [better.strip('"')]}]}}})
    assert "other-name" not in [finding.code for finding in lint(named)]


# ── rules that load and never speak, or never object ────────────────────────────────────────────────────────────────

def condition(key: Any, operator: str, value: Any) -> dict[str, Any]:
    document = changed("spec/rules/0/validate/deny", {"conditions": {"any": [
        {"key": key, "operator": operator, "value": value}]}})
    del document["spec"]["rules"][0]["validate"]["pattern"]
    return document


def spec_of(**spec: Any) -> dict[str, Any]:
    return changed("spec/rules/0/validate/pattern", {"spec": spec})


def excluding(**resources: Any) -> dict[str, Any]:
    return changed("spec/rules/0/exclude", {"any": [{"resources": resources}]})


@pytest.mark.parametrize(("document", "code", "words"), [
    (spec_of(**{"=(initContainer)": [{"image": "a"}]}), "unknown-field", "passes here; did you mean initContainers?"),
    (spec_of(container=[{"image": "a"}]), "unknown-field", "it fails every pod; did you mean containers?"),
    (spec_of(containers=[{"=(imagePullpolicy)": "Always"}]), "unknown-field", "did you mean imagePullPolicy?"),
    (spec_of(**{"X(hostnetwork)": "null"}), "unknown-field", "always passes here; did you mean hostNetwork?"),
    (spec_of(containers=[{"=(securityContext)": {"=(priviledged)": False}}]), "unknown-field", "mean privileged?"),
    (condition("{{ images.container.*.registry || `[]` }}", "AnyIn", ["x"]), "unknown-field", "mean containers?"),
    (condition("{{ request.object.spec.hostNetwrk || `false` }}", "Equals", True), "unknown-field", "hostNetwork?"),
    (condition("request.operation", "Equals", "CREATE"), "constant-condition", "'request.operation' is read as text"),
    (condition("{ request.operation }}", "Equals", "CREATE"), "constant-condition", "is read as text"),
    (condition("a", "Equals", "b"), "constant-condition", "two constants"),
    (condition("{{ request.operation || '' }}", "Equals", "create"), "unknown-operation", "never 'create'"),
    (condition("{{request.operation || 'BACKGROUND'}}", "AnyIn", ["CREATE", "PATCH"]), "unknown-operation", "'PATCH'"),
    (changed("spec/rules/0/validate/pattern", {}), "says-nothing", "every object fits"),
    (excluding(kinds=["Pod"]), "excludes-everything", "nothing is left"),
    (excluding(kinds=["Pod"], selector={"matchLabels": {"skip": "yes"}}), "self-exempting", "selector"),
    (excluding(annotations={"skip": "yes"}), "self-exempting", "annotations"),
    (changed("spec/rules/0/match", {"any": [{"resources": {"kinds": ["Pod"]}}, {"resources": {"namespaces": ["a"]}}]}),
     "never-asked", "it names no kinds"),
    (changed("spec/rules/0/match", {"any": [{"resources": {"kinds": ["Pod"], "operations": ["DELETE"]}}]}),
     "never-asked", "only `deny` says something"),
    (images(skipImageReferences=["ghcr.io/myorg*"]), "look-alike", "'ghcr.io/myorg-evil/x'"),
])
def test_a_rule_that_its_author_did_not_mean(document: dict[str, Any], code: str, words: str) -> None:
    PolicySet([document])
    assert [finding.message for finding in lint(document) if finding.code == code and words in finding.message]


@pytest.mark.parametrize("document", [
    spec_of(containers=[{"image": "ghcr.io/*", "=(securityContext)": {"=(privileged)": False}}], **{
        "=(initContainers)": [{"image": "ghcr.io/*"}], "=(ephemeralContainers)": [{"image": "ghcr.io/*"}]}),
    condition("{{ images.containers.*.registry || `[]` }}", "AnyIn", ["x"]),
    condition("{{ request.operation }}", "AnyIn", ["CREATE", "UPDATE"]),
    condition("{{ request.operation || 'BACKGROUND' }}", "NotEquals", "DELETE"),
    condition("x", "AnyIn", "{{ request.object.spec.containers[].image }}"),
    excluding(namespaces=["kube-system"]), excluding(kinds=["Pod"], operations=["DELETE"]),
    excluding(kinds=["Pod"], namespaces=["a"], selector={"matchLabels": {"a": "b"}}),
    changed("spec/rules/0/match/any/0/resources/kinds", ["Deployment"]),
    images(skipImageReferences=["ghcr.io/myorg/base:*"]),
])
def test_a_rule_that_its_author_meant(document: dict[str, Any]) -> None:
    PolicySet([document])
    odd = {"unknown-field", "constant-condition", "unknown-operation", "says-nothing", "excludes-everything",
           "self-exempting", "never-asked", "look-alike"}
    assert [finding for finding in lint(document) if finding.code in odd] == []

"""The linter says what a policy will do that its author may not mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.kyverno.lint import lint
from custody.policy.load import PolicySet
from tests.policy.test_load import POLICY, changed

EVERYDAY = Path(__file__).parents[2] / "examples" / "policies" / "restrict-registries.yaml"
KEYLESS = {"issuer": "https://i", "subject": "https://s", "rekor": {"url": "https://r"}}


def images(**fields: Any) -> dict[str, Any]:
    entry = {"imageReferences": ["ghcr.io/myorg/*"], "attestors": [{"entries": [{"keyless": KEYLESS}]}], **fields}
    document = changed("spec/rules/0/verifyImages", [entry])
    del document["spec"]["rules"][0]["validate"]
    return document


def codes(document: dict[str, Any]) -> list[str]:
    PolicySet([document])
    return [finding.code for finding in lint(document) if finding.code != "no-autogen"]


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
    (images(imageReferences=["nginx"]), "never-matches"),
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
    assert "1 policies load" in printed.err
    assert run(["policy", "lint", "-o", "json", str(EVERYDAY)]) == 0
    assert {one["code"] for one in json.loads(capsys.readouterr().out)} >= {"unanchored-optional"}
    refused = tmp_path / "refused.yaml"
    refused.write_text(yaml.safe_dump({**POLICY, "spec": {**POLICY["spec"], "applyRules": "One"}}))
    assert run(["policy", "lint", str(refused)]) == 2
    assert "spec.applyRules: not evaluated by custody yet" in capsys.readouterr().err

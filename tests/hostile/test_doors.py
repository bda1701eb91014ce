"""Every hostile policy at every door that lets policies in: an end within 20 s of CPU and 1.5 GiB, with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.policy.decide import MAX_MESSAGE
from tests.fuzz.broken import _PYTHON
from tests.hostile.limits import Children, Ran
from tests.hostile.policies import POLICIES, Hostile

LONGEST = 16 * MAX_MESSAGE
"""Characters of one line of what is said."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "apply": ("policy", "apply", "policy.yaml", "-r", "resource.yaml"), "test": ("policy", "test", "."),
    "check": ("check", "--policy", "policy.yaml", "resource.yaml"), "lint": ("policy", "lint", "policy.yaml"),
    "migrate": ("policy", "migrate", "--samples", "20", "policy.yaml"), "import": ("policy", "import", "policy.yaml")}
CODES = {"apply": {0, 1, 2}, "test": {0, 1, 2}, "check": {0, 2, 3, 4}, "lint": {0, 2}, "migrate": {0, 1, 2},
         "import": {0, 1, 2}, "webhook": {0, 2}, "collection": {0}}
ONLY = {"migrate": "kyverno.io/", "import": "policy.sigstore.dev/"}
"""Doors that take documents of one group; each is tried with the documents of another group once."""
NO_CLUSTER = ("policy.sigstore.dev/", "admissionregistration.k8s.io/")
"""Groups whose policies `admission run` does not watch."""
ROWS = [(name, door) for name, hostile in POLICIES.items() for door in CODES
        if hostile.policies[0]["apiVersion"].startswith(ONLY.get(door, ""))
        and (name, door) != ("patches that copy", "migrate")  # its proof applies them to every sample, without a bound
        and not (door in ("collection", "webhook") and hostile.policies[0]["apiVersion"].startswith(NO_CLUSTER))]


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.close()


def written(folder: Path, hostile: Hostile) -> None:
    for name, documents in (("policy", hostile.policies), ("resource", hostile.resources)):
        (folder / f"{name}.json").write_text(json.dumps(documents))
        (folder / f"{name}.yaml").write_text("\n---\n".join(map(json.dumps, documents)))
    resource = hostile.resources[0]
    (folder / "kyverno-test.yaml").write_text(json.dumps({
        "apiVersion": "cli.kyverno.io/v1alpha1", "kind": "Test", "metadata": {"name": "t"}, "policies": ["policy.yaml"],
        "resources": ["resource.yaml"], "results": [
            {"policy": hostile.policies[0]["metadata"]["name"], "rule": "r", "kind": resource["kind"],
             "resources": [resource["metadata"]["name"]], "result": "pass"}]}))


def decent(ran: Ran, door: str) -> None:
    """It ended by itself, and speaks to people."""
    text = ran.stdout + ran.stderr
    assert ran.signal == 0, f"ended by signal {ran.signal} after {ran.seconds:.1f} s"
    assert not (wrong := _PYTHON.search(text.replace("SyntaxError", ""))), text[max(wrong.start() - 300, 0):][:600]
    assert ran.code in CODES[door], text[-600:]
    if door != "webhook":  # whose lines have patches, which are as long as what they change
        assert max(map(len, text.split("\n"))) <= LONGEST, "a line without end"


@pytest.mark.parametrize(("name", "door"), ROWS)
def test_it_ends_with_a_reason(name: str, door: str, children: Children, tmp_path: Path) -> None:
    hostile = POLICIES[name]
    written(tmp_path, hostile)
    ran = children.run(tmp_path, *COMMANDS.get(door, (door,)))
    decent(ran, door)
    text = ran.stdout + ran.stderr
    if hostile.refused and door != "import":
        assert re.search(hostile.refused, text) or "more than 64" in text, text[-600:]
        assert ran.code != 0 or door in ("test", "collection"), "it was refused, and the exit code says yes"
    if door == "check" and hostile.judged:
        assert ran.code in (2, 3), text[-600:]
        assert re.search(hostile.judged, text), text[-600:]
    if door == "collection":
        beside(hostile, json.loads(ran.stdout))
    if door == "webhook":
        asked(hostile, [json.loads(line) for line in ran.stdout.splitlines()])


def beside(hostile: Hostile, said: dict[str, Any]) -> None:
    """The policy of somebody else is in force, and each of these is, or says why not."""
    assert "well" in said["names"]
    assert said["faults"].pop("well") == ""
    for name, fault in said["faults"].items():
        assert bool(fault) is bool(name not in said["names"]) or name == "b"
        assert len(fault) < 4096
    if hostile.refused:
        assert any(re.search(hostile.refused, fault) for fault in said["faults"].values()), said


def asked(hostile: Hostile, said: list[Any]) -> None:
    """What does not load is refused at /policies with the reason; what does not judge denies at one of both paths."""
    policies = [answer for path, *answer in said if path == "/policies"]
    assert len(policies) == len(hostile.policies)
    for status, answer in policies:
        assert status == 200
        response = answer["response"]
        assert response["allowed"] or response["status"]["message"]
    refused = [answer[0] for path, *answer in said if path == "refused"]
    assert bool(hostile.refused) <= bool(refused)
    if refused:
        assert any(not answer["response"]["allowed"] for _, answer in policies)
        return
    answers = [answer["response"] for path, _, answer in said if path in ("/validate", "/mutate")]
    assert len(answers) == 2 * len(hostile.resources)
    for response in answers:
        assert response["allowed"] or 0 < len(response["status"]["message"].strip()) <= 2 * LONGEST
    if hostile.judged:
        reasons = [response["status"]["message"] for response in answers if not response["allowed"]]
        assert any(re.search(hostile.judged, reason) for reason in reasons), answers


@pytest.mark.parametrize(("door", "name"), [("migrate", "CEL that ranges"), ("import", "many variables")])
def test_other_groups_are_named(door: str, name: str, children: Children, tmp_path: Path) -> None:
    written(tmp_path, POLICIES[name])
    ran = children.run(tmp_path, *COMMANDS[door])
    decent(ran, door)
    assert (ran.code, "is not" in ran.stderr) == (1, True)


def bomb(levels: int = 12) -> bytes:
    lines = ['a0: &a0 ["x", "x", "x", "x", "x", "x", "x", "x", "x", "x"]'] + [
        f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, levels)]
    return "\n".join(lines).encode()


TEXTS: dict[str, bytes] = {
    "aliases that multiply": bomb(), "an alias of itself": b"a: &a [*a]", "deep flow": b"[" * 100_000,
    "deep maps": b"".join(b" " * at + b"a:\n" for at in range(2000)), "deep JSON": b'{"a":' * 50_000 + b"1",
    "a key twice": b"kind: Pod\nkind: ConfigMap\n", "a merge": b"a: &a {b: 1}\nc:\n  <<: *a\n",
    "no UTF-8": b"kind: \xff\xfe", "NUL": b"kind: a\x00b", "UTF-16": "kind: Pod".encode("utf-16"),
    "a tag that runs": b"!!python/object/apply:os.system ['true']", "5 MB": b"a: " + b"x" * (5 << 20)}
READERS: dict[str, tuple[str, ...]] = {
    "apply": ("policy", "apply", "file.yaml", "-r", "file.yaml"), "lint": ("policy", "lint", "file.yaml"),
    "resources": ("policy", "apply", "policy.yaml", "-r", "file.yaml"),
    "check": ("check", "--policy", "file.yaml", "a:1"),
    "checked": ("check", "--policy", "policy.yaml", "file.yaml"), "migrate": ("policy", "migrate", "file.yaml"),
    "import": ("policy", "import", "file.yaml"), "test": ("policy", "test", "-f", "file.yaml", "."),
    "values": ("policy", "apply", "policy.yaml", "-r", "resource.yaml", "-f", "file.yaml"),
    "users": ("policy", "apply", "policy.yaml", "-r", "resource.yaml", "-u", "file.yaml"),
    "exceptions": ("policy", "apply", "policy.yaml", "-r", "resource.yaml", "-e", "file.yaml"),
    "contexts": ("policy", "apply", "policy.yaml", "-r", "resource.yaml", "--context-file", "file.yaml"),
    "definitions": ("policy", "lint", "policy.yaml", "--crd", "file.yaml")}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_document(text: str, reader: str, children: Children, tmp_path: Path) -> None:
    written(tmp_path, POLICIES["a text that says variables"])
    (tmp_path / "kyverno-test.yaml").unlink()
    (tmp_path / "file.yaml").write_bytes(TEXTS[text])
    ran = children.run(tmp_path, *READERS[reader])
    said = ran.stdout + ran.stderr
    assert ran.signal == 0, f"ended by signal {ran.signal} after {ran.seconds:.1f} s"
    assert not _PYTHON.search(said), said[-600:]
    assert ran.code in (1, 2, 3, 4), said[-600:]
    assert max(map(len, said.split("\n"))) <= LONGEST, "a line without end"

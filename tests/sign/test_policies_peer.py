"""`verify-attestation --policy` beside cosign 3's: what policies are shown, to the byte, and what Rego makes of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import intoto
from custody.formats import reference as references
from custody.formats.policyinput import policy_input
from custody.registry.client import RegistryClient
from custody.sign.decoders import decode
from custody.sign.referrers import fetch_evidence
from policylang import rego
from policylang.rego.builtins.documents import read_json
from tests.sign.site import Site

pytestmark = pytest.mark.peer
TIME = "2026-05-01T10:20:30Z"
PREDICATES: list[tuple[str, Any]] = [
    ("slsaprovenance", {"builder": {"id": "https://builder.example/1"}, "buildType": "make", "unknown": {"a": 1},
                        "invocation": {"configSource": {"uri": "git+https://x.example/app", "digest": {"sha1": "ab"},
                                                        "entryPoint": "build"}, "parameters": {"n": 1.50}},
                        "buildConfig": {"steps": ["a"]}, "materials": [{"uri": "pkg:a/b", "digest": {"sha256": "cd"}},
                                                                       {"uri": "", "more": 1}],
                        "metadata": {"buildInvocationID": "7", "buildStartedOn": "2026-05-01T10:20:30.500Z",
                                     "completeness": {"parameters": True}, "reproducible": False}}),
    ("slsaprovenance", {"builder": {"id": "b"}, "buildType": "t"}),
    ("slsaprovenance", {"builder": {"id": "b"}, "buildType": "t", "invocation": {"parameters": [], "environment": ""},
                        "metadata": {}, "materials": [], "buildConfig": None}),
    ("slsaprovenance02", {"builder": {"id": "b"}, "buildType": "t", "unknown": 1}),
    ("slsaprovenance1", {"buildDefinition": {"buildType": "t", "externalParameters": {"n": 3}},
                         "runDetails": {"builder": {"id": "b"}}}),
    ("vuln", {"invocation": {"parameters": None, "uri": "u", "event_id": "", "builder.id": "b"},
              "scanner": {"uri": "pkg:trivy", "version": "0.5", "db": {"uri": "d"},
                          "result": {"n": 12345678901234567890}},
              "metadata": {"scanStartedOn": TIME, "scanFinishedOn": "2026-05-01T10:20:30.1200+02:00"}, "more": True}),
    ("vuln", {"scanner": {"result": []}}),
    ("link", {"_type": "link", "name": "step", "materials": {"a": {"sha256": "ab"}}, "command": ["make", "x"],
              "byproducts": {"return-value": 0}}),
    ("link", {"name": "bare"}),
    ("spdxjson", {"spdxVersion": "SPDX-2.3", "packages": [{"name": "a", "n": 1.0, "m": 1e21, "k": 1e-7}]}),
    ("cyclonedx", {"bomFormat": "CycloneDX", "version": 1, "components": [{"name": "ü & <b>", "size": -0.5}]}),
    ("openvex", {"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}),
    ("https://example.com/p/v1", {"n": 9007199254740993, "list": [None, True, {"": ""}], "empty": {},
                                  "text": "\u2028"}),
    ("https://example.com/p/v1", {}),
    ("custom", {"anything": 1}),
]
RULES = [
    "allow { true }",
    "allow { false }",
    "default allow = false",
    "default allow = false\nallow { input.predicate }",
    "default allow = true\nallow = false { input.predicateType }",
    "allow = true { input.subject[0].digest.sha256 }",
    'allow = "yes" { true }',
    "allow = input { true }",
    "allow[x] { x := input.predicateType }",
    'allow { input._type == "https://in-toto.io/Statement/v1" }',
    'allow { startswith(input.predicateType, "https://") ; not input.missing }',
    "allow { count(input.subject) == 1 }",
    "allow { is_object(input.predicate) ; count(input.predicate) > 2 }",
    "allow { some name ; input.predicate[name] == null }",
    "allow { walk(input, [path, value]) ; value == 1 }",
    "allow { to_number(input.predicateType) > 1 }",
    "allow { input.predicate == {} }",
    "allow = true { true }\nallow = false { input.predicateType }",
    "allow { input.predicate.builder.id == data.none }",
    "allow(x) { x }",
    "deny[m] { not input.predicate.materials ; m := \"no materials\" }\nallow { count(deny) == 0 }",
    "allow { time.now_ns() > 0 }",
    "import rego.v1\nallow if input.predicate",
    "allow.nested { true }",
]


def attested(site: Site, number: int, kind: str, predicate: Any) -> str:
    image, path = site.push(f"policed-{number}"), site.folder / f"policed-{number}.json"
    path.write_text(json.dumps(predicate))
    assert site.custody("attest", "--key", str(site.folder / "cosign.key"), "--tlog-upload=false", "--predicate",
                        str(path), "--type", kind, image) == 0
    return image


def payload(image: str) -> bytes:
    async def fetch() -> bytes:
        async with RegistryClient(StdlibHttp()) as client:
            evidence, = (await fetch_evidence(client, references.parse(image))).evidence
            return decode(evidence).payload or b""

    return asyncio.run(fetch())


def both(site: Site, image: str, kind: str, *policies: str) -> tuple[bool, bool]:
    """Whether cosign and custody allow it."""
    line = ("verify-attestation", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog", "--type", kind,
            *(part for policy in policies for part in ("--policy", policy)), image)
    theirs = site.cosign("cosign-v3", *line, "--allow-http-registry")
    assert theirs.returncode in (0, 1), theirs.stderr
    ours = site.custody(*line)
    assert ours in (0, 2, 3, 4)
    return theirs.returncode == 0, ours == 0


def shown(image: str, kind: str) -> str:
    """A policy that allows exactly the input that custody shows."""
    document = read_json(policy_input(payload(image), kind))
    marshalled = rego.Policy({}, version=0).query("x = json.marshal(input)")({}, document)[0].bindings["x"]
    digest = hashlib.sha256(str(marshalled).encode()).hexdigest()
    return f'package signature\nallow {{ crypto.sha256(json.marshal(input)) == "{digest}" }}\n'


@pytest.mark.parametrize("number", range(len(PREDICATES)))
def test_the_input_is_cosigns_to_the_byte(site: Site, number: int) -> None:
    kind, predicate = PREDICATES[number]
    image = attested(site, number, kind, predicate)
    policy = site.folder / f"shown-{number}.rego"
    policy.write_text(shown(image, kind))
    assert both(site, image, kind, str(policy)) == (True, True)
    policy.write_text(shown(image, kind).replace('== "', '== "0'))
    assert both(site, image, kind, str(policy)) == (False, False)


def made_up(random_: random.Random, depth: int = 3) -> Any:
    kind = random_.randrange(8 if depth else 6)
    if kind < 6:
        return random_.choice([None, True, False, 0, -1, 1.5, 1e300, 2**60, random_.random(), "", "ü", "2026", TIME])
    if kind == 6:
        return [made_up(random_, depth - 1) for _ in range(random_.randrange(4))]
    return {random_.choice(["builder", "id", "uri", "a b", "URI", "metadata", "x"]): made_up(random_, depth - 1)
            for _ in range(random_.randrange(5))}


def test_generated_predicates_are_shown_the_same(site: Site) -> None:
    random_, rows = random.Random(7), []
    for number in range(40):
        kind = random_.choice(["custom", "spdxjson", "cyclonedx", "openvex", "https://example.com/p/v1",
                               "slsaprovenance1"])
        predicate = {**{name: made_up(random_) for name in ("a", "b", "builder")}, "n": number}
        image = attested(site, 1000 + number, kind, predicate)
        policy = site.folder / f"generated-{number}.rego"
        policy.write_text(shown(image, kind))
        rows.append((kind, predicate, *both(site, image, kind, str(policy))))
    assert [row for row in rows if row[2:] != (True, True)] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies")


def test_rules_over_predicates(site: Site, folder: Path) -> None:
    """Every rule with six predicates: as many decisions, and the same ones."""
    images = [(kind, attested(site, 2000 + number, kind, predicate))
              for number, (kind, predicate) in enumerate(PREDICATES[at] for at in (0, 2, 5, 7, 12, 14))]
    differing, allowed = [], 0
    for number, rules in enumerate(RULES):
        policy = folder / f"rule-{number}.rego"
        policy.write_text(f"package signature\n{rules}\n")
        for kind, image in images:
            theirs, ours = both(site, image, kind, str(policy))
            allowed += ours
            if theirs != ours:
                differing.append((rules, kind, theirs, ours))
    assert differing == []
    assert 20 < allowed < len(RULES) * len(images) - 20  # neither all nor nothing


def test_several_files_are_one_policy(site: Site, folder: Path) -> None:
    image = attested(site, 3000, "custom", {})
    first, second, other = (folder / name for name in ("first.rego", "second.rego", "other.rego"))
    first.write_text("package signature\nallow { helper }\n")
    second.write_text("package signature\nhelper { input.predicateType }\n")
    other.write_text("package signature\nallow = false { true }\n")
    assert both(site, image, "custom", str(first)) == (False, False)
    assert both(site, image, "custom", str(first), str(second)) == (True, True)
    assert both(site, image, "custom", f"{first},{second}") == (True, True)
    assert both(site, image, "custom", str(first), str(second), str(other)) == (False, False)
    assert both(site, image, "custom", str(first), str(folder / "gone.rego")) == (False, False)
    (folder / "policy.txt").write_text(first.read_text())
    assert both(site, image, "custom", str(folder / "policy.txt")) == (False, False)


def test_every_attestation_of_the_type_is_asked_about(site: Site, folder: Path) -> None:
    image = attested(site, 3001, "custom", {})
    assert image
    policy = folder / "long.rego"
    policy.write_text('package signature\nallow { contains(input.predicate.Data, "good") }\n')
    for number, text in enumerate(("good", "bad")):
        path = site.folder / f"text-{number}"
        path.write_text(text)
        assert site.custody("attest", "--key", str(site.folder / "cosign.key"), "--tlog-upload=false", "--predicate",
                            str(path), "--type", "custom", image) == 0
    assert both(site, image, "custom", str(policy)) == (False, False)


def test_statements_with_other_fields_are_shown_to_nobody() -> None:
    statement = json.loads(intoto.statement("sha256:" + "0" * 64, "https://example.com/p/v1", {}).to_bytes())
    from custody.errors import UnsupportedError

    with pytest.raises(UnsupportedError, match=r"statement\.more: a statement has no such field"):
        policy_input(json.dumps({**statement, "more": 1}).encode(), "https://example.com/p/v1")

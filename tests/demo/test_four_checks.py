"""One set of checks in three policy languages: equal on every pod of every attack, and on the clean image."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.demo import attacks
from custody.demo.story import Chain, tell_from_source
from custody.demo.tell import Teller
from custody.demo.world import World, examples, opened
from custody.errors import CustodyError
from custody.kit.clock import system_clock
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Verdict
from custody.policy.record import replay
from custody.services.check import Checked, check
from tests.demo.worlds import small_world
from tests.policy.gatekeeper.world import NOW, asked
from tests.policy.test_evidence_languages import ALL, known, pod

FOLDER = examples() / "four-checks"
LANGUAGES = ("kyverno", "gatekeeper", "admission-policy")
ALLOWED, DENIED = Verdict.ALLOWED, Verdict.DENIED
# What the four checks say of each pod that an attack asks about, in its order. None: it asks about none, and the clean
# image stays what it is.
EXPECTED: Mapping[str, tuple[Verdict, ...] | None] = {
    "a commit that nobody signed": None, "a dependency whose bytes are not the lock's": None,
    "an image that nobody signed": (DENIED,), "the same image from another registry": (DENIED,),
    "the signature of another image, copied over": (DENIED,), "a right signature by the wrong identity": (DENIED,),
    # Provenance is none of the four, nor is a second signature.
    "provenance that names another repository": (ALLOWED,), "provenance signed by the build step's own key": (ALLOWED,),
    "a Notation signature in the right name, by another authority": (ALLOWED,),
    "no SBOM": (DENIED,), "a scan that is too old": (DENIED,), "a scan that covered nothing": (DENIED,),
    "a critical vulnerability, published after the build": (ALLOWED, DENIED), "a blob changed at rest": None,
    "a tag moved to another image": (DENIED, ALLOWED), "a log that drops an entry": None,
    "a privileged pod": (ALLOWED,),  # nor is how it runs
    "a shell in the container": None, "a binary that is in no layer": None,
    "a connection that a policy forbids": None, "an exec through the API server": None,
}
REASONS = {
    "an image that nobody signed": "signatures missing", "no SBOM": "sbom missing",
    "the same image from another registry": "its registry is none of",
    "the signature of another image, copied over": "signatures failed: referrer",
    "a right signature by the wrong identity": "who does not count",
    "a scan that is too old": "hours old", "a scan that covered nothing": "did not look at everything",
    "a critical vulnerability, published after the build": "critical findings",
    "a tag moved to another image": "signatures missing"}
"""Of the template's reason for what is denied."""


def test_all_attacks_are_expected() -> None:
    assert {attack.title for attack in attacks.ATTACKS} == {*EXPECTED}
    assert {*REASONS} == {title for title, verdicts in EXPECTED.items() if DENIED in (verdicts or ())}


Judged = dict[str, list[dict[str, Decision]]]


async def judge(world: World, pod: dict[str, Any], policies: Mapping[str, PolicySet]) -> dict[str, Decision]:
    """What each language says of a pod, and says again without anybody to ask."""
    made = {name: await check(pod, each, world.gatherer, system_clock) for name, each in policies.items()}
    for name, checked in made.items():
        again = replay(checked.record)
        assert (again.verdict, again.inputs_digest) == (checked.decision.verdict, checked.decision.inputs_digest), name
    return {name: checked.decision for name, checked in made.items()}


async def judge_attacks(world: World, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Judged:
    """By attack: each pod that it asks about, at the moment when it does; the clean one where it asks about none."""
    policies = {name: PolicySet.load([FOLDER / f"{name}.yaml"]) for name in LANGUAGES}
    asked: list[dict[str, Decision]] = []
    admit = World.admit

    async def admitted(world: World, pod: dict[str, Any]) -> tuple[bool, str, dict[str, Any], Checked]:
        said = await admit(world, pod)
        asked.append(await judge(world, pod, policies))
        return said

    monkeypatch.setattr(World, "admit", admitted)
    clean = world.pod(f"{world.name}@{chain.image.digest}")
    judged = {"clean": [await judge(world, clean, policies)]}
    for attack in attacks.ATTACKS:
        if attack.needs_build and chain.built is None:
            continue
        asked.clear()
        await attack.work(world, chain)
        judged[attack.title] = [*asked] or [await judge(world, clean, policies)]
    return judged


def hold(judged: Judged) -> None:
    for title, decisions in judged.items():
        expected = EXPECTED.get(title) or (ALLOWED,)
        for name in LANGUAGES:
            assert tuple(decision[name].verdict for decision in decisions) == expected, (
                title, name, [decision[name].results for decision in decisions])
        for decision in decisions:
            if decision["gatekeeper"].verdict is DENIED:
                said = " ".join(result.message for result in decision["gatekeeper"].results)
                assert REASONS[title] in said, said


def test_three_languages_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Judged:
        async with small_world(tmp_path) as (world, chain, _):
            return await judge_attacks(world, chain, monkeypatch)

    judged = asyncio.run(main())
    assert len(judged) == 18
    hold(judged)


def test_images_of_volumes_are_images(tmp_path: Path) -> None:
    async def main() -> list[dict[str, Decision]]:
        async with small_world(tmp_path) as (world, chain, _):
            policies = {name: PolicySet.load([FOLDER / f"{name}.yaml"]) for name in LANGUAGES}
            unsigned = await attacks._dress(world, chain, "volume", without="signature")
            elsewhere = f"{world.services.url.partition('//')[2]}/myorg/shop@{chain.image.digest}"
            good = f"{world.name}@{chain.image.digest}"
            pods = []
            for image in (good, elsewhere, f"{world.name}@{unsigned.digest}"):
                pod = world.pod(good)
                pod["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}},
                                          {"name": "model", "image": {"reference": image}}]
                pods.append(pod)
            return [await judge(world, pod, policies) for pod in pods]

    clean, elsewhere, unsigned = asyncio.run(main())
    for decisions, verdict in ((clean, ALLOWED), (elsewhere, DENIED), (unsigned, DENIED)):
        assert {name: decision.verdict for name, decision in decisions.items()} == dict.fromkeys(LANGUAGES, verdict), (
            decisions)
    for decisions, reasons in (
            (elsewhere, ("registry", "its registry is none of", "Images must come from")),
            (unsigned, ("failed to verify image", "signatures missing", "no such key: signatures"))):
        for name, reason in zip(LANGUAGES, reasons, strict=True):
            said = " ".join(f"{result.rule} {result.message}" for result in decisions[name].results if result.denies)
            assert reason in said, said


def parts(name: str) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all((FOLDER / name).read_text())]


@pytest.mark.parametrize("left_out", ["signatures", "sbom", "findings"])
def test_a_constraint_says_whose_word_counts_for_each_kind(left_out: str) -> None:
    template, constraint = parts("gatekeeper.yaml")
    del constraint["spec"]["parameters"]["signers"][left_out]
    with pytest.raises(CustodyError, match=f"signers.*{left_out}"):
        PolicySet.load([template, constraint])


@pytest.mark.parametrize("left_out", ["sbom", "findings"])
def test_the_template_itself_denies_a_kind_that_nobody_asked_for(left_out: str) -> None:
    template, constraint = parts("gatekeeper.yaml")
    del constraint["spec"]["parameters"]["signers"][left_out]
    schema = template["spec"]["crd"]["spec"]["validation"]["openAPIV3Schema"]
    schema["properties"]["signers"]["required"].remove(left_out)
    policies = PolicySet.load([template, constraint])
    image = "ghcr.io/myorg/shop@sha256:" + "1" * 64
    decision = decide(asked(pod(image)), {image: known(*ALL.values())}, policies, Context(now=NOW))
    assert decision.verdict is DENIED
    assert f"{image}: {left_out} not asked for" in " ".join(result.message for result in decision.results)


def test_a_constraint_without_parameters_allows_nothing() -> None:
    template, constraint = parts("gatekeeper.yaml")
    del constraint["spec"]["parameters"]
    image = "ghcr.io/myorg/shop@sha256:" + "1" * 64
    decision = decide(asked(pod(image)), {image: known(*ALL.values())}, PolicySet.load([template, constraint]),
                      Context(now=NOW))
    assert (decision.verdict, [result.message for result in decision.results]) == (
        DENIED, [f"{image}: its registry is none of "])


def test_three_languages_say_the_same_of_what_custody_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Judged | CustodyError:
        async with opened(tmp_path, policies=lambda place: [
                place / "notarised.yaml", *sorted((place / "shop").glob("*.yaml"))]) as world:
            try:
                chain = await tell_from_source(world, Teller(quiet=True), tmp_path / "cache")
            except CustodyError as error:
                return error
            return await judge_attacks(world, chain, monkeypatch)

    judged = asyncio.run(main())
    if isinstance(judged, CustodyError):
        pytest.skip(f"the shop cannot be built here: {judged.message}")
    assert len(judged) == 1 + len(attacks.ATTACKS)
    hold(judged)

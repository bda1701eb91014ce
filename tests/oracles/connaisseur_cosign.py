"""connaisseur-cosign: Connaisseur's own configurations of its cosign validator, and images that several keys signed.

A configuration is right where it loads, or is refused by the field that its file's name says is wrong. Of each image
whose signatures are there, each trust root, each threshold and each list of required ones is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from custody.errors import CustodyError
from custody.evidence.model import Evidence, facts
from custody.formats import cosign
from custody.kit.digest import sha256
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request, Verdict
from custody.ports.lookup import Answered, ImageEvidence
from custody.services.verify import Terms, judge, sort
from custody.sign.trusting import trust_of
from tests.policy.signing import NOW, reason

_FIELDS = {"unmarshal_err": "expected a map", "rekor_err": "host.rekor", "no_trust_roots": "trustRoots",
           "invalid_cert": "cert", "invalid_rekor_pub_key": "host.rekorPubkey",
           "invalid_fulcio_cert": "host.fulcioCert", "invalid_ct_log_pub_key": "host.ctLogPubkey"}
"""What is wrong with a configuration, by its file's name without the number."""
_NAME = "ghcr.io/connaisseur/image"


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    place = folder / "test/testdata/cosign"
    for file in sorted(place.glob("*.yaml")):
        yield file.name, _loaded(file)
    roots = [{"name": file.stem, "key": file.read_text()} for file in sorted(place.glob("*.key"))]
    for manifest in sorted(place.glob("*/*/manifests/sha256-*.sig.json")):
        yield from _signed(manifest, roots)


def _loaded(file: Path) -> str | None:
    """Why it is not right."""
    entry = yaml.safe_load(file.read_text())
    name = entry.get("name") if isinstance(entry, dict) else "none"
    wrong = _FIELDS.get(re.sub(r"^[0-9]+_", "", file.stem))
    try:
        PolicySet([{"validators": [entry], "policy": [{"pattern": "*:*", "validator": name,
                                                       "with": {"trustRoot": "*"}}]}])
    except CustodyError as error:
        return None if wrong is not None and wrong in error.message else error.message
    return None if wrong is None else f"loaded, and {wrong} is wrong"


def _signed(manifest: Path, roots: list[dict[str, str]]) -> Iterator[tuple[str, str | None]]:
    digest = f"sha256:{manifest.name[7:71]}"
    documents: list[Evidence] = []
    for at, layer in enumerate(json.loads(manifest.read_text())["layers"]):
        blob = manifest.parents[1] / "blobs" / f"{layer['digest']}.json"
        if not blob.exists():
            return  # a part of the cases that is not here
        documents.append(Evidence(subject=digest, media_type=cosign.SIMPLE_SIGNING, data=blob.read_bytes(),
                                  source=f"layer {at}", annotations=layer["annotations"]))
    tag = next(file.stem for file in manifest.parent.glob("*.json") if _digest(file) == digest)
    names, signers = [root["name"] for root in roots], tag.partition("cosigned-")[2].split("-")
    for name in names:
        yield f"{tag} {name}", _asked(documents, digest, roots, {"trustRoot": name}, name in signers)
    for count in range(1, len(names) + 1):
        yield f"{tag} {count} of all", _asked(documents, digest, roots, {"trustRoot": "*", "threshold": count},
                                              count <= len(signers))
        for required in combinations(names, count):
            yield f"{tag} required {' '.join(required)}", _asked(
                documents, digest, roots, {"trustRoot": "*", "required": [*required]}, set(required) <= set(signers))


def _digest(file: Path) -> str:
    return sha256(file.read_bytes())


def _asked(documents: list[Evidence], digest: str, roots: list[dict[str, str]], options: dict[str, Any],
           expected: bool) -> str | None:
    policies = PolicySet([{"validators": [{"name": "default", "type": "cosign", "trustRoots": roots}], "policy": [
        {"pattern": "*:*", "with": {"verifyInTransparencyLog": False, **options}}]}])
    request = Request.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                              "spec": {"containers": [{"name": "c", "image": f"{_NAME}@{digest}"}]}})
    answers = {question: Answered(facts(sort(digest, [
        judge(document, Terms(trust_of(question.authority, None)), NOW) for document in documents])))
        for question in policies.needs(request).questions if isinstance(question, ImageEvidence)}
    decision = decide(request, {}, policies, Context(now=NOW), answers=answers)
    if (decision.verdict is Verdict.ALLOWED) is expected:
        return None
    return f"{decision.verdict}, {'expected it to be signed' if expected else 'expected a denial'}: {reason(decision)}"

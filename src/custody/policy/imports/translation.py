"""Image policies of other controllers as policies of Kyverno, with a trial of both before anything is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError, UnsupportedError
from custody.formats.intoto import COSIGN_SIGN, predicate_type
from custody.policy.images import image
from custody.policy.imports import connaisseurimages, kyvernoimages
from custody.policy.imports.configuration import is_configuration
from custody.policy.imports.trial import Signature, Trial, compared, variants
from custody.policy.load import PolicySet
from custody.policy.resources import type_of

_SAMPLES = ("nginx", "nginx:1", "myuser/app:2", "ghcr.io/org/app:v1", "registry.example.com:5000/team/app:1")


class Translated(NamedTuple):
    """One document: its translation, or why there is none."""

    name: str
    documents: Sequence[dict[str, Any]]
    refused: CustodyError | None
    trial: Trial | None


def translate(document: dict[str, Any]) -> Translated:
    """Raises MalformedError, UnsupportedError for what is no policy to be imported, or does not load."""
    connaisseur = is_configuration(document)
    kind = document.get("kind")
    if not connaisseur and (kind != "ClusterImagePolicy" or not str(document.get("apiVersion")).startswith(
            "policy.sigstore.dev/")):
        theirs = str(document.get("apiVersion")).startswith("kyverno.io/")
        raise UnsupportedError("kind", f"{type_of(document)} is not imported", hint="`custody policy migrate` reads it"
                               if theirs else "ClusterImagePolicy and configurations of Connaisseur are")
    name = PolicySet([document]).policies[0].name
    try:
        made = connaisseurimages.translated(document) if connaisseur else [kyvernoimages.translated(document)]
        signatures = connaisseurimages.signatures(document) if connaisseur else _signatures(document)
        names = connaisseurimages.patterns(document) if connaisseur else [
            entry["glob"] for entry in document["spec"]["images"]]
        wrong = [variant for signature in signatures for variant in variants(signature)]
        trial = compared([document], made, [*signatures, *dict.fromkeys(wrong)], [*_images(names)])
    except CustodyError as error:
        return Translated(name, (), error, None)
    refused: CustodyError | None = None
    if trial.difference is not None:
        refused = UnsupportedError("document", f"its translation says something else: {trial.difference}")
    elif not (trial.denied or trial.allowed):
        refused = UnsupportedError("document", "none of the images that were tried is one of its own")
    return Translated(name, made, refused, trial)


def _images(patterns: Sequence[str]) -> Iterator[str]:
    """Names that fit patterns, names that almost do, and others."""
    made = dict.fromkeys(_SAMPLES)
    for pattern in patterns:
        plain = re.sub(r"[\[\]{}!?@]", "", pattern)
        for deep in ("xx", "xx/yy"):
            text = plain.replace("**", deep).replace("*", "xx").strip("/")
            for written in (text, f"{text}:1", text.partition(":")[0] + "/more:1", f"{text}z"):
                made[written] = None
    for written in made:
        try:
            image(written)
        except CustodyError:
            continue
        yield written


def _signatures(document: dict[str, Any]) -> list[Signature]:
    """By each of a ClusterImagePolicy's authorities, as it wants it."""
    made: list[Signature] = []
    for authority in document["spec"]["authorities"]:
        base = Signature(repository=((authority.get("source") or [{}])[0]).get("oci") or "")
        kinds = [predicate_type(entry["predicateType"]) for entry in authority.get("attestations") or ()]
        if key := authority.get("key"):
            pem = (key.get("data") or f"-----BEGIN PUBLIC KEY-----\n{key.get('kms')}\n-----END PUBLIC KEY-----").strip()
            signers = [base._replace(key=pem)]
        elif keyless := authority.get("keyless"):
            roots = (keyless.get("ca-cert") or {}).get("data") or ""
            signers = [base._replace(subject=connaisseurimages.example(identity, "subject", "RegExp"),
                                     issuer=connaisseurimages.example(identity, "issuer", "RegExp"), roots=roots)
                       for identity in keyless["identities"]]
        else:
            signers = []
        made += [signer._replace(kind=kind) for signer in signers for kind in (kinds or [COSIGN_SIGN])]
    return made

"""What policies ask about images and signatures, on their own terms. All else by whom the lookup is of."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from custody.errors import MalformedError
from custody.evidence.model import facts
from custody.formats import yaml
from custody.ports.lookup import (
    Answer,
    Answered,
    ApiCall,
    Authority,
    BlobEvidence,
    Failed,
    ImageData,
    ImageEvidence,
    ImageLayers,
    Lookup,
    NoLookup,
    Question,
)
from custody.services.gather import Gatherer
from custody.services.imagedata import image_data, image_layers
from custody.trust.roots import TrustedRoot

_LOGINS = ".dockerconfigjson"
_FIRST = ".dockercfg"
_OWN = "secret.yaml"


class EvidenceLookup:
    """Implements ports.lookup.Lookup. `beyond` answers other questions; without one they have failed."""

    def __init__(self, gatherer: Gatherer, beyond: Lookup | None = None) -> None:
        self._gatherer = gatherer
        self._beyond = beyond or NoLookup()
        self.root: Callable[[], TrustedRoot | None] = lambda: None
        """The trust root of the moment, where it is not the gatherer's own."""

    async def answer(self, question: Question) -> Answer:
        if isinstance(question, ImageData):
            return await image_data(self._gatherer.client, question.image)
        if isinstance(question, BlobEvidence):
            return Answered(facts(await self._gatherer.signed(question, self.root())))
        if not isinstance(question, ImageEvidence | ImageLayers):
            return await self._beyond.answer(question)
        logins = await self._logins(question.authority)
        if isinstance(logins, Failed):
            return logins
        if isinstance(question, ImageLayers):
            asking = partial(self._gatherer.asking, authority=question.authority, logins=logins)
            return await image_layers(asking, question.image)
        return Answered(facts(await self._gatherer.demanded(question, logins, self.root())))

    def known(self, question: Question) -> Answer | None:
        if isinstance(question, ImageData | BlobEvidence | ImageEvidence | ImageLayers):
            return None
        return self._beyond.known(question)

    async def _logins(self, authority: Authority) -> dict[str, str] | Failed:
        logins: dict[str, str] = {}
        for secret in (*authority.secrets, *authority.pull_secrets):
            namespace, _, name = secret.partition("/")
            answer = await self._beyond.answer(ApiCall(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
            text = _logins(answer.value) if isinstance(answer, Answered) else None
            if text is None and secret not in authority.secrets:
                continue
            if isinstance(answer, Failed):
                return answer
            if text is None:
                return Failed(f"Secret {secret}: there is none, or none with {_LOGINS}")
            logins[f"Secret {secret}"] = text
        return logins


def _logins(secret: Any) -> str | None:
    """Logins as Docker's configuration has them: as they are there, in its first form, or of Connaisseur's
    `secret.yaml`."""
    text = _text(secret, _LOGINS)
    if text is None and (auths := _text(secret, _FIRST)) is not None:
        return f'{{"auths":{auths}}}'
    own = _text(secret, _OWN) if text is None else None
    if own is None:
        return text
    try:
        said = yaml.documents(own.encode(), _OWN)[0]
        username, password, registry = (str(said[field]) for field in ("username", "password", "registry"))
    except (MalformedError, LookupError, TypeError):
        return None
    return json.dumps({"auths": {registry: {"username": username, "password": password}}})


def _text(secret: Any, key: str) -> str | None:
    data = secret.get("data") if isinstance(secret, dict) else None
    value = data.get(key) if isinstance(data, dict) else None
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else None
    except ValueError:
        return None

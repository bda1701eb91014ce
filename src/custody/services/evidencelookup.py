"""What policies ask about images: data, and evidence on their own terms. All else by whom the lookup is of."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from custody.errors import MalformedError
from custody.evidence.model import facts
from custody.formats import yaml
from custody.ports.lookup import Answer, Answered, ApiCall, Failed, ImageData, ImageEvidence, Lookup, Question
from custody.services.gather import Gatherer
from custody.services.imagedata import image_data
from custody.trust.roots import TrustedRoot

_LOGINS = ".dockerconfigjson"
_OWN = "secret.yaml"


class EvidenceLookup:
    """Implements ports.lookup.Lookup. `beyond` answers other questions; without one they have failed."""

    def __init__(self, gatherer: Gatherer, beyond: Lookup | None = None) -> None:
        self._gatherer = gatherer
        self._beyond = beyond
        self.root: Callable[[], TrustedRoot | None] = lambda: None
        """The trust root of the moment, where it is not the gatherer's own."""

    async def answer(self, question: Question) -> Answer:
        if isinstance(question, ImageData):
            return await image_data(self._gatherer.client, question.image)
        if not isinstance(question, ImageEvidence):
            return await self._ask(question)
        logins: dict[str, str] = {}
        for secret in question.authority.secrets:
            namespace, _, name = secret.partition("/")
            answer = await self._ask(ApiCall(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
            if isinstance(answer, Failed):
                return answer
            text = _logins(answer.value) if isinstance(answer, Answered) else None
            if text is None:
                return Failed(f"Secret {secret}: there is none, or none with {_LOGINS}")
            logins[f"Secret {secret}"] = text
        return Answered(facts(await self._gatherer.demanded(question, logins, self.root())))

    async def _ask(self, question: Question) -> Answer:
        if self._beyond is None:
            return Failed(f"there is nobody to ask for {question}")
        return await self._beyond.answer(question)


def _logins(secret: Any) -> str | None:
    """Logins as Docker's configuration has them: as they are there, or of Connaisseur's `secret.yaml`."""
    text = _text(secret, _LOGINS)
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

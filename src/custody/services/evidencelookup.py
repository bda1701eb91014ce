"""What policies ask about images on their own terms, answered by the gatherer; all else by whom the lookup is of."""

from __future__ import annotations

import base64
from typing import Any

from custody.evidence.model import facts
from custody.ports.lookup import Answer, Answered, ApiCall, Failed, ImageEvidence, Lookup, Question
from custody.services.gather import Gatherer

_LOGINS = ".dockerconfigjson"


class EvidenceLookup:
    """Implements ports.lookup.Lookup. `beyond` answers other questions; without one they have failed."""

    def __init__(self, gatherer: Gatherer, beyond: Lookup | None = None) -> None:
        self._gatherer = gatherer
        self._beyond = beyond

    async def answer(self, question: Question) -> Answer:
        if not isinstance(question, ImageEvidence):
            return await self._ask(question)
        logins: dict[str, str] = {}
        for secret in question.authority.secrets:
            namespace, _, name = secret.partition("/")
            answer = await self._ask(ApiCall(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
            if isinstance(answer, Failed):
                return answer
            text = _text(answer.value, _LOGINS) if isinstance(answer, Answered) else None
            if text is None:
                return Failed(f"Secret {secret}: there is none, or none with {_LOGINS}")
            logins[f"Secret {secret}"] = text
        return Answered(facts(await self._gatherer.demanded(question, logins)))

    async def _ask(self, question: Question) -> Answer:
        if self._beyond is None:
            return Failed(f"there is nobody to ask for {question}")
        return await self._beyond.answer(question)


def _text(secret: Any, key: str) -> str | None:
    data = secret.get("data") if isinstance(secret, dict) else None
    value = data.get(key) if isinstance(data, dict) else None
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else None
    except ValueError:
        return None

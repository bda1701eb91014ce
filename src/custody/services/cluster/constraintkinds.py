"""The kinds that templates make: a CustomResourceDefinition for each template in force, and none without one."""

from __future__ import annotations

import logging
from typing import Any

from custody.admission.definitions import BY_KIND
from custody.policy.gatekeeper.constraintkind import LABEL, definition
from custody.ports.cluster import ApiError, ClusterObjects, Object, Served
from custody.services.cluster.podstatus import CREATE, UPDATE, Unmade
from custody.services.cluster.policies import Collection
from custody.services.cluster.webhooks import covers
from custody.services.mirror import DEFINITIONS, Mirror, key_of

_LOG = logging.getLogger(__name__)
TEMPLATE = BY_KIND["templates.gatekeeper.sh", "ConstraintTemplate"]


class ConstraintKinds:
    """Written by the replica that leads. `faults`: by template, why its kind could not be made."""

    def __init__(self, cluster: ClusterObjects) -> None:
        self.faults: dict[str, Unmade] = {}
        self._cluster = cluster
        self._written: dict[str, tuple[Object, Any]] = {}
        """What was written last, and the generation that the API server gave it: it may have put it otherwise."""

    async def keep(self, collection: Collection, there: Mirror, followed: Mirror | None) -> None:
        """`there` follows all definitions, `followed` all templates; None where nobody does.

        Raises CustodyError where the API server gives no answer.
        """
        templates = {key_of(held.document)[1]: held for held in [*collection.held.values()]
                     if held.definition is TEMPLATE}
        faults: dict[str, Unmade] = {}
        for name, held in templates.items():
            if held.judged is not None:
                document = definition(held.judged)
                known = there.objects.get(("", document["metadata"]["name"]))
                try:
                    fault = await self._write(document, known)
                except ApiError as error:
                    fault = error.words
                if fault:
                    faults[name] = Unmade(CREATE if known is None else UPDATE, fault[:1024])
        self.faults = faults
        if not collection.whole or followed is None or followed.served is None or followed.failure is not None:
            return  # a template that is not listed, or not served for a moment, is not one that is gone
        for (_, name), known in [*there.objects.items()]:
            if _owners(known) and name.partition(".")[0] not in templates and (
                    await self._orphaned(known, followed.served)):
                _LOG.info("%s is deleted with its constraints: its template is gone", name)
                await self._cluster.delete(DEFINITIONS, name, uid=str(known["metadata"].get("uid") or ""))

    async def _orphaned(self, known: Object, templates: Served) -> bool:
        """Whether the API server says that no template is there that made it. Raises CustodyError where it says
        nothing."""
        for owner in _owners(known):
            made_by = await self._cluster.list(templates, fields=f"metadata.name={owner.get('name')}")
            if any(owner.get("uid") in (None, "", template["metadata"].get("uid")) for template in made_by.items):
                return False
        return True

    async def _write(self, document: Object, known: Object | None) -> str:
        """Why it could not be; "" where it is there. `known`: what the cluster has of that name. Raises ApiError."""
        name = document["metadata"]["name"]
        if known is not None:
            if (known["metadata"].get("labels") or {}).get(LABEL) != "yes":
                return f"{name} is there, and of no template"
            if _is(known, document) or self._written.get(name) == (document, known["metadata"].get("generation")):
                return ""
            metadata = {**known["metadata"], **document["metadata"],
                        "labels": {**known["metadata"]["labels"], **document["metadata"]["labels"]}}
            made = await self._cluster.replace(DEFINITIONS, {**document, "metadata": metadata})
        else:
            made = await self._cluster.create(DEFINITIONS, document)
        self._written[name] = document, made["metadata"].get("generation")
        return ""


def _owners(known: Object) -> list[Object]:
    """References to the templates that made it; none for any other definition."""
    metadata = known["metadata"]
    if (metadata.get("labels") or {}).get(LABEL) != "yes":
        return []
    return [owner for owner in metadata.get("ownerReferences") or () if owner.get("kind") == TEMPLATE.kind]


def _is(known: Object, document: Object) -> bool:
    there, said = ([version.get("schema") for version in crd["spec"]["versions"]] for crd in (known, document))
    return there == said and covers(known, document)

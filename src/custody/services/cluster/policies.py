"""The policies of a cluster, each compiled by itself, as one set: what cannot be compiled is said of that object alone.

The set never has a policy that was not compiled whole, and never loses one because of another. A change that cannot be
compiled leaves the policy in force that this process compiled before, and says so: the policies' webhook refuses such a
change when it is applied, so it comes only where nobody answered then.
"""

from __future__ import annotations

import logging
from collections.abc import Collection as Collection_
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from custody.admission.definitions import CONSTRAINTS, Definition
from custody.errors import CustodyError
from custody.policy.counting import Counting
from custody.policy.engines import Compiled
from custody.policy.gatekeeper import connection
from custody.policy.gatekeeper.mutation import MutationRule
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.ports.cluster import Object
from custody.services.cluster.entries import fault as entry_fault
from custody.services.controllers.named import Reference
from custody.services.mirror import key_of, version_of

_LOG = logging.getLogger(__name__)

GATEKEEPERS_HOME = "gatekeeper-system"
_NAMED = 5
"""Constraints that a refused template is told of by name."""
TEMPLATE = ("templates.gatekeeper.sh", "ConstraintTemplate")
EXPANSION = "expansion.gatekeeper.sh"
ENTRY = ("kyverno.io", "GlobalContextEntry")
CONNECTION = (connection.GROUP, connection.KIND)
"""No policies: what policies ask for, and where what audits find is exported to."""
Place = tuple[str, str, str, str]
"""Group, kind, namespace and name of an object."""


@dataclass(slots=True)
class Held:
    """One object and what became of it."""

    definition: Definition
    document: Object
    """As the cluster has it."""
    judged: Object | None = None
    """What is in force: `document`, the one before where that cannot be compiled, or None."""
    fault: str = ""
    """Why `document` is not in force."""
    outdated: str = ""
    """Of a constraint in force: why it is judged by its template as that was before."""
    unfit: bool = False
    """Of a template: whether the fault is that constraints in force do not fit it."""
    conflict: str = ""
    """Of a mutator in force: why it is not applied all the same."""
    checked: tuple[Kinds, Compiled | None, str] | None = None
    """By which kinds, and beside which template, it was compiled, and what was wrong."""
    fresh: Compiled | None = None
    """`document`, compiled; None where it was not yet, or cannot be."""
    compiled: Compiled | None = None
    """`judged`, compiled."""

    @property
    def ready(self) -> bool:
        return not self.fault


class Collection:
    """The documents of all kinds of policies, and the set that they make."""

    def __init__(self, *, generates: bool = False, exceptions: Counting = Counting(()),
                 homes: Collection_[str] = (GATEKEEPERS_HOME,)) -> None:
        """`generates`: somebody carries out what policies do to other objects; else they are refused.

        `exceptions` says which PolicyExceptions count, `homes` in which namespaces a Config does.
        """
        self._exceptions, self._homes = exceptions, homes
        self.whole = False
        """Whether all that the cluster has was put here."""
        self.held: dict[Place, Held] = {}
        self._fixed: list[tuple[str, Compiled]] = []
        """Of files, with where they stand."""
        self._replacing = Lock()
        """The watch puts documents there while a thread compiles those that were there."""
        self._generates = generates

    def put(self, definition: Definition, document: Object) -> None:
        place = _place(definition, document)
        with self._replacing:
            before = self.held.get(place)
            self.held[place] = Held(definition, document, before.judged if before else None,
                                    compiled=before.compiled if before else None)

    def fix(self, documents: Sequence[tuple[str, Object]]) -> None:
        """Documents that come from files, with where they stand, beside those of the cluster. Raises CustodyError."""
        self._fixed = [(where, Compiled(document, where)) for where, document in documents]

    def renew(self, definition: Definition, document: Object) -> None:
        """The same policy in another version, of which only the status is new."""
        held = self.held.get(_place(definition, document))
        if held is not None:
            if held.judged is held.document:
                held.judged = document
            held.document = document

    def drop(self, definition: Definition, document: Object) -> None:
        self.held.pop(_place(definition, document), None)

    @property
    def compiled(self) -> list[Held]:
        """Those of which it is known what became of them. One that came since may be as broken as it likes."""
        return [held for held in [*self.held.values()] if held.checked is not None]

    def beside(self, place: Place) -> list[Compiled]:
        """All that is in force, but what stands at one place."""
        return [held.compiled for at, held in [*self.held.items()] if held.compiled is not None and at != place]

    def uid_of(self, about: Reference) -> str:
        """Of the object that a policy is, as events name it; empty where it is none of the cluster's."""
        group = about.api_version.rpartition("/")[0]
        held = self.held.get((group, about.kind, about.namespace, about.name))
        return str((held.document.get("metadata") or {}).get("uid") or "") if held else ""

    def compile(self, kinds: Kinds) -> PolicySet:
        """All that can be compiled. Afterwards each object's `judged` and `fault` are those of this set.

        Raises CustodyError only where the documents of files, or two objects together, cannot be.
        """
        known = {**self.held}  # the watch puts others there meanwhile
        try:
            return self._compile(known, kinds)
        finally:
            with self._replacing:
                for place, held in known.items():
                    after = self.held.get(place)
                    if after is not None and after is not held and _uid(after) == _uid(held):
                        after.judged, after.compiled = held.judged, held.compiled

    def _compile(self, known: Mapping[Place, Held], kinds: Kinds) -> PolicySet:
        before = {place: (held.judged, held.compiled) for place, held in known.items()}
        for held in sorted(known.values(), key=lambda held: held.definition.group == CONSTRAINTS):  # templates first
            fault = self._check(held, kinds, known)
            if (held.definition.group, held.definition.kind) == TEMPLATE:
                broken = self._broken(held.fresh, kinds, known) if held.fresh is not None and not fault else []
                for constraint in _made_by(held.document, known):
                    constraint.outdated = ""
                for constraint, why in broken:
                    constraint.outdated = f"it is judged by its template as that was before: by what it is now, {why}"
                held.unfit = not fault and bool(broken)
                fault = fault or _breaking(broken)
            self._choose(held, fault + _aside(held.document, known) if fault else "")
        closing: list[Held] | None = []
        while True:
            parts = [*self._fixed]
            places: dict[str, Held] = {}
            for place, held in sorted(known.items(), key=lambda item: _turn(item[0], item[1], before[item[0]][0])):
                if held.compiled is not None:
                    where = _words(place)
                    places[where] = held
                    parts.append((where, held.compiled))
            try:
                policies = PolicySet.linking([part for _, part in parts], [where for where, _ in parts], kinds)
                if closing and self._taken_up(known, closing, kinds):
                    closing = None  # once: who is blamed again stays so
                    continue
                _tell_conflicts(known, policies)
                return policies
            except CustodyError as error:  # it is well by itself, and not beside the others
                blamed = places.get(error.place or "")
                if blamed is None:
                    raise
                words = _without(error, error.place or "")
                if blamed.judged is blamed.document:
                    was = before[_place(blamed.definition, blamed.document)]
                    if was[0] is not blamed.document:
                        blamed.judged, blamed.compiled = was
                    self._choose(blamed, words)
                    if closing is not None and blamed.definition.group == EXPANSION:
                        closing.append(blamed)
                else:
                    blamed.judged, blamed.compiled, blamed.fault = None, None, blamed.fault or words

    def _taken_up(self, known: Mapping[Place, Held], blamed: Sequence[Held], kinds: Kinds) -> bool:
        """Whether changes of expansion templates are in force after all, that closed cycles only with what was put out
        of force itself after them: each that stays blamed would close one with what is in force."""
        waiting = sorted(blamed, key=lambda held: _turn(_place(held.definition, held.document), held, None))
        again = True
        while again:
            again = False
            for held in [*waiting]:
                if held.fresh is not None:
                    words = self._closing(held.fresh, known, kinds)
                    self._choose(held, words)
                    if not words:
                        waiting.remove(held)
                        again = True
        return len(waiting) < len(blamed)

    def _choose(self, held: Held, fault: str) -> None:
        """What is in force of an object: itself, or what was in force before."""
        if not fault:
            held.judged, held.compiled, held.fault = held.document, held.fresh, ""
            return
        if held.judged is held.document:
            held.judged = held.compiled = None
        before = held.judged
        held.fault = fault if before is None else (
            f"{fault}; the policy as it was before (resourceVersion {version_of(before)}) is in force")

    def breaking(self, template: Compiled, kinds: Kinds) -> str:
        """Why a template cannot take the place of the one in force: the constraints that it would put out of force."""
        return _breaking(self._broken(template, kinds, {**self.held}))

    def closing(self, expansion: Compiled, kinds: Kinds) -> str:
        """Why an ExpansionTemplate cannot be beside those in force: it would close a cycle."""
        return self._closing(expansion, {**self.held}, kinds)

    def _closing(self, expansion: Compiled, known: Mapping[Place, Held], kinds: Kinds) -> str:
        own = key_of(expansion.document)
        beside = [held.compiled for (group, _, *at), held in known.items()
                  if group == EXPANSION and tuple(at) != own and held.compiled is not None]
        beside += [compiled for _, compiled in self._fixed if _group(compiled.document) == EXPANSION]
        try:
            PolicySet.linking([*beside, expansion], [""] * (len(beside) + 1), kinds)
        except CustodyError as error:
            return _without(error, "")
        return ""

    def _broken(self, template: Compiled, kinds: Kinds, known: Mapping[Place, Held]) -> list[tuple[Held, str]]:
        """Constraints in force that fit the template in force, and not this one: neither as they are, nor as they were
        before. With what does not fit."""
        before = known.get((*TEMPLATE, "", key_of(template.document)[1]))
        if before is None or before.compiled is None or before.compiled is template:
            return []
        broken = []
        for held in _made_by(template.document, known):
            if held.judged is None:
                continue
            fault, _ = self._tried(held.judged, kinds, held.compiled, template)
            if fault and held.document is not held.judged:  # perhaps it was changed together with its template
                fault = fault if self._tried(held.document, kinds, held.fresh, template)[0] else ""
            if fault:
                broken.append((held, fault))
        return broken

    def _check(self, held: Held, kinds: Kinds, known: Mapping[Place, Held]) -> str:
        """Why one document is no policy that can be in force; "" where it is. Compiled once for each version of it."""
        template = _template(held.document, known)
        if held.checked is None or held.checked[0] is not kinds or held.checked[1] is not template:
            fault = self.uncounting(held.document)
            if not fault:
                fault, held.fresh = self._tried(held.document, kinds, held.fresh, template)
            held.checked = kinds, template, fault
        return held.checked[2]

    def uncounting(self, document: Object) -> str:
        """Why an exception or a Config does not count where it lies; "" for all else."""
        namespace = key_of(document)[0]
        if _group(document) == "config.gatekeeper.sh" and namespace not in self._homes:
            return f"it lies in namespace {namespace}, and a Config counts in {', '.join(self._homes)}"
        return self._exceptions.fault(document)

    def tried(self, document: Object, kinds: Kinds) -> tuple[str, Compiled | None]:
        """(why it cannot be in force, or ""; what it was compiled to), of any document of a kind that is watched, or of
        an entry of the global context, which is none that is compiled.
        """
        known = {**self.held}
        fault, compiled = self._tried(document, kinds, None, _template(document, known))
        return fault + _aside(document, known) if fault else "", compiled

    def _tried(self, document: Object, kinds: Kinds, compiled: Compiled | None,
               template: Compiled | None) -> tuple[str, Compiled | None]:
        """The same. `compiled` is what it was compiled to before, `template` a constraint's."""
        try:
            if document.get("kind") == ENTRY[1]:
                return entry_fault(document), None
            if (_group(document), document.get("kind")) == CONNECTION:
                return connection.fault(document), None
            compiled = compiled or Compiled(essence(document), "")
            parts = [compiled]
            if _group(document) == CONSTRAINTS:
                if template is None:
                    return f"{TEMPLATE[1]} {str(document.get('kind')).lower()} is not in force", compiled
                parts.append(template)
            policies = PolicySet.linking(parts, [""] * len(parts), kinds)
            if not self._generates:
                policies.need_nobody_to_generate()
        except CustodyError as error:
            return _without(error, ""), None
        except Exception as error:  # a fault of ours: of this policy alone, and it is not in force
            _LOG.exception("%s %s could not be compiled", document.get("kind"), "/".join(key_of(document)))
            return f"compiling it failed with an internal error ({type(error).__name__})", None
        return "", compiled


def essence(document: Object) -> Object:
    """What a policy says: without what the cluster keeps of it, so that the same policies have the same digest."""
    metadata = document.get("metadata") or {}
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items()
                   if name != "kubectl.kubernetes.io/last-applied-configuration"}
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if metadata.get(name)}
    return {**{name: value for name, value in document.items() if name != "status"},
            "metadata": {**kept, **({"annotations": annotations} if annotations else {})}}


def _uid(held: Held) -> object:
    return (held.document.get("metadata") or {}).get("uid")


def _group(document: Object) -> str:
    return str(document.get("apiVersion")).partition("/")[0]


def _place(definition: Definition, document: Object) -> Place:
    return (definition.group, definition.kind, *key_of(document))


def _template(document: Object, known: Mapping[Place, Held]) -> Compiled | None:
    """That of a constraint, as it is in force."""
    if _group(document) != CONSTRAINTS:
        return None
    held = known.get((*TEMPLATE, "", str(document.get("kind")).lower()))
    return held.compiled if held is not None else None


def _aside(constraint: Object, known: Mapping[Place, Held]) -> str:
    """What is to be known beside a constraint's fault: that it is not the template as the cluster has it."""
    if _group(constraint) != CONSTRAINTS:
        return ""
    held = known.get((*TEMPLATE, "", str(constraint.get("kind")).lower()))
    if held is None or held.judged is None or held.ready:
        return ""
    return f"; {TEMPLATE[1]} {key_of(held.document)[1]} is in force as it was before, for what its status says"


def _turn(place: Place, held: Held, before: Object | None) -> tuple[bool, str, str]:
    """Where it stands among the others. Of expansion templates the last that closes a cycle is out of force: so those
    come first that were in force, then the eldest. All else stands as it came."""
    if place[0] != EXPANSION:
        return False, "", ""
    metadata = held.document.get("metadata") or {}
    return held.judged is None or held.judged is not before, str(metadata.get("creationTimestamp") or ""), place[3]


def _made_by(template: Object, known: Mapping[Place, Held]) -> list[Held]:
    """The constraints of a template, whatever it says their kind is."""
    name = key_of(template)[1]
    return [held for (group, kind, *_), held in known.items() if group == CONSTRAINTS and kind.lower() == name]


def _tell_conflicts(known: Mapping[Place, Held], policies: PolicySet) -> None:
    """Each mutator that contradicts another one is told so: none of these is applied."""
    contradicting = [rule.mutation.mutators[rank] for policy in policies.policies for rule in policy.rules
                     if isinstance(rule, MutationRule) for rank in sorted(rule.mutation.conflicts)]
    names = [f"{mutator.kind} {mutator.name}" for mutator in contradicting]
    for (group, kind, _, name), held in known.items():
        if group == "mutations.gatekeeper.sh":
            held.conflict = "" if f"{kind} {name}" not in names else (
                "it is not applied: what it implies of an object's shape contradicts another mutator; these contradict "
                f"each other: {', '.join(names[:_NAMED])}" + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED
                                                              else ""))


def _breaking(broken: Sequence[tuple[Held, str]]) -> str:
    """Of a template, the constraints that it would put out of force; "" where there are none."""
    if not broken:
        return ""
    named = "; ".join(f"{held.definition.kind} {key_of(held.document)[1]}: {why}" for held, why in broken[:_NAMED])
    rest = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"it does not fit constraints that are in force: {named}{rest}"


def _words(place: Place) -> str:
    group, kind, namespace, name = place
    return f"{kind}.{group} {namespace + '/' if namespace else ''}{name}"


def _without(error: CustodyError, place: str) -> str:
    """What is wrong, without where the document stands: that is the object itself."""
    return error.message.removeprefix(f"{place}: ") + (f" ({error.hint})" if error.hint else "")

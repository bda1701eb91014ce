"""Objects to judge a policy and its translation by: made of the fields that either names, and of what stands there.

Each field is there, absent, empty, of another type, and at and beside every bound that is written. The same policy
always gets the same objects.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from typing import Any

from custody.policy.migrate.patterns import LISTS
from custody.policy.migrate.trees import Tree
from custody.policy.migrate.vocabulary import ANY, MAPS, Vocabulary
from policylang.kpattern import anchor, scalar

_VALUES: tuple[Any, ...] = ("", "x", "5", "*", "true", 0, 1, -1, 5, True, False, "10Mi", "1.5")
_NUMBERS = frozenset(("replicas", "runAsUser", "runAsGroup", "fsGroup", "containerPort", "hostPort", "backoffLimit",
                      "terminationGracePeriodSeconds", "parallelism", "completions", "revisionHistoryLimit"))
_TRUTHS = frozenset(("hostNetwork", "hostPID", "hostIPC", "privileged", "runAsNonRoot", "allowPrivilegeEscalation",
                     "readOnlyRootFilesystem", "automountServiceAccountToken", "hostProcess", "readOnly", "suspend"))
"""Fields of Kubernetes that are whole numbers, and true or false."""
_IMAGES = ("nginx", "nginx:latest", "ghcr.io/org/app:v1", f"ghcr.io/org/app@sha256:{'0' * 64}",
           "registry.example.com:5000/app:1.0")


class Samples:
    """Objects of one kind."""

    def __init__(self, vocabulary: Vocabulary, *, typed: bool, seed: int = 0) -> None:
        """`typed`: of a kind whose objects have their types, as the API server decodes them: no null, no list for a
        map."""
        self._random = random.Random(seed)  # noqa: S311 - the same objects each time
        self._vocabulary = vocabulary
        self._typed = typed
        self._values = self._all = [*vocabulary.values.values(), *_VALUES]
        self._written = [*vocabulary.written.values(), True, False, "x"]

    def objects(self, count: int) -> Iterator[dict[str, Any]]:
        """Half of them meet a pattern but for a field or two."""
        patterns = self._vocabulary.patterns
        for at in range(count):
            self._values = self._written if at % 4 == 2 else self._all
            if at % 8 == 2:  # with all fields, and nothing in them but what the rule speaks of
                made = self._grown(self._vocabulary.tree, 0)
            elif patterns and at % 2:
                made = self._meeting(self._random.choice(patterns), self._random.random() * 0.3)
            else:
                made = self._grown(self._vocabulary.tree, self._random.choice((0.02, 0.15, 0.4, 0.7)))
            yield made if isinstance(made, dict) else {}

    def value(self, tree: Any) -> Any:
        """What is looked up."""
        return self._grown(tree, self._random.choice((0.02, 0.02, 0.15, 0.4)))

    def _meeting(self, pattern: Any, wrong: float, name: str = "") -> Any:
        """What matches a pattern, with a chance of something else at each of its fields."""
        if isinstance(pattern, dict):
            made: dict[str, Any] = {}
            for key, value in pattern.items():
                kind, name = anchor(key)
                if kind == "X" and self._random.random() > wrong:
                    continue
                if self._random.random() < (0.4 if kind in ("=", "^") else wrong / 2):
                    continue
                made[name.replace("*", "z").replace("?", "q")] = self._meeting(value, wrong, name)
            return made
        if isinstance(pattern, list):
            return [self._meeting(self._random.choice(pattern), wrong, name)
                    for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
        if self._random.random() < wrong:
            return self._leaf(name)
        fitting = [value for value in self._values if scalar(pattern)(value)]
        return self._random.choice(fitting) if fitting else self._leaf(name)

    def _grown(self, tree: Any, gaps: float, name: str = "") -> Any:
        if isinstance(tree, list):
            if not tree[0]:
                words = [value for value in self._values if isinstance(value, str) or not self._typed]
                return [self._random.choice(words) for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
            return [self._grown(tree[0], gaps) for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
        if name in MAPS and self._random.random() < (0.8 if not tree else 0.3):
            keys = [value for value in self._values if isinstance(value, str)]
            made = {self._random.choice(keys): self._leaf(name) for _ in range(self._random.choice((0, 1, 2)))}
            return {**made, **{key: self._leaf(name) for key in tree or {} if self._random.random() >= gaps}}
        if not tree:
            return self._leaf(name)
        if ANY in tree:
            keys = ["x", *(value for value in self._written if isinstance(value, str))]
            keys = [key for key in keys if key not in tree]
            made = {self._random.choice(keys): "x" for _ in range(self._random.choice((0, 1, 1, 2)))}
            return {**made, **{key: self._grown(below, gaps, key) for key, below in tree.items()
                               if key != ANY and self._random.random() >= gaps}}
        made = {name: self._grown(below, gaps, name) for name, below in tree.items() if self._random.random() >= gaps}
        if tree is self._vocabulary.tree and "rules" in tree and self._typed and self._random.random() < 0.05:
            made["rules"] = None  # of roles without any
        return made

    def changed(self, document: dict[str, Any]) -> dict[str, Any]:
        """The same object but for one field."""
        made = copy.deepcopy(document)
        at: Any = made
        name = ""
        for _ in range(12):
            keys = [*range(len(at))] if isinstance(at, list) else [key for key in at if at is not made or key not in (
                "apiVersion", "kind")]
            if not keys:
                break
            key = self._random.choice(keys)
            below = at[key]
            if isinstance(below, (dict, list)) and below:
                at, name = below, str(key)
                continue
            if key not in ("name", "namespace", "image"):
                if isinstance(at, dict) and (self._random.random() < 0.3 or isinstance(below, (dict, list))):
                    del at[key]
                elif not isinstance(below, (dict, list)):
                    leaf = self._leaf(str(key))
                    at[key] = leaf if not isinstance(below, str) else str(leaf) if name != "labels" else re.sub(
                        r"[^A-Za-z0-9._-]", "z", str(leaf))
            break
        return made

    def _leaf(self, name: str) -> Any:
        if name == "image" and self._random.random() < 0.3:
            return self._random.choice(_IMAGES)
        if self._typed and name in _NUMBERS:
            numbers = [value for value in self._values if isinstance(value, int) and not isinstance(value, bool)]
            return self._random.choice(numbers or [1])
        if self._typed and name in _TRUTHS:
            return self._random.choice((True, False))
        if self._typed and (name == "name" or name.endswith("Name")):
            names = [value for value in self._values if isinstance(value, str) and value]
            return re.sub(r"[^A-Za-z0-9.:*-]", "z", self._random.choice(names or ["x"])).replace("*", "z")
        draw = self._random.random()
        if draw < 0.06 and not self._typed:
            return None
        if (draw < 0.10 and not self._typed) or (name in LISTS and self._typed):
            kind = int if name == "supplementalGroups" else str
            values = [value for value in self._values if type(value) is kind] if self._typed else self._values
            values = values or [1 if kind is int else "x"]
            return [self._random.choice(values) for _ in range(self._random.choice((0, 1, 2)))]
        return self._random.choice(self._values)


__all__ = ["Samples", "Tree", "Vocabulary"]

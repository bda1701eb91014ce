"""Type parameters and what they stand for (cel-go's checker/types.go: assignability with substitution)."""

from __future__ import annotations

from collections.abc import Sequence

from policylang.cel.types import DYN, PRIMITIVE, Type

_NULLABLE = frozenset({"duration", "timestamp", "opaque", "message", "any", "wrapper", "null"})


class Substitution:
    """The type parameters of one check; failed attempts leave no trace."""

    def __init__(self) -> None:
        self.known: dict[Type, Type] = {}
        self._made = 0

    def fresh(self) -> Type:
        self._made += 1
        return Type("param", f"_var{self._made}")

    def instance(self, params: tuple[Type, ...], result: Type) -> tuple[tuple[Type, ...], Type]:
        """A signature with parameters of its own."""
        names: dict[str, Type] = {}

        def renamed(of: Type) -> Type:
            if of.kind == "param":
                if of.name not in names:
                    names[of.name] = self.fresh()
                return names[of.name]
            return of._replace(params=tuple(map(renamed, of.params))) if of.params else of

        return tuple(map(renamed, params)), renamed(result)

    def apply(self, of: Type, *, to_dyn: bool = False) -> Type:
        """`of` with known parameters put in; with `to_dyn` the others become dyn."""
        if of.kind == "param":
            known = self.known.get(of)
            if known is not None:
                return self.apply(known, to_dyn=to_dyn)
            return DYN if to_dyn else of
        if not of.params:
            return of
        return of._replace(params=tuple(self.apply(param, to_dyn=to_dyn) for param in of.params))

    def assignable(self, to: Type, of: Type) -> bool:
        return self.all_assignable((to,), (of,))

    def all_assignable(self, tos: Sequence[Type], ofs: Sequence[Type]) -> bool:
        before = dict(self.known)
        if len(tos) == len(ofs) and all(self._fits(to, of) for to, of in zip(tos, ofs, strict=True)):
            return True
        self.known = before
        return False

    def _fits(self, left: Type, right: Type) -> bool:
        if right.kind == "param":
            valid, had = self._substitutes(left, right)
            if valid:
                return True
            if had:
                return False
        if left.kind == "param":
            return self._substitutes(right, left)[0]
        if left.is_dyn or right.is_dyn:
            return True
        if left.kind == "null":
            return right.kind in _NULLABLE
        if right.kind == "null":
            return left.kind in _NULLABLE
        if left.kind == "wrapper" or right.kind == "wrapper":
            left = left.params[0] if left.kind == "wrapper" else left
            right = right.params[0] if right.kind == "wrapper" else right
        if left.kind in PRIMITIVE:
            return left.kind == right.kind
        if left.kind == "type":
            return right.kind == "type"
        if left.kind in ("list", "map", "opaque"):
            return left.kind == right.kind and left.name == right.name and len(left.params) == len(right.params) \
                and all(self._fits(*pair) for pair in zip(left.params, right.params, strict=True))
        return left.kind == right.kind and left.name == right.name

    def _substitutes(self, of: Type, param: Type) -> tuple[bool, bool]:
        """Whether `of` may stand for `param`, and whether something already did."""
        if of == param:
            return True, True
        known = self.known.get(param)
        if known is not None:
            if of == known:
                return True, True
            if self._fits(of, known):
                general = self.most_general(of, known)
                if not self._within(param, general):
                    self.known[param] = general
                return True, True
            return False, True
        if not self._within(param, of):
            self.known[param] = of
            return True, False
        return False, False

    def _within(self, param: Type, of: Type) -> bool:
        if of == param:
            return True
        if of.kind == "param":
            known = self.known.get(of)
            return known is not None and self._within(param, known)
        return any(self._within(param, inner) for inner in of.params)

    def most_general(self, left: Type, right: Type) -> Type:
        return left if self._less_specific(left, right) else right

    def _less_specific(self, left: Type, right: Type) -> bool:
        if left.is_dyn or left.kind == "param":
            return True
        if right.is_dyn or right.kind == "param":
            return False
        if left.kind == "wrapper" and right.kind in PRIMITIVE | {"null"}:
            return True
        if left.kind == "null" and right.kind in _NULLABLE:
            return right.kind == "null"
        if left.kind != right.kind:
            return left.kind in _NULLABLE and right.kind == "null"
        if left.kind == "type":
            return True
        if left.kind in ("list", "map", "opaque"):
            return left.name == right.name and len(left.params) == len(right.params) \
                and all(self._less_specific(*pair) for pair in zip(left.params, right.params, strict=True))
        return left == right

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
        return of._replace(params=tuple(self.apply(each, to_dyn=to_dyn) for each in of.params))

    def assignable(self, to: Type, of: Type) -> bool:
        return self.all_assignable((to,), (of,))

    def all_assignable(self, tos: Sequence[Type], ofs: Sequence[Type]) -> bool:
        before = dict(self.known)
        if len(tos) == len(ofs) and all(self._fits(to, of) for to, of in zip(tos, ofs, strict=True)):
            return True
        self.known = before
        return False

    def _fits(self, one: Type, other: Type) -> bool:
        if other.kind == "param":
            valid, had = self._substitutes(one, other)
            if valid:
                return True
            if had:
                return False
        if one.kind == "param":
            return self._substitutes(other, one)[0]
        if one.is_dyn or other.is_dyn:
            return True
        if one.kind == "null":
            return other.kind in _NULLABLE
        if other.kind == "null":
            return one.kind in _NULLABLE
        if one.kind == "wrapper" or other.kind == "wrapper":
            one = one.params[0] if one.kind == "wrapper" else one
            other = other.params[0] if other.kind == "wrapper" else other
        if one.kind in PRIMITIVE:
            return one.kind == other.kind
        if one.kind == "type":
            return other.kind == "type"
        if one.kind in ("list", "map", "opaque"):
            return one.kind == other.kind and one.name == other.name and len(one.params) == len(other.params) \
                and all(self._fits(*pair) for pair in zip(one.params, other.params, strict=True))
        return one.kind == other.kind and one.name == other.name

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
        return any(self._within(param, each) for each in of.params)

    def most_general(self, one: Type, other: Type) -> Type:
        return one if self._less_specific(one, other) else other

    def _less_specific(self, one: Type, other: Type) -> bool:
        if one.is_dyn or one.kind == "param":
            return True
        if other.is_dyn or other.kind == "param":
            return False
        if one.kind == "wrapper" and other.kind in PRIMITIVE | {"null"}:
            return True
        if one.kind == "null" and other.kind in _NULLABLE:
            return other.kind == "null"
        if one.kind != other.kind:
            return one.kind in _NULLABLE and other.kind == "null"
        if one.kind == "type":
            return True
        if one.kind in ("list", "map", "opaque"):
            return one.name == other.name and len(one.params) == len(other.params) \
                and all(self._less_specific(*pair) for pair in zip(one.params, other.params, strict=True))
        return one == other

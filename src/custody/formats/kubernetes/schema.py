"""How the API server merges what stands at each place of an object: by the OpenAPI v3 schemas of kinds.

A table of those of Kubernetes 1.30 to 1.35 is built in (`builtin`, written by `scripts/schemas.py`);
`Schemas.of_openapi` reads what a server answers to `/openapi/v3/…`, `Schemas.of_crd` a CustomResourceDefinition. What a
schema means for a merge is as k8s.io/kube-openapi/pkg/schemaconv has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from custody.errors import MalformedError
from policylang.errors import Shape

STRING: Final = "string"
NUMERIC: Final = "numeric"
BOOLEAN: Final = "boolean"
ANY: Final = "untyped"
_PRIMITIVE = {"integer": NUMERIC, "number": NUMERIC, "boolean": BOOLEAN}
_REF = "#/components/schemas/"
_PREFIX = "io.k8s."
_QUANTITY = "apimachinery.pkg.api.resource.Quantity"
_RAW = "apimachinery.pkg.runtime.RawExtension"
_META = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
_TEXT = {"type": "string"}


class Type:
    """What may stand at one place: a scalar, a list, a map, or several of these.

    `scalar` is STRING, NUMERIC, BOOLEAN, ANY, or "" where no scalar may stand there.
    """

    def __init__(self, schema: Mapping[str, Any], types: Schemas, *, preserve: bool = False,
                 place: Mapping[str, Any] | None = None) -> None:
        """`place` is the schema that refers to this one by name, and says how it is merged there."""
        self._schema = schema
        self._place = schema if place is None else place
        self._types = types
        self._preserve = preserve or schema.get("x-kubernetes-preserve-unknown-fields") is True
        kind = schema.get("type", "")
        self.scalar = "" if kind in ("object", "array") else _scalar(kind, schema.get("format", ""))
        self.is_map = kind in ("", "object")
        self.is_list = kind in ("", "array")
        self.atomic_map = (self._place.get("x-kubernetes-map-type") or schema.get("x-kubernetes-map-type")) == "atomic"
        self.associative, self.keys = _list_type(schema)

    @cached_property
    def fields(self) -> Mapping[str, Type]:
        return self._types.fields(self._schema, preserve=self._preserve)

    @cached_property
    def element(self) -> Type | None:
        """Of values of a map whose keys are no fields; None where there may be none."""
        more = self._schema.get("additionalProperties")
        if isinstance(more, dict):
            return self._types.resolve(more, preserve=self._preserve)
        if more is True or (more is None and (self._preserve or not self._schema.get("properties"))):
            return DEDUCED
        return None

    @cached_property
    def item(self) -> Type:
        """Of elements of a list."""
        items = self._schema.get("items")
        return self._types.resolve(items, preserve=self._preserve) if isinstance(items, dict) else UNTYPED

    def field(self, name: str) -> Type | None:
        """Of the value below a key; None for a key that may not be there."""
        return self.fields.get(name) or self.element

    @property
    def default(self) -> Any:
        """Of a scalar; None without."""
        return self._place.get("default")

    @property
    def strategies(self) -> Sequence[str]:
        """For strategic merge patches: merge, replace, retainKeys; empty for the default, replace for lists."""
        text = self._place.get("x-kubernetes-patch-strategy")
        return text.split(",") if isinstance(text, str) else ()

    @property
    def merge_key(self) -> str:
        """For strategic merge patches: the field by which the maps of a list are told apart."""
        key = self._place.get("x-kubernetes-patch-merge-key")
        return key if isinstance(key, str) else ""


class Schemas:
    """The schemas of some kinds, whose types refer to each other by name."""

    def __init__(self, types: Mapping[str, Any], kinds: Mapping[str, str],
                 table: Sequence[Mapping[str, Any]] | None = None) -> None:
        """`kinds`: names of types by `apps/v1/Deployment`. `table`: schemas of fields, which types name by position."""
        self._types = types
        self._kinds = kinds
        self._table = table
        self._made: dict[str, Type] = {}

    @classmethod
    def of_openapi(cls, document: Any, where: str = "openapi") -> Schemas:
        """From the answer of a server to `/openapi/v3/apis/GROUP/VERSION`. Raises MalformedError."""
        components = document.get("components") if isinstance(document, dict) else None
        schemas = components.get("schemas") if isinstance(components, dict) else None
        if not isinstance(schemas, dict):
            raise MalformedError(where, got="no components.schemas", expected="an OpenAPI v3 document")
        types: dict[str, Any] = {}
        kinds: dict[str, str] = {}
        for name, schema in schemas.items():
            if not isinstance(schema, dict):
                raise MalformedError(f"{where}.{name}", got=Shape(schema), expected="a schema: a map")
            types[_short(name)] = schema
            for kind in schema.get("x-kubernetes-group-version-kind") or ():
                kinds["/".join(filter(None, (kind.get("group"), kind.get("version"), kind.get("kind"))))] = _short(name)
        return cls(types, kinds)

    @classmethod
    def of_crd(cls, document: Mapping[str, Any], where: str = "crd") -> Schemas:
        """From an apiextensions.k8s.io/v1 CustomResourceDefinition; all its versions. Raises MalformedError."""
        types = dict(builtin()._types)
        kinds: dict[str, str] = {}
        try:
            spec = document["spec"]
            group, kind = spec["group"], spec["names"]["kind"]
            for version in spec["versions"]:
                schema = dict((version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"})
                properties = dict(schema.get("properties") or {})
                properties |= {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"$ref": _META}}
                name = f"{group}/{version['name']}/{kind}"
                types[name] = {**schema, "properties": properties}
                kinds[name] = name
        except (KeyError, TypeError, AttributeError) as error:
            raise MalformedError(where, got=f"nothing at {error}", expected="a CustomResourceDefinition") from None
        return cls(types, kinds, builtin()._table)

    def kind(self, api_version: str, kind: str) -> Type | None:
        """Of an object by its apiVersion and kind; None where that is not known."""
        name = self._kinds.get(f"{api_version}/{kind}")
        return None if name is None else self.named(name)

    def named(self, name: str) -> Type:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def _make(self, name: str) -> Type:
        if name == _QUANTITY:
            return QUANTITY
        if name == _RAW:
            return UNTYPED
        schema = self._types.get(name)
        return DEDUCED if not isinstance(schema, dict) else Type(schema, self)

    def resolve(self, schema: Mapping[str, Any], *, preserve: bool) -> Type:
        """The type of a schema that stands in another."""
        reference = schema.get("$ref")
        if reference is None:
            parts = schema.get("allOf")
            if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
                reference = parts[0].get("$ref")
        if not isinstance(reference, str):
            return Type(schema, self, preserve=preserve)
        name = _short(reference)
        named = self.named(name)
        if named in (QUANTITY, UNTYPED, DEDUCED) or schema.keys() <= {"$ref", "allOf", "description", "default"}:
            return named
        return Type(self._types[name], self, place=schema)

    def fields(self, schema: Mapping[str, Any], *, preserve: bool) -> Mapping[str, Type]:
        return _Fields(schema.get("properties") or {}, self, preserve=preserve)

    def _field(self, schema: Any) -> Mapping[str, Any]:
        if isinstance(schema, int) and self._table is not None:
            return self._table[schema]
        return schema if isinstance(schema, dict) else {}


class _Fields(Mapping[str, Type]):
    """Types of fields, made when they are asked for: most of a schema never is."""

    def __init__(self, schemas: Mapping[str, Any], types: Schemas, *, preserve: bool) -> None:
        self._schemas, self._types, self._preserve = schemas, types, preserve
        self._made: dict[str, Type] = {}

    def __getitem__(self, name: str) -> Type:
        made = self._made.get(name)
        if made is None:
            made = self._types.resolve(self._types._field(self._schemas[name]), preserve=self._preserve)
            self._made[name] = made
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)


def _short(name: str) -> str:
    return name.removeprefix(_REF).removeprefix(_PREFIX)


def _scalar(kind: str, format_: str) -> str:
    if kind == "string":
        return STRING if format_ in ("", "byte") else ANY
    return _PRIMITIVE.get(kind, ANY)


def _list_type(schema: Mapping[str, Any]) -> tuple[bool, Sequence[str]]:
    """Whether elements of a list are told apart by what they are, and by which of their fields."""
    match schema.get("x-kubernetes-list-type"):
        case "map":
            keys = schema.get("x-kubernetes-list-map-keys")
            return True, tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()
        case "set":
            return True, ()
        case None:
            strategy = schema.get("x-kubernetes-patch-strategy")
            if strategy in ("merge", "merge,retainKeys"):
                key = schema.get("x-kubernetes-patch-merge-key")
                return True, (key,) if isinstance(key, str) else ()
    return False, ()


class _Untyped(Type):
    """Anything. `deduced`: maps are merged, lists are not."""

    def __init__(self, *, deduced: bool) -> None:
        super().__init__({}, Schemas({}, {}))
        self.atomic_map = not deduced

    @cached_property
    def element(self) -> Type | None:
        return self


UNTYPED = _Untyped(deduced=False)
DEDUCED = _Untyped(deduced=True)
QUANTITY = Type({"type": "string", "format": "quantity"}, Schemas({}, {}))


class _Table(msgspec.Struct, frozen=True):
    fields: list[dict[str, Any]]
    types: dict[str, dict[str, Any]]
    kinds: dict[str, str]


@lru_cache(1)
def builtin() -> Schemas:
    """Those of the kinds of Kubernetes 1.30 to 1.35; where a type differs between them, as the newest has it."""
    table = msgspec.json.decode(files("custody.formats.kubernetes").joinpath("schemas.json").read_bytes(), type=_Table)
    return Schemas(table.types, table.kinds, table.fields)

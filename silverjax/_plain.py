"""Pytrees and configurations as plain data, and back: no pickles, no code.

What has arrays is a nest of mappings and of the pytree classes of `CLASSES`. It is stored as
arrays by name and one JSON description of everything else, so that loading needs no template:

    {"mapping": {name: ...}}                a dict
    {"class": "ItemIndex", "fields": ...}   a pytree class, by field
    {"array": "int8", "shape": [2, 3]}      an array; its values lie under the same path
    {"static": value}                       a field that is no array; tuples as {"tuple": [...]}
    null                                    None
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from silverjax.batch import Items, Users
from silverjax.engagement import Engagement
from silverjax.item_index import ItemCache, ItemIndex

# Loading makes objects of these classes and of no others, whatever a file says.
CLASSES: dict[str, type] = {
    cls.__name__: cls for cls in (ItemIndex, ItemCache, Engagement, Items, Users)
}


def split(node: Any, path: str) -> tuple[Any, Any]:
    """Description of `node` (JSON) and its arrays (nested dicts of NumPy arrays, or one array).

    Raises:
        ValueError: A leaf or a name that would not come back exactly.
    """
    if node is None:
        return None, {}
    if isinstance(node, Mapping):
        return _split_fields(dict(node), path, lambda parts: {"mapping": parts})
    if type(node) in CLASSES.values():
        fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
        static = {f.name for f in dataclasses.fields(node) if not f.metadata.get("pytree_node", 1)}
        held = {name: value for name, value in fields.items() if name not in static}
        plain = {name: {"static": _static_to_json(fields[name], path)} for name in sorted(static)}
        name = type(node).__name__
        return _split_fields(held, path, lambda parts: {"class": name, "fields": parts | plain})
    if not isinstance(node, jax.Array | np.ndarray | np.generic):
        raise ValueError(
            f"{path} is a {type(node).__name__}; a snapshot holds arrays, nested mappings and "
            f"{', '.join(CLASSES)}. Make it an array."
        )
    _refuse_dtype(node.dtype, path)
    array = np.asarray(node)
    description = {"array": array.dtype.name, "shape": list(array.shape)}
    return description, array if array.size else {}  # Orbax refuses arrays without elements


def join(description: Any, arrays: Any, *, leaf: Callable[[np.ndarray], Any]) -> Any:
    """Undoes `split`; `leaf` makes each array what the caller wants it to be."""
    if description is None:
        return None
    if "mapping" in description:
        return _join_fields(description["mapping"], arrays, leaf)
    if "class" in description:
        fields = _join_fields(description["fields"], arrays, leaf)
        return make(_known_class(description["class"]), fields, where=description["class"])
    if "static" in description:
        return _static_from_json(description["static"])
    dtype, shape = jnp.dtype(description["array"]), tuple(description["shape"])
    if math.prod(shape) == 0:
        return leaf(np.zeros(shape, dtype))
    if arrays.dtype != dtype or arrays.shape != shape:
        raise ValueError(f"an array is {arrays.dtype}{arrays.shape}, described as {dtype}{shape}")
    return leaf(arrays)


def config_from_json(cls: Any, raw: Any, *, where: str = "config") -> Any:
    """A frozen dataclass from `dataclasses.asdict` of it; nested dataclasses, tuples and enums.

    Raises:
        ValueError: A field that `cls` does not have, or one without a default that is absent.
    """
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        values = {
            name: config_from_json(hints.get(name), value, where=f"{where}.{name}")
            for name, value in raw.items()
        }
        return make(cls, values, where=where)
    if typing.get_origin(cls) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(cls) if option is not type(None)]
        return None if raw is None else config_from_json(options[0], raw, where=where)
    if typing.get_origin(cls) is tuple:
        kinds = [kind for kind in typing.get_args(cls) if kind is not Ellipsis]
        kinds += kinds[-1:] * (len(raw) - len(kinds))
        return tuple(config_from_json(k, value, where=where) for k, value in zip(kinds, raw))
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        return cls(raw)
    return raw


def make(cls: Any, values: Mapping[str, Any], *, where: str) -> Any:
    """`cls(**values)`, with messages that name the fields where they do not fit."""
    known = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(
            f"{where} has no field {unknown[0]!r} in this version of silverjax; "
            f"it has: {', '.join(sorted(known))}"
        )
    for name, field in known.items():
        optional = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        if name not in values and not optional:
            raise ValueError(f"{where} lacks the field {name!r}")
    return cls(**values)


def _split_fields(fields: dict[Any, Any], path: str, describe: Any) -> tuple[Any, Any]:
    parts, arrays = {}, {}
    for name, value in fields.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"{path} has the key {name!r}; keys must be texts")
        parts[name], below = split(value, f"{path}[{name!r}]")
        if isinstance(below, np.ndarray) or below:
            arrays[_stored_name(name)] = below
    return describe(parts), arrays


def _join_fields(fields: Mapping[str, Any], arrays: Any, leaf: Any) -> dict[str, Any]:
    return {
        name: join(description, arrays.get(_stored_name(name), {}), leaf=leaf)
        for name, description in fields.items()
    }


def _stored_name(name: str) -> str:
    """Orbax joins names with dots: {"a": {"b": x}} and {"a.b": x} would be one array."""
    return urllib.parse.quote(name, safe="").replace(".", "%2E")


def _refuse_dtype(dtype: Any, path: str) -> None:
    """Lets through what JAX would give back with the same dtype."""
    if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) or dtype.kind in "OSUMm":
        raise ValueError(f"{path} holds {dtype}; the variables of a snapshot are plain numbers")
    if (loaded := jax.dtypes.canonicalize_dtype(dtype)) != dtype:
        raise ValueError(
            f"{path} is {dtype}, which JAX would load as {loaded}; convert it before publishing"
        )


def _known_class(name: str) -> type:
    if name not in CLASSES:
        raise ValueError(f"class {name!r} is unknown to this version of silverjax")
    return CLASSES[name]


def _static_to_json(value: Any, path: str) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_static_to_json(v, path) for v in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{path} has a static field of type {type(value).__name__}")


def _static_from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(_static_from_json(v) for v in value["tuple"])
    return value

"""Finds the route of a method and a path; exact paths come first, so that `search` is never an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

R = TypeVar("R")

MAX_PATH_CHARACTERS: Final = 4_096
"""Maximum length of a path; a longer one is unknown, because no id or token is nearly as long."""
NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class _Node(Generic[R]):
    """The parts that may follow in a path: literal ones, or one parameter."""

    literal: dict[str, _Node[R]] = field(default_factory=dict)
    parameter: _Node[R] | None = None
    methods: dict[str, tuple[R, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match(Generic[R]):
    """The route of a path, with its parameters."""

    target: R
    parameters: Mapping[str, str]


class Router(Generic[R]):
    """Routes by method and undecoded path. A parameter is one non-empty part, and is decoded."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, R]] = {}
        self._root: _Node[R] = _Node()

    def add(self, method: str, path: str, target: R) -> None:
        """Add a route. Raises `ValueError` if there is one already."""
        if "{" not in path:
            taken = self._exact.setdefault(path, {})
            if method in taken:
                raise ValueError(f"{method} {path} is routed twice")
            taken[method] = target
            return
        node, names = self._root, []
        for part in path.split("/")[1:]:
            if part.startswith("{"):
                names.append(part[1:-1])
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literal.setdefault(part, _Node())
        if method in node.methods:
            raise ValueError(f"{method} {path} is routed twice")
        node.methods[method] = (target, tuple(names))

    def match(self, method: str, path: str) -> Match[R] | tuple[str, ...] | None:
        """Return the route, the allowed methods if this one is not allowed, or None for an unknown path."""
        exact = self._exact.get(path)
        if exact is not None:
            target = exact.get(method)
            return _allowed(exact) if target is None else Match(target, NO_PARAMETERS)
        walked = self._walk(path)
        if walked is None:
            return None
        node, values = walked
        named = node.methods.get(method)
        if named is None:
            return _allowed(node.methods)
        return Match(named[0], dict(zip(named[1], values, strict=True)))

    def _walk(self, path: str) -> tuple[_Node[R], list[str]] | None:
        """Return the node of a path, and the values of the path parameters; None if no route matches."""
        if len(path) > MAX_PATH_CHARACTERS:
            return None
        node, values = self._root, []
        for part in path.split("/")[1:]:
            following = node.literal.get(part)
            if following is None:
                if node.parameter is None or not part:
                    return None
                following = node.parameter
                values.append(unquote(part) if "%" in part else part)
            node = following
        return (node, values) if node.methods else None


def _allowed(methods: Mapping[str, object]) -> tuple[str, ...]:
    """Return the methods of an Allow header: a path with GET has HEAD, too."""
    return tuple(sorted({*methods, "HEAD"} if "GET" in methods else methods))

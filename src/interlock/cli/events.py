"""A parser for server-sent events (WHATWG HTML, section 9.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. A client continues an interrupted stream with its `id`."""

    id: str
    data: str


def events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events in the lines of a stream; an incomplete event at its end is dropped."""
    ident, data = "", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            ident = value
        elif name == "data":
            data.append(value)
        elif not line:
            if data:
                yield Event(ident, "\n".join(data))
            data = []

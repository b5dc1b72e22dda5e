"""Server-sent events (WHATWG HTML, section 9.2), as far as a client of one stream needs them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is where to go on from, if the stream is interrupted after it."""

    id: str
    data: str


def events(lines: Iterable[str]) -> Iterator[Event]:
    """The events in the lines of a stream; one that the end of the stream cuts off is none."""
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

"""The client profile: where the server is and who the caller is.

`serve` writes `profile.json` into its data directory. A client looks, in this order, at

1. the file named by `--profile` or `INTERLOCK_PROFILE`;
2. `CONDUCTORONE_CLIENT_ID`, `CONDUCTORONE_CLIENT_SECRET` and `CONDUCTORONE_SERVER_URL`, the names that C1's own clients
   read; without the last, the host in the client id, over https;
3. `profile.json` in `INTERLOCK_DATA_DIR`, or else in `.interlock` below the working directory;
4. `interlock/profile.json` in `XDG_CONFIG_HOME` (by default `~/.config`), a link that `make up` makes.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from interlock.cli.failures import Exit, Failure

DEFAULT_DATA_DIR = Path(".interlock")
"""Where `serve` keeps its data unless told otherwise."""

PROFILE_NAME = "profile.json"

_VARIABLES = ("CONDUCTORONE_CLIENT_ID", "CONDUCTORONE_CLIENT_SECRET")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client needs: the server's URL without a trailing slash, and the credentials."""

    url: str
    client_id: str
    client_secret: str


def write_private_json(path: Path, content: Mapping[str, object]) -> None:
    """Put a file with mode 0600 in place by rename, so that a reader sees all of it or nothing.

    The temporary file stands beside it: a rename across file systems is not atomic.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    # A process with the same number, as in a container, may have been killed in the middle of this.
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_profile(data_dir: Path, profile: Profile) -> Path:
    """Write the profile into a data directory, and return its path."""
    path = data_dir / PROFILE_NAME
    write_private_json(path, asdict(profile))
    return path


def read_profile(path: Path) -> Profile:
    """Read a profile that `serve` wrote.

    Raises:
        Failure: the file cannot be read, or is no profile.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read the profile {path}: {error}", Exit.AUTH) from error
    fields = {name: content.get(name) if isinstance(content, dict) else None for name in Profile.__slots__}
    values = {name: value for name, value in fields.items() if isinstance(value, str) and value}
    missing = sorted(fields.keys() - values.keys())
    if missing:
        raise Failure(f"the profile {path} has no {', '.join(missing)}", Exit.AUTH)
    return Profile(values["url"].rstrip("/"), values["client_id"], values["client_secret"])


def find_profile(environ: Mapping[str, str], explicit: Path | None = None) -> Profile:
    """The profile to use, by the order in this module's description.

    Raises:
        Failure: there is none, or the one to use cannot be read or is incomplete.
    """
    named = explicit or (Path(environ["INTERLOCK_PROFILE"]) if environ.get("INTERLOCK_PROFILE") else None)
    if named is not None:
        return read_profile(named)
    client_id, secret = environ.get("CONDUCTORONE_CLIENT_ID", ""), environ.get("CONDUCTORONE_CLIENT_SECRET", "")
    server = environ.get("CONDUCTORONE_SERVER_URL", "")
    if client_id and secret:
        return Profile(_url(server) if server else _url_from_client_id(client_id), client_id, secret)
    if client_id or secret or server:
        # A profile's secret is for the profile's server alone; it must not travel to another one named here.
        missing = [name for name in _VARIABLES if not environ.get(name)]
        raise Failure(f"{' and '.join(missing)} not set; the credentials go together", Exit.AUTH)
    for path in _places(environ):
        if path.exists():
            return read_profile(path)
    raise Failure(
        "no credentials",
        Exit.AUTH,
        hint="Set CONDUCTORONE_CLIENT_ID, CONDUCTORONE_CLIENT_SECRET and CONDUCTORONE_SERVER_URL, or name the profile\n"
        "that the server wrote: interlock --profile DATA_DIR/profile.json …",
    )


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(environ.get("INTERLOCK_DATA_DIR") or DEFAULT_DATA_DIR) / PROFILE_NAME
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    if home:
        yield Path(home) / "interlock" / PROFILE_NAME


def _url(server: str) -> str:
    return (server if "://" in server else f"https://{server}").rstrip("/")


def _url_from_client_id(client_id: str) -> str:
    host = client_id.rpartition("@")[2].partition("/")[0]
    if not host or "@" not in client_id:
        raise Failure("CONDUCTORONE_SERVER_URL is not set, and CONDUCTORONE_CLIENT_ID names no host", Exit.AUTH)
    return f"https://{host}"

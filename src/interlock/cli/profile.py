"""The client profile: the server's URL and the credentials.

`serve` writes `profile.json` into its data directory. A command uses the first of these:

1. the file named by `--profile` or `INTERLOCK_PROFILE`;
2. `CONDUCTORONE_CLIENT_ID`, `CONDUCTORONE_CLIENT_SECRET` and `CONDUCTORONE_SERVER_URL`, the names that C1's own clients
   read; without the last, the host in the client id, over https;
3. `profile.json` in `INTERLOCK_DATA_DIR`, or else in `.interlock` below the working directory;
4. `interlock/profile.json` in `XDG_CONFIG_HOME` (by default `~/.config`), a link that `make up` creates.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from interlock.cli.failures import Exit, Failure, reason_of

DEFAULT_DATA_DIR = Path(".interlock")
"""Default data directory of `serve`."""

PROFILE_NAME = "profile.json"

MAX_PROFILE_BYTES = 65_536
"""Maximum size of a profile; a profile has a few hundred bytes."""

_ANOTHER = (
    "Use another profile (interlock --profile FILE …), or let the server create a client and a new profile:\n"
    "interlock serve --data-dir DATA_DIR --new-client"
)
_VARIABLES = ("CONDUCTORONE_CLIENT_ID", "CONDUCTORONE_CLIENT_SECRET")


@dataclass(frozen=True, slots=True)
class Profile:
    """The server's URL without a trailing slash, and the credentials."""

    url: str
    client_id: str
    client_secret: str


def write_private_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a file with mode 0600 atomically, by a rename.

    The temporary file is in the same directory, because a rename across file systems is not atomic.
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
        Failure: The file cannot be read, or is not a profile.
    """
    profile = _read_profile(path)
    if profile is None:
        raise Failure(f"cannot read the profile {str(path)!r}: {os.strerror(errno.ENOENT)}", Exit.AUTH, hint=_ANOTHER)
    return profile


def _read_profile(path: Path) -> Profile | None:
    """Return the profile in a file; None if the file does not exist."""
    name = f"the profile {str(path)!r}"
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Failure(f"cannot read {name}: it is not a regular file", Exit.AUTH, hint=_ANOTHER)
            data = file.read(MAX_PROFILE_BYTES + 1)
        if len(data) > MAX_PROFILE_BYTES:
            raise Failure(f"cannot read {name}: it is larger than {MAX_PROFILE_BYTES} bytes", Exit.AUTH, hint=_ANOTHER)
        content = json.loads(data.decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError as error:
        why = (
            f"it is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
            if data.strip()
            else "it is empty"
        )
        raise Failure(f"cannot read {name}: {why}", Exit.AUTH, hint=_ANOTHER) from error
    except RecursionError as error:
        raise Failure(f"cannot read {name}: it is nested too deeply", Exit.AUTH, hint=_ANOTHER) from error
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read {name}: {reason_of(error)}", Exit.AUTH, hint=_ANOTHER) from error
    fields = {field: content.get(field) if isinstance(content, dict) else None for field in Profile.__slots__}
    values = {field: value for field, value in fields.items() if isinstance(value, str) and value}
    missing = sorted(fields.keys() - values.keys())
    if missing:
        needed = "each of url, client_id and client_secret must be text"
        raise Failure(f"{name} has no {', '.join(missing)}: {needed}", Exit.AUTH, hint=_ANOTHER)
    for field, value in values.items():
        if not value.isprintable():
            raise Failure(f"{name}: {field} contains a control character", Exit.AUTH, hint=_ANOTHER)
    return Profile(values["url"].rstrip("/"), values["client_id"], values["client_secret"])


def find_profile(environ: Mapping[str, str], explicit: Path | None = None) -> Profile:
    """Return the profile to use, in the order of the module docstring.

    Args:
        environ: Environment variables.
        explicit: File of `--profile`.

    Raises:
        Failure: There is no profile, or it cannot be read or is incomplete.
    """
    named = explicit or (Path(environ["INTERLOCK_PROFILE"]) if environ.get("INTERLOCK_PROFILE") else None)
    if named is not None:
        return read_profile(named)
    client_id, secret = environ.get("CONDUCTORONE_CLIENT_ID", ""), environ.get("CONDUCTORONE_CLIENT_SECRET", "")
    server = environ.get("CONDUCTORONE_SERVER_URL", "")
    if client_id and secret:
        return Profile(_url(server) if server else _url_from_client_id(client_id), client_id, secret)
    if client_id or secret or server:
        # A profile's secret is for the profile's server only; it must not be sent to another server.
        missing = [name for name in _VARIABLES if not environ.get(name)]
        raise Failure(f"{' and '.join(missing)} not set; set all credentials together", Exit.AUTH)
    for path in _places(environ):
        profile = _read_profile(path)
        if profile is not None:
            return profile
    raise Failure(
        "no credentials",
        Exit.AUTH,
        hint="Set CONDUCTORONE_CLIENT_ID, CONDUCTORONE_CLIENT_SECRET and CONDUCTORONE_SERVER_URL, or use the profile\n"
        "that the server wrote: interlock --profile DATA_DIR/profile.json …",
    )


def url_of_client(url: str, client_id: str) -> str:
    """Return the URL for a client: the host in its id, with the scheme and port of `url`.

    Each tenant has its own host names, so a client of another tenant has another URL.
    """
    _, at, rest = client_id.rpartition("@")
    host = rest.partition("/")[0]
    parts = urlsplit(url)
    if not at or not host:
        return url
    named = urlsplit(f"//{host}")
    if named.hostname == parts.hostname:
        return url
    port = f":{parts.port}" if parts.port is not None and named.port is None else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


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

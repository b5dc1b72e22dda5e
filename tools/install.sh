#!/bin/sh
# Makes .venv in this checkout and installs Interlock, editable, with everything that requirements/dev.txt pins.
# Needs Python 3.11 or newer with venv or pip; fetches uv where it is missing. PYTHON=… chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.installed
want=$(cat pyproject.toml requirements/dev.txt tools/install.sh | cksum)
if [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if new_enough "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "make install: no Python 3.11 or newer found; install one, or name it: make install PYTHON=/path/to/python" >&2
    exit 1
fi

# A virtual environment whose interpreter has gone or is too old is of no use to anybody.
if ! new_enough .venv/bin/python; then rm -rf .venv; fi
rm -f "$stamp"

# The machine's own trust store, as pip uses it: where a network has its own authority, that is where it is known.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"

uv=
if uv --version >/dev/null 2>&1; then uv=uv; fi
uv_pin=$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements/dev.txt)

if [ ! -d .venv ]; then
    if [ -n "$uv" ]; then
        uv venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
    elif ! "$python" -m venv .venv 2>/dev/null; then
        # Some distributions keep ensurepip in a package of its own. pip alone is enough to fetch uv, which needs neither.
        rm -rf .venv
        if ! "$python" -m pip --version >/dev/null 2>&1; then
            echo "make install: $python has neither venv with ensurepip nor pip; install one (Debian: apt install python3-venv)" >&2
            exit 1
        fi
        bootstrap=$(mktemp -d)
        trap 'rm -rf "$bootstrap"' EXIT
        "$python" -m pip install --quiet --disable-pip-version-check --target "$bootstrap" "$uv_pin"
        uv=$bootstrap/bin/uv
        "$uv" venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
    fi
fi
if [ -z "$uv" ]; then
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check "$uv_pin"
    uv=.venv/bin/uv
fi

echo "make install: installing into .venv from requirements/dev.txt"
if ! VIRTUAL_ENV=$PWD/.venv "$uv" pip install --quiet --compile-bytecode --require-hashes -r requirements/dev.txt; then
    # uv does not read pip's configuration, so on a machine where only pip knows the index, pip has to do it.
    echo "make install: uv could not; trying pip" >&2
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
fi
# The build tools are pinned in the same lock, so nothing outside of it is fetched for the project itself either.
VIRTUAL_ENV=$PWD/.venv "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
# Byte code of what was installed editable: without it the first start compiles each module, and takes twice as long.
# A checkout that may not be written to is compiled at each start, as ever.
.venv/bin/python -m compileall -q -j 0 src/interlock || echo "make install: no byte code was written for src" >&2
echo "$want" >"$stamp"

#!/bin/sh
# Pins every dependency with its hashes, for all platforms, without naming where it came from:
# the index is whatever the machine is configured with.  tools/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."

export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
pin() {
    .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@" >/dev/null
}
pin --group dev --output-file requirements/dev.txt "$@"
pin --constraint requirements/dev.txt --output-file requirements/runtime.txt

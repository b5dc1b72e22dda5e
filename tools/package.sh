#!/bin/sh
# Builds the wheel, installs it with its pinned dependencies alone into a fresh environment, and drives it from outside.
set -eu
cd "$(dirname "$0")/.."

export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

rm -f dist/*.whl
.venv/bin/uv build --quiet --wheel --no-build-isolation --python .venv/bin/python --out-dir dist
.venv/bin/uv venv --quiet --python .venv/bin/python "$fresh/venv"
VIRTUAL_ENV=$fresh/venv .venv/bin/uv pip install --quiet --require-hashes -r requirements/runtime.txt
VIRTUAL_ENV=$fresh/venv .venv/bin/uv pip install --quiet --no-deps dist/*.whl
# -I: neither this checkout nor the caller's settings may lend the installed package anything.
"$fresh/venv/bin/python" -I tools/smoke.py "$fresh/venv/bin/interlock" "$fresh"

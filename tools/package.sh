#!/bin/sh
# Builds an sdist from a clean copy of this checkout and a wheel from that, installs the wheel with its pinned dependencies
# alone into a fresh environment, and drives it from outside. What git does not know is not in the copy, so that the build
# itself has to make the pages of the documentation.
set -eu
cd "$(dirname "$0")/.."

export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

mkdir "$fresh/source"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$fresh/source"
rm -f dist/*.whl dist/*.tar.gz
.venv/bin/uv build --quiet --no-build-isolation --python .venv/bin/python --out-dir dist "$fresh/source"
.venv/bin/uv venv --quiet --python .venv/bin/python "$fresh/venv"
VIRTUAL_ENV=$fresh/venv .venv/bin/uv pip install --quiet --compile-bytecode --require-hashes -r requirements/runtime.txt
VIRTUAL_ENV=$fresh/venv .venv/bin/uv pip install --quiet --compile-bytecode --no-deps dist/*.whl
# -I: neither this checkout nor the caller's settings may lend the installed package anything.
"$fresh/venv/bin/python" -I tools/smoke.py "$fresh/venv/bin/interlock" "$fresh"

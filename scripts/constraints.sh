#!/usr/bin/env bash
# Write constraints.txt anew: the versions that a fresh environment gets today.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --disable-pip-version-check --no-input)
"${pip[@]}" install --quiet --upgrade pip
# hatchling builds the packages and editables installs them; in a set-up both work apart, under the same constraints.
"${pip[@]}" install --quiet hatchling editables --group dev --group docs \
    --editable packages/cenote-client --editable packages/cenote-pydo --editable packages/cenote
{
    echo "# The versions that make setup installs into .venv.  Written by: make constraints"
    "${pip[@]}" freeze --all --exclude-editable | grep -v -E '^(setuptools|wheel)=='
} > "$work/constraints.txt"
mv "$work/constraints.txt" constraints.txt

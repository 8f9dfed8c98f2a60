#!/usr/bin/env bash
# The first 12 minutes of a GPU: benchmarks/on_a_gpu.py with the packages of a folder of wheels. docs/clusters.md says which.
#
#     benchmarks/on_a_gpu.sh [--wheels FOLDER] [the arguments of on_a_gpu.py]
#
# PYTHON names the interpreter (python3). Nothing is installed into it: wheels are unpacked into a temporary folder.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
if [ "${1:-}" = --wheels ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$2"/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    shift 2
fi
"$python" "$root/benchmarks/on_a_gpu.py" "$@"

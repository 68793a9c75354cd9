#!/bin/sh
# The fast tests with the lowest versions that pyproject.toml admits, in a virtual environment of their own.
#
#   tests/run_lowest.sh [ENVIRONMENT] [PYTEST ARGUMENT ...]
#
# PYTHON chooses the interpreter. The environment is kept and used again.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
environment=${1:-"$root/.venv-lowest"}
[ $# -eq 0 ] || shift
python=${PYTHON:-python3}
constraints="$root/tests/constraints-lowest.txt"

[ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --constraint "$constraints" --editable "$root[litellm]" \
    pytest pytest-asyncio pytest-timeout hypothesis packaging pyyaml jsonschema tenacity backoff orjson redis soundfile
# FastAPI's newest version asks for a newer OpenTelemetry than the lowest.
"$environment/bin/python" -m pip install --quiet --constraint "$constraints" 'fastapi<0.130'

cd "$root"
[ $# -gt 0 ] || set -- tests/spine tests/truth -m "not slow"
exec "$environment/bin/python" -m pytest -q -p no:cacheprovider "$@"

#!/usr/bin/env bash
# Builds the programs and checks a lake that they make with readers and clients
# that are not ours:
#
#   interop/run.sh               all of it, as make interop does
#   interop/run.sh --keep DIR    and leave the lake in DIR
#   interop/run.sh --self-test   only see the check fail, on damaged copies of a lake
#
# Then the embedded broker with the Pub/Sub clients of Python and, where node and
# npm are installed, of Node (interop/clients).
#
# Spark reads too where there is a Java of version 17 or later.
#
# INTEROP_VENV   where the Python packages and Spark's jars are kept (.venv-interop in the repository)
# PYTHON         the interpreter that makes it (python3)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${INTEROP_VENV:-$PWD/.venv-interop}
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
  echo "interop: $python is not installed; it needs Python 3.11 or later (Debian: apt-get install python3 python3-venv)" >&2
  exit 2
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "interop: $("$python" --version) is too old; it needs Python 3.11 or later (PYTHON=python3.12 make interop)" >&2
  exit 2
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "interop: $python has no venv module (Debian: apt-get install python3-venv)" >&2
  exit 2
fi

# The stamp is written last: an installation that was cut off is made again.
if ! cmp -s interop/requirements.txt "$venv/installed.txt"; then
  echo "installing the readers into $venv"
  "$python" -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --no-binary pyspark -r interop/requirements.txt
  "$venv/bin/pip" check
  cp interop/requirements.txt "$venv/installed.txt"
fi

${GO:-go} build -o bin/ ./cmd/...
"$venv/bin/python" -B interop/check.py --bin bin "$@"
[[ " $* " == *" --self-test "* ]] || PYTHON="$venv/bin/python" interop/clients/run.sh bin

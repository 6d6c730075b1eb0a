#!/usr/bin/env bash
# The monolith's part on the releases that monoliths run: its wheel, in an environment that is thrown away after.
# Then in front of a fence, in the toolkit's PostgreSQL, through the driver that a monolith of that age has.
# A row whose Python is not here is skipped aloud; with ROWS="3.8/3.2" only those rows are run.
set -euo pipefail
cd "$(dirname "$0")"
BIN=$(cd ../../../.venv/bin && pwd)
ROWS=${ROWS:-3.8/3.2 3.10/4.2 3.13/6}
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT

# Looked for on the path, then among pyenv's versions, whose shims answer only for the one in force.
python_of() {
  local found
  for found in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python"$1"; do
    if [ -x "$found" ] && "$found" -c '' 2>/dev/null; then echo "$found"; return; fi
  done
}

run() {
  local python=$1 django=$2 venv=$3 driver='psycopg[binary]'
  case $django in 3.*) driver=psycopg2-binary ;; esac  # Django knows psycopg 3 since 4.2
  "$BIN/uv" venv --quiet --python "$python" "$venv"
  "$BIN/uv" pip install --quiet --python "$venv/bin/python" "django~=$django" djangorestframework "$driver" "$folder"/*.whl
  echo "== $("$venv/bin/python" --version), Django $("$venv/bin/python" -m django --version)"
  # Nothing but the wheel: the package beside this checkout must not be found.
  env -i PATH="$PATH" HOME="$HOME" PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=guestbook.settings \
    "$venv/bin/python" -W error::DeprecationWarning:strangler_django -m django test guestbook.checks \
    --pattern='check_*.py'
  (cd ../../.. && GUESTBOOK_PYTHON="$venv/bin/python" "$BIN/python" -m pytest -q -n 1 --no-header \
    tests/integration/strangler_django/test_{fence,commands,react,admin}.py)
}

(cd ../../../strangler_django && "$BIN/python" -m hatchling build --target wheel --directory "$folder" >/dev/null 2>&1)
for row in $ROWS; do
  python=$(python_of "${row%/*}")
  if [ -z "$python" ]; then
    echo "skipped: no Python ${row%/*} for Django ${row#*/}"
  else
    run "$python" "${row#*/}.0" "$folder/${row%/*}"
  fi
done

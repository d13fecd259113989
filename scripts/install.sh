# Sourced by scripts/run and scripts/test: makes .venv in the project's folder and installs what is asked for, once.
# Usage: . scripts/install.sh EXTRA...
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: Python 3.11 or later is needed, $python is $("$python" -V 2>&1); set PYTHON to another" >&2
  exit 3
}
extras=$(IFS=,; echo "$*")
# What is installed depends on pyproject.toml and the extras alone; their digest says whether anything is to be done.
wanted=$({ cat pyproject.toml; echo "$extras"; } | cksum)
stamp=".venv/installed-${extras:-base}"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  [ -x .venv/bin/python ] || "$python" -m venv .venv || exit 3
  echo "installing into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}" || exit 3
  echo "$wanted" > "$stamp"
fi

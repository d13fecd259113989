# Sourced by scripts/run, scripts/test and .ci/run.

# install EXTRA...: makes .venv in the project's folder and installs the project with these extras into it, if that has not
# been done.
install() {
  local python="${PYTHON:-python3}" extras stamp wanted
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: Python 3.11 or later is needed, $python is $("$python" -V 2>&1); set PYTHON to another" >&2
    exit 3
  }
  extras=$(IFS=,; echo "$*")
  # What is installed depends on pyproject.toml alone; its digest says whether anything is to be done.
  stamp=".venv/installed-${extras:-base}"
  wanted=$(cksum < pyproject.toml)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  echo "installing into .venv"
  [ -x .venv/bin/python ] || "$python" -m venv .venv || exit 3
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}" || exit 3
  echo "$wanted" > "$stamp"
}

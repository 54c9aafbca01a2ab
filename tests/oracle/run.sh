#!/usr/bin/env bash
# Runs one oracle with a Python that has its packages: build/venv (made by launch/test --oracles), else python3. Exits 77, which CTest
# shows as skipped, where neither has them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1 modules=$2
shift 2
for python in "$here/../../build/venv/bin/python" python3; do
  if command -v "$python" >/dev/null && "$python" -c "import $modules" 2>/dev/null; then
    exec "$python" "$here/$program" "$@"
  fi
done
echo "skipped: no Python with $modules; launch/test --oracles makes one"
exit 77

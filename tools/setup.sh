#!/bin/sh
# Create the environment. Called by make with VENV, PYTHON, TORCH (cpu|cuda) and TORCH_INDEX set.
# PyTorch first: the plain package pulls several GB of CUDA libraries, which a machine without an NVIDIA GPU cannot use.
set -eu
started=$(date +%s)
say() { echo "setup: $*"; }

command -v "$PYTHON" >/dev/null 2>&1 || { say "$PYTHON not found; install Python 3.11 or run make PYTHON=/path/to/python3.11"; exit 2; }
[ -x "$VENV/bin/python" ] || { say "creating $VENV with $("$PYTHON" --version)"; "$PYTHON" -m venv "$VENV"; }
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

torch=$(grep '^torch==' constraints.txt)
if "$VENV/bin/python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${torch#torch==}')" 2>/dev/null; then
  say "$torch is there already"
elif [ "$TORCH" = cuda ]; then
  say "installing $torch for CUDA (several GB)"
  pip install "$torch"
else
  say "installing $torch for the CPU"
  pip install --no-deps --retries 1 --timeout 20 --index-url "$TORCH_INDEX" "$torch" 2>/dev/null \
    || { say "PyTorch's own wheel index cannot be reached: taking the package index's build"; pip install --no-deps "$torch"; }
fi
say "installing the other packages"
pip install -c constraints.txt -e '.[dev,team]'
say "ready in $(( $(date +%s) - started )) s"

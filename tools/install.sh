#!/usr/bin/env bash
# Makes .venv and installs lorasmith with all it needs to be trained, tested and checked. Called by the Makefile;
# PYTHON names another interpreter. Nothing outside .venv is changed.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
python=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }

refuse_old_python() {
    if ! command -v "$python" >/dev/null; then
        say "There is no $python here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …"
        exit 2
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        say "$python is $("$python" -V 2>&1), and lorasmith needs 3.11 or newer. Name another: make PYTHON=python3.12 …"
        exit 2
    fi
}

make_venv() {
    if [ ! -x "$venv/bin/python" ] && ! "$python" -m venv "$venv"; then
        say "$python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"
        exit 2
    fi
}

has_nvidia_driver() { command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; }

# The plain Linux wheel of torch brings gigabytes of CUDA along. Without an NVIDIA driver the CPU build of the same
# version is taken instead: from PyTorch's own index, or from a wheel that pip was told about (find-links). Where
# neither answers, the plain wheel does as well; it is only larger.
install_cpu_torch() {
    local version
    version=$(sed -n 's/^torch==//p' constraints.txt)
    pip --timeout 20 --retries 1 --no-deps \
        --index-url https://download.pytorch.org/whl/cpu "torch==$version+cpu" ||
        say "No CPU build of torch $version was found; taking the plain one."
}

pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

refuse_old_python
make_venv
say "Installing into $venv …"
if [ "$(uname -s)" = Linux ] && ! has_nvidia_driver; then
    install_cpu_torch
fi
pip --constraint constraints.txt --editable '.[dev]'

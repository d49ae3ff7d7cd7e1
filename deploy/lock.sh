#!/usr/bin/env bash
# Write down what the image is made of, with the hashes of every file: `make lock`.
# The versions are those of requirements.lock, which is what was tested. Extras that serve
# are part of it: nobody installs into an image.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
uv=$PWD/.deploy/lock/bin/uv
[ -x "$uv" ] || {
    "$python" -m venv .deploy/lock
    .deploy/lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
}
compile() {
    env -u PIP_FIND_LINKS "$uv" pip compile --quiet --generate-hashes --only-binary :all: \
        --python-version 3.11 --python-platform linux --no-annotate \
        --custom-compile-command "make lock" "$@"
}
compile pyproject.toml --extra grpc --extra otel --constraint requirements.lock --output-file deploy/image.lock
# hatchling builds the wheel; mypy (with mypyc) and setuptools compile it.
printf '%s\n' hatchling mypy 'setuptools>=80' |
    compile --constraint requirements.lock --output-file deploy/build.lock -

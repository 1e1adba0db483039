#!/bin/sh
# After the files are gone. dpkg calls it with "remove", "purge" and others; rpm with how
# many versions are left.
set -e

case $1 in
    remove | 0)
        if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
        ;;
    # What evcam has written. Its user stays: files elsewhere may belong to it.
    purge) rm -rf /run/evcam /var/log/evcam /var/lib/evcam ;;
esac

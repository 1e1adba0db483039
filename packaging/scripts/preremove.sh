#!/bin/sh
# Before the files go. dpkg calls it with "remove", "upgrade" and others; rpm with how many
# versions will be left.
set -e

case $1 in
    remove | 0)
        if [ -d /run/systemd/system ]; then systemctl stop evcam.service || :; fi
        if command -v systemctl >/dev/null; then
            systemctl --quiet disable evcam.service 2>/dev/null || :
        fi
        ;;
esac

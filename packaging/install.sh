#!/bin/sh
# Installs evtools from the folder that this file is in, or removes it again.
set -eu
umask 022

usage() {
    cat <<USAGE
Usage: ./install.sh [--prefix DIR] [--uninstall]

  --prefix DIR  where to install  [/usr/local]
  --uninstall   remove what was installed below the prefix

The program goes into PREFIX/lib/evtools/VERSION, and a link is switched over to it, so
that programs that run go on with the version they were started with. DESTDIR in the
environment is put before every path, for those who make packages.
USAGE
}

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

prefix=/usr/local action=install
while [ $# -gt 0 ]; do
    case $1 in
        --prefix)
            [ $# -gt 1 ] || fail "$1 needs a folder" 2
            case $2 in /*) ;; *) fail "$1: $2 is not an absolute path" 2 ;; esac
            prefix=${2%/}
            shift
            ;;
        --prefix=*)
            value=${1#*=}
            shift
            set -- --prefix "$value" "$@"
            continue
            ;;
        --uninstall) action=uninstall ;;
        -h | --help)
            usage
            exit
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
root=${DESTDIR:-}
home=$prefix/lib/evtools
# What was written, so that just this is removed.
list=$root$home/installed

# Every file outside of $home: one line for each, how, from the folder, to. `link` means
# a link into $home/current, which is always there. What needs a user that nobody has made
# (logrotate.d, tmpfiles.d) is not among them: it would fail every night, and at each boot.
table() {
    for tool in evtools evtop evdump evcam; do
        echo "link bin/$tool $prefix/bin/$tool"
    done
    each share/man/man1
    each share/man/man3
    each share/man/man5
    each share/man/man7
    each share/completions/bash share/bash-completion/completions
    each share/completions/fish share/fish/vendor_completions.d
    each share/completions/zsh share/zsh/site-functions
    echo "unit systemd/evcam.service $prefix/lib/systemd/system/evcam.service"
}

each() { # each FOLDER [FOLDER-BELOW-THE-PREFIX]: a line for each file in it
    for file in "$here/$1"/*; do
        [ ! -e "$file" ] || echo "link $1/${file##*/} $prefix/${2:-$1}/${file##*/}"
    done
}

# Makes a folder and those above it, and prints the ones that were not there before.
folders() { # folders FOLDER
    if [ -d "$root$1/" ]; then return; fi
    folders "${1%/*}"
    mkdir "$root$1" && echo "$1/"
}

# mv replaces a link in one step: whoever starts the program meanwhile gets the old one or
# the new one, never none.
relink() { # relink TARGET LINK
    ln -s "$1" "$2.new.$$"
    mv -fT "$2.new.$$" "$2"
}

install_all() {
    here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
    program=$here/lib/evtools
    [ -x "$program" ] || fail "there is no program in $here/lib"
    version=$("$program" -V) || fail "$program does not run on this machine"
    version=${version#evtools }
    if [ -n "$root" ]; then mkdir -p "$root"; fi
    made=$(folders "$home") ||
        fail "cannot write to $root$home: run it as root, or --prefix"

    new=$root$home/.$version.$$
    cp -RP "$here/." "$new"
    if [ -e "$root$home/$version" ]; then
        mv "$root$home/$version" "$root$home/.$version.old.$$"
    fi
    mv "$new" "$root$home/$version"
    relink "$version" "$root$home/current"
    rm -rf "$root$home/.$version.old.$$"

    {
        cat "$list" 2>/dev/null || :
        [ -z "$made" ] || echo "$made"
        table | while read -r how from to; do
            [ -e "$here/$from" ] || continue
            folders "${to%/*}"
            case $how in
                link) relink "$home/current/$from" "$root$to" ;;
                unit)
                    sed "s#/usr/bin/evcam#$prefix/bin/evcam#g" "$here/$from" >"$root$to.new"
                    mv -f "$root$to.new" "$root$to"
                    ;;
            esac
            echo "$to"
        done
    } | LC_ALL=C sort -u >"$list.new"
    mv -f "$list.new" "$list"

    # Version 0.1.0 put these where they fail, unless somebody has made the user since.
    id -u evcam >/dev/null 2>&1 || while read -r path; do
        case $path in
            */lib/tmpfiles.d/evcam.conf) rm -f "$root$path" ;;
            */logrotate.d/evcam)
                if cmp -s "$here/logrotate.d/evcam" "$root$path"; then rm -f "$root$path"; fi
                ;;
        esac
    done <"$list"

    echo "evtools $version is installed in $prefix/bin"
    for other in "$root$home"/[0-9]*; do
        [ "$other" = "$root$home/$version" ] ||
            echo "  ${other##*/} is still in $home; remove it when nothing runs it"
    done
}

uninstall_all() {
    [ -e "$root$home/current" ] || fail "evtools is not installed in $prefix"
    # In this order a folder comes after what is in it.
    paths=$(LC_ALL=C sort -r "$list" 2>/dev/null) || :
    rm -rf "$root$home"
    printf '%s\n' "$paths" | while read -r path; do
        case $path in
            "") ;;
            # What others have put something into stays.
            */) rmdir "$root$path" 2>/dev/null || : ;;
            *) rm -f "$root$path" ;;
        esac
    done
    echo "evtools is removed from $prefix"
}

"${action}_all"

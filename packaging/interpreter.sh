#!/bin/sh
# Builds the CPython of a release and the libraries it stands on, for any Linux with the
# glibc of the toolchain or a newer one.
#
#   interpreter.sh SOURCES TOOLCHAIN WORK OUT
#
# SOURCES holds one unpacked folder for each package of sources.toml, TOOLCHAIN a compiler
# with its own C library. OUT becomes the root of the interpreter; it can be moved. scripts/
# interpreter.py calls this; JOBS in the environment says how many processes may run.
set -eu
umask 022

sources=$1 toolchain=$2 work=$3 out=$4
jobs=${JOBS:-2}
unset JOBS

# What the files would say of where they are. Nothing is there: no path of the machine that
# builds gets into what is built.
prefix=/opt/evtools-python
machine=$(uname -m)
triplet=$machine-linux-gnu
deps=$work/deps

PATH="$toolchain/bin:$PATH"
CC=$triplet-gcc CXX=$triplet-g++ AR=$triplet-ar RANLIB=$triplet-ranlib
NM=$triplet-nm STRIP=$triplet-strip
CFLAGS="-O2 -fPIC -ffile-prefix-map=$work=. -ffile-prefix-map=$sources=."
CPPFLAGS="-I$deps/include"
# patchelf and strip keep to the pages for which a file was linked: those of 2 MB, for which this
# compiler would, make small files large, and glibc 2.31 refuses what patchelf makes of them.
case $machine in x86_64) page=4096 ;; *) page=65536 ;; esac
LDFLAGS="-L$deps/lib -Wl,-z,max-page-size=$page"
# None of this machine's libraries.
PKG_CONFIG=false PKG_CONFIG_LIBDIR=$deps/lib/pkgconfig
LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1} PYTHONHASHSEED=0
export PATH CC CXX AR RANLIB NM STRIP CFLAGS CPPFLAGS LDFLAGS PKG_CONFIG \
  PKG_CONFIG_LIBDIR LC_ALL TZ SOURCE_DATE_EPOCH PYTHONHASHSEED
unset PYTHONPATH PYTHONHOME LD_LIBRARY_PATH

# Libraries for the interpreter alone are archives: an extension module then needs no
# library path, which processes of multiprocessing do not have.
for_us="--prefix=$deps --disable-shared --enable-static"

build() { # build PACKAGE COMMAND...: run the commands in a copy of the sources
    package=$1
    shift
    echo "building $package"
    mkdir -p "$work/$package"
    cp -a "$sources/$package/." "$work/$package"
    cd "$work/$package"
    for step in "$@"; do
        eval "$step" </dev/null >>"$work/$package.log" 2>&1 || {
            tail -n 30 "$work/$package.log" >&2
            echo "$package: failed: $step (all of it: $work/$package.log)" >&2
            exit 1
        }
    done
}

mkdir -p "$deps" "$out"

build zlib "./configure --static --prefix=$deps" "make -j$jobs" "make install"

build bzip2 \
    "make -j$jobs CC=$CC AR=$AR RANLIB=$RANLIB CFLAGS='$CFLAGS' libbz2.a" \
    "cp libbz2.a $deps/lib" "cp bzlib.h $deps/include"

build xz-utils \
    "./configure $for_us --disable-doc --disable-nls --disable-scripts --disable-xz \
        --disable-xzdec --disable-lzmadec --disable-lzmainfo" \
    "make -j$jobs" "make install"

# Its install does not stand several processes.
build libffi \
    "autoreconf -fi" \
    "./configure $for_us --disable-docs --disable-multi-os-directory" \
    "make -j$jobs" "make -j1 install"

build sqlite3 \
    "./configure $for_us --disable-readline --disable-tcl --enable-fts5" \
    "make -j$jobs libsqlite3.la sqlite3.h" "make lib_install sqlite3.pc" \
    "cp sqlite3.h src/sqlite3ext.h $deps/include"

build ncurses \
    "./configure --prefix=$deps --without-shared --with-normal --without-debug \
        --without-ada --without-cxx --without-cxx-binding --without-manpages \
        --without-progs --without-tests --disable-db-install --enable-widec \
        --with-default-terminfo-dir=/usr/share/terminfo \
        --with-terminfo-dirs=/etc/terminfo:/lib/terminfo:/usr/share/terminfo" \
    "make -j$jobs" "make install"

# Two modules use it, and it is large: so it is a library. The authorities are where most
# distributions have them; evtools looks for those of the others.
build openssl \
    "./Configure linux-$machine shared no-tests no-docs no-apps no-legacy no-module \
        --prefix=$prefix --libdir=lib --openssldir=/etc/ssl" \
    "make -j$jobs build_sw" "make install_sw DESTDIR=$out.root"

# PGO counts how often what was run. What counts is the training alone, with the same
# environment, hashes and addresses each time: what was counted while the build itself used
# the interpreter came in another order each time, and is let go. The steps are those of the
# target profile-run-stamp.
train="env -i PYTHONHASHSEED=0 LD_LIBRARY_PATH=.:$out.root$prefix/lib \
    setarch $machine --addr-no-randomize ./python -P $(dirname "$0")/training.py"
# Its Makefile adds to the flags of configure whatever the environment has. The release has
# no readline and no gdbm: both are GPL.
unset CFLAGS CPPFLAGS LDFLAGS
LD_LIBRARY_PATH=$out.root$prefix/lib
export LD_LIBRARY_PATH
build python3.13 \
    "printf '*disabled*\n_gdbm _dbm readline _tkinter _uuid\n' >Modules/Setup.local" \
    "./configure --prefix=$prefix --enable-shared --enable-optimizations \
        --without-ensurepip --disable-test-modules --with-dbmliborder= \
        --with-openssl=$out.root$prefix OPT='-DNDEBUG -O3 -Wall' \
        CFLAGS='-fno-plt -ffile-prefix-map=$work=.' CPPFLAGS='-I$deps/include' \
        LDFLAGS='-L$deps/lib -Wl,-z,max-page-size=$page,--exclude-libs,ALL' LIBS='-ldl -lpthread' \
        ZLIB_CFLAGS=-I$deps/include ZLIB_LIBS='-L$deps/lib -lz' \
        BZIP2_CFLAGS=-I$deps/include BZIP2_LIBS='-L$deps/lib -lbz2' \
        LIBLZMA_CFLAGS=-I$deps/include LIBLZMA_LIBS='-L$deps/lib -llzma' \
        LIBFFI_CFLAGS=-I$deps/include LIBFFI_LIBS='-L$deps/lib -lffi' \
        LIBSQLITE3_CFLAGS=-I$deps/include LIBSQLITE3_LIBS='-L$deps/lib -lsqlite3 -lm' \
        CURSES_CFLAGS='-I$deps/include -I$deps/include/ncursesw' \
        CURSES_LIBS='-L$deps/lib -lncursesw' \
        PANEL_CFLAGS='-I$deps/include -I$deps/include/ncursesw' \
        PANEL_LIBS='-L$deps/lib -lpanelw -lncursesw'" \
    "make -j$jobs profile-gen-stamp" \
    "find . -name '*.gcda' -delete" \
    "$train" \
    "make clean-retain-profile" \
    "touch profile-run-stamp" \
    "make -j$jobs" \
    "make install DESTDIR=$out.root"
unset LD_LIBRARY_PATH

rm -rf "$out"
mv "$out.root$prefix" "$out"
rm -rf "$out.root"

# Found wherever the interpreter is moved to, and in a program made of it.
patchelf --set-rpath "\$ORIGIN/../lib" "$out"/bin/python3.13
for module in "$out"/lib/python3.13/lib-dynload/_ssl.*.so \
    "$out"/lib/python3.13/lib-dynload/_hashlib.*.so; do
    patchelf --set-rpath "\$ORIGIN:\$ORIGIN/..:\$ORIGIN/../.." "$module"
done
patchelf --set-rpath "\$ORIGIN" "$out"/lib/libssl.so.3

# sysconfig tells how the interpreter was built; where is nobody's business.
sed -i "s#$out.root##g; s#$work#/build#g; s#$sources#/build#g; s#$toolchain#/toolchain#g" \
    "$out"/lib/python3.13/_sysconfigdata_*.py \
    "$out"/lib/python3.13/config-3.13-*/Makefile
find "$out" -name __pycache__ -prune -exec rm -rf {} +

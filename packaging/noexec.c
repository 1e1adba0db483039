/* Linked into the boot loader of the single file, in place of mkdtemp. A file system that
 * is mounted noexec takes our libraries, and then the linker refuses them with words that
 * help nobody. So such a folder is not taken, the boot loader tries the next one, and when
 * none is left we say what to do. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *__real_mkdtemp(char *template);

static char refused[4096];
static int taken;

char *__wrap_mkdtemp(char *template)
{
    struct statvfs mount;
    char *end;

    if (__real_mkdtemp(template) == NULL)
        return NULL;
    if (statvfs(template, &mount) != 0 || !(mount.f_flag & ST_NOEXEC)) {
        taken = 1;
        return template;
    }
    rmdir(template);
    if (refused[0] == '\0') {
        snprintf(refused, sizeof refused, "%s", template);
        end = strrchr(refused, '/');
        if (end != NULL)
            *end = '\0';
    }
    errno = EACCES;
    return NULL;
}

__attribute__((destructor)) static void explain(void)
{
    if (taken || refused[0] == '\0')
        return;
    dprintf(2,
            "evtools: %s is mounted noexec, and the single file unpacks itself there\n"
            "  set TMPDIR to a folder that programs may run from: TMPDIR=$HOME evtools ...\n"
            "  the tarball needs no such folder\n",
            refused);
}

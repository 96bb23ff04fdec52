/* Loaded in front of the C library: remembers what every file of the store held when it was last synced. What was
 * written since then is what a power loss takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void remember(int fd) {
    const char *dir = getenv("POWERLOSS_DIR");
    char link[64], path[PATH_MAX], tmp[PATH_MAX * 2], to[PATH_MAX * 2], buffer[65536];
    if (!dir) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name + 1, "agentmux.db", 11) != 0) return;
    snprintf(to, sizeof to, "%s%s", dir, name);
    snprintf(tmp, sizeof tmp, "%s%s.new", dir, name);
    int out = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) return;
    off_t at = 0;
    ssize_t count;
    while ((count = pread(fd, buffer, sizeof buffer, at)) > 0) {
        if (write(out, buffer, (size_t)count) != count) break;
        at += count;
    }
    close(out);
    rename(tmp, to);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd), saved = errno;
    if (result == 0) remember(fd);
    errno = saved;
    return result;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd), saved = errno;
    if (result == 0) remember(fd);
    errno = saved;
    return result;
}

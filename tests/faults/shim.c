/* A disk and a clock that fail on demand, loaded before the C library (LD_PRELOAD).

   Counts the calls that write to files whose path contains a text, and does something at the n-th:
   kills the process before it ("kill"), or in its middle ("torn"), or refuses it and all that follow
   ("full", "broken", "readonly"). The wall clock can be set back; the monotonic one goes on, as on a real system. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { KILL = 1, TORN = 2, FULL = 3, BROKEN = 4, READONLY = 5 };

static char watched[512];
static long at, last, count;
static int kind;
static long offset;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* From the n-th call on to the last one that fails; 0 counts only. */
void fault_arm(const char *text, int what, long first, long until) {
    snprintf(watched, sizeof watched, "%s", text);
    kind = what, at = first, last = until, count = 0;
}
long fault_count(void) { return count; }
void fault_clock(long seconds) { offset = seconds; }

static int is_watched(const char *path) { return watched[0] && strstr(path, watched) != NULL; }

static int is_open_on_it(int fd) {
    char link[64], path[1024];
    if (!watched[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_watched(path);
}

/* What becomes of a watched call: 0 it is done, TORN half of it is, else it is refused. */
static int next(void) {
    long now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (!kind || !at || now < at || now > last) return 0;
    if (kind == KILL) raise(SIGKILL);
    if (kind == FULL) errno = ENOSPC;
    if (kind == BROKEN) errno = EIO;
    if (kind == READONLY) errno = EROFS;
    return kind;
}

#define WRITES(name, arguments, whole, half)                            \
    ssize_t name arguments {                                            \
        int what = is_open_on_it(fd) ? next() : 0;                      \
        if (what == TORN) { (void)!half; raise(SIGKILL); }              \
        if (what) return -1;                                            \
        return whole;                                                   \
    }
WRITES(write, (int fd, const void *data, size_t size), REAL(write)(fd, data, size),
       REAL(write)(fd, data, size / 2))
WRITES(pwrite, (int fd, const void *data, size_t size, off_t start),
       REAL(pwrite)(fd, data, size, start), REAL(pwrite)(fd, data, size / 2, start))
WRITES(pwrite64, (int fd, const void *data, size_t size, off64_t start),
       REAL(pwrite64)(fd, data, size, start), REAL(pwrite64)(fd, data, size / 2, start))

#define ON_FILE(name, arguments, whole)                                 \
    int name arguments {                                                \
        int what = is_open_on_it(fd) ? next() : 0;                      \
        if (what == TORN) raise(SIGKILL);                               \
        return what ? -1 : whole;                                       \
    }
ON_FILE(fsync, (int fd), REAL(fsync)(fd))
ON_FILE(fdatasync, (int fd), REAL(fdatasync)(fd))
ON_FILE(ftruncate, (int fd, off_t size), REAL(ftruncate)(fd, size))
ON_FILE(ftruncate64, (int fd, off64_t size), REAL(ftruncate64)(fd, size))

/* Names change on a full disk too: these are only killed. */
#define ON_NAME(name, arguments, path, whole)                           \
    int name arguments {                                                \
        if (is_watched(path) && next() == TORN) raise(SIGKILL);         \
        return whole;                                                   \
    }
ON_NAME(unlink, (const char *path), path, REAL(unlink)(path))
ON_NAME(rename, (const char *from, const char *to), to, REAL(rename)(from, to))
ON_NAME(symlink, (const char *from, const char *to), to, REAL(symlink)(from, to))

int clock_gettime(clockid_t which, struct timespec *found) {
    int failed = REAL(clock_gettime)(which, found);
    if (!failed && which == CLOCK_REALTIME) found->tv_sec += offset;
    return failed;
}

/*
 * A disk that a test lets wait: as long as a file `disk-waits` is in the working directory, whoever
 * syncs a file waits, for a minute at most.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    for (int tries = 0; tries < 60000 && access("disk-waits", F_OK) == 0; tries++) {
        usleep(1000);
    }
}

int fdatasync(int fd)
{
    static int (*real)(int);

    wait_for_disk();
    if (!real) {
        real = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    }
    return real(fd);
}

int fsync(int fd)
{
    static int (*real)(int);

    wait_for_disk();
    if (!real) {
        real = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    }
    return real(fd);
}

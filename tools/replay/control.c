/* SPDX-License-Identifier: MIT */
#include "replay/control.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct replay_control *map(int fd, size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

struct replay_control *replay_control_create(int plugins, int *fd)
{
    size_t bytes = sizeof(struct replay_control) + (size_t)plugins * sizeof(struct replay_slot);
    struct replay_control *control = NULL;

    /* Not close-on-exec: this is how it reaches the plugin processes. */
    *fd = memfd_create("tickstate-replay", 0);
    if (*fd < 0)
        return NULL;
    if (ftruncate(*fd, (off_t)bytes) == 0)
        control = map(*fd, bytes);
    if (!control) {
        close(*fd);
        return NULL;
    }
    control->bytes = bytes;
    control->plugins = plugins;
    control->parent = (int)getpid();
    return control;
}

struct replay_control *replay_control_attach(int fd)
{
    struct replay_control *control;
    struct stat info;

    if (fstat(fd, &info) != 0)
        return NULL;
    errno = EINVAL;
    if ((size_t)info.st_size < sizeof(*control))
        return NULL;
    control = map(fd, (size_t)info.st_size);
    if (!control || control->bytes == (uint64_t)info.st_size)
        return control;
    munmap(control, (size_t)info.st_size);
    errno = EINVAL;
    return NULL;
}

void replay_control_close(struct replay_control *control)
{
    if (control)
        munmap(control, control->bytes);
}

void replay_plugin_name(int index, char name[REPLAY_NAME_MAX])
{
    snprintf(name, REPLAY_NAME_MAX, "replay-scalper-%d", index + 1);
}

int64_t replay_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

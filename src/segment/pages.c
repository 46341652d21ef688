/* SPDX-License-Identifier: MIT */
#include "segment/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

int tks_pages_commit(int fd, uint64_t offset, uint64_t bytes)
{
    for (;;) {
        if (!fallocate(fd, 0, (off_t)offset, (off_t)bytes))
            return 0;
        if (errno != EINTR)
            return errno;
    }
}

/* Where huge pages do not fit, if there is too little address space to choose. */
static char *map_anywhere(int fd, uint64_t bytes)
{
    char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

char *tks_pages_map(int fd, uint64_t bytes)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t mapped = (bytes + page - 1) & ~(page - 1), room = mapped + WINDOW_BYTES;
    char *reserved =
        mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return map_anywhere(fd, bytes);
    const uint64_t skipped = -(uint64_t)(uintptr_t)reserved & (WINDOW_BYTES - 1);
    char *base = mmap(reserved + skipped, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (base == MAP_FAILED) {
        munmap(reserved, room);
        return map_anywhere(fd, bytes);
    }
    if (skipped)
        munmap(reserved, skipped);
    munmap(base + mapped, room - skipped - mapped);
    return base;
}

bool tks_pages_populate(char *base, uint64_t offset, uint64_t bytes)
{
    const uint64_t inside = offset & ((uint64_t)sysconf(_SC_PAGESIZE) - 1);
    return !madvise(base + offset - inside, bytes + inside, MADV_POPULATE_WRITE);
}

uint64_t tks_pages_make_huge(char *base, uint64_t size, uint64_t from, uint64_t bytes,
                             uint64_t *windows)
{
    uint64_t huge = 0;
    for (uint64_t at = from & ~(WINDOW_BYTES - 1); at < from + bytes && at + WINDOW_BYTES <= size;
         at += WINDOW_BYTES) {
        ++*windows;
        huge += !madvise(base + at, WINDOW_BYTES, MADV_COLLAPSE);
    }
    return huge;
}

/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/process.h"

#include <tickstate/tickstate.h>

#include <sys/wait.h>
#include <unistd.h>

const char *unit_name(void)
{
    static char name[64];
    if (!name[0])
        snprintf(name, sizeof(name), "tickstate-test-unit-%d", (int)getpid());
    return name;
}

const char *unit_path(void)
{
    static char path[96];
    snprintf(path, sizeof(path), "/dev/shm/%s", unit_name());
    return path;
}

int unit_try(uint64_t size_bytes, uint64_t slots, bool existing, struct tks_segment **segment)
{
    struct tks_segment_options options = {
        .size_bytes = size_bytes, .slots = slots, .mode = 0600, .existing = existing};
    snprintf(options.name, sizeof(options.name), "%s", unit_name());
    assert_int_equal(tks_process_enter(), TKS_OK);
    pthread_mutex_lock(&tks_process->lock);
    int status = tks_segment_open(&options, segment);
    pthread_mutex_unlock(&tks_process->lock);
    return status;
}

struct tks_segment *unit_open(uint64_t size_bytes, uint64_t slots)
{
    struct tks_segment *segment = NULL;
    assert_int_equal(unit_try(size_bytes, slots, false, &segment), 0);
    return segment;
}

void unit_release(struct tks_segment *segment)
{
    pthread_mutex_lock(&tks_process->lock);
    tks_segment_release(segment);
    pthread_mutex_unlock(&tks_process->lock);
}

void unit_remove(void)
{
    unlink(unit_path());
    rmdir(unit_path());
}

void unit_wait(pid_t child, int status)
{
    int got;
    assert_int_equal(waitpid(child, &got, 0), child);
    assert_int_equal(got, status);
}

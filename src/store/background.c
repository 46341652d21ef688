/* SPDX-License-Identifier: MIT */
#include "store/background.h"

#include "base/error.h"
#include "base/process.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A tenth of the weight of an ordinary thread: somebody may be waiting for what it does. */
#define LOW_PRIORITY 10

int tks_background_start(const struct tks_segment *segment, int cpu, void *(*run)(void *arg),
                         void *arg, pthread_t *thread)
{
    int error = tks_thread_start(thread, cpu, run, arg);
    if (!error)
        return TKS_OK;
    if (error == EINVAL && cpu != NO_CPU)
        return tks_fail(TKS_INVALID,
                        "URI parameter snapshot_cpu=%d: there is no such CPU for this process",
                        cpu);
    return tks_fail_errno(error, "cannot start a thread for segment \"%s\"", segment->name);
}

void tks_background_enter(void)
{
    tks_thread_enter();
    /* In Linux a nice value is a thread's. Refused or not, the work is the same. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOW_PRIORITY);
}

bool tks_background_ended(pthread_t thread, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t nsec = until.tv_nsec + ns;
    until.tv_sec += nsec / 1000000000;
    until.tv_nsec = nsec % 1000000000;
    return pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT;
}

void tks_background_tell(char shared[256])
{
    char text[256] = {0};
    strncpy(text, tks_last_error(), sizeof(text) - 1);
    copy_to_shared((uint64_t *)(void *)shared, text, sizeof(text));
}

/* SPDX-License-Identifier: MIT */
/*
 * Who is calling: this process or a forked child of the one that opened, this thread or another.
 * A page that the kernel wipes in a child (MADV_WIPEONFORK) answers the first in one load.
 */
#ifndef TKS_BASE_PROCESS_H
#define TKS_BASE_PROCESS_H

#include "base/atomic.h"

#include <pthread.h>

struct tks_process {
    uint64_t token; /* not 0 in the process that set it up; wiped to 0 in a forked child */
    pthread_mutex_t
        lock;       /* guards `mappings` and open/close; all zero is PTHREAD_MUTEX_INITIALIZER */
    void *mappings; /* segments mapped by this process */
};

extern struct tks_process *tks_process;

/** Set up, also again after a fork. TKS_OK, TKS_NO_SPACE. */
int tks_process_enter(void);

/** Whether handles made under @p token belong to this process. */
static inline bool process_is(uint64_t token)
{
    return tks_likely(load_relaxed(&tks_process->token) == token);
}

/**
 * Zeroed memory that reads as zeros again in a forked child: a handle in it shows by itself that it
 * was inherited. NULL without memory.
 */
void *tks_wiped_alloc(size_t bytes);
void tks_wiped_free(void *memory, size_t bytes);

/**
 * Start a thread that no signal is delivered to, on CPU @p cpu (-1: wherever its creator may run).
 * 0 or an errno.
 */
int tks_thread_start(pthread_t *thread, int cpu, void *(*run)(void *arg), void *arg);

/* 0 until this thread opens its first state; never reused by another thread of the process. */
extern _Thread_local uint64_t tks_thread_id
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/** This thread's id, given out on the first call. */
uint64_t tks_thread_enter(void);

#endif

/* SPDX-License-Identifier: MIT */
/* Worker processes of the tests without ptrace: started, stopped, resumed, killed, awaited. */
#ifndef TKS_PROTOCOL_CREW_H
#define TKS_PROTOCOL_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The same programs run on the tiny build and on the ordinary one. */
#ifdef TKS_TEST_TINY
#define CREW_SIZE "256K"
#else
#define CREW_SIZE "2M"
#endif

/** Fork a worker that exits with what @p body returns; it dies with its parent. */
pid_t crew_start(int (*body)(void *arg), void *arg);

/** Wait for it. Exit status, or 256 + signal. */
int crew_wait(pid_t pid);

void crew_kill(pid_t pid);

/** Stop it and wait until it is stopped. False when it ended before. */
bool crew_stop(pid_t pid);
void crew_go_on(pid_t pid);

/** Zeroed memory shared with the workers. */
void *crew_memory(size_t bytes);

/** Wait until *word is at least @p value, 20 s at most. */
bool crew_await(const unsigned long *word, unsigned long value);

#endif

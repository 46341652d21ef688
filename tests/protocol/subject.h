/* SPDX-License-Identifier: MIT */
/*
 * A subject: a child process that is stopped at chosen instructions with ptrace.
 *
 * It marks points by raising signals at itself, which its tracer sees and swallows. A trace is the
 * list of instruction addresses between two marks; with it the tracer goes to position k by a
 * hardware breakpoint and a few steps instead of k steps. Only the main thread is traced: the
 * library's helper thread goes on while the subject is stopped, and dies with it.
 */
#ifndef TKS_PROTOCOL_SUBJECT_H
#define TKS_PROTOCOL_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MARK_BEGIN SIGUSR1 /* also: everything finished */
#define MARK_END SIGUSR2

enum subject_stop { SUBJECT_STEPPED, SUBJECT_BEGIN, SUBJECT_END, SUBJECT_EXITED, SUBJECT_CRASHED };

struct subject {
    pid_t pid;
    int crash; /* signal of SUBJECT_CRASHED, or exit status of SUBJECT_EXITED */
};

struct trace {
    uint64_t *at; /* addresses of the instructions, in order */
    size_t count, cap;
};

/** Whether the kernel lets us trace a child; if not, why. */
bool subject_possible(char *why, size_t room);

/** In the subject: mark a point. */
void subject_mark(int mark);

/** Fork a subject that runs @p body; it is stopped before it. */
bool subject_start(struct subject *subject, void (*body)(void *arg), void *arg);

/** Let it run to its next mark, or its end. */
enum subject_stop subject_run(struct subject *subject);

/** Execute @p count instructions, or as many as there are before the next mark. */
enum subject_stop subject_step(struct subject *subject, size_t count);

/** Step to the next mark and note every address. At most @p limit instructions. */
enum subject_stop subject_trace(struct subject *subject, struct trace *trace, size_t limit);

/** Go to position @p k of @p trace. SUBJECT_STEPPED, or what came before it was reached. */
enum subject_stop subject_go_to(struct subject *subject, const struct trace *trace, size_t k);

uint64_t subject_address(const struct subject *subject);

/** SIGKILL it and wait until it is gone. */
void subject_kill(struct subject *subject);

void trace_free(struct trace *trace);

#endif

/* SPDX-License-Identifier: MIT */
#include "subject.h"

#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* A breakpoint pays when it saves at least this many steps. */
#define STEPS_SAVED 8u
/* How far before the position to look for an address that was executed seldom. */
#define LOOK_BACK 24u

void subject_mark(int mark)
{
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), mark);
}

static enum subject_stop await(struct subject *subject)
{
    int status;
    while (waitpid(subject->pid, &status, __WALL) != subject->pid)
        if (errno != EINTR) {
            subject->pid = 0;
            return SUBJECT_CRASHED;
        }
    if (!WIFSTOPPED(status)) {
        watchdog_child_gone(subject->pid);
        subject->pid = 0;
        subject->crash = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
        return WIFEXITED(status) ? SUBJECT_EXITED : SUBJECT_CRASHED;
    }
    switch (WSTOPSIG(status)) {
    case SIGTRAP:
        return SUBJECT_STEPPED;
    case MARK_BEGIN:
        return SUBJECT_BEGIN;
    case MARK_END:
        return SUBJECT_END;
    default:
        subject->crash = WSTOPSIG(status);
        return SUBJECT_CRASHED;
    }
}

bool subject_start(struct subject *subject, void (*body)(void *arg), void *arg)
{
    pid_t parent = getpid();
    fflush(NULL);
    subject->crash = 0;
    subject->pid = fork();
    if (subject->pid < 0)
        return false;
    if (!subject->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || ptrace(PTRACE_TRACEME, 0, NULL, NULL))
            _exit(99);
        raise(SIGSTOP);
        body(arg);
        _exit(0);
    }
    watchdog_child(subject->pid);
    if (await(subject) != SUBJECT_CRASHED || subject->crash != SIGSTOP)
        return false;
    return !ptrace(PTRACE_SETOPTIONS, subject->pid, NULL, (void *)PTRACE_O_EXITKILL);
}

bool subject_possible(char *why, size_t room)
{
    struct subject subject;
    if (UNDER_SANITIZER) {
        snprintf(why, room, "sanitizers do not go with single-stepping");
        return false;
    }
    bool possible = subject_start(&subject, (void (*)(void *))abort, NULL) &&
                    subject_step(&subject, 1) == SUBJECT_STEPPED;
    snprintf(why, room, "ptrace is not permitted here: %s", strerror(errno));
    if (subject.pid > 0)
        subject_kill(&subject);
    return possible;
}

enum subject_stop subject_run(struct subject *subject)
{
    ptrace(PTRACE_CONT, subject->pid, NULL, NULL);
    return await(subject);
}

enum subject_stop subject_step(struct subject *subject, size_t count)
{
    enum subject_stop stop = SUBJECT_STEPPED;
    for (size_t i = 0; i < count && stop == SUBJECT_STEPPED; i++) {
        if (ptrace(PTRACE_SINGLESTEP, subject->pid, NULL, NULL))
            return SUBJECT_CRASHED;
        stop = await(subject);
    }
    return stop;
}

void subject_kill(struct subject *subject)
{
    if (subject->pid <= 0)
        return;
    kill(subject->pid, SIGKILL);
    while (subject->pid)
        await(subject);
}

/* ---- Traces -------------------------------------------------------------------------------- */

#ifdef __x86_64__
static uint64_t peek(const struct subject *subject, size_t offset)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, subject->pid, (void *)offset, NULL);
}

uint64_t subject_address(const struct subject *subject)
{
    return peek(subject, offsetof(struct user, regs.rip));
}

static bool set_breakpoint(const struct subject *subject, uint64_t address)
{
    size_t base = offsetof(struct user, u_debugreg[0]);
    size_t control = offsetof(struct user, u_debugreg[7]);
    return !ptrace(PTRACE_POKEUSER, subject->pid, (void *)control, NULL) &&
           (!address || (!ptrace(PTRACE_POKEUSER, subject->pid, (void *)base, (void *)address) &&
                         !ptrace(PTRACE_POKEUSER, subject->pid, (void *)control, (void *)1)));
}
#else
uint64_t subject_address(const struct subject *subject)
{
    (void)subject;
    return 0;
}

static bool set_breakpoint(const struct subject *subject, uint64_t address)
{
    (void)subject;
    return !address;
}
#endif

static void append(struct trace *trace, uint64_t address)
{
    if (trace->count == trace->cap) {
        trace->cap = trace->cap ? trace->cap * 2 : 4096;
        trace->at = realloc(trace->at, trace->cap * sizeof(*trace->at));
        if (!trace->at)
            abort();
    }
    trace->at[trace->count++] = address;
}

enum subject_stop subject_trace(struct subject *subject, struct trace *trace, size_t limit)
{
    enum subject_stop stop = SUBJECT_STEPPED;
    trace->count = 0;
    while (stop == SUBJECT_STEPPED && trace->count < limit) {
        append(trace, subject_address(subject));
        stop = subject_step(subject, 1);
    }
    return stop;
}

void trace_free(struct trace *trace)
{
    free(trace->at);
    memset(trace, 0, sizeof(*trace));
}

/* How often the address at @p j is executed before j, from position 1 on. */
static size_t occurrences(const struct trace *trace, size_t j)
{
    size_t count = 0;
    for (size_t i = 1; i < j; i++)
        count += trace->at[i] == trace->at[j];
    return count;
}

/* The cheapest way to k: position of the breakpoint, 0 for steps only. */
static size_t choose(const struct trace *trace, size_t k, size_t *passes)
{
    size_t best = 0, cost = k;
    for (size_t j = k; j > 0 && j + LOOK_BACK > k; j--) {
        size_t before = occurrences(trace, j);
        size_t here = 3 * (before + 1) + (k - j) + STEPS_SAVED;
        if (here < cost) {
            best = j;
            cost = here;
            *passes = before;
        }
    }
    return best;
}

enum subject_stop subject_go_to(struct subject *subject, const struct trace *trace, size_t k)
{
    size_t passes = 0, done = 0;
    size_t stop_at = k < trace->count ? choose(trace, k, &passes) : 0;
    if (stop_at && set_breakpoint(subject, trace->at[stop_at])) {
        for (size_t i = 0; i <= passes; i++) {
            enum subject_stop stop = subject_run(subject);
            if (stop != SUBJECT_STEPPED)
                return stop;
        }
        set_breakpoint(subject, 0);
        done = stop_at;
    }
    return subject_step(subject, k - done);
}

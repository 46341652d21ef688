/* SPDX-License-Identifier: MIT */
#include "crew.h"

#include "support.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t crew_start(int (*body)(void *arg), void *arg)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        test_fail("fork failed");
        exit(test_summary());
    }
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() == parent ? body(arg) : 99);
    }
    watchdog_child(pid);
    return pid;
}

int crew_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            return -1;
    watchdog_child_gone(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

void crew_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    crew_wait(pid);
}

bool crew_stop(pid_t pid)
{
    siginfo_t info;
    kill(pid, SIGSTOP);
    /* One that ended is left to crew_wait(). */
    while (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT))
        if (errno != EINTR)
            return false;
    if (info.si_code != CLD_STOPPED)
        return false;
    return !waitid(P_PID, (id_t)pid, &info, WSTOPPED);
}

void crew_go_on(pid_t pid)
{
    kill(pid, SIGCONT);
}

void *crew_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

bool crew_await(const unsigned long *word, unsigned long value)
{
    double until = seconds_now() + 20;
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value) {
        if (seconds_now() > until)
            return false;
        sched_yield();
    }
    return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * The parent while the plugins run. All signals that matter are blocked and fetched one at a time,
 * so nothing happens between two lines of this file. Plugins are ended by SIGKILL only: the store
 * does not mind, and there is no second way out to test.
 */
#include "replay/replay.h"
#include "replay/run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_NS 100000000

struct supervisor {
    struct replay *replay;
    int running;
    bool progress; /* stderr is a terminal */
    bool drawn;
};

/* ---- Progress ---------------------------------------------------------------------------- */

static void draw_progress(struct supervisor *supervisor)
{
    const struct replay *replay = supervisor->replay;
    uint64_t least = UINT64_MAX;
    char done[GROUPED_MAX], all[GROUPED_MAX];

    if (!supervisor->progress)
        return;
    for (int i = 0; i < replay->control->plugins; i++) {
        uint64_t ticks =
            atomic_load_explicit(&replay->control->slots[i].ticks, memory_order_relaxed);

        least = ticks < least ? ticks : least;
    }
    fprintf(stderr, "\r\033[Kreplay: %3u %%  %s of %s ticks  %d plugins%s",
            (unsigned)(replay->ticks ? 100 * least / replay->ticks : 100),
            format_grouped(least, done), format_grouped(replay->ticks, all),
            replay->control->plugins, replay->kill.done ? "  (1 killed and restarted)" : "");
    fflush(stderr);
    supervisor->drawn = true;
}

static void clear_progress(struct supervisor *supervisor)
{
    if (supervisor->drawn)
        fputs("\r\033[K", stderr);
    supervisor->drawn = false;
}

/* ---- Processes --------------------------------------------------------------------------- */

static void become_plugin(const struct supervisor *supervisor, int index)
{
    char argument[64], name[] = "tickstate", command[] = REPLAY_PLUGIN_COMMAND;
    char *const argv[] = {name, command, argument, NULL};

    snprintf(argument, sizeof(argument), "%d:%d", supervisor->replay->control_fd, index);
    sigprocmask(SIG_SETMASK, &supervisor->replay->signals_before, NULL);
    execv("/proc/self/exe", argv);
    snprintf(supervisor->replay->control->slots[index].error, REPLAY_ERROR_MAX,
             "cannot be started: %s", strerror(errno));
    _exit(CLI_FAILED);
}

static int start_plugin(struct supervisor *supervisor, int index)
{
    struct replay_plugin *plugin = &supervisor->replay->plugins[index];
    pid_t pid = fork();

    if (pid < 0) {
        complain(supervisor->replay->arguments, "fork: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (pid == 0)
        become_plugin(supervisor, index);
    plugin->pid = pid;
    supervisor->running++;
    return CLI_OK;
}

/* Reap a plugin; false: it has not ended (only with WNOHANG). */
static bool reap(struct supervisor *supervisor, struct replay_plugin *plugin, int flags,
                 int *status)
{
    struct rusage usage;
    pid_t got;

    do
        got = wait4(plugin->pid, status, flags, &usage);
    while (got < 0 && errno == EINTR);
    if (got != plugin->pid)
        return false;
    plugin->preempted += usage.ru_nivcsw;
    plugin->pid = 0;
    supervisor->running--;
    return true;
}

static void end_all(struct supervisor *supervisor)
{
    struct replay *replay = supervisor->replay;
    int status;

    for (int i = 0; i < replay->control->plugins; i++)
        if (replay->plugins[i].pid > 0)
            kill(replay->plugins[i].pid, SIGKILL);
    for (int i = 0; i < replay->control->plugins; i++)
        if (replay->plugins[i].pid > 0)
            reap(supervisor, &replay->plugins[i], 0, &status);
}

static int complain_end(struct supervisor *supervisor, int index, int status)
{
    const struct replay *replay = supervisor->replay;
    const char *error = replay->control->slots[index].error;
    const char *name = replay->plugins[index].name;

    clear_progress(supervisor);
    if (WIFSIGNALED(status))
        complain(replay->arguments, "%s: ended by signal %d (%s)", name, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        complain(replay->arguments, "%s: %s", name, *error ? error : "failed without saying why");
    return CLI_FAILED;
}

static int reap_all_ended(struct supervisor *supervisor)
{
    struct replay *replay = supervisor->replay;
    int status;

    for (int i = 0; i < replay->control->plugins; i++) {
        if (replay->plugins[i].pid == 0 || !reap(supervisor, &replay->plugins[i], WNOHANG, &status))
            continue;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != CLI_OK)
            return complain_end(supervisor, i, status);
    }
    return CLI_OK;
}

/* ---- The kill ---------------------------------------------------------------------------- */

static int kill_and_restart(struct supervisor *supervisor)
{
    struct replay *replay = supervisor->replay;
    struct replay_plugin *plugin = &replay->plugins[0];
    int status;

    kill(plugin->pid, SIGKILL);
    if (!reap(supervisor, plugin, 0, &status))
        return complain_end(supervisor, 0, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        return complain_end(supervisor, 0, status);
    status = replay_read_book(plugin, &replay->kill.kept);
    if (status != TKS_OK)
        return replay_fail_status(replay, status, plugin->name);
    replay->kill.done = true;
    atomic_store(&replay->control->kill_at, 0);
    atomic_store(&replay->control->slots[0].resumed_at, UINT64_MAX);
    return start_plugin(supervisor, 0);
}

static bool kill_is_due(const struct replay *replay)
{
    return replay->kill.at != 0 && !replay->kill.done && replay->plugins[0].pid > 0 &&
           atomic_load(&replay->control->slots[0].ticks) >= replay->kill.at;
}

/* ---- Signals ----------------------------------------------------------------------------- */

void replay_block_signals(struct replay *replay)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGUSR1};

    sigemptyset(&replay->signals);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&replay->signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &replay->signals, &replay->signals_before);
}

/* A plugin's last SIGUSR1 or SIGCHLD may still wait: it must not hit the default action. */
void replay_unblock_signals(const struct replay *replay)
{
    const struct timespec none = {.tv_sec = 0};

    while (sigtimedwait(&replay->signals, NULL, &none) > 0)
        ;
    sigprocmask(SIG_SETMASK, &replay->signals_before, NULL);
}

static bool ends_the_run(int number)
{
    return number == SIGINT || number == SIGTERM || number == SIGHUP;
}

bool replay_interrupted(const struct replay *replay)
{
    const struct timespec none = {.tv_sec = 0};
    int number;

    while ((number = sigtimedwait(&replay->signals, NULL, &none)) > 0) {
        if (!ends_the_run(number))
            continue;
        complain(replay->arguments, "interrupted");
        return true;
    }
    return false;
}

/* ---- The loop ---------------------------------------------------------------------------- */

static int step(struct supervisor *supervisor)
{
    const struct timespec patience = {.tv_nsec = PROGRESS_NS};
    int number = sigtimedwait(&supervisor->replay->signals, NULL, &patience);
    int status;

    if (ends_the_run(number)) {
        clear_progress(supervisor);
        complain(supervisor->replay->arguments, "interrupted");
        return CLI_FAILED;
    }
    if (kill_is_due(supervisor->replay)) {
        status = kill_and_restart(supervisor);
        if (status != CLI_OK)
            return status;
    }
    if (number < 0)
        draw_progress(supervisor);
    return reap_all_ended(supervisor);
}

int replay_supervise(struct replay *replay)
{
    struct supervisor supervisor = {.replay = replay, .progress = isatty(STDERR_FILENO)};
    int64_t begin = replay_clock_ns();
    int status = CLI_OK;

    for (int i = 0; i < replay->control->plugins && status == CLI_OK; i++)
        status = start_plugin(&supervisor, i);
    while (status == CLI_OK && supervisor.running > 0)
        status = step(&supervisor);
    end_all(&supervisor);
    clear_progress(&supervisor);
    replay->elapsed_ns = replay_clock_ns() - begin;
    replay->kill.resumed_at = atomic_load(&replay->control->slots[0].resumed_at);
    return status;
}

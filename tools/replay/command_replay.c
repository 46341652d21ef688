/* SPDX-License-Identifier: MIT */
#include "replay/run.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the replay's own store. Reserved, not used: a plugin's state is a few hundred bytes. */
#define OWN_STORE_SIZE "16M"
/* How much later than asked for the kill may come at most, in ticks. */
#define KILL_SLACK 4096

/* ---- The stream -------------------------------------------------------------------------- */

static int fill_spec(const struct arguments *arguments, struct tick_spec *spec)
{
    spec->count = (uint64_t)arguments->count;
    spec->seed = arguments->seed;
    if (!arguments->ticks_path)
        return CLI_OK;
    if (strlen(arguments->ticks_path) < sizeof(spec->path)) {
        strcpy(spec->path, arguments->ticks_path);
        return CLI_OK;
    }
    complain(arguments, "%s: %s", arguments->ticks_path, strerror(ENAMETOOLONG));
    return CLI_FAILED;
}

static void name_instruments(struct replay *replay, const struct tick_source *source)
{
    size_t instruments = tick_source_instruments(source);

    replay->control->instruments = instruments;
    for (int i = 0; i < replay->control->plugins; i++) {
        uint16_t number = scalper_rule(i, instruments).instrument;

        strcpy(replay->plugins[i].instrument, tick_source_instrument(source, number));
    }
}

/* Read the whole stream once: every row is checked before anything is started. */
static int survey(struct replay *replay)
{
    char error[TICK_ERROR_MAX];
    struct tick_source *source = tick_source_open(&replay->control->ticks, error);
    struct tick tick = {0};
    int got = -1;

    while (source && (got = tick_source_next(source, &tick, error)) > 0)
        if (replay->ticks++ == 0)
            replay->control->first_recv_ns = tick.recv_ns;
    if (got == 0) {
        replay->span_ns = replay->ticks ? tick.recv_ns - replay->control->first_recv_ns : 0;
        name_instruments(replay, source);
    } else {
        complain(replay->arguments, "%s", error);
    }
    tick_source_close(source);
    if (got == 0 && replay->ticks == 0) {
        complain(replay->arguments, "%s: no ticks", replay->control->ticks.path);
        return CLI_FAILED;
    }
    return got == 0 ? CLI_OK : CLI_FAILED;
}

static int plan_kill(struct replay *replay)
{
    int64_t asked = replay->arguments->kill_at;
    struct replay_kill *kill = &replay->kill;
    uint64_t slack;

    kill->at = asked < 0 ? replay->ticks / 2 : (uint64_t)asked;
    if (kill->at == 0)
        return CLI_OK;
    if (kill->at >= replay->ticks) {
        complain(replay->arguments,
                 "--kill-at %llu is not before the end of the stream: %llu ticks",
                 (unsigned long long)kill->at, (unsigned long long)replay->ticks);
        return CLI_USAGE;
    }
    slack = (replay->ticks - kill->at) / 2;
    kill->latest = kill->at + 1 + (slack < KILL_SLACK ? slack : KILL_SLACK);
    kill->latest = kill->latest < replay->ticks ? kill->latest : replay->ticks;
    atomic_store(&replay->control->kill_at, kill->at);
    atomic_store(&replay->control->kill_latest, kill->latest);
    return CLI_OK;
}

/* ---- The store --------------------------------------------------------------------------- */

static int delete_key(void *arg, const char *key, size_t key_len)
{
    (void)key_len;
    return tks_delete(arg, key);
}

/* Open a plugin's state and empty it: a replay begins with its stream. */
static int open_plugin(struct replay *replay, int index)
{
    struct replay_plugin *plugin = &replay->plugins[index];
    int status;

    replay_plugin_name(index, plugin->name);
    status = tks_state_open(replay->store, plugin->name, &plugin->state);
    if (status == TKS_OK)
        status = tks_keys(plugin->state, delete_key, plugin->state);
    return status == TKS_OK ? CLI_OK : replay_fail_status(replay, status, plugin->name);
}

static int open_store(struct replay *replay)
{
    struct session session;
    int status;

    if (strlen(replay->store_uri) >= REPLAY_URI_MAX) {
        complain(replay->arguments, "the store's URI is too long");
        return CLI_USAGE;
    }
    status = session_open_uri(replay->arguments, replay->store_uri, replay->store_shown,
                              SESSION_CREATE, &session);
    replay->store = session.store;
    if (status != CLI_OK)
        return status;
    strcpy(replay->control->store_uri, replay->store_uri);
    for (int i = 0; i < replay->control->plugins && status == CLI_OK; i++)
        status = open_plugin(replay, i);
    return status;
}

void replay_close_store(struct replay *replay)
{
    for (int i = 0; i < replay->control->plugins; i++) {
        tks_state_close(replay->plugins[i].state);
        replay->plugins[i].state = NULL;
    }
    tks_store_close(replay->store);
    replay->store = NULL;
}

/* ---- The command ------------------------------------------------------------------------- */

/* The shortest time that is measured around nothing at all. */
static uint64_t timer_cost(void)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < 1000; i++) {
        int64_t begin = replay_clock_ns(), took = replay_clock_ns() - begin;

        least = took < least ? took : least;
    }
    return (uint64_t)least;
}

static int run_and_report(struct replay *replay)
{
    int status;

    /* Real speed: some time for the processes to start, before the first tick is due. */
    replay->control->real_speed = replay->arguments->real_speed;
    replay->control->start_ns = replay_clock_ns() + 100000000;
    replay->timer_ns = timer_cost();
    replay->cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    status = replay_supervise(replay);
    if (status == CLI_OK)
        status = replay_prove(replay);
    if (status == CLI_OK)
        status = replay_reboot(replay);
    if (status == CLI_OK)
        status = replay_print(replay);
    if (status == CLI_OK && replay->report_dir >= 0)
        status = replay_write_files(replay);
    if (status != CLI_OK || replay->right)
        return status;
    complain(replay->arguments, replay->reboot.done && !replay->reboot.right
                                    ? "what came back from the checkpoint is not what was there"
                                    : "the final state is not the one that the ticks lead to");
    return CLI_FAILED;
}

static int replay_on_store(struct replay *replay)
{
    bool own = !replay->arguments->store_named && !replay->kept;
    int status, removed;
    bool opened;

    replay_block_signals(replay);
    status = open_store(replay);
    opened = replay->store != NULL;
    if (status == CLI_OK)
        status = run_and_report(replay);
    replay_close_store(replay);
    removed = own && opened ? tks_store_destroy(replay->store_uri) : TKS_OK;
    /* A reboot that failed half-way has removed it already. */
    removed = removed == TKS_NOT_FOUND ? TKS_OK : removed;
    if (removed != TKS_OK && status == CLI_OK)
        status = replay_fail_status(replay, removed, replay->store_shown);
    replay_unblock_signals(replay);
    return status;
}

static int replay_with_control(struct replay *replay)
{
    int status = fill_spec(replay->arguments, &replay->control->ticks);

    if (status == CLI_OK)
        status = survey(replay);
    if (status == CLI_OK)
        status = plan_kill(replay);
    if (status == CLI_OK && replay->arguments->report_dir)
        status = replay_open_report(replay);
    return status == CLI_OK ? replay_on_store(replay) : status;
}

static int replay_with(struct replay *replay)
{
    const struct arguments *arguments = replay->arguments;
    int status;

    replay->plugins = calloc((size_t)arguments->plugins, sizeof(*replay->plugins));
    if (!replay->plugins)
        return complain_memory(arguments);
    replay->control = replay_control_create(arguments->plugins, &replay->control_fd);
    if (replay->control) {
        status = replay_with_control(replay);
        close(replay->control_fd);
    } else {
        complain(arguments, "shared memory: %s", strerror(errno));
        status = CLI_FAILED;
    }
    if (replay->report_dir >= 0)
        close(replay->report_dir);
    replay_control_close(replay->control);
    free(replay->plugins);
    return status;
}

/* ---- The replay's own store -------------------------------------------------------------- */

/* The only ones to know the folder were we and our plugins: all that is in it goes. */
static void remove_folder(const char *folder)
{
    DIR *listing = opendir(folder);
    struct dirent *name;

    while (listing && (name = readdir(listing)))
        if (strcmp(name->d_name, ".") != 0 && strcmp(name->d_name, "..") != 0)
            unlinkat(dirfd(listing), name->d_name, 0);
    if (listing)
        closedir(listing);
    rmdir(folder);
}

/* Its checkpoint lies in @p folder, which is made; NULL: complained. */
static char *own_store(const struct arguments *arguments, char folder[PATH_MAX])
{
    const char *place = getenv("TMPDIR");
    char plain[64], path[PATH_MAX + 16];
    char *uri;

    snprintf(folder, PATH_MAX, "%s/tickstate-replay-XXXXXX",
             place && *place == '/' ? place : "/tmp");
    if (!mkdtemp(folder)) {
        complain(arguments, "%s: %s", folder, strerror(errno));
        return NULL;
    }
    snprintf(plain, sizeof(plain), "shm://tickstate-replay-%ld?size=" OWN_STORE_SIZE,
             (long)getpid());
    snprintf(path, sizeof(path), "%s/checkpoint", folder);
    uri = uri_with(plain, "checkpoint", path);
    if (uri)
        return uri;
    rmdir(folder);
    complain_memory(arguments);
    return NULL;
}

static int replay_on_own_store(struct replay *replay)
{
    char folder[PATH_MAX], shown[64];
    char *uri = own_store(replay->arguments, folder);
    int status;

    if (!uri)
        return CLI_FAILED;
    snprintf(shown, sizeof(shown), "%.*s", (int)strcspn(uri, "?"), uri);
    replay->store_uri = uri;
    replay->store_shown = shown;
    replay->kept = replay->arguments->keep ? shown : NULL;
    status = replay_with(replay);
    remove_folder(folder);
    free(uri);
    return status;
}

int command_replay(const struct arguments *arguments)
{
    struct replay replay = {.arguments = arguments,
                            .store_uri = arguments->store_uri,
                            .store_shown = arguments->store_shown,
                            .report_dir = -1};

    if (uri_has_scheme(arguments->store_uri, "memory")) {
        complain(arguments, "%s: private to one process: the plugins cannot share it",
                 arguments->store_shown);
        return CLI_USAGE;
    }
    return arguments->store_named ? replay_with(&replay) : replay_on_own_store(&replay);
}

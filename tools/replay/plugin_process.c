/* SPDX-License-Identifier: MIT */
/*
 * One plugin as a process of its own. It may be killed at any instruction and started again: what
 * it knows of its past is in its state (see replay.h, "Exactly once").
 */
#include "replay/control.h"
#include "replay/replay.h"
#include "replay/scalper.h"

#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Sleeping for less costs more than it is long. */
#define SHORTEST_SLEEP_NS 60000

struct plugin {
    struct replay_control *control;
    struct replay_slot *slot;
    struct scalper_rule rule;
    tks_store *store;
    tks_state *state;
    tks_key book, cooldown, ban, position, last_trade;
    uint64_t kill_latest;
};

static int fail(struct plugin *plugin, const char *what, const char *why)
{
    snprintf(plugin->slot->error, sizeof(plugin->slot->error), "%s: %s", what, why);
    return CLI_FAILED;
}

static int fail_status(struct plugin *plugin, const char *what, int status)
{
    const char *why = tks_last_error();

    return fail(plugin, what, *why ? why : tks_strerror(status));
}

static int prepare(struct plugin *plugin)
{
    const struct {
        const char *name;
        tks_key *key;
    } keys[] = {
        {REPLAY_KEY_BOOK, &plugin->book},
        {REPLAY_KEY_COOLDOWN, &plugin->cooldown},
        {REPLAY_KEY_BAN, &plugin->ban},
        {REPLAY_KEY_POSITION, &plugin->position},
        {REPLAY_KEY_LAST_TRADE, &plugin->last_trade},
    };
    int status = TKS_OK;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && status == TKS_OK; i++)
        status = tks_key_prepare(plugin->state, keys[i].name, keys[i].key);
    return status;
}

static int open_state(struct plugin *plugin, int index)
{
    struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_EXISTING};
    char name[REPLAY_NAME_MAX];
    int status;

    replay_plugin_name(index, name);
    status = tks_store_open(plugin->control->store_uri, &options, &plugin->store);
    if (status != TKS_OK)
        return fail_status(plugin, "the store", status);
    status = tks_state_open(plugin->store, name, &plugin->state);
    if (status == TKS_OK)
        status = prepare(plugin);
    return status == TKS_OK ? CLI_OK : fail_status(plugin, name, status);
}

/* ---- One tick ---------------------------------------------------------------------------- */

static int read_book(struct plugin *plugin, struct scalper_book *book)
{
    size_t len;
    int status = tks_get_k(plugin->state, &plugin->book, book, sizeof(*book), &len);

    if (status == TKS_NOT_FOUND) {
        *book = (struct scalper_book){0}; /* the first tick of its life */
        return TKS_OK;
    }
    return status == TKS_OK && len != sizeof(*book) ? TKS_TYPE : status;
}

/*
 * Is a cooldown or ban in force for the tick after @p ticks_done? One that this very tick set,
 * before the process was killed, does not count: its tick was not finished and comes again.
 */
static int read_guard(struct plugin *plugin, tks_key *key, uint64_t ticks_done, bool *in_force)
{
    uint64_t set_by = 0;
    size_t len;
    int status = tks_get_k(plugin->state, key, &set_by, sizeof(set_by), &len);

    *in_force = status == TKS_OK && set_by <= ticks_done;
    return status == TKS_NOT_FOUND ? TKS_OK : status;
}

static int write_guards(struct plugin *plugin, const struct scalper_book *book,
                        struct scalper_action action)
{
    int status = TKS_OK;

    if (action.traded)
        status = tks_set_with_ttl_k(plugin->state, &plugin->cooldown, &book->ticks,
                                    sizeof(book->ticks), plugin->rule.cooldown_ms);
    if (action.banned && status == TKS_OK)
        status = tks_set_with_ttl_k(plugin->state, &plugin->ban, &book->ticks, sizeof(book->ticks),
                                    plugin->rule.ban_ms);
    if (action.traded && status == TKS_OK)
        status = tks_set_i64_k(plugin->state, &plugin->position, book->position);
    if (action.traded && status == TKS_OK)
        status = tks_set_i64_k(plugin->state, &plugin->last_trade, book->last_trade_ms);
    return status;
}

/* The worst place to be killed in: a tick that is open, with everything but the book written. */
static void wait_for_the_kill(void)
{
    for (;;)
        pause();
}

static int decide_in_tick(struct plugin *plugin, const struct tick *tick, struct scalper_book *book)
{
    struct scalper_guards guards = {false, false};
    struct scalper_action action;
    int status = read_book(plugin, book);

    if (status == TKS_OK)
        status = read_guard(plugin, &plugin->cooldown, book->ticks, &guards.cooling);
    if (status == TKS_OK)
        status = read_guard(plugin, &plugin->ban, book->ticks, &guards.banned);
    if (status != TKS_OK)
        return status;
    action = scalper_decide(&plugin->rule, tick, guards, book);
    if (action.traded)
        status = write_guards(plugin, book, action);
    if (plugin->kill_latest != 0 && book->ticks >= plugin->kill_latest)
        wait_for_the_kill();
    if (status != TKS_OK)
        return status;
    return tks_set_k(plugin->state, &plugin->book, book, sizeof(*book));
}

static int run_tick(struct plugin *plugin, const struct tick *tick, uint64_t number)
{
    struct scalper_book book;
    int64_t begin = replay_clock_ns();
    int status = tks_tick_begin_at(plugin->state, tick->recv_ns / 1000000);

    if (status == TKS_OK)
        status = decide_in_tick(plugin, tick, &book);
    if (status == TKS_OK)
        status = tks_tick_end(plugin->state);
    if (status != TKS_OK)
        return fail_status(plugin, "tick", status);
    histogram_add(&plugin->slot->latency, (uint64_t)(replay_clock_ns() - begin));
    if (book.ticks != number)
        return fail(plugin, "state", "it was written by somebody else: another replay?");
    return CLI_OK;
}

/* ---- The stream -------------------------------------------------------------------------- */

static void wait_for(const struct replay_control *control, const struct tick *tick)
{
    int64_t due = control->start_ns + (tick->recv_ns - control->first_recv_ns);
    struct timespec at = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};

    if (due - replay_clock_ns() < SHORTEST_SLEEP_NS)
        return;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static int ticks_done(struct plugin *plugin, uint64_t *done)
{
    struct scalper_book book;
    int status = read_book(plugin, &book);

    if (status != TKS_OK)
        return fail_status(plugin, REPLAY_KEY_BOOK, status);
    *done = book.ticks;
    return CLI_OK;
}

static int run_stream(struct plugin *plugin, struct tick_source *source, uint64_t done)
{
    struct replay_control *control = plugin->control;
    uint64_t kill_at = plugin->slot == &control->slots[0] ? atomic_load(&control->kill_at) : 0;
    char error[TICK_ERROR_MAX];
    uint64_t number = 0;
    struct tick tick;
    int got, status;

    plugin->kill_latest = kill_at ? atomic_load(&control->kill_latest) : 0;
    while ((got = tick_source_next(source, &tick, error)) > 0) {
        if (++number <= done)
            continue;
        if (control->real_speed)
            wait_for(control, &tick);
        status = run_tick(plugin, &tick, number);
        if (status != CLI_OK)
            return status;
        atomic_store_explicit(&plugin->slot->ticks, number, memory_order_relaxed);
        if (number == kill_at && (int)getppid() == control->parent)
            kill(control->parent, SIGUSR1); /* and go on: the kill comes when it comes */
    }
    return got < 0 ? fail(plugin, "ticks", error) : CLI_OK;
}

static int run_plugin(struct plugin *plugin)
{
    char error[TICK_ERROR_MAX];
    struct tick_source *source;
    uint64_t done;
    int status = ticks_done(plugin, &done);

    if (status != CLI_OK)
        return status;
    atomic_store(&plugin->slot->resumed_at, done);
    atomic_store(&plugin->slot->ticks, done);
    source = tick_source_open(&plugin->control->ticks, error);
    if (!source)
        return fail(plugin, "ticks", error);
    if (atomic_load(&plugin->slot->begun_ns) == 0)
        atomic_store(&plugin->slot->begun_ns, replay_clock_ns());
    status = run_stream(plugin, source, done);
    atomic_store(&plugin->slot->ended_ns, replay_clock_ns());
    tick_source_close(source);
    return status;
}

/* The parent ends its plugins, also when it dies itself; Ctrl-C reaches all and is its affair. */
static void follow_the_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1UL);
    signal(SIGINT, SIG_IGN);
}

int replay_plugin_main(const char *argument)
{
    struct plugin plugin = {.control = NULL};
    int fd, index, status;

    if (sscanf(argument, "%d:%d", &fd, &index) != 2)
        return CLI_USAGE;
    follow_the_parent();
    plugin.control = replay_control_attach(fd);
    if (!plugin.control || index < 0 || index >= plugin.control->plugins) {
        fprintf(stderr, "tickstate: %s: not for users\n", REPLAY_PLUGIN_COMMAND);
        return CLI_USAGE;
    }
    if ((int)getppid() != plugin.control->parent)
        return CLI_FAILED; /* it died before its death could be asked for */
    plugin.slot = &plugin.control->slots[index];
    plugin.rule = scalper_rule(index, plugin.control->instruments);
    status = open_state(&plugin, index);
    if (status == CLI_OK)
        status = run_plugin(&plugin);
    tks_state_close(plugin.state);
    tks_store_close(plugin.store);
    replay_control_close(plugin.control);
    return status;
}

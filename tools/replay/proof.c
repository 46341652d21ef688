/* SPDX-License-Identifier: MIT */
/*
 * Is the final state of every plugin the one that the stream leads to? The same rule runs over the
 * same stream once more in plain memory, without store, kill or restart: every counter, the
 * position, the cash and the digest of all ticks must come out the same, bit for bit.
 */
#include "replay/run.h"

#include <stdlib.h>
#include <string.h>

/* How many ticks pass between two looks for a signal. */
#define LOOK_EVERY 65536

struct oracle {
    struct scalper_rule rule;
    int64_t cooldown_until_ms, ban_until_ms;
};

int replay_fail_status(const struct replay *replay, int status, const char *thing)
{
    complain_status(replay->arguments, status, thing);
    return CLI_FAILED;
}

int replay_read_book(struct replay_plugin *plugin, struct scalper_book *book)
{
    size_t len;
    int status = tks_get(plugin->state, REPLAY_KEY_BOOK, book, sizeof(*book), &len);

    if (status == TKS_NOT_FOUND)
        *book = (struct scalper_book){0};
    else if (status == TKS_OK && len != sizeof(*book))
        status = TKS_TYPE;
    return status == TKS_NOT_FOUND ? TKS_OK : status;
}

static void oracle_tick(struct oracle *oracle, const struct tick *tick, struct scalper_book *book)
{
    int64_t now_ms = tick->recv_ns / 1000000;
    struct scalper_guards guards = {
        .cooling = now_ms < oracle->cooldown_until_ms,
        .banned = now_ms < oracle->ban_until_ms,
    };
    struct scalper_action action = scalper_decide(&oracle->rule, tick, guards, book);

    if (action.traded)
        oracle->cooldown_until_ms = now_ms + oracle->rule.cooldown_ms;
    if (action.banned)
        oracle->ban_until_ms = now_ms + oracle->rule.ban_ms;
}

static int run_oracles(struct replay *replay, struct oracle *oracles)
{
    char error[TICK_ERROR_MAX];
    struct tick_source *source = tick_source_open(&replay->control->ticks, error);
    struct tick tick;
    uint64_t ticks = 0;
    int got = -1;

    for (int i = 0; i < replay->control->plugins; i++) {
        oracles[i] = (struct oracle){.rule = scalper_rule(i, replay->control->instruments)};
        replay->plugins[i].expected = (struct scalper_book){0};
    }
    while (source && (got = tick_source_next(source, &tick, error)) > 0) {
        for (int i = 0; i < replay->control->plugins; i++)
            oracle_tick(&oracles[i], &tick, &replay->plugins[i].expected);
        if (ticks++ % LOOK_EVERY == 0 && replay_interrupted(replay))
            break;
    }
    tick_source_close(source);
    if (got > 0)
        return CLI_FAILED; /* interrupted, and said so */
    if (got < 0)
        complain(replay->arguments, "%s", error);
    return got < 0 ? CLI_FAILED : CLI_OK;
}

static int read_results(struct replay *replay)
{
    int status = TKS_OK;

    for (int i = 0; i < replay->control->plugins && status == TKS_OK; i++) {
        status = replay_read_book(&replay->plugins[i], &replay->plugins[i].book);
        if (status != TKS_OK)
            return replay_fail_status(replay, status, replay->plugins[i].name);
    }
    replay->audit.size = sizeof(replay->audit);
    replay->stats.size = sizeof(replay->stats);
    status = tks_store_check(replay->store, &replay->audit);
    if (status == TKS_OK)
        status = tks_store_stats(replay->store, &replay->stats);
    return status == TKS_OK ? CLI_OK : replay_fail_status(replay, status, replay->store_shown);
}

static void judge(struct replay *replay)
{
    struct replay_kill *kill = &replay->kill;

    replay->right = replay->audit.leaked_blocks == 0;
    for (int i = 0; i < replay->control->plugins; i++) {
        struct replay_plugin *plugin = &replay->plugins[i];

        plugin->right = plugin->book.ticks == replay->ticks &&
                        memcmp(&plugin->book, &plugin->expected, sizeof(plugin->book)) == 0;
        replay->right = replay->right && plugin->right;
    }
    if (kill->at == 0)
        return;
    kill->right = kill->done && kill->kept.ticks >= kill->at && kill->kept.ticks < replay->ticks &&
                  kill->resumed_at == kill->kept.ticks;
    replay->right = replay->right && kill->right;
}

int replay_prove(struct replay *replay)
{
    struct oracle *oracles = calloc((size_t)replay->control->plugins, sizeof(*oracles));
    int status;

    if (!oracles)
        return complain_memory(replay->arguments);
    status = read_results(replay);
    if (status == CLI_OK)
        status = run_oracles(replay, oracles);
    free(oracles);
    if (status == CLI_OK)
        judge(replay);
    return status;
}

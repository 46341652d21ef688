/* SPDX-License-Identifier: MIT */
/*
 * The memory that the parent and its plugin processes share besides the store: what to do, and what
 * was measured. No plugin reads anything of its own past from it.
 */
#ifndef TICKSTATE_REPLAY_CONTROL_H
#define TICKSTATE_REPLAY_CONTROL_H

#include "replay/histogram.h"
#include "replay/tick.h"

#include <stdatomic.h>

#define REPLAY_ERROR_MAX 6000
#define REPLAY_URI_MAX 4096
#define REPLAY_NAME_MAX 32

/** One plugin's part; written by the plugin, read by the parent. */
struct replay_slot {
    _Alignas(128) _Atomic uint64_t ticks; /* for the progress line and the kill */
    _Atomic uint64_t resumed_at;          /* ticks in the state when this process began */
    _Atomic int64_t begun_ns, ended_ns;   /* CLOCK_MONOTONIC; 0: not yet */
    struct histogram latency;             /* of all processes that were this plugin */
    char error[REPLAY_ERROR_MAX];         /* why it exited with a failure */
};

struct replay_control {
    uint64_t bytes; /* sizeof all of it: the child checks what it mapped */
    char store_uri[REPLAY_URI_MAX];
    struct tick_spec ticks;
    uint64_t instruments; /* in the stream */
    bool real_speed;
    int64_t start_ns; /* real speed: CLOCK_MONOTONIC of the first tick */
    int64_t first_recv_ns;
    /* Plugin 1 asks to be killed after the first, and waits for it inside the second; 0: never. */
    _Atomic uint64_t kill_at, kill_latest;
    int parent; /* its process: a plugin whose parent is another one has lost it */
    int plugins;
    struct replay_slot slots[];
};

/** Create; *fd is to be inherited by plugins. NULL: errno. */
struct replay_control *replay_control_create(int plugins, int *fd);
/** Map what the parent created. NULL: errno. */
struct replay_control *replay_control_attach(int fd);
void replay_control_close(struct replay_control *control);

/** The plugin's name in the store. */
void replay_plugin_name(int index, char name[REPLAY_NAME_MAX]);

/** The plugin's keys. */
#define REPLAY_KEY_BOOK "book"         /* struct scalper_book, written last in every tick */
#define REPLAY_KEY_COOLDOWN "cooldown" /* with a TTL; value: number of the tick that set it */
#define REPLAY_KEY_BAN "ban"           /* the same */
#define REPLAY_KEY_POSITION "position" /* i64 and i64, of the last trade: for people to read */
#define REPLAY_KEY_LAST_TRADE "last_trade_ms"

int64_t replay_clock_ns(void);

#endif

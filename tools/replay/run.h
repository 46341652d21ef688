/* SPDX-License-Identifier: MIT */
/* One replay, from its stream to its result: what supervisor, proof and report hand on. */
#ifndef TICKSTATE_REPLAY_RUN_H
#define TICKSTATE_REPLAY_RUN_H

#include "cli.h"
#include "replay/control.h"
#include "replay/scalper.h"

#include <signal.h>
#include <sys/types.h>

/** What is known of one plugin besides its slot. */
struct replay_plugin {
    char name[REPLAY_NAME_MAX];
    char instrument[INSTRUMENT_NAME_MAX];
    pid_t pid; /* 0: not running */
    tks_state *state;
    int64_t preempted;            /* involuntary context switches of all its processes */
    struct scalper_book book;     /* its final state in the store */
    struct scalper_book expected; /* the same rule on the same stream, in plain memory */
    bool right;                   /* the two are the same */
};

/** The kill of plugin 1. */
struct replay_kill {
    uint64_t at;     /* ticks after which it was asked for; 0: none */
    uint64_t latest; /* the last tick it could come in */
    bool done;
    struct scalper_book kept; /* what the parent read from the store after the kill */
    uint64_t resumed_at;      /* ticks in the state when the new process began */
    bool right;
};

/** The removal of the segment and its return from the checkpoint file. */
struct replay_reboot {
    bool asked;  /* the store's URI names a file */
    bool in_use; /* by others: it was left alone */
    bool done;
    uint64_t cuts, file_bytes;          /* when the segment was removed */
    uint64_t checkpoint_ns, restore_ns; /* the last barrier; opening again */
    bool restored;                      /* from a file without damage */
    uint64_t leaked_blocks;
    uint64_t before, after; /* records */
    uint64_t lost, changed, added;
    uint64_t expired; /* between the two looks: not lost */
    bool right;
};

struct replay {
    const struct arguments *arguments;
    const char *store_uri, *store_shown; /* to open; to print */
    const char *kept;                    /* the replay's own store, if it stays; or NULL */
    struct replay_control *control;
    int control_fd;
    tks_store *store;
    uint64_t ticks; /* in the stream */
    int64_t span_ns;
    struct replay_plugin *plugins; /* control->plugins of them */
    struct replay_kill kill;
    struct replay_reboot reboot;
    int64_t elapsed_ns;
    uint64_t timer_ns; /* what reading the clock twice adds to every latency */
    int cpus;
    struct tks_check audit;
    struct tks_stats stats;
    bool right;     /* everything that was to be proven */
    int report_dir; /* -1: none */
    /* From the store's opening to its removal these are blocked and fetched one at a time. */
    sigset_t signals, signals_before;
};

/** The status of a failure after a one-line complaint. */
int replay_fail_status(const struct replay *replay, int status, const char *thing);

/** command_replay.c: close the plugins' states and the store. */
void replay_close_store(struct replay *replay);

/** supervisor.c: start the plugins, kill and restart plugin 1, wait for all. */
int replay_supervise(struct replay *replay);
void replay_block_signals(struct replay *replay);
void replay_unblock_signals(const struct replay *replay);
/** Has one of the signals that end a run come? Complains then. */
bool replay_interrupted(const struct replay *replay);

/** proof.c: read the final states and compare them with the stream. */
int replay_prove(struct replay *replay);
/** Read a plugin's book; TKS_NOT_FOUND is a book of zeroes. */
int replay_read_book(struct replay_plugin *plugin, struct scalper_book *book);

/** reboot.c: when the store has a checkpoint, lose the segment and compare what comes back. */
int replay_reboot(struct replay *replay);

/** report.c */
int replay_print(const struct replay *replay);
/** Records that came back from the checkpoint as they were. */
uint64_t replay_came_back(const struct replay_reboot *reboot);
/** The whole result; NULL without memory. */
json_t *replay_json(const struct replay *replay);
/** The tables of the report, as text. */
void replay_write_tables(const struct replay *replay, FILE *file);

/** The percentiles that every report shows, and how they are called. */
struct replay_percentile {
    const char *name;
    double share;
};
#define REPLAY_PERCENTILES 5
extern const struct replay_percentile replay_percentiles[REPLAY_PERCENTILES];

/** report_files.c: open the folder of --report before the run, write its files after it. */
int replay_open_report(struct replay *replay);
int replay_write_files(const struct replay *replay);

#endif

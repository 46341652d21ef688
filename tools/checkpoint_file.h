/* SPDX-License-Identifier: MIT */
/*
 * Checkpoint files without a store: what the public API cannot do. The one place of the tool that
 * knows the library's inside (src/checkpoint), which is why the tool links the static library.
 */
#ifndef TICKSTATE_CLI_CHECKPOINT_FILE_H
#define TICKSTATE_CLI_CHECKPOINT_FILE_H

#include "cli.h"

#include "checkpoint/checkpoint.h"

/** A file that was read and verified. */
struct checkpoint_file {
    struct tks_loaded *loaded;
    const struct tks_checkpoint_info *info;
    int64_t now_ms;   /* the wall clock by which entries have expired */
    uint64_t expired; /* of info->entries */
    uint64_t plugins; /* that have an entry which has not */
};

/**
 * Read and verify. @p open is the file, already open, that @p name stands for in sentences; NULL:
 * open it. The library's status, with a sentence that names the file.
 */
int checkpoint_file_load(const char *name, FILE *open, struct checkpoint_file *file);

/** Entries that have not expired, of plugins that match @p glob (NULL: all). visit as in the API.
 */
int checkpoint_file_each(const struct checkpoint_file *file, const char *glob,
                         int (*visit)(void *arg, const struct tks_record *record), void *arg);

/** The same with those that have expired. */
int checkpoint_file_each_of_all(const struct checkpoint_file *file,
                                int (*visit)(void *arg, const struct tks_record *record),
                                void *arg);

void checkpoint_file_release(struct checkpoint_file *file);

/** complain() about a damaged file that was read all the same; nothing when it is intact. */
void checkpoint_file_warn(const struct arguments *arguments, const struct checkpoint_file *file);

/** Whether a file begins as a checkpoint does. It stands at its start afterwards. */
bool checkpoint_file_recognised(FILE *file);

/** checkpoint_summary.c: `check --checkpoint`. */
int check_checkpoint_file(const struct arguments *arguments);

/* ---- Writing ----------------------------------------------------------------------------- */

struct checkpoint_sink;

/**
 * Begin a file of one full image. Nothing is at @p path before checkpoint_sink_commit(). Without
 * @p force a path that is there is refused (TKS_BUSY), and with it one that a living process
 * writes checkpoints to.
 */
int checkpoint_sink_open(const char *path, bool force, struct checkpoint_sink **sink);
int checkpoint_sink_add(struct checkpoint_sink *sink, const struct tks_record *record);
/** Make it durable and give it its name. @p highest_version: none given out is higher. */
int checkpoint_sink_commit(struct checkpoint_sink *sink, uint64_t highest_version, int64_t wall_ms);
uint64_t checkpoint_sink_bytes(const struct checkpoint_sink *sink);
/** What was not committed is removed. NULL is allowed. */
void checkpoint_sink_close(struct checkpoint_sink *sink);

/** No version that the store has given out is higher. */
uint64_t store_highest_version(tks_store *store);

#endif

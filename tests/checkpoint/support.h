/* SPDX-License-Identifier: MIT */
/*
 * What the checkpoint tests share: a small world of plugins and keys (the oracle), its history of
 * cuts, and the comparison of what a file loads with it.
 *
 * An entry is its version: type, value and expiry follow from the number. So a state is an array of
 * versions, and a cut is known by its stamp.
 */
#ifndef TKS_TESTS_SUPPORT_H
#define TKS_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checkpoint/checkpoint.h"

#define WORLD_PLUGINS 4
#define WORLD_KEYS 48 /* of each plugin */
#define WORLD_ENTRIES (WORLD_PLUGINS * WORLD_KEYS)
#define WORLD_VALUE_MAX (1 << 20)
#define WORLD_PATH "folder/state.checkpoint"

#if defined(__SANITIZE_ADDRESS__)
#define SUPPORT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SUPPORT_SANITIZED 1
#endif
#endif

uint64_t random_next(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t limit);

/** The seed from the environment (TKS_TEST_SEED) or a new one; printed once. */
uint64_t test_seed(void);

struct state {
    uint64_t version[WORLD_ENTRIES]; /* 0: absent */
};

struct world {
    struct state now;
    bool dirty[WORLD_ENTRIES];
    uint64_t next_version, next_stamp;
    uint64_t random;
    size_t value_max;      /* longest value of bytes */
    struct state *history; /* of cuts, by stamp - 1 */
    size_t cuts;
};

void world_init(struct world *world, uint64_t seed);
void world_free(struct world *world);

/** Change @p changes random entries: set or delete. */
void world_change(struct world *world, unsigned changes);

/** The record of entry @p index at @p version; @p value has room for its value. */
void world_record(const struct world *world, unsigned index, uint64_t version, unsigned char *value,
                  struct tks_record *record);

uint64_t world_hash(unsigned index);

/** Remember the state as the cut that is written next; returns its info. */
struct tks_cut_info world_cut(struct world *world);

/**
 * Write the last cut's state as a full image, or what is dirty as an increment: each mark is taken
 * off just before its range is written. Up to, not with, the commit.
 */
int world_write(struct world *world, struct tks_writer *writer, bool full, bool *dirty);

/** cut, write, commit. Dirty marks are back when it fails. */
int world_checkpoint(struct world *world, struct tks_writer *writer, bool full);

/** That what was loaded is exactly the state of the cut that it says it is. Returns its stamp. */
uint64_t world_check(const struct world *world, const struct tks_loaded *loaded);

/** Load and world_check(); 0: no file. Fails the test on any other status. */
uint64_t world_load(const struct world *world, const struct tks_file_ops *ops, const char *path,
                    struct tks_checkpoint_info *info);

bool always_host(void *arg);

extern const struct tks_checkpoint_identity test_identity;

#endif

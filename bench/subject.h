/* SPDX-License-Identifier: MIT */
/*
 * Throughput of one operation, several subjects side by side.
 *
 * A round takes every subject in turn, several times over; each turn warms up and then times a few
 * blocks of operations. A block in which the scheduler took the CPU is dropped and repeated. A
 * subject's figure in a round is the median of its blocks, its ratio the quotient of two such
 * figures of the same round; the table shows the medians over the rounds.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include "common.h"
#include "peer.h"

#define ROUNDS_MAX 64
#define SUBJECTS_MAX 16

/* What the caller holds of a key when the operation begins. */
struct pick {
    const char *key;
    void *prepared; /* NULL where nothing is prepared */
};

struct subject;
typedef void block_fn(struct subject *subject, const struct pick *picks, unsigned n);

struct subject {
    const struct peer *peer;
    void *handle;
    const char *label;
    const char *target; /* id in targets.h, or NULL */
    block_fn *block;
    char *prepared; /* keys prepared ones, or NULL */
    double rounds[ROUNDS_MAX];
    struct block_count count;
};

/* How keys reach the operation. */
enum pick_mode {
    PICK_IN_PLACE, /* at random out of all keys the caller holds: its copy may be cold, too */
    PICK_AT_HAND,  /* copied to a small buffer first: only the store's own memory is cold */
};

struct work {
    const char *name;
    const char *keys;
    uint64_t key_count;
    enum pick_mode mode;
    unsigned ops;  /* per block */
    unsigned reps; /* turns of every subject in a round */
};

/* The loops; the operations of get run inside a tick unless the name says otherwise. */
block_fn block_get;
block_fn block_get_no_tick;
block_fn block_get_counted; /* the flat table, to which a tick is nothing */
block_fn block_get_prepared;
block_fn block_set;
block_fn block_set_in_tick;
block_fn block_set_prepared;
block_fn block_set_prepared_in_tick;

/** Prepare every key of the work for this subject (a peer with prepared keys). */
void subject_prepare(struct subject *subject, const struct work *work);

/** Measure all rounds of all subjects; the first subject is the one the ratios are about. */
void subjects_measure(struct subject *subjects, size_t n, const struct work *work);

/** Median over the rounds of the subject's ns per operation. */
double subject_ns(const struct subject *subject);
/** Median over the rounds of the ratio to another subject. */
double subject_ratio(const struct subject *subject, const struct subject *other);

/** One row per subject: ns, ratio to the first, blocks kept and dropped. */
extern const char *const subject_metrics[];
void subjects_report(const struct subject *subjects, size_t n, const struct work *work);

#endif

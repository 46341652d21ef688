/* SPDX-License-Identifier: MIT */
#include "subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "targets.h"

#define OPS_MAX 4096
#define BLOCKS_PER_TURN 8
/* Several times the keys of the middle size: nobody may profit from who ran before. */
#define WARM_OPS 50000
/* A machine that never leaves a block alone must not hang the bench. */
#define DROPPED_MAX 1000

const char *const subject_metrics[] = {METRIC_NS, METRIC_RATIO, "kept", "dropped", NULL};

static unsigned char new_value[VALUE_LEN];

static void require(const struct subject *subject, int bad)
{
    if (bad != 0) {
        die("%s: an operation failed (%d)", subject->label, bad);
    }
}

typedef int get_fn(void *handle, const char *key, void *buf, size_t cap, size_t *len);

/* The pointers sit in locals: a memory clobber would have them loaded again for every operation. */
static void get_all(struct subject *subject, get_fn *get, const struct pick *picks, unsigned n)
{
    void *handle = subject->handle;
    unsigned char buf[VALUE_CAP] __attribute__((aligned(64)));
    size_t len;
    int bad = 0;

    for (unsigned i = 0; i < n; i++) {
        bad |= get(handle, picks[i].key, buf, sizeof(buf), &len);
        USE_VALUE(buf);
    }
    require(subject, bad);
}

void block_get_no_tick(struct subject *subject, const struct pick *picks, unsigned n)
{
    get_all(subject, subject->peer->get, picks, n);
}

void block_get_counted(struct subject *subject, const struct pick *picks, unsigned n)
{
    get_all(subject, subject->peer->get_counted, picks, n);
}

void block_get(struct subject *subject, const struct pick *picks, unsigned n)
{
    require(subject, subject->peer->tick_begin(subject->handle));
    get_all(subject, subject->peer->get, picks, n);
    require(subject, subject->peer->tick_end(subject->handle));
}

void block_get_prepared(struct subject *subject, const struct pick *picks, unsigned n)
{
    int (*get)(void *, void *, void *, size_t, size_t *) = subject->peer->get_prepared;
    void *handle = subject->handle;
    unsigned char buf[VALUE_CAP] __attribute__((aligned(64)));
    size_t len;
    int bad = 0;

    require(subject, subject->peer->tick_begin(handle));
    for (unsigned i = 0; i < n; i++) {
        bad |= get(handle, picks[i].prepared, buf, sizeof(buf), &len);
        USE_VALUE(buf);
    }
    require(subject, bad | subject->peer->tick_end(handle));
}

void block_set(struct subject *subject, const struct pick *picks, unsigned n)
{
    int (*set)(void *, const char *, const void *, size_t) = subject->peer->set;
    void *handle = subject->handle;
    int bad = 0;

    for (unsigned i = 0; i < n; i++) {
        bad |= set(handle, picks[i].key, new_value, sizeof(new_value));
        USE_VALUE(new_value);
    }
    require(subject, bad);
}

void block_set_in_tick(struct subject *subject, const struct pick *picks, unsigned n)
{
    require(subject, subject->peer->tick_begin(subject->handle));
    block_set(subject, picks, n);
    require(subject, subject->peer->tick_end(subject->handle));
}

void block_set_prepared(struct subject *subject, const struct pick *picks, unsigned n)
{
    int (*set)(void *, void *, const void *, size_t) = subject->peer->set_prepared;
    void *handle = subject->handle;
    int bad = 0;

    for (unsigned i = 0; i < n; i++) {
        bad |= set(handle, picks[i].prepared, new_value, sizeof(new_value));
        USE_VALUE(new_value);
    }
    require(subject, bad);
}

void block_set_prepared_in_tick(struct subject *subject, const struct pick *picks, unsigned n)
{
    require(subject, subject->peer->tick_begin(subject->handle));
    block_set_prepared(subject, picks, n);
    require(subject, subject->peer->tick_end(subject->handle));
}

void subject_prepare(struct subject *subject, const struct work *work)
{
    size_t size = subject->peer->prepared_size;

    subject->prepared = allocate(size * work->key_count);
    for (uint64_t i = 0; i < work->key_count; i++) {
        require(subject, subject->peer->prepare(subject->handle, work->keys + i * KEY_STRIDE,
                                                subject->prepared + i * size));
    }
}

/* ---- Picks ------------------------------------------------------------------------------- */

static struct pick picks[OPS_MAX];
static char keys_at_hand[OPS_MAX * KEY_STRIDE];
static char *prepared_at_hand;

static void pick_at_hand(const struct subject *subject, unsigned i)
{
    char *key = keys_at_hand + (size_t)i * KEY_STRIDE;

    memcpy(key, picks[i].key, KEY_STRIDE);
    picks[i].key = key;
    if (subject->prepared != NULL) {
        size_t size = subject->peer->prepared_size;
        picks[i].prepared = memcpy(prepared_at_hand + (size_t)i * size, picks[i].prepared, size);
    }
}

static void pick_keys(const struct subject *subject, const struct work *work, unsigned n)
{
    static struct random_state random = {1};

    for (unsigned i = 0; i < n; i++) {
        uint64_t index = random_below(&random, work->key_count);
        picks[i].key = work->keys + index * KEY_STRIDE;
        picks[i].prepared = NULL;
        if (subject->prepared != NULL) {
            picks[i].prepared = subject->prepared + index * subject->peer->prepared_size;
        }
        if (work->mode == PICK_AT_HAND) {
            pick_at_hand(subject, i);
        }
    }
}

/* ---- Measuring --------------------------------------------------------------------------- */

static unsigned ops_of(const struct subject *subject, const struct work *work)
{
    return subject->peer->traits & PEER_SLOW ? work->ops / 8 : work->ops;
}

/* What the other subjects threw out of the caches comes back, as far as it fits. */
static void warm_up(struct subject *subject, const struct work *work)
{
    unsigned ops = ops_of(subject, work);
    uint64_t total = subject->peer->traits & PEER_SLOW ? WARM_OPS / 8 : WARM_OPS;

    for (uint64_t done = 0; done < total; done += ops) {
        pick_keys(subject, work, ops);
        subject->block(subject, picks, ops);
    }
}

static double time_block(struct subject *subject, const struct work *work)
{
    unsigned ops = ops_of(subject, work);
    struct block_guard guard;
    uint64_t began;
    uint64_t ended;

    do {
        pick_keys(subject, work, ops);
        block_begin(&guard);
        began = timer_now();
        subject->block(subject, picks, ops);
        ended = timer_now();
    } while (!block_end(&guard, &subject->count) && subject->count.dropped < DROPPED_MAX);
    return timer_ns(ended - began) / ops;
}

/* The last round of prepared keys met at hand has left every memo in the copies: look each up once
 * in place, so that what is copied later remembers its entry. */
static void settle(struct subject *subject, const struct work *work)
{
    size_t size = subject->peer->prepared_size;

    for (uint64_t i = 0; subject->prepared != NULL && i < work->key_count; i++) {
        struct pick pick = {work->keys + i * KEY_STRIDE, subject->prepared + i * size};
        subject->block(subject, &pick, 1);
    }
}

static void measure_round(struct subject *subjects, size_t n, const struct work *work,
                          unsigned round)
{
    unsigned blocks = work->reps * BLOCKS_PER_TURN;
    double *samples = allocate(sizeof(double) * blocks * n);

    for (unsigned rep = 0; rep < work->reps; rep++) {
        for (size_t i = 0; i < n; i++) {
            double *turn = samples + i * blocks + rep * BLOCKS_PER_TURN;
            warm_up(&subjects[i], work);
            for (unsigned block = 0; block < BLOCKS_PER_TURN; block++) {
                turn[block] = time_block(&subjects[i], work);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        subjects[i].rounds[round] = median(samples + i * blocks, blocks);
    }
    free(samples);
}

static size_t largest_prepared(const struct subject *subjects, size_t n)
{
    size_t largest = 1;

    for (size_t i = 0; i < n; i++) {
        if (subjects[i].peer->prepared_size > largest) {
            largest = subjects[i].peer->prepared_size;
        }
    }
    return largest;
}

void subjects_measure(struct subject *subjects, size_t n, const struct work *work)
{
    if (work->ops > OPS_MAX || options.rounds > ROUNDS_MAX) {
        die("at most %d operations a block and %d rounds", OPS_MAX, ROUNDS_MAX);
    }
    prepared_at_hand = allocate(OPS_MAX * largest_prepared(subjects, n));
    for (size_t i = 0; i < n; i++) {
        subjects[i].count = (struct block_count){0, 0};
        settle(&subjects[i], work);
    }
    for (unsigned round = 0; round < options.rounds; round++) {
        measure_round(subjects, n, work, round);
    }
    free(prepared_at_hand);
}

double subject_ns(const struct subject *subject)
{
    double values[ROUNDS_MAX];

    memcpy(values, subject->rounds, sizeof(values[0]) * options.rounds);
    return median(values, options.rounds);
}

double subject_ratio(const struct subject *subject, const struct subject *other)
{
    double values[ROUNDS_MAX];

    for (unsigned round = 0; round < options.rounds; round++) {
        values[round] = subject->rounds[round] / other->rounds[round];
    }
    return median(values, options.rounds);
}

void subjects_report(const struct subject *subjects, size_t n, const struct work *work)
{
    for (size_t i = 0; i < n; i++) {
        const struct subject *subject = &subjects[i];
        double values[] = {subject_ns(subject), subject_ratio(subject, &subjects[0]),
                           (double)subject->count.kept, (double)subject->count.dropped};
        report_row(work->name, subject->label, values, subject->target);
    }
}

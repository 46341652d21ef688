/* SPDX-License-Identifier: MIT */
#include "store/mirror.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "recovery/recover.h"
#include "store/background.h"
#include "store/backlog.h"
#include "store/cut.h"
#include "store/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_MS_LEAST 100u
#define PAUSE_NS_FIRST 10000000ll
#define PAUSE_NS_MOST 1000000000ll

struct tks_mirror {
    struct tks_segment *segment;
    struct mirror_options options;
    const struct tks_driver *driver;
    pthread_t thread;
    struct tks_lease lease;
    /* From the keeper's thread. */
    pthread_mutex_t lock;
    pthread_cond_t called;
    bool stop;
    int64_t stop_ns;
    /* The feeding thread's. */
    uint64_t feeding; /* generation that what follows is for, 0: none */
    bool claimed;     /* the table is ours */
    struct tks_mirror_holder holder;
    struct tks_database *database;
    struct tks_connection *connection;
    int64_t patience_ns; /* timeout_ms= of the database */
    struct tks_backlog backlog;
    struct tks_tidier tidier;
    int64_t pause_ns;       /* after the last failure, 0: none */
    int64_t next_expiry_ms; /* wall clock; INT64_MIN: not known */
};

static struct header *header_of(const struct tks_mirror *mirror)
{
    return mirror->segment->header;
}

/* ---- URI ----------------------------------------------------------------------------------- */

static int parse(const char *text, struct tks_uri *uri, const struct tks_driver **driver)
{
    int status = tks_uri_split(text, uri);
    if (status)
        return status;
    if (!strcmp(uri->scheme, "shm") || !strcmp(uri->scheme, "memory"))
        return tks_fail(TKS_INVALID, "URI parameter mirror=%s://… is no database", uri->scheme);
    status = tks_driver_find(uri->scheme, driver);
    return status ? status : (*driver)->check_uri(uri);
}

int tks_mirror_check(const char *text)
{
    const struct tks_driver *driver;
    struct tks_uri uri;
    return parse(text, &uri, &driver);
}

/* ---- The database -------------------------------------------------------------------------- */

static void disconnect(struct tks_mirror *mirror)
{
    if (mirror->connection)
        mirror->driver->disconnect(mirror->connection);
    if (mirror->database)
        mirror->driver->close(mirror->database);
    mirror->connection = NULL;
    mirror->database = NULL;
}

static int open_database(struct tks_mirror *mirror)
{
    struct tks_uri uri;
    int status = tks_uri_split(mirror->options.uri, &uri);
    if (!status)
        status = mirror->driver->open(&uri, NULL, &mirror->database);
    if (!status)
        mirror->patience_ns = (int64_t)mirror->driver->timeout_ms(mirror->database) * 1000000;
    return status;
}

static int connect_database(struct tks_mirror *mirror)
{
    int status = TKS_OK;
    if (mirror->connection)
        return TKS_OK;
    if (!mirror->database)
        status = open_database(mirror);
    return status ? status : mirror->driver->connect(mirror->database, &mirror->connection);
}

static void write_identity(const uint64_t identity[2], char text[33])
{
    snprintf(text, 33, "%016llx%016llx", (unsigned long long)identity[0],
             (unsigned long long)identity[1]);
}

static bool told_to_stop(struct tks_mirror *mirror, int64_t *stop_ns)
{
    pthread_mutex_lock(&mirror->lock);
    const bool stop = mirror->stop;
    *stop_ns = mirror->stop_ns;
    pthread_mutex_unlock(&mirror->lock);
    return stop;
}

/* Who we are for the next call, and how long it may take: a store that is closed waits no longer
 * than timeout_ms= from then on. */
static struct tks_mirror_holder *holder_now(struct tks_mirror *mirror)
{
    struct tks_mirror_holder *holder = &mirror->holder;
    int64_t stop_ns;
    holder->generation = (int64_t)mirror->feeding;
    holder->until_ns = mirror->patience_ns +
                       (told_to_stop(mirror, &stop_ns) ? stop_ns : clock_ns(CLOCK_MONOTONIC));
    return holder;
}

static int claim(struct tks_mirror *mirror)
{
    struct header *header = header_of(mirror);
    const bool take = load_ordered(&header->mirror_take) != 0;
    if (mirror->claimed && !take)
        return TKS_OK;
    int status = mirror->driver->mirror_claim(mirror->connection, holder_now(mirror), take);
    if (status)
        return status;
    if (take)
        compare_and_swap(&header->mirror_take, 1, 0);
    if (!mirror->claimed)
        tks_backlog_forget(&mirror->backlog);
    mirror->claimed = true;
    return TKS_OK;
}

/* ---- Feeding ------------------------------------------------------------------------------- */

static void account_for_batch(struct tks_mirror *mirror, const struct tks_mirror_batch *batch)
{
    struct header *header = header_of(mirror);
    fetch_add(&header->mirror_batches, 1);
    fetch_add(&header->mirror_rows, batch->row_count);
    for (size_t i = 0; i < batch->row_count; i++) {
        const int64_t expires_at = batch->rows[i].row.expires_at;
        if (expires_at && expires_at < mirror->next_expiry_ms)
            mirror->next_expiry_ms = expires_at;
    }
    if (mirror->backlog.most_rows < BACKLOG_ROWS_MOST)
        mirror->backlog.most_rows *= 2;
}

static void account_for_cycle(struct tks_mirror *mirror)
{
    struct header *header = header_of(mirror);
    raise_word(&header->mirror_stamp, mirror->backlog.since);
    raise_word(&header->mirror_at_ms, (uint64_t)mirror->backlog.began_ms);
}

/* Whether there is something to carry over; if not, the database is up to date as of now. */
static bool is_due(struct tks_mirror *mirror)
{
    const struct tks_backlog *backlog = &mirror->backlog;
    const int64_t now_ms = tks_segment_now_ms(mirror->segment);
    if (backlog->begun || !backlog->since || tks_changes_any(mirror->segment, backlog->since))
        return true;
    raise_word(&header_of(mirror)->mirror_at_ms, (uint64_t)now_ms);
    return false;
}

/* One batch; *ended: it was the last of its cycle. */
static int feed_batch(struct tks_mirror *mirror, bool *ended)
{
    struct tks_mirror_batch batch;
    int status = tks_backlog_collect(&mirror->backlog, &batch);
    if (!status && !lease_held(&mirror->lease, mirror->feeding))
        status = TKS_CONFLICT;
    if (status)
        return status;
    status = mirror->driver->mirror_apply(mirror->connection, holder_now(mirror), &batch);
    if (status)
        return status;
    account_for_batch(mirror, &batch);
    *ended = tks_backlog_carried(&mirror->backlog);
    if (*ended)
        account_for_cycle(mirror);
    return TKS_OK;
}

/* Until the cycle ends, the time of a store that is closed is over, or somebody else feeds. */
static int feed_cycle(struct tks_mirror *mirror)
{
    bool ended = !is_due(mirror);
    int status = TKS_OK;
    while (!status && !ended) {
        int64_t stop_ns;
        if (told_to_stop(mirror, &stop_ns) &&
            clock_ns(CLOCK_MONOTONIC) - stop_ns >= mirror->patience_ns)
            return TKS_OK;
        status = feed_batch(mirror, &ended);
    }
    return status;
}

static int expire(struct tks_mirror *mirror)
{
    const int64_t now_ms = wall_ms();
    int64_t next_ms;
    if (now_ms < mirror->next_expiry_ms)
        return TKS_OK;
    int status =
        mirror->driver->mirror_expire(mirror->connection, holder_now(mirror), now_ms, &next_ms);
    if (!status)
        mirror->next_expiry_ms = next_ms;
    return status;
}

static int attach_member(struct tks_mirror *mirror)
{
    if (mirror->backlog.member)
        return TKS_OK;
    int status = tks_member_join(mirror->segment, SLOT_VISITOR, &mirror->backlog.member);
    /* The one who fed before us may have been killed in a snapshot: without it ours need not wait
     * until that one counts as given up. */
    if (!status)
        tks_recover_dead(mirror->backlog.member);
    return status;
}

/* Whoever comes for a moment to a store whose last change is in the database feeds nothing. */
static bool is_passing_by(struct tks_mirror *mirror)
{
    const struct header *header = header_of(mirror);
    const uint64_t stamp = load_ordered(&header->mirror_stamp);
    int64_t stop_ns;
    return told_to_stop(mirror, &stop_ns) && !mirror->claimed && stamp &&
           !load_ordered(&header->mirror_take) && !tks_changes_any(mirror->segment, stamp);
}

static int feed(struct tks_mirror *mirror)
{
    if (is_passing_by(mirror))
        return TKS_OK;
    int status = attach_member(mirror);
    if (!status)
        status = connect_database(mirror);
    if (!status)
        status = claim(mirror);
    if (!status)
        status = feed_cycle(mirror);
    if (!status)
        status = expire(mirror);
    if (!status)
        tks_cut_tidy(mirror->backlog.member, &mirror->tidier);
    return status;
}

static void begin_feeding(struct tks_mirror *mirror, uint64_t generation)
{
    mirror->feeding = generation;
    mirror->claimed = false;
    mirror->pause_ns = 0;
    mirror->next_expiry_ms = INT64_MIN;
    tks_backlog_forget(&mirror->backlog);
    if (!generation)
        disconnect(mirror);
}

static void account_for_failure(struct tks_mirror *mirror, int status)
{
    struct header *header = header_of(mirror);
    tks_background_tell(header->mirror_text);
    fetch_add(&header->mirror_errors, 1);
    mirror->pause_ns = !mirror->pause_ns                      ? PAUSE_NS_FIRST
                       : mirror->pause_ns < PAUSE_NS_MOST / 2 ? mirror->pause_ns * 2
                                                              : PAUSE_NS_MOST;
    if (mirror->backlog.most_rows > 1)
        mirror->backlog.most_rows /= 2;
    /* Another segment has the table, it was put back to an earlier state, or it is gone: what it
     * holds is no longer what we left there. */
    if (status != TKS_IO && status != TKS_BUSY && status != TKS_NO_SPACE)
        mirror->claimed = false;
}

/* When the next turn is, ns. */
static int64_t take_turn(struct tks_mirror *mirror)
{
    const uint64_t interval_ms = mirror->options.interval_ms > INTERVAL_MS_LEAST
                                     ? mirror->options.interval_ms
                                     : INTERVAL_MS_LEAST;
    const int64_t began_ns = clock_ns(CLOCK_MONOTONIC);
    int status = feed(mirror);
    /* What fails for one who was replaced is nobody's failure: the next one is at it. */
    if (status && !lease_held(&mirror->lease, mirror->feeding)) {
        lease_lost(&mirror->lease, mirror->feeding);
        return 0;
    }
    if (status) {
        account_for_failure(mirror, status);
        return clock_ns(CLOCK_MONOTONIC) + mirror->pause_ns;
    }
    mirror->pause_ns = 0;
    return began_ns + (int64_t)interval_ms * 1000000;
}

/* ---- The thread ---------------------------------------------------------------------------- */

/* Until @p until_ns, or the keeper calls. True: told to stop. */
static bool wait_for_call(struct tks_mirror *mirror, int64_t until_ns)
{
    const struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    pthread_mutex_lock(&mirror->lock);
    if (!mirror->stop && lease_elected(&mirror->lease) == mirror->feeding)
        pthread_cond_clockwait(&mirror->called, &mirror->lock, CLOCK_MONOTONIC, &until);
    const bool stop = mirror->stop;
    pthread_mutex_unlock(&mirror->lock);
    return stop;
}

static void call(struct tks_mirror *mirror, bool stop)
{
    pthread_mutex_lock(&mirror->lock);
    if (stop) {
        mirror->stop = true;
        mirror->stop_ns = clock_ns(CLOCK_MONOTONIC);
    }
    pthread_cond_signal(&mirror->called);
    pthread_mutex_unlock(&mirror->lock);
}

static void work(struct tks_mirror *mirror)
{
    int64_t next_ns = 0;
    for (;;) {
        const int64_t idle_ns = clock_ns(CLOCK_MONOTONIC) + LEASE_LOOK_NS * 5;
        /* In this order: whoever is told to stop has been told its last generation before. */
        const bool stop = wait_for_call(mirror, mirror->feeding ? next_ns : idle_ns);
        const uint64_t generation = lease_elected(&mirror->lease);
        if (generation != mirror->feeding) {
            begin_feeding(mirror, generation);
            next_ns = 0;
        }
        if (generation && (stop || clock_ns(CLOCK_MONOTONIC) >= next_ns))
            next_ns = take_turn(mirror);
        if (stop)
            return;
    }
}

static void *feed_mirror(void *arg)
{
    struct tks_mirror *mirror = arg;
    tks_background_enter();
    work(mirror);
    disconnect(mirror);
    if (mirror->backlog.member)
        tks_member_leave(mirror->backlog.member);
    tks_backlog_release(&mirror->backlog);
    return NULL;
}

/* ---- The keeper's side --------------------------------------------------------------------- */

static struct tks_mirror *new_mirror(struct tks_segment *segment,
                                     const struct mirror_options *options)
{
    struct tks_mirror *mirror = calloc(1, sizeof(*mirror));
    if (!mirror)
        return NULL;
    mirror->segment = segment;
    mirror->options = *options;
    write_identity(segment->header->identity, mirror->holder.segment);
    if (segment->header->restored_from[0] || segment->header->restored_from[1])
        write_identity(segment->header->restored_from, mirror->holder.parent);
    mirror->lease = (struct tks_lease){.segment = segment,
                                       .word = &segment->header->mirror_lease,
                                       .beat = &segment->header->mirror_beat};
    pthread_mutex_init(&mirror->lock, NULL);
    pthread_cond_init(&mirror->called, NULL);
    return mirror;
}

static void free_mirror(struct tks_mirror *mirror)
{
    pthread_cond_destroy(&mirror->called);
    pthread_mutex_destroy(&mirror->lock);
    free(mirror);
}

int tks_mirror_start(struct tks_segment *segment, const struct mirror_options *options,
                     struct tks_mirror **result)
{
    struct tks_mirror *mirror = new_mirror(segment, options);
    struct tks_uri uri;
    if (!mirror)
        return tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", segment->name);
    int status = parse(mirror->options.uri, &uri, &mirror->driver);
    if (!status)
        status = tks_background_start(segment, options->cpu, feed_mirror, mirror, &mirror->thread);
    if (status) {
        free_mirror(mirror);
        return status;
    }
    if (options->take)
        store_release(&segment->header->mirror_take, 1);
    *result = mirror;
    return TKS_OK;
}

int64_t tks_mirror_look(struct tks_mirror *mirror, const struct tks_member *keeper, int64_t now_ns)
{
    if (tks_lease_look(&mirror->lease, keeper, now_ns))
        call(mirror, false);
    return now_ns + LEASE_LOOK_NS;
}

void tks_mirror_stop(struct tks_mirror *mirror, const struct tks_member *keeper)
{
    call(mirror, true);
    /* With a beat while it ends, so that nobody takes it for stopped. */
    while (!tks_background_ended(mirror->thread, LEASE_LOOK_NS))
        if (keeper)
            tks_mirror_look(mirror, keeper, clock_ns(CLOCK_MONOTONIC));
    if (keeper)
        tks_lease_release(&mirror->lease, keeper);
    free_mirror(mirror);
}

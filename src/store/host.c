/* SPDX-License-Identifier: MIT */
#include "store/host.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/process.h"
#include "recovery/recover.h"
#include "segment/slot.h"
#include "store/cut.h"
#include "store/shm.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOK_NS 200000000ll
#define STALE_NS 2000000000ll
#define WAIT_NS 100000000ll
/* A tenth of the weight of an ordinary thread: somebody may be waiting for the cut. */
#define LOW_PRIORITY 10

struct tks_host {
    struct tks_segment *segment;
    struct checkpoint_options options;
    pthread_t thread;
    /* From the keeper's thread to the writer's. */
    uint64_t generation; /* of the lease we hold, 0: none */
    uint64_t slot_and_1; /* the keeper's */
    uint64_t stop;
    /* The keeper's: the lease and the beat as last seen to move. */
    uint64_t seen_lease, seen_beat;
    int64_t seen_ns;
    /* The writer thread's. */
    uint64_t writing; /* generation that cutter.writer is for, 0: none */
    struct tks_cutter cutter;
    struct tks_path_lock *lock;
};

static struct header *header_of(const struct tks_host *host)
{
    return host->segment->header;
}

static uint64_t path_hash(const struct checkpoint_options *options)
{
    return hash_of(options->path, strlen(options->path)) | 1;
}

/* ---- The event count ----------------------------------------------------------------------- */

static uint32_t *calls_word(struct header *header)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint32_t *)(void *)&header->flush_calls;
#else
    return (uint32_t *)(void *)&header->flush_calls + 1;
#endif
}

static uint32_t calls_now(struct header *header)
{
    return __atomic_load_n(calls_word(header), __ATOMIC_SEQ_CST);
}

static void call_all(struct header *header)
{
    __atomic_fetch_add(calls_word(header), 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, calls_word(header), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void wait_for_call(struct header *header, uint32_t calls, int64_t ns)
{
    const struct timespec timeout = {ns / 1000000000, ns % 1000000000};
    if (ns > 0)
        syscall(SYS_futex, calls_word(header), FUTEX_WAIT, calls, &timeout, NULL, 0);
}

/* ---- The lease ----------------------------------------------------------------------------- */

static bool holds_lease(const struct tks_host *host, uint64_t generation)
{
    return load_ordered(&header_of(host)->lease) ==
           lease_word(generation, (unsigned)load_relaxed(&host->slot_and_1));
}

static bool still_host(void *arg)
{
    const struct tks_host *host = arg;
    return holds_lease(host, host->writing);
}

static void set_generation(struct tks_host *host, uint64_t generation)
{
    __atomic_store_n(&host->generation, generation, __ATOMIC_SEQ_CST);
    call_all(header_of(host));
}

static bool holder_lives(const struct tks_segment *segment, uint64_t lease)
{
    const unsigned slot = lease_slot_and_1(lease);
    return slot && slot <= segment->slot_count && tks_slot_alive(&segment->slots[slot - 1]);
}

/* Whether the holder showed a sign of life within the time it is given. */
static bool is_fresh(struct tks_host *host, uint64_t lease, int64_t now_ns)
{
    const uint64_t beat = load_ordered(&header_of(host)->lease_beat);
    if (lease != host->seen_lease || beat != host->seen_beat || !host->seen_ns) {
        host->seen_lease = lease;
        host->seen_beat = beat;
        host->seen_ns = now_ns;
    }
    return now_ns - host->seen_ns < STALE_NS;
}

int64_t tks_host_look(struct tks_host *host, const struct tks_member *keeper, int64_t now_ns)
{
    struct header *header = header_of(host);
    const unsigned mine = keeper->index + 1;
    const uint64_t lease = load_ordered(&header->lease);
    store_relaxed(&host->slot_and_1, mine);
    const uint64_t generation = load_ordered(&host->generation);
    if (generation && lease == lease_word(generation, mine)) {
        fetch_add(&header->lease_beat, 1);
        return now_ns + LOOK_NS;
    }
    if (generation)
        set_generation(host, 0);
    if (holder_lives(host->segment, lease) && is_fresh(host, lease, now_ns))
        return now_ns + LOOK_NS;
    const uint64_t next = lease_generation(lease) + 1;
    if (compare_and_swap(&header->lease, lease, lease_word(next, mine)))
        set_generation(host, next);
    return now_ns + LOOK_NS;
}

static bool somebody_waits(const struct header *header)
{
    uint64_t asked = load_ordered(&header->flush_asked);
    return load_ordered(&header->flush_done) < asked && load_ordered(&header->flush_failed) < asked;
}

/* ---- Flushing ------------------------------------------------------------------------------ */

static void say(struct tks_host *host, int status, uint64_t asked)
{
    struct header *header = header_of(host);
    char text[sizeof(header->flush_text)] = {0};
    strncpy(text, tks_last_error(), sizeof(text) - 1);
    copy_to_shared((uint64_t *)(void *)header->flush_text, text, sizeof(text));
    store_release(&header->flush_status, (uint64_t)-status);
    fetch_add(&header->flush_errors, 1);
    raise_word(&header->flush_failed, asked);
}

static void stop_writing(struct tks_host *host)
{
    tks_writer_close(host->cutter.writer);
    host->cutter.writer = NULL;
    host->writing = 0;
}

/* A writer for the generation we were elected for. */
static int begin_writing(struct tks_host *host, uint64_t generation)
{
    struct header *header = header_of(host);
    const struct tks_checkpoint_identity identity = {
        {header->identity[0], header->identity[1]}, generation, header->versions.first};
    int status = TKS_OK;
    if (!host->cutter.member)
        status = tks_member_join(host->segment, SLOT_VISITOR, &host->cutter.member);
    /* The host before us may have been killed in a snapshot: without it ours need not wait until
     * that one counts as given up. */
    if (!status)
        tks_recover_dead(host->cutter.member);
    if (!status && !host->lock)
        status = tks_path_lock(&tks_file_system, host->options.path, identity.uuid, &host->lock);
    if (!status)
        status =
            tks_writer_clear_leftovers(&tks_file_system, host->options.path, &identity, host->lock);
    host->writing = generation;
    if (load_ordered(&header->path_hash) != path_hash(&host->options)) {
        store_release(&header->flush_stamp, 0); /* of another file */
        store_release(&header->path_hash, path_hash(&host->options));
    }
    if (!status)
        status = tks_writer_open(&tks_file_system, host->options.path, &identity, still_host, host,
                                 &host->cutter.writer);
    if (status)
        stop_writing(host);
    host->cutter.since = 0;
    return status;
}

static void account_for_cut(struct tks_host *host, int64_t began_ns)
{
    struct header *header = header_of(host);
    store_relaxed(&header->flush_ms, (uint64_t)wall_ms());
    store_relaxed(&header->flush_ns, (uint64_t)(clock_ns(CLOCK_MONOTONIC) - began_ns));
    store_relaxed(&header->file_bytes, tks_writer_file_bytes(host->cutter.writer));
    fetch_add(&header->flushes, 1);
    raise_word(&header->flush_stamp, host->cutter.since);
}

static int cut_if_due(struct tks_host *host)
{
    struct header *header = header_of(host);
    const int64_t began_ns = clock_ns(CLOCK_MONOTONIC);
    /* Whoever comes for a moment, to look at a store that was closed in order, writes no file. */
    if (!host->cutter.since && !somebody_waits(header) && !access(host->options.path, F_OK) &&
        !tks_cut_is_due(&host->cutter, load_ordered(&header->flush_stamp)))
        return TKS_OK;
    const bool full = tks_cut_wants_full(&host->cutter);
    if (!full && !tks_cut_is_due(&host->cutter, host->cutter.since))
        return TKS_OK;
    int status = tks_cut_take(&host->cutter, full);
    if (!status)
        account_for_cut(host, began_ns);
    return status;
}

static void flush(struct tks_host *host, uint64_t generation)
{
    struct header *header = header_of(host);
    const uint64_t asked = load_ordered(&header->flush_asked);
    int status = host->writing == generation ? TKS_OK : begin_writing(host, generation);
    if (!status)
        status = cut_if_due(host);
    /* What fails for a host that was replaced is nobody's failure: the next one is at it. */
    if (status && !holds_lease(host, generation))
        status = TKS_REPLACED;
    if (status == TKS_OK) {
        if (raise_word(&header->flush_done, asked))
            call_all(header);
        tks_cut_tidy(&host->cutter);
    } else if (status == TKS_REPLACED) {
        stop_writing(host);
        compare_and_swap(&host->generation, generation, 0);
    } else {
        say(host, status, asked);
        call_all(header);
    }
}

/* ---- The writer's thread ------------------------------------------------------------------- */

static void work(struct tks_host *host)
{
    struct header *header = header_of(host);
    const int64_t interval = (int64_t)host->options.interval_ms * 1000000;
    int64_t next_ns = 0;
    for (;;) {
        const uint32_t calls = calls_now(header);
        /* In this order: whoever is told to stop has been told its last generation before. */
        const bool stop = load_ordered(&host->stop) != 0;
        const uint64_t generation = __atomic_load_n(&host->generation, __ATOMIC_SEQ_CST);
        const int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (host->writing && host->writing != generation)
            stop_writing(host);
        if (generation && (stop || now >= next_ns || somebody_waits(header))) {
            flush(host, generation);
            next_ns = now + interval;
            /* Its own call must not wake it. */
            if (!stop)
                continue;
        }
        if (stop)
            return;
        wait_for_call(header, calls, generation ? next_ns - now : LOOK_NS * 5);
    }
}

static void *write_checkpoints(void *arg)
{
    struct tks_host *host = arg;
    tks_thread_enter();
    /* In Linux a nice value is a thread's. Refused or not, the cuts are the same. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOW_PRIORITY);
    work(host);
    stop_writing(host);
    if (host->cutter.member)
        tks_member_leave(host->cutter.member);
    tks_path_unlock(host->lock);
    return NULL;
}

/* A segment is kept in one file; who lives and writes decides which. */
static int check_path(const struct tks_segment *segment, const struct checkpoint_options *options)
{
    const uint64_t written = load_ordered(&segment->header->path_hash);
    if (!written || written == path_hash(options) ||
        !holder_lives(segment, load_ordered(&segment->header->lease)))
        return TKS_OK;
    return tks_fail(TKS_INVALID, "segment \"%s\" is kept in another file than checkpoint=%s",
                    segment->name, options->path);
}

int tks_host_start(struct tks_segment *segment, const struct checkpoint_options *options,
                   struct tks_host **result)
{
    int status = check_path(segment, options);
    if (status)
        return status;
    struct tks_host *host = calloc(1, sizeof(*host));
    if (!host)
        return tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", segment->name);
    host->segment = segment;
    host->options = *options;
    int error = tks_thread_start(&host->thread, options->cpu, write_checkpoints, host);
    if (error) {
        free(host);
        return error == EINVAL && options->cpu != NO_CPU
                   ? tks_fail(TKS_INVALID,
                              "URI parameter snapshot_cpu=%d: there is no "
                              "such CPU for this process",
                              options->cpu)
                   : tks_fail_errno(error, "cannot start a thread for segment \"%s\"",
                                    segment->name);
    }
    *result = host;
    return TKS_OK;
}

void tks_host_stop(struct tks_host *host, const struct tks_member *keeper)
{
    struct header *header = header_of(host);
    const struct timespec look = {0, LOOK_NS};
    store_release(&host->stop, 1);
    call_all(header);
    for (;;) { /* as long as the last cut takes: with a beat, so that it is not taken for dead */
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += look.tv_nsec;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_timedjoin_np(host->thread, NULL, &until) != ETIMEDOUT)
            break;
        if (keeper)
            tks_host_look(host, keeper, clock_ns(CLOCK_MONOTONIC));
    }
    const uint64_t generation = load_ordered(&host->generation);
    if (generation && keeper)
        compare_and_swap(&header->lease, lease_word(generation, keeper->index + 1),
                         lease_word(generation, 0));
    free(host);
}

/* ---- The barrier --------------------------------------------------------------------------- */

static int tell_failure(const struct header *header)
{
    char text[sizeof(header->flush_text) + 1] = {0};
    copy_from_shared(text, (const uint64_t *)(const void *)header->flush_text,
                     sizeof(header->flush_text));
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    return tks_fail(TKS_IO, "%s", text);
}

int tks_host_barrier(struct tks_host *host)
{
    struct header *header = header_of(host);
    const uint64_t ticket = fetch_add(&header->flush_asked, 1) + 1;
    call_all(header);
    for (;;) { /* ends with a cut, or the failure of one, of whoever is host: we are a candidate */
        const uint32_t calls = calls_now(header);
        if (load_ordered(&header->flush_done) >= ticket)
            return TKS_OK;
        if (load_ordered(&header->flush_failed) >= ticket)
            return tell_failure(header);
        wait_for_call(header, calls, WAIT_NS);
    }
}

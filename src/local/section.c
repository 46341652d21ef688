/* SPDX-License-Identifier: MIT */
/*
 * liburcu's memb flavour has a registry of readers and locks of its own that fork() copies as they
 * are: a child would wait for readers that do not exist there, or for a lock whose holder does not.
 * So whatever of ours takes those locks does it under `gate`, fork() happens with the gate held,
 * and the child takes the readers that it has not got out of the registry. A grace period cannot be
 * made to end, as the forking thread may be in a section itself: fork() waits for it a second at
 * most, and in a child that was made in the middle of one memory:// says that it is unavailable.
 */
#include "local/section.h"

#include "base/clock.h"
#include "base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define FORK_WAIT_NS 1000000000

/* liburcu's record of a thread that we have registered. */
struct reader {
    struct urcu_reader *record;
    unsigned joined; /* tks_section_join() without quit */
    unsigned kept;   /* sections that stay open between calls */
    bool registered; /* by us, not by the application */
    struct reader *next, *previous;
};

static _Thread_local struct reader own __attribute__((tls_model("initial-exec")));
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static struct reader *readers;
static unsigned periods; /* grace periods that run */
static unsigned forks;   /* that wait for them to end */
static bool cut_off;     /* a child that was made in the middle of a grace period */

static pthread_once_t ready_once = PTHREAD_ONCE_INIT;
static int ready_error;
static pthread_attr_t resizer; /* of the threads liburcu starts to fill large tables */

/* ---- fork() -------------------------------------------------------------------------------- */

static void before_fork(void)
{
    const int64_t end = clock_ns(CLOCK_MONOTONIC) + FORK_WAIT_NS;
    const struct timespec until = {end / 1000000000, end % 1000000000};
    pthread_mutex_lock(&gate);
    forks++;
    /* A grace period that waits for our own section cannot end. */
    while (periods && !tks_section_inside() &&
           !pthread_cond_clockwait(&gate_changed, &gate, CLOCK_MONOTONIC, &until))
        ;
    forks--;
}

static void after_fork_in_parent(void)
{
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate);
}

/* The only thread there is; liburcu's locks are free, its registry lists the parent's readers. */
static void forget_readers(void)
{
    for (struct reader *reader = readers; reader; reader = reader->next)
        if (reader != &own)
            cds_list_del(&reader->record->node);
    readers = NULL;
    for (; own.kept; own.kept--)
        urcu_memb_read_unlock();
    if (own.registered)
        urcu_memb_unregister_thread();
    memset(&own, 0, sizeof(own));
}

static void after_fork_in_child(void)
{
    cut_off = cut_off || periods;
    if (!cut_off)
        forget_readers();
    periods = forks = 0;
    pthread_cond_init(&gate_changed, NULL);
    pthread_mutex_init(&gate, NULL);
}

static void make_ready(void)
{
    sigset_t all;
    sigfillset(&all);
    ready_error = pthread_attr_init(&resizer);
    if (!ready_error)
        ready_error = pthread_attr_setsigmask_np(&resizer, &all);
    if (!ready_error)
        ready_error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- Readers ------------------------------------------------------------------------------- */

static void list_own(void)
{
    own.record = &URCU_TLS(urcu_memb_reader);
    own.next = readers;
    own.previous = NULL;
    if (readers)
        readers->previous = &own;
    readers = &own;
}

static void unlist_own(void)
{
    if (own.previous)
        own.previous->next = own.next;
    else
        readers = own.next;
    if (own.next)
        own.next->previous = own.previous;
}

int tks_section_join(void)
{
    pthread_once(&ready_once, make_ready);
    if (ready_error)
        return tks_fail_errno(ready_error, "memory:// cannot prepare for fork");
    pthread_mutex_lock(&gate);
    bool possible = !cut_off;
    if (possible && !own.joined++ && !URCU_TLS(urcu_memb_reader).registered) {
        urcu_memb_register_thread();
        own.registered = true;
        list_own();
    }
    pthread_mutex_unlock(&gate);
    return possible ? TKS_OK
                    : tks_fail(TKS_UNSUPPORTED,
                               "memory:// is unavailable in this process: it was forked "
                               "while its parent's memory:// waited for a tick to end");
}

void tks_section_quit(void)
{
    pthread_mutex_lock(&gate);
    if (!--own.joined && own.registered) {
        urcu_memb_unregister_thread();
        own.registered = false;
        unlist_own();
    }
    pthread_mutex_unlock(&gate);
}

void tks_section_kept(int change)
{
    own.kept += (unsigned)change;
}

bool tks_section_inside(void)
{
    return urcu_memb_read_ongoing();
}

/* ---- Grace periods and tables -------------------------------------------------------------- */

void tks_section_wait(void)
{
    pthread_mutex_lock(&gate);
    while (forks)
        pthread_cond_wait(&gate_changed, &gate);
    periods++;
    pthread_mutex_unlock(&gate);
    urcu_memb_synchronize_rcu();
#ifdef TKS_THREAD_SANITIZER
    fence_full();
#endif
    pthread_mutex_lock(&gate);
    periods--;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate);
}

/* liburcu ends the process when it gets no memory for buckets: see first whether there is some. */
static bool memory_for(unsigned long buckets)
{
    void *room = malloc(buckets * sizeof(struct cds_lfht_node) + 4096);
    free(room);
    return room != NULL;
}

struct cds_lfht *tks_section_table(unsigned long buckets)
{
    if (!memory_for(buckets))
        return NULL;
    return _cds_lfht_new(buckets, buckets, 0, 0, &cds_lfht_mm_order, &urcu_memb_flavor, &resizer);
}

bool tks_section_grow(struct cds_lfht *table, unsigned long buckets)
{
    if (!memory_for(buckets))
        return false;
    /* The threads that fill a large table register themselves. */
    pthread_mutex_lock(&gate);
    cds_lfht_resize(table, buckets);
    pthread_mutex_unlock(&gate);
    return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * Which flavour of liburcu carries memory://? The same table and keys under QSBR and memb.
 *
 * A library cannot ask its callers to report quiescent states, so under QSBR a thread has to be
 * offline between sections: two full fences per section. memb has none, and pays at the grace
 * period with membarrier(), which interrupts the CPUs that run this process's threads, and only
 * those (MEMBARRIER_CMD_PRIVATE_EXPEDITED). The last column shows what that costs a thread of this
 * process that has nothing to do with RCU: what a fixed piece of work takes in the 99.9th
 * percentile while another thread runs a grace period every 10 ms, as memory:// does at most.
 */
#define _LGPL_SOURCE /* as in the library */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/rculfhash.h>

#include "common.h"

/* urcu/flavor.h declares that of the flavour included first. */
extern const struct rcu_flavor_struct urcu_qsbr_flavor;

#define KEYS 1024
#define READS_PER_TICK 8
#define GRACE_PERIOD_US 10000

struct node {
    struct cds_lfht_node node;
    uint64_t key;
};

struct flavour {
    const char *name;
    const struct rcu_flavor_struct *calls;
    void (*enter)(void);
    void (*leave)(void);
};

static void memb_enter(void)
{
    urcu_memb_read_lock();
}

static void memb_leave(void)
{
    urcu_memb_read_unlock();
}

static void qsbr_enter(void)
{
    urcu_qsbr_thread_online();
}

static void qsbr_leave(void)
{
    urcu_qsbr_thread_offline();
}

static const struct flavour flavours[] = {
    {"memb", &urcu_memb_flavor, memb_enter, memb_leave},
    {"QSBR", &urcu_qsbr_flavor, qsbr_enter, qsbr_leave},
};

static int same_key(struct cds_lfht_node *node, const void *key)
{
    return ((struct node *)(void *)node)->key == *(const uint64_t *)key;
}

static unsigned long hash(uint64_t key)
{
    return (unsigned long)(key * 0x9e3779b97f4a7c15u);
}

static struct cds_lfht *fill(const struct flavour *flavour, struct node *nodes)
{
    struct cds_lfht *table = cds_lfht_new_flavor(KEYS, KEYS, 0, 0, flavour->calls, NULL);

    if (table == NULL) {
        die("cds_lfht_new_flavor failed");
    }
    flavour->enter();
    for (uint64_t i = 0; i < KEYS; i++) {
        nodes[i].key = i;
        cds_lfht_add(table, hash(i), &nodes[i].node);
    }
    flavour->leave();
    return table;
}

/* ns per section of so many reads. */
static double section_ns(const struct flavour *flavour, struct cds_lfht *table, int reads)
{
    const int sections = options.quick ? 1000 : 2000000 / reads;
    struct random_state random = {1};
    struct cds_lfht_iter found;
    uint64_t start = timer_now();

    for (int i = 0; i < sections; i++) {
        flavour->enter();
        for (int j = 0; j < reads; j++) {
            uint64_t key = random_next(&random) % KEYS;
            cds_lfht_lookup(table, hash(key), same_key, &key, &found);
            USE_VALUE(found.node);
        }
        flavour->leave();
    }
    return timer_ns(timer_now() - start) / sections;
}

struct disturber {
    const struct flavour *flavour; /* NULL: no grace periods */
    atomic_bool stop;
    double total_ns;
    int periods;
};

static void *disturb(void *arg)
{
    struct disturber *disturber = arg;

    pin_to(options.other_cpu);
    do {
        usleep(GRACE_PERIOD_US);
        if (disturber->flavour != NULL) {
            uint64_t start = timer_now();
            disturber->flavour->calls->update_synchronize_rcu();
            disturber->total_ns += timer_ns(timer_now() - start);
            disturber->periods++;
        }
    } while (!atomic_load(&disturber->stop));
    return NULL;
}

/* p99.9 of a piece of work in a thread that is in no section. */
static double bystander_ns(struct disturber *disturber)
{
    const size_t count = options.quick ? 1000 : 500000;
    uint32_t *samples = allocate(count * sizeof(*samples));
    struct random_state random = {1};
    struct percentiles result;
    pthread_t thread;

    if (pthread_create(&thread, NULL, disturb, disturber) != 0) {
        die("pthread_create failed");
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t start = timer_now();
        for (int j = 0; j < 1000; j++) {
            uint64_t word = random_next(&random);
            USE_VALUE(&word);
        }
        samples[i] = (uint32_t)(timer_now() - start);
    }
    atomic_store(&disturber->stop, true);
    pthread_join(thread, NULL);
    result = percentiles_of(samples, count);
    free(samples);
    return result.p999;
}

static void measure(const struct flavour *flavour)
{
    struct node *nodes = allocate(KEYS * sizeof(*nodes));
    struct disturber disturber = {.flavour = flavour};
    double one[64], tick[64], worst[64];
    struct cds_lfht *table;

    flavour->calls->register_thread();
    table = fill(flavour, nodes);
    for (unsigned i = 0; i < options.rounds; i++) {
        one[i] = section_ns(flavour, table, 1);
        tick[i] = section_ns(flavour, table, READS_PER_TICK);
    }
    for (unsigned i = 0; i < options.rounds; i++) {
        atomic_store(&disturber.stop, false);
        worst[i] = bystander_ns(&disturber);
    }
    printf("%-6s %12.1f %12.1f %16.1f %16.1f\n", flavour->name, median(one, options.rounds),
           median(tick, options.rounds), disturber.total_ns / 1000 / disturber.periods,
           median(worst, options.rounds));
    flavour->calls->unregister_thread();
}

int main(int argc, char **argv)
{
    struct disturber nobody = {0};
    double worst[64];

    bench_start(argc, argv, "flavours", "Which flavour of liburcu carries memory://?");
    options.rounds = options.rounds > 64 ? 64 : options.rounds;
    printf("%-6s %12s %12s %16s %16s\n", "", "get, ns", "tick, ns", "grace period, us",
           "bystander, ns");
    for (unsigned i = 0; i < options.rounds; i++) {
        atomic_store(&nobody.stop, false);
        worst[i] = bystander_ns(&nobody);
    }
    printf("%-6s %12s %12s %16s %16.1f\n", "none", "", "", "", median(worst, options.rounds));
    for (size_t i = 0; i < sizeof(flavours) / sizeof(flavours[0]); i++) {
        measure(&flavours[i]);
    }
    return bench_finish();
}

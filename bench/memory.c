/* SPDX-License-Identifier: MIT */
/*
 * How much memory does a key take around 1 M keys, index included?
 *
 * Tables grow in steps, so one count tells little: bytes per key are averaged over a doubling, at
 * points evenly spaced by factor from 2^19.5 to 2^20.5 keys. tickstate: used_bytes (blocks that are
 * not free) and committed_bytes (what the machine lost) of tks_store_stats(). In-process peers: the
 * growth of the process; files: their blocks. Every peer runs in a process of its own.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <tickstate/tickstate.h>
#include <unistd.h>

#include "common.h"
#include "peer.h"
#include "report.h"
#include "targets.h"

#define POINTS 16

struct usage {
    double used; /* bytes per key, summed over the points, then averaged */
    double committed;
    double worst; /* the largest committed */
    int points;
};

static const char *keys;

static uint64_t point_keys(int point)
{
    double middle = options.quick ? 14.0 : 20.0;

    return (uint64_t)exp2(middle - 0.5 + (double)point / POINTS);
}

static void add_point(struct usage *usage, uint64_t n, uint64_t used, uint64_t committed)
{
    double each = (double)committed / (double)n;

    usage->used += (double)used / (double)n / POINTS;
    usage->committed += each / POINTS;
    usage->worst = each > usage->worst ? each : usage->worst;
    usage->points++;
}

static void insert_range(const struct peer *peer, void *handle, uint64_t from, uint64_t to)
{
    unsigned char value[VALUE_LEN];
    int bad = peer->bulk_begin != NULL ? peer->bulk_begin(handle) : 0;

    for (uint64_t i = from; i < to && bad == 0; i++) {
        value_write(value, i);
        bad = peer->set(handle, keys + i * KEY_STRIDE, value, sizeof(value));
    }
    if (bad != 0 || (peer->bulk_end != NULL && peer->bulk_end(handle) != 0)) {
        die("%s: inserting failed", peer->label);
    }
}

/* Resident private bytes of this process. */
static uint64_t process_bytes(void)
{
    unsigned long total, resident, shared;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%lu %lu %lu", &total, &resident, &shared) != 3) {
        die("cannot read /proc/self/statm");
    }
    fclose(file);
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void measure_peer(const struct peer *peer, const char *name, struct usage *usage)
{
    struct peer_config config = {.name = name, .keys = point_keys(POINTS), .grow = true};
    uint64_t before = process_bytes();
    void *handle = peer->open(&config);
    uint64_t done = 0;

    for (int point = 0; point < POINTS; point++) {
        uint64_t n = point_keys(point);
        uint64_t bytes;
        insert_range(peer, handle, done, n);
        bytes = peer->bytes != NULL ? peer->bytes(&config) : process_bytes() - before;
        add_point(usage, n, bytes, bytes);
        done = n;
    }
    peer->close(handle);
}

static void measure_tickstate(const char *name, struct usage *usage)
{
    struct peer_config config = {.name = name, .keys = point_keys(POINTS), .grow = true};
    void *handle = peer_tickstate.open(&config);
    struct tks_stats stats = {.size = sizeof(stats)};
    uint64_t done = 0;
    tks_store *store;
    char uri[128];

    snprintf(uri, sizeof(uri), "shm://%s", name);
    if (tks_store_open(uri, NULL, &store) != TKS_OK) {
        die("%s: %s", uri, tks_last_error());
    }
    for (int point = 0; point < POINTS; point++) {
        uint64_t n = point_keys(point);
        insert_range(&peer_tickstate, handle, done, n);
        if (tks_store_stats(store, &stats) != TKS_OK || stats.keys != n) {
            die("tks_store_stats: %" PRIu64 " keys instead of %" PRIu64 ": %s", stats.keys, n,
                tks_last_error());
        }
        add_point(usage, n, stats.used_bytes, stats.committed_bytes);
        done = n;
    }
    tks_store_close(store);
    peer_tickstate.close(handle);
}

/* Figures come back through shared memory; memory that a peer leaks or keeps goes with the child.
 */
static void measure_in_child(const struct peer *peer, const char *name, struct usage *usage)
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (peer == &peer_tickstate) {
            measure_tickstate(name, usage);
        } else {
            measure_peer(peer, name, usage);
        }
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        die("%s: the measuring process failed", peer->label);
    }
}

/* The child registers its files in vain: they are the parent's to remove. */
static void register_files(const char *name)
{
    static const char *const suffixes[] = {"", ".mdb", ".mdb-lock", ".db", ".db-wal", ".db-shm"};

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        temp_register(name, suffixes[i]);
    }
}

static void report_usage(const struct peer *peer, const struct usage *usage)
{
    char work[64];

    snprintf(work, sizeof(work), "%lu k to %lu k keys", (unsigned long)point_keys(0) / 1000,
             (unsigned long)point_keys(POINTS) / 1000);
    if (peer != &peer_tickstate) {
        report_row(work, peer->label, (double[]){usage->committed, usage->worst}, NULL);
        return;
    }
    report_row(work, "tickstate used", (double[]){usage->used, NAN}, "memory");
    report_row(work, "tickstate committed", (double[]){usage->committed, usage->worst}, "memory");
}

int main(int argc, char **argv)
{
    static const char *const metrics[] = {METRIC_BYTES, "worst", NULL};
    const struct peer *const *peers;
    struct usage *usage =
        mmap(NULL, sizeof(*usage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    bench_start(argc, argv, "memory", "memory per key around 1 M keys, mean over a doubling");
    if (usage == MAP_FAILED) {
        die("no memory");
    }
    peers_note_missing();
    peers = peers_available();
    keys = keys_make(point_keys(POINTS));
    report_section("memory", metrics);
    for (size_t i = 0; peers[i] != NULL; i++) {
        char name[64];
        *usage = (struct usage){0};
        temp_name(name, sizeof(name), peers[i]->name);
        register_files(name);
        measure_in_child(peers[i], name, usage);
        report_usage(peers[i], usage);
        temp_remove_named(name);
    }
    return bench_finish();
}

/* SPDX-License-Identifier: MIT */
/*
 * What do checkpoints cost: a full image, an increment of 1,000 keys of 1 M, a restore, and those
 * who read and write meanwhile?
 *
 * The first cut of whoever begins to write a file is a full image: the same segment is opened with
 * checkpoint= again and again, and what is timed is the open, the image, and the barrier that waits
 * for it. Its writer's thread runs on the other CPU at low priority; so does what it is
 * compared with, the same bytes written to a fresh file and synced. Peers keep their files in the
 * same folder. All take turns; figures are medians.
 */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "durable.h"
#include "peer.h"
#include "report.h"
#include "targets.h"

#define KEYS 1000000
#define CHANGED 1000
#define TURNS 3 /* in a round */
#define SAMPLES_MAX 512
#define CHUNK ((size_t)1 << 20)
#define PEERS_MAX 4
#define LOW_PRIORITY 10 /* that of the thread that writes checkpoints */

struct series {
    double values[SAMPLES_MAX];
    size_t n;
};

static char *keys;
static uint64_t key_count;
static uint32_t *seeds; /* of the value that each key has now */

static void add(struct series *series, double value)
{
    if (series->n < SAMPLES_MAX) {
        series->values[series->n++] = value;
    }
}

static double middle(const struct series *series)
{
    double values[SAMPLES_MAX];

    memcpy(values, series->values, sizeof(values[0]) * series->n);
    return median(values, series->n);
}

static double worst(const struct series *series)
{
    double found = series->n > 0 ? series->values[0] : NAN;

    for (size_t i = 1; i < series->n; i++) {
        found = fmax(found, series->values[i]);
    }
    return found;
}

/* Of pairs that were taken one after the other. */
static double middle_ratio(const struct series *series, const struct series *other)
{
    double values[SAMPLES_MAX];

    for (size_t i = 0; i < series->n; i++) {
        values[i] = series->values[i] / other->values[i];
    }
    return median(values, series->n);
}

static double ms_since(double began)
{
    return (seconds_now() - began) * 1e3;
}

/* Of all threads of this process: what the disk and other processes have no part in. */
static double cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* ---- The store --------------------------------------------------------------------------- */

void checkpointed_name(struct checkpointed *checkpointed, const char *what)
{
    temp_name(checkpointed->name, sizeof(checkpointed->name), what);
    snprintf(checkpointed->path, sizeof(checkpointed->path), "%s/%s.checkpoint", temp_folder(),
             what);
}

tks_store *checkpointing_start(const struct checkpointed *checkpointed, unsigned interval_ms)
{
    char uri[400];
    tks_store *store;

    snprintf(uri, sizeof(uri),
             "shm://%s?size=%" PRIu64 "M&slots=16&checkpoint=%s&interval_ms=%u&snapshot_cpu=%d%s",
             checkpointed->name, key_count / 2000 + 16, checkpointed->path, interval_ms,
             options.other_cpu, options.huge ? "&huge=1" : "");
    if (tks_store_open(uri, NULL, &store) != TKS_OK) {
        die("%s: %s", uri, tks_last_error());
    }
    return store;
}

void checkpointing_wait(tks_store *store)
{
    if (tks_store_checkpoint(store) != TKS_OK) {
        die("tks_store_checkpoint: %s", tks_last_error());
    }
}

/* ---- Files ------------------------------------------------------------------------------- */

struct bytes {
    char *at;
    size_t count;
};

static struct bytes file_read(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    struct bytes bytes;
    size_t done = 0;

    if (file < 0 || fstat(file, &status) != 0) {
        die("%s: %s", path, strerror(errno));
    }
    bytes = (struct bytes){allocate((size_t)status.st_size), (size_t)status.st_size};
    while (done < bytes.count) {
        ssize_t more = read(file, bytes.at + done, bytes.count - done);
        if (more <= 0) {
            die("%s: it cannot be read", path);
        }
        done += (size_t)more;
    }
    close(file);
    return bytes;
}

/* In pieces, as a writer with a buffer does. */
static void file_write(const char *path, struct bytes bytes)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (file < 0) {
        die("%s: %s", path, strerror(errno));
    }
    for (size_t done = 0; done < bytes.count;) {
        size_t left = bytes.count - done;
        ssize_t more = write(file, bytes.at + done, left < CHUNK ? left : CHUNK);
        if (more < 0) {
            die("%s: %s", path, strerror(errno));
        }
        done += (size_t)more;
    }
    if (fsync(file) != 0) {
        die("%s: %s", path, strerror(errno));
    }
    close(file);
}

struct raw_write {
    const char *path;
    struct bytes bytes;
    double ms;
};

/* Where and as important as the thread that writes checkpoints. */
static void *raw_write_run(void *arg)
{
    struct raw_write *raw = arg;
    double began;

    pin_to(options.other_cpu);
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOW_PRIORITY);
    began = seconds_now();
    file_write(raw->path, raw->bytes);
    raw->ms = ms_since(began);
    return NULL;
}

static double raw_write_ms(struct bytes bytes)
{
    char path[PATH_ROOM];
    struct raw_write raw = {path, bytes, 0};
    pthread_t thread;

    snprintf(path, sizeof(path), "%s/raw", temp_folder());
    if (pthread_create(&thread, NULL, raw_write_run, &raw) != 0 ||
        pthread_join(thread, NULL) != 0) {
        die("no thread");
    }
    unlink(path);
    return raw.ms;
}

/* ---- A full image ------------------------------------------------------------------------ */

static double image_ms(const struct checkpointed *checkpointed)
{
    double began = seconds_now();
    tks_store *store = checkpointing_start(checkpointed, INTERVAL_NEVER);
    double ms;

    checkpointing_wait(store);
    ms = ms_since(began);
    tks_store_close(store);
    return ms;
}

static void measure_image(const struct checkpointed *checkpointed)
{
    static const char *const metrics[] = {"ms", METRIC_RAW, "cpu ms", "MB", "MB/s", NULL};
    struct series image = {.n = 0}, image_cpu = {.n = 0};
    struct series raw = {.n = 0}, raw_cpu = {.n = 0};
    struct bytes bytes;
    double mb;
    char work[64];

    image_ms(checkpointed);
    bytes = file_read(checkpointed->path);
    mb = (double)bytes.count / 1e6;
    for (unsigned i = 0; i < options.rounds * TURNS; i++) {
        double began = cpu_ms();
        double between;
        add(&raw, raw_write_ms(bytes));
        between = cpu_ms();
        add(&image, image_ms(checkpointed));
        add(&raw_cpu, between - began);
        add(&image_cpu, cpu_ms() - between);
    }
    free(bytes.at);
    snprintf(work, sizeof(work), "full image of %" PRIu64 " keys", key_count);
    report_section("full image", metrics);
    report_row(work, "write and fsync (raw)",
               (double[]){middle(&raw), 1, middle(&raw_cpu), mb, mb / middle(&raw) * 1e3}, NULL);
    report_row(work, "tickstate open to barrier",
               (double[]){middle(&image), middle_ratio(&image, &raw), middle(&image_cpu), mb,
                          mb / middle(&image) * 1e3},
               "checkpoint-image");
}

/* ---- An increment ------------------------------------------------------------------------ */

struct rival {
    const struct durable *durable;
    void *handle;
    struct series commit, whole, load;
};

static struct rival rivals[PEERS_MAX];
static size_t rival_count;

struct change {
    uint64_t index;
    unsigned char value[VALUE_LEN];
};

static struct change changes[CHANGED];
static unsigned change_count;

static void choose_changes(void)
{
    static struct random_state random = {11};

    for (unsigned i = 0; i < change_count; i++) {
        uint32_t seed = (uint32_t)random_next(&random);
        changes[i].index = random_below(&random, key_count);
        seeds[changes[i].index] = seed;
        value_write(changes[i].value, seed);
    }
}

static void rival_fill(struct rival *rival)
{
    const struct durable *durable = rival->durable;
    int bad = durable->begin(rival->handle);

    for (uint64_t i = 0; i < key_count && bad == 0; i++) {
        unsigned char value[VALUE_LEN];
        value_write(value, seeds[i]);
        bad = durable->put(rival->handle, keys + i * KEY_STRIDE, value, sizeof(value));
    }
    if (bad != 0 || durable->commit(rival->handle) != 0) {
        die("%s: filling failed", durable->label);
    }
}

static void rivals_open(void)
{
    const struct durable *const *list = durables_available();

    for (size_t i = 0; list[i] != NULL && rival_count < PEERS_MAX; i++) {
        struct rival *rival = &rivals[rival_count];
        *rival = (struct rival){.durable = list[i], .handle = list[i]->open(temp_folder())};
        if (rival->handle == NULL) {
            report_note("left out: %s: it is not installed", list[i]->label);
            continue;
        }
        rival_count++;
        rival_fill(rival);
    }
}

static void rival_commit(struct rival *rival)
{
    const struct durable *durable = rival->durable;
    double began = seconds_now();
    double before_commit;
    int bad = durable->begin(rival->handle);

    for (unsigned i = 0; i < change_count && bad == 0; i++) {
        bad = durable->put(rival->handle, keys + changes[i].index * KEY_STRIDE, changes[i].value,
                           VALUE_LEN);
    }
    before_commit = seconds_now();
    if (bad != 0 || durable->commit(rival->handle) != 0) {
        die("%s: a commit failed", durable->label);
    }
    add(&rival->commit, ms_since(before_commit));
    add(&rival->whole, ms_since(began));
}

static void tickstate_commit(void *state, tks_store *store, struct series *commit,
                             struct series *whole)
{
    double began = seconds_now();
    double before_commit;
    int bad = 0;

    for (unsigned i = 0; i < change_count; i++) {
        bad |= peer_tickstate.set(state, keys + changes[i].index * KEY_STRIDE, changes[i].value,
                                  VALUE_LEN);
    }
    before_commit = seconds_now();
    if (bad != 0) {
        die("a set failed: %s", tks_last_error());
    }
    checkpointing_wait(store);
    add(commit, ms_since(before_commit));
    add(whole, ms_since(began));
}

static void report_increment(const struct series *commit, const struct series *whole)
{
    static const char *const metrics[] = {"ms", "worst ms", "ms with set", "x tickstate", NULL};
    char work[64];

    snprintf(work, sizeof(work), "%u of %" PRIu64 " keys", change_count, key_count);
    report_section("durable after a change", metrics);
    report_row(work, "tickstate (barrier)",
               (double[]){middle(commit), worst(commit), middle(whole), 1}, NULL);
    for (size_t i = 0; i < rival_count; i++) {
        const struct rival *rival = &rivals[i];
        report_row(work, rival->durable->label,
                   (double[]){middle(&rival->commit), worst(&rival->commit), middle(&rival->whole),
                              middle_ratio(&rival->whole, whole)},
                   NULL);
    }
}

static void measure_increment(const struct checkpointed *checkpointed, void *state)
{
    struct series commit = {.n = 0};
    struct series whole = {.n = 0};
    tks_store *store = checkpointing_start(checkpointed, INTERVAL_NEVER);

    checkpointing_wait(store);
    for (unsigned i = 0; i < options.rounds * TURNS * TURNS; i++) {
        choose_changes();
        tickstate_commit(state, store, &commit, &whole);
        for (size_t j = 0; j < rival_count; j++) {
            rival_commit(&rivals[j]);
        }
    }
    report_increment(&commit, &whole);
    tks_store_close(store);
}

/* ---- Restoring --------------------------------------------------------------------------- */

static void destroy(const struct checkpointed *checkpointed)
{
    char uri[80];

    snprintf(uri, sizeof(uri), "shm://%s", checkpointed->name);
    if (tks_store_destroy(uri) != TKS_OK) {
        die("%s: %s", uri, tks_last_error());
    }
}

/* What is there must be right; false: nothing is. */
static bool restored(tks_store *store)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    tks_state *state;

    if (tks_store_stats(store, &stats) != TKS_OK || tks_state_open(store, "bench", &state)) {
        die("a restored store: %s", tks_last_error());
    }
    for (uint64_t i = 0; stats.keys > 0 && i < key_count; i += 97) {
        unsigned char expected[VALUE_LEN];
        unsigned char buf[VALUE_CAP];
        size_t len = 0;
        value_write(expected, seeds[i]);
        if (tks_get(state, keys + i * KEY_STRIDE, buf, sizeof(buf), &len) != TKS_OK ||
            len != VALUE_LEN || memcmp(buf, expected, VALUE_LEN) != 0) {
            die("key %s is not what it was", keys + i * KEY_STRIDE);
        }
    }
    tks_state_close(state);
    if (stats.keys > 0 && stats.keys != key_count) {
        die("%" PRIu64 " keys were restored instead of %" PRIu64, stats.keys, key_count);
    }
    return stats.keys > 0;
}

/* Without a segment; NAN when this build starts empty. */
static double restore_s(const struct checkpointed *checkpointed, struct bytes bytes)
{
    double began;
    double seconds;
    tks_store *store;

    file_write(checkpointed->path, bytes);
    began = seconds_now();
    store = checkpointing_start(checkpointed, INTERVAL_NEVER);
    seconds = seconds_now() - began;
    seconds = restored(store) ? seconds : NAN;
    tks_store_close(store);
    destroy(checkpointed);
    return seconds;
}

static void rival_load(struct rival *rival)
{
    const struct durable *durable = rival->durable;
    double began;

    if (durable->scan == NULL) {
        return;
    }
    durable->close(rival->handle);
    began = seconds_now();
    rival->handle = durable->open(temp_folder());
    if (durable->scan(rival->handle) != key_count) {
        die("%s: it has lost keys", durable->label);
    }
    add(&rival->load, seconds_now() - began);
}

static void report_restore(const struct series *increments, const struct series *image)
{
    static const char *const metrics[] = {METRIC_SECONDS, NULL};
    char work[64];

    snprintf(work, sizeof(work), "open with %" PRIu64 " keys", key_count);
    report_section("restore (files in the page cache)", metrics);
    if (image->n > 0) {
        report_row(work, "tickstate image", (double[]){middle(image)}, "checkpoint-restore");
        report_row(work, "tickstate with increments", (double[]){middle(increments)},
                   "checkpoint-restore");
    }
    for (size_t i = 0; i < rival_count; i++) {
        if (rivals[i].load.n > 0) {
            char label[64];
            snprintf(label, sizeof(label), "%.12s open and scan", rivals[i].durable->name);
            report_row(work, label, (double[]){middle(&rivals[i].load)}, NULL);
        }
    }
    if (image->n == 0) {
        report_note("restore: not supported by this build: a store that is opened from a "
                    "checkpoint starts empty");
    }
}

/* @p image and @p increments: files of one image, and of the same with increments after it. */
static void measure_restore(const struct checkpointed *checkpointed, struct bytes image_file,
                            struct bytes increments_file)
{
    struct series increments = {.n = 0};
    struct series image = {.n = 0};
    bool supported = true;

    for (unsigned i = 0; i < options.rounds * TURNS; i++) {
        double seconds = supported ? restore_s(checkpointed, increments_file) : NAN;
        supported = !isnan(seconds);
        if (supported) {
            add(&increments, seconds);
            add(&image, restore_s(checkpointed, image_file));
        }
        for (size_t j = 0; j < rival_count; j++) {
            rival_load(&rivals[j]);
        }
    }
    report_restore(&increments, &image);
}

/* ---- All --------------------------------------------------------------------------------- */

static void measure_disk(void)
{
    struct checkpointed checkpointed;
    struct peer_config config = {.keys = key_count, .prefault = true};
    struct bytes increments_file;
    struct bytes image_file;
    void *state;

    checkpointed_name(&checkpointed, "disk");
    config.name = checkpointed.name;
    state = peer_tickstate.open(&config);
    peer_fill(&peer_tickstate, state, keys, key_count);
    measure_image(&checkpointed);
    rivals_open();
    measure_increment(&checkpointed, state);
    increments_file = file_read(checkpointed.path);
    image_ms(&checkpointed);
    image_file = file_read(checkpointed.path);
    peer_tickstate.close(state);
    destroy(&checkpointed);
    measure_restore(&checkpointed, image_file, increments_file);
    unlink(checkpointed.path);
    free(increments_file.at);
    free(image_file.at);
    for (size_t i = 0; i < rival_count; i++) {
        rivals[i].durable->close(rivals[i].handle);
    }
}

int main(int argc, char **argv)
{
    bench_start(argc, argv, "checkpoint", "what checkpoints cost, and what they cost others");
    key_count = options.quick ? KEYS / 50 : KEYS;
    change_count = options.quick ? CHANGED / 10 : CHANGED;
    if (options.rounds * TURNS * TURNS > SAMPLES_MAX) {
        die("at most %d rounds", SAMPLES_MAX / TURNS / TURNS);
    }
    report_note("files in %s; checkpoints are written on CPU %d, at low priority", options.disk,
                options.other_cpu);
    report_note(
        "tickstate prefaulted (prefault=1); kept: share of blocks the scheduler left alone");
    keys = keys_make(key_count);
    seeds = allocate(sizeof(seeds[0]) * key_count);
    for (uint64_t i = 0; i < key_count; i++) {
        seeds[i] = (uint32_t)i;
    }
    measure_disk();
    measure_cost(keys, key_count);
    return bench_finish();
}

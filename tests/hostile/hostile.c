/* SPDX-License-Identifier: MIT */
/*
 * Hostile segments: every byte may be anything, at attach and while it is used. Whatever a process does
 * with such a segment ends, with a status and not with a signal.
 *
 * One thing is left alone while processes run: the robust mutexes of the slots, as glibc follows
 * the list links inside a mutex that it holds (see layout.h). At attach they are mutated too.
 *
 * usage: hostile [SECONDS [SEED]]
 */
#include "segment/layout.h"

#include <tickstate/tickstate.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_BYTES (2u << 20)
#define HANG_SECONDS 60

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static char name[64], path[96], uri[128];

static void fail(const char *what)
{
    fprintf(stderr, "hostile: %s: %s\n", what, tks_last_error());
    exit(1);
}

static int ignore_key(void *arg, const char *key, size_t len)
{
    (void)arg;
    (void)key;
    (void)len;
    return 0;
}

static int ignore_record(void *arg, const struct tks_record *record)
{
    uint64_t *sum = arg;
    for (size_t i = 0; i < record->value_len; i++)
        *sum += ((const unsigned char *)record->value)[i];
    return 0;
}

static int ignore_plugin(void *arg, const char *plugin, size_t len, uint64_t keys)
{
    (void)arg;
    (void)plugin;
    (void)len;
    (void)keys;
    return 0;
}

static void fill(tks_state *state, unsigned keys)
{
    static char value[70000];
    char key[32];
    for (unsigned i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        tks_set(state, key, value, i % 61 == 0 ? sizeof(value) : i * 7 % 900);
        if (i % 5 == 0)
            tks_set_with_ttl(state, key, "x", 1, 1 + i % 3);
        if (i % 7 == 0)
            tks_delete(state, key);
    }
}

/* What a plugin and an operator do. Statuses do not matter, coming back does. */
static void use_state(tks_store *store)
{
    static char value[70000];
    tks_state *state;
    char key[32];
    if (tks_state_open(store, next_random() & 1 ? "plugin-a" : "plugin-new", &state))
        return;
    for (unsigned i = 0; i < 300; i++) {
        size_t len;
        const void *borrowed;
        snprintf(key, sizeof(key), "key-%u", (unsigned)(next_random() % 400));
        tks_get(state, key, value, sizeof(value), &len);
        tks_set(state, key, value, next_random() % 600);
        tks_add_i64(state, "counter", 1, NULL);
        tks_delete(state, key);
        tks_tick_begin(state);
        tks_has(state, key);
        if (!tks_borrow(state, "key-1", &borrowed, &len) && len)
            value[0] = *(const char *)borrowed;
        tks_tick_end(state);
    }
    tks_keys(state, ignore_key, NULL);
    tks_state_close(state);
}

static void use_store(void)
{
    struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_EXISTING};
    struct tks_stats stats = {.size = sizeof(stats)};
    struct tks_check check = {.size = sizeof(check)};
    tks_store *store;
    uint64_t sum = 0;
    if (tks_store_open(uri, &options, &store))
        return;
    use_state(store);
    tks_store_stats(store, &stats);
    tks_store_plugins(store, ignore_plugin, NULL);
    tks_store_sweep(store, NULL);
    tks_store_export(store, NULL, ignore_record, &sum);
    tks_store_check(store, &check);
    tks_store_close(store);
}

/* ---- Damage -------------------------------------------------------------------------------- */

struct image {
    char *bytes;
    struct geometry geometry;
};

static bool in_mutex(const struct geometry *geometry, uint64_t offset)
{
    if (offset < geometry->slots_offset || offset >= geometry->slab_table_offset)
        return false;
    uint64_t inside = (offset - geometry->slots_offset) % sizeof(struct slot);
    return inside >= offsetof(struct slot, mutex);
}

/* Somewhere that matters: header, registry, slots, descriptors, states, or the used slabs. */
static uint64_t pick_offset(const struct geometry *geometry)
{
    switch (next_random() % 7) {
    case 0:
        return next_random() % sizeof(struct header);
    case 1:
        return geometry->slots_offset + next_random() % (geometry->slots * sizeof(struct slot));
    case 2:
        return geometry->slab_table_offset +
               next_random() % (geometry->slabs * sizeof(struct slab));
    case 3:
        return geometry->state_table_offset +
               next_random() % (geometry->slabs * SLAB_STATES * 8);
    default:
        return geometry->slabs_offset + next_random() % (geometry->slabs * SLAB_BYTES);
    }
}

static uint64_t strange_word(const uint64_t *word)
{
    switch (next_random() % 6) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return *word ^ 1ull << next_random() % 64;
    case 3:
        return *word + next_random() % 256 - 128;
    case 4:
        return next_random() >> next_random() % 64;
    default:
        return next_random();
    }
}

static void damage(const struct image *image, bool live)
{
    uint64_t offset = pick_offset(&image->geometry) & ~7ull;
    /* What attach has checked cannot change later in an honest kernel's mapping; others can write it. */
    if ((live && (in_mutex(&image->geometry, offset) || offset < offsetof(struct header, lifecycle))) ||
        offset + 8 > image->geometry.size_bytes)
        return;
    uint64_t *word = (uint64_t *)(void *)(image->bytes + offset);
    __atomic_store_n(word, strange_word(word), __ATOMIC_RELAXED);
}

/* ---- Rounds -------------------------------------------------------------------------------- */

static void make_segment(void)
{
    tks_store *store = NULL;
    tks_state *state = NULL;
    unlink(path);
    if (tks_store_open(uri, NULL, &store) || tks_state_open(store, "plugin-a", &state))
        fail("cannot make a segment");
    fill(state, 300);
    tks_state_close(state);
    if (tks_state_open(store, "plugin-b", &state))
        fail("cannot open a state");
    fill(state, 40);
    tks_state_close(state);
    tks_store_close(store);
}

static void map_image(struct image *image)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        fail("cannot open the segment's file");
    image->bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (image->bytes == MAP_FAILED)
        fail("cannot map the segment's file");
    image->geometry = ((struct header *)(void *)image->bytes)->geometry;
}

static pid_t start_user(void)
{
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        alarm(HANG_SECONDS);
        seed += 77;
        use_store();
        _exit(0);
    }
    return child;
}

/* One segment, damaged before (and in live rounds while) two processes use it. */
static int round_once(bool live)
{
    struct image image;
    make_segment();
    map_image(&image);
    unsigned before = live ? 0 : 1 + (unsigned)(next_random() % 40);
    for (unsigned i = 0; i < before; i++)
        damage(&image, false);
    pid_t users[2] = {start_user(), start_user()};
    int bad = 0;
    for (int i = 0; i < 2; i++) {
        int status;
        while (waitpid(users[i], &status, live ? WNOHANG : 0) == 0)
            damage(&image, true);
        if (WIFSIGNALED(status)) {
            fprintf(stderr, "hostile: a user of a damaged segment %s (signal %d)\n",
                    WTERMSIG(status) == SIGALRM ? "hangs" : "crashes", WTERMSIG(status));
            bad = 1;
        } else if (WEXITSTATUS(status)) {
            fprintf(stderr, "hostile: a user of a damaged segment exits with %d\n",
                    WEXITSTATUS(status));
            bad = 1;
        }
    }
    munmap(image.bytes, image.geometry.size_bytes);
    unlink(path);
    return bad;
}

/* Files that are no segment at all. */
static int strange_files(void)
{
    static const size_t sizes[] = {0, 1, 63, 4096, SEGMENT_BYTES - 1, SEGMENT_BYTES};
    int bad = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        tks_store *store;
        if (fd < 0 || ftruncate(fd, (off_t)sizes[i]))
            fail("cannot make a file");
        for (int words = 0; sizes[i] && words < 100; words++) {
            uint64_t word = next_random();
            if (pwrite(fd, &word, 8, (off_t)(next_random() % sizes[i])) < 0)
                fail("cannot write");
        }
        if (ftruncate(fd, (off_t)sizes[i]))
            fail("cannot cut");
        close(fd);
        int status = tks_store_open(uri, NULL, &store);
        if (status != TKS_CORRUPT && status != TKS_MISMATCH) {
            fprintf(stderr, "hostile: a file of %zu random bytes gives %d\n", sizes[i], status);
            bad++;
        }
        unlink(path);
    }
    return bad;
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 60;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 2654435761u;
    seed += !seed;
    printf("hostile: seed %llu, %d s\n", (unsigned long long)seed, seconds);
    snprintf(name, sizeof(name), "tickstate-test-hostile-%d", (int)getpid());
    snprintf(path, sizeof(path), "/dev/shm/%s", name);
    snprintf(uri, sizeof(uri), "shm://%s?size=2M&slots=16", name);
    time_t end = time(NULL) + seconds;
    unsigned rounds = 0, failed = (unsigned)strange_files();
    while (time(NULL) < end && failed < 5) {
        uint64_t at = seed;
        unsigned bad = (unsigned)round_once(rounds % 3 == 2);
        if (bad)
            fprintf(stderr, "hostile: round %u, seed %llu\n", rounds, (unsigned long long)at);
        failed += bad;
        rounds++;
    }
    printf("hostile: %u rounds\n%u passed, %u failed\n", rounds, rounds - (failed > rounds ? rounds : failed),
           failed);
    return failed ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/* A store that is opened with checkpoint= and begins with what the file holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "store/restore.h"
#include "store/shm.h"
#include "table/bulk.h"
#include "table/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef TKS_TEST_TINY
#define MANY_KEYS 20000u
#define MANY_PLUGINS 300u
#else
#define MANY_KEYS 200000u
#define MANY_PLUGINS 3000u
#endif
/* A child of a process that was allocating in another thread cannot allocate there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FORKS_WITH_THREADS 0
#elif defined(__has_feature)
#define FORKS_WITH_THREADS !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define FORKS_WITH_THREADS 1
#endif
#define HOUR_MS 3600000ll
#define NOBODY_CUTS "&interval_ms=86400000"

static char folder[64], path[96], name[64], segment_path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tickstate-test-restore-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(name, sizeof(name), "tickstate-test-restore-%d", (int)getpid());
    snprintf(segment_path, sizeof(segment_path), "/dev/shm/%s", name);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    unlink(segment_path);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static bool always_host(void *arg)
{
    (void)arg;
    return true;
}

static bool exists(const char *what)
{
    struct stat stat;
    return !lstat(what, &stat);
}

/* ---- Samples: what a file is made of ------------------------------------------------------- */

struct item {
    char *plugin, *key;
    unsigned char *value;
    size_t key_len, value_len;
    uint32_t type;
    uint64_t version, hash;
    int64_t expires_at;
};

struct sample {
    struct item *items;
    size_t count, room;
    uint64_t next_version, highest;
};

static struct item *add(struct sample *sample, const char *plugin, const char *key, uint32_t type,
                        const void *value, size_t value_len)
{
    if (sample->count == sample->room) {
        sample->room = sample->room ? sample->room * 2 : 1024;
        sample->items = realloc(sample->items, sample->room * sizeof(*sample->items));
        assert_non_null(sample->items);
    }
    struct item *item = &sample->items[sample->count++];
    *item = (struct item){.plugin = strdup(plugin),
                          .key = strdup(key),
                          .value = malloc(value_len + 1),
                          .key_len = strlen(key),
                          .value_len = value_len,
                          .type = type,
                          .version = 1000 + sample->next_version++ * 7,
                          .hash = hash_of(key, strlen(key))};
    assert_true(item->plugin && item->key && item->value);
    if (value)
        memcpy(item->value, value, value_len);
    else
        for (size_t i = 0; i < value_len; i++)
            item->value[i] = (unsigned char)(item->version + i * 3);
    return item;
}

static struct sample sample_of(const char *plugin, unsigned keys, size_t value_len)
{
    struct sample sample = {0};
    char key[64];
    for (unsigned i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        add(&sample, plugin, key, TKS_TYPE_BYTES, NULL, value_len);
    }
    return sample;
}

static void drop(struct sample *sample)
{
    for (size_t i = 0; i < sample->count; i++) {
        free(sample->items[i].plugin);
        free(sample->items[i].key);
        free(sample->items[i].value);
    }
    free(sample->items);
    *sample = (struct sample){0};
}

static int by_plugin_and_hash(const void *a, const void *b)
{
    const struct item *one = a, *other = b;
    int order = strcmp(one->plugin, other->plugin);
    return order ? order : (one->hash > other->hash) - (one->hash < other->hash);
}

static void write_cut(struct tks_writer *writer, struct sample *sample, bool full)
{
    uint64_t highest = sample->highest;
    if (sample->count)
        qsort(sample->items, sample->count, sizeof(*sample->items), by_plugin_and_hash);
    assert_int_equal(tks_cut_begin(writer, full), TKS_OK);
    for (size_t i = 0; i < sample->count; i++) {
        const struct item *item = &sample->items[i];
        const struct tks_record record = {.size = sizeof(record),
                                          .type = item->type,
                                          .plugin = item->plugin,
                                          .plugin_len = strlen(item->plugin),
                                          .key = item->key,
                                          .key_len = item->key_len,
                                          .value = item->value,
                                          .value_len = item->value_len,
                                          .version = item->version,
                                          .expires_at = item->expires_at};
        if (!full && (!i || strcmp(item->plugin, item[-1].plugin)))
            assert_int_equal(tks_cut_range(writer, item->plugin, record.plugin_len, 0, UINT64_MAX),
                             TKS_OK);
        highest = highest > item->version ? highest : item->version;
        assert_int_equal(tks_cut_entry(writer, &record), TKS_OK);
    }
    const struct tks_cut_info info = {highest, wall_ms() - 5, 3};
    assert_int_equal(tks_cut_commit(writer, &info), TKS_OK);
}

static struct tks_writer *new_writer(void)
{
    static const struct tks_checkpoint_identity identity = {{1, 2}, 7};
    struct tks_writer *writer = NULL;
    unlink(path);
    assert_int_equal(tks_writer_open(&tks_file_system, path, &identity, always_host, NULL, &writer),
                     TKS_OK);
    return writer;
}

static void write_file(struct sample *sample)
{
    struct tks_writer *writer = new_writer();
    write_cut(writer, sample, true);
    tks_writer_close(writer);
}

/* ---- Stores -------------------------------------------------------------------------------- */

static int try_open(const char *size, tks_store **store)
{
    char uri[256];
    snprintf(uri, sizeof(uri), "shm://%s?size=%s&checkpoint=%s" NOBODY_CUTS, name, size, path);
    return tks_store_open(uri, NULL, store);
}

static tks_store *open_store(const char *size)
{
    tks_store *store = NULL;
    int status = try_open(size, &store);
    if (status)
        fail_msg("opening: %d %s", status, tks_last_error());
    return store;
}

/* Without checkpoint=: nobody writes the file. */
static tks_store *open_plain(const char *size)
{
    char uri[256];
    tks_store *store = NULL;
    snprintf(uri, sizeof(uri), "shm://%s?size=%s", name, size);
    assert_int_equal(tks_store_open(uri, NULL, &store), TKS_OK);
    return store;
}

static void end_store(tks_store *store)
{
    char uri[96];
    tks_store_close(store);
    snprintf(uri, sizeof(uri), "shm://%s", name);
    assert_int_equal(tks_store_destroy(uri), TKS_OK);
}

static struct tks_segment *segment_of(tks_store *store)
{
    return ((struct shm_store *)(void *)store)->segment;
}

static tks_state *open_state(tks_store *store, const char *plugin)
{
    tks_state *state = NULL;
    assert_int_equal(tks_state_open(store, plugin, &state), TKS_OK);
    return state;
}

static bool is_live(const struct item *item)
{
    return !item->expires_at || item->expires_at > wall_ms();
}

static void verify_item(tks_state *state, const struct item *item)
{
    static unsigned char got[2 << 20];
    size_t len = 0;
    uint64_t version = 0;
    int type = -1;
    int status = tks_get_versioned(state, item->key, got, sizeof(got), &len, &version);
    assert_int_equal(status, is_live(item) ? TKS_OK : TKS_NOT_FOUND);
    if (status)
        return;
    assert_int_equal(len, item->value_len);
    assert_memory_equal(got, item->value, len);
    assert_true(version == item->version);
    assert_int_equal(tks_type(state, item->key, &type), TKS_OK);
    assert_int_equal(type, item->type);
}

/* That the store holds the sample. How many keys it has. */
static size_t verify(tks_store *store, const struct sample *sample)
{
    tks_state *state = NULL;
    size_t live = 0;
    for (size_t i = 0; i < sample->count; i++) {
        const struct item *item = &sample->items[i];
        if (!state || strcmp(item->plugin, item[-1].plugin)) {
            tks_state_close(state);
            state = open_state(store, item->plugin);
        }
        verify_item(state, item);
        live += is_live(item);
    }
    tks_state_close(state);
    return live;
}

/* ---- Counting blocks ----------------------------------------------------------------------- */

struct index_count {
    const struct tks_segment *segment;
    const struct sample *sample;
    unsigned thrift;
    uint64_t blocks, keys, plugins;
};

static uint64_t pieces_of(unsigned level)
{
    return !level ? 0 : single_piece(level) ? 1 : 1 + directory_words(level);
}

/* As few heads as give every key four, halved `thrift` times. */
static void check_level(const struct index_count *count, unsigned level, uint64_t keys)
{
    const uint64_t heads = 1ull << level_bits(level), wanted = keys * 4 >> count->thrift;
    assert_true(heads >= wanted);
    assert_true(level == 0 || heads / 2 < wanted);
}

static int count_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct index_count *count = arg;
    const struct sample *sample = count->sample;
    const unsigned level = (unsigned)plugin->base;
    uint64_t keys = 0, vectors = 0, before = 0, in_bucket = 0;
    (void)granule;
    for (size_t i = 0; i < sample->count; i++) {
        const struct item *item = &sample->items[i];
        if (strcmp(item->plugin, plugin->name) || !is_live(item))
            continue;
        uint64_t bucket = item->hash >> (64 - level_bits(level));
        in_bucket = keys++ && bucket == before ? in_bucket + 1 : 1;
        vectors += in_bucket == 2;
        before = bucket;
    }
    if (count->thrift != UINT32_MAX)
        check_level(count, level, keys);
    count->blocks += 1 + pieces_of(level) + keys + vectors;
    count->keys += keys;
    count->plugins++;
    return 0;
}

/* That nothing is there but the sample, every block accounted for. */
static void audit(tks_store *store, const struct sample *sample, unsigned thrift)
{
    struct index_count count = {segment_of(store), sample, thrift, 0, 0, 0};
    struct tks_check check = {.size = sizeof(check)};
    assert_int_equal(tks_registry_each(count.segment, count_plugin, &count), 0);
    assert_int_equal(tks_store_check(store, &check), TKS_OK);
    assert_int_equal(check.leaked_blocks, 0);
    assert_int_equal(check.retired_blocks, 0);
    assert_int_equal(check.keys, count.keys);
    assert_int_equal(check.plugins, count.plugins);
    assert_int_equal(check.reachable_blocks, count.blocks);
}

/* A check that the store is sound, whatever it holds by now. */
static void sound(tks_store *store, uint64_t keys)
{
    struct tks_check check = {.size = sizeof(check)};
    assert_int_equal(tks_store_sweep(store, NULL), TKS_OK);
    assert_int_equal(tks_store_check(store, &check), TKS_OK);
    assert_int_equal(check.leaked_blocks, 0);
    assert_int_equal(check.keys, keys);
}

/* Open, look at everything, remove. */
static void restores(struct sample *sample, const char *size)
{
    write_file(sample);
    tks_store *store = open_store(size);
    assert_string_equal(tks_last_error(), "");
    audit(store, sample, 0);
    size_t live = verify(store, sample);
    const struct header *header = segment_of(store)->header;
    assert_int_equal(header->restored_entries, live);
    assert_int_equal(header->restored_damaged, 0);
    assert_true(header->restored_ms && (int64_t)header->restored_ms <= wall_ms());
    end_store(store);
}

/* ---- What comes back ----------------------------------------------------------------------- */

static void every_type_and_expiry_comes_back(void **state)
{
    (void)state;
    struct sample sample = {0};
    const int64_t integer = -17, now = wall_ms();
    const double real = 99.5;
    add(&sample, "p", "bytes", TKS_TYPE_BYTES, "\0\1\377", 3);
    add(&sample, "p", "empty", TKS_TYPE_BYTES, NULL, 0);
    add(&sample, "p", "i64", TKS_TYPE_I64, &integer, 8);
    add(&sample, "p", "f64", TKS_TYPE_F64, &real, 8);
    add(&sample, "p", "bool", TKS_TYPE_BOOL, "\1", 1);
    add(&sample, "p", "string", TKS_TYPE_STRING, "caf\xc3\xa9", 5);
    add(&sample, "p", "json", TKS_TYPE_JSON, "[1,2]", 5);
    add(&sample, "p", "past", TKS_TYPE_BYTES, "x", 1)->expires_at = now - 1;
    add(&sample, "p", "long past", TKS_TYPE_BYTES, "x", 1)->expires_at = 1;
    add(&sample, "p", "future", TKS_TYPE_BYTES, "x", 1)->expires_at = now + HOUR_MS;
    add(&sample, "p", "for good", TKS_TYPE_BYTES, "x", 1)->expires_at = INT64_MAX;
    add(&sample, "gone", "all of it", TKS_TYPE_BYTES, "x", 1)->expires_at = now - HOUR_MS;
    restores(&sample, "1M");
    drop(&sample);
}

static int check_expiry(void *arg, const struct tks_record *record)
{
    const struct sample *sample = arg;
    for (size_t i = 0; i < sample->count; i++)
        if (!strcmp(sample->items[i].key, record->key)) {
            int64_t off = record->expires_at - sample->items[i].expires_at;
            assert_true(off >= -3 && off <= 3);
            return 0;
        }
    fail_msg("a key that was never written: %s", record->key);
    return 0;
}

static void deadlines_are_those_of_the_wall_clock(void **state)
{
    (void)state;
    struct sample sample = {0};
    add(&sample, "p", "soon", TKS_TYPE_BYTES, "x", 1)->expires_at = wall_ms() + 700;
    add(&sample, "p", "later", TKS_TYPE_BYTES, "x", 1)->expires_at = wall_ms() + HOUR_MS;
    add(&sample, "p", "never", TKS_TYPE_BYTES, "x", 1);
    write_file(&sample);
    tks_store *store = open_store("1M");
    assert_int_equal(tks_store_export(store, NULL, check_expiry, &sample), 0);
    tks_state *p = open_state(store, "p");
    while (wall_ms() < sample.items[0].expires_at ||
           wall_ms() < sample.items[1].expires_at - HOUR_MS)
        usleep(1000);
    usleep(900000);
    assert_int_equal(tks_has(p, "soon"), 0);
    assert_int_equal(tks_has(p, "later"), 1);
    assert_int_equal(tks_has(p, "never"), 1);
    tks_state_close(p);
    end_store(store);
    drop(&sample);
}

static void any_number_of_keys_comes_back(void **state)
{
    (void)state;
    static const unsigned counts[] = {0,   1,   2,    3,    4,    5,     127,      128,
                                      129, 255, 1000, 1024, 4097, 16385, MANY_KEYS};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct sample sample = sample_of("plugin", counts[i], 64);
        restores(&sample, "64M");
        drop(&sample);
    }
}

static void many_plugins_come_back(void **state)
{
    (void)state;
    struct sample sample = {0};
    char plugin[TKS_NAME_MAX + 1], key[TKS_NAME_MAX + 1];
    for (unsigned i = 0; i < MANY_PLUGINS; i++) {
        snprintf(plugin, sizeof(plugin), "plugin-%u", i);
        for (unsigned k = 0; k <= i % 4; k++) {
            snprintf(key, sizeof(key), "key-%u", k);
            add(&sample, plugin, key, TKS_TYPE_BYTES, NULL, i % 50);
        }
    }
    memset(plugin, 'p', TKS_NAME_MAX);
    memset(key, 'k', TKS_NAME_MAX);
    plugin[TKS_NAME_MAX] = key[TKS_NAME_MAX] = 0;
    add(&sample, plugin, key, TKS_TYPE_BYTES, NULL, 1);
    restores(&sample, "64M");
    drop(&sample);
}

/* Every class of blocks, and runs of one slab and of many. */
static void values_of_every_size_come_back(void **state)
{
    (void)state;
    struct sample sample = {0};
    char key[TKS_NAME_MAX + 1];
    memset(key, 'k', sizeof(key));
    key[TKS_NAME_MAX] = 0;
    for (unsigned i = 0; i < 1200; i++) {
        static const size_t large[] = {40000, 100, 1 << 20, 65536, 131000, 10, 32700, 33000};
        snprintf(key, 16, "key-%u", i);
        key[strlen(key)] = i % 3 ? 0 : '-';
        add(&sample, i % 2 ? "one" : "two", key, TKS_TYPE_BYTES, NULL,
            i % 20 ? i * 17 : large[i / 20 % 8]);
        memset(key, 'k', TKS_NAME_MAX);
    }
    restores(&sample, "64M");
    drop(&sample);
}

/* ---- Collisions ---------------------------------------------------------------------------- */

/* Keys whose hashes share their first @p bits with that of the first. */
static void add_alike(struct sample *sample, unsigned keys, unsigned bits)
{
    char key[TKS_NAME_MAX + 1];
    uint64_t first = 0;
    for (uint64_t i = 0; keys; i++) {
        int len = snprintf(key, sizeof(key), "%llx", (unsigned long long)i);
        uint64_t hash = hash_of(key, (size_t)len);
        if (i && (hash ^ first) >> (64 - bits))
            continue;
        first = i ? first : hash;
        add(sample, "alike", key, TKS_TYPE_BYTES, NULL, 8);
        keys--;
    }
}

static void keys_of_one_bucket_become_a_vector(void **state)
{
    (void)state;
    struct sample sample = {0};
    add_alike(&sample, 30, 17);
    restores(&sample, "8M");
    drop(&sample);
}

/* More than a vector holds: the level must tell them apart, however few they are. */
static void a_crowd_gets_a_level_of_its_own(void **state)
{
    (void)state;
    struct sample sample = {0};
    const unsigned bits = 14;
    add_alike(&sample, BULK_MEMBERS_MAX + BULK_MEMBERS_MAX / 8, bits);
    write_file(&sample);
    tks_store *store = open_store("16M");
    audit(store, &sample, UINT32_MAX);
    verify(store, &sample);
    tks_state *alike = open_state(store, "alike");
    assert_true(level_bits((unsigned)((struct shm_state *)(void *)alike)->session.plugin->base) >
                bits);
    for (size_t i = 0; i < sample.count; i++)
        assert_int_equal(tks_set(alike, sample.items[i].key, "new", 3), TKS_OK);
    for (size_t i = 0; i < sample.count; i++)
        assert_int_equal(tks_delete(alike, sample.items[i].key), TKS_OK);
    tks_state_close(alike);
    sound(store, 0);
    end_store(store);
    drop(&sample);
}

/* ---- Living on ----------------------------------------------------------------------------- */

static int count_key(void *arg, const char *key, size_t len)
{
    (void)key;
    (void)len;
    ++*(uint64_t *)arg;
    return 0;
}

static int count_record(void *arg, const struct tks_record *record)
{
    (void)record;
    ++*(uint64_t *)arg;
    return 0;
}

static void use_all(tks_store *store, const struct sample *sample, unsigned more)
{
    tks_state *state = open_state(store, sample->items[0].plugin);
    uint64_t highest = sample->items[0].version, version, keys = 0, records = 0;
    char key[64];
    size_t len;
    for (size_t i = 0; i < sample->count; i++)
        highest = sample->items[i].version > highest ? sample->items[i].version : highest;
    /* A restored version is still the one to compare with, and a new one is beyond all. */
    for (size_t i = 0; i < sample->count; i += 3) {
        const struct item *item = &sample->items[i];
        assert_int_equal(tks_set_if(state, item->key, "new", 3, item->version + 1), TKS_CONFLICT);
        assert_int_equal(tks_set_if(state, item->key, "new", 3, item->version), TKS_OK);
        assert_int_equal(tks_get_versioned(state, item->key, key, sizeof(key), &len, &version),
                         TKS_OK);
        assert_true(version > highest && len == 3);
    }
    for (size_t i = 1; i < sample->count; i += 3)
        assert_int_equal(tks_delete(state, sample->items[i].key), TKS_OK);
    for (size_t i = 2; i < sample->count; i += 3)
        verify_item(state, &sample->items[i]);
    uint64_t expected = sample->count - (sample->count + 1) / 3 + more;
    for (unsigned i = 0; i < more; i++) {
        snprintf(key, sizeof(key), "more-%u", i);
        assert_int_equal(tks_set(state, key, key, strlen(key)), TKS_OK);
    }
    for (size_t i = 2; i < sample->count; i += 3)
        verify_item(state, &sample->items[i]);
    assert_int_equal(tks_keys(state, count_key, &keys), 0);
    assert_int_equal(keys, expected);
    assert_int_equal(tks_store_export(store, NULL, count_record, &records), 0);
    assert_int_equal(records, expected);
    tks_state_close(state);
    sound(store, expected);
}

static void a_restored_store_is_like_any_other(void **state)
{
    (void)state;
    static const unsigned counts[] = {3, 100, 129, 600, 5000, MANY_KEYS / 4};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct sample sample = sample_of("plugin", counts[i], 40);
        write_file(&sample);
        tks_store *store = open_store("128M");
        struct plugin *plugin = NULL;
        tks_state *handle = open_state(store, "plugin");
        plugin = ((struct shm_state *)(void *)handle)->session.plugin;
        uint64_t base = plugin->base;
        assert_false(index_moving(plugin));
        tks_state_close(handle);
        use_all(store, &sample, counts[i] * 5);
        /* It grows, or has grown. */
        assert_true(plugin->base > base || plugin->level[base + 1] || counts[i] < 100);
        end_store(store);
        drop(&sample);
    }
}

/* Restored, changed, cut by the host, removed, restored: as often as one likes. */
static void generations_follow_each_other(void **state)
{
    (void)state;
    tks_store *store = open_store("4M");
    uint64_t last = 0, version;
    int64_t sum = 0, seen;
    char got[32];
    for (unsigned i = 0; i < 6; i++) {
        tks_state *counter = open_state(store, "counter");
        assert_int_equal(tks_add_i64(counter, "n", i, &seen), TKS_OK);
        assert_int_equal(seen, sum += i);
        assert_int_equal(tks_store_checkpoint(store), TKS_OK);
        assert_int_equal(tks_add_i64(counter, "n", 1000, &seen), TKS_OK);
        sum += 1000;
        assert_int_equal(tks_get_versioned(counter, "n", got, sizeof(got), NULL, &version), TKS_OK);
        assert_true(version > last);
        last = version;
        tks_state_close(counter);
        assert_int_equal(tks_store_checkpoint(store), TKS_OK);
        end_store(store);
        store = open_store("4M");
        counter = open_state(store, "counter");
        assert_int_equal(tks_get_i64(counter, "n", &seen), TKS_OK);
        assert_int_equal(seen, sum);
        tks_state_close(counter);
        sound(store, 1);
    }
    end_store(store);
}

/* ---- Versions ------------------------------------------------------------------------------ */

static uint64_t first_version(tks_store *store)
{
    uint64_t version;
    char got[8];
    tks_state *state = open_state(store, "versions");
    assert_int_equal(tks_set(state, "fresh", "x", 1), TKS_OK);
    assert_int_equal(tks_get_versioned(state, "fresh", got, sizeof(got), NULL, &version), TKS_OK);
    tks_state_close(state);
    return version;
}

static void versions_go_on_when_the_clock_was_set_back(void **state)
{
    (void)state;
    struct sample sample = sample_of("p", 100, 10);
    sample.highest = (uint64_t)clock_ns(CLOCK_REALTIME) + (uint64_t)HOUR_MS * 24000000;
    write_file(&sample);
    tks_store *store = open_store("1M");
    assert_true(first_version(store) >= sample.highest + VERSION_MARGIN);
    end_store(store);
    sample.highest = 5000;
    write_file(&sample);
    uint64_t now = (uint64_t)clock_ns(CLOCK_REALTIME);
    store = open_store("1M");
    assert_true(first_version(store) >= now);
    end_store(store);
    drop(&sample);
}

/* ---- Files that are refused ---------------------------------------------------------------- */

struct content {
    char *bytes;
    size_t len;
};

static struct content read_all(void)
{
    struct content content = {malloc(64 << 20), 0};
    FILE *file = fopen(path, "rb");
    assert_true(file && content.bytes);
    content.len = fread(content.bytes, 1, 64 << 20, file);
    fclose(file);
    return content;
}

static void write_all(const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static unsigned files_like(const char *suffix, char found[128])
{
    char pattern[128];
    glob_t files;
    snprintf(pattern, sizeof(pattern), "%s%s", path, suffix);
    unsigned count = glob(pattern, 0, NULL, &files) ? 0 : (unsigned)files.gl_pathc;
    if (count && found)
        snprintf(found, 128, "%.127s", files.gl_pathv[0]);
    if (count)
        globfree(&files);
    return count;
}

/* Twice, with the file as it was and nothing under the name. */
static void refused(const char *size, int status)
{
    struct content before = read_all();
    const unsigned files = files_like("*", NULL);
    for (int i = 0; i < 2; i++) {
        tks_store *store = (tks_store *)(uintptr_t)1;
        assert_int_equal(try_open(size, &store), status);
        assert_null(store);
        if (!strstr(tks_last_error(), path))
            fail_msg("no file in \"%s\"", tks_last_error());
        assert_false(exists(segment_path));
    }
    struct content after = read_all();
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.bytes, after.bytes, before.len);
    free(before.bytes);
    free(after.bytes);
    assert_int_equal(files_like("*", NULL), files);
}

static void a_file_that_cannot_be_loaded_is_refused(void **state)
{
    (void)state;
    struct sample sample = sample_of("p", 100, 30);
    write_file(&sample);
    struct content good = read_all();
    write_all("", 0);
    refused("1M", TKS_CORRUPT);
    write_all("this is not a checkpoint", 24);
    refused("1M", TKS_CORRUPT);
    write_all(good.bytes, good.len / 2);
    refused("1M", TKS_CORRUPT);
    good.bytes[2000] ^= 1;
    write_all(good.bytes, good.len);
    refused("1M", TKS_CORRUPT);
    good.bytes[2000] ^= 1;
    uint32_t *words = (uint32_t *)(void *)good.bytes;
    words[3] = 99; /* oldest reader */
    uint64_t salt = XXH3_64bits(good.bytes, 504);
    memcpy(good.bytes + 504, &salt, 8);
    write_all(good.bytes, good.len);
    refused("1M", TKS_MISMATCH);
    free(good.bytes);
    sample.highest = UINT64_MAX - 10;
    write_file(&sample);
    refused("1M", TKS_CORRUPT);
    sample.highest = 0;
    /* Somebody repairs it. */
    restores(&sample, "1M");
    drop(&sample);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    tks_store *store;
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_int_equal(try_open("1M", &store), TKS_DENIED);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(try_open("1M", &store), TKS_DENIED);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(try_open("1M", &store), TKS_DENIED);
    rmdir(path);
    assert_false(exists(segment_path));
}

/* ---- Damage -------------------------------------------------------------------------------- */

/* A full image of @p first, an increment of @p second. */
static void write_two_cuts(struct sample *first, struct sample *second)
{
    struct tks_writer *writer = new_writer();
    write_cut(writer, first, true);
    write_cut(writer, second, false);
    tks_writer_close(writer);
}

static void a_lost_cut_is_a_warning_and_the_file_is_kept(void **state)
{
    (void)state;
    struct sample first = sample_of("p", 100, 30), second = sample_of("p", 50, 20);
    for (size_t i = 0; i < second.count; i++)
        second.items[i].version += 100000;
    first.highest = (uint64_t)clock_ns(CLOCK_REALTIME);
    write_two_cuts(&first, &second);
    struct content content = read_all();
    content.bytes[content.len - 100] ^= 4;
    write_all(content.bytes, content.len);
    tks_store *store = open_store("1M");
    const struct header *header = segment_of(store)->header;
    char kept[128];
    assert_int_equal(files_like(".damaged-*", kept), 1);
    if (!strstr(tks_last_error(), "damaged") || !strstr(tks_last_error(), kept + strlen(path)))
        fail_msg("no warning: \"%s\"", tks_last_error());
    assert_int_equal(header->restored_damaged, 1);
    assert_non_null(strstr(header->restored_text, kept + strlen(path)));
    assert_int_equal(header->restored_entries, 100);
    audit(store, &first, 0);
    verify(store, &first);
    /* What may have been given out since is not known. */
    assert_true(first_version(store) >= first.highest + UNCERTAIN_MARGIN);
    assert_int_equal(tks_store_checkpoint(store), TKS_OK);
    assert_int_equal(rename(kept, path), 0);
    struct content now = read_all();
    assert_int_equal(now.len, content.len);
    assert_memory_equal(now.bytes, content.bytes, now.len);
    free(now.bytes);
    free(content.bytes);
    end_store(store);
    drop(&first);
    drop(&second);
}

static void a_damaged_file_that_nobody_replaces_is_kept_once(void **state)
{
    (void)state;
    const struct tks_options passive = {.size = sizeof(passive), .flags = TKS_OPEN_PASSIVE};
    struct sample first = sample_of("p", 100, 30), second = sample_of("p", 50, 20);
    char uri[256];
    write_two_cuts(&first, &second);
    struct content content = read_all();
    content.bytes[content.len - 100] ^= 4;
    write_all(content.bytes, content.len);
    snprintf(uri, sizeof(uri), "shm://%s?size=1M&checkpoint=%s", name, path);
    for (unsigned i = 0; i < 3; i++) {
        tks_store *store;
        assert_int_equal(tks_store_open(uri, &passive, &store), TKS_OK);
        assert_int_equal(segment_of(store)->header->restored_damaged, 1);
        assert_int_equal(files_like(".damaged-*", NULL), 1);
        end_store(store);
    }
    free(content.bytes);
    drop(&first);
    drop(&second);
}

static void the_tail_of_a_crash_is_no_damage(void **state)
{
    (void)state;
    struct sample first = sample_of("p", 100, 30), second = sample_of("p", 50, 20);
    write_two_cuts(&first, &second);
    struct content content = read_all();
    write_file(&first);
    struct content image = read_all();
    /* The mark of the image, the batches of both, cut short. */
    memcpy(content.bytes + 512, image.bytes + 512, 512);
    write_two_cuts(&first, &second);
    struct content again = read_all();
    memcpy(again.bytes + 520, "\0\0\0\0\0\0\0", 8);
    write_all(again.bytes, again.len - 50);
    free(content.bytes);
    free(image.bytes);
    free(again.bytes);
    tks_store *store = open_store("1M");
    assert_string_equal(tks_last_error(), "");
    assert_int_equal(segment_of(store)->header->restored_damaged, 0);
    assert_int_equal(files_like(".damaged-*", NULL), 0);
    audit(store, &first, 0);
    verify(store, &first);
    end_store(store);
    drop(&first);
    drop(&second);
}

static void a_damaged_file_that_cannot_be_kept_is_no_failure(void **state)
{
    (void)state;
    struct sample first = sample_of("p", 10, 30), second = sample_of("p", 5, 20);
    write_two_cuts(&first, &second);
    struct content content = read_all();
    content.bytes[content.len - 100] ^= 4;
    write_all(content.bytes, content.len);
    free(content.bytes);
    /* Its name leaves no room for the other's. */
    char full[400], uri[700];
    snprintf(full, sizeof(full), "%s/", folder);
    size_t len = strlen(full);
    memset(full + len, 'n', 250);
    full[len + 250] = 0;
    assert_int_equal(rename(path, full), 0);
    tks_store *store;
    snprintf(uri, sizeof(uri), "shm://%s?size=1M&checkpoint=%s" NOBODY_CUTS, name, full);
    assert_int_equal(tks_store_open(uri, NULL, &store), TKS_OK);
    assert_non_null(strstr(tks_last_error(), "could not be kept"));
    verify(store, &first);
    end_store(store);
    drop(&first);
    drop(&second);
}

/* ---- Space --------------------------------------------------------------------------------- */

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct sample sample = sample_of("p", 2000, 1000);
    write_file(&sample);
    refused("1M", TKS_NO_SPACE);
    restores(&sample, "8M");
    drop(&sample);
    /* By a little: the entries would fit, what must be there beside them does not. */
    sample = sample_of("p", 0, 0);
    char key[32];
    for (unsigned i = 0; i < 900; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        add(&sample, "p", key, TKS_TYPE_BYTES, NULL, 960);
    }
    write_file(&sample);
    refused("1M", TKS_NO_SPACE);
    drop(&sample);
}

static int keep_record(void *arg, const struct tks_record *record)
{
    struct item *item =
        add(arg, record->plugin, record->key, record->type, record->value, record->value_len);
    item->version = record->version;
    item->expires_at = record->expires_at;
    return 0;
}

/* A store that is full to the brim fits into a segment of its size. */
static void a_full_store_comes_back_in_its_size(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 8, 64, 200, 1500};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        static const char value[1500];
        struct sample sample = {0};
        tks_store *store = open_plain("4M");
        tks_state *p = open_state(store, "p");
        char key[32];
        int status = TKS_OK;
        for (unsigned k = 0; !status; k++) {
            snprintf(key, sizeof(key), "key-%u", k);
            status = tks_set(p, key, value, lens[i]);
        }
        assert_int_equal(status, TKS_NO_SPACE);
        tks_state_close(p);
        assert_int_equal(tks_store_export(store, NULL, keep_record, &sample), TKS_OK);
        end_store(store);
        write_file(&sample);
        store = open_store("4M");
        audit(store, &sample, UINT32_MAX);
        verify(store, &sample);
        p = open_state(store, "p");
        assert_int_equal(tks_delete(p, "key-1"), TKS_OK);
        assert_int_equal(tks_set(p, "key-1", value, lens[i]), TKS_OK);
        tks_state_close(p);
        end_store(store);
        drop(&sample);
    }
}

/* ---- Who wins ------------------------------------------------------------------------------ */

static void a_segment_wins_over_the_file(void **state)
{
    (void)state;
    struct sample sample = sample_of("p", 10, 10);
    tks_store *plain = open_plain("1M");
    tks_state *p = open_state(plain, "p");
    assert_int_equal(tks_set(p, "mine", "x", 1), TKS_OK);
    write_file(&sample);
    tks_store *store = open_store("1M");
    assert_int_equal(segment_of(store)->header->restored_ms, 0);
    assert_int_equal(tks_has(p, "mine"), 1);
    assert_int_equal(tks_has(p, "key-1"), 0);
    tks_store_close(store);
    /* Nor does it matter what it is. */
    write_all("", 0);
    store = open_store("1M");
    tks_state_close(p);
    tks_store_close(plain);
    end_store(store);
    drop(&sample);
}

static void attaching_only_restores_nothing(void **state)
{
    (void)state;
    struct sample sample = sample_of("p", 10, 10);
    const struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_EXISTING};
    char uri[256];
    tks_store *store;
    write_file(&sample);
    snprintf(uri, sizeof(uri), "shm://%s?checkpoint=%s", name, path);
    assert_int_equal(tks_store_open(uri, &options, &store), TKS_NOT_FOUND);
    assert_false(exists(segment_path));
    drop(&sample);
}

/* A file that is replaced while it is loaded has not been the last word. */
struct replacing {
    char other[128];
    useconds_t delay;
    int done;
};

static void *replace(void *arg)
{
    struct replacing *replacing = arg;
    usleep(replacing->delay);
    assert_int_equal(rename(replacing->other, path), 0);
    __atomic_store_n(&replacing->done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void a_file_that_changes_is_read_again(void **state)
{
    (void)state;
    struct sample old = sample_of("p", MANY_KEYS, 64), new = sample_of("new", 3, 8);
    unsigned in_time = 0, fresh = 0;
    for (unsigned i = 0; i < 6; i++) {
        struct replacing replacing = {.delay = 3000 * (i + 1)};
        pthread_t thread;
        int64_t seen;
        write_file(&new);
        snprintf(replacing.other, sizeof(replacing.other), "%s.other", path);
        assert_int_equal(rename(path, replacing.other), 0);
        write_file(&old);
        assert_int_equal(pthread_create(&thread, NULL, replace, &replacing), 0);
        tks_store *store = open_store("64M");
        bool early = __atomic_load_n(&replacing.done, __ATOMIC_SEQ_CST);
        seen = (int64_t)segment_of(store)->header->restored_entries;
        pthread_join(thread, NULL);
        in_time += early;
        fresh += early && seen == 3;
        end_store(store);
    }
    /* It may come after the last look. */
    if (in_time > 2)
        assert_in_range(fresh, in_time / 2, in_time);
    drop(&old);
    drop(&new);
}

/* ---- Processes ----------------------------------------------------------------------------- */

/* In a child: cmocka's assertions belong to the parent. */
static void open_in_child(const struct sample *sample)
{
    tks_store *store;
    struct tks_check check = {.size = sizeof(check)};
    if (try_open("64M", &store))
        _exit(2);
    if (segment_of(store)->header->restored_entries != sample->count)
        _exit(3);
    if (tks_store_check(store, &check) || check.leaked_blocks || check.keys != sample->count)
        _exit(4);
    _exit(0);
}

static void a_killed_creator_leaves_nothing(void **state)
{
    (void)state;
    struct sample sample = sample_of("p", MANY_KEYS / 4, 64);
    unsigned before = 0, after = 0;
    write_file(&sample);
    struct content content = read_all();
    const int64_t began = clock_ns(CLOCK_MONOTONIC);
    tks_store *first = open_store("64M");
    const int64_t lasts_us = (clock_ns(CLOCK_MONOTONIC) - began) / 1000;
    end_store(first);
    write_all(content.bytes, content.len);
    for (unsigned i = 0; i < 40; i++) {
        pid_t child = fork();
        if (!child)
            open_in_child(&sample);
        usleep((useconds_t)(lasts_us * i / 30));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        bool made = exists(segment_path);
        before += !made;
        after += made;
        if (i % 4 == 0 || made) {
            tks_store *store = open_store("64M");
            assert_int_equal(segment_of(store)->header->restored_entries, sample.count);
            sound(store, sample.count);
            if (i % 8 == 0)
                verify(store, &sample);
            end_store(store);
            write_all(content.bytes, content.len);
        }
    }
    print_message("killed before the segment had its name: %u, after: %u\n", before, after);
    assert_true(before > 0);
    free(content.bytes);
    drop(&sample);
}

static void racing_creators_get_one_segment(void **state)
{
    (void)state;
    enum { CREATORS = 4, ROUNDS = 8 };
    struct sample sample = sample_of("p", MANY_KEYS / 20, 64);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t children[CREATORS];
        write_file(&sample);
        for (unsigned i = 0; i < CREATORS; i++) {
            children[i] = fork();
            if (!children[i])
                open_in_child(&sample);
        }
        for (unsigned i = 0; i < CREATORS; i++) {
            int status = -1;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        tks_store *store = open_store("64M");
        audit(store, &sample, 0);
        verify(store, &sample);
        end_store(store);
    }
    drop(&sample);
}

/* NULL: all of it is there. */
static void *open_in_thread(void *arg)
{
    const struct sample *sample = arg;
    tks_store *store;
    if (try_open("64M", &store))
        return arg;
    bool whole = segment_of(store)->header->restored_entries == sample->count;
    tks_state *state;
    if (tks_state_open(store, "p", &state))
        whole = false;
    else
        whole = whole && tks_has(state, "key-1") == 1;
    tks_state_close(state);
    tks_store_close(store);
    return whole ? NULL : arg;
}

/* Threads that open at once, and children forked while they do, which open theirs. */
static void threads_and_children_open_at_once(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct sample sample = sample_of("p", MANY_KEYS / 4, 64);
    for (unsigned round = 0; round < 4; round++) {
        pthread_t threads[THREADS];
        void *problem;
        int status = 0;
        write_file(&sample);
        for (unsigned i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, open_in_thread, &sample), 0);
        usleep(round * 4000);
        pid_t child = FORKS_WITH_THREADS ? fork() : -1;
        if (!child)
            open_in_child(&sample);
        for (unsigned i = 0; i < THREADS; i++) {
            pthread_join(threads[i], &problem);
            assert_null(problem);
        }
        if (FORKS_WITH_THREADS) {
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(status, 0);
        }
        tks_store *store = open_store("64M");
        audit(store, &sample, 0);
        end_store(store);
    }
    drop(&sample);
}

int main(void)
{
#define RESTORE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RESTORE_TEST(every_type_and_expiry_comes_back),
        RESTORE_TEST(deadlines_are_those_of_the_wall_clock),
        RESTORE_TEST(any_number_of_keys_comes_back),
        RESTORE_TEST(many_plugins_come_back),
        RESTORE_TEST(values_of_every_size_come_back),
        RESTORE_TEST(keys_of_one_bucket_become_a_vector),
        RESTORE_TEST(a_crowd_gets_a_level_of_its_own),
        RESTORE_TEST(a_restored_store_is_like_any_other),
        RESTORE_TEST(generations_follow_each_other),
        RESTORE_TEST(versions_go_on_when_the_clock_was_set_back),
        RESTORE_TEST(a_file_that_cannot_be_loaded_is_refused),
        RESTORE_TEST(what_is_no_file_is_refused),
        RESTORE_TEST(a_lost_cut_is_a_warning_and_the_file_is_kept),
        RESTORE_TEST(a_damaged_file_that_nobody_replaces_is_kept_once),
        RESTORE_TEST(the_tail_of_a_crash_is_no_damage),
        RESTORE_TEST(a_damaged_file_that_cannot_be_kept_is_no_failure),
        RESTORE_TEST(what_does_not_fit_is_refused),
        RESTORE_TEST(a_full_store_comes_back_in_its_size),
        RESTORE_TEST(a_segment_wins_over_the_file),
        RESTORE_TEST(attaching_only_restores_nothing),
        RESTORE_TEST(a_file_that_changes_is_read_again),
        RESTORE_TEST(a_killed_creator_leaves_nothing),
        RESTORE_TEST(racing_creators_get_one_segment),
        RESTORE_TEST(threads_and_children_open_at_once),
    };
    return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}

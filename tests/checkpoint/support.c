/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "base/hash.h"

#include <time.h>

const struct tks_checkpoint_identity test_identity = {
    {0x1122334455667788, 0x99aabbccddeeff00}, 7, 0};

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t limit)
{
    return random_next(state) % limit;
}

uint64_t test_seed(void)
{
    static uint64_t seed;
    if (!seed) {
        const char *text = getenv("TKS_TEST_SEED");
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = text ? strtoull(text, NULL, 10) : (uint64_t)now.tv_nsec / 1000 + 1;
        print_message("TKS_TEST_SEED=%llu\n", (unsigned long long)seed);
    }
    return seed;
}

bool always_host(void *arg)
{
    (void)arg;
    return true;
}

/* ---- The world ----------------------------------------------------------------------------- */

static const char *const plugins[WORLD_PLUGINS] = {"alpha", "beta-longer-name", "g",
                                                   "d\xc3\xa9lta"};

struct names {
    char key[WORLD_KEYS][TKS_NAME_MAX + 1];
    uint64_t hash[WORLD_KEYS];
};

/* Keys in ascending order of their hash, so that an index is a place in a walk. */
static const struct names *names(void)
{
    static struct names made;
    if (made.key[0][0])
        return &made;
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        char key[TKS_NAME_MAX + 1];
        int len = snprintf(key, sizeof(key), "key-%u", i);
        if (i % 16 == 5) { /* as long as a key may be */
            memset(key + len, 'k', sizeof(key) - 1 - (size_t)len);
            len = TKS_NAME_MAX;
            key[len] = 0;
        }
        uint64_t hash = hash_of(key, (size_t)len);
        unsigned at = i;
        for (; at && made.hash[at - 1] > hash; at--) {
            made.hash[at] = made.hash[at - 1];
            memcpy(made.key[at], made.key[at - 1], sizeof(key));
        }
        made.hash[at] = hash;
        memcpy(made.key[at], key, sizeof(key));
    }
    return &made;
}

uint64_t world_hash(unsigned index)
{
    return names()->hash[index % WORLD_KEYS];
}

void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->random = seed;
    world->next_version = 1000;
    world->value_max = 200;
}

void world_free(struct world *world)
{
    free(world->history);
    world->history = NULL;
}

void world_change(struct world *world, unsigned changes)
{
    while (changes--) {
        unsigned index = (unsigned)random_below(&world->random, WORLD_ENTRIES);
        bool gone = random_below(&world->random, 4) == 0;
        world->now.version[index] = gone ? 0 : world->next_version++;
        world->dirty[index] = true;
    }
}

/* The value that a version stands for. */
static size_t make_value(const struct world *world, uint64_t version, uint32_t type,
                         unsigned char *to)
{
    uint64_t random = version;
    int64_t integer = (int64_t)random_next(&random);
    double real = (double)integer;
    switch (type) {
    case TKS_TYPE_I64:
        memcpy(to, &integer, 8);
        return 8;
    case TKS_TYPE_F64:
        memcpy(to, &real, 8);
        return 8;
    case TKS_TYPE_BOOL:
        to[0] = version & 1;
        return 1;
    case TKS_TYPE_STRING:
        return (size_t)sprintf((char *)to, "text \xe2\x82\xac %llu", (unsigned long long)version);
    case TKS_TYPE_JSON:
        return (size_t)sprintf((char *)to, "[%llu]", (unsigned long long)version);
    default:
        break;
    }
    size_t len = version % 7 == 0 ? 0 : (size_t)random_below(&random, world->value_max + 1);
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)(version + i);
    return len;
}

void world_record(const struct world *world, unsigned index, uint64_t version, unsigned char *value,
                  struct tks_record *record)
{
    const char *key = names()->key[index % WORLD_KEYS];
    const char *plugin = plugins[index / WORLD_KEYS];
    *record = (struct tks_record){.size = sizeof(*record),
                                  .type = (uint32_t)(version % 11 % 6),
                                  .plugin = plugin,
                                  .plugin_len = strlen(plugin),
                                  .key = key,
                                  .key_len = strlen(key),
                                  .value = value,
                                  .version = version,
                                  .expires_at = version % 3 ? 0 : (int64_t)version};
    record->value_len = make_value(world, version, record->type, value);
}

struct tks_cut_info world_cut(struct world *world)
{
    world->history = realloc(world->history, (world->cuts + 1) * sizeof(*world->history));
    assert_non_null(world->history);
    world->history[world->cuts++] = world->now;
    return (struct tks_cut_info){.highest_version = world->next_version - 1,
                                 .wall_ms = (int64_t)(5000 + world->cuts),
                                 .stamp = world->cuts};
}

static int write_entries(const struct world *world, uint64_t stamp, struct tks_writer *writer,
                         unsigned plugin, uint64_t first, uint64_t last)
{
    static _Thread_local unsigned char value[WORLD_VALUE_MAX];
    struct tks_record record;
    for (unsigned i = plugin * WORLD_KEYS; i < (plugin + 1) * WORLD_KEYS; i++) {
        uint64_t version = world->history[stamp - 1].version[i];
        if (!version || world_hash(i) < first || world_hash(i) > last)
            continue;
        world_record(world, i, version, value, &record);
        int status = tks_cut_entry(writer, &record);
        if (status)
            return status;
    }
    return TKS_OK;
}

static int write_range(struct world *world, uint64_t stamp, struct tks_writer *writer,
                       unsigned index)
{
    /* Any prefix: mostly long ones, now and then all there is. */
    unsigned bits = (unsigned)random_below(&world->random, 65);
    uint64_t mask = bits == 64 ? 0 : UINT64_MAX >> bits;
    uint64_t first = world_hash(index) & ~mask, last = first | mask;
    unsigned plugin = index / WORLD_KEYS;
    int status = tks_cut_range(writer, plugins[plugin], strlen(plugins[plugin]), first, last);
    return status ? status : write_entries(world, stamp, writer, plugin, first, last);
}

int world_write(struct world *world, struct tks_writer *writer, bool full, bool *dirty)
{
    uint64_t stamp = world->cuts; /* others may cut while a file operation is under way */
    int status = tks_cut_begin(writer, full);
    for (unsigned plugin = 0; full && !status && plugin < WORLD_PLUGINS; plugin++)
        status = write_entries(world, stamp, writer, plugin, 0, UINT64_MAX);
    for (unsigned i = 0; !status && i < WORLD_ENTRIES; i++) {
        bool marked = dirty[i];
        dirty[i] = false;
        if (marked && !full)
            status = write_range(world, stamp, writer, i);
    }
    return status;
}

int world_checkpoint(struct world *world, struct tks_writer *writer, bool full)
{
    struct tks_cut_info info = world_cut(world);
    bool dirty[WORLD_ENTRIES];
    memcpy(dirty, world->dirty, sizeof(dirty));
    int status = world_write(world, writer, full, world->dirty);
    if (!status)
        status = tks_cut_commit(writer, &info);
    if (status)
        memcpy(world->dirty, dirty, sizeof(dirty));
    return status;
}

/* ---- Comparing ----------------------------------------------------------------------------- */

struct comparing {
    const struct world *world;
    const struct state *expected;
    struct state seen;
    uint64_t entries, last_hash;
    unsigned plugin;
    bool plugin_done[WORLD_PLUGINS];
};

static unsigned index_of(const struct tks_record *record)
{
    for (unsigned i = 0; i < WORLD_ENTRIES; i++)
        if (record->plugin_len == strlen(plugins[i / WORLD_KEYS]) &&
            !memcmp(record->plugin, plugins[i / WORLD_KEYS], record->plugin_len + 1) &&
            record->key_len == strlen(names()->key[i % WORLD_KEYS]) &&
            !memcmp(record->key, names()->key[i % WORLD_KEYS], record->key_len + 1))
            return i;
    fail_msg("a key that was never written: %s/%s", record->plugin, record->key);
    return 0;
}

static int compare_entry(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct comparing *comparing = arg;
    static _Thread_local unsigned char value[WORLD_VALUE_MAX];
    struct tks_record expected;
    unsigned index = index_of(record), plugin = index / WORLD_KEYS;
    assert_int_equal(record->size, sizeof(*record));
    assert_true(hash == world_hash(index));
    if (comparing->entries++ && plugin == comparing->plugin)
        assert_true(hash > comparing->last_hash); /* also: once */
    else
        assert_false(comparing->plugin_done[plugin]);
    comparing->plugin = plugin;
    comparing->plugin_done[plugin] = true;
    comparing->last_hash = hash;
    comparing->seen.version[index] = record->version;
    world_record(comparing->world, index, record->version, value, &expected);
    assert_int_equal(record->type, expected.type);
    assert_int_equal(record->expires_at, expected.expires_at);
    assert_int_equal(record->value_len, expected.value_len);
    assert_memory_equal(record->value, expected.value, expected.value_len);
    return 0;
}

uint64_t world_check(const struct world *world, const struct tks_loaded *loaded)
{
    const struct tks_checkpoint_info *info = tks_loaded_info(loaded);
    assert_in_range(info->stamp, 1, world->cuts);
    struct comparing comparing = {.world = world, .expected = &world->history[info->stamp - 1]};
    assert_int_equal(tks_loaded_each(loaded, compare_entry, &comparing), 0);
    assert_memory_equal(&comparing.seen, comparing.expected, sizeof(comparing.seen));
    assert_int_equal(info->entries, comparing.entries);
    assert_int_equal(info->wall_ms, 5000 + info->stamp);
    for (unsigned i = 0; i < WORLD_ENTRIES; i++)
        assert_true(comparing.seen.version[i] <= info->highest_version);
    return info->stamp;
}

uint64_t world_load(const struct world *world, const struct tks_file_ops *ops, const char *path,
                    struct tks_checkpoint_info *info)
{
    struct tks_loaded *loaded;
    int status = tks_checkpoint_load(ops, path, &loaded);
    if (status == TKS_NOT_FOUND)
        return 0;
    if (status)
        fail_msg("loading: %s", tks_last_error());
    uint64_t stamp = world_check(world, loaded);
    if (info)
        *info = *tks_loaded_info(loaded);
    tks_loaded_free(loaded);
    return stamp;
}

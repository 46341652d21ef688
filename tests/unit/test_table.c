/* SPDX-License-Identifier: MIT */
/* table/: registry, growth of an index, walks, and what a snapshot sees. */
#include "unit.h"

#include "base/process.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "recovery/recover.h"
#include "store/shm.h"
#include "table/changes.h"
#include "table/node.h"
#include "table/registry.h"
#include "table/snapshot.h"
#include "table/walk.h"

#include <tickstate/tickstate.h>

#include <unistd.h>

#define SEGMENT_BYTES (16u << 20)
#define MANY 20000

struct table {
    struct tks_segment *segment;
    struct tks_member *member;
    tks_store *store;
    tks_state *state;
    struct plugin *plugin;
};

static int open_table(void **state)
{
    struct table *table = calloc(1, sizeof(*table));
    char uri[128];
    table->segment = unit_open(SEGMENT_BYTES, 16);
    assert_int_equal(tks_member_join(table->segment, SLOT_STATE, &table->member), TKS_OK);
    snprintf(uri, sizeof(uri), "shm://%s", unit_name());
    assert_int_equal(tks_store_open(uri, NULL, &table->store), TKS_OK);
    assert_int_equal(tks_state_open(table->store, "plugin", &table->state), TKS_OK);
    table->plugin = ((struct shm_state *)(void *)table->state)->session.plugin;
    *state = table;
    return 0;
}

static int close_table(void **state)
{
    struct table *table = *state;
    struct tks_check check = {.size = sizeof(check)};
    tks_state_close(table->state);
    assert_int_equal(tks_store_check(table->store, &check), TKS_OK);
    assert_int_equal(check.leaked_blocks, 0);
    tks_store_close(table->store);
    tks_member_leave(table->member);
    unit_release(table->segment);
    unit_remove();
    free(table);
    return 0;
}

static void key_of(unsigned i, char key[24])
{
    snprintf(key, 24, "key-%u", i);
}

static void set(struct table *table, unsigned i, unsigned value)
{
    char key[24];
    key_of(i, key);
    assert_int_equal(tks_set(table->state, key, &value, sizeof(value)), TKS_OK);
}

static void expect(struct table *table, unsigned i, unsigned expected)
{
    char key[24];
    unsigned value = 0;
    size_t len;
    key_of(i, key);
    assert_int_equal(tks_get(table->state, key, &value, sizeof(value), &len), TKS_OK);
    assert_int_equal(value, expected);
}

/* ---- Registry ------------------------------------------------------------------------------ */

static uint64_t find_or_make(struct table *table, const char *name, size_t len)
{
    uint64_t granule;
    for (int i = 0; i < 10; i++) {
        int status = tks_registry_find(table->member, name, len, true, &granule);
        if (!status)
            return granule;
        assert_int_equal(status, BLOCK_SLOW);
        assert_int_equal(tks_block_refill(table->member, table->member->wanted, false), TKS_OK);
    }
    fail();
    return 0;
}

static void a_plugin_is_found_only_after_it_was_made(void **state)
{
    struct table *table = *state;
    uint64_t granule, made;
    assert_int_equal(tks_registry_find(table->member, "alpha", 5, false, &granule), TKS_NOT_FOUND);
    made = find_or_make(table, "alpha", 5);
    assert_int_equal(tks_registry_find(table->member, "alpha", 5, false, &granule), TKS_OK);
    assert_int_equal(granule, made);
    assert_int_equal(find_or_make(table, "alpha", 5), made);
    assert_true(tks_registry_names(table->segment, made));
    assert_false(tks_registry_names(table->segment, made + 1));
    assert_int_equal(tks_registry_find(table->member, "alph", 4, false, &granule), TKS_NOT_FOUND);
    assert_int_equal(tks_registry_find(table->member, "alphb", 5, false, &granule), TKS_NOT_FOUND);
}

static void a_descriptor_keeps_its_whole_name(void **state)
{
    struct table *table = *state;
    char name[256], got[256];
    for (size_t len = 1; len <= TKS_NAME_MAX; len++) {
        memset(name, 'a' + (int)(len % 26), len);
        struct plugin *plugin = tks_registry_plugin(table->segment, find_or_make(table, name, len));
        assert_non_null(plugin);
        assert_int_equal(tks_registry_name(plugin, got), len);
        assert_memory_equal(got, name, len);
        assert_int_equal(got[len], 0);
    }
}

static int count_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    char name[256];
    unsigned *seen = arg;
    (void)granule;
    tks_registry_name(plugin, name);
    if (name[0] == 'n')
        seen[atoi(name + 1)]++;
    return 0;
}

static int stop_with_seven(void *arg, struct plugin *plugin, uint64_t granule)
{
    (void)plugin;
    (void)granule;
    ++*(unsigned *)arg;
    return 7;
}

static void each_visits_every_plugin_once(void **state)
{
    struct table *table = *state;
    unsigned seen[1000] = {0}, visits = 0;
    for (int i = 0; i < 1000; i++) {
        char name[16];
        find_or_make(table, name, (size_t)snprintf(name, sizeof(name), "n%d", i));
    }
    assert_int_equal(tks_registry_each(table->segment, count_plugin, seen), TKS_OK);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(tks_registry_each(table->segment, stop_with_seven, &visits), 7);
    assert_int_equal(visits, 1);
}

static void a_chain_that_bites_its_tail_is_corrupt(void **state)
{
    struct table *table = *state;
    uint64_t granule = find_or_make(table, "loop", 4), other;
    struct plugin *plugin = tks_registry_plugin(table->segment, granule);
    uint64_t next = plugin->next;
    unsigned seen[1] = {0};
    plugin->next = granule;
    assert_int_equal(tks_registry_each(table->segment, count_plugin, seen), TKS_CORRUPT);
    char name[256];
    /* A name of the same bucket that is not there. */
    for (unsigned i = 0;; i++) {
        size_t len = (size_t)snprintf(name, sizeof(name), "m%u", i);
        if (hash_of(name, len) % REGISTRY_BUCKETS != plugin->hash % REGISTRY_BUCKETS)
            continue;
        assert_int_equal(tks_registry_find(table->member, name, len, false, &other), TKS_CORRUPT);
        break;
    }
    plugin->next = next;
}

/* ---- Growth -------------------------------------------------------------------------------- */

static void growth_keeps_every_key(void **state)
{
    struct table *table = *state;
    assert_int_equal(table->plugin->base, 0);
    for (unsigned i = 0; i < MANY; i++) {
        set(table, i, i);
        /* What is there stays there, at every stage of a move. */
        expect(table, i / 2, i / 2);
        expect(table, i * 7919u % (i + 1), i * 7919u % (i + 1));
    }
    assert_true(table->plugin->base > 2);
    for (unsigned i = 0; i < MANY; i++)
        expect(table, i, i);
}

static void deletions_while_growing_stay_deleted(void **state)
{
    struct table *table = *state;
    char key[24];
    for (unsigned i = 0; i < MANY; i++) {
        set(table, i, i);
        if (i % 3 == 2) {
            key_of(i - 1, key);
            assert_int_equal(tks_delete(table->state, key), TKS_OK);
        }
    }
    for (unsigned i = 0; i < MANY; i++) {
        key_of(i, key);
        assert_int_equal(tks_has(table->state, key), i % 3 != 1 || i + 1 == MANY);
    }
}

static void levels_below_base_are_taken_apart(void **state)
{
    struct table *table = *state;
    for (unsigned i = 0; i < MANY; i++)
        set(table, i, i);
    uint64_t base = table->plugin->base;
    assert_true(base > 2);
    for (uint64_t level = 1; level + 1 < base; level++)
        assert_true(table->plugin->level[level] == LEVEL_GONE);
}

static void a_bucket_splits_into_neighbours_of_the_next_level(void **unused)
{
    (void)unused;
    for (unsigned level = 0; level + 1 < LEVELS; level++) {
        uint64_t buckets = 1ull << level_bits(level), bucket = buckets * 2 / 3;
        assert_true(bucket_hash(level, bucket) == bucket_hash(level + 1, 2 * bucket));
        assert_true(bucket_hash(level + 1, 2 * bucket + 1) > bucket_hash(level, bucket));
        assert_true(bucket_hash(level + 1, 2 * bucket + 1) < bucket_hash(level, bucket + 1));
    }
}

/* ---- Walks --------------------------------------------------------------------------------- */

/* Walk the plugin; *seen counts key-N, and what is @p values is checked to be its value. */
static int walk(struct table *table, const struct tks_snapshot *snapshot, size_t enough,
                unsigned *seen, unsigned *values)
{
    struct tks_walk walk = {.member = table->member,
                            .plugin = table->plugin,
                            .snapshot = snapshot,
                            .values = values != NULL};
    struct tks_batch batch = {0};
    int status = TKS_OK;
    while (!status && !walk.ended) {
        size_t offset = 0;
        batch.used = 0;
        status = tks_walk_next(&walk, &batch, enough);
        for (const struct tks_item *item;
             !status && (item = tks_batch_next(&batch, &offset, values != NULL));) {
            unsigned i = (unsigned)atoi(item_key(item) + 4);
            seen[i]++;
            if (values)
                memcpy(&values[i], item_value(item), sizeof(values[i]));
        }
    }
    free(batch.bytes);
    return status;
}

static void a_walk_visits_each_key_once(void **state)
{
    struct table *table = *state;
    static unsigned seen[MANY], values[MANY];
    const size_t enough[] = {1, 100, 4096, 1u << 20};
    unsigned keys = 0;
    for (unsigned target = 1; target <= MANY; target *= 5) {
        while (keys < target) {
            set(table, keys, keys + 9);
            keys++;
        }
        for (size_t i = 0; i < 4; i++) {
            memset(seen, 0, sizeof(seen));
            assert_int_equal(walk(table, NULL, enough[i], seen, values), TKS_OK);
            for (unsigned k = 0; k < MANY; k++) {
                assert_int_equal(seen[k], k < keys);
                if (k < keys)
                    assert_int_equal(values[k], k + 9);
            }
        }
    }
}

struct growing {
    struct table *table;
    unsigned seen[3 * MANY];
    unsigned next;
};

static int insert_while_walking(void *arg, const char *key, size_t len)
{
    struct growing *growing = arg;
    unsigned i = (unsigned)atoi(key + 4);
    assert_int_equal(strlen(key), len);
    growing->seen[i]++;
    if (growing->next < 3 * MANY)
        set(growing->table, growing->next++, 1);
    return 0;
}

static void a_key_that_stays_is_visited_once_while_the_table_grows(void **state)
{
    static struct growing growing;
    memset(&growing, 0, sizeof(growing));
    growing.table = *state;
    growing.next = 1000;
    for (unsigned i = 0; i < 1000; i++)
        set(growing.table, i, i);
    uint64_t base = growing.table->plugin->base;
    while (growing.next < MANY) {
        unsigned before = growing.next;
        memset(growing.seen, 0, sizeof(growing.seen));
        assert_int_equal(tks_keys(growing.table->state, insert_while_walking, &growing), TKS_OK);
        for (unsigned i = 0; i < before; i++)
            assert_int_equal(growing.seen[i], 1);
        for (unsigned i = before; i < growing.next; i++)
            assert_true(growing.seen[i] <= 1);
    }
    assert_true(growing.table->plugin->base > base);
}

/* ---- Snapshots ----------------------------------------------------------------------------- */

/* A block of the member's own that looks like a node of @p stamp with @p link. */
static uint64_t make_node(struct table *table, enum pin pin, uint64_t stamp, uint64_t link)
{
    uint64_t granule;
    while (tks_block_take(table->member, 64, 0, pin, &granule))
        assert_int_equal(tks_block_refill(table->member, 64, false), TKS_OK);
    uint64_t *node = granule_words(table->segment, granule);
    memset(node, 0, 64);
    node_finish(table->member, node, stamp, link);
    return granule;
}

static void without_a_snapshot_nothing_is_linked(void **state)
{
    struct table *table = *state;
    uint64_t granule = make_node(table, PIN_NEW_ENTRY, 1, 0);
    assert_int_equal(tks_snapshot_link(table->segment, head_word(HEAD_ENTRY, granule, 5)), 0);
    assert_int_equal(tks_snapshot_link(table->segment, head_empty(HEAD_EMPTY, 1)), 0);
    tks_block_discard(table->member, PIN_NEW_ENTRY);
}

static void a_replacement_links_to_what_the_snapshot_needs(void **state)
{
    struct table *table = *state;
    const struct tks_segment *segment = table->segment;
    struct tks_snapshot snapshot;
    assert_int_equal(tks_snapshot_begin(table->member, &snapshot), TKS_OK);
    assert_true(snapshot_held(table->segment, &snapshot));
    const uint64_t stamp = snapshot.stamp;
    assert_int_equal(segment->header->era, stamp + 1);
    uint64_t tag = snapshot_tag(stamp);
    uint64_t granule = make_node(table, PIN_NEW_ENTRY, stamp, 0);
    uint64_t *node = granule_words(segment, granule);
    uint64_t entry = head_word(HEAD_ENTRY, granule, 5), vector = head_word(HEAD_VECTOR, granule, 0);
    /* Published before: link to it. */
    assert_true(tks_snapshot_link(segment, entry) == head_word(HEAD_ENTRY, granule, tag));
    assert_true(tks_snapshot_link(segment, vector) == head_word(HEAD_VECTOR, granule, tag));
    assert_true(tks_snapshot_link(segment, head_empty(HEAD_EMPTY, stamp)) ==
                head_word(HEAD_EMPTY, 0, tag));
    /* Published after: hand on its own link, if that is for this snapshot. */
    node[NODE_STAMP] = stamp + 1;
    assert_int_equal(tks_snapshot_link(segment, entry), 0);
    node[NODE_PREV] = head_word(HEAD_ENTRY, granule + 1, tag);
    assert_true(tks_snapshot_link(segment, entry) == node[NODE_PREV]);
    node[NODE_PREV] = head_word(HEAD_ENTRY, granule + 1, tag ^ 1);
    assert_int_equal(tks_snapshot_link(segment, entry), 0);
    assert_int_equal(tks_snapshot_link(segment, head_empty(HEAD_EMPTY, stamp + 1)), 0);
    tks_snapshot_end(table->member, &snapshot);
    assert_int_equal(segment->header->snapshot, 0);
    assert_false(snapshot_held(table->segment, &snapshot));
    tks_block_discard(table->member, PIN_NEW_ENTRY);
}

static void a_bucket_resolves_to_what_it_was_or_is_lost(void **state)
{
    struct table *table = *state;
    const struct tks_segment *segment = table->segment;
    const uint64_t stamp = 100, tag = snapshot_tag(stamp);
    uint64_t resolved, granule = make_node(table, PIN_NEW_ENTRY, 0, 0);
    uint64_t *node = granule_words(segment, granule);
    uint64_t word = head_word(HEAD_ENTRY, granule, 5);
#define RESOLVE(what) snapshot_resolve(segment, what, stamp, &resolved)
    assert_int_equal(RESOLVE(head_empty(HEAD_EMPTY_NEW, 1)), RESOLVED_UNSETTLED);
    assert_int_equal(RESOLVE(head_empty(HEAD_EMPTY, stamp)), RESOLVED_NOTHING);
    assert_int_equal(RESOLVE(head_empty(HEAD_EMPTY, stamp + 1)), RESOLVED_LOST);
    assert_int_equal(RESOLVE(word), RESOLVED_UNSETTLED);
    node[NODE_STAMP] = stamp;
    assert_int_equal(RESOLVE(word), RESOLVED_WORD);
    assert_true(resolved == word);
    node[NODE_STAMP] = stamp + 1;
    assert_int_equal(RESOLVE(word), RESOLVED_LOST);
    node[NODE_PREV] = head_word(HEAD_VECTOR, granule + 1, tag);
    assert_int_equal(RESOLVE(word), RESOLVED_WORD);
    assert_true(resolved == node[NODE_PREV]);
    node[NODE_PREV] = head_word(HEAD_EMPTY, 0, tag);
    assert_int_equal(RESOLVE(word), RESOLVED_NOTHING);
    node[NODE_PREV] = head_word(HEAD_VECTOR, granule + 1, tag + 1);
    assert_int_equal(RESOLVE(word), RESOLVED_LOST);
    assert_int_equal(RESOLVE(head_word(HEAD_ENTRY, 0, 5)), RESOLVED_LOST);
    assert_int_equal(RESOLVE((uint64_t)HEAD_DONE), RESOLVED_LOST);
#undef RESOLVE
    tks_block_discard(table->member, PIN_NEW_ENTRY);
}

static void a_stamp_is_settled_once(void **state)
{
    struct table *table = *state;
    uint64_t granule = make_node(table, PIN_NEW_ENTRY, 0, 0);
    uint64_t *node = granule_words(table->segment, granule), era = table->segment->header->era;
    struct plugin *plugin = table->plugin;
    assert_int_equal(node_settle(table->segment, plugin, plugin->marks, node), era);
    assert_int_equal(plugin->marks[0], era);
    assert_int_equal(plugin->changed, era);
    fetch_add(&table->segment->header->era, 1);
    assert_int_equal(node_settle(table->segment, plugin, plugin->marks, node), era);
    assert_int_equal(plugin->marks[0], era);
    tks_block_discard(table->member, PIN_NEW_ENTRY);
}

static void a_snapshot_sees_what_was_there_when_it_began(void **state)
{
    struct table *table = *state;
    enum { KEYS = 600 };
    static unsigned seen[4 * KEYS], values[4 * KEYS];
    struct tks_snapshot snapshot;
    char key[24];
    for (unsigned i = 0; i < KEYS; i++)
        set(table, i, i);
    for (unsigned i = 0; i < KEYS; i += 5) {
        key_of(i, key);
        tks_delete(table->state, key);
    }
    for (int round = 0; round < 3; round++) {
        assert_int_equal(tks_snapshot_begin(table->member, &snapshot), TKS_OK);
        /* Overwritten, deleted, made again, and new: several times over, with much reuse. */
        for (unsigned n = 1; n <= 5; n++) {
            for (unsigned i = 0; i < 4 * KEYS; i++) {
                key_of(i, key);
                if ((i + n) % 3 == 0)
                    assert_int_equal(tks_delete(table->state, key), TKS_OK);
                else
                    set(table, i, 100000 * n + i);
            }
        }
        memset(seen, 0, sizeof(seen));
        assert_int_equal(walk(table, &snapshot, 4096, seen, values), TKS_OK);
        for (unsigned i = 0; i < 4 * KEYS; i++) {
            bool was = i < KEYS && i % 5;
            assert_int_equal(seen[i], was);
            if (was)
                assert_int_equal(values[i], i);
        }
        tks_snapshot_end(table->member, &snapshot);
        /* What the snapshot kept goes back; the next one sees the same state again. */
        for (unsigned i = 0; i < 4 * KEYS; i++) {
            key_of(i, key);
            tks_delete(table->state, key);
        }
        for (unsigned i = 0; i < KEYS; i++)
            if (i % 5)
                set(table, i, i);
    }
}

static void a_writer_without_room_gives_the_snapshot_up(void **state)
{
    struct table *table = *state;
    static unsigned seen[2 * MANY];
    static char value[4000];
    struct tks_snapshot snapshot;
    assert_int_equal(tks_set(table->state, "key-0", value, sizeof(value)), TKS_OK);
    assert_int_equal(tks_snapshot_begin(table->member, &snapshot), TKS_OK);
    for (unsigned i = 0; i < 3 * SEGMENT_BYTES / sizeof(value); i++)
        assert_int_equal(tks_set(table->state, "key-0", value, sizeof(value)), TKS_OK);
    /* Overwrites after the first are not in the snapshot: they cost it nothing. */
    assert_true(snapshot_held(table->segment, &snapshot));
    tks_snapshot_end(table->member, &snapshot);
    unsigned keys = 0;
    char key[24];
    for (;; keys++) {
        key_of(keys, key);
        if (tks_set(table->state, key, value, sizeof(value)))
            break;
    }
    assert_true(keys < 2 * MANY);
    assert_int_equal(tks_snapshot_begin(table->member, &snapshot), TKS_OK);
    for (unsigned i = 0; i < keys; i++) {
        key_of(i, key);
        assert_int_equal(tks_delete(table->state, key), TKS_OK);
    }
    /* Tombstones take some of the room. */
    for (unsigned i = 0; i < keys * 3 / 4; i++) {
        key_of(i, key);
        assert_int_equal(tks_set(table->state, key, value, sizeof(value)), TKS_OK);
    }
    assert_false(snapshot_held(table->segment, &snapshot));
    assert_int_equal(walk(table, &snapshot, 4096, seen, NULL), WALK_LOST);
    for (unsigned i = 0; i < keys; i++) {
        key_of(i, key);
        tks_delete(table->state, key);
    }
}

/* ---- Changes ------------------------------------------------------------------------------- */

struct covered {
    struct tks_run runs[20000];
    size_t count;
    double share; /* of all hashes */
};

static void find_changes(struct table *table, uint64_t since, struct covered *covered)
{
    struct tks_changes changes = {.member = table->member, .plugin = table->plugin, .since = since};
    uint64_t next = 0;
    covered->count = 0;
    covered->share = 0;
    while (!changes.ended) {
        struct tks_run run;
        assert_int_equal(tks_changes_next(&changes, &run), TKS_OK);
        if (run.first > run.last)
            continue;
        assert_true(run.first >= next && covered->count < 20000);
        next = run.last;
        covered->runs[covered->count++] = run;
        covered->share += ((double)(run.last - run.first) + 1) / 0x1p64;
    }
}

static bool is_covered(const struct covered *covered, unsigned i)
{
    char key[24];
    key_of(i, key);
    uint64_t hash = hash_of(key, strlen(key));
    for (size_t r = 0; r < covered->count; r++)
        if (hash >= covered->runs[r].first && hash <= covered->runs[r].last)
            return true;
    return false;
}

/* A new era, as a snapshot makes one. */
static uint64_t next_era(struct table *table)
{
    struct tks_snapshot snapshot;
    assert_int_equal(tks_snapshot_begin(table->member, &snapshot), TKS_OK);
    tks_snapshot_end(table->member, &snapshot);
    return snapshot.stamp + 1;
}

static void what_changed_is_found_and_little_else(void **state)
{
    struct table *table = *state;
    static struct covered covered;
    char key[24];
    for (unsigned i = 0; i < MANY; i++)
        set(table, i, i);
    uint64_t since = next_era(table);
    find_changes(table, since, &covered);
    assert_int_equal(covered.count, 0);
    for (unsigned i = 0; i < 100; i++) {
        set(table, i * 7, 1);
        key_of(i * 11 + 5000, key);
        assert_int_equal(tks_delete(table->state, key), TKS_OK);
        assert_int_equal(tks_add_i64(table->state, "counter", 1, NULL), TKS_OK);
    }
    find_changes(table, since, &covered);
    for (unsigned i = 0; i < 100; i++)
        assert_true(is_covered(&covered, i * 7) && is_covered(&covered, i * 11 + 5000));
    assert_true(covered.share < 0.1);
    find_changes(table, next_era(table), &covered);
    assert_int_equal(covered.count, 0);
}

static void changes_move_with_their_buckets(void **state)
{
    struct table *table = *state;
    static struct covered covered;
    for (unsigned round = 0; round < 20; round++) {
        uint64_t since = next_era(table);
        unsigned first = round * 1000;
        for (unsigned i = first; i < first + 1000; i++) {
            set(table, i, i);
            if (i % 100 == 99 || i == first) {
                find_changes(table, since, &covered);
                for (unsigned k = first; k <= i; k++)
                    assert_true(is_covered(&covered, k));
            }
        }
    }
    assert_true(load_relaxed(&table->plugin->base) > 3);
}

#define TABLE_TEST(name) cmocka_unit_test_setup_teardown(name, open_table, close_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE_TEST(a_plugin_is_found_only_after_it_was_made),
        TABLE_TEST(a_descriptor_keeps_its_whole_name),
        TABLE_TEST(each_visits_every_plugin_once),
        TABLE_TEST(a_chain_that_bites_its_tail_is_corrupt),
        TABLE_TEST(growth_keeps_every_key),
        TABLE_TEST(deletions_while_growing_stay_deleted),
        TABLE_TEST(levels_below_base_are_taken_apart),
        cmocka_unit_test(a_bucket_splits_into_neighbours_of_the_next_level),
        TABLE_TEST(a_walk_visits_each_key_once),
        TABLE_TEST(a_key_that_stays_is_visited_once_while_the_table_grows),
        TABLE_TEST(without_a_snapshot_nothing_is_linked),
        TABLE_TEST(a_replacement_links_to_what_the_snapshot_needs),
        TABLE_TEST(a_bucket_resolves_to_what_it_was_or_is_lost),
        TABLE_TEST(a_stamp_is_settled_once),
        TABLE_TEST(a_snapshot_sees_what_was_there_when_it_began),
        TABLE_TEST(a_writer_without_room_gives_the_snapshot_up),
        TABLE_TEST(what_changed_is_found_and_little_else),
        TABLE_TEST(changes_move_with_their_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

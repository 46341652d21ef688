/* SPDX-License-Identifier: MIT */
/*
 * Concurrency Kit's ck_ht: one writer, many readers, one process. Key and value share one
 * allocation; an overwrite publishes a new one and retires the old one by ck_epoch, as readers in
 * other threads would need. A tick is an epoch section. The hash is XXH3, as everywhere here.
 */
#include <ck_epoch.h>
#include <ck_ht.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common.h"
#include "peer.h"

/* How many overwritten nodes wait before the epoch is asked whether they can go. */
#define RETIRED_BATCH 64

struct ck_node {
    ck_epoch_entry_t retired;
    uint32_t value_len;
    uint16_t key_len;
    char bytes[]; /* the value, so that it is aligned, then the key */
};

struct ck_table {
    ck_ht_t table;
    ck_epoch_t epoch;
    ck_epoch_record_t record;
    unsigned retired;
};

static void *ck_table_malloc(size_t size)
{
    return malloc(size);
}

/* Only the writer's own thread reads here, so an outgrown map can go at once. */
static void ck_table_free(void *memory, size_t size, bool defer)
{
    (void)size;
    (void)defer;
    free(memory);
}

static struct ck_malloc ck_table_allocator = {.malloc = ck_table_malloc, .free = ck_table_free};

static void ck_table_hash(ck_ht_hash_t *hash, const void *key, size_t len, uint64_t seed)
{
    (void)seed;
    hash->value = XXH3_64bits(key, len);
}

static void *ck_table_open(const struct peer_config *config)
{
    struct ck_table *table = allocate(sizeof(*table));
    uint64_t capacity = config->grow ? 64 : config->keys * 2;

    ck_epoch_init(&table->epoch);
    ck_epoch_register(&table->epoch, &table->record, NULL);
    if (!ck_ht_init(&table->table, CK_HT_MODE_BYTESTRING, ck_table_hash, &ck_table_allocator,
                    capacity, 0)) {
        die("ck_ht_init failed");
    }
    return table;
}

static void ck_table_close(void *handle)
{
    struct ck_table *table = handle;
    ck_ht_iterator_t iterator = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_entry_t *entry;

    ck_epoch_barrier(&table->record);
    while (ck_ht_next(&table->table, &iterator, &entry)) {
        free(ck_ht_entry_value(entry));
    }
    ck_ht_destroy(&table->table);
    free(table);
}

static int ck_table_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    struct ck_table *table = handle;
    size_t key_len = strlen(key);
    ck_ht_hash_t hash = {XXH3_64bits(key, key_len)};
    const struct ck_node *node;
    ck_ht_entry_t entry;

    ck_ht_entry_key_set(&entry, key, (uint16_t)key_len);
    if (!ck_ht_get_spmc(&table->table, hash, &entry)) {
        return -1;
    }
    node = ck_ht_entry_value(&entry);
    if (node->value_len > cap) {
        return -1;
    }
    memcpy(buf, node->bytes, node->value_len);
    *len = node->value_len;
    return 0;
}

static void ck_node_free(ck_epoch_entry_t *retired)
{
    free(retired); /* the first member */
}

static void ck_node_retire(struct ck_table *table, struct ck_node *node)
{
    ck_epoch_call(&table->record, &node->retired, ck_node_free);
    if (++table->retired >= RETIRED_BATCH) {
        table->retired = 0;
        ck_epoch_poll(&table->record);
    }
}

static int ck_table_set(void *handle, const char *key, const void *value, size_t len)
{
    struct ck_table *table = handle;
    size_t key_len = strlen(key);
    ck_ht_hash_t hash = {XXH3_64bits(key, key_len)};
    struct ck_node *node = malloc(sizeof(*node) + len + key_len);
    ck_ht_entry_t entry;

    if (node == NULL) {
        return -1;
    }
    node->value_len = (uint32_t)len;
    node->key_len = (uint16_t)key_len;
    memcpy(node->bytes, value, len);
    memcpy(node->bytes + len, key, key_len);
    ck_ht_entry_set(&entry, hash, node->bytes + len, (uint16_t)key_len, node);
    if (!ck_ht_set_spmc(&table->table, hash, &entry)) {
        free(node);
        return -1;
    }
    if (!ck_ht_entry_empty(&entry)) {
        ck_node_retire(table, ck_ht_entry_value(&entry));
    }
    return 0;
}

static int ck_table_tick_begin(void *handle)
{
    struct ck_table *table = handle;

    ck_epoch_begin(&table->record, NULL);
    return 0;
}

static int ck_table_tick_end(void *handle)
{
    struct ck_table *table = handle;

    ck_epoch_end(&table->record, NULL);
    return 0;
}

const struct peer peer_ck_ht = {
    .name = "ck_ht",
    .label = "ck_ht + ck_epoch",
    .open = ck_table_open,
    .close = ck_table_close,
    .get = ck_table_get,
    .set = ck_table_set,
    .tick_begin = ck_table_tick_begin,
    .tick_end = ck_table_tick_end,
};

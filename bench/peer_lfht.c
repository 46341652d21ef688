/* SPDX-License-Identifier: MIT */
/*
 * liburcu's cds_lfht with the QSBR flavour, whose reads cost nothing: one process. An overwrite
 * publishes a new node and retires the old one; retired nodes wait for one grace period per batch,
 * which is cheaper than call_rcu and wakes no helper thread.
 */
#define _LGPL_SOURCE
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/rculfhash.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common.h"
#include "peer.h"

#define RETIRED_BATCH 4096
/*
 * Where a growing table starts. liburcu 0.13 marks a resize as begun only after it has queued it: a
 * resize of a small table can end before that, and the mark then stays and stops all later ones.
 */
#define GROW_FROM 16384

struct lfht_node {
    struct cds_lfht_node node;
    uint32_t value_len;
    uint16_t key_len;
    char bytes[]; /* the value, then the key */
};

struct lfht_key {
    const char *bytes;
    size_t len;
};

struct lfht {
    struct cds_lfht *table;
    bool in_tick;
    size_t retired_count;
    struct lfht_node *retired[RETIRED_BATCH];
};

static struct lfht_node *lfht_node_of(struct cds_lfht_node *node)
{
    return (struct lfht_node *)node; /* the first member */
}

static int lfht_match(struct cds_lfht_node *node, const void *wanted)
{
    const struct lfht_node *found = lfht_node_of(node);
    const struct lfht_key *key = wanted;

    return found->key_len == key->len &&
           memcmp(found->bytes + found->value_len, key->bytes, key->len) == 0;
}

/* The table's resize thread must not use the measured CPU. */
static void *lfht_open(const struct peer_config *config)
{
    struct lfht *lfht = allocate(sizeof(*lfht));
    unsigned long buckets = config->grow ? GROW_FROM : 64;
    int flags = config->grow ? CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING : 0;

    while (!config->grow && buckets < config->keys) {
        buckets *= 2;
    }
    urcu_qsbr_register_thread();
    pin_to(options.other_cpu);
    lfht->table = cds_lfht_new_flavor(buckets, 64, 0, flags, &urcu_qsbr_flavor, NULL);
    pin_to(options.cpu);
    if (lfht->table == NULL) {
        die("cds_lfht_new_flavor failed");
    }
    return lfht;
}

static void lfht_reclaim(struct lfht *lfht)
{
    urcu_qsbr_synchronize_rcu();
    for (size_t i = 0; i < lfht->retired_count; i++) {
        free(lfht->retired[i]);
    }
    lfht->retired_count = 0;
}

/*
 * Empty the table in one walk without a quiescent state in between: deletions make the table
 * shrink, and its thread frees the buckets that a walk interrupted by a grace period would go on
 * with.
 */
static void lfht_empty(struct lfht *lfht)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    struct lfht_node **all = NULL;
    size_t count = 0, room = 0;

    cds_lfht_for_each(lfht->table, &iter, node)
    {
        if (count == room) {
            room = room ? room * 2 : RETIRED_BATCH;
            all = realloc(all, room * sizeof(struct lfht_node *));
            if (all == NULL) {
                die("no memory");
            }
        }
        cds_lfht_del(lfht->table, node);
        all[count++] = lfht_node_of(node);
    }
    urcu_qsbr_synchronize_rcu();
    for (size_t i = 0; i < count; i++) {
        free(all[i]);
    }
    free(all);
}

static void lfht_close(void *handle)
{
    struct lfht *lfht = handle;

    lfht_reclaim(lfht);
    lfht_empty(lfht);
    urcu_qsbr_thread_offline();
    cds_lfht_destroy(lfht->table, NULL);
    urcu_qsbr_thread_online();
    urcu_qsbr_unregister_thread();
    free(lfht);
}

static int lfht_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    struct lfht *lfht = handle;
    struct lfht_key wanted = {key, strlen(key)};
    struct cds_lfht_iter iter;
    struct cds_lfht_node *found;
    const struct lfht_node *node;

    urcu_qsbr_read_lock();
    cds_lfht_lookup(lfht->table, XXH3_64bits(key, wanted.len), lfht_match, &wanted, &iter);
    found = cds_lfht_iter_get_node(&iter);
    if (found == NULL) {
        urcu_qsbr_read_unlock();
        return -1;
    }
    node = lfht_node_of(found);
    *len = node->value_len;
    if (node->value_len > cap) {
        urcu_qsbr_read_unlock();
        return -1;
    }
    memcpy(buf, node->bytes, node->value_len);
    urcu_qsbr_read_unlock();
    return 0;
}

static int lfht_set(void *handle, const char *key, const void *value, size_t len)
{
    struct lfht *lfht = handle;
    struct lfht_key wanted = {key, strlen(key)};
    struct lfht_node *node = malloc(sizeof(*node) + len + wanted.len);
    struct cds_lfht_node *replaced;

    if (node == NULL) {
        return -1;
    }
    cds_lfht_node_init(&node->node);
    node->value_len = (uint32_t)len;
    node->key_len = (uint16_t)wanted.len;
    memcpy(node->bytes, value, len);
    memcpy(node->bytes + len, key, wanted.len);
    urcu_qsbr_read_lock();
    replaced = cds_lfht_add_replace(lfht->table, XXH3_64bits(key, wanted.len), lfht_match, &wanted,
                                    &node->node);
    urcu_qsbr_read_unlock();
    if (!lfht->in_tick) {
        urcu_qsbr_quiescent_state(); /* or the resize thread waits for this one */
    }
    if (replaced == NULL) {
        return 0;
    }
    lfht->retired[lfht->retired_count++] = lfht_node_of(replaced);
    if (lfht->retired_count == RETIRED_BATCH) {
        lfht_reclaim(lfht);
    }
    return 0;
}

static int lfht_tick_begin(void *handle)
{
    struct lfht *lfht = handle;

    lfht->in_tick = true;
    return 0;
}

static int lfht_tick_end(void *handle)
{
    struct lfht *lfht = handle;

    lfht->in_tick = false;
    urcu_qsbr_quiescent_state();
    return 0;
}

const struct peer peer_lfht = {
    .name = "cds_lfht",
    .label = "cds_lfht (QSBR)",
    .open = lfht_open,
    .close = lfht_close,
    .get = lfht_get,
    .set = lfht_set,
    .tick_begin = lfht_tick_begin,
    .tick_end = lfht_tick_end,
};

/* SPDX-License-Identifier: MIT */
#include "table/registry.h"

#include "base/error.h"
#include "base/hash.h"
#include "memory/block.h"

struct plugin *tks_registry_plugin(const struct tks_segment *segment, uint64_t granule)
{
    if (!granule_in_range(segment, granule, sizeof(struct plugin)))
        return NULL;
    struct plugin *plugin = (struct plugin *)(void *)granule_words(segment, granule);
    return plugin->name_len >= 1 && plugin->name_len <= TKS_NAME_MAX ? plugin : NULL;
}

size_t tks_registry_name(const struct plugin *plugin, char name[256])
{
    /* One look at the length: others can write it. */
    uint64_t len = load_relaxed(&plugin->name_len);
    len = len > TKS_NAME_MAX ? TKS_NAME_MAX : len;
    memcpy(name, plugin->name, len);
    name[len] = 0;
    return len;
}

/* More descriptors than fit cannot be in a sound chain. */
static uint64_t chain_limit(const struct tks_segment *segment)
{
    return segment->slab_count * (SLAB_BYTES / sizeof(struct plugin)) + 1;
}

int tks_registry_each(const struct tks_segment *segment,
                      int (*visit)(void *arg, struct plugin *plugin, uint64_t granule), void *arg)
{
    uint64_t left = chain_limit(segment);
    for (unsigned bucket = 0; bucket < REGISTRY_BUCKETS; bucket++) {
        uint64_t granule = load_acquire(&segment->header->registry[bucket]);
        while (granule) {
            struct plugin *plugin = tks_registry_plugin(segment, granule);
            if (!plugin || !left--)
                return tks_fail(TKS_CORRUPT, "segment \"%s\": damaged plugin registry",
                                segment->name);
            int stop = visit(arg, plugin, granule);
            if (stop)
                return stop;
            granule = plugin->next;
        }
    }
    return TKS_OK;
}

struct name_search {
    const char *name;
    size_t len;
    uint64_t hash;
    uint64_t granule;
};

static int search_chain(const struct tks_segment *segment, uint64_t granule,
                        struct name_search *search)
{
    for (uint64_t left = chain_limit(segment); granule; left--) {
        struct plugin *plugin = tks_registry_plugin(segment, granule);
        if (!plugin || !left)
            return tks_fail(TKS_CORRUPT, "segment \"%s\": damaged plugin registry", segment->name);
        if (plugin->hash == search->hash && plugin->name_len == search->len &&
            !memcmp(plugin->name, search->name, search->len)) {
            search->granule = granule;
            return TKS_OK;
        }
        granule = plugin->next;
    }
    return TKS_NOT_FOUND;
}

static void fill_descriptor(uint64_t *words, const struct name_search *search, uint64_t next)
{
    struct plugin plugin = {.next = next, .hash = search->hash, .name_len = search->len};
    memcpy(plugin.name, search->name, search->len);
    for (unsigned i = 0; i < LEVEL0_HEADS; i++)
        plugin.heads[i] = head_empty(HEAD_EMPTY, FIRST_STAMP);
    copy_to_shared(words, &plugin, sizeof(plugin));
}

/* The log of a descriptor being built has no plugin: recovery asks the registry. */
static int add(struct tks_member *member, uint64_t *bucket, struct name_search *search)
{
    pin_store(member, LOG_PLUGIN, 0);
    tks_point(POINT_PLUGIN_LOG_CLEARED);
    int status =
        tks_block_take(member, sizeof(struct plugin), BLOCK_PLAIN, PIN_MOVE_NEW, &search->granule);
    if (status)
        return status;
    uint64_t *words = granule_words(member->segment, search->granule);
    uint64_t mine = search->granule;
    tks_point(POINT_PLUGIN_TAKEN);
    for (;;) { /* each round lost means that a descriptor was added: they are finitely many */
        uint64_t first = load_acquire(bucket);
        status = search_chain(member->segment, first, search);
        if (status != TKS_NOT_FOUND) {
            tks_point(POINT_PLUGIN_FOUND_LATE);
            tks_block_discard(member, PIN_MOVE_NEW);
            return status;
        }
        fill_descriptor(words, search, first);
        tks_point(POINT_PLUGIN_FILLED);
        if (compare_and_swap(bucket, first, mine))
            break;
    }
    search->granule = mine;
    tks_point(POINT_PLUGIN_INSERTED);
    pin_store(member, PIN_MOVE_NEW, 0);
    tks_point(POINT_PLUGIN_UNPINNED);
    return TKS_OK;
}

int tks_registry_find(struct tks_member *member, const char *name, size_t len, bool create,
                      uint64_t *granule)
{
    struct name_search search = {name, len, hash_of(name, len), 0};
    uint64_t *bucket = &member->segment->header->registry[search.hash % REGISTRY_BUCKETS];
    int status = search_chain(member->segment, load_acquire(bucket), &search);
    if (status == TKS_NOT_FOUND && create)
        status = add(member, bucket, &search);
    *granule = search.granule;
    return status;
}

struct granule_search {
    uint64_t granule;
};

static int compare_granule(void *arg, struct plugin *plugin, uint64_t granule)
{
    (void)plugin;
    return granule == ((struct granule_search *)arg)->granule;
}

bool tks_registry_names(const struct tks_segment *segment, uint64_t granule)
{
    struct granule_search search = {granule};
    return tks_registry_each(segment, compare_granule, &search) == 1;
}

/* SPDX-License-Identifier: MIT */
/* What looks at a whole plugin or store: walks, stats, sweep, audit, export. */
#include "base/error.h"
#include "local/local.h"

#include <fnmatch.h>
#include <stdlib.h>

/* ---- Lists of entries ---------------------------------------------------------------------- */

/* Entries of plugins, collected in a section: under the lock they are a state that existed. */
struct item {
    const struct local_plugin *plugin;
    struct local_entry *entry;
};

struct list {
    struct item *items;
    size_t count, room;
    struct local_plugin *plugin; /* the one that is walked */
    int64_t now_ms;
    bool expired; /* wanted: those, not the live ones */
    bool any;     /* wanted: all */
};

static int no_memory(void)
{
    return tks_fail(TKS_NO_SPACE, "memory://: no memory for a list of what it holds");
}

static int note(void *arg, struct local_entry *entry)
{
    struct list *list = arg;
    if (!list->any && local_past(entry->deadline, list->now_ms) != list->expired)
        return TKS_OK;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        struct item *grown = reallocarray(list->items, room, sizeof(*grown));
        if (!grown)
            return no_memory();
        list->items = grown;
        list->room = room;
    }
    list->items[list->count++] = (struct item){list->plugin, entry};
    return TKS_OK;
}

static int list_plugin(struct list *list, struct local_plugin *plugin)
{
    list->plugin = plugin;
    return tks_local_each(plugin, note, list);
}

/* ---- keys() -------------------------------------------------------------------------------- */

/* Names that outlive the section: deadline, length and text with its NUL, one after the other. */
struct names {
    char *bytes;
    size_t used;
};

static int copy_names(const struct list *list, struct names *names)
{
    size_t bytes = 1;
    for (size_t i = 0; i < list->count; i++)
        bytes += sizeof(int64_t) + sizeof(uint32_t) + list->items[i].entry->key_len + 1;
    names->bytes = malloc(bytes);
    if (!names->bytes)
        return no_memory();
    char *to = names->bytes;
    for (size_t i = 0; i < list->count; i++) {
        const struct local_entry *entry = list->items[i].entry;
        to = mempcpy(to, &entry->deadline, sizeof(entry->deadline));
        to = mempcpy(to, &entry->key_len, sizeof(entry->key_len));
        to = mempcpy(to, local_entry_key(entry), entry->key_len + 1);
    }
    names->used = (size_t)(to - names->bytes);
    return TKS_OK;
}

static int collect_names(struct local_state *state, struct names *names)
{
    struct list list = {.any = true};
    local_enter();
    /* Without the lock: liburcu shows a key that is replaced meanwhile exactly once. */
    int status = list_plugin(&list, state->plugin);
    if (!status)
        status = copy_names(&list, names);
    local_leave();
    free(list.items);
    return status;
}

static int visit_names(struct local_state *state, const struct names *names,
                       int (*visit)(void *arg, const char *key, size_t key_len), void *arg)
{
    const char *end = names->bytes + names->used;
    uint32_t len;
    for (const char *at = names->bytes; at < end; at += len + 1) {
        int64_t deadline;
        memcpy(&deadline, at, sizeof(deadline));
        memcpy(&len, at + sizeof(deadline), sizeof(len));
        at += sizeof(deadline) + sizeof(len);
        if (deadline && local_past(deadline, tks_local_now(state)))
            continue;
        int stop = visit(arg, at, len);
        if (stop)
            return stop;
        if (!tks_owner_usable(&state->owner))
            return tks_fail(TKS_INVALID, "the state was closed during tks_keys");
    }
    return TKS_OK;
}

int tks_local_keys(tks_state *base, int (*visit)(void *arg, const char *key, size_t key_len),
                   void *arg)
{
    struct local_state *state = local_state_of(base);
    struct names names = {0};
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    int status = collect_names(state, &names);
    if (!status)
        status = visit_names(state, &names, visit, arg);
    free(names.bytes);
    return status;
}

/* ---- Counting ------------------------------------------------------------------------------ */

struct count {
    int64_t now_ms;
    uint64_t live;
    uint64_t all;
};

static int count_entry(void *arg, struct local_entry *entry)
{
    struct count *count = arg;
    count->live += !local_past(entry->deadline, count->now_ms);
    count->all++;
    return 0;
}

struct plugin_count {
    const struct local_plugin *plugin;
    uint64_t keys;
};

/* Of every plugin; the descriptors live as long as the store. NULL without memory. */
static struct plugin_count *count_plugins(struct local_store *store, size_t *plugins)
{
    struct count count = {.now_ms = local_store_now(store)};
    struct local_plugin *plugin;
    size_t known = 0;
    local_enter();
    pthread_mutex_lock(&store->lock);
    for (plugin = store->plugins; plugin; plugin = plugin->next)
        known++;
    struct plugin_count *counts = calloc(known + 1, sizeof(*counts));
    *plugins = 0;
    for (plugin = store->plugins; counts && plugin; plugin = plugin->next) {
        count.live = 0;
        tks_local_each(plugin, count_entry, &count);
        counts[(*plugins)++] = (struct plugin_count){plugin, count.live};
    }
    pthread_mutex_unlock(&store->lock);
    local_leave();
    return counts;
}

static int visit_plugins(struct local_store *store,
                         int (*visit)(void *arg, const char *plugin, size_t plugin_len,
                                      uint64_t keys),
                         void *arg)
{
    size_t plugins;
    int status = TKS_OK;
    struct plugin_count *counts = count_plugins(store, &plugins);
    if (!counts)
        return no_memory();
    for (size_t i = 0; !status && i < plugins; i++)
        if (counts[i].keys)
            status = visit(arg, counts[i].plugin->name, counts[i].plugin->len, counts[i].keys);
    free(counts);
    return status;
}

int tks_local_plugins(tks_store *base,
                      int (*visit)(void *arg, const char *plugin, size_t plugin_len, uint64_t keys),
                      void *arg)
{
    int status = tks_section_join();
    if (status)
        return status;
    status = visit_plugins(local_store_of(base), visit, arg);
    tks_section_quit();
    return status;
}

/* ---- Stats --------------------------------------------------------------------------------- */

static uint64_t table_bytes(const struct local_store *store)
{
    uint64_t bytes = 0;
    for (const struct local_plugin *plugin = store->plugins; plugin; plugin = plugin->next)
        bytes += sizeof(*plugin) + plugin->buckets * sizeof(struct cds_lfht_node);
    return bytes;
}

int tks_local_stats(tks_store *base, struct tks_stats *stats)
{
    struct local_store *store = local_store_of(base);
    int status = tks_local_plugins(base, tks_count_plugin, stats);
    if (status)
        return status;
    pthread_mutex_lock(&store->lock);
    stats->used_bytes = store->entry_bytes + table_bytes(store);
    stats->retired_bytes = store->retired_bytes;
    stats->states = store->states;
    pthread_mutex_unlock(&store->lock);
    stats->size_bytes = stats->committed_bytes = stats->used_bytes;
    stats->stores = 1;
    stats->created_ms = store->created_ms;
    stats->clock_skew_ms = -local_store_to_wall(store);
    return TKS_OK;
}

/* ---- Sweep --------------------------------------------------------------------------------- */

/* A walk without the lock: it may meet an entry twice, or one that is gone, which a purge notices.
 */
static uint64_t sweep_plugin(struct local_store *store, struct local_plugin *plugin)
{
    struct list list = {.expired = true, .now_ms = local_store_now(store)};
    uint64_t purged = 0;
    local_enter();
    /* Without memory for all of them it sweeps those that it has found. */
    (void)list_plugin(&list, plugin);
    for (size_t i = 0; i < list.count; i++) {
        const struct local_entry *entry = list.items[i].entry;
        purged +=
            tks_local_purge(store, plugin, local_entry_key(entry), entry->key_len, entry->version);
    }
    local_leave();
    free(list.items);
    return purged;
}

uint64_t tks_local_sweep_all(struct local_store *store)
{
    uint64_t purged = 0;
    pthread_mutex_lock(&store->lock);
    struct local_plugin *plugin = store->plugins;
    pthread_mutex_unlock(&store->lock);
    /* Those added meanwhile come before the first; the rest of the list stays as it is. */
    for (; plugin; plugin = plugin->next)
        purged += sweep_plugin(store, plugin);
    return purged;
}

int tks_local_sweep(tks_store *base, uint64_t *purged)
{
    int status = tks_section_join();
    if (status)
        return status;
    uint64_t count = tks_local_sweep_all(local_store_of(base));
    tks_section_quit();
    if (purged)
        *purged = count;
    return TKS_OK;
}

/* ---- Audit --------------------------------------------------------------------------------- */

/* Under the lock: what the tables hold against what was counted as it came and went. */
static int audit(struct local_store *store, struct tks_check *check)
{
    struct count count = {.now_ms = 0};
    for (struct local_plugin *plugin = store->plugins; plugin; plugin = plugin->next) {
        const uint64_t before = count.all;
        tks_local_each(plugin, count_entry, &count);
        if (count.all - before != plugin->entries)
            return tks_fail(TKS_CORRUPT, "memory://: plugin \"%s\" has %llu entries, not %llu",
                            plugin->name, (unsigned long long)(count.all - before),
                            (unsigned long long)plugin->entries);
        check->plugins++;
    }
    check->keys = check->reachable_blocks = count.all;
    check->retired_blocks = store->retired_entries;
    check->free_blocks = store->freed;
    check->leaked_blocks = store->entries - count.all - store->retired_entries;
    return TKS_OK;
}

int tks_local_check(tks_store *base, struct tks_check *check)
{
    struct local_store *store = local_store_of(base);
    int status = tks_section_join();
    if (status)
        return status;
    const bool inside = tks_section_inside();
    pthread_mutex_lock(&store->lock);
    if (!inside)
        tks_local_keeper_flush(store);
    local_enter();
    status = audit(store, check);
    local_leave();
    pthread_mutex_unlock(&store->lock);
    tks_section_quit();
    return status;
}

/* ---- Export -------------------------------------------------------------------------------- */

static int list_matching(struct local_store *store, const char *glob, struct list *list)
{
    int status = TKS_OK;
    pthread_mutex_lock(&store->lock);
    list->now_ms = local_store_now(store);
    for (struct local_plugin *plugin = store->plugins; plugin && !status; plugin = plugin->next)
        if (!glob || !fnmatch(glob, plugin->name, 0))
            status = list_plugin(list, plugin);
    pthread_mutex_unlock(&store->lock);
    return status;
}

static struct local_entry *copy_of(const struct local_entry *entry)
{
    struct local_entry *copy =
        aligned_alloc(16, local_entry_bytes(entry->value_len, entry->key_len));
    if (!copy)
        return NULL;
    /* Not the node, which others link to. */
    copy->version = entry->version;
    copy->deadline = entry->deadline;
    copy->value_len = entry->value_len;
    copy->key_len = entry->key_len;
    copy->type = entry->type;
    memcpy(copy->bytes, entry->bytes, entry->value_len + entry->key_len + 1);
    return copy;
}

/* Replace what the list names by copies, so that the section can end. Fewer without memory. */
static int copy_entries(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct local_entry *copy = copy_of(list->items[i].entry);
        if (!copy) {
            list->count = i;
            return no_memory();
        }
        list->items[i].entry = copy;
    }
    return TKS_OK;
}

static void free_copies(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].entry);
    free(list->items);
}

static struct tks_record record_of(const struct item *item, int64_t to_wall_ms)
{
    const struct local_entry *entry = item->entry;
    return (struct tks_record){
        .size = sizeof(struct tks_record),
        .type = entry->type,
        .plugin = item->plugin->name,
        .plugin_len = item->plugin->len,
        .key = local_entry_key(entry),
        .key_len = entry->key_len,
        .value = entry->bytes,
        .value_len = entry->value_len,
        .version = entry->version,
        .expires_at = entry->deadline ? add_clamped(entry->deadline, to_wall_ms) : 0,
    };
}

static int export_copies(struct local_store *store, const char *glob, struct list *list)
{
    local_enter();
    int status = list_matching(store, glob, list);
    if (!status)
        status = copy_entries(list);
    else
        list->count = 0; /* not copies yet */
    local_leave();
    return status;
}

int tks_local_export(tks_store *base, const char *plugin_glob,
                     int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    struct local_store *store = local_store_of(base);
    struct list list = {0};
    int status = tks_section_join();
    if (status)
        return status;
    status = export_copies(store, plugin_glob, &list);
    const int64_t now = local_store_now(store), to_wall = local_store_to_wall(store);
    for (size_t i = 0; !status && i < list.count; i++) {
        const struct tks_record record = record_of(&list.items[i], to_wall);
        if (!local_past(list.items[i].entry->deadline, now))
            status = visit(arg, &record);
    }
    free_copies(&list);
    tks_section_quit();
    return status;
}

/* SPDX-License-Identifier: MIT */
/* Opening and closing: memory:// stores and their states; ticks. */
#include "local/local.h"

#include "base/error.h"

#include <stdlib.h>

#define FIRST_BUCKETS 64

/* ---- URI ----------------------------------------------------------------------------------- */

static int parse_uri(const struct tks_uri *uri, uint64_t *sweep_ms)
{
    char name[32], value[64];
    const char *cursor = uri->query;
    *sweep_ms = 0;
    if (uri->rest_len)
        return tks_fail(TKS_INVALID,
                        "memory:// takes no name (\"%.*s\"): each open is a store of its own; "
                        "threads share it by opening it once",
                        uri->rest_len > 60 ? 60 : (int)uri->rest_len, uri->rest);
    for (;;) {
        int more = tks_uri_next(&cursor, name, sizeof(name), value, sizeof(value));
        if (more <= 0)
            return more;
        if (strcmp(name, "sweep_ms"))
            return tks_fail(TKS_INVALID, "unknown URI parameter \"%s\" of memory://", name);
        if (tks_parse_number(value, 10, 86400000, sweep_ms))
            return tks_fail(TKS_INVALID, "URI parameter %s=%.60s is not valid", name, value);
    }
}

static int local_uri_check(const struct tks_uri *uri)
{
    uint64_t sweep_ms;
    return parse_uri(uri, &sweep_ms);
}

/* ---- Stores -------------------------------------------------------------------------------- */

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static struct local_store *make_store(uint64_t sweep_ms)
{
    struct local_store *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    store->sweep_ms = sweep_ms;
    store->created_ms = wall_ms();
    store->versions.next = store->versions.first = tks_versions_begin();
    store->clock_offset_ms = tks_boot_to_wall_ms();
    store->references = 1;
    pthread_mutex_init(&store->lock, NULL);
    init_condition(&store->wanted);
    init_condition(&store->done);
    return store;
}

static int local_store_open(const struct tks_uri *uri, const struct tks_options *options,
                            tks_store **result)
{
    uint64_t sweep_ms;
    int status = parse_uri(uri, &sweep_ms);
    if (!status)
        status = tks_process_enter();
    if (status)
        return status;
    if (options && options->flags & TKS_OPEN_EXISTING)
        return tks_fail(TKS_NOT_FOUND, "memory:// is a new store at each open: none exists");
    /* Whether sections are possible here; the thread that opens need not be one that reads. */
    status = tks_section_join();
    if (status)
        return status;
    tks_section_quit();
    struct local_store *store = make_store(sweep_ms);
    if (!store)
        return tks_fail(TKS_NO_SPACE, "no memory for a memory:// store");
    int error = tks_local_keeper_start(store);
    if (error) {
        free(store);
        return tks_fail_errno(error, "cannot start a thread for memory://");
    }
    store->base.process_token = load_relaxed(&tks_process->token);
    *result = &store->base;
    return TKS_OK;
}

static void unreference(struct local_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool last = !--store->references;
    pthread_mutex_unlock(&store->lock);
    if (last)
        tks_local_keeper_end(store);
}

static void local_store_close(tks_store *store)
{
    unreference(local_store_of(store));
}

static int local_store_destroy(const struct tks_uri *uri)
{
    int status = local_uri_check(uri);
    return status ? status
                  : tks_fail(TKS_UNSUPPORTED, "memory:// is gone when it is closed: there is "
                                              "nothing to remove");
}

static int local_checkpoint(tks_store *store)
{
    (void)store;
    return tks_fail(TKS_UNSUPPORTED, "memory:// is kept nowhere: it has no checkpoint");
}

/* ---- States -------------------------------------------------------------------------------- */

static struct local_plugin *add_plugin(struct local_store *store, const char *name, size_t len)
{
    struct local_plugin *plugin = calloc(1, sizeof(*plugin));
    if (!plugin)
        return NULL;
    plugin->table = tks_section_table(FIRST_BUCKETS);
    if (!plugin->table) {
        free(plugin);
        return NULL;
    }
    plugin->buckets = FIRST_BUCKETS;
    plugin->len = len;
    memcpy(plugin->name, name, len);
    plugin->next = store->plugins;
    store->plugins = plugin;
    return plugin;
}

/* Under the lock. The plugin, made if need be; NULL without memory. */
static struct local_plugin *find_plugin(struct local_store *store, const char *name, size_t len)
{
    for (struct local_plugin *plugin = store->plugins; plugin; plugin = plugin->next)
        if (plugin->len == len && !memcmp(plugin->name, name, len))
            return plugin;
    return add_plugin(store, name, len);
}

/* Give back what the state holds; by the owning thread. */
static void finish_state(void *memory)
{
    struct local_state *state = memory;
    struct local_store *store = state->store;
    if (state->in_tick) {
        local_leave();
        tks_section_kept(-1);
        state->in_tick = false;
    }
    tks_section_quit();
    pthread_mutex_lock(&store->lock);
    store->states--;
    pthread_mutex_unlock(&store->lock);
    unreference(store);
}

static int enlist(struct local_store *store, const char *plugin, size_t len,
                  struct local_state *state)
{
    pthread_mutex_lock(&store->lock);
    state->plugin = find_plugin(store, plugin, len);
    if (state->plugin) {
        store->states++;
        store->references++;
    }
    pthread_mutex_unlock(&store->lock);
    return state->plugin ? TKS_OK
                         : tks_fail(TKS_NO_SPACE, "memory://: no memory for plugin \"%.*s\"",
                                    (int)len, plugin);
}

static int local_state_open(tks_store *base, const char *plugin, size_t len, tks_state **result)
{
    struct local_store *store = local_store_of(base);
    struct local_state *state = tks_wiped_alloc(sizeof(*state));
    if (!state)
        return tks_fail(TKS_NO_SPACE, "no memory for a state");
    int status = tks_section_join();
    if (!status) {
        status = enlist(store, plugin, len, state);
        if (status)
            tks_section_quit();
    }
    if (status) {
        tks_wiped_free(state, sizeof(*state));
        return status;
    }
    state->base.backend = &tks_local_backend;
    state->store = store;
    tks_owner_add(&state->owner, state, sizeof(*state), finish_state);
    *result = &state->base;
    return TKS_OK;
}

static void local_state_close(tks_state *state)
{
    tks_owner_close(&local_state_of(state)->owner);
}

/* ---- Ticks --------------------------------------------------------------------------------- */

static int local_tick_begin(tks_state *base, const int64_t *now_ms)
{
    struct local_state *state = local_state_of(base);
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    if (state->in_tick)
        return tks_fail(TKS_INVALID, "a tick is open already: ticks are not nested");
    local_enter();
    tks_section_kept(1);
    state->in_tick = true;
    state->now_known = state->caller_clock = now_ms != NULL;
    state->now_ms = now_ms ? *now_ms : 0;
    return TKS_OK;
}

static int local_tick_end(tks_state *base)
{
    struct local_state *state = local_state_of(base);
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    if (!state->in_tick)
        return tks_fail(TKS_INVALID, "tks_tick_end without a tick");
    state->in_tick = state->now_known = state->caller_clock = false;
    state->borrows = 0;
    tks_section_kept(-1);
    local_leave();
    return TKS_OK;
}

const struct tks_backend tks_local_backend = {
    .scheme = "memory",
    .uri_check = local_uri_check,
    .store_open = local_store_open,
    .store_close = local_store_close,
    .store_destroy = local_store_destroy,
    .store_stats = tks_local_stats,
    .store_checkpoint = local_checkpoint,
    .store_sweep = tks_local_sweep,
    .store_check = tks_local_check,
    .store_plugins = tks_local_plugins,
    .store_export = tks_local_export,
    .state_open = local_state_open,
    .state_close = local_state_close,
    .get = tks_get_by_read,
    .get_k = tks_get_k_by_read,
    .read = tks_local_read,
    .has = tks_local_has,
    .set = tks_local_set,
    .write = tks_local_write,
    .borrow = tks_local_borrow,
    .keys = tks_local_keys,
    .key_prepare = tks_local_key_prepare,
    .tick_begin = local_tick_begin,
    .tick_end = local_tick_end,
};

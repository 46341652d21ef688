/* SPDX-License-Identifier: MIT */
/* Reads, borrows and changes. */
#include "base/error.h"
#include "base/hash.h"
#include "local/local.h"

#include <stdlib.h>

/* Entries per bucket at which a table doubles. */
#define BUCKET_LOAD 1

int64_t tks_local_now(struct local_state *state)
{
    if (!state->now_known) {
        state->now_ms = local_store_now(state->store);
        state->now_known = state->in_tick;
    }
    return state->now_ms;
}

static bool expired(struct local_state *state, const struct local_entry *entry)
{
    return entry->deadline && local_past(entry->deadline, tks_local_now(state));
}

/* Whether the store's own clock calls it expired too: only then may it be purged. */
static bool may_purge(const struct local_state *state, const struct local_entry *entry)
{
    return !state->caller_clock || local_past(entry->deadline, local_store_now(state->store));
}

/* ---- Looking up ---------------------------------------------------------------------------- */

struct name {
    const char *bytes;
    size_t len;
};

static struct local_entry *entry_of(struct cds_lfht_node *node)
{
    struct local_entry *entry = (struct local_entry *)(void *)node;
    /* liburcu has ordered this; the pair with publish() says so to ThreadSanitizer. */
    if (entry)
        (void)load_acquire(&entry->published);
    return entry;
}

static int same_name(struct cds_lfht_node *node, const void *wanted)
{
    const struct local_entry *entry = entry_of(node);
    const struct name *name = wanted;
    return entry->key_len == name->len && !memcmp(local_entry_key(entry), name->bytes, name->len);
}

/* The key's entry, expired or not; in a section. The iterator is for replacing it. */
static struct local_entry *find(const struct local_plugin *plugin, const struct name *name,
                                unsigned long hash, struct cds_lfht_iter *iterator)
{
    cds_lfht_lookup(plugin->table, hash, same_name, name, iterator);
    return entry_of(cds_lfht_iter_get_node(iterator));
}

int tks_local_each(struct local_plugin *plugin, int (*visit)(void *arg, struct local_entry *entry),
                   void *arg)
{
    struct cds_lfht_iter iterator;
    struct cds_lfht_node *node;
    cds_lfht_for_each(plugin->table, &iterator, node)
    {
        int stop = visit(arg, entry_of(node));
        if (stop)
            return stop;
    }
    return 0;
}

static int key_of(struct local_state *state, const char *key, tks_key *prepared, struct name *name)
{
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    return tks_key_name(&state->owner, key, prepared, &name->bytes, &name->len);
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* In a section. The live entry, or NULL; what may be purged is purged. */
static struct local_entry *find_live(struct local_state *state, const struct name *name)
{
    struct cds_lfht_iter iterator;
    struct local_entry *entry =
        find(state->plugin, name, (unsigned long)hash_of(name->bytes, name->len), &iterator);
    if (!entry || tks_likely(!expired(state, entry)))
        return entry;
    if (may_purge(state, entry))
        tks_local_purge(state->store, state->plugin, name->bytes, name->len, entry->version);
    return NULL;
}

static int answer(const struct local_entry *entry, struct tks_reading *reading)
{
    if (!entry)
        return expected_outcome(TKS_NOT_FOUND);
    reading->len = entry->value_len;
    reading->type = (int)entry->type;
    reading->version = entry->version;
    if (reading->peek)
        return TKS_OK;
    if (reading->len > reading->cap)
        return expected_outcome(TKS_TOO_SMALL);
    if (reading->len)
        memcpy(reading->buf, entry->bytes, reading->len);
    return TKS_OK;
}

int tks_local_read(tks_state *base, const char *key, tks_key *prepared, struct tks_reading *reading)
{
    struct local_state *state = local_state_of(base);
    struct name name;
    reading->len = 0;
    reading->version = 0;
    int status = key_of(state, key, prepared, &name);
    if (status)
        return status;
    local_enter();
    status = answer(find_live(state, &name), reading);
    local_leave();
    return status;
}

int tks_local_has(tks_state *base, const char *key, tks_key *prepared)
{
    struct tks_reading reading = {.peek = true};
    int status = tks_local_read(base, key, prepared, &reading);
    return status == TKS_OK ? 1 : status == TKS_NOT_FOUND ? 0 : status;
}

int tks_local_borrow(tks_state *base, const char *key, tks_key *prepared, const void **value,
                     size_t *len)
{
    struct local_state *state = local_state_of(base);
    struct name name;
    if (len)
        *len = 0;
    int status = tks_owner_usable(&state->owner) ? TKS_OK : tks_owner_guard(&state->owner);
    if (status)
        return status;
    if (!value || !state->in_tick)
        return tks_fail(TKS_INVALID, value ? "tks_borrow outside a tick" : "value is NULL");
    *value = NULL;
    status = key_of(state, key, prepared, &name);
    if (status)
        return status;
    if (state->borrows == TKS_BORROW_MAX)
        return tks_fail(TKS_BUSY, "%d values are borrowed in this tick already", TKS_BORROW_MAX);
    /* The tick's section is what keeps the entry. */
    const struct local_entry *entry = find_live(state, &name);
    if (!entry)
        return expected_outcome(TKS_NOT_FOUND);
    state->borrows++;
    *value = entry->bytes;
    if (len)
        *len = entry->value_len;
    return TKS_OK;
}

int tks_local_key_prepare(tks_state *base, const char *key, size_t len, tks_key *prepared)
{
    struct local_state *state = local_state_of(base);
    int status = tks_owner_guard(&state->owner);
    return status ? status : tks_key_fill(&state->owner, key, len, prepared);
}

/* ---- Changing ------------------------------------------------------------------------------ */

struct change {
    struct local_store *store;
    struct local_plugin *plugin;
    struct name name;
    unsigned long hash;
    struct cds_lfht_iter iterator;
    struct local_entry *old; /* expired or not; NULL: none */
    struct local_entry *new; /* to put in its place; ours until it is linked */
    uint64_t keep;           /* the new entry's version, 0: the next one */
};

static struct local_entry *make_entry(const struct name *name, const struct tks_writing *writing)
{
    struct local_entry *entry = aligned_alloc(16, local_entry_bytes(writing->len, name->len));
    if (!entry)
        return NULL;
    memset(entry, 0, sizeof(*entry));
    entry->value_len = writing->len;
    entry->key_len = (uint32_t)name->len;
    entry->type = writing->type;
    if (writing->len)
        memcpy(entry->bytes, writing->value, writing->len);
    memcpy(entry->bytes + writing->len, name->bytes, name->len);
    entry->bytes[writing->len + name->len] = 0;
    return entry;
}

void tks_local_free_entries(struct local_store *store, struct local_entry *entries)
{
    uint64_t count = 0, bytes = 0;
    while (entries) {
        struct local_entry *entry = entries;
        entries = entry->next;
        count++;
        bytes += local_entry_bytes(entry->value_len, entry->key_len);
        free(entry);
    }
    pthread_mutex_lock(&store->lock);
    store->entries -= count;
    store->entry_bytes -= bytes;
    store->retired_entries -= count;
    store->retired_bytes -= bytes;
    store->freed += count;
    pthread_mutex_unlock(&store->lock);
}

/* Under the lock: the entry is in no table any more, but readers may still see it. */
static void retire(struct local_store *store, struct local_entry *entry)
{
    entry->next = store->retired;
    store->retired = entry;
    store->retired_entries++;
    store->retired_bytes += local_entry_bytes(entry->value_len, entry->key_len);
    tks_local_keeper_wake(store);
}

static void grow_if_full(struct local_plugin *plugin)
{
    if (plugin->entries <= plugin->buckets * BUCKET_LOAD)
        return;
    /* Without memory it goes on with longer chains, and tries again when those have doubled. */
    (void)tks_section_grow(plugin->table, plugin->buckets * 2);
    plugin->buckets *= 2;
}

/* Under the lock. */
static void publish(struct change *change)
{
    struct local_store *store = change->store;
    struct local_entry *entry = change->new;
    entry->version = change->keep ? change->keep : store->versions.next++;
    store->entries++;
    store->entry_bytes += local_entry_bytes(entry->value_len, entry->key_len);
    store_release(&entry->published, 1);
    if (change->old) {
        cds_lfht_replace(change->plugin->table, &change->iterator, change->hash, same_name,
                         &change->name, &entry->node);
        retire(store, change->old);
    } else {
        cds_lfht_add(change->plugin->table, change->hash, &entry->node);
        change->plugin->entries++;
        grow_if_full(change->plugin);
    }
    change->new = NULL;
}

/* Under the lock. */
static void unlink_old(struct change *change)
{
    if (!change->old)
        return;
    cds_lfht_del(change->plugin->table, &change->old->node);
    change->plugin->entries--;
    retire(change->store, change->old);
}

/* Take the lock and look at what there is. */
static void begin_change(struct change *change)
{
    change->hash = (unsigned long)hash_of(change->name.bytes, change->name.len);
    pthread_mutex_lock(&change->store->lock);
    change->old = find(change->plugin, &change->name, change->hash, &change->iterator);
}

bool tks_local_purge(struct local_store *store, struct local_plugin *plugin, const char *key,
                     size_t len, uint64_t version)
{
    struct change change = {.store = store, .plugin = plugin, .name = {key, len}};
    begin_change(&change);
    /* A copy may have come in between that has the same version and more time. */
    bool found = change.old && change.old->version == version &&
                 local_past(change.old->deadline, local_store_now(store));
    if (found)
        unlink_old(&change);
    pthread_mutex_unlock(&store->lock);
    return found;
}

static int64_t deadline_of(struct local_state *state, const struct tks_writing *writing)
{
    if (writing->expiry == EXPIRY_NONE)
        return 0;
    if (writing->expiry == EXPIRY_TTL)
        return add_clamped(tks_local_now(state), writing->expiry_ms);
    int64_t deadline = sub_clamped(writing->expiry_ms, local_store_to_wall(state->store));
    return deadline > 0 ? deadline : 1;
}

/* The sum goes into the new entry, which was made with room for it. */
static int add(struct change *change, const struct local_entry *live, struct tks_writing *writing)
{
    int64_t value = 0;
    if (live) {
        if (live->type != TKS_TYPE_I64 || live->value_len != sizeof(value))
            return expected_outcome(TKS_TYPE);
        memcpy(&value, live->bytes, sizeof(value));
    }
    if (__builtin_add_overflow(value, writing->delta, &writing->result))
        return tks_fail(TKS_RANGE, "the counter \"%.*s\" would overflow", (int)change->name.len,
                        change->name.bytes);
    change->new->deadline = live ? live->deadline : 0;
    memcpy(change->new->bytes, &writing->result, sizeof(writing->result));
    publish(change);
    return TKS_OK;
}

static bool same_value(const struct local_entry *a, const struct local_entry *b)
{
    return a->type == b->type && a->value_len == b->value_len &&
           !memcmp(a->bytes, b->bytes, a->value_len);
}

static bool same_expiry(const struct local_entry *a, const struct local_entry *b)
{
    if (!a->deadline || !b->deadline)
        return a->deadline == b->deadline;
    return (a->deadline > b->deadline ? a->deadline - b->deadline : b->deadline - a->deadline) <=
           COPY_SLACK_MS;
}

static int copy(struct change *change, const struct local_entry *live, struct tks_writing *writing)
{
    const bool may_keep = tks_version_keep(&change->store->versions, writing->version);
    const bool same_version = live && live->version == writing->version;
    const bool same = live && same_value(live, change->new);
    writing->copied = TKS_COPY_SAME;
    if (same && (same_version || !may_keep) && same_expiry(live, change->new))
        return TKS_OK;
    if (may_keep && (same || !same_version))
        change->keep = writing->version;
    writing->copied = change->keep ? TKS_COPY_KEPT : TKS_COPY_RENEWED;
    publish(change);
    return TKS_OK;
}

/* Under the lock, in a section. */
static int decide(struct local_state *state, struct change *change, struct tks_writing *writing)
{
    const struct local_entry *live =
        change->old && !expired(state, change->old) ? change->old : NULL;
    switch (writing->kind) {
    case WRITE_DELETE:
        unlink_old(change);
        return TKS_OK;
    case WRITE_ADD:
        return add(change, live, writing);
    case WRITE_SET_IF:
        if ((live ? live->version : 0) != writing->version)
            return expected_outcome(TKS_CONFLICT);
        break;
    case WRITE_COPY:
        return copy(change, live, writing);
    case WRITE_SET:
        break;
    }
    publish(change);
    return TKS_OK;
}

int tks_local_write(tks_state *base, const char *key, tks_key *prepared,
                    struct tks_writing *writing)
{
    struct local_state *state = local_state_of(base);
    struct change change = {.store = state->store, .plugin = state->plugin};
    int status = key_of(state, key, prepared, &change.name);
    if (status)
        return status;
    if (writing->kind != WRITE_DELETE) {
        change.new = make_entry(&change.name, writing);
        if (!change.new)
            return tks_fail(TKS_NO_SPACE, "memory://: no memory for \"%.*s\", %zu bytes",
                            (int)change.name.len, change.name.bytes, writing->len);
        change.new->deadline = deadline_of(state, writing);
    }
    local_enter();
    begin_change(&change);
    status = decide(state, &change, writing);
    pthread_mutex_unlock(&state->store->lock);
    local_leave();
    free(change.new); /* NULL when it was linked */
    return status;
}

int tks_local_set(tks_state *base, const char *key, tks_key *prepared, unsigned type,
                  const void *value, size_t len)
{
    struct tks_writing writing = {.kind = WRITE_SET, .type = type, .value = value, .len = len};
    return tks_local_write(base, key, prepared, &writing);
}

/* SPDX-License-Identifier: MIT */
/* What a plugin does: reads, writes, keys and ticks over rows. */
#include "database/database.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Why a call with this key may not go on, or the row that it means. */
static int find_row(struct database_state *state, const char *key, tks_key *prepared,
                    struct tks_row_name *name)
{
    if (tks_unlikely(!tks_owner_usable(&state->owner))) {
        int status = tks_owner_guard(&state->owner);
        if (status)
            return status;
    }
    name->plugin = state->plugin;
    name->plugin_len = state->plugin_len;
    return tks_key_name(&state->owner, key, prepared, &name->key, &name->key_len);
}

static int64_t now_of(const struct database_state *state)
{
    return state->in_tick ? state->tick_now_ms : wall_ms();
}

/* ---- Reads --------------------------------------------------------------------------------- */

static bool row_expired(const struct tks_row *row, int64_t now_ms)
{
    return row->expires_at && row->expires_at <= now_ms;
}

/*
 * The row's content if it is present for this state. What has expired is purged, if the wall
 * clock says so too; a purge that fails is the next reader's.
 */
static int live_row(struct database_state *state, const struct tks_row_name *name, bool value,
                    struct tks_row *row)
{
    const struct tks_driver *driver = state->store->driver;
    int status = value ? driver->read(state->connection, name, row)
                       : driver->look(state->connection, name, row);
    if (status || !row->expires_at || !row_expired(row, now_of(state)))
        return status;
    int64_t wall = wall_ms();
    if (row_expired(row, wall))
        driver->purge(state->connection, name, row->version, wall);
    return TKS_NOT_FOUND;
}

static int no_row(int status, struct tks_reading *reading)
{
    reading->len = 0;
    reading->version = 0;
    return status == TKS_NOT_FOUND ? expected_outcome(status) : status;
}

int tks_database_read(tks_state *base, const char *key, tks_key *prepared,
                      struct tks_reading *reading)
{
    struct database_state *state = database_state_of(base);
    struct tks_row_name name;
    struct tks_row row;
    struct tks_value value;
    int status = find_row(state, key, prepared, &name);
    if (!status)
        status = live_row(state, &name, true, &row);
    if (!status)
        status = tks_database_value(&name, &row, &state->scratch, &value);
    if (status)
        return no_row(status, reading);
    reading->type = value.type;
    reading->len = value.len;
    reading->version = row.version;
    if (reading->peek)
        return TKS_OK;
    if (value.len > reading->cap)
        return expected_outcome(TKS_TOO_SMALL);
    if (value.len)
        memcpy(reading->buf, value.bytes, value.len);
    return TKS_OK;
}

int tks_database_has(tks_state *base, const char *key, tks_key *prepared)
{
    struct database_state *state = database_state_of(base);
    struct tks_row_name name;
    struct tks_row row;
    int status = find_row(state, key, prepared, &name);
    if (status)
        return status;
    status = live_row(state, &name, false, &row);
    return status == TKS_NOT_FOUND ? 0 : status ? status : 1;
}

int tks_database_borrow(tks_state *base, const char *key, tks_key *prepared, const void **value,
                        size_t *len)
{
    struct tks_row_name name;
    (void)value;
    (void)len;
    int status = find_row(database_state_of(base), key, prepared, &name);
    return status ? status
                  : tks_fail(TKS_UNSUPPORTED, "a database has nothing to borrow: use tks_get()");
}

/* ---- Writes -------------------------------------------------------------------------------- */

static int write_text(struct database_state *state, unsigned type, const void *value, size_t len)
{
    state->text.len = 0;
    int status = tks_value_write(type, value, len, &state->text);
    if (status == TKS_NO_SPACE)
        return tks_fail(status, "no memory for a value of %zu bytes", len);
    return status ? tks_fail(status, "a value of %zu bytes is none of its type", len) : TKS_OK;
}

static struct tks_row row_of(const struct database_state *state)
{
    return (struct tks_row){.text = state->text.bytes, .len = state->text.len};
}

int tks_database_set(tks_state *base, const char *key, tks_key *prepared, unsigned type,
                     const void *value, size_t len)
{
    struct database_state *state = database_state_of(base);
    struct tks_row_name name;
    int status = find_row(state, key, prepared, &name);
    if (!status)
        status = write_text(state, type, value, len);
    if (status)
        return status;
    struct tks_row row = row_of(state);
    return state->store->driver->write(state->connection, &name, &row);
}

/* As far as time goes, instead of wrapping. */
static int64_t deadline_of(const struct database_state *state, const struct tks_writing *writing)
{
    int64_t deadline;
    if (writing->expiry == EXPIRY_NONE)
        return 0;
    if (writing->expiry == EXPIRY_WALL)
        return writing->expiry_ms;
    if (__builtin_add_overflow(now_of(state), writing->expiry_ms, &deadline))
        return INT64_MAX;
    return deadline;
}

static bool same_text(const struct tks_row *old, const struct tks_row *new)
{
    return old->len == new->len &&memcmp(old->text, new->text, new->len) == 0;
}

/* The same entry with the same expiry; the clocks that a copy has passed may differ a little. */
static bool same_row(const struct tks_row *old, const struct tks_row *new)
{
    if (!same_text(old, new))
        return false;
    if (!old->expires_at || !new->expires_at)
        return old->expires_at == new->expires_at;
    int64_t apart = old->expires_at > new->expires_at ? old->expires_at - new->expires_at
                                                      : new->expires_at - old->expires_at;
    return apart <= COPY_SLACK_MS;
}

/* WRITE_COPY, as base/backend.h says it. */
static int copy_row(struct database_state *state, const struct tks_row_name *name,
                    struct tks_row *row, struct tks_writing *writing)
{
    const struct tks_driver *driver = state->store->driver;
    struct tks_row old;
    bool may_keep = false;
    int status = live_row(state, name, true, &old);
    if (status && status != TKS_NOT_FOUND)
        return status;
    bool same = !status && old.text && same_row(&old, row);
    bool there = !status && old.version == writing->version;
    bool taken = there && (!old.text || !same_text(&old, row));
    writing->copied = TKS_COPY_SAME;
    if (same && there)
        return TKS_OK;
    /* The key has this version with another content: then that write needs another one. */
    may_keep = there && !taken;
    if (!there && writing->version && writing->version < COPY_VERSION_LIMIT) {
        status = driver->claim(state->connection, writing->version, &may_keep);
        if (status)
            return status;
    }
    if (same && !may_keep)
        return TKS_OK;
    writing->copied = may_keep ? TKS_COPY_KEPT : TKS_COPY_RENEWED;
    row->version = may_keep ? writing->version : 0;
    return driver->write(state->connection, name, row);
}

static int write_row(struct database_state *state, const struct tks_row_name *name,
                     struct tks_writing *writing)
{
    const struct tks_driver *driver = state->store->driver;
    int status = write_text(state, writing->type, writing->value, writing->len);
    if (status)
        return status;
    struct tks_row row = row_of(state);
    row.expires_at = deadline_of(state, writing);
    if (writing->kind == WRITE_SET_IF)
        return driver->write_if(state->connection, name, &row, writing->version, now_of(state));
    if (writing->expiry == EXPIRY_WALL && row_expired(&row, now_of(state)))
        return driver->remove(state->connection, name);
    if (writing->kind == WRITE_COPY)
        return copy_row(state, name, &row, writing);
    return driver->write(state->connection, name, &row);
}

int tks_database_write(tks_state *base, const char *key, tks_key *prepared,
                       struct tks_writing *writing)
{
    struct database_state *state = database_state_of(base);
    const struct tks_driver *driver = state->store->driver;
    struct tks_row_name name;
    int status = find_row(state, key, prepared, &name);
    if (status)
        return status;
    if (writing->kind == WRITE_DELETE)
        return driver->remove(state->connection, &name);
    if (writing->kind == WRITE_ADD)
        status =
            driver->add(state->connection, &name, writing->delta, now_of(state), &writing->result);
    else
        status = write_row(state, &name, writing);
    if (status == TKS_RANGE)
        return tks_fail(status, "the counter \"%s\" would overflow", name.key);
    return status == TKS_CONFLICT || status == TKS_TYPE ? expected_outcome(status) : status;
}

/* ---- Keys ---------------------------------------------------------------------------------- */

/* Keys one behind the other, each with its NUL: none has one inside. */
static int collect_key(void *arg, const struct tks_row_name *name, const struct tks_row *row)
{
    struct tks_buffer *keys = arg;
    (void)row;
    if (!tks_database_names_valid(name))
        return 0;
    return tks_buffer_append(keys, name->key, name->key_len) && tks_buffer_append(keys, "", 1)
               ? 0
               : tks_fail(TKS_NO_SPACE, "no memory for the keys of plugin \"%s\"", name->plugin);
}

int tks_database_keys(tks_state *base, int (*visit)(void *arg, const char *key, size_t key_len),
                      void *arg)
{
    struct database_state *state = database_state_of(base);
    struct tks_buffer keys = {.bytes = NULL};
    int status = tks_owner_guard(&state->owner);
    if (status)
        return status;
    status = state->store->driver->keys(state->connection, state->plugin, state->plugin_len,
                                        now_of(state), collect_key, &keys);
    for (size_t at = 0; !status && at < keys.len;) {
        size_t len = strlen(keys.bytes + at);
        status = visit(arg, keys.bytes + at, len);
        at += len + 1;
    }
    tks_buffer_release(&keys);
    return status;
}

int tks_database_key_prepare(tks_state *base, const char *key, size_t len, tks_key *prepared)
{
    struct database_state *state = database_state_of(base);
    int status = tks_owner_guard(&state->owner);
    return status ? status : tks_key_fill(&state->owner, key, len, prepared);
}

/* ---- Ticks --------------------------------------------------------------------------------- */

int tks_database_tick_begin(tks_state *base, const int64_t *now_ms)
{
    struct database_state *state = database_state_of(base);
    int status = tks_owner_guard(&state->owner);
    if (status)
        return status;
    if (state->in_tick)
        return tks_fail(TKS_INVALID, "a tick is open already");
    state->tick_now_ms = now_ms ? *now_ms : wall_ms();
    state->in_tick = true;
    return TKS_OK;
}

int tks_database_tick_end(tks_state *base)
{
    struct database_state *state = database_state_of(base);
    int status = tks_owner_guard(&state->owner);
    if (status)
        return status;
    if (!state->in_tick)
        return tks_fail(TKS_INVALID, "no tick is open");
    state->in_tick = false;
    return TKS_OK;
}

/* SPDX-License-Identifier: MIT */
/* The public functions: what every backend would check, then a jump to the backend. */
#include "base/backend.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/key.h"
#include "base/process.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct tks_backend *const backends[] = {&tks_shm_backend, &tks_local_backend,
                                                     &tks_sqlite_backend, &tks_postgres_backend,
                                                     &tks_postgresql_backend};

/* ---- Stores -------------------------------------------------------------------------------- */

static int find_backend(const char *text, struct tks_uri *uri, const struct tks_backend **backend)
{
    *backend = NULL;
    if (!text)
        return tks_fail(TKS_INVALID, "the URI is NULL");
    int status = tks_uri_split(text, uri);
    if (status)
        return status;
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if (!strcmp(uri->scheme, backends[i]->scheme)) {
            *backend = backends[i];
            return TKS_OK;
        }
    return tks_fail(TKS_UNSUPPORTED, "no backend for %s:// in this build", uri->scheme);
}

int tks_uri_check(const char *text)
{
    struct tks_uri uri;
    const struct tks_backend *backend = NULL;
    int status = find_backend(text, &uri, &backend);
    return status || !backend->uri_check ? status : backend->uri_check(&uri);
}

int tks_store_open(const char *text, const struct tks_options *options, tks_store **store)
{
    struct tks_uri uri;
    const struct tks_backend *backend = NULL;
    if (!store)
        return tks_fail(TKS_INVALID, "store is NULL");
    *store = NULL;
    if (options && options->size < sizeof(uint32_t) * 2)
        return tks_fail(TKS_INVALID, "options->size is %u: set it to sizeof(struct tks_options)",
                        options->size);
    if (options && options->flags & ~(TKS_OPEN_EXISTING | TKS_OPEN_PASSIVE))
        return tks_fail(TKS_INVALID, "options->flags 0x%x has unknown bits", options->flags);
    int status = find_backend(text, &uri, &backend);
    if (!status)
        status = backend->store_open(&uri, options, store);
    if (!status)
        (*store)->backend = backend;
    return status;
}

static bool store_inherited(const tks_store *store)
{
    return !process_is(store->process_token);
}

static int check_store(const tks_store *store)
{
    if (!store)
        return tks_fail(TKS_INVALID, "store is NULL");
    if (store_inherited(store))
        return tks_fail(TKS_INVALID, "the store was opened by another process (fork)");
    return TKS_OK;
}

void tks_store_close(tks_store *store)
{
    if (store && !store_inherited(store))
        store->backend->store_close(store);
}

int tks_store_destroy(const char *text)
{
    struct tks_uri uri;
    const struct tks_backend *backend = NULL;
    int status = find_backend(text, &uri, &backend);
    return status ? status : backend->store_destroy(&uri);
}

/* Answer a struct that the caller's header may know shorter or longer than we do. */
static int answer_sized(void *to, uint32_t *size, const void *from, size_t known)
{
    uint32_t asked = *size;
    memcpy(to, from, asked < known ? asked : known);
    if (asked > known)
        memset((char *)to + known, 0, asked - known);
    *size = asked;
    return TKS_OK;
}

int tks_store_stats(tks_store *store, struct tks_stats *stats)
{
    int status = check_store(store);
    if (status)
        return status;
    if (!stats || stats->size < sizeof(stats->size))
        return tks_fail(TKS_INVALID, "stats->size must be set to sizeof(struct tks_stats)");
    struct tks_stats full = {.size = sizeof(full)};
    status = store->backend->store_stats(store, &full);
    return status ? status : answer_sized(stats, &stats->size, &full, sizeof(full));
}

int tks_store_check(tks_store *store, struct tks_check *check)
{
    int status = check_store(store);
    if (status)
        return status;
    if (!check || check->size < sizeof(check->size))
        return tks_fail(TKS_INVALID, "check->size must be set to sizeof(struct tks_check)");
    struct tks_check full = {.size = sizeof(full)};
    status = store->backend->store_check(store, &full);
    return status ? status : answer_sized(check, &check->size, &full, sizeof(full));
}

int tks_store_checkpoint(tks_store *store)
{
    int status = check_store(store);
    return status ? status : store->backend->store_checkpoint(store);
}

int tks_store_sweep(tks_store *store, uint64_t *purged)
{
    int status = check_store(store);
    if (purged)
        *purged = 0;
    return status ? status : store->backend->store_sweep(store, purged);
}

int tks_store_plugins(tks_store *store,
                      int (*visit)(void *arg, const char *plugin, size_t plugin_len, uint64_t keys),
                      void *arg)
{
    int status = check_store(store);
    if (!status && !visit)
        status = tks_fail(TKS_INVALID, "visit is NULL");
    return status ? status : store->backend->store_plugins(store, visit, arg);
}

int tks_store_export(tks_store *store, const char *plugin_glob,
                     int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    int status = check_store(store);
    if (!status && !visit)
        status = tks_fail(TKS_INVALID, "visit is NULL");
    return status ? status : store->backend->store_export(store, plugin_glob, visit, arg);
}

/* ---- States -------------------------------------------------------------------------------- */

int tks_state_open(tks_store *store, const char *plugin, tks_state **state)
{
    if (!state)
        return tks_fail(TKS_INVALID, "state is NULL");
    *state = NULL;
    int status = check_store(store);
    if (status)
        return status;
    size_t len;
    status = tks_plugin_name(plugin, &len);
    if (status)
        return status;
    return store->backend->state_open(store, plugin, len, state);
}

void tks_state_close(tks_state *state)
{
    if (state && state->backend)
        state->backend->state_close(state);
}

static __attribute__((cold, noinline)) int null_argument(const char *what)
{
    return tks_fail(TKS_INVALID, "%s is NULL", what);
}

/* Why a state cannot be used: NULL, or inherited through fork. */
static __attribute__((cold, noinline)) int no_state(const tks_state *state)
{
    return state ? tks_fail(TKS_INVALID, "the state was opened by another process (fork)")
                 : null_argument("state");
}

static inline bool usable(const tks_state *state)
{
    return __builtin_expect(state && state->backend, 1);
}

int tks_key_prepare_n(tks_state *state, const char *key, size_t key_len, tks_key *prepared)
{
    if (!usable(state))
        return no_state(state);
    if (!prepared)
        return null_argument("prepared");
    return state->backend->key_prepare(state, key, key_len, prepared);
}

int tks_key_prepare(tks_state *state, const char *key, tks_key *prepared)
{
    return tks_key_prepare_n(state, key, key ? strnlen(key, TKS_NAME_MAX + 1) : 0, prepared);
}

int tks_tick_begin(tks_state *state)
{
    return usable(state) ? state->backend->tick_begin(state, NULL) : no_state(state);
}

int tks_tick_begin_at(tks_state *state, int64_t now_ms)
{
    if (!usable(state))
        return no_state(state);
    if (now_ms < 0)
        return tks_fail(TKS_INVALID, "now_ms is negative");
    return state->backend->tick_begin(state, &now_ms);
}

int tks_tick_end(tks_state *state)
{
    return usable(state) ? state->backend->tick_end(state) : no_state(state);
}

int tks_keys(tks_state *state, int (*visit)(void *arg, const char *key, size_t key_len), void *arg)
{
    if (!usable(state))
        return no_state(state);
    if (!visit)
        return null_argument("visit");
    return state->backend->keys(state, visit, arg);
}

/* ---- Reads --------------------------------------------------------------------------------- */

int tks_get(tks_state *state, const char *key, void *buf, size_t cap, size_t *len)
{
    if (!usable(state))
        return no_state(state);
    if (__builtin_expect(!buf && cap, 0))
        return null_argument("buf");
    return state->backend->get(state, key, buf, cap, len);
}

int tks_get_k(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len)
{
    if (!usable(state))
        return no_state(state);
    if (__builtin_expect(!key || (!buf && cap), 0))
        return null_argument(key ? "buf" : "key");
    return state->backend->get_k(state, key, buf, cap, len);
}

static int or_default(int status, const void *fallback, size_t fallback_len, void *buf, size_t cap,
                      size_t *len)
{
    if (status != TKS_NOT_FOUND)
        return status;
    if (!fallback && fallback_len)
        return null_argument("fallback");
    if (len)
        *len = fallback_len;
    if (fallback_len > cap)
        return expected_outcome(TKS_TOO_SMALL);
    if (fallback_len)
        memcpy(buf, fallback, fallback_len);
    return TKS_OK;
}

int tks_get_or_default(tks_state *state, const char *key, const void *fallback, size_t fallback_len,
                       void *buf, size_t cap, size_t *len)
{
    return or_default(tks_get(state, key, buf, cap, len), fallback, fallback_len, buf, cap, len);
}

int tks_get_or_default_k(tks_state *state, tks_key *key, const void *fallback, size_t fallback_len,
                         void *buf, size_t cap, size_t *len)
{
    return or_default(tks_get_k(state, key, buf, cap, len), fallback, fallback_len, buf, cap, len);
}

static int get_versioned(tks_state *state, const char *key, tks_key *prepared, void *buf,
                         size_t cap, size_t *len, uint64_t *version)
{
    struct tks_reading reading = {.buf = buf, .cap = cap};
    if (!usable(state))
        return no_state(state);
    if (!buf && cap)
        return null_argument("buf");
    int status = state->backend->read(state, key, prepared, &reading);
    if (len)
        *len = reading.len;
    if (version)
        *version = reading.version;
    return status;
}

/* One i64, f64 or bool. */
static int get_scalar(tks_state *state, const char *key, tks_key *prepared, void *value, size_t cap,
                      int *type)
{
    struct tks_reading reading = {.buf = value, .cap = cap};
    int status = state->backend->read(state, key, prepared, &reading);
    *type = reading.type;
    return status == TKS_TOO_SMALL ? expected_outcome(TKS_TYPE) : status;
}

static int get_i64(tks_state *state, const char *key, tks_key *prepared, int64_t *value)
{
    char room[8];
    int type;
    if (!usable(state))
        return no_state(state);
    if (!value)
        return null_argument("value");
    int status = get_scalar(state, key, prepared, room, sizeof(room), &type);
    if (status)
        return status;
    if (type != TKS_TYPE_I64)
        return expected_outcome(TKS_TYPE);
    memcpy(value, room, sizeof(*value));
    return TKS_OK;
}

/* Whether a double holds it exactly; 2^63 itself does not fit back. */
static bool exact_double(int64_t integer, double *real)
{
    *real = (double)integer;
    return *real < 9223372036854775808.0 && (int64_t)*real == integer;
}

static int get_f64(tks_state *state, const char *key, tks_key *prepared, double *value)
{
    char room[8];
    int type;
    int64_t integer;
    if (!usable(state))
        return no_state(state);
    if (!value)
        return null_argument("value");
    int status = get_scalar(state, key, prepared, room, sizeof(room), &type);
    if (status)
        return status;
    if (type == TKS_TYPE_F64) {
        memcpy(value, room, sizeof(*value));
        return TKS_OK;
    }
    double real;
    memcpy(&integer, room, sizeof(integer));
    if (type != TKS_TYPE_I64 || !exact_double(integer, &real))
        return expected_outcome(TKS_TYPE);
    *value = real;
    return TKS_OK;
}

static int get_bool(tks_state *state, const char *key, tks_key *prepared, bool *value)
{
    char room[8] = {0};
    int type;
    if (!usable(state))
        return no_state(state);
    if (!value)
        return null_argument("value");
    int status = get_scalar(state, key, prepared, room, sizeof(room), &type);
    if (status)
        return status;
    if (type != TKS_TYPE_BOOL)
        return expected_outcome(TKS_TYPE);
    *value = room[0] != 0;
    return TKS_OK;
}

static int get_type(tks_state *state, const char *key, tks_key *prepared, int *type)
{
    struct tks_reading reading = {.peek = true};
    if (!usable(state))
        return no_state(state);
    if (!type)
        return null_argument("type");
    int status = state->backend->read(state, key, prepared, &reading);
    if (status)
        return status;
    *type = reading.type;
    return TKS_OK;
}

/* ---- Writes -------------------------------------------------------------------------------- */

static int check_value(tks_state *state, const void *value, size_t len)
{
    if (!usable(state))
        return no_state(state);
    if (!value && len)
        return null_argument("value");
    if (len > TKS_VALUE_MAX)
        return tks_fail(TKS_INVALID, "a value of %zu bytes is longer than %zu", len, TKS_VALUE_MAX);
    return TKS_OK;
}

static int write_value(tks_state *state, const char *key, tks_key *prepared,
                       struct tks_writing *writing)
{
    int status = check_value(state, writing->value, writing->len);
    return status ? status : state->backend->write(state, key, prepared, writing);
}

static int set_typed(tks_state *state, const char *key, tks_key *prepared, unsigned type,
                     const void *value, size_t len)
{
    int status = check_value(state, value, len);
    return status ? status : state->backend->set(state, key, prepared, type, value, len);
}

static int set_with_ttl(tks_state *state, const char *key, tks_key *prepared, const void *value,
                        size_t len, int64_t ttl_ms)
{
    struct tks_writing writing = {
        .kind = WRITE_SET, .value = value, .len = len, .expiry = EXPIRY_TTL, .expiry_ms = ttl_ms};
    if (ttl_ms <= 0)
        return tks_fail(TKS_INVALID, "ttl_ms is %lld: it must be at least 1", (long long)ttl_ms);
    return write_value(state, key, prepared, &writing);
}

static int set_if(tks_state *state, const char *key, tks_key *prepared, const void *value,
                  size_t len, uint64_t version)
{
    struct tks_writing writing = {
        .kind = WRITE_SET_IF, .value = value, .len = len, .version = version};
    return write_value(state, key, prepared, &writing);
}

static int delete_key(tks_state *state, const char *key, tks_key *prepared)
{
    struct tks_writing writing = {.kind = WRITE_DELETE};
    return write_value(state, key, prepared, &writing);
}

static int add_i64(tks_state *state, const char *key, tks_key *prepared, int64_t delta,
                   int64_t *result)
{
    struct tks_writing writing = {.kind = WRITE_ADD,
                                  .type = TKS_TYPE_I64,
                                  .delta = delta,
                                  .value = &delta,
                                  .len = sizeof(delta)};
    int status = write_value(state, key, prepared, &writing);
    if (result && !status)
        *result = writing.result;
    return status;
}

static int set_f64(tks_state *state, const char *key, tks_key *prepared, double value)
{
    if (!isfinite(value))
        return tks_fail(TKS_INVALID, "an f64 must be finite");
    return set_typed(state, key, prepared, TKS_TYPE_F64, &value, sizeof(value));
}

static int set_bool(tks_state *state, const char *key, tks_key *prepared, bool value)
{
    const char byte = value;
    return set_typed(state, key, prepared, TKS_TYPE_BOOL, &byte, 1);
}

static int set_str(tks_state *state, const char *key, tks_key *prepared, const char *text,
                   size_t len)
{
    if (!text && len)
        return null_argument("text");
    if (len && !tks_utf8_valid(text, len))
        return tks_fail(TKS_INVALID, "a string value must be UTF-8");
    return set_typed(state, key, prepared, TKS_TYPE_STRING, text, len);
}

static int set_json(tks_state *state, const char *key, tks_key *prepared, const char *text,
                    size_t len)
{
    if (!usable(state))
        return no_state(state);
    if (!text)
        return null_argument("text");
    if (len > TKS_VALUE_MAX)
        return tks_fail(TKS_INVALID, "a value of %zu bytes is longer than %zu", len, TKS_VALUE_MAX);
    struct tks_scalar scalar;
    int status = tks_json_scalar(text, len, &scalar);
    if (status)
        return status;
    switch (scalar.type) {
    case TKS_TYPE_I64:
        return set_typed(state, key, prepared, TKS_TYPE_I64, &scalar.integer, 8);
    case TKS_TYPE_F64:
        return set_f64(state, key, prepared, scalar.real);
    case TKS_TYPE_BOOL:
        return set_bool(state, key, prepared, scalar.truth);
    case TKS_TYPE_STRING:
        status = set_typed(state, key, prepared, TKS_TYPE_STRING, scalar.text, scalar.text_len);
        free(scalar.text);
        return status;
    default:
        return set_typed(state, key, prepared, TKS_TYPE_JSON, text, len);
    }
}

/* ---- Both forms of every call -------------------------------------------------------------- */

#define NEED_KEY(key)                                                                              \
    if (!(key))                                                                                    \
    return null_argument("key")

int tks_get_versioned(tks_state *state, const char *key, void *buf, size_t cap, size_t *len,
                      uint64_t *version)
{
    return get_versioned(state, key, NULL, buf, cap, len, version);
}
int tks_get_versioned_k(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len,
                        uint64_t *version)
{
    NEED_KEY(key);
    return get_versioned(state, NULL, key, buf, cap, len, version);
}
int tks_has(tks_state *state, const char *key)
{
    return usable(state) ? state->backend->has(state, key, NULL) : no_state(state);
}
int tks_has_k(tks_state *state, tks_key *key)
{
    NEED_KEY(key);
    return usable(state) ? state->backend->has(state, NULL, key) : no_state(state);
}
int tks_borrow(tks_state *state, const char *key, const void **value, size_t *len)
{
    return usable(state) ? state->backend->borrow(state, key, NULL, value, len) : no_state(state);
}
int tks_borrow_k(tks_state *state, tks_key *key, const void **value, size_t *len)
{
    NEED_KEY(key);
    return usable(state) ? state->backend->borrow(state, NULL, key, value, len) : no_state(state);
}
int tks_set(tks_state *state, const char *key, const void *value, size_t len)
{
    return set_typed(state, key, NULL, TKS_TYPE_BYTES, value, len);
}
int tks_set_k(tks_state *state, tks_key *key, const void *value, size_t len)
{
    NEED_KEY(key);
    return set_typed(state, NULL, key, TKS_TYPE_BYTES, value, len);
}
int tks_set_with_ttl(tks_state *state, const char *key, const void *value, size_t len,
                     int64_t ttl_ms)
{
    return set_with_ttl(state, key, NULL, value, len, ttl_ms);
}
int tks_set_with_ttl_k(tks_state *state, tks_key *key, const void *value, size_t len,
                       int64_t ttl_ms)
{
    NEED_KEY(key);
    return set_with_ttl(state, NULL, key, value, len, ttl_ms);
}
int tks_delete(tks_state *state, const char *key)
{
    return delete_key(state, key, NULL);
}
int tks_delete_k(tks_state *state, tks_key *key)
{
    NEED_KEY(key);
    return delete_key(state, NULL, key);
}
int tks_set_if(tks_state *state, const char *key, const void *value, size_t len, uint64_t version)
{
    return set_if(state, key, NULL, value, len, version);
}
int tks_set_if_k(tks_state *state, tks_key *key, const void *value, size_t len, uint64_t version)
{
    NEED_KEY(key);
    return set_if(state, NULL, key, value, len, version);
}
int tks_add_i64(tks_state *state, const char *key, int64_t delta, int64_t *result)
{
    return add_i64(state, key, NULL, delta, result);
}
int tks_add_i64_k(tks_state *state, tks_key *key, int64_t delta, int64_t *result)
{
    NEED_KEY(key);
    return add_i64(state, NULL, key, delta, result);
}
int tks_set_i64(tks_state *state, const char *key, int64_t value)
{
    return set_typed(state, key, NULL, TKS_TYPE_I64, &value, sizeof(value));
}
int tks_set_i64_k(tks_state *state, tks_key *key, int64_t value)
{
    NEED_KEY(key);
    return set_typed(state, NULL, key, TKS_TYPE_I64, &value, sizeof(value));
}
int tks_set_f64(tks_state *state, const char *key, double value)
{
    return set_f64(state, key, NULL, value);
}
int tks_set_f64_k(tks_state *state, tks_key *key, double value)
{
    NEED_KEY(key);
    return set_f64(state, NULL, key, value);
}
int tks_set_bool(tks_state *state, const char *key, bool value)
{
    return set_bool(state, key, NULL, value);
}
int tks_set_bool_k(tks_state *state, tks_key *key, bool value)
{
    NEED_KEY(key);
    return set_bool(state, NULL, key, value);
}
int tks_set_str(tks_state *state, const char *key, const char *text, size_t len)
{
    return set_str(state, key, NULL, text, len);
}
int tks_set_str_k(tks_state *state, tks_key *key, const char *text, size_t len)
{
    NEED_KEY(key);
    return set_str(state, NULL, key, text, len);
}
int tks_set_json(tks_state *state, const char *key, const char *text, size_t len)
{
    return set_json(state, key, NULL, text, len);
}
int tks_set_json_k(tks_state *state, tks_key *key, const char *text, size_t len)
{
    NEED_KEY(key);
    return set_json(state, NULL, key, text, len);
}
int tks_get_i64(tks_state *state, const char *key, int64_t *value)
{
    return get_i64(state, key, NULL, value);
}
int tks_get_i64_k(tks_state *state, tks_key *key, int64_t *value)
{
    NEED_KEY(key);
    return get_i64(state, NULL, key, value);
}
int tks_get_f64(tks_state *state, const char *key, double *value)
{
    return get_f64(state, key, NULL, value);
}
int tks_get_f64_k(tks_state *state, tks_key *key, double *value)
{
    NEED_KEY(key);
    return get_f64(state, NULL, key, value);
}
int tks_get_bool(tks_state *state, const char *key, bool *value)
{
    return get_bool(state, key, NULL, value);
}
int tks_get_bool_k(tks_state *state, tks_key *key, bool *value)
{
    NEED_KEY(key);
    return get_bool(state, NULL, key, value);
}
int tks_type(tks_state *state, const char *key, int *type)
{
    return get_type(state, key, NULL, type);
}
int tks_type_k(tks_state *state, tks_key *key, int *type)
{
    NEED_KEY(key);
    return get_type(state, NULL, key, type);
}

/* ---- Records ------------------------------------------------------------------------------- */

static int check_record_value(const struct tks_record *record)
{
    size_t want = record->type == TKS_TYPE_BOOL ? 1 : 8;
    double real;
    struct tks_scalar scalar;
    switch (record->type) {
    case TKS_TYPE_BYTES:
        return TKS_OK;
    case TKS_TYPE_STRING:
        return tks_utf8_valid(record->value, record->value_len)
                   ? TKS_OK
                   : tks_fail(TKS_INVALID, "a string value must be UTF-8");
    case TKS_TYPE_JSON: {
        int status = tks_json_scalar(record->value, record->value_len, &scalar);
        free(scalar.text);
        if (!status && scalar.type != TKS_TYPE_JSON)
            return tks_fail(TKS_INVALID, "a json record holds a scalar: use that scalar's type");
        return status;
    }
    case TKS_TYPE_I64:
    case TKS_TYPE_F64:
    case TKS_TYPE_BOOL:
        if (record->value_len != want)
            return tks_fail(TKS_INVALID, "a record's %zu bytes do not fit its type",
                            record->value_len);
        if (record->type == TKS_TYPE_BOOL)
            return *(const unsigned char *)record->value <= 1
                       ? TKS_OK
                       : tks_fail(TKS_INVALID, "a bool is 0 or 1");
        memcpy(&real, record->value, 8);
        return record->type == TKS_TYPE_I64 || isfinite(real)
                   ? TKS_OK
                   : tks_fail(TKS_INVALID, "an f64 must be finite");
    default:
        return tks_fail(TKS_INVALID, "a record has the unknown type %u", record->type);
    }
}

/* What any record must be; then its key is ready. */
static int check_record(tks_state *state, const struct tks_record *record, tks_key *prepared)
{
    if (!usable(state))
        return no_state(state);
    if (!record)
        return null_argument("record");
    if (record->size < sizeof(*record))
        return tks_fail(TKS_INVALID, "record->size must be set to sizeof(struct tks_record)");
    if (!record->value && record->value_len)
        return null_argument("record->value");
    if (record->expires_at < 0)
        return tks_fail(TKS_INVALID, "record->expires_at is negative");
    int status = check_record_value(record);
    return status ? status : tks_key_prepare_n(state, record->key, record->key_len, prepared);
}

static struct tks_writing record_writing(enum tks_write_kind kind, const struct tks_record *record)
{
    return (struct tks_writing){.kind = kind,
                                .type = record->type,
                                .value = record->value,
                                .len = record->value_len,
                                .expiry = record->expires_at ? EXPIRY_WALL : EXPIRY_NONE,
                                .expiry_ms = record->expires_at};
}

int tks_put_record(tks_state *state, const struct tks_record *record)
{
    tks_key prepared;
    int status = check_record(state, record, &prepared);
    if (status)
        return status;
    struct tks_writing writing = record_writing(WRITE_SET, record);
    return write_value(state, NULL, &prepared, &writing);
}

int tks_copy_record(tks_state *state, const struct tks_record *record, int *outcome)
{
    tks_key prepared;
    int status = check_record(state, record, &prepared);
    if (status)
        return status;
    bool expired = record->expires_at && record->expires_at <= wall_ms();
    struct tks_writing writing = record_writing(WRITE_COPY, record);
    writing.version = record->version;
    if (expired)
        writing = (struct tks_writing){.kind = WRITE_DELETE, .copied = TKS_COPY_EXPIRED};
    status = write_value(state, NULL, &prepared, &writing);
    if (outcome && !status)
        *outcome = writing.copied;
    return status;
}

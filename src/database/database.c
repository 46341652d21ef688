/* SPDX-License-Identifier: MIT */
/* Opening and closing: stores in databases, and their states. */
#include "database/database.h"

#include "base/error.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* ---- Drivers ------------------------------------------------------------------------------- */

struct scheme {
    const char *name;
    const char *option;              /* of the build */
    const struct tks_driver *driver; /* NULL: not in this build */
};

#ifdef TKS_HAVE_SQLITE
#define SQLITE_DRIVER &tks_sqlite_driver
#else
#define SQLITE_DRIVER NULL
#endif
#ifdef TKS_HAVE_POSTGRES
#define POSTGRES_DRIVER &tks_postgres_driver
#else
#define POSTGRES_DRIVER NULL
#endif

static const struct scheme schemes[] = {
    {"sqlite", "sqlite", SQLITE_DRIVER},
    {"postgres", "postgres", POSTGRES_DRIVER},
    {"postgresql", "postgres", POSTGRES_DRIVER},
};

int tks_driver_find(const char *name, const struct tks_driver **driver)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strcmp(schemes[i].name, name) != 0)
            continue;
        *driver = schemes[i].driver;
        return *driver ? TKS_OK
                       : tks_fail(TKS_UNSUPPORTED,
                                  "this build has no %s://: configure it with -D%s=enabled", name,
                                  schemes[i].option);
    }
    return tks_fail(TKS_UNSUPPORTED, "no database is called %s://", name);
}

static int database_uri_check(const struct tks_uri *uri)
{
    const struct tks_driver *driver;
    int status = tks_driver_find(uri->scheme, &driver);
    return status || !driver->check_uri ? status : driver->check_uri(uri);
}

/* ---- Stores -------------------------------------------------------------------------------- */

static int connect_store(struct database_store *store, const struct tks_uri *uri,
                         const struct tks_options *options)
{
    int status = store->driver->open(uri, options, &store->database);
    if (status)
        return status;
    status = store->driver->connect(store->database, &store->connection);
    if (status)
        store->driver->close(store->database);
    return status;
}

static int database_open(const struct tks_uri *uri, const struct tks_options *options,
                         tks_store **result)
{
    const struct tks_driver *driver;
    int status = tks_driver_find(uri->scheme, &driver);
    if (!status)
        status = tks_process_enter();
    if (status)
        return status;
    struct database_store *store = calloc(1, sizeof(*store));
    if (!store)
        return tks_fail(TKS_NO_SPACE, "no memory to open a database");
    store->driver = driver;
    status = connect_store(store, uri, options);
    if (status) {
        free(store);
        return status;
    }
    pthread_mutex_init(&store->lock, NULL);
    store->base.process_token = load_relaxed(&tks_process->token);
    store->references = 1;
    *result = &store->base;
    return TKS_OK;
}

/* By the thread that gives up a reference: any. */
static void unreference(struct database_store *store)
{
    if (__atomic_sub_fetch(&store->references, 1, __ATOMIC_ACQ_REL))
        return;
    store->driver->close(store->database);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static void database_close(tks_store *base)
{
    struct database_store *store = database_store_of(base);
    store->driver->disconnect(store->connection);
    store->connection = NULL;
    unreference(store);
}

static int database_destroy(const struct tks_uri *uri)
{
    const struct tks_driver *driver;
    int status = tks_driver_find(uri->scheme, &driver);
    return status ? status
                  : tks_fail(TKS_UNSUPPORTED,
                             "a database is not removed from here: its table plugin_state may be "
                             "used by other programs");
}

static int database_checkpoint(tks_store *store)
{
    (void)store;
    return tks_fail(TKS_UNSUPPORTED,
                    "a database writes every change to its own files: there is no checkpoint");
}

/* ---- States -------------------------------------------------------------------------------- */

static void finish_state(void *memory)
{
    struct database_state *state = memory;
    state->store->driver->disconnect(state->connection);
    state->connection = NULL;
    state->in_tick = false;
    tks_buffer_release(&state->text);
    tks_buffer_release(&state->scratch);
    fetch_add(&state->store->states, UINT64_MAX);
    unreference(state->store);
}

static int database_state_open(tks_store *base, const char *plugin, size_t len, tks_state **result)
{
    struct database_store *store = database_store_of(base);
    struct database_state *state = tks_wiped_alloc(sizeof(*state));
    if (!state)
        return tks_fail(TKS_NO_SPACE, "no memory for a state");
    int status = store->driver->connect(store->database, &state->connection);
    if (status) {
        tks_wiped_free(state, sizeof(*state));
        return status;
    }
    state->base.backend = base->backend;
    state->store = store;
    state->plugin_len = len;
    memcpy(state->plugin, plugin, len);
    fetch_add(&store->references, 1);
    fetch_add(&store->states, 1);
    tks_owner_add(&state->owner, state, sizeof(*state), finish_state);
    *result = &state->base;
    return TKS_OK;
}

static void database_state_close(tks_state *state)
{
    tks_owner_close(&database_state_of(state)->owner);
}

/* ---- Rows ---------------------------------------------------------------------------------- */

bool tks_database_names_valid(const struct tks_row_name *name)
{
    return tks_name_valid(name->plugin, name->plugin_len) &&
           tks_name_valid(name->key, name->key_len);
}

int tks_database_value(const struct tks_row_name *name, const struct tks_row *row,
                       struct tks_buffer *scratch, struct tks_value *value)
{
    const char *wrong = "null";
    int status =
        row->text ? tks_value_read(row->text, row->len, scratch, value, &wrong) : TKS_CORRUPT;
    if (status == TKS_CORRUPT)
        return tks_fail(status,
                        "table plugin_state, plugin \"%.*s\", key \"%.*s\": the value is %s",
                        (int)name->plugin_len, name->plugin, (int)name->key_len, name->key, wrong);
    if (status)
        return tks_fail(status, "no memory to read a value of %zu bytes", row->len);
    return TKS_OK;
}

/* ---- The table ----------------------------------------------------------------------------- */

#define DATABASE_BACKEND(scheme_name)                                                              \
    {                                                                                              \
        .scheme = scheme_name, .store_open = database_open, .store_close = database_close,         \
        .uri_check = database_uri_check, .store_destroy = database_destroy,                        \
        .store_stats = tks_database_stats, .store_checkpoint = database_checkpoint,                \
        .store_sweep = tks_database_sweep, .store_check = tks_database_check,                      \
        .store_plugins = tks_database_plugins, .store_export = tks_database_export,                \
        .state_open = database_state_open, .state_close = database_state_close,                    \
        .get = tks_get_by_read, .get_k = tks_get_k_by_read, .read = tks_database_read,             \
        .has = tks_database_has, .set = tks_database_set, .write = tks_database_write,             \
        .borrow = tks_database_borrow, .keys = tks_database_keys,                                  \
        .key_prepare = tks_database_key_prepare, .tick_begin = tks_database_tick_begin,            \
        .tick_end = tks_database_tick_end,                                                         \
    }

const struct tks_backend tks_sqlite_backend = DATABASE_BACKEND("sqlite");
const struct tks_backend tks_postgres_backend = DATABASE_BACKEND("postgres");
const struct tks_backend tks_postgresql_backend = DATABASE_BACKEND("postgresql");

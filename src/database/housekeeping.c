/* SPDX-License-Identifier: MIT */
/* What looks at a whole store: on the store's own connection, and visitors outside its lock. */
#include "database/database.h"

#include "base/clock.h"
#include "base/error.h"

#include <fnmatch.h>
#include <string.h>

/* ---- Plugins ------------------------------------------------------------------------------- */

/* Plugins one behind the other: the number of keys, then the name with its NUL. */
static int collect_plugin(void *arg, const char *plugin, size_t plugin_len, uint64_t rows)
{
    struct tks_buffer *plugins = arg;
    const struct tks_row_name name = {plugin, plugin, plugin_len, plugin_len};
    if (!tks_database_names_valid(&name))
        return 0;
    return tks_buffer_append(plugins, &rows, sizeof(rows)) &&
                   tks_buffer_append(plugins, plugin, plugin_len) &&
                   tks_buffer_append(plugins, "", 1)
               ? 0
               : tks_fail(TKS_NO_SPACE, "no memory for the names of the plugins");
}

static int collect_plugins(struct database_store *store, struct tks_buffer *plugins)
{
    pthread_mutex_lock(&store->lock);
    int status = store->driver->plugins(store->connection, wall_ms(), collect_plugin, plugins);
    pthread_mutex_unlock(&store->lock);
    return status;
}

typedef int plugin_visitor(void *arg, const char *plugin, size_t plugin_len, uint64_t keys);

static int visit_plugins(const struct tks_buffer *plugins, plugin_visitor *visit, void *arg)
{
    int status = TKS_OK;
    for (size_t at = 0; !status && at < plugins->len;) {
        uint64_t keys;
        memcpy(&keys, plugins->bytes + at, sizeof(keys));
        at += sizeof(keys);
        size_t len = strlen(plugins->bytes + at);
        status = visit(arg, plugins->bytes + at, len, keys);
        at += len + 1;
    }
    return status;
}

int tks_database_plugins(tks_store *store, plugin_visitor *visit, void *arg)
{
    struct tks_buffer plugins = {.bytes = NULL};
    int status = collect_plugins(database_store_of(store), &plugins);
    if (!status)
        status = visit_plugins(&plugins, visit, arg);
    tks_buffer_release(&plugins);
    return status;
}

/* ---- Counts -------------------------------------------------------------------------------- */

int tks_database_stats(tks_store *base, struct tks_stats *stats)
{
    struct database_store *store = database_store_of(base);
    int status = tks_database_plugins(base, tks_count_plugin, stats);
    if (status)
        return status;
    stats->states = load_ordered(&store->states);
    pthread_mutex_lock(&store->lock);
    status = store->driver->size(store->connection, &stats->size_bytes, &stats->used_bytes);
    pthread_mutex_unlock(&store->lock);
    stats->committed_bytes = stats->size_bytes;
    return status;
}

int tks_database_sweep(tks_store *base, uint64_t *purged)
{
    struct database_store *store = database_store_of(base);
    uint64_t dropped = 0;
    pthread_mutex_lock(&store->lock);
    int status = store->driver->sweep(store->connection, wall_ms(), &dropped);
    pthread_mutex_unlock(&store->lock);
    if (purged)
        *purged = dropped;
    return status;
}

/* ---- Audit --------------------------------------------------------------------------------- */

struct audit {
    struct tks_check *check;
    struct tks_buffer scratch;
    size_t plugin_len; /* of the last row, 0: there was none */
    char plugin[TKS_NAME_MAX + 1];
};

static void count_row(struct audit *audit, const struct tks_row_name *name)
{
    audit->check->keys++;
    if (audit->plugin_len == name->plugin_len &&
        !memcmp(audit->plugin, name->plugin, name->plugin_len))
        return;
    audit->check->plugins++;
    audit->plugin_len = name->plugin_len;
    memcpy(audit->plugin, name->plugin, name->plugin_len);
}

static int audit_row(void *arg, const struct tks_row_name *name, const struct tks_row *row)
{
    struct audit *audit = arg;
    struct tks_value value;
    if (!tks_database_names_valid(name))
        return tks_fail(TKS_CORRUPT,
                        "table plugin_state has a row whose plugin or key is no name: \"%.40s\", "
                        "\"%.40s\"",
                        name->plugin, name->key);
    count_row(audit, name);
    return tks_database_value(name, row, &audit->scratch, &value);
}

int tks_database_check(tks_store *base, struct tks_check *check)
{
    struct database_store *store = database_store_of(base);
    struct audit audit = {.check = check};
    pthread_mutex_lock(&store->lock);
    int status = store->driver->check ? store->driver->check(store->connection) : TKS_OK;
    if (!status)
        status = store->driver->rows(store->connection, NULL, 0, audit_row, &audit);
    pthread_mutex_unlock(&store->lock);
    tks_buffer_release(&audit.scratch);
    return status;
}

/* ---- Export -------------------------------------------------------------------------------- */

/* What stands before each row in a collected export; plugin, key (with a NUL each) and text follow.
 */
struct exported {
    size_t plugin_len, key_len, text_len;
    int64_t expires_at;
    uint64_t version;
    bool null;
};

struct collection {
    const char *glob; /* NULL: all */
    int64_t now_ms;
    struct tks_buffer rows;
};

static int collect_row(void *arg, const struct tks_row_name *name, const struct tks_row *row)
{
    struct collection *collection = arg;
    struct tks_buffer *rows = &collection->rows;
    if (!tks_database_names_valid(name) ||
        (row->expires_at && row->expires_at <= collection->now_ms) ||
        (collection->glob && fnmatch(collection->glob, name->plugin, 0) != 0))
        return 0;
    const struct exported head = {.plugin_len = name->plugin_len,
                                  .key_len = name->key_len,
                                  .text_len = row->len,
                                  .expires_at = row->expires_at,
                                  .version = row->version,
                                  .null = !row->text};
    return tks_buffer_append(rows, &head, sizeof(head)) &&
                   tks_buffer_append(rows, name->plugin, name->plugin_len + 1) &&
                   tks_buffer_append(rows, name->key, name->key_len + 1) &&
                   tks_buffer_append(rows, row->text, row->len)
               ? 0
               : tks_fail(TKS_NO_SPACE, "no memory to export %zu bytes", rows->len);
}

/* The row at *at of a collection, which moves on. */
static void collected_row(const struct tks_buffer *rows, size_t *at, struct tks_row_name *name,
                          struct tks_row *row)
{
    struct exported head;
    memcpy(&head, rows->bytes + *at, sizeof(head));
    const char *plugin = rows->bytes + *at + sizeof(head);
    const char *key = plugin + head.plugin_len + 1;
    const char *text = key + head.key_len + 1;
    *name = (struct tks_row_name){plugin, key, head.plugin_len, head.key_len};
    *row = (struct tks_row){head.null ? NULL : text, head.text_len, head.expires_at, head.version};
    *at = (size_t)(text + head.text_len - rows->bytes);
}

static int visit_rows(const struct tks_buffer *rows,
                      int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    struct tks_buffer scratch = {.bytes = NULL};
    int status = TKS_OK;
    for (size_t at = 0; !status && at < rows->len;) {
        struct tks_row_name name;
        struct tks_row row;
        struct tks_value value;
        collected_row(rows, &at, &name, &row);
        status = tks_database_value(&name, &row, &scratch, &value);
        if (status)
            break;
        const struct tks_record record = {.size = sizeof(record),
                                          .type = (uint32_t)value.type,
                                          .plugin = name.plugin,
                                          .plugin_len = name.plugin_len,
                                          .key = name.key,
                                          .key_len = name.key_len,
                                          .value = value.bytes,
                                          .value_len = value.len,
                                          .version = row.version,
                                          .expires_at = row.expires_at};
        status = visit(arg, &record);
    }
    tks_buffer_release(&scratch);
    return status;
}

/* A glob without special characters names one plugin, which the database finds by its key. */
static bool is_name(const char *glob)
{
    return glob && !strpbrk(glob, "*?[\\");
}

int tks_database_export(tks_store *base, const char *plugin_glob,
                        int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    struct database_store *store = database_store_of(base);
    struct collection collection = {.glob = plugin_glob, .now_ms = wall_ms()};
    const char *plugin = is_name(plugin_glob) ? plugin_glob : NULL;
    pthread_mutex_lock(&store->lock);
    int status = store->driver->rows(store->connection, plugin, plugin ? strlen(plugin) : 0,
                                     collect_row, &collection);
    pthread_mutex_unlock(&store->lock);
    if (!status)
        status = visit_rows(&collection.rows, visit, arg);
    tks_buffer_release(&collection.rows);
    return status;
}

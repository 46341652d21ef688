/* SPDX-License-Identifier: MIT */
/* stat, plugins, rm: a store as a whole. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* ---- stat -------------------------------------------------------------------------------- */

static json_t *checkpoint_json(const struct tks_stats *stats)
{
    return json_pack(
        "{sI sI sI sI sI sI ss sI sI sb ss}", "checkpoint_host", (json_int_t)stats->checkpoint_host,
        "checkpoint_cuts", (json_int_t)stats->checkpoint_cuts, "checkpoint_at_ms",
        (json_int_t)stats->checkpoint_at_ms, "checkpoint_ns", (json_int_t)stats->checkpoint_ns,
        "checkpoint_bytes", (json_int_t)stats->checkpoint_bytes, "checkpoint_errors",
        (json_int_t)stats->checkpoint_errors, "checkpoint_error", stats->checkpoint_error,
        "restored_at_ms", (json_int_t)stats->restored_at_ms, "restored_entries",
        (json_int_t)stats->restored_entries, "restored_damaged", stats->restored_damaged != 0,
        "restored_warning", stats->restored_warning);
}

static json_t *segment_json(const struct tks_stats *stats)
{
    return json_pack("{sI sI sI sI sI sI sI sI sI sI sb sb sb si}", "committed_bytes",
                     (json_int_t)stats->committed_bytes, "retired_bytes",
                     (json_int_t)stats->retired_bytes, "stores", (json_int_t)stats->stores, "slots",
                     (json_int_t)stats->slots, "recovered", (json_int_t)stats->recovered, "evicted",
                     (json_int_t)stats->evicted, "epoch", (json_int_t)stats->epoch, "snapshot_era",
                     (json_int_t)stats->snapshot_era, "created_ms", (json_int_t)stats->created_ms,
                     "clock_skew_ms", (json_int_t)stats->clock_skew_ms, "prefaulted",
                     (int)stats->prefaulted, "locked", (int)stats->locked, "huge", (int)stats->huge,
                     "mode", (int)stats->mode);
}

/* What every backend has; sizes are 0 where it does not know them. */
static json_t *store_json(const struct arguments *arguments, const struct tks_stats *stats)
{
    char backend[BACKEND_NAME_MAX];

    return json_pack("{ss ss sI sI sI sI sI}", "store", arguments->store_shown, "backend",
                     uri_backend(arguments->store_uri, backend), "size_bytes",
                     (json_int_t)stats->size_bytes, "used_bytes", (json_int_t)stats->used_bytes,
                     "keys", (json_int_t)stats->keys, "plugins", (json_int_t)stats->plugins,
                     "states", (json_int_t)stats->states);
}

static bool add_members(json_t *json, json_t *more)
{
    bool added = json && more && json_object_update(json, more) == 0;

    json_decref(more);
    return added;
}

static json_t *stats_json(const struct arguments *arguments, const struct tks_stats *stats)
{
    json_t *json = store_json(arguments, stats);

    if (!uri_is_shm(arguments->store_uri) ||
        (add_members(json, segment_json(stats)) && add_members(json, checkpoint_json(stats))))
        return json;
    json_decref(json);
    return NULL;
}

static void print_text(const char *label, const char *text)
{
    if (!*text)
        return;
    fputs(label, stdout);
    write_visible(stdout, text, strlen(text));
}

static void print_checkpoint(const struct tks_stats *stats)
{
    char text[GROUPED_MAX], age[AGE_MAX], date[DATE_MAX], duration[DURATION_MAX],
        size[SIZE_TEXT_MAX];

    printf("checkpoint host ");
    if (stats->checkpoint_host != 0)
        printf("%llu", (unsigned long long)stats->checkpoint_host);
    else
        printf("none");
    printf(", %s cuts", format_grouped(stats->checkpoint_cuts, text));
    if (stats->checkpoint_at_ms != 0)
        printf(", the last %s ago in %s, file %s",
               format_age(wall_clock_ms() - stats->checkpoint_at_ms, age),
               format_duration(stats->checkpoint_ns, duration),
               format_size(stats->checkpoint_bytes, size));
    putchar('\n');
    if (stats->checkpoint_errors != 0) {
        printf("errors     %llu checkpoints failed", (unsigned long long)stats->checkpoint_errors);
        print_text(", the last: ", stats->checkpoint_error);
        putchar('\n');
    }
    if (stats->restored_at_ms == 0)
        return;
    printf("restored   %s entries, as of %s", format_grouped(stats->restored_entries, text),
           format_date(stats->restored_at_ms, date));
    print_text(stats->restored_damaged ? "; damaged: " : "; ", stats->restored_warning);
    putchar('\n');
}

static void print_segment(const struct tks_stats *stats)
{
    char size[4][SIZE_TEXT_MAX];

    printf("size       %s reserved, %s committed\n", format_size(stats->size_bytes, size[0]),
           format_size(stats->committed_bytes, size[1]));
    printf("used       %s, of these %s retired\n", format_size(stats->used_bytes, size[2]),
           format_size(stats->retired_bytes, size[3]));
    printf("open       %llu states, %llu stores, of %llu slots\n",
           (unsigned long long)stats->states, (unsigned long long)stats->stores,
           (unsigned long long)stats->slots);
    printf("recovered  %llu dead owners\n", (unsigned long long)stats->recovered);
    printf("evicted    %llu stalled readers\n", (unsigned long long)stats->evicted);
    printf("epoch      %llu, snapshot era %llu\n", (unsigned long long)stats->epoch,
           (unsigned long long)stats->snapshot_era);
    printf("created    %lld ms since 1970, clock %+lld ms off the wall clock\n",
           (long long)stats->created_ms, (long long)stats->clock_skew_ms);
    printf("mode       %04o%s%s%s\n", stats->mode, stats->prefaulted ? ", prefaulted" : "",
           stats->locked ? ", locked" : "", stats->huge ? ", huge pages" : "");
    print_checkpoint(stats);
}

/* A backend that is no segment: what it knows. */
static void print_others(const struct tks_stats *stats)
{
    char size[SIZE_TEXT_MAX];

    if (stats->size_bytes != 0)
        printf("size       %s\n", format_size(stats->size_bytes, size));
    if (stats->used_bytes != 0)
        printf("used       %s\n", format_size(stats->used_bytes, size));
    printf("open       %llu states\n", (unsigned long long)stats->states);
}

static void print_stats(const struct arguments *arguments, const struct tks_stats *stats)
{
    char backend[BACKEND_NAME_MAX], keys[GROUPED_MAX];

    printf("store      %s\n", arguments->store_shown);
    printf("backend    %s\n", uri_backend(arguments->store_uri, backend));
    printf("keys       %s\n", format_grouped(stats->keys, keys));
    printf("plugins    %llu\n", (unsigned long long)stats->plugins);
    if (uri_is_shm(arguments->store_uri))
        print_segment(stats);
    else
        print_others(stats);
}

int command_stat(const struct arguments *arguments)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    struct session session;
    int status = session_open(arguments, SESSION_LOOK, &session);

    if (status != CLI_OK)
        return status;
    status = tks_store_stats(session.store, &stats);
    if (status != TKS_OK)
        status = complain_status(arguments, status, arguments->store_shown);
    else if (arguments->json)
        status = print_json(arguments, stats_json(arguments, &stats));
    else
        print_stats(arguments, &stats);
    session_close(&session);
    return status;
}

/* ---- plugins ----------------------------------------------------------------------------- */

struct plugin_row {
    char *name;
    uint64_t keys;
};

struct plugin_list {
    struct plugin_row *rows;
    size_t count, room;
};

static int add_plugin(void *arg, const char *plugin, size_t plugin_len, uint64_t keys)
{
    struct plugin_list *list = arg;

    (void)plugin_len;
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        struct plugin_row *rows = reallocarray(list->rows, room, sizeof(*rows));

        if (!rows)
            return TKS_NO_SPACE;
        list->rows = rows;
        list->room = room;
    }
    list->rows[list->count].name = strdup(plugin);
    if (!list->rows[list->count].name)
        return TKS_NO_SPACE;
    list->rows[list->count++].keys = keys;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct plugin_row *left = a, *right = b;

    return strcmp(left->name, right->name);
}

static int print_plugins_json(const struct arguments *arguments, const struct plugin_list *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count && array; i++) {
        json_t *row = json_pack("{ss sI}", "plugin", list->rows[i].name, "keys",
                                (json_int_t)list->rows[i].keys);

        if (json_array_append_new(array, row) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return print_json(arguments, array);
}

static int print_plugins(const struct arguments *arguments, struct plugin_list *list)
{
    if (list->count > 0)
        qsort(list->rows, list->count, sizeof(*list->rows), by_name);
    if (arguments->json)
        return print_plugins_json(arguments, list);
    for (size_t i = 0; i < list->count; i++) {
        printf("%10llu  ", (unsigned long long)list->rows[i].keys);
        write_visible(stdout, list->rows[i].name, strlen(list->rows[i].name));
        putchar('\n');
    }
    return CLI_OK;
}

static void release_plugins(struct plugin_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->rows[i].name);
    free(list->rows);
}

int command_plugins(const struct arguments *arguments)
{
    struct plugin_list list = {NULL, 0, 0};
    struct session session;
    int status = session_open(arguments, SESSION_LOOK, &session);

    if (status != CLI_OK)
        return status;
    status = tks_store_plugins(session.store, add_plugin, &list);
    if (status == TKS_OK)
        status = print_plugins(arguments, &list);
    else
        status = complain_status(arguments, status, arguments->store_shown);
    release_plugins(&list);
    session_close(&session);
    return status;
}

/* ---- rm ---------------------------------------------------------------------------------- */

int command_rm(const struct arguments *arguments)
{
    int status = tks_store_destroy(arguments->store_uri);

    return status == TKS_OK ? CLI_OK : complain_status(arguments, status, arguments->store_shown);
}

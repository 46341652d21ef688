/* SPDX-License-Identifier: MIT */
#include "store/backlog.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "json/value.h"
#include "store/cut.h"
#include "store/shm.h"
#include "table/registry.h"

#include <stdlib.h>

#define BATCH_BYTES (1u << 20)
#define BATCH_RANGES 4096u
/* What is copied in one step of a walk, by how many rows are wanted. */
#define STEP_BYTES_MOST (64u << 10)
#define STEP_BYTES_PER_ROW 64u
/* By so much the difference may seem to change: it is rounded, and the wall clock is slewed. */
#define CLOCK_JITTER_MS 2

static int no_memory(void)
{
    return tks_fail(TKS_NO_SPACE, "no memory for a batch of the mirror");
}

static size_t count_of(const struct tks_buffer *array, size_t element)
{
    return array->len / element;
}

static const struct tks_backlog_place *place_at(const struct tks_buffer *places, size_t index)
{
    return (const struct tks_backlog_place *)(const void *)places->bytes + index;
}

/* ---- The cycle ----------------------------------------------------------------------------- */

static int add_place(struct tks_buffer *places, struct plugin *plugin, struct tks_run run)
{
    struct tks_backlog_place place = {.plugin = plugin, .run = run};
    place.name_len = tks_registry_name(plugin, place.name);
    return tks_buffer_append(places, &place, sizeof(place)) ? TKS_OK : no_memory();
}

static int add_stopped(void *arg, struct plugin *plugin, struct tks_run run)
{
    struct tks_backlog *backlog = arg;
    return add_place(&backlog->stopped, plugin, run);
}

static int add_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct tks_backlog *backlog = arg;
    (void)granule;
    if (load_acquire(&plugin->changed) < backlog->since)
        return TKS_OK;
    return add_place(&backlog->plugins, plugin, (struct tks_run){0, UINT64_MAX});
}

/* With the first snapshot held: the stopped first, then the marks (tks_changes_stopped()). */
static int begin_cycle(struct tks_backlog *backlog, const struct tks_snapshot *snapshot)
{
    const struct tks_segment *segment = backlog->member->segment;
    backlog->stamp = snapshot->stamp;
    backlog->names_due = !backlog->since;
    backlog->plugins.len = backlog->stopped.len = 0;
    backlog->carried = (struct tks_backlog_cursor){.run = {1, 0}, .changes = {.ended = true}};
    int status = backlog->since ? tks_changes_stopped(segment, add_stopped, backlog) : TKS_OK;
    return status ? status : tks_registry_each(segment, add_plugin, backlog);
}

static void begin_plugin(struct tks_backlog *backlog, struct tks_backlog_cursor *cursor)
{
    cursor->place = place_at(&backlog->plugins, cursor->plugin++);
    cursor->changes = (struct tks_changes){
        .member = backlog->member, .plugin = cursor->place->plugin, .since = backlog->since};
}

/* Make cursor->run what comes next; it stays empty at the end of the cycle. */
static int find_run(struct tks_backlog *backlog, struct tks_backlog_cursor *cursor)
{
    const size_t stopped = count_of(&backlog->stopped, sizeof(struct tks_backlog_place));
    const size_t plugins = count_of(&backlog->plugins, sizeof(struct tks_backlog_place));
    int status = TKS_OK;
    while (!status && cursor->run.first > cursor->run.last) {
        if (cursor->stopped < stopped) {
            cursor->place = place_at(&backlog->stopped, cursor->stopped++);
            cursor->run = cursor->place->run;
        } else if (!cursor->changes.ended) {
            status = tks_changes_next(&cursor->changes, &cursor->run);
        } else if (cursor->plugin < plugins) {
            begin_plugin(backlog, cursor);
        } else {
            break;
        }
    }
    return status;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* Where a row's texts are, as long as their buffer may still move. */
struct offsets {
    size_t key, value;
};

static size_t row_count(const struct tks_backlog *backlog)
{
    return count_of(&backlog->rows, sizeof(struct tks_mirror_row));
}

/* In the order of bigint, hashes are in their own. */
static int64_t hash_column(uint64_t hash)
{
    return (int64_t)(hash ^ 1ull << 63);
}

static int add_value(struct tks_backlog *backlog, const struct tks_record *record)
{
    const int status =
        tks_value_write(record->type, record->value, record->value_len, &backlog->texts);
    if (status == TKS_NO_SPACE)
        return no_memory();
    return status ? tks_fail(TKS_CORRUPT,
                             "segment \"%s\": the value of \"%.*s\" in plugin \"%.*s\" is not what "
                             "its type says",
                             backlog->member->segment->name, (int)record->key_len, record->key,
                             (int)record->plugin_len, record->plugin)
                  : TKS_OK;
}

static int add_row(struct tks_backlog *backlog, const struct tks_record *record)
{
    const struct tks_mirror_row row = {
        .name = {.plugin = record->plugin,
                 .plugin_len = record->plugin_len,
                 .key_len = record->key_len},
        .row = {.expires_at = record->expires_at, .version = record->version},
        .hash = hash_column(hash_of(record->key, record->key_len)),
    };
    struct offsets offsets = {.key = backlog->texts.len};
    if (!tks_buffer_append(&backlog->texts, record->key, record->key_len + 1))
        return no_memory();
    offsets.value = backlog->texts.len;
    int status = add_value(backlog, record);
    if (!status && (!tks_buffer_append(&backlog->rows, &row, sizeof(row)) ||
                    !tks_buffer_append(&backlog->offsets, &offsets, sizeof(offsets)) ||
                    !tks_buffer_append(&backlog->texts, "", 1)))
        status = no_memory();
    return status;
}

static int add_items(struct tks_backlog *backlog, const struct tks_backlog_place *place)
{
    const int64_t now_ms = tks_segment_now_ms(backlog->member->segment);
    const struct tks_item *item;
    int status = TKS_OK;
    for (size_t at = 0; !status && (item = tks_batch_next(&backlog->items, &at, true));) {
        struct tks_record record = {.plugin = place->name, .plugin_len = place->name_len};
        if (tks_item_record(item, now_ms, backlog->to_wall_ms, &record))
            status = add_row(backlog, &record);
    }
    return status;
}

/* Now nothing moves any more. */
static void place_texts(struct tks_backlog *backlog)
{
    struct tks_mirror_row *rows = (void *)backlog->rows.bytes;
    const struct offsets *offsets = (const void *)backlog->offsets.bytes;
    const size_t count = row_count(backlog);
    for (size_t i = 0; i < count; i++) {
        const size_t end = i + 1 < count ? offsets[i + 1].key : backlog->texts.len;
        rows[i].name.key = backlog->texts.bytes + offsets[i].key;
        rows[i].row.text = backlog->texts.bytes + offsets[i].value;
        rows[i].row.len = end - 1 - offsets[i].value;
    }
}

/* ---- A batch ------------------------------------------------------------------------------- */

static bool is_full(const struct tks_backlog *backlog)
{
    return row_count(backlog) >= backlog->most_rows || backlog->texts.len >= BATCH_BYTES ||
           count_of(&backlog->ranges, sizeof(struct tks_mirror_range)) >= BATCH_RANGES;
}

static size_t step_bytes(const struct tks_backlog *backlog)
{
    const size_t bytes = backlog->most_rows * STEP_BYTES_PER_ROW;
    return bytes < STEP_BYTES_MOST ? bytes : STEP_BYTES_MOST;
}

static int add_range(struct tks_backlog *backlog, const struct tks_backlog_cursor *cursor,
                     uint64_t last, size_t row_begin)
{
    const struct tks_mirror_range range = {
        .plugin = cursor->place->name,
        .plugin_len = cursor->place->name_len,
        .first = hash_column(cursor->run.first),
        .last = hash_column(last),
        .row_begin = row_begin,
        .row_end = row_count(backlog),
    };
    return tks_buffer_append(&backlog->ranges, &range, sizeof(range)) ? TKS_OK : no_memory();
}

/* Of a run as much as the batch has room for. */
static int walk_run(struct tks_backlog *backlog, struct tks_backlog_cursor *cursor,
                    const struct tks_snapshot *snapshot)
{
    const struct tks_run run = cursor->run;
    const size_t row_begin = row_count(backlog);
    struct tks_walk walk = {.member = backlog->member,
                            .plugin = cursor->place->plugin,
                            .position = run.first,
                            .last = run.last == UINT64_MAX ? 0 : run.last,
                            .snapshot = snapshot,
                            .values = true};
    int status = TKS_OK;
    while (!status && !walk.ended && !is_full(backlog)) {
        backlog->items.used = 0;
        status = tks_walk_next(&walk, &backlog->items, step_bytes(backlog));
        if (!status)
            status = add_items(backlog, cursor->place);
    }
    if (status || (!walk.ended && walk.position == run.first))
        return status;
    status = add_range(backlog, cursor, walk.ended ? run.last : walk.position - 1, row_begin);
    cursor->run = walk.ended ? (struct tks_run){1, 0} : (struct tks_run){walk.position, run.last};
    return status;
}

static void empty_batch(struct tks_backlog *backlog)
{
    backlog->ranges.len = backlog->rows.len = backlog->names.len = 0;
    backlog->texts.len = backlog->offsets.len = 0;
    if (!backlog->most_rows)
        backlog->most_rows = BACKLOG_ROWS_MOST;
}

static void look_at_clocks(struct tks_backlog *backlog)
{
    const int64_t to_wall_ms = tks_segment_to_wall_ms(backlog->member->segment);
    if (llabs(sub_clamped(to_wall_ms, backlog->to_wall_ms)) > CLOCK_JITTER_MS)
        backlog->to_wall_ms = to_wall_ms;
}

/* A first cycle begins with all plugins there are: what the database has of others is none of the
 * segment's. */
static int add_names(struct tks_backlog *backlog)
{
    const size_t count = count_of(&backlog->plugins, sizeof(struct tks_backlog_place));
    for (size_t i = 0; i < count; i++) {
        const struct tks_backlog_place *place = place_at(&backlog->plugins, i);
        const struct tks_row_name name = {.plugin = place->name, .plugin_len = place->name_len};
        if (!tks_buffer_append(&backlog->names, &name, sizeof(name)))
            return no_memory();
    }
    /* An empty list is one too. */
    return tks_buffer_reserve(&backlog->names, 1) ? TKS_OK : no_memory();
}

static int fill_batch(struct tks_backlog *backlog, const struct tks_snapshot *snapshot)
{
    struct tks_backlog_cursor *cursor = &backlog->collected;
    int status = backlog->begun ? TKS_OK : begin_cycle(backlog, snapshot);
    *cursor = backlog->carried;
    if (!status && backlog->names_due)
        status = add_names(backlog);
    if (!status)
        status = find_run(backlog, cursor);
    while (!status && cursor->run.first <= cursor->run.last && !is_full(backlog)) {
        status = walk_run(backlog, cursor, snapshot);
        if (!status)
            status = find_run(backlog, cursor);
    }
    return status;
}

static int try_collect(struct tks_backlog *backlog)
{
    struct tks_segment *segment = backlog->member->segment;
    const int64_t now_ms = tks_segment_now_ms(segment);
    struct tks_snapshot snapshot;
    int status = tks_snapshot_begin(backlog->member, &snapshot);
    if (status)
        return status;
    empty_batch(backlog);
    look_at_clocks(backlog);
    status = fill_batch(backlog, &snapshot);
    /* The marks mean what they say only as long as no bucket moves, and nobody moves one while the
     * snapshot is held. */
    if (!status && !snapshot_held(segment, &snapshot))
        status = WALK_LOST;
    tks_snapshot_end(backlog->member, &snapshot);
    if (status)
        return status;
    if (!backlog->begun)
        backlog->began_ms = now_ms;
    backlog->begun = true;
    return TKS_OK;
}

int tks_backlog_collect(struct tks_backlog *backlog, struct tks_mirror_batch *batch)
{
    int status = TKS_BUSY;
    for (int i = 0; i < CUT_TRIES; i++) {
        status = try_collect(backlog);
        if (!tks_cut_try_again(status))
            break;
    }
    if (status == TKS_BUSY || status == WALK_LOST || status == TKS_EVICTED)
        return tks_fail(TKS_BUSY, "segment \"%s\": no consistent batch in %d attempts",
                        backlog->member->segment->name, CUT_TRIES);
    if (status)
        return status;
    place_texts(backlog);
    *batch = (struct tks_mirror_batch){
        .ranges = (const void *)backlog->ranges.bytes,
        .range_count = count_of(&backlog->ranges, sizeof(struct tks_mirror_range)),
        .rows = (const void *)backlog->rows.bytes,
        .row_count = row_count(backlog),
        .plugins = backlog->names_due ? (const void *)backlog->names.bytes : NULL,
        .plugin_count = count_of(&backlog->names, sizeof(struct tks_row_name)),
    };
    return TKS_OK;
}

bool tks_backlog_carried(struct tks_backlog *backlog)
{
    const size_t stopped = count_of(&backlog->stopped, sizeof(struct tks_backlog_place));
    const size_t plugins = count_of(&backlog->plugins, sizeof(struct tks_backlog_place));
    const struct tks_backlog_cursor *cursor = &backlog->collected;
    backlog->carried = *cursor;
    backlog->names_due = false;
    if (cursor->run.first <= cursor->run.last || cursor->stopped < stopped ||
        !cursor->changes.ended || cursor->plugin < plugins)
        return false;
    backlog->since = backlog->stamp;
    backlog->begun = false;
    return true;
}

void tks_backlog_forget(struct tks_backlog *backlog)
{
    backlog->since = 0;
    backlog->begun = false;
}

void tks_backlog_release(struct tks_backlog *backlog)
{
    tks_buffer_release(&backlog->plugins);
    tks_buffer_release(&backlog->stopped);
    tks_buffer_release(&backlog->ranges);
    tks_buffer_release(&backlog->rows);
    tks_buffer_release(&backlog->names);
    tks_buffer_release(&backlog->texts);
    tks_buffer_release(&backlog->offsets);
    free(backlog->items.bytes);
}

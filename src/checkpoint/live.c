/* SPDX-License-Identifier: MIT */
/* Which entries count, and visiting them; how is in loaded.h. */
#include "base/error.h"
#include "checkpoint/loaded.h"

#include <stdlib.h>
#include <string.h>

#define NESTED_MAX 65 /* sizes from 1 to 2^64 */

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* ---- Steps --------------------------------------------------------------------------------- */

static int range_order(const void *a, const void *b)
{
    const struct loaded_range *one = a, *other = b;
    int order = compare(one->plugin, other->plugin);
    if (!order)
        order = compare(one->first, other->first);
    if (!order)
        order = compare(other->last, one->last);
    return order ? order : compare(one->from, other->from);
}

struct cover {
    uint64_t first, last, from;
};

struct sweep {
    struct tks_loaded *loaded;
    struct loaded_plugin *plugin;
    struct cover stack[NESTED_MAX];
    unsigned depth;
};

static bool emit(struct sweep *sweep, uint64_t hash, uint64_t from)
{
    struct vector *steps = &sweep->loaded->steps;
    struct loaded_step *all = steps->items, step = {hash, from};
    if (steps->count > sweep->plugin->steps) {
        struct loaded_step *last = &all[steps->count - 1];
        if (last->hash == hash) {
            last->from = from;
            return true;
        }
        if (last->from == from)
            return true;
    }
    return tks_vector_push(steps, &step, sizeof(step));
}

static uint64_t top_from(const struct sweep *sweep)
{
    return sweep->depth ? sweep->stack[sweep->depth - 1].from : 0;
}

/* Leave the ranges that end before @p hash; with NULL all of them. */
static bool leave(struct sweep *sweep, const uint64_t *hash)
{
    while (sweep->depth) {
        uint64_t last = sweep->stack[sweep->depth - 1].last;
        if (hash && last >= *hash)
            return true;
        sweep->depth--;
        if (last != UINT64_MAX && !emit(sweep, last + 1, top_from(sweep)))
            return false;
    }
    return true;
}

/* A range repeated takes its own place, so the stack's sizes are strictly descending. */
static bool enter(struct sweep *sweep, const struct loaded_range *range)
{
    if (!leave(sweep, &range->first))
        return false;
    uint64_t from = range->from > top_from(sweep) ? range->from : top_from(sweep);
    const struct cover *top = sweep->stack + sweep->depth - (sweep->depth > 0);
    if (sweep->depth && top->first == range->first && top->last == range->last)
        sweep->depth--;
    sweep->stack[sweep->depth++] = (struct cover){range->first, range->last, from};
    return emit(sweep, range->first, from);
}

static bool make_steps(struct tks_loaded *loaded)
{
    struct loaded_range *ranges = loaded->ranges.items;
    size_t count = loaded->ranges.count;
    if (count)
        qsort(ranges, count, sizeof(*ranges), range_order);
    for (size_t i = 0; i < count;) {
        struct sweep sweep = {.loaded = loaded, .plugin = loaded_plugin(loaded, ranges[i].plugin)};
        uint32_t plugin = ranges[i].plugin;
        sweep.plugin->steps = loaded->steps.count;
        for (; i < count && ranges[i].plugin == plugin; i++)
            if (!enter(&sweep, &ranges[i]))
                return false;
        if (!leave(&sweep, NULL))
            return false;
        sweep.plugin->steps_end = loaded->steps.count;
    }
    return true;
}

/* Where hashes that only grow stand in a plugin's steps. */
struct stepper {
    const struct loaded_step *next, *end;
    uint64_t from;
};

static struct stepper stepper_of(const struct tks_loaded *loaded,
                                 const struct loaded_plugin *plugin)
{
    const struct loaded_step *steps = loaded->steps.items;
    if (plugin->steps == plugin->steps_end)
        return (struct stepper){NULL, NULL, 0};
    return (struct stepper){steps + plugin->steps, steps + plugin->steps_end, 0};
}

static inline bool counts(struct stepper *stepper, uint64_t hash, uint64_t from)
{
    for (; stepper->next < stepper->end && stepper->next->hash <= hash; stepper->next++)
        stepper->from = stepper->next->from;
    return from >= stepper->from;
}

/* ---- Items --------------------------------------------------------------------------------- */

static void record_of(const struct tks_loaded *loaded, const struct loaded_item *item,
                      struct tks_record *record)
{
    tks_parsed_entry(loaded, item->from, record);
}

static int key_order(const struct tks_loaded *loaded, const struct loaded_item *one,
                     const struct loaded_item *other)
{
    struct tks_record a, b;
    record_of(loaded, one, &a);
    record_of(loaded, other, &b);
    int order = compare(a.key_len, b.key_len);
    return order ? order : memcmp(a.key, b.key, a.key_len);
}

/* Keys are compared only where hashes collide or a key stands twice. */
static int item_order(const void *a, const void *b, void *loaded)
{
    const struct loaded_item *one = a, *other = b;
    int order = compare(one->plugin, other->plugin);
    if (!order)
        order = compare(one->hash, other->hash);
    if (!order)
        order = key_order(loaded, one, other);
    return order ? order : compare(one->from, other->from);
}

/* The image of a plugin that is not in order. */
static bool runs_to_items(struct tks_loaded *loaded)
{
    const struct loaded_run *runs = loaded->runs.items;
    for (size_t i = 0; i < loaded->runs.count; i++) {
        uint64_t at = runs[i].from;
        if (loaded_plugin(loaded, runs[i].plugin)->ordered)
            continue;
        for (uint32_t k = 0; k < runs[i].entries; k++) {
            struct tks_record record;
            struct loaded_item item = {.from = at, .plugin = runs[i].plugin};
            at = tks_parsed_entry(loaded, at, &record);
            item.hash = hash_of(record.key, record.key_len);
            if (!tks_vector_push(&loaded->items, &item, sizeof(item)))
                return false;
        }
    }
    return true;
}

static bool same_entry(const struct tks_record *a, const struct tks_record *b)
{
    return a->type == b->type && a->version == b->version && a->expires_at == b->expires_at &&
           a->value_len == b->value_len && !memcmp(a->value, b->value, a->value_len);
}

static int fail_twice(const struct loaded_item *item, const char *path)
{
    return tks_fail(TKS_CORRUPT,
                    "checkpoint \"%s\" is damaged: the entry at byte %llu has a key that its cut "
                    "holds twice",
                    path, (unsigned long long)item->from);
}

/*
 * Keep of a plugin's items, sorted, those that count, each key once. Two that count for one
 * hash are of one cut, so they must be the same (ranges that nest list an entry twice).
 */
static int keep_live(struct tks_loaded *loaded, struct loaded_plugin *plugin,
                     const struct loaded_item *from, size_t count, const char *path)
{
    struct loaded_item *items = loaded->items.items;
    struct stepper stepper = stepper_of(loaded, plugin);
    size_t kept = plugin->items;
    for (size_t i = 0; i < count; i++) {
        if (!counts(&stepper, from[i].hash, from[i].from))
            continue;
        bool again = kept > plugin->items && items[kept - 1].hash == from[i].hash &&
                     !key_order(loaded, &items[kept - 1], &from[i]);
        if (!again) {
            items[kept++] = from[i];
            continue;
        }
        struct tks_record a, b;
        record_of(loaded, &items[kept - 1], &a);
        record_of(loaded, &from[i], &b);
        if (!same_entry(&a, &b))
            return fail_twice(&from[i], path);
    }
    plugin->items_end = kept;
    return TKS_OK;
}

static int make_items(struct tks_loaded *loaded, const char *path)
{
    struct loaded_item *items = loaded->items.items;
    size_t count = loaded->items.count, kept = 0;
    if (count)
        qsort_r(items, count, sizeof(*items), item_order, loaded);
    for (size_t i = 0; i < count;) {
        size_t begin = i;
        struct loaded_plugin *plugin = loaded_plugin(loaded, items[i].plugin);
        for (; i < count && items[i].plugin == items[begin].plugin; i++)
            ;
        plugin->items = plugin->items_end = kept;
        int status = keep_live(loaded, plugin, items + begin, i - begin, path);
        if (status)
            return status;
        kept = plugin->items_end;
    }
    loaded->items.count = kept;
    return TKS_OK;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

static int run_order(const void *a, const void *b)
{
    const struct loaded_run *one = a, *other = b;
    int order = compare(one->plugin, other->plugin);
    return order ? order : compare(one->from, other->from);
}

static void make_runs(struct tks_loaded *loaded)
{
    struct loaded_run *runs = loaded->runs.items;
    if (loaded->runs.count)
        qsort(runs, loaded->runs.count, sizeof(*runs), run_order);
    for (size_t i = 0; i < loaded->runs.count; i++) {
        struct loaded_plugin *plugin = loaded_plugin(loaded, runs[i].plugin);
        if (!plugin->ordered)
            continue;
        if (plugin->runs == plugin->runs_end)
            plugin->runs = i;
        plugin->runs_end = i + 1;
    }
}

/* ---- Visiting ------------------------------------------------------------------------------ */

typedef int visit_fn(void *arg, const struct tks_record *record, uint64_t hash);

struct visiting {
    const struct tks_loaded *loaded;
    struct stepper stepper;
    const struct loaded_item *item, *items_end;
    struct tks_record record;
    visit_fn *visit;
    void *arg;
};

/* Items before @p hash, or all that are left. A key of an item is in no run that counts. */
static int visit_items(struct visiting *visiting, const uint64_t *hash)
{
    for (; visiting->item < visiting->items_end; visiting->item++) {
        if (hash && visiting->item->hash > *hash)
            return 0;
        record_of(visiting->loaded, visiting->item, &visiting->record);
        int stop = visiting->visit(visiting->arg, &visiting->record, visiting->item->hash);
        if (stop)
            return stop;
    }
    return 0;
}

static int visit_run(struct visiting *visiting, const struct loaded_run *run)
{
    uint64_t at = run->from;
    for (uint32_t i = 0; i < run->entries; i++) {
        uint64_t from = at;
        at = tks_parsed_entry(visiting->loaded, at, &visiting->record);
        uint64_t hash = hash_of(visiting->record.key, visiting->record.key_len);
        if (!counts(&visiting->stepper, hash, from))
            continue;
        int stop = 0;
        if (visiting->item < visiting->items_end && visiting->item->hash <= hash) {
            stop = visit_items(visiting, &hash);
            tks_parsed_entry(visiting->loaded, from, &visiting->record);
        }
        if (!stop)
            stop = visiting->visit(visiting->arg, &visiting->record, hash);
        if (stop)
            return stop;
    }
    return 0;
}

static int visit_plugin(const struct tks_loaded *loaded, const struct loaded_plugin *plugin,
                        visit_fn *visit, void *arg)
{
    struct visiting visiting = {.loaded = loaded,
                                .stepper = stepper_of(loaded, plugin),
                                .record = {.size = sizeof(struct tks_record),
                                           .plugin = plugin->name,
                                           .plugin_len = plugin->name_len},
                                .visit = visit,
                                .arg = arg};
    if (plugin->items != plugin->items_end) {
        visiting.item = (const struct loaded_item *)loaded->items.items + plugin->items;
        visiting.items_end = (const struct loaded_item *)loaded->items.items + plugin->items_end;
    }
    const struct loaded_run *runs = loaded->runs.items;
    for (size_t i = plugin->runs; i < plugin->runs_end; i++) {
        int stop = visit_run(&visiting, &runs[i]);
        if (stop)
            return stop;
    }
    return visit_items(&visiting, NULL);
}

int tks_loaded_each(const struct tks_loaded *loaded, visit_fn *visit, void *arg)
{
    int stop = 0;
    for (size_t i = 0; !stop && i < loaded->plugins.count; i++)
        stop = visit_plugin(loaded, loaded_plugin(loaded, i), visit, arg);
    return stop;
}

/* ---- All of it ----------------------------------------------------------------------------- */

static int count_entry(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct tks_checkpoint_info *info = arg;
    (void)hash;
    info->entries++;
    info->live_bytes += format_entry_bytes(record->key_len, record->value_len);
    return 0;
}

int tks_live_prepare(struct tks_loaded *loaded, const char *path)
{
    if (!runs_to_items(loaded) || !make_steps(loaded))
        return tks_fail(TKS_NO_SPACE, "no memory to load checkpoint \"%s\"", path);
    int status = make_items(loaded, path);
    if (status)
        return status;
    make_runs(loaded);
    return tks_loaded_each(loaded, count_entry, &loaded->info);
}

/* SPDX-License-Identifier: MIT */
/* Records. Every length is checked against what is left of the batch before it is followed. */
#include "base/error.h"
#include "base/text.h"
#include "checkpoint/loaded.h"

#include <stdlib.h>
#include <string.h>

bool tks_vector_push(struct vector *vector, const void *item, size_t bytes)
{
    if (vector->count == vector->room) {
        size_t room = vector->room ? vector->room * 2 : 64;
        void *items = realloc(vector->items, room * bytes);
        if (!items)
            return false;
        vector->items = items;
        vector->room = room;
    }
    memcpy((char *)vector->items + vector->count++ * bytes, item, bytes);
    return true;
}

/* ---- Plugins by name ----------------------------------------------------------------------- */

static size_t table_place(const struct tks_loaded *loaded, const char *name, size_t len)
{
    size_t place = XXH3_64bits_withSeed(name, len, loaded->table_seed) & loaded->table_mask;
    for (; loaded->table[place]; place = (place + 1) & loaded->table_mask) {
        const struct loaded_plugin *plugin = loaded_plugin(loaded, loaded->table[place] - 1);
        if (plugin->name_len == len && !memcmp(plugin->name, name, len))
            break;
    }
    return place;
}

/* Keeps at least half of the table free, so that every search ends. */
static bool table_grow(struct tks_loaded *loaded)
{
    if (loaded->table && loaded->plugins.count * 2 < loaded->table_mask)
        return true;
    size_t places = loaded->table ? (loaded->table_mask + 1) * 2 : 64;
    uint32_t *table = calloc(places, sizeof(*table));
    if (!table)
        return false;
    free(loaded->table);
    loaded->table = table;
    loaded->table_mask = places - 1;
    for (size_t i = 0; i < loaded->plugins.count; i++) {
        const struct loaded_plugin *plugin = loaded_plugin(loaded, i);
        table[table_place(loaded, plugin->name, plugin->name_len)] = (uint32_t)i + 1;
    }
    return true;
}

/* ---- Reading records ----------------------------------------------------------------------- */

struct cursor {
    const unsigned char *bytes; /* of the file */
    uint64_t at, end;
    const char *why;
};

static bool refuse(struct cursor *cursor, const char *why)
{
    cursor->why = why;
    return false;
}

/* A name of @p len bytes at @p at with its NUL byte. */
static const char *name_at(const struct cursor *cursor, uint64_t at, size_t len)
{
    const char *name = (const char *)cursor->bytes + at;
    return !name[len] && tks_name_valid(name, len) ? name : NULL;
}

static bool read_plugin(struct cursor *cursor, const char **name, size_t *len)
{
    struct format_plugin plugin;
    if (cursor->end - cursor->at < sizeof(plugin))
        return refuse(cursor, "a plugin record is cut off");
    memcpy(&plugin, cursor->bytes + cursor->at, sizeof(plugin));
    size_t bytes = format_plugin_bytes(plugin.name_len);
    if (cursor->end - cursor->at < bytes)
        return refuse(cursor, "a plugin record is cut off");
    *name = name_at(cursor, cursor->at + sizeof(plugin), plugin.name_len);
    *len = plugin.name_len;
    cursor->at += bytes;
    return *name || refuse(cursor, "a plugin name is not valid");
}

static bool read_range(struct cursor *cursor, struct format_range *range)
{
    if (cursor->end - cursor->at < sizeof(*range))
        return refuse(cursor, "a range record is cut off");
    memcpy(range, cursor->bytes + cursor->at, sizeof(*range));
    cursor->at += sizeof(*range);
    return format_range_valid(range->first, range->last) ||
           refuse(cursor, "a range is not aligned");
}

static inline void decode_entry(const unsigned char *bytes, const struct format_entry *entry,
                                struct tks_record *record)
{
    record->type = entry->value_type;
    record->key = (const char *)bytes + sizeof(*entry);
    record->key_len = entry->key_len;
    record->value = bytes + sizeof(*entry) + format_pad((size_t)entry->key_len + 1);
    record->value_len = entry->value_len;
    record->version = entry->version;
    record->expires_at = entry->expires_at;
}

static bool read_entry(struct cursor *cursor, struct tks_record *record)
{
    struct format_entry entry;
    if (cursor->end - cursor->at < sizeof(entry))
        return refuse(cursor, "an entry is cut off");
    memcpy(&entry, cursor->bytes + cursor->at, sizeof(entry));
    size_t bytes = format_entry_bytes(entry.key_len, entry.value_len);
    if (cursor->end - cursor->at < bytes)
        return refuse(cursor, "an entry is cut off");
    decode_entry(cursor->bytes + cursor->at, &entry, record);
    cursor->at += bytes;
    return (!record->key[record->key_len] && tks_format_entry_valid(record)) ||
           refuse(cursor, "an entry is not valid");
}

static bool read_commit(struct cursor *cursor, struct format_commit *commit)
{
    if (cursor->end - cursor->at < sizeof(*commit))
        return refuse(cursor, "a commit record is cut off");
    memcpy(commit, cursor->bytes + cursor->at, sizeof(*commit));
    cursor->at += sizeof(*commit);
    return true;
}

static bool skip_optional(struct cursor *cursor)
{
    struct format_optional optional;
    memcpy(&optional, cursor->bytes + cursor->at, sizeof(optional));
    if (optional.bytes < sizeof(optional) || optional.bytes % 8 ||
        cursor->end - cursor->at < optional.bytes)
        return refuse(cursor, "an unknown record is cut off");
    cursor->at += optional.bytes;
    return true;
}

/* ---- What a record means ------------------------------------------------------------------- */

static int take_plugin(struct parser *parser, struct cursor *cursor)
{
    struct tks_loaded *loaded = parser->loaded;
    struct loaded_plugin plugin = {.ordered = true};
    if (!read_plugin(cursor, &plugin.name, &plugin.name_len))
        return TKS_CORRUPT;
    if (!table_grow(loaded))
        return TKS_NO_SPACE;
    size_t place = table_place(loaded, plugin.name, plugin.name_len);
    if (!loaded->table[place]) {
        if (!tks_vector_push(&loaded->plugins, &plugin, sizeof(plugin)))
            return TKS_NO_SPACE;
        loaded->table[place] = (uint32_t)loaded->plugins.count;
    }
    parser->plugin = loaded->table[place] - 1;
    parser->in_plugin = true;
    parser->in_range = false;
    return TKS_OK;
}

static int take_range(struct parser *parser, struct cursor *cursor)
{
    struct format_range range;
    if (parser->full || !parser->in_plugin) {
        refuse(cursor, "a range where none may be");
        return TKS_CORRUPT;
    }
    if (!read_range(cursor, &range))
        return TKS_CORRUPT;
    struct loaded_range taken = {range.first, range.last, parser->cut_from, parser->plugin};
    parser->in_range = true;
    parser->first = range.first;
    parser->last = range.last;
    return tks_vector_push(&parser->loaded->ranges, &taken, sizeof(taken)) ? TKS_OK : TKS_NO_SPACE;
}

/* Lengthens the run that ends at @p from, or begins one. */
static bool add_to_run(struct parser *parser, uint64_t hash, uint64_t from, bool adjacent)
{
    struct tks_loaded *loaded = parser->loaded;
    struct loaded_plugin *plugin = loaded_plugin(loaded, parser->plugin);
    if (plugin->has_run && hash <= plugin->last_hash)
        plugin->ordered = false;
    plugin->has_run = true;
    plugin->last_hash = hash;
    if (adjacent) {
        struct loaded_run *runs = loaded->runs.items;
        runs[loaded->runs.count - 1].entries++;
        return true;
    }
    struct loaded_run run = {parser->plugin, 1, from};
    return tks_vector_push(&loaded->runs, &run, sizeof(run));
}

static int take_entry(struct parser *parser, struct cursor *cursor, bool adjacent)
{
    struct tks_record record;
    uint64_t from = cursor->at;
    if (!parser->in_plugin || (!parser->full && !parser->in_range)) {
        refuse(cursor, "an entry where none may be");
        return TKS_CORRUPT;
    }
    if (!read_entry(cursor, &record))
        return TKS_CORRUPT;
    uint64_t hash = hash_of(record.key, record.key_len);
    parser->entries++;
    if (record.version > parser->loaded->info.highest_version)
        parser->loaded->info.highest_version = record.version;
    if (parser->full)
        return add_to_run(parser, hash, from, adjacent) ? TKS_OK : TKS_NO_SPACE;
    if (hash < parser->first || hash > parser->last) {
        refuse(cursor, "an entry is not of its range");
        return TKS_CORRUPT;
    }
    struct loaded_item item = {hash, from, parser->plugin};
    return tks_vector_push(&parser->loaded->items, &item, sizeof(item)) ? TKS_OK : TKS_NO_SPACE;
}

static int take_commit(struct parser *parser, struct cursor *cursor, bool expected)
{
    if (!expected || parser->committed || !read_commit(cursor, &parser->commit)) {
        refuse(cursor, "a commit record where none may be");
        return TKS_CORRUPT;
    }
    if (parser->commit.entries != parser->entries) {
        refuse(cursor, "a cut has another number of entries than its commit record says");
        return TKS_CORRUPT;
    }
    if (parser->commit.highest_version > parser->loaded->info.highest_version)
        parser->loaded->info.highest_version = parser->commit.highest_version;
    parser->committed = true;
    return TKS_OK;
}

/* Whether the record before was an entry of the same plugin in the same batch. */
static int take_record(struct parser *parser, struct cursor *cursor, bool commit, bool *adjacent)
{
    uint8_t type = cursor->bytes[cursor->at];
    bool after_entry = *adjacent;
    *adjacent = type == RECORD_ENTRY;
    if (parser->committed && type < RECORD_OPTIONAL) {
        refuse(cursor, "a record after the commit record");
        return TKS_CORRUPT;
    }
    switch (type) {
    case RECORD_ENTRY:
        return take_entry(parser, cursor, after_entry);
    case RECORD_PLUGIN:
        return take_plugin(parser, cursor);
    case RECORD_RANGE:
        return take_range(parser, cursor);
    case RECORD_COMMIT:
        return take_commit(parser, cursor, commit);
    default:
        if (type < RECORD_OPTIONAL)
            refuse(cursor, "a record of unknown type");
        return type >= RECORD_OPTIONAL && skip_optional(cursor) ? TKS_OK : TKS_CORRUPT;
    }
}

int tks_parse_batch(struct parser *parser, const struct format_batch *batch, uint64_t payload_from,
                    const char **why)
{
    struct cursor cursor = {parser->loaded->bytes, payload_from, payload_from + batch->payload,
                            NULL};
    bool adjacent = false, commit = batch->flags & BATCH_COMMIT;
    uint32_t records = 0;
    for (; cursor.at < cursor.end; records++) {
        int status = take_record(parser, &cursor, commit, &adjacent);
        if (status) {
            *why = cursor.why;
            return status;
        }
    }
    *why = "a batch has another number of records than its header says";
    return records == batch->records && parser->committed == commit ? TKS_OK : TKS_CORRUPT;
}

/* ---- Without meaning ----------------------------------------------------------------------- */

static bool skip_record(struct cursor *cursor, uint64_t *highest)
{
    const char *name;
    size_t len;
    struct format_range range;
    struct format_commit commit;
    struct tks_record record;
    uint64_t version = 0;
    bool good;
    switch (cursor->bytes[cursor->at]) {
    case RECORD_PLUGIN:
        good = read_plugin(cursor, &name, &len);
        break;
    case RECORD_RANGE:
        good = read_range(cursor, &range);
        break;
    case RECORD_ENTRY:
        good = read_entry(cursor, &record);
        version = good ? record.version : 0;
        break;
    case RECORD_COMMIT:
        good = read_commit(cursor, &commit);
        version = good ? commit.highest_version : 0;
        break;
    default:
        good = cursor->bytes[cursor->at] >= RECORD_OPTIONAL && skip_optional(cursor);
    }
    if (version > *highest)
        *highest = version;
    return good;
}

uint64_t tks_parse_versions(const struct tks_loaded *loaded, const struct format_batch *batch,
                            uint64_t payload_from)
{
    struct cursor cursor = {loaded->bytes, payload_from, payload_from + batch->payload, NULL};
    uint64_t highest = 0;
    while (cursor.at < cursor.end && skip_record(&cursor, &highest))
        ;
    return highest;
}

uint64_t tks_parsed_entry(const struct tks_loaded *loaded, uint64_t from, struct tks_record *record)
{
    struct format_entry entry;
    memcpy(&entry, loaded->bytes + from, sizeof(entry));
    decode_entry(loaded->bytes + from, &entry, record);
    return from + format_entry_bytes(entry.key_len, entry.value_len);
}

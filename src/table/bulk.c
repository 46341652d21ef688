/* SPDX-License-Identifier: MIT */
#include "table/bulk.h"

#include "base/error.h"
#include "memory/block.h"
#include "table/registry.h"

/* About what growth keeps: an index whose heads are a quarter in use begins to grow. */
#define HEADS_PER_KEY 4u
/* Committed at a time: a quarter of what is in use, at most 16 MiB. */
#define COMMIT_PART 4u
#define COMMIT_MOST 256u
/* A refill that succeeded gives a block, as nobody else is there to take it. */
#define TAKE_TRIES 8

void tks_bulk_count(struct tks_bulk_counter *counter, uint64_t hash)
{
    struct tks_bulk_shape *shape = &counter->shape;
    uint64_t *oldest = &counter->recent[shape->keys % BULK_MEMBERS_MAX];
    if (shape->keys >= BULK_MEMBERS_MAX) {
        /* With this one they would be one too many for a bucket. */
        unsigned bits = hash == *oldest ? 65 : (unsigned)__builtin_clzll(hash ^ *oldest) + 1;
        if (bits > shape->bits)
            shape->bits = bits;
    }
    *oldest = hash;
    shape->keys++;
}

/* ---- Memory -------------------------------------------------------------------------------- */

/*
 * Have memory behind the next @p slabs free ones, in large steps: a call for each slab takes longer
 * than filling it. Failure is left to whoever asks for less.
 */
static void commit_ahead(struct tks_bulk *bulk, uint64_t slabs)
{
    struct tks_segment *segment = bulk->member->segment;
    struct header *header = segment->header;
    while (bulk->committed < segment->slab_count &&
           slab_kind(segment->slabs[bulk->committed].word) != SLAB_UNCOMMITTED)
        bulk->committed++;
    /* All that is behind both has no use yet. */
    uint64_t used = load_relaxed(&header->empty_hint);
    used = used > bulk->run_from ? used : bulk->run_from;
    uint64_t left = segment->slab_count - bulk->committed, count = used / COMMIT_PART;
    if (used + slabs <= bulk->committed || !left)
        return;
    count = count < COMMIT_MOST ? count : COMMIT_MOST;
    count = count > slabs ? count : slabs;
    count = count > COMMIT_SLABS ? count : COMMIT_SLABS;
    count = count < left ? count : left;
    if (tks_segment_commit(segment, bulk->committed, count))
        return;
    bulk->committed += count;
    if (bulk->committed > COMMIT_SLABS)
        store_relaxed(&header->commit_hint, bulk->committed - COMMIT_SLABS);
}

static int fail_full(const struct tks_bulk *bulk)
{
    const struct tks_segment *segment = bulk->member->segment;
    for (uint64_t i = bulk->committed; i < segment->slab_count; i++)
        if (slab_kind(segment->slabs[i].word) == SLAB_UNCOMMITTED)
            return TKS_NO_SPACE; /* the machine's memory is full: committing has said so */
    return tks_fail(TKS_NO_SPACE, "segment \"%s\" of %llu bytes is full", segment->name,
                    (unsigned long long)segment->size_bytes);
}

static int take_run(struct tks_bulk *bulk, uint64_t bytes, uint64_t plain, uint64_t *granule)
{
    commit_ahead(bulk, (bytes + SLAB_BYTES - 1) / SLAB_BYTES);
    int status =
        tks_run_take_from(bulk->member, &bulk->run_from, bytes, plain, PIN_NEW_ENTRY, granule);
    if (status == TKS_NO_SPACE)
        status = tks_run_take(bulk->member, bytes, plain, PIN_NEW_ENTRY, granule);
    return status == TKS_NO_SPACE ? fail_full(bulk) : status;
}

/* The pin logs for nobody: with its creator the segment is gone. It goes when the member leaves. */
static int take(struct tks_bulk *bulk, uint64_t bytes, uint64_t plain, uint64_t *granule)
{
    struct tks_member *member = bulk->member;
    if (bytes > BLOCK_BYTES_MAX)
        return take_run(bulk, bytes, plain, granule);
    for (int i = 0; i < TAKE_TRIES; i++) {
        int status = tks_block_take(member, bytes, plain, PIN_NEW_ENTRY, granule);
        if (status != BLOCK_SLOW)
            return status;
        commit_ahead(bulk, 1);
        status = tks_block_refill(member, bytes, false);
        if (status == TKS_NO_SPACE)
            status = tks_block_refill(member, bytes, true);
        if (status == TKS_NO_SPACE)
            return fail_full(bulk);
        if (status)
            return status;
    }
    return fail_full(bulk);
}

/* ---- Levels and pieces --------------------------------------------------------------------- */

static void clear_heads(uint64_t *heads, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        heads[i] = head_empty(HEAD_EMPTY, FIRST_STAMP);
    memset(heads + count, 0, MARKS_FOR(count) * 8);
}

/* The next piece of the level; the first and only one of a level without a directory. */
static int make_piece(struct tks_bulk *bulk)
{
    struct tks_segment *segment = bulk->member->segment;
    uint64_t granule;
    int status = take(bulk, piece_bytes(bulk->level), BLOCK_PLAIN, &granule);
    if (status)
        return status;
    bulk->heads = granule_words(segment, granule);
    clear_heads(bulk->heads, piece_heads(bulk->level));
    uint64_t *word = &bulk->plugin->level[bulk->level];
    if (!single_piece(bulk->level))
        word = granule_words(segment, *word) + bulk->pieces;
    store_relaxed(word, granule);
    bulk->pieces++;
    return TKS_OK;
}

static int make_directory(struct tks_bulk *bulk)
{
    const uint64_t bytes = directory_words(bulk->level) * 8;
    uint64_t granule;
    int status = take(bulk, bytes, BLOCK_PLAIN, &granule);
    if (status)
        return status;
    memset(granule_words(bulk->member->segment, granule), 0, bytes);
    store_relaxed(&bulk->plugin->level[bulk->level], granule);
    return TKS_OK;
}

/* Level 0 lies in the descriptor; if it is not the one that counts it reads as moved away. */
static int make_level(struct tks_bulk *bulk)
{
    struct plugin *plugin = bulk->plugin;
    const unsigned level = bulk->level;
    bulk->pieces = 0;
    store_relaxed(&plugin->base, level);
    store_relaxed(&plugin->cursor, cursor_word(level, 0));
    store_relaxed(&plugin->changed, FIRST_STAMP);
    if (!level) {
        bulk->heads = plugin->heads;
        bulk->pieces = 1;
        return TKS_OK;
    }
    for (unsigned i = 0; i < LEVEL0_HEADS; i++)
        store_relaxed(&plugin->heads[i], HEAD_DONE);
    for (unsigned i = 1; i < level; i++)
        store_relaxed(&plugin->level[i], LEVEL_GONE);
    return single_piece(level) ? TKS_OK : make_directory(bulk);
}

static int choose_level(struct tks_bulk *bulk, const struct tks_bulk_shape *shape)
{
    const uint64_t heads = shape->keys * HEADS_PER_KEY >> bulk->thrift;
    const struct tks_segment *segment = bulk->member->segment;
    bulk->level = 0;
    while (bulk->level + 1 < segment->levels &&
           (1ull << level_bits(bulk->level) < heads || level_bits(bulk->level) < shape->bits))
        bulk->level++;
    return level_bits(bulk->level) >= shape->bits
               ? TKS_OK
               : tks_fail(TKS_NO_SPACE,
                          "segment \"%s\" of %llu bytes has no room for the index of keys whose "
                          "hashes have so much in common",
                          segment->name, (unsigned long long)segment->size_bytes);
}

static int add_plugin(struct tks_bulk *bulk, const char *name, size_t len)
{
    struct tks_member *member = bulk->member;
    uint64_t granule;
    int status = BLOCK_SLOW;
    for (int i = 0; status == BLOCK_SLOW && i < TAKE_TRIES; i++) {
        status = tks_registry_find(member, name, len, true, &granule);
        if (status != BLOCK_SLOW)
            break;
        commit_ahead(bulk, 1);
        if (tks_block_refill(member, member->wanted, false) &&
            tks_block_refill(member, member->wanted, true))
            return fail_full(bulk);
    }
    if (status)
        return status == BLOCK_SLOW ? fail_full(bulk) : status;
    bulk->plugin = tks_registry_plugin(member->segment, granule);
    return TKS_OK;
}

int tks_bulk_begin(struct tks_bulk *bulk, const char *plugin, size_t len,
                   const struct tks_bulk_shape *shape)
{
    int status = choose_level(bulk, shape);
    if (!status)
        status = add_plugin(bulk, plugin, len);
    bulk->count = bulk->bucket = 0;
    return status ? status : make_level(bulk);
}

/* ---- Buckets ------------------------------------------------------------------------------- */

static uint64_t piece_of(const struct tks_bulk *bulk, uint64_t bucket)
{
    return single_piece(bulk->level) ? 0 : bucket >> PIECE_BITS;
}

/* Make pieces up to and with number @p last. */
static int make_pieces(struct tks_bulk *bulk, uint64_t last)
{
    int status = TKS_OK;
    while (!status && bulk->pieces <= last)
        status = make_piece(bulk);
    return status;
}

/* The word for the members gathered. */
static int bucket_word(struct tks_bulk *bulk, uint64_t *word)
{
    *word = bulk->members[0];
    if (bulk->count == 1)
        return TKS_OK;
    uint64_t granule;
    int status = take(bulk, vector_bytes(bulk->count), 0, &granule);
    if (status)
        return status;
    node_build_vector(bulk->member, granule_words(bulk->member->segment, granule), FIRST_STAMP, 0,
                      bulk->members, bulk->count);
    *word = head_word(HEAD_VECTOR, granule, head_fingerprint(*word));
    return TKS_OK;
}

/* Write the bucket down, if it has any keys. */
static int end_bucket(struct tks_bulk *bulk)
{
    uint64_t word;
    if (!bulk->count)
        return TKS_OK;
    int status = make_pieces(bulk, piece_of(bulk, bulk->bucket));
    if (!status)
        status = bucket_word(bulk, &word);
    if (status)
        return status;
    const uint64_t heads = piece_heads(bulk->level), at = bulk->bucket & (heads - 1);
    store_relaxed(bulk->heads + at, word);
    store_relaxed(bulk->heads + heads + (at >> MARK_BITS), FIRST_STAMP);
    bulk->count = 0;
    return TKS_OK;
}

static int begin_bucket(struct tks_bulk *bulk, uint64_t bucket)
{
    int status = end_bucket(bulk);
    if (!status && bucket < bulk->bucket)
        status = tks_fail(TKS_CORRUPT, "keys are not in the order of their hashes");
    bulk->bucket = bucket;
    return status;
}

int tks_bulk_add(struct tks_bulk *bulk, const struct tks_name *name,
                 const struct tks_content *content, uint64_t version)
{
    const uint64_t bucket = name->hash >> (64 - level_bits(bulk->level));
    uint64_t granule;
    int status = bucket == bulk->bucket ? TKS_OK : begin_bucket(bulk, bucket);
    if (!status && bulk->count == BULK_MEMBERS_MAX)
        status = tks_fail(TKS_CORRUPT, "more keys in a bucket than were counted");
    if (!status)
        status = take(bulk, entry_bytes(name->len, content->value_len), 0, &granule);
    if (status)
        return status;
    uint64_t *entry = granule_words(bulk->member->segment, granule);
    node_build_entry(entry, name, content);
    store_relaxed(entry + NODE_STAMP, FIRST_STAMP);
    store_relaxed(entry + NODE_PREV, 0);
    store_relaxed(entry + NODE_VERSION, version);
    bulk->members[bulk->count++] = head_word(HEAD_ENTRY, granule, fingerprint_of(name->hash));
    return TKS_OK;
}

int tks_bulk_end(struct tks_bulk *bulk)
{
    const uint64_t heads = 1ull << level_bits(bulk->level);
    int status = end_bucket(bulk);
    return status ? status : make_pieces(bulk, piece_of(bulk, heads - 1));
}

/* SPDX-License-Identifier: MIT */
#include "table/walk.h"

#include "base/error.h"
#include "memory/epoch.h"
#include "table/node.h"
#include "table/snapshot.h"

#include <stdlib.h>

#define SECTION_BUCKETS 512u
#define WALK_TRIES 1000
#define BATCH_BYTES 16384u

enum { STEP_DONE = 10, STEP_AGAIN = 11, STEP_ROOM = 12 };

const struct tks_item *tks_batch_next(const struct tks_batch *batch, size_t *offset, bool values)
{
    if (*offset >= batch->used)
        return NULL;
    const struct tks_item *item = (const struct tks_item *)(const void *)(batch->bytes + *offset);
    *offset += sizeof(*item) + item_padded(meta_key_len(item->meta) + 1) +
               (values ? item_padded(meta_value_len(item->meta)) : 0);
    return item;
}

static int make_room(struct tks_batch *batch, size_t bytes)
{
    /* Always larger: `bytes` is what the last entry of a bucket lacked, the bucket starts over. */
    size_t cap = batch->cap ? batch->cap * 2 : BATCH_BYTES;
    while (cap < batch->used + bytes)
        cap *= 2;
    char *grown = realloc(batch->bytes, cap);
    if (!grown)
        return tks_fail(TKS_NO_SPACE, "no memory for %zu bytes of copied entries", cap);
    batch->bytes = grown;
    batch->cap = cap;
    return TKS_OK;
}

/* Append one entry; STEP_ROOM with *need when the batch must grow first. */
static int copy_entry(const struct tks_walk *walk, struct tks_batch *batch, uint64_t word,
                      size_t *need)
{
    const struct tks_segment *segment = walk->member->segment;
    uint64_t granule = head_granule(word);
    if (!granule_in_range(segment, granule, GRANULE_BYTES))
        return TKS_CORRUPT;
    const uint64_t *entry = granule_words(segment, granule);
    uint64_t meta = load_relaxed(entry + ENTRY_META);
    size_t key_len = meta_key_len(meta), value_len = meta_value_len(meta);
    if (!granule_in_range(segment, granule, entry_bytes(key_len, value_len)) ||
        value_len > TKS_VALUE_MAX)
        return TKS_CORRUPT;
    size_t key_bytes = item_padded(key_len + 1);
    *need = sizeof(struct tks_item) + key_bytes + (walk->values ? item_padded(value_len) : 0);
    if (batch->cap - batch->used < *need)
        return STEP_ROOM;
    struct tks_item item = {meta, entry_version(segment, entry, meta),
                            load_relaxed(entry + ENTRY_DEADLINE),
                            load_relaxed(entry + NODE_VERSION)};
    char *at = batch->bytes + batch->used;
    memcpy(at, &item, sizeof(item));
    memset(at + sizeof(item), 0, key_bytes);
    copy_from_shared(at + sizeof(item), entry + ENTRY_KEY, key_len);
    if (walk->values)
        copy_from_shared(at + sizeof(item) + key_bytes, entry + entry_value_word(key_len),
                         value_len);
    batch->used += *need;
    return STEP_DONE;
}

static int copy_vector(const struct tks_walk *walk, struct tks_batch *batch, uint64_t word,
                       size_t *need)
{
    const struct tks_segment *segment = walk->member->segment;
    uint64_t granule = head_granule(word);
    if (!granule_in_range(segment, granule, GRANULE_BYTES))
        return TKS_CORRUPT;
    const uint64_t *vector = granule_words(segment, granule);
    uint64_t count = load_relaxed(vector + VECTOR_COUNT);
    if (count > VECTOR_MEMBERS_MAX || !granule_in_range(segment, granule, vector_bytes(count)))
        return TKS_CORRUPT;
    int status = STEP_DONE;
    for (uint64_t i = 0; status == STEP_DONE && i < count; i++)
        status = copy_entry(walk, batch, load_relaxed(vector + VECTOR_MEMBERS + i), need);
    return status;
}

static int copy_word(const struct tks_walk *walk, struct tks_batch *batch, uint64_t word,
                     size_t *need)
{
    if (head_kind(word) == HEAD_ENTRY)
        return copy_entry(walk, batch, word, need);
    return head_kind(word) == HEAD_VECTOR ? copy_vector(walk, batch, word, need) : STEP_DONE;
}

static void step_on(struct tks_walk *walk, unsigned level)
{
    uint64_t width = 1ull << (64 - level_bits(level));
    uint64_t next = (walk->position & ~(width - 1)) + width;
    walk->ended = next == 0 || (walk->last && next > walk->last);
    walk->position = next;
}

/*
 * A walk in hash order meets blocks in no order of their addresses, and waits for memory at every
 * one of them, which is most of the time a full image takes. So it reads a word of each block of a
 * group of neighbouring heads first: loads that do not depend on each other wait together. Their
 * addresses are collected before: with little else between them, many more are under way at once.
 * Loads, not prefetches: most of the wait is for address translation, and a prefetch that would
 * need some is dropped here; after the load it needs none. What is read may be of a block that is
 * gone, and decides nothing.
 */
#define GROUP_HEADS 128u
#define MEMBERS_TOUCHED (GRANULE_BYTES / 8 - VECTOR_MEMBERS) /* of a vector: its first line's */

struct touched {
    uint64_t granules[GROUP_HEADS * MEMBERS_TOUCHED];
    uint64_t vectors[GROUP_HEADS];
    unsigned count, vector_count;
};

/* Which heads are empty nobody can predict, so nothing branches on it. */
static void collect(const struct tks_segment *segment, struct touched *touched, uint64_t word)
{
    const uint64_t granule = head_granule(word);
    const unsigned named = head_names_block(word), vector = head_kind(word) == HEAD_VECTOR;
    const unsigned block = named & (unsigned)granule_in_range(segment, granule, GRANULE_BYTES);
    touched->granules[touched->count] = granule;
    touched->count += block;
    touched->vectors[touched->vector_count] = granule;
    touched->vector_count += block & vector;
}

static void collect_members(const struct tks_segment *segment, struct touched *touched)
{
    const unsigned vectors = touched->vector_count;
    touched->count = 0;
    for (unsigned v = 0; v < vectors; v++) {
        const uint64_t *vector = granule_words(segment, touched->vectors[v]);
        const uint64_t count = load_relaxed(vector + VECTOR_COUNT);
        for (uint64_t i = 0; i < MEMBERS_TOUCHED && i < count; i++) {
            const uint64_t granule = head_granule(load_relaxed(vector + VECTOR_MEMBERS + i));
            touched->granules[touched->count] = granule;
            touched->count += granule_in_range(segment, granule, GRANULE_BYTES);
        }
    }
}

static void touch(const struct tks_segment *segment, const struct touched *touched)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < touched->count; i++)
        sum += load_relaxed(granule_words(segment, touched->granules[i]));
    __asm__ volatile("" ::"r"(sum)); /* the loads are what it is for */
    for (unsigned i = 0; i < touched->count; i++)
        __builtin_prefetch(granule_words(segment, touched->granules[i] + 1));
}

/* The heads from @p place on that the walk comes to next, without leaving the piece or the group.
 */
static uint64_t heads_ahead(const struct tks_walk *walk, const struct tks_place *place,
                            uint64_t here)
{
    const uint64_t heads = piece_heads(place->level);
    const uint64_t in_group = GROUP_HEADS - here % GROUP_HEADS;
    const uint64_t in_piece = heads - here;
    const uint64_t ahead = in_group < in_piece ? in_group : in_piece;
    if (!walk->last)
        return ahead;
    const uint64_t wanted = ((walk->last - walk->position) >> (64 - level_bits(place->level))) + 1;
    return ahead < wanted ? ahead : wanted;
}

/* Returns for how many heads. */
static uint64_t touch_ahead(const struct tks_walk *walk, const struct tks_place *place)
{
    const struct tks_segment *segment = walk->member->segment;
    const uint64_t *first =
        place->piece ? granule_words(segment, place->piece) : walk->plugin->heads;
    const uint64_t here = (uint64_t)(place->head - first);
    const uint64_t ahead = heads_ahead(walk, place, here);
    if (place->piece && !granule_in_range(segment, place->piece, (here + ahead) * 8))
        return 1;
    struct touched touched;
    touched.count = touched.vector_count = 0;
    for (uint64_t i = 0; i < ahead; i++)
        collect(segment, &touched, load_relaxed(place->head + i));
    touch(segment, &touched);
    if (!section_intact(walk->member))
        return ahead;
    collect_members(segment, &touched);
    touch(segment, &touched);
    return ahead;
}

/* What the walk sees of a bucket that reads *word. */
static int see_bucket(const struct tks_walk *walk, const struct tks_place *place, uint64_t *word)
{
    const struct tks_segment *segment = walk->member->segment;
    const uint64_t now = *word;
    bool settled;
    if (walk->snapshot) {
        enum tks_resolved resolved = snapshot_resolve(segment, now, walk->snapshot->stamp, word);
        if (resolved == RESOLVED_LOST)
            return WALK_LOST;
        if (resolved == RESOLVED_NOTHING)
            *word = 0;
        settled = resolved != RESOLVED_UNSETTLED;
    } else {
        settled = word_settled(segment, now);
    }
    if (settled)
        return STEP_DONE;
    tks_settle_bucket(walk->member, walk->plugin, place, now, walk->position);
    return STEP_AGAIN;
}

/* Copy one bucket as the walk sees it; STEP_DONE moves the walk on. */
static int walk_bucket(struct tks_walk *walk, struct tks_batch *batch,
                       const struct tks_place *place, uint64_t word, size_t *need)
{
    const size_t used = batch->used;
    int status = see_bucket(walk, place, &word);
    if (status == STEP_DONE)
        status = copy_word(walk, batch, word, need);
    if (status == STEP_DONE)
        step_on(walk, place->level);
    else
        batch->used = used;
    return status;
}

/* The bucket that follows, on the same level; false when another look-up has to lead to it. What is
 * on the base level and not moved on to the next stands for its hashes there, also if the base has
 * risen meanwhile, which is after its last bucket was moved. On higher levels the parents decide. */
static bool next_bucket(const struct tks_walk *walk, struct tks_place *place, uint64_t *word)
{
    if (place->level == place->base) {
        *word = load_acquire(++place->head);
        return head_kind(*word) != HEAD_DONE && head_kind(*word) != HEAD_UNUSED;
    }
    const unsigned level = place->level;
    return index_find(walk->member->segment, walk->plugin, walk->position, place, word) &&
           place->level == level;
}

/* Copy the buckets of one group of heads, @p left at most. Inside a section. */
static int walk_group(struct tks_walk *walk, struct tks_batch *batch, size_t enough, size_t *need,
                      unsigned *left)
{
    struct tks_member *member = walk->member;
    struct tks_segment *segment = member->segment;
    struct tks_place place;
    uint64_t word;
    const uint64_t position = walk->position;
    const size_t used = batch->used;
    int status = TKS_CORRUPT;
    if (index_find(segment, walk->plugin, walk->position, &place, &word)) {
        uint64_t ahead = touch_ahead(walk, &place);
        do
            status = walk_bucket(walk, batch, &place, word, need);
        while (status == STEP_DONE && --*left && --ahead && !walk->ended && batch->used < enough &&
               section_intact(member) && next_bucket(walk, &place, &word));
    }
    tks_point(POINT_WALK_COPIED);
    /* What was copied counts only if neither our section nor our snapshot was given up; the acquire
     * fence in section_intact() orders the copy before both looks. */
    bool intact = section_intact(member);
    bool held = !walk->snapshot || snapshot_held(segment, walk->snapshot);
    if (intact && held)
        return status;
    batch->used = used;
    walk->position = position;
    walk->ended = false;
    return intact ? WALK_LOST : STEP_AGAIN;
}

static int damage(const struct tks_walk *walk)
{
    return tks_fail(TKS_CORRUPT,
                    "segment \"%s\" is damaged: plugin \"%.*s\" has an impossible offset",
                    walk->member->segment->name, TKS_NAME_MAX, walk->plugin->name);
}

static bool open_section(const struct tks_walk *walk)
{
    return (walk->in_tick && section_intact(walk->member)) || section_enter(walk->member);
}

static void close_section(const struct tks_walk *walk)
{
    if (!walk->in_tick)
        section_leave(walk->member);
}

/* Some buckets in one section. */
static int walk_section(struct tks_walk *walk, struct tks_batch *batch, size_t enough, size_t *need)
{
    unsigned left = SECTION_BUCKETS;
    int status = STEP_DONE;
    while (status == STEP_DONE && left && !walk->ended && batch->used < enough)
        status = walk_group(walk, batch, enough, need, &left);
    return status;
}

int tks_walk_next(struct tks_walk *walk, struct tks_batch *batch, size_t enough)
{
    for (int tries = 0; !walk->ended && batch->used < enough; tries++) {
        if (tries >= WALK_TRIES)
            return tks_fail(TKS_EVICTED, "expelled %d times from segment \"%s\"", tries,
                            walk->member->segment->name);
        if (!open_section(walk))
            continue;
        uint64_t position = walk->position;
        size_t need = 0;
        int status = walk_section(walk, batch, enough, &need);
        close_section(walk);
        tks_point(POINT_WALK_SECTION_ENDED);
        if (walk->snapshot)
            snapshot_beat(walk->member->segment);
        if (status == TKS_CORRUPT)
            return damage(walk);
        if (status == WALK_LOST)
            return status;
        if (status == STEP_ROOM && make_room(batch, need))
            return TKS_NO_SPACE;
        if (walk->position != position)
            tries = 0;
    }
    return TKS_OK;
}

/* ---- Raw walks ----------------------------------------------------------------------------- */

/* A frozen bucket's children may be set already, by a mover that did not get further. */
static void visit_children(const struct tks_segment *segment, struct plugin *plugin,
                           const struct tks_place *place, uint64_t hash,
                           void (*visit)(void *arg, uint64_t word), void *arg)
{
    unsigned level = place->level + 1;
    uint64_t piece;
    if (level >= LEVELS)
        return;
    hash = bucket_hash(place->level, hash >> (64 - level_bits(place->level)));
    const uint64_t *child = head_on_level(segment, plugin, level, hash, &piece);
    for (int i = 0; child && i < 2; i++)
        visit(arg, load_acquire(child + i));
}

int tks_walk_words(struct tks_member *member, struct plugin *plugin,
                   void (*visit)(void *arg, uint64_t word), void *arg)
{
    struct tks_walk walk = {.member = member, .plugin = plugin};
    while (!walk.ended) { /* each section moves on, or says why not */
        if (!section_enter(member))
            return TKS_EVICTED;
        for (unsigned i = 0; i < SECTION_BUCKETS && !walk.ended; i++) {
            struct tks_place place;
            uint64_t word;
            if (!index_find(member->segment, plugin, walk.position, &place, &word)) {
                bool intact = section_intact(member);
                section_leave(member);
                return intact ? damage(&walk) : TKS_EVICTED;
            }
            visit(arg, word);
            if (word & HEAD_FROZEN && head_kind(word) != HEAD_DONE)
                visit_children(member->segment, plugin, &place, walk.position, visit, arg);
            step_on(&walk, place.level);
        }
        section_leave(member);
    }
    return TKS_OK;
}

static bool is_tombstone(const struct tks_segment *segment, uint64_t word)
{
    return head_kind(word) == HEAD_VECTOR &&
           granule_in_range(segment, head_granule(word), GRANULE_BYTES) &&
           !load_relaxed(granule_words(segment, head_granule(word)) + VECTOR_COUNT);
}

/* Some buckets in one section; 1: *hash is a tombstone's, 0: none among them, -1: look again. */
static int next_tombstone(struct tks_walk *walk, uint64_t *hash)
{
    const struct tks_segment *segment = walk->member->segment;
    struct tks_walk start = *walk;
    bool found = false;
    if (!section_enter(walk->member))
        return -1;
    for (unsigned i = 0; i < SECTION_BUCKETS && !walk->ended && !found; i++) {
        struct tks_place place;
        uint64_t word;
        if (!index_find(segment, walk->plugin, walk->position, &place, &word))
            break;
        *hash = walk->position;
        found = is_tombstone(segment, word);
        step_on(walk, place.level);
    }
    bool intact = section_intact(walk->member);
    section_leave(walk->member);
    if (intact && (found || walk->ended || walk->position != start.position))
        return found;
    *walk = start;
    return -1;
}

int tks_walk_tombstones(struct tks_member *member, struct plugin *plugin,
                        void (*visit)(void *arg, uint64_t hash), void *arg)
{
    struct tks_walk walk = {.member = member, .plugin = plugin};
    for (int tries = 0; !walk.ended;) {
        uint64_t hash = 0;
        int found = next_tombstone(&walk, &hash);
        if (found > 0)
            visit(arg, hash);
        tries = found < 0 ? tries + 1 : 0;
        if (tries == WALK_TRIES)
            return tks_fail(TKS_EVICTED, "expelled %d times from segment \"%s\"", tries,
                            member->segment->name);
    }
    return TKS_OK;
}

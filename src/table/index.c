/* SPDX-License-Identifier: MIT */
#include "table/index.h"

#include "base/error.h"
#include "base/hash.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "memory/reclaim.h"
#include "table/node.h"
#include "table/snapshot.h"

#define MOVE_TRIES 64
/* A bucket is crowded when more than 50 of 128 neighbours are in use: two keys for four heads. */
#define SAMPLE_HEADS 128u
#define CROWDED_PERCENT 39u
#define RETIRE_BUDGET 16u
/* Two keys in one bucket cost twice as much to write. Where memory is not short, an index of a few
 * keys rather has empty buckets: at most 16 KiB of them. */
#define GENEROUS_BITS (LEVEL0_BITS + 2)
#define GENEROUS_SLABS 256u

static uint64_t *level_word(struct plugin *plugin, unsigned level)
{
    return &plugin->level[level];
}

static bool live_piece(uint64_t granule)
{
    return granule && granule != LEVEL_GONE;
}

/* ---- Marks ---------------------------------------------------------------------------------- */

void tks_mark_raise(struct plugin *plugin, uint64_t *mark, uint64_t era)
{
    raise_word(&plugin->changed, era);
    raise_word(mark, era);
}

/* ---- Growing: levels and pieces ------------------------------------------------------------ */

static int take_zeroed(struct tks_member *member, uint64_t bytes, uint64_t *granule)
{
    int status = bytes <= BLOCK_BYTES_MAX
                     ? tks_block_take(member, bytes, BLOCK_PLAIN, PIN_MOVE_NEW, granule)
                     : tks_run_take(member, bytes, BLOCK_PLAIN, PIN_MOVE_NEW, granule);
    if (status)
        return status;
    uint64_t *words = granule_words(member->segment, *granule);
    for (uint64_t i = 0; i < bytes / 8; i++)
        store_relaxed(words + i, 0);
    return TKS_OK;
}

/* Put a new zeroed block of @p bytes into *word unless somebody else has. */
static int install(struct tks_member *member, uint64_t *word, uint64_t bytes)
{
    uint64_t granule;
    int status = take_zeroed(member, bytes, &granule);
    if (status)
        return status;
    tks_point(POINT_GROW_ZEROED);
    if (compare_and_swap(word, 0, granule))
        pin_store(member, PIN_MOVE_NEW, 0);
    else
        tks_block_discard(member, PIN_MOVE_NEW);
    tks_point(POINT_GROW_INSTALLED);
    return TKS_OK;
}

static bool crowded(const struct tks_segment *segment, struct plugin *plugin,
                    const struct tks_place *place, uint64_t hash)
{
    uint64_t piece;
    uint64_t heads = piece_heads(place->level);
    uint64_t sample = heads < SAMPLE_HEADS ? heads : SAMPLE_HEADS;
    uint64_t first = hash >> (64 - level_bits(place->level)) & ~(sample - 1);
    const uint64_t *head =
        head_on_level(segment, plugin, place->level, bucket_hash(place->level, first), &piece);
    const uint64_t *last = head_on_level(segment, plugin, place->level,
                                         bucket_hash(place->level, first + sample - 1), &piece);
    uint64_t used = 0;
    for (uint64_t i = 0; head && last == head + sample - 1 && i < sample; i++)
        used += head_names_block(load_relaxed(head + i));
    return used * 100 > sample * CROWDED_PERCENT;
}

int tks_index_consider_growth(struct tks_member *member, struct plugin *plugin,
                              const struct tks_place *place, uint64_t hash, bool inserted,
                              bool collided)
{
    unsigned next = place->level + 1;
    bool generous = collided && level_bits(next) <= GENEROUS_BITS &&
                    member->segment->slab_count >= GENEROUS_SLABS;
    if (place->level != load_relaxed(&plugin->base) || next >= LEVELS ||
        load_relaxed(level_word(plugin, next)) ||
        (place->level > 1 && load_relaxed(level_word(plugin, place->level - 1)) != LEVEL_GONE) ||
        !(generous || (inserted && crowded(member->segment, plugin, place, hash))))
        return TKS_OK;
    tks_point(POINT_GROW_CROWDED);
    uint64_t bytes = single_piece(next) ? piece_bytes(next) : directory_words(next) * 8;
    return install(member, level_word(plugin, next), bytes);
}

/* ---- Moving one bucket --------------------------------------------------------------------- */

struct move {
    struct plugin *plugin;
    uint64_t *parent;
    uint64_t *child; /* the first of two */
    uint64_t parent_piece, child_piece;
    unsigned level;  /* of the parent */
    uint64_t bucket; /* of the parent */
};

/* Let go of everything a move pinned. */
static void move_end(struct tks_member *member)
{
    for (unsigned pin = PIN_MOVE_PIECE; pin <= PIN_MOVE_CHILD_2; pin++)
        pin_store(member, (enum pin)pin, 0);
}

static void pin_granule_at(struct tks_member *member, enum pin pin, uint64_t granule)
{
    pin_store(member, pin, granule ? pin_word(granule, 0) : 0);
}

/* First child of the bucket of @p hash, if the children of its whole group are in range. */
static uint64_t *group_children(const struct tks_segment *segment, const struct move *move,
                                uint64_t hash, uint64_t *piece)
{
    const uint64_t heads = 1ull << level_bits(move->level);
    const uint64_t last = move->bucket | ((heads < MOVE_GROUP ? heads : MOVE_GROUP) - 1);
    if (!head_on_level(segment, move->plugin, move->level + 1,
                       bucket_hash(move->level + 1, last * 2 + 1), piece))
        return NULL;
    return head_on_level(segment, move->plugin, move->level + 1, hash, piece);
}

/* Find, or make, the piece of the children; TKS_OK with move->child set but nothing pinned yet. */
static int find_children(struct tks_member *member, struct move *move, uint64_t *piece)
{
    unsigned level = move->level + 1;
    if (level >= LEVELS)
        return TKS_CORRUPT;
    uint64_t hash = bucket_hash(move->level, move->bucket);
    move->child = group_children(member->segment, move, hash, piece);
    if (move->child)
        return TKS_OK;
    uint64_t directory = load_acquire(level_word(move->plugin, level));
    if (single_piece(level) ||
        !granule_in_range(member->segment, directory, directory_words(level) * 8))
        return TKS_EVICTED;
    /* The directory cannot be retired while base is below it: pin, then look again. */
    pin_granule_at(member, PIN_MOVE_CHILD_2, directory);
    tks_point(POINT_GROW_DIRECTORY_PINNED);
    fence_full(); /* G, pairs with H */
    if (load_acquire(&move->plugin->base) != move->level || !section_intact(member))
        return TKS_EVICTED;
    uint64_t *word = granule_words(member->segment, directory) + (move->bucket * 2 >> PIECE_BITS);
    tks_point(POINT_GROW_PIECE_MISSING);
    int status = load_acquire(word) ? TKS_OK : install(member, word, PIECE_BYTES);
    if (status)
        return status;
    move->child = group_children(member->segment, move, hash, piece);
    return move->child ? TKS_OK : TKS_CORRUPT;
}

/* Pin both pieces; after this neither can be reused, whatever happens to us. */
static int move_begin(struct tks_member *member, struct move *move)
{
    uint64_t hash = bucket_hash(move->level, move->bucket);
    int status = find_children(member, move, &move->child_piece);
    if (status)
        return status;
    move->parent =
        head_on_level(member->segment, move->plugin, move->level, hash, &move->parent_piece);
    if (!move->parent)
        return TKS_EVICTED;
    pin_granule_at(member, PIN_MOVE_PIECE, move->parent_piece);
    pin_granule_at(member, PIN_MOVE_CHILD, move->child_piece);
    tks_point(POINT_GROW_PIECES_PINNED);
    fence_full(); /* G, pairs with H */
    return load_acquire(&move->plugin->base) == move->level && section_intact(member) ? TKS_OK
                                                                                      : TKS_EVICTED;
}

static uint64_t *parent_mark(const struct tks_member *member, const struct move *move)
{
    return mark_of(member->segment, move->plugin, move->parent_piece, move->level, move->parent);
}

/* Nothing new is settled under the frozen parent: what its mark says goes for the children. */
static void inherit_mark(const struct tks_member *member, const struct move *move)
{
    mark_changed(
        move->plugin,
        mark_of(member->segment, move->plugin, move->child_piece, move->level + 1, move->child),
        load_acquire(parent_mark(member, move)));
}

/*
 * Pin the block that *head names. Validated only if it is to be retired, a vector: recovery finds
 * that by the parent or one of two children, which an entry that has moved on need not be under.
 */
static bool pin_head_block(struct tks_member *member, uint64_t *head, uint64_t word, bool retires)
{
    struct tks_block_ref ref;
    if (!tks_block_find(member->segment, head_granule(word), &ref))
        return false;
    uint64_t pin = pin_word(ref.granule, ref.index);
    pin_store(member, PIN_MOVE_BLOCK, pin);
    tks_point(POINT_GROW_BLOCK_PINNED);
    fence_full(); /* G, pairs with H */
    if (load_acquire(head) != word || !section_intact(member))
        return false;
    if (retires)
        pin_store(member, PIN_MOVE_BLOCK, pin | PIN_VALIDATED);
    tks_point(POINT_GROW_BLOCK_VALIDATED);
    return true;
}

/* Settle the word of a bucket that is about to be frozen. False: it changed, look again. */
static bool settle_head(struct tks_member *member, const struct move *move, uint64_t word)
{
    struct tks_segment *segment = member->segment;
    if (head_kind(word) == HEAD_EMPTY_NEW) {
        empty_settle(segment, move->plugin, parent_mark(member, move), move->parent, word);
        tks_point(POINT_GROW_HEAD_SETTLED);
        return false;
    }
    if (!head_names_block(word))
        return head_kind(word) == HEAD_EMPTY;
    if (!granule_in_range(segment, head_granule(word), GRANULE_BYTES))
        return false;
    uint64_t *node = granule_words(segment, head_granule(word));
    if (load_acquire(node + NODE_STAMP))
        return section_intact(member);
    if (pin_head_block(member, move->parent, word, false))
        node_settle(segment, move->plugin, parent_mark(member, move), node);
    pin_store(member, PIN_MOVE_BLOCK, 0);
    return false;
}

/* The child, 0 or 1, that a key belongs to. */
static unsigned side_of(const struct tks_segment *segment, const struct move *move,
                        uint64_t granule)
{
    char name[TKS_NAME_MAX + 9];
    size_t len = node_copy_key(segment, granule, name);
    return (unsigned)(hash_of(name, len) >> (63 - level_bits(move->level))) & 1;
}

/* Publish one child's vector or word; losers throw their block away. */
static void set_child(struct tks_member *member, uint64_t *child, uint64_t word)
{
    bool built = load_relaxed(&member->slot->words[PIN_MOVE_NEW]) != 0;
    tks_point(POINT_GROW_CHILD_BEFORE);
    bool won = compare_and_swap(child, 0, word);
    tks_point(POINT_GROW_CHILD_SET);
    if (built && !won)
        tks_block_discard(member, PIN_MOVE_NEW);
    else
        pin_store(member, PIN_MOVE_NEW, 0);
}

/* The word of a child that gets the members of V, the frozen vector, that are on @p side. */
static int share_of(struct tks_member *member, const struct move *move, uint64_t vector_granule,
                    unsigned side, uint64_t *word)
{
    struct tks_segment *segment = member->segment;
    const uint64_t *vector = granule_words(segment, vector_granule);
    uint64_t count = load_relaxed(vector + VECTOR_COUNT), mine = 0, members[VECTOR_MEMBERS_MAX];
    uint64_t stamp = load_acquire(vector + NODE_STAMP);
    if (count > VECTOR_MEMBERS_MAX ||
        !granule_in_range(segment, vector_granule, vector_bytes(count)))
        return section_intact(member) ? TKS_CORRUPT : TKS_EVICTED;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t entry = load_relaxed(vector + VECTOR_MEMBERS + i);
        if (!granule_in_range(segment, head_granule(entry), GRANULE_BYTES))
            return section_intact(member) ? TKS_CORRUPT : TKS_EVICTED;
        if (side_of(segment, move, head_granule(entry)) == side)
            members[mine++] = entry;
    }
    *word = head_empty(HEAD_EMPTY, stamp);
    if (!mine)
        return TKS_OK;
    /* A bare entry may stand for the bucket only if it says the same about when. */
    *word = members[0];
    if (mine == 1 &&
        load_acquire(granule_words(segment, head_granule(*word)) + NODE_STAMP) == stamp)
        return TKS_OK;
    uint64_t granule;
    int status = tks_block_take(member, vector_bytes(mine), 0, PIN_MOVE_NEW, &granule);
    if (status)
        return status;
    node_build_vector(member, granule_words(segment, granule), stamp, 0, members, mine);
    *word = head_word(HEAD_VECTOR, granule, head_fingerprint(members[0]));
    return TKS_OK;
}

static int move_vector(struct tks_member *member, struct move *move, uint64_t word)
{
    if (!pin_head_block(member, move->parent, word, true)) {
        pin_store(member, PIN_MOVE_BLOCK, 0);
        return TKS_OK;
    }
    node_settle(member->segment, move->plugin, parent_mark(member, move),
                granule_words(member->segment, head_granule(word)));
    inherit_mark(member, move);
    for (unsigned side = 0; side < 2; side++) {
        uint64_t share;
        if (load_acquire(move->child + side))
            continue;
        int status = share_of(member, move, head_granule(word), side, &share);
        if (!status && !section_intact(member)) {
            tks_block_discard(member, PIN_MOVE_NEW);
            status = TKS_EVICTED;
        }
        if (status) {
            pin_store(member, PIN_MOVE_BLOCK, 0);
            return status;
        }
        tks_point(side ? POINT_GROW_SECOND_SHARE : POINT_GROW_FIRST_SHARE);
        set_child(member, move->child + side, share);
    }
    tks_point(POINT_GROW_VECTOR_BEFORE_DONE);
    if (compare_and_swap(move->parent, word, HEAD_DONE))
        tks_retire(member, head_granule(word));
    tks_point(POINT_GROW_VECTOR_DONE);
    pin_store(member, PIN_MOVE_BLOCK, 0);
    return TKS_OK;
}

/* The caller looks again. */
static int settle_frozen(struct tks_member *member, struct move *move, uint64_t word)
{
    if (pin_head_block(member, move->parent, word, false))
        node_settle(member->segment, move->plugin, parent_mark(member, move),
                    granule_words(member->segment, head_granule(word)));
    pin_store(member, PIN_MOVE_BLOCK, 0);
    return section_intact(member) ? TKS_OK : TKS_EVICTED;
}

static int move_frozen(struct tks_member *member, struct move *move, uint64_t word)
{
    uint64_t thawed = word & ~HEAD_FROZEN;
    if (head_kind(word) == HEAD_VECTOR)
        return move_vector(member, move, word);
    uint64_t shares[2] = {thawed, thawed};
    if (head_kind(word) == HEAD_ENTRY) {
        if (!granule_in_range(member->segment, head_granule(word), GRANULE_BYTES))
            return TKS_CORRUPT;
        const uint64_t *entry = granule_words(member->segment, head_granule(word));
        /* Frozen by somebody who was evicted meanwhile, it may not be settled yet. */
        if (!load_acquire(entry + NODE_STAMP))
            return settle_frozen(member, move, word);
        unsigned side = side_of(member->segment, move, head_granule(word));
        shares[!side] = head_empty(HEAD_EMPTY, load_acquire(entry + NODE_STAMP));
    }
    if (!section_intact(member))
        return TKS_EVICTED;
    inherit_mark(member, move);
    tks_point(POINT_GROW_CHILDREN_BEFORE);
    compare_and_swap(move->child, 0, shares[0]);
    tks_point(POINT_GROW_FIRST_CHILD);
    compare_and_swap(move->child + 1, 0, shares[1]);
    tks_point(POINT_GROW_SECOND_CHILD);
    compare_and_swap(move->parent, word, HEAD_DONE);
    tks_point(POINT_GROW_DONE);
    return TKS_OK;
}

/* Move one bucket; *done is false when it was left alone (a snapshot is being taken). */
static int move_bucket(struct tks_member *member, struct move *move, bool *done)
{
    const uint64_t *snapshot = &member->segment->header->snapshot;
    pin_store(member, LOG_MOVE_HASH, bucket_hash(move->level, move->bucket) | move->level);
    tks_point(POINT_GROW_LOGGED);
    for (int i = 0; i < MOVE_TRIES; i++) {
        uint64_t word = load_acquire(move->parent);
        *done = head_kind(word) == HEAD_DONE;
        if (*done)
            return TKS_OK;
        if (word & HEAD_FROZEN) {
            tks_point(POINT_GROW_FROZEN);
            int status = move_frozen(member, move, word);
            if (status)
                return status;
            continue;
        }
        if (snapshot_phase(load_ordered(snapshot)) != SNAPSHOT_NONE)
            return TKS_OK;
        if (head_kind(word) == HEAD_UNUSED)
            return section_intact(member) ? TKS_CORRUPT : TKS_EVICTED;
        tks_point(POINT_GROW_BEFORE_FREEZE);
        if (settle_head(member, move, word))
            compare_and_swap(move->parent, word, word | HEAD_FROZEN);
        else if (!section_intact(member))
            return TKS_EVICTED;
    }
    return TKS_OK; /* a crowd writes to it; the next helper will do it */
}

/* ---- The cursor ---------------------------------------------------------------------------- */

static uint64_t groups_of_level(unsigned level)
{
    uint64_t heads = 1ull << level_bits(level);
    return heads / MOVE_GROUP ? heads / MOVE_GROUP : 1;
}

static void advance(struct tks_member *member, struct plugin *plugin, uint64_t level,
                    uint64_t cursor)
{
    uint64_t group = cursor >> 8;
    tks_point(POINT_GROW_CURSOR_BEFORE);
    if (group + 1 < groups_of_level((unsigned)level)) {
        compare_and_swap(&plugin->cursor, cursor, cursor_word(level, group + 1));
        tks_point(POINT_GROW_CURSOR_MOVED);
        return;
    }
    tks_point(POINT_GROW_BASE_BEFORE);
    /* Every group before this one was seen wholly DONE by whoever moved the cursor past it. */
    if (compare_and_swap(&plugin->base, level, level + 1))
        tks_index_retire_levels(member, plugin, RETIRE_BUDGET);
}

static int move_group(struct tks_member *member, struct plugin *plugin, uint64_t level,
                      uint64_t cursor)
{
    uint64_t heads = 1ull << level_bits((unsigned)level);
    uint64_t size = heads < MOVE_GROUP ? heads : MOVE_GROUP;
    struct move move = {.plugin = plugin, .level = (unsigned)level, .bucket = (cursor >> 8) * size};
    int status = move_begin(member, &move);
    bool all = !status;
    for (uint64_t i = 0; !status && i < size; i++) {
        bool done;
        status = move_bucket(member, &move, &done);
        all = all && done && !status;
        move.bucket++;
        move.parent++;
        move.child += 2;
    }
    move_end(member);
    tks_point(POINT_GROW_GROUP_ENDED);
    if (all)
        advance(member, plugin, level, cursor);
    return status;
}

int tks_index_help(struct tks_member *member, struct plugin *plugin)
{
    uint64_t level = load_acquire(&plugin->base);
    if (level >= LEVELS)
        return TKS_CORRUPT;
    if (level > 1 && load_relaxed(level_word(plugin, (unsigned)level - 1)) != LEVEL_GONE)
        tks_index_retire_levels(member, plugin, RETIRE_BUDGET);
    if (level + 1 >= LEVELS || !load_acquire(level_word(plugin, (unsigned)level + 1)))
        return TKS_OK;
    uint64_t cursor = load_acquire(&plugin->cursor);
    if ((cursor & 0xff) != level) {
        tks_point(POINT_GROW_CURSOR_LEVEL);
        if ((cursor & 0xff) < level)
            compare_and_swap(&plugin->cursor, cursor, cursor_word(level, 0));
        return TKS_OK;
    }
    if (cursor >> 8 >= groups_of_level((unsigned)level))
        return TKS_CORRUPT;
    return move_group(member, plugin, level, cursor);
}

int tks_index_finish(struct tks_member *member, struct plugin *plugin,
                     const struct tks_place *place, uint64_t hash)
{
    struct move move = {
        .plugin = plugin, .level = place->level, .bucket = hash >> (64 - level_bits(place->level))};
    bool done;
    int status = move_begin(member, &move);
    if (!status)
        status = move_bucket(member, &move, &done);
    move_end(member);
    tks_point(POINT_GROW_FINISHED);
    return status;
}

/* ---- Taking an old level apart ------------------------------------------------------------- */

/* Unlink what *word names and retire it. The word itself is safe to touch. */
static void retire_named(struct tks_member *member, uint64_t *word)
{
    uint64_t granule = load_acquire(word);
    struct tks_block_ref ref;
    if (!live_piece(granule) || !tks_block_find(member->segment, granule, &ref))
        return;
    uint64_t pin = pin_word(granule, ref.index);
    pin_store(member, PIN_MOVE_PIECE, pin);
    tks_point(POINT_PIECE_PINNED);
    fence_full(); /* G, pairs with H */
    if (load_acquire(word) == granule) {
        pin_store(member, PIN_MOVE_PIECE, pin | PIN_VALIDATED);
        tks_point(POINT_PIECE_VALIDATED);
        if (compare_and_swap(word, granule, LEVEL_GONE))
            tks_retire(member, granule);
        tks_point(POINT_PIECE_RETIRED);
    }
    pin_store(member, PIN_MOVE_PIECE, 0);
    tks_point(POINT_PIECE_UNPINNED);
}

/* True when all pieces of the directory are gone. */
static bool retire_pieces(struct tks_member *member, uint64_t *level, unsigned index,
                          unsigned *budget)
{
    uint64_t directory = load_acquire(level);
    if (!live_piece(directory) ||
        !granule_in_range(member->segment, directory, directory_words(index) * 8))
        return false;
    pin_granule_at(member, PIN_MOVE_CHILD, directory);
    tks_point(POINT_LEVEL_PINNED);
    fence_full(); /* G, pairs with H */
    bool all = load_acquire(level) == directory;
    uint64_t *words = granule_words(member->segment, directory);
    for (uint64_t i = 0; all && i < directory_words(index); i++) {
        if (!live_piece(load_acquire(words + i)))
            continue;
        if (!*budget)
            all = false;
        else
            --*budget, retire_named(member, words + i);
    }
    pin_store(member, PIN_MOVE_CHILD, 0);
    tks_point(POINT_LEVEL_UNPINNED);
    return all;
}

void tks_index_retire_levels(struct tks_member *member, struct plugin *plugin, unsigned budget)
{
    uint64_t base = load_acquire(&plugin->base);
    for (unsigned level = 1; level < base && level < LEVELS; level++) {
        uint64_t *word = level_word(plugin, level);
        if (!live_piece(load_acquire(word)))
            continue;
        if (single_piece(level) || retire_pieces(member, word, level, &budget))
            retire_named(member, word);
    }
}

/* ---- For recovery and audit ---------------------------------------------------------------- */

void tks_index_each_piece(const struct tks_segment *segment, struct plugin *plugin,
                          void (*visit)(void *arg, uint64_t granule), void *arg)
{
    for (unsigned level = 1; level < LEVELS; level++) {
        uint64_t granule = load_acquire(level_word(plugin, level));
        if (!live_piece(granule))
            continue;
        visit(arg, granule);
        if (single_piece(level) || !granule_in_range(segment, granule, directory_words(level) * 8))
            continue;
        for (uint64_t i = 0; i < directory_words(level); i++) {
            uint64_t piece = load_acquire(granule_words(segment, granule) + i);
            if (live_piece(piece))
                visit(arg, piece);
        }
    }
}

struct piece_search {
    uint64_t granule;
    bool found;
};

static void compare_piece(void *arg, uint64_t granule)
{
    struct piece_search *search = arg;
    search->found = search->found || search->granule == granule;
}

bool tks_index_names_piece(const struct tks_segment *segment, struct plugin *plugin,
                           uint64_t granule)
{
    struct piece_search search = {granule, false};
    tks_index_each_piece(segment, plugin, compare_piece, &search);
    return search.found;
}

static bool word_names(const struct tks_segment *segment, uint64_t word, uint64_t granule)
{
    if (!head_names_block(word))
        return false;
    if (head_granule(word) == granule)
        return true;
    if (head_kind(word) != HEAD_VECTOR ||
        !granule_in_range(segment, head_granule(word), vector_bytes(0)))
        return false;
    const uint64_t *vector = granule_words(segment, head_granule(word));
    uint64_t count = load_relaxed(vector + VECTOR_COUNT);
    if (count > VECTOR_MEMBERS_MAX ||
        !granule_in_range(segment, head_granule(word), vector_bytes(count)))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (head_granule(load_relaxed(vector + VECTOR_MEMBERS + i)) == granule)
            return true;
    return false;
}

/* 1 or 0; -1: the level went away under us, base has moved. */
static int path_names_node(const struct tks_segment *segment, struct plugin *plugin, uint64_t level,
                           uint64_t hash, uint64_t granule)
{
    for (; level < LEVELS; level++) {
        uint64_t piece;
        const uint64_t *head = head_on_level(segment, plugin, (unsigned)level, hash, &piece);
        if (!head)
            return -1;
        uint64_t word = load_acquire(head);
        if (word_names(segment, word, granule))
            return 1;
        /* The children of a frozen bucket may be set already. */
        if (head_kind(word) != HEAD_DONE && !(word & HEAD_FROZEN))
            return 0;
    }
    return 0;
}

bool tks_index_names_node(const struct tks_segment *segment, struct plugin *plugin, uint64_t hash,
                          uint64_t granule)
{
    for (unsigned restart = 0; restart < LEVELS; restart++) {
        uint64_t base = load_acquire(&plugin->base);
        int names = path_names_node(segment, plugin, base, hash, granule);
        if (names >= 0)
            return names;
        if (load_acquire(&plugin->base) == base)
            return false; /* a frozen bucket whose children have no piece yet */
    }
    return false;
}

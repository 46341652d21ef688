/* SPDX-License-Identifier: MIT */
/*
 * How a key changes.
 *
 *   1 take and build what is to be published        logged before it is taken
 *   2 look the key up                               outside a tick before any section: a prediction
 *   3 pin piece, block and entry; open the section; fence G/A; the head still reads the same word
 *     and its block has the same version: what 2 found is true now, and what is pinned stays
 *   4 settle the old word; decide: absent, expired, another version or type?   (a "no" ends here)
 *   5 read the snapshot word; link; store the new version
 *   6 mark the pins validated; CAS the head               the change happens here
 *   7 settle the new node's stamp                         its place among snapshots is fixed here
 *   8 retire what was replaced; clear pins; leave
 *
 * A kill leaves: before 6 blocks that only the log names (recovery retires them); after 6 blocks
 * that the index no longer names and a validated pin does (recovery retires those). An unsettled
 * stamp is settled by the next who meets it. A stop anywhere costs nobody anything: pins hold at
 * most a handful of blocks, the section is evicted if it holds the epoch back, and the CAS of 6 may
 * come late, as everything it touches is pinned and it only succeeds on the word it expects.
 *
 * Each retry of the loop means that another operation succeeded on the bucket (lock-free), that
 * this section was expelled, or that a bounded helping step was done.
 */
#include "store/operation.h"

#include "base/error.h"
#include "base/text.h"
#include "memory/block.h"
#include "memory/reclaim.h"
#include "recovery/recover.h"
#include "table/snapshot.h"

#define OPERATION_TRIES (1u << 20)
/* So often in a row nothing has come of an attempt, and the bucket reads the same: as each retry
 * means that it changed (see above), it is damaged. */
#define STILL_TRIES 20000u

/* Steps of the loop; public statuses are <= 0, BLOCK_SLOW is 1. */
enum { STEP_GO_ON = 2, STEP_AGAIN = 3 };

struct attempt {
    struct tks_session *session;
    struct tks_operation *operation;
    struct tks_found found;
    uint64_t entry;                            /* granule of the entry to publish, 0 */
    uint64_t vector;                           /* granule of the vector to publish, 0 */
    uint64_t old_node;                         /* granule of the block the head names, 0 */
    struct tks_block_ref old_block, old_entry; /* what may be retired */
    uint64_t new_count;                        /* members of the bucket after the change */
    unsigned expelled;
    bool built;     /* the entry's content is written */
    bool open;      /* our section is open */
    bool careful;   /* look up under protection */
    bool tombstone; /* a snapshot needs the deletion's link */
    bool inserted;
};

/* `found` and the refs are filled before they are looked at; clearing them all costs 10 ns. */
static inline void attempt_init(struct attempt *attempt, struct tks_session *session,
                                struct tks_operation *operation)
{
    attempt->session = session;
    attempt->operation = operation;
    /* What an overwrite took that turned out not to be plain. */
    const uint64_t *log = &session->member->slot->words[PIN_NEW_ENTRY];
    const uint64_t taken = session->member->taken;
    session->member->taken = 0;
    attempt->entry = taken && pin_granule(load_relaxed(log)) == taken ? taken : 0;
    attempt->vector = attempt->old_node = attempt->new_count = 0;
    attempt->expelled = 0;
    attempt->found.word = 0;
    attempt->built = attempt->careful = attempt->tombstone = attempt->inserted = false;
    attempt->open = session->in_tick;
}

static bool publishes_entry(const struct tks_operation *operation)
{
    return operation->change <= CHANGE_ADD;
}

/* ---- 1: blocks ----------------------------------------------------------------------------- */

static void suspend(struct attempt *attempt)
{
    if (attempt->open)
        section_leave(attempt->session->member);
    attempt->open = false;
}

/* In a tick the section must be open again before the loop goes on. */
static void resume(struct attempt *attempt)
{
    if (attempt->session->in_tick)
        attempt->open = section_enter(attempt->session->member);
}

/* Whole slabs may have to be committed: not in a section, also not in that of a tick. */
static int take_run(struct attempt *attempt, uint64_t bytes)
{
    suspend(attempt);
    int status = tks_run_take(attempt->session->member, bytes, 0, PIN_NEW_ENTRY, &attempt->entry);
    resume(attempt);
    return status;
}

static uint64_t new_entry_bytes(const struct tks_operation *operation)
{
    const size_t key_len = operation->name->len, value_len = operation->content.value_len;
    return operation->keep ? (entry_copy_word(key_len, value_len) + 1) * 8
                           : entry_bytes(key_len, value_len);
}

static int take_entry(struct attempt *attempt)
{
    struct tks_operation *operation = attempt->operation;
    struct tks_member *member = attempt->session->member;
    if (!attempt->entry) {
        uint64_t bytes = new_entry_bytes(operation);
        int status = bytes <= BLOCK_BYTES_MAX
                         ? tks_block_take(member, bytes, 0, PIN_NEW_ENTRY, &attempt->entry)
                         : take_run(attempt, bytes);
        if (status == TKS_NO_SPACE) {
            member->wanted = bytes;
            status = BLOCK_SLOW;
        }
        if (status) {
            attempt->entry = 0;
            return status;
        }
        attempt->built = false;
        tks_point(POINT_OP_TAKEN);
    }
    if (!attempt->built && operation->change != CHANGE_ADD) {
        node_build_entry(granule_words(member->segment, attempt->entry), operation->name,
                         &operation->content);
        if (operation->keep)
            node_build_copy(granule_words(member->segment, attempt->entry), operation->keep);
        attempt->built = true;
        tks_point(POINT_OP_BUILT);
    }
    return STEP_GO_ON;
}

static int take_vector(struct attempt *attempt, uint64_t count)
{
    struct tks_member *member = attempt->session->member;
    if (count > VECTOR_MEMBERS_MAX)
        return tks_fail(TKS_NO_SPACE, "no space left in segment \"%s\" for its index to grow",
                        member->segment->name);
    int status = tks_block_take(member, vector_bytes(count), 0, PIN_NEW_VECTOR, &attempt->vector);
    attempt->vector = status ? 0 : attempt->vector;
    tks_point(POINT_OP_VECTOR_TAKEN);
    return status ? status : STEP_GO_ON;
}

static void drop_vector(struct attempt *attempt)
{
    if (attempt->vector)
        tks_block_discard(attempt->session->member, PIN_NEW_VECTOR);
    attempt->vector = 0;
}

/* ---- 2: prediction ------------------------------------------------------------------------- */

static int look_up(struct attempt *attempt)
{
    struct tks_session *session = attempt->session;
    struct tks_member *member = session->member;
    if (attempt->careful && !attempt->open) {
        if (!section_enter(member))
            return STEP_AGAIN;
        attempt->open = true;
    }
    if (node_find(member->segment, session->plugin, attempt->operation->name, &attempt->found))
        return STEP_GO_ON;
    if (attempt->open)
        return section_intact(member) ? tks_session_damage(session) : STEP_AGAIN;
    attempt->careful = true;
    return STEP_AGAIN;
}

/* Members of the bucket if the change is carried out. */
static uint64_t count_after(const struct attempt *attempt)
{
    const struct tks_found *found = &attempt->found;
    uint64_t count = head_kind(found->word) == HEAD_ENTRY ? 1 : found->members;
    if (publishes_entry(attempt->operation))
        return found->entry ? count : count + 1;
    return found->entry ? count - 1 : count;
}

/* Which shape the bucket gets, and the vector for it. */
static int plan(struct attempt *attempt)
{
    const struct tks_found *found = &attempt->found;
    tks_point(POINT_OP_FOUND);
    if (found->word & HEAD_FROZEN) {
        if (!attempt->open) {
            attempt->careful = true;
            return STEP_AGAIN;
        }
        tks_point(POINT_OP_FROZEN);
        int status = tks_index_finish(attempt->session->member, attempt->session->plugin,
                                      &found->place, attempt->operation->name->hash);
        return status == TKS_OK || status == TKS_EVICTED ? STEP_AGAIN : status;
    }
    attempt->new_count = count_after(attempt);
    bool changes = publishes_entry(attempt->operation) || found->entry ||
                   (attempt->operation->change == CHANGE_PRUNE && attempt->new_count == 0);
    bool bare_entry = publishes_entry(attempt->operation) && attempt->new_count == 1;
    bool bare_empty = attempt->new_count == 0 && !attempt->tombstone;
    if (!changes || bare_entry || bare_empty)
        return STEP_GO_ON;
    return take_vector(attempt, attempt->new_count);
}

/* ---- 3: protection ------------------------------------------------------------------------- */

static bool pin_found(struct attempt *attempt)
{
    struct tks_member *member = attempt->session->member;
    const struct tks_found *found = &attempt->found;
    struct tks_block_ref *block = &attempt->old_block, *entry = &attempt->old_entry;
    uint64_t *words = member->slot->words;
    bool in_vector = found->entry && found->members;
    attempt->old_node = head_names_block(found->word) ? head_granule(found->word) : 0;
    if ((attempt->old_node && !tks_block_find(member->segment, attempt->old_node, block)) ||
        (in_vector && !tks_block_find(member->segment, found->granule, entry)))
        return false;
    store_relaxed(&words[PIN_PIECE], found->place.piece ? pin_word(found->place.piece, 0) : 0);
    store_relaxed(&words[PIN_BLOCK],
                  attempt->old_node ? pin_word(block->granule, block->index) : 0);
    store_relaxed(&words[PIN_ENTRY], in_vector ? pin_word(entry->granule, entry->index) : 0);
    tks_point(POINT_OP_PINNED);
    return true;
}

static bool still_true(const struct attempt *attempt)
{
    const struct tks_session *session = attempt->session;
    const struct tks_found *found = &attempt->found;
    if (load_acquire(&session->plugin->base) != found->place.base ||
        load_acquire(found->place.head) != found->word)
        return false;
    if (head_names_block(found->word) &&
        load_acquire(granule_words(session->member->segment, head_granule(found->word)) +
                     NODE_VERSION) != found->version)
        return false;
    return section_intact(session->member);
}

static int protect(struct attempt *attempt)
{
    struct tks_member *member = attempt->session->member;
    if (!pin_found(attempt)) {
        if (attempt->open && section_intact(member))
            return tks_session_damage(attempt->session);
        attempt->careful = true;
        return STEP_AGAIN;
    }
    if (attempt->open)
        fence_full();               /* G, pairs with H in reclaim.c */
    else if (section_enter(member)) /* its fence A is our G as well */
        attempt->open = true;
    else
        return STEP_AGAIN;
    tks_point(POINT_OP_ENTERED);
    return still_true(attempt) ? STEP_GO_ON : STEP_AGAIN;
}

static uint64_t *mark_near(const struct attempt *attempt)
{
    const struct tks_place *place = &attempt->found.place;
    return mark_of(attempt->session->member->segment, attempt->session->plugin, place->piece,
                   place->level, place->head);
}

/* Fix the stamp of what the bucket holds: before it is replaced, and before an answer depends on
 * it. */
static int settle_old(struct attempt *attempt)
{
    struct tks_segment *segment = attempt->session->member->segment;
    struct tks_found *found = &attempt->found;
    tks_point(POINT_OP_VALIDATED);
    if (attempt->old_node) {
        node_settle(segment, attempt->session->plugin, mark_near(attempt),
                    granule_words(segment, attempt->old_node));
        return STEP_GO_ON;
    }
    if (head_kind(found->word) != HEAD_EMPTY_NEW)
        return STEP_GO_ON;
    uint64_t settled = empty_settle(segment, attempt->session->plugin, mark_near(attempt),
                                    found->place.head, found->word);
    if (!settled)
        return STEP_AGAIN;
    found->word = settled;
    return STEP_GO_ON;
}

/* ---- 4: decision --------------------------------------------------------------------------- */

static int decide_add(struct attempt *attempt, const uint64_t *entry, uint64_t meta)
{
    struct tks_operation *operation = attempt->operation;
    struct tks_member *member = attempt->session->member;
    int64_t value = 0;
    operation->content.deadline = 0;
    if (entry) {
        if (meta_type(meta) != TKS_TYPE_I64 || meta_value_len(meta) != sizeof(value))
            return TKS_TYPE;
        copy_from_shared(&value, entry + entry_value_word(meta_key_len(meta)), sizeof(value));
        operation->content.deadline = load_relaxed(entry + ENTRY_DEADLINE);
    }
    if (__builtin_add_overflow(value, operation->delta, &operation->result))
        return tks_fail(TKS_RANGE, "the counter \"%.*s\" would overflow", (int)operation->name->len,
                        operation->name->bytes);
    operation->content.value = &operation->result;
    node_build_entry(granule_words(member->segment, attempt->entry), operation->name,
                     &operation->content);
    return STEP_GO_ON;
}

static bool same_expiry(uint64_t there, uint64_t copy)
{
    if (!there || !copy)
        return there == copy;
    return (there > copy ? there - copy : copy - there) <= COPY_SLACK_MS;
}

/* Whether the key's value is the one to be copied. What is found is pinned: it stays as it is. */
static bool same_value(const struct attempt *attempt)
{
    const struct tks_content *content = &attempt->operation->content;
    const uint64_t *entry = attempt->found.entry, meta = attempt->found.meta;
    return meta_type(meta) == content->type && meta_value_len(meta) == content->value_len &&
           same_as_shared(entry + entry_value_word(meta_key_len(meta)), content->value,
                          content->value_len);
}

static int decide_copy(struct attempt *attempt)
{
    struct tks_operation *operation = attempt->operation;
    const struct tks_segment *segment = attempt->session->member->segment;
    const uint64_t *entry = attempt->found.entry;
    if (!entry)
        return STEP_GO_ON;
    const bool same_version =
        operation->keep && entry_version(segment, entry, attempt->found.meta) == operation->keep;
    if (same_value(attempt)) {
        operation->same =
            (same_version || !operation->keep) &&
            same_expiry(load_relaxed(entry + ENTRY_DEADLINE), operation->content.deadline);
        return operation->same ? TKS_OK : STEP_GO_ON;
    }
    if (same_version) {
        operation->keep = 0;
        node_unbuild_copy(granule_words(segment, attempt->entry));
    }
    return STEP_GO_ON;
}

static int decide(struct attempt *attempt)
{
    struct tks_operation *operation = attempt->operation;
    const struct tks_found *found = &attempt->found;
    const uint64_t *entry = found->entry;
    tks_point(POINT_OP_OLD_SETTLED);
    attempt->inserted = publishes_entry(operation) && !entry;
    uint64_t node = entry ? load_relaxed(entry + NODE_VERSION) : 0;
    if (!entry && operation->unchecked &&
        !tks_utf8_valid(operation->name->bytes, operation->name->len))
        return tks_fail(TKS_INVALID, "the key is not UTF-8");
    if (operation->change == CHANGE_PURGE)
        return node && node == operation->version ? STEP_GO_ON : TKS_OK;
    if (operation->change == CHANGE_PRUNE)
        return head_kind(found->word) == HEAD_VECTOR && !found->members ? STEP_GO_ON : TKS_OK;
    if (operation->change == CHANGE_DELETE)
        return entry ? STEP_GO_ON : TKS_OK;
    if (operation->change == CHANGE_SET)
        return STEP_GO_ON;
    if (operation->change == CHANGE_COPY)
        return decide_copy(attempt);
    uint64_t version =
        entry ? entry_version(attempt->session->member->segment, entry, found->meta) : 0;
    if (entry && session_expired(attempt->session, load_relaxed(entry + ENTRY_DEADLINE))) {
        entry = NULL;
        version = 0;
    }
    if (operation->change == CHANGE_SET_IF)
        return version == operation->version ? STEP_GO_ON : TKS_CONFLICT;
    return decide_add(attempt, entry, found->meta);
}

/* ---- 5 to 8: publication ------------------------------------------------------------------- */

/* The members of the bucket after the change, in @p members. */
static uint64_t gather(const struct attempt *attempt, uint64_t *members)
{
    const struct tks_segment *segment = attempt->session->member->segment;
    const struct tks_found *found = &attempt->found;
    uint64_t count = 0;
    if (head_kind(found->word) == HEAD_ENTRY && !found->entry)
        members[count++] = found->word;
    for (uint64_t i = 0; i < found->members; i++)
        if (!found->entry || i != found->member)
            members[count++] =
                load_relaxed(granule_words(segment, attempt->old_node) + VECTOR_MEMBERS + i);
    if (publishes_entry(attempt->operation))
        members[count++] =
            head_word(HEAD_ENTRY, attempt->entry, fingerprint_of(attempt->operation->name->hash));
    return count;
}

/* Finish the nodes and return the word to publish. */
static uint64_t new_word(struct attempt *attempt, uint64_t link)
{
    struct tks_member *member = attempt->session->member;
    struct tks_segment *segment = member->segment;
    uint64_t fingerprint = fingerprint_of(attempt->operation->name->hash);
    if (publishes_entry(attempt->operation))
        node_finish(member, granule_words(segment, attempt->entry), 0, attempt->vector ? 0 : link);
    if (attempt->vector) {
        uint64_t members[VECTOR_MEMBERS_MAX];
        uint64_t count = gather(attempt, members);
        node_build_vector(member, granule_words(segment, attempt->vector), 0, link, members, count);
        return head_word(HEAD_VECTOR, attempt->vector, fingerprint);
    }
    if (publishes_entry(attempt->operation))
        return head_word(HEAD_ENTRY, attempt->entry, fingerprint);
    return head_empty(HEAD_EMPTY_NEW, member_new_version(member));
}

/* Whether the block the head names goes when the change is made; a bare entry that becomes a
 * member of a vector stays. */
static bool replaces_block(const struct tks_found *found)
{
    return head_kind(found->word) == HEAD_VECTOR ||
           (head_kind(found->word) == HEAD_ENTRY && found->entry);
}

/* Only what this change would retire: recovery looks for a validated block in the bucket of our
 * key alone, where a neighbour that lives on need not be any more after the bucket was split. */
static void validate_pins(struct attempt *attempt)
{
    struct tks_member *member = attempt->session->member;
    uint64_t *words = member->slot->words;
    uint64_t block = load_relaxed(&words[PIN_BLOCK]), entry = load_relaxed(&words[PIN_ENTRY]);
    if (block && replaces_block(&attempt->found))
        pin_store(member, PIN_BLOCK, block | PIN_VALIDATED);
    if (entry)
        pin_store(member, PIN_ENTRY, entry | PIN_VALIDATED);
}

static void settle_new(struct attempt *attempt, uint64_t word)
{
    struct tks_segment *segment = attempt->session->member->segment;
    if (!head_names_block(word)) {
        empty_settle(segment, attempt->session->plugin, mark_near(attempt),
                     attempt->found.place.head, word);
        return;
    }
    uint64_t stamp = node_settle(segment, attempt->session->plugin, mark_near(attempt),
                                 granule_words(segment, head_granule(word)));
    if (attempt->vector && attempt->entry)
        compare_and_swap(granule_words(segment, attempt->entry) + NODE_STAMP, 0, stamp);
}

/* The state was read when it was pinned, perhaps before the block was published: look again if so.
 */
static void retire_found(struct attempt *attempt, const struct tks_block_ref *ref)
{
    struct tks_member *member = attempt->session->member;
#ifdef TKS_PLANT_NO_RETIRE
    return;
#endif
    if (!tks_retire_exact(member, ref))
        tks_retire(member, ref->granule);
}

static void retire_old(struct attempt *attempt)
{
    struct tks_member *member = attempt->session->member;
    const struct tks_found *found = &attempt->found;
    if (replaces_block(found))
        retire_found(attempt, &attempt->old_block);
    tks_point(POINT_OP_BLOCK_RETIRED);
    if (found->entry && found->members)
        retire_found(attempt, &attempt->old_entry);
    tks_point(POINT_OP_ENTRY_RETIRED);
    attempt->entry = 0;
    attempt->vector = 0;
    pin_store(member, PIN_NEW_ENTRY, 0);
    pin_store(member, PIN_NEW_VECTOR, 0);
    tks_point(POINT_OP_NEW_CLEARED);
}

static int publish(struct attempt *attempt)
{
    struct tks_segment *segment = attempt->session->member->segment;
    struct header *header = segment->header;
    tks_point(POINT_OP_DECIDED);
    uint64_t link = tks_snapshot_link(segment, attempt->found.word);
    tks_point(POINT_OP_LINKED);
    if (link && !attempt->vector && !publishes_entry(attempt->operation)) {
        attempt->tombstone = true;
        tks_point(POINT_OP_TOMBSTONE_NEEDED);
        return attempt->operation->change == CHANGE_PRUNE ? TKS_OK : STEP_AGAIN;
    }
    uint64_t word = new_word(attempt, link);
    tks_point(POINT_OP_NODES_READY);
    validate_pins(attempt);
    tks_point(POINT_OP_BEFORE_PUBLISH);
    if (!compare_and_swap(attempt->found.place.head, attempt->found.word, word))
        return STEP_AGAIN;
    tks_point(POINT_OP_PUBLISHED);
    settle_new(attempt, word);
    tks_point(POINT_OP_NEW_SETTLED);
    if (attempt->vector && !attempt->new_count)
        fetch_add(&header->tombstones, 1);
    retire_old(attempt);
    return TKS_OK;
}

/* ---- Sequence ------------------------------------------------------------------------------ */

static int try_once(struct attempt *attempt)
{
    int status = STEP_GO_ON;
    if (publishes_entry(attempt->operation))
        status = take_entry(attempt);
    if (status == STEP_GO_ON)
        status = look_up(attempt);
    if (status == STEP_GO_ON)
        status = plan(attempt);
    if (status == STEP_GO_ON)
        status = protect(attempt);
    if (status == STEP_GO_ON)
        status = settle_old(attempt);
    if (status == STEP_GO_ON)
        status = decide(attempt);
    if (status == STEP_GO_ON)
        status = publish(attempt);
    return status;
}

static void unpin(struct tks_member *member)
{
    pin_store(member, PIN_PIECE, 0);
    pin_store(member, PIN_BLOCK, 0);
    pin_store(member, PIN_ENTRY, 0);
}

/* Memory for what BLOCK_SLOW was about: ordinary ways first, then everything. No section is open.
 */
static int find_memory(struct attempt *attempt, unsigned *slow)
{
    struct tks_member *member = attempt->session->member;
    bool run = tks_class_of(member->wanted) == CLASS_COUNT;
    tks_point(POINT_OP_SHORT);
    int status = run ? TKS_NO_SPACE : tks_block_refill(member, member->wanted, false);
    if (status == TKS_NO_SPACE && !run && tks_block_search(member, member->wanted))
        status = TKS_OK;
    if (!status && *slow < 64) {
        ++*slow;
        return TKS_OK;
    }
    if (status && status != TKS_NO_SPACE)
        return status;
    tks_recover_dead(member);
    tks_point(POINT_OP_SHORT_HARD);
    status = run && *slow >= 2 ? TKS_NO_SPACE : tks_block_refill(member, member->wanted, true);
    ++*slow;
    if (status == TKS_NO_SPACE && !publishes_entry(attempt->operation) && !member->use_reserve) {
        member->use_reserve = true;
        status = TKS_OK;
    }
    if (status == TKS_NO_SPACE || *slow > 80)
        return tks_fail(TKS_NO_SPACE, "segment \"%s\" is full (%llu bytes wanted)",
                        member->segment->name, (unsigned long long)member->wanted);
    return status;
}

/* What an attempt that did not end the operation leaves for the next one. */
static int between(struct attempt *attempt, int status, unsigned *slow)
{
    struct tks_member *member = attempt->session->member;
    unpin(member);
    drop_vector(attempt);
    tks_point(POINT_OP_AGAIN);
    if (status == BLOCK_SLOW) {
        suspend(attempt);
        status = find_memory(attempt, slow);
        tks_point(POINT_OP_MEMORY_FOUND);
        resume(attempt);
        return status ? status : STEP_AGAIN;
    }
    if (attempt->open && !section_intact(member)) {
        suspend(attempt);
        resume(attempt);
        if (++attempt->expelled > SESSION_TRIES)
            return tks_fail(TKS_EVICTED, "expelled %u times from segment \"%s\"", attempt->expelled,
                            member->segment->name);
    } else if (!attempt->session->in_tick && !attempt->careful) {
        suspend(attempt);
    }
    return STEP_AGAIN;
}

static int run(struct attempt *attempt)
{
    unsigned slow = 0, still = 0;
    uint64_t word = 0;
    for (unsigned i = 0; i < OPERATION_TRIES; i++) {
        int status = try_once(attempt);
        if (tks_likely(status <= TKS_OK))
            return status;
        status = between(attempt, status, &slow);
        if (status <= TKS_OK)
            return status;
        still = attempt->found.word == word ? still + 1 : 0;
        word = attempt->found.word;
        if (still == STILL_TRIES)
            return tks_fail(
                TKS_CORRUPT,
                "segment \"%s\" is damaged: a bucket neither changes nor can be changed",
                attempt->session->member->segment->name);
    }
    return tks_fail(TKS_BUSY, "too many others change the same keys of segment \"%s\"",
                    attempt->session->member->segment->name);
}

/* TKS_OK, BLOCK_SLOW, or what nobody depends on. */
static int grow_a_little(struct attempt *attempt, bool look, bool collided)
{
    struct tks_session *session = attempt->session;
    int status = TKS_OK;
    if (look)
        status =
            tks_index_consider_growth(session->member, session->plugin, &attempt->found.place,
                                      attempt->operation->name->hash, attempt->inserted, collided);
    if (status == TKS_OK && index_moving(session->plugin))
        status = tks_index_help(session->member, session->plugin);
    return status;
}

static void find_room_to_grow(struct attempt *attempt)
{
    struct tks_member *member = attempt->session->member;
    suspend(attempt);
    if (tks_class_of(member->wanted) < CLASS_COUNT)
        tks_block_refill(member, member->wanted, false);
    resume(attempt);
}

/*
 * Growth is begun by inserts, which look around now and then; while it is on, everybody who writes
 * moves a few buckets. Who finds no memory for it leaves it to its next operation, with the memory
 * that this one finds, for the sake of its own latency. A young session may have no next one: if
 * all are opened for a write or two, an index would never grow.
 */
static void grow(struct attempt *attempt)
{
    struct tks_session *session = attempt->session;
    const bool young = session->inserts < 16;
    const bool collided = attempt->new_count > 1 || session->grow_again;
    session->grow_again = false;
    const bool look = collided || (attempt->inserted && (++session->inserts & 15) == 0);
    if (tks_likely(!look && !index_moving(session->plugin)))
        return;
    tks_point(POINT_OP_GROWTH);
    for (int tries = 0; tries < 2; tries++) {
        if (!attempt->open && !(attempt->open = section_enter(session->member)))
            return;
        if (grow_a_little(attempt, look, collided) != BLOCK_SLOW)
            return;
        session->grow_again = collided;
        find_room_to_grow(attempt);
        if (!young)
            return;
    }
}

int tks_operate(struct tks_session *session, struct tks_operation *operation)
{
    struct tks_member *member = session->member;
    struct attempt attempt;
    attempt_init(&attempt, session, operation);
    member->use_reserve = false;
    store_relaxed(&member->slot->words[LOG_PLUGIN], session->plugin_granule);
    store_relaxed(&member->slot->words[LOG_HASH], operation->name->hash);
    tks_point(POINT_OP_LOGGED);
    int status = run(&attempt);
    unpin(member);
    tks_point(POINT_OP_UNPINNED);
    if (tks_unlikely(attempt.entry != 0))
        tks_block_discard(member, PIN_NEW_ENTRY);
    drop_vector(&attempt);
    if (status == TKS_OK && attempt.open)
        grow(&attempt);
    if (!session->in_tick)
        suspend(&attempt);
    tks_point(POINT_OP_LEFT);
    collect_if_due(member);
    tks_point(POINT_OP_ENDED);
    return status;
}

void tks_purge(struct tks_session *session, const struct tks_name *name, uint64_t version)
{
    struct tks_operation operation = {.change = CHANGE_PURGE, .name = name, .version = version};
    int outcome = tks_outcome;
    tks_operate(session, &operation); /* lost a race, or no memory: it stays absent all the same */
    tks_outcome = outcome;
}

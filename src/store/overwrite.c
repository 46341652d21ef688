/* SPDX-License-Identifier: MIT */
/*
 * The plain overwrite: a key that has its bucket to itself gets another value, nothing is in the
 * way, and a block is ready. The same protocol as in operation.c, step by step, with every choice
 * already made and one barrier less: taking the block is a locked instruction that comes after the
 * pins and the section word, and is fence A and G for both.
 *
 *   1 look the key up: a prediction
 *   2 log, pin, open the section; then take the block by CAS      fence A, G
 *   3 still true? old stamp settled, no snapshot?
 *   4 build, validate the pin, CAS the head, settle, retire, let go
 *
 * Whatever is unusual is for operation.c: up to 3 nothing has happened that it would not do again,
 * and the block that was taken stays ours, named by the log, which operation.c looks at.
 */
#include "memory/block.h"
#include "memory/reclaim.h"
#include "store/operation.h"
#include "table/snapshot.h"

struct overwrite {
    uint64_t base, piece, word, version;
    uint64_t *head, *node;
    uint64_t taken; /* granule of the block for the new entry */
    struct tks_block_ref old;
};

static bool predict(const struct tks_session *session, const struct tks_name *name,
                    struct overwrite *plain)
{
    const struct tks_segment *segment = session->member->segment;
    plain->base = load_acquire(&session->plugin->base);
    plain->head =
        head_on_level(segment, session->plugin, (unsigned)plain->base, name->hash, &plain->piece);
    if (tks_unlikely(!plain->head))
        return false;
    plain->word = load_acquire(plain->head);
    uint64_t granule = head_granule(plain->word);
    if (tks_unlikely(plain->word != head_word(HEAD_ENTRY, granule, fingerprint_of(name->hash))) ||
        tks_unlikely(!tks_block_find(segment, granule, &plain->old)))
        return false;
    plain->node = granule_words(segment, granule);
    plain->version = load_acquire(plain->node + NODE_VERSION); /* F */
    uint64_t meta = load_relaxed(plain->node + ENTRY_META);
    return meta_key_len(meta) == name->len &&
           granule_in_range(segment, granule, entry_bytes(name->len, 0)) &&
           entry_has_key(plain->node, name);
}

static bool still_true(const struct tks_session *session, const struct overwrite *plain)
{
    const struct header *header = session->member->segment->header;
    tks_point(POINT_PLAIN_TAKEN);
    return load_acquire(&session->plugin->base) == plain->base &&
           load_acquire(plain->head) == plain->word &&
           load_acquire(plain->node + NODE_VERSION) == plain->version &&
           load_acquire(plain->node + NODE_STAMP) != 0 && section_intact(session->member) &&
           snapshot_phase(load_ordered(&header->snapshot)) == SNAPSHOT_NONE;
}

static void pin_target(const struct tks_session *session, const struct tks_name *name,
                       const struct overwrite *plain)
{
    uint64_t *words = session->member->slot->words;
    store_relaxed(&words[LOG_PLUGIN], session->plugin_granule);
    store_relaxed(&words[LOG_HASH], name->hash);
    store_relaxed(&words[PIN_PIECE], plain->piece ? pin_word(plain->piece, 0) : 0);
    store_relaxed(&words[PIN_BLOCK], pin_word(plain->old.granule, plain->old.index));
}

static void let_go(struct tks_session *session)
{
    pin_store(session->member, PIN_PIECE, 0);
    pin_store(session->member, PIN_BLOCK, 0);
    if (!session->in_tick)
        section_leave(session->member);
}

/* False: somebody else was faster. */
static bool publish(struct tks_session *session, const struct tks_name *name,
                    const struct tks_content *content, struct overwrite *plain)
{
    struct tks_member *member = session->member;
    tks_point(POINT_PLAIN_VALIDATED);
    uint64_t *entry = granule_words(member->segment, plain->taken);
    node_build_entry(entry, name, content);
    node_finish(member, entry, 0, 0);
    tks_point(POINT_PLAIN_BUILT);
    pin_store(member, PIN_BLOCK, pin_word(plain->old.granule, plain->old.index) | PIN_VALIDATED);
    uint64_t word = head_word(HEAD_ENTRY, plain->taken, fingerprint_of(name->hash));
    tks_point(POINT_PLAIN_BEFORE_PUBLISH);
    if (tks_unlikely(!compare_and_swap(plain->head, plain->word, word)))
        return false;
    tks_point(POINT_PLAIN_PUBLISHED);
    node_settle(
        member->segment, session->plugin,
        mark_of(member->segment, session->plugin, plain->piece, (unsigned)plain->base, plain->head),
        entry);
    tks_point(POINT_PLAIN_SETTLED);
#ifndef TKS_PLANT_NO_RETIRE
    if (!tks_retire_exact(member, &plain->old))
        tks_retire(member, plain->old.granule);
#endif
    tks_point(POINT_PLAIN_RETIRED);
    pin_store(member, PIN_NEW_ENTRY, 0);
    tks_point(POINT_PLAIN_NEW_CLEARED);
    return true;
}

bool tks_overwrite(struct tks_session *session, const struct tks_name *name,
                   const struct tks_content *content)
{
    struct tks_member *member = session->member;
    struct overwrite plain;
    plain.taken = 0;
    if (!predict(session, name, &plain))
        return false;
    tks_point(POINT_PLAIN_PREDICTED);
    pin_target(session, name, &plain);
    tks_point(POINT_PLAIN_PINNED);
    if (!session->in_tick)
        section_announce(member);
    const uint64_t bytes = entry_bytes(name->len, content->value_len);
    bool done = tks_block_take_ready(member, bytes, PIN_NEW_ENTRY, &plain.taken) &&
                (session->in_tick || section_confirm(member)) && still_true(session, &plain) &&
                publish(session, name, content, &plain);
    tks_point(POINT_PLAIN_DECIDED);
    let_go(session);
    tks_point(POINT_PLAIN_LET_GO);
    if (!done)
        member->taken = plain.taken;
    return done;
}

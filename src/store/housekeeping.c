/* SPDX-License-Identifier: MIT */
/* What looks at a whole store: stats, sweep, audit, walks, export. */
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "memory/block.h"
#include "memory/reclaim.h"
#include "recovery/recover.h"
#include "segment/slot.h"
#include "store/lease.h"
#include "store/operation.h"
#include "store/shm.h"
#include "table/changes.h"
#include "table/registry.h"
#include "table/snapshot.h"
#include "table/walk.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BATCH_ENOUGH (64u << 10)
#define EXPORT_TRIES 8
#define AUDIT_PASSES 4

static struct tks_segment *segment_of(tks_store *store)
{
    return ((struct shm_store *)(void *)store)->segment;
}

/* A slot of our own for the time of one call, the dead cleaned up after. */
static int visit_segment(struct tks_segment *segment, struct tks_member **member)
{
    int status = tks_member_join(segment, SLOT_VISITOR, member);
    tks_point(POINT_VISIT_JOINED);
    if (!status)
        tks_recover_dead(*member);
    return status;
}

static struct tks_session session_for(struct tks_member *member, struct plugin *plugin,
                                      uint64_t granule)
{
    return (struct tks_session){.member = member, .plugin = plugin, .plugin_granule = granule};
}

/* ---- keys() -------------------------------------------------------------------------------- */

static int visit_keys(struct tks_session *session, const struct tks_batch *batch,
                      int (*visit)(void *arg, const char *key, size_t key_len), void *arg)
{
    const struct tks_item *item;
    for (size_t offset = 0; (item = tks_batch_next(batch, &offset, false));) {
        if (session_expired(session, item->deadline))
            continue;
        int stop = visit(arg, item_key(item), meta_key_len(item->meta));
        if (stop)
            return stop;
    }
    return TKS_OK;
}

int tks_shm_keys(tks_state *base, int (*visit)(void *arg, const char *key, size_t key_len),
                 void *arg)
{
    struct shm_state *state = (struct shm_state *)(void *)base;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    struct tks_session *session = &state->session;
    struct tks_walk walk = {.member = session->member, .plugin = session->plugin};
    struct tks_batch batch = {0};
    int status = TKS_OK;
    while (status == TKS_OK && !walk.ended) {
        batch.used = 0;
        /* The visitor may begin or end a tick. */
        walk.in_tick = session->in_tick;
        status = tks_walk_next(&walk, &batch, BATCH_ENOUGH);
        if (status == TKS_OK)
            status = visit_keys(session, &batch, visit, arg);
        if (status == TKS_OK && !tks_owner_usable(&state->owner))
            status = tks_fail(TKS_INVALID, "the state was closed during tks_keys");
    }
    free(batch.bytes);
    return status;
}

/* ---- Counting ------------------------------------------------------------------------------ */

struct count {
    struct tks_member *member;
    uint64_t keys, plugins;
    int (*visit)(void *arg, const char *plugin, size_t plugin_len, uint64_t keys);
    void *arg;
};

static int count_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct count *count = arg;
    struct tks_session session = session_for(count->member, plugin, granule);
    struct tks_walk walk = {.member = count->member, .plugin = plugin};
    struct tks_batch batch = {0};
    uint64_t keys = 0;
    int status = TKS_OK;
    while (status == TKS_OK && !walk.ended) {
        batch.used = 0;
        status = tks_walk_next(&walk, &batch, BATCH_ENOUGH);
        const struct tks_item *item;
        for (size_t offset = 0; !status && (item = tks_batch_next(&batch, &offset, false));)
            keys += !session_expired(&session, item->deadline);
    }
    free(batch.bytes);
    count->keys += keys;
    count->plugins += keys != 0;
    if (!status && keys && count->visit) {
        char name[TKS_NAME_MAX + 1];
        size_t len = tks_registry_name(plugin, name);
        status = count->visit(count->arg, name, len, keys);
    }
    return status;
}

int tks_shm_plugins(tks_store *store,
                    int (*visit)(void *arg, const char *plugin, size_t plugin_len, uint64_t keys),
                    void *arg)
{
    struct count count = {.visit = visit, .arg = arg};
    int status = visit_segment(segment_of(store), &count.member);
    if (status)
        return status;
    status = tks_registry_each(segment_of(store), count_plugin, &count);
    tks_member_leave(count.member);
    return status;
}

/* ---- Stats --------------------------------------------------------------------------------- */

static unsigned blocks_in(uint64_t word)
{
    if (slab_kind(word) == SLAB_RUN)
        return 1;
    return slab_has_blocks(word) && slab_class(word) < CLASS_END
               ? (unsigned)(SLAB_BYTES / tks_class_bytes(slab_class(word)))
               : 0;
}

static uint64_t bytes_in(uint64_t word)
{
    return slab_kind(word) == SLAB_RUN ? slab_number(word) * SLAB_BYTES
                                       : tks_class_bytes(slab_class(word));
}

static void count_blocks(const struct tks_segment *segment, struct tks_stats *stats)
{
    uint64_t committed = segment->geometry.state_table_offset;
    for (uint64_t slab = 0; slab < segment->slab_count; slab++) {
        uint64_t word = load_acquire(&segment->slabs[slab].word);
        if (slab_kind(word) != SLAB_UNCOMMITTED)
            committed += SLAB_BYTES + SLAB_STATES * 8;
        for (unsigned i = 0; i < blocks_in(word); i++) {
            enum block_kind kind = block_kind(load_relaxed(block_word(segment, slab, i)));
            stats->used_bytes += kind != BLOCK_FREE ? bytes_in(word) : 0;
            stats->retired_bytes += kind == BLOCK_RETIRED ? bytes_in(word) : 0;
        }
    }
    stats->committed_bytes = committed;
}

uint64_t tks_node_bytes(const struct tks_segment *segment)
{
    uint64_t bytes = 0;
    for (uint64_t slab = 0; slab < segment->slab_count; slab++) {
        uint64_t word = load_acquire(&segment->slabs[slab].word);
        for (unsigned i = 0; i < blocks_in(word); i++) {
            uint64_t state = load_relaxed(block_word(segment, slab, i));
            if (block_kind(state) == BLOCK_ALLOCATED && !block_plain(state))
                bytes += bytes_in(word);
        }
    }
    return bytes;
}

static void count_slots(const struct tks_member *member, struct tks_stats *stats)
{
    const struct tks_segment *segment = member->segment;
    for (uint64_t i = 0; i < segment->slot_count; i++) {
        const struct slot *slot = &segment->slots[i];
        if (!tks_slot_alive(slot))
            continue;
        enum slot_use use = use_kind(load_acquire(&slot->use));
        stats->states += use == SLOT_STATE;
        stats->stores += use == SLOT_KEEPER;
    }
}

/* Written by several without order: it may be two sentences in one, or bytes of anybody's. */
static void copy_text(const char *from, char to[256])
{
    copy_from_shared(to, (const uint64_t *)(const void *)from, 256);
    to[255] = 0;
    size_t len = strlen(to);
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)to[i] < ' ' || to[i] == 0x7f ? '?' : to[i];
    if (!tks_utf8_valid(to, len))
        for (size_t i = 0; i < len; i++)
            to[i] = (unsigned char)to[i] > 0x7f ? '?' : to[i];
}

static uint64_t holder_pid(const struct tks_segment *segment, const uint64_t *lease)
{
    const struct slot *slot = tks_lease_holder(segment, load_ordered(lease));
    return slot ? load_relaxed(&slot->owner_pid) : 0;
}

static void describe_checkpoints(const struct tks_segment *segment, struct tks_stats *stats)
{
    const struct header *header = segment->header;
    stats->checkpoint_host = holder_pid(segment, &header->lease);
    stats->checkpoint_cuts = load_ordered(&header->flushes);
    stats->checkpoint_at_ms = (int64_t)load_relaxed(&header->flush_ms);
    stats->checkpoint_ns = load_relaxed(&header->flush_ns);
    stats->checkpoint_bytes = load_relaxed(&header->file_bytes);
    stats->checkpoint_errors = load_relaxed(&header->flush_errors);
    stats->restored_at_ms = (int64_t)load_relaxed(&header->restored_ms);
    stats->restored_entries = load_relaxed(&header->restored_entries);
    stats->restored_damaged = load_relaxed(&header->restored_damaged);
    copy_text(header->flush_text, stats->checkpoint_error);
    copy_text(header->restored_text, stats->restored_warning);
}

/* The age of what the database has, unless that is all there is. */
static uint64_t mirror_lag(const struct tks_segment *segment)
{
    const struct header *header = segment->header;
    const uint64_t stamp = load_ordered(&header->mirror_stamp);
    const int64_t at_ms = (int64_t)load_ordered(&header->mirror_at_ms);
    if (!load_ordered(&header->mirror_lease) || !tks_changes_any(segment, stamp))
        return 0;
    const int64_t lag_ms = at_ms ? sub_clamped(tks_segment_now_ms(segment), at_ms)
                                 : sub_clamped(wall_ms(), header->created_ms);
    return lag_ms > 0 ? (uint64_t)lag_ms : 1;
}

static void describe_mirror(const struct tks_segment *segment, struct tks_stats *stats)
{
    const struct header *header = segment->header;
    stats->mirror_host = holder_pid(segment, &header->mirror_lease);
    stats->mirror_batches = load_ordered(&header->mirror_batches);
    stats->mirror_rows = load_ordered(&header->mirror_rows);
    stats->mirror_errors = load_ordered(&header->mirror_errors);
    stats->mirror_lag_ms = mirror_lag(segment);
    copy_text(header->mirror_text, stats->mirror_error);
}

static void describe(const struct tks_segment *segment, struct tks_stats *stats)
{
    const struct header *header = segment->header;
    struct stat file;
    stats->size_bytes = segment->size_bytes;
    stats->slots = segment->slot_count - VISITOR_SLOTS;
    stats->recovered = tks_slots_recovered(segment);
    stats->evicted = load_ordered(&header->evicted);
    stats->epoch = load_ordered(&header->epoch);
    stats->snapshot_era = load_ordered(&header->era);
    stats->created_ms = header->created_ms;
    stats->clock_skew_ms = sub_clamped(0, tks_segment_to_wall_ms(segment));
    stats->prefaulted = segment->prefaulted;
    stats->locked = segment->locked;
    stats->huge = load_relaxed(&header->huge) == 1;
    stats->mode = fstat(segment->fd, &file) ? 0 : file.st_mode & 07777;
    describe_checkpoints(segment, stats);
    describe_mirror(segment, stats);
}

int tks_shm_stats(tks_store *store, struct tks_stats *stats)
{
    struct tks_segment *segment = segment_of(store);
    struct count count = {0};
    int status = visit_segment(segment, &count.member);
    if (status)
        return status;
    status = tks_registry_each(segment, count_plugin, &count);
    count_blocks(segment, stats);
    count_slots(count.member, stats);
    tks_member_leave(count.member);
    describe(segment, stats);
    stats->keys = count.keys;
    stats->plugins = count.plugins;
    return status;
}

/* ---- Sweep --------------------------------------------------------------------------------- */

struct sweep {
    struct tks_member *member;
    struct tks_session session;
    uint64_t purged;
};

static void purge_items(struct sweep *sweep, const struct tks_batch *batch)
{
    const struct tks_item *item;
    for (size_t offset = 0; (item = tks_batch_next(batch, &offset, false));) {
        if (!session_expired(&sweep->session, item->deadline))
            continue;
        struct tks_name name = make_name(item_key(item), meta_key_len(item->meta));
        tks_point(POINT_PURGE_BEFORE);
        tks_purge(&sweep->session, &name, item->node);
        tks_point(POINT_PURGE_AFTER);
        sweep->purged++;
    }
}

static void prune_bucket(void *arg, uint64_t hash)
{
    struct sweep *sweep = arg;
    struct tks_name name = {"", 0, hash};
    struct tks_operation operation = {.change = CHANGE_PRUNE, .name = &name};
    tks_point(POINT_PRUNE_BEFORE);
    tks_operate(&sweep->session, &operation);
}

static int sweep_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct sweep *sweep = arg;
    sweep->session = session_for(sweep->member, plugin, granule);
    struct tks_walk walk = {.member = sweep->member, .plugin = plugin};
    struct tks_batch batch = {0};
    int status = TKS_OK;
    while (status == TKS_OK && !walk.ended) {
        batch.used = 0;
        status = tks_walk_next(&walk, &batch, BATCH_ENOUGH);
        if (status == TKS_OK)
            purge_items(sweep, &batch);
    }
    free(batch.bytes);
    if (!status && load_relaxed(&sweep->member->segment->header->tombstones))
        status = tks_walk_tombstones(sweep->member, plugin, prune_bucket, sweep);
    return status;
}

static int prune_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct sweep *sweep = arg;
    sweep->session = session_for(sweep->member, plugin, granule);
    (void)tks_walk_tombstones(sweep->member, plugin, prune_bucket, sweep);
    return TKS_OK;
}

void tks_prune_segment(struct tks_member *member)
{
    struct sweep sweep = {.member = member};
    (void)tks_registry_each(member->segment, prune_plugin, &sweep);
    tks_collect(member);
}

int tks_sweep_segment(struct tks_member *member, uint64_t *purged)
{
    struct sweep sweep = {.member = member};
    tks_recover_dead(member);
    int status = tks_registry_each(member->segment, sweep_plugin, &sweep);
    tks_point(POINT_SWEEP_ENDS);
    tks_collect(member);
    if (purged)
        *purged = sweep.purged;
    return status;
}

int tks_shm_sweep(tks_store *store, uint64_t *purged)
{
    struct tks_member *member;
    int status = visit_segment(segment_of(store), &member);
    if (status)
        return status;
    status = tks_sweep_segment(member, purged);
    tks_member_leave(member);
    return status;
}

/* ---- Audit --------------------------------------------------------------------------------- */

struct audit {
    struct tks_member *member;
    struct tks_segment *segment;
    uint64_t *reachable; /* a bit for every state word of a committed slab */
    uint64_t slabs;
    uint64_t keys, plugins;
    bool damaged;
    struct tks_block_ref *suspects;
    size_t suspect_count, suspect_cap;
};

static void mark(struct audit *audit, uint64_t granule)
{
    struct tks_block_ref ref;
    if (!tks_block_find(audit->segment, granule, &ref))
        return; /* written while others work: a suspect if it stays */
    if (ref.slab < audit->slabs) {
        uint64_t bit = (uint64_t)ref.slab * SLAB_STATES + ref.index;
        audit->reachable[bit / 64] |= 1ull << bit % 64;
    }
}

static void mark_piece(void *arg, uint64_t granule)
{
    mark(arg, granule);
}

static void mark_word(void *arg, uint64_t word)
{
    struct audit *audit = arg;
    if (!head_names_block(word))
        return;
    mark(audit, head_granule(word));
    if (head_kind(word) == HEAD_ENTRY) {
        audit->keys++;
        return;
    }
    uint64_t granule = head_granule(word);
    if (!granule_in_range(audit->segment, granule, vector_bytes(0)))
        return;
    const uint64_t *vector = granule_words(audit->segment, granule);
    uint64_t count = load_relaxed(vector + VECTOR_COUNT);
    if (count > VECTOR_MEMBERS_MAX ||
        !granule_in_range(audit->segment, granule, vector_bytes(count)))
        return;
    audit->keys += count;
    for (uint64_t i = 0; i < count; i++)
        mark(audit, head_granule(load_relaxed(vector + VECTOR_MEMBERS + i)));
}

static int audit_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct audit *audit = arg;
    audit->plugins++;
    mark(audit, granule);
    tks_index_each_piece(audit->segment, plugin, mark_piece, audit);
    return tks_walk_words(audit->member, plugin, mark_word, audit);
}

static void mark_held(struct audit *audit, uint64_t *held)
{
    for (uint64_t i = 0; i < audit->segment->slot_count; i++) {
        const struct slot *slot = &audit->segment->slots[i];
        if (!tks_slot_alive(slot))
            continue;
        for (unsigned pin = 0; pin < SLOT_WORDS; pin++) {
            uint64_t granule = pin_granule(load_acquire(&slot->words[pin]));
            struct tks_block_ref ref;
            bool is_log =
                pin == LOG_HASH || pin == LOG_PLUGIN || pin == LOG_SLAB || pin == LOG_MOVE_HASH;
            if (!is_log && tks_block_find(audit->segment, granule, &ref) && ref.slab < audit->slabs)
                held[((uint64_t)ref.slab * SLAB_STATES + ref.index) / 64] |= 1ull << ref.index % 64;
        }
    }
}

static bool was_suspect(const struct tks_block_ref *old, size_t count,
                        const struct tks_block_ref *ref)
{
    for (size_t i = 0; i < count; i++)
        if (old[i].slab == ref->slab && old[i].index == ref->index && old[i].state == ref->state)
            return true;
    return false;
}

static int add_suspect(struct audit *audit, const struct tks_block_ref *ref)
{
    if (audit->suspect_count == audit->suspect_cap) {
        size_t cap = audit->suspect_cap ? audit->suspect_cap * 2 : 64;
        struct tks_block_ref *grown = realloc(audit->suspects, cap * sizeof(*grown));
        if (!grown)
            return tks_fail(TKS_NO_SPACE, "no memory for an audit");
        audit->suspects = grown;
        audit->suspect_cap = cap;
    }
    audit->suspects[audit->suspect_count++] = *ref;
    return TKS_OK;
}

/* Compare the state table with what was reached; what was no suspect before is none yet. */
static int account(struct audit *audit, const uint64_t *held, bool first, struct tks_check *check)
{
    struct tks_block_ref *old = audit->suspects;
    size_t old_count = audit->suspect_count;
    audit->suspects = NULL;
    audit->suspect_count = audit->suspect_cap = 0;
    int status = TKS_OK;
    check->reachable_blocks = check->free_blocks = check->retired_blocks = check->held_blocks = 0;
    for (uint64_t slab = 0; !status && slab < audit->slabs; slab++) {
        unsigned count = blocks_in(load_acquire(&audit->segment->slabs[slab].word));
        for (unsigned i = 0; !status && i < count; i++) {
            uint64_t bit = slab * SLAB_STATES + i;
            struct tks_block_ref ref = {0, (uint32_t)slab, i,
                                        load_acquire(block_word(audit->segment, slab, i))};
            check->free_blocks += block_kind(ref.state) == BLOCK_FREE;
            check->retired_blocks += block_kind(ref.state) == BLOCK_RETIRED;
            check->held_blocks += block_kind(ref.state) == BLOCK_TAKEN;
            if (block_kind(ref.state) != BLOCK_ALLOCATED)
                continue;
            if (audit->reachable[bit / 64] >> bit % 64 & 1)
                check->reachable_blocks++;
            else if (held[bit / 64] >> bit % 64 & 1)
                check->held_blocks++;
            else if (first || was_suspect(old, old_count, &ref))
                status = add_suspect(audit, &ref);
            else
                check->held_blocks++;
        }
    }
    free(old);
    check->leaked_blocks = audit->suspect_count;
    return status;
}

static uint64_t committed_slabs(const struct tks_segment *segment)
{
    uint64_t last = 0;
    for (uint64_t i = 0; i < segment->slab_count; i++)
        if (slab_kind(load_relaxed(&segment->slabs[i].word)) != SLAB_UNCOMMITTED)
            last = i + 1;
    return last;
}

static int audit_pass(struct audit *audit, bool first, struct tks_check *check)
{
    audit->slabs = committed_slabs(audit->segment);
    audit->keys = audit->plugins = 0;
    size_t words = audit->slabs * SLAB_STATES / 64 + 1;
    uint64_t *held = calloc(words, 8);
    audit->reachable = calloc(words, 8);
    int status = held && audit->reachable
                     ? TKS_OK
                     : tks_fail(TKS_NO_SPACE, "no memory for an audit of %zu words", words);
    if (!status) {
        /* Held before reached: a block that is published meanwhile is in one of the two. */
        mark_held(audit, held);
        status = tks_registry_each(audit->segment, audit_plugin, audit);
        if (!status)
            mark_held(audit, held);
        if (!status)
            status = account(audit, held, first, check);
    }
    free(held);
    free(audit->reachable);
    return status;
}

static int tidy_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct tks_member *member = arg;
    pin_store(member, LOG_PLUGIN, granule);
    tks_point(POINT_CHECK_LOGGED);
    /* Only in a section do pins count. Who cannot open one leaves it to the next. */
    if (section_enter(member)) {
        tks_index_retire_levels(member, plugin, UINT32_MAX);
        section_leave(member);
    }
    tks_collect(member);
    return TKS_OK;
}

static void reclaim_found(struct tks_member *member)
{
    tks_limbo_flush(member);
    tks_reclaim_slabs(member, 0, member->segment->slab_count);
}

static int run_audit(struct tks_member *member, struct tks_check *check)
{
    struct audit audit = {.member = member, .segment = member->segment};
    int status = tks_registry_each(member->segment, tidy_plugin, member);
    reclaim_found(member);
    tks_point(POINT_CHECK_TIDIED);
    int expelled = 0;
    for (int pass = 0; !status && pass < AUDIT_PASSES; pass++) {
        tks_point(POINT_CHECK_PASS);
        /* Who died since the last look left blocks that the index does not name. */
        if (tks_recover_dead(member))
            reclaim_found(member);
        status = audit_pass(&audit, pass == 0, check);
        if (status == TKS_EVICTED && expelled++ < SESSION_TRIES) {
            status = TKS_OK;
            pass = -1;
            continue;
        }
        if (!status && !check->leaked_blocks)
            break;
    }
    check->keys = audit.keys;
    check->plugins = audit.plugins;
    free(audit.suspects);
    return status;
}

int tks_shm_check(tks_store *store, struct tks_check *check)
{
    struct tks_member *member;
    int status = visit_segment(segment_of(store), &member);
    if (status)
        return status;
    status = run_audit(member, check);
    tks_member_leave(member);
    return status;
}

/* ---- Export -------------------------------------------------------------------------------- */

struct copied_plugin {
    char name[TKS_NAME_MAX + 1];
    size_t len;
    struct tks_batch batch;
    struct copied_plugin *next;
};

struct export
{
    struct tks_member *member;
    const char *glob;
    struct tks_snapshot snapshot;
    struct copied_plugin *plugins;
    int (*visit)(void *arg, const struct tks_record *record);
    void *arg;
};

static int copy_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct export *export = arg;
    (void)granule;
    struct copied_plugin *copy = calloc(1, sizeof(*copy));
    if (!copy)
        return tks_fail(TKS_NO_SPACE, "no memory for an export");
    copy->len = tks_registry_name(plugin, copy->name);
    if (export->glob && fnmatch(export->glob, copy->name, 0)) {
        free(copy);
        return TKS_OK;
    }
    copy->next = export->plugins;
    export->plugins = copy;
    struct tks_walk walk = {
        .member = export->member, .plugin = plugin, .snapshot = &export->snapshot, .values = true};
    int status = TKS_OK;
    while (status == TKS_OK && !walk.ended)
        status = tks_walk_next(&walk, &copy->batch, copy->batch.used + BATCH_ENOUGH);
    return status;
}

static void drop_copies(struct export *export)
{
    while (export->plugins) {
        struct copied_plugin *copy = export->plugins;
        export->plugins = copy->next;
        free(copy->batch.bytes);
        free(copy);
    }
}

/* Copy everything as of one stamp. TKS_BUSY when no attempt got through. */
static int copy_consistent(struct export *export)
{
    struct tks_segment *segment = export->member->segment;
    for (int i = 0; i < EXPORT_TRIES; i++) {
        int status = tks_snapshot_begin(export->member, &export->snapshot);
        if (status == TKS_BUSY)
            continue;
        tks_point(POINT_EXPORT_BEGUN);
        status = tks_registry_each(segment, copy_plugin, export);
        tks_point(POINT_EXPORT_COPIED);
        tks_snapshot_end(export->member, &export->snapshot);
        if (status != WALK_LOST)
            return status;
        tks_point(POINT_EXPORT_LOST);
        drop_copies(export);
    }
    return tks_fail(TKS_BUSY, "segment \"%s\": no consistent copy in %d attempts", segment->name,
                    EXPORT_TRIES);
}

bool tks_item_record(const struct tks_item *item, int64_t now_ms, int64_t to_wall_ms,
                     struct tks_record *record)
{
    int64_t deadline = (int64_t)item->deadline;
    if (deadline && deadline <= now_ms)
        return false;
    record->size = sizeof(*record);
    record->type = meta_type(item->meta);
    record->key = item_key(item);
    record->key_len = meta_key_len(item->meta);
    record->value = item_value(item);
    record->value_len = meta_value_len(item->meta);
    record->version = item->version;
    record->expires_at = 0;
    if (deadline && __builtin_add_overflow(deadline, to_wall_ms, &record->expires_at))
        record->expires_at = INT64_MAX;
    return true;
}

static int visit_records(struct export *export, const struct copied_plugin *copy)
{
    const struct tks_segment *segment = export->member->segment;
    const int64_t now = tks_segment_now_ms(segment), to_wall = tks_segment_to_wall_ms(segment);
    const struct tks_item *item;
    for (size_t offset = 0; (item = tks_batch_next(&copy->batch, &offset, true));) {
        struct tks_record record = {.plugin = copy->name, .plugin_len = copy->len};
        if (!tks_item_record(item, now, to_wall, &record))
            continue;
        int stop = export->visit(export->arg, &record);
        if (stop)
            return stop;
    }
    return TKS_OK;
}

int tks_shm_export(tks_store *store, const char *plugin_glob,
                   int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    struct export export = {.glob = plugin_glob, .visit = visit, .arg = arg};
    struct header *header = segment_of(store)->header;
    int status = visit_segment(segment_of(store), &export.member);
    if (status)
        return status;
    uint64_t tombstones = load_relaxed(&header->tombstones);
    status = copy_consistent(&export);
    if (load_relaxed(&header->tombstones) != tombstones)
        tks_sweep_segment(export.member, NULL);
    for (struct copied_plugin *copy = export.plugins; copy && status == TKS_OK; copy = copy->next)
        status = visit_records(&export, copy);
    drop_copies(&export);
    tks_member_leave(export.member);
    return status;
}

/* SPDX-License-Identifier: MIT */
#include "table/changes.h"

#include "base/error.h"
#include "memory/epoch.h"
#include "table/registry.h"

#define SECTION_RANGES 1024u
#define CHANGES_TRIES 1000

/* Hashes that one mark of @p level stands for, less one: the whole range has 2^64. */
static uint64_t last_in_range(unsigned level)
{
    unsigned bits = level_bits(level) > MARK_BITS ? level_bits(level) - MARK_BITS : 0;
    return bits ? (1ull << (64 - bits)) - 1 : UINT64_MAX;
}

static bool marked_at(const struct tks_changes *changes, unsigned level, uint64_t hash)
{
    const struct tks_segment *segment = changes->member->segment;
    uint64_t piece;
    if (level >= LEVELS)
        return false;
    const uint64_t *head = head_on_level(segment, changes->plugin, level, hash, &piece);
    return head &&
           load_acquire(mark_of(segment, changes->plugin, piece, level, head)) >= changes->since;
}

/* A range whose bucket may be on either of two levels has marks on both. False: too late, or
 * damage. */
static bool range_changed(const struct tks_changes *changes, unsigned level, bool *changed)
{
    uint64_t piece;
    const uint64_t hash = changes->position;
    if (!head_on_level(changes->member->segment, changes->plugin, level, hash, &piece))
        return false;
    *changed = marked_at(changes, level, hash) || marked_at(changes, level + 1, hash) ||
               marked_at(changes, level + 1, hash + last_in_range(level + 1) + 1);
    return true;
}

/* Ranges in one section, until a run ends. True: it has ended, or there are no more ranges. */
static bool scan(struct tks_changes *changes, struct tks_run *run, int *status)
{
    for (unsigned i = 0; i < SECTION_RANGES; i++) {
        const uint64_t base = load_acquire(&changes->plugin->base);
        bool changed;
        if (base >= LEVELS || !range_changed(changes, (unsigned)base, &changed)) {
            *status = load_acquire(&changes->plugin->base) == base ? TKS_CORRUPT : TKS_OK;
            return false;
        }
        const bool open = run->first <= run->last;
        if (!changed && open)
            return true;
        const uint64_t last = changes->position | last_in_range((unsigned)base);
        if (changed) {
            run->first = open ? run->first : changes->position;
            run->last = last;
        }
        changes->position = last + 1;
        changes->ended = last == UINT64_MAX;
        if (changes->ended)
            return true;
    }
    return false;
}

int tks_changes_next(struct tks_changes *changes, struct tks_run *run)
{
    *run = (struct tks_run){1, 0};
    if (load_acquire(&changes->plugin->changed) < changes->since)
        changes->ended = true;
    for (int tries = 0; !changes->ended; tries++) {
        const struct tks_changes before = *changes;
        const struct tks_run run_before = *run;
        int status = TKS_OK;
        if (tries == CHANGES_TRIES)
            return tks_fail(TKS_EVICTED, "expelled %d times from segment \"%s\"", tries,
                            changes->member->segment->name);
        if (!section_enter(changes->member))
            continue;
        bool done = scan(changes, run, &status);
        bool intact = section_intact(changes->member);
        section_leave(changes->member);
        if (!intact) {
            *changes = before;
            *run = run_before;
            continue;
        }
        if (status)
            return tks_fail(status,
                            "segment \"%s\" is damaged: plugin \"%.*s\" has an impossible "
                            "offset",
                            changes->member->segment->name, TKS_NAME_MAX, changes->plugin->name);
        if (done)
            return TKS_OK;
        if (changes->position != before.position)
            tries = 0;
    }
    return TKS_OK;
}

/* The range that a hash lies in: what one mark stands for, or more. */
static struct tks_run range_around(struct plugin *plugin, uint64_t hash)
{
    const uint64_t base = load_acquire(&plugin->base);
    const uint64_t width = last_in_range(base < LEVELS ? (unsigned)base : 0);
    return (struct tks_run){hash & ~width, hash | width};
}

typedef int run_visitor(void *arg, struct plugin *plugin, struct tks_run run);

/* The range that a slot's log names. */
static int visit_logged(const struct tks_segment *segment, const struct slot *slot, enum pin hash,
                        run_visitor *visit, void *arg)
{
    struct plugin *plugin = tks_registry_plugin(segment, load_acquire(&slot->words[LOG_PLUGIN]));
    const uint64_t logged = load_acquire(&slot->words[hash]);
    return plugin && logged ? visit(arg, plugin, range_around(plugin, logged)) : 0;
}

int tks_changes_stopped(const struct tks_segment *segment, run_visitor *visit, void *arg)
{
    const uint64_t high_water = load_acquire(&segment->header->slot_high_water);
    int status = 0;
    for (uint64_t i = 0; !status && i < high_water && i < segment->slot_count; i++) {
        const struct slot *slot = &segment->slots[i];
        const uint64_t section = load_ordered(&slot->section);
        if (section == SECTION_IDLE || section & 1)
            continue;
        status = visit_logged(segment, slot, LOG_HASH, visit, arg);
        if (!status)
            status = visit_logged(segment, slot, LOG_MOVE_HASH, visit, arg);
    }
    return status;
}

struct question {
    uint64_t since;
    bool answer;
};

static int ask_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct question *question = arg;
    (void)granule;
    question->answer = load_acquire(&plugin->changed) >= question->since;
    return question->answer;
}

bool tks_changes_any(const struct tks_segment *segment, uint64_t since)
{
    struct question question = {since, false};
    return tks_registry_each(segment, ask_plugin, &question) < 0 || question.answer;
}

/* SPDX-License-Identifier: MIT */
#include "point_play.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "memory/reclaim.h"
#include "point_hook.h"
#include "store/shm.h"
#include "table/snapshot.h"

#define FILL_MAX 1000u

/* ---- The rival ----------------------------------------------------------------------------- */

static struct actor rival;
static struct actor *subject_now;
static tks_state *filler; /* a plugin of the rival's own */

static struct tks_member *member_of(tks_state *state)
{
    return ((struct shm_state *)(void *)state)->session.member;
}

static void open_as(struct actor *actor, const char *plugin, tks_state **state)
{
    if (tks_state_open(actor->store, plugin, state))
        actor_problem(actor, "state open for \"%s\": %s", plugin, tks_last_error());
}

static void enter_rival(void)
{
    rival.log = subject_now->log + 1;
    rival.clock = subject_now->clock;
    rival.id = subject_now->id + 1;
    rival.store = subject_now->store;
    open_as(&rival, scenario_plugin, &rival.state);
}

static void enter_filler(void)
{
    enter_rival();
    open_as(&rival, "rival", &filler);
}

/* A section of the rival's that is an epoch behind. */
static void enter_laggard(void)
{
    enter_rival();
    if (tks_tick_begin(rival.state))
        actor_problem(&rival, "tick: %s", tks_last_error());
    tks_epoch_advance(member_of(subject_now->state));
}

/* The laggard holds back what the filler retired and leaves. */
static void enter_strays(void)
{
    enter_filler();
    for (int i = 0; i < 6; i++) {
        if (i == 1 && tks_tick_begin(rival.state))
            actor_problem(&rival, "tick: %s", tks_last_error());
        if (tks_set(filler, "stray", &i, sizeof(i)))
            actor_problem(&rival, "set: %s", tks_last_error());
    }
    tks_epoch_advance(member_of(subject_now->state));
    tks_state_close(filler);
}

/* A slab of a class that nobody else uses, wholly free as soon as somebody reclaims. */
static void enter_drainable(void)
{
    static char value[400];
    enter_filler();
    if (tks_set(filler, "drained", value, sizeof(value)) || tks_delete(filler, "drained"))
        actor_problem(&rival, "set and delete: %s", tks_last_error());
}

static void rival_sets_a(void)
{
    actor_set(&rival, KEY_A, 0);
}

static void rival_sets_v0(void)
{
    actor_set(&rival, KEY_V0, 0);
}

static void rival_deletes_v1(void)
{
    actor_delete(&rival, KEY_V1);
}

static void rival_gets_a(void)
{
    actor_get(&rival, KEY_A);
}

static void rival_deletes_a(void)
{
    actor_delete(&rival, KEY_A);
}

static void rival_sets_big(void)
{
    actor_set(&rival, KEY_BIG, 3);
}

static void rival_grows(void)
{
    for (unsigned i = 0; i < KEYS_GROW; i++)
        actor_set(&rival, KEY_GROW + i, 0);
}

/* Not in the bucket of A: what was left there is moved as it is. */
static void rival_grows_elsewhere(void)
{
    for (unsigned i = KEYS_GROW / 4; i < KEYS_GROW; i++)
        actor_set(&rival, KEY_GROW + i, 0);
}

static void rival_sets_first_grown(void)
{
    actor_set(&rival, KEY_GROW, 0);
}

static void rival_advances(void)
{
    tks_epoch_advance(member_of(rival.state));
}

static void rival_recycles(void)
{
    tks_block_refill(member_of(rival.state), GRANULE_BYTES, true);
}

/* Takes a block of the slab that the subject is about to drain, found before that. */
static void rival_takes_drained(void)
{
    struct tks_member *member = member_of(rival.state);
    const struct slot *slot = member_of(subject_now->state)->slot;
    uint64_t slab = load_acquire(&slot->words[LOG_SLAB]) - 1, granule;
    unsigned class = slab_class(member->segment->slabs[slab].word);
    while (member->ready[class].count)
        tks_block_free(member, &member->ready[class].blocks[--member->ready[class].count]);
    member->current_slab[class] = (uint32_t)slab;
    member->current_index[class] = 0;
    /* Refused where others took all while we were stopped. */
    (void)tks_block_take(member, tks_class_bytes(class), 0, PIN_NEW_ENTRY, &granule);
}

/* As a writer without room does when it has tried everything else. */
static void rival_ends_snapshot(void)
{
    struct header *header = member_of(rival.state)->segment->header;
    compare_and_swap(&header->snapshot, load_ordered(&header->snapshot), 0);
}

static void fill_until_full(size_t bytes, unsigned *count)
{
    static char value[512];
    char name[24];
    for (int status = TKS_OK; !status;) {
        snprintf(name, sizeof(name), "f%u", *count);
        status = tks_set(filler, name, value, bytes);
        *count += !status;
        if (status && status != TKS_NO_SPACE)
            actor_problem(&rival, "filling: %s", tks_last_error());
    }
}

static void empty_again(struct actor *actor, tks_state *state, unsigned count)
{
    char name[24];
    while (count--) {
        snprintf(name, sizeof(name), "f%u", count);
        if (tks_delete(state, name))
            actor_problem(actor, "deleting in a full store: %s", tks_last_error());
    }
}

void play_make_room(struct actor *survivor)
{
    tks_state *state = NULL;
    open_as(survivor, "rival", &state);
    if (state)
        empty_again(survivor, state, FILL_MAX);
    tks_state_close(state);
}

/* As a delete does when there is nothing else: something is left over more often than not. */
static void rival_takes_reserve(void)
{
    struct tks_member *member = member_of(rival.state);
    const unsigned class = tks_class_of(GRANULE_BYTES);
    const unsigned ready = member->ready[class].count;
    uint64_t granule;
    member->use_reserve = true;
    member->ready[class].count = 0;
    member->current_slab[class] = NO_SLAB;
    if (!tks_block_take(member, GRANULE_BYTES, 0, PIN_NEW_ENTRY, &granule))
        tks_block_discard(member, PIN_NEW_ENTRY);
    member->ready[class].count = ready;
    member->use_reserve = false;
}

/* Fills the store to the last block and makes room again. */
static void rival_fills(void)
{
    unsigned count = 0;
    for (size_t bytes = 500; bytes > 4; bytes -= bytes / 3)
        fill_until_full(bytes, &count);
    actor_delete(&rival, KEY_V1); /* its vector's successor comes from the reserve */
    rival_takes_reserve();
    empty_again(&rival, filler, count);
}

/* ---- Scenarios of the points only ---------------------------------------------------------- */

static char plugin_fresh[] = "fresh-plugin";
static tks_state *fresh;

static void run_new_plugin(struct actor *subject)
{
    open_as(subject, plugin_fresh, &fresh);
}

static void rival_opens_new_plugin(void)
{
    tks_state *state;
    open_as(&rival, plugin_fresh, &state);
}

static void run_recycle(struct actor *subject)
{
    tks_block_refill(member_of(subject->state), GRANULE_BYTES, true);
}

static void begin_fill(struct actor *subject)
{
    (void)subject;
    enter_filler();
}

static void run_fill(struct actor *subject)
{
    (void)subject;
    rival_fills();
}

static void big_gone(struct actor *parent)
{
    actor_set(parent, KEY_BIG, 3);
}

static void run_delete_and_recycle(struct actor *subject)
{
    actor_delete(subject, KEY_BIG);
    run_recycle(subject);
}

static void run_conflict(struct actor *subject)
{
    char value[8] = "nothing";
    int status = tks_set_if(subject->state, key_name(KEY_A), value, sizeof(value), 1);
    if (status != TKS_CONFLICT)
        actor_problem(subject, "set_if of a wrong version: %s", tks_strerror(status));
}

/* Far enough for directories of pieces, and for one that is taken apart. */
static void run_grow_far(struct actor *subject)
{
    char name[24];
    open_as(subject, plugin_fresh, &fresh);
    for (unsigned i = 0; i < 110; i++) {
        snprintf(name, sizeof(name), "far-%u", i);
        if (tks_set(fresh, name, &i, sizeof(i)))
            actor_problem(subject, "growing far: %s", tks_last_error());
    }
}

static void begin_fresh(struct actor *subject)
{
    open_as(subject, plugin_fresh, &fresh);
    if (tks_set(fresh, "here", "x", 1))
        actor_problem(subject, "set: %s", tks_last_error());
}

/* The first block of its size. */
static void run_odd_size(struct actor *subject)
{
    static char value[1000];
    if (tks_set(fresh, "odd", value, sizeof(value)))
        actor_problem(subject, "set: %s", tks_last_error());
}

/* So that blocks of the size of A are ready, and the next set of it is a plain one. */
static void make_ready(struct actor *subject)
{
    for (int i = 0; i < 130; i++)
        actor_set(subject, KEY_N, 0);
}

static void run_set_a(struct actor *subject)
{
    actor_set(subject, KEY_A, 0);
}

static void run_set_a_in_tick(struct actor *subject)
{
    if (tks_tick_begin(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
    run_set_a(subject);
    run_set_a(subject);
    if (tks_tick_end(subject->state))
        actor_problem(subject, "tick end: %s", tks_last_error());
}

/* The last key of a bucket goes while a snapshot needs it. */
static void rival_deletes_here(void)
{
    if (tks_delete(fresh, "here"))
        actor_problem(&rival, "delete: %s", tks_last_error());
}

static void run_sweep_and_close(struct actor *subject)
{
    if (tks_store_sweep(subject->store, NULL))
        actor_problem(subject, "sweep: %s", tks_last_error());
    tks_state_close(subject->state);
}

/* ---- The second store ---------------------------------------------------------------------- */

static const char *second_uri(void)
{
    static char uri[128];
    snprintf(uri, sizeof(uri), "shm://%s?size=160K&slots=14", second_store_name());
    return uri;
}

static tks_store *second;

static void open_second(struct actor *subject)
{
    if (tks_store_open(second_uri(), NULL, &second))
        actor_problem(subject, "second store: %s", tks_last_error());
}

static void make_second(struct actor *subject)
{
    open_second(subject);
    tks_store_close(second);
}

static void run_destroy(struct actor *subject)
{
    int status = tks_store_destroy(second_uri());
    if (status && status != TKS_BUSY && status != TKS_NOT_FOUND)
        actor_problem(subject, "destroy: %s", tks_last_error());
}

static void rival_opens_second(void)
{
    open_second(subject_now);
}

static void rival_destroys_second(void)
{
    run_destroy(subject_now);
}

static void enter_nothing(void)
{
}

static void second_store_left(struct actor *parent)
{
    DIR *folder = opendir("/dev/shm");
    const struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        char path[300];
        if (strncmp(entry->d_name, second_store_name(), strlen(second_store_name())))
            continue;
        actor_problem(parent, "/dev/shm/%.200s is left behind", entry->d_name);
        snprintf(path, sizeof(path), "/dev/shm/%s", entry->d_name);
        unlink(path);
    }
    if (folder)
        closedir(folder);
}

static void use_second(struct actor *parent, tks_store *store, bool alone)
{
    tks_state *state;
    char text[8];
    if (tks_state_open(store, "second", &state)) {
        actor_problem(parent, "second store's state: %s", tks_last_error());
        return;
    }
    if (tks_set(state, "key", "value", 5) || tks_get(state, "key", text, sizeof(text), NULL))
        actor_problem(parent, "second store: %s", tks_last_error());
    if (alone)
        audit_store(store, 1, 1);
    tks_state_close(state);
}

void second_store_use(struct actor *parent, bool alone)
{
    tks_store *store;
    if (tks_store_open(second_uri(), NULL, &store)) {
        actor_problem(parent, "opening the second store: %s", tks_last_error());
        return;
    }
    use_second(parent, store, alone);
    tks_store_close(store);
    int status = tks_store_destroy(second_uri());
    if (status && (alone || (status != TKS_BUSY && status != TKS_NOT_FOUND)))
        actor_problem(parent, "destroying the second store: %s", tks_last_error());
    if (alone)
        second_store_left(parent);
}

/* ---- The list ------------------------------------------------------------------------------ */

static const struct scenario own[] = {
    {"new_plugin", 0, KEY_A, NULL, NULL, run_new_plugin, NULL, NULL},
    {"recycle", 0, KEY_A, NULL, NULL, run_recycle, NULL, NULL},
    {"fill", 0, KEY_A, NULL, begin_fill, run_fill, NULL, NULL},
    {"big_recycled", 0, KEY_BIG, big_gone, NULL, run_delete_and_recycle, NULL, NULL},
    {"plain_set", 0, KEY_A, NULL, make_ready, run_set_a, NULL, NULL},
    {"plain_set_in_tick", 0, KEY_A, NULL, make_ready, run_set_a_in_tick, NULL, NULL},
    {"odd_size", 0, KEY_A, NULL, begin_fresh, run_odd_size, NULL, NULL},
    {"conflict", 0, KEY_A, NULL, NULL, run_conflict, NULL, NULL},
    {"grow_far", 0, KEY_A, NULL, NULL, run_grow_far, NULL, NULL},
    {"sweep_and_close", 0, KEY_A, NULL, begin_fresh, run_sweep_and_close, NULL, NULL},
};

static const struct scenario on_second[] = {
    {"create", NO_STORE, KEY_A, NULL, NULL, open_second, NULL, NULL},
    {"destroy", NO_STORE, KEY_A, NULL, make_second, run_destroy, NULL, NULL},
    {"reopen", NO_STORE, KEY_A, NULL, make_second, open_second, NULL, NULL},
};

/* A scenario, the point at which the rival comes in, and what it does. */
static const struct contest {
    const char *name, *scenario;
    unsigned between;
    void (*rival)(void), (*enter)(void);
} contests[] = {
    {"set_lost", "set_overwrite", POINT_OP_BEFORE_PUBLISH, rival_sets_a, NULL},
    {"plain_set_lost", "plain_set", POINT_PLAIN_BEFORE_PUBLISH, rival_sets_a, NULL},
    {"plain_set_unsettled", "plain_set", POINT_PLAIN_PUBLISHED, rival_sets_a, NULL},
    {"plain_set_deleted", "plain_set", POINT_PLAIN_PINNED, rival_deletes_a, NULL},
    {"plain_set_recycled", "plain_set", POINT_PLAIN_PREDICTED, rival_recycles, NULL},
    {"plain_set_read", "plain_set", POINT_PLAIN_PUBLISHED, rival_gets_a, NULL},
    {"plain_set_grown", "plain_set", POINT_PLAIN_VALIDATED, rival_grows, NULL},
    {"insert_lost", "set_insert", POINT_OP_BEFORE_PUBLISH, rival_sets_a, NULL},
    {"vector_lost", "set_insert_in_vector", POINT_OP_BEFORE_PUBLISH, rival_sets_v0, NULL},
    {"vector_shrinks", "set_overwrite_in_vector", POINT_OP_PINNED, rival_deletes_v1, NULL},
    {"delete_lost", "delete", POINT_OP_LINKED, rival_sets_a, NULL},
    {"unsettled_read", "set_overwrite", POINT_OP_PUBLISHED, rival_gets_a, NULL},
    {"unsettled_overwrite", "set_overwrite", POINT_OP_PUBLISHED, rival_sets_a, NULL},
    {"unsettled_delete_read", "delete", POINT_OP_PUBLISHED, rival_gets_a, NULL},
    {"unsettled_grows", "set_insert", POINT_OP_PUBLISHED, rival_grows_elsewhere, NULL},
    {"unsettled_delete_grows", "delete", POINT_OP_PUBLISHED, rival_grows_elsewhere, NULL},
    {"grown_under", "set_overwrite", POINT_OP_PINNED, rival_grows, NULL},
    {"grown_before_publish", "delete_in_vector", POINT_OP_BEFORE_PUBLISH, rival_grows, NULL},
    {"slab_emptied_under", "odd_size", POINT_TAKE_LOGGED, rival_recycles, NULL},
    {"recycled_under", "set_overwrite", POINT_OP_BEFORE_PUBLISH, rival_recycles, NULL},
    {"read_recycled", "get", POINT_READ_LOOKED, rival_recycles, NULL},
    {"borrow_again", "borrow", POINT_BORROW_PINNED, rival_sets_a, NULL},
    {"section_moved", "get", POINT_SECTION_STORED, rival_advances, NULL},
    {"expels", "recycle", POINT_REFILL_HARD, NULL, enter_laggard},
    {"drain_lost", "recycle", POINT_DRAIN_LOGGED, rival_takes_drained, enter_drainable},
    {"strays", "set_other_size", POINT_OP_LOGGED, NULL, enter_strays},
    {"run_lost", "set_big", POINT_RUN_LOGGED, rival_sets_big, NULL},
    {"frozen_written", "grow", POINT_GROW_CHILDREN_BEFORE, rival_sets_first_grown, NULL},
    {"frozen_vector_written", "grow", POINT_GROW_FIRST_SHARE, rival_sets_first_grown, NULL},
    {"moved_by_two", "grow", POINT_GROW_CHILDREN_BEFORE, rival_grows, NULL},
    {"vector_moved_by_two", "grow", POINT_GROW_FIRST_SHARE, rival_grows, NULL},
    {"installed_by_two", "grow", POINT_GROW_ZEROED, rival_grows, NULL},
    {"base_moved_by_two", "grow", POINT_GROW_BASE_BEFORE, rival_grows, NULL},
    {"plugin_by_two", "new_plugin", POINT_PLUGIN_FILLED, rival_opens_new_plugin, NULL},
    {"exported_and_written", "export", POINT_EXPORT_BEGUN, rival_sets_a, NULL},
    {"exported_and_deleted", "export", POINT_EXPORT_BEGUN, rival_deletes_a, NULL},
    {"tombstone", "export", POINT_EXPORT_BEGUN, rival_deletes_here, NULL},
    {"snapshot_lost", "export", POINT_SNAPSHOT_GRACE, rival_ends_snapshot, NULL},
    {"export_lost", "export", POINT_EXPORT_BEGUN, rival_ends_snapshot, NULL},
    {"export_and_full", "export", POINT_EXPORT_BEGUN, rival_fills, enter_filler},
    {"set_and_full", "set_overwrite", POINT_OP_BUILT, rival_fills, enter_filler},
};

static const struct contest second_contests[] = {
    {"destroyed_and_opened", "destroy", POINT_DESTROY_MARKED, rival_opens_second, enter_nothing},
    {"opened_and_destroyed", "reopen", POINT_SLOT_LOOKED_FREE, rival_destroys_second,
     enter_nothing},
};

static const struct scenario *any_scenario(const char *name)
{
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (!strcmp(own[i].name, name))
            return &own[i];
    for (size_t i = 0; i < sizeof(on_second) / sizeof(on_second[0]); i++)
        if (!strcmp(on_second[i].name, name))
            return &on_second[i];
    return scenario_named(name);
}

static struct play contest_play(const struct contest *contest, bool on_a_second)
{
    return (struct play){contest->name,  any_scenario(contest->scenario),
                         on_a_second,    contest->between,
                         contest->rival, contest->enter ? contest->enter : enter_rival};
}

unsigned plays_list(struct play plays[PLAYS_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < scenario_count; i++)
        if (!scenarios[i].victim)
            plays[count++] = (struct play){.name = scenarios[i].name, .scenario = &scenarios[i]};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        plays[count++] = (struct play){.name = own[i].name, .scenario = &own[i]};
    for (size_t i = 0; i < sizeof(on_second) / sizeof(on_second[0]); i++)
        plays[count++] =
            (struct play){.name = on_second[i].name, .scenario = &on_second[i], .second = true};
    for (size_t i = 0; i < sizeof(contests) / sizeof(contests[0]); i++)
        plays[count++] = contest_play(&contests[i], false);
    for (size_t i = 0; i < sizeof(second_contests) / sizeof(second_contests[0]); i++)
        plays[count++] = contest_play(&second_contests[i], true);
    return count;
}

bool play_fills(const struct play *play)
{
    return play->rival == rival_fills || play->scenario->run == run_fill;
}

void play_prepare(const struct play *play, struct actor *subject)
{
    subject_now = subject;
    scenario_open(play->scenario, subject);
    if (play->rival == rival_deletes_here)
        begin_fresh(subject);
    if (play->enter)
        play->enter();
    if (play->scenario->prepare)
        play->scenario->prepare(subject);
    if (play->rival)
        point_meanwhile(play->between, play->rival);
}

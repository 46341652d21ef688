/* SPDX-License-Identifier: MIT */
/* recovery/: what an heir owes the dead, whatever happens to the heir. Tiny pool: it has points. */
#include "unit.h"

#include "base/point.h"
#include "base/process.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "memory/reclaim.h"
#include "recovery/recover.h"
#include "segment/slot.h"

#include <tickstate/tickstate.h>

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES 256u

/* Shared with the children that die. */
struct heirs {
    struct tks_segment *segment;
    struct tks_member *one, *two;
    uint64_t granule; /* what the dead one left */
};

static struct {
    unsigned point, visit;
    void (*act)(struct heirs *);
    struct heirs *heirs;
} at;

void tks_point_reached(enum tks_point point)
{
    if (at.act && point == at.point && (!at.visit || !--at.visit))
        at.act(at.heirs);
}

/* @p visit 0: every time. */
static void act_at(struct heirs *heirs, unsigned point, unsigned visit, void (*act)(struct heirs *))
{
    at.point = point;
    at.visit = visit;
    at.heirs = heirs;
    at.act = act;
}

static int open_heirs(void **state)
{
    struct heirs *heirs =
        mmap(NULL, sizeof(*heirs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(heirs, MAP_FAILED);
    heirs->segment = unit_open(SEGMENT_BYTES_MIN, 8);
    assert_int_equal(tks_member_join(heirs->segment, SLOT_STATE, &heirs->one), TKS_OK);
    assert_int_equal(tks_member_join(heirs->segment, SLOT_STATE, &heirs->two), TKS_OK);
    *state = heirs;
    return 0;
}

static int close_heirs(void **state)
{
    struct heirs *heirs = *state;
    at.act = NULL;
    tks_member_leave(heirs->two);
    tks_member_leave(heirs->one);
    unit_release(heirs->segment);
    unit_remove();
    munmap(heirs, sizeof(*heirs));
    return 0;
}

static int try_take(struct tks_member *member, uint64_t *granule)
{
    int status;
    while ((status = tks_block_take(member, BLOCK_BYTES, 0, PIN_NEW_ENTRY, granule))) {
        status = tks_block_refill(member, BLOCK_BYTES, false);
        if (status)
            return status; /* ends when there is nothing left to commit */
    }
    return TKS_OK;
}

/* ---- The dead ------------------------------------------------------------------------------ */

static void take_and_end(struct heirs *heirs)
{
    struct tks_member *member;
    if (!tks_member_join(heirs->segment, SLOT_STATE, &member)) {
        if (try_take(member, &heirs->granule))
            heirs->granule = 0;
    }
}

/* Everything there is, retired: only its own list knows. */
static void retire_all_and_end(struct heirs *heirs)
{
    struct tks_member *member;
    uint64_t granule;
    if (!tks_member_join(heirs->segment, SLOT_STATE, &member)) {
        while (!try_take(member, &granule)) {
            pin_store(member, PIN_NEW_ENTRY, 0);
            tks_retire(member, granule);
        }
    }
}

/* A child, not a thread: ThreadSanitizer does not see a dead thread's mutex change hands in another
   process. */
static void die(struct heirs *heirs, void (*body)(struct heirs *heirs))
{
    pid_t child = fork();
    if (!child) {
        body(heirs);
        _exit(0);
    }
    unit_wait(child, 0);
}

static bool allocated(const struct heirs *heirs)
{
    struct tks_block_ref ref;
    return tks_block_find(heirs->segment, heirs->granule, &ref) &&
           block_kind(ref.state) == BLOCK_ALLOCATED;
}

/* ---- An heir that is expelled again and again ---------------------------------------------- */

static void expel_all(struct heirs *heirs)
{
    for (uint64_t i = 0; i < heirs->segment->slot_count; i++)
        tks_epoch_evict(heirs->two, (unsigned)i, heirs->segment->slots[i].section);
}

static void an_heir_that_gives_up_leaves_the_log_to_the_next(void **state)
{
    struct heirs *heirs = *state;
    die(heirs, take_and_end);
    assert_true(allocated(heirs));
    act_at(heirs, POINT_RECOVER_NAMED, 0, expel_all);
    assert_int_equal(tks_recover_dead(heirs->one), 0);
    assert_true(allocated(heirs));
    assert_true(tks_slot_dead(&heirs->segment->slots[2]));
    at.act = NULL;
    assert_int_equal(tks_recover_dead(heirs->one), 1);
    assert_false(allocated(heirs));
    assert_int_equal(tks_recover_dead(heirs->one), 0);
}

static void one_that_joins_and_gives_up_takes_another_slot(void **state)
{
    struct heirs *heirs = *state;
    struct tks_member *third;
    die(heirs, take_and_end);
    act_at(heirs, POINT_RECOVER_NAMED, 0, expel_all);
    assert_int_equal(tks_member_join(heirs->segment, SLOT_STATE, &third), TKS_OK);
    assert_int_not_equal(third->index, 2);
    assert_true(allocated(heirs));
    at.act = NULL;
    assert_int_equal(tks_recover_dead(third), 1);
    assert_false(allocated(heirs));
    tks_member_leave(third);
}

/* ---- What the dead one alone knew ---------------------------------------------------------- */

static void blocks_of_a_dead_ones_list_are_found_without_pressure(void **state)
{
    struct heirs *heirs = *state;
    uint64_t granule;
    die(heirs, retire_all_and_end);
    store_relaxed(&heirs->segment->header->stray_retired, 0);
    assert_int_equal(try_take(heirs->one, &granule), TKS_NO_SPACE);
    assert_int_equal(tks_recover_dead(heirs->one), 1);
    for (int i = 0; i < 3; i++)
        tks_epoch_advance(heirs->one);
    int status = TKS_NO_SPACE;
    for (int i = 0; status && i < 10; i++)
        status = try_take(heirs->one, &granule);
    assert_int_equal(status, TKS_OK);
    tks_block_discard(heirs->one, PIN_NEW_ENTRY);
}

/* ---- Counting ------------------------------------------------------------------------------ */

static void kill_me(struct heirs *heirs)
{
    (void)heirs;
    raise(SIGKILL);
}

/* Acts for the dead of slot @p dead, in a slot behind it, and dies at @p point. */
static void recover_and_die(struct heirs *heirs, unsigned dead, unsigned point)
{
    pid_t child = fork();
    if (!child) {
        struct tks_member *heir = calloc(1, sizeof(*heir));
        heir->segment = heirs->segment;
        heir->index = dead + 1;
        while (tks_slot_claim(heirs->segment, heir->index) != SLOT_CLEAN)
            heir->index++;
        heir->slot = &heirs->segment->slots[heir->index];
        act_at(heirs, point, 1, kill_me);
        tks_recover_dead(heir);
        _exit(1);
    }
    unit_wait(child, SIGKILL);
}

static uint64_t count_recovered(void)
{
    char uri[128];
    tks_store *store;
    struct tks_stats stats = {.size = sizeof(stats)};
    snprintf(uri, sizeof(uri), "shm://%s", unit_name());
    assert_int_equal(tks_store_open(uri, NULL, &store), TKS_OK);
    assert_int_equal(tks_store_stats(store, &stats), TKS_OK);
    tks_store_close(store);
    return stats.recovered;
}

static void a_death_is_counted_once_wherever_its_heir_dies(void **state)
{
    struct heirs *heirs = *state;
    const unsigned points[] = {POINT_RECOVER_BEGUN,        POINT_RECOVER_BLOCKS_DONE,
                               POINT_RECOVER_WORD_CLEARED, POINT_RECOVER_SECTION_CLEARED,
                               POINT_RECOVER_COUNTED,      POINT_SLOT_UNUSED,
                               POINT_SLOT_RELEASED,        POINT_RECOVER_RELEASED};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        uint64_t before = count_recovered();
        unsigned dead = 0;
        die(heirs, take_and_end);
        while (!tks_slot_dead(&heirs->segment->slots[dead]))
            dead++;
        recover_and_die(heirs, dead, points[i]);
        assert_int_equal(count_recovered(), before + 1);
        assert_false(allocated(heirs));
    }
}

/* ---- Forked children ----------------------------------------------------------------------- */

static void a_forked_child_has_a_thread_without_slots(void **unused)
{
    (void)unused;
    enum { MANY = 1024 };
    static struct tks_member *members[MANY];
    struct tks_member *more;
    struct tks_segment *segment = unit_open(2u << 20, MANY + 8);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(tks_member_join(segment, SLOT_STATE, &members[i]), TKS_OK);
    assert_int_equal(tks_member_join(segment, SLOT_STATE, &more), TKS_BUSY);
    const char *name = unit_name(); /* before the pid changes */
    assert_non_null(name);
    pid_t child = fork();
    if (!child) {
        struct tks_segment *own;
        if (unit_try(2u << 20, MANY + 8, true, &own))
            _exit(1);
        _exit(tks_member_join(own, SLOT_STATE, &more) ? 2 : 0);
    }
    unit_wait(child, 0);
    for (unsigned i = 0; i < MANY; i++)
        tks_member_leave(members[i]);
    unit_release(segment);
    unit_remove();
}

/* ---- Deaths during an audit ---------------------------------------------------------------- */

static void die_with_a_block(struct heirs *heirs)
{
    at.act = NULL;
    die(heirs, take_and_end);
}

static void who_dies_during_a_check_leaves_no_leak(void **state)
{
    struct heirs *heirs = *state;
    const unsigned points[] = {POINT_CHECK_TIDIED, POINT_CHECK_PASS, POINT_SECTION_ENTERED};
    char uri[128];
    tks_store *store;
    tks_state *own;
    snprintf(uri, sizeof(uri), "shm://%s", unit_name());
    assert_int_equal(tks_store_open(uri, NULL, &store), TKS_OK);
    assert_int_equal(tks_state_open(store, "plugin", &own), TKS_OK);
    assert_int_equal(tks_set(own, "key", "value", 5), TKS_OK);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct tks_check check = {.size = sizeof(check)};
        act_at(heirs, points[i], 1, die_with_a_block);
        assert_int_equal(tks_store_check(store, &check), TKS_OK);
        assert_null(at.act);
        assert_int_equal(check.leaked_blocks, 0);
        assert_false(allocated(heirs));
    }
    tks_state_close(own);
    tks_store_close(store);
}

/* ---- Pins ---------------------------------------------------------------------------------- */

static void reclaim_beside(struct heirs *heirs)
{
    at.act = NULL;
    tks_reclaim_slabs(heirs->two, 0, heirs->segment->slab_count);
}

/* A plain overwrite goes on with the block that its log names. */
static void a_ready_block_that_was_lost_is_not_logged(void **state)
{
    struct heirs *heirs = *state;
    uint64_t granule;
    assert_int_equal(try_take(heirs->one, &granule), TKS_OK);
    pin_store(heirs->one, PIN_NEW_ENTRY, 0);
    assert_true(tks_retire(heirs->one, granule));
    for (int i = 0; i < 3; i++)
        tks_epoch_advance(heirs->one);
    tks_collect(heirs->one);
    act_at(heirs, POINT_TAKE_FOUND, 1, reclaim_beside);
    assert_false(tks_block_take_ready(heirs->one, BLOCK_BYTES, PIN_NEW_ENTRY, &granule));
    assert_null(at.act);
    assert_int_equal(heirs->one->slot->words[PIN_NEW_ENTRY], 0);
}

static unsigned looked_at;

static void pins_count(struct heirs *heirs)
{
    for (uint64_t i = 0; i < heirs->segment->slot_count; i++) {
        const struct slot *slot = &heirs->segment->slots[i];
        looked_at += slot->words[PIN_MOVE_PIECE] != 0;
        assert_true(!slot->words[PIN_MOVE_PIECE] || slot->section != SECTION_IDLE);
    }
}

static void grow_and_die(struct heirs *heirs, const char *uri)
{
    tks_store *store;
    tks_state *own;
    char key[24];
    if (tks_store_open(uri, NULL, &store) || tks_state_open(store, "plugin", &own))
        _exit(1);
    act_at(heirs, POINT_PIECE_PINNED, 1, kill_me);
    for (unsigned i = 0; i < 400; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        tks_set(own, key, "x", 1);
    }
    _exit(2);
}

/* The pins of a slot in no section do not. */
static void what_a_check_pins_to_tidy_up_counts(void **state)
{
    struct heirs *heirs = *state;
    struct tks_check check = {.size = sizeof(check)};
    tks_store *store;
    char uri[128];
    snprintf(uri, sizeof(uri), "shm://%s", unit_name());
    pid_t child = fork();
    if (!child)
        grow_and_die(heirs, uri);
    unit_wait(child, SIGKILL);
    assert_int_equal(tks_store_open(uri, NULL, &store), TKS_OK);
    act_at(heirs, POINT_PIECE_PINNED, 0, pins_count);
    assert_int_equal(tks_store_check(store, &check), TKS_OK);
    assert_true(looked_at > 0);
    assert_int_equal(check.leaked_blocks, 0);
    tks_store_close(store);
}

#define HEIRS_TEST(name) cmocka_unit_test_setup_teardown(name, open_heirs, close_heirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEIRS_TEST(an_heir_that_gives_up_leaves_the_log_to_the_next),
        HEIRS_TEST(one_that_joins_and_gives_up_takes_another_slot),
        HEIRS_TEST(blocks_of_a_dead_ones_list_are_found_without_pressure),
        HEIRS_TEST(a_death_is_counted_once_wherever_its_heir_dies),
        HEIRS_TEST(who_dies_during_a_check_leaves_no_leak),
        HEIRS_TEST(a_ready_block_that_was_lost_is_not_logged),
        HEIRS_TEST(what_a_check_pins_to_tidy_up_counts),
        cmocka_unit_test(a_forked_child_has_a_thread_without_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

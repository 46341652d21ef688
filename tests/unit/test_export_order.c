/* SPDX-License-Identifier: MIT */
/*
 * An export is a state that existed. One process writes a numbered sequence (overwrites over many
 * keys, inserts that make the table grow, deletes); another copies what it reads of it to keys
 * of its own, a third copies the copy. Every export must hold exactly what the sequence had made
 * after some step, and no copy that is newer than what it was copied from.
 */
#include "unit.h"

#include <tickstate/tickstate.h>

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef UNIT_SANITIZED
#define ROUNDS 4
#else
#define ROUNDS 15
#endif
#define EXPORTS 20
#define SPREAD 97
/* Inserted keys that are there at a time, once the table has grown: the window of the deletions. */
#define WINDOW 8000

struct shared {
    uint64_t started, stop;
    uint64_t step; /* done by the writer */
};

static struct shared *shared;
static char uri[128];

static bool stopped(void)
{
    return load_acquire(&shared->stop);
}

static tks_state *open_state(const char *plugin)
{
    tks_store *store;
    tks_state *state;
    if (tks_store_open(uri, NULL, &store) || tks_state_open(store, plugin, &state))
        _exit(2);
    return state;
}

/* ---- The sequence -------------------------------------------------------------------------- */

/*
 * Step s, 1 and on:  s % 4 == 1  A = s
 *                    s % 4 == 2  B = s            a step after A: B < A + 2
 *                    s % 4 == 3  new key x-s
 *                    s % 4 == 0  delete of the x that is WINDOW inserts old, and k-(s / 4 % SPREAD)
 * = s
 */
static int take_step(tks_state *state, uint64_t s)
{
    char key[32];
    switch (s % 4) {
    case 1:
        return tks_set(state, "A", &s, sizeof(s));
    case 2:
        return tks_set(state, "B", &s, sizeof(s));
    case 3:
        snprintf(key, sizeof(key), "x-%llu", (unsigned long long)s);
        return tks_set(state, key, &s, sizeof(s));
    default:
        if (s > 4ull * WINDOW) {
            snprintf(key, sizeof(key), "x-%llu", (unsigned long long)(s - 1 - 4ull * WINDOW));
            int status = tks_delete(state, key);
            if (status)
                return status;
        }
        snprintf(key, sizeof(key), "k-%llu", (unsigned long long)(s / 4 % SPREAD));
        return tks_set(state, key, &s, sizeof(s));
    }
}

static void write_sequence(void)
{
    tks_state *state = open_state("sequence");
    fetch_add(&shared->started, 1);
    for (uint64_t s = 1; !stopped(); s++) {
        if (take_step(state, s))
            _exit(3);
        store_release(&shared->step, s);
    }
    tks_state_close(state);
    _exit(0);
}

/* Read @p from of one plugin, then write what was read as @p to of another. */
static void relay(const char *from_plugin, const char *from, const char *to_plugin, const char *to)
{
    tks_state *in = open_state(from_plugin), *out = open_state(to_plugin);
    fetch_add(&shared->started, 1);
    while (!stopped()) {
        uint64_t s = 0;
        size_t len;
        int status = tks_get(in, from, &s, sizeof(s), &len);
        if (status && status != TKS_NOT_FOUND)
            _exit(4);
        if (!status && tks_set(out, to, &s, sizeof(s)))
            _exit(5);
    }
    tks_state_close(in);
    tks_state_close(out);
    _exit(0);
}

/* ---- An export ----------------------------------------------------------------------------- */

struct seen {
    uint64_t a, b, copy, copy_of_copy;
    uint64_t k[SPREAD];
    uint64_t first_x, last_x, xs;
};

static int note(void *arg, const struct tks_record *record)
{
    struct seen *seen = arg;
    uint64_t s;
    assert_int_equal(record->value_len, sizeof(s));
    memcpy(&s, record->value, sizeof(s));
    switch (record->key[0]) {
    case 'A':
        seen->a = s;
        break;
    case 'B':
        seen->b = s;
        break;
    case 'c':
        seen->copy = s;
        break;
    case 'd':
        seen->copy_of_copy = s;
        break;
    case 'k':
        seen->k[atoi(record->key + 2)] = s;
        break;
    default:
        assert_int_equal(strtoull(record->key + 2, NULL, 10), s);
        seen->xs++;
        seen->last_x = s > seen->last_x ? s : seen->last_x;
        seen->first_x = !seen->first_x || s < seen->first_x ? s : seen->first_x;
    }
    return 0;
}

static uint64_t largest(const struct seen *seen)
{
    uint64_t step = seen->a > seen->b ? seen->a : seen->b;
    step = seen->last_x > step ? seen->last_x : step;
    for (int i = 0; i < SPREAD; i++)
        step = seen->k[i] > step ? seen->k[i] : step;
    return step;
}

/* The last step up to @p step with the remainder @p rest by 4, 0 when there was none. */
static uint64_t last_of(uint64_t step, uint64_t rest)
{
    uint64_t back = (step - rest) % 4;
    return step > back ? step - back : 0;
}

/* What steps 1 to M have made, M being the largest number seen. */
static void check_prefix(const struct seen *seen)
{
    uint64_t step = largest(seen);
    assert_int_equal(seen->a, last_of(step, 1));
    assert_int_equal(seen->b, last_of(step, 2));
    assert_true(seen->b < seen->a + 2);
    assert_int_equal(seen->last_x, last_of(step, 3));
    for (uint64_t i = 0; i < SPREAD; i++) {
        uint64_t turn = step / 4, back = (turn + SPREAD - i) % SPREAD;
        assert_int_equal(seen->k[i], turn > back ? 4 * (turn - back) : 0);
    }
    /* No gap between the first and the last inserted; of the deletes, only the one that belongs to
     * the step under way may show without it. */
    assert_int_equal(seen->xs, seen->xs ? (seen->last_x - seen->first_x) / 4 + 1 : 0);
    uint64_t deleted = step / 4 > WINDOW ? step / 4 - WINDOW : 0;
    if (seen->xs)
        assert_true(seen->first_x == 4 * deleted + 3 ||
                    (step % 4 == 3 && seen->first_x == 4 * deleted + 7));
}

static void check_causality(const struct seen *seen, const struct seen *before)
{
    assert_true(seen->copy <= seen->a);
    assert_true(seen->copy_of_copy <= seen->copy);
    /* Nor does time run backwards from one export to the next. */
    assert_true(seen->a >= before->a && seen->b >= before->b && seen->copy >= before->copy &&
                seen->copy_of_copy >= before->copy_of_copy);
}

/* ---- Rounds -------------------------------------------------------------------------------- */

static void export_once(tks_store *store, struct seen *before, unsigned *different)
{
    struct seen seen = {0};
    int status = TKS_BUSY;
    /* Writers that were off the processor for long may spoil a call; not each of a hundred. */
    for (int i = 0; i < 100 && status == TKS_BUSY; i++)
        status = tks_store_export(store, NULL, note, &seen);
    assert_int_equal(status, TKS_OK);
    check_prefix(&seen);
    check_causality(&seen, before);
    *different += largest(&seen) != largest(before);
    *before = seen;
}

/* Wait for @p word to pass @p value, while no child has ended. */
static void wait_past(const uint64_t *word, uint64_t value)
{
    while (load_acquire(word) <= value) {
        int status;
        assert_int_equal(waitpid(-1, &status, WNOHANG), 0);
        sched_yield();
    }
}

/* Children begin before the parent opens a store, so that nobody forks with a second thread. */
static void run_round(void)
{
    pid_t pids[3];
    memset(shared, 0, sizeof(*shared));
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (i == 0)
            write_sequence();
        else if (i == 1)
            relay("sequence", "A", "copies", "c");
        else
            relay("copies", "c", "other copies", "d");
    }
    tks_store *store;
    struct seen before = {0};
    struct tks_check check = {.size = sizeof(check)};
    unsigned different = 0;
    assert_int_equal(tks_store_open(uri, NULL, &store), TKS_OK);
    wait_past(&shared->started, 2);
    for (int i = 0; i < EXPORTS; i++) {
        wait_past(&shared->step, largest(&before));
        export_once(store, &before, &different);
    }
    store_release(&shared->stop, 1);
    for (int i = 0; i < 3; i++)
        unit_wait(pids[i], 0);
    export_once(store, &before, &different);
    assert_true(different >= EXPORTS);
    assert_int_equal(tks_store_check(store, &check), TKS_OK);
    assert_int_equal(check.leaked_blocks, 0);
    tks_store_close(store);
    unit_remove();
}

static void every_export_is_a_state_that_existed(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++)
        run_round();
}

int main(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    snprintf(uri, sizeof(uri), "shm://%s?size=64M", unit_name());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_export_is_a_state_that_existed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Threads: a state belongs to one, a store to all; threads end as they like. */
#include <pthread.h>

#include "api.h"

static pthread_t start(void *(*body)(void *), void *arg)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, body, arg) == 0);
    return thread;
}

static void run(void *(*body)(void *), void *arg)
{
    CHECK(pthread_join(start(body, arg), NULL) == 0);
}

struct visit {
    struct api *f;
    tks_key key;
};

static void *use_a_foreign_state(void *arg)
{
    struct visit *visit = arg;

    CHECK_EVERY_CALL(visit->f->state, &visit->key, TKS_INVALID);
    return NULL;
}

static void a_foreign_threads_call_is_invalid(void **fixture)
{
    struct visit visit = {.f = *fixture};

    CHECK_OK(tks_key_prepare(visit.f->state, "key", &visit.key));
    CHECK_OK(tks_set(visit.f->state, "key", "value", 5));
    run(use_a_foreign_state, &visit);
    CHECK_TEXT(visit.f->state, "key", "value");
    CHECK_STATUS(tks_tick_end(visit.f->state), TKS_INVALID); /* nor did it begin one */
}

static void *use_the_store(void *arg)
{
    struct api *f = arg;
    tks_state *state = api_state(f->store, "plugin");

    CHECK_TEXT(state, "key", "from main");
    CHECK_OK(tks_set(state, "key", "from thread", 11));
    CHECK(api_open_states(f->store) == 2);
    tks_state_close(state);
    return NULL;
}

static void a_store_serves_every_thread(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_set(f->state, "key", "from main", 9));
    run(use_the_store, f);
    CHECK_TEXT(f->state, "key", "from thread");
    CHECK_INT(api_open_states(f->store), 1);
}

static void *open_the_store(void *arg)
{
    struct api *f = arg;

    f->store = api_store(f->uri);
    return NULL;
}

static void a_store_outlives_the_thread_that_opened_it(void **fixture)
{
    struct api *f = *fixture;
    struct api second = *f;
    tks_state *state;

    run(open_the_store, &second);
    state = api_state(second.store, "plugin");
    CHECK_OK(tks_set(state, "key", "value", 5));
    CHECK_TEXT(state, "key", "value");
    if (api_is_shm()) {
        tks_state_close(f->state);
        tks_store_close(f->store);
        f->state = NULL;
        f->store = NULL;
        CHECK_STATUS(tks_store_destroy(f->uri), TKS_BUSY);
    }
    CHECK_TEXT(state, "key", "value");
    tks_state_close(state);
    tks_store_close(second.store);
}

enum { THREADS = 8, ADDS = 5000 };

static void *add_to_shared_counter(void *arg)
{
    struct api *f = arg;
    tks_state *state = api_state(f->store, "plugin");

    for (int i = 0; i < ADDS; i++)
        CHECK_OK(tks_add_i64(state, "counter", 1, NULL));
    tks_state_close(state);
    return NULL;
}

static void threads_count_exactly(void **fixture)
{
    struct api *f = *fixture;
    pthread_t threads[THREADS];
    int64_t count = 0;

    for (int i = 0; i < THREADS; i++)
        threads[i] = start(add_to_shared_counter, f);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_OK(tks_get_i64(f->state, "counter", &count));
    CHECK_INT(count, THREADS * ADDS);
}

struct own {
    struct api *f;
    int number;
};

static void *write_own_keys(void *arg)
{
    struct own *own = arg;
    tks_state *state = api_state(own->f->store, "plugin");
    char key[24];

    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "t%d-%d", own->number, i % 700);
        CHECK_OK(tks_set(state, key, &i, sizeof(i)));
        CHECK_BYTES(state, key, &i, sizeof(i));
        if (i % 3 == 0) {
            CHECK_OK(tks_delete(state, key));
            CHECK_INT(tks_has(state, key), 0);
        }
    }
    tks_state_close(state);
    return NULL;
}

static void threads_do_not_disturb_each_others_keys(void **fixture)
{
    struct api *f = *fixture;
    pthread_t threads[THREADS];
    struct own own[THREADS];

    for (int i = 0; i < THREADS; i++) {
        own[i] = (struct own){f, i};
        threads[i] = start(write_own_keys, &own[i]);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    /* The last write of each of the 700 keys decides. */
    for (int i = 2300; i < 3000; i++) {
        char key[24];

        snprintf(key, sizeof(key), "t%d-%d", i % THREADS, i % 700);
        CHECK_INT(tks_has(f->state, key), i % 3 != 0);
    }
}

/* ---- Ending without closing -------------------------------------------------------------- */

/* The states that a thread leaves open. */
struct leftovers {
    struct api *f;
    int count;
    tks_state *states[20];
};

static tks_state *leave_open(struct leftovers *left, const char *plugin)
{
    tks_state *state = api_state(left->f->store, plugin);

    CHECK_OK(tks_set(state, "key", "left behind", 11));
    left->states[left->count++] = state;
    return state;
}

static void *end_without_closing(void *arg)
{
    leave_open(arg, "plugin");
    return NULL;
}

static void *end_in_a_tick(void *arg)
{
    tks_state *state = leave_open(arg, "plugin");
    const void *value;
    int status;

    CHECK_OK(tks_tick_begin(state));
    status = tks_borrow(state, "key", &value, NULL);
    CHECK(status == TKS_OK || status == TKS_UNSUPPORTED);
    return NULL;
}

static void *end_with_many_states(void *arg)
{
    for (int i = 0; i < 20; i++) {
        tks_state *state = leave_open(arg, i % 2 == 0 ? "plugin" : "other");

        if (i % 3 == 0)
            CHECK_OK(tks_tick_begin(state));
    }
    return NULL;
}

/* What is left of the handles themselves. */
static void close_leftovers(struct leftovers *left)
{
    while (left->count > 0)
        tks_state_close(left->states[--left->count]);
}

static void a_thread_that_ends_without_closing_is_cleaned_up_after(void **fixture)
{
    static void *(*const bodies[])(void *) = {end_without_closing, end_in_a_tick,
                                              end_with_many_states};
    struct api *f = *fixture;

    for (int i = 0; i < 60; i++) {
        struct leftovers left = {.f = f};

        run(bodies[i % 3], &left);
        CHECK_INT(api_open_states(f->store), 1);
        CHECK_TEXT(f->state, "key", "left behind");
        CHECK_OK(tks_set(f->state, "key", "taken over", 10));
        CHECK_OK(tks_delete(f->state, "key"));
        close_leftovers(&left);
        CHECK_INT(api_open_states(f->store), 1);
    }
    CHECK(api_stored_entries(f->store) <= 1); /* an audit among other things */
}

static void *use_leftovers(void *arg)
{
    struct leftovers *left = arg;

    /* This thread may well have the number of the one that ended. */
    for (int i = 0; i < left->count; i++)
        CHECK_STATUS(tks_set(left->states[i], "key", "v", 1), TKS_INVALID);
    return NULL;
}

static void a_state_of_a_thread_that_has_ended_is_nobodys(void **fixture)
{
    struct api *f = *fixture;

    for (int i = 0; i < 20; i++) {
        struct leftovers left = {.f = f};

        run(end_without_closing, &left);
        run(use_leftovers, &left);
        use_leftovers(&left);
        CHECK_TEXT(f->state, "key", "left behind");
        close_leftovers(&left);
    }
}

static void slots_of_ended_threads_are_free_again(void **fixture)
{
    struct api *f = *fixture;

    if (!api_is_shm())
        skip();
    api_replace_store(f, "size=8M&slots=32");
    for (int i = 0; i < 50; i++) {
        struct leftovers left = {.f = f};

        run(end_with_many_states, &left);
        if (i % 2 == 0)
            CHECK_INT(api_open_states(f->store), 1);
        close_leftovers(&left);
    }
    CHECK_INT(api_open_states(f->store), 1);
}

/* ---- Closing from elsewhere -------------------------------------------------------------- */

struct handover {
    struct api *f;
    tks_state *state;
    bool call_after; /**< whether the owner calls once more */
    pthread_barrier_t barrier;
};

static void *own_a_state(void *arg)
{
    struct handover *handover = arg;

    handover->state = api_state(handover->f->store, "plugin");
    CHECK_OK(tks_set(handover->state, "key", "value", 5));
    pthread_barrier_wait(&handover->barrier); /* it is open */
    pthread_barrier_wait(&handover->barrier); /* it is closed */
    if (handover->call_after) {
        CHECK_STATUS(tks_set(handover->state, "key", "late", 4), TKS_INVALID);
        CHECK_INT(api_open_states(handover->f->store), 1);
    }
    return NULL;
}

static void close_from_elsewhere(struct api *f, bool call_after)
{
    struct handover handover = {.f = f, .call_after = call_after};
    pthread_t thread;

    CHECK(pthread_barrier_init(&handover.barrier, NULL, 2) == 0);
    thread = start(own_a_state, &handover);
    pthread_barrier_wait(&handover.barrier);
    tks_state_close(handover.state);
    pthread_barrier_wait(&handover.barrier);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_barrier_destroy(&handover.barrier);
    CHECK_INT(api_open_states(f->store), 1);
    CHECK_TEXT(f->state, "key", "value");
}

static void a_state_closed_elsewhere_is_finished_by_its_owners_next_call(void **fixture)
{
    for (int i = 0; i < 20; i++)
        close_from_elsewhere(*fixture, true);
}

static void a_state_closed_elsewhere_is_finished_by_its_owners_end(void **fixture)
{
    for (int i = 0; i < 20; i++)
        close_from_elsewhere(*fixture, false);
}

static void states_outlive_their_store(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    tks_store_close(f->store);
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_set(f->state, "key", "later", 5));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_TEXT(f->state, "key", "later");
    if (api_is_shm())
        CHECK_STATUS(tks_store_destroy(f->uri), TKS_BUSY);
    tks_state_close(f->state);
    f->state = NULL;
    f->store = NULL;
}

static void *leave_open_without_the_store(void *arg)
{
    struct leftovers *left = arg;
    tks_store *store = api_store(left->f->uri);
    tks_state *state = api_state(store, "plugin");

    tks_store_close(store);
    CHECK_OK(tks_set(state, "key", "value", 5));
    left->states[left->count++] = state;
    return NULL;
}

static void a_thread_may_end_after_closing_the_store_of_its_state(void **fixture)
{
    struct api *f = *fixture;

    for (int i = 0; i < 20; i++) {
        struct leftovers left = {.f = f};

        run(leave_open_without_the_store, &left);
        close_leftovers(&left);
    }
    CHECK_INT(api_open_states(f->store), 1);
}

static void *fail_once(void *arg)
{
    (void)arg;
    CHECK(strcmp(tks_last_error(), "") == 0); /* nothing failed in this thread yet */
    CHECK_STATUS(tks_tick_begin(NULL), TKS_INVALID);
    CHECK(strcmp(tks_last_error(), "") != 0);
    return NULL;
}

static void the_last_error_is_each_threads_own(void **fixture)
{
    struct api *f = *fixture;
    char before[512];

    CHECK_STATUS(tks_set(f->state, "\xff", "v", 1), TKS_INVALID);
    snprintf(before, sizeof(before), "%s", tks_last_error());
    run(fail_once, NULL);
    CHECK(strcmp(tks_last_error(), before) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_foreign_threads_call_is_invalid),
        API_TEST(a_store_serves_every_thread),
        API_TEST(a_store_outlives_the_thread_that_opened_it),
        API_TEST(threads_count_exactly),
        API_TEST(threads_do_not_disturb_each_others_keys),
        API_TEST(a_thread_that_ends_without_closing_is_cleaned_up_after),
        API_TEST(a_state_of_a_thread_that_has_ended_is_nobodys),
        API_TEST(slots_of_ended_threads_are_free_again),
        API_TEST(a_state_closed_elsewhere_is_finished_by_its_owners_next_call),
        API_TEST(a_state_closed_elsewhere_is_finished_by_its_owners_end),
        API_TEST(states_outlive_their_store),
        API_TEST(a_thread_may_end_after_closing_the_store_of_its_state),
        API_TEST(the_last_error_is_each_threads_own),
    };

    return api_run("threads", tests);
}

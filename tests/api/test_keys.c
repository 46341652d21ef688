/* SPDX-License-Identifier: MIT */
/* tks_keys(): each key once, whatever the visitor or another process does meanwhile. */
#include <stdlib.h>

#include "api.h"

enum { MANY = 10000 };

struct walk {
    struct api *f;
    int *seen; /* visits of "k0", "k1", … */
    int visits;
    int inserted;
};

/* The number in "k<number>", -1 for another key. */
static int number_of(const char *key, size_t key_len)
{
    CHECK_INT(strlen(key), key_len);
    return key[0] == 'k' ? atoi(key + 1) : -1;
}

static int note(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    int number = number_of(key, key_len);

    walk->visits++;
    if (number >= 0)
        walk->seen[number]++;
    return 0;
}

static void fill(tks_state *state, int count)
{
    char key[16];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set(state, key, &i, sizeof(i)));
    }
}

static struct walk start(struct api *f, int count)
{
    struct walk walk = {f, calloc(MANY, sizeof(int)), 0, 0};

    CHECK(walk.seen != NULL);
    fill(f->state, count);
    return walk;
}

static void check_each_once(struct walk *walk, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_INT(walk->seen[i], 1);
    free(walk->seen);
}

static void an_empty_plugin_has_no_keys(void **fixture)
{
    struct api *f = *fixture;
    tks_state *other = api_state(f->store, "other");

    CHECK_OK(tks_set(other, "key", "v", 1));
    CHECK_INT(api_count_keys(f->state), 0);
    tks_state_close(other);
}

static void ten_thousand_keys_are_each_visited_once(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, MANY);

    CHECK_OK(tks_keys(f->state, note, &walk));
    CHECK_INT(walk.visits, MANY);
    check_each_once(&walk, MANY);
}

static void keys_works_inside_a_tick(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 1000);

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_keys(f->state, note, &walk));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_INT(walk.visits, 1000);
    check_each_once(&walk, 1000);
}

static void every_length_of_key_is_visited_with_its_nul(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 0);
    char key[TKS_NAME_MAX + 1];

    for (size_t len = 1; len <= TKS_NAME_MAX; len++) {
        memset(key, 'x', len);
        key[len] = '\0';
        CHECK_OK(tks_set(f->state, key, NULL, 0));
    }
    CHECK_OK(tks_keys(f->state, note, &walk));
    CHECK_INT(walk.visits, TKS_NAME_MAX);
    free(walk.seen);
}

static int stop_value;

static int stop_at_third(void *arg, const char *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    return ++*(int *)arg == 3 ? stop_value : 0;
}

static void another_value_than_0_stops_the_walk_and_is_returned(void **fixture)
{
    static const int values[] = {1, 7, -1, -5, INT32_MAX, INT32_MIN};
    struct api *f = *fixture;

    fill(f->state, 20);
    for (size_t i = 0; i < API_ARRAY(values); i++) {
        int visits = 0;

        stop_value = values[i];
        CHECK_INT(tks_keys(f->state, stop_at_third, &visits), values[i]);
        CHECK_INT(visits, 3);
    }
}

static int read_and_overwrite(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    int number = number_of(key, key_len);

    note(walk, key, key_len);
    CHECK_BYTES(walk->f->state, key, &number, sizeof(number));
    CHECK_OK(tks_set(walk->f->state, key, "a longer value than before", 26));
    CHECK_TEXT(walk->f->state, key, "a longer value than before");
    CHECK_INT(number_of(key, key_len), number); /* the pointer still lives */
    return 0;
}

static void the_visitor_may_read_and_overwrite(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 2000);

    CHECK_OK(tks_keys(f->state, read_and_overwrite, &walk));
    CHECK_INT(walk.visits, 2000);
    check_each_once(&walk, 2000);
}

static int delete_it(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;

    note(walk, key, key_len);
    CHECK_OK(tks_delete(walk->f->state, key));
    return 0;
}

static void the_visitor_may_delete_what_it_visits(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 2000);

    CHECK_OK(tks_keys(f->state, delete_it, &walk));
    CHECK_INT(api_count_keys(f->state), 0);
    check_each_once(&walk, 2000);
}

static int insert_50(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    char fresh[24];

    note(walk, key, key_len);
    for (int i = 0; i < 50 && walk->inserted < MANY; i++) {
        snprintf(fresh, sizeof(fresh), "fresh%d", walk->inserted++);
        CHECK_OK(tks_set(walk->f->state, fresh, fresh, strlen(fresh)));
    }
    return 0;
}

static void the_visitor_may_grow_the_table(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 100);

    CHECK_OK(tks_keys(f->state, insert_50, &walk));
    CHECK(walk.visits <= 100 + walk.inserted);
    CHECK_INT(api_count_keys(f->state), 100 + walk.inserted);
    check_each_once(&walk, 100);
}

static int replace_fresh_ones(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    char fresh[24];

    note(walk, key, key_len);
    if (key[0] != 'k')
        return tks_delete(walk->f->state, key);
    for (int i = 0; i < 3; i++) {
        snprintf(fresh, sizeof(fresh), "fresh%d", walk->inserted++ % 400);
        CHECK_OK(tks_set(walk->f->state, fresh, fresh, strlen(fresh)));
        snprintf(fresh, sizeof(fresh), "fresh%d", (walk->inserted + 200) % 400);
        CHECK_OK(tks_delete(walk->f->state, fresh));
    }
    return 0;
}

static void neighbours_coming_and_going_hide_no_key(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 1500);

    CHECK_OK(tks_keys(f->state, replace_fresh_ones, &walk));
    check_each_once(&walk, 1500);
}

static int walk_again(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    struct walk inner = {walk->f, calloc(MANY, sizeof(int)), 0, 0};

    note(walk, key, key_len);
    CHECK(inner.seen != NULL);
    CHECK_OK(tks_keys(walk->f->state, note, &inner));
    check_each_once(&inner, 40);
    return 0;
}

static void a_walk_may_be_nested_in_a_walk(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 40);

    CHECK_OK(tks_keys(f->state, walk_again, &walk));
    check_each_once(&walk, 40);
}

static int write_through_another_state(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    tks_state *other = api_state(walk->f->store, "other");
    tks_state *twin = api_state(walk->f->store, "plugin");

    note(walk, key, key_len);
    CHECK_OK(tks_set(other, key, "copy", 4));
    CHECK_OK(tks_set(twin, key, "twin", 4));
    tks_state_close(other);
    tks_state_close(twin);
    return 0;
}

static void the_visitor_may_open_states_and_write_through_them(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk = start(f, 300);
    tks_state *other;

    CHECK_OK(tks_keys(f->state, write_through_another_state, &walk));
    check_each_once(&walk, 300);
    other = api_state(f->store, "other");
    CHECK_INT(api_count_keys(other), 300);
    tks_state_close(other);
}

static int borrow_it(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    const void *value;
    size_t len;
    int number = number_of(key, key_len);

    note(walk, key, key_len);
    CHECK_OK(tks_borrow(walk->f->state, key, &value, &len));
    CHECK(len == sizeof(number) && memcmp(value, &number, len) == 0);
    return 0;
}

static void the_visitor_may_borrow_in_a_tick(void **fixture)
{
    struct api *f = *fixture;
    struct walk walk;

    api_need_borrow(f);
    walk = start(f, TKS_BORROW_MAX);
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_keys(f->state, borrow_it, &walk));
    CHECK_OK(tks_tick_end(f->state));
    check_each_once(&walk, TKS_BORROW_MAX);
}

/* ---- While another process writes -------------------------------------------------------- */

static int churn(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    char key[24];

    api_tell(fd);
    for (unsigned i = 0;; i++) {
        snprintf(key, sizeof(key), "fresh%u", i % 20000);
        CHECK_OK(tks_set(state, key, key, strlen(key)));
        if (i % 3 == 0) {
            snprintf(key, sizeof(key), "fresh%u", i / 3 % 20000);
            CHECK_OK(tks_delete(state, key));
        }
        snprintf(key, sizeof(key), "k%u", i % 500);
        CHECK_OK(tks_set(state, key, key, i % 40 < strlen(key) ? i % 40 : strlen(key)));
    }
    return 0;
}

static void a_growing_table_shows_each_lasting_key_once(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer;

    api_need_sharing(f);
    fill(f->state, 500);
    peer = api_spawn(churn, f->uri);
    api_hear(peer.fd);
    for (int round = 0; round < 100; round++) {
        struct walk walk = {f, calloc(MANY, sizeof(int)), 0, 0};

        CHECK(walk.seen != NULL);
        CHECK_OK(tks_keys(f->state, note, &walk));
        check_each_once(&walk, 500);
    }
    api_kill(&peer);
    api_reap(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(an_empty_plugin_has_no_keys),
        API_TEST(ten_thousand_keys_are_each_visited_once),
        API_TEST(keys_works_inside_a_tick),
        API_TEST(every_length_of_key_is_visited_with_its_nul),
        API_TEST(another_value_than_0_stops_the_walk_and_is_returned),
        API_TEST(the_visitor_may_read_and_overwrite),
        API_TEST(the_visitor_may_delete_what_it_visits),
        API_TEST(the_visitor_may_grow_the_table),
        API_TEST(neighbours_coming_and_going_hide_no_key),
        API_TEST(a_walk_may_be_nested_in_a_walk),
        API_TEST(the_visitor_may_open_states_and_write_through_them),
        API_TEST(the_visitor_may_borrow_in_a_tick),
        API_TEST(a_growing_table_shows_each_lasting_key_once),
    };

    return api_run("keys", tests);
}

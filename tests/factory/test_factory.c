/* SPDX-License-Identifier: MIT */
/* Factories: which rule wins, when stores are opened, and what a configuration file may say. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "api.h"

/* libconfig 1.5 does not free the string that a file ends in the middle of. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

static tks_factory *new_factory(void)
{
    tks_factory *factory = NULL;

    CHECK_OK(tks_factory_new(&factory));
    CHECK(factory != NULL);
    return factory;
}

static tks_state *state_of(tks_factory *factory, const char *plugin)
{
    tks_state *state = NULL;

    CHECK_OK(tks_factory_state(factory, plugin, &state));
    CHECK(state != NULL);
    return state;
}

static void check_no_state(tks_factory *factory, const char *plugin, int status)
{
    tks_state *state = (tks_state *)(void *)&status;

    CHECK_STATUS(tks_factory_state(factory, plugin, &state), status);
    CHECK(state == NULL);
}

static void check_says(const char *part)
{
    if (strstr(tks_last_error(), part) == NULL)
        api_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", tks_last_error(), part);
}

static uint64_t open_states(const char *uri)
{
    struct tks_options existing = {.size = sizeof(existing), .flags = TKS_OPEN_EXISTING};
    tks_store *store;
    uint64_t states = 0;
    int status = tks_store_open(uri, &existing, &store);

    if (status == TKS_OK) {
        states = api_open_states(store);
        tks_store_close(store);
    } else {
        CHECK_INT(status, TKS_NOT_FOUND);
    }
    return states;
}

/* ---- Rules ------------------------------------------------------------------------------- */

static void the_first_match_wins(void **fixture)
{
    tks_factory *factory = new_factory();
    char hot[API_URI_MAX], rest[API_URI_MAX];
    tks_state *state;

    (void)fixture;
    api_shm_uri(hot, "size=1M");
    api_shm_uri(rest, "size=1M");
    CHECK_OK(tks_factory_add(factory, "scalper-*", hot));
    CHECK_OK(tks_factory_add(factory, "*", rest));
    CHECK_OK(tks_factory_add(factory, "late", hot)); /* never reached */
    state = state_of(factory, "scalper-btc");
    CHECK_INT(open_states(hot), 1);
    CHECK_INT(open_states(rest), 0);
    tks_state_close(state);
    state = state_of(factory, "late");
    CHECK_INT(open_states(hot), 0);
    CHECK_INT(open_states(rest), 1);
    tks_state_close(state);
    tks_factory_close(factory);
    CHECK_OK(tks_store_destroy(hot));
    CHECK_OK(tks_store_destroy(rest));
}

static void no_match_is_not_found(void **fixture)
{
    tks_factory *factory = new_factory();

    (void)fixture;
    check_no_state(factory, "anybody", TKS_NOT_FOUND);
    check_says("anybody");
    CHECK_OK(tks_factory_add(factory, "scalper-[a-m]*", "memory://"));
    check_no_state(factory, "scalper-xrp", TKS_NOT_FOUND);
    check_says("scalper-xrp");
    check_no_state(factory, "my-scalper-btc", TKS_NOT_FOUND); /* the whole name */
    tks_state_close(state_of(factory, "scalper-btc"));
    tks_factory_close(factory);
}

static void globs_match_as_a_shells_do(void **fixture)
{
    static const struct {
        const char *glob, *matches, *does_not;
    } rows[] = {
        {"*", "any/thing.at all", NULL},
        {"a?c", "abc", "ac"},
        {"[!a]*", "btc", "abc"},
        {"[]x]", "]", "y"},
        {"\\*", "*", "a"},
        {"plugin", "plugin", "plugin2"},
        {"[\\]]", "]", "\\"},
        {"*.usd", ".usd", "usd"},
    };

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        tks_factory *factory = new_factory();

        CHECK_OK(tks_factory_add(factory, rows[i].glob, "memory://"));
        tks_state_close(state_of(factory, rows[i].matches));
        if (rows[i].does_not != NULL)
            check_no_state(factory, rows[i].does_not, TKS_NOT_FOUND);
        tks_factory_close(factory);
    }
}

static void a_bad_rule_is_refused_and_changes_nothing(void **fixture)
{
    static const struct {
        const char *glob, *uri;
        int status;
        const char *says;
    } rows[] = {
        {NULL, "memory://", TKS_INVALID, "NULL"},
        {"", "memory://", TKS_INVALID, "empty"},
        {"scalper-[ab", "memory://", TKS_INVALID, "scalper-[ab"},
        {"[]", "memory://", TKS_INVALID, "']'"},
        {"[a\\", "memory://", TKS_INVALID, "']'"},
        {"scalper\\", "memory://", TKS_INVALID, "backslash"},
        {"*", NULL, TKS_INVALID, "NULL"},
        {"*", "memory", TKS_INVALID, "memory"},
        {"*", "memory://name", TKS_INVALID, "name"},
        {"*", "memory://?size=1M", TKS_INVALID, "size"},
        {"*", "shm://a/b", TKS_INVALID, "a/b"},
        {"*", "shm://desk?size=many", TKS_INVALID, "size=many"},
        {"*", "nosuch://x", TKS_UNSUPPORTED, "nosuch"},
    };
    tks_factory *factory = new_factory();

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        CHECK_STATUS(tks_factory_add(factory, rows[i].glob, rows[i].uri), rows[i].status);
        check_says(rows[i].says);
    }
    check_no_state(factory, "plugin", TKS_NOT_FOUND);
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    tks_state_close(state_of(factory, "plugin"));
    tks_factory_close(factory);
}

static void a_password_is_in_no_message(void **fixture)
{
    tks_factory *factory = new_factory();

    (void)fixture;
    CHECK_STATUS(tks_factory_add(factory, "*", "postgres:/user:secret@host/db"), TKS_INVALID);
    CHECK(strstr(tks_last_error(), "secret") == NULL);
    CHECK_STATUS(tks_factory_add(factory, "*", "user:secret@host"), TKS_INVALID);
    CHECK(strstr(tks_last_error(), "secret") == NULL);
    CHECK_STATUS(tks_factory_add(factory, "*", "nosuch://user:secret@host/db"), TKS_UNSUPPORTED);
    CHECK(strstr(tks_last_error(), "secret") == NULL);
    tks_factory_close(factory);
}

static void bad_arguments_are_invalid(void **fixture)
{
    tks_factory *factory = new_factory();
    tks_state *state;

    (void)fixture;
    CHECK_STATUS(tks_factory_new(NULL), TKS_INVALID);
    CHECK_STATUS(tks_factory_open("/nonexistent", NULL), TKS_INVALID);
    CHECK_STATUS(tks_factory_add(NULL, "*", "memory://"), TKS_INVALID);
    CHECK_STATUS(tks_factory_state(NULL, "plugin", &state), TKS_INVALID);
    CHECK(state == NULL);
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    CHECK_STATUS(tks_factory_state(factory, "plugin", NULL), TKS_INVALID);
    check_no_state(factory, NULL, TKS_INVALID);
    check_no_state(factory, "", TKS_INVALID);
    check_no_state(factory, "\xff", TKS_INVALID);
    tks_factory_close(factory);
    tks_factory_close(NULL);
}

/* ---- Stores ------------------------------------------------------------------------------ */

static void one_uri_is_one_store(void **fixture)
{
    tks_factory *factory = new_factory();
    struct tks_stats stats = {.size = sizeof(stats)};
    char uri[API_URI_MAX];
    tks_store *store;

    (void)fixture;
    api_shm_uri(uri, "size=1M");
    CHECK_OK(tks_factory_add(factory, "a*", uri));
    CHECK_OK(tks_factory_add(factory, "b*", "memory://"));
    CHECK_OK(tks_factory_add(factory, "c*", uri));
    tks_state_close(state_of(factory, "a1"));
    tks_state_close(state_of(factory, "a2"));
    tks_state_close(state_of(factory, "b"));
    tks_state_close(state_of(factory, "c"));
    store = api_store(uri);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.stores, 2); /* the factory's and this one */
    tks_store_close(store);
    tks_factory_close(factory);
    CHECK_OK(tks_store_destroy(uri));
}

static void a_rule_touches_nothing_until_it_is_needed(void **fixture)
{
    struct tks_options existing = {.size = sizeof(existing), .flags = TKS_OPEN_EXISTING};
    tks_factory *factory = new_factory();
    char uri[API_URI_MAX];
    tks_store *store;

    (void)fixture;
    api_shm_uri(uri, "size=1M");
    CHECK_OK(tks_factory_add(factory, "*", uri));
    CHECK_STATUS(tks_store_open(uri, &existing, &store), TKS_NOT_FOUND);
    tks_state_close(state_of(factory, "plugin"));
    CHECK_OK(tks_store_open(uri, &existing, &store));
    tks_store_close(store);
    CHECK_STATUS(tks_store_destroy(uri), TKS_BUSY); /* the factory has it open */
    tks_factory_close(factory);
    CHECK_OK(tks_store_destroy(uri));
}

/* A store that cannot be opened: a segment's name that is a folder. */
static void a_store_that_fails_fails_only_its_own_plugins(void **fixture)
{
    tks_factory *factory = new_factory();
    char name[64], uri[128], path[128];
    tks_state *state;

    (void)fixture;
    snprintf(name, sizeof(name), "tickstate-test-folder-%d", (int)getpid());
    snprintf(uri, sizeof(uri), "shm://%s", name);
    snprintf(path, sizeof(path), "/dev/shm/%s/", name);
    path[strlen(path) - 1] = '\0';
    CHECK(symlink("/nonexistent", path) == 0);
    CHECK_OK(tks_factory_add(factory, "away", uri));
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    CHECK(tks_factory_state(factory, "away", &state) < 0);
    CHECK(state == NULL);
    tks_state_close(state_of(factory, "scalper"));
    CHECK(unlink(path) == 0);
    tks_state_close(state_of(factory, "away")); /* tried again */
    tks_factory_close(factory);
    CHECK_OK(tks_store_destroy(uri));
}

static void states_outlive_their_factory(void **fixture)
{
    tks_factory *factory = new_factory();
    tks_state *state;

    (void)fixture;
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    state = state_of(factory, "plugin");
    CHECK_OK(tks_set(state, "key", "value", 5));
    tks_factory_close(factory);
    CHECK_TEXT(state, "key", "value");
    CHECK_OK(tks_set(state, "key", "later", 5));
    tks_state_close(state);
}

enum { THREADS = 8 };

struct racers {
    tks_factory *factory;
    pthread_barrier_t start;
    atomic_int next;
};

static void *race(void *arg)
{
    struct racers *racers = arg;
    int index = atomic_fetch_add(&racers->next, 1);
    char glob[32];
    tks_state *state;

    snprintf(glob, sizeof(glob), "own%d", index);
    pthread_barrier_wait(&racers->start);
    CHECK_OK(tks_factory_add(racers->factory, glob, "memory://"));
    tks_state_close(state_of(racers->factory, glob));
    state = state_of(racers->factory, "shared");
    for (int i = 0; i < 1000; i++)
        CHECK_OK(tks_add_i64(state, "count", 1, NULL));
    tks_state_close(state);
    return NULL;
}

static void threads_share_a_factory(void **fixture)
{
    struct racers racers = {.factory = new_factory()};
    pthread_t threads[THREADS];
    tks_state *state;
    int64_t count;

    (void)fixture;
    CHECK_OK(tks_factory_add(racers.factory, "shared", "memory://"));
    CHECK(pthread_barrier_init(&racers.start, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, race, &racers) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&racers.start);
    state = state_of(racers.factory, "shared");
    CHECK_OK(tks_get_i64(state, "count", &count));
    CHECK_INT(count, THREADS * 1000); /* the store was opened once */
    tks_state_close(state);
    tks_factory_close(racers.factory);
}

static int use_inherited(int fd, void *factory)
{
    tks_state *state;

    (void)fd;
    CHECK_STATUS(tks_factory_add(factory, "*", "memory://"), TKS_INVALID);
    CHECK_STATUS(tks_factory_state(factory, "plugin", &state), TKS_INVALID);
    check_says("fork");
    tks_factory_close(factory);
    factory = new_factory();
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    tks_state_close(state_of(factory, "plugin"));
    tks_factory_close(factory);
    return 0;
}

static void a_child_makes_its_own(void **fixture)
{
    tks_factory *factory = new_factory();
    struct api_peer peer;

    (void)fixture;
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    tks_state_close(state_of(factory, "plugin"));
    peer = api_spawn(use_inherited, factory);
    api_join(&peer);
    tks_state_close(state_of(factory, "plugin"));
    tks_factory_close(factory);
}

/* ---- Configuration files ----------------------------------------------------------------- */

struct config {
    char path[64];
};

static void write_config(struct config *config, const char *text, size_t len)
{
    int fd;

    strcpy(config->path, "/tmp/tickstate-test-factory-XXXXXX");
    fd = mkstemp(config->path);
    CHECK(fd >= 0);
    CHECK(write(fd, text, len) == (ssize_t)len);
    close(fd);
}

static tks_factory *factory_of(const char *text)
{
    struct config config;
    tks_factory *factory = NULL;

    write_config(&config, text, strlen(text));
    CHECK_OK(tks_factory_open(config.path, &factory));
    CHECK(factory != NULL);
    unlink(config.path);
    return factory;
}

static void a_file_makes_the_same_rules(void **fixture)
{
    tks_factory *factory = factory_of("# comments, and // these, and /* these */\n"
                                      "plugins = (\n"
                                      "  { match = \"scalper-*\"; store = \"memory://\"; },\n"
                                      "  { store = \"memory://?sweep_ms=1000\", match = \"s*\" }\n"
                                      ");\n");

    (void)fixture;
    tks_state_close(state_of(factory, "scalper-btc"));
    tks_state_close(state_of(factory, "slow"));
    check_no_state(factory, "other", TKS_NOT_FOUND);
    check_says("tickstate-test-factory-");
    check_says("other");
    CHECK_OK(tks_factory_add(factory, "*", "memory://"));
    tks_state_close(state_of(factory, "other"));
    tks_factory_close(factory);
}

static void check_refused(const char *text, size_t len, int status, const char *line,
                          const char *says)
{
    tks_factory *factory = (tks_factory *)(void *)&status;
    struct config config;
    char where[128];

    write_config(&config, text, len);
    CHECK_STATUS(tks_factory_open(config.path, &factory), status);
    CHECK(factory == NULL);
    unlink(config.path);
    snprintf(where, sizeof(where), "%s:%s", config.path, line);
    check_says(where);
    check_says(says);
    CHECK(strchr(tks_last_error(), '\n') == NULL);
}

#define RULE(members)                                                                              \
    "plugins = (\n  { match = \"a\"; store = \"memory://\"; },\n  {\n" members "\n  }\n);"

static void a_bad_file_is_refused_with_its_line(void **fixture)
{
    static const struct {
        const char *text;
        int status;
        const char *line, *says;
    } rows[] = {
        {"", TKS_INVALID, "1: ", "plugins"},
        {"# nothing\n\n", TKS_INVALID, "", "plugins"},
        {"plugins = ();", TKS_INVALID, "1: ", "no rule"},
        {"\n\nplugins = \"memory://\";", TKS_INVALID, "3: ", "list"},
        {"\nplugins = { match = \"*\"; };", TKS_INVALID, "2: ", "list"},
        {"plugins = (\n (1, 2) );", TKS_INVALID, "2: ", "match"},
        {"plugins = (\n\n 5 );", TKS_INVALID, "3: ", "match"},
        {"speed = 3;", TKS_INVALID, "1: ", "speed"},
        {"plugins = ({ match = \"*\"; store = \"memory://\"; });\n\nextra : {};", TKS_INVALID,
         "3: ", "extra"},
        {RULE("match = \"*\";"), TKS_INVALID, "", "\"store\""},
        {RULE("store = \"memory://\";"), TKS_INVALID, "", "\"match\""},
        {RULE("match = \"*\";\n store = 5;"), TKS_INVALID, "5: ", "string"},
        {RULE("match = [\"*\"];\n store = \"memory://\";"), TKS_INVALID, "4: ", "string"},
        {RULE("match = \"*\";\n store = \"memory://\";\n sotre = \"\";"), TKS_INVALID,
         "6: ", "sotre"},
        {RULE("match = \"*\";\n match = \"*\";"), TKS_INVALID, "5: ", "duplicate"},
        {RULE("match = \"[a\";\n store = \"memory://\";"), TKS_INVALID, "3: ", "[a"},
        {RULE("match = \"*\";\n store = \"memory://desk\";"), TKS_INVALID, "3: ", "desk"},
        {RULE("match = \"*\";\n store = \"desk\";"), TKS_INVALID, "3: ", "desk"},
        {RULE("match = \"*\";\n store = \"nosuch://desk\";"), TKS_UNSUPPORTED, "3: ", "nosuch"},
        {"plugins = (\n{ match = \"*\" store = \"memory://\"; }", TKS_INVALID, "", "syntax"},
        {"plugins = (\n\n}", TKS_INVALID, "3: ", "syntax"},
        {"plugins = (\n{ match = \"*\n", TKS_INVALID, "", ""},
        {"\n@include \"other.conf\"\n", TKS_INVALID, "2: ", "@include"},
        {"\n\n  @include \"/etc/passwd\"\n", TKS_INVALID, "3: ", "@include"},
    };

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++)
        check_refused(rows[i].text, strlen(rows[i].text), rows[i].status, rows[i].line,
                      rows[i].says);
}

static void check_unreadable(const char *path, int status, const char *says)
{
    tks_factory *factory;

    CHECK_STATUS(tks_factory_open(path, &factory), status);
    CHECK(factory == NULL);
    check_says(says);
}

static void a_file_that_cannot_be_read_is_named(void **fixture)
{
    static const char nul[] = "plugins = \0 ();";
    struct config config;
    char *large = malloc((1 << 20) + 1);

    (void)fixture;
    check_unreadable("/nonexistent/factory.conf", TKS_NOT_FOUND, "/nonexistent/factory.conf");
    check_unreadable("/tmp", TKS_INVALID, "/tmp");
    check_unreadable("/dev/null", TKS_INVALID, "/dev/null");
    check_unreadable(NULL, TKS_INVALID, "NULL");
    write_config(&config, nul, sizeof(nul) - 1);
    check_unreadable(config.path, TKS_INVALID, config.path);
    unlink(config.path);
    CHECK(large != NULL);
    memset(large, '\n', (1 << 20) + 1);
    write_config(&config, large, (1 << 20) + 1);
    check_unreadable(config.path, TKS_INVALID, "1 MiB");
    unlink(config.path);
    free(large);
}

/* A parser that is fed anything either makes a factory or says in one line why not. */
static void any_bytes_are_a_factory_or_a_reason(void **fixture)
{
    static const char text[] = "plugins = ( { match = \"a*\"; store = \"memory://\"; },\n"
                               "{ match = \"b\"; store = \"shm://x?size=2M\"; } ); # end\n";
    uint64_t seed = 1;

    (void)fixture;
    for (int round = 0; round < 2000; round++) {
        char mutated[sizeof(text)];
        struct config config;
        tks_factory *factory;
        int status;

        memcpy(mutated, text, sizeof(text));
        for (int i = 0; i < 3; i++)
            mutated[api_random(&seed) % (sizeof(text) - 1)] = (char)(api_random(&seed) % 128);
        write_config(&config, mutated, api_random(&seed) % sizeof(text));
        status = tks_factory_open(config.path, &factory);
        unlink(config.path);
        CHECK((status == TKS_OK) == (factory != NULL));
        if (status != TKS_OK)
            check_says(config.path);
        CHECK(strchr(tks_last_error(), '\n') == NULL);
        tks_factory_close(factory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_match_wins),
        cmocka_unit_test(no_match_is_not_found),
        cmocka_unit_test(globs_match_as_a_shells_do),
        cmocka_unit_test(a_bad_rule_is_refused_and_changes_nothing),
        cmocka_unit_test(a_password_is_in_no_message),
        cmocka_unit_test(bad_arguments_are_invalid),
        cmocka_unit_test(one_uri_is_one_store),
        cmocka_unit_test(a_rule_touches_nothing_until_it_is_needed),
        cmocka_unit_test(a_store_that_fails_fails_only_its_own_plugins),
        cmocka_unit_test(states_outlive_their_factory),
        cmocka_unit_test(threads_share_a_factory),
        cmocka_unit_test(a_child_makes_its_own),
        cmocka_unit_test(a_file_makes_the_same_rules),
        cmocka_unit_test(a_bad_file_is_refused_with_its_line),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(any_bytes_are_a_factory_or_a_reason),
    };

    return api_run("factory", tests);
}

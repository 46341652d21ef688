/* SPDX-License-Identifier: MIT */
#include "factory/factory.h"

#include "base/error.h"
#include "base/key.h"
#include "base/process.h"

#include <fnmatch.h>
#include <stdlib.h>

/* A store, opened when it is first asked for. */
struct source {
    pthread_mutex_t lock; /* of `store`; held while it is opened, which may take long */
    tks_store *store;     /* NULL: not open */
    struct source *next;
    char uri[];
};

struct rule {
    struct source *source;
    struct rule *next;
    char glob[];
};

/* Rules and sources are only added, and go with the factory. */
struct tks_factory {
    uint64_t process_token;
    pthread_mutex_t lock; /* of the lists */
    struct rule *rules;   /* in the order in which they were added */
    struct rule **last;
    struct source *sources;
    char *config_path; /* NULL: made by code */
};

static int no_memory(void)
{
    return tks_fail(TKS_NO_SPACE, "no memory for a factory");
}

static int check_factory(const tks_factory *factory)
{
    if (!factory)
        return tks_fail(TKS_INVALID, "factory is NULL");
    if (!process_is(factory->process_token))
        return tks_fail(TKS_INVALID, "the factory was made by another process (fork)");
    return TKS_OK;
}

int tks_factory_new(tks_factory **factory)
{
    if (!factory)
        return tks_fail(TKS_INVALID, "factory is NULL");
    *factory = NULL;
    int status = tks_process_enter();
    if (status)
        return status;
    tks_factory *made = calloc(1, sizeof(*made));
    if (!made)
        return no_memory();
    made->process_token = load_relaxed(&tks_process->token);
    pthread_mutex_init(&made->lock, NULL);
    made->last = &made->rules;
    *factory = made;
    return TKS_OK;
}

int tks_factory_origin(tks_factory *factory, const char *config_path)
{
    factory->config_path = strdup(config_path);
    return factory->config_path ? TKS_OK : no_memory();
}

/* ---- Rules --------------------------------------------------------------------------------- */

/* The character after a bracket expression that begins at `at`; NULL: it does not end. */
static const char *after_bracket(const char *at)
{
    at++;
    if (*at == '!' || *at == '^')
        at++;
    /* A ']' that comes first is meant as such. */
    if (*at == ']')
        at++;
    for (; *at && *at != ']'; at++)
        if (*at == '\\' && !*++at)
            return NULL;
    return *at ? at + 1 : NULL;
}

/* fnmatch() takes what is unfinished literally, which nobody means. */
static int check_glob(const char *glob)
{
    if (!glob)
        return tks_fail(TKS_INVALID, "the plugin glob is NULL");
    if (!*glob)
        return tks_fail(TKS_INVALID, "the plugin glob is empty: it matches no plugin");
    for (const char *at = glob; *at;) {
        if (*at == '\\' && !at[1])
            return tks_fail(TKS_INVALID, "the plugin glob \"%.100s\" ends in a backslash", glob);
        if (*at == '\\') {
            at += 2;
        } else if (*at == '[') {
            at = after_bracket(at);
            if (!at)
                return tks_fail(TKS_INVALID, "the plugin glob \"%.100s\" has a '[' without a ']'",
                                glob);
        } else {
            at++;
        }
    }
    return TKS_OK;
}

/* Under the lock. The one of this URI, made if need be; NULL without memory. */
static struct source *find_source(tks_factory *factory, const char *uri)
{
    for (struct source *source = factory->sources; source; source = source->next)
        if (!strcmp(source->uri, uri))
            return source;
    size_t len = strlen(uri);
    struct source *source = calloc(1, sizeof(*source) + len + 1);
    if (!source)
        return NULL;
    memcpy(source->uri, uri, len + 1);
    pthread_mutex_init(&source->lock, NULL);
    source->next = factory->sources;
    factory->sources = source;
    return source;
}

int tks_factory_add(tks_factory *factory, const char *plugin_glob, const char *uri)
{
    int status = check_factory(factory);
    if (!status)
        status = check_glob(plugin_glob);
    if (!status)
        status = tks_uri_check(uri);
    if (status)
        return status;
    size_t len = strlen(plugin_glob);
    struct rule *rule = calloc(1, sizeof(*rule) + len + 1);
    if (!rule)
        return no_memory();
    memcpy(rule->glob, plugin_glob, len + 1);
    pthread_mutex_lock(&factory->lock);
    rule->source = find_source(factory, uri);
    if (rule->source) {
        *factory->last = rule;
        factory->last = &rule->next;
    }
    pthread_mutex_unlock(&factory->lock);
    if (rule->source)
        return TKS_OK;
    free(rule);
    return no_memory();
}

/* ---- States -------------------------------------------------------------------------------- */

/* NULL: no rule matches. */
static struct source *match(tks_factory *factory, const char *plugin)
{
    struct source *source = NULL;
    pthread_mutex_lock(&factory->lock);
    for (const struct rule *rule = factory->rules; rule && !source; rule = rule->next)
        if (!fnmatch(rule->glob, plugin, 0))
            source = rule->source;
    pthread_mutex_unlock(&factory->lock);
    return source;
}

static int open_source(struct source *source, tks_store **store)
{
    int status = TKS_OK;
    pthread_mutex_lock(&source->lock);
    if (!source->store)
        status = tks_store_open(source->uri, NULL, &source->store);
    *store = source->store;
    pthread_mutex_unlock(&source->lock);
    return status;
}

int tks_factory_state(tks_factory *factory, const char *plugin, tks_state **state)
{
    size_t len;
    tks_store *store;
    if (!state)
        return tks_fail(TKS_INVALID, "state is NULL");
    *state = NULL;
    int status = check_factory(factory);
    if (!status)
        status = tks_plugin_name(plugin, &len);
    if (status)
        return status;
    struct source *source = match(factory, plugin);
    if (!source)
        return tks_fail(TKS_NOT_FOUND, "no rule%s%.200s matches plugin \"%s\"",
                        factory->config_path ? " of " : " of the factory",
                        factory->config_path ? factory->config_path : "", plugin);
    status = open_source(source, &store);
    return status ? status : tks_state_open(store, plugin, state);
}

void tks_factory_close(tks_factory *factory)
{
    if (!factory || !process_is(factory->process_token))
        return;
    while (factory->rules) {
        struct rule *rule = factory->rules;
        factory->rules = rule->next;
        free(rule);
    }
    while (factory->sources) {
        struct source *source = factory->sources;
        factory->sources = source->next;
        tks_store_close(source->store);
        pthread_mutex_destroy(&source->lock);
        free(source);
    }
    pthread_mutex_destroy(&factory->lock);
    free(factory->config_path);
    free(factory);
}

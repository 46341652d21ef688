/* SPDX-License-Identifier: MIT */
/* tickstate through its public API. The handle is the state itself, so a call adds one jump. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <tickstate/tickstate.h>

#include "common.h"
#include "peer.h"

/* Sparse: only what is used (or prefaulted) takes memory. Room for overwritten, unfreed blocks. */
static uint64_t segment_mib(const struct peer_config *config)
{
    uint64_t mib = 16;

    while (mib << 20 < config->keys * 512) {
        mib *= 2;
    }
    return config->grow ? mib * 2 : mib;
}

static tks_store *store_open(const struct peer_config *config)
{
    struct tks_options flags = {sizeof(flags), config->attach ? TKS_OPEN_EXISTING : 0};
    char uri[160];
    tks_store *store;

    /* The keeper works on the other CPU, as it would beside a pinned plugin. */
    snprintf(uri, sizeof(uri), "shm://%s?size=%" PRIu64 "M&slots=16&snapshot_cpu=%d%s%s",
             config->name, segment_mib(config), options.other_cpu,
             config->prefault ? "&prefault=1" : "", options.huge ? "&huge=1" : "");
    if (!config->attach) {
        temp_register(config->name, "");
    }
    if (tks_store_open(uri, &flags, &store) != TKS_OK) {
        die("%s: %s", uri, tks_last_error());
    }
    return store;
}

#define OPEN_MAX 8

/* The handle is the state itself; the store stays open beside it, as in a plugin. */
static struct {
    tks_store *store;
    tks_state *state;
} opened[OPEN_MAX];

static void *tickstate_open(const struct peer_config *config)
{
    tks_store *store = store_open(config);
    tks_state *state;
    size_t i = 0;

    if (tks_state_open(store, "bench", &state) != TKS_OK) {
        die("tks_state_open: %s", tks_last_error());
    }
    while (i < OPEN_MAX && opened[i].state != NULL) {
        i++;
    }
    if (i == OPEN_MAX) {
        die("more than %d stores are open", OPEN_MAX);
    }
    opened[i].store = store;
    opened[i].state = state;
    return state;
}

static void tickstate_close(void *handle)
{
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (opened[i].state == handle) {
            tks_state_close(opened[i].state);
            tks_store_close(opened[i].store);
            opened[i].state = NULL;
        }
    }
}

static int tickstate_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    return tks_get(handle, key, buf, cap, len);
}

static int tickstate_set(void *handle, const char *key, const void *value, size_t len)
{
    return tks_set(handle, key, value, len);
}

static int tickstate_tick_begin(void *handle)
{
    return tks_tick_begin(handle);
}

static int tickstate_tick_end(void *handle)
{
    return tks_tick_end(handle);
}

static int tickstate_prepare(void *handle, const char *key, void *prepared)
{
    return tks_key_prepare(handle, key, prepared);
}

static int tickstate_get_prepared(void *handle, void *prepared, void *buf, size_t cap, size_t *len)
{
    return tks_get_k(handle, prepared, buf, cap, len);
}

static int tickstate_set_prepared(void *handle, void *prepared, const void *value, size_t len)
{
    return tks_set_k(handle, prepared, value, len);
}

static uint64_t tickstate_bytes(const struct peer_config *config)
{
    return temp_bytes(config->name, "");
}

const struct peer peer_tickstate = {
    .name = "tickstate",
    .label = "tickstate",
    .traits = PEER_PROCESSES,
    .open = tickstate_open,
    .close = tickstate_close,
    .get = tickstate_get,
    .set = tickstate_set,
    .tick_begin = tickstate_tick_begin,
    .tick_end = tickstate_tick_end,
    .prepared_size = sizeof(tks_key),
    .prepare = tickstate_prepare,
    .get_prepared = tickstate_get_prepared,
    .set_prepared = tickstate_set_prepared,
    .bytes = tickstate_bytes,
};

/* SPDX-License-Identifier: MIT */
#include "base/backend.h"

static int get(tks_state *state, const char *key, tks_key *prepared, void *buf, size_t cap,
               size_t *len)
{
    struct tks_reading reading = {.buf = buf, .cap = cap};
    int status = state->backend->read(state, key, prepared, &reading);
    if (len)
        *len = reading.len;
    return status;
}

int tks_get_by_read(tks_state *state, const char *key, void *buf, size_t cap, size_t *len)
{
    return get(state, key, NULL, buf, cap, len);
}

int tks_get_k_by_read(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len)
{
    return get(state, NULL, key, buf, cap, len);
}

int tks_count_plugin(void *arg, const char *plugin, size_t plugin_len, uint64_t keys)
{
    struct tks_stats *stats = arg;
    (void)plugin;
    (void)plugin_len;
    stats->plugins++;
    stats->keys += keys;
    return 0;
}

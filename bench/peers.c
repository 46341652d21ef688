/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <string.h>

#include "common.h"
#include "report.h"

static const struct peer *const built[] = {
    &peer_flat,   &peer_tickstate,
#ifdef BENCH_HAVE_CK
    &peer_ck_ht,
#endif
#ifdef BENCH_HAVE_URCU
    &peer_lfht,
#endif
#ifdef BENCH_HAVE_LMDB
    &peer_lmdb,
#endif
#ifdef BENCH_HAVE_SQLITE
    &peer_sqlite,
#endif
};

#define BUILT (sizeof(built) / sizeof(built[0]))

static bool wanted(const struct peer *peer)
{
    return options.only == NULL || peer == &peer_flat || peer == &peer_tickstate ||
           strstr(peer->name, options.only) != NULL;
}

const struct peer *const *peers_available(void)
{
    static const struct peer *list[BUILT + 1];
    size_t n = 0;

    for (size_t i = 0; i < BUILT; i++) {
        if (wanted(built[i])) {
            list[n++] = built[i];
        }
    }
    list[n] = NULL;
    return list;
}

void peers_note_missing(void)
{
#ifndef BENCH_HAVE_CK
    report_note("left out: ck_ht (libck-dev was not there at configure time)");
#endif
#ifndef BENCH_HAVE_URCU
    report_note("left out: cds_lfht (liburcu-dev was not there at configure time)");
#endif
#ifndef BENCH_HAVE_LMDB
    report_note("left out: LMDB (liblmdb-dev was not there at configure time)");
#endif
#ifndef BENCH_HAVE_SQLITE
    report_note("left out: SQLite (libsqlite3-dev was not there at configure time)");
#endif
    if (options.only != NULL) {
        report_note("--only %s: other peers left out", options.only);
    }
}

static void verify(const struct peer *peer, void *handle, const char *keys, uint64_t n)
{
    uint64_t step = n > 1000 ? n / 1000 : 1;

    for (uint64_t i = 0; i < n; i += step) {
        unsigned char expected[VALUE_LEN];
        unsigned char buf[VALUE_CAP];
        size_t len = 0;
        value_write(expected, i);
        if (peer->get(handle, keys + i * KEY_STRIDE, buf, sizeof(buf), &len) != 0 ||
            len != VALUE_LEN || memcmp(buf, expected, VALUE_LEN) != 0) {
            die("%s: key %s does not read back", peer->label, keys + i * KEY_STRIDE);
        }
    }
}

void peer_fill(const struct peer *peer, void *handle, const char *keys, uint64_t n)
{
    int bad = 0;

    if (peer->bulk_begin != NULL) {
        bad |= peer->bulk_begin(handle);
    }
    for (uint64_t i = 0; i < n && bad == 0; i++) {
        unsigned char value[VALUE_LEN];
        value_write(value, i);
        bad |= peer->set(handle, keys + i * KEY_STRIDE, value, sizeof(value));
    }
    if (peer->bulk_end != NULL) {
        bad |= peer->bulk_end(handle);
    }
    if (bad != 0) {
        die("%s: filling failed", peer->label);
    }
    verify(peer, handle, keys, n);
}

int peer_tick_nothing(void *handle)
{
    (void)handle;
    return 0;
}

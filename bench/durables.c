/* SPDX-License-Identifier: MIT */
#include "durable.h"

#include <string.h>

#include "common.h"

extern const struct durable durable_lmdb;
extern const struct durable durable_sqlite;
extern const struct durable durable_redis;

static const struct durable *const built[] = {
#ifdef BENCH_HAVE_LMDB
    &durable_lmdb,
#endif
#ifdef BENCH_HAVE_SQLITE
    &durable_sqlite,
#endif
    &durable_redis,
};

#define BUILT (sizeof(built) / sizeof(built[0]))

const struct durable *const *durables_available(void)
{
    static const struct durable *list[BUILT + 1];
    size_t n = 0;

    for (size_t i = 0; i < BUILT; i++) {
        if (options.only == NULL || strstr(built[i]->name, options.only) != NULL) {
            list[n++] = built[i];
        }
    }
    list[n] = NULL;
    return list;
}

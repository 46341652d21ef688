/* SPDX-License-Identifier: MIT */
#include "database/libpq.h"

#include "base/error.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>

/* The interface of <libpq-fe.h>, whichever release it comes from. */
#define LIBRARY "libpq.so.5"

struct tks_libpq libpq;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;
static char reason[256];

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define LIBPQ_ROW(name) {#name, offsetof(struct tks_libpq, name)},
    LIBPQ_FUNCTIONS(LIBPQ_ROW)
#undef LIBPQ_ROW
};

/* It stays for the life of the process: its own libraries leave handlers behind that must not be
 * unmapped. */
static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *function = dlsym(library, functions[i].name);
        *(void **)((char *)&libpq + functions[i].offset) = function;
        if (!function) {
            snprintf(reason, sizeof(reason), LIBRARY " has no %s", functions[i].name);
            return;
        }
    }
    loaded = library;
    if (!library) {
        const char *error = dlerror();
        snprintf(reason, sizeof(reason), "%s", error ? error : LIBRARY);
    }
}

int tks_libpq_load(void)
{
    pthread_once(&once, load);
    if (loaded)
        return TKS_OK;
    return tks_fail(TKS_UNSUPPORTED,
                    "postgres:// needs PostgreSQL's client library, which cannot be loaded: %s",
                    reason);
}

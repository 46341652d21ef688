/* SPDX-License-Identifier: MIT */
/* Key hash: XXH3, inlined (a call through a shared library costs more than the hash). */
#ifndef TKS_BASE_HASH_H
#define TKS_BASE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t hash_of(const void *bytes, size_t len)
{
    return XXH3_64bits(bytes, len);
}

#endif

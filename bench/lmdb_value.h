/* SPDX-License-Identifier: MIT */
/* Bytes as LMDB takes them. */
#ifndef BENCH_LMDB_VALUE_H
#define BENCH_LMDB_VALUE_H

#include <lmdb.h>

static inline MDB_val lmdb_bytes(const void *bytes, size_t len)
{
    /* LMDB's one struct is for input and output; it writes to neither of our inputs. */
    union {
        const void *in;
        void *out;
    } pointer = {bytes};

    return (MDB_val){len, pointer.out};
}

#endif

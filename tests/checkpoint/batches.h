/* SPDX-License-Identifier: MIT */
/* A checkpoint file taken apart, changed and put together again. */
#ifndef TKS_TESTS_BATCHES_H
#define TKS_TESTS_BATCHES_H

#include <stdbool.h>
#include <stdint.h>

#define BATCHES_MAX 4096

struct batches {
    unsigned char *bytes;
    uint64_t size;
    unsigned count;
    uint64_t at[BATCHES_MAX + 1]; /* where each begins; the last is the end */
};

/** A copy of a file, with the places of its batches. */
void batches_take(struct batches *batches, const unsigned char *bytes, uint64_t size);
void batches_free(struct batches *batches);

/** Replace @p count bytes at @p at by @p len others. */
void batches_splice(struct batches *batches, uint64_t at, uint64_t count, const void *bytes,
                    uint64_t len);

/** Make every checksum, link and the mark right, as far as the lengths allow to find them. */
void batches_seal(struct batches *batches);

#endif

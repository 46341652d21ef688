/* SPDX-License-Identifier: MIT */
#ifndef TKS_PROTOCOL_CHURN_H
#define TKS_PROTOCOL_CHURN_H

#include "bench.h"

/**
 * What the parent does with the keys of a stopped subject: the same key, its bucket, or everything,
 * by @p kind; the epochs move on and every freed block is used again.
 */
void churn(struct bench *bench, unsigned target, uint64_t kind);

#endif

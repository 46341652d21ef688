/* SPDX-License-Identifier: MIT */
/* A text that grows. All zero is an empty one. */
#ifndef TKS_BASE_BUFFER_H
#define TKS_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct tks_buffer {
    char *bytes;
    size_t len, cap;
};

/** Make room for @p more bytes behind len; false without memory (the content stays). */
bool tks_buffer_reserve(struct tks_buffer *buffer, size_t more);
/** Append; false without memory. */
bool tks_buffer_append(struct tks_buffer *buffer, const void *bytes, size_t len);
/** Give the memory back; an empty buffer again. */
void tks_buffer_release(struct tks_buffer *buffer);

#endif

/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256u

bool tks_buffer_reserve(struct tks_buffer *buffer, size_t more)
{
    if (more <= buffer->cap - buffer->len)
        return true;
    if (more > SIZE_MAX / 4 - buffer->len)
        return false;
    size_t cap = buffer->cap ? buffer->cap : FIRST_CAP;
    while (cap - buffer->len < more)
        cap *= 2;
    char *bytes = realloc(buffer->bytes, cap);
    if (!bytes)
        return false;
    buffer->bytes = bytes;
    buffer->cap = cap;
    return true;
}

bool tks_buffer_append(struct tks_buffer *buffer, const void *bytes, size_t len)
{
    if (!tks_buffer_reserve(buffer, len))
        return false;
    if (len)
        memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}

void tks_buffer_release(struct tks_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct tks_buffer){.bytes = NULL};
}

/* SPDX-License-Identifier: MIT */
#include "batches.h"

#include "checkpoint/format.h"

#include <stdlib.h>
#include <string.h>

static void find(struct batches *batches)
{
    uint64_t at = FORMAT_BATCHES;
    batches->count = 0;
    batches->at[0] = at;
    while (batches->count < BATCHES_MAX && at < batches->size &&
           batches->size - at >= sizeof(struct format_batch)) {
        struct format_batch batch;
        memcpy(&batch, batches->bytes + at, sizeof(batch));
        if (batch.magic != FORMAT_BATCH_MAGIC || batch.payload > batches->size - at - sizeof(batch))
            break;
        at += sizeof(batch) + batch.payload;
        batches->at[++batches->count] = at;
    }
}

void batches_take(struct batches *batches, const unsigned char *bytes, uint64_t size)
{
    batches->bytes = malloc(size ? size : 1);
    if (!batches->bytes)
        abort();
    memcpy(batches->bytes, bytes, size);
    batches->size = size;
    find(batches);
}

void batches_free(struct batches *batches)
{
    free(batches->bytes);
    batches->bytes = NULL;
}

void batches_splice(struct batches *batches, uint64_t at, uint64_t count, const void *bytes,
                    uint64_t len)
{
    if (at > batches->size)
        at = batches->size; /* of a batch that was cut off meanwhile */
    if (count > batches->size - at)
        count = batches->size - at;
    uint64_t size = batches->size - count + len;
    unsigned char *made = malloc(size ? size : 1);
    if (!made)
        abort();
    memcpy(made, batches->bytes, at);
    if (len)
        memcpy(made + at, bytes, len);
    memcpy(made + at + len, batches->bytes + at + count, batches->size - at - count);
    free(batches->bytes);
    batches->bytes = made;
    batches->size = size;
}

static uint64_t seal_header(struct batches *batches)
{
    struct format_header header;
    memcpy(&header, batches->bytes, sizeof(header));
    header.checksum = format_header_checksum(&header);
    memcpy(batches->bytes, &header, sizeof(header));
    return header.checksum;
}

static void seal_mark(struct batches *batches, uint64_t salt)
{
    struct format_mark mark;
    memcpy(&mark, batches->bytes + FORMAT_SECTOR, sizeof(mark));
    mark.checksum = format_mark_checksum(&mark, salt);
    memcpy(batches->bytes + FORMAT_SECTOR, &mark, sizeof(mark));
}

void batches_seal(struct batches *batches)
{
    if (batches->size < FORMAT_BATCHES)
        return;
    uint64_t salt = seal_header(batches), previous = salt;
    seal_mark(batches, salt);
    find(batches);
    for (unsigned i = 0; i < batches->count; i++) {
        struct format_batch batch;
        unsigned char *at = batches->bytes + batches->at[i];
        memcpy(&batch, at, sizeof(batch));
        batch.previous = previous;
        batch.sequence = i + 1;
        batch.checksum = format_batch_checksum(&batch, at + sizeof(batch), salt);
        previous = batch.checksum;
        memcpy(at, &batch, sizeof(batch));
    }
}

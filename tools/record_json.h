/* SPDX-License-Identifier: MIT */
/* A record of the store as a line of JSON, and back. */
#ifndef TICKSTATE_CLI_RECORD_JSON_H
#define TICKSTATE_CLI_RECORD_JSON_H

#include "cli.h"

enum record_fields {
    RECORD_WITHOUT_EXPIRY, /* where the API does not tell it */
    RECORD_WITH_EXPIRY,
};

/** Write a record as one line. NULL, or what is wrong with the record. */
const char *record_write(FILE *file, const struct tks_record *record, enum record_fields fields);

/** A record with memory of its own, as read from a line or a command line. */
struct record_copy {
    struct tks_record record;
    char *plugin, *key;
    void *value;
};

/** Read a line. NULL, or what is wrong with it; the copy is to be released either way. */
const char *record_read(const char *line, size_t len, struct record_copy *copy);

/**
 * Read a value of @p type as a user writes it; a json scalar becomes that scalar's type. NULL, or
 * what is wrong with it.
 */
const char *record_value_from_text(int type, const char *text, size_t len,
                                   struct record_copy *copy);

void record_release(struct record_copy *copy);

/** Read the 8 host-order bytes of a number; false: the length is another. */
bool record_i64(const void *value, size_t len, int64_t *number);
bool record_f64(const void *value, size_t len, double *number);

#endif

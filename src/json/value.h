/* SPDX-License-Identifier: MIT */
/*
 * A value of the store as JSON text and back: the one coding of exports and of database tables.
 *
 *   i64     5            f64     1.0, always with a fraction or an exponent
 *   bool    true         string  "text"
 *   bytes   {"$bytes":"base64"}
 *   json    the document as it was written; one that is an object whose only member is named
 * $bytes,
 *           $$bytes and so on has one $ more
 *
 * Every value comes back as it was, type included. Nothing depends on the process's locale.
 */
#ifndef TKS_JSON_VALUE_H
#define TKS_JSON_VALUE_H

#include "base/buffer.h"

#include <stdint.h>

#define F64_TEXT_MAX 40

/** Shortest text that reads back as @p real, a finite number, always with a fraction or an
 * exponent. */
void tks_f64_text(double real, char text[F64_TEXT_MAX]);

/** A value that was read. bytes point into the text, the scratch buffer or the value itself. */
struct tks_value {
    int type; /* enum tks_value_type */
    const void *bytes;
    size_t len;
    char scalar[8];
};

/**
 * Append the text of a value to @p text. A json value is a document already.
 * TKS_OK; TKS_INVALID: the bytes are none of this type; TKS_NO_SPACE. No sentence is made.
 */
int tks_value_write(unsigned type, const void *bytes, size_t len, struct tks_buffer *text);

/**
 * Read a text, whoever wrote it: an integer of i64 is an i64, any other number the nearest f64,
 * {"$bytes":…} bytes, other objects, arrays and null a document with the text as it is. @p scratch
 * is overwritten. TKS_OK; TKS_CORRUPT: not such a text, and *wrong says why; TKS_NO_SPACE. No
 * sentence is made.
 */
int tks_value_read(const char *text, size_t len, struct tks_buffer *scratch,
                   struct tks_value *value, const char **wrong);

/**
 * A text that is one integer of i64, white space around it allowed, as tks_value_read() reads it.
 * What an SQL database adds to.
 */
bool tks_integer_read(const char *text, size_t len, int64_t *integer);

#endif

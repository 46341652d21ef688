/* SPDX-License-Identifier: MIT */
/*
 * JSON as text: what a parser to values would lose (the digits of a number, the order and the
 * duplicates of members) stays as it was written, so that an export and its import are lossless.
 */
#ifndef TKS_JSON_TEXT_H
#define TKS_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** A piece of a JSON text: one value, quotes and brackets included. */
struct json_span {
    const char *start;
    size_t len;
};

/** The one JSON value that @p text is, without the white space around it; false: not JSON. */
bool tks_json_value(const char *text, size_t len, struct json_span *value);

typedef bool json_member_visitor(void *arg, struct json_span name, struct json_span value);

/**
 * Visit the members of the object that @p text is. False when it is not an object, not JSON, or
 * when @p visit returned false.
 */
bool tks_json_members(const char *text, size_t len, json_member_visitor *visit, void *arg);

/** Characters of a JSON string, NUL-terminated, to be freed; NULL: not UTF-8, a lone surrogate. */
char *tks_json_string(struct json_span string, size_t *len);

/** How many $ stand before "bytes" in the only member name of a document; 0: it is not such one. */
size_t tks_json_dollars(const char *text, size_t len);

/**
 * A document as the exchange format has it, to be freed; NULL without memory. Members named $bytes
 * (as tks_json_dollars() counts them) get one $ more, or one less.
 */
char *tks_json_add_dollar(const char *text, size_t len, size_t *new_len);
char *tks_json_drop_dollar(const char *text, size_t len, size_t *new_len);

#endif

/* SPDX-License-Identifier: MIT */
/* Text checks: UTF-8 and JSON. */
#ifndef TKS_BASE_TEXT_H
#define TKS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Valid UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
bool tks_utf8_valid(const void *text, size_t len);

/** A key or plugin name: 1 to TKS_NAME_MAX bytes of UTF-8 without NUL. */
bool tks_name_valid(const char *name, size_t len);

/** What a JSON document becomes when it is stored. */
struct tks_scalar {
    int type; /* enum tks_value_type; TKS_TYPE_JSON: store the document's own text */
    int64_t integer;
    double real;
    bool truth;
    char *text; /* TKS_TYPE_STRING: malloc'ed */
    size_t text_len;
};

/** Parse a JSON text. TKS_OK, TKS_INVALID (not JSON) or TKS_NO_SPACE. scalar->text is the caller's
 * to free. */
int tks_json_scalar(const char *text, size_t len, struct tks_scalar *scalar);

#endif

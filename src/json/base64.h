/* SPDX-License-Identifier: MIT */
/* Base64 of RFC 4648, with padding. */
#ifndef TKS_JSON_BASE64_H
#define TKS_JSON_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/** Length of the encoded text without a NUL. */
size_t tks_base64_encoded_len(size_t len);
/** Encode to @p text of tks_base64_encoded_len() bytes; adds no NUL. */
void tks_base64_encode(const void *bytes, size_t len, char *text);
/** Decode in full or not at all; @p bytes has room for 3 bytes per 4 characters. */
bool tks_base64_decode(const char *text, size_t len, unsigned char *bytes, size_t *bytes_len);

#endif

/* SPDX-License-Identifier: MIT */
/* Base64 of RFC 4648, with padding. */
#ifndef TICKSTATE_CLI_BASE64_H
#define TICKSTATE_CLI_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/** Length of the encoded text without a NUL. */
size_t base64_encoded_len(size_t len);
/** Encode to @p text of base64_encoded_len() bytes; adds no NUL. */
void base64_encode(const void *bytes, size_t len, char *text);
/** Decode in full or not at all; @p bytes has room for 3 bytes per 4 characters. */
bool base64_decode(const char *text, size_t len, unsigned char *bytes, size_t *bytes_len);

#endif

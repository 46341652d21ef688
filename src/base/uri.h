/* SPDX-License-Identifier: MIT */
/* Store URIs: scheme://rest?parameter=value&… */
#ifndef TKS_BASE_URI_H
#define TKS_BASE_URI_H

#include <stddef.h>
#include <stdint.h>

struct tks_uri {
    const char *text; /* all of it */
    char scheme[16];
    const char *rest; /* after "://", up to '?'; not NUL-terminated */
    size_t rest_len;
    const char *query; /* after '?', "" when there is none */
};

/** Split @p text; the parts point into it. TKS_OK or TKS_INVALID. */
int tks_uri_split(const char *text, struct tks_uri *uri);

/**
 * Copy @p len bytes with %XX decoded and a NUL behind them. TKS_INVALID, without a sentence: malformed, a NUL inside, or
 * longer than @p cap - 1.
 */
int tks_uri_decode(const char *from, size_t len, char *to, size_t cap);

/** Next parameter of a query. 1: found, *cursor advanced; 0: the end; TKS_INVALID: malformed. */
int tks_uri_next(const char **cursor, char *name, size_t name_cap, char *value, size_t value_cap);

/** "64M" and the like. TKS_OK or TKS_INVALID. */
int tks_parse_size(const char *text, uint64_t *size);

/** A whole non-negative number in @p base, at most @p max. TKS_OK or TKS_INVALID. */
int tks_parse_number(const char *text, int base, uint64_t max, uint64_t *number);

#endif

/* SPDX-License-Identifier: MIT */
#include "base/uri.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* At most 100. */
static size_t span_before(const char *text, const char *ends)
{
    size_t len = strcspn(text, ends);
    return len > 100 ? 100 : len;
}

int tks_uri_split(const char *text, struct tks_uri *uri)
{
    const char *colon = strstr(text, "://");
    size_t scheme_len = colon ? (size_t)(colon - text) : 0;
    if (!scheme_len || scheme_len >= sizeof(uri->scheme))
        /* Not what may follow a mistyped scheme: it could be a password. */
        return tks_fail(TKS_INVALID, "not a store URI (scheme://…): \"%.*s\"",
                        (int)span_before(text, ":/?@"), text);
    uri->text = text;
    memcpy(uri->scheme, text, scheme_len);
    uri->scheme[scheme_len] = 0;
    uri->rest = colon + 3;
    uri->rest_len = strcspn(uri->rest, "?");
    uri->query = uri->rest[uri->rest_len] ? uri->rest + uri->rest_len + 1 : "";
    return TKS_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int tks_uri_decode(const char *from, size_t len, char *to, size_t cap)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        char c = from[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(from[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(from[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return TKS_INVALID;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (used + 1 >= cap)
            return TKS_INVALID;
        to[used++] = c;
    }
    to[used] = 0;
    return TKS_OK;
}

int tks_uri_next(const char **cursor, char *name, size_t name_cap, char *value, size_t value_cap)
{
    while (**cursor == '&')
        ++*cursor;
    if (!**cursor)
        return 0;
    const char *start = *cursor;
    size_t len = strcspn(start, "&");
    const char *equals = memchr(start, '=', len);
    *cursor = start + len;
    if (!equals)
        return tks_fail(TKS_INVALID, "URI parameter \"%.*s\" has no value", (int)len, start);
    size_t name_len = (size_t)(equals - start);
    if (tks_uri_decode(start, name_len, name, name_cap) ||
        tks_uri_decode(equals + 1, len - name_len - 1, value, value_cap))
        return tks_fail(TKS_INVALID, "URI parameter \"%.*s\" is malformed or too long",
                        len > 80 ? 80 : (int)len, start);
    return 1;
}

int tks_parse_number(const char *text, int base, uint64_t max, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return TKS_INVALID;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, base);
    if (errno || *end || parsed > max)
        return TKS_INVALID;
    *number = parsed;
    return TKS_OK;
}

int tks_parse_size(const char *text, uint64_t *size)
{
    char digits[32];
    size_t len = strlen(text);
    if (!len || len >= sizeof(digits))
        return TKS_INVALID;
    static const char units[] = "KMG";
    memcpy(digits, text, len + 1);
    const char *unit = strchr(units, digits[len - 1] & ~0x20);
    unsigned shift = 0;
    if (unit && *unit) {
        shift = (unsigned)(unit - units + 1) * 10;
        digits[len - 1] = 0;
    }
    uint64_t count;
    if (tks_parse_number(digits, 10, UINT64_MAX >> shift, &count))
        return TKS_INVALID;
    *size = count << shift;
    return TKS_OK;
}

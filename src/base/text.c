/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include "base/error.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at p, 0 when it is not one (Unicode 15, table 3-7). */
static size_t sequence_length(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool tks_utf8_valid(const void *text, size_t len)
{
    const unsigned char *p = text;
    size_t i = 0;
    for (uint64_t word; len - i >= 8; i += 8) {
        memcpy(&word, p + i, 8);
        if (word & 0x8080808080808080ull)
            break;
    }
    while (i < len) {
        size_t n = sequence_length(p + i, len - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

bool tks_name_valid(const char *name, size_t len)
{
    return len >= 1 && len <= TKS_NAME_MAX && !memchr(name, 0, len) && tks_utf8_valid(name, len);
}

static int take_string(const json_t *value, struct tks_scalar *scalar)
{
    scalar->type = TKS_TYPE_STRING;
    scalar->text_len = json_string_length(value);
    scalar->text = malloc(scalar->text_len + 1);
    if (!scalar->text)
        return tks_fail(TKS_NO_SPACE, "no memory for a JSON string of %zu bytes", scalar->text_len);
    memcpy(scalar->text, json_string_value(value), scalar->text_len);
    return TKS_OK;
}

static int classify(const json_t *value, struct tks_scalar *scalar)
{
    switch (json_typeof(value)) {
    case JSON_TRUE:
    case JSON_FALSE:
        scalar->type = TKS_TYPE_BOOL;
        scalar->truth = json_is_true(value);
        return TKS_OK;
    case JSON_INTEGER:
        scalar->type = TKS_TYPE_I64;
        scalar->integer = json_integer_value(value);
        return TKS_OK;
    case JSON_REAL:
        scalar->type = TKS_TYPE_F64;
        scalar->real = json_real_value(value);
        return TKS_OK;
    case JSON_STRING:
        return take_string(value, scalar);
    default:
        scalar->type = TKS_TYPE_JSON;
        return TKS_OK;
    }
}

int tks_json_scalar(const char *text, size_t len, struct tks_scalar *scalar)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    memset(scalar, 0, sizeof(*scalar));
    json_error_t error;
    if (memchr(text, 0, len))
        return tks_fail(TKS_INVALID, "not a JSON document: it has a NUL byte");
    json_t *value = json_loadb(text, len, flags, &error);
    if (!value && json_error_code(&error) == json_error_numeric_overflow) {
        /* An integer beyond i64: JSON knows no size, so read it as a real. */
        value = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, &error);
    }
    if (!value) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return tks_fail(TKS_NO_SPACE, "no memory to check a JSON document");
        return tks_fail(TKS_INVALID, "not a JSON document: %s (byte %d)", error.text,
                        error.position);
    }
    int status = classify(value, scalar);
    json_decref(value);
    return status;
}

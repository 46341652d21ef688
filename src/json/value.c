/* SPDX-License-Identifier: MIT */
#include "json/value.h"

#include "base/text.h"
#include "json/base64.h"
#include "json/text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tickstate/tickstate.h>

static const char bytes_start[] = "{\"$bytes\":\"";
static const char bytes_end[] = "\"}";
#define BYTES_START_LEN (sizeof(bytes_start) - 1)
#define BYTES_END_LEN (sizeof(bytes_end) - 1)

/* ---- Writing ------------------------------------------------------------------------------- */

/* printf's decimal point is the locale's: anything that is no part of a number is it. */
static void plain_decimal_point(char *text)
{
    char *point = text + strspn(text, "+-0123456789eE");
    if (!*point)
        return;
    size_t len = strcspn(point, "0123456789");
    *point = '.';
    memmove(point + 1, point + len, strlen(point + len) + 1);
}

void tks_f64_text(double real, char text[F64_TEXT_MAX])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, F64_TEXT_MAX, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            break;
    }
    plain_decimal_point(text);
    if (!strpbrk(text, ".e"))
        strcat(text, ".0");
}

static int append(struct tks_buffer *text, const void *bytes, size_t len)
{
    return tks_buffer_append(text, bytes, len) ? TKS_OK : TKS_NO_SPACE;
}

static int write_bytes(const void *bytes, size_t len, struct tks_buffer *text)
{
    size_t digits = tks_base64_encoded_len(len);
    if (!tks_buffer_reserve(text, BYTES_START_LEN + digits + BYTES_END_LEN))
        return TKS_NO_SPACE;
    append(text, bytes_start, BYTES_START_LEN);
    tks_base64_encode(bytes, len, text->bytes + text->len);
    text->len += digits;
    return append(text, bytes_end, BYTES_END_LEN);
}

static int write_i64(const void *bytes, size_t len, struct tks_buffer *text)
{
    int64_t integer;
    char digits[24];
    if (len != sizeof(integer))
        return TKS_INVALID;
    memcpy(&integer, bytes, sizeof(integer));
    int digits_len = snprintf(digits, sizeof(digits), "%lld", (long long)integer);
    return append(text, digits, (size_t)digits_len);
}

static int write_f64(const void *bytes, size_t len, struct tks_buffer *text)
{
    double real;
    char digits[F64_TEXT_MAX];
    if (len != sizeof(real))
        return TKS_INVALID;
    memcpy(&real, bytes, sizeof(real));
    if (!isfinite(real))
        return TKS_INVALID;
    tks_f64_text(real, digits);
    return append(text, digits, strlen(digits));
}

static int write_bool(const char *bytes, size_t len, struct tks_buffer *text)
{
    if (len != 1)
        return TKS_INVALID;
    return *bytes ? append(text, "true", 4) : append(text, "false", 5);
}

/* Whether a byte of a string is written as something else. */
static bool needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

static int write_escape(unsigned char byte, struct tks_buffer *text)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    char escape[8] = "\\";
    const char *known = byte ? strchr(plain, byte) : NULL;
    if (known) {
        escape[1] = letters[known - plain];
        return append(text, escape, 2);
    }
    snprintf(escape, sizeof(escape), "\\u%04X", byte);
    return append(text, escape, 6);
}

static int write_string(const char *bytes, size_t len, struct tks_buffer *text)
{
    if (!tks_utf8_valid(bytes, len))
        return TKS_INVALID;
    int status = append(text, "\"", 1);
    for (size_t done = 0; !status && done < len;) {
        size_t plain = 0;
        while (done + plain < len && !needs_escape((unsigned char)bytes[done + plain]))
            plain++;
        status = append(text, bytes + done, plain);
        done += plain;
        if (!status && done < len)
            status = write_escape((unsigned char)bytes[done++], text);
    }
    return status ? status : append(text, "\"", 1);
}

static int write_document(const char *document, size_t len, struct tks_buffer *text)
{
    if (!tks_json_dollars(document, len))
        return append(text, document, len);
    size_t escaped_len;
    char *escaped = tks_json_add_dollar(document, len, &escaped_len);
    if (!escaped)
        return TKS_NO_SPACE;
    int status = append(text, escaped, escaped_len);
    free(escaped);
    return status;
}

int tks_value_write(unsigned type, const void *bytes, size_t len, struct tks_buffer *text)
{
    switch (type) {
    case TKS_TYPE_BYTES:
        return write_bytes(bytes, len, text);
    case TKS_TYPE_I64:
        return write_i64(bytes, len, text);
    case TKS_TYPE_F64:
        return write_f64(bytes, len, text);
    case TKS_TYPE_BOOL:
        return write_bool(bytes, len, text);
    case TKS_TYPE_STRING:
        return write_string(bytes, len, text);
    case TKS_TYPE_JSON:
        return write_document(bytes, len, text);
    default:
        return TKS_INVALID;
    }
}

/* ---- Reading ------------------------------------------------------------------------------- */

static int corrupt(const char **wrong, const char *why)
{
    *wrong = why;
    return TKS_CORRUPT;
}

static int take_scalar(struct tks_value *value, int type, const void *bytes, size_t len)
{
    memcpy(value->scalar, bytes, len);
    value->type = type;
    value->bytes = value->scalar;
    value->len = len;
    return TKS_OK;
}

/* The digits of an integer; false when it is none of i64. Accumulated below zero, where i64 has
 * room for one more. */
static bool parse_integer(const char *text, size_t len, int64_t *integer)
{
    bool negative = len > 0 && *text == '-';
    int64_t sum = 0;
    if (len == (size_t)negative)
        return false;
    for (size_t i = negative; i < len; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, text[i] - '0', &sum))
            return false;
    if (!negative && sum == INT64_MIN)
        return false;
    *integer = negative ? sum : -sum;
    return true;
}

static int read_number(struct json_span number, struct tks_value *value, const char **wrong)
{
    int64_t integer;
    if (parse_integer(number.start, number.len, &integer))
        return take_scalar(value, TKS_TYPE_I64, &integer, sizeof(integer));
    json_error_t error;
    json_t *parsed =
        json_loadb(number.start, number.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    if (!parsed)
        return json_error_code(&error) == json_error_out_of_memory
                   ? TKS_NO_SPACE
                   : corrupt(wrong, "a number that is too large for an f64");
    double real = json_real_value(parsed);
    json_decref(parsed);
    return take_scalar(value, TKS_TYPE_F64, &real, sizeof(real));
}

/* What is decoded lies in the scratch buffer. */
static int take_decoded(struct tks_value *value, int type, const struct tks_buffer *scratch)
{
    value->type = type;
    value->bytes = scratch->bytes;
    value->len = scratch->len;
    return TKS_OK;
}

static int read_string(struct json_span string, struct tks_buffer *scratch, struct tks_value *value,
                       const char **wrong)
{
    if (!memchr(string.start, '\\', string.len)) {
        value->type = TKS_TYPE_STRING;
        value->bytes = string.start + 1;
        value->len = string.len - 2;
        return TKS_OK;
    }
    size_t len;
    char *text = tks_json_string(string, &len);
    if (!text)
        return corrupt(wrong, "a string with half of a surrogate pair");
    bool kept = tks_buffer_append(scratch, text, len);
    free(text);
    return kept ? take_decoded(value, TKS_TYPE_STRING, scratch) : TKS_NO_SPACE;
}

static int decode_bytes(const char *digits, size_t len, struct tks_buffer *scratch,
                        struct tks_value *value, const char **wrong)
{
    if (!tks_buffer_reserve(scratch, len / 4 * 3 + 1))
        return TKS_NO_SPACE;
    if (!tks_base64_decode(digits, len, (unsigned char *)scratch->bytes, &scratch->len))
        return corrupt(wrong, "$bytes that are not base64");
    return take_decoded(value, TKS_TYPE_BYTES, scratch);
}

static bool take_last_member(void *arg, struct json_span name, struct json_span value)
{
    (void)name;
    *(struct json_span *)arg = value;
    return true;
}

/* {"$bytes":…} with white space, escapes, or what else another program may have written. */
static int read_bytes(struct json_span object, struct tks_buffer *scratch, struct tks_value *value,
                      const char **wrong)
{
    struct json_span member = {NULL, 0};
    tks_json_members(object.start, object.len, take_last_member, &member);
    if (!member.start || *member.start != '"')
        return corrupt(wrong, "$bytes that are not a string");
    size_t len;
    char *digits = tks_json_string(member, &len);
    if (!digits)
        return corrupt(wrong, "$bytes that are not base64");
    int status = decode_bytes(digits, len, scratch, value, wrong);
    free(digits);
    return status;
}

static int read_object(const char *text, size_t len, struct json_span object,
                       struct tks_buffer *scratch, struct tks_value *value, const char **wrong)
{
    size_t dollars = tks_json_dollars(object.start, object.len);
    if (dollars == 1)
        return read_bytes(object, scratch, value, wrong);
    value->type = TKS_TYPE_JSON;
    value->bytes = text;
    value->len = len;
    if (!dollars)
        return TKS_OK;
    size_t plain_len;
    char *plain = tks_json_drop_dollar(text, len, &plain_len);
    bool kept = plain && tks_buffer_append(scratch, plain, plain_len);
    free(plain);
    return kept ? take_decoded(value, TKS_TYPE_JSON, scratch) : TKS_NO_SPACE;
}

/* Bytes as tks_value_write() writes them, the most frequent text; false: some other one. */
static bool is_plain_bytes(const char *text, size_t len)
{
    return len >= BYTES_START_LEN + BYTES_END_LEN && !memcmp(text, bytes_start, BYTES_START_LEN) &&
           !memcmp(text + len - BYTES_END_LEN, bytes_end, BYTES_END_LEN) &&
           !memchr(text + BYTES_START_LEN, '\\', len - BYTES_START_LEN) &&
           memchr(text + BYTES_START_LEN, '"', len - BYTES_START_LEN) == text + len - BYTES_END_LEN;
}

int tks_value_read(const char *text, size_t len, struct tks_buffer *scratch,
                   struct tks_value *value, const char **wrong)
{
    struct json_span span;
    scratch->len = 0;
    if (is_plain_bytes(text, len))
        return decode_bytes(text + BYTES_START_LEN, len - BYTES_START_LEN - BYTES_END_LEN, scratch,
                            value, wrong);
    if (!tks_utf8_valid(text, len))
        return corrupt(wrong, "text that is not UTF-8");
    if (!tks_json_value(text, len, &span))
        return corrupt(wrong, "text that is not JSON");
    switch (*span.start) {
    case '{':
        return read_object(text, len, span, scratch, value, wrong);
    case '[':
    case 'n':
        value->type = TKS_TYPE_JSON;
        value->bytes = text;
        value->len = len;
        return TKS_OK;
    case '"':
        return read_string(span, scratch, value, wrong);
    case 't':
    case 'f':
        return take_scalar(value, TKS_TYPE_BOOL, *span.start == 't' ? "\1" : "\0", 1);
    default:
        return read_number(span, value, wrong);
    }
}

bool tks_integer_read(const char *text, size_t len, int64_t *integer)
{
    struct json_span span;
    return tks_json_value(text, len, &span) && parse_integer(span.start, span.len, integer);
}

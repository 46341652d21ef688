/* SPDX-License-Identifier: MIT */
#include "record_json.h"

#include "base64.h"
#include "json_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char no_memory[] = "out of memory";

/* ---- Writing ----------------------------------------------------------------------------- */

bool record_i64(const void *value, size_t len, int64_t *number)
{
    if (len != sizeof(*number))
        return false;
    memcpy(number, value, sizeof(*number));
    return true;
}

bool record_f64(const void *value, size_t len, double *number)
{
    if (len != sizeof(*number))
        return false;
    memcpy(number, value, sizeof(*number));
    return isfinite(*number);
}

static const char *write_bytes(FILE *file, const struct tks_record *record)
{
    size_t len = base64_encoded_len(record->value_len);
    char *text = malloc(len + 1);

    if (!text)
        return no_memory;
    base64_encode(record->value, record->value_len, text);
    text[len] = '\0';
    fprintf(file, "{\"$bytes\":\"%s\"}", text);
    free(text);
    return NULL;
}

static const char *write_document(FILE *file, const struct tks_record *record)
{
    struct json_span document;
    size_t len;
    char *text;

    /* White space around it cannot be told from the line's own. */
    if (!json_text_value(record->value, record->value_len, &document))
        return "the stored value is not JSON";
    text = json_text_add_dollar(document.start, document.len, &len);
    if (!text)
        return no_memory;
    /* A line break can only stand between tokens, where a space means the same. */
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n' || text[i] == '\r')
            text[i] = ' ';
    fwrite(text, 1, len, file);
    free(text);
    return NULL;
}

static const char *write_number(FILE *file, const struct tks_record *record)
{
    char text[F64_TEXT_MAX];
    int64_t integer;
    double real;

    if (record->type == TKS_TYPE_I64) {
        if (!record_i64(record->value, record->value_len, &integer))
            return "the stored value is not an i64";
        fprintf(file, "%lld", (long long)integer);
        return NULL;
    }
    if (!record_f64(record->value, record->value_len, &real))
        return "the stored value is not an f64";
    format_f64(real, text);
    fputs(text, file);
    return NULL;
}

static const char *write_value(FILE *file, const struct tks_record *record)
{
    switch (record->type) {
    case TKS_TYPE_BYTES:
        return write_bytes(file, record);
    case TKS_TYPE_I64:
    case TKS_TYPE_F64:
        return write_number(file, record);
    case TKS_TYPE_BOOL:
        if (record->value_len != 1)
            return "the stored value is not a bool";
        fputs(*(const char *)record->value ? "true" : "false", file);
        return NULL;
    case TKS_TYPE_STRING:
        return write_json_string(file, record->value, record->value_len)
                   ? NULL
                   : "the stored value is not UTF-8";
    case TKS_TYPE_JSON:
        return write_document(file, record);
    default:
        return "the stored value has an unknown type";
    }
}

const char *record_write(FILE *file, const struct tks_record *record, enum record_fields fields)
{
    const char *error;

    fputs("{\"plugin\":", file);
    if (!write_json_string(file, record->plugin, record->plugin_len))
        return "the plugin's name is not UTF-8";
    fputs(",\"key\":", file);
    if (!write_json_string(file, record->key, record->key_len))
        return "the key is not UTF-8";
    fprintf(file, ",\"type\":\"%s\",\"value\":", type_name((int)record->type));
    error = write_value(file, record);
    if (error)
        return error;
    fprintf(file, ",\"version\":%llu", (unsigned long long)record->version);
    if (fields == RECORD_WITH_EXPIRY && record->expires_at != 0)
        fprintf(file, ",\"expires_at\":%lld", (long long)record->expires_at);
    else if (fields == RECORD_WITH_EXPIRY)
        fputs(",\"expires_at\":null", file);
    fputs("}\n", file);
    return NULL;
}

/* ---- Values ------------------------------------------------------------------------------ */

static const char *keep_value(struct record_copy *copy, int type, const void *value, size_t len)
{
    void *kept;

    if (len > TKS_VALUE_MAX)
        return "the value is too long";
    kept = malloc(len + 1);
    if (!kept)
        return no_memory;
    if (len > 0)
        memcpy(kept, value, len);
    ((char *)kept)[len] = '\0';
    free(copy->value);
    copy->value = kept;
    copy->record.type = (uint32_t)type;
    copy->record.value = kept;
    copy->record.value_len = len;
    return NULL;
}

static bool is_integer(struct json_span number)
{
    return strcspn(number.start, ".eE") >= number.len;
}

/* A JSON number as i64 or f64. The text around it belongs to a NUL-terminated string. */
static const char *number_value(struct json_span number, int type, struct record_copy *copy)
{
    long long integer;
    double real;

    errno = 0;
    integer = strtoll(number.start, NULL, 10);
    if (is_integer(number) && errno == 0 && type != TKS_TYPE_F64)
        return keep_value(copy, TKS_TYPE_I64, &(int64_t){integer}, sizeof(int64_t));
    if (type == TKS_TYPE_I64)
        return "the value is not an i64";
    real = strtod(number.start, NULL);
    if (!isfinite(real))
        return "the value is too large for an f64";
    return keep_value(copy, TKS_TYPE_F64, &real, sizeof(real));
}

static const char *string_value(struct json_span string, struct record_copy *copy)
{
    const char *error;
    size_t len;
    char *text = json_text_string(string, &len);

    if (!text)
        return "the value is not a string in UTF-8";
    error = keep_value(copy, TKS_TYPE_STRING, text, len);
    free(text);
    return error;
}

static const char *bool_value(struct json_span word, struct record_copy *copy)
{
    return keep_value(copy, TKS_TYPE_BOOL, *word.start == 't' ? "\1" : "\0", 1);
}

/* A JSON text, as the type that it is: what tks_set_json() promises. */
static const char *json_value(const char *text, size_t len, struct record_copy *copy)
{
    struct json_span value;

    if (!json_text_value(text, len, &value))
        return "the value is not JSON";
    switch (*value.start) {
    case '{':
    case '[':
    case 'n':
        return keep_value(copy, TKS_TYPE_JSON, value.start, value.len);
    case '"':
        return string_value(value, copy);
    case 't':
    case 'f':
        return bool_value(value, copy);
    default:
        return number_value(value, -1, copy);
    }
}

static const char *bool_from_text(const char *text, size_t len, struct record_copy *copy)
{
    bool is_true = len == 4 && memcmp(text, "true", 4) == 0;

    if (!is_true && !(len == 5 && memcmp(text, "false", 5) == 0))
        return "the value is neither true nor false";
    return keep_value(copy, TKS_TYPE_BOOL, is_true ? "\1" : "\0", 1);
}

/* Numbers may end in a line break: they often come from a pipe. */
static const char *number_from_text(int type, const char *text, size_t len,
                                    struct record_copy *copy)
{
    char digits[512];
    int64_t integer;
    double real;

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len >= sizeof(digits) || memchr(text, '\0', len))
        return "the value is not a number";
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (type == TKS_TYPE_I64) {
        if (!parse_i64(digits, INT64_MIN, INT64_MAX, &integer))
            return "the value is not an i64";
        return keep_value(copy, type, &integer, sizeof(integer));
    }
    if (!parse_f64(digits, &real))
        return "the value is not a finite number";
    return keep_value(copy, type, &real, sizeof(real));
}

const char *record_value_from_text(int type, const char *text, size_t len, struct record_copy *copy)
{
    switch (type) {
    case TKS_TYPE_I64:
    case TKS_TYPE_F64:
        return number_from_text(type, text, len, copy);
    case TKS_TYPE_BOOL:
        return bool_from_text(text, len, copy);
    case TKS_TYPE_JSON:
        if (!utf8_valid(text, len))
            return "the value is not UTF-8";
        return json_value(text, len, copy);
    case TKS_TYPE_STRING:
        if (!utf8_valid(text, len))
            return "the value is not UTF-8";
        return keep_value(copy, type, text, len);
    default:
        return keep_value(copy, type, text, len);
    }
}

/* ---- Reading ----------------------------------------------------------------------------- */

enum field {
    FIELD_PLUGIN,
    FIELD_KEY,
    FIELD_TYPE,
    FIELD_VALUE,
    FIELD_VERSION,
    FIELD_EXPIRES,
    FIELDS
};

static const char *const field_names[FIELDS] = {"plugin", "key",     "type",
                                                "value",  "version", "expires_at"};

struct line {
    struct json_span fields[FIELDS];
    const char *error;
};

static bool take_member(void *arg, struct json_span name, struct json_span value)
{
    struct line *line = arg;

    for (int i = 0; i < FIELDS; i++) {
        size_t len = strlen(field_names[i]);

        if (name.len != len + 2 || memcmp(name.start + 1, field_names[i], len) != 0)
            continue;
        if (line->fields[i].start)
            line->error = "a member is there twice";
        line->fields[i] = value;
        return !line->error;
    }
    line->error = "unknown member";
    return false;
}

static bool span_is(struct json_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.start, text, span.len) == 0;
}

static bool read_name(struct json_span span, char **name, size_t *len)
{
    if (!span.start || *span.start != '"')
        return false;
    *name = json_text_string(span, len);
    return *name && name_valid(*name, *len);
}

static const char *read_type(struct json_span span, int *type)
{
    char name[16] = "";

    if (!span.start)
        return "\"type\" is missing";
    if (*span.start == '"' && span.len - 2 < sizeof(name))
        memcpy(name, span.start + 1, span.len - 2);
    *type = type_by_name(name);
    return *type < 0 ? "\"type\" is none of bytes, i64, f64, bool, string, json" : NULL;
}

static bool whole_number(struct json_span span)
{
    return span.start && *span.start >= '0' && *span.start <= '9' && is_integer(span);
}

static const char *read_expiry(struct json_span span, int64_t *expires_at)
{
    if (!span.start || span_is(span, "null"))
        return NULL;
    errno = 0;
    *expires_at = whole_number(span) ? strtoll(span.start, NULL, 10) : -1;
    return *expires_at < 1 || errno != 0 ? "\"expires_at\" is neither null nor milliseconds" : NULL;
}

static bool take_bytes_text(void *arg, struct json_span name, struct json_span value)
{
    (void)name;
    *(struct json_span *)arg = value;
    return true;
}

static const char *read_bytes(struct json_span span, struct record_copy *copy)
{
    static const char wrong[] = "the value is not {\"$bytes\":\"base64\"}";
    struct json_span text = {NULL, 0};
    unsigned char *bytes;
    char *encoded;
    size_t len;
    const char *error;

    if (json_text_dollars(span.start, span.len) != 1)
        return wrong;
    json_text_members(span.start, span.len, take_bytes_text, &text);
    encoded = text.start && *text.start == '"' ? json_text_string(text, &len) : NULL;
    if (!encoded)
        return wrong;
    bytes = malloc(len / 4 * 3 + 1);
    if (!bytes)
        error = no_memory;
    else if (!base64_decode(encoded, len, bytes, &len))
        error = wrong;
    else
        error = keep_value(copy, TKS_TYPE_BYTES, bytes, len);
    free(bytes);
    free(encoded);
    return error;
}

static const char *read_document(struct json_span span, struct record_copy *copy)
{
    size_t dollars = json_text_dollars(span.start, span.len), len;
    const char *error;
    char *text;

    if (!strchr("{[n", *span.start))
        return "the value of a json entry is an object, an array or null";
    if (dollars == 1)
        return "a json entry whose only member is $bytes must be written $$bytes";
    text = json_text_drop_dollar(span.start, span.len, &len);
    if (!text)
        return no_memory;
    error = keep_value(copy, TKS_TYPE_JSON, text, len);
    free(text);
    return error;
}

static const char *read_value_of(int type, struct json_span span, struct record_copy *copy)
{
    if (!span.start)
        return "\"value\" is missing";
    switch (type) {
    case TKS_TYPE_BYTES:
        return read_bytes(span, copy);
    case TKS_TYPE_BOOL:
        return *span.start == 't' || *span.start == 'f' ? bool_value(span, copy)
                                                        : "the value is not a bool";
    case TKS_TYPE_STRING:
        return string_value(span, copy);
    case TKS_TYPE_JSON:
        return read_document(span, copy);
    default:
        return strchr("-0123456789", *span.start) ? number_value(span, type, copy)
                                                  : "the value is not a number";
    }
}

static const char *read_fields(const struct line *line, struct record_copy *copy)
{
    struct tks_record *record = &copy->record;
    const char *error;
    int type;

    if (!read_name(line->fields[FIELD_PLUGIN], &copy->plugin, &record->plugin_len))
        return "\"plugin\" is missing or no name (1 to 255 bytes of UTF-8)";
    if (!read_name(line->fields[FIELD_KEY], &copy->key, &record->key_len))
        return "\"key\" is missing or no name (1 to 255 bytes of UTF-8)";
    record->plugin = copy->plugin;
    record->key = copy->key;
    error = read_type(line->fields[FIELD_TYPE], &type);
    if (!error)
        error = read_value_of(type, line->fields[FIELD_VALUE], copy);
    if (!error)
        error = read_expiry(line->fields[FIELD_EXPIRES], &record->expires_at);
    if (!error && line->fields[FIELD_VERSION].start && !whole_number(line->fields[FIELD_VERSION]))
        error = "\"version\" is not a whole number";
    return error;
}

const char *record_read(const char *text, size_t len, struct record_copy *copy)
{
    struct line line = {.error = NULL};

    *copy = (struct record_copy){.record = {.size = sizeof(copy->record)}};
    if (!utf8_valid(text, len))
        return "not UTF-8";
    if (!json_text_members(text, len, take_member, &line))
        return line.error ? line.error : "not a JSON object";
    return read_fields(&line, copy);
}

void record_release(struct record_copy *copy)
{
    free(copy->plugin);
    free(copy->key);
    free(copy->value);
    *copy = (struct record_copy){.plugin = NULL};
}

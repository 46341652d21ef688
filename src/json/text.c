/* SPDX-License-Identifier: MIT */
#include "json/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* Deeper than any document that jansson, and with it the library, takes (2048). */
#define DEPTH_MAX 4096

struct cursor {
    const char *at, *end;
};

static bool read_value(struct cursor *cursor, unsigned depth);

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && *cursor->at && strchr(" \t\r\n", *cursor->at))
        cursor->at++;
}

static bool take(struct cursor *cursor, char wanted)
{
    if (cursor->at == cursor->end || *cursor->at != wanted)
        return false;
    cursor->at++;
    return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(cursor->end - cursor->at) < len || memcmp(cursor->at, word, len) != 0)
        return false;
    cursor->at += len;
    return true;
}

static bool read_escape(struct cursor *cursor)
{
    if (take(cursor, 'u')) {
        for (int i = 0; i < 4; i++, cursor->at++)
            if (cursor->at == cursor->end || !isxdigit((unsigned char)*cursor->at))
                return false;
        return true;
    }
    if (cursor->at == cursor->end || !*cursor->at || !strchr("\"\\/bfnrt", *cursor->at))
        return false;
    cursor->at++;
    return true;
}

static bool read_string(struct cursor *cursor)
{
    if (!take(cursor, '"'))
        return false;
    while (cursor->at < cursor->end) {
        unsigned char byte = (unsigned char)*cursor->at++;

        if (byte == '"')
            return true;
        if (byte < 0x20 || (byte == '\\' && !read_escape(cursor)))
            return false;
    }
    return false;
}

static bool read_digits(struct cursor *cursor)
{
    const char *start = cursor->at;

    while (cursor->at < cursor->end && isdigit((unsigned char)*cursor->at))
        cursor->at++;
    return cursor->at > start;
}

static bool read_number(struct cursor *cursor)
{
    take(cursor, '-');
    if (!take(cursor, '0') && !read_digits(cursor))
        return false;
    if (take(cursor, '.') && !read_digits(cursor))
        return false;
    if (!take(cursor, 'e') && !take(cursor, 'E'))
        return true;
    if (!take(cursor, '-'))
        take(cursor, '+');
    return read_digits(cursor);
}

static bool read_array(struct cursor *cursor, unsigned depth)
{
    if (!take(cursor, '['))
        return false;
    skip_space(cursor);
    if (take(cursor, ']'))
        return true;
    do {
        if (!read_value(cursor, depth))
            return false;
    } while (take(cursor, ','));
    return take(cursor, ']');
}

/* One member, with the white space around its parts. */
static bool read_member(struct cursor *cursor, unsigned depth, struct json_span *name,
                        struct json_span *value)
{
    const char *start;

    skip_space(cursor);
    start = cursor->at;
    if (!read_string(cursor))
        return false;
    *name = (struct json_span){start, (size_t)(cursor->at - start)};
    skip_space(cursor);
    if (!take(cursor, ':'))
        return false;
    skip_space(cursor);
    start = cursor->at;
    if (!read_value(cursor, depth))
        return false;
    *value = (struct json_span){start, (size_t)(cursor->at - start)};
    while (value->len > 0 && strchr(" \t\r\n", start[value->len - 1]))
        value->len--;
    return true;
}

static bool read_object(struct cursor *cursor, unsigned depth, json_member_visitor *visit,
                        void *arg)
{
    struct json_span name, value;

    if (!take(cursor, '{'))
        return false;
    skip_space(cursor);
    if (take(cursor, '}'))
        return true;
    do {
        if (!read_member(cursor, depth, &name, &value))
            return false;
        if (visit && !visit(arg, name, value))
            return false;
    } while (take(cursor, ','));
    return take(cursor, '}');
}

static bool read_scalar(struct cursor *cursor)
{
    if (cursor->at == cursor->end)
        return false;
    switch (*cursor->at) {
    case '"':
        return read_string(cursor);
    case 't':
        return take_word(cursor, "true");
    case 'f':
        return take_word(cursor, "false");
    case 'n':
        return take_word(cursor, "null");
    default:
        return read_number(cursor);
    }
}

/* One value and the white space around it. */
static bool read_value(struct cursor *cursor, unsigned depth)
{
    bool good;

    skip_space(cursor);
    if (depth >= DEPTH_MAX)
        return false;
    if (cursor->at < cursor->end && *cursor->at == '{')
        good = read_object(cursor, depth + 1, NULL, NULL);
    else if (cursor->at < cursor->end && *cursor->at == '[')
        good = read_array(cursor, depth + 1);
    else
        good = read_scalar(cursor);
    skip_space(cursor);
    return good;
}

bool tks_json_value(const char *text, size_t len, struct json_span *value)
{
    struct cursor cursor = {text, text + len};

    skip_space(&cursor);
    value->start = cursor.at;
    if (!read_value(&cursor, 0) || cursor.at != cursor.end)
        return false;
    value->len = (size_t)(cursor.end - value->start);
    while (value->len > 0 && strchr(" \t\r\n", value->start[value->len - 1]))
        value->len--;
    return true;
}

bool tks_json_members(const char *text, size_t len, json_member_visitor *visit, void *arg)
{
    struct cursor cursor = {text, text + len};

    skip_space(&cursor);
    if (!read_object(&cursor, 1, visit, arg))
        return false;
    skip_space(&cursor);
    return cursor.at == cursor.end;
}

char *tks_json_string(struct json_span string, size_t *len)
{
    json_t *value = json_loadb(string.start, string.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    char *copy = NULL;

    if (json_is_string(value)) {
        *len = json_string_length(value);
        copy = malloc(*len + 1);
        if (copy)
            memcpy(copy, json_string_value(value), *len + 1);
    }
    json_decref(value);
    return copy;
}

/* ---- Documents named $bytes -------------------------------------------------------------- */

/* One character of a member's name as written: itself, or \u0024 for a $. */
static size_t dollar_len(const char *text, const char *end)
{
    if (text < end && *text == '$')
        return 1;
    return end - text >= 6 && memcmp(text, "\\u0024", 6) == 0 ? 6 : 0;
}

/* The number of $ before "bytes"; 0 for any other name. */
static size_t name_dollars(struct json_span name)
{
    size_t len, dollars = 0;
    char *text;

    /* Nearly every name ends here, without a decoder. */
    if (dollar_len(name.start + 1, name.start + name.len) == 0)
        return 0;
    text = tks_json_string(name, &len);
    if (!text)
        return 0;
    dollars = strspn(text, "$");
    if (len - dollars != 5 || memcmp(text + dollars, "bytes", 5) != 0)
        dollars = 0;
    free(text);
    return dollars;
}

static bool count_dollars(void *arg, struct json_span name, struct json_span value)
{
    size_t *dollars = arg, here = name_dollars(name);

    (void)value;
    /* A name that is there twice is one member to whoever parses it: all must agree. */
    if (here == 0 || (*dollars != 0 && *dollars != here)) {
        *dollars = 0;
        return false;
    }
    *dollars = here;
    return true;
}

size_t tks_json_dollars(const char *text, size_t len)
{
    size_t dollars = 0;

    return tks_json_members(text, len, count_dollars, &dollars) ? dollars : 0;
}

struct rewrite {
    char *out;
    const char *done; /* input copied up to here */
    bool add;
};

static void copy_up_to(struct rewrite *rewrite, const char *end)
{
    size_t len = (size_t)(end - rewrite->done);

    memcpy(rewrite->out, rewrite->done, len);
    rewrite->out += len;
    rewrite->done = end;
}

static bool rewrite_name(void *arg, struct json_span name, struct json_span value)
{
    struct rewrite *rewrite = arg;
    const char *first = name.start + 1;

    (void)value;
    copy_up_to(rewrite, first);
    if (rewrite->add)
        *rewrite->out++ = '$';
    else
        rewrite->done += dollar_len(first, name.start + name.len);
    return true;
}

static char *rewrite_document(const char *text, size_t len, bool add, size_t *new_len)
{
    /* Every name takes at least 8 characters, so one more for each fits in twice the length. */
    char *out = malloc(add ? 2 * len + 1 : len + 1);
    struct rewrite rewrite = {.out = out, .done = text, .add = add};

    if (!out)
        return NULL;
    if (tks_json_dollars(text, len) > 0)
        tks_json_members(text, len, rewrite_name, &rewrite);
    copy_up_to(&rewrite, text + len);
    *rewrite.out = '\0';
    *new_len = (size_t)(rewrite.out - out);
    return out;
}

char *tks_json_add_dollar(const char *text, size_t len, size_t *new_len)
{
    return rewrite_document(text, len, true, new_len);
}

char *tks_json_drop_dollar(const char *text, size_t len, size_t *new_len)
{
    return rewrite_document(text, len, false, new_len);
}

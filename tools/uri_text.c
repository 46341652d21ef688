/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include "base/uri.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 32

int uri_parameter(const char *text, const char *name, char value[URI_VALUE_MAX])
{
    char found[NAME_MAX_LEN], content[URI_VALUE_MAX];
    struct tks_uri uri;
    const char *cursor;
    int more, there = 0;

    if (tks_uri_split(text, &uri) != TKS_OK)
        return -1;
    cursor = uri.query;
    while ((more = tks_uri_next(&cursor, found, sizeof(found), content, sizeof(content))) > 0) {
        if (strcmp(found, name) != 0)
            continue;
        strcpy(value, content);
        there = 1;
    }
    return more < 0 ? -1 : there;
}

/* Whether the parameter at @p part has this name; it has it undecoded, or it is another one. */
static bool is_parameter(const char *part, const char *name)
{
    size_t len = strlen(name);

    return strncmp(part, name, len) == 0 && part[len] == '=';
}

static void add_part(char *to, char *separator, const char *part, size_t len)
{
    size_t used = strlen(to);

    to[used++] = *separator;
    memcpy(to + used, part, len);
    to[used + len] = '\0';
    *separator = '&';
}

static void add_value(char *to, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-._~/";
    size_t used = strlen(to);

    for (; *value; value++) {
        if (strchr(plain, *value))
            to[used++] = *value;
        else
            used += (size_t)sprintf(to + used, "%%%02X", (unsigned char)*value);
    }
    to[used] = '\0';
}

char *uri_with(const char *uri, const char *name, const char *value)
{
    size_t start = strcspn(uri, "?");
    const char *part = uri[start] ? uri + start + 1 : "";
    char *made = calloc(1, strlen(uri) + strlen(name) + 3 * strlen(value ? value : "") + 3);
    char separator = '?';

    if (!made)
        return NULL;
    memcpy(made, uri, start);
    while (*part) {
        size_t len = strcspn(part, "&");

        if (len > 0 && !is_parameter(part, name))
            add_part(made, &separator, part, len);
        part += len + (part[len] == '&');
    }
    if (value) {
        add_part(made, &separator, name, strlen(name));
        strcat(made, "=");
        add_value(made, value);
    }
    return made;
}

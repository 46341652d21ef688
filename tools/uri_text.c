/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include "base/uri.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 32
#define MASK "***"

bool uri_has_scheme(const char *uri, const char *scheme)
{
    size_t len = strlen(scheme);

    return strncmp(uri, scheme, len) == 0 && strncmp(uri + len, "://", 3) == 0;
}

bool uri_is_shm(const char *uri)
{
    return uri_has_scheme(uri, "shm");
}

bool is_uri(const char *text)
{
    size_t letters = strcspn(text, ":/");

    return letters > 0 && strncmp(text + letters, "://", 3) == 0;
}

const char *uri_backend(const char *uri, char name[BACKEND_NAME_MAX])
{
    if (uri_has_scheme(uri, "postgresql"))
        uri = "postgres://";
    snprintf(name, BACKEND_NAME_MAX, "%.*s", (int)strcspn(uri, ":"), uri);
    return name;
}

/* ---- What may be printed ----------------------------------------------------------------- */

/* The '@' that ends user and password in "user:password@host/…", NULL: there are none. */
static const char *find_at(const char *rest)
{
    const char *at = rest + strcspn(rest, "@/");

    if (*at == '@')
        return at;
    /* A '/' belongs into no password, but somebody may have typed one. */
    return at == rest ? NULL : memrchr(at, '@', strcspn(at, "?"));
}

static bool contains(const char *text, size_t len, const char *part)
{
    return memmem(text, len, part, strlen(part)) != NULL;
}

/* A password by the parameter's name, or a URI that may hold one (mirror=). */
static bool holds_password(const char *name, size_t name_len, size_t len)
{
    return contains(name, name_len, "password") || contains(name, len, "@") ||
           contains(name, len, "%40");
}

static void add_parameters(char *to, const char *part)
{
    while (*part) {
        size_t len = strcspn(part, "&"), name_len = strcspn(part, "=&");

        if (holds_password(part, name_len, len)) {
            strncat(to, part, name_len < len ? name_len + 1 : 0);
            strcat(to, MASK);
        } else {
            strncat(to, part, len);
        }
        part += len;
        if (*part == '&') {
            strcat(to, "&");
            part++;
        }
    }
}

char *uri_shown(const char *uri)
{
    /* Without a scheme it is a mistake, in which a password may stand all the same. */
    const char *rest = is_uri(uri) ? strstr(uri, "://") + 3 : uri, *at, *colon;
    /* A parameter has at least a byte for its mask. */
    char *shown = calloc(1, (sizeof(MASK) + 1) * (strlen(uri) + 1));
    size_t len;

    if (!shown)
        return NULL;
    at = uri_is_shm(uri) ? NULL : find_at(rest);
    colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
    if (colon) {
        strncat(shown, uri, (size_t)(colon - uri) + 1);
        strcat(shown, MASK);
        uri = at;
    }
    len = strcspn(uri, "?");
    strncat(shown, uri, len + (uri[len] == '?'));
    if (uri[len] == '?')
        add_parameters(shown, uri + len + 1);
    return shown;
}

/* ---- Parameters -------------------------------------------------------------------------- */

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

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
    const char *at = rest + strcspn(rest, "@/"), *last;

    if (*at == '@' || at == rest)
        return *at == '@' ? at : NULL;
    /* A '/' belongs into no password, but somebody may have typed one. */
    last = memrchr(at, '@', strcspn(at, "?"));
    return last;
}

static void add_text(char *to, const char *text, size_t len)
{
    strncat(to, text, len);
}

/* "name=value": a password by its name, or a URI that may hold one (mirror=). */
static bool holds_password(const char *part, size_t len)
{
    const char *equals = memchr(part, '=', len);

    if (!equals)
        return memchr(part, '@', len) != NULL;
    return memmem(part, (size_t)(equals - part), "password", 8) != NULL ||
           memchr(part, '@', len) != NULL || memmem(part, len, "%40", 3) != NULL;
}

static void add_parameters(char *to, const char *part)
{
    while (*part) {
        size_t len = strcspn(part, "&"), kept = len;

        if (holds_password(part, len)) {
            const char *equals = memchr(part, '=', len);
            kept = equals ? (size_t)(equals - part) + 1 : 0;
        }
        add_text(to, part, kept);
        if (kept < len)
            strcat(to, MASK);
        part += len;
        if (*part == '&')
            add_text(to, part++, 1);
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
        add_text(shown, uri, (size_t)(colon - uri) + 1);
        strcat(shown, MASK);
        uri = at;
    }
    len = strcspn(uri, "?");
    add_text(shown, uri, len + (uri[len] == '?'));
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

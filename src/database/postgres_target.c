/* SPDX-License-Identifier: MIT */
#include "database/postgres.h"

#include "base/error.h"
#include "base/uri.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_DEFAULT_MS = 2000, TIMEOUT_MAX_MS = 3600 * 1000 };

/* Where libpq begins to read parameters: a '?' before the '@' belongs to the password. */
static char *find_query(char *text)
{
    char *start = strstr(text, "://") + 3;
    char *at = start + strcspn(start, "@/");
    return strchr(*at == '@' ? at : start, '?');
}

static int take_timeout(const char *parameter, size_t len, int *timeout_ms)
{
    const char *digits = strchr(parameter, '=') + 1;
    char text[16] = "";
    uint64_t number = 0;
    const size_t digits_len = len - (size_t)(digits - parameter);
    if (digits_len < sizeof(text))
        memcpy(text, digits, digits_len);
    if (tks_parse_number(text, 10, TIMEOUT_MAX_MS, &number) || !number)
        return tks_fail(TKS_INVALID, "timeout_ms=%.*s: 1 to %d is possible", (int)digits_len,
                        digits, TIMEOUT_MAX_MS);
    *timeout_ms = (int)number;
    return TKS_OK;
}

/* Take our own parameters out of the URI; libpq would not know them. */
static int take_parameters(struct postgres_target *target)
{
    static const char name[] = "timeout_ms=";
    char *query = find_query(target->uri);
    if (!query)
        return TKS_OK;
    char *to = query + 1;
    for (const char *from = to; *from;) {
        const size_t len = strcspn(from, "&");
        const bool ours = !strncmp(from, name, sizeof(name) - 1);
        const bool more = from[len] == '&';
        if (ours) {
            int status = take_timeout(from, len, &target->timeout_ms);
            if (status)
                return status;
        } else {
            memmove(to, from, len + more);
            to += len + more;
        }
        from += len + more;
    }
    if (to[-1] == '&' || to == query + 1)
        to--; /* the '&' of what follows no more, or the '?' itself */
    *to = 0;
    return TKS_OK;
}

static char *copy_option(const PQconninfoOption *options, const char *name, bool *no_memory)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, name) || !options->val || !*options->val)
            continue;
        char *copy = strdup(options->val);
        *no_memory |= !copy;
        return copy;
    }
    return NULL;
}

static bool has_secret(const char *uri)
{
    return strchr(uri, '@') || strstr(uri, "password=");
}

/*
 * A password with a '/' or '@' as it is would be taken for a host, a port and a database, which
 * messages name. So what reads like that is refused before anything else looks at it.
 */
static int check_user(const char *uri)
{
    const char *start = strstr(uri, "://") + 3;
    const char *end = start + strcspn(start, "?");
    const char *at = start + strcspn(start, "@/");
    const char *rest = *at == '@' ? at + 1 : start;
    if (rest < end && memchr(rest, '@', (size_t)(end - rest)))
        return tks_fail(TKS_INVALID, "not a PostgreSQL URI: a '@' or '/' in a user, password or "
                                     "database is written %%40 or %%2F");
    return TKS_OK;
}

/*
 * What libpq says of a URI that it cannot read quotes parts of it, and which of them is a password
 * is just what could not be read. So of a URI that may hold one, nothing is quoted.
 */
static int bad_uri(const char *uri, const char *message)
{
    const size_t shown = strcspn(message, has_secret(uri) ? "\"\n" : "\n");
    return tks_fail(TKS_INVALID, "not a PostgreSQL URI: %.*s%s", (int)shown, message,
                    message[shown] == '"' ? "…" : "");
}

static int find_secrets(struct postgres_target *target)
{
    char *message = NULL;
    bool no_memory = false;
    PQconninfoOption *options = libpq.PQconninfoParse(target->uri, &message);
    if (!options) {
        int status = message ? bad_uri(target->uri, message)
                             : tks_fail(TKS_NO_SPACE, "no memory for a PostgreSQL URI");
        libpq.PQfreemem(message);
        return status;
    }
    char *port = copy_option(options, "port", &no_memory);
    const bool bad_port = port && port[strspn(port, "0123456789,")];
    free(port);
    if (bad_port) {
        libpq.PQconninfoFree(options);
        return tks_fail(TKS_INVALID, "not a PostgreSQL URI: its port is no number");
    }
    target->password = copy_option(options, "password", &no_memory);
    target->key_password = copy_option(options, "sslpassword", &no_memory);
    libpq.PQconninfoFree(options);
    return no_memory ? tks_fail(TKS_NO_SPACE, "no memory for a PostgreSQL URI") : TKS_OK;
}

int postgres_target_parse(const char *text, struct postgres_target *target)
{
    *target = (struct postgres_target){.uri = strdup(text), .timeout_ms = TIMEOUT_DEFAULT_MS};
    if (!target->uri)
        return tks_fail(TKS_NO_SPACE, "no memory for a PostgreSQL URI");
    int status = check_user(text);
    if (!status)
        status = take_parameters(target);
    if (!status)
        status = find_secrets(target);
    if (status)
        postgres_target_release(target);
    return status;
}

void postgres_target_release(struct postgres_target *target)
{
    free(target->uri);
    free(target->password);
    free(target->key_password);
    *target = (struct postgres_target){.uri = NULL};
}

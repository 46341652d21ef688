/* SPDX-License-Identifier: MIT */
#include "outside.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static PGconn *connection;
static bool paused;

static const char *needed(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL) {
        fprintf(stderr, "%s is not set: run this under with_postgres\n", name);
        exit(77);
    }
    return value;
}

static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* A child may not use its parent's. */
static void own_connection(void)
{
    static pid_t owner;

    if (owner != getpid())
        connection = NULL;
    owner = getpid();
    if (connection == NULL) {
        connection = PQconnectdb(needed("TKS_TEST_POSTGRES"));
        PQsetNoticeProcessor(connection, ignore_notice, NULL);
    }
}

/* Over a new connection when the server was restarted in between. */
static void use_schema(const struct outside *o)
{
    char sql[100];

    snprintf(sql, sizeof(sql), "SET search_path = %s", o->schema);
    for (int attempt = 0; attempt < 2; attempt++) {
        PGresult *result;
        bool usable;

        own_connection();
        result = PQexec(connection, sql);
        usable = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        if (usable)
            return;
        fprintf(stderr, "%s", PQerrorMessage(connection));
        PQfinish(connection);
        connection = NULL;
    }
    api_fail(__FILE__, __LINE__, "the server cannot be reached");
}

__attribute__((format(printf, 2, 0))) static PGresult *
execute(const struct outside *o, const char *format, va_list arguments)
{
    char sql[2048];
    PGresult *result;

    CHECK(vsnprintf(sql, sizeof(sql), format, arguments) < (int)sizeof(sql));
    use_schema(o);
    result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        api_fail(__FILE__, __LINE__, "%s: %s", sql, PQerrorMessage(connection));
    return result;
}

void outside_sql(const struct outside *o, const char *sql, ...)
{
    va_list arguments;

    va_start(arguments, sql);
    PQclear(execute(o, sql, arguments));
    va_end(arguments);
}

const char *outside_ask(const struct outside *o, const char *sql, ...)
{
    static PGresult *result;
    va_list arguments;

    PQclear(result);
    va_start(arguments, sql);
    result = execute(o, sql, arguments);
    va_end(arguments);
    return PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : NULL;
}

void outside_check(const char *file, int line, const char *got, const char *want)
{
    if (got == NULL || strcmp(got, want) != 0)
        api_fail(file, line, "the database says '%s', not '%s'", got != NULL ? got : "(no row)",
                 want);
}

void outside_check_says(const char *file, int line, const char *part)
{
    if (strstr(tks_last_error(), part) == NULL)
        api_fail(file, line, "'%s' is not in '%s'", part, tks_last_error());
    if (strchr(tks_last_error(), '\n') != NULL)
        api_fail(file, line, "more than one line: '%s'", tks_last_error());
}

void outside_uri(const struct outside *o, char uri[API_URI_MAX], const char *user,
                 const char *parameters)
{
    CHECK(snprintf(uri, API_URI_MAX,
                   "postgres://%s@/postgres?host=%s&options=-csearch_path%%3D%s%s", user,
                   needed("TKS_TEST_POSTGRES_FOLDER"), o->schema, parameters) < API_URI_MAX);
}

int outside_setup(void **fixture)
{
    static unsigned counter;
    struct outside *o = calloc(1, sizeof(*o));

    CHECK(o != NULL);
    snprintf(o->schema, sizeof(o->schema), "test_%d_%u", (int)getpid(), ++counter);
    outside_uri(o, o->uri, "postgres", "");
    outside_sql(o, "CREATE SCHEMA %s", o->schema);
    *fixture = o;
    return 0;
}

int outside_teardown(void **fixture)
{
    struct outside *o = *fixture;

    api_end_peers();
    if (paused)
        outside_control("resume"); /* a test failed in between */
    outside_sql(o, "DROP SCHEMA %s CASCADE", o->schema);
    free(o);
    return 0;
}

void outside_control(const char *action)
{
    const char *control = needed("TKS_TEST_POSTGRES_CONTROL");
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        execl(control, control, "--control", action, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    paused = strcmp(action, "pause") == 0;
}

int64_t outside_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void outside_check_bounded(const char *file, int line, int64_t since_ms, int calls, int timeout_ms)
{
    enum { SCHEDULING_MS = 10000 };
    int64_t spent = outside_clock_ms() - since_ms;

    if (spent > (int64_t)calls * timeout_ms + SCHEDULING_MS)
        api_fail(file, line, "%d calls with timeout_ms=%d took %lld ms", calls, timeout_ms,
                 (long long)spent);
}

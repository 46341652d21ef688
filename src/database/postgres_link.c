/* SPDX-License-Identifier: MIT */
#include "database/postgres.h"

#include "base/clock.h"
#include "base/error.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A statement that the server took back (deadlock, serialization, statement forgotten) or that was
 * not sent is tried so often. */
enum { ATTEMPTS = 4 };

/* The oldest server that knows every statement of ours. */
enum { OLDEST_SERVER = 120000 };

/* What became of one statement. */
enum fate {
    FATE_ANSWERED,
    FATE_UNSENT, /* it did not happen */
    FATE_UNKNOWN /* it was sent, and no answer came */
};

/* ---- Sentences ----------------------------------------------------------------------------- */

/* Replace every @p secret in a sentence; the replacement is never longer. */
static void hide(char *text, const char *secret)
{
    const size_t len = secret ? strlen(secret) : 0;
    for (char *found = text; len && (found = strstr(found, secret)); found++) {
        memmove(found + 1, found + len, strlen(found + len) + 1);
        *found = '*';
    }
}

/* The lines of a message in one; those that are indented are guesses of libpq's at the cause. */
static void join_lines(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '\n')
            *to++ = *from;
        else if (from[1] == '\t')
            from += strcspn(from + 1, "\n");
        else if (from[1])
            *to++ = ' ';
    }
    *to = 0;
}

/* What nobody may read. The third is what came from the environment, a service file or a password
 * file. */
static void hide_secrets(const struct postgres_link *link, char *text)
{
    hide(text, link->target->password);
    hide(text, link->target->key_password);
    hide(text, link->connection ? libpq.PQpass(link->connection) : NULL);
}

int postgres_fail(const struct postgres_link *link, int status, const char *format, ...)
{
    const char *name = link->connection ? libpq.PQdb(link->connection) : NULL;
    const char *host = link->connection ? libpq.PQhost(link->connection) : NULL;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    join_lines(text);
    hide_secrets(link, text);
    if (!name)
        return tks_fail(status, "PostgreSQL: %s", text);
    return tks_fail(status, "PostgreSQL database \"%s\"%s%s: %s", name, host && *host ? " at " : "",
                    host ? host : "", text);
}

/* The first row whose code @p sqlstate begins with counts. */
static int status_of_sqlstate(const char *sqlstate)
{
    static const struct {
        const char *code;
        int status;
    } statuses[] = {
        {"53100", TKS_NO_SPACE},  /* disk full */
        {"53200", TKS_NO_SPACE},  /* the server's memory */
        {"54000", TKS_NO_SPACE},  /* a row or an index entry too large */
        {"53300", TKS_BUSY},      /* too many connections */
        {"55P03", TKS_BUSY},      /* lock_timeout */
        {"40001", TKS_BUSY},      /* serialization, again and again */
        {"40P01", TKS_BUSY},      /* deadlock, again and again */
        {"42501", TKS_DENIED},    /* privileges */
        {"25006", TKS_DENIED},    /* read-only: a standby */
        {"28", TKS_DENIED},       /* authentication */
        {"3F000", TKS_DENIED},    /* no schema that this role may create in */
        {"3D000", TKS_NOT_FOUND}, /* no such database */
        {"22003", TKS_RANGE},     /* an addition */
        {"22021", TKS_INVALID},   /* a character that the database's encoding does not have */
        {"22P05", TKS_INVALID},   {"22001", TKS_MISMATCH}, /* a column too short */
        {"23", TKS_MISMATCH},                              /* somebody's constraint */
        {"42", TKS_MISMATCH}, /* a table, column or index that is no more */
        {"XX001", TKS_CORRUPT},   {"XX002", TKS_CORRUPT},
    };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (!strncmp(sqlstate, statuses[i].code, strlen(statuses[i].code)))
            return statuses[i].status;
    return TKS_IO;
}

static const char *sqlstate_of(const PGresult *result)
{
    const char *sqlstate = libpq.PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return sqlstate ? sqlstate : "";
}

/* The server's refusal. Its detail is left out: it may quote values. */
static int refused(const struct postgres_link *link, const PGresult *result)
{
    const char *sqlstate = sqlstate_of(result);
    const char *message = libpq.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const int status = status_of_sqlstate(sqlstate);
    if (status == TKS_RANGE)
        return expected_outcome(status);
    return postgres_fail(link, status, "%s (SQLSTATE %s)",
                         message ? message : libpq.PQresultErrorMessage(result), sqlstate);
}

/* ---- Waiting ------------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static int64_t deadline_of(const struct postgres_link *link)
{
    const int64_t deadline = now_ns() + (int64_t)link->target->timeout_ms * 1000000;
    return link->until_ns && link->until_ns < deadline ? link->until_ns : deadline;
}

/* Wait for the socket; what happened, 0 at the deadline, -1 on failure. */
static int await_socket(const struct postgres_link *link, short events, int64_t deadline)
{
    struct pollfd socket = {.fd = libpq.PQsocket(link->connection), .events = events};
    for (;;) {
        int64_t left = deadline - now_ns();
        int found = poll(&socket, 1, left > 0 ? (int)(left / 1000000) + 1 : 0);
        if (found > 0)
            return socket.revents;
        if (found < 0 && errno != EINTR)
            return -1;
        if (!found && left <= 0)
            return 0;
    }
}

/*
 * A TLS library may hold what has been taken from the socket already, and libpq has no call that
 * says so: over an encrypted connection the socket alone is waited for no longer than this.
 */
enum { SLICE_NS = 10000000 };

static bool is_encrypted(const struct postgres_link *link)
{
    return libpq.PQsslInUse(link->connection) || libpq.PQgssEncInUse(link->connection);
}

/* Whether libpq may read from (and, while it still has to send, write to) the socket before the
 * deadline. */
static bool exchange(const struct postgres_link *link, short events, int64_t deadline)
{
    const int64_t slice = is_encrypted(link) ? now_ns() + SLICE_NS : deadline;
    int found = await_socket(link, events, slice < deadline ? slice : deadline);
    if (!found && slice < deadline)
        found = POLLIN;
    if (found <= 0)
        return false;
    return !(found & ~POLLOUT) || libpq.PQconsumeInput(link->connection);
}

static bool flushed(const struct postgres_link *link, int64_t deadline)
{
    int more;
    while ((more = libpq.PQflush(link->connection)) == 1)
        if (!exchange(link, POLLIN | POLLOUT, deadline))
            return false;
    return !more;
}

static bool answered(const struct postgres_link *link, int64_t deadline)
{
    if (!flushed(link, deadline))
        return false;
    while (libpq.PQisBusy(link->connection))
        if (!exchange(link, POLLIN, deadline))
            return false;
    return true;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = libpq.PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

/*
 * All results of what was sent: the first failure, else the last one. To the very end, because a
 * commit can still fail after its statement has given its rows.
 */
static enum fate collect(const struct postgres_link *link, int64_t deadline, PGresult **result)
{
    PGresult *kept = NULL, *next;
    for (;;) {
        if (!answered(link, deadline))
            break;
        next = libpq.PQgetResult(link->connection);
        if (!next && kept && libpq.PQstatus(link->connection) == CONNECTION_OK) {
            *result = kept;
            return FATE_ANSWERED;
        }
        if (!next)
            break;
        PGresult *dropped = kept && !is_good(kept) ? next : kept;
        kept = dropped == next ? kept : next;
        libpq.PQclear(dropped);
    }
    libpq.PQclear(kept);
    return FATE_UNKNOWN;
}

/* ---- Connecting ---------------------------------------------------------------------------- */

static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

void postgres_hang_up(struct postgres_link *link)
{
    libpq.PQfinish(link->connection);
    link->connection = NULL;
    link->prepared = 0;
    link->free_versions = (struct postgres_range){0, 0};
}

/*
 * libpq has no call for the SQLSTATE of a refused connection, but a verbose message begins with it:
 * "FATAL:  28P01: password …", and ends in a line that is not for users.
 */
static int refused_connection(struct postgres_link *link)
{
    char message[512];
    snprintf(message, sizeof(message), "%s", libpq.PQerrorMessage(link->connection));
    char *location = strstr(message, "\nLOCATION:");
    if (location)
        *location = 0;
    const char *code = strstr(message, ":  ");
    const bool has_code =
        code && strspn(code + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[8] == ':';
    return postgres_fail(link, has_code ? status_of_sqlstate(code + 3) : TKS_IO, "%s", message);
}

static int no_answer(const struct postgres_link *link, const char *consequence)
{
    return postgres_fail(link, TKS_IO, "no answer within %d ms%s", link->target->timeout_ms,
                         consequence);
}

static int shake_hands(struct postgres_link *link, int64_t deadline)
{
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    while (step != PGRES_POLLING_OK) {
        if (step == PGRES_POLLING_FAILED || libpq.PQstatus(link->connection) == CONNECTION_BAD)
            return refused_connection(link);
        short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!await_socket(link, events, deadline))
            return no_answer(link, " while connecting");
        step = libpq.PQconnectPoll(link->connection);
    }
    return TKS_OK;
}

/*
 * What our statements rely on, whatever the role or the database has as its defaults; and the
 * server's patience, which ends before ours. For a lock it is to outlast the second
 * (deadlock_timeout) after which a server ends the autovacuum that is in the way.
 */
static int set_up_session(struct postgres_link *link, int64_t deadline)
{
    const int timeout_ms = link->target->timeout_ms;
    char text[4096];
    PGresult *result = NULL;
    if (libpq.PQserverVersion(link->connection) < OLDEST_SERVER)
        return postgres_fail(link, TKS_UNSUPPORTED, "the server is older than PostgreSQL 12");
    int used = snprintf(text, sizeof(text),
                        "SET default_transaction_isolation = 'read committed';"
                        "SET default_transaction_deferrable = off;"
                        "SET lock_timeout = %d; SET statement_timeout = %d;%s",
                        timeout_ms / 4 * 3 + 1, timeout_ms / 8 * 7 + 1, postgres_table_wake);
    if (used < 0 || (size_t)used >= sizeof(text))
        return postgres_fail(link, TKS_INVALID, "the session's set-up is too long");
    if (libpq.PQsetnonblocking(link->connection, 1) || !libpq.PQsendQuery(link->connection, text) ||
        collect(link, deadline, &result) != FATE_ANSWERED)
        return libpq.PQstatus(link->connection) == CONNECTION_BAD
                   ? refused_connection(link)
                   : no_answer(link, " while connecting");
    int status = is_good(result) ? TKS_OK : refused(link, result);
    libpq.PQclear(result);
    return status;
}

static int open_connection(struct postgres_link *link, int64_t deadline)
{
    const char *const names[] = {"dbname", "client_encoding", "fallback_application_name", NULL};
    const char *const values[] = {link->target->uri, "UTF8", "tickstate", NULL};
    link->connection = libpq.PQconnectStartParams(names, values, 1);
    if (!link->connection)
        return postgres_fail(link, TKS_NO_SPACE, "no memory for a connection");
    libpq.PQsetNoticeProcessor(link->connection, ignore_notice, NULL);
    libpq.PQsetErrorVerbosity(link->connection, PQERRORS_VERBOSE);
    int status = shake_hands(link, deadline);
    return status ? status : set_up_session(link, deadline);
}

static int connect_within(struct postgres_link *link, int64_t deadline)
{
    const int64_t begin = now_ns();
    if (begin < link->pause_until_ns)
        return tks_fail(link->away_status, "%s", link->away);
    int status = open_connection(link, deadline);
    if (!status)
        return TKS_OK;
    postgres_hang_up(link);
    const int64_t end = now_ns();
    link->pause_until_ns = end + (end - begin);
    link->away_status = status;
    snprintf(link->away, sizeof(link->away), "%s", tks_last_error());
    return status;
}

/* An idle connection has nothing to say but that it ends. */
static bool has_hung_up(const struct postgres_link *link)
{
    return libpq.PQstatus(link->connection) == CONNECTION_BAD || await_socket(link, POLLIN, 0) != 0;
}

static int ready(struct postgres_link *link, int64_t deadline)
{
    if (link->connection && has_hung_up(link))
        postgres_hang_up(link);
    return link->connection ? TKS_OK : connect_within(link, deadline);
}

int postgres_connect(struct postgres_link *link)
{
    return ready(link, deadline_of(link));
}

/* ---- Statements ---------------------------------------------------------------------------- */

struct task {
    enum postgres_statement statement;
    const struct postgres_parameters *parameters;
    const char *text; /* instead of the two above */
    enum postgres_effect effect;
    int64_t deadline;
};

void postgres_add_text(struct postgres_parameters *parameters, const char *text, size_t len)
{
    const int i = parameters->count++;
    parameters->values[i] = text;
    parameters->lengths[i] = (int)len;
}

void postgres_add_number(struct postgres_parameters *parameters, int64_t number)
{
    const int i = parameters->count++;
    parameters->numbers[i] = (int64_t)htobe64((uint64_t)number);
    parameters->values[i] = (const char *)&parameters->numbers[i];
    parameters->lengths[i] = sizeof(number);
}

void postgres_add_null(struct postgres_parameters *parameters)
{
    parameters->values[parameters->count++] = NULL;
}

int64_t postgres_number(const PGresult *result, int row, int column)
{
    uint64_t number;
    if (libpq.PQgetisnull(result, row, column) ||
        libpq.PQgetlength(result, row, column) != sizeof(number))
        return 0;
    memcpy(&number, libpq.PQgetvalue(result, row, column), sizeof(number));
    return (int64_t)be64toh(number);
}

static void statement_name(enum postgres_statement statement, char name[16])
{
    snprintf(name, 16, "tks_%d", (int)statement);
}

/* FATE_ANSWERED with NULL: it is prepared; with a result: the refusal. Nothing of the statement
 * itself happens here. */
static enum fate prepare(struct postgres_link *link, const struct task *task, PGresult **result)
{
    const uint32_t bit = UINT32_C(1) << task->statement;
    char name[16];
    if (link->prepared & bit)
        return FATE_ANSWERED;
    statement_name(task->statement, name);
    if (!libpq.PQsendPrepare(link->connection, name, postgres_statements[task->statement], 0,
                             NULL) ||
        collect(link, task->deadline, result) != FATE_ANSWERED)
        return FATE_UNSENT;
    if (!is_good(*result))
        return FATE_ANSWERED;
    libpq.PQclear(*result);
    *result = NULL;
    link->prepared |= bit;
    return FATE_ANSWERED;
}

static int send_prepared(const struct postgres_link *link, const struct task *task)
{
    static const int binary[POSTGRES_PARAMETERS] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const struct postgres_parameters *parameters = task->parameters;
    char name[16];
    statement_name(task->statement, name);
    return libpq.PQsendQueryPrepared(link->connection, name, parameters->count, parameters->values,
                                     parameters->lengths, binary, 1);
}

static enum fate run_once(struct postgres_link *link, const struct task *task, PGresult **result)
{
    *result = NULL;
    if (!task->text) {
        enum fate fate = prepare(link, task, result);
        if (fate != FATE_ANSWERED || *result)
            return fate;
    }
    if (!(task->text ? libpq.PQsendQuery(link->connection, task->text) : send_prepared(link, task)))
        return FATE_UNSENT;
    return collect(link, task->deadline, result);
}

static bool is_late(const struct task *task)
{
    return now_ns() >= task->deadline;
}

/* The connection is of no use any more; compose why while it still knows. */
static int lost(struct postgres_link *link, const struct task *task, enum fate fate)
{
    const char *consequence = fate == FATE_UNKNOWN && task->effect == EFFECT_CHANGE
                                  ? "; whether the change took effect is unknown"
                                  : "";
    const bool broken = libpq.PQstatus(link->connection) == CONNECTION_BAD;
    int status = broken || !is_late(task)
                     ? postgres_fail(link, TKS_IO, "%s%s", libpq.PQerrorMessage(link->connection),
                                     consequence)
                     : no_answer(link, consequence);
    postgres_hang_up(link);
    return status;
}

/*
 * The server's refusal of a statement. *again: nothing has happened and it can be tried once more:
 * a deadlock, a serialization failure, or the server has forgotten what was prepared (somebody's
 * DISCARD ALL).
 */
static int answer_refused(struct postgres_link *link, PGresult *result, bool *again)
{
    const bool forgotten = !strcmp(sqlstate_of(result), "26000");
    *again =
        forgotten || !strcmp(sqlstate_of(result), "40001") || !strcmp(sqlstate_of(result), "40P01");
    int status = refused(link, result);
    libpq.PQclear(result);
    if (forgotten)
        postgres_hang_up(link);
    return status;
}

/* One attempt. *again, when it failed: another one may be made. */
static int attempt(struct postgres_link *link, const struct task *task, PGresult **result,
                   bool *again)
{
    const bool step = task->effect == EFFECT_STEP;
    *again = false;
    if (step && (!link->connection || has_hung_up(link)))
        return postgres_fail(link, TKS_IO, "the connection was lost in the middle of a walk");
    int status = ready(link, task->deadline);
    if (status)
        return status;
    enum fate fate = run_once(link, task, result);
    if (fate != FATE_ANSWERED) {
        *again = !step && (fate == FATE_UNSENT || task->effect == EFFECT_READ);
        return lost(link, task, fate);
    }
    if (is_good(*result))
        return TKS_OK;
    status = answer_refused(link, *result, again);
    *again &= !step;
    return status;
}

static int run(struct postgres_link *link, struct task *task, PGresult **result)
{
    int status = TKS_IO;
    bool again = true;
    task->deadline = deadline_of(link);
    for (int i = 0; again && i < ATTEMPTS; i++) {
        status = attempt(link, task, result, &again);
        again &= status && !is_late(task);
    }
    return status;
}

int postgres_run(struct postgres_link *link, enum postgres_statement statement,
                 const struct postgres_parameters *parameters, enum postgres_effect effect,
                 PGresult **result)
{
    struct task task = {.statement = statement, .parameters = parameters, .effect = effect};
    return run(link, &task, result);
}

int postgres_run_text(struct postgres_link *link, const char *text, enum postgres_effect effect,
                      PGresult **result)
{
    struct task task = {.text = text, .effect = effect};
    PGresult *own;
    int status = run(link, &task, &own);
    if (status)
        return status;
    if (result)
        *result = own;
    else
        libpq.PQclear(own);
    return TKS_OK;
}

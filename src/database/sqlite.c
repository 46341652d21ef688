/* SPDX-License-Identifier: MIT */
/*
 * Opening sqlite:///absolute/path: the file, connections to it, waiting, and errors.
 *
 * The file is made empty with mode 0600 and without being opened: a descriptor of ours that is
 * closed would take away the process's POSIX locks on the file, which SQLite relies on. SQLite
 * gives its -wal and -shm files the same mode.
 */
#include "database/sqlite.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_TIMEOUT_MS 2000u
#define TIMEOUT_MS_MAX 3600000u

/*
 * The commit that finds so many pages in the WAL moves them to the database and waits for the disk.
 * A set is one page, so with SQLite's 1000 one tick in a thousand would take milliseconds, in 16
 * MiB it is one in 4000.
 */
#define WAL_PAGES "4000"

/* ---- Errors -------------------------------------------------------------------------------- */

static int status_of_errno(int errnum)
{
    int status = tks_status_of_errno(errnum);
    /* Only TKS_OPEN_EXISTING asks whether there is something: otherwise a folder is missing. */
    return status == TKS_NOT_FOUND ? TKS_IO : status;
}

static int status_of(sqlite3 *sqlite, int result)
{
    int errnum = sqlite ? sqlite3_system_errno(sqlite) : 0;
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return TKS_BUSY;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
        return TKS_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return TKS_CORRUPT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return TKS_DENIED;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return TKS_MISMATCH;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return errnum ? status_of_errno(errnum) : TKS_IO;
    default:
        return TKS_IO;
    }
}

int tks_sqlite_fail(const struct tks_connection *connection, int result)
{
    sqlite3 *sqlite = connection->sqlite;
    int status = status_of(sqlite, result);
    int errnum = sqlite ? sqlite3_system_errno(sqlite) : 0;
    char reason[96] = "";
    if (errnum && ((result & 0xff) == SQLITE_CANTOPEN || (result & 0xff) == SQLITE_IOERR))
        return tks_fail(status, "%s: %s: %s", connection->database->path, sqlite3_errmsg(sqlite),
                        strerror_r(errnum, reason, sizeof(reason)));
    if (status == TKS_BUSY)
        return tks_fail(status, "%s: others have held it locked for %llu ms",
                        connection->database->path,
                        (unsigned long long)connection->database->timeout_ms);
    return tks_fail(status, "%s: %s", connection->database->path,
                    sqlite ? sqlite3_errmsg(sqlite) : sqlite3_errstr(result));
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/*
 * Others hold the lock that the call needs. A write holds it for some microseconds, so the first
 * looks are quick; whoever still waits after that sleeps a little longer each time, up to a
 * millisecond, where SQLite's own handler begins.
 */
bool tks_sqlite_wait(struct tks_connection *connection, int tries)
{
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (!connection->give_up_ns)
        connection->give_up_ns = now + (int64_t)connection->database->timeout_ms * 1000000;
    if (now >= connection->give_up_ns)
        return false;
    if (tries < 4) {
        sched_yield();
        return true;
    }
    int64_t nap = tries < 20 ? 20000 + 10000 * (int64_t)(tries & 3) : 1000000;
    nanosleep(&(struct timespec){.tv_nsec = nap}, NULL);
    return true;
}

static int wait_for_lock(void *connection, int tries)
{
    return tks_sqlite_wait(connection, tries);
}

/* ---- Statements ---------------------------------------------------------------------------- */

int tks_sqlite_run(struct tks_connection *connection, const char *sql)
{
    int result = sqlite3_exec(connection->sqlite, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? TKS_OK : tks_sqlite_fail(connection, result);
}

int tks_sqlite_prepare(struct tks_connection *connection, const char *sql, sqlite3_stmt **statement)
{
    int result = sqlite3_prepare_v2(connection->sqlite, sql, -1, statement, NULL);
    return result == SQLITE_OK ? TKS_OK : tks_sqlite_fail(connection, result);
}

/* ---- Connections --------------------------------------------------------------------------- */

/* SQLite's own waiting does not cover a change of the journal mode: try until the time is over. */
static int set_wal(struct tks_connection *connection)
{
    sqlite3_stmt *statement;
    for (int tries = 0;; tries++) {
        int status = tks_sqlite_prepare(connection, "PRAGMA journal_mode=WAL", &statement);
        if (status)
            return status;
        int result = sqlite3_step(statement);
        const unsigned char *mode = result == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
        bool is_wal = mode && !strcmp((const char *)mode, "wal");
        int final = sqlite3_finalize(statement);
        if (is_wal)
            return TKS_OK;
        if (final == SQLITE_OK)
            return tks_fail(TKS_UNSUPPORTED,
                            "%s: this file system has no shared memory for WAL mode",
                            connection->database->path);
        if ((final & 0xff) != SQLITE_BUSY || !tks_sqlite_wait(connection, tries))
            return tks_sqlite_fail(connection, final);
    }
}

static int set_up(struct tks_connection *connection)
{
    char pragma[96];
    int result = sqlite3_extended_result_codes(connection->sqlite, 1);
    if (result == SQLITE_OK)
        result = sqlite3_busy_handler(connection->sqlite, wait_for_lock, connection);
    if (result == SQLITE_OK)
        result = tks_sqlite_add_function(connection);
    if (result != SQLITE_OK)
        return tks_sqlite_fail(connection, result);
    if (sqlite3_db_readonly(connection->sqlite, "main") == 1)
        return tks_fail(TKS_DENIED, "%s: no permission to write it", connection->database->path);
    int status = set_wal(connection);
    if (status)
        return status;
    snprintf(pragma, sizeof(pragma), "PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=" WAL_PAGES,
             connection->database->synchronous);
    status = tks_sqlite_run(connection, pragma);
    /* A read, so that the lock and the -shm file of WAL mode are there. */
    if (!status)
        status = tks_sqlite_run(connection, "SELECT count(*) FROM sqlite_schema");
    return status ? status : tks_sqlite_after_open(connection);
}

static void sqlite_disconnect(struct tks_connection *connection)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(connection->statements[i]);
    sqlite3_close(connection->sqlite);
    tks_sqlite_closed(connection->file);
    tks_buffer_release(&connection->text);
    free(connection);
}

static int make_connection(struct tks_database *database, struct tks_connection **made)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    struct tks_connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return tks_fail(TKS_NO_SPACE, "no memory for a connection to %s", database->path);
    connection->database = database;
    int status = tks_sqlite_before_open(connection);
    int result =
        status ? SQLITE_OK : sqlite3_open_v2(database->path, &connection->sqlite, flags, NULL);
    if (result != SQLITE_OK)
        status = tks_sqlite_fail(connection, result);
    if (!status)
        status = set_up(connection);
    if (status) {
        sqlite_disconnect(connection);
        return status;
    }
    *made = connection;
    return TKS_OK;
}

static int sqlite_connect(struct tks_database *database, struct tks_connection **connection)
{
    *connection = __atomic_exchange_n(&database->spare, NULL, __ATOMIC_ACQ_REL);
    return *connection ? TKS_OK : make_connection(database, connection);
}

/* ---- Opening ------------------------------------------------------------------------------- */

static int parse_synchronous(const char *value, char synchronous[8])
{
    static const char *const words[] = {"off", "normal", "full", "extra"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strcmp(value, words[i])) {
            strcpy(synchronous, words[i]);
            return TKS_OK;
        }
    return tks_fail(TKS_INVALID,
                    "URI parameter synchronous=%.60s is not off, normal, full or extra", value);
}

static int parse_timeout(const char *value, uint64_t *timeout_ms)
{
    if (tks_parse_number(value, 10, TIMEOUT_MS_MAX, timeout_ms) || !*timeout_ms)
        return tks_fail(TKS_INVALID, "URI parameter timeout_ms=%.60s is not within 1 to %u", value,
                        TIMEOUT_MS_MAX);
    return TKS_OK;
}

static int parse_parameters(const char *query, struct tks_database *database)
{
    char name[32], value[64];
    for (;;) {
        int more = tks_uri_next(&query, name, sizeof(name), value, sizeof(value));
        if (more <= 0)
            return more;
        int status;
        if (!strcmp(name, "synchronous"))
            status = parse_synchronous(value, database->synchronous);
        else if (!strcmp(name, "timeout_ms"))
            status = parse_timeout(value, &database->timeout_ms);
        else
            status = tks_fail(TKS_INVALID, "unknown URI parameter \"%s\"", name);
        if (status)
            return status;
    }
}

static int parse_uri(const struct tks_uri *uri, struct tks_database *database)
{
    strcpy(database->synchronous, "normal");
    database->timeout_ms = DEFAULT_TIMEOUT_MS;
    size_t len = uri->rest_len;
    if (len < 2 || uri->rest[0] != '/' || uri->rest[len - 1] == '/' ||
        tks_uri_decode(uri->rest, len, database->path, sizeof(database->path)))
        return tks_fail(TKS_INVALID,
                        "\"%.*s\" is not the full path of a file, as in sqlite:///folder/file.db",
                        len > 60 ? 60 : (int)len, uri->rest);
    return parse_parameters(uri->query, database);
}

static int sqlite_check_uri(const struct tks_uri *uri)
{
    struct tks_database parsed;
    return parse_uri(uri, &parsed);
}

static int find_or_make_file(const struct tks_database *database, bool existing)
{
    struct stat file;
    if (!existing && mknod(database->path, S_IFREG | 0600, 0) && errno != EEXIST) {
        int errnum = errno;
        tks_fail_errno(errnum, "%s: it cannot be made", database->path);
        return status_of_errno(errnum);
    }
    if (stat(database->path, &file))
        return tks_fail_errno(errno, "%s", database->path);
    if (!S_ISREG(file.st_mode))
        return tks_fail(TKS_INVALID, "%s is not a file", database->path);
    return TKS_OK;
}

static int open_database(struct tks_database *database, bool existing)
{
    int status = find_or_make_file(database, existing);
    if (!status)
        status = make_connection(database, &database->spare);
    if (status)
        return status;
    status = tks_sqlite_schema(database->spare, existing);
    if (status)
        sqlite_disconnect(database->spare);
    return status;
}

static int sqlite_open(const struct tks_uri *uri, const struct tks_options *options,
                       struct tks_database **opened)
{
    struct tks_database *database = calloc(1, sizeof(*database));
    if (!database)
        return tks_fail(TKS_NO_SPACE, "no memory to open a database");
    int status = parse_uri(uri, database);
    if (!status)
        status = open_database(database, options && options->flags & TKS_OPEN_EXISTING);
    if (status) {
        free(database);
        return status;
    }
    *opened = database;
    return TKS_OK;
}

static void sqlite_close(struct tks_database *database)
{
    if (database->spare)
        sqlite_disconnect(database->spare);
    free(database);
}

const struct tks_driver tks_sqlite_driver = {
    .open = sqlite_open,
    .check_uri = sqlite_check_uri,
    .close = sqlite_close,
    .connect = sqlite_connect,
    .disconnect = sqlite_disconnect,
    .read = tks_sqlite_read,
    .look = tks_sqlite_look,
    .write = tks_sqlite_write,
    .write_if = tks_sqlite_write_if,
    .add = tks_sqlite_add,
    .remove = tks_sqlite_remove,
    .purge = tks_sqlite_purge,
    .claim = tks_sqlite_claim,
    .keys = tks_sqlite_keys,
    .rows = tks_sqlite_rows,
    .plugins = tks_sqlite_plugins,
    .sweep = tks_sqlite_sweep,
    .check = tks_sqlite_check,
    .size = tks_sqlite_size,
};

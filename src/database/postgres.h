/* SPDX-License-Identifier: MIT */
/*
 * PostgreSQL: what the driver's parts share. postgres_target.c: what a URI means; postgres_link.c:
 * one connection, every step of it with a deadline; postgres_table.c: the table and what keeps its
 * versions right; postgres.c: rows.
 *
 * ## When a server goes away
 *
 * A statement that was sent and not answered may have been carried out, now or (its server was only
 * slow) later. Sending a change a second time could undo what somebody else wrote in between, so
 * only reads are repeated; a change whose answer is lost is TKS_IO, "whether it took effect is
 * unknown". It hardly ever comes to that after a restart: before each statement the socket is asked
 * whether the server has hung up (one poll, no waiting), and what was not sent yet goes over a new
 * connection.
 *
 * A failed attempt to connect is followed by a pause as long as the attempt: a refused connection
 * (microseconds) is tried again at the next call, while one that is swallowed (the whole of
 * timeout_ms) lets a caller fail at once for as long as it made it wait.
 *
 * The server is told to give up before we do (lock_timeout, statement_timeout), so that a slow
 * statement has a known outcome: nothing happened.
 */
#ifndef TKS_DATABASE_POSTGRES_H
#define TKS_DATABASE_POSTGRES_H

#include "database/libpq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a URI means. Never changed once it is open, so any thread may read it. */
struct postgres_target {
    char *uri; /* for libpq, without our own parameters */
    int timeout_ms;
    /* What no message may show: the passwords in the URI. NULL: none. */
    char *password, *key_password;
};

/** Parse a URI. TKS_OK, TKS_INVALID, TKS_NO_SPACE. */
int postgres_target_parse(const char *text, struct postgres_target *target);
void postgres_target_release(struct postgres_target *target);

/** Statements that a connection prepares when it first needs them. */
enum postgres_statement {
    STATEMENT_READ,
    STATEMENT_LOOK,
    STATEMENT_WRITE,
    STATEMENT_WRITE_VERSION,
    STATEMENT_INSERT_IF,
    STATEMENT_UPDATE_IF,
    STATEMENT_ADD,
    STATEMENT_REMOVE,
    STATEMENT_PURGE,
    STATEMENT_FREE_VERSIONS,
    STATEMENT_WALK_KEYS,
    STATEMENT_WALK_PLUGIN,
    STATEMENT_WALK_ALL,
    STATEMENT_PLUGINS,
    STATEMENT_SWEEP,
    STATEMENT_SIZE,
    STATEMENTS
};

/** Version numbers, from low to high; low > high: none. */
struct postgres_range {
    int64_t low, high;
};

struct postgres_link {
    const struct postgres_target *target;
    PGconn *connection;                  /* NULL: none now */
    uint32_t prepared;                   /* one bit per enum postgres_statement */
    struct postgres_range free_versions; /* that this connection knows of */
    int64_t pause_until_ns;
    int away_status; /* why there is none, for the pause */
    char away[384];
};

enum { POSTGRES_PARAMETERS = 6 };

/** Parameters of a statement, binary. Texts are not copied. */
struct postgres_parameters {
    int count;
    const char *values[POSTGRES_PARAMETERS];
    int lengths[POSTGRES_PARAMETERS];
    int64_t numbers[POSTGRES_PARAMETERS]; /* in network order */
};

void postgres_add_text(struct postgres_parameters *parameters, const char *text, size_t len);
void postgres_add_number(struct postgres_parameters *parameters, int64_t number);
void postgres_add_null(struct postgres_parameters *parameters);

/** What a statement does, so what may be done when its answer is lost. */
enum postgres_effect {
    EFFECT_READ,   /* it may be sent again */
    EFFECT_CHANGE, /* it may not, and whether it happened is unknown */
    EFFECT_STEP    /* of a walk, which ends with its connection */
};

/**
 * Run one prepared statement, connecting first if need be, within timeout_ms. Results are binary;
 * *result is the caller's to PQclear(). A server's refusal comes back as its status with a
 * sentence; of TKS_RANGE only the status.
 */
int postgres_run(struct postgres_link *link, enum postgres_statement statement,
                 const struct postgres_parameters *parameters, enum postgres_effect effect,
                 PGresult **result);

/** The same with statements as text, several in one transaction; *result (may be NULL): of the
 * last, in text. */
int postgres_run_text(struct postgres_link *link, const char *text, enum postgres_effect effect,
                      PGresult **result);

/** Make sure that there is a connection, within timeout_ms. */
int postgres_connect(struct postgres_link *link);

/** Hang up. The next statement connects anew. */
void postgres_hang_up(struct postgres_link *link);

/** A failure with "PostgreSQL database NAME at HOST: " before it. */
int postgres_fail(const struct postgres_link *link, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/** Fields of binary results. A NULL number is 0. */
int64_t postgres_number(const PGresult *result, int row, int column);

/** The texts of enum postgres_statement. */
extern const char *const postgres_statements[STATEMENTS];

/**
 * Make the table and what belongs to it, as far as it is missing, and see that it is what we and
 * others can share. TKS_OK; TKS_NOT_FOUND (@p existing, and it is not there); TKS_DENIED;
 * TKS_MISMATCH; postgres_run()'s.
 */
int postgres_table_open(struct postgres_link *link, bool existing);

/**
 * Make the counter jump well past @p version if it has not reached it, and remember what it jumped
 * over, in the table and as link->free_versions. TKS_OK also when it has reached it;
 * postgres_run()'s.
 */
int postgres_table_jump(struct postgres_link *link, int64_t version);

/** Run at every connect: it makes the version counter safe from what a restored backup does not
 * know. */
extern const char postgres_table_wake[];

#endif

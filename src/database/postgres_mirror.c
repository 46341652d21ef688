/* SPDX-License-Identifier: MIT */
/*
 * A segment's mirror in PostgreSQL. A batch is three round trips: begin, and lock the row of
 * plugin_state_mirror by counting it; one statement with everything in arrays; commit. The lock
 * makes mirrors of one table wait for each other, and each looks only when it has it whose the
 * table is. A mirror that is stopped in between does not hold it for ever: the server ends a
 * transaction that nobody goes on with (idle_in_transaction_session_timeout) and throws away what
 * it did.
 */
#include "database/postgres_driver.h"

#include "base/buffer.h"
#include "base/error.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much longer than a call may take the server waits for the next one. */
enum { IDLE_MARGIN_MS = 1000 };

/* ---- The table ----------------------------------------------------------------------------- */

static const char inspect[] =
    "SELECT to_regclass('plugin_state_mirror') IS NOT NULL, (SELECT atttypid = 20 AND NOT "
    "attnotnull FROM pg_attribute WHERE attrelid = to_regclass('plugin_state') AND attname = "
    "'mirror_hash' AND NOT attisdropped)";

static const char make[] = POSTGRES_LOCK
    "DO $tickstate$ "
    "DECLARE home text; "
    "BEGIN "
    "SELECT quote_ident(n.nspname) INTO home FROM pg_class c "
    "  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('plugin_state'); "
    "EXECUTE format('CREATE TABLE IF NOT EXISTS %s.plugin_state_mirror (id integer PRIMARY KEY "
    "  CHECK (id = 1), segment text NOT NULL, generation bigint NOT NULL, "
    "  batches bigint NOT NULL DEFAULT 0)', home); "
    "EXECUTE format('ALTER TABLE %s.plugin_state ADD COLUMN IF NOT EXISTS "
    "  mirror_hash bigint DEFAULT NULL', home); "
    "EXECUTE format('CREATE INDEX IF NOT EXISTS plugin_state_mirror_hash ON %s.plugin_state "
    "  (plugin, mirror_hash) WHERE mirror_hash IS NOT NULL', home); "
    "EXECUTE format('CREATE INDEX IF NOT EXISTS plugin_state_mirror_expiry ON %s.plugin_state "
    "  (expires_at) WHERE mirror_hash IS NOT NULL AND expires_at IS NOT NULL', home); "
    "END $tickstate$";

static int complete_table(struct postgres_link *link)
{
    PGresult *found;
    int status = postgres_run_text(link, inspect, EFFECT_READ, &found);
    if (status)
        return status;
    const bool table = *libpq.PQgetvalue(found, 0, 0) == 't';
    const bool column = !libpq.PQgetisnull(found, 0, 1);
    const bool ours = table && column && *libpq.PQgetvalue(found, 0, 1) == 't';
    libpq.PQclear(found);
    if (column && !ours)
        return postgres_fail(link, TKS_MISMATCH,
                             "the table plugin_state has a column mirror_hash of another program");
    return ours ? TKS_OK : postgres_run_text(link, make, EFFECT_READ, NULL);
}

/* ---- Whose it is --------------------------------------------------------------------------- */

/* From the one row of plugin_state_mirror. */
static int check_owner(const struct postgres_link *link, const struct tks_mirror_holder *holder,
                       const PGresult *found, struct tks_mirror_owner *owner)
{
    int status;
    *owner = (struct tks_mirror_owner){.segment = ""};
    if (libpq.PQntuples(found)) {
        strncpy(owner->segment, libpq.PQgetvalue(found, 0, 0), sizeof(owner->segment) - 1);
        owner->generation = strtoll(libpq.PQgetvalue(found, 0, 1), NULL, 10);
        owner->batches = strtoll(libpq.PQgetvalue(found, 0, 2), NULL, 10);
    }
    const char *objection = tks_mirror_objection(holder, owner, &status);
    return objection ? postgres_fail(link, status, "the table %s", objection) : TKS_OK;
}

/* The identities are hexadecimal digits. */
static int claim(struct postgres_link *link, struct tks_mirror_holder *holder, bool take)
{
    char text[1024];
    struct tks_mirror_owner owner;
    PGresult *found;
    const int used = snprintf(text, sizeof(text),
                              "INSERT INTO plugin_state_mirror AS m (id, segment, generation) "
                              "VALUES (1, '%s', %lld) ON CONFLICT (id) DO UPDATE "
                              "SET segment = excluded.segment, generation = excluded.generation "
                              "WHERE CASE WHEN m.segment = excluded.segment "
                              "THEN m.generation <= excluded.generation "
                              "ELSE %s OR m.segment = '%s' OR NOT EXISTS "
                              "(SELECT FROM plugin_state WHERE mirror_hash IS NOT NULL) END;"
                              "SELECT segment, generation, batches FROM plugin_state_mirror",
                              holder->segment, (long long)holder->generation,
                              take ? "true" : "false", *holder->parent ? holder->parent : "-");
    if (used < 0 || (size_t)used >= sizeof(text))
        return postgres_fail(link, TKS_INVALID, "the claim of the mirror is too long");
    /* It may be said twice: the second time the table is ours already. */
    int status = postgres_run_text(link, text, EFFECT_READ, &found);
    if (status)
        return status;
    holder->batches = 0;
    status = check_owner(link, holder, found, &owner);
    libpq.PQclear(found);
    holder->batches = owner.batches;
    return status;
}

int postgres_mirror_claim(struct tks_connection *connection, struct tks_mirror_holder *holder,
                          bool take)
{
    struct postgres_link *link = &connection->link;
    link->until_ns = holder->until_ns;
    int status = complete_table(link);
    if (!status)
        status = claim(link, holder, take);
    link->until_ns = 0;
    return status;
}

/* ---- Transactions -------------------------------------------------------------------------- */

/*
 * Nothing of what the planner believes of arrays whose length it does not know is of use: an index
 * leads to the rows of a range, always.
 */
static int begin(struct postgres_link *link, const struct tks_mirror_holder *holder,
                 int64_t *batches)
{
    struct tks_mirror_owner owner;
    char text[512];
    PGresult *found;
    const int used = snprintf(text, sizeof(text),
                              "BEGIN; SET LOCAL idle_in_transaction_session_timeout = %d;"
                              "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off;"
                              "SET LOCAL enable_mergejoin = off;"
                              "UPDATE plugin_state_mirror SET batches = batches + 1 "
                              "RETURNING segment, generation, batches - 1",
                              link->target->timeout_ms + IDLE_MARGIN_MS);
    if (used < 0 || (size_t)used >= sizeof(text))
        return postgres_fail(link, TKS_INVALID, "the beginning of a batch is too long");
    int status = postgres_run_text(link, text, EFFECT_READ, &found);
    if (status)
        return status;
    status = check_owner(link, holder, found, &owner);
    libpq.PQclear(found);
    *batches = owner.batches + 1;
    return status;
}

/* The end of a transaction that went well so far, or did not. */
static int end(struct postgres_link *link, int status)
{
    if (!status)
        status = postgres_run_text(link, "COMMIT", EFFECT_STEP, NULL);
    else if (link->connection && postgres_run_text(link, "ROLLBACK", EFFECT_STEP, NULL))
        postgres_hang_up(link);
    link->until_ns = 0;
    return status;
}

/* A failure keeps its sentence, whatever comes of the rollback. */
static int end_keeping(struct postgres_link *link, int status)
{
    char sentence[512];
    if (!status)
        return end(link, status);
    snprintf(sentence, sizeof(sentence), "%s", tks_last_error());
    end(link, status);
    return tks_fail(status, "%s", sentence);
}

/* ---- Arrays -------------------------------------------------------------------------------- */

/* In the server's binary form: one dimension, beginning at 1; in network order. */
struct array {
    struct tks_buffer bytes;
    uint32_t type; /* of its elements: the server's number */
    uint32_t count;
    bool failed; /* no memory */
};

enum { TYPE_BIGINT = 20, TYPE_TEXT = 25 };
enum { ARRAY_HEAD = 20 };

static void append(struct array *array, const void *bytes, size_t len)
{
    array->failed |= !tks_buffer_append(&array->bytes, bytes, len);
}

static void append_word(struct array *array, uint32_t word)
{
    const uint32_t big = htobe32(word);
    append(array, &big, sizeof(big));
}

static void add_element(struct array *array, const void *bytes, size_t len)
{
    if (!array->bytes.len)
        append(array, (const char[ARRAY_HEAD]){0}, ARRAY_HEAD);
    array->count++;
    append_word(array, (uint32_t)len);
    append(array, bytes, len);
}

static void add_number(struct array *array, int64_t number)
{
    const uint64_t big = htobe64((uint64_t)number);
    add_element(array, &big, sizeof(big));
}

static void add_null(struct array *array)
{
    add_element(array, NULL, 0);
    if (!array->failed)
        memset(array->bytes.bytes + array->bytes.len - sizeof(uint32_t), 0xff, sizeof(uint32_t));
}

/* Write its head and make it the next parameter. */
static void add_array(struct postgres_parameters *parameters, struct array *array)
{
    const uint32_t words[] = {array->count != 0, 1, array->type, array->count, 1};
    const size_t words_used = array->count ? 5 : 3;
    if (!array->bytes.len)
        append(array, (const char[ARRAY_HEAD]){0}, ARRAY_HEAD);
    if (array->failed)
        return;
    for (size_t i = 0; i < words_used; i++) {
        const uint32_t big = htobe32(words[i]);
        memcpy(array->bytes.bytes + i * sizeof(big), &big, sizeof(big));
    }
    postgres_add_text(parameters, array->bytes.bytes,
                      array->count ? array->bytes.len : words_used * sizeof(uint32_t));
}

/* *number: what it answers, if it does; may be NULL. */
static int run_with_arrays(struct postgres_link *link, enum postgres_statement statement,
                           struct array *arrays, size_t count, int64_t *number)
{
    struct postgres_parameters parameters = {.count = 0};
    PGresult *result;
    for (size_t i = 0; i < count; i++) {
        add_array(&parameters, &arrays[i]);
        if (arrays[i].failed)
            return postgres_fail(link, TKS_NO_SPACE, "no memory for a batch of the mirror");
    }
    int status = postgres_run(link, statement, &parameters, EFFECT_STEP, &result);
    if (status == TKS_RANGE)
        return postgres_fail(link, TKS_IO, "a number out of range");
    if (status)
        return status;
    if (number)
        *number = postgres_number(result, 0, 0);
    libpq.PQclear(result);
    return TKS_OK;
}

static void release_arrays(struct array *arrays, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tks_buffer_release(&arrays[i].bytes);
}

/* ---- Batches ------------------------------------------------------------------------------- */

/* The parameters of STATEMENT_MIRROR, in order. */
enum {
    RANGE_PLUGIN,
    RANGE_FIRST,
    RANGE_LAST,
    ROW_PLUGIN,
    ROW_KEY,
    ROW_VALUE,
    ROW_EXPIRES,
    ROW_VERSION,
    ROW_HASH,
    ARRAYS
};

static void add_range(struct array arrays[ARRAYS], const struct tks_mirror_range *range)
{
    add_element(&arrays[RANGE_PLUGIN], range->plugin, range->plugin_len);
    add_number(&arrays[RANGE_FIRST], range->first);
    add_number(&arrays[RANGE_LAST], range->last);
}

static void add_row(struct array arrays[ARRAYS], const struct tks_mirror_row *row)
{
    add_element(&arrays[ROW_PLUGIN], row->name.plugin, row->name.plugin_len);
    add_element(&arrays[ROW_KEY], row->name.key, row->name.key_len);
    add_element(&arrays[ROW_VALUE], row->row.text, row->row.len);
    if (row->row.expires_at)
        add_number(&arrays[ROW_EXPIRES], row->row.expires_at);
    else
        add_null(&arrays[ROW_EXPIRES]);
    add_number(&arrays[ROW_VERSION], (int64_t)row->row.version);
    add_number(&arrays[ROW_HASH], row->hash);
}

/* Give rows that were written under the version that they had it back. */
static int settle_versions(struct postgres_link *link, const struct tks_mirror_batch *batch)
{
    struct array arrays[] = {{.type = TYPE_TEXT}, {.type = TYPE_TEXT}, {.type = TYPE_BIGINT}};
    const size_t count = sizeof(arrays) / sizeof(arrays[0]);
    for (size_t i = 0; i < batch->row_count; i++) {
        const struct tks_mirror_row *row = &batch->rows[i];
        add_element(&arrays[0], row->name.plugin, row->name.plugin_len);
        add_element(&arrays[1], row->name.key, row->name.key_len);
        add_number(&arrays[2], (int64_t)row->row.version);
    }
    int status = run_with_arrays(link, STATEMENT_MIRROR_VERSIONS, arrays, count, NULL);
    release_arrays(arrays, count);
    return status;
}

static int carry_over(struct postgres_link *link, const struct tks_mirror_batch *batch)
{
    struct array arrays[ARRAYS] = {{.bytes = {NULL, 0, 0}}};
    for (int i = 0; i < ARRAYS; i++)
        arrays[i].type = i == RANGE_PLUGIN || i == ROW_PLUGIN || i == ROW_KEY || i == ROW_VALUE
                             ? TYPE_TEXT
                             : TYPE_BIGINT;
    for (size_t i = 0; i < batch->range_count; i++)
        add_range(arrays, &batch->ranges[i]);
    for (size_t i = 0; i < batch->row_count; i++)
        add_row(arrays, &batch->rows[i]);
    int64_t renewed = 0;
    int status = run_with_arrays(link, STATEMENT_MIRROR, arrays, ARRAYS, &renewed);
    release_arrays(arrays, ARRAYS);
    return status || !renewed ? status : settle_versions(link, batch);
}

static int drop_other_plugins(struct postgres_link *link, const struct tks_mirror_batch *batch)
{
    struct array names = {.type = TYPE_TEXT};
    for (size_t i = 0; i < batch->plugin_count; i++)
        add_element(&names, batch->plugins[i].plugin, batch->plugins[i].plugin_len);
    int status = run_with_arrays(link, STATEMENT_MIRROR_PLUGINS, &names, 1, NULL);
    release_arrays(&names, 1);
    return status;
}

int postgres_mirror_apply(struct tks_connection *connection, struct tks_mirror_holder *holder,
                          const struct tks_mirror_batch *batch)
{
    struct postgres_link *link = &connection->link;
    int64_t batches;
    link->until_ns = holder->until_ns;
    int status = begin(link, holder, &batches);
    if (!status && batch->plugins)
        status = drop_other_plugins(link, batch);
    if (!status)
        status = carry_over(link, batch);
    status = end_keeping(link, status);
    if (!status)
        holder->batches = batches;
    return status;
}

/* ---- Expiry -------------------------------------------------------------------------------- */

int postgres_mirror_expire(struct tks_connection *connection, struct tks_mirror_holder *holder,
                           int64_t now, int64_t *next)
{
    struct postgres_link *link = &connection->link;
    char text[256];
    PGresult *left = NULL;
    int64_t batches;
    snprintf(text, sizeof(text),
             "DELETE FROM plugin_state WHERE mirror_hash IS NOT NULL AND expires_at <= %lld;"
             "SELECT min(expires_at) FROM plugin_state "
             "WHERE mirror_hash IS NOT NULL AND expires_at IS NOT NULL",
             (long long)now);
    link->until_ns = holder->until_ns;
    int status = begin(link, holder, &batches);
    if (!status)
        status = postgres_run_text(link, text, EFFECT_STEP, &left);
    if (!status) {
        *next = libpq.PQgetisnull(left, 0, 0) ? INT64_MAX
                                              : strtoll(libpq.PQgetvalue(left, 0, 0), NULL, 10);
        libpq.PQclear(left);
    }
    status = end_keeping(link, status);
    if (!status)
        holder->batches = batches;
    return status;
}

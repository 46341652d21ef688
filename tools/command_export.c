/* SPDX-License-Identifier: MIT */
/*
 * export: entries of a store as of one instant, or of a checkpoint file; as JSON lines, or as a
 * checkpoint file. Any of the two sources goes with any of the two targets.
 */
#include "cli.h"
#include "checkpoint_file.h"
#include "record_json.h"

#include <unistd.h>

/* Positive, so that it is no status of the library: what is wrong was said already. */
#define STOP 1

struct export
{
    const struct arguments *arguments;
    struct checkpoint_sink *sink; /* NULL: JSON lines */
    uint64_t entries, total;      /* total 0: not known */
    bool progress;
};

/* ---- Targets ----------------------------------------------------------------------------- */

static int write_line(struct export *export, const struct tks_record *record)
{
    const char *error = record_write(stdout, record, RECORD_WITH_EXPIRY);

    if (error) {
        complain(export->arguments, "%s/%s: %s", record->plugin, record->key, error);
        return STOP;
    }
    return ferror(stdout) ? STOP : 0; /* finish_output() says why */
}

static int export_record(void *arg, const struct tks_record *record)
{
    struct export *export = arg;

    if (interrupted()) {
        complain(export->arguments, "interrupted");
        return STOP;
    }
    if (export->progress)
        show_progress(export->arguments, export->entries, export->total);
    export->entries++;
    return export->sink ? checkpoint_sink_add(export->sink, record) : write_line(export, record);
}

static int report_file(const struct export *export)
{
    const char *path = export->arguments->checkpoint_to;
    uint64_t bytes = checkpoint_sink_bytes(export->sink);
    char text[2][GROUPED_MAX];

    wipe_progress();
    if (export->arguments->json)
        return print_json(export->arguments,
                          json_pack("{ss sI sI}", "checkpoint", path, "entries",
                                    (json_int_t) export->entries, "file_bytes", (json_int_t)bytes));
    printf("%s entries written to %s, %s bytes\n", format_grouped(export->entries, text[0]), path,
           format_grouped(bytes, text[1]));
    return CLI_OK;
}

static int finish(struct export *export, uint64_t highest_version, int64_t wall_ms)
{
    int status;

    if (!export->sink)
        return CLI_OK;
    status = checkpoint_sink_commit(export->sink, highest_version, wall_ms);
    if (status == TKS_OK)
        return report_file(export);
    complain_status(export->arguments, status, export->arguments->checkpoint_to);
    return CLI_FAILED;
}

static int open_target(struct export *export)
{
    const struct arguments *arguments = export->arguments;
    int status;

    export->progress = arguments->checkpoint_to || !isatty(STDOUT_FILENO);
    if (!arguments->checkpoint_to)
        return CLI_OK;
    /* Its temporary file must not stay behind. */
    catch_interrupts();
    status = checkpoint_sink_open(arguments->checkpoint_to, arguments->force, &export->sink);
    if (status == TKS_OK)
        return CLI_OK;
    complain_status(arguments, status, arguments->checkpoint_to);
    return CLI_FAILED;
}

/* ---- Sources ----------------------------------------------------------------------------- */

static int export_file(struct export *export)
{
    const struct arguments *arguments = export->arguments;
    struct checkpoint_file file;
    int status = checkpoint_file_load(arguments->checkpoint_from, NULL, &file);

    if (status != TKS_OK) {
        complain(arguments, "%s", tks_last_error());
        checkpoint_file_release(&file);
        return CLI_FAILED;
    }
    checkpoint_file_warn(arguments, &file);
    export->total = arguments->plugin ? 0 : file.info->entries - file.expired;
    status = open_target(export);
    if (status == CLI_OK)
        status = checkpoint_file_each(&file, arguments->plugin, export_record, export);
    if (status < 0)
        complain_status(arguments, status, arguments->checkpoint_to);
    status = status == TKS_OK ? finish(export, file.info->highest_version, file.info->wall_ms)
                              : CLI_FAILED;
    checkpoint_file_release(&file);
    return status;
}

static int export_session(struct export *export, tks_store *store)
{
    const struct arguments *arguments = export->arguments;
    int64_t wall_ms = wall_clock_ms();
    int status = tks_store_export(store, arguments->plugin, export_record, export);

    if (status == TKS_OK)
        return finish(export, store_highest_version(store), wall_ms);
    if (status != STOP)
        complain_status(arguments, status,
                        export->sink ? arguments->checkpoint_to : arguments->store_shown);
    return CLI_FAILED;
}

static int export_store(struct export *export)
{
    struct session session;
    int status = session_open(export->arguments, SESSION_LOOK, &session);

    if (status != CLI_OK)
        return status;
    status = open_target(export);
    if (status == CLI_OK)
        status = export_session(export, session.store);
    session_close(&session);
    return status;
}

int command_export(const struct arguments *arguments)
{
    struct export export = {.arguments = arguments};
    int status;

    if (arguments->force && !arguments->checkpoint_to) {
        complain(arguments, "--force goes with --to-checkpoint; try 'tickstate export --help'");
        return CLI_USAGE;
    }
    status = arguments->checkpoint_from ? export_file(&export) : export_store(&export);
    checkpoint_sink_close(export.sink);
    wipe_progress();
    return status;
}

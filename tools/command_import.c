/* SPDX-License-Identifier: MIT */
/*
 * import reads its input twice, first to check every line and then to store, so that a bad line
 * changes nothing and no more than one line is in memory. What cannot be read twice (a pipe) is
 * copied to an unnamed file first. A checkpoint file, which its magic gives away, is read as a
 * whole and verified instead.
 */
#include "cli.h"
#include "checkpoint_file.h"
#include "copy.h"
#include "record_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct import {
    const struct arguments *arguments;
    const char *name; /* as errors show it */
    FILE *file;
    struct session session;
    uint64_t stored, total;
};

static int complain_file(const struct import *import)
{
    complain(import->arguments, "%s: %s", import->name, strerror(errno));
    return CLI_FAILED;
}

static int spool(struct import *import)
{
    FILE *copy = tmpfile();
    char buffer[65536];
    size_t got;

    if (!copy)
        return complain_file(import);
    while ((got = fread(buffer, 1, sizeof(buffer), import->file)) > 0 && !interrupted())
        if (fwrite(buffer, 1, got, copy) != got)
            break;
    if (ferror(import->file) || fflush(copy) != 0 || ferror(copy) || interrupted()) {
        complain(import->arguments, "%s: cannot be read: %s", import->name,
                 interrupted() ? "interrupted" : strerror(errno));
        fclose(copy);
        return CLI_FAILED;
    }
    fclose(import->file);
    import->file = copy;
    rewind(copy);
    return CLI_OK;
}

static int open_input(struct import *import)
{
    const struct arguments *arguments = import->arguments;
    const char *name = arguments->word_count > 0 ? arguments->words[0] : arguments->from;
    struct stat info;

    if (!name || strcmp(name, "-") == 0) {
        import->name = "standard input";
        import->file = stdin;
    } else {
        import->name = name;
        import->file = fopen(name, "re");
    }
    if (!import->file || fstat(fileno(import->file), &info) != 0)
        return complain_file(import);
    /* A half-read file cannot be read twice from where it stands either. */
    return S_ISREG(info.st_mode) && ftello(import->file) == 0 ? CLI_OK : spool(import);
}

typedef int record_user(struct import *import, const struct tks_record *record, uint64_t line);

static int check_record(struct import *import, const struct tks_record *record, uint64_t line)
{
    (void)record;
    (void)line;
    import->total++;
    return CLI_OK;
}

/* Line 0: there are none. */
static int store_record(struct import *import, const struct tks_record *record, uint64_t line)
{
    int status = session_select_plugin(&import->session, record->plugin);
    char thing[4096], where[32] = "";

    show_progress(import->arguments, import->stored, import->total);
    if (status == TKS_OK)
        status = tks_put_record(import->session.state, record);
    if (status == TKS_OK) {
        import->stored++;
        return CLI_OK;
    }
    if (line > 0)
        snprintf(where, sizeof(where), ":%llu", (unsigned long long)line);
    snprintf(thing, sizeof(thing), "%s%s: %llu of %llu entries were stored before", import->name,
             where, (unsigned long long)import->stored, (unsigned long long)import->total);
    complain_status(import->arguments, status, thing);
    return CLI_FAILED; /* the line was found good: this is no wrong usage */
}

static bool blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

static int use_line(struct import *import, const char *line, size_t len, uint64_t number,
                    record_user *use)
{
    struct record_copy copy;
    const char *error;
    int status;

    if (blank(line) && strlen(line) == len)
        return CLI_OK;
    error = record_read(line, len, &copy);
    if (error)
        complain(import->arguments, "%s:%llu: %s", import->name, (unsigned long long)number, error);
    status = error ? CLI_FAILED : use(import, &copy.record, number);
    record_release(&copy);
    return status;
}

static int complain_interrupted(const struct import *import)
{
    complain(import->arguments, "%s: interrupted, %llu entries were stored", import->name,
             (unsigned long long)import->stored);
    return CLI_FAILED;
}

static int each_line(struct import *import, record_user *use)
{
    uint64_t number = 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int status = CLI_OK;

    while (status == CLI_OK && !interrupted() && (len = getline(&line, &room, import->file)) >= 0)
        status = use_line(import, line, (size_t)len, ++number, use);
    free(line);
    if (status == CLI_OK && interrupted())
        return complain_interrupted(import);
    if (status == CLI_OK && ferror(import->file))
        return complain_file(import);
    return status;
}

static int report(const struct import *import)
{
    char text[GROUPED_MAX];

    wipe_progress();
    if (import->arguments->json)
        return print_json(import->arguments,
                          json_pack("{sI}", "stored", (json_int_t)import->stored));
    printf("%s entries stored\n", format_grouped(import->stored, text));
    return CLI_OK;
}

static int store_entry(void *arg, const struct tks_record *record)
{
    return interrupted() ? complain_interrupted(arg) : store_record(arg, record, 0);
}

static int store_checkpoint(struct import *import, const struct checkpoint_file *file)
{
    int status;

    checkpoint_file_warn(import->arguments, file);
    import->total = file->info->entries;
    status = session_open(import->arguments, SESSION_CREATE, &import->session);
    if (status != CLI_OK)
        return status;
    /* The expired ones too: as in an export they remove what is there under their key. */
    status = checkpoint_file_each_of_all(file, store_entry, import);
    session_close(&import->session);
    return status == CLI_OK ? report(import) : CLI_FAILED;
}

static int load_and_store(struct import *import)
{
    struct checkpoint_file file;
    int status = checkpoint_file_load(import->name, import->file, &file);

    if (status == TKS_OK) {
        status = store_checkpoint(import, &file);
    } else {
        complain(import->arguments, "%s", tks_last_error());
        status = CLI_FAILED;
    }
    checkpoint_file_release(&file);
    return status;
}

static int check_and_store(struct import *import)
{
    int status = each_line(import, check_record);

    if (status == CLI_OK)
        status = session_open(import->arguments, SESSION_CREATE, &import->session);
    if (status != CLI_OK)
        return status;
    rewind(import->file);
    status = each_line(import, store_record);
    session_close(&import->session);
    return status == CLI_OK ? report(import) : status;
}

static int import_store(const struct arguments *arguments)
{
    const struct copy_stores stores = {.from = arguments->from,
                                       .from_shown = arguments->from_shown,
                                       .to = arguments->store_uri,
                                       .to_shown = arguments->store_shown};

    return copy_stores(arguments, &stores);
}

int command_import(const struct arguments *arguments)
{
    struct import import = {.arguments = arguments};
    int status;

    if (arguments->from && is_uri(arguments->from))
        return import_store(arguments);
    catch_interrupts();
    status = open_input(&import);
    if (status == CLI_OK)
        status = checkpoint_file_recognised(import.file) ? load_and_store(&import)
                                                         : check_and_store(&import);
    wipe_progress();
    if (import.file && import.file != stdin)
        fclose(import.file);
    return status;
}

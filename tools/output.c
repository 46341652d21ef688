/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void complain(const struct arguments *arguments, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    int len;

    va_start(list, format);
    len = vasprintf(&text, format, list);
    va_end(list);
    wipe_progress();
    fputs("tickstate: ", stderr);
    if (arguments->command)
        fprintf(stderr, "%s: ", arguments->command->name);
    /* One line whatever a key or a file is called. */
    if (len >= 0)
        write_visible(stderr, text, (size_t)len);
    else
        fputs("out of memory", stderr);
    fputc('\n', stderr);
    free(text);
}

static int exit_status(int status)
{
    switch (status) {
    case TKS_OK:
        return CLI_OK;
    case TKS_NOT_FOUND:
        return CLI_NOT_FOUND;
    case TKS_INVALID: /* the library saw nothing but what the user typed */
        return CLI_USAGE;
    default:
        return CLI_FAILED;
    }
}

int complain_status(const struct arguments *arguments, int status, const char *thing)
{
    const char *why = tks_last_error();

    complain(arguments, "%s: %s", thing, *why ? why : tks_strerror(status));
    return exit_status(status);
}

int complain_memory(const struct arguments *arguments)
{
    complain(arguments, "out of memory");
    return CLI_FAILED;
}

int print_json(const struct arguments *arguments, json_t *value)
{
    if (!value)
        return complain_memory(arguments);
    if (json_dumpf(value, stdout, 0) != 0 && !ferror(stdout)) {
        json_decref(value);
        return complain_memory(arguments);
    }
    fputc('\n', stdout);
    json_decref(value);
    return CLI_OK;
}

bool write_json_string(FILE *file, const char *text, size_t len)
{
    json_t *string = json_stringn(text, len);
    bool written;

    if (!string)
        return false;
    written = json_dumpf(string, file, JSON_ENCODE_ANY) == 0 || ferror(file);
    json_decref(string);
    return written;
}

int finish_output(const struct arguments *arguments, int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    complain(arguments, "standard output: %s", errno ? strerror(errno) : "cannot be written");
    return CLI_FAILED;
}

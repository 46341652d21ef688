/* SPDX-License-Identifier: MIT */
/*
 * A factory's rules from a file, in libconfig's syntax. The file is read here and parsed from
 * memory: libconfig would follow @include directives, relative to wherever the process happens to
 * be. Every failure is one sentence that begins with FILE:LINE.
 */
#include "base/error.h"
#include "factory/factory.h"

#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1 << 20)

/* ---- Reading the file ---------------------------------------------------------------------- */

static int read_open_file(int fd, const char *path, char **text)
{
    struct stat file;
    if (fstat(fd, &file))
        return tks_fail_errno(errno, "%s", path);
    if (!S_ISREG(file.st_mode))
        return tks_fail(TKS_INVALID, "%s: not a regular file", path);
    char *bytes = malloc(FILE_BYTES_MAX + 1);
    if (!bytes)
        return tks_fail(TKS_NO_SPACE, "%s: no memory to read it", path);
    size_t used = 0;
    ssize_t got = 1;
    while (got > 0 && used <= FILE_BYTES_MAX) {
        got = read(fd, bytes + used, FILE_BYTES_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            used += (size_t)got;
    }
    int status = got < 0                 ? tks_fail_errno(errno, "%s", path)
                 : used > FILE_BYTES_MAX ? tks_fail(TKS_INVALID, "%s: larger than 1 MiB", path)
                                         : TKS_OK;
    if (status) {
        free(bytes);
        return status;
    }
    bytes[used] = 0;
    if (strlen(bytes) != used) {
        free(bytes);
        return tks_fail(TKS_INVALID, "%s: has a NUL byte", path);
    }
    *text = bytes;
    return TKS_OK;
}

static int read_file(const char *path, char **text)
{
    /* A FIFO of that name would keep us waiting. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tks_fail_errno(errno, "%s", path);
    int status = read_open_file(fd, path, text);
    close(fd);
    return status;
}

/* As libconfig recognizes them: at the beginning of a line. */
static int refuse_includes(const char *path, const char *text)
{
    unsigned line = 1;
    while (*text) {
        text += strspn(text, " \t");
        if (!strncmp(text, "@include", 8))
            return tks_fail(TKS_INVALID, "%s:%u: @include is not supported", path, line);
        text += strcspn(text, "\n");
        text += *text == '\n';
        line++;
    }
    return TKS_OK;
}

/* ---- What it says -------------------------------------------------------------------------- */

static unsigned line_of(const config_setting_t *setting)
{
    unsigned line = config_setting_source_line(setting);
    return line ? line : 1;
}

static int at_line(const char *path, const config_setting_t *setting, const char *reason,
                   const char *name)
{
    return tks_fail(TKS_INVALID, "%s:%u: %s \"%.100s\"", path, line_of(setting), reason, name);
}

/* The string member of a rule; NULL with a failure. */
static const char *member(const char *path, const config_setting_t *rule, const char *name)
{
    const config_setting_t *setting = config_setting_get_member(rule, name);
    if (!setting)
        (void)at_line(path, rule, "the rule has no", name);
    else if (config_setting_type(setting) != CONFIG_TYPE_STRING)
        (void)at_line(path, setting, "not a string:", name);
    else
        return config_setting_get_string(setting);
    return NULL;
}

static int check_members(const char *path, const config_setting_t *rule)
{
    if (!config_setting_is_group(rule))
        return tks_fail(TKS_INVALID, "%s:%u: a rule is { match = \"…\"; store = \"…\"; }", path,
                        line_of(rule));
    for (int i = 0; i < config_setting_length(rule); i++) {
        const config_setting_t *setting = config_setting_get_elem(rule, (unsigned)i);
        const char *name = config_setting_name(setting);
        if (strcmp(name, "match") && strcmp(name, "store"))
            return at_line(path, setting, "unknown setting", name);
    }
    return TKS_OK;
}

static int add_rule(tks_factory *factory, const char *path, const config_setting_t *rule)
{
    int status = check_members(path, rule);
    if (status)
        return status;
    const char *glob = member(path, rule, "match");
    const char *uri = glob ? member(path, rule, "store") : NULL;
    if (!uri)
        return TKS_INVALID;
    status = tks_factory_add(factory, glob, uri);
    if (!status)
        return TKS_OK;
    char reason[512];
    snprintf(reason, sizeof(reason), "%s", tks_last_error());
    /* It quotes the file, and is to stay one line. */
    for (char *at = reason; *at; at++)
        *at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
    return tks_fail(status, "%s:%u: %s", path, line_of(rule), reason);
}

static int add_rules(tks_factory *factory, const char *path, const config_setting_t *rules)
{
    if (!config_setting_is_list(rules))
        return at_line(path, rules, "not a list of rules in ( ):", "plugins");
    if (!config_setting_length(rules))
        return at_line(path, rules, "no rule in", "plugins");
    for (int i = 0; i < config_setting_length(rules); i++) {
        int status = add_rule(factory, path, config_setting_get_elem(rules, (unsigned)i));
        if (status)
            return status;
    }
    return TKS_OK;
}

static int add_settings(tks_factory *factory, const char *path, const config_t *config)
{
    const config_setting_t *root = config_root_setting(config), *rules = NULL;
    for (int i = 0; i < config_setting_length(root); i++) {
        const config_setting_t *setting = config_setting_get_elem(root, (unsigned)i);
        if (strcmp(config_setting_name(setting), "plugins"))
            return at_line(path, setting, "unknown setting", config_setting_name(setting));
        rules = setting;
    }
    return rules ? add_rules(factory, path, rules)
                 : at_line(path, root, "there is no setting", "plugins");
}

static int parse(tks_factory *factory, const char *path, const char *text)
{
    config_t config;
    int status = refuse_includes(path, text);
    if (status)
        return status;
    config_init(&config);
    if (config_read_string(&config, text))
        status = add_settings(factory, path, &config);
    else
        status = tks_fail(TKS_INVALID, "%s:%d: %s", path, config_error_line(&config),
                          config_error_text(&config));
    config_destroy(&config);
    return status;
}

static int load(tks_factory *factory, const char *path)
{
    char *text = NULL;
    int status = tks_factory_origin(factory, path);
    if (!status)
        status = read_file(path, &text);
    if (status)
        return status;
    status = parse(factory, path, text);
    free(text);
    return status;
}

int tks_factory_open(const char *config_path, tks_factory **factory)
{
    tks_factory *made;
    if (!factory)
        return tks_fail(TKS_INVALID, "factory is NULL");
    *factory = NULL;
    if (!config_path)
        return tks_fail(TKS_INVALID, "config_path is NULL");
    int status = tks_factory_new(&made);
    if (status)
        return status;
    status = load(made, config_path);
    if (status) {
        tks_factory_close(made);
        return status;
    }
    *factory = made;
    return TKS_OK;
}

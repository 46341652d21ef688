/* SPDX-License-Identifier: MIT */
/* check --checkpoint: what a file holds, and whether it is intact. */
#include "checkpoint_file.h"

/* As the temporary files beside it have it. */
#define UUID_TEXT 33

static const char *format_uuid(const uint64_t uuid[2], char text[UUID_TEXT])
{
    snprintf(text, UUID_TEXT, "%016llx%016llx", (unsigned long long)uuid[0],
             (unsigned long long)uuid[1]);
    return text;
}

static json_t *summary_json(const char *name, const struct checkpoint_file *file)
{
    const struct tks_checkpoint_info *info = file->info;
    char uuid[UUID_TEXT];

    return json_pack(
        "{ss sb sI ss sI sI sI sI sI sI sI sI sI sI sI sI sI sb so}", "checkpoint", name, "ok",
        !info->damaged, "format_version", (json_int_t)info->format_version, "segment",
        format_uuid(info->uuid, uuid), "generation", (json_int_t)info->generation, "created_ms",
        (json_int_t)info->created_ms, "cut_ms", (json_int_t)info->wall_ms, "age_ms",
        (json_int_t)(file->now_ms - info->wall_ms), "cuts", (json_int_t)info->cuts, "entries",
        (json_int_t)(info->entries - file->expired), "expired", (json_int_t)file->expired,
        "plugins", (json_int_t)file->plugins, "file_bytes", (json_int_t)info->file_bytes,
        "image_bytes", (json_int_t)info->image_bytes, "live_bytes", (json_int_t)info->live_bytes,
        "torn_bytes", (json_int_t)info->torn_bytes, "highest_version",
        (json_int_t)info->highest_version, "versions_uncertain", info->versions_uncertain,
        "warning", info->damaged ? json_string(info->warning) : json_null());
}

static void print_cut_time(const struct checkpoint_file *file)
{
    char date[DATE_MAX], age[AGE_MAX];
    int64_t ms;

    printf("cut        %s", format_date(file->info->wall_ms, date));
    if (__builtin_sub_overflow(file->now_ms, file->info->wall_ms, &ms))
        putchar('\n');
    else if (ms >= 0)
        printf(", %s ago\n", format_age(ms, age));
    else
        printf(", %s in the future\n", format_age(ms == INT64_MIN ? INT64_MAX : -ms, age));
}

static void print_summary(const char *name, const struct checkpoint_file *file)
{
    const struct tks_checkpoint_info *info = file->info;
    char text[3][GROUPED_MAX], uuid[UUID_TEXT], date[DATE_MAX];

    printf("file       %s\n", name);
    printf("format     %u\n", info->format_version);
    printf("segment    %s, generation %llu\n", format_uuid(info->uuid, uuid),
           (unsigned long long)info->generation);
    printf("created    %s\n", format_date(info->created_ms, date));
    print_cut_time(file);
    printf("cuts       %llu, the full image included\n", (unsigned long long)info->cuts);
    printf("entries    %s, and %s expired\n",
           format_grouped(info->entries - file->expired, text[0]),
           format_grouped(file->expired, text[1]));
    printf("plugins    %llu\n", (unsigned long long)file->plugins);
    printf("bytes      %s, the full image %s, live %s\n", format_grouped(info->file_bytes, text[0]),
           format_grouped(info->image_bytes, text[1]), format_grouped(info->live_bytes, text[2]));
    printf("torn       %s bytes%s\n", format_grouped(info->torn_bytes, text[0]),
           info->torn_bytes && !info->damaged ? ", as a crash leaves them" : "");
    printf("verdict    %s\n", info->damaged ? "damaged" : "ok");
}

static int report(const struct arguments *arguments, const struct checkpoint_file *file)
{
    const char *name = arguments->checkpoint_from;
    int status = CLI_OK;

    if (arguments->json)
        status = print_json(arguments, summary_json(name, file));
    else
        print_summary(name, file);
    if (!file->info->damaged)
        return status;
    complain(arguments, "%s", file->info->warning);
    return CLI_FAILED;
}

/* Nothing of it can be loaded. A script that reads the JSON gets some. */
static int report_unreadable(const struct arguments *arguments, int status)
{
    char why[512];

    snprintf(why, sizeof(why), "%s", tks_last_error());
    if (arguments->json && (status == TKS_CORRUPT || status == TKS_MISMATCH))
        print_json(arguments, json_pack("{ss sb ss}", "checkpoint", arguments->checkpoint_from,
                                        "ok", 0, "warning", why));
    complain(arguments, "%s", why);
    return CLI_FAILED;
}

int check_checkpoint_file(const struct arguments *arguments)
{
    struct checkpoint_file file;
    int status = checkpoint_file_load(arguments->checkpoint_from, NULL, &file);

    status = status == TKS_OK ? report(arguments, &file) : report_unreadable(arguments, status);
    checkpoint_file_release(&file);
    return status;
}

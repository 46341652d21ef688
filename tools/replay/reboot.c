/* SPDX-License-Identifier: MIT */
/*
 * The reboot at the end of a replay whose store has a checkpoint: everything is copied to plain
 * memory, checkpointed, closed, and its segment removed. What opening the store again finds comes
 * from the file alone, and is compared with the copy, record by record.
 */
#include "replay/run.h"

#include <stdlib.h>
#include <string.h>

/* Two exports convert the same deadline to wall-clock time, each rounding, by a clock that is
 * slewed now and then. */
#define EXPIRY_SLACK_MS 5

/* ---- All records of a store -------------------------------------------------------------- */

struct entry {
    struct tks_record record; /* points into its own copy */
    char *bytes;
};

struct entry_list {
    struct entry *entries;
    size_t count, room;
};

static int copy_record(const struct tks_record *record, struct entry *entry)
{
    size_t names = record->plugin_len + record->key_len + 2;
    char *bytes = malloc(names + record->value_len);

    if (!bytes)
        return TKS_NO_SPACE;
    memcpy(bytes, record->plugin, record->plugin_len + 1);
    memcpy(bytes + record->plugin_len + 1, record->key, record->key_len + 1);
    if (record->value_len > 0)
        memcpy(bytes + names, record->value, record->value_len);
    *entry = (struct entry){.record = *record, .bytes = bytes};
    entry->record.plugin = bytes;
    entry->record.key = bytes + record->plugin_len + 1;
    entry->record.value = bytes + names;
    return TKS_OK;
}

static int add_record(void *arg, const struct tks_record *record)
{
    struct entry_list *list = arg;

    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        struct entry *entries = reallocarray(list->entries, room, sizeof(*entries));

        if (!entries)
            return TKS_NO_SPACE;
        list->entries = entries;
        list->room = room;
    }
    if (copy_record(record, &list->entries[list->count]) != TKS_OK)
        return TKS_NO_SPACE;
    list->count++;
    return 0;
}

static int by_names(const void *a, const void *b)
{
    const struct tks_record *left = &((const struct entry *)a)->record;
    const struct tks_record *right = &((const struct entry *)b)->record;
    int order = strcmp(left->plugin, right->plugin);

    return order ? order : strcmp(left->key, right->key);
}

static int read_all(const struct replay *replay, struct entry_list *list)
{
    int status = tks_store_export(replay->store, NULL, add_record, list);

    if (status != TKS_OK)
        return replay_fail_status(replay, status, replay->store_shown);
    if (list->count > 0)
        qsort(list->entries, list->count, sizeof(*list->entries), by_names);
    return CLI_OK;
}

static void release_all(struct entry_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].bytes);
    free(list->entries);
}

/* ---- Comparing --------------------------------------------------------------------------- */

static bool same_expiry(int64_t before, int64_t after)
{
    if (before == 0 || after == 0)
        return before == after;
    return before - after <= EXPIRY_SLACK_MS && after - before <= EXPIRY_SLACK_MS;
}

static bool same_content(const struct tks_record *before, const struct tks_record *after)
{
    return before->type == after->type && before->version == after->version &&
           before->value_len == after->value_len &&
           memcmp(before->value, after->value, before->value_len) == 0 &&
           same_expiry(before->expires_at, after->expires_at);
}

static bool expired_meanwhile(const struct tks_record *record, int64_t now_ms)
{
    return record->expires_at != 0 && record->expires_at <= now_ms + EXPIRY_SLACK_MS;
}

static void compare(const struct entry_list *before, const struct entry_list *after,
                    struct replay_reboot *reboot)
{
    int64_t now_ms = wall_clock_ms();
    size_t i = 0, j = 0;

    reboot->before = before->count;
    reboot->after = after->count;
    while (i < before->count || j < after->count) {
        int order = i == before->count  ? 1
                    : j == after->count ? -1
                                        : by_names(&before->entries[i], &after->entries[j]);

        if (order == 0)
            reboot->changed += !same_content(&before->entries[i].record, &after->entries[j].record);
        else if (order > 0)
            reboot->added++;
        else if (expired_meanwhile(&before->entries[i].record, now_ms))
            reboot->expired++;
        else
            reboot->lost++;
        i += order <= 0;
        j += order >= 0;
    }
}

/* ---- The reboot -------------------------------------------------------------------------- */

static int write_checkpoint(struct replay *replay)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    int64_t begin = monotonic_ns();
    int status = tks_store_checkpoint(replay->store);

    replay->reboot.checkpoint_ns = (uint64_t)(monotonic_ns() - begin);
    if (status == TKS_OK)
        status = tks_store_stats(replay->store, &stats);
    replay->reboot.file_bytes = stats.checkpoint_bytes;
    replay->reboot.cuts = stats.checkpoint_cuts;
    return status == TKS_OK ? CLI_OK : replay_fail_status(replay, status, replay->store_shown);
}

/* Somebody else who uses a store that was named keeps it: no failure of this run. */
static int remove_segment(struct replay *replay)
{
    int status;

    replay_close_store(replay);
    status = tks_store_destroy(replay->store_uri);
    if (status == TKS_BUSY) {
        replay->reboot.in_use = true;
        return CLI_OK;
    }
    return status == TKS_OK ? CLI_OK : replay_fail_status(replay, status, replay->store_shown);
}

static int open_again(struct replay *replay)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    struct tks_check audit = {.size = sizeof(audit)};
    int64_t begin = monotonic_ns();
    int status = tks_store_open(replay->store_uri, NULL, &replay->store);

    replay->reboot.restore_ns = (uint64_t)(monotonic_ns() - begin);
    if (status == TKS_OK)
        status = tks_store_check(replay->store, &audit);
    if (status == TKS_OK)
        status = tks_store_stats(replay->store, &stats);
    replay->reboot.restored = stats.restored_at_ms != 0 && !stats.restored_damaged;
    replay->reboot.leaked_blocks = audit.leaked_blocks;
    return status == TKS_OK ? CLI_OK : replay_fail_status(replay, status, replay->store_shown);
}

static void judge(struct replay *replay)
{
    struct replay_reboot *reboot = &replay->reboot;

    reboot->done = true;
    reboot->right = reboot->restored && reboot->leaked_blocks == 0 && reboot->lost == 0 &&
                    reboot->changed == 0 && reboot->added == 0;
    replay->right = replay->right && reboot->right;
}

static int reboot_with(struct replay *replay, struct entry_list *before, struct entry_list *after)
{
    int status = read_all(replay, before);

    if (status == CLI_OK)
        status = write_checkpoint(replay);
    if (status == CLI_OK)
        status = remove_segment(replay);
    if (status != CLI_OK || replay->reboot.in_use)
        return status;
    status = open_again(replay);
    if (status == CLI_OK)
        status = read_all(replay, after);
    if (status != CLI_OK)
        return status;
    compare(before, after, &replay->reboot);
    judge(replay);
    return CLI_OK;
}

int replay_reboot(struct replay *replay)
{
    struct entry_list before = {.count = 0}, after = {.count = 0};
    char path[URI_VALUE_MAX];
    int status;

    replay->reboot.asked = uri_parameter(replay->store_uri, "checkpoint", path) == 1;
    if (!replay->reboot.asked)
        return CLI_OK;
    status = reboot_with(replay, &before, &after);
    release_all(&before);
    release_all(&after);
    return status;
}

/* SPDX-License-Identifier: MIT */
/* segment/: how a segment is laid out, which ones are refused, and who owns a slot. */
#include "unit.h"

#include "recovery/recover.h"
#include "segment/slot.h"

#include <tickstate/tickstate.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Layout -------------------------------------------------------------------------------- */

static void check_geometry(const struct tks_segment *segment, uint64_t size, uint64_t slots)
{
    const struct geometry *g = &segment->geometry;
    assert_memory_equal(g, &segment->header->geometry, sizeof(*g));
    assert_int_equal(g->size_bytes, size);
    assert_int_equal(g->slots, slots + VISITOR_SLOTS);
    /* In order, without overlap, inside the file. */
    assert_true(g->slots_offset >= sizeof(struct header) && g->slots_offset % CACHE_LINE == 0);
    assert_true(g->slab_table_offset >= g->slots_offset + g->slots * sizeof(struct slot));
    assert_true(g->state_table_offset >= g->slab_table_offset + g->slabs * sizeof(struct slab));
    assert_int_equal(g->state_table_offset % 4096, 0);
    assert_true(g->slabs_offset >= g->state_table_offset + g->slabs * SLAB_STATES * 8);
    assert_int_equal(g->slabs_offset % SLAB_BYTES, 0);
    uint64_t end = g->slabs_offset + g->slabs * SLAB_BYTES;
    assert_true(end <= size);
    /* Alignment may cost what two slabs take, no more. */
    assert_true(size - end < 2 * (SLAB_BYTES + SLAB_STATES * 8 + sizeof(struct slab)) + 4096);
    assert_true(segment->end == segment->base + end);
    assert_int_equal(segment->end_granule * GRANULE_BYTES, end);
}

static void regions_are_in_order_for_every_size_and_number_of_slots(void **unused)
{
    (void)unused;
    const uint64_t slots[] = {8, 9, 100, 1023, 1024, 4096};
    for (uint64_t size = 1u << 20; size <= 1u << 30; size *= 4) {
        for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
            struct tks_segment *segment = NULL;
            uint64_t odd = size + (i & 1 ? 4096 * 3 + 8 : 0);
            int status = unit_try(odd, slots[i], false, &segment);
            /* Only 4096 slots in 1 MiB leave no room. */
            assert_int_equal(status, slots[i] == 4096 && size == 1u << 20 ? TKS_INVALID : TKS_OK);
            if (status)
                continue;
            check_geometry(segment, odd, slots[i]);
            unit_release(segment);
            unit_remove();
        }
    }
}

static void impossible_sizes_and_slots_are_invalid(void **unused)
{
    (void)unused;
    const uint64_t bad[][2] = {{SEGMENT_BYTES_MIN - 1, SLOTS_MIN},
                               {SEGMENT_BYTES_MAX + 1, SLOTS_MIN},
                               {SEGMENT_BYTES_MIN, SLOTS_MIN - 1},
                               {1u << 30, SLOTS_MAX + 1}};
    struct tks_segment *segment;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(unit_try(bad[i][0], bad[i][1], false, &segment), TKS_INVALID);
        assert_non_null(strstr(tks_last_error(), unit_name()));
        assert_int_equal(access(unit_path(), F_OK), -1);
    }
}

static void a_new_header_says_what_the_segment_is(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(64u << 20, 16);
    const struct header *header = segment->header;
    assert_true(header->magic == LAYOUT_MAGIC);
    assert_memory_equal(&header->magic, "tcks", 4);
    assert_int_equal(header->version, LAYOUT_VERSION);
    assert_int_equal(header->byte_order, LAYOUT_BYTE_ORDER);
    assert_true(header->fingerprint != 0);
    assert_true(header->lifecycle == LIFE_LIVE);
    assert_int_equal(header->epoch, 2);
    assert_int_equal(header->era, FIRST_STAMP);
    assert_int_equal(header->snapshot, 0);
    assert_int_equal(header->slot_high_water, 0);
    assert_int_equal(slab_kind(segment->slabs[0].word), SLAB_CLASSED);
    assert_int_equal(slab_class(segment->slabs[0].word), CLASS_RESERVE);
    uint64_t identity[2] = {header->identity[0], header->identity[1]};
    uint64_t version = header->versions.next;
    unit_release(segment);
    unit_remove();
    segment = unit_open(64u << 20, 16);
    assert_memory_not_equal(identity, segment->header->identity, sizeof(identity));
    assert_true(segment->header->versions.next > version);
    unit_release(segment);
    unit_remove();
}

static void a_new_segment_is_private_and_sparse(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(256u << 20, 16);
    struct stat status;
    assert_int_equal(stat(unit_path(), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_size, 256 << 20);
    assert_true(status.st_blocks * 512 < 2 << 20);
    unit_release(segment);
    unit_remove();
}

static void a_segment_is_mapped_once_however_often_it_is_opened(void **unused)
{
    (void)unused;
    struct tks_segment *first = unit_open(1u << 20, 8), *second = unit_open(1u << 22, 99);
    assert_ptr_equal(first, second);
    assert_int_equal(second->size_bytes, 1u << 20);
    unit_release(second);
    assert_int_equal(first->header->version, LAYOUT_VERSION);
    unit_release(first);
    unit_remove();
}

/* ---- Refusals ------------------------------------------------------------------------------ */

static void refused(int expected)
{
    struct tks_segment *segment = NULL;
    assert_int_equal(unit_try(1u << 20, 8, false, &segment), expected);
    assert_null(segment);
    /* A sentence that names the segment. */
    assert_non_null(strstr(tks_last_error(), unit_name()));
    assert_non_null(strchr(tks_last_error(), ' '));
}

static void make_segment(void)
{
    unit_release(unit_open(1u << 20, 8));
}

static void a_missing_segment_is_not_found_when_it_must_exist(void **unused)
{
    (void)unused;
    struct tks_segment *segment;
    assert_int_equal(unit_try(1u << 20, 8, true, &segment), TKS_NOT_FOUND);
    assert_non_null(strstr(tks_last_error(), unit_name()));
    assert_int_equal(access(unit_path(), F_OK), -1);
}

static void a_symbolic_link_is_denied(void **unused)
{
    (void)unused;
    char target[128];
    make_segment();
    snprintf(target, sizeof(target), "%s.target", unit_path());
    assert_int_equal(rename(unit_path(), target), 0);
    assert_int_equal(symlink(target, unit_path()), 0);
    refused(TKS_DENIED);
    unlink(target);
    /* One that leads nowhere must not become a segment elsewhere either. */
    refused(TKS_DENIED);
    assert_int_equal(access(target, F_OK), -1);
    unit_remove();
}

static void a_world_writable_segment_is_denied(void **unused)
{
    (void)unused;
    make_segment();
    assert_int_equal(chmod(unit_path(), 0602), 0);
    refused(TKS_DENIED);
    assert_int_equal(chmod(unit_path(), 0600), 0);
    make_segment();
    unit_remove();
}

static void another_users_segment_is_denied(void **unused)
{
    (void)unused;
    if (geteuid() != 0)
        skip();
    make_segment();
    assert_int_equal(chown(unit_path(), 12345, 12345), 0);
    refused(TKS_DENIED);
    unit_remove();
}

static void a_fifo_or_a_folder_is_refused_without_waiting(void **unused)
{
    (void)unused;
    assert_int_equal(mkfifo(unit_path(), 0600), 0);
    refused(TKS_DENIED);
    unit_remove();
    struct tks_segment *segment;
    assert_int_equal(mkdir(unit_path(), 0700), 0);
    assert_true(unit_try(1u << 20, 8, false, &segment) < 0);
    assert_non_null(strstr(tks_last_error(), unit_name()));
    unit_remove();
}

/* Flip bits of the header's byte at @p offset, and back. */
static void edit(size_t offset)
{
    unsigned char byte;
    int fd = open(unit_path(), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x41;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static void refused_after_edit(size_t offset, size_t bytes, int expected)
{
    for (size_t i = 0; i < bytes; i++) {
        edit(offset + i);
        refused(expected);
        edit(offset + i);
    }
}

static void another_layout_is_a_mismatch(void **unused)
{
    (void)unused;
    make_segment();
    refused_after_edit(offsetof(struct header, version), 4, TKS_MISMATCH);
    refused_after_edit(offsetof(struct header, byte_order), 4, TKS_MISMATCH);
    refused_after_edit(offsetof(struct header, fingerprint), 8, TKS_MISMATCH);
    make_segment();
    unit_remove();
}

static void a_strange_magic_or_geometry_is_corrupt(void **unused)
{
    (void)unused;
    make_segment();
    refused_after_edit(offsetof(struct header, magic), 8, TKS_CORRUPT);
    refused_after_edit(offsetof(struct header, geometry), sizeof(struct geometry), TKS_CORRUPT);
    make_segment();
    unit_remove();
}

static void a_truncated_or_grown_file_is_corrupt(void **unused)
{
    (void)unused;
    const off_t sizes[] = {2 << 20, (1 << 20) - 1, SEGMENT_BYTES_MIN, 4096, 1, 0};
    make_segment();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] == 1 << 20)
            continue;
        assert_int_equal(truncate(unit_path(), sizes[i]), 0);
        refused(TKS_CORRUPT);
    }
    unit_remove();
}

static void only_the_segments_own_name_is_removed(void **unused)
{
    (void)unused;
    struct tks_segment *old = unit_open(1u << 20, 8);
    unit_remove();
    assert_int_equal(tks_segment_unlink(old), TKS_OK);
    struct tks_segment *other = unit_open(1u << 20, 8);
    assert_ptr_not_equal(old, other);
    assert_int_equal(tks_segment_unlink(old), TKS_OK);
    assert_int_equal(access(unit_path(), F_OK), 0);
    assert_int_equal(tks_segment_unlink(other), TKS_OK);
    assert_int_equal(access(unit_path(), F_OK), -1);
    unit_release(old);
    unit_release(other);
}

/* ---- Slots --------------------------------------------------------------------------------- */

struct claim {
    struct tks_segment *segment;
    unsigned index;
    enum slot_use use;
    enum tks_slot_claim result;
};

static void *claim_and_end(void *arg)
{
    struct claim *claim = arg;
    claim->result = tks_slot_claim(claim->segment, claim->index);
    if (claim->result != SLOT_TAKEN)
        store_release(&claim->segment->slots[claim->index].use, claim->use);
    return NULL;
}

static enum tks_slot_claim in_thread(struct claim *claim)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, claim_and_end, claim), 0);
    pthread_join(thread, NULL);
    return claim->result;
}

static void a_slot_has_one_owner_at_a_time(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(1u << 20, 8);
    const struct slot *slot = &segment->slots[3];
    struct claim other = {segment, 3, SLOT_STATE, SLOT_CLEAN};
    assert_false(tks_slot_alive(slot) || tks_slot_dead(slot));
    assert_int_equal(tks_slot_claim(segment, 3), SLOT_CLEAN);
    assert_true(tks_slot_alive(slot));
    assert_false(tks_slot_dead(slot));
    assert_int_equal(tks_slot_claim(segment, 3), SLOT_TAKEN);
    assert_int_equal(in_thread(&other), SLOT_TAKEN);
    tks_slot_release(segment, 3);
    assert_false(tks_slot_alive(slot) || tks_slot_dead(slot));
    assert_int_equal(tks_slot_claim(segment, 3), SLOT_CLEAN);
    tks_slot_release(segment, 3);
    unit_release(segment);
    unit_remove();
}

static void a_thread_that_ends_leaves_its_log_to_an_heir(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(1u << 20, 8);
    const struct slot *slot = &segment->slots[2];
    struct claim claim = {segment, 2, SLOT_STATE, SLOT_TAKEN};
    assert_int_equal(in_thread(&claim), SLOT_CLEAN);
    assert_false(tks_slot_alive(slot));
    assert_true(tks_slot_dead(slot));
    assert_int_equal(tks_slot_claim(segment, 2), SLOT_INHERITED);
    assert_true(tks_slot_alive(slot));
    assert_false(tks_slot_dead(slot));
    /* An heir that ends half-way leaves it to the next. */
    pthread_mutex_unlock(&segment->slots[2].mutex);
    assert_true(tks_slot_dead(slot));
    assert_int_equal(tks_slot_claim(segment, 2), SLOT_INHERITED);
    tks_slot_release(segment, 2);
    assert_int_equal(tks_slot_claim(segment, 2), SLOT_CLEAN);
    tks_slot_release(segment, 2);
    unit_release(segment);
    unit_remove();
}

static void a_thread_that_ends_before_using_its_slot_leaves_it_clean(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(1u << 20, 8);
    struct claim claim = {segment, 1, SLOT_UNUSED, SLOT_TAKEN};
    assert_int_equal(in_thread(&claim), SLOT_CLEAN);
    assert_true(tks_slot_dead(&segment->slots[1]));
    assert_int_equal(tks_slot_claim(segment, 1), SLOT_CLEAN);
    tks_slot_release(segment, 1);
    unit_release(segment);
    unit_remove();
}

static void a_slot_with_a_damaged_mutex_is_left_alone(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(1u << 20, 8);
    segment->slots[0].mutex.__data.__kind ^= 1;
    assert_int_equal(tks_slot_claim(segment, 0), SLOT_TAKEN);
    segment->slots[0].mutex.__data.__kind ^= 1;
    assert_int_equal(tks_slot_claim(segment, 0), SLOT_CLEAN);
    tks_slot_release(segment, 0);
    unit_release(segment);
    unit_remove();
}

static void a_killed_process_is_recovered_once(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(1u << 20, 8);
    struct tks_member *member;
    assert_int_equal(tks_member_join(segment, SLOT_STATE, &member), TKS_OK);
    pid_t child = fork();
    if (!child) {
        struct tks_member *mine;
        if (tks_member_join(segment, SLOT_STATE, &mine))
            _exit(1);
        raise(SIGKILL);
    }
    unit_wait(child, SIGKILL);
    uint64_t recovered = tks_slots_recovered(segment);
    assert_int_equal(tks_recover_dead(member), 1);
    assert_int_equal(tks_recover_dead(member), 0);
    assert_int_equal(tks_slots_recovered(segment), recovered + 1);
    tks_member_leave(member);
    unit_release(segment);
    unit_remove();
}

static void the_last_slots_are_kept_for_visitors(void **unused)
{
    (void)unused;
    struct tks_segment *segment = unit_open(1u << 20, 8);
    struct tks_member *members[8], *visitors[VISITOR_SLOTS], *more;
    for (int i = 0; i < 8; i++)
        assert_int_equal(tks_member_join(segment, SLOT_STATE, &members[i]), TKS_OK);
    assert_int_equal(tks_member_join(segment, SLOT_STATE, &more), TKS_BUSY);
    assert_non_null(strstr(tks_last_error(), unit_name()));
    for (unsigned i = 0; i < VISITOR_SLOTS; i++)
        assert_int_equal(tks_member_join(segment, SLOT_VISITOR, &visitors[i]), TKS_OK);
    assert_int_equal(tks_member_join(segment, SLOT_VISITOR, &more), TKS_BUSY);
    for (int i = 0; i < 8; i++)
        tks_member_leave(members[i]);
    for (unsigned i = 0; i < VISITOR_SLOTS; i++)
        tks_member_leave(visitors[i]);
    unit_release(segment);
    unit_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_are_in_order_for_every_size_and_number_of_slots),
        cmocka_unit_test(impossible_sizes_and_slots_are_invalid),
        cmocka_unit_test(a_new_header_says_what_the_segment_is),
        cmocka_unit_test(a_new_segment_is_private_and_sparse),
        cmocka_unit_test(a_segment_is_mapped_once_however_often_it_is_opened),
        cmocka_unit_test(a_missing_segment_is_not_found_when_it_must_exist),
        cmocka_unit_test(a_symbolic_link_is_denied),
        cmocka_unit_test(a_world_writable_segment_is_denied),
        cmocka_unit_test(another_users_segment_is_denied),
        cmocka_unit_test(a_fifo_or_a_folder_is_refused_without_waiting),
        cmocka_unit_test(another_layout_is_a_mismatch),
        cmocka_unit_test(a_strange_magic_or_geometry_is_corrupt),
        cmocka_unit_test(a_truncated_or_grown_file_is_corrupt),
        cmocka_unit_test(only_the_segments_own_name_is_removed),
        cmocka_unit_test(a_slot_has_one_owner_at_a_time),
        cmocka_unit_test(a_thread_that_ends_leaves_its_log_to_an_heir),
        cmocka_unit_test(a_thread_that_ends_before_using_its_slot_leaves_it_clean),
        cmocka_unit_test(a_slot_with_a_damaged_mutex_is_left_alone),
        cmocka_unit_test(a_killed_process_is_recovered_once),
        cmocka_unit_test(the_last_slots_are_kept_for_visitors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

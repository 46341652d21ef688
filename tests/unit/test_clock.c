/* SPDX-License-Identifier: MIT */
/* base/clock.h with clocks of our own: a thread may lose its core between any two readings. */
#include "unit.h"

#include "base/clock.h"

#define READING_NS 40
#define BOOT_TO_WALL_NS INT64_C(1700000000000000000)
#define HELD_UP_NS INT64_C(20000000)

static struct {
    int64_t boot_ns;
    int readings;
    int held_up_before; /* this reading; or before every one, by more each time */
    bool always;
} clocks;

/* The linker gives the library this for clock_gettime(). */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int64_t ns;
    clocks.boot_ns += READING_NS;
    if (clocks.always)
        clocks.boot_ns += HELD_UP_NS / 100 * (clocks.readings + 1);
    else if (clocks.readings == clocks.held_up_before)
        clocks.boot_ns += HELD_UP_NS;
    clocks.readings++;
    ns = clocks.boot_ns + (clock == CLOCK_REALTIME ? BOOT_TO_WALL_NS : 0);
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}

static int64_t measure(int held_up_before, bool always)
{
    clocks.boot_ns = INT64_C(3600000000000) + 500000;
    clocks.readings = 0;
    clocks.held_up_before = held_up_before;
    clocks.always = always;
    return tks_boot_to_wall_ms();
}

static void a_thread_that_is_held_up_between_two_clocks_reads_them_again(void **unused)
{
    (void)unused;
    const int64_t right = measure(-1, false);
    const int readings = clocks.readings;

    assert_true(llabs(right - BOOT_TO_WALL_NS / 1000000) <= 1);
    for (int i = 0; i < readings; i++)
        assert_true(llabs(measure(i, false) - right) <= 1);
}

static void one_that_always_is_ends_with_the_best_it_had(void **unused)
{
    (void)unused;
    assert_true(llabs(measure(-1, true) - BOOT_TO_WALL_NS / 1000000) <= 1);
    assert_true(clocks.readings < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_is_held_up_between_two_clocks_reads_them_again),
        cmocka_unit_test(one_that_always_is_ends_with_the_best_it_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * No system call in steady state: a child that has warmed up installs a filter that kills the
 * process at any system call but its exit, and works on. (Not strict mode: that also forbids rdtsc,
 * which the clock in the vDSO is made of.)
 */
#include "unit.h"

#include "base/clock.h"

#include <tickstate/tickstate.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 10000
#define KEYS 64

static const char *const names[4] = {"alpha", "beta", "gamma-with-a-longer-name-than-most", "d"};

static void allow_nothing_but_exit(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* seccomp_data.nr is its first word */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
}

static void leave(int status)
{
    syscall(SYS_exit_group, status);
}

struct plugin_at_work {
    tks_store *store;
    tks_state *state;
    char keys[KEYS][48];
    tks_key prepared[KEYS];
    char value[128];
    bool clock;
};

static int strings(struct plugin_at_work *work, unsigned round)
{
    tks_state *state = work->state;
    const char *key = work->keys[round % KEYS];
    char buf[128];
    uint64_t version;
    size_t len;
    int bad = tks_set(state, key, work->value, round % 100);
    bad |= tks_get(state, key, buf, sizeof(buf), &len) || len != round % 100;
    bad |= tks_has(state, key) != 1;
    bad |= tks_get_versioned(state, key, buf, sizeof(buf), &len, &version);
    bad |= tks_set_if(state, key, work->value, 64, version);
    bad |= tks_set_if(state, key, work->value, 64, version) != TKS_CONFLICT;
    bad |= tks_add_i64(state, "counter", 1, NULL);
    bad |= tks_get(state, "never-set", buf, sizeof(buf), &len) != TKS_NOT_FOUND;
    if (round % 3 == 0)
        bad |= tks_delete(state, key) || tks_has(state, key);
    if (work->clock) {
        bad |= tks_set_with_ttl(state, "cooldown", "1", 1, 1 + round % 2 * 100000);
        bad |= tks_has(state, "cooldown") < 0; /* purges it now and then */
    }
    return bad;
}

static int prepared_keys(struct plugin_at_work *work, unsigned round)
{
    tks_state *state = work->state;
    tks_key *key = &work->prepared[round % KEYS];
    char buf[128];
    uint64_t version;
    size_t len;
    int bad = tks_key_prepare(state, work->keys[round % KEYS], key);
    bad |= tks_set_k(state, key, work->value, 32);
    bad |= tks_get_k(state, key, buf, sizeof(buf), &len) || len != 32;
    bad |= tks_has_k(state, key) != 1;
    bad |= tks_get_versioned_k(state, key, buf, sizeof(buf), &len, &version);
    bad |= tks_set_if_k(state, key, work->value, 16, version);
    bad |= tks_delete_k(state, key);
    bad |= tks_add_i64_k(state, key, 5, NULL);
    if (work->clock)
        bad |= tks_set_with_ttl_k(state, key, work->value, 8, 1 + round % 7);
    return bad | tks_delete_k(state, key);
}

static int ticks(struct plugin_at_work *work, unsigned round)
{
    tks_state *state = work->state;
    const void *value;
    char buf[128];
    size_t len;
    int bad = tks_set(state, names[0], work->value, 64);
    bad |= round & 1 ? tks_tick_begin(state) : tks_tick_begin_at(state, 1000 + round);
    bad |= tks_borrow(state, names[0], &value, &len) || len != 64;
    bad |= tks_set(state, names[0], work->value, 40);
    bad |= tks_get(state, names[0], buf, sizeof(buf), &len) || len != 40;
    bad |= memcmp(value, work->value, 64);
    bad |= tks_set_k(state, &work->prepared[round % KEYS], work->value, 24);
    for (int i = 0; i < 3; i++)
        bad |= tks_get_k(state, &work->prepared[round % KEYS], buf, sizeof(buf), &len);
    return bad | tks_tick_end(state);
}

static int work_round(struct plugin_at_work *work, unsigned round)
{
    return strings(work, round) || prepared_keys(work, round) || ticks(work, round);
}

static void child(bool clock)
{
    static struct plugin_at_work work;
    char uri[128];
    work.clock = clock;
    snprintf(uri, sizeof(uri), "shm://%s?size=16M", unit_name());
    if (tks_store_open(uri, NULL, &work.store) || tks_state_open(work.store, "plugin", &work.state))
        _exit(2);
    for (unsigned i = 0; i < KEYS; i++)
        snprintf(work.keys[i], sizeof(work.keys[i]), "%s-%u", names[i % 4], i);
    for (unsigned i = 0; i < KEYS; i++)
        tks_key_prepare(work.state, work.keys[i], &work.prepared[i]);
    /* Until no memory must be committed, and every page is in the page tables. */
    for (unsigned round = 0; round < ROUNDS; round++)
        if (work_round(&work, round))
            _exit(3);
    allow_nothing_but_exit();
    for (unsigned round = 0; round < ROUNDS; round++)
        if (work_round(&work, round))
            leave(4);
    leave(0);
}

static bool clock_needs_no_system_call(void)
{
    pid_t pid = fork();
    if (!pid) {
        allow_nothing_but_exit();
        clock_ns(CLOCK_BOOTTIME);
        leave(0);
    }
    int status;
    waitpid(pid, &status, 0);
    return !status;
}

static void a_warm_plugin_makes_no_system_call(void **unused)
{
    (void)unused;
#ifdef UNIT_SANITIZED
    skip(); /* the sanitizer's run-time makes its own */
#endif
    bool clock = clock_needs_no_system_call();
    unit_name(); /* the parent's, not a name of the child's */
    pid_t pid = fork();
    if (!pid)
        child(clock);
    int status;
    waitpid(pid, &status, 0);
    unit_remove();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void the_filter_kills_at_a_system_call(void **unused)
{
    (void)unused;
#ifdef UNIT_SANITIZED
    skip();
#endif
    /* So that the test above can fail. */
    pid_t pid = fork();
    if (!pid) {
        allow_nothing_but_exit();
        syscall(SYS_getppid);
        leave(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_true(WIFSIGNALED(status));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_filter_kills_at_a_system_call),
        cmocka_unit_test(a_warm_plugin_makes_no_system_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "helper.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum order { ORDER_ATTACH, ORDER_RUN, ORDER_END };

/* Shared by both processes. What is polled in the loops has lines of its own. */
struct helper {
    sem_t orders;
    sem_t answers;
    enum order order;
    char name[64];
    pid_t pid;
    const struct peer *peer;
    const char *keys;
    uint64_t key_count;
    double began;
    _Alignas(64) _Atomic bool stop;
    _Alignas(64) _Atomic uint64_t sets;
};

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

static void *attach(const struct helper *helper)
{
    struct peer_config config = {
        .name = helper->name, .keys = helper->key_count, .attach = true, .prefault = true};

    return helper->peer->open(&config);
}

/* The counter is written every 64th time: it is no part of the work. */
static void overwrite(struct helper *helper, void *handle)
{
    int (*set)(void *, const char *, const void *, size_t) = helper->peer->set;
    unsigned char value[VALUE_LEN];
    uint64_t done = 0;

    value_write(value, 1);
    while (!atomic_load_explicit(&helper->stop, memory_order_relaxed)) {
        uint64_t index = done++ % helper->key_count;
        if (set(handle, helper->keys + index * KEY_STRIDE, value, sizeof(value)) != 0) {
            die("%s: the second process could not overwrite", helper->peer->label);
        }
        if (done % 64 == 0) {
            atomic_store_explicit(&helper->sets, done, memory_order_relaxed);
        }
    }
    atomic_store(&helper->sets, done);
}

/* Only the parent reacts to signals: it removes the files, and its death ends this process. */
static void serve(struct helper *helper)
{
    void *handle = NULL;

    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin_to(options.other_cpu);
    for (;;) {
        wait_for(&helper->orders);
        if (helper->order == ORDER_ATTACH) {
            handle = attach(helper);
        } else if (helper->order == ORDER_RUN) {
            overwrite(helper, handle);
        } else {
            helper->peer->close(handle);
            _exit(0);
        }
        sem_post(&helper->answers);
    }
}

struct helper *helper_fork(const struct peer *peer, const char *keys, uint64_t key_count)
{
    struct helper *helper =
        mmap(NULL, sizeof(*helper), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child;

    if (helper == MAP_FAILED) {
        die("no memory");
    }
    helper->peer = peer;
    helper->keys = keys;
    helper->key_count = key_count;
    sem_init(&helper->orders, 1, 0);
    sem_init(&helper->answers, 1, 0);
    fflush(NULL);
    child = fork();
    if (child < 0) {
        die("fork failed");
    }
    if (child == 0) {
        serve(helper);
    }
    helper->pid = child;
    return helper;
}

/* Waits for the answer and notices a helper that has died meanwhile. */
static void wait_for_answer(struct helper *helper)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    while (sem_timedwait(&helper->answers, &until) != 0) {
        if (waitpid(helper->pid, NULL, WNOHANG) == helper->pid) {
            die("%s: the second process died", helper->peer->label);
        }
        until.tv_sec += 1;
    }
}

void helper_attach(struct helper *helper, const char *name)
{
    snprintf(helper->name, sizeof(helper->name), "%s", name);
    helper->order = ORDER_ATTACH;
    sem_post(&helper->orders);
    wait_for_answer(helper);
}

void helper_run(struct helper *helper)
{
    atomic_store(&helper->stop, false);
    atomic_store(&helper->sets, 0);
    helper->order = ORDER_RUN;
    helper->began = seconds_now();
    sem_post(&helper->orders);
    while (atomic_load(&helper->sets) == 0) {
        if (waitpid(helper->pid, NULL, WNOHANG) == helper->pid) {
            die("%s: the second process died", helper->peer->label);
        }
        usleep(100);
    }
}

double helper_pause(struct helper *helper)
{
    atomic_store(&helper->stop, true);
    wait_for_answer(helper);
    return (double)atomic_load(&helper->sets) / (seconds_now() - helper->began);
}

void helper_end(struct helper *helper)
{
    helper->order = ORDER_END;
    sem_post(&helper->orders);
    waitpid(helper->pid, NULL, 0);
    munmap(helper, sizeof(*helper));
}

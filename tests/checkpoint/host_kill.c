/* SPDX-License-Identifier: MIT */
/*
 * Hosts that are killed or stopped.
 *
 *   crew   processes that write, all of them candidates; every round one is killed at a random
 *          moment, often the host, and another asks for the barrier: the file then holds what was
 *          acknowledged, nothing deleted, never b without a
 *   sweep  a host is killed, or stopped, at every file operation of four cuts (in the tiny build
 *          at the steps of its snapshots, too); another process takes over, the segment grows
 *          and is overwritten several times; the host goes on and ends in order
 */
#include "host_support.h"

#include "store/shm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAKEOVER_SECONDS 20.0 /* far beyond what it takes on an idle machine */

static double crew_seconds = 15, sweep_seconds = 25;
static uint64_t seed = 1;

static pid_t spawn(void)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    die_jump = NULL;
    return 0;
}

static int reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) != pid)
        NEED(errno == EINTR);
    return status;
}

/* ---- Crew ---------------------------------------------------------------------------------- */

struct member {
    pid_t pid;
    int fd; /* a byte asks for a barrier, a status comes back */
};

struct flusher {
    tks_store *store;
    int fd;
};

static void *flush_when_asked(void *arg)
{
    struct flusher *flusher = arg;
    char byte;
    while (recv(flusher->fd, &byte, 1, 0) == 1) {
        int status = tks_store_checkpoint(flusher->store);
        if (status)
            fprintf(stderr, "barrier: %s\n", tks_last_error());
        if (send(flusher->fd, &status, sizeof(status), MSG_NOSIGNAL) != sizeof(status))
            break;
    }
    return NULL;
}

static struct member start_member(const struct place *place, struct crew *crew, unsigned writer)
{
    int ends[2];
    NEED(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    pid_t pid = spawn();
    if (pid) {
        close(ends[1]);
        return (struct member){pid, ends[0]};
    }
    close(ends[0]);
    struct flusher flusher = {open_store(place), ends[1]};
    pthread_t thread;
    NEED(!pthread_create(&thread, NULL, flush_when_asked, &flusher));
    tks_state *state = open_state(flusher.store, "crew");
    crew_write(crew, state, writer);
    tks_state_close(state);
    shutdown(ends[1], SHUT_RDWR);
    pthread_join(thread, NULL);
    tks_store_close(flusher.store);
    _exit(0);
}

/* Seconds that the barrier took. */
static double barrier_by(const struct member *member)
{
    int status = 1;
    struct pollfd wait = {.fd = member->fd, .events = POLLIN};
    const double began = seconds();
    NEED(send(member->fd, "!", 1, MSG_NOSIGNAL) == 1);
    NEED(poll(&wait, 1, (int)(TAKEOVER_SECONDS * 1000)) == 1);
    NEED(recv(member->fd, &status, sizeof(status), 0) == sizeof(status));
    NEED_OK(status);
    return seconds() - began;
}

static unsigned choose_victim(uint64_t *random, tks_store *store, const struct member *members)
{
    pid_t host = host_pid(store);
    for (unsigned w = 0; w < CREW_MAX && dice(random, 2); w++)
        if (members[w].pid == host)
            return w;
    return (unsigned)dice(random, CREW_MAX);
}

struct tally {
    unsigned rounds, hosts;
    double longest;
};

static void kill_one(struct place *place, struct crew *crew, struct member *members,
                     tks_store *store, struct tally *tally, uint64_t *random)
{
    static struct crew_marks marks;
    pause_us((unsigned)dice(random, 15000));
    const unsigned victim = choose_victim(random, store, members);
    const unsigned asks = (victim + 1 + (unsigned)dice(random, CREW_MAX - 1)) % CREW_MAX;
    tally->hosts += host_pid(store) == members[victim].pid;
    const bool half_way = dice(random, 2);
    if (half_way)
        NEED(send(members[asks].fd, "!", 1, MSG_NOSIGNAL) == 1);
    kill(members[victim].pid, SIGKILL);
    reap(members[victim].pid);
    close(members[victim].fd);
    if (half_way) {
        int status = 1;
        NEED(recv(members[asks].fd, &status, sizeof(status), 0) == sizeof(status));
        NEED_OK(status);
    }
    crew_note(crew, &marks);
    double took = barrier_by(&members[asks]);
    tally->longest = took > tally->longest ? took : tally->longest;
    crew_check(crew, &marks, place);
    members[victim] = start_member(place, crew, victim);
    tally->rounds++;
    if (crew->keys < CREW_KEYS && tally->rounds % 8 == 0)
        crew->keys *= 2;
}

static void end_crew(struct place *place, struct crew *crew, struct member *members,
                     tks_store *store)
{
    struct tks_check check = {.size = sizeof(check)};
    static struct crew_marks marks;
    __atomic_store_n(&crew->stop, 1, __ATOMIC_RELAXED);
    for (unsigned w = 0; w < CREW_MAX; w++) {
        NEED(reap(members[w].pid) == 0);
        close(members[w].fd);
    }
    crew_note(crew, &marks);
    crew_check(crew, &marks, place); /* the last to close wrote a last cut */
    need_same(store, place);
    NEED_OK(tks_store_check(store, &check));
    NEED(check.leaked_blocks == 0);
}

static void run_crew(void)
{
    struct place place;
    struct member members[CREW_MAX];
    struct tally tally = {0, 0, 0};
    uint64_t random = seed;
    struct crew *crew = shared_memory(sizeof(*crew));
    crew->seed = seed;
    crew->keys = 16;
    place_make(&place, "size=64M&interval_ms=20");
    char plain[400];
    snprintf(plain, sizeof(plain), "shm://%s?size=64M", place.name);
    for (unsigned w = 0; w < CREW_MAX; w++)
        members[w] = start_member(&place, crew, w);
    tks_store *store; /* not a candidate */
    NEED_OK(tks_store_open(plain, NULL, &store));
    NEED(await_host(store, 0, 0));
    for (double until = seconds() + crew_seconds; seconds() < until;)
        kill_one(&place, crew, members, store, &tally, &random);
    end_crew(&place, crew, members, store);
    uint64_t written = 0;
    for (unsigned w = 0; w < CREW_MAX; w++)
        written += crew->written[w];
    printf("crew: %u killed, %u of them hosts; %llu writes; the longest barrier took %.2f s\n",
           tally.rounds, tally.hosts, (unsigned long long)written, tally.longest);
    tks_store_close(store);
    NEED_OK(tks_store_destroy(place.uri));
    place_drop(&place, true);
}

/* ---- Sweep --------------------------------------------------------------------------------- */

#define SCENE_KEYS 40u
#define SCENE_VALUE 2000u
#define SCENE_CUTS 4u
#define SCENE_ENDED 7 /* exit status: there was no such operation */
#define SCENES_AT_ONCE 60u

/* A full image, an increment, a full image, as it has outgrown it, an increment with deletions. */
static void host_script(const struct place *place, uint64_t stop_at, int signal)
{
    char key[16], value[SCENE_VALUE];
    seam = (struct seam){.stop_at = stop_at, .signal = signal};
    tks_store *store = open_store(place);
    tks_state *state = open_state(store, "scene");
    for (unsigned cut = 1; cut <= SCENE_CUTS; cut++) {
        for (unsigned i = 0; i < SCENE_KEYS; i++) {
            snprintf(key, sizeof(key), "x%u", i);
            memset(value, (int)(cut * 16 + i), sizeof(value));
            if (cut == SCENE_CUTS && i % 2)
                NEED_OK(tks_delete(state, key));
            else
                NEED_OK(tks_set(state, key, value, sizeof(value)));
        }
        NEED_OK(tks_store_checkpoint(store));
    }
    tks_state_close(state);
    tks_store_close(store);
    _exit(0);
}

static uint64_t index_level(tks_state *state)
{
    return load_acquire(&((struct shm_state *)(void *)state)->session.plugin->base);
}

/* Grow, and write more than the segment has room for. */
static void go_on(tks_state *state, unsigned from)
{
    char key[16], value[SCENE_VALUE];
    memset(value, 's', sizeof(value));
    for (unsigned i = 0; i < 600; i++) {
        snprintf(key, sizeof(key), "g%u", from + i);
        NEED_OK(tks_set(state, key, value, 40));
    }
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "o%u", i % 16);
        memcpy(value, &i, sizeof(i));
        NEED_OK(tks_set(state, key, value, sizeof(value)));
    }
}

static void timed_barrier(tks_store *store)
{
    const double began = seconds();
    NEED_OK(tks_store_checkpoint(store));
    NEED(seconds() - began < TAKEOVER_SECONDS);
}

static int run_scene(uint64_t stop_at, int signal)
{
    struct place place;
    int status;
    place_make(&place, "size=8M&interval_ms=86400000");
    pid_t host = spawn();
    if (!host)
        host_script(&place, stop_at, signal);
    while (waitpid(host, &status, WUNTRACED) != host)
        NEED(errno == EINTR);
    bool ended = WIFEXITED(status);
    NEED(!ended || WEXITSTATUS(status) == 0);
    tks_store *store = open_store(&place);
    tks_state *state = open_state(store, "other");
    NEED_OK(tks_set(state, "here", "we", 2));
    if (!ended && signal == SIGSTOP && stop_at % 2) /* with a snapshot that may be held */
        go_on(state, 0);
    timed_barrier(store);
    need_same(store, &place);
    go_on(state, 600);
    NEED(index_level(state) >= 2);
    timed_barrier(store);
    need_same(store, &place);
    if (WIFSTOPPED(status)) {
        NEED(host_pid(store) == getpid());
        kill(host, SIGCONT);
        NEED(reap(host) == 0);
        need_same(store, &place); /* it closed as a candidate, after its barriers */
    }
    NEED_OK(tks_set(state, "here", "we are", 6));
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &place);
    NEED(place_files(&place, ".tmp") == 0);
    tks_state_close(state);
    tks_store_close(store);
    NEED_OK(tks_store_destroy(place.uri));
    place_drop(&place, true);
    return ended ? SCENE_ENDED : 0;
}

/* A failed scene leaves its things behind; they are removed by name. */
static pid_t start_scene(uint64_t stop_at, int signal)
{
    pid_t pid = spawn();
    if (pid)
        return pid;
    _exit(run_scene(stop_at, signal));
}

static void run_sweep(int signal)
{
    pid_t running[SCENES_AT_ONCE] = {0};
    uint64_t at[SCENES_AT_ONCE] = {0}, next = 1, scenes = 0;
    bool more = true;
    const double until = seconds() + sweep_seconds;
    const uint64_t step = 1;
    for (unsigned busy = 0; more || busy;) {
        for (unsigned i = 0; more && i < SCENES_AT_ONCE; i++) {
            if (running[i])
                continue;
            at[i] = next;
            next += step;
            running[i] = start_scene(at[i], signal);
            busy++;
        }
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned i = 0; i < SCENES_AT_ONCE; i++) {
            if (running[i] != pid)
                continue;
            running[i] = 0;
            busy--;
            scenes++;
            if (WIFEXITED(status) && WEXITSTATUS(status) == SCENE_ENDED)
                more = false;
            else if (status)
                die(__FILE__, __LINE__, "a host that gets signal %d at operation %llu", signal,
                    (unsigned long long)at[i]);
        }
        if (seconds() > until)
            more = false;
    }
    printf("sweep with signal %d: %llu scenes, up to operation %llu\n", signal,
           (unsigned long long)scenes, (unsigned long long)next - 1);
}

int main(int argc, char **argv)
{
    const char *only = "";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--crew"))
            crew_seconds = atof(argv[i + 1]);
        else if (!strcmp(argv[i], "--sweep"))
            sweep_seconds = atof(argv[i + 1]);
        else if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--only"))
            only = argv[i + 1];
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!*only || !strcmp(only, "crew"))
        run_crew();
    if (!*only || !strcmp(only, "kill"))
        run_sweep(SIGKILL);
    if (!*only || !strcmp(only, "stop"))
        run_sweep(SIGSTOP);
    return 0;
}

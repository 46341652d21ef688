/* SPDX-License-Identifier: MIT */
/*
 * Hosts that are killed or stopped.
 *
 *   crew   processes that write, all of them candidates; every round one is killed at a random
 *          moment, often the host, and another asks for the barrier: the file then holds what was
 *          acknowledged, nothing deleted, never b without a
 *   pair   a host is stopped at an operation, its successor at one of its own, the first goes on,
 *          takes the lease back and ends, then the other
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

static double crew_seconds = 10, sweep_seconds = 11;
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
#if defined(HOST_SANITIZED) || defined(TKS_TEST_TINY)
#define PAIR_ROUNDS 1
#else
#define PAIR_ROUNDS 3
#endif

struct written {
    unsigned cut, keys;
};

static int take_written(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct written *written = arg;
    const char *value = record->value;
    (void)hash;
    if (record->key[0] != 'x')
        return 0;
    const unsigned i = (unsigned)strtoul(record->key + 1, NULL, 10);
    NEED(record->value_len == SCENE_VALUE && value[0] == (char)(written->cut * 16 + i));
    written->keys++;
    return 0;
}

/* What only we write is in the file, as the barrier said. */
static void need_written(const struct place *place, unsigned cut)
{
    struct written written = {cut, 0};
    struct tks_loaded *loaded = load_file(place);
    tks_loaded_each(loaded, take_written, &written);
    tks_loaded_free(loaded);
    NEED(written.keys == (cut == SCENE_CUTS ? SCENE_KEYS / 2 : SCENE_KEYS));
}

/* A full image, an increment, a full image, as it has outgrown it, an increment with deletions. */
static void host_script(const struct place *place, uint64_t stop_at, uint64_t stop_again,
                        int signal)
{
    char key[16], value[SCENE_VALUE];
    seam = (struct seam){.stop_at = stop_at, .stop_again = stop_again, .signal = signal};
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
        need_written(place, cut);
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

/* True: it was stopped, false: it has ended, in order. */
static bool await_stop(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, WUNTRACED) != pid)
        NEED(errno == EINTR);
    NEED(!WIFEXITED(status) || WEXITSTATUS(status) == 0);
    return WIFSTOPPED(status);
}

/* What it had done before it was stopped again comes after what we write here. */
static void resume_host(pid_t host, tks_store *store, tks_state *state, const struct place *place)
{
    kill(host, SIGCONT);
    if (!await_stop(host))
        return;
    NEED_OK(tks_set(state, "again", "we", 2));
    timed_barrier(store);
    need_same(store, place);
    kill(host, SIGCONT);
    NEED(reap(host) == 0);
}

static int run_scene(uint64_t stop_at, int signal)
{
    struct place place;
    int status;
    uint64_t random = seed + stop_at;
    place_make(&place, "size=8M&interval_ms=86400000");
    pid_t host = spawn();
    if (!host)
        host_script(&place, stop_at, stop_at + 1 + dice(&random, 14), signal);
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
        resume_host(host, store, state, &place);
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

static void successor_script(const struct place *place, uint64_t stop_at)
{
    seam = (struct seam){.stop_at = stop_at, .signal = SIGSTOP};
    tks_store *store = open_store(place);
    tks_state *state = open_state(store, "other");
    for (unsigned i = 0; i < 2; i++) {
        NEED_OK(tks_set_i64(state, "here", i));
        NEED_OK(tks_store_checkpoint(store));
        tks_loaded_free(load_file(place));
    }
    tks_state_close(state);
    tks_store_close(store);
    _exit(0);
}

static int run_pair(uint64_t stop_at)
{
    struct place place;
    char plain[400];
    uint64_t random = seed + stop_at;
    tks_store *store;
    place_make(&place, "size=8M&interval_ms=86400000");
    snprintf(plain, sizeof(plain), "shm://%s?size=8M", place.name);
    pid_t host = spawn();
    if (!host)
        host_script(&place, stop_at, 0, SIGSTOP);
    bool stopped = await_stop(host);
    NEED_OK(tks_store_open(plain, NULL, &store));
    if (stopped) {
        pid_t other = spawn();
        if (!other)
            successor_script(&place, 1 + dice(&random, 30));
        bool other_stopped = await_stop(other);
        kill(host, SIGCONT);
        NEED(reap(host) == 0);
        tks_loaded_free(load_file(&place)); /* the other may still hold the lease */
        if (other_stopped) {
            kill(other, SIGCONT);
            NEED(reap(other) == 0);
        }
        need_same(store, &place);
    }
    tks_store_close(store);
    NEED_OK(tks_store_destroy(place.uri));
    place_drop(&place, true);
    return stopped ? 0 : SCENE_ENDED;
}

/* A failed scene leaves its things behind; they are removed by name. */
static pid_t start_scene(uint64_t stop_at, int signal)
{
    pid_t pid = spawn();
    if (pid)
        return pid;
    _exit(signal ? run_scene(stop_at, signal) : run_pair(stop_at));
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
    if (!*only || !strcmp(only, "pair"))
        for (int i = 0; i < PAIR_ROUNDS; i++, seed++)
            run_sweep(0);
    return 0;
}

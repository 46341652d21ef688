/* SPDX-License-Identifier: MIT */
/*
 * Host A is stopped at every operation (and at every question whether it still is the host), host B
 * takes over and is stopped in turn at every operation of its own, A runs to its end, then B does.
 * At every stop PATH loads a state that existed, none older than what was acknowledged, and never
 * one of A after one of B.
 *
 * Two threads that take turns: only one runs at any time.
 */
#include "disk.h"
#include "support.h"

#include <pthread.h>

/* Of B's stops every so many, beginning elsewhere for each stop of A. */
#if defined(SUPPORT_SANITIZED)
#define STEP 5
#elif defined(TKS_TEST_TINY)
#define STEP 3
#else
#define STEP 1
#endif

struct host {
    struct scene *scene;
    struct host *other;
    uint64_t generation;
    uint64_t points, pause_at;   /* 0: never */
    bool marks[WORLD_ENTRIES];   /* changed since the last cut was begun */
    bool claimed[WORLD_ENTRIES]; /* of these, what the cut has yet to write */
    bool started, ended, successor;
    pthread_t thread;
};

struct scene {
    struct disk *disk;
    struct world world;
    uint64_t generation; /* the segment's */
    uint64_t acknowledged, loaded_generation;
    struct host hosts[2];
    struct host *running;
    pthread_mutex_t lock;
    pthread_cond_t turn;
};

/* ---- Taking turns -------------------------------------------------------------------------- */

static void check_file(struct scene *scene)
{
    struct tks_checkpoint_info info = {.generation = 0};
    void (*point)(void *) = scene->disk->point;
    scene->disk->point = NULL;
    uint64_t stamp = world_load(&scene->world, &scene->disk->ops, WORLD_PATH, &info);
    scene->disk->point = point;
    if (stamp < scene->acknowledged || info.generation < scene->loaded_generation || info.damaged)
        fail_msg("A stopped at %llu, B at %llu: cut %llu of generation %llu is loaded, after cut "
                 "%llu and generation %llu; %s",
                 (unsigned long long)scene->hosts[0].pause_at,
                 (unsigned long long)scene->hosts[1].pause_at, (unsigned long long)stamp,
                 (unsigned long long)info.generation, (unsigned long long)scene->acknowledged,
                 (unsigned long long)scene->loaded_generation, info.warning);
    scene->loaded_generation = info.generation;
}

static void *run_host(void *arg);

static void wait_turn(struct host *host)
{
    while (host->scene->running != host)
        pthread_cond_wait(&host->scene->turn, &host->scene->lock);
}

/* Hand over to a host that has not ended. The lock is held. */
static void hand_over(struct host *to)
{
    struct scene *scene = to->scene;
    scene->running = to;
    if (!to->started) {
        to->started = true;
        assert_int_equal(pthread_create(&to->thread, NULL, run_host, to), 0);
    }
    pthread_cond_broadcast(&scene->turn);
}

static void point(void *arg)
{
    struct scene *scene = arg;
    struct host *host = scene->running;
    if (++host->points != host->pause_at || host->other->ended)
        return;
    check_file(scene);
    hand_over(host->other);
    wait_turn(host);
}

/* ---- A host -------------------------------------------------------------------------------- */

static bool still_host(void *arg)
{
    struct host *host = arg;
    point(host->scene);
    bool answer = host->scene->generation == host->generation;
    point(host->scene);
    return answer;
}

static void change(struct scene *scene, unsigned changes)
{
    world_change(&scene->world, changes);
    for (unsigned i = 0; i < WORLD_ENTRIES; i++)
        if (scene->world.dirty[i])
            scene->hosts[0].marks[i] = scene->hosts[1].marks[i] = true;
    memset(scene->world.dirty, 0, sizeof(scene->world.dirty));
}

static int checkpoint(struct host *host, struct tks_writer *writer, bool full)
{
    struct scene *scene = host->scene;
    change(scene, 8);
    memcpy(host->claimed, host->marks, sizeof(host->claimed));
    memset(host->marks, 0, sizeof(host->marks));
    struct tks_cut_info info = world_cut(&scene->world);
    int status = world_write(&scene->world, writer, full, host->claimed);
    if (!status)
        status = tks_cut_commit(writer, &info);
    if (!status && info.stamp > scene->acknowledged)
        scene->acknowledged = info.stamp;
    if (status && status != TKS_REPLACED)
        fail_msg("host %llu: %s", (unsigned long long)host->generation, tks_last_error());
    assert_true(!status || !host->successor);
    return status;
}

/* A successor takes what is marked as changed away from the host before: it writes everything
 * anyway. */
static void take_over(struct host *host)
{
    host->scene->generation = host->generation;
    if (host->successor)
        memset(host->other->claimed, 0, sizeof(host->other->claimed));
}

static void *run_host(void *arg)
{
    struct host *host = arg;
    struct scene *scene = host->scene;
    struct tks_checkpoint_identity identity = test_identity;
    struct tks_writer *writer;
    pthread_mutex_lock(&scene->lock);
    wait_turn(host);
    take_over(host);
    identity.generation = host->generation;
    assert_int_equal(
        tks_writer_open(&scene->disk->ops, WORLD_PATH, &identity, still_host, host, &writer),
        TKS_OK);
    int status = TKS_OK;
    for (unsigned cut = 0; cut < 5 && !status; cut++)
        status = checkpoint(host, writer, cut == 0 || cut == 3);
    tks_writer_close(writer);
    check_file(scene);
    host->ended = true;
    if (host->other->started && !host->other->ended)
        hand_over(host->other);
    pthread_mutex_unlock(&scene->lock);
    return NULL;
}

/* ---- The sweep ----------------------------------------------------------------------------- */

static void begin_scene(struct scene *scene, uint64_t pause_a, uint64_t pause_b)
{
    memset(scene, 0, sizeof(*scene));
    scene->disk = disk_new(1);
    scene->disk->point = point;
    scene->disk->arg = scene;
    world_init(&scene->world, 5);
    pthread_mutex_init(&scene->lock, NULL);
    pthread_cond_init(&scene->turn, NULL);
    for (unsigned i = 0; i < 2; i++)
        scene->hosts[i] = (struct host){.scene = scene,
                                        .other = &scene->hosts[1 - i],
                                        .generation = 10 + i,
                                        .successor = i == 1,
                                        .pause_at = i ? pause_b : pause_a};
    change(scene, 100);
}

static void check_no_leftovers(struct scene *scene)
{
    struct tks_checkpoint_identity identity = test_identity;
    identity.generation = 11;
    assert_int_equal(disk_open_handles(scene->disk), 0);
    assert_int_equal(tks_writer_clear_leftovers(&scene->disk->ops, WORLD_PATH, &identity, NULL),
                     TKS_OK);
    assert_int_equal(disk_files(scene->disk, ""), 1);
}

/* Runs A until it ends; B, too, if A was stopped. False when A ended before it was to be stopped.
 */
static bool run_scene(uint64_t pause_a, uint64_t pause_b, uint64_t *points_b)
{
    struct scene scene;
    begin_scene(&scene, pause_a, pause_b);
    pthread_mutex_lock(&scene.lock);
    hand_over(&scene.hosts[0]);
    pthread_mutex_unlock(&scene.lock);
    pthread_join(scene.hosts[0].thread, NULL);
    bool stopped = scene.hosts[1].started;
    if (stopped) {
        pthread_join(scene.hosts[1].thread, NULL);
        scene.disk->point = NULL;
        struct tks_checkpoint_info info;
        assert_int_equal(world_load(&scene.world, &scene.disk->ops, WORLD_PATH, &info),
                         scene.acknowledged);
        assert_int_equal(info.generation, 11);
        check_no_leftovers(&scene);
    }
    *points_b = scene.hosts[1].points;
    scene.disk->point = NULL;
    disk_free(scene.disk);
    world_free(&scene.world);
    return stopped;
}

static void a_stopped_host_spoils_nothing(void **unused)
{
    (void)unused;
    uint64_t scenes = 0, points_b = 0, stops = 0;
    for (uint64_t a = 1; run_scene(a, 0, &points_b); a++, stops++) {
        uint64_t last = points_b;
        for (uint64_t b = 1 + a % STEP; b <= last; b += STEP, scenes++)
            run_scene(a, b, &points_b);
    }
    print_message("%llu stops of A, %llu scenes\n", (unsigned long long)stops,
                  (unsigned long long)scenes);
    assert_true(stops > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_host_spoils_nothing),
    };
    return cmocka_run_group_tests_name("zombie", tests, NULL, NULL);
}

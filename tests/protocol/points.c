/* SPDX-License-Identifier: MIT */
/*
 * Processes that are killed, killed while they recover the killed, and stopped at every named point
 * of the protocols (base/point.h). Those who live go on, with right values and in bounded memory;
 * the audit finds nothing left behind. A point that no play reaches is a failure.
 */
#include "bench.h"
#include "churn.h"
#include "crew.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "point_hook.h"
#include "point_play.h"
#include "store/shm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define VISITS 3u
#define HANG_SECONDS 30u
#define CHURN 1000u
#define TRIALS_MAX (PLAYS_MAX * POINT_COUNT * VISITS)
#define KILL_SHARE 0.2
#define DOUBLE_SHARE 0.3

/* Of one play, or of one recovery, in memory that survives it. */
struct board {
    unsigned visits[POINT_COUNT];
};

struct trial {
    unsigned short play, point;
    unsigned visit;
};

struct points {
    struct bench bench;
    struct board *board;
    struct play plays[PLAYS_MAX];
    unsigned play_count;
    unsigned reached[PLAYS_MAX][POINT_COUNT];
    unsigned done[POINT_COUNT];   /* trials of the present test at each point */
    bool recovering[POINT_COUNT]; /* some recovery passes here */
    struct {
        const struct trial *victim;
        unsigned kind;
    } recoveries[POINT_COUNT]; /* one that does */
    struct trial *trials;      /* one for each point first */
    size_t first, count;
    unsigned missed;
    bool failed;
};

static struct tks_segment *segment_of(const struct points *points)
{
    return ((struct shm_store *)(void *)points->bench.parent->store)->segment;
}

/* ---- Children ------------------------------------------------------------------------------ */

struct role {
    struct points *points;
    const struct play *play;
    unsigned point, visit; /* POINT_COUNT: none */
    int signal;
};

static int play_it(void *arg)
{
    static struct actor actor;
    const struct role *role = arg;
    const struct scenario *scenario = role->play->scenario;
    struct arena *arena = role->points->bench.arena;
    actor.id = 1;
    actor.clock = &arena->clock;
    actor.log = &arena->logs[1];
    play_prepare(role->play, &actor);
    point_arm(role->point, role->visit, role->signal);
    point_watch(role->points->board->visits);
    scenario->run(&actor);
    point_watch_no_more();
    if (scenario->finish)
        scenario->finish(&actor);
    if (scenario->flags & WALKS) {
        memcpy(arena->visited, actor.visited, sizeof(arena->visited));
        arena->walked = true;
    }
    return 0;
}

/* The ways to become an heir; each its own kind of slot. */
static void heir_stats(struct actor *actor)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    if (tks_store_open(scenario_uri, NULL, &actor->store) || tks_store_stats(actor->store, &stats))
        actor_problem(actor, "heir: %s", tks_last_error());
}

static void heir_state(struct actor *actor)
{
    if (tks_store_open(scenario_uri, NULL, &actor->store) ||
        tks_state_open(actor->store, scenario_plugin, &actor->state))
        actor_problem(actor, "heir: %s", tks_last_error());
}

static void heir_check(struct actor *actor)
{
    struct tks_check check = {.size = sizeof(check)};
    if (tks_store_open(scenario_uri, NULL, &actor->store) ||
        tks_store_check(actor->store, &check) || tks_store_sweep(actor->store, NULL))
        actor_problem(actor, "heir: %s", tks_last_error());
}

static struct tks_member expeller; /* of the segment as the parent has it mapped */

static void expel_all(void)
{
    const struct tks_segment *segment = expeller.segment;
    for (uint64_t i = 0; i < segment->slot_count; i++)
        tks_epoch_evict(&expeller, (unsigned)i, load_acquire(&segment->slots[i].section));
}

/* One that never gets to a decision, and leaves it to the next. */
static void heir_expelled(struct actor *actor)
{
    point_always(POINT_RECOVER_NAMED, expel_all);
    heir_state(actor);
}

static void (*const heirs[])(struct actor *) = {heir_state, heir_stats, heir_check, heir_expelled};
#define HEIRS (sizeof(heirs) / sizeof(heirs[0]))

struct heir_role {
    struct points *points;
    unsigned kind, point, visit;
};

static int recover_it(void *arg)
{
    static struct actor actor;
    const struct heir_role *role = arg;
    actor.id = 3;
    actor.clock = &role->points->bench.arena->clock;
    actor.log = &role->points->bench.arena->logs[3];
    expeller.segment = segment_of(role->points);
    point_arm(role->point, role->visit, SIGKILL);
    point_watch_recovery(role->points->board->visits);
    heirs[role->kind](&actor);
    return 0;
}

/* ---- The parent's side of a trial ---------------------------------------------------------- */

static void arrange(struct points *points, const struct play *play)
{
    struct bench *bench = &points->bench;
    watchdog(HANG_SECONDS);
    bench_renew(bench); /* every time the same */
    bench_clear(bench);
    if (play->scenario->flags & NEW_PLUGIN)
        bench_new_plugin(bench);
    else
        bench_arrange(bench);
    if (play->scenario->arrange)
        play->scenario->arrange(bench->parent);
    memset(points->board, 0, sizeof(*points->board));
}

static void verify(struct points *points, const struct play *play)
{
    watchdog(HANG_SECONDS);
    if (play_fills(play))
        play_make_room(points->bench.parent);
    if (play->second)
        second_store_use(points->bench.parent, true);
    bench_verify(&points->bench, play->scenario->target, true);
}

static void describe(const struct points *points, const char *what, const struct trial *trial)
{
    test_context("%s at --only %s, visit %u, in %s", what, point_name(trial->point), trial->visit,
                 points->plays[trial->play].name);
}

static bool expect_end(struct points *points, int status, int expected)
{
    if (status == expected)
        return true;
    if (!status)
        points->missed++;
    else
        test_fail("the child ended with %d: %s", status, points->bench.arena->logs[1].problem);
    return false;
}

static void print_visits(const char *name, const struct board *board)
{
    printf("%s:", name);
    for (unsigned point = 0; point < POINT_COUNT; point++)
        if (board->visits[point])
            printf(" %s %u", point_name(point), board->visits[point]);
    printf("\n");
}

/* Undisturbed: what each play reaches. */
static void explore(struct points *points, unsigned index)
{
    const struct play *play = &points->plays[index];
    struct role role = {points, play, POINT_COUNT, 0, 0};
    test_context("%s, undisturbed", play->name);
    arrange(points, play);
    expect_end(points, crew_wait(crew_start(play_it, &role)), 0);
    memcpy(points->reached[index], points->board->visits, sizeof(points->reached[index]));
    if (options.verbose)
        print_visits(play->name, points->board);
    verify(points, play);
}

/* ---- Killed -------------------------------------------------------------------------------- */

static bool kill_at(struct points *points, const struct trial *trial)
{
    const struct play *play = &points->plays[trial->play];
    struct role role = {points, play, trial->point, trial->visit, SIGKILL};
    arrange(points, play);
    return expect_end(points, crew_wait(crew_start(play_it, &role)), 256 + SIGKILL);
}

static bool kill_trial(struct points *points, const struct trial *trial)
{
    describe(points, "killed", trial);
    bool reached = kill_at(points, trial);
    verify(points, &points->plays[trial->play]);
    return reached;
}

/* ---- Killed while recovering --------------------------------------------------------------- */

/* The recovery of the trial's victim, killed at @p point, or not (POINT_COUNT). */
static bool recover_trial(struct points *points, const struct trial *trial, unsigned kind,
                          unsigned point, unsigned visit)
{
    struct heir_role role = {points, kind, point, visit};
    kill_at(points, trial);
    memset(points->board, 0, sizeof(*points->board));
    int status = crew_wait(crew_start(recover_it, &role));
    if (status && status != 256 + SIGKILL)
        test_fail("the heir ended with %d", status);
    verify(points, &points->plays[trial->play]);
    return status != 0;
}

/* Among those that this recovery passes, the point that was had least. */
static unsigned rarest(const struct points *points, const struct board *board, uint64_t chance)
{
    unsigned best = POINT_COUNT;
    for (unsigned i = 0; i < POINT_COUNT; i++) {
        unsigned point = (unsigned)(chance + i) % POINT_COUNT;
        if (board->visits[point] &&
            (best == POINT_COUNT || points->done[point] < points->done[best]))
            best = point;
    }
    return best;
}

static bool double_trial(struct points *points, const struct trial *trial)
{
    uint64_t chance = scramble64((uint64_t)(trial - points->trials) + options.seed);
    unsigned kind = (unsigned)((chance >> 32) % HEIRS);
    describe(points, "killed, and recovered undisturbed,", trial);
    recover_trial(points, trial, kind, POINT_COUNT, 0);
    struct board board = *points->board;
    for (unsigned i = 0; i < POINT_COUNT; i++) {
        if (!board.visits[i])
            continue;
        points->recovering[i] = true;
        points->recoveries[i].victim = trial;
        points->recoveries[i].kind = kind;
    }
    unsigned point = rarest(points, &board, chance % POINT_COUNT);
    if (point == POINT_COUNT)
        return false; /* nobody's slot was in use */
    unsigned visit = 1 + (unsigned)(chance >> 40) % board.visits[point];
    char what[80];
    snprintf(what, sizeof(what), "heir %u killed at %s, visit %u, the victim", kind,
             point_name(point), visit);
    describe(points, what, trial);
    bool reached = recover_trial(points, trial, kind, point, visit);
    points->done[point] += reached;
    points->missed += !reached;
    return reached;
}

/* Those that few recoveries pass, and none was killed at. */
static void kill_missing_heirs(struct points *points)
{
    test_begin("rare heirs");
    unsigned count = 0;
    for (unsigned point = 0; point < POINT_COUNT && !test_failed(); point++) {
        if (!points->recovering[point] || points->done[point])
            continue;
        const struct trial *victim = points->recoveries[point].victim;
        describe(points, point_name(point), victim);
        points->done[point] +=
            recover_trial(points, victim, points->recoveries[point].kind, point, 1);
        count++;
    }
    test_end("%u points", count);
}

/* ---- Stopped ------------------------------------------------------------------------------- */

/* Many times the store's size; every call must succeed. */
static void overwrite_much(struct points *points)
{
    struct actor *parent = points->bench.parent;
    char value[VALUE_ROOM], name[24];
    const unsigned rounds = options.plant ? CHURN / 50 : CHURN;
    memset(value, 'c', sizeof(value));
    for (unsigned i = 0; i < rounds && !test_failed(); i++) {
        snprintf(name, sizeof(name), "churn-%u", i % 7);
        if (tks_set(parent->state, key_name(KEY_N), value, 24 + i % 3 * 100) ||
            tks_set(points->bench.other, name, value, 24 + i % 5 * 100) ||
            (i % 3 == 0 && tks_delete(points->bench.other, name)))
            test_fail("beside a stopped process: %s", tks_last_error());
    }
    for (unsigned i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "churn-%u", i);
        tks_delete(points->bench.other, name);
    }
    actor_set(parent, KEY_N, 0);
}

static int ignore_record(void *arg, const struct tks_record *record)
{
    (void)arg;
    (void)record;
    return 0;
}

/* An export waits for a snapshot whose holder is stopped: at the points about that only. */
static bool may_export(const struct points *points, unsigned point)
{
    uint64_t word = load_ordered(&segment_of(points)->header->snapshot);
    if (options.plant)
        return false;
    return snapshot_phase(word) == SNAPSHOT_NONE || !strncmp(point_name(point), "SNAPSHOT", 8);
}

/* The stopped one may have taken the last block: reading and deleting goes on. */
static void live_without_room(struct points *points)
{
    struct actor *parent = points->bench.parent;
    for (unsigned i = 0; i < CHURN; i++)
        if (tks_has(parent->state, key_name(KEY_V0)) != 1)
            test_fail("has() in a full store: %s", tks_last_error());
    actor_delete(parent, KEY_V2);
    if (tks_store_sweep(parent->store, NULL))
        test_fail("sweep in a full store: %s", tks_last_error());
}

static void live_on(struct points *points, const struct trial *trial)
{
    const struct play *play = &points->plays[trial->play];
    struct actor *parent = points->bench.parent;
    if (play_fills(play)) {
        live_without_room(points);
        return;
    }
    uint64_t kind = scramble64((uint64_t)(trial - points->trials) + options.seed);
    overwrite_much(points);
    if (tks_store_sweep(parent->store, NULL))
        test_fail("sweep beside a stopped process: %s", tks_last_error());
    /* A head that was moved never comes back to what it was: not always. */
    for (unsigned i = 0; kind & 1 && i < KEYS_GROW; i++)
        actor_set(parent, KEY_GROW + i, 0);
    if (may_export(points, trial->point)) {
        int status = tks_store_export(parent->store, NULL, ignore_record, NULL);
        if (status && status != TKS_BUSY)
            test_fail("export beside a stopped process: %s", tks_last_error());
    }
    churn(&points->bench, play->scenario->target, kind >> 1);
    if (play->second)
        second_store_use(parent, false);
}

/* True when it is stopped; it has ended otherwise. */
static bool await_stop(pid_t pid)
{
    siginfo_t info = {0};
    waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT);
    return info.si_code == CLD_STOPPED && !waitid(P_PID, (id_t)pid, &info, WSTOPPED);
}

static bool stall_trial(struct points *points, const struct trial *trial)
{
    const struct play *play = &points->plays[trial->play];
    struct role role = {points, play, trial->point, trial->visit, SIGSTOP};
    describe(points, "stopped", trial);
    arrange(points, play);
    pid_t pid = crew_start(play_it, &role);
    bool stopped = await_stop(pid);
    if (stopped) {
        live_on(points, trial);
        watchdog(HANG_SECONDS);
        crew_go_on(pid);
    }
    points->missed += !stopped;
    expect_end(points, crew_wait(pid), 0);
    verify(points, play);
    return stopped;
}

/* ---- Which trials -------------------------------------------------------------------------- */

static bool chosen(const struct points *points, unsigned play, unsigned point)
{
    if (options.plant && points->plays[play].scenario->flags & LONG)
        return false;
    return points->reached[play][point] && (!options.only || point == point_named(options.only) ||
                                            !strcmp(options.only, points->plays[play].name));
}

/* The play with which a point is visited if there is time for one only. */
static unsigned play_for(const struct points *points, unsigned point)
{
    unsigned start = (unsigned)(scramble64(point + options.seed) % points->play_count);
    for (unsigned i = 0; i < points->play_count; i++)
        if (chosen(points, (start + i) % points->play_count, point))
            return (start + i) % points->play_count;
    return PLAYS_MAX;
}

static void add_trial(struct points *points, unsigned play, unsigned point, unsigned visit)
{
    points->trials[points->count++] =
        (struct trial){(unsigned short)play, (unsigned short)point, visit};
}

static void list_trials(struct points *points)
{
    for (unsigned point = 0; point < POINT_COUNT; point++)
        if (play_for(points, point) != PLAYS_MAX)
            add_trial(points, play_for(points, point), point, 1);
    points->first = points->count;
    for (unsigned play = 0; play < points->play_count; play++)
        for (unsigned point = 0; point < POINT_COUNT; point++)
            for (unsigned visit = 1; visit <= VISITS; visit++)
                if (chosen(points, play, point) && visit <= points->reached[play][point] &&
                    (visit > 1 || play != play_for(points, point)))
                    add_trial(points, play, point, visit);
}

/* Each point once, then as many of the rest as there is time for, spread evenly. */
static void run_trials(struct points *points, const char *name,
                       bool (*trial)(struct points *, const struct trial *), double until)
{
    size_t rest = points->count - points->first, step = even_step(rest), at = 0, i = 0;
    unsigned covered = 0;
    if (options.plant && points->failed)
        return;
    test_begin(name);
    memset(points->done, 0, sizeof(points->done));
    points->missed = 0;
    bool victims[POINT_COUNT] = {false};
    for (; i < points->count && !test_failed(); i++) {
        if (i >= points->first && seconds_now() >= until)
            break;
        size_t number = i < points->first ? i : points->first + at;
        at = i < points->first ? at : (at + step) % rest;
        bool was_there = trial(points, &points->trials[number]);
        victims[points->trials[number].point] |= was_there;
    }
    for (unsigned point = 0; point < POINT_COUNT; point++)
        covered += victims[point];
    points->failed |= test_failed();
    test_end("%zu of %zu trials, %u of %u points, %u did not get there", i, points->count, covered,
             (unsigned)POINT_COUNT, points->missed);
}

static void see_what_is_reached(struct points *points)
{
    unsigned count = 0;
    test_begin("points");
    for (unsigned i = 0; i < points->play_count && !test_failed(); i++)
        explore(points, i);
    for (unsigned point = 0; point < POINT_COUNT; point++) {
        bool reached = false;
        for (unsigned i = 0; i < points->play_count; i++)
            reached |= points->reached[i][point] != 0;
        count += reached || points->recovering[point];
    }
    points->failed |= test_failed();
    test_end("%u of %u reached by %u plays", count, (unsigned)POINT_COUNT, points->play_count);
}

static void see_that_all_are_reached(struct points *points)
{
    unsigned recovery = 0, killed = 0, missing = 0;
    test_begin("reached");
    test_context("a point that nothing reaches is no test");
    for (unsigned point = 0; point < POINT_COUNT; point++) {
        bool reached = points->recovering[point];
        for (unsigned i = 0; i < points->play_count; i++)
            reached |= points->reached[i][point] != 0;
        recovery += points->recovering[point];
        killed += points->recovering[point] && points->done[point];
        if (!reached && ++missing)
            test_fail("%s", point_name(point));
        if (points->recovering[point] && !points->done[point])
            test_fail("no heir was killed at %s", point_name(point));
    }
    test_end("%u of %u points; heirs killed at %u of the %u they pass",
             (unsigned)POINT_COUNT - missing, (unsigned)POINT_COUNT, killed, recovery);
}

int main(int argc, char **argv)
{
    static struct points points;
    options_read(argc, argv, 60);
    if (UNDER_SANITIZER) {
        printf("skipped: a sanitizer's threads do not survive fork\n");
        return EXIT_SKIPPED;
    }
    if (options.only && point_named(options.only) == POINT_COUNT)
        printf("%s is no point: taken for the name of a play\n", options.only);
    double begin = seconds_now();
    points.play_count = plays_list(points.plays);
    points.board = crew_memory(sizeof(*points.board));
    points.trials = calloc(TRIALS_MAX, sizeof(*points.trials));
    test_begin("set up");
    bench_init(&points.bench);
    see_what_is_reached(&points);
    list_trials(&points);
    run_trials(&points, "stopped", stall_trial,
               begin + options.budget * (1 - KILL_SHARE - DOUBLE_SHARE));
    run_trials(&points, "killed", kill_trial, begin + options.budget * (1 - DOUBLE_SHARE));
    run_trials(&points, "killed twice", double_trial, begin + options.budget);
    if (!options.plant)
        kill_missing_heirs(&points);
    /* A planted bug must be caught by what it does. */
    if (!options.only && !options.plant)
        see_that_all_are_reached(&points);
    test_begin("clean up");
    bench_end(&points.bench);
    return test_summary();
}

/* SPDX-License-Identifier: MIT */
#include "sweep.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A traced step costs as much as a visit in ten: short runs see the beginning of long operations.
 */
#define TRACE_LIMIT_MAX 60000u
#define TRACE_STEPS_PER_SECOND 300.0
#define WARM_UPS 3
#define RENEW_EVERY 250u
#define RENEW_EVERY_PLUGIN 8u
#define HANG_SECONDS 20u
#define MAPPED_BYTES 8192
#define LOOP_ROUNDS 12u
#define LOOP_SAMPLE 64u
/* Of every operation, however little time its trace has left. */
#define POSITIONS_LEAST 8u

/* ---- The subject's side -------------------------------------------------------------------- */

struct role {
    struct bench *bench;
    const struct scenario *scenario;
    unsigned id;
};

/*
 * Free memory of the parent's would be cleared by calloc() in long loops; take it, so that large
 * blocks come zeroed from the kernel.
 */
static void use_up_heap(void)
{
    const char *block = NULL;
    do
        block = malloc(MAPPED_BYTES);
    while (block && block < (const char *)sbrk(0));
}

static void play(void *arg)
{
    const struct role *role = arg;
    const struct scenario *scenario = role->scenario;
    struct arena *arena = role->bench->arena;
    static struct actor actor;
    use_up_heap();
    actor.id = role->id;
    actor.clock = &arena->clock;
    actor.log = &arena->logs[role->id];
    scenario_open(scenario, &actor);
    if (scenario->prepare)
        scenario->prepare(&actor);
    subject_mark(MARK_BEGIN);
    scenario->run(&actor);
    subject_mark(MARK_END);
    if (scenario->finish)
        scenario->finish(&actor);
    if (scenario->flags & WALKS) {
        memcpy(arena->visited, actor.visited, sizeof(arena->visited));
        arena->walked = true;
    }
    subject_mark(MARK_BEGIN);
}

static bool start(struct role *role, struct subject *subject)
{
    if (subject_start(subject, play, role) && subject_run(subject) == SUBJECT_BEGIN)
        return true;
    test_fail("the subject did not get to its beginning (%d): %s", subject->crash,
              role->bench->arena->logs[role->id].problem);
    subject_kill(subject);
    return false;
}

void sweep_finish(struct subject *subject, enum subject_stop stop)
{
    /* The trap of a step that ended in the call that marks the end is reported after the mark. */
    for (int i = 0; i < 3 && (stop == SUBJECT_STEPPED || stop == SUBJECT_END); i++)
        stop = subject_run(subject);
    if (stop != SUBJECT_BEGIN)
        test_fail("the subject ended with %s %d at %#llx",
                  stop == SUBJECT_EXITED ? "exit" : "signal", subject->crash,
                  subject->pid ? (unsigned long long)subject_address(subject) : 0);
    subject_kill(subject);
}

/* ---- One position -------------------------------------------------------------------------- */

struct sweep {
    struct bench *bench;
    sweep_act act;
    const struct scenario *scenario;
    struct trace trace, victim_trace;
    unsigned rounds; /* since the store was made */
    size_t reached, ended;
};

static void arrange(struct sweep *sweep)
{
    struct bench *bench = sweep->bench;
    bool new_plugin = sweep->scenario->flags & NEW_PLUGIN;
    if (++sweep->rounds >= (new_plugin ? RENEW_EVERY_PLUGIN : RENEW_EVERY)) {
        bench_renew(bench);
        sweep->rounds = 0;
    }
    bench_clear(bench);
    if (new_plugin)
        bench_new_plugin(bench);
    else
        bench_arrange(bench);
    if (sweep->scenario->arrange)
        sweep->scenario->arrange(bench->parent);
}

static size_t trace_limit(void)
{
    double limit = options.budget * TRACE_STEPS_PER_SECOND;
    return limit < TRACE_LIMIT_MAX && options.at < 0 ? (size_t)limit : TRACE_LIMIT_MAX;
}

/* Kill another subject somewhere in the middle of what it does. */
static void kill_victim(struct sweep *sweep, size_t k)
{
    struct role role = {sweep->bench, scenario_named(sweep->scenario->victim), 2};
    struct subject victim;
    if (!start(&role, &victim))
        return;
    if (!sweep->victim_trace.count)
        subject_trace(&victim, &sweep->victim_trace, trace_limit());
    else
        subject_go_to(&victim, &sweep->victim_trace,
                      scramble64(k + options.seed) % sweep->victim_trace.count);
    subject_kill(&victim);
}

static void visit_position(struct sweep *sweep, size_t k)
{
    struct role role = {sweep->bench, sweep->scenario, 1};
    struct subject subject;
    watchdog(HANG_SECONDS);
    test_context("--only %s --at %zu of %zu", sweep->scenario->name, k, sweep->trace.count);
    arrange(sweep);
    if (!start(&role, &subject))
        return;
    if (sweep->scenario->victim)
        kill_victim(sweep, k);
    enum subject_stop stop = subject_go_to(&subject, &sweep->trace, k);
    sweep->reached += stop == SUBJECT_STEPPED;
    sweep->ended += stop == SUBJECT_END;
    sweep->act(sweep->bench, sweep->scenario, &subject, stop, k);
    /* Now and then the next subject inherits the dead one's slot instead. */
    bench_verify(sweep->bench, sweep->scenario->target, k % 4 != 1);
}

/* Undisturbed runs until the store is in its usual state, then one that is traced. */
static void make_trace(struct sweep *sweep)
{
    struct role role = {sweep->bench, sweep->scenario, 1};
    struct subject subject;
    for (int i = 0; i <= WARM_UPS && !test_failed(); i++) {
        watchdog(HANG_SECONDS);
        test_context("--only %s, undisturbed", sweep->scenario->name);
        arrange(sweep);
        if (!start(&role, &subject))
            return;
        if (sweep->scenario->victim)
            kill_victim(sweep, (size_t)i);
        enum subject_stop stop = SUBJECT_STEPPED;
        watchdog(HANG_SECONDS);
        if (i == WARM_UPS)
            stop = subject_trace(&subject, &sweep->trace, trace_limit());
        sweep_finish(&subject, stop);
        bench_verify(sweep->bench, sweep->scenario->target, true);
    }
}

/* ---- One scenario -------------------------------------------------------------------------- */

/*
 * Positions of a long operation worth a visit: the first rounds of a loop and some of the later
 * ones. Of a short one: all.
 */
static size_t select_positions(const struct sweep *sweep, size_t *positions)
{
    const struct trace *trace = &sweep->trace;
    const size_t cells = 1u << 16;
    struct {
        uint64_t address;
        unsigned times;
    } *seen = calloc(cells, sizeof(*seen));
    size_t count = 0;
    if (!seen)
        abort();
    for (size_t k = 0; k < trace->count; k++) {
        size_t cell = scramble64(trace->at[k]) % cells;
        while (seen[cell].times && seen[cell].address != trace->at[k])
            cell = (cell + 1) % cells;
        seen[cell].address = trace->at[k];
        unsigned times = seen[cell].times++;
        if (!(sweep->scenario->flags & LONG) || times < LOOP_ROUNDS || times % LOOP_SAMPLE == 0)
            positions[count++] = k;
    }
    free(seen);
    return count;
}

static size_t visit_positions(struct sweep *sweep, const size_t *positions, size_t count,
                              double until)
{
    size_t done = 0, step = even_step(count), at = count ? options.seed * 7919 % count : 0;
    for (; done < count && !test_failed() && (done < POSITIONS_LEAST || seconds_now() < until);
         done++) {
        visit_position(sweep, positions[at]);
        at = (at + step) % count;
    }
    return done;
}

static void run_scenario(struct sweep *sweep, double seconds)
{
    double until = seconds_now() + seconds;
    sweep->reached = sweep->ended = 0;
    test_begin(sweep->scenario->name);
    bench_renew(sweep->bench);
    sweep->rounds = 0;
    make_trace(sweep);
    size_t *positions = calloc(sweep->trace.count + 1, sizeof(*positions));
    if (!positions)
        abort();
    size_t count = select_positions(sweep, positions), done = 1;
    if (options.at >= 0)
        visit_position(sweep, (size_t)options.at);
    else
        done = visit_positions(sweep, positions, count, until);
    free(positions);
    test_end("%s%zu of %zu positions (%zu instructions), %zu exactly, %zu past the end",
             done == count ? "all " : "", done, count, sweep->trace.count, sweep->reached,
             sweep->ended);
    trace_free(&sweep->trace);
    trace_free(&sweep->victim_trace);
    test_context("making the store anew");
}

static double weight(const struct scenario *scenario)
{
    return scenario->flags & LONG ? 1.0 : 3.0;
}

static bool chosen(const struct scenario *scenario)
{
    if (options.plant && scenario->flags & LONG)
        return false;
    return !options.only || !strcmp(options.only, scenario->name);
}

int sweep_main(sweep_act act)
{
    struct bench bench;
    struct sweep sweep = {.bench = &bench, .act = act};
    char why[120];
    double weights = 0, end = seconds_now() + options.budget;
    if (!subject_possible(why, sizeof(why))) {
        printf("skipped: %s\n", why);
        return EXIT_SKIPPED;
    }
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    test_begin("set up");
    bench_init(&bench);
    for (unsigned i = 0; i < scenario_count; i++)
        weights += chosen(&scenarios[i]) ? weight(&scenarios[i]) : 0;
    for (unsigned i = 0; i < scenario_count; i++) {
        if (!chosen(&scenarios[i]))
            continue;
        sweep.scenario = &scenarios[i];
        run_scenario(&sweep, (end - seconds_now()) * weight(&scenarios[i]) / weights);
        weights -= weight(&scenarios[i]);
        if (options.plant && test_failed())
            break;
    }
    test_begin("clean up");
    bench_end(&bench);
    return test_summary();
}

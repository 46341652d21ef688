/* SPDX-License-Identifier: MIT */
/*
 * A process is stopped after k instructions of an operation, for every k, while another changes the
 * same keys, moves the epochs on and uses every freed block again; then it goes on. What it
 * returns and what it leaves must be explained by some order of all operations.
 */
#include "churn.h"
#include "sweep.h"

static void stall_it(struct bench *bench, const struct scenario *scenario, struct subject *subject,
                     enum subject_stop stop, size_t k)
{
    if (stop != SUBJECT_STEPPED) {
        sweep_finish(subject, stop);
        return;
    }
    churn(bench, scenario->target, scramble64(k + options.seed));
    if (scramble64(k) % 5 == 0) {
        /* Stopped, resumed, and killed a little later. */
        stop = subject_step(subject, 1 + scramble64(k * 3) % 60);
        if (stop == SUBJECT_STEPPED) {
            subject_kill(subject);
            return;
        }
    }
    sweep_finish(subject, stop);
}

int main(int argc, char **argv)
{
    options_read(argc, argv, 100);
    return sweep_main(stall_it);
}

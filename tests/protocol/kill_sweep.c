/* SPDX-License-Identifier: MIT */
/*
 * A process is killed after k instructions of an operation, for every k; those who live use the
 * same keys before and after they clean up, and the audit finds nothing left behind.
 */
#include "sweep.h"

static void kill_it(struct bench *bench, const struct scenario *scenario, struct subject *subject,
                    enum subject_stop stop, size_t k)
{
    (void)bench;
    (void)scenario;
    (void)k;
    if (stop == SUBJECT_STEPPED)
        subject_kill(subject);
    else
        sweep_finish(subject, stop);
}

int main(int argc, char **argv)
{
    options_read(argc, argv, 100);
    return sweep_main(kill_it);
}

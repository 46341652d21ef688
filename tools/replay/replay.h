/* SPDX-License-Identifier: MIT */
/*
 * `tickstate replay`: scalping plugins on one store, each a process of its own.
 *
 *   command_replay.c   the command: survey the stream, run, prove, report
 *   supervisor.c       the parent while plugins run: start, kill, restart, reap
 *   plugin_process.c   one plugin: every tick reads its state, decides, writes it
 *   scalper.c          what a plugin keeps and how it decides, without any store
 *   tick_*.c           where ticks come from: a CSV file or a generator
 *   control.c          the memory that parent and plugins share besides the store
 *   histogram.c        latencies in logarithmic buckets
 *   proof.c            is every plugin's final state the one that the stream leads to?
 *   reboot.c           does the store come back from its checkpoint as it was?
 *   report*.c          text, JSON, Markdown, CSV and the picture
 *
 * Exactly once. A plugin knows from its state alone which tick comes next, so a plugin that is
 * killed and started again goes on where its state ends. All that must change together is one
 * value, `book`, written last in every tick: a kill before that write leaves the tick undone, a
 * kill after it leaves the tick done. What is written before (cooldown, ban) carries the number of
 * its tick, and a later look at it from the same tick ignores it: the tick that is done again
 * decides as if it were the first time.
 *
 * The clock of a tick is its receive time, mostly long ago. To the store's own clock a cooldown set
 * then has expired: it is right that a get outside of the replay, or a sweep, purges it. Whoever
 * does that in a running replay changes its decisions, and the proof says so.
 */
#ifndef TICKSTATE_REPLAY_H
#define TICKSTATE_REPLAY_H

/** The tool's own name for "be plugin N": not for users. Its argument is FD:INDEX. */
#define REPLAY_PLUGIN_COMMAND "__replay-plugin"

/** Be a plugin process. @return its exit status. */
int replay_plugin_main(const char *argument);

#endif

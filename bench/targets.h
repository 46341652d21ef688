/* SPDX-License-Identifier: MIT */
/* Every number the bench judges by, in one place. A row names its target by id. */
#ifndef BENCH_TARGETS_H
#define BENCH_TARGETS_H

/* Metric names: column headings, CSV and JSON keys, and what a target is about. */
#define METRIC_NS "ns/op"
#define METRIC_RATIO "x flat"
#define METRIC_VERSUS "x best"
#define METRIC_P50 "p50 ns"
#define METRIC_P99 "p99 ns"
#define METRIC_P999 "p99.9 ns"
#define METRIC_MAX_US "max us"
#define METRIC_SPREAD "p99.9/p50"
#define METRIC_OVER_OWN ">1ms own"
#define METRIC_BYTES "bytes/key"
#define METRIC_RAW "x raw"
#define METRIC_SECONDS "s"
#define METRIC_OFF "x off"
#define METRIC_MORE "ns more"

/* X(id, metric, at most) */
#define TARGET_LIST(X)                                                                             \
    X("get-prepared-16", METRIC_RATIO, 0.45)                                                       \
    X("get-prepared-10000", METRIC_RATIO, 0.5)                                                     \
    X("get-prepared-1000000", METRIC_RATIO, 0.6)                                                   \
    X("get-string-16", METRIC_RATIO, 1.2)                                                          \
    X("get-string-10000", METRIC_RATIO, 1.4)                                                       \
    X("get-string-1000000", METRIC_RATIO, 1.4)                                                     \
    X("overwrite-string-16", METRIC_RATIO, 3.0)                                                    \
    X("overwrite-versus-processes", METRIC_VERSUS, 1.0)                                            \
    X("tick-spread", METRIC_SPREAD, 2.0)                                                           \
    X("tick-contended", METRIC_P999, 800.0)                                                        \
    X("get-contended", METRIC_P999, 300.0)                                                         \
    X("insert-growing", METRIC_P999, 5000.0)                                                       \
    X("insert-over-1ms", METRIC_OVER_OWN, 0.0)                                                     \
    X("memory", METRIC_BYTES, 220.0)                                                               \
    X("checkpoint-image", METRIC_RAW, 1.4)                                                         \
    X("checkpoint-restore", METRIC_SECONDS, 0.6)                                                   \
    X("checkpoint-tick", METRIC_OFF, 1.3)                                                          \
    X("checkpoint-get", METRIC_OFF, 1.3)                                                           \
    X("checkpoint-set", METRIC_MORE, 3.0)                                                          \
    X("sqlite-tick", METRIC_RAW, 1.2)                                                              \
    X("sqlite-tail", METRIC_RAW, 1.2)                                                              \
    X("postgres-tick", METRIC_RAW, 1.2)                                                            \
    X("postgres-tail", METRIC_RAW, 1.2)

#endif

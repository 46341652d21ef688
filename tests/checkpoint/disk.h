/* SPDX-License-Identifier: MIT */
/*
 * A disk in memory behind struct tks_file_ops. It keeps apart what programs see and what has
 * reached the platter: a crash takes away everything that no sync has covered, or leaves any part
 * of it, in sectors and in any order. Operations fail on demand. One folder, no threads of its own.
 */
#ifndef TKS_TESTS_DISK_H
#define TKS_TESTS_DISK_H

#include "checkpoint/checkpoint.h"

enum disk_fault {
    FAULT_ERROR, /* refused without effect */
    FAULT_HALF,  /* an error after part of the effect: half a write, a rename that did happen */
    FAULT_SHORT, /* half of a write or read, without an error */
    FAULT_INTERRUPTED, /* EINTR, once */
    FAULT_DEAD         /* the machine is off from here on */
};

struct disk_inode;
struct disk_op;

struct disk {
    struct tks_file_ops ops; /* context is the disk */
    uint64_t operations;     /* so far */
    /* Operations number fault_at to fault_at + faults - 1 fail so; 0: none. */
    uint64_t fault_at, faults;
    enum disk_fault fault;
    int error;
    /* Called before every operation, when it is not NULL. */
    void (*point)(void *arg);
    void *arg;
    int64_t now;

    uint64_t random;
    struct disk_inode *inodes;
    struct disk_name *names, *durable_names;
    struct disk_change *changes; /* of names, not yet durable, oldest first */
    struct disk_handle *handles;
    uint64_t next_inode;
};

struct disk *disk_new(uint64_t seed);
void disk_free(struct disk *disk);

/** Forget handles and what did not reach the platter. The machine is on again. */
void disk_crash(struct disk *disk);

/** The bytes of a file as programs see them, NULL if there is none. They live until it changes. */
const unsigned char *disk_bytes(struct disk *disk, const char *path, uint64_t *bytes);

/** Put a file there, durably. */
void disk_put(struct disk *disk, const char *path, const void *bytes, uint64_t len);

/** How many files there are whose name contains @p part, and how many handles are open. */
unsigned disk_files(const struct disk *disk, const char *part);
unsigned disk_open_handles(const struct disk *disk);

#endif

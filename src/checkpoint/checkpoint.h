/* SPDX-License-Identifier: MIT */
/*
 * The checkpoint file: writing, appending, loading, verifying, locking. What the bytes mean is in
 * FORMAT.md; what changed, when to write and what to do with what was loaded is the caller's.
 *
 * A file holds cuts, each a state that existed: a full image first, then increments. The state of
 * a file is that of its last complete cut.
 *
 * What must hold, whatever is killed, stopped, resumed or cut off from power at whatever operation:
 *
 *   (a) PATH is absent or loads, from the first full image on.
 *   (b) What loads is a state that existed, and none older than the last cut acknowledged.
 *
 * Steps of a full image, by a host that holds generation G of the segment's lease:
 *
 *   F1 unlink PATH.tmp.<uuid>.<g> for every g < G    (once per writer, before its first F2)
 *   F2 create PATH.tmp.<uuid>.<G>, O_EXCL            (its name is G's alone)
 *   F3 still host? if not: unlink F2's file, stop
 *   F4 write batches, the last with COMMIT; header and mark; fsync
 *   F5 still host? if not: unlink, stop
 *   F6 rename over PATH
 *   F7 fsync the folder; then the cut is acknowledged
 *
 * and of an increment, which goes to the inode that this writer itself put at PATH:
 *
 *   I1 still host? before the first write; if not: stop
 *   I2 write the batches before the last; fdatasync, if there were any
 *   I3 all is collected: still host? if not: stop, leaving a torn tail
 *   I4 write the batch with COMMIT; fdatasync
 *   I5 PATH names our inode; then the cut is acknowledged
 *   I6 rewrite the synced mark, unsynced; its failure does not matter
 *
 * Crash. PATH changes by F6 only, to an inode that was complete and synced in F4. Until F7 has
 * ended either inode may be found after a power cut, and both load: the old one with the last
 * acknowledged cut, as nothing is appended to it once F6 was tried. A tail that was not synced is
 * torn: its batches fail their checksums, or the chain, or lack COMMIT. The order in which sectors
 * reach the disk does not matter for that: a cut counts if every byte of it is right, and then it
 * is a state that existed, acknowledged or not.
 *
 * Zombies. A host A may be stopped between any two steps, replaced by B (generation bumped,
 * F1..F7), and resumed. Its steps, one after another:
 *
 *   F2 after B's F1: a stray file, removed in F3, since the bump came before F1. If A dies in
 *      between, the next F1 removes it. B's F1 after A's F2: F6 finds no source.
 *   F6 the answer in F5 was "yes", so the bump came later, B's F1 later still. Either A's rename
 *      precedes B's F1 (then B's F6 replaces it, and until then PATH is A's image, a state that
 *      existed: all of it was collected before F5), or its source is gone (ENOENT: TKS_REPLACED).
 *      It cannot come after B's F6. This needs F1 to succeed: a writer whose F1 fails writes
 *      nothing.
 *   I4 goes to an inode that B never writes. After B's F6 nobody reads it. Before, readers of PATH
 *      get one more cut. Is it a state that existed? The danger is a cut collected *across* the
 *      takeover: B has taken over what is marked as changed, A walks on and misses it. Therefore
 *      I3: what is written in I4 was collected entirely while A was host. Asking in I1 only is not
 *      enough. And A may acknowledge it: the inode at PATH has it, or B's image has, which was
 *      begun later.
 *   ftruncate after a failed append goes back to the end of the last acknowledged cut of A's inode.
 *   I6 tells the truth about A's inode.
 *
 * So at every instant PATH is A's last image with whole cuts of A's time, then B's. Cuts of A never
 * follow one of B.
 *
 * Failures. A short write or ENOSPC in I2..I4: truncate back; if that fails, or with any other
 * errno, or with a failed fsync (after which the kernel has forgotten which pages are dirty, and a
 * second fsync would succeed without them), the inode is not appended to again: the next cut must
 * be a full image. From F6 on, too: whether a failed rename happened is not known. PATH removed or
 * replaced by an operator: I5 notices, the cut fails, the next one must be full.
 *
 * Two segments must not feed one path, several hosts of one segment may follow each other. Each
 * host announces its segment by a shared OFD lock on one byte of PATH.lock, at a position made from
 * the UUID, and then looks whether any other byte is locked. Of two segments that come at once at
 * least one sees the other, hosts of one segment never get in each other's way, and there is no
 * state between, in which a host that is stopped would keep its successor out (an exclusive lock
 * under which a UUID is written has one). PATH.lock is empty and is never removed.
 *
 * Not covered: disks and kernels that lie about fsync; somebody who writes to PATH or to the
 * temporary files by other means; file systems without OFD locks.
 *
 * Calls return TKS_OK or a status with a sentence (tks_last_error()). One thread at a time.
 */
#ifndef TKS_CHECKPOINT_CHECKPOINT_H
#define TKS_CHECKPOINT_CHECKPOINT_H

#include <tickstate/tickstate.h>

/* ---- The seam to the file system ----------------------------------------------------------- */

enum tks_file_kind { FILE_REGULAR, FILE_LINK, FILE_FOLDER, FILE_OTHER };

struct tks_file_stat {
    uint64_t bytes, device, inode;
    enum tks_file_kind kind;
};

/** The operations used. Each returns 0 or more, or -errno; a short read or write is a count. */
struct tks_file_ops {
    void *context;
    int (*open)(void *context, const char *path, int flags, unsigned mode);
    int (*close)(void *context, int file);
    int64_t (*read)(void *context, int file, void *to, size_t bytes, uint64_t offset);
    int64_t (*write)(void *context, int file, const void *from, size_t bytes, uint64_t offset);
    int (*truncate)(void *context, int file, uint64_t bytes);
    int (*sync)(void *context, int file, bool data_only);
    int (*stat)(void *context, int file, struct tks_file_stat *stat);
    int (*stat_path)(void *context, const char *path,
                     struct tks_file_stat *stat); /* of a link: it */
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    int (*sync_folder)(void *context, const char *folder);
    /* Names in a folder until visit returns other than 0, which is returned. */
    int (*list)(void *context, const char *folder, int (*visit)(void *arg, const char *name),
                void *arg);
    int (*lock)(void *context, int file, uint64_t byte); /* shared, of one byte, no waiting */
    int (*lock_others)(void *context, int file, uint64_t byte); /* 1: another byte is locked */
    int64_t (*now_ms)(void *context);                           /* wall clock */
};

/** The real one. */
extern const struct tks_file_ops tks_file_system;

/* ---- Writing ------------------------------------------------------------------------------- */

/** Who writes: the segment, and the generation of its lease. */
struct tks_checkpoint_identity {
    uint64_t uuid[2];
    uint64_t generation;
    uint64_t first_version; /* none that it or a predecessor gave out is lower; 0: not known */
};

/** What a restore needs to know about a cut; the writer counts entries itself. */
struct tks_cut_info {
    uint64_t highest_version; /* no version given out before the cut is higher */
    int64_t wall_ms;          /* wall clock of the cut */
    uint64_t stamp;           /* the snapshot's; opaque here */
};

/** Not a failure, and for good: another host has taken over. Beside the public statuses. */
#define TKS_REPLACED 1

struct tks_writer;

/**
 * A writer for one generation of one host; makes no file yet. @p still_host says whether the lease
 * is still at identity->generation; a "no" ends the writer's life (TKS_REPLACED from every call).
 * @return TKS_OK; TKS_NO_SPACE; TKS_DENIED: PATH is something else than a regular file; TKS_IO.
 */
int tks_writer_open(const struct tks_file_ops *ops, const char *path,
                    const struct tks_checkpoint_identity *identity, bool (*still_host)(void *arg),
                    void *arg, struct tks_writer **writer);

/** Abort a cut that is not committed, and free. The file stays. NULL is allowed. */
void tks_writer_close(struct tks_writer *writer);

/**
 * Whether the next cut must be full: there is no file of our own yet, it is not trusted any more,
 * or PATH names something else by now. One stat.
 */
bool tks_writer_wants_full(const struct tks_writer *writer);

/**
 * Begin a cut. An increment that should be full is TKS_INVALID. If this or any of the three below
 * fails the cut is over, with everything undone that can be: tks_cut_abort() is allowed, not
 * needed.
 * @return TKS_OK, TKS_REPLACED, TKS_IO, TKS_DENIED, TKS_NO_SPACE (memory), TKS_INVALID
 */
int tks_cut_begin(struct tks_writer *writer, bool full);

/**
 * Increments: a range of key hashes; the entries of @p plugin in it, all of them, follow. It is
 * aligned: its size is a power of two that divides first_hash. Ranges may repeat and nest; entries
 * that come several times then must be the same.
 */
int tks_cut_range(struct tks_writer *writer, const char *plugin, size_t plugin_len,
                  uint64_t first_hash, uint64_t last_hash);

/**
 * An entry. In an increment it belongs to the last range. In a full image each key comes once;
 * loading is fastest if the entries of a plugin come together in ascending order of their hash.
 */
int tks_cut_entry(struct tks_writer *writer, const struct tks_record *record);

/**
 * End the cut and make it durable. TKS_OK: it is acknowledged, on disk and at PATH. All that was
 * handed in must have been collected before this call (step I3 above).
 */
int tks_cut_commit(struct tks_writer *writer, const struct tks_cut_info *info);

/** Give the cut up. The file is what it was before. */
void tks_cut_abort(struct tks_writer *writer);

/** Bytes of our file at PATH up to its last cut, and of the full image in it; 0 without one. */
uint64_t tks_writer_file_bytes(const struct tks_writer *writer);
uint64_t tks_writer_image_bytes(const struct tks_writer *writer);

struct tks_path_lock;

/**
 * Remove the temporary files of older generations of this segment, and, with the @p lock of the
 * path in hand, those of other segments. A successor may call it right after it bumped the
 * generation; a writer does it itself before its first full image, without the other segments.
 */
int tks_writer_clear_leftovers(const struct tks_file_ops *ops, const char *path,
                               const struct tks_checkpoint_identity *identity,
                               const struct tks_path_lock *lock);

/* ---- Locking ------------------------------------------------------------------------------- */

/** Claim PATH for a segment; other processes of this segment may too. TKS_BUSY: another segment has
 * it. */
int tks_path_lock(const struct tks_file_ops *ops, const char *path, const uint64_t uuid[2],
                  struct tks_path_lock **lock);

/** NULL is allowed. */
void tks_path_unlock(struct tks_path_lock *lock);

/* ---- Loading ------------------------------------------------------------------------------- */

struct tks_checkpoint_info {
    uint32_t format_version;
    bool damaged;            /* an intact cut was lost, or may have been: see warning */
    bool versions_uncertain; /* highest_version may be too low: what followed cannot be read */
    uint64_t uuid[2];
    uint64_t generation;
    int64_t created_ms; /* wall clock, when the full image was begun */
    int64_t wall_ms;    /* wall clock of the cut that was loaded */
    uint64_t stamp;
    uint64_t first_version; /* as in the identity of who wrote it */
    uint64_t highest_version;
    uint64_t cuts;       /* complete ones, the full image included */
    uint64_t entries;    /* live; expired ones included */
    uint64_t live_bytes; /* what the live entries take in a file */
    uint64_t image_bytes;
    uint64_t file_bytes;
    uint64_t torn_bytes; /* after the last cut that counts */
    char warning[256];   /* "" or a sentence */
};

struct tks_loaded;

/**
 * Read and verify a file, which may be written meanwhile. A torn tail is no failure and no damage.
 * A damaged file gives the newest cut before the damage, with info->damaged, or TKS_CORRUPT.
 * @return TKS_OK, TKS_NOT_FOUND (no file), TKS_CORRUPT, TKS_MISMATCH, TKS_IO, TKS_DENIED,
 * TKS_NO_SPACE (memory: as much as the file has, and 24 to 72 bytes for each range and entry of an
 * increment)
 */
int tks_checkpoint_load(const struct tks_file_ops *ops, const char *path,
                        struct tks_loaded **loaded);

const struct tks_checkpoint_info *tks_loaded_info(const struct tks_loaded *loaded);

/**
 * Visit each live entry once: plugins together, in ascending order of the key's hash, which is
 * passed. Expired entries too. Pointers live as long as @p loaded. visit as in tks_keys().
 */
int tks_loaded_each(const struct tks_loaded *loaded,
                    int (*visit)(void *arg, const struct tks_record *record, uint64_t hash),
                    void *arg);

/** NULL is allowed. */
void tks_loaded_free(struct tks_loaded *loaded);

#endif

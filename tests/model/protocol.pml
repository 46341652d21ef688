/* SPDX-License-Identifier: MIT
 *
 * protocol.pml - the publish / pin / evict / reclaim / recover protocol of the shared-memory store, for spin.
 *
 * WHAT IS MODELLED
 *   One segment: NB blocks, NH bucket heads, a global epoch, one slot per process.
 *     st[b]    state word   FREE | ALLOC(slot) | RET(slot, epoch)
 *     c0,c1[b] content      two words, both set to the version of the build; the second one is stored last
 *     head[h]  bucket word  a block or NONE. No version in it: the ABA that a real offset allows is possible here.
 *     sec[s]   section word 0 | EVICTED | ACT(epoch)
 *     pinN[s]  NEW: the block a writer is about to allocate, builds, or has just published
 *     pinO[s]  OLD: the block a writer's head CAS expects, with the VALIDATED bit in the same word
 *   writer     log NEW; CAS FREE or a safe RETIRED (exact word) to ALLOC(me); build; predict the head; pin OLD; open the
 *              section; fence; validate; VALIDATED; CAS the head; retire OLD by CAS with the epoch read after the head CAS;
 *              clear the pins; close the section. Insert, delete and an operation given up (set_if) are included (OPS_ALL).
 *   reader     open the section; fence; load the head; copy in two steps; check the section; accept. READS reads a section.
 *   collector  advances the epoch and frees safe RETIRED blocks; writers free (and take) anybody's too.
 *   evictor    turns a section that lags behind the epoch into EVICTED, at any time. Time is not modelled: correctness
 *              must not depend on it.
 *   recoverer  acts for a dead writer, one at a time per slot (the robust mutex); it may die too, then another one redoes it.
 *   A step of a process is one access to shared memory; all interleavings are explored. A stopped process is one that is
 *   not scheduled. Private steps and ghost variables (used by the assertions only) share the step they belong to. So do, to
 *   keep the state space small, accesses whose order nobody can use: the hint and the log of a candidate (its CAS is
 *   exact), the section check and VALIDATED (matters only after a death), clearing OLD and closing the
 *   section, the load of the word that a retiring CAS expects (see cas_retire); without a reader (TORN=0) the two words of a content.
 *
 * DEATH
 *   A killed process takes no further step, and what its store buffer holds still reaches memory. That is the same as a
 *   stopped process until somebody acts on its death, so a kill and the taking of its mutex are one step here: nothing is
 *   lost, and a kill at every step of a writer and of a recoverer is covered. RESTART gives a recovered slot to a new
 *   process, which goes on with the operations left.
 *
 * MEMORY MODEL, AND ITS LIMIT
 *   spin explores sequentially consistent interleavings. The store-load reorderings that the protocol's full fences are
 *   there for are modelled explicitly: the stores to pin OLD and to the section go through a FIFO store buffer (one entry
 *   each, pin first), may reach memory at any later time, are forwarded to the owner's own loads, and are forced out by a
 *   fence, a CAS and death (x86-TSO for these two words). Load-load, store-store and load-store reordering of weaker
 *   machines, and the fences of the collector that order loads, are NOT explored: those rest on the argument written in the source.
 *   The stores that close a section or clear a pin take effect at once; a later effect only protects for longer.
 *
 * BOUNDS
 *   OPS0 and OPS1 operations of the two writers, epochs up to EMAX, KILLS deaths among the first KILLABLE writers and the
 *   recoverers. Versions are unique.
 *   To keep a configuration small: ATOMIC_ADVANCE scans the sections in one step and COLLECT_OFF leaves freeing to the
 *   writers (both are taken apart in the other configurations), TORN=0 copies in one step, EVICT_FIRST evicts slot 0 only.
 *   USED starts with a RETIRED block.
 *   Writers see an empty pool as "no space" and go on, so a small EMAX only ends reclamation early.
 *   To see a counterexample: spin <flags of the run> -a protocol.pml; cc -DSAFETY -o pan pan.c; ./pan -m200000;
 *   spin -t -p -g <flags> protocol.pml
 *   Not modelled: growth (frozen parents), vectors, several classes and slabs, prepared keys, commit stamps, a false death.
 *
 * ASSERTIONS
 *   A1 a head names only an ALLOC block           A2 an accepted copy is the build the head named when it was loaded
 *   A3 a writer replaces exactly the build it has seen (no lost update through ABA)
 *   A4 only an unlinked block, or the private block of a dead slot, is retired: no double retire, no theft
 *   A5 at the end every block is linked xor FREE xor RETIRED, no pin and no section is left      A6 no invalid end state
 *
 * PLANTED BUGS (-D), each to be found
 *   PINS_OFF                 a writer does not pin OLD              EVICTION_CHECK_OFF    a reader does not check its section
 *   WRITER_FENCE_OFF         no fence after the pin and section     READER_FENCE_OFF      no fence after the section store
 *   EPOCH_BEFORE_CAS         retire epoch read before the head CAS  GRACE_1               free one epoch later, not two
 *   NO_RETIRE                OLD is not retired                     RETIRE_PIN_EARLY      OLD unpinned before it is retired
 *   RECLAIM_INEXACT          the freeing CAS takes any RETIRED      RECOVER_UNVALIDATED   recovery acts on any OLD
 *   NO_RECOVERY_NEW          recovery leaves NEW alone              NO_RECOVERY_OLD       recovery leaves OLD alone
 *   PIN_OUTLIVES_SECTION     the section is closed before OLD is unpinned
 *   RECOVERY_CLEARS_FIRST    pins cleared before they are acted on  RECOVERY_EPOCH_EARLY  epoch read before the head
 *
 * PARTS THAT CAN BE LEFT OUT (-D) without breaking an assertion above, checked as "redundant" by `run`
 *   REREAD_OFF               the second load of the epoch: a section opened with an old epoch only holds the epoch back
 *   SCAN_NEW_OFF             NEW as a pin: it is needed only as a log (and if a writer touches NEW after publishing it)
 *   WRITER_SECTION_CHECK_OFF a writer's check of its section: once head == OLD was seen behind the fence, the pin protects OLD.
 *                            Needed as soon as anything read before the pin was set, or an unpinned block, is used.
 */

#ifndef NB
#define NB 3
#endif
#ifndef NH
#define NH 1
#endif
#ifndef NW
#define NW 1
#endif
#ifndef NR
#define NR 1
#endif
#ifndef NREC
#define NREC 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef OPS0
#define OPS0 2
#endif
#ifndef OPS1
#define OPS1 2
#endif
#ifndef TORN
#define TORN (NR > 0)
#endif
#ifndef KILLABLE
#define KILLABLE NW
#endif
#ifndef READS
#define READS 1
#endif
#ifndef EMAX
#define EMAX 4
#endif
#ifdef GRACE_1
#define GRACE 1
#else
#define GRACE 2
#endif

#define NS        (NW + NR)
#define NONE      15
#define FREE      0
#define ALLOC(s)  (1 + (s))
#define RET(s, e) (16 + (s) * 16 + (e))
#define IS_ALLOC(x) ((x) >= 1 && (x) < 16)
#define IS_RET(x)   ((x) >= 16)
#define RET_EPOCH(x) ((x) % 16)
#define SAFE(x)   (IS_RET(x) && epoch >= RET_EPOCH(x) + GRACE)

#define DEAD      1
#define GONE      2
#define RECOVERED 3

#define EVICTED   1
#define ACT(e)    (2 + (e))
#define SECTION_OK(s, e) (sec[s] <= EVICTED || sec[s] == ACT(e))
#define LAGS(x)   ((x) > EVICTED && (x) != ACT(epoch))

#define PIN(b)    (1 + (b))
#define VALIDATED 16
#define PIN_BLOCK(p) ((p) % 16 - 1)                                        /* -1 of no pin */
#define IS_VALIDATED(p) ((p) >= VALIDATED)

/* the segment */
byte st[NB];
byte c0[NB];
byte c1[NB];
byte head[NH];
byte epoch;
byte sec[NS];
byte pinN[NW];
byte pinO[NW];

/* the store buffers: 0 is empty; the pin is always older than the section */
byte bufO[NW];
byte bufS[NS];

/* death: the robust mutex of a slot, 0 = its owner's, r + 1 = taken by recoverer r after a death */
byte dead[NW];                                                             /* 0, DEAD, GONE, RECOVERED */
byte mutex[NW];
#if NREC > 0
byte rdead[NREC];
#endif
byte kills = KILLS;

/* ghosts: taken out of its head and not retired yet; the writers still at work; all that are not finished */
bool unlinked[NB];
bool running[NW];
byte working;

#if NH == 1
#define NAMED(b) (head[0] == (b))
#else
#define NAMED(b) (head[0] == (b) || head[1] == (b))
#endif

#if NH == 2
#define H h
#else
#define H 0
#endif
#ifdef OPS_ALL
#define CUT cut
#define H_RESET if :: true -> cut = false fi
#else
#define CUT false
#define H_RESET skip
#endif
#define OPS(w)        ((w) == 0 -> OPS0 : OPS1)
#define VERSION(w, o) (1 + (w) * 8 + (o))

/* Full fence, or the drain that any locked instruction implies. */
#define DRAIN_PIN(w)  if :: bufO[w] != 0 -> pinO[w] = bufO[w]; bufO[w] = 0 :: else fi
#define DRAIN_SEC(s)  if :: bufS[s] != 0 -> sec[s] = bufS[s]; bufS[s] = 0 :: else fi
/* A load of one's own section word: forwarded from the buffer. */
#define SECTION(s)    (bufS[s] != 0 -> bufS[s] : sec[s])

inline writer_drain(w) { DRAIN_PIN(w); DRAIN_SEC(w) }

/* A point where buffered stores may reach memory, or not yet. Anything else may run before the next step. */
inline writer_leak(w) {
    if
    :: d_step { bufO[w] != 0 -> DRAIN_PIN(w) }
    :: d_step { bufO[w] != 0 && bufS[w] != 0 -> writer_drain(w) }
    :: d_step { bufO[w] == 0 && bufS[w] != 0 -> DRAIN_SEC(w) }
    :: true
    fi
}
/* Behind a fence the buffer is empty: these points exist only where the fence is left out. */
inline reader_leak(s) {
    if
    :: d_step { bufS[s] != 0 -> DRAIN_SEC(s) }
    :: true
    fi
}
#ifdef WRITER_FENCE_OFF
#define WRITER_LATE writer_leak(me);
#else
#define WRITER_LATE
#endif
#ifdef READER_FENCE_OFF
#define READER_LATE reader_leak(me);
#else
#define READER_LATE
#endif

/*
 * Does a pin of any slot that is not idle, `self` as NEW left out, name block b? One load a step. Ends with i == NW if
 * none does.
 * A writer's own OLD is 0 here.
 */
inline scan_pins(b, self, i) {
    i = 0;
    do
    :: i < NW && i == self -> i++
    :: i < NW && i != self ->
        if
        :: sec[i] == 0 -> i++                                              /* idle: it will look again behind its fence */
        :: else ->
            if
            :: PIN_BLOCK(pinO[i]) == b -> break
            :: else
            fi;
#ifdef SCAN_NEW_OFF
            i++
#else
            if
            :: pinN[i] == PIN(b) -> break
            :: else -> i++
            fi
#endif
        fi
    :: i == NW -> break
    od
}

/*
 * ALLOCATED -> RETIRED, the one way a block is retired. The word expected is loaded in the same step: whatever ALLOCATED
 * is there now is taken, which is more than the exact CAS would do, so nothing is missed. `own`: only ALLOC(slot).
 */
inline cas_retire(b, slot, e, own) {
    if
    :: IS_ALLOC(st[b]) && (!own || st[b] == ALLOC(slot)) ->
        assert(!NAMED(b));                                                /* A1 */
        assert(unlinked[b] || own);                                       /* A4 */
        unlinked[b] = false;
        st[b] = RET(slot, e)
    :: else
    fi
}

proctype writer(byte me) {
    byte op, cand = NONE, x, w = NONE, e, r, i, seen;
#if NH == 2
    byte h;
#endif
#ifdef OPS_ALL
    bool cut;
#endif
#if TORN
    byte seen1;
#endif

again:
    {
        skip;
start:
        if
        :: op >= OPS(me) -> goto finish
        :: else
        fi;
#if defined(OPS_ALL) || NH == 2
        atomic {                                                           /* which bucket, which operation */
#if NH == 2
            if :: H = 0 :: H = 1 fi;
#endif
#ifdef OPS_ALL
            if :: cut = true; goto predict :: cut = false fi               /* a delete allocates nothing */
#endif
            skip
        };
#endif

allocate:                                                                  /* a hint, and the log */
        atomic {
            if
            :: st[0] == FREE || SAFE(st[0]) -> cand = 0
            :: st[1] == FREE || SAFE(st[1]) -> cand = 1
            :: st[2] == FREE || SAFE(st[2]) -> cand = 2
#if NB == 4
            :: st[3] == FREE || SAFE(st[3]) -> cand = 3
#endif
            :: else -> goto next                                           /* no space: the operation fails */
            fi;
            x = st[cand];
            pinN[me] = PIN(cand)
        };
        if
        :: IS_RET(x) ->
            scan_pins(cand, me, i);
            if
            :: i < NW ->
                atomic {
                    i = 0; x = 0;
                    if                                                     /* say no space, or look again */
                    :: goto clear
                    :: pinN[me] = 0; cand = NONE; goto allocate
                    fi
                }
            :: else -> i = 0
            fi
        :: else
        fi;
        atomic {
            if
#ifdef RECLAIM_INEXACT
            :: st[cand] == x || (IS_RET(x) && IS_RET(st[cand])) ->
#else
            :: st[cand] == x ->
#endif
                st[cand] = ALLOC(me); unlinked[cand] = false; x = 0
            :: else -> x = 0; pinN[me] = 0; cand = NONE; goto allocate     /* lost it: look again */
            fi
        };
#if TORN
        c0[cand] = VERSION(me, op);
        c1[cand] = VERSION(me, op);
#else
        d_step { c0[cand] = VERSION(me, op); c1[cand] = c0[cand] };
#endif

predict:
        atomic {
            w = head[H];
            if
            :: w == NONE ->
                if
                :: CUT -> goto clear                                       /* nothing to delete */
                :: else -> goto swap                                       /* an insert expects no block: nothing to pin */
                fi
            :: else
            fi;
#ifndef PINS_OFF
            bufO[me] = PIN(w)
#endif
        };

reopen:
        atomic {
            e = epoch;
            if                                                             /* the pin may have arrived by now */
            :: bufO[me] != 0 -> DRAIN_PIN(me)
            :: true
            fi
        };
        d_step {
            bufS[me] = ACT(e);
#ifndef WRITER_FENCE_OFF
            writer_drain(me)                                               /* the full fence */
#endif
        };
        WRITER_LATE
#ifndef REREAD_OFF
        if
        :: epoch != e -> goto reopen
        :: else
        fi;
        WRITER_LATE
#endif
        if
        :: head[H] != w -> goto retry
        :: else
        fi;
        WRITER_LATE
#if TORN
        seen = c0[w];
        WRITER_LATE
        seen1 = c1[w];
#else
        d_step { seen = c0[w]; assert(seen == c1[w]) };
#endif
        WRITER_LATE
        atomic {                                                           /* VALIDATED matters only if this one dies after it */
            if
#ifndef WRITER_SECTION_CHECK_OFF
            :: SECTION(me) != ACT(e) -> goto retry
#endif
            :: else
            fi;
            e = 0;
#if TORN
            assert(seen == seen1); seen1 = 0;                              /* A2 */
#endif
#ifndef PINS_OFF
            writer_drain(me); pinO[me] = PIN(w) + VALIDATED
#endif
        };
#ifdef EPOCH_BEFORE_CAS
        r = epoch;
#endif

swap:
        atomic {
            writer_drain(me);
            if
            :: head[H] == w ->
                if
                :: w != NONE ->
                    assert(c0[w] == seen && c1[w] == seen);                /* A3 */
                    unlinked[w] = true;
                    seen = 0
                :: else
                fi;
                if
                :: CUT -> head[H] = NONE
                :: else ->
                    assert(st[cand] == ALLOC(me) && !unlinked[cand]);      /* A1 */
                    assert(c0[cand] == c1[cand]);
                    head[H] = cand
                fi
            :: else -> goto retry
            fi;
            if
            :: w == NONE -> goto clear
            :: else
            fi
        };
#ifdef RETIRE_PIN_EARLY
        pinO[me] = 0;
#endif
#ifndef EPOCH_BEFORE_CAS
        r = epoch;
#endif
#ifndef NO_RETIRE
        d_step { cas_retire(w, me, r, false); r = 0; w = NONE };
#endif

clear:
        atomic { r = 0; e = 0; w = NONE; cand = NONE; pinN[me] = 0 };
next:
#ifdef PIN_OUTLIVES_SECTION
        sec[me] = 0;
        skip;
#endif
        atomic { pinO[me] = 0; sec[me] = 0; op++; H_RESET };
        goto start;

retry:
        atomic {
            seen = 0; e = 0; r = 0;
#if TORN
            seen1 = 0;
#endif
#ifdef OPS_ALL
            if
            :: true -> skip
            :: true ->                                                     /* give up: the private block goes back */
                writer_drain(me);
                if
                :: cand != NONE -> assert(st[cand] == ALLOC(me) && !NAMED(cand)); st[cand] = FREE
                :: else
                fi;
                goto clear
            fi;
#endif
            goto predict
        };

finish:
        atomic { running[me] = false; working-- }
    }
    unless {
        atomic {
            dead[me] == DEAD -> dead[me] = GONE;
            cand = NONE; w = NONE; x = 0; e = 0; r = 0; i = 0; seen = 0;
            H_RESET;
#if TORN
            seen1 = 0;
#endif
            op++
        }
    };
#ifdef RESTART
    if
    :: dead[me] == RECOVERED -> dead[me] = 0; goto again                   /* a new process in the same slot */
    :: !running[me] ->
    fi
#endif
}

proctype reader(byte me) {
    byte n, e, w = NONE, a, b, h, built;

reopen:
    e = epoch;
    bufS[me] = ACT(e);
#ifndef READER_FENCE_OFF
    d_step { DRAIN_SEC(me) };
#endif
    READER_LATE
#ifndef REREAD_OFF
    if
    :: epoch != e -> goto reopen
    :: else
    fi;
    READER_LATE
#endif

load:
    atomic {
#if NH == 2
        if :: h = 0 :: h = 1 fi;
#endif
        w = head[h];
        h = 0;
        if
        :: w != NONE -> built = c0[w]
        :: else -> goto accepted
        fi
    };
    READER_LATE
#if TORN
    a = c0[w];
    READER_LATE
    b = c1[w];
#else
    d_step { a = c0[w]; b = c1[w] };
#endif
    READER_LATE
#ifndef EVICTION_CHECK_OFF
    if
    :: SECTION(me) != ACT(e) -> d_step { a = 0; b = 0; built = 0; w = NONE }; goto reopen
    :: else
    fi;
#endif
    d_step { assert(a == built && b == built); a = 0; b = 0; built = 0; w = NONE }; /* A2 */

accepted:
    n++;
    if
    :: n < READS -> goto load
    :: else
    fi;
    d_step { bufS[me] = 0; sec[me] = 0; working--; e = 0; n = 0 }
}

proctype evictor() {
end_idle:
    do
    :: d_step { LAGS(sec[0]) -> sec[0] = EVICTED }
#if NS > 1 && !defined(EVICT_FIRST)
    :: d_step { LAGS(sec[1]) -> sec[1] = EVICTED }
#endif
#if NS > 2 && !defined(EVICT_FIRST)
    :: d_step { LAGS(sec[2]) -> sec[2] = EVICTED }
#endif
    od
}

/* What is acted on for the dead: everything the crash log (the two pins) names. Redone from the start by the next one. */
#if NREC > 0
#if NREC > 1 && KILLABLE == 1
#define MAY_ELECT (me == 0 || rdead[0] == GONE)                            /* the recoverers are alike */
#else
#define MAY_ELECT true
#endif
#define KILL_WRITER(d_) \
    kills > 0 && MAY_ELECT && running[d_] && dead[d_] == 0 && mutex[d_] == 0 -> \
        d = d_; kills--; dead[d_] = DEAD; writer_drain(d_); mutex[d_] = me + 1
#define KILL_RECOVERER(d_, other) \
    kills > 0 && me != (other) && mutex[d_] == (other) + 1 && rdead[other] == 0 -> \
        d = d_; kills--; rdead[other] = DEAD; mutex[d_] = me + 1

#if NREC > 1
#define NOTICED (dead[d] != DEAD && rdead[0] != DEAD && rdead[1] != DEAD)
#else
#define NOTICED (dead[d] != DEAD)
#endif

proctype recoverer(byte me) {
    byte d, e, p;

    {
        skip;
end_idle:
        atomic {
            if
            :: KILL_WRITER(0)
#if KILLABLE > 1
            :: KILL_WRITER(1)
#endif
#if NREC > 1
            :: KILL_RECOVERER(0, 0)
            :: KILL_RECOVERER(0, 1)
#if KILLABLE > 1
            :: KILL_RECOVERER(1, 0)
            :: KILL_RECOVERER(1, 1)
#endif
#endif
            fi
        };
        NOTICED ->                                                         /* the dead one has taken its last step */

#ifndef NO_RECOVERY_NEW
        p = pinN[d];
#ifdef RECOVERY_CLEARS_FIRST
        pinN[d] = 0;
#endif
#ifdef RECOVERY_EPOCH_EARLY
        e = epoch;
#endif
        if
        :: p != 0 && !NAMED(PIN_BLOCK(p)) ->
#ifndef RECOVERY_EPOCH_EARLY
            e = epoch;
#endif
            d_step { cas_retire(PIN_BLOCK(p), d, e, true); e = 0; p = 0 }
        :: else -> p = 0
        fi;
#endif

#ifndef NO_RECOVERY_OLD
        p = pinO[d];
#ifdef RECOVERY_CLEARS_FIRST
        pinO[d] = 0;
#endif
#ifdef RECOVERY_EPOCH_EARLY
        e = epoch;
#endif
        if
#ifdef RECOVER_UNVALIDATED
        :: p != 0 && !NAMED(PIN_BLOCK(p)) ->
#else
        :: IS_VALIDATED(p) && !NAMED(PIN_BLOCK(p)) ->
#endif
#ifndef RECOVERY_EPOCH_EARLY
            e = epoch;
#endif
            d_step { cas_retire(PIN_BLOCK(p), d, e, false); e = 0; p = 0 }
        :: else -> p = 0
        fi;
#endif
        pinN[d] = 0;
        pinO[d] = 0;
        atomic {
            sec[d] = 0;
            mutex[d] = 0;
#ifdef RESTART
            dead[d] = RECOVERED;
#else
            working--;
            running[d] = false;
#endif
            d = 0
        };
        goto end_idle
    }
    unless { atomic { rdead[me] == DEAD -> rdead[me] = GONE; d = 0; e = 0; p = 0 } }
}
#endif

proctype collector() {
#ifndef ATOMIC_ADVANCE
    byte e;
#endif
    byte i, b = NONE, x;

    do
#ifdef ATOMIC_ADVANCE
    :: d_step {
        epoch < EMAX && SECTION_OK(0, epoch) && SECTION_OK(1 % NS, epoch) && SECTION_OK(2 % NS, epoch) -> epoch++
    }
#else
    :: epoch < EMAX ->                                                     /* advance the epoch: one load a step */
        e = epoch;
        do
        :: i < NS && SECTION_OK(i, e) -> i++
        :: i < NS && !SECTION_OK(i, e) -> break
        :: i == NS -> d_step { if :: epoch == e -> epoch++ :: else fi }; break
        od;
        atomic { e = 0; i = 0 }
#endif
#ifndef COLLECT_OFF
    :: atomic {                                                            /* free a safe block */
            if
            :: SAFE(st[0]) -> b = 0
            :: SAFE(st[1]) -> b = 1
            :: SAFE(st[2]) -> b = 2
#if NB == 4
            :: SAFE(st[3]) -> b = 3
#endif
            fi;
            x = st[b]
        };
        scan_pins(b, NW, i);
        atomic {
            if
#ifdef RECLAIM_INEXACT
            :: i == NW && IS_RET(st[b]) -> st[b] = FREE
#else
            :: i == NW && st[b] == x -> st[b] = FREE
#endif
            :: else
            fi;
            i = 0; b = NONE; x = 0
        }
#endif
    :: working == 0 -> break
    od;

    atomic {                                                               /* A5: the audit */
        i = 0;
        do
        :: i < NB ->
            assert(IS_ALLOC(st[i]) == NAMED(i));
            assert(!unlinked[i]);
            i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < NW -> assert(pinN[i] == 0 && pinO[i] == 0 && sec[i] == 0 && mutex[i] == 0); i++
        :: else -> break
        od
    }
}

init {
    d_step {
        st[0] = ALLOC(0); c0[0] = 100; c1[0] = 100;                        /* what the first head names */
#ifdef USED
        st[1] = RET(0, 0);                                                 /* a pool that is not new */
#endif
#if NH == 2
        head[1] = NONE;
#endif
        running[0] = true;
#if NW > 1
        running[1] = true;
#endif
        working = NW + NR
    };
    atomic {
        run writer(0);
#if NW > 1
        run writer(1);
#endif
#if NR > 0
        run reader(NW);
#endif
#if NREC > 0
        run recoverer(0);
#endif
#if NREC > 1
        run recoverer(1);
#endif
        run evictor();
        run collector()
    }
}

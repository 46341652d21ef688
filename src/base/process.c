/* SPDX-License-Identifier: MIT */
#include "base/process.h"

#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

struct tks_process *tks_process;
_Thread_local uint64_t tks_thread_id;

static pthread_once_t page_once = PTHREAD_ONCE_INIT;
static uint64_t next_token = 1;
static uint64_t next_thread = 1;

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

void *tks_wiped_alloc(size_t bytes)
{
    size_t size = whole_pages(bytes);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    /* Linux 4.14. Without it a forked child could not tell, so do without the memory. */
    if (madvise(memory, size, MADV_WIPEONFORK)) {
        munmap(memory, size);
        return NULL;
    }
    return memory;
}

void tks_wiped_free(void *memory, size_t bytes)
{
    munmap(memory, whole_pages(bytes));
}

static void map_page(void)
{
    tks_process = tks_wiped_alloc(sizeof(*tks_process));
}

int tks_process_enter(void)
{
    pthread_once(&page_once, map_page);
    if (!tks_process)
        return tks_fail(TKS_UNSUPPORTED, "cannot map a fork-guarded page (Linux 4.14 is needed)");
    uint64_t token = load_relaxed(&tks_process->token);
    if (!token) {
        /* next_token is inherited by a child, so a child's token differs from its parent's. */
        compare_and_swap(&tks_process->token, 0, fetch_add(&next_token, 1));
    }
    return TKS_OK;
}

uint64_t tks_thread_enter(void)
{
    if (!tks_thread_id)
        tks_thread_id = fetch_add(&next_thread, 1);
    return tks_thread_id;
}

/* Room for the deepest call plus the program's TLS, which lies on the same mapping. A program with
 * more of that than fits gets the default size. */
#define STACK_BYTES (512 << 10)

static int set_attributes(pthread_attr_t *attributes, size_t stack_bytes, int cpu)
{
    sigset_t all;
    cpu_set_t cpus;
    sigfillset(&all);
    int error = stack_bytes ? pthread_attr_setstacksize(attributes, stack_bytes) : 0;
    if (!error)
        error = pthread_attr_setsigmask_np(attributes, &all);
    if (error || cpu < 0)
        return error;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    return pthread_attr_setaffinity_np(attributes, sizeof(cpus), &cpus);
}

static int start(pthread_t *thread, size_t stack_bytes, int cpu, void *(*run)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    error = set_attributes(&attributes, stack_bytes, cpu);
    if (!error)
        error = pthread_create(thread, &attributes, run, arg);
    pthread_attr_destroy(&attributes);
    return error;
}

int tks_thread_start(pthread_t *thread, int cpu, void *(*run)(void *arg), void *arg)
{
    int error = start(thread, STACK_BYTES, cpu, run, arg);
    return error == EINVAL ? start(thread, 0, cpu, run, arg) : error;
}

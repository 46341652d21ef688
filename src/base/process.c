/* SPDX-License-Identifier: MIT */
#include "base/process.h"

#include "base/error.h"

#include <sys/mman.h>
#include <unistd.h>

struct tks_process *tks_process;
_Thread_local uint64_t tks_thread_id;

static pthread_once_t page_once = PTHREAD_ONCE_INIT;
static uint64_t next_token = 1;
static uint64_t next_thread = 1;

static void map_page(void)
{
    long size = sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
    if (page == MAP_FAILED)
        return;
    /* Linux 4.14. Without it a forked child could not tell, so do without the page. */
    if (madvise(page, (size_t)size, MADV_WIPEONFORK)) {
        munmap(page, (size_t)size);
        return;
    }
    tks_process = page;
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

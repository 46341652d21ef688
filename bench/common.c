/* SPDX-License-Identifier: MIT */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

struct bench_options options;

static const char *program_name = "bench";
static cpu_set_t allowed_cpus;

const char *bench_program(void)
{
    return program_name;
}

void die(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "bench-%s: ", program_name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

/* Pages are touched here, so that no first touch falls into a measured block. */
void *allocate(size_t size)
{
    void *memory = NULL;

    if (posix_memalign(&memory, 64, size) != 0) {
        die("no memory for %zu bytes", size);
    }
    memset(memory, 0, size);
    return memory;
}

/* ---- Timer ------------------------------------------------------------------------------- */

static double ns_per_tick = 1.0;
static double overhead_ns;

double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double timer_ns(uint64_t ticks)
{
    return (double)ticks * ns_per_tick;
}

uint64_t timer_ticks(double ns)
{
    return (uint64_t)(ns / ns_per_tick);
}

double timer_overhead_ns(void)
{
    return overhead_ns;
}

const char *timer_name(void)
{
#if defined(__x86_64__)
    return "lfence;rdtsc";
#else
    return "clock_gettime(MONOTONIC)";
#endif
}

static void timer_calibrate(void)
{
    enum { PAIRS = 4096 };
    static double pairs[PAIRS];
    double began = seconds_now();
    uint64_t first = timer_now();
    double elapsed;
    uint64_t ticks;

    while (seconds_now() - began < 0.05) {
    }
    ticks = timer_now() - first;
    elapsed = seconds_now() - began;
    ns_per_tick = elapsed * 1e9 / (double)ticks;
    for (int i = 0; i < PAIRS; i++) {
        uint64_t stamp = timer_now();
        pairs[i] = timer_ns(timer_now() - stamp);
    }
    overhead_ns = median(pairs, PAIRS);
}

/* ---- CPUs -------------------------------------------------------------------------------- */

void pin_to(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        die("cannot run on CPU %d: %s", cpu, strerror(errno));
    }
}

/* The last CPU measures, the first one contends: CPU 0 tends to serve more interrupts. */
static void choose_cpus(void)
{
    int first = -1;
    int last = -1;

    if (sched_getaffinity(0, sizeof(allowed_cpus), &allowed_cpus) != 0) {
        die("sched_getaffinity: %s", strerror(errno));
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &allowed_cpus)) {
            first = first < 0 ? cpu : first;
            last = cpu;
        }
    }
    options.cpu = options.cpu < 0 ? last : options.cpu;
    options.other_cpu = options.other_cpu < 0 ? first : options.other_cpu;
}

/* ---- Keys and values --------------------------------------------------------------------- */

/* An odd factor modulo 2^28 permutes: neighbours in time are not neighbours in key order. */
void key_write(char key[KEY_STRIDE], uint64_t index)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t number = (index * 0x9e3779bu) & 0xfffffffu;

    memcpy(key, "desk7.position.", 15);
    for (int i = 6; i >= 0; i--) {
        key[15 + i] = digits[number & 15];
        number >>= 4;
    }
    memset(key + KEY_LEN, 0, KEY_STRIDE - KEY_LEN);
}

char *keys_make(uint64_t n)
{
    char *keys = allocate(n * KEY_STRIDE);

    for (uint64_t i = 0; i < n; i++) {
        key_write(keys + i * KEY_STRIDE, i);
    }
    return keys;
}

void value_write(unsigned char value[VALUE_LEN], uint64_t index)
{
    struct random_state random = {index};

    for (size_t i = 0; i < VALUE_LEN; i += sizeof(uint64_t)) {
        uint64_t word = random_next(&random);
        memcpy(value + i, &word, sizeof(word));
    }
}

/* ---- Temporary names --------------------------------------------------------------------- */

#define TEMP_MAX 256

/* Fixed storage: the signal handler walks it. */
static char temp_paths[TEMP_MAX][128];
static volatile sig_atomic_t temp_count;
static pid_t temp_owner;

void temp_name(char *name, size_t size, const char *what)
{
    static unsigned count;

    snprintf(name, size, "bench-%ld-%u-%s", (long)getpid(), count++, what);
}

static void temp_path(char path[128], const char *name, const char *suffix)
{
    snprintf(path, 128, "/dev/shm/%s%s", name, suffix);
}

void temp_register(const char *name, const char *suffix)
{
    char path[128];

    temp_path(path, name, suffix);
    for (int i = 0; i < temp_count; i++) {
        if (strcmp(temp_paths[i], path) == 0) {
            return;
        }
    }
    if (temp_count == TEMP_MAX) {
        die("too many temporary files");
    }
    memcpy(temp_paths[temp_count], path, sizeof(path));
    temp_count++;
}

uint64_t temp_bytes(const char *name, const char *suffix)
{
    char path[128];
    struct stat status;

    temp_path(path, name, suffix);
    return stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

void temp_remove_named(const char *name)
{
    char path[128];
    size_t len;

    temp_path(path, name, "");
    len = strlen(path);
    for (int i = 0; i < temp_count; i++) {
        if (strncmp(temp_paths[i], path, len) == 0) {
            unlink(temp_paths[i]);
        }
    }
}

void *temp_map(size_t size)
{
    int file = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
    void *memory = MAP_FAILED;

    if (file >= 0 && ftruncate(file, (off_t)size) == 0) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (memory == MAP_FAILED) {
        die("no temporary file in /dev/shm: %s", strerror(errno));
    }
    close(file);
    return memory;
}

static char temp_folder_path[96];

const char *temp_folder(void)
{
    char path[sizeof(temp_folder_path)];

    if (temp_folder_path[0] != '\0') {
        return temp_folder_path;
    }
    if (strlen(options.disk) + sizeof("/tickstate-bench-XXXXXX") > sizeof(path)) {
        die("--disk: the path is too long");
    }
    snprintf(path, sizeof(path), "%.60s/tickstate-bench-XXXXXX", options.disk);
    if (mkdtemp(path) == NULL) {
        die("no temporary folder in %s: %s", options.disk, strerror(errno));
    }
    memcpy(temp_folder_path, path, sizeof(path));
    return temp_folder_path;
}

/* What is in the folder depends on where a store was interrupted. Only calls that a signal handler
 * may make. */
static void temp_remove_folder(void)
{
    pid_t child = _Fork(); /* fork() takes locks */

    if (child == 0) {
        execl("/bin/rm", "rm", "-rf", "--", temp_folder_path, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* A child inherits the list; only the process that made it removes anything. */
static void temp_remove(void)
{
    if (getpid() != temp_owner) {
        return;
    }
    for (int i = 0; i < temp_count; i++) {
        unlink(temp_paths[i]);
    }
    if (temp_folder_path[0] != '\0') {
        temp_remove_folder();
    }
}

static void on_signal(int number)
{
    temp_remove();
    signal(number, SIG_DFL);
    raise(number);
}

static void temp_start(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct sigaction action = {.sa_handler = on_signal};

    sigfillset(&action.sa_mask);
    temp_owner = getpid();
    atexit(temp_remove);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
    }
}

/* ---- Blocks ------------------------------------------------------------------------------ */

void block_begin(struct block_guard *guard)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    guard->preempted = usage.ru_nivcsw;
    guard->faults = usage.ru_minflt + usage.ru_majflt;
}

bool block_undisturbed(const struct block_guard *guard)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw == guard->preempted;
}

bool block_end(const struct block_guard *guard, struct block_count *count)
{
    bool kept = block_undisturbed(guard);

    count->kept += kept;
    count->dropped += !kept;
    return kept;
}

/* ---- Statistics -------------------------------------------------------------------------- */

static int compare_double(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

double median(double *values, size_t n)
{
    if (n == 0) {
        return NAN;
    }
    qsort(values, n, sizeof(values[0]), compare_double);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int compare_u32(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

static double rank_ns(const uint32_t *samples, size_t n, double quantile)
{
    size_t rank = (size_t)ceil(quantile * (double)n);

    return timer_ns(samples[rank > 0 ? rank - 1 : 0]);
}

struct percentiles percentiles_of(uint32_t *samples, size_t n)
{
    if (n == 0) {
        return (struct percentiles){NAN, NAN, NAN, NAN};
    }
    qsort(samples, n, sizeof(samples[0]), compare_u32);
    return (struct percentiles){
        .p50 = rank_ns(samples, n, 0.5),
        .p99 = rank_ns(samples, n, 0.99),
        .p999 = rank_ns(samples, n, 0.999),
        .max = timer_ns(samples[n - 1]),
    };
}

/* ---- Start and finish -------------------------------------------------------------------- */

static void print_help(const char *question)
{
    printf("bench-%s: %s\n\n"
           "  --rounds N     rounds, peers interleaved in each; figures are medians (default 3)\n"
           "  --quick        a smoke run of seconds; its figures mean nothing\n"
           "  --huge         huge pages under tickstate (huge=1) and the flat table\n"
           "  --only NAME    only tickstate, the flat table and peers whose name contains NAME\n"
           "  --json FILE    also write the tables as JSON\n"
           "  --csv FILE     also append the tables as CSV, one line per figure\n"
           "  --cpu N        the CPU that is measured (default: the last allowed one)\n"
           "  --other-cpu N  the CPU of the second process (default: the first allowed one)\n"
           "  --disk DIR     the folder for files that must be on a disk (default: /var/tmp)\n"
           "  --help\n",
           program_name, question);
}

static unsigned parse_number(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || number > 10000) {
        die("not a number: %s", text);
    }
    return (unsigned)number;
}

static void parse_options(int argc, char **argv, const char *question)
{
    static const struct option known[] = {
        {"rounds", required_argument, NULL, 'r'},
        {"quick", no_argument, NULL, 'q'},
        {"huge", no_argument, NULL, 'H'},
        {"only", required_argument, NULL, 'o'},
        {"json", required_argument, NULL, 'j'},
        {"csv", required_argument, NULL, 'c'},
        {"cpu", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {"disk", required_argument, NULL, 'd'},
        {"other-cpu", required_argument, NULL, 'P'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    options = (struct bench_options){.cpu = -1, .other_cpu = -1, .disk = "/var/tmp"};
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'r':
            options.rounds = parse_number(optarg);
            break;
        case 'q':
            options.quick = true;
            break;
        case 'H':
            options.huge = true;
            break;
        case 'o':
            options.only = optarg;
            break;
        case 'j':
            options.json = optarg;
            break;
        case 'c':
            options.csv = optarg;
            break;
        case 'p':
            options.cpu = (int)parse_number(optarg);
            break;
        case 'P':
            options.other_cpu = (int)parse_number(optarg);
            break;
        case 'd':
            options.disk = optarg;
            break;
        case 'h':
            print_help(question);
            exit(EXIT_SUCCESS);
        default:
            exit(2);
        }
    }
    if (optind != argc) {
        die("unexpected argument: %s", argv[optind]);
    }
    if (options.rounds == 0) {
        options.rounds = options.quick ? 1 : 3;
    }
}

static void read_line(const char *path, const char *wanted, char *line, size_t size)
{
    FILE *file = fopen(path, "r");
    char text[256];

    snprintf(line, size, "unknown");
    if (file == NULL) {
        return;
    }
    while (fgets(text, sizeof(text), file) != NULL) {
        if (strncmp(text, wanted, strlen(wanted)) == 0) {
            const char *begin = strchr(text, ':');
            begin = wanted[0] != '\0' && begin != NULL ? begin + 2 : text;
            snprintf(line, size, "%.*s", (int)strcspn(begin, "\n"), begin);
            break;
        }
    }
    fclose(file);
}

static void describe_machine(void)
{
    char model[128];
    char pages[128];
    struct utsname system;

    read_line("/proc/cpuinfo", "model name", model, sizeof(model));
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", "", pages, sizeof(pages));
    uname(&system);
    report_note("%s, %d CPUs, Linux %s; huge pages: %s", model, CPU_COUNT(&allowed_cpus),
                system.release, pages);
    report_note("measured on CPU %d, second process on CPU %d; timer %s, %.1f ns a stamp, not "
                "subtracted",
                options.cpu, options.other_cpu, timer_name(), overhead_ns);
    report_note("%u-byte keys, %u-byte values, %u round%s%s", KEY_LEN, VALUE_LEN, options.rounds,
                options.rounds == 1 ? "" : "s",
                options.quick ? "; QUICK: a smoke run, its figures mean nothing" : "");
    if (options.huge) {
        report_note("huge pages under tickstate and the flat table");
    }
    if (CPU_COUNT(&allowed_cpus) < 2) {
        report_note("one CPU only: contended figures are those of time slices");
    }
}

void bench_start(int argc, char **argv, const char *program, const char *question)
{
    program_name = program;
    parse_options(argc, argv, question);
    choose_cpus();
    pin_to(options.cpu);
    temp_start();
    timer_calibrate();
    report_start(question);
    describe_machine();
}

int bench_finish(void)
{
    return report_finish() ? EXIT_SUCCESS : EXIT_FAILURE;
}

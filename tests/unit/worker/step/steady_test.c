/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A training step that is not among the first allocates nothing and asks the kernel for nothing but what its transport
 * is. Over shm that is waiting: futex, sched_yield. Over tcp also poll, to wait for the network; sendmsg and recvfrom
 * for the values; and, where a wait is told to the peers, sendto. The clock is read without the kernel where the
 * machine has such a clock.
 */
#include "core/base/alloc.h"
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#define WORLD 2
/* More than two epochs: whole and short batches, both places of the loader; and once whatever the tuner tries. */
#define WARM_STEPS 12
#define STEPS 40
#define CALLS 512

/* Of the child in which the steps run. */
struct record {
    _Atomic int arrived, steps;
    _Atomic int calls[CALLS]; /* by number: system calls that are not allowed */
    uint64_t allocations;
    int failed;
};

static struct record *record;

static void note_call(int signal, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    (void)signal;
    atomic_fetch_add(&record->calls[(unsigned)info->si_syscall % CALLS], 1);
    user->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* For all threads of the process, for good. */
static int forbid_calls(bool network)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_futex),
        ALLOW(SYS_sched_yield),
        ALLOW(SYS_clock_gettime),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_exit_group),
        /* Without a network over the next four, of two instructions each. */
        BPF_JUMP(BPF_JMP | BPF_JA, network ? 0 : 8, 0, 0),
        ALLOW(SYS_poll),
        ALLOW(SYS_sendmsg),
        ALLOW(SYS_recvfrom),
        ALLOW(SYS_sendto),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    struct sigaction action = {.sa_sigaction = note_call, .sa_flags = SA_SIGINFO};

    (void)sigaction(SIGSYS, &action, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* Whether every thread of the process has come to its own function: until then the system's library keeps all signals
 * from it, and makes calls of its own. */
static bool all_begun(void)
{
    DIR *tasks = opendir("/proc/self/task");
    bool begun = tasks != NULL;

    for (struct dirent *task; begun && (task = readdir(tasks)) != NULL;) {
        char path[300], line[128];
        unsigned long long blocked = 0;
        FILE *status;

        (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        status = task->d_name[0] != '.' ? fopen(path, "r") : NULL;
        while (status != NULL && fgets(line, sizeof line, status) != NULL)
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
                break;
        if (status != NULL)
            (void)fclose(status);
        begun = (blocked >> (SIGSYS - 1) & 1) == 0;
    }
    if (tasks != NULL)
        (void)closedir(tasks);
    return begun;
}

static void meet(int times)
{
    atomic_fetch_add(&record->arrived, 1);
    while (atomic_load(&record->arrived) < times * WORLD)
        (void)sched_yield();
}

static enum ls_status steady(void *state, struct ls_replica *replica, struct ls_error *err)
{
    bool network = *(const bool *)state;
    enum ls_status status = LS_OK;
    uint64_t before;

    for (int i = 0; i < WARM_STEPS && status == LS_OK; i++)
        status = ls_replica_step(replica, err);
    if (status != LS_OK)
        fprintf(stderr, "rank %d: %s\n", replica->rank, err->message);
    meet(1);
    while (replica->rank == 0 && !all_begun())
        (void)sched_yield();
    before = ls_alloc_count();
    if (replica->rank == 0 && forbid_calls(network) != 0)
        _exit(2);
    meet(2);
    for (int i = 0; i < STEPS && status == LS_OK; i++)
        status = ls_replica_step(replica, err);
    atomic_fetch_add(&record->steps, status == LS_OK ? STEPS : 0);
    meet(3);
    record->allocations = ls_alloc_count() - before;
    meet(4);
    _exit(0);
}

static void check_steady(const char *provider, const char *model, const char *run)
{
    const char *const overrides[] = {"epochs=1000"};
    char directory[64];
    pid_t child;
    int status;

    record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)record, MAP_FAILED);
    lst_step_directory_init(directory);
    child = fork();
    if (child == 0) {
        bool network = strcmp(provider, "shm") != 0;
        struct lst_step_ranks ranks;
        lst_step_run_over(provider, lst_step_job_with(directory, model, run, overrides, 1), WORLD, steady, &network,
                          &ranks);
        _exit(1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    lst_step_directory_deinit(directory);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x", (unsigned)status);
    cr_assert_eq(atomic_load(&record->steps), WORLD * STEPS);
    for (int i = 0; i < CALLS; i++)
        cr_expect_eq(atomic_load(&record->calls[i]), 0, "%s over %s: system call %d, %d times", model, provider, i,
                     atomic_load(&record->calls[i]));
    cr_expect_eq(record->allocations, 0, "%s over %s: %llu allocations in %d steps of %d ranks", model, provider,
                 (unsigned long long)record->allocations, STEPS, WORLD);
    (void)munmap(record, sizeof *record);
}

Test(steady, mlp)
{
    check_steady("shm", "mlp.json", "{execution: graph}");
}

Test(steady, mlp_in_threads)
{
    check_steady("shm", "mlp.json", "{execution: graph, threads: 2}");
}

Test(steady, mlp_over_tcp)
{
    check_steady("tcp", "mlp.json", "{execution: graph}");
}

Test(steady, cnn_over_tcp)
{
    check_steady("tcp", "cnn.json", "{execution: graph}");
}

Test(steady, cnn)
{
    check_steady("shm", "cnn.json", "{execution: graph}");
}

#endif
